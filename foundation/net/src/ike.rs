//! The control-plane socket: UDP 500, one datagram at a time, with the local address of each.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::{iovec, msghdr};

use crate::address::{RawAddress, family};
use crate::cmsg::{self, CONTROL_LEN, ControlBuffer};
use crate::{send, sys};

/// Receive and send buffer: room for a storm of first messages.
const BUFFER_BYTES: usize = 4 << 20;

/// A non-blocking UDP socket, made to sit in an event loop: `recv` and `send` answer `WouldBlock` when the socket is not ready.
#[derive(Debug)]
pub struct IkeSocket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl IkeSocket {
    /// Binds to `address`. An IPv6 socket takes no IPv4 traffic.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_in_place_of(address, &[])
    }

    /// The same beside sockets of this process that hold the port at addresses which [`overlap`](crate::listen::overlap), and are about to be closed. What is
    /// sent to the narrower address comes to its own socket.
    pub fn bind_in_place_of(address: SocketAddr, held: &[&Self]) -> io::Result<Self> {
        let v6 = address.is_ipv6();
        let fd = sys::socket(family(address.ip()), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
        if v6 {
            sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        sys::grow_buffers(&fd, BUFFER_BYTES);
        sys::report_destination(&fd, v6, false)?;
        sys::allow_fragmentation(&fd, v6)?;
        let all = || held.iter().map(|held| &held.fd).chain((!held.is_empty()).then_some(&fd));
        let share =
            |on: bool| all().try_for_each(|socket| sys::set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(on)));
        let bound = share(true).and_then(|()| sys::bind(&fd, address));
        // The port is for nobody else again.
        bound.and(share(false))?;
        let local = sys::local_addr(&fd)?;
        Ok(Self { fd, local })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// A second handle on the same socket, for an event loop that waits for standard sockets: readiness is the same for both.
    pub fn standard(&self) -> io::Result<std::net::UdpSocket> {
        self.fd.try_clone().map(std::net::UdpSocket::from)
    }

    /// Receives one datagram: its length, who sent it, and the address it was sent to. Longer ones are cut to `buffer`.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let mut address = RawAddress::empty();
        let mut control: ControlBuffer = [0; 16];
        let mut vector = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zero is a valid msghdr.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_name = address.as_mut_ptr().cast();
        message.msg_namelen = RawAddress::CAPACITY;
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_LEN as _;
        // SAFETY: message points to locals and to buffer, all writable with the stated lengths.
        let received = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let remote = address.to_socket_addr().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let mut local = self.local;
        if let Some(ip) = cmsg::parse(&message).local {
            local.set_ip(ip);
        }
        Ok((received as usize, remote, local))
    }

    /// Sends one datagram from address `local` (unspecified: routing chooses) to `remote`.
    pub fn send(&self, bytes: &[u8], local: IpAddr, remote: SocketAddr) -> io::Result<()> {
        let source = (!local.is_unspecified()).then_some(local);
        send::send_one(self.fd.as_raw_fd(), source, remote, bytes, None).map_err(io::Error::from_raw_os_error)
    }
}

impl AsFd for IkeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for IkeSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// What comes to this socket within a moment.
    fn heard(socket: &IkeSocket) -> Option<Vec<u8>> {
        let mut buffer = [0; 16];
        socket.recv(&mut buffer).ok().map(|(length, ..)| buffer[..length].to_vec())
    }

    #[test]
    fn a_socket_takes_the_place_of_one_that_overlaps_and_gives_it_back() {
        let wide = IkeSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let narrow = SocketAddr::new("127.0.0.1".parse().unwrap(), wide.local_addr().unwrap().port());
        assert!(IkeSocket::bind(narrow).is_err(), "the port is taken");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let say = |word: &[u8]| assert_eq!(client.send_to(word, narrow).unwrap(), word.len());
        say(b"one");
        let instead = IkeSocket::bind_in_place_of(narrow, &[&wide]).unwrap();
        assert!(IkeSocket::bind(narrow).is_err(), "the port is for nobody else");
        say(b"two");
        assert_eq!((heard(&wide), heard(&instead)), (Some(b"one".to_vec()), Some(b"two".to_vec())));
        drop(instead);
        say(b"three");
        assert_eq!(heard(&wide), Some(b"three".to_vec()));
        let narrow_again = IkeSocket::bind_in_place_of(narrow, &[&wide]).unwrap();
        drop(wide);
        let wide_again = IkeSocket::bind_in_place_of(SocketAddr::new("0.0.0.0".parse().unwrap(), narrow.port()), &[&narrow_again]).unwrap();
        drop(narrow_again);
        say(b"four");
        assert_eq!(heard(&wide_again), Some(b"four".to_vec()));
    }
}
