//! Acct-Multi-Session-Id: which sessions are one client that came back.
use policy::network::Tunnel;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A client that comes back within this time goes on with its last session's Acct-Multi-Session-Id.
const LINGER: Duration = Duration::from_secs(600);

/// One client: its user, and what it calls itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    pub user: String,
    pub tunnel: Tunnel,
    pub name: String,
}

#[derive(Debug)]
struct Link {
    id: String,
    /// Sessions that are up.
    up: usize,
    ended: Instant,
}

/// The clients that are up, or were up lately.
#[derive(Debug, Default)]
pub struct Links {
    links: HashMap<Device, Link>,
    /// Ends of sessions, oldest first.
    ended: VecDeque<(Instant, Device)>,
}

impl Links {
    /// A session of `device` begins; `own` is its Acct-Session-Id. Returns its Acct-Multi-Session-Id.
    pub fn join(&mut self, now: Instant, device: Device, own: &str) -> String {
        self.expire(now);
        let link = self.links.entry(device).or_insert_with(|| Link { id: own.to_owned(), up: 0, ended: now });
        link.up += 1;
        link.id.clone()
    }

    /// A session of `device` has ended.
    pub fn leave(&mut self, now: Instant, device: Device) {
        self.expire(now);
        let Some(link) = self.links.get_mut(&device) else { return };
        link.up = link.up.saturating_sub(1);
        link.ended = now;
        self.ended.push_back((now, device));
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.ended.front()
            && now.saturating_duration_since(*at) > LINGER
        {
            let Some((at, device)) = self.ended.pop_front() else { return };
            if self.links.get(&device).is_some_and(|link| link.up == 0 && link.ended == at) {
                self.links.remove(&device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_back_soon_goes_on() {
        let device = |name: &str| Device { user: "ann".into(), tunnel: Tunnel::Sstp, name: name.into() };
        let (mut links, start) = (Links::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(links.join(at(0), device("laptop"), "1"), "1");
        assert_eq!(links.join(at(1), device("phone"), "2"), "2");
        assert_eq!(links.join(at(2), device("laptop"), "3"), "1", "before the old session is given up");
        links.leave(at(3), device("laptop"));
        links.leave(at(1000), device("laptop"));
        assert_eq!(links.join(at(1600), device("laptop"), "4"), "1");
        links.leave(at(1600), device("laptop"));
        assert_eq!(links.join(at(2201), device("laptop"), "5"), "5");
        links.leave(at(2300), device("laptop"));
        links.leave(at(2300), device("phone"));
        links.expire(at(3000));
        assert!(links.links.is_empty() && links.ended.is_empty(), "{links:?}");
    }
}
