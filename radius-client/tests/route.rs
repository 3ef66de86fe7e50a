//! The source address is the kernel's choice of the moment: sockets do not outlive what they were opened on.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Asks for a login; nothing is to be open but what its request needs.
fn asked(client: &mut Client, now: Instant, ticket: u64) -> Sent {
    client.handle(now, login(ticket, ticket, pap(b"secret")));
    sent(&drain(client)).pop().unwrap()
}

fn silence(client: &mut Client, end: Instant) -> Vec<Output> {
    let mut all = drain(client);
    while let Some(next) = client.poll_timeout().filter(|next| *next <= end) {
        client.handle(next, Input::Timeout);
        all.extend(drain(client));
    }
    all
}

fn closed(outputs: &[Output]) -> Vec<SocketId> {
    outputs.iter().filter_map(|output| if let Output::Close { socket } = output { Some(*socket) } else { None }).collect()
}

fn opened(outputs: &[Output]) -> Vec<SocketId> {
    outputs.iter().filter_map(|output| if let Output::Open { socket, .. } = output { Some(*socket) } else { None }).collect()
}

fn not_sent(request: &Sent) -> Input {
    Input::NotSent { socket: request.socket, identifier: request.identifier() }
}

#[test]
fn a_server_that_died_by_silence_is_asked_from_a_new_socket() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1)]);
    let first = asked(&mut client, t0, 1);
    let outputs = silence(&mut client, t0 + seconds(30));
    assert_eq!(closed(&outputs), [first.socket]);
    let second = asked(&mut client, t0 + seconds(31), 2);
    assert_ne!(second.socket, first.socket);
    client.handle(t0 + seconds(31), second.datagram(reply(3, &second, &[])));
    assert_eq!(login_outcomes(drain(&mut client)).len(), 1);
}

#[test]
fn a_configured_source_stays() {
    let t0 = start();
    let mut client = client(vec![Server { source: Some("198.51.100.1".parse().unwrap()), ..server("nps1", 1) }]);
    let first = asked(&mut client, t0, 1);
    assert_eq!(closed(&silence(&mut client, t0 + seconds(30))), []);
    let second = asked(&mut client, t0 + seconds(31), 2);
    client.handle(t0 + seconds(31), not_sent(&second));
    assert!(drain(&mut client).is_empty(), "it will be repeated");
    assert_eq!(second.socket, first.socket);
}

/// Its user may still be thinking about a second factor.
#[test]
fn what_waits_may_be_answered_where_it_was_asked_from() {
    let t0 = start();
    let mut client = client(vec![Server { timeout: seconds(60), ..server("nps1", 1) }]);
    let heard = asked(&mut client, t0, 1);
    client.handle(t0, heard.datagram(reply(3, &heard, &[])));
    drain(&mut client);
    let slow = asked(&mut client, t0 + seconds(1), 2);
    assert_eq!(slow.socket, heard.socket);
    assert_eq!(closed(&silence(&mut client, t0 + seconds(20))), [], "its tries have run out");
    client.handle(t0 + seconds(20), login(3, 3, pap(b"other")));
    let outputs = drain(&mut client);
    assert_eq!(opened(&outputs).len(), 1);
    let other = only_sent(&outputs);
    assert_ne!(other.socket, slow.socket);
    client.handle(t0 + seconds(40), slow.datagram(reply(2, &slow, &[])));
    let outputs = drain(&mut client);
    assert_eq!(closed(&outputs), [slow.socket], "nothing uses it any more");
    assert_eq!(login_outcomes(outputs).len(), 1);
}

#[test]
fn what_the_kernel_would_not_send_goes_from_another_socket_at_once() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1)]);
    let first = asked(&mut client, t0, 1);
    client.handle(t0, not_sent(&first));
    let outputs = drain(&mut client);
    assert_eq!((closed(&outputs), opened(&outputs).len()), (vec![first.socket], 1));
    let again = only_sent(&outputs);
    client.handle(t0, not_sent(&again));
    assert!(drain(&mut client).is_empty(), "the kernel has not changed its mind: it is repeated as usual");
    let outputs = silence(&mut client, t0 + seconds(3));
    assert_eq!(only_sent(&outputs).bytes, again.bytes);
    client.handle(t0 + seconds(3), again.datagram(reply(2, &again, &[])));
    assert!(matches!(login_outcomes(drain(&mut client)).remove(0).1, LoginOutcome::Accept { .. }));
}

/// It may have been heard, and its user asked.
#[test]
fn what_went_out_once_is_no_new_question() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1)]);
    asked(&mut client, t0, 1);
    let repeated = only_sent(&silence(&mut client, t0 + seconds(3)));
    client.handle(t0 + seconds(3), not_sent(&repeated));
    assert!(drain(&mut client).is_empty());
    let other = asked(&mut client, t0 + seconds(4), 2);
    assert_ne!(other.socket, repeated.socket);
}

#[test]
fn a_probe_that_was_not_sent_is_asked_anew() {
    let t0 = start();
    let mut client = client(vec![Server { probe: Probe::StatusServer, ..server("nps1", 1) }]);
    asked(&mut client, t0, 1);
    let outputs = silence(&mut client, t0 + seconds(3));
    let probe = sent(&outputs).into_iter().find(|request| request.bytes[0] == 12).unwrap();
    client.handle(t0 + seconds(3), not_sent(&probe));
    let again = only_sent(&drain(&mut client).into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect::<Vec<_>>());
    assert_eq!(again.bytes[0], 12);
    assert_ne!(again.socket, probe.socket);
}

/// An hour of a dead server, and of a network that takes nothing: never more than a few sockets, nor a new one with every request.
#[test]
fn a_dead_server_makes_no_storm_of_sockets() {
    for refused in [false, true] {
        let t0 = start();
        let probed = Server { probe: Probe::StatusServer, revive_interval: seconds(1), ..server("nps1", 1) };
        let mut client = client(vec![probed]);
        let (mut open, mut most, mut made) = (BTreeSet::new(), 0, 0);
        for second in 0..3600 {
            let now = t0 + seconds(second);
            if second % 3 == 0 {
                client.handle(now, login(second, second, pap(b"secret")));
            }
            client.handle(now, Input::Timeout);
            let mut outputs = drain(&mut client);
            while !outputs.is_empty() {
                made += opened(&outputs).len();
                open.extend(opened(&outputs));
                most = most.max(open.len());
                closed(&outputs).iter().for_each(|socket| assert!(open.remove(socket)));
                sent(&outputs).iter().filter(|_| refused).for_each(|request| client.handle(now, not_sent(request)));
                outputs = drain(&mut client);
            }
        }
        assert!(most <= 8 && made <= 361, "{most} at a time, {made} in all");
        assert!(made > 100, "it is asked from a new one now and then: {made}");
    }
}
