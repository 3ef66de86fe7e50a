//! What traces of logins are made of: when RADIUS was asked and answered, and a login that is decided.
use super::{Effect, Gateway, Live, Now, Plane};
use crate::explain;
use crate::outcome::Failure;
use crate::telemetry::{Answer, Login};
use ike::SessionId;

impl<P: Plane> Gateway<P> {
    /// Whether logins that begin from now on are traced.
    pub fn trace_logins(&mut self, wanted: bool) {
        self.attempts.note_steps(wanted);
    }

    pub(super) fn trace_question(&mut self, now: Now, session: SessionId) {
        if let Some(attempt) = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt)) {
            attempt.asked(now.instant);
        }
    }

    pub(super) fn trace_answer(&mut self, now: Now, session: SessionId, answer: impl FnOnce() -> Answer) {
        if let Some(attempt) = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt)) {
            attempt.answered(now.instant, answer);
        }
    }

    /// A login is decided: it is up, has failed, or its client has gone before either.
    pub(super) fn trace_login(&mut self, now: Now, live: &Live, failure: Option<&Failure>) {
        let Some(attempt) = self.attempts.get_mut(live.attempt) else { return };
        let Some(steps) = attempt.take_steps() else { return };
        let granted = live.login.as_ref().and_then(|login| login.granted.as_ref());
        let outcome = match (failure, &live.session) {
            (Some(_), _) => "failed",
            (None, Some(_)) => "up",
            (None, None) => "ended",
        };
        let login = Login {
            attempt: attempt.id.to_string(),
            tunnel: attempt.tunnel.to_string(),
            client: attempt.client,
            gateway: attempt.gateway,
            user: attempt.user.clone(),
            policy: granted.map(|granted| granted.policy.clone()),
            server: live.login.as_ref().and_then(|login| login.server.clone()),
            stage: failure.map_or(attempt.stage, |failure| failure.stage),
            outcome,
            fault: failure.map(|failure| (explain::fault_name(failure.fault), failure.cause.clone())),
            steps,
            began: attempt.started(),
            now: (now.instant, now.wall),
        };
        self.effects.push_back(Effect::Telemetry(Box::new(login)));
    }
}
