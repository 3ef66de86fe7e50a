//! Logins that are not EAP: what leaves, what the answers mean, how they share the machine with EAP.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use crypto::Zeroizing;
use proptest::prelude::*;
use radius_client::*;

const SUCCESS: &str = "S=407A5589115FD0D6209F510FE9C04566932CDA56";

fn two() -> Client {
    client(vec![server("nps1", 1), server("nps2", 2)])
}

fn request(credentials: Credentials) -> Sent {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), login(1, 1, credentials));
    only_sent(&drain(&mut client))
}

/// The values of Microsoft's attributes of one type.
fn vendor(request: &Sent, vendor_type: u8) -> Vec<Vec<u8>> {
    let ours = |value: &Vec<u8>| value[..5] == [0, 0, 1, 0x37, vendor_type] && usize::from(value[5]) == value.len() - 4;
    request.attributes().into_iter().filter(|(number, value)| *number == 26 && ours(value)).map(|(_, value)| value[6..].to_vec()).collect()
}

/// The outcome of one login whose answer has this code and these attributes.
fn answered(credentials: Credentials, code: u8, attributes: &[(u8, Vec<u8>)]) -> LoginOutcome {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), login(1, 1, credentials));
    let request = only_sent(&drain(&mut client));
    client.handle(start(), request.datagram(reply(code, &request, attributes)));
    let mut outcomes = login_outcomes(drain(&mut client));
    assert_eq!(outcomes.len(), 1);
    assert_eq!(client.poll_timeout(), None, "the conversation is over, whatever came");
    outcomes.remove(0).1
}

fn failure(mut outcomes: Vec<(u64, LoginOutcome)>) -> RequestFailure {
    match outcomes.remove(0).1 {
        LoginOutcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pap_hides_the_password() {
    let sent = request(pap(b"correct horse battery"));
    assert_eq!(password(&sent, SECRET), b"correct horse battery");
    assert_ne!(password(&sent, b"other"), b"correct horse battery");
    assert_eq!(sent.attributes()[0].0, 80, "Message-Authenticator comes first");
    assert_eq!((sent.get(79), sent.get(12), sent.get(24)), (None, None, None), "nothing of EAP");
    assert!(!sent.bytes.windows(7).any(|window| window == b"correct"));
}

#[test]
fn chap_carries_identifier_response_and_challenge() {
    let sent = request(Credentials::Chap { identifier: 0x16, challenge: vec![7; 23], response: [0xab; 16] });
    assert_eq!(sent.get(3).unwrap(), [&[0x16][..], &[0xab; 16]].concat());
    assert_eq!(sent.get(60).unwrap(), [7; 23]);
    assert_eq!(sent.get(2), None);
}

/// RFC 2548 sections 2.1.2 and 2.3.2, the values of RFC 2759 section 9.2.
#[test]
fn ms_chap_v2_in_the_order_of_the_attribute() {
    let hex =
        |text: &str| -> Vec<u8> { (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect() };
    let (challenge, peer) = (hex("5B5D7C7D7B3F2F3E3C2C602132262628"), hex("21402324255E262A28295F2B3A337C7E"));
    let nt_response = hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
    let response: [u8; 49] = [&peer[..], &[0; 8], &nt_response, &[0x5a]].concat().try_into().unwrap();
    let sent = request(Credentials::MsChapV2 { identifier: 9, challenge: challenge.clone().try_into().unwrap(), response });
    assert_eq!(vendor(&sent, 11), [challenge]);
    // Ident, Flags, Peer-Challenge, Reserved, Response.
    assert_eq!(vendor(&sent, 25), [[&[9, 0x5a][..], &peer, &[0; 8], &nt_response].concat()]);
    assert_eq!((sent.get(2), sent.get(3)), (None, None));
}

/// RFC 2548 sections 2.1.9 and 2.3.4.
#[test]
fn a_changed_password_travels_in_three_pieces() {
    let encrypted: [u8; 516] = std::array::from_fn(|index| (index / 3) as u8);
    let sent = request(Credentials::MsChapV2Change {
        identifier: 3,
        challenge: [0xc1; 16],
        encrypted_password: Box::new(Zeroizing::new(encrypted)),
        encrypted_hash: [0xe1; 16],
        peer_challenge: [0xe2; 16],
        nt_response: [0xe3; 24],
        flags: [0xf1, 0xf2],
    });
    assert_eq!(vendor(&sent, 11), [[0xc1; 16]]);
    let change = [&[7, 3][..], &[0xe1; 16], &[0xe2; 16], &[0; 8], &[0xe3; 24], &[0xf1, 0xf2]].concat();
    assert_eq!((change.len(), vendor(&sent, 27)), (68, vec![change]));
    let pieces = vendor(&sent, 6);
    let heads: Vec<_> = pieces.iter().map(|piece| (piece[..4].to_vec(), piece.len() - 4)).collect();
    assert_eq!(heads, [(vec![6, 3, 0, 1], 243), (vec![6, 3, 0, 2], 243), (vec![6, 3, 0, 3], 30)]);
    assert_eq!(pieces.iter().flat_map(|piece| &piece[4..]).copied().collect::<Vec<_>>(), encrypted);
    assert!(vendor(&sent, 25).is_empty());
}

#[test]
fn what_the_client_says_of_itself_goes_in_only_in_its_form() {
    let sent = |name: &str, version: &str, id: &str| {
        let mut client = client(vec![server("nps1", 1)]);
        let some = |text: &str| Some(text.to_owned());
        let nas = NasContext { ras_client_name: some(name), ras_client_version: some(version), ras_correlation_id: some(id), ..nas() };
        let (ticket, conversation) = (Ticket(1), ConversationId(1));
        client.handle(
            start(),
            Input::Login { ticket, conversation, group: None, user_name: vec![b'a'], credentials: pap(b"p"), nas: Box::new(nas) },
        );
        let request = only_sent(&drain(&mut client));
        (vendor(&request, 34), vendor(&request, 35), vendor(&request, 56))
    };
    let guid = correlation_id(&[0x72, 0x3d, 0xc5, 0x5d, 0x15, 0x98, 0x97, 0x4e, 0xac, 0x91, 0x33, 0x9b, 0xaf, 0xea, 0x6c, 0x48]);
    assert_eq!(guid, "{5DC53D72-9815-4E97-AC91-339BAFEA6C48}");
    let whole = sent("MSRAS-0-DESKTOP", "MSRASV5.20", &guid);
    assert_eq!(whole, (vec![b"MSRAS-0-DESKTOP\0".to_vec()], vec![b"MSRASV5.20".to_vec()], vec![guid.clone().into_bytes()]));
    assert_eq!(sent("MSRAS-0-DESKTOP\0junk", "MSRASV5.20\0", &guid), whole, "what follows a zero byte does not count");
    assert_eq!(sent(&"x".repeat(32), "", "").0[0].len(), 33);
    let nothing = (vec![], vec![], vec![]);
    assert_eq!(sent(&"x".repeat(33), &"x".repeat(33), &guid[1..]), nothing);
    assert_eq!(sent("PC\u{e9}", "a\nb", &guid.replace('-', "+")), nothing);
    assert_eq!(sent("\0", " ", &correlation_id(&[0; 16])), nothing, "the zero GUID means none");
    assert_eq!(sent("", "", &guid[..30]).2, nothing.2);
}

#[test]
fn an_accept_for_ms_chap_v2_needs_the_servers_proof() {
    let accepted = |value: &[u8]| match answered(ms_chap(4), 2, &[microsoft(26, value)]) {
        LoginOutcome::Accept { server, ms_chap_success, .. } => Ok((server, ms_chap_success.unwrap())),
        LoginOutcome::Failed(failure @ RequestFailure::BadReply { .. }) => Err(failure.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(accepted(format!("\u{4}{SUCCESS}").as_bytes()), Ok(("nps1".into(), SUCCESS.into())));
    for welcome in [&b" M=Welcome"[..], b" M=Gr\xfc\xdfe aus K\xf6ln \xff\x00", "M=\u{3053}\u{3093}".as_bytes()] {
        let message = [SUCCESS.as_bytes(), welcome].concat();
        assert_eq!(accepted(&[b"\x04", &message[..]].concat()), Ok(("nps1".into(), message)), "unchanged, whatever its encoding");
    }
    for wrong in [
        &b""[..],
        b"\x04",
        b"\x04S=",
        format!("\u{4}{}", &SUCCESS[..41]).as_bytes(),
        format!("\u{4}X{}", &SUCCESS[1..]).as_bytes(),
        &[&b"\x04S="[..], &[0xff; 40]].concat(),
    ] {
        let error = accepted(wrong).unwrap_err();
        assert!(error.contains("nps1") && error.contains("MS-CHAP2-Success"), "{error}");
    }
    let missing = failure(vec![(1, answered(ms_chap(4), 2, &[]))]).to_string();
    assert!(missing.contains("Access-Accept without MS-CHAP2-Success"), "{missing}");
    let LoginOutcome::Accept { ms_chap_success: None, .. } = answered(pap(b"p"), 2, &[microsoft(26, b"\x04S=")]) else {
        panic!("PAP has no such proof");
    };
}

#[test]
fn an_accept_brings_keys_and_name_servers() {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), login(1, 1, ms_chap(4)));
    let request = only_sent(&drain(&mut client));
    let attributes = [
        microsoft(26, format!("\u{4}{SUCCESS}").as_bytes()),
        mppe(17, &[1; 16], [0x80, 1], &request, SECRET),
        mppe(16, &[2; 16], [0x80, 2], &request, SECRET),
        microsoft(28, &[10, 0, 0, 53]),
        microsoft(30, &[10, 0, 0, 42]),
        microsoft(31, &[10, 0, 0, 43]),
        microsoft(31, &[0, 0, 0, 0]),
    ];
    client.handle(start(), request.datagram(reply(2, &request, &attributes)));
    let LoginOutcome::Accept { accept, .. } = login_outcomes(drain(&mut client)).remove(0).1 else { panic!("an Accept") };
    assert_eq!(*accept.msk, [[1; 16], [2; 16], [0; 16], [0; 16]].concat());
    assert_eq!((accept.dns.len(), accept.nbns), (1, vec![[10, 0, 0, 42].into(), [10, 0, 0, 43].into()]));
    let short = failure(vec![(1, answered(pap(b"p"), 2, &[microsoft(30, &[10, 0, 0])]))]).to_string();
    assert!(short.contains("MS-Primary-NBNS-Server"), "{short}");
}

#[test]
fn a_reject_passes_the_error_on() {
    for reason in [&b"Authentication failure"[..], b"Kennwort ung\xfcltig \xff"] {
        let text = [b"E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=", reason].concat();
        let outcome = answered(ms_chap(4), 3, &[microsoft(2, &[b"\x04", &text[..]].concat()), (18, b"no".to_vec())]);
        let LoginOutcome::Reject { server, reply_message, ms_chap_error } = outcome else { panic!("{outcome:?}") };
        assert_eq!((server.as_str(), reply_message.as_deref(), ms_chap_error), ("nps1", Some("no"), Some(text)));
    }
    let plain = answered(pap(b"p"), 3, &[]);
    assert!(matches!(plain, LoginOutcome::Reject { reply_message: None, ms_chap_error: None, .. }), "{plain:?}");
}

#[test]
fn a_challenge_is_a_reject_that_says_so() {
    let outcome = answered(pap(b"p"), 11, &[(18, b"Enter the code".to_vec()), (24, vec![1])]);
    let LoginOutcome::Reject { reply_message: Some(why), ms_chap_error: None, .. } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("Access-Challenge (Enter the code): PAP cannot answer one"), "{why}");
}

#[test]
fn another_try_begins_anew_wherever_the_last_one_ended() {
    let mut client = two();
    client.handle(start(), login(1, 1, ms_chap(4)));
    let first = only_sent(&drain(&mut client));
    client.handle(start(), first.datagram(reply(3, &first, &[(24, vec![9])])));
    drain(&mut client);
    client.handle(start(), login(2, 1, ms_chap(5)));
    let second = only_sent(&drain(&mut client));
    assert_eq!(second.get(24), None);
    assert_ne!(second.authenticator(), first.authenticator());
    client.handle(start(), second.datagram(reply(3, &second, &[])));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(2, LoginOutcome::Reject { .. })]));
}

#[test]
fn a_login_takes_nothing_from_an_eap_conversation_before_it() {
    let mut client = two();
    client.handle(start(), ask(1, 1, &eap_packet(2, 1, &[26])));
    let eap = only_sent(&drain(&mut client));
    client.handle(start(), eap.datagram(reply(11, &eap, &[(79, eap_packet(1, 2, &[26])), (24, vec![7])])));
    drain(&mut client);
    client.handle(start(), login(2, 1, pap(b"p")));
    let request = only_sent(&drain(&mut client));
    assert_eq!(request.get(24), None, "State belongs to EAP");
    client.handle(start(), request.datagram(reply(2, &request, &[])));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(2, LoginOutcome::Accept { .. })]));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn the_same_credentials_share_one_request_and_others_replace_it() {
    let mut client = two();
    client.handle(start(), login(1, 1, ms_chap(4)));
    let first = only_sent(&drain(&mut client));
    client.handle(start(), login(2, 1, ms_chap(4)));
    assert!(drain(&mut client).is_empty(), "nothing is asked twice");
    client.handle(start(), login(3, 1, ms_chap(5)));
    let outputs = drain(&mut client);
    let replaced = only_sent(&outputs);
    let forgotten = login_outcomes(outputs);
    assert_eq!(forgotten.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 2]);
    assert!(forgotten.iter().all(|(_, outcome)| matches!(outcome, LoginOutcome::Failed(RequestFailure::Forgotten))));
    client.handle(start(), first.datagram(reply(3, &first, &[])));
    assert!(drain(&mut client).is_empty(), "nobody waits for the first answer");
    client.handle(start(), login(4, 1, ms_chap(5)));
    client.handle(start(), replaced.datagram(reply(3, &replaced, &[])));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(3, LoginOutcome::Reject { .. }), (4, LoginOutcome::Reject { .. })]));
    client.handle(start(), login(5, 1, pap(b"p")));
    drain(&mut client);
    client.handle(start(), login_as("bob", 6, 1, pap(b"p")));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(5, LoginOutcome::Failed(RequestFailure::Forgotten))]), "another name");
    client.handle(start(), Input::Forget(ConversationId(1)));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(6, LoginOutcome::Failed(RequestFailure::Forgotten))]));
}

#[test]
fn every_field_tells_credentials_apart() {
    let change = |at: usize| {
        let mut pieces = [[0u8; 24]; 7];
        if let Some(piece) = pieces.get_mut(at) {
            piece[1] = 1;
            piece[0] = u8::from(at == 0);
        }
        let mut encrypted_password = Box::new(Zeroizing::new([0; 516]));
        encrypted_password[..24].copy_from_slice(&pieces[2]);
        Credentials::MsChapV2Change {
            identifier: pieces[0][0],
            challenge: pieces[1][..16].try_into().unwrap(),
            encrypted_password,
            encrypted_hash: pieces[3][..16].try_into().unwrap(),
            peer_challenge: pieces[4][..16].try_into().unwrap(),
            nt_response: pieces[5],
            flags: pieces[6][..2].try_into().unwrap(),
        }
    };
    let chap = |identifier, challenge: &[u8], last| Credentials::Chap {
        identifier,
        challenge: challenge.to_vec(),
        response: std::array::from_fn(|index| if index == 15 { last } else { 0 }),
    };
    let mut all: Vec<_> = (0..=7).map(change).collect();
    all.extend([chap(0, &[0], 0), chap(1, &[0], 0), chap(0, &[1], 0), chap(0, &[0, 0], 0), chap(0, &[0], 1)]);
    all.extend([pap(b""), pap(b"a"), pap(b"a\0"), ms_chap(0), ms_chap(1)]);
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            assert_eq!(a == b, i == j, "{a:?} {i} {b:?} {j}");
        }
    }
}

#[test]
fn a_silent_server_hands_over_to_the_next_with_the_password_hidden_anew() {
    let other = Server { secret: Zeroizing::new(b"another secret".to_vec()), ..server("nps2", 2) };
    let mut client = client(vec![server("nps1", 1), other]);
    client.handle(start(), login(1, 1, pap(b"password")));
    let first = only_sent(&drain(&mut client));
    let mut all = Vec::new();
    while let Some(at) = client.poll_timeout() {
        client.handle(at, Input::Timeout);
        all.extend(drain(&mut client));
    }
    let transmitted = sent(&all);
    let (repeats, second): (Vec<_>, Vec<_>) = transmitted.iter().partition(|request| request.to == first.to);
    assert!(repeats.len() == 2 && repeats.iter().all(|repeat| repeat.bytes == first.bytes), "a repetition is identical");
    assert_eq!(second.len(), 3);
    assert_eq!(password(second[0], b"another secret"), b"password");
    assert_ne!(second[0].authenticator(), first.authenticator());
    let silent = failure(login_outcomes(all));
    assert!(matches!(&silent, RequestFailure::Silent { server, tries: 6, .. } if server == "nps1, nps2"), "{silent}");
}

#[test]
fn a_closed_port_hands_over_at_once() {
    let mut client = two();
    client.handle(start(), login(1, 1, pap(b"p")));
    let first = only_sent(&drain(&mut client));
    client.handle(start(), Input::Unreachable { socket: first.socket, to: first.to });
    let second = only_sent(&drain(&mut client));
    assert_ne!(second.to, first.to);
    client.handle(start(), second.datagram(reply(2, &second, &[])));
    assert!(matches!(&login_outcomes(drain(&mut client))[..], [(1, LoginOutcome::Accept { server, .. })] if server == "nps2"));
}

#[test]
fn what_cannot_be_written_is_an_error_with_its_name() {
    let chap = |length| Credentials::Chap { identifier: 1, challenge: vec![1; length], response: [0; 16] };
    for (user, credentials, wanted) in [
        ("alice", pap(&[b'p'; 129]), "a password of 129 bytes"),
        ("", pap(b"p"), "no user name"),
        ("alice", chap(254), "CHAP-Challenge of 254 bytes does not fit"),
    ] {
        let mut client = two();
        client.handle(start(), login_as(user, 1, 1, credentials));
        let failure = failure(login_outcomes(drain(&mut client)));
        assert!(matches!(failure, RequestFailure::Unsendable { .. }) && failure.to_string().contains(wanted), "{failure}");
        assert_eq!(client.poll_timeout(), None);
    }
    assert_eq!(password(&request(pap(&[b'p'; 128])), SECRET), [b'p'; 128]);
    assert_eq!(request(pap(b"")).get(2).unwrap().len(), 16, "an empty password is one block of padding");
    let mut none = client(Vec::new());
    none.handle(start(), login(1, 1, pap(b"p")));
    assert_eq!(failure(login_outcomes(drain(&mut none))), RequestFailure::NoServer);
}

#[test]
fn debug_says_no_secret() {
    let text = format!("{:?}", login(1, 1, pap(b"hunter2")));
    assert!(text.contains("PAP") && !text.contains("hunter2") && !text.contains("104, 117"), "{text}");
    assert_eq!(format!("{:?}", ms_chap(1)), "MS-CHAPv2(..)");
}

proptest! {
    #[test]
    fn any_password_up_to_128_bytes_comes_out_again(mut secret in prop::collection::vec(any::<u8>(), 0..=128)) {
        let sent = request(pap(&secret));
        while secret.last() == Some(&0) {
            secret.pop();
        }
        prop_assert_eq!(password(&sent, SECRET), secret);
    }

    /// Whatever an authentic server writes: one outcome, and no Accept for MS-CHAPv2 without the proof its client waits for.
    #[test]
    fn any_reply_decides_once(
        code in prop::sample::select(vec![2u8, 3, 11]),
        proof in 0..3usize,
        attributes in prop::collection::vec((prop::sample::select(vec![6u8, 7, 8, 18, 24, 25, 27, 79]), prop::collection::vec(any::<u8>(), 0..60)), 0..4),
        vendor in prop::collection::vec((prop::sample::select(vec![2u8, 16, 17, 26, 28, 30]), prop::collection::vec(any::<u8>(), 0..60)), 0..4),
        proven: bool,
    ) {
        let credentials = [pap(b"p"), ms_chap(1), Credentials::Chap { identifier: 1, challenge: vec![1], response: [0; 16] }][proof].clone();
        let proof_of_server = proven.then(|| microsoft(26, format!("\u{1}{SUCCESS}").as_bytes()));
        let vendor = vendor.iter().map(|(number, value)| microsoft(*number, value));
        let all: Vec<_> = proof_of_server.into_iter().chain(attributes).chain(vendor).collect();
        match answered(credentials, code, &all) {
            LoginOutcome::Accept { ms_chap_success, .. } => {
                prop_assert_eq!(code, 2);
                prop_assert_eq!(ms_chap_success.as_deref(), (proof == 1).then_some(SUCCESS.as_bytes()));
            }
            LoginOutcome::Reject { .. } => prop_assert_ne!(code, 2),
            LoginOutcome::Failed(failure) => {
                let bad_reply = matches!(failure, RequestFailure::BadReply { .. });
                prop_assert!(code == 2 && bad_reply);
            }
        }
    }
}

/// Service-Type of an Accept may repeat that of the request, or be Framed; to others but certificates Authorize-Only grants nothing.
#[test]
fn a_certificate_is_authorized_without_a_password() {
    let accepted = |credentials, service: u8| match answered(credentials, 2, &[(6, vec![0, 0, 0, service]), (25, b"devices".to_vec())]) {
        LoginOutcome::Accept { accept, ms_chap_success: None, .. } => Some(accept.class.clone()),
        LoginOutcome::Failed(RequestFailure::BadReply { .. }) => None,
        other => panic!("{other:?}"),
    };
    let granted = Some(vec![b"devices".to_vec()]);
    assert_eq!(accepted(Credentials::Certificate, 17), granted);
    assert_eq!(accepted(Credentials::Certificate, 2), granted);
    assert_eq!(accepted(Credentials::Certificate, 6), None);
    assert_eq!(accepted(pap(b"p"), 17), None);
    let sent = request(Credentials::Certificate);
    assert_eq!(sent.attributes()[0].0, 80, "Message-Authenticator comes first");
    assert_eq!((sent.get(2), sent.get(3), sent.get(79)), (None, None, None), "no proof of any kind");
}
