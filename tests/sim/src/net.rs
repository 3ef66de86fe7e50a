//! Hosts, the wire between them, and the clock.
use crate::{Answers, UNIX_TIME};
use crypto::{Random, SeededRandom};
use ike::{
    Answer, AskId, ChildSa, CloseReason, Command, ConnectionId, Endpoint, Event, Failure, InitiatorConfig, Input, Output, Path,
    ResponderConfig, Seen, SessionId, Stranger, TimeoutReason,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What the wire does to datagrams, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub loss: u32,
    pub duplicate: u32,
    /// Each datagram is late by up to this much, at random, and so may be overtaken.
    pub jitter: Duration,
}

/// What becomes of a datagram that a case looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop,
    Change(Vec<u8>),
}

/// Index of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// A translator in front of one inside address.
#[derive(Debug, Clone)]
pub struct Nat {
    pub inside: IpAddr,
    pub outside: IpAddr,
    /// Outside ports are handed out from here on.
    pub next_port: u16,
    mappings: BTreeMap<(SocketAddr, SocketAddr), u16>,
}

impl Nat {
    pub fn new(inside: IpAddr, outside: IpAddr) -> Self {
        Self { inside, outside, next_port: 40_000, mappings: BTreeMap::new() }
    }

    /// Forgets all mappings, as a rebooted router does.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    fn leave(&mut self, source: SocketAddr, destination: SocketAddr) -> SocketAddr {
        let next = &mut self.next_port;
        let port = *self.mappings.entry((source, destination)).or_insert_with(|| {
            *next += 1;
            *next
        });
        SocketAddr::new(self.outside, port)
    }

    fn enter(&self, source: SocketAddr, destination: SocketAddr) -> Option<SocketAddr> {
        self.mappings.iter().find(|((_, peer), port)| *peer == source && **port == destination.port()).map(|((inside, _), _)| *inside)
    }
}

/// One machine and everything it said.
pub struct Host {
    pub endpoint: Endpoint,
    pub answers: Answers,
    addresses: Vec<IpAddr>,
    pub events: Vec<(SessionId, Event)>,
    /// Child SAs that receive, by inbound SPI.
    pub children: BTreeMap<u32, ChildSa>,
    /// Inbound SPI of the child that sends, by session.
    pub outbound: BTreeMap<SessionId, u32>,
    /// Child SAs, by inbound SPI, that the machine says the peer has.
    pub proven: BTreeSet<u32>,
    pub repaths: Vec<(SessionId, Path, bool)>,
    pub sent: Vec<(Path, Vec<u8>)>,
    /// What was told of messages.
    pub seen: Vec<(Option<SessionId>, Seen)>,
    /// What was told of those without a session.
    pub strangers: Vec<(IpAddr, Stranger)>,
    open: BTreeSet<AskId>,
    pub cancelled: usize,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("sessions", &self.endpoint.sessions()).finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// The machine holds nothing: no session, timer, SPI or question.
    pub fn is_empty(&self) -> bool {
        format!("{:?}", self.endpoint).starts_with("Endpoint { sessions: 0, timers: 0, registered: 0,")
    }

    /// SPIs, requests and questions that the machine remembers.
    ///
    /// # Panics
    /// When its text has changed.
    pub fn registered(&self) -> usize {
        let text = format!("{:?}", self.endpoint);
        let number = text.split("registered: ").nth(1).and_then(|rest| rest.split(',').next());
        number.and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Reasons and failures of the sessions that ended.
    pub fn closed(&self) -> Vec<(SessionId, CloseReason, Option<Failure>)> {
        let closed = |(session, event): &(SessionId, Event)| match event {
            Event::Closed(reason, failure) => Some((*session, *reason, failure.clone())),
            _ => None,
        };
        self.events.iter().filter_map(closed).collect()
    }

    pub fn failure(&self) -> Option<Failure> {
        self.closed().into_iter().find_map(|(_, _, failure)| failure)
    }

    /// Sessions that came up, ended ones included.
    pub fn established(&self) -> Vec<SessionId> {
        let up = |(session, event): &(SessionId, Event)| matches!(event, Event::Established { .. }).then_some(*session);
        self.events.iter().filter_map(up).collect()
    }

    pub fn rekeyed(&self, of_ike: bool) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Rekeyed { ike } if *ike == of_ike)).count()
    }

    pub fn notes(&self) -> String {
        let note = |(_, event): &(SessionId, Event)| match event {
            Event::Note(text) => Some(format!("{text}\n")),
            _ => None,
        };
        self.events.iter().filter_map(note).collect()
    }
}

enum Arrival {
    Datagram { path: Path, message: Vec<u8> },
    Answer { host: HostId, id: AskId, answer: Answer },
}

type Filter = Box<dyn FnMut(&Path, &[u8]) -> Verdict>;

/// The world.
pub struct Sim {
    pub hosts: Vec<Host>,
    pub faults: Faults,
    pub nat: Option<Nat>,
    /// Looks at every datagram before the wire has it.
    pub filter: Option<Filter>,
    /// TCP connections that carry nothing any more; others lose nothing and keep the order.
    pub broken: BTreeSet<ConnectionId>,
    now: Instant,
    start: Instant,
    seed: u64,
    random: SeededRandom,
    queue: BTreeMap<(Instant, u64), Arrival>,
    sequence: u64,
}

/// Time on the wire without jitter.
const LATENCY: Duration = Duration::from_millis(10);

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let random = SeededRandom::new(seed);
        Self {
            hosts: Vec::new(),
            faults: Faults::default(),
            nat: None,
            filter: None,
            broken: BTreeSet::new(),
            now,
            start: now,
            seed,
            random,
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub fn add(&mut self, addresses: &[IpAddr], responder: Option<ResponderConfig>) -> HostId {
        let id = HostId(self.hosts.len());
        let seed = self.seed.wrapping_mul(31).wrapping_add(id.0 as u64 + 1);
        self.hosts.push(Host {
            endpoint: Endpoint::new(responder, Box::new(SeededRandom::new(seed)), self.now),
            answers: Answers::new(seed),
            addresses: addresses.to_vec(),
            events: Vec::new(),
            children: BTreeMap::new(),
            outbound: BTreeMap::new(),
            proven: BTreeSet::new(),
            repaths: Vec::new(),
            sent: Vec::new(),
            seen: Vec::new(),
            strangers: Vec::new(),
            open: BTreeSet::new(),
            cancelled: 0,
        });
        id
    }

    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0]
    }

    pub fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0]
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub fn connect(&mut self, host: HostId, config: InitiatorConfig) {
        self.input(host, Input::Connect(Box::new(config)));
    }

    pub fn command(&mut self, host: HostId, session: SessionId, command: Command) {
        self.input(host, Input::Command(session, command));
    }

    /// Hands a datagram to whoever has `path.remote`, now and whole: `path` is the sender's.
    pub fn inject(&mut self, path: Path, message: Vec<u8>) {
        self.arrive(path, message);
    }

    pub fn input(&mut self, host: HostId, input: Input) {
        self.hosts[host.0].endpoint.handle(self.now, input);
        self.drain(host);
    }

    /// Runs until `done` or for `limit`; whether it was done.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            let Some(at) = self.next().filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.step(at);
        }
        true
    }

    pub fn run_for(&mut self, limit: Duration) {
        self.run_until(limit, |_| false);
    }

    fn next(&self) -> Option<Instant> {
        let timeouts = self.hosts.iter().filter_map(|host| host.endpoint.poll_timeout()).map(|(at, _): (Instant, TimeoutReason)| at);
        let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
        timeouts.chain(arrival).min()
    }

    fn step(&mut self, at: Instant) {
        self.now = self.now.max(at);
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Arrival::Datagram { path, message } => self.arrive(path, message),
                Arrival::Answer { host, id, answer } => {
                    if self.hosts[host.0].open.remove(&id) {
                        self.input(host, Input::Answer(id, answer));
                    }
                }
            }
        }
        for index in 0..self.hosts.len() {
            let due = self.hosts[index].endpoint.poll_timeout().is_some_and(|(at, _)| at <= self.now);
            if due {
                self.input(HostId(index), Input::Timeout);
                let next = self.hosts[index].endpoint.poll_timeout();
                assert!(next.is_none_or(|(at, _)| at > self.now), "the timer of host {index} stands still: {next:?}");
            }
        }
    }

    fn drain(&mut self, host: HostId) {
        while let Some(output) = self.hosts[host.0].endpoint.poll_output() {
            self.output(host, output);
        }
    }

    fn output(&mut self, id: HostId, output: Output) {
        let host = &mut self.hosts[id.0];
        match output {
            Output::Transmit { path, message } => {
                host.sent.push((path, message.clone()));
                self.transmit(path, message);
            }
            Output::Ask(ask, _, question) => {
                host.open.insert(ask);
                if let Some((delay, answer)) = host.answers.answer(question) {
                    self.schedule(delay, Arrival::Answer { host: id, id: ask, answer });
                }
            }
            Output::Cancel(ask) => {
                assert!(host.open.remove(&ask), "a question is cancelled that nobody asked");
                host.cancelled += 1;
            }
            Output::InstallChild(child) => {
                if child.outbound_ready || !host.outbound.contains_key(&child.session) {
                    host.outbound.insert(child.session, child.spi_in);
                }
                host.proven.extend(child.outbound_ready.then_some(child.spi_in));
                assert!(host.children.insert(child.spi_in, *child).is_none(), "an inbound SPI is used twice");
            }
            Output::UseOutbound { session, spi_in } => {
                assert!(host.children.contains_key(&spi_in), "sending on a Child SA that is not there");
                host.outbound.insert(session, spi_in);
                host.proven.insert(spi_in);
            }
            Output::RemoveChild { session, spi_in } => {
                assert!(host.children.remove(&spi_in).is_some(), "a Child SA is removed twice");
                if host.outbound.get(&session) == Some(&spi_in) {
                    host.outbound.remove(&session);
                }
            }
            Output::Repath { session, path, encapsulate } => host.repaths.push((session, path, encapsulate)),
            Output::Event(session, event) => {
                let over = host.events.iter().any(|(of, event)| *of == session && matches!(event, Event::Closed(..)));
                assert!(!over, "{event:?} after the last event of {session:?}");
                host.events.push((session, event));
            }
            Output::Seen(session, seen) => host.seen.push((session, *seen)),
            Output::Stranger { from, what } => host.strangers.push((from, what)),
        }
    }

    fn transmit(&mut self, path: Path, message: Vec<u8>) {
        let message = match self.filter.as_mut().map_or(Verdict::Pass, |filter| filter(&path, &message)) {
            Verdict::Pass => message,
            Verdict::Drop => return,
            Verdict::Change(message) => message,
        };
        if path.connection.is_some() {
            return self.schedule(LATENCY, Arrival::Datagram { path, message });
        }
        let copies = 1 + usize::from(self.chance(self.faults.duplicate));
        for _ in 0..copies {
            if self.chance(self.faults.loss) {
                continue;
            }
            let jitter = self.faults.jitter.mul_f64(f64::from(self.below(1000)) / 1000.0);
            self.schedule(LATENCY + jitter, Arrival::Datagram { path, message: message.clone() });
        }
    }

    /// `path` is the sender's.
    fn arrive(&mut self, path: Path, message: Vec<u8>) {
        if path.connection.is_some_and(|connection| self.broken.contains(&connection)) {
            return;
        }
        let (mut source, mut destination) = (path.local, path.remote);
        if let Some(nat) = &mut self.nat {
            if source.ip() == nat.inside {
                source = nat.leave(source, destination);
            } else if destination.ip() == nat.outside {
                let Some(inside) = nat.enter(source, destination) else { return };
                destination = inside;
            }
        }
        let Some(index) = self.hosts.iter().position(|host| host.addresses.contains(&destination.ip())) else { return };
        let path = Path { local: destination, remote: source, connection: path.connection };
        self.input(HostId(index), Input::Datagram { path, message, unix_time: UNIX_TIME });
    }

    fn schedule(&mut self, delay: Duration, arrival: Arrival) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), arrival);
    }

    fn below(&mut self, limit: u32) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u32::from_be_bytes(bytes) % limit.max(1)
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.below(1000) < thousandths
    }
}
