//! What a packet thread knows: tunnels by SPI, sessions by inner address. Indexes, not searches.
use super::Path;
use super::gate::{Gate, Role};
use super::guard::Guard;
use super::ports::Share;
use super::stats::Uptime;
use super::stream::{Adopted, StreamRoute};
use super::tcp::{self, AdoptedConnection};
use super::tunnel::Tunnel;
use super::watch::Demand;
use ike::ConnectionId;
use net::link::Prefix;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// Orders to a packet thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Goes to every thread.
    Table(Order),
    /// Outer sockets that it serves as well, and the tokens of those that it serves no more.
    Ports {
        share: Box<Share>,
        gone: Arc<[u64]>,
    },
    /// Takes a stream for its life.
    Adopt(Box<Adopted>),
    /// A whole SSTP packet for the client of a stream that this thread owns.
    StreamSend {
        session: u64,
        packet: Vec<u8>,
    },
    /// An IP packet of the gateway's own.
    SendInner {
        session: u64,
        packet: Vec<u8>,
    },
    /// Takes a TCP connection with IKE and ESP for its life.
    AdoptConnection(Box<AdoptedConnection>),
    TrustConnection(ConnectionId),
    ConnectionSend {
        connection: ConnectionId,
        frame: Vec<u8>,
    },
    CloseConnection(ConnectionId),
    Stop,
}

/// Changes of the tables, which all threads have alike.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Install(Arc<Tunnel>),
    UseOutbound {
        session: u64,
        spi_in: u32,
    },
    Remove {
        session: u64,
        spi_in: u32,
    },
    Repath {
        session: u64,
        path: Path,
        encapsulate: bool,
    },
    /// The session keeps its addresses without Child SA.
    Rest(Arc<Resting>),
    /// It does not any more.
    Leave {
        session: u64,
    },
    /// New filters and rate limits; `None`: there are none any more. May come before the session's first tunnel.
    Guard {
        session: u64,
        guard: Option<Arc<Guard>>,
    },
    StreamOpen(Arc<StreamRoute>),
    /// The owner also closes the connection.
    StreamClose {
        session: u64,
    },
}

/// All keys are our own choice (SPIs, leases, session numbers), so nobody can make them collide and a plain mixing of bits is enough.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct OwnKeyHasher(u64);

impl OwnKeyHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for OwnKeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }
    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }
    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}

pub(super) type Index<K, V> = HashMap<K, V, BuildHasherDefault<OwnKeyHasher>>;

/// Where a session's packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) path: Path,
    pub(crate) encapsulate: bool,
}

/// A session that has no Child SA, until either side makes one.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) session: u64,
    /// Of its last Child SA.
    pub(crate) gate: Arc<Gate>,
    pub(crate) demand: Demand,
}

/// A session as a thread sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// All its tunnels, oldest first; several during a rekey. Never empty.
    tunnels: Vec<Arc<Tunnel>>,
    /// The one that sends.
    pub(crate) outbound: Arc<Tunnel>,
    pub(crate) to: Destination,
    /// Longest inner packet.
    pub(crate) mtu: usize,
    pub(crate) guard: Option<Arc<Guard>>,
}

/// A stream that may carry data.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) route: Arc<StreamRoute>,
    pub(crate) guard: Option<Arc<Guard>>,
}

/// The tunnel that a packet of ours takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier<'a> {
    Esp(&'a Peer),
    Stream(&'a Opened),
}

impl<'a> Carrier<'a> {
    pub(crate) fn gate(self) -> &'a Gate {
        match self {
            Self::Esp(peer) => &peer.outbound.gate,
            Self::Stream(opened) => &opened.route.gate,
        }
    }

    fn is_on_trial(self, now: Uptime) -> bool {
        matches!(self, Self::Esp(peer) if peer.outbound.trial.goes_on(now))
    }

    /// Filters and rate limits, where there are any.
    pub(crate) fn guard(self) -> Option<&'a Guard> {
        match self {
            Self::Esp(peer) => peer.guard.as_deref(),
            Self::Stream(opened) => opened.guard.as_deref(),
        }
    }

    /// The thread that must send, when only one can.
    pub(crate) fn owner(self) -> Option<usize> {
        match self {
            Self::Esp(peer) => peer.to.path.connection.map(tcp::owner),
            Self::Stream(opened) => Some(opened.route.owner),
        }
    }

    /// Longest inner packet.
    pub(crate) fn mtu(self) -> usize {
        match self {
            Self::Esp(peer) => peer.mtu,
            Self::Stream(opened) => opened.route.mtu,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_spi: Index<u32, Arc<Tunnel>>,
    peers: Index<u64, Peer>,
    resting: Index<u64, Arc<Resting>>,
    streams: Index<u64, Opened>,
    /// By session, tunnel or not.
    guards: Index<u64, Arc<Guard>>,
    /// Gateway role: by the inner destination of what we send.
    leases: Index<Prefix, u64>,
    /// How many networks of each length there are, of each family, the longest first: as many questions at most tell whose a destination is.
    lengths: [BTreeMap<Reverse<u8>, usize>; 2],
    /// Older sessions that have it as well, oldest first: a client that authenticates anew has two for a moment.
    older: Index<Prefix, Vec<u64>>,
    /// Client role: by its inner source.
    own: Index<IpAddr, u64>,
}

impl Tables {
    /// The tunnel that receives on `spi`, and its session.
    pub(crate) fn receiver(&self, spi: u32) -> Option<(&Tunnel, &Peer)> {
        let tunnel = self.by_spi.get(&spi)?;
        self.peers.get(&tunnel.session).map(|peer| (&**tunnel, peer))
    }

    /// The tunnel of the session that a packet of ours belongs to; where its client may not have that one yet, the tunnel of the session before.
    pub(crate) fn sender(&self, source: IpAddr, destination: IpAddr, now: Uptime) -> Option<Carrier<'_>> {
        let Some((leased, session)) = self.lessee(destination) else { return self.carrier(*self.own.get(&source)?) };
        let carrier = self.carrier(session)?;
        if carrier.is_on_trial(now) {
            return self.proven(leased, now).or(Some(carrier));
        }
        Some(carrier)
    }

    /// The newest tunnel that the client of older sessions with this address or network has for sure.
    #[cold]
    fn proven(&self, leased: Prefix, now: Uptime) -> Option<Carrier<'_>> {
        let older = self.older.get(&leased)?;
        older.iter().rev().find_map(|session| self.carrier(*session).filter(|carrier| !carrier.is_on_trial(now)))
    }

    /// The session that has the address, or the network that holds it.
    fn lessee(&self, address: IpAddr) -> Option<(Prefix, u64)> {
        let of = |leased: Prefix| self.leases.get(&leased).map(|session| (leased, *session));
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        let network = |length: &Reverse<u8>| of(Prefix { address, len: length.0 }.network());
        of(Prefix::host(address)).or_else(|| lengths.keys().find_map(network))
    }

    /// The tunnel of a session.
    pub(crate) fn carrier(&self, session: u64) -> Option<Carrier<'_>> {
        let stream = || self.streams.get(&session).map(Carrier::Stream);
        self.peers.get(&session).map(Carrier::Esp).or_else(stream)
    }

    /// The session without Child SA that has this address.
    pub(crate) fn resting(&self, destination: IpAddr) -> Option<&Resting> {
        self.resting.get(&self.lessee(destination)?.1).map(|resting| &**resting)
    }

    /// The open stream of a session.
    pub(crate) fn stream(&self, session: u64) -> Option<&Opened> {
        self.streams.get(&session)
    }

    /// Filters and rate limits of a session, whether it has a tunnel or not.
    pub(crate) fn guard(&self, session: u64) -> Option<&Guard> {
        self.guards.get(&session).map(|guard| &**guard)
    }

    pub(crate) fn apply(&mut self, order: Order) {
        match order {
            Order::Install(tunnel) => self.install(tunnel),
            Order::UseOutbound { session, spi_in } => self.use_outbound(session, spi_in),
            Order::Remove { session, spi_in } => self.remove(session, spi_in),
            Order::Repath { session, path, encapsulate } => self.repath(session, Destination { path, encapsulate }),
            Order::Rest(resting) => self.rest(resting),
            Order::Leave { session } => {
                if let Some(resting) = self.resting.remove(&session) {
                    self.end(session, &resting.gate);
                }
            }
            Order::Guard { session, guard } => self.set_guard(session, guard),
            Order::StreamOpen(route) => self.open(route),
            Order::StreamClose { session } => {
                if let Some(opened) = self.streams.remove(&session) {
                    self.end(session, &opened.route.gate);
                }
            }
        }
    }

    fn set_guard(&mut self, session: u64, guard: Option<Arc<Guard>>) {
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.guard.clone_from(&guard);
        }
        if let Some(opened) = self.streams.get_mut(&session) {
            opened.guard.clone_from(&guard);
        }
        match guard {
            Some(guard) => self.guards.insert(session, guard),
            None => self.guards.remove(&session),
        };
    }

    /// A second one for a session takes the place of the first.
    fn open(&mut self, route: Arc<StreamRoute>) {
        if let Some(old) = self.streams.remove(&route.session) {
            self.end(route.session, &old.route.gate);
        }
        self.lease(route.session, &route.gate);
        let guard = self.guards.get(&route.session).cloned();
        self.streams.insert(route.session, Opened { route, guard });
    }

    /// Its last Child SA has gone.
    fn rest(&mut self, resting: Arc<Resting>) {
        if !self.peers.contains_key(&resting.session) {
            self.keep(resting.session, &resting.gate);
            self.resting.insert(resting.session, resting);
        }
    }

    fn install(&mut self, tunnel: Arc<Tunnel>) {
        let wakes = self.resting.remove(&tunnel.session).is_some();
        self.by_spi.insert(tunnel.spi_in, tunnel.clone());
        match tunnel.gate.role {
            // A rekey brings no newer session: the address stays where it is.
            Role::Gateway if self.peers.contains_key(&tunnel.session) || wakes => {}
            Role::Gateway => self.lease(tunnel.session, &tunnel.gate),
            Role::Client => self.own.extend(tunnel.gate.inner.iter().map(|&address| (address, tunnel.session))),
        }
        let to = Destination { path: tunnel.path, encapsulate: tunnel.encapsulate };
        let guard = || self.guards.get(&tunnel.session).cloned();
        let new = || Peer { tunnels: Vec::new(), outbound: tunnel.clone(), to, mtu: 0, guard: guard() };
        let peer = self.peers.entry(tunnel.session).or_insert_with(new);
        if tunnel.outbound_ready {
            peer.outbound = tunnel.clone();
        }
        peer.tunnels.push(tunnel);
        peer.measure();
    }

    fn use_outbound(&mut self, session: u64, spi_in: u32) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if let Some(tunnel) = peer.tunnels.iter().find(|tunnel| tunnel.spi_in == spi_in) {
            tunnel.trial.end();
            peer.outbound = tunnel.clone();
            peer.measure();
        }
    }

    fn repath(&mut self, session: u64, to: Destination) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        peer.to = to;
        peer.measure();
        let now = Uptime::now();
        peer.tunnels.iter().for_each(|tunnel| tunnel.movement.settle(to.path.remote, now));
    }

    fn remove(&mut self, session: u64, spi_in: u32) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        let Some(position) = peer.tunnels.iter().position(|tunnel| tunnel.spi_in == spi_in) else { return };
        let tunnel = peer.tunnels.remove(position);
        self.by_spi.remove(&spi_in);
        match peer.tunnels.last() {
            Some(newest) if peer.outbound.spi_in == spi_in => {
                peer.outbound = newest.clone();
                peer.measure();
            }
            Some(_) => {}
            None => self.end(session, &tunnel.gate),
        }
    }

    /// A new session gets what is sent to these addresses.
    fn lease(&mut self, session: u64, gate: &Gate) {
        gate.places().for_each(|place| self.lease_one(session, place));
    }

    fn lease_one(&mut self, session: u64, place: Prefix) {
        match self.leases.insert(place, session) {
            Some(before) if before != session => self.older.entry(place).or_default().push(before),
            Some(_) => {}
            None => self.count(place),
        }
    }

    /// A session goes on with its addresses; what has passed to a newer one meanwhile stays there.
    fn keep(&mut self, session: u64, gate: &Gate) {
        for place in gate.places() {
            match self.leases.get(&place) {
                Some(&newer) if newer > session => self.older.entry(place).or_default().insert(0, session),
                _ => self.lease_one(session, place),
            }
        }
    }

    /// A lease may have passed to a newer session in the meantime: that one keeps it. Or there is an older one that has it still.
    fn end(&mut self, session: u64, gate: &Gate) {
        self.peers.remove(&session);
        for address in &gate.inner {
            if self.own.get(address) == Some(&session) {
                self.own.remove(address);
            }
        }
        for place in gate.places() {
            let mut older = self.older.remove(&place).unwrap_or_default();
            older.retain(|before| *before != session);
            if self.leases.get(&place) == Some(&session) {
                match older.pop() {
                    Some(before) => {
                        self.leases.insert(place, before);
                    }
                    None => {
                        self.leases.remove(&place);
                        self.uncount(place);
                    }
                }
            }
            if !older.is_empty() {
                self.older.insert(place, older);
            }
        }
    }

    /// Hosts are asked for without it.
    fn count(&mut self, place: Prefix) {
        if place != Prefix::host(place.address) {
            *self.lengths[usize::from(place.address.is_ipv6())].entry(Reverse(place.len)).or_default() += 1;
        }
    }

    fn uncount(&mut self, place: Prefix) {
        let lengths = &mut self.lengths[usize::from(place.address.is_ipv6())];
        let Some(count) = lengths.get_mut(&Reverse(place.len)) else { return };
        *count -= 1;
        if *count == 0 {
            lengths.remove(&Reverse(place.len));
        }
    }
}

impl Peer {
    fn measure(&mut self) {
        self.mtu = self.outbound.mtu_on(self.to.path, self.to.encapsulate);
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
