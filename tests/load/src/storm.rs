//! Many logins, a bounded number at a time.

use anyhow::Context as _;
use ike::SessionId;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::driver::{Driver, Effect};
use crate::options::{self, NAT_PORT, Profile};
use crate::print_line;
use crate::sockets::Port;

/// How long the DELETEs at the end may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// What came of it. Times in milliseconds, from the first message to the first Child SA.
#[derive(Debug, Serialize)]
struct Report {
    count: u32,
    established: u32,
    /// From the first login's start to the last login's end.
    seconds: f64,
    logins_per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    /// Cause -> how many.
    failures: BTreeMap<String, u32>,
}

struct Storm<'a> {
    options: &'a options::Storm,
    profile: Profile,
    driver: Driver,
    ike: Port,
    nat: Port,
    /// Logins under way, by number.
    running: HashMap<u32, Instant>,
    /// Sessions that are up or being closed.
    open: HashMap<SessionId, u32>,
    next: u32,
    took: Vec<Duration>,
    failures: BTreeMap<String, u32>,
}

pub(crate) async fn run(options: &options::Storm) -> anyhow::Result<()> {
    let profile = Profile::load(&options.login, true)?;
    let local = profile.bind_to();
    let mut storm = Storm {
        options,
        ike: Port::ike(local).with_context(|| format!("cannot bind udp {local}:500"))?,
        nat: Port::nat(local).with_context(|| format!("cannot bind udp {local}:4500"))?,
        profile,
        driver: Driver::new(Instant::now()),
        running: HashMap::new(),
        open: HashMap::new(),
        next: 0,
        took: Vec::new(),
        failures: BTreeMap::new(),
    };
    let report = storm.run().await?;
    storm.say_goodbye().await?;
    print_line(&if options.login.json { serde_json::to_string(&report)? } else { text(&report) })
}

impl Storm<'_> {
    async fn run(&mut self) -> anyhow::Result<Report> {
        let started = Instant::now();
        self.start_more(started);
        while !self.running.is_empty() {
            self.turn(None).await?;
            self.give_up_late_ones();
            self.start_more(Instant::now());
        }
        Ok(self.report(started.elapsed()))
    }

    fn start_more(&mut self, now: Instant) {
        while self.next < self.options.count && self.running.len() < self.options.parallel as usize {
            self.running.insert(self.next, now);
            self.driver.connect(now, &self.profile, self.next);
            self.next += 1;
            self.perform();
        }
    }

    /// Waits for one thing to happen, at most until `limit`, and handles it.
    async fn turn(&mut self, limit: Option<Instant>) -> anyhow::Result<()> {
        let tick = Instant::now() + Duration::from_secs(1);
        let deadline = [self.driver.poll_timeout(), limit, Some(tick)].into_iter().flatten().min().unwrap_or(tick);
        tokio::select! {
            received = self.ike.recv() => {
                let (path, message) = received?;
                self.driver.datagram(Instant::now(), path, message);
            }
            received = self.nat.recv() => {
                let (path, message) = received?;
                self.driver.datagram(Instant::now(), path, message);
            }
            () = tokio::time::sleep_until(deadline.into()) => self.driver.timeout(Instant::now()),
        }
        self.perform();
        Ok(())
    }

    fn perform(&mut self) {
        while let Some(effect) = self.driver.poll_effect() {
            match effect {
                Effect::Transmit { path, message } if path.local.port() == NAT_PORT => self.nat.send(path, &message),
                Effect::Transmit { path, message } => self.ike.send(path, &message),
                Effect::Up { session, number, .. } => self.up(session, number),
                Effect::Closed { session, number, cause } => self.closed(session, number, cause),
                // There is no data plane.
                Effect::Install(_)
                | Effect::UseOutbound { .. }
                | Effect::Remove { .. }
                | Effect::Repath { .. }
                | Effect::Rekeyed { .. } => {}
            }
        }
    }

    fn up(&mut self, session: SessionId, number: u32) {
        // A login that came up after its time has been counted as failed.
        if let Some(started) = self.running.remove(&number) {
            self.took.push(started.elapsed());
        }
        self.open.insert(session, number);
        if !self.options.keep {
            self.driver.close(Instant::now(), session);
        }
    }

    fn closed(&mut self, session: SessionId, number: u32, cause: String) {
        self.open.remove(&session);
        if self.running.remove(&number).is_some() {
            self.fail(cause);
        }
    }

    fn give_up_late_ones(&mut self) {
        let limit = Duration::from_secs(self.options.timeout);
        let late: Vec<u32> = self.running.iter().filter(|(_, started)| started.elapsed() > limit).map(|(number, _)| *number).collect();
        for number in late {
            self.running.remove(&number);
            self.fail(format!("not up after {} s", self.options.timeout));
        }
    }

    fn fail(&mut self, cause: String) {
        *self.failures.entry(cause).or_default() += 1;
    }

    /// DELETEs for what is still up, answers awaited for a while.
    async fn say_goodbye(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + GOODBYE;
        if self.options.keep {
            let sessions: Vec<SessionId> = self.open.keys().copied().collect();
            for session in sessions {
                self.driver.close(Instant::now(), session);
                self.perform();
            }
        }
        while !self.open.is_empty() && Instant::now() < limit {
            self.turn(Some(limit)).await?;
        }
        Ok(())
    }

    fn report(&mut self, elapsed: Duration) -> Report {
        self.took.sort_unstable();
        let established = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        let seconds = elapsed.as_secs_f64();
        Report {
            count: self.options.count,
            established,
            seconds,
            logins_per_second: f64::from(established) / seconds,
            median_ms: percentile(&self.took, 50),
            p99_ms: percentile(&self.took, 99),
            failures: std::mem::take(&mut self.failures),
        }
    }
}

/// Of sorted times, in milliseconds; 0 when there are none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} of {} logins in {:.2} s: {:.1}/s, median {:.1} ms, p99 {:.1} ms",
        report.established, report.count, report.seconds, report.logins_per_second, report.median_ms, report.p99_ms
    );
    for (cause, count) in &report.failures {
        text.push_str(&format!("\n{count} failed: {cause}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (100.0, 198.0));
        assert_eq!(percentile(&times[..1], 99), 1.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn the_report_names_every_cause() {
        let failures = BTreeMap::from([("AUTHENTICATION_FAILED".to_owned(), 2), ("not up after 30 s".to_owned(), 1)]);
        let report = Report { count: 5, established: 2, seconds: 1.0, logins_per_second: 2.0, median_ms: 3.0, p99_ms: 4.0, failures };
        let lines: Vec<String> = text(&report).lines().map(str::to_owned).collect();
        assert_eq!(lines[1..], ["2 failed: AUTHENTICATION_FAILED", "1 failed: not up after 30 s"]);
    }
}
