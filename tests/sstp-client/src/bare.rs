//! The measure for throughput: the same packets through the same TLS library without SSTP and PPP, each behind its length.

use crate::data::{Body, Framing, Piece};
use crate::error::{Error, Result, Stage};

/// What travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Unit {
    /// IP packets, each behind two bytes of length.
    #[default]
    Packets,
    /// Super-packets as the TUN device has them, each behind four bytes of length: no splitting, no coalescing.
    Supers,
}

/// Frames that are a length and a packet.
#[derive(Clone, Copy, Debug)]
pub struct Lengths(pub Unit);

impl Framing for Lengths {
    fn peek(&self, bytes: &[u8]) -> Result<Option<Piece>> {
        Ok(match (self.0, bytes) {
            (Unit::Packets, [high, low, ..]) => {
                let len = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                Some(Piece { len, body: Body::Packet(2) })
            }
            (Unit::Supers, [a, b, c, d, ..]) => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if len > 70_000 {
                    return Err(Error::protocol(Stage::Up, format!("a super-packet of {len} bytes")));
                }
                Some(Piece { len: 4 + len, body: Body::Super(4) })
            }
            _ => None,
        })
    }

    fn header(&self, _: bool, len: usize, out: &mut [u8]) -> usize {
        match self.0 {
            Unit::Packets => {
                out[..2].copy_from_slice(&(len as u16).to_be_bytes());
                2
            }
            Unit::Supers => {
                out[..4].copy_from_slice(&(len as u32).to_be_bytes());
                4
            }
        }
    }

    fn unsplit(&self) -> bool {
        self.0 == Unit::Supers
    }

    fn control(&mut self, _: &[u8], _: &mut Vec<Vec<u8>>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for unit in [Unit::Packets, Unit::Supers] {
            let mut bytes = [0; 64];
            let framing = Lengths(unit);
            let head = framing.header(false, 20, &mut bytes);
            assert_eq!(framing.peek(&bytes).unwrap().map(|piece| piece.len), Some(head + 20));
            assert_eq!(framing.peek(&bytes[..1]).unwrap(), None);
        }
    }
}
