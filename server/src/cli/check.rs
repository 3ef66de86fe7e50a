//! `evergate check`: what a configuration comes to.
use super::text::{Cell, Mark, Style, bit_rate, cell, clean, count, date, heading, pairs, table};
use super::{FAILED, OK};
use crate::api::types::PolicyReport;
use crate::certificates::{SOON_DAYS, purpose};
use crate::config::{self, Config, NamedCredential};
use policy::filter::{Chain, Filter};
use policy::network::Policy;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Result, Write};
use std::path::Path;

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    found: Option<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    name: String,
    control_socket: String,
    certificates: Vec<CertificateRow>,
    listeners: Vec<ListenerRow>,
    radius: Vec<RadiusRow>,
    radius_groups: Vec<GroupRow>,
    local: Option<LocalRow>,
    request_policies: Vec<RequestRow>,
    policies: Vec<PolicyReport>,
    /// How many [[policy.test]] these policies meet.
    policy_tests: usize,
    pools: Vec<PoolRow>,
    filters: Vec<FilterRow>,
    ciphers: Ciphers,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FilterRow {
    name: String,
    rules_in: Vec<String>,
    /// Where no rule matches.
    default_in: String,
    rules_out: Vec<String>,
    default_out: String,
    /// Policies that apply it; Filter-Id may name it besides.
    policies: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CertificateRow {
    name: String,
    subject: String,
    issuer: String,
    /// What it is made out to: DNS names, then addresses.
    made_out_to: Vec<String>,
    extended_key_usage: Vec<String>,
    key: String,
    /// Unix time.
    not_after: i64,
    days_left: i64,
}

#[derive(Debug, Serialize)]
struct ListenerRow {
    name: String,
    protocol: &'static str,
    addresses: Vec<String>,
    /// UDP ports of IKEv2, TCP port of SSTP.
    ports: Vec<u16>,
    auth: Vec<&'static str>,
    certificates: Vec<String>,
    client_authorities: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RadiusRow {
    name: String,
    host: String,
    authentication: String,
    accounting: Option<String>,
    source: Option<String>,
    nas_identifier: String,
}

#[derive(Debug, Serialize)]
struct GroupRow {
    name: String,
    /// With priority and weight.
    servers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LocalRow {
    users_file: String,
    users: usize,
    /// Users of each group.
    groups: BTreeMap<String, usize>,
    methods: Vec<&'static str>,
    client_authorities: Vec<String>,
    /// Wrong passwords; 0: no bound.
    lockout_failures: u32,
}

#[derive(Debug, Serialize)]
struct RequestRow {
    name: String,
    conditions: Vec<String>,
    asks: String,
    settings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PoolRow {
    name: String,
    family: &'static str,
    ranges: Vec<String>,
    /// Text, since JSON numbers end below the size of an IPv6 network.
    size: String,
}

#[derive(Debug, Serialize)]
struct Ciphers {
    ike: Vec<&'static str>,
    prfs: Vec<&'static str>,
    groups: Vec<&'static str>,
    esp: Vec<&'static str>,
    pfs: Vec<&'static str>,
    /// Of an additional key exchange; empty: off.
    additional: Vec<&'static str>,
}

pub(super) fn check(path: &Path, json: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let loaded = Config::load(path, &config::environment());
    let config = path.display().to_string();
    let report = match loaded {
        Ok(loaded) => Report { ok: true, config, error: None, found: Some(found(&loaded, jiff::Timestamp::now().as_second())) },
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Report { ok: false, config, error: Some(error.to_string()), found: None }
        }
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else if let Some(found) = &report.found {
        print(found, style, out)?;
        let warnings = match found.warnings.len() {
            0 => String::new(),
            1 => " (1 warning)".into(),
            count => format!(" ({count} warnings)"),
        };
        writeln!(out, "\n{}: {} is good{warnings}", style.mark(Mark::Good, "ok"), report.config)?;
    }
    Ok(if report.ok { OK } else { FAILED })
}

fn found(config: &Config, now: i64) -> Found {
    let ciphers = &config.ciphers;
    Found {
        name: config.server.name.clone(),
        control_socket: config.server.control_socket.display().to_string(),
        certificates: config.certificates.iter().map(|certificate| certificate_row(certificate, now)).collect(),
        listeners: config.ikev2.iter().map(ikev2_row).chain(config.sstp.iter().map(sstp_row)).collect(),
        radius: config.radius.iter().map(radius_row).collect(),
        radius_groups: config.radius_groups.iter().map(group_row).collect(),
        local: config.local.as_ref().map(local_row),
        request_policies: config.requests.iter().map(request_row).collect(),
        policies: config.policies.iter().map(describe_policy).collect(),
        policy_tests: config.policy_tests,
        pools: config.pools.iter().flat_map(pool_rows).collect(),
        filters: config.filters.iter().map(|filter| filter_row(filter, &config.policies)).collect(),
        ciphers: Ciphers {
            ike: ciphers.ike.iter().map(|suite| config::suite_name(*suite)).collect(),
            prfs: ciphers.prfs.iter().map(|prf| config::prf_name(*prf)).collect(),
            groups: ciphers.groups.iter().map(|group| config::group_name(*group)).collect(),
            esp: ciphers.esp.iter().map(|suite| config::suite_name(*suite)).collect(),
            pfs: ciphers.pfs_groups.iter().map(|group| config::group_name(*group)).collect(),
            additional: ciphers.additional.iter().map(|group| config::group_name(*group)).collect(),
        },
        warnings: config.warnings.clone(),
    }
}

fn certificate_row(certificate: &NamedCredential, now: i64) -> CertificateRow {
    let leaf = certificate.credential.leaf();
    let addresses = leaf.ip_addresses.iter().map(ToString::to_string);
    CertificateRow {
        name: certificate.name.clone(),
        subject: leaf.subject.clone(),
        issuer: leaf.issuer.clone(),
        made_out_to: leaf.dns_names.iter().cloned().chain(addresses).collect(),
        extended_key_usage: leaf.eku.iter().flatten().map(|oid| purpose(oid).to_owned()).collect(),
        key: leaf.key_kind.map_or_else(|| "unknown".into(), |kind| kind.to_string()),
        not_after: leaf.not_after,
        days_left: (leaf.not_after - now).div_euclid(86_400),
    }
}

fn ikev2_row(listener: &config::Ikev2Listener) -> ListenerRow {
    let ways = [(listener.auth.eap, "eap"), (listener.auth.certificate, "certificate")];
    ListenerRow {
        name: listener.name.clone(),
        protocol: "ikev2",
        addresses: listener.addresses.iter().map(ToString::to_string).collect(),
        ports: vec![listener.ike_port, listener.nat_port],
        auth: ways.into_iter().filter(|(on, _)| *on).map(|(_, way)| way).collect(),
        certificates: listener.certificates.iter().map(|certificate| certificate.name.clone()).collect(),
        client_authorities: listener.client_roots.roots().iter().map(|root| root.subject.clone()).collect(),
    }
}

fn sstp_row(listener: &config::SstpListener) -> ListenerRow {
    use ppp::AuthProtocol;
    let word = |way: &AuthProtocol| match way {
        AuthProtocol::Eap => "eap",
        AuthProtocol::MsChapV2 => "mschapv2",
        AuthProtocol::Chap => "chap",
        AuthProtocol::Pap => "pap",
    };
    ListenerRow {
        name: listener.name.clone(),
        protocol: "sstp",
        addresses: listener.addresses.iter().map(ToString::to_string).collect(),
        ports: vec![listener.port],
        auth: listener.auth.iter().map(word).collect(),
        certificates: listener.certificates.iter().map(|certificate| certificate.name.clone()).collect(),
        client_authorities: Vec::new(),
    }
}

fn radius_row(radius: &config::RadiusServer) -> RadiusRow {
    RadiusRow {
        name: radius.server.name.clone(),
        host: radius.host.clone(),
        authentication: radius.server.address().to_string(),
        accounting: radius.server.accounting_address().map(|address| address.to_string()),
        source: radius.server.source.map(|address| address.to_string()),
        nas_identifier: radius.server.nas_identifier.clone().unwrap_or_default(),
    }
}

fn group_row(group: &radius_client::Group) -> GroupRow {
    let member = |member: &radius_client::Member| format!("{} (priority {}, weight {})", member.server, member.priority, member.weight);
    GroupRow { name: group.name.clone(), servers: group.members.iter().map(member).collect() }
}

fn local_row(local: &config::LocalProvider) -> LocalRow {
    use local_provider::EapMethod;
    let mut groups = BTreeMap::new();
    for group in local.users.iter().flat_map(|user| &user.groups) {
        *groups.entry(group.clone()).or_default() += 1;
    }
    let word = |method: &EapMethod| match method {
        EapMethod::MsChapV2 => "mschapv2",
        EapMethod::Tls => "tls",
    };
    LocalRow {
        users_file: local.users_file.display().to_string(),
        users: local.users.len(),
        groups,
        methods: local.methods.iter().map(word).collect(),
        client_authorities: local.client_roots.roots().iter().map(|root| root.subject.clone()).collect(),
        lockout_failures: local.lockout.failures,
    }
}

fn request_row(policy: &policy::request::RequestPolicy) -> RequestRow {
    let wanted = &policy.conditions;
    let conditions = [
        either("realm", &wanted.realm),
        either("user", &wanted.user),
        either("tunnel", &wanted.tunnel),
        either("listener", &wanted.listener),
        either("client", &wanted.client),
        either("time", &wanted.time),
    ];
    let settings = [
        (!policy.rewrite.is_empty()).then(|| "rewrites the user name".to_owned()),
        policy.strip_realm.then(|| "strips the realm".to_owned()),
        policy.accounting.as_ref().map(|group| format!("accounting to group {group:?}")),
    ];
    RequestRow {
        name: policy.name.clone(),
        conditions: conditions.into_iter().flatten().collect(),
        asks: policy.forward.to_string(),
        settings: settings.into_iter().flatten().collect(),
    }
}

fn either<T: ToString>(name: &str, entries: &[T]) -> Option<String> {
    let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
    (!entries.is_empty()).then(|| format!("{name} {}", entries.join(" or ")))
}

/// A policy in words.
pub(crate) fn describe_policy(policy: &Policy) -> PolicyReport {
    let settings = &policy.settings;
    let timeout = |name, timeout: Option<std::time::Duration>| timeout.map(|timeout| format!("{name} {}", config::duration_text(timeout)));
    let list = |name: &str, entries: Vec<String>| (!entries.is_empty()).then(|| format!("{name} {}", entries.join(", ")));
    let described = [
        settings.pool.as_ref().map(|pool| format!("pool {pool}")),
        settings.ipv4.map(|address| format!("address {address}")),
        settings.ipv6.map(|address| format!("address {address}")),
        list("dns", settings.dns.iter().map(ToString::to_string).collect()),
        list("nbns", settings.nbns.iter().map(ToString::to_string).collect()),
        settings.dns_suffix.as_ref().map(|suffix| format!("suffix {suffix}")),
        list("looks up", settings.dns_domains.clone()),
        list("routes", settings.routes.iter().map(ToString::to_string).collect()),
        timeout("session", settings.session_timeout),
        timeout("idle", settings.idle_timeout),
        list("accounting class", settings.accounting_class.clone()),
        list("reaches", settings.selectors.iter().map(ToString::to_string).collect()),
        list("filters", settings.filters.iter().map(|filter| filter.name.clone()).collect()),
        settings.rate_limit_in.map(|limit| format!("from the client {}", bit_rate(limit))),
        settings.rate_limit_out.map(|limit| format!("to it {}", bit_rate(limit))),
    ];
    PolicyReport {
        name: policy.name.clone(),
        grant: policy.grant,
        enabled: !policy.disabled,
        conditions: policy.words(),
        constraints: policy.constraints.words(),
        settings: described.into_iter().flatten().collect(),
    }
}

fn pool_rows(pool: &policy::pool::PoolConfig) -> Vec<PoolRow> {
    let (ipv4, ipv6) = policy::pool::pool_size(pool);
    let row = |family, ranges: Vec<String>, size: u128| PoolRow { name: pool.name.clone(), family, ranges, size: size.to_string() };
    let rows = [
        row("IPv4", pool.ipv4.iter().map(|(start, end)| range(*start, *end)).collect(), ipv4),
        row("IPv6", pool.ipv6.iter().map(|(start, end)| range(*start, *end)).collect(), ipv6),
    ];
    rows.into_iter().filter(|row| !row.ranges.is_empty()).collect()
}

fn filter_row(filter: &Filter, policies: &[Policy]) -> FilterRow {
    let rules = |chain: &Chain| chain.rules().iter().map(ToString::to_string).collect();
    let applies = |policy: &&Policy| policy.settings.filters.iter().any(|of| of.name == filter.name);
    FilterRow {
        name: filter.name.clone(),
        rules_in: rules(&filter.input),
        default_in: filter.input.default_action().to_string(),
        rules_out: rules(&filter.output),
        default_out: filter.output.default_action().to_string(),
        policies: policies.iter().filter(applies).map(|policy| policy.name.clone()).collect(),
    }
}

fn filter_cells(filter: &FilterRow) -> Vec<Cell> {
    let rules = |rules: &[String], default: &str| format!("{} rules, else {default}", rules.len());
    let (from, to) = (rules(&filter.rules_in, &filter.default_in), rules(&filter.rules_out, &filter.default_out));
    vec![cell(&filter.name), cell(from), cell(to), cell(filter.policies.join(", "))]
}

fn range(start: impl Into<std::net::IpAddr>, end: impl Into<std::net::IpAddr>) -> String {
    policy::network::AddressRange { start: start.into(), end: end.into() }.to_string()
}

fn print(found: &Found, style: Style, out: &mut dyn Write) -> Result<()> {
    pairs(out, style, &[("Gateway", found.name.clone()), ("Control socket", found.control_socket.clone())])?;
    heading(out, style, "Certificates")?;
    let rows: Vec<_> = found.certificates.iter().map(certificate_cells).collect();
    table(out, style, &["NAME", "MADE OUT TO", "PURPOSE", "KEY", "ISSUER", "EXPIRES"], &rows)?;
    heading(out, style, "Listeners")?;
    let rows: Vec<_> = found.listeners.iter().map(listener_cells).collect();
    table(out, style, &["NAME", "PROTOCOL", "ADDRESSES", "UDP PORTS", "AUTH", "CERTIFICATES", "CLIENT AUTHORITIES"], &rows)?;
    heading(out, style, "RADIUS servers, in order")?;
    let rows: Vec<_> = found.radius.iter().map(radius_cells).collect();
    table(out, style, &["NAME", "HOST", "AUTHENTICATION", "ACCOUNTING", "SOURCE", "NAS-IDENTIFIER"], &rows)?;
    print_who_is_asked(found, style, out)?;
    heading(out, style, "Network policies, in order (the first that matches decides, default deny)")?;
    let rows: Vec<_> = found.policies.iter().enumerate().map(|(index, policy)| policy_cells(index, policy)).collect();
    table(out, style, &["#", "NAME", "DECISION", "WHEN", "THEN"], &rows)?;
    if found.policy_tests > 0 {
        writeln!(out, "as all {} [[policy.test]] expect", found.policy_tests)?;
    }
    heading(out, style, "Pools")?;
    let rows = found.pools.iter().map(|pool| vec![cell(&pool.name), cell(pool.family), count(&pool.size), cell(pool.ranges.join(", "))]);
    table(out, style, &["NAME", "FAMILY", "SIZE", "RANGES"], &rows.collect::<Vec<_>>())?;
    if !found.filters.is_empty() {
        heading(out, style, "Packet filters, for policies and Filter-Id")?;
        let rows: Vec<_> = found.filters.iter().map(filter_cells).collect();
        table(out, style, &["NAME", "FROM CLIENTS", "TO CLIENTS", "POLICIES"], &rows)?;
    }
    heading(out, style, "Ciphers")?;
    let ciphers = &found.ciphers;
    let lists = [
        ("IKE", &ciphers.ike),
        ("PRF", &ciphers.prfs),
        ("Groups", &ciphers.groups),
        ("ESP", &ciphers.esp),
        ("PFS", &ciphers.pfs),
        ("Additional", &ciphers.additional),
    ];
    let words = |words: &[&str]| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    pairs(out, style, &lists.map(|(name, list)| (name, words(list))))?;
    if !found.warnings.is_empty() {
        heading(out, style, "Warnings")?;
        let mark = style.mark(Mark::Attention, "warning");
        found.warnings.iter().try_for_each(|warning| writeln!(out, "{mark}: {}", clean(warning)))?;
    }
    Ok(())
}

/// What stands between a login and the servers; nothing where there is nothing.
fn print_who_is_asked(found: &Found, style: Style, out: &mut dyn Write) -> Result<()> {
    if !found.radius_groups.is_empty() {
        heading(out, style, "RADIUS server groups")?;
        let rows: Vec<_> = found.radius_groups.iter().map(|group| vec![cell(&group.name), cell(group.servers.join(", "))]).collect();
        table(out, style, &["NAME", "SERVERS"], &rows)?;
    }
    if let Some(local) = &found.local {
        heading(out, style, "Local provider")?;
        pairs(out, style, &local_pairs(local))?;
    }
    if !found.request_policies.is_empty() {
        heading(out, style, "Connection request policies, in order (the first that matches decides who is asked)")?;
        let rows: Vec<_> = found.request_policies.iter().enumerate().map(|(index, policy)| request_cells(index, policy)).collect();
        table(out, style, &["#", "NAME", "WHEN", "ASKS", "THEN"], &rows)?;
    }
    Ok(())
}

fn local_pairs(local: &LocalRow) -> Vec<(&'static str, String)> {
    let groups: Vec<_> = local.groups.iter().map(|(group, users)| format!("{group} ({users})")).collect();
    let listed = |words: Vec<String>| if words.is_empty() { "none".into() } else { words.join(", ") };
    let lockout = match local.lockout_failures {
        0 => "never".into(),
        failures => format!("after {failures} wrong passwords"),
    };
    vec![
        ("Users file", local.users_file.clone()),
        ("Users", local.users.to_string()),
        ("Groups", listed(groups)),
        ("EAP", local.methods.join(", ")),
        ("Client authorities", listed(local.client_authorities.clone())),
        ("Locks out", lockout),
    ]
}

fn request_cells(index: usize, policy: &RequestRow) -> Vec<Cell> {
    let when = if policy.conditions.is_empty() { "always".to_owned() } else { policy.conditions.join("; ") };
    vec![count(index + 1), cell(&policy.name), cell(when), cell(&policy.asks), cell(policy.settings.join("; "))]
}

fn certificate_cells(certificate: &CertificateRow) -> Vec<Cell> {
    let expires = format!("{} (in {} days)", date(certificate.not_after), certificate.days_left);
    vec![
        cell(&certificate.name),
        cell(certificate.made_out_to.join(", ")),
        cell(certificate.extended_key_usage.join(", ")),
        cell(&certificate.key),
        cell(&certificate.issuer),
        cell(expires).marked(if certificate.days_left < SOON_DAYS { Mark::Attention } else { Mark::Plain }),
    ]
}

fn listener_cells(listener: &ListenerRow) -> Vec<Cell> {
    vec![
        cell(&listener.name),
        cell(listener.protocol),
        cell(listener.addresses.join(", ")),
        cell(listener.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
        cell(listener.auth.join(", ")),
        cell(listener.certificates.join(", ")),
        cell(listener.client_authorities.join("; ")),
    ]
}

fn radius_cells(radius: &RadiusRow) -> Vec<Cell> {
    vec![
        cell(&radius.name),
        cell(&radius.host),
        cell(&radius.authentication),
        cell(radius.accounting.as_deref().unwrap_or("none")),
        cell(radius.source.as_deref().unwrap_or("any")),
        cell(&radius.nas_identifier),
    ]
}

fn policy_cells(index: usize, policy: &PolicyReport) -> Vec<Cell> {
    let when = if policy.conditions.is_empty() { "always".to_owned() } else { policy.conditions.join("; ") };
    let (decision, mark) = match (policy.enabled, policy.grant) {
        (false, _) => ("disabled", Mark::Faint),
        (true, true) => ("grant", Mark::Good),
        (true, false) => ("deny", Mark::Bad),
    };
    let then: Vec<_> = policy.constraints.iter().chain(&policy.settings).map(String::as_str).collect();
    vec![count(index + 1), cell(&policy.name), cell(decision).marked(mark), cell(when), cell(then.join("; "))]
}
