//! Both sides rekey the same SA at once (RFC 7296 sections 2.8.1, 2.8.2, 2.25): each answers as usual, both get two new SAs, and the one that
//! the lowest of the four nonces made is deleted by the side that asked for it.
use super::child::ChildPhase;
use super::established::{Established, OLD_SA, Todo};
use super::{Core, IkeSa};
use crate::api::{Event, Output};
use crate::endpoint::Shared;
use crate::wire::Spi;

/// What the peer's half of a collision made, until the answer to ours is here.
#[derive(Debug)]
pub(super) enum Rival {
    Sa {
        sa: Box<IkeSa>,
        lowest: Vec<u8>,
    },
    /// By inbound SPIs.
    Child {
        replaced: u32,
        made: u32,
        lowest: Vec<u8>,
    },
}

impl Rival {
    /// The lowest nonce of the exchange that made it.
    pub(super) fn lowest(&self) -> &[u8] {
        match self {
            Self::Sa { lowest, .. } | Self::Child { lowest, .. } => lowest,
        }
    }
}

/// Octet by octet, as section 2.8.1 says.
pub(super) fn lowest<'a>(one: &'a [u8], other: &'a [u8]) -> &'a [u8] {
    one.min(other)
}

impl Established {
    /// The IKE SA that the peer made while our own rekey was on its way.
    pub(super) fn rival_sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        match &mut self.rival {
            Some(Rival::Sa { sa, .. }) if sa.own_spi() == own => Some(sa),
            _ => None,
        }
    }

    pub(super) fn has_rival_sa(&self) -> bool {
        matches!(self.rival, Some(Rival::Sa { .. }))
    }

    /// Our half of a collision comes to nothing: the peer's IKE SA is the new one. False when there is none.
    pub(super) fn adopt_rival_sa(&mut self, core: &mut Core, cx: &mut Shared) -> bool {
        let Some(Rival::Sa { sa, .. }) = self.rival.take_if(|rival| matches!(rival, Rival::Sa { .. })) else { return false };
        self.replace_sa(core, cx, *sa);
        core.event(cx, Event::Rekeyed { ike: true });
        true
    }

    /// The peer deletes its half itself: ours will be the new one.
    pub(super) fn drop_rival_sa(&mut self, core: &mut Core, cx: &mut Shared) {
        if let Some(Rival::Sa { sa, .. }) = self.rival.take_if(|rival| matches!(rival, Rival::Sa { .. })) {
            self.keep_old(core, cx, *sa, super::closing::DRAIN);
        }
    }

    /// Our half of a rekey of the IKE SA is complete. The peer's one, where there is one, waits for the peer's DELETE if ours survives; else ours
    /// is the one to be deleted. Returned is our SPI of the one that we have to delete.
    pub(super) fn settle_sas(&mut self, core: &mut Core, cx: &mut Shared, own: IkeSa, nonce: &[u8]) -> Spi {
        match self.rival.take_if(|rival| matches!(rival, Rival::Sa { .. })) {
            Some(Rival::Sa { sa, lowest: theirs }) => {
                let redundant = nonce < theirs.as_slice();
                core.note(cx, format!("both sides rekeyed the IKE SA at once; {} stays", if redundant { "the peer's" } else { "ours" }));
                let (survivor, other) = if redundant { (*sa, own) } else { (own, *sa) };
                let (ours, replaced) = (other.own_spi(), self.sa.own_spi());
                self.replace_sa(core, cx, survivor);
                self.keep_old(core, cx, other, OLD_SA);
                if redundant { ours } else { replaced }
            }
            _ => {
                let replaced = self.sa.own_spi();
                self.replace_sa(core, cx, own);
                replaced
            }
        }
    }

    /// The peer deletes what it made in a collision: ours will be the one that stays.
    pub(super) fn drop_rival_child(&mut self, spi_in: u32) {
        self.rival.take_if(|rival| matches!(rival, Rival::Child { made, .. } if *made == spi_in));
    }

    /// The Child SA that the peer made in the place of `replaced` while we did the same, with its lowest nonce. By now it may have been replaced
    /// itself.
    pub(super) fn take_rival_child(&mut self, replaced: u32) -> Option<(u32, Vec<u8>)> {
        let of = |rival: &mut Rival| matches!(rival, Rival::Child { replaced: old, .. } if *old == replaced);
        match self.rival.take_if(of) {
            Some(Rival::Child { made, lowest, .. }) => Some((made, lowest)),
            _ => None,
        }
    }

    /// Our new Child SA survives: the peer will delete its own.
    pub(super) fn make_redundant(&mut self, cx: &Shared, spi_in: u32) {
        if let Some(child) = self.children.get_mut(&spi_in) {
            child.phase = ChildPhase::Redundant;
            self.later.push((cx.now + OLD_SA, Todo::DeleteChildren(vec![spi_in])));
        }
    }

    /// Packets leave through this one from now on.
    pub(super) fn use_outbound(core: &Core, cx: &mut Shared, spi_in: u32) {
        cx.out.push_back(Output::UseOutbound { session: core.id, spi_in });
    }
}
