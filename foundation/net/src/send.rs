//! Sending many datagrams in one system call.

use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use libc::{iovec, mmsghdr, msghdr};

use crate::IoError;
use crate::address::RawAddress;
use crate::cmsg::{self, ControlBuffer};
use crate::error::last_errno;

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Source address; `None` lets routing choose.
    pub source: Option<IpAddr>,
    /// Destination. The port is ignored on raw sockets.
    pub dest: SocketAddr,
    /// The payload.
    pub bytes: &'a [u8],
}

/// Datagrams handed over in one system call; what follows goes in the next.
const BATCH: usize = 32;

/// One `sendmsg`. `segment_size` asks the kernel to cut `bytes` into datagrams of that size. The error is the plain `errno`.
pub(crate) fn send_one(fd: RawFd, source: Option<IpAddr>, dest: SocketAddr, bytes: &[u8], segment_size: Option<u16>) -> Result<(), i32> {
    let mut address = RawAddress::from(dest);
    let mut control: ControlBuffer = [0; 16];
    let control_len = cmsg::write(&mut control, source, segment_size);
    let mut vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = empty_message();
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len();
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    set_control(&mut message, &mut control, control_len);
    // SAFETY: message points to locals that outlive the call and to bytes, which sendmsg only reads.
    let sent = unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(last_errno()) } else { Ok(()) }
}

/// As many of `datagrams` as the kernel takes now. An error belongs to the first datagram; `Ok` is at least 1 unless there was none.
pub(crate) fn send_many(fd: RawFd, datagrams: &[Datagram<'_>]) -> Result<usize, IoError> {
    let mut sent = 0;
    for chunk in datagrams.chunks(BATCH) {
        match send_chunk(fd, chunk) {
            Ok(count) if count == chunk.len() => sent += count,
            Ok(count) => return Ok(sent + count),
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

fn send_chunk(fd: RawFd, datagrams: &[Datagram<'_>]) -> Result<usize, IoError> {
    let mut addresses = [RawAddress::empty(); BATCH];
    let mut controls: [ControlBuffer; BATCH] = [[0; 16]; BATCH];
    let mut vectors = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut headers = [mmsghdr { msg_hdr: empty_message(), msg_len: 0 }; BATCH];
    for (index, datagram) in datagrams.iter().enumerate() {
        addresses[index] = RawAddress::from(datagram.dest);
        vectors[index] = iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
        let control_len = cmsg::write(&mut controls[index], datagram.source, None);
        let message = &mut headers[index].msg_hdr;
        message.msg_name = addresses[index].as_mut_ptr().cast();
        message.msg_namelen = addresses[index].len();
        message.msg_iov = &raw mut vectors[index];
        message.msg_iovlen = 1;
        set_control(message, &mut controls[index], control_len);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first datagrams.len() headers point to locals that outlive the call and to bytes, which sendmmsg only reads.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), datagrams.len() as libc::c_uint, flags as _) };
    if sent < 0 { Err(IoError::last()) } else { Ok(sent as usize) }
}

fn set_control(message: &mut msghdr, control: &mut ControlBuffer, len: usize) {
    if len > 0 {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = len as _;
    }
}

fn empty_message() -> msghdr {
    // SAFETY: all zero is a valid msghdr: no name, no buffers, no control data.
    unsafe { zeroed() }
}
