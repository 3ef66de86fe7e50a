//! The bound listeners, and how they follow other configurations: an address that stays keeps its socket, one that goes takes no connections any more, and
//! connections that were accepted go on.
use super::{Arrival, Bounds, Counters, Doors, Places, Shared, accept, doors, sstp};
use crate::config::Config;
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

/// One listener, bound.
#[derive(Debug)]
pub struct Front {
    pub name: String,
    pub protocol: &'static str,
    port: u16,
    pub sockets: Vec<Socket>,
    shared: Arc<Shared>,
}

/// One of its addresses. Dropped, it takes no connections any more.
#[derive(Debug)]
pub struct Socket {
    pub address: SocketAddr,
    listener: Arc<TcpListener>,
    accepted: Arc<AtomicU64>,
    /// What new connections are to find; those that were accepted before keep theirs.
    shared: watch::Sender<Arc<Shared>>,
}

impl Socket {
    fn open(address: SocketAddr, listener: TcpListener, shared: Arc<Shared>) -> Self {
        let (shared, newest) = watch::channel(shared);
        let (listener, accepted) = (Arc::new(listener), Arc::default());
        tokio::spawn(accept(Arc::clone(&listener), newest, Arc::clone(&accepted)));
        Self { address, listener, accepted, shared }
    }

    /// Connections accepted there.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug)]
pub struct Fronts {
    all: Vec<Front>,
    counters: Arc<Counters>,
    arrivals: mpsc::Sender<Arrival>,
}

/// What a configuration wants of them, with its new addresses bound; dropped, as if it had never been.
#[derive(Debug)]
pub struct Prepared(Vec<Ready<net::listen::Bound>>);

/// The same, with connections arriving at the new addresses already.
#[derive(Debug)]
pub struct Listening(Vec<Ready<TcpListener>>);

/// `T`: what there is at its new addresses.
#[derive(Debug)]
struct Ready<T> {
    name: String,
    protocol: &'static str,
    port: u16,
    addresses: Vec<SocketAddr>,
    bound: BTreeMap<SocketAddr, T>,
    shared: Arc<Shared>,
}

impl Fronts {
    /// None yet: what they accept goes to `arrivals`.
    pub fn new(counters: Arc<Counters>, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self { all: Vec::new(), counters, arrivals }
    }

    pub fn all(&self) -> &[Front] {
        &self.all
    }

    /// Binds what is not bound yet: all, or nothing.
    ///
    /// # Errors
    /// An address cannot be bound, or TLS does not take a certificate.
    pub fn prepare(&self, config: &Config, bounds: &Bounds) -> anyhow::Result<Prepared> {
        let doors = doors(config);
        let mut wanted = BTreeSet::new();
        for (name, address) in doors.iter().flat_map(|doors| doors.sockets().map(|address| (doors.name(), address))) {
            anyhow::ensure!(
                wanted.insert(address),
                "listener {name:?}: tcp {address} is another listener's: give one of them another port or other addresses"
            );
        }
        let ready = |doors: Doors<'_>| {
            let name = doors.name().to_owned();
            self.ready(doors, &config.server.name, bounds, &wanted).with_context(|| format!("listener {name:?}"))
        };
        doors.into_iter().map(ready).collect::<anyhow::Result<_>>().map(Prepared)
    }

    /// New connections find what was made ready, and only there.
    pub fn configure(&mut self, Listening(ready): Listening) {
        let former = self.all.drain(..).flat_map(|front| front.sockets);
        let mut sockets: BTreeMap<_, _> = former.map(|socket| (socket.address, socket)).collect();
        self.all = ready.into_iter().map(|ready| ready.open(&mut sockets)).collect();
    }

    /// `wanted`: of all listeners.
    fn ready(
        &self,
        doors: Doors<'_>,
        gateway_name: &str,
        bounds: &Bounds,
        wanted: &BTreeSet<SocketAddr>,
    ) -> anyhow::Result<Ready<net::listen::Bound>> {
        let former = self.all.iter().find(|front| front.is_behind(doors)).map(|front| &front.shared);
        // Who is counted stays counted.
        let counted = former.filter(|former| former.bounds == *bounds && former.places.proxies() == doors.proxies());
        let places = counted.map_or_else(|| Arc::new(Places::new(bounds, doors.proxies().to_vec())), |former| Arc::clone(&former.places));
        let shared = Shared {
            sstp: sstp(doors, gateway_name)?,
            encapsulated: doors.encapsulated(),
            bounds: bounds.clone(),
            places,
            workers: former.map_or_else(handshakes, |former| Arc::clone(&former.workers)),
            counters: Arc::clone(&self.counters),
            arrivals: self.arrivals.clone(),
        };
        let addresses: Vec<_> = doors.sockets().collect();
        let unbound = addresses.iter().filter(|address| !self.sockets().any(|socket| socket.address == **address));
        let bound = unbound.map(|&address| Ok((address, self.bind(address, wanted)?))).collect::<anyhow::Result<_>>()?;
        Ok(Ready {
            name: doors.name().to_owned(),
            protocol: doors.protocol(),
            port: doors.port(),
            addresses,
            bound,
            shared: Arc::new(shared),
        })
    }

    /// In place of sockets of ours that are not `wanted` any more.
    fn bind(&self, address: SocketAddr, wanted: &BTreeSet<SocketAddr>) -> anyhow::Result<net::listen::Bound> {
        let goes = |socket: &&Socket| net::listen::overlap(socket.address, address) && !wanted.contains(&socket.address);
        let held: Vec<_> = self.sockets().filter(goes).map(|socket| socket.listener.as_fd()).collect();
        net::listen::bind_in_place_of(address, &held).with_context(|| unheard(address))
    }

    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.all.iter().flat_map(|front| &front.sockets)
    }
}

fn unheard(address: SocketAddr) -> String {
    format!("cannot listen on tcp {address}; does a web server run there, or is the address not on this machine?")
}

impl Prepared {
    /// Takes connections at the new addresses.
    ///
    /// # Errors
    /// Somebody else listens there since they were bound.
    pub fn listen(self) -> anyhow::Result<Listening> {
        self.0.into_iter().map(Ready::listen).collect::<anyhow::Result<_>>().map(Listening)
    }
}

impl Front {
    /// Whether these are the doors of this front.
    fn is_behind(&self, doors: Doors<'_>) -> bool {
        (self.name.as_str(), self.port, self.protocol) == (doors.name(), doors.port(), doors.protocol())
    }
}

impl Ready<net::listen::Bound> {
    fn listen(self) -> anyhow::Result<Ready<TcpListener>> {
        let Self { name, protocol, port, addresses, bound, shared } = self;
        let listen = |(address, bound): (_, net::listen::Bound)| {
            let listener = bound.listen().and_then(TcpListener::from_std);
            Ok((address, listener.with_context(|| format!("listener {name:?}: {}", unheard(address)))?))
        };
        let bound = bound.into_iter().map(listen).collect::<anyhow::Result<_>>()?;
        Ok(Ready { name, protocol, port, addresses, bound, shared })
    }
}

impl Ready<TcpListener> {
    /// `sockets`: those that there are; what is left of them goes.
    fn open(self, sockets: &mut BTreeMap<SocketAddr, Socket>) -> Front {
        let Self { name, protocol, port, addresses, mut bound, shared } = self;
        let socket = |address: SocketAddr| match sockets.remove(&address) {
            Some(socket) => {
                socket.shared.send_replace(Arc::clone(&shared));
                Some(socket)
            }
            None => bound.remove(&address).map(|listener| Socket::open(address, listener, Arc::clone(&shared))),
        };
        let sockets = addresses.into_iter().filter_map(socket).collect();
        Front { name, protocol, port, sockets, shared }
    }
}

/// How many handshakes of a listener may compute at once.
fn handshakes() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)))
}
