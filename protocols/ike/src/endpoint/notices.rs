//! What came of those who began no session, for the operator: a word now and then, while the counters have them all.
use super::pace::Pace;
use super::shared::Shared;
use crate::api::{Limits, Output, Stranger};
use std::net::IpAddr;
use std::time::Instant;

/// Of one kind, to all the world and to one source (an IPv4 address or an IPv6 /64): addresses may be forged, and each makes a line of a log.
const PER_SECOND: u32 = 2;
const PER_SOURCE: u32 = 1;

#[derive(Debug)]
pub(super) struct Notices {
    version: Pace,
    unknown_spi: Pace,
    half_open: Pace,
}

impl Notices {
    pub(super) fn new(now: Instant) -> Self {
        let pace = || Pace::new(PER_SECOND, PER_SOURCE, now);
        Self { version: pace(), unknown_spi: pace(), half_open: pace() }
    }

    fn of(&mut self, what: Stranger) -> &mut Pace {
        match what {
            Stranger::Version(_) => &mut self.version,
            Stranger::UnknownSpi { .. } => &mut self.unknown_spi,
            Stranger::HalfOpenOfSource(_) | Stranger::HalfOpen(_) | Stranger::Sessions(_) => &mut self.half_open,
        }
    }
}

impl Shared {
    /// Tells of somebody without a session, unless much was told of such already.
    pub(super) fn tell_of(&mut self, from: IpAddr, limits: &Limits, what: Stranger) {
        if self.notices.of(what).allows(self.now, from, limits) {
            self.out.push_back(Output::Stranger { from, what });
        }
    }
}
