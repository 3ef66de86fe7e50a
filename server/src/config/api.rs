//! `[metrics]`: where monitoring reads.
use super::error::ConfigError;
use super::reader::{Root, text};
use std::net::SocketAddr;

const METRICS: &[&str] = &["listen"];

/// Where metrics are served without TLS; nowhere where nothing is said.
pub(super) fn metrics(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(section) = root.section("metrics", METRICS)? else { return Ok(Vec::new()) };
    let address = "addresses of this host with a port, such as [\"127.0.0.1:9464\"]";
    let listen =
        section.list("listen", address, |value| text(value)?.parse::<SocketAddr>().map_err(|_| String::new()))?.unwrap_or_default();
    if let Some(wide) = listen.iter().find(|address| !address.ip().is_loopback()) {
        warnings.push(format!("metrics: {wide} serves numbers about this gateway, without names of users, to whoever reaches it; a firewall should say who does"));
    }
    Ok(listen)
}
