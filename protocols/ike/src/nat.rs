//! NAT detection (RFC 7296 section 2.23).
use crate::api::Path;
use crate::wire::{Notify, Payloads, Spi};
use std::net::SocketAddr;

/// SHA-1(SPIi | SPIr | address | port), SPIs as in the header of the message that carries it.
pub fn detection_hash(spi_i: Spi, spi_r: Spi, address: SocketAddr) -> [u8; 20] {
    todo!()
}

/// Our pair of notifies for a message that leaves on `path`. With `force` the source hash is wrong on purpose, which makes the peer
/// encapsulate.
pub fn detection_notifies(spi_i: Spi, spi_r: Spi, path: Path, force: bool) -> [Notify; 2] {
    todo!()
}

/// Where NATs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detected {
    /// We are behind one: what the peer calls its destination is not our address.
    pub ours: bool,
    /// The peer is (or pretends to be).
    pub theirs: bool,
}

/// Compares the peer's notifies with the path its message came on. `None`: it sent none, so it knows no NAT traversal.
pub fn detect(payloads: &Payloads, spi_i: Spi, spi_r: Spi, path: Path) -> Option<Detected> {
    todo!()
}
