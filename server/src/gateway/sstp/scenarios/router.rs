//! Router Advertisements over IKEv2: a client that asks once is told for as long as it is there.
use super::*;
use ike::Event;
use packet::write::icmpv6_on_link;
use std::net::Ipv6Addr;

const CLIENT: SessionId = SessionId(101);
/// Of what an advertisement tells, in seconds.
const LIFETIME: u64 = 1_800;

/// A session with an IPv6 address that has asked for routers if `asks`.
fn world(asks: bool, idle: Option<Duration>) -> World {
    let mut world = World::empty(10, &[("all", "*", true)]);
    world.gateway.authority.policies[0].settings.idle_timeout = idle;
    assert!(world.login(CLIENT.0, &Caller::default(), &Accept::default()));
    let granted = world.gateway.live.get_mut(&CLIENT).unwrap().login.as_mut().unwrap().granted.as_mut().unwrap();
    let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    granted.ipv6 = Some(address);
    world.gateway.established(world.now, CLIENT, vec![address.into()]);
    if asks {
        ask(&mut world);
        assert_eq!(told(&world), 1);
    }
    world
}

fn ask(world: &mut World) {
    let (client, routers) = ("fe80::7".parse().unwrap(), "ff02::2".parse().unwrap());
    let solicitation = icmpv6_on_link(client, routers, vec![133, 0, 0, 0, 0, 0, 0, 0]);
    world.gateway.inner(world.now, CLIENT, &solicitation);
}

/// How many advertisements there were.
fn told(world: &World) -> usize {
    assert!(world.gateway.plane.inner.iter().all(|packet| packet[40] == 134), "nothing else");
    world.gateway.plane.inner.len()
}

/// Time passes as the control task lets it: the gateway is called when it wants to be.
fn run(world: &mut World, seconds: u64) {
    let end = world.now.instant + Duration::from_secs(seconds);
    while let Some(at) = world.gateway.poll_timeout().filter(|at| *at <= end) {
        world.now.instant = world.now.instant.max(at);
        world.gateway.timeout(world.now);
    }
    world.now.instant = end;
}

#[test]
fn what_a_client_was_told_does_not_run_out() {
    let mut world = world(true, None);
    for _ in 0..20 {
        let before = told(&world);
        run(&mut world, LIFETIME - 1);
        assert!(told(&world) >= before + 2, "one of them may be lost");
    }
    assert_eq!(told(&world), 1 + 20 * (LIFETIME as usize - 1) / 600);
    let before = told(&world);
    ask(&mut world);
    ask(&mut world);
    run(&mut world, 601);
    assert_eq!(told(&world), before + 3, "who asks again is not told twice as often");
    world.gateway.closed(world.now, CLIENT, CloseReason::PeerDeleted, None);
    assert!(world.gateway.advertisements.is_empty());
    run(&mut world, 2 * LIFETIME);
    assert_eq!(told(&world), before + 3);
}

#[test]
fn who_never_asked_is_not_told() {
    let mut world = world(false, None);
    run(&mut world, 2 * LIFETIME);
    assert_eq!(told(&world), 0);
}

/// A packet for a client without Child SA would have one made; a client that answers nothing hears nothing.
#[test]
fn who_cannot_be_told_is_told_on_its_return() {
    for away in [Event::Resting, Event::Silent] {
        let mut world = world(true, None);
        world.gateway.observe(world.now, CLIENT, away(true));
        run(&mut world, 2 * LIFETIME);
        assert_eq!(told(&world), 1);
        world.gateway.observe(world.now, CLIENT, away(false));
        run(&mut world, 2);
        assert_eq!(told(&world), 2);
        run(&mut world, LIFETIME);
        assert_eq!(told(&world), 5);
    }
    let mut world = world(true, None);
    world.gateway.observe(world.now, CLIENT, Event::Resting(true));
    run(&mut world, 5);
    world.gateway.observe(world.now, CLIENT, Event::Resting(false));
    run(&mut world, 5);
    assert_eq!(told(&world), 1, "it has missed none");
}

/// Idle-Timeout is longer than the time between two advertisements, and yet passes.
#[test]
fn an_advertisement_is_no_use_of_the_session() {
    let limit = Duration::from_secs(3 * LIFETIME);
    let mut world = world(true, Some(limit));
    world.gateway.settings.accounting = None;
    run(&mut world, limit.as_secs() - 10);
    let idle = world.gateway.idle(world.now, &[CLIENT]);
    assert!(idle.sessions.is_empty() && told(&world) > 5);
    run(&mut world, 20);
    assert_eq!(world.gateway.idle(world.now, &[CLIENT]).sessions, [CLIENT]);
}
