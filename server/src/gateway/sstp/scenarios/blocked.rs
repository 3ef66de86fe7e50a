//! Who is put on the block list between the answer of RADIUS and the last message of the login is not let in.
use super::*;
use crate::api::types::{Block, Blocked};
use crate::api::{BlockOrder, Request, Response};
use ike::Command;

fn block(world: &mut World, user: &str) {
    order(world, Blocked::User(user.into()), false);
}

fn order(world: &mut World, who: Blocked, disconnect: bool) -> Block {
    let order = BlockOrder { who, for_secs: None, reason: None, disconnect };
    match world.gateway.control(world.now, &Request::Block(order)) {
        Some(Response::Block(block)) => block,
        other => panic!("{other:?}"),
    }
}

fn certificate(serial: &str, name: &str) -> Option<policy::network::Certificate> {
    Some(policy::network::Certificate { serial: serial.into(), san: vec![name.into()], ..Default::default() })
}

/// The record of the newest login, in lines.
fn record(world: &World) -> Vec<String> {
    world.gateway.attempts.iter().next().unwrap().timeline.iter().map(|(_, line)| line.clone()).collect()
}

#[test]
fn under_whatever_name_it_comes() {
    let mut world = World::empty(100, &[("all", "*", true)]);
    block(&mut world, "alice");
    let mut login = |number, user| world.login(number, &Caller { user, ..Caller::default() }, &Accept::default());
    for (number, user) in ["ALICE", "alice@corp.example", "CORP\\alice", "host/alice.corp.example"].into_iter().enumerate() {
        assert!(!login(number as u64 + 1, user), "{user}");
    }
    assert!(login(50, "bob"));
    // Either name counts: the one that RADIUS gives, and the one that the client gave itself.
    let called = |user: &str| Accept { user_name: Some(user.into()), ..Accept::default() };
    for (id, said, found) in [(60, "guest", "CORP\\alice"), (61, "alice@corp.example", "guest")] {
        assert!(!world.login_as(id, &Caller { user: said, ..Caller::default() }, called(found)), "{said} is {found}");
    }
}

#[test]
fn a_certificate_that_eap_hides_is_taken_for_that_of_its_holder() {
    let mut world = World::empty(100, &[("all", "*", true)]);
    let shown = Caller { user: "alice@corp.example", certificate: certificate("0a0b", "alice.smith@corp.example"), ..Caller::default() };
    let hidden = |user| Caller { user, certificate: None, eap: Some(eap::method::TLS), ..Caller::default() };
    let named = Accept { user_name: Some("alice@corp.example".into()), ..Accept::default() };
    assert!(world.login_as(1, &shown, named));
    assert!(world.login(2, &hidden("alice@corp.example"), &Accept::default()));
    world.gateway.established(world.now, SessionId(2), vec![]);
    let block = order(&mut world, Blocked::Certificate("A:0B".into()), false);
    assert_eq!(block.names, ["alice@corp.example", "alice.smith@corp.example"]);
    assert!(!world.login(3, &shown, &Accept::default()));
    for (number, user) in [(4, "alice@corp.example"), (5, "CORP\\alice.smith"), (6, "alice")] {
        assert!(!world.login(number, &hidden(user), &Accept::default()), "{user}");
    }
    assert!(world.gateway.attempts.iter().next().unwrap().decision[0].contains("EAP hides the certificate"));
    // Of somebody else nobody can say whose certificate it is: that is told, in the record and with the block.
    assert!(world.login(7, &hidden("bob"), &Accept::default()));
    assert!(record(&world).iter().any(|line| line.starts_with("1 of the blocks could not be compared: EAP hides the certificate")));
    let Some(Response::Blocks(list)) = world.gateway.control(world.now, &Request::Blocks) else { panic!() };
    assert_eq!(list.blocks[0].unjudged, 1);
    // A session that is up is found by the same name.
    let live = &world.gateway.live[&SessionId(2)];
    assert!(world.gateway.keeps_out(world.now, live));
}

#[test]
fn a_blocked_certificate_that_shows_itself_is_known_by_name_from_then_on() {
    let mut world = World::empty(100, &[("all", "*", true)]);
    assert!(order(&mut world, Blocked::Certificate("0a0b".into()), false).names.is_empty());
    let shown = Caller { certificate: certificate("0a0b", "alice@corp.example"), ..Caller::default() };
    let hidden = Caller { user: "CORP\\alice", eap: Some(eap::method::TLS), ..Caller::default() };
    assert!(world.login(1, &hidden, &Accept::default()));
    assert!(!world.login(2, &shown, &Accept::default()));
    assert!(!world.login(3, &hidden, &Accept::default()));
}

/// Else whoever is blocked could have others kept out by calling himself as they do.
#[test]
fn a_name_that_only_the_client_claims_is_not_learned() {
    let mut world = World::empty(100, &[("all", "*", true)]);
    let shown = |user| Caller { user, certificate: certificate("0a0b", "alice@corp.example"), ..Caller::default() };
    assert!(world.login_as(1, &shown("bob"), Accept::default()));
    assert_eq!(order(&mut world, Blocked::Certificate("0a0b".into()), false).names, ["alice@corp.example"]);
    assert!(!world.login_as(2, &shown("carol"), Accept::default()));
    for (number, user) in [(3, "bob"), (4, "carol")] {
        let hidden = Caller { user, eap: Some(eap::method::TLS), ..Caller::default() };
        assert!(world.login(number, &hidden, &Accept::default()), "{user}");
    }
}

#[test]
fn a_name_that_nobody_confirmed_is_told() {
    let mut world = World::empty(100, &[("all", "*", true)]);
    // A policy with a condition on the user would refuse it.
    world.gateway.authority.policies[0].conditions.user.clear();
    block(&mut world, "alice");
    let tunnelled = Caller { user: "anonymous", eap: Some(eap::method::PEAP), ..Caller::default() };
    assert!(world.login_as(1, &tunnelled, Accept::default()));
    assert!(record(&world).iter().any(|line| line.contains("no server has confirmed its name")), "{:?}", record(&world));
    let named = Accept { user_name: Some("CORP\\alice".into()), ..Accept::default() };
    assert!(!world.login_as(2, &tunnelled, named));
}

#[test]
fn over_ikev2() {
    let mut world = World::empty(10, &[("all", "*", true)]);
    for number in [101, 102] {
        assert!(world.login(number, &Caller::default(), &Accept::default()));
    }
    world.gateway.established(world.now, SessionId(101), vec![]);
    assert!(world.gateway.commands.is_empty());
    block(&mut world, "Alice");
    world.gateway.established(world.now, SessionId(102), vec![]);
    let ended: Vec<_> = world.gateway.commands.drain(..).collect();
    assert!(matches!(ended[..], [(SessionId(102), Command::Close(CloseReason::Operator))]), "{ended:?}");
}

#[test]
fn over_sstp() {
    let mut world = World::accepted();
    block(&mut world, "alice");
    world.call_connected(&hlak());
    assert_eq!(world.gateway.plane.opened.len(), 1);
    assert!(world.gateway.plane.held > 0, "no data passes");
    assert_eq!(world.gateway.calls[&world.session].closing, Some(CloseReason::Operator));
}
