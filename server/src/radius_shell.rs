//! The sockets and the clock of the RADIUS client machine.
use crate::radsec;
use crate::trace::{Ends, Exchanges, Tracer};
use radius_client::{Change, Client, Configuration, Dial, Input, Output, ServerReport, SocketId};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The largest RADIUS packet (RFC 2865 section 3).
pub(crate) const MAX_PACKET: usize = 4096;

/// Datagrams on their way from the sockets to the machine.
const INBOUND_QUEUE: usize = 1024;

/// Who hears of the outcomes of requests.
#[derive(Debug, Clone)]
pub struct Outcomes {
    /// The control half, of logins.
    pub logins: Sender<Output>,
    /// Accounting, which never has more requests under way than find room here.
    pub accounting: crate::accounting::Outcomes,
}

/// The servers, as last seen.
pub type Servers = Vec<ServerReport>;

/// How to reach each server that speaks TLS, by its name in the configuration.
pub type TlsServers = BTreeMap<String, Arc<tls::ClientSettings>>;

/// Servers as a reload brings them. Who asks after it was sent is served by them; conversations under way stay where they are.
#[derive(Debug)]
pub struct Setup {
    pub configuration: Configuration,
    pub tls: TlsServers,
}

/// Both ways into the task.
#[derive(Debug)]
pub struct Inbox {
    pub requests: Receiver<Input>,
    pub setups: UnboundedReceiver<Setup>,
    /// Who is told of packets.
    pub tracer: Tracer,
}

enum Socket {
    Udp {
        socket: Arc<UdpSocket>,
        reader: JoinHandle<()>,
    },
    /// The connection ends with its queue.
    Tls(Sender<Vec<u8>>),
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Udp { reader, .. } = self {
            reader.abort();
        }
    }
}

struct Sockets {
    open: BTreeMap<SocketId, Socket>,
    inbound: Sender<Input>,
    /// The address of ours that each UDP port of a server was last asked from.
    sources: BTreeMap<SocketAddr, IpAddr>,
    /// Connections hear of what changes.
    tls: BTreeMap<String, watch::Sender<Arc<tls::ClientSettings>>>,
    /// What traces are told.
    exchanges: Exchanges,
}

/// Runs the machine until the gateway hangs up.
pub async fn run(mut client: Client, tls: TlsServers, inbox: Inbox, outcomes: Outcomes, servers: watch::Sender<Servers>) {
    let Inbox { mut requests, mut setups, tracer } = inbox;
    let (inbound_tx, mut inbound) = tokio::sync::mpsc::channel(INBOUND_QUEUE);
    let exchanges = Exchanges::new(tracer);
    let mut sockets = Sockets { open: BTreeMap::new(), sources: BTreeMap::new(), inbound: inbound_tx, tls: BTreeMap::new(), exchanges };
    sockets.believe(tls);
    loop {
        if drain(&mut client, &mut sockets, &outcomes).await.is_err() {
            return;
        }
        servers.send_replace(client.servers());
        let deadline = client.poll_timeout();
        let input = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
            Some(setup) = setups.recv() => configure(&mut sockets, setup),
            Some(input) = inbound.recv() => input,
            () = sleep_until(deadline) => Input::Timeout,
        };
        // Before the requests that came after them.
        while let Ok(setup) = setups.try_recv() {
            let configuration = configure(&mut sockets, setup);
            client.handle(Instant::now(), configuration);
        }
        take(&mut client, &mut sockets, input);
    }
}

/// Gives the machine what came; traces are told of packets, and of what the machine thinks of them.
fn take(client: &mut Client, sockets: &mut Sockets, input: Input) {
    let now = Instant::now();
    match input {
        Input::Connected { socket, version } => sockets.exchanges.connected(socket, version),
        Input::Datagram { socket, from, ref bytes } if sockets.exchanges.is_on() => {
            let (before, bytes) = (client.counters(), bytes.clone());
            client.handle(now, input);
            let dropped = client.counters().iter().find_map(|(server, counters)| {
                let (_, before) = before.iter().find(|(name, _)| name == server)?;
                Some(counters.dropped_since(before)).filter(|dropped| dropped != "none")
            });
            let ends = sockets.ends(socket);
            return sockets.exchanges.received(now, socket, from, ends, &bytes, dropped.as_deref());
        }
        _ => {}
    }
    client.handle(now, input);
}

fn configure(sockets: &mut Sockets, setup: Setup) -> Input {
    sockets.believe(setup.tls);
    Input::Configure(setup.configuration)
}

/// Sleeps until `deadline`, or for ever.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

struct GatewayGone;

async fn drain(client: &mut Client, sockets: &mut Sockets, outcomes: &Outcomes) -> Result<(), GatewayGone> {
    while let Some(output) = client.poll_output() {
        match output {
            Output::Open { socket, source, dial } => match sockets.dial(socket, source, &dial).await {
                Ok(opened) => {
                    sockets.note_source(&opened, dial.peer());
                    sockets.open.insert(socket, opened);
                }
                Err(error) => {
                    let peer = dial.peer();
                    tracing::warn!(%error, ?source, %peer, "cannot open a RADIUS socket; is radius.source an address of this machine?");
                    client.handle(Instant::now(), Input::Unreachable { socket, to: peer });
                }
            },
            Output::Close { socket } => {
                sockets.open.remove(&socket);
                sockets.exchanges.closed(socket);
            }
            Output::Transmit { socket, to, bytes } => transmit(client, sockets, socket, to, bytes).await,
            Output::Server { server, change } => log(&server, change),
            outcome @ (Output::Eap { .. } | Output::Login { .. }) => outcomes.logins.send(outcome).await.map_err(|_| GatewayGone)?,
            Output::Accounting { ticket, outcome } => {
                if let Err(error) = outcomes.accounting.try_send((ticket, outcome)) {
                    tracing::error!(%error, "accounting takes no outcome");
                }
            }
        }
    }
    Ok(())
}

fn log(server: &str, change: Change) {
    let port = |accounting: bool| if accounting { "accounting" } else { "authentication" };
    match change {
        Change::Died { accounting } => {
            tracing::warn!(server, port = port(accounting), "a RADIUS server does not answer; others are asked until it does");
        }
        Change::Returned { accounting, after } => {
            tracing::info!(server, port = port(accounting), seconds = after.as_secs(), "a RADIUS server answers again");
        }
        Change::Ignored(attribute) => {
            tracing::info!(server, %attribute, "a RADIUS server sends an attribute that this gateway does not act upon; said once");
        }
        Change::SendsMessageAuthenticator => {
            tracing::info!(server, "a RADIUS server sends Message-Authenticator; from now on its replies must have it");
        }
    }
}

async fn transmit(client: &mut Client, sockets: &mut Sockets, socket: SocketId, to: SocketAddr, bytes: Vec<u8>) {
    if sockets.exchanges.is_on() {
        let ends = sockets.ends(socket);
        sockets.exchanges.sent(Instant::now(), socket, to, ends, &bytes);
    }
    let Some(opened) = sockets.open.get(&socket) else { return };
    tracing::trace!(%to, bytes = bytes.len(), "radius request");
    let udp = match opened {
        Socket::Udp { socket, .. } => socket,
        Socket::Tls(packets) => {
            // Where the connection has ended it says so itself.
            if let Err(TrySendError::Full(_)) = packets.try_send(bytes) {
                sockets.open.remove(&socket);
                let cause = "the server does not take what it is sent".into();
                client.handle(Instant::now(), Input::Closed { socket, cause, served: true });
            }
            return;
        }
    };
    let mut sent = udp.send_to(&bytes, to).await;
    if sent.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionRefused) {
        // What ICMP said of an earlier packet kept this one from being sent.
        net::reports::discard(udp.as_ref());
        sent = udp.send_to(&bytes, to).await;
    }
    match sent {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            client.handle(Instant::now(), Input::Unreachable { socket, to });
        }
        Err(error) => {
            tracing::debug!(%to, %error, "radius request not sent");
            // The second byte of every packet of RADIUS/1.0.
            client.handle(Instant::now(), Input::NotSent { socket, identifier: bytes[1] });
        }
    }
}

impl Sockets {
    /// What a socket is; `None`: it is closed.
    fn ends(&self, socket: SocketId) -> Option<Ends> {
        Some(match self.open.get(&socket)? {
            Socket::Udp { socket, .. } => Ends::Udp(socket.local_addr().ok()?),
            Socket::Tls(_) => Ends::Tls,
        })
    }

    /// A removed server stays: it may have to be dialled again for a conversation under way.
    fn believe(&mut self, servers: TlsServers) {
        for (server, settings) in servers {
            match self.tls.get(&server) {
                Some(known) => drop(known.send_replace(settings)),
                None => drop(self.tls.insert(server, watch::Sender::new(settings))),
            }
        }
    }

    /// A server knows its clients by their addresses: what changes here may have to be changed there.
    fn note_source(&mut self, opened: &Socket, peer: SocketAddr) {
        let Socket::Udp { socket, .. } = opened else { return };
        let Ok(source) = socket.local_addr().map(|local| local.ip()) else { return };
        if let Some(before) = self.sources.insert(peer, source).filter(|before| *before != source) {
            tracing::info!(%peer, %source, %before, "a RADIUS server is asked from another address; it must know this one as its client");
        }
    }

    async fn dial(&self, socket: SocketId, source: Option<IpAddr>, dial: &Dial) -> std::io::Result<Socket> {
        let inbound = self.inbound.clone();
        match dial {
            Dial::Udp { peer } => udp(socket, source, *peer, inbound).await,
            Dial::Tls { peer, server } => {
                let settings = self.tls.get(server).map(watch::Sender::subscribe).ok_or(std::io::ErrorKind::NotFound)?;
                let (packets, queue) = tokio::sync::mpsc::channel(radsec::QUEUE);
                let target = radsec::Target { socket, peer: *peer, source, server: server.clone(), settings };
                tokio::spawn(radsec::run(target, queue, inbound));
                Ok(Socket::Tls(packets))
            }
        }
    }
}

async fn udp(id: SocketId, source: Option<IpAddr>, peer: SocketAddr, inbound: Sender<Input>) -> std::io::Result<Socket> {
    let local = match source {
        Some(source) => SocketAddr::new(source, 0),
        None => routed(peer)?,
    };
    // Not connected: a server that answers from another of its addresses could not be told from a silent one.
    let socket = Arc::new(UdpSocket::bind(local).await?);
    // So that ICMP port unreachable reaches us all the same: a closed port is a dead server at once.
    net::reports::enable(socket.as_ref(), peer.is_ipv6())?;
    let reader = tokio::spawn(read(id, peer, socket.clone(), inbound));
    Ok(Socket::Udp { socket, reader })
}

/// The address of ours from which the kernel reaches `peer`, with port 0.
fn routed(peer: SocketAddr) -> std::io::Result<SocketAddr> {
    let any = if peer.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    let mut local = socket.local_addr()?;
    local.set_port(0);
    Ok(local)
}

/// Like `recv_from`, which an error alone does not wake (EPOLLERR without EPOLLIN).
async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
    use std::io::ErrorKind::WouldBlock;
    use tokio::io::Interest;
    loop {
        if socket.ready(Interest::READABLE | Interest::ERROR).await?.is_error() {
            let reported = || socket.take_error()?.map_or_else(|| Err(WouldBlock.into()), Err::<(), _>);
            match socket.try_io(Interest::ERROR, reported) {
                Err(error) if error.kind() != WouldBlock => return Err(error),
                _ => {}
            }
        }
        match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == WouldBlock => {}
            received => return received,
        }
    }
}

async fn read(id: SocketId, peer: SocketAddr, socket: Arc<UdpSocket>, inbound: Sender<Input>) {
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        let input = match receive(&socket, &mut buffer).await {
            // Only counted: whoever sends such things must not crowd out answers.
            Ok((length, from)) if (from.ip(), from.port()) != (peer.ip(), peer.port()) => {
                let input = Input::Datagram { socket: id, from, bytes: buffer[..length].to_vec() };
                if let Err(TrySendError::Closed(_)) = inbound.try_send(input) {
                    return;
                }
                continue;
            }
            Ok((length, from)) => Input::Datagram { socket: id, from, bytes: buffer[..length].to_vec() },
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                net::reports::discard(socket.as_ref());
                Input::Unreachable { socket: id, to: peer }
            }
            Err(error) => {
                net::reports::discard(socket.as_ref());
                tracing::debug!(%peer, %error, "radius socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if inbound.send(input).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Nothing is sent a second time, of which a closed port could be told.
    #[tokio::test]
    async fn a_closed_port_is_told_at_once() {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (inbound, mut told) = tokio::sync::mpsc::channel(1);
        let Socket::Udp { socket, .. } = &udp(SocketId(1), None, closed, inbound).await.unwrap() else { panic!("it is UDP") };
        for _ in 0..2 {
            socket.send_to(b"?", closed).await.unwrap();
            let input = tokio::time::timeout(Duration::from_secs(5), told.recv()).await.expect("the reader wakes");
            assert!(matches!(input, Some(Input::Unreachable { to, .. }) if to == closed), "{input:?}");
        }
    }
}
