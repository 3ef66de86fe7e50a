//! IP packets of a client with a tunnel, to the gateway itself.
use autoconf::{Answer, Route, Settings, answer, may_be_question};
use packet::checksum::Sum;
use packet::{Fragment, IpHeader, protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12);
/// Longer payloads fit no IP packet.
const MAX: usize = 65_000;

/// The first byte chooses the settings and, by its two lowest bits, what the rest is: a whole packet, the payload of a DHCP or DHCPv6
/// datagram, or an ICMPv6 message, whose envelope is then made right.
pub fn autoconf_packet(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let rest = &rest[..rest.len().min(MAX)];
    let packet = match choice & 3 {
        0 => rest.to_vec(),
        1 => wrap(CLIENT.into(), Ipv4Addr::BROADCAST.into(), protocol::UDP, &datagram(68, 67, rest)),
        2 => wrap(PEER.into(), multicast(1, 2), protocol::UDP, &datagram(546, 547, rest)),
        _ => wrap(PEER.into(), multicast(0, 2), protocol::ICMPV6, rest),
    };
    let settings = settings(choice >> 2);
    let is_question = may_be_question(&packet);
    let Ok(Some(Answer { packet: answered, .. })) = answer(&packet, &settings) else { return };
    assert!(is_question, "answered, though no question");
    assert!(answered.len() <= autoconf::MAX_ANSWER && answered.len() <= usize::from(settings.mtu).max(1280));
    let ip = IpHeader::parse(&answered).expect("an answer is an IP packet");
    assert_eq!((ip.length, ip.fragment), (answered.len(), Fragment::Whole));
    assert!(ip.transport_checksum_holds(&answered));
    assert!(!may_be_question(&answered), "two gateways would talk for ever");
}

fn settings(choice: u8) -> Settings {
    let many = choice & 1 != 0;
    let has = |bit: u8| choice & bit != 0;
    let route =
        |n: u8| [Route::new([10, n, 0, 0].into(), 16), Route::new(Ipv6Addr::new(0x2001, 0xdb8, n.into(), 0, 0, 0, 0, 0).into(), 48)];
    Settings {
        client_ipv4: Some(CLIENT),
        client_ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 9, 7, 0, 0, 0, 0x12)),
        server_ipv4: SERVER,
        link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        dns: if has(2) { vec![SERVER.into(), Ipv6Addr::LOCALHOST.into()] } else { vec![] },
        nbns: if has(2) { vec![SERVER] } else { vec![] },
        suffix: has(4).then(|| "corp.example.test".into()),
        routes: (0..if many { 200 } else { 2 }).flat_map(route).flatten().collect(),
        mtu: if has(8) { 9000 } else { 1400 },
        advertise_prefix: has(16),
        default_route: has(32),
    }
}

fn multicast(high: u16, low: u16) -> IpAddr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, high, low).into()
}

fn datagram(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A packet of this segment, lengths and checksums right.
fn wrap(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let length = segment.len() as u16;
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = (length + 20).to_be_bytes();
            let mut header = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, protocol, 0, 0], &source.octets(), &destination.octets()].concat();
            let checksum = Sum::ZERO.bytes(&header).finish();
            header[10..12].copy_from_slice(&checksum);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, 255], &source.octets(), &destination.octets()].concat()
        }
        _ => unreachable!("called with addresses of one family"),
    };
    let at = packet.len() + if protocol == protocol::UDP { 6 } else { 2 };
    packet.extend(segment);
    if packet.len() >= at + 2 {
        packet[at..at + 2].fill(0);
        let ip = IpHeader::parse(&packet).expect("a packet made here");
        let sum = ip.pseudo_sum(protocol, segment.len()).bytes(&packet[ip.transport..]);
        packet[at..at + 2].copy_from_slice(&sum.finish_udp());
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelopes open the doors behind which most of the parsers are.
    #[test]
    fn each_envelope_leads_to_an_answer() {
        let inform = {
            let mut message = [&[1, 8, 6, 0][..], &[0; 232], &[99, 130, 83, 99, 53, 1, 8, 255]].concat();
            message[12..16].copy_from_slice(&CLIENT.octets());
            wrap(CLIENT.into(), Ipv4Addr::BROADCAST.into(), protocol::UDP, &datagram(68, 67, &message))
        };
        let request = wrap(PEER.into(), multicast(1, 2), protocol::UDP, &datagram(546, 547, &[11, 1, 2, 3]));
        let solicitation = wrap(PEER.into(), multicast(0, 2), protocol::ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0]);
        for packet in [inform, request, solicitation] {
            assert!(matches!(answer(&packet, &settings(0)), Ok(Some(_))));
        }
    }
}
