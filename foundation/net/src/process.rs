//! The process, and who is on the other end of a local socket.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use libc::ucred;

use crate::sys::check;

/// Forbids core dumps and debugger attachment by other processes of the same user, so that keys stay in memory.
pub fn set_non_dumpable() -> io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Lets this process open as many files and sockets as the administrator allows at most: the limit that is in force by default, often
/// 1024, is for programs that use `select`. Returns the limit from now on.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is written by the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: limit is read by the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// The time since the host's start, which no clock setting changes, as service managers compare it.
pub fn monotonic_time() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is written by the call.
    check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
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
    fn files_may_be_opened_up_to_the_hard_limit() {
        let mut low = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the calls write and read this one struct.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut low), 0);
            low.rlim_cur = low.rlim_max - 1;
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low), 0);
        }
        assert_eq!(raise_open_files().unwrap(), low.rlim_max);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut low) }, 0);
        assert_eq!(low.rlim_cur, low.rlim_max);
    }

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
