//! Chains of payloads and whole unprotected messages.
use super::config::Configuration;
use super::header::{HEADER_LEN, Header};
use super::identity::Identification;
use super::payload::{Auth, CertificatePayload, CertificateRequest, Delete, KeyExchange, Notify, Payload, kind};
use super::reader::{Malformed, ParseError, Reader};
use crate::api::TrafficSelector;
use crate::proposal::SaPayload;

/// Bytes of the generic payload header.
pub(crate) const GENERIC_LEN: usize = 4;
/// More payloads than any client sends in one message: what a hostile one could make us hold stays small.
const MAX_PAYLOADS: usize = 100;
const CRITICAL: u8 = 0x80;

/// The payloads of a message, in the order they came. Of SA, KE, IDi, IDr, AUTH, Nonce, TSi, TSr, CP and EAP there is at most one each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payloads(Vec<Payload>);

/// The first payload that fits a pattern.
macro_rules! first {
    ($self:ident, $pattern:pat => $value:expr) => {
        $self.0.iter().find_map(|payload| match payload {
            $pattern => Some($value),
            _ => None,
        })
    };
}

/// All payloads that fit a pattern.
macro_rules! all {
    ($self:ident, $pattern:pat => $value:expr) => {
        $self.0.iter().filter_map(|payload| match payload {
            $pattern => Some($value),
            _ => None,
        })
    };
}

impl Payloads {
    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Payload> {
        self.0.iter()
    }
    /// Parses a chain whose first payload is of type `first`. Public for fuzzing and test peers.
    ///
    /// # Errors
    /// A payload that does not parse, occurs twice where it must not, or is unknown and critical; SK or SKF, which cannot be nested;
    /// bytes behind the last payload.
    pub fn parse(first: u8, bytes: &[u8]) -> Result<Self, ParseError> {
        let mut chain = Chain::new(first, bytes, 0);
        let mut payloads = Self::default();
        while let Some(next) = chain.next()? {
            if matches!(next.kind, kind::SK | kind::SKF) {
                return Err(next.body.error("an encrypted payload inside another").into());
            }
            payloads.add(next)?;
        }
        chain.reader.finish("bytes behind the last payload")?;
        Ok(payloads)
    }

    fn add(&mut self, next: Next<'_>) -> Result<(), ParseError> {
        if self.0.len() == MAX_PAYLOADS {
            return Err(Malformed { payload: kind::NONE, offset: next.body.offset(), reason: "more than 100 payloads" }.into());
        }
        let error = next.body.error("occurs twice");
        let parsed = Payload::parse(next.kind, next.body)?;
        if matches!(parsed, Payload::Unknown { .. }) && next.critical {
            return Err(ParseError::UnsupportedCritical(next.kind));
        }
        if is_single(next.kind) && self.0.iter().any(|payload| payload.kind() == next.kind) {
            return Err(error.into());
        }
        self.0.push(parsed);
        Ok(())
    }

    pub fn sa(&self) -> Option<&SaPayload> {
        first!(self, Payload::Sa(sa) => sa)
    }
    pub fn key_exchange(&self) -> Option<&KeyExchange> {
        first!(self, Payload::KeyExchange(ke) => ke)
    }
    pub fn id_initiator(&self) -> Option<&Identification> {
        first!(self, Payload::IdInitiator(id) => id)
    }
    pub fn id_responder(&self) -> Option<&Identification> {
        first!(self, Payload::IdResponder(id) => id)
    }
    pub fn auth(&self) -> Option<&Auth> {
        first!(self, Payload::Auth(auth) => auth)
    }
    pub fn nonce(&self) -> Option<&[u8]> {
        first!(self, Payload::Nonce(nonce) => nonce.as_slice())
    }
    pub fn ts_initiator(&self) -> Option<&[TrafficSelector]> {
        first!(self, Payload::TsInitiator(selectors) => selectors.as_slice())
    }
    pub fn ts_responder(&self) -> Option<&[TrafficSelector]> {
        first!(self, Payload::TsResponder(selectors) => selectors.as_slice())
    }
    pub fn configuration(&self) -> Option<&Configuration> {
        first!(self, Payload::Configuration(configuration) => configuration)
    }
    /// The EAP packet.
    pub fn eap(&self) -> Option<&[u8]> {
        first!(self, Payload::Eap(packet) => packet.as_slice())
    }
    /// CERT payloads, the leaf first (RFC 7296 section 3.6).
    pub fn certificates(&self) -> impl Iterator<Item = &CertificatePayload> {
        all!(self, Payload::Certificate(certificate) => certificate)
    }
    pub fn certificate_requests(&self) -> impl Iterator<Item = &CertificateRequest> {
        all!(self, Payload::CertificateRequest(request) => request)
    }
    pub fn notifies(&self) -> impl Iterator<Item = &Notify> {
        all!(self, Payload::Notify(notify) => notify)
    }
    /// The first Notify of this type.
    pub fn notify(&self, kind: u16) -> Option<&Notify> {
        self.notifies().find(|notify| notify.kind == kind)
    }
    /// The first error Notify.
    pub fn error(&self) -> Option<&Notify> {
        self.notifies().find(|notify| notify.is_error())
    }
    pub fn deletes(&self) -> impl Iterator<Item = &Delete> {
        all!(self, Payload::Delete(delete) => delete)
    }
    pub fn vendor_ids(&self) -> impl Iterator<Item = &[u8]> {
        all!(self, Payload::Vendor(id) => id.as_slice())
    }
    /// Types of payloads that we do not know and pass over.
    pub fn ignored(&self) -> impl Iterator<Item = u8> {
        all!(self, Payload::Unknown { kind, .. } => *kind)
    }
}

impl<'a> IntoIterator for &'a Payloads {
    type Item = &'a Payload;
    type IntoIter = std::slice::Iter<'a, Payload>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn is_single(kind: u8) -> bool {
    !matches!(kind, kind::CERT | kind::CERTREQ | kind::NOTIFY | kind::DELETE | kind::VENDOR) && (kind::SA..=kind::EAP).contains(&kind)
}

/// One step along a chain.
pub(crate) struct Next<'a> {
    pub(crate) kind: u8,
    pub(crate) critical: bool,
    /// Type of the payload behind this one (for SK: of the first one inside).
    pub(crate) next: u8,
    pub(crate) body: Reader<'a>,
}

/// Walks generic payload headers.
pub(crate) struct Chain<'a> {
    next: u8,
    pub(crate) reader: Reader<'a>,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(first: u8, bytes: &'a [u8], offset: usize) -> Self {
        Self { next: first, reader: Reader::new(bytes, kind::NONE, offset) }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Next<'a>>, Malformed> {
        let kind = self.next;
        if kind == kind::NONE {
            return Ok(None);
        }
        self.reader.enter(kind);
        let next = self.reader.u8("announced payload is missing")?;
        let critical = self.reader.u8("payload header cut short")? & CRITICAL != 0;
        let length = usize::from(self.reader.u16("payload header cut short")?);
        let Some(body_len) = length.checked_sub(GENERIC_LEN) else {
            return Err(self.reader.error("payload length below its own header"));
        };
        let body = self.reader.part(body_len, "payload runs over the end")?;
        // SK ends the chain: its next-payload field speaks of what is inside.
        self.next = if matches!(kind, kind::SK | kind::SKF) { kind::NONE } else { next };
        self.reader.enter(kind::NONE);
        Ok(Some(Next { kind, critical, next, body }))
    }
}

/// A message without protection (IKE_SA_INIT, or a plain error answer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub header: Header,
    /// The payloads; in a protected message those before SK or SKF, which nobody has authenticated.
    pub payloads: Payloads,
    /// The message goes on with an SK or SKF payload: give it to [`super::unprotect`].
    pub protected: bool,
}

impl Message {
    /// Parses a datagram (non-ESP marker stripped).
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let (header, first) = Header::parse_with_next(datagram)?;
        let mut chain = Chain::new(first, datagram.get(HEADER_LEN..).unwrap_or_default(), HEADER_LEN);
        let mut message = Self { header, payloads: Payloads::default(), protected: false };
        while let Some(next) = chain.next()? {
            if matches!(next.kind, kind::SK | kind::SKF) {
                message.protected = true;
            } else {
                message.payloads.add(next)?;
            }
        }
        chain.reader.finish("bytes behind the last payload")?;
        Ok(message)
    }
}

/// A whole unprotected message.
pub fn encode(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let (first, chain) = encode_chain(payloads);
    let mut out = Vec::with_capacity(HEADER_LEN + chain.len());
    header.write(&mut out, first, HEADER_LEN + chain.len());
    out.extend_from_slice(&chain);
    out
}

/// The type of the first payload, and all of them one after the other.
pub(crate) fn encode_chain(payloads: &[Payload]) -> (u8, Vec<u8>) {
    let kinds: Vec<u8> = payloads.iter().map(Payload::kind).chain([kind::NONE]).collect();
    let mut out = Vec::new();
    for (payload, next) in payloads.iter().zip(&kinds[1..]) {
        let start = out.len();
        let critical = matches!(payload, Payload::Unknown { critical: true, .. });
        out.extend_from_slice(&[*next, if critical { CRITICAL } else { 0 }, 0, 0]);
        payload.write(&mut out);
        let length = (out.len() - start) as u16;
        out[start + 2..start + GENERIC_LEN].copy_from_slice(&length.to_be_bytes());
    }
    (kinds[0], out)
}
