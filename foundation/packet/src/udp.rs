//! The UDP header (RFC 768).
use crate::be16;

pub const HEADER_LEN: usize = 8;
pub(crate) const LENGTH_AT: usize = 4;
pub(crate) const CHECKSUM_AT: usize = 6;

/// A checked view on a UDP datagram.
#[derive(Debug, Clone, Copy)]
pub struct UdpView<'a> {
    bytes: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// `None` when the length field does not fit the bytes. Bytes behind the announced length are left out.
    pub fn new(transport: &'a [u8]) -> Option<Self> {
        if transport.len() < HEADER_LEN {
            return None;
        }
        let length = usize::from(be16(transport, LENGTH_AT));
        (length >= HEADER_LEN).then_some(())?;
        transport.get(..length).map(|bytes| Self { bytes })
    }
    pub fn source_port(&self) -> u16 {
        be16(self.bytes, 0)
    }
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes, 2)
    }
    /// Header and payload, in bytes.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }
    /// Zero: the sender computed none.
    pub fn checksum(&self) -> u16 {
        be16(self.bytes, CHECKSUM_AT)
    }
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }
}
