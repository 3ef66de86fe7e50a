//! The sending half of a Child SA.
use crate::{Aad, Overhead, SPI_AND_SEQUENCE_LEN, TRAILER_LEN, tail};
use crypto::cipher::Sealer;
use std::sync::atomic::{AtomicU64, Ordering};

/// No sequence number is left: the Child SA must be rekeyed, because a counter must never repeat (RFC 4303 section 3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sequence numbers of SPI {spi:08x} are used up; the Child SA needs a rekey")]
pub struct Exhausted {
    pub spi: u32,
}

/// Seals packets. Shared by threads without a lock.
#[derive(Debug)]
pub struct OutboundSa {
    spi: u32,
    /// The last sequence number given out; may run past the limit once they are used up.
    sequence: AtomicU64,
    sealer: Sealer,
    overhead: Overhead,
    extended: bool,
}

impl OutboundSa {
    /// `extended`: 64-bit sequence numbers (ESN).
    pub fn new(spi: u32, sealer: Sealer, extended: bool) -> Self {
        let overhead = Overhead::of(sealer.suite());
        Self { spi, sequence: AtomicU64::new(0), sealer, overhead, extended }
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn overhead(&self) -> Overhead {
        self.overhead
    }

    /// The last sequence number that was given out.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).min(self.limit())
    }

    /// Takes `count` consecutive sequence numbers and returns the first. When fewer are left, none is given, now or later.
    pub fn reserve(&self, count: u32) -> Result<u64, Exhausted> {
        let before = self.sequence.fetch_add(u64::from(count), Ordering::Relaxed);
        let fits = before.checked_add(u64::from(count)).is_some_and(|last| last <= self.limit());
        if fits {
            return Ok(before + 1);
        }
        // Stays beyond the limit, far from wrapping around.
        self.sequence.store(self.limit(), Ordering::Relaxed);
        self.sequence.fetch_add(1, Ordering::Relaxed);
        Err(Exhausted { spi: self.spi })
    }

    fn limit(&self) -> u64 {
        // With ESN the last 2^32 numbers stay unused, so that reservations of several threads cannot wrap around.
        if self.extended { u64::MAX - u64::from(u32::MAX) } else { u64::from(u32::MAX) }
    }

    /// Makes `packet` an ESP packet in place. The payload stands at [`Overhead::header_len`], `payload_len` bytes; the rest is overwritten.
    /// `next_header`: 4 for IPv4, 41 for IPv6. `sequence` comes from [`Self::reserve`] and is used once.
    ///
    /// # Panics
    /// When `packet` is not [`Overhead::sealed_len`] long.
    pub fn seal(&self, sequence: u64, packet: &mut [u8], payload_len: usize, next_header: u8) {
        assert_eq!(packet.len(), self.overhead.sealed_len(payload_len), "place for an ESP packet");
        let (header, rest) = packet.split_at_mut(self.overhead.header_len());
        let (body, icv) = rest.split_at_mut(rest.len() - self.overhead.icv_len());
        let pad_len = body.len() - payload_len - TRAILER_LEN;
        for (index, byte) in body[payload_len..payload_len + pad_len].iter_mut().enumerate() {
            *byte = index as u8 + 1;
        }
        body[payload_len + pad_len] = pad_len as u8;
        body[payload_len + pad_len + 1] = next_header;
        let (start, iv) = header.split_at_mut(SPI_AND_SEQUENCE_LEN);
        start[..4].copy_from_slice(&self.spi.to_be_bytes());
        start[4..].copy_from_slice(&(sequence as u32).to_be_bytes());
        let is_aead = self.sealer.suite().is_aead();
        let aad = Aad::new(self.spi, sequence, self.extended && is_aead);
        let high = ((sequence >> 32) as u32).to_be_bytes();
        self.sealer.seal(sequence, aad.as_slice(), iv, body, icv, tail(&high, self.extended, is_aead));
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
    }
}
