//! A session that is up: its limits, its accounting.
use super::{Effect, Gateway, IDLE_CHECK, Now, Plane, Traffic};
use crate::login::Granted;
use crate::outcome::CloseReason;
use ike::{Command, SessionId};
use policy::network::Tunnel;
use radius_client::{AccountingRecord, AccountingStatus, Input, RequestFailure, TerminateCause, Ticket};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A client that is connected.
#[derive(Debug)]
pub struct Session {
    pub granted: Granted,
    pub inner: Vec<IpAddr>,
    /// RADIUS server that accepted the login.
    pub server: Option<String>,
    pub since: Instant,
    /// Unix time, seconds.
    pub connected_at: u64,
    /// Packets seen at the last idle check, and when they last changed.
    seen: u64,
    active: Instant,
    /// The accounting Stop has been sent.
    stopped: bool,
}

impl Session {
    pub(super) fn new(now: Now, granted: Granted, inner: Vec<IpAddr>, server: Option<String>) -> Self {
        let connected_at = now.wall.as_second().unsigned_abs();
        Self { granted, inner, server, since: now.instant, connected_at, seen: 0, active: now.instant, stopped: false }
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// When Session-Timeout is over.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.granted.session_timeout.and_then(|limit| self.since.checked_add(limit))
    }

    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.granted.idle_timeout
    }

    /// Takes note of the traffic so far; how long there has been none.
    fn idle_for(&mut self, now: Instant, traffic: Traffic) -> Duration {
        let packets = traffic.packets_in + traffic.packets_out;
        if packets != self.seen {
            self.seen = packets;
            self.active = now;
        }
        now.saturating_duration_since(self.active)
    }
}

impl<P: Plane> Gateway<P> {
    /// Ends sessions whose Session-Timeout has passed.
    pub(super) fn end_expired(&mut self, now: Now) {
        while let Some(&(at, session)) = self.deadlines.first()
            && at <= now.instant
        {
            self.deadlines.pop_first();
            self.close(now, session, CloseReason::SessionTimeout);
        }
    }

    /// Ends sessions whose Idle-Timeout has passed, and Child SAs that have been idle too long.
    pub(super) fn end_idle(&mut self, now: Now) {
        if self.idle_check.is_none_or(|at| at > now.instant) {
            return;
        }
        let mut limited = false;
        let (mut idle, mut idle_children) = (Vec::new(), Vec::new());
        for (&id, live) in &mut self.live {
            let child_limit = self.settings.child_idle.filter(|_| live.tunnel == Tunnel::Ikev2);
            let Some(session) = live.session.as_mut().filter(|session| session.idle_timeout().or(child_limit).is_some()) else { continue };
            limited = true;
            let idle_for = session.idle_for(now.instant, self.plane.traffic(id));
            if session.idle_timeout().is_some_and(|limit| idle_for >= limit) {
                idle.push(id);
            } else if live.resting_since.is_none() && child_limit.is_some_and(|limit| idle_for >= limit) {
                idle_children.push(id);
            }
        }
        for id in idle {
            self.close(now, id, CloseReason::IdleTimeout);
        }
        for id in idle_children {
            self.feed(now, ike::Input::Command(id, Command::DropChild));
        }
        self.idle_check = limited.then(|| now.instant + IDLE_CHECK);
    }

    pub(super) fn account_start(&mut self, now: Now, session: SessionId) {
        self.account(now, session, AccountingStatus::Start, None);
    }

    pub(super) fn account_stop(&mut self, now: Now, session: SessionId, reason: CloseReason) {
        let Some(up) = self.live.get_mut(&session).and_then(|live| live.session.as_mut()) else { return };
        if !std::mem::replace(&mut up.stopped, true) {
            self.account(now, session, AccountingStatus::Stop, Some(terminate_cause(reason)));
        }
    }

    /// An accounting request was answered, or given up.
    pub fn accounted(&mut self, ticket: Ticket, outcome: Result<String, RequestFailure>) {
        self.accounting_open = self.accounting_open.saturating_sub(1);
        tracing::debug!(ticket = ticket.0, "accounting request done");
        if let Err(failure) = outcome {
            self.totals.accounting_lost += 1;
            tracing::warn!(%failure, "an accounting record was lost");
        }
    }

    fn account(&mut self, now: Now, id: SessionId, status: AccountingStatus, cause: Option<TerminateCause>) {
        if !self.settings.accounting {
            return;
        }
        let Some(session) = self.live.get(&id).and_then(|live| live.session.as_ref()) else { return };
        let traffic = self.plane.traffic(id);
        let record = AccountingRecord {
            status,
            user_name: session.granted.user.clone().into_bytes(),
            nas: self.nas_context(id),
            framed_ip: session.inner.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            }),
            framed_ipv6: session.inner.iter().find_map(|address| match address {
                IpAddr::V6(address) => Some(*address),
                IpAddr::V4(_) => None,
            }),
            class: session.granted.class.clone(),
            session_time: session.age(now.instant),
            input_octets: traffic.octets_in,
            output_octets: traffic.octets_out,
            input_packets: traffic.packets_in,
            output_packets: traffic.packets_out,
            terminate_cause: cause,
            event_timestamp: u32::try_from(now.wall.as_second()).unwrap_or(u32::MAX),
            server: session.server.clone(),
            ..AccountingRecord::default()
        };
        let group = self.route(id).and_then(|route| route.accounting.clone());
        let ticket = self.ticket();
        self.accounting_open += 1;
        self.effects.push_back(Effect::Radius(Input::Accounting { ticket, group, record: Box::new(record) }));
    }
}

/// Acct-Terminate-Cause (RFC 2866 section 5.10).
fn terminate_cause(reason: CloseReason) -> TerminateCause {
    match reason {
        CloseReason::PeerDeleted => TerminateCause::UserRequest,
        CloseReason::PeerLost => TerminateCause::LostCarrier,
        CloseReason::Operator => TerminateCause::AdminReset,
        CloseReason::IdleTimeout => TerminateCause::IdleTimeout,
        CloseReason::SessionTimeout => TerminateCause::SessionTimeout,
        CloseReason::Replaced => TerminateCause::LostCarrier,
        CloseReason::Failed => TerminateCause::NasError,
        CloseReason::Shutdown => TerminateCause::AdminReboot,
    }
}
