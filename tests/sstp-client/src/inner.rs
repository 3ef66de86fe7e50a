//! Packets inside the tunnel that the client makes itself: echoes, router solicitation, DHCPINFORM, and what comes back.

use packet::checksum::Sum;
use packet::udp::UdpView;
use packet::{IpHeader, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HOP_LIMIT: u8 = 64;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const DHCP_COOKIE: [u8; 4] = [99, 130, 83, 99];
const DHCP_OPTIONS_AT: usize = 240;

/// A packet without IP options; `transport` has its checksum field filled in where there is one.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, hop_limit: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4_header(source, destination, protocol, hop_limit, transport.len()),
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((transport.len() as u16).to_be_bytes());
            header.extend([protocol, hop_limit]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => panic!("source {source} and destination {destination} are of two families"),
    };
    packet.extend(transport);
    packet
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, hop_limit: u8, length: usize) -> Vec<u8> {
    let [high, low] = (20 + length as u16).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 1, 0, 0, hop_limit, protocol, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    let checksum = Sum::ZERO.bytes(&header).finish();
    header[10..12].copy_from_slice(&checksum);
    header
}

fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Sum {
    let sum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Sum::ZERO.bytes(&source.octets()).bytes(&destination.octets()),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Sum::ZERO.bytes(&source.octets()).bytes(&destination.octets()),
        _ => Sum::ZERO,
    };
    sum.word(u16::from(protocol)).word(length as u16)
}

/// A UDP datagram.
pub fn udp(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len();
    let mut transport = [source.1.to_be_bytes(), destination.1.to_be_bytes(), (length as u16).to_be_bytes(), [0, 0]].concat();
    transport.extend(payload);
    let checksum = pseudo(source.0, destination.0, protocol::UDP, length).bytes(&transport).finish_udp();
    transport[6..8].copy_from_slice(&checksum);
    ip(source.0, destination.0, protocol::UDP, HOP_LIMIT, &transport)
}

fn icmp(source: IpAddr, destination: IpAddr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    let (number, start) = match source {
        IpAddr::V4(_) => (protocol::ICMP, Sum::ZERO),
        IpAddr::V6(_) => (protocol::ICMPV6, pseudo(source, destination, protocol::ICMPV6, message.len())),
    };
    let checksum = start.bytes(&message).finish();
    message[2..4].copy_from_slice(&checksum);
    ip(source, destination, number, hop_limit, &message)
}

/// An echo request with `size` bytes of data.
pub fn echo_request(source: IpAddr, destination: IpAddr, id: u16, sequence: u16, size: usize) -> Vec<u8> {
    let mut message = vec![if source.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
    message.extend([id.to_be_bytes(), sequence.to_be_bytes()].concat());
    message.extend((0..size).map(|index| index as u8));
    icmp(source, destination, HOP_LIMIT, message)
}

/// Identifier and sequence number, when the packet is an echo reply.
pub fn echo_reply(packet: &[u8]) -> Option<(u16, u16)> {
    let ip = IpHeader::parse(packet).ok()?;
    let message = packet.get(ip.transport..ip.length)?;
    let reply = match ip.protocol {
        protocol::ICMP => 0,
        protocol::ICMPV6 => 129,
        _ => return None,
    };
    let [kind, _, _, _, a, b, c, d, ..] = *message else { return None };
    (kind == reply).then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// `fe80::` and the interface identifier.
pub fn link_local(interface: [u8; 8]) -> Ipv6Addr {
    with_interface(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), interface)
}

fn with_interface(prefix: Ipv6Addr, interface: [u8; 8]) -> Ipv6Addr {
    let mut octets = prefix.octets();
    octets[8..].copy_from_slice(&interface);
    octets.into()
}

/// A router solicitation; a point-to-point link has no link-layer address to tell.
pub fn router_solicitation(interface: [u8; 8]) -> Vec<u8> {
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    icmp(link_local(interface).into(), all_routers.into(), 255, vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0])
}

/// What a router advertisement said.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Advertisement {
    /// Who sent it.
    pub router: String,
    /// Seconds that it is a default router; 0: it is none.
    pub lifetime: u16,
    /// Addresses are to be had from DHCPv6.
    pub managed: bool,
    /// Other settings are to be had from DHCPv6.
    pub other: bool,
    /// Prefix, length, on-link flag, autonomous flag.
    pub prefixes: Vec<(Ipv6Addr, u8, bool, bool)>,
    /// Name servers (RFC 8106).
    pub dns: Vec<Ipv6Addr>,
    /// MTU of the link.
    pub mtu: Option<u32>,
    /// Routes (RFC 4191): prefix, length.
    pub routes: Vec<(Ipv6Addr, u8)>,
}

impl Advertisement {
    /// The address that a host makes of the first autonomous prefix of 64 bits.
    pub fn address(&self, interface: [u8; 8]) -> Option<Ipv6Addr> {
        let (prefix, ..) = self.prefixes.iter().find(|(_, length, _, autonomous)| *length == 64 && *autonomous)?;
        Some(with_interface(*prefix, interface))
    }
}

/// `None`: no router advertisement. `Err`: one that a host must ignore (RFC 4861 section 6.1.2).
pub fn router_advertisement(packet: &[u8]) -> Option<Result<Advertisement, String>> {
    let ip = IpHeader::parse(packet).ok().filter(|ip| ip.protocol == protocol::ICMPV6)?;
    let message = packet.get(ip.transport..ip.length)?;
    if message.first() != Some(&ROUTER_ADVERTISEMENT) {
        return None;
    }
    Some(read_advertisement(packet, &ip, message))
}

fn read_advertisement(packet: &[u8], ip: &IpHeader, message: &[u8]) -> Result<Advertisement, String> {
    let IpAddr::V6(router) = ip.source else { return Err("not IPv6".into()) };
    if router.segments()[0] & 0xffc0 != 0xfe80 {
        return Err(format!("the source {router} is not link-local"));
    }
    if packet[7] != 255 || message.len() < 16 || message[1] != 0 {
        return Err("hop limit, length or code is wrong".into());
    }
    if !ip.pseudo_sum(protocol::ICMPV6, message.len()).bytes(message).is_valid() {
        return Err("the checksum is wrong".into());
    }
    let mut found = Advertisement {
        router: router.to_string(),
        lifetime: u16::from_be_bytes([message[6], message[7]]),
        managed: message[5] & 0x80 != 0,
        other: message[5] & 0x40 != 0,
        ..Advertisement::default()
    };
    let mut rest = &message[16..];
    while let [kind, units, ..] = *rest {
        let length = usize::from(units) * 8;
        let option = rest.get(..length).filter(|option| !option.is_empty()).ok_or("an option's length does not fit")?;
        found.option(kind, option);
        rest = &rest[length..];
    }
    Ok(found)
}

impl Advertisement {
    fn option(&mut self, kind: u8, option: &[u8]) {
        let address = |at: usize| option.get(at..at + 16).and_then(|octets| <[u8; 16]>::try_from(octets).ok()).map(Ipv6Addr::from);
        match kind {
            3 => self.prefixes.extend(address(16).map(|prefix| (prefix, option[2], option[3] & 0x80 != 0, option[3] & 0x40 != 0))),
            5 => self.mtu = option.get(4..8).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            24 => {
                let mut octets = [0; 16];
                octets[..option.len() - 8].copy_from_slice(&option[8..option.len().min(24)]);
                self.routes.push((octets.into(), option[2]));
            }
            25 => self.dns.extend((8..option.len()).step_by(16).filter_map(address)),
            _ => {}
        }
    }
}

/// DHCPINFORM as Windows sends it after IPCP: vendor class `MSFT 5.0`, user class `RRAS.Microsoft` without RFC 3004's length octets.
pub fn dhcp_inform(client: Ipv4Addr, transaction: [u8; 4], computer: &str) -> Vec<u8> {
    let mut message = vec![1, 8, 6, 0];
    message.extend(transaction);
    message.extend([0; 4]);
    message.extend(client.octets());
    message.resize(236, 0);
    message.extend(DHCP_COOKIE);
    let parameters = [1, 15, 3, 6, 44, 46, 47, 31, 33, 121, 249, 43];
    let client_id = [&[8, 0x53, 0, 0][..], &client.octets()].concat();
    let options: [(u8, &[u8]); 6] =
        [(53, &[8]), (61, &client_id), (12, computer.as_bytes()), (60, b"MSFT 5.0"), (77, b"RRAS.Microsoft"), (55, &parameters)];
    for (kind, value) in options {
        message.extend([kind, value.len() as u8]);
        message.extend(value);
    }
    message.push(255);
    message.resize(message.len().max(300), 0);
    udp((client.into(), 68), (Ipv4Addr::BROADCAST.into(), 67), &message)
}

/// What a DHCPACK to DHCPINFORM said.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DhcpAnswer {
    /// Source address of the answer.
    pub server: String,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Option 44.
    pub nbns: Vec<Ipv4Addr>,
    /// Option 121 and option 249: destination and router.
    pub routes: Vec<(String, Ipv4Addr)>,
    /// Which of 121 and 249 were there.
    pub route_options: Vec<u8>,
    /// All option numbers in their order.
    pub options: Vec<u8>,
}

/// `None`: no answer to this transaction. `Err`: one that breaks RFC 2131 section 4.3.5.
pub fn dhcp_answer(packet: &[u8], client: Ipv4Addr, transaction: [u8; 4]) -> Option<Result<DhcpAnswer, String>> {
    let ip = IpHeader::parse(packet).ok().filter(|ip| ip.protocol == protocol::UDP)?;
    let datagram = UdpView::new(packet.get(ip.transport..ip.length)?)?;
    let message = datagram.payload();
    if datagram.destination_port() != 68 || message.get(4..8) != Some(&transaction) {
        return None;
    }
    Some(read_dhcp(packet, &ip, &datagram, client))
}

fn read_dhcp(packet: &[u8], ip: &IpHeader, datagram: &UdpView<'_>, client: Ipv4Addr) -> Result<DhcpAnswer, String> {
    let message = datagram.payload();
    if datagram.source_port() != 67 || ip.destination != IpAddr::V4(client) || !ip.transport_checksum_holds(packet) {
        return Err(format!("from port {} to {}, or with a wrong checksum", datagram.source_port(), ip.destination));
    }
    if message.len() < DHCP_OPTIONS_AT || message[0] != 2 || message[236..240] != DHCP_COOKIE {
        return Err("not a BOOTREPLY with DHCP options".into());
    }
    if message[12..16] != client.octets() || message[16..20] != [0; 4] {
        return Err("ciaddr must be the client's address and yiaddr zero".into());
    }
    let mut answer = DhcpAnswer { server: ip.source.to_string(), ..DhcpAnswer::default() };
    let mut kind_of_message = None;
    let mut rest = &message[DHCP_OPTIONS_AT..];
    while let [kind, tail @ ..] = rest {
        match kind {
            0 => rest = tail,
            255 => break,
            _ => {
                let (length, tail) = tail.split_first().ok_or("an option is cut off")?;
                let (value, tail) = tail.split_at_checked(usize::from(*length)).ok_or("an option is cut off")?;
                answer.options.push(*kind);
                if *kind == 53 {
                    kind_of_message = value.first().copied();
                }
                answer.option(*kind, value)?;
                rest = tail;
            }
        }
    }
    if kind_of_message != Some(5) || answer.options.contains(&51) {
        return Err(format!("message type {kind_of_message:?}, options {:?}: a DHCPACK without lease time is due", answer.options));
    }
    Ok(answer)
}

impl DhcpAnswer {
    fn option(&mut self, kind: u8, value: &[u8]) -> Result<(), String> {
        let addresses = || value.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets)).collect::<Vec<_>>();
        match kind {
            6 => self.dns = addresses(),
            15 => self.domain = Some(String::from_utf8_lossy(value).into_owned()),
            44 => self.nbns = addresses(),
            54 => self.server_id = addresses().first().copied(),
            121 | 249 => {
                let routes = classless_routes(value).ok_or_else(|| format!("option {kind} does not fit: {value:02x?}"))?;
                if self.route_options.is_empty() {
                    self.routes = routes;
                } else if self.routes != routes {
                    return Err("options 121 and 249 differ".into());
                }
                self.route_options.push(kind);
            }
            _ => {}
        }
        Ok(())
    }
}

/// RFC 3442.
fn classless_routes(mut value: &[u8]) -> Option<Vec<(String, Ipv4Addr)>> {
    let mut routes = Vec::new();
    while let Some((length, rest)) = value.split_first() {
        let significant = usize::from(length.div_ceil(8));
        if *length > 32 {
            return None;
        }
        let (network, rest) = rest.split_at_checked(significant)?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets[..significant].copy_from_slice(network);
        routes.push((format!("{}/{length}", Ipv4Addr::from(octets)), Ipv4Addr::from(*router)));
        value = rest;
    }
    Some(routes)
}

/// Information-request (RFC 8415 section 18.2.6) for name servers and the search list.
pub fn dhcpv6_information_request(interface: [u8; 8], transaction: [u8; 3]) -> Vec<u8> {
    let mut message = vec![11];
    message.extend(transaction);
    // Client identifier: DUID-EN of Microsoft with the interface identifier; elapsed time 0; options 23 and 24, please.
    message.extend([0, 1, 0, 14, 0, 2, 0, 0, 1, 0x37]);
    message.extend(interface);
    message.extend([0, 8, 0, 2, 0, 0, 0, 6, 0, 4, 0, 23, 0, 24]);
    let all_servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    udp((link_local(interface).into(), 546), (all_servers.into(), 547), &message)
}

/// Name servers of the Reply to our Information-request.
pub fn dhcpv6_reply(packet: &[u8], transaction: [u8; 3]) -> Option<Result<Vec<Ipv6Addr>, String>> {
    let ip = IpHeader::parse(packet).ok().filter(|ip| ip.protocol == protocol::UDP)?;
    let datagram = UdpView::new(packet.get(ip.transport..ip.length)?)?;
    let message = datagram.payload();
    if datagram.destination_port() != 546 || message.get(1..4) != Some(&transaction) {
        return None;
    }
    if message[0] != 7 || !ip.transport_checksum_holds(packet) {
        return Some(Err(format!("DHCPv6 message {} or a wrong checksum", message[0])));
    }
    let mut servers = Vec::new();
    let mut rest = &message[4..];
    while let [a, b, c, d, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((value, tail)) = tail.split_at_checked(length) else { return Some(Err("an option is cut off".into())) };
        if u16::from_be_bytes([*a, *b]) == 23 {
            servers.extend(value.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets)));
        }
        rest = tail;
    }
    Some(Ok(servers))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 10);

    #[test]
    fn echoes_have_valid_checksums() {
        let request = echo_request(CLIENT.into(), Ipv4Addr::new(10, 99, 10, 10).into(), 7, 9, 33);
        assert!(Sum::ZERO.bytes(&request[..20]).is_valid() && Sum::ZERO.bytes(&request[20..]).is_valid());
        let mut reply = request.clone();
        reply[20] = 0;
        assert_eq!((echo_reply(&request), echo_reply(&reply)), (None, Some((7, 9))));
        let six = echo_request(link_local([1; 8]).into(), "fd99::1".parse().unwrap(), 1, 2, 5);
        let ip = IpHeader::parse(&six).unwrap();
        assert!(ip.pseudo_sum(58, six.len() - 40).bytes(&six[40..]).is_valid());
    }

    #[test]
    fn the_inform_is_what_windows_sends() {
        let packet = dhcp_inform(CLIENT, [1, 2, 3, 4], "PC");
        let ip = IpHeader::parse(&packet).unwrap();
        assert!(ip.transport_checksum_holds(&packet));
        assert_eq!(ip.destination, IpAddr::V4(Ipv4Addr::BROADCAST));
        let message = &packet[28..];
        assert_eq!((message.len(), &message[12..16]), (300, &CLIENT.octets()[..]));
        let text = String::from_utf8_lossy(message);
        assert!(text.contains("\x3c\x08MSFT 5.0") && text.contains("\x4d\x0eRRAS.Microsoft"));
        assert_eq!(message[236..243], [99, 130, 83, 99, 53, 1, 8]);
    }

    fn ack(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[0] = 2;
        message[4..8].copy_from_slice(&[1, 2, 3, 4]);
        message[12..16].copy_from_slice(&CLIENT.octets());
        message[236..].copy_from_slice(&DHCP_COOKIE);
        message.extend(options);
        udp((Ipv4Addr::new(10, 98, 0, 1).into(), 67), (CLIENT.into(), 68), &message)
    }

    #[test]
    fn an_answer_is_read_and_checked() {
        let routes = [121, 8, 24, 10, 99, 10, 10, 98, 0, 1, 249, 8, 24, 10, 99, 10, 10, 98, 0, 1];
        let options = [&[53, 1, 5, 6, 4, 10, 99, 10, 53][..], &routes, &[255]].concat();
        let answer = dhcp_answer(&ack(&options), CLIENT, [1, 2, 3, 4]).unwrap().unwrap();
        assert_eq!(answer.dns, [Ipv4Addr::new(10, 99, 10, 53)]);
        assert_eq!(answer.routes, [("10.99.10.0/24".to_owned(), Ipv4Addr::new(10, 98, 0, 1))]);
        assert_eq!((answer.route_options, answer.options), (vec![121, 249], vec![53, 6, 121, 249]));
        assert!(dhcp_answer(&ack(&options), CLIENT, [9; 4]).is_none());
        for wrong in [&[53, 1, 2, 255][..], &[53, 1, 5, 51, 4, 0, 0, 0, 9, 255], &[53, 1, 5, 121, 2, 24, 10, 255], &[53, 9]] {
            assert!(dhcp_answer(&ack(wrong), CLIENT, [1, 2, 3, 4]).unwrap().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_advertisement_yields_an_address() {
        let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0x40, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([3, 4, 64, 0x40, 0, 0, 0xe, 0x10, 0, 0, 0xe, 0x10, 0, 0, 0, 0]);
        message.extend("fd98::".parse::<Ipv6Addr>().unwrap().octets());
        message.extend([5, 1, 0, 0, 0, 0, 0x05, 0x78]);
        let send = |source: &str| icmp(source.parse().unwrap(), "ff02::1".parse().unwrap(), 255, message.clone());
        let found = router_advertisement(&send("fe80::1")).unwrap().unwrap();
        assert_eq!((found.lifetime, found.other, found.managed, found.mtu), (1800, true, false, Some(1400)));
        assert_eq!(found.address([0, 0, 0, 0, 0, 0, 0, 0x10]), Some("fd98::10".parse().unwrap()));
        assert!(router_advertisement(&send("fd98::1")).unwrap().is_err(), "a router is known by its link-local address");
        assert!(router_advertisement(&router_solicitation([1; 8])).is_none());
    }
}
