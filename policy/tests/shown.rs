//! Which certificates policies want a client to be shown before anybody knows who it is.
#![allow(clippy::unwrap_used)]
mod common;

use common::facts;
use policy::network::*;
use proptest::prelude::*;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn policy(name: &str, certificate: &str, conditions: Conditions) -> Policy {
    let certificate = Some(certificate.to_owned()).filter(|certificate| !certificate.is_empty());
    Policy { name: name.into(), grant: true, certificate, conditions, ..Policy::default() }
}

fn asks(server_name: &str) -> Conditions {
    Conditions { server_name: texts(&[server_name]), ..Conditions::default() }
}

fn group(group: &str) -> Conditions {
    Conditions { group: texts(&[group]), ..Conditions::default() }
}

fn before(server_name: Option<&'static str>) -> Facts<'static> {
    Facts { server_name, client: "192.0.2.7".parse().unwrap(), listener: "main", ..Facts::before_login(Tunnel::Sstp, facts().time) }
}

fn named<'a>(policies: &'a [Policy], facts: &Facts<'_>) -> Vec<(&'a str, &'a str)> {
    shown(policies, facts, &|_| true).into_iter().map(|named| (named.certificate, named.policy)).collect()
}

#[test]
fn a_known_condition_decides_and_an_unknown_one_leaves_it_open() {
    let of =
        |conditions| vec![policy("A", "a", conditions), policy("B", "b", Conditions::default()), policy("C", "c", Conditions::default())];
    let client = |start: &str| Conditions {
        client: vec![AddressRange { start: start.parse().unwrap(), end: "192.0.2.255".parse().unwrap() }],
        ..Conditions::default()
    };
    for (conditions, expected) in [
        // Known to hold: the others cannot decide any more.
        (asks("vpn.a.test"), vec!["a"]),
        (asks("*.A.test"), vec!["a"]),
        (client("192.0.2.0"), vec!["a"]),
        (Conditions { tunnel: vec![Tunnel::Sstp], ..Conditions::default() }, vec!["a"]),
        (Conditions { listener: texts(&["main"]), ..Conditions::default() }, vec!["a"]),
        // Known to fail.
        (asks("vpn.b.test"), vec!["b"]),
        (client("192.0.2.8"), vec!["b"]),
        (Conditions { tunnel: vec![Tunnel::Ikev2], ..Conditions::default() }, vec!["b"]),
        (Conditions { time: vec![TimeWindow { days: 1 << 6, from: 0, to: 1440 }], ..Conditions::default() }, vec!["b"]),
        (Conditions { method: vec![Method::Certificate], ..Conditions::default() }, vec!["b"]),
        // Not known.
        (group("staff"), vec!["a", "b"]),
        (Conditions { user: texts(&["ann"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { machine: texts(&["pc1"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { eap_type: texts(&["PEAP"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { method: vec![Method::Pap, Method::Certificate], ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { certificate_issuer: texts(&["CN=X"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { class: texts(&["x"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { filter_id: texts(&["x"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { radius_server: texts(&["nps1"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { radius_group: texts(&["nps"]), ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { reply: vec![Attribute { name: "X".into(), value: "1".into() }], ..Conditions::default() }, vec!["a", "b"]),
        // Both, in groups.
        (Conditions { not: vec![group("staff")], ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { not: vec![asks("vpn.a.test")], ..Conditions::default() }, vec!["b"]),
        (Conditions { not: vec![asks("vpn.b.test")], ..Conditions::default() }, vec!["a"]),
        (Conditions { any: vec![asks("vpn.a.test"), group("staff")], ..Conditions::default() }, vec!["a"]),
        (Conditions { any: vec![asks("vpn.b.test"), group("staff")], ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { all: vec![asks("vpn.a.test"), group("staff")], ..Conditions::default() }, vec!["a", "b"]),
        (Conditions { all: vec![asks("vpn.b.test"), group("staff")], ..Conditions::default() }, vec!["b"]),
    ] {
        let words = conditions.words();
        let policies = of(conditions);
        let got: Vec<_> = named(&policies, &before(Some("vpn.a.test"))).into_iter().map(|(certificate, _)| certificate).collect();
        assert_eq!(got, expected, "{words:?}");
    }
    // Over IKEv2 the first request tells whether a certificate or EAP comes.
    let machines = [policy("A", "a", Conditions { method: vec![Method::Certificate], ..Conditions::default() })];
    let by = |method| named(&machines, &Facts { method, ..Facts::before_login(Tunnel::Ikev2, facts().time) }).len();
    assert_eq!((by(Method::Certificate), by(Method::Eap)), (1, 0));
}

#[test]
fn whoever_cannot_be_for_this_client_has_no_say() {
    let any = Conditions::default;
    let policies = [policy("A", "a", any()), policy("open", "", group("staff")), policy("B", "b", any())];
    let b_only = |certificate: &str| certificate == "b";
    let facts = before(None);
    assert_eq!(shown(&policies, &facts, &b_only).iter().map(|named| named.certificate).collect::<Vec<_>>(), ["b"]);
    assert_eq!(named(&policies, &facts), [("a", "A")]);
    // Nobody names one, or one that names none is sure to decide before.
    assert_eq!(named(&policies[1..2], &facts), []);
    assert_eq!(named(&[policy("open", "", any()), policy("B", "b", any())], &facts), []);
    // Denying policies: certain ones end it, and `certificate` is but a condition of theirs.
    let deny = |certificate| Policy { grant: false, ..policy("no", certificate, any()) };
    assert_eq!(named(&[deny(""), policy("B", "b", any())], &facts), []);
    assert_eq!(named(&[deny("a"), policy("B", "b", any())], &facts), [("b", "B")]);
    let disabled = Policy { disabled: true, ..policy("A", "a", any()) };
    assert_eq!(named(&[disabled, policy("B", "b", any())], &facts), [("b", "B")]);
    // Two of one tenant.
    let twice = [policy("A1", "a", group("x")), policy("A2", "a", group("y")), policy("B", "b", any())];
    assert_eq!(named(&twice, &facts), [("a", "A1"), ("b", "B")]);
}

#[test]
fn a_tenant_comes_in_by_the_own_certificate_alone() {
    let policies = [policy("A", "a", Conditions::default()), policy("B", "b", Conditions::default())];
    let by = |shown| decide(&policies, &Facts { shown, ..facts() }, &Alone);
    assert_eq!(by(Some("a")).policy.as_deref(), Some("A"));
    assert_eq!(by(Some("b")).policy.as_deref(), Some("B"));
    for (shown, got) in [(Some("c"), "the client was shown \"c\""), (None, "the client was shown none")] {
        let decision = by(shown);
        assert_eq!((decision.granted, decision.reason), (false, Reason::NoPolicy));
        assert_eq!(decision.passed_over[1].reason, format!("certificate wanted \"b\", but {got}"));
    }
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let texts = || proptest::collection::vec("[ab*?]{1,2}", 0..2);
    let leaf = (texts(), texts(), texts(), texts()).prop_map(|(user, group, listener, server_name)| Conditions {
        user,
        group,
        listener,
        server_name,
        ..Conditions::default()
    });
    leaf.prop_recursive(3, 16, 3, |inner| {
        let groups = || proptest::collection::vec(inner.clone(), 0..3);
        (inner.clone(), groups(), groups(), groups()).prop_map(|(own, any, all, not)| Conditions { any, all, not, ..own })
    })
}

proptest! {
    /// What is known before the login is not overturned by it: who is ruled out stays out, who is certain comes in, whoever they turn out to be.
    #[test]
    fn the_login_overturns_nothing(
        conditions in conditions(),
        user in "[ab]{1,2}",
        group in "[ab]{1,2}",
        listener in "[ab]{1,2}",
        server_name in proptest::option::of("[ab]{1,2}"),
    ) {
        let early = Facts { listener: &listener, server_name: server_name.as_deref(), ..Facts::before_login(Tunnel::Ikev2, facts().time) };
        let groups = [group];
        let late = Facts { authenticated: true, confirmed: true, user: &user, group: &groups, ..early.clone() };
        let one = policy("one", "", conditions);
        let grants = decide(std::slice::from_ref(&one), &late, &Alone).granted;
        prop_assert!(may_match(&one, &early) || !grants);
        let both = [one, policy("two", "b", Conditions::default())];
        let certain = shown(&both, &early, &|_| true).is_empty();
        prop_assert!(!certain || grants);
    }
}
