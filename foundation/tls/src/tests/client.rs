//! Our client's end against our server that asks for certificates.
use super::fixture::{AUTHORITY, DEFAULT_NAME, credential};
use crate::{ClientConnection, ClientSettings, MutualConnection, MutualSettings, ServerFault, TlsError};
use crypto::hash::{HashAlgorithm, hash};
use pki::{Certificate, Credential, Refused, Revocation, TrustAnchors, UnverifiedCrl};
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

/// The authority with a list that revokes the first of `certificates`, if there is one.
fn revoking(revocation: Revocation, certificate: Option<&Certificate>) -> Arc<TrustAnchors> {
    let serial = |certificate: &Certificate| {
        let digits: Vec<u8> = certificate.serial.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        rcgen::SerialNumber::from(digits.chunks(2).map(byte).collect::<Vec<_>>())
    };
    let revoked = |certificate: &Certificate| rcgen::RevokedCertParams {
        serial_number: serial(certificate),
        revocation_time: rcgen::date_time_ymd(2026, 6, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 6, 2),
        next_update: rcgen::date_time_ymd(2099, 1, 1),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: certificate.into_iter().map(revoked).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = UnverifiedCrl::from_bytes(list.signed_by(&AUTHORITY.0).unwrap().der()).unwrap();
    let anchors = roots();
    let list = list.verify(anchors.roots()).unwrap();
    Arc::new((*anchors).clone().with_revocation(revocation, &[Arc::new(list)]))
}

#[test]
fn a_server_whose_certificate_is_revoked_is_refused_also_while_connected() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let is_revoked = |fault: ServerFault| matches!(fault, ServerFault::Refused(why) if matches!(*why, Refused::Revoked { .. }));
    let with = |roots: Arc<TrustAnchors>| settings(DEFAULT_NAME, None).trusting(roots);
    let revoked = with(revoking(Revocation::Soft, Some(server.leaf())));
    assert!(is_revoked(shake(&revoked, &server, NOW).0.unwrap_err()));
    let good = with(revoking(Revocation::Hard, None));
    let client = shake(&good, &server, NOW).0.unwrap();
    assert_eq!(client.check_again(&good, NOW), Ok(()));
    assert!(is_revoked(client.check_again(&revoked, NOW).unwrap_err()));
    // Without any list, hard lets nobody in, and soft everybody.
    let without = |revocation| with(Arc::new((*roots()).clone().with_revocation(revocation, &[])));
    assert!(shake(&without(Revocation::Hard), &server, NOW).0.is_err() && shake(&without(Revocation::Soft), &server, NOW).0.is_ok());
}

#[test]
fn a_client_whose_certificate_is_revoked_is_refused_also_while_connected() {
    let (server, ours) = (credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256), ours());
    let dial = |settings: &MutualSettings| {
        let mut server = MutualConnection::new(settings, NOW).unwrap();
        let mut to_server = Vec::new();
        let asking = ClientSettings::new(Some(&ours), roots(), DEFAULT_NAME.to_owned(), None);
        let mut client = ClientConnection::new(&asking, NOW, &mut to_server).unwrap();
        for _ in 0..3 {
            let mut to_client = Vec::new();
            if server.receive(&std::mem::take(&mut to_server), &mut to_client)? {
                return Ok(server);
            }
            client.receive(&to_client, &mut Vec::new(), &mut to_server).unwrap();
        }
        panic!("no end");
    };
    let is_revoked = |error: TlsError| matches!(error, TlsError::ClientRefused(why) if matches!(*why, Refused::Revoked { .. }));
    let with = |certificate| MutualSettings::new(&server, roots()).trusting(revoking(Revocation::Hard, certificate));
    assert!(is_revoked(dial(&with(Some(ours.leaf()))).unwrap_err()));
    let connection = dial(&with(None)).unwrap();
    assert_eq!(connection.check_again(&with(None), NOW), Ok(()));
    assert!(is_revoked(connection.check_again(&with(Some(ours.leaf())), NOW).unwrap_err()));
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
