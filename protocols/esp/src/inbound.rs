//! The receiving half of a Child SA.
use crate::{Aad, Overhead, ReplayWindow, SPI_AND_SEQUENCE_LEN, TRAILER_LEN, tail};
use crypto::cipher::Opener;
use packet::protocol;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("shorter than ESP with this suite can be")]
    Truncated,
    #[error("sequence number seen before, or older than the replay window")]
    Replayed,
    #[error("integrity check failed")]
    Forged,
    #[error("padding longer than the packet")]
    BadPadding,
    /// Sent to hide traffic patterns; dropped as it should be (RFC 4303 section 2.6).
    #[error("dummy packet")]
    Dummy,
    #[error("next header {0} where a tunnel carries IPv4 (4) or IPv6 (41)")]
    UnsupportedNextHeader(u8),
}

/// An opened packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where the inner packet lies; traffic flow confidentiality padding may follow the inner packet's own length.
    pub payload: Range<usize>,
    /// 4 or 41.
    pub next_header: u8,
    /// All 64 bits.
    pub sequence: u64,
}

/// Opens packets.
#[derive(Debug)]
pub struct InboundSa {
    spi: u32,
    opener: Opener,
    overhead: Overhead,
    extended: bool,
    window: Mutex<ReplayWindow>,
}

impl InboundSa {
    /// `extended`: 64-bit sequence numbers (ESN). `window`: packets, see [`ReplayWindow::new`].
    pub fn new(spi: u32, opener: Opener, extended: bool, window: u32) -> Self {
        let overhead = Overhead::of(opener.suite());
        Self { spi, opener, overhead, extended, window: Mutex::new(ReplayWindow::new(window)) }
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// Takes the replay window for a run of packets. One thread owns a SPI, so nobody waits here but when a batch brought packets of an
    /// SA to a thread that does not own it.
    pub fn receive(&self) -> Receiver<'_> {
        // A window is whole after every statement that changes it.
        Receiver { sa: self, window: self.window.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// The right to open packets of an SA.
#[derive(Debug)]
pub struct Receiver<'a> {
    sa: &'a InboundSa,
    window: MutexGuard<'a, ReplayWindow>,
}

impl Receiver<'_> {
    /// The highest sequence number of a packet that verified; 0 before the first.
    pub fn highest(&self) -> u64 {
        self.window.top()
    }

    /// Checks the sequence number, opens the packet in place, marks the number as seen, takes the padding off. `packet` starts with the
    /// SPI, which the caller has used to find the SA. On an error its content is unspecified.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Opened, OpenError> {
        let sa = self.sa;
        let header_len = sa.overhead.header_len();
        let body_len = packet.len().checked_sub(header_len + sa.overhead.icv_len()).filter(|len| *len >= TRAILER_LEN);
        let body_len = body_len.ok_or(OpenError::Truncated)?;
        let (header, rest) = packet.split_at_mut(header_len);
        let (body, icv) = rest.split_at_mut(body_len);
        let low = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let sequence = if sa.extended { self.window.infer(low) } else { Some(u64::from(low)) };
        let sequence = sequence.filter(|sequence| self.window.is_new(*sequence)).ok_or(OpenError::Replayed)?;
        sa.decrypt(sequence, &header[SPI_AND_SEQUENCE_LEN..], body, icv)?;
        if !self.window.commit(sequence) {
            return Err(OpenError::Replayed);
        }
        let (payload_len, next_header) = strip_trailer(body)?;
        Ok(Opened { payload: header_len..header_len + payload_len, next_header, sequence })
    }
}

impl InboundSa {
    #[cfg(test)]
    pub(crate) fn skip_to(&self, sequence: u64) {
        self.receive().window.commit(sequence);
    }

    fn decrypt(&self, sequence: u64, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), OpenError> {
        let is_aead = self.opener.suite().is_aead();
        let aad = Aad::new(self.spi, sequence, self.extended && is_aead);
        let high = ((sequence >> 32) as u32).to_be_bytes();
        let tail = tail(&high, self.extended, is_aead);
        self.opener.open(aad.as_slice(), iv, body, icv, tail).map_err(|_| OpenError::Forged)
    }
}

/// Length of the payload, and the next header. `body` holds the trailer at least.
fn strip_trailer(body: &[u8]) -> Result<(usize, u8), OpenError> {
    let (pad_len, next_header) = (usize::from(body[body.len() - 2]), body[body.len() - 1]);
    let payload_len = body.len().checked_sub(TRAILER_LEN + pad_len).ok_or(OpenError::BadPadding)?;
    match next_header {
        protocol::IPV4 | protocol::IPV6 => Ok((payload_len, next_header)),
        protocol::NO_NEXT_HEADER => Err(OpenError::Dummy),
        other => Err(OpenError::UnsupportedNextHeader(other)),
    }
}
