//! Many clients behind one address (trap 15): a carrier's NAT, a balancer, a hotel.
use super::{World, lenient};
use ike::wire::{Exchange, Payload, notify};
use sim::clients::{InSim, Profile};
use std::collections::BTreeSet;
use std::time::Duration;

/// 200 that dial at once from one address all come in: above the limit they show with a COOKIE that they can be reached, no more.
#[test]
fn two_hundred_from_one_address() {
    let mut config = lenient();
    // They take turns here, each with its round trips.
    (config.limits.half_open_timeout, config.limits.auth_timeout) = (Duration::from_secs(120), Duration::from_secs(120));
    let mut world = World::new(config);
    let mut clients: Vec<_> = (0..200).map(|number| world.client(Profile::windows_custom(), number)).collect();
    for client in &mut clients {
        assert!(client.init(&mut world.sim).sa().is_some());
    }
    assert_eq!(world.host().endpoint.sessions(), (200, 0));
    assert!(world.host().endpoint.counters().cookies_sent >= 100);
    for client in &mut clients {
        let answer = client.authenticate(&mut world.sim);
        assert!(answer.sa().is_some(), "{client:?} {answer:?}");
        client.assert_first_child(&world.sim);
    }
    assert_eq!(world.host().endpoint.sessions(), (0, 200));
    let leases: BTreeSet<_> = world.host().children.values().map(|child| child.inner.clone()).collect();
    assert_eq!(leases.len(), 200);
    for client in &mut clients {
        world.assert_alive(client);
    }
    assert_eq!(world.host().closed().len(), 0, "the vendor ID of a first contact ends no session of another user");
}

/// Established sessions do not count: the next one needs no COOKIE.
#[test]
fn who_is_in_is_not_half_open() {
    let mut config = lenient();
    config.limits.half_open_per_source = 3;
    let mut world = World::new(config);
    for number in 0..40 {
        world.up(Profile::windows_custom(), number);
    }
    assert_eq!(world.host().endpoint.counters().cookies_sent, 0);
}

/// Two of them mix up their messages: each is taken only under its own keys.
#[test]
fn nobody_is_taken_for_another() {
    let mut world = World::new(lenient());
    let mut one = world.up(Profile::windows_custom(), 1);
    let mut other = world.up(Profile::windows_custom(), 2);
    let path = one.path;
    one.path = other.path;
    world.assert_alive(&mut one);
    one.path = path;
    let strange = one.seal(Exchange::Informational, &[Payload::Notify(ike::wire::Notify::new(notify::AUTHENTICATION_FAILED, []))]);
    one.next_id -= 1;
    let mut forged = strange[0].clone();
    forged[..16].copy_from_slice(&[other.spi_i.0.to_be_bytes(), other.spi_r.0.to_be_bytes()].concat());
    assert!(other.send(&mut world.sim, forged).is_empty());
    world.assert_alive(&mut one);
    world.assert_alive(&mut other);
    assert_eq!(world.host().endpoint.sessions(), (0, 2));
}
