//! Our client's end against our server that asks for certificates.
use super::fixture::{AUTHORITY, DEFAULT_NAME, credential};
use crate::{ClientConnection, ClientSettings, MutualConnection, MutualSettings, ServerFault, TlsError};
use crypto::hash::{HashAlgorithm, hash};
use pki::{Certificate, Credential, Refused, TrustAnchors};
use std::sync::Arc;

const NOW: i64 = 1_795_219_200;

fn roots() -> Arc<TrustAnchors> {
    Arc::new(TrustAnchors::new(vec![Certificate::from_der(&AUTHORITY.der()).unwrap()]))
}

fn ours() -> Credential {
    credential(&["gateway.example.test"], &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn settings(name: &str, pin: Option<[u8; 32]>) -> ClientSettings {
    ClientSettings::new(Some(&ours()), roots(), name.to_owned(), pin)
}

/// Until both are done or one gives up.
fn shake(settings: &ClientSettings, server: &Credential, now: i64) -> (Result<ClientConnection, ServerFault>, Result<bool, TlsError>) {
    let mut server = MutualConnection::new(&MutualSettings::new(server, roots()), NOW).unwrap();
    let mut to_server = Vec::new();
    let mut client = match ClientConnection::new(settings, now, &mut to_server) {
        Ok(client) => client,
        Err(fault) => return (Err(fault), Ok(false)),
    };
    let mut served = Ok(false);
    for _ in 0..4 {
        let mut to_client = Vec::new();
        served = server.receive(&std::mem::take(&mut to_server), &mut to_client);
        if served == Ok(true) {
            server.send(b"hello", &mut to_client).unwrap();
        }
        let mut plain = Vec::new();
        if let Err(fault) = client.receive(&to_client, &mut plain, &mut to_server) {
            server.receive(&to_server, &mut Vec::new()).ok();
            return (Err(fault), served);
        }
        if plain == b"hello" {
            break;
        }
    }
    (Ok(client), served)
}

#[test]
fn both_show_certificates_and_data_flows() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let pin = hash(HashAlgorithm::Sha256, &[&server.leaf().der]).try_into().unwrap();
    for pin in [None, Some(pin)] {
        let (client, served) = shake(&settings(DEFAULT_NAME, pin), &server, NOW);
        assert_eq!(served, Ok(true));
        let mut client = client.unwrap();
        assert!(!client.is_handshaking());
        assert_eq!(client.version(), "TLS 1.3");
        let mut out = Vec::new();
        client.send(b"question", &mut out).unwrap();
        client.close(&mut out);
        assert!(out.len() > 8 && !out.windows(8).any(|window| window == b"question"));
    }
}

#[test]
fn a_server_is_refused_for_its_name_its_authority_its_time_and_its_pin() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let refused = |settings: &ClientSettings, now| shake(settings, &server, now).0.unwrap_err();
    assert!(
        matches!(refused(&settings("other.example.test", None), NOW), ServerFault::Refused(why) if matches!(*why, Refused::WrongName { .. }))
    );
    assert!(
        matches!(refused(&settings(DEFAULT_NAME, None), 200_000_000_000), ServerFault::Refused(why) if matches!(*why, Refused::Expired { .. }))
    );
    let strangers = ClientSettings::new(None, Arc::new(TrustAnchors::new(Vec::new())), DEFAULT_NAME.to_owned(), None);
    assert!(matches!(refused(&strangers, NOW), ServerFault::Refused(why) if matches!(*why, Refused::UnknownIssuer { .. })));
    let fault = refused(&settings(DEFAULT_NAME, Some([0xa1; 32])), NOW);
    assert!(matches!(&fault, ServerFault::NotPinned { pinned, .. } if *pinned == "a1".repeat(32)), "{fault}");
    assert!(matches!(refused(&settings("no name", None), NOW), ServerFault::Name { .. }));
}

#[test]
fn a_client_without_a_certificate_is_told_why_it_fails() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let bare = ClientSettings::new(None, roots(), DEFAULT_NAME.to_owned(), None);
    let (client, served) = shake(&bare, &server, NOW);
    assert_eq!(served, Err(TlsError::NoClientCertificate));
    let fault = client.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the server sent the TLS alert certificate_required (116); does it accept the certificate that this gateway shows?"
    );
}

#[test]
fn protocols_are_offered_and_a_server_that_says_nothing_has_chosen_none() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let settings = settings(DEFAULT_NAME, None).offering(&[b"radius/1.1", b"radius/1.0"]);
    assert!(settings.offers(b"radius/1.0") && !settings.offers(b"http/1.1"));
    let mut hello = Vec::new();
    ClientConnection::new(&settings, NOW, &mut hello).unwrap();
    let names = b"\x00\x16\x0aradius/1.1\x0aradius/1.0";
    assert!(hello.windows(names.len()).any(|window| window == names));
    assert_eq!(shake(&settings, &server, NOW).0.unwrap().protocol(), None);
}
