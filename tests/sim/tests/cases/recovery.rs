//! A gateway that has lost its IKE SAs: INVALID_IKE_SPI (RFC 7296 section 2.21.4) and quick crash detection (RFC 6290).
use super::{CLIENT, GATEWAY, Pair};
use ike::wire::{Exchange, Flags, Header, Message, Notify, Payload, Spi, encode, kind, notify};
use ike::{CloseReason, Command, Endpoint, Path, ResponderConfig, qcd};
use sim::{HostId, Script, Sim, ciphers, initiator, responder};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const SECRET: [u8; 32] = [7; 32];
const SECOND: Duration = Duration::from_secs(1);

fn config() -> ResponderConfig {
    ResponderConfig { qcd_secret: Some(SECRET.to_vec().into()), ..responder() }
}

fn up() -> Pair {
    Pair::up_with(1, config(), initiator(CLIENT, GATEWAY))
}

/// The gateway loses everything but its settings.
fn crash(pair: &mut Pair, config: ResponderConfig, seed: u64) {
    let host = pair.sim.host_mut(pair.gateway);
    host.endpoint = Endpoint::new(Some(config), Box::new(crypto::SeededRandom::new(seed)), Instant::now());
    host.children.clear();
    host.outbound.clear();
    host.events.clear();
    host.sent.clear();
}

fn ask(pair: &mut Pair) {
    let session = pair.session(pair.client);
    pair.sim.command(pair.client, session, Command::Liveness);
    pair.sim.run_for(SECOND / 10);
}

fn reasons(pair: &Pair) -> Vec<CloseReason> {
    pair.client().closed().into_iter().map(|(_, reason, _)| reason).collect()
}

/// The SPIs of the client's last message.
fn last_header(pair: &Pair) -> Header {
    Header::parse(&pair.client().sent.last().unwrap().1).unwrap()
}

fn invalid_spi(request: &Header, tokens: &[&[u8]]) -> Vec<u8> {
    let flags = Flags { initiator: !request.flags.initiator, response: true, version: false };
    let tokens = tokens.iter().map(|token| Payload::Notify(Notify::new(notify::QUICK_CRASH_DETECTION, *token)));
    let payloads: Vec<_> = std::iter::once(Payload::Notify(Notify::new(notify::INVALID_IKE_SPI, []))).chain(tokens).collect();
    encode(&Header { flags, ..*request }, &payloads)
}

fn to_client() -> Path {
    Path::between(SocketAddr::new(GATEWAY, 500), SocketAddr::new(CLIENT, 500))
}

#[test]
fn a_client_notices_a_restart_with_its_first_message() {
    let mut pair = up();
    let dialled = pair.sim.elapsed();
    crash(&mut pair, config(), 99);
    let before = pair.client().sent.len();
    ask(&mut pair);
    assert_eq!(pair.client().sent.len(), before + 1, "one message was enough");
    assert_eq!(reasons(&pair), [CloseReason::PeerLost]);
    assert!(pair.client().children.is_empty(), "and no packet passes any more");
    assert!(pair.client().notes().contains("QCD token"));
    assert!(pair.sim.elapsed() - dialled < SECOND);
    assert_eq!(pair.gateway().endpoint.counters().unknown_spi_answered, 1);
    pair.sim.connect(pair.client, initiator(CLIENT, GATEWAY));
    pair.sim.run_for(2 * SECOND);
    pair.assert_up();
}

#[test]
fn tokens_follow_rekeys_from_either_side() {
    for by_gateway in [false, true] {
        let mut pair = up();
        for _ in 0..2 {
            let host = if by_gateway { pair.gateway } else { pair.client };
            let session = pair.session(host);
            pair.sim.command(host, session, Command::RekeyIke);
            pair.sim.run_for(2 * SECOND);
        }
        assert_eq!(pair.client().rekeyed(true), 2);
        crash(&mut pair, config(), 99);
        ask(&mut pair);
        assert_eq!(reasons(&pair), [CloseReason::PeerLost], "by_gateway {by_gateway}");
    }
}

#[test]
fn both_sides_rekey_and_the_token_is_that_of_the_survivor() {
    let mut pair = up();
    for host in [pair.gateway, pair.client] {
        let session = pair.session(host);
        pair.sim.command(host, session, Command::RekeyIke);
    }
    pair.sim.run_for(5 * SECOND);
    pair.assert_up();
    crash(&mut pair, config(), 99);
    ask(&mut pair);
    assert_eq!(reasons(&pair), [CloseReason::PeerLost]);
}

/// Another secret, no secret: the word of a stranger, after which the client asks, but keeps what it has until nobody answers.
#[test]
fn without_the_right_token_nothing_is_given_up() {
    for secret in [None, Some(vec![8; 32].into())] {
        let mut pair = up();
        crash(&mut pair, ResponderConfig { qcd_secret: secret, ..responder() }, 99);
        ask(&mut pair);
        assert_eq!(reasons(&pair), []);
        assert!(pair.client().endpoint.counters().forged > 0);
        pair.sim.run_for(Duration::from_secs(600));
        assert_eq!(reasons(&pair), [CloseReason::PeerLost], "silence is what ends it");
    }
}

#[test]
fn forged_answers_lead_to_a_question_now_and_then_and_to_nothing_else() {
    let mut pair = up();
    ask(&mut pair);
    let header = last_header(&pair);
    let right = qcd::token(&SECRET, header.initiator_spi, header.responder_spi);
    let before = pair.client().sent.len();
    for round in 0..200u8 {
        let forged = [[round; 16].to_vec(), right[..15].to_vec(), [&right[..], &[0]].concat()];
        let forged: Vec<_> = forged.iter().map(Vec::as_slice).collect();
        pair.sim.inject(to_client(), invalid_spi(&header, &forged));
        pair.sim.run_for(SECOND / 20);
    }
    assert_eq!(pair.client().sent.len(), before + 1, "ten seconds, one question");
    pair.assert_up();
    // The right token, in messages that are no answer to this IKE SA.
    let other = Header { initiator_spi: Spi(header.initiator_spi.0 ^ 1), ..header };
    let request = Header { flags: Flags { initiator: true, ..header.flags }, ..header };
    for header in [other, Header { responder_spi: Spi(1), ..header }] {
        pair.sim.inject(to_client(), invalid_spi(&header, &[&right]));
    }
    let mut own_flag = invalid_spi(&request, &[&right]);
    own_flag[19] |= 0x08;
    pair.sim.inject(to_client(), own_flag);
    let mut unanswering = invalid_spi(&header, &[&right]);
    unanswering[19] &= !0x20;
    pair.sim.inject(to_client(), unanswering);
    pair.sim.run_for(SECOND);
    pair.assert_up();
    pair.sim.inject(to_client(), invalid_spi(&header, &[&[1; 16], &[2; 16], &[3; 16], &right]));
    assert_eq!(reasons(&pair), [CloseReason::PeerLost], "one of four is right");
}

struct Stranger {
    sim: Sim,
    gateway: HostId,
    script: Script,
}

fn stranger(config: ResponderConfig) -> Stranger {
    let Pair { sim, gateway, .. } = Pair::new(1, config);
    let script = Script::new(gateway, from(5), SocketAddr::new(GATEWAY, 500), ciphers());
    Stranger { sim, gateway, script }
}

fn from(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, high, low)), 500)
}

/// A message that looks protected, with an empty SK payload of this many bytes in all.
fn protected(header: Header, len: usize) -> Vec<u8> {
    let mut message = encode(&header, &[]);
    message[16] = kind::SK;
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(&u16::try_from(len - 28).unwrap().to_be_bytes());
    message.resize(len, 0x5a);
    let length = u32::try_from(len).unwrap();
    message[24..28].copy_from_slice(&length.to_be_bytes());
    message
}

fn unknown(flags: Flags) -> Header {
    Header::new(Spi(0xaaaa), Spi(0xbbbb), Exchange::Informational, flags, 42)
}

const REQUEST: Flags = Flags { initiator: true, response: false, version: false };

#[test]
fn the_answer_repeats_the_header_and_holds_no_more_than_it_must() {
    for (config, notifies) in [(responder(), vec![4]), (config(), vec![4, 16419])] {
        let mut world = stranger(config);
        let answers = world.script.send(&mut world.sim, protected(unknown(REQUEST), 57));
        let answer = Message::parse(&answers[0]).unwrap();
        let flags = Flags { initiator: false, response: true, version: false };
        assert_eq!(answer.header, Header { flags, ..unknown(REQUEST) });
        assert!(!answer.protected);
        assert_eq!(answer.payloads.notifies().map(|it| it.kind).collect::<Vec<_>>(), notifies);
        assert!(answers[0].len() <= 60);
    }
}

#[test]
fn what_gets_no_answer() {
    let mut world = stranger(config());
    let plain = encode(&unknown(REQUEST), &[Payload::Notify(Notify::new(notify::INVALID_IKE_SPI, [0; 64]))]);
    let half = Header { responder_spi: Spi(0), exchange: Exchange::IkeAuth, ..unknown(REQUEST) };
    let messages = [
        protected(unknown(Flags { response: true, ..REQUEST }), 80),
        protected(unknown(Flags { response: true, initiator: false, version: false }), 80),
        protected(unknown(REQUEST), 56),
        plain,
        protected(half, 80),
        encode(&unknown(REQUEST), &[]),
    ];
    for (index, message) in messages.into_iter().enumerate() {
        assert!(world.script.send(&mut world.sim, message).is_empty(), "message {index}");
    }
    assert_eq!(world.sim.host(world.gateway).endpoint.counters().unknown_spi_answered, 0);
}

/// Whoever knows the SPIs of a living IKE SA gets no token for them, by whatever turn of the flags.
#[test]
fn no_token_of_a_living_ike_sa() {
    let mut world = stranger(config());
    world.script.login(&mut world.sim);
    let (spi_i, spi_r) = (world.script.spi_i, world.script.spi_r);
    for flags in 0..8u8 {
        let flags = Flags { initiator: flags & 1 != 0, response: flags & 2 != 0, version: flags & 4 != 0 };
        for (one, other) in [(spi_i, spi_r), (spi_r, spi_i), (Spi(1), spi_r), (spi_r, Spi(1))] {
            let header = Header::new(one, other, Exchange::Informational, flags, 9);
            let mut thief = Script::new(world.gateway, from(9), SocketAddr::new(GATEWAY, 500), ciphers());
            thief.spi_i = one;
            assert!(thief.send(&mut world.sim, protected(header, 80)).is_empty(), "{header:?}");
        }
    }
    world.script.liveness(&mut world.sim);
}

#[test]
fn windows_gets_no_token() {
    for windows in [false, true] {
        let mut world = stranger(config());
        if windows {
            world.script.extra.push(Payload::Vendor(ike::wire::vendor::MS_NT5_V9.to_vec()));
        }
        let answer = world.script.login(&mut world.sim);
        let token = answer.notify(notify::QUICK_CRASH_DETECTION).map(|it| it.data.clone());
        let expected = qcd::token(&SECRET, world.script.spi_i, world.script.spi_r).to_vec();
        assert_eq!(token, (!windows).then_some(expected));
    }
}

#[test]
fn floods_get_few_answers() {
    let mut world = stranger(config());
    let before = world.sim.host(world.gateway).sent.len();
    let flood = |world: &mut Stranger, sources: u16, each: u16| {
        for source in 0..sources {
            for _ in 0..each {
                let path = Path::between(from(source), SocketAddr::new(GATEWAY, 500));
                world.sim.inject(path, protected(unknown(REQUEST), 80));
            }
        }
        world.sim.host(world.gateway).sent.len() - before
    };
    assert_eq!(flood(&mut world, 1, 100), 10, "one source");
    assert_eq!(flood(&mut world, 2000, 1), 500, "the world");
    world.sim.run_for(2 * SECOND);
    assert_eq!(flood(&mut world, 1, 100), 510, "a second later again");
    let counters = world.sim.host(world.gateway).endpoint.counters();
    assert_eq!((counters.unknown_spi, counters.unknown_spi_answered), (2200, 510));
}

#[test]
fn a_pure_client_answers_nobody() {
    let mut pair = up();
    let before = pair.client().sent.len();
    pair.sim.inject(to_client(), protected(unknown(REQUEST), 80));
    assert_eq!(pair.client().sent.len(), before);
}

#[test]
fn the_secret_is_not_shown() {
    let text = format!("{:?}", ResponderConfig { qcd_secret: Some(vec![251; 32].into()), ..responder() });
    assert!(text.contains("qcd_secret") && !text.contains("251"), "{text}");
}

/// The gateway forgets a replaced IKE SA, and would give its token to anyone: the session lives on in its successor.
#[test]
fn the_token_of_a_replaced_ike_sa_ends_nothing() {
    let mut pair = up();
    ask(&mut pair);
    let header = last_header(&pair);
    let token = qcd::token(&SECRET, header.initiator_spi, header.responder_spi);
    let session = pair.session(pair.client);
    pair.sim.command(pair.client, session, Command::RekeyIke);
    pair.sim.run_for(SECOND);
    assert_eq!(pair.client().rekeyed(true), 1);
    let unknown = pair.client().endpoint.counters().unknown_spi;
    pair.sim.inject(to_client(), invalid_spi(&header, &[&token]));
    assert_eq!(pair.client().endpoint.counters().unknown_spi, unknown, "the client still has the old one");
    pair.sim.run_for(SECOND);
    pair.assert_up();
}
