//! Who traces whom, and what is told of packets.
use super::{Gateway, Now, Plane};
use crate::api::{Feed, Problem, Refusal};
use crate::attempts::Outcome;
use crate::trace::{self, About, Direction, Extent, Tracer};
use ike::{Seen, SessionId, Watch};

impl<P: Plane> Gateway<P> {
    /// Where packets and decisions are told.
    pub fn tracer(&self) -> &Tracer {
        self.attempts.tracer()
    }

    /// Begins a trace; its number.
    ///
    /// # Errors
    /// There is no such attempt, or there are too many traces.
    pub fn trace(&mut self, now: Now, about: &About, extent: Extent, feed: Feed) -> Result<u64, Problem> {
        if let About::Attempt(id) = about {
            let missing = || Problem::new(Refusal::NotFound, format!("no attempt {id:?} is kept"), "`evergate attempts` lists the newest");
            let attempt = self.attempts.find(id).ok_or_else(missing)?;
            if matches!(attempt.outcome, Outcome::Ended(_) | Outcome::Failed(_)) {
                let remedy = format!("`evergate attempts show {id}` has its record");
                return Err(Problem::new(Refusal::Conflict, format!("attempt {id:?} is over"), remedy));
            }
        }
        let running = self.live.values().filter_map(|live| Some(self.attempts.get(live.attempt)?.begun()));
        self.tracer().begin((now.instant, now.wall), about.clone(), extent, feed, running)
    }

    /// What the IKE machine has to tell, as long as somebody listens.
    pub(super) fn listen_in(&mut self) {
        let tracer = self.tracer();
        let watch = match (tracer.is_on(), tracer.wants_keys()) {
            (false, _) => Watch::Off,
            (true, false) => Watch::Messages,
            (true, true) => Watch::Keys,
        };
        self.endpoint.watch(watch);
    }

    pub(super) fn seen(&self, now: Now, session: Option<SessionId>, seen: &Seen) {
        let live = session.and_then(|session| self.live.get(&session));
        let attempt = live.and_then(|live| self.attempts.get(live.attempt)).map(|attempt| attempt.id.as_str());
        let tracer = self.tracer();
        if !tracer.cares(attempt, Some(seen.path.remote)) {
            return;
        }
        tracer.tell(now.instant, attempt, trace::ike_message(seen, tracer.wants_packets(), tracer.nat_port()));
    }

    /// A packet inside the tunnel that is for the gateway itself, or from it.
    pub(super) fn inner_seen(&self, now: Now, session: SessionId, direction: Direction, packet: &[u8]) {
        let tracer = self.tracer();
        if !tracer.is_on() {
            return;
        }
        let Some(live) = self.live.get(&session) else { return };
        let attempt = self.attempts.get(live.attempt).map(|attempt| attempt.id.as_str());
        if tracer.cares(attempt, Some(live.path.remote)) {
            tracer.tell(now.instant, attempt, trace::inside_packet(packet, direction, live.path.remote, tracer.wants_packets()));
        }
    }

    /// A Disconnect- or CoA-Request that names these attempts, or the answer to it. `local`: where it was sent to; `None`: TLS is in between.
    pub fn dynamic_seen(
        &self,
        now: Now,
        attempts: &[String],
        direction: Direction,
        ends: (std::net::SocketAddr, Option<std::net::SocketAddr>),
        bytes: &[u8],
    ) {
        let tracer = self.tracer();
        for attempt in attempts.iter().filter(|attempt| tracer.cares(Some(attempt), None)) {
            let through = ends.1.map_or(trace::Ends::Tls, trace::Ends::Udp);
            if let Some(told) = trace::dynamic_packet(bytes, direction, ends.0, tracer.wants_packets().then_some(through)) {
                tracer.tell(now.instant, Some(attempt), told);
            }
        }
    }

    /// An SSTP packet that is no data.
    pub(super) fn stream_seen(&self, now: Now, session: SessionId, direction: Direction, packet: &[u8]) {
        if !self.tracer().is_on() {
            return;
        }
        let Some(live) = self.live.get(&session) else { return };
        let attempt = self.attempts.get(live.attempt).map(|attempt| attempt.id.as_str());
        let tracer = self.tracer();
        if tracer.cares(attempt, Some(live.path.remote)) {
            tracer.tell(now.instant, attempt, trace::sstp_packet(packet, direction, live.path.remote, tracer.wants_packets()));
        }
    }
}
