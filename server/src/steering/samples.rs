//! Clients that stand for all to which a policy may apply.
use policy::network::{AddressRange, Conditions, Facts, LocalTime, Method, Policy, TimeWindow, Tunnel};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

    /// What [`pki::Hints::words`] leaves out of such clients: ` and come from 192.0.2.0`.
    pub(super) fn more_words(&self) -> String {
        let place = (!self.client.is_unspecified()).then(|| format!(" and come from {}", self.client));
        let way = self.by_certificate.then(|| " and prove themselves with a certificate".to_owned());
        let time = (self.time != NOON).then(|| format!(" on {}", self.time));
        [place, way, time].into_iter().flatten().collect()
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

/// Values of one kind that are tried where an example is wanted: each is tried with each of every other kind.
const OF_EACH: usize = 8;

/// Examples of the clients that this policy can be for. `names`: what they may ask for besides what conditions say; `gateways`: where they may come
/// to besides.
pub(crate) fn samples(policy: &Policy, names: &[String], gateways: &[IpAddr], tunnel: Tunnel) -> Vec<Sample> {
    let (only, own) = ([policy], &policy.conditions);
    let names = values::names(&only, names).into_iter().filter(|name| asks(own, name.as_deref())).take(OF_EACH);
    let clients: Vec<_> = values::clients(&only).into_iter().filter(|client| comes_from(own, *client)).take(OF_EACH).collect();
    let reached = values::gateways(&only, gateways).into_iter().filter(|gateway| comes_to(own, *gateway));
    let gateways: Vec<_> = reached.take(OF_EACH).collect();
    let times: Vec<_> = values::times(&only).into_iter().filter(|time| is_open(own, *time)).take(OF_EACH).collect();
    let mut samples = Vec::new();
    for server_name in names {
        for &client in &clients {
            for &gateway in &gateways {
                for &time in &times {
                    let sample = |&by_certificate| Sample { server_name: server_name.clone(), client, gateway, by_certificate, time };
                    samples.extend(ways(tunnel).iter().map(sample));
                }
            }
        }
    }
    samples
}

/// Whether clients prove themselves with a certificate of their own, as the gateway knows before it shows its own.
pub(super) fn ways(tunnel: Tunnel) -> &'static [bool] {
    if tunnel == Tunnel::Ikev2 { &[false, true] } else { &[false] }
}

/// The conditions do not rule clients out that ask for this.
pub(super) fn asks(own: &Conditions, name: Option<&str>) -> bool {
    own.server_name.is_empty() || name.is_some_and(|name| fits(&own.server_name, name))
}

/// The conditions do not rule clients out that come from here.
pub(super) fn comes_from(own: &Conditions, client: IpAddr) -> bool {
    is_in(&own.client, &own.calling_station_id, client)
}

/// The conditions do not rule clients out that come to this address of the gateway.
pub(super) fn comes_to(own: &Conditions, gateway: IpAddr) -> bool {
    is_in(&own.gateway, &own.called_station_id, gateway)
}

/// The conditions do not rule clients out that come at this time.
pub(super) fn is_open(own: &Conditions, time: LocalTime) -> bool {
    own.time.is_empty() || own.time.iter().any(|window| window.contains(time))
}

fn fits(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| policy::glob::matches(pattern, text))
}

fn is_in(ranges: &[AddressRange], patterns: &[String], address: IpAddr) -> bool {
    (ranges.is_empty() || ranges.iter().any(|range| range.contains(address)))
        && (patterns.is_empty() || fits(patterns, &address.to_string()))
}

/// What policies tell apart, kind by kind, each value once and first of all the one that says nothing.
pub(super) mod values {
    use super::*;

    /// What is asked for; `more`: names and patterns besides.
    pub(in super::super) fn names(policies: &[&Policy], more: &[String]) -> Vec<Option<String>> {
        let mut patterns: Vec<&str> = more.iter().map(String::as_str).collect();
        patterns.extend(all(policies).flat_map(|one| &one.server_name).map(String::as_str));
        patterns.sort_unstable();
        patterns.dedup();
        let with_star: Vec<_> = patterns.iter().copied().filter(|pattern| pattern.contains('*')).collect();
        let common = with_star.iter().flat_map(|one| with_star.iter().filter_map(move |other| common(one, other)));
        // In the order in which they were given: certificates' own names come before what conditions make up.
        let given = more.iter().chain(all(policies).flat_map(|one| &one.server_name)).map(|pattern| instance(pattern));
        distinct(std::iter::once(None).chain(given.chain(common).map(Some)))
    }

    /// Where clients come from.
    pub(in super::super) fn clients(policies: &[&Policy]) -> Vec<IpAddr> {
        let clients = all(policies).flat_map(|one| addresses(&one.client, &one.calling_station_id));
        distinct(std::iter::once(NOWHERE).chain(clients))
    }

    /// Where they come to; `more`: addresses besides.
    pub(in super::super) fn gateways(policies: &[&Policy], more: &[IpAddr]) -> Vec<IpAddr> {
        let reached = all(policies).flat_map(|one| addresses(&one.gateway, &one.called_station_id));
        distinct(std::iter::once(NOWHERE).chain(more.iter().copied()).chain(reached))
    }

    /// When they come.
    pub(in super::super) fn times(policies: &[&Policy]) -> Vec<LocalTime> {
        let times = all(policies).flat_map(|one| &one.time).flat_map(edges);
        distinct(std::iter::once(NOON).chain(times))
    }

    fn all<'a>(policies: &[&'a Policy]) -> impl Iterator<Item = &'a Conditions> {
        policies.iter().flat_map(|policy| flat(&policy.conditions))
    }
}

/// Conditions with all groups in them, however deep.
fn flat(conditions: &Conditions) -> Vec<&Conditions> {
    let groups = [&conditions.any, &conditions.all, &conditions.not].into_iter().flatten();
    std::iter::once(conditions).chain(groups.flat_map(flat)).collect()
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// The first address of each range and the first one behind it, and one for each pattern.
fn addresses<'a>(ranges: &'a [AddressRange], patterns: &'a [String]) -> impl Iterator<Item = IpAddr> + 'a {
    let edges = ranges.iter().flat_map(|range| [Some(range.start), after(range.end)]).flatten();
    edges.chain(patterns.iter().filter_map(|pattern| address(pattern)))
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into()),
    }
}

/// An address whose text matches the pattern, such as 10.1.1.1 for `10.*`.
fn address(pattern: &str) -> Option<IpAddr> {
    const FILLS: [&str; 8] = ["1", "1.1", "1.1.1", "1.1.1.1", "", ":1", "::1", "2::1"];
    FILLS.iter().find_map(|fill| {
        let text = pattern.replacen('*', fill, 1).replace(['*', '?'], "1");
        let address: IpAddr = text.parse().ok()?;
        policy::glob::matches(pattern, &address.to_string()).then_some(address)
    })
}

/// A text that matches the pattern.
fn instance(pattern: &str) -> String {
    pattern.replace('*', "any").replace('?', "1")
}

/// A text that matches both patterns, if what one says fills the first gap of the other: `vpn.corp.test` for `vpn.*` and `*.corp.test`.
fn common(pattern: &str, other: &str) -> Option<String> {
    let literal = other.replace('*', "").replace('?', "1");
    let is_both = |text: &String| policy::glob::matches(pattern, text) && policy::glob::matches(other, text);
    let filled = [literal.trim_matches('.'), literal.as_str()].map(|literal| instance(&pattern.replacen('*', literal, 1)));
    filled.into_iter().find(is_both).filter(|_| pattern != other)
}

/// When it opens and closes, on each of its days.
fn edges(window: &TimeWindow) -> Vec<LocalTime> {
    let days = (0..7_u8).filter(|day| window.days & (1 << day) != 0);
    let on = |day: u8| {
        let next = window.from > window.to || window.to >= 1_440;
        let close = LocalTime { weekday: if next { (day + 1) % 7 } else { day }, minute: window.to % 1_440 };
        [LocalTime { weekday: day, minute: window.from.min(1_439) }, close]
    };
    days.flat_map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_addresses_are_filled_until_there_is_an_address() {
        for (pattern, expected) in [
            ("10.*", "10.1.1.1"),
            ("10.2.*", "10.2.1.1"),
            ("192.0.2.25*", "192.0.2.251"),
            ("*.*.2.1", "1.1.2.1"),
            ("2001:db8:*", "2001:db8::1"),
        ] {
            assert_eq!(address(pattern).map(|address| address.to_string()).as_deref(), Some(expected), "{pattern}");
        }
        assert_eq!(address("02-00-*"), None);
    }

    #[test]
    fn a_window_has_two_edges_on_each_of_its_days() {
        let at = |weekday, minute| LocalTime { weekday, minute };
        let edges = |days, from, to| edges(&TimeWindow { days, from, to });
        assert_eq!(edges(0b11, 480, 1_080), [at(0, 480), at(0, 1_080), at(1, 480), at(1, 1_080)]);
        assert_eq!(edges(0b100_0000, 1_320, 360), [at(6, 1_320), at(0, 360)]);
        assert_eq!(edges(0b1, 0, 1_440), [at(0, 0), at(1, 0)]);
    }

    #[test]
    fn two_patterns_have_a_name_in_common() {
        assert_eq!(common("vpn.*", "*.corp.test").as_deref(), Some("vpn.corp.test"));
        assert_eq!(common("*.corp.test", "vpn.*").as_deref(), Some("vpn.corp.test"));
        assert_eq!(common("*.a.test", "*.b.test"), None);
    }
}
