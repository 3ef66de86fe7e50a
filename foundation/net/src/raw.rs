//! Raw ESP: IP protocol 50 without UDP, for peers that are not behind a NAT.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::address::family;
use crate::send::{self, Datagram};
use crate::{IoError, RecvBatch, sys};

/// A non-blocking socket for ESP directly over IP. Every such socket sees every ESP packet for its address: with several, give each
/// its share with [`crate::steer::attach_raw_filter`].
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
    v6: bool,
}

impl RawSocket {
    /// Opens a socket for ESP sent to `local`, which may be unspecified. Needs `CAP_NET_RAW`.
    pub fn open_esp(local: IpAddr, buffer_bytes: usize) -> io::Result<Self> {
        let v6 = local.is_ipv6();
        let fd = sys::socket(family(local), libc::SOCK_RAW | libc::SOCK_NONBLOCK, libc::IPPROTO_ESP)?;
        sys::grow_buffers(&fd, buffer_bytes);
        sys::report_destination(&fd, v6, true)?;
        sys::allow_fragmentation(&fd, v6)?;
        sys::bind(&fd, SocketAddr::new(local, 0))?;
        Ok(Self { fd, v6 })
    }

    /// Whether it is an IPv6 socket.
    pub fn is_ipv6(&self) -> bool {
        self.v6
    }

    /// Receives up to [`RecvBatch::capacity`] ESP packets in one system call, without IP header.
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> Result<usize, IoError> {
        batch.receive(self.fd.as_raw_fd(), !self.v6)
    }

    /// Sends ESP packets. Returns how many were taken, at least 1 unless the slice is empty. An error belongs to the first one.
    pub fn send_many(&self, datagrams: &[Datagram<'_>]) -> Result<usize, IoError> {
        // The port field of a raw IPv6 destination names a protocol and must be 0 or 50.
        let mut portless = [Datagram { source: None, dest: SocketAddr::from(([0, 0, 0, 0], 0)), bytes: &[] }; 32];
        let mut sent = 0;
        for chunk in datagrams.chunks(portless.len()) {
            for (slot, datagram) in portless.iter_mut().zip(chunk) {
                *slot = *datagram;
                slot.dest.set_port(0);
            }
            match send::send_many(self.fd.as_raw_fd(), &portless[..chunk.len()]) {
                Ok(count) if count == chunk.len() => sent += count,
                Ok(count) => return Ok(sent + count),
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for RawSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
