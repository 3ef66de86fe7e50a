//! `[[dynamic_client]]`: who may end and change sessions by RADIUS (RFC 5176).
use super::error::ConfigError;
use super::reader::{Root, text};
use super::{radius, values};
use radius_client::dynamic::DynamicClient;

const KEYS: &[&str] = &["name", "address", "secret_file", "require_event_timestamp"];

pub(super) fn clients(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<DynamicClient>, ConfigError> {
    let mut clients: Vec<DynamicClient> = Vec::new();
    for section in root.sections("dynamic_client", KEYS)? {
        let address = section.required("address", "the IP address that its requests come from", |value| values::address(text(value)?))?;
        if let Some(other) = clients.iter().find(|other| other.address == address) {
            return Err(
                section.error("address", format!("{address} is the address of {:?} already; expected one client an address", other.name))
            );
        }
        clients.push(DynamicClient {
            name: section.name()?,
            address,
            secret: radius::secret(&section, warnings)?,
            require_event_timestamp: section.boolean("require_event_timestamp", false)?,
        });
    }
    Ok(clients)
}
