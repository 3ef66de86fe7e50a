//! Two packet engines, a gateway and a client, in two network namespaces, with fixed keys: pings and streams of both families, in UDP and
//! as IP protocol 50; and a gateway with TLS streams. Needs root, `ip`, `ping` and `iperf3`.
//!
//! Each engine is a process of its own: this binary again, run by `ip netns exec` with [`ENGINE`] in its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]
#[path = "dataplane/engine.rs"]
mod engine;
#[path = "dataplane/lab.rs"]
mod lab;
#[path = "dataplane/packets.rs"]
mod packets;
#[path = "dataplane/stream_cases.rs"]
mod stream_cases;
#[path = "dataplane/streams.rs"]
mod streams;

use engine::ENGINE;
use lab::{Lab, Side};
use std::time::Duration;

const GATEWAY4: &str = "10.9.0.1";
const GATEWAY6: &str = "fd09::1";
const CLIENT4: &str = "10.9.0.2";
const CLIENT6: &str = "fd09::2";

/// Not a test: an engine, when [`Lab`] starts one.
#[test]
#[ignore = "the engine process of the other tests"]
fn engine_process() {
    if let Ok(settings) = std::env::var(ENGINE) {
        match settings.split_once(' ') {
            Some(("stream-gateway", address)) => streams::run_gateway(address),
            Some(("stream-client", address)) => streams::run_client(address),
            _ => engine::run(&settings),
        }
    }
}

fn both_ways(outer: &str, encapsulate: bool, suite: &str) {
    let mut lab = Lab::start(outer, encapsulate, suite);
    for (from, to) in [(Side::Client, GATEWAY4), (Side::Client, GATEWAY6), (Side::Gateway, CLIENT4), (Side::Gateway, CLIENT6)] {
        lab.run(from, &["ping", "-q", "-c", "5", "-i", "0.02", "-W", "2", to]);
    }
    for to in [GATEWAY4, GATEWAY6] {
        for direction in ["--bidir", "-R"] {
            assert!(lab.iperf(to, &["-n", "8M", direction]) > 0.0);
        }
        assert!(lab.iperf(to, &["-u", "-b", "200M", "-l", "1200", "-n", "4M"]) > 0.0);
    }
    for side in [Side::Gateway, Side::Client] {
        let totals = lab.totals(side);
        assert!(totals["octets_in"] > 8_000_000 && totals["octets_out"] > 8_000_000, "{totals:?}");
        for reason in ["forged", "replayed", "unknown_spi", "inner_malformed", "source_not_leased", "send_failed", "tun_write_failed"] {
            assert_eq!(totals[reason], 0, "{reason} in {totals:?}");
        }
    }
}

#[test]
fn esp_in_udp_over_ipv4() {
    both_ways("192.0.2", true, "gcm");
}

#[test]
fn esp_in_udp_over_ipv6() {
    both_ways("2001:db8:ff:", true, "cbc");
}

#[test]
fn plain_esp_over_ipv4() {
    both_ways("192.0.2", false, "chacha");
}

#[test]
fn plain_esp_over_ipv6() {
    both_ways("2001:db8:ff:", false, "gcm");
}

#[test]
fn a_rekey_and_a_move_lose_nothing() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    let pings = lab.spawn(Side::Client, &["ping", "-q", "-c", "200", "-i", "0.01", "-W", "2", GATEWAY4]);
    for order in ["install 2", "outbound 2", "remove 1"] {
        std::thread::sleep(Duration::from_millis(300));
        for side in [Side::Gateway, Side::Client] {
            lab.order(side, order);
        }
    }
    let report = lab::finish(pings);
    assert!(report.contains(" 0% packet loss"), "{report}");
    lab.run(Side::Client, &["ip", "address", "add", "192.0.2.9/24", "dev", "outer"]);
    lab.order(Side::Gateway, "repath 192.0.2.1 192.0.2.9");
    lab.order(Side::Client, "repath 192.0.2.9 192.0.2.1");
    lab.run(Side::Client, &["ip", "address", "del", "192.0.2.2/24", "dev", "outer"]);
    lab.run(Side::Client, &["ip", "address", "replace", "192.0.2.9/24", "dev", "outer"]);
    lab.run(Side::Gateway, &["ping", "-q", "-c", "3", "-i", "0.02", "-W", "2", CLIENT6]);
}

/// What has arrived at sockets that go is taken.
fn other_sockets(encapsulate: bool) {
    let mut lab = Lab::start("192.0.2", encapsulate, "gcm");
    let pings = lab.spawn(Side::Client, &["ping", "-q", "-c", "150", "-i", "0.01", "-W", "2", GATEWAY4]);
    for order in ["serve 192.0.2.1", "serve 0.0.0.0", "serve 127.0.0.1 192.0.2.1"] {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(lab.order(Side::Gateway, order), "done");
    }
    let refused = lab.order(Side::Gateway, "serve 192.0.2.77");
    assert!(refused.starts_with("cannot bind udp 192.0.2.77:4500: "), "{refused}");
    let report = lab::finish(pings);
    assert!(report.contains(" 0% packet loss"), "{report}");
    assert_eq!(lab.order(Side::Gateway, "serve 127.0.0.1"), "done");
    lab.fails(Side::Client, &["ping", "-q", "-c", "1", "-W", "1", GATEWAY4]);
    assert_eq!(lab.order(Side::Gateway, "serve 192.0.2.1"), "done");
    lab.run(Side::Client, &["ping", "-q", "-c", "3", "-i", "0.02", "-W", "2", GATEWAY4]);
}

#[test]
fn esp_in_udp_goes_on_through_other_sockets() {
    other_sockets(true);
}

#[test]
fn plain_esp_goes_on_through_other_sockets() {
    other_sockets(false);
}

#[test]
fn ike_messages_pass_by_the_tunnels() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    lab.order(Side::Client, "ike hello");
    assert_eq!(lab.order(Side::Gateway, "heard"), "192.0.2.2:4500 -> 192.0.2.1:4500 hello");
}

#[test]
fn a_packet_too_big_is_reported_to_its_sender() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    for (to, size) in [(CLIENT4, "1440"), (CLIENT6, "1420")] {
        let report = lab.fails(Side::Gateway, &["ping", "-c", "2", "-i", "0.1", "-W", "1", "-M", "do", "-s", size, to]);
        assert!(report.contains("mtu = 1438") || report.contains("mtu=1438"), "{report}");
    }
    assert!(lab.totals(Side::Gateway)["too_big"] >= 2);
    // Without DF the packet goes in pieces.
    lab.run(Side::Gateway, &["ping", "-q", "-c", "2", "-i", "0.05", "-W", "2", "-M", "dont", "-s", "4000", CLIENT4]);
}

#[test]
fn a_client_cannot_use_an_address_that_is_not_its_lease() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    lab.run(Side::Client, &["ip", "address", "add", "10.9.0.77/32", "dev", "inner"]);
    lab.fails(Side::Client, &["ping", "-q", "-c", "2", "-i", "0.05", "-W", "1", "-I", "10.9.0.77", GATEWAY4]);
    let totals = lab.totals(Side::Gateway);
    assert_eq!((totals["source_not_leased"], totals["packets_in"]), (2, 0), "{totals:?}");
}

/// `outer`, `encapsulate`: see [`Lab::start`].
fn filtered(outer: &str, encapsulate: bool) {
    let mut lab = Lab::start(outer, encapsulate, "gcm");
    let ping = ["ping", "-q", "-c", "2", "-i", "0.02", "-W", "0.3"];
    let to = |address| [&ping[..], &[address]].concat();
    lab.order(Side::Gateway, "restrict deny in icmp from any to 10.9.0.1;deny out icmpv6 from fd09::1 to assigned");
    lab.fails(Side::Client, &to(GATEWAY4));
    assert_eq!(lab.order(Side::Gateway, "dropped"), "2 0");
    lab.fails(Side::Client, &to(GATEWAY6));
    assert_eq!(lab.order(Side::Gateway, "dropped"), "2 2");
    // Super-packets are looked at once and pass whole.
    lab.order(Side::Gateway, "restrict permit in tcp from assigned to any 5201;permit out tcp from any 5201 to assigned");
    for address in [GATEWAY4, GATEWAY6] {
        assert!(lab.iperf(address, &["-n", "2M", "--bidir"]) > 0.0);
    }
    let totals = lab.totals(Side::Gateway);
    assert_eq!((totals["filtered_in"], totals["filtered_out"]), (2, 2), "{totals:?}");
    // A later fragment shows its protocol, but not the type of ICMP.
    let in_pieces = |address| ["ping", "-q", "-c", "1", "-W", "0.5", "-M", "dont", "-s", "4000", address];
    lab.order(Side::Gateway, "restrict permit in icmp from any to any icmptypes 8;deny out gre from any to any");
    lab.run(Side::Client, &to(GATEWAY4));
    lab.fails(Side::Client, &in_pieces(GATEWAY4));
    lab.order(Side::Gateway, "restrict permit in icmp from any to any;deny out gre from any to any");
    lab.run(Side::Client, &in_pieces(GATEWAY4));
    // The filters are the session's: a rekey does not shed them.
    for side in [Side::Gateway, Side::Client] {
        lab.order(side, "install 2");
    }
    for side in [Side::Gateway, Side::Client] {
        lab.order(side, "outbound 2");
        lab.order(side, "remove 1");
    }
    lab.fails(Side::Client, &to(GATEWAY6));
    lab.order(Side::Gateway, "restrict");
    lab.run(Side::Client, &to(GATEWAY6));
}

#[test]
fn filters_hold_for_esp_in_udp() {
    filtered("192.0.2", true);
}

#[test]
fn filters_hold_for_plain_esp() {
    filtered("2001:db8:ff:", false);
}

#[test]
fn packets_for_the_link_go_to_control() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    let inform = packets::udp(CLIENT4, "255.255.255.255", 68, 67, b"DHCPINFORM");
    let solicitation = packets::icmpv6("fe80::7", "ff02::2", &[133, 0, 0, 0, 0, 0, 0, 0]);
    let information = packets::udp("fe80::7", "ff02::1:2", 546, 547, b"Information-request");
    for packet in [&inform, &solicitation, &information] {
        lab.order(Side::Client, &format!("inner {}", engine::hex(packet)));
        assert_eq!(lab.order(Side::Gateway, "event"), format!("7 inner {}", engine::hex(packet)));
    }
    for (packet, reason) in [
        (packets::udp("10.9.0.77", "255.255.255.255", 68, 67, b"a lie"), "source_not_leased"),
        (packets::udp(CLIENT4, "255.255.255.255", 137, 137, b"names"), "not_forwarded"),
        (packets::icmpv6("fe80::7", "ff02::1:ff00:1", &[135; 24]), "not_forwarded"),
    ] {
        let before = lab.totals(Side::Gateway)[reason];
        lab.order(Side::Client, &format!("inner {}", engine::hex(&packet)));
        lab.await_total(Side::Gateway, reason, before + 1);
    }
    (0..30).for_each(|_| drop(lab.order(Side::Client, &format!("inner {}", engine::hex(&inform)))));
    lab.await_total(Side::Gateway, "diverted_too_many", 10);
    // The answer of the gateway.
    let answer = packets::udp(GATEWAY4, CLIENT4, 67, 68, b"DHCPACK");
    let before = lab.totals(Side::Client)["packets_in"];
    lab.order(Side::Gateway, &format!("inner {}", engine::hex(&answer)));
    lab.await_total(Side::Client, "packets_in", before + 1);
}

/// From the client, where nobody answers.
fn name_question() -> String {
    format!("inner {}", engine::hex(&packets::udp(CLIENT4, "255.255.255.255", 137, 137, b"names")))
}

#[test]
fn a_child_sa_that_wears_is_reported_once_by_both_ends() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    let send = |lab: &mut Lab, count: u64| {
        let before = lab.totals(Side::Gateway)["not_forwarded"];
        (0..count).for_each(|_| drop(lab.order(Side::Client, &name_question())));
        lab.await_total(Side::Gateway, "not_forwarded", before + count);
    };
    // The first has extended sequence numbers.
    send(&mut lab, engine::WORN_AT + 5);
    for side in [Side::Gateway, Side::Client] {
        lab.order(side, "install 2");
        lab.order(side, "outbound 2");
    }
    send(&mut lab, engine::WORN_AT - 1);
    for side in [Side::Gateway, Side::Client] {
        assert_eq!(lab.order(side, "quiet"), "quiet");
    }
    send(&mut lab, 5);
    for (side, event) in [(Side::Gateway, "7 worn a0000202"), (Side::Client, "7 worn b0000202")] {
        assert_eq!(lab.order(side, "event"), event);
        assert_eq!(lab.order(side, "quiet"), "quiet");
    }
}

/// Until the client shows that it has the Child SA of its new session, packets for it go on over that of the old one.
#[test]
fn a_new_session_of_the_same_addresses_loses_nothing() {
    let ping = ["ping", "-q", "-c", "2", "-i", "0.02", "-W", "1", CLIENT4];
    let renewed = |show: fn(&mut Lab)| {
        let mut lab = Lab::start("192.0.2", true, "gcm");
        lab.order(Side::Gateway, "renew 2");
        lab.run(Side::Gateway, &ping);
        assert_eq!(lab.totals(Side::Client)["unknown_spi"], 0, "the client does not have it yet");
        lab.order(Side::Client, "install 2");
        show(&mut lab);
        lab.order(Side::Client, "remove 1");
        lab.run(Side::Gateway, &ping);
        assert_eq!(lab.totals(Side::Client)["unknown_spi"], 0, "the client has nothing else any more");
    };
    renewed(|lab| {
        lab.order(Side::Client, "outbound 2");
        lab.run(Side::Client, &["ping", "-q", "-c", "1", "-W", "1", GATEWAY4]);
    });
    renewed(|lab| drop(lab.order(Side::Gateway, "renewed 2")));
    renewed(|lab| drop(lab.order(Side::Gateway, "remove 1")));
}

/// Its addresses stay: packets for them ask for a new Child SA, once a second, and the next one carries them.
#[test]
fn packets_ask_for_the_child_sa_of_a_resting_session() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    lab.order(Side::Gateway, "remove 1");
    let ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", CLIENT4];
    lab.fails(Side::Gateway, &ping);
    lab.await_total(Side::Gateway, "no_tunnel", 3);
    assert_eq!(lab.order(Side::Gateway, "quiet"), "quiet", "a session that is gone");
    lab.order(Side::Gateway, "rest");
    lab.fails(Side::Gateway, &ping);
    lab.await_total(Side::Gateway, "no_child_sa", 3);
    assert_eq!(lab.order(Side::Gateway, "event"), "7 wanted");
    assert_eq!(lab.order(Side::Gateway, "quiet"), "quiet", "three packets, one report");
    for side in [Side::Gateway, Side::Client] {
        lab.order(side, "install 2");
        lab.order(side, "outbound 2");
    }
    lab.run(Side::Gateway, &ping);
    assert_eq!(lab.order(Side::Gateway, "quiet"), "quiet");
}

#[test]
fn a_peer_that_moves_is_reported_by_its_newest_packet() {
    let mut lab = Lab::start("192.0.2", true, "gcm");
    let step = |lab: &mut Lab, packet: &str, counter: &str| {
        let before = lab.totals(Side::Gateway)[counter];
        lab.order(Side::Client, packet);
        lab.await_total(Side::Gateway, counter, before + 1);
        lab.order(Side::Gateway, "quiet")
    };
    assert_eq!(step(&mut lab, &name_question(), "not_forwarded"), "quiet", "from where it is");
    assert_eq!(step(&mut lab, "esp 50 5000 forged", "forged"), "quiet");
    assert_eq!(step(&mut lab, "esp 50 4501 good", "not_forwarded"), "7 moved 192.0.2.2:4501 -> 192.0.2.1:4500");
    assert_eq!(step(&mut lab, "esp 51 4501 good", "not_forwarded"), "quiet", "control knows");
    // Control follows; a moment later nothing is too soon after that.
    lab.order(Side::Gateway, "repath 192.0.2.1 192.0.2.9");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(step(&mut lab, "esp 50 4502 good", "replayed"), "quiet");
    assert_eq!(step(&mut lab, "esp 49 4502 good", "not_forwarded"), "quiet", "it was on its way for long");
    assert_eq!(step(&mut lab, "esp 60 4502 forged", "forged"), "quiet");
    assert_eq!(step(&mut lab, "esp 60 4502 good", "not_forwarded"), "7 moved 192.0.2.2:4502 -> 192.0.2.1:4500");
    assert_eq!(step(&mut lab, "esp 61 4503 good", "not_forwarded"), "quiet", "two moves in a second");
}

#[test]
fn plain_esp_does_not_follow() {
    let mut lab = Lab::start("192.0.2", false, "gcm");
    let before = lab.totals(Side::Gateway)["not_forwarded"];
    lab.order(Side::Client, "esp 50 4501 good");
    lab.await_total(Side::Gateway, "not_forwarded", before + 1);
    assert_eq!(lab.order(Side::Gateway, "quiet"), "quiet");
}

/// `cargo test --release --test dataplane -- --ignored --nocapture throughput`
#[test]
#[ignore = "a measurement"]
fn throughput() {
    for (encapsulate, suite) in [(true, "gcm"), (false, "gcm")] {
        for (what, options) in [("upload", &["-t", "5"][..]), ("download", &["-t", "5", "-R"]), ("upload x4", &["-t", "5", "-P", "4"])] {
            let mut lab = Lab::start("192.0.2", encapsulate, suite);
            for to in [GATEWAY4, GATEWAY6] {
                let before = [lab.cpu(Side::Gateway), lab.cpu(Side::Client)];
                let gigabits = lab.iperf(to, options);
                let gigabytes = gigabits * 5.0 / 8.0;
                let cost = |side, before: f64| (lab.cpu(side) - before) / gigabytes;
                let (gateway, client) = (cost(Side::Gateway, before[0]), cost(Side::Client, before[1]));
                println!("udp={encapsulate} {suite} {what} {to}: {gigabits:.2} Gbit/s, CPU-s/GB gateway {gateway:.2} client {client:.2}");
            }
            println!("gateway {:?}", lab.totals(Side::Gateway).into_iter().filter(|(_, number)| *number > 0).collect::<Vec<_>>());
        }
    }
}
