//! IP packets inside the tunnel, as Windows sends them, and what comes back.
use packet::checksum::Sum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Option 249 in a DHCP answer: Microsoft's classless static routes.
const ROUTES: u8 = 249;

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = [0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 128, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let sum = Sum::ZERO.bytes(&header).finish();
    header[10..12].copy_from_slice(&sum);
    [&header[..], payload].concat()
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, mut payload: Vec<u8>) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    let pseudo = Sum::ZERO.bytes(&source.octets()).bytes(&destination.octets()).bytes(&[0, 0, len[0], len[1], 0, 0, 0, ICMPV6]);
    let sum = pseudo.bytes(&payload).finish();
    payload[2..4].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0, len[0], len[1], ICMPV6, 255], &source.octets()[..], &destination.octets(), &payload].concat()
}

/// An echo request with `size` bytes of data; `None` for addresses of two families.
pub(crate) fn echo(source: IpAddr, destination: IpAddr, sequence: u16, size: usize) -> Option<Vec<u8>> {
    let [high, low] = sequence.to_be_bytes();
    let mut message = vec![8, 0, 0, 0, 0x5e, 0xed, high, low];
    message.resize(8 + size, 0xa5);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let sum = Sum::ZERO.bytes(&message).finish();
            message[2..4].copy_from_slice(&sum);
            Some(ipv4(source, destination, ICMP, &message))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            message[0] = 128;
            Some(ipv6(source, destination, message))
        }
        _ => None,
    }
}

/// The sequence number of an echo reply.
pub(crate) fn echo_reply(packet: &[u8]) -> Option<u16> {
    let message = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&ICMP) => packet.get(20..)?,
        6 if packet.get(6) == Some(&ICMPV6) => packet.get(40..)?,
        _ => return None,
    };
    let reply = matches!(message, [0 | 129, 0, ..]) && message.len() >= 8;
    reply.then(|| u16::from_be_bytes([message[6], message[7]]))
}

/// DHCPINFORM from the tunnel address to 255.255.255.255, as Windows sends it after the connect.
pub(crate) fn inform(source: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![1, 8, 0, 0, 0x5e, 0xed, 0x12, 0x34, 0, 0, 0, 0];
    body.extend_from_slice(&source.octets());
    body.resize(236, 0);
    body.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, 8, 60, 8]);
    body.extend_from_slice(b"MSFT 5.0");
    body.extend_from_slice(&[55, 6, 6, 15, 44, 43, ROUTES, 121, 255]);
    let [high, low] = ((8 + body.len()) as u16).to_be_bytes();
    // The checksum of UDP over IPv4 may be left out.
    let datagram = [&[0, 68, 0, 67, high, low, 0, 0], &body[..]].concat();
    ipv4(source, Ipv4Addr::BROADCAST, UDP, &datagram)
}

/// The routes of option 249 in a DHCP answer to `lease`.
pub(crate) fn offered_routes(packet: &[u8], lease: Ipv4Addr) -> Option<Vec<String>> {
    let ours = packet.first()? >> 4 == 4 && packet.get(9) == Some(&UDP) && packet.get(16..20)? == lease.octets();
    let mut options = packet.get(28 + 240..).filter(|_| ours)?;
    let mut routes = Vec::new();
    while let [kind, len, rest @ ..] = options {
        let value = rest.get(..usize::from(*len))?;
        if *kind == ROUTES {
            routes.extend(prefixes(value)?);
        }
        options = &rest[usize::from(*len)..];
    }
    Some(routes)
}

/// RFC 3442: prefix length, as many bytes as it needs, next hop.
fn prefixes(mut value: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    while let [length, rest @ ..] = value {
        let octets = usize::from(length.div_ceil(8));
        let mut address = [0; 4];
        address.get_mut(..octets)?.copy_from_slice(rest.get(..octets)?);
        found.push(format!("{}/{length}", Ipv4Addr::from(address)));
        value = rest.get(octets + 4..)?;
    }
    Some(found)
}

/// A Router Solicitation.
pub(crate) fn solicitation() -> Vec<u8> {
    let (here, routers) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5eed, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));
    ipv6(here, routers, vec![133, 0, 0, 0, 0, 0, 0, 0])
}

/// Whether this is a Router Advertisement.
pub(crate) fn is_advertisement(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 6) && packet.get(6) == Some(&ICMPV6) && packet.get(40) == Some(&134)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_well_formed() {
        let four = echo([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 7, 40).unwrap();
        let six = echo("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), 7, 40).unwrap();
        for packet in [&four, &six, &inform([10, 0, 0, 1].into()), &solicitation()] {
            packet::IpHeader::parse(packet).unwrap();
            assert_eq!(echo_reply(packet), None);
        }
        for (mut packet, at, reply) in [(four, 20, 0), (six, 40, 129)] {
            packet[at] = reply;
            assert_eq!(echo_reply(&packet), Some(7));
        }
        assert!(echo([10, 0, 0, 1].into(), "fd00::2".parse().unwrap(), 7, 40).is_none());
    }

    #[test]
    fn routes_are_read() {
        assert_eq!(prefixes(&[8, 10, 0, 0, 0, 0, 24, 10, 1, 2, 0, 0, 0, 0]).unwrap(), ["10.0.0.0/8", "10.1.2.0/24"]);
        assert_eq!(prefixes(&[24, 10, 1]), None);
    }
}
