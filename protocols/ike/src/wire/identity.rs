//! The ID payloads (RFC 7296 section 3.5).
use super::reader::{Malformed, Reader};
use crate::api::Identity;
use pki::Certificate;
use std::fmt::Write;

const ID_IPV4_ADDR: u8 = 1;
const ID_FQDN: u8 = 2;
const ID_RFC822_ADDR: u8 = 3;
const ID_IPV6_ADDR: u8 = 5;
const ID_DER_ASN1_DN: u8 = 9;
const ID_KEY_ID: u8 = 11;

/// IDi or IDr: what it says, and its bytes as sent, which AUTH covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// A type that we do not know is kept as [`Identity::KeyId`] with its data.
    pub identity: Identity,
    /// ID type, reserved bytes and data: "RestOfIDPayload" of RFC 7296 section 2.15.
    pub body: Vec<u8>,
}

impl Identification {
    /// An ID payload to send.
    pub fn new(identity: Identity) -> Self {
        let (kind, data) = match &identity {
            Identity::Ipv4(address) => (ID_IPV4_ADDR, address.octets().to_vec()),
            Identity::Ipv6(address) => (ID_IPV6_ADDR, address.octets().to_vec()),
            Identity::Fqdn(name) => (ID_FQDN, name.as_bytes().to_vec()),
            Identity::Email(name) => (ID_RFC822_ADDR, name.as_bytes().to_vec()),
            Identity::DistinguishedName(der) => (ID_DER_ASN1_DN, der.clone()),
            Identity::KeyId(bytes) => (ID_KEY_ID, bytes.clone()),
        };
        let body = [&[kind, 0, 0, 0], data.as_slice()].concat();
        Self { identity, body }
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let body = reader.clone().rest().to_vec();
        let kind = reader.u8("no ID type")?;
        reader.take(3, "reserved bytes missing")?;
        let identity = match kind {
            ID_IPV4_ADDR => Identity::Ipv4(reader.array::<4>("IPv4 address cut short")?.into()),
            ID_IPV6_ADDR => Identity::Ipv6(reader.array::<16>("IPv6 address cut short")?.into()),
            ID_FQDN => Identity::Fqdn(String::from_utf8_lossy(reader.rest()).into_owned()),
            ID_RFC822_ADDR => Identity::Email(String::from_utf8_lossy(reader.rest()).into_owned()),
            ID_DER_ASN1_DN => Identity::DistinguishedName(reader.rest().to_vec()),
            _ => Identity::KeyId(reader.rest().to_vec()),
        };
        reader.finish("bytes behind the address")?;
        Ok(Self { identity, body })
    }
}

/// An identity for logs, free of control characters, cut to 256 bytes. `certificate` is the peer's, whose subject words a distinguished name.
pub fn identity_text(identity: &Identity, certificate: Option<&Certificate>) -> String {
    match identity {
        Identity::Ipv4(address) => address.to_string(),
        Identity::Ipv6(address) => address.to_string(),
        Identity::Fqdn(name) | Identity::Email(name) => printable_text(name),
        Identity::DistinguishedName(der) => match certificate.filter(|certificate| certificate.subject_der == *der) {
            Some(certificate) => printable_text(&certificate.subject),
            None => format!("DN {}", short_hex(der)),
        },
        Identity::KeyId(bytes) => format!("key ID {}", short_hex(bytes)),
    }
}

/// Longest text in bytes; the mark of a cut comes behind it.
const MAX_TEXT: usize = 256;

fn printable_text(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().flat_map(printable) {
        if text.len() + c.len_utf8() > MAX_TEXT {
            text.push_str("..");
            break;
        }
        text.push(c);
    }
    text
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let (escaped, plain) = if c.is_control() { (Some(c.escape_default()), None) } else { (None, Some(c)) };
    escaped.into_iter().flatten().chain(plain)
}

/// The first 32 bytes in hex.
fn short_hex(bytes: &[u8]) -> String {
    let mut text = bytes.iter().take(32).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    if bytes.len() > 32 {
        let _ = write!(text, ".. ({} bytes)", bytes.len());
    }
    text
}
