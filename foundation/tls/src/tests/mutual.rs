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
