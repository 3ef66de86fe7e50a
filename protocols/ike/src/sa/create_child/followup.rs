//! One additional key exchange after a CREATE_CHILD_SA of the peer, in IKE_FOLLOWUP_KE (RFC 9370 section 2.2.4): until then nothing is made.
use super::{ChildPlan, Exchanged, Half, IkePlan, PeerExchange, Plan, make_child, make_ike};
use crate::api::Question;
use crate::endpoint::Shared;
use crate::sa::Core;
use crate::sa::collision::lowest;
use crate::sa::established::Established;
use crate::wire::{Notify, Payload, Payloads, Spi, notify};
use crypto::dh::Group;
use std::time::{Duration, Instant};

/// How long the peer may take for its part.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has been agreed so far.
#[derive(Debug)]
pub(in crate::sa) struct Followup {
    /// What the peer has to send back, to tell one from another.
    link: [u8; 8],
    group: Group,
    part: Part,
    half: Half,
    pub(in crate::sa) until: Instant,
}

#[derive(Debug)]
pub(super) enum Part {
    Child { plan: ChildPlan, spi_in: u32 },
    Ike { plan: IkePlan, spi_r: Spi },
}

impl Followup {
    /// The lowest nonce of the CREATE_CHILD_SA exchange.
    pub(in crate::sa) fn lowest(&self) -> &[u8] {
        let nonce_i = match &self.part {
            Part::Child { plan, .. } => &plan.nonce_i,
            Part::Ike { plan, .. } => &plan.nonce_i,
        };
        lowest(nonce_i, &self.half.nonce_r)
    }

    /// It comes to nothing.
    pub(super) fn release(self, core: &mut Core, cx: &mut Shared) {
        match self.part {
            Part::Child { spi_in, .. } => cx.release_esp_spi(spi_in),
            Part::Ike { spi_r, .. } => core.release_spi(cx, spi_r),
        }
    }
}

/// Answers CREATE_CHILD_SA and waits for the rest.
pub(super) fn expect(
    state: &mut Established,
    core: &Core,
    cx: &mut Shared,
    group: Group,
    part: Part,
    half: Half,
    mut payloads: Vec<Payload>,
) {
    let mut link = [0; 8];
    cx.random.fill(&mut link);
    payloads.push(Payload::Notify(Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, link)));
    core.respond(cx, &mut state.sa, &payloads);
    state.followup = Some(Box::new(Followup { link, group, part, half, until: cx.now + PATIENCE }));
}

/// Whatever was begun is given up: the peer begins anew, or takes too long.
pub(in crate::sa) fn drop(state: &mut Established, core: &mut Core, cx: &mut Shared) {
    if let Some(followup) = state.followup.take() {
        followup.release(core, cx);
    }
    let computed = state.peer_exchange.take_if(|exchange| matches!(exchange.plan, Plan::Followup(_)));
    if let Some(PeerExchange { plan: Plan::Followup(followup), .. }) = computed {
        followup.release(core, cx);
    }
}

/// The peer's IKE_FOLLOWUP_KE request.
pub(in crate::sa) fn request(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: &Payloads) {
    let link = payloads.notify(notify::ADDITIONAL_KEY_EXCHANGE).map(|notify| notify.data.as_slice());
    let Some(followup) = state.followup.take_if(|followup| Some(&followup.link[..]) == link) else {
        return core.respond(cx, &mut state.sa, &[Payload::Notify(Notify::new(notify::STATE_NOT_FOUND, []))]);
    };
    let group = followup.group;
    let Some(key_exchange) = payloads.key_exchange().filter(|it| it.group == group.id()) else {
        core.note(cx, format!("rekey refused: IKE_FOLLOWUP_KE without a KE payload of the agreed {group:?}"));
        followup.release(core, cx);
        return core.respond(cx, &mut state.sa, &[Payload::Notify(Notify::new(notify::INVALID_SYNTAX, []))]);
    };
    let ask = core.ask(cx, Question::KeyExchange { group, peer_public: key_exchange.public.clone(), stranger: false });
    state.peer_exchange = Some(PeerExchange { ask, plan: Plan::Followup(followup) });
}

/// All secrets are there.
pub(super) fn finish(state: &mut Established, core: &mut Core, cx: &mut Shared, followup: Followup, exchanged: Exchanged) {
    core.respond(cx, &mut state.sa, &[exchanged.payload(followup.group)]);
    let half = Half { additional: exchanged.secret, ..followup.half };
    match followup.part {
        Part::Child { plan, spi_in } => make_child(state, core, cx, plan, spi_in, &half),
        Part::Ike { plan, spi_r } => make_ike(state, core, cx, &plan, spi_r, &half),
    }
}
