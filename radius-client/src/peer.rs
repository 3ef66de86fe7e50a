//! The configured servers: which one to ask, and what is known of each.
use crate::api::{Counters, Server};
use crate::table::PeerKey;
use crate::validate::Purpose;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A server that failed is asked last for this long.
const HOLD: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) counters: Counters,
    authentication: Health,
    accounting: Health,
}

/// How one port of a server has behaved.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// When it last failed, until it answers again.
    failed: Option<Instant>,
    /// When the last valid reply came.
    heard: Option<Instant>,
}

impl Health {
    pub(crate) fn answered(&mut self, now: Instant) {
        *self = Self { failed: None, heard: Some(now) };
    }

    pub(crate) fn failed(&mut self, now: Instant) {
        self.failed = Some(now);
    }

    /// It answered something since `instant`: it is alive, and this one answer takes long.
    pub(crate) fn alive_since(&self, instant: Instant) -> bool {
        self.heard.is_some_and(|heard| heard >= instant)
    }

    fn on_hold(&self, now: Instant) -> bool {
        self.failed.is_some_and(|failed| now.saturating_duration_since(failed) < HOLD)
    }
}

impl Peer {
    pub(crate) fn address(&self, purpose: Purpose) -> Option<SocketAddr> {
        match purpose {
            Purpose::Authentication => Some(self.server.auth),
            Purpose::Accounting => self.server.accounting,
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
    next: u32,
}

impl Peers {
    /// Takes a new configuration. A server whose name, addresses and secret stay is the same server.
    pub(crate) fn configure(&mut self, servers: Vec<Server>) {
        let previous = std::mem::take(&mut self.order);
        for server in servers {
            let known = previous.iter().copied().find(|key| self.peers.get(key).is_some_and(|peer| same(&peer.server, &server)));
            let key = known.filter(|key| !self.order.contains(key)).unwrap_or_else(|| self.add(server.clone()));
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.server = server;
            }
            self.order.push(key);
        }
    }

    fn add(&mut self, server: Server) -> PeerKey {
        let key = PeerKey(self.next);
        self.next += 1;
        self.peers
            .insert(key, Peer { server, counters: Counters::default(), authentication: Health::default(), accounting: Health::default() });
        key
    }

    pub(crate) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.peers.get_mut(&key)
    }

    /// The servers for `purpose`, most wanted first: in the order configured, those that failed lately last.
    pub(crate) fn preferred(&self, now: Instant, purpose: Purpose) -> Vec<PeerKey> {
        let usable = |key: &PeerKey| self.peers.get(key).is_some_and(|peer| peer.address(purpose).is_some());
        let mut keys: Vec<_> = self.order.iter().copied().filter(usable).collect();
        keys.sort_by_key(|key| self.peers.get(key).is_some_and(|peer| peer.health(purpose).on_hold(now)));
        keys
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

    pub(crate) fn counters(&self) -> Vec<(String, Counters)> {
        self.order.iter().filter_map(|key| self.peers.get(key)).map(|peer| (peer.server.name.clone(), peer.counters)).collect()
    }
}

/// The same server, perhaps with other timers.
fn same(a: &Server, b: &Server) -> bool {
    let addresses = a.auth == b.auth && a.accounting == b.accounting && a.source == b.source;
    addresses && a.name == b.name && crypto::constant_time_eq(&a.secret, &b.secret)
}
