//! One connection of RADIUS over TLS (RFC 6614): TCP, handshake, and packets told apart by their length field.
use crate::tls_client::Link;
use pki::Refused;
use radius_client::{Input, RadiusVersion, SocketId};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tls::{ClientSettings, ServerFault};
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::watch;

/// The smallest RADIUS packet: its header (RFC 2865 section 3).
const MIN_PACKET: usize = 20;

/// Names of the versions of RADIUS in ALPN (RFC 9765 section 3.2).
pub(crate) const RADIUS_1_0: &[u8] = b"radius/1.0";
pub(crate) const RADIUS_1_1: &[u8] = b"radius/1.1";

/// TCP and TLS together; a login waits meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Packets on their way to the connection: as many as can be in flight, and watchdogs.
pub(crate) const QUEUE: usize = 4200;

/// What is to be reached, and from where.
pub(crate) struct Target {
    pub socket: SocketId,
    pub peer: SocketAddr,
    pub source: Option<IpAddr>,
    /// The server's name in the configuration.
    pub server: String,
    /// Whom to believe, and what to show, as it is now.
    pub settings: watch::Receiver<Arc<ClientSettings>>,
}

/// Lives as long as the connection, and tells the machine of its end unless the machine itself lets go of it.
pub(crate) async fn run(mut target: Target, mut packets: Receiver<Vec<u8>>, inbound: Sender<Input>) {
    let (socket, server, peer) = (target.socket, target.server.clone(), target.peer);
    let settings = target.settings.borrow_and_update().clone();
    let mut heard = false;
    let cause = match tokio::time::timeout(CONNECT_TIMEOUT, connect(target.peer, target.source, &settings)).await {
        Err(_) => format!("no TLS connection to {peer} within {} s", CONNECT_TIMEOUT.as_secs()),
        Ok(Err(cause)) => cause,
        Ok(Ok(mut link)) => match link.serve(&mut target, &settings, &mut packets, &inbound, &mut heard).await {
            Ok(()) => return link.farewell().await,
            Err(cause) => cause,
        },
    };
    tracing::warn!(server, %peer, cause, "a TLS connection to a RADIUS server ended");
    // Without the machine nobody wants to know.
    inbound.send(Input::Closed { socket, cause, served: heard }).await.ok();
}

/// What a question over a connection of its own came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No answer in time.
    Silence,
    Answer(Vec<u8>),
}

/// Sends a packet of the version that both ends speak over a connection of its own and waits so long for the answer.
///
/// # Errors
/// Why there is no connection, in words.
pub(crate) async fn ask(
    peer: SocketAddr,
    source: Option<IpAddr>,
    settings: &ClientSettings,
    packet: impl FnOnce(RadiusVersion) -> Vec<u8>,
    patience: Duration,
) -> Result<Asked, String> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(peer, source, settings)).await;
    let mut link = connected.map_err(|_| format!("no TLS connection to {peer} within {} s", CONNECT_TIMEOUT.as_secs()))??;
    let packet = packet(link.agreed(settings)?);
    link.send(&packet).await?;
    let answer = async {
        loop {
            if let Some(answer) = next_packet(&mut link.received)? {
                return Ok::<_, String>(answer);
            }
            link.read().await?;
        }
    };
    let answer = tokio::time::timeout(patience, answer).await;
    link.farewell().await;
    match answer {
        Ok(answer) => answer.map(Asked::Answer),
        Err(_) => Ok(Asked::Silence),
    }
}

async fn connect(peer: SocketAddr, source: Option<IpAddr>, settings: &ClientSettings) -> Result<Link, String> {
    let failed = |error: io::Error| format!("no TCP connection to {peer}: {error}");
    let socket = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(source) = source {
        socket.bind((source, 0).into()).map_err(|error| format!("radius.source {source}: {error}"))?;
    }
    let tcp = socket.connect(peer).await.map_err(failed)?;
    Link::open(tcp, settings).await
}

impl Link {
    /// `Ok`: the machine wants it no longer.
    async fn serve(
        &mut self,
        target: &mut Target,
        settings: &ClientSettings,
        packets: &mut Receiver<Vec<u8>>,
        inbound: &Sender<Input>,
        heard: &mut bool,
    ) -> Result<(), String> {
        let (socket, peer) = (target.socket, target.peer);
        let version = self.agreed(settings)?;
        tracing::info!(server = target.server, %peer, version = self.tls.version(), radius = version.name(), "connected to a RADIUS server over TLS");
        if inbound.send(Input::Connected { socket, version }).await.is_err() {
            return Ok(());
        }
        loop {
            while let Some(bytes) = next_packet(&mut self.received)? {
                *heard = true;
                if inbound.send(Input::Datagram { socket, from: peer, bytes }).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                Ok(()) = target.settings.changed() => self.still_good(&target.settings.borrow_and_update())?,
                packet = packets.recv() => match packet {
                    None => return Ok(()),
                    Some(packet) => self.send(&packet).await?,
                },
                ready = self.tcp.readable() => {
                    ready.map_err(|error| format!("the connection was lost: {error}"))?;
                    self.read().await?;
                }
            }
        }
    }

    /// A server whose certificate has been revoked since is not asked any more. Other changes are for new connections: who began to talk to a server
    /// ends with it.
    fn still_good(&self, settings: &ClientSettings) -> Result<(), String> {
        match self.tls.check_again(settings, jiff::Timestamp::now().as_second()) {
            Err(ServerFault::Refused(refused)) if matches!(*refused, Refused::Revoked { .. } | Refused::RevocationUnknown { .. }) => {
                Err(ServerFault::Refused(refused).to_string())
            }
            _ => Ok(()),
        }
    }

    /// Which version of RADIUS is spoken here (RFC 9765 sections 3.3 and 3.5).
    fn agreed(&self, settings: &ClientSettings) -> Result<RadiusVersion, String> {
        match self.tls.protocol() {
            Some(RADIUS_1_1) if self.tls.version() != "TLS 1.3" => {
                Err(format!("the server chose RADIUS/1.1 with {}, which needs TLS 1.3: allow TLS 1.3 there", self.tls.version()))
            }
            Some(RADIUS_1_1) => Ok(RadiusVersion::V1_1),
            None if !settings.offers(RADIUS_1_0) => {
                Err("the server does not speak RADIUS/1.1, which radius_1_1 requires: set it to \"auto\", or enable it there".into())
            }
            _ => Ok(RadiusVersion::V1_0),
        }
    }
}

/// Takes the first packet from the stream, once it is whole.
pub(crate) fn next_packet(received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let Some(&[_, _, high, low]) = received.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(MIN_PACKET..=crate::radius_shell::MAX_PACKET).contains(&length) {
        return Err(format!("a RADIUS packet came that says it has {length} bytes, which none has"));
    }
    if received.len() < length {
        return Ok(None);
    }
    let rest = received.split_off(length);
    Ok(Some(std::mem::replace(received, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_by_their_length() {
        let packet = |length: u8| [vec![2, 7, 0, length], vec![0xaa; usize::from(length) - 4]].concat();
        let stream = [packet(20), packet(33), packet(20)].concat();
        let mut received = Vec::new();
        let mut found = Vec::new();
        for byte in &stream {
            received.push(*byte);
            found.extend(next_packet(&mut received).unwrap());
        }
        assert_eq!(found, [packet(20), packet(33), packet(20)]);
        assert!(received.is_empty());
        let mut all = stream.clone();
        assert_eq!(next_packet(&mut all).unwrap(), Some(packet(20)), "and several at once");
        assert_eq!(all.len(), 53);
    }

    #[test]
    fn a_length_out_of_bounds_ends_the_connection() {
        for length in [0_u16, 19, 4097, 65_535] {
            let [high, low] = length.to_be_bytes();
            assert!(next_packet(&mut vec![2, 7, high, low]).unwrap_err().contains(&length.to_string()));
        }
        assert_eq!(next_packet(&mut vec![2, 7, 0x10, 0x00]), Ok(None), "4096 is allowed");
    }
}
