//! The encrypted payloads SK (RFC 7296 section 3.14, RFC 5282) and SKF (RFC 7383).
use super::fragment::Fragment;
use super::header::{HEADER_LEN, Header};
use super::payload::{Payload, kind};
use super::payloads::{Chain, GENERIC_LEN, Payloads, encode_chain};
use super::reader::{Malformed, ParseError};
use crypto::cipher::{Opener, Sealer, Suite};

/// Fragment number and total of SKF.
const FRAGMENT_FIELDS_LEN: usize = 4;

/// What a protected message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    Message(Payloads),
    /// One verified fragment (SKF): goes into [`super::Reassembly`].
    Fragment(Fragment),
}

/// Why a protected message cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Broken before anything was verified: drop and count, change nothing.
    #[error("not authentic: {0}")]
    Unverified(ParseError),
    /// No SK or SKF payload.
    #[error("message is not protected")]
    NotProtected,
    /// Forged, damaged, or keyed otherwise: drop and count, change nothing.
    #[error("integrity check failed")]
    Forged,
    /// The peer really sent this: answer INVALID_SYNTAX or UNSUPPORTED_CRITICAL_PAYLOAD, protected.
    #[error("authenticated, but {0}")]
    Authentic(ParseError),
}

/// A protected message. `counter` must never repeat for one `sealer` (start at 0 or 1, add one for each call).
pub fn protect(header: &Header, payloads: &[Payload], sealer: &Sealer, counter: u64) -> Vec<u8> {
    let (first, inner) = encode_chain(payloads);
    seal(header, Envelope { first, fragment: None }, &inner, sealer, counter)
}

/// What stands in the clear before the IV.
#[derive(Clone, Copy)]
pub(crate) struct Envelope {
    pub(crate) first: u8,
    /// Number and total of a fragment.
    pub(crate) fragment: Option<(u16, u16)>,
}

/// Bytes of a protected message around its content, the largest padding included.
pub(crate) fn overhead(suite: Suite, fragment: bool) -> usize {
    let fields = if fragment { FRAGMENT_FIELDS_LEN } else { 0 };
    HEADER_LEN + GENERIC_LEN + fields + suite.iv_len() + suite.block_len() + suite.icv_len()
}

pub(crate) fn seal(header: &Header, envelope: Envelope, content: &[u8], sealer: &Sealer, counter: u64) -> Vec<u8> {
    let suite = sealer.suite();
    let padding = (content.len() + 1).next_multiple_of(suite.block_len()) - content.len() - 1;
    let body_len = content.len() + padding + 1;
    let fields = if envelope.fragment.is_some() { FRAGMENT_FIELDS_LEN } else { 0 };
    let payload_len = GENERIC_LEN + fields + suite.iv_len() + body_len + suite.icv_len();
    let mut out = Vec::with_capacity(HEADER_LEN + payload_len);
    header.write(&mut out, if envelope.fragment.is_some() { kind::SKF } else { kind::SK }, HEADER_LEN + payload_len);
    out.extend_from_slice(&[envelope.first, 0]);
    out.extend_from_slice(&(payload_len as u16).to_be_bytes());
    if let Some((number, total)) = envelope.fragment {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&total.to_be_bytes());
    }
    let clear_len = out.len();
    out.resize(clear_len + suite.iv_len(), 0);
    out.extend_from_slice(content);
    out.resize(out.len() + padding, 0);
    // Padding is below one block, so below 256.
    out.push(padding as u8);
    out.resize(out.len() + suite.icv_len(), 0);
    let (clear, rest) = out.split_at_mut(clear_len);
    let (iv, rest) = rest.split_at_mut(suite.iv_len());
    let (body, icv) = rest.split_at_mut(body_len);
    sealer.seal(counter, clear, iv, body, icv, &[]);
    out
}

/// Verifies and decrypts a datagram (non-ESP marker stripped), then parses what is inside. Unencrypted payloads before SK are
/// ignored: they are covered by the integrity check, but none has a meaning there.
pub fn unprotect(datagram: &[u8], opener: &Opener) -> Result<Opened, OpenError> {
    match unprotect_raw(datagram, opener)? {
        Raw::Message(first, content) => Payloads::parse(first, &content).map(Opened::Message).map_err(OpenError::Authentic),
        Raw::Fragment(fragment) => Ok(Opened::Fragment(fragment)),
    }
}

/// What a protected message holds, not parsed.
pub(crate) enum Raw {
    /// Type of the first payload, and all of them.
    Message(u8, Vec<u8>),
    Fragment(Fragment),
}

/// As [`unprotect`], without the parsing.
pub(crate) fn unprotect_raw(datagram: &[u8], opener: &Opener) -> Result<Raw, OpenError> {
    let (envelope, content) = open(datagram, opener)?;
    Ok(match envelope.fragment {
        None => Raw::Message(envelope.first, content),
        Some((number, total)) => Raw::Fragment(Fragment { number, total, first: envelope.first, data: content }),
    })
}

/// What IntAuth covers of an IKE_INTERMEDIATE message (RFC 9242 section 3.3.2): header and SK header as if there were neither IV, padding nor
/// integrity check value nor fragments, and the inner payloads.
pub(crate) fn int_auth_octets(header: &Header, first: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + GENERIC_LEN + content.len());
    header.write(&mut out, kind::SK, HEADER_LEN + GENERIC_LEN + content.len());
    out.extend_from_slice(&[first, 0]);
    out.extend_from_slice(&((GENERIC_LEN + content.len()) as u16).to_be_bytes());
    out.extend_from_slice(content);
    out
}

/// As [`unprotect`], but gives the inner bytes and the type of the first inner payload: for tests and fuzzing.
pub fn open_envelope(datagram: &[u8], opener: &Opener) -> Result<(u8, Vec<u8>), OpenError> {
    open(datagram, opener).map(|(envelope, content)| (envelope.first, content))
}

fn open(datagram: &[u8], opener: &Opener) -> Result<(Envelope, Vec<u8>), OpenError> {
    let (envelope, clear_len) = locate(datagram)?;
    let suite = opener.suite();
    let (clear, rest) = datagram.split_at(clear_len);
    let parts = rest.split_at_checked(suite.iv_len()).and_then(|(iv, rest)| {
        let body_len = rest.len().checked_sub(suite.icv_len())?;
        let (body, icv) = rest.split_at_checked(body_len)?;
        Some((iv, body.to_vec(), icv))
    });
    let Some((iv, mut body, icv)) = parts else {
        return Err(OpenError::Unverified(malformed(clear_len, "too short for IV and integrity check value")));
    };
    opener.open(clear, iv, &mut body, icv, &[]).map_err(|_| OpenError::Forged)?;
    strip_padding(&mut body).map_err(|reason| OpenError::Authentic(malformed(datagram.len() - suite.icv_len(), reason)))?;
    Ok((envelope, body))
}

/// Finds SK or SKF, which must be the last payload and end with the datagram, and where its IV starts.
fn locate(datagram: &[u8]) -> Result<(Envelope, usize), OpenError> {
    let (_, first) = Header::parse_with_next(datagram).map_err(OpenError::Unverified)?;
    let unverified = |error: Malformed| OpenError::Unverified(error.into());
    let mut chain = Chain::new(first, datagram.get(HEADER_LEN..).unwrap_or_default(), HEADER_LEN);
    while let Some(next) = chain.next().map_err(unverified)? {
        let mut body = next.body;
        let fragment = match next.kind {
            kind::SK => None,
            kind::SKF => {
                let mut field = || body.u16("fragment header cut short").map_err(unverified);
                Some((field()?, field()?))
            }
            _ => continue,
        };
        chain.reader.finish("bytes behind the SK payload").map_err(unverified)?;
        return Ok((Envelope { first: next.next, fragment }, body.offset()));
    }
    Err(OpenError::NotProtected)
}

/// Cuts off padding and its length byte. The padding's content is free (RFC 7296 section 3.14).
fn strip_padding(body: &mut Vec<u8>) -> Result<(), &'static str> {
    let Some(padding) = body.pop() else {
        return Err("no pad length");
    };
    let Some(content_len) = body.len().checked_sub(padding.into()) else {
        return Err("padding longer than the content");
    };
    body.truncate(content_len);
    Ok(())
}

fn malformed(offset: usize, reason: &'static str) -> ParseError {
    Malformed { payload: kind::SK, offset, reason }.into()
}
