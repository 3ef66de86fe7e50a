//! Conditions and constraints of `[[policy]]`.
use super::access::{Names, TUNNELS, clients, none_empty, patterns, range, time_windows};
use super::error::{ConfigError, suggestion};
use super::reader::{Section, integer, text};
use super::source::Value;
use super::values;
use policy::network::{AllowedMethod, Attribute, Conditions, Constraints, Method};

/// Keys of conditions, of a policy and of a group in it.
pub(super) const CONDITIONS: &[&str] = &[
    "tunnel",
    "method",
    "eap_type",
    "user",
    "machine",
    "client",
    "gateway",
    "calling_station_id",
    "called_station_id",
    "port_type",
    "listener",
    "server_name",
    "certificate_subject",
    "certificate_issuer",
    "certificate_san",
    "certificate_eku",
    "certificate_template",
    "class",
    "filter_id",
    "group",
    "radius_server",
    "radius_group",
    "reply",
    "time",
    "any",
    "all",
    "not",
];

pub(super) const CONSTRAINTS: &[&str] = &[
    "allowed_methods",
    "allowed_called_station_id",
    "allowed_port_type",
    "allowed_hours",
    "min_cipher_bits",
    "sessions_per_user",
    "sessions_per_certificate",
    "sessions_max",
];

/// How deep groups may be inside groups.
const DEPTH_MAX: usize = 8;

pub(super) const METHODS: &[(&str, Method)] = &[
    ("eap", Method::Eap),
    ("certificate", Method::Certificate),
    ("mschapv2", Method::MsChapV2),
    ("chap", Method::Chap),
    ("pap", Method::Pap),
];

/// NAS-Port-Type (RFC 2865 section 5.41, RFC 3580).
const PORT_TYPES: &[(&str, u32)] = &[("async", 0), ("sync", 1), ("isdn", 2), ("virtual", 5), ("ethernet", 15), ("wireless-802.11", 19)];

/// EAP methods with a name, by number.
const EAP_TYPES: &[u8] = &[
    eap::method::MD5,
    eap::method::OTP,
    eap::method::GTC,
    eap::method::TLS,
    eap::method::TTLS,
    eap::method::PEAP,
    eap::method::MSCHAPV2,
    eap::method::FAST,
    eap::method::TEAP,
];

pub(super) fn conditions(section: &Section<'_>, names: &Names<'_>) -> Result<Conditions, ConfigError> {
    nested(section, names, 0)
}

fn nested(section: &Section<'_>, names: &Names<'_>, depth: usize) -> Result<Conditions, ConfigError> {
    let groups = |key: &str| {
        let groups = section.groups(key, CONDITIONS)?;
        if depth == DEPTH_MAX && !groups.is_empty() {
            return Err(section.error(key, format!("is a group inside {DEPTH_MAX} others; write it flatter")));
        }
        let group = |group: &Section<'_>| {
            let conditions = nested(group, names, depth + 1)?;
            if conditions.is_empty() { Err(section.error(key, "has a group without conditions; leave it out")) } else { Ok(conditions) }
        };
        groups.iter().map(group).collect::<Result<Vec<_>, _>>()
    };
    let conditions = Conditions {
        tunnel: section.choices("tunnel", TUNNELS)?.unwrap_or_default(),
        method: section.choices("method", METHODS)?.unwrap_or_default(),
        eap_type: section.list("eap_type", &eap_types(), eap_type)?.unwrap_or_default(),
        user: patterns(section, "user")?,
        machine: patterns(section, "machine")?,
        client: clients(section)?,
        gateway: section.list("gateway", "ranges such as \"198.51.100.1\"", range)?.unwrap_or_default(),
        calling_station_id: patterns(section, "calling_station_id")?,
        called_station_id: patterns(section, "called_station_id")?,
        port_type: port_types(section, "port_type")?,
        listener: name_patterns(section, "listener", "[[listener]]", names.listeners)?,
        server_name: patterns(section, "server_name")?,
        certificate_subject: patterns(section, "certificate_subject")?,
        certificate_issuer: patterns(section, "certificate_issuer")?,
        certificate_san: patterns(section, "certificate_san")?,
        certificate_eku: section.list("certificate_eku", PURPOSES, purpose)?.unwrap_or_default(),
        certificate_template: patterns(section, "certificate_template")?,
        class: patterns(section, "class")?,
        filter_id: patterns(section, "filter_id")?,
        group: patterns(section, "group")?,
        radius_server: name_patterns(section, "radius_server", "[[radius]]", &names.radius_servers)?,
        radius_group: name_patterns(section, "radius_group", "[[radius_group]]", &names.radius_groups)?,
        reply: section
            .list("reply", "attributes such as \"Tunnel-Private-Group-Id=2*\"", |value| attribute(text(value)?))?
            .unwrap_or_default(),
        time: time_windows(section, "time")?,
        any: groups("any")?,
        all: groups("all")?,
        not: groups("not")?,
    };
    none_empty(section, CONDITIONS)?;
    Ok(conditions)
}

pub(super) fn constraints(section: &Section<'_>) -> Result<Constraints, ConfigError> {
    let expected = format!("one of \"eap\", \"certificate\", \"mschapv2\", \"chap\", \"pap\", or {}", eap_types());
    let bits = |value: &Value| match integer(value)? {
        bits @ (128 | 192 | 256) => u16::try_from(bits).map_err(|_| String::new()),
        _ => Err(String::new()),
    };
    let constraints = Constraints {
        methods: section.list("allowed_methods", &expected, allowed_method)?.unwrap_or_default(),
        called_station_id: patterns(section, "allowed_called_station_id")?,
        port_type: port_types(section, "allowed_port_type")?,
        hours: time_windows(section, "allowed_hours")?,
        cipher_bits: section.optional("min_cipher_bits", "128, 192 or 256", bits)?,
        sessions_per_user: bound(section, "sessions_per_user")?,
        sessions_per_certificate: bound(section, "sessions_per_certificate")?,
        sessions: bound(section, "sessions_max")?,
    };
    none_empty(section, &["allowed_methods", "allowed_called_station_id", "allowed_port_type", "allowed_hours"])?;
    Ok(constraints)
}

fn bound(section: &Section<'_>, key: &str) -> Result<Option<u32>, ConfigError> {
    section.optional(key, "a whole number, 1..=1000000", |value| match integer(value)? {
        number @ 1..=1_000_000 => u32::try_from(number).map_err(|_| String::new()),
        _ => Err(String::new()),
    })
}

/// Patterns over the names of sections of one kind, of which each must match some.
fn name_patterns(section: &Section<'_>, key: &str, kind: &str, names: &[&str]) -> Result<Vec<String>, ConfigError> {
    let patterns = patterns(section, key)?;
    let unknown = patterns.iter().find(|pattern| !names.iter().any(|name| policy::glob::matches(pattern, name)));
    match unknown {
        Some(_) if names.is_empty() => Err(section.error(key, format!("there is no {kind}: add one with this name"))),
        Some(pattern) => Err(section.error(key, format!("no {kind} is called {pattern:?}; {}", suggestion(pattern, names)))),
        None => Ok(patterns),
    }
}

const PURPOSES: &str = "purposes such as \"clientAuth\", \"smartcardLogon\" or \"1.3.6.1.4.1.311.87\"";

pub(super) fn purpose(value: &Value) -> Result<String, String> {
    pki::purpose_oid(text(value)?).ok_or_else(String::new)
}

/// `NAME=PATTERN`
pub(super) fn attribute(text: &str) -> Result<Attribute, String> {
    let (name, value) = text.split_once('=').ok_or("has no =")?;
    Ok(Attribute { name: values::non_empty(name.trim())?, value: value.trim().to_owned() })
}

fn port_types(section: &Section<'_>, key: &str) -> Result<Vec<u32>, ConfigError> {
    let words: Vec<_> = PORT_TYPES.iter().map(|(word, _)| format!("{word:?}")).collect();
    let expected = format!("{}, or a number of NAS-Port-Type", words.join(", "));
    let parse = |value: &Value| {
        let word = || text(value).ok().and_then(|text| PORT_TYPES.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)));
        let number = || integer(value).ok().and_then(|number| u32::try_from(number).ok());
        word().map(|(_, number)| *number).or_else(number).ok_or_else(String::new)
    };
    Ok(section.list(key, &expected, parse)?.unwrap_or_default())
}

pub(super) fn eap_types() -> String {
    let names: Vec<_> = EAP_TYPES.iter().map(|&number| format!("{:?}", eap::method::name(number))).collect();
    format!("{}, or the number of an EAP method", names.join(", "))
}

/// The name of an EAP method, as the record spells it, from a name or a number.
pub(super) fn eap_type(value: &Value) -> Result<String, String> {
    match integer(value) {
        Ok(number) => u8::try_from(number).map(eap::method::name).map_err(|_| String::new()),
        Err(_) => eap_name(text(value)?).ok_or_else(String::new),
    }
}

/// The same from a word: `EAP-TLS`, `peap`, `13`.
pub fn eap_name(text: &str) -> Option<String> {
    let named = EAP_TYPES.iter().map(|&number| eap::method::name(number)).find(|name| name.eq_ignore_ascii_case(text));
    named.or_else(|| text.parse().ok().map(eap::method::name))
}

fn allowed_method(value: &Value) -> Result<AllowedMethod, String> {
    let method = text(value).ok().and_then(|text| METHODS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)));
    match method {
        Some((_, method)) => Ok(AllowedMethod::Method(*method)),
        None => eap_type(value).map(AllowedMethod::Eap),
    }
}
