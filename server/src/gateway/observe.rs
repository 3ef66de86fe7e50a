//! The machine's events become the attempt record, the log line and the session.
use super::{Gateway, Live, Now, Plane, Session};
use crate::attempts::{Outcome, Start};
use crate::explain;
use ike::{CloseReason, Event, Failure, Fault, SessionId, Stage};
use std::net::IpAddr;

impl<P: Plane> Gateway<P> {
    pub(super) fn observe(&mut self, now: Now, session: SessionId, event: Event) {
        match event {
            Event::Started { path, .. } => self.started(now, session, path),
            Event::Established { inner, .. } => self.established(now, session, inner),
            Event::Closed(reason, failure) => self.closed(now, session, reason, failure),
            other => self.progress(now, session, other),
        }
    }

    fn started(&mut self, now: Now, session: SessionId, path: ike::Path) {
        let unix_time = now.wall.as_second().unsigned_abs();
        let start = Start { tunnel: "ikev2", client: path.remote, gateway: path.local, now: now.instant, unix_time };
        let attempt = self.attempts.start(start);
        self.totals.attempts += 1;
        let live = Live { attempt, path, nat: "none", ike_suite: None, presented: None, esp_suite: None, login: None, session: None };
        self.live.insert(session, live);
    }

    fn progress(&mut self, now: Now, session: SessionId, event: Event) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let Some(attempt) = self.attempts.get_mut(live.attempt) else { return };
        match event {
            Event::Reached(stage) => attempt.reach(now.instant, stage),
            Event::IkeProposals { offered, accepted } => {
                attempt.offer("IKE", offered);
                attempt.accepted.extend(accepted.iter().map(|proposal| format!("IKE {proposal}")));
                live.ike_suite = accepted.or(live.ike_suite.take());
            }
            Event::EspProposals { offered, accepted } => {
                attempt.offer("ESP", offered);
                attempt.accepted.extend(accepted.iter().map(|proposal| format!("ESP {proposal}")));
                live.esp_suite = accepted.or(live.esp_suite.take());
            }
            Event::Nat { ours, theirs } => {
                live.nat = nat_word(ours, theirs);
                attempt.note(now.instant, format!("NAT on the way: {}", live.nat));
            }
            Event::Identified { idi } => attempt.note(now.instant, format!("client calls itself {idi}")),
            Event::Presented { certificate, auth_method } => {
                attempt.note(now.instant, format!("gateway presents {certificate}, signed with {auth_method}"));
                live.presented = Some(certificate);
            }
            Event::Moved(path) => {
                live.path = path;
                attempt.client = path.remote;
                attempt.gateway = path.local;
                attempt.note(now.instant, format!("path {} -> {}", path.remote, path.local));
            }
            Event::Rekeyed { ike } => attempt.note(now.instant, if ike { "IKE SA rekeyed" } else { "Child SA rekeyed" }),
            Event::Note(text) => attempt.note(now.instant, text),
            Event::Started { .. } | Event::Established { .. } | Event::Closed(..) => {}
        }
    }

    fn established(&mut self, now: Now, session: SessionId, inner: Vec<IpAddr>) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let Some((granted, server)) = live.login.as_ref().and_then(|login| Some((login.granted.clone()?, login.server.clone()))) else {
            return;
        };
        let up = Session::new(now, granted, inner, server);
        if let Some(at) = up.ends_at() {
            self.deadlines.insert((at, session));
        }
        if up.idle_timeout().is_some() {
            self.idle_check.get_or_insert(now.instant + super::IDLE_CHECK);
        }
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.reach(now.instant, Stage::Up);
            attempt.outcome = Outcome::Up;
            tracing::info!(
                attempt = %attempt.id,
                user = %up.granted.user,
                client = %live.path.remote,
                policy = %up.granted.policy,
                inner = %join(&up.inner),
                ike = live.ike_suite.as_deref().unwrap_or("-"),
                esp = live.esp_suite.as_deref().unwrap_or("-"),
                nat = live.nat,
                radius = up.server.as_deref().unwrap_or("-"),
                "connected"
            );
        }
        live.session = Some(up);
        self.totals.established += 1;
        self.account_start(now, session);
    }

    fn closed(&mut self, now: Now, session: SessionId, reason: CloseReason, failure: Option<Failure>) {
        self.account_stop(now, session, reason);
        self.authority.release(&policy::pool::LeaseKey(session.0));
        let Some(live) = self.live.remove(&session) else { return };
        if live.login.is_some() {
            self.effects.push_back(super::Effect::Radius(radius_client::Input::Forget(super::conversation(session))));
        }
        if let Some(at) = live.session.as_ref().and_then(Session::ends_at) {
            self.deadlines.remove(&(at, session));
        }
        let failure = failure.map(|failure| blame(failure, &live));
        match (&failure, live.session.as_ref()) {
            (Some(failure), _) => self.log_failure(&live, failure),
            (None, Some(up)) => self.log_end(now, session, &live, up, reason),
            (None, None) => {}
        }
        self.plane.forget(session);
        self.finish(now, &live, reason, failure);
    }

    fn finish(&mut self, now: Now, live: &Live, reason: CloseReason, failure: Option<Failure>) {
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.note(now.instant, format!("ended: {}", explain::close_reason_name(reason)));
        }
        let outcome = match failure {
            Some(failure) => {
                self.totals.failed += 1;
                Outcome::Failed(failure)
            }
            None => Outcome::Ended(reason),
        };
        self.attempts.finish(live.attempt, now.instant, outcome);
    }

    fn log_failure(&self, live: &Live, failure: &Failure) {
        let Some(attempt) = self.attempts.get(live.attempt) else { return };
        tracing::info!(
            attempt = %attempt.id,
            user = attempt.user.as_deref().unwrap_or("-"),
            client = %attempt.client,
            stage = explain::stage_name(failure.stage),
            fault = explain::fault_name(failure.fault),
            notify = failure.notify.unwrap_or("-"),
            windows = explain::windows_code(failure).unwrap_or("-"),
            cause = %failure.cause,
            fix = explain::fix(failure).unwrap_or("-"),
            "login failed"
        );
    }

    fn log_end(&self, now: Now, session: SessionId, live: &Live, up: &Session, reason: CloseReason) {
        let Some(attempt) = self.attempts.get(live.attempt) else { return };
        let traffic = self.plane.traffic(session);
        tracing::info!(
            attempt = %attempt.id,
            user = %up.granted.user,
            client = %attempt.client,
            reason = explain::close_reason_name(reason),
            seconds = up.age(now.instant).as_secs(),
            octets_in = traffic.octets_in,
            octets_out = traffic.octets_out,
            "disconnected"
        );
    }
}

/// Adds what the machine cannot know: that a refusal was RADIUS's silence, or that a client gave up because RADIUS had called its
/// password wrong inside EAP.
fn blame(mut failure: Failure, live: &Live) -> Failure {
    let Some(login) = &live.login else { return blame_certificate(failure, live) };
    if login.radius_failed {
        failure.fault = Fault::Dependency;
    }
    if let (Stage::Eap, Some(words)) = (failure.stage, login.refusal_inside_eap()) {
        (failure.stage, failure.fault) = (Stage::Radius, Fault::Refused);
        failure.cause = format!("{words}; then {}", failure.cause);
    }
    failure
}

/// A client that leaves right after it was shown the gateway's certificate, before it says who it is, does not like that certificate.
fn blame_certificate(mut failure: Failure, live: &Live) -> Failure {
    let left = failure.fault == Fault::PeerIncompatible && matches!(failure.stage, Stage::IkeAuth | Stage::Eap);
    if let (true, Some(certificate)) = (left, &live.presented) {
        failure.stage = Stage::IkeAuth;
        failure.cause = format!(
            "the client refuses the gateway's certificate {certificate}: it does not trust the issuer, or the name it dialled is not in the certificate; {}",
            failure.cause
        );
    }
    failure
}

fn nat_word(ours: bool, theirs: bool) -> &'static str {
    match (ours, theirs) {
        (false, false) => "none",
        (false, true) => "client",
        (true, false) => "gateway",
        (true, true) => "both",
    }
}

/// Addresses, comma-separated.
pub(super) fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}
