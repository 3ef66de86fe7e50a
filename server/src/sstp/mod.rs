//! The front of SSTP: TCP connections from the accept to the HTTP request, on the control runtime. What asks properly goes to the gateway,
//! which answers; the rest is turned away here.
mod handshake;
mod proxy;

use crate::config::SstpListener;
use crate::gateway::{CallSettings, Incoming, Turned};
use anyhow::Context as _;
use handshake::{Asked, TurnedAway};
use policy::network::AddressRange;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// A TLS connection on its way to the packet threads.
#[derive(Debug)]
pub struct Connection {
    pub socket: std::net::TcpStream,
    pub tls: tls::Connection,
    /// What came behind the HTTP head.
    pub early: Vec<u8>,
    /// See [`sstp::http::SstpRequest::one_packet_a_record`].
    pub one_packet_a_record: bool,
}

/// What the front has for the gateway.
#[derive(Debug)]
pub enum Arrival {
    Asks(Box<Incoming<Connection>>),
    TurnedAway(Box<Turned>),
}

/// Connections that nobody has authenticated yet, and what became of those turned away.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub over_limit: AtomicU64,
    pub not_tls: AtomicU64,
    pub tls_failed: AtomicU64,
    pub http_refused: AtomicU64,
    pub too_slow: AtomicU64,
    pub bad_proxy_header: AtomicU64,
}

impl Counters {
    /// By name.
    pub fn named(&self) -> BTreeMap<String, u64> {
        [
            ("accepted", &self.accepted),
            ("over_limit", &self.over_limit),
            ("not_tls", &self.not_tls),
            ("tls_failed", &self.tls_failed),
            ("http_refused", &self.http_refused),
            ("too_slow", &self.too_slow),
            ("bad_proxy_header", &self.bad_proxy_header),
        ]
        .into_iter()
        .map(|(name, counter)| (name.to_owned(), counter.load(Ordering::Relaxed)))
        .collect()
    }
}

/// What a stranger's connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections in their handshake at once, in all and of one source (an IPv4 address or an IPv6 /64).
    pub connections: usize,
    pub per_source: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From there to the HTTP request; Windows fetches the certificate's revocation list meanwhile.
    pub request: Duration,
}

/// One listener, bound.
#[derive(Debug)]
pub struct Front {
    pub name: String,
    /// Address, and connections accepted there.
    pub sockets: Vec<(SocketAddr, Arc<AtomicU64>)>,
    /// New certificates go in here; running connections keep theirs.
    tls: watch::Sender<Arc<tls::ServerSettings>>,
}

/// What all connections of a listener share.
#[derive(Debug)]
struct Shared {
    tls: watch::Receiver<Arc<tls::ServerSettings>>,
    settings: Arc<CallSettings>,
    proxies: Vec<AddressRange>,
    bounds: Bounds,
    room: Arc<Semaphore>,
    /// How many handshakes may compute at once.
    workers: Semaphore,
    sources: Mutex<HashMap<u128, usize>>,
    counters: Arc<Counters>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Front {
    /// Binds all addresses and starts accepting.
    pub fn start(
        listener: &SstpListener,
        gateway_name: &str,
        bounds: Bounds,
        counters: Arc<Counters>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> anyhow::Result<Self> {
        let (tls, receiver) = watch::channel(Arc::new(tls_settings(listener)?));
        let settings = CallSettings {
            auth: listener.auth.clone(),
            offer_sha1: listener.sha1_binding,
            inner_ipv4: listener.inner_ipv4,
            name: gateway_name.to_owned(),
        };
        let shared = Arc::new(Shared {
            tls: receiver,
            settings: Arc::new(settings),
            proxies: listener.proxies.clone(),
            bounds,
            room: Arc::new(Semaphore::new(bounds.connections)),
            workers: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            sources: Mutex::default(),
            counters,
            arrivals,
        });
        let bind = |&address| bind(SocketAddr::new(address, listener.port), &shared);
        let sockets = listener.addresses.iter().map(bind).collect::<anyhow::Result<_>>()?;
        Ok(Self { name: listener.name.clone(), sockets, tls })
    }

    /// Presents other certificates from the next connection on.
    pub fn renew(&self, listener: &SstpListener) -> anyhow::Result<()> {
        self.tls.send_replace(Arc::new(tls_settings(listener)?));
        Ok(())
    }
}

fn tls_settings(listener: &SstpListener) -> anyhow::Result<tls::ServerSettings> {
    let default = listener.credentials.first().context("an sstp listener without a certificate")?;
    let by_name: Vec<_> = listener.credentials.iter().map(|credential| (Vec::new(), credential.clone())).collect();
    Ok(tls::ServerSettings::new(default, &by_name)?)
}

fn bind(address: SocketAddr, shared: &Arc<Shared>) -> anyhow::Result<(SocketAddr, Arc<AtomicU64>)> {
    let socket = net::listen::tcp(address)
        .and_then(TcpListener::from_std)
        .with_context(|| format!("cannot listen on tcp {address}; does a web server run there, or is the address not on this machine?"))?;
    let accepted = Arc::new(AtomicU64::new(0));
    tokio::spawn(accept(socket, shared.clone(), accepted.clone()));
    Ok((address, accepted))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, accepted: Arc<AtomicU64>) {
    loop {
        let (socket, remote) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                // Out of descriptors, say: those that end make room.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = Place::take(&shared, remote.ip()) else {
            shared.counters.over_limit.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        tokio::spawn(serve(socket, remote, place));
    }
}

/// The right to be one of the unauthenticated connections.
struct Place {
    shared: Arc<Shared>,
    source: u128,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Place {
    fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        let permit = shared.room.clone().try_acquire_owned().ok()?;
        let source = source(address);
        let balanced = shared.proxies.iter().any(|range| range.contains(address));
        let mut sources = shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = sources.entry(source).or_default();
        if *taken >= shared.bounds.per_source && !balanced {
            return None;
        }
        *taken += 1;
        drop(sources);
        Some(Self { shared: shared.clone(), source, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = sources.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

/// One client's addresses: an IPv4 address, or an IPv6 /64.
fn source(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

async fn serve(socket: TcpStream, remote: SocketAddr, place: Place) {
    let shared = &place.shared;
    match handshake::run(socket, remote, shared).await {
        Ok(asked) => {
            let arrival = arrival(asked, shared);
            // Waits while the gateway is busy; the place is kept so long.
            drop(shared.arrivals.send(Arrival::Asks(Box::new(arrival))).await);
        }
        Err(TurnedAway { counter, record }) => {
            counter(&shared.counters).fetch_add(1, Ordering::Relaxed);
            if let Some(turned) = record {
                drop(shared.arrivals.send(Arrival::TurnedAway(turned)).await);
            }
        }
    }
}

fn arrival(asked: Asked, shared: &Shared) -> Incoming<Connection> {
    use crypto::hash::{HashAlgorithm, hash};
    use crypto::{Random as _, SystemRandom};
    let digest = |algorithm| hash(algorithm, &[&asked.leaf]);
    let mut certificate = sstp::CertificateHashes { sha1: [0; 20], sha256: [0; 32] };
    certificate.sha1.copy_from_slice(&digest(HashAlgorithm::Sha1));
    certificate.sha256.copy_from_slice(&digest(HashAlgorithm::Sha256));
    let (mut nonce, mut seed) = ([0; 32], [0; 64]);
    let mut random = SystemRandom;
    random.fill(&mut nonce);
    random.fill(&mut seed);
    let presented = pki::Certificate::from_der(&asked.leaf).map_or_else(|_| "a certificate".into(), |leaf| leaf.subject);
    Incoming {
        path: asked.path,
        connection: asked.connection,
        settings: shared.settings.clone(),
        certificate,
        presented,
        tls: asked.tls,
        correlation_id: asked.correlation_id,
        notes: asked.notes,
        nonce,
        seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("0.0.0.1"), of("::1:0:0:0:1"));
    }
}
