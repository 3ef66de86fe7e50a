//! LCP alone: options, timers, echo, the ways a link ends.
use crate::common::*;
use ppp::{Answer, AuthProtocol, EndedBy, Event, Input, Phase, Reason};
use std::time::Duration;

const ACK: u8 = 2;
const NAK: u8 = 3;
const REJECT: u8 = 4;

#[test]
fn every_option_of_a_client_gets_its_answer() {
    // Options asked, code and options of the reply.
    let table = [
        ("", ACK, ""),
        ("0104 0FFB", ACK, "0104 0FFB"),
        ("0104 05DC 0506 11223344", ACK, "0104 05DC 0506 11223344"),
        ("0104 0020", NAK, "0104 05DC"),
        ("0103 05", REJECT, "0103 05"),
        ("0206 00000000", REJECT, "0206 00000000"),
        ("0304 C023", REJECT, "0304 C023"),
        ("0408 C025 00000000", REJECT, "0408 C025 00000000"),
        ("0504 1122", REJECT, "0504 1122"),
        ("0702", REJECT, "0702"),
        ("0802", REJECT, "0802"),
        ("0D03 06", REJECT, "0D03 06"),
        ("1104 064E", REJECT, "1104 064E"),
        ("1202", REJECT, "1202"),
        ("1305 01AABB", REJECT, "1305 01AABB"),
        ("1704 0001", REJECT, "1704 0001"),
        // Order and bytes stay; the good ones are left out.
        ("1104 064E 0104 0FFB 0802 0506 11223344 0702", REJECT, "1104 064E 0802 0702"),
        // Reject comes before Nak, and alone.
        ("0104 0020 0D03 06", REJECT, "0D03 06"),
        // The same twice.
        ("0104 0FFB 0104 05DC", REJECT, "0104 05DC"),
    ];
    for (asked, code, answer) in table {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        let sent = bench.send(LCP, 1, 77, &hex(asked));
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1], frame(LCP, code, 77, &hex(answer)), "asked {asked}");
    }
}

#[test]
fn a_zero_magic_number_is_naked_with_another() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    let sent = bench.send(LCP, 1, 1, &hex("0506 00000000"));
    assert_eq!(sent[1][4], NAK);
    assert_eq!(sent[1][8..10], [5, 6]);
    assert_ne!(sent[1][10..14], [0; 4]);
}

#[test]
fn a_looped_line_is_noticed() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    let mut line: std::collections::VecDeque<_> = bench.pass(SECOND).into();
    for _ in 0..100 {
        let Some(frame) = line.pop_front() else { break };
        line.extend(bench.give(&frame));
    }
    assert_eq!(bench.ended().by, EndedBy::Violation);
    assert!(bench.ended().cause.contains("looped"), "{:?}", bench.ended());
}

#[test]
fn a_silent_client_gets_our_requests_with_one_identifier_and_then_up() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    assert_eq!(bench.link.poll_timeout(), Some((bench.now + SECOND, Reason::Passive)));
    let first = bench.pass(SECOND);
    assert_eq!(first, [frame(LCP, 1, 1, &hex("0104 0FFB 0304 C227 0506 A0A1A2A3"))]);
    assert_eq!(bench.link.poll_timeout(), Some((bench.now + 3 * SECOND, Reason::Restart)));
    let rest = bench.pass(27 * SECOND);
    assert_eq!(rest.len(), 9);
    assert!(rest.iter().all(|frame| *frame == first[0]));
    assert!(bench.pass(3 * SECOND).is_empty());
    assert_eq!((bench.ended().by, bench.ended().phase), (EndedBy::Timeout, Phase::Lcp));
    assert_eq!(bench.link.poll_timeout(), None);
}

#[test]
fn a_late_answer_to_a_repeated_request_counts() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.send(LCP, 1, 0, &[]);
    bench.pass(7 * SECOND);
    assert_eq!(bench.acknowledge(), [hex("FF03 C227 0100 0005 01")]);
}

#[test]
fn answers_that_do_not_fit_are_dropped() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.send(LCP, 1, 0, &[]);
    let (id, options) = bench.request.clone();
    for code in [ACK, NAK, REJECT] {
        assert!(bench.send(LCP, code, id + 1, &options).is_empty(), "wrong identifier");
    }
    assert!(bench.send(LCP, ACK, id, &options[..options.len() - 1]).is_empty(), "other options");
    assert!(bench.send(LCP, ACK, id, &[]).is_empty());
    assert!(bench.send(LCP, REJECT, id, &hex("0702")).is_empty(), "an option that we did not send");
    assert!(bench.send(LCP, REJECT, id, &[]).is_empty());
    assert!(bench.send(LCP, NAK, id, &hex("0105 05")).is_empty(), "a length that lies");
    assert_eq!(bench.link.phase(), Phase::Lcp);
    assert!(bench.down.is_none());
    bench.acknowledge();
    assert_eq!(bench.link.phase(), Phase::Authentication);
    assert!(bench.acknowledge().is_empty(), "the same Ack again");
    assert_eq!(bench.link.phase(), Phase::Authentication);
}

#[test]
fn naks_of_our_mru_converge() {
    for (wanted, next) in [("0104 05AC", "0104 05AC"), ("0104 FFFF", ""), ("0104 0001", ""), ("0104 0FFB", "")] {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        bench.send(LCP, 1, 0, &[]);
        let sent = bench.send(LCP, NAK, 1, &hex(wanted));
        assert_eq!(sent, [frame(LCP, 1, 2, &hex(&format!("{next} 0304 C227 0506 A0A1A2A3")))], "{wanted}");
    }
}

#[test]
fn rejected_options_are_left_out_but_authentication_stays() {
    let mut bench = Bench::new(&[AuthProtocol::Eap, AuthProtocol::Pap]);
    bench.send(LCP, 1, 0, &[]);
    let sent = bench.send(LCP, REJECT, 1, &hex("0104 0FFB 0506 A0A1A2A3"));
    assert_eq!(sent, [frame(LCP, 1, 2, &hex("0304 C227"))]);
    let sent = bench.send(LCP, REJECT, 2, &hex("0304 C227"));
    assert_eq!(sent[0][4], 5);
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
    assert_eq!(bench.ended().cause, "the client refuses to authenticate; allowed here: EAP, PAP");
}

#[test]
fn a_nak_with_what_is_not_allowed_tries_the_rest_of_the_list_once() {
    let mut bench = Bench::new(&[AuthProtocol::Eap, AuthProtocol::MsChapV2]);
    bench.send(LCP, 1, 0, &[]);
    let sent = bench.send(LCP, NAK, 1, &hex("0305 C22305"));
    assert_eq!(sent[0][8..][4..9], hex("0305 C22381"));
    let sent = bench.send(LCP, NAK, 2, &hex("0305 C22380"));
    assert_eq!(sent, [frame(LCP, 5, 3, b"the client wants MS-CHAPv1; allowed here: EAP, MS-CHAPv2")]);
}

#[test]
fn naks_without_end_come_to_an_end() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.send(LCP, 1, 0, &[]);
    for _ in 0..30 {
        let (id, _) = bench.request.clone();
        bench.send(LCP, NAK, id, &hex("0506 55555555"));
    }
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
    assert!(bench.ended().cause.contains("converge"), "{:?}", bench.ended());
}

#[test]
fn a_client_that_insists_on_refused_options_comes_to_an_end() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    let sent: usize = (0..30).map(|id| bench.send(LCP, 1, id, &hex("0D03 06")).len()).sum();
    assert!(sent <= 12, "{sent}");
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
}

#[test]
fn echo_requests_are_answered_only_when_open() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.send(LCP, 1, 0, &[]);
    assert!(bench.send(LCP, 9, 5, &hex("11223344 AABB")).is_empty());
    bench.acknowledge();
    assert_eq!(bench.send(LCP, 9, 6, &hex("11223344 AABB")), [frame(LCP, 10, 6, &hex("A0A1A2A3 AABB"))]);
    assert!(bench.send(LCP, 9, 7, &hex("112233")).is_empty(), "no room for a magic number");
    for code in [10, 11, 13] {
        assert!(bench.send(LCP, code, 8, &hex("11223344")).is_empty());
    }
}

#[test]
fn unknown_codes_are_rejected_within_the_clients_mru() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.send(LCP, 1, 0, &hex("0104 0080"));
    bench.acknowledge();
    let strange = frame(LCP, 99, 5, &[7; 500]);
    let sent = bench.give(&strange);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0][4], sent[0].len()), (7, 4 + 128));
    assert_eq!(sent[0][8..], strange[4..4 + 124]);
    let sent = bench.send(0x80FD, 1, 5, &[7; 500]);
    assert_eq!((sent[0][4], sent[0].len()), (8, 4 + 128), "and protocols");
    let sent = bench.send(LCP, 9, 5, &[7; 500]);
    assert_eq!((sent[0][4], sent[0].len()), (10, 4 + 128), "and echoes fit");
}

#[test]
fn identifications_are_events_of_which_eight_are_kept() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    for id in 0..20 {
        bench.send(LCP, 12, id, &[1, 2, 3, 4, b'A', id]);
    }
    let expected: Vec<_> = (0..8).map(|id| Event::Identification(vec![b'A', id])).collect();
    assert_eq!(bench.events, expected);
    assert!(bench.send(LCP, 12, 0, &[1, 2]).is_empty());
}

#[test]
fn other_protocols_are_rejected_only_when_lcp_is_open() {
    for protocol in [0x80FD, 0x8053, 0xC02B, 0xC029, 0x802B, 0x002D] {
        let mut bench = Bench::new(&[AuthProtocol::Eap]);
        assert!(bench.send(protocol, 1, 9, &[]).is_empty());
        bench.send(LCP, 1, 0, &[]);
        assert!(bench.send(protocol, 1, 9, &[]).is_empty());
        bench.acknowledge();
        let rejected = [&protocol.to_be_bytes()[..], &[1, 9, 0, 4]].concat();
        assert_eq!(bench.send(protocol, 1, 9, &[]), [frame(LCP, 8, 2, &rejected)]);
        assert_eq!(bench.send(protocol, 1, 9, &[]), [frame(LCP, 8, 3, &rejected)], "a new identifier");
        assert!(bench.down.is_none());
    }
}

#[test]
fn a_silent_client_is_lost_after_its_echoes() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    let sent = bench.pass(Duration::from_secs(79));
    let echo = |id| frame(LCP, 9, id, &MAGIC);
    assert_eq!(sent, [echo(2), echo(3), echo(4)], "while a question is open, too");
    bench.pass(SECOND);
    assert_eq!((bench.ended().by, bench.ended().phase), (EndedBy::Silence, Phase::Authentication));
    assert_eq!(bench.cancelled.len(), 1);
}

#[test]
fn whatever_is_heard_postpones_the_echo() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    for _ in 0..20 {
        assert!(bench.pass(15 * SECOND).is_empty());
        bench.input(Input::Heard(bench.now));
    }
    assert_eq!(bench.pass(20 * SECOND).len(), 1);
    assert!(bench.pass(15 * SECOND).is_empty());
    bench.give(&hex("0021 4500"));
    assert!(bench.pass(19 * SECOND).is_empty());
    bench.input(Input::Heard(bench.start));
    assert_eq!(bench.pass(SECOND).len(), 1, "what was heard long ago does not count");
    bench.input(Input::Heard(bench.now + 3600 * SECOND));
    assert_eq!(bench.pass(20 * SECOND).len(), 1, "nor does the future");
    assert!(bench.down.is_none());
}

#[test]
fn our_terminate_waits_for_the_ack_twice_the_restart_time() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    assert_eq!(bench.input(Input::Terminate("an administrator ended it")), [frame(LCP, 5, 2, b"an administrator ended it")]);
    assert_eq!(bench.cancelled.len(), 1, "nobody waits for RADIUS any more");
    assert!(bench.answer(accept("")).is_empty());
    assert_eq!(bench.send(LCP, 5, 9, &[]), [frame(LCP, 6, 9, &[])], "both at once");
    assert!(bench.send(0x80FD, 1, 9, &[]).is_empty());
    assert_eq!(bench.link.poll_timeout().unwrap().1, Reason::Terminate);
    assert_eq!(bench.pass(Duration::from_millis(5900)).len(), 1);
    assert!(bench.down.is_none());
    bench.pass(Duration::from_millis(100));
    let ended = bench.ended();
    assert_eq!((ended.by, ended.phase, ended.cause.as_str()), (EndedBy::Us, Phase::Authentication, "an administrator ended it"));
    assert!(!bench.events.contains(&Event::Authenticated));
}

#[test]
fn terminate_before_anything_was_said_is_down_at_once() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    assert!(bench.input(Input::Terminate("shutdown")).is_empty());
    assert_eq!(bench.ended().by, EndedBy::Us);
    assert!(bench.send(LCP, 1, 0, &[]).is_empty(), "after Down nothing comes");
    assert!(bench.input(Input::Terminate("again")).is_empty());
    assert!(bench.input(Input::Start).is_empty());
}

#[test]
fn a_code_reject_of_ours_ends_a_link_that_cannot_do_without() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.open();
    assert!(bench.send(LCP, 7, 1, &[9, 1, 0, 4]).is_empty(), "it has no Echo: so be it");
    assert_eq!(bench.send(LCP, 7, 2, &[1, 1, 0, 4])[0][4], 5);
    bench.send(LCP, 7, 3, &[5, 1, 0, 4]);
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
}

#[test]
fn a_terminate_ack_out_of_the_blue_makes_lcp_begin_again() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    bench.open();
    let sent = bench.send(LCP, 6, 200, &[]);
    assert_eq!(sent[0][4], 1);
    assert_eq!(bench.link.phase(), Phase::Lcp);
    assert!(bench.send(EAP, 2, 0, &[1, b'a']).is_empty());
}

#[test]
fn negotiation_ends_in_time_but_open_questions_do_not_count() {
    let mut config = config(&[AuthProtocol::Pap]);
    config.timers.echo_interval = Duration::ZERO;
    let mut bench = Bench::with(config);
    bench.open();
    bench.pass(50 * SECOND);
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    bench.pass(3600 * SECOND);
    assert!(bench.down.is_none());
    bench.answer(accept(""));
    bench.pass(9 * SECOND);
    assert!(bench.down.is_none());
    bench.pass(8 * SECOND);
    assert_eq!((bench.ended().by, bench.ended().phase), (EndedBy::Timeout, Phase::Network));
    assert_eq!(bench.ended().cause, "neither IPCP nor IPv6CP opened within 60 s");
}

#[test]
fn a_client_that_reopens_lcp_must_authenticate_again() {
    let mut bench = Bench::new(&[AuthProtocol::MsChapV2]);
    for round in 0..3_usize {
        let sent = bench.open();
        let start = 16 + 16 * round;
        assert_eq!(sent[0][9..25], SEED[start..start + 16], "a new challenge");
        assert!(bench.send(IPCP, 1, 1, &hex("0306 0A000005")).is_empty(), "not before it is let in");
        bench.send(CHAP, 2, 0, &[&[49][..], &[1; 49], b"alice"].concat());
        bench.answer(accept("S=00"));
        bench.send(IPCP, 1, 1, &hex("0306 0A000005"));
        let ack = hex("FF03 8021 0201 000A 0306 0A000001");
        bench.give(&ack);
        assert_eq!(bench.link.phase(), Phase::Up);
        assert_eq!(bench.take_events().iter().filter(|event| **event == Event::Authenticated).count(), 1);
    }
    bench.open();
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Violation, "the seed has no fourth challenge");
}

#[test]
fn reopening_while_a_question_is_open_cancels_it() {
    let mut bench = Bench::new(&[AuthProtocol::MsChapV2]);
    bench.open();
    bench.send(CHAP, 2, 0, &[&[49][..], &[1; 49], b"alice"].concat());
    let first = bench.questions[0].0;
    bench.send(LCP, 1, 9, &[]);
    assert_eq!(bench.cancelled, [first]);
    bench.acknowledge();
    bench.input(Input::Answer(first, Answer::Accept { eap: vec![], message: Vec::new(), network: Box::new(network()) }));
    assert_eq!(bench.link.phase(), Phase::Authentication, "an answer to a question of before lets nobody in");
    assert!(!bench.events.contains(&Event::Authenticated));
}

#[test]
fn reopening_begins_with_nothing_agreed() {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    let opened = [Event::LcpOpened { auth: AuthProtocol::Eap, peer_mru: 4091 }];
    bench.send(LCP, 1, 5, &hex("0104 0FFB"));
    bench.acknowledge();
    assert_eq!(bench.take_events(), opened);
    bench.send(LCP, 1, 6, &hex("0104 0FFB 0702"));
    assert_eq!(bench.send(LCP, 99, 7, &[0; 3000])[0].len(), 4 + 1500, "the default MRU until another is agreed");
    bench.send(LCP, 1, 5, &hex("0104 0FFB"));
    bench.acknowledge();
    bench.send(LCP, 1, 5, &hex("0104 0FFB"));
    bench.acknowledge();
    bench.events.retain(|event| !matches!(event, Event::Note(_)));
    assert_eq!(bench.take_events(), [opened.clone(), opened].concat(), "the very same request counts anew");
}

#[test]
fn the_time_for_negotiation_runs_again_when_the_network_goes_down() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    bench.send(PAP, 1, 1, &[1, b'a', 1, b'b']);
    bench.answer(accept(""));
    bench.send(IPCP, 1, 1, &hex("0306 0A000005"));
    bench.give(&hex("FF03 8021 0201 000A 0306 0A000001"));
    assert_eq!(bench.link.phase(), Phase::Up);
    bench.pass(30 * SECOND);
    bench.send(LCP, 1, 9, &[]);
    bench.acknowledge();
    for _ in 0..6 {
        bench.give(&hex("0021 45"));
        bench.pass(9 * SECOND);
    }
    assert!(bench.down.is_none());
    bench.pass(12 * SECOND);
    assert_eq!((bench.ended().by, bench.ended().phase), (EndedBy::Timeout, Phase::Authentication));
}
