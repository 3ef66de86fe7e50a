//! Our own requests on an established IKE SA: liveness, DELETE, CREATE_CHILD_SA.
use super::child::{Child, ChildPhase, Narrowed, directions, install, remove};
use super::established::{Established, Todo};
use super::{Core, IkeSa, notify_text};
use crate::api::{Answer, AskId, CipherPolicy, EspSuite, Event, IkeSuite, Question};
use crate::endpoint::Shared;
use crate::keys::Seed;
use crate::proposal::{ChosenEsp, ChosenIke, SaPayload, accept_esp, accept_ike, offer_esp, offer_ike};
use crate::wire::{Delete, Exchange, KeyExchange, Notify, ParseError, Payload, Payloads, Spi, notify};
use crypto::Zeroizing;
use crypto::dh::{Group, PrivateKey};
use std::time::Duration;

/// After a TEMPORARY_FAILURE we try again that much later, plus as much again at random (RFC 7296 section 2.25).
const RETRY_MS: u32 = 5000;

/// What our request in progress is for.
#[derive(Debug)]
pub(super) enum Own {
    Idle,
    Liveness,
    /// By our inbound SPIs.
    DeleteChildren(Vec<u32>),
    /// A key pair is being made for a rekey.
    KeyPair {
        ask: AskId,
        plan: Plan,
    },
    Offered(Box<Offered>),
    /// The peer has agreed; the shared secret is being computed.
    Agreeing {
        ask: AskId,
        accepted: Box<Accepted>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Ike,
    /// By inbound SPI.
    Child(u32),
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
    what: What,
}

#[derive(Debug)]
enum What {
    Ike { chosen: ChosenIke, spi_i: Spi, spi_r: Spi },
    Child { chosen: ChosenEsp, spi_in: u32, narrowed: Narrowed, rekeys: u32 },
}

impl Own {
    fn plan(&self) -> Option<Plan> {
        match self {
            Self::KeyPair { plan, .. } => Some(*plan),
            Self::Offered(offered) => Some(offered.plan),
            Self::Agreeing { accepted, .. } => Some(match accepted.what {
                What::Ike { .. } => Plan::Ike,
                What::Child { rekeys, .. } => Plan::Child(rekeys),
            }),
            Self::Idle | Self::Liveness | Self::DeleteChildren(_) => None,
        }
    }

    /// Our request to rekey the IKE SA is with the peer.
    pub(super) fn rekeys_ike(&self) -> bool {
        !matches!(self, Self::KeyPair { .. }) && self.plan() == Some(Plan::Ike)
    }

    /// A request of ours about Child SAs is with the peer: it would be lost with the IKE SA.
    pub(super) fn changes_children(&self) -> bool {
        match self {
            Self::DeleteChildren(_) => true,
            Self::Offered(_) | Self::Agreeing { .. } => matches!(self.plan(), Some(Plan::Child(_))),
            Self::Idle | Self::Liveness | Self::KeyPair { .. } => false,
        }
    }

    /// We are about to rekey this child, or are doing it.
    pub(super) fn rekeys_child(&self, spi_in: u32) -> bool {
        self.plan() == Some(Plan::Child(spi_in))
    }

    /// Our request to rekey this child is with the peer.
    pub(super) fn touches(&self, spi_in: u32) -> bool {
        !matches!(self, Self::KeyPair { .. }) && self.plan() == Some(Plan::Child(spi_in))
    }
}

/// Starts what is to be asked next, when nothing else is.
pub(super) fn next(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    // A key exchange of the peer's may be about to replace the IKE SA: what were asked now would be lost with the old one.
    while matches!(state.own, Own::Idle) && state.peer_exchange.is_none() && !state.sa.is_waiting() && !state.is_closing() {
        let Some(todo) = state.todo.pop_front() else { return };
        match todo {
            Todo::Liveness => {
                core.request(cx, &mut state.sa, Exchange::Informational, &[]);
                state.own = Own::Liveness;
            }
            Todo::DeleteChildren(spis) => delete(state, core, cx, spis),
            Todo::RekeyChild(spi_in) => rekey_child(state, core, cx, spi_in),
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
        return try_later(state, cx, Todo::RekeyChild(spi_in));
    }
    if core.traits.windows {
        // Windows answers a gateway's rekey with error 13863 or 13816, but makes a new Child SA at once when its own is deleted.
        core.note(cx, "Child SA deleted: Windows makes a new one, but refuses a rekey by the gateway");
        return delete(state, core, cx, vec![spi_in]);
    }
    match child.group {
        Some(group) => {
            let ask = core.ask(cx, Question::GenerateKeyPair { group });
            state.own = Own::KeyPair { ask, plan: Plan::Child(spi_in) };
        }
        None => offer_child(state, core, cx, spi_in, None),
    }
}

/// One combination and nothing else: what is in use now.
fn policy(ike: Option<IkeSuite>, esp: Option<EspSuite>, pfs: Option<Group>) -> CipherPolicy {
    CipherPolicy {
        ike: ike.iter().map(|suite| suite.protection).collect(),
        prfs: ike.iter().map(|suite| suite.prf).collect(),
        groups: ike.iter().map(|suite| suite.group).collect(),
        esp: esp.iter().map(|suite| suite.protection).collect(),
        pfs_groups: pfs.into_iter().collect(),
        prefer_esn: esp.is_some_and(|suite| suite.esn),
    }
}

fn offer_child(state: &mut Established, core: &mut Core, cx: &mut Shared, spi_in: u32, pair: Option<(PrivateKey, Vec<u8>)>) {
    let Some(child) = state.children.get(&spi_in).filter(|child| child.phase == ChildPhase::Live) else { return };
    let (new_spi, nonce_i) = (cx.take_esp_spi(), cx.nonce());
    core.esp_wish = Some(new_spi);
    let group = pair.as_ref().map(|(private, _)| private.group());
    let offer = offer_esp(&policy(None, Some(child.suite), group), new_spi, group.as_slice());
    let mut payloads =
        vec![Payload::Notify(Notify::esp(notify::REKEY_SA, spi_in)), Payload::Sa(offer.clone()), Payload::Nonce(nonce_i.clone())];
    let (private, public) = pair.unzip();
    if let (Some(public), Some(group)) = (public, group) {
        payloads.push(Payload::KeyExchange(KeyExchange { group: group.id(), public }));
    }
    payloads.extend([Payload::TsInitiator(child.local.clone()), Payload::TsResponder(child.remote.clone())]);
    core.request(cx, &mut state.sa, Exchange::CreateChildSa, &payloads);
    let plan = Plan::Child(spi_in);
    state.own = Own::Offered(Box::new(Offered { plan, offer, nonce_i, private, spi: NewSpi::Esp(new_spi) }));
}

fn offer_sa(state: &mut Established, core: &mut Core, cx: &mut Shared, private: PrivateKey, public: Vec<u8>) {
    let (spi, nonce_i) = (core.take_spi(cx), cx.nonce());
    let offer = offer_ike(&policy(Some(state.sa.keys.suite), None, None), Some(spi));
    let payloads = [
        Payload::Sa(offer.clone()),
        Payload::Nonce(nonce_i.clone()),
        Payload::KeyExchange(KeyExchange { group: private.group().id(), public }),
    ];
    core.request(cx, &mut state.sa, Exchange::CreateChildSa, &payloads);
    let private = Some(private);
    state.own = Own::Offered(Box::new(Offered { plan: Plan::Ike, offer, nonce_i, private, spi: NewSpi::Ike(spi) }));
}

/// Key pair made, or secret agreed.
pub(super) fn answer(state: &mut Established, core: &mut Core, cx: &mut Shared, id: AskId, answer: Answer) {
    match (std::mem::replace(&mut state.own, Own::Idle), answer) {
        (Own::KeyPair { ask, plan }, Answer::KeyPair { private, public }) if ask == id => match plan {
            Plan::Ike => offer_sa(state, core, cx, private, public),
            Plan::Child(spi_in) => offer_child(state, core, cx, spi_in, Some((private, public))),
        },
        (Own::Agreeing { ask, accepted }, Answer::Agreed(result)) if ask == id => match result {
            Ok(secret) => complete(state, core, cx, *accepted, Some(&secret)),
            Err(error) => core.note(cx, format!("rekey failed: {error}")),
        },
        (own, _) => state.own = own,
    }
}

/// The peer answered our request.
pub(super) fn response(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: Result<Payloads, ParseError>) {
    let own = std::mem::replace(&mut state.own, Own::Idle);
    let payloads = match payloads {
        Ok(payloads) => payloads,
        Err(error) => {
            core.note(cx, format!("the peer's answer is broken: {error}"));
            if let Own::Offered(offered) = own {
                release(core, cx, offered.spi);
            }
            return;
        }
    };
    match own {
        Own::DeleteChildren(spis) => spis.into_iter().for_each(|spi_in| state.retire(core, cx, spi_in)),
        Own::Offered(offered) => answered(state, core, cx, *offered, &payloads),
        other @ (Own::KeyPair { .. } | Own::Agreeing { .. }) => state.own = other,
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
    let spi = offered.spi;
    match read_answer(state, &offered, payloads) {
        Ok(accepted) => match (offered.private, payloads.key_exchange()) {
            (Some(private), Some(key_exchange)) if key_exchange.group == private.group().id() => {
                let ask = core.ask(cx, Question::Agree { private, peer_public: key_exchange.public.clone() });
                state.own = Own::Agreeing { ask, accepted: Box::new(accepted) };
            }
            (None, _) => complete(state, core, cx, accepted, None),
            (Some(_), _) => {
                release(core, cx, spi);
                core.note(cx, "rekey failed: the peer's answer has no fitting KE payload");
            }
        },
        Err(cause) => {
            release(core, cx, spi);
            core.note(cx, format!("rekey failed: {cause}"));
        }
    }
}

fn refused(state: &mut Established, core: &Core, cx: &mut Shared, plan: Plan, error: &Notify) {
    core.note(cx, format!("the peer refuses our rekey with {}", notify_text(error)));
    match (error.kind, plan) {
        (notify::TEMPORARY_FAILURE, _) => {
            let todo = match plan {
                Plan::Ike => Todo::RekeyIke,
                Plan::Child(spi_in) => Todo::RekeyChild(spi_in),
            };
            try_later(state, cx, todo);
        }
        (notify::CHILD_SA_NOT_FOUND, Plan::Child(spi_in))
            if state.children.get(&spi_in).is_some_and(|child| child.phase == ChildPhase::Live) =>
        {
            state.children.remove(&spi_in);
            remove(core, cx, spi_in);
        }
        _ => {}
    }
}

fn try_later(state: &mut Established, cx: &mut Shared, todo: Todo) {
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
        (Plan::Child(rekeys), NewSpi::Esp(spi_in)) => {
            let chosen = accept_esp(&offered.offer, sa).map_err(|mismatch| mismatch.to_string())?;
            let ts_i = payloads.ts_initiator().ok_or("the peer's answer has no TSi")?;
            let ts_r = payloads.ts_responder().ok_or("the peer's answer has no TSr")?;
            let narrowed = state.scope.narrow(ts_i, ts_r).ok_or("the peer's selectors are not within ours")?;
            What::Child { chosen, spi_in, narrowed, rekeys }
        }
        (Plan::Ike, NewSpi::Esp(_)) | (Plan::Child(_), NewSpi::Ike(_)) => return Err("a rekey with an SPI of the other kind".into()),
    };
    Ok(Accepted { nonce_i: offered.nonce_i.clone(), nonce_r, what })
}

fn complete(state: &mut Established, core: &mut Core, cx: &mut Shared, accepted: Accepted, secret: Option<&Zeroizing<Vec<u8>>>) {
    let Accepted { nonce_i, nonce_r, what } = accepted;
    let secret = secret.map(|secret| secret.as_slice());
    match what {
        What::Ike { chosen, spi_i, spi_r } => {
            let seed = Seed { shared_secret: secret.unwrap_or_default(), nonce_i: &nonce_i, nonce_r: &nonce_r, spi_i, spi_r };
            let keys = state.sa.keys.rekey(chosen.suite, seed);
            let sa = IkeSa::new(keys, spi_i, spi_r, true, state.sa.fragments(), 0);
            state.replace_sa(core, cx, sa);
            if let Some(old) = state.old.last_mut() {
                core.request(cx, &mut old.sa, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
            }
            core.event(cx, Event::Rekeyed { ike: true });
        }
        What::Child { chosen, spi_in, narrowed: (local, remote), rekeys } => {
            let keys = directions(state.sa.keys.child(chosen.suite.protection, secret, &nonce_i, &nonce_r), true);
            let phase = ChildPhase::Live;
            let child = Child { spi_in, spi_out: chosen.spi, suite: chosen.suite, group: chosen.group, local, remote, phase };
            let replaced = state.children.contains_key(&rekeys).then_some(rekeys);
            core.esp_wish = None;
            install(core, cx, &child, keys, &state.scope.inner, replaced, true);
            state.children.insert(spi_in, child);
            if let Some(old) = replaced {
                // First in the queue: the peer switches its outbound direction when it gets this.
                state.todo.push_front(Todo::DeleteChildren(vec![old]));
            }
            core.event(cx, Event::Rekeyed { ike: false });
        }
    }
}
