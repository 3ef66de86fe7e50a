//! Our own requests on an established IKE SA: liveness, DELETE, CREATE_CHILD_SA.
mod followup;

use super::child::{Child, ChildPhase, Narrowed, Pfs, directions, install, remove};
use super::collision::lowest;
use super::demand;
use super::established::{Established, Todo};
use super::mobility::Check;
use super::{Core, IkeSa, mobility, notify_text};
use crate::api::{Answer, AskId, CipherPolicy, EspSuite, Event, IkeSuite, Question};
use crate::endpoint::Shared;
use crate::keys::Seed;
use crate::proposal::{ChosenEsp, ChosenIke, Proposal, SaPayload, accept_esp, accept_ike, hybrid, offer_esp, offer_ike, transform};
use crate::qcd;
use crate::wire::{Delete, Exchange, KeyExchange, Notify, ParseError, Payload, Payloads, Spi, notify};
use crypto::Zeroizing;
use crypto::dh::{Group, PrivateKey};
use followup::{Following, More};
use std::time::Duration;

/// After a TEMPORARY_FAILURE we try again that much later, plus as much again at random (RFC 7296 section 2.25).
const RETRY_MS: u32 = 5000;

/// What our request in progress is for.
#[derive(Debug)]
pub(super) enum Own {
    Idle,
    Liveness,
    /// Whether the client is where it says.
    Routability(Check),
    /// By our inbound SPIs.
    DeleteChildren(Vec<u32>),
    /// A key pair is being made for a rekey.
    KeyPair {
        ask: AskId,
        plan: Plan,
    },
    /// The key pair waits for a key exchange of the peer's, which may be about to replace the IKE SA.
    Paired {
        plan: Plan,
        private: PrivateKey,
        public: Vec<u8>,
    },
    Offered(Box<Offered>),
    /// The peer has agreed; the shared secret is being computed.
    Agreeing {
        ask: AskId,
        accepted: Box<Accepted>,
    },
    /// All is there, and waits for a key exchange of the peer's, which may be the other half of a collision.
    Agreed {
        accepted: Box<Accepted>,
        secret: Option<Zeroizing<Vec<u8>>>,
        /// Of the additional key exchange; empty without.
        additional: Zeroizing<Vec<u8>>,
    },
    /// The peer has agreed, and an additional key exchange is to follow.
    Following(Box<Following>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Ike,
    /// By inbound SPI.
    Child(u32),
    /// No rekey: a Child SA where there is none.
    New,
}

/// A CREATE_CHILD_SA request of ours.
#[derive(Debug)]
pub(super) struct Offered {
    plan: Plan,
    offer: SaPayload,
    nonce_i: Vec<u8>,
    private: Option<PrivateKey>,
    spi: NewSpi,
}

#[derive(Debug, Clone, Copy)]
enum NewSpi {
    Ike(Spi),
    Esp(u32),
}

/// The peer's answer to it.
#[derive(Debug)]
pub(super) struct Accepted {
    nonce_i: Vec<u8>,
    nonce_r: Vec<u8>,
    /// Of the peer, for a new IKE SA.
    peer_token: Option<Vec<u8>>,
    more: Option<More>,
    what: What,
}

#[derive(Debug)]
enum What {
    Ike { chosen: ChosenIke, spi_i: Spi, spi_r: Spi },
    Child { chosen: ChosenEsp, spi_in: u32, narrowed: Narrowed, rekeys: Option<u32> },
}

impl What {
    fn additional(&self) -> Option<Group> {
        match self {
            Self::Ike { chosen, .. } => chosen.additional,
            Self::Child { chosen, .. } => chosen.additional,
        }
    }
}

impl Accepted {
    fn plan(&self) -> Plan {
        match self.what {
            What::Ike { .. } => Plan::Ike,
            What::Child { rekeys, .. } => rekeys.map_or(Plan::New, Plan::Child),
        }
    }

    /// Of the key exchange that the peer agreed to.
    fn group(&self) -> Option<Group> {
        match &self.what {
            What::Ike { chosen, .. } => Some(chosen.suite.group),
            What::Child { chosen, .. } => chosen.group,
        }
    }

    fn spi(&self) -> NewSpi {
        match self.what {
            What::Ike { spi_i, .. } => NewSpi::Ike(spi_i),
            What::Child { spi_in, .. } => NewSpi::Esp(spi_in),
        }
    }
}

impl Own {
    fn plan(&self) -> Option<Plan> {
        match self {
            Self::KeyPair { plan, .. } | Self::Paired { plan, .. } => Some(*plan),
            Self::Offered(offered) => Some(offered.plan),
            Self::Agreeing { accepted, .. } | Self::Agreed { accepted, .. } => Some(accepted.plan()),
            Self::Following(following) => Some(following.plan()),
            Self::Idle | Self::Liveness | Self::Routability(_) | Self::DeleteChildren(_) => None,
        }
    }

    /// What our request that is with the peer rekeys.
    fn asked(&self) -> Option<Plan> {
        if matches!(self, Self::KeyPair { .. } | Self::Paired { .. }) { None } else { self.plan() }
    }

    /// Our request to rekey the IKE SA is with the peer.
    pub(super) fn rekeys_ike(&self) -> bool {
        self.asked() == Some(Plan::Ike)
    }

    /// The peer has agreed to our rekey, and has all that it needs for it.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Agreeing { accepted, .. } => accepted.more.is_none(),
            Self::Following(following) => following.is_answered(),
            _ => matches!(self, Self::Agreed { .. }),
        }
    }

    /// The peer has agreed to our rekey, and lacks the additional key exchange. Its own request crossed that too late to be weighed against ours
    /// (RFC 9370 section 2.2.4).
    pub(super) fn is_half_done(&self) -> bool {
        match self {
            Self::Agreeing { accepted, .. } => accepted.more.is_some(),
            _ => matches!(self, Self::Following(_)),
        }
    }

    /// What we ask for has no additional key exchange: it would be complete when the peer's, with one, is half done.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Offered(offered) => !offered.offer.is_hybrid(),
            Self::Agreeing { accepted, .. } | Self::Agreed { accepted, .. } => accepted.more.is_none(),
            _ => false,
        }
    }

    /// A request of ours about Child SAs is with the peer: it would be lost with the IKE SA.
    pub(super) fn changes_children(&self) -> bool {
        matches!(self, Self::DeleteChildren(_)) || matches!(self.asked(), Some(Plan::Child(_) | Plan::New))
    }

    /// We are about to make a Child SA where there is none.
    pub(super) fn makes_child(&self) -> bool {
        self.plan() == Some(Plan::New)
    }

    /// We are about to rekey this child, or are doing it.
    pub(super) fn rekeys_child(&self, spi_in: u32) -> bool {
        self.plan() == Some(Plan::Child(spi_in))
    }

    /// Our request to rekey this child is with the peer.
    pub(super) fn touches(&self, spi_in: u32) -> bool {
        self.asked() == Some(Plan::Child(spi_in))
    }
}

/// Starts what is to be asked next, when nothing else is.
pub(super) fn next(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    resume(state, core, cx);
    while state.may_ask() {
        if core.held.is_some() {
            return mobility::check(state, core, cx);
        }
        let Some(todo) = state.todo.pop_front() else { return };
        match todo {
            Todo::Liveness => {
                core.request(cx, &mut state.sa, Exchange::Informational, &[]);
                state.own = Own::Liveness;
            }
            Todo::Move => {
                let update = mobility::moved(&state.sa, core);
                core.request(cx, &mut state.sa, Exchange::Informational, &update);
                state.own = Own::Liveness;
            }
            Todo::Token => {
                let token = core.qcd_token(state.sa.spi_i, state.sa.spi_r);
                core.request(cx, &mut state.sa, Exchange::Informational, token.as_slice());
                state.own = Own::Liveness;
            }
            Todo::Redirect(notify) => {
                core.request(cx, &mut state.sa, Exchange::Informational, &[Payload::Notify(notify)]);
                state.own = Own::Liveness;
            }
            Todo::DeleteChildren(spis) => delete(state, core, cx, spis),
            Todo::RekeyChild(spi_in) => rekey_child(state, core, cx, spi_in),
            Todo::NewChild => demand::begin(state, core, cx),
            Todo::RekeyIke => {
                let ask = core.ask(cx, Question::GenerateKeyPair { group: state.sa.keys.suite.group });
                state.own = Own::KeyPair { ask, plan: Plan::Ike };
            }
        }
    }
}

fn delete(state: &mut Established, core: &Core, cx: &mut Shared, mut spis: Vec<u32>) {
    spis.retain(|spi_in| match state.children.get_mut(spi_in) {
        Some(child) if !matches!(child.phase, ChildPhase::Ending(_)) => {
            child.phase = ChildPhase::Deleting;
            true
        }
        _ => false,
    });
    if spis.is_empty() {
        return;
    }
    core.request(cx, &mut state.sa, Exchange::Informational, &[Payload::Delete(Delete::Esp(spis.clone()))]);
    state.own = Own::DeleteChildren(spis);
}

fn rekey_child(state: &mut Established, core: &mut Core, cx: &mut Shared, spi_in: u32) {
    let Some(child) = state.children.get(&spi_in).filter(|child| child.phase == ChildPhase::Live) else { return };
    if state.children.values().any(|old| old.phase == ChildPhase::Replaced(spi_in)) {
        // The peer made it by a rekey and has not deleted the old one: perhaps it does not know yet that its rekey succeeded.
        return try_later(state, cx, Plan::Child(spi_in));
    }
    if core.traits.windows {
        // Windows answers a gateway's rekey with error 13863 or 13816, but makes a new Child SA at once when its own is deleted.
        core.note(cx, "Child SA deleted: Windows makes a new one, but refuses a rekey by the gateway");
        return delete(state, core, cx, vec![spi_in]);
    }
    match wanted_group(state, core, child.pfs) {
        Some(group) => pair_for(state, core, cx, Plan::Child(spi_in), group),
        None => offer_child(state, core, cx, spi_in, None),
    }
}

/// Has a key pair made for what we are about to ask.
pub(super) fn pair_for(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, group: Group) {
    let ask = core.ask(cx, Question::GenerateKeyPair { group });
    state.own = Own::KeyPair { ask, plan };
}

/// The group that a Child SA is asked for with.
pub(super) fn wanted_group(state: &Established, core: &Core, pfs: Pfs) -> Option<Group> {
    match pfs {
        Pfs::With(group) => Some(group),
        Pfs::Without => None,
        Pfs::Undecided => likely_group(&core.ciphers().pfs_groups, state.sa.keys.suite.group),
    }
}

/// The group that the peer most probably takes: that of the IKE SA, else our first.
fn likely_group(allowed: &[Group], of_ike: Group) -> Option<Group> {
    allowed.iter().copied().find(|group| *group == of_ike).or(allowed.first().copied())
}

/// The proposals again without key exchange, for a peer that wants none.
fn without_exchange(offer: &SaPayload) -> Vec<Proposal> {
    let last = offer.proposals.last().map_or(0, |proposal| proposal.number);
    let plain = offer.proposals.iter().map(|proposal| {
        let transforms = proposal.transforms.iter().filter(|it| it.kind != transform::DH).copied().collect();
        Proposal { number: proposal.number + last, transforms, ..proposal.clone() }
    });
    plain.collect()
}

/// One combination and nothing else: what is in use now.
fn policy(ike: Option<IkeSuite>, esp: Option<EspSuite>) -> CipherPolicy {
    CipherPolicy {
        ike: ike.iter().map(|suite| suite.protection).collect(),
        prfs: ike.iter().map(|suite| suite.prf).collect(),
        groups: ike.iter().map(|suite| suite.group).collect(),
        esp: esp.iter().map(|suite| suite.protection).collect(),
        pfs_groups: Vec::new(),
        prefer_esn: esp.is_some_and(|suite| suite.esn),
        additional: Vec::new(),
    }
}

fn offer_child(state: &mut Established, core: &mut Core, cx: &mut Shared, spi_in: u32, pair: Option<(PrivateKey, Vec<u8>)>) {
    let Some(child) = state.children.get(&spi_in).filter(|child| child.phase == ChildPhase::Live).cloned() else { return };
    offer_like(state, core, cx, &child, Plan::Child(spi_in), pair);
}

/// Asks for a Child SA with the suite, selectors and key exchange of this one.
pub(super) fn offer_like(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Shared,
    child: &Child,
    plan: Plan,
    pair: Option<(PrivateKey, Vec<u8>)>,
) {
    let (new_spi, nonce_i) = (cx.take_esp_spi(), cx.nonce());
    core.esp_wish = Some(new_spi);
    let group = pair.as_ref().map(|(private, _)| private.group());
    // Whether a peer wants the additional one of the IKE SA for this as well is known only when it has once.
    let (additional, demanded) = (group.and(child.additional.or(state.sa.additional)), child.additional.is_some());
    let mut offer = match (group, child.pfs) {
        // A peer that wants another of our groups says so with INVALID_KE_PAYLOAD, but only when it is offered.
        (Some(first), Pfs::Undecided) => {
            let others = core.ciphers().pfs_groups.iter().copied().filter(|group| *group != first);
            let groups: Vec<_> = std::iter::once(first).chain(others).collect();
            let offer = offer_esp(&policy(None, Some(child.suite)), new_spi, &groups);
            let plain = without_exchange(&offer);
            let mut offer = hybrid(offer, additional, demanded);
            offer.proposals.extend(plain);
            offer
        }
        _ => hybrid(offer_esp(&policy(None, Some(child.suite)), new_spi, group.as_slice()), additional, demanded),
    };
    if core.traits.windows {
        // It is asked for what it has, and nothing beside it.
        let esn = u16::from(child.suite.esn);
        offer.proposals.iter_mut().for_each(|proposal| proposal.transforms.retain(|it| it.kind != transform::ESN || it.id == esn));
    }
    let rekeyed = if let Plan::Child(spi_in) = plan { Some(Notify::esp(notify::REKEY_SA, spi_in)) } else { None };
    let mut payloads: Vec<Payload> = rekeyed.into_iter().map(Payload::Notify).collect();
    payloads.extend([Payload::Sa(offer.clone()), Payload::Nonce(nonce_i.clone())]);
    let (private, public) = pair.unzip();
    if let (Some(public), Some(group)) = (public, group) {
        payloads.push(Payload::KeyExchange(KeyExchange { group: group.id(), public }));
    }
    payloads.extend([Payload::TsInitiator(child.local.clone()), Payload::TsResponder(child.remote.clone())]);
    core.request(cx, &mut state.sa, Exchange::CreateChildSa, &payloads);
    state.own = Own::Offered(Box::new(Offered { plan, offer, nonce_i, private, spi: NewSpi::Esp(new_spi) }));
}

fn offer_sa(state: &mut Established, core: &mut Core, cx: &mut Shared, private: PrivateKey, public: Vec<u8>) {
    let (spi, nonce_i) = (core.take_spi(cx), cx.nonce());
    let offer = hybrid(offer_ike(&policy(Some(state.sa.keys.suite), None), Some(spi)), state.sa.additional, true);
    let payloads = [
        Payload::Sa(offer.clone()),
        Payload::Nonce(nonce_i.clone()),
        Payload::KeyExchange(KeyExchange { group: private.group().id(), public }),
    ];
    core.request(cx, &mut state.sa, Exchange::CreateChildSa, &payloads);
    let private = Some(private);
    state.own = Own::Offered(Box::new(Offered { plan: Plan::Ike, offer, nonce_i, private, spi: NewSpi::Ike(spi) }));
}

const BUSY: &str = "the gateway was busy";

/// Key pair made, or secret agreed.
pub(super) fn answer(state: &mut Established, core: &mut Core, cx: &mut Shared, id: AskId, answer: Answer) {
    match (std::mem::replace(&mut state.own, Own::Idle), answer) {
        (Own::KeyPair { ask, plan }, Answer::KeyPair { private, public }) if ask == id => {
            state.own = Own::Paired { plan, private, public };
        }
        (Own::Agreeing { ask, accepted }, Answer::Agreed(result)) if ask == id => match result {
            Ok(secret) => match accepted.more.clone() {
                Some(more) => state.own = Own::Following(Box::new(Following::new(accepted, more, secret))),
                None => state.own = Own::Agreed { accepted, secret: Some(secret), additional: Zeroizing::default() },
            },
            Err(error) => {
                release(core, cx, accepted.spi());
                give_up(state, core, cx, accepted.plan(), &error.to_string());
            }
        },
        (Own::KeyPair { ask, plan }, Answer::Busy) if ask == id => again(state, core, cx, plan, BUSY),
        (Own::Agreeing { ask, accepted }, Answer::Busy) if ask == id => {
            release(core, cx, accepted.spi());
            give_up(state, core, cx, accepted.plan(), BUSY);
        }
        (Own::Following(following), answer) if following.awaits(id) => followup::answer(state, core, cx, following, answer),
        (own, _) => state.own = own,
    }
}

/// Goes on with what waited for a key exchange of the peer's, once there is none.
fn resume(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    let waits = match state.own {
        Own::Paired { .. } => state.is_exchanging() || state.unconfirmed.is_some() || state.is_closing(),
        _ => state.peer_exchange.is_some(),
    };
    if waits {
        return;
    }
    match std::mem::replace(&mut state.own, Own::Idle) {
        Own::Paired { plan: Plan::Ike, private, public } => offer_sa(state, core, cx, private, public),
        Own::Paired { plan: Plan::Child(spi_in), private, public } => offer_child(state, core, cx, spi_in, Some((private, public))),
        Own::Paired { plan: Plan::New, private, public } => demand::offer(state, core, cx, Some((private, public))),
        Own::Agreed { accepted, secret, additional } => {
            if accepted.more.is_some() || followup::prevails(state, core, cx, &accepted) {
                complete(state, core, cx, *accepted, secret.as_ref(), &additional);
            }
        }
        Own::Following(following) => followup::go_on(state, core, cx, following),
        own => state.own = own,
    }
}

/// The peer has replaced the IKE SA: what was asked on the old one is of no interest any more, nor is another rekey. One of a child that was
/// not yet asked for goes on.
pub(super) fn drop_ike(state: &mut Established) {
    if !matches!(state.own, Own::KeyPair { plan: Plan::Child(_) | Plan::New, .. } | Own::Paired { plan: Plan::Child(_) | Plan::New, .. }) {
        state.own = Own::Idle;
    }
    state.todo.retain(|todo| *todo != Todo::RekeyIke);
    state.later.retain(|(_, todo)| *todo != Todo::RekeyIke);
}

/// Our rekey of the IKE SA comes to nothing, for the peer's is the one.
pub(super) fn forget(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    match std::mem::replace(&mut state.own, Own::Idle) {
        Own::Offered(offered) => release(core, cx, offered.spi),
        Own::Agreeing { accepted, .. } | Own::Agreed { accepted, .. } => release(core, cx, accepted.spi()),
        Own::Following(following) => release(core, cx, following.spi()),
        Own::Idle | Own::Liveness | Own::Routability(_) | Own::DeleteChildren(_) | Own::KeyPair { .. } | Own::Paired { .. } => {}
    }
}

/// Our rekey failed; the peer's half of a collision stands, where there is one.
fn give_up(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, cause: &str) {
    core.note(cx, format!("rekey failed: {cause}"));
    fail(state, core, cx, plan);
}

/// The peer has heard nothing of our rekey, which fails for now.
fn again(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, cause: &str) {
    core.note(cx, format!("rekey put off: {cause}"));
    if !fail(state, core, cx, plan) {
        try_later(state, cx, plan);
    }
}

/// As [`give_up`], without words. True when the peer has rekeyed instead.
fn fail(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan) -> bool {
    match plan {
        Plan::Ike if state.adopt_rival_sa(core, cx) => true,
        Plan::Ike => {
            state.put_off_ike(core, cx);
            false
        }
        Plan::New => {
            state.put_off_demand(cx);
            false
        }
        Plan::Child(spi_in) if state.take_rival_child(spi_in).is_some() => true,
        Plan::Child(spi_in) => {
            state.put_off_child(core, cx, spi_in);
            false
        }
    }
}

/// The peer answered our request.
pub(super) fn response(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: Result<Payloads, ParseError>) {
    let own = std::mem::replace(&mut state.own, Own::Idle);
    let payloads = match payloads {
        Ok(payloads) => payloads,
        Err(error) => {
            if let Own::Offered(offered) = own {
                release(core, cx, offered.spi);
                return give_up(state, core, cx, offered.plan, &format!("the peer's answer is broken: {error}"));
            }
            if let Own::Following(following) = own {
                return followup::end(state, core, cx, &following, &format!("the peer's answer is broken: {error}"));
            }
            return core.note(cx, format!("the peer's answer is broken: {error}"));
        }
    };
    match own {
        Own::DeleteChildren(spis) => spis.into_iter().for_each(|spi_in| state.retire(core, cx, spi_in)),
        Own::Offered(offered) => answered(state, core, cx, *offered, &payloads),
        Own::Following(following) => followup::response(state, core, cx, following, &payloads),
        other @ (Own::KeyPair { .. } | Own::Paired { .. } | Own::Agreeing { .. } | Own::Agreed { .. }) => state.own = other,
        Own::Routability(check) => check.finish(core, cx),
        Own::Idle | Own::Liveness => {}
    }
}

fn release(core: &mut Core, cx: &mut Shared, spi: NewSpi) {
    match spi {
        NewSpi::Ike(spi) => core.release_spi(cx, spi),
        NewSpi::Esp(spi) => {
            core.esp_wish = None;
            cx.release_esp_spi(spi);
        }
    }
}

fn answered(state: &mut Established, core: &mut Core, cx: &mut Shared, offered: Offered, payloads: &Payloads) {
    if let Some(error) = payloads.error() {
        release(core, cx, offered.spi);
        return refused(state, core, cx, offered.plan, error);
    }
    let (spi, plan) = (offered.spi, offered.plan);
    match read_answer(state, &offered, payloads) {
        Ok(accepted) => {
            let accepted = Box::new(accepted);
            let public = payloads.key_exchange().filter(|it| Some(it.group) == accepted.group().map(Group::id));
            match (accepted.group(), offered.private, public) {
                (None, ..) => state.own = Own::Agreed { accepted, secret: None, additional: Zeroizing::default() },
                (Some(_), Some(private), Some(key_exchange)) => {
                    let ask = core.ask(cx, Question::Agree { private, peer_public: key_exchange.public.clone() });
                    state.own = Own::Agreeing { ask, accepted };
                }
                (Some(_), ..) => {
                    release(core, cx, spi);
                    give_up(state, core, cx, plan, "the peer's answer has no fitting KE payload");
                }
            }
        }
        Err(cause) => {
            release(core, cx, spi);
            give_up(state, core, cx, plan, &cause);
        }
    }
}

fn refused(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, error: &Notify) {
    core.note(cx, format!("the peer refuses our rekey with {}", notify_text(error)));
    if fail(state, core, cx, plan) {
        return;
    }
    match (error.kind, plan) {
        (notify::TEMPORARY_FAILURE, plan) => try_later(state, cx, plan),
        (notify::INVALID_KE_PAYLOAD, Plan::New) => state.demand_other_group(core, error),
        (notify::INVALID_KE_PAYLOAD, Plan::Child(spi_in)) => other_group(state, core, spi_in, error),
        (notify::CHILD_SA_NOT_FOUND, Plan::Child(spi_in))
            if state.children.get(&spi_in).is_some_and(|child| child.phase == ChildPhase::Live) =>
        {
            state.children.remove(&spi_in);
            remove(core, cx, spi_in);
        }
        _ => {}
    }
}

/// The peer wants another group in the rekey of a child whose group nobody knew.
fn other_group(state: &mut Established, core: &Core, spi_in: u32, error: &Notify) {
    let wanted = error.data.as_slice().try_into().ok().map(u16::from_be_bytes);
    let allowed = core.ciphers().pfs_groups.iter().copied().find(|group| Some(group.id()) == wanted);
    let (Some(group), Some(child)) = (allowed, state.children.get_mut(&spi_in)) else { return };
    if child.pfs == Pfs::Undecided {
        child.pfs = Pfs::With(group);
        state.todo.push_front(Todo::RekeyChild(spi_in));
    }
}

fn try_later(state: &mut Established, cx: &mut Shared, plan: Plan) {
    let todo = match plan {
        Plan::Ike => Todo::RekeyIke,
        Plan::New => Todo::NewChild,
        Plan::Child(spi_in) => Todo::RekeyChild(spi_in),
    };
    let wait = Duration::from_millis(u64::from(RETRY_MS + cx.random_below(RETRY_MS)));
    state.later.retain(|(_, other)| *other != todo);
    state.later.push((cx.now + wait, todo));
}

fn read_answer(state: &Established, offered: &Offered, payloads: &Payloads) -> Result<Accepted, String> {
    let sa = payloads.sa().ok_or("the peer's answer has no SA")?;
    let nonce_r = payloads.nonce().ok_or("the peer's answer has no nonce")?.to_vec();
    let what = match (offered.plan, offered.spi) {
        (Plan::Ike, NewSpi::Ike(spi_i)) => {
            let chosen = accept_ike(&offered.offer, sa).map_err(|mismatch| mismatch.to_string())?;
            let spi_r = chosen.spi.ok_or("the peer's answer has no SPI")?;
            What::Ike { chosen, spi_i, spi_r }
        }
        (plan @ (Plan::Child(_) | Plan::New), NewSpi::Esp(spi_in)) => {
            let chosen = accept_esp(&offered.offer, sa).map_err(|mismatch| mismatch.to_string())?;
            let ts_i = payloads.ts_initiator().ok_or("the peer's answer has no TSi")?;
            let ts_r = payloads.ts_responder().ok_or("the peer's answer has no TSr")?;
            let narrowed = state.scope.narrow(ts_i, ts_r).ok_or("the peer's selectors are not within ours")?;
            let rekeys = if let Plan::Child(rekeys) = plan { Some(rekeys) } else { None };
            What::Child { chosen, spi_in, narrowed, rekeys }
        }
        (Plan::Ike, NewSpi::Esp(_)) | (Plan::Child(_) | Plan::New, NewSpi::Ike(_)) => {
            return Err("a rekey with an SPI of the other kind".into());
        }
    };
    let more = match what.additional() {
        Some(group) => {
            let link = payloads.notify(notify::ADDITIONAL_KEY_EXCHANGE).ok_or("the peer's answer has no ADDITIONAL_KEY_EXCHANGE")?;
            Some(More { group, link: link.data.clone() })
        }
        None => None,
    };
    Ok(Accepted { nonce_i: offered.nonce_i.clone(), nonce_r, peer_token: qcd::received(payloads), more, what })
}

fn complete(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Shared,
    accepted: Accepted,
    secret: Option<&Zeroizing<Vec<u8>>>,
    additional: &[u8],
) {
    let Accepted { nonce_i, nonce_r, peer_token, what, .. } = accepted;
    let secret = secret.map(|secret| secret.as_slice());
    match what {
        What::Ike { chosen, spi_i, spi_r } => {
            let seed = Seed { shared_secret: secret.unwrap_or_default(), nonce_i: &nonce_i, nonce_r: &nonce_r, spi_i, spi_r };
            let keys = state.sa.keys.rekey_more(chosen.suite, seed, additional);
            let mut sa = IkeSa::new(keys, spi_i, spi_r, true, state.sa.fragments(), 0);
            sa.peer_token = peer_token;
            sa.additional = chosen.additional;
            let over = state.settle_sas(core, cx, sa, lowest(&nonce_i, &nonce_r));
            state.delete_old(core, cx, over);
            core.event(cx, Event::Rekeyed { ike: true });
        }
        What::Child { chosen, spi_in, narrowed: (local, remote), rekeys } => {
            let keys = directions(state.sa.keys.child_more(chosen.suite.protection, secret, &nonce_i, &nonce_r, additional), true);
            let rival = rekeys.and_then(|rekeys| state.take_rival_child(rekeys));
            // The peer may have made one as well, where there was none.
            let met = rekeys.is_none() && state.yields(core);
            let redundant = met || rival.as_ref().is_some_and(|(_, theirs)| lowest(&nonce_i, &nonce_r) < theirs.as_slice());
            let phase = if redundant { ChildPhase::Deleting } else { ChildPhase::Live };
            let (pfs, additional) = (chosen.group.into(), chosen.additional);
            let child = Child { spi_in, spi_out: chosen.spi, suite: chosen.suite, pfs, additional, local, remote, phase, rekey_at: None };
            let replaced = rekeys.filter(|rekeys| state.children.contains_key(rekeys));
            core.esp_wish = None;
            install(core, cx, &child, keys, &state.scope, replaced, !redundant);
            state.children.insert(spi_in, child);
            let over = if redundant { Some(spi_in) } else { replaced };
            match rival {
                Some((made, _)) => settle_children(state, core, cx, made, redundant),
                None if rekeys.is_none() => state.demand_met(core, cx, spi_in, redundant),
                None => core.event(cx, Event::Rekeyed { ike: false }),
            }
            if !redundant {
                state.start_child_age(core, cx, spi_in);
                state.take_up(core, cx, spi_in);
            }
            // First in the queue: the peer switches its outbound direction when it gets this.
            over.into_iter().for_each(|spi_in| state.todo.push_front(Todo::DeleteChildren(vec![spi_in])));
        }
    }
}

/// Two new Child SAs are there.
fn settle_children(state: &mut Established, core: &Core, cx: &mut Shared, theirs: u32, redundant: bool) {
    core.note(cx, format!("both sides rekeyed the Child SA at once; {} stays", if redundant { "the peer's" } else { "ours" }));
    if !redundant {
        state.make_redundant(cx, theirs);
    }
}
