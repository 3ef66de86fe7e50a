//! The process, and who is on the other end of a local socket.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use libc::ucred;

use crate::sys::check;

/// Forbids core dumps and debugger attachment by other processes of the same user, so that keys stay in memory.
pub fn set_non_dumpable() -> io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// The process at the other end of a Unix socket, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// Asks the kernel who is at the other end of a connected Unix socket.
pub fn peer_credentials(socket: &impl AsFd) -> io::Result<PeerCredentials> {
    let mut found = ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<ucred>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: found has room for the ucred that len announces.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut found).cast(), &raw mut len) })?;
    Ok(PeerCredentials { pid: found.pid, uid: found.uid, gid: found.gid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_our_own_pair_is_this_process() {
        let (one, _two) = UnixStream::pair().unwrap();
        let peer = peer_credentials(&one).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
    }

    #[test]
    fn a_socket_without_peer_process_is_an_error_or_nobody() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = peer_credentials(&socket).map_or(true, |peer| peer.pid == 0 && peer.uid == u32::MAX);
        assert!(nobody, "only Unix sockets have a peer process");
    }
}
