//! Many calls, a bounded number at a time, a thread each.

use serde::Serialize;
use sstp_client::call::Call;
use sstp_client::error::{Error, Result};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::options::Storm;
use crate::{connect, device, print};

/// Bytes of an echo request, those of its headers (IPv4 and ICMP), and how long its answer may take.
const ECHO: usize = 500;
const HEADERS: usize = 28;
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of it. Times in milliseconds, from TCP's first packet to the last network protocol.
#[derive(Debug, Default, Serialize)]
struct Report {
    count: u32,
    established: u32,
    /// From the first call's start to the last one's end.
    seconds: f64,
    calls_per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    /// Medians of authentication alone, and of TCP and TLS together.
    median_auth_ms: f64,
    median_tls_ms: f64,
    /// Cause -> how many.
    failures: BTreeMap<String, u32>,
}

#[derive(Debug, Default)]
struct Tally {
    totals: Vec<f64>,
    auths: Vec<f64>,
    handshakes: Vec<f64>,
    failures: BTreeMap<String, u32>,
    kept: Vec<Call>,
}

pub(crate) fn run(options: &Storm, json: bool) -> Result<()> {
    if options.keep && options.count > 4096 {
        return Err(Error::Setup("--keep holds at most 4096 calls".into()));
    }
    let started = Instant::now();
    let (next, tally) = (AtomicU32::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..options.parallel.min(options.count) {
            scope.spawn(|| work(options, &next, started, &tally));
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if options.hold {
        print(json, &serde_json::json!({"event": "up", "up": tally.kept.len()}), || format!("{} calls are up", tally.kept.len()))?;
        tally.kept = hold(std::mem::take(&mut tally.kept))?;
    }
    for call in &mut tally.kept {
        call.disconnect()?;
    }
    let report = report(options.count, seconds, tally);
    print(json, &report, || format!("{report:#?}"))?;
    if report.established < options.count {
        return Err(Error::Setup(format!("{} of {} calls failed", options.count - report.established, options.count)));
    }
    Ok(())
}

fn work(options: &Storm, next: &AtomicU32, started: Instant, tally: &Mutex<Tally>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= options.count {
            return;
        }
        if options.rate > 0.0 {
            let due = started + Duration::from_secs_f64(f64::from(number) / options.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let outcome = one(options, number);
        let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match outcome {
            Ok((call, kept)) => {
                tally.totals.push(call.timings.total);
                tally.auths.push(call.timings.auth);
                tally.handshakes.push(call.timings.tcp + call.timings.tls);
                tally.kept.extend(kept.then_some(call));
            }
            Err(error) => *tally.failures.entry(error.to_string()).or_default() += 1,
        }
    }
}

fn one(options: &Storm, number: u32) -> Result<(Call, bool)> {
    let mut call = Call::establish(&options.login.options(number))?;
    if let Some(target) = options.ping {
        ping(&mut call, target, 1 + (number % 8) as u16)?;
    }
    if !options.keep {
        call.disconnect()?;
    }
    Ok((call, options.keep))
}

/// Lives with the calls until standard input ends; returns those that are up then.
fn hold(calls: Vec<Call>) -> Result<Vec<Call>> {
    let (stop, _) = device::until(None)?;
    let live = |mut call: Call| connect::hold(&mut call, &stop, None).is_ok().then_some(call);
    std::thread::scope(|scope| {
        let held: Vec<_> = calls.into_iter().map(|call| scope.spawn(|| live(call))).collect();
        Ok(held.into_iter().filter_map(|call| call.join().ok().flatten()).collect())
    })
}

fn ping(call: &mut Call, target: Ipv4Addr, count: u16) -> Result<()> {
    let source = call.address().ok_or_else(|| Error::Setup("the call has no IPv4 address".into()))?;
    let answered = call.ping(source.into(), target.into(), count, ECHO - HEADERS, PATIENCE)?;
    if answered == count { Ok(()) } else { Err(Error::Setup(format!("{answered} of {count} echo replies came"))) }
}

fn report(count: u32, seconds: f64, mut tally: Tally) -> Report {
    for times in [&mut tally.totals, &mut tally.auths, &mut tally.handshakes] {
        times.sort_by(f64::total_cmp);
    }
    let established = tally.totals.len() as u32;
    Report {
        count,
        established,
        seconds,
        calls_per_second: f64::from(established) / seconds,
        median_ms: quantile(&tally.totals, 0.5),
        p99_ms: quantile(&tally.totals, 0.99),
        median_auth_ms: quantile(&tally.auths, 0.5),
        median_tls_ms: quantile(&tally.handshakes, 0.5),
        failures: tally.failures,
    }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_and_many() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[3.0], 0.99), 3.0);
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&many, 0.5), quantile(&many, 0.99)), (50.0, 99.0));
    }
}
