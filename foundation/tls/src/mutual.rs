//! TLS whose client shows a certificate and whose keys serve something else: EAP-TLS (RFC 5216, RFC 9190).
use crate::TlsError;
use crate::client::{hexadecimal, read_chain};
use crate::key::TlsKey;
use crypto::hash::HashAlgorithm::Sha256;
use crypto::hash::hash;
use pki::{Certificate, Credential, Purpose, Refused, TrustAnchors, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig, ServerConnection, SignatureScheme,
};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// What the server shows, and whose client certificates it takes. Read-only and shared.
#[derive(Debug, Clone)]
pub struct MutualSettings {
    key: Arc<CertifiedKey>,
    roots: Arc<TrustAnchors>,
    /// What the client's certificate must be made out to; `None`: any name.
    name: Option<String>,
    /// SHA-256 of the DER that the client's own certificate must be, besides being verified.
    pin: Option<[u8; 32]>,
    /// A client may show no certificate at all.
    optional: bool,
    provider: Arc<CryptoProvider>,
}

impl MutualSettings {
    /// TLS 1.2 and 1.3, a client certificate that `roots` verify for [`Purpose::Client`] required, no tickets, no resumption.
    pub fn new(credential: &Credential, roots: Arc<TrustAnchors>) -> Self {
        let chain = credential.chain.iter().map(|certificate| CertificateDer::from(certificate.der.clone())).collect();
        let key = CertifiedKey::new(chain, Arc::new(TlsKey(credential.key.clone())));
        Self { key: Arc::new(key), roots, name: None, pin: None, optional: false, provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// The authorities that may have issued the client's certificate.
    pub fn roots(&self) -> &TrustAnchors {
        &self.roots
    }

    /// Believes these authorities instead.
    #[must_use]
    pub fn trusting(self, roots: Arc<TrustAnchors>) -> Self {
        Self { roots, ..self }
    }

    /// Takes clients without a certificate too, who have to prove themselves otherwise; a certificate that is shown must be good all the same.
    #[must_use]
    pub fn or_without(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Takes one client alone: whose certificate is made out to `name`, a DNS name or an IP address, and is the one pinned, if one is.
    #[must_use]
    pub fn of_client(self, name: String, pin: Option<[u8; 32]>) -> Self {
        Self { name: Some(name), pin, ..self }
    }
}

/// The server's end of such a connection, for its handshake and little else. After an error it is over.
pub struct MutualConnection {
    tls: ServerConnection,
    closed: bool,
    refused: Arc<Mutex<Option<Refused>>>,
}

impl std::fmt::Debug for MutualConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MutualConnection").field("handshaking", &self.tls.is_handshaking()).finish_non_exhaustive()
    }
}

impl MutualConnection {
    /// `now`: when the client's certificate must be valid.
    ///
    /// # Errors
    /// When the TLS library has no cipher suite for a protocol version: a fault of the build.
    pub fn new(settings: &MutualSettings, now: UnixTime) -> Result<Self, TlsError> {
        let refused = Arc::default();
        let verifier = Verifier::new(settings, now, Arc::clone(&refused));
        let builder = ServerConfig::builder_with_provider(settings.provider.clone()).with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = builder.with_client_cert_verifier(Arc::new(verifier));
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from((*settings.key).clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self { tls: ServerConnection::new(Arc::new(config))?, closed: false, refused })
    }

    /// Takes bytes of the client; appends bytes for it to `out`. True: the handshake is complete, the client's certificate verified.
    /// Data of the client is dropped.
    ///
    /// # Errors
    /// The connection is over; `out` holds the alert that tells the client, if there is one to send.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, TlsError> {
        self.receive_data(input, &mut Vec::new(), out)
    }

    /// The same, and appends data of the client to `plain`.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_data(&mut self, mut input: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, TlsError> {
        let mut outcome = Ok(());
        while !input.is_empty() && outcome.is_ok() && !self.closed {
            outcome = match self.tls.read_tls(&mut input) {
                Ok(0) => Err(TlsError::TooLong),
                Ok(_) => match self.tls.process_new_packets() {
                    Ok(state) => {
                        self.closed = state.peer_has_closed();
                        Ok(())
                    }
                    Err(error) => Err(self.explain(error)),
                },
                Err(_) => Err(TlsError::TooLong),
            };
            // An error says that there is no more for now; what was there has been appended.
            self.tls.reader().read_to_end(plain).ok();
        }
        self.flush(out);
        outcome.map(|()| !self.tls.is_handshaking())
    }

    /// The client has closed: nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends close_notify to `out`.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.tls.send_close_notify();
        self.flush(out);
    }

    /// Appends one record with data for the client to `out`; after the handshake alone.
    ///
    /// # Errors
    /// A fault of the library.
    pub fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.tls.writer().write_all(data).map_err(|error| TlsError::Internal(error.to_string()))?;
        self.flush(out);
        Ok(())
    }

    /// Whether TLS 1.3 was agreed on.
    pub fn is_tls13(&self) -> bool {
        self.tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
    }

    /// Exported keying material (RFC 5705, RFC 8446 section 7.5) into all of `out`.
    ///
    /// # Errors
    /// Before the end of the handshake.
    pub fn export(&self, label: &[u8], context: Option<&[u8]>, out: &mut [u8]) -> Result<(), TlsError> {
        self.tls.export_keying_material(out, label, context).map(drop).map_err(TlsError::from)
    }

    /// The client's own certificate, once the handshake is complete.
    pub fn client_certificate(&self) -> Option<Certificate> {
        self.tls.peer_certificates()?.first().and_then(|der| Certificate::from_der(der).ok())
    }

    /// Whether the client's certificate is good by other settings and at another time than those of the handshake, which must be over.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_again(&self, settings: &MutualSettings, now: UnixTime) -> Result<(), TlsError> {
        let (leaf, intermediates) = read_chain(self.tls.peer_certificates().unwrap_or_default())?;
        let checked = Verifier::new(settings, now, Arc::default()).check(&leaf, &intermediates);
        checked.map_err(|refused| TlsError::ClientRefused(Box::new(refused)))
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        while self.tls.wants_write() {
            // A Vec takes everything.
            if self.tls.write_tls(out).is_err() {
                return;
            }
        }
    }

    fn explain(&self, error: Error) -> TlsError {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (refused, error) {
            (Some(refused), _) => TlsError::ClientRefused(Box::new(refused)),
            (None, Error::NoCertificatesPresented) => TlsError::NoClientCertificate,
            (None, error) => error.into(),
        }
    }
}

/// Our own path check, in the library's wording.
#[derive(Debug)]
struct Verifier {
    hints: Vec<DistinguishedName>,
    settings: MutualSettings,
    now: UnixTime,
    refused: Arc<Mutex<Option<Refused>>>,
}

impl Verifier {
    fn new(settings: &MutualSettings, now: UnixTime, refused: Arc<Mutex<Option<Refused>>>) -> Self {
        let hints = settings.roots.roots().iter().map(|root| DistinguishedName::from(root.subject_der.clone())).collect();
        Self { hints, settings: settings.clone(), now, refused }
    }

    fn check(&self, leaf: &Certificate, intermediates: &[Certificate]) -> Result<(), Refused> {
        let settings = &self.settings;
        settings.roots.verify(leaf, intermediates, Purpose::Client, settings.name.as_deref(), self.now)?;
        let found = hash(Sha256, &[&leaf.der]);
        match settings.pin.filter(|pin| pin[..] != found[..]) {
            None => Ok(()),
            Some(pin) => {
                let reason = format!("has the SHA-256 fingerprint {}, not the pinned {}", hexadecimal(&found), hexadecimal(&pin));
                Err(Refused::Other { subject: leaf.subject.clone(), reason })
            }
        }
    }
}

impl ClientCertVerifier for Verifier {
    /// Where no authority could have issued one, none is asked for.
    fn offer_client_auth(&self) -> bool {
        !self.settings.optional || !self.hints.is_empty()
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.settings.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (leaf, intermediates) = read_chain(&[std::slice::from_ref(leaf), intermediates].concat())?;
        self.check(&leaf, &intermediates).map_err(|refused| {
            let alert = in_words_of_the_library(&refused);
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(refused);
            Error::InvalidCertificate(alert)
        })?;
        Ok(ClientCertVerified::assertion())
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

/// So that the client gets the alert that fits.
pub(crate) fn in_words_of_the_library(refused: &Refused) -> CertificateError {
    match refused {
        Refused::UnknownIssuer { .. } => CertificateError::UnknownIssuer,
        Refused::Expired { .. } => CertificateError::Expired,
        Refused::NotYetValid { .. } => CertificateError::NotValidYet,
        Refused::WrongPurpose { .. } | Refused::WrongKeyUsage { .. } => CertificateError::InvalidPurpose,
        Refused::Revoked { .. } => CertificateError::Revoked,
        Refused::RevocationUnknown { .. } => CertificateError::UnknownRevocationStatus,
        Refused::WrongName { .. } | Refused::Other { .. } => CertificateError::Other(OtherError(Arc::new(refused.clone()))),
    }
}
