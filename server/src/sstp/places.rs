//! How many connections strangers may have at once: in all while they shake hands, and of one source until their login is through.
use super::Bounds;
use policy::network::AddressRange;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a listener has.
#[derive(Debug)]
pub(crate) struct Places {
    room: Arc<Semaphore>,
    per_source: usize,
    /// Balancers, behind which there are many clients.
    proxies: Vec<AddressRange>,
    /// Address translators and balancers that name nobody.
    exempt: Vec<RangeInclusive<IpAddr>>,
    sources: Mutex<HashMap<u128, usize>>,
}

/// The right to be one of the unauthenticated connections.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    source: u128,
    handshake: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(bounds: &Bounds, proxies: Vec<AddressRange>) -> Self {
        let (room, exempt) = (Arc::new(Semaphore::new(bounds.connections)), bounds.exempt.clone());
        Self { room, per_source: bounds.per_source, proxies, exempt, sources: Mutex::default() }
    }

    pub(super) fn proxies(&self) -> &[AddressRange] {
        &self.proxies
    }

    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|range| range.contains(address))
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|range| range.contains(&address.to_canonical()))
    }

    /// `None`: no place is left, or none for this source.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let handshake = Some(self.room.clone().try_acquire_owned().ok()?);
        let source = self.count(address, self.is_proxy(address))?;
        Some(Place { places: self.clone(), source, handshake })
    }

    fn count(&self, address: IpAddr, unlimited: bool) -> Option<u128> {
        let source = source(address);
        let mut sources = self.sources();
        let taken = sources.entry(source).or_default();
        if *taken >= self.per_source && !unlimited && !self.is_exempt(address) {
            return None;
        }
        *taken += 1;
        Some(source)
    }

    fn uncount(&self, source: u128) {
        let mut sources = self.sources();
        if let Some(taken) = sources.get_mut(&source) {
            *taken -= 1;
            if *taken == 0 {
                sources.remove(&source);
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        // Each change is one statement.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// From now on the connection counts for this client, whom a balancer may have named. False: that client has as many as it may have.
    pub(super) fn is_for(&mut self, client: IpAddr) -> bool {
        if source(client) == self.source {
            return true;
        }
        let Some(source) = self.places.count(client, false) else { return false };
        self.places.uncount(std::mem::replace(&mut self.source, source));
        true
    }

    /// The handshake is over: the connection counts for its client alone, until this is dropped.
    pub fn end_handshake(&mut self) {
        self.handshake = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.uncount(self.source);
    }
}

/// One client's addresses: an IPv4 address, or an IPv6 /64.
fn source(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize, per_source: usize, exempt: &[IpAddr], proxies: Vec<AddressRange>) -> Places {
        let second = std::time::Duration::from_secs(1);
        let exempt = exempt.iter().map(|address| *address..=*address).collect();
        Places::new(&Bounds { connections, per_source, exempt, handshake: second, request: second }, proxies)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |text: &str| source(address(text));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("0.0.0.1"), of("::1:0:0:0:1"));
    }

    #[test]
    fn a_source_keeps_its_places_beyond_the_handshake() {
        let places = Arc::new(places(3, 2, &[], Vec::new()));
        let stranger = address("192.0.2.1");
        let take = || {
            let mut place = places.take(stranger)?;
            place.end_handshake();
            place.is_for(stranger).then_some(place)
        };
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some());
        assert!(take().is_none(), "logins that stand still count");
        assert_eq!(places.room.available_permits(), 3, "but not as handshakes");
        drop(first);
        assert!(take().is_some());
        drop(second);
        assert!(places.sources().is_empty());
    }

    #[test]
    fn exempt_sources_have_the_places_of_all() {
        let nat = address("192.0.2.9");
        let places = Arc::new(places(4, 2, &[nat], Vec::new()));
        let mapped = address("::ffff:192.0.2.9");
        let mut taken: Vec<_> = [nat, mapped, nat].into_iter().map(|address| places.take(address).unwrap()).collect();
        assert!(taken.iter_mut().all(|place| place.is_for(nat)));
        let strangers: Vec<_> = (0..2).map(|_| places.take(address("192.0.2.10"))).collect();
        assert_eq!(strangers.iter().flatten().count(), 1, "one place was left of four");
        drop((taken, strangers));
        assert!(places.sources().is_empty());
    }

    #[test]
    fn behind_a_balancer_its_clients_are_counted() {
        let balancer = address("192.0.2.9");
        let places = Arc::new(places(9, 2, &[], vec![AddressRange { start: balancer, end: balancer }]));
        let mut handshakes: Vec<_> = (0..5).map(|_| places.take(balancer).unwrap()).collect();
        let client = |last: usize| address(&format!("198.51.100.{last}"));
        let kept: Vec<_> = handshakes.iter_mut().enumerate().map(|(number, place)| place.is_for(client(number / 3))).collect();
        assert_eq!(kept, [true, true, false, true, true]);
        drop(handshakes);
        assert!(places.sources().is_empty());
    }
}
