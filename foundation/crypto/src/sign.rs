//! Signatures of IKE_AUTH: private keys loaded from PEM, schemes of RFC 7296, RFC 4754, RFC 7427.
use crate::hash::HashAlgorithm;

/// What kind of key a certificate or private key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    Rsa { bits: u32 },
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
}

/// How to sign and how the signature is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5. SHA-1 is what Windows uses with IKE authentication method 1.
    RsaPkcs1(HashAlgorithm),
    /// RSASSA-PSS, salt as long as the hash, MGF1 with the same hash.
    RsaPss(HashAlgorithm),
    /// ECDSA with r and s concatenated at fixed length (RFC 4754: methods 9, 10, 11).
    EcdsaFixed(HashAlgorithm),
    /// ECDSA as ASN.1 SEQUENCE (RFC 7427, method 14).
    EcdsaAsn1(HashAlgorithm),
    Ed25519,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no private key in the PEM text; expected PKCS#8, PKCS#1 (RSA) or SEC1 (EC)")]
    NoKey,
    #[error("encrypted private keys are not accepted: store it decrypted with mode 0600")]
    Encrypted,
    #[error("private key cannot be used: {0}")]
    Unusable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("scheme {scheme:?} does not fit a key of kind {kind:?}")]
pub struct SchemeMismatch {
    pub scheme: Scheme,
    pub kind: KeyKind,
}

/// The signature does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

/// A private key; `Send + Sync`, Debug redacted.
pub struct SigningKey {
    pub(crate) kind: KeyKind,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// PKCS#8, PKCS#1 or SEC1, RSA 2048..=8192, P-256/384/521, Ed25519.
    pub fn from_pem(_pem: &[u8]) -> Result<Self, KeyError> {
        todo!()
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    /// DER SubjectPublicKeyInfo, to compare with the certificate's.
    pub fn public_spki(&self) -> Vec<u8> {
        todo!()
    }
    /// Signs `data` (hashing included). Slow (RSA about 0.2 ms): machines ask for it.
    pub fn sign(&self, _scheme: Scheme, _data: &[u8]) -> Result<Vec<u8>, SchemeMismatch> {
        todo!()
    }
}

/// Kind of the key in a DER SubjectPublicKeyInfo; `None` for what Evergate cannot use.
pub fn spki_kind(_spki: &[u8]) -> Option<KeyKind> {
    todo!()
}

/// Verifies `signature` over `data` with the key in the DER SubjectPublicKeyInfo.
pub fn verify(_spki: &[u8], _scheme: Scheme, _data: &[u8], _signature: &[u8]) -> Result<(), BadSignature> {
    todo!()
}
