//! The packet engine: TUN on one side; ESP in UDP, ESP as IP protocol 50, ESP in TCP and TLS streams (SSTP) on the other, on threads of its own.
//!
//! Each thread has a TUN queue, its members of the SO_REUSEPORT groups, and its own tables. A filter in the kernel brings packets to the
//! thread that the last byte of the SPI names, so in practice a Child SA receives on one thread; correctness does not depend on it.
//! Control talks to the threads by bounded channels; a packet meets no allocation and no lock that two threads fight for.
//!
//! A packet in: datagram -> SPI -> replay window, decryption -> lease, selectors, filters -> MSS clamp -> coalesced -> TUN. A packet out: TUN ->
//! lease -> selectors, filters -> split, each segment straight to where it is sealed -> a train of datagrams for the kernel to segment, or a train
//! of frames for the records of a stream.
//!
//! A stream belongs to one thread for its life: that thread alone reads and writes it ([`stream`], [`tcp`]).
mod divert;
mod gate;
mod guard;
mod handle;
mod handover;
mod inbound;
mod line;
mod outbound;
mod ports;
mod start;
mod stats;
mod stream;
mod tables;
mod tcp;
mod thread;
mod tunnel;
mod watch;

pub use gate::{Inner, Role, Selector};
pub use handle::{DataplaneHandle, InstallError, Stalled};
pub use ike::Path;
pub use ports::Opened;
pub use start::{Dataplane, DataplaneConfig, Interface};
pub use stats::{SessionCounters, Totals};
pub use stream::{StreamEvent, StreamSink, StreamSpec, StreamTunnel};
pub use tcp::ConnectionSpec;
pub use tunnel::{Keys, TunnelSpec, inner_mtu};

use std::net::IpAddr;
use tokio::sync::mpsc::Sender;

/// The four zero bytes before an IKE message on the NAT-traversal port (RFC 3948 section 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// An IKE message that arrived on the NAT-traversal port or in TCP, its marker stripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeDatagram {
    pub path: Path,
    pub bytes: Vec<u8>,
}

/// Where packet threads hand IKE messages. Must not wait.
pub trait IkeSink: Send + 'static {
    /// False when there was no room: the message is dropped and counted.
    fn offer(&self, path: Path, message: &[u8]) -> bool;
}

impl IkeSink for Sender<IkeDatagram> {
    fn offer(&self, path: Path, message: &[u8]) -> bool {
        self.try_reserve().is_ok_and(|place| {
            place.send(IkeDatagram { path, bytes: message.to_vec() });
            true
        })
    }
}

/// True when a socket bound to `bound` has packets for `local`.
fn serves(bound: IpAddr, local: IpAddr) -> bool {
    bound == local || (bound.is_unspecified() && bound.is_ipv4() == local.is_ipv4())
}
