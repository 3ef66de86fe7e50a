//! Thin, checked calls shared by the modules: every function returns an owned descriptor or a plain result.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libc::c_int;

use crate::address::RawAddress;

/// Turns the "-1 and errno" convention into a result.
pub(crate) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes ownership of a descriptor a system call has just returned, or reports why it returned none.
pub(crate) fn own(result: c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: fd is open, was returned by the kernel in this call, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a close-on-exec socket; `kind` may carry `SOCK_NONBLOCK`.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket takes plain integers.
    own(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

/// Sets a socket option whose value is a plain C structure or integer.
pub(crate) fn set_option<T: Copy>(fd: &impl AsFd, level: c_int, name: c_int, value: T) -> io::Result<()> {
    // SAFETY: value lives across the call and its exact size is given.
    let result =
        unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), size_of::<T>() as libc::socklen_t) };
    check(result).map(drop)
}

/// Switches an integer socket option on.
pub(crate) fn enable(fd: &impl AsFd, level: c_int, name: c_int) -> io::Result<()> {
    set_option::<c_int>(fd, level, name, 1)
}

/// Binds to `address`.
pub(crate) fn bind(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let raw = RawAddress::from(address);
    // SAFETY: raw points to an initialised socket address of the stated length.
    check(unsafe { libc::bind(fd.as_raw_fd(), raw.as_ptr(), raw.len()) }).map(drop)
}

/// The address a socket is bound to.
pub(crate) fn local_addr(fd: &OwnedFd) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let mut len = RawAddress::CAPACITY;
    // SAFETY: raw has room for CAPACITY bytes, which len states.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), raw.as_mut_ptr(), &raw mut len) })?;
    raw.to_socket_addr().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// Asks for large socket buffers: beyond the system limit when privileged, up to it otherwise. Never fails: a smaller buffer still works.
pub(crate) fn grow_buffers(fd: &OwnedFd, bytes: usize) {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(fd, libc::SOL_SOCKET, force, bytes).is_err() {
            // The kernel clamps this to net.core.{r,w}mem_max and does not fail.
            let _ = set_option(fd, libc::SOL_SOCKET, plain, bytes);
        }
    }
}

/// Asks the kernel to report the local address (and, for data sockets, the traffic class) of each packet.
pub(crate) fn report_destination(fd: &OwnedFd, v6: bool, traffic_class: bool) -> io::Result<()> {
    if v6 {
        enable(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        if traffic_class {
            enable(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)?;
        }
    } else {
        enable(fd, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
        if traffic_class {
            enable(fd, libc::IPPROTO_IP, libc::IP_RECVTOS)?;
        }
    }
    Ok(())
}

/// Lets the kernel fragment datagrams above the path MTU (IPv4: DF stays clear; IPv6 fragments at the source by default).
pub(crate) fn allow_fragmentation(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    if v6 {
        return Ok(());
    }
    set_option::<c_int>(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
}

/// An interface request for `name`, which must be shorter than `IFNAMSIZ`; anything beyond is cut off.
pub(crate) fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request
}

/// The name in an interface request that the kernel has filled in.
pub(crate) fn interface_name(request: &libc::ifreq) -> String {
    request.ifr_name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte as u8)).collect()
}
