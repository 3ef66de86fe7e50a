//! Listening TCP sockets.
use crate::address::family;
use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: libc::c_int = 4096;

/// Listens on `address`, without blocking. An IPv6 socket takes no IPv4 connections; an address in TIME-WAIT can be bound.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    tcp_in_place_of(address, &[])
}

/// The same in place of listeners of this process that hold the port at addresses which [`overlap`], and are about to be closed.
pub fn tcp_in_place_of(address: SocketAddr, held: &[BorrowedFd<'_>]) -> io::Result<TcpListener> {
    let fd = sys::socket(family(address.ip()), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    sys::enable(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    if address.is_ipv6() {
        sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
    }
    let all = || held.iter().copied().chain((!held.is_empty()).then(|| fd.as_fd()));
    let share =
        |on: bool| all().try_for_each(|socket| sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(on)));
    let listening = share(true).and_then(|()| sys::bind(&fd, address)).and_then(|()| listen(&fd));
    // The port is for nobody else again.
    let alone = share(false);
    listening.and(alone)?;
    Ok(TcpListener::from(fd))
}

/// Whether only one of two listeners can be bound: they have the port in common, and an address.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (any || one.ip() == other.ip())
}

fn listen(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: `listen` takes a descriptor that `fd` keeps open, and no pointer.
    sys::check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) }).map(drop)
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

    #[test]
    fn a_listener_takes_the_place_of_one_that_overlaps() {
        let held = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let narrow = held.local_addr().unwrap();
        let wide = SocketAddr::new("0.0.0.0".parse().unwrap(), narrow.port());
        assert!(overlap(narrow, wide) && !overlap(narrow, SocketAddr::new("::".parse().unwrap(), narrow.port())));
        assert!(tcp(wide).is_err(), "the port is taken");
        let instead = tcp_in_place_of(wide, &[held.as_fd()]).unwrap();
        assert!(tcp(narrow).is_err() && tcp(wide).is_err(), "the port is for nobody else");
        drop(held);
        let client = std::net::TcpStream::connect(narrow).unwrap();
        instead.set_nonblocking(false).unwrap();
        assert_eq!(instead.accept().unwrap().1, client.local_addr().unwrap());
        let again = tcp_in_place_of(narrow, &[instead.as_fd()]).unwrap();
        let client = std::net::TcpStream::connect(narrow).unwrap();
        again.set_nonblocking(false).unwrap();
        assert_eq!(again.accept().unwrap().1, client.local_addr().unwrap(), "the narrower one is the better one");
    }
}
