//! `[[listener]]`.
use super::error::ConfigError;
use super::reader::{Root, Section};
use super::{Ikev2Listener, NamedCredential, SstpListener, certificates, pem, revocation, values};
use crate::gateway::CertificateAuthorization;
use crate::steering::Door;
use ike::ClientAuth;
use ike::ppk::{Ppk, PpkPolicy};
use pki::{ServerCertificate, TrustAnchors};
use policy::network::{AddressRange, Policy, Tunnel};
use ppp::AuthProtocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const LISTENER: &[&str] = &[
    "name",
    "protocol",
    "addresses",
    "certificates",
    "default_certificate",
    "auth",
    "certificate_authorization",
    "client_ca",
    "client_eku",
    "revocation",
    "crl",
    "ike_port",
    "nat_port",
    "redirect",
    "return_routability",
    "tcp",
    "port",
    "sha1_binding",
    "inner_ipv4",
    "inner_ipv6",
    "tunnel_type",
    "proxies",
    "ppk",
    "eap_only",
];
const IKEV2_ONLY: &[&str] = &[
    "certificate_authorization",
    "client_ca",
    "client_eku",
    "revocation",
    "crl",
    "ike_port",
    "nat_port",
    "tcp",
    "redirect",
    "return_routability",
    "ppk",
    "eap_only",
    "inner_ipv6",
];
const SSTP_ONLY: &[&str] = &["port", "sha1_binding"];

#[derive(Clone, Copy)]
enum Protocol {
    Ikev2,
    Sstp,
}

pub(super) fn listeners(
    root: &Root<'_>,
    certificates: &[NamedCredential],
    has_provider: bool,
    ppks: &[Ppk],
    warnings: &mut Vec<String>,
) -> Result<(Option<Ikev2Listener>, Vec<SstpListener>), ConfigError> {
    let sections = root.sections("listener", LISTENER)?;
    if sections.is_empty() {
        return Err(root.missing(
            "listener",
            "is missing; expected a table [[listener]] with name, protocol = \"ikev2\" or \"sstp\", and certificates",
        ));
    }
    let (mut ikev2, mut sstp) = (None, Vec::new());
    for section in &sections {
        let protocol = section
            .choice("protocol", &[("ikev2", Protocol::Ikev2), ("sstp", Protocol::Sstp)])?
            .ok_or_else(|| section.error("protocol", "is missing; expected \"ikev2\" or \"sstp\""))?;
        match protocol {
            Protocol::Ikev2 if ikev2.is_some() => {
                return Err(
                    section.error("protocol", "a second ikev2 listener: one serves them all; list its addresses and certificates there")
                );
            }
            Protocol::Ikev2 => ikev2 = Some(ikev2_listener(section, certificates, has_provider, ppks, warnings)?),
            Protocol::Sstp => sstp.push(sstp_listener(section, certificates, has_provider, warnings)?),
        }
    }
    if ikev2.is_none() && !ppks.is_empty() {
        warnings.push("[[ppk]] has no effect without an ikev2 listener".into());
    }
    Ok((ikev2, sstp))
}

/// # Errors
/// It would be luck which certificate some client sees.
pub(super) fn check_ties(root: &Root<'_>, policies: &[Policy], doors: &[Door<'_>]) -> Result<(), ConfigError> {
    for section in root.sections("listener", LISTENER)? {
        let name = section.name()?;
        let door = doors.iter().find(|door| door.name == name);
        door.map_or(Ok(()), |door| certificates::check_ties(&section, *door, policies))?;
    }
    Ok(())
}

fn ikev2_listener(
    section: &Section<'_>,
    certificates: &[NamedCredential],
    has_provider: bool,
    ppks: &[Ppk],
    warnings: &mut Vec<String>,
) -> Result<Ikev2Listener, ConfigError> {
    none_of(section, SSTP_ONLY, "sstp")?;
    let auth = client_auth(section, has_provider)?;
    let client_roots = client_roots(section, auth, warnings)?;
    let shown = certificates::shown(section, certificates, client_roots.roots())?;
    let (client_roots, revocation) = revocation::of_clients(section, auth, client_roots, warnings)?;
    let ike_port = section.number("ike_port", 1..=65_535, 500)?;
    let nat_port = section.number("nat_port", 1..=65_535, 4_500)?;
    if ike_port == nat_port {
        return Err(section.error("nat_port", "is the same as ike_port; expected another UDP port"));
    }
    let tcp = tcp_ports(section)?;
    let proxies = proxies(section)?;
    if tcp.is_empty() && !proxies.is_empty() {
        return Err(section.error("proxies", "has no effect without tcp: balancers send no PROXY header over UDP"));
    }
    Ok(Ikev2Listener {
        name: section.name()?,
        addresses: addresses(section, "addresses")?,
        certificates: shown,
        steering: None,
        auth,
        certificate_authorization: certificate_authorization(section, auth, warnings)?,
        client_roots: Arc::new(client_roots),
        revocation,
        return_routability: section.boolean("return_routability", true)?,
        redirect: section.optional("redirect", "the name or IP address of another gateway", |value| {
            values::gateway_identity(super::reader::text(value)?)
        })?,
        ike_port,
        nat_port,
        tcp,
        proxies,
        ppk: ppk_policy(section, ppks)?,
        inner_ipv4: inner_ipv4(section)?,
        inner_ipv6: section.optional("inner_ipv6", "an IPv6 address", values::ipv6_value)?,
        tunnel_type: tunnel_type(section, Tunnel::Ikev2)?,
    })
}

/// Without clients that have a certificate the key says nothing.
fn certificate_authorization(
    section: &Section<'_>,
    auth: ClientAuth,
    warnings: &mut Vec<String>,
) -> Result<CertificateAuthorization, ConfigError> {
    const KEY: &str = "certificate_authorization";
    let words = [("policy", CertificateAuthorization::Policy), ("radius", CertificateAuthorization::Radius)];
    let chosen = section.choice(KEY, &words)?.unwrap_or_default();
    if section.has(KEY) && !auth.certificate {
        warnings.push(format!("{}: {KEY} has no effect without auth = \"certificate\"", section.title()));
    }
    Ok(chosen)
}

/// What policies of RADIUS servers match on; no document says what RRAS sends for IKEv2.
fn tunnel_type(section: &Section<'_>, tunnel: Tunnel) -> Result<u32, ConfigError> {
    section.number("tunnel_type", 1..=0x00ff_ffff, crate::gateway::default_tunnel_type(tunnel))
}

/// Our end of the tunnels.
fn inner_ipv4(section: &Section<'_>) -> Result<Ipv4Addr, ConfigError> {
    Ok(section.optional("inner_ipv4", "an IPv4 address", values::ipv4_value)?.unwrap_or(crate::gateway::DUMMY_IPV4))
}

/// With keys, clients may use them, unless the listener says that they must.
fn ppk_policy(section: &Section<'_>, keys: &[Ppk]) -> Result<PpkPolicy, ConfigError> {
    let required = section.choice("ppk", &[("optional", false), ("required", true)])?.unwrap_or(false);
    if required && keys.is_empty() {
        return Err(section.error("ppk", "there is no [[ppk]] that a client could use: add one with name and secret_file"));
    }
    Ok(PpkPolicy { keys: keys.to_vec(), required })
}

fn sstp_listener(
    section: &Section<'_>,
    certificates: &[NamedCredential],
    has_provider: bool,
    warnings: &mut Vec<String>,
) -> Result<SstpListener, ConfigError> {
    none_of(section, IKEV2_ONLY, "ikev2")?;
    let shown = certificates::shown(section, certificates, &[])?;
    if let Some(ServerCertificate { name, credential, .. }) = shown.iter().find(|shown| !speaks_tls(shown)) {
        let kind = credential.key.kind();
        return Err(section.error(
            "certificates",
            format!("{name:?} has a key of the kind {kind}, which Windows refuses in TLS; expected RSA, P-256 or P-384"),
        ));
    }
    let auth = ppp_auth(section, has_provider)?;
    for weak in auth.iter().filter(|way| matches!(way, AuthProtocol::Pap | AuthProtocol::Chap)) {
        let way = if *weak == AuthProtocol::Pap { "pap" } else { "chap" };
        warnings.push(format!("{}: auth {way} makes no keys: nothing binds such a login to its TLS connection", section.title()));
    }
    let sha1_binding = section.boolean("sha1_binding", false)?;
    if sha1_binding {
        warnings.push(format!("{}: sha1_binding accepts SHA-1 crypto bindings, for clients older than Windows 7", section.title()));
    }
    Ok(SstpListener {
        name: section.name()?,
        addresses: addresses(section, "addresses")?,
        port: section.number("port", 1..=65_535, 443)?,
        certificates: shown,
        steering: None,
        auth,
        sha1_binding,
        inner_ipv4: inner_ipv4(section)?,
        tunnel_type: tunnel_type(section, Tunnel::Sstp)?,
        proxies: proxies(section)?,
    })
}

fn proxies(section: &Section<'_>) -> Result<Vec<AddressRange>, ConfigError> {
    let ranges = section
        .list("proxies", "ranges such as \"192.0.2.10\" or \"192.0.2.0/28\"", |value| values::address_range(super::reader::text(value)?))?;
    Ok(ranges.unwrap_or_default())
}

fn tcp_ports(section: &Section<'_>) -> Result<Vec<u16>, ConfigError> {
    let port = |value: &_| u16::try_from(super::reader::integer(value)?).ok().filter(|port| *port > 0).ok_or_else(String::new);
    let ports = section.list("tcp", "TCP ports, 1..=65535, such as 443 and 4500", port)?.unwrap_or_default();
    match ports.iter().enumerate().find(|(index, port)| ports[..*index].contains(port)) {
        Some((_, port)) => Err(section.error("tcp", format!("names {port} twice"))),
        None => Ok(ports),
    }
}

/// A key that belongs to the other protocol is a mistake, not an ornament.
fn none_of(section: &Section<'_>, keys: &[&str], protocol: &str) -> Result<(), ConfigError> {
    match keys.iter().find(|key| section.has(key)) {
        Some(key) => Err(section.error(key, format!("belongs to listeners with protocol = {protocol:?}"))),
        None => Ok(()),
    }
}

/// What TLS clients of every kind verify: P-521 and Ed25519 fail on Windows.
fn speaks_tls(certificate: &ServerCertificate) -> bool {
    use crypto::sign::KeyKind;
    matches!(certificate.credential.key.kind(), KeyKind::Rsa { .. } | KeyKind::EcdsaP256 | KeyKind::EcdsaP384)
}

fn ppp_auth(section: &Section<'_>, has_provider: bool) -> Result<Vec<AuthProtocol>, ConfigError> {
    let words =
        [("eap", AuthProtocol::Eap), ("mschapv2", AuthProtocol::MsChapV2), ("chap", AuthProtocol::Chap), ("pap", AuthProtocol::Pap)];
    let ways = section.choices("auth", &words)?.unwrap_or_else(|| vec![AuthProtocol::Eap, AuthProtocol::MsChapV2]);
    if ways.is_empty() {
        return Err(section.error("auth", "is empty; expected some of \"eap\", \"mschapv2\", \"chap\", \"pap\", the preferred one first"));
    }
    if !has_provider {
        return Err(section.error("auth", "needs somebody to ask: add a [[radius]] table, or [local] with users_file"));
    }
    Ok(ways)
}

/// Addresses to bind; all of both families unless told otherwise.
pub(super) fn addresses(section: &Section<'_>, key: &'static str) -> Result<Vec<IpAddr>, ConfigError> {
    let addresses = section
        .list(key, "IP addresses of this host, or \"0.0.0.0\" and \"::\" for all", |value| values::address(super::reader::text(value)?))?;
    let addresses = addresses.unwrap_or_else(|| vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
    if addresses.is_empty() {
        return Err(section.error(key, "is empty; leave the key out to listen on all addresses"));
    }
    let twice = addresses.iter().enumerate().find(|(index, address)| addresses[..*index].contains(address));
    match twice {
        Some((_, address)) => Err(section.error("addresses", format!("names {address} twice"))),
        None => Ok(addresses),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Eap,
    Certificate,
}

fn client_auth(section: &Section<'_>, has_provider: bool) -> Result<ClientAuth, ConfigError> {
    let ways = section.choices("auth", &[("eap", Way::Eap), ("certificate", Way::Certificate)])?.unwrap_or_default();
    let auth = ClientAuth {
        eap: ways.contains(&Way::Eap),
        certificate: ways.contains(&Way::Certificate),
        eap_only: section.boolean("eap_only", false)?,
    };
    if ways.is_empty() {
        return Err(section.error("auth", "is missing or empty; expected [\"eap\"], [\"certificate\"] or both"));
    }
    if auth.eap_only && !auth.eap {
        return Err(section.error("eap_only", "has no meaning without auth = \"eap\""));
    }
    if auth.eap && !has_provider {
        return Err(
            section.error("auth", "eap needs somebody to ask: add a [[radius]] table, or [local] with users_file, or leave \"eap\" out")
        );
    }
    if auth.certificate && !section.has("client_ca") {
        return Err(
            section.error("client_ca", "is missing; auth = \"certificate\" needs the PEM files of the authorities of client certificates")
        );
    }
    Ok(auth)
}

pub(super) fn client_roots(section: &Section<'_>, auth: ClientAuth, warnings: &mut Vec<String>) -> Result<TrustAnchors, ConfigError> {
    let mut roots = pem::authorities(section, "client_ca")?;
    if auth.certificate && roots.is_empty() {
        return Err(section.error("client_ca", "names no authority; expected at least one PEM file"));
    }
    if !auth.certificate && !roots.is_empty() {
        warnings.push(format!("{}: client_ca has no effect without auth = \"certificate\"", section.title()));
        roots.clear();
    }
    Ok(TrustAnchors::new(roots))
}
