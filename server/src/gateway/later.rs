//! Which RADIUS server group is asked about later logins under a name, as a network policy said when it let that name in.
use policy::network::Later;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Names remembered at most; beyond it the one that was let in longest ago is forgotten.
const MAX_NAMES: usize = 10_000;

/// In memory alone: a restart forgets them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: HashMap<String, Entry>,
    /// When names were remembered, oldest first; those that have been replaced since stay until their turn.
    order: VecDeque<(u64, String)>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    group: String,
    policy: String,
    until: Instant,
}

impl Groups {
    /// A policy has let this name in: what it says of later logins takes the place of what was said before.
    pub(super) fn let_in(&mut self, now: Instant, name: &str, policy: &str, later: Option<&Later>) {
        let name = name.to_lowercase();
        let Some(Later { group, time }) = later else {
            self.names.remove(&name);
            return self.sweep(now);
        };
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, name.clone()));
        self.names.insert(name, Entry { number, group: group.clone(), policy: policy.to_owned(), until: now + *time });
        self.sweep(now);
    }

    /// The group for a login under this name, and the policy that said so.
    pub(super) fn of(&self, now: Instant, name: &str) -> Option<(&str, &str)> {
        let entry = self.names.get(&name.to_lowercase()).filter(|entry| now < entry.until)?;
        Some((&entry.group, &entry.policy))
    }

    /// Only these groups are there.
    pub(super) fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.names.retain(|_, entry| known(&entry.group));
    }

    /// Lets go of the oldest ones: of those that have run out or been replaced, and of those beyond the bound.
    fn sweep(&mut self, now: Instant) {
        while let Some((number, name)) = self.order.front() {
            let entry = self.names.get(name).filter(|entry| entry.number == *number);
            let goes = entry.is_none_or(|entry| entry.until <= now) || self.names.len() > MAX_NAMES || self.order.len() > 2 * MAX_NAMES;
            if !goes {
                return;
            }
            if entry.is_some() {
                self.names.remove(name);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn later(group: &str, seconds: u64) -> Later {
        Later { group: group.into(), time: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_last_login_that_came_in_decides_until_its_time_is_over() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        groups.let_in(at(0), "Ann", "staff", Some(&later("corp", 100)));
        assert_eq!(groups.of(at(99), "ANN"), Some(("corp", "staff")));
        assert_eq!((groups.of(at(100), "ann"), groups.of(at(0), "bob")), (None, None));
        groups.let_in(at(50), "ann", "guests", Some(&later("other", 10)));
        assert_eq!(groups.of(at(55), "ann"), Some(("other", "guests")));
        groups.let_in(at(56), "ann", "plain", None);
        assert_eq!(groups.of(at(57), "ann"), None);
        groups.let_in(at(60), "ann", "staff", Some(&later("corp", 100)));
        groups.retain(|group| group != "corp");
        assert_eq!(groups.of(at(61), "ann"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        for number in 0..MAX_NAMES + 10 {
            groups.let_in(start, &number.to_string(), "p", Some(&later("corp", 1000)));
        }
        assert_eq!((groups.names.len(), groups.of(start, "9"), groups.of(start, "10").is_some()), (MAX_NAMES, None, true));
        // Of names that come again and again nothing piles up.
        for _ in 0..3 * MAX_NAMES {
            groups.let_in(start, "10", "p", Some(&later("corp", 1000)));
        }
        assert!(groups.order.len() <= 2 * MAX_NAMES && groups.of(start, "10").is_some());
        groups.let_in(start + Duration::from_secs(2000), "last", "p", Some(&later("corp", 1)));
        assert_eq!((groups.names.len(), groups.order.len()), (1, 1));
    }
}
