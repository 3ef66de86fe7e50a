//! As much DER as it takes to see what a key is: SubjectPublicKeyInfo (RFC 5280), PKCS#8 (RFC 5208), PKCS#1 (RFC 8017), SEC1
//! (RFC 5915). The crypto library reads the keys themselves.
use super::KeyKind;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SEC1_PARAMETERS: u8 = 0xa0;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 1.2.840.10045.3.1.7
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// A cursor over the elements of one constructed value.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element when it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], rest) = self.0.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
            0x82 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
            // No key comes near 64 KiB.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(content)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an AlgorithmIdentifier says about the key.
enum Algorithm {
    Rsa,
    Curve(KeyKind),
}

fn algorithm(identifier: &[u8]) -> Option<Algorithm> {
    let mut reader = Reader(identifier);
    match reader.expect(OID)? {
        RSA_ENCRYPTION => Some(Algorithm::Rsa),
        ED25519 => Some(Algorithm::Curve(KeyKind::Ed25519)),
        EC_PUBLIC_KEY => curve(reader.expect(OID)?).map(Algorithm::Curve),
        _ => None,
    }
}

fn curve(oid: &[u8]) -> Option<KeyKind> {
    match oid {
        SECP256R1 => Some(KeyKind::EcdsaP256),
        SECP384R1 => Some(KeyKind::EcdsaP384),
        SECP521R1 => Some(KeyKind::EcdsaP521),
        _ => None,
    }
}

/// See [`super::spki_kind`].
pub(super) fn public_kind(spki: &[u8]) -> Option<KeyKind> {
    let mut outer = Reader(spki);
    let mut inner = Reader(outer.expect(SEQUENCE)?);
    let algorithm = algorithm(inner.expect(SEQUENCE)?)?;
    let (&unused_bits, key) = inner.expect(BIT_STRING)?.split_first()?;
    if unused_bits != 0 || !inner.is_empty() || !outer.is_empty() {
        return None;
    }
    match algorithm {
        Algorithm::Rsa => rsa_kind(Reader(Reader(key).expect(SEQUENCE)?).expect(INTEGER)?),
        Algorithm::Curve(kind) => Some(kind),
    }
}

/// Kind of a PKCS#8 private key and the key proper: RSAPrivateKey, ECPrivateKey, CurvePrivateKey.
pub(super) fn pkcs8_kind(der: &[u8]) -> Option<(KeyKind, &[u8])> {
    let mut reader = Reader(Reader(der).expect(SEQUENCE)?);
    reader.expect(INTEGER)?;
    let algorithm = algorithm(reader.expect(SEQUENCE)?)?;
    let key = reader.expect(OCTET_STRING)?;
    match algorithm {
        Algorithm::Rsa => Some((pkcs1_kind(key)?, key)),
        Algorithm::Curve(kind) => Some((kind, key)),
    }
}

/// Kind of a PKCS#1 RSAPrivateKey.
pub(super) fn pkcs1_kind(der: &[u8]) -> Option<KeyKind> {
    let mut reader = Reader(Reader(der).expect(SEQUENCE)?);
    reader.expect(INTEGER)?;
    rsa_kind(reader.expect(INTEGER)?)
}

/// Kind of a SEC1 ECPrivateKey that names its curve.
pub(super) fn sec1_kind(der: &[u8]) -> Option<KeyKind> {
    let mut reader = Reader(Reader(der).expect(SEQUENCE)?);
    reader.expect(INTEGER)?;
    reader.expect(OCTET_STRING)?;
    curve(Reader(reader.expect(SEC1_PARAMETERS)?).expect(OID)?)
}

fn rsa_kind(modulus: &[u8]) -> Option<KeyKind> {
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - start) as u32 * 8 - modulus[start].leading_zeros();
    Some(KeyKind::Rsa { bits })
}
