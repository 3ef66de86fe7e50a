//! `evergate status`: the gateway as a whole, put together from its parts.
use crate::accounting;
use crate::api::types::{
    AccountingStatus, DataplaneStatus, Health, ListenerStatus, LocalStatus, LockoutStatus, NpsLogStatus, RadiusStatus, RevocationList,
    RevocationStatus, SocketStatus, Status, TelemetryStatus,
};
use crate::config::{Config, Ikev2Listener, RadiusServer};
use crate::gateway::Summary;
use crate::local_shell;
use crate::nps_log;
use crate::radius_shell::Servers;
use crate::revocation::{Held, Known};
use crate::run::Started;
use crate::sstp::Front;
use crate::telemetry;
use local_provider::Locked;
use radius_client::Standing;
use radius_client::dynamic::DynamicCounters;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// What the shell gathers for a report.
#[derive(Debug)]
pub struct Parts<'a> {
    pub config: &'a Config,
    pub started: Started,
    pub summary: Summary,
    pub revocation: Held,
    pub radius: Servers,
    pub local: Option<local_shell::Report>,
    pub accounting: Option<accounting::Status>,
    pub nps_log: Option<nps_log::Status>,
    pub telemetry: Option<telemetry::Status>,
    pub dataplane: DataplaneStatus,
    /// Datagrams received per bound address.
    pub sockets: Vec<(SocketAddr, u64)>,
    pub fronts: &'a [Front],
    /// Counters of SSTP connections by name.
    pub sstp: BTreeMap<String, u64>,
    pub dynamic: DynamicCounters,
}

pub fn report(parts: Parts<'_>) -> Status {
    let Parts {
        config,
        started,
        summary,
        revocation,
        radius: servers,
        local,
        accounting,
        nps_log,
        telemetry,
        dataplane,
        sockets,
        fronts,
        sstp,
        dynamic,
    } = parts;
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        name: config.server.name.clone(),
        pid: std::process::id(),
        started_at: started.unix_time,
        uptime_secs: started.instant.elapsed().as_secs(),
        sessions: summary.sessions,
        half_open: summary.half_open,
        drain: summary.drain,
        listeners: config.ikev2.iter().map(|listener| ikev2(listener, &sockets)).chain(fronts.iter().map(front)).collect(),
        certificates: crate::certificates::expiries(config, jiff::Timestamp::now().as_second()),
        revocation: revocation_lists(&revocation, jiff::Timestamp::now().as_second()),
        radius: self::radius(config, &servers),
        local: config.local.as_ref().zip(local).map(|(local, report)| local_status(&local.users_file, report)),
        accounting: accounting.map(accounting_status),
        nps_log: nps_log.map(nps_log_status),
        telemetry: telemetry.map(telemetry_status),
        pools: summary.pools,
        eap_certificates: summary.eap_certificates,
        dataplane,
        ike: summary.ike,
        sstp,
        dynamic: dynamic_counters(dynamic),
    }
}

/// One line a source, whoever asks for it: the newest list that came from there.
pub fn revocation_lists(held: &Held, now: i64) -> Vec<RevocationStatus> {
    let mut sources: BTreeMap<String, RevocationStatus> = BTreeMap::new();
    for Known { source, list, trouble } in held {
        let list = list.as_ref().map(|list| RevocationList {
            issuer: list.issuer().to_owned(),
            entries: list.entries() as u64,
            issued_at: list.this_update(),
            next_update: list.next_update(),
            secs_left: list.next_update().saturating_sub(now),
        });
        let empty = || RevocationStatus { source: source.to_string(), list: None, trouble: None };
        let known = sources.entry(source.to_string()).or_insert_with(empty);
        let issued_at = |list: &Option<RevocationList>| list.as_ref().map(|list| list.issued_at);
        if issued_at(&list) > issued_at(&known.list) {
            known.list = list;
        }
        known.trouble = known.trouble.take().or_else(|| trouble.clone());
    }
    sources.into_values().collect()
}

/// Whether clients can come in. Strangers may ask: it costs next to nothing.
pub fn readiness(is_draining: bool, config: &Config, servers: &Servers) -> Health {
    let standing = |server: &RadiusServer| servers.iter().find(|report| report.name == server.server.name).map(|report| report.standing);
    ready(is_draining, config.local.is_some(), config.radius.iter().map(standing))
}

fn ready(is_draining: bool, is_local: bool, mut servers: impl ExactSizeIterator<Item = Option<Standing>>) -> Health {
    let is_alone = !is_local && servers.len() > 0 && servers.all(|standing| standing == Some(Standing::Dead));
    let reasons = [(is_draining, "the gateway is being emptied"), (is_alone, "no RADIUS server answers")];
    let reasons: Vec<_> = reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned()).collect();
    Health { ok: reasons.is_empty(), reasons }
}

/// How the RADIUS servers of the configuration stand.
pub fn radius(config: &Config, servers: &Servers) -> Vec<RadiusStatus> {
    config.radius.iter().map(|server| radius_status(server, servers)).collect()
}

fn dynamic_counters(counters: DynamicCounters) -> BTreeMap<String, u64> {
    let named = [
        ("requests", counters.requests),
        ("acknowledged", counters.acknowledged),
        ("refused", counters.refused),
        ("repeated", counters.repeated),
        ("dropped_source", counters.dropped_source),
        ("dropped_malformed", counters.dropped_malformed),
        ("dropped_authenticator", counters.dropped_authenticator),
        ("dropped_stale", counters.dropped_stale),
        ("connections_refused", counters.connections_refused),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// There is one IKEv2 listener, so every UDP socket is its own.
fn ikev2(listener: &Ikev2Listener, sockets: &[(SocketAddr, u64)]) -> ListenerStatus {
    let sockets = sockets.iter().map(|&(address, packets)| SocketStatus { address, packets }).collect();
    ListenerStatus { name: listener.name.clone(), protocol: "ikev2".into(), sockets }
}

fn front(front: &Front) -> ListenerStatus {
    let socket = |socket: &crate::sstp::Socket| SocketStatus { address: socket.address, packets: socket.accepted() };
    ListenerStatus { name: front.name.clone(), protocol: front.protocol.into(), sockets: front.sockets.iter().map(socket).collect() }
}

fn accounting_status(status: accounting::Status) -> AccountingStatus {
    AccountingStatus {
        queued: status.queued,
        oldest_secs: status.oldest_secs,
        open: status.open,
        confirmed: status.confirmed,
        interims_dropped: status.interims_dropped,
        recovered: status.recovered,
        lost: status.lost,
        journal_failure: status.journal_failure,
        journal_failures: status.journal_failures,
        radius_failure: status.radius_failure,
    }
}

fn nps_log_status(status: nps_log::Status) -> NpsLogStatus {
    let nps_log::Status { file, written, waiting, dropped, failure } = status;
    NpsLogStatus { file: file.map(|file| file.display().to_string()), written, waiting, dropped, failure }
}

fn telemetry_status(status: telemetry::Status) -> TelemetryStatus {
    let telemetry::Status { exported, dropped, failure } = status;
    TelemetryStatus { exported, dropped, failure }
}

fn local_status(file: &Path, report: local_shell::Report) -> LocalStatus {
    let now = Instant::now();
    let rest = |locked: Locked| {
        let rest_secs = locked.until.checked_duration_since(now)?.as_secs() + 1;
        Some(LockoutStatus { user: locked.user, source: locked.source, rest_secs })
    };
    LocalStatus {
        users_file: file.display().to_string(),
        users: report.users,
        disabled: report.disabled,
        groups: report.groups,
        lockouts: report.locked.into_iter().filter_map(rest).collect(),
        more_lockouts: report.more_locked,
        failure: report.failure,
    }
}

fn radius_status(server: &RadiusServer, servers: &Servers) -> RadiusStatus {
    let report = servers.iter().find(|report| report.name == server.server.name);
    let counters = report.map(|report| report.counters).unwrap_or_default();
    let standing = report.map_or(Standing::Unknown, |report| report.standing);
    let named = [
        ("sent", counters.sent),
        ("retransmitted", counters.retransmitted),
        ("accepted", counters.accepted),
        ("dropped_source", counters.dropped_source),
        ("dropped_malformed", counters.dropped_malformed),
        ("dropped_unsolicited", counters.dropped_unsolicited),
        ("dropped_authenticator", counters.dropped_authenticator),
        ("dropped_message_authenticator", counters.dropped_message_authenticator),
        ("dropped_code", counters.dropped_code),
        ("dropped_proxy_state", counters.dropped_proxy_state),
        ("declined", counters.declined),
        ("timeouts", counters.timeouts),
        ("connections", counters.connections),
        ("connections_lost", counters.connections_lost),
    ];
    let counters: BTreeMap<_, _> = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    RadiusStatus {
        name: server.server.name.clone(),
        address: server.server.address(),
        groups: report.map(|report| report.groups.clone()).unwrap_or_default(),
        radius_version: report.and_then(|report| report.version).map(|version| version.name().into()),
        ignored: report.map(|report| report.ignored.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        standing: standing_name(standing).into(),
        since_secs: report.and_then(|report| report.since).map(|since| since.elapsed().as_secs()),
        round_trip_ms: report.and_then(|report| report.round_trip).map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        in_flight: report.map_or(0, |report| report.in_flight as u64),
        counters,
    }
}

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Unknown => "unknown",
        Standing::Alive => "alive",
        Standing::Slow => "slow",
        Standing::Dead => "dead",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_ready_while_somebody_is_there_to_authenticate() {
        let (dead, alive) = (Some(Standing::Dead), Some(Standing::Alive));
        let is_ready = |draining, local, servers: &[Option<Standing>]| ready(draining, local, servers.iter().copied()).ok;
        for servers in [&[][..], &[alive], &[dead, alive], &[dead, None], &[Some(Standing::Unknown)], &[Some(Standing::Slow)]] {
            assert!(is_ready(false, false, servers) && !is_ready(true, false, servers), "{servers:?}");
        }
        assert!(!is_ready(false, false, &[dead, dead]) && is_ready(false, true, &[dead]));
        assert_eq!(ready(true, false, [dead].into_iter()).reasons.len(), 2);
    }
}
