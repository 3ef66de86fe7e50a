//! What every session shares: time, randomness, outputs, counters, and the registers of SPIs and questions.
use super::notices::Notices;
use crate::api::{AskId, Counters, Drain, Event, GatewayIdentity, InitiatorConfig, Output, Path, Question, ResponderConfig, SessionId};
use crate::keys::IkeKeys;
use crate::redirect::Trail;
use crate::sa::IkeSa;
use crate::seen::{Content, Seen, Watch};
use crate::wire::{Header, Payload, Spi};
use crypto::Random;
use pki::UnixTime;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// ESP SPIs below this are reserved (RFC 4303 section 2.1).
const FIRST_ESP_SPI: u32 = 256;

/// What tells one IKE_SA_INIT request from another: SPIi, source, and a hash of the whole message (RFC 7296 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InitKey {
    pub spi_i: Spi,
    pub remote: SocketAddr,
    pub hash: Vec<u8>,
}

/// Whose a session is: the authenticated user, and what the client calls itself (IDi).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// In lower case: Windows compares names without case, and lets its users type them as they like.
    pub user: String,
    pub idi: Vec<u8>,
}

/// Sessions that a new one takes the place of (INITIAL_CONTACT): those of the same owner from the same address, and those of the same user that are
/// silent.
#[derive(Debug)]
pub(crate) struct Replace {
    pub by: SessionId,
    pub owner: Arc<Owner>,
    pub remote: std::net::IpAddr,
    pub elsewhere: Elsewhere,
}

/// What becomes of a session of the same owner from another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    Ends,
    /// For a sign of life, without which it ends.
    IsAsked,
    Stays,
}

/// A session that an initiator begins because a gateway sent it elsewhere.
#[derive(Debug)]
pub(crate) struct Dial {
    pub config: InitiatorConfig,
    pub trail: Trail,
}

pub(crate) struct Shared {
    pub now: Instant,
    /// As the last datagram had it.
    pub unix_time: UnixTime,
    pub random: Box<dyn Random>,
    pub responder: Option<Arc<ResponderConfig>>,
    pub drain: Option<Drain>,
    pub out: VecDeque<Output>,
    pub counters: Counters,
    pub watch: Watch,
    pub replaces: Vec<Replace>,
    pub dials: Vec<Dial>,
    /// Sessions that have ended and only answer retransmissions.
    pub draining: usize,
    /// IKE_SA_INIT requests that belong to a session.
    inits: HashMap<InitKey, SessionId>,
    /// The same, by SPIi and source alone.
    origins: HashMap<(Spi, SocketAddr), BTreeSet<SessionId>>,
    pub(super) notices: Notices,
    spis: HashMap<Spi, SessionId>,
    esp_spis: HashSet<u32>,
    asks: HashMap<AskId, SessionId>,
    last_ask: u64,
}

impl Shared {
    pub(crate) fn new(responder: Option<ResponderConfig>, random: Box<dyn Random>, now: Instant) -> Self {
        Self {
            now,
            unix_time: 0,
            random,
            responder: responder.map(Arc::new),
            drain: None,
            out: VecDeque::new(),
            counters: Counters::default(),
            watch: Watch::Off,
            replaces: Vec::new(),
            dials: Vec::new(),
            draining: 0,
            inits: HashMap::new(),
            origins: HashMap::new(),
            notices: Notices::new(now),
            spis: HashMap::new(),
            esp_spis: HashSet::new(),
            asks: HashMap::new(),
            last_ask: 0,
        }
    }

    /// Where new clients are sent that can follow.
    pub(crate) fn elsewhere(&self) -> Option<&GatewayIdentity> {
        match &self.drain {
            Some(drain) => drain.to.as_ref(),
            None => self.responder.as_ref()?.redirect.as_ref(),
        }
    }

    /// SPIs, requests and questions that belong to some session; 0 when there is none.
    pub(crate) fn registered(&self) -> usize {
        self.spis.len() + self.esp_spis.len() + self.asks.len() + self.inits.len() + self.origins.len()
    }

    pub(crate) fn transmit(&mut self, path: Path, message: Vec<u8>) {
        if self.is_watched() {
            let session = Header::parse(&message).ok().and_then(|header| self.owner(header.sender()));
            self.saw(session, Seen::sent(path, &message));
        }
        self.send(path, message);
    }

    /// A message in the clear, of a session that need not have an SPI yet.
    pub(crate) fn transmit_of(&mut self, session: SessionId, path: Path, message: Vec<u8>) {
        if self.is_watched() {
            self.saw(Some(session), Seen::sent(path, &message));
        }
        self.send(path, message);
    }

    /// A new message of an IKE SA, with what was sealed in it.
    pub(crate) fn transmit_sealed(&mut self, session: SessionId, path: Path, sa: &IkeSa, payloads: &[Payload], datagrams: &[Vec<u8>]) {
        if self.is_watched() {
            let content = Content::Payloads(payloads.to_vec());
            let seen = Seen { path, outbound: true, datagrams: datagrams.to_vec(), content, keys: self.keys(sa) };
            self.saw(Some(session), seen);
        }
        datagrams.iter().for_each(|datagram| self.send(path, datagram.clone()));
    }

    fn send(&mut self, path: Path, message: Vec<u8>) {
        self.counters.sent += 1;
        self.out.push_back(Output::Transmit { path, message });
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watch != Watch::Off
    }

    pub(crate) fn saw(&mut self, session: Option<SessionId>, seen: Seen) {
        self.out.push_back(Output::Seen(session, Box::new(seen)));
    }

    /// What is told of the keys of a message.
    pub(crate) fn keys(&self, sa: &IkeSa) -> Option<Box<IkeKeys>> {
        (self.watch == Watch::Keys).then(|| Box::new(sa.keys.clone()))
    }

    pub(crate) fn transmit_all(&mut self, path: Path, messages: &[Vec<u8>]) {
        messages.iter().for_each(|message| self.transmit(path, message.clone()));
    }

    /// Sends again what may be lost. On a TCP connection nothing is: it arrives, or the connection breaks (RFC 9329 section 6.2).
    pub(crate) fn repeat_all(&mut self, path: Path, messages: &[Vec<u8>]) {
        if path.connection.is_none() {
            self.transmit_all(path, messages);
        }
    }

    pub(crate) fn event(&mut self, session: SessionId, event: Event) {
        self.out.push_back(Output::Event(session, event));
    }

    pub(crate) fn ask(&mut self, session: SessionId, question: Question) -> AskId {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.asks.insert(id, session);
        self.out.push_back(Output::Ask(id, session, question));
        id
    }

    /// The session that asked; each question is answered once.
    pub(crate) fn answered(&mut self, id: AskId) -> Option<SessionId> {
        self.asks.remove(&id)
    }

    pub(crate) fn cancel(&mut self, id: AskId) {
        if self.asks.remove(&id).is_some() {
            self.out.push_back(Output::Cancel(id));
        }
    }

    /// Whether one more ended session may be kept to answer retransmissions; a gateway keeps no more than half-open ones.
    pub(crate) fn may_drain(&self) -> bool {
        self.responder.as_ref().is_none_or(|config| self.draining < config.limits.half_open_max)
    }

    /// A fresh nonce; 32 bytes are at least half the key of every PRF (RFC 7296 section 2.10).
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; 32];
        self.random.fill(&mut nonce);
        nonce
    }

    /// This IKE_SA_INIT request belongs to a session from now on.
    pub(crate) fn take_init(&mut self, key: &InitKey, session: SessionId) {
        self.inits.insert(key.clone(), session);
        self.origins.entry((key.spi_i, key.remote)).or_default().insert(session);
    }

    pub(crate) fn release_init(&mut self, key: &InitKey, session: SessionId) {
        self.inits.remove(key);
        let origin = (key.spi_i, key.remote);
        if let Some(sessions) = self.origins.get_mut(&origin) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.origins.remove(&origin);
            }
        }
    }

    /// The session that this very request belongs to.
    pub(crate) fn session_of_init(&self, key: &InitKey) -> Option<SessionId> {
        self.inits.get(key).copied()
    }

    /// The sessions with this SPIi from there.
    pub(crate) fn sessions_of_origin(&self, spi_i: Spi, remote: SocketAddr) -> impl Iterator<Item = SessionId> {
        self.origins.get(&(spi_i, remote)).into_iter().flatten().copied()
    }

    /// An IKE SPI of our own that nobody has.
    pub(crate) fn take_spi(&mut self, session: SessionId) -> Spi {
        loop {
            let mut bytes = [0; 8];
            self.random.fill(&mut bytes);
            let spi = Spi(u64::from_be_bytes(bytes));
            if spi != Spi(0) && !self.spis.contains_key(&spi) {
                self.spis.insert(spi, session);
                return spi;
            }
        }
    }

    pub(crate) fn release_spi(&mut self, spi: Spi) {
        self.spis.remove(&spi);
    }

    pub(crate) fn owner(&self, spi: Spi) -> Option<SessionId> {
        self.spis.get(&spi).copied()
    }

    /// An inbound ESP SPI that nobody has.
    pub(crate) fn take_esp_spi(&mut self) -> u32 {
        loop {
            let mut bytes = [0; 4];
            self.random.fill(&mut bytes);
            let spi = u32::from_be_bytes(bytes);
            if spi >= FIRST_ESP_SPI && self.esp_spis.insert(spi) {
                return spi;
            }
        }
    }

    pub(crate) fn release_esp_spi(&mut self, spi: u32) {
        self.esp_spis.remove(&spi);
    }

    /// A number from 0 to `below` - 1, for jitter.
    pub(crate) fn random_below(&mut self, below: u32) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u32::from_be_bytes(bytes) % below.max(1)
    }
}
