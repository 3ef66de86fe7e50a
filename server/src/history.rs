//! What the gateway did in the last hour and the last day, for charts: two rings of fixed size, fed with totals at a steady pace.
//!
//! A sample costs the same whatever the number of sessions. Nothing of it outlives the process: long memory is what Prometheus is for.
use crate::api::types::{Counters, HistoryPoint, HistoryReport, HistorySpan};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// From one sample to the next.
pub const PACE: Duration = Duration::from_secs(10);
/// Samples in a point of the day.
const COARSE: u32 = 30;
/// An hour of samples.
const HOUR: usize = 360;
/// A day of five minutes each.
const DAY: usize = 288;

/// The rings.
#[derive(Debug, Clone)]
pub struct History {
    hour: VecDeque<HistoryPoint>,
    day: VecDeque<HistoryPoint>,
    /// The last sample.
    before: Option<(Instant, Counters)>,
    /// The point of the day that is under way, and how many samples are in it.
    growing: Option<(HistoryPoint, u32)>,
}

impl Default for History {
    fn default() -> Self {
        Self { hour: VecDeque::with_capacity(HOUR), day: VecDeque::with_capacity(DAY), before: None, growing: None }
    }
}

impl History {
    /// Takes a sample, once every [`PACE`]. The first one is what the next is compared with.
    pub fn record(&mut self, now: Instant, totals: &Counters) {
        let Some((then, before)) = self.before.replace((now, *totals)) else { return };
        let point = difference(now.saturating_duration_since(then), &before, totals);
        push(&mut self.hour, HOUR, point);
        let (sum, samples) = match self.growing.take() {
            Some((sum, samples)) => (joined(sum, point), samples + 1),
            None => (point, 1),
        };
        match samples {
            COARSE => push(&mut self.day, DAY, sum),
            _ => self.growing = Some((sum, samples)),
        }
    }

    /// Oldest first; of the day with the five minutes that are not over.
    pub fn report(&self, span: HistorySpan) -> HistoryReport {
        let (ring, growing, step) = match span {
            HistorySpan::Hour => (&self.hour, None, PACE),
            HistorySpan::Day => (&self.day, self.growing.map(|(sum, _)| sum), PACE * COARSE),
        };
        HistoryReport { span, step_secs: step.as_secs(), points: ring.iter().copied().chain(growing).collect() }
    }
}

fn push(ring: &mut VecDeque<HistoryPoint>, capacity: usize, point: HistoryPoint) {
    if ring.len() == capacity {
        ring.pop_front();
    }
    ring.push_back(point);
}

fn difference(time: Duration, before: &Counters, now: &Counters) -> HistoryPoint {
    let whole_secs = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    HistoryPoint {
        at: now.at,
        secs: whole_secs.max(1),
        sessions_ikev2: now.sessions_ikev2,
        sessions_sstp: now.sessions_sstp,
        half_open: now.half_open,
        established: now.established.saturating_sub(before.established),
        failed: now.failed.saturating_sub(before.failed),
        octets_in: now.octets_in.saturating_sub(before.octets_in),
        octets_out: now.octets_out.saturating_sub(before.octets_out),
        dropped: now.dropped.saturating_sub(before.dropped),
    }
}

/// What happened adds up; of what stands the most counts.
fn joined(one: HistoryPoint, next: HistoryPoint) -> HistoryPoint {
    HistoryPoint {
        at: next.at,
        secs: one.secs + next.secs,
        sessions_ikev2: one.sessions_ikev2.max(next.sessions_ikev2),
        sessions_sstp: one.sessions_sstp.max(next.sessions_sstp),
        half_open: one.half_open.max(next.half_open),
        established: one.established + next.established,
        failed: one.failed + next.failed,
        octets_in: one.octets_in + next.octets_in,
        octets_out: one.octets_out + next.octets_out,
        dropped: one.dropped + next.dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(at: i64, sessions: u64, octets: u64) -> Counters {
        Counters { at, sessions_ikev2: sessions, octets_in: octets, established: octets / 10, ..Counters::default() }
    }

    /// Samples from the beginning on, 10 s apart: `octets` are the number of the sample times 100.
    fn after(samples: u64) -> History {
        let (mut history, start) = (History::default(), Instant::now());
        for number in 0..=samples {
            let at = i64::try_from(number * 10).unwrap();
            history.record(start + Duration::from_secs(number * 10), &totals(at, number % 30, number * 100));
        }
        history
    }

    #[test]
    fn the_first_sample_is_only_compared_with() {
        let history = after(0);
        assert_eq!(history.report(HistorySpan::Hour).points, []);
        assert_eq!(history.report(HistorySpan::Day).points, []);
    }

    #[test]
    fn points_tell_what_happened_in_between() {
        let report = after(2).report(HistorySpan::Hour);
        let point = |at, sessions| HistoryPoint {
            at,
            secs: 10,
            sessions_ikev2: sessions,
            octets_in: 100,
            established: 10,
            ..HistoryPoint::default()
        };
        assert_eq!((report.step_secs, report.points), (10, vec![point(10, 1), point(20, 2)]));
    }

    #[test]
    fn the_day_sums_up_and_keeps_the_most() {
        let report = after(45).report(HistorySpan::Day);
        let whole = HistoryPoint { at: 300, secs: 300, sessions_ikev2: 29, octets_in: 3_000, established: 300, ..HistoryPoint::default() };
        let growing =
            HistoryPoint { at: 450, secs: 150, sessions_ikev2: 15, octets_in: 1_500, established: 150, ..HistoryPoint::default() };
        assert_eq!((report.step_secs, report.points), (300, vec![whole, growing]));
    }

    #[test]
    fn the_oldest_go_and_nothing_grows() {
        let history = after(30 * 300);
        let (hour, day) = (history.report(HistorySpan::Hour).points, history.report(HistorySpan::Day).points);
        assert_eq!((hour.len(), day.len()), (HOUR, DAY));
        assert_eq!((hour[0].at, hour[HOUR - 1].at), (30 * 300 * 10 - 3_590, 30 * 300 * 10));
        assert_eq!((day[0].at, day[DAY - 1].at), (13 * 300, 300 * 300));
        assert_eq!((history.hour.capacity() < 2 * HOUR, history.day.capacity() < 2 * DAY), (true, true));
    }

    #[test]
    fn a_late_sample_says_how_much_time_it_is_about() {
        let (mut history, start) = (History::default(), Instant::now());
        history.record(start, &totals(0, 1, 0));
        history.record(start + Duration::from_millis(34_600), &totals(35, 1, 700));
        // A clock that was set back changes no length, and counters that begin anew count nothing.
        history.record(start + Duration::from_millis(34_700), &totals(-100, 1, 0));
        let points = history.report(HistorySpan::Hour).points;
        assert_eq!(points.iter().map(|point| (point.secs, point.octets_in)).collect::<Vec<_>>(), [(35, 700), (1, 0)]);
    }
}
