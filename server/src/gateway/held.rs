//! A login that would get an address which an older session of the same user has: whether that session's client is still there is asked at once,
//! and the login waits for the answer. Of a computer that crashed and comes back from elsewhere nobody else could tell that it is the same.
use super::authenticate::Verdict;
use super::report::same_user;
use super::{Asker, Gateway, Now, Plane};
use ike::{Command, SessionId};
use policy::network::Tunnel;
use radius_client::Accept;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the older session's client has to answer: enough for what is sent again once, and for the newer one to wait.
const PATIENCE: Duration = Duration::from_secs(4);

/// A login that RADIUS has accepted.
#[derive(Debug)]
pub(super) struct Held {
    pub session: SessionId,
    pub asker: Asker,
    older: SessionId,
    until: Instant,
    /// The older session's client has answered.
    answered: bool,
    /// As in [`Verdict::Granted`].
    eap: Vec<u8>,
    message: Vec<u8>,
    accept: Box<Accept>,
}

impl<P: Plane> Gateway<P> {
    /// Tells the tunnel protocol, unless an older session has to be asked first.
    pub(super) fn hold_or_deliver(&mut self, now: Now, session: SessionId, asker: Asker, verdict: Verdict) {
        let older = self.holder(session, &verdict);
        match (verdict, older) {
            (Verdict::Granted { eap, message, accept, .. }, Some(older)) => {
                let (new, old) = (self.attempt_name(session), self.attempt_name(older));
                self.note(
                    now,
                    session,
                    format!("its address is in use by the same user's older session {old}, which is asked for a sign of life"),
                );
                self.note(now, older, format!("asked for a sign of life: the newer login {new} of the same user wants its address"));
                self.held.push_back(Held { session, asker, older, until: now.instant + PATIENCE, answered: false, eap, message, accept });
                self.commands.push_back((older, Command::Liveness));
                self.settle(now);
            }
            (verdict, _) => self.deliver(now, session, asker, verdict),
        }
    }

    /// Who has the address that this login would get, where it is the same user's, and can be asked.
    fn holder(&self, session: SessionId, verdict: &Verdict) -> Option<SessionId> {
        let Verdict::Granted { granted, .. } = verdict else { return None };
        let older = SessionId(granted.address_holder?.0);
        let live = self.live.get(&older).filter(|live| live.tunnel == Tunnel::Ikev2 && older != session && !live.is_silent())?;
        same_user(&live.session.as_ref()?.granted.user, &granted.user).then_some(older)
    }

    fn attempt_name(&self, session: SessionId) -> String {
        self.live.get(&session).map(|live| self.acct_session_id(live)).unwrap_or_default()
    }

    /// A client has shown that it is there.
    pub(super) fn held_answers(&mut self, now: Now, older: SessionId) {
        for held in self.held.iter_mut().filter(|held| held.older == older) {
            (held.answered, held.until) = (true, now.instant);
        }
    }

    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    /// Decides again what was held, for the last time.
    pub(super) fn resume_held(&mut self, now: Now) {
        let (due, held): (VecDeque<_>, _) = std::mem::take(&mut self.held).into_iter().partition(|held| held.until <= now.instant);
        self.held = held;
        due.into_iter().for_each(|held| self.resume(now, held));
    }

    fn resume(&mut self, now: Now, held: Held) {
        let Held { session, asker, older, answered, eap, message, accept, .. } = held;
        let Some(progress) = self.live.get(&session).and_then(|live| live.login.as_ref()) else { return };
        let server = progress.server.clone().unwrap_or_default();
        self.find(older, !answered);
        let verdict = if eap.is_empty() {
            self.accept_login(now, session, &server, accept, Some(message))
        } else {
            self.accept_eap(now, session, &server, Some(eap), accept)
        };
        self.find(older, false);
        // An address has one session: who did not answer in time makes way when the newer one is up, whatever it says later.
        let takes = !answered && matches!(verdict, Verdict::Granted { .. }) && self.sharers(session).any(|id| id == older);
        if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()).filter(|_| takes) {
            progress.left_out.insert(older);
        }
        self.deliver(now, session, asker, verdict);
    }

    /// What is thought of an older session while a newer login is decided.
    fn find(&mut self, older: SessionId, unanswering: bool) {
        if let Some(live) = self.live.get_mut(&older) {
            live.unanswering = unanswering;
            self.roll.file(older, Some(live));
        }
    }
}
