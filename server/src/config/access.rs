//! `[[pool]]` and `[[policy]]`.
use super::NamedCredential;
use super::conditions::{CONDITIONS, CONSTRAINTS, conditions, constraints};
use super::error::ConfigError;
use super::reader::{Root, Section, text};
use super::source::Value;
use super::values;
use policy::filter::Filter;
use policy::network::{AddressRange, Conditions, Later, Policy, Settings, TimeWindow, Tunnel};
use policy::pool::{PoolConfig, Pools};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const POOL: &[&str] = &["name", "ipv4", "ipv6"];
const POLICY: &[&str] = &[
    "name",
    "enabled",
    "grant",
    "certificate",
    "pool",
    "address",
    "dns",
    "session_timeout",
    "idle_timeout",
    "selectors",
    "nbns",
    "suffix",
    "dns_domains",
    "routes",
    "filters",
    "rate_limit_in",
    "rate_limit_out",
    "rate_limit_burst",
    "accounting_class",
    "later_group",
    "later_group_for",
];

/// How long a group for later logins holds where nothing is said.
const LATER: Duration = Duration::from_secs(12 * 3600);

const RANGES: &str = "ranges such as \"10.98.0.10-10.98.0.250\" or \"10.98.0.0/24\"";

pub(super) fn pools(root: &Root<'_>) -> Result<Vec<PoolConfig>, ConfigError> {
    let mut pools = Vec::new();
    for section in root.sections("pool", POOL)? {
        pools.push(pool(&section)?);
        // After each one, so that the error stands at the pool that brings it in.
        let key = if section.has("ipv4") { "ipv4" } else { "ipv6" };
        Pools::new(pools.clone()).map_err(|problem| section.error(key, problem))?;
    }
    Ok(pools)
}

fn pool(section: &Section<'_>) -> Result<PoolConfig, ConfigError> {
    let ipv4 = section.list("ipv4", RANGES, |value| match range(value)? {
        AddressRange { start: IpAddr::V4(start), end: IpAddr::V4(end) } => Ok((start, end)),
        _ => Err("is not IPv4".into()),
    })?;
    let ipv6 = section.list("ipv6", "ranges such as \"fd98::10-fd98::fff\" or \"fd98::/64\"", |value| match range(value)? {
        AddressRange { start: IpAddr::V6(start), end: IpAddr::V6(end) } => Ok((start, end)),
        _ => Err("is not IPv6".into()),
    })?;
    if ipv4.is_none() && ipv6.is_none() {
        return Err(section.error("ipv4", format!("is missing, and so is ipv6; expected {RANGES}")));
    }
    Ok(PoolConfig { name: section.name()?, ipv4: ipv4.unwrap_or_default(), ipv6: ipv6.unwrap_or_default() })
}

pub(super) fn range(value: &Value) -> Result<AddressRange, String> {
    values::address_range(text(value)?)
}

/// What policies refer to by name.
pub(super) struct Names<'a> {
    pub pools: &'a [PoolConfig],
    pub filters: &'a [Arc<Filter>],
    pub listeners: &'a [&'a str],
    pub certificates: &'a [NamedCredential],
    /// Those of the local provider too.
    pub radius_servers: Vec<&'a str>,
    pub radius_groups: Vec<&'a str>,
}

pub(super) fn policy_keys() -> Vec<&'static str> {
    [POLICY, CONDITIONS, CONSTRAINTS].concat()
}

pub(super) fn policies(root: &Root<'_>, names: &Names<'_>, warnings: &mut Vec<String>) -> Result<Vec<Policy>, ConfigError> {
    let sections = root.sections("policy", &policy_keys())?;
    if sections.is_empty() {
        warnings.push("there is no [[policy]]: nobody is let in (what no policy grants is denied)".into());
    }
    sections.iter().map(|section| policy(section, names, warnings)).collect()
}

fn policy(section: &Section<'_>, names: &Names<'_>, warnings: &mut Vec<String>) -> Result<Policy, ConfigError> {
    let policy = Policy {
        name: section.name()?,
        disabled: !section.boolean("enabled", true)?,
        grant: section.boolean("grant", true)?,
        certificate: certificate(section, names.certificates)?,
        conditions: conditions(section, names)?,
        constraints: constraints(section)?,
        settings: settings(section, names)?,
    };
    let local = names.radius_servers.contains(&local_provider::SERVER);
    let in_vain = Some(groups_in_vain(&policy.conditions)).filter(|groups| !local && !policy.disabled && !groups.is_empty());
    warnings.extend(in_vain.map(|groups| {
        format!(
            "{}: no group is ever {}: groups are those of users in [local], which there is not; RADIUS names groups by Class or Filter-Id: use class",
            section.title(),
            groups.join(" or ")
        )
    }));
    if policy.grant && !policy.disabled && policy.settings.pool.is_none() {
        warnings.push(format!(
            "{}: grants without naming a pool: only clients whose RADIUS reply names one (Framed-Pool) get an address",
            section.title()
        ));
    }
    Ok(policy)
}

/// Patterns that nothing which RADIUS itself calls a group can match, which are the numbers of Azure's policies.
fn groups_in_vain(conditions: &Conditions) -> Vec<String> {
    let own = conditions.group.iter().filter(|pattern| !may_be_of_azure(pattern)).map(|pattern| format!("{pattern:?}"));
    let inner = [&conditions.any, &conditions.all, &conditions.not].into_iter().flatten().flat_map(groups_in_vain);
    own.chain(inner).collect()
}

/// MS-Azure-Policy-ID, in hexadecimal digits, begins with 6ad1bd.
fn may_be_of_azure(pattern: &str) -> bool {
    const PREFIX: &str = "6ad1bd";
    let literal = pattern.split(['*', '?']).next().unwrap_or_default().to_ascii_lowercase();
    literal.starts_with(PREFIX) || literal.len() < pattern.len() && PREFIX.starts_with(&literal)
}

fn certificate(section: &Section<'_>, certificates: &[NamedCredential]) -> Result<Option<String>, ConfigError> {
    let words: Vec<_> = certificates.iter().map(|one| (one.name.as_str(), one.name.as_str())).collect();
    Ok(section.choice("certificate", &words)?.map(str::to_owned))
}

/// An empty list would be no condition at all, which is hardly what it looks like.
pub(super) fn none_empty(section: &Section<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    for key in keys {
        if section.list(key, "", |_| Ok(()))?.is_some_and(|entries| entries.is_empty()) {
            return Err(section.error(key, "is empty; leave the key out where anything may match"));
        }
    }
    Ok(())
}

/// A list of patterns; absent: none.
pub(super) fn patterns(section: &Section<'_>, key: &str) -> Result<Vec<String>, ConfigError> {
    let found = section.list(key, "patterns such as \"*@example.com\"", |value| values::non_empty(text(value)?))?;
    Ok(found.unwrap_or_default())
}

pub(super) fn time_windows(section: &Section<'_>, key: &str) -> Result<Vec<TimeWindow>, ConfigError> {
    let expected = "hours of the week such as \"mon-fri 08:00-18:00\" or \"daily 22:00-06:00\"";
    Ok(section.list(key, expected, |value| values::time_window(text(value)?))?.unwrap_or_default())
}

pub(super) fn clients(section: &Section<'_>) -> Result<Vec<AddressRange>, ConfigError> {
    Ok(section.list("client", "ranges such as \"192.0.2.0/24\"", range)?.unwrap_or_default())
}

pub(super) const TUNNELS: &[(&str, Tunnel)] = &[("ikev2", Tunnel::Ikev2), ("sstp", Tunnel::Sstp)];

fn settings(section: &Section<'_>, names: &Names<'_>) -> Result<Settings, ConfigError> {
    let pools: Vec<_> = names.pools.iter().map(|pool| (pool.name.as_str(), pool.name.as_str())).collect();
    if pools.is_empty() && section.has("pool") {
        return Err(section.error("pool", "there is no [[pool]]: add one with this name"));
    }
    let (ipv4, ipv6) = fixed(section)?;
    let dns_suffix = section.optional("suffix", "a DNS suffix such as \"corp.example.com\"", |value| values::dns_name(text(value)?))?;
    let second = Duration::from_secs(1);
    let month = Duration::from_secs(30 * 86_400);
    Ok(Settings {
        pool: section.choice("pool", &pools)?.map(str::to_owned),
        ipv4,
        ipv6,
        dns: section.list("dns", "IP addresses of DNS servers", |value| values::address(text(value)?))?.unwrap_or_default(),
        session_timeout: section.duration("session_timeout", second..=month)?,
        idle_timeout: section.duration("idle_timeout", second..=month)?,
        accounting_class: patterns(section, "accounting_class")?,
        selectors: section.list("selectors", "networks such as \"10.0.0.0/8\"", range)?.unwrap_or_default(),
        nbns: section.list("nbns", "IPv4 addresses of WINS servers", values::ipv4_value)?.unwrap_or_default(),
        dns_domains: dns_domains(section, dns_suffix.as_deref())?,
        dns_suffix,
        routes: section.list("routes", "networks such as \"10.0.0.0/8\"", range)?.unwrap_or_default(),
        filters: filters_of(section, names.filters)?,
        rate_limit_in: rate(section, "rate_limit_in")?,
        rate_limit_out: rate(section, "rate_limit_out")?,
        rate_limit_burst: section.duration("rate_limit_burst", Duration::from_millis(1)..=Duration::from_secs(60))?,
        cipher_bits: None,
        later: later(section, &names.radius_groups)?,
    })
}

/// Where not everything goes into the tunnel, names of the suffix are looked up through it unless something else is said; where everything does, a client
/// that is told of domains would look up nothing else there.
fn dns_domains(section: &Section<'_>, suffix: Option<&str>) -> Result<Vec<String>, ConfigError> {
    const EXPECTED: &str = "DNS domains such as \"corp.example.com\"";
    if let Some(domains) = section.list("dns_domains", EXPECTED, |value| values::dns_name(text(value)?))? {
        return Ok(domains);
    }
    let is_split = section.has("routes") || section.has("selectors");
    Ok(suffix.filter(|_| is_split).map(str::to_owned).into_iter().collect())
}

/// `later_group` and `later_group_for`.
fn later(section: &Section<'_>, groups: &[&str]) -> Result<Option<Later>, ConfigError> {
    if groups.is_empty() && section.has("later_group") {
        return Err(section.error("later_group", "there is no [[radius_group]]: add one with this name"));
    }
    let words: Vec<_> = groups.iter().map(|name| (*name, *name)).collect();
    let time = section.duration("later_group_for", Duration::from_secs(60)..=Duration::from_secs(30 * 86_400))?;
    match (section.choice("later_group", &words)?, time) {
        (Some(group), time) => Ok(Some(Later { group: group.to_owned(), time: time.unwrap_or(LATER) })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(section.error("later_group_for", "says how long later_group holds; name that group, or leave this out")),
    }
}

fn filters_of(section: &Section<'_>, filters: &[Arc<Filter>]) -> Result<Vec<Arc<Filter>>, ConfigError> {
    let known: Vec<_> = filters.iter().map(|filter| filter.name.as_str()).collect();
    let expected = if known.is_empty() {
        "names of [[filter]] sections; there is none".into()
    } else {
        format!("names of [[filter]] sections: {}", known.join(", "))
    };
    let find = |value: &Value| {
        let name = text(value)?;
        filters.iter().find(|filter| filter.name == name).cloned().ok_or_else(|| format!("{name:?} is no [[filter]]"))
    };
    Ok(section.list("filters", &expected, find)?.unwrap_or_default())
}

fn rate(section: &Section<'_>, key: &str) -> Result<Option<u64>, ConfigError> {
    section.optional(key, "bits a second such as \"512k\", \"20M\" or \"1G\"", |value| values::bit_rate(text(value)?))
}

/// `address`: one IPv4 address, one IPv6 address, or one of each.
fn fixed(section: &Section<'_>) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), ConfigError> {
    let expected = "an address of the pool, such as \"10.98.0.20\", or one of each family";
    let addresses = section.list("address", expected, |value| values::address(text(value)?))?.unwrap_or_default();
    let mut fixed = (None, None);
    for address in addresses {
        if let Some(what) = policy::pool::unusable(address) {
            return Err(section.error("address", format!("{address} is {what}, which no client can have; expected {expected}")));
        }
        let twice = match address {
            IpAddr::V4(address) => fixed.0.replace(address).is_some(),
            IpAddr::V6(address) => fixed.1.replace(address).is_some(),
        };
        if twice {
            return Err(section.error("address", format!("names two addresses of one family; expected {expected}")));
        }
    }
    Ok(fixed)
}
