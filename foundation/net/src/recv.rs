//! Receiving many datagrams in one system call, into buffers allocated once.

use std::fmt;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use libc::{iovec, mmsghdr};

use crate::IoError;
use crate::address::RawAddress;
use crate::cmsg::{self, CONTROL_LEN, ControlBuffer};

/// One received message, still in its receive buffer so that it can be opened in place.
#[derive(Debug)]
pub struct Received<'a> {
    /// The payload: one datagram, or several of equal size merged by the kernel.
    pub bytes: &'a mut [u8],
    /// `bytes.chunks_mut(segment_size)` are the datagrams. Equals `bytes.len()` for a single one; 0 only when `bytes` is empty.
    pub segment_size: usize,
    /// Who sent it. The port is 0 on raw sockets.
    pub source: SocketAddr,
    /// The destination address in the packet: ours.
    pub local: Option<IpAddr>,
    /// TOS or traffic class of the outer header; ECN is the low two bits.
    pub traffic_class: u8,
    /// The message was longer than the buffer and lost its end.
    pub truncated: bool,
}

/// Buffers for one [`recv_batch`](crate::udp::UdpSocket::recv_batch) call: one per thread, allocated once.
pub struct RecvBatch {
    storage: Box<[u8]>,
    buffer_len: usize,
    addresses: Box<[RawAddress]>,
    controls: Box<[ControlBuffer]>,
    /// Kept only because `headers` points into it.
    _vectors: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    filled: usize,
    /// Raw IPv4 sockets deliver the IP header too: bytes to skip are read from it.
    strip_ipv4_header: bool,
}

// SAFETY: the raw pointers inside `headers` and `_vectors` point only into the boxed slices of the same value, whose heap
// blocks do not move with it; nothing is shared between threads.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// Room for `messages` messages of `buffer_len` bytes each (both at least 1). With GRO a message may hold 65,535 bytes.
    pub fn new(messages: usize, buffer_len: usize) -> Self {
        let (messages, buffer_len) = (messages.max(1), buffer_len.max(1));
        let mut storage = vec![0_u8; messages * buffer_len].into_boxed_slice();
        let mut addresses = vec![RawAddress::empty(); messages].into_boxed_slice();
        let mut controls: Box<[ControlBuffer]> = vec![[0; 16]; messages].into_boxed_slice();
        let mut vectors: Box<[iovec]> =
            storage.chunks_exact_mut(buffer_len).map(|chunk| iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: buffer_len }).collect();
        let headers = (0..messages)
            .map(|index| {
                // SAFETY: all zero is a valid mmsghdr.
                let mut header: mmsghdr = unsafe { zeroed() };
                header.msg_hdr.msg_name = addresses[index].as_mut_ptr().cast();
                header.msg_hdr.msg_iov = &raw mut vectors[index];
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls[index].as_mut_ptr().cast();
                header
            })
            .collect();
        Self { storage, buffer_len, addresses, controls, _vectors: vectors, headers, filled: 0, strip_ipv4_header: false }
    }

    /// How many messages one receive call can deliver.
    pub fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// How many messages the last receive call delivered.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last receive call delivered nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The message at `index` of the last receive call.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn message(&mut self, index: usize) -> Received<'_> {
        assert!(index < self.filled, "message {index} of {}", self.filled);
        let start = index * self.buffer_len;
        let buffer = &mut self.storage[start..start + self.buffer_len];
        describe(&self.headers[index], &self.addresses[index], buffer, self.strip_ipv4_header)
    }

    /// The messages of the last receive call, in order of arrival.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages {
            headers: self.headers[..self.filled].iter(),
            addresses: self.addresses.iter(),
            buffers: self.storage.chunks_exact_mut(self.buffer_len),
            strip_ipv4_header: self.strip_ipv4_header,
        }
    }

    /// Fills the batch from `fd` with one `recvmmsg`, without waiting.
    pub(crate) fn receive(&mut self, fd: RawFd, strip_ipv4_header: bool) -> Result<usize, IoError> {
        self.rearm();
        self.strip_ipv4_header = strip_ipv4_header;
        let count = self.headers.len() as libc::c_uint;
        // SAFETY: every header points to an address, a buffer and a control block of the stated lengths, all owned by self.
        let received = unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, ptr::null_mut()) };
        if received < 0 {
            return Err(IoError::last());
        }
        self.filled = received as usize;
        Ok(self.filled)
    }

    /// Gives the kernel back the fields it overwrote in the last call.
    fn rearm(&mut self) {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = RawAddress::CAPACITY;
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
            header.msg_hdr.msg_flags = 0;
        }
        self.filled = 0;
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch")
            .field("capacity", &self.capacity())
            .field("buffer_len", &self.buffer_len)
            .field("len", &self.filled)
            .field("control_bytes", &(self.controls.len() * CONTROL_LEN))
            .finish_non_exhaustive()
    }
}

/// Iterator over the messages of a [`RecvBatch`].
pub struct Messages<'a> {
    headers: std::slice::Iter<'a, mmsghdr>,
    addresses: std::slice::Iter<'a, RawAddress>,
    buffers: std::slice::ChunksExactMut<'a, u8>,
    strip_ipv4_header: bool,
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("left", &self.headers.len()).finish_non_exhaustive()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.headers.next()?;
        Some(describe(header, self.addresses.next()?, self.buffers.next()?, self.strip_ipv4_header))
    }
}

fn describe<'a>(header: &mmsghdr, address: &RawAddress, buffer: &'a mut [u8], strip_ipv4_header: bool) -> Received<'a> {
    let len = (header.msg_len as usize).min(buffer.len());
    let start = if strip_ipv4_header { ipv4_header_len(&buffer[..len]) } else { 0 };
    let bytes = &mut buffer[start..len];
    let ancillary = cmsg::parse(&header.msg_hdr);
    let segment_size = ancillary.segment_size.unwrap_or(bytes.len()).min(bytes.len());
    Received {
        segment_size,
        bytes,
        // The kernel always names the sender on these sockets; an unspecified address would match no peer.
        source: address.to_socket_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
        local: ancillary.local,
        traffic_class: ancillary.traffic_class,
        truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
    }
}

/// Length of the IPv4 header in front, or everything when there is none (which leaves an empty payload).
fn ipv4_header_len(packet: &[u8]) -> usize {
    match packet.first() {
        Some(first) if first >> 4 == 4 => (usize::from(first & 0x0f) * 4).min(packet.len()),
        _ => packet.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_header_length_is_bounded() {
        assert_eq!(ipv4_header_len(&[0x45; 40]), 20);
        assert_eq!(ipv4_header_len(&[0x4f; 40]), 40);
        assert_eq!(ipv4_header_len(&[0x65; 40]), 40);
        assert_eq!(ipv4_header_len(&[]), 0);
    }

    #[test]
    fn a_fresh_batch_is_empty() {
        let mut batch = RecvBatch::new(0, 0);
        assert_eq!((batch.capacity(), batch.len(), batch.is_empty()), (1, 0, true));
        assert!(batch.messages().next().is_none());
    }
}
