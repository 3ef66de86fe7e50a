//! A Child SA as the packet threads use it.
use super::stats::TrafficCounters;
use crypto::Zeroizing;
use crypto::cipher::Suite;
use crypto::cipher::{BadKeyLength, Opener, Sealer};
use esp::{DEFAULT_WINDOW, Encapsulation, InboundSa, OutboundSa};
use ike::Path;
use packet::IpHeader;
use std::net::IpAddr;
use std::sync::Arc;

/// MTU of the path outside, until something better is known.
const OUTER_MTU: usize = 1500;

/// Which side of the tunnel this engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Outbound packets find their tunnel by the client's inner address.
    Gateway,
    /// All outbound packets take this tunnel.
    Client,
}

/// Inclusive address range with protocol and ports (RFC 7296 section 3.13.1); protocol 0: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    pub protocol: u8,
    pub start_port: u16,
    pub end_port: u16,
    pub start: IpAddr,
    pub end: IpAddr,
}

impl Selector {
    fn covers(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let address_fits = self.start.is_ipv4() == address.is_ipv4() && self.start <= address && address <= self.end;
        let any_port = self.start_port == 0 && self.end_port == u16::MAX;
        let port_fits = any_port || port.is_some_and(|port| (self.start_port..=self.end_port).contains(&port));
        address_fits && (self.protocol == 0 || self.protocol == protocol) && port_fits
    }
}

/// Keying material of one direction.
pub struct Keys {
    pub encryption: Zeroizing<Vec<u8>>,
    pub integrity: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Everything about a tunnel, as plain values.
#[derive(Debug)]
pub struct TunnelSpec {
    pub session: u64,
    pub role: Role,
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: Suite,
    pub esn: bool,
    pub keys_in: Keys,
    pub keys_out: Keys,
    pub path: Path,
    /// ESP in UDP, else IP protocol 50.
    pub encapsulate: bool,
    /// Gateway: the client's leases. Client: our own inner addresses.
    pub inner: Vec<IpAddr>,
    pub local: Vec<Selector>,
    pub remote: Vec<Selector>,
    /// MTU of the TUN device.
    pub mtu: u16,
    /// Starts sending at once; otherwise when told.
    pub outbound_ready: bool,
    pub traffic: Arc<TrafficCounters>,
}

/// An installed tunnel, shared by the packet threads.
#[derive(Debug)]
pub struct Tunnel {
    pub session: u64,
    pub role: Role,
    pub spi_in: u32,
    /// Steering brings an SA's packets to one thread, so the lock of its window is free but for stray packets.
    pub(crate) inbound: InboundSa,
    pub(crate) outbound: OutboundSa,
    pub(crate) path: Path,
    pub(crate) encapsulate: bool,
    pub(crate) inner: Vec<IpAddr>,
    local: Vec<Selector>,
    remote: Vec<Selector>,
    /// Largest inner packet.
    pub(crate) mtu: usize,
    pub(crate) outbound_ready: bool,
    pub(crate) traffic: Arc<TrafficCounters>,
}

impl Tunnel {
    /// # Errors
    /// When the keys do not fit the suite.
    pub fn new(spec: TunnelSpec) -> Result<Self, BadKeyLength> {
        let opener = Opener::new(spec.suite, &spec.keys_in.encryption, &spec.keys_in.integrity)?;
        let sealer = Sealer::new(spec.suite, &spec.keys_out.encryption, &spec.keys_out.integrity)?;
        let outbound = OutboundSa::new(spec.spi_out, sealer, spec.esn);
        let encapsulation = Encapsulation { outer_is_v4: spec.path.remote.is_ipv4(), udp: spec.encapsulate };
        let mtu = usize::from(spec.mtu).min(outbound.overhead().inner_mtu(OUTER_MTU, encapsulation));
        Ok(Self {
            session: spec.session,
            role: spec.role,
            spi_in: spec.spi_in,
            inbound: InboundSa::new(spec.spi_in, opener, spec.esn, DEFAULT_WINDOW),
            outbound,
            path: spec.path,
            encapsulate: spec.encapsulate,
            inner: spec.inner,
            local: spec.local,
            remote: spec.remote,
            mtu,
            outbound_ready: spec.outbound_ready,
            traffic: spec.traffic,
        })
    }

    /// True when a packet from the peer is what the negotiation allows.
    pub(crate) fn allows_inbound(&self, packet: &[u8], ip: &IpHeader) -> bool {
        let (source_port, destination_port) = ports(packet, ip);
        covers(&self.remote, ip.source, ip.protocol, source_port) && covers(&self.local, ip.destination, ip.protocol, destination_port)
    }

    pub(crate) fn allows_outbound(&self, packet: &[u8], ip: &IpHeader) -> bool {
        let (source_port, destination_port) = ports(packet, ip);
        covers(&self.local, ip.source, ip.protocol, source_port) && covers(&self.remote, ip.destination, ip.protocol, destination_port)
    }

    /// True when the inner source is one that this peer may use.
    pub(crate) fn is_genuine(&self, source: IpAddr) -> bool {
        self.role == Role::Client || self.inner.contains(&source)
    }
}

fn ports(packet: &[u8], ip: &IpHeader) -> (Option<u16>, Option<u16>) {
    ip.ports(packet).map_or((None, None), |(source, destination)| (Some(source), Some(destination)))
}

fn covers(selectors: &[Selector], address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    selectors.iter().any(|selector| selector.covers(address, protocol, port))
}
