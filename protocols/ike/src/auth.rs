//! The AUTH payload (RFC 7296 sections 2.15 and 2.16, RFC 4754, RFC 7427).
mod algorithm;

use crate::wire::{Auth, Notify, auth_method, notify};
use crypto::hash::HashAlgorithm;
use crypto::prf::Prf;
use crypto::sign::{self, KeyKind, Scheme};

/// Identity "hash" of SIGNATURE_HASH_ALGORITHMS, for Ed25519 (RFC 8420).
pub const HASH_IDENTITY: u16 = 5;
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// InitiatorSignedOctets or ResponderSignedOctets: `message` is the sender's own first message (IKE_SA_INIT, whole, as on the wire),
/// `peer_nonce` the other side's nonce data, `sk_p` and `id_body` the sender's SK_pi/SK_pr and RestOfInitIDPayload.
pub fn signed_octets(prf: Prf, message: &[u8], peer_nonce: &[u8], sk_p: &[u8], id_body: &[u8]) -> Vec<u8> {
    [message, peer_nonce, &prf.compute(sk_p, &[id_body])].concat()
}

/// AUTH after EAP (method 2): with the MSK, or with the sender's SK_pi/SK_pr when the method made none (`msk` empty).
pub fn eap_auth(prf: Prf, msk: &[u8], sk_p: &[u8], octets: &[u8]) -> Auth {
    let secret = if msk.is_empty() { sk_p } else { msk };
    let data = prf.compute(&prf.compute(secret, &[KEY_PAD]), &[octets]);
    Auth { method: auth_method::SHARED_KEY, data: data.to_vec() }
}

/// Compares the peer's AUTH after EAP with what it must be, in constant time.
///
/// # Errors
/// [`AuthError::Method`] for another method than 2, [`AuthError::BadSharedKey`] when the two differ.
pub fn verify_eap_auth(auth: &Auth, prf: Prf, msk: &[u8], sk_p: &[u8], octets: &[u8]) -> Result<(), AuthError> {
    if auth.method != auth_method::SHARED_KEY {
        return Err(AuthError::Method(auth.method));
    }
    let want = eap_auth(prf, msk, sk_p, octets);
    if crypto::constant_time_eq(&want.data, &auth.data) { Ok(()) } else { Err(AuthError::BadSharedKey) }
}

/// How to sign and which number AUTH carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthChoice {
    /// See [`crate::wire::auth_method`].
    pub method: u8,
    pub scheme: Scheme,
}

/// Signature scheme for our key: Digital Signature (14) when the peer announced hashes that fit, else RSA with SHA-1 (1) or
/// ECDSA (9, 10, 11). `peer_hashes` is what [`signature_hashes`] read, `None` without that notify.
///
/// RSA signs with PKCS#1 v1.5 and not with RSASSA-PSS, which fewer clients can verify.
///
/// # Errors
/// [`AuthError::NoScheme`]: Ed25519 without a peer that announced Identity.
pub fn choose_scheme(key: KeyKind, peer_hashes: Option<&[u16]>) -> Result<AuthChoice, AuthError> {
    let announced = |hash: u16| peer_hashes.is_some_and(|hashes| hashes.contains(&hash));
    let generic = match key {
        KeyKind::Rsa { .. } => SHA2.into_iter().find(|hash| announced(hash.id())).map(Scheme::RsaPkcs1),
        KeyKind::Ed25519 => announced(HASH_IDENTITY).then_some(Scheme::Ed25519),
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => {
            curve_hash(key).filter(|hash| announced(hash.id())).map(Scheme::EcdsaAsn1)
        }
    };
    if let Some(scheme) = generic {
        return Ok(AuthChoice { method: auth_method::DIGITAL_SIGNATURE, scheme });
    }
    fixed(key).map(|(method, scheme)| AuthChoice { method, scheme }).ok_or(AuthError::NoScheme(key))
}

/// How well a key of this kind suits a peer, the lowest being the best; `None` where it could not verify the signature: Windows verifies neither
/// P-521 nor Ed25519. Towards Windows ECDSA comes first, for it takes RSA with SHA-1 alone; towards the rest RSA, for some refuse ECDSA without
/// saying so before (iOS profiles typed in by hand). `peer_hashes` as in [`choose_scheme`].
pub fn key_rank(key: KeyKind, windows: bool, peer_hashes: Option<&[u16]>) -> Option<u8> {
    choose_scheme(key, peer_hashes).ok()?;
    match key {
        KeyKind::EcdsaP521 | KeyKind::Ed25519 if windows => None,
        KeyKind::Rsa { .. } => Some(windows.into()),
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => Some((!windows).into()),
        KeyKind::Ed25519 => Some(2),
    }
}

const SHA2: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// The hash as strong as the curve.
fn curve_hash(key: KeyKind) -> Option<HashAlgorithm> {
    match key {
        KeyKind::EcdsaP256 => Some(HashAlgorithm::Sha256),
        KeyKind::EcdsaP384 => Some(HashAlgorithm::Sha384),
        KeyKind::EcdsaP521 => Some(HashAlgorithm::Sha512),
        KeyKind::Rsa { .. } | KeyKind::Ed25519 => None,
    }
}

/// The method that is made for a kind of key and names its algorithm, with its scheme.
fn fixed(key: KeyKind) -> Option<(u8, Scheme)> {
    match key {
        KeyKind::Rsa { .. } => Some((auth_method::RSA, Scheme::RsaPkcs1(HashAlgorithm::Sha1))),
        KeyKind::EcdsaP256 => Some((auth_method::ECDSA_P256, Scheme::EcdsaFixed(HashAlgorithm::Sha256))),
        KeyKind::EcdsaP384 => Some((auth_method::ECDSA_P384, Scheme::EcdsaFixed(HashAlgorithm::Sha384))),
        KeyKind::EcdsaP521 => Some((auth_method::ECDSA_P521, Scheme::EcdsaFixed(HashAlgorithm::Sha512))),
        KeyKind::Ed25519 => None,
    }
}

/// Whether a scheme of method 14 can be of this key.
fn fits(scheme: Scheme, key: KeyKind) -> bool {
    match scheme {
        Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) => matches!(key, KeyKind::Rsa { .. }),
        Scheme::EcdsaFixed(_) | Scheme::EcdsaAsn1(_) => matches!(key, KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521),
        Scheme::Ed25519 => key == KeyKind::Ed25519,
    }
}

impl AuthChoice {
    /// The choice in answer to a peer that proved itself with `proof`: who signs with RSASSA-PSS verifies it too. Others may know
    /// PKCS#1 v1.5 alone, and SIGNATURE_HASH_ALGORITHMS does not tell (RFC 7427 section 4).
    pub fn answering(self, proof: Self) -> Self {
        match (self.scheme, proof.scheme) {
            (Scheme::RsaPkcs1(hash), Scheme::RsaPss(_)) if self.method == auth_method::DIGITAL_SIGNATURE => {
                Self { scheme: Scheme::RsaPss(hash), ..self }
            }
            _ => self,
        }
    }

    /// The AUTH payload around a signature made with [`AuthChoice::scheme`].
    pub fn payload(self, signature: &[u8]) -> Auth {
        if self.method != auth_method::DIGITAL_SIGNATURE {
            return Auth { method: self.method, data: signature.to_vec() };
        }
        let identifier = algorithm::identifier(self.scheme);
        // The longest AlgorithmIdentifier has 67 bytes.
        let data = [&[identifier.len() as u8], identifier.as_slice(), signature].concat();
        Auth { method: self.method, data }
    }
}

impl std::fmt::Display for AuthChoice {
    /// For the record: `1 (RSA PKCS#1 v1.5, SHA-1)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, hash) = match self.scheme {
            Scheme::RsaPkcs1(hash) => ("RSA PKCS#1 v1.5", hash),
            Scheme::RsaPss(hash) => ("RSASSA-PSS", hash),
            Scheme::EcdsaFixed(hash) | Scheme::EcdsaAsn1(hash) => ("ECDSA", hash),
            Scheme::Ed25519 => return write!(f, "{} (Ed25519)", self.method),
        };
        let hash = match hash {
            HashAlgorithm::Sha1 => "SHA-1",
            HashAlgorithm::Sha256 => "SHA-256",
            HashAlgorithm::Sha384 => "SHA-384",
            HashAlgorithm::Sha512 => "SHA-512",
        };
        write!(f, "{} ({name}, {hash})", self.method)
    }
}

/// Verifies the peer's AUTH with the key of its certificate (DER SubjectPublicKeyInfo); says what it was signed with.
///
/// # Errors
/// Everything but [`AuthError::BadSharedKey`] and [`AuthError::NoScheme`]; all of them mean AUTHENTICATION_FAILED.
pub fn verify_auth(auth: &Auth, spki: &[u8], octets: &[u8]) -> Result<AuthChoice, AuthError> {
    let key = sign::spki_kind(spki).ok_or(AuthError::UnknownKey)?;
    let mismatch = AuthError::KeyMismatch { method: auth.method, key };
    let (scheme, signature) = match auth.method {
        auth_method::DIGITAL_SIGNATURE => split_signature(&auth.data)?,
        auth_method::RSA | auth_method::ECDSA_P256 | auth_method::ECDSA_P384 | auth_method::ECDSA_P521 => {
            let (_, scheme) = fixed(key).filter(|(method, _)| *method == auth.method).ok_or(mismatch.clone())?;
            (scheme, auth.data.as_slice())
        }
        other => return Err(AuthError::Method(other)),
    };
    if !fits(scheme, key) {
        return Err(mismatch);
    }
    let choice = AuthChoice { method: auth.method, scheme };
    sign::verify(spki, scheme, octets, signature).map_err(|_| AuthError::BadSignature(choice.to_string()))?;
    Ok(choice)
}

/// ASN.1 length, AlgorithmIdentifier, signature (RFC 7427 section 3).
fn split_signature(data: &[u8]) -> Result<(Scheme, &[u8]), AuthError> {
    let (len, rest) = data.split_first().ok_or(AuthError::Malformed("no AlgorithmIdentifier"))?;
    let (identifier, signature) =
        rest.split_at_checked(usize::from(*len)).ok_or(AuthError::Malformed("AlgorithmIdentifier runs over the end"))?;
    Ok((algorithm::scheme(identifier).ok_or_else(|| AuthError::Algorithm(algorithm::describe(identifier)))?, signature))
}

/// Our N(SIGNATURE_HASH_ALGORITHMS): SHA2-256, SHA2-384, SHA2-512, Identity.
pub fn signature_hashes_notify() -> Notify {
    let ids = SHA2.into_iter().map(HashAlgorithm::id).chain([HASH_IDENTITY]);
    Notify::new(notify::SIGNATURE_HASH_ALGORITHMS, ids.flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

/// The hash numbers in N(SIGNATURE_HASH_ALGORITHMS), unknown ones included; an odd last byte is ignored.
pub fn signature_hashes(notify: &Notify) -> Vec<u16> {
    notify.data.as_chunks::<2>().0.iter().map(|id| u16::from_be_bytes(*id)).collect()
}

/// Why an AUTH payload is refused, or cannot be made.
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
    /// With the text of [`AuthChoice`].
    #[error("signature of AUTH method {0} does not verify")]
    BadSignature(String),
    #[error("AUTH after EAP does not verify: the two sides hold different keys (MSK)")]
    BadSharedKey,
    #[error("a key of kind {0:?} cannot sign for this peer: it announced no hash that fits (N(SIGNATURE_HASH_ALGORITHMS))")]
    NoScheme(KeyKind),
}

#[cfg(test)]
mod tests;
