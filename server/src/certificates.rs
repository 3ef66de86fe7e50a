//! `evergate certificates`: what the gateway shows, which client gets which and why, and what ends soon.
use crate::config::{Config, Ikev2Listener, NamedCredential, SstpListener};
use crate::steering::{Door, Imagined, Sample, may_be_for, samples};
use ike::auth::{HASH_IDENTITY, choose_scheme, key_rank};
use pki::{AskedName, Certificate, Hints, KeyRank, Selection, ServerCertificate, Steered, Steering};
use policy::network::{Policy, Tunnel, may_match};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::Instant;

/// Where most systems keep the authorities that all programs trust.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An end is worth a warning this many days before.
pub const SOON_DAYS: i64 = 30;
const DAY: i64 = 86_400;
/// The same warning again.
const WARN_AGAIN: Duration = Duration::from_secs(86_400);

/// Every certificate of the gateway, and who sees which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    pub certificates: Vec<CertificateReport>,
    pub clients: Vec<ClientReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CertificateReport {
    pub name: String,
    /// Listeners that show it.
    pub listeners: Vec<String>,
    /// Those of them whose default it is.
    pub default_of: Vec<String>,
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256 of the whole certificate, hexadecimal with colons.
    pub fingerprint: String,
    /// What it is made out to: DNS names, then addresses.
    pub made_out_to: Vec<String>,
    /// What clients ask for to see it.
    pub dialled: Vec<String>,
    /// The gateway's addresses, and realms, whose clients see it in preference.
    pub addresses: Vec<IpAddr>,
    pub realms: Vec<String>,
    /// Policies that name it: they are for clients that are shown it, and whom they may let in is shown it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    pub extended_key_usage: Vec<String>,
    pub key: String,
    /// Unix time, seconds.
    pub not_before: i64,
    pub not_after: i64,
    pub days_left: i64,
    /// From the leaf up: what is sent, then the roots of the file, which are not.
    pub chain: Vec<ChainReport>,
    pub revocation: Vec<RevocationReport>,
    /// What clients may stumble over: culprit, who refuses with which error, remedy.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChainReport {
    pub subject: String,
    pub issuer: String,
    /// Unix time, seconds.
    pub not_after: i64,
    /// Clients are sent it.
    pub sent: bool,
}

/// A place where clients look whether a certificate of the chain is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevocationReport {
    /// `crl` or `ocsp`
    pub kind: String,
    pub url: String,
    /// From here, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// What came back, or why nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A kind of client, and what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClientReport {
    pub listener: String,
    pub client: String,
    /// What it tells before it is authenticated.
    pub tells: String,
    /// `None`: it can verify none of them.
    pub certificate: Option<String>,
    /// IKEv2: the authentication method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_with: Option<String>,
    pub why: String,
    pub passed_over: Vec<PassedOver>,
    pub remarks: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PassedOver {
    pub certificate: String,
    pub reason: String,
}

/// The end of a certificate, for the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Expiry {
    pub name: String,
    pub subject: String,
    /// Unix time, seconds.
    pub not_after: i64,
    /// Negative once it has expired.
    pub days_left: i64,
}

/// `now`: unix time, seconds.
pub fn report(config: &Config, now: i64) -> Report {
    let ikev2 = config.ikev2.iter().flat_map(|listener| ikev2_clients(listener, now));
    let sstp = config.sstp.iter().flat_map(|listener| sstp_clients(listener, now));
    let by_policy = config.doors().into_iter().flat_map(|door| clients_of_policies(config, door));
    let clients = ikev2.chain(sstp).chain(by_policy).collect();
    Report { certificates: config.certificates.iter().map(|certificate| describe(config, certificate, now)).collect(), clients }
}

/// The one that ends first in front.
pub fn expiries(config: &Config, now: i64) -> Vec<Expiry> {
    let of = |certificate: &NamedCredential| {
        let leaf = certificate.credential.leaf();
        Expiry {
            name: certificate.name.clone(),
            subject: leaf.subject.clone(),
            not_after: leaf.not_after,
            days_left: days_left(leaf.not_after, now),
        }
    };
    let mut expiries: Vec<_> = config.certificates.iter().map(of).collect();
    expiries.sort_by(|one, other| (one.not_after, &one.name).cmp(&(other.not_after, &other.name)));
    expiries
}

/// Warns once a day of what ends soon; the start has done so for the first day.
#[derive(Debug)]
pub struct ExpiryWatch {
    next: Instant,
}

impl ExpiryWatch {
    pub fn start() -> Self {
        Self { next: Instant::now() + WARN_AGAIN }
    }

    /// Waits for the next look. May be dropped and called again.
    pub async fn due(&mut self) {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + WARN_AGAIN;
    }

    /// One line of the log for each certificate that ends soon.
    pub fn warn(config: &Config, now: i64) {
        for Expiry { name, subject, not_after, days_left } in ending(config, now) {
            let until = jiff::Timestamp::from_second(not_after).map_or_else(|_| "unknown".into(), |until| until.to_string());
            let what = if days_left < 0 { "the certificate has expired: clients refuse it" } else { "the certificate expires soon" };
            tracing::warn!(certificate = %name, %subject, not_after = %until, days_left, "{what}; replace its files, no restart is needed");
        }
    }
}

fn ending(config: &Config, now: i64) -> impl Iterator<Item = Expiry> {
    expiries(config, now).into_iter().filter(|expiry| expiry.days_left < SOON_DAYS)
}

fn days_left(not_after: i64, now: i64) -> i64 {
    (not_after - now).div_euclid(DAY)
}

/// The usual word for an extended key usage, or its OID.
pub fn purpose(oid: &str) -> &str {
    match oid {
        "1.3.6.1.5.5.7.3.1" => "serverAuth",
        "1.3.6.1.5.5.7.3.2" => "clientAuth",
        "1.3.6.1.5.5.7.3.17" => "ipsecIKE",
        "1.3.6.1.5.5.8.2.2" => "IKE-intermediate",
        "2.5.29.37.0" => "any",
        oid => oid,
    }
}

fn describe(config: &Config, certificate: &NamedCredential, now: i64) -> CertificateReport {
    let (credential, leaf) = (&certificate.credential, certificate.credential.leaf());
    let showing = showing(config, &certificate.name);
    let names = |list: &[(String, &ServerCertificate)]| list.iter().map(|(listener, _)| listener.clone()).collect();
    let default_of: Vec<_> = showing.iter().filter(|(_, shown)| shown.default).cloned().collect();
    CertificateReport {
        name: certificate.name.clone(),
        listeners: names(&showing),
        default_of: names(&default_of),
        subject: leaf.subject.clone(),
        issuer: leaf.issuer.clone(),
        serial: leaf.serial.clone(),
        fingerprint: leaf.sha256().map(|byte| format!("{byte:02X}")).join(":"),
        made_out_to: leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string)).collect(),
        dialled: certificate.names.clone().unwrap_or_else(|| leaf.dns_names.clone()),
        addresses: certificate.addresses.clone(),
        realms: certificate.realms.clone(),
        policies: config
            .policies
            .iter()
            .filter(|policy| policy.certificate.as_ref() == Some(&certificate.name))
            .map(|policy| policy.name.clone())
            .collect(),
        extended_key_usage: leaf.eku.iter().flatten().map(|oid| purpose(oid).to_owned()).collect(),
        key: leaf.key_kind.map_or_else(|| "unknown".into(), |kind| kind.to_string()),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        days_left: days_left(leaf.not_after, now),
        chain: credential.chain.iter().map(|one| link(one, true)).chain(credential.roots.iter().map(|root| link(root, false))).collect(),
        revocation: credential.chain.iter().flat_map(places).collect(),
        problems: certificate.lint(&config.server.name, now).iter().map(ToString::to_string).collect(),
    }
}

/// The listeners that show the certificate of this name.
fn showing<'a>(config: &'a Config, name: &str) -> Vec<(String, &'a ServerCertificate)> {
    let ikev2 = config.ikev2.iter().map(|listener| (&listener.name, &listener.certificates));
    let all = ikev2.chain(config.sstp.iter().map(|listener| (&listener.name, &listener.certificates)));
    all.filter_map(|(listener, shown)| Some((listener.clone(), shown.iter().find(|shown| shown.name == name)?))).collect()
}

fn link(certificate: &Certificate, sent: bool) -> ChainReport {
    let Certificate { subject, issuer, not_after, .. } = certificate;
    ChainReport { subject: subject.clone(), issuer: issuer.clone(), not_after: *not_after, sent }
}

fn places(certificate: &Certificate) -> Vec<RevocationReport> {
    let place = |kind: &str, url: &String| RevocationReport { kind: kind.to_owned(), url: url.clone(), reachable: None, detail: None };
    let lists = certificate.crl_urls.iter().map(|url| place("crl", url));
    lists.chain(certificate.ocsp_urls.iter().map(|url| place("ocsp", url))).collect()
}

/// N(SIGNATURE_HASH_ALGORITHMS) as Apple, Android and strongSwan send it: SHA2-256, -384, -512, and Identity.
const HASHES: [u16; 4] = [2, 3, 4, HASH_IDENTITY];
pub(crate) const WINDOWS: KeyRank<'static> = &|kind| key_rank(kind, true, None);
pub(crate) const OTHERS: KeyRank<'static> = &|kind| key_rank(kind, false, Some(&HASHES));
pub(crate) const TLS: KeyRank<'static> = &|kind| Some(tls::key_rank(kind));

/// Policies have their say about a client that comes now, from nowhere in particular.
fn steered(steering: Option<&dyn Steering>, now: i64) -> Option<Steered<'_>> {
    steering.map(|by| Steered { by, client: IpAddr::V4(Ipv4Addr::UNSPECIFIED), by_certificate: false, now })
}

fn ikev2_clients(listener: &Ikev2Listener, now: i64) -> Vec<ClientReport> {
    let certificates = &listener.certificates;
    let steering = steered(listener.steering.as_deref(), now);
    let nothing = Hints { name: None, name_source: "IDr", authorities: &[], address: None, itself: None, keys: WINDOWS, steering };
    let mut rows = Vec::new();
    let mut add = |client: &str, tells: String, hints: Hints<'_>| rows.push(row(&listener.name, certificates, client, tells, &hints));
    let all: Vec<_> = certificates.iter().flat_map(|one| one.authorities.iter().copied()).collect();
    add("Windows", "no IDr; CERTREQ with every authority of ours".into(), Hints { authorities: &all, ..nothing });
    for (name, authorities) in distinct_authorities(certificates) {
        add("Windows", format!("no IDr; CERTREQ with the authorities of {name:?} alone"), Hints { authorities, ..nothing });
    }
    for address in certificates.iter().flat_map(|one| &one.addresses).collect::<BTreeSet<_>>() {
        add("Windows", format!("no IDr; comes to {address}"), Hints { authorities: &all, address: Some(*address), ..nothing });
    }
    for name in dialled(certificates) {
        let name_hint = Some(AskedName::Dns(&name));
        add("Apple, Android, strongSwan", format!("IDr {name}"), Hints { name: name_hint, keys: OTHERS, ..nothing });
    }
    add("strongSwan and others", "no IDr".into(), Hints { keys: OTHERS, ..nothing });
    for realm in certificates.iter().flat_map(|one| &one.realms).collect::<BTreeSet<_>>() {
        let itself = format!("user@{realm}");
        add("strongSwan and others", format!("no IDr; IDi {itself}"), Hints { itself: Some(&itself), keys: OTHERS, ..nothing });
    }
    rows
}

/// Where certificates have different authorities above them: the name of one and its authorities, each once.
fn distinct_authorities(certificates: &[ServerCertificate]) -> Vec<(&str, &[[u8; 20]])> {
    let mut seen: Vec<(&str, &[[u8; 20]])> = Vec::new();
    for certificate in certificates {
        if !seen.iter().any(|(_, authorities)| *authorities == certificate.authorities) {
            seen.push((&certificate.name, &certificate.authorities));
        }
    }
    seen.retain(|(_, authorities)| !authorities.is_empty());
    if seen.len() > 1 { seen } else { Vec::new() }
}

/// The names that certificates are for, with an example for each wildcard.
fn dialled(certificates: &[ServerCertificate]) -> BTreeSet<String> {
    certificates.iter().flat_map(|one| one.dial_names()).map(|name| name.replacen('*', "host", 1).to_ascii_lowercase()).collect()
}

fn sstp_clients(listener: &SstpListener, now: i64) -> Vec<ClientReport> {
    let certificates = &listener.certificates;
    let steering = steered(listener.steering.as_deref(), now);
    let nothing = Hints { name: None, name_source: "SNI", authorities: &[], address: None, itself: None, keys: TLS, steering };
    let mut rows = Vec::new();
    let mut add = |tells: String, hints: Hints<'_>| rows.push(row(&listener.name, certificates, "SSTP", tells, &hints));
    for name in dialled(certificates) {
        add(format!("SNI {name}"), Hints { name: Some(AskedName::Dns(&name)), ..nothing });
    }
    add("no SNI, or another name".into(), nothing);
    for address in certificates.iter().flat_map(|one| &one.addresses).collect::<BTreeSet<_>>() {
        add(format!("no SNI; comes to {address}"), Hints { address: Some(*address), ..nothing });
    }
    rows
}

/// What somebody is shown whom a policy with a certificate may let in, as far as that is known before the login: a row for each of them.
fn clients_of_policies(config: &Config, door: Door<'_>) -> Vec<ClientReport> {
    let is_here = |policy: &&Policy| {
        let shown = door.certificates.iter().any(|certificate| policy.certificate.as_ref() == Some(&certificate.name));
        shown && policy.grant && !policy.disabled && may_be_for(policy, door.name, door.tunnel)
    };
    config.policies.iter().filter(is_here).filter_map(|policy| client_of(config, door, policy)).collect()
}

fn client_of(config: &Config, door: Door<'_>, policy: &Policy) -> Option<ClientReport> {
    let wanted = door.certificates.iter().find(|certificate| policy.certificate.as_ref() == Some(&certificate.name))?;
    let names: Vec<_> = wanted.dial_names().iter().map(|name| name.replacen('*', "host", 1)).collect();
    let samples = samples(policy, &names, &wanted.addresses, door.tunnel);
    let possible = || samples.iter().filter(|sample| may_match(policy, &sample.facts(door.tunnel, door.name)));
    // One that asks for the certificate's own name, if the policy allows it.
    let asks = |sample: &&Sample| sample.server_name.as_ref().is_some_and(|name| names.contains(name));
    let sample = possible().find(asks).or_else(|| possible().next())?;
    let client = Imagined {
        server_name: sample.server_name.as_deref(),
        client: sample.client,
        gateway: sample.gateway,
        by_certificate: sample.by_certificate,
        time: sample.time,
    };
    let selection = door.shows(&config.policies, client)?;
    let tells = sample.words(if door.tunnel == Tunnel::Sstp { "SNI" } else { "IDr" });
    Some(told(door.name, &format!("of policy {:?}", policy.name), tells, None, selection))
}

fn told(listener: &str, client: &str, tells: String, signed_with: Option<String>, selection: Selection) -> ClientReport {
    let (listener, client) = (listener.to_owned(), client.to_owned());
    let passed_over = selection.passed_over.into_iter().map(|(certificate, reason)| PassedOver { certificate, reason }).collect();
    let certificate = Some(selection.name);
    ClientReport { listener, client, tells, certificate, signed_with, why: selection.why, passed_over, remarks: selection.remarks }
}

fn row(listener: &str, certificates: &[ServerCertificate], client: &str, tells: String, hints: &Hints<'_>) -> ClientReport {
    let Some(selection) = pki::choose(certificates, hints) else {
        let (listener, client) = (listener.to_owned(), client.to_owned());
        let why = "it can verify the signature of none of them".into();
        return ClientReport {
            listener,
            client,
            tells,
            certificate: None,
            signed_with: None,
            why,
            passed_over: Vec::new(),
            remarks: Vec::new(),
        };
    };
    let kind = certificates[selection.index].credential.key.kind();
    let hashes = (client != "Windows").then_some(&HASHES[..]);
    let signed_with = (hints.name_source == "IDr").then(|| choose_scheme(kind, hashes).map(|choice| choice.to_string()).ok()).flatten();
    told(listener, client, tells, signed_with, selection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_down_past_the_end() {
        assert_eq!((days_left(10 * DAY + 5, 0), days_left(5, 0), days_left(-1, 0), days_left(-DAY, 0)), (10, 0, -1, -1));
    }
}
