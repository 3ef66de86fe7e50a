//! Certificates: reading, chain and purpose checks, lint. Pure: DER and time come in as arguments.
#![forbid(unsafe_code)]

mod certificate;
mod credential;
mod date;
mod lint;
mod name;
mod verify;

pub use lint::lint_server;

use crypto::sign::{KeyKind, SigningKey};
use std::sync::Arc;

/// Seconds since 1970-01-01 UTC.
pub type UnixTime = i64;

/// A parsed X.509 certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// RFC 4514 text, for logs: `CN=pc1.example.test, O=Example`.
    pub subject: String,
    /// DER of the subject Name, as IKE's ID_DER_ASN1_DN carries it.
    pub subject_der: Vec<u8>,
    pub issuer: String,
    pub serial: String,
    /// Common name, if any.
    pub common_name: Option<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<std::net::IpAddr>,
    pub emails: Vec<String>,
    /// Microsoft user principal name (SAN otherName 1.3.6.1.4.1.311.20.2.3).
    pub upns: Vec<String>,
    /// EKU OIDs in dotted form; `None` when the extension is absent.
    pub eku: Option<Vec<String>>,
    pub is_ca: bool,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// `None`: a key type Evergate cannot use.
    pub key_kind: Option<KeyKind>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("no certificate in the PEM text")]
    NoCertificate,
    #[error("certificate {index} cannot be read: {reason}")]
    Malformed { index: usize, reason: String },
    #[error("the private key does not belong to the first certificate ({subject}); is the chain file leaf first?")]
    KeyMismatch { subject: String },
    #[error(transparent)]
    Key(#[from] crypto::sign::KeyError),
}

/// A certificate chain with its private key: what a listener presents.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Leaf first, then intermediates; the root is left out.
    pub chain: Vec<Certificate>,
    pub key: Arc<SigningKey>,
}

/// Roots that client certificates may chain to.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    pub(crate) roots: Vec<Certificate>,
}

/// Which purpose the leaf must serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// EKU clientAuth 1.3.6.1.5.5.7.3.2 (or no EKU extension, or anyExtendedKeyUsage).
    Client,
    /// EKU serverAuth 1.3.6.1.5.5.7.3.1, with the dialled name in SAN.
    Server,
}

/// Why a chain is refused; the text names the certificate and what fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("certificate {subject} is signed by {issuer}, which leads to none of the accepted authorities")]
    UnknownIssuer { subject: String, issuer: String },
    #[error("certificate {subject} expired at {}", date::text(*.not_after))]
    Expired { subject: String, not_after: UnixTime },
    #[error("certificate {subject} is not valid before {}", date::text(*.not_before))]
    NotYetValid { subject: String, not_before: UnixTime },
    #[error("certificate {subject} lacks the extended key usage {wanted}")]
    WrongPurpose { subject: String, wanted: &'static str },
    #[error("certificate {subject} is not made out to {name}")]
    WrongName { subject: String, name: String },
    #[error("certificate {subject}: {reason}")]
    Other { subject: String, reason: String },
}

impl TrustAnchors {
    pub fn new(roots: Vec<Certificate>) -> Self {
        Self { roots }
    }
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }
}

/// One thing about a server certificate that makes a client refuse, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// An error must stop the start (no serverAuth), a warning is printed.
    pub fatal: bool,
    pub text: String,
}

#[cfg(test)]
mod tests;
