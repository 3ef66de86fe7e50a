//! Chains of payloads and whole unprotected messages.
use super::config::Configuration;
use super::header::{HEADER_LEN, Header};
use super::identity::Identification;
use super::payload::{Auth, CertificatePayload, CertificateRequest, Delete, KeyExchange, Notify, Payload, kind};
use super::reader::{Malformed, ParseError, Reader};
use crate::api::TrafficSelector;
use crate::proposal::SaPayload;

/// The payloads of a message, in the order they came. Of SA, KE, IDi, IDr, AUTH, Nonce, TSi, TSr, CP and EAP there is at most one each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payloads(Vec<Payload>);

impl Payloads {
    pub fn iter(&self) -> std::slice::Iter<'_, Payload> {
        todo!()
    }
    /// Parses a chain whose first payload is of type `first`. Public for fuzzing and test peers.
    pub fn parse(first: u8, bytes: &[u8]) -> Result<Self, ParseError> {
        todo!()
    }
    pub fn sa(&self) -> Option<&SaPayload> {
        todo!()
    }
    pub fn key_exchange(&self) -> Option<&KeyExchange> {
        todo!()
    }
    pub fn id_initiator(&self) -> Option<&Identification> {
        todo!()
    }
    pub fn id_responder(&self) -> Option<&Identification> {
        todo!()
    }
    pub fn auth(&self) -> Option<&Auth> {
        todo!()
    }
    pub fn nonce(&self) -> Option<&[u8]> {
        todo!()
    }
    pub fn ts_initiator(&self) -> Option<&[TrafficSelector]> {
        todo!()
    }
    pub fn ts_responder(&self) -> Option<&[TrafficSelector]> {
        todo!()
    }
    pub fn configuration(&self) -> Option<&Configuration> {
        todo!()
    }
    /// The EAP packet.
    pub fn eap(&self) -> Option<&[u8]> {
        todo!()
    }
    /// CERT payloads, the leaf first (RFC 7296 section 3.6).
    pub fn certificates(&self) -> impl Iterator<Item = &CertificatePayload> {
        [].into_iter()
    }
    pub fn certificate_requests(&self) -> impl Iterator<Item = &CertificateRequest> {
        [].into_iter()
    }
    pub fn notifies(&self) -> impl Iterator<Item = &Notify> {
        [].into_iter()
    }
    /// The first Notify of this type.
    pub fn notify(&self, kind: u16) -> Option<&Notify> {
        todo!()
    }
    /// The first error Notify.
    pub fn error(&self) -> Option<&Notify> {
        todo!()
    }
    pub fn deletes(&self) -> impl Iterator<Item = &Delete> {
        [].into_iter()
    }
    pub fn vendor_ids(&self) -> impl Iterator<Item = &[u8]> {
        [].into_iter()
    }
    /// Types of payloads that were skipped.
    pub fn ignored(&self) -> impl Iterator<Item = u8> {
        [].into_iter()
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
        todo!()
    }
}

/// A whole unprotected message.
pub fn encode(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    todo!()
}
