//! The initiator's half of IKE_SA_INIT.
use super::init::read_traits;
use super::initiate_auth::AwaitProof;
use super::intermediate::AwaitAdditionalPair;
use super::window::{Expiry, Retransmit};
use super::{Core, IkeSa, MAX_MESSAGE, Role, Signal, State, Step, notify_text};
use crate::api::{Answer, AskId, CloseReason, Event, Fault, InitiatorConfig, Path, Question, Stage, TimeoutReason};
use crate::auth::signature_hashes_notify;
use crate::endpoint::Shared;
use crate::keys::{IkeKeys, Seed};
use crate::nat::{detect, detection_notifies};
use crate::proposal::{ChosenIke, SaPayload, accept_ike, offer_ike};
use crate::redirect::redirect_notify;
use crate::wire::{Exchange, Flags, Header, KeyExchange, Message, Notify, Payload, Payloads, Spi, encode, notify};
use crypto::dh::{Group, PrivateKey};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

const IKE_PORT: u16 = 500;
const NAT_PORT: u16 = 4500;

/// A gateway that demands more than this is not in earnest.
const MAX_ROUNDS: u32 = 5;

/// What stays the same however often the gateway sends us back.
#[derive(Debug)]
pub(super) struct Opening {
    pub config: Arc<InitiatorConfig>,
    pub spi_i: Spi,
    pub nonce_i: Vec<u8>,
    pub offer: SaPayload,
    cookie: Option<Notify>,
    rounds: u32,
}

pub(super) fn begin(core: &mut Core, cx: &mut Shared) -> State {
    let Role::Initiator(config) = &core.role else { return State::Gone };
    let config = Arc::clone(config);
    let Some(group) = config.ciphers.groups.first().copied() else {
        return give_up(core, cx, Fault::Internal, "no key exchange group is configured");
    };
    let (spi_i, nonce_i) = (core.take_spi(cx), cx.nonce());
    let offer = offer_ike(&config.ciphers, None);
    let opening = Opening { config, spi_i, nonce_i, offer, cookie: None, rounds: 0 };
    generate(core, cx, opening, group)
}

pub(super) fn give_up(core: &mut Core, cx: &mut Shared, fault: Fault, cause: impl Into<String>) -> State {
    let failure = core.failure(fault, None, cause);
    core.end(cx, CloseReason::Failed, Some(failure));
    State::Gone
}

fn generate(core: &mut Core, cx: &mut Shared, opening: Opening, group: Group) -> State {
    let ask = core.ask(cx, Question::GenerateKeyPair { group });
    AwaitKeyPair { opening, ask }.into()
}

#[derive(Debug)]
pub(crate) struct AwaitKeyPair {
    opening: Opening,
    ask: AskId,
}

impl Step for AwaitKeyPair {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Answer(id, Answer::KeyPair { private, public }) if id == self.ask => {
                ExpectInit::send(core, cx, self.opening, private, public)
            }
            _ => self.into(),
        }
    }
}

/// IKE_SA_INIT is on its way.
#[derive(Debug)]
pub(crate) struct ExpectInit {
    opening: Opening,
    private: PrivateKey,
    public: Vec<u8>,
    retransmit: Retransmit,
}

impl ExpectInit {
    fn send(core: &mut Core, cx: &mut Shared, opening: Opening, private: PrivateKey, public: Vec<u8>) -> State {
        let message = first_message(core, &opening, private.group(), &public);
        cx.transmit(core.path, message.clone());
        let retransmit = Retransmit::new(vec![message], cx.now, &core.timers());
        Self { opening, private, public, retransmit }.into()
    }

    fn plain(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, message: &Message, bytes: Vec<u8>, path: Path) -> State {
        let payloads = &message.payloads;
        if let Some(cookie) = payloads.notify(notify::COOKIE) {
            self.opening.rounds += 1;
            if self.opening.rounds > MAX_ROUNDS {
                return give_up(core, cx, Fault::PeerMisbehaved, "the gateway asks for cookies again and again");
            }
            self.opening.cookie = Some(cookie.clone());
            return Self::send(core, cx, self.opening, self.private, self.public);
        }
        if let Some((to, nonce)) = core.redirected(payloads) {
            // Anyone can say so who has not seen our request (RFC 5685 section 3).
            if nonce != self.opening.nonce_i {
                return self.into();
            }
            return match core.follow_redirect(cx, &to) {
                Ok(()) => {
                    core.end(cx, CloseReason::Replaced, None);
                    State::Gone
                }
                Err(cause) => give_up(core, cx, Fault::Refused, cause),
            };
        }
        if let Some(wanted) = payloads.notify(notify::INVALID_KE_PAYLOAD) {
            return self.other_group(core, cx, wanted);
        }
        if let Some(error) = payloads.error() {
            let cause = format!("the gateway refuses IKE_SA_INIT with {}", notify_text(error));
            return give_up(core, cx, Fault::PeerIncompatible, cause);
        }
        match read_answer(&self.opening, self.private.group(), &message.header, payloads) {
            Ok(answer) => self.agree(core, cx, answer, payloads, bytes, path),
            Err(cause) => give_up(core, cx, Fault::PeerMisbehaved, cause),
        }
    }

    fn other_group(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, wanted: &Notify) -> State {
        let id = wanted.data.as_slice().try_into().ok().map(u16::from_be_bytes);
        let group = id.and_then(Group::from_id).filter(|group| self.opening.config.ciphers.groups.contains(group));
        self.opening.rounds += 1;
        match group {
            Some(group) if group != self.private.group() && self.opening.rounds <= MAX_ROUNDS => generate(core, cx, self.opening, group),
            _ => give_up(core, cx, Fault::PeerIncompatible, format!("the gateway wants key exchange group {id:?}, which we did not offer")),
        }
    }

    fn agree(self, core: &mut Core, cx: &mut Shared, answer: InitAnswer, payloads: &Payloads, bytes: Vec<u8>, path: Path) -> State {
        core.traits = read_traits(payloads);
        if !core.traits.ppk && self.opening.config.ppk.as_ref().is_some_and(|ppk| ppk.required) {
            return give_up(core, cx, Fault::PeerIncompatible, "the gateway knows no PPK (RFC 8784), and we demand one");
        }
        let nat = detect(payloads, self.opening.spi_i, answer.spi_r, path);
        core.nat = nat.unwrap_or_default();
        core.event(cx, Event::Nat { ours: core.nat.ours, theirs: core.nat.theirs });
        core.event(cx, Event::IkeProposals { offered: self.opening.offer.texts(), accepted: Some(answer.chosen.to_string()) });
        if core.nat.ours || core.nat.theirs || self.opening.config.force_encapsulation {
            float(core, cx);
        }
        core.nat.ours |= self.opening.config.force_encapsulation;
        core.heard = cx.now;
        let init_request = self.retransmit.datagrams.into_iter().next().unwrap_or_default();
        let ask = core.ask(cx, Question::Agree { private: self.private, peer_public: answer.public.clone() });
        AwaitAgreement { opening: self.opening, answer, init_request, init_response: bytes, ask }.into()
    }
}

impl Step for ExpectInit {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Plain(plain) => {
                let (message, bytes, path) = *plain;
                self.plain(core, cx, &message, bytes, path)
            }
            Signal::Timeout => match self.retransmit.expire(cx.now) {
                Expiry::NotYet => self.into(),
                Expiry::SendAgain => {
                    cx.repeat_all(core.path, &self.retransmit.datagrams);
                    self.into()
                }
                Expiry::GiveUp => give_up(core, cx, Fault::Silence, "the gateway does not answer IKE_SA_INIT"),
            },
            _ => self.into(),
        }
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        Some((self.retransmit.due(), TimeoutReason::Retransmit))
    }
}

fn first_message(core: &Core, opening: &Opening, group: Group, public: &[u8]) -> Vec<u8> {
    let flags = Flags { initiator: true, response: false, version: false };
    let header = Header::new(opening.spi_i, Spi(0), Exchange::IkeSaInit, flags, 0);
    let mut payloads: Vec<Payload> = opening.cookie.iter().cloned().map(Payload::Notify).collect();
    payloads.extend([
        Payload::Sa(opening.offer.clone()),
        Payload::KeyExchange(KeyExchange { group: group.id(), public: public.to_vec() }),
        Payload::Nonce(opening.nonce_i.clone()),
    ]);
    if opening.config.follow_redirects {
        let from = core.trail.from.as_ref().and_then(|from| redirect_notify(notify::REDIRECTED_FROM, from, &[]));
        payloads.push(Payload::Notify(from.unwrap_or_else(|| Notify::new(notify::REDIRECT_SUPPORTED, []))));
    }
    let force = opening.config.force_encapsulation;
    payloads.extend(detection_notifies(opening.spi_i, Spi(0), core.path, force).map(Payload::Notify));
    payloads.push(Payload::Notify(Notify::new(notify::IKEV2_FRAGMENTATION_SUPPORTED, [])));
    payloads.push(Payload::Notify(signature_hashes_notify()));
    if opening.config.ppk.is_some() {
        payloads.push(Payload::Notify(Notify::new(notify::USE_PPK, [])));
    }
    if !opening.config.ciphers.additional.is_empty() {
        payloads.push(Payload::Notify(Notify::new(notify::INTERMEDIATE_EXCHANGE_SUPPORTED, [])));
    }
    encode(&header, &payloads)
}

#[derive(Debug)]
struct InitAnswer {
    chosen: ChosenIke,
    spi_r: Spi,
    public: Vec<u8>,
    nonce_r: Vec<u8>,
}

fn read_answer(opening: &Opening, group: Group, header: &Header, payloads: &Payloads) -> Result<InitAnswer, String> {
    let missing = |what: &str| format!("IKE_SA_INIT response without {what}");
    let sa = payloads.sa().ok_or_else(|| missing("SA"))?;
    let key_exchange = payloads.key_exchange().ok_or_else(|| missing("KE"))?;
    let nonce_r = payloads.nonce().ok_or_else(|| missing("nonce"))?.to_vec();
    let chosen = accept_ike(&opening.offer, sa).map_err(|mismatch| mismatch.to_string())?;
    if chosen.suite.group != group || key_exchange.group != group.id() {
        return Err(format!("the gateway answers with group {} to a KE payload of {group:?}", key_exchange.group));
    }
    if header.responder_spi == Spi(0) {
        return Err("IKE_SA_INIT response without SPI".into());
    }
    Ok(InitAnswer { chosen, spi_r: header.responder_spi, public: key_exchange.public.clone(), nonce_r })
}

/// Moves to the NAT traversal port (RFC 7296 section 2.23). Other ports than 500 are somebody's deliberate choice and stay.
fn float(core: &mut Core, cx: &mut Shared) {
    let port = |address: SocketAddr| SocketAddr::new(address.ip(), if address.port() == IKE_PORT { NAT_PORT } else { address.port() });
    let path = Path { local: port(core.path.local), remote: port(core.path.remote), ..core.path };
    if path != core.path && path.connection.is_none() {
        core.path = path;
        core.reply_path = path;
        core.event(cx, Event::Moved(path));
    }
}

/// The shared secret is being computed.
#[derive(Debug)]
pub(crate) struct AwaitAgreement {
    opening: Opening,
    answer: InitAnswer,
    init_request: Vec<u8>,
    init_response: Vec<u8>,
    ask: AskId,
}

impl Step for AwaitAgreement {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Agreed(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let Self { opening, answer, init_request, init_response, .. } = *self;
        let shared_secret = match result {
            Ok(secret) => secret,
            Err(error) => return give_up(core, cx, Fault::PeerMisbehaved, error.to_string()),
        };
        let (spi_i, spi_r) = (opening.spi_i, answer.spi_r);
        let seed = Seed { shared_secret: &shared_secret, nonce_i: &opening.nonce_i, nonce_r: &answer.nonce_r, spi_i, spi_r };
        let keys = IkeKeys::derive(answer.chosen.suite, seed);
        let mut sa = IkeSa::new(keys, spi_i, spi_r, true, core.traits.fragmentation.then_some(MAX_MESSAGE), 1);
        sa.additional = answer.chosen.additional;
        core.reach(cx, Stage::IkeAuth);
        let Opening { config, nonce_i, .. } = opening;
        let proof = super::initiate_auth::Proof { config, sa, init_request, init_response, nonce_i, nonce_r: answer.nonce_r, plain: None };
        match answer.chosen.additional {
            Some(group) => AwaitAdditionalPair::begin(core, cx, proof, group),
            None => AwaitProof::begin(core, cx, proof),
        }
    }
}
