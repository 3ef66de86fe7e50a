//! The packet engine: TUN on one side, ESP in UDP and as IP protocol 50 on the other, on threads of its own.
//!
//! Each thread has a TUN queue, its members of the SO_REUSEPORT groups, and its own tables. A filter in the kernel brings packets to the
//! thread that the last byte of the SPI names, and the kernel's flow steering brings a flow's other direction to the same TUN queue, so in
//! practice a session lives on one thread; correctness does not depend on it. Control talks to the threads by bounded channels.
mod inbound;
mod outbound;
mod stats;
mod tables;
mod thread;
mod tunnel;

pub use stats::{Drops, TrafficCounters};
pub use tunnel::{Keys, Role, Selector, Tunnel, TunnelSpec};

use ike::Path;
use net::link::{Netlink, Prefix, Route};
use net::poll::Waker;
use net::raw::RawSocket;
use net::udp::{UdpOptions, UdpSocket};
use stats::ThreadTotals;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Commands that may wait for one packet thread; the control thread waits for room beyond that.
const COMMAND_QUEUE: usize = 4096;

/// Socket buffers of raw ESP sockets, bytes.
const RAW_BUFFER: usize = 8 << 20;

/// The four zero bytes before an IKE message on the NAT-traversal port (RFC 3948 section 2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// What the engine needs to start.
#[derive(Debug, Clone)]
pub struct DataplaneConfig {
    /// Name of the TUN device.
    pub tun: String,
    /// MTU of the TUN device and upper limit of every tunnel's.
    pub mtu: u16,
    /// Packet threads; 0: one per core.
    pub threads: usize,
    /// Addresses to bind for ESP in UDP; the port is the NAT-traversal port.
    pub addresses: Vec<SocketAddr>,
    /// Prefixes routed into the TUN device.
    pub routes: Vec<Prefix>,
    /// Addresses of the TUN device itself (client role).
    pub own: Vec<Prefix>,
}

/// An IKE message that arrived on the NAT-traversal port, its marker stripped.
pub type IkeSink = Box<dyn Fn(Path, &[u8]) -> bool + Send>;

/// The running engine; dropping it stops the threads and removes the TUN device.
#[derive(Debug)]
pub struct Dataplane {
    threads: Vec<Control>,
    sockets: Vec<Bound>,
    drops: Arc<Drops>,
    device: u32,
}

#[derive(Debug)]
struct Control {
    commands: SyncSender<Command>,
    waker: Waker,
    totals: Arc<ThreadTotals>,
    join: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    /// Thread 0's member of the group: what control sends through.
    socket: Arc<UdpSocket>,
    received: Arc<AtomicU64>,
}

/// Orders to a packet thread.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Install(Arc<Tunnel>),
    UseOutbound { session: u64, spi_in: u32 },
    Remove { session: u64, spi_in: u32 },
    Repath { session: u64, path: Path, encapsulate: bool },
    Stop,
}

/// Sums over all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
}

impl Dataplane {
    /// Creates the TUN device, binds the sockets and starts the threads. `sink(thread)` makes the place where that thread hands IKE
    /// messages; it returns false when the message was dropped.
    pub fn start(config: &DataplaneConfig, sink: impl Fn() -> IkeSink) -> io::Result<Self> {
        let wanted = if config.threads == 0 { std::thread::available_parallelism()?.get() } else { config.threads };
        let tun = net::tun::open(&config.tun, wanted).map_err(io::Error::other)?;
        let device = tun.index;
        // One queue a thread: a kernel without multi-queue gets one thread.
        let count = tun.queues.len();
        configure_device(device, config)?;
        tracing::info!(device = %tun.name, queues = tun.queues.len(), offload = ?tun.offload, "data plane");
        let groups = config.addresses.iter().map(|&address| Group::bind(address, count)).collect::<io::Result<Vec<_>>>()?;
        let sockets = groups.iter().map(Group::bound).collect();
        let drops = Arc::new(Drops::default());
        let mut threads = Vec::with_capacity(count);
        for (number, queue) in tun.queues.into_iter().enumerate() {
            let sockets = groups.iter().map(|group| group.member(number)).collect();
            let raw = groups.iter().map(|group| group.raw(number, count)).collect::<io::Result<_>>()?;
            threads.push(start_thread(number, queue, sockets, raw, drops.clone(), sink())?);
        }
        Ok(Self { threads, sockets, drops, device })
    }

    /// Starts a tunnel on all threads.
    pub fn install(&self, tunnel: &Arc<Tunnel>) {
        self.broadcast(&Command::Install(tunnel.clone()));
    }

    /// Sends on this tunnel of the session from now on.
    pub fn use_outbound(&self, session: u64, spi_in: u32) {
        self.broadcast(&Command::UseOutbound { session, spi_in });
    }

    pub fn remove(&self, session: u64, spi_in: u32) {
        self.broadcast(&Command::Remove { session, spi_in });
    }

    pub fn repath(&self, session: u64, path: Path, encapsulate: bool) {
        self.broadcast(&Command::Repath { session, path, encapsulate });
    }

    /// Sends an IKE message from the NAT-traversal port, with the marker.
    pub fn send_ike(&self, path: Path, message: &[u8]) {
        let Some(bound) = self.sockets.iter().find(|bound| serves(bound.address.ip(), path.local.ip())) else { return };
        let datagram = [&NON_ESP_MARKER, message].concat();
        if let Err(error) = bound.socket.send(Some(path.local.ip()), path.remote, &datagram) {
            tracing::debug!(remote = %path.remote, %error, "ike message not sent");
        }
    }

    /// Datagrams received per bound address.
    pub fn received(&self) -> Vec<(SocketAddr, u64)> {
        self.sockets.iter().map(|bound| (bound.address, bound.received.load(Ordering::Relaxed))).collect()
    }

    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    pub fn totals(&self) -> Totals {
        self.threads.iter().map(|thread| thread.totals.read()).fold(Totals::default(), |a, b| Totals {
            octets_in: a.octets_in + b.octets_in,
            octets_out: a.octets_out + b.octets_out,
            packets_in: a.packets_in + b.packets_in,
            packets_out: a.packets_out + b.packets_out,
        })
    }

    /// Interface index of the TUN device.
    pub fn device(&self) -> u32 {
        self.device
    }

    fn broadcast(&self, command: &Command) {
        for thread in &self.threads {
            if thread.commands.send(command.clone()).is_err() {
                tracing::error!("a packet thread is gone");
            }
            thread.waker.wake();
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            // A thread that is gone already needs no order.
            drop(thread.commands.send(Command::Stop));
            thread.waker.wake();
            if let Some(join) = thread.join.take() {
                drop(join.join());
            }
        }
    }
}

/// The members of one SO_REUSEPORT group, one per thread.
struct Group {
    address: SocketAddr,
    members: Vec<Arc<UdpSocket>>,
    received: Arc<AtomicU64>,
}

impl Group {
    fn bind(address: SocketAddr, count: usize) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot bind udp {address}: {error}"));
        let options = UdpOptions::default();
        let members =
            (0..count).map(|_| UdpSocket::bind(address, &options).map(Arc::new)).collect::<io::Result<Vec<_>>>().map_err(named)?;
        if let (Some(first), true) = (members.first(), count > 1) {
            net::steer::attach_spi_steering(first, u32::try_from(count).unwrap_or(u32::MAX))?;
        }
        Ok(Self { address, members, received: Arc::default() })
    }

    fn bound(&self) -> Bound {
        // A group has at least one member: there is at least one thread.
        Bound { address: self.address, socket: self.members[0].clone(), received: self.received.clone() }
    }

    fn member(&self, number: usize) -> thread::UdpPort {
        thread::UdpPort { socket: self.members[number].clone(), address: self.address, received: self.received.clone() }
    }

    fn raw(&self, number: usize, count: usize) -> io::Result<RawSocket> {
        let socket = RawSocket::open_esp(self.address.ip(), RAW_BUFFER)?;
        let (number, count) = (u32::try_from(number).unwrap_or(u32::MAX), u32::try_from(count).unwrap_or(u32::MAX));
        net::steer::attach_raw_filter(&socket, number, count)?;
        Ok(socket)
    }
}

fn start_thread(
    number: usize,
    tun: net::tun::TunQueue,
    sockets: Vec<thread::UdpPort>,
    raw: Vec<RawSocket>,
    drops: Arc<Drops>,
    sink: IkeSink,
) -> io::Result<Control> {
    let (commands, inbox) = sync_channel(COMMAND_QUEUE);
    let waker = Waker::new()?;
    let totals = Arc::new(ThreadTotals::default());
    let shared = thread::Shared { waker: waker.clone(), inbox, totals: totals.clone(), drops, sink };
    let worker = thread::Thread::new(tun, sockets, raw, shared)?;
    let join = std::thread::Builder::new().name(format!("packets-{number}")).spawn(move || worker.run())?;
    Ok(Control { commands, waker, totals, join: Some(join) })
}

fn configure_device(device: u32, config: &DataplaneConfig) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.set_mtu(device, u32::from(config.mtu))?;
    netlink.set_up(device)?;
    for &address in &config.own {
        netlink.add_address(device, address)?;
    }
    for &destination in &config.routes {
        netlink.replace_route(&Route { destination, device, gateway: None, source: None, metric: None })?;
    }
    Ok(())
}

fn serves(bound: IpAddr, local: IpAddr) -> bool {
    bound == local || (bound.is_unspecified() && bound.is_ipv4() == local.is_ipv4())
}
