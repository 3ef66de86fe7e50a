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
        todo!()
    }
    /// Keys of the IKE SA that replaces this one (section 2.18).
    pub fn rekey(&self, suite: IkeSuite, seed: Seed<'_>) -> Self {
        todo!()
    }
    /// Both halves of the protection for one side: `initiator` says whether we are the initiator of this IKE SA (of the last rekey).
    pub fn ciphers(&self, initiator: bool) -> (Sealer, Opener) {
        todo!()
    }
    /// Keys of a Child SA (section 2.17); `shared_secret` with PFS.
    pub fn child(&self, suite: Suite, shared_secret: Option<&[u8]>, nonce_i: &[u8], nonce_r: &[u8]) -> ChildKeyPair {
        todo!()
    }
    pub fn prf(&self) -> Prf {
        self.suite.prf
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
