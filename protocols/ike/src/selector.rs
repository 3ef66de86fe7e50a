//! Traffic selectors and their narrowing (RFC 7296 sections 2.9 and 3.13).
use crate::api::TrafficSelector;
use crate::wire::{Malformed, Reader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;
/// Bytes of a selector before its addresses.
const FIXED_LEN: usize = 8;

impl TrafficSelector {
    /// Everything to and from one address.
    pub fn host(address: IpAddr) -> Self {
        Self::range(address, address)
    }
    /// Everything of one address family: 0.0.0.0/0.
    pub fn any_ipv4() -> Self {
        Self::network(Ipv4Addr::UNSPECIFIED.into(), 0)
    }
    /// ::/0.
    pub fn any_ipv6() -> Self {
        Self::network(Ipv6Addr::UNSPECIFIED.into(), 0)
    }
    /// A network; `prefix` is cut to the width of the family, host bits are ignored.
    pub fn network(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let start = address.to_bits() & !hosts;
                Self::range(Ipv4Addr::from_bits(start).into(), Ipv4Addr::from_bits(start | hosts).into())
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let start = address.to_bits() & !hosts;
                Self::range(Ipv6Addr::from_bits(start).into(), Ipv6Addr::from_bits(start | hosts).into())
            }
        }
    }

    fn range(start: IpAddr, end: IpAddr) -> Self {
        Self { protocol: 0, start_port: 0, end_port: u16::MAX, start, end }
    }

    /// Whether all of `other` lies in `self`.
    pub fn contains(&self, other: &Self) -> bool {
        self.intersect(other) == Some(*other)
    }

    /// What both have in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, protocol) | (protocol, 0) => protocol,
            (a, b) if a == b => a,
            _ => return None,
        };
        let (start_port, end_port) = self.intersect_ports(other)?;
        let both_v4 = self.is_ipv4() && other.is_ipv4();
        let both_v6 = self.is_ipv6() && other.is_ipv6();
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        ((both_v4 || both_v6) && start <= end).then_some(Self { protocol, start_port, end_port, start, end })
    }

    /// OPAQUE (start 65535, end 0) means "ports are not visible": it meets itself and ANY only (section 3.13.1).
    fn intersect_ports(&self, other: &Self) -> Option<(u16, u16)> {
        const ANY: (u16, u16) = (0, u16::MAX);
        match ((self.start_port, self.end_port), (other.start_port, other.end_port)) {
            (ANY, ports) | (ports, ANY) => Some(ports),
            (a, b) if a == b => Some(a),
            (a, b) if a.0 > a.1 || b.0 > b.1 => None,
            (a, b) => Some((a.0.max(b.0), a.1.min(b.1))).filter(|(start, end)| start <= end),
        }
    }

    fn is_ipv4(&self) -> bool {
        self.start.is_ipv4() && self.end.is_ipv4()
    }
    fn is_ipv6(&self) -> bool {
        self.start.is_ipv6() && self.end.is_ipv6()
    }

    /// The prefix length, where the range is a network.
    fn prefix(&self) -> Option<u8> {
        (0..=if self.is_ipv4() { 32 } else { 128 }).find(|prefix| {
            let network = Self::network(self.start, *prefix);
            (network.start, network.end) == (self.start, self.end)
        })
    }
}

impl std::fmt::Display for TrafficSelector {
    /// `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, with `proto 17 ports 53-53` where it is limited.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.prefix() {
            Some(prefix) => write!(f, "{}/{prefix}", self.start)?,
            None => write!(f, "{}-{}", self.start, self.end)?,
        }
        if self.protocol != 0 {
            write!(f, " proto {}", self.protocol)?;
        }
        match (self.start_port, self.end_port) {
            (0, u16::MAX) => Ok(()),
            (start, end) if start > end => f.write_str(" ports opaque"),
            (start, end) => write!(f, " ports {start}-{end}"),
        }
    }
}

/// `offered` cut down to `allowed`, in the order of `offered`, without selectors that another one of the result contains. Empty: answer
/// TS_UNACCEPTABLE.
pub fn narrow(offered: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut narrowed: Vec<TrafficSelector> = Vec::new();
    for common in offered.iter().flat_map(|offered| allowed.iter().filter_map(|allowed| offered.intersect(allowed))) {
        if narrowed.len() == MAX_SELECTORS || narrowed.iter().any(|known| known.contains(&common)) {
            continue;
        }
        narrowed.retain(|known| !common.contains(known));
        narrowed.push(common);
    }
    narrowed
}

/// As many as a TS payload can count.
const MAX_SELECTORS: usize = 255;

/// The peer's selectors (TSi at a responder) narrowed to its leased addresses.
pub fn narrow_to_hosts(offered: &[TrafficSelector], leased: &[IpAddr]) -> Vec<TrafficSelector> {
    let hosts: Vec<_> = leased.iter().copied().map(TrafficSelector::host).collect();
    narrow(offered, &hosts)
}

/// Our selectors (TSr at a responder) narrowed to what policy allows; an empty `allowed` allows everything.
pub fn narrow_to_allowed(offered: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    if allowed.is_empty() {
        return narrow(offered, &[TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]);
    }
    narrow(offered, allowed)
}

/// The body of a TS payload: selectors of types we do not know are skipped.
pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Vec<TrafficSelector>, Malformed> {
    let count = reader.u8("no number of selectors")?;
    reader.take(3, "reserved bytes missing")?;
    let mut selectors = Vec::with_capacity(count.into());
    for _ in 0..count {
        selectors.extend(parse_one(&mut reader)?);
    }
    reader.finish("bytes behind the last selector")?;
    Ok(selectors)
}

fn parse_one(reader: &mut Reader<'_>) -> Result<Option<TrafficSelector>, Malformed> {
    let kind = reader.u8("selector missing")?;
    let protocol = reader.u8("selector header cut short")?;
    let Some(rest) = usize::from(reader.u16("selector header cut short")?).checked_sub(4) else {
        return Err(reader.error("selector length below its own header"));
    };
    let mut body = reader.part(rest, "selector runs over the end")?;
    if !matches!(kind, TS_IPV4_ADDR_RANGE | TS_IPV6_ADDR_RANGE) {
        return Ok(None);
    }
    let (start_port, end_port) = (body.u16("start port cut short")?, body.u16("end port cut short")?);
    let mut address = || match kind {
        TS_IPV4_ADDR_RANGE => body.array::<4>("IPv4 address cut short").map(IpAddr::from),
        _ => body.array::<16>("IPv6 address cut short").map(IpAddr::from),
    };
    let (start, end) = (address()?, address()?);
    body.finish("bytes behind the addresses")?;
    if start > end {
        return Err(body.error("address range runs backwards"));
    }
    Ok(Some(TrafficSelector { protocol, start_port, end_port, start, end }))
}

/// At most 255 selectors are written, as many as the payload can count; one of mixed families cannot be, and is left out.
pub(crate) fn write(selectors: &[TrafficSelector], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for selector in selectors.iter().filter(|selector| selector.is_ipv4() || selector.is_ipv6()).take(MAX_SELECTORS) {
        out[start] += 1;
        let (kind, addresses) = match (selector.start, selector.end) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (TS_IPV4_ADDR_RANGE, [first.octets(), last.octets()].concat()),
            (first, last) => (TS_IPV6_ADDR_RANGE, [v6_octets(first), v6_octets(last)].concat()),
        };
        out.extend_from_slice(&[kind, selector.protocol]);
        out.extend_from_slice(&((FIXED_LEN + addresses.len()) as u16).to_be_bytes());
        out.extend_from_slice(&selector.start_port.to_be_bytes());
        out.extend_from_slice(&selector.end_port.to_be_bytes());
        out.extend_from_slice(&addresses);
    }
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
