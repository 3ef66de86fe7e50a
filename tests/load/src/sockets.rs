//! IKE datagrams without a data plane: ports 500 and 4500, the latter with the non-ESP marker (RFC 3948 section 2.2).

use ike::Path;
use net::ike::IkeSocket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::options::{IKE_PORT, NAT_PORT};

const MARKER: [u8; 4] = [0; 4];

/// What came in a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Ike(Vec<u8>),
    /// Or a keepalive.
    Esp(Vec<u8>),
}

/// One IKE port of this client.
#[derive(Debug)]
pub(crate) struct Port {
    socket: IkeSocket,
    /// The same socket, as the runtime knows it.
    readiness: UdpSocket,
    marked: bool,
    buffer: Vec<u8>,
}

impl Port {
    pub(crate) fn ike(local: IpAddr) -> io::Result<Self> {
        Self::bind(SocketAddr::new(local, IKE_PORT))
    }

    pub(crate) fn nat(local: IpAddr) -> io::Result<Self> {
        Self::bind(SocketAddr::new(local, NAT_PORT))
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = IkeSocket::bind(address)?;
        let readiness = UdpSocket::from_std(socket.standard()?)?;
        Ok(Self { socket, readiness, marked: address.port() == NAT_PORT, buffer: vec![0; 65_535] })
    }

    /// The next IKE message. Keepalives and ESP are passed over.
    pub(crate) async fn recv(&mut self) -> io::Result<(Path, Vec<u8>)> {
        loop {
            if let (path, Carried::Ike(message)) = self.recv_any().await? {
                return Ok((path, message));
            }
        }
    }

    /// The next datagram.
    pub(crate) async fn recv_any(&mut self) -> io::Result<(Path, Carried)> {
        loop {
            let received = self.readiness.async_io(Interest::READABLE, || self.socket.recv(&mut self.buffer)).await;
            let (len, remote, local) = match received {
                Ok(received) => received,
                // An ICMP error of an earlier send: the retransmission decides.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let bytes = &self.buffer[..len];
            let message = if self.marked { bytes.strip_prefix(&MARKER) } else { Some(bytes) };
            let carried = message.map_or_else(|| Carried::Esp(bytes.to_vec()), |message| Carried::Ike(message.to_vec()));
            return Ok((Path::between(local, remote), carried));
        }
    }

    /// Sends an IKE message; what the network does not take is repaired by retransmission.
    pub(crate) fn send(&self, path: Path, message: &[u8]) {
        let sent = if self.marked {
            self.socket.send(&[&MARKER[..], message].concat(), path.local.ip(), path.remote)
        } else {
            self.socket.send(message, path.local.ip(), path.remote)
        };
        drop(sent);
    }

    /// Sends ESP in UDP.
    pub(crate) fn send_esp(&self, path: Path, packet: &[u8]) {
        drop(self.socket.send(packet, path.local.ip(), path.remote));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_marker_is_added_and_stripped() {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        let mut marked = Port::bind(SocketAddr::new(localhost, 0)).unwrap();
        marked.marked = true;
        let address = marked.socket.local_addr().unwrap();
        let other = std::net::UdpSocket::bind((localhost, 0)).unwrap();
        let path = Path::between(address, other.local_addr().unwrap());
        marked.send(path, b"message");
        let mut buffer = [0; 32];
        let len = other.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"\0\0\0\0message");
        other.send_to(&[0xff], address).unwrap();
        other.send_to(b"ESP packet", address).unwrap();
        assert_eq!(marked.recv_any().await.unwrap(), (path, Carried::Esp(vec![0xff])));
        other.send_to(b"\0\0\0\0answer", address).unwrap();
        assert_eq!(marked.recv().await.unwrap(), (path, b"answer".to_vec()));
    }
}
