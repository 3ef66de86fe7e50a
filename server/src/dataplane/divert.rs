//! Packets of a client that are meant for its link, not for anybody behind the gateway: some are answered by control, the rest is dropped.
use super::gate::{Gate, Role};
use packet::{Fragment, IpHeader, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Packets that a session may have diverted to control each second.
pub(super) const PER_SECOND: u64 = 10;

const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;
const ROUTER_SOLICITATION: u8 = 133;
/// All_DHCP_Relay_Agents_and_Servers (RFC 8415 section 7.1).
const ALL_DHCP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// What to do with a packet from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Forward,
    /// To control, never to the TUN device.
    Divert,
    /// A source that the peer does not have.
    Stranger,
    /// Nobody beyond the link may see it.
    Drop,
}

/// Judges a packet from the peer before lease and selectors are looked at: what is diverted needs no selector, because it goes nowhere.
pub(super) fn judge(gate: &Gate, packet: &[u8], ip: &IpHeader) -> Verdict {
    if gate.role == Role::Client {
        return Verdict::Forward;
    }
    match (ip.source, ip.destination) {
        (IpAddr::V4(_), IpAddr::V4(destination)) => judge_v4(gate, packet, ip, destination),
        (IpAddr::V6(source), IpAddr::V6(destination)) => judge_v6(gate, packet, ip, source, destination),
        // One header holds addresses of one family.
        _ => Verdict::Drop,
    }
}

/// DHCPINFORM (RFC 2131 section 4.3.5): to the broadcast address, or to the lease itself, which is the broadcast address of a link with
/// one host.
fn judge_v4(gate: &Gate, packet: &[u8], ip: &IpHeader, destination: Ipv4Addr) -> Verdict {
    let to_link = destination == Ipv4Addr::BROADCAST || (ip.destination == ip.source && gate.inner.contains(&ip.destination));
    match () {
        () if !to_link => Verdict::Forward,
        () if !is_udp_to(packet, ip, DHCP_SERVER) => Verdict::Drop,
        () if !gate.is_leased(ip) => Verdict::Stranger,
        () => Verdict::Divert,
    }
}

/// Router Solicitation (RFC 4861 section 4.1) and DHCPv6 Information-request (RFC 8415 section 18.2.6).
fn judge_v6(gate: &Gate, packet: &[u8], ip: &IpHeader, source: Ipv6Addr, destination: Ipv6Addr) -> Verdict {
    let of_link = source.is_unicast_link_local();
    let to_link = destination.is_multicast() || destination.is_unicast_link_local();
    let solicits = is_router_solicitation(packet, ip);
    let wanted = solicits || ((destination == ALL_DHCP || destination.is_unicast_link_local()) && is_udp_to(packet, ip, DHCPV6_SERVER));
    match () {
        () if wanted && (of_link || gate.is_leased(ip) || (solicits && source.is_unspecified())) => Verdict::Divert,
        () if wanted => Verdict::Stranger,
        () if of_link || to_link => Verdict::Drop,
        () => Verdict::Forward,
    }
}

fn is_udp_to(packet: &[u8], ip: &IpHeader, port: u16) -> bool {
    let whole = ip.protocol == protocol::UDP && ip.fragment == Fragment::Whole;
    whole && ip.ports(packet).is_some_and(|(_, destination)| destination == port)
}

fn is_router_solicitation(packet: &[u8], ip: &IpHeader) -> bool {
    let is_icmp = ip.protocol == protocol::ICMPV6 && ip.fragment != Fragment::Later;
    is_icmp && packet.get(ip.transport..ip.length).and_then(<[u8]>::first) == Some(&ROUTER_SOLICITATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(role: Role) -> Gate {
        Gate::new(role, vec!["10.9.0.2".parse().unwrap(), "fd09::2".parse().unwrap()].into(), Vec::new(), Vec::new())
    }

    /// A packet with `transport` as payload of the given protocol.
    fn packet(source: &str, destination: &str, protocol: u8, transport: &[u8]) -> Vec<u8> {
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = u16::try_from(20 + transport.len()).unwrap().to_be_bytes();
                let head = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
                [&head[..], &source.octets(), &destination.octets(), transport].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u16::try_from(transport.len()).unwrap().to_be_bytes();
                let head = [0x60, 0, 0, 0, length[0], length[1], protocol, 255];
                [&head[..], &source.octets(), &destination.octets(), transport].concat()
            }
            _ => unreachable!("two families"),
        }
    }

    fn verdict(role: Role, packet: &[u8]) -> Verdict {
        judge(&gate(role), packet, &IpHeader::parse(packet).unwrap())
    }

    fn udp(port: u16) -> Vec<u8> {
        [&[0, 68][..], &port.to_be_bytes(), &[0, 8, 0, 0]].concat()
    }

    #[test]
    fn what_belongs_to_the_link() {
        let udp4 = |source, destination, port| packet(source, destination, protocol::UDP, &udp(port));
        let icmp6 = |source, destination, kind| packet(source, destination, protocol::ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        let all = "255.255.255.255";
        for (bytes, wanted) in [
            (udp4("10.9.0.2", all, 67), Verdict::Divert),
            (udp4("10.9.0.2", "10.9.0.2", 67), Verdict::Divert),
            (udp4("10.9.0.3", all, 67), Verdict::Stranger),
            (udp4("0.0.0.0", all, 67), Verdict::Stranger),
            (udp4("10.9.0.2", all, 137), Verdict::Drop),
            (udp4("10.9.0.2", "10.1.1.1", 67), Verdict::Forward),
            (udp4("10.9.0.2", "224.0.0.251", 5353), Verdict::Forward),
            (icmp6("fe80::7", "ff02::2", 133), Verdict::Divert),
            (icmp6("::", "ff02::2", 133), Verdict::Divert),
            (icmp6("fd09::2", "fd09::1", 133), Verdict::Divert),
            (icmp6("fd09::3", "ff02::2", 133), Verdict::Stranger),
            (icmp6("fe80::7", "ff02::1:ff00:1", 135), Verdict::Drop),
            (icmp6("fe80::7", "2001:db8::1", 128), Verdict::Drop),
            (icmp6("fd09::2", "ff05::1", 128), Verdict::Drop),
            (icmp6("fd09::2", "fe80::1", 128), Verdict::Drop),
            (icmp6("fd09::2", "2001:db8::1", 128), Verdict::Forward),
            (udp4("fe80::7", "ff02::1:2", 547), Verdict::Divert),
            (udp4("fe80::7", "fe80::1", 547), Verdict::Divert),
            (udp4("fd09::2", "ff02::1:2", 547), Verdict::Divert),
            (udp4("fd09::9", "ff02::1:2", 547), Verdict::Stranger),
            (udp4("fe80::7", "ff02::1:2", 546), Verdict::Drop),
            (udp4("fe80::7", "ff02::1:3", 5355), Verdict::Drop),
            (udp4("fd09::2", "2001:db8::1", 547), Verdict::Forward),
        ] {
            assert_eq!(verdict(Role::Gateway, &bytes), wanted, "{bytes:02x?}");
            assert_eq!(verdict(Role::Client, &bytes), Verdict::Forward);
        }
    }

    #[test]
    fn fragments_are_not_diverted() {
        let mut bytes = packet("10.9.0.2", "255.255.255.255", protocol::UDP, &udp(67));
        bytes[6] = 0x20;
        assert_eq!(verdict(Role::Gateway, &bytes), Verdict::Drop);
    }
}
