//! A session's life whatever its tunnel: record, log line, books.
use super::{Gateway, Live, Now, Plane, Session};
use crate::attempts::{Outcome, Start};
use crate::explain;
use crate::outcome::{CloseReason, Failure, Stage};
use ike::{Command, SessionId};
use policy::network::Tunnel;
use std::net::IpAddr;

impl<P: Plane> Gateway<P> {
    pub(super) fn started(&mut self, now: Now, session: SessionId, tunnel: Tunnel, stage: Stage, path: ike::Path) {
        let unix_time = now.wall.as_second().unsigned_abs();
        let start = Start { tunnel, stage, client: path.remote, gateway: path.local, now: now.instant, unix_time };
        let attempt = self.attempts.start(start);
        self.totals.attempts += 1;
        let mut live = Live::new(attempt, tunnel, path);
        if tunnel == Tunnel::Ikev2 {
            live.tunnel_type = self.settings.ikev2_tunnel_type;
        }
        self.live.insert(session, live);
    }

    pub(super) fn established(&mut self, now: Now, session: SessionId, inner: Vec<IpAddr>) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let Some((granted, server)) = live.login.as_ref().and_then(|login| Some((login.granted.clone()?, login.server.clone()))) else {
            return;
        };
        let up = Session::new(now, granted, inner, server);
        if let Some(at) = up.ends_at() {
            self.deadlines.insert((at, session));
        }
        if up.idle_timeout().is_some() || (self.settings.looks_at_children() && live.tunnel == Tunnel::Ikev2) {
            self.idle_check.begin(now.instant);
        }
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.note(now.instant, format!("the client's addresses inside: {}", join(&up.inner)));
            attempt.up(now.instant);
            tracing::info!(
                attempt = %attempt.id,
                user = up.granted.user.as_str(),
                client = %live.path.remote,
                policy = %up.granted.policy,
                inner = %join(&up.inner),
                tunnel = %live.tunnel,
                ike = live.ike_suite.as_deref().unwrap_or("-"),
                esp = live.esp_suite.as_deref().unwrap_or("-"),
                tls = live.tls.as_deref().unwrap_or("-"),
                nat = live.nat,
                certificate = live.presented.as_ref().and_then(super::Presented::name).unwrap_or("-"),
                radius = up.server.as_deref().unwrap_or("-"),
                "connected"
            );
        }
        live.session = Some(up);
        let left_out = live.login.as_mut().map(|login| std::mem::take(&mut login.left_out)).unwrap_or_default();
        self.roll.file(session, Some(live));
        self.totals.established += 1;
        *self.totals.up.entry(tunnel_name(live.tunnel)).or_default() += 1;
        for older in left_out {
            self.make_way(now, older, "the same client connected again, and there is room or an address for one of them only");
        }
        for older in self.sharers(session).filter(|older| self.is_silent(*older)).collect::<Vec<_>>() {
            self.make_way(now, older, "the same client connected again, and has its addresses now");
        }
        if let Some(live) = self.live.remove(&session) {
            self.trace_login(now, &live, None);
            self.live.insert(session, live);
        }
        self.account_start(now, session);
        self.tell_up(now, session);
        // Put on the block list while the login was under way.
        if self.live.get(&session).is_some_and(|live| self.keeps_out(now, live)) {
            self.note(now, session, "put on the block list while the login was under way".into());
            self.end_soon(session, CloseReason::Operator);
        }
    }

    /// The client of this session has fallen silent. When it has been back for a while, in a newer session that has its addresses, nobody waits for it.
    pub(super) fn fell_silent(&mut self, now: Now, session: SessionId) {
        let is_up = |id: SessionId| self.live.get(&id).is_some_and(|live| live.session.is_some());
        if self.sharers(session).any(|other| other > session && is_up(other)) {
            self.make_way(now, session, "its client has its addresses in a newer session");
        }
    }

    /// Sessions that have addresses or networks of this one: of the same client, before or after it.
    pub(super) fn sharers(&self, session: SessionId) -> impl Iterator<Item = SessionId> + use<P> {
        self.authority.pools.sharers(policy::pool::LeaseKey(session.0)).into_iter().map(|key| SessionId(key.0))
    }

    fn is_silent(&self, session: SessionId) -> bool {
        self.live.get(&session).is_some_and(|live| live.silent_since.is_some())
    }

    /// Ends an older session in favour of a newer one of the same client. Its books are closed first: a server that gives addresses away must not
    /// hear of their end after their new beginning.
    fn make_way(&mut self, now: Now, older: SessionId, why: &str) {
        self.note(now, older, why.into());
        self.account_stop(now, older, CloseReason::Replaced, None);
        if self.calls.contains_key(&older) {
            return self.hang_up(now, older, CloseReason::Replaced);
        }
        self.end_soon(older, CloseReason::Replaced);
    }

    /// Ends a session whose machine is being drained: it hears of it when it has said what it is saying.
    fn end_soon(&mut self, session: SessionId, reason: CloseReason) {
        if self.calls.contains_key(&session) {
            return self.say_goodbye(session, reason);
        }
        self.commands.push_back((session, Command::Close(reason)));
    }

    pub(super) fn closed(&mut self, now: Now, session: SessionId, reason: CloseReason, failure: Option<Failure>) {
        self.account_stop(now, session, reason, failure.as_ref());
        self.log_departure(now, session);
        self.authority.release(&policy::pool::LeaseKey(session.0));
        let Some(live) = self.live.remove(&session) else { return };
        self.roll.file(session, None);
        let failure = failure.map(|failure| super::inside::explained(failure, &live));
        if live.login.is_some() {
            self.effects.push_back(super::Effect::Radius(radius_client::Input::Forget(super::conversation(session))));
        }
        if let Some(at) = live.session.as_ref().and_then(Session::ends_at) {
            self.deadlines.remove(&(at, session));
        }
        self.advertise_no_more(session, &live);
        match (&failure, live.session.as_ref()) {
            (Some(failure), _) => self.log_failure(&live, failure),
            (None, Some(up)) => self.log_end(now, session, &live, up, reason),
            (None, None) => {}
        }
        self.tell_down(now, session, &live);
        self.trace_login(now, &live, failure.as_ref());
        self.plane.forget(session);
        self.finish(now, &live, reason, failure);
        self.tell_attempt(&live);
        self.tell_when_empty();
    }

    fn finish(&mut self, now: Now, live: &Live, reason: CloseReason, failure: Option<Failure>) {
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.note(now.instant, format!("ended: {}", explain::close_reason_name(reason)));
        }
        let outcome = match failure {
            Some(failure) => {
                self.totals.failed += 1;
                let blocked = self.attempts.get(live.attempt).is_some_and(|attempt| attempt.block.is_some());
                let fault = if blocked { "blocked" } else { explain::fault_name(failure.fault) };
                let kind = (tunnel_name(live.tunnel), explain::stage_name(failure.stage), fault);
                *self.totals.failures.entry(kind).or_default() += 1;
                Outcome::Failed(failure)
            }
            None => {
                if live.session.is_some() {
                    *self.totals.ends.entry((tunnel_name(live.tunnel), explain::close_reason_name(reason))).or_default() += 1;
                }
                Outcome::Ended(reason)
            }
        };
        self.attempts.finish(live.attempt, now.instant, outcome);
    }

    fn log_failure(&self, live: &Live, failure: &Failure) {
        let Some(attempt) = self.attempts.get(live.attempt) else { return };
        tracing::info!(
            attempt = %attempt.id,
            user = attempt.user.as_deref().unwrap_or("-"),
            client = %attempt.client,
            tunnel = %live.tunnel,
            stage = explain::stage_name(failure.stage),
            fault = explain::fault_name(failure.fault),
            notify = failure.notify.unwrap_or("-"),
            reason = attempt.reason.map(|reason| reason.code()),
            windows = explain::windows_code(failure, live.tunnel).unwrap_or("-"),
            cause = %failure.cause,
            fix = explain::fix_of(attempt, failure, self.endpoint.ciphers(), &self.names).as_deref().unwrap_or("-"),
            "login failed"
        );
    }

    fn log_end(&self, now: Now, session: SessionId, live: &Live, up: &Session, reason: CloseReason) {
        let Some(attempt) = self.attempts.get(live.attempt) else { return };
        let traffic = self.plane.traffic(session);
        tracing::info!(
            attempt = %attempt.id,
            user = up.granted.user.as_str(),
            client = %attempt.client,
            reason = explain::close_reason_name(reason),
            seconds = up.age(now.instant).as_secs(),
            octets_in = traffic.octets_in,
            octets_out = traffic.octets_out,
            "disconnected"
        );
    }
}

/// The tunnel type's word in counters.
pub(super) fn tunnel_name(tunnel: Tunnel) -> &'static str {
    match tunnel {
        Tunnel::Ikev2 => "ikev2",
        Tunnel::Sstp => "sstp",
    }
}

/// Addresses, comma-separated.
pub(super) fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}
