//! Attributes ([MS-SSTP] 2.2.4 to 2.2.7).
use super::hash_of_bit;
use super::status::{MAX_STATUS_VALUE, Status, StatusInfo};
use crate::api::{BindingHash, HEADER_LEN};
use std::fmt;

/// What an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeId(pub u8);

impl AttributeId {
    /// In a Status Info attribute that is about no attribute.
    pub const NONE: Self = Self(0);
    pub const ENCAPSULATED_PROTOCOL_ID: Self = Self(1);
    pub const STATUS_INFO: Self = Self(2);
    pub const CRYPTO_BINDING: Self = Self(3);
    pub const CRYPTO_BINDING_REQ: Self = Self(4);

    pub(super) fn is_known(self) -> bool {
        (1..=4).contains(&self.0)
    }
}

impl fmt::Display for AttributeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ENCAPSULATED_PROTOCOL_ID => f.write_str("ENCAPSULATED_PROTOCOL_ID"),
            Self::STATUS_INFO => f.write_str("STATUS_INFO"),
            Self::CRYPTO_BINDING => f.write_str("CRYPTO_BINDING"),
            Self::CRYPTO_BINDING_REQ => f.write_str("CRYPTO_BINDING_REQ"),
            Self(other) => write!(f, "attribute {other}"),
        }
    }
}

/// One attribute of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub id: AttributeId,
    pub value: &'a [u8],
}

impl Attribute<'_> {
    pub(super) fn status(&self) -> Option<StatusInfo> {
        (self.id == AttributeId::STATUS_INFO).then(|| StatusInfo::parse(self.value))?
    }

    pub(super) fn rejected(&self, status: Status) -> StatusInfo {
        let quoted = self.value[..self.value.len().min(MAX_STATUS_VALUE)].to_vec();
        StatusInfo { attribute: self.id, status, quoted }
    }
}

/// Why a packet does not fall into its attributes.
#[derive(Debug)]
pub(super) enum Broken<'a> {
    /// This attribute is shorter than its header or longer than the packet; its value is what is left.
    Length(Attribute<'a>),
    /// More or fewer attributes than announced.
    Count,
}

/// The attributes in the body of a packet, as many as announced.
pub(super) fn attributes(mut body: &[u8], count: u16) -> Result<Vec<Attribute<'_>>, Broken<'_>> {
    let mut list = Vec::new();
    for _ in 0..count {
        let Some((&[_, id, high, low], rest)) = body.split_first_chunk::<HEADER_LEN>() else { return Err(Broken::Count) };
        let (id, len) = (AttributeId(id), usize::from(u16::from_be_bytes([high, low]) & 0x0fff));
        let value = len.checked_sub(HEADER_LEN).and_then(|len| rest.split_at_checked(len));
        let Some((value, rest)) = value else { return Err(Broken::Length(Attribute { id, value: rest })) };
        list.push(Attribute { id, value });
        body = rest;
    }
    if body.is_empty() { Ok(list) } else { Err(Broken::Count) }
}

/// Crypto Binding Request: what the server offers and its nonce ([MS-SSTP] 2.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRequest {
    pub sha1: bool,
    pub sha256: bool,
    pub nonce: [u8; 32],
}

impl BindingRequest {
    /// Whether a client may use this hash.
    pub fn offers(&self, hash: BindingHash) -> bool {
        match hash {
            BindingHash::Sha1 => self.sha1,
            BindingHash::Sha256 => self.sha256,
        }
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let [_, _, _, bitmask, nonce @ ..] = value else { return None };
        let offers = |hash: BindingHash| bitmask & hash.bit() != 0;
        Some(Self { sha1: offers(BindingHash::Sha1), sha256: offers(BindingHash::Sha256), nonce: nonce.try_into().ok()? })
    }

    pub(super) fn value(&self) -> Vec<u8> {
        let bit = |hash: BindingHash| if self.offers(hash) { hash.bit() } else { 0 };
        [&[0, 0, 0, bit(BindingHash::Sha1) | bit(BindingHash::Sha256)], &self.nonce[..]].concat()
    }
}

/// CALL_CONNECTED with its Crypto Binding attribute ([MS-SSTP] 2.2.7 and 2.2.11). Kept whole: the compound MAC covers it as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct CallConnected {
    hash: BindingHash,
    bytes: [u8; Self::LEN],
}

impl CallConnected {
    /// Of the packet.
    pub const LEN: usize = 112;
    const HASH_PROTOCOL: usize = 15;
    const NONCE: std::ops::Range<usize> = 16..48;
    const CERTIFICATE_HASH: usize = 48;
    /// Where the compound MAC and its padding begin, to the end of the packet.
    const MAC: usize = 80;

    /// A message to sign: its compound MAC is zero. `certificate_hash` has the length of the hash.
    ///
    /// # Panics
    /// When `certificate_hash` is longer than 32 bytes.
    pub fn unsigned(hash: BindingHash, nonce: &[u8; 32], certificate_hash: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[..Self::HASH_PROTOCOL].copy_from_slice(&[0x10, 1, 0, Self::LEN as u8, 0, 4, 0, 1, 0, 3, 0, 0x68, 0, 0, 0]);
        bytes[Self::HASH_PROTOCOL] = hash.bit();
        bytes[Self::NONCE].copy_from_slice(nonce);
        bytes[Self::CERTIFICATE_HASH..][..certificate_hash.len()].copy_from_slice(certificate_hash);
        Self { hash, bytes }
    }

    /// The same message with this compound MAC, of the length of the hash.
    ///
    /// # Panics
    /// When `mac` is longer than 32 bytes.
    pub fn signed(mut self, mac: &[u8]) -> Self {
        self.bytes[Self::MAC..][..mac.len()].copy_from_slice(mac);
        self
    }

    /// `None` when the hash protocol is not exactly one that there is.
    pub(super) fn parse(bytes: [u8; Self::LEN]) -> Option<Self> {
        let hash = hash_of_bit(bytes[Self::HASH_PROTOCOL])?;
        Some(Self { hash, bytes })
    }

    pub fn hash(&self) -> BindingHash {
        self.hash
    }

    pub fn nonce(&self) -> &[u8] {
        &self.bytes[Self::NONCE]
    }

    /// Of the length of the hash, without padding.
    pub fn certificate_hash(&self) -> &[u8] {
        &self.bytes[Self::CERTIFICATE_HASH..][..self.hash.len()]
    }

    /// Of the length of the hash, without padding.
    pub fn mac(&self) -> &[u8] {
        &self.bytes[Self::MAC..][..self.hash.len()]
    }

    /// What the compound MAC covers: the packet as it was sent, but MAC and its padding zero.
    pub fn mac_input(&self) -> [u8; Self::LEN] {
        let mut bytes = self.bytes;
        bytes[Self::MAC..].fill(0);
        bytes
    }

    /// The whole packet.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }
}

impl fmt::Debug for CallConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallConnected").field("hash", &self.hash).finish_non_exhaustive()
    }
}
