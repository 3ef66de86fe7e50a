//! What packet threads notice of a Child SA for control: its sequence numbers come to an end, its peer sends from elsewhere. Both are looked
//! at once for a run of packets. That there are packets for a session whose Child SA is gone. And, for themselves, that a peer has a new Child SA.
use super::stats::Uptime;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Sequence numbers without ESN.
const SPACE: u64 = 1 << 32;

/// How often control is told on the way from the first report to the last number: the peer may have refused a rekey.
const REPORTS: u64 = 16;

/// Between two reports of one peer: a move is settled before the next, and packets that were on their way from the old address do not undo it.
const PACE_MILLIS: u64 = 1_000;

/// Before an address that control did not want is reported again.
const REFUSED_MILLIS: u64 = 10_000;

/// How far a Child SA's sequence numbers are used up (RFC 4303 section 3.3.3), whichever direction is ahead.
#[derive(Debug)]
pub(crate) struct Wear {
    /// The sequence number that is reported next.
    next: AtomicU64,
    step: u64,
}

impl Wear {
    /// `from`: first sequence number that is reported. With ESN there are more than anybody can send.
    pub(crate) fn new(from: u64, esn: bool) -> Self {
        let next = if esn { u64::MAX } else { from };
        Self { next: AtomicU64::new(next), step: (SPACE.saturating_sub(from) / REPORTS).max(1) }
    }

    /// Packets up to `sequence` have passed. `tell` returns false when control has no room: then it is told with the next packets.
    pub(crate) fn reached(&self, sequence: u64, tell: impl FnOnce() -> bool) {
        let next = self.next.load(Ordering::Relaxed);
        if sequence >= next {
            self.report(sequence, next, tell);
        }
    }

    #[cold]
    fn report(&self, sequence: u64, next: u64, tell: impl FnOnce() -> bool) {
        let taken = self.next.compare_exchange(next, sequence.saturating_add(self.step), Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() && !tell() {
            self.next.store(next, Ordering::Relaxed);
        }
    }
}

/// A client that authenticates anew is quicker, unless it learns of its new session by a repeated response.
const TRIAL_MILLIS: u64 = 5_000;

/// Whether the peer of a Child SA may not have it yet.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// Milliseconds of [`Uptime`]; 0: it is over.
    until: AtomicU64,
}

impl Trial {
    pub(crate) fn begin(now: Uptime) -> Self {
        Self { until: AtomicU64::new(now.millis() + TRIAL_MILLIS) }
    }

    /// The peer has it. All threads know at once.
    pub(crate) fn end(&self) {
        // Written once: the line is read for every packet.
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn goes_on(&self, now: Uptime) -> bool {
        now.millis() < self.until.load(Ordering::Relaxed)
    }
}

/// Reports of packets for a session without Child SA.
#[derive(Debug, Default)]
pub(crate) struct Demand(AtomicU64);

impl Demand {
    /// A packet is there. `tell` returns false when control has no room: then it is told with the next packet.
    pub(crate) fn seen(&self, now: Uptime, tell: impl FnOnce() -> bool) {
        let next = self.0.load(Ordering::Relaxed);
        if now.millis() < next {
            return;
        }
        let taken = self.0.compare_exchange(next, now.millis() + PACE_MILLIS, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() && !tell() {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

/// Reports of a peer that sends from another address than it is sent to.
#[derive(Debug, Default)]
pub(crate) struct Movement(Mutex<Option<Sighting>>);

#[derive(Debug, Clone, Copy)]
struct Sighting {
    remote: SocketAddr,
    at: Uptime,
}

impl Movement {
    /// Control sends to `remote` from now on.
    pub(crate) fn settle(&self, remote: SocketAddr, now: Uptime) {
        *self.last() = Some(Sighting { remote, at: now });
    }

    /// The newest packet, verified, came from `remote`, which is not where the session is. `tell` returns false when control has no room.
    #[cold]
    pub(crate) fn seen(&self, remote: SocketAddr, now: Uptime, tell: impl FnOnce() -> bool) {
        let mut last = self.last();
        let pause = |last: Sighting| if last.remote == remote { REFUSED_MILLIS } else { PACE_MILLIS };
        if last.is_none_or(|last| now.millis() >= last.at.millis().saturating_add(pause(last))) && tell() {
            *last = Some(Sighting { remote, at: now });
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Sighting>> {
        // Written in one piece.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wear_is_reported_once_and_again_while_nobody_rekeys() {
        let wear = Wear::new(1_000, false);
        let told = |sequence| {
            let mut told = false;
            wear.reached(sequence, || std::mem::replace(&mut told, true) | true);
            told
        };
        assert!(!told(999) && told(1_003) && !told(1_004) && !told(1_000_000));
        let reports = (1..=SPACE).step_by(1 << 20).filter(|sequence| told(*sequence)).count();
        assert!((14..=16).contains(&reports), "{reports}");
    }

    #[test]
    fn a_report_without_room_is_made_later() {
        let wear = Wear::new(5, false);
        wear.reached(5, || false);
        let mut told = 0;
        (6..9).for_each(|sequence| {
            wear.reached(sequence, || {
                told += 1;
                true
            });
        });
        assert_eq!(told, 1);
    }

    #[test]
    fn demand_is_told_once_a_second() {
        let demand = Demand::default();
        let told = |millis, room| {
            let mut told = false;
            demand.seen(Uptime::from_millis(millis), || {
                told = true;
                room
            });
            told
        };
        assert!(told(5, false) && told(5, true) && !told(6, true) && !told(1_004, true) && told(1_005, true));
    }

    #[test]
    fn a_trial_ends_when_told_or_after_a_while() {
        let trial = Trial::begin(Uptime::from_millis(1_000));
        let goes_on = |millis| trial.goes_on(Uptime::from_millis(millis));
        assert!(goes_on(1_000) && goes_on(5_999) && !goes_on(6_000));
        trial.end();
        assert!(!goes_on(1_000) && !Trial::default().goes_on(Uptime::from_millis(0)));
    }

    #[test]
    fn extended_sequence_numbers_do_not_wear() {
        Wear::new(5, true).reached(u64::MAX - 1, || panic!("reported"));
    }

    #[test]
    fn a_move_is_reported_once_and_others_not_at_once() {
        let movement = Movement::default();
        let seen = |port: u16, millis: u64| {
            let mut told = false;
            movement.seen(([192, 0, 2, 1], port).into(), Uptime::from_millis(millis), || std::mem::replace(&mut told, true) | true);
            told
        };
        movement.seen(([192, 0, 2, 1], 1).into(), Uptime::from_millis(0), || false);
        assert!(seen(1, 5), "nobody had room before");
        assert!(!seen(1, 6) && !seen(2, 7) && !seen(1, 5_000));
        assert!(seen(2, 5_001) && !seen(2, 15_000) && seen(2, 15_001), "control did not want it: again after a while");
        movement.settle(([192, 0, 2, 1], 3).into(), Uptime::from_millis(20_000));
        assert!(!seen(2, 20_500), "it was on its way");
        assert!(seen(2, 21_000));
    }
}
