//! The ways from the decision to the end of the connection ([MS-SSTP] 3.1.1.1, 3.3.5.2.4 to 3.3.5.2.6): what does not lead there is
//! ignored.
use super::{ABORT_TIMER_2, Core, Event, State};
use crate::api::Ended;
use crate::message::Message;
use std::time::Instant;

/// What ends every wait at once: its time is over, the connection is gone or not to be followed any more.
fn is_over(event: &Event<'_>, now: Instant, deadline: Instant) -> bool {
    match event {
        Event::Garbage(_) | Event::Closed => true,
        Event::Timeout => now >= deadline,
        _ => false,
    }
}

/// Call_Abort_Pending.
#[derive(Debug)]
pub(super) struct CallAbortPending {
    pub(super) deadline: Instant,
    pub(super) ended: Ended,
}

impl CallAbortPending {
    pub(super) fn handle(self, core: &mut Core, now: Instant, event: &Event<'_>) -> State {
        match event {
            Event::Message(Message::CallAbort(_)) => {
                State::CallAbortTimeoutPending(CallAbortTimeoutPending { deadline: now + ABORT_TIMER_2, ended: self.ended })
            }
            event if is_over(event, now, self.deadline) => core.hang_up(self.ended),
            _ => State::CallAbortPending(self),
        }
    }
}

/// Call_Abort_Timeout_Pending.
#[derive(Debug)]
pub(super) struct CallAbortTimeoutPending {
    pub(super) deadline: Instant,
    pub(super) ended: Ended,
}

impl CallAbortTimeoutPending {
    pub(super) fn handle(self, core: &mut Core, now: Instant, event: &Event<'_>) -> State {
        if is_over(event, now, self.deadline) {
            return core.hang_up(self.ended);
        }
        State::CallAbortTimeoutPending(self)
    }
}

/// Call_Disconnect_Ack_Pending.
#[derive(Debug)]
pub(super) struct CallDisconnectAckPending {
    pub(super) deadline: Instant,
    pub(super) ended: Ended,
}

impl CallDisconnectAckPending {
    pub(super) fn handle(mut self, core: &mut Core, now: Instant, event: &Event<'_>) -> State {
        match event {
            Event::Message(Message::CallDisconnectAck) => core.hang_up(self.ended),
            Event::Message(Message::CallAbort(info)) => {
                self.ended.status = info.as_ref().map(|info| info.status.0);
                self.ended.cause.push_str("; the client answered with CALL_ABORT");
                core.answer_abort(now, self.ended)
            }
            event if is_over(event, now, self.deadline) => core.hang_up(self.ended),
            _ => State::CallDisconnectAckPending(self),
        }
    }
}

/// Call_Disconnect_Timeout_Pending.
#[derive(Debug)]
pub(super) struct CallDisconnectTimeoutPending {
    pub(super) deadline: Instant,
    pub(super) ended: Ended,
}

impl CallDisconnectTimeoutPending {
    pub(super) fn handle(self, core: &mut Core, now: Instant, event: &Event<'_>) -> State {
        if is_over(event, now, self.deadline) {
            return core.hang_up(self.ended);
        }
        State::CallDisconnectTimeoutPending(self)
    }
}
