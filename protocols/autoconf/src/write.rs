//! Whole packets from their parts.
use packet::checksum::Sum;
use packet::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN};
use packet::{Fragment, IpHeader, protocol, udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HOP_LIMIT: u8 = 64;
/// Neighbor Discovery messages with another value came from beyond the link and are ignored (RFC 4861 section 6.1.2).
pub(crate) const HOP_LIMIT_ON_LINK: u8 = 255;
pub(crate) const UDP_IPV4: usize = IPV4_HEADER_LEN + udp::HEADER_LEN;
pub(crate) const UDP_IPV6: usize = IPV6_HEADER_LEN + udp::HEADER_LEN;

pub(crate) fn udp_ipv4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
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

pub(crate) fn udp_ipv6(source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let segment = udp_segment(source.0.into(), destination.0.into(), source.1, destination.1, payload);
    ipv6(source.0, destination.0, protocol::UDP, HOP_LIMIT, &segment)
}

/// `message`: from its type on, the checksum field zero.
pub(crate) fn icmpv6_on_link(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
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
