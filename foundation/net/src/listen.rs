//! Listening TCP sockets.
use crate::address::family;
use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: libc::c_int = 4096;

/// Listens on `address`, without blocking. An IPv6 socket takes no IPv4 connections; an address in TIME-WAIT can be bound.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let fd = sys::socket(family(address.ip()), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    sys::enable(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    if address.is_ipv6() {
        sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
    }
    sys::bind(&fd, address)?;
    // SAFETY: `listen` takes a descriptor that `fd` keeps open, and no pointer.
    sys::check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_share_a_port() {
        let ipv4 = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = ipv4.local_addr().unwrap().port();
        let ipv6 = tcp(SocketAddr::new("::".parse().unwrap(), port));
        assert!(ipv6.is_ok(), "{ipv6:?}");
        assert!(tcp(ipv4.local_addr().unwrap()).is_err(), "an address is served once");
        let client = std::net::TcpStream::connect(ipv4.local_addr().unwrap()).unwrap();
        assert_eq!(client.peer_addr().unwrap().port(), port);
    }
}
