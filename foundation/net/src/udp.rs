//! The data socket: UDP with generic segmentation offload out and generic receive offload in.
//!
//! Fragmentation by the kernel stays allowed, so a datagram above the path MTU leaves in fragments instead of failing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::address::family;
use crate::send::{self, Datagram};
use crate::{IoError, RecvBatch, sys};

/// A receive buffer of this length holds any message, merged or not.
pub const GRO_BUFFER_LEN: usize = 65_536;

/// The kernel cuts one send into at most this many datagrams (the smallest limit among supported kernels).
pub const MAX_SEGMENTS: usize = 64;

/// Payload of the largest IP packet, less the larger (IPv6) header and the UDP header.
const MAX_PAYLOAD: usize = 65_535 - 40 - 8;

/// How a data socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Several sockets may bind the same address and share its traffic (see [`crate::steer`]).
    pub reuse_port: bool,
    /// Let the kernel merge received datagrams of equal size.
    pub gro: bool,
    /// Wanted size of the receive and of the send buffer. The system may grant less to an unprivileged process.
    pub buffer_bytes: usize,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self { reuse_port: true, gro: true, buffer_bytes: 8 << 20 }
    }
}

/// A non-blocking UDP socket that reports the local address of what it receives and chooses that of what it sends.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    gro: bool,
    gso: AtomicBool,
}

impl UdpSocket {
    /// Binds to `address`. An IPv6 socket takes no IPv4 traffic.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let v6 = address.is_ipv6();
        let fd = sys::socket(family(address.ip()), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
        if v6 {
            sys::enable(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        if options.reuse_port {
            sys::enable(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
        }
        sys::grow_buffers(&fd, options.buffer_bytes);
        sys::report_destination(&fd, v6, true)?;
        sys::allow_fragmentation(&fd, v6)?;
        // Kernels before 5.0 have neither; everything works without, only slower.
        let gro = options.gro && sys::enable(&fd, libc::SOL_UDP, libc::UDP_GRO).is_ok();
        let gso = sys::set_option::<libc::c_int>(&fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        sys::bind(&fd, address)?;
        Ok(Self { fd, gro, gso: AtomicBool::new(gso) })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(&self.fd)
    }

    /// Whether received datagrams may arrive merged.
    pub fn gro(&self) -> bool {
        self.gro
    }

    /// Whether segmentation offload is in use. Turns false for good when a device proves unable to do it.
    pub fn gso(&self) -> bool {
        self.gso.load(Ordering::Relaxed)
    }

    /// Receives up to [`RecvBatch::capacity`] messages in one system call.
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> Result<usize, IoError> {
        batch.receive(self.fd.as_raw_fd(), false)
    }

    /// Sends one datagram.
    pub fn send(&self, source: Option<IpAddr>, dest: SocketAddr, bytes: &[u8]) -> Result<(), IoError> {
        send::send_one(self.fd.as_raw_fd(), source, dest, bytes, None).map_err(IoError::from_errno)
    }

    /// Sends `bytes` as datagrams of `segment_size`, the last of which may be shorter, with as few system calls as the kernel allows.
    ///
    /// Where the kernel refuses to segment (device without checksum offload, segment above the device MTU) the same datagrams leave
    /// unsegmented: nothing is lost. Returns the number of bytes taken: fewer than `bytes.len()` only when the socket buffer filled
    /// up, and then a multiple of `segment_size`. An error means that nothing was taken.
    pub fn send_segmented(&self, source: Option<IpAddr>, dest: SocketAddr, bytes: &[u8], segment_size: usize) -> Result<usize, IoError> {
        let size = segment_size.clamp(1, MAX_PAYLOAD);
        let per_send = size * (MAX_PAYLOAD / size).clamp(1, MAX_SEGMENTS);
        let mut taken = 0;
        for train in bytes.chunks(per_send) {
            match self.send_train(source, dest, train, size) {
                Ok(count) => {
                    taken += count;
                    if count < train.len() {
                        break;
                    }
                }
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Sends datagrams of different sizes or destinations. Returns how many were taken, at least 1 unless the slice is empty.
    /// An error belongs to the first datagram of the slice: skip it and go on.
    pub fn send_many(&self, datagrams: &[Datagram<'_>]) -> Result<usize, IoError> {
        send::send_many(self.fd.as_raw_fd(), datagrams)
    }

    /// One train of at most [`MAX_SEGMENTS`] datagrams.
    fn send_train(&self, source: Option<IpAddr>, dest: SocketAddr, train: &[u8], size: usize) -> Result<usize, IoError> {
        if train.len() <= size {
            return self.send(source, dest, train).map(|()| train.len());
        }
        if self.gso() {
            match send::send_one(self.fd.as_raw_fd(), source, dest, train, Some(size as u16)) {
                Ok(()) => return Ok(train.len()),
                Err(libc::EIO) => self.gso.store(false, Ordering::Relaxed),
                Err(libc::EINVAL | libc::EMSGSIZE) => {}
                Err(errno) => return Err(IoError::from_errno(errno)),
            }
        }
        self.send_singly(source, dest, train, size)
    }

    fn send_singly(&self, source: Option<IpAddr>, dest: SocketAddr, train: &[u8], size: usize) -> Result<usize, IoError> {
        let mut datagrams = [Datagram { source, dest, bytes: &[] }; MAX_SEGMENTS];
        let mut count = 0;
        for (slot, bytes) in datagrams.iter_mut().zip(train.chunks(size)) {
            slot.bytes = bytes;
            count += 1;
        }
        let sent = self.send_many(&datagrams[..count])?;
        Ok((sent * size).min(train.len()))
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
