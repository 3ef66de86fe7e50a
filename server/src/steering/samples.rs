//! Clients that stand for all to which a policy may apply.
use policy::network::{AddressRange, Conditions, Facts, LocalTime, Method, Policy, TimeWindow, Tunnel};
use std::net::{IpAddr, Ipv4Addr};

/// Wednesday noon: a time like any other.
const NOON: LocalTime = LocalTime { weekday: 2, minute: 720 };
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is known of such a client before its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) server_name: Option<String>,
    pub(crate) client: IpAddr,
    pub(crate) gateway: IpAddr,
    pub(crate) by_certificate: bool,
    pub(crate) time: LocalTime,
}

impl Sample {
    /// `IDr vpn.example.com; comes from 192.0.2.0 to 198.51.100.1`; `source`: what carries the name.
    pub(crate) fn words(&self, source: &str) -> String {
        let name = self.server_name.as_ref().map_or_else(|| format!("no {source}"), |name| format!("{source} {name}"));
        let known = |address: IpAddr, word: &str| (!address.is_unspecified()).then(|| format!("; {word} {address}"));
        let places = known(self.client, "comes from").unwrap_or_default() + &known(self.gateway, "comes to").unwrap_or_default();
        let way = if self.by_certificate { "; proves itself with a certificate" } else { "" };
        let time = if self.time == NOON { String::new() } else { format!("; {}", self.time) };
        format!("{name}{places}{way}{time}")
    }

    pub(crate) fn facts<'a>(&'a self, tunnel: Tunnel, listener: &'a str) -> Facts<'a> {
        Facts {
            method: if self.by_certificate { Method::Certificate } else { Method::Eap },
            client: self.client,
            gateway: self.gateway,
            listener,
            server_name: self.server_name.as_deref(),
            ..Facts::before_login(tunnel, self.time)
        }
    }
}

/// Whether a policy can be for clients of this listener, as far as its own `tunnel` and `listener` say.
pub(crate) fn may_be_for(policy: &Policy, listener: &str, tunnel: Tunnel) -> bool {
    let Conditions { tunnel: tunnels, listener: listeners, .. } = &policy.conditions;
    (tunnels.is_empty() || tunnels.contains(&tunnel))
        && (listeners.is_empty() || listeners.iter().any(|pattern| policy::glob::matches(pattern, listener)))
}

/// Values of one kind that are tried: each is tried with each of every other kind.
const OF_EACH: usize = 8;

/// Clients of the kinds that these policies tell apart, without those whom one of them cannot be for. `names`: what they may ask for besides what
/// conditions say; `gateways`: where they may come to besides.
pub(crate) fn samples(policies: &[&Policy], names: &[String], gateways: &[IpAddr], tunnel: Tunnel) -> Vec<Sample> {
    let own: Vec<_> = policies.iter().map(|policy| &policy.conditions).collect();
    let all: Vec<_> = own.iter().flat_map(|conditions| flat(conditions)).collect();
    let patterns = all.iter().flat_map(|one| &one.server_name).map(|pattern| instance(pattern));
    let asked = names.iter().cloned().chain(patterns).map(Some);
    let names = distinct(std::iter::once(None).chain(asked), |name: &Option<String>| {
        own.iter().all(|one| one.server_name.is_empty() || name.as_ref().is_some_and(|name| fits(&one.server_name, name)))
    });
    let clients = all.iter().flat_map(|one| addresses(&one.client, &one.calling_station_id));
    let clients = distinct(std::iter::once(NOWHERE).chain(clients), |client| {
        own.iter().all(|one| is_in(&one.client, &one.calling_station_id, *client))
    });
    let reached = all.iter().flat_map(|one| addresses(&one.gateway, &one.called_station_id));
    let gateways = distinct(std::iter::once(NOWHERE).chain(gateways.iter().copied()).chain(reached), |gateway| {
        own.iter().all(|one| is_in(&one.gateway, &one.called_station_id, *gateway))
    });
    let times = all.iter().flat_map(|one| &one.time).flat_map(beginning);
    let times = distinct(std::iter::once(NOON).chain(times), |time| {
        own.iter().all(|one| one.time.is_empty() || one.time.iter().any(|window| window.contains(*time)))
    });
    let ways: &[bool] = if tunnel == Tunnel::Ikev2 { &[false, true] } else { &[false] };
    let mut samples = Vec::new();
    for server_name in &names {
        for &client in &clients {
            for &gateway in &gateways {
                for &time in &times {
                    let sample = |&by_certificate| Sample { server_name: server_name.clone(), client, gateway, by_certificate, time };
                    samples.extend(ways.iter().map(sample));
                }
            }
        }
    }
    samples
}

/// Conditions with all groups in them, however deep.
fn flat(conditions: &Conditions) -> Vec<&Conditions> {
    let groups = [&conditions.any, &conditions.all, &conditions.not].into_iter().flatten();
    std::iter::once(conditions).chain(groups.flat_map(flat)).collect()
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>, possible: impl Fn(&T) -> bool) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values.filter(possible) {
        if distinct.len() < OF_EACH && !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn fits(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| policy::glob::matches(pattern, text))
}

fn is_in(ranges: &[AddressRange], patterns: &[String], address: IpAddr) -> bool {
    (ranges.is_empty() || ranges.iter().any(|range| range.contains(address)))
        && (patterns.is_empty() || fits(patterns, &address.to_string()))
}

fn addresses<'a>(ranges: &'a [AddressRange], patterns: &'a [String]) -> impl Iterator<Item = IpAddr> + 'a {
    ranges.iter().map(|range| range.start).chain(patterns.iter().filter_map(|pattern| instance(&pattern.replace('*', "1")).parse().ok()))
}

/// A text that matches the pattern.
fn instance(pattern: &str) -> String {
    pattern.replace('*', "any").replace('?', "1")
}

/// When it first opens in a week.
fn beginning(window: &TimeWindow) -> Option<LocalTime> {
    let weekday = (0..7).find(|day| window.days & (1 << day) != 0)?;
    Some(LocalTime { weekday, minute: window.from.min(1_439) })
}
