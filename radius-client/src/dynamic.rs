//! Dynamic authorization (RFC 5176), the NAS's end: Disconnect and CoA requests in, one answer each out.
//!
//! [`DynamicServer::handle`] believes a datagram or drops it, reads it, lets the caller act on it, and writes the answer. The same datagram
//! again gets the same answer and does nothing.
mod read;
mod sessions;

pub use read::{Action, Changes, DynamicRequest};
pub use sessions::{Identification, SessionFacts};

use crate::attributes::number;
use crate::codec::{Builder, Packet, code};
use crypto::hash::md5;
use crypto::{Zeroizing, constant_time_eq};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How far an Event-Timestamp may lie from our clock, in seconds (RFC 5176 section 6.3).
pub const TIME_WINDOW: i64 = 300;

/// An answer is kept while its request could still pass [`TIME_WINDOW`], however its clock is set.
const KEEP_ANSWERS: Duration = Duration::from_secs(2 * TIME_WINDOW.unsigned_abs());

/// Answers kept at most; only those who know a secret can fill this.
const ANSWERS_MAX: usize = 65_536;

/// Who may end and change sessions: a Dynamic Authorization Client.
#[derive(Clone)]
pub struct DynamicClient {
    pub name: String,
    pub address: IpAddr,
    pub secret: Zeroizing<Vec<u8>>,
    /// Refuses requests without Event-Timestamp. Without this they must name a session by Acct-Session-Id: replayed later, such a request can only
    /// hit the session it was meant for, and there a change is known again.
    pub require_event_timestamp: bool,
    /// Its requests come over TLS (RFC 6614), and by no datagram: `secret`, the text `radsec`, is known to everybody.
    pub over_tls: bool,
}

impl std::fmt::Debug for DynamicClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamicClient").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

/// What this NAS answers to; a request that names another one is not for us.
#[derive(Debug, Clone, Default)]
pub struct NasNames {
    /// NAS-IP-Address and NAS-IPv6-Address.
    pub addresses: Vec<IpAddr>,
    /// NAS-Identifier.
    pub identifiers: Vec<String>,
}

/// Error-Cause (RFC 5176 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCause {
    UnsupportedAttribute = 401,
    MissingAttribute = 402,
    NasIdentificationMismatch = 403,
    InvalidRequest = 404,
    UnsupportedService = 405,
    InvalidAttributeValue = 407,
    SessionContextNotFound = 503,
    ResourcesUnavailable = 506,
}

/// What arrived since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DynamicCounters {
    /// Believed, repetitions not counted.
    pub requests: u64,
    pub acknowledged: u64,
    pub refused: u64,
    /// The same datagram again.
    pub repeated: u64,
    /// From an address that is no client's.
    pub dropped_source: u64,
    pub dropped_malformed: u64,
    /// Request Authenticator or Message-Authenticator wrong: another secret, or forged.
    pub dropped_authenticator: u64,
    /// Event-Timestamp too old or too new, or a request without one that came before: replayed, or a clock is wrong.
    pub dropped_stale: u64,
    /// Over TLS: strangers, and certificates that were not accepted.
    pub connections_refused: u64,
}

/// What becomes of a connection after a packet that came over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverTls {
    Answer(Vec<u8>),
    /// It waits for the next packet.
    Nothing,
    /// It has to be closed (RFC 6613 section 2.6.4), for this reason.
    Close(&'static str),
}

/// A datagram is known by who sent it, from whatever port, and what it says.
type Fingerprint = (IpAddr, u8, [u8; 16]);

/// The machine.
#[derive(Debug)]
pub struct DynamicServer {
    clients: Vec<DynamicClient>,
    answers: BTreeMap<Fingerprint, Vec<u8>>,
    /// When each was given, oldest first.
    given: VecDeque<(Instant, Fingerprint)>,
    /// CoA-Requests without Event-Timestamp: only this tells that one is old.
    timeless: BTreeSet<Fingerprint>,
    /// The same, oldest first.
    timeless_order: VecDeque<Fingerprint>,
    counters: DynamicCounters,
}

/// Not believed: no answer, a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Source,
    Malformed,
    Authenticator,
    Stale,
}

impl DynamicServer {
    pub fn new(clients: Vec<DynamicClient>) -> Self {
        Self {
            clients,
            answers: BTreeMap::new(),
            given: VecDeque::new(),
            timeless: BTreeSet::new(),
            timeless_order: VecDeque::new(),
            counters: DynamicCounters::default(),
        }
    }

    /// Other clients from now on.
    pub fn configure(&mut self, clients: Vec<DynamicClient>) {
        self.clients = clients;
    }

    pub fn counters(&self) -> DynamicCounters {
        self.counters
    }

    /// Takes a datagram; what to send back, if anything. `unix_time` in seconds. `names` is asked for the names of this NAS once a datagram is
    /// believed, `act` does what the request asks for, all or nothing.
    pub fn handle(
        &mut self,
        now: Instant,
        unix_time: i64,
        from: SocketAddr,
        datagram: &[u8],
        names: impl FnOnce() -> NasNames,
        act: impl FnOnce(&DynamicRequest) -> Result<(), ErrorCause>,
    ) -> Option<Vec<u8>> {
        self.forget(now);
        match self.believed(unix_time, from, datagram) {
            Ok((client, packet)) => {
                let fingerprint = (from.ip().to_canonical(), packet.identifier(), *packet.authenticator());
                if let Some(answer) = self.answers.get(&fingerprint) {
                    self.counters.repeated += 1;
                    return Some(answer.clone());
                }
                let is_timeless = packet.code() == code::COA_REQUEST && packet.first(number::EVENT_TIMESTAMP).is_none();
                if is_timeless && self.timeless.contains(&fingerprint) {
                    self.drop(Dropped::Stale);
                    return None;
                }
                let outcome = read::request(&client, &names(), &packet).and_then(|request| act(&request));
                self.count(outcome.is_ok());
                let answer = answer(&packet, &client.secret, outcome);
                if is_timeless {
                    self.remember_for_good(fingerprint);
                }
                self.remember(now, fingerprint, &answer);
                Some(answer)
            }
            Err(dropped) => {
                self.drop(dropped);
                None
            }
        }
    }

    /// Takes a packet of the client of this name, which has proved itself by its certificate.
    pub fn handle_over_tls(
        &mut self,
        unix_time: i64,
        client: &str,
        bytes: &[u8],
        names: impl FnOnce() -> NasNames,
        act: impl FnOnce(&DynamicRequest) -> Result<(), ErrorCause>,
    ) -> OverTls {
        let Some(client) = self.clients.iter().find(|known| known.over_tls && known.name == client).cloned() else {
            self.drop(Dropped::Source);
            return OverTls::Close("it is no client any more");
        };
        if let Some(answer) = alive(&client, bytes) {
            return OverTls::Answer(answer);
        }
        match read_believed(unix_time, &client, bytes) {
            // TCP repeats nothing: the same packet again is another request.
            Ok(packet) => {
                let outcome = read::request(&client, &names(), &packet).and_then(|request| act(&request));
                self.count(outcome.is_ok());
                OverTls::Answer(answer(&packet, &client.secret, outcome))
            }
            Err(dropped) => {
                self.drop(dropped);
                match dropped {
                    Dropped::Stale | Dropped::Source => OverTls::Nothing,
                    Dropped::Malformed => OverTls::Close("it sent what is neither a Disconnect-Request nor a CoA-Request"),
                    Dropped::Authenticator => OverTls::Close("it sent a wrong authenticator (over TLS the shared secret is \"radsec\")"),
                }
            }
        }
    }

    fn believed<'a>(&self, unix_time: i64, from: SocketAddr, datagram: &'a [u8]) -> Result<(DynamicClient, Packet<'a>), Dropped> {
        let is_from = |client: &&DynamicClient| !client.over_tls && client.address == from.ip().to_canonical();
        let client = self.clients.iter().find(is_from).ok_or(Dropped::Source)?;
        Ok((client.clone(), read_believed(unix_time, client, datagram)?))
    }

    fn count(&mut self, done: bool) {
        self.counters.requests += 1;
        *(if done { &mut self.counters.acknowledged } else { &mut self.counters.refused }) += 1;
    }

    fn drop(&mut self, dropped: Dropped) {
        *match dropped {
            Dropped::Source => &mut self.counters.dropped_source,
            Dropped::Malformed => &mut self.counters.dropped_malformed,
            Dropped::Authenticator => &mut self.counters.dropped_authenticator,
            Dropped::Stale => &mut self.counters.dropped_stale,
        } += 1;
    }

    fn remember(&mut self, now: Instant, fingerprint: Fingerprint, answer: &[u8]) {
        if self.given.len() >= ANSWERS_MAX
            && let Some((_, oldest)) = self.given.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.answers.insert(fingerprint, answer.to_vec());
        self.given.push_back((now, fingerprint));
    }

    fn remember_for_good(&mut self, fingerprint: Fingerprint) {
        if self.timeless_order.len() >= ANSWERS_MAX
            && let Some(oldest) = self.timeless_order.pop_front()
        {
            self.timeless.remove(&oldest);
        }
        self.timeless.insert(fingerprint);
        self.timeless_order.push_back(fingerprint);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, fingerprint)) = self.given.front()
            && now.saturating_duration_since(*at) > KEEP_ANSWERS
        {
            self.answers.remove(fingerprint);
            self.given.pop_front();
        }
    }
}

/// The packet, if it is a request of this client and of now.
fn read_believed<'a>(unix_time: i64, client: &DynamicClient, bytes: &'a [u8]) -> Result<Packet<'a>, Dropped> {
    let packet = Packet::parse(bytes).map_err(|_| Dropped::Malformed)?;
    if !matches!(packet.code(), code::DISCONNECT_REQUEST | code::COA_REQUEST) {
        return Err(Dropped::Malformed);
    }
    if !is_authentic(&packet, &client.secret) {
        return Err(Dropped::Authenticator);
    }
    let stamp = packet.u32(number::EVENT_TIMESTAMP).map_err(|_| Dropped::Malformed)?;
    if stamp.is_some_and(|stamp| (i64::from(stamp) - unix_time).abs() > TIME_WINDOW) {
        return Err(Dropped::Stale);
    }
    Ok(packet)
}

/// The answer to a Status-Server, with which the client watches its connection (RFC 5997, RFC 6613 section 2.6.5).
fn alive(client: &DynamicClient, bytes: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(bytes).ok().filter(|packet| packet.code() == code::STATUS_SERVER)?;
    let signed = packet.first(number::MESSAGE_AUTHENTICATOR).filter(|found| found.value.len() == 16)?;
    let wanted = packet.message_authenticator(signed.offset, packet.authenticator(), &client.secret);
    let believed = constant_time_eq(signed.value, &wanted);
    believed.then(|| Builder::reply(code::ACCESS_ACCEPT, packet.identifier()).sign_reply(packet.authenticator(), &client.secret))
}

/// Request Authenticator as in accounting (RFC 5176 section 3.2); Message-Authenticator, where there is one, over zeroes in its place.
fn is_authentic(packet: &Packet<'_>, secret: &[u8]) -> bool {
    let wanted = packet.response_authenticator(&[0; 16], secret);
    if !constant_time_eq(packet.authenticator(), &wanted) {
        return false;
    }
    let mut all = packet.all(number::MESSAGE_AUTHENTICATOR);
    match (all.next(), all.next()) {
        (None, _) => true,
        (Some(found), None) if found.value.len() == 16 => {
            constant_time_eq(found.value, &packet.message_authenticator(found.offset, &[0; 16], secret))
        }
        _ => false,
    }
}

/// ACK or NAK: Message-Authenticator first, Proxy-State as it came.
fn answer(request: &Packet<'_>, secret: &[u8], outcome: Result<(), ErrorCause>) -> Vec<u8> {
    let disconnect = request.code() == code::DISCONNECT_REQUEST;
    let code = match (disconnect, outcome.is_ok()) {
        (true, true) => code::DISCONNECT_ACK,
        (true, false) => code::DISCONNECT_NAK,
        (false, true) => code::COA_ACK,
        (false, false) => code::COA_NAK,
    };
    let mut builder = Builder::reply(code, request.identifier());
    if let Err(cause) = outcome {
        builder.put_u32(number::ERROR_CAUSE, cause as u32);
    }
    for state in request.all(number::PROXY_STATE) {
        builder.put(number::PROXY_STATE, state.value);
    }
    builder.sign_reply(request.authenticator(), secret)
}

impl Builder {
    /// A reply; its first attribute is the Message-Authenticator.
    fn reply(code: u8, identifier: u8) -> Self {
        let mut builder = Self::new(code, identifier, &[0; 16]);
        builder.put(number::MESSAGE_AUTHENTICATOR, &[0; 16]);
        builder
    }

    /// Writes length and authenticators of a reply, which is at most 24 bytes longer than its request.
    fn sign_reply(self, request_authenticator: &[u8; 16], secret: &[u8]) -> Vec<u8> {
        let mut bytes = self.into_bytes();
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..20].copy_from_slice(request_authenticator);
        let value = crypto::hash::hmac_md5(secret, &[&bytes]);
        bytes[22..38].copy_from_slice(&value);
        let authenticator = md5(&[&bytes, secret]);
        bytes[4..20].copy_from_slice(&authenticator);
        bytes
    }
}

#[cfg(test)]
mod tests;
