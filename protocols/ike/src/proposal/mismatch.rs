//! Why nothing fits, in words that lead to the fix.
use super::names::{kind_name, list, suite_name};
use super::{Proposal, SaPayload, Transform, transform};
use crate::api::CipherPolicy;
use crate::wire::protocol;
use crypto::cipher::Suite;

/// Nothing fits: answer NO_PROPOSAL_CHOSEN. The text is for the record: what was offered, what is accepted, the nearest miss.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no common proposal; offered [{}]; accepted [{accepted}]; nearest: {nearest}", brief(.offered))]
pub struct Mismatch {
    pub offered: Vec<String>,
    pub accepted: String,
    /// `#2 differs in DH: MODP_1024 offered, accepted: MODP_2048, ECP_256`.
    pub nearest: String,
}

/// Proposals in one sentence.
const MAX_BRIEF: usize = 20;

fn brief(offered: &[String]) -> String {
    match offered.get(..MAX_BRIEF) {
        Some(first) if offered.len() > MAX_BRIEF => format!("{}, and more", first.join(", ")),
        _ => offered.join(", "),
    }
}

pub(super) fn ike(policy: &CipherPolicy, offered: &SaPayload) -> Mismatch {
    let rules = Rules {
        protocol: protocol::IKE,
        suites: &policy.ike,
        prfs: policy.prfs.iter().copied().map(Transform::prf).collect(),
        groups: policy.groups.iter().copied().map(Transform::group).collect(),
    };
    rules.mismatch(offered)
}

pub(super) fn esp(policy: &CipherPolicy, offered: &SaPayload, rekey: bool) -> Mismatch {
    let pfs = policy.pfs_groups.iter().copied().map(Transform::group);
    let groups = if rekey { pfs.chain([Transform::new(transform::DH, 0)]).collect() } else { Vec::new() };
    Rules { protocol: protocol::ESP, suites: &policy.esp, prfs: Vec::new(), groups }.mismatch(offered)
}

/// An answer that is not what we offered.
pub(super) fn answer(offered: &SaPayload, answer: &SaPayload) -> Mismatch {
    let nearest = "the answer is not one combination out of our offer".into();
    Mismatch { offered: offered.texts(), accepted: list(&answer.proposals, ", "), nearest }
}

/// What is accepted, by transform type; an empty list asks for nothing.
struct Rules<'a> {
    protocol: u8,
    suites: &'a [Suite],
    prfs: Vec<Transform>,
    groups: Vec<Transform>,
}

impl Rules<'_> {
    fn mismatch(&self, offered: &SaPayload) -> Mismatch {
        let misses = offered.proposals.iter().map(|proposal| (proposal, self.misses(proposal)));
        let nearest = misses
            .min_by_key(|(proposal, misses)| (proposal.protocol != self.protocol, misses.len()))
            .map_or_else(|| "nothing was offered".into(), |(proposal, misses)| format!("#{} {}", proposal.number, misses.join("; ")));
        let parts = [list(self.suites.iter().map(suite_name), "|"), list(&self.prfs, "|"), list(&self.groups, "|")];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Mismatch { offered: offered.texts(), accepted: parts.join("/"), nearest }
    }

    fn misses(&self, proposal: &Proposal) -> Vec<String> {
        if proposal.protocol != self.protocol {
            return vec![format!("is for protocol {}, not {}", proposal.protocol, self.protocol)];
        }
        let mut misses: Vec<String> = self.protection_miss(proposal).into_iter().collect();
        for (kind, accepted) in [(transform::PRF, &self.prfs), (transform::DH, &self.groups)] {
            let offered = of(proposal, kind);
            let absent_is_none = offered.is_empty() && accepted.iter().any(|transform| transform.id == 0);
            if !accepted.is_empty() && !absent_is_none && !offered.iter().any(|transform| accepted.contains(transform)) {
                misses.push(differs(kind, &offered, list(accepted, ", ")));
            }
        }
        if misses.is_empty() {
            misses.push(self.odd(proposal));
        }
        misses
    }

    fn protection_miss(&self, proposal: &Proposal) -> Option<String> {
        if self.suites.iter().any(|suite| proposal.find_protection(*suite).is_some()) {
            return None;
        }
        let encryptions = of(proposal, transform::ENCR);
        let partial = self.suites.iter().filter(|suite| encryptions.contains(&Transform::encryption(suite.encryption())));
        let integrities: Vec<Transform> =
            partial.map(|suite| suite.integrity().map_or(Transform::new(transform::INTEG, 0), Transform::integrity)).collect();
        if integrities.is_empty() {
            let accepted = self.suites.iter().map(|suite| Transform::encryption(suite.encryption()));
            return Some(differs(transform::ENCR, &encryptions, list(accepted, ", ")));
        }
        Some(differs(transform::INTEG, &of(proposal, transform::INTEG), list(integrities, ", ")))
    }

    /// Every type fits, and yet the proposal cannot be chosen.
    fn odd(&self, proposal: &Proposal) -> String {
        let kinds = proposal.transforms.iter().map(|transform| transform.kind);
        let allowed = |kind: &u8| match self.protocol {
            protocol::IKE => (transform::ENCR..=transform::DH).contains(kind),
            _ => *kind != transform::PRF && (transform::ENCR..=transform::ESN).contains(kind),
        };
        match kinds.into_iter().find(|kind| !allowed(kind)) {
            Some(kind) => format!("asks for {}, which is not supported", kind_name(kind)),
            None => "has an unusable SPI or ESN transform".into(),
        }
    }
}

fn of(proposal: &Proposal, kind: u8) -> Vec<Transform> {
    proposal.transforms.iter().filter(|transform| transform.kind == kind).copied().collect()
}

fn differs(kind: u8, offered: &[Transform], accepted: String) -> String {
    let offered = if offered.is_empty() { "nothing".into() } else { list(offered, ", ") };
    format!("differs in {}: {offered} offered, accepted: {accepted}", kind_name(kind))
}
