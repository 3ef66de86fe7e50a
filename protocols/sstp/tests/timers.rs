//! Each timer: when it runs, what restarts it, what happens when it expires.
mod common;

use common::*;
use sstp::message::Message;
use sstp::{BindingHash, CallState, EndedBy, InnerKeys, Input, Output, TimeoutReason};

#[test]
fn no_request() {
    let mut sim = Sim::new();
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(60), TimeoutReason::Negotiation)));
    assert_eq!(sim.pass(seconds(59)), []);
    assert_eq!(sent(&sim.pass(seconds(1))), ["CALL_ABORT(0, 8)"]);
    let ended = sim.ended();
    assert_eq!((ended.by, ended.status), (EndedBy::NegotiationTimeout, Some(8)));
    assert!(ended.cause.contains("CALL_CONNECT_REQUEST") && ended.cause.contains("NEGOTIATION_TIMEOUT"), "{}", ended.cause);
    assert_eq!(sim.now, start() + seconds(63), "3 s for the client's CALL_ABORT");
}

#[test]
fn refused_requests_do_not_prolong_the_negotiation() {
    let mut sim = Sim::new();
    let mut bad = Message::CallConnectRequest.encode();
    bad[13] = 9;
    for _ in 0..3 {
        sim.pass(seconds(15));
        assert_eq!(sent(&sim.packet(&bad)), ["CALL_CONNECT_NAK(1, 4)"]);
    }
    assert_eq!(sent(&sim.pass(seconds(15))), ["CALL_ABORT(0, 8)"]);
}

#[test]
fn no_call_connected() {
    let mut sim = Sim::new();
    sim.pass(seconds(50));
    sim.send(&Message::CallConnectRequest);
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(110), TimeoutReason::Negotiation)), "begins anew with the ACK");
    sim.pass(seconds(30));
    sim.give(Input::Authenticated(keys()));
    sim.packet(&data(LCP));
    assert_eq!(sim.pass(seconds(29)), []);
    assert_eq!(sent(&sim.pass(seconds(1))), ["CALL_ABORT(0, 8)"]);
    let ended = sim.ended();
    assert_eq!(ended.by, EndedBy::NegotiationTimeout);
    assert!(ended.cause.contains("CALL_CONNECTED after its authentication"), "{}", ended.cause);
}

#[test]
fn negotiation_stands_still_while_an_answer_is_due_but_not_for_ever() {
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    let begun = sim.now;
    sim.pass(seconds(10));
    sim.give(Input::Waiting(true));
    assert_eq!(sim.pass(seconds(70)), [], "a second factor");
    sim.give(Input::Waiting(false));
    assert_eq!(sim.call.poll_timeout(), Some((begun + seconds(120), TimeoutReason::Negotiation)), "130 s would be too long in all");
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    let begun = sim.now;
    sim.give(Input::Waiting(true));
    sim.pass(seconds(40));
    sim.give(Input::Waiting(false));
    assert_eq!(sim.call.poll_timeout(), Some((begun + seconds(100), TimeoutReason::Negotiation)), "60 s for the client itself");
    sim.give(Input::Waiting(true));
    assert_eq!(sim.pass(seconds(79)), []);
    assert_eq!(sent(&sim.pass(seconds(1))), ["CALL_ABORT(0, 8)"]);
    let ended = sim.ended();
    assert!(ended.by == EndedBy::NegotiationTimeout && ended.cause.contains("within 120 s"), "{}", ended.cause);
}

#[test]
fn early_call_connected_does_not_stop_the_negotiation_timer() {
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    sim.packet(&good_connected());
    assert_eq!(sent(&sim.pass(seconds(60))), ["CALL_ABORT(0, 8)"]);
    assert_eq!(sim.ended().by, EndedBy::NegotiationTimeout);
}

#[test]
fn early_call_connected_is_verified_once_keys_are_there() {
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    sim.packet(&good_connected());
    sim.pass(seconds(59));
    assert_eq!(sim.give(Input::Authenticated(keys())), [Output::Connected(BindingHash::Sha256)]);
    assert_eq!(sim.call.poll_timeout(), Some((sim.now + seconds(60), TimeoutReason::Hello)));
    let mut sim = Sim::in_state(CallState::CallConnectedPending);
    sim.packet(&good_connected());
    assert_eq!(sent(&sim.give(Input::Authenticated(InnerKeys::Keyless))), ["CALL_ABORT(3, 4)"]);
    assert_eq!(sim.ended().by, EndedBy::Binding);
}

#[test]
fn silence() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    assert_eq!(sim.pass(seconds(59)), []);
    assert_eq!(sent(&sim.pass(seconds(1))), ["ECHO_REQUEST"]);
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(120), TimeoutReason::EchoAnswer)));
    assert_eq!(sim.pass(seconds(59)), []);
    let outputs = sim.pass(seconds(1));
    let [Output::Hangup(ended)] = &outputs[..] else { panic!("{outputs:?}: without CALL_ABORT") };
    assert_eq!((ended.by, ended.status), (EndedBy::Silence, None));
    assert!(ended.cause.contains("120 s"), "{}", ended.cause);
    assert_eq!(sim.call.poll_timeout(), None);
}

#[test]
fn every_packet_restarts_the_hello_timer() {
    let packets = [Message::EchoRequest.encode(), Message::EchoResponse.encode(), data(LCP), data(IPV4), data(&[])];
    for packet in packets {
        let mut sim = Sim::in_state(CallState::CallConnected);
        sim.pass(seconds(59));
        sim.packet(&packet);
        assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(119), TimeoutReason::Hello)), "{packet:02x?}");
        sim.pass(seconds(60));
        assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(179), TimeoutReason::EchoAnswer)), "{packet:02x?}");
        sim.pass(seconds(59));
        sim.packet(&packet);
        assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(238), TimeoutReason::Hello)), "any packet answers ECHO_REQUEST");
    }
}

#[test]
fn the_data_path_reports_what_it_heard() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    sim.pass(seconds(50));
    sim.give(Input::Heard(start() + seconds(40)));
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(100), TimeoutReason::Hello)));
    sim.give(Input::Heard(start() + seconds(30)));
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(100), TimeoutReason::Hello)), "time does not run backwards");
    sim.give(Input::Heard(start() + seconds(1000)));
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(110), TimeoutReason::Hello)), "nor ahead");
    assert_eq!(sent(&sim.pass(seconds(60))), ["ECHO_REQUEST"]);
    sim.give(Input::Heard(start() + seconds(109)));
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(170), TimeoutReason::EchoAnswer)), "heard before the question");
    sim.pass(seconds(20));
    sim.give(Input::Heard(start() + seconds(111)));
    assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(171), TimeoutReason::Hello)));
}

#[test]
fn what_we_send_does_not_count_as_heard() {
    let mut sim = Sim::in_state(CallState::CallConnected);
    sim.pass(seconds(59));
    assert_eq!(sent(&sim.give(Input::Ppp(LCP))), ["data(8)"]);
    assert_eq!(sent(&sim.pass(seconds(1))), ["ECHO_REQUEST"]);
}

#[test]
fn linger_and_answers() {
    let cases = [
        (CallState::CallAbortPending, 3, TimeoutReason::AbortAnswer),
        (CallState::CallAbortTimeoutPending, 1, TimeoutReason::Linger),
        (CallState::CallDisconnectAckPending, 5, TimeoutReason::DisconnectAnswer),
        (CallState::CallDisconnectTimeoutPending, 1, TimeoutReason::Linger),
    ];
    for (state, time, reason) in cases {
        let mut sim = Sim::in_state(state);
        assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(time), reason)));
        sim.send(&Message::EchoRequest);
        sim.packet(&data(LCP));
        assert_eq!(sim.call.poll_timeout(), Some((start() + seconds(time), reason)), "{state:?}: nothing prolongs it");
        let outputs = sim.pass(seconds(time));
        assert!(matches!(outputs[..], [Output::Hangup(_)]), "{outputs:?}");
        assert_eq!(sim.call.poll_timeout(), None);
    }
}
