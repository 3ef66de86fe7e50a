use std::fmt;
use std::io;

/// Outcome of a failed packet operation. Numbers are `errno` values. Small and `Copy`, so that counting it costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// Nothing to read, or no room to write: wait for readiness or drop.
    WouldBlock,
    /// The packet has no way to its destination (no route, host down, source address gone).
    Unreachable(i32),
    /// The kernel refused segmentation offload for this packet: send its segments one by one.
    GsoRefused(i32),
    /// Anything else.
    Other(i32),
}

impl IoError {
    /// Sorts an `errno`. Does not know about offload: that depends on what was asked for.
    pub(crate) fn from_errno(errno: i32) -> Self {
        match errno {
            libc::EAGAIN | libc::EINTR | libc::ENOBUFS => Self::WouldBlock,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ECONNREFUSED
            | libc::EADDRNOTAVAIL
            | libc::EPERM
            | libc::EACCES => Self::Unreachable(errno),
            other => Self::Other(other),
        }
    }

    /// The error of the system call that just failed on this thread.
    pub(crate) fn last() -> Self {
        Self::from_errno(last_errno())
    }

    /// The `errno` value behind this error.
    pub fn errno(self) -> i32 {
        match self {
            Self::WouldBlock => libc::EAGAIN,
            Self::Unreachable(errno) | Self::GsoRefused(errno) | Self::Other(errno) => errno,
        }
    }
}

/// `errno` of the system call that just failed on this thread.
pub(crate) fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::WouldBlock => return f.write_str("not ready"),
            Self::Unreachable(_) => "destination unreachable",
            Self::GsoRefused(_) => "segmentation offload refused",
            Self::Other(_) => "input/output error",
        };
        write!(f, "{what}: {}", io::Error::from_raw_os_error(self.errno()))
    }
}

impl std::error::Error for IoError {}

impl From<IoError> for io::Error {
    fn from(error: IoError) -> Self {
        Self::from_raw_os_error(error.errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_errno_by_consequence() {
        assert_eq!(IoError::from_errno(libc::EAGAIN), IoError::WouldBlock);
        assert_eq!(IoError::from_errno(libc::ENETUNREACH), IoError::Unreachable(libc::ENETUNREACH));
        assert_eq!(IoError::from_errno(libc::EBADF), IoError::Other(libc::EBADF));
    }

    #[test]
    fn converts_to_the_matching_io_error() {
        assert_eq!(io::Error::from(IoError::WouldBlock).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(io::Error::from(IoError::GsoRefused(libc::EIO)).raw_os_error(), Some(libc::EIO));
    }
}
