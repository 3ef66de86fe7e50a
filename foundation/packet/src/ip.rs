//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
use crate::checksum::Sum;
use crate::{be16, protocol, put16};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const IPV4_HEADER_LEN: usize = 20;
pub const IPV6_HEADER_LEN: usize = 40;
/// More extension headers than this in one packet are refused: no honest sender comes near.
const MAX_EXTENSION_HEADERS: usize = 8;

/// Why bytes are not an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("neither IPv4 nor IPv6")]
    Version,
    #[error("shorter than its headers say")]
    Truncated,
    #[error("IP header of an impossible length")]
    HeaderLength,
    #[error("chain of IPv6 extension headers without an end")]
    ExtensionHeaders,
    #[error("segmentation that does not fit the packet")]
    Segmentation,
}

/// Where in the original packet these bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    Whole,
    /// The first fragment: it begins with the transport header, the rest follows in others.
    First,
    /// The transport header is in another packet.
    Later,
}

/// A checked IP header: addresses, and where the transport begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The transport protocol: behind all extension headers.
    pub protocol: u8,
    /// Offset of the transport header. `transport <= length`.
    pub transport: usize,
    /// Length of the packet as its header says; bytes behind it are padding.
    pub length: usize,
    pub fragment: Fragment,
    /// True for IPv6.
    pub dont_fragment: bool,
}

impl IpHeader {
    /// Checks the header and all extension headers of a packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => Self::parse_v4(packet),
            Some(6) => Self::parse_v6(packet),
            Some(_) => Err(Malformed::Version),
            None => Err(Malformed::Truncated),
        }
    }

    fn parse_v4(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() < IPV4_HEADER_LEN {
            return Err(Malformed::Truncated);
        }
        let transport = usize::from(packet[0] & 0x0f) * 4;
        let length = usize::from(be16(packet, 2));
        if transport < IPV4_HEADER_LEN || length < transport {
            return Err(Malformed::HeaderLength);
        }
        if length > packet.len() {
            return Err(Malformed::Truncated);
        }
        let flags = be16(packet, 6);
        let (offset, more) = (flags & 0x1fff, flags & 0x2000 != 0);
        Ok(Self {
            source: v4_address(packet, 12),
            destination: v4_address(packet, 16),
            protocol: packet[9],
            transport,
            length,
            fragment: fragment_of(offset, more),
            dont_fragment: flags & 0x4000 != 0,
        })
    }

    fn parse_v6(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() < IPV6_HEADER_LEN {
            return Err(Malformed::Truncated);
        }
        let length = IPV6_HEADER_LEN + usize::from(be16(packet, 4));
        if length > packet.len() {
            return Err(Malformed::Truncated);
        }
        let (protocol, transport, fragment) = walk_extensions(&packet[..length])?;
        Ok(Self {
            source: v6_address(packet, 8),
            destination: v6_address(packet, 24),
            protocol,
            transport,
            length,
            fragment,
            dont_fragment: true,
        })
    }

    pub fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// True when nothing stands between the fixed header and the transport.
    pub fn is_plain(&self) -> bool {
        self.transport == self.fixed_len()
    }

    fn fixed_len(&self) -> usize {
        if self.is_v4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
    }

    /// Source and destination port. For ICMP type and code stand for both (RFC 4301 section 4.4.1.1). `None` where the transport has no
    /// ports or they are in another fragment.
    pub fn ports(&self, packet: &[u8]) -> Option<(u16, u16)> {
        if self.fragment == Fragment::Later {
            return None;
        }
        let transport = packet.get(self.transport..self.length)?;
        match self.protocol {
            protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE if transport.len() >= 4 => {
                Some((be16(transport, 0), be16(transport, 2)))
            }
            protocol::ICMP | protocol::ICMPV6 if transport.len() >= 2 => {
                let type_and_code = be16(transport, 0);
                Some((type_and_code, type_and_code))
            }
            _ => None,
        }
    }

    /// The ones' complement sum of the pseudo header for a transport of `transport_len` bytes (RFC 9293 section 3.1, RFC 8200 section 8.1).
    pub fn pseudo_sum(&self, protocol: u8, transport_len: usize) -> Sum {
        let addresses = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Sum::ZERO.bytes(&source.octets()).bytes(&destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Sum::ZERO.bytes(&source.octets()).bytes(&destination.octets()),
            // `parse` takes both addresses from one header.
            _ => unreachable!("one header holds addresses of one family"),
        };
        let length = transport_len as u32;
        addresses.word(u16::from(protocol)).word((length >> 16) as u16).word(length as u16)
    }

    /// True when the TCP or UDP checksum of a whole packet holds. A UDP checksum of zero is "none", which is not "holds".
    pub fn transport_checksum_holds(&self, packet: &[u8]) -> bool {
        let Some(transport) = packet.get(self.transport..self.length) else { return false };
        if self.protocol == protocol::UDP && (transport.len() < 8 || transport[6..8] == [0, 0]) {
            return false;
        }
        self.pseudo_sum(self.protocol, transport.len()).bytes(transport).is_valid()
    }
}

/// Writes the length into the IP header of a packet that `header` describes, and renews the IPv4 header checksum.
pub(crate) fn set_length(packet: &mut [u8], is_v4: bool, ip_header_len: usize, length: usize) {
    if is_v4 {
        put16(packet, 2, length as u16);
        renew_v4_checksum(&mut packet[..ip_header_len]);
    } else {
        put16(packet, 4, (length - IPV6_HEADER_LEN) as u16);
    }
}

/// `header` is the IPv4 header with its options.
pub(crate) fn renew_v4_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = Sum::ZERO.bytes(header).finish();
    header[10..12].copy_from_slice(&checksum);
}

fn fragment_of(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// Follows the chain to the transport protocol, its offset, and the fragment state.
fn walk_extensions(packet: &[u8]) -> Result<(u8, usize, Fragment), Malformed> {
    let mut next = packet[6];
    let mut at = IPV6_HEADER_LEN;
    let mut fragment = Fragment::Whole;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !protocol::is_extension_header(next) || fragment == Fragment::Later {
            return Ok((next, at, fragment));
        }
        let header = packet.get(at..).filter(|rest| rest.len() >= 8).ok_or(Malformed::Truncated)?;
        let len = match next {
            protocol::FRAGMENT => {
                let word = be16(header, 2);
                fragment = fragment_of(word >> 3, word & 1 != 0);
                8
            }
            protocol::AH => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if len > header.len() {
            return Err(Malformed::Truncated);
        }
        next = header[0];
        at += len;
    }
    Err(Malformed::ExtensionHeaders)
}

fn v4_address(packet: &[u8], at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]))
}

fn v6_address(packet: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[at..at + 16]);
    IpAddr::V6(Ipv6Addr::from(octets))
}

#[cfg(test)]
#[path = "ip_tests.rs"]
mod tests;
