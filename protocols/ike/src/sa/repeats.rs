//! How often one request is answered again. An honest peer sends it a few times; whoever recorded it sends it as often as they like, from where they
//! like, and must neither get answers without end nor use up those of the peer.
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Repeated answers to one address at once, or to all others in sum.
pub(super) const AT_ONCE: u32 = 10;

/// After those, one in this time goes to where the request came from: the peer is there, whoever repeats its requests.
pub(super) const THEN_EVERY: Duration = Duration::from_millis(500);

/// Of one request.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// Where it came from.
    home: SocketAddr,
    left_home: u32,
    /// When the last of those was earned.
    earned: Instant,
    left_elsewhere: u32,
}

impl Repeats {
    /// Of a request that came from `home` and is answered now.
    pub(crate) fn new(home: SocketAddr, now: Instant) -> Self {
        Self { home, left_home: AT_ONCE, earned: now, left_elsewhere: AT_ONCE }
    }

    pub(crate) fn home(&self) -> SocketAddr {
        self.home
    }

    /// Whether one more answer goes to this address; counts it.
    pub(crate) fn allows(&mut self, now: Instant, remote: SocketAddr) -> bool {
        let left = if remote == self.home {
            self.earn(now);
            &mut self.left_home
        } else {
            &mut self.left_elsewhere
        };
        let Some(less) = left.checked_sub(1) else { return false };
        *left = less;
        true
    }

    fn earn(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.earned).as_millis() / THEN_EVERY.as_millis();
        let Some(periods) = u32::try_from(periods).ok().filter(|periods| *periods < AT_ONCE) else {
            (self.left_home, self.earned) = (AT_ONCE, now);
            return;
        };
        self.left_home = (self.left_home + periods).min(AT_ONCE);
        self.earned += THEN_EVERY * periods;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "there is no other way to some first instant")]
mod tests {
    use super::*;

    #[test]
    fn others_do_not_use_up_what_is_the_peers() {
        let (home, other) = ("192.0.2.7:4500".parse().unwrap(), "192.0.2.7:4501".parse().unwrap());
        let start = Instant::now();
        let mut repeats = Repeats::new(home, start);
        let others = (0..1000).filter(|ms| repeats.allows(start + Duration::from_millis(*ms), other)).count();
        assert_eq!(others, 10);
        let later = start + Duration::from_secs(1000);
        assert!(!repeats.allows(later, other), "in sum");
        // Somebody sends it from the peer's own address, without pause.
        let answered: Vec<_> = (0..60_000).filter(|ms| repeats.allows(later + Duration::from_millis(*ms), home)).collect();
        assert_eq!(answered[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(answered[10..].windows(2).all(|pair| pair[1] - pair[0] == 500) && answered.len() == 10 + 119, "{answered:?}");
        assert!(repeats.allows(later + Duration::from_secs(61), home));
    }
}
