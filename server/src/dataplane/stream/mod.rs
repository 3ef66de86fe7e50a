//! TLS streams that carry SSTP packets, each owned by one packet thread for its life.
//!
//! The owner reads large pieces, opens the records, cuts packets across record boundaries and sorts them: IP packets take the same way to
//! the TUN device as those out of ESP, everything else goes to control. Outwards, frames of many packets fill whole records. All buffers
//! of size belong to the thread; an idle stream keeps what it has of an unfinished record and an unfinished packet.
mod inbound;
mod outbound;
mod streams;

pub(super) use inbound::{Bucket, CONTROL_BURST};
pub(super) use streams::{Streams, TOKEN};

use super::Path;
use super::gate::{Gate, Inner, Role, Selector};
use super::stats::TrafficCounters;
use super::tunnel::MIN_MTU;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Before an IP packet: SSTP header, PPP address and control field, PPP protocol.
const FRAME_HEADER: usize = sstp::HEADER_LEN + ppp::frame::IPV4_HEADER.len();

/// Longest IP packet in an SSTP packet.
const MAX_INNER: usize = sstp::MAX_PACKET - FRAME_HEADER;

/// A connection for the data plane, its TLS handshake and its HTTP head done.
#[derive(Debug)]
pub struct StreamSpec {
    pub session: u64,
    pub socket: TcpStream,
    pub tls: tls::Connection,
    /// Plaintext that came behind the HTTP head.
    pub early: Vec<u8>,
    /// For clients that look at the first SSTP packet of a TLS record alone. Costs a record and a system call for each packet.
    pub one_packet_a_record: bool,
}

/// What a client may do once its network is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTunnel {
    pub session: u64,
    pub inner: Inner,
    /// What the client may reach; empty: everything.
    pub allowed: Vec<Selector>,
    /// Longest inner packet, bytes.
    pub mtu: u16,
}

/// What packet threads tell control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A whole SSTP packet that is not IP data: control, or a PPP control protocol.
    Packet { session: u64, packet: Vec<u8> },
    /// An IP packet that is meant for the link and not forwarded: DHCP, Router Solicitation, DHCPv6. Out of any kind of tunnel.
    Inner { session: u64, packet: Vec<u8> },
    /// Most sequence numbers of a Child SA without ESN are used up, in one direction at least: it needs a rekey. Told again when it gets
    /// none.
    Worn { session: u64, spi_in: u32 },
    /// The newest packet of an ESP session, verified, came in UDP from another address or port than the session is sent to, or on a newer TCP
    /// connection. Told at most once a second.
    Moved { session: u64, path: Path },
    /// A packet is there for a session that has no Child SA ([`super::DataplaneHandle::rest`]). Told at most once a second; the packet is dropped.
    Wanted { session: u64 },
    /// The connection is gone. Exactly once for each stream that was adopted, and last.
    Closed { session: u64, cause: String },
    /// A TCP connection with IKE and ESP is gone. Exactly once for each that was adopted, and last.
    ConnectionClosed { connection: ike::ConnectionId, cause: String },
}

/// Where packet threads hand events. Must not wait.
pub trait StreamSink: Send + 'static {
    /// False when there was no room.
    fn offer(&self, event: StreamEvent) -> bool;
}

impl StreamSink for Sender<StreamEvent> {
    fn offer(&self, event: StreamEvent) -> bool {
        self.try_send(event).is_ok()
    }
}

/// For engines without streams: nobody listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoStreams;

impl StreamSink for NoStreams {
    fn offer(&self, event: StreamEvent) -> bool {
        // Nothing waits for the end of a stream here.
        matches!(event, StreamEvent::Closed { .. } | StreamEvent::ConnectionClosed { .. })
    }
}

/// A stream on its way to its thread.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) spec: StreamSpec,
    pub(crate) traffic: Arc<TrafficCounters>,
}

/// A stream that carries data, as all threads know it.
#[derive(Debug)]
pub(crate) struct StreamRoute {
    pub(crate) session: u64,
    /// The thread that reads and writes it.
    pub(crate) owner: usize,
    pub(crate) gate: Gate,
    pub(crate) mtu: usize,
    pub(crate) traffic: Arc<TrafficCounters>,
}

impl StreamRoute {
    pub(crate) fn new(tunnel: StreamTunnel, owner: usize, traffic: Arc<TrafficCounters>) -> Self {
        let local = if tunnel.allowed.is_empty() { everything() } else { tunnel.allowed };
        Self {
            session: tunnel.session,
            owner,
            gate: Gate::new(Role::Gateway, tunnel.inner, local, everything()),
            mtu: usize::from(tunnel.mtu).clamp(MIN_MTU, MAX_INNER),
            traffic,
        }
    }
}

fn everything() -> Vec<Selector> {
    let whole = |start: IpAddr, end: IpAddr| Selector { protocol: 0, start_port: 0, end_port: u16::MAX, start, end };
    vec![
        whole(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        whole(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()),
    ]
}
