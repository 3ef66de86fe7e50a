//! Packet filters: their languages, and what passes them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
use policy::filter::microsoft::{self, Family};
use policy::filter::{Action, Direction, Filter, MAX_RULES, Packet, Rule, named};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn packet(source: &str, destination: &str, protocol: u8) -> Packet {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet { source, destination, protocol: Some(protocol), ports: None, tcp_flags: None, icmp: None, later_fragment: false }
}

fn to_port(protocol: u8, port: u16) -> Packet {
    let ports = Some((50_000, port));
    Packet { ports, tcp_flags: (protocol == TCP).then_some(0x10), ..packet("10.9.0.2", "10.1.2.3", protocol) }
}

fn later(protocol: u8) -> Packet {
    Packet { later_fragment: true, ..packet("10.9.0.2", "10.1.2.3", protocol) }
}

fn filter(rules: &[&str]) -> Filter {
    Filter::parse("test", rules.iter().copied(), [None; 2]).unwrap()
}

fn assigned() -> Vec<IpAddr> {
    vec!["10.9.0.2".parse().unwrap(), "fd09::2".parse().unwrap()]
}

fn passes(filter: &Filter, packet: Packet) -> bool {
    filter.objection(Direction::In, &packet, &assigned()).is_none()
}

#[test]
fn the_first_rule_that_matches_decides_and_the_last_one_turned_round_the_rest() {
    let web = filter(&["deny in tcp from any to 10.1.2.3 443", "permit in tcp from any to 10.0.0.0/8 80,443,8000-8099"]);
    assert!(passes(&web, to_port(TCP, 80)) && passes(&web, to_port(TCP, 8099)));
    assert!(!passes(&web, to_port(TCP, 443)), "the first decides");
    assert!(!passes(&web, to_port(TCP, 8100)) && !passes(&web, to_port(UDP, 80)), "the last was a permit: the rest is dropped");
    let but = filter(&["deny in udp from any to any 53"]);
    assert!(!passes(&but, to_port(UDP, 53)) && passes(&but, to_port(UDP, 54)) && passes(&but, to_port(TCP, 53)));
    // The other direction has no rules.
    assert!(web.objection(Direction::Out, &to_port(TCP, 1), &assigned()).is_none());
    let closed = Filter::parse("none", [], [Some(Action::Deny), None]).unwrap();
    assert!(!passes(&closed, to_port(TCP, 80)));
    assert_eq!(closed.objection(Direction::In, &to_port(TCP, 80), &[]).unwrap().to_string(), "no rule permits it");
}

#[test]
fn addresses_match_within_their_family() {
    for (rule, source, destination, wanted) in [
        ("permit in ip from any to any", "fd09::2", "2001:db8::1", true),
        ("permit in ip from any to 10.0.0.0/8", "10.9.0.2", "10.255.0.1", true),
        ("permit in ip from any to 10.0.0.0/8", "10.9.0.2", "11.0.0.0", false),
        ("permit in ip from any to 10.0.0.0/8", "fd09::2", "::a00:1", false),
        ("permit in ip from any to 2001:db8::/32", "fd09::2", "2001:db8:ffff::1", true),
        ("permit in ip from any to ::/0", "fd09::2", "2001:db8::1", true),
        ("permit in ip from any to 0.0.0.0/0", "10.9.0.2", "192.0.2.1", true),
        ("permit in ip from any to 0.0.0.0/0", "fd09::2", "2001:db8::1", false),
        ("permit in ip from any to !10.0.0.0/8", "10.9.0.2", "192.0.2.1", true),
        ("permit in ip from any to ! 10.0.0.0/8", "10.9.0.2", "10.0.0.1", false),
        ("permit in ip from any to !10.0.0.0/8", "fd09::2", "2001:db8::1", false),
        ("permit in ip from assigned to any", "10.9.0.2", "10.0.0.1", true),
        ("permit in ip from assigned to any", "10.9.0.3", "10.0.0.1", false),
        ("permit in ip from !assigned to any", "fd09::3", "2001:db8::1", true),
    ] {
        assert_eq!(passes(&filter(&[rule]), packet(source, destination, 50)), wanted, "{rule}: {source} to {destination}");
    }
}

#[test]
fn flags_and_types() {
    let flags = |flags| Packet { tcp_flags: Some(flags), ..to_port(TCP, 22) };
    let icmp = |kind| Packet { icmp: Some((kind, 0)), ..packet("10.9.0.2", "10.1.2.3", 1) };
    for (rule, packet, wanted) in [
        ("permit in tcp from any to any established", flags(0x10), true),
        ("permit in tcp from any to any established", flags(0x04), true),
        ("permit in tcp from any to any established", flags(0x02), false),
        ("permit in tcp from any to any setup", flags(0x02), true),
        ("permit in tcp from any to any setup", flags(0x12), false),
        ("permit in tcp from any to any tcpflags syn,!ack", flags(0x02), true),
        ("permit in tcp from any to any tcpflags fin", flags(0x10), false),
        ("permit in icmp from any to any icmptypes 0,8-11", icmp(8), true),
        ("permit in icmp from any to any icmptypes 0,8-11", icmp(3), false),
        ("permit in 1 from any to any", icmp(3), true),
        ("permit in ip from any to any frag", later(UDP), true),
        ("permit in ip from any to any frag", to_port(UDP, 53), false),
    ] {
        assert_eq!(passes(&filter(&[rule]), packet), wanted, "{rule}: {packet:?}");
    }
}

/// Whoever cuts packets in pieces gets no more than without.
#[test]
fn what_a_fragment_does_not_show_is_held_against_it() {
    let permits = filter(&["permit in tcp from any to any 443"]);
    let denies = filter(&["deny in tcp from any to any 23"]);
    let by_protocol = filter(&["deny in tcp from any to any"]);
    let cut_short = Packet { ports: None, tcp_flags: None, ..to_port(TCP, 443) };
    for packet in [later(TCP), cut_short] {
        assert!(!passes(&permits, packet) && !passes(&denies, packet), "{packet:?}");
    }
    assert!(passes(&denies, later(UDP)), "another protocol is none of that rule's business");
    // Behind the fragment header of IPv6 there may be more headers before the transport.
    let hidden = Packet { protocol: None, later_fragment: true, ..packet("fd09::2", "2001:db8::1", 0) };
    assert!(!passes(&by_protocol, hidden) && !passes(&permits, hidden));
    assert!(!passes(&filter(&["deny in tcp from any to any established"]), cut_short));
}

#[test]
fn rules_that_cannot_be_kept_are_errors() {
    for (rule, says) in [
        ("", "ends where \"permit\" or \"deny\""),
        ("allow in ip from any to any", "\"allow\" stands where"),
        ("permit both ip from any to any", "\"in\" or \"out\""),
        ("permit in tcpx from any to any", "no protocol"),
        ("permit in 256 from any to any", "no protocol"),
        ("permit in ip from any", "ends where \"to\""),
        ("permit in ip from any to", "an address"),
        ("permit in ip from any to example.com", "neither an address"),
        ("permit in ip from any to 10.0.0.1/8", "bits behind"),
        ("permit in ip from any to 10.0.0.0/33", "longer than 32"),
        ("permit in ip from any to fd00::/129", "longer than 128"),
        ("permit in ip from 10.0.0.1 to fd00::1", "from one IP version to the other"),
        ("permit in ip from any to any 80", "need a protocol"),
        ("permit in icmp from any to any 8", "need a protocol"),
        ("permit in tcp from any to any 80-", "no list of numbers"),
        ("permit in tcp from any to any 90-80", "ends before"),
        ("permit in tcp from any to any 70000", "no list of numbers"),
        ("permit in tcp from any to any ipoptions ssrr", "no option"),
        ("permit in tcp from any to any tcpoptions mss", "no option"),
        ("permit in udp from any to any established", "another protocol"),
        ("permit in tcp from any to any icmptypes 8", "another protocol"),
        ("permit in tcp from any to any tcpflags ece", "no flag"),
        ("permit in tcp from any to any 80 frag", "only a first fragment"),
        ("permit in tcp from any to any established frag", "only a first fragment"),
    ] {
        let error = Rule::parse(rule).expect_err(rule).to_string();
        assert!(error.contains(says), "{rule}: {error}");
    }
    let many = vec!["permit in ip from any to any"; MAX_RULES + 1];
    assert!(Filter::parse("many", many.iter().copied().skip(1), [None; 2]).is_ok());
    assert!(Filter::parse("many", many, [None; 2]).unwrap_err().to_string().contains("256"));
    let ranges = vec!["1"; 33].join(",");
    assert!(Rule::parse(&format!("permit in tcp from any to any {ranges}")).unwrap_err().to_string().contains("limit"));
}

#[test]
fn attributes_are_one_text_with_nul_between_rules() {
    let values = |parts: &[&str]| parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
    let texts = |filter: &Filter| filter.input.rules().iter().chain(filter.output.rules()).map(ToString::to_string).collect::<Vec<_>>();
    let wanted = ["permit in tcp from any to 10.0.0.0/8 443", "deny out ip from any to any"];
    for parts in [
        &["permit in tcp from any to 10.0.0.0/8 443\0deny out ip from any to any\0"][..],
        &["permit in tcp from any to 10.0.", "0.0/8 443\0deny out ip fr", "om any to any"],
        &["permit in tcp from any to 10.0.0.0/8 443", "deny out ip from any to any"],
    ] {
        assert_eq!(texts(&Filter::of_attributes(&values(parts)).unwrap()), wanted, "{parts:?}");
    }
    for bad in [&["\0"][..], &[], &["permit in ip from any to any\0nonsense"], &["permit in ip from any to any", " frag junk"]] {
        assert!(Filter::of_attributes(&values(bad)).is_err(), "{bad:?}");
    }
    assert!(Filter::of_attributes(&[vec![0xff, 0xfe]]).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn names_may_say_the_direction() {
    let filters = [Arc::new(filter(&["deny in ip from any to any", "deny out ip from any to any"]))];
    let drops = |name: &str| {
        let found = named(&filters, name)?;
        Some([Direction::In, Direction::Out].map(|direction| found.objection(direction, &to_port(TCP, 1), &[]).is_some()))
    };
    assert_eq!(drops("TEST"), Some([true, true]));
    assert_eq!((drops("test.in"), drops("test.out")), (Some([true, false]), Some([false, true])));
    for other in ["", "in", ".in", "tes", "test.", "test.inn", "test.in.in", "tést.in"] {
        assert_eq!(drops(other), None, "{other}");
    }
}

/// An MS-Filter as [MS-RNAP] 2.2.1.3 lays it out: one entry whose set begins at a multiple of 8.
fn ms_filter(kind: u32, action: u32, filters: &[[u32; 7]]) -> Vec<u8> {
    let set: Vec<u8> = [1, filters.len() as u32, action].iter().flat_map(|word| word.to_le_bytes()).collect();
    let filters = filters.iter().flat_map(|[source, source_mask, destination, mask, protocol, late, ports]| {
        let addresses = [source, source_mask, destination, mask].map(|word| word.to_be_bytes()).concat();
        [addresses, protocol.to_le_bytes().to_vec(), late.to_le_bytes().to_vec(), ports.to_be_bytes().to_vec()].concat()
    });
    let set: Vec<u8> = set.into_iter().chain(filters).collect();
    let head = [1, 32 + set.len() as u32, 1, kind, set.len() as u32, 1, 32].map(u32::to_le_bytes).concat();
    [head, vec![0; 4], set].concat()
}

#[test]
fn filters_of_windows_permit_only_or_drop_only_what_they_list() {
    let any_to_web = [0, 0, 0x0a01_0000, 0xffff_0000, 6, 1, 443];
    let only = microsoft::parse(Family::Ipv4, &ms_filter(0xffff_0001, 1, &[any_to_web])).unwrap();
    assert_eq!(only.input.rules()[0].to_string(), "permit in tcp from assigned to 10.1.0.0/16 443");
    assert!(passes(&only, to_port(TCP, 443)) && !passes(&only, to_port(TCP, 80)) && !passes(&only, later(TCP)));
    assert!(passes(&only, packet("fd09::2", "2001:db8::1", 6)), "MS-Filter is for IPv4 alone");
    assert!(only.objection(Direction::Out, &to_port(TCP, 80), &[]).is_none());
    let ping = [0, 0, 0, 0, 1, 0, 0x0800_ff00];
    let but = microsoft::parse(Family::Ipv4, &ms_filter(0xffff_0001, 0, &[ping])).unwrap();
    assert_eq!(but.input.rules()[0].to_string(), "deny in icmp from 0.0.0.0/0 to 0.0.0.0/0 icmptypes 8");
    let icmp = |kind| Packet { icmp: Some((kind, 0)), ..packet("10.9.0.2", "10.1.2.3", 1) };
    assert!(!passes(&but, icmp(8)) && passes(&but, icmp(0)) && passes(&but, to_port(TCP, 80)));
    let out = microsoft::parse(Family::Ipv4, &ms_filter(0xffff_0002, 1, &[[0, 0, 0, 0, 17, 4, 53 << 16]])).unwrap();
    assert_eq!(out.output.rules()[0].to_string(), "permit out udp from 0.0.0.0/0 53 to assigned");
}

#[test]
fn filters_of_windows_for_ipv6_are_big_endian() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let destination = "2001:db8::".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    let filter = [vec![0; 20], destination, words(&[32, 6, 0, 443])].concat();
    let head = words(&[1, 32 + 12 + 52, 1, 0xffff_0011, 12 + 52, 1, 32, 0, 1, 1, 1]);
    let value = [head, filter].concat();
    let only = microsoft::parse(Family::Ipv6, &value).unwrap();
    assert_eq!(only.input.rules()[0].to_string(), "permit in tcp from ::/0 to 2001:db8::/32 443");
    assert!(!passes(&only, packet("fd09::2", "2001:db9::1", 50)) && passes(&only, to_port(TCP, 80)));
}

/// Any address to any address is none of the other IP version's business.
#[test]
fn filters_of_windows_keep_to_their_ip_version() {
    let filter_v6 = |protocol| {
        let head = [1, 32 + 12 + 52, 1, 0xffff_0011, 12 + 52, 1, 32, 0, 1, 1, 0].map(u32::to_be_bytes).concat();
        [head, vec![0; 40], [protocol, 0, 0].map(u32::to_be_bytes).concat()].concat()
    };
    let (v4, v6) = (to_port(TCP, 80), packet("fd09::2", "2001:db8::1", 6));
    let denies_v6 = microsoft::parse(Family::Ipv6, &filter_v6(0)).unwrap();
    assert!(!passes(&denies_v6, v6) && passes(&denies_v6, v4));
    let denies_v4 = microsoft::parse(Family::Ipv4, &ms_filter(0xffff_0001, 0, &[[0; 7]])).unwrap();
    assert!(!passes(&denies_v4, v4) && passes(&denies_v4, v6));
    let error = microsoft::parse(Family::Ipv6, &filter_v6(51)).unwrap_err().to_string();
    assert!(error.contains("names protocol ah"), "{error}");
    assert!(microsoft::parse(Family::Ipv4, &ms_filter(0xffff_0001, 0, &[[0, 0, 0, 0, 51, 1, 0]])).is_ok());
}

/// Packets are judged by what is behind the extension headers of IPv6.
#[test]
fn rules_on_extension_headers_are_for_ipv4_alone() {
    for protocol in ["0", "43", "44", "51", "ah", "60", "135", "139", "140"] {
        for ends in ["from any to any", "from assigned to any", "from any to fd00::/8"] {
            let error = Rule::parse(&format!("deny in {protocol} {ends}")).unwrap_err().to_string();
            assert!(error.contains("in IPv6 an extension header"), "{error}");
        }
        assert!(Rule::parse(&format!("deny in {protocol} from any to 0.0.0.0/0")).is_ok(), "{protocol}");
    }
    assert!(Rule::parse("deny in esp from any to any").is_ok());
    assert!(!passes(&filter(&["deny in ah from any to 0.0.0.0/0"]), packet("10.9.0.2", "10.1.2.3", 51)));
}

#[test]
fn filters_of_windows_that_cannot_be_kept_are_errors() {
    let good = [0, 0, 0, 0, 6, 0, 443];
    for (value, says) in [
        (vec![], "version"),
        (vec![2, 0, 0, 0, 0, 0, 0, 0], "version"),
        (ms_filter(0xffff_0009, 1, &[good]), "neither input nor output"),
        (ms_filter(0xffff_0001, 2, &[good]), "action 2"),
        (ms_filter(0xffff_0001, 1, &[[0, 0, 0, 0, 0x86, 0, 0]]), "0x86"),
        (ms_filter(0xffff_0001, 1, &[[0, 0, 0, 0, 0x106, 0, 0]]), "0x106"),
        (ms_filter(0xffff_0001, 1, &[[0, 0, 0, 0, 6, 4, 443]]), "leaves fields open"),
        (ms_filter(0xffff_0001, 1, &[[0, 0, 0, 0, 6, 0x10, 443]]), "leaves fields open"),
        (ms_filter(0xffff_0001, 1, &[[0, 0, 0, 0, 50, 0, 443]]), "has ports"),
        (ms_filter(0xffff_0001, 1, &[good])[..50].to_vec(), "wants"),
    ] {
        let error = microsoft::parse(Family::Ipv4, &value).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("MS-Filter"), "{error}");
    }
    let mut endless = ms_filter(0xffff_0001, 1, &[good]);
    endless[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(microsoft::parse(Family::Ipv4, &endless).is_err());
    endless[8..12].copy_from_slice(&0_u32.to_le_bytes());
    assert!(microsoft::parse(Family::Ipv4, &endless).unwrap_err().to_string().contains("no filters"));
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4((bits | 0x0a00_0000).into())),
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()))
    ];
    (address.clone(), address, prop_oneof![Just(6), Just(17), Just(1)], any::<(u16, u16)>(), any::<u8>()).prop_map(
        |(source, destination, protocol, ports, flags)| Packet {
            source,
            destination,
            protocol: Some(protocol),
            ports: (protocol != 1).then_some(ports),
            tcp_flags: (protocol == 6).then_some(flags),
            icmp: (protocol == 1).then_some((flags, 0)),
            later_fragment: false,
        },
    )
}

fn rule_text() -> impl Strategy<Value = String> {
    let end = || prop_oneof![Just("any"), Just("assigned"), Just("10.0.0.0/8"), Just("!10.9.0.0/16")];
    let what = prop_oneof![
        Just(("ip", "")),
        Just(("tcp", "")),
        Just(("tcp", "0-30000")),
        Just(("udp", "53,30000-65535")),
        Just(("tcp", "established")),
        Just(("icmp", "icmptypes 8"))
    ];
    (prop_oneof![Just("permit"), Just("deny")], what, end(), end())
        .prop_map(|(action, (protocol, more), source, destination)| format!("{action} in {protocol} from {source} to {destination} {more}"))
}

proptest! {
    #[test]
    fn any_text_and_any_bytes_are_read_or_refused(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((direction, rule)) = Rule::parse(&text) {
            prop_assert_eq!(Rule::parse(&rule.to_string()).unwrap(), (direction, rule));
        }
        let _ = Filter::of_attributes(std::slice::from_ref(&bytes));
        for family in [Family::Ipv4, Family::Ipv6] {
            let _ = microsoft::parse(family, &bytes);
            let versioned = [&[1, 0, 0, 0][..], &bytes].concat();
            let _ = microsoft::parse(family, &versioned);
        }
    }

    /// To hide something never helps: what is dropped whole is dropped in pieces, cut short or not.
    #[test]
    fn a_packet_that_shows_less_gets_no_further(rules in proptest::collection::vec(rule_text(), 0..8), whole in any_packet(), hide in any::<[bool; 4]>()) {
        let filter = Filter::parse("random", rules.iter().map(String::as_str), [None; 2]).unwrap();
        let hidden = Packet {
            ports: whole.ports.filter(|_| !hide[0]),
            tcp_flags: whole.tcp_flags.filter(|_| !hide[1]),
            icmp: whole.icmp.filter(|_| !hide[2]),
            protocol: whole.protocol.filter(|_| !hide[3]),
            ..whole
        };
        prop_assert!(passes(&filter, whole) || !passes(&filter, hidden), "{:?}", rules);
    }
}
