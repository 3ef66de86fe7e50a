//! Certificates: reading, chain and purpose checks, lint. Pure: DER and time come in as arguments.
#![forbid(unsafe_code)]

mod certificate;
mod choice;
mod credential;
mod crl;
mod date;
mod lint;
mod name;
mod purpose;
mod revocation;
mod signed;
mod steering;
mod verify;

pub use choice::{
    AskedName, Asks, Hints, KeyRank, Rule, Selection, ServerCertificate, Tie, answering, choose, find_tie, known_authorities, undecided,
};
pub use lint::{lint_server, revocation_places};
pub use purpose::purpose_oid;
pub use steering::{Arrival, Named, Steered, Steering};

use crypto::sign::{KeyKind, SigningKey};
use std::borrow::Cow;
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
    pub issuer_der: Vec<u8>,
    /// Hexadecimal.
    pub serial: String,
    pub(crate) serial_der: Vec<u8>,
    /// Common name, if any.
    pub common_name: Option<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<std::net::IpAddr>,
    pub emails: Vec<String>,
    /// Microsoft user principal name (SAN otherName 1.3.6.1.4.1.311.20.2.3).
    pub upns: Vec<String>,
    /// EKU OIDs in dotted form; `None` when the extension is absent.
    pub eku: Option<Vec<String>>,
    /// OID of the certificate template that Microsoft's authority issued it by (extension 1.3.6.1.4.1.311.21.7).
    pub template: Option<String>,
    /// `None` when the extension is absent: every use is allowed.
    pub key_usage: Option<KeyUsage>,
    /// Where its issuer publishes revocation lists (CRL distribution points), of whatever scheme.
    pub crl_urls: Vec<String>,
    /// Where its issuer answers questions about its revocation (OCSP), of whatever scheme.
    pub ocsp_urls: Vec<String>,
    /// Where its issuer's certificate can be had.
    pub issuer_urls: Vec<String>,
    pub is_ca: bool,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// `None`: a key type Evergate cannot use.
    pub key_kind: Option<KeyKind>,
}

/// What of the extension key usage decides here (RFC 5280 section 4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    pub digital_signature: bool,
    pub crl_sign: bool,
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
    /// Roots that the file held: nobody is sent them, but they are what clients ask for.
    pub roots: Vec<Certificate>,
    pub key: Arc<SigningKey>,
}

/// Authorities that client certificates may chain to, and what else is asked of a chain.
///
/// An authority that another one of them has issued serves as an intermediate; so it can itself be revoked, and clients need not send it.
#[derive(Debug, Clone)]
pub struct TrustAnchors {
    pub(crate) roots: Vec<Certificate>,
    /// For each of `roots`: another one of them has issued it.
    pub(crate) subordinate: Vec<bool>,
    pub(crate) client_purposes: Vec<String>,
    pub(crate) revocation: Revocation,
    pub(crate) crls: Vec<Arc<Crl>>,
}

/// What a certificate needs for want of revocation. One that is known as revoked is refused unless this is `Off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revocation {
    /// Nobody looks.
    #[default]
    Off,
    /// Whatever is not known as revoked passes, with a note when no current list says so.
    Soft,
    /// A current list of its issuer must clear each certificate of the chain below the root.
    Hard,
}

/// A revocation list whose signature nobody has checked.
pub struct UnverifiedCrl {
    pub(crate) list: Crl,
    pub(crate) der: Vec<u8>,
}

/// A revocation list that one of the accepted authorities has signed.
pub struct Crl {
    pub(crate) issuer: String,
    pub(crate) issuer_der: Vec<u8>,
    pub(crate) issuer_spki: Vec<u8>,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    pub(crate) scope: crl::Scope,
    /// In order of serial numbers.
    pub(crate) revoked: Vec<crl::Entry>,
}

/// Why a revocation list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    #[error("holds no revocation list (neither PEM with X509 CRL, nor DER)")]
    NoList,
    #[error("{reason}")]
    Malformed { reason: String },
    #[error("is issued by {issuer}, which is none of the accepted authorities: add the certificate of that authority to them")]
    UnknownIssuer { issuer: String },
    #[error("is not signed with the key of its issuer ({issuer}), or with an algorithm that is not accepted, such as SHA-1")]
    BadSignature { issuer: String },
    #[error("is signed by {issuer}, whose certificate does not allow that (key usage lacks cRLSign)")]
    NotASigner { issuer: String },
}

/// Which purpose the leaf must serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One of the purposes of [`TrustAnchors::with_client_purposes`], clientAuth unless told otherwise. No EKU extension, or
    /// anyExtendedKeyUsage, counts as clientAuth. Key usage, where present, must hold digitalSignature.
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
    WrongPurpose { subject: String, wanted: Cow<'static, str> },
    #[error("certificate {subject} may not be used for signatures (key usage lacks digitalSignature)")]
    WrongKeyUsage { subject: String },
    #[error("certificate {subject} is not made out to {name}")]
    WrongName { subject: String, name: String },
    #[error("certificate {subject} with the serial number {serial} was revoked at {} ({reason})", date::text(*.at))]
    Revoked { subject: String, serial: String, at: UnixTime, reason: &'static str },
    /// Only under [`Revocation::Hard`].
    #[error("certificate {subject} may be revoked: {reason}; revocation = \"hard\" then refuses")]
    RevocationUnknown { subject: String, reason: String },
    #[error("certificate {subject}: {reason}")]
    Other { subject: String, reason: String },
}

/// By whom a server certificate is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    pub ikev2: bool,
    pub sstp: bool,
}

/// One thing about a server certificate that makes a client refuse, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// An error must stop the start (no serverAuth), a warning is printed.
    pub fatal: bool,
    /// Which certificate, and what is wrong with it.
    pub culprit: String,
    /// Who refuses it, and with which error.
    pub refused_by: String,
    /// What to do about it.
    pub remedy: String,
}

#[cfg(test)]
mod tests;
