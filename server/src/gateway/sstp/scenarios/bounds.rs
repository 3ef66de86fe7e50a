//! Bounds on sessions, and clients that are not counted because they come back.
use super::*;
use ike::Command;

/// A gateway that takes two sessions of a user.
fn world() -> World {
    let mut world = World::empty(10, &[("all", "*", true)]);
    world.gateway.authority.policies[0].constraints.sessions_per_user = Some(2);
    world
}

/// LCP Identification.
fn identify(world: &mut World, name: &str) {
    world.ppp(0xc021, 12, 1, &[&[0; 4], name.as_bytes()].concat());
}

/// A call of u1's that calls itself by one name until it is let in, and by another after that; whether it came up.
fn call(world: &mut World, before: &str, after: &str) -> SessionId {
    world.dial(&[AuthProtocol::Eap]);
    world.packet(&Message::CallConnectRequest.encode());
    world.gateway.plane.sent.clear();
    world.lcp();
    identify(world, before);
    world.ppp(0xc227, 2, 0, b"\x01u1");
    let ticket = world.asked().0[0].0;
    world.accept_eap(ticket);
    identify(world, after);
    let lease = world.gateway.live[&world.session].login.as_ref().and_then(|login| login.granted.as_ref()?.ipv4);
    if let Some(lease) = lease {
        world.ipcp(lease.octets());
        world.call_connected(&hlak());
    }
    world.session
}

/// Calls that are up and are not being ended.
fn up(world: &World) -> Vec<SessionId> {
    let stays = |id: &SessionId| world.gateway.calls.get(id).is_some_and(|call| call.open && call.closing.is_none());
    world.gateway.live.keys().copied().filter(stays).collect()
}

#[test]
fn a_call_that_did_not_count_ends_whatever_the_next_one_calls_itself_later() {
    let mut world = world();
    let first = call(&mut world, "MSRAS-0-PC1", "MSRAS-0-PC2");
    assert_eq!(world.gateway.live[&first].computer.name.as_deref(), Some("MSRAS-0-PC1"), "as it was when it was let in");
    let other = call(&mut world, "MSRAS-0-PC3", "MSRAS-0-PC3");
    assert_eq!(up(&world), [first, other]);
    let again = call(&mut world, "MSRAS-0-PC1", "MSRAS-0-PC2");
    assert_eq!(up(&world), [other, again]);
    call(&mut world, "MSRAS-0-PC4", "MSRAS-0-PC1");
    assert_eq!(up(&world), [other, again], "no room for another computer");
}

/// An IKEv2 session of one user and device at one address; whether it was let in.
fn dial(world: &mut World, number: u64, accept: &Accept) -> bool {
    let granted = world.login(number, &Caller::default(), accept);
    if granted {
        world.gateway.established(world.now, SessionId(number), Vec::new());
    }
    granted
}

fn closes(world: &mut World) -> Vec<SessionId> {
    std::mem::take(&mut world.gateway.commands)
        .into_iter()
        .map(|(session, command)| {
            assert_eq!(format!("{command:?}"), format!("{:?}", Command::Close(CloseReason::Replaced)));
            session
        })
        .collect()
}

#[test]
fn ike_sessions_that_did_not_count_end_without_initial_contact() {
    let limited = Accept { port_limit: Some(2), ..Accept::default() };
    for (mut world, accept) in [(world(), Accept::default()), (World::empty(10, &[("all", "*", true)]), limited)] {
        for number in [101, 102] {
            assert!(dial(&mut world, number, &accept));
            assert_eq!(closes(&mut world), [], "there is room");
        }
        assert!(dial(&mut world, 103, &accept));
        assert_eq!(closes(&mut world), [SessionId(101), SessionId(102)]);
    }
}

/// As the roll counts them: Windows compares names without case.
#[test]
fn a_client_that_spells_its_user_otherwise_is_still_the_same() {
    let mut world = World::empty(10, &[("all", "*", true)]);
    world.gateway.authority.policies[0].constraints.sessions_per_user = Some(1);
    for (number, user) in [(101, "EXAMPLE\\Alice"), (102, "EXAMPLE\\alice")] {
        assert!(world.login(number, &Caller { user, ..Caller::default() }, &Accept::default()), "{user}");
        world.gateway.established(world.now, SessionId(number), Vec::new());
    }
    assert_eq!(closes(&mut world), [SessionId(101)]);
    let elsewhere = Caller { user: "example\\ALICE", name: "10.0.0.8", ..Caller::default() };
    assert!(!world.login(103, &elsewhere, &Accept::default()), "another device");
}

/// One account of NPS, over and over; what has another domain is another.
#[test]
fn another_form_of_the_name_is_no_second_user() {
    let limited = Accept { port_limit: Some(1), ..Accept::default() };
    for (bound, accept) in [(Some(1), Accept::default()), (None, limited)] {
        let mut world = World::empty(10, &[("all", "*", true)]);
        world.gateway.authority.policies[0].constraints.sessions_per_user = bound;
        for (number, user, is_in) in [
            (101, "EXAMPLE\\alice", true),
            (102, "alice", false),
            (103, "Alice@example.com", false),
            (104, "PARTNER\\alice", true),
            (105, "alice.smith", true),
        ] {
            let name = format!("10.0.0.{number}");
            let caller = Caller { user, name: &name, ..Caller::default() };
            assert_eq!(world.login(number, &caller, &accept), is_in, "{user} {bound:?}");
        }
    }
}

#[test]
fn without_a_bound_nobody_makes_way() {
    let mut world = World::empty(10, &[("all", "*", true)]);
    for number in 101..106 {
        assert!(dial(&mut world, number, &Accept::default()));
    }
    assert_eq!(closes(&mut world), []);
}
