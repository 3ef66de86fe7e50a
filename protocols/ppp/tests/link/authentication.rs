//! EAP, MS-CHAPv2, CHAP and PAP.
use crate::common::*;
use ppp::{Answer, AuthProtocol, EndedBy, Event, Phase, Question};

const CHALLENGE_2: &str = "00112233445566778899AABBCCDDEEFF";

fn eap() -> Bench {
    let mut bench = Bench::new(&[AuthProtocol::Eap]);
    assert_eq!(bench.open(), [hex("FF03 C227 0100 0005 01")]);
    bench.take_events();
    bench
}

fn response(id: u8, name: &str, fill: u8) -> Vec<u8> {
    frame(CHAP, 2, id, &[&[49][..], &[fill; 49], name.as_bytes()].concat())
}

fn mschap() -> Bench {
    let mut bench = Bench::new(&[AuthProtocol::MsChapV2]);
    let sent = bench.open();
    assert_eq!(sent, [frame(CHAP, 1, 0, &[&[16][..], &CHALLENGE, b"vpn"].concat())]);
    bench.take_events();
    bench
}

#[test]
fn eap_requests_are_repeated_while_the_client_is_silent() {
    let mut bench = eap();
    assert_eq!(bench.pass(9 * SECOND), vec![hex("FF03 C227 0100 0005 01"); 3]);
    bench.send(EAP, 2, 0, b"\x01alice");
    assert!(bench.pass(15 * SECOND).is_empty(), "RADIUS is asked, the client is not");
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn repeated_eap_responses_are_answered_from_memory() {
    let mut bench = eap();
    let identity = frame(EAP, 2, 0, b"\x01alice");
    bench.give(&identity);
    assert!(bench.give(&identity).is_empty());
    let request = bench.answer(Answer::EapContinue { packet: hex("0107 0006 0D20") });
    assert_eq!(bench.give(&identity), request);
    for code in [1, 3, 4] {
        assert!(bench.send(EAP, code, 7, b"\x0d\x00").is_empty(), "a request or a verdict of the client");
    }
    assert_eq!(bench.questions.len(), 1);
    let tls = frame(EAP, 2, 7, b"\x0d\x00");
    bench.give(&tls);
    assert!(bench.give(&identity).is_empty());
    let success = bench.answer(accept(""));
    assert_eq!(success, [hex("FF03 C227 0307 0004")], "the identifier of our last request");
    assert_eq!(bench.give(&tls), success, "the Success was lost");
    assert_eq!(bench.questions.len(), 2);
}

#[test]
fn eap_packets_that_do_not_fit_are_dropped() {
    let mut bench = eap();
    for packet in [
        "0201 000A 01616C696365", // another identifier
        "0300 0004",              // Success
        "0400 0004",              // Failure
        "0100 0005 01",           // a request
        "0200 0006 0319",         // Nak of Identity
        "0200 0004",              // no type
        "0200 00FF 01",           // a length that lies
        "0200",
    ] {
        let sent = bench.give(&[hex("FF03 C227"), hex(packet)].concat());
        assert!(sent.is_empty() && bench.questions.is_empty() && bench.events.is_empty(), "{packet}");
    }
    assert!(bench.give(&hex("FF03 C227 0200 0007 01 4142 0000")).is_empty());
    let Question::Eap { identity, packet } = &bench.questions[0].1 else { panic!() };
    assert_eq!((identity.as_slice(), packet.len()), (&b"AB"[..], 7), "padding is cut");
}

#[test]
fn eap_verdicts_of_radius_go_on_with_the_right_identifier() {
    for (given, sent) in [("0400 0004", "0400 0004"), ("0409 0004", "0400 0004"), ("0300 0004", "0400 0004"), ("", "0400 0004")] {
        let mut bench = eap();
        bench.send(EAP, 2, 0, b"\x01alice");
        let frames = bench.answer(Answer::Reject { eap: hex(given), message: Vec::new() });
        assert_eq!(frames[0], [hex("FF03 C227"), hex(sent)].concat());
        assert_eq!(frames[1][2..5], [0xC0, 0x21, 5]);
        bench.send(LCP, 6, frames[1][5], &[]);
        assert_eq!((bench.ended().by, bench.ended().phase), (EndedBy::Refused, Phase::Authentication));
        assert!(!bench.events.contains(&Event::Authenticated));
    }
}

#[test]
fn an_eap_answer_that_is_no_request_lets_nobody_in() {
    let long = format!("0101 1000 {}", "0D".repeat(4092));
    for packet in ["", "0301 0004", "0201 0006 0D20", "0101 0009 0D20", &long] {
        let mut bench = eap();
        bench.send(EAP, 2, 0, b"\x01alice");
        let frames = bench.answer(Answer::EapContinue { packet: hex(packet) });
        assert_eq!(frames[0], hex("FF03 C227 0400 0004"), "{packet}");
        bench.pass(7 * SECOND);
        assert_eq!(bench.ended().by, EndedBy::Refused);
    }
}

#[test]
fn names_longer_than_radius_carries_are_refused() {
    let mut bench = eap();
    bench.send(EAP, 2, 0, &[&[1][..], &[b'a'; 254]].concat());
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Violation);
    assert!(bench.questions.is_empty());

    let mut bench = mschap();
    bench.give(&response(0, &"a".repeat(254), 1));
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Violation);

    let mut bench = mschap();
    bench.give(&response(0, &"a".repeat(253), 1));
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn mschap_success_goes_on_unchanged_and_again_if_asked_again() {
    let mut bench = mschap();
    assert!(bench.give(&response(0, "DOMAIN\\alice", 7)).is_empty());
    assert!(bench.give(&response(0, "DOMAIN\\alice", 7)).is_empty(), "RADIUS is asked once");
    let [(_, Question::MsChapV2 { name, identifier, challenge, response: value })] = bench.questions.as_slice() else { panic!() };
    assert_eq!((name.as_slice(), *identifier, *challenge, *value), (&b"DOMAIN\\alice"[..], 0, CHALLENGE, [7; 49]));
    let text = b"S=407A5589115FD0D6209F510FE9C04566932CDA56 M=Willkommen in K\xf6ln";
    let success = bench.answer(accept(text));
    assert_eq!(success, [frame(CHAP, 3, 0, text)]);
    assert_eq!(bench.give(&response(0, "DOMAIN\\alice", 7)), success);
    assert!(bench.give(&response(0, "DOMAIN\\bob", 7)).is_empty(), "nobody else comes in behind");
    assert_eq!(bench.questions.len(), 1);
    assert_eq!(bench.events, [Event::Identified(b"DOMAIN\\alice".to_vec()), Event::Authenticated]);
}

#[test]
fn mschap_responses_that_do_not_fit_are_dropped() {
    let mut bench = mschap();
    assert!(bench.give(&response(1, "alice", 1)).is_empty(), "another identifier");
    bench.send(CHAP, 2, 0, &[&[48][..], &[1; 49], b"alice"].concat());
    bench.send(CHAP, 2, 0, &[49; 40]);
    bench.send(CHAP, 2, 0, &[]);
    bench.send(CHAP, 1, 0, &[16; 20]);
    bench.send(CHAP, 3, 0, b"S=00");
    bench.send(CHAP, 7, 0, &[0; 582]);
    bench.send(PAP, 1, 0, &[1, b'a', 1, b'b']);
    assert!(bench.questions.is_empty() && bench.events.is_empty());
    assert_eq!(bench.pass(6 * SECOND).len(), 2, "the challenge is repeated");
}

#[test]
fn mschap_retry_uses_the_challenge_of_the_failure() {
    for step in [0, 1] {
        let mut bench = mschap();
        bench.give(&response(0, "alice", 1));
        let text = format!("E=691 R=1 C={CHALLENGE_2} V=3 M=Authentication failure");
        let failure = bench.answer(reject(&text));
        assert_eq!(failure, [frame(CHAP, 4, 0, text.as_bytes())]);
        assert_eq!(bench.give(&response(0, "alice", 1)), failure, "from memory");
        assert!(bench.pass(50 * SECOND).iter().all(|frame| frame[2..5] == [0xC0, 0x21, 9]), "the user is typing: nothing but echoes");
        bench.send(LCP, 10, 1, &[0; 4]);
        bench.give(&response(step, "alice", 2));
        let (_, Question::MsChapV2 { identifier, challenge, response: value, .. }) = &bench.questions[1] else { panic!() };
        assert_eq!((*identifier, challenge.to_vec(), *value), (step, hex(CHALLENGE_2), [2; 49]));
        assert_eq!(bench.answer(accept("S=00")), [frame(CHAP, 3, step, b"S=00")]);
        assert_eq!(bench.events.iter().filter(|event| matches!(event, Event::Identified(_))).count(), 1, "one name, one event");
        assert_eq!(bench.link.phase(), Phase::Network);
    }
}

#[test]
fn mschap_failures_without_retry_end_the_link() {
    let no_retry = [format!("E=691 R=0 C={CHALLENGE_2} V=3 M=").as_bytes(), b"Kennwort ung\xfcltig"].concat();
    let no_dialin = format!("E=649 R=0 C={CHALLENGE_2} V=3").into_bytes();
    let ours: String = CHALLENGE.iter().map(|byte| format!("{byte:02X}")).collect();
    for (text, sent) in [
        (&no_retry[..], &no_retry[..]),
        (&no_dialin, &no_dialin),
        (b"E=691 R=1 C=00 V=3", b"E=691 R=1 C=00 V=3"),
        (b"E=648 R=0 V=2", b"E=648 R=0 V=2"),
        (b"", format!("E=691 R=0 C={ours} V=3").as_bytes()),
    ] {
        let mut bench = mschap();
        bench.give(&response(0, "alice", 1));
        let frames = bench.answer(reject(text));
        assert_eq!(frames[0], frame(CHAP, 4, 0, sent));
        assert_eq!(frames[1][2..5], [0xC0, 0x21, 5], "{}", text.escape_ascii());
        assert!(bench.give(&response(1, "alice", 2)).is_empty());
        bench.pass(7 * SECOND);
        assert_eq!(bench.ended().by, EndedBy::Refused);
        assert_eq!(bench.questions.len(), 1);
    }
}

#[test]
fn another_step_without_a_challenge_from_radius_has_one_of_ours() {
    let fresh = |attempt: u8| -> [u8; 16] { std::array::from_fn(|at| 0xA0 ^ (16 + 48 * attempt + at as u8)) };
    let hex_of = |challenge: [u8; 16]| -> String { challenge.iter().map(|byte| format!("{byte:02X}")).collect() };
    let mut bench = mschap();
    bench.give(&response(0, "alice", 1));
    let retry = bench.answer(reject(b"E=691 R=1 V=3 M=Kennwort ung\xfcltig"));
    let text = [format!("E=691 R=1 C={} V=3 M=", hex_of(fresh(1))).as_bytes(), b"Kennwort ung\xfcltig"].concat();
    assert_eq!(retry, [frame(CHAP, 4, 0, &text)]);
    bench.give(&response(1, "alice", 2));
    let (_, Question::MsChapV2 { challenge, .. }) = &bench.questions[1] else { panic!() };
    assert_eq!(*challenge, fresh(1));
    let expired = bench.answer(reject("E=648 R=0 V=3"));
    assert_eq!(expired, [frame(CHAP, 4, 1, format!("E=648 R=0 C={} V=3", hex_of(fresh(2))).as_bytes())]);
    bench.send(CHAP, 7, 2, &[1; 582]);
    let (_, Question::ChangePassword { challenge, .. }) = &bench.questions[2] else { panic!() };
    assert_eq!(*challenge, fresh(2));
}

#[test]
fn passwords_are_not_tried_without_end() {
    for text in [format!("E=691 R=1 C={CHALLENGE_2} V=3"), "E=691 R=1 V=3".into()] {
        let mut bench = mschap();
        for id in 0..20 {
            bench.give(&response(id, "alice", id));
            if bench.down.is_none() && bench.questions.len() == usize::from(id) + 1 {
                bench.answer(reject(&text));
            }
        }
        bench.pass(7 * SECOND);
        assert_eq!((bench.questions.len(), bench.ended().by), (6, EndedBy::Refused));
    }
}

#[test]
fn an_expired_password_is_changed() {
    let mut bench = mschap();
    bench.give(&response(0, "alice", 1));
    let text = format!("E=648 R=0 C={CHALLENGE_2} V=3 M=expired");
    assert_eq!(bench.answer(reject(&text)), [frame(CHAP, 4, 0, text.as_bytes())]);
    assert!(bench.give(&response(1, "alice", 2)).is_empty(), "R=0: no other response");
    let mut change = vec![1; 516];
    change.extend([[2; 16], [3; 16]].concat());
    change.extend([[0; 8].to_vec(), vec![4; 24], vec![0, 5]].concat());
    for wrong in [&change[1..], &[&change[..], &[0]].concat()] {
        assert!(bench.send(CHAP, 7, 1, wrong).is_empty());
    }
    assert_eq!(bench.questions.len(), 1);
    let packet = frame(CHAP, 7, 1, &change);
    assert_eq!(packet.len(), 4 + 586);
    bench.give(&packet);
    bench.give(&packet);
    assert_eq!(bench.questions.len(), 2, "asked once");
    let (_, Question::ChangePassword { name, identifier, challenge, change }) = &bench.questions[1] else { panic!() };
    assert_eq!((name.as_slice(), *identifier, challenge.to_vec()), (&b"alice"[..], 1, hex(CHALLENGE_2)));
    assert_eq!((change.encrypted_password.as_slice(), change.encrypted_hash), (&[1; 516][..], [2; 16]));
    assert_eq!((change.peer_challenge, change.nt_response, change.flags), ([3; 16], [4; 24], [0, 5]));
    let success = bench.answer(accept("S=11"));
    assert_eq!(success, [frame(CHAP, 3, 1, b"S=11")]);
    assert_eq!(bench.give(&packet), success);
}

#[test]
fn chap_with_md5() {
    let mut bench = Bench::new(&[AuthProtocol::Chap]);
    assert_eq!(bench.open(), [frame(CHAP, 1, 0, &[&[16][..], &CHALLENGE, b"vpn"].concat())]);
    assert!(bench.give(&response(0, "alice", 1)).is_empty(), "49 octets are MS-CHAPv2's");
    assert!(bench.questions.is_empty());
    let answer = frame(CHAP, 2, 0, &[&[16][..], &[9; 16], b"alice"].concat());
    bench.give(&answer);
    bench.give(&answer);
    let [(_, Question::Chap { name, identifier, challenge, response })] = bench.questions.as_slice() else { panic!() };
    assert_eq!((name.as_slice(), *identifier, challenge.as_slice(), *response), (&b"alice"[..], 0, &CHALLENGE[..], [9; 16]));
    assert_eq!(bench.answer(accept("")), [frame(CHAP, 3, 0, &[])]);

    let mut bench = Bench::new(&[AuthProtocol::Chap]);
    bench.open();
    bench.give(&answer);
    assert_eq!(bench.answer(reject("E=691 R=1"))[0], frame(CHAP, 4, 0, b"E=691 R=1"));
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Refused);
}

#[test]
fn pap_answers_the_identifier_that_was_used_last() {
    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    assert!(bench.open().is_empty());
    let credentials = [&[5][..], b"alice", &[3], b"pwd"].concat();
    bench.send(PAP, 1, 1, &credentials);
    assert!(bench.send(PAP, 1, 2, &credentials).is_empty(), "pppd counts on");
    assert!(bench.send(PAP, 1, 3, &[&[3][..], b"bob", &[3], b"pwd"].concat()).is_empty());
    assert_eq!(bench.questions.len(), 1);
    assert_eq!(bench.answer(accept("")), [frame(PAP, 2, 2, &[0])]);
    assert_eq!(bench.send(PAP, 1, 4, &credentials), [frame(PAP, 2, 4, &[0])]);
    assert!(!format!("{:?}", bench.link).contains("112, 119, 100"), "no password in Debug");

    let mut bench = Bench::new(&[AuthProtocol::Pap]);
    bench.open();
    for wrong in [&[][..], &[9, b'a'], &[1, b'a'], &[1, b'a', 5, b'b']] {
        bench.send(PAP, 1, 1, wrong);
    }
    assert!(bench.questions.is_empty());
    bench.send(PAP, 1, 9, &credentials);
    assert_eq!(bench.answer(reject("no"))[0], frame(PAP, 3, 9, b"\x02no"));
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Refused);
}

#[test]
fn a_client_that_rejects_what_it_agreed_to_is_told() {
    let mut bench = mschap();
    bench.send(LCP, 8, 1, &hex("C223 0100 0018"));
    bench.pass(7 * SECOND);
    assert_eq!(bench.ended().by, EndedBy::Incompatible);
    assert!(bench.ended().cause.contains("rejects CHAP"), "{:?}", bench.ended());
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let mut bench = mschap();
    bench.give(&response(0, "alice", 0xEE));
    let shown = format!("{:?}", bench.questions);
    assert!(!shown.contains("238"), "{shown}");
}
