//! What an initiator offers.
use super::names::{ADDKE, NONE};
use super::{Proposal, SaPayload, Transform};
use crate::api::CipherPolicy;
use crate::wire::{Spi, protocol};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;

/// SAi of IKE_SA_INIT (`spi` is `None`) or of an IKE SA rekey: AEADs in one proposal, ciphers with integrity in another; the
/// policy's order is kept. An additional key exchange is offered, not demanded. The KE payload's group should be the first of `policy.groups`.
pub fn offer_ike(policy: &CipherPolicy, spi: Option<Spi>) -> SaPayload {
    let spi = spi.map(|spi| spi.0.to_be_bytes().to_vec()).unwrap_or_default();
    let prfs = policy.prfs.iter().copied().map(Transform::prf);
    let groups = policy.groups.iter().copied().map(Transform::group);
    let none = (!policy.additional.is_empty()).then(|| Transform::new(*ADDKE.start(), NONE));
    let additional = policy.additional.iter().copied().map(Transform::additional).chain(none);
    offer(protocol::IKE, &spi, &policy.ike, &prfs.chain(groups).chain(additional).collect::<Vec<_>>())
}

/// SAi of a Child SA; `groups` are the PFS groups, empty for IKE_AUTH or without PFS.
pub fn offer_esp(policy: &CipherPolicy, spi: u32, groups: &[Group]) -> SaPayload {
    let groups = groups.iter().copied().map(Transform::group);
    let esn = [policy.prefer_esn, !policy.prefer_esn].map(Transform::esn);
    offer(protocol::ESP, &spi.to_be_bytes(), &policy.esp, &groups.chain(esn).collect::<Vec<_>>())
}

/// The offer with an additional key exchange in each proposal, if any; where it is not `demanded`, the peer may do without.
pub fn hybrid(mut offer: SaPayload, additional: Option<Group>, demanded: bool) -> SaPayload {
    let Some(group) = additional else { return offer };
    let none = (!demanded).then(|| Transform::new(*ADDKE.start(), NONE));
    for proposal in &mut offer.proposals {
        proposal.transforms.push(Transform::additional(group));
        proposal.transforms.extend(none);
    }
    offer
}

impl SaPayload {
    /// Something of it has an additional key exchange.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.proposals.iter().flat_map(|proposal| &proposal.transforms).any(|it| ADDKE.contains(&it.kind) && it.id != NONE)
    }
}

fn offer(protocol: u8, spi: &[u8], suites: &[Suite], others: &[Transform]) -> SaPayload {
    let proposals = (1..=u8::MAX).zip(grouped(suites)).map(|(number, (encryptions, integrities))| {
        let encryptions = encryptions.into_iter().map(Transform::encryption);
        let integrities = integrities.into_iter().map(Transform::integrity);
        let transforms = encryptions.chain(integrities).chain(others.iter().copied()).collect();
        Proposal { number, protocol, spi: spi.to_vec(), transforms }
    });
    SaPayload { proposals: proposals.collect() }
}

/// Encryptions that go with the same integrity algorithms (none, for the AEADs) share a proposal: so nothing is offered that is not among
/// the suites.
fn grouped(suites: &[Suite]) -> Vec<(Vec<Encryption>, Vec<Integrity>)> {
    let mut groups: Vec<(Vec<Encryption>, Vec<Integrity>)> = Vec::new();
    for suite in suites {
        let encryption = suite.encryption();
        if groups.iter().any(|(encryptions, _)| encryptions.contains(&encryption)) {
            continue;
        }
        let same = suites.iter().filter(|other| other.encryption() == encryption);
        let integrities: Vec<Integrity> = same.filter_map(|other| other.integrity()).collect();
        match groups.iter_mut().find(|(_, known)| *known == integrities) {
            Some((encryptions, _)) => encryptions.push(encryption),
            None => groups.push((vec![encryption], integrities)),
        }
    }
    groups
}
