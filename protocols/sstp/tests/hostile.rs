//! Collisions of endings, and clients that do not play by the rules.
mod common;

use common::*;
use sstp::message::{AttributeId, Message, Status, StatusInfo};
use sstp::{BindingHash, CallConfig, CallState, CertificateHashes, EndedBy, InnerKeys, Input, Output, TimeoutReason};

fn abort(status: Status) -> Message {
    Message::CallAbort(Some(StatusInfo::new(AttributeId::NONE, status)))
}

/// Past CALL_CONNECT_REQUEST and authentication.
fn authenticated(config: CallConfig, keys: InnerKeys) -> Sim {
    let mut sim = Sim::with(config);
    sim.send(&Message::CallConnectRequest);
    sim.give(Input::Authenticated(keys));
    sim
}

#[test]
fn abort_crosses_abort() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    assert_eq!(sent(&sim.send(&Message::CallConnectRequest)), ["CALL_ABORT(0, 5)"]);
    sim.pass(seconds(2));
    assert_eq!(sim.send(&abort(Status::NEGOTIATION_TIMEOUT)), [], "ours is out already");
    assert_eq!(sim.call.poll_timeout(), Some((sim.now + seconds(1), TimeoutReason::Linger)));
    let ended = sim.ended();
    assert_eq!((ended.by, ended.status), (EndedBy::Violation, Some(5)), "the first cause counts");
}

#[test]
fn disconnect_crosses_disconnect() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    assert_eq!(sent(&sim.give(Input::Close)), ["CALL_DISCONNECT(0, 0)"]);
    assert_eq!(sim.send(&Message::CallDisconnect(None)), []);
    assert_eq!(sim.call.state(), CallState::CallDisconnectAckPending);
    let outputs = sim.send(&Message::CallDisconnectAck);
    let [Output::Hangup(ended)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(ended.by, EndedBy::Us);
}

#[test]
fn abort_crosses_disconnect() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    sim.give(Input::Close);
    assert_eq!(sent(&sim.send(&abort(Status::RETRY_COUNT_EXCEEDED))), ["CALL_ABORT(0, 0)"]);
    assert_eq!(sim.call.poll_timeout(), Some((sim.now + seconds(1), TimeoutReason::Linger)));
    let ended = sim.ended();
    assert_eq!((ended.by, ended.status), (EndedBy::Us, Some(6)));
    assert!(ended.cause.contains("CALL_ABORT"), "{}", ended.cause);
}

#[test]
fn disconnect_crosses_abort() {
    let mut sim = Sim::in_state(CallState::CallAbortPending);
    assert_eq!(sim.send(&Message::CallDisconnect(None)), []);
    assert_eq!(sim.call.state(), CallState::CallAbortPending);
    let mut sim = Sim::in_state(CallState::CallDisconnectTimeoutPending);
    assert_eq!(sim.send(&abort(Status::NO_ERROR)), []);
    assert_eq!(sim.ended().by, EndedBy::Peer);
}

#[test]
fn endings_of_the_client() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    assert_eq!(sent(&sim.send(&Message::CallDisconnect(None))), ["CALL_DISCONNECT_ACK"]);
    let outputs = sim.give(Input::Closed);
    let [Output::Hangup(ended)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((ended.by, ended.status), (EndedBy::Peer, None), "it need not wait for our linger");
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    assert_eq!(sent(&sim.send(&abort(Status(0x77)))), ["CALL_ABORT(0, 0)"]);
    let ended = sim.ended();
    assert_eq!((ended.by, ended.status), (EndedBy::PeerAbort, Some(0x77)));
    assert!(ended.cause.contains("status 0x77"), "{}", ended.cause);
}

#[test]
fn both_hashes() {
    for (hash, offer_sha1) in [(BindingHash::Sha256, false), (BindingHash::Sha256, true), (BindingHash::Sha1, true)] {
        let mut sim = authenticated(config(offer_sha1), keys());
        assert_eq!(sim.packet(&connected(hash, &NONCE, &CERTIFICATE, &HLAK)), [Output::Connected(hash)]);
    }
}

#[test]
fn keyless_methods_are_bound_with_zero_octets() {
    let zero = connected(BindingHash::Sha256, &NONCE, &CERTIFICATE, &[0; 32]);
    assert_eq!(authenticated(config(false), InnerKeys::Keyless).packet(&zero), [Output::Connected(BindingHash::Sha256)]);
    assert_eq!(sent(&authenticated(config(false), keys()).packet(&zero)), ["CALL_ABORT(3, 4)"]);
    let none = InnerKeys::Hlak(crypto::Zeroizing::new([0; 32]));
    assert_eq!(sent(&authenticated(config(false), none).packet(&zero)), ["CALL_ABORT(3, 4)"], "keys that should be there");
}

#[test]
fn several_certificates_behind_a_balancer() {
    let other = CertificateHashes { sha1: [1; 20], sha256: [2; 32] };
    let both = CallConfig { certificates: vec![CERTIFICATE, other.clone()], ..config(false) };
    let packet = connected(BindingHash::Sha256, &NONCE, &other, &HLAK);
    assert_eq!(authenticated(both, keys()).packet(&packet), [Output::Connected(BindingHash::Sha256)]);
    assert_eq!(sent(&authenticated(config(false), keys()).packet(&packet)), ["CALL_ABORT(3, 4)"]);
}

#[test]
fn bindings_that_do_not_verify() {
    let mut swapped = HLAK;
    swapped[16..].fill(0x18);
    let (ours, theirs) = (swapped, { [&swapped[16..], &swapped[..16]].concat().try_into().unwrap() });
    let mut forged = good_connected();
    forged[80] ^= 0x80;
    let mut other_nonce = NONCE;
    other_nonce[0] ^= 1;
    let other_certificate = CertificateHashes { sha1: [0; 20], sha256: [0; 32] };
    let mut short_lengths = connected(BindingHash::Sha1, &NONCE, &CERTIFICATE, &HLAK);
    short_lengths[15] = 2;
    let sha256 = BindingHash::Sha256;
    let cases = [
        ("compound MAC", HLAK, forged),
        ("compound MAC", ours, connected(sha256, &NONCE, &CERTIFICATE, &theirs)),
        ("nonce", HLAK, connected(sha256, &other_nonce, &CERTIFICATE, &HLAK)),
        ("another certificate", HLAK, connected(sha256, &NONCE, &other_certificate, &HLAK)),
        ("SHA-1", HLAK, connected(BindingHash::Sha1, &NONCE, &CERTIFICATE, &HLAK)),
        ("another certificate", HLAK, short_lengths),
    ];
    for (what, hlak, packet) in cases {
        let mut sim = authenticated(config(false), InnerKeys::Hlak(crypto::Zeroizing::new(hlak)));
        assert_eq!(sent(&sim.packet(&packet)), ["CALL_ABORT(3, 4)"], "{what}");
        let ended = sim.ended();
        assert_eq!((ended.by, ended.status), (EndedBy::Binding, Some(4)));
        assert!(ended.cause.contains(what), "{what}: {}", ended.cause);
    }
}

#[test]
fn bindings_that_do_not_parse() {
    let good = good_connected();
    let with = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    let mut longer = [&good[..], &[0; 4]].concat();
    longer[3] += 4;
    longer[11] += 4;
    let mut twice = [&good[..], &good[8..]].concat();
    (twice[3], twice[7]) = (216, 2);
    let cases = [
        ("CALL_ABORT(3, 4)", with(15, 3)),
        ("CALL_ABORT(2, 9)", with(11, 0x67)),
        ("CALL_ABORT(2, 9)", longer),
        ("CALL_ABORT(3, 1)", twice),
    ];
    for (want, packet) in cases {
        let mut sim = authenticated(config(true), keys());
        assert_eq!(sent(&sim.packet(&packet)), [want]);
        assert_eq!(sim.ended().by, EndedBy::Violation);
    }
}

#[test]
fn four_bad_requests() {
    let mut sim = Sim::new();
    let mut bad = Message::CallConnectRequest.encode();
    bad[9] = 0x55;
    for _ in 0..3 {
        assert_eq!(sent(&sim.packet(&bad)), ["CALL_CONNECT_NAK(2, 10; 85, 2)"]);
    }
    assert_eq!(sent(&sim.packet(&bad)), ["CALL_ABORT(0, 6)"]);
    let ended = sim.ended();
    assert_eq!(ended.by, EndedBy::Violation);
    assert!(ended.cause.contains("RETRY_COUNT_EXCEEDED"), "{}", ended.cause);
    let mut sim = Sim::new();
    (0..3).for_each(|_| drop(sim.packet(&bad)));
    assert_eq!(sent(&sim.send(&Message::CallConnectRequest)), ["CALL_CONNECT_ACK"], "the fourth may be good");
}

#[test]
fn what_the_acknowledgement_says() {
    for (offer_sha1, bitmask) in [(true, 3), (false, 2)] {
        let mut sim = Sim::with(config(offer_sha1));
        let outputs = sim.send(&Message::CallConnectRequest);
        let [Output::Transmit(ack), Output::StartPpp] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!((ack[15], &ack[16..]), (bitmask, &NONCE[..]));
    }
}

#[test]
fn ip_before_the_binding_is_dropped_and_noted_once() {
    let frames: [&[u8]; 8] = [
        &[0xff, 0x03, 0x00, 0x21, 0x45],
        &[0x00, 0x21, 0x45],
        &[0x21, 0x45],
        &[0xff, 0x03, 0x21, 0x45],
        &[0xff, 0x03, 0x00, 0x57, 0x60],
        &[0x00, 0x57, 0x60],
        &[0x57, 0x60],
        &[0xff, 0x03, 0x57, 0x60],
    ];
    for early in [false, true] {
        let mut sim = Sim::in_state(CallState::CallConnectedPending);
        if early {
            sim.packet(&good_connected());
        } else {
            sim.give(Input::Authenticated(keys()));
        }
        let notes: Vec<_> = frames.iter().flat_map(|frame| sim.packet(&data(frame))).collect();
        assert!(matches!(notes[..], [Output::Note(_)]), "{notes:?}");
        assert_eq!(sim.give(Input::Ppp(IPV4)), [], "nor the other way");
    }
    let mut sim = Sim::in_state(CallState::CallConnected);
    assert_eq!(sim.packet(&data(IPV4)), [Output::Ppp(IPV4.to_vec())]);
}

#[test]
fn longest_packets() {
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    let mut frame = vec![0; 4091];
    frame[..2].copy_from_slice(&[0xc0, 0x21]);
    assert_eq!(sim.packet(&data(&frame)), [Output::Ppp(frame.clone())]);
    let outputs = sim.give(Input::Ppp(&frame));
    assert!(matches!(&outputs[..], [Output::Transmit(packet)] if packet.len() == 4095 && packet[..4] == [0x10, 0, 0x0f, 0xff]));
    frame.push(0);
    let outputs = sim.give(Input::Ppp(&frame));
    assert!(matches!(outputs[..], [Output::Note(_)]), "{outputs:?}");
    let mut control = vec![0; 4095];
    control[..8].copy_from_slice(&[0x10, 1, 0x0f, 0xff, 0, 9, 0, 0]);
    assert_eq!(sent(&sim.packet(&control)), ["CALL_ABORT(0, 7)"]);
}

#[test]
fn what_is_not_one_packet_ends_the_call_in_silence() {
    let request = Message::CallConnectRequest.encode();
    let twice = [&request[..], &request].concat();
    let cases: [&[u8]; 7] = [b"", b"GET / HTTP/1.1\r\n", &[0x10, 0], &[0x10, 0, 0, 3], &[0x10, 1, 0, 7, 0, 8, 0], &request[..13], &twice];
    for bytes in cases {
        for state in [CallState::ConnectRequestPending, CallState::CallConnectedPending, CallState::CallConnected] {
            let mut sim = Sim::in_state(state);
            let outputs = sim.packet(bytes);
            let [Output::Hangup(ended)] = &outputs[..] else { panic!("{outputs:?}") };
            assert_eq!(ended.by, EndedBy::Violation);
        }
    }
}

#[test]
fn nothing_follows_hangup() {
    let mut sim = Sim::in_state(CallState::CallDisconnected);
    let packets = [Message::CallConnectRequest.encode(), Message::CallAbort(None).encode(), data(LCP), b"garbage".to_vec()];
    packets.iter().for_each(|packet| assert_eq!(sim.packet(packet), []));
    assert_eq!(sim.give(Input::Close), []);
    assert_eq!(sim.give(Input::Closed), []);
    assert_eq!(sim.give(Input::Timeout), []);
    assert_eq!(sim.give(Input::Authenticated(keys())), []);
    assert_eq!(sim.call.poll_timeout(), None);
}
