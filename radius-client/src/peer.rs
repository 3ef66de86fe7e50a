//! The configured servers: which one to ask, and what is known of each.
use crate::api::{Configuration, Counters, Latency, Probe, RadiusVersion, RequestFailure, RequireMessageAuthenticator, Server};
use crate::attributes::AttributeId;
use crate::table::{Line, PeerKey};
use crate::validate::Purpose;
use crypto::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) counters: Counters,
    pub(crate) latency: Latency,
    /// A valid reply to a login without EAP had Message-Authenticator.
    pub(crate) signs: bool,
    /// From where else it has answered, with a reply that was good but for that.
    pub(crate) elsewhere: Option<SocketAddr>,
    /// What its Access-Accepts said in vain.
    pub(crate) ignored: BTreeSet<AttributeId>,
    /// A probe waits for its answer.
    pub(crate) probed: bool,
    /// Logins in flight that had to be repeated.
    pub(crate) late: u64,
    /// What the last connection over TLS agreed on.
    pub(crate) version: Option<RadiusVersion>,
    /// Over TLS: what keeps from connecting at once again.
    backoff: Option<Backoff>,
    authentication: Health,
    accounting: Health,
}

/// A connection could not be made.
#[derive(Debug)]
struct Backoff {
    failed: Instant,
    until: Instant,
    interval: Duration,
    cause: String,
}

/// A user waits for a login: it tries again unless the last failure is so fresh that it is as good as its own.
const LOGIN_BACKOFF: Duration = Duration::from_millis(50);

/// What nobody waits for tries no connection for so long after a first failure, and at most; each failure doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// So many probes in a row without an answer outweigh what was heard before them: one may be lost.
const SILENT_PROBES: u32 = 2;

/// Sockets to one port are given up for their source address at most so often: with what still waits on them they never come near their limit.
const REROUTE_INTERVAL: Duration = Duration::from_secs(10);

/// For so long a server without a probe that is silent to one request is rather slow than dead: nights and weekends bring few logins, and the first of
/// the morning may wait for a second factor.
const HEARD_LATELY: Duration = Duration::from_secs(12 * 3600);

/// How one port of a server has behaved.
#[derive(Debug, Default)]
pub(crate) struct Health {
    dead: Option<Dead>,
    /// When the last valid reply came.
    heard: Option<Instant>,
    /// Requests whose tries ran out since then without any sign of life; each counts once.
    unanswered: u32,
    /// Probes without an answer since then.
    unanswered_probes: u32,
    pub(crate) round_trip: Option<Duration>,
    /// When the sockets to it were last given up for their source address.
    rerouted: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Dead {
    since: Instant,
    /// Until then it is asked last.
    until: Instant,
}

impl Health {
    /// For how long it had been dead, if it was.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.heard = Some(now);
        self.unanswered = 0;
        self.unanswered_probes = 0;
        self.dead.take().map(|dead| now.saturating_duration_since(dead.since))
    }

    /// True if it was not known to be dead.
    pub(crate) fn failed(&mut self, now: Instant, revive_interval: Duration) -> bool {
        let since = self.dead.map_or(now, |dead| dead.since);
        let is_news = self.dead.is_none();
        self.dead = Some(Dead { since, until: now + revive_interval });
        is_news
    }

    /// One login goes to a dead server, to see; the next ones do not until it is answered.
    pub(crate) fn tried(&mut self, now: Instant, revive_interval: Duration) {
        if let Some(dead) = &mut self.dead {
            dead.until = now + revive_interval;
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// It answered something since `instant`, and did not fall silent then: it is alive, and this one answer takes long.
    pub(crate) fn alive_since(&self, instant: Instant) -> bool {
        !self.is_dead() && self.unanswered_probes < SILENT_PROBES && self.heard.is_some_and(|heard| heard >= instant)
    }

    /// What was asked at `began` may take long: it is not known to be dead, was heard not too long before, and no other request has run out of tries since.
    pub(crate) fn may_be_slow(&self, began: Instant) -> bool {
        !self.is_dead() && self.unanswered <= 1 && self.heard.is_some_and(|heard| heard + HEARD_LATELY >= began)
    }

    pub(crate) fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    pub(crate) fn probe_unanswered(&mut self) {
        self.unanswered_probes = self.unanswered_probes.saturating_add(1);
    }

    /// It is time for another source address: not again before the kernel can have changed its mind.
    pub(crate) fn reroutes(&mut self, now: Instant) -> bool {
        let may = self.rerouted.is_none_or(|last| now >= last + REROUTE_INTERVAL);
        if may {
            self.rerouted = Some(now);
        }
        may
    }

    /// When it died, else when it was last heard of.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.dead.map(|dead| dead.since).or(self.heard)
    }

    pub(crate) fn was_heard(&self) -> bool {
        self.heard.is_some()
    }
}

impl Peer {
    pub(crate) fn address(&self, purpose: Purpose) -> Option<SocketAddr> {
        match purpose {
            Purpose::Authentication => Some(self.server.address()),
            Purpose::Accounting => self.server.accounting_address(),
        }
    }

    /// What carries requests on `line`: over TLS both kinds share connections.
    pub(crate) fn carrier(&self, line: Line) -> Line {
        if self.server.is_tls() { Line { purpose: Purpose::Authentication, ..line } } else { line }
    }

    pub(crate) fn back_off(&mut self, now: Instant, cause: &str) {
        let interval = self.backoff.as_ref().map_or(FIRST_BACKOFF, |former| (former.interval * 2).min(MAX_BACKOFF));
        self.backoff = Some(Backoff { failed: now, until: now + interval, interval, cause: cause.to_owned() });
    }

    /// No connection is tried now, because the last one failed a moment ago.
    pub(crate) fn too_early(&self, now: Instant, login: bool) -> Option<RequestFailure> {
        let backoff = self.backoff.as_ref()?;
        if now >= if login { backoff.failed + LOGIN_BACKOFF } else { backoff.until } {
            return None;
        }
        Some(RequestFailure::Connection { server: self.server.name.clone(), cause: backoff.cause.clone() })
    }

    /// What it sent in vain since `before`, in words.
    pub(crate) fn dropped_since(&self, before: &Counters) -> String {
        let dropped = self.counters.dropped_since(before);
        match self.elsewhere.filter(|_| self.counters.dropped_source > before.dropped_source) {
            Some(address) => format!("{dropped}: the server answers from {address}, not from where it is asked"),
            None => dropped,
        }
    }

    /// When anything valid was last heard on any of its ports.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.authentication.heard.max(self.accounting.heard)
    }

    /// A connection serves.
    pub(crate) fn connected(&mut self) {
        self.backoff = None;
    }

    /// Asked after all others: it is dead, and either its probe will tell when that changes, or it is too early for another try.
    fn is_last(&self, now: Instant, purpose: Purpose) -> bool {
        let probed = purpose == Purpose::Authentication && self.server.probe != Probe::Off;
        self.health(purpose).dead.is_some_and(|dead| probed || now < dead.until)
    }

    /// `eap`: in answer to EAP, where servers always send it (RFC 3579 section 3.2).
    pub(crate) fn requires_message_authenticator(&self, eap: bool) -> bool {
        match self.server.require_message_authenticator {
            RequireMessageAuthenticator::Yes => true,
            RequireMessageAuthenticator::Auto => self.signs || eap,
            RequireMessageAuthenticator::No => false,
        }
    }

    pub(crate) fn health(&self, purpose: Purpose) -> &Health {
        match purpose {
            Purpose::Authentication => &self.authentication,
            Purpose::Accounting => &self.accounting,
        }
    }

    pub(crate) fn health_mut(&mut self, purpose: Purpose) -> &mut Health {
        match purpose {
            Purpose::Authentication => &mut self.authentication,
            Purpose::Accounting => &mut self.accounting,
        }
    }
}

/// All servers: those configured now in their order, and removed ones that still owe answers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<PeerKey, Peer>,
    order: Vec<PeerKey>,
    groups: BTreeMap<String, Vec<Place>>,
    next: u32,
}

/// A server's place in a group.
#[derive(Debug, Clone, Copy)]
struct Place {
    peer: PeerKey,
    priority: u16,
    weight: u16,
}

impl Peers {
    /// Takes a new configuration. A server whose name, addresses, secret and TLS settings stay is the same server.
    pub(crate) fn configure(&mut self, configuration: Configuration) {
        let previous = std::mem::take(&mut self.order);
        for server in configuration.servers {
            let known = previous.iter().copied().find(|key| self.peers.get(key).is_some_and(|peer| same(&peer.server, &server)));
            let key = known.filter(|key| !self.order.contains(key)).unwrap_or_else(|| self.add(server.clone()));
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.server = server;
            }
            self.order.push(key);
        }
        let place = |member: &crate::api::Member| {
            let peer = self.named(&member.server)?;
            Some(Place { peer, priority: member.priority, weight: member.weight })
        };
        let groups = configuration.groups.iter().map(|group| (group.name.clone(), group.members.iter().filter_map(place).collect()));
        self.groups = groups.collect();
    }

    fn add(&mut self, server: Server) -> PeerKey {
        let key = PeerKey(self.next);
        self.next += 1;
        self.peers.insert(
            key,
            Peer {
                server,
                counters: Counters::default(),
                latency: Latency::default(),
                signs: false,
                elsewhere: None,
                ignored: BTreeSet::new(),
                probed: false,
                late: 0,
                version: None,
                backoff: None,
                authentication: Health::default(),
                accounting: Health::default(),
            },
        );
        key
    }

    pub(crate) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.peers.get_mut(&key)
    }

    /// The servers of `group` for `purpose`, most wanted first: by priority, among equals by chance as their weights say; those that failed
    /// lately last.
    pub(crate) fn preferred(
        &self,
        now: Instant,
        group: Option<&str>,
        purpose: Purpose,
        random: &mut dyn Random,
    ) -> Result<Vec<PeerKey>, RequestFailure> {
        let mut places = self.places(group)?;
        places.retain(|place| self.peers.get(&place.peer).is_some_and(|peer| peer.address(purpose).is_some()));
        places.sort_by_key(|place| place.priority);
        let mut keys = Vec::with_capacity(places.len());
        for equals in places.chunk_by(|a, b| a.priority == b.priority) {
            keys.extend(drawn(equals, random));
        }
        keys.sort_by_key(|key| self.peers.get(key).is_some_and(|peer| peer.is_last(now, purpose)));
        Ok(keys)
    }

    fn places(&self, group: Option<&str>) -> Result<Vec<Place>, RequestFailure> {
        match group {
            Some(name) => self.groups.get(name).cloned().ok_or_else(|| RequestFailure::NoGroup { group: name.to_owned() }),
            None => Ok((0..).zip(&self.order).map(|(priority, &peer)| Place { peer, priority, weight: 1 }).collect()),
        }
    }

    /// The configured server of this name.
    pub(crate) fn named(&self, name: &str) -> Option<PeerKey> {
        self.order.iter().copied().find(|key| self.peers.get(key).is_some_and(|peer| peer.server.name == name))
    }

    /// Servers no longer configured.
    pub(crate) fn retired(&self) -> Vec<PeerKey> {
        self.peers.keys().copied().filter(|key| !self.order.contains(key)).collect()
    }

    pub(crate) fn remove(&mut self, key: PeerKey) {
        self.peers.remove(&key);
    }

    /// The configured servers in their order, each with the groups it is in.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (PeerKey, &Peer, Vec<String>)> {
        self.order.iter().filter_map(|&key| {
            let of = |places: &[Place]| places.iter().any(|place| place.peer == key);
            let groups = self.groups.iter().filter(|(_, places)| of(places)).map(|(name, _)| name.clone()).collect();
            Some((key, self.peers.get(&key)?, groups))
        })
    }

    pub(crate) fn is_configured(&self, key: PeerKey) -> bool {
        self.order.contains(&key)
    }
}

/// Members of one priority in an order drawn by their weights.
fn drawn(equals: &[Place], random: &mut dyn Random) -> Vec<PeerKey> {
    let mut left = equals.to_vec();
    let mut order = Vec::with_capacity(left.len());
    while left.len() > 1 {
        let total: u64 = left.iter().map(|place| u64::from(place.weight.max(1))).sum();
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        let mut ticket = u64::from_be_bytes(bytes) % total;
        let hit = left.iter().position(|place| {
            let share = u64::from(place.weight.max(1));
            let won = ticket < share;
            ticket = ticket.saturating_sub(share);
            won
        });
        order.push(left.remove(hit.unwrap_or(0)).peer);
    }
    order.extend(left.iter().map(|place| place.peer));
    order
}

/// The same server, perhaps with other timers.
fn same(a: &Server, b: &Server) -> bool {
    let addresses = a.transport == b.transport && a.source == b.source && a.tls_settings == b.tls_settings;
    addresses && a.name == b.name && crypto::constant_time_eq(&a.secret, &b.secret)
}
