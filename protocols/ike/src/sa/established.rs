//! The session is up: liveness, DELETE, rekeys (RFC 7296 sections 1.3, 1.4, 2.4, 2.8).
use super::child::{Child, ChildPhase, Scope, remove};
use super::closing::Closing;
use super::collision::Rival;
use super::create_child::{Followup, PeerExchange};
use super::demand::Demand;
use super::rekey::Own;
use super::{Core, IkeSa, Phase, Request, Signal, State, Step, create_child, informational, mobility, parse_notify, rekey, silence};
use crate::api::{CloseReason, Command, Event, Fault, GatewayIdentity, Stage, TimeoutReason};
use crate::endpoint::Shared;
use crate::proposal::Agreed;
use crate::qcd;
use crate::redirect::redirect_notify;
use crate::wire::{Delete, Exchange, Notify, Payload, Payloads, Spi, notify};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a replaced IKE SA waits for the peer's DELETE: longer than anyone retransmits the rekey request that replaced it.
pub(super) const OLD_SA: Duration = Duration::from_secs(300);

/// A peer that rekeys and never deletes holds no more than these.
const MAX_OLD: usize = 4;

#[derive(Debug)]
pub(crate) struct Established {
    pub(super) sa: IkeSa,
    /// Replaced IKE SAs.
    pub(super) old: Vec<OldSa>,
    /// By inbound SPI.
    pub(super) children: BTreeMap<u32, Child>,
    pub(super) scope: Scope,
    /// What our request in progress is for.
    pub(super) own: Own,
    /// What we will ask of the peer once it has answered.
    pub(super) todo: VecDeque<Todo>,
    /// What is to be tried again, and when.
    pub(super) later: Vec<(Instant, Todo)>,
    /// The peer's CREATE_CHILD_SA whose key exchange is being computed.
    pub(super) peer_exchange: Option<PeerExchange>,
    /// The peer's CREATE_CHILD_SA that waits for its additional key exchange.
    pub(super) followup: Option<Box<Followup>>,
    /// The peer made the current IKE SA by its rekey, and may not know yet that it succeeded: until it shows that it does, or until then, we
    /// ask nothing on it.
    pub(super) unconfirmed: Option<Instant>,
    /// Responder: the first Child SA, until the peer shows that our last IKE_AUTH response has reached it.
    pub(super) untried: Option<u32>,
    /// What a rekey of the peer's made while ours was on its way.
    pub(super) rival: Option<Rival>,
    /// When we rekey the IKE SA, unless the peer does before.
    pub(super) rekey_at: Option<Instant>,
    /// When the session ends for want of a new authentication.
    pub(super) expires_at: Option<Instant>,
    pub(super) demand: Demand,
    /// Of the Child SA in use, or the last one.
    child_agreed: Agreed,
    closing: Option<CloseReason>,
}

/// How long a peer may take to learn that its rekey of the IKE SA succeeded; then we ask all the same, and go on as long as we repeat requests.
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// What the answer to AUTH_LIFETIME may take longer than the time it names.
const LIFETIME_GRACE: Duration = Duration::from_secs(60);

/// An IKE SA that was replaced.
#[derive(Debug)]
pub(super) struct OldSa {
    pub sa: IkeSa,
    pub until: Instant,
}

/// Requests of ours to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Todo {
    Liveness,
    /// Initiator: we are elsewhere now.
    Move,
    /// The token of an IKE SA that we made by a rekey (RFC 6290 section 4.3).
    Token,
    /// RFC 5685 section 5.
    Redirect(Notify),
    /// By our inbound SPIs.
    DeleteChildren(Vec<u32>),
    RekeyChild(u32),
    RekeyIke,
    /// Where there is none.
    NewChild,
}

fn tell_change(core: &Core, cx: &mut Shared, ike: bool, before: Agreed, now: Agreed) {
    if before != now {
        core.event(cx, Event::Renegotiated { ike, suite: now.to_string(), weaker: now.weaker_than(&before) });
    }
}

impl Established {
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, sa: IkeSa, child: Child, scope: Scope, lifetime: Option<Duration>) -> State {
        core.event(cx, Event::Reached(Stage::Up));
        let (first, initiator) = (child.spi_in, sa.initiator);
        let (demand, child_agreed) = (Demand::new(child.clone()), child.agreed());
        let mut state = Self {
            sa,
            old: Vec::new(),
            children: BTreeMap::from([(child.spi_in, child)]),
            scope,
            own: Own::Idle,
            todo: VecDeque::new(),
            later: Vec::new(),
            peer_exchange: None,
            followup: None,
            unconfirmed: None,
            untried: (!initiator).then_some(first),
            rival: None,
            rekey_at: None,
            expires_at: lifetime.and_then(|lifetime| cx.now.checked_add(lifetime + LIFETIME_GRACE)),
            demand,
            child_agreed,
            closing: None,
        };
        state.start_ike_age(core, cx);
        state.start_child_age(core, cx, first);
        state.into()
    }

    /// The child that carries the traffic.
    pub(super) fn live_child(&self) -> Option<&Child> {
        self.children.values().find(|child| child.phase == ChildPhase::Live)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Nothing of ours is on its way or being made. A key exchange of the peer's may be about to replace the IKE SA: what were asked now would be
    /// lost with the old one.
    pub(super) fn may_ask(&self) -> bool {
        let idle = matches!(self.own, Own::Idle) && !self.is_exchanging() && !self.sa.is_waiting();
        idle && self.unconfirmed.is_none() && !self.is_closing()
    }

    /// A CREATE_CHILD_SA of the peer's has begun and is not done.
    pub(super) fn is_exchanging(&self) -> bool {
        self.peer_exchange.is_some() || self.followup.is_some()
    }

    /// A new IKE SA takes over; the old one is kept until it is deleted.
    pub(super) fn replace_sa(&mut self, core: &mut Core, cx: &mut Shared, sa: IkeSa) {
        let mut old = std::mem::replace(&mut self.sa, sa);
        old.abandon();
        let [before, now] = [&old, &self.sa].map(|sa| Agreed::ike(sa.keys.suite, sa.additional));
        tell_change(core, cx, true, before, now);
        self.keep_old(core, cx, old, OLD_SA);
        self.unconfirmed = (!self.sa.initiator).then(|| cx.now + UNCONFIRMED);
        if self.sa.initiator && core.qcd_token(self.sa.spi_i, self.sa.spi_r).is_some() {
            self.plan(Todo::Token);
        }
        self.start_ike_age(core, cx);
    }

    /// This Child SA carries the traffic from now on, or as soon as the peer says so.
    pub(super) fn take_up(&mut self, core: &Core, cx: &mut Shared, spi_in: u32) {
        let Some(now) = self.children.get(&spi_in).map(Child::agreed) else { return };
        tell_change(core, cx, false, std::mem::replace(&mut self.child_agreed, now), now);
    }

    /// An IKE SA that nothing happens on any more but its end.
    pub(super) fn keep_old(&mut self, core: &mut Core, cx: &mut Shared, sa: IkeSa, time: Duration) {
        if self.old.len() >= MAX_OLD {
            core.release_spi(cx, self.old.remove(0).sa.own_spi());
        }
        self.old.push(OldSa { sa, until: cx.now + time });
    }

    /// Deletes a replaced IKE SA of ours.
    pub(super) fn delete_old(&mut self, core: &Core, cx: &mut Shared, own: Spi) {
        if let Some(old) = self.old.iter_mut().find(|old| old.sa.own_spi() == own) {
            core.request(cx, &mut old.sa, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        }
    }

    /// The session ends: no packet passes any more.
    fn remove_children(&mut self, core: &mut Core, cx: &mut Shared) {
        create_child::followup::drop(self, core, cx);
        for spi_in in std::mem::take(&mut self.children).into_keys() {
            remove(core, cx, spi_in);
        }
    }

    /// The peer has the first Child SA and receives on it.
    fn try_first(&mut self, core: &Core, cx: &mut Shared) {
        if let Some(first) = self.untried.take().filter(|first| self.children.contains_key(first)) {
            Self::use_outbound(core, cx, first);
        }
    }

    fn request(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, request: Request) -> State {
        if self.rival_sa(request.spi).is_some() {
            if deletes_ike(&request) {
                return self.rival_deleted(core, cx, &request);
            }
            // The peer uses it: it knows nothing of our half of the collision, or has lost it.
            rekey::forget(&mut self, core, cx);
            self.adopt_rival_sa(core, cx);
        }
        if request.spi == self.sa.own_spi() || deletes_ike(&request) {
            self.unconfirmed = None;
        }
        if request.spi != self.sa.own_spi() {
            self.request_on_old(core, cx, &request);
            return self.into();
        }
        let payloads = match &request.payloads {
            Ok(payloads) => payloads,
            Err(error) => {
                core.note(cx, format!("the peer sent a message that is broken: {error}"));
                core.respond(cx, &mut self.sa, &[Payload::Notify(parse_notify(error))]);
                return self.into();
            }
        };
        match request.exchange {
            Exchange::Informational => return self.informational(core, cx, payloads),
            Exchange::CreateChildSa => create_child::request(&mut self, core, cx, payloads),
            Exchange::IkeFollowupKe if !self.is_closing() => create_child::followup::request(&mut self, core, cx, payloads),
            _ => core.respond(cx, &mut self.sa, &[Payload::Notify(Notify::new(notify::INVALID_SYNTAX, []))]),
        }
        self.into()
    }

    /// The peer deletes its own half of a collision.
    fn rival_deleted(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, request: &Request) -> State {
        if let Some(sa) = self.rival_sa(request.spi) {
            core.respond(cx, sa, &[]);
        }
        self.drop_rival_sa(core, cx);
        self.into()
    }

    fn informational(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> State {
        informational::note_errors(core, cx, payloads);
        if payloads.deletes().any(|delete| *delete == Delete::Ike) {
            if self.has_rival_sa() {
                // Only the old one: the peer did not notice that we rekey too, or its half has won (section 2.8.2).
                core.respond(cx, &mut self.sa, &[]);
                if self.own.is_answered() {
                    // Ours exists on both sides and is ours to delete, as soon as we have its keys.
                    return self.into();
                }
                rekey::forget(&mut self, core, cx);
                self.adopt_rival_sa(core, cx);
                self.unconfirmed = None;
                return self.into();
            }
            self.remove_children(core, cx);
            core.respond(cx, &mut self.sa, &[]);
            core.end(cx, self.closing.unwrap_or(CloseReason::PeerDeleted), None);
            return State::drain(cx, Some(self.sa));
        }
        if payloads.notify(notify::AUTHENTICATION_FAILED).is_some() {
            return self.rejected(core, cx);
        }
        if let Some((to, _)) = core.redirected(payloads).filter(|_| !self.is_closing()) {
            core.respond(cx, &mut self.sa, &[]);
            return match core.follow_redirect(cx, &to) {
                Ok(()) => self.leave(core, cx, CloseReason::Replaced),
                Err(cause) => {
                    core.note(cx, cause);
                    self.into()
                }
            };
        }
        if let Some(token) = qcd::received(payloads) {
            self.sa.peer_token = Some(token);
        }
        let mut answer = informational::delete_children(&mut self, core, cx, payloads);
        answer.extend(mobility::request(&mut self, core, cx, payloads));
        core.respond(cx, &mut self.sa, &answer);
        self.into()
    }

    /// The peer could not verify our last proof and has given up the IKE SA (RFC 7296 section 2.21.2).
    fn rejected(mut self: Box<Self>, core: &mut Core, cx: &mut Shared) -> State {
        self.remove_children(core, cx);
        core.respond(cx, &mut self.sa, &[]);
        let failure = core.failure(Fault::PeerIncompatible, None, "the peer does not accept our AUTH: AUTHENTICATION_FAILED");
        core.end(cx, CloseReason::Failed, Some(failure));
        State::drain(cx, Some(self.sa))
    }

    /// The session ends in failure, and the peer is told by a DELETE. The window for our requests must be free.
    pub(super) fn expel(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, cause: String) -> State {
        self.remove_children(core, cx);
        let failure = core.failure(Fault::PeerMisbehaved, None, cause);
        core.end(cx, CloseReason::Failed, Some(failure));
        Closing::begin(core, cx, self.sa, CloseReason::Failed)
    }

    /// On a replaced IKE SA there is nothing left to do but to delete it.
    fn request_on_old(&mut self, core: &mut Core, cx: &mut Shared, request: &Request) {
        let Some(old) = self.old.iter_mut().find(|old| old.sa.own_spi() == request.spi) else { return };
        let refused = [Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))];
        let answer: &[Payload] = if request.exchange == Exchange::Informational { &[] } else { &refused };
        core.respond(cx, &mut old.sa, answer);
        if deletes_ike(request) {
            old.until = cx.now + super::closing::DRAIN;
        }
    }

    fn command(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, command: Command) -> State {
        match command {
            Command::Close(reason) => return self.close(core, cx, reason),
            Command::Liveness => {
                core.probed = true;
                // A request that waits is a sign of life to come: its next repetition may be a minute away.
                cx.repeat_all(core.path, self.sa.unanswered());
                self.plan(Todo::Liveness);
            }
            Command::RekeyIke => self.plan(Todo::RekeyIke),
            Command::DropChild => self.drop_child(core, cx),
            Command::RekeyChild => {
                if let Some(spi_in) = self.live_child().map(|child| child.spi_in) {
                    self.plan(Todo::RekeyChild(spi_in));
                }
            }
        }
        self.into()
    }

    fn redirect(&mut self, core: &Core, cx: &mut Shared, gateway: &GatewayIdentity) {
        match redirect_notify(notify::REDIRECT, gateway, &[]).filter(|_| core.traits.redirect) {
            Some(notify) => {
                core.note(cx, format!("the client is sent to {gateway}"));
                self.plan(Todo::Redirect(notify));
            }
            None => core.note(cx, format!("the client cannot be sent to {gateway}: it does not follow redirects, or the name is too long")),
        }
    }

    /// Sequence numbers run out: said again while the rekey goes on, it asks for nothing new.
    fn wear(&mut self, spi_in: u32) {
        let live = self.children.get(&spi_in).is_some_and(|child| child.phase == ChildPhase::Live);
        if live && !self.is_closing() && !self.own.rekeys_child(spi_in) {
            self.later.retain(|(_, todo)| *todo != Todo::RekeyChild(spi_in));
            self.plan(Todo::RekeyChild(spi_in));
        }
    }

    pub(super) fn plan(&mut self, todo: Todo) {
        if !self.todo.contains(&todo) {
            self.todo.push_back(todo);
        }
    }

    /// Traffic stops at once; the DELETE waits for its turn in the window. A client that was replaced is not there to answer one.
    fn close(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, reason: CloseReason) -> State {
        if reason == CloseReason::Replaced {
            self.remove_children(core, cx);
            core.end(cx, reason, None);
            return State::Gone;
        }
        self.leave(core, cx, reason)
    }

    fn leave(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, reason: CloseReason) -> State {
        self.remove_children(core, cx);
        if core.silent {
            // It owes an answer, and takes no DELETE before it has given that one.
            core.end(cx, reason, None);
            return State::Gone;
        }
        self.todo.clear();
        self.later.clear();
        if self.sa.is_waiting() || self.own.rekeys_ike() {
            self.closing.get_or_insert(reason);
            return self.into();
        }
        Closing::begin(core, cx, self.sa, reason)
    }

    fn lost(mut self: Box<Self>, core: &mut Core, cx: &mut Shared) -> State {
        self.remove_children(core, cx);
        core.end(cx, self.closing.unwrap_or(CloseReason::PeerLost), None);
        State::Gone
    }

    fn timeout(mut self: Box<Self>, core: &mut Core, cx: &mut Shared) -> State {
        if self.expires_at.take_if(|at| *at <= cx.now).is_some() {
            core.note(cx, "the client did not authenticate anew within AUTH_LIFETIME");
            return self.close(core, cx, CloseReason::SessionTimeout);
        }
        match self.sa.retransmit_heard(cx.now, core.heard) {
            Ok(datagrams) => cx.repeat_all(core.path, &datagrams),
            Err(_) if mobility::go_back(&mut self, core, cx) => {}
            Err(_) if core.superseded => return self.close(core, cx, CloseReason::Replaced),
            Err(_) if self.wait_for_return(core, cx) => {}
            Err(_) => return self.lost(core, cx),
        }
        self.expire_old(core, cx);
        self.expire_children(core, cx);
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= cx.now).collect();
        due.into_iter().for_each(|(_, todo)| self.plan(todo));
        self.plan_by_age(cx);
        self.unconfirmed.take_if(|at| *at <= cx.now);
        if self.followup.as_ref().is_some_and(|followup| followup.until <= cx.now) {
            create_child::followup::drop(&mut self, core, cx);
        }
        if self.liveness_due(core).is_some_and(|at| at <= cx.now) {
            self.plan(Todo::Liveness);
        }
        self.into()
    }

    fn expire_old(&mut self, core: &mut Core, cx: &mut Shared) {
        for mut old in std::mem::take(&mut self.old) {
            let silent = match old.sa.retransmit(cx.now) {
                Ok(datagrams) => {
                    cx.repeat_all(core.path, &datagrams);
                    false
                }
                Err(_) => true,
            };
            if silent || old.until <= cx.now {
                core.release_spi(cx, old.sa.own_spi());
            } else {
                self.old.push(old);
            }
        }
    }

    fn expire_children(&mut self, core: &Core, cx: &mut Shared) {
        let now = cx.now;
        for (spi_in, _) in self.children.extract_if(.., |_, child| matches!(child.phase, ChildPhase::Ending(at) if at <= now)) {
            remove(core, cx, spi_in);
        }
    }

    /// When silence calls for a sign of life; not while a request of ours waits, which is one, or none can be made.
    fn liveness_due(&self, core: &Core) -> Option<Instant> {
        let interval = core.timers().liveness_interval;
        (!interval.is_zero() && self.may_ask()).then(|| core.heard + interval)
    }

    /// The peer deleted `spi_in`: its successor sends now, its own last packets are still taken.
    pub(super) fn retire(&mut self, core: &Core, cx: &mut Shared, spi_in: u32) {
        let alone = self.live_child().is_none();
        let Some(child) = self.children.get_mut(&spi_in) else { return };
        let phase = child.phase;
        child.phase = ChildPhase::Ending(cx.now + core.timers().delete_rekeyed_delay);
        match phase {
            // Nothing takes its place: what were sent on it now would be lost.
            ChildPhase::Deleting if alone => {
                self.children.remove(&spi_in);
                remove(core, cx, spi_in);
            }
            ChildPhase::Live => {
                self.drop_rival_child(spi_in);
                self.children.remove(&spi_in);
                remove(core, cx, spi_in);
            }
            ChildPhase::Replaced(successor) => {
                let sends = |child: &Child| matches!(child.phase, ChildPhase::Live | ChildPhase::Replaced(_));
                if self.children.get(&successor).is_some_and(sends) {
                    Self::use_outbound(core, cx, successor);
                }
            }
            ChildPhase::Redundant | ChildPhase::Deleting | ChildPhase::Ending(_) => {}
        }
    }
}

impl Step for Established {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let back = core.silent && silence::is_sign_of_life(&signal);
        if matches!(&signal, Signal::Request(_) | Signal::Response(..)) {
            self.try_first(core, cx);
        }
        let next = match signal {
            Signal::Request(request) => self.request(core, cx, request),
            // The end is near: nothing that was begun is finished any more, but a new IKE SA, which the peer may have already.
            Signal::Response(..) | Signal::Answer(..) if self.is_closing() && !self.own.rekeys_ike() => self.into(),
            Signal::Response(spi, payloads) if spi == self.sa.own_spi() => {
                let unmet = matches!(&self.own, Own::Routability(check) if !payloads.as_ref().is_ok_and(|payloads| check.is_met(payloads)));
                if unmet && !mobility::go_back(&mut self, core, cx) {
                    return self.unreachable(core, cx);
                }
                rekey::response(&mut self, core, cx, payloads);
                self.into()
            }
            Signal::Response(spi, ..) => {
                // The answer to the DELETE of a replaced IKE SA.
                if let Some(old) = self.old.iter_mut().find(|old| old.sa.own_spi() == spi) {
                    old.until = old.until.min(cx.now + super::closing::DRAIN);
                }
                self.into()
            }
            Signal::Answer(id, answer) => {
                create_child::answer(&mut self, core, cx, id, answer);
                self.into()
            }
            Signal::Command(command) => self.command(core, cx, command),
            Signal::Rehome(_) => {
                self.plan(Todo::Move);
                self.into()
            }
            Signal::Superseded => {
                if !core.silent {
                    core.superseded = true;
                    self.plan(Todo::Liveness);
                }
                self.into()
            }
            Signal::Redirect(gateway) => {
                self.redirect(core, cx, &gateway);
                self.into()
            }
            Signal::Timeout => self.timeout(core, cx),
            Signal::Forgotten(spi) if spi == self.sa.own_spi() => {
                core.note(cx, "the peer proves by its QCD token that it has lost the IKE SA");
                self.lost(core, cx)
            }
            Signal::Worn(spi_in) => {
                self.wear(spi_in);
                self.into()
            }
            Signal::Wanted => {
                self.want_child(cx);
                self.into()
            }
            Signal::PeerMoved(path) => {
                mobility::sighted(&mut self, core, cx, path);
                self.into()
            }
            Signal::Retry(_) | Signal::Plain(_) | Signal::Forgotten(_) => self.into(),
        };
        match next {
            State::Established(mut state) => {
                if back {
                    state.welcome_back(core, cx);
                }
                rekey::next(&mut state, core, cx);
                state.note_rest(core, cx);
                match state.closing.filter(|_| !state.sa.is_waiting() && !state.own.rekeys_ike()) {
                    Some(reason) => Closing::begin(core, cx, state.sa, reason),
                    None => state.into(),
                }
            }
            other => other,
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        if matches!(&self.rival, Some(Rival::Sa { sa, .. }) if sa.own_spi() == own) {
            return self.rival_sa(own);
        }
        std::iter::once(&mut self.sa).chain(self.old.iter_mut().map(|old| &mut old.sa)).find(|sa| sa.own_spi() == own)
    }

    fn phase(&self) -> Phase {
        Phase::Established
    }

    fn deadline(&self, core: &Core) -> Option<(Instant, TimeoutReason)> {
        let mut deadlines = vec![
            self.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit)),
            self.liveness_due(core).map(|at| (at, TimeoutReason::Liveness)),
        ];
        deadlines.extend(self.later.iter().map(|(at, _)| Some((*at, TimeoutReason::Retransmit))));
        for old in &self.old {
            deadlines.push(Some((old.until, TimeoutReason::RekeyedDelete)));
            deadlines.push(old.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit)));
        }
        deadlines.extend(self.children.values().map(|child| match child.phase {
            ChildPhase::Ending(at) => Some((at, TimeoutReason::RekeyedDelete)),
            _ => None,
        }));
        deadlines.extend(self.ages().map(Some));
        deadlines.push(self.followup.as_ref().map(|followup| (followup.until, TimeoutReason::Retransmit)));
        deadlines.push(self.unconfirmed.map(|at| (at, TimeoutReason::Retransmit)));
        deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

fn deletes_ike(request: &Request) -> bool {
    request.payloads.as_ref().is_ok_and(|payloads| payloads.deletes().any(|delete| *delete == Delete::Ike))
}
