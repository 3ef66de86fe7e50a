//! The link: phases (RFC 1661 section 3.2), what each protocol's frames mean in which, and how it ends.
use crate::api::{Answer, AskId, Ended, EndedBy, Event, Input, LinkConfig, Network, Output, Phase, Question};
use crate::auth::{Authenticator, Effect};
use crate::frame::{Class, classify};
use crate::lcp::{self, Lcp};
use crate::negotiation::{Change, Env, Fault, Negotiation};
use crate::packet::{self, Packet, code, protocol};
use crate::seed;
use clock::{Budget, Echo};
use network::{Family, Networks};
use std::collections::VecDeque;
use std::time::Instant;

mod clock;
mod network;

/// Identifications that are reported; Windows sends three.
const MAX_IDENTIFICATIONS: u32 = 8;

/// Notes of one link: a client may provoke some, but not fill a record.
const MAX_NOTES: u32 = 32;

/// Bytes of our reason in a Terminate-Request.
const MAX_REASON: usize = 120;

/// Why [`Link::poll_timeout`] is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client has not begun: our first Configure-Request, of LCP or of the network protocols.
    Passive,
    /// A Configure-Request is repeated.
    Restart,
    /// A challenge or an EAP request is repeated.
    Authentication,
    /// The end of [`crate::Timers::negotiation`].
    Negotiation,
    /// The client is silent: Echo-Request, or the end.
    Echo,
    /// Terminate-Request is repeated or not waited for any longer.
    Terminate,
}

/// One client's link.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    lcp: Negotiation<Lcp>,
    stage: Stage,
    budget: Budget,
    echo: Echo,
    outputs: VecDeque<Output>,
    /// The open question.
    question: Option<AskId>,
    asked: u64,
    /// Authentications that came as far as a question.
    rounds: usize,
    round_asked: bool,
    identifications: u32,
    notes: u32,
}

#[derive(Debug)]
enum Stage {
    /// Before [`Input::Start`].
    Idle,
    Establish {
        /// When we begin if the client does not.
        passive: Option<Instant>,
    },
    Authenticate(Box<Authenticator>),
    Network(Box<Networks>),
    Terminate(Ended),
    Over,
}

impl Link {
    pub fn new(now: Instant, config: LinkConfig) -> Self {
        let lcp = Lcp::new(&config.auth, config.mru, seed::Magic::new(&config.seed));
        Self {
            config,
            lcp: Negotiation::new(lcp),
            stage: Stage::Idle,
            budget: Budget::new(now),
            echo: Echo::new(now),
            outputs: VecDeque::new(),
            question: None,
            asked: 0,
            rounds: 0,
            round_asked: false,
            identifications: 0,
            notes: 0,
        }
    }

    /// Takes one input. Drain [`Link::poll_output`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        match input {
            Input::Start => self.start(now),
            Input::Frame(frame) => self.frame(now, frame),
            Input::Answer(id, answer) => self.answer(now, id, answer),
            Input::Heard(at) => self.echo.heard(at.min(now)),
            Input::Terminate(reason) => self.end(now, Fault::new(EndedBy::Us, reason)),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do; `None` once drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let stage = match &self.stage {
            Stage::Idle | Stage::Over => return None,
            Stage::Terminate(_) => return self.lcp.timer().map(|at| (at, Reason::Terminate)),
            Stage::Establish { passive: Some(at) } => Some((*at, Reason::Passive)),
            Stage::Establish { passive: None } => None,
            Stage::Authenticate(auth) => auth.timer().map(|at| (at, Reason::Authentication)),
            Stage::Network(networks) => networks.timer(),
        };
        let restart = self.lcp.timer().map(|at| (at, Reason::Restart));
        let negotiation = self.budget.ends().map(|at| (at, Reason::Negotiation));
        let echo = self.echo_due().map(|at| (at, Reason::Echo));
        [stage, restart, negotiation, echo].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Where the link is. Packets may pass only in [`Phase::Up`]: a client that reopens LCP falls back and must authenticate again.
    pub fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Idle | Stage::Establish { .. } => Phase::Lcp,
            Stage::Authenticate(_) => Phase::Authentication,
            Stage::Network(networks) => networks.phase(),
            Stage::Terminate(ended) => ended.phase,
            Stage::Over => Phase::Lcp,
        }
    }

    fn start(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Idle) {
            return;
        }
        self.stage = Stage::Establish { passive: Some(now + self.config.timers.passive) };
        self.budget.start(now, self.config.timers.negotiation);
        self.echo = Echo::new(now);
        self.lcp(now, |lcp, env| lcp.open(env));
    }

    /// Runs LCP with what it needs.
    fn lcp<T>(&mut self, now: Instant, run: impl FnOnce(&mut Negotiation<Lcp>, &mut Env<'_>) -> T) -> T {
        let peer_mru = self.lcp.options.peer_mru;
        let mut env = Env { now, timers: &self.config.timers, peer_mru, out: &mut self.outputs };
        run(&mut self.lcp, &mut env)
    }

    /// Runs the network protocols, if it is their time.
    fn networks<T>(&mut self, now: Instant, run: impl FnOnce(&mut Networks, &mut Env<'_>) -> T) -> Option<T> {
        let peer_mru = self.lcp.options.peer_mru;
        let mut env = Env { now, timers: &self.config.timers, peer_mru, out: &mut self.outputs };
        let Stage::Network(networks) = &mut self.stage else { return None };
        let result = run(networks, &mut env);
        self.watch(now);
        Some(result)
    }

    /// The time for negotiation runs whenever the network is not up.
    fn watch(&mut self, now: Instant) {
        match (self.phase() == Phase::Up, self.budget.is_running()) {
            (true, true) => self.budget.stop(),
            (false, false) => self.budget.start(now, self.config.timers.negotiation),
            _ => {}
        }
    }

    fn transmit(&mut self, frame: Vec<u8>) {
        self.outputs.push_back(Output::Transmit(frame));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn note(&mut self, text: String) {
        if self.notes < MAX_NOTES {
            self.notes += 1;
            self.event(Event::Note(text));
        }
    }

    fn frame(&mut self, now: Instant, frame: &[u8]) {
        if matches!(self.stage, Stage::Idle) {
            return;
        }
        self.echo.heard(now);
        let Class::Control { protocol, offset } = classify(frame) else { return };
        let information = &frame[offset..];
        if protocol == protocol::LCP {
            return self.lcp_packet(now, information);
        }
        if !self.lcp.is_opened() {
            return;
        }
        match protocol {
            protocol::EAP | protocol::CHAP | protocol::PAP => self.auth_packet(now, protocol, information),
            protocol::IPCP => self.network_packet(now, Family::V4, protocol, information),
            protocol::IPV6CP => self.network_packet(now, Family::V6, protocol, information),
            _ => self.protocol_reject(protocol, information),
        }
    }

    fn lcp_packet(&mut self, now: Instant, information: &[u8]) {
        let Some(packet) = Packet::parse(information) else { return };
        if let (Stage::Establish { passive }, true) = (&mut self.stage, packet.code != code::TERMINATE_REQUEST) {
            *passive = None;
            self.lcp(now, |lcp, env| lcp.up(env));
        }
        match packet.code {
            code::TERMINATE_REQUEST if !matches!(self.stage, Stage::Terminate(_)) => self.peer_terminates(now, &packet),
            code::PROTOCOL_REJECT => self.protocol_rejected(now, packet.data),
            code::IDENTIFICATION => self.identification(packet.data),
            code::ECHO_REPLY | code::DISCARD_REQUEST | code::TIME_REMAINING => {}
            _ => {
                let result = self.lcp(now, |lcp, env| lcp.receive(env, &packet));
                self.lcp_changed(now, result);
            }
        }
    }

    fn lcp_changed(&mut self, now: Instant, result: Result<Change, Fault>) {
        match result {
            Ok(Change::None) => {}
            Ok(Change::Up) => self.authenticate(now),
            Ok(Change::Down) => self.reopened(now),
            Ok(Change::Finished) => self.finished(),
            Err(fault) => self.end(now, fault),
        }
    }

    /// RFC 1570 section 2.1: magic number, then a message. It gets no answer.
    fn identification(&mut self, data: &[u8]) {
        let Some((_magic, message)) = data.split_first_chunk::<4>() else { return };
        if self.identifications < MAX_IDENTIFICATIONS {
            self.identifications += 1;
            self.event(Event::Identification(message.to_vec()));
        }
    }

    fn authenticate(&mut self, now: Instant) {
        if self.rounds >= seed::AUTHENTICATIONS {
            return self.end(now, Fault::new(EndedBy::Violation, format!("the client reopened LCP {} times", self.rounds)));
        }
        let auth = self.lcp.options.auth();
        self.event(Event::LcpOpened { auth, peer_mru: self.lcp.options.peer_mru });
        let challenges = seed::challenges(&self.config.seed, self.rounds);
        let mut machine = Authenticator::new(auth, &self.config.name, challenges, &self.config.timers);
        let effects = machine.start(now);
        self.round_asked = false;
        self.stage = Stage::Authenticate(Box::new(machine));
        self.apply(now, effects);
    }

    /// RFC 1661 section 4.4: the client negotiates LCP anew, and nothing of before holds.
    fn reopened(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Terminate(_)) {
            return;
        }
        self.note(format!("the client reopens LCP in phase {:?}", self.phase()));
        self.cancel(now);
        self.stage = Stage::Establish { passive: None };
        self.watch(now);
    }

    fn auth_packet(&mut self, now: Instant, protocol: u16, information: &[u8]) {
        let auth = match &mut self.stage {
            Stage::Authenticate(auth) => auth,
            Stage::Network(networks) => match &mut networks.auth {
                Some(auth) => auth,
                None => return,
            },
            _ => return,
        };
        if auth.protocol() == protocol {
            let effects = auth.receive(information);
            self.apply(now, effects);
        }
    }

    fn apply(&mut self, now: Instant, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.transmit(frame),
                Effect::Identified(name) => self.event(Event::Identified(name)),
                Effect::Ask(question) => self.ask(now, question),
                Effect::Patience => self.budget.start(now, self.config.timers.negotiation),
                Effect::Accepted(network) => self.accepted(now, &network),
                Effect::Failed(fault) => self.end(now, fault),
            }
        }
    }

    fn ask(&mut self, now: Instant, question: Question) {
        if !self.round_asked {
            self.round_asked = true;
            self.rounds += 1;
        }
        let id = AskId(self.asked);
        self.asked += 1;
        self.question = Some(id);
        self.budget.pause(now);
        self.outputs.push_back(Output::Ask(id, question));
    }

    fn cancel(&mut self, now: Instant) {
        if let Some(id) = self.question.take() {
            self.budget.resume(now);
            self.outputs.push_back(Output::Cancel(id));
        }
    }

    fn answer(&mut self, now: Instant, id: AskId, answer: Answer) {
        let Stage::Authenticate(auth) = &mut self.stage else { return };
        if self.question != Some(id) {
            return;
        }
        self.question = None;
        self.budget.resume(now);
        let effects = auth.answer(now, answer);
        self.apply(now, effects);
    }

    /// The only way from authentication to the network.
    fn accepted(&mut self, now: Instant, network: &Network) {
        let Stage::Authenticate(auth) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        self.event(Event::Authenticated);
        let peer_mru = self.lcp.options.peer_mru;
        let mut env = Env { now, timers: &self.config.timers, peer_mru, out: &mut self.outputs };
        let networks = Networks::new(&mut env, auth, network, &self.config.seed);
        if network.ipv6.is_some() && !networks.has(Family::V6) {
            self.note("the leased IPv6 address has the interface identifier zero: no IPv6 for this client".into());
        }
        self.stage = Stage::Network(Box::new(networks));
        self.hopeless(now, "the login gave the client neither an IPv4 nor an IPv6 address");
    }

    /// Ends a link on which no network protocol is left.
    fn hopeless(&mut self, now: Instant, cause: &str) -> bool {
        let hopeless = matches!(&self.stage, Stage::Network(networks) if networks.is_hopeless());
        if hopeless {
            self.end(now, Fault::new(EndedBy::Incompatible, cause));
        }
        hopeless
    }

    /// Before the client is let in, network protocols are dropped (RFC 1661 section 3.5).
    fn network_packet(&mut self, now: Instant, family: Family, protocol: u16, information: &[u8]) {
        let Stage::Network(networks) = &self.stage else { return };
        if !networks.has(family) {
            return self.protocol_reject(protocol, information);
        }
        let Some(packet) = Packet::parse(information) else { return };
        if let Some(Err(fault)) = self.networks(now, |networks, env| networks.receive(env, family, &packet)) {
            self.networks(now, |networks, env| networks.give_up(env, family));
            self.note(format!("{} is given up: {}", protocol::name(protocol), fault.cause));
            if !self.hopeless(now, &fault.cause) {
                self.protocol_reject(protocol, information);
            }
        }
    }

    /// RFC 1661 section 5.7; LCP is Opened.
    fn protocol_reject(&mut self, protocol: u16, information: &[u8]) {
        let id = self.lcp.next_id();
        let room = usize::from(self.lcp.options.peer_mru).saturating_sub(6);
        let mut data = protocol.to_be_bytes().to_vec();
        data.extend_from_slice(&information[..information.len().min(room)]);
        self.transmit(packet::frame(protocol::LCP, code::PROTOCOL_REJECT, id, &data));
        self.note(format!("{} is not spoken here: rejected", protocol::name(protocol)));
    }

    fn protocol_rejected(&mut self, now: Instant, data: &[u8]) {
        let (true, Some((protocol, _))) = (self.lcp.is_opened(), data.split_first_chunk()) else { return };
        let rejected = u16::from_be_bytes(*protocol);
        let family = match rejected {
            protocol::IPCP => Family::V4,
            protocol::IPV6CP => Family::V6,
            protocol::EAP | protocol::CHAP | protocol::PAP if matches!(self.stage, Stage::Authenticate(_)) => {
                let fault = self.lcp.options.disagreement(&format!("rejects {} after agreeing to it", protocol::name(rejected)));
                return self.end(now, fault);
            }
            _ => return,
        };
        if self.networks(now, |networks, env| networks.rejected(env, family)).is_some() {
            self.note(format!("the client does not speak {}", protocol::name(rejected)));
            self.hopeless(now, "the client speaks neither of the network protocols that it could have here");
        }
    }

    fn peer_terminates(&mut self, now: Instant, packet: &Packet<'_>) {
        let cause = format!("the client terminated the link in phase {:?}{}", self.phase(), reason_of(packet.data));
        let ended = Ended { by: EndedBy::Peer, phase: self.phase(), cause };
        self.transmit(packet::frame(protocol::LCP, code::TERMINATE_ACK, packet.id, &[]));
        self.cancel(now);
        self.down(ended);
    }

    /// Ends the link from our side: Terminate-Request, and a while for its Ack.
    fn end(&mut self, now: Instant, fault: Fault) {
        let ended = Ended { by: fault.by, phase: self.phase(), cause: fault.cause };
        match self.stage {
            Stage::Terminate(_) | Stage::Over => return,
            Stage::Idle => return self.down(ended),
            _ => {}
        }
        self.cancel(now);
        let mut len = ended.cause.len().min(MAX_REASON);
        while !ended.cause.is_char_boundary(len) {
            len -= 1;
        }
        self.lcp(now, |lcp, env| lcp.close(env, &ended.cause[..len]));
        if self.lcp.is_closing() {
            self.stage = Stage::Terminate(ended);
        } else {
            self.down(ended);
        }
    }

    fn down(&mut self, ended: Ended) {
        self.stage = Stage::Over;
        self.outputs.push_back(Output::Down(ended));
    }

    /// LCP is done: our Terminate-Request was answered or waited for, or nobody answered our Configure-Requests.
    fn finished(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Terminate(ended) => self.down(ended),
            _ => {
                let cause = format!("the client did not answer {} LCP Configure-Requests", self.config.timers.max_configure.max(1));
                self.down(Ended { by: EndedBy::Timeout, phase: Phase::Lcp, cause });
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        let change = self.lcp(now, |lcp, env| lcp.timeout(env));
        self.lcp_changed(now, Ok(change));
        match &mut self.stage {
            Stage::Idle | Stage::Terminate(_) | Stage::Over => return,
            Stage::Establish { passive } => {
                if passive.is_some_and(|at| at <= now) {
                    *passive = None;
                    self.lcp(now, |lcp, env| lcp.up(env));
                }
            }
            Stage::Authenticate(auth) => {
                let effects = auth.timeout(now);
                self.apply(now, effects);
            }
            Stage::Network(_) => {
                self.networks(now, |networks, env| networks.timeout(env));
            }
        }
        if self.budget.ends().is_some_and(|at| at <= now) {
            return self.negotiation_over(now);
        }
        if self.echo_due().is_some_and(|at| at <= now) {
            self.echo_now(now);
        }
    }

    fn negotiation_over(&mut self, now: Instant) {
        let what = match self.phase() {
            Phase::Lcp => "LCP did not open".into(),
            Phase::Authentication => format!("the client did not finish authentication with {}", lcp::name(self.lcp.options.auth())),
            Phase::Network | Phase::Up => "neither IPCP nor IPv6CP opened".into(),
        };
        let cause = format!("{what} within {} s", self.config.timers.negotiation.as_secs());
        self.end(now, Fault::new(EndedBy::Timeout, cause));
    }

    fn echo_due(&self) -> Option<Instant> {
        self.echo.due(self.config.timers.echo_interval).filter(|_| self.lcp.is_opened())
    }

    fn echo_now(&mut self, now: Instant) {
        if self.echo.unanswered >= self.config.timers.echo_failures.max(1) {
            let cause = format!("the client did not answer {} LCP Echo-Requests", self.echo.unanswered);
            let ended = Ended { by: EndedBy::Silence, phase: self.phase(), cause };
            self.cancel(now);
            return self.down(ended);
        }
        self.echo.sent(now);
        let (id, magic) = (self.lcp.next_id(), self.lcp.options.magic());
        self.transmit(packet::frame(protocol::LCP, code::ECHO_REQUEST, id, &magic.to_be_bytes()));
    }
}

/// What a Terminate-Request says: text, or as Windows writes it its magic number, the octets 00 3C CD 74 and an error code.
fn reason_of(data: &[u8]) -> String {
    if let [_, _, _, _, 0x00, 0x3C, 0xCD, 0x74, a, b, c, d] = *data {
        let error = u32::from_be_bytes([a, b, c, d]);
        return if error == 0 { String::new() } else { format!(" with Windows error {error}") };
    }
    let text = std::str::from_utf8(data).unwrap_or_default();
    if text.is_empty() || text.len() > MAX_REASON || text.chars().any(char::is_control) {
        return String::new();
    }
    format!(": \"{text}\"")
}
