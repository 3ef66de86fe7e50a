//! TLS streams: what control sees of them, and what passes.
use crate::engine::hex;
use crate::lab::{Lab, Side};
use crate::{CLIENT4, CLIENT6, GATEWAY4, GATEWAY6, packets};
use Side::{Client, Gateway};
use std::time::Duration;

/// CALL_ECHO_REQUEST
const ECHO: &str = "1001000800080000";

/// A data packet as a client sends it, or as the gateway sends it.
fn frame(packet: &[u8]) -> Vec<u8> {
    let [high, low] = ((packet.len() + 8) as u16).to_be_bytes();
    let protocol = if packet[0] >> 4 == 4 { 0x21 } else { 0x57 };
    [&[0x10, 0, high, low, 0xff, 0x03, 0, protocol], packet].concat()
}

/// A client with the usual leases whose data path runs on both ends.
fn up(outer: &str, versions: &str) -> Lab {
    let mut lab = Lab::start_streams(outer);
    lab.order(Client, &format!("connect {versions}"));
    open(&mut lab, 1, &format!("1400 {CLIENT4} {CLIENT6}"));
    lab.order(Client, "run 1 many");
    lab
}

/// The next event but for what the client's kernel solicits on its own.
fn event(lab: &mut Lab) -> String {
    loop {
        let event = lab.order(Gateway, "event");
        if !event.contains(" inner 6") {
            return event;
        }
    }
}

/// Adoption may still be under way in the gateway.
fn open(lab: &mut Lab, session: u64, rest: &str) {
    while lab.order(Gateway, &format!("counters {session}")) == "none" {
        std::thread::sleep(Duration::from_millis(1));
    }
    lab.order(Gateway, &format!("open {session} {rest}"));
}

fn both_ways(outer: &str, versions: &str) {
    let mut lab = up(outer, versions);
    for (from, to) in [(Client, GATEWAY4), (Client, GATEWAY6), (Gateway, CLIENT4), (Gateway, CLIENT6)] {
        lab.run(from, &["ping", "-q", "-c", "5", "-i", "0.02", "-W", "2", to]);
        lab.run(from, &["ping", "-q", "-c", "2", "-i", "0.02", "-W", "2", "-s", "1300", to]);
    }
    for to in [GATEWAY4, GATEWAY6] {
        for direction in ["--bidir", "-R"] {
            assert!(lab.iperf(to, &["-n", "8M", direction]) > 0.0);
        }
        assert!(lab.iperf(to, &["-n", "8M", "-P", "4"]) > 0.0);
        assert!(lab.iperf(to, &["-u", "-b", "200M", "-l", "1200", "-n", "4M"]) > 0.0);
    }
    let totals = lab.totals(Gateway);
    assert!(totals["octets_in"] > 16_000_000 && totals["octets_out"] > 8_000_000, "{totals:?}");
    for reason in ["malformed", "inner_malformed", "source_not_leased", "outside_selectors", "stream_not_open", "tun_write_failed"] {
        assert_eq!(totals[reason], 0, "{reason} in {totals:?}");
    }
    // The last acknowledgements may still be on their way.
    let one_session_has_it_all = || {
        let totals = lab.totals(Gateway);
        let sums = ["packets_in", "octets_in", "packets_out", "octets_out"].map(|name| totals[name].to_string()).join(" ");
        lab.order(Gateway, "counters 1") == sums
    };
    assert!(std::iter::repeat_with(one_session_has_it_all).take(200).any(|equal| equal));
}

#[test]
fn streams_over_ipv4_with_tls_1_3() {
    both_ways("192.0.2", "1.3");
}

#[test]
fn streams_over_ipv6_with_tls_1_2() {
    both_ways("2001:db8:ff:", "1.2");
}

#[test]
fn packets_of_control_arrive_whole_and_in_order() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    // LCP with and without address and control field; a control packet with reserved bits.
    let lcp = "1000000cff03c02101010004";
    let bare_lcp = "1000000ac02101010004";
    let reserved = "10fff00800080000";
    let stream = [ECHO, lcp, bare_lcp, reserved].concat();
    let expect_all = |lab: &mut Lab| {
        for packet in [ECHO, lcp, bare_lcp, reserved] {
            assert_eq!(lab.order(Gateway, "event"), format!("1 packet {packet}"));
        }
    };
    lab.order(Client, &format!("send 1 {stream}"));
    expect_all(&mut lab);
    let bytes: Vec<&str> = (0..stream.len()).step_by(2).map(|at| &stream[at..at + 2]).collect();
    lab.order(Client, &format!("send 1 {}", bytes.join(" ")));
    expect_all(&mut lab);
    // The longest packet over two records, and the beginning of another.
    let longest = format!("10000fffff03c021{}", "aa".repeat(4095 - 8));
    lab.order(Client, &format!("send 1 {} {}{}", &longest[..1000], &longest[1000..], &ECHO[..6]));
    assert_eq!(lab.order(Gateway, "event"), format!("1 packet {longest}"));
    lab.order(Client, &format!("send 1 {}", &ECHO[6..]));
    assert_eq!(lab.order(Gateway, "event"), format!("1 packet {ECHO}"));
    let heard: u64 = lab.order(Gateway, "heard 1").parse().unwrap();
    assert!(heard < 3000, "{heard} ms");
    // And outwards.
    lab.order(Gateway, &format!("send 1 {lcp}"));
    lab.order(Gateway, &format!("send 1 {ECHO}"));
    assert_eq!(lab.order(Client, "receive 1 20"), format!("{lcp}{ECHO}"));
    lab.order(Gateway, "forget 1");
    assert_eq!(lab.order(Client, "receive 1 1"), "Closed(CloseNotify)");
    assert_eq!(lab.order(Gateway, "heard 1"), "never");
}

#[test]
fn data_waits_for_the_call() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    let echo = hex(&frame(&packets::echo(CLIENT4, GATEWAY4, 100)));
    lab.order(Client, &format!("send 1 {echo}{echo}"));
    assert_eq!(lab.await_total(Gateway, "stream_not_open", 2), 2);
    lab.fails(Gateway, &["ping", "-q", "-c", "1", "-W", "1", CLIENT4]);
    assert!(lab.totals(Gateway)["no_tunnel"] > 0);
    open(&mut lab, 1, &format!("1400 {CLIENT4} {CLIENT6}"));
    lab.order(Client, &format!("send 1 {echo}"));
    let answer = lab.order(Client, &format!("receive 1 {}", echo.len() / 2));
    assert_eq!((answer.len(), &answer[..16]), (echo.len(), &echo[..16]), "{answer}");
    // A client that compresses the protocol field, and leaves out address and control field.
    let packet = packets::echo(CLIENT4, GATEWAY4, 100);
    for head in ["21", "0021", "ff0321"] {
        let [high, low] = ((packet.len() + head.len() / 2 + 4) as u16).to_be_bytes();
        lab.order(Client, &format!("send 1 1000{high:02x}{low:02x}{head}{}", hex(&packet)));
        assert_eq!(lab.order(Client, &format!("receive 1 {}", echo.len() / 2)).len(), echo.len());
    }
    lab.order(Gateway, "close 1");
    lab.fails(Gateway, &["ping", "-q", "-c", "1", "-W", "1", CLIENT4]);
    assert_eq!(lab.order(Gateway, "counters 1"), "4 512 4 512");
}

#[test]
fn leases_and_permissions_hold() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    open(&mut lab, 1, &format!("1400 {CLIENT4} {CLIENT6} only 10.9.0.1"));
    for (source, target, reason) in [
        ("10.9.0.77", GATEWAY4, "source_not_leased"),
        (CLIENT4, "10.9.0.99", "outside_selectors"),
        (CLIENT4, "198.51.100.1", "outside_selectors"),
    ] {
        let before = lab.totals(Gateway)[reason];
        lab.order(Client, &format!("send 1 {}", hex(&frame(&packets::echo(source, target, 10)))));
        lab.await_total(Gateway, reason, before + 1);
    }
    // IPv6 in a frame that says IPv4.
    let mut wrong = frame(&packets::icmpv6(CLIENT6, GATEWAY6, &[128, 0, 0, 0, 0, 0, 0, 0]));
    wrong[7] = 0x21;
    lab.order(Client, &format!("send 1 {}", hex(&wrong)));
    lab.await_total(Gateway, "inner_malformed", 1);
    assert_eq!(lab.totals(Gateway)["packets_in"], 0);
}

#[test]
fn packets_for_the_link_go_to_control_and_answers_come_back() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    open(&mut lab, 1, &format!("1400 {CLIENT4} {CLIENT6}"));
    let inform = packets::udp(CLIENT4, "255.255.255.255", 68, 67, b"DHCPINFORM");
    let solicitation = packets::icmpv6("fe80::7", "ff02::2", &[133, 0, 0, 0, 0, 0, 0, 0]);
    for packet in [&inform, &solicitation] {
        lab.order(Client, &format!("send 1 {}", hex(&frame(packet))));
        assert_eq!(lab.order(Gateway, "event"), format!("1 inner {}", hex(packet)));
    }
    let neighbour = packets::icmpv6("fe80::7", "ff02::1:ff00:1", &[135; 24]);
    lab.order(Client, &format!("send 1 {}", hex(&frame(&neighbour))));
    lab.await_total(Gateway, "not_forwarded", 1);
    let advertisement = packets::icmpv6("fe80::1", "fe80::7", &[134; 16]);
    lab.order(Gateway, &format!("inner 1 {}", hex(&advertisement)));
    assert_eq!(lab.order(Client, "receive 1 64"), hex(&frame(&advertisement)));
}

#[test]
fn a_packet_too_big_is_reported_or_cut() {
    let lab = up("192.0.2", "1.3");
    for (to, size) in [(CLIENT4, "1440"), (CLIENT6, "1420")] {
        let report = lab.fails(Gateway, &["ping", "-c", "2", "-i", "0.1", "-W", "1", "-M", "do", "-s", size, to]);
        assert!(report.contains("mtu = 1400") || report.contains("mtu=1400"), "{report}");
    }
    lab.run(Gateway, &["ping", "-q", "-c", "2", "-i", "0.05", "-W", "2", "-M", "dont", "-s", "4000", CLIENT4]);
}

#[test]
fn every_end_has_its_cause() {
    let mut lab = Lab::start_streams("192.0.2");
    (0..6).for_each(|_| drop(lab.order(Client, "connect 1.3")));
    for session in 1..=6 {
        lab.order(Client, &format!("send {session} {ECHO}"));
        assert_eq!(lab.order(Gateway, "event"), format!("{session} packet {ECHO}"));
    }
    lab.order(Client, "close 1");
    assert_eq!(lab.order(Gateway, "event"), "1 closed the client closed the TLS connection");
    assert_eq!(lab.order(Client, "receive 1 1"), "Closed(CloseNotify)");
    lab.order(Client, "drop 2");
    assert_eq!(lab.order(Gateway, "event"), "2 closed the client closed the connection without a word");
    lab.order(Client, "send 3 1100000800080000");
    assert_eq!(lab.order(Gateway, "event"), "3 closed the client sent a packet with version 0x11; SSTP 1.0 is 0x10");
    assert_eq!(lab.order(Client, "receive 3 1"), "Closed(Fin)", "nothing is sent");
    lab.order(Client, &format!("send 4 {}", ECHO.repeat(200)));
    let mut last = String::new();
    for number in 0..=200 {
        last = lab.order(Gateway, "event");
        assert!(number <= 64);
        if last != format!("4 packet {ECHO}") {
            break;
        }
    }
    assert_eq!(last, "4 closed the client sent more than 64 control packets in a second");
    // What was sent before the end still arrives, and the client may take its time to answer.
    lab.order(Gateway, &format!("send 5 {ECHO}"));
    lab.order(Gateway, "close 5");
    assert_eq!(lab.order(Client, "receive 5 8"), ECHO);
    assert_eq!(lab.order(Client, "receive 5 1"), "Closed(CloseNotify)");
    assert_eq!(lab.order(Gateway, "event"), "5 closed closed by the gateway");
    lab.order(Gateway, "send 5 00");
    lab.order(Client, &format!("send 6 {ECHO}"));
    assert_eq!(lab.order(Gateway, "event"), format!("6 packet {ECHO}"), "the others live on");
}

/// Datagrams to 10.9.0.50 until no more find room. The device's own queue is short, so they come in portions.
fn flood(lab: &mut Lab) {
    for _ in 0..200 {
        lab.order(Gateway, "flood 10.9.0.50 400");
        if lab.totals(Gateway)["stream_full"] > 100 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("there is always room: {:?}", lab.totals(Gateway));
}

#[test]
fn a_client_that_does_not_read_harms_nobody_else() {
    let mut lab = Lab::start_streams("192.0.2");
    (0..2).for_each(|_| drop(lab.order(Client, "connect 1.3")));
    open(&mut lab, 1, "1400 10.9.0.50");
    open(&mut lab, 2, &format!("1400 {CLIENT4} {CLIENT6}"));
    lab.order(Client, "run 2 many");
    flood(&mut lab);
    lab.run(Gateway, &["ping", "-q", "-c", "20", "-i", "0.02", "-W", "1", CLIENT4]);
    // It is still the client's connection, and packets of control still find room.
    lab.order(Client, &format!("send 1 {ECHO}"));
    assert_eq!(event(&mut lab), format!("1 packet {ECHO}"));
    let received = lab.order(Client, "receive 1 100000");
    assert_eq!(received.len(), 200_000, "what was not dropped arrives");
}

#[test]
fn a_stream_that_takes_no_more_is_closed_within_a_second() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    open(&mut lab, 1, "1400 10.9.0.50");
    flood(&mut lab);
    lab.order(Gateway, "close 1");
    assert_eq!(lab.order(Gateway, "event"), "1 closed closed by the gateway");
}

#[test]
fn little_waits_for_a_stranger_who_does_not_read() {
    let mut lab = Lab::start_streams("192.0.2");
    lab.order(Client, "connect 1.3");
    lab.order(Client, &format!("send 1 {ECHO}"));
    assert_eq!(lab.order(Gateway, "event"), format!("1 packet {ECHO}"));
    let packet = "00".repeat(4095);
    (0..300).for_each(|_| drop(lab.order(Gateway, &format!("send 1 {packet}"))));
    assert_eq!(lab.order(Gateway, "event"), "1 closed the client reads nothing of what it is sent");
}

#[test]
fn strangers_who_fill_the_queue_of_control_end_no_session() {
    let mut lab = Lab::start_streams("192.0.2");
    (0..5).for_each(|_| drop(lab.order(Client, "connect 1.3")));
    open(&mut lab, 1, "1400 10.9.0.50");
    for stranger in 2..=5 {
        lab.order(Client, &format!("send {stranger} {}", ECHO.repeat(64)));
    }
    // A session's packet finds no room behind the 256 of the strangers.
    std::thread::sleep(Duration::from_millis(200));
    lab.order(Client, &format!("send 1 {ECHO}"));
    assert_eq!(lab.await_total(Gateway, "control_queue_full", 1), 1);
    (0..256).for_each(|_| assert!(lab.order(Gateway, "event").ends_with(&format!("packet {ECHO}"))));
    lab.order(Client, &format!("send 1 {ECHO}"));
    assert_eq!(lab.order(Gateway, "event"), format!("1 packet {ECHO}"));
}

#[test]
fn every_thread_sends_for_every_stream() {
    let lab = &mut up("192.0.2", "1.3");
    // Flows of one direction: the kernel spreads them over both queues, the stream is in the hands of one thread. Nothing may wait there for
    // what comes next: the client's own packets are few.
    for round in 1..=40 {
        let before = lab.totals(Gateway)["packets_out"];
        let packets = if round % 4 == 0 { 10 } else { 1 };
        (0..32).for_each(|_| drop(lab.order(Gateway, &format!("flood {CLIENT4} {packets}"))));
        lab.await_total(Gateway, "packets_out", before + 32 * packets);
    }
    let totals = lab.totals(Gateway);
    assert_eq!((totals["stream_full"], totals["stream_handover_full"], totals["stream_not_open"]), (0, 0, 0));
}

#[test]
fn an_idle_stream_costs_little_memory() {
    let mut lab = Lab::start_streams("192.0.2");
    let connect = |lab: &mut Lab, from: u64, to: u64| {
        for session in from..=to {
            lab.order(Client, "connect 1.3");
            open(lab, session, "1400 10.9.0.50");
            lab.order(Client, &format!("send {session} {ECHO}"));
            assert_eq!(lab.order(Gateway, "event"), format!("{session} packet {ECHO}"));
            lab.order(Gateway, &format!("send {session} {ECHO}"));
        }
        lab.memory(Gateway)
    };
    let before = connect(&mut lab, 1, 20);
    let after = connect(&mut lab, 21, 120);
    let each = (after - before) / 100.0;
    assert!(each < 24.0, "{each} KiB");
}

/// `cargo test --release --test dataplane -- --ignored --nocapture stream_throughput`
#[test]
#[ignore = "a measurement"]
fn stream_throughput() {
    for versions in ["1.3", "1.2"] {
        for (what, options) in
            [("upload", &["-t", "5"][..]), ("download", &["-t", "5", "-R"]), ("download x4", &["-t", "5", "-R", "-P", "4"])]
        {
            let mut lab = up("192.0.2", versions);
            let before = [lab.cpu(Gateway), lab.cpu(Client)];
            let gigabits = lab.iperf(GATEWAY4, options);
            let gigabytes = gigabits * 5.0 / 8.0;
            let cost = |side, before: f64| (lab.cpu(side) - before) / gigabytes;
            let (gateway, client) = (cost(Gateway, before[0]), cost(Client, before[1]));
            println!("TLS {versions} {what}: {gigabits:.2} Gbit/s, CPU-s/GB gateway {gateway:.2} client {client:.2}");
            println!("gateway {:?}", lab.totals(Gateway).into_iter().filter(|(_, number)| *number > 0).collect::<Vec<_>>());
        }
        let mut lab = Lab::start_streams("192.0.2");
        for direction in ["up", "down"] {
            let before = [lab.cpu(Gateway), lab.cpu(Client)];
            let gigabits: f64 = lab.order(Client, &format!("bare {versions} {direction} 5")).parse().unwrap();
            let cost = |side, before: f64| (lab.cpu(side) - before) / (gigabits * 5.0 / 8.0);
            let (gateway, client) = (cost(Gateway, before[0]), cost(Client, before[1]));
            println!("TLS {versions} bare {direction}: {gigabits:.2} Gbit/s, CPU-s/GB gateway {gateway:.2} client {client:.2}");
        }
    }
}

#[test]
fn streams_are_filtered_both_ways_and_at_once() {
    let mut lab = up("192.0.2", "1.3");
    let ping = ["ping", "-q", "-c", "2", "-i", "0.02", "-W", "0.3"];
    let to = |address| [&ping[..], &[address]].concat();
    lab.order(Gateway, "restrict 1 deny in icmp from any to 10.9.0.1;deny out icmpv6 from fd09::1 to assigned");
    lab.fails(Client, &to(GATEWAY4));
    assert_eq!(lab.order(Gateway, "dropped 1"), "2 0");
    lab.fails(Client, &to(GATEWAY6));
    lab.order(Gateway, "restrict 1 permit in tcp from assigned to any 5201;permit out tcp from any 5201 to assigned");
    lab.fails(Client, &to(GATEWAY4));
    assert_eq!(lab.order(Gateway, "dropped 1"), "4 2");
    for address in [GATEWAY4, GATEWAY6] {
        assert!(lab.iperf(address, &["-n", "2M", "--bidir"]) > 0.0);
    }
    lab.order(Gateway, "restrict 1");
    lab.run(Client, &to(GATEWAY4));
    assert_eq!(lab.totals(Gateway)["filtered_out"], 2);
}
