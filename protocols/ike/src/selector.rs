//! Traffic selectors and their narrowing (RFC 7296 sections 2.9 and 3.13).
use crate::api::TrafficSelector;
use crate::wire::Malformed;
use std::net::IpAddr;

impl TrafficSelector {
    /// Everything to and from one address.
    pub fn host(address: IpAddr) -> Self {
        todo!()
    }
    /// Everything of one address family: 0.0.0.0/0.
    pub fn any_ipv4() -> Self {
        todo!()
    }
    /// ::/0.
    pub fn any_ipv6() -> Self {
        todo!()
    }
    /// A network; `prefix` is cut to the width of the family, host bits are ignored.
    pub fn network(address: IpAddr, prefix: u8) -> Self {
        todo!()
    }
    /// Whether all of `other` lies in `self`.
    pub fn contains(&self, other: &Self) -> bool {
        todo!()
    }
    /// What both have in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        todo!()
    }
}

impl std::fmt::Display for TrafficSelector {
    /// `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, with `proto 17 ports 53-53` where it is limited.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// `offered` cut down to `allowed`, in the order of `offered`, without selectors that another one of the result contains. Empty: answer
/// TS_UNACCEPTABLE.
pub fn narrow(offered: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    todo!()
}

/// The peer's selectors (TSi at a responder) narrowed to its leased addresses.
pub fn narrow_to_hosts(offered: &[TrafficSelector], leased: &[IpAddr]) -> Vec<TrafficSelector> {
    todo!()
}

/// Our selectors (TSr at a responder) narrowed to what policy allows; an empty `allowed` allows everything.
pub fn narrow_to_allowed(offered: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    todo!()
}

/// The body of a TS payload: selectors of types we do not know are skipped.
pub(crate) fn parse(body: &[u8], payload: u8, offset: usize) -> Result<Vec<TrafficSelector>, Malformed> {
    todo!()
}

/// At most 255 selectors are written, as many as the payload can count.
pub(crate) fn write(selectors: &[TrafficSelector], out: &mut Vec<u8>) {
    todo!()
}
