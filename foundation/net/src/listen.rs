//! Listening TCP sockets.
use crate::address::family;
use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: libc::c_int = 4096;

/// Listens on `address`, without blocking. An IPv6 socket takes no IPv4 connections; an address in TIME-WAIT can be bound.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    bind_in_place_of(address, &[])?.listen()
}

/// An address that is bound and where nobody listens yet. Connections go where they went before, also when it is dropped.
#[derive(Debug)]
pub struct Bound {
    fd: OwnedFd,
    /// The listeners in whose place it will come.
    held: Vec<OwnedFd>,
}

/// Binds `address` for [`Bound::listen`], in place of listeners of this process that hold the port at addresses which [`overlap`], and are about to be
/// closed.
pub fn bind_in_place_of(address: SocketAddr, held: &[BorrowedFd<'_>]) -> io::Result<Bound> {
    let fd = sys::socket(family(address.ip()), libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    sys::enable(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    if address.is_ipv6() {
        sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
    }
    let held = held.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
    let bound = Bound { fd, held };
    bound.sharing(|fd| sys::bind(fd, address))?;
    Ok(bound)
}

impl Bound {
    /// Takes connections from now on, those at `address` that went to the others included.
    pub fn listen(self) -> io::Result<TcpListener> {
        // The kernel looks once more whether the port is free.
        self.sharing(listen)?;
        Ok(TcpListener::from(self.fd))
    }

    /// The port is for this one and the held ones during the call, and for nobody else again after it.
    fn sharing(&self, call: impl FnOnce(&OwnedFd) -> io::Result<()>) -> io::Result<()> {
        let all = || self.held.iter().chain((!self.held.is_empty()).then_some(&self.fd));
        let share =
            |on: bool| all().try_for_each(|socket| sys::set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(on)));
        let called = share(true).and_then(|()| call(&self.fd));
        let alone = share(false);
        called.and(alone)
    }
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
    use std::io::{ErrorKind, Read as _};
    use std::net::TcpStream;
    use std::os::fd::AsFd as _;

    fn in_place_of(address: SocketAddr, held: &TcpListener) -> TcpListener {
        bind_in_place_of(address, &[held.as_fd()]).and_then(Bound::listen).unwrap()
    }

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
        let instead = in_place_of(wide, &held);
        assert!(tcp(narrow).is_err() && tcp(wide).is_err(), "the port is for nobody else");
        drop(held);
        let client = std::net::TcpStream::connect(narrow).unwrap();
        instead.set_nonblocking(false).unwrap();
        assert_eq!(instead.accept().unwrap().1, client.local_addr().unwrap());
        let again = in_place_of(narrow, &instead);
        let client = std::net::TcpStream::connect(narrow).unwrap();
        again.set_nonblocking(false).unwrap();
        assert_eq!(again.accept().unwrap().1, client.local_addr().unwrap(), "the narrower one is the better one");
    }

    #[test]
    fn what_is_bound_takes_nothing_until_it_listens() {
        let wide = tcp("0.0.0.0:0".parse().unwrap()).unwrap();
        wide.set_nonblocking(false).unwrap();
        let narrow = SocketAddr::new("127.0.0.1".parse().unwrap(), wide.local_addr().unwrap().port());
        let bound = bind_in_place_of(narrow, &[wide.as_fd()]).unwrap();
        let mut client = TcpStream::connect(narrow).unwrap();
        assert!(tcp(narrow).is_err() && bind_in_place_of(narrow, &[]).is_err(), "the port is for nobody else");
        drop(bound);
        let (_held, from) = wide.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is still there");
        let taken = in_place_of(narrow, &wide);
        let client = TcpStream::connect(narrow).unwrap();
        taken.set_nonblocking(false).unwrap();
        assert_eq!(taken.accept().unwrap().1, client.local_addr().unwrap());
    }
}
