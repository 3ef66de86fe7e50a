//! The request machine: who is asked, what is in flight, when to repeat, when to give up.
use crate::accounting::AccountingWork;
use crate::api::{Configuration, Counters, Dial, Input, Output, RequestFailure, Server, ServerReport, SocketId, Standing, Transport};
use crate::authentication::{AuthenticationWork, Conversation, Proof};
use crate::codec::{Envelope, Packet, code};
use crate::connection::WATCHDOG_PLACE;
use crate::mppe::Hiding;
use crate::peer::{Peer, Peers};
use crate::probe;
use crate::request::BadRequest;
use crate::retry;
use crate::table::{Line, Number, PeerKey, RequestKey, Slot, Table};
use crate::validate::{Dropped, Expected, Purpose, same_source};
use crypto::Random;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

/// What a request is for.
#[derive(Debug)]
pub(crate) enum Work {
    Authentication(Box<AuthenticationWork>),
    Accounting(Box<AccountingWork>),
    Probe,
    /// Nobody waits any more; the identifier stays taken until the answer or the final timeout.
    Abandoned,
}

/// Why an answer will not come.
#[derive(Debug)]
pub(crate) enum Loss<'a> {
    Silence,
    PortClosed,
    /// A TLS connection could not be made, or the server is not to be talked to.
    Connection(&'a str),
    /// It waited in vain for a place on a connection.
    NoPlace,
    /// The server says that it cannot serve this request.
    Declined(&'a str),
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) line: Line,
    pub(crate) slot: Slot,
    pub(crate) bytes: Vec<u8>,
    pub(crate) began: Instant,
    pub(crate) transmissions: u32,
    /// Those of its transmissions that the kernel did not send.
    pub(crate) unsent: u32,
    /// How often its interval has passed without an answer.
    waits: u32,
    interval: std::time::Duration,
    /// When to repeat or give up.
    next: Instant,
    /// Something came that was to be its answer, but not of who knows the secret.
    pub(crate) disbelieved: bool,
    /// The server's counters when it began.
    pub(crate) before: Counters,
    pub(crate) work: Work,
}

impl Request {
    /// It has waited for longer than one interval, on the port for logins.
    fn is_late(&self) -> bool {
        self.waits > 0 && self.line.purpose == Purpose::Authentication
    }

    /// What hides secrets in its answer, and proves it.
    pub(crate) fn hiding<'a>(&'a self, secret: &'a [u8]) -> Hiding<'a> {
        match self.slot.number {
            Number::Token(_) => Hiding::Tls,
            // Every request is written by `codec::Builder`, which begins with the header.
            Number::Identifier(_) => {
                Hiding::Secret { request_authenticator: self.bytes[4..20].try_into().expect("a header is 20 bytes"), secret }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Request(RequestKey),
    Conversation(crate::api::ConversationId),
    /// A dead server is probed.
    Probe(PeerKey),
    /// A TLS connection on which nothing came is probed.
    Watchdog(SocketId),
}

/// The RADIUS client machine; see the crate's documentation for how to drive it.
pub struct Client {
    pub(crate) random: Box<dyn Random>,
    pub(crate) peers: Peers,
    pub(crate) table: Table,
    pub(crate) requests: BTreeMap<RequestKey, Request>,
    next_request: u64,
    pub(crate) conversations: BTreeMap<crate::api::ConversationId, Conversation>,
    pub(crate) timers: BTreeSet<(Instant, Timer)>,
    pub(crate) outputs: VecDeque<Output>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("requests", &self.requests.len())
            .field("conversations", &self.conversations.len())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A list of servers will do: then they are asked in its order. `random` yields Request Authenticators, so it must be unpredictable, and jitter.
    pub fn new(configuration: impl Into<Configuration>, random: Box<dyn Random>) -> Self {
        let mut peers = Peers::default();
        peers.configure(configuration.into());
        Self {
            random,
            peers,
            table: Table::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            conversations: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`Client::poll_output`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Eap { ticket, conversation, group, user_name, eap, nas } => {
                self.authenticate(now, AuthenticationWork::new(ticket, conversation, group, user_name, Proof::Eap(eap), nas));
            }
            Input::Login { ticket, conversation, group, user_name, credentials, nas } => {
                let proof = Proof::Login(Box::new(credentials));
                self.authenticate(now, AuthenticationWork::new(ticket, conversation, group, user_name, proof, nas));
            }
            Input::Forget(conversation) => self.forget(conversation),
            Input::Accounting { ticket, group, record } => self.account(now, ticket, group.as_deref(), record),
            Input::Datagram { socket, from, bytes } => self.datagram(now, socket, from, &bytes),
            Input::Unreachable { socket, to } => self.unreachable(now, socket, to),
            Input::NotSent { socket, identifier } => self.not_sent(now, socket, identifier),
            Input::Connected { socket, version } => self.connected(now, socket, version),
            Input::Closed { socket, cause, served } => self.closed(now, socket, &cause, served),
            Input::Timeout => self.timeout(now),
            Input::Configure(configuration) => self.peers.configure(configuration),
        }
        self.send_parked(now);
        self.reap();
    }

    /// The next thing to do; `None` once drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Counters per server, in configuration order.
    pub fn counters(&self) -> Vec<(String, Counters)> {
        self.peers.configured().map(|(_, peer, _)| (peer.server.name.clone(), peer.counters)).collect()
    }

    /// What is known of each server, in configuration order.
    pub fn servers(&self) -> Vec<ServerReport> {
        let in_flight = self.table.in_flight();
        let report = |(key, peer, groups): (PeerKey, &Peer, Vec<String>)| {
            let health = peer.health(Purpose::Authentication);
            let standing = match () {
                () if health.is_dead() => Standing::Dead,
                () if !health.was_heard() => Standing::Unknown,
                () if peer.late > 0 => Standing::Slow,
                () => Standing::Alive,
            };
            let (since, round_trip) = (health.since(), health.round_trip);
            ServerReport {
                name: peer.server.name.clone(),
                standing,
                since,
                round_trip,
                latency: peer.latency,
                groups,
                version: peer.version,
                ignored: peer.ignored.iter().copied().collect(),
                in_flight: in_flight.get(&key).copied().unwrap_or(0),
                counters: peer.counters,
            }
        };
        self.peers.configured().map(report).collect()
    }

    /// Writes a request and sends it to `peer` for the first time. On failure the work comes back.
    pub(crate) fn send(&mut self, now: Instant, peer: PeerKey, work: Work) -> Result<RequestKey, (Work, RequestFailure)> {
        self.send_on(now, peer, work, None)
    }

    /// The same, on a socket that is there.
    pub(crate) fn send_on(
        &mut self,
        now: Instant,
        peer: PeerKey,
        work: Work,
        on: Option<SocketId>,
    ) -> Result<RequestKey, (Work, RequestFailure)> {
        let purpose = if matches!(work, Work::Accounting(_)) { Purpose::Accounting } else { Purpose::Authentication };
        let Some((target, to)) = self.peers.get(peer).and_then(|peer| Some((peer, peer.address(purpose)?))) else {
            return Err((work, RequestFailure::NoServer));
        };
        let unsendable = |reason: String| RequestFailure::Unsendable { server: target.server.name.clone(), reason };
        let (key, line) = (RequestKey(self.next_request), Line { peer, purpose });
        let carrier = target.carrier(line);
        if !self.table.has_socket(carrier)
            && let Some(failure) = target.too_early(now, matches!(work, Work::Authentication(_)))
        {
            return Err((work, failure));
        }
        let spare = if target.server.is_tls() && !matches!(work, Work::Probe) { WATCHDOG_PLACE } else { 0 };
        let taken = match on {
            Some(socket) => self.table.take_on(socket, key).map(|slot| (slot, false)),
            None => self.table.take(carrier, key, spare, target.server.is_tls()),
        };
        let Some((slot, opened)) = taken else {
            return Err((work, unsendable("too many requests wait for an answer".into())));
        };
        if opened {
            let dial = match &target.server.transport {
                Transport::Udp { .. } => Dial::Udp { peer: to },
                Transport::Tls { .. } => Dial::Tls { peer: to, server: target.server.name.clone() },
            };
            self.outputs.push_back(Output::Open { socket: slot.socket, source: target.server.source, dial });
        }
        let mut random = [0; 16];
        self.random.fill(&mut random);
        let bytes = match self.write(now, &work, slot.number, random, &target.server) {
            Ok(bytes) => bytes,
            Err(error) => {
                let failure = unsendable(error.to_string());
                self.release(slot);
                return Err((work, failure));
            }
        };
        let interval = retry::first(target.server.retransmit_initial, &mut *self.random);
        let patience = if matches!(work, Work::Probe) { probe::PATIENCE } else { interval.min(target.server.timeout) };
        let next = now + patience;
        let before = target.counters;
        if self.table.stands(slot.socket) {
            self.outputs.push_back(Output::Transmit { socket: slot.socket, to, bytes: bytes.clone() });
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.counters.sent += 1;
            peer.counters.connections += u64::from(opened && peer.server.is_tls());
        }
        if opened {
            self.watch(now, slot.socket);
        }
        self.next_request += 1;
        self.timers.insert((next, Timer::Request(key)));
        self.requests.insert(
            key,
            Request {
                line,
                slot,
                bytes,
                began: now,
                transmissions: 1,
                unsent: 0,
                waits: 0,
                interval,
                next,
                disbelieved: false,
                before,
                work,
            },
        );
        Ok(key)
    }

    /// `random`: for the Request Authenticator, and the password of a probe.
    pub(crate) fn write(
        &self,
        now: Instant,
        work: &Work,
        number: Number,
        random: [u8; 16],
        server: &Server,
    ) -> Result<Vec<u8>, BadRequest> {
        let envelope = &match number {
            Number::Identifier(identifier) => Envelope::Identified { identifier, authenticator: random },
            Number::Token(token) => Envelope::Token(token),
        };
        match work {
            Work::Authentication(work) => {
                let state = self.conversations.get(&work.conversation).and_then(|conversation| conversation.state());
                work.write(state, envelope, server)
            }
            Work::Accounting(work) => work.write(now, envelope, server),
            Work::Probe => probe::write(server, envelope, &random),
            Work::Abandoned => Ok(Vec::new()),
        }
    }

    /// Nobody waits for this request any more.
    pub(crate) fn abandon(&mut self, key: RequestKey) -> Option<Work> {
        let request = self.requests.get_mut(&key)?;
        let work = std::mem::replace(&mut request.work, Work::Abandoned);
        let timeout = self.peers.get(request.line.peer).map(|peer| peer.server.timeout).unwrap_or_default();
        self.timers.remove(&(request.next, Timer::Request(key)));
        request.next = request.next.max(request.began + timeout);
        self.timers.insert((request.next, Timer::Request(key)));
        Some(work)
    }

    pub(crate) fn remove(&mut self, key: RequestKey) -> Option<Request> {
        let request = self.requests.remove(&key)?;
        self.timers.remove(&(request.next, Timer::Request(key)));
        self.release(request.slot);
        if let Some(peer) = self.peers.get_mut(request.line.peer).filter(|_| request.is_late()) {
            peer.late = peer.late.saturating_sub(1);
        }
        Some(request)
    }

    pub(crate) fn release(&mut self, slot: Slot) {
        if let Some(socket) = self.table.release(slot) {
            self.outputs.push_back(Output::Close { socket });
        }
    }

    fn datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        let Some(line) = self.table.line(socket) else { return };
        let is_server =
            self.peers.get(line.peer).and_then(|peer| peer.address(line.purpose)).is_some_and(|server| same_source(from, server));
        match self.check(line, socket, bytes) {
            checked if !is_server => {
                let proves_itself = checked.is_ok();
                let Some(peer) = self.peers.get_mut(line.peer) else { return };
                peer.counters.count(Dropped::Source);
                if proves_itself {
                    peer.elsewhere = Some(from);
                }
            }
            Ok((key, reply)) if reply.code() == code::PROTOCOL_ERROR => self.declined(now, key, &reply),
            Ok((key, reply)) => self.answered(now, key, &reply),
            Err((dropped, answers)) => {
                if let Some(request) = answers.and_then(|key| self.requests.get_mut(&key)) {
                    request.disbelieved = true;
                }
                let Some(peer) = self.peers.get_mut(line.peer) else { return };
                let before = peer.counters;
                peer.counters.count(dropped);
                // RFC 6613 section 2.6.4: who sends such things on a connection is not to be talked to.
                if peer.server.is_tls() && !matches!(dropped, Dropped::Unsolicited) {
                    let cause = format!("closed because of what the server sent: {}", peer.counters.dropped_since(&before));
                    self.hang_up(now, socket, &cause, false);
                }
            }
        }
    }

    /// The checks of a reply but for its source, in their order (RFC 5080 section 2.2, CVE-2024-3596). On failure also which request it was to answer.
    fn check<'a>(&self, line: Line, socket: SocketId, bytes: &'a [u8]) -> Result<(RequestKey, Packet<'a>), (Dropped, Option<RequestKey>)> {
        let nobodys = |dropped| (dropped, None);
        let peer = self.peers.get(line.peer).ok_or(nobodys(Dropped::Unsolicited))?;
        let reply = Packet::parse(bytes).map_err(|_| nobodys(Dropped::Malformed))?;
        let number = if self.table.has_tokens(socket) { Number::Token(reply.token()) } else { Number::Identifier(reply.identifier()) };
        let key = self.table.find(Slot { socket, number }).ok_or(nobodys(Dropped::Unsolicited))?;
        let request = self.requests.get(&key).ok_or(nobodys(Dropped::Unsolicited))?;
        let expected = Expected {
            purpose: request.line.purpose,
            hiding: request.hiding(&peer.server.secret),
            require_message_authenticator: match &request.work {
                // RFC 5997 section 4.2 does not ask for it, and who forges it gains no more than a login sent in vain.
                Work::Probe => false,
                Work::Authentication(work) => peer.requires_message_authenticator(work.is_eap()),
                Work::Accounting(_) | Work::Abandoned => peer.requires_message_authenticator(false),
            },
        };
        expected.check(&reply).map_err(|dropped| (dropped, Some(key)))?;
        Ok((key, reply))
    }

    fn answered(&mut self, now: Instant, key: RequestKey, reply: &Packet<'_>) {
        let Some(mut request) = self.remove(key) else { return };
        self.heard(now, &request);
        self.note_signature(&request, reply);
        match std::mem::replace(&mut request.work, Work::Abandoned) {
            Work::Authentication(work) => self.authentication_answered(now, &request, *work, reply),
            Work::Accounting(work) => self.accounted(request.line.peer, &work),
            Work::Probe | Work::Abandoned => {}
        }
    }

    fn unreachable(&mut self, now: Instant, socket: SocketId, to: SocketAddr) {
        let Some(line) = self.table.line(socket) else { return };
        let address = self.peers.get(line.peer).and_then(|peer| peer.address(line.purpose));
        if !address.is_some_and(|address| same_source(to, address)) {
            return;
        }
        // The shell may not have this socket at all, if it could not be opened: the next request gets a new one.
        let waiting = self.table.close(socket);
        self.outputs.push_back(Output::Close { socket });
        for key in waiting {
            self.give_up(now, key, &Loss::PortClosed);
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Request(key) => self.due(now, key),
                Timer::Conversation(conversation) => {
                    self.conversations.remove(&conversation);
                }
                Timer::Probe(peer) => self.probe_dead(now, peer),
                Timer::Watchdog(socket) => self.watchdog(now, socket),
            }
        }
    }

    /// Repeats a request or gives it up.
    fn due(&mut self, now: Instant, key: RequestKey) {
        self.note_tries(now, key);
        let may_live = self.requests.get(&key).is_some_and(|request| self.may_live(request));
        let Some(request) = self.requests.get_mut(&key) else { return };
        let Some(peer) = self.peers.get_mut(request.line.peer) else { return };
        let parked = self.table.is_parked(request.slot.socket);
        let deadline = request.began + peer.server.timeout;
        let sent_last = now.checked_sub(request.interval).unwrap_or(request.began);
        let quiet = !peer.health(request.line.purpose).alive_since(sent_last);
        let exhausted = request.waits + 1 >= peer.server.tries && !may_live;
        if matches!(request.work, Work::Abandoned | Work::Probe) || exhausted || now >= deadline {
            return self.give_up(now, key, if parked { &Loss::NoPlace } else { &Loss::Silence });
        }
        let (line, socket, tls) = (request.line, request.slot.socket, peer.server.is_tls());
        let Some(to) = peer.address(request.line.purpose) else { return };
        request.waits += 1;
        if request.waits == 1 && request.is_late() {
            peer.late += 1;
        }
        request.interval = retry::next(request.interval, &mut *self.random);
        request.next = (now + request.interval).min(deadline);
        self.timers.insert((request.next, Timer::Request(key)));
        // TCP has seen to it already (RFC 6613 section 2.6.1).
        if !tls {
            peer.counters.retransmitted += 1;
            request.transmissions += 1;
            self.outputs.push_back(Output::Transmit { socket, to, bytes: request.bytes.clone() });
        }
        // What is not sent yet says nothing of the server.
        if quiet && self.table.stands(socket) && (tls || line.purpose == Purpose::Authentication) {
            self.probe(now, line.peer, tls.then_some(socket));
        }
    }

    /// The tries of a request ran out and nothing at all was heard meanwhile: that counts, even if this one may wait on.
    fn note_tries(&mut self, now: Instant, key: RequestKey) {
        let Some(request) = self.requests.get(&key).filter(|request| self.table.stands(request.slot.socket)) else { return };
        let (line, waits, began) = (request.line, request.waits + 1, request.began);
        let Some(peer) = self.peers.get_mut(line.peer).filter(|_| !matches!(request.work, Work::Probe | Work::Abandoned)) else { return };
        if waits == peer.server.tries && !peer.health(line.purpose).alive_since(began) {
            peer.health_mut(line.purpose).unanswered();
            self.reroute(now, line);
        }
    }

    /// No answer came, or none can come. What was asked goes to another server where that is allowed.
    pub(crate) fn give_up(&mut self, now: Instant, key: RequestKey, loss: &Loss<'_>) {
        let Some(request) = self.remove(key) else { return };
        let Some(peer) = self.peers.get_mut(request.line.peer) else { return };
        if matches!(request.work, Work::Probe) {
            return self.probe_lost(now, &request, loss);
        }
        if matches!(request.work, Work::Abandoned) {
            return;
        }
        let alive = matches!(loss, Loss::Silence) && peer.health(request.line.purpose).alive_since(request.began);
        // What a proxy cannot forward says nothing of other requests, nor does what was never sent.
        if !alive && !matches!(loss, Loss::Declined(_) | Loss::NoPlace) {
            self.died(now, request.line);
            if matches!(loss, Loss::Silence) {
                self.reroute(now, request.line);
            }
        }
        let Some(peer) = self.peers.get_mut(request.line.peer) else { return };
        let server = peer.server.name.clone();
        let failure = match loss {
            Loss::PortClosed => RequestFailure::Unreachable { server },
            Loss::Connection(cause) => RequestFailure::Connection { server, cause: (*cause).to_owned() },
            Loss::Declined(cause) => RequestFailure::Declined { server, cause: (*cause).to_owned() },
            Loss::NoPlace => {
                let seconds = now.saturating_duration_since(request.began).as_secs();
                let cause =
                    format!("it takes no more connections, and those that it took had no room for another request within {seconds} s");
                RequestFailure::Connection { server, cause }
            }
            Loss::Silence => {
                peer.counters.timeouts += 1;
                RequestFailure::Silent {
                    server,
                    tries: request.transmissions,
                    waited: now.saturating_duration_since(request.began),
                    dropped: peer.dropped_since(&request.before),
                }
            }
        };
        match request.work {
            Work::Authentication(work) => self.authentication_unanswered(now, work, request.line.peer, failure, alive),
            Work::Accounting(work) => self.account_elsewhere(now, work, request.line.peer, failure),
            Work::Probe | Work::Abandoned => {}
        }
    }

    /// Lets go of servers that are configured no longer, once nothing is under way with them.
    fn reap(&mut self) {
        for key in self.peers.retired() {
            let sticky = self.conversations.values().any(|conversation| conversation.peer() == key);
            if sticky || !self.table.is_idle(key) {
                continue;
            }
            for socket in self.table.sockets(key) {
                self.table.close(socket);
                self.outputs.push_back(Output::Close { socket });
            }
            self.peers.remove(key);
        }
    }
}
