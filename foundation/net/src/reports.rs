//! What ICMP reports about packets that a UDP socket sent, for sockets that are not connected: a connected one hears of closed ports by itself, but hears
//! nobody else.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};

use libc::{iovec, msghdr};

use crate::sys;

/// From now on a call on this socket fails with what ICMP reported since the last one: `ConnectionRefused` is a closed port. Each report has to be taken out of its
/// queue by [`discard`].
pub fn enable(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    if v6 { sys::enable(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { sys::enable(socket, libc::IPPROTO_IP, libc::IP_RECVERR) }
}

/// Empties the queue of reports.
pub fn discard(socket: &impl AsFd) {
    let mut start = [0u8; 64];
    loop {
        let mut vector = iovec { iov_base: start.as_mut_ptr().cast(), iov_len: start.len() };
        // SAFETY: all zero is a valid msghdr.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        // SAFETY: message points to locals, writable with the stated lengths; there is no room for names and control data, which the kernel then leaves out.
        let taken = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        if taken < 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn an_unconnected_socket_hears_of_a_closed_port_and_of_everybody() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address).unwrap();
            enable(&socket, address.starts_with('[')).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (gone, other) = (UdpSocket::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
            let closed = gone.local_addr().unwrap();
            drop(gone);
            socket.send_to(b"anybody?", closed).unwrap();
            assert_eq!(socket.recv_from(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            discard(&socket);
            other.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
            assert_eq!(socket.recv_from(&mut [0; 16]).unwrap(), (5, other.local_addr().unwrap()));
        }
    }
}
