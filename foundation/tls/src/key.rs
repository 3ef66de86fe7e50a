//! Private keys of the house as the TLS library wants them: the key bytes stay where they are.
use crypto::hash::HashAlgorithm::{Sha256, Sha384, Sha512};
use crypto::sign::{KeyKind, Scheme, SigningKey};
use rustls::sign::Signer;
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use std::sync::Arc;

/// A key in the wording of TLS.
#[derive(Debug)]
pub(crate) struct TlsKey(pub(crate) Arc<SigningKey>);

/// A key and how to sign with it.
#[derive(Debug)]
struct TlsSigner {
    key: Arc<SigningKey>,
    name: SignatureScheme,
    scheme: Scheme,
}

const RSA: &[(SignatureScheme, Scheme)] = &[
    (SignatureScheme::RSA_PSS_SHA256, Scheme::RsaPss(Sha256)),
    (SignatureScheme::RSA_PSS_SHA384, Scheme::RsaPss(Sha384)),
    (SignatureScheme::RSA_PSS_SHA512, Scheme::RsaPss(Sha512)),
    (SignatureScheme::RSA_PKCS1_SHA256, Scheme::RsaPkcs1(Sha256)),
    (SignatureScheme::RSA_PKCS1_SHA384, Scheme::RsaPkcs1(Sha384)),
    (SignatureScheme::RSA_PKCS1_SHA512, Scheme::RsaPkcs1(Sha512)),
];

/// What a key of this kind can sign with, the most wanted first (RFC 8446 section 4.2.3). The library itself leaves PKCS#1 to TLS 1.2.
pub(crate) fn schemes(kind: KeyKind) -> &'static [(SignatureScheme, Scheme)] {
    match kind {
        KeyKind::Rsa { .. } => RSA,
        KeyKind::EcdsaP256 => &[(SignatureScheme::ECDSA_NISTP256_SHA256, Scheme::EcdsaAsn1(Sha256))],
        KeyKind::EcdsaP384 => &[(SignatureScheme::ECDSA_NISTP384_SHA384, Scheme::EcdsaAsn1(Sha384))],
        KeyKind::EcdsaP521 => &[(SignatureScheme::ECDSA_NISTP521_SHA512, Scheme::EcdsaAsn1(Sha512))],
        KeyKind::Ed25519 => &[(SignatureScheme::ED25519, Scheme::Ed25519)],
    }
}

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let &(name, scheme) = schemes(self.0.kind()).iter().find(|(name, _)| offered.contains(name))?;
        Some(Box::new(TlsSigner { key: self.0.clone(), name, scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind() {
            KeyKind::Rsa { .. } => SignatureAlgorithm::RSA,
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.sign(self.scheme, message).map_err(|error| Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.name
    }
}
