//! Whether there are clients for whom nothing decides between certificates that policies name.
use super::samples::{asks, comes_from, comes_to, is_open, values, ways};
use super::{ByPolicy, Door, Sample, asked, may_be_for};
use pki::{Hints, KeyRank, Named, ServerCertificate, Steered};
use policy::network::{Certainty, Conditions, Policy, Tunnel, certainty};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// Choices of a certificate that are judged for a listener at most: about a second where 200 policies name 200 certificates.
pub(crate) const JUDGEMENTS: usize = 10_000;
/// How often it is looked whether a policy can be for some client, at most, for a listener: about a second as well.
const LOOKS: usize = 10_000_000;

/// What came out of looking at the clients of a listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Searched {
    pub(crate) undecided: Option<Undecided>,
    /// Choices of a certificate that were judged.
    pub(crate) judged: usize,
    /// There are more kinds of clients than were looked at.
    pub(crate) cut: bool,
}

/// Clients for whom it would be luck what they see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecided {
    /// Two at least, in the order of the policies.
    pub(crate) tied: Vec<Named>,
    pub(crate) clients: String,
}

/// Each kind of client that the policies tell apart at this listener is judged once. `keys`: how each kind of client ranks keys; `most`: see
/// [`JUDGEMENTS`].
pub(crate) fn search(door: Door<'_>, policies: &[Policy], keys: &[KeyRank<'_>], most: usize) -> Searched {
    let mut search = Search { door, policies, keys, most, judged: 0, looks: 0, seen: HashSet::new() };
    let (undecided, cut) = match search.run() {
        ControlFlow::Continue(()) => (None, false),
        ControlFlow::Break(Stop::Cut) => (None, true),
        ControlFlow::Break(Stop::Undecided(undecided)) => (Some(undecided), false),
    };
    Searched { undecided, judged: search.judged, cut }
}

enum Stop {
    Undecided(Undecided),
    Cut,
}

/// What the choice goes by: how policies take a client, what it asks for and where it comes to.
type Kind<'a> = (Vec<(&'a str, Certainty)>, Option<String>, IpAddr);

struct Search<'a> {
    door: Door<'a>,
    policies: &'a [Policy],
    keys: &'a [KeyRank<'a>],
    most: usize,
    judged: usize,
    looks: usize,
    seen: HashSet<Kind<'a>>,
}

impl<'a> Search<'a> {
    /// Names come last: certificates have them even where no condition asks for any.
    fn run(&mut self) -> ControlFlow<Stop> {
        let policies = self.policies;
        let here = policies.iter().filter(|policy| !policy.disabled && may_be_for(policy, self.door.name, self.door.tunnel));
        let all: Vec<_> = here.collect();
        if self.named(&all).len() < 2 {
            return ControlFlow::Continue(());
        }
        for client in values::clients(&all) {
            let Some(live) = self.those(&all, |own| comes_from(own, client))? else { continue };
            let addresses: Vec<_> = self.named(&live).iter().flat_map(|certificate| &certificate.addresses).copied().collect();
            for gateway in values::gateways(&live, &addresses) {
                let Some(live) = self.those(&live, |own| comes_to(own, gateway))? else { continue };
                for time in values::times(&live) {
                    let Some(live) = self.those(&live, |own| is_open(own, time))? else { continue };
                    let names: Vec<_> = self.named(&live).iter().flat_map(|certificate| certificate.dial_names()).cloned().collect();
                    for server_name in values::names(&live, &names) {
                        let Some(live) = self.those(&live, |own| asks(own, server_name.as_deref()))? else { continue };
                        for &by_certificate in ways(self.door.tunnel) {
                            let sample = Sample { server_name: server_name.clone(), client, gateway, by_certificate, time };
                            self.sample(&live, &sample)?;
                        }
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The policies that remain; `None`: between them nothing needs to decide.
    fn those(&mut self, live: &[&'a Policy], is_for: impl Fn(&Conditions) -> bool) -> ControlFlow<Stop, Option<Vec<&'a Policy>>> {
        self.look(live.len())?;
        let remaining: Vec<_> = live.iter().copied().filter(|policy| is_for(&policy.conditions)).collect();
        let several = self.named(&remaining).len() > 1;
        ControlFlow::Continue(several.then_some(remaining))
    }

    fn look(&mut self, count: usize) -> ControlFlow<Stop> {
        self.looks += count;
        if self.looks > LOOKS { ControlFlow::Break(Stop::Cut) } else { ControlFlow::Continue(()) }
    }

    /// The certificates of the listener that policies want to be shown, each once.
    fn named(&self, policies: &[&Policy]) -> Vec<&'a ServerCertificate> {
        let wanted: HashSet<_> = policies.iter().filter(|policy| policy.grant).filter_map(|policy| policy.certificate.as_deref()).collect();
        self.door.certificates.iter().filter(|certificate| wanted.contains(certificate.name.as_str())).collect()
    }

    fn sample(&mut self, live: &[&'a Policy], sample: &Sample) -> ControlFlow<Stop> {
        self.look(live.len())?;
        let facts = sample.facts(self.door.tunnel, self.door.name);
        let taken = live.iter().map(|policy| (*policy, certainty(policy, &facts)));
        let taken: Vec<_> = taken.filter(|(_, certainty)| *certainty != Certainty::No).collect();
        let named = self.named(&taken.iter().map(|(policy, _)| *policy).collect::<Vec<_>>());
        let how = taken.iter().map(|(policy, certainty)| (policy.name.as_str(), *certainty)).collect();
        if named.len() < 2 || !self.seen.insert((how, sample.server_name.clone(), sample.gateway)) {
            return ControlFlow::Continue(());
        }
        let name = sample.server_name.as_deref().map(asked);
        for keys in self.keys {
            let answers = pki::answering(self.door.certificates, name, *keys);
            let answering = self.door.certificates.iter().zip(answers).filter(|(_, answers)| *answers).map(|(one, _)| one);
            let both: Vec<_> = answering.filter(|one| named.iter().any(|named| named.name == one.name)).collect();
            if both.len() > 1 {
                self.judge(sample, &both, *keys)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn judge(&mut self, sample: &Sample, between: &[&ServerCertificate], keys: KeyRank<'_>) -> ControlFlow<Stop> {
        let by = ByPolicy::at(sample.time, self.policies, self.door.tunnel, self.door.name);
        let steered = Steered { by: &by, client: sample.client, by_certificate: sample.by_certificate, now: 0 };
        let realms: BTreeSet<_> = between.iter().flat_map(|one| &one.realms).map(|realm| Some(realm.as_str())).collect();
        let realms: Vec<_> = std::iter::once(None).chain(realms).collect();
        for authorities in self.authorities(between) {
            for itself in &realms {
                if self.judged == self.most {
                    return ControlFlow::Break(Stop::Cut);
                }
                self.judged += 1;
                let hints = Hints {
                    name: sample.server_name.as_deref().map(asked),
                    name_source: "",
                    authorities: &authorities,
                    address: Some(sample.gateway).filter(|gateway| !gateway.is_unspecified()),
                    itself: *itself,
                    keys,
                    steering: Some(steered),
                };
                let tied = pki::undecided(self.door.certificates, &hints);
                if !tied.is_empty() {
                    let clients = hints.words() + &sample.more_words();
                    return ControlFlow::Break(Stop::Undecided(Undecided { tied, clients }));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What a client may say of the authorities that it trusts: nothing, or one above each of two certificates.
    fn authorities(&self, between: &[&ServerCertificate]) -> Vec<Vec<[u8; 20]>> {
        let mut said = vec![Vec::new()];
        if self.door.tunnel != Tunnel::Ikev2 {
            return said;
        }
        let above: BTreeSet<_> = between.iter().map(|one| &one.authorities).collect();
        let above: Vec<_> = above.into_iter().collect();
        let pairs = above.iter().enumerate().flat_map(|(at, first)| above[at..].iter().map(move |second| (*first, *second)));
        let both = pairs
            .flat_map(|(first, second)| first.iter().flat_map(move |one| second.iter().map(move |other| BTreeSet::from([*one, *other]))));
        let both: BTreeSet<_> = both.collect();
        said.extend(both.into_iter().map(|both| both.into_iter().collect()));
        said
    }
}
