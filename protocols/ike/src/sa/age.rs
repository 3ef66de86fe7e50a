//! When SAs are too old: the rekeys that we begin by the clock, and the end of an authentication (RFC 7296 section 2.8, RFC 4478).
use super::Core;
use super::child::ChildPhase;
use super::established::{Established, Todo};
use crate::api::TimeoutReason;
use crate::endpoint::Shared;
use std::time::{Duration, Instant};

/// Of its age, how much sooner at random an IKE SA is rekeyed (1/12), or a Child SA (1/10): the sides shall not do it together.
const IKE_JITTER: u32 = 12;
const CHILD_JITTER: u32 = 10;

/// Windows rekeys its Child SAs after 57 min; nobody deletes one that is about to be rekeyed.
const WINDOWS_CHILD: Duration = Duration::from_secs(66 * 60);

/// A rekey that was refused is tried again after this part of the age.
const REFUSED: u32 = 10;

/// `age` from now, less up to a `part` of it; never for zero.
fn due(cx: &mut Shared, age: Duration, part: u32) -> Option<Instant> {
    if age.is_zero() {
        return None;
    }
    let most = u32::try_from((age / part).as_millis()).unwrap_or(u32::MAX);
    Some(cx.now + age - Duration::from_millis(cx.random_below(most).into()))
}

/// When a Child SA that begins now is rekeyed.
fn child_due(core: &Core, cx: &mut Shared) -> Option<Instant> {
    let age = core.timers().child_rekey;
    if core.traits.windows && !age.is_zero() {
        return Some(cx.now + (age + age / CHILD_JITTER).max(WINDOWS_CHILD));
    }
    due(cx, age, CHILD_JITTER)
}

impl Established {
    /// The IKE SA is new.
    pub(super) fn start_ike_age(&mut self, core: &Core, cx: &mut Shared) {
        self.rekey_at = due(cx, core.timers().ike_rekey, IKE_JITTER);
    }

    /// This Child SA is new.
    pub(super) fn start_child_age(&mut self, core: &Core, cx: &mut Shared, spi_in: u32) {
        if let Some(child) = self.children.get_mut(&spi_in) {
            child.rekey_at = child_due(core, cx);
        }
    }

    /// The peer refused our rekey: not soon again.
    pub(super) fn put_off_ike(&mut self, core: &Core, cx: &Shared) {
        let age = core.timers().ike_rekey;
        self.rekey_at = (!age.is_zero()).then(|| cx.now + age / REFUSED);
    }

    pub(super) fn put_off_child(&mut self, core: &Core, cx: &Shared, spi_in: u32) {
        let age = core.timers().child_rekey;
        if let Some(child) = self.children.get_mut(&spi_in).filter(|_| !age.is_zero()) {
            child.rekey_at = Some(cx.now + age / REFUSED);
        }
    }

    /// Plans the rekeys that are due.
    pub(super) fn plan_by_age(&mut self, cx: &Shared) {
        if self.rekey_at.take_if(|at| *at <= cx.now).is_some() {
            self.plan(Todo::RekeyIke);
        }
        let mut worn = Vec::new();
        for (spi_in, child) in &mut self.children {
            if child.rekey_at.take_if(|at| *at <= cx.now).is_some() && child.phase == ChildPhase::Live {
                worn.push(*spi_in);
            }
        }
        worn.into_iter().for_each(|spi_in| self.plan(Todo::RekeyChild(spi_in)));
    }

    /// The next of these moments.
    pub(super) fn ages(&self) -> impl Iterator<Item = (Instant, TimeoutReason)> {
        let children = self.children.values().filter_map(|child| child.rekey_at);
        let rekeys = self.rekey_at.into_iter().chain(children).map(|at| (at, TimeoutReason::Rekey));
        rekeys.chain(self.expires_at.map(|at| (at, TimeoutReason::Lifetime)))
    }
}
