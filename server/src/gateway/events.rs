//! What happens is told to whoever listens over the Admin API.
use super::{Gateway, Live, Now, Plane};
use crate::api::Feed;
use crate::api::types::{Counters, DataplaneStatus, Event};
use ike::SessionId;

impl<P: Plane> Gateway<P> {
    pub(super) fn listen(&mut self, feed: Feed) {
        self.listeners.push(feed);
    }

    /// Somebody listens.
    pub fn is_heard(&self) -> bool {
        !self.listeners.is_empty()
    }

    fn tell(&mut self, event: &Event) {
        self.listeners.retain(|feed| feed.send(event));
    }

    pub(super) fn tell_up(&mut self, now: Now, id: SessionId) {
        if self.is_heard()
            && let Some(session) = self.session(now, id)
        {
            self.tell(&Event::SessionUp { session: Box::new(session) });
        }
    }

    /// Before its counters are forgotten.
    pub(super) fn tell_down(&mut self, now: Now, id: SessionId, live: &Live) {
        let (true, Some(up), Some(attempt)) = (self.is_heard(), &live.session, self.attempts.get(live.attempt)) else { return };
        let traffic = self.plane.traffic(id);
        let event = Event::SessionDown {
            id: id.0,
            user: up.granted.user.clone(),
            attempt: attempt.id.to_string(),
            seconds: up.age(now.instant).as_secs(),
            octets_in: traffic.octets_in,
            octets_out: traffic.octets_out,
        };
        self.tell(&event);
    }

    pub(super) fn tell_attempt(&mut self, live: &Live) {
        if self.is_heard()
            && let Some(attempt) = self.attempts.get(live.attempt)
        {
            self.tell(&Event::Attempt { attempt: super::report::summary(attempt) });
        }
    }

    /// Once a second while [`Self::is_heard`].
    pub fn tell_counters(&mut self, now: Now, dataplane: &DataplaneStatus) {
        self.tell(&Event::Counters(self.tally(now, dataplane)));
    }

    /// Costs the same whatever the number of sessions.
    pub fn tally(&self, now: Now, dataplane: &DataplaneStatus) -> Counters {
        let (sessions, half_open) = self.occupancy();
        let (_, sessions_ikev2) = self.endpoint.sessions();
        Counters {
            at: now.wall.as_second(),
            sessions,
            sessions_ikev2: sessions_ikev2 as u64,
            sessions_sstp: self.calls_up as u64,
            half_open,
            attempts: self.totals.attempts,
            established: self.totals.established,
            failed: self.totals.failed,
            octets_in: dataplane.octets_in,
            octets_out: dataplane.octets_out,
            packets_in: dataplane.packets_in,
            packets_out: dataplane.packets_out,
            dropped: dataplane.drops.values().sum(),
        }
    }
}
