//! IKE message fragmentation (RFC 7383).
use super::header::Header;
use super::payload::Payload;
use super::payloads::Payloads;
use super::reader::ParseError;
use crypto::cipher::Sealer;

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
}

impl Reassembly {
    /// Most fragments of one message.
    pub const MAX_FRAGMENTS: u16 = 128;
    /// Most bytes of one message.
    pub const MAX_BYTES: usize = 65536;

    /// Takes a fragment in any order, duplicates included; gives the payloads once all are there. A larger total starts anew
    /// (RFC 7383 section 2.6: the peer fragments smaller after path MTU trouble).
    pub fn insert(&mut self, fragment: Fragment) -> Result<Option<Payloads>, FragmentError> {
        todo!()
    }
}

/// The message as SKF fragments of at most `max_message` bytes each (IKE header included; at least 256), or as one SK message
/// where that fits. `counter` moves on by one for each datagram.
pub fn protect_fragments(header: &Header, payloads: &[Payload], sealer: &Sealer, counter: &mut u64, max_message: usize) -> Vec<Vec<u8>> {
    todo!()
}
