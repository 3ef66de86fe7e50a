use super::*;
use std::cell::RefCell;

const SECRET: &[u8] = b"of the client for dynamic authorization";
const NOW: i64 = 1_800_000_000;

fn server(require_event_timestamp: bool) -> DynamicServer {
    let client = DynamicClient {
        name: "portal".into(),
        address: "192.0.2.7".parse().unwrap(),
        secret: Zeroizing::new(SECRET.to_vec()),
        require_event_timestamp,
        over_tls: false,
    };
    DynamicServer::new(vec![client])
}

fn names() -> NasNames {
    NasNames { addresses: vec!["192.0.2.1".parse().unwrap()], identifiers: vec!["vpn.example.test".into()] }
}

/// Attributes, and the Error-Cause that they get.
type Fault = (&'static [(u8, &'static [u8])], ErrorCause);

/// Some moment: only differences count.
#[allow(clippy::disallowed_methods)]
fn some_moment() -> Instant {
    Instant::now()
}

fn from() -> SocketAddr {
    "192.0.2.7:40000".parse().unwrap()
}

/// A request as a client writes it; `stamped`: with the time of now.
fn request(code: u8, identifier: u8, attributes: &[(u8, &[u8])], stamped: bool, secret: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    let time = u32::try_from(NOW).unwrap().to_be_bytes();
    let stamp = stamped.then_some((number::EVENT_TIMESTAMP, time.as_slice()));
    for (number, value) in attributes.iter().copied().chain(stamp) {
        body.extend([number, u8::try_from(value.len() + 2).unwrap()]);
        body.extend(value);
    }
    let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let head = [code, identifier, length[0], length[1]];
    let authenticator = md5(&[&head, &[0; 16], &body, secret]);
    [head.as_slice(), &authenticator, &body].concat()
}

fn disconnect(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    request(code::DISCONNECT_REQUEST, 9, attributes, true, SECRET)
}

fn change(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    request(code::COA_REQUEST, 9, attributes, true, SECRET)
}

/// Code and Error-Cause of the answer, once its authenticators are found good; what the gateway was asked to do.
fn ask(server: &mut DynamicServer, datagram: &[u8]) -> (Option<(u8, Option<u32>)>, Option<DynamicRequest>) {
    ask_at(server, some_moment(), NOW, datagram)
}

fn ask_at(server: &mut DynamicServer, now: Instant, unix: i64, datagram: &[u8]) -> (Option<(u8, Option<u32>)>, Option<DynamicRequest>) {
    let asked = RefCell::new(None);
    let answer = server.handle(now, unix, from(), datagram, names, |request| {
        *asked.borrow_mut() = Some(request.clone());
        Ok(())
    });
    let answer = answer.map(|answer| {
        let packet = Packet::parse(&answer).unwrap();
        let request: &[u8; 16] = datagram[4..20].try_into().unwrap();
        assert_eq!(*packet.authenticator(), packet.response_authenticator(request, SECRET));
        let found = packet.first(number::MESSAGE_AUTHENTICATOR).unwrap();
        assert_eq!(found.value, packet.message_authenticator(found.offset, request, SECRET));
        assert_eq!(packet.identifier(), datagram[1]);
        (packet.code(), packet.u32(number::ERROR_CAUSE).unwrap())
    });
    (answer, asked.into_inner())
}

fn cause(cause: ErrorCause) -> Option<u32> {
    Some(cause as u32)
}

#[test]
fn a_disconnect_names_sessions_and_is_acknowledged() {
    let mut server = server(true);
    let (answer, asked) = ask(&mut server, &disconnect(&[(number::USER_NAME, b"alice"), (number::FRAMED_IP_ADDRESS, &[10, 0, 0, 9])]));
    assert_eq!(answer, Some((code::DISCONNECT_ACK, None)));
    let sessions = vec![Identification::UserName("alice".into()), Identification::FramedAddress("10.0.0.9".parse().unwrap())];
    assert_eq!(asked, Some(DynamicRequest { client: "portal".into(), action: Action::Disconnect, sessions }));
}

/// What FreeRADIUS's radclient writes: with Message-Authenticator, and without.
#[test]
fn requests_of_another_implementation() {
    let hex = |text: &str| {
        let pairs = text.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect::<Vec<_>>()
    };
    let disconnect =
        hex("28b6003d71ee678837785fdf090b3c8dc4fc4a8e01066e656d6f2c05612d3108060a00000937066b49d2005012b1d04810dc763b2cb84ea97a03fe2e17");
    let change =
        hex("2bbe003a87741e33141a70d249c09919164630382c05612d311b060000003c0b0c71756172616e74696e655904ff01570576706e37066b49d200");
    let named = [
        (
            &disconnect,
            vec![
                Identification::UserName("nemo".into()),
                Identification::AcctSessionId("a-1".into()),
                Identification::FramedAddress("10.0.0.9".parse().unwrap()),
            ],
        ),
        (
            &change,
            vec![
                Identification::AcctSessionId("a-1".into()),
                Identification::ChargeableUserIdentity(vec![0xff, 1]),
                Identification::NasPortId("vpn".into()),
            ],
        ),
    ];
    for (datagram, sessions) in named {
        let mut server = server(true);
        server.clients[0].secret = Zeroizing::new(b"xyzzy5461".to_vec());
        let mut asked = None;
        let answer = server.handle(some_moment(), NOW, from(), datagram, names, |request| {
            asked = Some(request.clone());
            Ok(())
        });
        assert_eq!((answer.unwrap()[0], asked.unwrap().sessions), (datagram[0] + 1, sessions));
        let mut forged = datagram.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(server.handle(some_moment(), NOW, from(), &forged, names, |_| unreachable!()), None);
        assert_eq!(server.counters().dropped_authenticator, 1);
    }
}

#[test]
fn a_change_carries_its_values() {
    let datagram = change(&[
        (number::ACCT_SESSION_ID, b"a-1"),
        (number::SESSION_TIMEOUT, &[0, 0, 0, 60]),
        (number::IDLE_TIMEOUT, &[0, 0, 0, 0]),
        (number::FILTER_ID, b"quarantine"),
        (number::CLASS, &[0, 1]),
        (number::CLASS, &[2]),
        (number::ACCT_INTERIM_INTERVAL, &[0, 0, 2, 88]),
    ]);
    let (answer, asked) = ask(&mut server(true), &datagram);
    assert_eq!(answer, Some((code::COA_ACK, None)));
    let changes = Changes {
        session_timeout: Some(Some(Duration::from_secs(60))),
        idle_timeout: Some(None),
        acct_interim_interval: Some(Some(Duration::from_secs(600))),
        filter_id: Some(vec!["quarantine".into()]),
        class: Some(vec![vec![0, 1], vec![2]]),
        ..Changes::default()
    };
    assert_eq!(asked.unwrap().action, Action::Change(Box::new(changes)));
}

/// Two attributes of Microsoft's in one Vendor-Specific, one in another; rates of WISPr; what takes the place of the old among an Accept's words.
#[test]
fn a_change_carries_filters_and_rates() {
    let datagram = change(&[
        (number::USER_NAME, b"a"),
        (number::NAS_FILTER_RULE, b"permit in ip "),
        (number::NAS_FILTER_RULE, b"from any to any"),
        (number::VENDOR_SPECIFIC, &[0, 0, 1, 55, 22, 4, 1, 2, 51, 3, 9]),
        (number::VENDOR_SPECIFIC, &[0, 0, 1, 55, 22, 3, 3]),
        (number::VENDOR_SPECIFIC, &[0, 0, 55, 42, 7, 6, 0, 0, 250, 0]),
        (number::VENDOR_SPECIFIC, &[0, 0, 55, 42, 8, 6, 0, 0, 0, 0]),
    ]);
    let (answer, asked) = ask(&mut server(true), &datagram);
    assert_eq!(answer, Some((code::COA_ACK, None)));
    let changes = Changes {
        rules: Some(vec![b"permit in ip ".to_vec(), b"from any to any".to_vec()]),
        ms_filter: Some(vec![1, 2, 3]),
        ms_ipv6_filter: Some(vec![9]),
        bandwidth_up: Some(Some(64_000)),
        bandwidth_down: Some(None),
        ..Changes::default()
    };
    assert!(changes.is_to_judge() && changes.brings_filters());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut words = vec![pair("WISPr-Bandwidth-Max-Up", "9"), pair("Class", "x"), pair("NAS-Filter-Rule", "old")];
    changes.apply(&mut words);
    let names: Vec<_> = words.iter().map(|(name, _)| name.as_str()).collect();
    let rule = "NAS-Filter-Rule";
    let wanted = ["Class", rule, rule, "MS-Filter", "MS-IPv6-Filter", "WISPr-Bandwidth-Max-Up", "WISPr-Bandwidth-Max-Down"];
    assert_eq!(names, wanted);
    assert_eq!(asked.unwrap().action, Action::Change(Box::new(changes)));
}

#[test]
fn each_fault_has_its_error_cause_and_nothing_is_done() {
    const WISPR_UP: (u8, &[u8]) = (number::VENDOR_SPECIFIC, &[0, 0, 55, 42, 7, 6, 0, 0, 250, 0]);
    let disconnects: [Fault; 7] = [
        (&[(number::USER_NAME, b"a"), WISPR_UP], ErrorCause::UnsupportedAttribute),
        (&[], ErrorCause::MissingAttribute),
        (&[(number::USER_NAME, b"a"), (number::NAS_IDENTIFIER, b"other")], ErrorCause::NasIdentificationMismatch),
        (&[(number::USER_NAME, b"a"), (number::NAS_IP_ADDRESS, &[9, 9, 9, 9])], ErrorCause::NasIdentificationMismatch),
        (&[(number::USER_NAME, b"a"), (number::SESSION_TIMEOUT, &[0, 0, 0, 1])], ErrorCause::UnsupportedAttribute),
        (&[(number::FRAMED_IP_ADDRESS, &[1, 2, 3])], ErrorCause::InvalidAttributeValue),
        (&[(number::FRAMED_IPV6_PREFIX, &[0, 129])], ErrorCause::InvalidAttributeValue),
    ];
    for (attributes, expected) in disconnects {
        assert_eq!(
            ask(&mut server(true), &disconnect(attributes)),
            (Some((code::DISCONNECT_NAK, cause(expected))), None),
            "{attributes:?}"
        );
    }
    const NAME: (u8, &[u8]) = (number::USER_NAME, b"a");
    let changes: [Fault; 9] = [
        (&[NAME, (number::VENDOR_SPECIFIC, &[0, 0, 55, 42, 7, 5, 0, 250, 0])], ErrorCause::InvalidAttributeValue),
        // Another attribute of WISPr's, one of Windows' quarantine, and no attribute at all.
        (&[NAME, WISPR_UP, (number::VENDOR_SPECIFIC, &[0, 0, 55, 42, 5, 6, 0, 0, 250, 0])], ErrorCause::UnsupportedAttribute),
        (&[NAME, (number::VENDOR_SPECIFIC, &[0, 0, 1, 55, 36, 3, 1])], ErrorCause::UnsupportedAttribute),
        (&[NAME, (number::VENDOR_SPECIFIC, &[0, 0])], ErrorCause::UnsupportedAttribute),
        (&[NAME], ErrorCause::MissingAttribute),
        (&[NAME, (number::SERVICE_TYPE, &[0, 0, 0, 17])], ErrorCause::UnsupportedService),
        (&[NAME, (number::FRAMED_MTU, &[0, 0, 5, 0])], ErrorCause::UnsupportedAttribute),
        (&[NAME, (number::SESSION_TIMEOUT, &[1])], ErrorCause::InvalidAttributeValue),
        (&[(number::SESSION_TIMEOUT, &[0, 0, 0, 9])], ErrorCause::MissingAttribute),
    ];
    for (attributes, expected) in changes {
        assert_eq!(ask(&mut server(true), &change(attributes)), (Some((code::COA_NAK, cause(expected))), None), "{attributes:?}");
    }
}

#[test]
fn the_gateways_refusal_is_told() {
    let datagram = disconnect(&[(number::USER_NAME, b"nobody")]);
    let answer = server(true).handle(some_moment(), NOW, from(), &datagram, names, |_| Err(ErrorCause::SessionContextNotFound)).unwrap();
    let packet = Packet::parse(&answer).unwrap();
    assert_eq!((packet.code(), packet.u32(number::ERROR_CAUSE).unwrap()), (code::DISCONNECT_NAK, Some(503)));
}

#[test]
fn what_is_not_believed_gets_no_answer() {
    let mut server = server(true);
    let good = disconnect(&[(number::USER_NAME, b"alice")]);
    let forged = request(code::DISCONNECT_REQUEST, 9, &[(number::USER_NAME, b"alice")], true, b"another secret");
    assert_eq!(ask(&mut server, &forged), (None, None));
    for place in 0..good.len() {
        let mut garbled = good.clone();
        garbled[place] ^= 1;
        assert_eq!(ask(&mut server, &garbled).1, None, "byte {place}");
    }
    assert_eq!(ask_at(&mut server, some_moment(), NOW + TIME_WINDOW + 1, &good), (None, None));
    assert_eq!(ask_at(&mut server, some_moment(), NOW - TIME_WINDOW - 1, &good), (None, None));
    let stranger = server.handle(some_moment(), NOW, "192.0.2.8:40000".parse().unwrap(), &good, || unreachable!(), |_| unreachable!());
    assert_eq!(stranger, None);
    let counters = server.counters();
    assert_eq!((counters.dropped_source, counters.dropped_stale, counters.requests), (1, 2, 0));
    assert!(counters.dropped_authenticator > 20 && counters.dropped_malformed > 1, "{counters:?}");
}

#[test]
fn a_wrong_message_authenticator_is_not_believed_though_the_rest_is_right() {
    let datagram = disconnect(&[(number::USER_NAME, b"alice"), (number::MESSAGE_AUTHENTICATOR, &[7; 16])]);
    assert_eq!(ask(&mut server(true), &datagram), (None, None));
}

#[test]
fn repetitions_get_the_same_answer_and_do_nothing() {
    let mut server = server(true);
    let (start, datagram) = (some_moment(), disconnect(&[(number::USER_NAME, b"alice")]));
    let mut done = 0;
    let mut send = |server: &mut DynamicServer, at: Instant| {
        server.handle(at, NOW, from(), &datagram, names, |_| {
            done += 1;
            Ok(())
        })
    };
    let first = send(&mut server, start);
    assert_eq!(first, send(&mut server, start + Duration::from_secs(5)));
    assert_eq!(first, send(&mut server, start + KEEP_ANSWERS));
    // Recorded, and sent again from another port.
    let again = server.handle(start, NOW, "192.0.2.7:40001".parse().unwrap(), &datagram, names, |_| unreachable!());
    assert_eq!(first, again);
    assert_eq!((done, server.counters().repeated), (1, 3));
    assert_eq!(server.answers.len(), server.given.len());
    server.forget(start + KEEP_ANSWERS * 2);
    assert!(server.answers.is_empty() && server.given.is_empty());
}

#[test]
fn without_a_time_only_one_session_may_be_named() {
    let named = |attributes: &[(u8, &[u8])]| request(code::DISCONNECT_REQUEST, 1, attributes, false, SECRET);
    let by_user = named(&[(number::USER_NAME, b"alice")]);
    let by_session = named(&[(number::ACCT_SESSION_ID, b"a-1")]);
    let missing = Some((code::DISCONNECT_NAK, cause(ErrorCause::MissingAttribute)));
    assert_eq!(ask(&mut server(false), &by_user), (missing, None));
    assert_eq!(ask(&mut server(false), &by_session).0, Some((code::DISCONNECT_ACK, None)));
    assert_eq!(ask(&mut server(true), &by_session), (missing, None));
}

#[test]
fn nas_port_id_and_chargeable_user_identity_name_sessions() {
    let datagram = disconnect(&[(number::NAS_PORT_ID, b"vpn"), (number::CHARGEABLE_USER_IDENTITY, &[0xff, 1])]);
    let (answer, asked) = ask(&mut server(true), &datagram);
    assert_eq!(answer, Some((code::DISCONNECT_ACK, None)));
    let named = [Identification::NasPortId("vpn".into()), Identification::ChargeableUserIdentity(vec![0xff, 1])];
    assert_eq!(asked.unwrap().sessions, named);
}

/// Recorded once, sent hours later: the session may still be up, and may have been changed again since.
#[test]
fn a_change_without_a_time_is_done_once() {
    let mut server = server(false);
    let begin = some_moment();
    let of = |limit: u8| {
        request(code::COA_REQUEST, limit, &[(number::ACCT_SESSION_ID, b"a-1"), (number::SESSION_TIMEOUT, &[0, 0, 1, limit])], false, SECRET)
    };
    assert_eq!(ask_at(&mut server, begin, NOW, &of(1)).0, Some((code::COA_ACK, None)));
    assert_eq!(
        ask_at(&mut server, begin + KEEP_ANSWERS, NOW, &of(1)),
        (Some((code::COA_ACK, None)), None),
        "answered again, not done again"
    );
    let hours = begin + 20 * KEEP_ANSWERS;
    assert_eq!(ask_at(&mut server, hours, NOW, &of(1)), (None, None));
    assert_eq!(server.counters().dropped_stale, 1);
    assert_eq!(ask_at(&mut server, hours, NOW, &of(2)).0, Some((code::COA_ACK, None)));
}

#[test]
fn proxy_state_comes_back_in_order() {
    let datagram = disconnect(&[(number::PROXY_STATE, b"one"), (number::USER_NAME, b"alice"), (number::PROXY_STATE, b"two")]);
    let answer = server(true).handle(some_moment(), NOW, from(), &datagram, names, |_| Ok(())).unwrap();
    let packet = Packet::parse(&answer).unwrap();
    assert_eq!(packet.all(number::PROXY_STATE).map(|state| state.value).collect::<Vec<_>>(), [b"one", b"two"]);
}

#[test]
fn all_that_is_named_must_fit() {
    let facts = SessionFacts {
        user_name: "EXAMPLE\\Alice".into(),
        nas_port: 7,
        framed: vec!["10.0.0.9".parse().unwrap(), "fd00::a:1:2:3".parse().unwrap()],
        called_station_id: "192.0.2.1".into(),
        calling_station_ids: vec!["203.0.113.4".into(), "198.51.100.4".into()],
        acct_session_id: "a-1".into(),
        acct_multi_session_id: None,
        nas_port_id: Some("vpn".into()),
        chargeable_user_identity: Some(vec![0xff, 1]),
    };
    let prefix = |text: &str, bits| Identification::FramedPrefix(text.parse().unwrap(), bits);
    for (named, fits) in [
        (vec![], false),
        (vec![Identification::UserName("example\\alice".into())], true),
        (vec![Identification::UserName("alice".into())], false),
        (vec![Identification::NasPort(7), Identification::CallingStationId("198.51.100.4".into())], true),
        (vec![Identification::NasPort(7), Identification::CallingStationId("198.51.100.5".into())], false),
        (vec![prefix("fd00::", 64)], true),
        (vec![prefix("fd01::", 64)], false),
        (vec![prefix("::", 0)], true),
        (vec![Identification::FramedInterfaceId(0x000a_0001_0002_0003)], true),
        (vec![Identification::CallingStationId("203.0.113.4".into())], true),
        (vec![Identification::AcctMultiSessionId("m".into())], false),
        (vec![Identification::NasPortId("vpn".into()), Identification::ChargeableUserIdentity(vec![0xff, 1])], true),
        (vec![Identification::NasPortId("lan".into())], false),
        (vec![Identification::ChargeableUserIdentity(vec![0xff])], false),
    ] {
        assert_eq!(facts.fits(&named), fits, "{named:?}");
    }
}

/// The text that everybody uses over TLS.
const RADSEC: &[u8] = b"radsec";

fn over_tls() -> DynamicServer {
    let client = DynamicClient {
        name: "portal".into(),
        address: from().ip(),
        secret: Zeroizing::new(RADSEC.to_vec()),
        require_event_timestamp: false,
        over_tls: true,
    };
    DynamicServer::new(vec![client])
}

#[test]
fn over_tls_a_request_is_answered_each_time() {
    let mut server = over_tls();
    let wanted = request(code::DISCONNECT_REQUEST, 9, &[(number::USER_NAME, b"alice")], false, RADSEC);
    for _ in 0..2 {
        let acted = RefCell::new(0);
        let act = |_: &DynamicRequest| {
            *acted.borrow_mut() += 1;
            Ok(())
        };
        let OverTls::Answer(answer) = server.handle_over_tls(NOW, "portal", &wanted, names, act) else { panic!() };
        assert_eq!((answer[0], acted.into_inner()), (code::DISCONNECT_ACK, 1), "no replay, so no time is needed");
    }
    let old = request(code::DISCONNECT_REQUEST, 9, &[(number::USER_NAME, b"alice")], true, RADSEC);
    let stale = server.handle_over_tls(NOW + TIME_WINDOW + 1, "portal", &old, names, |_| unreachable!());
    assert_eq!((stale, server.counters().dropped_stale), (OverTls::Nothing, 1));
}

#[test]
fn over_tls_what_breaks_the_rules_ends_the_connection() {
    let mut server = over_tls();
    let good = request(code::DISCONNECT_REQUEST, 9, &[(number::USER_NAME, b"alice")], true, RADSEC);
    let other_secret = request(code::DISCONNECT_REQUEST, 9, &[(number::USER_NAME, b"alice")], true, SECRET);
    let access = request(code::ACCESS_REQUEST, 9, &[(number::USER_NAME, b"alice")], true, RADSEC);
    for (client, packet) in [("portal", &other_secret), ("portal", &access), ("portal", &good[..12].to_vec()), ("stranger", &good)] {
        let answer = server.handle_over_tls(NOW, client, packet, names, |_| unreachable!());
        assert!(matches!(answer, OverTls::Close(_)), "{answer:?}");
    }
    assert_eq!(server.handle(some_moment(), NOW, from(), &good, names, |_| unreachable!()), None, "a datagram proves nothing");
    assert_eq!(server.counters().dropped_source, 2);
}

#[test]
fn over_tls_status_server_is_answered_if_it_is_signed() {
    let mut server = over_tls();
    let signed = Builder::status_server(3, &[7; 16]).sign(RADSEC).unwrap();
    let OverTls::Answer(answer) = server.handle_over_tls(NOW, "portal", &signed, names, |_| unreachable!()) else { panic!() };
    let packet = Packet::parse(&answer).unwrap();
    assert_eq!((packet.code(), packet.identifier()), (code::ACCESS_ACCEPT, 3));
    assert_eq!(packet.response_authenticator(&[7; 16], RADSEC), *packet.authenticator());
    let forged = Builder::status_server(3, &[7; 16]).sign(SECRET).unwrap();
    assert!(matches!(server.handle_over_tls(NOW, "portal", &forged, names, |_| unreachable!()), OverTls::Close(_)));
    assert_eq!(server.counters().requests, 0);
}
