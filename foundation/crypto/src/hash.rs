//! Hashes and MACs outside the PRF: certificates, NAT detection, RADIUS (MD5), MS-CHAP (MD4, DES, RC4).
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::Md4;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

/// A hash that IKE names (RFC 7427 section 4 registry numbers in [`HashAlgorithm::id`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl HashAlgorithm {
    /// Number in the IKEv2 Hash Algorithms registry, as SIGNATURE_HASH_ALGORITHMS lists it.
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
        }
    }

    /// The algorithm with this registry number; `None` for one that Evergate does not have.
    pub fn from_id(id: u16) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|algorithm| algorithm.id() == id)
    }
}

/// Digest of the concatenation of `parts`.
pub fn hash(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = match algorithm {
        HashAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
    };
    let mut context = digest::Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// MD5 of the concatenation of `parts`; RADIUS only.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Md5::new();
    parts.iter().for_each(|part| context.update(part));
    context.finalize().into()
}

/// HMAC-MD5 (RFC 2104) of the concatenation of `parts`; RADIUS Message-Authenticator only.
pub fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut block = Zeroizing::new([0; 64]);
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..16].copy_from_slice(&md5(&[key])),
    }
    let inner_key = Zeroizing::new(block.map(|byte| byte ^ 0x36));
    let outer_key = Zeroizing::new(block.map(|byte| byte ^ 0x5c));
    let mut inner = Md5::new_with_prefix(*inner_key);
    parts.iter().for_each(|part| inner.update(part));
    md5(&[&*outer_key, &inner.finalize()])
}

/// MD4, for the NT password hash (RFC 2759 section 8.3).
pub fn md4(data: &[u8]) -> [u8; 16] {
    Md4::digest(data).into()
}

/// RC4 with `key`, in place; a changed password of MS-CHAP alone (RFC 2759 section 8.9). `key` is not empty.
pub fn rc4(key: &[u8], data: &mut [u8]) {
    let mut state = Zeroizing::new([0_u8; 256]);
    for (value, place) in (0..=u8::MAX).zip(state.iter_mut()) {
        *place = value;
    }
    let mut other = 0_u8;
    for (index, byte) in (0..256).zip(key.iter().cycle()) {
        other = other.wrapping_add(state[index]).wrapping_add(*byte);
        state.swap(index, usize::from(other));
    }
    let (mut one, mut other) = (0_u8, 0_u8);
    for byte in data {
        one = one.wrapping_add(1);
        other = other.wrapping_add(state[usize::from(one)]);
        state.swap(usize::from(one), usize::from(other));
        *byte ^= state[usize::from(state[usize::from(one)].wrapping_add(state[usize::from(other)]))];
    }
}

/// DES of one block with a 56-bit key given as 7 bytes (RFC 2759 section 8.6). Weak keys are accepted: password hashes may be such.
pub fn des_encrypt_block(key: &[u8; 7], clear: &[u8; 8]) -> [u8; 8] {
    let mut block = (*clear).into();
    Des::new(&spread_des_key(key).into()).encrypt_block(&mut block);
    block.into()
}

/// Seven bits a byte, the lowest bit left for a parity that nobody checks.
fn spread_des_key(key: &[u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|index| ((bits >> (49 - 7 * index)) as u8) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// FIPS 180-2 appendices: "abc".
    #[test]
    fn sha_family() {
        let abc: [&[u8]; 2] = [b"a", b"bc"];
        assert_eq!(hash(HashAlgorithm::Sha1, &abc), hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(hash(HashAlgorithm::Sha256, &abc), hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert!(hash(HashAlgorithm::Sha384, &abc).starts_with(&hex("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163")));
        assert!(hash(HashAlgorithm::Sha512, &abc).starts_with(&hex("ddaf35a193617abacc417349ae204131")));
        assert_eq!(hash(HashAlgorithm::Sha384, &abc).len(), 48);
        assert_eq!(hash(HashAlgorithm::Sha512, &abc).len(), 64);
    }

    #[test]
    fn registry_numbers() {
        let ids: Vec<_> = (0..=5).map(HashAlgorithm::from_id).collect();
        let known = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512].map(Some);
        assert_eq!(ids, [&[None], &known[..], &[None]].concat());
    }

    /// RFC 6229 section 2: keys of 40 and 128 bits, offset 0.
    #[test]
    fn rc4_keystream() {
        for (key, stream) in
            [("0102030405", "b2396305f03dc027ccc3524a0a1118a8"), ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97")]
        {
            let mut data = [0; 16];
            rc4(&hex(key), &mut data);
            assert_eq!(data.to_vec(), hex(stream));
            rc4(&hex(key), &mut data);
            assert_eq!(data, [0; 16]);
        }
    }

    /// RFC 1321 appendix A.5 and RFC 1320 appendix A.5.
    #[test]
    fn md_family() {
        assert_eq!(md5(&[]).to_vec(), hex("d41d8cd98f00b204e9800998ecf8427e"));
        assert_eq!(md5(&[b"message ", b"digest"]).to_vec(), hex("f96b697d7cb7938d525a2f31aaf161d0"));
        assert_eq!(md4(b"").to_vec(), hex("31d6cfe0d16ae931b73c59d7e0c089c0"));
        assert_eq!(md4(b"message digest").to_vec(), hex("d9130a8164549fe818874806e1c7014b"));
    }

    /// RFC 2202 section 2, cases 1, 2 and 6.
    #[test]
    fn hmac_md5_vectors() {
        assert_eq!(hmac_md5(&[0x0b; 16], &[b"Hi ", b"There"]).to_vec(), hex("9294727a3638bb1c13f48ef8158bfc9d"));
        assert_eq!(hmac_md5(b"Jefe", &[b"what do ya want for nothing?"]).to_vec(), hex("750c783e6ab0b503eaa86e310a5db738"));
        let long = hmac_md5(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(long.to_vec(), hex("6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"));
    }

    /// RFC 2759 section 9.2: user "User", password "clientPass".
    #[test]
    fn ms_chap_v2_response() {
        let auth_challenge = hex("5B5D7C7D7B3F2F3E3C2C602132262628");
        let peer_challenge = hex("21402324255E262A28295F2B3A337C7E");
        let challenge = hash(HashAlgorithm::Sha1, &[&peer_challenge, &auth_challenge, b"User"]);
        assert_eq!(challenge[..8], hex("D02E4386BCE91226"));
        let challenge: [u8; 8] = challenge[..8].try_into().unwrap();

        let unicode: Vec<u8> = "clientPass".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let password_hash = md4(&unicode);
        assert_eq!(password_hash.to_vec(), hex("44EBBA8D5312B8D611474411F56989AE"));
        assert_eq!(md4(&password_hash).to_vec(), hex("41C00C584BD2D91C4017A2A12FA59F3F"));

        let mut padded = [0; 21];
        padded[..16].copy_from_slice(&password_hash);
        let response: Vec<u8> = padded.chunks(7).flat_map(|key| des_encrypt_block(key.try_into().unwrap(), &challenge)).collect();
        assert_eq!(response, hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
    }

    /// The all-zero key is weak, and yet the third key of a password hash may be it (FIPS 81 zero vector).
    #[test]
    fn des_takes_weak_keys() {
        assert_eq!(des_encrypt_block(&[0; 7], &[0; 8]).to_vec(), hex("8CA64DE9C1B123A7"));
    }
}
