//! The control half of the gateway: one struct that owns the IKE machine, logins, records and sessions. It does no IO: what must leave
//! is an [`Effect`], what slow helpers answer comes in through a method, and time is an argument.
mod authenticate;
mod observe;
mod report;
mod session;

pub use report::Summary;
pub use session::Session;

use crate::attempts::{AttemptKey, Attempts};
use crate::login::Authority;
use ike::{Answer, AskId, Command, Input, Output, Path, Question, SessionId};
use radius_client::{ConversationId, Ticket};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How often sessions with an idle limit are looked at.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// The moment an input is handled: monotonic for timers, wall clock for certificates, policies and accounting.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub wall: jiff::Timestamp,
}

/// Work for the shell.
#[derive(Debug)]
pub enum Effect {
    Transmit {
        path: Path,
        message: Vec<u8>,
    },
    /// Cryptography for the worker threads.
    Compute(AskId, Question),
    Radius(radius_client::Input),
}

/// What a session moved through its tunnels, rekeys included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client.
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
}

/// The data plane as the control half sees it.
pub trait Plane {
    /// Starts a Child SA. An error text ends the session.
    fn install(&mut self, child: ike::ChildSa) -> Result<(), String>;
    fn use_outbound(&mut self, session: SessionId, spi_in: u32);
    fn remove(&mut self, session: SessionId, spi_in: u32);
    fn repath(&mut self, session: SessionId, path: Path, encapsulate: bool);
    /// Totals since the session began; stays readable after the last `remove`, until `forget`.
    fn traffic(&self, session: SessionId) -> Traffic;
    fn forget(&mut self, session: SessionId);
}

/// Settings of the control half that are not the machines' own.
#[derive(Debug, Clone)]
pub struct Settings {
    pub nas_identifier: String,
    /// NAS-IP-Address; `None`: the address the client dialled.
    pub nas_ip: Option<std::net::IpAddr>,
    /// False: there is no accounting server, sessions are not reported.
    pub accounting: bool,
}

/// Everything known of one IKE session, from its first message to its end.
#[derive(Debug)]
struct Live {
    attempt: AttemptKey,
    path: Path,
    /// Where NAT was detected: `none`, `client`, `gateway`, `both`.
    nat: &'static str,
    ike_suite: Option<String>,
    /// Subject of the certificate that the client was shown.
    presented: Option<String>,
    esp_suite: Option<String>,
    /// The login in progress or done.
    login: Option<authenticate::Progress>,
    /// Set once the session is up.
    session: Option<Session>,
}

/// The control half.
#[derive(Debug)]
pub struct Gateway<P> {
    endpoint: ike::Endpoint,
    pub attempts: Attempts,
    authority: Authority,
    settings: Settings,
    pub plane: P,
    live: BTreeMap<SessionId, Live>,
    tickets: HashMap<Ticket, (SessionId, AskId)>,
    /// The same, by question.
    asked: HashMap<AskId, Ticket>,
    next_ticket: u64,
    /// Answers to questions that could be answered while outputs were drained.
    answers: VecDeque<(AskId, Answer)>,
    commands: VecDeque<(SessionId, Command)>,
    deadlines: BTreeSet<(Instant, SessionId)>,
    idle_check: Option<Instant>,
    effects: VecDeque<Effect>,
    /// Accounting requests that are not answered yet.
    accounting_open: usize,
    /// Nobody new comes in any more.
    stopping: bool,
    totals: Totals,
}

/// Counters of logins since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub attempts: u64,
    pub established: u64,
    pub failed: u64,
    pub accounting_lost: u64,
}

impl<P: Plane> Gateway<P> {
    pub fn new(endpoint: ike::Endpoint, attempts: Attempts, authority: Authority, settings: Settings, plane: P) -> Self {
        Self {
            endpoint,
            attempts,
            authority,
            settings,
            plane,
            live: BTreeMap::new(),
            tickets: HashMap::new(),
            asked: HashMap::new(),
            next_ticket: 0,
            answers: VecDeque::new(),
            commands: VecDeque::new(),
            deadlines: BTreeSet::new(),
            idle_check: None,
            effects: VecDeque::new(),
            accounting_open: 0,
            stopping: false,
            totals: Totals::default(),
        }
    }

    /// An IKE message arrived.
    pub fn datagram(&mut self, now: Now, path: Path, message: Vec<u8>) {
        if self.stopping && is_ike_sa_init(&message) {
            return;
        }
        self.feed(now, Input::Datagram { path, message, unix_time: now.wall.as_second() });
    }

    /// A worker answered a cryptographic question.
    pub fn computed(&mut self, now: Now, id: AskId, answer: Answer) {
        self.feed(now, Input::Answer(id, answer));
    }

    /// `poll_timeout` has passed.
    pub fn timeout(&mut self, now: Now) {
        self.end_expired(now);
        self.end_idle(now);
        self.feed(now, Input::Timeout);
    }

    /// Ends a session.
    pub fn close(&mut self, now: Now, session: SessionId, reason: ike::CloseReason) {
        self.feed(now, Input::Command(session, Command::Close(reason)));
    }

    /// Ends all sessions, for a regular stop.
    pub fn shutdown(&mut self, now: Now) {
        self.stopping = true;
        let sessions: Vec<_> = self.live.keys().copied().collect();
        for session in sessions {
            // Now, not when the DELETE is answered: a client that sleeps must not stay online in the books.
            self.account_stop(now, session, ike::CloseReason::Shutdown);
            self.close(now, session, ike::CloseReason::Shutdown);
        }
    }

    /// True once nothing waits for a peer or a server.
    pub fn is_quiet(&self) -> bool {
        self.live.is_empty() && self.accounting_open == 0
    }

    /// When [`Gateway::timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let machine = self.endpoint.poll_timeout().map(|(at, _)| at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        [machine, deadline, self.idle_check].into_iter().flatten().min()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn feed(&mut self, now: Now, input: Input) {
        self.endpoint.handle(now.instant, input);
        self.settle(now);
    }

    /// Drains the machine; answers and commands that arise meanwhile go in only when it is drained, as its contract says.
    fn settle(&mut self, now: Now) {
        loop {
            while let Some(output) = self.endpoint.poll_output() {
                self.output(now, output);
            }
            let input = match (self.answers.pop_front(), self.commands.pop_front()) {
                (Some((id, answer)), command) => {
                    self.commands.extend(command);
                    Input::Answer(id, answer)
                }
                (None, Some((session, command))) => Input::Command(session, command),
                (None, None) => return,
            };
            self.endpoint.handle(now.instant, input);
        }
    }

    fn output(&mut self, now: Now, output: Output) {
        match output {
            Output::Transmit { path, message } => self.effects.push_back(Effect::Transmit { path, message }),
            Output::Ask(id, session, Question::Eap(question)) => self.relay_eap(now, session, id, question),
            Output::Ask(id, session, Question::Certificate { certificate, request, .. }) => {
                let answer = self.admit_certificate(now, session, &certificate, request);
                self.answers.push_back((id, Answer::Certificate(answer)));
            }
            Output::Ask(id, _, question) => self.effects.push_back(Effect::Compute(id, question)),
            Output::Cancel(id) => self.cancel(id),
            Output::InstallChild(child) => self.install(now, *child),
            Output::UseOutbound { session, spi_in } => self.plane.use_outbound(session, spi_in),
            Output::RemoveChild { session, spi_in } => self.plane.remove(session, spi_in),
            Output::Repath { session, path, encapsulate } => self.plane.repath(session, path, encapsulate),
            Output::Event(session, event) => self.observe(now, session, event),
        }
    }

    fn install(&mut self, now: Now, child: ike::ChildSa) {
        let session = child.session;
        if let Err(error) = self.plane.install(child) {
            tracing::warn!(%error, "the data plane refuses a Child SA");
            self.note(now, session, format!("the data plane refuses the Child SA: {error}"));
            self.commands.push_back((session, Command::Close(ike::CloseReason::Failed)));
        }
    }

    fn cancel(&mut self, id: AskId) {
        let Some(ticket) = self.asked.remove(&id) else { return };
        let Some((session, _)) = self.tickets.remove(&ticket) else { return };
        self.effects.push_back(Effect::Radius(radius_client::Input::Forget(conversation(session))));
    }

    fn note(&mut self, now: Now, session: SessionId, text: String) {
        let Some(live) = self.live.get(&session) else { return };
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.note(now.instant, text);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

/// Exchange type 34 in the IKE header (RFC 7296 section 3.1).
fn is_ike_sa_init(message: &[u8]) -> bool {
    message.get(18) == Some(&34)
}

fn conversation(session: SessionId) -> ConversationId {
    ConversationId(session.0)
}
