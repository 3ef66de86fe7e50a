//! The RADIUS machine and the EAP peer against a real FreeRADIUS.
//!
//! Needs root, `freeradius`, `ip` and `unshare`; without them each test says `SKIPPED` and why, and fails if `EVERGATE_REQUIRE_PEERS` is set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
mod logins;
mod server;
mod shell;

use crypto::SystemRandom;
use peers::{EapPeer, PeerError};
use radius_client::*;
use server::{FreeRadius, SECRET, in_namespace};
use shell::Shell;
use std::time::{Duration, Instant};

fn nas() -> NasContext {
    NasContext {
        nas_ip: Some("198.51.100.1".parse().unwrap()),
        nas_identifier: "vpn.example.test".into(),
        nas_port: 42,
        called_station_id: "198.51.100.1".into(),
        calling_station_id: "203.0.113.9".into(),
        acct_session_id: "00c0ffee-17".into(),
        tunnel_type: 9,
        tunnel_medium_type: 1,
        framed_mtu: 1344,
        ..NasContext::default()
    }
}

/// How a login went.
struct Login {
    outcome: EapOutcome,
    /// Method types that the server asked for.
    methods: Vec<u8>,
    errors: Vec<PeerError>,
    msk: Option<Vec<u8>>,
}

fn login(shell: &mut Shell, user: &str, password: &str) -> Login {
    let mut peer = EapPeer::new(user, password, Box::new(SystemRandom));
    let mut response = peer.answer(&eap::identity_request(1)).packet.unwrap();
    let (mut methods, mut errors) = (Vec::new(), Vec::new());
    loop {
        let input = Input::Eap {
            ticket: Ticket(1),
            conversation: ConversationId(1),
            group: None,
            user_name: user.as_bytes().to_vec(),
            eap: response,
            nas: Box::new(nas()),
        };
        let Output::Eap { ticket: Ticket(1), outcome } = shell.run(input) else { panic!("another outcome") };
        let packet = match &outcome {
            EapOutcome::Challenge { eap, .. } => Some(eap),
            EapOutcome::Accept { eap, .. } | EapOutcome::Reject { eap, .. } => eap.as_ref(),
            EapOutcome::Failed(_) => None,
        };
        let step = packet.map(|packet| peer.answer(packet)).unwrap_or_default();
        methods.extend(packet.and_then(|packet| eap::Packet::parse(packet).unwrap().method()));
        errors.extend(step.error);
        match (step.packet, &outcome) {
            (Some(packet), EapOutcome::Challenge { .. }) => response = packet,
            _ => return Login { outcome, methods, errors, msk: step.msk.map(|msk| msk.to_vec()) },
        }
    }
}

#[test]
fn login_with_the_same_keys_on_both_sides() {
    in_namespace("login_with_the_same_keys_on_both_sides", || {
        let radius = FreeRadius::start();
        let mut shell = Shell::new(shell::server(SECRET));
        let login = login(&mut shell, "EXAMPLE\\alice", "password");
        let EapOutcome::Accept { server, accept, .. } = login.outcome else { panic!("{:?}\n{}", login.outcome, radius.read("debug")) };
        assert_eq!(login.methods, [4, 26, 26], "EAP-MD5 is refused, EAP-MSCHAPv2 follows");
        assert!(login.errors.is_empty());
        assert_eq!(server, "freeradius");
        assert_eq!(*accept.msk, login.msk.unwrap());
        assert!(accept.msk[..32].iter().any(|byte| *byte != 0) && accept.msk[32..] == [0; 32]);
        assert_eq!(accept.class, [b"NPS\x00\xffal".to_vec(), vec![2]]);
        assert_eq!(accept.session_timeout, Some(Duration::from_secs(28_800)));
        assert_eq!(accept.acct_interim_interval, Some(Duration::from_secs(600)));
        assert_eq!(accept.framed_ip, Some(FramedIp::Fixed([10, 98, 200, 7].into())));
        assert_eq!(accept.filter_id, ["staff"]);
        let dns: [std::net::IpAddr; 1] = [[10, 99, 10, 53].into()];
        assert_eq!(accept.dns, dns);
        let counters = shell.client.counters()[0].1;
        assert_eq!(counters, Counters { sent: 4, accepted: 4, ..Counters::default() });
        what_it_read(
            &radius.read("requests"),
            &[
                "User-Name = \"EXAMPLE\\\\alice\"",
                "NAS-IP-Address = 198.51.100.1",
                "NAS-Identifier = \"vpn.example.test\"",
                "NAS-Port = 42",
                "NAS-Port-Type = Virtual",
                "Service-Type = Framed-User",
                "Framed-Protocol = PPP",
                "Framed-MTU = 1344",
                "Called-Station-Id = \"198.51.100.1\"",
                "Calling-Station-Id = \"203.0.113.9\"",
                "Acct-Session-Id = \"00c0ffee-17\"",
                "Tunnel-Type:0 = ESP",
                "Tunnel-Medium-Type:0 = IPv4",
                "Tunnel-Client-Endpoint:0 = \"203.0.113.9\"",
                "Tunnel-Server-Endpoint:0 = \"198.51.100.1\"",
                "MS-RAS-Vendor = 311",
                "MS-RAS-Version = \"MSRASV5.20\"",
                "MS-Network-Access-Server-Type = Remote-Access-Server",
            ],
        );
    });
}

/// Every line as FreeRADIUS prints attributes.
fn what_it_read(log: &str, lines: &[&str]) {
    for line in lines {
        assert!(log.lines().any(|found| found.trim() == *line), "no line `{line}` in\n{log}");
    }
}

#[test]
fn a_wrong_password_is_rejected_with_its_reason() {
    in_namespace("a_wrong_password_is_rejected_with_its_reason", || {
        let radius = FreeRadius::start();
        let mut shell = Shell::new(shell::server(SECRET));
        let login = login(&mut shell, "alice", "guess");
        assert!(matches!(login.outcome, EapOutcome::Reject { .. }), "{:?}\n{}", login.outcome, radius.read("debug"));
        let [PeerError::Refused(text), PeerError::Failure] = &login.errors[..] else { panic!("{:?}", login.errors) };
        assert!(text.starts_with("E=691 "), "{text}");
        assert_eq!(login.msk, None);
    });
}

#[test]
fn a_wrong_secret_is_silence_that_names_its_likely_cause() {
    in_namespace("a_wrong_secret_is_silence_that_names_its_likely_cause", || {
        let radius = FreeRadius::start();
        let mut shell = Shell::new(shell::server("another secret"));
        let login = login(&mut shell, "alice", "password");
        let EapOutcome::Failed(failure @ RequestFailure::Silent { tries: 2, .. }) = login.outcome else { panic!("{:?}", login.outcome) };
        assert!(failure.to_string().contains("with the same secret?"), "{failure}");
        assert_eq!(shell.transmitted.len(), 2);
        assert_eq!(shell.transmitted[0], shell.transmitted[1], "a repetition is identical");
        assert!(radius.read("debug").contains("invalid Message-Authenticator"), "{}", radius.read("debug"));
    });
}

/// 256 identifiers a socket: what does not fit one takes another. What the server's buffer does not hold is repeated.
#[test]
fn ten_thousand_logins_at_once() {
    in_namespace("ten_thousand_logins_at_once", || {
        let radius = FreeRadius::start_quiet();
        let mut shell = Shell::new(Server {
            tries: 8,
            timeout: Duration::from_secs(60),
            require_message_authenticator: RequireMessageAuthenticator::No,
            ..shell::server(SECRET)
        });
        let login = |number: u64| Input::Login {
            ticket: Ticket(number),
            conversation: ConversationId(number),
            group: None,
            user_name: b"alice".to_vec(),
            credentials: Credentials::Pap { password: crypto::Zeroizing::new(b"password".to_vec()) },
            nas: Box::new(nas()),
        };
        let (outcomes, sockets) = shell.run_all((0..10_000).map(login), Duration::from_secs(60));
        let accepted: std::collections::BTreeSet<_> = outcomes
            .iter()
            .filter_map(|output| match output {
                Output::Login { ticket, outcome: LoginOutcome::Accept { .. } } => Some(*ticket),
                _ => None,
            })
            .collect();
        assert_eq!((accepted.len(), sockets), (10_000, 40), "{:?}\n{}", shell.client.counters(), radius.read("debug"));
        assert!(shell.changes.is_empty(), "{:?}", shell.changes);
    });
}

#[test]
fn a_closed_port_is_known_at_once() {
    in_namespace("a_closed_port_is_known_at_once", || {
        let mut shell = Shell::new(shell::server(SECRET));
        let began = Instant::now();
        let login = login(&mut shell, "alice", "password");
        assert!(matches!(login.outcome, EapOutcome::Failed(RequestFailure::Unreachable { .. })), "{:?}", login.outcome);
        assert!(began.elapsed() < Duration::from_millis(400), "before the first repetition");
        assert_eq!(shell.changes, [Change::Died { accounting: false }]);
    });
}

#[test]
fn accounting_arrives_in_full() {
    in_namespace("accounting_arrives_in_full", || {
        let radius = FreeRadius::start();
        let mut shell = Shell::new(shell::server(SECRET));
        let record = AccountingRecord {
            status: AccountingStatus::Stop,
            user_name: b"alice".to_vec(),
            nas: nas(),
            framed_ip: Some([10, 98, 200, 7].into()),
            framed_ipv6: Some("2001:db8::7".parse().unwrap()),
            class: vec![b"NPS\x00\xffal".to_vec(), vec![2]],
            session_time: Duration::from_secs(3661),
            input_octets: (1 << 32) + 5,
            output_octets: 6,
            input_packets: 7,
            output_packets: 8,
            terminate_cause: Some(TerminateCause::IdleTimeout),
            event_timestamp: 1_700_000_000,
            server: Some("freeradius".into()),
            ..AccountingRecord::default()
        };
        let outcome = shell.run(Input::Accounting { ticket: Ticket(5), group: None, record: Box::new(record) });
        let Output::Accounting { ticket: Ticket(5), outcome } = outcome else { panic!("{outcome:?}") };
        assert_eq!(outcome, Ok("freeradius".into()), "{}", radius.read("debug"));
        what_it_read(
            &radius.read("accounting"),
            &[
                "Acct-Status-Type = Stop",
                "User-Name = \"alice\"",
                "Acct-Session-Id = \"00c0ffee-17\"",
                "Acct-Authentic = RADIUS",
                "Framed-IP-Address = 10.98.200.7",
                "Framed-IPv6-Address = 2001:db8::7",
                "Class = 0x4e505300ff616c",
                "Class = 0x02",
                "Acct-Session-Time = 3661",
                "Acct-Input-Octets = 5",
                "Acct-Input-Gigawords = 1",
                "Acct-Output-Octets = 6",
                "Acct-Output-Gigawords = 0",
                "Acct-Input-Packets = 7",
                "Acct-Output-Packets = 8",
                "Acct-Terminate-Cause = Idle-Timeout",
                "Tunnel-Type:0 = ESP",
                "Tunnel-Client-Endpoint:0 = \"203.0.113.9\"",
            ],
        );
    });
}
