//! Certificates made on the spot, and a client that shares nothing with our code but the library.
use crate::{Connection, ServerSettings, Status, TlsError};
use pki::Credential;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SignatureAlgorithm};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

pub(super) struct Authority(pub(super) CertifiedIssuer<'static, KeyPair>);

pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
});

impl Authority {
    pub(super) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }
}

pub(super) const DEFAULT_NAME: &str = "vpn.example.test";

pub(super) fn credential(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Credential {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let leaf = params.signed_by(&key, &AUTHORITY.0).unwrap();
    Credential::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

pub(super) fn settings() -> Arc<ServerSettings> {
    static SETTINGS: LazyLock<Arc<ServerSettings>> =
        LazyLock::new(|| Arc::new(ServerSettings::new(vec![credential(&[DEFAULT_NAME], &rcgen::PKCS_ECDSA_P256_SHA256).into()]).unwrap()));
    SETTINGS.clone()
}

pub(super) fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(AUTHORITY.der())).unwrap();
    client_config_trusting(roots, versions)
}

pub(super) fn client_config_trusting(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(super) fn client(config: ClientConfig, name: &str) -> ClientConnection {
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    client.set_buffer_limit(None);
    client
}

/// Both ends, and what each has got.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: Connection,
    /// Plaintext from the client.
    pub(super) plain: Vec<u8>,
    pub(super) status: Status,
}

/// All that the client has to send.
pub(super) fn flush(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives bytes of the server to the client.
pub(super) fn feed(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

impl Pair {
    pub(super) fn new(settings: Arc<ServerSettings>, client: ClientConnection) -> Self {
        Self { client, server: Connection::new(settings, None), plain: Vec::new(), status: Status::Handshaking }
    }

    pub(super) fn up(settings: Arc<ServerSettings>, client: ClientConnection) -> Self {
        let mut pair = Self::new(settings, client);
        pair.exchange(usize::MAX).unwrap();
        assert_eq!((pair.status, pair.client.is_handshaking()), (Status::Open, false));
        pair
    }

    /// Carries bytes both ways until both are silent, the client's in pieces. What the client does not like it says.
    pub(super) fn exchange(&mut self, piece: usize) -> Result<(), TlsError> {
        loop {
            let bytes = flush(&mut self.client);
            let mut out = Vec::new();
            for part in bytes.chunks(piece.min(bytes.len()).max(1)) {
                let outcome = self.server.receive(part, &mut self.plain, &mut out);
                match outcome {
                    Ok(status) => self.status = status,
                    Err(error) => {
                        feed(&mut self.client, &out).ok();
                        return Err(error);
                    }
                }
            }
            // An error of the client leaves its alert to be flushed.
            feed(&mut self.client, &out).ok();
            if bytes.is_empty() && out.is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; Connection::sealed_len(plain.len())];
        let length = self.server.seal(plain, &mut out).unwrap();
        out.truncate(length);
        out
    }

    /// Sends from the client, and returns what the server got.
    pub(super) fn upload(&mut self, plain: &[u8], piece: usize) -> Vec<u8> {
        self.client.writer().write_all(plain).unwrap();
        self.exchange(piece).unwrap();
        std::mem::take(&mut self.plain)
    }

    /// Sends from the server, and returns what the client got.
    pub(super) fn download(&mut self, plain: &[u8]) -> Vec<u8> {
        let sealed = self.seal(plain);
        let mut got = Vec::new();
        for part in sealed.chunks(10_000) {
            feed(&mut self.client, part).unwrap();
            let mut buffer = [0; 65536];
            while let Ok(length @ 1..) = self.client.reader().read(&mut buffer) {
                got.extend_from_slice(&buffer[..length]);
            }
        }
        got
    }
}
