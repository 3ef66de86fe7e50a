//! The payloads (RFC 7296 sections 3.3 to 3.16), one by one.
use super::config::Configuration;
use super::identity::Identification;
use super::reader::{Malformed, Reader};
use crate::api::TrafficSelector;
use crate::proposal::SaPayload;
use crate::selector;

/// Payload types.
pub mod kind {
    pub const NONE: u8 = 0;
    pub const SA: u8 = 33;
    pub const KE: u8 = 34;
    pub const ID_I: u8 = 35;
    pub const ID_R: u8 = 36;
    pub const CERT: u8 = 37;
    pub const CERTREQ: u8 = 38;
    pub const AUTH: u8 = 39;
    pub const NONCE: u8 = 40;
    pub const NOTIFY: u8 = 41;
    pub const DELETE: u8 = 42;
    pub const VENDOR: u8 = 43;
    pub const TS_I: u8 = 44;
    pub const TS_R: u8 = 45;
    pub const SK: u8 = 46;
    pub const CP: u8 = 47;
    pub const EAP: u8 = 48;
    pub const SKF: u8 = 53;

    /// The field's word for a payload type.
    pub fn name(kind: u8) -> std::borrow::Cow<'static, str> {
        let word = match kind {
            NONE => "message",
            SA => "SA payload",
            KE => "KE payload",
            ID_I => "IDi payload",
            ID_R => "IDr payload",
            CERT => "CERT payload",
            CERTREQ => "CERTREQ payload",
            AUTH => "AUTH payload",
            NONCE => "Nonce payload",
            NOTIFY => "Notify payload",
            DELETE => "Delete payload",
            VENDOR => "Vendor ID payload",
            TS_I => "TSi payload",
            TS_R => "TSr payload",
            SK => "SK payload",
            CP => "CP payload",
            EAP => "EAP payload",
            SKF => "SKF payload",
            other => return format!("payload type {other}").into(),
        };
        word.into()
    }
}

/// Protocol identifiers of proposals, Notify and Delete.
pub mod protocol {
    pub const NONE: u8 = 0;
    pub const IKE: u8 = 1;
    pub const AH: u8 = 2;
    pub const ESP: u8 = 3;
}

/// Authentication methods (RFC 7296 section 3.8, RFC 4754, RFC 7427).
pub mod auth_method {
    pub const RSA: u8 = 1;
    pub const SHARED_KEY: u8 = 2;
    pub const ECDSA_P256: u8 = 9;
    pub const ECDSA_P384: u8 = 10;
    pub const ECDSA_P521: u8 = 11;
    pub const DIGITAL_SIGNATURE: u8 = 14;
}

/// Certificate encodings (RFC 7296 section 3.6).
pub mod cert_encoding {
    pub const X509_SIGNATURE: u8 = 4;
}

/// KE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// IANA number, known to us or not.
    pub group: u16,
    pub public: Vec<u8>,
}

/// CERT; `data` is DER for [`cert_encoding::X509_SIGNATURE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePayload {
    pub encoding: u8,
    pub data: Vec<u8>,
}

/// CERTREQ: authorities as SHA-1 hashes of their SubjectPublicKeyInfo, one after the other, for encoding 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    pub encoding: u8,
    pub authorities: Vec<u8>,
}

impl CertificateRequest {
    /// X.509 with these authorities.
    pub fn x509(hashes: impl IntoIterator<Item = [u8; 20]>) -> Self {
        Self { encoding: cert_encoding::X509_SIGNATURE, authorities: hashes.into_iter().flatten().collect() }
    }
    /// The hashes; none for another encoding than X.509.
    pub fn hashes(&self) -> impl Iterator<Item = [u8; 20]> + '_ {
        let bytes: &[u8] = if self.encoding == cert_encoding::X509_SIGNATURE { &self.authorities } else { &[] };
        bytes.as_chunks::<20>().0.iter().copied()
    }
}

/// AUTH; see [`crate::auth`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// See [`auth_method`].
    pub method: u8,
    pub data: Vec<u8>,
}

/// Notify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// See [`protocol`]; 0 without an SPI.
    pub protocol: u8,
    pub spi: Vec<u8>,
    /// See [`super::notify`].
    pub kind: u16,
    pub data: Vec<u8>,
}

impl Notify {
    /// About the IKE SA or nothing in particular: no SPI.
    pub fn new(kind: u16, data: impl Into<Vec<u8>>) -> Self {
        Self { protocol: protocol::NONE, spi: Vec::new(), kind, data: data.into() }
    }
    /// About an ESP SA (REKEY_SA, CHILD_SA_NOT_FOUND).
    pub fn esp(kind: u16, spi: u32) -> Self {
        Self { protocol: protocol::ESP, spi: spi.to_be_bytes().to_vec(), kind, data: Vec::new() }
    }
    /// The SPI of an ESP SA, where it is one.
    pub fn esp_spi(&self) -> Option<u32> {
        if self.protocol != protocol::ESP {
            return None;
        }
        self.spi.as_slice().try_into().ok().map(u32::from_be_bytes)
    }
    /// Error types are below 16384 (RFC 7296 section 3.10.1); status types from there on.
    pub fn is_error(&self) -> bool {
        self.kind < 16384
    }
    /// The Windows error code in N(12345), e.g. 13868.
    pub fn win32_code(&self) -> Option<u32> {
        if self.kind != super::notify::MS_WIN32_ERROR {
            return None;
        }
        self.data.as_slice().try_into().ok().map(u32::from_be_bytes)
    }
}

/// Delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA that carries it.
    Ike,
    /// ESP SAs, by the SPIs of the sender's inbound side.
    Esp(Vec<u32>),
    /// SAs of another protocol (AH), which we never have.
    Other { protocol: u8, count: u16 },
}

/// A parsed payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    Sa(SaPayload),
    KeyExchange(KeyExchange),
    IdInitiator(Identification),
    IdResponder(Identification),
    Certificate(CertificatePayload),
    CertificateRequest(CertificateRequest),
    Auth(Auth),
    /// 16 to 256 bytes.
    Nonce(Vec<u8>),
    Notify(Notify),
    Delete(Delete),
    Vendor(Vec<u8>),
    TsInitiator(Vec<TrafficSelector>),
    TsResponder(Vec<TrafficSelector>),
    Configuration(Configuration),
    Eap(Vec<u8>),
    /// A type we do not know. Parsed ones are never critical (that is an error); `critical` serves test peers.
    Unknown { kind: u8, critical: bool, data: Vec<u8> },
}
