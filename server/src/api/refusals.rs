//! Callers who are turned away: counted for monitoring, and told in the log now and then, so that neither guesses of tokens nor a forgotten client go
//! unnoticed, nor fill the log.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// 401: nobody knows who calls.
    Unknown,
    /// 403: the caller may not do that.
    Forbidden,
    /// No TLS connection came about: a certificate that is not believed, above all.
    Tls,
    /// There is no place for it.
    Full,
    /// What a caller proved itself with is no longer good.
    Revoked,
}

const REASONS: [(Reason, &str); 5] = [
    (Reason::Unknown, "unknown"),
    (Reason::Forbidden, "forbidden"),
    (Reason::Tls, "tls"),
    (Reason::Full, "full"),
    (Reason::Revoked, "revoked"),
];

/// Between two lines of the log.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts all of them.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [AtomicU64; REASONS.len()],
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// One more. `cause` says why, without what the caller presented.
    pub(super) fn count(&self, reason: Reason, from: Option<SocketAddr>, cause: &str) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        let Some(untold) = self.told.lock().unwrap_or_else(PoisonError::into_inner).turn(Instant::now()) else { return };
        let from = from.map_or_else(|| "-".to_owned(), |from| from.ip().to_canonical().to_string());
        let cause: String = cause.chars().filter(|c| !c.is_control()).take(300).collect();
        let reason = REASONS[reason as usize].1;
        tracing::warn!(%from, %reason, %cause, untold, "API: a caller is turned away");
    }

    /// By reason.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        REASONS.iter().zip(&self.counts).map(|((_, name), count)| (*name, count.load(Ordering::Relaxed))).collect()
    }
}

impl Told {
    /// How many were not told since the last line, if it is time for another.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.since += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_the_log_has_a_pause() {
        assert!(REASONS.iter().enumerate().all(|(index, (reason, _))| *reason as usize == index));
        let refusals = Refusals::default();
        refusals.count(Reason::Forbidden, None, "");
        refusals.count(Reason::Forbidden, None, "");
        assert_eq!(refusals.named()[1], ("forbidden", 2));
        let (mut told, start) = (Told::default(), Instant::now());
        let mut at = |seconds| told.turn(start + Duration::from_secs(seconds));
        assert_eq!((at(0), at(1), at(9), at(10), at(21)), (Some(0), None, None, Some(2), Some(0)));
    }
}
