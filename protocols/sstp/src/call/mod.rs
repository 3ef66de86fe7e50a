//! The call machine ([MS-SSTP] 3.1.1, 3.3.1): one SSTP connection from the HTTP head to its end.
//!
//! ```text
//! ConnectRequestPending -> CallConnectedPending -> CallConnected
//!
//! any of them:  CALL_ABORT sent       -> CallAbortPending -> CallAbortTimeoutPending -> CallDisconnected
//!               CALL_ABORT came       -> CallAbortTimeoutPending -> CallDisconnected
//!               CALL_DISCONNECT sent  -> CallDisconnectAckPending -> CallDisconnected
//!               CALL_DISCONNECT came  -> CallDisconnectTimeoutPending -> CallDisconnected
//! ```
mod connected;
mod ending;
mod establish;

use crate::api::{CallConfig, Ended, EndedBy, Input, Output, TimeoutReason, Timers};
use crate::api::{HEADER_LEN, InnerKeys};
use crate::frame::{self, Frame, VERSION};
use crate::message::{AttributeId, Invalid, Message, Status, StatusInfo};
use connected::CallConnected;
use ending::{CallAbortPending, CallAbortTimeoutPending, CallDisconnectAckPending, CallDisconnectTimeoutPending};
use establish::{CallConnectedPending, ConnectRequestPending};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// [MS-SSTP] 3.1.2.1 and 3.1.2.2.
const ABORT_TIMER_1: Duration = Duration::from_secs(3);
const ABORT_TIMER_2: Duration = Duration::from_secs(1);
const DISCONNECT_TIMER_1: Duration = Duration::from_secs(5);
const DISCONNECT_TIMER_2: Duration = Duration::from_secs(1);

/// CurrentState of [MS-SSTP] 3.1.1 and 3.3.1. Its four In_Progress states last as long as it takes to send one message, so none of them
/// is ever seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Waits for CALL_CONNECT_REQUEST.
    ConnectRequestPending,
    /// CALL_CONNECT_ACK is sent; PPP authenticates, then CALL_CONNECTED is due.
    CallConnectedPending,
    CallConnected,
    /// CALL_ABORT is sent, the client's is due.
    CallAbortPending,
    /// CALL_ABORT went both ways.
    CallAbortTimeoutPending,
    /// CALL_DISCONNECT is sent, CALL_DISCONNECT_ACK is due.
    CallDisconnectAckPending,
    /// CALL_DISCONNECT came, CALL_DISCONNECT_ACK is sent.
    CallDisconnectTimeoutPending,
    /// [`Output::Hangup`] is out.
    CallDisconnected,
}

/// One call; see the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Call {
    state: State,
    core: Core,
}

#[derive(Debug)]
enum State {
    ConnectRequestPending(ConnectRequestPending),
    CallConnectedPending(Box<CallConnectedPending>),
    CallConnected(CallConnected),
    CallAbortPending(CallAbortPending),
    CallAbortTimeoutPending(CallAbortTimeoutPending),
    CallDisconnectAckPending(CallDisconnectAckPending),
    CallDisconnectTimeoutPending(CallDisconnectTimeoutPending),
    CallDisconnected,
}

/// An input, read.
#[derive(Debug)]
enum Event<'a> {
    Message(Message),
    /// A control packet that could be delimited, but is wrong.
    Invalid(Invalid),
    /// Not one packet: nothing may be sent any more.
    Garbage(String),
    /// A PPP frame from the client.
    Data(&'a [u8]),
    /// A PPP frame for the client.
    Ppp(&'a [u8]),
    Authenticated(InnerKeys),
    Waiting(bool),
    Heard(Instant),
    Close,
    Closed,
    Timeout,
}

impl Call {
    /// A call whose HTTP head was just answered with 200.
    pub fn new(now: Instant, config: CallConfig) -> Self {
        let core = Core { timers: config.timers, outputs: VecDeque::new(), early_data_noted: false };
        Self { state: State::ConnectRequestPending(ConnectRequestPending::new(now, config)), core }
    }

    /// Takes one input. Drain [`Call::poll_output`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        let core = &mut self.core;
        let event = read(input);
        self.state = match std::mem::replace(&mut self.state, State::CallDisconnected) {
            State::ConnectRequestPending(state) => state.handle(core, now, event),
            State::CallConnectedPending(state) => state.handle(core, now, event),
            State::CallConnected(state) => state.handle(core, now, event),
            State::CallAbortPending(state) => state.handle(core, now, &event),
            State::CallAbortTimeoutPending(state) => state.handle(core, now, &event),
            State::CallDisconnectAckPending(state) => state.handle(core, now, &event),
            State::CallDisconnectTimeoutPending(state) => state.handle(core, now, &event),
            State::CallDisconnected => State::CallDisconnected,
        };
    }

    /// The next thing to do; `None` once drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`], and why; `None` once the call is over.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        match &self.state {
            State::ConnectRequestPending(state) => Some((state.deadline, TimeoutReason::Negotiation)),
            State::CallConnectedPending(state) => Some((state.due(), TimeoutReason::Negotiation)),
            State::CallConnected(state) => Some(state.deadline(&self.core.timers)),
            State::CallAbortPending(state) => Some((state.deadline, TimeoutReason::AbortAnswer)),
            State::CallAbortTimeoutPending(state) => Some((state.deadline, TimeoutReason::Linger)),
            State::CallDisconnectAckPending(state) => Some((state.deadline, TimeoutReason::DisconnectAnswer)),
            State::CallDisconnectTimeoutPending(state) => Some((state.deadline, TimeoutReason::Linger)),
            State::CallDisconnected => None,
        }
    }

    /// Where the call is, for records and tests.
    pub fn state(&self) -> CallState {
        match self.state {
            State::ConnectRequestPending(_) => CallState::ConnectRequestPending,
            State::CallConnectedPending(_) => CallState::CallConnectedPending,
            State::CallConnected(_) => CallState::CallConnected,
            State::CallAbortPending(_) => CallState::CallAbortPending,
            State::CallAbortTimeoutPending(_) => CallState::CallAbortTimeoutPending,
            State::CallDisconnectAckPending(_) => CallState::CallDisconnectAckPending,
            State::CallDisconnectTimeoutPending(_) => CallState::CallDisconnectTimeoutPending,
            State::CallDisconnected => CallState::CallDisconnected,
        }
    }
}

fn read(input: Input<'_>) -> Event<'_> {
    match input {
        Input::Packet(bytes) => read_packet(bytes),
        Input::Ppp(frame) => Event::Ppp(frame),
        Input::Authenticated(keys) => Event::Authenticated(keys),
        Input::Waiting(waiting) => Event::Waiting(waiting),
        Input::Heard(at) => Event::Heard(at),
        Input::Close => Event::Close,
        Input::Closed => Event::Closed,
        Input::Timeout => Event::Timeout,
    }
}

fn read_packet(bytes: &[u8]) -> Event<'_> {
    match frame::next(bytes) {
        Err(error) => Event::Garbage(error.to_string()),
        Ok(Some(Frame { control, len })) if len == bytes.len() => match control {
            false => Event::Data(&bytes[HEADER_LEN..]),
            true => Message::parse(bytes).map_or_else(Event::Invalid, Event::Message),
        },
        Ok(_) => Event::Garbage(format!("{} bytes that are not one SSTP packet", bytes.len())),
    }
}

/// What a call has in every state, and the ways out of all of them.
#[derive(Debug)]
struct Core {
    timers: Timers,
    outputs: VecDeque<Output>,
    early_data_noted: bool,
}

impl Core {
    fn send(&mut self, message: &Message) {
        self.outputs.push_back(Output::Transmit(message.encode()));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.outputs.push_back(Output::Note(text.into()));
    }

    /// PPP frames with data have no business before the crypto binding is verified ([MS-SSTP] 3.3.7.2).
    fn drop_early_data(&mut self) {
        if !self.early_data_noted {
            self.early_data_noted = true;
            self.note("PPP frames came before their time and were dropped");
        }
    }

    fn send_ppp(&mut self, frame: &[u8]) {
        if frame.len() > frame::MAX_PPP {
            self.note(format!("a PPP frame of {} bytes does not fit an SSTP packet and was dropped", frame.len()));
            return;
        }
        let mut packet = Vec::with_capacity(HEADER_LEN + frame.len());
        let [high, low] = ((HEADER_LEN + frame.len()) as u16).to_be_bytes();
        packet.extend_from_slice(&[VERSION, 0, high, low]);
        packet.extend_from_slice(frame);
        self.outputs.push_back(Output::Transmit(packet));
    }

    /// The last output: nothing follows it.
    fn hang_up(&mut self, ended: Ended) -> State {
        self.outputs.push_back(Output::Hangup(ended));
        State::CallDisconnected
    }

    /// The stream cannot be followed any more ([MS-SSTP] 3.1.5.1).
    fn garbage(&mut self, what: String) -> State {
        self.hang_up(Ended { by: EndedBy::Violation, cause: what, status: None })
    }

    /// The TCP connection ended under a call that nobody had ended.
    fn connection_lost(&mut self) -> State {
        self.hang_up(Ended { by: EndedBy::Peer, cause: "the client's connection ended without CALL_DISCONNECT".into(), status: None })
    }

    /// Ends the call with CALL_ABORT.
    fn abort(&mut self, now: Instant, by: EndedBy, info: StatusInfo, what: &str) -> State {
        let status = info.status;
        let cause = format!("{what}; CALL_ABORT sent: {info}");
        self.note(cause.clone());
        self.send(&Message::CallAbort(Some(info)));
        let ended = Ended { by, cause, status: Some(status.0) };
        State::CallAbortPending(CallAbortPending { deadline: now + ABORT_TIMER_1, ended })
    }

    /// A message that has no business in this state.
    fn unexpected(&mut self, now: Instant, message: &Message, state: &str) -> State {
        let info = StatusInfo::new(AttributeId::NONE, Status::UNACCEPTED_FRAME_RECEIVED);
        self.abort(now, EndedBy::Violation, info, &format!("the client sent {} {state}", message.name()))
    }

    /// A message that is wrong in every state where requests are not wanted.
    fn invalid(&mut self, now: Instant, invalid: Invalid, state: &str) -> State {
        match invalid {
            Invalid::Message(info, text) => self.abort(now, EndedBy::Violation, info, &format!("the client sent {text}")),
            Invalid::Request(_) => self.unexpected(now, &Message::CallConnectRequest, state),
        }
    }

    /// `missing` for `whole`.
    fn negotiation_timeout(&mut self, now: Instant, missing: &str, whole: Duration) -> State {
        let info = StatusInfo::new(AttributeId::NONE, Status::NEGOTIATION_TIMEOUT);
        let what = format!("the client sent no {missing} within {} s", whole.as_secs());
        self.abort(now, EndedBy::NegotiationTimeout, info, &what)
    }

    /// CALL_ABORT of the client, in a state where none of ours is out.
    fn aborted(&mut self, now: Instant, info: Option<StatusInfo>) -> State {
        let status = info.as_ref().map(|info| info.status.0);
        let with = info.map_or_else(|| "without status".into(), |info| format!("with {info}"));
        let cause = format!("the client ended the call with CALL_ABORT {with}");
        self.note(cause.clone());
        self.answer_abort(now, Ended { by: EndedBy::PeerAbort, cause, status })
    }

    fn answer_abort(&mut self, now: Instant, ended: Ended) -> State {
        self.send(&Message::CallAbort(Some(no_error())));
        State::CallAbortTimeoutPending(CallAbortTimeoutPending { deadline: now + ABORT_TIMER_2, ended })
    }

    /// CALL_DISCONNECT of the client.
    fn disconnected(&mut self, now: Instant, info: Option<StatusInfo>) -> State {
        let status = info.as_ref().map(|info| info.status.0);
        let cause = match info.filter(|info| info.status != Status::NO_ERROR) {
            None => "the client ended the call with CALL_DISCONNECT".into(),
            Some(info) => format!("the client ended the call with CALL_DISCONNECT: {info}"),
        };
        self.note(cause.clone());
        self.send(&Message::CallDisconnectAck);
        let ended = Ended { by: EndedBy::Peer, cause, status };
        State::CallDisconnectTimeoutPending(CallDisconnectTimeoutPending { deadline: now + DISCONNECT_TIMER_2, ended })
    }

    /// Ends the call with CALL_DISCONNECT.
    fn disconnect(&mut self, now: Instant) -> State {
        self.send(&Message::CallDisconnect(Some(no_error())));
        let ended = Ended { by: EndedBy::Us, cause: "the gateway ended the call with CALL_DISCONNECT".into(), status: None };
        State::CallDisconnectAckPending(CallDisconnectAckPending { deadline: now + DISCONNECT_TIMER_1, ended })
    }
}

/// What CALL_ABORT and CALL_DISCONNECT carry when there is nothing to say.
fn no_error() -> StatusInfo {
    StatusInfo::new(AttributeId::NONE, Status::NO_ERROR)
}
