use super::*;
use crate::wire::testing::{hex, property_config};
use proptest::collection::vec;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(text: &str) -> TrafficSelector {
    let (address, prefix) = text.split_once('/').unwrap();
    TrafficSelector::network(ip(address), prefix.parse().unwrap())
}

fn texts(selectors: &[TrafficSelector]) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}

#[test]
fn windows_asks_for_everything_and_gets_its_lease() {
    let wide = [TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
    let leased = [ip("10.9.0.7"), ip("2001:db8::7")];
    assert_eq!(texts(&narrow_to_hosts(&wide, &leased)), ["10.9.0.7/32", "2001:db8::7/128"]);
    assert_eq!(texts(&narrow_to_hosts(&wide, &leased[..1])), ["10.9.0.7/32"]);
    assert_eq!(texts(&narrow_to_allowed(&wide, &[])), ["0.0.0.0/0", "::/0"]);
    let allowed = [network("10.0.0.0/8"), network("255.255.255.255/32"), network("fd00::/8")];
    assert_eq!(texts(&narrow_to_allowed(&wide, &allowed)), ["10.0.0.0/8", "255.255.255.255/32", "fd00::/8"]);
}

#[test]
fn nothing_in_common_is_empty() {
    assert_eq!(narrow(&[network("10.0.0.0/8")], &[network("192.168.0.0/16"), network("::/0")]), []);
    assert_eq!(narrow_to_hosts(&[network("10.0.0.0/8")], &[ip("11.0.0.1")]), []);
    assert_eq!(narrow(&[], &[TrafficSelector::any_ipv4()]), []);
}

#[test]
fn what_lies_within_another_is_left_out() {
    let offered = [network("10.1.2.3/32"), network("10.1.0.0/16"), network("10.2.0.0/16"), network("10.1.0.0/16")];
    assert_eq!(texts(&narrow(&offered, &[network("10.0.0.0/8")])), ["10.1.0.0/16", "10.2.0.0/16"]);
}

#[test]
fn protocols_and_ports() {
    let any = network("10.0.0.0/8");
    let dns = TrafficSelector { protocol: 17, start_port: 53, end_port: 53, ..any };
    let low = TrafficSelector { protocol: 17, start_port: 0, end_port: 1023, ..any };
    let tcp = TrafficSelector { protocol: 6, ..any };
    let opaque = TrafficSelector { start_port: u16::MAX, end_port: 0, ..any };
    assert_eq!(any.intersect(&dns), Some(dns));
    assert_eq!(low.intersect(&dns), Some(dns));
    assert_eq!(tcp.intersect(&dns), None);
    assert_eq!((opaque.intersect(&any), opaque.intersect(&opaque)), (Some(opaque), Some(opaque)));
    assert_eq!(opaque.intersect(&low), None);
    assert_eq!(dns.to_string(), "10.0.0.0/8 proto 17 ports 53-53");
    assert_eq!(opaque.to_string(), "10.0.0.0/8 ports opaque");
}

#[test]
fn ranges_as_text() {
    let range = TrafficSelector { start: ip("10.0.0.1"), end: ip("10.0.0.9"), ..network("10.0.0.0/8") };
    assert_eq!(range.to_string(), "10.0.0.1-10.0.0.9");
    assert_eq!(network("10.1.2.3/8").to_string(), "10.0.0.0/8");
    assert_eq!(network("10.1.2.3/99").to_string(), "10.1.2.3/32");
    assert_eq!(TrafficSelector::any_ipv6().to_string(), "::/0");
}

#[test]
fn unknown_selector_types_are_skipped() {
    // FC_ADDR_RANGE (9), then 10.0.0.0-10.255.255.255.
    let body = hex("02000000 09 00 0010 000000000000000000000000 07 11 0010 0035 0035 0a000000 0affffff");
    let selectors = parse(Reader::new(&body, 44, 0)).unwrap();
    assert_eq!(texts(&selectors), ["10.0.0.0/8 proto 17 ports 53-53"]);
    let mut written = Vec::new();
    write(&selectors, &mut written);
    assert_eq!(written, hex("01000000 07 11 0010 0035 0035 0a000000 0affffff"));
}

#[test]
fn no_more_selectors_than_a_payload_can_count() {
    let offered: Vec<_> = (0..300u32).map(|bits| TrafficSelector::host(Ipv4Addr::from_bits(bits).into())).collect();
    let narrowed = narrow(&offered, &[TrafficSelector::any_ipv4()]);
    assert_eq!(narrowed.len(), 255);
    let mut written = Vec::new();
    write(&offered, &mut written);
    assert_eq!((written[0], written.len()), (255, 4 + 255 * 16));
}

/// A small world, so that selectors meet.
fn any_selector() -> impl Strategy<Value = TrafficSelector> {
    let ports = prop_oneof![Just((0, u16::MAX)), Just((u16::MAX, 0)), (0..9u16, 0..9u16).prop_map(|(a, b)| (a.min(b), a.max(b)))];
    (0..3u8, ports, any::<bool>(), 0..9u8, 0..9u8).prop_map(|(protocol, (start_port, end_port), v6, a, b)| {
        let address = |byte| if v6 { Ipv6Addr::from_bits(byte).into() } else { IpAddr::V4(Ipv4Addr::from_bits(byte as u32)) };
        let (start, end) = (address(a.min(b).into()), address(a.max(b).into()));
        TrafficSelector { protocol, start_port, end_port, start, end }
    })
}

/// A packet of protocol 1 or 2 with a port.
fn holds(selector: &TrafficSelector, protocol: u8, port: u16, address: IpAddr) -> bool {
    (selector.protocol == 0 || selector.protocol == protocol)
        && (selector.start_port..=selector.end_port).contains(&port)
        && selector.start.is_ipv4() == address.is_ipv4()
        && (selector.start..=selector.end).contains(&address)
}

proptest! {
    #![proptest_config(property_config())]

    #[test]
    fn intersection_holds_what_both_hold(a in any_selector(), b in any_selector(), port in 0..9u16, last in 0..9u8, v6: bool, protocol in 1..3u8) {
        let address = if v6 { Ipv6Addr::from_bits(last.into()).into() } else { IpAddr::V4(Ipv4Addr::from_bits(last.into())) };
        let both = holds(&a, protocol, port, address) && holds(&b, protocol, port, address);
        prop_assert_eq!(a.intersect(&b).is_some_and(|common| holds(&common, protocol, port, address)), both);
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert!(a.contains(&a));
    }

    #[test]
    fn narrowing_gives_nothing_beyond_either_side(offered in vec(any_selector(), 0..6), allowed in vec(any_selector(), 0..6)) {
        let narrowed = narrow(&offered, &allowed);
        for selector in &narrowed {
            prop_assert!(offered.iter().any(|offered| offered.contains(selector)));
            prop_assert!(allowed.iter().any(|allowed| allowed.contains(selector)));
            prop_assert_eq!(narrowed.iter().filter(|other| other.contains(selector)).count(), 1);
        }
        for common in offered.iter().flat_map(|offered| allowed.iter().filter_map(|allowed| offered.intersect(allowed))) {
            prop_assert!(narrowed.iter().any(|selector| selector.contains(&common)));
        }
    }
}
