//! Address pools: ranges, leases, stickiness.
use std::net::{Ipv4Addr, Ipv6Addr};

/// A named pool. Ranges are inclusive and hold client addresses only: N addresses serve N clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    pub name: String,
    pub ipv4: Vec<(Ipv4Addr, Ipv4Addr)>,
    pub ipv6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

/// Who holds a lease; the same owner may hold several at once (two devices), each under its own key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub ipv4: bool,
    pub ipv6: bool,
    /// An address the client or RADIUS asks for. `ipv4_fixed` must be had (RADIUS), the hints may fail silently.
    pub ipv4_fixed: Option<Ipv4Addr>,
    pub ipv6_fixed: Option<Ipv6Addr>,
    pub ipv4_hint: Option<Ipv4Addr>,
    pub ipv6_hint: Option<Ipv6Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("pool {pool:?} is exhausted: {used} of {size} {family} addresses in use")]
    Exhausted { pool: String, family: &'static str, used: u128, size: u128 },
    #[error("address {address} is in use by {holder}")]
    InUse { address: String, holder: String },
    #[error("pool {0:?} does not exist")]
    NoPool(String),
    #[error("pool {pool:?} has no {family} addresses and the client asks for nothing else")]
    NoFamily { pool: String, family: &'static str },
}

/// Usage of a pool, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub pool: String,
    pub family: &'static str,
    pub used: u128,
    pub size: u128,
}

/// All pools and who holds what.
#[derive(Debug, Default)]
pub struct Pools {}

impl Pools {
    /// Overlapping ranges within or between pools are an error text naming both.
    pub fn new(_pools: Vec<PoolConfig>) -> Result<Self, String> {
        todo!()
    }
    /// Leases for `owner` (the user). At least one wanted family must be had; a family the pool lacks is left out.
    pub fn lease(&mut self, _pool: &str, _key: LeaseKey, _owner: &str, _wanted: Wanted) -> Result<Lease, LeaseError> {
        todo!()
    }
    pub fn release(&mut self, _key: &LeaseKey) {
        todo!()
    }
    pub fn usage(&self) -> Vec<Usage> {
        todo!()
    }
    /// Replaces the pools; running leases stay held even where their range is gone.
    pub fn reconfigure(&mut self, _pools: Vec<PoolConfig>) -> Result<(), String> {
        todo!()
    }
}
