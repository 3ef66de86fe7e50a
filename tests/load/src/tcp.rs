//! IKE and ESP over TCP (RFC 9329): the connection's beginning; the data plane has the rest.

use anyhow::Context as _;
use evergate::dataplane::{ConnectionSpec, DataplaneHandle};
use ike::Path;
use std::io::Write as _;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// For the connection to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that the data plane has.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) path: Path,
    /// The same socket.
    socket: TcpStream,
}

impl Connection {
    pub(crate) fn open(plane: &DataplaneHandle, server: IpAddr, port: u16) -> anyhow::Result<Self> {
        let remote = SocketAddr::new(server, port);
        let mut socket = TcpStream::connect_timeout(&remote, PATIENCE).with_context(|| format!("no connection to tcp {remote}"))?;
        socket.write_all(&ike::tcp::PREFIX)?;
        let (local, again) = (socket.local_addr()?, socket.try_clone()?);
        let path = plane.adopt_connection(ConnectionSpec { socket, local, remote })?;
        Ok(Self { path, socket: again })
    }

    /// Breaks it, as a network would.
    pub(crate) fn cut(&self) -> anyhow::Result<()> {
        Ok(self.socket.shutdown(Shutdown::Both)?)
    }
}
