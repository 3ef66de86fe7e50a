//! Child SAs: what the control half keeps of them, and their way into the data plane.
use super::Core;
use super::mobility::Held;
use crate::api::{ChildKeys, ChildSa, EspSuite, Output, TrafficSelector};
use crate::endpoint::Shared;
use crate::keys::ChildKeyPair;
use crate::proposal::Agreed;
use crate::selector;
use crypto::dh::Group;
use std::net::IpAddr;
use std::time::Instant;

/// One Child SA.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: EspSuite,
    /// Of the key exchange that made it, for the next rekey.
    pub pfs: Pfs,
    /// Of the additional key exchange that made it; it goes with one of `pfs`.
    pub additional: Option<Group>,
    /// As first negotiated; a rekey keeps them.
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
    pub phase: ChildPhase,
    /// When we rekey it, unless the peer does before.
    pub rekey_at: Option<Instant>,
}

impl Child {
    pub(super) fn agreed(&self) -> Agreed {
        let group = if let Pfs::With(group) = self.pfs { Some(group) } else { None };
        Agreed::esp(self.suite, group, self.additional)
    }
}

/// What is known of the peer's wish for a key exchange in rekeys of a Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pfs {
    /// IKE_AUTH made it, where nobody says.
    Undecided,
    Without,
    With(Group),
}

impl From<Option<Group>> for Pfs {
    fn from(group: Option<Group>) -> Self {
        group.map_or(Self::Without, Self::With)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChildPhase {
    Live,
    /// The peer rekeyed it; the new one (inbound SPI) sends as soon as the peer deletes this one.
    Replaced(u32),
    /// The peer made it at the same time as we the one that stays; it has to delete it.
    Redundant,
    /// Our DELETE is on its way.
    Deleting,
    /// Both sides deleted it; packets still on their way are taken until then.
    Ending(Instant),
}

/// What traffic a session may carry, whichever of its Child SAs does.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The peer's lease; for an initiator its own.
    pub inner: Vec<IpAddr>,
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
    /// Negotiated besides `local`, and not forwarded: what is answered on the peer's link.
    pub link: Vec<TrafficSelector>,
}

impl Scope {
    /// Both sides of an offer cut down to what is allowed; `None` when nothing is left of one.
    pub(super) fn narrow(&self, local: &[TrafficSelector], remote: &[TrafficSelector]) -> Option<Narrowed> {
        let allowed: Vec<_> = self.local.iter().chain(&self.link).copied().collect();
        let narrowed = (selector::narrow(local, &allowed), selector::narrow(remote, &self.remote));
        (!self.forwarded(&narrowed.0).is_empty() && !narrowed.1.is_empty()).then_some(narrowed)
    }

    /// Those of our side's negotiated selectors that lead beyond the link.
    fn forwarded(&self, negotiated: &[TrafficSelector]) -> Vec<TrafficSelector> {
        selector::narrow(negotiated, &self.local)
    }
}

/// Local and remote selectors.
pub(super) type Narrowed = (Vec<TrafficSelector>, Vec<TrafficSelector>);

/// Which of the two keys is for which direction. `exchange_initiator`: we initiated the exchange that made them.
pub(super) fn directions(keys: ChildKeyPair, exchange_initiator: bool) -> Directions {
    let ChildKeyPair { initiator, responder } = keys;
    if exchange_initiator {
        Directions { key_in: responder, key_out: initiator }
    } else {
        Directions { key_in: initiator, key_out: responder }
    }
}

pub(super) struct Directions {
    key_in: ChildKeys,
    key_out: ChildKeys,
}

/// Hands a Child SA to the data plane.
pub(super) fn install(
    core: &Core,
    cx: &mut Shared,
    child: &Child,
    keys: Directions,
    scope: &Scope,
    rekeys: Option<u32>,
    outbound_ready: bool,
) {
    let Held { path, encapsulate, .. } = core.esp_path();
    cx.out.push_back(Output::InstallChild(Box::new(ChildSa {
        session: core.id,
        spi_in: child.spi_in,
        spi_out: child.spi_out,
        suite: child.suite,
        key_in: keys.key_in,
        key_out: keys.key_out,
        path,
        encapsulate,
        local: scope.forwarded(&child.local),
        remote: child.remote.clone(),
        inner: scope.inner.clone(),
        rekeys,
        outbound_ready,
    })));
}

pub(super) fn remove(core: &Core, cx: &mut Shared, spi_in: u32) {
    cx.release_esp_spi(spi_in);
    cx.out.push_back(Output::RemoveChild { session: core.id, spi_in });
}
