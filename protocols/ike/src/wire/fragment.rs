//! IKE message fragmentation (RFC 7383).
use super::header::Header;
use super::payload::Payload;
use super::payloads::{Payloads, encode_chain};
use super::protect::{Envelope, overhead, seal};
use super::reader::ParseError;
use crypto::cipher::Sealer;
use std::collections::BTreeMap;

/// A verified, decrypted fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// 1 to `total`.
    pub number: u16,
    pub total: u16,
    /// Type of the first inner payload; only in fragment 1, else 0.
    pub first: u8,
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Ignore this fragment: its total is smaller than that of the ones we hold, or it is number 0 or above its total.
    #[error("fragment {number} of {total} does not fit")]
    Unfit { number: u16, total: u16 },
    /// More fragments or bytes than we hold for one message; the collected ones are dropped.
    #[error("fragmented message is too large")]
    TooLarge,
    /// The whole message is authentic but does not parse.
    #[error("authenticated, but {0}")]
    Authentic(ParseError),
}

/// The fragments of one message (one per direction and message ID; drop it when the ID moves on).
#[derive(Debug, Default)]
pub struct Reassembly {
    total: u16,
    first: u8,
    bytes: usize,
    parts: BTreeMap<u16, Vec<u8>>,
}

impl Reassembly {
    /// Most fragments of one message.
    pub const MAX_FRAGMENTS: u16 = 128;
    /// Most bytes of one message.
    pub const MAX_BYTES: usize = 65536;

    /// Takes a fragment in any order, duplicates included; gives the payloads once all are there, and is empty again then. A larger
    /// total starts anew (RFC 7383 section 2.6: the peer fragments smaller after path MTU trouble).
    pub fn insert(&mut self, fragment: Fragment) -> Result<Option<Payloads>, FragmentError> {
        let Some((first, content)) = self.insert_raw(fragment)? else { return Ok(None) };
        Payloads::parse(first, &content).map(Some).map_err(FragmentError::Authentic)
    }

    /// Of the message in progress; 0: there is none.
    pub(crate) fn total(&self) -> u16 {
        self.total
    }

    /// As [`Reassembly::insert`], without the parsing.
    pub(crate) fn insert_raw(&mut self, fragment: Fragment) -> Result<Option<(u8, Vec<u8>)>, FragmentError> {
        let Fragment { number, total, first, data } = fragment;
        if number == 0 || number > total || total < self.total {
            return Err(FragmentError::Unfit { number, total });
        }
        if total > self.total {
            *self = Self { total, ..Self::default() };
        }
        if self.parts.contains_key(&number) {
            return Ok(None);
        }
        self.bytes += data.len();
        if total > Self::MAX_FRAGMENTS || self.bytes > Self::MAX_BYTES {
            *self = Self::default();
            return Err(FragmentError::TooLarge);
        }
        if number == 1 {
            self.first = first;
        }
        self.parts.insert(number, data);
        if self.parts.len() < usize::from(total) {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        let content: Vec<u8> = whole.parts.into_values().flatten().collect();
        Ok(Some((whole.first, content)))
    }
}

/// The message as SKF fragments of at most `max_message` bytes each (IKE header included; at least 256), or as one SK message
/// where that fits. `counter` moves on by one for each datagram.
pub fn protect_fragments(header: &Header, payloads: &[Payload], sealer: &Sealer, counter: &mut u64, max_message: usize) -> Vec<Vec<u8>> {
    let (first, content) = encode_chain(payloads);
    let (suite, max_message) = (sealer.suite(), max_message.max(256));
    let mut next = |envelope, content: &[u8]| {
        let datagram = seal(header, envelope, content, sealer, *counter);
        *counter += 1;
        datagram
    };
    if overhead(suite, false) + content.len() <= max_message {
        return vec![next(Envelope { first, fragment: None }, &content)];
    }
    let parts: Vec<&[u8]> = content.chunks(max_message - overhead(suite, true)).collect();
    // A payload has at most 64 KiB and a message few of them, so their number stays far below 65536 fragments.
    let total = parts.len() as u16;
    (1..=total)
        .zip(parts)
        .map(|(number, part)| next(Envelope { first: if number == 1 { first } else { 0 }, fragment: Some((number, total)) }, part))
        .collect()
}
