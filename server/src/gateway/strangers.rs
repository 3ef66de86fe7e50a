//! Clients that came to no attempt: a line of the log, and what is told to who asks by their address.
use super::Now;
use ike::Stranger;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses remembered, the newest of them; anybody can forge one.
const KEPT: usize = 64;
/// The same of the same address makes another line after this.
const AGAIN: Duration = Duration::from_secs(60);

/// Somebody without an attempt.
#[derive(Debug, Clone)]
pub(super) struct Met {
    from: IpAddr,
    what: Stranger,
    /// Unix time, seconds.
    pub(super) at: u64,
    logged: Instant,
}

impl Met {
    /// Of an IKE SA that is not known here.
    pub(super) fn is_astray(&self) -> bool {
        matches!(self.what, Stranger::UnknownSpi { .. })
    }

    /// What happened, as the log has it.
    pub(super) fn words(&self) -> String {
        words(self.from, self.what)
    }

    pub(super) fn remedy(&self) -> String {
        match self.what {
            Stranger::Version(1) => "set the connection's type to IKEv2 (`evergate explain 787`)".into(),
            Stranger::Version(_) => "it is no VPN client that this gateway knows".into(),
            Stranger::UnknownSpi { .. } => "a client of before a restart of this gateway comes again by itself; where a balancer stands before several gateways, it sends this client's UDP 500 and 4500 to different ones: give it affinity by source address over both ports".into(),
            Stranger::HalfOpenOfSource(_) => format!("if it is a balancer or translator: exempt = [\"{}\"] in [limits], then `evergate reload`", self.from),
            Stranger::HalfOpen(_) => "is it an attack? `evergate status` counts cookies_sent; else raise limits.half_open_max".into(),
            Stranger::Sessions(_) => "raise server.max_sessions, or end stale sessions (`evergate sessions disconnect`)".into(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// The newest last, each address once for each kind.
    met: VecDeque<Met>,
}

impl Strangers {
    /// Remembers somebody, and says so in the log.
    pub(super) fn meet(&mut self, now: Now, from: IpAddr, what: Stranger) {
        let from = from.to_canonical();
        let is_same = |met: &Met| met.from == from && std::mem::discriminant(&met.what) == std::mem::discriminant(&what);
        let before = self.met.iter().position(is_same).and_then(|at| self.met.remove(at));
        let quiet = before.filter(|met| now.instant.saturating_duration_since(met.logged) < AGAIN);
        let logged = quiet.as_ref().map_or(now.instant, |met| met.logged);
        let met = Met { from, what, at: now.wall.as_second().unsigned_abs(), logged };
        if quiet.is_none() {
            tracing::warn!(client = %from, "{}", met.words());
        }
        if self.met.len() == KEPT {
            self.met.pop_front();
        }
        self.met.push_back(met);
    }

    /// What is remembered of an address, the newest last.
    pub(super) fn of(&self, from: IpAddr) -> impl DoubleEndedIterator<Item = &Met> {
        let from = from.to_canonical();
        self.met.iter().filter(move |met| met.from == from)
    }
}

fn words(from: IpAddr, what: Stranger) -> String {
    match what {
        Stranger::Version(1) => {
            format!("IKEv1 packet from {from}: this server speaks IKEv2; profile type is L2TP? set it to IKEv2")
        }
        Stranger::Version(major) => format!("packet of IKE version {major} from {from}: this server speaks version 2"),
        Stranger::UnknownSpi { answered: true } => format!("unknown SPI from {from} since restart: INVALID_IKE_SPI sent"),
        Stranger::UnknownSpi { answered: false } => format!("unknown SPI from {from} since restart: not answered, as there are too many"),
        Stranger::HalfOpenOfSource(count) => {
            format!("half-open limit for {from} reached ({count} unauthenticated); exempt balancer CIDR?")
        }
        Stranger::HalfOpen(count) => format!("half-open limit of this gateway reached ({count} unauthenticated): {from} is not let in"),
        Stranger::Sessions(count) => format!("session limit of this gateway reached ({count} sessions): {from} is not let in"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_kept_once_for_each_kind_and_the_oldest_go() {
        let now = |seconds| Now {
            instant: Instant::now() + Duration::from_secs(seconds),
            wall: jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap(),
        };
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut strangers = Strangers::default();
        strangers.meet(now(1), address(1), Stranger::Version(1));
        strangers.meet(now(2), address(1), Stranger::HalfOpenOfSource(4));
        strangers.meet(now(3), "::ffff:192.0.2.1".parse().unwrap(), Stranger::HalfOpenOfSource(5));
        let met: Vec<_> = strangers.of(address(1)).map(|met| (met.at, met.words())).collect();
        assert_eq!(met[1], (3, "half-open limit for 192.0.2.1 reached (5 unauthenticated); exempt balancer CIDR?".into()));
        assert_eq!((met.len(), met[0].0), (2, 1));
        assert!(strangers.of(address(1)).next_back().unwrap().remedy().contains("exempt = [\"192.0.2.1\"]"));
        for last in 0..100 {
            strangers.meet(now(10), address(100 + last), Stranger::UnknownSpi { answered: true });
        }
        assert_eq!((strangers.met.len(), strangers.of(address(1)).count()), (KEPT, 0));
    }
}
