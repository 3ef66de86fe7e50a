//! AlgorithmIdentifiers of AUTH method 14 (RFC 7427 appendix A, RFC 8420), as DER.
use crypto::hash::HashAlgorithm;
use crypto::sign::Scheme;
use std::fmt::Write;

const SEQUENCE: u8 = 0x30;
const NULL: &[u8] = &[5, 0];
/// 1.2.840.113549.1.1.n
const PKCS1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
const MGF1: u8 = 8;
const RSASSA_PSS: u8 = 10;
/// 2.16.840.1.101.3.4.2.n
const NIST_HASH: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 2];
/// 1.2.840.10045.4.3.n
const ECDSA_WITH_SHA2: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
/// 1.3.101.112
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];
const HASHES: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// What we send for a scheme; SHA-1 has none, for it must not be used with method 14 (RFC 8247 section 3.2) and comes out empty.
pub(super) fn identifier(scheme: Scheme) -> Vec<u8> {
    encode(scheme, Form { null: true, trailer: false })
}

/// The scheme that an AlgorithmIdentifier names. SHA-1 is refused (RFC 8247 section 3.2), and so is RSASSA-PSS with another salt than
/// the hash's length or another hash in MGF1.
pub(super) fn scheme(identifier: &[u8]) -> Option<Scheme> {
    let schemes = HASHES.into_iter().flat_map(|hash| [Scheme::RsaPkcs1(hash), Scheme::RsaPss(hash), Scheme::EcdsaAsn1(hash)]);
    schemes.chain([Scheme::Ed25519]).find(|scheme| FORMS.iter().any(|form| encode(*scheme, *form) == identifier))
}

/// The encodings that senders differ in: NULL parameters present or not, the default trailer field present or not.
#[derive(Clone, Copy)]
struct Form {
    null: bool,
    trailer: bool,
}

const FORMS: [Form; 4] = [
    Form { null: true, trailer: false },
    Form { null: false, trailer: false },
    Form { null: true, trailer: true },
    Form { null: false, trailer: true },
];

fn encode(scheme: Scheme, form: Form) -> Vec<u8> {
    let null = if form.null { NULL } else { &[] };
    let content = match scheme {
        Scheme::RsaPkcs1(hash) => sha2(hash).map(|sha2| [&oid(&PKCS1, Some(sha2.pkcs1)), null].concat()),
        Scheme::RsaPss(hash) => sha2(hash).map(|sha2| [oid(&PKCS1, Some(RSASSA_PSS)), pss_parameters(sha2, form)].concat()),
        Scheme::EcdsaFixed(hash) | Scheme::EcdsaAsn1(hash) => sha2(hash).map(|sha2| oid(&ECDSA_WITH_SHA2, Some(sha2.ecdsa))),
        Scheme::Ed25519 => Some(oid(&ED25519, None)),
    };
    content.map(|content| tlv(SEQUENCE, &content)).unwrap_or_default()
}

/// Last arcs of the object identifiers that belong to a hash, and its length in bytes.
struct Sha2 {
    pkcs1: u8,
    nist: u8,
    ecdsa: u8,
    len: u8,
}

fn sha2(hash: HashAlgorithm) -> Option<Sha2> {
    match hash {
        HashAlgorithm::Sha1 => None,
        HashAlgorithm::Sha256 => Some(Sha2 { pkcs1: 11, nist: 1, ecdsa: 2, len: 32 }),
        HashAlgorithm::Sha384 => Some(Sha2 { pkcs1: 12, nist: 2, ecdsa: 3, len: 48 }),
        HashAlgorithm::Sha512 => Some(Sha2 { pkcs1: 13, nist: 3, ecdsa: 4, len: 64 }),
    }
}

/// RSASSA-PSS-params (RFC 8017 appendix A.2.3).
fn pss_parameters(sha2: Sha2, form: Form) -> Vec<u8> {
    let null = if form.null { NULL } else { &[] };
    let hash = tlv(SEQUENCE, &[&oid(&NIST_HASH, Some(sha2.nist)), null].concat());
    let mask = tlv(SEQUENCE, &[oid(&PKCS1, Some(MGF1)), hash.clone()].concat());
    let salt = tlv(2, &[sha2.len]);
    let trailer = if form.trailer { tlv(0xa3, &tlv(2, &[1])) } else { Vec::new() };
    tlv(SEQUENCE, &[tlv(0xa0, &hash), tlv(0xa1, &mask), tlv(0xa2, &salt), trailer].concat())
}

fn oid(arcs: &[u8], last: Option<u8>) -> Vec<u8> {
    tlv(6, &arcs.iter().copied().chain(last).collect::<Vec<_>>())
}

/// Everything here is shorter than 128 bytes, so the length is one byte.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len() as u8], content].concat()
}

/// An AlgorithmIdentifier that we do not know, for the record.
pub(super) fn describe(identifier: &[u8]) -> String {
    identifier.iter().fold(String::from("0x"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
