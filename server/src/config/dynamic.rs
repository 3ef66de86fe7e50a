//! `[[dynamic_client]]`: who may end and change sessions by RADIUS (RFC 5176).
use super::error::ConfigError;
use super::radsec::{self, DynamicOverTls};
use super::reader::{Root, Section, text};
use super::{radius, values};
use radius_client::dynamic::DynamicClient;

const KEYS: &[&str] = &[
    "name",
    "transport",
    "address",
    "secret_file",
    "ca",
    "tls_name",
    "pin",
    "revocation",
    "crl",
    "chain",
    "key",
    "require_event_timestamp",
];

const TLS_ONLY: &[&str] = &["ca", "tls_name", "pin", "revocation", "crl", "chain", "key"];
const UDP_ONLY: &[&str] = &["secret_file"];

/// Who may ask, and how it proves itself.
#[derive(Debug, Clone)]
pub struct DynamicPeer {
    pub client: DynamicClient,
    /// `None`: by datagrams, with its secret.
    pub tls: Option<DynamicOverTls>,
}

pub(super) fn clients(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<DynamicPeer>, ConfigError> {
    let mut clients: Vec<DynamicPeer> = Vec::new();
    for section in root.sections("dynamic_client", KEYS)? {
        let peer = client(&section, warnings)?;
        let address = peer.client.address;
        if let Some(other) = clients.iter().find(|other| other.client.address == address) {
            let name = &other.client.name;
            return Err(section.error("address", format!("{address} is the address of {name:?} already; expected one client an address")));
        }
        clients.push(peer);
    }
    Ok(clients)
}

fn client(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<DynamicPeer, ConfigError> {
    let address = section.required("address", "the IP address that its requests come from", |value| values::address(text(value)?))?;
    let over_tls = section.choice("transport", &[("udp", false), ("tls", true)])?.unwrap_or(false);
    let (others, word) = if over_tls { (UDP_ONLY, "udp") } else { (TLS_ONLY, "tls") };
    if let Some(key) = others.iter().find(|key| section.has(key)) {
        return Err(section.error(key, format!("belongs to clients with transport = {word:?}")));
    }
    let tls = if over_tls { Some(radsec::settings_of_client(section, &address.to_string(), warnings)?) } else { None };
    let secret = if over_tls { radsec::secret() } else { radius::secret(section, warnings)? };
    let require_event_timestamp = section.boolean("require_event_timestamp", false)?;
    Ok(DynamicPeer { client: DynamicClient { name: section.name()?, address, secret, require_event_timestamp, over_tls }, tls })
}
