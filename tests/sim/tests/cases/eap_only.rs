//! EAP without a certificate of the gateway (RFC 5998): only where both sides want it, and only with methods that prove the gateway.
use super::{CLIENT, GATEWAY, Pair};
use eap::method::{MD5, MSCHAPV2, PEAP, TLS};
use ike::{ClientAuth, Event, InitiatorAuth, InitiatorConfig, ResponderConfig};
use sim::{Eap, Peer, initiator, responder};
use std::sync::Arc;
use std::time::Duration;

fn gateway(eap_only: bool) -> ResponderConfig {
    ResponderConfig { client_auth: ClientAuth { eap_only, ..responder().client_auth }, ..responder() }
}

/// Trusts no authority at all: only EAP can prove the gateway.
fn client() -> InitiatorConfig {
    InitiatorConfig { auth: InitiatorAuth::EapOnly, server_roots: Arc::default(), ..initiator(CLIENT, GATEWAY) }
}

fn pair(eap_only: bool, method: u8) -> Pair {
    let mut pair = Pair::new(1, gateway(eap_only));
    pair.sim.host_mut(pair.gateway).answers.method = method;
    pair
}

fn presented(pair: &Pair) -> bool {
    pair.gateway().events.iter().any(|(_, event)| matches!(event, Event::Presented { .. }))
}

/// Neither side keeps anything; why the gateway, or else the client, gave up.
#[track_caller]
fn refused(mut pair: Pair) -> String {
    assert!(pair.gateway().established().is_empty() && pair.client().established().is_empty());
    pair.sim.run_for(Duration::from_secs(100));
    assert!(pair.gateway().is_empty() && pair.client().is_empty(), "{:?}", pair.gateway());
    assert!(pair.gateway().children.is_empty() && pair.client().children.is_empty());
    pair.client().failure().expect("the client knows why").cause
}

#[test]
fn methods_that_prove_the_gateway() {
    for method in [TLS, PEAP] {
        let mut pair = pair(true, method);
        pair.dial(client()).assert_up();
        assert!(!presented(&pair));
        let longest = pair.gateway().sent.iter().map(|(_, message)| message.len()).max();
        assert!(longest < Some(500), "no certificate, no signature: {longest:?}");
        assert!(pair.gateway().notes().contains("RFC 5998"), "{}", pair.gateway().notes());
    }
}

/// The gateway's own rule: a client that does not care gets no further with such a method, and RADIUS hears nothing of it.
#[test]
fn a_careless_client() {
    let mut pair = pair(true, TLS);
    pair.sim.host_mut(pair.client).answers.peer = Peer::Md5;
    pair.dial(client());
    let failure = pair.gateway().failure().unwrap();
    assert_eq!(failure.remedy, Some(ike::Remedy::ProveByEap));
    assert!(failure.cause.contains("EAP-MD5 proves nothing") && failure.notify == Some("AUTHENTICATION_FAILED"), "{failure:?}");
    assert_eq!(pair.gateway().answers.eap_questions, 1, "the identity");
    refused(pair);
}

#[test]
fn methods_that_do_not() {
    for method in [MD5, MSCHAPV2] {
        let mut pair = pair(true, method);
        pair.dial(client());
        let cause = refused(pair);
        assert!(cause.contains("proves nothing"), "{cause}");
    }
}

#[test]
fn a_method_that_made_no_key() {
    for (eap, peer) in [(Eap::AcceptWithoutKey, Peer::Honest), (Eap::AcceptWithoutKey, Peer::Keyless)] {
        let mut pair = pair(true, TLS);
        pair.sim.host_mut(pair.gateway).answers.eap = eap;
        pair.sim.host_mut(pair.client).answers.peer = peer;
        pair.dial(client());
        let failure = pair.gateway().failure().unwrap();
        assert!(failure.cause.contains("made no key") && failure.notify == Some("AUTHENTICATION_FAILED"), "{failure:?}");
        refused(pair);
    }
}

#[test]
fn another_key_is_no_proof() {
    let mut pair = pair(true, TLS);
    pair.sim.host_mut(pair.client).answers.peer = Peer::WrongKey;
    pair.dial(client());
    assert!(pair.gateway().failure().unwrap().cause.contains("MSK"));
    refused(pair);
}

/// Not configured, or not asked for: the certificate is shown as ever.
#[test]
fn otherwise_the_certificate_is_shown() {
    for (here, auth) in [(false, InitiatorAuth::EapOnly), (true, InitiatorAuth::Eap), (false, InitiatorAuth::Eap)] {
        let mut pair = pair(here, MSCHAPV2);
        pair.dial(InitiatorConfig { auth, server_roots: responder().client_roots, ..client() }).assert_up();
        assert!(presented(&pair));
    }
    let mut pair = pair(false, TLS);
    pair.dial(client());
    assert!(refused(pair).contains("CN="), "a certificate that is shown is looked at");
}

#[test]
fn over_a_bad_wire() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, gateway(true));
        pair.sim.host_mut(pair.gateway).answers.method = TLS;
        pair.sim.faults = sim::Faults { loss: 150, duplicate: 150, jitter: Duration::from_millis(200) };
        pair.dial(client()).assert_up();
    }
}
