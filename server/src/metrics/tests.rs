//! The text, from a gateway with something of everything.
use super::*;
use serde_json::json;

fn snapshot() -> Snapshot {
    let status = json!({
        "version": "0.1.0", "name": "vpn.example.test", "pid": 1, "started_at": 1_700_000_000, "uptime_secs": 5, "sessions": 3, "half_open": 2,
        "listeners": [{ "name": "ikev2", "protocol": "ikev2", "sockets": [{ "address": "[::]:500", "packets": 7 }] }],
        "certificates": [{ "name": "vpn", "subject": "CN=vpn", "not_after": 1_800_000_000, "days_left": 9 }],
        "revocation": [
            { "source": "http://ca/x.crl", "list": { "issuer": "CN=ca", "entries": 3, "issued_at": 1_700_000_001, "next_update": 1_700_000_002, "secs_left": -1 } },
            { "source": "/etc/y.crl" },
        ],
        "radius": [{
            "name": "nps \"1\"", "address": "10.0.0.4:1812", "standing": "slow", "in_flight": 7,
            "counters": { "sent": 12, "accepted": 9, "timeouts": 1, "dropped_authenticator": 2, "retransmitted": 3 },
        }],
        "eap_certificates": [
            { "radius": "nps1", "subject": "CN=nps", "issuer": "CN=ca", "not_after": 1_750_000_000 },
            { "radius": "nps1", "subject": "CN=nps", "issuer": "CN=ca", "not_after": 1_790_000_000 },
        ],
        "accounting": { "queued": 4, "oldest_secs": 60, "open": 3, "confirmed": 8, "interims_dropped": 0, "recovered": 0, "lost": 0 },
        "nps_log": { "written": 8, "waiting": 2, "dropped": 1, "failure": "no room" },
        "telemetry": { "exported": 5, "dropped": 4 },
        "pools": [{ "pool": "users", "family": "IPv6", "used": 3, "size": u64::MAX }],
        "dataplane": { "octets_in": 1_000, "octets_out": 2_000, "packets_in": 10, "packets_out": 20, "drops": { "replayed": 5 } },
        "ike": { "malformed": 1 },
    });
    let mut latency = Latency::default();
    latency.buckets[0] = 2;
    latency.buckets[11] = 1;
    latency.sum = std::time::Duration::from_millis(12_004);
    let logins = Logins {
        attempts: 6,
        sessions: vec![("ikev2", 2), ("sstp", 1)],
        established: [("ikev2", 4)].into(),
        failed: [(("sstp", "policy", "refused"), 2)].into(),
        decisions: [(("staff".to_owned(), "grant"), 3), (("".to_owned(), "deny"), 1)].into(),
        ended: [(("ikev2", "operator"), 1)].into(),
        blocks: 2,
        blocked: 9,
    };
    Snapshot {
        status: serde_json::from_value(status).unwrap(),
        logins,
        sessions_max: 10_000,
        latencies: vec![("nps1".into(), latency)],
        queues: vec![Queue { name: "ike_messages", depth: 1, capacity: 4_096 }],
        api_refusals: vec![("unknown", 3)],
    }
}

#[test]
fn every_part_is_told_under_names_of_its_unit() {
    let text = snapshot().text();
    for line in [
        "# TYPE evergate_sessions gauge",
        "evergate_build_info{version=\"0.1.0\"} 1",
        "evergate_sessions{tunnel=\"ikev2\"} 2",
        "evergate_logins_total{tunnel=\"ikev2\",outcome=\"established\",stage=\"up\",fault=\"\"} 4",
        "evergate_logins_total{tunnel=\"sstp\",outcome=\"failed\",stage=\"policy\",fault=\"refused\"} 2",
        "evergate_sessions_ended_total{tunnel=\"ikev2\",reason=\"operator\"} 1",
        "evergate_policy_decisions_total{policy=\"staff\",decision=\"grant\"} 3",
        "evergate_policy_decisions_total{policy=\"\",decision=\"deny\"} 1",
        "evergate_radius_in_flight{server=\"nps \\\"1\\\"\"} 7",
        "evergate_crl_present{source=\"http://ca/x.crl\"} 1",
        "evergate_crl_present{source=\"/etc/y.crl\"} 0",
        "evergate_crl_issued_timestamp_seconds{source=\"http://ca/x.crl\"} 1700000001",
        "evergate_crl_next_update_timestamp_seconds{source=\"http://ca/x.crl\"} 1700000002",
        "evergate_blocks 2",
        "evergate_blocked_logins_total 9",
        "# UNIT evergate_tunnel_bytes bytes",
        "evergate_tunnel_bytes_total{direction=\"out\"} 2000",
        "evergate_dropped_packets_total{reason=\"replayed\"} 5",
        "evergate_listener_packets_total{listener=\"ikev2\",protocol=\"ikev2\",address=\"[::]:500\"} 7",
        "evergate_radius_up{server=\"nps \\\"1\\\"\"} 1",
        "evergate_radius_state{server=\"nps \\\"1\\\"\",state=\"slow\"} 1",
        "evergate_radius_state{server=\"nps \\\"1\\\"\",state=\"dead\"} 0",
        "evergate_radius_dropped_replies_total{server=\"nps \\\"1\\\"\",reason=\"authenticator\"} 2",
        "evergate_radius_response_seconds_bucket{le=\"0.005\",server=\"nps1\"} 2",
        "evergate_radius_response_seconds_bucket{le=\"10.0\",server=\"nps1\"} 2",
        "evergate_radius_response_seconds_bucket{le=\"+Inf\",server=\"nps1\"} 3",
        "evergate_radius_response_seconds_sum{server=\"nps1\"} 12.004",
        "evergate_radius_response_seconds_count{server=\"nps1\"} 3",
        "evergate_accounting_queued_records 4",
        "evergate_nps_log_written_lines_total 8",
        "evergate_nps_log_lost_lines_total 1",
        "evergate_nps_log_failing 1",
        "evergate_traces_lost_total 4",
        "evergate_traces_failing 0",
        "evergate_pool_used_addresses{pool=\"users\",family=\"ipv6\"} 3",
        "evergate_certificate_expiry_timestamp_seconds{certificate=\"vpn\"} 1800000000",
        "evergate_radius_eap_certificate_expiry_timestamp_seconds{server=\"nps1\",subject=\"CN=nps\"} 1790000000",
        "evergate_queue_depth{queue=\"ike_messages\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && text.contains("\nprocess_resident_memory_bytes "), "{text}");
}

#[test]
fn no_series_is_told_twice() {
    let text = snapshot().text();
    let mut series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup_by_key(|(name, _)| *name);
    assert_eq!(series.len(), all);
}
