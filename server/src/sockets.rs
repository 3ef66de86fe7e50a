//! The UDP addresses of the IKEv2 listener, which come and go with the configuration: port 500 is read here, port 4500 by the packet threads.
//!
//! An address that goes takes no new clients. Its sockets stay as long as somebody is there who came by it, as connections of SSTP outlive their listener.
use crate::config::Ikev2Listener;
use crate::dataplane;
use crate::tunnels::Tunnels;
use anyhow::Context as _;
use ike::Path;
use net::ike::IkeSocket;
use net::listen::overlap;
use net::udp::{UdpOptions, UdpSocket as DataSocket};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// Exchange type IKE_SA_INIT (RFC 7296 section 3.1), and where it and the responder's SPI stand.
const IKE_SA_INIT: u8 = 34;
const EXCHANGE_TYPE: usize = 18;
const RESPONDER_SPI: std::ops::Range<usize> = 8..16;

/// An IKE message with its path, the non-ESP marker stripped.
#[derive(Debug)]
pub struct Datagram {
    pub path: Path,
    pub message: Vec<u8>,
}

/// UDP addresses, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Addresses {
    /// IKE before NAT traversal.
    ike: Vec<SocketAddr>,
    /// NAT traversal: IKE and ESP; plain ESP comes to the same addresses.
    nat: Vec<SocketAddr>,
}

impl Addresses {
    fn of(listener: &Ikev2Listener) -> Self {
        let with = |port| listener.addresses.iter().map(|&address| SocketAddr::new(address, port)).collect();
        Self { ike: with(listener.ike_port), nat: with(listener.nat_port) }
    }

    fn wanted(listener: Option<&Ikev2Listener>) -> Self {
        listener.map(Self::of).unwrap_or_default()
    }

    fn serves(&self, local: SocketAddr) -> bool {
        self.ike.iter().chain(&self.nat).any(|bound| serves(*bound, local.port(), local.ip()))
    }

    /// Those for plain ESP. Each packet comes to every socket that has its address: no two overlap.
    fn raw(&self) -> Vec<IpAddr> {
        let all: BTreeSet<_> = self.nat.iter().map(SocketAddr::ip).collect();
        let is_covered =
            |ip: &IpAddr| !ip.is_unspecified() && all.iter().any(|other| other.is_unspecified() && other.is_ipv4() == ip.is_ipv4());
        all.iter().copied().filter(|ip| !is_covered(ip)).collect()
    }
}

/// The bound sockets.
#[derive(Debug)]
pub struct Sockets {
    bound: Vec<Bound>,
    nat: Vec<SocketAddr>,
    /// Where new clients may come.
    wanted: Addresses,
    datagrams: Sender<Datagram>,
}

/// Dropped, it reads what has arrived and ends.
#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    socket: Arc<IkeSocket>,
    received: Arc<AtomicU64>,
    /// What its reader waits for.
    _until: oneshot::Sender<()>,
}

/// Sockets for a configuration; dropped, as if they had never been.
#[derive(Debug)]
pub struct Opened {
    wanted: Addresses,
    /// With those that stay for clients who are there.
    all: Addresses,
    ike: Vec<(SocketAddr, UdpSocket, IkeSocket)>,
    nat: dataplane::Opened,
}

impl Sockets {
    /// Binds the listener's addresses and starts reading.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub fn start(listener: Option<&Ikev2Listener>, tunnels: &Tunnels, datagrams: Sender<Datagram>) -> anyhow::Result<Self> {
        let mut sockets = Self { bound: Vec::new(), nat: Vec::new(), wanted: Addresses::default(), datagrams };
        sockets.check(listener)?;
        let opened = sockets.open(listener, &BTreeSet::new(), tunnels)?;
        sockets.serve(opened, tunnels);
        Ok(sockets)
    }

    /// Whether [`Self::open`] would work, as far as can be told while every packet goes where it went before.
    ///
    /// # Errors
    /// Another program has the port, the address is not on this machine, or two of the addresses overlap.
    pub fn check(&self, listener: Option<&Ikev2Listener>) -> anyhow::Result<()> {
        let Some(listener) = listener else { return Ok(()) };
        let Addresses { ike, nat } = Addresses::of(listener);
        let name = &listener.name;
        for (index, one) in listener.addresses.iter().enumerate() {
            let other = listener.addresses[..index].iter().find(|other| overlap(SocketAddr::new(**other, 0), SocketAddr::new(*one, 0)));
            anyhow::ensure!(other.is_none(), "listener {name:?}: addresses: {} and {one} overlap: name one of them", other.unwrap_or(one));
        }
        let own: Vec<_> = self.bound.iter().map(|bound| bound.address).collect();
        let bind_ike = |address| IkeSocket::bind_in_place_of(address, &self.overlapping(address)).map(drop);
        try_out(&ike, &own, bind_ike).with_context(|| format!("listener {name:?}"))?;
        let bind_nat = |address| DataSocket::bind(address, &UdpOptions::default()).map(drop);
        try_out(&nat, &self.nat, bind_nat).with_context(|| format!("listener {name:?}"))
    }

    /// Binds what is not bound yet: all, or nothing. `locals`: addresses of the gateway at which it has clients now.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub fn open(&self, listener: Option<&Ikev2Listener>, locals: &BTreeSet<IpAddr>, tunnels: &Tunnels) -> anyhow::Result<Opened> {
        let wanted = Addresses::wanted(listener);
        let named = || listener.map_or_else(|| "the sockets of IKEv2".into(), |listener| format!("listener {:?}", listener.name));
        let own = self.bound.iter().map(|bound| bound.address);
        let all =
            Addresses { ike: with_staying(&wanted.ike, own, locals), nat: with_staying(&wanted.nat, self.nat.iter().copied(), locals) };
        let fresh = all.ike.iter().filter(|address| !self.bound.iter().any(|bound| bound.address == **address));
        let bind = |&address| {
            let socket = IkeSocket::bind_in_place_of(address, &self.overlapping(address)).with_context(|| unbound(address))?;
            Ok((address, UdpSocket::from_std(socket.standard()?)?, socket))
        };
        let ike = fresh.map(bind).collect::<anyhow::Result<_>>().with_context(named)?;
        let nat = tunnels.open(&all.nat, &all.raw()).with_context(named)?;
        Ok(Opened { wanted, all, ike, nat })
    }

    /// Serves what was opened, and nothing else but what stays for clients who are there.
    pub fn serve(&mut self, opened: Opened, tunnels: &Tunnels) {
        let Opened { wanted, all, ike, nat } = opened;
        tunnels.serve(&all.nat, &all.raw(), nat);
        self.bound.retain(|bound| all.ike.contains(&bound.address));
        self.bound.extend(ike.into_iter().map(|(address, watched, socket)| Bound::start(address, watched, socket, self.datagrams.clone())));
        (self.nat, self.wanted) = (all.nat, wanted);
    }

    /// Whether sockets of addresses that are gone are still there.
    pub fn has_staying(&self) -> bool {
        self.bound.len() > self.wanted.ike.len() || self.nat.len() > self.wanted.nat.len()
    }

    /// Closes those for which nobody is there any more.
    pub fn let_go(&mut self, listener: Option<&Ikev2Listener>, locals: &BTreeSet<IpAddr>, tunnels: &Tunnels) {
        match self.open(listener, locals, tunnels) {
            Ok(opened) => self.serve(opened, tunnels),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "sockets of addresses that are gone stay for now"),
        }
    }

    /// Somebody new, at an address that is only there for those who came by it.
    pub fn turns_away(&self, Datagram { path, message }: &Datagram) -> bool {
        self.has_staying() && path.connection.is_none() && is_first(message) && !self.wanted.serves(path.local)
    }

    /// Sends an IKE message from the path's local address. Errors are the path's trouble: the peer's retransmission repairs them.
    pub fn send(&self, tunnels: &Tunnels, path: Path, message: &[u8]) {
        tracing::trace!(remote = %path.remote, local = %path.local, bytes = message.len(), "ike out");
        let is_its = |bound: &&Bound| path.connection.is_none() && serves(bound.address, path.local.port(), path.local.ip());
        let Some(bound) = self.bound.iter().find(is_its) else {
            tunnels.send_ike(path, message);
            return;
        };
        if let Err(error) = bound.socket.send(message, path.local.ip(), path.remote) {
            tracing::debug!(remote = %path.remote, %error, "ike message not sent");
        }
    }

    /// Datagrams received per bound address, the NAT-traversal port included.
    pub fn received(&self, tunnels: &Tunnels) -> Vec<(SocketAddr, u64)> {
        let mut all: Vec<_> = self.bound.iter().map(|bound| (bound.address, bound.received.load(Ordering::Relaxed))).collect();
        all.extend(tunnels.received());
        all
    }

    /// Sockets of ours that hold its port.
    fn overlapping(&self, address: SocketAddr) -> Vec<&IkeSocket> {
        self.bound.iter().filter(|bound| overlap(bound.address, address)).map(|bound| &*bound.socket).collect()
    }
}

/// Whether a socket bound to `bound` has packets for this port and address.
fn serves(bound: SocketAddr, port: u16, local: IpAddr) -> bool {
    overlap(bound, SocketAddr::new(local, port))
}

fn is_first(message: &[u8]) -> bool {
    message.get(EXCHANGE_TYPE) == Some(&IKE_SA_INIT) && message.get(RESPONDER_SPI) == Some(&[0; 8])
}

/// `wanted`, and those of `bound` without which clients at `locals` could not go on.
fn with_staying(wanted: &[SocketAddr], bound: impl Iterator<Item = SocketAddr>, locals: &BTreeSet<IpAddr>) -> Vec<SocketAddr> {
    let is_needed = |bound: &SocketAddr| {
        let is_left = |local: &&IpAddr| !wanted.iter().any(|wanted| serves(*wanted, bound.port(), **local));
        !wanted.contains(bound) && locals.iter().filter(is_left).any(|local| serves(*bound, bound.port(), *local))
    };
    wanted.iter().copied().chain(bound.filter(is_needed)).collect()
}

/// Whether those that are not our `own` yet could be bound. A narrower one would take the packets of the wider one that has its port, and takes them
/// from nobody else: there it is enough that the address is on this machine.
fn try_out(addresses: &[SocketAddr], own: &[SocketAddr], bind: impl Fn(SocketAddr) -> io::Result<()>) -> anyhow::Result<()> {
    for &address in addresses.iter().filter(|address| !own.contains(address)) {
        let is_held = own.iter().any(|held| held.ip().is_unspecified() && overlap(*held, address));
        let tried = if is_held { std::net::UdpSocket::bind((address.ip(), 0)).map(drop) } else { bind(address) };
        tried.with_context(|| unbound(address))?;
    }
    Ok(())
}

fn unbound(address: SocketAddr) -> String {
    format!("cannot bind udp {address}; does another IKE daemon run, or is the address not on this machine?")
}

impl Bound {
    /// `watched` tells when there is something to read from `socket`: they are one.
    fn start(address: SocketAddr, watched: UdpSocket, socket: IkeSocket, datagrams: Sender<Datagram>) -> Self {
        let (socket, received) = (Arc::new(socket), Arc::<AtomicU64>::default());
        let (until, ended) = oneshot::channel();
        tokio::spawn(read(watched, socket.clone(), datagrams, received.clone(), ended));
        Self { address, socket, received, _until: until }
    }
}

/// Ends when nothing is left to read and the other end of `ended` is gone.
async fn read(
    watched: UdpSocket,
    socket: Arc<IkeSocket>,
    datagrams: Sender<Datagram>,
    received: Arc<AtomicU64>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let read = tokio::select! {
            biased;
            read = watched.async_io(Interest::READABLE, || socket.recv(&mut buffer)) => read,
            _ = &mut ended => return,
        };
        match read {
            Ok((length, remote, local)) => {
                received.fetch_add(1, Ordering::Relaxed);
                let datagram = Datagram { path: Path::between(local, remote), message: buffer[..length].to_vec() };
                // A full queue means overload: the peer repeats what matters.
                if matches!(datagrams.try_send(datagram), Err(tokio::sync::mpsc::error::TrySendError::Closed(_))) {
                    return;
                }
            }
            // An ICMP error of an earlier send; the socket lives on.
            Err(error) => tracing::trace!(%error, "ike socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn staying(wanted: &[&str], bound: &[&str], locals: &[&str]) -> Vec<SocketAddr> {
        let locals = locals.iter().map(|text| text.parse().unwrap()).collect();
        with_staying(&all(wanted), all(bound).into_iter(), &locals)
    }

    #[test]
    fn sockets_stay_for_those_whom_no_other_serves() {
        let (one, two, any) = ("192.0.2.1:4500", "192.0.2.2:4500", "0.0.0.0:4500");
        assert_eq!(staying(&[two], &[one, two], &["192.0.2.1"]), all(&[two, one]));
        assert_eq!(staying(&[two], &[one, two], &["192.0.2.2"]), all(&[two]));
        assert_eq!(staying(&[one], &[any], &["192.0.2.1"]), all(&[one]), "the new one has their packets");
        assert_eq!(staying(&[one], &[any], &["192.0.2.1", "192.0.2.2"]), all(&[one, any]));
        assert_eq!(staying(&[any], &[one], &["192.0.2.1"]), all(&[any]));
        assert_eq!(staying(&[], &[any, "[::]:4500"], &["192.0.2.1"]), all(&[any]));
        assert_eq!(staying(&["192.0.2.1:5500"], &[one], &["192.0.2.1"]), all(&["192.0.2.1:5500", one]), "another port is another place");
    }

    #[test]
    fn plain_esp_comes_to_one_socket() {
        let raw = |nat: &[&str]| Addresses { ike: Vec::new(), nat: all(nat) }.raw().iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(raw(&["192.0.2.1:4500", "0.0.0.0:4500", "[2001:db8::1]:4500"]), ["0.0.0.0", "2001:db8::1"]);
        assert_eq!(raw(&["192.0.2.1:4500", "192.0.2.1:5500"]), ["192.0.2.1"]);
    }

    #[test]
    fn first_messages_are_told_from_the_rest() {
        let message = |exchange, responder| [&[7; 8][..], &[responder; 8], &[33, 0x20, exchange, 8]].concat();
        assert!(is_first(&message(IKE_SA_INIT, 0)));
        assert!(!is_first(&message(IKE_SA_INIT, 9)) && !is_first(&message(35, 0)) && !is_first(&[0; 8]));
    }

    /// It would take packets, were it bound.
    #[test]
    fn what_is_covered_already_is_not_bound_to_be_tried() {
        let refused = |_| Err(io::Error::other("bound"));
        let own = all(&["0.0.0.0:4500"]);
        try_out(&all(&["127.0.0.1:4500", "0.0.0.0:4500"]), &own, refused).unwrap();
        let error = format!("{:#}", try_out(&all(&["192.0.2.254:4500"]), &own, |_| Ok(())).unwrap_err());
        assert!(error.starts_with("cannot bind udp 192.0.2.254:4500"), "{error}");
        assert!(try_out(&all(&["127.0.0.1:500"]), &own, refused).is_err());
    }
}
