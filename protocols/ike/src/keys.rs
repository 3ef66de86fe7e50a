//! Key derivation (RFC 7296 sections 2.14, 2.17, 2.18).
use crate::api::{ChildKeys, IkeSuite};
use crate::wire::Spi;
use crypto::Zeroizing;
use crypto::cipher::{Opener, Sealer, Suite};
use crypto::prf::Prf;

/// What one IKE_SA_INIT, or one rekey of the IKE SA, brings to the derivation.
#[derive(Clone, Copy)]
pub struct Seed<'a> {
    /// g^ir.
    pub shared_secret: &'a [u8],
    pub nonce_i: &'a [u8],
    pub nonce_r: &'a [u8],
    pub spi_i: Spi,
    pub spi_r: Spi,
}

/// The seven keys of an IKE SA. For an AEAD `ai` and `ar` are empty.
#[derive(Clone)]
pub struct IkeKeys {
    pub suite: IkeSuite,
    pub d: Zeroizing<Vec<u8>>,
    pub ai: Zeroizing<Vec<u8>>,
    pub ar: Zeroizing<Vec<u8>>,
    pub ei: Zeroizing<Vec<u8>>,
    pub er: Zeroizing<Vec<u8>>,
    pub pi: Zeroizing<Vec<u8>>,
    pub pr: Zeroizing<Vec<u8>>,
}

impl IkeKeys {
    /// Keys of a first IKE SA (section 2.14).
    pub fn derive(suite: IkeSuite, seed: Seed<'_>) -> Self {
        let nonces = Zeroizing::new([seed.nonce_i, seed.nonce_r].concat());
        let skeyseed = suite.prf.compute(&nonces, &[seed.shared_secret]);
        Self::expand(suite, &skeyseed, seed)
    }

    /// Keys of the IKE SA that replaces this one (section 2.18): SKEYSEED from the old PRF and SK_d, everything else from the new.
    pub fn rekey(&self, suite: IkeSuite, seed: Seed<'_>) -> Self {
        self.rekey_more(suite, seed, &[])
    }

    /// As [`IkeKeys::rekey`], with the shared secret of an additional key exchange (RFC 9370 section 2.2.4).
    pub fn rekey_more(&self, suite: IkeSuite, seed: Seed<'_>, additional: &[u8]) -> Self {
        let skeyseed = self.suite.prf.compute(&self.d, &[seed.shared_secret, seed.nonce_i, seed.nonce_r, additional]);
        Self::expand(suite, &skeyseed, seed)
    }

    /// The keys with a postquantum preshared key mixed into those that later keys and AUTH come from (RFC 8784 section 3).
    #[must_use]
    pub fn with_ppk(&self, ppk: &[u8]) -> Self {
        let mix = |key: &[u8]| self.suite.prf.plus(ppk, &[key], key.len());
        Self { d: mix(&self.d), pi: mix(&self.pi), pr: mix(&self.pr), ..self.clone() }
    }

    fn expand(suite: IkeSuite, skeyseed: &[u8], seed: Seed<'_>) -> Self {
        let (prf_len, a_len, e_len) = (suite.prf.len(), suite.protection.integrity_key_len(), suite.protection.encryption_key_len());
        let spis = [seed.spi_i.0.to_be_bytes(), seed.spi_r.0.to_be_bytes()];
        let parts = [seed.nonce_i, seed.nonce_r, &spis[0], &spis[1]];
        let mut material = Material::new(suite.prf.plus(skeyseed, &parts, 3 * prf_len + 2 * a_len + 2 * e_len));
        // Fields of a literal are evaluated in the order they are written, which is the order of section 2.14.
        Self {
            suite,
            d: material.take(prf_len),
            ai: material.take(a_len),
            ar: material.take(a_len),
            ei: material.take(e_len),
            er: material.take(e_len),
            pi: material.take(prf_len),
            pr: material.take(prf_len),
        }
    }

    /// Both halves of the protection for one side: `initiator` says whether we are the initiator of this IKE SA (of its rekey, if it
    /// came from one).
    pub fn ciphers(&self, initiator: bool) -> (Sealer, Opener) {
        let (i, r) = ((&self.ei, &self.ai), (&self.er, &self.ar));
        let (own, peer) = if initiator { (i, r) } else { (r, i) };
        // `expand` cuts the keys to the lengths that this very suite asks for.
        let sealer = Sealer::new(self.suite.protection, own.0, own.1).expect("keys of the suite's lengths");
        let opener = Opener::new(self.suite.protection, peer.0, peer.1).expect("keys of the suite's lengths");
        (sealer, opener)
    }

    /// Keys of a Child SA (section 2.17); `shared_secret` with PFS.
    pub fn child(&self, suite: Suite, shared_secret: Option<&[u8]>, nonce_i: &[u8], nonce_r: &[u8]) -> ChildKeyPair {
        self.child_more(suite, shared_secret, nonce_i, nonce_r, &[])
    }

    /// As [`IkeKeys::child`], with the shared secret of an additional key exchange (RFC 9370 section 2.2.4).
    pub fn child_more(
        &self,
        suite: Suite,
        shared_secret: Option<&[u8]>,
        nonce_i: &[u8],
        nonce_r: &[u8],
        additional: &[u8],
    ) -> ChildKeyPair {
        let (e_len, a_len) = (suite.encryption_key_len(), suite.integrity_key_len());
        let parts = [shared_secret.unwrap_or_default(), nonce_i, nonce_r, additional];
        let mut material = Material::new(self.suite.prf.plus(&self.d, &parts, 2 * (e_len + a_len)));
        let mut direction = || ChildKeys { encryption: material.take(e_len), integrity: material.take(a_len) };
        let initiator = direction();
        ChildKeyPair { initiator, responder: direction() }
    }

    pub fn prf(&self) -> Prf {
        self.suite.prf
    }
}

/// Keying material, cut from the front.
struct Material {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Material {
    fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { bytes, used: 0 }
    }
    fn take(&mut self, len: usize) -> Zeroizing<Vec<u8>> {
        let start = self.used;
        self.used += len;
        Zeroizing::new(self.bytes[start..self.used].to_vec())
    }
}

impl std::fmt::Debug for Seed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("spi_i", &self.spi_i).field("spi_r", &self.spi_r).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IkeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IkeKeys").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// Keys of both directions of a Child SA; initiator and responder of the exchange that made it.
#[derive(Debug)]
pub struct ChildKeyPair {
    /// For packets from the initiator to the responder.
    pub initiator: ChildKeys,
    /// For packets from the responder to the initiator.
    pub responder: ChildKeys,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::hex;
    use crypto::cipher::{Encryption, Integrity};
    use crypto::dh::Group;

    const NI: &str = "3651fef5c9c35e93";
    const NR: &str = "c09a8b90a3f04d59";
    const GIR: &str = "d084a30166a50fb7325c3960874a839449ef9741c2f4f947d0201dd8c1269273d79509f37e3ca3eb4fa2fe2a28254e28\
                       9cd3f34dad4eb4df1a07685a4b8a94fa61e2491f7598b3ce65547ff133b3f63d1ac4175eaa695033f3cedb026a6873a3\
                       6455172a8540b8a5d23a0143bed0390ee49b168269d75fffee9fb62be965993c";
    const GIR_NEW: &str = "52f00ab174c25d5b7139ae5ff4e8e9eddee5992d2e36adf8a559ffd90dab1442e4fbe429d320c0f33552a17d1557fa4\
                           1ea70e8fb916c4fa27ed52b5f8ebd8461afa78f1159159a64055ac5f6319e29c28eae58cbc6847770f32c3fed1d04750\
                           484f854790f95e9ec01bc5bc461f24966462e359511329305038e94deb6dd42c2";

    fn suite(encryption: Encryption, integrity: Option<Integrity>, prf: Prf) -> IkeSuite {
        IkeSuite { protection: Suite::new(encryption, integrity).unwrap(), prf, group: Group::Modp1024 }
    }

    fn nist() -> (IkeKeys, Vec<u8>, Vec<u8>) {
        let suite = suite(Encryption::AesCbc128, Some(Integrity::HmacSha1_96), Prf::HmacSha1);
        let (nonce_i, nonce_r, shared_secret) = (hex(NI), hex(NR), hex(GIR));
        let (spi_i, spi_r) = (Spi(0x8e5c_3ae5_0722_1684), Spi(0xb1f2_01bb_155c_3acd));
        let seed = Seed { shared_secret: &shared_secret, nonce_i: &nonce_i, nonce_r: &nonce_r, spi_i, spi_r };
        (IkeKeys::derive(suite, seed), nonce_i, nonce_r)
    }

    /// NIST CAVP, SP 800-135 IKEv2 KDF, SHA-1: the 132 bytes of its DKM are the keys of this very suite.
    #[test]
    fn nist_ike_sa() {
        let (keys, ..) = nist();
        let all = [&keys.d, &keys.ai, &keys.ar, &keys.ei, &keys.er, &keys.pi, &keys.pr].map(|key| key.to_vec()).concat();
        let want = hex("6f1b12cad3cbe097b35430356d869d54cddb0198ec859174d53ceb92dddedbe2436db69f60977c58fa63bbb667f8d36920b109baae8f6c61\
             a9ac49feda01843225d080ec5539d5881a25521ffb2a0a91874a9c0a27fcc2d717eb8963a9e3a89c7ab264757284c28cf8c3ca40576f4220\
             b052b1fb8e9ad60ba3c80557323331a8cbb89f20");
        assert_eq!(all, want);
        assert_eq!([&keys.d, &keys.ai, &keys.ei, &keys.pr].map(|key| key.len()), [20, 20, 16, 20]);
    }

    /// The same vector's "DKM Child SA" and "DKM Child SA D-H", as far as one suite takes them.
    #[test]
    fn nist_child_sa() {
        let (keys, nonce_i, nonce_r) = nist();
        let suite = Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)).unwrap();
        let material = |shared: Option<&[u8]>| {
            let pair = keys.child(suite, shared, &nonce_i, &nonce_r);
            [pair.initiator.encryption, pair.initiator.integrity, pair.responder.encryption, pair.responder.integrity]
                .map(|key| key.to_vec())
                .concat()
        };
        let plain = "4727dc0ef94eb326ce131cf282fb652faa638ad0ddae3786a11bcc0309876009f8c485de011ad962c5b1ca8a41ff8145445749079c5686\
                     e26ffebbc342f06981f3da745e11ca0976424d1f8caec623d59dc7186deb20a27b411d1dcb70a365440bf7de90\
                     5088b0692e8addc094e18d1939bdb67e89798ca6b239e2ccb81c2409dac0106c";
        let pfs = "b109c21ad4c0797768c1cec9e63554681e48f224bca7f23c20c4ea7041983451e9aa1d5408656c8a975ff1b9d9a12c75ffeb64bdecb30174\
                   664cccb4e14f1c377b7f6d1525af77c7092aac3e47f917ebae8297fb5539d2008ce830823a09cc197361d4a2\
                   89c72745f6ce9fefe812be5bf55b3200fbb82e41a4a40877d3fe106db909707b";
        // 2 * (32 + 20) bytes of it.
        assert_eq!(material(None), hex(plain)[..104]);
        assert_eq!(material(Some(&hex(GIR_NEW))), hex(pfs)[..104]);
    }

    /// The same vector's SKEYSEED of a rekey; the new suite has another PRF, which must not be used for SKEYSEED.
    #[test]
    fn nist_rekey() {
        let (keys, nonce_i, nonce_r) = nist();
        let new = suite(Encryption::AesGcm256, None, Prf::HmacSha256);
        let shared_secret = hex(GIR_NEW);
        let seed = Seed { shared_secret: &shared_secret, nonce_i: &nonce_i, nonce_r: &nonce_r, spi_i: Spi(1), spi_r: Spi(2) };
        let rekeyed = keys.rekey(new, seed);
        let skeyseed = hex("3b03bce748c96d5e8306918d2ff89b68f0648da3");
        let spis = [1u64, 2].map(u64::to_be_bytes).concat();
        let want = Prf::HmacSha256.plus(&skeyseed, &[&nonce_i, &nonce_r, &spis], 3 * 32 + 2 * 36);
        assert_eq!((rekeyed.d.as_slice(), rekeyed.pr.as_slice()), (&want[..32], &want[136..]));
        assert_eq!((rekeyed.ai.len(), rekeyed.ar.len(), rekeyed.ei.as_slice()), (0, 0, &want[32..68]));
    }

    /// RFC 8784 section 3, written out: one block of prf+ is prf(PPK, key | 0x01). What protects the messages stays.
    #[test]
    fn a_ppk_changes_three_keys() {
        let (keys, ..) = nist();
        let mixed = keys.with_ppk(b"a postquantum preshared key");
        for (old, new) in [(&keys.d, &mixed.d), (&keys.pi, &mixed.pi), (&keys.pr, &mixed.pr)] {
            assert_eq!(*new, Prf::HmacSha1.compute(b"a postquantum preshared key", &[old, &[1]]));
        }
        assert_eq!((&mixed.ai, &mixed.ar, &mixed.ei, &mixed.er), (&keys.ai, &keys.ar, &keys.ei, &keys.er));
        assert_ne!(mixed.d, keys.with_ppk(b"another").d);
    }

    #[test]
    fn the_two_sides_understand_each_other() {
        let (keys, ..) = nist();
        let ((sealer, _), (peer_sealer, opener)) = (keys.ciphers(true), keys.ciphers(false));
        let (mut iv, mut body, mut icv) = ([0; 16], [7; 16], [0; 12]);
        sealer.seal(1, b"aad", &mut iv, &mut body, &mut icv, &[]);
        opener.open(b"aad", &iv, &mut body, &icv, &[]).unwrap();
        assert_eq!(body, [7; 16]);
        peer_sealer.seal(1, b"aad", &mut iv, &mut body, &mut icv, &[]);
        assert!(opener.open(b"aad", &iv, &mut body, &icv, &[]).is_err(), "directions have keys of their own");
    }

    #[test]
    fn debug_shows_no_key() {
        let (keys, nonce_i, nonce_r) = nist();
        let child = keys.child(keys.suite.protection, None, &nonce_i, &nonce_r);
        let text = format!("{keys:?} {child:?}");
        assert!(!text.contains("111, 27") && text.contains("ChildKeys(..)"), "{text}");
    }
}
