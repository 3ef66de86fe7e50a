//! Postquantum preshared keys (RFC 8784): both sides with all their settings, whatever the client authenticates with.
use super::{CLIENT, GATEWAY, Pair};
use crypto::dh::Group;
use ike::ppk::{InitiatorPpk, Ppk, PpkPolicy};
use ike::{Command, Fault, InitiatorAuth, InitiatorConfig, ResponderConfig};
use sim::{KeyKind, client_credential, initiator, responder};
use std::time::Duration;

fn ppk(id: &str, secret: u8) -> Ppk {
    Ppk { id: id.into(), secret: vec![secret; 32].into() }
}

fn gateway(keys: &[Ppk], required: bool) -> ResponderConfig {
    ResponderConfig { ppk: PpkPolicy { keys: keys.to_vec(), required }, ..responder() }
}

fn client(certificate: bool, ppk: Option<(Ppk, bool)>) -> InitiatorConfig {
    let mut config = initiator(CLIENT, GATEWAY);
    if certificate {
        config.auth = InitiatorAuth::Certificate(client_credential(KeyKind::P256, "pc1.example.test"));
    }
    InitiatorConfig { ppk: ppk.map(|(ppk, required)| InitiatorPpk { ppk, required }), ..config }
}

/// A login comes up, its SAs can be replaced, and the gateway's record says whether a PPK is in the keys.
#[track_caller]
fn comes_up(gateway: ResponderConfig, client: InitiatorConfig, note: Option<&str>) {
    let mut pair = Pair::up_with(1, gateway, client);
    match note {
        Some(note) => assert!(pair.gateway().notes().contains(note), "{}", pair.gateway().notes()),
        None => assert!(!pair.gateway().notes().contains("PPK"), "{}", pair.gateway().notes()),
    }
    let (host, session) = (pair.client, pair.session(pair.client));
    pair.sim.command(host, session, Command::RekeyIke);
    pair.carry(Duration::from_secs(5));
    pair.sim.command(host, session, Command::RekeyChild);
    pair.carry(Duration::from_secs(20));
    pair.assert_up();
    assert_eq!((pair.gateway().rekeyed(true), pair.gateway().rekeyed(false)), (1, 1));
}

#[track_caller]
fn refused(gateway: ResponderConfig, client: InitiatorConfig, cause: &str) {
    let mut pair = Pair::new(1, gateway);
    pair.dial(client);
    let failure = pair.gateway().failure().expect("the gateway refuses");
    assert_eq!((failure.fault, failure.notify), (Fault::Refused, Some("AUTHENTICATION_FAILED")));
    // Of a secret that differs the cause tells: what the remedy would be nobody knows.
    assert_eq!(failure.remedy.is_none(), cause.starts_with("different secrets"), "{failure:?}");
    assert!(failure.cause.contains(cause), "{}", failure.cause);
    pair.sim.run_for(Duration::from_secs(60));
    assert!(pair.gateway().is_empty() && pair.client().is_empty());
    assert!(pair.gateway().children.is_empty() && pair.client().children.is_empty());
}

const MIXED: &str = "PPK \"two\" is mixed into the keys";

#[test]
fn the_same_key_on_both_sides() {
    for certificate in [false, true] {
        for (here, there) in [(false, false), (false, true), (true, false), (true, true)] {
            let keys = [ppk("one", 1), ppk("two", 2)];
            comes_up(gateway(&keys, here), client(certificate, Some((ppk("two", 2), there))), Some(MIXED));
        }
    }
}

#[test]
fn without_agreement_it_is_as_ever() {
    for certificate in [false, true] {
        comes_up(gateway(&[ppk("one", 1)], false), client(certificate, None), None);
        comes_up(responder(), client(certificate, Some((ppk("one", 1), false))), None);
    }
}

#[test]
fn a_name_that_the_gateway_does_not_know() {
    for certificate in [false, true] {
        let (known, strange) = ([ppk("one", 1)], ppk("two", 2));
        comes_up(gateway(&known, false), client(certificate, Some((strange.clone(), false))), Some("it goes on without"));
        refused(gateway(&known, false), client(certificate, Some((strange.clone(), true))), "\"two\" is not known here");
        refused(gateway(&known, true), client(certificate, Some((strange.clone(), false))), "this gateway demands one");
    }
}

#[test]
fn another_secret_under_the_name() {
    for certificate in [false, true] {
        for required in [false, true] {
            let there = client(certificate, Some((ppk("one", 2), required)));
            refused(gateway(&[ppk("one", 1)], false), there, "different secrets under the name of the PPK");
        }
    }
}

/// The gateway demands one: who knows nothing of PPKs is told no before anybody is asked about it.
#[test]
fn a_client_that_knows_of_none() {
    for certificate in [false, true] {
        let config = gateway(&[ppk("one", 1)], true);
        refused(config.clone(), client(certificate, None), "offers no PPK");
        let mut pair = Pair::new(1, config);
        pair.dial(client(certificate, None));
        assert_eq!(pair.gateway().answers.eap_questions, 0);
    }
}

#[test]
fn a_gateway_that_knows_of_none() {
    for certificate in [false, true] {
        let mut pair = Pair::new(1, responder());
        pair.dial(client(certificate, Some((ppk("one", 1), true))));
        let failure = pair.client().failure().expect("the client leaves");
        assert!(failure.cause.contains("knows no PPK"), "{}", failure.cause);
        assert_eq!(pair.gateway().answers.eap_questions, 0, "nobody tells its password to such a gateway");
    }
}

/// AUTH covers IKE_INTERMEDIATE with the keys of that time, and is made with those of afterwards.
#[test]
fn beside_an_additional_key_exchange() {
    for certificate in [false, true] {
        let mut here = gateway(&[ppk("two", 2)], true);
        let mut there = client(certificate, Some((ppk("two", 2), true)));
        here.ciphers.additional = vec![Group::MlKem768];
        there.ciphers.additional = vec![Group::MlKem768];
        comes_up(here, there, Some(MIXED));
    }
}

/// The key is in the Child SA: with the same random numbers and another PPK, other keys.
#[test]
fn the_first_child_sa_has_it() {
    let keys = |ppk: Option<Ppk>| {
        let config = gateway(ppk.as_slice(), false);
        let pair = Pair::up_with(7, config, client(false, ppk.map(|ppk| (ppk, true))));
        let child = pair.gateway().children.values().next().unwrap();
        child.key_in.encryption.clone()
    };
    let (one, other, none) = (keys(Some(ppk("one", 1))), keys(Some(ppk("one", 2))), keys(None));
    assert!(one != other && one != none && other != none);
    assert_eq!(one, keys(Some(ppk("one", 1))), "the simulation repeats itself");
}

#[test]
fn over_a_bad_wire() {
    for seed in 0..10 {
        for (id, certificate) in [("one", false), ("two", true)] {
            let mut pair = Pair::new(seed, gateway(&[ppk("one", 1)], false));
            pair.sim.faults = sim::Faults { loss: 150, duplicate: 150, jitter: Duration::from_millis(200) };
            pair.dial(client(certificate, Some((ppk(id, 1), false)))).assert_up();
        }
    }
}
