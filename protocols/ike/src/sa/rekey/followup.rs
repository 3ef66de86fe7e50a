//! The additional key exchange of a rekey of ours, in IKE_FOLLOWUP_KE (RFC 9370 section 2.2.4): a peer that has agreed to it makes nothing before.
use super::{Accepted, NewSpi, Own, Plan, give_up, refused, release};
use crate::api::{Answer, AskId, Question};
use crate::endpoint::Shared;
use crate::sa::collision::{Rival, lowest};
use crate::sa::established::Established;
use crate::sa::{Core, create_child};
use crate::wire::{Exchange, KeyExchange, Notify, Payload, Payloads, notify};
use crypto::Zeroizing;
use crypto::dh::{Group, PrivateKey};

/// A rekey whose first shared secret is there.
pub(in crate::sa) struct Following {
    accepted: Box<Accepted>,
    more: More,
    secret: Zeroizing<Vec<u8>>,
    step: Step,
}

/// What the peer's answer says of the second exchange.
#[derive(Debug, Clone)]
pub(super) struct More {
    pub group: Group,
    /// What we have to send back, for the peer to tell one rekey from another.
    pub link: Vec<u8>,
}

enum Step {
    /// The first shared secret is there, and waits for a key exchange of the peer's, which may be the other half of a collision.
    Held,
    /// Our key pair is being made.
    Pair(AskId),
    Asked(PrivateKey),
    /// The shared secret is being computed.
    Agreeing(AskId),
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Following({:?})", self.accepted)
    }
}

impl Following {
    pub(super) fn new(accepted: Box<Accepted>, more: More, secret: Zeroizing<Vec<u8>>) -> Self {
        Self { accepted, more, secret, step: Step::Held }
    }

    /// The peer has had both halves.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.step, Step::Agreeing(_))
    }

    pub(super) fn plan(&self) -> Plan {
        self.accepted.plan()
    }

    pub(super) fn spi(&self) -> NewSpi {
        self.accepted.spi()
    }

    pub(super) fn awaits(&self, id: AskId) -> bool {
        matches!(self.step, Step::Pair(ask) | Step::Agreeing(ask) if ask == id)
    }
}

/// Has our key pair made, unless the peer's half of a collision is the one.
pub(super) fn go_on(state: &mut Established, core: &mut Core, cx: &mut Shared, mut following: Box<Following>) {
    if matches!(following.step, Step::Held) {
        if !prevails(state, core, cx, &following.accepted) {
            return end(state, core, cx, &following, "both sides began at once, and the peer's goes on");
        }
        following.step = Step::Pair(core.ask(cx, Question::GenerateKeyPair { group: following.more.group }));
    }
    state.own = Own::Following(following);
}

/// Whether what we asked for goes on, although the peer asked for the same: the exchange with the lowest nonce stops where nothing is made yet (RFC 9370
/// section 2.2.4). The other half is given up.
pub(super) fn prevails(state: &mut Established, core: &mut Core, cx: &mut Shared, accepted: &Accepted) -> bool {
    let half_done = accepted.more.is_some();
    if accepted.plan() == Plan::New {
        // Nothing says which of two new ones stays; a gateway lets its client.
        return !(half_done && state.followup.is_some() && !core.is_initiator());
    }
    let theirs = state.rival.as_ref().map(Rival::lowest).or(state.followup.as_ref().map(|followup| followup.lowest()));
    if half_done && theirs.is_some_and(|theirs| lowest(&accepted.nonce_i, &accepted.nonce_r) < theirs) {
        return false;
    }
    create_child::followup::drop(state, core, cx);
    true
}

/// Key pair made, or secret agreed.
pub(super) fn answer(state: &mut Established, core: &mut Core, cx: &mut Shared, mut following: Box<Following>, answer: Answer) {
    match answer {
        Answer::KeyPair { private, public } => {
            let link = Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, following.more.link.clone());
            let payloads = [Payload::KeyExchange(KeyExchange { group: private.group().id(), public }), Payload::Notify(link)];
            core.request(cx, &mut state.sa, Exchange::IkeFollowupKe, &payloads);
            following.step = Step::Asked(private);
            state.own = Own::Following(following);
        }
        Answer::Agreed(Ok(additional)) => {
            state.own = Own::Agreed { accepted: following.accepted, secret: Some(following.secret), additional };
        }
        Answer::Agreed(Err(error)) => end(state, core, cx, &following, &error.to_string()),
        _ => end(state, core, cx, &following, super::BUSY),
    }
}

/// The peer answered IKE_FOLLOWUP_KE.
pub(super) fn response(state: &mut Established, core: &mut Core, cx: &mut Shared, mut following: Box<Following>, payloads: &Payloads) {
    if let Some(error) = payloads.error() {
        release(core, cx, following.spi());
        return refused(state, core, cx, following.plan(), error);
    }
    let public = payloads.key_exchange().filter(|it| it.group == following.more.group.id()).map(|it| it.public.clone());
    match (following.step, public) {
        (Step::Asked(private), Some(peer_public)) => {
            following.step = Step::Agreeing(core.ask(cx, Question::Agree { private, peer_public }));
            state.own = Own::Following(following);
        }
        (step, _) => {
            following.step = step;
            end(state, core, cx, &following, "the peer's answer to IKE_FOLLOWUP_KE has no fitting KE payload");
        }
    }
}

/// It comes to nothing.
pub(super) fn end(state: &mut Established, core: &mut Core, cx: &mut Shared, following: &Following, cause: &str) {
    release(core, cx, following.spi());
    give_up(state, core, cx, following.plan(), cause);
}
