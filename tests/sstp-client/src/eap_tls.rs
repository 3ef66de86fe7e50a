//! EAP-TLS as the client does it (RFC 5216, RFC 9190): TLS records in fragments, and the MSK that comes of it.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result, Stage};
use crate::transport::{Ciphers, Unchecked, provider};

/// EAP's number for the method.
pub const TYPE: u8 = 13;

const LENGTH_INCLUDED: u8 = 0x80;
const MORE_FRAGMENTS: u8 = 0x40;
const START: u8 = 0x20;
/// TLS data in one EAP response.
const FRAGMENT: usize = 1000;

/// One authentication.
#[derive(Debug)]
pub struct EapTls {
    connection: ClientConnection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl EapTls {
    /// With a client certificate and its chain, and the private key (PEM). Any certificate of the RADIUS server is taken.
    pub fn new(certificate: &Path, key: &Path) -> Result<Self> {
        let wrong = |file: &Path, error: &dyn std::fmt::Display| Error::Setup(format!("{}: {error}", file.display()));
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| wrong(certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
        let provider = provider(Ciphers::Any);
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)));
        let mut config = builder.with_client_auth_cert(chain, key)?;
        config.enable_sni = false;
        let name = ServerName::try_from("radius").map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Self { connection: ClientConnection::new(Arc::new(config), name)?, incoming: Vec::new(), outgoing: Vec::new() })
    }

    /// Takes the data of a request behind its type; returns the response from the type on.
    pub fn handle(&mut self, data: &[u8]) -> Result<Vec<u8>> {
        let (flags, rest) = data.split_first().ok_or_else(|| wrong("an EAP-TLS request without flags"))?;
        let skip = if flags & LENGTH_INCLUDED == 0 { 0 } else { 4 };
        let body = rest.get(skip..).ok_or_else(|| wrong("an EAP-TLS length that is cut off"))?;
        if flags & START == 0 && body.is_empty() && self.outgoing.is_empty() && self.connection.is_handshaking() {
            return Err(wrong("an acknowledgement of nothing"));
        }
        self.incoming.extend(body);
        if flags & MORE_FRAGMENTS != 0 {
            return Ok(vec![TYPE, 0]);
        }
        self.process()?;
        Ok(self.fragment())
    }

    /// Whether the server has shown its certificate.
    pub fn has_seen_a_certificate(&self) -> bool {
        self.connection.peer_certificates().is_some()
    }

    /// Whether TLS is done and all of it is sent.
    pub fn finished(&self) -> bool {
        !self.connection.is_handshaking() && self.outgoing.is_empty()
    }

    /// The first half of the MSK.
    pub fn hlak(&self) -> Result<[u8; 32]> {
        let (label, context): (&[u8], Option<&[u8]>) = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => (b"EXPORTER_EAP_TLS_Key_Material", Some(&[TYPE])),
            _ => (b"client EAP encryption", None),
        };
        // In TLS 1.3 the length is part of what is hashed: 128 octets of key material (RFC 9190 section 2.3).
        let length = if context.is_some() { 128 } else { 64 };
        let material = self.connection.export_keying_material(vec![0; length], label, context)?;
        Ok(std::array::from_fn(|index| material[index]))
    }

    fn process(&mut self) -> Result<()> {
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = incoming.as_slice();
        let failed = |error: std::io::Error| wrong(&error.to_string());
        while !rest.is_empty() {
            self.connection.read_tls(&mut rest).map_err(failed)?;
            self.connection.process_new_packets().map_err(|error| wrong(&format!("TLS inside EAP: {error}")))?;
        }
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing).map_err(failed)?;
        }
        Ok(())
    }

    fn fragment(&mut self) -> Vec<u8> {
        if self.outgoing.len() <= FRAGMENT {
            return [&[TYPE, 0][..], &std::mem::take(&mut self.outgoing)].concat();
        }
        let rest = self.outgoing.split_off(FRAGMENT);
        let fragment = std::mem::replace(&mut self.outgoing, rest);
        let total = (fragment.len() + self.outgoing.len()) as u32;
        [&[TYPE, LENGTH_INCLUDED | MORE_FRAGMENTS][..], &total.to_be_bytes(), &fragment].concat()
    }
}

fn wrong(what: &str) -> Error {
    Error::protocol(Stage::Auth, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    /// A server in memory that asks for a certificate, with its answers in fragments of 700 bytes.
    fn server(certificate: &CertificateDer<'static>, key: PrivateKeyDer<'static>, tls13: bool) -> ServerConnection {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = provider(Ciphers::Any);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let version = if tls13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.clone()], key).unwrap();
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    fn run(tls13: bool) {
        let made = rcgen::generate_simple_self_signed(["pc.example.test".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("sstp-client-eap-tls-{}-{tls13}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut client = EapTls::new(&certificate, &key).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let mut server = server(made.cert.der(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(), tls13);
        let mut response = client.handle(&[START]).unwrap();
        for _ in 0..20 {
            let skip = if response[1] & LENGTH_INCLUDED == 0 { 2 } else { 6 };
            server.read_tls(&mut &response[skip..]).unwrap();
            server.process_new_packets().unwrap();
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            if client.finished() && !server.is_handshaking() && flight.is_empty() {
                break;
            }
            let parts: Vec<&[u8]> = if flight.is_empty() { vec![&[]] } else { flight.chunks(700).collect() };
            for (index, part) in parts.iter().enumerate() {
                let flags = if index + 1 < parts.len() { MORE_FRAGMENTS } else { 0 };
                response = client.handle(&[&[flags][..], part].concat()).unwrap();
            }
        }
        assert!(client.finished() && !server.is_handshaking());
        let (label, context, length): (&[u8], Option<&[u8]>, usize) =
            if tls13 { (b"EXPORTER_EAP_TLS_Key_Material", Some(&[13]), 128) } else { (b"client EAP encryption", None, 64) };
        let theirs = server.export_keying_material(vec![0; length], label, context).unwrap();
        assert_eq!(client.hlak().unwrap(), theirs[..32]);
    }

    #[test]
    fn both_ends_get_the_same_key() {
        run(false);
        run(true);
    }
}
