//! CREATE_CHILD_SA from the peer (RFC 7296 sections 1.3, 2.8, 2.25).
pub(super) mod followup;

use super::child::{Child, ChildPhase, Narrowed, directions, install};
use super::collision::{Rival, lowest};
use super::established::Established;
use super::rekey::{self, Own};
use super::{Core, IkeSa};
use crate::api::{Answer, AskId, Event, Question, TrafficSelector};
use crate::endpoint::Shared;
use crate::keys::Seed;
use crate::proposal::{ChosenEsp, ChosenIke, SaPayload, select_esp, select_ike};
use crate::wire::{KeyExchange, Notify, Payload, Payloads, Spi, notify, protocol};
use crypto::Zeroizing;
use crypto::dh::Group;

pub(super) use followup::Followup;

/// A peer that rekeys and never deletes holds no more than these.
const MAX_CHILDREN: usize = 16;

/// A request of the peer whose key exchange is being computed.
#[derive(Debug)]
pub(super) struct PeerExchange {
    ask: AskId,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    Child(ChildPlan),
    Ike(IkePlan),
    /// The additional key exchange of one of them.
    Followup(Box<Followup>),
}

/// An IKE SA that the peer may have in the place of this one.
#[derive(Debug)]
struct IkePlan {
    chosen: ChosenIke,
    spi_i: Spi,
    nonce_i: Vec<u8>,
}

/// A Child SA that the peer may have.
#[derive(Debug)]
struct ChildPlan {
    chosen: ChosenEsp,
    nonce_i: Vec<u8>,
    narrowed: Narrowed,
    /// Inbound SPI of the one it replaces.
    rekeys: Option<u32>,
}

/// Why a request is refused: the notify, and words for the record.
struct Refusal(Notify, Option<String>);

impl Refusal {
    fn quiet(kind: u16) -> Self {
        Self(Notify::new(kind, []), None)
    }

    fn because(kind: u16, cause: impl Into<String>) -> Self {
        Self(Notify::new(kind, []), Some(cause.into()))
    }
}

/// Answers the request, or has the key exchange computed first.
pub(super) fn request(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: &Payloads) {
    followup::drop(state, core, cx);
    let result = begin(state, core, cx, payloads);
    if let Err(Refusal(notify, cause)) = result {
        if let Some(cause) = cause {
            core.note(cx, format!("rekey or new Child SA refused with {}: {cause}", super::notify_text(&notify)));
        }
        core.respond(cx, &mut state.sa, &[Payload::Notify(notify)]);
    }
}

fn begin(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> Result<(), Refusal> {
    let missing = |what: &str| Refusal::because(notify::INVALID_SYNTAX, format!("CREATE_CHILD_SA request without {what}"));
    let sa = payloads.sa().ok_or_else(|| missing("SA"))?;
    let nonce_i = payloads.nonce().ok_or_else(|| missing("nonce"))?.to_vec();
    if state.is_closing() || state.has_rival_sa() || state.children.len() >= MAX_CHILDREN {
        return Err(Refusal::quiet(notify::TEMPORARY_FAILURE));
    }
    if sa.proposals.first().is_some_and(|proposal| proposal.protocol == protocol::IKE) {
        return begin_ike(state, core, cx, payloads, sa, nonce_i);
    }
    begin_child(state, core, cx, payloads, sa, nonce_i)
}

fn begin_ike(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Shared,
    payloads: &Payloads,
    sa: &SaPayload,
    nonce_i: Vec<u8>,
) -> Result<(), Refusal> {
    if state.own.changes_children() {
        return Err(Refusal::quiet(notify::TEMPORARY_FAILURE));
    }
    let key_exchange = payloads.key_exchange();
    let Some(key_exchange) = key_exchange else { return Err(Refusal::because(notify::INVALID_SYNTAX, "rekey of the IKE SA without KE")) };
    let chosen = select_ike(&core.granted_ciphers(), sa, key_exchange.group)
        .map_err(|mismatch| Refusal::because(notify::NO_PROPOSAL_CHOSEN, core.explain(&mismatch)))?;
    if chosen.suite.group.id() != key_exchange.group {
        return Err(other_group(chosen.suite.group.id()));
    }
    if state.own.rekeys_ike() && crosses(&state.own, chosen.additional) {
        return Err(Refusal::quiet(notify::TEMPORARY_FAILURE));
    }
    let spi_i = chosen.spi.ok_or_else(|| Refusal::because(notify::INVALID_SYNTAX, "rekey of the IKE SA without SPI"))?;
    let question = Question::KeyExchange { group: chosen.suite.group, peer_public: key_exchange.public.clone(), stranger: false };
    let ask = core.ask(cx, question);
    state.peer_exchange = Some(PeerExchange { ask, plan: Plan::Ike(IkePlan { chosen, spi_i, nonce_i }) });
    Ok(())
}

/// Our own rekey is too far for the peer's to be weighed against it, or would leave the peer's half done.
fn crosses(own: &Own, additional: Option<Group>) -> bool {
    own.is_half_done() || (own.is_plain() && additional.is_some())
}

fn other_group(group: u16) -> Refusal {
    Refusal(Notify::new(notify::INVALID_KE_PAYLOAD, group.to_be_bytes()), None)
}

fn begin_child(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Shared,
    payloads: &Payloads,
    sa: &SaPayload,
    nonce_i: Vec<u8>,
) -> Result<(), Refusal> {
    if state.own.rekeys_ike() {
        return Err(Refusal::quiet(notify::TEMPORARY_FAILURE));
    }
    let (remote, local) = offered_selectors(payloads)?;
    let rekeys = rekeyed_child(state, cx, payloads)?;
    let narrowed = match rekeys.and_then(|spi_in| state.children.get(&spi_in)) {
        // Windows offers everything again; what was negotiated stays (RFC 7296 section 2.9.2).
        Some(child) => narrow_to(child, local, remote),
        None => state.scope.narrow(local, remote),
    };
    let narrowed = narrowed.ok_or_else(|| Refusal::because(notify::TS_UNACCEPTABLE, "its traffic selectors are not allowed"))?;
    let key_exchange = payloads.key_exchange();
    let group = key_exchange.map(|it| it.group);
    let chosen = select_esp(&core.granted_ciphers(), sa, group, true)
        .map_err(|mismatch| Refusal::because(notify::NO_PROPOSAL_CHOSEN, core.explain(&mismatch)))?;
    if rekeys.is_some_and(|spi_in| state.own.touches(spi_in)) && crosses(&state.own, chosen.additional) {
        return Err(Refusal::quiet(notify::TEMPORARY_FAILURE));
    }
    let plan = ChildPlan { nonce_i, narrowed, rekeys, chosen };
    match (plan.chosen.group, key_exchange) {
        (None, _) => {
            answer_child(state, core, cx, plan, None);
            Ok(())
        }
        (Some(group), Some(key_exchange)) if group.id() == key_exchange.group => {
            let question = Question::KeyExchange { group, peer_public: key_exchange.public.clone(), stranger: false };
            let ask = core.ask(cx, question);
            state.peer_exchange = Some(PeerExchange { ask, plan: Plan::Child(plan) });
            Ok(())
        }
        (Some(group), _) => Err(other_group(group.id())),
    }
}

type Offered<'a> = (&'a [TrafficSelector], &'a [TrafficSelector]);

/// TSi and TSr.
fn offered_selectors(payloads: &Payloads) -> Result<Offered<'_>, Refusal> {
    let missing = || Refusal::because(notify::INVALID_SYNTAX, "CREATE_CHILD_SA request without traffic selectors");
    Ok((payloads.ts_initiator().ok_or_else(missing)?, payloads.ts_responder().ok_or_else(missing)?))
}

fn narrow_to(child: &Child, local: &[TrafficSelector], remote: &[TrafficSelector]) -> Option<Narrowed> {
    let narrowed = (crate::selector::narrow(local, &child.local), crate::selector::narrow(remote, &child.remote));
    (!narrowed.0.is_empty() && !narrowed.1.is_empty()).then_some(narrowed)
}

/// The inbound SPI of the child to replace; `None` for a new one, which is only made when there is none, or when both sides make one.
fn rekeyed_child(state: &Established, cx: &Shared, payloads: &Payloads) -> Result<Option<u32>, Refusal> {
    let Some(rekey) = payloads.notify(notify::REKEY_SA) else {
        return match state.live_child() {
            Some(child) if state.is_crossed(cx.now, child.spi_in) => Ok(None),
            Some(_) => Err(Refusal::because(notify::NO_ADDITIONAL_SAS, "there is a Child SA already")),
            None => Ok(None),
        };
    };
    let spi_out = rekey.esp_spi();
    let child = spi_out.and_then(|spi_out| state.children.values().find(|child| child.spi_out == spi_out));
    let not_found = || {
        let notify = Notify { kind: notify::CHILD_SA_NOT_FOUND, data: Vec::new(), ..rekey.clone() };
        Refusal(notify, Some("it names a Child SA that does not exist".into()))
    };
    let Some(child) = child else {
        // It may be the one whose answer is still on its way to us.
        return Err(if state.own.changes_children() { Refusal::quiet(notify::TEMPORARY_FAILURE) } else { not_found() });
    };
    match child.phase {
        // Also when we rekey it ourselves: which of the two new ones stays is decided when both are there.
        ChildPhase::Live => Ok(Some(child.spi_in)),
        ChildPhase::Deleting => Err(Refusal::quiet(notify::TEMPORARY_FAILURE)),
        ChildPhase::Replaced(_) | ChildPhase::Redundant | ChildPhase::Ending(_) => Err(not_found()),
    }
}

/// Answers to our questions: the peer's key exchange, or one of our own.
pub(super) fn answer(state: &mut Established, core: &mut Core, cx: &mut Shared, id: AskId, answer: Answer) {
    match state.peer_exchange.take_if(|exchange| exchange.ask == id) {
        Some(exchange) => finish(state, core, cx, exchange.plan, answer),
        None => rekey::answer(state, core, cx, id, answer),
    }
}

fn finish(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, answer: Answer) {
    let exchanged = match answer {
        Answer::KeyExchange(Ok((public, secret))) => Exchanged { public, secret },
        Answer::KeyExchange(Err(error)) => {
            core.note(cx, format!("rekey refused: KE payload: {error}"));
            return refuse(state, core, cx, plan, notify::INVALID_SYNTAX);
        }
        _ => {
            core.note(cx, "rekey put off: the gateway was busy");
            return refuse(state, core, cx, plan, notify::TEMPORARY_FAILURE);
        }
    };
    match plan {
        Plan::Child(plan) => answer_child(state, core, cx, plan, Some(exchanged)),
        Plan::Ike(plan) => answer_ike(state, core, cx, plan, exchanged),
        Plan::Followup(followup) => followup::finish(state, core, cx, *followup, exchanged),
    }
}

fn refuse(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: Plan, kind: u16) {
    if let Plan::Followup(followup) = plan {
        followup.release(core, cx);
    }
    core.respond(cx, &mut state.sa, &[Payload::Notify(Notify::new(kind, []))]);
}

/// What a key exchange brought.
struct Exchanged {
    public: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
}

impl Exchanged {
    fn payload(&self, group: Group) -> Payload {
        Payload::KeyExchange(KeyExchange { group: group.id(), public: self.public.clone() })
    }
}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Half(..)")
    }
}

/// Our half of what is made, and all shared secrets.
struct Half {
    nonce_r: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
    additional: Zeroizing<Vec<u8>>,
}

fn answer_child(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: ChildPlan, exchanged: Option<Exchanged>) {
    let (spi_in, nonce_r) = (cx.take_esp_spi(), cx.nonce());
    let mut payloads = vec![Payload::Sa(plan.chosen.reply(spi_in)), Payload::Nonce(nonce_r.clone())];
    payloads.extend(exchanged.as_ref().zip(plan.chosen.group).map(|(exchanged, group)| exchanged.payload(group)));
    let (local, remote) = &plan.narrowed;
    payloads.extend([Payload::TsInitiator(remote.clone()), Payload::TsResponder(local.clone())]);
    let secret = exchanged.map(|exchanged| exchanged.secret).unwrap_or_default();
    let half = Half { nonce_r, secret, additional: Zeroizing::default() };
    if let Some(group) = plan.chosen.additional {
        return followup::expect(state, core, cx, group, followup::Part::Child { plan, spi_in }, half, payloads);
    }
    core.respond(cx, &mut state.sa, &payloads);
    make_child(state, core, cx, plan, spi_in, &half);
}

/// The Child SA begins.
fn make_child(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: ChildPlan, spi_in: u32, half: &Half) {
    let ChildPlan { chosen, nonce_i, narrowed: (local, remote), rekeys } = plan;
    // The child may have gone while the key exchange was computed.
    let rekeys = rekeys.filter(|spi_in| state.children.contains_key(spi_in));
    let secret = chosen.group.map(|_| half.secret.as_slice());
    let keys = state.sa.keys.child_more(chosen.suite.protection, secret, &nonce_i, &half.nonce_r, &half.additional);
    let (phase, pfs, additional) = (ChildPhase::Live, chosen.group.into(), chosen.additional);
    let child = Child { spi_in, spi_out: chosen.spi, suite: chosen.suite, pfs, additional, local, remote, phase, rekey_at: None };
    install(core, cx, &child, directions(keys, false), &state.scope, rekeys, rekeys.is_none());
    state.children.insert(spi_in, child);
    state.start_child_age(core, cx, spi_in);
    state.take_up(core, cx, spi_in);
    state.learn_pfs(pfs);
    let Some(old) = rekeys.and_then(|spi_in| state.children.get_mut(&spi_in)) else {
        core.note(cx, "the client has made a new Child SA");
        return state.yield_to(core, spi_in);
    };
    let replaced = old.spi_in;
    old.phase = ChildPhase::Replaced(spi_in);
    if state.own.touches(replaced) {
        state.rival = Some(Rival::Child { replaced, made: spi_in, lowest: lowest(&nonce_i, &half.nonce_r).to_vec() });
    }
    core.event(cx, Event::Rekeyed { ike: false });
}

fn answer_ike(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: IkePlan, exchanged: Exchanged) {
    let (spi_r, nonce_r) = (core.take_spi(cx), cx.nonce());
    let mut payloads =
        vec![Payload::Sa(plan.chosen.reply(Some(spi_r))), Payload::Nonce(nonce_r.clone()), exchanged.payload(plan.chosen.suite.group)];
    payloads.extend(core.qcd_token(plan.spi_i, spi_r));
    let half = Half { nonce_r, secret: exchanged.secret, additional: Zeroizing::default() };
    if let Some(group) = plan.chosen.additional {
        return followup::expect(state, core, cx, group, followup::Part::Ike { plan, spi_r }, half, payloads);
    }
    core.respond(cx, &mut state.sa, &payloads);
    make_ike(state, core, cx, &plan, spi_r, &half);
}

/// The IKE SA begins.
fn make_ike(state: &mut Established, core: &mut Core, cx: &mut Shared, plan: &IkePlan, spi_r: Spi, half: &Half) {
    let IkePlan { chosen, spi_i, nonce_i } = plan;
    let seed = Seed { shared_secret: &half.secret, nonce_i, nonce_r: &half.nonce_r, spi_i: *spi_i, spi_r };
    let keys = state.sa.keys.rekey_more(chosen.suite, seed, &half.additional);
    let mut sa = IkeSa::new(keys, *spi_i, spi_r, false, state.sa.fragments(), 0);
    sa.additional = chosen.additional;
    if state.own.rekeys_ike() {
        state.rival = Some(Rival::Sa { sa: Box::new(sa), lowest: lowest(nonce_i, &half.nonce_r).to_vec() });
        return;
    }
    state.replace_sa(core, cx, sa);
    rekey::drop_ike(state);
    core.event(cx, Event::Rekeyed { ike: true });
}
