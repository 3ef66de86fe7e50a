//! RADIUS/1.1 (RFC 9765): Tokens instead of Identifiers and authenticators, and nothing hidden but by TLS.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn over_tls(name: &str, last: u8) -> Server {
    let address = format!("192.0.2.{last}:2083").parse().unwrap();
    Server { probe: Probe::StatusServer, transport: Transport::Tls { address, accounting: true }, ..server(name, last) }
}

fn outputs(client: &mut Client) -> Vec<Output> {
    drain_speaking(client, RadiusVersion::V1_1)
}

fn token(request: &Sent) -> u32 {
    u32::from_be_bytes(request.bytes[4..8].try_into().unwrap())
}

/// A reply as RFC 9765 section 4.1 draws it, its reserved fields filled with what a receiver has to ignore.
fn answer(code: u8, token: u32, attributes: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, value) in attributes {
        body.extend([*number, value.len() as u8 + 2]);
        body.extend(value);
    }
    let length = (20 + body.len()) as u16;
    [&[code, 0xa5][..], &length.to_be_bytes(), &token.to_be_bytes(), &[0x5a; 12], &body].concat()
}

fn accounting(ticket: u64) -> Input {
    let record = AccountingRecord { user_name: b"alice".to_vec(), nas: nas(), ..AccountingRecord::default() };
    Input::Accounting { ticket: Ticket(ticket), group: None, record: Box::new(record) }
}

fn opened(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Open { .. })).count()
}

#[test]
fn nothing_leaves_before_both_ends_have_agreed() {
    let mut client = client(vec![over_tls("one", 1)]);
    client.handle(start(), login(1, 1, pap(b"open sesame")));
    client.handle(start(), ask(2, 2, &eap_packet(2, 1, &[26])));
    client.handle(start(), Input::Forget(ConversationId(2)));
    let Some(Output::Open { socket, .. }) = client.poll_output() else { panic!() };
    assert!(matches!(client.poll_output(), Some(Output::Eap { outcome: EapOutcome::Failed(RequestFailure::Forgotten), .. })));
    assert!(client.poll_output().is_none());
    client.handle(start(), Input::Connected { socket, version: RadiusVersion::V1_1 });
    let request = only_sent(&outputs(&mut client));
    assert_eq!(request.get(2).unwrap(), b"open sesame", "what nobody waits for is not sent at all");
    client.handle(start(), Input::Connected { socket, version: RadiusVersion::V1_0 });
    assert!(client.poll_output().is_none());
    assert_eq!(client.servers()[0].version, Some(RadiusVersion::V1_0));
}

#[test]
fn requests_have_a_token_and_no_md5() {
    let mut client = client(vec![over_tls("one", 1)]);
    client.handle(start(), login(1, 1, pap(b"a password of more than sixteen bytes")));
    client.handle(start(), ask(2, 2, &eap_packet(2, 1, &[26])));
    client.handle(start(), accounting(3));
    client.handle(start(), login(4, 4, Credentials::Chap { identifier: 7, challenge: vec![9; 16], response: [8; 16] }));
    let sent = sent(&outputs(&mut client));
    let codes: Vec<_> = sent.iter().map(|request| request.bytes[0]).collect();
    assert_eq!(codes, [1, 1, 4, 1]);
    for (index, request) in (0..).zip(&sent) {
        assert_eq!(request.bytes[1], 0, "Reserved-1");
        assert_eq!(request.bytes[8..20], [0; 12], "Reserved-2");
        assert_eq!(token(request), token(&sent[0]).wrapping_add(index));
        assert_eq!(request.get(80), None, "Message-Authenticator");
        assert_eq!(usize::from(u16::from_be_bytes([request.bytes[2], request.bytes[3]])), request.bytes.len());
    }
    assert_eq!(sent[0].get(2).unwrap(), b"a password of more than sixteen bytes");
    assert_eq!((sent[3].get(3).unwrap(), sent[3].get(60).unwrap()), ([&[7][..], &[8; 16]].concat(), vec![9; 16]));
}

#[test]
fn answers_find_their_request_by_token_and_their_keys_are_plain() {
    let mut client = client(vec![over_tls("one", 1)]);
    for ticket in 0..3 {
        client.handle(start(), ask(ticket, ticket, &eap_packet(2, 1, &[26])));
    }
    let sent = sent(&outputs(&mut client));
    let challenge = [(80, vec![0xee; 16]), (79, eap_packet(1, 2, &[26])), (24, b"state".to_vec())];
    client.handle(start(), sent[2].datagram(answer(11, token(&sent[2]), &challenge)));
    let keys = [microsoft(17, &[0x17; 32]), microsoft(16, &[0x16; 32]), (79, eap_packet(3, 2, &[]))];
    client.handle(start(), sent[1].datagram(answer(2, token(&sent[1]), &keys)));
    client.handle(start(), sent[0].datagram(answer(3, token(&sent[0]).wrapping_sub(1), &[])));
    let found = outcomes(outputs(&mut client));
    assert!(matches!(&found[..], [(2, EapOutcome::Challenge { .. }), (1, EapOutcome::Accept { .. })]), "{found:?}");
    let EapOutcome::Accept { accept, .. } = &found[1].1 else { panic!() };
    assert_eq!(accept.msk[..], [[0x17; 32], [0x16; 32]].concat());
    assert_eq!(client.counters()[0].1.dropped_unsolicited, 1, "a token that nobody sent");
    client.handle(start(), ask(3, 2, &eap_packet(2, 2, &[26])));
    let next = only_sent(&outputs(&mut client));
    assert_eq!((next.get(24).unwrap(), token(&next)), (b"state".to_vec(), token(&sent[2]).wrapping_add(1)));
}

#[test]
fn a_connection_has_room_for_thousands() {
    let mut client = client(vec![over_tls("one", 1)]);
    client.handle(start(), login(0, 0, pap(b"secret")));
    outputs(&mut client);
    for ticket in 1..5000 {
        client.handle(start(), login(ticket, ticket, pap(b"secret")));
    }
    let all = outputs(&mut client);
    assert_eq!(opened(&all), 4, "what is beyond 4096 opens others, which may be of the other version: 255 wait for each");
    let requests = sent(&all);
    let distinct: BTreeSet<_> = requests.iter().map(|request| (request.socket, token(request))).collect();
    assert_eq!(distinct.len(), 4999);
    for request in requests.iter().rev() {
        client.handle(start(), request.datagram(answer(2, token(request), &[])));
    }
    assert_eq!(login_outcomes(outputs(&mut client)).len(), 4999);
}

#[test]
fn a_request_that_cannot_be_served_goes_to_another_server() {
    let mut client = client(vec![over_tls("one", 1), over_tls("two", 2)]);
    client.handle(start(), login(1, 1, pap(b"secret")));
    client.handle(start(), accounting(2));
    let first = sent(&outputs(&mut client));
    let error = [(101, vec![0, 0, 1, 0xf6]), (18, b"no route".to_vec())];
    for request in &first {
        client.handle(start(), request.datagram(answer(52, token(request), &error)));
    }
    let second = sent(&outputs(&mut client));
    assert!(second.iter().all(|request| request.to != first[0].to) && second.len() == 2, "{second:?}");
    for request in &second {
        client.handle(start(), request.datagram(answer(52, token(request), &[])));
    }
    let all = outputs(&mut client);
    let lost = all.iter().any(|output| matches!(output, Output::Accounting { outcome: Err(_), .. }));
    let LoginOutcome::Failed(failure) = login_outcomes(all).remove(0).1 else { panic!() };
    let one = "one: it cannot serve this request (Protocol-Error, Error-Cause 502 Request Not Routable (Proxy), \"no route\")";
    assert_eq!(
        failure.to_string(),
        format!("radius one (declined), two (declined): {one}; two: it cannot serve this request (Protocol-Error)")
    );
    assert!(lost, "accounting does not ask them again at once");
    assert!(client.servers().iter().all(|server| server.standing != Standing::Dead && server.counters.declined == 2));
}

#[test]
fn who_breaks_the_rules_loses_the_connection() {
    for (code, attributes) in [(5, vec![]), (43, vec![]), (2, vec![(33, b"smuggled".to_vec())])] {
        let mut client = client(vec![over_tls("one", 1)]);
        client.handle(start(), login(1, 1, pap(b"secret")));
        let request = only_sent(&outputs(&mut client).into_iter().filter(|o| matches!(o, Output::Transmit { .. })).collect::<Vec<_>>());
        client.handle(start(), request.datagram(answer(code, token(&request), &attributes)));
        let all = outputs(&mut client);
        assert!(all.iter().any(|output| matches!(output, Output::Close { .. })), "{code}: {all:?}");
        assert!(matches!(login_outcomes(all)[..], [(1, LoginOutcome::Failed(_))]));
    }
}

#[test]
fn the_watchdog_has_a_token_too() {
    let mut client = client(vec![over_tls("one", 1)]);
    client.handle(start(), login(1, 1, pap(b"secret")));
    let request = sent(&outputs(&mut client))[0].clone();
    client.handle(start(), request.datagram(answer(2, token(&request), &[])));
    outputs(&mut client);
    let at = client.poll_timeout().unwrap();
    client.handle(at, Input::Timeout);
    let probe = only_sent(&outputs(&mut client));
    assert_eq!((probe.bytes[0], probe.get(80), token(&probe)), (12, None, token(&request).wrapping_add(1)));
    client.handle(at, probe.datagram(answer(2, token(&probe), &[])));
    assert!(outputs(&mut client).is_empty());
    assert_eq!(client.servers()[0].standing, Standing::Alive);
    assert!(at > start() - Duration::from_secs(1));
}

#[test]
fn an_empty_password_is_refused_in_words() {
    let mut client = client(vec![over_tls("one", 1), over_tls("two", 2)]);
    client.handle(start(), login(1, 1, pap(b"")));
    let LoginOutcome::Failed(failure) = login_outcomes(outputs(&mut client)).remove(0).1 else { panic!() };
    assert_eq!(failure.to_string(), "radius one: request not sent: RADIUS/1.1 carries no empty password");
}

#[test]
fn each_connection_agrees_for_itself() {
    let mut client = client(vec![over_tls("one", 1)]);
    client.handle(start(), login(1, 1, pap(b"secret")));
    let request = sent(&outputs(&mut client))[0].clone();
    let lost = Input::Closed { socket: request.socket, cause: "the wire was cut".into(), served: true };
    client.handle(start(), lost);
    let again = sent(&drain(&mut client))[0].clone();
    assert_eq!(again.get(80).unwrap().len(), 16, "with RADIUS/1.0 it is signed again");
    assert_eq!(password(&again, SECRET), b"secret");
    client.handle(start(), again.datagram(reply(2, &again, &[])));
    assert_eq!(login_outcomes(drain(&mut client)).len(), 1);
}
