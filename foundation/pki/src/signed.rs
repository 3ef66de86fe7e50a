//! What certificates and revocation lists have in common: content, algorithm, signature (RFC 5280 sections 4.1.1 and 5.1.1).
use webpki::ALL_VERIFICATION_ALGS;
use x509_parser::asn1_rs::{Any, FromDer};

pub(crate) struct Signed<'a> {
    /// What is signed, with its tag and length.
    pub(crate) content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn from_der(der: &'a [u8]) -> Option<Self> {
        let (_, outer) = Any::from_der(der).ok()?;
        let (rest, _) = Any::from_der(outer.data).ok()?;
        let content = outer.data.get(..outer.data.len() - rest.len())?;
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let (_, signature) = Any::from_der(rest).ok()?;
        Some(Self { content, algorithm: algorithm.data, signature: bits(signature.data)? })
    }

    /// The key of this SubjectPublicKeyInfo has made the signature, with an algorithm that is accepted (no SHA-1, no RSA key below 2048
    /// bits).
    pub(crate) fn is_by(&self, spki: &[u8]) -> bool {
        let Some((kind, key)) = key(spki) else { return false };
        let mut fitting = ALL_VERIFICATION_ALGS
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == self.algorithm && known.public_key_alg_id().as_ref() == kind);
        fitting.any(|algorithm| algorithm.verify_signature(key, self.content, self.signature).is_ok())
    }
}

/// Algorithm and key of a SubjectPublicKeyInfo.
fn key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, spki) = Any::from_der(spki).ok()?;
    let (rest, algorithm) = Any::from_der(spki.data).ok()?;
    let (_, key) = Any::from_der(rest).ok()?;
    Some((algorithm.data, bits(key.data)?))
}

/// A BIT STRING of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bytes)| bytes)
}
