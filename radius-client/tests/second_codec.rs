//! Requests and replies across an independent implementation of the attributes (crate `radius`).
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius::core::code::Code;
use radius::core::packet::Packet;
use radius::core::{rfc2865, rfc2866, rfc2868, rfc2869, rfc3576, rfc6911};
use radius_client::dynamic::*;
use radius_client::*;
use std::time::Duration;

#[test]
fn it_reads_our_access_request() {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), ask(1, 1, &eap_packet(2, 1, &[26; 300])));
    let request = only_sent(&drain(&mut client));
    assert!(Packet::is_authentic_request(&request.bytes, SECRET));
    let packet = Packet::decode(&request.bytes, SECRET).unwrap();
    assert_eq!(packet.get_code(), Code::AccessRequest);
    assert_eq!(rfc2865::lookup_user_name(&packet).unwrap().unwrap(), "EXAMPLE\\alice");
    assert_eq!(rfc2865::lookup_nas_ip_address(&packet).unwrap().unwrap(), std::net::Ipv4Addr::new(198, 51, 100, 1));
    assert_eq!(rfc2865::lookup_nas_identifier(&packet).unwrap().unwrap(), "vpn.example.test");
    assert_eq!(rfc2865::lookup_nas_port(&packet).unwrap().unwrap(), 42);
    assert_eq!(rfc2865::lookup_nas_port_type(&packet).unwrap().unwrap(), rfc2865::NAS_PORT_TYPE_VIRTUAL);
    assert_eq!(rfc2865::lookup_service_type(&packet).unwrap().unwrap(), rfc2865::SERVICE_TYPE_FRAMED_USER);
    assert_eq!(rfc2865::lookup_framed_protocol(&packet).unwrap().unwrap(), rfc2865::FRAMED_PROTOCOL_PPP);
    assert_eq!(rfc2865::lookup_framed_mtu(&packet).unwrap().unwrap(), 1344);
    assert_eq!(rfc2865::lookup_called_station_id(&packet).unwrap().unwrap(), "198.51.100.1");
    assert_eq!(rfc2865::lookup_calling_station_id(&packet).unwrap().unwrap(), "203.0.113.9");
    assert_eq!(rfc2866::lookup_acct_session_id(&packet).unwrap().unwrap(), "00c0ffee-17");
    // That crate expects a tagged number in five bytes; RFC 2868 section 3.1 puts tag and value into four. The addresses need no tag.
    let (client_address, tag) = rfc2868::lookup_tunnel_client_endpoint(&packet).unwrap().unwrap();
    assert_eq!((client_address.as_str(), tag.is_none()), ("203.0.113.9", true));
    assert_eq!(rfc2869::lookup_eap_message(&packet).unwrap(), eap_packet(2, 1, &[26; 300]));
}

#[test]
fn it_finds_our_passwords() {
    for password in ["p", "sixteen bytes ok", "a password of more than two blocks", &"x".repeat(128)] {
        let mut client = client(vec![server("nps1", 1)]);
        client.handle(start(), login(1, 1, pap(password.as_bytes())));
        let request = only_sent(&drain(&mut client));
        let packet = Packet::decode(&request.bytes, SECRET).unwrap();
        assert_eq!(rfc2865::lookup_user_password(&packet).unwrap().unwrap(), password.as_bytes());
    }
}

#[test]
fn it_reads_our_accounting_request_and_we_its_response() {
    let record = AccountingRecord {
        status: AccountingStatus::Stop,
        user_name: b"alice".to_vec(),
        nas: nas(),
        framed_ip: Some([10, 0, 0, 7].into()),
        framed_ipv6: None,
        class: vec![vec![1, 0, 2], vec![3]],
        session_time: Duration::from_secs(61),
        input_octets: (3 << 32) + 4,
        output_octets: 5,
        input_packets: 6,
        output_packets: 7,
        terminate_cause: Some(TerminateCause::LostCarrier),
        event_timestamp: 1,
        server: None,
        ..AccountingRecord::default()
    };
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), Input::Accounting { ticket: Ticket(1), group: None, record: Box::new(record) });
    let request = only_sent(&drain(&mut client));
    assert!(Packet::is_authentic_request(&request.bytes, SECRET));
    let packet = Packet::decode(&request.bytes, SECRET).unwrap();
    assert_eq!(rfc2866::lookup_acct_status_type(&packet).unwrap().unwrap(), rfc2866::ACCT_STATUS_TYPE_STOP);
    assert_eq!(rfc2866::lookup_acct_input_octets(&packet).unwrap().unwrap(), 4);
    assert_eq!(rfc2869::lookup_acct_input_gigawords(&packet).unwrap().unwrap(), 3);
    assert_eq!(rfc2866::lookup_acct_session_time(&packet).unwrap().unwrap(), 61);
    assert_eq!(rfc2866::lookup_acct_terminate_cause(&packet).unwrap().unwrap(), rfc2866::ACCT_TERMINATE_CAUSE_LOST_CARRIER);
    assert_eq!(rfc2865::lookup_framed_ip_address(&packet).unwrap().unwrap(), std::net::Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!(rfc2865::lookup_all_class(&packet), [vec![1, 0, 2], vec![3]]);
    let response = packet.make_response_packet(Code::AccountingResponse).encode().unwrap();
    client.handle(start(), request.datagram(response));
    assert!(matches!(&drain(&mut client)[..], [Output::Accounting { ticket: Ticket(1), outcome: Ok(name) }] if name == "nps1"));
}

#[test]
fn we_read_its_access_reject() {
    let lenient = Server { require_message_authenticator: RequireMessageAuthenticator::No, ..server("nps1", 1) };
    let mut client = client(vec![lenient]);
    client.handle(start(), ask(1, 1, &eap_packet(2, 1, &[26])));
    let request = only_sent(&drain(&mut client));
    let mut packet = Packet::decode(&request.bytes, SECRET).unwrap().make_response_packet(Code::AccessReject);
    rfc2865::add_reply_message(&mut packet, "no policy");
    client.handle(start(), request.datagram(packet.encode().unwrap()));
    let outcome = outcomes(drain(&mut client)).remove(0).1;
    assert!(matches!(outcome, EapOutcome::Reject { reply_message: Some(text), .. } if text == "no policy"));
}

#[test]
fn we_read_its_access_accept() {
    let lenient = Server { require_message_authenticator: RequireMessageAuthenticator::No, ..server("nps1", 1) };
    let mut client = client(vec![lenient]);
    client.handle(start(), login(1, 1, pap(b"secret")));
    let request = only_sent(&drain(&mut client));
    let mut packet = Packet::decode(&request.bytes, SECRET).unwrap().make_response_packet(Code::AccessAccept);
    rfc2865::add_user_name(&mut packet, "alice@example.test");
    rfc2865::add_framed_ip_address(&mut packet, &"10.98.0.7".parse().unwrap());
    rfc6911::add_framed_ipv6_address(&mut packet, &"fd98::7".parse().unwrap());
    rfc6911::add_dns_server_ipv6_address(&mut packet, &"fd98::53".parse().unwrap());
    rfc2865::add_filter_id(&mut packet, "staff");
    rfc2865::add_filter_id(&mut packet, "vpn");
    rfc2865::add_class(&mut packet, &[0, 1, 0]);
    rfc2865::add_session_timeout(&mut packet, 3_600);
    rfc2865::add_idle_timeout(&mut packet, 600);
    rfc2865::add_port_limit(&mut packet, 2);
    rfc2869::add_framed_pool(&mut packet, "users");
    rfc2869::add_acct_interim_interval(&mut packet, 900);
    client.handle(start(), request.datagram(packet.encode().unwrap()));
    let LoginOutcome::Accept { accept, .. } = login_outcomes(drain(&mut client)).remove(0).1 else { panic!() };
    assert_eq!(accept.user_name.as_deref(), Some("alice@example.test"));
    assert_eq!(accept.framed_ip, Some(FramedIp::Fixed("10.98.0.7".parse().unwrap())));
    assert_eq!((accept.framed_ipv6, &accept.dns[..]), (Some("fd98::7".parse().unwrap()), &["fd98::53".parse().unwrap()][..]));
    assert_eq!((&accept.filter_id[..], &accept.class[..]), (&["staff".to_owned(), "vpn".to_owned()][..], &[vec![0, 1, 0]][..]));
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!((accept.session_timeout, accept.idle_timeout, accept.acct_interim_interval), (seconds(3_600), seconds(600), seconds(900)));
    assert_eq!((accept.port_limit, accept.framed_pool.as_deref()), (Some(2), Some("users")));
}

#[test]
fn we_answer_its_disconnect_and_coa_requests() {
    let portal = DynamicClient {
        name: "portal".into(),
        address: "192.0.2.7".parse().unwrap(),
        secret: crypto::Zeroizing::new(SECRET.to_vec()),
        require_event_timestamp: false,
        over_tls: false,
    };
    let mut server = DynamicServer::new(vec![portal]);
    let from = "192.0.2.7:3799".parse().unwrap();
    for (code, outcome, answer_code, cause) in [
        (Code::DisconnectRequest, Ok(()), Code::DisconnectACK, None),
        (Code::DisconnectRequest, Err(ErrorCause::SessionContextNotFound), Code::DisconnectNAK, Some(503)),
        (Code::CoARequest, Ok(()), Code::CoAACK, None),
        (Code::CoARequest, Err(ErrorCause::ResourcesUnavailable), Code::CoANAK, Some(506)),
    ] {
        let mut packet = Packet::new(code, SECRET);
        rfc2866::add_acct_session_id(&mut packet, "00c0ffee-17");
        if code == Code::CoARequest {
            rfc2865::add_session_timeout(&mut packet, 60);
        }
        let request = packet.encode().unwrap();
        let act = |asked: &DynamicRequest| {
            assert!(matches!(&asked.sessions[..], [Identification::AcctSessionId(id)] if id == "00c0ffee-17"), "{asked:?}");
            outcome
        };
        let answer = server.handle(start(), 1_800_000_000, from, &request, NasNames::default, act).unwrap();
        assert!(Packet::is_authentic_response(&answer, &request, SECRET));
        let answer = Packet::decode(&answer, SECRET).unwrap();
        assert_eq!((answer.get_code(), answer.get_identifier()), (answer_code, request[1]));
        assert_eq!(rfc3576::lookup_error_cause(&answer).map(Result::unwrap), cause);
    }
}
