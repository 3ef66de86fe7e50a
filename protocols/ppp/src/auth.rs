//! Authentication: one machine per protocol, each with its question open at most once and its last answer kept for repetitions.
use crate::api::{Answer, AuthProtocol, EndedBy, Network, Question, Timers};
use crate::negotiation::Fault;
use crate::seed::Challenges;
use std::time::Instant;

mod chap;
mod eap;
mod mschap;
mod pap;

/// RADIUS carries no longer User-Name (RFC 2865 section 5.1).
const MAX_NAME: usize = 253;

/// What a machine wants done, in this order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A whole frame.
    Send(Vec<u8>),
    /// The client said this name.
    Identified(Vec<u8>),
    Ask(Question),
    /// The client's user is asked something: the time for negotiation begins anew.
    Patience,
    Accepted(Box<Network>),
    Failed(Fault),
}

#[derive(Debug)]
pub(crate) enum Authenticator {
    Eap(eap::Eap),
    Chap(chap::Chap),
    Pap(pap::Pap),
}

impl Authenticator {
    pub(crate) fn new(protocol: AuthProtocol, name: &str, challenges: Challenges, timers: &Timers) -> Self {
        let restart = timers.restart;
        match protocol {
            AuthProtocol::Eap => Self::Eap(eap::Eap::new(restart)),
            AuthProtocol::MsChapV2 => Self::Chap(chap::Chap::new(chap::Kind::MsChapV2, name, challenges, restart)),
            AuthProtocol::Chap => Self::Chap(chap::Chap::new(chap::Kind::Md5, name, challenges, restart)),
            AuthProtocol::Pap => Self::Pap(pap::Pap::default()),
        }
    }

    /// The PPP protocol number whose frames are for [`Authenticator::receive`].
    pub(crate) fn protocol(&self) -> u16 {
        match self {
            Self::Eap(_) => crate::packet::protocol::EAP,
            Self::Chap(_) => crate::packet::protocol::CHAP,
            Self::Pap(_) => crate::packet::protocol::PAP,
        }
    }

    pub(crate) fn start(&mut self, now: Instant) -> Vec<Effect> {
        match self {
            Self::Eap(eap) => eap.start(now),
            Self::Chap(chap) => chap.start(now),
            Self::Pap(_) => Vec::new(),
        }
    }

    pub(crate) fn receive(&mut self, information: &[u8]) -> Vec<Effect> {
        match self {
            Self::Eap(eap) => eap.receive(information),
            Self::Chap(chap) => chap.receive(information),
            Self::Pap(pap) => pap.receive(information),
        }
    }

    /// The answer to the open question.
    pub(crate) fn answer(&mut self, now: Instant, answer: Answer) -> Vec<Effect> {
        match self {
            Self::Eap(eap) => eap.answer(now, answer),
            Self::Chap(chap) => chap.answer(answer),
            Self::Pap(pap) => pap.answer(answer),
        }
    }

    /// Repeats what the client did not answer.
    pub(crate) fn timeout(&mut self, now: Instant) -> Vec<Effect> {
        match self {
            Self::Eap(eap) => eap.timeout(now),
            Self::Chap(chap) => chap.timeout(now),
            Self::Pap(_) => Vec::new(),
        }
    }

    pub(crate) fn timer(&self) -> Option<Instant> {
        match self {
            Self::Eap(eap) => eap.timer(),
            Self::Chap(chap) => chap.timer(),
            Self::Pap(_) => None,
        }
    }
}

fn too_long(what: &str, len: usize) -> Effect {
    Effect::Failed(Fault::new(EndedBy::Violation, format!("the client's {what} has {len} octets, more than {MAX_NAME}")))
}

/// The caller answered with what does not belong to the question: nobody comes in by that.
fn misfit(protocol: &str) -> Effect {
    Effect::Failed(Fault::new(EndedBy::Refused, format!("the answer to a {protocol} question was none of that protocol")))
}
