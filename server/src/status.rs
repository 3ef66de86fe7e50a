//! `evergate status`: the gateway as a whole, put together from its parts.
use crate::config::{Config, RadiusServer};
use crate::control::types::{DataplaneStatus, ListenerStatus, RadiusStatus, SocketStatus, Status};
use crate::gateway::Summary;
use crate::radius_shell::Counters;
use crate::run::Started;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What the shell gathers for a report.
#[derive(Debug)]
pub struct Parts<'a> {
    pub config: &'a Config,
    pub started: Started,
    pub summary: Summary,
    pub radius: Counters,
    pub dataplane: DataplaneStatus,
    /// Datagrams received per bound address.
    pub sockets: Vec<(SocketAddr, u64)>,
}

pub fn report(parts: Parts<'_>) -> Status {
    let Parts { config, started, summary, radius, dataplane, sockets } = parts;
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        name: config.server.name.clone(),
        pid: std::process::id(),
        started_at: started.unix_time,
        uptime_secs: started.instant.elapsed().as_secs(),
        sessions: summary.sessions,
        half_open: summary.half_open,
        listeners: listeners(config, &sockets),
        radius: config.radius.iter().map(|server| radius_status(server, &radius)).collect(),
        pools: summary.pools,
        dataplane,
        ike: summary.ike,
    }
}

/// There is one listener, so every socket is its own.
fn listeners(config: &Config, sockets: &[(SocketAddr, u64)]) -> Vec<ListenerStatus> {
    let sockets: Vec<_> = sockets.iter().map(|&(address, packets)| SocketStatus { address, packets }).collect();
    let status = |listener: &crate::config::Listener| ListenerStatus {
        name: listener.name.clone(),
        protocol: "ikev2".into(),
        sockets: sockets.clone(),
    };
    config.listeners.iter().map(status).collect()
}

fn radius_status(server: &RadiusServer, counters: &Counters) -> RadiusStatus {
    let counters = counters.iter().find(|(name, _)| *name == server.server.name).map(|(_, counters)| *counters).unwrap_or_default();
    let named = [
        ("sent", counters.sent),
        ("retransmitted", counters.retransmitted),
        ("accepted", counters.accepted),
        ("dropped_source", counters.dropped_source),
        ("dropped_malformed", counters.dropped_malformed),
        ("dropped_unsolicited", counters.dropped_unsolicited),
        ("dropped_authenticator", counters.dropped_authenticator),
        ("dropped_message_authenticator", counters.dropped_message_authenticator),
        ("dropped_proxy_state", counters.dropped_proxy_state),
        ("timeouts", counters.timeouts),
    ];
    let counters: BTreeMap<_, _> = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    RadiusStatus { name: server.server.name.clone(), address: server.server.auth, counters }
}
