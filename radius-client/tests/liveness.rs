//! Slow is not dead: probes, revival, Message-Authenticator from the first one on.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use crypto::hash::hmac_md5;
use radius_client::*;
use std::time::{Duration, Instant};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn patient(probe: Probe) -> Client {
    let first = Server { probe, timeout: seconds(60), ..server("nps1", 1) };
    client(vec![first, server("nps2", 2)])
}

fn is_probe(request: &Sent) -> bool {
    request.bytes[0] == 12 || request.get(1) == Some(b"ping".to_vec())
}

/// Lets time pass until `end`; the first server answers nothing but probes, if it is `alive`.
fn run(client: &mut Client, end: Instant, alive: bool) -> Vec<Output> {
    let mut all = Vec::new();
    let mut at = None;
    loop {
        let outputs = drain(client);
        for probe in sent(&outputs).into_iter().filter(|request| alive && is_probe(request)) {
            client.handle(at.unwrap(), probe.datagram(reply(if probe.bytes[0] == 12 { 2 } else { 3 }, &probe, &[])));
        }
        all.extend(outputs);
        let Some(next) = client.poll_timeout().filter(|next| *next <= end) else { break };
        at = Some(next);
        client.handle(next, Input::Timeout);
    }
    all.extend(drain(client));
    all
}

fn changes(outputs: &[Output]) -> Vec<(&str, Change)> {
    let mut all = Vec::new();
    for output in outputs {
        if let Output::Server { server, change } = output {
            all.push((server.as_str(), *change));
        }
    }
    all
}

fn eap_start() -> Vec<u8> {
    eap_packet(2, 1, &[26])
}

#[test]
fn one_user_with_a_second_factor_gets_one_push_from_a_server_that_answers_probes() {
    for probe in [Probe::StatusServer, Probe::User("ping".into())] {
        let t0 = start();
        let mut client = patient(probe);
        client.handle(t0, login(1, 1, pap(b"secret")));
        let outputs = run(&mut client, t0 + seconds(45), true);
        let (probes, logins): (Vec<_>, Vec<_>) = sent(&outputs).into_iter().partition(is_probe);
        assert!(probes.len() > 1 && logins.len() > 3, "{} {}", probes.len(), logins.len());
        assert!(logins.iter().all(|again| again.bytes == logins[0].bytes), "one question, whose repetitions are the same bytes");
        assert!(probes.iter().enumerate().all(|(at, probe)| probes[..at].iter().all(|other| other.bytes != probe.bytes)));
        assert_eq!(client.servers()[0].standing, Standing::Slow);
        client.handle(t0 + seconds(45), logins[0].datagram(reply(2, &logins[0], &[])));
        let outcome = login_outcomes(drain(&mut client)).remove(0).1;
        assert!(matches!(outcome, LoginOutcome::Accept { .. }));
        assert_eq!(client.servers()[0].standing, Standing::Alive);
    }
}

/// The preferred server rejects a login at once.
fn has_answered(client: &mut Client, now: Instant) {
    client.handle(now, login(1, 1, pap(b"secret")));
    let request = only_sent(&drain(client));
    client.handle(now, request.datagram(reply(3, &request, &[])));
    drain(client);
}

/// Nothing but its last answer says that the server lives.
#[test]
fn one_user_with_a_second_factor_gets_one_push_without_a_probe() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    has_answered(&mut client, t0);
    let t1 = t0 + seconds(50);
    client.handle(t1, login(2, 2, pap(b"secret")));
    let outputs = run(&mut client, t1 + seconds(45), false);
    let logins = sent(&outputs);
    assert!(changes(&outputs).is_empty() && logins.len() > 3, "{outputs:?}");
    assert!(logins.iter().all(|again| again.bytes == logins[0].bytes && again.to == logins[0].to), "one push");
    client.handle(t1 + seconds(45), logins[0].datagram(reply(2, &logins[0], &[])));
    assert!(matches!(login_outcomes(drain(&mut client)).remove(0).1, LoginOutcome::Accept { .. }));
}

/// The first login of an evening is no reason to ask its user twice.
#[test]
fn without_a_probe_one_silent_login_after_hours_of_quiet_is_waited_for() {
    for quiet in [61, 3600, 11 * 3600] {
        let t0 = start();
        let mut client = patient(Probe::Off);
        has_answered(&mut client, t0);
        let t1 = t0 + seconds(quiet);
        client.handle(t1, login(2, 2, pap(b"secret")));
        let outputs = run(&mut client, t1 + seconds(58), false);
        let logins = sent(&outputs);
        assert!(changes(&outputs).is_empty() && logins.iter().all(|again| again.bytes == logins[0].bytes), "one push: {outputs:?}");
        client.handle(t1 + seconds(58), logins[0].datagram(reply(2, &logins[0], &[])));
        assert!(matches!(login_outcomes(drain(&mut client)).remove(0).1, LoginOutcome::Accept { .. }));
    }
}

#[test]
fn without_a_probe_a_server_never_heard_or_long_ago_is_left_after_its_tries() {
    for heard in [false, true] {
        let t0 = start();
        let mut client = patient(Probe::Off);
        if heard {
            has_answered(&mut client, t0);
        }
        let t1 = t0 + seconds(12 * 3600 + 1);
        client.handle(t1, login(2, 2, pap(b"secret")));
        let outputs = run(&mut client, t1 + seconds(20), false);
        assert_eq!(changes(&outputs), [("nps1", Change::Died { accounting: false })]);
        assert_eq!(sent(&outputs).last().unwrap().to.to_string(), "192.0.2.2:1812");
    }
}

/// Three tries take 14 seconds.
#[test]
fn without_a_probe_a_server_silent_to_two_logins_is_left_after_the_tries_of_the_second() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    has_answered(&mut client, t0);
    client.handle(t0 + seconds(100), login(2, 2, pap(b"secret")));
    let mut outputs = run(&mut client, t0 + seconds(110), false);
    client.handle(t0 + seconds(110), login(3, 3, pap(b"other")));
    outputs.extend(run(&mut client, t0 + seconds(122), false));
    assert!(changes(&outputs).is_empty() && sent(&outputs).iter().all(|request| request.to.to_string() == "192.0.2.1:1812"), "{outputs:?}");
    let outputs = run(&mut client, t0 + seconds(127), false);
    assert_eq!(changes(&outputs), [("nps1", Change::Died { accounting: false })]);
    let at_the_other = |outputs: &[Output]| sent(outputs).iter().filter(|request| request.to.to_string() == "192.0.2.2:1812").count();
    assert!(at_the_other(&outputs) >= 1, "{outputs:?}");
}

/// The first one is answered after all: both users were thinking.
#[test]
fn any_answer_clears_a_server_of_what_it_left_unanswered() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    has_answered(&mut client, t0);
    client.handle(t0 + seconds(100), login(2, 2, pap(b"secret")));
    let outputs = run(&mut client, t0 + seconds(120), false);
    let first = sent(&outputs).remove(0);
    client.handle(t0 + seconds(120), first.datagram(reply(2, &first, &[])));
    drain(&mut client);
    client.handle(t0 + seconds(121), login(3, 3, pap(b"other")));
    assert!(changes(&run(&mut client, t0 + seconds(170), false)).is_empty());
}

/// Another secret, perhaps since a reload.
#[test]
fn a_server_whose_answers_nobody_can_believe_is_not_waited_for() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    has_answered(&mut client, t0);
    client.handle(t0 + seconds(1), login(2, 2, pap(b"secret")));
    let request = only_sent(&drain(&mut client));
    client.handle(t0 + seconds(1), request.datagram(seal(unsigned(3, &request, &[]), b"another secret")));
    let outputs = run(&mut client, t0 + seconds(21), false);
    assert_eq!(changes(&outputs), [("nps1", Change::Died { accounting: false })]);
}

/// Whoever sends it: it was to be the answer of another.
#[test]
fn what_cannot_be_believed_ends_the_patience_of_no_other_login() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    has_answered(&mut client, t0);
    client.handle(t0 + seconds(1), login(2, 2, pap(b"secret")));
    client.handle(t0 + seconds(1), login(3, 3, pap(b"other")));
    let requests = sent(&drain(&mut client));
    let other = &requests[1];
    client.handle(t0 + seconds(1), other.datagram(seal(unsigned(3, other, &[]), b"another secret")));
    client.handle(t0 + seconds(2), other.datagram(reply(3, other, &[])));
    drain(&mut client);
    client.handle(t0 + seconds(2), other.datagram(seal(unsigned(3, other, &[]), b"another secret")));
    let mut late = requests[0].clone();
    late.bytes[1] = late.bytes[1].wrapping_add(100);
    client.handle(t0 + seconds(2), late.datagram(seal(unsigned(3, &late, &[]), b"another secret")));
    let outputs = run(&mut client, t0 + seconds(45), false);
    assert!(changes(&outputs).is_empty() && sent(&outputs).iter().all(|request| request.bytes == requests[0].bytes), "{outputs:?}");
}

/// No other server has the state, so that giving up early would only fail the login, and take a server for dead that waits for its user.
#[test]
fn a_second_factor_in_mid_conversation_has_the_whole_timeout() {
    let t0 = start();
    let mut client = patient(Probe::Off);
    client.handle(t0, ask(1, 1, &eap_start()));
    let first = only_sent(&drain(&mut client));
    client.handle(t0, first.datagram(reply(11, &first, &[(79, eap_packet(1, 2, &[26])), (24, b"s".to_vec())])));
    drain(&mut client);
    // The user takes its time to type: what was heard is long ago.
    let t1 = t0 + seconds(100);
    client.handle(t1, ask(2, 1, &eap_packet(2, 2, &[26])));
    let outputs = run(&mut client, t1 + seconds(45), false);
    assert!(changes(&outputs).is_empty() && sent(&outputs).len() > 3, "{outputs:?}");
    let second = sent(&outputs).remove(0);
    client.handle(t1 + seconds(45), second.datagram(reply(3, &second, &[(79, eap_packet(4, 2, &[]))])));
    assert!(matches!(outcomes(drain(&mut client)).remove(0).1, EapOutcome::Reject { .. }));
    client.handle(t1 + seconds(50), ask(3, 3, &eap_start()));
    drain(&mut client);
    client.handle(t1 + seconds(50), ask(4, 4, &eap_start()));
    assert_eq!(sent(&drain(&mut client))[0].to.to_string(), "192.0.2.1:1812", "it is not taken for dead");
}

/// What it said to another login does not outweigh that it answers no probe any more.
#[test]
fn a_server_that_falls_silent_after_an_answer_is_dead_before_the_timeout() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, login(1, 1, pap(b"secret")));
    client.handle(t0, login(2, 2, pap(b"other")));
    let other = sent(&drain(&mut client)).into_iter().find(|request| password(request, SECRET) == b"other").unwrap();
    client.handle(t0 + seconds(1), other.datagram(reply(3, &other, &[])));
    let outputs = run(&mut client, t0 + seconds(35), false);
    assert_eq!(changes(&outputs), [("nps1", Change::Died { accounting: false })]);
    assert_eq!(sent(&outputs).last().unwrap().to.to_string(), "192.0.2.2:1812");
}

#[test]
fn a_server_that_answers_no_probe_either_is_dead_and_the_next_one_is_asked() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let outputs = run(&mut client, t0 + seconds(16), false);
    assert_eq!(changes(&outputs), [("nps1", Change::Died { accounting: false })]);
    assert_eq!(sent(&outputs).last().unwrap().to.to_string(), "192.0.2.2:1812");
    assert_eq!(client.servers()[0].standing, Standing::Dead);
}

#[test]
fn a_status_server_is_signed_and_says_who_asks() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, login(1, 1, pap(b"secret")));
    let outputs = run(&mut client, t0 + seconds(3), false);
    let probe = sent(&outputs).into_iter().find(is_probe).unwrap();
    let mut unsigned = probe.bytes.clone();
    assert_eq!((probe.bytes[0], probe.attributes()[0].0), (12, 80));
    unsigned[22..38].fill(0);
    assert_eq!(probe.get(80).unwrap(), hmac_md5(SECRET, &[&unsigned]));
    assert!(probe.get(32).is_some() || probe.get(4).is_some());
}

#[test]
fn a_dead_server_is_probed_until_it_is_back_and_then_preferred() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, ask(1, 1, &eap_start()));
    run(&mut client, t0 + seconds(40), false);
    client.handle(t0 + seconds(100), ask(2, 2, &eap_start()));
    let second = only_sent(&drain(&mut client).into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect::<Vec<_>>());
    assert_eq!(second.to.to_string(), "192.0.2.2:1812", "no login is spent on a dead server that has a probe");
    client.handle(t0 + seconds(100), second.datagram(reply(3, &second, &[])));
    let outputs = run(&mut client, t0 + seconds(200), true);
    let changes = changes(&outputs);
    let Some((_, Change::Returned { accounting: false, after })) = changes.iter().find(|(server, _)| *server == "nps1") else {
        panic!("{changes:?}")
    };
    assert!((50..90).contains(&after.as_secs()), "{after:?}");
    assert_eq!(client.poll_timeout(), None, "nothing more to ask");
    client.handle(t0 + seconds(201), ask(3, 3, &eap_start()));
    assert_eq!(only_sent(&drain(&mut client)).to.to_string(), "192.0.2.1:1812");
}

#[test]
fn accounting_that_returns_does_not_end_the_probes_of_the_other_port() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, ask(1, 1, &eap_start()));
    run(&mut client, t0 + seconds(40), false);
    assert_eq!(client.servers()[0].standing, Standing::Dead);
    let record = || Box::new(AccountingRecord { user_name: b"alice".to_vec(), nas: nas(), ..AccountingRecord::default() });
    client.handle(t0 + seconds(41), Input::Accounting { ticket: Ticket(8), group: None, record: record() });
    let lost = only_sent(&drain(&mut client).into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect::<Vec<_>>());
    client.handle(t0 + seconds(41), Input::Unreachable { socket: lost.socket, to: lost.to });
    drain(&mut client);
    client.handle(
        t0 + seconds(42),
        Input::Accounting {
            ticket: Ticket(9),
            group: None,
            record: Box::new(AccountingRecord { server: Some("nps1".into()), ..*record() }),
        },
    );
    let told = sent(&drain(&mut client)).pop().unwrap();
    client.handle(t0 + seconds(42), told.datagram(bare_reply(5, &told, &[])));
    assert_eq!(changes(&drain(&mut client)).last(), Some(&("nps1", Change::Returned { accounting: true, after: seconds(1) })));
    let outputs = run(&mut client, t0 + seconds(200), true);
    assert!(
        changes(&outputs).iter().any(|(server, change)| *server == "nps1" && matches!(change, Change::Returned { accounting: false, .. }))
    );
}

#[test]
fn without_a_probe_one_login_tries_a_dead_server_after_its_interval() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1), server("nps2", 2)]);
    client.handle(t0, ask(1, 1, &eap_start()));
    let first = only_sent(&drain(&mut client));
    client.handle(t0, Input::Unreachable { socket: first.socket, to: first.to });
    assert_eq!(changes(&drain(&mut client)), [("nps1", Change::Died { accounting: false })]);
    let mut asked = |at: u64, ticket: u64| {
        client.handle(t0 + seconds(at), ask(ticket, ticket, &eap_start()));
        sent(&drain(&mut client)).last().unwrap().clone()
    };
    assert_eq!(asked(59, 2).to.to_string(), "192.0.2.2:1812");
    let trial = asked(60, 3);
    assert_eq!(trial.to.to_string(), "192.0.2.1:1812");
    assert_eq!(asked(61, 4).to.to_string(), "192.0.2.2:1812", "one is enough to see");
    client.handle(t0 + seconds(61), trial.datagram(reply(3, &trial, &[])));
    let outputs = drain(&mut client);
    assert_eq!(changes(&outputs), [("nps1", Change::Returned { accounting: false, after: seconds(61) })]);
}

#[test]
fn a_server_lost_in_mid_conversation_is_named_as_the_cause() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1), server("nps2", 2)]);
    client.handle(t0, ask(1, 1, &eap_start()));
    let first = only_sent(&drain(&mut client));
    client.handle(t0, first.datagram(reply(11, &first, &[(79, eap_packet(1, 2, &[26])), (24, b"s".to_vec())])));
    drain(&mut client);
    client.handle(t0, ask(2, 1, &eap_packet(2, 2, &[26])));
    let second = only_sent(&drain(&mut client));
    client.handle(t0, Input::Unreachable { socket: second.socket, to: second.to });
    let outputs = drain(&mut client);
    assert!(sent(&outputs).is_empty(), "no other server has the state");
    let EapOutcome::Failed(failure) = outcomes(outputs).remove(0).1 else { panic!() };
    let text = failure.to_string();
    assert!(text.starts_with("radius nps1 was lost in the middle of an EAP conversation") && text.contains("port closed"), "{text}");
}

#[test]
fn auto_requires_message_authenticator_from_the_first_one_on() {
    let t0 = start();
    let auto = Server { require_message_authenticator: RequireMessageAuthenticator::Auto, ..server("nps1", 1) };
    let mut client = client(vec![auto.clone()]);
    let round = |client: &mut Client, ticket: u64, signed: bool| {
        client.handle(t0, login(ticket, ticket, pap(b"secret")));
        let request = only_sent(&drain(client));
        let bytes = if signed { reply(3, &request, &[]) } else { bare_reply(3, &request, &[]) };
        client.handle(t0, request.datagram(bytes));
        drain(client)
    };
    assert_eq!(login_outcomes(round(&mut client, 1, false)).len(), 1, "an old server may lack it");
    let outputs = round(&mut client, 2, true);
    assert_eq!(changes(&outputs), [("nps1", Change::SendsMessageAuthenticator)]);
    client.handle(t0, Input::Configure(vec![auto].into()));
    assert!(login_outcomes(round(&mut client, 3, false)).is_empty(), "what it once sent it must send, over a reload too");
    assert_eq!(client.counters()[0].1.missing_message_authenticator, 1);
    assert!(changes(&round(&mut client, 4, true)).is_empty(), "said once");
}

#[test]
fn auto_learns_nothing_from_eap_which_is_always_signed() {
    let t0 = start();
    let auto = Server { require_message_authenticator: RequireMessageAuthenticator::Auto, ..server("nps1", 1) };
    let mut client = client(vec![auto]);
    client.handle(t0, ask(1, 1, &eap_start()));
    let eap = only_sent(&drain(&mut client));
    client.handle(t0, eap.datagram(bare_reply(2, &eap, &[])));
    assert!(outcomes(drain(&mut client)).is_empty(), "an answer to EAP without Message-Authenticator is forged, also one without EAP");
    client.handle(t0, eap.datagram(reply(3, &eap, &[(79, eap_packet(4, 1, &[]))])));
    let outputs = drain(&mut client);
    assert!(changes(&outputs).is_empty());
    assert_eq!(outcomes(outputs).len(), 1);
    client.handle(t0, login(2, 2, pap(b"secret")));
    let request = only_sent(&drain(&mut client));
    client.handle(t0, request.datagram(bare_reply(3, &request, &[])));
    assert_eq!(login_outcomes(drain(&mut client)).len(), 1, "a server that signs EAP alone still serves passwords");
}

#[test]
fn a_probe_may_be_answered_without_message_authenticator() {
    let t0 = start();
    let mut client = patient(Probe::StatusServer);
    client.handle(t0, login(1, 1, pap(b"secret")));
    drain(&mut client);
    client.handle(t0 + seconds(3), Input::Timeout);
    let probe = sent(&drain(&mut client)).into_iter().find(is_probe).unwrap();
    client.handle(t0 + seconds(3), probe.datagram(bare_reply(2, &probe, &[])));
    assert_eq!(client.servers()[0].standing, Standing::Slow, "it lives");
}

/// What the removed server does not confirm goes to those that are left; it is not asked a second time.
#[test]
fn accounting_leaves_a_server_that_is_removed() {
    let t0 = start();
    let mut client = client(vec![server("nps1", 1), server("nps2", 2)]);
    client.handle(
        t0,
        Input::Accounting {
            ticket: Ticket(1),
            group: None,
            record: Box::new(AccountingRecord { nas: nas(), ..AccountingRecord::default() }),
        },
    );
    assert_eq!(only_sent(&only_transmits(drain(&mut client))).to.port(), 1813);
    client.handle(t0, Input::Configure(vec![server("nps2", 2)].into()));
    let mut told = Vec::new();
    let mut outcome = None;
    while let (Some(next), None) = (client.poll_timeout(), &outcome) {
        client.handle(next, Input::Timeout);
        for output in drain(&mut client) {
            match output {
                Output::Transmit { to, .. } => told.push(to.ip().to_string()),
                Output::Accounting { outcome: Err(failure), .. } => outcome = Some(failure),
                _ => {}
            }
        }
    }
    told.dedup();
    assert_eq!(told, ["192.0.2.1", "192.0.2.2"], "{outcome:?}");
}

fn only_transmits(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().filter(|output| matches!(output, Output::Transmit { .. })).collect()
}
