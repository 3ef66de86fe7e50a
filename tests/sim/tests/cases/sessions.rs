//! Sessions that are up: liveness, DELETE, rekeys, moves, the end.
use super::{CLIENT, GATEWAY, Pair, assert_children};
use ike::{CloseReason, Command, Event, InitiatorConfig, SessionId};
use sim::{HostId, Nat, Sim, Verdict, initiator, responder};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

fn both(pair: &Pair) -> [(HostId, HostId); 2] {
    [(pair.gateway, pair.client), (pair.client, pair.gateway)]
}

fn session(sim: &Sim, host: HostId) -> SessionId {
    sim.host(host).established()[0]
}

fn reasons(sim: &Sim, host: HostId) -> Vec<CloseReason> {
    sim.host(host).closed().into_iter().map(|(_, reason, _)| reason).collect()
}

#[test]
fn liveness_keeps_a_silent_session() {
    let mut pair = Pair::up();
    pair.sim.run_for(Duration::from_secs(3600));
    pair.assert_up();
    assert!(pair.gateway().sent.len() > 100);
}

#[test]
fn a_client_that_is_gone() {
    let mut pair = Pair::up();
    pair.sim.filter = Some(Box::new(|path, _| if path.local.ip() == CLIENT { Verdict::Drop } else { Verdict::Pass }));
    pair.sim.run_for(Duration::from_secs(200));
    assert_eq!(reasons(&pair.sim, pair.gateway), [CloseReason::PeerLost]);
    assert!(pair.gateway().children.is_empty());
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
}

#[test]
fn delete_from_either_side() {
    for turn in 0..2 {
        let mut pair = Pair::up();
        let (closer, other) = both(&pair)[turn];
        let closing = session(&pair.sim, closer);
        pair.sim.command(closer, closing, Command::Close(CloseReason::Operator));
        assert!(pair.sim.host(closer).children.is_empty(), "no packet passes from the command on");
        pair.sim.run_for(Duration::from_secs(1));
        assert_eq!(reasons(&pair.sim, closer), [CloseReason::Operator]);
        assert_eq!(reasons(&pair.sim, other), [CloseReason::PeerDeleted]);
        assert!(pair.sim.host(other).children.is_empty());
        pair.sim.run_for(Duration::from_secs(60));
        assert_eq!(pair.sim.host(other).endpoint.poll_timeout(), None, "nothing is left that would want to be called");
        assert_eq!(pair.sim.host(closer).endpoint.poll_timeout(), None);
    }
}

#[test]
fn crossing_deletes() {
    let mut pair = Pair::up();
    for host in [pair.gateway, pair.client] {
        let closing = session(&pair.sim, host);
        pair.sim.command(host, closing, Command::Close(CloseReason::Operator));
    }
    pair.sim.run_for(Duration::from_secs(30));
    assert_eq!(reasons(&pair.sim, pair.gateway), [CloseReason::Operator]);
    assert_eq!(reasons(&pair.sim, pair.client), [CloseReason::Operator]);
}

#[test]
fn closing_a_session_whose_client_is_gone() {
    let mut pair = Pair::up();
    pair.sim.filter = Some(Box::new(|_, _| Verdict::Drop));
    let closing = session(&pair.sim, pair.gateway);
    pair.sim.command(pair.gateway, closing, Command::Close(CloseReason::IdleTimeout));
    pair.sim.run_for(Duration::from_secs(10));
    assert_eq!(reasons(&pair.sim, pair.gateway), [CloseReason::IdleTimeout]);
}

#[test]
fn rekey_of_the_child() {
    for turn in 0..2 {
        let mut pair = Pair::up();
        let (one, other) = both(&pair)[turn];
        let before: Vec<_> = pair.gateway().children.keys().copied().collect();
        let id = session(&pair.sim, one);
        pair.sim.command(one, id, Command::RekeyChild);
        pair.sim.run_for(Duration::from_secs(1));
        assert_eq!(pair.sim.host(other).children.len(), 2, "the old inbound one still receives");
        assert_children(pair.gateway(), pair.client());
        pair.sim.run_for(Duration::from_secs(6));
        pair.assert_up();
        assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1));
        let after: Vec<_> = pair.gateway().children.keys().copied().collect();
        assert_ne!(before, after);
        assert_eq!(pair.gateway().rekeyed(false), 1);
    }
}

/// The side that answers a rekey goes on sending on the old Child SA until the other side deletes it.
#[test]
fn outbound_switches_on_delete() {
    let mut pair = Pair::up();
    let old = pair.gateway().outbound.clone();
    let id = session(&pair.sim, pair.client);
    pair.sim.command(pair.client, id, Command::RekeyChild);
    let gateway = pair.gateway;
    assert!(pair.sim.run_until(Duration::from_secs(1), |sim| sim.host(gateway).children.len() == 2));
    assert_eq!(pair.gateway().outbound, old);
    pair.sim.run_for(Duration::from_secs(1));
    assert_ne!(pair.gateway().outbound, old);
}

#[test]
fn rekey_of_the_ike_sa() {
    for turn in 0..2 {
        let mut pair = Pair::up();
        let (one, _) = both(&pair)[turn];
        let children: Vec<_> = pair.gateway().children.keys().copied().collect();
        let id = session(&pair.sim, one);
        for round in 1..=3 {
            pair.sim.command(one, id, Command::RekeyIke);
            pair.sim.run_for(Duration::from_secs(1));
            assert_eq!(pair.gateway().rekeyed(true), round);
            assert_eq!(pair.client().rekeyed(true), round);
        }
        pair.assert_up();
        assert_eq!(children, pair.gateway().children.keys().copied().collect::<Vec<_>>(), "children are inherited");
        // The new IKE SA carries on: liveness both ways, rekey of the child, DELETE.
        pair.sim.run_for(Duration::from_secs(300));
        pair.sim.command(one, id, Command::RekeyChild);
        pair.sim.run_for(Duration::from_secs(10));
        pair.assert_up();
        pair.sim.command(one, id, Command::Close(CloseReason::Operator));
        pair.sim.run_for(Duration::from_secs(60));
        assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
        assert_eq!(pair.gateway().endpoint.poll_timeout(), None);
    }
}

fn behind_nat(pair: &mut Pair) {
    pair.sim.nat = Some(Nat::new(CLIENT, OUTSIDE));
}

#[test]
fn nat() {
    let mut pair = Pair::default();
    behind_nat(&mut pair);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let nat = |host: &sim::Host| {
        host.events.iter().find_map(|(_, event)| match event {
            Event::Nat { ours, theirs } => Some((*ours, *theirs)),
            _ => None,
        })
    };
    assert_eq!(nat(pair.gateway()), Some((false, true)));
    assert_eq!(nat(pair.client()), Some((true, false)));
    let child = pair.gateway().children.values().next().unwrap();
    assert!(child.encapsulate);
    assert_eq!((child.path.local.port(), child.path.remote.ip()), (4500, OUTSIDE));
    assert!(pair.gateway().events.iter().any(|(_, event)| matches!(event, Event::Moved(path) if path.local.port() == 4500)));
}

#[test]
fn without_nat_esp_is_not_encapsulated() {
    let pair = Pair::up();
    assert!(!pair.gateway().children.values().next().unwrap().encapsulate);
    assert_eq!(pair.gateway().children.values().next().unwrap().path.local.port(), 500);
}

#[test]
fn forced_encapsulation() {
    let mut pair = Pair::default();
    pair.dial(InitiatorConfig { force_encapsulation: true, ..initiator(CLIENT, GATEWAY) }).assert_up();
    assert!(pair.gateway().children.values().next().unwrap().encapsulate);
}

#[test]
fn a_nat_that_forgets() {
    let mut pair = Pair::default();
    behind_nat(&mut pair);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let before = pair.gateway().children.values().next().unwrap().path;
    pair.sim.nat.as_mut().unwrap().rebind();
    let client = session(&pair.sim, pair.client);
    pair.sim.command(pair.client, client, Command::Liveness);
    pair.sim.run_for(Duration::from_secs(1));
    let (_, path, encapsulate) = pair.gateway().repaths[0];
    assert_eq!((path.remote.ip(), encapsulate), (OUTSIDE, true));
    assert_ne!(path, before);
    pair.sim.run_for(Duration::from_secs(300));
    pair.assert_up();
}

/// What the data plane saw moves the path of a peer behind NAT, and of no other.
#[test]
fn a_peer_that_the_data_plane_saw_elsewhere() {
    let moved = |pair: &mut Pair, port| {
        let session = session(&pair.sim, pair.gateway);
        let here = pair.gateway().children.values().next().unwrap().path;
        let path = ike::Path { remote: std::net::SocketAddr::new(OUTSIDE, port), ..here };
        pair.sim.input(pair.gateway, ike::Input::PeerMoved { session, path });
        path
    };
    let mut pair = Pair::up();
    moved(&mut pair, 50_000);
    assert!(pair.gateway().repaths.is_empty(), "no NAT, no move");
    let mut pair = Pair::default();
    behind_nat(&mut pair);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let path = moved(&mut pair, 50_000);
    moved(&mut pair, 50_000);
    let repaths: Vec<_> = pair.gateway().repaths.iter().map(|(_, path, encapsulate)| (*path, *encapsulate)).collect();
    assert_eq!(repaths, [(path, true)], "once");
    assert!(pair.gateway().events.iter().any(|(_, event)| matches!(event, Event::Moved(to) if *to == path)));
    let before = pair.gateway().sent.len();
    let session = session(&pair.sim, pair.gateway);
    pair.sim.command(pair.gateway, session, Command::Liveness);
    assert_eq!(pair.gateway().sent[before].0, path, "requests of ours go there too");
    let other = ike::Path { local: std::net::SocketAddr::new(GATEWAY, 500), ..path };
    pair.sim.input(pair.gateway, ike::Input::PeerMoved { session, path: other });
    assert_eq!(pair.gateway().repaths.len(), 1, "our own end does not move");
    pair.sim.command(pair.gateway, session, Command::Close(CloseReason::Operator));
    pair.sim.run_for(Duration::from_secs(1));
    pair.sim.input(pair.gateway, ike::Input::PeerMoved { session, path });
    assert_eq!(pair.gateway().repaths.len(), 1);
}

/// Somebody in the middle repeats, forges and reflects from elsewhere what a client behind NAT sends: its path stays.
#[test]
fn nobody_else_moves_a_session_behind_nat() {
    let mut pair = Pair::default();
    behind_nat(&mut pair);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let client = session(&pair.sim, pair.client);
    pair.sim.command(pair.client, client, Command::Liveness);
    pair.sim.run_for(Duration::from_secs(1));
    let elsewhere = ike::Path::between("203.0.113.200:4500".parse().unwrap(), std::net::SocketAddr::new(GATEWAY, 4500));
    let recorded: Vec<_> = [pair.client(), pair.gateway()].iter().flat_map(|host| host.sent.clone()).collect();
    for (_, message) in recorded {
        let mut forged = message.clone();
        *forged.last_mut().unwrap() ^= 1;
        for message in [message, forged] {
            pair.sim.inject(elsewhere, message);
            pair.sim.run_for(Duration::from_millis(20));
        }
    }
    // The next message ID, but not the key.
    let last = pair.client().sent.last().unwrap().1.clone();
    for id in 0..20u32 {
        let mut next = last.clone();
        next[20..24].copy_from_slice(&id.to_be_bytes());
        pair.sim.inject(elsewhere, next);
    }
    assert!(pair.gateway().repaths.is_empty());
    pair.carry(Duration::from_secs(100));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 1), "the session and no other; the recorded first messages led nowhere");
}

#[test]
fn initial_contact_ends_older_sessions_of_the_same_client() {
    let mut pair = Pair::up();
    let other = pair.sim.add(&[IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))], None);
    let gateway = pair.gateway;
    pair.sim.host_mut(other).answers.identity = "bob".into();
    let second = |initial_contact| InitiatorConfig { initial_contact, ..initiator(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8)), GATEWAY) };
    let dial = |pair: &mut Pair, config, sessions| {
        pair.sim.connect(other, config);
        assert!(pair.sim.run_until(Duration::from_secs(10), |sim| sim.host(gateway).established().len() == sessions));
    };
    dial(&mut pair, second(true), 2);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 2), "the same IDi, but another user");
    pair.sim.host_mut(other).answers.identity = "Alice".into();
    dial(&mut pair, second(false), 3);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 3), "no INITIAL_CONTACT");
    dial(&mut pair, second(true), 4);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 3), "from the same address, not the one elsewhere, which is there");
    assert_eq!(reasons(&pair.sim, gateway), [CloseReason::Replaced]);
    pair.sim.run_for(Duration::from_secs(200));
    assert_eq!(reasons(&pair.sim, gateway), [CloseReason::Replaced]);
}

#[test]
fn a_new_configuration_ends_no_session() {
    let mut pair = Pair::up();
    let mut config = responder();
    config.client_auth.eap = false;
    pair.sim.input(pair.gateway, ike::Input::Configure(Box::new(config)));
    pair.sim.run_for(Duration::from_secs(100));
    pair.assert_up();
    let again = pair.sim.add(&[IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))], None);
    pair.sim.connect(again, initiator(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8)), GATEWAY));
    pair.sim.run_for(Duration::from_secs(10));
    assert!(pair.sim.host(again).failure().is_some(), "new logins follow the new one");
}
