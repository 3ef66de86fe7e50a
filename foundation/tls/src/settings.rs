//! What a listener presents: certificates by name, protocol versions, ALPN.
use crate::TlsError;
use crate::key::TlsKey;
use pki::Credential;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one protocol that we name, if the client names protocols (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// Certificates and protocol settings of a listener, read-only and shared: a connection keeps the certificate that it began with, so
/// new settings concern new connections alone.
///
/// TLS 1.2 and 1.3, no client certificates, no tickets, no resumption, no early data.
#[derive(Debug)]
pub struct ServerSettings {
    default: Arc<Presented>,
    /// By lower-case name; a wildcard under its parent with a leading dot.
    by_name: BTreeMap<String, Arc<Presented>>,
}

/// One certificate, ready to be presented.
#[derive(Debug)]
pub(crate) struct Presented {
    /// DER of the leaf.
    pub(crate) leaf: Vec<u8>,
    /// For clients that name http/1.1.
    with_alpn: Arc<ServerConfig>,
    /// For the rest: naming a protocol that the client did not name would end the connection.
    without_alpn: Arc<ServerConfig>,
}

impl ServerSettings {
    /// `default` is presented to clients that name no server (SNI), or one that is unknown. Each of `by_name` is presented for its names:
    /// exact ones, or `*.example.test` for one label before the dot; without names, for the DNS names of its certificate. Of two
    /// credentials for one name the first counts.
    ///
    /// # Errors
    /// When the TLS library has no cipher suite for a protocol version: a fault of the build.
    pub fn new(default: &Credential, by_name: &[(Vec<String>, Credential)]) -> Result<Self, TlsError> {
        let mut index = BTreeMap::new();
        for (names, credential) in by_name {
            let presented = Arc::new(Presented::new(credential)?);
            let names = if names.is_empty() { &credential.leaf().dns_names } else { names };
            for name in names {
                index.entry(key_of(name)).or_insert_with(|| presented.clone());
            }
        }
        Ok(Self { default: Arc::new(Presented::new(default)?), by_name: index })
    }

    /// What this client is to see, and with which configuration.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> (Arc<Presented>, Arc<ServerConfig>) {
        let presented = hello.server_name().and_then(|name| self.find(name)).unwrap_or(&self.default);
        let names_http = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN));
        let config = if names_http { &presented.with_alpn } else { &presented.without_alpn };
        (presented.clone(), config.clone())
    }

    fn find(&self, name: &str) -> Option<&Arc<Presented>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let parent = || name.find('.').and_then(|dot| self.by_name.get(&name[dot..]));
        self.by_name.get(&name).or_else(parent)
    }
}

fn key_of(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_prefix('*').filter(|parent| parent.starts_with('.')).unwrap_or(name).to_ascii_lowercase()
}

impl Presented {
    fn new(credential: &Credential) -> Result<Self, TlsError> {
        let chain = credential.chain.iter().map(|certificate| CertificateDer::from(certificate.der.clone())).collect();
        let key = CertifiedKey::new(chain, Arc::new(TlsKey(credential.key.clone())));
        let without_alpn = config(key)?;
        let mut with_alpn = without_alpn.clone();
        with_alpn.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { leaf: credential.leaf().der.clone(), with_alpn: Arc::new(with_alpn), without_alpn: Arc::new(without_alpn) })
    }
}

fn config(key: CertifiedKey) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}
