//! What monitoring reads: OpenMetrics text, as Prometheus and its kin take it.
//!
//! Names follow Prometheus' conventions: base units, `_total` for counters. Labels are names of the configuration and words of the program, never users,
//! clients or sessions: their number is bounded.
mod process;
mod writer;

use crate::api::types::{PoolStatus, RadiusStatus, RevocationStatus, Status};
use crate::gateway::Logins;
use process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};
use radius_client::Latency;
use std::collections::BTreeMap;
use std::fmt::Error;
use writer::{ALONE, Writer};

/// The media type of [`text`](Snapshot::text).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured, at one time.
#[derive(Debug)]
pub struct Snapshot {
    pub status: Status,
    pub logins: Logins,
    pub sessions_max: u64,
    /// Of each RADIUS server, by name.
    pub latencies: Vec<(String, Latency)>,
    pub queues: Vec<Queue>,
    /// Callers of the Admin API that were turned away, by reason.
    pub api_refusals: Vec<(&'static str, u64)>,
}

/// What waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub name: &'static str,
    pub depth: usize,
    pub capacity: usize,
}

impl Snapshot {
    /// As OpenMetrics text.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::read()));
        registry.sub_registry_with_prefix("evergate").register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a String cannot fail.
        text::encode(&mut text, &registry).ok();
        text
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Writer(encoder);
        self.gateway(&mut out)?;
        self.logins(&mut out)?;
        self.traffic(&mut out)?;
        self.radius(&mut out)?;
        self.latencies(&mut out)?;
        self.accounting(&mut out)?;
        self.nps_log(&mut out)?;
        self.telemetry(&mut out)?;
        self.pools(&mut out)?;
        self.certificates(&mut out)?;
        self.revocation(&mut out)?;
        self.queues(&mut out)
    }
}

impl Snapshot {
    fn gateway(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let status = &self.status;
        out.info("build", "The program", &[("version", &status.version)])?;
        out.gauge("start_time", "When the gateway started, unix time", Some(&Unit::Seconds), [(ALONE, status.started_at)])?;
        out.gauge("draining", "1 while the gateway is being emptied", None, [(ALONE, u64::from(status.drain.is_some()))])?;
        let sessions = self.logins.sessions.iter().map(|(tunnel, number)| ([("tunnel", *tunnel)], *number));
        out.gauge("sessions", "Established sessions", None, sessions)?;
        out.gauge("sessions_max", "Sessions at most", None, [(ALONE, self.sessions_max)])?;
        out.gauge("logins_under_way", "Logins that are not finished", None, [(ALONE, status.half_open)])?;
        let local = status.local.as_ref();
        let lockouts = local.map(|local| (ALONE, local.lockouts.len() as u64 + local.more_lockouts));
        out.gauge("local_lockouts", "Users and sources that may not log in for a while after wrong passwords", None, lockouts)
    }

    fn logins(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.counter("attempts", "Login attempts begun", None, [(ALONE, self.logins.attempts)])?;
        let up = self.logins.established.iter().map(|(tunnel, number)| (labels(tunnel, "established", "up", ""), *number));
        let failed = self.logins.failed.iter().map(|((tunnel, stage, fault), number)| (labels(tunnel, "failed", stage, fault), *number));
        out.counter("logins", "Logins finished: how, in which stage, and of failed ones whose fault", None, up.chain(failed))?;
        let decided =
            self.logins.decisions.iter().map(|((policy, word), number)| ([("policy", policy.as_str()), ("decision", word)], *number));
        out.counter("policy_decisions", "What network policies said to logins; without a policy, none matched", None, decided)?;
        out.gauge("blocks", "Entries of the block list", None, [(ALONE, self.logins.blocks)])?;
        out.counter("blocked_logins", "Logins that the block list kept out", None, [(ALONE, self.logins.blocked)])?;
        let ended = self.logins.ended.iter().map(|((tunnel, reason), number)| ([("tunnel", *tunnel), ("reason", *reason)], *number));
        out.counter("sessions_ended", "Sessions ended, by reason", None, ended)?;
        let refused = self.api_refusals.iter().map(|(reason, number)| ([("reason", *reason)], *number));
        out.counter("api_refused", "Callers of the Admin API turned away, by reason", None, refused)
    }

    fn traffic(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let data = &self.status.dataplane;
        let ways = |incoming, outgoing| [([("direction", "in")], incoming), ([("direction", "out")], outgoing)];
        let octets = ways(data.octets_in, data.octets_out);
        out.counter("tunnel", "Octets of inner packets; in is from clients", Some(&Unit::Bytes), octets)?;
        out.counter("tunnel_packets", "Inner packets; in is from clients", None, ways(data.packets_in, data.packets_out))?;
        out.counter("dropped_packets", "Packets dropped, by reason", None, by_name("reason", &data.drops))?;
        let sockets = self.status.listeners.iter().flat_map(|listener| {
            let labels = |address| [("listener", listener.name.clone()), ("protocol", listener.protocol.clone()), ("address", address)];
            listener.sockets.iter().map(move |socket| (labels(socket.address.to_string()), socket.packets))
        });
        out.counter("listener_packets", "Datagrams received, and of TCP connections accepted", None, sockets)?;
        out.counter("ike_events", "What happened to IKE messages and exchanges", None, by_name("event", &self.status.ike))?;
        out.counter("sstp_events", "What happened to SSTP connections", None, by_name("event", &self.status.sstp))?;
        out.counter("dynamic_authorization_events", "Disconnect and CoA requests", None, by_name("event", &self.status.dynamic))
    }

    fn radius(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let servers = &self.status.radius;
        let named = |server: &RadiusStatus| [("server", server.name.clone())];
        let up = servers.iter().map(|server| (named(server), u64::from(server.standing != "dead")));
        out.gauge("radius_up", "0: the server does not answer logins", None, up)?;
        let waiting = servers.iter().map(|server| (named(server), server.in_flight));
        out.gauge("radius_in_flight", "Requests that wait for an answer", None, waiting)?;
        let standings = servers.iter().flat_map(|server| {
            ["unknown", "alive", "slow", "dead"]
                .map(|state| ([("server", server.name.clone()), ("state", state.to_owned())], u64::from(server.standing == state)))
        });
        out.gauge("radius_state", "1 for the state in which the server is", None, standings)?;
        for (counter, name, help) in [
            ("sent", "radius_requests", "Requests sent, repetitions apart"),
            ("retransmitted", "radius_retransmissions", "Requests sent again"),
            ("accepted", "radius_replies", "Valid replies"),
            ("timeouts", "radius_timeouts", "Requests that were never answered"),
        ] {
            let of = |server: &RadiusStatus| server.counters.get(counter).copied().unwrap_or(0);
            out.counter(name, help, None, servers.iter().map(|server| (named(server), of(server))))?;
        }
        let dropped = servers.iter().flat_map(|server| {
            let reasons = server.counters.iter().filter_map(|(name, number)| Some((name.strip_prefix("dropped_")?, number)));
            reasons.map(|(reason, number)| ([("server", server.name.clone()), ("reason", reason.to_owned())], *number))
        });
        out.counter("radius_dropped_replies", "Replies that were not believed, by reason", None, dropped)
    }

    fn latencies(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let latencies = self.latencies.iter().map(|(server, latency)| ([("server", server.as_str())], latency));
        out.histogram("radius_response", "From a login's request, sent first, to its answer", &Unit::Seconds, latencies)
    }

    fn telemetry(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let Some(telemetry) = &self.status.telemetry else { return Ok(()) };
        out.counter("traces_exported", "Traces of logins that the collector has taken", None, [(ALONE, telemetry.exported)])?;
        out.counter("traces_lost", "Traces of logins that are lost", None, [(ALONE, telemetry.dropped)])?;
        out.gauge("traces_failing", "1 while the collector takes none", None, [(ALONE, u64::from(telemetry.failure.is_some()))])
    }

    fn nps_log(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let Some(log) = &self.status.nps_log else { return Ok(()) };
        out.counter("nps_log_written_lines", "Lines written", None, [(ALONE, log.written)])?;
        out.counter("nps_log_lost_lines", "Lines lost because too many waited for the disk", None, [(ALONE, log.dropped)])?;
        out.gauge("nps_log_waiting_lines", "Lines that wait for the disk", None, [(ALONE, log.waiting)])?;
        out.gauge("nps_log_failing", "1 while nothing can be written", None, [(ALONE, u64::from(log.failure.is_some()))])
    }

    fn accounting(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let Some(accounting) = &self.status.accounting else { return Ok(()) };
        out.gauge("accounting_queued_records", "Records that no server has confirmed", None, [(ALONE, accounting.queued)])?;
        let oldest = accounting.oldest_secs.unwrap_or(0);
        out.gauge("accounting_oldest_record", "Age of the oldest of them", Some(&Unit::Seconds), [(ALONE, oldest)])?;
        out.gauge("accounting_open_sessions", "Sessions with a Start and without a Stop", None, [(ALONE, accounting.open)])?;
        out.counter("accounting_confirmed_records", "Records confirmed", None, [(ALONE, accounting.confirmed)])?;
        out.counter(
            "accounting_dropped_interims",
            "Interim-Updates dropped because the queue was full",
            None,
            [(ALONE, accounting.interims_dropped)],
        )?;
        out.counter("accounting_lost_records", "Damaged lines of the journal", None, [(ALONE, accounting.lost)])?;
        let failing = u64::from(accounting.journal_failure.is_some());
        out.gauge("accounting_journal_failing", "1 while the journal cannot be written", None, [(ALONE, failing)])
    }

    fn pools(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let labels = |pool: &PoolStatus| [("pool", pool.pool.clone()), ("family", pool.family.to_lowercase())];
        let pools = &self.status.pools;
        out.gauge("pool_used_addresses", "Leased addresses", None, pools.iter().map(|pool| (labels(pool), pool.used)))?;
        out.gauge("pool_addresses", "Addresses that can be leased", None, pools.iter().map(|pool| (labels(pool), pool.size as f64)))
    }

    fn certificates(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let certificates = &self.status.certificates;
        let ends = certificates.iter().map(|certificate| ([("certificate", certificate.name.as_str())], certificate.not_after));
        out.gauge("certificate_expiry_timestamp", "When a certificate of the gateway ends, unix time", Some(&Unit::Seconds), ends)?;
        let mut shown: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for certificate in &self.status.eap_certificates {
            let end = shown.entry((&certificate.radius, &certificate.subject)).or_insert(certificate.not_after);
            *end = certificate.not_after.max(*end);
        }
        let ends = shown.into_iter().map(|((server, subject), end)| ([("server", server), ("subject", subject)], end));
        let help = "When a certificate ends that a RADIUS server shows to EAP clients, unix time";
        out.gauge("radius_eap_certificate_expiry_timestamp", help, Some(&Unit::Seconds), ends)
    }

    fn revocation(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let sources = &self.status.revocation;
        let named = |status: &RevocationStatus| [("source", status.source.clone())];
        let present = sources.iter().map(|status| (named(status), u64::from(status.list.is_some())));
        out.gauge("crl_present", "0: there is no revocation list from this file or URL", None, present)?;
        let lists = || sources.iter().filter_map(|status| Some((named(status), status.list.as_ref()?)));
        let issued = lists().map(|(labels, list)| (labels, list.issued_at));
        out.gauge("crl_issued_timestamp", "When the revocation list at hand was issued, unix time", Some(&Unit::Seconds), issued)?;
        let ends = lists().map(|(labels, list)| (labels, list.next_update));
        out.gauge("crl_next_update_timestamp", "When it runs out, unix time", Some(&Unit::Seconds), ends)
    }

    fn queues(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let depths = self.queues.iter().map(|queue| ([("queue", queue.name)], queue.depth as u64));
        out.gauge("queue_depth", "What waits inside the gateway", None, depths)?;
        let capacities = self.queues.iter().map(|queue| ([("queue", queue.name)], queue.capacity as u64));
        out.gauge("queue_capacity", "What may wait at most", None, capacities)
    }
}

fn labels<'a>(tunnel: &'a str, outcome: &'a str, stage: &'a str, fault: &'a str) -> [(&'static str, &'a str); 4] {
    [("tunnel", tunnel), ("outcome", outcome), ("stage", stage), ("fault", fault)]
}

fn by_name<'a>(label: &'static str, counters: &'a BTreeMap<String, u64>) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
    counters.iter().map(move |(name, number)| ([(label, name.as_str())], *number))
}

#[cfg(test)]
mod tests;
