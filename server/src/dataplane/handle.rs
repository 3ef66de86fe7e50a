//! The control side of the engine.
use super::stats::{Drops, SessionCounters, Totals, TrafficCounters};
use super::tables::Command;
use super::tunnel::{Tunnel, TunnelSpec};
use super::{NON_ESP_MARKER, Path, serves};
use crypto::cipher::BadKeyLength;
use net::poll::Waker;
use net::udp::UdpSocket;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long, and how often, a full command queue is waited for: half a second in all.
const PATIENCE: Duration = Duration::from_millis(1);
const TRIES: usize = 500;

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
    sockets: Vec<Bound>,
    drops: Arc<Drops>,
    replay_window: u32,
    /// Locked while an order goes out, so that all threads see one order of orders.
    sessions: Mutex<Sessions>,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) commands: SyncSender<Command>,
    pub(super) waker: Waker,
    pub(super) totals: Arc<TrafficCounters>,
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) received: Arc<AtomicU64>,
}

/// What is installed, and the counters of what was.
#[derive(Debug, Default)]
struct Sessions {
    by_number: BTreeMap<u64, Session>,
    /// The session of each SPI.
    spis: BTreeMap<u32, u64>,
}

#[derive(Debug, Default)]
struct Session {
    traffic: Arc<TrafficCounters>,
    tunnels: BTreeMap<u32, Arc<Tunnel>>,
    /// The highest sequence number of tunnels that are gone.
    spent: u64,
}

impl DataplaneHandle {
    pub(super) fn new(threads: Vec<Control>, sockets: Vec<Bound>, drops: Arc<Drops>, replay_window: u32) -> Self {
        Self(Arc::new(Inner { threads, sockets, drops, replay_window, sessions: Mutex::default() }))
    }

    /// Starts a Child SA on all threads. A session's first makes its counters.
    pub fn install(&self, spec: TunnelSpec) -> Result<(), InstallError> {
        let mut sessions = self.sessions();
        let (session, spi_in) = (spec.session, spec.spi_in);
        if sessions.spis.contains_key(&spi_in) {
            return Err(InstallError::DuplicateSpi(spi_in));
        }
        let traffic = sessions.by_number.get(&session).map(|session| session.traffic.clone()).unwrap_or_default();
        let tunnel = Arc::new(Tunnel::new(spec, self.0.replay_window, traffic.clone())?);
        if let Err(stalled) = self.broadcast(&Command::Install(tunnel.clone())) {
            // Those that took it give it back; the one that stalls has not got it.
            self.broadcast(&Command::Remove { session, spi_in }).ok();
            return Err(stalled.into());
        }
        sessions.spis.insert(spi_in, session);
        let entry = sessions.by_number.entry(session).or_insert_with(|| Session { traffic, ..Session::default() });
        entry.tunnels.insert(spi_in, tunnel);
        Ok(())
    }

    /// Sends on this Child SA of the session from now on.
    pub fn use_outbound(&self, session: u64, spi_in: u32) -> Result<(), Stalled> {
        let _sessions = self.sessions();
        self.broadcast(&Command::UseOutbound { session, spi_in })
    }

    /// Ends one Child SA; the session's counters stay until [`Self::forget`].
    pub fn remove(&self, session: u64, spi_in: u32) -> Result<(), Stalled> {
        let mut sessions = self.sessions();
        sessions.release(session, spi_in);
        self.broadcast(&Command::Remove { session, spi_in })
    }

    /// Sends to another address from now on.
    pub fn repath(&self, session: u64, path: Path, encapsulate: bool) -> Result<(), Stalled> {
        let _sessions = self.sessions();
        self.broadcast(&Command::Repath { session, path, encapsulate })
    }

    /// Drops the session's counters, and ends what may still be installed.
    pub fn forget(&self, session: u64) {
        let mut sessions = self.sessions();
        let left: Vec<u32> = sessions.by_number.get(&session).map(|session| session.tunnels.keys().copied().collect()).unwrap_or_default();
        for spi_in in left {
            sessions.release(session, spi_in);
            if let Err(stalled) = self.broadcast(&Command::Remove { session, spi_in }) {
                tracing::error!(%stalled, session, "a tunnel could not be removed");
            }
        }
        sessions.by_number.remove(&session);
    }

    /// Sends an IKE message from the NAT-traversal port, with the marker.
    ///
    /// # Errors
    /// When no socket serves the local address, or the operating system refuses.
    pub fn send_ike(&self, path: Path, message: &[u8]) -> io::Result<()> {
        let bound = self.0.sockets.iter().find(|bound| serves(bound.address.ip(), path.local.ip()));
        let bound = bound.ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no socket for {}", path.local)))?;
        let datagram = [&NON_ESP_MARKER, message].concat();
        Ok(bound.socket.send(Some(path.local.ip()), path.remote, &datagram)?)
    }

    /// `None` for a session that has never been, or is forgotten.
    pub fn counters(&self, session: u64) -> Option<SessionCounters> {
        let sessions = self.sessions();
        let session = sessions.by_number.get(&session)?;
        let live = session.tunnels.values().map(|tunnel| tunnel.outbound.sequence()).max();
        Some(SessionCounters { outbound_sequence: live.unwrap_or(session.spent), ..session.traffic.read() })
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals { drops: self.0.drops.named(), ..Totals::default() };
        self.0.threads.iter().for_each(|thread| totals.add(&thread.totals));
        totals
    }

    /// Datagrams received per address of the NAT-traversal port.
    pub fn received(&self) -> Vec<(SocketAddr, u64)> {
        self.0.sockets.iter().map(|bound| (bound.address, bound.received.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn stop(&self) {
        for thread in &self.0.threads {
            // A thread that is gone needs no order; one that is busy has room soon.
            drop(thread.commands.send(Command::Stop));
            thread.waker.wake();
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Each change is complete before anything that could panic.
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broadcast(&self, command: &Command) -> Result<(), Stalled> {
        let mut outcome = Ok(());
        for (number, thread) in self.0.threads.iter().enumerate() {
            // All get it, even if one stalls.
            outcome = outcome.and(thread.order(number, command.clone()));
        }
        outcome
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
    fn release(&mut self, session: u64, spi_in: u32) {
        let Some(entry) = self.by_number.get_mut(&session) else { return };
        if let Some(tunnel) = entry.tunnels.remove(&spi_in) {
            entry.spent = tunnel.outbound.sequence();
            self.spis.remove(&spi_in);
        }
    }
}
