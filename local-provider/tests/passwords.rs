//! Logins by password: EAP-MSCHAPv2 with our own client, MS-CHAPv2 and PAP.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use common::{Bench, LOCKOUT, identity, reason, settings};
use crypto::{SeededRandom, Zeroizing};
use eap::{Code, Packet, method};
use local_provider::EapMethod;
use peers::{EapPeer, PeerError};
use radius_client::{Credentials, EapOutcome, FramedIp, LoginOutcome};
use std::time::Duration;

fn bench() -> Bench {
    Bench::new(settings(&[EapMethod::MsChapV2], None))
}

fn peer(user: &str, password: &str) -> EapPeer {
    EapPeer::new(user, password, Box::new(SeededRandom::new(3)))
}

/// Runs a conversation until the provider says yes or no.
fn converse(bench: &mut Bench, conversation: u64, user: &str, peer: &mut EapPeer) -> (EapOutcome, Vec<PeerError>) {
    let (mut answer, mut errors) = (identity(user), Vec::new());
    for _ in 0..10 {
        match bench.eap(conversation, user, &answer) {
            EapOutcome::Challenge { eap, .. } => {
                let step = peer.answer(&eap);
                errors.extend(step.error);
                answer = step.packet.unwrap();
            }
            end => return (end, errors),
        }
    }
    panic!("no end");
}

#[test]
fn the_right_password_yields_the_same_key_at_both_ends() {
    for user in ["alice", "EXAMPLE\\Alice"] {
        let (mut bench, mut peer) = (bench(), peer(user, "password"));
        let (end, errors) = converse(&mut bench, 1, user, &mut peer);
        assert_eq!(errors, []);
        let EapOutcome::Accept { server, eap, accept } = end else { panic!("{end:?}") };
        assert_eq!(server, "local");
        assert_eq!(peer.answer(&eap.unwrap()).msk.unwrap(), accept.msk);
        assert_eq!((accept.user_name.as_deref(), accept.groups.as_slice()), (Some("alice"), &["staff".to_owned()][..]));
        assert_eq!(accept.framed_ip, Some(FramedIp::Fixed([10, 98, 0, 20].into())));
    }
}

#[test]
fn wrong_password_and_unknown_user_hear_the_same() {
    let heard = |user: &str| {
        let mut bench = bench();
        let (end, errors) = converse(&mut bench, 1, user, &mut peer(user, "guess"));
        let [PeerError::Refused(text)] = errors.as_slice() else { panic!("{errors:?}") };
        (text.clone(), reason(&end))
    };
    let (known, why) = heard("alice");
    assert!(known.starts_with("E=691 R=1 C=") && known.ends_with(" V=3 M=Authentication failed"), "{known}");
    assert_eq!(why, "the password is wrong");
    let (unknown, why) = heard("mallory");
    assert_eq!((unknown.len(), &unknown[..8]), (known.len(), &known[..8]));
    assert_eq!(why, "the users file has no such user");
    assert_eq!(heard("tina").1, "the user has no password, only certificates");
}

#[test]
fn disabled_and_expired_users_learn_it_with_the_right_password_alone() {
    for (user, password, code, why) in [
        ("disabled", "password", "E=647 R=0", "disabled in the users file"),
        ("expired", "password", "E=647 R=0", "expired after 2020-12-31"),
        ("disabled", "guess", "E=691 R=1", "the password is wrong"),
        ("expired", "guess", "E=691 R=1", "the password is wrong"),
    ] {
        let (end, errors) = converse(&mut bench(), 1, user, &mut peer(user, password));
        assert!(matches!(&errors[..], [PeerError::Refused(text)] if text.starts_with(code)), "{user} {password}: {errors:?}");
        assert!(reason(&end).contains(why), "{user} {password}: {end:?}");
    }
}

/// The response to a challenge or failure of the provider, as a client that asks its user again sends it.
fn respond(request: &[u8], password: &str) -> Vec<u8> {
    let packet = Packet::parse(request).unwrap();
    let data = packet.data();
    let challenge: [u8; 16] = if data[0] == 1 {
        data[5..21].try_into().unwrap()
    } else {
        let text = std::str::from_utf8(&data[4..]).unwrap();
        let hex = text.split(' ').find_map(|word| word.strip_prefix("C=")).unwrap();
        std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
    };
    let exchange = peers::mschapv2::Exchange {
        authenticator_challenge: challenge,
        peer_challenge: [9; 16],
        user: "alice".into(),
        password: Zeroizing::new(password.into()),
    };
    let value = [&[49][..], &[9; 16], &[0; 8], &exchange.nt_response(), &[0], b"alice"].concat();
    let length = (4 + value.len()) as u16;
    let data = [&[2, data[1].wrapping_add(1)][..], &length.to_be_bytes(), &value].concat();
    eap::build(Code::Response, packet.identifier(), method::MSCHAPV2, &data)
}

#[test]
fn a_client_may_try_three_times() {
    let mut bench = bench();
    let first = bench.challenge(1, "alice", &identity("alice"));
    let second = bench.challenge(1, "alice", &respond(&first, "one"));
    let third = bench.challenge(1, "alice", &respond(&second, "two"));
    let success = bench.challenge(1, "alice", &respond(&third, "password"));
    assert_eq!(Packet::parse(&success).unwrap().data()[0], 3);

    let mut request = bench.challenge(2, "alice", &identity("alice"));
    for wrong in ["one", "two", "three"] {
        request = bench.challenge(2, "alice", &respond(&request, wrong));
    }
    assert!(String::from_utf8_lossy(Packet::parse(&request).unwrap().data()).contains("E=691 R=0"));
    assert!(reason(&bench.eap(2, "alice", &respond(&request, "password"))).contains("not expected"));
}

#[test]
fn a_repeated_packet_gets_the_same_answer() {
    let mut bench = bench();
    let first = bench.challenge(1, "alice", &identity("alice"));
    assert_eq!(bench.challenge(1, "alice", &identity("alice")), first);
    let answer = respond(&first, "password");
    let success = bench.challenge(1, "alice", &answer);
    assert_eq!(bench.challenge(1, "alice", &answer), success);
}

#[test]
fn what_the_client_sends_out_of_turn_is_refused() {
    let response = |id: u8, number: u8, data: &[u8]| eap::build(Code::Response, id, number, data);
    for (packet, why) in [
        (response(2, method::NAK, &[method::PEAP, method::TTLS]), "the client wants PEAP, EAP-TTLS; the local provider has EAP-MSCHAPv2"),
        (response(2, method::NAK, &[0]), "refuses every EAP method"),
        (response(9, method::MSCHAPV2, &[2]), "a request that nobody made"),
        (response(2, method::MSCHAPV2, &[3]), "code 3 was not expected"),
        (response(2, method::MSCHAPV2, &[2, 2, 0, 5, 49]), "malformed"),
        (response(2, method::MSCHAPV2, &[]), "code 0"),
        (response(2, method::TLS, &[0]), "answers with EAP-TLS"),
        (eap::success(2), "no Response"),
        (vec![2, 2, 0, 9, 1], "length field"),
    ] {
        let mut bench = bench();
        bench.challenge(1, "alice", &identity("alice"));
        assert!(reason(&bench.eap(1, "alice", &packet)).contains(why), "{packet:?}");
        let again = response(3, method::MSCHAPV2, &[3]);
        assert!(reason(&bench.eap(1, "alice", &again)).contains("nobody made"), "{packet:?}");
    }
}

#[test]
fn another_name_inside_than_outside_is_refused() {
    let mut bench = bench();
    let request = bench.challenge(1, "tina", &identity("tina"));
    assert!(reason(&bench.eap(1, "tina", &respond(&request, "password"))).contains("calls itself \"alice\""));
}

#[test]
fn ms_chap_and_pap() {
    let mut bench = bench();
    let (yes, exchange) = bench.ms_chap("EXAMPLE\\alice", "password");
    let LoginOutcome::Accept { accept, ms_chap_success, .. } = yes else { panic!("{yes:?}") };
    assert_eq!((&accept.msk, ms_chap_success), (&exchange.msk(), Some(exchange.authenticator_response().into_bytes())));
    let (no, _) = bench.ms_chap("alice", "Password");
    let LoginOutcome::Reject { reply_message, ms_chap_error, .. } = no else { panic!("{no:?}") };
    assert_eq!(reply_message.as_deref(), Some("the password is wrong"));
    assert!(ms_chap_error.unwrap().starts_with(b"E=691 R=1 C="));

    let pap = |password: &[u8]| Credentials::Pap { password: Zeroizing::new(password.to_vec()) };
    let yes = bench.login("alice", pap(b"password"));
    assert!(matches!(&yes, LoginOutcome::Accept { accept, .. } if accept.msk.is_empty()), "{yes:?}");
    assert!(matches!(bench.login("alice", pap(b"\xff")), LoginOutcome::Reject { .. }));
    let chap = Credentials::Chap { identifier: 1, challenge: vec![1; 16], response: [0; 16] };
    assert!(matches!(bench.login("alice", chap), LoginOutcome::Reject { reply_message: Some(why), .. } if why.contains("mschapv2")));
}

#[test]
fn guessing_locks_out_silently_and_ends_by_itself() {
    let mut bench = bench();
    for _ in 0..LOCKOUT.failures {
        bench.ms_chap("alice", "guess");
    }
    let (LoginOutcome::Reject { reply_message, ms_chap_error, .. }, _) = bench.ms_chap("alice", "password") else { panic!() };
    assert_eq!(reply_message.as_deref(), Some("locked out for 300 more seconds after too many wrong passwords"));
    assert!(ms_chap_error.unwrap().starts_with(b"E=691 R=1 C="));
    bench.pass(LOCKOUT.time - Duration::from_secs(1));
    assert!(matches!(bench.ms_chap("alice", "password").0, LoginOutcome::Reject { .. }));
    bench.pass(Duration::from_secs(1));
    assert!(matches!(bench.ms_chap("alice", "password").0, LoginOutcome::Accept { .. }));
}

#[test]
fn forgotten_conversations_do_not_go_on() {
    let mut bench = bench();
    let request = bench.challenge(1, "alice", &identity("alice"));
    bench.provider.handle(bench.now, radius_client::Input::Forget(radius_client::ConversationId(1)), &mut |_| Ok(()));
    assert!(reason(&bench.eap(1, "alice", &respond(&request, "password"))).contains("nobody made"));
}
