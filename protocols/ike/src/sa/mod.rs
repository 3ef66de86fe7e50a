//! One session: an IKE SA from its first message to its end, as a state machine.
//!
//! ```text
//! responder:  ExpectRetry -> AwaitKeyExchange (-> ExpectIntermediate -> AwaitIntermediate) -> ExpectAuth -> AwaitEapStart -> ExpectEap <-> AwaitEap -> ExpectEapAuth -> Established
//!                                                          \-> AwaitGrant -> AwaitSignature ----------------------------/
//! initiator:  AwaitKeyPair <-> ExpectInit -> AwaitAgreement (-> AwaitAdditionalPair -> ExpectIntermediateReply -> AwaitAdditional) -> AwaitProof -> ExpectAuthReply <-> AwaitEapPeer -> ExpectFinal -> Established
//! both:       Established -> Closing -> Draining -> Gone;  a refused login goes straight to Draining
//! ```
mod age;
mod auth;
mod child;
mod closing;
mod collision;
mod configuration;
mod create_child;
mod credential;
mod demand;
mod eap;
mod established;
mod grant;
mod informational;
mod init;
mod initiate;
mod initiate_auth;
mod intermediate;
mod mobility;
mod path;
mod rekey;
mod repeats;
mod silence;
mod window;

pub(crate) use init::{InitRequest, plain_notify, would_begin};
pub(crate) use window::{IkeSa, MAX_MESSAGE};

use crate::api::{
    Answer, AskId, CipherPolicy, CloseReason, Command, Counters, Event, Failure, Fault, GatewayIdentity, InitiatorConfig, Path, Question,
    Remedy, ResponderConfig, SessionId, Stage, TimeoutReason, Timers,
};
use crate::endpoint::{Dial, InitKey, Owner, Rival, Shared};
use crate::nat::Detected;
use crate::proposal::{Mismatch, windows_fix};
use crate::qcd;
use crate::redirect::{self, Trail};
use crate::seen::{self, Content, Seen};
use crate::wire::{Delete, Exchange, Header, Message, Notify, ParseError, Payload, Payloads, Spi, notify};
use repeats::Repeats;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use window::Inbound;

/// Longest unprotected answer that is looked at, in bytes: room for the longest tokens of RFC 6290, four of them.
const MAX_PLAIN: usize = 1024;

/// Time between two looks whether the peer is there, for strangers' saying so.
const DOUBT: Duration = Duration::from_secs(30);

/// What befalls a session.
#[derive(Debug)]
pub(crate) enum Signal {
    /// Authenticated by the IKE SA with this SPI of ours.
    Request(Request),
    /// The answer to our request on the IKE SA with this SPI of ours.
    Response(Spi, Result<Payloads, ParseError>),
    Answer(AskId, Answer),
    Command(Command),
    Timeout,
    /// IKE_SA_INIT came again with another group.
    Retry(Box<InitRequest>),
    /// The same client may have come back in another session.
    Superseded,
    /// The client shall go to another gateway.
    Redirect(GatewayIdentity),
    /// The Child SA with this inbound SPI has used up most of its sequence numbers.
    Worn(u32),
    /// The data plane has packets for the peer and no Child SA for them.
    Wanted,
    /// The data plane saw the peer elsewhere.
    PeerMoved(Path),
    /// Our own end is elsewhere.
    Rehome(Path),
    /// The peer has proved that it lost the IKE SA with this SPI of ours.
    Forgotten(Spi),
    /// An unprotected answer to our IKE_SA_INIT.
    Plain(Box<(Message, Vec<u8>, Path)>),
}

#[derive(Debug)]
pub(crate) struct Request {
    /// Our SPI of the IKE SA that carried it.
    pub spi: Spi,
    pub exchange: Exchange,
    pub payloads: Result<Payloads, ParseError>,
}

/// Which side of the login we are.
#[derive(Debug)]
pub(crate) enum Role {
    Responder(Arc<ResponderConfig>),
    Initiator(Arc<InitiatorConfig>),
}

/// What the peer's first message told of it.
#[derive(Debug, Default)]
pub(crate) struct Traits {
    pub windows: bool,
    /// Vid-Initial-Contact, which AUTH of the peer covers.
    pub initial_contact: bool,
    /// SIGNATURE_HASH_ALGORITHMS.
    pub hashes: Option<Vec<u16>>,
    pub fragmentation: bool,
    /// The client follows redirects.
    pub redirect: bool,
    /// Both sides speak MOBIKE.
    pub mobike: bool,
    /// REDIRECTED_FROM: another gateway has sent the client here.
    pub redirected_from: Option<Notify>,
    /// USE_PPK: it knows postquantum preshared keys.
    pub ppk: bool,
}

/// What a session has in every state.
#[derive(Debug)]
pub(crate) struct Core {
    pub id: SessionId,
    pub role: Role,
    pub path: Path,
    /// Where the request in progress came from.
    pub reply_path: Path,
    /// Where ESP goes instead of `path`, until the client has shown that it is there.
    held: Option<mobility::Held>,
    pub stage: Stage,
    pub nat: Detected,
    pub traits: Traits,
    pub started: Instant,
    /// Last authenticated message of the peer.
    pub heard: Instant,
    /// What the peer sent last, for the record of one that fell silent.
    pub last_seen: String,
    /// Our answer to IKE_SA_INIT: for its retransmissions and for AUTH.
    pub init_response: Vec<u8>,
    /// Of that answer.
    pub init_repeats: Repeats,
    pub init_keys: Vec<InitKey>,
    /// The authenticated user and IDi.
    pub owner: Option<Arc<Owner>>,
    /// [`Grant::cipher_bits`](crate::Grant::cipher_bits)
    pub cipher_bits: Option<u16>,
    /// An inbound ESP SPI that no Child SA has yet.
    pub esp_wish: Option<u32>,
    /// When we last looked whether somebody's word is true that the peer has lost the IKE SA.
    pub doubted: Option<Instant>,
    /// A client that answers nothing and may still come back.
    pub silent: bool,
    /// Somebody waits for a sign of life.
    pub probed: bool,
    /// The same client may have come back in a newer session: this one ends if nobody answers on it.
    pub superseded: bool,
    /// Initiator: by whom it was sent here.
    pub trail: Trail,
    spis: Vec<Spi>,
    questions: BTreeSet<AskId>,
    ended: bool,
}

impl Core {
    pub(crate) fn new(id: SessionId, role: Role, path: Path, now: Instant) -> Self {
        Self {
            id,
            role,
            path,
            reply_path: path,
            held: None,
            stage: Stage::SaInit,
            nat: Detected::default(),
            traits: Traits::default(),
            started: now,
            heard: now,
            last_seen: "IKE_SA_INIT".into(),
            init_response: Vec::new(),
            init_repeats: Repeats::new(path.remote, now),
            init_keys: Vec::new(),
            owner: None,
            cipher_bits: None,
            esp_wish: None,
            doubted: None,
            silent: false,
            probed: false,
            superseded: false,
            trail: Trail::default(),
            spis: Vec::new(),
            questions: BTreeSet::new(),
            ended: false,
        }
    }

    /// The address that the first message came from.
    pub(crate) fn first_remote(&self) -> std::net::IpAddr {
        self.init_keys.first().map_or_else(|| self.path.remote.ip(), |key| key.remote.ip())
    }

    pub(crate) fn is_initiator(&self) -> bool {
        matches!(self.role, Role::Initiator(_))
    }

    pub(crate) fn timers(&self) -> Timers {
        match &self.role {
            Role::Responder(config) => config.timers,
            Role::Initiator(config) => config.timers,
        }
    }

    pub(crate) fn ciphers(&self) -> &CipherPolicy {
        match &self.role {
            Role::Responder(config) => &config.ciphers,
            Role::Initiator(config) => &config.ciphers,
        }
    }

    /// Those that are left of [`Self::ciphers`] for this client.
    pub(crate) fn granted_ciphers(&self) -> Cow<'_, CipherPolicy> {
        match self.cipher_bits {
            Some(bits) => Cow::Owned(self.ciphers().clone().with_keys_of(bits)),
            None => Cow::Borrowed(self.ciphers()),
        }
    }

    /// Where the gateway sends us, if we follow and it says so in a way that can be understood; with what stands behind it.
    pub(crate) fn redirected<'a>(&self, payloads: &'a Payloads) -> Option<(GatewayIdentity, &'a [u8])> {
        let Role::Initiator(config) = &self.role else { return None };
        redirect::read(payloads.notify(notify::REDIRECT).filter(|_| config.follow_redirects)?)
    }

    /// Dials the gateway that we were sent to; `Err` says why not.
    pub(crate) fn follow_redirect(&self, cx: &mut Shared, to: &GatewayIdentity) -> Result<(), String> {
        let Role::Initiator(config) = &self.role else { return Err("only clients are redirected".into()) };
        let GatewayIdentity::Address(address) = to else {
            return Err(format!("the gateway sends us to {to}; its address is needed, not its name"));
        };
        let mut config = InitiatorConfig::clone(config);
        if address.is_ipv4() != config.path.local.is_ipv4() || address.is_unspecified() || address.is_multicast() {
            return Err(format!("the gateway sends us to {to}, which cannot be reached from {}", config.path.local.ip()));
        }
        let trail = self.trail.follow(self.path.remote.ip(), cx.now)?;
        config.path.remote.set_ip(*address);
        self.note(cx, format!("the gateway sends us to {to}"));
        cx.dials.push(Dial { config, trail });
        Ok(())
    }

    /// The token of an IKE SA, for a peer that can make something of it. Windows knows no tokens.
    pub(crate) fn qcd_token(&self, spi_i: Spi, spi_r: Spi) -> Option<Payload> {
        let Role::Responder(config) = &self.role else { return None };
        let secret = config.qcd_secret.as_ref().filter(|_| !self.traits.windows)?;
        Some(qcd::payload(secret, spi_i, spi_r))
    }

    /// Why nothing fits, with what to do about it on a Windows client.
    pub(crate) fn explain(&self, mismatch: &Mismatch) -> String {
        let fix = if self.traits.windows { windows_fix(&self.granted_ciphers()) } else { String::new() };
        let bound = self.cipher_bits.map(|bits| format!("; this client must have keys of at least {bits} bits (min_cipher_bits)"));
        format!("{mismatch}{}{fix}", bound.unwrap_or_default())
    }

    pub(crate) fn take_spi(&mut self, cx: &mut Shared) -> Spi {
        let spi = cx.take_spi(self.id);
        self.spis.push(spi);
        spi
    }

    pub(crate) fn release_spi(&mut self, cx: &mut Shared, spi: Spi) {
        self.spis.retain(|own| *own != spi);
        cx.release_spi(spi);
    }

    /// Nothing of this session stays registered.
    pub(crate) fn release(&mut self, cx: &mut Shared) {
        for spi in std::mem::take(&mut self.spis) {
            cx.release_spi(spi);
        }
        for key in std::mem::take(&mut self.init_keys) {
            cx.release_init(&key, self.id);
        }
        if let Some(spi) = self.esp_wish.take() {
            cx.release_esp_spi(spi);
        }
    }

    pub(crate) fn ask(&mut self, cx: &mut Shared, question: Question) -> AskId {
        let id = cx.ask(self.id, question);
        self.questions.insert(id);
        id
    }

    /// Nothing is told of a session after its last event.
    pub(crate) fn event(&self, cx: &mut Shared, event: Event) {
        if !self.ended {
            cx.event(self.id, event);
        }
    }

    pub(crate) fn note(&self, cx: &mut Shared, text: impl Into<String>) {
        self.event(cx, Event::Note(text.into()));
    }

    pub(crate) fn reach(&mut self, cx: &mut Shared, stage: Stage) {
        if stage > self.stage {
            self.stage = stage;
            self.event(cx, Event::Reached(stage));
        }
    }

    /// Answers the request in progress.
    pub(crate) fn respond(&self, cx: &mut Shared, sa: &mut IkeSa, payloads: &[Payload]) {
        sa.set_stream(self.reply_path.connection.is_some());
        let datagrams = sa.respond(payloads, cx.now);
        cx.transmit_sealed(self.id, self.reply_path, sa, payloads, &datagrams);
    }

    pub(crate) fn request(&self, cx: &mut Shared, sa: &mut IkeSa, exchange: Exchange, payloads: &[Payload]) {
        let timers = self.timers();
        sa.set_stream(self.path.connection.is_some());
        let datagrams = sa.request(exchange, payloads, cx.now, &timers, timers.retransmit_tries);
        cx.transmit_sealed(self.id, self.path, sa, payloads, &datagrams);
    }

    /// Emits the last event of the session, once.
    pub(crate) fn end(&mut self, cx: &mut Shared, reason: CloseReason, failure: Option<Failure>) {
        for id in std::mem::take(&mut self.questions) {
            cx.cancel(id);
        }
        if !self.ended {
            self.event(cx, Event::Closed(reason, failure));
            self.ended = true;
        }
    }

    pub(crate) fn failure(&self, fault: Fault, notify: Option<u16>, cause: impl Into<String>) -> Failure {
        Failure { stage: self.stage, fault, notify: notify.and_then(notify::name), remedy: None, cause: cause.into() }
    }

    /// Refuses the request in progress with a notify and ends the session as failed.
    pub(crate) fn refuse(&mut self, cx: &mut Shared, sa: IkeSa, kind: u16, fault: Fault, cause: impl Into<String>) -> State {
        let failure = self.failure(fault, Some(kind), cause);
        self.refuse_with(cx, sa, vec![Payload::Notify(Notify::new(kind, []))], failure)
    }

    /// Refuses the login for a setting that the two sides do not share.
    pub(crate) fn refuse_for(&mut self, cx: &mut Shared, sa: IkeSa, remedy: Remedy, cause: impl Into<String>) -> State {
        let kind = notify::AUTHENTICATION_FAILED;
        let fault = if remedy == Remedy::ProveByEap { Fault::PeerIncompatible } else { Fault::Refused };
        let failure = Failure { remedy: Some(remedy), ..self.failure(fault, Some(kind), cause) };
        self.refuse_with(cx, sa, vec![Payload::Notify(Notify::new(kind, []))], failure)
    }

    pub(crate) fn refuse_with(&mut self, cx: &mut Shared, mut sa: IkeSa, payloads: Vec<Payload>, failure: Failure) -> State {
        if sa.is_busy() {
            self.respond(cx, &mut sa, &payloads);
        }
        self.end(cx, CloseReason::Failed, Some(failure));
        State::drain(cx, Some(sa))
    }
}

/// One state of a session. What a state does not handle leaves it as it is.
pub(crate) trait Step {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State;

    /// The IKE SA with this SPI of ours.
    fn sa(&mut self, _own: Spi) -> Option<&mut IkeSa> {
        None
    }

    /// The current IKE SA, when the rest of the state is given up.
    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        None
    }

    fn phase(&self) -> Phase {
        Phase::HalfOpen
    }

    /// The exchange that the peer's next request of the login belongs to.
    fn exchange(&self) -> Exchange {
        Exchange::IkeAuth
    }

    /// The responder waits for the peer's next message, not for an answer.
    fn expects_peer(&self) -> bool {
        true
    }

    /// Deadline of the state's own making.
    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        None
    }
}

/// How a session counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    HalfOpen,
    Established,
    /// Ended; answers retransmissions.
    Draining,
    Gone,
}

macro_rules! states {
    ($($name:ident($module:ident)),* $(,)?) => {
        /// Where a session stands.
        pub(crate) enum State {
            $($name(Box<$module::$name>),)*
            Gone,
        }

        $(impl From<Box<$module::$name>> for State {
            fn from(state: Box<$module::$name>) -> Self {
                Self::$name(state)
            }
        }
        impl From<$module::$name> for State {
            fn from(state: $module::$name) -> Self {
                Self::$name(Box::new(state))
            }
        })*

        impl State {
            fn step(&self) -> Option<&dyn Step> {
                match self {
                    $(Self::$name(state) => Some(state.as_ref()),)*
                    Self::Gone => None,
                }
            }

            fn step_mut(&mut self) -> Option<&mut dyn Step> {
                match self {
                    $(Self::$name(state) => Some(state.as_mut()),)*
                    Self::Gone => None,
                }
            }

            fn handle(self, core: &mut Core, cx: &mut Shared, signal: Signal) -> Self {
                match self {
                    $(Self::$name(state) => state.handle(core, cx, signal),)*
                    Self::Gone => Self::Gone,
                }
            }

            fn into_sa(self) -> Option<IkeSa> {
                match self {
                    $(Self::$name(state) => state.into_sa(),)*
                    Self::Gone => None,
                }
            }

            /// The state's name, for tests and logs.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                    Self::Gone => "Gone",
                }
            }
        }
    };
}

states! {
    ExpectRetry(init),
    AwaitKeyExchange(init),
    ExpectIntermediate(intermediate),
    AwaitIntermediate(intermediate),
    ExpectAuth(auth),
    AwaitGrant(auth),
    AwaitSignature(auth),
    AwaitEapStart(eap),
    ExpectEap(eap),
    AwaitEap(eap),
    ExpectEapAuth(eap),
    AwaitKeyPair(initiate),
    ExpectInit(initiate),
    AwaitAgreement(initiate),
    AwaitAdditionalPair(intermediate),
    ExpectIntermediateReply(intermediate),
    AwaitAdditional(intermediate),
    AwaitProof(initiate_auth),
    ExpectAuthReply(initiate_auth),
    AwaitEapPeer(initiate_auth),
    ExpectFinal(initiate_auth),
    Established(established),
    Closing(closing),
    Draining(closing),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl State {
    /// Nothing is left to do but to answer retransmissions for a while.
    pub(crate) fn drain(cx: &Shared, sa: Option<IkeSa>) -> Self {
        if cx.may_drain() { closing::Draining::new(cx, sa).into() } else { Self::Gone }
    }

    /// As [`State::drain`], for a peer that is authenticated and gets no Child SA: the IKE SA is deleted soon.
    pub(crate) fn drain_deleting(cx: &Shared, sa: IkeSa) -> Self {
        if cx.may_drain() { closing::Draining::deleting(cx, sa).into() } else { Self::Gone }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub core: Core,
    state: State,
    /// When the endpoint will call, as it is registered there.
    pub timer: Option<Instant>,
}

impl Session {
    /// A responder's session, begun by IKE_SA_INIT.
    pub(crate) fn respond(mut core: Core, cx: &mut Shared, request: InitRequest) -> Self {
        core.event(cx, Event::Started { path: core.path, initiator: false });
        if cx.is_watched() {
            let content = Content::Payloads(request.payloads.iter().cloned().collect());
            cx.saw(Some(core.id), Seen::received(core.path, &request.bytes, content));
        }
        core.event(cx, Event::Reached(Stage::SaInit));
        let state = init::begin(&mut core, cx, request);
        Self { core, state, timer: None }
    }

    /// An initiator's session.
    pub(crate) fn initiate(mut core: Core, cx: &mut Shared) -> Self {
        core.event(cx, Event::Started { path: core.path, initiator: true });
        let state = initiate::begin(&mut core, cx);
        Self { core, state, timer: None }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.step().map_or(Phase::Gone, Step::phase)
    }

    /// What this session means for other first messages with its SPIi from its client's address.
    pub(crate) fn rival(&self) -> Option<Rival> {
        match &self.state {
            State::AwaitKeyExchange(_) => Some(Rival::Computing),
            State::ExpectRetry(_) => Some(Rival::Expecting(self.core.id)),
            _ => (self.phase() == Phase::HalfOpen).then_some(Rival::Answered),
        }
    }

    /// A protected message for the IKE SA with this SPI of ours.
    pub(crate) fn datagram(&mut self, cx: &mut Shared, path: Path, spi: Spi, header: &Header, message: &[u8]) {
        let established = self.phase() == Phase::Established;
        let Some(sa) = self.state.step_mut().and_then(|state| state.sa(spi)) else {
            cx.counters.unknown_spi += 1;
            return;
        };
        if let Some(payloads) = disowned(sa, header, message) {
            if cx.is_watched() {
                cx.saw(Some(self.core.id), Seen::received(path, message, Content::clear(message)));
            }
            let proved = sa.peer_token.as_ref().is_some_and(|token| qcd::proves(&payloads, token));
            return self.disowned(cx, spi, proved);
        }
        let before = cx.is_watched().then_some(cx.counters);
        let inbound = sa.receive(header, message, path.remote, cx.now, &mut cx.counters);
        if let Some(before) = before {
            let content = content(&inbound, &before, &cx.counters);
            let seen = Seen { keys: cx.keys(sa), ..Seen::received(path, message, content) };
            cx.saw(Some(self.core.id), seen);
        }
        let signal = match inbound {
            Inbound::Nothing => return,
            // No sign of life: anyone who has seen the request can send it again.
            Inbound::Repeat(datagrams) => return cx.transmit_all(path, &datagrams),
            Inbound::Request(exchange, payloads) => {
                self.core.reply_path = path;
                Signal::Request(Request { spi, exchange, payloads })
            }
            Inbound::Response(payloads) => Signal::Response(spi, payloads),
        };
        self.core.heard = cx.now;
        self.core.superseded = false;
        if std::mem::take(&mut self.core.probed) {
            self.core.event(cx, Event::Alive);
        }
        // With MOBIKE only UPDATE_SA_ADDRESSES and ESP packets move an established peer, so that a path can be tried without being taken
        // (RFC 4555 section 3.8). A new TCP connection is taken: clients make it because the one before is gone.
        if !(established && self.core.traits.mobike) || path.connection.is_some() {
            self.follow(cx, path, established);
        }
        self.handle(cx, signal);
    }

    fn follow(&mut self, cx: &mut Shared, path: Path, established: bool) {
        let before = self.core.path;
        self.core.follow(cx, path, established);
        if self.core.path != before && path.connection.is_some() {
            self.ask_again(cx);
        }
    }

    /// What waits for an answer may have been lost with the connection before (RFC 9329 section 6.2).
    fn ask_again(&mut self, cx: &mut Shared) {
        let Some(state) = self.state.step_mut() else { return };
        for spi in &self.core.spis {
            if let Some(sa) = state.sa(*spi) {
                cx.transmit_all(self.core.path, sa.unanswered());
            }
        }
    }

    /// Somebody says that the peer does not know our IKE SA. Without proof that is a hint and no more: now and then we ask (RFC 7296 section 2.21.4).
    fn disowned(&mut self, cx: &mut Shared, spi: Spi, proved: bool) {
        if proved {
            return self.handle(cx, Signal::Forgotten(spi));
        }
        cx.counters.forged += 1;
        let lately = self.core.doubted.is_some_and(|at| cx.now.saturating_duration_since(at) < DOUBT);
        if self.phase() == Phase::Established && !lately {
            self.core.doubted = Some(cx.now);
            self.handle(cx, Signal::Command(Command::Liveness));
        }
    }

    /// IKE_SA_INIT, the same again: the same answer, once there is one, so often and no more.
    pub(crate) fn repeat_init(&mut self, cx: &mut Shared, path: Path) {
        if self.core.init_response.is_empty() || !self.core.init_repeats.allows(cx.now, path.remote) {
            cx.counters.replayed += 1;
            return;
        }
        cx.counters.retransmits_answered += 1;
        cx.transmit_of(self.core.id, path, self.core.init_response.clone());
    }

    pub(crate) fn handle(&mut self, cx: &mut Shared, signal: Signal) {
        if let Signal::Answer(id, _) = &signal
            && !self.core.questions.remove(id)
        {
            return;
        }
        if let Signal::PeerMoved(path) = signal {
            if self.phase() != Phase::Established {
                return;
            }
            if !self.core.doubts(path) || self.core.ended || self.core.is_initiator() {
                return self.follow(cx, path, true);
            }
        }
        if let Signal::Rehome(path) = signal {
            if self.phase() != Phase::Established || !self.core.is_initiator() {
                return;
            }
            self.core.move_to(cx, path);
            self.ask_again(cx);
        }
        let state = std::mem::replace(&mut self.state, State::Gone);
        let half_open = state.step().is_some_and(|step| step.phase() == Phase::HalfOpen);
        self.state = if half_open { login(state, &mut self.core, cx, signal) } else { state.handle(&mut self.core, cx, signal) };
    }

    /// When to be called with [`Signal::Timeout`].
    pub(crate) fn deadline(&self) -> Option<(Instant, TimeoutReason)> {
        let step = self.state.step()?;
        let own = step.deadline(&self.core);
        let login = (step.phase() == Phase::HalfOpen).then(|| login_deadline(&self.core, step)).flatten();
        [own, login.map(|at| (at, TimeoutReason::HalfOpen))].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// What a datagram turned out to be, for who watches.
fn content(inbound: &Inbound, before: &Counters, after: &Counters) -> Content {
    match inbound {
        Inbound::Nothing => seen::dropped(before, after).map_or(Content::Fragment, Content::Dropped),
        Inbound::Repeat(_) => Content::Repeated,
        Inbound::Request(_, Ok(payloads)) | Inbound::Response(Ok(payloads)) => Content::Payloads(payloads.iter().cloned().collect()),
        Inbound::Request(_, Err(error)) | Inbound::Response(Err(error)) => Content::Malformed(error.to_string()),
    }
}

/// INVALID_IKE_SPI, unprotected, in answer to a message of this IKE SA.
fn disowned(sa: &IkeSa, header: &Header, message: &[u8]) -> Option<Payloads> {
    let ours = (header.initiator_spi, header.responder_spi) == (sa.spi_i, sa.spi_r) && header.flags.initiator != sa.initiator;
    if !ours || !header.flags.response || message.len() > MAX_PLAIN {
        return None;
    }
    let parsed = Message::parse(message).ok().filter(|message| !message.protected)?;
    parsed.payloads.notify(notify::INVALID_IKE_SPI)?;
    Some(parsed.payloads)
}

fn login_deadline(core: &Core, step: &dyn Step) -> Option<Instant> {
    let Role::Responder(config) = &core.role else { return None };
    let whole = core.started + config.limits.auth_timeout;
    Some(if step.expects_peer() { whole.min(core.heard + config.limits.half_open_timeout) } else { whole })
}

/// What all states of a login do alike.
fn login(state: State, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
    match signal {
        Signal::Command(Command::Close(reason)) => {
            core.end(cx, reason, None);
            State::Gone
        }
        Signal::Timeout => {
            let due = state.step().and_then(|step| login_deadline(core, step)).is_some_and(|at| at <= cx.now);
            if due { give_up(state, core, cx) } else { state.handle(core, cx, Signal::Timeout) }
        }
        Signal::Request(Request { payloads: Err(error), .. }) => match state.into_sa() {
            Some(sa) => refuse_unparsed(core, cx, sa, &error),
            None => State::Gone,
        },
        Signal::Request(Request { spi, exchange: Exchange::Informational, payloads: Ok(payloads) }) => {
            informational_in_login(state, core, cx, spi, &payloads)
        }
        Signal::Request(request) if Some(request.exchange) != state.step().map(Step::exchange) => match state.into_sa() {
            Some(sa) => {
                let cause = format!("the peer sent exchange type {} before it was authenticated", request.exchange.id());
                core.refuse(cx, sa, notify::INVALID_SYNTAX, Fault::PeerMisbehaved, cause)
            }
            None => State::Gone,
        },
        signal => state.handle(core, cx, signal),
    }
}

/// The peer fell silent, or the login takes too long.
fn give_up(state: State, core: &mut Core, cx: &mut Shared) -> State {
    let waits_for_peer = state.step().is_some_and(Step::expects_peer);
    let seconds = cx.now.saturating_duration_since(core.heard).as_secs();
    let (fault, cause) = if waits_for_peer {
        let cause = format!("the peer has been silent for {seconds} s; the last thing that came from it was {}", core.last_seen);
        (Fault::Silence, cause)
    } else {
        let what = if matches!(state, State::AwaitEap(_)) { "the authentication server" } else { "a key operation of this gateway" };
        (Fault::Dependency, format!("{what} gave no answer in {seconds} s, within the time allowed for a login"))
    };
    let sa = state.into_sa().filter(IkeSa::is_busy);
    let notify = sa.is_some().then_some(notify::AUTHENTICATION_FAILED);
    let failure = core.failure(fault, notify, cause);
    match sa {
        Some(sa) => core.refuse_with(cx, sa, vec![Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, []))], failure),
        None => {
            core.end(cx, CloseReason::Failed, Some(failure));
            State::Gone
        }
    }
}

fn refuse_unparsed(core: &mut Core, cx: &mut Shared, sa: IkeSa, error: &ParseError) -> State {
    let notify = parse_notify(error);
    let failure = core.failure(Fault::Malformed, Some(notify.kind), error.to_string());
    core.refuse_with(cx, sa, vec![Payload::Notify(notify)], failure)
}

/// What a message that does not parse is answered with.
pub(crate) fn parse_notify(error: &ParseError) -> Notify {
    match error {
        ParseError::UnsupportedCritical(kind) => Notify::new(notify::UNSUPPORTED_CRITICAL_PAYLOAD, [*kind]),
        ParseError::Malformed(_) | ParseError::MajorVersion(_) => Notify::new(notify::INVALID_SYNTAX, []),
    }
}

fn informational_in_login(mut state: State, core: &mut Core, cx: &mut Shared, spi: Spi, payloads: &Payloads) -> State {
    if let Some(sa) = state.step_mut().and_then(|step| step.sa(spi)) {
        core.respond(cx, sa, &[]);
    }
    let deleted = payloads.deletes().any(|delete| *delete == Delete::Ike);
    let error = payloads.error();
    if !deleted && error.is_none() {
        return state;
    }
    let words = error.map_or_else(|| "a DELETE".to_owned(), notify_text);
    let failure = core.failure(Fault::PeerIncompatible, None, format!("the peer gave up the login with {words}"));
    core.end(cx, CloseReason::Failed, Some(failure));
    State::drain(cx, state.into_sa())
}

/// A notify in words; N(12345) with its Windows error code.
pub(crate) fn notify_text(notify: &Notify) -> String {
    if let Some(code) = notify.win32_code() {
        return format!("Windows error {code}");
    }
    notify::name(notify.kind).map_or_else(|| format!("notify {}", notify.kind), str::to_owned)
}
