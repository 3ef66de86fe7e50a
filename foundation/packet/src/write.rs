//! Whole packets from their parts, checksums valid.
use crate::checksum::Sum;
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN};
use crate::{Fragment, IpHeader, protocol, udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const HOP_LIMIT: u8 = 64;
/// Neighbor Discovery messages with another value came from beyond the link and are ignored (RFC 4861 section 6.1.2).
pub const HOP_LIMIT_ON_LINK: u8 = 255;
/// Bytes of the headers of UDP over IPv4.
pub const UDP_IPV4: usize = IPV4_HEADER_LEN + udp::HEADER_LEN;
/// Bytes of the headers of UDP over IPv6.
pub const UDP_IPV6: usize = IPV6_HEADER_LEN + udp::HEADER_LEN;

/// The longest payload of UDP over IPv4, in bytes.
const MAX_UDP: usize = 65_507;

/// A datagram between two sockets, addresses of IPv4 in IPv6 as what they are; `None` where they are of two families, or it would be too long.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let ports = (source.port(), destination.port());
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        _ if payload.len() > MAX_UDP => None,
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(udp_ipv4((source, ports.0), (destination, ports.1), payload)),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Some(udp_ipv6((source, ports.0), (destination, ports.1), payload)),
        _ => None,
    }
}

/// `payload`: of at most 65,507 bytes.
pub fn udp_ipv4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let segment = udp_segment(source.0.into(), destination.0.into(), source.1, destination.1, payload);
    let length = (IPV4_HEADER_LEN + segment.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    // Never fragmented, so it needs no identification (RFC 6864 section 4.1).
    packet.extend([0, 0, 0x40, 0, HOP_LIMIT, protocol::UDP, 0, 0]);
    packet.extend(source.0.octets());
    packet.extend(destination.0.octets());
    let checksum = Sum::ZERO.bytes(&packet).finish();
    packet[10..12].copy_from_slice(&checksum);
    packet.extend(segment);
    packet
}

/// `payload`: of at most 65,507 bytes.
pub fn udp_ipv6(source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let segment = udp_segment(source.0.into(), destination.0.into(), source.1, destination.1, payload);
    ipv6(source.0, destination.0, protocol::UDP, HOP_LIMIT, &segment)
}

/// `message`: from its type on, the checksum field zero.
pub fn icmpv6_on_link(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = pseudo(source.into(), destination.into(), protocol::ICMPV6, message.len()).bytes(&message);
    message[2..4].copy_from_slice(&sum.finish());
    ipv6(source, destination, protocol::ICMPV6, HOP_LIMIT_ON_LINK, &message)
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, hop_limit: u8, segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((segment.len() as u16).to_be_bytes());
    packet.extend([protocol, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(segment);
    packet
}

fn udp_segment(source: IpAddr, destination: IpAddr, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = udp::HEADER_LEN + payload.len();
    let mut segment = Vec::with_capacity(length);
    segment.extend(source_port.to_be_bytes());
    segment.extend(destination_port.to_be_bytes());
    segment.extend((length as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    let checksum = pseudo(source, destination, protocol::UDP, length).bytes(&segment).finish_udp();
    segment[6..8].copy_from_slice(&checksum);
    segment
}

/// Both addresses are of one family.
fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Sum {
    let header = IpHeader { source, destination, protocol, transport: 0, length, fragment: Fragment::Whole, dont_fragment: true };
    header.pseudo_sum(protocol, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_whole_packets() {
        for (from, to) in
            [("192.0.2.1:500", "192.0.2.2:4500"), ("[::ffff:192.0.2.1]:500", "192.0.2.2:4500"), ("[2001:db8::1]:500", "[2001:db8::2]:4500")]
        {
            let packet = udp(from.parse().unwrap(), to.parse().unwrap(), b"payload").unwrap();
            let ip = IpHeader::parse(&packet).unwrap();
            assert!(ip.transport_checksum_holds(&packet) && packet.ends_with(b"payload"), "{from}");
            let view = crate::udp::UdpView::new(&packet[ip.transport..]).unwrap();
            assert_eq!((view.source_port(), view.destination_port(), view.payload()), (500, 4500, &b"payload"[..]));
        }
        assert_eq!(udp("192.0.2.1:500".parse().unwrap(), "[2001:db8::1]:500".parse().unwrap(), b""), None);
        assert_eq!(udp("192.0.2.1:500".parse().unwrap(), "192.0.2.2:500".parse().unwrap(), &[0; 65_508]), None);
    }
}
