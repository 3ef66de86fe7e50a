//! Where Disconnect and CoA requests arrive (RFC 5176): UDP 3799.
use crate::config::Config;
use crate::gateway::{Gateway, Now, Plane};
use anyhow::Context as _;
use net::ike::IkeSocket;
use radius_client::dynamic::{DynamicCounters, DynamicServer, NasNames};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// The largest RADIUS packet (RFC 2865 section 3).
const MAX_PACKET: usize = 4096;

/// Requests waiting for the control thread; more are dropped, and asked again.
const QUEUE: usize = 256;

/// The machine, and the names that requests may call this gateway by.
#[derive(Debug)]
pub struct Dynamic {
    server: DynamicServer,
    names: NasNames,
    listens: bool,
    arrived: Sender<Arrived>,
}

/// A request as it came, with the way back: from the address that it was sent to.
#[derive(Debug)]
pub struct Arrived {
    pub from: SocketAddr,
    pub datagram: Vec<u8>,
    to: IpAddr,
    socket: Arc<IkeSocket>,
}

impl Arrived {
    /// Sends the answer; what is lost the client asks for again.
    pub fn answer(&self, bytes: &[u8]) {
        if let Err(error) = self.socket.send(bytes, self.to, self.from) {
            tracing::debug!(%error, to = %self.from, "answer to a dynamic authorization request not sent");
        }
    }
}

impl Dynamic {
    /// Listens, if anybody may ask.
    pub fn start(config: &Config) -> anyhow::Result<(Self, Receiver<Arrived>)> {
        let (sender, arrived) = mpsc::channel(QUEUE);
        let server = DynamicServer::new(config.dynamic_clients.clone());
        let mut dynamic = Self { server, names: names(config), listens: false, arrived: sender };
        dynamic.prepare(config)?;
        Ok((dynamic, arrived))
    }

    /// Requests are heard.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Listens from now on, if anybody may ask.
    pub fn prepare(&mut self, config: &Config) -> anyhow::Result<()> {
        if !config.dynamic_clients.is_empty() && !self.listens {
            listen(&config.server.dynamic_listen, config.server.dynamic_port, &self.arrived)?;
            self.listens = true;
        }
        Ok(())
    }

    /// Other clients from now on, and other names of this gateway.
    pub fn configure(&mut self, config: &Config) {
        self.server.configure(config.dynamic_clients.clone());
        self.names = names(config);
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
        let act = |request: &_| gateway.borrow_mut().dynamic(now, request);
        let answer = self.server.handle(now.instant, now.wall.as_second(), arrived.from, &arrived.datagram, names, act);
        match answer {
            Some(answer) => arrived.answer(&answer),
            None => {
                let counters = self.server.counters();
                tracing::debug!(from = %arrived.from, ?counters, "a dynamic authorization request was dropped");
            }
        }
    }

    pub fn counters(&self) -> DynamicCounters {
        self.server.counters()
    }
}

/// What requests may call this gateway.
fn names(config: &Config) -> NasNames {
    let mut identifiers: Vec<_> = config.radius.iter().filter_map(|radius| radius.server.nas_identifier.clone()).collect();
    identifiers.push(config.server.name.clone());
    let addresses = config.radius.iter().filter_map(|radius| radius.server.nas_ip).collect();
    NasNames { addresses, identifiers }
}

/// Binds every address and starts reading.
fn listen(addresses: &[IpAddr], port: u16, arrived: &Sender<Arrived>) -> anyhow::Result<()> {
    let bind = |&address| {
        let address = SocketAddr::new(address, port);
        let socket = IkeSocket::bind(address)
            .with_context(|| format!("cannot bind udp {address} for dynamic authorization (server.dynamic_listen, server.dynamic_port)"))?;
        Ok((UdpSocket::from_std(socket.standard()?)?, socket))
    };
    // All, or none.
    let bound: Vec<_> = addresses.iter().map(bind).collect::<anyhow::Result<_>>()?;
    for (watched, socket) in bound {
        tokio::spawn(read(watched, Arc::new(socket), arrived.clone()));
    }
    Ok(())
}

/// `watched` tells when there is something to read from `socket`: they are one.
async fn read(watched: UdpSocket, socket: Arc<IkeSocket>, arrived: Sender<Arrived>) {
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        match watched.async_io(Interest::READABLE, || socket.recv(&mut buffer)).await {
            Ok((length, from, to)) => {
                let datagram = buffer[..length].to_vec();
                let one = Arrived { from, datagram, to: to.ip(), socket: socket.clone() };
                // A full queue means overload: the client asks again.
                if matches!(arrived.try_send(one), Err(TrySendError::Closed(_))) {
                    return;
                }
            }
            Err(error) => tracing::trace!(%error, "dynamic authorization socket"),
        }
    }
}
