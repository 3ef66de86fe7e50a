//! Every combination of protection, PRF and group, and what happens when there is no common one.
use super::{CLIENT, GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::dh::PrivateKey;
use crypto::prf::Prf;
use ike::proposal::{offer_esp, offer_ike};
use ike::wire::{Exchange, KeyExchange, Notify, Payload, Spi, notify};
use ike::{CipherPolicy, Event, Fault, InitiatorConfig, Stage, TrafficSelector};
use sim::{Script, ciphers, initiator, responder};

const PRFS: [Prf; 4] = [Prf::HmacSha1, Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512];
fn suites() -> Vec<Suite> {
    let integrities = [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256];
    let aead = [Encryption::AesGcm128, Encryption::AesGcm256, Encryption::ChaCha20Poly1305].map(|it| Suite::new(it, None).unwrap());
    let cbc = [Encryption::AesCbc128, Encryption::AesCbc256];
    let cbc = cbc.iter().flat_map(|it| integrities.map(|integrity| Suite::new(*it, Some(integrity)).unwrap()));
    aead.into_iter().chain(cbc).collect()
}

fn dial(server: CipherPolicy, client: CipherPolicy) -> Pair {
    let mut config = responder();
    config.ciphers = server;
    let mut pair = Pair::new(7, config);
    pair.dial(InitiatorConfig { ciphers: client, ..initiator(CLIENT, GATEWAY) });
    pair
}

fn combinations(groups: &[Group]) {
    for &group in groups {
        for suite in suites() {
            for prf in PRFS {
                let only = CipherPolicy { ike: vec![suite], prfs: vec![prf], groups: vec![group], esp: vec![suite], ..ciphers() };
                let pair = dial(only.clone(), only);
                pair.assert_up();
                assert_eq!(pair.gateway().children.values().next().unwrap().suite.protection, suite);
            }
        }
    }
}

#[test]
fn all_combinations_with_curves() {
    combinations(&[Group::EcpP256, Group::EcpP384, Group::EcpP521, Group::Curve25519]);
}

#[test]
fn all_combinations_with_modp() {
    combinations(&[Group::Modp1024, Group::Modp2048, Group::Modp3072, Group::Modp4096]);
}

#[test]
fn no_common_ike_proposal() {
    let pair = dial(ciphers(), CipherPolicy { prfs: vec![Prf::HmacSha1], groups: vec![Group::Modp1024], ..ciphers() });
    let failure = pair.gateway().failure().unwrap();
    assert_eq!(failure.stage, Stage::SaInit);
    assert_eq!((failure.fault, failure.notify), (Fault::PeerIncompatible, Some("NO_PROPOSAL_CHOSEN")));
    assert!(failure.cause.contains("MODP_1024"), "{}", failure.cause);
    let offered = pair.gateway().events.iter().find_map(|(_, event)| match event {
        Event::IkeProposals { offered, accepted: None } => Some(offered.clone()),
        _ => None,
    });
    assert_eq!(offered.map(|it| it.len()), Some(1));
    assert!(pair.client().failure().unwrap().cause.contains("NO_PROPOSAL_CHOSEN"));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
}

#[test]
fn no_common_esp_proposal() {
    let cbc = Suite::new(Encryption::AesCbc128, Some(Integrity::HmacSha1_96)).unwrap();
    let pair = dial(ciphers(), CipherPolicy { esp: vec![cbc], ..ciphers() });
    let failure = pair.gateway().failure().unwrap();
    assert_eq!((failure.stage, failure.notify), (Stage::ChildSa, Some("NO_PROPOSAL_CHOSEN")));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert_eq!(pair.client().endpoint.sessions(), (0, 0));
}

#[test]
fn invalid_ke_payload_is_one_attempt() {
    let server = CipherPolicy { groups: vec![Group::EcpP256], ..ciphers() };
    let client = CipherPolicy { groups: vec![Group::Modp2048, Group::EcpP256], ..ciphers() };
    let pair = dial(server, client);
    pair.assert_up();
    let started = pair.gateway().events.iter().filter(|(_, event)| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 1);
    assert!(pair.gateway().notes().contains("asked the client to come again"));
}

/// Windows may not come again; then the record says so.
#[test]
fn invalid_ke_payload_without_retry() {
    let mut config = responder();
    config.ciphers.groups = vec![Group::EcpP256];
    let mut pair = Pair::new(7, config);
    pair.sim.filter = Some({
        let mut first = true;
        Box::new(move |path, _| {
            let pass = path.local.ip() == GATEWAY || std::mem::take(&mut first);
            if pass { sim::Verdict::Pass } else { sim::Verdict::Drop }
        })
    });
    let client = CipherPolicy { groups: vec![Group::Modp2048, Group::EcpP256], ..ciphers() };
    pair.dial(InitiatorConfig { ciphers: client, ..initiator(CLIENT, GATEWAY) });
    let failure = pair.gateway().failure().unwrap();
    assert_eq!(failure.fault, Fault::Silence);
    assert!(failure.cause.contains("did not come again"), "{}", failure.cause);
}

/// 128 bits first, as this gateway would have it.
fn both_lengths() -> CipherPolicy {
    let suite = |encryption| Suite::new(encryption, None).unwrap();
    let both = vec![suite(Encryption::AesGcm128), suite(Encryption::AesGcm256)];
    CipherPolicy { ike: vec![suite(Encryption::AesGcm256)], esp: both, ..ciphers() }
}

fn dial_bound(client: CipherPolicy) -> Pair {
    let mut config = responder();
    config.ciphers = both_lengths();
    let mut pair = Pair::new(7, config);
    pair.sim.host_mut(pair.gateway).answers.grant.cipher_bits = Some(256);
    pair.dial(InitiatorConfig { ciphers: client, ..initiator(CLIENT, GATEWAY) });
    pair
}

#[test]
fn a_child_sa_has_the_key_length_that_the_login_was_granted_with() {
    let free = dial(both_lengths(), both_lengths());
    let encryption = |pair: &Pair| pair.gateway().children.values().next().unwrap().suite.protection.encryption();
    assert_eq!(encryption(&free), Encryption::AesGcm128);
    let bound = dial_bound(both_lengths());
    bound.assert_up();
    assert_eq!(encryption(&bound), Encryption::AesGcm256);
    let short = Suite::new(Encryption::AesGcm128, None).unwrap();
    let refused = dial_bound(CipherPolicy { esp: vec![short], ..both_lengths() });
    let failure = refused.gateway().failure().unwrap();
    assert_eq!((failure.stage, failure.notify), (Stage::ChildSa, Some("NO_PROPOSAL_CHOSEN")));
    assert!(failure.cause.contains("keys of at least 256 bits (min_cipher_bits)"), "{}", failure.cause);
}

#[test]
fn neither_sa_is_rekeyed_to_a_shorter_key() {
    let suite = |encryption| Suite::new(encryption, None).unwrap();
    let short = suite(Encryption::AesGcm128);
    let mut config = responder();
    config.ciphers = CipherPolicy { ike: both_lengths().esp, ..both_lengths() };
    let Pair { mut sim, gateway, .. } = Pair::new(7, config);
    sim.host_mut(gateway).answers.grant.cipher_bits = Some(256);
    let from = std::net::SocketAddr::new(std::net::Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    let long = CipherPolicy { ike: vec![suite(Encryption::AesGcm256)], esp: vec![suite(Encryption::AesGcm256)], ..ciphers() };
    let mut script = Script::new(gateway, from, std::net::SocketAddr::new(GATEWAY, 500), long.clone());
    script.init(&mut sim);
    script.login(&mut sim);
    let nonce = || Payload::Nonce(vec![0x5a; 32]);
    for (protection, notify) in [(short, Some(notify::NO_PROPOSAL_CHOSEN)), (suite(Encryption::AesGcm256), None)] {
        let only = CipherPolicy { ike: vec![protection], esp: vec![protection], ..long.clone() };
        let selectors = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        let child = [
            Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0001)),
            Payload::Sa(offer_esp(&only, 0x7777, &[])),
            nonce(),
            Payload::TsInitiator(selectors.clone()),
            Payload::TsResponder(selectors),
        ];
        assert_eq!(Script::notify(&script.exchange(&mut sim, Exchange::CreateChildSa, &child)), notify, "{protection:?}");
    }
    let (_, public) = PrivateKey::generate(long.groups[0], &mut SeededRandom::new(5));
    let key_exchange = Payload::KeyExchange(KeyExchange { group: long.groups[0].id(), public });
    let only = CipherPolicy { ike: vec![short], ..long };
    let request = [Payload::Sa(offer_ike(&only, Some(Spi(0x1234)))), nonce(), key_exchange];
    assert_eq!(Script::notify(&script.exchange(&mut sim, Exchange::CreateChildSa, &request)), Some(notify::NO_PROPOSAL_CHOSEN));
}
