//! TCP connections that carry IKE messages and ESP packets (RFC 9329), each owned by one packet thread for its life. The last byte of its number
//! names the owner.
//!
//! A connection belongs to no session: ESP finds its tunnel by SPI whatever way it came, IKE messages go to control. Outwards the packets of a
//! session are sealed straight into the buffer of the connection that its path names, many for one write.
mod connection;
mod connections;
mod handle;

pub(super) use connections::{Connections, TOKEN};
pub use handle::ConnectionSpec;

use super::Path;
use ike::ConnectionId;
use std::net::TcpStream;

/// A connection on its way to its thread.
#[derive(Debug)]
pub(crate) struct AdoptedConnection {
    /// With its number.
    pub(crate) path: Path,
    pub(crate) socket: TcpStream,
}

/// The thread that reads and writes a connection.
pub(super) fn owner(connection: ConnectionId) -> usize {
    usize::from(connection.0.to_be_bytes()[7])
}

/// The number of the `count`th connection, owned by `thread`.
fn number(count: u64, thread: usize) -> ConnectionId {
    ConnectionId(count << 8 | thread as u64 & 0xff)
}

/// A connection of this number was made after that one.
pub(super) fn is_newer(connection: ConnectionId, than: ConnectionId) -> bool {
    connection.0 >> 8 > than.0 >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_its_owner_and_its_age() {
        let (first, second) = (number(1, 255), number(2, 3));
        assert_eq!((owner(first), owner(second)), (255, 3));
        assert!(is_newer(second, first) && !is_newer(first, second) && !is_newer(first, first));
    }
}
