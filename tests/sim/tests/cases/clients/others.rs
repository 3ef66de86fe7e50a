//! Apple's and Android's clients.
use super::{World, attend, count, lenient};
use crypto::dh::Group;
use ike::wire::{Exchange, Payload, notify};
use ike::{CloseReason, Command};
use sim::clients::{Client, InSim, Profile, Wire};
use sim::{KeyKind, client_credential, server_credential};
use std::time::Duration;

/// A request is sent again and again until it is answered or the client has had enough; whether it was answered, and the answer.
fn patient(world: &mut World, client: &mut Client, exchange: Exchange, payloads: &[Payload]) -> Option<ike::wire::Payloads> {
    let request = client.seal(exchange, payloads);
    let mut mark = world.host().sent.len();
    for wait in client.profile.patience.clone() {
        client.send_all(&mut world.sim, request.clone());
        world.sim.run_for(wait);
        let answers = world.sim.heard(client.path, &mut mark);
        if !answers.is_empty() {
            return client.open(&answers);
        }
    }
    None
}

/// CERT behind AUTH, IDr, attribute 25, no CERTREQ: the certificate is sent all the same.
#[test]
fn apple_logs_in() {
    for machine in [false, true] {
        let mut config = lenient();
        config.certificates = vec![server_credential(KeyKind::Rsa).into()];
        let mut world = World::new(config);
        let mut client = world.client(Profile::apple(), 1);
        client.certificate = machine.then(|| client_credential(KeyKind::Rsa, "phone.example.test"));
        world.assert_login(&mut client);
        assert!(client.gateway_method.is_some(), "it saw a certificate and verified the signature");
    }
}

/// After ten silent minutes an Apple client asks five times, a second apart, and is answered the first time, also while keys are slow.
#[test]
fn apple_has_its_answer_within_five_seconds() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::apple(), 1);
    for _ in 0..6 {
        world.pass(600);
        let asked = world.sim.elapsed();
        assert_eq!(count(&patient(&mut world, &mut client, Exchange::Informational, &[]).unwrap()), 0);
        assert!(world.sim.elapsed() - asked < Duration::from_secs(2));
    }
    world.sim.host_mut(world.gateway).answers.crypto_delay = Duration::from_secs(30);
    let session = world.host().established()[0];
    world.sim.command(world.gateway, session, Command::RekeyIke);
    assert!(patient(&mut world, &mut client, Exchange::Informational, &[]).is_some(), "our own key pair is still being made");
}

/// Both ways of rekeying: iOS with two proposals, one without key exchange; macOS without.
#[test]
fn apple_rekeys() {
    for pfs in [vec![Group::Modp2048], Vec::new()] {
        let mut world = World::lenient();
        let mut client = world.up(Profile { pfs, ..Profile::apple() }, 1);
        for _ in 0..3 {
            world.pass(8 * 60);
            let old = client.spi_in;
            let rekeyed = client.rekey_child(&mut world.sim, Some(old));
            client.assert_child(&world.sim, &rekeyed);
            client.delete_child(&mut world.sim, old);
        }
        world.pass(6);
        assert_eq!(world.host().children.len(), 1);
        let offer = client.profile.ike.clone();
        assert!(client.rekey_ike(&mut world.sim, offer).sa().is_some());
        world.assert_alive(&mut client);
    }
}

/// INITIAL_CONTACT in IKE_AUTH: a phone that comes back to where it was ends its old session; another phone's stays.
#[test]
fn apple_comes_back() {
    let mut world = World::lenient();
    let first = world.up(Profile::apple(), 1);
    let mut other = world.up(Profile::apple(), 2);
    let mut again = world.client(Profile::apple(), 3);
    again.user = first.user.clone();
    world.assert_login(&mut again);
    assert_eq!(world.reasons(), [CloseReason::Replaced]);
    world.assert_alive(&mut other);
    world.assert_alive(&mut again);
}

/// From elsewhere it may as well be the user's other phone, for under EAP nobody vouches for IDi: the older session is asked, and ends if it is not
/// there, without the half hour that a client may be away.
#[test]
fn apple_comes_from_elsewhere() {
    for is_there in [true, false] {
        let mut world = World::lenient();
        let mut first = world.up(Profile::apple(), 1);
        let mut second = Client::new(Profile::apple(), super::ELSEWHERE, super::GATEWAY, 3);
        second.user = first.user.clone();
        world.assert_login(&mut second);
        assert_eq!(world.reasons(), []);
        assert_eq!(first.requests(&mut world.sim).len(), 1, "it is asked at once");
        for _ in 0..20 {
            if is_there {
                attend(&mut world, &mut first);
            }
            attend(&mut world, &mut second);
            world.pass(10);
        }
        assert_eq!(world.reasons(), if is_there { vec![] } else { vec![CloseReason::Replaced] });
        world.assert_alive(&mut second);
    }
}

/// A certificate vouches for IDi: wherever it comes from, there is one device that has it.
#[test]
fn a_certificate_comes_from_elsewhere() {
    let mut world = World::lenient();
    let mut login = |from| {
        let mut client = Client::new(Profile::apple(), from, super::GATEWAY, 1);
        client.certificate = Some(client_credential(KeyKind::P256, "phone.example.test"));
        world.assert_login(&mut client);
        world.reasons()
    };
    assert_eq!((login(super::OUTSIDE), login(super::ELSEWHERE)), (vec![], vec![CloseReason::Replaced]));
}

/// MODP_4096 first, no NIST curve: asked once for a group that both have, and in.
#[test]
fn android_comes_with_another_group() {
    let mut world = World::lenient();
    let mut client = world.client(Profile::android(), 1);
    world.assert_login(&mut client);
    assert_eq!(client.keys.as_ref().unwrap().suite.group, Group::Curve25519);
    assert_eq!(world.host().sent.iter().filter(|(_, message)| message[18] == 34).count(), 2, "INVALID_KE_PAYLOAD once");
    assert!(world.host().notes().contains("come again"), "{}", world.host().notes());
    let old = client.spi_in;
    let rekeyed = client.rekey_child(&mut world.sim, Some(old));
    client.assert_child(&world.sim, &rekeyed);
}

/// A login server that takes 14 s for an answer: Android, which gives up after 15 s, still gets it, and the server was asked once.
#[test]
fn android_waits_fifteen_seconds() {
    let mut world = World::lenient();
    let mut client = world.client(Profile::android(), 1);
    client.init(&mut world.sim);
    client.float();
    let request = client.first_auth();
    let mut answer = client.exchange(&mut world.sim, Exchange::IkeAuth, &request);
    world.sim.host_mut(world.gateway).answers.eap_delay = Duration::from_secs(14);
    for question in 1..=2 {
        let response = client.eap_response(answer.eap().unwrap()).unwrap();
        answer = patient(&mut world, &mut client, Exchange::IkeAuth, &[Payload::Eap(response)]).expect("in time");
        assert_eq!(world.host().answers.eap_questions, question);
    }
    assert!(client.eap_response(answer.eap().unwrap()).is_none(), "EAP-Success");
    assert!(answer.notify(notify::AUTHENTICATION_FAILED).is_none());
}
