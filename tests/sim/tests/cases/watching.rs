//! Somebody watches: everything is told, and nothing is changed.
use super::{CLIENT, GATEWAY, Pair};
use ike::wire::{Header, Payload, kind};
use ike::{Command, Content, Seen, Watch};
use sim::{Faults, initiator, responder};
use std::time::Duration;

/// A login over a bad wire, a rekey of the IKE SA, and the end.
fn life(watch: Watch) -> Pair {
    let mut pair = Pair::new(7, responder());
    pair.sim.faults = Faults { loss: 100, duplicate: 200, jitter: Duration::from_millis(20) };
    let gateway = pair.gateway;
    pair.sim.host_mut(gateway).endpoint.watch(watch);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let session = pair.gateway().established()[0];
    pair.sim.command(gateway, session, Command::RekeyIke);
    pair.sim.run_for(Duration::from_secs(20));
    pair.sim.command(gateway, session, Command::Close(ike::CloseReason::Operator));
    pair.sim.run_for(Duration::from_secs(20));
    pair
}

fn payloads(seen: &Seen) -> Vec<u8> {
    match &seen.content {
        Content::Payloads(payloads) => payloads.iter().map(Payload::kind).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_datagram_is_told_once_and_nothing_changes() {
    let (alone, watched) = (life(Watch::Off), life(Watch::Messages));
    assert!(alone.gateway().seen.is_empty());
    // Signatures are random, and their lengths with them: all of the header but the length.
    let headers = |pair: &Pair| pair.gateway().sent.iter().map(|(path, message)| (*path, message[..24].to_vec())).collect::<Vec<_>>();
    assert_eq!(headers(&alone), headers(&watched));
    assert_eq!(format!("{:?}", alone.gateway().events), format!("{:?}", watched.gateway().events));
    let seen = &watched.gateway().seen;
    let told: Vec<_> = seen.iter().filter(|(_, seen)| seen.outbound).flat_map(|(_, seen)| seen.datagrams.clone()).collect();
    let sent: Vec<_> = watched.gateway().sent.iter().map(|(_, message)| message.clone()).collect();
    assert_eq!(told, sent);
    let received = watched.gateway().endpoint.counters().received;
    assert_eq!(seen.iter().filter(|(_, seen)| !seen.outbound).count() as u64, received);
}

#[test]
fn what_is_inside_is_told_in_the_order_it_happened() {
    let watched = life(Watch::Messages);
    let seen = &watched.gateway().seen;
    let session = watched.gateway().established()[0];
    assert!(seen.iter().all(|(of, _)| of.is_none_or(|of| of == session)));
    let whole: Vec<_> = seen.iter().filter(|(_, seen)| !payloads(seen).is_empty()).collect();
    let first: Vec<_> = whole.iter().take(4).map(|(_, seen)| (seen.outbound, payloads(seen)[0])).collect();
    assert_eq!(first, [(false, kind::SA), (true, kind::SA), (false, kind::ID_I), (true, kind::ID_R)]);
    assert!(seen.iter().any(|(_, seen)| payloads(seen).contains(&kind::EAP)));
    assert!(seen.iter().any(|(_, seen)| payloads(seen) == [kind::DELETE]));
    assert!(seen.iter().any(|(_, seen)| matches!(seen.content, Content::Repeated)), "the wire loses answers");
    assert!(seen.iter().all(|(_, seen)| seen.keys.is_none()));
}

#[test]
fn keys_are_told_when_they_are_asked_for_and_never_shown() {
    let watched = life(Watch::Keys);
    let protected =
        |seen: &&Seen| Header::parse(&seen.datagrams[0]).is_ok_and(|header| header.message_id > 0) && !payloads(seen).is_empty();
    let seen: Vec<_> = watched.gateway().seen.iter().map(|(_, seen)| seen).filter(protected).collect();
    assert!(seen.len() > 4 && seen.iter().all(|seen| seen.keys.is_some()));
    assert!(!format!("{seen:?}").contains("keys"));
}

/// What begins no session is told of nobody, with the reason, before the answer that it got.
#[test]
fn strangers_are_told_with_what_became_of_them() {
    let mut config = responder();
    config.limits.cookie_threshold = 0;
    let mut pair = Pair::new(3, config);
    let gateway = pair.gateway;
    pair.sim.host_mut(gateway).endpoint.watch(Watch::Messages);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let (first, path) = (&pair.gateway().seen[..2], pair.client().sent[0].0);
    assert!(first.iter().all(|(session, _)| session.is_none()), "there is no session before the COOKIE");
    assert_eq!((payloads(&first[0].1)[0], payloads(&first[1].1)), (kind::SA, vec![kind::NOTIFY]));
    assert!(!first[0].1.outbound && first[1].1.outbound);
    for (datagram, dropped) in [(vec![1; 20], None), (sealed(&pair), Some("unknown_spi"))] {
        pair.sim.inject(path, datagram);
        let told = pair.gateway().seen.iter().rev().find(|(_, seen)| !seen.outbound).unwrap();
        match (&told.1.content, dropped) {
            (Content::Malformed(_), None) => {}
            (Content::Dropped(counter), Some(expected)) => assert_eq!(*counter, expected),
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// A message of an IKE SA that nobody has.
fn sealed(pair: &Pair) -> Vec<u8> {
    let mut message = pair.client().sent.last().unwrap().1.clone();
    message[..16].fill(9);
    message
}
