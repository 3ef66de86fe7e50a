//! Status codes and the Status Info attribute ([MS-SSTP] 2.2.8).
use super::AttributeId;
use std::fmt;

/// A Status Info attribute quotes at most this much of the value that it is about.
pub const MAX_STATUS_VALUE: usize = 64;

/// Why an attribute or a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    pub const NO_ERROR: Self = Self(0x0);
    pub const DUPLICATE_ATTRIBUTE: Self = Self(0x1);
    pub const UNRECOGNIZED_ATTRIBUTE: Self = Self(0x2);
    pub const INVALID_ATTRIB_VALUE_LENGTH: Self = Self(0x3);
    pub const VALUE_NOT_SUPPORTED: Self = Self(0x4);
    pub const UNACCEPTED_FRAME_RECEIVED: Self = Self(0x5);
    pub const RETRY_COUNT_EXCEEDED: Self = Self(0x6);
    pub const INVALID_FRAME_RECEIVED: Self = Self(0x7);
    pub const NEGOTIATION_TIMEOUT: Self = Self(0x8);
    pub const ATTRIB_NOT_SUPPORTED_IN_MSG: Self = Self(0x9);
    pub const REQUIRED_ATTRIBUTE_MISSING: Self = Self(0xa);
    pub const STATUS_INFO_NOT_SUPPORTED_IN_MSG: Self = Self(0xb);

    /// As [MS-SSTP] spells it, without the prefix that all have; `None` for a number that it does not know.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_ERROR => "NO_ERROR",
            Self::DUPLICATE_ATTRIBUTE => "DUPLICATE_ATTRIBUTE",
            Self::UNRECOGNIZED_ATTRIBUTE => "UNRECOGNIZED_ATTRIBUTE",
            Self::INVALID_ATTRIB_VALUE_LENGTH => "INVALID_ATTRIB_VALUE_LENGTH",
            Self::VALUE_NOT_SUPPORTED => "VALUE_NOT_SUPPORTED",
            Self::UNACCEPTED_FRAME_RECEIVED => "UNACCEPTED_FRAME_RECEIVED",
            Self::RETRY_COUNT_EXCEEDED => "RETRY_COUNT_EXCEEDED",
            Self::INVALID_FRAME_RECEIVED => "INVALID_FRAME_RECEIVED",
            Self::NEGOTIATION_TIMEOUT => "NEGOTIATION_TIMEOUT",
            Self::ATTRIB_NOT_SUPPORTED_IN_MSG => "ATTRIB_NOT_SUPPORTED_IN_MSG",
            Self::REQUIRED_ATTRIBUTE_MISSING => "REQUIRED_ATTRIBUTE_MISSING",
            Self::STATUS_INFO_NOT_SUPPORTED_IN_MSG => "STATUS_INFO_NOT_SUPPORTED_IN_MSG",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:x})", self.0),
            None => write!(f, "status 0x{:x}", self.0),
        }
    }
}

/// What is said about one attribute, or, with [`AttributeId::NONE`], about the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusInfo {
    pub attribute: AttributeId,
    pub status: Status,
    /// The beginning of the value that was not accepted, at most [`MAX_STATUS_VALUE`] bytes.
    pub quoted: Vec<u8>,
}

impl StatusInfo {
    pub fn new(attribute: AttributeId, status: Status) -> Self {
        Self { attribute, status, quoted: Vec::new() }
    }

    /// From the value of the attribute; `None` when it is too short or too long.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (&[_, _, _, attribute, s0, s1, s2, s3], quoted) = value.split_first_chunk::<8>()?;
        let status = Status(u32::from_be_bytes([s0, s1, s2, s3]));
        (quoted.len() <= MAX_STATUS_VALUE).then(|| Self { attribute: AttributeId(attribute), status, quoted: quoted.to_vec() })
    }

    pub(super) fn value(&self) -> Vec<u8> {
        let quoted = &self.quoted[..self.quoted.len().min(MAX_STATUS_VALUE)];
        [&[0, 0, 0, self.attribute.0], &self.status.0.to_be_bytes()[..], quoted].concat()
    }
}

impl fmt::Display for StatusInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute {
            AttributeId::NONE => self.status.fmt(f),
            attribute => write!(f, "{attribute}: {}", self.status),
        }
    }
}
