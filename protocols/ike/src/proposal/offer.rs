//! What an initiator offers.
use super::SaPayload;
use crate::api::CipherPolicy;
use crate::wire::Spi;
use crypto::dh::Group;

/// SAi of IKE_SA_INIT (`spi` is `None`) or of an IKE SA rekey: AEADs in one proposal, ciphers with integrity in another; the
/// policy's order is kept. The KE payload's group should be the first of `policy.groups`.
pub fn offer_ike(policy: &CipherPolicy, spi: Option<Spi>) -> SaPayload {
    todo!()
}

/// SAi of a Child SA; `groups` are the PFS groups, empty for IKE_AUTH or without PFS.
pub fn offer_esp(policy: &CipherPolicy, spi: u32, groups: &[Group]) -> SaPayload {
    todo!()
}
