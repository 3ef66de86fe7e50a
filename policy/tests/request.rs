//! Connection request policies: who is asked about which login.
#![allow(clippy::unwrap_used)]
use policy::network::{AddressRange, LocalTime, TimeWindow, Tunnel};
use policy::request::{Conditions, Decision, Facts, Forward, RequestPolicy, decide, realm, without_realm};
use policy::rewrite::Rewrite;

fn facts(user: &str) -> Facts<'_> {
    Facts {
        user,
        tunnel: Tunnel::Ikev2,
        listener: "ikev2",
        client: "203.0.113.9".parse().unwrap(),
        time: LocalTime { weekday: 2, minute: 600 },
    }
}

fn group(name: &str, conditions: Conditions) -> RequestPolicy {
    RequestPolicy { name: name.into(), conditions, forward: Forward::Group(name.into()), ..RequestPolicy::default() }
}

fn realm_of(pattern: &str) -> Conditions {
    Conditions { realm: vec![pattern.into()], ..Conditions::default() }
}

#[test]
fn realms_of_both_spellings() {
    for (user, wanted, bare) in [
        ("alice@example.com", Some("example.com"), "alice"),
        ("EXAMPLE\\alice", Some("EXAMPLE"), "alice"),
        ("a@b@example.com", Some("example.com"), "a@b"),
        ("alice", None, "alice"),
        ("@example.com", Some("example.com"), "@example.com"),
        ("EXAMPLE\\", Some("EXAMPLE"), "EXAMPLE\\"),
    ] {
        assert_eq!((realm(user), without_realm(user)), (wanted, bare), "{user}");
    }
}

#[test]
fn without_policies_all_servers_are_asked() {
    let decision = decide(&[], &facts("alice")).unwrap();
    assert_eq!(decision, Decision { user: "alice".into(), ..Decision::default() });
    assert_eq!(decision.forward, Forward::AllServers);
}

#[test]
fn the_first_match_decides_and_the_rest_says_why_not() {
    let policies =
        [group("partners", realm_of("*.example.org")), group("corp", realm_of("example.com")), group("rest", Conditions::default())];
    let decision = decide(&policies, &facts("alice@EXAMPLE.com")).unwrap();
    assert_eq!((decision.policy.as_deref(), decision.forward), (Some("corp"), Forward::Group("corp".into())));
    assert_eq!(decision.accounting.as_deref(), Some("corp"), "accounting goes where the login went");
    assert_eq!(decision.passed_over[0].reason, "realm wanted \"*.example.org\", got \"EXAMPLE.com\"");
    assert_eq!(decide(&policies, &facts("alice")).unwrap().policy.as_deref(), Some("rest"));
}

#[test]
fn where_none_matches_nobody_is_asked() {
    let passed_over = decide(&[group("corp", realm_of("*"))], &facts("alice")).unwrap_err();
    assert_eq!(passed_over[0].reason, "realm wanted \"*\", got none");
}

#[test]
fn every_condition_counts() {
    let range = |start: &str| AddressRange { start: start.parse().unwrap(), end: start.parse().unwrap() };
    let all = Conditions {
        realm: vec!["example.com".into()],
        user: vec!["a*".into()],
        tunnel: vec![Tunnel::Ikev2],
        listener: vec!["ike*".into()],
        client: vec![range("203.0.113.9")],
        time: vec![TimeWindow { days: 0b100, from: 540, to: 660 }],
    };
    let matches = |conditions: &Conditions| decide(&[group("x", conditions.clone())], &facts("alice@example.com"));
    assert!(matches(&all).is_ok());
    for (name, conditions) in [
        ("realm", Conditions { realm: vec!["other".into()], ..all.clone() }),
        ("user", Conditions { user: vec!["b*".into()], ..all.clone() }),
        ("tunnel", Conditions { tunnel: vec![Tunnel::Sstp], ..all.clone() }),
        ("listener", Conditions { listener: vec!["sstp".into()], ..all.clone() }),
        ("client", Conditions { client: vec![range("203.0.113.8")], ..all.clone() }),
        ("time", Conditions { time: vec![TimeWindow { days: 0b100, from: 0, to: 540 }], ..all.clone() }),
    ] {
        let reason = matches(&conditions).unwrap_err().remove(0).reason;
        assert!(reason.starts_with(name), "{name}: {reason}");
    }
}

#[test]
fn names_are_rewritten_before_the_realm_goes() {
    let rewrite = vec![Rewrite::new("OLD\\*", "{1}@new.example").unwrap(), Rewrite::new("*", "never-{1}").unwrap()];
    let policy = RequestPolicy { rewrite, accounting: Some("books".into()), ..group("corp", Conditions::default()) };
    let decision = decide(std::slice::from_ref(&policy), &facts("old\\alice")).unwrap();
    assert_eq!((decision.user.as_str(), decision.accounting.as_deref()), ("alice@new.example", Some("books")));
    let bare = RequestPolicy { strip_realm: true, ..policy };
    assert_eq!(decide(&[bare], &facts("old\\alice")).unwrap().user, "alice");
}

#[test]
fn local_goes_nowhere_else() {
    let policy = RequestPolicy { forward: Forward::Local, ..group("here", Conditions::default()) };
    let decision = decide(&[policy], &facts("alice")).unwrap();
    assert_eq!((decision.forward, decision.accounting), (Forward::Local, None));
}
