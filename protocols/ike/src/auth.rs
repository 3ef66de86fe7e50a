//! The AUTH payload (RFC 7296 sections 2.15 and 2.16, RFC 4754, RFC 7427).
use crate::wire::{Auth, Notify};
use crypto::Zeroizing;
use crypto::hash::HashAlgorithm;
use crypto::prf::Prf;
use crypto::sign::{KeyKind, Scheme};

/// Identity "hash" of SIGNATURE_HASH_ALGORITHMS, for Ed25519 (RFC 8420).
pub const HASH_IDENTITY: u16 = 5;

/// InitiatorSignedOctets or ResponderSignedOctets: `message` is the sender's own first message (IKE_SA_INIT, whole, as on the wire),
/// `peer_nonce` the other side's nonce data, `sk_p` and `id_body` the sender's SK_pi/SK_pr and RestOfInitIDPayload.
pub fn signed_octets(prf: Prf, message: &[u8], peer_nonce: &[u8], sk_p: &[u8], id_body: &[u8]) -> Vec<u8> {
    todo!()
}

/// AUTH after EAP (method 2): with the MSK, or with the sender's SK_pi/SK_pr when the method made none (`msk` empty).
pub fn eap_auth(prf: Prf, msk: &[u8], sk_p: &[u8], octets: &[u8]) -> Auth {
    todo!()
}

/// Compares the peer's AUTH after EAP with what it must be, in constant time.
pub fn verify_eap_auth(auth: &Auth, prf: Prf, msk: &[u8], sk_p: &[u8], octets: &[u8]) -> Result<(), AuthError> {
    todo!()
}

/// How to sign and which number AUTH carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthChoice {
    /// See [`crate::wire::auth_method`].
    pub method: u8,
    pub scheme: Scheme,
}

/// Signature scheme for our key: Digital Signature (14) when the peer announced hashes that fit, else RSA with SHA-1 (1) or
/// ECDSA (9, 10, 11). `peer_hashes` is what [`signature_hashes`] read.
pub fn choose_scheme(key: KeyKind, peer_hashes: Option<&[u16]>) -> Result<AuthChoice, AuthError> {
    todo!()
}

impl AuthChoice {
    /// The AUTH payload around a signature made with [`AuthChoice::scheme`].
    pub fn payload(self, signature: &[u8]) -> Auth {
        todo!()
    }
}

impl std::fmt::Display for AuthChoice {
    /// For the record: `1 (RSA PKCS#1 SHA-1)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// Verifies the peer's AUTH with the key of its certificate (DER SubjectPublicKeyInfo); says what it was signed with.
pub fn verify_auth(auth: &Auth, spki: &[u8], octets: &[u8]) -> Result<AuthChoice, AuthError> {
    todo!()
}

/// Our N(SIGNATURE_HASH_ALGORITHMS): SHA2-256, SHA2-384, SHA2-512, Identity.
pub fn signature_hashes_notify() -> Notify {
    todo!()
}

/// The hash numbers in N(SIGNATURE_HASH_ALGORITHMS), unknown ones included.
pub fn signature_hashes(notify: &Notify) -> Vec<u16> {
    todo!()
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("AUTH method {0} is not accepted here")]
    Method(u8),
    #[error("AUTH method {method} does not fit the certificate's key ({key:?})")]
    KeyMismatch { method: u8, key: KeyKind },
    #[error("the certificate's key is of a kind that is not supported")]
    UnknownKey,
    #[error("AUTH method 14 with the unsupported signature algorithm {0}")]
    Algorithm(String),
    #[error("AUTH payload is malformed: {0}")]
    Malformed(&'static str),
    #[error("signature of AUTH method {0} does not verify")]
    BadSignature(AuthText),
    #[error("AUTH after EAP does not verify: the two sides hold different keys (MSK)")]
    BadSharedKey,
    #[error("a key of kind {0:?} cannot sign for this peer: it announced no hash that fits (N(SIGNATURE_HASH_ALGORITHMS))")]
    NoScheme(KeyKind),
}

/// [`AuthChoice`] as text.
pub type AuthText = String;
