//! The control side of TCP connections with IKE and ESP.
use super::super::handle::{DataplaneHandle, Stalled, TCP};
use super::super::tables::Command;
use super::{AdoptedConnection, Path, number, owner};
use ike::ConnectionId;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

/// A TCP connection for the data plane, its stream prefix read or written.
#[derive(Debug)]
pub struct ConnectionSpec {
    pub socket: TcpStream,
    /// As the other side of a PROXY header sees them.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl DataplaneHandle {
    /// Gives a connection to one packet thread for its life, and returns its path, by which IKE and tunnels send there. Its end is told by
    /// [`super::super::StreamEvent::ConnectionClosed`].
    ///
    /// # Errors
    /// When the thread takes no orders: the connection is closed.
    pub fn adopt_connection(&self, spec: ConnectionSpec) -> Result<Path, Stalled> {
        let ConnectionSpec { socket, local, remote } = spec;
        if let Err(error) = net::tcp::prepare(&socket, &TCP) {
            // It may be gone already, which its thread finds out.
            tracing::debug!(%remote, %error, "a connection takes no options");
        }
        let count = self.connections().fetch_add(1, Ordering::Relaxed) + 1;
        // A remainder of the number of threads fits.
        let thread = (count % self.threads() as u64) as usize;
        let path = Path { local, remote, connection: Some(number(count, thread)) };
        self.order(thread, Command::AdoptConnection(Box::new(AdoptedConnection { path, socket })))?;
        Ok(path)
    }

    /// Its client is known: long messages are taken from it from now on.
    pub fn trust_connection(&self, connection: ConnectionId) -> Result<(), Stalled> {
        self.order(owner(connection), Command::TrustConnection(connection))
    }

    /// Sends a message as [`ike::tcp::frame`] made it. Without effect on a connection that is gone.
    pub(crate) fn connection_send(&self, connection: ConnectionId, frame: Vec<u8>) -> Result<(), Stalled> {
        self.order(owner(connection), Command::ConnectionSend { connection, frame })
    }

    /// Closes a connection after what was sent has left, for a second at most.
    pub fn close_connection(&self, connection: ConnectionId) -> Result<(), Stalled> {
        self.order(owner(connection), Command::CloseConnection(connection))
    }
}
