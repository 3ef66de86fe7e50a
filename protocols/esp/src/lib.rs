//! ESP in tunnel mode (RFC 4303): sequence numbers, replay window, sealing and opening in place. Pure.
//!
//! Outbound: reserve sequence numbers for a batch ([`OutboundSa::reserve`]), write each packet behind [`Overhead::header_len`] bytes of
//! headroom, [`OutboundSa::seal`] it where it lies. Inbound: [`InboundSa::receive`] for a run of packets, [`Receiver::open`] for each.
#![forbid(unsafe_code)]

mod inbound;
mod outbound;
mod overhead;
mod replay;

pub use inbound::{InboundSa, OpenError, Opened, Receiver};
pub use outbound::{Exhausted, OutboundSa};
pub use overhead::{Encapsulation, Overhead};
pub use replay::{DEFAULT_WINDOW, MAX_WINDOW, MIN_WINDOW, ReplayWindow};

/// SPI and sequence number.
const SPI_AND_SEQUENCE_LEN: usize = 8;
/// Pad length and next header.
const TRAILER_LEN: usize = 2;

/// The SPI of an ESP packet; `None` when there is none.
pub fn spi(packet: &[u8]) -> Option<u32> {
    packet.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// What is authenticated before the IV: SPI and sequence number; the AEADs with extended sequence numbers authenticate all 64 bits
/// (RFC 4106 section 5).
struct Aad {
    bytes: [u8; 12],
    len: usize,
}

impl Aad {
    fn new(spi: u32, sequence: u64, extended: bool) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        if extended {
            bytes[4..].copy_from_slice(&sequence.to_be_bytes());
            Self { bytes, len: 12 }
        } else {
            bytes[4..8].copy_from_slice(&(sequence as u32).to_be_bytes());
            Self { bytes, len: 8 }
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The high half of an extended sequence number: with CBC it is authenticated behind the ciphertext (RFC 4303 section 2.2.1).
fn tail(high: &[u8; 4], extended: bool, is_aead: bool) -> &[u8] {
    if extended && !is_aead { high } else { &[] }
}

#[cfg(test)]
mod tests;
