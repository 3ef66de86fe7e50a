//! How SSTP sessions end: by the link, by the call, by the connection.
use super::{Call, FAREWELL, Feed, Gateway, Now, Plane};
use crate::outcome::{CloseReason, Failure, Fault, Stage};
use ike::SessionId;
use sstp::CallState;

impl<P: Plane> Gateway<P> {
    /// The TLS connection is gone.
    pub fn connection_closed(&mut self, now: Now, session: SessionId, cause: &str) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.broken = Some(cause.to_owned()).filter(|_| call.is_running());
        call.machine.handle(now.instant, sstp::Input::Closed);
        self.note(now, session, format!("the connection ended: {cause}"));
        self.run(now, session);
        // Whatever the machine makes of it, there is nothing left to wait for.
        self.call_over(now, session, CloseReason::PeerLost);
        self.settle(now);
    }

    /// The PPP link is down; the call follows.
    pub(super) fn link_down(&mut self, now: Now, session: SessionId, ended: ppp::Ended) {
        let refused = self.refusal(session);
        let Some(call) = self.calls.get_mut(&session) else { return };
        let by_whom = matches!(ended.by, ppp::EndedBy::Refused | ppp::EndedBy::Peer | ppp::EndedBy::Timeout);
        call.failure.get_or_insert(refused.filter(|_| by_whom).unwrap_or_else(|| link_failure(&ended)));
        call.closing.get_or_insert(match ended.by {
            ppp::EndedBy::Peer => CloseReason::PeerDeleted,
            ppp::EndedBy::Silence | ppp::EndedBy::Timeout => CloseReason::PeerLost,
            _ => CloseReason::Failed,
        });
        if ended.by == ppp::EndedBy::Peer {
            // Its CALL_DISCONNECT comes after our Terminate-Ack; one of ours would cross it.
            call.close_at = now.instant.checked_add(FAREWELL);
        } else {
            call.feeds.push_back(Feed::Close);
        }
        self.hold(session);
    }

    /// The call is over: the connection closes once everything has been said.
    pub(super) fn hung_up(&mut self, now: Now, session: SessionId, mut ended: sstp::Ended) {
        let (refused, granted, waits) = (self.refusal(session), self.is_granted(session), self.waits_for_radius(session));
        let Some(call) = self.calls.get_mut(&session) else { return };
        if let Some(how) = &call.broken {
            ended.cause = format!("{}: {how}", ended.cause);
        }
        let reason = call.closing.unwrap_or(match ended.by {
            sstp::EndedBy::Peer if call.broken.is_some() => CloseReason::PeerLost,
            sstp::EndedBy::Peer | sstp::EndedBy::PeerAbort => CloseReason::PeerDeleted,
            sstp::EndedBy::Silence | sstp::EndedBy::NegotiationTimeout => CloseReason::PeerLost,
            _ => CloseReason::Failed,
        });
        let live = self.live.get(&session);
        let reached = live.and_then(|live| self.attempts.get(live.attempt)).map_or(Stage::Sstp, |attempt| attempt.stage);
        let lacks = match (call.unanswered.unwrap_or(waits), granted && !call.bound) {
            (true, _) => Some(Lack::Radius),
            (false, true) => Some(Lack::Binding),
            (false, false) => None,
        };
        let failure = refused.unwrap_or_else(|| call_failure(&ended, reached, lacks));
        call.failure.get_or_insert(failure);
        self.plane.stream_close(session);
        self.call_over(now, session, reason);
    }

    fn call_over(&mut self, now: Now, session: SessionId, reason: CloseReason) {
        let Some(call) = self.calls.remove(&session) else { return };
        if let Some(at) = call.due {
            self.call_timers.remove(&(at, session));
        }
        let Some(live) = self.live.get(&session) else { return };
        let up = live.session.is_some();
        self.calls_up -= usize::from(up);
        let reason = call.closing.unwrap_or(reason);
        let failure = if up || is_ours(call.closing) { None } else { call.failure };
        self.forget_questions(session);
        self.closed(now, session, reason, failure);
    }

    /// A refusal that the client did not mend: whatever it did next, this is why it is not in.
    fn refusal(&mut self, session: SessionId) -> Option<Failure> {
        let login = self.live.get(&session)?.login.as_ref()?;
        let fault = login.fault.unwrap_or(Fault::Refused);
        let refused = |stage, cause| Failure { stage, fault, notify: None, eap: None, remedy: None, cause };
        if let Some(denied) = self.calls.get_mut(&session)?.refusal.take() {
            return Some(refused(denied.stage, denied.cause));
        }
        // Some clients leave at once when RADIUS calls their password wrong inside EAP.
        let inside = login.granted.is_none().then(|| login.refusal_inside_eap()).flatten()?;
        Some(refused(Stage::Radius, inside))
    }

    /// Takes note, as soon as a call is on its way out, of whether it ends in the middle of a question to RADIUS: the answer may still come
    /// while the connection lingers.
    pub(super) fn note_unanswered(&mut self, session: SessionId) {
        if !self.calls.get(&session).is_some_and(|call| call.unanswered.is_none() && !call.is_running()) {
            return;
        }
        let waits = self.waits_for_radius(session);
        if let Some(call) = self.calls.get_mut(&session) {
            call.unanswered = Some(waits);
        }
    }

    fn waits_for_radius(&self, session: SessionId) -> bool {
        self.tickets.values().any(|(of, _)| *of == session)
    }

    fn forget_questions(&mut self, session: SessionId) {
        let open: Vec<_> = self.tickets.values().filter(|(of, _)| *of == session).map(|(_, asker)| *asker).collect();
        for asker in open {
            self.cancel(asker);
        }
    }
}

impl Call {
    /// Nobody has ended it.
    fn is_running(&self) -> bool {
        use CallState::{CallConnected, CallConnectedPending, ConnectRequestPending};
        matches!(self.machine.state(), ConnectRequestPending | CallConnectedPending | CallConnected)
    }
}

/// Ended by the gateway for a reason that is nobody's failure.
fn is_ours(reason: Option<CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::Operator | CloseReason::Shutdown | CloseReason::Replaced | CloseReason::Unaccounted))
}

fn link_failure(ended: &ppp::Ended) -> Failure {
    let stage = match ended.phase {
        ppp::Phase::Lcp => Stage::Lcp,
        ppp::Phase::Authentication => Stage::Auth,
        ppp::Phase::Network => Stage::Ipcp,
        ppp::Phase::Up => Stage::Up,
    };
    let fault = match ended.by {
        ppp::EndedBy::Peer | ppp::EndedBy::Incompatible => Fault::PeerIncompatible,
        ppp::EndedBy::Us => Fault::Internal,
        ppp::EndedBy::Violation => Fault::PeerMisbehaved,
        ppp::EndedBy::Refused => Fault::Refused,
        ppp::EndedBy::Timeout | ppp::EndedBy::Silence => Fault::Silence,
    };
    Failure { stage, fault, notify: None, eap: None, remedy: None, cause: ended.cause.clone() }
}

/// What a call that ended was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// The answer of RADIUS.
    Radius,
    /// The login is granted: a good CALL_CONNECTED.
    Binding,
}

fn call_failure(ended: &sstp::Ended, reached: Stage, lacks: Option<Lack>) -> Failure {
    let stage = if lacks == Some(Lack::Binding) { reached.max(Stage::CryptoBinding) } else { reached };
    let (stage, fault) = match ended.by {
        sstp::EndedBy::NegotiationTimeout | sstp::EndedBy::Peer | sstp::EndedBy::PeerAbort if lacks == Some(Lack::Radius) => {
            (Stage::Radius, Fault::Dependency)
        }
        sstp::EndedBy::Peer | sstp::EndedBy::PeerAbort => (stage, Fault::PeerIncompatible),
        sstp::EndedBy::Us => (stage, Fault::Internal),
        sstp::EndedBy::Violation => (stage, Fault::PeerMisbehaved),
        sstp::EndedBy::Binding => (Stage::CryptoBinding, Fault::Refused),
        sstp::EndedBy::NegotiationTimeout | sstp::EndedBy::Silence => (stage, Fault::Silence),
    };
    let cause = match lacks {
        Some(Lack::Radius) => format!("RADIUS had not answered when the call ended: {}", ended.cause),
        _ => ended.cause.clone(),
    };
    Failure { stage, fault, notify: None, eap: None, remedy: None, cause }
}
