//! SA payloads: proposals, transforms, and the choice among them (RFC 7296 sections 2.7 and 3.3).
mod agreed;
mod mismatch;
mod names;
mod offer;
mod select;
#[cfg(test)]
mod tests;
mod windows;
mod wire;

pub(crate) use agreed::Agreed;
pub use mismatch::Mismatch;
pub use offer::{hybrid, offer_esp, offer_ike};
pub use select::{ChosenEsp, ChosenIke, accept_esp, accept_ike, select_esp, select_ike};
pub use windows::WindowsPolicy;
pub(crate) use windows::windows_fix;

/// Transform types.
pub mod transform {
    pub const ENCR: u8 = 1;
    pub const PRF: u8 = 2;
    pub const INTEG: u8 = 3;
    pub const DH: u8 = 4;
    pub const ESN: u8 = 5;
}

/// Proposals that an event spells out: the record of one attempt must not grow as its sender likes.
const MAX_TEXTS: usize = 32;

/// SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaPayload {
    pub proposals: Vec<Proposal>,
}

/// One proposal: every combination of one transform of each type is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub number: u8,
    /// See [`crate::wire::protocol`].
    pub protocol: u8,
    /// The sender's SPI: 4 bytes for ESP, 8 for the rekey of an IKE SA, else empty.
    pub spi: Vec<u8>,
    pub transforms: Vec<Transform>,
}

/// A transform, known to us or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform {
    /// See [`transform`].
    pub kind: u8,
    pub id: u16,
    /// Key Length attribute, in bits.
    pub key_bits: Option<u16>,
    /// It has an attribute we do not know, so it must not be chosen (section 3.3.6).
    pub unknown_attribute: bool,
}

impl SaPayload {
    /// The proposals as text, for [`crate::api::Event::IkeProposals`]: the first 32, then how many more there are.
    pub fn texts(&self) -> Vec<String> {
        let more = self.proposals.len().saturating_sub(MAX_TEXTS);
        let more = (more > 0).then(|| format!("and {more} more"));
        self.proposals.iter().take(MAX_TEXTS).map(ToString::to_string).chain(more).collect()
    }
}
