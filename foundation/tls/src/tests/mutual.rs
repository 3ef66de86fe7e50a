//! Handshakes with client certificates, and the keys that come of them.
use super::fixture::{AUTHORITY, DEFAULT_NAME, client, client_config, credential, feed, flush};
use crate::{MutualConnection, MutualSettings, TlsError};
use pki::{Certificate, TrustAnchors};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};
use std::sync::Arc;

const NOW: i64 = 1_795_219_200;

fn settings() -> MutualSettings {
    let roots = TrustAnchors::new(vec![Certificate::from_der(&AUTHORITY.der()).unwrap()]);
    MutualSettings::new(&credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256), Arc::new(roots))
}

/// A client with a certificate of the authority, or with none.
fn connect(version: &'static SupportedProtocolVersion, with_certificate: bool) -> ClientConnection {
    let mut config = client_config(&[version]);
    if with_certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "tina");
        let der = CertificateDer::from(params.signed_by(&key, &AUTHORITY.0).unwrap().der().to_vec());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        config.client_auth_cert_resolver =
            Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![der], signer)));
    }
    client(config, DEFAULT_NAME)
}

fn shake(client: &mut ClientConnection, server: &mut MutualConnection) -> Result<bool, TlsError> {
    let mut done = false;
    for _ in 0..6 {
        let mut out = Vec::new();
        let result = server.receive(&flush(client), &mut out);
        feed(client, &out).ok();
        done |= result?;
    }
    Ok(done)
}

#[test]
fn both_ends_export_the_same_keys() {
    for version in [&TLS12, &TLS13] {
        let (mut client, mut server) = (connect(version, true), MutualConnection::new(&settings(), NOW).unwrap());
        assert!(server.export(b"label", None, &mut [0; 32]).is_err());
        assert!(shake(&mut client, &mut server).unwrap());
        assert_eq!(server.is_tls13(), version.version == TLS13.version);
        assert_eq!(server.client_certificate().unwrap().common_name.as_deref(), Some("tina"));
        let mut ours = [0; 128];
        server.export(b"label", Some(&[13]), &mut ours).unwrap();
        assert_eq!(client.export_keying_material([0; 128], b"label", Some(&[13])).unwrap(), ours);
        let mut out = Vec::new();
        server.send(&[0], &mut out).unwrap();
        feed(&mut client, &out).unwrap();
        let mut got = [0; 2];
        assert_eq!((std::io::Read::read(&mut client.reader(), &mut got).unwrap(), got[0]), (1, 0));
    }
}

#[test]
fn where_a_certificate_is_optional_a_bad_one_is_refused_all_the_same() {
    for version in [&TLS12, &TLS13] {
        let mut server = MutualConnection::new(&settings().or_without(), NOW).unwrap();
        assert!(shake(&mut connect(version, false), &mut server).unwrap());
        assert!(server.client_certificate().is_none());
        let mut server = MutualConnection::new(&settings().or_without(), NOW).unwrap();
        assert!(shake(&mut connect(version, true), &mut server).unwrap());
        assert!(server.client_certificate().is_some());
        let mut server = MutualConnection::new(&settings().or_without(), 200_000_000_000).unwrap();
        assert!(shake(&mut connect(version, true), &mut server).is_err());
        let nobody = settings().trusting(Arc::new(TrustAnchors::new(Vec::new()))).or_without();
        let mut server = MutualConnection::new(&nobody, NOW).unwrap();
        assert!(shake(&mut connect(version, true), &mut server).unwrap(), "where none is asked for, none is shown");
        assert!(server.client_certificate().is_none());
    }
}

#[test]
fn without_a_good_certificate_nobody_gets_through() {
    for version in [&TLS12, &TLS13] {
        let mut server = MutualConnection::new(&settings(), NOW).unwrap();
        assert_eq!(shake(&mut connect(version, false), &mut server).unwrap_err(), TlsError::NoClientCertificate);
        // Long after every certificate has expired.
        let mut server = MutualConnection::new(&settings(), 200_000_000_000).unwrap();
        let error = shake(&mut connect(version, true), &mut server).unwrap_err();
        assert!(matches!(&error, TlsError::ClientRefused(refused) if matches!(**refused, pki::Refused::Expired { .. })), "{error}");
    }
}

#[test]
fn one_client_alone_is_taken_where_one_is_named() {
    let server = credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256);
    let ours = credential(&["gateway.example.test"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let pin: [u8; 32] = crypto::hash::hash(crypto::hash::HashAlgorithm::Sha256, &[&ours.leaf().der]).try_into().unwrap();
    let roots = || Arc::new(TrustAnchors::new(vec![Certificate::from_der(&AUTHORITY.der()).unwrap()]));
    let shake = |name: &str, pin| {
        let settings = MutualSettings::new(&server, roots()).of_client(name.into(), pin);
        let ours = crate::ClientSettings::new(Some(&ours), roots(), DEFAULT_NAME.into(), None);
        let mut server = MutualConnection::new(&settings, NOW).unwrap();
        let mut to_server = Vec::new();
        let mut client = crate::ClientConnection::new(&ours, NOW, &mut to_server).unwrap();
        let (mut received, mut to_client) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            server.receive_data(&std::mem::take(&mut to_server), &mut received, &mut to_client)?;
            client.receive(&std::mem::take(&mut to_client), &mut Vec::new(), &mut to_server).unwrap();
        }
        client.send(b"a request", &mut to_server).unwrap();
        client.close(&mut to_server);
        server.receive_data(&to_server, &mut received, &mut to_client).map(|done| (done, received, server.is_closed()))
    };
    for pin in [None, Some(pin)] {
        assert_eq!(shake("gateway.example.test", pin), Ok((true, b"a request".to_vec(), true)));
    }
    for (name, pin, cause) in [
        ("other.example.test", None, "is not made out to other.example.test"),
        ("gateway.example.test", Some([0xa1; 32]), "not the pinned a1a1"),
    ] {
        let error = shake(name, pin).unwrap_err().to_string();
        assert!(error.contains(cause), "{error}");
    }
}
