//! The client's end of a TLS connection, with a certificate of its own: RADIUS over TLS (RFC 6614).
use crate::error::alert_name;
use crate::key::TlsKey;
use crypto::hash::HashAlgorithm::Sha256;
use crypto::hash::hash;
use pki::{Certificate, Credential, Purpose, Refused, TrustAnchors, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// What this end shows, and which server it believes. Read-only and shared.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `None`: nothing is shown.
    key: Option<Arc<CertifiedKey>>,
    roots: Arc<TrustAnchors>,
    /// What the server's certificate must be made out to: a DNS name or an IP address.
    name: String,
    /// SHA-256 of the DER that the server's own certificate must be, besides being verified.
    pin: Option<[u8; 32]>,
    /// ALPN: what is offered, most wanted first.
    protocols: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ClientSettings {
    /// TLS 1.2 and 1.3, a server certificate for `name` that `roots` verify for [`Purpose::Server`] and that is the one pinned, if one is.
    pub fn new(credential: Option<&Credential>, roots: Arc<TrustAnchors>, name: String, pin: Option<[u8; 32]>) -> Self {
        let certified = |credential: &Credential| {
            let chain = credential.chain.iter().map(|certificate| CertificateDer::from(certificate.der.clone())).collect();
            Arc::new(CertifiedKey::new(chain, Arc::new(TlsKey(credential.key.clone()))))
        };
        Self { key: credential.map(certified), roots, name, pin, protocols: Vec::new(), provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// Offers these application protocols (RFC 7301), most wanted first.
    #[must_use]
    pub fn offering(self, protocols: &[&[u8]]) -> Self {
        Self { protocols: protocols.iter().map(|protocol| protocol.to_vec()).collect(), ..self }
    }

    /// The authorities that may have issued the server's certificate.
    pub fn roots(&self) -> &TrustAnchors {
        &self.roots
    }

    /// Believes these authorities instead.
    #[must_use]
    pub fn trusting(self, roots: Arc<TrustAnchors>) -> Self {
        Self { roots, ..self }
    }

    /// Whether this application protocol is offered.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.protocols.iter().any(|offered| offered == protocol)
    }
}

/// Why a connection to a server is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// The server gave up and said why; `name` as RFC 8446 section 6 spells it.
    #[error("the server sent the TLS alert {name} ({code}){}", alert_hint(*code))]
    Alert { code: u8, name: &'static str },
    #[error("the server's {0}")]
    Refused(Box<Refused>),
    /// Verified, but another one than was pinned: both SHA-256 in hexadecimal digits.
    #[error("the server's certificate has the SHA-256 fingerprint {found}, not the pinned {pinned}")]
    NotPinned { found: String, pinned: String },
    /// The server's name in the settings is neither a DNS name nor an IP address.
    #[error("{name:?} is no name for a server")]
    Name { name: String },
    /// Whatever else the TLS library says.
    #[error("TLS: {0}")]
    Broken(String),
}

fn alert_hint(code: u8) -> &'static str {
    match code {
        42..=46 | 48 | 49 | 116 => "; does it accept the certificate that this gateway shows?",
        120 => "; it speaks none of the protocols that this gateway offers",
        _ => "",
    }
}

/// The client's end. After an error it is over.
pub struct ClientConnection {
    tls: rustls::ClientConnection,
    verifier: Arc<Verifier>,
}

impl std::fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConnection").field("handshaking", &self.tls.is_handshaking()).finish_non_exhaustive()
    }
}

impl ClientConnection {
    /// Appends the first bytes for the server to `out`. `now`: when the server's certificate must be valid.
    ///
    /// # Errors
    /// A name that is none, or a fault of the build.
    pub fn new(settings: &ClientSettings, now: UnixTime, out: &mut Vec<u8>) -> Result<Self, ServerFault> {
        let broken = |error: Error| ServerFault::Broken(error.to_string());
        let name = ServerName::try_from(settings.name.clone()).map_err(|_| ServerFault::Name { name: settings.name.clone() })?;
        let verifier = Arc::new(Verifier { settings: settings.clone(), now, shown: Mutex::default(), fault: Mutex::default() });
        let builder = rustls::ClientConfig::builder_with_provider(settings.provider.clone());
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(broken)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier.clone());
        let mut config = match &settings.key {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((**key).clone()))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols.clone_from(&settings.protocols);
        let mut connection = Self { tls: rustls::ClientConnection::new(Arc::new(config), name).map_err(broken)?, verifier };
        connection.flush(out);
        Ok(connection)
    }

    /// Takes bytes of the server. Appends data to `plain` and bytes for the server to `out`. False: the server has closed, nothing more will come.
    ///
    /// # Errors
    /// The connection is over; `out` holds the alert that tells the server, if there is one to send.
    pub fn receive(&mut self, mut input: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, ServerFault> {
        let mut open = true;
        while !input.is_empty() && open {
            let taken = self.tls.read_tls(&mut input).map_err(|error| ServerFault::Broken(error.to_string()));
            let state = taken.and_then(|_| self.tls.process_new_packets().map_err(|error| self.explain(error)));
            self.flush(out);
            let waiting = state?;
            open = !waiting.peer_has_closed();
            let start = plain.len();
            plain.resize(start + waiting.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut plain[start..]).map_err(|error| ServerFault::Broken(error.to_string()))?;
        }
        Ok(open)
    }

    /// True until data may flow.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// `TLS 1.2` or `TLS 1.3`; empty before the ServerHello.
    pub fn version(&self) -> &'static str {
        match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "",
        }
    }

    /// The certificates that the server has shown, its own first, whether they were believed or not; empty before that.
    pub fn shown(&self) -> Vec<Certificate> {
        self.verifier.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server's certificate is good by other settings and at another time than those of the handshake, which must be over.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_again(&self, settings: &ClientSettings, now: UnixTime) -> Result<(), ServerFault> {
        let shown = self.shown();
        let (leaf, intermediates) = shown.split_first().ok_or_else(|| ServerFault::Broken("the server has shown no certificate".into()))?;
        Verifier { settings: settings.clone(), now, shown: Mutex::default(), fault: Mutex::default() }.check(leaf, intermediates)
    }

    /// The application protocol that the server chose, of those offered; `None`: it said nothing.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Appends data for the server to `out`, encrypted; after the handshake alone.
    ///
    /// # Errors
    /// A fault of the library.
    pub fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), ServerFault> {
        self.tls.writer().write_all(data).map_err(|error| ServerFault::Broken(error.to_string()))?;
        self.flush(out);
        Ok(())
    }

    /// Appends close_notify to `out`.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.tls.send_close_notify();
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        while self.tls.wants_write() {
            // A Vec takes everything.
            if self.tls.write_tls(out).is_err() {
                return;
            }
        }
    }

    fn explain(&self, error: Error) -> ServerFault {
        let fault = self.verifier.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (fault, error) {
            (Some(fault), _) => fault,
            (None, Error::AlertReceived(alert)) => {
                let code = u8::from(alert);
                ServerFault::Alert { code, name: alert_name(code) }
            }
            (None, error) => ServerFault::Broken(error.to_string()),
        }
    }
}

/// Our own path check, in the library's wording.
#[derive(Debug)]
struct Verifier {
    settings: ClientSettings,
    now: UnixTime,
    /// The server's chain, believed or not.
    shown: Mutex<Vec<Certificate>>,
    fault: Mutex<Option<ServerFault>>,
}

impl Verifier {
    fn check(&self, leaf: &Certificate, intermediates: &[Certificate]) -> Result<(), ServerFault> {
        let settings = &self.settings;
        let verified = settings.roots.verify(leaf, intermediates, Purpose::Server, Some(&settings.name), self.now);
        verified.map_err(|refused| ServerFault::Refused(Box::new(refused)))?;
        let found = hash(Sha256, &[&leaf.der]);
        match settings.pin.filter(|pin| pin[..] != found[..]) {
            None => Ok(()),
            Some(pin) => Err(ServerFault::NotPinned { found: hexadecimal(&found), pinned: hexadecimal(&pin) }),
        }
    }
}

/// What the other end shows: its own certificate, and those that come with it.
pub(crate) fn read_chain(shown: &[CertificateDer<'_>]) -> Result<(Certificate, Vec<Certificate>), Error> {
    let (leaf, intermediates) = shown.split_first().ok_or(Error::NoCertificatesPresented)?;
    let read = |der: &CertificateDer<'_>| Certificate::from_der(der).map_err(|_| Error::from(CertificateError::BadEncoding));
    Ok((read(leaf)?, intermediates.iter().map(read).collect::<Result<_, _>>()?))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (leaf, intermediates) = read_chain(&[std::slice::from_ref(leaf), intermediates].concat())?;
        let chain = [leaf.clone()].into_iter().chain(intermediates.iter().cloned()).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        self.check(&leaf, &intermediates).map_err(|fault| {
            let alert = match &fault {
                ServerFault::Refused(refused) => crate::mutual::in_words_of_the_library(refused),
                _ => CertificateError::ApplicationVerificationFailure,
            };
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).replace(fault);
            Error::InvalidCertificate(alert)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.settings.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.settings.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.settings.provider.signature_verification_algorithms.supported_schemes()
    }
}
