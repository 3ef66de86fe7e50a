//! IKE SAs without Child SA: who deletes it, who makes a new one, and both at once.
use super::{World, count, lenient};
use crate::cases::{CLIENT, GATEWAY, Pair};
use ike::wire::{Delete, Exchange, Header, Notify, Payload, Payloads, notify};
use ike::{CloseReason, Command, Event, Input, TrafficSelector};
use sim::clients::{Client, InSim, Profile};
use sim::{Host, HostId, Verdict, initiator, responder};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn rests(host: &Host) -> Vec<bool> {
    let rest = |(_, event): &(ike::SessionId, Event)| match event {
        Event::Resting(resting) => Some(*resting),
        _ => None,
    };
    host.events.iter().filter_map(rest).collect()
}

fn selectors(host: &Host) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    let child = host.children.values().next().expect("a Child SA");
    (child.local.clone(), child.remote.clone())
}

fn drop_child(pair: &mut Pair, host: HostId) {
    let session = pair.session(host);
    pair.sim.command(host, session, Command::DropChild);
    pair.sim.run_for(10 * SECOND);
    assert!(pair.gateway().children.is_empty() && pair.client().children.is_empty());
    assert_eq!((pair.gateway().endpoint.sessions(), pair.client().endpoint.sessions()), ((0, 1), (0, 1)));
}

fn want(pair: &mut Pair, host: HostId) {
    let session = pair.session(host);
    pair.sim.input(host, Input::Wanted(session));
}

#[test]
fn either_side_deletes_and_either_makes_a_new_one() {
    for (round, (gateway_drops, gateway_makes)) in [(false, true), (true, true), (true, false), (false, false)].into_iter().enumerate() {
        let mut pair = Pair::up_with(round as u64, responder(), initiator(CLIENT, GATEWAY));
        let first = (selectors(pair.gateway()), selectors(pair.client()));
        for times in 1..=3 {
            let dropper = if gateway_drops { pair.gateway } else { pair.client };
            drop_child(&mut pair, dropper);
            let maker = if gateway_makes { pair.gateway } else { pair.client };
            want(&mut pair, maker);
            pair.sim.run_for(5 * SECOND);
            pair.assert_up();
            assert_eq!((selectors(pair.gateway()), selectors(pair.client())), first, "the session's own selectors");
            assert_eq!(rests(pair.gateway()), [true, false].repeat(times));
        }
        let session = pair.session(pair.gateway);
        pair.sim.command(pair.gateway, session, Command::RekeyChild);
        pair.sim.run_for(10 * SECOND);
        pair.assert_up();
    }
}

/// Nothing else changes for a session that rests: liveness, rekeys of the IKE SA, the end.
#[test]
fn a_resting_session_lives_on() {
    let mut pair = Pair::up();
    let gateway = pair.gateway;
    drop_child(&mut pair, gateway);
    pair.sim.run_for(600 * SECOND);
    for host in [pair.gateway, pair.client] {
        let session = pair.session(host);
        pair.sim.command(host, session, Command::RekeyIke);
        pair.sim.run_for(5 * SECOND);
    }
    assert_eq!(pair.gateway().rekeyed(true), 2);
    want(&mut pair, gateway);
    pair.sim.run_for(5 * SECOND);
    pair.assert_up();
    drop_child(&mut pair, gateway);
    let session = pair.session(gateway);
    pair.sim.command(gateway, session, Command::Close(CloseReason::Operator));
    pair.sim.run_for(60 * SECOND);
    assert!(pair.gateway().is_empty() && pair.client().is_empty());
    assert_eq!(rests(pair.gateway()), [true, false, true], "an end is no rest");
}

/// At every distance in time, with every loss of one message: one Child SA stays, the same on both sides.
#[test]
fn both_make_one_at_once() {
    for (seed, apart) in (0..60).map(|step| (step, step as i64 - 30)) {
        let mut pair = Pair::up_with(seed, responder(), initiator(CLIENT, GATEWAY));
        let gateway = pair.gateway;
        drop_child(&mut pair, gateway);
        let (one, other) = if apart < 0 { (pair.gateway, pair.client) } else { (pair.client, pair.gateway) };
        want(&mut pair, one);
        pair.sim.run_for(Duration::from_millis(apart.unsigned_abs() * 2));
        want(&mut pair, other);
        if seed % 3 == 1 {
            let mut left = seed % 5;
            pair.sim.filter = Some(Box::new(move |_, _| {
                left = left.wrapping_sub(1);
                if left == 0 { Verdict::Drop } else { Verdict::Pass }
            }));
        }
        pair.sim.run_for(40 * SECOND);
        let (gateway, client) = (pair.gateway(), pair.client());
        assert_eq!((gateway.children.len(), client.children.len()), (1, 1), "{apart}: {} {}", gateway.notes(), client.notes());
        let (ours, theirs) = (gateway.children.values().next().unwrap(), client.children.values().next().unwrap());
        assert_eq!((ours.spi_in, ours.spi_out), (theirs.spi_out, theirs.spi_in));
        assert_eq!(*ours.key_out.encryption, *theirs.key_in.encryption);
        assert_eq!(rests(gateway), [true, false]);
    }
}

#[test]
fn a_thousand_packets_are_one_question() {
    let mut pair = Pair::up();
    let gateway = pair.gateway;
    drop_child(&mut pair, gateway);
    let before = pair.gateway().sent.len();
    for _ in 0..1000 {
        want(&mut pair, gateway);
    }
    pair.sim.run_for(SECOND);
    for _ in 0..1000 {
        want(&mut pair, gateway);
    }
    pair.sim.run_for(SECOND);
    assert_eq!(pair.gateway().sent.len(), before + 1);
    pair.assert_up();
}

/// The gateway's CREATE_CHILD_SA requests since the last look.
fn asked(world: &mut World, client: &mut Client) -> Vec<(Header, Payloads)> {
    let mut requests = client.requests(&mut world.sim);
    requests.retain(|(header, _)| header.exchange == Exchange::CreateChildSa);
    requests
}

fn windows() -> (World, Client) {
    let mut world = World::new(lenient());
    let mut client = world.up(Profile::windows_custom(), 1);
    client.requests(&mut world.sim);
    let old = client.spi_in;
    client.delete_child(&mut world.sim, old);
    assert!(world.host().children.is_empty());
    (world, client)
}

fn wants(world: &mut World) {
    let session = world.host().established()[0];
    world.sim.input(world.gateway, Input::Wanted(session));
}

/// Windows makes one itself as soon as it has a packet: it gets two seconds for that, and is not crossed.
#[test]
fn windows_makes_its_own() {
    let (mut world, mut client) = windows();
    wants(&mut world);
    world.pass(1);
    let made = client.rekey_child(&mut world.sim, None);
    client.assert_child(&world.sim, &made);
    world.pass(30);
    assert!(asked(&mut world, &mut client).is_empty());
    assert_eq!(rests(world.host()), [true, false]);
    world.assert_alive(&mut client);
}

/// Asked by the gateway: no REKEY_SA, no key exchange, the selectors of the first.
#[test]
fn windows_is_asked() {
    let (mut world, mut client) = windows();
    world.pass(300);
    wants(&mut world);
    world.pass(1);
    let requests = asked(&mut world, &mut client);
    let (header, request) = &requests[0];
    assert_eq!(requests.len(), 1);
    assert!(request.notify(notify::REKEY_SA).is_none() && request.key_exchange().is_none());
    assert_eq!(request.sa().unwrap().proposals.len(), 1, "what it had");
    assert!(request.sa().unwrap().proposals[0].transforms.iter().all(|it| it.kind != 4), "not even NONE as group");
    assert_eq!(request.ts_responder().unwrap().len(), 2, "both of its addresses");
    let mut sa = request.sa().unwrap().clone();
    assert_eq!(sa.proposals[0].transforms.len(), 2, "one combination: {sa:?}");
    sa.proposals[0].spi = vec![0x31, 2, 3, 4];
    let selectors = [request.ts_initiator().unwrap().to_vec(), request.ts_responder().unwrap().to_vec()];
    let [ts_i, ts_r] = selectors;
    let answer = [Payload::Sa(sa), Payload::Nonce(vec![5; 32]), Payload::TsInitiator(ts_i), Payload::TsResponder(ts_r)];
    client.answer(&mut world.sim, header, &answer);
    let made: Vec<_> = world.host().children.values().map(|child| child.spi_out).collect();
    assert_eq!(made, [0x3102_0304], "{}", world.host().notes());
    assert_eq!((world.host().outbound.len(), rests(world.host())), (1, vec![true, false]));
    // It had asked for one before it saw ours: its own stays, and ours is deleted.
    let made = client.rekey_child(&mut world.sim, None);
    client.assert_child(&world.sim, &made);
    let requests = client.requests(&mut world.sim);
    let (header, delete) = requests.last().unwrap();
    assert!(delete.deletes().any(|it| matches!(it, Delete::Esp(_))));
    client.answer(&mut world.sim, header, &[Payload::Delete(Delete::Esp(vec![0x3102_0304]))]);
    world.pass(10);
    assert_eq!(world.host().children.values().map(|child| child.spi_out).collect::<Vec<_>>(), [client.spi_in]);
    world.pass(60);
    let refused = client.rekey_child(&mut world.sim, None);
    assert!(refused.answer.notify(notify::NO_ADDITIONAL_SAS).is_some(), "later on there is one and no more");
}

/// Who refuses is left alone for a minute, however many packets there are, and may make its own at any time.
#[test]
fn a_refusal_is_remembered_for_a_minute() {
    let (mut world, mut client) = windows();
    world.pass(10);
    let mut questions = 0;
    for _ in 0..120 {
        wants(&mut world);
        world.pass(1);
        for (header, _) in asked(&mut world, &mut client) {
            questions += 1;
            client.answer(&mut world.sim, &header, &[Payload::Notify(Notify::new(notify::NO_ADDITIONAL_SAS, []))]);
        }
    }
    assert_eq!(questions, 2);
    assert!(world.host().notes().contains("NO_ADDITIONAL_SAS"));
    let made = client.rekey_child(&mut world.sim, None);
    client.assert_child(&world.sim, &made);
    assert_eq!(count(&client.liveness(&mut world.sim)), 0);
}

/// Busy for the moment: tried again within ten seconds.
#[test]
fn temporary_failure_is_temporary() {
    let (mut world, mut client) = windows();
    world.pass(10);
    wants(&mut world);
    world.pass(1);
    let (header, _) = asked(&mut world, &mut client).remove(0);
    client.answer(&mut world.sim, &header, &[Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))]);
    world.pass(11);
    assert_eq!(asked(&mut world, &mut client).len(), 1);
}
