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

/// 65,535 bytes less header and encoding.
const MAX_AUTHORITIES: usize = 3276;

impl CertificateRequest {
    /// X.509 with these authorities, as many as the payload holds (3276).
    pub fn x509(hashes: impl IntoIterator<Item = [u8; 20]>) -> Self {
        Self { encoding: cert_encoding::X509_SIGNATURE, authorities: hashes.into_iter().take(MAX_AUTHORITIES).flatten().collect() }
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
    Other { protocol: u8, spi_len: u8, spis: Vec<u8> },
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
    Unknown {
        kind: u8,
        critical: bool,
        data: Vec<u8>,
    },
}

impl Payload {
    /// Payload type, as the generic header before it names it.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Sa(_) => kind::SA,
            Self::KeyExchange(_) => kind::KE,
            Self::IdInitiator(_) => kind::ID_I,
            Self::IdResponder(_) => kind::ID_R,
            Self::Certificate(_) => kind::CERT,
            Self::CertificateRequest(_) => kind::CERTREQ,
            Self::Auth(_) => kind::AUTH,
            Self::Nonce(_) => kind::NONCE,
            Self::Notify(_) => kind::NOTIFY,
            Self::Delete(_) => kind::DELETE,
            Self::Vendor(_) => kind::VENDOR,
            Self::TsInitiator(_) => kind::TS_I,
            Self::TsResponder(_) => kind::TS_R,
            Self::Configuration(_) => kind::CP,
            Self::Eap(_) => kind::EAP,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Parses the body of a payload that is not SK or SKF.
    pub(crate) fn parse(kind: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            kind::SA => Self::Sa(SaPayload::parse(reader)?),
            kind::KE => Self::KeyExchange(KeyExchange::parse(reader)?),
            kind::ID_I => Self::IdInitiator(Identification::parse(reader)?),
            kind::ID_R => Self::IdResponder(Identification::parse(reader)?),
            kind::CERT => {
                let encoding = reader.u8("no certificate encoding")?;
                Self::Certificate(CertificatePayload { encoding, data: reader.rest().to_vec() })
            }
            kind::CERTREQ => Self::CertificateRequest(CertificateRequest::parse(reader)?),
            kind::AUTH => Self::Auth(Auth::parse(reader)?),
            kind::NONCE => Self::Nonce(parse_nonce(reader)?),
            kind::NOTIFY => Self::Notify(Notify::parse(reader)?),
            kind::DELETE => Self::Delete(Delete::parse(reader)?),
            kind::VENDOR => Self::Vendor(reader.rest().to_vec()),
            kind::TS_I => Self::TsInitiator(selector::parse(reader)?),
            kind::TS_R => Self::TsResponder(selector::parse(reader)?),
            kind::CP => Self::Configuration(Configuration::parse(reader)?),
            kind::EAP => Self::Eap(parse_eap(reader)?),
            _ => Self::Unknown { kind, critical: false, data: reader.rest().to_vec() },
        })
    }

    /// Appends the body.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sa(sa) => sa.write(out),
            Self::KeyExchange(ke) => {
                out.extend_from_slice(&ke.group.to_be_bytes());
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&ke.public);
            }
            Self::IdInitiator(id) | Self::IdResponder(id) => out.extend_from_slice(&id.body),
            Self::Certificate(CertificatePayload { encoding, data })
            | Self::CertificateRequest(CertificateRequest { encoding, authorities: data }) => {
                out.push(*encoding);
                out.extend_from_slice(data);
            }
            Self::Auth(auth) => {
                out.extend_from_slice(&[auth.method, 0, 0, 0]);
                out.extend_from_slice(&auth.data);
            }
            Self::Notify(notify) => notify.write(out),
            Self::Delete(delete) => delete.write(out),
            Self::TsInitiator(selectors) | Self::TsResponder(selectors) => selector::write(selectors, out),
            Self::Configuration(configuration) => configuration.write(out),
            Self::Nonce(data) | Self::Vendor(data) | Self::Eap(data) | Self::Unknown { data, .. } => out.extend_from_slice(data),
        }
    }
}

impl KeyExchange {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let group = reader.u16("no group number")?;
        reader.take(2, "reserved bytes missing")?;
        if reader.is_empty() {
            return Err(reader.error("no key exchange data"));
        }
        Ok(Self { group, public: reader.rest().to_vec() })
    }
}

impl CertificateRequest {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let encoding = reader.u8("no certificate encoding")?;
        if encoding == cert_encoding::X509_SIGNATURE && !reader.len().is_multiple_of(20) {
            return Err(reader.error("authorities are not a whole number of SHA-1 hashes"));
        }
        Ok(Self { encoding, authorities: reader.rest().to_vec() })
    }
}

impl Auth {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let method = reader.u8("no authentication method")?;
        reader.take(3, "reserved bytes missing")?;
        Ok(Self { method, data: reader.rest().to_vec() })
    }
}

/// RFC 7296 section 3.9.
fn parse_nonce(mut reader: Reader<'_>) -> Result<Vec<u8>, Malformed> {
    if !(16..=256).contains(&reader.len()) {
        return Err(reader.error("a nonce has 16 to 256 bytes"));
    }
    Ok(reader.rest().to_vec())
}

/// The EAP header alone is checked here; what the packet means is for the `eap` crate.
fn parse_eap(mut reader: Reader<'_>) -> Result<Vec<u8>, Malformed> {
    if reader.len() < 4 {
        return Err(reader.error("EAP packet shorter than its header"));
    }
    Ok(reader.rest().to_vec())
}

impl Notify {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let protocol = reader.u8("no protocol")?;
        let spi_len = reader.u8("no SPI size")?;
        let kind = reader.u16("no notify type")?;
        let spi = reader.take(spi_len.into(), "SPI runs over the end")?.to_vec();
        Ok(Self { protocol, spi, kind, data: reader.rest().to_vec() })
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.protocol, self.spi.len() as u8]);
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(&self.spi);
        out.extend_from_slice(&self.data);
    }
}

impl Delete {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let protocol = reader.u8("no protocol")?;
        let spi_len = reader.u8("no SPI size")?;
        let count = reader.u16("no number of SPIs")?;
        if reader.len() != usize::from(spi_len) * usize::from(count) {
            return Err(reader.error("SPIs do not fill the payload"));
        }
        match protocol {
            protocol::IKE if spi_len == 0 && count == 0 => Ok(Self::Ike),
            protocol::IKE => Err(reader.error("a Delete of the IKE SA has no SPI")),
            protocol::ESP if spi_len == 4 => {
                Ok(Self::Esp(reader.rest().as_chunks::<4>().0.iter().map(|spi| u32::from_be_bytes(*spi)).collect()))
            }
            protocol::ESP => Err(reader.error("an ESP SPI has 4 bytes")),
            _ => Ok(Self::Other { protocol, spi_len, spis: reader.rest().to_vec() }),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ike => out.extend_from_slice(&[protocol::IKE, 0, 0, 0]),
            Self::Esp(spis) => {
                out.extend_from_slice(&[protocol::ESP, 4]);
                out.extend_from_slice(&(spis.len() as u16).to_be_bytes());
                spis.iter().for_each(|spi| out.extend_from_slice(&spi.to_be_bytes()));
            }
            Self::Other { protocol, spis, spi_len } => {
                out.extend_from_slice(&[*protocol, *spi_len]);
                let count = if *spi_len == 0 { 0 } else { spis.len() / usize::from(*spi_len) };
                out.extend_from_slice(&(count as u16).to_be_bytes());
                out.extend_from_slice(spis);
            }
        }
    }
}
