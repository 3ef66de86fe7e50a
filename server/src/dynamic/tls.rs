//! Disconnect and CoA requests over TLS (RFC 5176 over RFC 6614): TCP 2083, a certificate at both ends.
use super::{Arrived, Way};
use crate::config::DynamicPeer;
use crate::radsec::next_packet;
use anyhow::Context as _;
use net::listen::Bound;
use radius_client::dynamic::OverTls;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::{MutualConnection, MutualSettings};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Connections of known clients at once.
const MAX_CONNECTIONS: usize = 64;

/// Of these from one address: one client leaves room for the others.
const MAX_CONNECTIONS_PER_CLIENT: usize = 8;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that reads so slowly is of no use.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that says nothing for so long connects anew when it has something to say.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

const BUFFER: usize = 16 << 10;

/// Who may connect, by address.
pub(super) type Peers = Arc<BTreeMap<IpAddr, Peer>>;

#[derive(Debug, Clone)]
pub(super) struct Peer {
    name: String,
    settings: Arc<MutualSettings>,
    /// Of files and keys: other settings have another one.
    fingerprint: [u8; 32],
}

pub(super) fn peers(clients: &[DynamicPeer]) -> Peers {
    let peer = |peer: &DynamicPeer| {
        let over = peer.tls.as_ref()?;
        let (name, settings) = (peer.client.name.clone(), Arc::clone(&over.settings));
        Some((peer.client.address, Peer { name, settings, fingerprint: over.fingerprint }))
    };
    Arc::new(clients.iter().filter_map(peer).collect())
}

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) peers: watch::Receiver<Peers>,
    pub(super) arrived: mpsc::Sender<Arrived>,
    /// Strangers, and handshakes that failed.
    pub(super) refused: Arc<AtomicU64>,
    connections: Connections,
}

impl Shared {
    pub(super) fn new(peers: watch::Receiver<Peers>, arrived: mpsc::Sender<Arrived>) -> Self {
        Self { peers, arrived, refused: Arc::default(), connections: Arc::default() }
    }
}

/// How many connections there are, by the client's address.
type Connections = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// One connection that counts as long as it lives.
struct Place {
    connections: Connections,
    from: IpAddr,
}

impl Place {
    fn take(connections: &Connections, from: IpAddr) -> Option<Self> {
        let mut counts = connections.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(&from).copied().unwrap_or_default();
        if own >= MAX_CONNECTIONS_PER_CLIENT || counts.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        counts.insert(from, own + 1);
        Some(Self { connections: connections.clone(), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut own) = counts.entry(self.from) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

/// Binds every address: all, or none.
pub(super) fn bind(addresses: &[IpAddr], port: u16) -> anyhow::Result<Vec<(SocketAddr, Bound)>> {
    let bind = |&address| {
        let address = SocketAddr::new(address, port);
        Ok((address, net::listen::bind_in_place_of(address, &[]).with_context(|| unheard(address))?))
    };
    addresses.iter().map(bind).collect()
}

/// Takes connections at all of them, or at none.
pub(super) fn listen(bound: Vec<(SocketAddr, Bound)>) -> anyhow::Result<Vec<TcpListener>> {
    let listen = |(address, bound): (_, Bound)| bound.listen().and_then(TcpListener::from_std).with_context(|| unheard(address));
    bound.into_iter().map(listen).collect()
}

fn unheard(address: SocketAddr) -> String {
    format!("cannot listen on tcp {address} for dynamic authorization over TLS (server.dynamic_listen, server.dynamic_tls_port)")
}

/// Takes connections.
pub(super) async fn accept(listener: TcpListener, shared: Shared) {
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                // Out of descriptors, say: those that end make room.
                tracing::warn!(%error, "a connection for dynamic authorization could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let address = from.ip().to_canonical();
        let peer = shared.peers.borrow().get(&address).cloned();
        match peer.and_then(|peer| Some((peer, Place::take(&shared.connections, address)?))) {
            Some((peer, place)) => drop(tokio::spawn(serve(socket, from, peer, shared.clone(), place))),
            // A stranger costs no handshake.
            None => drop(shared.refused.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

async fn serve(socket: TcpStream, from: SocketAddr, peer: Peer, shared: Shared, _place: Place) {
    let client = peer.name.clone();
    let mut link = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connect(socket, &peer)).await {
        Ok(Ok(link)) => link,
        failed => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let cause = failed
                .map_or_else(|_| format!("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs()), |link| link.err().unwrap_or_default());
            tracing::warn!(client, %from, cause, "a connection for dynamic authorization was refused");
            return;
        }
    };
    tracing::info!(client, %from, "a dynamic authorization client connected over TLS");
    let cause = link.requests(from, peer, shared).await.err().unwrap_or_else(|| "this gateway stops".into());
    link.tls.close(&mut link.out);
    // It is over in any case.
    link.flush().await.ok();
    tracing::info!(client, %from, cause, "the connection of a dynamic authorization client ended");
}

async fn connect(tcp: TcpStream, peer: &Peer) -> Result<Link, String> {
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let to = tcp.local_addr().map_err(|error| error.to_string())?.ip().to_canonical();
    let now = jiff::Timestamp::now().as_second();
    let tls = MutualConnection::new(&peer.settings, now).map_err(|error| error.to_string())?;
    let mut link = Link { tcp, to, tls, out: Vec::new(), received: Vec::new(), buffer: vec![0; BUFFER] };
    while !link.read().await? {}
    Ok(link)
}

struct Link {
    tcp: TcpStream,
    /// The address that the client connected to.
    to: IpAddr,
    tls: MutualConnection,
    /// For the client, encrypted.
    out: Vec<u8>,
    /// Of the client, decrypted.
    received: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    /// `Ok`: nobody takes requests any more.
    async fn requests(&mut self, from: SocketAddr, peer: Peer, mut shared: Shared) -> Result<(), String> {
        let (answers, mut answered) = mpsc::channel(1);
        loop {
            while let Some(datagram) = next_packet(&mut self.received)? {
                let way = Way::Connection { client: peer.name.clone(), answers: answers.clone() };
                if shared.arrived.send(Arrived { from, datagram, to: self.to, way }).await.is_err() {
                    return Ok(());
                }
                match answered.recv().await {
                    Some(OverTls::Answer(answer)) => self.send(&answer).await?,
                    Some(OverTls::Nothing) => {}
                    Some(OverTls::Close(why)) => return Err(why.into()),
                    None => return Ok(()),
                }
            }
            tokio::select! {
                changed = shared.peers.changed() => {
                    let now = shared.peers.borrow().get(&from.ip().to_canonical()).filter(|now| now.fingerprint == peer.fingerprint).cloned();
                    let Some(now) = now.filter(|_| changed.is_ok()) else {
                        return Err("it is no client any more, or has other settings".into());
                    };
                    // Its certificate may have been revoked.
                    let again = self.tls.check_again(&now.settings, jiff::Timestamp::now().as_second());
                    again.map_err(|refused| refused.to_string())?;
                }
                ready = tokio::time::timeout(IDLE_TIMEOUT, self.tcp.readable()) => {
                    ready.map_err(|_| "it was idle")?.map_err(|error| error.to_string())?;
                    self.read().await?;
                }
            }
        }
    }

    /// Waits until something has arrived, and takes it; true: the handshake is over.
    async fn read(&mut self) -> Result<bool, String> {
        self.tcp.readable().await.map_err(|error| error.to_string())?;
        let length = match self.tcp.try_read(&mut self.buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            length => length.map_err(|error| error.to_string())?,
        };
        let received = self.tls.receive_data(&self.buffer[..length], &mut self.received, &mut self.out);
        // Also after an error: the alert.
        self.flush().await?;
        let done = received.map_err(|error| error.to_string())?;
        if length == 0 || self.tls.is_closed() { Err("the client closed it".into()) } else { Ok(done) }
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), String> {
        self.tls.send(packet, &mut self.out).map_err(|error| error.to_string())?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), String> {
        let written = tokio::time::timeout(WRITE_TIMEOUT, self.tcp.write_all(&self.out)).await;
        self.out.clear();
        written.map_err(|_| "it does not take what it is sent".to_owned())?.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others() {
        let connections = Connections::default();
        let take = |last: u8| Place::take(&connections, IpAddr::from([10, 0, 0, last]));
        let mut places: Vec<_> = (0..MAX_CONNECTIONS_PER_CLIENT).map(|_| take(1).unwrap()).collect();
        assert!(take(1).is_none());
        places.pop();
        places.push(take(1).unwrap());
        for last in 2..=8 {
            places.extend((0..MAX_CONNECTIONS_PER_CLIENT).map(|_| take(last).unwrap()));
        }
        assert_eq!(places.len(), MAX_CONNECTIONS);
        assert!(take(9).is_none());
        drop(places);
        assert!(connections.lock().unwrap().is_empty());
    }
}
