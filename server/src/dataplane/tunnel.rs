//! A Child SA as the packet threads use it.
use super::stats::TrafficCounters;
use super::{InstallError, Path};
use crypto::Zeroizing;
use crypto::cipher::{Opener, Sealer, Suite};
use esp::{Encapsulation, InboundSa, OutboundSa, Overhead};
use packet::IpHeader;
use std::net::IpAddr;
use std::sync::Arc;

/// The smallest MTU that IPv4 knows (RFC 791).
const MIN_MTU: usize = 68;

/// Which side of the tunnel this engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The inner addresses are the peer's: packets to them take this tunnel.
    Gateway,
    /// The inner addresses are our own: packets from them take this tunnel.
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
    /// SPI in packets to us; unique. Its last byte names the thread that receives.
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: Suite,
    pub esn: bool,
    pub key_in: Keys,
    pub key_out: Keys,
    pub path: Path,
    /// ESP in UDP, else IP protocol 50.
    pub encapsulate: bool,
    /// See [`Role`].
    pub inner: Vec<IpAddr>,
    /// Negotiated selectors: our side and the peer's.
    pub local: Vec<Selector>,
    pub remote: Vec<Selector>,
    /// Upper limit of inner packets, bytes; `u16::MAX` for none.
    pub mtu: u16,
    /// MTU of the path outside, bytes: what ESP, UDP and IP add is subtracted from it.
    pub path_mtu: u16,
    pub role: Role,
    /// Starts sending at once; otherwise when told, unless the session has nothing else to send with.
    pub outbound_ready: bool,
}

/// An installed tunnel, shared by the packet threads.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) session: u64,
    pub(crate) role: Role,
    pub(crate) spi_in: u32,
    /// Steering brings an SA's packets to one thread, so the lock of its window is free but for stray packets.
    pub(crate) inbound: InboundSa,
    pub(crate) outbound: OutboundSa,
    pub(crate) path: Path,
    pub(crate) encapsulate: bool,
    pub(crate) inner: Vec<IpAddr>,
    local: Vec<Selector>,
    remote: Vec<Selector>,
    mtu: u16,
    path_mtu: u16,
    pub(crate) outbound_ready: bool,
    pub(crate) traffic: Arc<TrafficCounters>,
}

impl Tunnel {
    pub(crate) fn new(spec: TunnelSpec, replay_window: u32, traffic: Arc<TrafficCounters>) -> Result<Self, InstallError> {
        let opener = Opener::new(spec.suite, &spec.key_in.encryption, &spec.key_in.integrity)?;
        let sealer = Sealer::new(spec.suite, &spec.key_out.encryption, &spec.key_out.integrity)?;
        let tunnel = Self {
            session: spec.session,
            role: spec.role,
            spi_in: spec.spi_in,
            inbound: InboundSa::new(spec.spi_in, opener, spec.esn, replay_window),
            outbound: OutboundSa::new(spec.spi_out, sealer, spec.esn),
            path: spec.path,
            encapsulate: spec.encapsulate,
            inner: spec.inner,
            local: spec.local,
            remote: spec.remote,
            mtu: spec.mtu,
            path_mtu: spec.path_mtu,
            outbound_ready: spec.outbound_ready,
            traffic,
        };
        match tunnel.mtu_on(tunnel.path, tunnel.encapsulate) {
            mtu if mtu < MIN_MTU => Err(InstallError::Mtu { mtu, path_mtu: tunnel.path_mtu }),
            _ => Ok(tunnel),
        }
    }

    /// Longest inner packet on this path.
    pub(crate) fn mtu_on(&self, path: Path, encapsulate: bool) -> usize {
        let encapsulation = Encapsulation { outer_is_v4: path.remote.is_ipv4(), udp: encapsulate };
        usize::from(self.mtu).min(self.outbound.overhead().inner_mtu(usize::from(self.path_mtu), encapsulation))
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

    /// True when the end of the tunnel that has leased addresses uses one of them.
    pub(crate) fn is_leased(&self, ip: &IpHeader) -> bool {
        match self.role {
            Role::Gateway => self.inner.contains(&ip.source),
            Role::Client => self.inner.contains(&ip.destination),
        }
    }
}

/// Inner MTU for a suite and a path of `path_mtu` bytes.
pub fn inner_mtu(suite: Suite, path_mtu: u16, outer_is_v4: bool, encapsulate: bool) -> u16 {
    let encapsulation = Encapsulation { outer_is_v4, udp: encapsulate };
    // Not longer than the path's.
    Overhead::of(suite).inner_mtu(usize::from(path_mtu), encapsulation) as u16
}

fn ports(packet: &[u8], ip: &IpHeader) -> (Option<u16>, Option<u16>) {
    ip.ports(packet).map_or((None, None), |(source, destination)| (Some(source), Some(destination)))
}

fn covers(selectors: &[Selector], address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    selectors.iter().any(|selector| selector.covers(address, protocol, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(protocol: u8, ports: (u16, u16), start: &str, end: &str) -> Selector {
        Selector { protocol, start_port: ports.0, end_port: ports.1, start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    #[test]
    fn selectors_cover_addresses_protocols_and_ports() {
        let any = selector(0, (0, 65535), "10.0.0.0", "10.0.0.255");
        assert!(any.covers("10.0.0.7".parse().unwrap(), 17, Some(9)) && any.covers("10.0.0.0".parse().unwrap(), 50, None));
        assert!(!any.covers("10.0.1.0".parse().unwrap(), 17, Some(9)) && !any.covers("::a00:7".parse().unwrap(), 17, None));
        let web = selector(6, (443, 443), "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert!(web.covers("2001:db8::1".parse().unwrap(), 6, Some(443)));
        assert!(!web.covers("2001:db8::1".parse().unwrap(), 17, Some(443)) && !web.covers("2001:db8::1".parse().unwrap(), 6, Some(80)));
        assert!(!web.covers("2001:db8::1".parse().unwrap(), 6, None), "a fragment without ports is outside a port selector");
    }
}
