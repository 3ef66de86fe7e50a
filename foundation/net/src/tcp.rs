//! TCP connections that carry tunnels.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use libc::{c_int, c_uint};

use crate::sys;

/// How a connection finds out that its peer is gone, and how much it takes beyond what the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Silence after which the kernel asks the peer whether it is there; whole seconds.
    pub keepalive_idle: Duration,
    /// Between two such questions; whole seconds.
    pub keepalive_interval: Duration,
    /// How long sent bytes may stay unacknowledged, and how long a peer may not answer keepalives; milliseconds.
    pub user_timeout: Duration,
    /// Bytes that may wait in the kernel without having been sent once. Less of it means less delay before what is written next.
    pub unsent: usize,
}

/// Prepares a connected socket: options, TCP_NODELAY, non-blocking.
pub fn prepare(socket: &std::net::TcpStream, options: &TcpOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    apply(socket, options)
}

fn apply(socket: &impl AsFd, options: &TcpOptions) -> io::Result<()> {
    sys::enable(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE)?;
    let tcp = |name, value: c_int| sys::set_option(socket, libc::IPPROTO_TCP, name, value);
    tcp(libc::TCP_KEEPIDLE, seconds(options.keepalive_idle))?;
    tcp(libc::TCP_KEEPINTVL, seconds(options.keepalive_interval))?;
    let timeout = c_uint::try_from(options.user_timeout.as_millis()).unwrap_or(c_uint::MAX);
    sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, timeout)?;
    let unsent = c_uint::try_from(options.unsent).unwrap_or(c_uint::MAX);
    sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, unsent)
}

/// At least one: the kernel refuses zero.
fn seconds(duration: Duration) -> c_int {
    c_int::try_from(duration.as_secs().max(1)).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn option(socket: &impl AsRawFd, level: c_int, name: c_int) -> c_int {
        let mut value: c_int = 0;
        let mut length = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: value has the length stated.
        let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn the_kernel_takes_every_option() {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        let options = TcpOptions {
            keepalive_idle: Duration::from_secs(30),
            keepalive_interval: Duration::ZERO,
            user_timeout: Duration::from_secs(90),
            unsent: 100_000,
        };
        apply(&socket, &options).unwrap();
        assert_eq!(option(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        let tcp = [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_USER_TIMEOUT, libc::TCP_NOTSENT_LOWAT];
        assert_eq!(tcp.map(|name| option(&socket, libc::IPPROTO_TCP, name)), [30, 1, 90_000, 100_000]);
    }
}
