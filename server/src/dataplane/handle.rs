//! The control side of the engine.
use super::gate::Gate;
use super::guard::{Guard, GuardCounters};
use super::ports::{Known, Opened, Opener};
use super::stats::{Drops, SessionCounters, Totals, TrafficCounters};
use super::stream::{Adopted, StreamRoute, StreamSpec, StreamTunnel};
use super::tables::{Command, Order, Resting};
use super::tcp;
use super::tunnel::{Limits, Tunnel, TunnelSpec};
use super::watch::Demand;
use super::{NON_ESP_MARKER, Path, serves};
use crypto::cipher::BadKeyLength;
use net::poll::Waker;
use net::tcp::TcpOptions;
use policy::filter::Restrictions;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long, and how often, a full command queue is waited for: half a second in all.
const PATIENCE: Duration = Duration::from_millis(1);
const TRIES: usize = 500;

/// A client or a network that is gone is found out in a minute and a half; and the kernel holds back no more than it can send soon, so
/// that packets wait where they can still be dropped.
pub(super) const TCP: TcpOptions = TcpOptions {
    keepalive_idle: Duration::from_secs(60),
    keepalive_interval: Duration::from_secs(10),
    user_timeout: Duration::from_secs(90),
    unsent: 128 << 10,
};

/// A packet thread does not take commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet thread {thread} takes no commands; the machine is overloaded or the thread hangs")]
pub struct Stalled {
    pub thread: usize,
}

/// Why a tunnel cannot be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("keys do not fit the suite: {0}")]
    Keys(#[from] BadKeyLength),
    #[error("SPI {0:08x} is in use")]
    DuplicateSpi(u32),
    #[error("inner packets of {mtu} bytes at most fit a path of {path_mtu}; IP needs 68")]
    Mtu { mtu: usize, path_mtu: u16 },
    #[error(transparent)]
    Stalled(#[from] Stalled),
}

/// Commands and counters; cheap to clone.
#[derive(Debug, Clone)]
pub struct DataplaneHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    threads: Vec<Control>,
    opener: Opener,
    /// The outer sockets. Only control looks here.
    ports: Mutex<Known>,
    drops: Arc<Drops>,
    limits: Limits,
    /// TCP connections that were ever adopted.
    connections: AtomicU64,
    /// Locked while an order goes out, so that all threads see one order of orders.
    sessions: Mutex<Sessions>,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) commands: SyncSender<Command>,
    pub(super) waker: Waker,
    pub(super) totals: Arc<TrafficCounters>,
}

/// What is installed, and the counters of what was.
#[derive(Debug, Default)]
struct Sessions {
    by_number: BTreeMap<u64, Session>,
    /// The session of each SPI.
    spis: BTreeMap<u32, u64>,
    /// Of sessions that have or had restrictions, from before their first tunnel on.
    guarded: BTreeMap<u64, Arc<GuardCounters>>,
}

#[derive(Debug, Default)]
struct Session {
    traffic: Arc<TrafficCounters>,
    tunnels: BTreeMap<u32, Arc<Tunnel>>,
    /// The highest sequence number of tunnels that are gone.
    spent: u64,
    /// What the last of them let through.
    gate: Option<Arc<Gate>>,
    /// The thread that owns its stream, if it is one.
    stream: Option<usize>,
    /// The thread that owns the TCP connection of its ESP packets, if there is one.
    connection: Option<usize>,
}

impl DataplaneHandle {
    pub(super) fn new(threads: Vec<Control>, (opener, known): (Opener, Known), drops: Arc<Drops>, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            threads,
            opener,
            ports: Mutex::new(known),
            drops,
            limits,
            connections: AtomicU64::default(),
            sessions: Mutex::default(),
        }))
    }

    /// Starts a Child SA on all threads. A session's first makes its counters.
    pub fn install(&self, spec: TunnelSpec) -> Result<(), InstallError> {
        let mut sessions = self.sessions();
        let (session, spi_in) = (spec.session, spec.spi_in);
        if sessions.spis.contains_key(&spi_in) {
            return Err(InstallError::DuplicateSpi(spi_in));
        }
        let traffic = sessions.by_number.get(&session).map(|session| session.traffic.clone()).unwrap_or_default();
        let tunnel = Arc::new(Tunnel::new(spec, self.0.limits, traffic.clone())?);
        if let Err(stalled) = self.broadcast(&Order::Install(tunnel.clone())) {
            // Those that took it give it back; the one that stalls has not got it.
            self.broadcast(&Order::Remove { session, spi_in }).ok();
            return Err(stalled.into());
        }
        sessions.spis.insert(spi_in, session);
        let connection = tunnel.path.connection.map(tcp::owner);
        // The path of a session's first tunnel; later ones come where it has moved to.
        let entry = sessions.by_number.entry(session).or_insert_with(|| Session { traffic, connection, ..Session::default() });
        entry.tunnels.insert(spi_in, tunnel);
        Ok(())
    }

    /// Sends on this Child SA of the session from now on.
    pub fn use_outbound(&self, session: u64, spi_in: u32) -> Result<(), Stalled> {
        let _sessions = self.sessions();
        self.broadcast(&Order::UseOutbound { session, spi_in })
    }

    /// Ends one Child SA; the session's counters stay until [`Self::forget`].
    pub fn remove(&self, session: u64, spi_in: u32) -> Result<(), Stalled> {
        let mut sessions = self.sessions();
        sessions.release(session, spi_in);
        self.broadcast(&Order::Remove { session, spi_in })
    }

    /// The session, an ESP one, keeps its addresses although its last Child SA is gone: packets for it become [`StreamEvent::Wanted`] until a new one
    /// is installed or the session is forgotten. Without effect on one that has never had a Child SA.
    ///
    /// [`StreamEvent::Wanted`]: super::StreamEvent::Wanted
    pub fn rest(&self, session: u64) -> Result<(), Stalled> {
        let sessions = self.sessions();
        let Some(gate) = sessions.by_number.get(&session).and_then(|entry| entry.gate.clone()) else { return Ok(()) };
        self.broadcast(&Order::Rest(Arc::new(Resting { session, gate, demand: Demand::default() })))
    }

    /// Sends to another address from now on.
    pub fn repath(&self, session: u64, path: Path, encapsulate: bool) -> Result<(), Stalled> {
        let mut sessions = self.sessions();
        if let Some(entry) = sessions.by_number.get_mut(&session) {
            entry.connection = path.connection.map(tcp::owner);
        }
        self.broadcast(&Order::Repath { session, path, encapsulate })
    }

    /// Filters and rate limits of a session from now on, of all its tunnels, those to come included; in place of those that it had.
    ///
    /// # Errors
    /// When a thread takes no orders: packets of the session may pass without them, so it must end.
    pub fn restrict(&self, session: u64, restrictions: Restrictions) -> Result<(), Stalled> {
        let mut sessions = self.sessions();
        let known = sessions.guarded.get(&session).cloned();
        if restrictions.is_empty() && known.is_none() {
            return Ok(());
        }
        let counters = known.unwrap_or_default();
        sessions.guarded.insert(session, counters.clone());
        let guard = (!restrictions.is_empty()).then(|| Arc::new(Guard::new(session, restrictions, counters)));
        self.broadcast(&Order::Guard { session, guard })
    }

    /// Gives a connection to one packet thread for its life. What the client sends from now on comes as events; IP data flows once
    /// [`Self::stream_open`] allows it.
    ///
    /// # Errors
    /// When the thread takes no orders: the connection is closed.
    pub fn adopt(&self, spec: StreamSpec) -> Result<(), Stalled> {
        if let Err(error) = net::tcp::prepare(&spec.socket, &TCP) {
            // It may be gone already, which its thread finds out.
            tracing::debug!(session = spec.session, %error, "a connection takes no options");
        }
        let mut sessions = self.sessions();
        let session = spec.session;
        let thread = sessions.owner(session).unwrap_or_else(|| sessions.least_busy(self.0.threads.len()));
        let entry = sessions.by_number.entry(session).or_default();
        entry.stream = Some(thread);
        let outcome = self.order(thread, Command::Adopt(Box::new(Adopted { spec, traffic: entry.traffic.clone() })));
        if outcome.is_err() {
            entry.stream = None;
        }
        outcome
    }

    /// Sends a whole SSTP packet of control, in order with what was sent before, and before later data. Without effect on a stream that
    /// is gone or closed.
    pub fn stream_send(&self, session: u64, packet: Vec<u8>) -> Result<(), Stalled> {
        let sessions = self.sessions();
        match sessions.owner(session) {
            Some(thread) => self.order(thread, Command::StreamSend { session, packet }),
            None => Ok(()),
        }
    }

    /// IP data may flow from now on: call this when the call is connected and the network is up. Before, it is dropped both ways.
    /// A second call changes the tunnel. Without effect on a session without stream.
    pub fn stream_open(&self, tunnel: StreamTunnel) -> Result<(), Stalled> {
        let sessions = self.sessions();
        let Some((entry, owner)) = sessions.by_number.get(&tunnel.session).and_then(|entry| Some((entry, entry.stream?))) else {
            return Ok(());
        };
        let route = StreamRoute::new(tunnel, owner, entry.traffic.clone());
        self.broadcast(&Order::StreamOpen(Arc::new(route)))
    }

    /// Ends a stream: sends what is queued, then close_notify, for a second at most. Data stops at once.
    pub fn stream_close(&self, session: u64) -> Result<(), Stalled> {
        let sessions = self.sessions();
        match sessions.owner(session) {
            Some(_) => self.broadcast(&Order::StreamClose { session }),
            None => Ok(()),
        }
    }

    /// The latest packet of a session's client, of whatever kind; `None` before the first.
    pub fn last_heard(&self, session: u64) -> Option<Instant> {
        self.sessions().by_number.get(&session)?.traffic.heard()
    }

    /// Sends an IP packet of the gateway's own to the client of a session, through whichever tunnel it has. Without effect when it has
    /// none.
    pub fn send_inner(&self, session: u64, packet: Vec<u8>) -> Result<(), Stalled> {
        let sessions = self.sessions();
        let Some(entry) = sessions.by_number.get(&session) else { return Ok(()) };
        // Any thread can seal for ESP; a remainder of it fits.
        let thread = entry.stream.or(entry.connection).unwrap_or((session % self.0.threads.len() as u64) as usize);
        self.order(thread, Command::SendInner { session, packet })
    }

    /// Drops the session's counters, and ends what may still be installed or open.
    pub fn forget(&self, session: u64) {
        let mut sessions = self.sessions();
        if sessions.owner(session).is_some()
            && let Err(stalled) = self.broadcast(&Order::StreamClose { session })
        {
            tracing::error!(%stalled, session, "a stream could not be closed");
        }
        if sessions.by_number.get(&session).is_some_and(|entry| entry.gate.is_some())
            && let Err(stalled) = self.broadcast(&Order::Leave { session })
        {
            tracing::error!(%stalled, session, "the addresses of a session could not be given back");
        }
        let left: Vec<u32> = sessions.by_number.get(&session).map(|session| session.tunnels.keys().copied().collect()).unwrap_or_default();
        for spi_in in left {
            sessions.release(session, spi_in);
            if let Err(stalled) = self.broadcast(&Order::Remove { session, spi_in }) {
                tracing::error!(%stalled, session, "a tunnel could not be removed");
            }
        }
        sessions.by_number.remove(&session);
        if sessions.guarded.remove(&session).is_some()
            && let Err(stalled) = self.broadcast(&Order::Guard { session, guard: None })
        {
            tracing::error!(%stalled, session, "the filters of a session that is gone are left behind");
        }
    }

    /// Sends an IKE message from the NAT-traversal port or on the path's TCP connection, with the marker.
    ///
    /// # Errors
    /// When no socket serves the local address, or the operating system refuses.
    pub fn send_ike(&self, path: Path, message: &[u8]) -> io::Result<()> {
        if let Some(connection) = path.connection {
            let frame = ike::tcp::frame(message).ok_or_else(|| io::Error::other("an IKE message that fits no TCP stream"))?;
            return self.connection_send(connection, frame).map_err(io::Error::other);
        }
        let ports = self.ports();
        let is_its = |address: SocketAddr| serves(address.ip(), path.local.ip()) && address.port() == path.local.port();
        let bound = ports.udp.iter().find(|bound| is_its(bound.address));
        let bound = bound.ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no socket for {}", path.local)))?;
        let datagram = [&NON_ESP_MARKER, message].concat();
        Ok(bound.socket.send(Some(path.local.ip()), path.remote, &datagram)?)
    }

    /// Binds those addresses that no thread serves yet: all, or none. `listen` and `raw` as in [`DataplaneConfig`](super::DataplaneConfig).
    ///
    /// # Errors
    /// Of the operating system, with the address that it is about.
    pub fn open(&self, listen: &[SocketAddr], raw: &[IpAddr]) -> io::Result<Opened> {
        let (listen, raw) = self.ports().missing(listen, raw);
        self.0.opener.open(&listen, &raw)
    }

    /// Serves these addresses from now on, those that are new by what was [opened](Self::open) for them, and no others. What has arrived at those is
    /// still taken.
    ///
    /// # Errors
    /// When a thread takes no orders: it goes on with the sockets that it has.
    pub fn serve(&self, listen: &[SocketAddr], raw: &[IpAddr], opened: Opened) -> Result<(), Stalled> {
        let mut ports = self.ports();
        let gone: Arc<[u64]> = ports.keep(listen, raw).into();
        ports.extend(opened.known);
        let mut outcome = Ok(());
        for (number, share) in opened.shares.into_iter().enumerate() {
            // All get theirs, even if one stalls.
            outcome = outcome.and(self.order(number, Command::Ports { share: Box::new(share), gone: gone.clone() }));
        }
        outcome
    }

    /// `None` for a session that has never been, or is forgotten.
    pub fn counters(&self, session: u64) -> Option<SessionCounters> {
        let sessions = self.sessions();
        let entry = sessions.by_number.get(&session)?;
        let live = entry.tunnels.values().map(|tunnel| tunnel.outbound.sequence()).max();
        let dropped = |which: fn(&GuardCounters) -> &AtomicU64| {
            sessions.guarded.get(&session).map_or(0, |counters| which(counters).load(Ordering::Relaxed))
        };
        Some(SessionCounters {
            outbound_sequence: live.unwrap_or(entry.spent),
            filtered_in: dropped(|counters| &counters.filtered_in),
            filtered_out: dropped(|counters| &counters.filtered_out),
            rate_limited: dropped(|counters| &counters.rate_limited),
            ..entry.traffic.read()
        })
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals { drops: self.0.drops.named(), ..Totals::default() };
        self.0.threads.iter().for_each(|thread| totals.add(&thread.totals));
        totals
    }

    /// Datagrams received per address of the NAT-traversal port.
    pub fn received(&self) -> Vec<(SocketAddr, u64)> {
        self.ports().udp.iter().map(|bound| (bound.address, bound.received.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn stop(&self) {
        for thread in &self.0.threads {
            // A thread that is gone needs no order; one that is busy has room soon.
            drop(thread.commands.send(Command::Stop));
            thread.waker.wake();
        }
    }

    fn ports(&self) -> MutexGuard<'_, Known> {
        // Each change is complete before anything that could panic.
        self.0.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Each change is complete before anything that could panic.
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broadcast(&self, order: &Order) -> Result<(), Stalled> {
        let mut outcome = Ok(());
        for number in 0..self.0.threads.len() {
            // All get it, even if one stalls.
            outcome = outcome.and(self.order(number, Command::Table(order.clone())));
        }
        outcome
    }

    pub(super) fn connections(&self) -> &AtomicU64 {
        &self.0.connections
    }

    pub(super) fn threads(&self) -> usize {
        self.0.threads.len()
    }

    pub(super) fn order(&self, thread: usize, command: Command) -> Result<(), Stalled> {
        self.0.threads[thread].order(thread, command)
    }
}

impl Control {
    fn order(&self, thread: usize, mut command: Command) -> Result<(), Stalled> {
        for _ in 0..TRIES {
            match self.commands.try_send(command) {
                Ok(()) => {
                    self.waker.wake();
                    return Ok(());
                }
                Err(TrySendError::Full(back)) => command = back,
                Err(TrySendError::Disconnected(_)) => return Err(Stalled { thread }),
            }
            self.waker.wake();
            std::thread::sleep(PATIENCE);
        }
        Err(Stalled { thread })
    }
}

impl Sessions {
    /// The thread that owns a session's stream.
    fn owner(&self, session: u64) -> Option<usize> {
        self.by_number.get(&session)?.stream
    }

    /// The thread with the fewest streams.
    fn least_busy(&self, threads: usize) -> usize {
        let mut streams = vec![0_usize; threads];
        self.by_number.values().filter_map(|session| session.stream).for_each(|owner| streams[owner] += 1);
        (0..threads).min_by_key(|&thread| streams[thread]).unwrap_or(0)
    }

    fn release(&mut self, session: u64, spi_in: u32) {
        let Some(entry) = self.by_number.get_mut(&session) else { return };
        if let Some(tunnel) = entry.tunnels.remove(&spi_in) {
            entry.spent = tunnel.outbound.sequence();
            entry.gate = Some(tunnel.gate.clone());
            self.spis.remove(&spi_in);
        }
    }
}
