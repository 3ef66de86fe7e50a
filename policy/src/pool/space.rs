//! The addresses of one family of one pool: which are free, in which order they are given out, who had which.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Released addresses whose order of release is remembered, and owners whose addresses are, per pool and family.
pub(super) const REMEMBERED: usize = 65_536;
/// Addresses remembered for one owner (one for each device that is up at a time).
pub(super) const PER_OWNER: usize = 4;

/// Addresses are their numbers; an IPv4 address uses the low 32 bits.
///
/// Each address of the ranges is in exactly one of three states: leased (in none of the maps), `idle` (leased before, order of release
/// known) or `fresh`. Every operation costs the logarithm of what is leased or remembered, however wide the ranges are.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Inclusive, ascending, disjoint.
    ranges: Vec<(u128, u128)>,
    /// Saturated: the whole of IPv6 has one address more than fits.
    size: u128,
    used: u128,
    /// Inclusive intervals by start; never adjacent ones.
    fresh: BTreeMap<u128, u128>,
    idle: BTreeMap<u64, u128>,
    idle_by_address: BTreeMap<u128, u64>,
    owners: BTreeMap<Arc<str>, Owner>,
    owners_by_use: BTreeMap<u64, Arc<str>>,
    /// Ticks with each release and lease; orders `idle` and `owners_by_use`.
    clock: u64,
}

#[derive(Debug)]
struct Owner {
    last_use: u64,
    /// Newest first.
    addresses: VecDeque<u128>,
}

impl Space {
    /// `ranges`: inclusive and disjoint, in any order.
    pub(super) fn new(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let size = ranges.iter().fold(0u128, |sum, (start, end)| sum.saturating_add((end - start).saturating_add(1)));
        let mut space = Self { size, ..Self::default() };
        for &(start, end) in &ranges {
            space.add_fresh(start, end);
        }
        space.ranges = ranges;
        space
    }

    pub(super) fn size(&self) -> u128 {
        self.size
    }

    pub(super) fn used(&self) -> u128 {
        self.used
    }

    pub(super) fn contains(&self, address: u128) -> bool {
        let after = self.ranges.partition_point(|(start, _)| *start <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }

    /// Whether any address from `first` to `last` is in the ranges.
    pub(super) fn overlaps(&self, first: u128, last: u128) -> bool {
        self.ranges.iter().any(|(start, end)| *start <= last && first <= *end)
    }

    /// Position of `address` in the ranges.
    pub(super) fn index_of(&self, address: u128) -> Option<u128> {
        let mut before = 0;
        for &(start, end) in &self.ranges {
            if (start..=end).contains(&address) {
                return Some(before + (address - start));
            }
            before += end - start + 1;
        }
        None
    }

    /// The address at a position.
    pub(super) fn at_index(&self, mut index: u128) -> Option<u128> {
        for &(start, end) in &self.ranges {
            if index <= end - start {
                return Some(start + index);
            }
            index -= end - start + 1;
        }
        None
    }

    /// Takes this very address if it is free here.
    pub(super) fn take(&mut self, address: u128) -> bool {
        if let Some(released) = self.idle_by_address.remove(&address) {
            self.idle.remove(&released);
        } else if !self.take_fresh(address) {
            return false;
        }
        self.used += 1;
        true
    }

    /// Takes the address that this owner had last and that is free.
    pub(super) fn take_remembered(&mut self, owner: &str) -> Option<u128> {
        let known: Vec<u128> = self.owners.get(owner)?.addresses.iter().copied().collect();
        known.into_iter().find(|address| self.take(*address))
    }

    /// Takes the lowest address that was never used, or else the one unused for longest.
    pub(super) fn take_any(&mut self) -> Option<u128> {
        let address = match self.fresh.first_key_value() {
            Some((start, _)) => *start,
            None => *self.idle.first_key_value()?.1,
        };
        self.take(address).then_some(address)
    }

    /// Gives an address back; one outside the ranges is nothing to us.
    pub(super) fn give_back(&mut self, address: u128) {
        if !self.contains(address) {
            return;
        }
        self.used -= 1;
        self.clock += 1;
        self.idle.insert(self.clock, address);
        self.idle_by_address.insert(address, self.clock);
        if self.idle.len() > REMEMBERED
            && let Some((_, oldest)) = self.idle.pop_first()
        {
            self.idle_by_address.remove(&oldest);
            self.add_fresh(oldest, oldest);
        }
    }

    /// Remembers that `owner` has `address` now; an address outside the ranges is not remembered.
    pub(super) fn remember(&mut self, owner: &Arc<str>, address: u128) {
        if !self.contains(address) {
            return;
        }
        self.clock += 1;
        let last_use = self.clock;
        let entry = self.owners.entry(Arc::clone(owner)).or_insert_with(|| Owner { last_use, addresses: VecDeque::new() });
        self.owners_by_use.remove(&entry.last_use);
        entry.last_use = last_use;
        entry.addresses.retain(|known| *known != address);
        entry.addresses.push_front(address);
        entry.addresses.truncate(PER_OWNER);
        self.owners_by_use.insert(last_use, Arc::clone(owner));
        if self.owners.len() > REMEMBERED
            && let Some((_, oldest)) = self.owners_by_use.pop_first()
        {
            self.owners.remove(&oldest);
        }
    }

    /// Carries memory over from the space that this one replaces; leased addresses must have been taken before.
    pub(super) fn inherit(&mut self, old: Self) {
        self.clock = old.clock;
        for (_, address) in old.idle {
            if self.take_fresh(address) {
                self.used += 1;
                self.give_back(address);
            }
        }
        self.owners = old.owners;
        self.owners_by_use = old.owners_by_use;
    }

    fn take_fresh(&mut self, address: u128) -> bool {
        let Some((&start, &end)) = self.fresh.range(..=address).next_back() else { return false };
        if address > end {
            return false;
        }
        self.fresh.remove(&start);
        if start < address {
            self.fresh.insert(start, address - 1);
        }
        if address < end {
            self.fresh.insert(address + 1, end);
        }
        true
    }

    /// Adds an interval, merged with its neighbours.
    fn add_fresh(&mut self, mut start: u128, mut end: u128) {
        if let Some((&before, &before_end)) = self.fresh.range(..start).next_back()
            && before_end.checked_add(1) == Some(start)
        {
            self.fresh.remove(&before);
            start = before;
        }
        if let Some(after) = end.checked_add(1)
            && let Some(after_end) = self.fresh.remove(&after)
        {
            end = after_end;
        }
        self.fresh.insert(start, end);
    }
}
