//! What is done for every session once a second: a slice of them at a time, so that a turn of the control task costs the same however many there are.
use super::Live;
use ike::SessionId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// How long a round takes.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Sessions of one slice.
pub(super) const SLICE: usize = 256;

/// Walks through all sessions again and again while there is something to look for.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// When the next slice is due; `None`: there is nothing to look for.
    at: Option<Instant>,
    /// The first slice of this round was due then.
    began: Option<Instant>,
    /// The last session of the slice before.
    after: Option<SessionId>,
    /// This round has found something to look for.
    found: bool,
}

/// Some of the sessions.
#[derive(Debug)]
pub(super) struct Slice {
    pub ids: Vec<SessionId>,
    /// The round ends with them.
    pub is_last: bool,
}

impl Round {
    /// There is something to look for.
    pub(super) fn begin(&mut self, now: Instant) {
        self.found = true;
        self.at.get_or_insert(now + PERIOD);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    /// Those whose turn it is, if it is time.
    pub(super) fn slice(&mut self, now: Instant, live: &BTreeMap<SessionId, Live>) -> Option<Slice> {
        let due = self.at.filter(|at| *at <= now)?;
        let after = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<_> = live.range((after, Bound::Unbounded)).map(|(&id, _)| id).take(SLICE).collect();
        if self.after.is_none() {
            (self.began, self.found) = (Some(due), false);
        }
        self.after = ids.last().copied();
        let is_last = self.after.is_none_or(|last| live.range((Bound::Excluded(last), Bound::Unbounded)).next().is_none());
        let slices = u32::try_from(live.len().div_ceil(SLICE)).unwrap_or(u32::MAX).max(1);
        // Whoever is late does not make up for it: the others have waited, too.
        self.at = Some(if is_last { self.began.unwrap_or(due) + PERIOD } else { due + PERIOD / slices }.max(now));
        Some(Slice { ids, is_last })
    }

    /// What the slice had: whether there was something to look for. With the last one the next round is prepared, or there is none.
    pub(super) fn looked(&mut self, found: bool, is_last: bool) {
        self.found |= found;
        if is_last {
            self.after = None;
            self.at = self.at.filter(|_| self.found);
        }
    }
}
