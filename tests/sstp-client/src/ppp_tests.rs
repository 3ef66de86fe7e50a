//! The link against the trace of a Windows client.

use super::*;

fn settings() -> Settings {
    let credentials = Credentials { user: "alice".into(), passwords: vec!["password".into()], ..Credentials::default() };
    Settings {
        method: Method::Pap,
        credentials,
        computer: "PC".into(),
        correlation: [0xab; 16],
        mru: 4091,
        ipv6: true,
        ipv4: true,
        address: Ipv4Addr::UNSPECIFIED,
    }
}

fn frames(ppp: &mut Ppp) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| ppp.poll_frame()).collect()
}

fn events(ppp: &mut Ppp) -> Vec<Event> {
    std::iter::from_fn(|| ppp.poll_event()).collect()
}

const SERVER_REQUEST: &[u8] = &[3, 4, 0xc0, 0x23, 1, 4, 0x05, 0xac, 5, 6, 1, 2, 3, 4];

/// LCP as in the trace; the client has sent its Identifications and the PAP request.
fn opened() -> Ppp {
    let mut ppp = Ppp::new(settings());
    ppp.start();
    let first = frames(&mut ppp).remove(0);
    let magic = &first[14..18];
    let expected = [&[0xff, 3, 0xc0, 0x21, 1, 0, 0, 21, 1, 4, 0x0f, 0xfb, 5, 6][..], magic, &[7, 2, 8, 2, 13, 3, 6]].concat();
    assert_eq!(first, expected);
    let packet = crate::sstp::data(&first);
    assert_eq!(packet[..4], [0x10, 0x00, 0x00, 0x1d]);
    ppp.handle(&frame(protocol::LCP, 4, 0, &[7, 2, 8, 2, 13, 3, 6])).unwrap();
    let second = frames(&mut ppp).remove(0);
    assert_eq!(second[4..12], [1, 1, 0, 14, 1, 4, 0x0f, 0xfb]);
    ppp.handle(&frame(protocol::LCP, 3, 1, &[1, 4, 5, 0xac])).unwrap();
    let third = frames(&mut ppp).remove(0);
    assert_eq!(third[4..12], [1, 2, 0, 14, 1, 4, 5, 0xac]);
    ppp.handle(&frame(protocol::LCP, 2, 2, &third[8..])).unwrap();
    assert!(frames(&mut ppp).is_empty(), "the server has not asked yet");
    ppp.handle(&frame(protocol::LCP, 1, 56, SERVER_REQUEST)).unwrap();
    let sent = frames(&mut ppp);
    assert_eq!(sent[0], frame(protocol::LCP, 2, 56, SERVER_REQUEST));
    for (index, text) in [b"MSRASV5.20".as_slice(), b"MSRAS-0-PC", &[0xab; 16]].into_iter().enumerate() {
        assert_eq!(sent[index + 1], frame(protocol::LCP, 12, index as u8 + 3, &[magic, text].concat()));
    }
    assert_eq!(sent[4][..5], [0xff, 3, 0xc0, 0x23, 1]);
    assert_eq!(events(&mut ppp), [Event::LcpOpened]);
    ppp
}

#[test]
fn the_whole_trace() {
    let mut ppp = opened();
    ppp.handle(&frame(PAP, 2, 0, &[0])).unwrap();
    assert_eq!(events(&mut ppp), [Event::Authenticated { hlak: [0; 32] }]);
    ppp.handle(&frame(PAP, 2, 0, &[0])).unwrap();
    assert_eq!(events(&mut ppp), [], "the same word again");
    assert!(ppp.handle(&frame(PAP, 3, 0, &[0])).is_err(), "another word");
    ppp.start_network();
    let sent = frames(&mut ppp);
    assert_eq!(sent[0][..10], [0xff, 3, 0x80, 0x57, 1, 6, 0, 14, 1, 10]);
    let servers = [129, 6, 0, 0, 0, 0, 130, 6, 0, 0, 0, 0, 131, 6, 0, 0, 0, 0, 132, 6, 0, 0, 0, 0];
    assert_eq!(sent[1], [&[0xff, 3, 0x80, 0x21, 1, 7, 0, 34, 3, 6, 0, 0, 0, 0][..], &servers].concat());
    ppp.handle(&frame(protocol::LCP, 8, 1, &sent[0][2..])).unwrap();
    assert_eq!(events(&mut ppp), [Event::Rejected(protocol::IPV6CP)]);
    ppp.handle(&frame(protocol::IPCP, 1, 9, &[3, 6, 10, 0, 0, 1])).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::IPCP, 2, 9, &[3, 6, 10, 0, 0, 1])]);
    ppp.handle(&frame(protocol::IPCP, 4, 7, &servers)).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::IPCP, 1, 8, &[3, 6, 0, 0, 0, 0])]);
    ppp.handle(&frame(protocol::IPCP, 3, 8, &[3, 6, 10, 0, 0, 5])).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::IPCP, 1, 9, &[3, 6, 10, 0, 0, 5])]);
    assert!(!ppp.network_settled());
    ppp.handle(&frame(protocol::IPCP, 2, 9, &[3, 6, 10, 0, 0, 5])).unwrap();
    assert_eq!(events(&mut ppp), [Event::Ipv4Up]);
    assert!(ppp.network_settled());
    let facts = ppp.ipv4();
    assert_eq!((facts.address, facts.peer), (Some([10, 0, 0, 5].into()), Some([10, 0, 0, 1].into())));
    ppp.handle(&[0xff, 3, 0, 0x21, 0x45]).unwrap();
    assert_eq!(events(&mut ppp), [Event::Packet(vec![0x45])]);
    assert!(ppp.handle(&[0xff, 3, 0, 0x57, 0x60]).is_err(), "IPv6 was rejected");
}

#[test]
fn what_comes_before_the_port_is_up_is_lost() {
    let mut ppp = Ppp::new(settings());
    ppp.handle(&frame(protocol::LCP, 1, 56, SERVER_REQUEST)).unwrap();
    ppp.start();
    assert_eq!((ppp.dropped_early, frames(&mut ppp).len()), (1, 1));
}

#[test]
fn another_authentication_is_naked_with_ours() {
    let mut ppp = Ppp::new(Settings { method: Method::Mschapv2, ..settings() });
    ppp.start();
    frames(&mut ppp);
    ppp.handle(&frame(protocol::LCP, 1, 56, SERVER_REQUEST)).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::LCP, 3, 56, &[3, 5, 0xc2, 0x23, 0x81])]);
    for _ in 0..2 {
        ppp.handle(&frame(protocol::LCP, 1, 57, SERVER_REQUEST)).unwrap();
    }
    assert_eq!(ppp.handle(&frame(protocol::LCP, 1, 58, SERVER_REQUEST)).unwrap_err().kind(), "refused");
}

#[test]
fn echoes_and_farewells_are_answered() {
    let mut ppp = opened();
    ppp.handle(&frame(protocol::LCP, 9, 77, &[1, 2, 3, 4, b'x'])).unwrap();
    let reply = frames(&mut ppp).remove(0);
    assert_eq!((&reply[4..8], &reply[12..]), (&[10, 77, 0, 9][..], &b"x"[..]));
    assert_ne!(reply[8..12], [1, 2, 3, 4]);
    assert!(ppp.handle(&frame(protocol::LCP, 9, 78, &[9, 9, 9, 9])).is_err(), "a foreign magic number");
    ppp.handle(&frame(protocol::LCP, 5, 79, b"bye")).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::LCP, 6, 79, b"bye")]);
    assert_eq!(events(&mut ppp), [Event::Terminated("bye".into())]);
}

#[test]
fn a_servers_faults_are_errors() {
    let cases: [(&str, Vec<u8>); 9] = [
        ("Code-Reject of an Identification", frame(protocol::LCP, 7, 1, &[12, 3, 0, 4])),
        ("Configure-Request while open", frame(protocol::LCP, 1, 57, SERVER_REQUEST)),
        ("IPCP before authentication", frame(protocol::IPCP, 1, 1, &[3, 6, 10, 0, 0, 1])),
        ("CHAP where PAP was agreed", frame(CHAP, 1, 1, &[1, 1])),
        ("data before IPCP", vec![0xff, 3, 0, 0x21, 0x45]),
        ("compressed address and control", vec![0xc0, 0x21, 11, 0, 0, 4]),
        ("compressed protocol", vec![0xff, 3, 0x21, 0x45]),
        ("CCP", frame(0x80fd, 1, 1, &[])),
        ("a cut packet", vec![0xff, 3, 0xc0, 0x21, 1, 0, 0, 9]),
    ];
    for (what, bytes) in cases {
        assert_eq!(opened().handle(&bytes).unwrap_err().kind(), "protocol", "{what}");
    }
}

#[test]
fn an_option_we_do_not_know_is_rejected() {
    let mut ppp = Ppp::new(settings());
    ppp.start();
    frames(&mut ppp);
    let multilink = [&[17, 4, 6, 0x4e][..], SERVER_REQUEST].concat();
    ppp.handle(&frame(protocol::LCP, 1, 1, &multilink)).unwrap();
    assert_eq!(frames(&mut ppp), [frame(protocol::LCP, 4, 1, &[17, 4, 6, 0x4e])]);
}
