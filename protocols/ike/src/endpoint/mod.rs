//! All sessions of one process: which session a datagram belongs to, who may begin one, when each is called.
mod admission;
mod clients;
mod notices;
mod pace;
mod shared;
mod strangers;

pub(crate) use admission::Rival;
pub(crate) use shared::{Dial, Elsewhere, InitKey, Owner, Replace, Shared};

use crate::api::{CipherPolicy, CloseReason, Command, Counters, Input, Output, Path, ResponderConfig, SessionId, TimeoutReason};
use crate::redirect::Trail;
use crate::sa::{Core, Phase, Role, Session, Signal};
use crate::seen::{self, Content, Seen, Watch};
use crate::wire::{Exchange, Header, Message, ParseError, Spi};
use admission::Admission;
use clients::Clients;
use crypto::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use strangers::Strangers;

/// When a session is called again that had nothing to do when it wanted to be called.
const STANDSTILL: Duration = Duration::from_secs(1);

/// All IKE SAs of a gateway (or of a test client).
pub struct Endpoint {
    shared: Shared,
    sessions: BTreeMap<SessionId, Session>,
    clients: Clients,
    /// One entry for each session that wants to be called.
    timers: BTreeMap<(Instant, SessionId), TimeoutReason>,
    admission: Admission,
    strangers: Strangers,
    last_session: u64,
    established: usize,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("sessions", &self.sessions.len())
            .field("timers", &self.timers.len())
            .field("registered", &self.shared.registered())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// `responder` is `None` for a pure client.
    pub fn new(responder: Option<ResponderConfig>, random: Box<dyn Random>, now: Instant) -> Self {
        let mut shared = Shared::new(responder, random, now);
        let admission = Admission::new(&mut shared);
        Self {
            shared,
            sessions: BTreeMap::new(),
            clients: Clients::default(),
            timers: BTreeMap::new(),
            admission,
            strangers: Strangers::new(now),
            last_session: 0,
            established: 0,
        }
    }

    /// Takes one input. Poll outputs until `None` before the next.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.shared.now = now;
        match input {
            Input::Datagram { path, message, unix_time } => {
                self.shared.unix_time = unix_time;
                self.shared.counters.received += 1;
                self.datagram(path, message);
            }
            Input::Answer(id, answer) => {
                if let Some(session) = self.shared.answered(id) {
                    self.signal(session, Signal::Answer(id, answer));
                }
            }
            Input::Timeout => self.timeout(now),
            Input::Connect(config) => {
                self.dial(Dial { config: *config, trail: Trail::default() });
            }
            Input::Command(session, command) => self.signal(session, Signal::Command(command)),
            Input::Redirect { session, to } => self.signal(session, Signal::Redirect(to)),
            Input::Worn { session, spi_in } => self.signal(session, Signal::Worn(spi_in)),
            Input::Drain(drain) => self.shared.drain = drain,
            Input::Wanted(session) => self.signal(session, Signal::Wanted),
            Input::PeerMoved { session, path } => self.signal(session, Signal::PeerMoved(path)),
            Input::Rehome { session, path } => self.signal(session, Signal::Rehome(path)),
            Input::Configure(config) => self.shared.responder = Some(Arc::from(config)),
        }
        self.replace();
        for dial in std::mem::take(&mut self.shared.dials) {
            self.dial(dial);
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }

    /// When to call with [`Input::Timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        let session = self.timers.first_key_value().map(|((at, _), reason)| (*at, *reason));
        let cookie = self.admission.rotation().map(|at| (at, TimeoutReason::CookieSecret));
        [session, cookie].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// What is told of messages from now on, for who follows a client. Off, it costs nothing.
    pub fn watch(&mut self, watch: Watch) {
        self.shared.watch = watch;
    }

    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    /// What a responder accepts now.
    pub fn ciphers(&self) -> Option<&CipherPolicy> {
        self.shared.responder.as_ref().map(|responder| &responder.ciphers)
    }

    /// The client of this session goes where a gateway sends it (RFC 5685).
    pub fn follows_redirects(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.core.traits.redirect)
    }

    /// When a protected request of an IKE SA that this endpoint does not know last came from an address: of a gateway that was restarted, or of another
    /// one behind the same balancer. The newest 64 addresses are kept.
    pub fn stranger(&self, address: std::net::IpAddr) -> Option<Instant> {
        self.strangers.last(address)
    }

    /// (half-open, established)
    pub fn sessions(&self) -> (usize, usize) {
        (self.half_open(), self.established)
    }

    /// The name of the state that a session is in, for tests and logs; `None` when there is no such session any more.
    pub fn state(&self, session: SessionId) -> Option<&'static str> {
        self.sessions.get(&session).map(Session::state_name)
    }

    fn half_open(&self) -> usize {
        self.sessions.len() - self.established - self.shared.draining
    }

    /// The next session number, for a session that is not IKE: numbers are one sequence over all tunnel types.
    pub fn reserve_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    fn dial(&mut self, dial: Dial) {
        let id = self.reserve_session();
        let path = dial.config.path;
        let mut core = Core::new(id, Role::Initiator(Arc::new(dial.config)), path, self.shared.now);
        core.trail = dial.trail;
        let session = Session::initiate(core, &mut self.shared);
        self.insert(id, session);
    }

    fn datagram(&mut self, path: Path, message: Vec<u8>) {
        let header = match Header::parse(&message) {
            Ok(header) => header,
            Err(error) => return self.no_header(path, &message, error),
        };
        if header.exchange == Exchange::IkeSaInit {
            return self.sa_init(path, &header, message);
        }
        let own = if header.flags.initiator { header.responder_spi } else { header.initiator_spi };
        let Some(id) = self.shared.owner(own) else {
            self.saw_stranger(None, path, &message, || Content::Dropped("unknown_spi"));
            return self.strangers.answer(&mut self.shared, path, &header, &message);
        };
        self.with(id, |session, shared| session.datagram(shared, path, own, &header, &message));
    }

    /// A datagram that is no IKEv2.
    fn no_header(&mut self, path: Path, message: &[u8], error: ParseError) {
        if let ParseError::MajorVersion(header) = error {
            self.saw_stranger(None, path, message, || Content::Dropped("unsupported_version"));
            return self.admission.refuse_version(&mut self.shared, path, &header);
        }
        self.saw_stranger(None, path, message, || Content::Malformed(error.to_string()));
        self.shared.counters.malformed += 1;
    }

    fn saw_stranger(&mut self, session: Option<SessionId>, path: Path, message: &[u8], content: impl FnOnce() -> Content) {
        if self.shared.is_watched() {
            self.shared.saw(session, Seen::received(path, message, content()));
        }
    }

    fn sa_init(&mut self, path: Path, header: &Header, message: Vec<u8>) {
        if header.flags.response {
            return self.sa_init_response(path, header, message);
        }
        if header.responder_spi != Spi(0) || header.initiator_spi == Spi(0) || header.message_id != 0 || !header.flags.initiator {
            self.saw_stranger(None, path, &message, || Content::Dropped("malformed"));
            self.shared.counters.malformed += 1;
            return;
        }
        let draining = self.shared.draining;
        let load = admission::Load { half_open: self.half_open(), draining, sessions: self.sessions.len() - draining };
        let watched = self.shared.is_watched().then(|| (message.clone(), self.shared.counters, self.shared.out.len()));
        let rival = self.rival(header.initiator_spi, path);
        match self.admission.admit(&mut self.shared, load, rival, path, header, message) {
            admission::Verdict::Refused => {
                if let Some((message, before, at)) = watched {
                    self.saw_refused(path, &message, &before, at);
                }
            }
            admission::Verdict::Repeated(id) => {
                if let Some((message, ..)) = watched {
                    self.shared.saw(Some(id), Seen::received(path, &message, Content::Repeated));
                }
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.repeat_init(&mut self.shared, path);
                }
            }
            admission::Verdict::Retry(id, request) => {
                self.saw_stranger(Some(id), path, &request.bytes, || Content::Payloads(request.payloads.iter().cloned().collect()));
                self.signal(id, Signal::Retry(request));
            }
            admission::Verdict::Begin(config, request) => {
                let id = self.reserve_session();
                let core = Core::new(id, Role::Responder(config), path, self.shared.now);
                let session = Session::respond(core, &mut self.shared, *request);
                self.insert(id, session);
            }
        }
    }

    /// The session in its login with this SPIi from there, and which first messages may come beside its own.
    fn rival(&self, spi_i: Spi, path: Path) -> Option<Rival> {
        let sessions = self.shared.sessions_of_origin(spi_i, path.remote).filter_map(|id| self.sessions.get(&id));
        sessions.filter_map(Session::rival).min()
    }

    /// A request that began no session, told before the answer that it may have got.
    fn saw_refused(&mut self, path: Path, message: &[u8], before: &Counters, at: usize) {
        let is_silent = before.sent == self.shared.counters.sent;
        let dropped = seen::dropped(before, &self.shared.counters).filter(|_| is_silent);
        let content = dropped.map_or_else(|| Content::clear(message), Content::Dropped);
        self.shared.out.insert(at, Output::Seen(None, Box::new(Seen::received(path, message, content))));
    }

    fn sa_init_response(&mut self, path: Path, header: &Header, message: Vec<u8>) {
        let Some(id) = self.shared.owner(header.initiator_spi).filter(|_| !header.flags.initiator) else {
            self.shared.counters.unknown_spi += 1;
            return self.saw_stranger(None, path, &message, || Content::Dropped("unknown_spi"));
        };
        self.saw_stranger(Some(id), path, &message, || Content::clear(&message));
        match Message::parse(&message) {
            Ok(parsed) if !parsed.protected => self.signal(id, Signal::Plain(Box::new((parsed, message, path)))),
            _ => self.shared.counters.malformed += 1,
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.admission.rotate(&mut self.shared);
        while let Some((&(at, id), _)) = self.timers.first_key_value()
            && at <= now
        {
            self.signal(id, Signal::Timeout);
            // A deadline that has not moved would be called for ever; later ones of the session must not be lost with it.
            if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.timer == Some(at)) {
                let reason = self.timers.remove(&(at, id));
                let again = now + STANDSTILL;
                session.timer = Some(again);
                self.timers.insert((again, id), reason.unwrap_or(TimeoutReason::Retransmit));
            }
        }
    }

    fn signal(&mut self, id: SessionId, signal: Signal) {
        self.with(id, |session, shared| session.handle(shared, signal));
    }

    /// Lets one session work, then keeps the books.
    fn with(&mut self, id: SessionId, work: impl FnOnce(&mut Session, &mut Shared)) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.uncount(&session);
        work(&mut session, &mut self.shared);
        self.insert(id, session);
    }

    fn insert(&mut self, id: SessionId, mut session: Session) {
        let phase = session.phase();
        let owner = session.core.owner.as_ref().filter(|_| phase == Phase::Established);
        self.clients.file(id, owner, session.core.silent);
        if phase == Phase::Gone {
            if let Some(at) = session.timer {
                self.timers.remove(&(at, id));
            }
            session.core.release(&mut self.shared);
            return;
        }
        self.schedule(id, &mut session);
        self.count(&session);
        self.sessions.insert(id, session);
    }

    fn schedule(&mut self, id: SessionId, session: &mut Session) {
        let deadline = session.deadline();
        let at = deadline.map(|(at, _)| at);
        if session.timer != at
            && let Some(old) = session.timer
        {
            self.timers.remove(&(old, id));
        }
        session.timer = at;
        if let Some((at, reason)) = deadline {
            self.timers.insert((at, id), reason);
        }
    }

    fn count(&mut self, session: &Session) {
        match session.phase() {
            Phase::Established => self.established += 1,
            Phase::Draining => self.shared.draining += 1,
            Phase::HalfOpen if !session.core.is_initiator() => self.admission.count(session.core.first_remote()),
            Phase::HalfOpen | Phase::Gone => {}
        }
    }

    fn uncount(&mut self, session: &Session) {
        match session.phase() {
            Phase::Established => self.established -= 1,
            Phase::Draining => self.shared.draining -= 1,
            Phase::HalfOpen if !session.core.is_initiator() => self.admission.uncount(session.core.first_remote()),
            Phase::HalfOpen | Phase::Gone => {}
        }
    }

    /// INITIAL_CONTACT: older sessions of the same client end.
    fn replace(&mut self) {
        for Replace { by, owner, remote, elsewhere } in std::mem::take(&mut self.shared.replaces) {
            let at_remote = |id: &SessionId| self.sessions.get(id).is_some_and(|session| session.core.path.remote.ip() == remote);
            let (here, away): (BTreeSet<_>, BTreeSet<_>) = self.clients.of(&owner).filter(|id| *id != by).partition(at_remote);
            let silent: BTreeSet<_> = self.clients.silent_of(&owner.user).filter(|id| *id != by).collect();
            for id in &away - &silent {
                match elsewhere {
                    Elsewhere::Ends => self.signal(id, Signal::Command(Command::Close(CloseReason::Replaced))),
                    Elsewhere::IsAsked => self.signal(id, Signal::Superseded),
                    Elsewhere::Stays => {}
                }
            }
            for id in &here | &silent {
                self.signal(id, Signal::Command(Command::Close(CloseReason::Replaced)));
            }
        }
    }
}
