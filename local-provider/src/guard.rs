//! Who may guess how often.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Entries of each table; more than that push out the oldest.
const MAX_ENTRIES: usize = 4096;

/// How many more wrong passwords one user may have from everywhere, and one source for all users, than one user from one source.
const WIDER: u32 = 10;

/// Wrong passwords after which nobody is listened to for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lockout {
    /// Wrong passwords of one user from one source; ten times as many of one user in all, and of one source in all. 0: no bound.
    pub failures: u32,
    /// From the first wrong password until all are forgotten.
    pub time: Duration,
}

/// Somebody who is not listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// As the client gave it, in lower case and whether or not there is such a user; `None`: every user from this source.
    pub user: Option<String>,
    /// IPv4 address, or the first address of an IPv6 /64; `None`: from everywhere.
    pub source: Option<String>,
    pub until: Instant,
}

/// Counts wrong passwords. Names that do not exist count too, so that a lock tells nothing about them.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    of_user_and_source: Table<(String, String)>,
    of_user: Table<String>,
    of_source: Table<String>,
}

impl Guard {
    /// How much longer this user is not listened to from there.
    pub(crate) fn locked(&self, now: Instant, lockout: Lockout, user: &str, source: &str) -> Option<Duration> {
        if lockout.failures == 0 {
            return None;
        }
        let source = network(source);
        let wide = lockout.failures.saturating_mul(WIDER);
        self.of_user_and_source
            .rest(now, lockout.time, &(user.to_owned(), source.clone()), lockout.failures)
            .or_else(|| self.of_user.rest(now, lockout.time, &user.to_owned(), wide))
            .or_else(|| self.of_source.rest(now, lockout.time, &source, wide))
    }

    pub(crate) fn failed(&mut self, now: Instant, lockout: Lockout, user: &str, source: &str) {
        if lockout.failures == 0 {
            return;
        }
        let source = network(source);
        self.of_user_and_source.count(now, lockout.time, (user.to_owned(), source.clone()));
        self.of_user.count(now, lockout.time, user.to_owned());
        self.of_source.count(now, lockout.time, source);
    }

    /// Whom nobody listens to now; those for longest first.
    pub(crate) fn locks(&self, now: Instant, lockout: Lockout) -> Vec<Locked> {
        if lockout.failures == 0 {
            return Vec::new();
        }
        let wide = lockout.failures.saturating_mul(WIDER);
        let of_both = self.of_user_and_source.locked(now, lockout.time, lockout.failures);
        let of_user = self.of_user.locked(now, lockout.time, wide);
        let of_source = self.of_source.locked(now, lockout.time, wide);
        let mut found: Vec<_> = of_both
            .map(|((user, source), until)| Locked { user: Some(user.clone()), source: Some(source.clone()), until })
            .chain(of_user.map(|(user, until)| Locked { user: Some(user.clone()), source: None, until }))
            .chain(of_source.map(|(source, until)| Locked { user: None, source: Some(source.clone()), until }))
            .collect();
        found.sort_by_key(|locked| std::cmp::Reverse(locked.until));
        found
    }

    /// The right password: this user is no guesser there.
    pub(crate) fn succeeded(&mut self, user: &str, source: &str) {
        self.of_user_and_source.entries.remove(&(user.to_owned(), network(source)));
    }
}

/// An IPv6 site has a whole /64 to guess from.
fn network(source: &str) -> String {
    match source.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        Ok(address) => address.to_string(),
        Err(_) => String::new(),
    }
}

#[derive(Debug)]
struct Table<K> {
    entries: BTreeMap<K, Entry>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Entry {
    failures: u32,
    since: Instant,
}

impl<K: Ord + Clone> Table<K> {
    fn rest(&self, now: Instant, time: Duration, key: &K, limit: u32) -> Option<Duration> {
        let entry = self.entries.get(key).filter(|entry| entry.failures >= limit)?;
        (entry.since + time).checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn locked(&self, now: Instant, time: Duration, limit: u32) -> impl Iterator<Item = (&K, Instant)> {
        let locked = self.entries.iter().filter(move |(_, entry)| entry.failures >= limit);
        locked.map(move |(key, entry)| (key, entry.since + time)).filter(move |(_, until)| *until > now)
    }

    fn count(&mut self, now: Instant, time: Duration, key: K) {
        if !self.entries.contains_key(&key) && self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, entry| now < entry.since + time);
            while self.entries.len() >= MAX_ENTRIES {
                let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.since).map(|(key, _)| key.clone());
                oldest.and_then(|key| self.entries.remove(&key));
            }
        }
        let entry = self.entries.entry(key).or_insert(Entry { failures: 0, since: now });
        if now >= entry.since + time {
            *entry = Entry { failures: 0, since: now };
        }
        entry.failures += 1;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const LOCKOUT: Lockout = Lockout { failures: 3, time: Duration::from_secs(60) };

    fn fail(guard: &mut Guard, now: Instant, user: &str, source: &str, times: u32) {
        (0..times).for_each(|_| guard.failed(now, LOCKOUT, user, source));
    }

    #[test]
    fn a_guesser_is_shut_out_for_a_while() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        fail(&mut guard, start, "alice", "192.0.2.1", 2);
        assert_eq!(guard.locked(start, LOCKOUT, "alice", "192.0.2.1"), None);
        fail(&mut guard, start + Duration::from_secs(20), "alice", "::ffff:192.0.2.1", 1);
        let now = start + Duration::from_secs(30);
        assert_eq!(guard.locked(now, LOCKOUT, "alice", "192.0.2.1"), Some(Duration::from_secs(30)));
        assert_eq!(guard.locked(now, LOCKOUT, "alice", "192.0.2.2"), None, "the user herself, elsewhere");
        assert_eq!(guard.locked(now, LOCKOUT, "bob", "192.0.2.1"), None);
        assert_eq!(guard.locked(start + LOCKOUT.time, LOCKOUT, "alice", "192.0.2.1"), None);
        fail(&mut guard, start + LOCKOUT.time, "alice", "192.0.2.1", 1);
        assert_eq!(guard.locked(start + LOCKOUT.time, LOCKOUT, "alice", "192.0.2.1"), None, "counted from one again");
    }

    #[test]
    fn many_sources_and_many_names_are_bounded_too() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        (0..30).for_each(|host| fail(&mut guard, now, "alice", &format!("192.0.2.{host}"), 1));
        assert!(guard.locked(now, LOCKOUT, "alice", "198.51.100.1").is_some());
        (0..30).for_each(|host| fail(&mut guard, now, &format!("user{host}"), &format!("2001:db8::{host}"), 1));
        assert!(guard.locked(now, LOCKOUT, "bob", "2001:db8::ffff").is_some());
        assert!(guard.locked(now, LOCKOUT, "bob", "2001:db8:0:1::1").is_none());
    }

    #[test]
    fn the_right_password_and_zero_forgive() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        fail(&mut guard, now, "alice", "192.0.2.1", 2);
        guard.succeeded("alice", "192.0.2.1");
        fail(&mut guard, now, "alice", "192.0.2.1", 2);
        assert_eq!(guard.locked(now, LOCKOUT, "alice", "192.0.2.1"), None);
        let off = Lockout { failures: 0, ..LOCKOUT };
        fail(&mut guard, now, "alice", "192.0.2.1", 9);
        assert_eq!(guard.locked(now, off, "alice", "192.0.2.1"), None);
    }

    #[test]
    fn who_is_locked_out_is_told() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        fail(&mut guard, start, "alice", "192.0.2.1", 2);
        assert_eq!(guard.locks(start, LOCKOUT), []);
        fail(&mut guard, start, "alice", "192.0.2.1", 1);
        let later = start + Duration::from_secs(10);
        (0..30).for_each(|host| fail(&mut guard, later, &format!("user{host}"), "2001:db8::7", 1));
        let named = |name: &str| Some(name.to_owned());
        let source = Locked { user: None, source: named("2001:db8::"), until: later + LOCKOUT.time };
        let both = Locked { user: named("alice"), source: named("192.0.2.1"), until: start + LOCKOUT.time };
        assert_eq!(guard.locks(later, LOCKOUT), [source.clone(), both]);
        assert_eq!(guard.locks(start + LOCKOUT.time, LOCKOUT), [source]);
        assert_eq!(guard.locks(later, Lockout { failures: 0, ..LOCKOUT }), []);
    }

    #[test]
    fn tables_stay_small() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        for index in 0..MAX_ENTRIES as u64 + 100 {
            guard.failed(start + Duration::from_millis(index), LOCKOUT, &index.to_string(), "192.0.2.1");
        }
        assert_eq!(guard.of_user.entries.len(), MAX_ENTRIES);
        assert!(!guard.of_user.entries.contains_key("0"));
    }
}
