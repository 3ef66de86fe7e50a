//! The end of a session.
use super::{Core, IkeSa, Phase, Request, Signal, State, Step};
use crate::api::{CloseReason, TimeoutReason};
use crate::endpoint::Shared;
use crate::wire::{Delete, Exchange, Notify, Payload, Spi, notify};
use std::time::Instant;

/// Tries of a DELETE: an operator does not want to wait for a peer that is gone.
pub(super) const DELETE_TRIES: u32 = 3;

/// Our DELETE of the IKE SA is on its way.
#[derive(Debug)]
pub(crate) struct Closing {
    sa: IkeSa,
    reason: CloseReason,
}

impl Closing {
    /// Sends DELETE. The window for our requests must be free.
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, mut sa: IkeSa, reason: CloseReason) -> State {
        let timers = core.timers();
        let tries = timers.retransmit_tries.min(DELETE_TRIES);
        let payloads = [Payload::Delete(Delete::Ike)];
        let datagrams = sa.request(Exchange::Informational, &payloads, cx.now, &timers, tries);
        cx.transmit_all(core.path, &datagrams);
        Self { sa, reason }.into()
    }

    fn finish(self, core: &mut Core, cx: &mut Shared) -> State {
        core.end(cx, self.reason, None);
        State::drain(cx, Some(self.sa))
    }

    fn request(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, request: &Request) -> State {
        let crossing = request.payloads.as_ref().is_ok_and(|payloads| payloads.deletes().any(|delete| *delete == Delete::Ike));
        // RFC 7296 section 2.25.2: nothing new begins on an IKE SA that is being closed.
        let refused = [Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))];
        let answer: &[Payload] = if request.exchange == Exchange::Informational { &[] } else { &refused };
        core.respond(cx, &mut self.sa, answer);
        if crossing { self.finish(core, cx) } else { self.into() }
    }
}

impl Step for Closing {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Request(request) => self.request(core, cx, &request),
            Signal::Response(..) => self.finish(core, cx),
            Signal::Timeout => match self.sa.retransmit(cx.now) {
                Ok(datagrams) => {
                    cx.transmit_all(core.path, &datagrams);
                    self.into()
                }
                Err(_) => self.finish(core, cx),
            },
            _ => self.into(),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        (self.sa.own_spi() == own).then_some(&mut self.sa)
    }

    fn phase(&self) -> Phase {
        Phase::Established
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        self.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit))
    }
}

/// Ended. The peer may not have got our last answer, so it is kept for a while.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(super) sa: Option<IkeSa>,
    pub(super) until: Instant,
}

impl Step for Draining {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Timeout if cx.now >= self.until => State::Gone,
            Signal::Request(Request { exchange: Exchange::Informational, .. }) => {
                if let Some(sa) = &mut self.sa {
                    core.respond(cx, sa, &[]);
                }
                self.into()
            }
            _ => self.into(),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.sa.as_mut().filter(|sa| sa.own_spi() == own)
    }

    fn phase(&self) -> Phase {
        Phase::Draining
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        Some((self.until, TimeoutReason::RekeyedDelete))
    }
}
