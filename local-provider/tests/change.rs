//! Passwords that must be changed: MS-CHAPv2 and EAP-MSCHAPv2, with the client's side by a codec of its own.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use common::{Bench, LOCKOUT, identity, reason, settings};
use eap::{Code, Packet, method};
use local_provider::{EapMethod, Users, nt_hash};
use radius_client::{Credentials, EapOutcome, LoginOutcome};
use sstp_client::mschap::{Exchange, change_password};
use std::time::Duration;

fn bench() -> Bench {
    Bench::new(settings(&[EapMethod::MsChapV2], None))
}

fn exchange(user: &str, password: &str, authenticator_challenge: [u8; 16]) -> Exchange {
    Exchange { authenticator_challenge, peer_challenge: [6; 16], user: user.into(), password: password.into() }
}

/// Change-Password of a client that types these.
fn change(bench: &mut Bench, user: &str, old: &str, new: &str) -> (LoginOutcome, Exchange) {
    let exchange = exchange(user, old, [3; 16]);
    let value = change_password(&exchange, new, &[0x5a; 516]);
    let part = |from: usize, to: usize| value[from..to].to_vec();
    let credentials = Credentials::MsChapV2Change {
        identifier: 2,
        challenge: [3; 16],
        encrypted_password: Box::new(zeroizing(part(0, 516))),
        encrypted_hash: part(516, 532).try_into().unwrap(),
        peer_challenge: part(532, 548).try_into().unwrap(),
        nt_response: part(556, 580).try_into().unwrap(),
        flags: [0; 2],
    };
    (bench.login(user, credentials), Exchange { password: new.into(), ..exchange })
}

fn zeroizing(bytes: Vec<u8>) -> crypto::Zeroizing<[u8; 516]> {
    crypto::Zeroizing::new(bytes.try_into().unwrap())
}

fn refusal(outcome: &LoginOutcome) -> (String, String) {
    match outcome {
        LoginOutcome::Reject { reply_message: Some(why), ms_chap_error: Some(error), .. } => {
            (String::from_utf8_lossy(&error[..5]).into_owned(), why.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_must_change_the_password_is_asked_to_and_comes_in_with_the_new_one() {
    for user in ["new", "EXAMPLE\\new", "old"] {
        let mut bench = bench();
        let (no, _) = bench.ms_chap(user, "password");
        let LoginOutcome::Reject { ms_chap_error: Some(error), .. } = &no else { panic!("{no:?}") };
        assert!(error.starts_with(b"E=648 R=0 C=") && error.ends_with(b" V=3 M=Password expired"), "{}", error.escape_ascii());
        let (yes, client) = change(&mut bench, user, "password", "a b\u{e4}\u{1F511}tter one");
        let LoginOutcome::Accept { accept, ms_chap_success, .. } = yes else { panic!("{yes:?}") };
        assert_eq!(ms_chap_success, Some(client.authenticator_response().into_bytes()));
        let keys = client.keys();
        assert_eq!((&accept.msk[..16], &accept.msk[16..32]), (&keys.send[..], &keys.receive[..]));
        let [line] = &bench.stored[..] else { panic!("{:?}", bench.stored) };
        let stored = Users::parse(line).unwrap();
        let kept = stored.iter().next().unwrap();
        assert_eq!(kept.nt_hash, Some(nt_hash("a b\u{e4}\u{1F511}tter one")));
        assert!(!kept.must_change && kept.password_expires.is_none(), "{line}");
        assert!(matches!(bench.ms_chap(user, "a b\u{e4}\u{1F511}tter one").0, LoginOutcome::Accept { .. }));
        assert_eq!(refusal(&bench.ms_chap(user, "password").0).0, "E=691");
    }
}

#[test]
fn the_last_day_of_a_password_still_counts() {
    let mut bench = bench();
    bench.now.unix_time -= 86_400;
    assert!(matches!(bench.ms_chap("old", "password").0, LoginOutcome::Accept { .. }));
    bench.pass(Duration::from_secs(86_400));
    assert_eq!(refusal(&bench.ms_chap("old", "password").0).0, "E=648");
}

#[test]
fn bad_new_passwords_are_refused_and_the_old_one_stays() {
    for (new, why) in [("short", "has less than 8 characters"), ("", "has less than 8 characters"), ("password", "is the old one")] {
        let mut bench = bench();
        let (no, _) = change(&mut bench, "new", "password", new);
        assert_eq!(refusal(&no), ("E=709".into(), format!("the new password {why}")), "{new}");
        assert_eq!(bench.stored.len(), 0);
        assert_eq!(refusal(&bench.ms_chap("new", "password").0).0, "E=648");
    }
}

#[test]
fn who_does_not_know_the_old_password_changes_nothing() {
    let mut bench = bench();
    for _ in 0..LOCKOUT.failures {
        assert_eq!(refusal(&change(&mut bench, "new", "guess", "another one").0).0, "E=691");
    }
    let (error, why) = refusal(&change(&mut bench, "new", "password", "another one").0);
    assert!(error == "E=691" && why.starts_with("locked out for"), "{error} {why}");
    assert_eq!(bench.stored.len(), 0);
    for (user, code) in [("mallory", "E=691"), ("tina", "E=691"), ("alice", "E=709"), ("disabled", "E=647"), ("expired", "E=647")] {
        assert_eq!(refusal(&change(&mut self::bench(), user, "password", "another one").0).0, code, "{user}");
    }
}

#[test]
fn each_part_of_the_change_is_checked() {
    let exchange = exchange("new", "password", [3; 16]);
    let good = change_password(&exchange, "another one", &[0x5a; 516]);
    // The length, its sign, the text, the hash, the peer's challenge, the response.
    for at in [512, 515, 511, 516, 531, 532, 556, 579] {
        let mut value = good.clone();
        value[at] ^= 1;
        let credentials = Credentials::MsChapV2Change {
            identifier: 2,
            challenge: [3; 16],
            encrypted_password: Box::new(zeroizing(value[..516].to_vec())),
            encrypted_hash: value[516..532].try_into().unwrap(),
            peer_challenge: value[532..548].try_into().unwrap(),
            nt_response: value[556..580].try_into().unwrap(),
            flags: [0; 2],
        };
        let mut bench = bench();
        assert_eq!(refusal(&bench.login("new", credentials)).0, "E=691", "byte {at}");
        assert_eq!(bench.stored.len(), 0);
    }
}

#[test]
fn what_cannot_be_stored_does_not_count() {
    let mut bench = bench();
    bench.full = true;
    let (error, why) = refusal(&change(&mut bench, "new", "password", "another one").0);
    assert_eq!((error.as_str(), why.as_str()), ("E=709", "the new password could not be stored: the disk is full"));
    assert_eq!(refusal(&bench.ms_chap("new", "password").0).0, "E=648", "the old one is still the one");
}

/// Code and text of an EAP-MSCHAPv2 request.
fn said(request: &[u8]) -> (u8, String) {
    let packet = Packet::parse(request).unwrap();
    (packet.data()[0], String::from_utf8_lossy(&packet.data()[4..]).into_owned())
}

fn answer(request: &[u8], code: u8, body: &[u8]) -> Vec<u8> {
    let packet = Packet::parse(request).unwrap();
    let length = (4 + body.len()) as u16;
    let data = [&[code, packet.data()[1].wrapping_add(1)][..], &length.to_be_bytes(), body].concat();
    eap::build(Code::Response, packet.identifier(), method::MSCHAPV2, &data)
}

/// Up to E=648; the request that says so, and the challenge in it.
fn expired(bench: &mut Bench, user: &str) -> (Vec<u8>, [u8; 16]) {
    let first = bench.challenge(1, user, &identity(user));
    let challenge = Packet::parse(&first).unwrap().data()[5..21].try_into().unwrap();
    let body = [&[49][..], &exchange(user, "password", challenge).response(), user.as_bytes()].concat();
    let failure = bench.challenge(1, user, &answer(&first, 2, &body));
    let (code, text) = said(&failure);
    assert!(code == 4 && text.starts_with("E=648 R=0 C="), "{text}");
    let hex = &text["E=648 R=0 C=".len()..][..32];
    let fresh = std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap());
    (failure, fresh)
}

#[test]
fn eap_changes_passwords_too() {
    let mut bench = bench();
    let (failure, challenge) = expired(&mut bench, "new");
    let client = exchange("new", "password", challenge);
    let value = change_password(&client, "another one", &[1; 516]);
    let sent = answer(&failure, 7, &value);
    let success = bench.challenge(1, "new", &sent);
    let client = Exchange { password: "another one".into(), ..client };
    assert_eq!(said(&success), (3, format!("{} M=Welcome", client.authenticator_response())));
    assert_eq!(bench.challenge(1, "new", &sent), success, "a repeated packet is not a second change");
    assert_eq!(bench.stored.len(), 1);
    let done = eap::build(Code::Response, Packet::parse(&success).unwrap().identifier(), method::MSCHAPV2, &[3]);
    let EapOutcome::Accept { accept, .. } = bench.eap(1, "new", &done) else { panic!() };
    assert_eq!((&accept.msk[..16], accept.groups.as_slice()), (&client.keys().send[..], &["staff".to_owned()][..]));
}

#[test]
fn eap_refuses_what_cannot_be() {
    let mut bench = bench();
    let (failure, challenge) = expired(&mut bench, "new");
    let value = change_password(&exchange("new", "password", challenge), "short", &[1; 516]);
    let refused = bench.challenge(1, "new", &answer(&failure, 7, &value));
    let (code, text) = said(&refused);
    assert!(code == 4 && text.starts_with("E=709 R=0"), "{text}");
    assert!(reason(&bench.eap(1, "new", &answer(&refused, 4, &[]))).contains("the new password has less than 8 characters"));

    let mut bench = self::bench();
    let (failure, _) = expired(&mut bench, "new");
    assert!(reason(&bench.eap(1, "new", &answer(&failure, 7, &value[..581]))).contains("is malformed"));
    // Nobody said that it must be changed.
    let mut bench = self::bench();
    let first = bench.challenge(1, "alice", &identity("alice"));
    assert!(reason(&bench.eap(1, "alice", &answer(&first, 7, &value))).contains("code 7 was not expected"));
    assert_eq!(bench.stored.len(), 0);
}
