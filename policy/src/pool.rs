//! Address pools: ranges, leases, stickiness.
mod networks;
mod space;

pub use networks::Network;

use networks::Networks;
use space::Space;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A named pool. Ranges are inclusive and hold client addresses only: N addresses serve N clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    pub name: String,
    pub ipv4: Vec<(Ipv4Addr, Ipv4Addr)>,
    pub ipv6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

/// Who holds a lease; the same owner may hold several at once (two devices), each under its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// A lease of the very same client that still runs (it authenticates anew before it leaves): of its addresses those that are asked for
    /// are shared. An address of another owner, or a hint outside the pool, is not.
    pub succeeds: Option<LeaseKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    #[error("address {address} is no address for a client, but {what}: RADIUS, the policy or the users file must name another, or none")]
    NotUnicast { address: String, what: &'static str },
    #[error("network {network} behind the client overlaps {other} of {holder}")]
    NetworkInUse { network: Network, other: String, holder: String },
    #[error("network {network} behind the client overlaps pool {pool:?}: every address of it would be this client's")]
    NetworkInPool { network: Network, pool: String },
}

impl LeaseError {
    /// Somebody has it now; false: it can never be had.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::Exhausted { .. } | Self::InUse { .. } | Self::NetworkInUse { .. })
    }
}

/// Names of the pools that a lease comes from, by family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolNames<'a> {
    pub ipv4: &'a str,
    pub ipv6: &'a str,
}

impl<'a> From<&'a str> for PoolNames<'a> {
    fn from(pool: &'a str) -> Self {
        Self { ipv4: pool, ipv6: pool }
    }
}

/// Usage of a pool, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub pool: String,
    pub family: &'static str,
    pub used: u128,
    pub size: u128,
}

/// Addresses of a configured pool in this family, saturating.
pub fn pool_size(config: &PoolConfig) -> (u128, u128) {
    let pool = Pool::new(config);
    (pool.ipv4.size(), pool.ipv6.size())
}

/// All pools and who holds what.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Vec<Pool>,
    leases: BTreeMap<LeaseKey, Lease>,
    /// Every leased address, also those outside all ranges.
    holders: BTreeMap<IpAddr, Holder>,
    /// What is behind clients; it overlaps no pool, no lease of another and nothing of itself.
    networks: Networks,
}

#[derive(Debug)]
struct Holder {
    owner: Arc<str>,
    /// Oldest first, never empty.
    keys: Vec<LeaseKey>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    ipv4: Space,
    ipv6: Space,
}

impl Pool {
    fn new(config: &PoolConfig) -> Self {
        let ipv4 = config.ipv4.iter().map(|(start, end)| (u128::from(start.to_bits()), u128::from(end.to_bits())));
        let ipv6 = config.ipv6.iter().map(|(start, end)| (start.to_bits(), end.to_bits()));
        Self { name: config.name.clone(), ipv4: Space::new(ipv4.collect()), ipv6: Space::new(ipv6.collect()) }
    }

    fn space(&mut self, family: Family) -> &mut Space {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            // IPv4 spaces are made of 32-bit numbers: nothing is cut off.
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What one family of a lease asks for.
struct Ask<'a> {
    pool: usize,
    family: Family,
    key: LeaseKey,
    owner: &'a Arc<str>,
    succeeds: Option<LeaseKey>,
    fixed: Option<IpAddr>,
    hint: Option<IpAddr>,
    /// Position in the pool of the address of the other family.
    pair: Option<u128>,
}

impl Pools {
    /// Overlapping ranges within or between pools are an error text naming both.
    pub fn new(pools: Vec<PoolConfig>) -> Result<Self, String> {
        check(&pools)?;
        Ok(Self { pools: pools.iter().map(Pool::new).collect(), ..Self::default() })
    }

    /// Leases for `owner` (the user). At least one wanted family must be had; a family the pool lacks is left out.
    ///
    /// An address is chosen in this order: the fixed one; the hint; the one this owner had last; (IPv6) the one at the position of the
    /// leased IPv4 address; the lowest never used; the one unused for longest. A key that already holds a lease gets the same again.
    pub fn lease<'a>(&mut self, from: impl Into<PoolNames<'a>>, key: LeaseKey, owner: &str, wanted: Wanted) -> Result<Lease, LeaseError> {
        if let Some(lease) = self.leases.get(&key) {
            return Ok(*lease);
        }
        let from = from.into();
        let pools = (self.index(from.ipv4)?, self.index(from.ipv6)?);
        let owner: Arc<str> = owner.into();
        let (ipv4, ipv6) = self.lease_families(pools, key, &owner, wanted)?;
        let lease = Lease { ipv4, ipv6 };
        if ipv4.is_some() || ipv6.is_some() {
            self.leases.insert(key, lease);
        }
        Ok(lease)
    }

    /// Takes networks behind the client of `key`, all or none. One that is held already is shared by the lease that `succeeds` names, of the same owner.
    /// Claims of a key add up.
    pub fn claim(&mut self, key: LeaseKey, owner: &str, networks: &[Network], succeeds: Option<LeaseKey>) -> Result<(), LeaseError> {
        for network in networks {
            self.check_claim(key, owner, *network, succeeds)?;
        }
        networks.iter().for_each(|network| self.networks.take(*network, owner, key));
        Ok(())
    }

    /// The newest lease that a network belongs to which overlaps this one.
    pub fn network_holder(&self, network: Network) -> Option<LeaseKey> {
        self.networks.overlapping(network).next()?.1.keys.last().copied()
    }

    /// Gives back what `key` holds; a key that holds nothing is no error.
    pub fn release(&mut self, key: &LeaseKey) {
        self.networks.give_back(*key);
        let Some(lease) = self.leases.remove(key) else { return };
        for address in addresses(lease) {
            self.let_go(address, *key);
        }
    }

    /// The newest lease that holds this address.
    pub fn holder(&self, address: IpAddr) -> Option<LeaseKey> {
        self.holders.get(&address)?.keys.last().copied()
    }

    /// Other leases that hold an address or a network of this one.
    pub fn sharers(&self, key: LeaseKey) -> BTreeSet<LeaseKey> {
        let lease = self.leases.get(&key).copied().unwrap_or_default();
        let of_addresses = addresses(lease).filter_map(|address| self.holders.get(&address)).flat_map(|holder| &holder.keys);
        of_addresses.chain(self.networks.keys_beside(key)).copied().filter(|other| *other != key).collect()
    }

    /// A row for each family of each pool, in configuration order.
    pub fn usage(&self) -> Vec<Usage> {
        let rows = self.pools.iter().flat_map(|pool| [(pool, Family::Ipv4, &pool.ipv4), (pool, Family::Ipv6, &pool.ipv6)]);
        rows.filter(|(_, _, space)| space.size() > 0)
            .map(|(pool, family, space)| Usage { pool: pool.name.clone(), family: family.name(), used: space.used(), size: space.size() })
            .collect()
    }

    /// Names of the pools, in configuration order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().map(|pool| pool.name.as_str())
    }

    /// Whether [`Self::reconfigure`] would take these pools.
    ///
    /// # Errors
    /// They contradict each other, or overlap a network behind a client.
    pub fn check(&self, pools: &[PoolConfig]) -> Result<(), String> {
        self.checked(pools).map(drop)
    }

    fn checked(&self, pools: &[PoolConfig]) -> Result<Vec<Pool>, String> {
        check(pools)?;
        let new: Vec<Pool> = pools.iter().map(Pool::new).collect();
        match self.networks.all().find_map(|(network, held)| Some((network, held, pool_of(&new, network)?))) {
            None => Ok(new),
            Some((network, held, pool)) => Err(format!(
                "pool {pool:?} overlaps network {network}, which is behind the client of {}: end that session first",
                held.owner
            )),
        }
    }

    /// Replaces the pools; running leases stay held even where their range is gone. A pool that overlaps a network behind a client is an error. On an
    /// error nothing changes.
    pub fn reconfigure(&mut self, pools: &[PoolConfig]) -> Result<(), String> {
        let new = self.checked(pools)?;
        let old = std::mem::replace(&mut self.pools, new);
        for address in self.holders.keys() {
            for pool in &mut self.pools {
                pool.space(Family::of(*address)).take(number(*address));
            }
        }
        for old in old {
            if let Some(pool) = self.pools.iter_mut().find(|pool| pool.name == old.name) {
                pool.ipv4.inherit(old.ipv4);
                pool.ipv6.inherit(old.ipv6);
            }
        }
        Ok(())
    }

    fn index(&self, pool: &str) -> Result<usize, LeaseError> {
        self.pools.iter().position(|known| known.name == pool).ok_or_else(|| LeaseError::NoPool(pool.to_owned()))
    }

    fn check_claim(&self, key: LeaseKey, owner: &str, network: Network, succeeds: Option<LeaseKey>) -> Result<(), LeaseError> {
        if let Some(pool) = pool_of(&self.pools, network) {
            return Err(LeaseError::NetworkInPool { network, pool: pool.to_owned() });
        }
        let of_this_client = |keys: &[LeaseKey]| keys.iter().all(|held| *held == key || Some(*held) == succeeds);
        for (other, held) in self.networks.overlapping(network) {
            let same = other == network && &*held.owner == owner && held.keys.iter().any(|held| *held == key || Some(*held) == succeeds);
            if !same {
                return Err(LeaseError::NetworkInUse { network, other: format!("network {other}"), holder: held.owner.to_string() });
            }
        }
        for (address, held) in self.holders.range(network.first()..=network.last()) {
            if !of_this_client(&held.keys) {
                return Err(LeaseError::NetworkInUse { network, other: format!("address {address}"), holder: held.owner.to_string() });
            }
        }
        Ok(())
    }

    fn lease_families(
        &mut self,
        (pool, ipv6_pool): (usize, usize),
        key: LeaseKey,
        owner: &Arc<str>,
        wanted: Wanted,
    ) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), LeaseError> {
        let mut refused = Vec::new();
        let mut ipv4 = None;
        if wanted.ipv4 {
            let (fixed, hint) = (wanted.ipv4_fixed.map(IpAddr::V4), wanted.ipv4_hint.map(IpAddr::V4));
            match self.choose(&Ask { pool, family: Family::Ipv4, key, owner, succeeds: wanted.succeeds, fixed, hint, pair: None }) {
                Ok(address) => ipv4 = Some(address),
                Err(error) if fixed.is_some() => return Err(error),
                Err(error) => refused.push(error),
            }
        }
        let mut ipv6 = None;
        if wanted.ipv6 {
            let (fixed, hint) = (wanted.ipv6_fixed.map(IpAddr::V6), wanted.ipv6_hint.map(IpAddr::V6));
            let pair = ipv4.filter(|_| pool == ipv6_pool).and_then(|address| self.pools[pool].ipv4.index_of(number(address)));
            let ask = Ask { pool: ipv6_pool, family: Family::Ipv6, key, owner, succeeds: wanted.succeeds, fixed, hint, pair };
            match self.choose(&ask) {
                Ok(address) => ipv6 = Some(address),
                Err(error) if fixed.is_some() => {
                    ipv4.into_iter().for_each(|address| self.let_go(address, key));
                    return Err(error);
                }
                Err(error) => refused.push(error),
            }
        }
        if ipv4.is_none() && ipv6.is_none() {
            // An exhausted family says more than a missing one.
            refused.sort_by_key(|error| matches!(error, LeaseError::NoFamily { .. }));
            if let Some(error) = refused.into_iter().next() {
                return Err(error);
            }
        }
        Ok((ipv4.and_then(as_ipv4), ipv6.and_then(as_ipv6)))
    }

    /// Finds, takes and notes one address.
    fn choose(&mut self, ask: &Ask<'_>) -> Result<IpAddr, LeaseError> {
        if let Some(address) = self.share(ask) {
            return Ok(address);
        }
        let address = match ask.fixed {
            Some(address) => self.take_fixed(address, ask)?,
            None => self.take_from_pool(ask)?,
        };
        self.holders.insert(address, Holder { owner: Arc::clone(ask.owner), keys: vec![ask.key] });
        self.pools[ask.pool].space(ask.family).remember(ask.owner, number(address));
        Ok(address)
    }

    /// The address of the lease that this one succeeds, if it is asked for.
    fn share(&mut self, ask: &Ask<'_>) -> Option<IpAddr> {
        let hint = ask.hint.filter(|hint| self.pools[ask.pool].space(ask.family).contains(number(*hint)));
        let address = ask.fixed.or(hint)?;
        let holder = self.holders.get_mut(&address)?;
        if holder.owner != *ask.owner || !holder.keys.contains(&ask.succeeds?) {
            return None;
        }
        holder.keys.push(ask.key);
        Some(address)
    }

    /// Takes an address that must be had, in whatever pool it lies or in none.
    fn take_fixed(&mut self, address: IpAddr, ask: &Ask<'_>) -> Result<IpAddr, LeaseError> {
        if let Some(what) = unusable(address) {
            return Err(LeaseError::NotUnicast { address: address.to_string(), what });
        }
        if let Some(holder) = self.holders.get(&address) {
            return Err(LeaseError::InUse { address: address.to_string(), holder: holder.owner.to_string() });
        }
        if let Some((_, held)) = self.networks.overlapping(Network::host(address)).next()
            && !(held.owner == *ask.owner && ask.succeeds.is_some_and(|older| held.keys.contains(&older)))
        {
            return Err(LeaseError::InUse { address: address.to_string(), holder: held.owner.to_string() });
        }
        for pool in &mut self.pools {
            pool.space(Family::of(address)).take(number(address));
        }
        Ok(address)
    }

    fn take_from_pool(&mut self, ask: &Ask<'_>) -> Result<IpAddr, LeaseError> {
        let pool = &mut self.pools[ask.pool];
        let name = pool.name.clone();
        let space = pool.space(ask.family);
        if space.size() == 0 {
            return Err(LeaseError::NoFamily { pool: name, family: ask.family.name() });
        }
        let hinted = ask.hint.map(number).filter(|hint| space.take(*hint));
        let taken = hinted
            .or_else(|| space.take_remembered(ask.owner))
            .or_else(|| ask.pair.and_then(|index| space.at_index(index)).filter(|address| space.take(*address)))
            .or_else(|| space.take_any());
        let (used, size) = (space.used(), space.size());
        taken.map(|taken| ask.family.address(taken)).ok_or(LeaseError::Exhausted { pool: name, family: ask.family.name(), used, size })
    }

    /// Gives an address back with the last lease that holds it.
    fn let_go(&mut self, address: IpAddr, key: LeaseKey) {
        let Some(holder) = self.holders.get_mut(&address) else { return };
        holder.keys.retain(|held| *held != key);
        if !holder.keys.is_empty() {
            return;
        }
        self.holders.remove(&address);
        for pool in &mut self.pools {
            pool.space(Family::of(address)).give_back(number(address));
        }
    }
}

fn addresses(lease: Lease) -> impl Iterator<Item = IpAddr> {
    lease.ipv4.map(IpAddr::V4).into_iter().chain(lease.ipv6.map(IpAddr::V6))
}

fn as_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn as_ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// The pool that has addresses of this network.
fn pool_of(pools: &[Pool], network: Network) -> Option<&str> {
    let (first, last) = (network.first(), network.last());
    let overlaps = |pool: &&Pool| {
        let space = if first.is_ipv4() { &pool.ipv4 } else { &pool.ipv6 };
        space.overlaps(number(first), number(last))
    };
    pools.iter().find(overlaps).map(|pool| pool.name.as_str())
}

/// What an address is that no client can have, in words.
pub fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            unusable_block(address.octets()[0]).or_else(|| address.is_link_local().then_some("a link-local address (169.254.0.0/16)"))
        }
        IpAddr::V6(address) => match address {
            _ if address.is_unspecified() || address.is_loopback() => Some("the unspecified or the loopback address (::, ::1)"),
            _ if address.to_ipv4_mapped().is_some() => Some("an IPv4 address written as IPv6 (::ffff:0.0.0.0/96)"),
            _ if address.is_unicast_link_local() => Some("a link-local address (fe80::/10)"),
            _ if address.is_multicast() => Some("a multicast address (ff00::/8)"),
            _ => None,
        },
    }
}

/// Blocks of IPv4 by their first byte.
fn unusable_block(first: u8) -> Option<&'static str> {
    match first {
        0 => Some("of the network that means \"this host\" (0.0.0.0/8)"),
        127 => Some("a loopback address (127.0.0.0/8)"),
        224..=239 => Some("a multicast address (224.0.0.0/4)"),
        240..=255 => Some("reserved, or the broadcast address (240.0.0.0/4)"),
        _ => None,
    }
}

/// What a range of a pool holds that no client can have.
fn unusable_part(start: IpAddr, end: IpAddr) -> Option<&'static str> {
    let within = match (start, end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => (start.octets()[0]..=end.octets()[0]).find_map(unusable_block),
        _ => None,
    };
    within.or_else(|| unusable(start)).or_else(|| unusable(end))
}

/// Names are unique, ranges run upwards, none overlaps another, no pool is empty.
fn check(pools: &[PoolConfig]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut ranges = Vec::new();
    for pool in pools {
        if !names.insert(&pool.name) {
            return Err(format!("two pools are named {:?}", pool.name));
        }
        if pool.ipv4.is_empty() && pool.ipv6.is_empty() {
            return Err(format!("pool {:?} has no addresses: give it ipv4 or ipv6 ranges", pool.name));
        }
        let ipv4 = pool.ipv4.iter().map(|(start, end)| (IpAddr::V4(*start), IpAddr::V4(*end)));
        let ipv6 = pool.ipv6.iter().map(|(start, end)| (IpAddr::V6(*start), IpAddr::V6(*end)));
        ranges.extend(ipv4.chain(ipv6).map(|(start, end)| (start, end, &pool.name)));
    }
    if let Some((start, end, name)) = ranges.iter().find(|(start, end, _)| start > end) {
        return Err(format!("pool {name:?}: range {start}-{end} runs backwards"));
    }
    for (start, end, name) in &ranges {
        if let Some(what) = unusable_part(*start, *end) {
            return Err(format!("pool {name:?}: range {start}-{end} holds what no client can have: {what}"));
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [(start, end, name), (next, next_end, next_name)] = pair else { continue };
        if end.is_ipv4() == next.is_ipv4() && next <= end {
            return Err(format!("pool {name:?} range {start}-{end} overlaps pool {next_name:?} range {next}-{next_end}"));
        }
    }
    Ok(())
}
