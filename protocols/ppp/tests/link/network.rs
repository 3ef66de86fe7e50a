//! IPCP and IPv6CP.
use crate::common::*;
use ppp::{Answer, AuthProtocol, EndedBy, Event, Network, Phase};

/// A client that is let in.
fn admitted(network: Network) -> Bench {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    bench.answer(Answer::Accept { eap: vec![], message: Vec::new(), network: Box::new(network) });
    bench.take_events();
    bench
}

#[test]
fn every_option_of_ipcp_gets_its_answer() {
    let servers = Network {
        dns: vec![[10, 0, 0, 53].into(), [0, 0, 0, 0].into(), [10, 0, 0, 54].into(), [10, 0, 0, 55].into()],
        nbns: vec![[10, 0, 0, 60].into()],
        ..network()
    };
    let table = [
        ("", 3, "0306 0A000005"),
        ("0306 00000000", 3, "0306 0A000005"),
        ("0306 C0A80001", 3, "0306 0A000005"),
        ("0306 0A000005", 2, "0306 0A000005"),
        ("0306 0A000005 8106 00000000 8306 00000000", 3, "8106 0A000035 8306 0A000036"),
        ("0306 00000000 8206 00000000", 3, "0306 0A000005 8206 0A00003C"),
        ("0306 00000000 8106 00000000 8406 00000000", 4, "8406 00000000"),
        ("0206 002D0F01 0306 00000000", 4, "0206 002D0F01"),
        ("010A 00000000 00000000", 4, "010A 00000000 00000000"),
        ("0305 000000", 4, "0305 000000"),
        ("8106 0A000035", 3, "0306 0A000005"),
        ("0306 00000000 0306 0A000005", 4, "0306 0A000005"),
        ("9005 0A0B0C", 4, "9005 0A0B0C"),
    ];
    for (asked, code, answer) in table {
        let mut bench = admitted(servers.clone());
        let sent = bench.send(IPCP, 1, 7, &hex(asked));
        assert_eq!(sent, [frame(IPCP, 1, 1, &hex("0306 0A000001")), frame(IPCP, code, 7, &hex(answer))], "asked {asked}");
    }
}

#[test]
fn we_begin_if_the_client_does_not() {
    let mut bench = admitted(network());
    let sent = bench.pass(SECOND);
    assert_eq!(sent, [hex("FF03 8021 0101 000A 0306 0A000001"), hex("FF03 8057 0101 000E 010A A8A9AAABACADAEAF")]);
}

#[test]
fn what_the_client_may_not_have_is_rejected_as_a_protocol() {
    let mut bench = admitted(Network { ipv6: None, ..network() });
    assert_eq!(bench.send(IPV6CP, 1, 6, &hex("010A 0123456789ABCDEF"))[0][2..10], hex("C021 0802 0014 8057"));
    let mut bench = admitted(Network { ipv4: None, ..network() });
    assert_eq!(bench.send(IPCP, 1, 6, &[]), [hex("FF03 C021 0802 000A 8021 0106 0004")]);
    let sent = bench.pass(SECOND);
    assert_eq!(sent.len(), 1, "only IPv6CP begins");

    let mut bench = admitted(Network { ipv4: Some([0, 0, 0, 0].into()), ipv6: None, ..network() });
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
}

#[test]
fn the_link_is_up_with_the_first_protocol_and_lives_on_it() {
    let mut bench = admitted(network());
    assert_eq!(bench.link.phase(), Phase::Network);
    bench.send(IPCP, 1, 7, &hex("0306 0A000005"));
    bench.send(IPCP, 2, 1, &hex("0306 0A000001"));
    assert_eq!(bench.take_events(), [Event::Ipv4Up([10, 0, 0, 5].into())]);
    assert_eq!(bench.link.phase(), Phase::Up);
    bench.send(LCP, 8, 9, &hex("8057 0101 000E"));
    assert!(bench.down.is_none());
    for _ in 0..30 {
        bench.pass(10 * SECOND);
        bench.give(&hex("FF03 0021 45"));
    }
    assert!(bench.down.is_none(), "negotiation is over, its time does not run");
    bench.send(LCP, 8, 9, &hex("8021 0101 000A"));
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
}

#[test]
fn a_network_protocol_that_the_client_ends_may_begin_again() {
    let mut bench = admitted(network());
    bench.send(IPCP, 1, 7, &hex("0306 0A000005"));
    bench.send(IPCP, 2, 1, &hex("0306 0A000001"));
    assert_eq!(bench.send(IPCP, 5, 8, &[]), [frame(IPCP, 6, 8, &[])]);
    assert_eq!(bench.link.phase(), Phase::Network);
    bench.pass(4 * SECOND);
    bench.take_events();
    let sent = bench.send(IPCP, 1, 9, &hex("0306 0A000005"));
    assert_eq!(sent.len(), 2);
    bench.send(IPCP, 2, sent[0][5], &sent[0][8..]);
    assert_eq!(bench.take_events(), [Event::Ipv4Up([10, 0, 0, 5].into())]);
}

#[test]
fn our_address_is_left_out_for_a_client_that_will_not_have_it() {
    let mut bench = admitted(network());
    bench.send(IPCP, 1, 7, &hex("0306 0A000005"));
    assert_eq!(bench.send(IPCP, 3, 1, &hex("0306 0A0000FE")), [frame(IPCP, 1, 2, &hex("0306 0A000001"))]);
    assert_eq!(bench.send(IPCP, 3, 2, &hex("0306 0A0000FE")), [frame(IPCP, 1, 3, &[])]);
    bench.send(IPCP, 2, 3, &[]);
    assert_eq!(bench.link.phase(), Phase::Up);

    let mut bench = admitted(network());
    bench.send(IPCP, 1, 7, &hex("0306 0A000005"));
    assert_eq!(bench.send(IPCP, 4, 1, &hex("0306 0A000001")), [frame(IPCP, 1, 2, &[])]);
}

#[test]
fn a_client_that_insists_on_an_ipv4_address_loses_ipcp_only() {
    let mut bench = admitted(network());
    let naks = (0..10).filter(|id| bench.send(IPCP, 1, *id, &hex("0306 C0A80001")).iter().any(|frame| frame[4] == 3)).count();
    assert_eq!(naks, 10);
    let sent = bench.send(IPCP, 1, 10, &hex("0306 C0A80001"));
    assert_eq!(sent, [hex("FF03 C021 0802 0010 8021 010A 000A 0306 C0A80001")]);
    assert_eq!(bench.send(IPCP, 1, 11, &[])[0][4], 8, "and stays rejected");
    assert!(bench.down.is_none());
}

#[test]
fn interface_identifiers_lead_to_the_lease() {
    let lease = hex("0001 0002 0003 0004");
    for asked in ["010A 0123456789ABCDEF", "010A 0000000000000000", "010A A8A9AAABACADAEAF", ""] {
        let mut bench = admitted(network());
        let sent = bench.send(IPV6CP, 1, 6, &hex(asked));
        assert_eq!(sent[1], frame(IPV6CP, 3, 6, &[&[1, 10][..], &lease].concat()), "{asked}");
    }
    let mut bench = admitted(network());
    let sent = bench.send(IPV6CP, 1, 6, &hex("010A 0123456789ABCDEF 0204 0061"));
    assert_eq!(sent[1], frame(IPV6CP, 4, 6, &hex("0204 0061")), "compression is rejected first");
}

#[test]
fn a_client_that_insists_on_its_identifier_loses_ipv6() {
    let mut bench = admitted(network());
    for id in 0..3 {
        assert!(bench.send(IPV6CP, 1, id, &hex("010A 0123456789ABCDEF")).iter().any(|frame| frame[4] == 3));
    }
    let sent = bench.send(IPV6CP, 1, 3, &hex("010A 0123456789ABCDEF"));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][2..12], hex("C021 0802 0014 8057 0103"), "Protocol-Reject");
    assert!(bench.down.is_none(), "IPv4 is left");
    assert!(bench.events.iter().any(|event| matches!(event, Event::Note(note) if note.contains("IPv6CP is given up"))));

    let mut bench = admitted(Network { ipv4: None, ..network() });
    for id in 0..4 {
        bench.send(IPV6CP, 1, id, &hex("010A 0123456789ABCDEF"));
    }
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible, "nothing is left");
}

#[test]
fn a_collision_seen_by_the_client_gives_us_another_identifier() {
    let mut bench = admitted(network());
    bench.send(IPV6CP, 1, 6, &hex("010A 0001000200030004"));
    assert_eq!(bench.send(IPV6CP, 3, 1, &hex("010A 1111111111111111")), [frame(IPV6CP, 1, 2, &hex("010A 1111111111111111"))]);
    let mut id = 1;
    let mut next = || {
        id += 1;
        id
    };
    for useless in ["010A 0001000200030004", "010A 0000000000000000", "0105 010203"] {
        let (before, id) = (hex("010A 1111111111111111"), next());
        assert_eq!(bench.send(IPV6CP, 3, id, &hex(useless))[0][8..], before);
    }
    let id = next();
    bench.send(IPV6CP, 2, id, &hex("010A 1111111111111111"));
    assert_eq!(bench.take_events(), [Event::Ipv6Up { ours: [0x11; 8], theirs: [0, 1, 0, 2, 0, 3, 0, 4] }]);
}

#[test]
fn an_identifier_of_zero_cannot_be_leased() {
    let bench = admitted(Network { ipv6: Some("2001:db8::".parse().unwrap()), ..network() });
    assert!(bench.down.is_none());
    let mut bench = bench;
    assert_eq!(bench.send(IPV6CP, 1, 6, &[])[0][4], 8);
}

#[test]
fn unknown_codes_of_ipcp_are_rejected() {
    let mut bench = admitted(network());
    let sent = bench.send(IPCP, 9, 6, &hex("00000000"));
    assert_eq!(sent[1], frame(IPCP, 7, 2, &hex("0906 0008 00000000")), "it has no Echo");
}

#[test]
fn compressed_headers_are_read_and_never_sent() {
    let mut bench = admitted(network());
    let packet = hex("0107 000A 0306 0A000005");
    let sent = bench.give(&[hex("8021"), packet].concat());
    assert!(sent.len() == 2 && sent.iter().all(|frame| frame.starts_with(&hex("FF03 8021"))));
}

#[test]
fn beginning_again_is_no_insistence() {
    let mut bench = admitted(network());
    for id in 0..40 {
        let sent = bench.send(IPCP, 1, 2 * id, &hex("0306 00000000"));
        assert_eq!(sent.iter().filter(|frame| frame[4] == 3).count(), 1, "{id}");
        bench.send(IPCP, 1, 2 * id + 1, &hex("0306 0A000005"));
        if let Some(ours) = sent.iter().find(|frame| frame[4] == 1) {
            bench.send(IPCP, 2, ours[5], &ours[8..]);
        }
        assert_eq!(bench.link.phase(), Phase::Up);
    }
}

#[test]
fn credentials_are_forgotten_once_the_network_is_up() {
    let mut bench = admitted(network());
    let login = [1, b'a', 1, b'b'];
    assert_eq!(bench.send(PAP, 1, 2, &login), [frame(PAP, 2, 2, &[0])]);
    bench.send(IPCP, 1, 7, &hex("0306 0A000005"));
    bench.send(IPCP, 2, 1, &hex("0306 0A000001"));
    assert!(bench.send(PAP, 1, 3, &login).is_empty());
}
