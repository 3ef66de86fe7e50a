//! Nobody can use the gateway to send more to a forged address than they send themselves: answers to strangers are short, and not without number.
use super::{GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::dh::{Group, PrivateKey};
use ike::wire::{Exchange, Flags, HEADER_LEN, Header, Notify, Payload, Spi, encode, notify};
use ike::{Drain, GatewayIdentity, Input, ResponderConfig};
use pki::TrustAnchors;
use sim::{Script, authority, ciphers, responder};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What one gateway has that another has not.
type Change<'a> = &'a dyn Fn(&mut ResponderConfig);

const SK: u8 = 46;
const SKF: u8 = 53;

/// A gateway that has everything to say: many client authorities, tokens, ML-KEM, PPKs are none of it.
fn talkative() -> ResponderConfig {
    let mut config = responder();
    config.client_roots = Arc::new(TrustAnchors::new(vec![authority().roots()[0].clone(); 80]));
    config.qcd_secret = Some(vec![1; 32].into());
    config.ciphers.additional = vec![Group::MlKem768];
    config.ciphers.groups.push(Group::Modp2048);
    config
}

fn script(pair: &Pair, n: u16) -> Script {
    let [high, low] = n.to_be_bytes();
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, high, low).into(), 500);
    Script::new(pair.gateway, from, SocketAddr::new(GATEWAY, 500), ciphers())
}

fn public(group: Group) -> Vec<u8> {
    PrivateKey::generate(group, &mut SeededRandom::new(3)).1
}

/// All first messages worth trying: what the gateway likes, what it does not, with and without what it answers at length.
fn first_messages(pair: &Pair) -> BTreeMap<String, Vec<u8>> {
    let plain = |kind, data: &[u8]| Payload::Notify(Notify::new(kind, data));
    let unknown = |critical| Payload::Unknown { kind: 200, critical, data: Vec::new() };
    let extras: [(&str, Vec<Payload>); 5] = [
        ("nothing", Vec::new()),
        (
            "everything",
            vec![
                plain(notify::NAT_DETECTION_SOURCE_IP, &[0; 20]),
                plain(notify::NAT_DETECTION_DESTINATION_IP, &[0; 20]),
                plain(notify::IKEV2_FRAGMENTATION_SUPPORTED, &[]),
                plain(notify::SIGNATURE_HASH_ALGORITHMS, &[0, 2]),
                plain(notify::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]),
                plain(notify::USE_PPK, &[]),
            ],
        ),
        ("redirect", vec![plain(notify::REDIRECT_SUPPORTED, &[])]),
        ("a wrong cookie", vec![plain(notify::COOKIE, &[1; 33])]),
        ("critical", vec![unknown(true)]),
    ];
    let mut all = BTreeMap::new();
    for (name, extra) in extras {
        let mut script = script(pair, 1);
        (script.extra, script.nonce_i) = (extra, vec![7; 16]);
        all.insert(format!("{name}: good"), script.init_message(31, public(Group::Curve25519)));
        all.insert(format!("{name}: a short public value"), script.init_message(31, vec![9; 3]));
        all.insert(format!("{name}: another group"), script.init_message(19, vec![]));
        script.nonce_i = vec![7; 3];
        all.insert(format!("{name}: a short nonce"), script.init_message(31, vec![]));
    }
    let mut strange = script(pair, 1);
    strange.ciphers.prfs = vec![crypto::prf::Prf::HmacSha1];
    all.insert("no proposal".into(), strange.init_message(31, vec![]));
    let mut large = script(pair, 1);
    large.ciphers.groups = vec![Group::Modp2048];
    all.insert("a large group".into(), large.init_message(14, public(Group::Modp2048)));
    all
}

/// What is not a first message, with SPIs of nobody or `known`.
fn others(known: Spi) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let exchanges = [
        Exchange::IkeSaInit,
        Exchange::IkeAuth,
        Exchange::Informational,
        Exchange::CreateChildSa,
        Exchange::IkeIntermediate,
        Exchange::from_id(99),
    ];
    for exchange in exchanges {
        for (spi_i, spi_r) in [(Spi(5), Spi(0)), (Spi(5), Spi(6)), (Spi(5), known), (known, Spi(6))] {
            for bits in 0..4 {
                let flags = Flags { initiator: bits & 1 != 0, response: bits & 2 != 0, version: false };
                for (kind, len) in [(0, 0), (200, 0), (SK, 0), (SK, 24), (SK, 25), (SK, 28), (SK, 90), (SKF, 25), (SKF, 60)] {
                    let header = Header::new(spi_i, spi_r, exchange, flags, 1);
                    let mut message = encode(&header, &[Payload::Unknown { kind: 200, critical: true, data: vec![0; len] }]);
                    message[16] = kind;
                    all.insert(format!("{header:?} {kind} {len}"), message.clone());
                    // Of a future version.
                    message[17] = 0x30;
                    all.insert(format!("{header:?} {kind} {len} version 3"), message.clone());
                    message.truncate(HEADER_LEN);
                    all.insert(format!("{header:?} {kind} {len} version 3, its header"), message);
                }
            }
        }
    }
    for len in 0..HEADER_LEN + 4 {
        all.insert(format!("{len} bytes"), vec![0x22; len]);
    }
    all
}

/// What goes back for a message that comes ten times, within a minute.
#[track_caller]
fn weigh(pair: &mut Pair, from: u16, name: &str, message: &[u8]) -> usize {
    let (before, path) = (pair.gateway().sent.len(), script(pair, from).path);
    for _ in 0..10 {
        pair.sim.inject(path, message.to_vec());
        pair.sim.run_for(Duration::from_millis(1));
    }
    pair.sim.run_for(Duration::from_secs(60));
    let sent = &pair.gateway().sent[before..];
    let bytes: usize = sent.iter().map(|(_, message)| message.len()).sum();
    assert!(bytes < 3 * 10 * message.len().max(1), "{name}: {bytes} for ten times {}", message.len());
    assert!(sent.iter().all(|(_, answer)| answer.len() < 3 * message.len()), "{name}");
    sent.len()
}

#[test]
fn no_answer_is_three_times_as_long_as_what_it_answers() {
    let target = || GatewayIdentity::Fqdn(format!("{}.example.test", "a".repeat(200)));
    let shapes: [(&str, Change<'_>); 4] = [
        ("usual", &|_| {}),
        ("cookies", &|config| config.limits.cookie_threshold = 0),
        ("redirect", &|config| config.redirect = Some(target())),
        ("redirect to an address", &|config| config.redirect = Some(GatewayIdentity::Address(GATEWAY))),
    ];
    let mut answered = 0;
    for (shape, change) in shapes {
        let mut config = talkative();
        change(&mut config);
        let mut pair = Pair::new(1, config);
        for (name, message) in first_messages(&pair) {
            answered += weigh(&mut pair, 1, &format!("{shape}: {name}"), &message);
        }
    }
    assert!(answered > 200, "{answered}");
    let mut pair = Pair::new(1, talkative());
    pair.sim.input(pair.gateway, Input::Drain(Some(Drain { to: None })));
    for (name, message) in first_messages(&pair) {
        weigh(&mut pair, 1, &format!("draining: {name}"), &message);
    }
}

#[test]
fn nor_is_one_to_what_is_no_first_message() {
    let mut pair = Pair::new(1, talkative());
    let mut waiting = script(&pair, 1);
    waiting.init(&mut pair.sim);
    let mut answered = 0;
    for (name, message) in others(waiting.spi_r) {
        answered += weigh(&mut pair, 1, &name, &message);
    }
    assert!(answered > 100, "{answered}");
}

/// A thousand addresses at once, and one of them all the time. What costs the gateway nothing to answer is a cookie: its answers are as many, but none
/// is longer than the request.
#[test]
fn answers_to_forged_addresses_have_a_number() {
    let bare = |exchange, spi_r, major: u8, len| {
        let flags = Flags { initiator: true, response: false, version: false };
        let header = Header::new(Spi(5), spi_r, exchange, flags, 0);
        let mut message = encode(&header, &[Payload::Unknown { kind: 200, critical: true, data: vec![0; len] }]);
        (message[16], message[17]) = (if spi_r == Spi(0) { 200 } else { SK }, major << 4);
        message
    };
    let cases = [
        ("broken", bare(Exchange::IkeSaInit, Spi(0), 2, 0), 100, 10),
        ("version", bare(Exchange::IkeSaInit, Spi(0), 3, 0), 10, 10),
        ("unknown SPI", bare(Exchange::Informational, Spi(6), 2, 30), 500, 10),
    ];
    for (name, message, most, of_one) in cases {
        for (sources, most) in [(1000, most), (1, of_one)] {
            let mut pair = Pair::new(1, talkative());
            for n in 0..1000 {
                let path = script(&pair, n % sources).path;
                pair.sim.inject(path, message.clone());
            }
            assert_eq!(pair.gateway().sent.len(), most, "{name} from {sources}");
            pair.sim.run_for(Duration::from_secs(1));
            let path = script(&pair, 0).path;
            pair.sim.inject(path, message.clone());
            assert_eq!(pair.gateway().sent.len(), most + 1, "{name}: in the next second again");
        }
    }
    let mut config = talkative();
    config.limits.cookie_threshold = 10;
    let mut pair = Pair::new(1, config);
    let message = script(&pair, 1).init_message(31, public(Group::Curve25519));
    for n in 0..1000 {
        let path = script(&pair, n).path;
        pair.sim.inject(path, message.clone());
    }
    pair.sim.run_for(Duration::from_secs(1));
    let sent = &pair.gateway().sent;
    assert!(sent.iter().filter(|(_, answer)| answer.len() > message.len()).count() <= 10, "what is longer is counted as half-open");
    assert_eq!(pair.gateway().endpoint.sessions().0, 10);
}
