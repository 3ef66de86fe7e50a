//! `[[certificate]]` and `[[listener]]`.
use super::error::ConfigError;
use super::files;
use super::reader::{Root, Section};
use super::{Listener, NamedCredential, Protocol, values};
use ike::ClientAuth;
use pki::{Certificate, Credential, TrustAnchors, UnixTime};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const CERTIFICATE: &[&str] = &["name", "chain", "key"];
const LISTENER: &[&str] = &["name", "protocol", "addresses", "certificates", "auth", "client_ca", "ike_port", "nat_port"];

pub(super) fn certificates(
    root: &Root<'_>,
    dialled: &str,
    now: UnixTime,
    warnings: &mut Vec<String>,
) -> Result<Vec<NamedCredential>, ConfigError> {
    let sections = root.sections("certificate", CERTIFICATE)?;
    sections.iter().map(|section| certificate(section, dialled, now, warnings)).collect()
}

fn certificate(section: &Section<'_>, dialled: &str, now: UnixTime, warnings: &mut Vec<String>) -> Result<NamedCredential, ConfigError> {
    let name = section.name()?;
    let chain_file =
        section.path("chain")?.ok_or_else(|| section.error("chain", "is missing; expected a PEM file, leaf certificate first"))?;
    let key_file = section.path("key")?.ok_or_else(|| section.error("key", "is missing; expected the PEM file of the private key"))?;
    let chain = files::read(section, "chain", &chain_file)?;
    let key = files::read_secret(section, "key", &key_file, warnings)?;
    let certificates = Certificate::from_pem(&chain).map_err(|error| section.error("chain", error.to_string()))?;
    let credential = Credential::from_pem(&chain, &key).map_err(|error| section.error("key", error.to_string()))?;
    if certificates.is_empty() {
        return Err(section.error("chain", "holds no certificate"));
    }
    for lint in pki::lint_server(&credential, &[dialled.to_owned()], now) {
        if lint.fatal {
            return Err(section.error("chain", lint.text));
        }
        warnings.push(format!("{}: {}", section.title(), lint.text));
    }
    Ok(NamedCredential { name, chain_file, credential })
}

pub(super) fn listeners(
    root: &Root<'_>,
    certificates: &[NamedCredential],
    has_radius: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Listener>, ConfigError> {
    let sections = root.sections("listener", LISTENER)?;
    if sections.is_empty() {
        return Err(root.missing("listener", "is missing; expected a table [[listener]] with name, protocol = \"ikev2\" and certificates"));
    }
    if let Some(second) = sections.get(1) {
        return Err(second.error("protocol", "a second ikev2 listener: one serves them all; list its addresses and certificates there"));
    }
    sections.iter().map(|section| listener(section, certificates, has_radius, warnings)).collect()
}

fn listener(
    section: &Section<'_>,
    certificates: &[NamedCredential],
    has_radius: bool,
    warnings: &mut Vec<String>,
) -> Result<Listener, ConfigError> {
    let protocol = section
        .choice("protocol", &[("ikev2", Protocol::Ikev2)])?
        .ok_or_else(|| section.error("protocol", "is missing; expected \"ikev2\""))?;
    let (names, credentials) = presented(section, certificates)?;
    let auth = client_auth(section, has_radius)?;
    let client_roots = client_roots(section, auth, warnings)?;
    let ike_port = section.number("ike_port", 1..=65_535, 500)?;
    let nat_port = section.number("nat_port", 1..=65_535, 4_500)?;
    if ike_port == nat_port {
        return Err(section.error("nat_port", "is the same as ike_port; expected another UDP port"));
    }
    Ok(Listener {
        name: section.name()?,
        protocol,
        addresses: addresses(section)?,
        certificates: names,
        credentials,
        auth,
        client_roots: Arc::new(client_roots),
        ike_port,
        nat_port,
    })
}

fn addresses(section: &Section<'_>) -> Result<Vec<IpAddr>, ConfigError> {
    let addresses = section.list("addresses", "IP addresses of this host, or \"0.0.0.0\" and \"::\" for all", |value| {
        values::address(super::reader::text(value)?)
    })?;
    let addresses = addresses.unwrap_or_else(|| vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
    if addresses.is_empty() {
        return Err(section.error("addresses", "is empty; leave the key out to listen on all addresses"));
    }
    let twice = addresses.iter().enumerate().find(|(index, address)| addresses[..*index].contains(address));
    match twice {
        Some((_, address)) => Err(section.error("addresses", format!("names {address} twice"))),
        None => Ok(addresses),
    }
}

fn presented(section: &Section<'_>, certificates: &[NamedCredential]) -> Result<(Vec<String>, Vec<Credential>), ConfigError> {
    let words: Vec<_> = certificates.iter().enumerate().map(|(index, certificate)| (certificate.name.as_str(), index)).collect();
    if words.is_empty() {
        return Err(section.error("certificates", "there is no [[certificate]] that it could present: add one with name, chain and key"));
    }
    let chosen = section.choices("certificates", &words)?.unwrap_or_default();
    if chosen.is_empty() {
        return Err(
            section.error("certificates", "is missing or empty; expected the names of [[certificate]] tables, the preferred one first")
        );
    }
    let names = chosen.iter().map(|index| certificates[*index].name.clone()).collect();
    Ok((names, chosen.iter().map(|index| certificates[*index].credential.clone()).collect()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Eap,
    Certificate,
}

fn client_auth(section: &Section<'_>, has_radius: bool) -> Result<ClientAuth, ConfigError> {
    let ways = section.choices("auth", &[("eap", Way::Eap), ("certificate", Way::Certificate)])?.unwrap_or_default();
    let auth = ClientAuth { eap: ways.contains(&Way::Eap), certificate: ways.contains(&Way::Certificate) };
    if ways.is_empty() {
        return Err(section.error("auth", "is missing or empty; expected [\"eap\"], [\"certificate\"] or both"));
    }
    if auth.eap && !has_radius {
        return Err(section.error("auth", "eap needs a RADIUS server to ask: add a [[radius]] table, or leave \"eap\" out"));
    }
    if auth.certificate && !section.has("client_ca") {
        return Err(
            section.error("client_ca", "is missing; auth = \"certificate\" needs the PEM files of the authorities of client certificates")
        );
    }
    Ok(auth)
}

fn client_roots(section: &Section<'_>, auth: ClientAuth, warnings: &mut Vec<String>) -> Result<TrustAnchors, ConfigError> {
    let mut roots = Vec::new();
    for file in section.paths("client_ca")?.unwrap_or_default() {
        let pem = files::read(section, "client_ca", &file)?;
        let certificates =
            Certificate::from_pem(&pem).map_err(|error| section.error("client_ca", format!("{}: {error}", file.display())))?;
        if let Some(leaf) = certificates.iter().find(|certificate| !certificate.is_ca) {
            return Err(section.error("client_ca", format!("{}: {} is no authority (basicConstraints CA)", file.display(), leaf.subject)));
        }
        roots.extend(certificates);
    }
    if auth.certificate && roots.is_empty() {
        return Err(section.error("client_ca", "names no authority; expected at least one PEM file"));
    }
    if !auth.certificate && !roots.is_empty() {
        warnings.push(format!("{}: client_ca has no effect without auth = \"certificate\"", section.title()));
        roots.clear();
    }
    Ok(TrustAnchors::new(roots))
}
