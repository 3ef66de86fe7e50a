//! The TCP header (RFC 9293).
use crate::{be16, be32};

pub const HEADER_LEN: usize = 20;
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

pub(crate) const SEQUENCE_AT: usize = 4;
pub(crate) const FLAGS_AT: usize = 13;
pub(crate) const CHECKSUM_AT: usize = 16;

/// A checked view on a TCP segment: header, options and payload.
#[derive(Debug, Clone, Copy)]
pub struct TcpView<'a> {
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> TcpView<'a> {
    /// `None` when the bytes do not hold the header that their data offset announces.
    pub fn new(transport: &'a [u8]) -> Option<Self> {
        if transport.len() < HEADER_LEN {
            return None;
        }
        let header_len = usize::from(transport[12] >> 4) * 4;
        (header_len >= HEADER_LEN && header_len <= transport.len()).then_some(Self { bytes: transport, header_len })
    }
    pub fn source_port(&self) -> u16 {
        be16(self.bytes, 0)
    }
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes, 2)
    }
    pub fn sequence(&self) -> u32 {
        be32(self.bytes, SEQUENCE_AT)
    }
    pub fn acknowledgment(&self) -> u32 {
        be32(self.bytes, 8)
    }
    pub fn flags(&self) -> u8 {
        self.bytes[FLAGS_AT]
    }
    pub fn window(&self) -> u16 {
        be16(self.bytes, 14)
    }
    /// Header with options, in bytes: 20 to 60.
    pub fn header_len(&self) -> usize {
        self.header_len
    }
    pub fn options(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..self.header_len]
    }
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_len..]
    }
}
