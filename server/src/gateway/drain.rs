//! Emptying the gateway before maintenance: nobody new comes in, and those who are in leave one after the other.
//!
//! Clients that follow redirects (RFC 5685) get one, SSTP calls are hung up; both are spread evenly over the time, so that they do not all arrive at the
//! other gateway at once. Whoever can be told nothing but goodbye stays as long as possible: until the end.
use super::{Gateway, Now, Plane};
use crate::api::types::{Done, DrainStatus};
use crate::api::{Refusal, Response};
use crate::config::gateway_identity;
use crate::outcome::CloseReason;
use ike::{GatewayIdentity, Input, SessionId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest time to empty a gateway in.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// A gateway on its way to being empty.
#[derive(Debug)]
pub(super) struct Drain {
    to: Option<GatewayIdentity>,
    /// Unix time, seconds.
    started_at: u64,
    ends_at: u64,
    /// When everybody who is left is told goodbye; `None` when that has been done.
    ends: Option<Instant>,
    /// Who is sent away before, and when the next.
    movers: VecDeque<SessionId>,
    next: Instant,
    pace: Duration,
    sent_away: u64,
    /// The log knows that nobody is left.
    told: bool,
}

impl Drain {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = (!self.movers.is_empty()).then_some(self.next);
        [next, self.ends].into_iter().flatten().min()
    }
}

impl<P: Plane> Gateway<P> {
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Begins to empty the gateway, or goes on with other settings.
    pub(super) fn start_drain(&mut self, now: Now, to: Option<&str>, within_secs: u64) -> Response {
        let within = Duration::from_secs(within_secs);
        let to = match to.map(gateway_identity).transpose() {
            Ok(to) => to,
            Err(problem) => {
                let error = format!("{:?} {problem}", to.unwrap_or_default());
                return Response::refused(Refusal::Wrong, error, "name the gateway that clients are to go to");
            }
        };
        let Some(ends) = now.instant.checked_add(within).filter(|_| within <= LONGEST) else {
            return Response::refused(Refusal::Wrong, format!("{within_secs} s is too long to empty a gateway in"), "take 7 days at most");
        };
        let started_at = now.wall.as_second().unsigned_abs();
        let movers: VecDeque<_> = self.live.keys().copied().filter(|&session| self.moves(session, to.is_some())).collect();
        let pace = u32::try_from(movers.len()).ok().and_then(|movers| within.checked_div(movers)).unwrap_or_default();
        tracing::info!(
            to = to.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            within_secs,
            sessions = self.live.len(),
            "draining"
        );
        self.drain = Some(Drain {
            to: to.clone(),
            started_at,
            ends_at: started_at + within_secs,
            ends: Some(ends),
            movers,
            next: now.instant,
            pace,
            sent_away: 0,
            told: false,
        });
        self.feed(now, Input::Drain(Some(ike::Drain { to })));
        self.drain_due(now);
        self.drain_status().map_or_else(not_draining, |status| Response::Drain(Box::new(status)))
    }

    /// New clients come in again; those who were sent away are gone.
    pub(super) fn cancel_drain(&mut self, now: Now) -> Response {
        if self.drain.take().is_none() {
            return not_draining();
        }
        tracing::info!(sessions = self.live.len(), "draining cancelled");
        self.feed(now, Input::Drain(None));
        Response::Done(Done {})
    }

    /// This session can leave before the end without its user noticing much: it is told where to go, or dials again by itself.
    fn moves(&self, session: SessionId, somewhere: bool) -> bool {
        let up = self.live.get(&session).is_some_and(|live| live.session.is_some());
        up && (self.calls.contains_key(&session) || (somewhere && self.endpoint.follows_redirects(session)))
    }

    /// Does what is due.
    pub(super) fn drain_due(&mut self, now: Now) {
        while let Some((session, to)) = self.drain.as_mut().and_then(|drain| drain.next_mover(now.instant)) {
            if self.calls.contains_key(&session) {
                self.close(now, session, CloseReason::Operator);
            } else if let Some(to) = to {
                self.feed(now, Input::Redirect { session, to });
            }
        }
        if self.drain.as_mut().is_some_and(|drain| drain.ends.take_if(|at| *at <= now.instant).is_some()) {
            let left: Vec<_> = self.live.keys().copied().collect();
            for session in left {
                self.close(now, session, CloseReason::Operator);
            }
        }
        self.tell_when_empty();
    }

    /// The log says once that maintenance may begin.
    pub(super) fn tell_when_empty(&mut self) {
        let empty = self.live.is_empty();
        if let Some(drain) = self.drain.as_mut().filter(|drain| empty && !drain.told) {
            drain.told = true;
            tracing::info!("drained: no session is left");
        }
    }

    pub(super) fn drain_status(&self) -> Option<DrainStatus> {
        let drain = self.drain.as_ref()?;
        Some(DrainStatus {
            to: drain.to.as_ref().map(ToString::to_string),
            started_at: drain.started_at,
            ends_at: drain.ends_at,
            sent_away: drain.sent_away,
            left: u64::try_from(self.live.len()).unwrap_or(u64::MAX),
        })
    }
}

impl Drain {
    fn next_mover(&mut self, now: Instant) -> Option<(SessionId, Option<GatewayIdentity>)> {
        if self.next > now {
            return None;
        }
        let session = self.movers.pop_front()?;
        self.next += self.pace;
        self.sent_away += 1;
        Some((session, self.to.clone()))
    }
}

fn not_draining() -> Response {
    Response::refused(Refusal::Conflict, "the gateway is not being emptied", "there is nothing to do; `evergate status` would show it")
}
