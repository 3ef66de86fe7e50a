use super::fixture::{AUTHORITY, DEFAULT_NAME, Pair, client, client_config, client_config_trusting, credential, feed, flush, settings};
use crate::{Connection, ServerSettings, Status, TlsError};
use pki::ServerCertificate;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, RootCertStore};
use std::sync::Arc;

#[test]
fn both_versions_with_every_kind_of_key() {
    let kinds = [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ];
    for algorithm in kinds {
        let credential = credential(&[DEFAULT_NAME], algorithm);
        let settings = Arc::new(ServerSettings::new(vec![credential.clone().into()]).unwrap());
        for (version, name, wanted) in [(&TLS12, "TLS 1.2", ProtocolVersion::TLSv1_2), (&TLS13, "TLS 1.3", ProtocolVersion::TLSv1_3)] {
            let mut pair = Pair::up(settings.clone(), client(client_config(&[version]), DEFAULT_NAME));
            assert_eq!(pair.client.protocol_version(), Some(wanted));
            let report = pair.server.report();
            assert_eq!((report.version, report.server_name.as_deref(), report.alpn), (name, Some(DEFAULT_NAME), None));
            assert!(report.cipher_suite.starts_with("TLS_") && report.cipher_suite.contains("_AES_256_GCM_"), "{}", report.cipher_suite);
            let shown = pair.client.peer_certificates().unwrap()[0].to_vec();
            assert_eq!(pair.server.leaf(), Some(&*shown));
            assert_eq!(shown, credential.leaf().der);
            assert_eq!(pair.upload(b"up", usize::MAX), b"up");
            assert_eq!(pair.download(b"down"), b"down");
        }
    }
}

#[test]
fn the_name_chooses_the_certificate() {
    let default = credential(&["default.example.test"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let exact = credential(&["a.example.test"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let wild = credential(&["*.wild.example.test"], &rcgen::PKCS_ECDSA_P384_SHA384);
    let mut certificates: Vec<ServerCertificate> = [&default, &exact, &wild].map(|credential| credential.clone().into()).into();
    certificates[0].default = true;
    certificates[1].names = Some(vec!["A.example.test.".to_owned()]);
    certificates.reverse();
    let settings = Arc::new(ServerSettings::new(certificates).unwrap());
    let shown = |name: &str| {
        let mut pair = Pair::new(settings.clone(), client(client_config(&[&TLS13]), name));
        // The client may refuse the certificate: what counts is which one it saw.
        pair.exchange(usize::MAX).ok();
        let why = &pair.server.selection().unwrap().why;
        assert!(why.contains("(SNI)") || why.contains("default_certificate"), "{why}");
        pair.server.leaf().unwrap().to_vec()
    };
    for (name, wanted) in [
        ("a.example.test", &exact),
        ("A.EXAMPLE.test", &exact),
        ("b.wild.example.test", &wild),
        ("wild.example.test", &default),
        ("c.b.wild.example.test", &default),
        ("other.example.test", &default),
        ("192.0.2.1", &default),
    ] {
        assert!(shown(name) == wanted.leaf().der, "{name}");
    }
}

/// Of two for one name, each client sees the one whose signature it can verify.
#[test]
fn the_key_that_the_client_can_verify() {
    let kinds = [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256];
    let certificates = kinds.map(|kind| credential(&[DEFAULT_NAME], kind).into()).into();
    let settings = Arc::new(ServerSettings::new(certificates).unwrap());
    for (suites, expected) in [("", "ECDSA P-256"), ("ECDHE_RSA", "RSA 2048"), ("ECDHE_ECDSA", "ECDSA P-256")] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| format!("{suite:?}").contains(suites));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(AUTHORITY.der())).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let pair = Pair::up(settings.clone(), client(config, DEFAULT_NAME));
        let why = &pair.server.selection().unwrap().why;
        assert!(why.contains(expected), "{suites}: {why}");
    }
}

#[test]
fn new_settings_leave_a_running_connection_alone() {
    let old = settings();
    let mut pair = Pair::new(old.clone(), client(client_config(&[&TLS13]), DEFAULT_NAME));
    let hello = flush(&mut pair.client);
    let mut out = Vec::new();
    pair.server.receive(&hello, &mut Vec::new(), &mut out).unwrap();
    drop(old);
    feed(&mut pair.client, &out).unwrap();
    pair.exchange(usize::MAX).unwrap();
    assert_eq!(pair.server.leaf().unwrap(), &*pair.client.peer_certificates().unwrap()[0]);
}

#[test]
fn http_is_named_to_those_who_name_it_and_nobody_is_refused() {
    let cases: [(&[&str], Option<&str>); 4] =
        [(&["http/1.1"], Some("http/1.1")), (&["h2", "http/1.1"], Some("http/1.1")), (&["h2"], None), (&[], None)];
    for version in [&TLS12, &TLS13] {
        for (offered, wanted) in cases {
            let mut config = client_config(&[version]);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let pair = Pair::up(settings(), client(config, DEFAULT_NAME));
            assert_eq!(pair.server.report().alpn.as_deref(), wanted, "{offered:?}");
            assert_eq!(pair.client.alpn_protocol(), wanted.map(str::as_bytes), "{offered:?}");
        }
    }
}

#[test]
fn a_client_that_refuses_the_certificate_says_why() {
    let mut stranger = RootCertStore::empty();
    let other = rcgen::generate_simple_self_signed(["ca.example.test".to_owned()]).unwrap();
    stranger.add(CertificateDer::from(other.cert.der().to_vec())).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(settings(), client(client_config_trusting(stranger.clone(), &[version]), DEFAULT_NAME));
        let error = pair.exchange(usize::MAX).unwrap_err();
        assert_eq!(error, TlsError::AlertReceived { code: 48, name: "unknown_ca" });
        let mut pair = Pair::new(settings(), client(client_config(&[version]), "elsewhere.example.test"));
        let error = pair.exchange(usize::MAX).unwrap_err();
        assert_eq!(error.to_string(), "the client sent the TLS alert bad_certificate (42)");
        assert_eq!(pair.server.receive(&[], &mut Vec::new(), &mut Vec::new()), Err(error), "an end is an end");
    }
}

#[test]
fn without_common_ground_the_client_gets_an_alert() {
    // A certificate with an EC key, and a client with RSA suites alone.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| format!("{suite:?}").contains("ECDHE_RSA"));
    let config = client_config_of(provider, &TLS12);
    let mut client = client(config, DEFAULT_NAME);
    let mut server = Connection::new(settings(), None);
    let mut out = Vec::new();
    let error = server.receive(&flush(&mut client), &mut Vec::new(), &mut out).unwrap_err();
    assert!(matches!(error, TlsError::Incompatible(_)), "{error}");
    assert_eq!(feed(&mut client, &out), Err(rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure)));
}

fn client_config_of(provider: rustls::crypto::CryptoProvider, version: &'static rustls::SupportedProtocolVersion) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(AUTHORITY.der())).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

/// A ClientHello of TLS 1.0: record and message version 3.1, one suite, no extensions.
#[test]
fn old_versions_are_named_in_the_error() {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    let mut out = Vec::new();
    let error = Connection::new(settings(), None).receive(&record, &mut Vec::new(), &mut out).unwrap_err();
    assert!(matches!(error, TlsError::Incompatible(_)), "{error}");
    assert_eq!((out[0], out[5]), (21, 2), "a fatal alert");
}

#[test]
fn no_tickets_are_sent() {
    for version in [&TLS12, &TLS13] {
        let store = Arc::new(Counting::default());
        let mut config = client_config(&[version]);
        config.resumption = rustls::client::Resumption::store(store.clone());
        let mut pair = Pair::up(settings(), client(config.clone(), DEFAULT_NAME));
        assert_eq!(pair.download(b"x"), b"x");
        assert_eq!(store.0.load(std::sync::atomic::Ordering::Relaxed), 0, "{version:?}");
        let again = Pair::up(settings(), client(config, DEFAULT_NAME));
        assert_eq!(again.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

/// Counts what a client could resume with.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl Counting {
    fn one(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl rustls::client::ClientSessionStore for Counting {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: rustls::pki_types::ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {
        self.one();
    }
    fn tls12_session(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: rustls::pki_types::ServerName<'static>, _: rustls::client::Tls13ClientSessionValue) {
        self.one();
    }
    fn take_tls13_ticket(&self, _: &rustls::pki_types::ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        None
    }
}

#[test]
fn a_handshake_in_single_bytes_and_with_a_second_hello() {
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(settings(), client(client_config(&[version]), DEFAULT_NAME));
        pair.exchange(1).unwrap();
        assert_eq!(pair.status, Status::Open);
    }
    // The first key share is of a group that the server lacks: HelloRetryRequest.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![&Nobody, rustls::crypto::aws_lc_rs::kx_group::SECP384R1];
    let config = client_config_of(provider, &TLS13);
    let mut pair = Pair::new(settings(), client(config, DEFAULT_NAME));
    pair.exchange(7).unwrap();
    assert_eq!(pair.client.handshake_kind(), Some(rustls::HandshakeKind::FullWithHelloRetryRequest));
    assert_eq!(pair.upload(b"after", 1), b"after");
}

/// A group that no server has.
#[derive(Debug)]
struct Nobody;

impl rustls::crypto::SupportedKxGroup for Nobody {
    fn start(&self) -> Result<Box<dyn rustls::crypto::ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Self))
    }
    fn name(&self) -> rustls::NamedGroup {
        rustls::NamedGroup::from(0xfe00)
    }
}

impl rustls::crypto::ActiveKeyExchange for Nobody {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<rustls::crypto::SharedSecret, rustls::Error> {
        Err(rustls::Error::General("nobody answers".into()))
    }
    fn pub_key(&self) -> &[u8] {
        &[1; 32]
    }
    fn group(&self) -> rustls::NamedGroup {
        rustls::NamedGroup::from(0xfe00)
    }
}

#[test]
fn what_is_not_tls_is_told_apart() {
    for (bytes, first) in [(&b"SSTP_DUPLEX_POST /sra_"[..], b'S'), (b"GET / HTTP/1.1\r\n\r\n", b'G'), (&[0x80, 0x2e, 1], 0x80)] {
        let mut out = Vec::new();
        assert_eq!(Connection::new(settings(), None).receive(bytes, &mut Vec::new(), &mut out), Err(TlsError::NotTls { first }));
    }
}

#[test]
fn every_alert_of_the_registry_has_its_name() {
    for (code, name) in [(0, "close_notify"), (46, "certificate_unknown"), (70, "protocol_version"), (120, "no_application_protocol")] {
        assert_eq!(crate::error::alert_name(code), name);
    }
    assert_eq!(crate::error::alert_name(200), "unknown");
}
