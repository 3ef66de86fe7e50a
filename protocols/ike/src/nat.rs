//! NAT detection (RFC 7296 section 2.23).
use crate::api::Path;
use crate::wire::{Notify, Payloads, Spi, notify};
use crypto::hash::{HashAlgorithm, hash};
use std::net::{IpAddr, SocketAddr};

/// SHA-1(SPIi | SPIr | address | port), SPIs as in the header of the message that carries it.
pub fn detection_hash(spi_i: Spi, spi_r: Spi, address: SocketAddr) -> [u8; 20] {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let parts: [&[u8]; 4] = [&spi_i.0.to_be_bytes(), &spi_r.0.to_be_bytes(), &ip, &address.port().to_be_bytes()];
    let mut out = [0; 20];
    out.copy_from_slice(&hash(HashAlgorithm::Sha1, &parts));
    out
}

/// Our pair of notifies for a message that leaves on `path`. With `force` the source hash is that of the port 0, which no datagram
/// comes from: the peer sees a NAT and encapsulates.
pub fn detection_notifies(spi_i: Spi, spi_r: Spi, path: Path, force: bool) -> [Notify; 2] {
    let mut source = path.local;
    if force {
        source.set_port(0);
    }
    [
        Notify::new(notify::NAT_DETECTION_SOURCE_IP, detection_hash(spi_i, spi_r, source)),
        Notify::new(notify::NAT_DETECTION_DESTINATION_IP, detection_hash(spi_i, spi_r, path.remote)),
    ]
}

/// Where NATs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detected {
    /// We are behind one: what the peer calls its destination is not our address.
    pub ours: bool,
    /// The peer is (or pretends to be).
    pub theirs: bool,
}

/// Compares the peer's notifies with the path its message came on. `None`: it sent not both of them, so it knows no NAT traversal. A
/// sender that does not know its own address may give several sources, one of which must fit (section 2.23).
pub fn detect(payloads: &Payloads, spi_i: Spi, spi_r: Spi, path: Path) -> Option<Detected> {
    let mismatch = |kind, address| {
        let want = detection_hash(spi_i, spi_r, address);
        let mut hashes = payloads.notifies().filter(|notify| notify.kind == kind).peekable();
        hashes.peek().is_some().then(|| !hashes.any(|notify| notify.data == want))
    };
    let theirs = mismatch(notify::NAT_DETECTION_SOURCE_IP, path.remote)?;
    let ours = mismatch(notify::NAT_DETECTION_DESTINATION_IP, path.local)?;
    Some(Detected { ours, theirs })
}
