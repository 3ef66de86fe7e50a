//! Every state and every event: what goes out and which state follows.
mod common;

use common::*;
use sstp::message::{AttributeId, BindingRequest, Message, Status, StatusInfo};
use sstp::{CallState, Input};

/// What is not listed changes nothing and sends nothing. CALL_ABORT and CALL_CONNECT_NAK come with attribute and status.
const TABLE: &str = "
ConnectRequestPending
  CALL_CONNECT_REQUEST: CALL_CONNECT_ACK StartPpp -> CallConnectedPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_RESPONSE: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, forged: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_CONNECT_NAK(1, 4)
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Note
  PPP data from the client: Note
  PPP control for the client: Note
  PPP data for the client: Note
  close: Note CALL_ABORT(0, 0) -> CallAbortPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Note CALL_ABORT(0, 8) -> CallAbortPending
ConnectRequestPending, 3 NAKs
  CALL_CONNECT_REQUEST: CALL_CONNECT_ACK StartPpp -> CallConnectedPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_RESPONSE: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, forged: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 6) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Note
  PPP data from the client: Note
  PPP control for the client: Note
  PPP data for the client: Note
  close: Note CALL_ABORT(0, 0) -> CallAbortPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Note CALL_ABORT(0, 8) -> CallAbortPending
CallConnectedPending
  CALL_CONNECT_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_RESPONSE: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED: Note
  CALL_CONNECTED, forged: Note
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 5) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Ppp(8)
  PPP data from the client: Note
  PPP control for the client: data(8)
  PPP data for the client: Note
  close: CALL_DISCONNECT(0, 0) -> CallDisconnectAckPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Note CALL_ABORT(0, 8) -> CallAbortPending
CallConnectedPending, authenticated
  CALL_CONNECT_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_RESPONSE: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED: Connected(Sha256) -> CallConnected
  CALL_CONNECTED, forged: Note CALL_ABORT(3, 4) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 5) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Ppp(8)
  PPP data from the client: Note
  PPP control for the client: data(8)
  PPP data for the client: Note
  close: CALL_DISCONNECT(0, 0) -> CallDisconnectAckPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Note CALL_ABORT(0, 8) -> CallAbortPending
CallConnectedPending, early CALL_CONNECTED
  CALL_CONNECT_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_RESPONSE: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, forged: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 5) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Ppp(8)
  PPP data from the client: Note
  PPP control for the client: data(8)
  PPP data for the client: Note
  authenticated: Connected(Sha256) -> CallConnected
  close: CALL_DISCONNECT(0, 0) -> CallDisconnectAckPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Note CALL_ABORT(0, 8) -> CallAbortPending
CallConnected
  CALL_CONNECT_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: ECHO_RESPONSE
  CALL_CONNECTED: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, forged: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 5) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Ppp(8)
  PPP data from the client: Ppp(6)
  PPP control for the client: data(8)
  PPP data for the client: data(6)
  close: CALL_DISCONNECT(0, 0) -> CallDisconnectAckPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: ECHO_REQUEST
CallConnected, ECHO_REQUEST sent
  CALL_CONNECT_REQUEST: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECT_NAK: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_ABORT: Note CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT: Note CALL_DISCONNECT_ACK -> CallDisconnectTimeoutPending
  CALL_DISCONNECT_ACK: Note CALL_ABORT(0, 5) -> CallAbortPending
  ECHO_REQUEST: ECHO_RESPONSE
  CALL_CONNECTED: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, forged: Note CALL_ABORT(0, 5) -> CallAbortPending
  CALL_CONNECTED, no binding: Note CALL_ABORT(2, 9) -> CallAbortPending
  CALL_CONNECT_REQUEST, bad: Note CALL_ABORT(0, 5) -> CallAbortPending
  unknown message: Note CALL_ABORT(0, 7) -> CallAbortPending
  garbage: Hangup(Violation) -> CallDisconnected
  PPP control from the client: Ppp(8)
  PPP data from the client: Ppp(6)
  PPP control for the client: data(8)
  PPP data for the client: data(6)
  close: CALL_DISCONNECT(0, 0) -> CallDisconnectAckPending
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Hangup(Silence) -> CallDisconnected
CallAbortPending
  CALL_ABORT:  -> CallAbortTimeoutPending
  garbage: Hangup(Violation) -> CallDisconnected
  connection closed: Hangup(Violation) -> CallDisconnected
  timeout: Hangup(Violation) -> CallDisconnected
CallAbortTimeoutPending
  garbage: Hangup(PeerAbort) -> CallDisconnected
  connection closed: Hangup(PeerAbort) -> CallDisconnected
  timeout: Hangup(PeerAbort) -> CallDisconnected
CallDisconnectAckPending
  CALL_ABORT: CALL_ABORT(0, 0) -> CallAbortTimeoutPending
  CALL_DISCONNECT_ACK: Hangup(Us) -> CallDisconnected
  garbage: Hangup(Us) -> CallDisconnected
  connection closed: Hangup(Us) -> CallDisconnected
  timeout: Hangup(Us) -> CallDisconnected
CallDisconnectTimeoutPending
  garbage: Hangup(Peer) -> CallDisconnected
  connection closed: Hangup(Peer) -> CallDisconnected
  timeout: Hangup(Peer) -> CallDisconnected
CallDisconnected
";

type Situation = (&'static str, fn() -> Sim);

/// States that differ from others only by what they remember come with a remark.
fn situations() -> Vec<Situation> {
    vec![
        ("ConnectRequestPending", || Sim::in_state(CallState::ConnectRequestPending)),
        ("ConnectRequestPending, 3 NAKs", || {
            let mut sim = Sim::new();
            (0..3).for_each(|_| drop(sim.packet(&bad_request())));
            sim
        }),
        ("CallConnectedPending", || Sim::in_state(CallState::CallConnectedPending)),
        ("CallConnectedPending, authenticated", || {
            let mut sim = Sim::in_state(CallState::CallConnectedPending);
            sim.give(Input::Authenticated(keys()));
            sim
        }),
        ("CallConnectedPending, early CALL_CONNECTED", || {
            let mut sim = Sim::in_state(CallState::CallConnectedPending);
            sim.packet(&good_connected());
            sim
        }),
        ("CallConnected", || Sim::in_state(CallState::CallConnected)),
        ("CallConnected, ECHO_REQUEST sent", || {
            let mut sim = Sim::in_state(CallState::CallConnected);
            sim.expire();
            sim
        }),
        ("CallAbortPending", || Sim::in_state(CallState::CallAbortPending)),
        ("CallAbortTimeoutPending", || Sim::in_state(CallState::CallAbortTimeoutPending)),
        ("CallDisconnectAckPending", || Sim::in_state(CallState::CallDisconnectAckPending)),
        ("CallDisconnectTimeoutPending", || Sim::in_state(CallState::CallDisconnectTimeoutPending)),
        ("CallDisconnected", || Sim::in_state(CallState::CallDisconnected)),
    ]
}

/// For a protocol that is not PPP.
fn bad_request() -> Vec<u8> {
    let mut packet = Message::CallConnectRequest.encode();
    packet[13] = 2;
    packet
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let info = StatusInfo::new(AttributeId::NONE, Status::NO_ERROR);
    let mut list: Vec<_> = [
        Message::CallConnectRequest,
        Message::CallConnectAck(BindingRequest { sha1: true, sha256: true, nonce: NONCE }),
        Message::CallConnectNak(vec![info.clone()]),
        Message::CallAbort(Some(info.clone())),
        Message::CallDisconnect(Some(info)),
        Message::CallDisconnectAck,
        Message::EchoRequest,
        Message::EchoResponse,
    ]
    .iter()
    .map(|message| (message.name(), message.encode()))
    .collect();
    let mut forged = good_connected();
    forged[111] ^= 1;
    list.push(("CALL_CONNECTED", good_connected()));
    list.push(("CALL_CONNECTED, forged", forged));
    list.push(("CALL_CONNECTED, no binding", vec![0x10, 1, 0, 8, 0, 4, 0, 0]));
    list.push(("CALL_CONNECT_REQUEST, bad", bad_request()));
    list.push(("unknown message", vec![0x10, 1, 0, 8, 0, 99, 0, 0]));
    list.push(("garbage", b"\x11\x01\x00\x08".to_vec()));
    list.push(("PPP control from the client", data(LCP)));
    list.push(("PPP data from the client", data(IPV4)));
    list
}

type Drive = fn(&mut Sim) -> Vec<sstp::Output>;

fn others() -> Vec<(&'static str, Drive)> {
    vec![
        ("PPP control for the client", |sim| sim.give(Input::Ppp(LCP))),
        ("PPP data for the client", |sim| sim.give(Input::Ppp(IPV4))),
        ("authenticated", |sim| sim.give(Input::Authenticated(keys()))),
        ("waiting", |sim| sim.give(Input::Waiting(true))),
        ("heard", |sim| sim.give(Input::Heard(sim.now))),
        ("close", |sim| sim.give(Input::Close)),
        ("connection closed", |sim| sim.give(Input::Closed)),
        ("timeout too early", |sim| sim.give(Input::Timeout)),
        ("timeout", |sim| if sim.call.poll_timeout().is_some() { sim.expire() } else { sim.give(Input::Timeout) }),
    ]
}

fn line(table: &mut String, event: &str, sim: &Sim, before: CallState, outputs: &[sstp::Output]) {
    let outputs: Vec<_> = outputs.iter().map(describe).collect();
    let after = sim.call.state();
    let after = if after == before { String::new() } else { format!(" -> {after:?}") };
    if !outputs.is_empty() || !after.is_empty() {
        *table += &format!("  {event}: {}{after}\n", outputs.join(" "));
    }
}

#[test]
fn every_event_in_every_state() {
    let mut table = String::from("\n");
    for (name, situation) in situations() {
        table += &format!("{name}\n");
        for (event, bytes) in packets() {
            let mut sim = situation();
            let (before, outputs) = (sim.call.state(), sim.packet(&bytes));
            line(&mut table, event, &sim, before, &outputs);
        }
        for (event, drive) in others() {
            let mut sim = situation();
            let (before, outputs) = (sim.call.state(), drive(&mut sim));
            line(&mut table, event, &sim, before, &outputs);
        }
    }
    for (at, (got, want)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(got, want, "line {at} of\n{table}");
    }
    assert_eq!(table.lines().count(), TABLE.lines().count(), "of\n{table}");
}
