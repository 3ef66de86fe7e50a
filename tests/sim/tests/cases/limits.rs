//! What strangers may make the gateway hold, and what one stuck login means for the others.
use super::{CLIENT, GATEWAY, Pair};
use ike::wire::{Exchange, Message, notify};
use ike::{Command, Event, Fault, Limits, ResponderConfig, Stage, Stranger};
use sim::{Eap, HostId, Script, Sim, Verdict, ciphers, initiator, responder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

fn limited(change: impl Fn(&mut Limits)) -> ResponderConfig {
    let mut config = responder();
    change(&mut config.limits);
    config
}

/// A stranger number `n`, each with an address of its own.
fn stranger(gateway: HostId, n: u8) -> Script {
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, n).into(), 500);
    Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers())
}

fn public() -> Vec<u8> {
    vec![9; 32]
}

/// One IKE_SA_INIT request and nothing after it; the notify of the answer.
fn knock(sim: &mut Sim, script: &Script) -> Option<u16> {
    let answers = script.send(sim, script.init_message(31, public()));
    let answer = answers.first()?;
    let payloads = Message::parse(answer).unwrap().payloads;
    if payloads.sa().is_some() { Some(0) } else { Script::notify(&payloads) }
}

#[test]
fn cookies_above_the_threshold() {
    let mut pair = Pair::new(1, limited(|limits| limits.cookie_threshold = 3));
    for n in 0..3 {
        assert_eq!(knock(&mut pair.sim, &stranger(pair.gateway, n)), Some(0));
    }
    for n in 3..100 {
        assert_eq!(knock(&mut pair.sim, &stranger(pair.gateway, n)), Some(notify::COOKIE));
    }
    assert_eq!(pair.gateway().endpoint.sessions(), (3, 0), "no state without a cookie");
    assert_eq!(pair.gateway().endpoint.counters().cookies_sent, 97);
    let started = pair.gateway().events.iter().filter(|(_, event)| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 3);
    pair.dial(initiator(CLIENT, GATEWAY));
    assert_eq!(pair.gateway().endpoint.sessions().1, 1, "an honest client returns the cookie and comes in");
}

/// Refused proposals must not be a way to fill the memory.
#[test]
fn refused_attempts_are_limited_too() {
    let mut pair = Pair::new(1, limited(|limits| limits.cookie_threshold = 3));
    let mut answers = Vec::new();
    for n in 0..10 {
        let mut script = stranger(pair.gateway, n);
        script.ciphers.prfs = vec![crypto::prf::Prf::HmacSha1];
        answers.extend(knock(&mut pair.sim, &script));
    }
    assert_eq!(answers[..3], [notify::NO_PROPOSAL_CHOSEN; 3]);
    assert_eq!(answers[3..], [notify::COOKIE; 7]);
}

#[test]
fn cookies_for_a_busy_source() {
    let mut pair = Pair::new(1, limited(|limits| limits.half_open_per_source = 2));
    for n in 0..5 {
        let mut script = stranger(pair.gateway, 1);
        script.spi_i.0 += n;
        let expected = if n < 2 { 0 } else { notify::COOKIE };
        assert_eq!(knock(&mut pair.sim, &script), Some(expected));
    }
    assert_eq!(knock(&mut pair.sim, &stranger(pair.gateway, 2)), Some(0), "others are not asked");
}

#[test]
fn a_wrong_cookie_is_none() {
    let mut pair = Pair::new(1, limited(|limits| limits.cookie_threshold = 0));
    let mut script = stranger(pair.gateway, 1);
    let cookie = ike::wire::Notify::new(notify::COOKIE, vec![1; 33]);
    script.extra.push(ike::wire::Payload::Notify(cookie));
    assert_eq!(knock(&mut pair.sim, &script), Some(notify::COOKIE));
    assert_eq!(pair.gateway().endpoint.counters().cookies_wrong, 1);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
}

#[test]
fn cookie_secrets_change() {
    let mut pair = Pair::new(1, limited(|limits| limits.cookie_threshold = 0));
    let mut script = stranger(pair.gateway, 1);
    let cookie = |sim: &mut Sim, script: &Script| {
        let answers = script.send(sim, script.init_message(31, public()));
        Message::parse(&answers[0]).unwrap().payloads.notify(notify::COOKIE).unwrap().data.clone()
    };
    let old = cookie(&mut pair.sim, &script);
    pair.sim.run_for(Duration::from_secs(61));
    let new = cookie(&mut pair.sim, &script);
    assert_ne!(old, new);
    script.extra = vec![ike::wire::Payload::Notify(ike::wire::Notify::new(notify::COOKIE, old))];
    assert_eq!(knock(&mut pair.sim, &script), Some(0), "the last but one is still good");
}

#[test]
fn half_open_sessions_end_in_number() {
    let mut pair = Pair::new(1, limited(|limits| limits.half_open_max = 4));
    for n in 0..10 {
        let answer = knock(&mut pair.sim, &stranger(pair.gateway, n));
        assert_eq!(answer, (n < 4).then_some(0));
    }
    assert_eq!(pair.gateway().endpoint.counters().half_open_refused, 6);
    assert_eq!(pair.gateway().endpoint.sessions(), (4, 0));
}

#[test]
fn half_open_sessions_end_in_time() {
    let mut pair = Pair::default();
    for n in 0..5 {
        knock(&mut pair.sim, &stranger(pair.gateway, n));
    }
    pair.sim.run_for(Duration::from_secs(29));
    assert_eq!(pair.gateway().endpoint.sessions(), (5, 0));
    pair.sim.run_for(Duration::from_secs(2));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert_eq!(pair.gateway().endpoint.poll_timeout(), None);
    let failure = pair.gateway().failure().unwrap();
    assert_eq!((failure.stage, failure.fault), (Stage::SaInit, Fault::Silence));
    assert!(failure.cause.contains("IKE_SA_INIT"), "{}", failure.cause);
}

#[test]
fn sessions_max() {
    let mut pair = Pair::new(1, limited(|limits| limits.sessions_max = 1));
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    assert_eq!(knock(&mut pair.sim, &stranger(pair.gateway, 1)), None);
    assert_eq!(pair.gateway().endpoint.counters().half_open_refused, 1);
}

#[test]
fn established_sessions_are_not_half_open() {
    let mut pair = Pair::new(1, limited(|limits| (limits.half_open_max, limits.half_open_per_source) = (1, 1)));
    for n in 0..5 {
        let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 100 + n));
        let client = pair.sim.add(&[address], None);
        pair.sim.connect(client, initiator(address, GATEWAY));
        pair.sim.run_for(Duration::from_secs(2));
    }
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 5));
    assert_eq!(pair.gateway().endpoint.counters().cookies_sent, 0);
}

/// The authenticator hangs. That login ends in time, and nobody else notices.
#[test]
fn a_silent_authenticator() {
    let mut pair = Pair::up();
    let up = pair.client().established()[0];
    pair.sim.host_mut(pair.gateway).answers.eap = Eap::Silent;
    let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
    let stuck = pair.sim.add(&[address], None);
    let mut config = initiator(address, GATEWAY);
    config.timers.retransmit_tries = 20;
    pair.sim.connect(stuck, config);
    let gateway = pair.gateway;
    for _ in 0..50 {
        pair.sim.run_for(Duration::from_secs(1));
        let before = pair.sim.host(gateway).sent.len();
        pair.sim.command(pair.client, up, Command::Liveness);
        pair.sim.run_for(Duration::from_millis(25));
        assert_eq!(pair.sim.host(gateway).sent.len(), before + 1, "liveness is answered at once");
    }
    assert_eq!(pair.gateway().endpoint.sessions(), (1, 1));
    assert_eq!(pair.gateway().answers.eap_questions, 3, "retransmissions never reach the authenticator twice");
    pair.sim.run_for(Duration::from_secs(70));
    let failure = pair.gateway().failure().unwrap();
    assert_eq!((failure.stage, failure.fault), (Stage::Eap, Fault::Dependency));
    assert_eq!(failure.notify, Some("AUTHENTICATION_FAILED"));
    assert_eq!(pair.gateway().cancelled, 1);
    assert!(pair.sim.host(stuck).failure().unwrap().cause.contains("AUTHENTICATION_FAILED"), "the client is told");
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 1));
}

/// A client that goes away in the middle of EAP.
#[test]
fn silence_names_what_was_seen_last() {
    let mut pair = Pair::default();
    pair.sim.filter = Some({
        let mut left = 3;
        Box::new(move |path, _| {
            if path.local.ip() == GATEWAY {
                return Verdict::Pass;
            }
            left -= 1;
            if left >= 0 { Verdict::Pass } else { Verdict::Drop }
        })
    });
    pair.dial(initiator(CLIENT, GATEWAY));
    let failure = pair.gateway().failure().unwrap();
    assert_eq!((failure.stage, failure.fault), (Stage::Eap, Fault::Silence));
    assert!(failure.cause.contains("EAP-Response (Identity)"), "{}", failure.cause);
}

#[test]
fn ikev1_gets_one_answer_a_packet_and_not_many_a_second() {
    let mut pair = Pair::default();
    let script = stranger(pair.gateway, 1);
    let mut message = script.init_message(31, public());
    message[17] = 0x10;
    let answers = script.send(&mut pair.sim, message.clone());
    let answer = Message::parse(&answers[0]).unwrap();
    assert_eq!(Script::notify(&answer.payloads), Some(notify::INVALID_MAJOR_VERSION));
    for _ in 0..100 {
        pair.sim.inject(script.path, message.clone());
    }
    assert!(pair.gateway().sent.len() <= 11, "{}", pair.gateway().sent.len());
    assert_eq!(pair.gateway().endpoint.counters().unsupported_version, 101);
    let source = script.path.local.ip();
    assert_eq!(pair.gateway().strangers, [(source, Stranger::Version(1))], "told once a second, not each time");
    pair.sim.run_for(Duration::from_secs(2));
    pair.sim.inject(script.path, message);
    assert_eq!(pair.gateway().strangers.len(), 2);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
}

/// A long first message costs the gateway neither an answer nor state, at any length.
#[test]
fn long_first_messages_are_dropped() {
    let mut pair = Pair::default();
    let of_length = |length: usize| {
        let mut script = stranger(pair.gateway, 1);
        let filler = |bytes| ike::wire::Payload::Notify(ike::wire::Notify::new(40_000, vec![0; bytes]));
        script.extra.push(filler(0));
        let rest = length - script.init_message(31, public()).len();
        script.extra = vec![filler(rest)];
        assert_eq!(script.init_message(31, public()).len(), length);
        script
    };
    let (most, over) = (of_length(8192), of_length(8193));
    assert_eq!(knock(&mut pair.sim, &over), None);
    assert_eq!(pair.gateway().endpoint.counters().malformed, 1);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert_eq!(knock(&mut pair.sim, &most), Some(0));
}

/// Whoever recorded a request of a login cannot hold the session open with it.
#[test]
fn a_repeated_request_does_not_stretch_a_login() {
    let mut pair = Pair::default();
    let mut script = stranger(pair.gateway, 1);
    script.init(&mut pair.sim);
    let wishes = script.wishes();
    let request = script.seal(Exchange::IkeAuth, &wishes);
    let answer = script.send(&mut pair.sim, request.clone());
    pair.sim.run_for(Duration::from_secs(20));
    assert_eq!(script.send(&mut pair.sim, request), answer);
    pair.sim.run_for(Duration::from_secs(11));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert_eq!(pair.gateway().failure().unwrap().fault, Fault::Silence);
}

/// Nor can a recorded request keep a session up whose client is gone.
#[test]
fn a_repeated_request_is_no_sign_of_life() {
    let mut pair = Pair::default();
    let mut script = stranger(pair.gateway, 1);
    script.login(&mut pair.sim);
    let request = script.seal(Exchange::Informational, &[]);
    script.send(&mut pair.sim, request.clone());
    let before = pair.gateway().sent.len();
    for _ in 0..3 {
        pair.sim.run_for(Duration::from_secs(12));
        pair.sim.inject(script.path, request.clone());
    }
    assert!(pair.gateway().sent.len() > before + 3, "liveness was asked for after 30 s: {}", pair.gateway().sent.len() - before);
    pair.sim.run_for(Duration::from_secs(100));
    assert_eq!(pair.gateway().endpoint.sessions().1, 0);
}

/// Knocks and returns the cookie that is asked for.
fn knock_and_pay(sim: &mut Sim, script: &mut Script) -> Option<u16> {
    let answers = script.send(sim, script.init_message(31, public()));
    let payloads = Message::parse(answers.first()?).unwrap().payloads;
    let Some(cookie) = payloads.notify(notify::COOKIE) else { return Some(0) };
    script.extra = vec![ike::wire::Payload::Notify(cookie.clone())];
    knock(sim, script)
}

#[test]
fn cookies_do_not_lift_the_cap_of_a_source() {
    let cases = [
        // (half_open_per_source, half_open_max, cap)
        (2, 16, 8),
        (1, 80, 10),
        (0, 7, 1),
    ];
    for (per_source, max, cap) in cases {
        let config = limited(|limits| (limits.half_open_per_source, limits.half_open_max) = (per_source, max));
        let mut pair = Pair::new(1, config);
        for n in 0..cap + 3 {
            let mut script = stranger(pair.gateway, 1);
            script.spi_i.0 += n;
            assert_eq!(knock_and_pay(&mut pair.sim, &mut script), (n < cap).then_some(0), "{n} of {cap}");
        }
        assert_eq!(pair.gateway().endpoint.counters().half_open_refused, 3);
        assert_eq!(pair.gateway().endpoint.counters().cookies_wrong, 0);
        assert_eq!(pair.gateway().endpoint.sessions(), (cap as usize, 0));
        if max > 7 {
            assert_eq!(knock(&mut pair.sim, &stranger(pair.gateway, 2)), Some(0), "others come in");
        }
        pair.sim.run_for(Duration::from_secs(40));
        let mut again = stranger(pair.gateway, 1);
        assert_eq!(knock_and_pay(&mut pair.sim, &mut again), Some(0), "once the old ones are gone");
    }
}

#[test]
fn an_ipv6_network_is_one_source() {
    let six = |last: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | last));
    let mut sim = Sim::new(1);
    let gateway = sim.add(&[six(1)], Some(limited(|limits| (limits.half_open_per_source, limits.half_open_max) = (1, 8))));
    let from = |network: u128, host| {
        let path = (SocketAddr::new(six(network << 64 | host), 500), SocketAddr::new(six(1), 500));
        Script::new(gateway, path.0, path.1, ciphers())
    };
    for host in 0..6 {
        assert_eq!(knock_and_pay(&mut sim, &mut from(7, u128::from(u64::MAX) - host)), (host < 4).then_some(0));
    }
    assert_eq!(sim.host(gateway).endpoint.counters().half_open_refused, 2);
    let told: Vec<_> = sim.host(gateway).strangers.iter().map(|(_, what)| *what).collect();
    assert_eq!(told, [Stranger::HalfOpenOfSource(4)], "of the network once");
    assert_eq!(knock(&mut sim, &from(8, 1)), Some(0), "the next network");
}

/// Behind a translator there are many clients: its address is not one of them. What holds for all together holds for it as well.
#[test]
fn exempt_sources() {
    let nat = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
    let config = limited(|limits| {
        (limits.half_open_per_source, limits.half_open_max, limits.cookie_threshold) = (1, 16, 16);
        limits.exempt = vec![nat..=nat];
    });
    let mut pair = Pair::new(1, config);
    for n in 0..20 {
        let mut script = stranger(pair.gateway, 1);
        script.spi_i.0 += n;
        assert_eq!(knock(&mut pair.sim, &script), if n < 16 { Some(0) } else { Some(notify::COOKIE) }, "{n}");
    }
    assert_eq!(pair.gateway().endpoint.counters().half_open_refused, 0);
    pair.sim.run_for(Duration::from_secs(40));
    // Answers by the second are not counted by source for it either.
    for (n, answered) in [(1, 40), (2, 10)] {
        let mut script = stranger(pair.gateway, n);
        script.nonce_i = vec![7; 3];
        pair.sim.run_for(Duration::from_secs(2));
        let before = pair.gateway().sent.len();
        for _ in 0..40 {
            pair.sim.inject(script.path, script.init_message(31, public()));
        }
        assert_eq!(pair.gateway().sent.len() - before, answered);
    }
}
