//! The front of TCP: connections of SSTP from the accept to the HTTP request, those with IKE and ESP (RFC 9329) to their prefix, on the control
//! runtime. What asks properly goes to the gateway, which answers; the rest is turned away here.
mod fronts;
mod handshake;
mod places;
mod proxy;

pub use fronts::{Front, Fronts, Listening, Prepared, Socket};
pub use places::Place;

use crate::config::{Config, Ikev2Listener, SstpListener};
use crate::gateway::{CallSettings, Incoming, Turned};
use handshake::{Asked, Outcome, TurnedAway};
use ike::Path;
pub(crate) use places::Places;
use policy::network::AddressRange;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
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

/// A connection that began with the prefix of RFC 9329, which has been read.
#[derive(Debug)]
pub struct Encapsulated {
    pub socket: std::net::TcpStream,
    pub path: Path,
    /// For the record: proxy, ..
    pub notes: Vec<String>,
    /// To be kept until a client on it is authenticated.
    pub place: Place,
}

/// What the front has for the gateway.
#[derive(Debug)]
pub enum Arrival {
    Encapsulated(Encapsulated),
    Asks(Box<Incoming<Connection>>),
    TurnedAway(Box<Turned>),
}

/// Connections that nobody has authenticated yet, and what became of those turned away.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub over_limit: AtomicU64,
    /// Connections with IKE and ESP.
    pub ike: AtomicU64,
    /// Neither IKE nor, where it is expected, TLS.
    pub not_ike: AtomicU64,
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
            ("ike", &self.ike),
            ("not_ike", &self.not_ike),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Connections in their handshake at once.
    pub connections: usize,
    /// Connections of one source (an IPv4 address or an IPv6 /64) at once that are not logged in.
    pub per_source: usize,
    /// Sources that `per_source` does not hold for.
    pub exempt: Vec<RangeInclusive<IpAddr>>,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From there to the HTTP request; Windows fetches the certificate's revocation list meanwhile.
    pub request: Duration,
}

/// Whom a front lets in.
#[derive(Debug, Clone, Copy)]
pub enum Doors<'a> {
    /// TLS, and IKE beside it where `encapsulated`.
    Tls { listener: &'a SstpListener, encapsulated: bool },
    /// IKE alone, on this port.
    Ike { listener: &'a Ikev2Listener, port: u16 },
}

/// Whom the fronts of a configuration let in.
pub fn doors(config: &Config) -> Vec<Doors<'_>> {
    let own = config.ikev2.iter().flat_map(|listener| encapsulating(listener, &config.sstp));
    let shared = config.sstp.iter().map(|listener| Doors::Tls { listener, encapsulated: config.encapsulates_on(listener) });
    shared.chain(own).collect()
}

/// The ports for IKE alone.
fn encapsulating<'a>(listener: &'a Ikev2Listener, sstp: &[SstpListener]) -> Vec<Doors<'a>> {
    let own = listener.tcp.iter().filter(|port| !sstp.iter().any(|other| other.port == **port));
    own.map(|&port| Doors::Ike { listener, port }).collect()
}

/// What all connections of a listener share.
#[derive(Debug)]
struct Shared {
    sstp: Option<Sstp>,
    /// Connections may begin with the prefix of RFC 9329.
    encapsulated: bool,
    bounds: Bounds,
    places: Arc<Places>,
    /// How many handshakes may compute at once.
    workers: Arc<Semaphore>,
    counters: Arc<Counters>,
    arrivals: mpsc::Sender<Arrival>,
}

/// What TLS connections of a listener share.
#[derive(Debug)]
struct Sstp {
    tls: Arc<tls::ServerSettings>,
    settings: Arc<CallSettings>,
}

impl Doors<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Tls { listener, .. } => &listener.name,
            Self::Ike { listener, .. } => &listener.name,
        }
    }

    fn protocol(&self) -> &'static str {
        match self {
            Self::Tls { .. } => "sstp",
            Self::Ike { .. } => "ikev2-tcp",
        }
    }

    /// Where they are.
    fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = match self {
            Self::Tls { listener, .. } => &listener.addresses,
            Self::Ike { listener, .. } => &listener.addresses,
        };
        addresses.iter().map(|&address| SocketAddr::new(address, self.port()))
    }

    fn port(&self) -> u16 {
        match self {
            Self::Tls { listener, .. } => listener.port,
            Self::Ike { port, .. } => *port,
        }
    }

    fn proxies(&self) -> &[AddressRange] {
        match self {
            Self::Tls { listener, .. } => &listener.proxies,
            Self::Ike { listener, .. } => &listener.proxies,
        }
    }

    fn encapsulated(&self) -> bool {
        match self {
            Self::Tls { encapsulated, .. } => *encapsulated,
            Self::Ike { .. } => true,
        }
    }
}

fn sstp(doors: Doors<'_>, gateway_name: &str) -> anyhow::Result<Option<Sstp>> {
    let Doors::Tls { listener, .. } = doors else { return Ok(None) };
    Ok(Some(Sstp { tls: Arc::new(tls_settings(listener)?), settings: Arc::new(call_settings(listener, gateway_name)) }))
}

fn call_settings(listener: &SstpListener, gateway_name: &str) -> CallSettings {
    CallSettings {
        auth: listener.auth.clone(),
        offer_sha1: listener.sha1_binding,
        inner_ipv4: listener.inner_ipv4,
        tunnel_type: listener.tunnel_type,
        name: gateway_name.to_owned(),
        listener: listener.name.clone(),
    }
}

fn tls_settings(listener: &SstpListener) -> anyhow::Result<tls::ServerSettings> {
    Ok(tls::ServerSettings::new(listener.certificates.clone())?.steered(listener.steering.clone()))
}

/// Accepts until the other end of `newest` is dropped.
async fn accept(listener: Arc<TcpListener>, mut newest: watch::Receiver<Arc<Shared>>, accepted: Arc<AtomicU64>) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            changed = newest.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (socket, remote) = match connection {
            Ok(connection) => connection,
            Err(error) => {
                // Out of descriptors, say: those that end make room.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        let shared = newest.borrow().clone();
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = shared.places.take(remote.ip()) else {
            shared.counters.over_limit.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        tokio::spawn(serve(socket, remote, shared, place));
    }
}

async fn serve(socket: TcpStream, remote: SocketAddr, shared: Arc<Shared>, mut place: Place) {
    match handshake::run(socket, remote, &shared).await {
        Ok(outcome) if place.is_for(outcome.path().remote.ip()) => {
            let arrival = match outcome {
                Outcome::Asked(asked, settings) => Arrival::Asks(Box::new(arrival(*asked, place, settings))),
                Outcome::Encapsulated { socket, path, notes } => {
                    shared.counters.ike.fetch_add(1, Ordering::Relaxed);
                    Arrival::Encapsulated(Encapsulated { socket, path, notes, place })
                }
            };
            // Waits while the gateway is busy; the place is kept so long.
            drop(shared.arrivals.send(arrival).await);
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

fn arrival(asked: Asked, place: Place, settings: Arc<CallSettings>) -> Incoming<Connection> {
    use crypto::hash::{HashAlgorithm, hash};
    use crypto::{Random as _, SystemRandom};
    let digest = |algorithm| hash(algorithm, &[&asked.leaf]);
    let mut certificate = sstp::CertificateHashes { sha1: [0; 20], sha256: [0; 32] };
    certificate.sha1.copy_from_slice(&digest(HashAlgorithm::Sha1));
    certificate.sha256.copy_from_slice(&digest(HashAlgorithm::Sha256));
    let (mut nonce, mut seed) = ([0; 32], [0; ppp::SEED_LENGTH]);
    let mut random = SystemRandom;
    random.fill(&mut nonce);
    random.fill(&mut seed);
    Incoming {
        path: asked.path,
        connection: Connection { place: Some(place), ..asked.connection },
        settings,
        certificate,
        presented: asked.presented,
        server_name: asked.server_name,
        tls: asked.tls,
        correlation_id: asked.correlation_id,
        notes: asked.notes,
        nonce,
        seed,
    }
}
