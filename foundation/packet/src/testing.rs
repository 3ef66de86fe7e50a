//! Builders and an independent, slow checksum for tests.
use crate::{IpHeader, be16, protocol};
use std::net::IpAddr;

/// RFC 1071 read word by word.
pub(crate) fn slow_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum = (sum & 0xffff) + 1;
        }
    }
    !(sum as u16)
}

pub(crate) fn slow_pseudo(ip: &IpHeader) -> Vec<u8> {
    let mut bytes = vec![];
    for address in [ip.source, ip.destination] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend(((ip.length - ip.transport) as u32).to_be_bytes());
    bytes.extend([0, 0, 0, ip.protocol]);
    bytes
}

pub(crate) fn header_checksum_is_valid(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6 || slow_checksum(&packet[..usize::from(packet[0] & 15) * 4]) == 0
}

pub(crate) fn transport_checksum_is_valid(packet: &[u8]) -> bool {
    let ip = IpHeader::parse(packet).unwrap();
    slow_checksum(&[slow_pseudo(&ip), packet[ip.transport..ip.length].to_vec()].concat()) == 0
}

fn seal(mut packet: Vec<u8>) -> Vec<u8> {
    let Ok(ip) = IpHeader::parse(&packet) else { return packet };
    let field = match ip.protocol {
        protocol::TCP => 16,
        protocol::UDP => 6,
        _ => return packet,
    };
    let at = ip.transport + field;
    if packet.len() < at + 2 {
        return packet;
    }
    packet[at..at + 2].fill(0);
    let mut sum = slow_checksum(&[slow_pseudo(&ip), packet[ip.transport..].to_vec()].concat());
    if sum == 0 && ip.protocol == protocol::UDP {
        sum = 0xffff;
    }
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// 10.9.0.2 -> 10.8.0.1, DF.
pub(crate) fn v4(protocol: u8, transport: &[u8]) -> Vec<u8> {
    v4_with_options(protocol, &[], transport)
}

pub(crate) fn v4_with_options(protocol: u8, options: &[u8], transport: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 9, 0, 2, 10, 8, 0, 1];
    packet.extend(options);
    packet.extend(transport);
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let sum = slow_checksum(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    seal(packet)
}

/// 2001:db8::2 -> 2001:db8:1::1.
pub(crate) fn v6(protocol: u8, transport: &[u8]) -> Vec<u8> {
    v6_chain(protocol, &[], transport)
}

/// `first`: protocol of the first extension header; `extensions` must end in a next header of their own.
pub(crate) fn v6_chain(first: u8, extensions: &[u8], transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, first, 64];
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(extensions);
    packet.extend(transport);
    let length = (packet.len() - 40) as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    seal(packet)
}

#[derive(Debug, Clone)]
pub(crate) struct Tcp {
    pub(crate) ports: (u16, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// A multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { ports: (40000, 443), sequence: 1, acknowledgment: 2, flags: 0x10, window: 500, options: vec![], payload: vec![] }
    }
}

impl Tcp {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let mut bytes = vec![];
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgment.to_be_bytes());
        bytes.extend([((20 + options.len()) / 4 * 16) as u8, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        bytes
    }
}

pub(crate) fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(payload);
    bytes
}

/// What the kernel leaves in the checksum field of a packet whose checksum hardware (or we) must complete.
pub(crate) fn leave_partial(packet: &mut [u8]) -> (u16, u16) {
    let ip = IpHeader::parse(packet).unwrap();
    let field = if ip.protocol == protocol::TCP { 16 } else { 6 };
    let partial = !slow_checksum(&slow_pseudo(&ip));
    packet[ip.transport + field..ip.transport + field + 2].copy_from_slice(&partial.to_be_bytes());
    (ip.transport as u16, field as u16)
}

pub(crate) fn v4_id(packet: &[u8]) -> u16 {
    be16(packet, 4)
}
