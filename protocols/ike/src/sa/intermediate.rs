//! One additional key exchange before the login, in IKE_INTERMEDIATE (RFC 9242, RFC 9370 section 2.2.2).
use super::auth::{ExpectAuth, Login};
use super::initiate::give_up;
use super::initiate_auth::{AwaitProof, Proof, lost, retransmit};
use super::{Core, IkeSa, Request, Signal, State, Step};
use crate::api::{Answer, AskId, Fault, Question, TimeoutReason};
use crate::endpoint::Shared;
use crate::wire::{Exchange, KeyExchange, Payload, Payloads, Spi, notify};
use crypto::Zeroizing;
use crypto::dh::{Group, PrivateKey};
use std::time::Instant;

/// Responder: the client's value is to come.
#[derive(Debug)]
pub(crate) struct ExpectIntermediate {
    pub(super) login: Login,
    pub(super) group: Group,
}

fn value(payloads: &Payloads, group: Group) -> Option<Vec<u8>> {
    payloads.key_exchange().filter(|it| it.group == group.id()).map(|it| it.public.clone())
}

impl Step for ExpectIntermediate {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Request(Request { payloads: Ok(payloads), .. }) = signal else { return self.into() };
        core.last_seen = "the IKE_INTERMEDIATE request".into();
        let Self { login, group } = *self;
        let Some(peer_public) = value(&payloads, group) else {
            let cause = format!("IKE_INTERMEDIATE without a KE payload of the agreed {group:?}");
            return core.refuse(cx, login.sa, notify::INVALID_SYNTAX, Fault::PeerMisbehaved, cause);
        };
        let ask = core.ask(cx, Question::KeyExchange { group, peer_public, stranger: false });
        AwaitIntermediate { login, group, ask }.into()
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.login.sa)
    }

    fn exchange(&self) -> Exchange {
        Exchange::IkeIntermediate
    }
}

/// Responder: the additional key exchange is being computed. The request's duplicates are dropped meanwhile.
#[derive(Debug)]
pub(crate) struct AwaitIntermediate {
    login: Login,
    group: Group,
    ask: AskId,
}

impl Step for AwaitIntermediate {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, answer) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let Self { mut login, group, .. } = *self;
        match answer {
            Answer::KeyExchange(Ok((public, secret))) => {
                core.respond(cx, &mut login.sa, &[Payload::KeyExchange(KeyExchange { group: group.id(), public })]);
                login.sa.mix(&secret, &login.nonce_i, &login.nonce_r);
                core.heard = cx.now;
                ExpectAuth { login }.into()
            }
            Answer::KeyExchange(Err(error)) => {
                let cause = format!("KE payload of IKE_INTERMEDIATE: {error}");
                core.refuse(cx, login.sa, notify::INVALID_SYNTAX, Fault::PeerMisbehaved, cause)
            }
            _ => {
                let cause = "the gateway was busy: too many key operations were waiting";
                core.refuse(cx, login.sa, notify::TEMPORARY_FAILURE, Fault::Dependency, cause)
            }
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.login.sa)
    }

    fn expects_peer(&self) -> bool {
        false
    }
}

/// Initiator: the key pair of the additional key exchange is being made.
#[derive(Debug)]
pub(crate) struct AwaitAdditionalPair {
    proof: Proof,
    ask: AskId,
}

impl AwaitAdditionalPair {
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, proof: Proof, group: Group) -> State {
        let ask = core.ask(cx, Question::GenerateKeyPair { group });
        Self { proof, ask }.into()
    }
}

impl Step for AwaitAdditionalPair {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::KeyPair { private, public }) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let mut proof = self.proof;
        let payload = Payload::KeyExchange(KeyExchange { group: private.group().id(), public });
        core.request(cx, &mut proof.sa, Exchange::IkeIntermediate, &[payload]);
        ExpectIntermediateReply { proof, private }.into()
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.proof.sa(own)
    }
}

/// Initiator: IKE_INTERMEDIATE is on its way.
#[derive(Debug)]
pub(crate) struct ExpectIntermediateReply {
    proof: Proof,
    private: PrivateKey,
}

impl Step for ExpectIntermediateReply {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Response(_, Ok(payloads)) => match value(&payloads, self.private.group()) {
                Some(peer_public) => {
                    let ask = core.ask(cx, Question::Agree { private: self.private, peer_public });
                    AwaitAdditional { proof: self.proof, ask }.into()
                }
                None => give_up(core, cx, Fault::PeerIncompatible, "the gateway answers IKE_INTERMEDIATE without a fitting KE payload"),
            },
            Signal::Response(_, Err(error)) => give_up(core, cx, Fault::Malformed, error.to_string()),
            Signal::Timeout => match retransmit(core, cx, &mut self.proof.sa) {
                Ok(()) => self.into(),
                Err(failure) => lost(core, cx, failure),
            },
            _ => self.into(),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.proof.sa(own)
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        self.proof.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit))
    }
}

/// Initiator: the additional shared secret is being computed.
#[derive(Debug)]
pub(crate) struct AwaitAdditional {
    proof: Proof,
    ask: AskId,
}

impl Step for AwaitAdditional {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Agreed(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let mut proof = self.proof;
        let secret: Zeroizing<Vec<u8>> = match result {
            Ok(secret) => secret,
            Err(error) => return give_up(core, cx, Fault::PeerMisbehaved, error.to_string()),
        };
        proof.sa.mix(&secret, &proof.nonce_i, &proof.nonce_r);
        AwaitProof::begin(core, cx, proof)
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.proof.sa(own)
    }
}
