//! The IKEv2 pseudorandom functions and prf+ (RFC 7296 section 2.13).
use aws_lc_rs::hmac::{Algorithm, Context, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key};
use zeroize::Zeroizing;

/// Transform type 2, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prf {
    HmacSha1 = 2,
    HmacSha256 = 5,
    HmacSha384 = 6,
    HmacSha512 = 7,
}

impl Prf {
    /// Output length, which is also the preferred key length, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "the length of an output, not of a collection")]
    pub fn len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// prf(key, parts concatenated). Any key length is accepted, as HMAC does (RFC 2104).
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        let mut context = Context::with_key(&Key::new(self.algorithm(), key));
        parts.iter().for_each(|part| context.update(part));
        Zeroizing::new(context.sign().as_ref().to_vec())
    }

    /// prf+(key, seed parts concatenated), the first `len` bytes.
    ///
    /// # Panics
    /// When `len` exceeds 255 blocks of output, the most that prf+ is defined for: lengths come from the negotiated suite, never
    /// from the wire.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Zeroizing<Vec<u8>> {
        let block_len = self.len();
        assert!(len <= 255 * block_len, "prf+ yields at most 255 blocks of {block_len} bytes, {len} bytes asked");
        let key = Key::new(self.algorithm(), key);
        let mut out = Zeroizing::new(Vec::with_capacity(len.next_multiple_of(block_len)));
        for index in 1..=len.div_ceil(block_len) {
            let mut context = Context::with_key(&key);
            context.update(&out[out.len().saturating_sub(block_len)..]);
            seed.iter().for_each(|part| context.update(part));
            // The assertion above keeps the index within one byte.
            context.update(&[index as u8]);
            out.extend_from_slice(context.sign().as_ref());
        }
        out.truncate(len);
        out
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::HmacSha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => HMAC_SHA256,
            Self::HmacSha384 => HMAC_SHA384,
            Self::HmacSha512 => HMAC_SHA512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    const HASHES: [(Prf, ring::hmac::Algorithm); 4] = [
        (Prf::HmacSha1, ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (Prf::HmacSha256, ring::hmac::HMAC_SHA256),
        (Prf::HmacSha384, ring::hmac::HMAC_SHA384),
        (Prf::HmacSha512, ring::hmac::HMAC_SHA512),
    ];

    #[test]
    fn rfc_2202_sha1() {
        let tag = Prf::HmacSha1.compute(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(*tag, hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
        let tag = Prf::HmacSha1.compute(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(*tag, hex("aa4ae5e15272d00e95705637ce8a3b55ed402112"));
    }

    #[test]
    fn rfc_4231_case_1() {
        let key = [0x0b; 20];
        assert_eq!(*Prf::HmacSha256.compute(&key, &[b"Hi There"]), hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"));
        assert_eq!(
            *Prf::HmacSha384.compute(&key, &[b"Hi There"]),
            hex("afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6")
        );
        assert_eq!(
            *Prf::HmacSha512.compute(&key, &[b"Hi There"]),
            hex(
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
            )
        );
    }

    /// HKDF-Expand of RFC 5869 is prf+ with `info` as the seed (T(n) = HMAC(PRK, T(n-1) | info | n)): case 1 of its appendix A.
    #[test]
    fn prf_plus_published_vector() {
        let prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let info = hex("f0f1f2f3f4f5f6f7f8f9");
        let want = hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
        assert_eq!(*Prf::HmacSha256.plus(&prk, &[&info[..4], &info[4..]], 42), want);
    }

    #[test]
    fn prf_plus_agrees_with_ring_up_to_the_last_block() {
        for (prf, algorithm) in HASHES {
            let key = ring::hmac::Key::new(algorithm, b"key");
            let mut want = Vec::new();
            let mut block = Vec::new();
            for index in 1..=255u8 {
                block = ring::hmac::sign(&key, &[&block[..], b"seed", &[index]].concat()).as_ref().to_vec();
                want.extend_from_slice(&block);
            }
            for len in [0, 1, prf.len() - 1, prf.len(), prf.len() + 1, 255 * prf.len()] {
                assert_eq!(*prf.plus(b"key", &[b"se", b"ed"], len), want[..len], "{prf:?} {len}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "at most 255 blocks")]
    fn prf_plus_refuses_a_256th_block() {
        Prf::HmacSha1.plus(b"key", &[b"seed"], 255 * 20 + 1);
    }
}
