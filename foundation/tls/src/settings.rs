//! What a listener presents: certificates by name, protocol versions, ALPN.
use crate::TlsError;
use crate::key::{self, TlsKey};
use crypto::sign::KeyKind;
use pki::{AskedName, Credential, Hints, Selection, ServerCertificate, Steered, Steering, UnixTime};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;

/// The one protocol that we name, if the client names protocols (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// Certificates and protocol settings of a listener, read-only and shared: a connection keeps the certificate that it began with, so
/// new settings concern new connections alone.
///
/// TLS 1.2 and 1.3, no client certificates, no tickets, no resumption, no early data.
#[derive(Debug)]
pub struct ServerSettings {
    certificates: Vec<ServerCertificate>,
    /// In the same order.
    presented: Vec<Arc<Presented>>,
    steering: Option<Arc<dyn Steering>>,
}

/// Who comes, if certificates are chosen by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    pub client: IpAddr,
    /// The address that the client came to.
    pub gateway: IpAddr,
    pub now: UnixTime,
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
    /// [`pki::choose`] says which client sees which; where a client can verify none of them, it is chosen as if it could, and the handshake tells.
    ///
    /// # Errors
    /// When there is no certificate, or the TLS library has no cipher suite for a protocol version: a fault of the build.
    pub fn new(certificates: Vec<ServerCertificate>) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::Internal("a listener without a certificate".into()));
        }
        let presented =
            certificates.iter().map(|certificate| Presented::new(&certificate.credential).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { certificates, presented, steering: None })
    }

    /// Policies have a say in which certificate a client sees.
    #[must_use]
    pub fn steered(self, steering: Option<Arc<dyn Steering>>) -> Self {
        Self { steering, ..self }
    }

    /// What this client is to see, why, and with which configuration.
    pub(crate) fn choose(
        &self,
        hello: &ClientHello<'_>,
        visitor: Option<Visitor>,
    ) -> Result<(Arc<Presented>, Arc<ServerConfig>, Selection), TlsError> {
        let hints = Hints {
            name: hello.server_name().map(AskedName::Dns),
            name_source: "SNI",
            authorities: &[],
            address: visitor.map(|visitor| visitor.gateway),
            itself: None,
            keys: &|kind| verifies(hello, kind).then(|| key_rank(kind)),
            steering: visitor.zip(self.steering.as_deref()).map(|(visitor, by)| Steered {
                by,
                client: visitor.client,
                by_certificate: false,
                now: visitor.now,
            }),
        };
        let despite = || pki::choose(&self.certificates, &Hints { keys: &|kind| Some(key_rank(kind)), ..hints });
        let selection =
            pki::choose(&self.certificates, &hints).or_else(despite).ok_or_else(|| TlsError::Internal("no certificate".into()))?;
        let presented = &self.presented[selection.index];
        let names_http = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN));
        let config = if names_http { &presented.with_alpn } else { &presented.without_alpn };
        Ok((presented.clone(), config.clone(), selection))
    }
}

/// How well a kind of key suits a TLS client that can verify it, the lowest being the best: ECDSA is the lesser work.
pub const fn key_rank(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => 0,
        KeyKind::Rsa { .. } => 1,
        KeyKind::Ed25519 => 2,
    }
}

/// The client takes a signature of such a key, with a cipher suite for it: those of TLS 1.3 are for any key.
fn verifies(hello: &ClientHello<'_>, kind: KeyKind) -> bool {
    let signs = |offered: &SignatureScheme| key::schemes(kind).iter().any(|(scheme, _)| scheme == offered);
    let for_kind = |suite: &CipherSuite| match format!("{suite:?}") {
        name if name.starts_with("TLS13_") => true,
        name if matches!(kind, KeyKind::Rsa { .. }) => name.starts_with("TLS_ECDHE_RSA_"),
        name => name.starts_with("TLS_ECDHE_ECDSA_"),
    };
    hello.signature_schemes().iter().any(signs) && hello.cipher_suites().iter().any(for_kind)
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
