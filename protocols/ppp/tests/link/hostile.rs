//! A client that lies, floods and pretends.
use crate::common::*;
use ppp::{Answer, AuthProtocol, EndedBy, Event, Input, Phase};
use proptest::prelude::*;

const PROTOCOLS: [u16; 9] = [LCP, IPCP, IPV6CP, EAP, CHAP, PAP, 0x80FD, 0x0021, 0x0057];

#[test]
fn options_cut_anywhere_are_dropped() {
    let options = hex("0104 0FFB 0506 11223344 0702 0802 0D0306");
    for len in 1..options.len() {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        let sent = bench.send(LCP, 1, 1, &options[..len]);
        let whole = [4, 10, 12, 14].contains(&len);
        assert_eq!(sent.len(), if whole { 2 } else { 1 }, "{len}: our own request, and a reply to what can be read");
    }
}

#[test]
fn lengths_that_lie_are_dropped() {
    for length in ["0000", "0003", "000F", "FFFF"] {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        assert!(bench.give(&hex(&format!("FF03 C021 0100 {length} 0104 0FFB 0506 11223344"))).is_empty(), "{length}");
    }
}

#[test]
fn a_flood_of_configure_requests_gets_one_reply_each() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    let flood = |bench: &mut Bench| (0..1000).map(|id: u32| bench.send(LCP, 1, id as u8, &hex("0506 11223344")).len()).sum::<usize>();
    assert_eq!(flood(&mut bench), 1001, "and our one request");
    bench.acknowledge();
    assert_eq!(flood(&mut bench), 1001, "in Opened: our one new request");
    assert!(bench.events.len() < 10, "{:?}", bench.events);
}

#[test]
fn the_longest_frames_get_replies_that_fit() {
    for code in [1, 9, 99] {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        bench.send(LCP, 1, 0, &hex("0104 0FFB"));
        bench.acknowledge();
        let options = [7, 2].repeat(4083 / 2);
        let request = frame(LCP, code, 1, &options);
        assert_eq!(request.len(), 4090);
        let sent = bench.give(&request);
        assert!(!sent.is_empty() && sent.iter().all(|frame| frame.len() <= 4091), "{code}");
    }
}

#[test]
fn network_protocols_before_the_login_are_dropped() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    assert!(bench.send(IPV6CP, 1, 1, &[]).is_empty());
    bench.open();
    for protocol in [IPCP, IPV6CP] {
        assert!(bench.send(protocol, 1, 1, &[]).is_empty());
    }
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    for protocol in [IPCP, IPV6CP] {
        assert!(bench.send(protocol, 1, 1, &[]).is_empty(), "while RADIUS is asked");
    }
    assert_eq!(bench.link.phase(), Phase::Authentication);
}

#[test]
fn authentication_out_of_its_phase_is_dropped() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    let login = frame(PAP, 1, 1, &[1, b'a', 1, b'b']);
    assert!(bench.give(&login).is_empty());
    bench.send(LCP, 1, 0, &[]);
    assert!(bench.give(&login).is_empty());
    assert!(bench.questions.is_empty());
    bench.acknowledge();
    for (protocol, code) in [(PAP, 2), (CHAP, 3), (EAP, 3)] {
        assert!(bench.send(protocol, code, 1, &[0]).is_empty(), "a success that the client makes up");
    }
    assert_eq!(bench.link.phase(), Phase::Authentication);
    bench.give(&login);
    bench.answer(accept(""));
    assert!(bench.send(PAP, 1, 2, &[1, b'x', 1, b'y']).is_empty(), "another name, later");
    assert!(bench.send(EAP, 2, 0, b"\x01bob").is_empty());
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn answers_to_questions_that_nobody_asked_let_nobody_in() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.input(Input::Answer(ppp::AskId(0), accept("")));
    bench.open();
    bench.input(Input::Answer(ppp::AskId(0), accept("")));
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    bench.input(Input::Answer(ppp::AskId(77), accept("")));
    assert_eq!(bench.link.phase(), Phase::Authentication);
    bench.answer(Answer::EapContinue { packet: hex("0101 0006 0D20") });
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Refused, "an answer of another kind is none");
    assert!(!bench.events.contains(&Event::Authenticated));
}

#[test]
fn notes_do_not_fill_a_record() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    for id in 0..200 {
        assert_eq!(bench.send(0x80FD, 1, id, &[]).len(), 1);
    }
    assert!(bench.events.len() <= 33, "{}", bench.events.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the client sends: no panic, at most two frames for one, nothing after Down, nobody in.
    #[test]
    fn nobody_comes_in_by_noise(
        auth in prop::sample::select(vec![AuthProtocol::Eap, AuthProtocol::MsChapV2, AuthProtocol::Chap, AuthProtocol::Pap]),
        frames in prop::collection::vec((0..9_usize, 0..16_u8, 0..4_u8, prop::collection::vec(any::<u8>(), 0..30)), 0..40),
        opened: bool,
    ) {
        let mut bench = Bench::new(&[auth]);
        if opened {
            bench.open();
        }
        for (protocol, code, id, data) in frames {
            let sent = bench.send(PROTOCOLS[protocol], code, id, &data);
            prop_assert!(sent.len() <= 2);
            bench.pass(SECOND / 4);
        }
        prop_assert!(!bench.events.contains(&Event::Authenticated));
        prop_assert!(bench.link.phase() <= Phase::Authentication);
        bench.pass(600 * SECOND);
        prop_assert!(bench.down.is_some() || bench.questions.len() > bench.cancelled.len());
    }
}
