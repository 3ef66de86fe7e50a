//! Clients that fall silent: with MOBIKE they may come back from elsewhere within the network outage time, and no later.
use super::{ELSEWHERE, World, attend, count, lenient, update};
use ike::wire::{Message, Payloads, notify};
use ike::{CloseReason, Event, ResponderConfig};
use sim::clients::{Client, InSim, Profile};
use std::net::SocketAddr;
use std::time::Duration;

/// The gateway asks after 30 s; without MOBIKE it has given up 94 s later.
fn config() -> ResponderConfig {
    let mut config = lenient();
    config.timers.liveness_interval = Duration::from_secs(30);
    config.timers.retransmit_initial = Duration::from_secs(2);
    config.timers.retransmit_tries = 5;
    config.qcd_secret = Some(vec![7; 32].into());
    config
}

fn without_outage() -> ResponderConfig {
    let mut config = config();
    config.timers.network_outage = Duration::ZERO;
    config
}

/// Of every session, in order.
fn silences(world: &World) -> Vec<bool> {
    let silence = |(_, event): &(ike::SessionId, Event)| match event {
        Event::Silent(silent) => Some(*silent),
        _ => None,
    };
    world.host().events.iter().filter_map(silence).collect()
}

/// The client is somewhere else now, with another port.
fn moves(client: &mut Client) {
    client.path.local = SocketAddr::new(ELSEWHERE.into(), client.path.local.port() + 7);
}

/// UPDATE_SA_ADDRESSES, and the gateway's answer.
fn returns(world: &mut World, client: &mut Client) -> Payloads {
    let payloads = update(client);
    client.exchange(&mut world.sim, ike::wire::Exchange::Informational, &payloads)
}

#[test]
fn half_an_hour_of_silence_and_a_return_from_elsewhere() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::windows_custom(), 1);
    let spi_in = client.child(&world.sim).spi_in;
    client.requests(&mut world.sim);
    world.pass(60);
    assert_eq!(silences(&world), [false; 0], "it has not answered yet, that is all");
    world.pass(1800 - 60 - 1);
    assert_eq!((world.reasons(), silences(&world)), (vec![], vec![true]));
    assert!(world.host().notes().contains("has been silent for 156 s; it has 1644 s more"), "{}", world.host().notes());
    let asked = world.host().sent.len();
    assert!(asked < 60, "{asked} messages: a client that is away is asked once a minute");
    moves(&mut client);
    let answer = returns(&mut world, &mut client);
    assert_eq!(answer.notify(notify::COOKIE2).unwrap().data, [9; 32]);
    assert_eq!(silences(&world), [true, false]);
    assert_eq!(attend(&mut world, &mut client), 1, "what waits for an answer is asked where the client is now, at once");
    assert_eq!(attend(&mut world, &mut client), 1, "and then whether it is there");
    assert_eq!(world.host().repaths.last().unwrap().1.remote, client.path.local);
    world.assert_alive(&mut client);
    assert_eq!(client.child(&world.sim).spi_in, spi_in, "the Child SA is the same");
    world.pass(31);
    assert_eq!(attend(&mut world, &mut client), 1, "and liveness goes on");
    assert_eq!(world.reasons(), []);
}

#[test]
fn each_silence_has_its_own_half_hour() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::windows_custom(), 1);
    for _ in 0..3 {
        client.requests(&mut world.sim);
        world.pass(1790);
        returns(&mut world, &mut client);
        attend(&mut world, &mut client);
    }
    assert_eq!((world.reasons(), silences(&world).len()), (vec![], 6));
}

#[test]
fn whoever_returns_too_late_learns_that_the_session_is_gone() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::apple(), 1);
    let started = world.sim.elapsed();
    world.sim.run_until(Duration::from_secs(3000), |sim| !sim.hosts[0].closed().is_empty());
    let lasted = world.sim.elapsed() - started;
    assert_eq!(world.reasons(), [CloseReason::PeerLost]);
    assert!((1799..=1801).contains(&lasted.as_secs()), "{lasted:?}");
    assert!(world.host().children.is_empty());
    moves(&mut client);
    let payloads = update(&client);
    let datagrams = client.seal(ike::wire::Exchange::Informational, &payloads);
    let answer = client.send_all(&mut world.sim, datagrams);
    let answer = Message::parse(&answer[0]).unwrap();
    assert!(!answer.protected && answer.payloads.notify(notify::INVALID_IKE_SPI).is_some());
    let token = ike::qcd::token(&[7; 32], client.spi_i, client.spi_r);
    assert_eq!(answer.payloads.notify(notify::QUICK_CRASH_DETECTION).unwrap().data, token, "it believes that at once");
}

/// Turned off, or a client without MOBIKE: the usual schedule.
#[test]
fn without_mobike_a_silent_session_is_lost_soon() {
    let lasted = |config: ResponderConfig, mobike: bool| {
        let mut world = World::new(config);
        let mut client = world.client(Profile::windows_custom(), 1);
        client.mobike = mobike;
        world.assert_login(&mut client);
        let started = world.sim.elapsed();
        world.sim.run_until(Duration::from_secs(3000), |sim| !sim.hosts[0].closed().is_empty());
        assert_eq!((world.reasons(), silences(&world)), (vec![CloseReason::PeerLost], vec![]));
        (world.sim.elapsed() - started).as_secs()
    };
    assert_eq!(lasted(config(), false), 155);
    assert_eq!(lasted(without_outage(), true), 155);
}

/// It sends, from wherever, but never answers: nothing to wait for.
#[test]
fn a_client_that_never_answers_is_no_silent_one() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::windows_custom(), 1);
    let session = world.host().established()[0];
    world.sim.command(world.gateway, session, ike::Command::Liveness);
    let gone = (0..200).find(|_| {
        world.pass(20);
        if world.reasons().is_empty() {
            assert_eq!(count(&client.liveness(&mut world.sim)), 0);
        }
        !world.reasons().is_empty()
    });
    assert!(gone.is_some(), "{}", world.host().notes());
    assert_eq!(silences(&world), [false; 0]);
}

/// A message that was recorded, or forged, is no return.
#[test]
fn nobody_else_returns_for_a_client() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::windows_custom(), 1);
    let payloads = update(&client);
    let old = client.seal(ike::wire::Exchange::Informational, &payloads);
    client.send_all(&mut world.sim, old.clone());
    world.pass(600);
    assert_eq!(silences(&world), [true]);
    let mut thief = world.client(Profile::windows_custom(), 9);
    moves(&mut thief);
    let mut forged = old.clone();
    forged[0][20..24].copy_from_slice(&client.next_id.to_be_bytes());
    for messages in [old, forged] {
        thief.send_all(&mut world.sim, messages);
    }
    assert_eq!((silences(&world), world.host().repaths.len()), (vec![true], 0));
}

/// Windows comes back with a login of its own, from another network and so with another IDi: its vendor ID says that it has no other session. The
/// silent one ends; that of another device of the user, which is there, stays.
#[test]
fn a_first_contact_takes_the_place_of_a_silent_session() {
    for hint in [true, false] {
        let mut world = World::new(config());
        let _lost = world.up(Profile::windows_custom(), 1);
        let mut other = world.client(Profile::windows_custom(), 2);
        (other.user, other.inside) = ("user1".into(), [192, 168, 1, 11].into());
        other.first_contact = false;
        world.assert_login(&mut other);
        for _ in 0..10 {
            world.pass(20);
            attend(&mut world, &mut other);
        }
        assert_eq!(silences(&world), [true]);
        let mut again = world.client(Profile::windows_custom(), 3);
        (again.user, again.inside, again.first_contact) = ("user1".into(), [10, 1, 2, 3].into(), hint);
        moves(&mut again);
        world.assert_login(&mut again);
        assert_eq!(world.reasons(), if hint { vec![CloseReason::Replaced] } else { vec![] });
        world.assert_alive(&mut other);
        world.assert_alive(&mut again);
    }
}

/// Orders that come while the client is away are carried out, or wait for it.
#[test]
fn what_is_asked_of_a_silent_client() {
    let mut world = World::new(config());
    let mut client = world.up(Profile::windows_custom(), 1);
    let session = world.host().established()[0];
    world.pass(300);
    world.sim.command(world.gateway, session, ike::Command::Liveness);
    world.sim.command(world.gateway, session, ike::Command::RekeyIke);
    world.pass(300);
    returns(&mut world, &mut client);
    assert_eq!(attend(&mut world, &mut client), 1);
    world.pass(1);
    world.sim.command(world.gateway, session, ike::Command::Close(CloseReason::Operator));
    world.pass(200);
    assert_eq!(world.reasons(), [CloseReason::Operator], "nobody waits for a client that is sent away");
}

/// It would not take a DELETE that comes before the answer it owes: its session ends at once, and so do its Stop and its lease.
#[test]
fn nobody_waits_for_a_silent_client_that_is_sent_away() {
    for reason in [CloseReason::Operator, CloseReason::Shutdown] {
        let mut world = World::new(config());
        let _client = world.up(Profile::windows_custom(), 1);
        let session = world.host().established()[0];
        world.pass(300);
        assert_eq!(silences(&world), [true]);
        world.sim.command(world.gateway, session, ike::Command::Close(reason));
        assert_eq!(world.reasons(), [reason]);
        assert!(world.host().is_empty() && world.host().children.is_empty());
    }
}
