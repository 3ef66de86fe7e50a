//! Networks behind clients: which is whose. Kept by their first address, so that each question costs the logarithm of how many there are.
use super::LeaseKey;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A prefix, at most as long as its family is wide; bits of the address beyond the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// `length` in bits: at most 32 or 128, else `None`. Bits of `address` beyond it are cleared.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) if length <= 32 => Ipv4Addr::from_bits(address.to_bits() & !hosts_v4(length)).into(),
            IpAddr::V6(address) if length <= 128 => Ipv6Addr::from_bits(address.to_bits() & !hosts_v6(length)).into(),
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// An address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    pub fn first(self) -> IpAddr {
        self.address
    }

    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() | hosts_v4(self.length)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() | hosts_v6(self.length)).into(),
        }
    }

    /// Of the prefix, in bits.
    pub fn length(self) -> u8 {
        self.length
    }

    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && (self.first()..=self.last()).contains(&address)
    }
}

/// `10.9.0.0/16`
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn hosts_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn hosts_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

/// Who has a network.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) owner: Arc<str>,
    /// Oldest first, never empty.
    pub(super) keys: Vec<LeaseKey>,
}

/// Disjoint networks.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// By first address.
    held: BTreeMap<IpAddr, (Network, Held)>,
    by_key: BTreeMap<LeaseKey, Vec<Network>>,
}

impl Networks {
    /// The caller has checked that what overlaps is this very network.
    pub(super) fn take(&mut self, network: Network, owner: &str, key: LeaseKey) {
        let (_, held) = self.held.entry(network.first()).or_insert_with(|| (network, Held { owner: owner.into(), keys: Vec::new() }));
        if !held.keys.contains(&key) {
            held.keys.push(key);
            self.by_key.entry(key).or_default().push(network);
        }
    }

    pub(super) fn give_back(&mut self, key: LeaseKey) {
        for network in self.by_key.remove(&key).unwrap_or_default() {
            let Some((_, held)) = self.held.get_mut(&network.first()) else { continue };
            held.keys.retain(|other| *other != key);
            if held.keys.is_empty() {
                self.held.remove(&network.first());
            }
        }
    }

    /// Who else has a network of this key; the key itself may be among them.
    pub(super) fn keys_beside(&self, key: LeaseKey) -> impl Iterator<Item = &LeaseKey> {
        let networks = self.by_key.get(&key).into_iter().flatten();
        networks.filter_map(|network| self.held.get(&network.first())).flat_map(|(_, held)| &held.keys)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Network, &Held)> {
        self.held.values().map(|(network, held)| (*network, held))
    }

    /// Those that have an address in common with this one, the highest first.
    pub(super) fn overlapping(&self, network: Network) -> impl Iterator<Item = (Network, &Held)> {
        // Being disjoint, they end in the order in which they begin.
        let beginning_before_its_end = self.held.range(..=network.last()).rev();
        let found = beginning_before_its_end.map(|(_, (other, held))| (*other, held));
        found.take_while(move |(other, _)| other.first().is_ipv4() == network.first().is_ipv4() && other.last() >= network.first())
    }
}
