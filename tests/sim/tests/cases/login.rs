//! Logins that succeed, and those that must not.
use super::{CLIENT, GATEWAY, Pair};
use ike::{Event, Fault, InitiatorAuth, InitiatorConfig, Stage, TrafficSelector};
use sim::{Eap, KeyKind, Peer, client_credential, initiator, responder, server_credential};
use std::net::{IpAddr, Ipv4Addr};

const KINDS: [KeyKind; 4] = [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];

fn eap_client() -> InitiatorConfig {
    initiator(CLIENT, GATEWAY)
}

fn certificate_client(kind: KeyKind) -> InitiatorConfig {
    let auth = InitiatorAuth::Certificate(client_credential(kind, "pc1.example.test"));
    InitiatorConfig { auth, ..eap_client() }
}

/// Neither side is left with a session; the gateway's failure.
#[track_caller]
fn refused(pair: &mut Pair) -> ike::Failure {
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert_eq!(pair.client().endpoint.sessions(), (0, 0));
    assert!(pair.client().failure().is_some());
    pair.sim.run_for(std::time::Duration::from_secs(60));
    assert!(pair.gateway().is_empty() && pair.client().is_empty(), "{:?} {:?}", pair.gateway(), pair.client());
    assert!(pair.gateway().children.is_empty() && pair.client().children.is_empty());
    pair.gateway().failure().expect("the gateway knows why")
}

#[test]
fn eap() {
    for kind in KINDS {
        let mut config = responder();
        config.certificates = vec![server_credential(kind).into()];
        let mut pair = Pair::new(1, config);
        pair.dial(eap_client()).assert_up();
        assert_eq!(pair.gateway().answers.eap_questions, 2, "identity and response");
    }
}

#[test]
fn certificates() {
    for kind in KINDS {
        let mut config = responder();
        config.certificates = vec![server_credential(kind).into()];
        let mut pair = Pair::new(1, config);
        pair.dial(certificate_client(kind)).assert_up();
        assert!(
            pair.gateway().events.iter().any(|(_, event)| matches!(event, Event::Established { user, .. } if user == "pc1.example.test"))
        );
    }
}

#[test]
fn a_method_without_key() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.eap = Eap::AcceptWithoutKey;
    pair.sim.host_mut(pair.client).answers.peer = Peer::Keyless;
    pair.dial(eap_client()).assert_up();
}

#[test]
fn different_keys_after_eap() {
    for (eap, peer) in [(Eap::Accept, Peer::WrongKey), (Eap::Accept, Peer::Keyless), (Eap::AcceptWithoutKey, Peer::Honest)] {
        let mut pair = Pair::default();
        pair.sim.host_mut(pair.gateway).answers.eap = eap;
        pair.sim.host_mut(pair.client).answers.peer = peer;
        pair.dial(eap_client());
        let failure = refused(&mut pair);
        assert_eq!(failure.notify, Some("AUTHENTICATION_FAILED"));
        assert!(failure.cause.contains("MSK"), "{}", failure.cause);
    }
}

#[test]
fn denials_name_their_stage() {
    for (eap, stage, cause) in [(Eap::WrongPassword, Stage::Radius, "wrong password"), (Eap::PolicyDenies, Stage::Policy, "nights")] {
        let mut pair = Pair::default();
        pair.sim.host_mut(pair.gateway).answers.eap = eap;
        pair.dial(eap_client());
        let failure = refused(&mut pair);
        assert_eq!((failure.stage, failure.fault, failure.notify), (stage, Fault::Refused, Some("AUTHENTICATION_FAILED")));
        assert!(failure.cause.contains(cause), "{}", failure.cause);
    }
}

#[test]
fn a_certificate_that_policy_denies() {
    let mut pair = Pair::default();
    let denial = ike::Denial { stage: Stage::Policy, cause: "no policy for machines".into() };
    pair.sim.host_mut(pair.gateway).answers.certificate_denial = Some(denial);
    pair.dial(certificate_client(KeyKind::P256));
    let failure = refused(&mut pair);
    assert_eq!((failure.stage, failure.cause.as_str()), (Stage::Policy, "no policy for machines"));
}

#[test]
fn methods_that_are_not_allowed() {
    for (eap, certificate, config) in [(false, true, eap_client()), (true, false, certificate_client(KeyKind::P256))] {
        let mut settings = responder();
        settings.client_auth = ike::ClientAuth { eap, certificate, eap_only: false };
        let mut pair = Pair::new(1, settings);
        pair.dial(config);
        let failure = refused(&mut pair);
        assert_eq!((failure.stage, failure.fault), (Stage::IkeAuth, Fault::PeerIncompatible));
        assert!(failure.cause.contains("does not allow"), "{}", failure.cause);
        assert_eq!(pair.gateway().answers.eap_questions, 0);
    }
}

#[test]
fn a_client_of_another_authority() {
    let mut settings = responder();
    settings.client_roots = std::sync::Arc::default();
    let mut pair = Pair::new(1, settings);
    pair.dial(certificate_client(KeyKind::P256));
    let failure = refused(&mut pair);
    assert!(failure.cause.contains("CN=pc1.example.test") && failure.cause.contains("authorities"), "{}", failure.cause);
}

#[test]
fn a_server_certificate_is_no_client_certificate() {
    let mut pair = Pair::default();
    let auth = InitiatorAuth::Certificate(server_credential(KeyKind::P256));
    pair.dial(InitiatorConfig { auth, ..eap_client() });
    assert!(refused(&mut pair).cause.contains("clientAuth"));
}

#[test]
fn a_gateway_of_another_name_is_left() {
    let mut pair = Pair::default();
    pair.dial(InitiatorConfig { server_name: "other.example.test".into(), ..eap_client() });
    let failure = refused(&mut pair);
    assert!(failure.cause.contains("AUTHENTICATION_FAILED"), "{}", failure.cause);
    assert!(pair.client().failure().unwrap().cause.contains("other.example.test"));
    assert_eq!(pair.gateway().answers.eap_questions, 0, "no password goes to a gateway that is not trusted");
}

#[test]
fn no_address() {
    for config in [eap_client(), certificate_client(KeyKind::P256)] {
        let mut pair = Pair::default();
        pair.sim.host_mut(pair.gateway).answers.grant.address_failure = Some("pool \"users\" exhausted 250/250".into());
        pair.dial(config);
        let failure = refused(&mut pair);
        assert_eq!((failure.stage, failure.notify), (Stage::Address, Some("INTERNAL_ADDRESS_FAILURE")));
        assert!(failure.cause.contains("250/250"));
        assert!(pair.client().failure().unwrap().cause.contains("INTERNAL_ADDRESS_FAILURE"));
    }
}

#[test]
fn no_address_asked_for() {
    let mut pair = Pair::default();
    pair.dial(InitiatorConfig { want_ipv4: false, ..eap_client() });
    assert_eq!(refused(&mut pair).notify, Some("FAILED_CP_REQUIRED"));
}

#[test]
fn selectors_are_narrowed_to_lease_and_policy() {
    let mut pair = Pair::default();
    let inside = TrafficSelector::network(Ipv4Addr::new(10, 0, 0, 0).into(), 8);
    pair.sim.host_mut(pair.gateway).answers.grant.selectors = vec![inside];
    pair.dial(eap_client()).assert_up();
    let child = pair.gateway().children.values().next().unwrap();
    let lease: IpAddr = Ipv4Addr::new(10, 99, 0, 1).into();
    assert_eq!(child.remote, [TrafficSelector::host(lease)]);
    assert_eq!(child.local, [inside]);
    assert_eq!(child.inner, [lease]);
    assert_eq!(pair.client().children.values().next().unwrap().inner, [lease]);
}

#[test]
fn both_families() {
    let mut pair = Pair::default();
    pair.dial(InitiatorConfig { want_ipv6: true, ..eap_client() }).assert_up();
    let child = pair.client().children.values().next().unwrap();
    assert_eq!(child.inner.len(), 2);
    assert_eq!(child.local, child.inner.iter().copied().map(TrafficSelector::host).collect::<Vec<_>>());
    assert_eq!(child.remote, [TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]);
}

#[test]
fn selectors_without_common_ground() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.grant.selectors = vec![TrafficSelector::network(Ipv4Addr::new(10, 0, 0, 0).into(), 8)];
    let elsewhere = TrafficSelector::network(Ipv4Addr::new(172, 16, 0, 0).into(), 12);
    pair.dial(InitiatorConfig { remote_selectors: vec![elsewhere], ..eap_client() });
    let failure = refused(&mut pair);
    assert_eq!((failure.stage, failure.notify), (Stage::ChildSa, Some("TS_UNACCEPTABLE")));
    assert!(failure.cause.contains("172.16.0.0/12") && failure.cause.contains("10.0.0.0/8"), "{}", failure.cause);
}

#[test]
fn the_record_tells_the_way() {
    let mut pair = Pair::default();
    pair.dial(eap_client()).assert_up();
    let stages: Vec<_> = pair
        .gateway()
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Reached(stage) => Some(*stage),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [Stage::SaInit, Stage::IkeAuth, Stage::Eap, Stage::Address, Stage::ChildSa, Stage::Up]);
    assert!(
        pair.gateway()
            .events
            .iter()
            .any(|(_, event)| matches!(event, Event::IkeProposals { accepted: Some(suite), .. } if suite.contains("AES_GCM_16_256")))
    );
}

#[test]
fn the_credential_that_the_client_asks_for() {
    let mut config = responder();
    config.certificates = vec![server_credential(KeyKind::Ed25519).into(), server_credential(KeyKind::P256).into()];
    let mut pair = Pair::new(1, config);
    pair.dial(eap_client()).assert_up();
    let presented = pair.gateway().events.iter().find_map(|(_, event)| match event {
        Event::Presented { auth_method, selection, .. } => Some((auth_method.clone(), selection.why.clone())),
        _ => None,
    });
    let (method, why) = presented.unwrap();
    assert!(method.contains("ECDSA") && why.contains("its key (ECDSA P-256) suits this client best"), "{method} {why}");
}

/// Fifty authorities make the first IKE_AUTH request long: it goes in fragments, in both directions, and gets through a bad wire.
#[test]
fn long_messages_are_fragmented() {
    let mut fragments = 0;
    for seed in 0..10 {
        let root = sim::authority().roots()[0].clone();
        let mut config = responder();
        config.certificates = vec![server_credential(KeyKind::Rsa).into()];
        let mut pair = Pair::new(seed, config);
        pair.sim.faults = sim::Faults { loss: 100, duplicate: 100, jitter: std::time::Duration::from_millis(100) };
        let server_roots = std::sync::Arc::new(pki::TrustAnchors::new(vec![root; 120]));
        pair.dial(InitiatorConfig { server_roots, ..certificate_client(KeyKind::Rsa) }).assert_up();
        let sent = pair.gateway().sent.iter().chain(&pair.client().sent);
        assert!(sent.clone().all(|(_, message)| message.len() <= 1280));
        fragments += sent.filter(|(_, message)| message[16] == ike::wire::kind::SKF).count();
    }
    assert!(fragments > 30, "{fragments}");
}

/// The gateway ends what it refused: a client that would keep the IKE SA without Child SA is told.
#[test]
fn a_refused_child_ends_with_a_delete() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.grant.address_failure = Some("empty".into());
    pair.dial(eap_client());
    let before = pair.gateway().sent.len();
    pair.sim.run_for(std::time::Duration::from_secs(2));
    assert!(pair.gateway().sent.len() > before);
    pair.sim.run_for(std::time::Duration::from_secs(60));
    assert_eq!(pair.gateway().endpoint.poll_timeout(), None);
}
