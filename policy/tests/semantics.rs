//! Network policies against the order that NPS documents: policies one after the other, permission, then the constraints of that policy alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod common;
use common::facts;
use policy::network::*;
use proptest::prelude::*;

/// Other sessions: of the user, of the certificate, of each policy.
struct Others(usize, usize, usize);

impl Usage for Others {
    fn of_user(&self) -> usize {
        self.0
    }

    fn of_certificate(&self) -> usize {
        self.1
    }

    fn of_policy(&self, name: &str) -> usize {
        assert_eq!(name, "p");
        self.2
    }
}

fn user(pattern: &str) -> Conditions {
    Conditions { user: vec![pattern.into()], ..Conditions::default() }
}

fn policy(name: &str, grant: bool, conditions: Conditions, constraints: Constraints) -> Policy {
    Policy { name: name.into(), grant, conditions, constraints, ..Policy::default() }
}

fn certificate() -> Certificate {
    Certificate {
        subject: "CN=pc1, O=Example".into(),
        issuer: "CN=Example CA".into(),
        san: vec!["pc1.example.test".into()],
        eku: vec!["1.3.6.1.5.5.7.3.2".into()],
        template: Some("1.3.6.1.4.1.311.21.8.1.2".into()),
        serial: "0a".into(),
    }
}

/// One line for each rule: policies as (name, disabled, grant, user, allowed method), the user, and who decides with which code.
#[test]
fn the_order_is_that_of_nps() {
    const MSCHAP: &str = "EAP-MSCHAPv2";
    type Line<'a> = (&'a str, bool, bool, &'a str, &'a str);
    type Rule<'a> = (&'a str, &'a [Line<'a>], &'a str, Option<&'a str>, u16);
    let table: [Rule<'_>; 9] = [
        ("no policy at all", &[], "bob", None, 48),
        ("none matches", &[("a", false, true, "ann", MSCHAP)], "bob", None, 48),
        ("the first that matches", &[("a", false, true, "b*", MSCHAP), ("b", false, false, "bob", MSCHAP)], "bob", Some("a"), 0),
        ("deny before grant", &[("a", false, false, "b*", MSCHAP), ("b", false, true, "bob", MSCHAP)], "bob", Some("a"), 65),
        ("a disabled one is none", &[("a", true, false, "*", MSCHAP), ("b", false, true, "*", MSCHAP)], "bob", Some("b"), 0),
        ("what does not match is passed over", &[("a", false, false, "ann", MSCHAP), ("b", false, true, "*", MSCHAP)], "bob", Some("b"), 0),
        ("a constraint is final", &[("a", false, true, "*", "EAP-TLS"), ("b", false, true, "*", MSCHAP)], "bob", Some("a"), 66),
        (
            "constraints of others do not count",
            &[("a", false, true, "ann", "EAP-TLS"), ("b", false, true, "*", MSCHAP)],
            "bob",
            Some("b"),
            0,
        ),
        ("deny needs no constraint", &[("a", false, false, "*", "EAP-TLS")], "bob", Some("a"), 65),
    ];
    for (rule, lines, name, decides, code) in table {
        let policies: Vec<_> = lines
            .iter()
            .map(|&(name, disabled, grant, pattern, method)| {
                let constraints = Constraints { methods: vec![AllowedMethod::Eap(method.into())], ..Constraints::default() };
                Policy { disabled, ..policy(name, grant, user(pattern), constraints) }
            })
            .collect();
        let decision = decide(&policies, &Facts { user: name, ..facts() }, &Alone);
        assert_eq!((decision.policy.as_deref(), decision.reason.code()), (decides, code), "{rule}");
        assert_eq!(decision.granted, code == 0, "{rule}");
        assert!(decision.granted || decision.settings == Settings::default(), "{rule}");
    }
}

#[test]
fn every_constraint_can_fail_and_has_its_number() {
    let night = TimeWindow { days: 0b111_1111, from: 22 * 60, to: 6 * 60 };
    let sessions = |of_user, of_certificate, all| Constraints {
        sessions_per_user: of_user,
        sessions_per_certificate: of_certificate,
        sessions: all,
        ..Constraints::default()
    };
    let none = Constraints::default;
    let shown = certificate();
    let facts = Facts { certificate: Some(&shown), ..facts() };
    for (constraints, code, text) in [
        (
            Constraints { methods: vec![AllowedMethod::Method(Method::Certificate)], ..none() },
            66,
            "allowed_methods wanted certificate, got EAP-MSCHAPv2",
        ),
        (
            Constraints { called_station_id: vec!["203.0.113.*".into()], ..none() },
            69,
            "allowed_called_station_id wanted \"203.0.113.*\", got \"198.51.100.1\"",
        ),
        (Constraints { port_type: vec![15], ..none() }, 70, "allowed_port_type wanted 15, got 5"),
        (Constraints { hours: vec![night], ..none() }, 68, "allowed_hours wanted mon,tue,wed,thu,fri,sat,sun 22:00-06:00, got wed 10:00"),
        (Constraints { cipher_bits: Some(257), ..none() }, 71, "min_cipher_bits wanted 257, got 256"),
        (sessions(Some(1), None, None), 71, "sessions_per_user wanted at most 1, and 1 are up already"),
        (sessions(None, Some(2), None), 71, "sessions_per_certificate wanted at most 2, and 2 are up already"),
        (sessions(None, None, Some(3)), 71, "sessions_max wanted at most 3, and 3 are up already"),
    ] {
        let decision = decide(&[policy("p", true, Conditions::default(), constraints)], &facts, &Others(1, 2, 3));
        assert_eq!((decision.granted, decision.reason.code(), decision.refusal.as_deref()), (false, code, Some(text)));
    }
    let room = Constraints {
        methods: vec![AllowedMethod::Method(Method::Pap), AllowedMethod::Method(Method::Eap)],
        cipher_bits: Some(256),
        ..sessions(Some(2), Some(3), Some(4))
    };
    assert!(decide(&[policy("p", true, Conditions::default(), room)], &facts, &Others(1, 2, 3)).granted);
}

#[test]
fn what_cannot_be_known_keeps_out() {
    let bound = |constraints, facts: &Facts<'_>| decide(&[policy("p", true, Conditions::default(), constraints)], facts, &Alone).granted;
    let per_user = Constraints { sessions_per_user: Some(9), ..Constraints::default() };
    assert!(bound(per_user.clone(), &facts()) && !bound(per_user, &Facts { confirmed: false, ..facts() }));
    assert!(!bound(Constraints { sessions_per_certificate: Some(9), ..Constraints::default() }, &facts()));
    let strong = Constraints { cipher_bits: Some(128), ..Constraints::default() };
    assert!(bound(strong.clone(), &facts()) && !bound(strong, &Facts { cipher_bits: None, ..facts() }));
}

#[test]
fn a_name_that_nobody_has_checked_can_neither_let_in_nor_keep_out() {
    let unproved = Facts { confirmed: false, ..facts() };
    let deny = |conditions| decide(&[policy("p", true, conditions, Constraints::default())], &unproved, &Alone);
    let nested =
        Conditions { any: vec![user("bob"), Conditions { tunnel: vec![Tunnel::Sstp], ..Conditions::default() }], ..Conditions::default() };
    let negated = Conditions { not: vec![user("eve")], ..Conditions::default() };
    for conditions in [user("bob"), user("nobody"), nested, negated, Conditions { all: vec![user("*")], ..Conditions::default() }] {
        let decision = deny(conditions);
        assert_eq!((decision.granted, decision.policy.as_deref()), (false, Some("p")));
        assert!(decision.refusal.unwrap().contains("nobody has checked"));
    }
    // Where another condition decides, the name does not matter.
    assert_eq!(deny(Conditions { tunnel: vec![Tunnel::Sstp], ..user("bob") }).policy, None);
    let either =
        Conditions { any: vec![user("bob"), Conditions { tunnel: vec![Tunnel::Ikev2], ..Conditions::default() }], ..Conditions::default() };
    assert!(deny(either).granted);
}

#[test]
fn a_computer_that_only_an_unchecked_name_speaks_of_can_neither_let_in_nor_keep_out() {
    let machine = |pattern: &str| Conditions { machine: vec![pattern.into()], ..Conditions::default() };
    let unproved = Facts { confirmed: false, user: "host/pc1.example.test", ..facts() };
    let not = Conditions { not: vec![machine("*")], ..Conditions::default() };
    for (conditions, grant) in [(machine("pc1*"), true), (machine("pc1*"), false), (not.clone(), true)] {
        let policies =
            [policy("p", grant, conditions, Constraints::default()), policy("all", true, Conditions::default(), Constraints::default())];
        let decision = decide(&policies, &unproved, &Alone);
        assert_eq!((decision.granted, decision.policy.as_deref()), (false, Some("p")));
    }
    // A certificate names the computer, whatever the name says; and a checked name that is none of a computer.
    let known = Facts { machine: Some("pc1.example.test"), ..unproved };
    let decided = |conditions, facts: &Facts<'_>| decide(&[policy("p", true, conditions, Constraints::default())], facts, &Alone).granted;
    assert!(decided(machine("pc1*"), &known) && !decided(not.clone(), &known));
    assert!(!decided(machine("pc1*"), &facts()) && decided(not, &facts()));
}

#[test]
fn a_certificate_that_could_not_be_seen_can_neither_let_in_nor_be_passed_over() {
    let wanted = |list: fn(&mut Conditions) -> &mut Vec<String>| {
        let mut conditions = Conditions::default();
        list(&mut conditions).push("*".into());
        conditions
    };
    let hidden = Facts { certificate_hidden: true, ..facts() };
    for one in [
        wanted(|of| &mut of.certificate_subject),
        wanted(|of| &mut of.certificate_issuer),
        wanted(|of| &mut of.certificate_san),
        wanted(|of| &mut of.certificate_eku),
        wanted(|of| &mut of.certificate_template),
    ] {
        let not = Conditions { not: vec![one.clone()], ..Conditions::default() };
        let any = Conditions { any: vec![one.clone()], ..Conditions::default() };
        let deep = Conditions { all: vec![not.clone()], ..Conditions::default() };
        for (conditions, grant) in [(one.clone(), true), (one.clone(), false), (not.clone(), true), (any, false), (deep, true)] {
            let everybody = policy("all", true, Conditions::default(), Constraints::default());
            let policies = [policy("p", grant, conditions, Constraints::default()), everybody];
            let decision = decide(&policies, &hidden, &Alone);
            assert_eq!((decision.granted, decision.policy.as_deref()), (false, Some("p")));
            assert_eq!((decision.unproved, decision.reason.code()), (Some(Unproved::Certificate), 48));
        }
        // Where another condition decides, the certificate does not matter; and where there is none, all is known.
        let elsewhere = Conditions { tunnel: vec![Tunnel::Sstp], ..one.clone() };
        assert_eq!(decide(&[policy("p", false, elsewhere, Constraints::default())], &hidden, &Alone).policy, None);
        let decided = |conditions| decide(&[policy("p", true, conditions, Constraints::default())], &facts(), &Alone).granted;
        assert!(!decided(one) && decided(not));
    }
}

#[test]
fn every_condition_of_the_wire_matches_and_fails() {
    let shown = certificate();
    let reply = [("Tunnel-Private-Group-Id".to_owned(), "20".to_owned()), ("Class".to_owned(), "staff".to_owned())];
    let facts = Facts { certificate: Some(&shown), machine: Some("pc1.example.test"), reply: &reply, ..facts() };
    let none = Conditions::default;
    let texts = |text: &str| vec![text.to_owned()];
    let attribute = |name: &str, value: &str| vec![Attribute { name: name.into(), value: value.into() }];
    let range = |text: &str| vec![AddressRange { start: text.parse().unwrap(), end: text.parse().unwrap() }];
    for (good, bad) in [
        (Conditions { eap_type: texts("eap-mschapv2"), ..none() }, Conditions { eap_type: texts("PEAP"), ..none() }),
        (Conditions { machine: texts("*.example.test"), ..none() }, Conditions { machine: texts("pc2*"), ..none() }),
        (Conditions { gateway: range("198.51.100.1"), ..none() }, Conditions { gateway: range("198.51.100.2"), ..none() }),
        (Conditions { calling_station_id: texts("192.0.2.*"), ..none() }, Conditions { calling_station_id: texts("10.*"), ..none() }),
        (Conditions { called_station_id: texts("198.*"), ..none() }, Conditions { called_station_id: texts("192.*"), ..none() }),
        (Conditions { port_type: vec![5], ..none() }, Conditions { port_type: vec![15, 19], ..none() }),
        (Conditions { listener: texts("main"), ..none() }, Conditions { listener: texts("guest"), ..none() }),
        (
            Conditions { certificate_subject: texts("*O=Example*"), ..none() },
            Conditions { certificate_subject: texts("CN=pc2*"), ..none() },
        ),
        (
            Conditions { certificate_issuer: texts("CN=Example CA"), ..none() },
            Conditions { certificate_issuer: texts("CN=Other"), ..none() },
        ),
        (Conditions { certificate_san: texts("pc?.example.test"), ..none() }, Conditions { certificate_san: texts("pc2*"), ..none() }),
        (
            Conditions { certificate_eku: texts("1.3.6.1.5.5.7.3.2"), ..none() },
            Conditions { certificate_eku: texts("1.3.6.1.5.5.7.3.1"), ..none() },
        ),
        (
            Conditions { certificate_template: texts("1.3.6.1.4.1.311.21.8.*"), ..none() },
            Conditions { certificate_template: texts("1.3.6.1.4.1.311.21.9.*"), ..none() },
        ),
        (
            Conditions { reply: attribute("tunnel-private-group-id", "2?"), ..none() },
            Conditions { reply: attribute("Tunnel-Private-Group-Id", "staff"), ..none() },
        ),
    ] {
        let matches = |conditions| decide(&[policy("p", true, conditions, Constraints::default())], &facts, &Alone).granted;
        let words = (good.words(), bad.words());
        assert!(matches(good.clone()), "{words:?}");
        assert!(!matches(bad.clone()), "{words:?}");
        // Groups of one are what is in them.
        assert!(matches(Conditions { any: vec![good.clone()], all: vec![good.clone()], not: vec![bad.clone()], ..none() }), "{words:?}");
        assert!(matches(Conditions { any: vec![bad.clone(), good.clone()], ..none() }), "{words:?}");
        assert!(!matches(Conditions { all: vec![good.clone(), bad.clone()], ..none() }), "{words:?}");
        assert!(!matches(Conditions { not: vec![good], ..none() }), "{words:?}");
        assert!(!matches(Conditions { any: vec![bad], ..none() }), "{words:?}");
    }
    let blind = Facts { certificate: None, ..facts };
    let issuer = Conditions { certificate_issuer: texts("*"), ..none() };
    assert!(!decide(&[policy("p", true, issuer, Constraints::default())], &blind, &Alone).granted, "no certificate has no issuer");
}

#[test]
fn nested_reasons_say_where_they_fail() {
    let sstp = || Conditions { tunnel: vec![Tunnel::Sstp], ..Conditions::default() };
    let reason =
        |conditions| decide(&[policy("p", true, conditions, Constraints::default())], &facts(), &Alone).passed_over.remove(0).reason;
    assert_eq!(
        reason(Conditions { any: vec![sstp(), user("ann")], ..Conditions::default() }),
        "any: tunnel wanted sstp, got ikev2; user wanted \"ann\", got \"bob\""
    );
    assert_eq!(reason(Conditions { not: vec![user("b*")], ..Conditions::default() }), "not: user b* matches");
    let deep = (0..100).fold(user(&"x".repeat(1_000)), |inner, _| Conditions { any: vec![inner], ..Conditions::default() });
    assert!(reason(deep).len() < 600);
}

#[test]
fn allowed_hours_tell_how_long_they_last() {
    let window = |days, from, to| TimeWindow { days, from, to };
    let open = |hours: Vec<TimeWindow>, weekday, minute| {
        let constraints = Constraints { hours, ..Constraints::default() };
        let facts = Facts { time: LocalTime { weekday, minute }, ..facts() };
        let decision = decide(&[policy("p", true, Conditions::default(), constraints)], &facts, &Alone);
        decision.granted.then_some(decision.open_for)
    };
    let office = || vec![window(0b001_1111, 480, 1_080)];
    assert_eq!(open(office(), 0, 480), Some(Some(600)));
    assert_eq!(open(office(), 0, 1_079), Some(Some(1)));
    assert_eq!(open(office(), 0, 1_080), None);
    // Over midnight, into a window of the next day, and on from there.
    assert_eq!(open(vec![window(1, 1_320, 360), window(2, 300, 720)], 0, 1_380), Some(Some(60 + 720)));
    assert_eq!(open(vec![window(0b111_1111, 0, 1_440)], 3, 7), Some(None));
    assert_eq!(open(Vec::new(), 3, 7), Some(None));
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let windows =
        proptest::collection::vec((0u8..128, 0u16..1440, 0u16..=1440).prop_map(|(days, from, to)| TimeWindow { days, from, to }), 0..2);
    let texts = || proptest::collection::vec("[bo*?]{0,3}", 0..2);
    let leaf = (proptest::option::of(any::<bool>()), texts(), texts(), windows).prop_map(|(sstp, user, listener, time)| Conditions {
        tunnel: sstp.map(|sstp| if sstp { Tunnel::Sstp } else { Tunnel::Ikev2 }).into_iter().collect(),
        user,
        listener,
        time,
        ..Conditions::default()
    });
    leaf.prop_recursive(3, 24, 3, |inner| {
        let groups = || proptest::collection::vec(inner.clone(), 0..3);
        (inner.clone(), groups(), groups(), groups()).prop_map(|(own, any, all, not)| Conditions { any, all, not, ..own })
    })
}

/// The meaning of conditions for a name that was checked, without thought of reasons.
fn holds(conditions: &Conditions, facts: &Facts<'_>) -> bool {
    let fits = |patterns: &[String], text: &str| patterns.is_empty() || patterns.iter().any(|pattern| policy::glob::matches(pattern, text));
    (conditions.tunnel.is_empty() || conditions.tunnel.contains(&facts.tunnel))
        && fits(&conditions.user, facts.user)
        && fits(&conditions.listener, facts.listener)
        && (conditions.time.is_empty() || conditions.time.iter().any(|window| window.contains(facts.time)))
        && conditions.all.iter().all(|group| holds(group, facts))
        && (conditions.any.is_empty() || conditions.any.iter().any(|group| holds(group, facts)))
        && !conditions.not.iter().any(|group| holds(group, facts))
}

proptest! {
    /// Whatever is configured: the first enabled policy that holds decides, by its permission; nobody else does; where there is none, the answer is no.
    #[test]
    fn the_first_that_holds_decides(
        drawn in proptest::collection::vec((conditions(), any::<bool>(), any::<bool>()), 0..6),
        weekday in 0u8..7,
        minute in 0u16..1440,
    ) {
        let policies: Vec<_> = drawn
            .into_iter()
            .enumerate()
            .map(|(at, (conditions, grant, disabled))| Policy { disabled, ..policy(&at.to_string(), grant, conditions, Constraints::default()) })
            .collect();
        let facts = Facts { time: LocalTime { weekday, minute }, ..facts() };
        let first = policies.iter().position(|policy| !policy.disabled && holds(&policy.conditions, &facts));
        let decision = decide(&policies, &facts, &Alone);
        prop_assert_eq!(decision.policy.as_deref(), first.map(|at| policies[at].name.as_str()));
        prop_assert_eq!(decision.granted, first.is_some_and(|at| policies[at].grant));
        prop_assert_eq!(decision.passed_over.len(), first.unwrap_or(policies.len()));
        // Without a checked name nobody comes in who would not with it.
        let unproved = decide(&policies, &Facts { confirmed: false, ..facts }, &Alone);
        prop_assert!(!unproved.granted || decision.granted);
    }

    /// The hours end at the first minute that is in none of them.
    #[test]
    fn allowed_hours_agree_with_walking(
        drawn in proptest::collection::vec((0u8..128, 0u16..1440, 0u16..=1440), 1..4),
        weekday in 0u8..7,
        minute in 0u16..1440,
    ) {
        let hours: Vec<_> = drawn.into_iter().map(|(days, from, to)| TimeWindow { days, from, to }).collect();
        let at = |later: u32| {
            let of_week = (u32::from(weekday) * 1440 + u32::from(minute) + later) % (7 * 1440);
            LocalTime { weekday: (of_week / 1440) as u8, minute: (of_week % 1440) as u16 }
        };
        let walked = (0..7 * 1440).find(|later| !hours.iter().any(|window| window.contains(at(*later))));
        let constraints = Constraints { hours, ..Constraints::default() };
        let decision = decide(&[policy("p", true, Conditions::default(), constraints)], &Facts { time: at(0), ..facts() }, &Alone);
        prop_assert_eq!(decision.granted, walked != Some(0));
        prop_assert_eq!(decision.open_for, walked.filter(|later| *later > 0));
    }
}
