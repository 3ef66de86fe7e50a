//! Who is put on the block list between the answer of RADIUS and the last message of the login is not let in.
use super::*;
use crate::api::types::Blocked;
use crate::api::{BlockOrder, Request};
use ike::Command;

fn block(world: &mut World, user: &str) {
    let order = BlockOrder { who: Blocked::User(user.into()), for_secs: None, reason: None, disconnect: false };
    assert!(world.gateway.control(world.now, &Request::Block(order)).is_some());
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
