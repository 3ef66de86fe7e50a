//! Which of the offered combinations we take.
use super::SaPayload;
use crate::api::{CipherPolicy, EspSuite, IkeSuite};
use crate::wire::Spi;
use crypto::dh::Group;

/// The IKE suite we agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenIke {
    /// Number of the peer's proposal.
    pub number: u8,
    /// The peer's new SPI, in a rekey of the IKE SA.
    pub spi: Option<Spi>,
    pub suite: IkeSuite,
    answer: super::Proposal,
}

impl ChosenIke {
    /// SAr: the chosen proposal with one transform of each type and our own SPI (`None` in IKE_SA_INIT).
    pub fn reply(&self, spi: Option<Spi>) -> SaPayload {
        todo!()
    }
}

impl std::fmt::Display for ChosenIke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// The ESP suite we agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenEsp {
    pub number: u8,
    /// The peer's SPI (its inbound one).
    pub spi: u32,
    pub suite: EspSuite,
    /// Group of the key exchange in a rekey; `None` without PFS.
    pub group: Option<Group>,
    answer: super::Proposal,
}

impl ChosenEsp {
    /// SAr: the chosen proposal with one transform of each type and our own SPI.
    pub fn reply(&self, spi: u32) -> SaPayload {
        todo!()
    }
}

impl std::fmt::Display for ChosenEsp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// Nothing fits: answer NO_PROPOSAL_CHOSEN. The text is for the record: what was offered, what is accepted, the nearest miss.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no common proposal; offered [{}]; accepted [{accepted}]; nearest: {nearest}", .offered.join(", "))]
pub struct Mismatch {
    pub offered: Vec<String>,
    pub accepted: String,
    /// `#2 differs in DH: MODP_1024 offered, accepted: MODP_2048, ECP_256`.
    pub nearest: String,
}

/// Responder: our best combination among the offered ones, by the policy's order of protection, PRF, group; those whose group is that of
/// the KE payload (`ke_group`, its number on the wire) come first. When `suite.group` of the result differs from the KE payload's, answer INVALID_KE_PAYLOAD with it.
pub fn select_ike(policy: &CipherPolicy, offered: &SaPayload, ke_group: u16) -> Result<ChosenIke, Mismatch> {
    todo!()
}

/// Responder: our best ESP combination. In IKE_AUTH (`rekey` false) there is no key exchange and D-H transforms are ignored. In
/// CREATE_CHILD_SA (`rekey` true) the order is: the KE payload's group (or none without KE), no PFS where offered, another
/// group of `pfs_groups`. When `group` of the result is `Some` and differs from `ke_group`, answer INVALID_KE_PAYLOAD with it;
/// when it is `None`, the answer has no KE.
pub fn select_esp(policy: &CipherPolicy, offered: &SaPayload, ke_group: Option<u16>, rekey: bool) -> Result<ChosenEsp, Mismatch> {
    todo!()
}

/// Initiator: checks the responder's answer: one proposal, one transform of each type, all of it within what `offered` held.
pub fn accept_ike(offered: &SaPayload, answer: &SaPayload) -> Result<ChosenIke, Mismatch> {
    todo!()
}

/// Initiator: as [`accept_ike`], for a Child SA.
pub fn accept_esp(offered: &SaPayload, answer: &SaPayload) -> Result<ChosenEsp, Mismatch> {
    todo!()
}
