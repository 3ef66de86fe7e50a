//! The automaton at work: packets, identifiers, the restart timer. What the options mean is the business of [`Options`].
use crate::api::{EndedBy, Output, Timers};
use crate::automaton::{Action, Event, State, step};
use crate::packet::{self, Opt, Packet, code, options};
use crate::shown::{self, Shown};
use std::collections::VecDeque;
use std::time::Instant;

/// Naks and Rejects of one side in one negotiation. Every known client needs two or three.
const MAX_CORRECTIONS: u32 = 10;

/// Transmissions of a Terminate-Request: with the restart timer, the end comes after twice that time.
const MAX_TERMINATE: u32 = 2;

/// Why a negotiation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) by: EndedBy,
    pub(crate) cause: String,
}

impl Fault {
    pub(crate) fn new(by: EndedBy, cause: impl Into<String>) -> Self {
        Self { by, cause: cause.into() }
    }
}

/// The options of one control protocol, ours and the client's.
pub(crate) trait Options {
    const PROTOCOL: u16;
    const NAME: &'static str;

    /// Forgets what was agreed and refused.
    fn reset(&mut self);
    /// The option list of our next Configure-Request.
    fn request(&self) -> Vec<u8>;
    /// What to say to the client's Configure-Request; on [`Verdict::Ack`] it holds.
    fn judge(&mut self, asked: &[Opt<'_>]) -> Result<Verdict, Fault>;
    /// The client would rather have these values.
    fn naked(&mut self, suggested: &[Opt<'_>]) -> Result<(), Fault>;
    /// The client does not know these, each of them one of ours.
    fn rejected(&mut self, refused: &[Opt<'_>]) -> Result<(), Fault>;
    /// Our magic number for Echo-Reply; `None` where the protocol has no Echo.
    fn echo_magic(&self) -> Option<u32> {
        None
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ack,
    Nak(Vec<u8>),
    Reject(Vec<u8>),
}

/// Gathers the answer to a Configure-Request. Rejects come before Naks and never together with them (RFC 1661 section 5.4).
#[derive(Debug, Default)]
pub(crate) struct Review {
    reject: Vec<u8>,
    nak: Vec<u8>,
    seen: Vec<u8>,
}

impl Review {
    /// Notes the option; false, and rejected, if its kind came before in this request.
    pub(crate) fn first(&mut self, option: &Opt<'_>) -> bool {
        let first = !self.seen.contains(&option.kind);
        if first {
            self.seen.push(option.kind);
        } else {
            self.reject(option);
        }
        first
    }

    pub(crate) fn saw(&self, kind: u8) -> bool {
        self.seen.contains(&kind)
    }

    /// Order and bytes stay as they are.
    pub(crate) fn reject(&mut self, option: &Opt<'_>) {
        self.reject.extend_from_slice(option.bytes);
    }

    pub(crate) fn nak(&mut self, kind: u8, value: &[u8]) {
        packet::push(&mut self.nak, kind, value);
    }

    pub(crate) fn verdict(self) -> Verdict {
        match (self.reject.is_empty(), self.nak.is_empty()) {
            (false, _) => Verdict::Reject(self.reject),
            (true, false) => Verdict::Nak(self.nak),
            (true, true) => Verdict::Ack,
        }
    }
}

/// What an automaton needs of the world.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    pub(crate) now: Instant,
    pub(crate) timers: &'a Timers,
    pub(crate) peer_mru: u16,
    pub(crate) out: &'a mut VecDeque<Output>,
}

/// What the layer above must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Up,
    Down,
    Finished,
}

/// What a received packet may need as its answer.
#[derive(Debug)]
enum Reply<'a> {
    None,
    Configure { code: u8, id: u8, options: Vec<u8> },
    To(&'a Packet<'a>),
}

#[derive(Debug)]
pub(crate) struct Negotiation<P> {
    pub(crate) options: P,
    state: State,
    last_id: u8,
    /// Identifier and options of our Configure-Request, until it is answered: what repeats an answer is no answer.
    pending: Option<(u8, Vec<u8>)>,
    transmissions_left: u32,
    timer: Option<Instant>,
    /// The client's latest Configure-Request, and what became of it.
    judged: Option<(Vec<u8>, Event, Reply<'static>)>,
    corrections_sent: u32,
    corrections_received: u32,
    /// Data of our Terminate-Request.
    reason: Vec<u8>,
}

impl<P: Options> Negotiation<P> {
    pub(crate) fn new(options: P) -> Self {
        Self {
            options,
            state: State::Initial,
            last_id: 0,
            pending: None,
            transmissions_left: 0,
            timer: None,
            judged: None,
            corrections_sent: 0,
            corrections_received: 0,
            reason: Vec::new(),
        }
    }

    pub(crate) fn is_opened(&self) -> bool {
        self.state == State::Opened
    }

    /// Waits for the client to begin.
    pub(crate) fn is_starting(&self) -> bool {
        self.state == State::Starting
    }

    /// Waits for Terminate-Ack.
    pub(crate) fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    pub(crate) fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// A new identifier, also for packets outside the automaton.
    pub(crate) fn next_id(&mut self) -> u8 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// From now on a packet of the client or [`Negotiation::up`] begins the negotiation.
    pub(crate) fn open(&mut self, env: &mut Env<'_>) {
        self.event(env, Event::Open, &Reply::None);
    }

    /// Sends the first Configure-Request if none was sent.
    pub(crate) fn up(&mut self, env: &mut Env<'_>) {
        if self.is_starting() {
            self.event(env, Event::Up, &Reply::None);
        }
    }

    /// Terminate-Request with this reason, if anything was said at all.
    pub(crate) fn close(&mut self, env: &mut Env<'_>, reason: &str) {
        self.reason = reason.as_bytes().to_vec();
        self.event(env, Event::Close, &Reply::None);
    }

    pub(crate) fn timeout(&mut self, env: &mut Env<'_>) -> Change {
        if self.timer.is_none_or(|at| at > env.now) {
            return Change::None;
        }
        let event = if self.transmissions_left > 0 { Event::Timeout } else { Event::TimeoutLast };
        self.event(env, event, &Reply::None)
    }

    /// The client rejects the protocol itself.
    pub(crate) fn protocol_rejected(&mut self, env: &mut Env<'_>) {
        self.event(env, Event::FatalReject, &Reply::None);
    }

    /// Takes a packet of this protocol. What does not match a packet of ours is dropped.
    pub(crate) fn receive(&mut self, env: &mut Env<'_>, packet: &Packet<'_>) -> Result<Change, Fault> {
        self.up(env);
        let event = match packet.code {
            code::CONFIGURE_REQUEST => return self.configure_request(env, packet),
            code::CONFIGURE_ACK if self.is_answer(packet) => Event::Ack,
            code::CONFIGURE_NAK | code::CONFIGURE_REJECT if self.is_correction(packet)? => Event::NakOrReject,
            code::CONFIGURE_ACK | code::CONFIGURE_NAK | code::CONFIGURE_REJECT => return Ok(Change::None),
            code::TERMINATE_REQUEST => Event::TerminateRequest,
            code::TERMINATE_ACK => Event::TerminateAck,
            code::CODE_REJECT => return self.code_reject(env, packet),
            code::ECHO_REQUEST if self.options.echo_magic().is_some() && packet.data.len() < 4 => return Ok(Change::None),
            code::ECHO_REQUEST if self.options.echo_magic().is_some() => Event::Echo,
            _ => Event::UnknownCode,
        };
        if matches!(event, Event::Ack | Event::NakOrReject) {
            self.pending = None;
        }
        Ok(self.event(env, event, &Reply::To(packet)))
    }

    fn configure_request(&mut self, env: &mut Env<'_>, packet: &Packet<'_>) -> Result<Change, Fault> {
        let Some(asked) = options(packet.data) else { return Ok(Change::None) };
        if self.is_opened() {
            self.options.reset();
            self.judged = None;
        }
        let (bytes, event, reply) = match self.judged.take() {
            // A repetition is no insistence: our answer was lost.
            Some(same) if same.0 == packet.bytes => same,
            _ => self.judge(packet, &asked)?,
        };
        let change = self.event(env, event, &reply);
        self.judged = Some((bytes, event, reply));
        Ok(change)
    }

    fn judge(&mut self, packet: &Packet<'_>, asked: &[Opt<'_>]) -> Result<(Vec<u8>, Event, Reply<'static>), Fault> {
        let (event, code, options) = match self.options.judge(asked)? {
            Verdict::Ack => (Event::GoodRequest, code::CONFIGURE_ACK, packet.data.to_vec()),
            Verdict::Nak(options) => (Event::BadRequest, code::CONFIGURE_NAK, options),
            Verdict::Reject(options) => (Event::BadRequest, code::CONFIGURE_REJECT, options),
        };
        self.corrections_sent = match event {
            Event::BadRequest => {
                let said = || format!("insists on options that are refused (last: {})", words::<P>(code, packet.id, &options));
                corrected::<P>(self.corrections_sent, said)?
            }
            _ => 0,
        };
        Ok((packet.bytes.to_vec(), event, Reply::Configure { code, id: packet.id, options }))
    }

    /// Is it an answer to our latest Configure-Request, with the very options if it is an Ack (RFC 1661 section 5.2)?
    fn is_answer(&self, packet: &Packet<'_>) -> bool {
        let Some((id, sent)) = &self.pending else { return false };
        packet.id == *id && (packet.code != code::CONFIGURE_ACK || packet.data == sent)
    }

    /// Follows a Nak or Reject; false if it is none of our request.
    fn is_correction(&mut self, packet: &Packet<'_>) -> Result<bool, Fault> {
        let (true, Some(said)) = (self.is_answer(packet), options(packet.data)) else { return Ok(false) };
        let sent = self.pending.as_ref().and_then(|(_, sent)| options(sent)).unwrap_or_default();
        let reject = packet.code == code::CONFIGURE_REJECT;
        if reject && (said.is_empty() || said.iter().any(|option| !sent.contains(option))) {
            return Ok(false);
        }
        self.corrections_received = corrected::<P>(self.corrections_received, || {
            format!("refuses whatever is offered (last: {})", words::<P>(packet.code, packet.id, packet.data))
        })?;
        if reject {
            self.options.rejected(&said)?;
        } else {
            self.options.naked(&said)?;
        }
        Ok(true)
    }

    fn code_reject(&mut self, env: &mut Env<'_>, packet: &Packet<'_>) -> Result<Change, Fault> {
        let fatal = packet.data.first().filter(|code| (code::CONFIGURE_REQUEST..=code::CODE_REJECT).contains(*code));
        let Some(code) = fatal else { return Ok(self.event(env, Event::HarmlessReject, &Reply::None)) };
        let change = self.event(env, Event::FatalReject, &Reply::None);
        if self.state == State::Closed {
            return Ok(change);
        }
        Err(Fault::new(EndedBy::Incompatible, format!("the client rejects code {code} of {}", P::NAME)))
    }

    fn event(&mut self, env: &mut Env<'_>, event: Event, reply: &Reply<'_>) -> Change {
        let Some((actions, next)) = step(self.state, event) else { return Change::None };
        let mut change = Change::None;
        for action in actions {
            match action {
                Action::ThisLayerUp => change = Change::Up,
                Action::ThisLayerDown => change = Change::Down,
                Action::ThisLayerFinished => change = Change::Finished,
                Action::InitializeRestartCount => {
                    let terminate = actions.contains(&Action::SendTerminateRequest);
                    self.transmissions_left = if terminate { MAX_TERMINATE } else { env.timers.max_configure.max(1) };
                }
                Action::ZeroRestartCount => {
                    self.transmissions_left = 0;
                    self.timer = Some(env.now + env.timers.restart);
                }
                Action::SendConfigureRequest => self.send_request(env, event == Event::Timeout),
                Action::SendTerminateRequest => self.send_terminate_request(env),
                Action::SendConfigureReply | Action::SendTerminateAck | Action::SendCodeReject | Action::SendEchoReply => {
                    self.send_reply(env, *action, reply);
                }
            }
        }
        self.enter(next, change);
        change
    }

    fn enter(&mut self, next: State, change: Change) {
        self.state = next;
        if matches!(next, State::Initial | State::Starting | State::Closed | State::Stopped | State::Opened) {
            self.timer = None;
        }
        if matches!(change, Change::Up | Change::Down) {
            self.corrections_received = 0;
        }
    }

    /// A repetition keeps its identifier, so that a late answer still counts.
    fn send_request(&mut self, env: &mut Env<'_>, again: bool) {
        let (id, options) = match self.pending.take() {
            Some(same) if again => same,
            _ => (self.next_id(), self.options.request()),
        };
        self.transmissions_left = self.transmissions_left.saturating_sub(1);
        self.timer = Some(env.now + env.timers.restart);
        send(env, packet::frame(P::PROTOCOL, code::CONFIGURE_REQUEST, id, &options));
        self.pending = Some((id, options));
    }

    fn send_terminate_request(&mut self, env: &mut Env<'_>) {
        self.pending = None;
        self.transmissions_left = self.transmissions_left.saturating_sub(1);
        self.timer = Some(env.now + env.timers.restart);
        let id = self.next_id();
        send(env, packet::frame(P::PROTOCOL, code::TERMINATE_REQUEST, id, &self.reason));
    }

    fn send_reply(&mut self, env: &mut Env<'_>, action: Action, reply: &Reply<'_>) {
        let room = usize::from(env.peer_mru).saturating_sub(4);
        let frame = match (action, reply) {
            (Action::SendConfigureReply, Reply::Configure { code, id, options }) => packet::frame(P::PROTOCOL, *code, *id, options),
            (Action::SendTerminateAck, Reply::To(packet)) => packet::frame(P::PROTOCOL, code::TERMINATE_ACK, packet.id, &[]),
            (Action::SendTerminateAck, Reply::Configure { id, .. }) => packet::frame(P::PROTOCOL, code::TERMINATE_ACK, *id, &[]),
            (Action::SendCodeReject, Reply::To(packet)) => {
                let id = self.next_id();
                packet::frame(P::PROTOCOL, code::CODE_REJECT, id, &packet.bytes[..packet.bytes.len().min(room)])
            }
            (Action::SendEchoReply, Reply::To(packet)) => {
                let mut data = self.options.echo_magic().unwrap_or(0).to_be_bytes().to_vec();
                data.extend_from_slice(&packet.data[4..packet.data.len().min(room.max(4))]);
                packet::frame(P::PROTOCOL, code::ECHO_REPLY, packet.id, &data)
            }
            _ => return,
        };
        send(env, frame);
    }
}

fn corrected<P: Options>(so_far: u32, what: impl FnOnce() -> String) -> Result<u32, Fault> {
    if so_far < MAX_CORRECTIONS {
        return Ok(so_far + 1);
    }
    Err(Fault::new(EndedBy::Incompatible, format!("{} does not converge, and is ended here: the client {}", P::NAME, what())))
}

/// `LCP Configure-Reject 7: MRU=100`
fn words<P: Options>(code: u8, id: u8, options: &[u8]) -> String {
    let shown = shown::frame(&packet::frame(P::PROTOCOL, code, id, options));
    let part = |(name, value): &(String, Shown)| match value {
        Shown::Text(text) => format!("{name}={text}"),
        Shown::Eap(_) | Shown::Withheld(_) => name.clone(),
    };
    format!("{}: {}", shown.title, shown.parts.iter().map(part).collect::<Vec<_>>().join(", "))
}

pub(crate) fn send(env: &mut Env<'_>, frame: Vec<u8>) {
    env.out.push_back(Output::Transmit(frame));
}
