//! `[[policy.test]]`: imagined logins with what the policies must say to them.
use super::access::{Names, TUNNELS, patterns};
use super::conditions::{METHODS, attribute, eap_type, eap_types, purpose};
use super::error::ConfigError;
use super::reader::{Root, Section, integer, text};
use super::source::POLICY_TEST;
use super::values;
use crate::login::trace_of;
use crate::policy_case::{Case, moment};
use crate::steering::Door;
use policy::network::{Decision, LocalTime, Policy, Tunnel};

const KEYS: &[&str] = &[
    "name",
    "expect",
    "policy",
    "reason",
    "user",
    "confirmed",
    "tunnel",
    "method",
    "eap_type",
    "machine",
    "client",
    "gateway",
    "listener",
    "server_name",
    "certificate",
    "cipher_bits",
    "group",
    "radius_server",
    "radius_group",
    "attribute",
    "certificate_subject",
    "certificate_issuer",
    "certificate_san",
    "certificate_eku",
    "certificate_template",
    "time",
    "sessions",
];

/// Wednesday noon: when a case happens that says nothing of it.
const NOON: LocalTime = LocalTime { weekday: 2, minute: 720 };

/// Runs all of them; their number.
///
/// # Errors
/// The first that the policies do not meet, with what they say instead.
pub(super) fn run(root: &Root<'_>, policies: &[Policy], listeners: &[Door<'_>], known: &Names<'_>) -> Result<usize, ConfigError> {
    let sections = root.sections(POLICY_TEST, KEYS)?;
    for section in &sections {
        check(section, policies, listeners, known)?;
    }
    Ok(sections.len())
}

fn check(section: &Section<'_>, policies: &[Policy], listeners: &[Door<'_>], known: &Names<'_>) -> Result<(), ConfigError> {
    let words = [("grant", true), ("deny", false)];
    let expect = section.choice("expect", &words)?.ok_or_else(|| section.error("expect", "is missing; expected \"grant\" or \"deny\""))?;
    let names: Vec<_> = policies.iter().map(|policy| (policy.name.as_str(), policy.name.as_str())).collect();
    let wanted = section.choice("policy", &names)?;
    let reason = section
        .optional("reason", "a reason code of NPS, such as 48", |value| u16::try_from(integer(value)?).map_err(|_| String::new()))?;
    let decision = case(section, policies, listeners, known)?.decide(policies);
    let met = |key: &str, met: bool| if met { Ok(()) } else { Err(section.error(key, broken(&decision))) };
    met("expect", decision.granted == expect)?;
    met("policy", wanted.is_none() || decision.policy.as_deref() == wanted)?;
    met("reason", reason.is_none_or(|reason| decision.reason.code() == reason))
}

fn broken(decision: &Decision) -> String {
    format!("is not what the policies say: {}", trace_of(decision).join("; "))
}

fn case(section: &Section<'_>, policies: &[Policy], listeners: &[Door<'_>], known: &Names<'_>) -> Result<Case, ConfigError> {
    let user = section.optional("user", "a user name", |value| values::non_empty(text(value)?))?.unwrap_or_default();
    let time =
        section.optional("time", "a day and a time such as \"fri 18:30\"", |value| moment(text(value)?).map_err(|_| String::new()))?;
    let mut case = Case::new(&user, time.unwrap_or(NOON));
    case.place.tunnel = section.choice("tunnel", TUNNELS)?.unwrap_or(Tunnel::Ikev2);
    let of_tunnel = listeners.iter().find(|door| door.tunnel == case.place.tunnel).map(|door| door.name);
    let names: Vec<_> = listeners.iter().map(|door| (door.name, door.name)).collect();
    case.place.listener = section.choice("listener", &names)?.or(of_tunnel).unwrap_or_default().to_owned();
    let address = |key: &str| section.optional(key, "an IP address", |value| values::address(text(value)?));
    case.place.client = address("client")?.unwrap_or(case.place.client);
    case.place.gateway = address("gateway")?.unwrap_or(case.place.gateway);
    case.place.cipher_bits = Some(section.number("cipher_bits", 0..=256, case.place.cipher_bits.unwrap_or_default())?);
    case.known.method = section.choice("method", METHODS)?.unwrap_or(case.known.method);
    case.known.eap_type = section.optional("eap_type", &eap_types(), eap_type)?;
    let confirmed = section.boolean("confirmed", true)?;
    let machine = section.optional("machine", "the name of a computer", |value| values::non_empty(text(value)?))?;
    case.proved(confirmed, machine);
    case.known.groups = patterns(section, "group")?;
    case.known.server = one_of(section, "radius_server", &known.radius_servers)?;
    case.known.server_group = one_of(section, "radius_group", &known.radius_groups)?;
    let attributes = section.list("attribute", "attributes such as \"Filter-Id=staff\"", |value| attribute(text(value)?))?;
    for attribute in attributes.unwrap_or_default() {
        case.attribute(&attribute.name, &attribute.value);
    }
    let sessions = section.number("sessions", 0..=1_000_000, 0_usize)?;
    (case.sessions.of_user, case.sessions.of_certificate, case.sessions.of_policy) = (sessions, sessions, sessions);
    certificate(section, &mut case)?;
    case.place.server_name = section.optional("server_name", "a name that clients dial", |value| values::non_empty(text(value)?))?;
    let names: Vec<_> = known.certificates.iter().map(|one| (one.name.as_str(), one.name.as_str())).collect();
    let shown = section.choice("certificate", &names)?.map(str::to_owned);
    case.place.certificate = shown.or_else(|| Some(case.shown(policies, listeners)?.name));
    Ok(case)
}

fn one_of(section: &Section<'_>, key: &str, names: &[&str]) -> Result<Option<String>, ConfigError> {
    let words: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    Ok(section.choice(key, &words)?.map(str::to_owned))
}

fn certificate(section: &Section<'_>, case: &mut Case) -> Result<(), ConfigError> {
    let one = |key: &str| section.optional(key, "one text", |value| values::non_empty(text(value)?));
    if let Some(subject) = one("certificate_subject")? {
        case.certificate().subject = subject;
    }
    if let Some(issuer) = one("certificate_issuer")? {
        case.certificate().issuer = issuer;
    }
    if let Some(template) = one("certificate_template")? {
        case.certificate().template = Some(template);
    }
    if section.has("certificate_san") {
        case.certificate().san = patterns(section, "certificate_san")?;
    }
    if let Some(eku) = section.list("certificate_eku", "purposes such as \"clientAuth\"", purpose)? {
        case.certificate().eku = eku;
    }
    Ok(())
}
