//! The IKE header (RFC 7296 section 3.1).
use super::reader::{Malformed, ParseError, Reader};

/// Bytes of the IKE header.
pub const HEADER_LEN: usize = 28;

/// An IKE SPI; 0 means "not yet known" and is only allowed for the responder's, in IKE_SA_INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Spi(pub u64);

impl std::fmt::Display for Spi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Exchange type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    IkeSaInit,
    IkeAuth,
    CreateChildSa,
    Informational,
    /// RFC 9242.
    IkeIntermediate,
    /// RFC 9370 section 2.2.4.
    IkeFollowupKe,
    Other(u8),
}

impl Exchange {
    pub fn id(self) -> u8 {
        match self {
            Self::IkeSaInit => 34,
            Self::IkeAuth => 35,
            Self::CreateChildSa => 36,
            Self::Informational => 37,
            Self::IkeIntermediate => 43,
            Self::IkeFollowupKe => 44,
            Self::Other(id) => id,
        }
    }
    pub fn from_id(id: u8) -> Self {
        match id {
            34 => Self::IkeSaInit,
            35 => Self::IkeAuth,
            36 => Self::CreateChildSa,
            37 => Self::Informational,
            43 => Self::IkeIntermediate,
            44 => Self::IkeFollowupKe,
            other => Self::Other(other),
        }
    }
}

/// The flags that RFC 7296 defines; all others are ignored on receipt and sent as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flags {
    /// The sender is the original initiator of the IKE SA.
    pub initiator: bool,
    pub response: bool,
    /// The sender could speak a higher major version.
    pub version: bool,
}

impl Flags {
    const INITIATOR: u8 = 0x08;
    const VERSION: u8 = 0x10;
    const RESPONSE: u8 = 0x20;

    fn from_byte(byte: u8) -> Self {
        Self { initiator: byte & Self::INITIATOR != 0, response: byte & Self::RESPONSE != 0, version: byte & Self::VERSION != 0 }
    }
    fn byte(self) -> u8 {
        [(self.initiator, Self::INITIATOR), (self.response, Self::RESPONSE), (self.version, Self::VERSION)]
            .into_iter()
            .filter(|(set, _)| *set)
            .fold(0, |byte, (_, bit)| byte | bit)
    }
}

/// The IKE header without its length and first payload type, which follow from the rest of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    pub initiator_spi: Spi,
    pub responder_spi: Spi,
    /// Major version; 2 in everything that [`Header::parse`] accepts.
    pub major: u8,
    pub exchange: Exchange,
    pub flags: Flags,
    pub message_id: u32,
}

impl Header {
    /// A header of a message that we send.
    pub fn new(initiator_spi: Spi, responder_spi: Spi, exchange: Exchange, flags: Flags, message_id: u32) -> Self {
        Self { initiator_spi, responder_spi, major: 2, exchange, flags, message_id }
    }
    /// Reads the header of a datagram (non-ESP marker stripped) and checks version and length, nothing behind it. Cheap: for demultiplexing.
    ///
    /// # Errors
    /// [`ParseError::MajorVersion`] before any complaint about the length, for this has an answer; [`ParseError::Malformed`] when the datagram is shorter than a
    /// header, its length differs from the length field, or the initiator's SPI is zero.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        Self::parse_with_next(datagram).map(|(header, _)| header)
    }

    /// The SPI of the side that sent this.
    pub fn sender(&self) -> Spi {
        if self.flags.initiator { self.initiator_spi } else { self.responder_spi }
    }

    /// The header and the type of the first payload.
    pub(crate) fn parse_with_next(datagram: &[u8]) -> Result<(Self, u8), ParseError> {
        const SHORT: &str = "datagram shorter than the IKE header";
        let mut reader = Reader::new(datagram, 0, 0);
        let (initiator_spi, responder_spi) = (Spi(reader.u64(SHORT)?), Spi(reader.u64(SHORT)?));
        let (next, version, exchange, flags) = (reader.u8(SHORT)?, reader.u8(SHORT)?, reader.u8(SHORT)?, reader.u8(SHORT)?);
        let message_id = reader.u32(SHORT)?;
        let length = reader.u32(SHORT)?;
        let (exchange, flags) = (Exchange::from_id(exchange), Flags::from_byte(flags));
        let header = Self { initiator_spi, responder_spi, major: version >> 4, exchange, flags, message_id };
        if header.initiator_spi == Spi::default() {
            return Err(Malformed { payload: 0, offset: 0, reason: "initiator SPI is zero" }.into());
        }
        if header.major != 2 {
            return Err(ParseError::MajorVersion(header));
        }
        if usize::try_from(length) != Ok(datagram.len()) {
            return Err(Malformed { payload: 0, offset: 24, reason: "length field differs from the datagram's length" }.into());
        }
        Ok((header, next))
    }

    /// The 28 bytes, for a message of `length` bytes in all.
    pub(crate) fn write(&self, out: &mut Vec<u8>, next: u8, length: usize) {
        out.extend_from_slice(&self.initiator_spi.0.to_be_bytes());
        out.extend_from_slice(&self.responder_spi.0.to_be_bytes());
        out.extend_from_slice(&[next, self.major << 4, self.exchange.id(), self.flags.byte()]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}
