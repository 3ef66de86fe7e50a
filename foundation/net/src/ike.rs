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
        let v6 = address.is_ipv6();
        let fd = sys::socket(family(address.ip()), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
        if v6 {
            sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        sys::grow_buffers(&fd, BUFFER_BYTES);
        sys::report_destination(&fd, v6, false)?;
        sys::allow_fragmentation(&fd, v6)?;
        sys::bind(&fd, address)?;
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
