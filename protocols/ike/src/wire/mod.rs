//! IKEv2 messages on the wire (RFC 7296 section 3): bytes to values and back. Nothing here panics on what a peer sends.
mod config;
mod fragment;
mod header;
mod identity;
pub mod notify;
mod payload;
mod payloads;
mod protect;
mod reader;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod vendor;

pub use config::{Configuration, ConfigurationAttribute, ConfigurationKind, attribute};
pub use fragment::{Fragment, FragmentError, Reassembly, protect_fragments};
pub use header::{Exchange, Flags, HEADER_LEN, Header, Spi};
pub use identity::{Identification, identity_text};
pub use payload::{
    Auth, CertificatePayload, CertificateRequest, Delete, KeyExchange, Notify, Payload, auth_method, cert_encoding, kind, protocol,
};
pub(crate) use payloads::encode_chain;
pub use payloads::{Message, Payloads, encode};
pub use protect::{OpenError, Opened, open_envelope, protect, unprotect};
pub(crate) use protect::{Raw, int_auth_octets, unprotect_raw};
pub(crate) use reader::Reader;
pub use reader::{Malformed, ParseError};
