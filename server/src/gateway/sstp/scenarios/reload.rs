//! Other rules while calls are up.
use super::*;
use crate::api::types::Verdict;
use crate::gateway::{NamedLeaf, Rules};

const EVERYBODY: &[(&str, &str, bool)] = &[("everybody", "*", true)];

/// The rules that the world has, but for its policies: name, user, granted.
fn rules(world: &World, policies: &[(&str, &str, bool)]) -> Rules {
    let model = World::empty(10, policies);
    let ipv4 = vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))];
    Rules {
        policies: model.gateway.authority.policies,
        filters: Vec::new(),
        pools: vec![PoolConfig { name: "users".into(), ipv4, ipv6: Vec::new() }],
        zone: jiff::tz::TimeZone::UTC,
        settings: world.gateway.settings.clone(),
    }
}

fn two_calls() -> World {
    let mut world = World::empty(10, EVERYBODY);
    world.bring_up(1);
    world.bring_up(2);
    world
}

#[test]
fn whom_other_policies_refuse_is_known_and_stays_until_it_is_asked_to_leave() {
    let mut world = two_calls();
    assert!(world.gateway.judge_all(world.now).is_empty());
    let rules = rules(&world, &[("not u2", "u2", false), ("everybody", "*", true)]);
    world.gateway.reconfigure(world.now, rules).unwrap();
    let judged = world.gateway.judge_all(world.now);
    let seen: Vec<_> = judged.iter().map(|judged| (judged.user.as_str(), judged.policy.as_str(), judged.verdict)).collect();
    assert_eq!(seen, [("u2", "everybody", Verdict::Refused)]);
    assert!(judged[0].cause.contains("\"not u2\" denies"), "{}", judged[0].cause);
    assert_eq!(world.gateway.summary().sessions, 2);
    assert_eq!(world.gateway.end_refused(world.now), [judged[0].id]);
    let attempt = world.gateway.attempts.find(&judged[0].attempt).unwrap();
    assert!(attempt.timeline.iter().any(|(_, line)| line.contains("the policies refuse it now")), "{:?}", attempt.timeline);
}

#[test]
fn other_policies_and_other_settings_are_told_apart() {
    let mut world = two_calls();
    let mut rules = rules(&world, &[("one", "u1", true), ("everybody", "*", true)]);
    rules.policies[1].settings.session_timeout = Some(Duration::from_secs(60));
    world.gateway.reconfigure(world.now, rules).unwrap();
    let judged = world.gateway.judge_all(world.now);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Otherwise));
    let causes: Vec<_> = judged.iter().map(|judged| judged.cause.as_str()).collect();
    assert_eq!(causes, ["policy \"one\" decides", "the same policy gives it other settings: session_timeout"]);
    // It is a matter of the next login.
    assert!(world.gateway.deadlines.is_empty());
    assert!(world.gateway.end_refused(world.now).is_empty());
}

/// A session of each tunnel type, of `u1` and `u2`, that was let in three minutes ago.
fn one_of_each() -> World {
    let mut world = World::empty(10, EVERYBODY);
    world.bring_up(1);
    assert!(world.login(102, &Caller { user: "u2", ..Caller::default() }, &Accept::default()));
    world.gateway.established(world.now, SessionId(102), vec![]);
    world.pass(180);
    world
}

fn filter(name: &str) -> Arc<policy::filter::Filter> {
    Arc::new(policy::filter::Filter::parse(name, ["deny in ip from any to any"], [None; 2]).unwrap())
}

#[test]
fn what_takes_no_other_login_is_applied_to_sessions_when_asked() {
    let mut world = one_of_each();
    let mut fresh = rules(&world, EVERYBODY);
    let settings = &mut fresh.policies[0].settings;
    settings.filters = vec![filter("tight")];
    (settings.session_timeout, settings.rate_limit_in) = (Some(Duration::from_secs(60)), Some(8_000));
    settings.dns = vec![IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1))];
    world.gateway.reconfigure(world.now, fresh).unwrap();
    world.gateway.plane.restricted.clear();
    let ids = world.gateway.judge_all(world.now).into_iter().map(|judged| judged.id).collect::<Vec<_>>();
    assert_eq!(ids.len(), 2);
    let applied = world.gateway.apply_to_sessions(world.now);
    assert_eq!((&applied.given, applied.ended.len()), (&ids, 0));
    let words: Vec<_> = world.gateway.plane.restricted.iter().map(crate::restrictions::words).collect();
    assert_eq!(words, ["filters tight; from the client at most 8000 bit/s"; 2]);
    // What the clients were told is still another one, and is not passed over in silence.
    let judged = world.gateway.judge_all(world.now);
    assert!(judged.iter().all(|judged| judged.only_login == ["dns"] && judged.cause.ends_with("other settings: dns")), "{judged:?}");
    assert_eq!(world.gateway.apply_to_sessions(world.now), crate::gateway::Applied::default(), "there is nothing left to apply");
    let attempt = world.gateway.attempts.find(&judged[0].attempt).unwrap();
    assert!(attempt.timeline.iter().any(|(_, line)| line.contains("filters tight")), "{:?}", attempt.timeline);
    // The new limit begins with the order.
    world.pass(59);
    assert_eq!((world.gateway.deadlines.len(), world.gateway.plane.held), (2, 0));
    world.pass(2);
    assert_eq!((world.gateway.deadlines.len(), world.gateway.plane.held), (0, 1));
}

#[test]
fn sessions_that_would_have_other_addresses_or_selectors_keep_all_that_they_have() {
    let portal = AddressRange { start: Ipv4Addr::new(10, 9, 0, 1).into(), end: Ipv4Addr::new(10, 9, 0, 1).into() };
    type Change = fn(&mut policy::network::Settings, AddressRange);
    let cases: [(&str, Change); 3] = [
        ("selectors", |settings, portal| settings.selectors = vec![portal]),
        ("pool", |settings, _| settings.pool = Some("other".into())),
        ("address", |settings, _| settings.ipv4 = Some(Ipv4Addr::new(10, 0, 0, 9))),
    ];
    for (key, change) in cases {
        let mut world = one_of_each();
        let mut fresh = rules(&world, &[("nobody", "u2", false), ("others", "*", true)]);
        let settings = &mut fresh.policies[1].settings;
        settings.filters = vec![filter("tight")];
        change(settings, portal);
        world.gateway.reconfigure(world.now, fresh).unwrap();
        world.gateway.plane.restricted.clear();
        let judged = world.gateway.judge_all(world.now);
        let seen: Vec<_> = judged.iter().map(|judged| (judged.verdict, judged.only_login.clone())).collect();
        assert_eq!(seen, [(Verdict::Otherwise, vec![key.to_owned()]), (Verdict::Refused, vec![])]);
        assert_eq!(world.gateway.apply_to_sessions(world.now), crate::gateway::Applied::default());
        assert!(world.gateway.plane.restricted.is_empty(), "{key}");
        assert_eq!(world.gateway.judge_all(world.now), judged, "both are still there");
    }
}

#[test]
fn other_hours_are_another_setting() {
    let mut world = one_of_each();
    let mut fresh = rules(&world, EVERYBODY);
    fresh.policies[0].constraints.hours = vec![policy::network::TimeWindow { days: 0x7f, from: 0, to: 600 }];
    world.gateway.reconfigure(world.now, fresh).unwrap();
    let judged = world.gateway.judge_all(world.now);
    assert!(judged.iter().all(|judged| judged.cause.ends_with("other settings: allowed_hours")) && judged.len() == 2, "{judged:?}");
    assert_eq!(world.gateway.apply_to_sessions(world.now).given.len(), 2);
    assert!(world.gateway.judge_all(world.now).is_empty() && !world.gateway.deadlines.is_empty());
}

#[test]
fn a_lease_outlives_its_pool_and_is_given_to_nobody_else() {
    let mut world = two_calls();
    let leases = world.gateway.leases();
    let mut other = rules(&world, EVERYBODY);
    other.pools =
        vec![PoolConfig { name: "new".into(), ipv4: vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 3))], ipv6: Vec::new() }];
    other.policies[0].settings.pool = Some("new".into());
    world.gateway.reconfigure(world.now, other).unwrap();
    world.bring_up(3);
    assert_eq!(world.gateway.leases()[..2], leases);
    let third = &world.gateway.leases()[2].1;
    assert_eq!(third, &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3))]);
    let wrong = Rules { pools: vec![PoolConfig { name: "empty".into(), ipv4: Vec::new(), ipv6: Vec::new() }], ..rules(&world, &[]) };
    assert!(world.gateway.reconfigure(world.now, wrong).is_err());
    assert!(!world.gateway.authority.policies.is_empty(), "half of a wrong configuration was taken");
}

#[test]
fn who_is_asked_by_default_stays_for_a_conversation_under_way() {
    let mut world = World::empty(10, EVERYBODY);
    world.gateway.settings.default_group = Some("local".into());
    let groups = |world: &mut World| {
        let mut groups = Vec::new();
        while let Some(effect) = world.gateway.poll_effect() {
            if let Effect::Radius(Input::Eap { group, .. }) = effect {
                groups.push(group);
            }
        }
        groups
    };
    world.dial(&[AuthProtocol::Eap]);
    world.packet(&Message::CallConnectRequest.encode());
    world.lcp();
    world.ppp(0xc227, 2, 0, b"\x01alice");
    assert_eq!(groups(&mut world), [Some("local".to_owned())]);
    let mut rules = rules(&world, EVERYBODY);
    rules.settings.default_group = None;
    world.gateway.reconfigure(world.now, rules).unwrap();
    let request = eap::build(eap::Code::Request, 1, eap::method::MD5, &[0]);
    world.gateway.authenticated(world.now, Ticket(1), EapOutcome::Challenge { server: "local".into(), eap: request });
    world.ppp(0xc227, 2, 1, &[4, 0]);
    assert_eq!(groups(&mut world), [Some("local".to_owned())]);
}

#[test]
fn a_policy_under_another_name_counts_its_sessions() {
    let mut world = World::empty(10, EVERYBODY);
    let with_bound = |world: &World, policies: &[(&str, &str, bool)]| {
        let mut rules = rules(world, policies);
        rules.policies[0].constraints.sessions = Some(2);
        rules
    };
    world.gateway.reconfigure(world.now, with_bound(&world, EVERYBODY)).unwrap();
    let caller = |user| Caller { user, ..Caller::default() };
    assert!(world.login(1, &caller("u1"), &Accept::default()) && world.login(2, &caller("u2"), &Accept::default()));
    world.gateway.established(world.now, SessionId(1), vec![]);
    let renamed = with_bound(&world, &[("all staff", "*", true)]);
    assert!(world.gateway.judge_by(world.now, &renamed).is_empty(), "the same policy decides");
    world.gateway.reconfigure(world.now, renamed).unwrap();
    assert!(world.gateway.left_behind().is_empty() && world.gateway.judge_all(world.now).is_empty());
    assert!(!world.login(3, &caller("u3"), &Accept::default()), "two are in");
    assert_eq!(world.gateway.session(world.now, SessionId(1)).unwrap().policy, "all staff");
    // Another policy is another one, whatever it is called.
    let mut other = with_bound(&world, &[("others", "*", true)]);
    other.policies[0].settings.session_timeout = Some(Duration::from_secs(60));
    world.gateway.reconfigure(world.now, other).unwrap();
    assert_eq!(world.gateway.left_behind(), [("all staff".to_owned(), 2)]);
    assert!(world.login(4, &caller("u4"), &Accept::default()));
}

#[test]
fn of_two_policies_that_are_alike_nobody_knows_which_was_renamed() {
    let mut world = World::empty(10, &[("a", "*", true), ("b", "*", true)]);
    assert!(world.login(1, &Caller::default(), &Accept::default()));
    let rules = rules(&world, &[("c", "*", true), ("d", "*", true)]);
    world.gateway.reconfigure(world.now, rules).unwrap();
    assert_eq!(world.gateway.left_behind(), [("a".to_owned(), 1)]);
}

/// Certificates by their names, each with the text that stands for its leaf.
fn leaves(named: &[(&str, &str)]) -> Vec<NamedLeaf> {
    named.iter().map(|(name, leaf)| NamedLeaf { name: (*name).into(), der: leaf.as_bytes().to_vec() }).collect()
}

#[test]
fn a_certificate_under_another_name_is_the_one_that_clients_were_shown() {
    let mut world = World::empty(10, EVERYBODY);
    let with = |world: &World, policy: &str, wanted: &str, named: &[(&str, &str)]| {
        let mut rules = rules(world, &[(policy, "*", true)]);
        rules.policies[0].certificate = Some(wanted.into());
        rules.settings.certificates = leaves(named);
        rules
    };
    world.bring_up(1);
    let shown = pki::Selection {
        index: 0,
        name: "ours".into(),
        leaf: b"x".to_vec(),
        rule: None,
        is_made_out: true,
        why: "the only one".into(),
        passed_over: Vec::new(),
        remarks: Vec::new(),
        policy: None,
        tied: None,
    };
    world.gateway.live.values_mut().for_each(|live| {
        live.presented = Some(crate::gateway::Presented { subject: "CN=x".into(), selection: Some(shown.clone()) });
    });
    let before = with(&world, "everybody", "ours", &[("ours", "x"), ("others", "y")]);
    world.gateway.reconfigure(world.now, before).unwrap();
    assert!(world.gateway.judge_all(world.now).is_empty());
    // The other one has its name now, and the policy another one too.
    let swapped = with(&world, "staff", "first", &[("first", "x"), ("ours", "y")]);
    assert_eq!(world.gateway.judge_by(world.now, &swapped), []);
    world.gateway.reconfigure(world.now, swapped).unwrap();
    assert_eq!(world.gateway.judge_all(world.now), []);
    assert!(world.gateway.end_refused(world.now).is_empty());
    let session = world.gateway.session(world.now, SessionId(1)).unwrap();
    assert_eq!((session.certificate.as_deref(), session.policy.as_str()), (Some("first"), "staff"));
    // A renewed certificate has the name of the one before.
    let renewed = with(&world, "staff", "first", &[("first", "z"), ("ours", "y")]);
    world.gateway.reconfigure(world.now, renewed).unwrap();
    assert!(world.gateway.judge_all(world.now).is_empty());
    // Who was shown another one than the policy wants is refused, by whatever name that one went before.
    let other = with(&world, "staff", "ours", &[("first", "z"), ("ours", "y")]);
    assert!(world.gateway.judge_by(world.now, &other).iter().all(|judged| judged.verdict == Verdict::Refused));
    world.gateway.reconfigure(world.now, other).unwrap();
    assert_eq!(world.gateway.end_refused(world.now).len(), 1);
}

/// Sessions may outlive the listener for IKEv2 that they came by.
#[test]
fn without_a_listener_for_ikev2_its_last_settings_hold() {
    let mut world = two_calls();
    let mut seen = |listener: &str, tunnel_type, last| {
        let mut rules = rules(&world, EVERYBODY);
        rules.settings.ikev2_listener = listener.to_owned();
        rules.settings.ikev2_tunnel_type = tunnel_type;
        rules.settings.inner.ipv4 = Ipv4Addr::new(192, 0, 2, last);
        world.gateway.reconfigure(world.now, rules).unwrap();
        let Settings { ikev2_listener, ikev2_tunnel_type, inner, .. } = &world.gateway.settings;
        (ikev2_listener.clone(), *ikev2_tunnel_type, inner.ipv4.octets()[3])
    };
    assert_eq!(seen("vpn", 9, 1), ("vpn".into(), 9, 1));
    assert_eq!(seen("", 13, 2), ("vpn".into(), 9, 1));
    assert_eq!(seen("other", 13, 2), ("other".into(), 13, 2));
}
