//! Rounds, retransmission, failover: one step at a time.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::time::{Duration, Instant};

fn two() -> Client {
    client(vec![server("nps1", 1), server("nps2", 2)])
}

fn eap(round: u8) -> Vec<u8> {
    eap_packet(2, round, &[26, round])
}

/// Lets time pass until `end`; returns everything that happened with its time.
fn run(client: &mut Client, end: Instant) -> Vec<(Instant, Output)> {
    let mut all = Vec::new();
    while let Some(at) = client.poll_timeout().filter(|at| *at <= end) {
        client.handle(at, Input::Timeout);
        all.extend(drain(client).into_iter().map(|output| (at, output)));
    }
    all
}

fn challenge(client: &mut Client, now: Instant, request: &Sent, state: &[u8]) {
    let attributes = [(79, eap_packet(1, 5, &[26, 1])), (24, state.to_vec())];
    client.handle(now, request.datagram(reply(11, request, &attributes)));
    assert!(matches!(outcomes(drain(client))[..], [(_, EapOutcome::Challenge { .. })]));
}

fn failure(outputs: Vec<Output>) -> RequestFailure {
    match outcomes(outputs).remove(0).1 {
        EapOutcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn repeats_identically_then_tells_what_it_dropped() {
    let t0 = start();
    let mut client = client(vec![Server { tries: 4, ..server("nps1", 1) }]);
    client.handle(t0, ask(1, 1, &eap(1)));
    let first = only_sent(&drain(&mut client));
    client.handle(t0, first.datagram(seal(unsigned(3, &first, &[]), b"other")));
    client.handle(t0, first.datagram(bare_reply(3, &first, &[])));
    let happened = run(&mut client, t0 + Duration::from_secs(100));
    let times: Vec<_> = happened.iter().map(|(at, _)| (*at - t0).as_secs_f64()).collect();
    let outputs: Vec<_> = happened.into_iter().map(|(_, output)| output).collect();
    let repeats = sent(&outputs);
    assert_eq!(repeats.len(), 3);
    assert!(repeats.iter().all(|again| again.bytes == first.bytes && again.socket == first.socket));
    for (time, wanted) in times.iter().zip([2.0, 6.0, 14.0, 30.0]) {
        assert!((time - wanted).abs() <= wanted * 0.2 && *time <= 30.0, "{times:?}");
    }
    let failure = failure(outputs);
    let text = failure.to_string();
    assert!(matches!(failure, RequestFailure::Silent { tries: 4, .. }));
    assert!(text.contains("1 with a wrong Response Authenticator") && text.contains("1 without Message-Authenticator"), "{text}");
    let counters = client.counters()[0].1;
    assert_eq!((counters.sent, counters.retransmitted, counters.timeouts), (1, 3, 1));
}

#[test]
fn the_timeout_ends_a_wait_before_the_tries_do() {
    let t0 = start();
    let mut client = client(vec![Server { tries: 9, timeout: Duration::from_secs(5), ..server("nps1", 1) }]);
    client.handle(t0, ask(1, 1, &eap(1)));
    drain(&mut client);
    let happened = run(&mut client, t0 + Duration::from_secs(60));
    let (at, _) = happened.last().unwrap();
    assert_eq!(*at, t0 + Duration::from_secs(5));
}

#[test]
fn state_goes_back_to_the_same_server_and_nowhere_else() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    assert_eq!(request.get(24), None);
    challenge(&mut client, t0, &request, b"\x00state\x00");
    client.handle(t0, ask(2, 2, &eap(1)));
    assert_eq!(only_sent(&drain(&mut client)).get(24), None, "another conversation has no State");
    client.handle(t0, ask(3, 1, &eap(2)));
    let second = only_sent(&drain(&mut client));
    assert_eq!((second.to, second.get(24)), (request.to, Some(b"\x00state\x00".to_vec())));
    assert_ne!(second.authenticator(), request.authenticator());
    client.handle(t0, second.datagram(reply(3, &second, &[])));
    drain(&mut client);
    client.handle(t0, ask(4, 1, &eap(1)));
    assert_eq!(only_sent(&drain(&mut client)).get(24), None, "a conversation that ended begins anew");
}

#[test]
fn a_challenge_without_state_clears_it() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    challenge(&mut client, t0, &request, b"one");
    client.handle(t0, ask(2, 1, &eap(2)));
    let request = only_sent(&drain(&mut client));
    client.handle(t0, request.datagram(reply(11, &request, &[(79, eap_packet(1, 6, &[26, 1]))])));
    drain(&mut client);
    client.handle(t0, ask(3, 1, &eap(3)));
    assert_eq!(only_sent(&drain(&mut client)).get(24), None);
}

#[test]
fn the_first_round_fails_over_and_the_dead_server_is_asked_last_for_a_while() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let first = only_sent(&drain(&mut client));
    let outputs: Vec<_> = run(&mut client, t0 + Duration::from_secs(17)).into_iter().map(|(_, output)| output).collect();
    let second = sent(&outputs).last().unwrap().clone();
    assert_eq!((first.to.to_string().as_str(), second.to.to_string().as_str()), ("192.0.2.1:1812", "192.0.2.2:1812"));
    let t1 = t0 + Duration::from_secs(18);
    client.handle(t1, second.datagram(reply(3, &second, &[])));
    assert!(matches!(&outcomes(drain(&mut client))[..], [(1, EapOutcome::Reject { server, .. })] if server == "nps2"));
    client.handle(t1, ask(2, 2, &eap(1)));
    assert_eq!(only_sent(&drain(&mut client)).to, second.to, "the dead one is asked last");
    client.handle(t1 + Duration::from_secs(61), ask(3, 3, &eap(1)));
    assert_eq!(only_sent(&drain(&mut client)).to, first.to, "and first again after a minute");
}

#[test]
fn a_later_round_does_not_fail_over() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    challenge(&mut client, t0, &request, b"s");
    client.handle(t0 + Duration::from_secs(1), ask(2, 1, &eap(2)));
    let outputs: Vec<_> = run(&mut client, t0 + Duration::from_secs(60)).into_iter().map(|(_, output)| output).collect();
    assert!(sent(&outputs).iter().all(|sent| sent.to == request.to));
    assert!(matches!(failure(outputs), RequestFailure::LostConversation { server, .. } if server == "nps1"));
}

#[test]
fn a_server_that_answers_others_is_waited_for() {
    let t0 = start();
    let mut client = client(vec![Server { timeout: Duration::from_secs(60), ..server("nps1", 1) }, server("nps2", 2)]);
    client.handle(t0, ask(1, 1, &eap(1)));
    let slow = only_sent(&drain(&mut client));
    client.handle(t0 + Duration::from_secs(1), ask(2, 2, &eap(1)));
    let quick = only_sent(&drain(&mut client));
    client.handle(t0 + Duration::from_secs(1), quick.datagram(reply(3, &quick, &[])));
    drain(&mut client);
    let outputs: Vec<_> = run(&mut client, t0 + Duration::from_secs(40)).into_iter().map(|(_, output)| output).collect();
    assert!(sent(&outputs).len() >= 3 && sent(&outputs).iter().all(|sent| sent.bytes == slow.bytes), "the same bytes, no second request");
    client.handle(t0 + Duration::from_secs(40), slow.datagram(reply(2, &slow, &[(79, eap_packet(3, 1, &[]))])));
    assert!(matches!(outcomes(drain(&mut client))[..], [(1, EapOutcome::Accept { .. })]), "after 40 s of a second factor");
}

#[test]
fn an_alive_server_that_never_answers_this_one_fails_without_a_second_push() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    drain(&mut client);
    client.handle(t0, ask(2, 2, &eap(1)));
    let quick = only_sent(&drain(&mut client));
    client.handle(t0, quick.datagram(reply(3, &quick, &[])));
    drain(&mut client);
    let happened = run(&mut client, t0 + Duration::from_secs(90));
    assert_eq!(happened.last().unwrap().0, t0 + Duration::from_secs(30));
    let outputs: Vec<_> = happened.into_iter().map(|(_, output)| output).collect();
    assert!(sent(&outputs).iter().all(|sent| sent.to == quick.to));
    assert!(matches!(failure(outputs), RequestFailure::Silent { .. }));
}

#[test]
fn a_closed_port_fails_at_once() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let first = only_sent(&drain(&mut client));
    client.handle(t0, Input::Unreachable { socket: first.socket, to: "192.0.2.9:1812".parse().unwrap() });
    assert!(drain(&mut client).is_empty(), "another address says nothing");
    client.handle(t0, Input::Unreachable { socket: first.socket, to: first.to });
    let outputs = drain(&mut client);
    assert!(matches!(outputs[0], Output::Close { socket } if socket == first.socket));
    let second = only_sent(&outputs);
    assert_eq!(second.to.to_string(), "192.0.2.2:1812");
    client.handle(t0, Input::Unreachable { socket: second.socket, to: second.to });
    let failure = failure(drain(&mut client));
    assert_eq!(failure.to_string(), "radius nps1, nps2: port closed (ICMP unreachable)");
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn the_same_eap_packet_again_is_no_second_request() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    client.handle(t0, ask(2, 1, &eap(1)));
    assert!(drain(&mut client).is_empty());
    client.handle(t0, request.datagram(reply(3, &request, &[])));
    let tickets: Vec<_> = outcomes(drain(&mut client)).iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, [1, 2]);
}

#[test]
fn forgetting_cancels_but_keeps_the_identifier_until_its_answer() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    client.handle(t0, Input::Forget(ConversationId(1)));
    assert_eq!(failure(drain(&mut client)), RequestFailure::Forgotten);
    for ticket in 2..=256 {
        client.handle(t0, ask(ticket, ticket, &eap(1)));
        let next = only_sent(&drain(&mut client));
        assert!(next.socket != request.socket || next.identifier() != request.identifier());
    }
    client.handle(t0, request.datagram(reply(3, &request, &[])));
    assert!(drain(&mut client).is_empty());
    assert_eq!(client.counters()[0].1.accepted, 1, "the late answer is known, not unsolicited");
    client.handle(t0, Input::Forget(ConversationId(1)));
    assert!(drain(&mut client).is_empty());
}

#[test]
fn a_forgotten_request_is_never_repeated_and_blames_nobody() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    drain(&mut client);
    client.handle(t0, Input::Forget(ConversationId(1)));
    drain(&mut client);
    assert!(run(&mut client, t0 + Duration::from_secs(100)).is_empty());
    assert_eq!(client.poll_timeout(), None);
    assert_eq!(client.counters()[0].1.timeouts, 0);
}

#[test]
fn a_conversation_that_stops_is_forgotten() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    challenge(&mut client, t0, &request, b"old");
    run(&mut client, t0 + Duration::from_secs(301));
    assert_eq!(client.poll_timeout(), None);
    client.handle(t0 + Duration::from_secs(302), ask(2, 1, &eap(1)));
    assert_eq!(only_sent(&drain(&mut client)).get(24), None);
}

#[test]
fn no_server_is_an_answer() {
    let mut client = client(Vec::new());
    client.handle(start(), ask(1, 1, &eap(1)));
    assert_eq!(failure(drain(&mut client)), RequestFailure::NoServer);
}

#[test]
fn a_new_configuration_leaves_old_conversations_alone() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let old = only_sent(&drain(&mut client));
    let changed = Server { secret: crypto::Zeroizing::new(b"new".to_vec()), ..server("nps1", 1) };
    client.handle(t0, Input::Configure(vec![changed].into()));
    client.handle(t0, ask(2, 2, &eap(1)));
    let outputs = drain(&mut client);
    let new = only_sent(&outputs);
    assert_ne!(new.socket, old.socket, "a new secret is a new server");
    challenge(&mut client, t0, &old, b"s");
    client.handle(t0, ask(3, 1, &eap(2)));
    let again = only_sent(&drain(&mut client));
    assert_eq!((again.socket, again.get(24)), (old.socket, Some(b"s".to_vec())));
    client.handle(t0, again.datagram(reply(3, &again, &[])));
    let closed: Vec<_> = drain(&mut client)
        .iter()
        .filter_map(|output| match output {
            Output::Close { socket } => Some(*socket),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [old.socket], "the old server goes when its last conversation has ended");
    assert_eq!(client.counters().len(), 1);
}

#[test]
fn an_unchanged_server_keeps_socket_and_counters() {
    let t0 = start();
    let mut client = two();
    client.handle(t0, ask(1, 1, &eap(1)));
    let request = only_sent(&drain(&mut client));
    let slower = Server { timeout: Duration::from_secs(60), ..server("nps1", 1) };
    client.handle(t0, Input::Configure(vec![server("nps0", 9), slower].into()));
    assert!(drain(&mut client).is_empty());
    client.handle(t0, request.datagram(reply(3, &request, &[])));
    assert_eq!(outcomes(drain(&mut client)).len(), 1);
    let sent: Vec<_> = client.counters().into_iter().map(|(name, counters)| (name, counters.sent)).collect();
    assert_eq!(sent, [("nps0".to_owned(), 0), ("nps1".to_owned(), 1)]);
}

fn account(client: &mut Client, now: Instant, server: Option<&str>) {
    let record = AccountingRecord {
        status: AccountingStatus::Stop,
        user_name: b"alice".to_vec(),
        nas: nas(),
        framed_ip: None,
        framed_ipv6: None,
        class: Vec::new(),
        session_time: Duration::from_secs(1),
        input_octets: 0,
        output_octets: 0,
        input_packets: 0,
        output_packets: 0,
        terminate_cause: Some(TerminateCause::UserRequest),
        event_timestamp: 1,
        server: server.map(Into::into),
        ..AccountingRecord::default()
    };
    client.handle(now, Input::Accounting { ticket: Ticket(9), group: None, record: Box::new(record) });
}

fn accounting_outcome(outputs: Vec<Output>) -> Result<String, RequestFailure> {
    let mut outcomes = outputs.into_iter().filter_map(|output| match output {
        Output::Accounting { ticket: Ticket(9), outcome } => Some(outcome),
        _ => None,
    });
    let outcome = outcomes.next().expect("an outcome");
    assert!(outcomes.next().is_none());
    outcome
}

#[test]
fn accounting_goes_first_to_the_server_that_authenticated() {
    let t0 = start();
    let mut client = two();
    account(&mut client, t0, Some("nps2"));
    let request = only_sent(&drain(&mut client));
    assert_eq!(request.to.to_string(), "192.0.2.2:1813");
    client.handle(t0, request.datagram(seal(unsigned(5, &request, &[]), b"other")));
    client.handle(t0, request.datagram(bare_reply(2, &request, &[])));
    client.handle(t0, request.datagram(bare_reply(5, &request, &[(80, vec![0; 16])])));
    assert!(drain(&mut client).is_empty());
    client.handle(t0, request.datagram(bare_reply(5, &request, &[])));
    assert_eq!(accounting_outcome(drain(&mut client)), Ok("nps2".into()));
    let counters = client.counters()[1].1;
    assert_eq!((counters.dropped_authenticator, counters.dropped_code, counters.dropped_message_authenticator), (1, 1, 1));
}

#[test]
fn unanswered_accounting_moves_on_with_its_delay_and_ends_after_two_rounds() {
    let t0 = start();
    let mut client = two();
    account(&mut client, t0, None);
    let mut outputs = drain(&mut client);
    outputs.extend(run(&mut client, t0 + Duration::from_secs(600)).into_iter().map(|(_, output)| output));
    let sent = sent(&outputs);
    assert_eq!(sent.len(), 4 * 3);
    let mut seen = Vec::new();
    for cycle in sent.chunks(3) {
        assert!(cycle.iter().all(|again| again.bytes == cycle[0].bytes));
        let delay = cycle[0].get(41).map(|delay| u32::from_be_bytes(delay.try_into().unwrap()));
        seen.push((cycle[0].to.ip().to_string(), delay.map(|delay| (delay + 7) / 14)));
    }
    let (one, two) = ("192.0.2.1".to_owned(), "192.0.2.2".to_owned());
    assert_eq!(seen, [(one.clone(), None), (two.clone(), Some(1)), (one, Some(2)), (two, Some(3))]);
    assert!(matches!(accounting_outcome(outputs), Err(RequestFailure::Silent { server, tries: 12, .. }) if server == "nps1, nps2"));
}

#[test]
fn accounting_without_a_server_fails_clearly() {
    let transport = Transport::Udp { auth: "192.0.2.1:1812".parse().unwrap(), accounting: None };
    let mut client = client(vec![Server { transport, ..server("nps1", 1) }]);
    account(&mut client, start(), None);
    assert_eq!(accounting_outcome(drain(&mut client)), Err(RequestFailure::NoServer));
}
