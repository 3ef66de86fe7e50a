//! Ordered network policies: the first whose conditions all match decides; none means no.
use crate::filter::Filter;
use crate::glob;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Entries of a condition's list that a reason spells out; the rest is counted.
const NAMED_ENTRIES: usize = 4;
/// Characters of one value that a reason spells out.
const NAMED_CHARS: usize = 128;

/// The facts of an attempt after authentication.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub tunnel: Tunnel,
    pub method: Method,
    pub user: &'a str,
    pub client: IpAddr,
    /// Class and Filter-Id attributes of the Access-Accept.
    pub class: &'a [Vec<u8>],
    pub filter_id: &'a [String],
    /// Groups of the user, as whoever authenticated it names them.
    pub group: &'a [String],
    pub time: LocalTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    Ikev2,
    Sstp,
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ikev2 => "ikev2",
            Self::Sstp => "sstp",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Eap,
    Certificate,
    /// RFC 2759 over PPP.
    MsChapV2,
    /// RFC 1994 with MD5 over PPP.
    Chap,
    /// RFC 1334 over PPP.
    Pap,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eap => "eap",
            Self::Certificate => "certificate",
            Self::MsChapV2 => "mschapv2",
            Self::Chap => "chap",
            Self::Pap => "pap",
        })
    }
}

/// Wall-clock time where the gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 = Monday .. 6 = Sunday.
    pub weekday: u8,
    /// 0..=1439.
    pub minute: u16,
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", day_name(self.weekday), self.minute / 60, self.minute % 60)
    }
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub name: String,
    pub grant: bool,
    pub conditions: Conditions,
    pub settings: Settings,
}

/// Every `Some` (or non-empty list) must match; within a list any entry may.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub tunnel: Vec<Tunnel>,
    pub method: Vec<Method>,
    /// Patterns with `*` and `?`, compared without regard to case.
    pub user: Vec<String>,
    pub client: Vec<AddressRange>,
    /// Patterns over the attribute's bytes read as UTF-8 (lossy).
    pub class: Vec<String>,
    pub filter_id: Vec<String>,
    /// Patterns, of which one of the user's groups must match one.
    pub group: Vec<String>,
    pub time: Vec<TimeWindow>,
}

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

/// Days and minutes; `from > to` runs over midnight (the day is that of `from`). `from` belongs to it, `to` (up to 1440) no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Bit 0 = Monday.
    pub days: u8,
    pub from: u16,
    pub to: u16,
}

impl TimeWindow {
    pub fn contains(&self, time: LocalTime) -> bool {
        let on = |weekday: u8| weekday < 7 && self.days & (1 << weekday) != 0;
        if self.from <= self.to {
            return on(time.weekday) && (self.from..self.to).contains(&time.minute);
        }
        let yesterday = (time.weekday + 6) % 7;
        (on(time.weekday) && time.minute >= self.from) || (on(yesterday) && time.minute < self.to)
    }
}

/// `mon,tue,fri 08:00-18:00`
impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<_> = (0..7).filter(|day| self.days & (1 << day) != 0).map(day_name).collect();
        let (from, to) = (self.from, self.to);
        write!(f, "{} {:02}:{:02}-{:02}:{:02}", days.join(","), from / 60, from % 60, to / 60, to % 60)
    }
}

fn day_name(weekday: u8) -> &'static str {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].get(usize::from(weekday)).copied().unwrap_or("?")
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub pool: Option<String>,
    pub dns: Vec<IpAddr>,
    /// WINS servers.
    pub nbns: Vec<Ipv4Addr>,
    /// Connection-specific domain name, such as `corp.example.com`.
    pub dns_suffix: Option<String>,
    /// What a client that asks with DHCPINFORM shall send into the tunnel; empty: what its own profile says. [`AddressRange::prefixes`] gives them
    /// as routes.
    pub routes: Vec<AddressRange>,
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// What the client may reach; empty: everything.
    pub selectors: Vec<AddressRange>,
    /// Packets pass all of them.
    pub filters: Vec<Arc<Filter>>,
    /// Bits a second from the client, and to it.
    pub rate_limit_in: Option<u64>,
    pub rate_limit_out: Option<u64>,
    /// How long a session that was silent may exceed its rates.
    pub rate_limit_burst: Option<Duration>,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The deciding policy; `None`: default deny.
    pub policy: Option<String>,
    pub granted: bool,
    pub settings: Settings,
    /// Earlier policies, each with its first failing condition.
    pub passed_over: Vec<PassedOver>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    pub policy: String,
    /// `user wanted "*@example.test", got "bob"`
    pub reason: String,
}

/// The first policy whose conditions all match decides, grant or deny; where none does, the answer is no.
pub fn decide(policies: &[Policy], facts: &Facts<'_>) -> Decision {
    let mut passed_over = Vec::new();
    for policy in policies {
        match first_failing(&policy.conditions, facts) {
            Some(reason) => passed_over.push(PassedOver { policy: policy.name.clone(), reason }),
            None => {
                return Decision {
                    policy: Some(policy.name.clone()),
                    granted: policy.grant,
                    settings: policy.settings.clone(),
                    passed_over,
                };
            }
        }
    }
    Decision { policy: None, granted: false, settings: Settings::default(), passed_over }
}

/// The first condition that fails, in the order of the fields of [`Conditions`].
fn first_failing(conditions: &Conditions, facts: &Facts<'_>) -> Option<String> {
    let class: Vec<_> = facts.class.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    let class: Vec<&str> = class.iter().map(AsRef::as_ref).collect();
    let filter_id: Vec<&str> = facts.filter_id.iter().map(String::as_str).collect();
    let group: Vec<&str> = facts.group.iter().map(String::as_str).collect();
    fails("tunnel", &conditions.tunnel, |tunnel| *tunnel == facts.tunnel, || facts.tunnel.to_string())
        .or_else(|| fails("method", &conditions.method, |method| *method == facts.method, || facts.method.to_string()))
        .or_else(|| fails_pattern("user", &conditions.user, &[facts.user]))
        .or_else(|| fails("client", &conditions.client, |range| range.contains(facts.client), || facts.client.to_canonical().to_string()))
        .or_else(|| fails_pattern("class", &conditions.class, &class))
        .or_else(|| fails_pattern("filter_id", &conditions.filter_id, &filter_id))
        .or_else(|| fails_pattern("group", &conditions.group, &group))
        .or_else(|| fails("time", &conditions.time, |window| window.contains(facts.time), || facts.time.to_string()))
}

pub(crate) fn fails<T: fmt::Display>(name: &str, wanted: &[T], matches: impl Fn(&T) -> bool, got: impl Fn() -> String) -> Option<String> {
    if wanted.is_empty() || wanted.iter().any(matches) {
        return None;
    }
    let wanted = listed(wanted.iter().map(ToString::to_string));
    Some(format!("{name} wanted {wanted}, got {}", got()))
}

pub(crate) fn fails_pattern(name: &str, wanted: &[String], got: &[&str]) -> Option<String> {
    if wanted.is_empty() || wanted.iter().any(|pattern| got.iter().any(|text| glob::matches(pattern, text))) {
        return None;
    }
    let wanted = listed(wanted.iter().map(|pattern| quoted(pattern)));
    let got = if got.is_empty() { "none".to_owned() } else { listed(got.iter().map(|text| quoted(text))) };
    Some(format!("{name} wanted {wanted}, got {got}"))
}

/// `a or b or c (and 3 more)`
fn listed(entries: impl ExactSizeIterator<Item = String>) -> String {
    let more = entries.len().saturating_sub(NAMED_ENTRIES);
    let named = entries.take(NAMED_ENTRIES).collect::<Vec<_>>().join(" or ");
    if more == 0 { named } else { format!("{named} (and {more} more)") }
}

/// Quoted with control characters escaped: the text may come from the wire.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(NAMED_CHARS) {
        Some((cut, _)) => format!("{:?}..", &text[..cut]),
        None => format!("{text:?}"),
    }
}
