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
        let skeyseed = self.suite.prf.compute(&self.d, &[seed.shared_secret, seed.nonce_i, seed.nonce_r]);
        Self::expand(suite, &skeyseed, seed)
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
        let (e_len, a_len) = (suite.encryption_key_len(), suite.integrity_key_len());
        let parts = [shared_secret.unwrap_or_default(), nonce_i, nonce_r];
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
