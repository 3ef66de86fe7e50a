//! TLS 1.2 and 1.3 (rustls), on buffers of the caller: handshake, records, the certificate that each connection was shown.
//! No IO, no clock. The only randomness is that of the handshake and of signatures, which the TLS library draws itself.
//!
//! [`ServerSettings`] are what a listener presents; exchanging them touches no running connection. [`Connection`] is the machine:
//! bytes of the client go in, plaintext and bytes for the client come out. [`MutualConnection`] is the one whose client shows a certificate, for
//! EAP-TLS: a handshake that yields keys. [`ClientConnection`] is the other end, with a certificate of its own, for RADIUS over TLS.
#![forbid(unsafe_code)]

mod client;
mod connection;
mod error;
mod key;
mod mutual;
mod settings;

pub use client::{ClientConnection, ClientSettings, ServerFault};
pub use connection::{Connection, MAX_HELD, MAX_PLAINTEXT, MAX_RECORD, Report, Status};
pub use error::TlsError;
pub use mutual::{MutualConnection, MutualSettings};
pub use settings::{ServerSettings, Visitor, key_rank};

#[cfg(test)]
mod tests;
