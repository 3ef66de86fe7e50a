//! Fixed addresses: the client that comes back has its own again, and its silent session ends; nobody else gets it.
use super::*;
use crate::accounting;
use ike::{Command, Event};
use radius_client::FramedIp;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 7, 7);
const OLD: SessionId = SessionId(101);
const NEW: SessionId = SessionId(102);

fn fixed() -> Accept {
    Accept { framed_ip: Some(FramedIp::Fixed(ADDRESS)), ..Accept::default() }
}

fn elsewhere() -> Caller<'static> {
    Caller { name: "10.9.9.9", from: "203.0.113.9:4500", ..Caller::default() }
}

/// A session with the address, alice's; perhaps silent.
fn world(is_silent: bool) -> World {
    let mut world = World::empty(10, &[("all", "*", true)]);
    assert!(world.login(OLD.0, &Caller::default(), &fixed()));
    world.gateway.established(world.now, OLD, vec![ADDRESS.into()]);
    if is_silent {
        world.gateway.observe(world.now, OLD, Event::Silent(true));
    }
    assert_eq!((ended(&mut world), books(&mut world)), (vec![], vec!["Start 101".to_owned()]));
    world
}

/// Sessions that the IKE machine is to end as replaced.
fn ended(world: &mut World) -> Vec<SessionId> {
    let replaced = |(session, command)| matches!(command, Command::Close(CloseReason::Replaced)).then_some(session);
    std::mem::take(&mut world.gateway.commands).into_iter().map(|command| replaced(command).unwrap()).collect()
}

/// What accounting heard.
fn books(world: &mut World) -> Vec<String> {
    let told = |effect| match effect {
        Effect::Account(event) => match *event {
            accounting::Event::Start { session, .. } => Some(format!("Start {session}")),
            accounting::Event::Stop { session, record } => Some(format!("Stop {session} {:?}", record.terminate_cause.unwrap())),
            _ => None,
        },
        _ => None,
    };
    std::iter::from_fn(|| world.gateway.poll_effect()).filter_map(told).collect()
}

/// What the newer login gets.
fn granted(world: &World) -> Result<Ipv4Addr, String> {
    let granted = world.gateway.live[&NEW].login.as_ref().unwrap().granted.as_ref().unwrap();
    granted.ipv4.ok_or_else(|| granted.address_failure.clone().unwrap())
}

#[test]
fn who_comes_back_has_the_address_again() {
    let sstp = Caller { tunnel: Tunnel::Sstp, name: "MSRAS-0-PC1", ..elsewhere() };
    for caller in [elsewhere(), sstp] {
        let mut world = world(true);
        assert!(world.login(NEW.0, &caller, &fixed()));
        assert_eq!(granted(&world), Ok(ADDRESS));
        assert_eq!(ended(&mut world), [], "it may fail yet");
        world.gateway.established(world.now, NEW, vec![ADDRESS.into()]);
        assert_eq!(ended(&mut world), [OLD]);
        assert_eq!(books(&mut world), ["Stop 101 LostCarrier", "Start 102"], "in this order");
        let attempt = world.gateway.attempts.get(world.gateway.live[&OLD].attempt).unwrap();
        assert!(attempt.timeline.iter().any(|(_, text)| text.contains("connected again, and has its addresses now")), "{attempt:?}");
        world.gateway.closed(world.now, OLD, CloseReason::Replaced, None);
        assert_eq!(books(&mut world), [] as [&str; 0], "one Stop");
        assert_eq!(world.gateway.authority.pools.holder(ADDRESS.into()), Some(policy::pool::LeaseKey(NEW.0)));
    }
}

#[test]
fn nobody_else_gets_it() {
    let other = Caller { user: "bob", ..elsewhere() };
    for (is_silent, caller) in [(true, other.clone()), (false, other)] {
        let mut world = world(is_silent);
        assert!(world.login(NEW.0, &caller, &fixed()));
        assert_eq!(granted(&world), Err("policy \"all\": address 10.7.7.7 is in use by alice".into()), "{caller:?}");
        assert_eq!((ended(&mut world), books(&mut world)), (vec![], vec![]), "{caller:?}");
    }
}

/// The same user from elsewhere, under another name: a second computer, or the same after a crash. The older session is asked which.
#[test]
fn an_older_session_is_asked_for_a_sign_of_life() {
    for is_there in [true, false] {
        let mut world = world(false);
        world.login(NEW.0, &elsewhere(), &fixed());
        assert_eq!(world.gateway.held.len(), 1, "nobody is told anything yet");
        world.pass(3);
        assert_eq!(world.gateway.held.len(), 1);
        if is_there {
            world.gateway.observe(world.now, OLD, Event::Alive);
        }
        world.pass(u64::from(!is_there));
        assert_eq!(world.gateway.held.len(), 0);
        let refused = "policy \"all\": address 10.7.7.7 is in use by alice";
        assert_eq!(granted(&world), if is_there { Err(refused.into()) } else { Ok(ADDRESS) });
        let attempt = world.gateway.attempts.get(world.gateway.live[&OLD].attempt).unwrap();
        assert!(attempt.timeline.iter().any(|(_, text)| text.contains("asked for a sign of life")), "{attempt:?}");
        if !is_there {
            world.gateway.established(world.now, NEW, vec![ADDRESS.into()]);
            assert_eq!(ended(&mut world), [OLD]);
            assert_eq!(books(&mut world), ["Stop 101 LostCarrier", "Start 102"]);
        }
    }
}

/// Whoever does not wait any longer is not told; and a client that is there all the time is not thought gone at the next login.
#[test]
fn a_held_login_that_ends_is_forgotten() {
    let mut world = world(false);
    world.login(NEW.0, &elsewhere(), &fixed());
    world.gateway.closed(world.now, NEW, CloseReason::PeerLost, None);
    world.pass(5);
    assert_eq!(world.gateway.held.len(), 0);
    assert!(!world.gateway.live[&OLD].is_silent());
    assert_eq!(world.gateway.authority.pools.holder(ADDRESS.into()), Some(policy::pool::LeaseKey(OLD.0)));
}

#[test]
fn a_session_that_falls_silent_after_its_client_has_come_back_ends() {
    let mut world = world(false);
    assert!(world.login(NEW.0, &Caller::default(), &fixed()));
    world.gateway.established(world.now, NEW, vec![ADDRESS.into()]);
    assert_eq!((granted(&world), ended(&mut world)), (Ok(ADDRESS), vec![]), "the client ends it itself when it authenticates anew");
    world.gateway.observe(world.now, OLD, Event::Silent(true));
    assert_eq!(ended(&mut world), [OLD]);
    assert_eq!(books(&mut world), ["Start 102", "Stop 101 LostCarrier"]);
    world.gateway.observe(world.now, NEW, Event::Silent(true));
    assert_eq!(ended(&mut world), [], "the newest waits for its client");
}

#[test]
fn a_silent_session_with_another_address_stays() {
    let mut world = world(true);
    assert!(world.login(NEW.0, &elsewhere(), &Accept::default()));
    world.gateway.established(world.now, NEW, Vec::new());
    assert_eq!((ended(&mut world), books(&mut world)), (vec![], vec!["Start 102".to_owned()]));
}
