//! Where Disconnect and CoA requests arrive (RFC 5176): UDP 3799, and TCP 2083 over TLS.
mod tls;

use crate::config::{Config, Heard};
use crate::gateway::{Gateway, Now, Plane};
use crate::trace::Direction;
use anyhow::Context as _;
use net::ike::IkeSocket;
use radius_client::dynamic::{DynamicClient, DynamicCounters, DynamicServer, NasNames, OverTls};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;

/// The largest RADIUS packet (RFC 2865 section 3).
const MAX_PACKET: usize = 4096;

/// Requests waiting for the control thread; more are dropped, and asked again.
const QUEUE: usize = 256;

/// The machine, and the names that requests may call this gateway by.
#[derive(Debug)]
pub struct Dynamic {
    server: DynamicServer,
    names: NasNames,
    heard: Heard,
    /// UDP port where requests are heard.
    port: u16,
    arrived: Sender<Arrived>,
    peers: watch::Sender<tls::Peers>,
    over_tls: tls::Shared,
}

/// Sockets bound for a configuration; dropped, as if they had never been.
#[derive(Debug)]
pub struct Prepared {
    /// `None`: nothing new.
    udp: Option<Vec<(UdpSocket, IkeSocket)>>,
    tls: Option<Vec<(SocketAddr, net::listen::Bound)>>,
}

/// The same with connections arriving there already.
#[derive(Debug)]
pub struct Listening {
    udp: Option<Vec<(UdpSocket, IkeSocket)>>,
    tls: Option<Vec<TcpListener>>,
}

impl Prepared {
    /// Takes connections there.
    ///
    /// # Errors
    /// Somebody else listens there since they were bound.
    pub fn listen(self) -> anyhow::Result<Listening> {
        Ok(Listening { udp: self.udp, tls: self.tls.map(tls::listen).transpose()? })
    }
}

/// A request as it came, with the way back: from the address that it was sent to.
#[derive(Debug)]
pub struct Arrived {
    pub from: SocketAddr,
    pub datagram: Vec<u8>,
    to: IpAddr,
    way: Way,
}

/// How a request came, and its answer goes.
#[derive(Debug)]
enum Way {
    Datagram(Arc<IkeSocket>),
    Connection {
        /// Name of the client whose certificate was shown.
        client: String,
        answers: Sender<OverTls>,
    },
}

impl Dynamic {
    /// Listens, if anybody may ask.
    pub fn start(config: &Config) -> anyhow::Result<(Self, Receiver<Arrived>)> {
        let (sender, arrived) = mpsc::channel(QUEUE);
        let server = DynamicServer::new(clients(config));
        let (peers, known) = watch::channel(tls::peers(&config.dynamic_clients));
        let over_tls = tls::Shared::new(known, sender.clone());
        let names = names(config);
        let mut dynamic =
            Self { server, names, heard: Heard::default(), port: config.server.dynamic_port, arrived: sender, peers, over_tls };
        let listening = dynamic.prepare(config)?.listen()?;
        dynamic.listen(listening);
        Ok((dynamic, arrived))
    }

    /// Where requests are heard.
    pub fn heard(&self) -> Heard {
        self.heard
    }

    /// Binds what is not bound yet, if anybody may ask there: all, or none.
    pub fn prepare(&self, config: &Config) -> anyhow::Result<Prepared> {
        let any = |over_tls| config.dynamic_clients.iter().any(|peer| peer.tls.is_some() == over_tls);
        let server = &config.server;
        let udp = (any(false) && !self.heard.udp).then(|| bind(&server.dynamic_listen, server.dynamic_port)).transpose()?;
        let tls = (any(true) && !self.heard.tls).then(|| tls::bind(&server.dynamic_listen, server.dynamic_tls_port)).transpose()?;
        Ok(Prepared { udp, tls })
    }

    /// Listens also there, has other clients from now on, and other names of this gateway.
    pub fn configure(&mut self, config: &Config, listening: Listening) {
        self.listen(listening);
        self.server.configure(clients(config));
        self.trust(config);
        self.names = names(config);
    }

    /// Believes these clients as they are now: revocation lists have changed.
    pub fn trust(&mut self, config: &Config) {
        self.peers.send_replace(tls::peers(&config.dynamic_clients));
    }

    fn listen(&mut self, listening: Listening) {
        for (watched, socket) in listening.udp.into_iter().flatten() {
            self.heard.udp = true;
            tokio::spawn(read(watched, Arc::new(socket), self.arrived.clone()));
        }
        for listener in listening.tls.into_iter().flatten() {
            self.heard.tls = true;
            tokio::spawn(tls::accept(listener, self.over_tls.clone()));
        }
    }

    /// Does what a request asks for and answers it.
    pub fn serve<P: Plane>(&mut self, now: Now, gateway: &mut Gateway<P>, arrived: &Arrived) {
        let gateway = RefCell::new(gateway);
        // They are asked of all sessions: not for a stranger's datagram.
        let names = || {
            let mut names = self.names.clone();
            names.addresses.push(arrived.to);
            names.addresses.extend(gateway.borrow().dialled());
            names
        };
        let local = matches!(arrived.way, Way::Datagram(_)).then(|| SocketAddr::new(arrived.to, self.port));
        let ends = (arrived.from, local);
        let traced = RefCell::new(Vec::new());
        let act = |request: &_| {
            *traced.borrow_mut() = gateway.borrow().traced_by(request);
            gateway.borrow().dynamic_seen(now, &traced.borrow(), Direction::In, ends, &arrived.datagram);
            gateway.borrow_mut().dynamic(now, request)
        };
        let answer_seen = |answer: &[u8]| gateway.borrow().dynamic_seen(now, &traced.borrow(), Direction::Out, ends, answer);
        let unix_time = now.wall.as_second();
        let answered = match &arrived.way {
            Way::Datagram(socket) => match self.server.handle(now.instant, unix_time, arrived.from, &arrived.datagram, names, act) {
                // What is lost the client asks for again.
                Some(answer) => {
                    answer_seen(&answer);
                    socket.send(&answer, arrived.to, arrived.from).map_err(|error| error.to_string())
                }
                None => Err("dropped".into()),
            },
            Way::Connection { client, answers } => {
                let answer = self.server.handle_over_tls(unix_time, client, &arrived.datagram, names, act);
                if let OverTls::Answer(answer) = &answer {
                    answer_seen(answer);
                }
                // Its connection asks one thing at a time.
                answers.try_send(answer).map_err(|error| error.to_string())
            }
        };
        if let Err(cause) = answered {
            tracing::debug!(from = %arrived.from, cause, counters = ?self.server.counters(), "a dynamic authorization request was not answered");
        }
    }

    pub fn counters(&self) -> DynamicCounters {
        DynamicCounters { connections_refused: self.over_tls.refused.load(Ordering::Relaxed), ..self.server.counters() }
    }
}

fn clients(config: &Config) -> Vec<DynamicClient> {
    config.dynamic_clients.iter().map(|peer| peer.client.clone()).collect()
}

/// What requests may call this gateway.
fn names(config: &Config) -> NasNames {
    let mut identifiers: Vec<_> = config.radius.iter().filter_map(|radius| radius.server.nas_identifier.clone()).collect();
    identifiers.push(config.server.name.clone());
    let addresses = config.radius.iter().filter_map(|radius| radius.server.nas_ip).collect();
    NasNames { addresses, identifiers }
}

/// Binds every address: all, or none.
fn bind(addresses: &[IpAddr], port: u16) -> anyhow::Result<Vec<(UdpSocket, IkeSocket)>> {
    let bind = |&address| {
        let address = SocketAddr::new(address, port);
        let socket = IkeSocket::bind(address)
            .with_context(|| format!("cannot bind udp {address} for dynamic authorization (server.dynamic_listen, server.dynamic_port)"))?;
        Ok((UdpSocket::from_std(socket.standard()?)?, socket))
    };
    addresses.iter().map(bind).collect()
}

/// `watched` tells when there is something to read from `socket`: they are one.
async fn read(watched: UdpSocket, socket: Arc<IkeSocket>, arrived: Sender<Arrived>) {
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        match watched.async_io(Interest::READABLE, || socket.recv(&mut buffer)).await {
            Ok((length, from, to)) => {
                let datagram = buffer[..length].to_vec();
                let one = Arrived { from, datagram, to: to.ip(), way: Way::Datagram(socket.clone()) };
                // A full queue means overload: the client asks again.
                if matches!(arrived.try_send(one), Err(TrySendError::Closed(_))) {
                    return;
                }
            }
            Err(error) => tracing::trace!(%error, "dynamic authorization socket"),
        }
    }
}
