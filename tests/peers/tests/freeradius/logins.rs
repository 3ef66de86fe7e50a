//! Logins by PAP, CHAP and MS-CHAPv2.
use super::{nas, what_it_read};
use crate::server::{FreeRadius, SECRET, in_namespace};
use crate::shell::{self, Shell};
use crypto::Zeroizing;
use crypto::hash::md5;
use peers::mschapv2::Exchange;
use radius_client::*;

const CHALLENGE: [u8; 16] = *b"sixteen randomly";
const PEER_CHALLENGE: [u8; 16] = *b"and the client's";

fn login(shell: &mut Shell, user: &str, credentials: Credentials) -> LoginOutcome {
    let sstp = NasContext {
        tunnel_type: TUNNEL_TYPE_SSTP,
        ras_client_name: Some("MSRAS-0-DESKTOP".into()),
        ras_client_version: Some("MSRASV5.20".into()),
        ras_correlation_id: Some("{5DC53D72-9815-4E97-AC91-339BAFEA6C48}".into()),
        ..nas()
    };
    let (ticket, conversation, user_name) = (Ticket(1), ConversationId(1), user.as_bytes().to_vec());
    match shell.run(Input::Login { ticket, conversation, group: None, user_name, credentials, nas: Box::new(sstp) }) {
        Output::Login { ticket: Ticket(1), outcome } => outcome,
        other => panic!("{other:?}"),
    }
}

fn pap(password: &str) -> Credentials {
    Credentials::Pap { password: Zeroizing::new(password.into()) }
}

fn chap(password: &str) -> Credentials {
    let response = md5(&[&[7], password.as_bytes(), &CHALLENGE]);
    Credentials::Chap { identifier: 7, challenge: CHALLENGE.to_vec(), response }
}

fn exchange(user: &str, password: &str) -> Exchange {
    let password = Zeroizing::new(password.into());
    Exchange { authenticator_challenge: CHALLENGE, peer_challenge: PEER_CHALLENGE, user: user.into(), password }
}

fn ms_chap(exchange: &Exchange) -> Credentials {
    let mut response = [0; 49];
    response[..16].copy_from_slice(&exchange.peer_challenge);
    response[24..48].copy_from_slice(&exchange.nt_response());
    Credentials::MsChapV2 { identifier: 9, challenge: CHALLENGE, response }
}

/// A server and a client for it. FreeRADIUS before 3.2.5 puts no Message-Authenticator into answers that have no EAP.
fn pair() -> (FreeRadius, Shell) {
    let radius = FreeRadius::start();
    (radius, Shell::new(Server { require_message_authenticator: RequireMessageAuthenticator::No, ..shell::server(SECRET) }))
}

fn rejected(outcome: LoginOutcome) -> (Option<String>, Option<String>) {
    let LoginOutcome::Reject { server, reply_message, ms_chap_error } = outcome else { panic!("{outcome:?}") };
    assert_eq!(server, "freeradius");
    (reply_message, ms_chap_error.map(|text| String::from_utf8(text).unwrap()))
}

#[test]
fn pap_and_chap() {
    in_namespace("logins::pap_and_chap", || {
        let (radius, mut shell) = pair();
        let long = "a password of more than sixteen bytes";
        for credentials in [pap(long), chap(long)] {
            let outcome = login(&mut shell, "bob", credentials);
            let LoginOutcome::Accept { accept, ms_chap_success: None, .. } = outcome else {
                panic!("{outcome:?}\n{}", radius.read("debug"))
            };
            assert_eq!(accept.nbns, [std::net::Ipv4Addr::new(10, 99, 10, 42), std::net::Ipv4Addr::new(10, 99, 10, 43)]);
            assert!(accept.msk.is_empty());
        }
        for credentials in [pap("a password of more than sixteen"), pap(""), chap("guess")] {
            assert_eq!(rejected(login(&mut shell, "bob", credentials)), (None, None));
        }
        assert_eq!(rejected(login(&mut shell, "dave", pap("password"))).0.as_deref(), Some("ask the service desk"));
        what_it_read(
            &radius.read("requests"),
            &[
                "CHAP-Challenge = 0x7369787465656e2072616e646f6d6c79",
                "Tunnel-Type:0 = 79617",
                "MS-RAS-Vendor = 311",
                "MS-RAS-Version = \"MSRASV5.20\"",
                "MS-RAS-Client-Name = \"MSRAS-0-DESKTOP\"",
                "MS-RAS-Client-Version = \"MSRASV5.20\"",
                "MS-RAS-Correlation = 0x7b35444335334437322d393831352d344539372d414339312d3333394241464541364334387d",
                "MS-Network-Access-Server-Type = Remote-Access-Server",
            ],
        );
    });
}

#[test]
fn ms_chap_v2_with_the_same_keys_on_both_sides() {
    in_namespace("logins::ms_chap_v2_with_the_same_keys_on_both_sides", || {
        let (radius, mut shell) = pair();
        for user in ["alice", "EXAMPLE\\alice"] {
            let client = exchange(user, "password");
            let outcome = login(&mut shell, user, ms_chap(&client));
            let LoginOutcome::Accept { accept, ms_chap_success, .. } = outcome else { panic!("{outcome:?}\n{}", radius.read("debug")) };
            assert_eq!(ms_chap_success, Some(client.authenticator_response().into_bytes()));
            assert_eq!(*accept.msk, *client.msk());
            assert_eq!(accept.framed_ip, Some(FramedIp::Fixed([10, 98, 200, 7].into())));
        }
        assert_eq!(shell.transmitted.len(), 2, "one round a login");
        let told = shell.changes.iter().map(|change| format!("{change:?}")).collect::<Vec<_>>();
        assert_eq!(told, ["Ignored(AttributeId { vendor: 311, number: 7 })", "Ignored(AttributeId { vendor: 311, number: 8 })"], "once");
    });
}

#[test]
fn ms_chap_v2_says_why_not_and_lets_the_client_try_again() {
    in_namespace("logins::ms_chap_v2_says_why_not_and_lets_the_client_try_again", || {
        let (_radius, mut shell) = pair();
        let (_, error) = rejected(login(&mut shell, "alice", ms_chap(&exchange("alice", "guess"))));
        let error = error.unwrap();
        let digits = error.strip_prefix("E=691 R=1 C=").filter(|rest| rest[32..].starts_with(" V=3 M="));
        let digits = digits.unwrap_or_else(|| panic!("{error}"));
        let challenge: [u8; 16] = std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap());
        let mut again = exchange("alice", "password");
        again.authenticator_challenge = challenge;
        let mut credentials = ms_chap(&again);
        if let Credentials::MsChapV2 { challenge: sent, .. } = &mut credentials {
            *sent = challenge;
        }
        let outcome = login(&mut shell, "alice", credentials);
        assert!(matches!(outcome, LoginOutcome::Accept { .. }), "{outcome:?}");
    });
}

/// This server changes no passwords, but it takes the request apart.
#[test]
fn a_change_of_an_expired_password_arrives_in_its_form() {
    in_namespace("logins::a_change_of_an_expired_password_arrives_in_its_form", || {
        let (radius, mut shell) = pair();
        let (_, error) = rejected(login(&mut shell, "carol", ms_chap(&exchange("carol", "old"))));
        assert!(error.as_ref().is_some_and(|error| error.starts_with("E=648 ") && error.contains(" V=3 ")), "{error:?}");
        let client = exchange("carol", "new");
        let change = Credentials::MsChapV2Change {
            identifier: 11,
            challenge: CHALLENGE,
            encrypted_password: Box::new(Zeroizing::new([0x5a; 516])),
            encrypted_hash: [0xe1; 16],
            peer_challenge: client.peer_challenge,
            nt_response: client.nt_response(),
            flags: [0; 2],
        };
        let (_, error) = rejected(login(&mut shell, "carol", change));
        assert_eq!(error.as_deref(), Some("E=709 R=0 M=Password change failed"));
        let debug = radius.read("debug");
        assert!(debug.contains("Password change payload valid"), "{debug}");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let written = [&[7, 11][..], &[0xe1; 16], &client.peer_challenge, &[0; 8], &client.nt_response(), &[0, 0]].concat();
        let piece = |sequence, length| format!("MS-CHAP-NT-Enc-PW = 0x060b000{sequence}{}", "5a".repeat(length));
        let lines = [format!("MS-CHAP2-CPW = 0x{}", hex(&written)), piece(1, 243), piece(2, 243), piece(3, 30)];
        what_it_read(&radius.read("requests"), &lines.each_ref().map(String::as_str));
    });
}
