//! The IKE machine's events become the attempt record.
use super::{Gateway, Live, Now, Plane, Presented};
use crate::outcome::{Failure, Fault, Stage};
use ike::{Event, Path, SessionId};
use policy::network::Tunnel;

impl<P: Plane> Gateway<P> {
    pub(super) fn observe(&mut self, now: Now, session: SessionId, event: Event) {
        match event {
            Event::Started { path, .. } => {
                self.started(now, session, Tunnel::Ikev2, Stage::SaInit, path);
                self.tcp_begun(now, session);
            }
            Event::Established { inner, .. } => {
                self.established(now, session, inner);
                self.tcp_known(session);
            }
            Event::Closed(reason, failure) => {
                let failure = failure.and_then(|failure| Some(blame(failure.into(), self.live.get(&session)?)));
                self.tcp_left(now, session);
                self.closed(now, session, reason, failure);
            }
            Event::Moved(path) => self.moved_to(now, session, path),
            other => self.progress(now, session, other),
        }
    }

    fn moved_to(&mut self, now: Now, session: SessionId, path: Path) {
        self.tcp_left(now, session);
        let Some(live) = self.live.get_mut(&session) else { return };
        let former = std::mem::replace(&mut live.path, path);
        let is_elsewhere = (former.local.ip(), former.remote.ip()) != (path.local.ip(), path.remote.ip());
        let is_up = live.session.is_some();
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.move_to(path.remote, path.local);
            let over = if path.connection.is_some() { " over TCP" } else { "" };
            attempt.note(now.instant, format!("path {} -> {}{over}", path.remote, path.local));
        }
        self.roll.file(session, self.live.get(&session));
        self.tcp_taken(session, path);
        if is_up {
            self.tcp_known(session);
        }
        if is_elsewhere {
            self.account_move(now, session);
        }
    }

    fn progress(&mut self, now: Now, session: SessionId, event: Event) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let Some(attempt) = self.attempts.get_mut(live.attempt) else { return };
        match event {
            Event::Reached(stage) => attempt.reach(now.instant, stage.into()),
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
            Event::Identified { idi, server_name } => {
                attempt.note(now.instant, format!("client calls itself {idi}"));
                (live.idi, live.server_name) = (Some(idi), server_name);
            }
            Event::ClientShows { subject, issuer } => attempt.client_shows(now.instant, &subject, &issuer),
            Event::Presented { certificate, auth_method, selection } => {
                let presented = Presented { subject: certificate, selection: Some(*selection) };
                presented.lines(Some(&auth_method)).into_iter().for_each(|line| attempt.note(now.instant, line));
                presented.log(attempt.id.as_str(), live.path.remote);
                live.presented = Some(presented.called_now(&self.settings.certificates));
            }
            Event::Rekeyed { ike } => {
                let (place, text) = match ike {
                    true => (&mut live.rekeyed.ike, "IKE SA rekeyed"),
                    false => (&mut live.rekeyed.child, "Child SA rekeyed"),
                };
                *place = Some(now.wall.as_second().unsigned_abs());
                attempt.note(now.instant, text);
            }
            Event::Renegotiated { ike, suite, weaker } => {
                let (place, what) = if ike { (&mut live.ike_suite, "IKE SA") } else { (&mut live.esp_suite, "Child SA") };
                attempt.note(now.instant, format!("{what} from now on: {suite}"));
                if let Some(weaker) = weaker {
                    attempt.note(now.instant, format!("{what} weaker than before: {weaker}"));
                    let user = live.session.as_ref().map_or("-", |session| session.granted.user.as_str());
                    tracing::warn!(attempt = %attempt.id, user, client = %live.path.remote, %weaker, "the {what} is weaker after its rekey");
                }
                *place = Some(suite);
            }
            Event::Resting(resting) => {
                live.resting_since = resting.then(|| now.wall.as_second().unsigned_abs());
                if resting {
                    self.plane.rest(session);
                } else {
                    live.session.iter_mut().for_each(|up| up.wake(now.instant));
                    self.advertise_missed(now, session);
                }
            }
            Event::Silent(silent) => {
                live.silent_since = silent.then(|| now.wall.as_second().unsigned_abs());
                let user = live.session.as_ref().map_or("-", |session| session.granted.user.as_str());
                let what = if silent { "client is silent" } else { "client is back" };
                tracing::info!(attempt = %attempt.id, user, client = %live.path.remote, "{what}");
                self.roll.file(session, Some(live));
                if silent {
                    self.fell_silent(now, session);
                } else {
                    self.advertise_missed(now, session);
                }
            }
            Event::Alive => self.held_answers(now, session),
            Event::Note(text) => attempt.note(now.instant, text),
            Event::Started { .. } | Event::Established { .. } | Event::Closed(..) | Event::Moved(_) => {}
        }
    }
}

/// Adds what the machine cannot know: that a refusal was RADIUS's silence, or that a client gave up because RADIUS had called its
/// password wrong inside EAP.
fn blame(mut failure: Failure, live: &Live) -> Failure {
    let Some(login) = &live.login else { return blame_certificate(failure, live) };
    if let (Fault::Refused, Some(fault)) = (failure.fault, login.fault) {
        failure.fault = fault;
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
    if let (true, Some(presented)) = (left, &live.presented) {
        failure.stage = Stage::IkeAuth;
        let remarks: String = presented.remarks().iter().map(|remark| format!(" ({remark})")).collect();
        failure.cause = format!(
            "the client refuses the gateway's certificate {}: it does not trust the issuer, or the name it dialled is not in the certificate{remarks}; {}",
            presented.subject, failure.cause
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
