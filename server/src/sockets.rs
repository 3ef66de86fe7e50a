//! The control half's UDP: port 500 is read here, port 4500 by the packet threads.
use crate::config::Ikev2Listener;
use crate::tunnels::Tunnels;
use anyhow::Context as _;
use ike::Path;
use net::ike::IkeSocket;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// An IKE message with its path, the non-ESP marker stripped.
#[derive(Debug)]
pub struct Datagram {
    pub path: Path,
    pub message: Vec<u8>,
}

/// The bound sockets of a listener's IKE port.
#[derive(Debug)]
pub struct Sockets {
    bound: Vec<Bound>,
    nat_port: u16,
}

#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    socket: Arc<IkeSocket>,
    received: Arc<AtomicU64>,
}

impl Sockets {
    /// Binds the IKE port of every address and starts reading.
    pub fn bind(listener: Option<&Ikev2Listener>, _tunnels: &Tunnels, datagrams: &Sender<Datagram>) -> anyhow::Result<Self> {
        let Some(listener) = listener else { return Ok(Self { bound: Vec::new(), nat_port: 0 }) };
        let bound = listener.addresses.iter().map(|&address| bind(SocketAddr::new(address, listener.ike_port), datagrams));
        Ok(Self { bound: bound.collect::<Result<_, _>>()?, nat_port: listener.nat_port })
    }

    /// Sends an IKE message from the path's local address. Errors are the path's trouble: the peer's retransmission repairs them.
    pub fn send(&self, tunnels: &Tunnels, path: Path, message: &[u8]) {
        tracing::trace!(remote = %path.remote, local = %path.local, bytes = message.len(), "ike out");
        if path.connection.is_some() || path.local.port() == self.nat_port {
            tunnels.send_ike(path, message);
            return;
        }
        let Some(bound) = self.bound.iter().find(|bound| serves(bound.address.ip(), path.local.ip())) else {
            tracing::debug!(local = %path.local, "no socket for this address");
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
}

fn serves(bound: IpAddr, local: IpAddr) -> bool {
    bound == local || (bound.is_unspecified() && bound.is_ipv4() == local.is_ipv4())
}

fn bind(address: SocketAddr, datagrams: &Sender<Datagram>) -> anyhow::Result<Bound> {
    let socket = IkeSocket::bind(address)
        .with_context(|| format!("cannot bind udp {address}; does another IKE daemon run, or is the address not on this machine?"))?;
    let watched = socket.standard()?;
    let socket = Arc::new(socket);
    let received = Arc::new(AtomicU64::new(0));
    tokio::spawn(read(UdpSocket::from_std(watched)?, socket.clone(), datagrams.clone(), received.clone()));
    Ok(Bound { address, socket, received })
}

/// `watched` tells when there is something to read from `socket`: they are one.
async fn read(watched: UdpSocket, socket: Arc<IkeSocket>, datagrams: Sender<Datagram>, received: Arc<AtomicU64>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match watched.async_io(Interest::READABLE, || socket.recv(&mut buffer)).await {
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
