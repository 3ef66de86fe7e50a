//! Who may send what through a session's tunnel: leases and selectors, the same for every kind of tunnel.
use net::link::Prefix;
use packet::IpHeader;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// What a tunnel leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inner {
    /// See [`Role`].
    pub addresses: Vec<IpAddr>,
    /// Gateway role: what is behind the peer, without bits beyond the length.
    pub networks: Vec<Prefix>,
}

impl From<Vec<IpAddr>> for Inner {
    fn from(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, networks: Vec::new() }
    }
}

/// The inner addresses of a tunnel, and what the negotiation or the policy lets through.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) role: Role,
    /// See [`Role`].
    pub(crate) inner: Vec<IpAddr>,
    /// Gateway role: behind the peer.
    pub(crate) networks: Vec<Prefix>,
    local: Vec<Selector>,
    remote: Vec<Selector>,
    pub(crate) diverted: Allowance,
}

impl Gate {
    /// `local`, `remote`: selectors of our side and the peer's.
    pub(crate) fn new(role: Role, inner: Inner, local: Vec<Selector>, remote: Vec<Selector>) -> Self {
        let Inner { addresses: inner, networks } = inner;
        Self { role, inner, networks, local, remote, diverted: Allowance::default() }
    }

    /// What is sent through it, in the gateway role.
    pub(crate) fn places(&self) -> impl Iterator<Item = Prefix> {
        self.inner.iter().map(|&address| Prefix::host(address)).chain(self.networks.iter().copied())
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
            Role::Gateway => self.inner.contains(&ip.source) || self.networks.iter().any(|network| network.contains(ip.source)),
            Role::Client => self.inner.contains(&ip.destination),
        }
    }
}

fn ports(packet: &[u8], ip: &IpHeader) -> (Option<u16>, Option<u16>) {
    ip.ports(packet).map_or((None, None), |(source, destination)| (Some(source), Some(destination)))
}

fn covers(selectors: &[Selector], address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    selectors.iter().any(|selector| selector.covers(address, protocol, port))
}

/// So many packets a second, whichever thread meets them.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// The second, and in the low 16 bits how many it has had.
    spent: AtomicU64,
}

impl Allowance {
    /// Takes one place of the `limit` (below 65,535) of this second.
    pub(crate) fn take(&self, second: u64, limit: u64) -> bool {
        let taken = self.spent.try_update(Ordering::Relaxed, Ordering::Relaxed, |spent| {
            let used = if spent >> 16 == second { spent & 0xffff } else { 0 };
            (used < limit).then_some((second << 16) | (used + 1))
        });
        taken.is_ok()
    }
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

    #[test]
    fn sources_are_leases_and_what_is_behind_them() {
        let inner = Inner { addresses: vec![[10, 9, 0, 2].into()], networks: vec!["192.168.7.0/24".parse().unwrap()] };
        let from = |source: [u8; 4]| {
            let mut bytes = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
            bytes.extend([source, [10, 0, 0, 1]].concat());
            IpHeader::parse(&bytes).unwrap()
        };
        let gate = Gate::new(Role::Gateway, inner.clone(), Vec::new(), Vec::new());
        let leased = [[10, 9, 0, 2], [192, 168, 7, 0], [192, 168, 7, 255]];
        assert!(leased.into_iter().all(|source| gate.is_leased(&from(source))));
        assert!([[10, 9, 0, 3], [192, 168, 8, 0], [192, 168, 6, 255]].into_iter().all(|source| !gate.is_leased(&from(source))));
    }

    #[test]
    fn an_allowance_lasts_a_second() {
        let allowance = Allowance::default();
        assert_eq!((0..25).filter(|_| allowance.take(7, 10)).count(), 10);
        assert!(allowance.take(8, 1) && !allowance.take(8, 1));
    }
}
