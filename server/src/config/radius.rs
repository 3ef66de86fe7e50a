//! `[[radius]]`.
use super::error::ConfigError;
use super::files;
use super::reader::{Root, Section, text};
use super::source::Value;
use super::{RadiusServer, radsec, values};
use crypto::Zeroizing;
use radius_client::{DEFAULT_FRAMED_MTU, ExtraAttribute, Probe, RequireMessageAuthenticator, Transport};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

const RADIUS: &[&str] = &[
    "name",
    "transport",
    "address",
    "port",
    "accounting_port",
    "accounting",
    "tls_name",
    "ca",
    "chain",
    "key",
    "pin",
    "revocation",
    "crl",
    "radius_1_1",
    "secret_file",
    "source",
    "retransmit_initial",
    "tries",
    "timeout",
    "require_message_authenticator",
    "probe",
    "probe_user",
    "revive_interval",
    "attributes",
    "ignore_filters",
    "ignore_port_limit",
    "framed_mtu",
    "nas_identifier",
    "nas_ip",
];

const TLS_ONLY: &[&str] = &["accounting", "tls_name", "ca", "chain", "key", "pin", "revocation", "crl", "radius_1_1"];
const UDP_ONLY: &[&str] = &["accounting_port"];

/// RFC 2865 section 3 prefers secrets of at least 16 octets.
const GOOD_SECRET: usize = 16;

pub(super) fn servers(root: &Root<'_>, server_name: &str, warnings: &mut Vec<String>) -> Result<Vec<RadiusServer>, ConfigError> {
    root.sections("radius", RADIUS)?.iter().map(|section| server(section, server_name, warnings)).collect()
}

fn server(section: &Section<'_>, server_name: &str, warnings: &mut Vec<String>) -> Result<RadiusServer, ConfigError> {
    let host = section.required("address", "an IP address or a host name", |value| values::non_empty(text(value)?))?;
    let tls = over_tls(section)?;
    let port: u16 = section.number("port", 1..=65_535, if tls { 2_083 } else { 1_812 })?;
    let source = section.optional("source", "an IP address of this host", |value| values::address(text(value)?))?;
    let address = resolve(section, &host, port, source, warnings)?;
    let millis = Duration::from_millis;
    let retransmit_initial = section.duration("retransmit_initial", millis(100)..=millis(16_000))?.unwrap_or(millis(2_000));
    let timeout = section.duration("timeout", millis(1_000)..=millis(300_000))?.unwrap_or(millis(60_000));
    // TLS protects replies as a whole.
    let usual = if tls { RequireMessageAuthenticator::No } else { RequireMessageAuthenticator::Yes };
    let require_message_authenticator = require_message_authenticator(section)?.unwrap_or(usual);
    if require_message_authenticator == RequireMessageAuthenticator::No && !tls {
        warnings.push(format!(
            "{}: require_message_authenticator = \"no\": replies can be forged by whoever is on the path (CVE-2024-3596)",
            section.title()
        ));
    }
    let identifier = section.optional("nas_identifier", "a text of 1 to 253 bytes", |value| {
        Some(text(value)?).filter(|text| (1..=253).contains(&text.len())).map(str::to_owned).ok_or_else(String::new)
    })?;
    let name = section.name()?;
    if name == local_provider::SERVER {
        return Err(section.error("name", "is what records call the local provider; expected another name"));
    }
    let settings = if tls { Some(radsec::settings(section, &host, warnings)?) } else { None };
    Ok(RadiusServer {
        server: radius_client::Server {
            name: section.name()?,
            transport: transport(section, tls, address)?,
            tls_settings: if tls { radsec::fingerprint_of(section) } else { [0; 32] },
            secret: if tls && !section.has("secret_file") { radsec::secret() } else { secret(section, warnings)? },
            source,
            attributes: attributes(section)?,
            ignore_filters: ignore_filters(section, warnings)?,
            ignore_port_limit: section.boolean("ignore_port_limit", false)?,
            framed_mtu: section.number("framed_mtu", 64..=1_500, DEFAULT_FRAMED_MTU)?,
            nas_identifier: Some(identifier.unwrap_or_else(|| server_name.to_owned())),
            nas_ip: section.optional("nas_ip", "an IP address", |value| values::address(text(value)?))?,
            retransmit_initial,
            tries: section.number("tries", 1..=10, 4)?,
            timeout,
            require_message_authenticator,
            probe: probe(section)?.unwrap_or(if tls { Probe::StatusServer } else { Probe::Off }),
            revive_interval: section.duration("revive_interval", millis(1_000)..=millis(3_600_000))?.unwrap_or(millis(60_000)),
        },
        tls: settings,
        host,
    })
}

/// What the server's policies match on besides what every request says.
fn attributes(section: &Section<'_>) -> Result<Vec<ExtraAttribute>, ConfigError> {
    let expected = "attributes such as \"NAS-Port-Id = vpn\", \"77 = text:fast\" or \"26.9.1 = hex:00ff\"";
    let parse = |value: &Value| ExtraAttribute::parse(text(value)?);
    Ok(section.list("attributes", expected, parse)?.unwrap_or_default())
}

fn ignore_filters(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<bool, ConfigError> {
    let ignore = section.boolean("ignore_filters", false)?;
    if ignore {
        warnings
            .push(format!("{}: ignore_filters lets users in without the packet filters that this server sends for them", section.title()));
    }
    Ok(ignore)
}

fn over_tls(section: &Section<'_>) -> Result<bool, ConfigError> {
    let tls = section.choice("transport", &[("udp", false), ("tls", true)])?.unwrap_or(false);
    let (others, word) = if tls { (UDP_ONLY, "udp") } else { (TLS_ONLY, "tls") };
    match others.iter().find(|key| section.has(key)) {
        Some(key) => Err(section.error(key, format!("belongs to servers with transport = {word:?}"))),
        None => Ok(tls),
    }
}

fn transport(section: &Section<'_>, tls: bool, address: SocketAddr) -> Result<Transport, ConfigError> {
    if tls {
        return Ok(Transport::Tls { address, accounting: section.boolean("accounting", true)? });
    }
    let port: u16 = section.number("accounting_port", 0..=65_535, 1_813)?;
    Ok(Transport::Udp { auth: address, accounting: (port != 0).then(|| SocketAddr::new(address.ip(), port)) })
}

/// `true` and `false` as in former configurations.
fn require_message_authenticator(section: &Section<'_>) -> Result<Option<RequireMessageAuthenticator>, ConfigError> {
    use RequireMessageAuthenticator::{Auto, No, Yes};
    let words = [("yes", Yes), ("auto", Auto), ("no", No)];
    let parse = |value: &Value| match value {
        Value::Boolean(required) => Ok(if *required { Yes } else { No }),
        Value::Ambiguous { text, .. } if text == "true" => Ok(Yes),
        Value::Ambiguous { text, .. } if text == "false" => Ok(No),
        value => {
            let word = text(value)?;
            words.iter().find(|(known, _)| *known == word).map(|(_, mode)| *mode).ok_or_else(String::new)
        }
    };
    section.optional("require_message_authenticator", "one of \"yes\", \"auto\", \"no\"", parse)
}

fn probe(section: &Section<'_>) -> Result<Option<Probe>, ConfigError> {
    let user = section.optional("probe_user", "a user name of 1 to 253 bytes", |value| {
        Some(text(value)?).filter(|name| (1..=253).contains(&name.len())).map(str::to_owned).ok_or_else(String::new)
    })?;
    let words = [("off", Probe::Off), ("status-server", Probe::StatusServer)];
    let parse = |value: &Value| {
        let word = text(value)?;
        words.iter().find(|(known, _)| *known == word).map(|(_, probe)| probe.clone()).ok_or_else(String::new)
    };
    let probe = section.optional("probe", "one of \"off\", \"status-server\"", parse)?;
    match (user, probe) {
        (Some(_), Some(_)) => Err(section.error("probe", "and probe_user are two ways for one thing; leave one of them out")),
        (Some(user), None) => Ok(Some(Probe::User(user))),
        (None, probe) => Ok(probe),
    }
}

/// The server's address, of the family of `source` where one is given. The one in use stays while the name still stands for it.
fn resolve(
    section: &Section<'_>,
    host: &str,
    port: u16,
    source: Option<IpAddr>,
    warnings: &mut Vec<String>,
) -> Result<SocketAddr, ConfigError> {
    let fits = |address: &SocketAddr| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
    let used = section.notes().addresses.get(host).map(Vec::as_slice).unwrap_or_default();
    let used: Vec<_> = used.iter().map(|&address| SocketAddr::new(address, port)).filter(fits).collect();
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match (host, port).to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(error) if used.is_empty() => {
                return Err(section.error("address", format!("is no IP address, and the host name cannot be resolved: {error}")));
            }
            Err(error) => {
                let title = section.title();
                warnings.push(format!("{title}: {host} cannot be resolved now ({error}): the address found before is used"));
                used.clone()
            }
        },
    };
    let kept = used.into_iter().find(|address| found.contains(address));
    kept.or_else(|| found.iter().copied().find(fits)).ok_or_else(|| {
        let family = if source.is_some_and(|source| source.is_ipv4()) { "IPv4" } else { "IPv6" };
        section.error("source", format!("is {family}, but {host} has no such address; expected one of its family"))
    })
}

/// The shared secret.
pub(super) fn secret(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let secret = files::read_secret_line(section, "secret_file", "the shared secret", warnings)?;
    if secret.len() < GOOD_SECRET {
        let length = secret.len();
        warnings.push(format!("{}: the shared secret has {length} characters; {GOOD_SECRET} or more resist guessing", section.title()));
    }
    Ok(secret)
}
