//! Router Solicitations and Information-Requests.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside their functions")]
mod common;
use autoconf::{Answer, Malformed, Question, Settings, answer, may_be_question, router_advertisement};
use common::*;
use std::net::{IpAddr, Ipv6Addr};

const PEER: &str = "fe80::12";
const UNSPECIFIED: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

fn solicitation(source: Ipv6Addr) -> Vec<u8> {
    icmp6(source, v6("ff02::2"), 255, &[133, 0, 0, 0, 0, 0, 0, 0])
}

fn advertised(packet: &[u8], settings: &Settings) -> Taken {
    let Answer { packet, what, left_out, .. } = answer(packet, settings).unwrap().expect("an answer");
    assert_eq!((what, left_out), (Question::RouterSolicitation, 0));
    let taken = take(&packet);
    assert_eq!((taken.source, taken.protocol, taken.hop_limit), (settings.link_local.into(), 58, 255));
    assert_eq!(taken.payload[..2], [134, 0]);
    taken
}

#[test]
fn all_options_of_an_advertisement() {
    let taken = advertised(&solicitation(v6(PEER)), &settings());
    assert_eq!(taken.destination, IpAddr::V6(v6(PEER)));
    // Hop limit 64, O, lifetime 0 (split tunnel), timers unspecified.
    assert_eq!(taken.payload[4..16], hex("40 40 0000 00000000 00000000"));
    let expected = [
        (5, hex("0000 00000578")),
        // /64, A without L, valid for ever, preferred for seven days.
        (3, hex("40 40 ffffffff 00093a80 00000000 20010db8000900070000000000000000")),
        (25, hex("0000 00000708 20010db8000000000000000000000053")),
        (31, [hex("0000 00000708 04"), b"corp\x07example\x04test\0".to_vec(), vec![0; 5]].concat()),
        (24, hex("20 00 00000708 20010db800000000")),
        (24, hex("80 00 00000708 20010db8000500000000000000000005")),
    ];
    assert_eq!(options_nd(&taken.payload), expected);
}

#[test]
fn router_lifetime_follows_the_default_route() {
    let lifetime = |settings: &Settings| be16(&advertised(&solicitation(v6(PEER)), settings).payload, 6);
    assert_eq!(lifetime(&settings()), 0);
    assert_eq!(lifetime(&Settings { default_route: true, ..settings() }), 1800);
    let by_route = Settings { routes: vec![route("::/0")], ..settings() };
    assert_eq!(lifetime(&by_route), 1800);
    assert!(options_nd(&advertised(&solicitation(v6(PEER)), &by_route).payload).iter().all(|(kind, _)| *kind != 24));
    assert_eq!(lifetime(&Settings { routes: vec![route("0.0.0.0/0")], ..settings() }), 0);
}

#[test]
fn what_is_not_there_is_not_told() {
    let settings = Settings { advertise_prefix: false, mtu: 1279, ..nothing() };
    let taken = advertised(&solicitation(v6(PEER)), &settings);
    assert_eq!(taken.payload[4..], hex("40 00 0000 00000000 00000000"));
    // IPv4 servers alone are no reason to ask by DHCPv6; a suffix is.
    let settings = Settings { dns: vec![SERVER.into()], ..settings };
    assert_eq!(advertised(&solicitation(v6(PEER)), &settings).payload[5], 0);
    let settings = Settings { suffix: Some("a.test".into()), ..settings };
    assert_eq!(advertised(&solicitation(v6(PEER)), &settings).payload[5], 0x40);
}

#[test]
fn without_a_source_the_answer_goes_to_all_nodes() {
    let taken = advertised(&solicitation(UNSPECIFIED), &settings());
    assert_eq!(taken.destination, IpAddr::V6(v6("ff02::1")));
    let unasked = router_advertisement(&settings()).unwrap();
    assert_eq!(take(&unasked).payload, taken.payload);
    assert_eq!(unasked, answer(&solicitation(UNSPECIFIED), &settings()).unwrap().unwrap().packet);
    assert!(answer(&solicitation(v6("2001:db8:9:7::12")), &settings()).unwrap().is_some(), "its leased address");
    let direct = icmp6(v6(PEER), v6("fe80::1"), 255, &[133, 0, 0, 0, 0, 0, 0, 0]);
    assert!(answer(&direct, &settings()).unwrap().is_some(), "to our address");
}

#[test]
fn solicitations_that_are_not_valid_or_not_for_us() {
    let settings = settings();
    let (peer, all) = (v6(PEER), v6("ff02::2"));
    let plain = [133, 0, 0, 0, 0, 0, 0, 0];
    let with = |options: &[u8]| [&plain[..], options].concat();
    assert_eq!(answer(&icmp6(peer, all, 254, &plain), &settings), Err(Malformed::HopLimit(254)));
    assert_eq!(answer(&icmp6(peer, all, 255, &plain[..7]), &settings), Err(Malformed::Short(7)));
    for options in [&[14, 0, 0, 0, 0, 0, 0, 0][..], &[14, 2, 0, 0, 0, 0, 0, 0], &[14]] {
        assert_eq!(answer(&icmp6(peer, all, 255, &with(options)), &settings), Err(Malformed::NeighborOption));
    }
    let link_layer = with(&[1, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(answer(&icmp6(UNSPECIFIED, all, 255, &link_layer), &settings), Err(Malformed::NeighborOption));
    assert!(answer(&icmp6(peer, all, 255, &link_layer), &settings).unwrap().is_some());
    let mut packet = solicitation(peer);
    packet[47] ^= 1;
    assert_eq!(answer(&packet, &settings), Err(Malformed::Checksum));
    for kind in [128, 134, 135, 136] {
        assert_eq!(answer(&icmp6(peer, all, 255, &[kind, 0, 0, 0, 0, 0, 0, 0]), &settings), Ok(None));
    }
    assert_eq!(answer(&solicitation(v6("2001:db8:9:7::13")), &settings), Ok(None), "an address of somebody else");
    assert_eq!(answer(&solicitation(v6("fe80::1")), &settings), Ok(None), "our own address");
    assert_eq!(answer(&icmp6(peer, v6("fe80::2"), 255, &plain), &settings), Ok(None));
    let without = Settings { client_ipv6: None, ..settings.clone() };
    assert_eq!((answer(&solicitation(peer), &without), router_advertisement(&without)), (Ok(None), None));
    let global = Settings { link_local: v6("2001:db8::1"), ..settings };
    assert_eq!((answer(&solicitation(peer), &global), router_advertisement(&global)), (Ok(None), None));
}

#[test]
fn what_an_advertisement_has_no_room_for_is_counted() {
    let routes = (0..200).map(|n| route(&format!("2001:db8:{n:x}::/48"))).collect();
    let mut settings = Settings { routes, ..settings() };
    for (mtu, length) in [(1400, 1400), (0, 1280), (9000, 1500)] {
        settings.mtu = mtu;
        let Answer { packet, left_out, .. } = answer(&solicitation(v6(PEER)), &settings).unwrap().unwrap();
        assert!((length - 15..=length).contains(&packet.len()), "{mtu}: {}", packet.len());
        let told = options_nd(&take(&packet).payload).iter().filter(|(kind, _)| *kind == 24).count();
        assert_eq!(told + left_out, 200);
    }
    settings.dns = (0..500u16).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n).into()).collect();
    settings.mtu = 1500;
    let answered = answer(&solicitation(v6(PEER)), &settings).unwrap().unwrap();
    assert!(answered.packet.len() <= 1500 && answered.left_out > 500);
}

fn request(options: &[u8]) -> Vec<u8> {
    let message = [&[11, 0xab, 0xcd, 0xef][..], options].concat();
    udp6(v6(PEER), v6("ff02::1:2"), (546, 547), &message)
}

fn replied(packet: &[u8], settings: &Settings) -> Vec<u8> {
    let Answer { packet, what, left_out, .. } = answer(packet, settings).unwrap().expect("an answer");
    assert_eq!((what, left_out), (Question::InformationRequest, 0));
    let taken = take(&packet);
    assert_eq!((taken.source, taken.destination), (settings.link_local.into(), IpAddr::V6(v6(PEER))));
    assert_eq!(taken.ports, (547, 546));
    assert_eq!(taken.payload[..4], [7, 0xab, 0xcd, 0xef]);
    taken.payload
}

const DUID: &str = "0003 0001 0200 0a090001";

#[test]
fn an_information_request_is_answered() {
    // As Windows asks: elapsed time, client identifier, vendor class, options 17, 23, 24, 32.
    let client_id = hex("0001 0001 2b3c4d5e 005345000001");
    let asked = [hex("0008 0002 0000 0001 000e"), client_id.clone(), hex("0010 0006 00000137 0008"), hex("0006 0008 0011 0017 0018 0020")];
    // The vendor class ends two bytes before its content does: its inside is nobody's business here.
    let reply = replied(&request(&asked.concat()), &settings());
    let expected = [
        (2, hex(DUID)),
        (1, client_id),
        (32, hex("00015180")),
        (24, b"\x04corp\x07example\x04test\0".to_vec()),
        (23, v6("2001:db8::53").octets().to_vec()),
    ];
    assert_eq!(options6(&reply), expected);
}

#[test]
fn what_is_asked_for_is_told_and_no_more() {
    let codes = |packet: &[u8], settings: &Settings| -> Vec<u16> {
        options6(&replied(packet, settings)).into_iter().map(|(code, _)| code).collect()
    };
    assert_eq!(codes(&request(&[]), &settings()), [2, 32, 24, 23]);
    assert_eq!(codes(&request(&hex("0006 0002 0017")), &settings()), [2, 23]);
    assert_eq!(codes(&request(&hex("0006 0000")), &settings()), [2]);
    // The reply stays, or the client would ask for ever.
    assert_eq!(codes(&request(&[]), &nothing()), [2, 32]);
    let ours = [hex("0002 000a"), hex(DUID)].concat();
    assert_eq!(codes(&request(&ours), &settings()), [2, 32, 24, 23]);
}

#[test]
fn dhcpv6_that_is_not_for_us() {
    let settings = settings();
    let silent = |packet: &[u8]| assert_eq!(answer(packet, &settings), Ok(None));
    for kind in (0..=36).filter(|kind| *kind != 11) {
        silent(&udp6(v6(PEER), v6("ff02::1:2"), (546, 547), &[kind, 1, 2, 3]));
    }
    for association in [3, 4, 25] {
        silent(&request(&[0, association, 0, 0]));
    }
    silent(&request(&hex("0002 000a 0003 0001 0200 0a090002")));
    silent(&udp6(v6(PEER), v6("fe80::1"), (546, 547), &[11, 1, 2, 3]));
    silent(&udp6(v6(PEER), v6("ff02::1:2"), (546, 546), &[11, 1, 2, 3]));
    silent(&udp6(v6("2001:db8::99"), v6("ff02::1:2"), (546, 547), &[11, 1, 2, 3]));
    let without = Settings { client_ipv6: None, ..settings.clone() };
    assert_eq!(answer(&request(&[]), &without), Ok(None));
}

#[test]
fn dhcpv6_that_cannot_be_read() {
    let error = |packet: &[u8]| answer(packet, &settings()).unwrap_err();
    assert_eq!(error(&udp6(v6(PEER), v6("ff02::1:2"), (546, 547), &[11, 1, 2])), Malformed::Short(3));
    assert_eq!(error(&request(&[0, 23, 0, 1])), Malformed::Dhcpv6Option(23));
    assert_eq!(error(&request(&[0, 6, 0, 1, 0])), Malformed::Dhcpv6Value(6));
    assert_eq!(error(&request(&[0, 1, 0, 2, 0, 1])), Malformed::Dhcpv6Value(1));
    assert_eq!(error(&request(&[&[0, 1, 0, 131][..], &[0; 131]].concat())), Malformed::Dhcpv6Value(1));
    let mut packet = request(&[]);
    packet[46..48].fill(0);
    assert_eq!(error(&packet), Malformed::Checksum, "IPv6 knows no datagram without checksum");
}

#[test]
fn a_long_list_of_servers_is_counted() {
    let dns = (0..200u16).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n).into()).collect();
    let answered = answer(&request(&[]), &Settings { dns, ..settings() }).unwrap().unwrap();
    let told = options6(&take(&answered.packet).payload).last().unwrap().1.len() / 16;
    assert_eq!((told + answered.left_out, answered.packet.len() <= 1400, told > 70), (200, true, true));
}

#[test]
fn questions_are_told_from_other_packets() {
    assert!(may_be_question(&solicitation(v6(PEER))) && may_be_question(&request(&[])));
    assert!(!may_be_question(&router_advertisement(&settings()).unwrap()));
    assert!(!may_be_question(&answer(&request(&[]), &settings()).unwrap().unwrap().packet));
    assert!(!may_be_question(&udp6(v6(PEER), v6("ff02::fb"), (5353, 5353), &[0; 12])));
    assert!(!may_be_question(&[]));
}
