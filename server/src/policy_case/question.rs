//! A question to the policies, and their answer.
use super::{CIPHER_BITS, Case, moment, name_and_value};
use crate::api::{Problem, Refusal};
use crate::config::{Config, suggestion};
use crate::facts::local_time;
use policy::network::{Decision, LocalTime, Method, Tunnel};
use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A login that somebody describes, on the command line or to the API.
#[derive(Debug, Clone, clap::Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyQuestion {
    /// As RADIUS or a certificate says it
    #[arg(long, value_name = "NAME", default_value = "")]
    #[serde(default)]
    pub user: String,
    /// Nobody has checked the name: it is the outer identity of PEAP or TTLS
    #[arg(long)]
    #[serde(default)]
    pub unconfirmed: bool,
    /// ikev2 or sstp
    #[arg(long, default_value = "ikev2", value_parser = tunnel)]
    #[serde(default = "ikev2", deserialize_with = "read_tunnel")]
    #[schemars(with = "String")]
    pub tunnel: Tunnel,
    /// eap, certificate, mschapv2, chap or pap
    #[arg(long, default_value = "eap", value_parser = method)]
    #[serde(default = "by_eap", deserialize_with = "read_method")]
    #[schemars(with = "String")]
    pub method: Method,
    /// EAP-TLS, EAP-MSCHAPv2, PEAP, .. or the number of an EAP method
    #[arg(long, value_name = "TYPE", value_parser = eap_type)]
    #[serde(default, deserialize_with = "read_eap_type")]
    pub eap_type: Option<String>,
    /// An attribute of the Access-Accept, such as Filter-Id=staff; any number of times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = name_and_value)]
    #[serde(default, deserialize_with = "read_attributes")]
    #[schemars(with = "Vec<String>")]
    pub attributes: Vec<(String, String)>,
    /// A group of the user; any number of times
    #[arg(long = "group", value_name = "GROUP")]
    #[serde(default)]
    pub groups: Vec<String>,
    /// The [[radius]] that let the user in; "local": the local provider
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub radius_server: Option<String>,
    /// The [[radius_group]] that was asked
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub radius_group: Option<String>,
    /// Name of the computer that logs in
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub machine: Option<String>,
    /// Address of the client
    #[arg(long, value_name = "ADDRESS")]
    #[serde(default)]
    pub client: Option<IpAddr>,
    /// Address that it dials
    #[arg(long, value_name = "ADDRESS")]
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Name of the [[listener]] that it dials [default: the first of the tunnel]
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub listener: Option<String>,
    /// Name of the gateway that it asks for (SNI, IDr)
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub server_name: Option<String>,
    /// The [[certificate]] that it was shown [default: what the gateway shows to a client that tells this much]
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub certificate: Option<String>,
    /// Day and time, such as "fri 18:30" [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    #[serde(default, deserialize_with = "read_time")]
    #[schemars(with = "Option<String>")]
    pub time: Option<LocalTime>,
    /// Key length of the cipher, in bits
    #[arg(long, value_name = "BITS", default_value_t = CIPHER_BITS)]
    #[serde(default = "cipher_bits")]
    pub cipher_bits: u16,
    /// Sessions that are up already, of the user, the certificate and the policy
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    #[serde(default)]
    pub sessions: usize,
    /// Subject of the client's certificate, such as "CN=pc1, O=Example"
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    pub certificate_subject: Option<String>,
    #[arg(long, value_name = "ISSUER")]
    #[serde(default)]
    pub certificate_issuer: Option<String>,
    /// A subject alternative name; any number of times
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub certificate_san: Vec<String>,
    /// An extended key usage, such as clientAuth or an OID; any number of times
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    #[serde(default, deserialize_with = "read_purposes")]
    pub certificate_eku: Vec<String>,
    /// OID of the certificate template
    #[arg(long, value_name = "OID")]
    #[serde(default)]
    pub certificate_template: Option<String>,
}

/// What the policies say to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyVerdict {
    pub granted: bool,
    /// The deciding policy; absent: none matches.
    pub policy: Option<String>,
    /// As NPS numbers it.
    pub reason: u16,
    /// The constraint that failed, or why the name does not do.
    pub refusal: Option<String>,
    /// Minutes until the allowed hours end.
    pub open_for_minutes: Option<u32>,
    /// The gateway's certificate that the client was shown, and why; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ShownCertificate>,
    pub tried: Vec<Tried>,
}

/// A certificate of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownCertificate {
    pub name: String,
    pub why: String,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    pub policy: String,
    pub matches: bool,
    /// Its first failing condition.
    pub reason: Option<String>,
}

impl PolicyQuestion {
    /// What the policies of this configuration say.
    ///
    /// # Errors
    /// The question names what the configuration does not have.
    pub fn decide(&self, config: &Config, now: jiff::Timestamp) -> Result<PolicyVerdict, Problem> {
        let question = self.resolved(config)?;
        let mut case = case(&question, config, now);
        let certificate = match question.certificate {
            Some(name) => Some(ShownCertificate { name, why: "so the question says".into() }),
            None => case.shown(&config.policies, &config.doors()).map(|shown| ShownCertificate { name: shown.name, why: shown.why }),
        };
        case.place.certificate = certificate.as_ref().map(|certificate| certificate.name.clone());
        Ok(PolicyVerdict { certificate, ..report(case.decide(&config.policies)) })
    }

    /// The same question with the names as the configuration writes them.
    fn resolved(&self, config: &Config) -> Result<Self, Problem> {
        let certificates = config.certificates.iter().map(|one| one.name.as_str());
        let listeners = config.doors().into_iter().map(|door| door.name);
        let servers = config.radius.iter().map(|radius| radius.server.name.as_str());
        let groups = config.radius_groups.iter().map(|group| group.name.as_str());
        Ok(Self {
            certificate: known("certificate", self.certificate.as_deref(), certificates)?,
            listener: known("listener", self.listener.as_deref(), listeners)?,
            radius_server: known(
                "radius",
                self.radius_server.as_deref(),
                servers.chain(config.local.as_ref().map(|_| local_provider::SERVER)),
            )?,
            radius_group: known("radius_group", self.radius_group.as_deref(), groups)?,
            ..self.clone()
        })
    }
}

/// The one of these names that is meant, in whatever case.
fn known<'a>(section: &str, name: Option<&str>, names: impl Iterator<Item = &'a str>) -> Result<Option<String>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let names: Vec<_> = names.collect();
    match names.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Ok(Some((*known).to_owned())),
        None => Err(Problem::new(Refusal::Wrong, format!("the configuration has no [[{section}]] {name:?}"), suggestion(name, &names))),
    }
}

fn case(test: &PolicyQuestion, config: &Config, now: jiff::Timestamp) -> Case {
    let now = || local_time(now, &config.server.time_zone);
    let mut case = Case::new(&test.user, test.time.unwrap_or_else(now));
    case.place.tunnel = test.tunnel;
    let first = match test.tunnel {
        Tunnel::Ikev2 => config.ikev2.as_ref().map(|listener| &listener.name),
        Tunnel::Sstp => config.sstp.first().map(|listener| &listener.name),
    };
    case.place.listener = test.listener.as_ref().or(first).cloned().unwrap_or_default();
    case.place.client = test.client.unwrap_or(case.place.client);
    case.place.gateway = test.gateway.unwrap_or(case.place.gateway);
    case.place.server_name.clone_from(&test.server_name);
    case.place.cipher_bits = Some(test.cipher_bits);
    case.known.method = test.method;
    case.known.eap_type.clone_from(&test.eap_type);
    case.proved(!test.unconfirmed, test.machine.clone());
    case.known.groups.clone_from(&test.groups);
    case.known.server.clone_from(&test.radius_server);
    case.known.server_group.clone_from(&test.radius_group);
    for (name, value) in &test.attributes {
        case.attribute(name, value);
    }
    (case.sessions.of_user, case.sessions.of_certificate, case.sessions.of_policy) = (test.sessions, test.sessions, test.sessions);
    certificate(test, &mut case);
    case
}

fn certificate(test: &PolicyQuestion, case: &mut Case) {
    if let Some(subject) = &test.certificate_subject {
        case.certificate().subject.clone_from(subject);
    }
    if let Some(issuer) = &test.certificate_issuer {
        case.certificate().issuer.clone_from(issuer);
    }
    if !test.certificate_san.is_empty() {
        case.certificate().san.clone_from(&test.certificate_san);
    }
    if !test.certificate_eku.is_empty() {
        case.certificate().eku.clone_from(&test.certificate_eku);
    }
    if test.certificate_template.is_some() {
        case.certificate().template.clone_from(&test.certificate_template);
    }
}

fn report(decision: Decision) -> PolicyVerdict {
    let passed = decision.passed_over.into_iter();
    let mut tried: Vec<_> = passed.map(|passed| Tried { policy: passed.policy, matches: false, reason: Some(passed.reason) }).collect();
    tried.extend(decision.policy.iter().map(|policy| Tried { policy: policy.clone(), matches: true, reason: None }));
    PolicyVerdict {
        granted: decision.granted,
        policy: decision.policy,
        reason: decision.reason.code(),
        refusal: decision.refusal,
        open_for_minutes: decision.open_for,
        certificate: None,
        tried,
    }
}

/// The tunnel type that a word names.
pub(crate) fn tunnel(text: &str) -> Result<Tunnel, String> {
    [Tunnel::Ikev2, Tunnel::Sstp].into_iter().find(|tunnel| tunnel.to_string() == text).ok_or_else(|| "expected ikev2 or sstp".into())
}

fn method(text: &str) -> Result<Method, String> {
    let all = [Method::Eap, Method::Certificate, Method::MsChapV2, Method::Chap, Method::Pap];
    all.into_iter().find(|method| method.to_string() == text).ok_or_else(|| "expected eap, certificate, mschapv2, chap or pap".into())
}

fn eap_type(text: &str) -> Result<String, String> {
    crate::config::eap_name(text).ok_or_else(|| "expected a name such as EAP-TLS, or the number of an EAP method".into())
}

fn purpose(text: &str) -> Result<String, String> {
    pki::purpose_oid(text).ok_or_else(|| "expected a purpose such as clientAuth, or an OID".into())
}

fn ikev2() -> Tunnel {
    Tunnel::Ikev2
}

fn by_eap() -> Method {
    Method::Eap
}

fn cipher_bits() -> u16 {
    CIPHER_BITS
}

/// Text that has to be something.
fn read<'de, D: Deserializer<'de>, T>(from: D, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn read_tunnel<'de, D: Deserializer<'de>>(from: D) -> Result<Tunnel, D::Error> {
    read(from, tunnel)
}

fn read_method<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
    read(from, method)
}

fn read_eap_type<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    read(from, eap_type).map(Some)
}

fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LocalTime>, D::Error> {
    read(from, moment).map(Some)
}

fn read_attributes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    Vec::<String>::deserialize(from)?.iter().map(|text| name_and_value(text).map_err(D::Error::custom)).collect()
}

fn read_purposes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(from)?.iter().map(|text| purpose(text).map_err(D::Error::custom)).collect()
}
