//! Which of the offered combinations we take.
use super::mismatch;
use super::names::{ADDKE, NONE};
use super::{Mismatch, Proposal, SaPayload, Transform, transform};
use crate::api::{CipherPolicy, EspSuite, IkeSuite};
use crate::wire::{Spi, protocol};
use crypto::cipher::{Encryption, Suite};
use crypto::dh::Group;

/// The IKE suite we agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenIke {
    /// Number of the peer's proposal.
    pub number: u8,
    /// The peer's new SPI, in a rekey of the IKE SA.
    pub spi: Option<Spi>,
    pub suite: IkeSuite,
    /// One more key exchange has to follow (RFC 9370).
    pub additional: Option<Group>,
    transforms: Vec<Transform>,
}

impl ChosenIke {
    /// SAr: the chosen proposal with one transform of each type and our own SPI (`None` in IKE_SA_INIT).
    pub fn reply(&self, spi: Option<Spi>) -> SaPayload {
        let spi = spi.map(|spi| spi.0.to_be_bytes().to_vec()).unwrap_or_default();
        reply(self.number, protocol::IKE, spi, &self.transforms)
    }
}

impl std::fmt::Display for ChosenIke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        reply(self.number, protocol::IKE, Vec::new(), &self.transforms).proposals[0].fmt(f)
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
    /// One more key exchange has to follow (RFC 9370); never without `group`.
    pub additional: Option<Group>,
    transforms: Vec<Transform>,
}

impl ChosenEsp {
    /// SAr: the chosen proposal with one transform of each type and our own SPI.
    pub fn reply(&self, spi: u32) -> SaPayload {
        reply(self.number, protocol::ESP, spi.to_be_bytes().to_vec(), &self.transforms)
    }
}

impl std::fmt::Display for ChosenEsp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        reply(self.number, protocol::ESP, Vec::new(), &self.transforms).proposals[0].fmt(f)
    }
}

fn reply(number: u8, protocol: u8, spi: Vec<u8>, transforms: &[Transform]) -> SaPayload {
    SaPayload { proposals: vec![Proposal { number, protocol, spi, transforms: transforms.to_vec() }] }
}

/// Responder: our best combination among the offered ones, by the policy's order of protection, PRF, group; those whose group is that of
/// the KE payload (`ke_group`, its number on the wire) come first, and among them those with an additional key exchange. When `suite.group` of the result differs from the KE payload's,
/// answer INVALID_KE_PAYLOAD with it.
pub fn select_ike(policy: &CipherPolicy, offered: &SaPayload, ke_group: u16) -> Result<ChosenIke, Mismatch> {
    let suites = ike_suites(policy);
    let (fitting, others): (Vec<_>, Vec<_>) = suites.into_iter().partition(|suite| suite.group.id() == ke_group);
    let choice = [fitting, others].iter().find_map(|suites| {
        additional(policy).find_map(|additional| {
            let of = |suite: &IkeSuite| offered.proposals.iter().find_map(|proposal| match_ike(proposal, *suite, additional));
            suites.iter().find_map(of)
        })
    });
    choice.ok_or_else(|| mismatch::ike(policy, offered))
}

/// Additional key exchanges, most wanted first, and none.
fn additional(policy: &CipherPolicy) -> impl Iterator<Item = Option<Group>> {
    policy.additional.iter().copied().map(Some).chain([None])
}

/// Every combination, most wanted first.
fn ike_suites(policy: &CipherPolicy) -> Vec<IkeSuite> {
    let mut suites = Vec::new();
    for &protection in &policy.ike {
        for &prf in &policy.prfs {
            suites.extend(policy.groups.iter().map(|&group| IkeSuite { protection, prf, group }));
        }
    }
    suites
}

/// Responder: our best ESP combination. In IKE_AUTH (`rekey` false) there is no key exchange and D-H transforms are ignored. In
/// CREATE_CHILD_SA (`rekey` true) the order is: the KE payload's group (or none without KE), no PFS where offered, another
/// group of `pfs_groups`. When `group` of the result is `Some` and differs from `ke_group`, answer INVALID_KE_PAYLOAD with it;
/// when it is `None`, the answer has no KE.
pub fn select_esp(policy: &CipherPolicy, offered: &SaPayload, ke_group: Option<u16>, rekey: bool) -> Result<ChosenEsp, Mismatch> {
    let suites: Vec<EspSuite> =
        policy.esp.iter().flat_map(|&protection| [policy.prefer_esn, !policy.prefer_esn].map(|esn| EspSuite { protection, esn })).collect();
    for exchange in key_exchanges(policy, ke_group, rekey) {
        let more = additional(policy).filter(|it| it.is_none() || matches!(exchange, KeyExchange::Exactly(Some(_))));
        for additional in more {
            for suite in &suites {
                if let Some(choice) = offered.proposals.iter().find_map(|proposal| match_esp(proposal, *suite, exchange, additional)) {
                    return Ok(choice);
                }
            }
        }
    }
    Err(mismatch::esp(policy, offered, rekey))
}

/// What a Child SA proposal must say about the key exchange.
#[derive(Debug, Clone, Copy)]
enum KeyExchange {
    /// IKE_AUTH: there is none, whatever the proposal says.
    Absent,
    Exactly(Option<Group>),
}

fn key_exchanges(policy: &CipherPolicy, ke_group: Option<u16>, rekey: bool) -> Vec<KeyExchange> {
    if !rekey {
        return vec![KeyExchange::Absent];
    }
    let allowed = policy.pfs_groups.iter().copied();
    let (matching, others): (Vec<Group>, Vec<Group>) = allowed.partition(|group| Some(group.id()) == ke_group);
    let matching = matching.into_iter().map(Some);
    matching.chain([None]).chain(others.into_iter().map(Some)).map(KeyExchange::Exactly).collect()
}

/// Initiator: checks the responder's answer: one proposal, one transform of each type, all of it within what `offered` held.
pub fn accept_ike(offered: &SaPayload, answer: &SaPayload) -> Result<ChosenIke, Mismatch> {
    let accepted = single(answer).and_then(|answer| {
        let suite = IkeSuite {
            protection: protection_of(answer)?,
            prf: answer.one(transform::PRF)?.as_prf()?,
            group: answer.one(transform::DH)?.as_group()?,
        };
        let additional = answer.additional()?;
        match_ike(offered.numbered(answer)?, suite, additional)?;
        match_ike(answer, suite, additional)
    });
    accepted.ok_or_else(|| mismatch::answer(offered, answer))
}

/// Initiator: as [`accept_ike`], for a Child SA.
pub fn accept_esp(offered: &SaPayload, answer: &SaPayload) -> Result<ChosenEsp, Mismatch> {
    let accepted = single(answer).and_then(|answer| {
        let esn = answer.one(transform::ESN).is_some_and(|esn| *esn == Transform::esn(true));
        let suite = EspSuite { protection: protection_of(answer)?, esn };
        let group = match answer.one(transform::DH) {
            Some(group) if group.id != NONE => Some(group.as_group()?),
            _ => None,
        };
        let (exchange, additional) = (KeyExchange::Exactly(group), answer.additional()?);
        match_esp(offered.numbered(answer)?, suite, exchange, additional)?;
        match_esp(answer, suite, exchange, additional)
    });
    accepted.ok_or_else(|| mismatch::answer(offered, answer))
}

/// The only proposal of an answer, with at most one transform of each type.
fn single(answer: &SaPayload) -> Option<&Proposal> {
    let [proposal] = answer.proposals.as_slice() else {
        return None;
    };
    let mut kinds: Vec<u8> = proposal.transforms.iter().map(|transform| transform.kind).collect();
    kinds.sort_unstable();
    kinds.is_sorted_by(|a, b| a < b).then_some(proposal)
}

fn protection_of(proposal: &Proposal) -> Option<Suite> {
    let encryption: Encryption = proposal.one(transform::ENCR)?.as_encryption()?;
    let integrity = match proposal.one(transform::INTEG) {
        Some(integrity) if integrity.id != NONE => Some(integrity.as_integrity()?),
        _ => None,
    };
    Suite::new(encryption, integrity)
}

impl SaPayload {
    /// Our proposal that an answer refers to.
    fn numbered(&self, answer: &Proposal) -> Option<&Proposal> {
        self.proposals.iter().find(|proposal| proposal.number == answer.number)
    }
}

impl Proposal {
    fn of(&self, kind: u8) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |transform| transform.kind == kind)
    }
    fn one(&self, kind: u8) -> Option<&Transform> {
        self.of(kind).next()
    }
    /// The transform, if it is offered as it stands.
    fn find(&self, wanted: Transform) -> Option<Transform> {
        self.transforms.contains(&wanted).then_some(wanted)
    }
    /// A proposal with a transform type that we do not understand must not be chosen (RFC 7296 section 3.3.6).
    fn has_only(&self, kinds: &[u8]) -> bool {
        self.transforms.iter().all(|transform| kinds.contains(&transform.kind) || ADDKE.contains(&transform.kind))
    }
    /// An explicit NONE, which the answer has to repeat, or `Some(None)` when the type is absent altogether.
    fn none_of(&self, kind: u8) -> Option<Option<Transform>> {
        if self.one(kind).is_none() {
            return Some(None);
        }
        self.find(Transform::new(kind, NONE)).map(Some)
    }

    /// Encryption and integrity; an AEAD goes with NONE or nothing (RFC 5282 section 8), never with an integrity algorithm.
    pub(super) fn find_protection(&self, suite: Suite) -> Option<Vec<Transform>> {
        let encryption = self.find(Transform::encryption(suite.encryption()))?;
        let integrity = match suite.integrity() {
            Some(integrity) => Some(self.find(Transform::integrity(integrity))?),
            None => self.none_of(transform::INTEG)?,
        };
        Some([encryption].into_iter().chain(integrity).collect())
    }

    fn find_key_exchange(&self, exchange: KeyExchange) -> Option<Option<Transform>> {
        match exchange {
            KeyExchange::Absent => Some(self.find(Transform::new(transform::DH, NONE))),
            KeyExchange::Exactly(None) => self.none_of(transform::DH),
            KeyExchange::Exactly(Some(group)) => self.find(Transform::group(group)).map(Some),
        }
    }

    /// `wanted` in one of the types for additional key exchanges, an explicit NONE in all the others that there are.
    fn find_additional(&self, wanted: Option<Group>) -> Option<Vec<Transform>> {
        let (mut found, mut left) = (Vec::new(), wanted);
        for kind in ADDKE.filter(|kind| self.one(*kind).is_some()) {
            let fits = left.and_then(|group| self.find(Transform::new(kind, group.id())));
            left = left.filter(|_| fits.is_none());
            found.push(fits.or_else(|| self.find(Transform::new(kind, NONE)))?);
        }
        left.is_none().then_some(found)
    }

    /// The additional key exchange of an answer; `None` when there are several, or unknown ones.
    fn additional(&self) -> Option<Option<Group>> {
        let mut others = self.transforms.iter().filter(|transform| ADDKE.contains(&transform.kind) && transform.id != NONE);
        match (others.next(), others.next()) {
            (None, _) => Some(None),
            (Some(one), None) => Group::from_id(one.id).map(Some),
            (Some(_), Some(_)) => None,
        }
    }

    /// A proposal without an ESN transform means "none", though it must have one.
    fn find_esn(&self, esn: bool) -> Option<Option<Transform>> {
        if self.one(transform::ESN).is_none() {
            return (!esn).then_some(None);
        }
        self.find(Transform::esn(esn)).map(Some)
    }

    /// The proposal is of this protocol, speaks only of transform types that belong there, and has a usable SPI.
    pub(super) fn is_eligible(&self, protocol: u8) -> bool {
        let kinds: [u8; 4] = match protocol {
            protocol::IKE => [transform::ENCR, transform::PRF, transform::INTEG, transform::DH],
            _ => [transform::ENCR, transform::INTEG, transform::DH, transform::ESN],
        };
        let spi_ok = self.spi.is_empty() || self.spi.iter().any(|byte| *byte != 0);
        self.protocol == protocol && self.has_only(&kinds) && spi_ok
    }
}

fn match_ike(proposal: &Proposal, suite: IkeSuite, additional: Option<Group>) -> Option<ChosenIke> {
    if !proposal.is_eligible(protocol::IKE) {
        return None;
    }
    let mut transforms = proposal.find_protection(suite.protection)?;
    transforms.push(proposal.find(Transform::prf(suite.prf))?);
    transforms.push(proposal.find(Transform::group(suite.group))?);
    transforms.extend(proposal.find_additional(additional)?);
    let spi = proposal.spi.as_slice().try_into().ok().map(|spi| Spi(u64::from_be_bytes(spi)));
    Some(ChosenIke { number: proposal.number, spi, suite, additional, transforms })
}

fn match_esp(proposal: &Proposal, suite: EspSuite, exchange: KeyExchange, additional: Option<Group>) -> Option<ChosenEsp> {
    if !proposal.is_eligible(protocol::ESP) {
        return None;
    }
    let mut transforms = proposal.find_protection(suite.protection)?;
    transforms.extend(proposal.find_key_exchange(exchange)?);
    transforms.extend(proposal.find_esn(suite.esn)?);
    match exchange {
        // Nothing of that kind is negotiated in IKE_AUTH.
        KeyExchange::Absent => transforms.extend(ADDKE.filter_map(|kind| proposal.find(Transform::new(kind, NONE)))),
        KeyExchange::Exactly(_) => transforms.extend(proposal.find_additional(additional)?),
    }
    let spi = u32::from_be_bytes(proposal.spi.as_slice().try_into().ok()?);
    let group = match exchange {
        KeyExchange::Absent => None,
        KeyExchange::Exactly(group) => group,
    };
    Some(ChosenEsp { number: proposal.number, spi, suite, group, additional, transforms })
}
