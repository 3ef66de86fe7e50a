//! Windows 10 over SSTP, frame by frame: one identifier counter for all protocols, IPv6CP before IPCP.

use crate::common::*;
use ppp::{AuthProtocol, EndedBy, Event, Phase, Question};

/// What its first request asks for: MRU 4091, magic number, both compressions, callback.
const FIRST_REQUEST: &str = "FF03 C021 0100 0015 0104 0FFB 0506 11223344 0702 0802 0D0306";

fn negotiate_lcp(windows: &mut Bench, auth: &str) {
    let sent = windows.give(&hex(FIRST_REQUEST));
    let request = hex(&format!("FF03 C021 0101 {auth} 0506 A0A1A2A3"));
    assert_eq!(sent, [request.clone(), hex("FF03 C021 0400 000B 0702 0802 0D0306")], "our request at once, then the Reject");
    let sent = windows.give(&hex("FF03 C021 0101 000E 0104 0FFB 0506 11223344"));
    assert_eq!(sent, [hex("FF03 C021 0201 000E 0104 0FFB 0506 11223344")], "the same options come back");
    assert_eq!(windows.events, []);
}

fn identify(windows: &mut Bench) {
    assert!(windows.give(&hex("FF03 C021 0C03 0012 11223344 4D5352415356352E3230")).is_empty());
    assert!(windows.give(&hex("FF03 C021 0C04 0015 11223344 4D535241532D302D50432D3137")).is_empty());
    assert!(windows.give(&hex("FF03 C021 0C05 0018 11223344 00000102030405060708090A0B0C0D0E")).is_empty());
    let identifications = [
        Event::Identification(b"MSRASV5.20".to_vec()),
        Event::Identification(b"MSRAS-0-PC-17".to_vec()),
        Event::Identification(hex("00000102030405060708090A0B0C0D0E")),
    ];
    assert_eq!(windows.take_events(), identifications);
}

fn configure_network(windows: &mut Bench) {
    // IPv6CP, then IPCP, which asks for an address and four servers.
    assert_eq!(
        windows.give(&hex("FF03 8057 0106 000E 010A 0123456789ABCDEF")),
        [hex("FF03 8057 0101 000E 010A A8A9AAABACADAEAF"), hex("FF03 8057 0306 000E 010A 0001000200030004")]
    );
    assert_eq!(
        windows.give(&hex("FF03 8021 0107 0022 0306 00000000 8106 00000000 8206 00000000 8306 00000000 8406 00000000")),
        [hex("FF03 8021 0101 000A 0306 0A000001"), hex("FF03 8021 0407 0016 8206 00000000 8306 00000000 8406 00000000")]
    );
    assert!(windows.give(&hex("FF03 8057 0201 000E 010A A8A9AAABACADAEAF")).is_empty());
    assert_eq!(windows.give(&hex("FF03 8057 0108 000E 010A 0001000200030004")), [hex("FF03 8057 0208 000E 010A 0001000200030004")]);
    assert_eq!(windows.take_events(), [Event::Ipv6Up { ours: INTERFACE, theirs: [0, 1, 0, 2, 0, 3, 0, 4] }]);
    assert_eq!(windows.link.phase(), Phase::Up);
    assert!(windows.give(&hex("FF03 8021 0201 000A 0306 0A000001")).is_empty());
    assert_eq!(
        windows.give(&hex("FF03 8021 0109 0010 0306 00000000 8106 00000000")),
        [hex("FF03 8021 0309 0010 0306 0A000005 8106 0A000035")]
    );
    assert_eq!(
        windows.give(&hex("FF03 8021 010A 0010 0306 0A000005 8106 0A000035")),
        [hex("FF03 8021 020A 0010 0306 0A000005 8106 0A000035")]
    );
    assert_eq!(windows.take_events(), [Event::Ipv4Up([10, 0, 0, 5].into())]);
}

#[test]
fn with_pap_as_in_the_trace() {
    let mut windows = Bench::new(&[AuthProtocol::Pap]);
    negotiate_lcp(&mut windows, "0012 0104 0FFB 0304 C023");
    assert!(windows.give(&hex("FF03 C021 0201 0012 0104 0FFB 0304 C023 0506 A0A1A2A3")).is_empty());
    assert_eq!(windows.take_events(), [Event::LcpOpened { auth: AuthProtocol::Pap, peer_mru: 4091 }]);
    identify(&mut windows);
    assert!(windows.give(&hex("FF03 C023 0106 000F 05 616C696365 04 70617373")).is_empty());
    let Question::Pap { name, password } = &windows.questions[0].1 else { panic!("{:?}", windows.questions) };
    assert_eq!((name.as_slice(), password.as_slice()), (&b"alice"[..], &b"pass"[..]));
    assert_eq!(windows.answer(accept("")), [hex("FF03 C023 0206 0005 00")]);
    assert_eq!(windows.take_events(), [Event::Identified(b"alice".to_vec()), Event::Authenticated]);
    configure_network(&mut windows);
}

#[test]
fn with_eap() {
    let mut windows = Bench::new(&[AuthProtocol::Eap, AuthProtocol::MsChapV2]);
    negotiate_lcp(&mut windows, "0012 0104 0FFB 0304 C227");
    let sent = windows.give(&hex("FF03 C021 0201 0012 0104 0FFB 0304 C227 0506 A0A1A2A3"));
    assert_eq!(sent, [hex("FF03 C227 0100 0005 01")], "Request/Identity, identifier 0");
    windows.events.clear();
    identify(&mut windows);
    assert!(windows.give(&hex("FF03 C227 0200 000A 01 616C696365")).is_empty());
    let Question::Eap { identity, packet } = &windows.questions[0].1 else { panic!("{:?}", windows.questions) };
    assert_eq!((identity.as_slice(), packet.clone()), (&b"alice"[..], hex("0200 000A 01 616C696365")));
    let sent = windows.answer(ppp::Answer::EapContinue { packet: hex("0101 0006 1920") });
    assert_eq!(sent, [hex("FF03 C227 0101 0006 1920")]);
    assert!(windows.give(&hex("FF03 C227 0201 0008 1900 1603")).is_empty());
    let Question::Eap { identity, packet } = &windows.questions[1].1 else { panic!("{:?}", windows.questions) };
    assert_eq!((identity.as_slice(), packet.clone()), (&b"alice"[..], hex("0201 0008 1900 1603")));
    assert_eq!(windows.answer(accept("")), [hex("FF03 C227 0301 0004")]);
    assert_eq!(windows.take_events(), [Event::Identified(b"alice".to_vec()), Event::Authenticated]);
    // Compression protocols have no place here; the link stays.
    assert_eq!(windows.give(&hex("FF03 80FD 0106 000A 1206 01000001")), [hex("FF03 C021 0802 0010 80FD 0106 000A 1206 01000001")]);
    windows.events.clear();
    configure_network(&mut windows);
}

#[test]
fn that_wants_ms_chap_is_followed_in_one_step() {
    let mut windows = Bench::new(&[AuthProtocol::Eap, AuthProtocol::MsChapV2]);
    negotiate_lcp(&mut windows, "0012 0104 0FFB 0304 C227");
    let sent = windows.give(&hex("FF03 C021 0301 0009 0305 C22381"));
    assert_eq!(sent, [hex("FF03 C021 0102 0013 0104 0FFB 0305 C22381 0506 A0A1A2A3")]);
    let sent = windows.give(&hex("FF03 C021 0202 0013 0104 0FFB 0305 C22381 0506 A0A1A2A3"));
    assert_eq!(sent, [[hex("FF03 C223 0100 0018 10"), CHALLENGE.to_vec(), b"vpn".to_vec()].concat()]);
}

#[test]
fn that_wants_what_is_not_allowed_is_told() {
    let mut windows = Bench::new(&[AuthProtocol::Eap]);
    negotiate_lcp(&mut windows, "0012 0104 0FFB 0304 C227");
    let sent = windows.give(&hex("FF03 C021 0301 0009 0305 C22381"));
    let reason = b"the client wants MS-CHAPv2; allowed here: EAP";
    assert_eq!(sent, [frame(LCP, 5, 2, reason)]);
    assert!(windows.down.is_none(), "its Terminate-Ack is waited for");
    assert!(windows.give(&hex("FF03 C021 0602 0004")).is_empty());
    let ended = windows.ended();
    assert_eq!((ended.by, ended.phase, ended.cause.as_bytes()), (EndedBy::Incompatible, Phase::Lcp, &reason[..]));
}

#[test]
fn its_terminate_request_is_acknowledged_and_its_error_named() {
    let mut windows = Bench::new(&[AuthProtocol::Eap]);
    windows.open();
    let sent = windows.give(&hex("FF03 C021 0506 0010 11223344 003CCD74 000002DC"));
    assert_eq!(sent, [hex("FF03 C021 0606 0004")]);
    let ended = windows.ended();
    assert_eq!((ended.by, ended.phase), (EndedBy::Peer, Phase::Authentication));
    assert!(ended.cause.ends_with("with Windows error 732"), "{}", ended.cause);
}
