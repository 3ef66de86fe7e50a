//! IP packets by hand.
use std::net::IpAddr;

/// A UDP datagram in an IP packet of the family of its addresses.
pub(crate) fn udp(source: &str, destination: &str, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat();
    let sum = checksum(&[pseudo(source, destination, 17, datagram.len()), datagram.clone()].concat());
    datagram[6..8].copy_from_slice(&sum);
    ip(source, destination, 17, &datagram)
}

/// `message`: from the type on, its checksum is put in.
pub(crate) fn icmpv6(source: &str, destination: &str, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let sum = checksum(&[pseudo(source, destination, 58, message.len()), message.clone()].concat());
    message[2..4].copy_from_slice(&sum);
    ip(source, destination, 58, &message)
}

/// ICMP Echo-Request.
pub(crate) fn echo(source: &str, destination: &str, size: usize) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 0, 7, 0, 1];
    message.resize(8 + size, 0x55);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    ip(source, destination, 1, &message)
}

fn ip(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = ((20 + payload.len()) as u16).to_be_bytes();
            let mut head = [&[0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0][..], &source.octets(), &destination.octets()].concat();
            let sum = checksum(&head);
            head[10..12].copy_from_slice(&sum);
            [&head[..], payload].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = (payload.len() as u16).to_be_bytes();
            [&[0x60, 0, 0, 0, high, low, protocol, 255][..], &source.octets(), &destination.octets(), payload].concat()
        }
        _ => panic!("{source} and {destination} are of two families"),
    }
}

fn pseudo(source: &str, destination: &str, protocol: u8, length: usize) -> Vec<u8> {
    let octets = |address: &str| match address.parse().unwrap() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [octets(source), octets(destination), vec![0, protocol], (length as u16).to_be_bytes().to_vec()].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    (!(sum as u16)).to_be_bytes()
}
