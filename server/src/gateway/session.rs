//! A session that is up, and its limits.
use super::round::Slice;
use super::{Gateway, Now, Plane, Traffic};
use crate::login::Granted;
use crate::outcome::CloseReason;
use ike::{Command, SessionId};
use policy::network::Tunnel;
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
    /// When the hours end in which its policy allows sessions.
    hours_end: Option<Instant>,
    /// Packets seen at the last idle check, and when they last changed.
    seen: u64,
    active: Instant,
    /// So many packets more are ours, sent unasked: no use of the session.
    unasked: u64,
    pub(super) books: Option<super::books::Books>,
}

impl Session {
    pub(super) fn new(now: Now, granted: Granted, inner: Vec<IpAddr>, server: Option<String>) -> Self {
        let connected_at = now.wall.as_second().unsigned_abs();
        let hours_end = instant_of(now, granted.hours_end);
        Self { granted, inner, server, since: now.instant, connected_at, hours_end, seen: 0, active: now.instant, unasked: 0, books: None }
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// When Session-Timeout is over, or the hours end in which the policy allows sessions, whichever comes first.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        let timeout = self.granted.session_timeout.and_then(|limit| self.since.checked_add(limit));
        timeout.into_iter().chain(self.hours_end).min()
    }

    /// Another policy decides about it now.
    pub(super) fn set_hours_end(&mut self, now: Now, hours_end: Option<jiff::Timestamp>) {
        self.granted.hours_end = hours_end;
        self.hours_end = instant_of(now, hours_end);
    }

    fn in_hours(&self, now: Instant) -> bool {
        self.hours_end.is_none_or(|end| now < end)
    }

    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.granted.idle_timeout
    }

    /// Takes note of the traffic so far; how long there has been none.
    fn idle_for(&mut self, now: Instant, traffic: Traffic) -> Duration {
        let packets = traffic.packets_in + traffic.packets_out;
        if !(self.seen..=self.seen.saturating_add(self.unasked)).contains(&packets) {
            (self.seen, self.unasked) = (packets, 0);
            self.active = now;
        }
        now.saturating_duration_since(self.active)
    }
}

/// When the wall clock will show `time`.
fn instant_of(now: Now, time: Option<jiff::Timestamp>) -> Option<Instant> {
    let left = time?.duration_since(now.wall);
    now.instant.checked_add(left.unsigned_abs()).filter(|_| !left.is_negative()).or(Some(now.instant))
}

impl Session {
    /// There is a Child SA again. The packet that called for it was dropped and is not counted: its sender needs time to repeat it.
    pub(super) fn wake(&mut self, now: Instant) {
        self.active = now;
    }

    /// One of our own packets is on its way that nobody asked for.
    pub(super) fn sent_unasked(&mut self) {
        self.unasked += 1;
    }
}

impl<P: Plane> Gateway<P> {
    /// Ends sessions whose Session-Timeout has passed, or whose hours are over.
    pub(super) fn end_expired(&mut self, now: Now) {
        while let Some(&(at, session)) = self.deadlines.first()
            && at <= now.instant
        {
            self.deadlines.pop_first();
            if let Some(up) = self.live.get(&session).and_then(|live| live.session.as_ref())
                && !up.in_hours(now.instant)
            {
                let text = format!("the hours end in which policy {:?} allows sessions (allowed_hours)", up.granted.policy);
                self.note(now, session, text);
            }
            self.close(now, session, CloseReason::SessionTimeout);
        }
    }

    /// Ends sessions whose Idle-Timeout has passed, and Child SAs that have been idle too long; has those rekeyed that have carried too much.
    pub(super) fn end_idle(&mut self, now: Now) {
        let Some(Slice { ids, is_last }) = self.idle_check.slice(now.instant, &self.live) else { return };
        let Idle { limited, sessions, children, worn } = self.idle(now, &ids);
        self.idle_check.looked(limited, is_last);
        for id in sessions {
            self.close(now, id, CloseReason::IdleTimeout);
        }
        for id in children {
            self.feed(now, ike::Input::Command(id, Command::DropChild));
        }
        for (session, spi_in, octets) in worn {
            self.note(now, session, format!("the Child SA with SPI {spi_in:08x} has carried {} MB, and is to be rekeyed", octets >> 20));
            // Of a collision's two Child SAs the one made last may be gone already: the one in use is meant.
            self.feed(now, ike::Input::Command(session, Command::RekeyChild));
        }
    }

    pub(super) fn idle(&mut self, now: Now, ids: &[SessionId]) -> Idle {
        let mut found = Idle::default();
        for &id in ids {
            let Some(live) = self.live.get_mut(&id) else { continue };
            let is_ike = live.tunnel == Tunnel::Ikev2;
            let (child_limit, volume) = (self.settings.child_idle.filter(|_| is_ike), self.settings.child_volume.filter(|_| is_ike));
            let is_limited = |session: &&mut Session| session.idle_timeout().or(child_limit).is_some() || volume.is_some();
            let Some(session) = live.session.as_mut().filter(is_limited) else { continue };
            found.limited = true;
            let traffic = self.plane.traffic(id);
            if let (Some(limit), Some(carried)) = (volume, &mut live.volume)
                && let Some(octets) = carried.over(limit, traffic)
            {
                found.worn.push((id, carried.spi_in, octets));
            }
            let idle_for = session.idle_for(now.instant, traffic);
            if session.idle_timeout().is_some_and(|limit| idle_for >= limit) {
                found.sessions.push(id);
            } else if live.resting_since.is_none() && child_limit.is_some_and(|limit| idle_for >= limit) {
                found.children.push(id);
            }
        }
        found
    }
}

/// Who has moved nothing for too long.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// Somebody has a limit.
    limited: bool,
    /// Idle-Timeout.
    pub sessions: Vec<SessionId>,
    /// Child SAs of these.
    pub children: Vec<SessionId>,
    /// Sessions whose Child SA with this inbound SPI has carried so many octets.
    pub worn: Vec<(SessionId, u32, u64)>,
}
