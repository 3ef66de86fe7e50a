//! The outer sockets: of each address one for every thread. Addresses come and go while the threads run.
use net::poll::{Epoll, Interest};
use net::raw::RawSocket;
use net::udp::{UdpOptions, UdpSocket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Socket buffers of raw ESP sockets, bytes.
const RAW_BUFFER: usize = 8 << 20;

/// A member of the group that serves one address.
#[derive(Debug)]
pub(super) struct UdpPort {
    pub(super) socket: Arc<UdpSocket>,
    /// As bound, with the NAT-traversal port.
    pub(super) address: SocketAddr,
    pub(super) received: Arc<AtomicU64>,
    /// By which threads wait for it; of each group its own.
    pub(super) token: u64,
}

#[derive(Debug)]
pub(super) struct RawPort {
    pub(super) socket: RawSocket,
    pub(super) address: IpAddr,
    pub(super) token: u64,
}

/// One thread's.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(super) udp: Vec<UdpPort>,
    pub(super) raw: Vec<RawPort>,
}

impl Share {
    pub(super) fn watch(&self, epoll: &Epoll) -> io::Result<()> {
        self.udp.iter().try_for_each(|port| epoll.add(&*port.socket, port.token, Interest::READ))?;
        self.raw.iter().try_for_each(|port| epoll.add(&port.socket, port.token, Interest::READ))
    }
}

/// Sockets that no thread serves yet; dropped, as if they had never been.
#[derive(Debug)]
pub struct Opened {
    pub(super) known: Known,
    /// One for each thread.
    pub(super) shares: Vec<Share>,
}

/// Of a group what control keeps: thread 0's member, through which it sends.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) received: Arc<AtomicU64>,
    token: u64,
}

/// Sockets as control sees them.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) udp: Vec<Bound>,
    /// With their tokens.
    raw: Vec<(IpAddr, u64)>,
}

impl Known {
    /// Those of `listen` and `raw` that are not here.
    pub(super) fn missing(&self, listen: &[SocketAddr], raw: &[IpAddr]) -> (Vec<SocketAddr>, Vec<IpAddr>) {
        let udp = listen.iter().filter(|address| !self.udp.iter().any(|bound| bound.address == **address));
        let raw = raw.iter().filter(|address| !self.raw.iter().any(|(known, _)| known == *address));
        (udp.copied().collect(), raw.copied().collect())
    }

    /// Keeps those of `listen` and `raw`; the tokens of the others.
    pub(super) fn keep(&mut self, listen: &[SocketAddr], raw: &[IpAddr]) -> Vec<u64> {
        let udp = self.udp.extract_if(.., |bound| !listen.contains(&bound.address)).map(|bound| bound.token);
        let raw = self.raw.extract_if(.., |(address, _)| !raw.contains(address)).map(|(_, token)| token);
        udp.chain(raw).collect()
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.udp.extend(other.udp);
        self.raw.extend(other.raw);
    }
}

/// Makes sockets for so many threads.
#[derive(Debug)]
pub(super) struct Opener {
    threads: usize,
    /// The next token.
    token: AtomicU64,
}

impl Opener {
    pub(super) fn new(threads: usize, first_token: u64) -> Self {
        Self { threads, token: AtomicU64::new(first_token) }
    }

    /// Binds all of these addresses, or none.
    pub(super) fn open(&self, listen: &[SocketAddr], raw: &[IpAddr]) -> io::Result<Opened> {
        let shares = (0..self.threads).map(|_| Share::default()).collect();
        let mut opened = Opened { known: Known::default(), shares };
        listen.iter().try_for_each(|&address| self.bind(address, &mut opened))?;
        raw.iter().try_for_each(|&address| self.open_raw(address, &mut opened))?;
        Ok(opened)
    }

    /// The members of one SO_REUSEPORT group, one per thread.
    fn bind(&self, address: SocketAddr, opened: &mut Opened) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot bind udp {address}: {error}"));
        let options = UdpOptions::default();
        let bind_one = |_| UdpSocket::bind(address, &options).map(Arc::new);
        let members = (0..self.threads).map(bind_one).collect::<io::Result<Vec<_>>>().map_err(named)?;
        if let (Some(first), true) = (members.first(), self.threads > 1) {
            net::steer::attach_spi_steering(first, number_of(self.threads))?;
        }
        let (received, token) = (Arc::<AtomicU64>::default(), self.token.fetch_add(1, Ordering::Relaxed));
        let first = members.first().map(|socket| Bound { address, socket: socket.clone(), received: received.clone(), token });
        opened.known.udp.extend(first);
        for (share, socket) in opened.shares.iter_mut().zip(members) {
            share.udp.push(UdpPort { socket, address, received: received.clone(), token });
        }
        Ok(())
    }

    /// Every raw socket gets every packet; a filter leaves each thread its share.
    fn open_raw(&self, address: IpAddr, opened: &mut Opened) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot open raw ESP on {address}: {error}"));
        let token = self.token.fetch_add(1, Ordering::Relaxed);
        for (number, share) in opened.shares.iter_mut().enumerate() {
            let socket = RawSocket::open_esp(address, RAW_BUFFER).map_err(named)?;
            if self.threads > 1 {
                net::steer::attach_raw_filter(&socket, number_of(number), number_of(self.threads))?;
            }
            share.raw.push(RawPort { socket, address, token });
        }
        opened.known.raw.push((address, token));
        Ok(())
    }
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
