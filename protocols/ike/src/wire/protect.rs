//! The encrypted payload SK (RFC 7296 section 3.14, RFC 5282).
use super::fragment::Fragment;
use super::header::Header;
use super::payload::Payload;
use super::payloads::Payloads;
use super::reader::{Malformed, ParseError};
use crypto::cipher::{Opener, Sealer};

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
    /// Broken before anything was verified, forged, or keyed otherwise: drop and count, change nothing.
    #[error("not authentic: {0}")]
    Unverified(ParseError),
    /// No SK or SKF payload.
    #[error("message is not protected")]
    NotProtected,
    #[error("integrity check failed")]
    Forged,
    /// The peer really sent this: answer INVALID_SYNTAX or UNSUPPORTED_CRITICAL_PAYLOAD, protected.
    #[error("authenticated, but {0}")]
    Authentic(ParseError),
}

/// A protected message. `counter` must never repeat for one `sealer` (start at 0 or 1, add one for each call).
pub fn protect(header: &Header, payloads: &[Payload], sealer: &Sealer, counter: u64) -> Vec<u8> {
    todo!()
}

/// Verifies and decrypts a datagram (non-ESP marker stripped), then parses what is inside.
pub fn unprotect(datagram: &[u8], opener: &Opener) -> Result<Opened, OpenError> {
    todo!()
}

/// As [`unprotect`], but gives the inner bytes and the type of the first inner payload: for tests and fuzzing.
pub fn open_envelope(datagram: &[u8], opener: &Opener) -> Result<(u8, Vec<u8>), OpenError> {
    todo!()
}
