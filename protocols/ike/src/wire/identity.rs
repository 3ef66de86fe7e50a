//! The ID payloads (RFC 7296 section 3.5).
use super::reader::{Malformed, Reader};
use crate::api::Identity;
use pki::Certificate;

/// IDi or IDr: what it says, and its bytes as sent, which AUTH covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    pub identity: Identity,
    /// ID type, reserved bytes and data: "RestOfIDPayload" of RFC 7296 section 2.15.
    pub body: Vec<u8>,
}

impl Identification {
    /// An ID payload to send.
    pub fn new(identity: Identity) -> Self {
        todo!()
    }
    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        todo!()
    }
}

/// An identity for logs, free of control characters. `certificate` is the peer's, whose subject words a distinguished name.
pub fn identity_text(identity: &Identity, certificate: Option<&Certificate>) -> String {
    todo!()
}
