//! RADIUS packets (RFC 2865 section 3) as bytes: a checked view and a builder.
use crate::attributes::{self, VENDOR_MICROSOFT, number};
use crypto::hash::{hmac_md5, md5};

/// The largest packet (RFC 2865 section 3).
pub const MAX_PACKET: usize = 4096;

/// Code, Identifier, Length, Authenticator.
pub const HEADER: usize = 20;

/// The longest value of one attribute.
pub const MAX_VALUE: usize = 253;

/// Code of a packet.
pub mod code {
    pub const ACCESS_REQUEST: u8 = 1;
    pub const ACCESS_ACCEPT: u8 = 2;
    pub const ACCESS_REJECT: u8 = 3;
    pub const ACCOUNTING_REQUEST: u8 = 4;
    pub const ACCOUNTING_RESPONSE: u8 = 5;
    pub const ACCESS_CHALLENGE: u8 = 11;
    /// RFC 5997.
    pub const STATUS_SERVER: u8 = 12;
    pub const DISCONNECT_REQUEST: u8 = 40;
    pub const DISCONNECT_ACK: u8 = 41;
    pub const DISCONNECT_NAK: u8 = 42;
    pub const COA_REQUEST: u8 = 43;
    pub const COA_ACK: u8 = 44;
    pub const COA_NAK: u8 = 45;
    /// RFC 7930 section 4; in RADIUS/1.1 what a server says that cannot serve a request.
    pub const PROTOCOL_ERROR: u8 = 52;
}

/// The bytes are no RADIUS packet. Offsets count from the packet's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{got} bytes are shorter than a RADIUS header")]
    Short { got: usize },
    #[error("Length field at byte 2 says {said}, the datagram has {got} bytes")]
    Length { said: usize, got: usize },
    #[error("attribute {kind} at byte {offset} has length {length}, {remaining} bytes are left")]
    Attribute { kind: u8, offset: usize, length: usize, remaining: usize },
    #[error("attribute at byte {offset} has no length byte")]
    Truncated { offset: usize },
    #[error("{name} at byte {offset} has a value of {got} bytes; {wanted}")]
    Value { name: &'static str, offset: usize, got: usize, wanted: &'static str },
}

/// One attribute, its value raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub number: u8,
    pub value: &'a [u8],
    /// Where the attribute begins in the packet.
    pub offset: usize,
}

/// A checked view on one packet: the length field fits and the attributes fill it exactly.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    attributes: Vec<Attribute<'a>>,
}

impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RADIUS code {} id {} ({} bytes, {} attributes)", self.code(), self.identifier(), self.bytes.len(), self.attributes.len())
    }
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Bytes beyond the Length field are padding (RFC 2865 section 3); unknown attributes are kept.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        if datagram.len() < HEADER {
            return Err(Malformed::Short { got: datagram.len() });
        }
        let said = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        if !(HEADER..=MAX_PACKET).contains(&said) || said > datagram.len() {
            return Err(Malformed::Length { said, got: datagram.len() });
        }
        let bytes = &datagram[..said];
        Ok(Self { bytes, attributes: read_attributes(bytes)? })
    }

    pub fn code(&self) -> u8 {
        self.bytes[0]
    }

    pub fn identifier(&self) -> u8 {
        self.bytes[1]
    }

    /// Request or Response Authenticator.
    pub fn authenticator(&self) -> &'a [u8; 16] {
        // `parse` guarantees the header.
        self.bytes[4..HEADER].try_into().expect("a header is 20 bytes")
    }

    /// What stands in the place of the Identifier in RADIUS/1.1 (RFC 9765 section 4.2).
    pub fn token(&self) -> u32 {
        // `parse` guarantees the header.
        u32::from_be_bytes(self.bytes[4..8].try_into().expect("a header is 20 bytes"))
    }

    /// All attributes in their order.
    pub fn attributes(&self) -> &[Attribute<'a>] {
        &self.attributes
    }

    /// The attributes of one number, in order.
    pub fn all(&self, number: u8) -> impl Iterator<Item = Attribute<'a>> + '_ {
        self.attributes.iter().copied().filter(move |attribute| attribute.number == number)
    }

    /// The first attribute of a number.
    pub fn first(&self, number: u8) -> Option<Attribute<'a>> {
        self.all(number).next()
    }

    /// The EAP packet of all EAP-Message attributes joined (RFC 3579 section 3.1); `None` without any.
    pub fn eap_message(&self) -> Option<Vec<u8>> {
        self.first(number::EAP_MESSAGE)?;
        Some(self.all(number::EAP_MESSAGE).flat_map(|attribute| attribute.value.iter().copied()).collect())
    }

    /// Values of Microsoft's attributes of one vendor type (RFC 2548 section 2), in order. Several may share one Vendor-Specific.
    pub fn microsoft(&self, vendor_type: u8) -> Result<Vec<Attribute<'a>>, Malformed> {
        let mut found = Vec::new();
        for attribute in self.all(number::VENDOR_SPECIFIC) {
            let Some((vendor, body)) = attribute.value.split_first_chunk::<4>() else { continue };
            if u32::from_be_bytes(*vendor) != VENDOR_MICROSOFT {
                continue;
            }
            found.extend(read_list(body, attribute.offset + 6)?.into_iter().filter(|inner| inner.number == vendor_type));
        }
        Ok(found)
    }

    /// Response Authenticator that fits this reply (RFC 2865 section 3, RFC 2866 section 3).
    pub fn response_authenticator(&self, request_authenticator: &[u8; 16], secret: &[u8]) -> [u8; 16] {
        md5(&[&self.bytes[..4], request_authenticator, &self.bytes[HEADER..], secret])
    }

    /// Message-Authenticator that fits this packet, given the place of its 18-byte attribute (RFC 3579 section 3.2). In a reply the header
    /// counts with the *Request* Authenticator.
    pub(crate) fn message_authenticator(&self, offset: usize, request_authenticator: &[u8; 16], secret: &[u8]) -> [u8; 16] {
        let value = offset + 2;
        let parts = [&self.bytes[..4], request_authenticator, &self.bytes[HEADER..value], &[0; 16], &self.bytes[value + 16..]];
        hmac_md5(secret, &parts)
    }
}

fn read_attributes(bytes: &[u8]) -> Result<Vec<Attribute<'_>>, Malformed> {
    read_list(&bytes[HEADER..], HEADER)
}

/// Reads type, length, value until the end; `base` is the offset of `bytes` in the packet.
fn read_list(bytes: &[u8], base: usize) -> Result<Vec<Attribute<'_>>, Malformed> {
    let mut attributes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let offset = base + at;
        let &[number, length, ..] = &bytes[at..] else { return Err(Malformed::Truncated { offset }) };
        let length = usize::from(length);
        let remaining = bytes.len() - at;
        if length < 2 || length > remaining {
            return Err(Malformed::Attribute { kind: number, offset, length, remaining });
        }
        attributes.push(Attribute { number, value: &bytes[at + 2..at + length], offset });
        at += length;
    }
    Ok(attributes)
}

/// A request cannot be written: a value does not fit its attribute, or the packet does not fit [`MAX_PACKET`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    #[error("{name} of {got} bytes does not fit one attribute of {MAX_VALUE}")]
    Value { name: &'static str, got: usize },
    #[error("packet of {got} bytes exceeds {MAX_PACKET}")]
    Packet { got: usize },
}

/// How a request is told from others, and what guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// RFC 2865: the shared secret guards it. Accounting-Requests compute their own authenticator.
    Identified { identifier: u8, authenticator: [u8; 16] },
    /// RADIUS/1.1 (RFC 9765 section 4.1): TLS guards it, with everything in it.
    Token(u32),
}

/// Writes one request.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    too_long: Option<TooLong>,
    /// RADIUS/1.1: no authenticators.
    bare: bool,
}

impl Builder {
    /// A request of `code` in its envelope.
    pub(crate) fn request(code: u8, envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Token(token) => {
                // Reserved-1 and Reserved-2 are zero.
                let mut authenticator = [0; 16];
                authenticator[..4].copy_from_slice(&token.to_be_bytes());
                Self { bare: true, ..Self::new(code, 0, &authenticator) }
            }
            Envelope::Identified { identifier, authenticator } => match code {
                code::ACCESS_REQUEST => Self::access_request(*identifier, authenticator),
                code::STATUS_SERVER => Self::status_server(*identifier, authenticator),
                _ => Self::new(code, *identifier, &[0; 16]),
            },
        }
    }

    /// An Access-Request; its first attribute is the Message-Authenticator (CVE-2024-3596), filled in by [`Builder::sign`].
    pub fn access_request(identifier: u8, authenticator: &[u8; 16]) -> Self {
        let mut builder = Self::new(code::ACCESS_REQUEST, identifier, authenticator);
        builder.put(number::MESSAGE_AUTHENTICATOR, &[0; 16]);
        builder
    }

    /// A Status-Server (RFC 5997), Message-Authenticator first as in an Access-Request.
    pub fn status_server(identifier: u8, authenticator: &[u8; 16]) -> Self {
        let mut builder = Self::new(code::STATUS_SERVER, identifier, authenticator);
        builder.put(number::MESSAGE_AUTHENTICATOR, &[0; 16]);
        builder
    }

    /// An Accounting-Request; its authenticator is computed by [`Builder::sign`] (RFC 2866 section 3).
    pub fn accounting_request(identifier: u8) -> Self {
        Self::new(code::ACCOUNTING_REQUEST, identifier, &[0; 16])
    }

    pub(crate) fn new(code: u8, identifier: u8, authenticator: &[u8; 16]) -> Self {
        let mut bytes = vec![code, identifier, 0, 0];
        bytes.extend_from_slice(authenticator);
        Self { bytes, too_long: None, bare: false }
    }

    /// Appends an attribute. An empty value is left out: RFC 2865 section 5 forbids sending one.
    pub fn put(&mut self, number: u8, value: &[u8]) -> &mut Self {
        if value.len() > MAX_VALUE {
            self.too_long = Some(TooLong::Value { name: attributes::name(number), got: value.len() });
        } else if !value.is_empty() {
            self.bytes.extend_from_slice(&[number, (value.len() + 2) as u8]);
            self.bytes.extend_from_slice(value);
        }
        self
    }

    pub fn put_u32(&mut self, number: u8, value: u32) -> &mut Self {
        self.put(number, &value.to_be_bytes())
    }

    /// An integer of which zero would say something that is not so.
    pub fn put_u32_unless_zero(&mut self, number: u8, value: u32) -> &mut Self {
        if value == 0 { self } else { self.put_u32(number, value) }
    }

    /// An integer of 24 bits with a tag of zero (RFC 2868 section 3.1), unless it is zero.
    pub fn put_tagged_u32(&mut self, number: u8, value: u32) -> &mut Self {
        self.put_u32_unless_zero(number, value & 0x00ff_ffff)
    }

    /// A Vendor-Specific of Microsoft with one attribute inside.
    pub fn put_microsoft(&mut self, vendor_type: u8, value: &[u8]) -> &mut Self {
        self.put_vendor(VENDOR_MICROSOFT, vendor_type, value)
    }

    /// A Vendor-Specific with one attribute inside.
    pub fn put_vendor(&mut self, vendor: u32, vendor_type: u8, value: &[u8]) -> &mut Self {
        let mut body = vendor.to_be_bytes().to_vec();
        body.extend_from_slice(&[vendor_type, (value.len() + 2).min(255) as u8]);
        body.extend_from_slice(value);
        self.put(number::VENDOR_SPECIFIC, &body)
    }

    /// An EAP packet in pieces of 253 bytes, contiguous and in order (RFC 3579 section 3.1).
    pub fn put_eap(&mut self, eap: &[u8]) -> &mut Self {
        for piece in eap.chunks(MAX_VALUE) {
            self.put(number::EAP_MESSAGE, piece);
        }
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the length and, but in RADIUS/1.1, the authenticators.
    pub fn sign(self, secret: &[u8]) -> Result<Vec<u8>, TooLong> {
        let Self { mut bytes, too_long, bare } = self;
        if let Some(error) = too_long {
            return Err(error);
        }
        let length = u16::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_PACKET);
        let length = length.ok_or(TooLong::Packet { got: bytes.len() })?;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        if bare {
            return Ok(bytes);
        }
        if matches!(bytes[0], code::ACCESS_REQUEST | code::STATUS_SERVER) {
            let value = hmac_md5(secret, &[&bytes]);
            bytes[HEADER + 2..HEADER + 18].copy_from_slice(&value);
        } else {
            let authenticator = md5(&[&bytes, secret]);
            bytes[4..HEADER].copy_from_slice(&authenticator);
        }
        Ok(bytes)
    }
}
