//! RADIUS over TLS (RFC 6614): nothing is repeated on a connection, what breaks is replaced, who sends nonsense is left.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::time::{Duration, Instant};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn tls(name: &str, last: u8) -> Server {
    let address = format!("192.0.2.{last}:2083").parse().unwrap();
    Server {
        probe: Probe::StatusServer,
        require_message_authenticator: RequireMessageAuthenticator::No,
        transport: Transport::Tls { address, accounting: true },
        ..server(name, last)
    }
}

fn opened(outputs: &[Output]) -> Vec<(SocketId, String)> {
    let pick = |output: &Output| match output {
        Output::Open { socket, dial: Dial::Tls { server, .. }, .. } => Some((*socket, server.clone())),
        _ => None,
    };
    outputs.iter().filter_map(pick).collect()
}

fn closed(outputs: &[Output]) -> Vec<SocketId> {
    let pick = |output: &Output| match output {
        Output::Close { socket } => Some(*socket),
        _ => None,
    };
    outputs.iter().filter_map(pick).collect()
}

/// Lets time pass until `end`; returns what was put out, and when.
fn run(client: &mut Client, end: Instant) -> Vec<(Instant, Output)> {
    let mut all = Vec::new();
    while let Some(next) = client.poll_timeout().filter(|next| *next <= end) {
        client.handle(next, Input::Timeout);
        all.extend(drain(client).into_iter().map(|output| (next, output)));
    }
    all
}

fn lost(socket: SocketId, served: bool) -> Input {
    Input::Closed { socket, cause: "the wire was cut".into(), served }
}

fn accounting(ticket: u64) -> Input {
    let record = AccountingRecord { user_name: b"alice".to_vec(), nas: nas(), ..AccountingRecord::default() };
    Input::Accounting { ticket: Ticket(ticket), group: None, record: Box::new(record) }
}

/// Other TLS settings are for new logins; a conversation under way keeps its connection.
#[test]
fn a_renewed_certificate_gets_a_connection_of_its_own() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let (first, _) = opened(&drain(&mut client))[0].clone();
    client.handle(t0, Input::Configure(vec![Server { tls_settings: [1; 32], ..tls("one", 1) }].into()));
    client.handle(t0, login(2, 2, pap(b"secret")));
    let outputs = drain(&mut client);
    assert!(opened(&outputs).iter().all(|(socket, server)| *socket != first && server == "one") && opened(&outputs).len() == 1);
    assert!(closed(&outputs).is_empty(), "a login under way has lost its connection");
    client.handle(t0, Input::Configure(vec![Server { tls_settings: [1; 32], ..tls("one", 1) }].into()));
    client.handle(t0, login(3, 3, pap(b"secret")));
    assert!(opened(&drain(&mut client)).is_empty(), "the same settings are the same server");
}

#[test]
fn logins_and_accounting_share_a_connection() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, login(1, 1, pap(b"secret")));
    client.handle(t0, accounting(2));
    let outputs = drain(&mut client);
    assert_eq!(opened(&outputs).len(), 1);
    assert_eq!(opened(&outputs)[0].1, "one");
    let sent = sent(&outputs);
    assert_eq!((sent[0].bytes[0], sent[1].bytes[0], sent[0].socket), (1, 4, sent[1].socket));
    client.handle(t0, sent[1].datagram(bare_reply(5, &sent[1], &[])));
    client.handle(t0, sent[0].datagram(bare_reply(2, &sent[0], &[])));
    let outputs = drain(&mut client);
    assert!(
        outputs.iter().any(|output| matches!(output, Output::Accounting { outcome: Ok(server), .. } if server == "one")),
        "{outputs:?}"
    );
    assert_eq!(login_outcomes(outputs).len(), 1, "and none needs Message-Authenticator");
}

#[test]
fn nothing_is_repeated_on_a_connection_that_answers_status_server() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let question =
        only_sent(&drain(&mut client).into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect::<Vec<_>>());
    let mut probes = 0;
    while let Some(next) = client.poll_timeout().filter(|next| *next < t0 + seconds(25)) {
        client.handle(next, Input::Timeout);
        let outputs = drain(&mut client);
        assert!(closed(&outputs).is_empty() && opened(&outputs).is_empty());
        for probe in sent(&outputs) {
            assert_eq!((probe.bytes[0], probe.socket), (12, question.socket));
            probes += 1;
            client.handle(next, probe.datagram(bare_reply(2, &probe, &[])));
        }
    }
    assert!(probes >= 2, "{probes}");
    client.handle(t0 + seconds(25), question.datagram(bare_reply(2, &question, &[])));
    assert_eq!(login_outcomes(drain(&mut client)).len(), 1);
}

#[test]
fn a_connection_without_an_answer_to_status_server_is_replaced() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, ask(1, 1, &eap_packet(2, 1, &[26])));
    let outputs = drain(&mut client);
    let (first, socket) = (sent(&outputs)[0].clone(), opened(&outputs)[0].0);
    let later: Vec<_> = run(&mut client, t0 + seconds(8)).into_iter().map(|(_, output)| output).collect();
    assert_eq!(closed(&later), [socket]);
    let other = opened(&later)[0].0;
    let again = sent(&later).into_iter().find(|request| request.socket == other).unwrap();
    assert_eq!((again.get(79), again.bytes[0]), (first.get(79), 1));
    assert_ne!(again.authenticator(), first.authenticator(), "a packet of its own");
    client.handle(t0 + seconds(9), Input::Datagram { socket, from: first.to, bytes: bare_reply(3, &first, &[]) });
    assert!(outcomes(drain(&mut client)).is_empty(), "the old connection is forgotten");
    client.handle(t0 + seconds(9), again.datagram(reply(3, &again, &[(79, eap_packet(4, 1, &[]))])));
    assert_eq!(outcomes(drain(&mut client)).len(), 1);
}

fn transmits(client: &mut Client) -> Vec<Sent> {
    sent(&drain(client))
}

/// As FreeRADIUS does with `max_connections`: it closes the one too many, and serves the others.
#[test]
fn what_finds_no_connection_waits_for_a_place_on_those_that_stand() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1), tls("two", 2)]);
    for id in 0..255 {
        client.handle(t0, login(id, id, pap(b"secret")));
    }
    let full = transmits(&mut client);
    client.handle(t0, login(900, 900, pap(b"late")));
    client.handle(t0, accounting(901));
    let mut opened = Vec::new();
    while let Some(output) = client.poll_output() {
        let Output::Open { socket, dial, .. } = output else { panic!("{output:?}") };
        opened.push((socket, dial.peer().to_string()));
    }
    assert_eq!(opened.iter().map(|(_, peer)| peer.as_str()).collect::<Vec<_>>(), ["192.0.2.1:2083"]);
    client.handle(t0, lost(opened[0].0, false));
    client.handle(t0, login(902, 902, pap(b"later")));
    let outputs = drain(&mut client);
    assert!(outputs.is_empty(), "nobody died, nobody else is asked, no other connection is tried: {outputs:?}");
    assert_eq!(client.servers()[0].standing, Standing::Unknown);
    let mut taken = Vec::new();
    for answered in &full[..3] {
        client.handle(t0 + seconds(1), answered.datagram(bare_reply(3, answered, &[])));
        taken.push(transmits(&mut client).remove(0));
    }
    assert!(taken.iter().all(|request| request.socket == full[0].socket));
    assert_eq!((password(&taken[0], b"a shared secret of some length"), taken[1].bytes[0]), (b"late".to_vec(), 4));
    client.handle(t0 + seconds(1), taken[0].datagram(bare_reply(2, &taken[0], &[])));
    assert!(matches!(login_outcomes(drain(&mut client)).remove(0), (900, LoginOutcome::Accept { .. })));
    client.handle(t0 + seconds(1), taken[1].datagram(bare_reply(5, &taken[1], &[])));
    assert!(matches!(&drain(&mut client)[..], [Output::Accounting { ticket: Ticket(901), outcome: Ok(_) }]));
}

#[test]
fn what_waits_for_a_place_goes_elsewhere_with_the_last_connection() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1), tls("two", 2)]);
    for id in 0..256 {
        client.handle(t0, login(id, id, pap(b"secret")));
    }
    let (mut stands, mut refused) = (None, None);
    while let Some(output) = client.poll_output() {
        if let Output::Open { socket, .. } = output {
            if stands.is_none() { stands = Some(socket) } else { refused = Some(socket) }
        }
    }
    client.handle(t0, Input::Connected { socket: stands.unwrap(), version: RadiusVersion::V1_0 });
    client.handle(t0, lost(refused.unwrap(), false));
    assert_eq!(transmits(&mut client).len(), 255);
    client.handle(t0, lost(stands.unwrap(), false));
    let asked = transmits(&mut client);
    assert!(asked.len() == 256 && asked.iter().all(|request| request.to.to_string() == "192.0.2.2:2083"), "{}", asked.len());
}

#[test]
fn who_waits_in_vain_for_a_place_is_told_so() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    for id in 0..255 {
        client.handle(t0, login(id, id, pap(b"secret")));
    }
    let full = transmits(&mut client);
    client.handle(t0, login(900, 900, pap(b"late")));
    let Some(Output::Open { socket, .. }) = client.poll_output() else { panic!() };
    client.handle(t0, lost(socket, false));
    drain(&mut client);
    let mut told = Vec::new();
    // Probes are answered: the server is slow with each of its logins.
    while let Some(next) = client.poll_timeout().filter(|_| told.is_empty()) {
        client.handle(next, Input::Timeout);
        let outputs = drain(&mut client);
        for probe in sent(&outputs) {
            client.handle(next, probe.datagram(bare_reply(2, &probe, &[])));
        }
        told = login_outcomes(outputs).into_iter().filter(|(ticket, _)| *ticket == 900).collect();
    }
    let (_, LoginOutcome::Failed(failure)) = &told[0] else { panic!("{told:?}") };
    assert!(failure.to_string().contains("no room for another request within 30 s"), "{failure}");
    assert_ne!(client.servers()[0].standing, Standing::Dead);
    assert_eq!(full.len(), 255);
}

#[test]
fn a_conversation_survives_its_connection() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1), tls("two", 2)]);
    client.handle(t0, ask(1, 1, &eap_packet(2, 1, &[26])));
    let first = sent(&drain(&mut client))[0].clone();
    client.handle(t0, first.datagram(reply(11, &first, &[(79, eap_packet(1, 2, &[26])), (24, b"state".to_vec())])));
    drain(&mut client);
    client.handle(t0, ask(2, 1, &eap_packet(2, 2, &[26])));
    let second = only_sent(&drain(&mut client));
    client.handle(t0, lost(second.socket, true));
    let outputs = drain(&mut client);
    assert_eq!(opened(&outputs)[0].1, "one", "only it has the state");
    let again = only_sent(&outputs.into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect::<Vec<_>>());
    assert_eq!((again.get(24), again.get(79)), (Some(b"state".to_vec()), second.get(79)));
    client.handle(t0, ask(3, 1, &eap_packet(2, 2, &[26])));
    assert!(drain(&mut client).is_empty(), "the client's repetition shares the answer");
    client.handle(t0, again.datagram(reply(2, &again, &[(79, eap_packet(3, 2, &[]))])));
    assert_eq!(outcomes(drain(&mut client)).len(), 2);
    let counters = client.counters()[0].1;
    assert_eq!((counters.connections, counters.connections_lost, counters.retransmitted), (2, 1, 1));
}

#[test]
fn where_no_connection_can_be_made_the_next_server_is_asked() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1), tls("two", 2)]);
    client.handle(t0, ask(1, 1, &eap_packet(2, 1, &[26])));
    let first = opened(&drain(&mut client))[0].0;
    client.handle(t0, lost(first, false));
    let outputs = drain(&mut client);
    assert_eq!(opened(&outputs)[0].1, "two");
    client.handle(t0, lost(opened(&outputs)[0].0, false));
    let EapOutcome::Failed(failure) = outcomes(drain(&mut client)).remove(0).1 else { panic!() };
    assert_eq!(failure.to_string(), "radius one (no connection), two (no connection): one: the wire was cut; two: the wire was cut");
    client.handle(t0, ask(2, 2, &eap_packet(2, 1, &[26])));
    let outputs = drain(&mut client);
    assert!(opened(&outputs).is_empty(), "connections are not hammered");
    assert!(matches!(outcomes(outputs).remove(0).1, EapOutcome::Failed(RequestFailure::Connection { .. })));
    client.handle(t0 + Duration::from_millis(50), ask(3, 3, &eap_packet(2, 1, &[26])));
    assert_eq!(opened(&drain(&mut client)).len(), 1);
}

#[test]
fn what_nobody_waits_for_pauses_longer_with_each_failure_and_an_answer_begins_anew() {
    let mut at = start();
    let mut client = client(vec![Server { probe: Probe::Off, ..tls("one", 1) }]);
    client.handle(at, login(0, 0, pap(b"secret")));
    let first = opened(&drain(&mut client))[0].0;
    client.handle(at, lost(first, false));
    drain(&mut client);
    let mut pause_after = |client: &mut Client, answered: bool| {
        let began = at;
        loop {
            at += Duration::from_millis(500);
            client.handle(at, accounting(9));
            let outputs = drain(client);
            let Some((socket, _)) = opened(&outputs).first().cloned() else { continue };
            let request = sent(&outputs)[0].clone();
            if answered {
                client.handle(at, request.datagram(bare_reply(5, &request, &[])));
            }
            client.handle(at, lost(socket, false));
            drain(client);
            return (at - began).as_millis();
        }
    };
    let pauses: Vec<_> = (0..6).map(|_| pause_after(&mut client, false)).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000]);
    assert_eq!((pause_after(&mut client, true), pause_after(&mut client, false)), (8000, 500));
}

#[test]
fn a_server_that_breaks_radius_loses_its_connection() {
    let t0 = start();
    type Answer = fn(&Sent) -> Vec<u8>;
    let cases: [(Answer, &str); 3] = [
        (|request| seal(unsigned(2, request, &[]), b"another"), "another shared secret?"),
        (|request| bare_reply(5, request, &[]), "a code that answers no such request"),
        (|request| [&[2, request.identifier(), 0, 22][..], &[0; 17], &[1]].concat(), "malformed"),
    ];
    for (answer, cause) in cases {
        let mut client = client(vec![tls("one", 1)]);
        client.handle(t0, login(1, 1, pap(b"secret")));
        let request = sent(&drain(&mut client))[0].clone();
        client.handle(t0, request.datagram(answer(&request)));
        let outputs = drain(&mut client);
        assert_eq!(closed(&outputs), [request.socket]);
        let LoginOutcome::Failed(failure) = login_outcomes(outputs).remove(0).1 else { panic!() };
        assert!(failure.to_string().contains(cause), "{failure}");
    }
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let request = sent(&drain(&mut client))[0].clone();
    let mut late = request.clone();
    late.bytes[1] ^= 0x80;
    client.handle(t0, request.datagram(bare_reply(2, &late, &[])));
    assert!(drain(&mut client).is_empty(), "what nobody waits for any more is no crime");
}

#[test]
fn a_full_connection_keeps_an_identifier_for_its_watchdog() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    for ticket in 0..256 {
        client.handle(t0, login(ticket, ticket, pap(b"secret")));
    }
    let outputs = drain(&mut client);
    let (opened, sent) = (opened(&outputs), sent(&outputs));
    assert_eq!(opened.len(), 2);
    assert_eq!(sent.iter().filter(|request| request.socket == opened[0].0).count(), 255);
    let all: Vec<_> = run(&mut client, t0 + seconds(3)).into_iter().map(|(_, output)| output).collect();
    assert!(common::sent(&all).iter().any(|probe| probe.bytes[0] == 12 && probe.socket == opened[0].0), "{}", all.len());
}

#[test]
fn an_idle_connection_is_watched_and_hung_up_when_dead() {
    let t0 = start();
    let mut client = client(vec![tls("one", 1)]);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let request = sent(&drain(&mut client))[0].clone();
    client.handle(t0, request.datagram(bare_reply(2, &request, &[])));
    drain(&mut client);
    let outputs = run(&mut client, t0 + seconds(34));
    let (at, probe) = (outputs[0].0, only_sent(&[outputs.into_iter().next().unwrap().1]));
    assert!((26..=34).contains(&(at - t0).as_secs()), "{:?}", at - t0);
    client.handle(at, probe.datagram(bare_reply(2, &probe, &[])));
    let outputs = run(&mut client, at + seconds(70));
    let end = outputs.iter().find(|(_, output)| matches!(output, Output::Close { .. })).unwrap().0;
    assert!((30..=39).contains(&(end - at).as_secs()), "the next one had no answer: {:?}", end - at);
    assert_eq!(client.poll_timeout(), None, "nothing is left to watch");
}
