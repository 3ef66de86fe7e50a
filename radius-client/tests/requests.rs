//! What the client sends.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use proptest::prelude::*;
use radius_client::codec::{Builder, MAX_VALUE, Packet, TooLong};
use radius_client::*;
use std::time::Duration;

fn u32(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// The attributes of an IKEv2 Access-Request, pinned: NPS policies match on them.
#[test]
fn access_request_of_ikev2() {
    let mut client = client(vec![server("nps1", 1)]);
    let identity = eap_packet(2, 1, b"\x01EXAMPLE\\alice");
    client.handle(start(), ask(1, 1, &identity));
    let request = only_sent(&drain(&mut client));
    assert_eq!(request.bytes[0], 1);
    assert_eq!(usize::from(u16::from_be_bytes([request.bytes[2], request.bytes[3]])), request.bytes.len());
    let mut zeroed = request.bytes.clone();
    zeroed[22..38].fill(0);
    let expected = vec![
        (80, crypto::hash::hmac_md5(SECRET, &[&zeroed]).to_vec()),
        (1, b"EXAMPLE\\alice".to_vec()),
        (4, vec![198, 51, 100, 1]),
        (12, u32(1344)),
        (32, b"vpn.example.test".to_vec()),
        (5, u32(42)),
        (61, u32(5)),
        (6, u32(2)),
        (7, u32(1)),
        (30, b"198.51.100.1".to_vec()),
        (31, b"203.0.113.9".to_vec()),
        (44, b"00c0ffee-17".to_vec()),
        (64, u32(9)),
        (65, u32(1)),
        (66, b"203.0.113.9".to_vec()),
        (67, b"198.51.100.1".to_vec()),
        microsoft(9, &u32(311)),
        microsoft(18, b"MSRASV5.20"),
        microsoft(47, &u32(2)),
        (79, identity),
    ];
    assert_eq!(request.attributes(), expected);
}

#[test]
fn access_request_over_ipv6() {
    let mut client = client(vec![server("nps1", 1)]);
    let ipv6 = NasContext { nas_ip: Some("2001:db8::1".parse().unwrap()), tunnel_medium_type: 2, framed_mtu: 9000, ..nas() };
    let input = Input::Eap {
        ticket: Ticket(1),
        conversation: ConversationId(1),
        group: None,
        user_name: vec![0xff, 0xfe],
        eap: vec![2, 0, 0, 4],
        nas: Box::new(ipv6),
    };
    client.handle(start(), input);
    let request = only_sent(&drain(&mut client));
    assert_eq!(request.get(4), None);
    assert_eq!(request.get(95).unwrap(), "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(request.get(1).unwrap(), [0xff, 0xfe], "the identity is not touched");
    assert_eq!(request.get(12).unwrap(), u32(1344), "a wide link does not widen the way to the server");
}

#[test]
fn framed_mtu_fits_the_way_to_the_server_and_the_link_of_the_client() {
    for (server_takes, link, sent) in [(1344, 0, 1344), (1200, 0, 1200), (1500, 4087, 1500), (1400, 1296, 1296), (1400, 10, 64)] {
        let mut client = client(vec![Server { framed_mtu: server_takes, ..server("nps1", 1) }]);
        let mut input = ask(1, 1, &[2, 0, 0, 4]);
        let Input::Eap { nas, .. } = &mut input else { panic!() };
        nas.framed_mtu = link;
        client.handle(start(), input);
        assert_eq!(only_sent(&drain(&mut client)).get(12).unwrap(), u32(sent));
    }
}

#[test]
fn a_long_eap_packet_is_split_without_gaps() {
    let mut client = client(vec![server("nps1", 1)]);
    let eap = eap_packet(2, 9, &[0xab; 1396]);
    client.handle(start(), ask(1, 1, &eap));
    let attributes = only_sent(&drain(&mut client)).attributes();
    let first = attributes.iter().position(|(number, _)| *number == 79).unwrap();
    let pieces: Vec<_> = attributes[first..].iter().map(|(number, value)| (*number, value.len())).collect();
    assert_eq!(pieces, [(79, 253), (79, 253), (79, 253), (79, 253), (79, 253), (79, 135)]);
    assert_eq!(attributes[first..].iter().flat_map(|(_, value)| value.clone()).collect::<Vec<_>>(), eap);
}

#[test]
fn what_does_not_fit_is_an_error_with_its_name() {
    let mut client = client(vec![server("nps1", 1)]);
    for (user, eap, nas, wanted) in [
        (vec![b'a'; 254], vec![2, 0, 0, 4], nas(), "User-Name of 254 bytes does not fit"),
        (vec![b'a'], vec![0; 4090], nas(), "exceeds 4096"),
        (vec![b'a'], vec![2, 0, 0, 4], NasContext::default(), "neither NAS-IP-Address nor NAS-Identifier"),
    ] {
        let input =
            Input::Eap { ticket: Ticket(1), conversation: ConversationId(1), group: None, user_name: user, eap, nas: Box::new(nas) };
        client.handle(start(), input);
        let outputs = outcomes(drain(&mut client));
        let [(1, EapOutcome::Failed(failure))] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(failure.to_string().contains(wanted), "{failure}");
    }
    assert_eq!(client.poll_timeout(), None);
}

fn record(status: AccountingStatus) -> AccountingRecord {
    AccountingRecord {
        status,
        user_name: b"alice".to_vec(),
        nas: nas(),
        multi_session_id: "00c0ffee-3".into(),
        tunnel_connection: "42".into(),
        authentic: Authentic::Radius,
        auth_type: Some(auth_type::EAP),
        eap_type: Some(26),
        framed_ip: Some([10, 0, 0, 7].into()),
        framed_ipv6: Some("2001:db8::7".parse().unwrap()),
        framed: vec![(22, b"10.9.0.0/16".to_vec())],
        class: vec![vec![0, 1, 0], vec![0xff]],
        chargeable_user_identity: Some(vec![0xff, 1]),
        session_time: Duration::from_secs(3600),
        input_octets: 0x2_0000_0005,
        output_octets: 6,
        input_packets: 7,
        output_packets: 8,
        terminate_cause: Some(TerminateCause::IdleTimeout),
        event_timestamp: 1_700_000_000,
        delay: Duration::ZERO,
        group: None,
        server: None,
        policy: Some("everyone".into()),
    }
}

fn accounting_request(status: AccountingStatus) -> Sent {
    sent(record(status))
}

fn sent(record: AccountingRecord) -> Sent {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), Input::Accounting { ticket: Ticket(1), group: None, record: Box::new(record) });
    only_sent(&drain(&mut client))
}

#[test]
fn a_record_that_is_late_says_so() {
    let late = sent(AccountingRecord { delay: Duration::from_millis(7_900), ..record(AccountingStatus::Stop) });
    assert!(late.attributes().contains(&(41, u32(7))));
    assert!(late.attributes().contains(&(55, u32(1_700_000_000))), "the event's own time stays");
}

fn session_part() -> Vec<(u8, Vec<u8>)> {
    vec![
        (1, b"alice".to_vec()),
        (4, vec![198, 51, 100, 1]),
        (32, b"vpn.example.test".to_vec()),
        (5, u32(42)),
        (61, u32(5)),
        (6, u32(2)),
        (7, u32(1)),
        (30, b"198.51.100.1".to_vec()),
        (31, b"203.0.113.9".to_vec()),
        (44, b"00c0ffee-17".to_vec()),
        (64, u32(9)),
        (65, u32(1)),
        (66, b"203.0.113.9".to_vec()),
        (67, b"198.51.100.1".to_vec()),
        microsoft(9, &u32(311)),
        microsoft(18, b"MSRASV5.20"),
        microsoft(47, &u32(2)),
        (45, u32(1)),
        (50, b"00c0ffee-3".to_vec()),
        (68, b"42".to_vec()),
        microsoft(23, &u32(5)),
        microsoft(24, &u32(26)),
        (55, u32(1_700_000_000)),
        (8, vec![10, 0, 0, 7]),
        (168, "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()),
        (22, b"10.9.0.0/16".to_vec()),
        (25, vec![0, 1, 0]),
        (25, vec![0xff]),
        (89, vec![0xff, 1]),
    ]
}

#[test]
fn accounting_requests() {
    let start = accounting_request(AccountingStatus::Start);
    assert_eq!(start.to.port(), 1813);
    assert_eq!(start.attributes(), [vec![(40, u32(1))], session_part()].concat());
    let usage = vec![(46, u32(3600)), (42, u32(5)), (52, u32(2)), (43, u32(6)), (53, u32(0)), (47, u32(7)), (48, u32(8))];
    let stop = accounting_request(AccountingStatus::Stop);
    assert_eq!(stop.attributes(), [vec![(40, u32(2))], session_part(), usage.clone(), vec![(49, u32(4))]].concat());
    let interim = accounting_request(AccountingStatus::Interim);
    assert_eq!(interim.attributes(), [vec![(40, u32(3))], session_part(), usage].concat());
    for (status, number) in [(AccountingStatus::On, 7), (AccountingStatus::Off, 8)] {
        let gateway = AccountingRecord {
            status,
            user_name: Vec::new(),
            class: Vec::new(),
            framed_ip: None,
            framed_ipv6: None,
            framed: Vec::new(),
            chargeable_user_identity: None,
            ..record(status)
        };
        let whole = vec![(40, u32(number)), (4, vec![198, 51, 100, 1]), (32, b"vpn.example.test".to_vec())];
        let whole = [whole, vec![(44, b"00c0ffee-17".to_vec()), (55, u32(1_700_000_000))]].concat();
        assert_eq!(sent(gateway).attributes(), whole);
    }
    // RFC 2866 section 3.
    let mut zeroed = stop.bytes.clone();
    zeroed[4..20].fill(0);
    assert_eq!(stop.authenticator(), crypto::hash::md5(&[&zeroed, SECRET]));
}

proptest! {
    #[test]
    fn what_the_builder_writes_the_parser_reads(
        identifier: u8,
        authenticator: [u8; 16],
        attributes in prop::collection::vec((1u8..=255, prop::collection::vec(any::<u8>(), 1..40)), 0..30),
        eap in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        let mut builder = Builder::access_request(identifier, &authenticator);
        for (number, value) in &attributes {
            builder.put(*number, value);
        }
        builder.put_eap(&eap);
        let bytes = builder.sign(b"secret").unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        prop_assert_eq!((packet.code(), packet.identifier(), packet.authenticator()), (1, identifier, &authenticator));
        prop_assert_eq!(packet.attributes()[0].number, 80);
        let read: Vec<_> = packet.attributes()[1..=attributes.len()].iter().map(|a| (a.number, a.value.to_vec())).collect();
        prop_assert_eq!(&read, &attributes);
        if attributes.iter().all(|(number, _)| *number != 79) {
            prop_assert_eq!(packet.eap_message().unwrap_or_default(), eap);
        }
    }

    #[test]
    fn the_parser_survives_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if bytes.len() >= 4 {
            let length = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            let inner: usize = packet.attributes().iter().map(|attribute| attribute.value.len() + 2).sum();
            prop_assert_eq!(inner + 20, bytes.len());
            for vendor_type in 0..=255 {
                let _ = packet.microsoft(vendor_type);
            }
        }
    }
}

#[test]
fn the_builder_refuses_what_no_attribute_holds() {
    let mut builder = Builder::accounting_request(1);
    builder.put(32, &[0; MAX_VALUE + 1]);
    assert_eq!(builder.sign(b"s"), Err(TooLong::Value { name: "NAS-Identifier", got: 254 }));
    let mut builder = Builder::accounting_request(1);
    builder.put_microsoft(18, &[0; 250]);
    assert_eq!(builder.sign(b"s"), Err(TooLong::Value { name: "Vendor-Specific", got: 256 }));
}
