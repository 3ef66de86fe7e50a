//! A call that is up: echoes, and the ways to its end.
use super::{Core, Event, State};
use crate::api::{Ended, EndedBy, Output, TimeoutReason, Timers};
use crate::message::Message;
use std::time::Instant;

/// Server_Call_Connected.
#[derive(Debug)]
pub(super) struct CallConnected {
    /// The last packet of the client.
    heard: Instant,
    /// When ECHO_REQUEST was sent, if nothing has come since.
    echo: Option<Instant>,
}

impl CallConnected {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, echo: None }
    }

    pub(super) fn deadline(&self, timers: &Timers) -> (Instant, TimeoutReason) {
        match self.echo {
            None => (self.heard + timers.hello, TimeoutReason::Hello),
            Some(sent) => (sent + timers.hello, TimeoutReason::EchoAnswer),
        }
    }

    pub(super) fn handle(mut self, core: &mut Core, now: Instant, event: Event<'_>) -> State {
        match event {
            Event::Message(Message::EchoRequest) => {
                self.hear(now);
                core.send(&Message::EchoResponse);
            }
            Event::Message(Message::EchoResponse) => self.hear(now),
            Event::Message(Message::CallAbort(info)) => return core.aborted(now, info),
            Event::Message(Message::CallDisconnect(info)) => return core.disconnected(now, info),
            Event::Message(other) => return core.unexpected(now, &other, "in a call that is up"),
            Event::Invalid(invalid) => return core.invalid(now, invalid, "in a call that is up"),
            Event::Garbage(what) => return core.garbage(what),
            Event::Data(frame) => {
                self.hear(now);
                core.outputs.push_back(Output::Ppp(frame.to_vec()));
            }
            Event::Ppp(frame) => core.send_ppp(frame),
            // A moment that has not come yet would postpone the echo for ever.
            Event::Heard(at) => self.hear(at.min(now)),
            Event::Close => return core.disconnect(now),
            Event::Closed => return core.connection_lost(),
            Event::Timeout if now >= self.deadline(&core.timers).0 => return self.timeout(core, now),
            Event::Timeout | Event::Authenticated(_) | Event::Waiting(_) => {}
        }
        State::CallConnected(self)
    }

    fn hear(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
        self.echo = self.echo.filter(|sent| at < *sent);
    }

    fn timeout(mut self, core: &mut Core, now: Instant) -> State {
        if self.echo.is_none() {
            core.send(&Message::EchoRequest);
            self.echo = Some(now);
            return State::CallConnected(self);
        }
        let silent = now.saturating_duration_since(self.heard).as_secs();
        let cause = format!("nothing came from the client for {silent} s, nor an answer to ECHO_REQUEST");
        core.hang_up(Ended { by: EndedBy::Silence, cause, status: None })
    }
}
