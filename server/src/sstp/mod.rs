//! The front of SSTP: TCP connections from the accept to the HTTP request, on the control runtime. What asks properly goes to the gateway,
//! which answers; the rest is turned away here.
mod handshake;
mod places;
mod proxy;

pub use places::Place;

use crate::config::SstpListener;
use crate::gateway::{CallSettings, Incoming, Turned};
use anyhow::Context as _;
use handshake::{Asked, TurnedAway};
use places::Places;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// To be kept until the login is through.
    pub place: Option<Place>,
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
    /// Connections in their handshake at once.
    pub connections: usize,
    /// Connections of one source (an IPv4 address or an IPv6 /64) at once that are not logged in.
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
    bounds: Bounds,
    places: Arc<Places>,
    /// How many handshakes may compute at once.
    workers: Semaphore,
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
            listener: listener.name.clone(),
        };
        let shared = Arc::new(Shared {
            tls: receiver,
            settings: Arc::new(settings),
            bounds,
            places: Arc::new(Places::new(bounds.connections, bounds.per_source, listener.proxies.clone())),
            workers: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
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
        let Some(place) = shared.places.take(remote.ip()) else {
            shared.counters.over_limit.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        tokio::spawn(serve(socket, remote, shared.clone(), place));
    }
}

async fn serve(socket: TcpStream, remote: SocketAddr, shared: Arc<Shared>, mut place: Place) {
    match handshake::run(socket, remote, &shared).await {
        Ok(asked) if place.is_for(asked.path.remote.ip()) => {
            let arrival = arrival(asked, place, &shared);
            // Waits while the gateway is busy; the place is kept so long.
            drop(shared.arrivals.send(Arrival::Asks(Box::new(arrival))).await);
        }
        Ok(_) => drop(shared.counters.over_limit.fetch_add(1, Ordering::Relaxed)),
        Err(TurnedAway { counter, record }) => {
            counter(&shared.counters).fetch_add(1, Ordering::Relaxed);
            if let Some(turned) = record {
                drop(shared.arrivals.send(Arrival::TurnedAway(turned)).await);
            }
        }
    }
}

fn arrival(asked: Asked, place: Place, shared: &Shared) -> Incoming<Connection> {
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
        connection: Connection { place: Some(place), ..asked.connection },
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
