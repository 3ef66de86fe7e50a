//! Opening devices and sockets, starting and stopping the threads.
use super::IkeSink;
use super::handle::{Control, DataplaneHandle};
use super::handover::{self, Handover, Other};
use super::ports::{Opened, Opener};
use super::stats::{Drops, TrafficCounters};
use super::stream::{NoStreams, StreamSink};
use super::tables::Command;
use super::thread::{FIRST_SOCKET, Ports, Shared, Thread};
use super::tunnel::Limits;
use net::poll::Waker;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

/// Three quarters of the sequence numbers without ESN: at ten million packets a second the rest lasts more than a minute and a half.
const WORN_AT: u64 = 3 << 30;

/// What the engine needs to start.
#[derive(Debug, Clone)]
pub struct DataplaneConfig {
    /// Name of the TUN device; `evg%d` lets the kernel choose a number.
    pub tun: String,
    /// Addresses of the NAT-traversal port: ESP in UDP, and IKE. May be unspecified.
    pub listen: Vec<SocketAddr>,
    /// Local addresses for ESP as IP protocol 50. May be unspecified; empty: none.
    pub raw: Vec<IpAddr>,
    /// Packet threads; 0: one per CPU that this process may use. A kernel without TUN multi-queue gets one.
    pub threads: usize,
    /// Binds each thread to a CPU of its own.
    pub pin: bool,
    /// Packets that the anti-replay window looks back.
    pub replay_window: u32,
    /// Sequence number at which control is told that a Child SA without ESN needs a rekey.
    pub worn_at: u64,
    /// Commands that may wait for one thread.
    pub commands: usize,
}

impl Default for DataplaneConfig {
    fn default() -> Self {
        Self {
            tun: "evg%d".to_owned(),
            listen: Vec::new(),
            raw: Vec::new(),
            threads: 0,
            pin: false,
            replay_window: esp::DEFAULT_WINDOW,
            worn_at: WORN_AT,
            commands: 4096,
        }
    }
}

/// The TUN device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
}

/// The running engine; dropping it stops the threads and removes the TUN device.
#[derive(Debug)]
pub struct Dataplane {
    handle: DataplaneHandle,
    interface: Interface,
    joins: Vec<JoinHandle<()>>,
}

impl Dataplane {
    /// [`Self::start_with_streams`] for an engine that carries no streams, and whose control wants no packets of clients.
    ///
    /// # Errors
    /// Of the operating system, with the device or address that it is about.
    pub fn start(config: DataplaneConfig, ike: impl IkeSink + Clone) -> io::Result<Self> {
        Self::start_with_streams(config, ike, NoStreams)
    }

    /// Creates the TUN device, binds the sockets and starts the threads. The caller gives the device its MTU, addresses and routes.
    /// IKE messages from the NAT-traversal port go to `ike`, events of streams and diverted packets to `events`.
    ///
    /// # Errors
    /// Of the operating system, with the device or address that it is about.
    pub fn start_with_streams(config: DataplaneConfig, ike: impl IkeSink + Clone, events: impl StreamSink + Clone) -> io::Result<Self> {
        let cpus = net::thread::available_cpus()?;
        let wanted = if config.threads == 0 { cpus.len() } else { config.threads };
        let tun = net::tun::open(&config.tun, wanted).map_err(io::Error::other)?;
        let count = tun.queues.len();
        tracing::info!(device = %tun.name, threads = count, offload = ?tun.offload, "data plane");
        let opener = Opener::new(count, FIRST_SOCKET);
        let Opened { known, shares } = opener.open(&config.listen, &config.raw)?;
        let drops = Arc::new(Drops::default());
        let (others, inboxes) = queues(count)?;
        let mut controls = Vec::with_capacity(count);
        let mut joins = Vec::with_capacity(count);
        for (((number, queue), (waker, batches)), share) in tun.queues.into_iter().enumerate().zip(inboxes).zip(shares) {
            let (commands, inbox) = sync_channel::<Command>(config.commands.max(1));
            let totals = Arc::new(TrafficCounters::default());
            controls.push(Control { commands, waker: waker.clone(), totals: totals.clone() });
            let (sink, events) = (Box::new(ike.clone()), Box::new(events.clone()));
            let shared = Shared { waker, inbox, totals, drops: drops.clone(), batches, sink, events };
            let worker = Thread::new(number, Ports { tun: queue, outer: share }, shared, Handover::new(others.clone()))?;
            let cpu = config.pin.then(|| cpus.get(number % cpus.len().max(1)).copied()).flatten();
            joins.push(start_thread(number, cpu, worker)?);
        }
        let limits = Limits { replay_window: config.replay_window, worn_at: config.worn_at };
        let handle = DataplaneHandle::new(controls, (opener, known), drops, limits);
        Ok(Self { handle, interface: Interface { name: tun.name, index: tun.index }, joins })
    }

    pub fn handle(&self) -> DataplaneHandle {
        self.handle.clone()
    }

    pub fn interface(&self) -> Interface {
        self.interface.clone()
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.handle.stop();
        for join in self.joins.drain(..) {
            // A thread that panicked has ended the process.
            drop(join.join());
        }
    }
}

/// What wakes a thread, and what the others hand to it.
type Inbox = (Waker, handover::Inbox);

/// The queues by which threads hand each other packets.
fn queues(count: usize) -> io::Result<(Vec<Other>, Vec<Inbox>)> {
    let mut others = Vec::with_capacity(count);
    let mut inboxes = Vec::with_capacity(count);
    for _ in 0..count {
        let waker = Waker::new()?;
        let (other, inbox) = handover::queue(waker.clone());
        others.push(other);
        inboxes.push((waker, inbox));
    }
    Ok((others, inboxes))
}

fn start_thread(number: usize, cpu: Option<usize>, worker: Thread) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("packets-{number}")).spawn(move || {
        if let Some(Err(error)) = cpu.map(net::thread::pin_current_thread) {
            tracing::warn!(%error, cpu, "a packet thread could not be bound to its CPU");
        }
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            // Its sessions would be black holes: better that the service starts anew.
            tracing::error!("a packet thread died; the process ends");
            std::process::abort();
        }
    })
}
