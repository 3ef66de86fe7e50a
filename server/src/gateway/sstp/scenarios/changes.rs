//! Sessions that RADIUS changes while they run (RFC 5176).
use super::*;
use crate::accounting;
use policy::filter::Filter;
use policy::network::{Attribute, Settings as Granting};
use radius_client::dynamic::{Action, Changes, DynamicRequest, ErrorCause, Identification};

/// A CoA-Request for the session of `u1`.
fn change(world: &mut World, changes: Changes) -> Result<(), ErrorCause> {
    let sessions = vec![Identification::UserName("u1".into())];
    world.gateway.dynamic(world.now, &DynamicRequest { client: "portal".into(), action: Action::Change(Box::new(changes)), sessions })
}

fn classes(class: &[&str]) -> Changes {
    Changes { class: Some(class.iter().map(|class| class.as_bytes().to_vec()).collect()), ..Changes::default() }
}

fn reply(name: &str, value: &str) -> Conditions {
    Conditions { reply: vec![Attribute { name: name.into(), value: value.into() }], ..Conditions::default() }
}

fn session(world: &World) -> &crate::gateway::Session {
    world.gateway.live[&world.session].session.as_ref().unwrap()
}

/// Servers tell sessions apart by the NAS's address, among others: a session has one from its Start to its Stop, and the client may be named by the address that
/// it logged in from and by the one it has.
#[test]
fn a_client_that_moves_stays_the_same_session_for_servers() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    world.gateway.settings.accounting = Some(accounting::Settings::default());
    let (now, session) = (world.now, SessionId(101));
    assert!(world.login(101, &Caller::default(), &Accept { chargeable_user_identity: Some(vec![0xff, 7]), ..Accept::default() }));
    world.gateway.established(now, session, Vec::new());
    let before = world.gateway.live[&session].path;
    let moved = Path { local: "[2001:db8::1]:4500".parse().unwrap(), remote: "[2001:db8::99]:4500".parse().unwrap(), ..before };
    for path in [moved, before, moved] {
        world.gateway.observe(now, session, ike::Event::Moved(path));
    }
    for station in ["192.0.2.2", "2001:db8::99"] {
        let sessions = vec![Identification::CallingStationId(station.into()), Identification::ChargeableUserIdentity(vec![0xff, 7])];
        let request = DynamicRequest { client: "portal".into(), action: Action::Change(Box::new(classes(&["x"]))), sessions };
        assert_eq!(world.gateway.dynamic(now, &request), Ok(()), "{station}");
    }
    world.gateway.closed(now, session, CloseReason::Operator, None);
    let records = std::iter::from_fn(|| world.gateway.poll_effect()).filter_map(|effect| match effect {
        Effect::Account(event) => match *event {
            accounting::Event::Start { record, .. }
            | accounting::Event::Interim { record, .. }
            | accounting::Event::Stop { record, .. } => Some(record),
            _ => None,
        },
        _ => None,
    });
    let records: Vec<_> = records.collect();
    let told: Vec<_> = records.iter().map(|record| (record.status as u32, record.nas.calling_station_id.as_str())).collect();
    assert_eq!(told, [(1, "192.0.2.2"), (3, "2001:db8::99"), (2, "2001:db8::99")], "one Interim-Update for three moves at once");
    for record in &records {
        assert_eq!((record.nas.nas_ip, record.nas.called_station_id.as_str()), (Some(before.local.ip()), "192.0.2.1"));
        assert_eq!(record.chargeable_user_identity, Some(vec![0xff, 7]));
    }
}

#[test]
fn a_termination_action_that_cannot_be_kept_is_on_record() {
    let mut world = World::empty(3, &[("all", "*", true)]);
    for (number, tunnel, seconds, why) in [
        (101, Tunnel::Sstp, 600, Some("no way to authenticate anew")),
        (102, Tunnel::Ikev2, 100, Some("takes a session of at least 120 s")),
        (103, Tunnel::Ikev2, 600, None),
    ] {
        let accept = Accept { renew: true, session_timeout: Some(Duration::from_secs(seconds)), ..Accept::default() };
        assert!(world.login(number, &Caller { tunnel, ..Caller::default() }, &accept));
        let attempt = world.gateway.live[&SessionId(number)].attempt;
        let record = format!("{:?}", world.gateway.attempts.get(attempt).unwrap());
        assert_eq!(record.contains("Termination-Action RADIUS-Request cannot be kept"), why.is_some(), "{record}");
        assert!(record.contains(why.unwrap_or_default()), "{record}");
    }
}

/// What a client may reach is settled with its tunnel: a change that would have to be another there is no change that is made on paper alone.
#[test]
fn a_change_to_a_policy_with_other_selectors_ends_the_session() {
    let everything = Vec::new();
    let portal = vec![AddressRange { start: Ipv4Addr::new(10, 9, 0, 1).into(), end: Ipv4Addr::new(10, 9, 0, 1).into() }];
    for (selectors, ends) in [(everything, false), (portal, true)] {
        let mut world = World::empty(2, &[("all", "*", true)]);
        world.bring_up(1);
        let conditions = Conditions { filter_id: vec!["quarantine".into()], ..Conditions::default() };
        let settings = policy::network::Settings { pool: Some("users".into()), selectors, ..Default::default() };
        world
            .gateway
            .authority
            .policies
            .insert(0, Policy { name: "quarantine".into(), grant: true, conditions, settings, ..Policy::default() });
        change(&mut world, Changes { filter_id: Some(vec!["quarantine".into()]), ..Changes::default() }).unwrap();
        assert_eq!(world.gateway.plane.held > 0, ends);
    }
}

/// A filter is in force before packets flow, a CoA puts another in its place, and one that is not there changes nothing.
#[test]
fn a_change_of_filter_id_changes_the_filters() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    let filter = |name: &str| std::sync::Arc::new(Filter::parse(name, ["deny in ip from any to any"], [None; 2]).unwrap());
    let settings = &mut world.gateway.authority.policies[0].settings;
    (settings.filters, settings.rate_limit_out) = (vec![filter("always")], Some(8_000));
    world.gateway.authority.filters = vec![filter("always"), filter("tight")];
    world.bring_up(1);
    let change = |world: &mut World, id: &str| change(world, Changes { filter_id: Some(vec![id.into()]), ..Changes::default() });
    let names = |world: &World| {
        let latest = world.gateway.plane.restricted.last().unwrap();
        assert_eq!(latest.rate_out.unwrap().bits_per_second, 8_000);
        latest.filters.iter().map(|filter| filter.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!((names(&world), world.gateway.plane.restricted.len()), (vec!["always".to_owned()], 1));
    assert_eq!(change(&mut world, "loose"), Err(ErrorCause::InvalidAttributeValue));
    assert_eq!((world.gateway.plane.restricted.len(), world.gateway.plane.held), (1, 0));
    change(&mut world, "tight.out").unwrap();
    assert_eq!((names(&world), world.gateway.plane.held), (vec!["always".to_owned(), "tight.out".to_owned()], 0));
}

/// Filters and rates of RADIUS change for all sessions that a request names, or for none.
#[test]
fn a_change_of_filters_and_rates_is_whole() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    let rules = |text: &str| Some(vec![text.as_bytes().to_vec()]);
    let caller = Caller { user: "u1", ..Caller::default() };
    let ignoring = radius_client::ReplyFilters { ignored: true, ..radius_client::ReplyFilters::default() };
    for (number, filters) in [(101, radius_client::ReplyFilters::default()), (102, ignoring)] {
        assert!(world.login(number, &caller, &Accept { filters, ..Accept::default() }));
        world.gateway.established(world.now, SessionId(number), Vec::new());
    }
    let latest = |world: &World| crate::restrictions::words(world.gateway.plane.restricted.last().unwrap());
    let rate = Changes { bandwidth_up: Some(Some(64_000)), ..Changes::default() };
    change(&mut world, rate.clone()).unwrap();
    assert_eq!((latest(&world), world.gateway.plane.restricted.len()), ("from the client at most 64000 bit/s".to_owned(), 4));
    for (changes, cause) in [
        (Changes { rules: rules("deny in ip from any to moon"), bandwidth_up: Some(None), ..rate }, ErrorCause::InvalidAttributeValue),
        // One of the two does not apply filters.
        (Changes { rules: rules("deny in ip from any to any"), ..Changes::default() }, ErrorCause::UnsupportedAttribute),
        (Changes { ms_filter: Some(vec![1]), session_timeout: Some(None), ..Changes::default() }, ErrorCause::InvalidAttributeValue),
    ] {
        assert_eq!(change(&mut world, changes), Err(cause));
        assert_eq!(world.gateway.plane.restricted.len(), 4, "nothing is half applied");
    }
    world.gateway.closed(world.now, SessionId(102), CloseReason::PeerDeleted, None);
    change(&mut world, Changes { rules: rules("deny in ip from any to any"), ..Changes::default() }).unwrap();
    assert_eq!(latest(&world), "filters NAS-Filter-Rule; from the client at most 64000 bit/s");
}

/// Acct-Interim-Interval of an Access-Accept goes before the gateway's own.
#[test]
fn interim_updates_come_as_often_as_radius_says() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    let own = Duration::from_secs(6000);
    world.gateway.settings.accounting = Some(accounting::Settings { interim_interval: Some(own), ..accounting::Settings::default() });
    for (number, said) in [(101, Some(Duration::from_secs(120))), (102, None)] {
        assert!(world.login(number, &Caller::default(), &Accept { acct_interim_interval: said, ..Accept::default() }));
        world.gateway.established(world.now, SessionId(number), Vec::new());
    }
    world.pass(140);
    let interims = std::iter::from_fn(|| world.gateway.poll_effect()).filter_map(|effect| match effect {
        Effect::Account(event) => match *event {
            accounting::Event::Interim { session, .. } => Some(session),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(interims.collect::<Vec<_>>(), [101]);
}

/// The policies see the attributes as the change left them, whatever name a condition has for them.
#[test]
fn a_change_is_judged_by_the_attributes_that_it_changed() {
    let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (name, changes) in [
        ("Class", classes(&["blocked"])),
        ("filter-id", Changes { filter_id: Some(vec!["blocked".into()]), ..Changes::default() }),
        ("Session-Timeout", Changes { session_timeout: Some(Some(Duration::from_secs(60))), ..classes(&["staff"]) }),
        ("Idle-Timeout", Changes { idle_timeout: Some(None), ..classes(&["staff"]) }),
        ("Acct-Interim-Interval", Changes { acct_interim_interval: Some(Some(Duration::from_secs(60))), ..classes(&["staff"]) }),
    ] {
        let mut world = World::empty(2, &[("all", "*", true)]);
        let old = reply(name, "old");
        let policies = &mut world.gateway.authority.policies;
        policies[0].conditions = old;
        policies[0].settings.pool = Some("users".into());
        let blocked = reply("Filter-Id", "blocked");
        policies.push(Policy {
            name: "not old".into(),
            grant: true,
            conditions: Conditions { any: vec![blocked, Conditions::default()], ..Conditions::default() },
            ..Policy::default()
        });
        let attributes = vec![attribute("Reply-Message", "hello"), attribute(name, "old")];
        world.bring_up_with(1, Accept { attributes, ..Accept::default() });
        assert_eq!(session(&world).granted.policy, "all", "{name}");
        change(&mut world, changes).unwrap();
        let granted = &session(&world).granted;
        assert_eq!(granted.policy, "not old", "{name}: {:?}", granted.known.attributes);
        assert_eq!(granted.known.attributes[0], attribute("Reply-Message", "hello"));
    }
}

/// What RADIUS set at login ends the session when it would have, whichever policy decides after a change.
#[test]
fn a_change_that_names_no_limit_lengthens_none_of_radius() {
    let secs = Duration::from_secs;
    let mut world = World::empty(2, &[("all", "*", true)]);
    world.gateway.authority.policies[0].settings.session_timeout = Some(secs(900));
    world.gateway.authority.policies[0].settings.idle_timeout = Some(secs(600));
    let longer =
        Granting { pool: Some("users".into()), session_timeout: Some(secs(9_000)), idle_timeout: Some(secs(700)), ..Granting::default() };
    let conditions = Conditions { class: vec!["long".into()], ..Conditions::default() };
    world
        .gateway
        .authority
        .policies
        .insert(0, Policy { name: "long".into(), grant: true, conditions, settings: longer, ..Policy::default() });
    let accept = Accept { session_timeout: Some(secs(600)), idle_timeout: Some(secs(300)), ..Accept::default() };
    world.bring_up_with(1, accept);
    let limits = |world: &World| {
        let up = session(world);
        (up.ends_at().map(|at| at.saturating_duration_since(up.since).as_secs()), up.idle_timeout().map(|limit| limit.as_secs()))
    };
    assert_eq!(limits(&world), (Some(600), Some(300)));
    world.now.instant += secs(100);
    // The same policy again, then another: what RADIUS said stays.
    for class in ["staff", "long"] {
        change(&mut world, classes(&[class])).unwrap();
        assert_eq!(limits(&world), (Some(600), Some(300)), "{class}");
    }
    // A change that names limits sets them, from now on; one that names none keeps those.
    let named = Changes { session_timeout: Some(Some(secs(1_000))), idle_timeout: Some(Some(secs(400))), ..classes(&["long"]) };
    change(&mut world, named).unwrap();
    assert_eq!(limits(&world), (Some(1_100), Some(400)));
    world.now.instant += secs(100);
    change(&mut world, classes(&["long", "more"])).unwrap();
    assert_eq!(limits(&world), (Some(1_100), Some(400)));
    // Where RADIUS takes its limits away, a policy's own begins with the session or with the change that brings it.
    change(&mut world, Changes { session_timeout: Some(None), idle_timeout: Some(None), ..Changes::default() }).unwrap();
    assert_eq!(limits(&world), (None, None));
    change(&mut world, classes(&["staff"])).unwrap();
    assert_eq!(limits(&world), (Some(1_100), Some(600)));
    change(&mut world, classes(&["staff", "again"])).unwrap();
    world.now.instant += secs(50);
    change(&mut world, classes(&["staff"])).unwrap();
    assert_eq!(limits(&world), (Some(1_100), Some(600)), "the same policy gives no second term");
}

#[test]
fn a_change_of_class_keeps_what_the_policy_adds_for_accounting() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    world.gateway.authority.policies[0].settings.accounting_class = vec!["cost-7".into()];
    world.bring_up_with(1, Accept { class: vec![b"old".to_vec()], ..Accept::default() });
    let class =
        |world: &World| session(world).granted.class.iter().map(|class| String::from_utf8_lossy(class).into_owned()).collect::<Vec<_>>();
    assert_eq!(class(&world), ["old", "cost-7"]);
    change(&mut world, classes(&["new"])).unwrap();
    assert_eq!(class(&world), ["new", "cost-7"]);
    change(&mut world, Changes { filter_id: Some(Vec::new()), ..Changes::default() }).unwrap();
    assert_eq!(class(&world), ["new", "cost-7"]);
}
