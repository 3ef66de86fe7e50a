//! The end of a session.
use super::{Core, IkeSa, Phase, Request, Signal, State, Step};
use crate::api::{CloseReason, TimeoutReason};
use crate::endpoint::Shared;
use crate::wire::{Delete, Exchange, Notify, Payload, Spi, notify};
use std::time::{Duration, Instant};

/// Tries of a DELETE: an operator does not want to wait for a peer that is gone.
const DELETE_TRIES: u32 = 3;

/// How long an ended session answers retransmissions of the peer's last request.
pub(super) const DRAIN: Duration = Duration::from_secs(20);

/// Time for a refusal to arrive before the DELETE that follows it.
const GRACE: Duration = Duration::from_secs(1);

/// Our DELETE of the IKE SA is on its way.
#[derive(Debug)]
pub(crate) struct Closing {
    sa: IkeSa,
    reason: CloseReason,
}

impl Closing {
    /// Sends DELETE. The window for our requests must be free.
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, mut sa: IkeSa, reason: CloseReason) -> State {
        if sa.is_busy() {
            // A rekey of the peer that is still being computed comes to nothing (RFC 7296 section 2.25.2).
            core.respond(cx, &mut sa, &[Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))]);
        }
        send_delete(core, cx, &mut sa);
        Self { sa, reason }.into()
    }

    fn finish(self, core: &mut Core, cx: &mut Shared) -> State {
        core.end(cx, self.reason, None);
        State::drain(cx, Some(self.sa))
    }

    fn request(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, request: &Request) -> State {
        let crossing = deletes_ike(request);
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
            Signal::Response(..) | Signal::Forgotten(_) => self.finish(core, cx),
            Signal::Timeout => match self.sa.retransmit(cx.now) {
                Ok(datagrams) => {
                    cx.repeat_all(core.path, &datagrams);
                    self.into()
                }
                Err(_) => {
                    self.sa.abandon();
                    self.finish(core, cx)
                }
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
    sa: Option<IkeSa>,
    until: Instant,
    /// When we delete an IKE SA that the peer may want to keep without its Child SA.
    delete_at: Option<Instant>,
}

impl Draining {
    pub(super) fn new(cx: &Shared, sa: Option<IkeSa>) -> Self {
        Self { sa, until: cx.now + DRAIN, delete_at: None }
    }

    /// An authenticated peer that was refused its Child SA: after a moment, in which the answer should arrive, the IKE SA is deleted.
    pub(super) fn deleting(cx: &Shared, sa: IkeSa) -> Self {
        Self { delete_at: Some(cx.now + GRACE), ..Self::new(cx, Some(sa)) }
    }

    fn request(&mut self, core: &Core, cx: &mut Shared, request: &Request) {
        let Some(sa) = &mut self.sa else { return };
        let refused = [Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))];
        let answer: &[Payload] = if request.exchange == Exchange::Informational { &[] } else { &refused };
        core.respond(cx, sa, answer);
        if deletes_ike(request) {
            self.delete_at = None;
            sa.abandon();
        }
    }

    fn timeout(&mut self, core: &Core, cx: &mut Shared) {
        let Some(sa) = &mut self.sa else { return };
        if self.delete_at.take_if(|at| *at <= cx.now).is_some() {
            return send_delete(core, cx, sa);
        }
        match sa.retransmit(cx.now) {
            Ok(datagrams) => cx.repeat_all(core.path, &datagrams),
            Err(_) => sa.abandon(),
        }
    }
}

impl Step for Draining {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Timeout if cx.now >= self.until => return State::Gone,
            Signal::Timeout => self.timeout(core, cx),
            Signal::Request(request) => self.request(core, cx, &request),
            _ => {}
        }
        self.into()
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.sa.as_mut().filter(|sa| sa.own_spi() == own)
    }

    fn phase(&self) -> Phase {
        Phase::Draining
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        let retransmit = self.sa.as_ref().and_then(IkeSa::retransmit_due);
        let own = [self.delete_at, retransmit].into_iter().flatten().min();
        let own = own.filter(|at| *at < self.until).map(|at| (at, TimeoutReason::Retransmit));
        own.or(Some((self.until, TimeoutReason::RekeyedDelete)))
    }
}

fn deletes_ike(request: &Request) -> bool {
    request.payloads.as_ref().is_ok_and(|payloads| payloads.deletes().any(|delete| *delete == Delete::Ike))
}

fn send_delete(core: &Core, cx: &mut Shared, sa: &mut IkeSa) {
    let timers = core.timers();
    let tries = timers.retransmit_tries.min(DELETE_TRIES);
    sa.set_stream(core.path.connection.is_some());
    let delete = [Payload::Delete(Delete::Ike)];
    let datagrams = sa.request(Exchange::Informational, &delete, cx.now, &timers, tries);
    cx.transmit_sealed(core.id, core.path, sa, &delete, &datagrams);
}
