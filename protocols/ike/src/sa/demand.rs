//! An IKE SA without Child SA is a normal thing: clients delete idle ones (Windows after 5 min), and so do we when told. Either side makes a new one
//! when a packet needs it, both perhaps at once (RFC 7296 section 1.3.1).
use super::Core;
use super::child::{Child, ChildPhase, Pfs};
use super::established::{Established, Todo};
use super::rekey::{self, Plan};
use crate::api::Event;
use crate::endpoint::Shared;
use crate::wire::Notify;
use crypto::dh::{Group, PrivateKey};
use std::time::{Duration, Instant};

/// A client whose Child SA has just gone may be about to make a new one itself, as Windows does: we wait so long, to not cross it.
const COURTESY: Duration = Duration::from_secs(2);

/// A client that refused is not asked again before.
const REFUSED: Duration = Duration::from_secs(60);

/// How long a request of the peer may have been on its way when it got ours.
const CROSSING: Duration = Duration::from_secs(30);

/// What making a Child SA anew needs to know.
#[derive(Debug)]
pub(super) struct Demand {
    /// The session's first: a new one has its suite and selectors.
    model: Child,
    /// Nothing is asked before.
    not_before: Option<Instant>,
    /// What we made last: inbound SPI, and until when the peer may not know of it.
    made: Option<(u32, Instant)>,
    resting: bool,
}

impl Demand {
    pub(super) fn new(model: Child) -> Self {
        Self { model, not_before: None, made: None, resting: false }
    }
}

/// Asks for a Child SA, unless the peer has made one.
pub(super) fn begin(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    if state.live_child().is_some() {
        return;
    }
    core.note(cx, "packets wait for the client: it is asked for a new Child SA");
    // Windows takes a Child SA of a gateway only without key exchange, unless its profile has one.
    let pfs = if core.traits.windows && state.demand.model.pfs == Pfs::Undecided { Pfs::Without } else { state.demand.model.pfs };
    match rekey::wanted_group(state, core, pfs) {
        Some(group) => rekey::pair_for(state, core, cx, Plan::New, group),
        None => offer(state, core, cx, None),
    }
}

/// Sends the request, once there is a key pair where one is needed.
pub(super) fn offer(state: &mut Established, core: &mut Core, cx: &mut Shared, pair: Option<(PrivateKey, Vec<u8>)>) {
    if state.live_child().is_none() {
        let model = state.demand.model.clone();
        rekey::offer_like(state, core, cx, &model, Plan::New, pair);
    }
}

impl Established {
    /// Packets wait for the peer.
    pub(super) fn want_child(&mut self, cx: &Shared) {
        let planned = self.own.makes_child() || self.later.iter().any(|(_, todo)| *todo == Todo::NewChild);
        if self.is_closing() || planned || self.live_child().is_some() {
            return;
        }
        match self.demand.not_before.filter(|at| *at > cx.now) {
            // For a moment only; a refusal is remembered, its packets are not.
            Some(at) if at <= cx.now + COURTESY => self.later.push((at, Todo::NewChild)),
            Some(_) => {}
            None => self.plan(Todo::NewChild),
        }
    }

    /// Deletes the Child SA because it is idle.
    pub(super) fn drop_child(&mut self, core: &Core, cx: &mut Shared) {
        if let Some(spi_in) = self.live_child().map(|child| child.spi_in) {
            core.note(cx, "the Child SA is idle and is deleted; the IKE SA stays");
            self.plan(Todo::DeleteChildren(vec![spi_in]));
        }
    }

    /// Tells when the last Child SA goes, and when there is one again.
    pub(super) fn note_rest(&mut self, core: &Core, cx: &mut Shared) {
        let resting = self.children.is_empty();
        if self.is_closing() || std::mem::replace(&mut self.demand.resting, resting) == resting {
            return;
        }
        if resting {
            self.demand.not_before = Some(cx.now + COURTESY);
            core.note(cx, "there is no Child SA any more; the IKE SA stays");
        }
        core.event(cx, Event::Resting(resting));
    }

    /// What the peer wants of key exchanges.
    pub(super) fn learn_pfs(&mut self, pfs: Pfs) {
        self.demand.model.pfs = pfs;
    }

    /// The peer refuses.
    pub(super) fn put_off_demand(&mut self, cx: &Shared) {
        self.demand.not_before = Some(cx.now + REFUSED);
    }

    /// The peer wants another group.
    pub(super) fn demand_other_group(&mut self, core: &Core, error: &Notify) {
        let wanted = error.data.as_slice().try_into().ok().map(u16::from_be_bytes);
        let allowed = core.ciphers().pfs_groups.iter().copied().find(|group: &Group| Some(group.id()) == wanted);
        if let (Some(group), Pfs::Undecided) = (allowed, self.demand.model.pfs) {
            self.learn_pfs(Pfs::With(group));
            self.todo.push_front(Todo::NewChild);
        }
    }

    /// Our Child SA is there; `redundant`: so is one that the peer made meanwhile, and ours is deleted.
    pub(super) fn demand_met(&mut self, core: &Core, cx: &mut Shared, spi_in: u32, redundant: bool) {
        self.demand.not_before = None;
        if redundant {
            return core.note(cx, "both sides made a new Child SA at once; the client's stays");
        }
        self.demand.made = Some((spi_in, cx.now + CROSSING));
        if let Some(pfs) = self.children.get(&spi_in).map(|child| child.pfs) {
            self.learn_pfs(pfs);
        }
        core.note(cx, "the client has a new Child SA");
    }

    /// The peer may have asked for a Child SA of its own before it got ours.
    pub(super) fn is_crossed(&self, now: Instant, spi_in: u32) -> bool {
        self.demand.made.is_some_and(|(made, until)| made == spi_in && now <= until)
    }

    /// Both sides made one: that of the gateway goes.
    pub(super) fn yields(&self, core: &Core) -> bool {
        !core.is_initiator() && self.live_child().is_some()
    }

    /// The peer made `spi_in`; one that a gateway made at the same time goes.
    pub(super) fn yield_to(&mut self, core: &Core, spi_in: u32) {
        self.demand.not_before = None;
        let Some((ours, _)) = self.demand.made.take().filter(|_| !core.is_initiator()) else { return };
        if let Some(child) = self.children.get_mut(&ours).filter(|child| ours != spi_in && child.phase == ChildPhase::Live) {
            child.phase = ChildPhase::Redundant;
            self.todo.push_front(Todo::DeleteChildren(vec![ours]));
        }
    }
}
