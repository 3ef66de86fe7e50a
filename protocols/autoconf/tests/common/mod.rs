//! A client of its own kind: builds questions and takes answers apart, sharing no code with what it tests.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
use autoconf::{Route, Settings};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub const BROADCAST: Ipv4Addr = Ipv4Addr::BROADCAST;

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn route(text: &str) -> Route {
    let (address, len) = text.split_once('/').unwrap();
    Route::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}

pub fn settings() -> Settings {
    Settings {
        client_ipv4: Some(CLIENT),
        client_ipv6: Some(v6("2001:db8:9:7::12")),
        server_ipv4: SERVER,
        link_local: v6("fe80::1"),
        dns: ["10.0.0.53", "2001:db8::53", "10.0.1.53"].map(|server| server.parse::<IpAddr>().unwrap()).to_vec(),
        nbns: vec![Ipv4Addr::new(10, 0, 0, 44)],
        suffix: Some("corp.example.test".into()),
        routes: ["10.0.0.0/8", "2001:db8::/32", "192.168.10.0/23", "2001:db8:5::5/128"].map(route).to_vec(),
        mtu: 1400,
        advertise_prefix: true,
        default_route: false,
    }
}

pub fn nothing() -> Settings {
    Settings { dns: vec![], nbns: vec![], suffix: None, routes: vec![], ..settings() }
}

pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// RFC 1071, word by word.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn pseudo(source: &[u8], destination: &[u8], protocol: u8, segment: &[u8]) -> Vec<u8> {
    [source, destination, &(segment.len() as u32).to_be_bytes(), &[0, 0, 0, protocol], segment].concat()
}

fn udp_segment(source: &[u8], destination: &[u8], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut segment = [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat();
    let sum = match checksum(&pseudo(source, destination, 17, &segment)) {
        0 => 0xffff,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    segment
}

pub fn udp4(source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let segment = udp_segment(&source.octets(), &destination.octets(), ports, payload);
    let length = 20 + segment.len() as u16;
    let mut packet =
        [&[0x45, 0][..], &length.to_be_bytes(), &[0x1a, 0x2b, 0, 0, 128, 17, 0, 0], &source.octets(), &destination.octets()].concat();
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [packet, segment].concat()
}

pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, hop_limit: u8, segment: &[u8]) -> Vec<u8> {
    let length = segment.len() as u16;
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, hop_limit], &source.octets(), &destination.octets(), segment].concat()
}

pub fn udp6(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    ipv6(source, destination, 17, 1, &udp_segment(&source.octets(), &destination.octets(), ports, payload))
}

pub fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if message.len() >= 4 {
        message[2..4].fill(0);
        let sum = checksum(&pseudo(&source.octets(), &destination.octets(), 58, &message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    ipv6(source, destination, 58, hop_limit, &message)
}

/// A packet taken apart, all lengths and checksums found right.
#[derive(Debug)]
pub struct Taken {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub hop_limit: u8,
    /// UDP only.
    pub ports: (u16, u16),
    /// Of UDP its payload, of ICMPv6 the whole message.
    pub payload: Vec<u8>,
}

pub fn take(packet: &[u8]) -> Taken {
    let (source, destination, protocol, hop_limit, segment) = match packet[0] >> 4 {
        4 => {
            assert_eq!((packet[0], usize::from(be16(packet, 2))), (0x45, packet.len()));
            assert_eq!(checksum(&packet[..20]), 0, "IPv4 header checksum");
            assert_eq!(packet[6..8], [0x40, 0], "whole, not to be fragmented");
            (&packet[12..16], &packet[16..20], packet[9], packet[8], &packet[20..])
        }
        6 => {
            assert_eq!(usize::from(be16(packet, 4)) + 40, packet.len());
            (&packet[8..24], &packet[24..40], packet[6], packet[7], &packet[40..])
        }
        version => panic!("version {version}"),
    };
    assert_eq!(checksum(&pseudo(source, destination, protocol, segment)), 0, "transport checksum");
    let address = |bytes: &[u8]| match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
    };
    let (ports, payload) = match protocol {
        17 => {
            assert_eq!(usize::from(be16(segment, 4)), segment.len());
            assert_ne!(be16(segment, 6), 0, "a checksum is sent");
            ((be16(segment, 0), be16(segment, 2)), segment[8..].to_vec())
        }
        58 => ((0, 0), segment.to_vec()),
        other => panic!("protocol {other}"),
    };
    Taken { source: address(source), destination: address(destination), protocol, hop_limit, ports, payload }
}

/// A DHCPINFORM with these options behind the message type; the end option is added.
pub fn inform(options: &[u8]) -> Vec<u8> {
    [&bootp(CLIENT)[..], &[53, 1, 8], options, &[255]].concat()
}

/// Fixed fields and cookie as Windows fills them: hardware type 8, no broadcast flag.
pub fn bootp(ciaddr: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..8].copy_from_slice(&[1, 8, 6, 0, 0x3d, 0x1d, 0x5a, 0x77]);
    message[12..16].copy_from_slice(&ciaddr.octets());
    message[28..34].copy_from_slice(&[0x00, 0x53, 0x45, 0x00, 0x00, 0x00]);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message
}

/// The packet of an INFORM whose parameter request list is this.
pub fn ask(list: &[u8]) -> Vec<u8> {
    broadcast(&inform(&[&[55, list.len() as u8][..], list].concat()))
}

pub fn broadcast(message: &[u8]) -> Vec<u8> {
    udp4(CLIENT, BROADCAST, (68, 67), message)
}

/// Options one by one as they stand in an answer, up to the end option, which must be there.
pub fn options4(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &message[240..];
    let mut found = vec![];
    loop {
        match *rest {
            [255, ref padding @ ..] => {
                assert!(padding.iter().all(|byte| *byte == 0));
                return found;
            }
            [code, len, ref tail @ ..] => {
                found.push((code, tail[..len.into()].to_vec()));
                rest = &tail[len.into()..];
            }
            _ => panic!("no end option"),
        }
    }
}

pub fn codes4(message: &[u8]) -> Vec<u8> {
    options4(message).into_iter().map(|(code, _)| code).collect()
}

/// All pieces of an option, joined.
pub fn option4(message: &[u8], wanted: u8) -> Vec<u8> {
    options4(message).into_iter().filter(|(code, _)| *code == wanted).flat_map(|(_, value)| value).collect()
}

/// RFC 3442: destination with its prefix length, next hop.
pub fn routes4(mut value: &[u8]) -> Vec<(String, Ipv4Addr)> {
    let mut routes = vec![];
    while let [len, rest @ ..] = value {
        let covered = usize::from(*len).div_ceil(8);
        let mut address = [0; 4];
        address[..covered].copy_from_slice(&rest[..covered]);
        let hop: [u8; 4] = rest[covered..covered + 4].try_into().unwrap();
        routes.push((format!("{}/{len}", Ipv4Addr::from(address)), hop.into()));
        value = &rest[covered + 4..];
    }
    routes
}

/// Neighbor Discovery options of a Router Advertisement: type, and everything behind the length.
pub fn options_nd(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &message[16..];
    let mut found = vec![];
    while !rest.is_empty() {
        let len = usize::from(rest[1]) * 8;
        assert_ne!(len, 0);
        found.push((rest[0], rest[2..len].to_vec()));
        rest = &rest[len..];
    }
    found
}

pub fn options6(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &message[4..];
    let mut found = vec![];
    while !rest.is_empty() {
        let len = usize::from(be16(rest, 2));
        found.push((be16(rest, 0), rest[4..4 + len].to_vec()));
        rest = &rest[4 + len..];
    }
    found
}

/// A DHCPINFORM of Windows: client identifier, host name, vendor class, the user class without inner lengths (MS-DHCPE 2.2.6.1).
pub fn windows() -> Vec<u8> {
    let options = [
        b"\x3d\x07\x08\x00\x53\x45\x00\x00\x00".as_slice(),
        b"\x0c\x06LAPTOP",
        b"\x3c\x08MSFT 5.0",
        b"\x4d\x0eRRAS.Microsoft",
        b"\x37\x06\x06\x0f\x2c\x2b\xf9\x79",
    ];
    broadcast(&inform(&options.concat()))
}
