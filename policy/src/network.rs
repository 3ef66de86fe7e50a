//! Ordered network policies: the first whose conditions all match decides; none means no.
use std::net::IpAddr;
use std::time::Duration;

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
    pub time: LocalTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    Ikev2,
    Sstp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Eap,
    Certificate,
}

/// Wall-clock time where the gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 = Monday .. 6 = Sunday.
    pub weekday: u8,
    /// 0..=1439.
    pub minute: u16,
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
    pub time: Vec<TimeWindow>,
}

/// Inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    pub start: IpAddr,
    pub end: IpAddr,
}

/// Days and minutes; `from > to` runs over midnight (the day is that of `from`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Bit 0 = Monday.
    pub days: u8,
    pub from: u16,
    pub to: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub pool: Option<String>,
    pub dns: Vec<IpAddr>,
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// What the client may reach; empty: everything.
    pub selectors: Vec<AddressRange>,
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

pub fn decide(_policies: &[Policy], _facts: &Facts<'_>) -> Decision {
    todo!()
}
