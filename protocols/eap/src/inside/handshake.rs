//! The two handshake messages that say something to an onlooker (RFC 5246 sections 7.4.1.3 and 7.4.2).
use super::CHAIN_MAX;

pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const CERTIFICATE: u8 = 11;
pub(super) const TLS_1_3: u16 = 0x0304;

/// RFC 8446 section 4.2.1: where TLS 1.3 says that it is TLS 1.3.
const SUPPORTED_VERSIONS: u16 = 43;
const RANDOM: usize = 32;

/// The version that a ServerHello settles on.
pub(super) fn version(message: &[u8]) -> Option<u16> {
    let (legacy, rest) = take_u16(message)?;
    let (&session, rest) = rest.get(RANDOM..)?.split_first()?;
    // Cipher suite, compression method.
    let rest = rest.get(usize::from(session) + 3..)?;
    let Some((_, mut extensions)) = take_u16(rest) else { return Some(legacy) };
    while let Some((kind, rest)) = take_u16(extensions) {
        let (length, rest) = take_u16(rest)?;
        let (body, rest) = rest.split_at_checked(usize::from(length))?;
        if kind == SUPPORTED_VERSIONS {
            return take_u16(body).map(|(version, _)| version);
        }
        extensions = rest;
    }
    Some(legacy)
}

/// The chain of a Certificate message of TLS 1.2 and older.
pub(super) fn chain(message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (total, list) = take_u24(message)?;
    let mut list = list.get(..total)?;
    let mut chain = Vec::new();
    while !list.is_empty() && chain.len() < CHAIN_MAX {
        let (length, rest) = take_u24(list)?;
        let (certificate, rest) = rest.split_at_checked(length)?;
        chain.push(certificate.to_vec());
        list = rest;
    }
    Some(chain)
}

fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

fn take_u24(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&[a, b, c], rest) = bytes.split_first_chunk::<3>()?;
    Some((usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?, rest))
}
