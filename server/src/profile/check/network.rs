//! Whether routes and names of a profile are still those that the policy gives.
use super::said::{Routes, Said};
use crate::profile::Kind;
use policy::network::{AddressRange, Policy};
use std::net::IpAddr;

/// What a profile has otherwise than the policy, each with what to do on the client.
pub(super) type Drift = Vec<(String, String)>;

/// Routes of one text at most: the rest is counted.
const NAMED_MAX: usize = 4;

pub(super) fn drift(said: &Said, policy: &Policy) -> Drift {
    let mut drift = routes(said, policy);
    drift.extend(names(said, policy));
    drift
}

fn routes(said: &Said, policy: &Policy) -> Drift {
    let (settings, name) = (&policy.settings, &policy.name);
    let given = if settings.routes.is_empty() { &settings.selectors } else { &settings.routes };
    let routes = match &said.routes {
        Routes::These(routes) if !routes.is_empty() => routes,
        // Others than Windows ask for everything and take what they are given.
        Routes::Everything if said.client == Kind::Windows && !said.device && !given.is_empty() => {
            let problem = format!("it sends everything into the tunnel, and policy {name:?} is for {} alone", listed(given));
            return vec![(problem, "write SplitTunnel into RoutingPolicyType, and a Route for each of them".into())];
        }
        Routes::These(_) | Routes::Everything | Routes::Unsaid => return Vec::new(),
    };
    let remedy = || "take the routes as `evergate profile` writes them".to_owned();
    let mut drift = Vec::new();
    let beyond = |of: &[AddressRange]| if of.is_empty() { Vec::new() } else { uncovered(routes, of) };
    let (refused, surplus) = (beyond(&settings.selectors), beyond(&settings.routes));
    if !refused.is_empty() {
        drift.push((
            format!("it sends {} into the tunnel, which selectors of policy {name:?} let nobody reach", listed(&refused)),
            remedy(),
        ));
    } else if !surplus.is_empty() {
        drift.push((format!("it sends {} into the tunnel, which is not among routes of policy {name:?}", listed(&surplus)), remedy()));
    }
    let missing = uncovered(given, routes);
    if !missing.is_empty() {
        let problem = format!("policy {name:?} sends {} into the tunnel, to which no route of the profile leads", listed(&missing));
        drift.push((problem, remedy()));
    }
    drift
}

fn names(said: &Said, policy: &Policy) -> Drift {
    let (settings, name) = (&policy.settings, &policy.name);
    let mut drift = Vec::new();
    let bare = |domain: &str| domain.trim_matches('.').to_ascii_lowercase();
    if let Some(suffix) = &settings.dns_suffix
        && !said.names.suffixes.is_empty()
        && !said.names.suffixes.iter().any(|one| bare(one) == bare(suffix))
    {
        let problem = format!("its DNS suffix is {}, and policy {name:?} gives {suffix}", said.names.suffixes.join(", "));
        drift.push((problem, suffix_remedy(said.client, suffix)));
    }
    let rules = &said.names.rules;
    if settings.dns.is_empty() || rules.is_empty() {
        return drift;
    }
    let listed_dns = settings.dns.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
    for (servers, domains) in asked_elsewhere(rules, &settings.dns) {
        let all = domains.iter().any(|domain| bare(domain).is_empty());
        let names = if all { "all names".into() } else { format!("names of {}", domains.join(", ")) };
        let problem = format!("it asks {servers} for {names}, and policy {name:?} gives {listed_dns}");
        drift.push((problem, servers_remedy(said.client, &settings.dns)));
    }
    let within = |domain: &str, of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.') || of.is_empty());
    let is_unruled = |domain: &&String| !rules.iter().any(|(ruled, _)| within(&bare(domain), &bare(ruled)));
    for domain in settings.dns_domains.iter().filter(is_unruled) {
        let problem = format!("policy {name:?} has names of {domain} looked up through the tunnel, and the profile does not");
        drift.push((problem, domain_remedy(said.client, domain, &listed_dns)));
    }
    drift
}

/// Servers that are none of `given`, as a list, each with the domains that are looked up there.
fn asked_elsewhere<'a>(rules: &'a [(String, Vec<IpAddr>)], given: &[IpAddr]) -> Vec<(String, Vec<&'a str>)> {
    let mut asked: Vec<(String, Vec<&str>)> = Vec::new();
    for (domain, servers) in rules {
        let others: Vec<_> = servers.iter().filter(|server| !given.contains(server)).map(IpAddr::to_string).collect();
        let others = others.join(", ");
        match asked.iter_mut().find(|(known, _)| *known == others) {
            _ if others.is_empty() => {}
            Some((_, domains)) => domains.push(domain),
            None => asked.push((others, vec![domain])),
        }
    }
    asked
}

fn suffix_remedy(client: Kind, suffix: &str) -> String {
    match client {
        Kind::NetworkManager => format!("begin dns-search in [ipv4] and [ipv6] with {suffix};"),
        Kind::Apple => format!("put {suffix} in front in SearchDomains"),
        _ => format!("write {suffix} into DnsSuffix"),
    }
}

fn servers_remedy(client: Kind, servers: &[IpAddr]) -> String {
    let list = |servers: Vec<&IpAddr>, separator| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator);
    if client != Kind::NetworkManager {
        let key = if client == Kind::Apple { "ServerAddresses" } else { "DnsServers" };
        return format!("write {} into {key}", list(servers.iter().collect(), ","));
    }
    let (v4, v6): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.is_ipv4());
    let families = [("ipv4", v4), ("ipv6", v6)].into_iter().filter(|(_, servers)| !servers.is_empty());
    let families = families.map(|(family, servers)| format!("dns={}; into [{family}]", list(servers, ";")));
    format!("write {}", families.collect::<Vec<_>>().join(" and "))
}

fn domain_remedy(client: Kind, domain: &str, servers: &str) -> String {
    match client {
        Kind::NetworkManager => format!("add ~{domain}; to dns-search in [ipv4] and [ipv6]"),
        Kind::Apple => format!("add {domain} to SupplementalMatchDomains"),
        _ => format!("add a DomainNameInformation for .{domain} with DnsServers {servers}"),
    }
}

fn listed(ranges: &[AddressRange]) -> String {
    let named: Vec<_> = ranges.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = ranges.len() - named.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}

/// Those that do not lie wholly in `others` together.
fn uncovered(ranges: &[AddressRange], others: &[AddressRange]) -> Vec<AddressRange> {
    let merged = merged(others);
    let is_covered = |range: &AddressRange| {
        let behind = merged.partition_point(|one| one.start <= range.start);
        merged[..behind].last().is_some_and(|one| one.contains(range.start) && one.contains(range.end))
    };
    ranges.iter().filter(|range| !is_covered(range)).copied().collect()
}

/// In order, and none next to another.
fn merged(ranges: &[AddressRange]) -> Vec<AddressRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<AddressRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if last.contains(range.start) || following(last.end) == Some(range.start) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_side_by_side_cover_what_spans_them() {
        let ranges = |list: &[&str]| list.iter().map(|one| crate::config::address_range(one).unwrap()).collect::<Vec<_>>();
        for (range, others, covered) in [
            ("10.0.0.0/8", &["10.0.0.0/8"][..], true),
            ("10.0.0.0/8", &["10.128.0.0/9", "10.0.0.0/9"], true),
            ("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.1-10.255.255.255"], false),
            ("192.0.2.1-192.0.2.2", &["192.0.2.2", "192.0.2.1"], true),
            ("10.1.0.0/16", &["0.0.0.0/0"], true),
            ("2001:db8::/32", &["0.0.0.0/0", "2001:db8::/33", "2001:db8:8000::/33"], true),
            ("2001:db8::/32", &["0.0.0.0/0"], false),
            ("255.255.255.255", &["255.255.255.254"], false),
            ("10.0.0.0/8", &[], false),
        ] {
            assert_eq!(uncovered(&ranges(&[range]), &ranges(others)).is_empty(), covered, "{range} {others:?}");
        }
    }
}
