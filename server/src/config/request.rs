//! `[[radius_group]]` and `[[request_policy]]`.
use super::access::{TUNNELS, clients, none_empty, patterns, time_windows};
use super::error::{ConfigError, suggestion};
use super::reader::{Root, Section, text};
use super::source::{Node, Value};
use super::{RadiusServer, values};
use policy::request::{Conditions, Forward, RequestPolicy};
use policy::rewrite::Rewrite;
use radius_client::{Group, Member, Probe};
use std::collections::BTreeMap;

const GROUP: &[&str] = &["name", "servers"];
const MEMBER: &[&str] = &["name", "priority", "weight"];
const REQUEST: &[&str] =
    &["name", "realm", "user", "tunnel", "listener", "client", "time", "provider", "group", "rewrite", "strip_realm", "accounting_group"];
const REWRITE: &[&str] = &["match", "replace"];

/// As NPS counts.
const DEFAULT_WEIGHT: u16 = 50;
const MAX_PRIORITY: i64 = 65_535;

const MEMBERS: &str = "names of [[radius]] sections, or { name = \"nps1\", priority = 1, weight = 50 }";
const REWRITES: &str = "{ match = \"EXAMPLE\\\\*\", replace = \"{1}@example.com\" }";

pub(super) fn groups(root: &Root<'_>, servers: &[RadiusServer]) -> Result<Vec<Group>, ConfigError> {
    root.sections("radius_group", GROUP)?.iter().map(|section| group(section, servers)).collect()
}

/// Who has another server to go to must know a slow one from a dead one, or a user is asked twice for a second factor.
pub(super) fn unprobed(groups: &[Group], servers: &[RadiusServer]) -> Vec<String> {
    let has_others = |name: &str| match groups {
        [] => servers.len() > 1,
        _ => groups.iter().any(|group| group.members.len() > 1 && group.members.iter().any(|member| member.server == name)),
    };
    let blind = servers.iter().map(|server| &server.server).filter(|server| server.probe == Probe::Off && has_others(&server.name));
    let warning = |server: &radius_client::Server| {
        format!(
            "radius {:?}: has no probe: while it waits for the second factors of several users and says nothing else, it can be taken for dead, and the \
             next server asks them once more; set probe = \"status-server\" (FreeRADIUS) or probe_user (NPS)",
            server.name
        )
    };
    blind.map(warning).collect()
}

fn group(section: &Section<'_>, servers: &[RadiusServer]) -> Result<Group, ConfigError> {
    let members = section.list("servers", MEMBERS, |value| member(value, servers))?.unwrap_or_default();
    if members.is_empty() {
        return Err(section.error("servers", format!("names no server; expected {MEMBERS}")));
    }
    // Without a priority the place in the list is one.
    let placed =
        (1..).zip(members).map(|(place, (server, priority, weight))| Member { server, priority: priority.unwrap_or(place), weight });
    let members: Vec<Member> = placed.collect();
    for (at, member) in members.iter().enumerate() {
        if members[..at].iter().any(|earlier| earlier.server == member.server) {
            return Err(section.error("servers", format!("names {:?} twice", member.server)));
        }
    }
    let name = section.name()?;
    if name == local_provider::SERVER {
        return Err(section.error("name", "stands for the local provider; expected another name"));
    }
    Ok(Group { name, members })
}

/// Name, priority, weight.
fn member(value: &Value, servers: &[RadiusServer]) -> Result<(String, Option<u16>, u16), String> {
    let Value::Table(keys) = value else { return Ok((server_name(text(value)?, servers)?, None, DEFAULT_WEIGHT)) };
    known(keys, MEMBER)?;
    let name = keys.get("name").ok_or("has no name")?;
    let number = |key: &str, most: i64| match keys.get(key).map(|node| &node.value) {
        None => Ok(None),
        Some(Value::Integer(number)) if (1..=most).contains(number) => Ok(u16::try_from(*number).ok()),
        Some(other) => Err(format!("{key} = {other}: expected a whole number, 1..={most}")),
    };
    let weight = number("weight", 100)?.unwrap_or(DEFAULT_WEIGHT);
    Ok((server_name(text(&name.value)?, servers)?, number("priority", MAX_PRIORITY)?, weight))
}

fn server_name(name: &str, servers: &[RadiusServer]) -> Result<String, String> {
    if servers.iter().any(|server| server.server.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = servers.iter().map(|server| server.server.name.as_str()).collect();
    Err(format!("there is no [[radius]] {name:?}; {}", suggestion(name, &names)))
}

fn known(keys: &BTreeMap<String, Node>, accepted: &[&str]) -> Result<(), String> {
    match keys.keys().find(|key| !accepted.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("{key}: unknown key; {}", suggestion(key, accepted))),
    }
}

pub(super) fn policies(
    root: &Root<'_>,
    groups: &[Group],
    listeners: &[&str],
    has_local: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<RequestPolicy>, ConfigError> {
    let sections = root.sections("request_policy", REQUEST)?;
    let policies: Vec<_> = sections.iter().map(|section| policy(section, groups, listeners, has_local)).collect::<Result<_, _>>()?;
    let is_open = |policy: &RequestPolicy| policy.conditions == Conditions::default();
    if let Some(at) = policies.iter().position(is_open)
        && let Some(shadowed) = policies.get(at + 1)
    {
        let open = &policies[at].name;
        warnings.push(format!("request_policy {:?} is never reached: {open:?} before it has no conditions", shadowed.name));
    }
    Ok(policies)
}

fn policy(section: &Section<'_>, groups: &[Group], listeners: &[&str], has_local: bool) -> Result<RequestPolicy, ConfigError> {
    let names: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.name.as_str())).collect();
    for key in ["group", "accounting_group"] {
        if names.is_empty() && section.has(key) {
            return Err(section.error(key, "there is no [[radius_group]]: add one with this name"));
        }
    }
    let group = section.choice("group", &names)?;
    let local = section.choice("provider", &[("radius", false), ("local", true)])?.unwrap_or(false);
    if local && !has_local {
        return Err(section.error("provider", "there is no local provider to ask: add [local] with users_file, or say \"radius\""));
    }
    if local && group.is_some() {
        return Err(
            section.error("group", "is one of RADIUS servers, and provider = \"local\" asks none of them; leave one of the two out")
        );
    }
    Ok(RequestPolicy {
        name: section.name()?,
        conditions: conditions(section, listeners)?,
        forward: match group {
            _ if local => Forward::Local,
            Some(group) => Forward::Group(group.to_owned()),
            None => Forward::AllServers,
        },
        strip_realm: section.boolean("strip_realm", false)?,
        rewrite: section.list("rewrite", REWRITES, rewrite)?.unwrap_or_default(),
        accounting: section.choice("accounting_group", &names)?.map(str::to_owned),
    })
}

fn conditions(section: &Section<'_>, listeners: &[&str]) -> Result<Conditions, ConfigError> {
    let conditions = Conditions {
        realm: patterns(section, "realm")?,
        user: patterns(section, "user")?,
        tunnel: section.choices("tunnel", TUNNELS)?.unwrap_or_default(),
        listener: patterns(section, "listener")?,
        client: clients(section)?,
        time: time_windows(section, "time")?,
    };
    none_empty(section, &["realm", "user", "tunnel", "listener", "client", "time"])?;
    for pattern in &conditions.listener {
        if !listeners.iter().any(|name| policy::glob::matches(pattern, name)) {
            return Err(section.error("listener", format!("no [[listener]] is called {pattern:?}; {}", suggestion(pattern, listeners))));
        }
    }
    Ok(conditions)
}

fn rewrite(value: &Value) -> Result<Rewrite, String> {
    let Value::Table(keys) = value else { return Err(String::new()) };
    known(keys, REWRITE)?;
    let part = |key: &str| keys.get(key).map(|node| text(&node.value)).transpose()?.ok_or_else(|| format!("has no {key}"));
    let rule = Rewrite::new(&values::non_empty(part("match")?)?, &values::non_empty(part("replace")?)?);
    rule.map_err(|error| error.to_string())
}
