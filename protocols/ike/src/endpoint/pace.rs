//! How many answers a second go to addresses that nobody has proved: they may be forged, and what is answered goes to somebody else.
use super::admission::source_of;
use crate::api::Limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Answers of one kind.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u32,
    per_source: u32,
    /// The running second.
    since: Instant,
    answers: u32,
    /// Answers of the running second by source; no more entries than answers.
    sources: HashMap<IpAddr, u32>,
}

impl Pace {
    /// `per_second` to all the world, `per_source` of them to one source (an IPv4 address or an IPv6 /64).
    pub(super) fn new(per_second: u32, per_source: u32, now: Instant) -> Self {
        Self { per_second, per_source, since: now, answers: 0, sources: HashMap::new() }
    }

    /// Whether one more may go there; counts it.
    pub(super) fn allows(&mut self, now: Instant, source: IpAddr, limits: &Limits) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.answers) = (now, 0);
            self.sources.clear();
        }
        if self.answers >= self.per_second {
            return false;
        }
        let of_source = self.sources.entry(source_of(source)).or_default();
        if *of_source >= self.per_source && !limits.is_exempt(source) {
            return false;
        }
        *of_source += 1;
        self.answers += 1;
        true
    }
}
