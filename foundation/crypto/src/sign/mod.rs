//! Signatures of IKE_AUTH: private keys loaded from PEM, schemes of RFC 7296, RFC 4754, RFC 7427.
mod rsa_sha1;
mod spki;

use crate::hash::{HashAlgorithm, hash};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use rsa_sha1::RsaSha1Key;
use rustls_pki_types::pem::{self, PemObject, SectionKind};
use zeroize::Zeroizing;

/// What kind of key a certificate or private key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    Rsa { bits: u32 },
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
}

impl std::fmt::Display for KeyKind {
    /// `RSA 2048`, `ECDSA P-256`, `Ed25519`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
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
    spki: Vec<u8>,
    secret: Secret,
}

enum Secret {
    Rsa {
        pair: Box<RsaKeyPair>,
        sha1: RsaSha1Key,
    },
    /// The library binds a key pair to hash and encoding: one for each scheme of the curve.
    Ecdsa(Vec<(Scheme, EcdsaKeyPair)>),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1; RSA 2048..=8192 bits, P-256/384/521, Ed25519.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
        if contains(pem, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(pem, b"Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (section_kind, der) = section.map_err(|error| KeyError::Unusable(pem_error(&error).into()))?;
            let der = Zeroizing::new(der);
            match section_kind {
                SectionKind::PrivateKey => return Self::from_pkcs8(&der),
                SectionKind::RsaPrivateKey => return Self::from_pkcs1(spki::pkcs1_kind(&der), &der),
                SectionKind::EcPrivateKey => return Self::from_sec1(&der),
                _ => {}
            }
        }
        Err(KeyError::NoKey)
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    /// DER SubjectPublicKeyInfo, to compare with the certificate's.
    pub fn public_spki(&self) -> Vec<u8> {
        self.spki.clone()
    }
    /// Signs `data` (hashing included). Slow (RSA about 0.2 ms): machines ask for it.
    ///
    /// The schemes of a kind: RSA, PKCS#1 with every hash and PSS with all but SHA-1; P-256 with SHA-256, P-384 with SHA-384, P-521
    /// with SHA-512 (as ASN.1 also with SHA-256 and SHA-384); Ed25519.
    pub fn sign(&self, scheme: Scheme, data: &[u8]) -> Result<Vec<u8>, SchemeMismatch> {
        let mismatch = SchemeMismatch { scheme, kind: self.kind };
        match (&self.secret, scheme) {
            (Secret::Rsa { sha1, .. }, Scheme::RsaPkcs1(HashAlgorithm::Sha1)) => {
                let digest = hash(HashAlgorithm::Sha1, &[data]);
                // SHA-1 yields 20 bytes; signing fails only when memory does.
                Ok(digest.as_slice().try_into().ok().and_then(|digest| sha1.sign(digest)).expect("an RSA signature"))
            }
            (Secret::Rsa { pair, .. }, _) => {
                let encoding = rsa_encoding(scheme).ok_or(mismatch)?;
                let mut out = vec![0; pair.public_modulus_len()];
                // The buffer has the length asked for; signing fails only when memory does.
                pair.sign(encoding, &SystemRandom::new(), data, &mut out).expect("an RSA signature");
                Ok(out)
            }
            (Secret::Ecdsa(pairs), _) => {
                let (_, pair) = pairs.iter().find(|(of, _)| *of == scheme).ok_or(mismatch)?;
                // Signing fails only when memory does.
                Ok(pair.sign(&SystemRandom::new(), data).expect("an ECDSA signature").as_ref().to_vec())
            }
            (Secret::Ed25519(pair), Scheme::Ed25519) => Ok(pair.sign(data).as_ref().to_vec()),
            (Secret::Ed25519(_), _) => Err(mismatch),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        match spki::pkcs8_kind(der) {
            Some((kind @ KeyKind::Rsa { .. }, key)) => Self::from_pkcs1(Some(kind), key),
            Some((KeyKind::Ed25519, _)) => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(unusable)?;
                Ok(Self { kind: KeyKind::Ed25519, spki: public_der(pair.public_key())?, secret: Secret::Ed25519(pair) })
            }
            Some((kind, _)) => Self::from_ec(kind, der),
            None => Err(KeyError::Unusable("neither RSA, nor EC on P-256, P-384 or P-521, nor Ed25519, or damaged".into())),
        }
    }

    fn from_pkcs1(kind: Option<KeyKind>, der: &[u8]) -> Result<Self, KeyError> {
        let Some(kind @ KeyKind::Rsa { bits }) = kind else {
            return Err(KeyError::Unusable("damaged RSA key".into()));
        };
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::Unusable(format!("RSA of {bits} bits; 2048 to 8192 bits are accepted")));
        }
        let pair = Box::new(RsaKeyPair::from_der(der).map_err(unusable)?);
        let sha1 = RsaSha1Key::from_pkcs1(der).ok_or_else(|| KeyError::Unusable("inconsistent RSA key".into()))?;
        Ok(Self { kind, spki: public_der(pair.public_key())?, secret: Secret::Rsa { pair, sha1 } })
    }

    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let kind = spki::sec1_kind(der);
        let kind = kind.ok_or_else(|| KeyError::Unusable("EC key on another curve than P-256, P-384 or P-521, or damaged".into()))?;
        Self::from_ec(kind, der)
    }

    /// `der` is PKCS#8 or SEC1.
    fn from_ec(kind: KeyKind, der: &[u8]) -> Result<Self, KeyError> {
        let pairs = ecdsa_algorithms(kind)
            .iter()
            .map(|(scheme, algorithm)| Ok((*scheme, EcdsaKeyPair::from_private_key_der(algorithm, der).map_err(unusable)?)))
            .collect::<Result<Vec<_>, KeyError>>()?;
        // Every curve has at least one scheme.
        let spki = public_der(pairs.first().expect("a scheme of the curve").1.public_key())?;
        Ok(Self { kind, spki, secret: Secret::Ecdsa(pairs) })
    }
}

/// Kind of the key in a DER SubjectPublicKeyInfo; `None` for what Evergate cannot use. RSA of any length has a kind; [`verify`]
/// refuses what is shorter than 2048 bits.
pub fn spki_kind(spki: &[u8]) -> Option<KeyKind> {
    spki::public_kind(spki)
}

/// Verifies `signature` over `data` with the key in the DER SubjectPublicKeyInfo.
///
/// ECDSA at fixed length goes with the hash of the curve (RFC 4754), as ASN.1 with every SHA-2 (RFC 7427); RSA has 2048 to 8192 bits.
pub fn verify(spki: &[u8], scheme: Scheme, data: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let kind = spki_kind(spki).ok_or(BadSignature)?;
    let algorithm = verification_algorithm(kind, scheme).ok_or(BadSignature)?;
    UnparsedPublicKey::new(algorithm, spki).verify(data, signature).map_err(|_| BadSignature)
}

fn verification_algorithm(kind: KeyKind, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};
    use KeyKind::{EcdsaP256, EcdsaP384, EcdsaP521};
    use Scheme::{EcdsaAsn1, EcdsaFixed, RsaPkcs1, RsaPss};
    Some(match (kind, scheme) {
        (KeyKind::Rsa { .. }, RsaPkcs1(Sha1)) => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (KeyKind::Rsa { .. }, RsaPkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyKind::Rsa { .. }, RsaPkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (KeyKind::Rsa { .. }, RsaPkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (KeyKind::Rsa { .. }, RsaPss(Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
        (KeyKind::Rsa { .. }, RsaPss(Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
        (KeyKind::Rsa { .. }, RsaPss(Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
        (EcdsaP256, EcdsaFixed(Sha256)) => &signature::ECDSA_P256_SHA256_FIXED,
        (EcdsaP384, EcdsaFixed(Sha384)) => &signature::ECDSA_P384_SHA384_FIXED,
        (EcdsaP521, EcdsaFixed(Sha512)) => &signature::ECDSA_P521_SHA512_FIXED,
        (EcdsaP256, EcdsaAsn1(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (EcdsaP256, EcdsaAsn1(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
        (EcdsaP256, EcdsaAsn1(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
        (EcdsaP384, EcdsaAsn1(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
        (EcdsaP384, EcdsaAsn1(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (EcdsaP384, EcdsaAsn1(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
        (EcdsaP521, EcdsaAsn1(Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
        (EcdsaP521, EcdsaAsn1(Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
        (EcdsaP521, EcdsaAsn1(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (KeyKind::Ed25519, Scheme::Ed25519) => &signature::ED25519,
        _ => return None,
    })
}

fn rsa_encoding(scheme: Scheme) -> Option<&'static dyn RsaEncoding> {
    Some(match scheme {
        Scheme::RsaPkcs1(HashAlgorithm::Sha256) => &signature::RSA_PKCS1_SHA256,
        Scheme::RsaPkcs1(HashAlgorithm::Sha384) => &signature::RSA_PKCS1_SHA384,
        Scheme::RsaPkcs1(HashAlgorithm::Sha512) => &signature::RSA_PKCS1_SHA512,
        Scheme::RsaPss(HashAlgorithm::Sha256) => &signature::RSA_PSS_SHA256,
        Scheme::RsaPss(HashAlgorithm::Sha384) => &signature::RSA_PSS_SHA384,
        Scheme::RsaPss(HashAlgorithm::Sha512) => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

/// Schemes that a key on this curve signs with; empty for RSA and Ed25519.
fn ecdsa_algorithms(kind: KeyKind) -> &'static [(Scheme, &'static EcdsaSigningAlgorithm)] {
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    use Scheme::{EcdsaAsn1, EcdsaFixed};
    match kind {
        KeyKind::EcdsaP256 => &[
            (EcdsaFixed(Sha256), &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (EcdsaAsn1(Sha256), &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        ],
        KeyKind::EcdsaP384 => &[
            (EcdsaFixed(Sha384), &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            (EcdsaAsn1(Sha384), &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        ],
        KeyKind::EcdsaP521 => &[
            (EcdsaFixed(Sha512), &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            (EcdsaAsn1(Sha512), &signature::ECDSA_P521_SHA512_ASN1_SIGNING),
            (EcdsaAsn1(Sha384), &signature::ECDSA_P521_SHA384_ASN1_SIGNING),
            (EcdsaAsn1(Sha256), &signature::ECDSA_P521_SHA256_ASN1_SIGNING),
        ],
        KeyKind::Rsa { .. } | KeyKind::Ed25519 => &[],
    }
}

fn public_der<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Result<Vec<u8>, KeyError> {
    let der = key.as_der().map_err(|_| KeyError::Unusable("its public half cannot be written".into()))?;
    Ok(der.as_ref().to_vec())
}

fn unusable(error: aws_lc_rs::error::KeyRejected) -> KeyError {
    KeyError::Unusable(format!("{error}"))
}

/// What is wrong with the PEM text, without showing any of it.
fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a PEM section has a malformed BEGIN line",
        pem::Error::Base64Decode(_) => "a PEM section is not base64",
        _ => "the PEM text cannot be read",
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
