//! Ranges of IP addresses.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    pub start: IpAddr,
    pub end: IpAddr,
}

impl AddressRange {
    /// Whether `address` lies in it; an IPv4-mapped IPv6 address counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.start, self.end, address.to_canonical()) {
            (IpAddr::V4(start), IpAddr::V4(end), IpAddr::V4(address)) => (start..=end).contains(&address),
            (IpAddr::V6(start), IpAddr::V6(end), IpAddr::V6(address)) => (start..=end).contains(&address),
            _ => false,
        }
    }

    /// The fewest prefixes that together are this range, in order: network and length. A range of two families or with its end before its start has
    /// none.
    pub fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        match (self.start, self.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => {
                let v4 = |bits: u128| IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
                blocks(start.to_bits().into(), end.to_bits().into(), 32).map(|(bits, length)| (v4(bits), length)).collect()
            }
            (IpAddr::V6(start), IpAddr::V6(end)) => {
                let v6 = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
                blocks(start.to_bits(), end.to_bits(), 128).map(|(bits, length)| (v6(bits), length)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Length of the prefix that this range is, if it is one.
    fn prefix_len(&self) -> Option<u32> {
        let (start, end, bits) = match (self.start, self.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => (u128::from(start.to_bits()), u128::from(end.to_bits()), 32),
            (IpAddr::V6(start), IpAddr::V6(end)) => (start.to_bits(), end.to_bits(), 128),
            _ => return None,
        };
        let differing = start ^ end;
        let host_bits = 128 - differing.leading_zeros();
        let is_prefix = differing.trailing_ones() == host_bits && start & differing == 0;
        is_prefix.then_some(bits - host_bits)
    }
}

/// The largest aligned blocks from `start` to `end`, inclusive, of addresses of `width` bits.
fn blocks(start: u128, end: u128, width: u32) -> impl Iterator<Item = (u128, u8)> {
    let mut next = (start <= end).then_some(start);
    std::iter::from_fn(move || {
        let first = next?;
        let last = |host_bits: u32| first | u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let aligned = first.trailing_zeros().min(width);
        let host_bits = (0..=aligned).rev().find(|&host_bits| last(host_bits) <= end).unwrap_or(0);
        next = last(host_bits).checked_add(1).filter(|following| *following <= end);
        Some((first, (width - host_bits) as u8))
    })
}

/// `10.0.0.0/8`, `192.0.2.7`, or `10.98.0.10-10.98.0.250`.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_len() {
            _ if self.start == self.end => write!(f, "{}", self.start),
            Some(len) => write!(f, "{}/{len}", self.start),
            None => write!(f, "{}-{}", self.start, self.end),
        }
    }
}
