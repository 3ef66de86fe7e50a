//! Readiness of descriptors for packet threads: level-triggered epoll, and a waker for other threads.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use libc::{c_int, epoll_event};

use crate::sys;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Nothing but an error, or that the other end is closed.
    pub const NONE: Self = Self(0);
    /// Something to read.
    pub const READ: Self = Self(libc::EPOLLIN as u32);
    /// Room to write.
    pub const WRITE: Self = Self(libc::EPOLLOUT as u32);
    /// Either.
    pub const READ_WRITE: Self = Self((libc::EPOLLIN | libc::EPOLLOUT) as u32);
}

/// A descriptor that is ready. An error or a hang-up counts as both, so that the next read or write reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token given to [`Epoll::add`].
    pub token: u64,
    /// A read will not block.
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
}

/// Room for the events of one [`Epoll::wait`].
pub struct Events {
    buffer: Vec<epoll_event>,
    filled: usize,
}

impl Events {
    /// Room for `capacity` events (at least one) a wait.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: vec![epoll_event { events: 0, u64: 0 }; capacity.max(1)], filled: 0 }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.buffer[..self.filled].iter().map(|raw| {
            let flags = raw.events as c_int;
            let failed = flags & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            Event { token: raw.u64, readable: failed || flags & libc::EPOLLIN != 0, writable: failed || flags & libc::EPOLLOUT != 0 }
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A set of descriptors to wait for. It borrows them: remove a descriptor before closing it, or keep it open as long as this.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes a plain integer.
        sys::own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(|fd| Self { fd })
    }

    /// Adds `fd`; its events carry `token`.
    pub fn add(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes token and interest of `fd`.
    pub fn modify(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Removes `fd`.
    pub fn remove(&self, fd: &impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest(0))
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever), rounded up to milliseconds. Returns the number of
    /// events; 0 after the timeout or when a signal interrupted the wait.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let capacity = c_int::try_from(events.buffer.len()).unwrap_or(c_int::MAX);
        events.filled = 0;
        // SAFETY: the buffer holds at least `capacity` events.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.buffer.as_mut_ptr(), capacity, milliseconds(timeout)) };
        match sys::check(ready) {
            Ok(count) => events.filled = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(events.filled)
    }

    fn control(&self, operation: c_int, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = epoll_event { events: interest.0, u64: token };
        // SAFETY: both descriptors are open and event lives across the call.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_fd().as_raw_fd(), &raw mut event) };
        sys::check(result).map(drop)
    }
}

fn milliseconds(timeout: Option<Duration>) -> c_int {
    let Some(timeout) = timeout else { return -1 };
    c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// Ends the wait of another thread. Clones wake the same thread.
#[derive(Clone, Debug)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    /// A waker that has not been woken. Add it to an [`Epoll`] with [`Interest::READ`].
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes plain integers.
        sys::own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(|fd| Self { fd: Arc::new(fd) })
    }

    /// Makes it readable until the next [`drain`](Self::drain).
    pub fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight bytes are read from `one`. It can fail only when the counter is full, and then it is readable already.
        unsafe { libc::write(self.fd.as_raw_fd(), ptr::from_ref(&one).cast(), size_of::<u64>()) };
    }

    /// Forgets all wake-ups so far. Drain first and look at the work afterwards, so that none is missed.
    pub fn drain(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes are written to `count`. It fails only when there was nothing to forget.
        unsafe { libc::read(self.fd.as_raw_fd(), ptr::from_mut(&mut count).cast(), size_of::<u64>()) };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_wakes_across_threads_until_drained() {
        let (epoll, waker, mut events) = (Epoll::new().unwrap(), Waker::new().unwrap(), Events::with_capacity(4));
        epoll.add(&waker, 7, Interest::READ).unwrap();
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        let other = waker.clone();
        std::thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
        assert_eq!(events.iter().next(), Some(Event { token: 7, readable: true, writable: false }));
        assert_eq!(epoll.wait(&mut events, None).unwrap(), 1, "level-triggered");
        waker.drain();
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        waker.wake();
        epoll.remove(&waker).unwrap();
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    }

    #[test]
    fn a_timeout_is_rounded_up_so_that_it_never_spins() {
        assert_eq!(milliseconds(Some(Duration::from_micros(1))), 1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(None), -1);
    }
}
