//! The two messages that tell a sender its packet is too big for the tunnel: ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6
//! "packet too big" (RFC 4443 section 3.2).
use crate::checksum::Sum;
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, renew_v4_checksum};
use crate::{Fragment, IpHeader, protocol, put16};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest message that [`too_big`] writes: the minimum MTU of IPv6.
pub const MAX_LEN: usize = 1280;
/// The longest ICMP error over IPv4 (RFC 1812 section 4.3.2.3).
const MAX_LEN_V4: usize = 576;
const ICMP_HEADER_LEN: usize = 8;
const HOP_LIMIT: u8 = 64;

/// Builds the error for `offending`, which `ip` describes, into `out`. It comes from the address that the packet was sent to: the one
/// address behind the tunnel of which a host is sure to accept packets from the tunnel's interface. Returns its length, or `None` where
/// no error may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)): about an ICMP error, about a fragment that is not the first,
/// to or about a multicast, broadcast or unspecified address.
///
/// `mtu`: what would fit, in bytes.
pub fn too_big(offending: &[u8], ip: &IpHeader, mtu: usize, out: &mut [u8; MAX_LEN]) -> Option<usize> {
    if ip.fragment == Fragment::Later || is_icmp_error(offending, ip) || !is_host(ip.source) || !is_host(ip.destination) {
        return None;
    }
    let offending = offending.get(..ip.length)?;
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(fragmentation_needed(offending, source, destination, mtu, out)),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Some(packet_too_big(offending, source, destination, mtu, out)),
        _ => None,
    }
}

fn fragmentation_needed(offending: &[u8], to: Ipv4Addr, from: Ipv4Addr, mtu: usize, out: &mut [u8; MAX_LEN]) -> usize {
    const HEADERS: usize = IPV4_HEADER_LEN + ICMP_HEADER_LEN;
    let quoted = offending.len().min(MAX_LEN_V4 - HEADERS);
    let length = HEADERS + quoted;
    out[..HEADERS].fill(0);
    out[0] = 0x45;
    put16(out, 2, length as u16);
    out[6] = 0x40;
    out[8] = HOP_LIMIT;
    out[9] = protocol::ICMP;
    out[12..16].copy_from_slice(&from.octets());
    out[16..20].copy_from_slice(&to.octets());
    renew_v4_checksum(&mut out[..IPV4_HEADER_LEN]);
    // Destination unreachable, fragmentation needed.
    out[20..22].copy_from_slice(&[3, 4]);
    put16(out, 26, u16::try_from(mtu).unwrap_or(u16::MAX));
    out[HEADERS..length].copy_from_slice(&offending[..quoted]);
    let checksum = Sum::ZERO.bytes(&out[IPV4_HEADER_LEN..length]).finish();
    out[22..24].copy_from_slice(&checksum);
    length
}

fn packet_too_big(offending: &[u8], to: Ipv6Addr, from: Ipv6Addr, mtu: usize, out: &mut [u8; MAX_LEN]) -> usize {
    const HEADERS: usize = IPV6_HEADER_LEN + ICMP_HEADER_LEN;
    let quoted = offending.len().min(MAX_LEN - HEADERS);
    let length = HEADERS + quoted;
    out[..HEADERS].fill(0);
    out[0] = 0x60;
    put16(out, 4, (length - IPV6_HEADER_LEN) as u16);
    out[6] = protocol::ICMPV6;
    out[7] = HOP_LIMIT;
    out[8..24].copy_from_slice(&from.octets());
    out[24..40].copy_from_slice(&to.octets());
    out[40] = 2;
    out[44..48].copy_from_slice(&u32::try_from(mtu).unwrap_or(u32::MAX).to_be_bytes());
    out[HEADERS..length].copy_from_slice(&offending[..quoted]);
    let header = IpHeader {
        source: IpAddr::V6(from),
        destination: IpAddr::V6(to),
        protocol: protocol::ICMPV6,
        transport: IPV6_HEADER_LEN,
        length,
        fragment: Fragment::Whole,
        dont_fragment: true,
    };
    let checksum = header.pseudo_sum(protocol::ICMPV6, length - IPV6_HEADER_LEN).bytes(&out[IPV6_HEADER_LEN..length]).finish();
    out[42..44].copy_from_slice(&checksum);
    length
}

/// Unknown ICMP types count as errors, so that two gateways can never answer each other.
fn is_icmp_error(packet: &[u8], ip: &IpHeader) -> bool {
    let kind = packet.get(ip.transport);
    match ip.protocol {
        // Echo, router and timestamp messages; RFC 792, RFC 1256.
        protocol::ICMP => !matches!(kind, Some(0 | 8 | 9 | 10 | 13..=18)),
        protocol::ICMPV6 => !matches!(kind, Some(128..=255)),
        _ => false,
    }
}

fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::be16;
    use crate::testing::{header_checksum_is_valid, slow_checksum, slow_pseudo, v4, v6};

    fn build(packet: &[u8], mtu: usize) -> Option<Vec<u8>> {
        let mut out = [0xaa; MAX_LEN];
        too_big(packet, &IpHeader::parse(packet).unwrap(), mtu, &mut out).map(|length| out[..length].to_vec())
    }

    #[test]
    fn fragmentation_needed_names_the_mtu_and_quotes_the_packet() {
        let packet = v4(protocol::UDP, &[7; 1472]);
        let error = build(&packet, 1390).unwrap();
        let ip = IpHeader::parse(&error).unwrap();
        let original = IpHeader::parse(&packet).unwrap();
        assert_eq!((ip.source, ip.destination, error.len()), (original.destination, original.source, 576));
        assert_eq!((error[20], error[21], be16(&error, 26)), (3, 4, 1390));
        assert!(header_checksum_is_valid(&error));
        assert_eq!(slow_checksum(&error[20..]), 0);
        assert_eq!(error[28..], packet[..548]);
    }

    #[test]
    fn packet_too_big_stays_within_the_minimum_mtu() {
        let packet = v6(protocol::TCP, &[7; 1460]);
        let error = build(&packet, 1380).unwrap();
        assert_eq!((error.len(), error[40], error[41]), (1280, 2, 0));
        assert_eq!(crate::be32(&error, 44), 1380);
        let ip = IpHeader::parse(&error).unwrap();
        assert_eq!(slow_checksum(&[slow_pseudo(&ip), error[40..].to_vec()].concat()), 0);
        assert_eq!(error[48..], packet[..1232]);
        assert_eq!(build(&v6(protocol::UDP, &[0; 60]), 1280).unwrap().len(), 48 + 100);
    }

    #[test]
    fn silent_where_an_error_must_not_be_sent() {
        assert!(build(&v4(protocol::ICMP, &[3, 4, 0, 0, 0, 0, 0, 0]), 100).is_none());
        assert!(build(&v6(protocol::ICMPV6, &[1, 0, 0, 0, 0, 0, 0, 0]), 100).is_none());
        assert!(build(&v4(protocol::ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]), 100).is_some());
        assert!(build(&v6(protocol::ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]), 100).is_some());
        let mut later = v4(protocol::UDP, &[0; 40]);
        put16(&mut later, 6, 3);
        assert!(build(&later, 100).is_none());
        for (at, octets) in [(16, [224, 0, 0, 1]), (16, [255; 4]), (12, [0; 4]), (12, [127, 0, 0, 1])] {
            let mut packet = v4(protocol::UDP, &[0; 40]);
            packet[at..at + 4].copy_from_slice(&octets);
            assert!(build(&packet, 100).is_none());
        }
    }
}
