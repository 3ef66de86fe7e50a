//! Network policies: order, default deny, reasons.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod common;
use common::facts;
use policy::network::*;
use proptest::prelude::*;

fn policy(name: &str, grant: bool, conditions: Conditions) -> Policy {
    let settings = Settings { pool: Some(name.into()), ..Settings::default() };
    Policy { name: name.into(), grant, conditions, settings, ..Policy::default() }
}

fn range(start: &str, end: &str) -> AddressRange {
    AddressRange { start: start.parse().unwrap(), end: end.parse().unwrap() }
}

fn reason(conditions: Conditions, facts: &Facts<'_>) -> String {
    decide(&[policy("p", true, conditions)], facts, &Alone).passed_over.remove(0).reason
}

#[test]
fn the_first_match_decides_and_nothing_means_no() {
    let everybody = Conditions::default();
    let staff = Conditions { user: vec!["*@example.test".into()], ..Conditions::default() };
    let policies = [policy("staff", true, staff), policy("closed", false, everybody.clone()), policy("open", true, everybody)];
    let decision = decide(&policies, &facts(), &Alone);
    assert_eq!((decision.policy.as_deref(), decision.granted), (Some("closed"), false));
    let passed_over = PassedOver { policy: "staff".into(), reason: "user wanted \"*@example.test\", got \"bob\"".into() };
    assert_eq!(decision.passed_over, [passed_over]);
    let granted = decide(&policies, &Facts { user: "Ann@Example.Test", ..facts() }, &Alone);
    assert_eq!((granted.policy.as_deref(), granted.granted, granted.settings.pool.as_deref()), (Some("staff"), true, Some("staff")));
    let none = decide(&[], &facts(), &Alone);
    assert_eq!((none.policy, none.granted), (None, false));
}

#[test]
fn every_condition_can_fail_and_says_so() {
    let facts = facts();
    let window = TimeWindow { days: 0b001_1111, from: 8 * 60, to: 9 * 60 };
    for (conditions, expected) in [
        (Conditions { tunnel: vec![Tunnel::Sstp], ..Conditions::default() }, "tunnel wanted sstp, got ikev2"),
        (Conditions { method: vec![Method::Certificate], ..Conditions::default() }, "method wanted certificate, got eap"),
        (
            Conditions { method: vec![Method::MsChapV2, Method::Chap, Method::Pap], ..Conditions::default() },
            "method wanted mschapv2 or chap or pap, got eap",
        ),
        (
            Conditions { client: vec![range("10.0.0.0", "10.255.255.255"), range("10.0.0.1", "10.0.0.4")], ..Conditions::default() },
            "client wanted 10.0.0.0/8 or 10.0.0.1-10.0.0.4, got 192.0.2.7",
        ),
        (Conditions { class: vec!["staff".into()], ..Conditions::default() }, "class wanted \"staff\", got none"),
        (Conditions { filter_id: vec!["vpn".into()], ..Conditions::default() }, "filter_id wanted \"vpn\", got none"),
        (Conditions { group: vec!["staff".into()], ..Conditions::default() }, "group wanted \"staff\", got none"),
        (Conditions { time: vec![window], ..Conditions::default() }, "time wanted mon,tue,wed,thu,fri 08:00-09:00, got wed 10:00"),
    ] {
        assert_eq!(reason(conditions, &facts), expected);
    }
}

#[test]
fn within_a_list_any_entry_may_match_and_every_condition_must() {
    let class = [b"other".to_vec(), b"STAFF-1".to_vec()];
    let filter_id = ["vpn".to_owned()];
    let group = ["VPN Users".to_owned()];
    let facts = Facts { class: &class, filter_id: &filter_id, group: &group, ..facts() };
    let conditions = Conditions {
        group: vec!["admins".into(), "vpn *".into()],
        tunnel: vec![Tunnel::Sstp, Tunnel::Ikev2],
        class: vec!["x".into(), "staff-?".into()],
        filter_id: vec!["VPN".into()],
        ..Conditions::default()
    };
    assert!(decide(&[policy("p", true, conditions.clone())], &facts, &Alone).granted);
    let conditions = Conditions { user: vec!["ann".into()], ..conditions };
    assert!(!decide(&[policy("p", true, conditions)], &facts, &Alone).granted);
}

#[test]
fn reasons_are_bounded_and_hold_no_control_characters() {
    let long = "x".repeat(100_000) + "\n\u{1b}[31m";
    let user = format!("\u{1b}[31m{long}");
    let wanted = (0..50).map(|number| format!("user{number}")).collect();
    let reason = reason(Conditions { user: wanted, ..Conditions::default() }, &Facts { user: &user, ..facts() });
    assert!(reason.len() < 400 && !reason.contains('\u{1b}') && !reason.contains('\n'), "{reason}");
    assert!(reason.contains("(and 46 more)"), "{reason}");
}

#[test]
fn mapped_addresses_count_as_ipv4() {
    assert!(range("192.0.2.0", "192.0.2.255").contains("::ffff:192.0.2.7".parse().unwrap()));
    assert!(!range("::", "ffff::").contains("192.0.2.7".parse().unwrap()));
    assert_eq!(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").to_string(), "::/0");
    assert_eq!(range("fd00::", "fd00::ffff").to_string(), "fd00::/112");
    assert_eq!(range("10.0.0.1", "10.0.0.2").to_string(), "10.0.0.1-10.0.0.2");
}

fn prefixes(start: &str, end: &str) -> Vec<String> {
    range(start, end).prefixes().iter().map(|(network, length)| format!("{network}/{length}")).collect()
}

#[test]
fn ranges_as_prefixes() {
    assert_eq!(prefixes("10.0.0.0", "10.255.255.255"), ["10.0.0.0/8"]);
    assert_eq!(prefixes("192.0.2.7", "192.0.2.7"), ["192.0.2.7/32"]);
    assert_eq!(prefixes("10.0.0.1", "10.0.0.6"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
    assert_eq!(prefixes("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
    assert_eq!(prefixes("255.255.255.254", "255.255.255.255"), ["255.255.255.254/31"]);
    assert_eq!(prefixes("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
    assert_eq!(prefixes("fd00::", "fd00::1:ffff"), ["fd00::/111"]);
    assert_eq!(prefixes("10.0.0.2", "10.0.0.1"), [""; 0]);
    assert_eq!(prefixes("10.0.0.1", "::1"), [""; 0]);
}

proptest! {
    /// Prefixes lie side by side from the first address to the last, each aligned, and no two neighbours are one larger prefix.
    #[test]
    fn prefixes_cover_their_range_exactly(a: u32, b in prop_oneof![any::<u32>(), 0u32..5000]) {
        let (start, end) = (a.min(b), a.max(b));
        let range = AddressRange { start: std::net::Ipv4Addr::from(start).into(), end: std::net::Ipv4Addr::from(end).into() };
        let mut next = u64::from(start);
        let mut before = None;
        for (network, length) in range.prefixes() {
            let std::net::IpAddr::V4(network) = network else { panic!("{network}") };
            let size = 1u64 << (32 - length);
            let network = u64::from(network.to_bits());
            prop_assert_eq!((network, network % size), (next, 0));
            let halves = before == Some(size) && (network - size).is_multiple_of(2 * size);
            prop_assert!(!halves);
            before = Some(size);
            next = network + size;
        }
        prop_assert_eq!(next, u64::from(end) + 1);
    }

    /// A window is the set of minutes that one gets by walking from `from` to `to` on each of its days.
    #[test]
    fn windows_agree_with_walking(days in 0u8..128, from in 0u16..1440, to in 0u16..=1440, weekday in 0u8..7, minute in 0u16..1440) {
        let end = if from > to { to + 1440 } else { to };
        let walked = (0..7u32).filter(|day| days & (1 << day) != 0).any(|day| {
            (from..end).any(|at| {
                let at = day * 1440 + u32::from(at);
                at % (7 * 1440) == u32::from(weekday) * 1440 + u32::from(minute)
            })
        });
        prop_assert_eq!(TimeWindow { days, from, to }.contains(LocalTime { weekday, minute }), walked);
    }
}

/// Two servers may return the same User-Name: what counts is who said it.
#[test]
fn policies_may_ask_who_answered() {
    let conditions = |server: &[&str], group: &[&str]| Conditions {
        radius_server: server.iter().map(ToString::to_string).collect(),
        radius_group: group.iter().map(ToString::to_string).collect(),
        ..Conditions::default()
    };
    let of_partner = Facts { radius_server: Some("partner1"), radius_group: Some("partners"), ..facts() };
    assert!(decide(&[policy("p", true, conditions(&["partner?"], &["partners", "corp"]))], &of_partner, &Alone).granted);
    let elsewhere = reason(conditions(&["nps1", "nps2"], &[]), &of_partner);
    assert_eq!(elsewhere, "radius_server wanted \"nps1\" or \"nps2\", got \"partner1\"");
    assert_eq!(reason(conditions(&[], &["partners"]), &facts()), "radius_group wanted \"partners\", got none");
}
