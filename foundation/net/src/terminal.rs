//! A terminal that does not show what is typed.
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd as _;

/// Turns a terminal's echo off until it is dropped.
#[derive(Debug)]
pub struct WithoutEcho<T: AsFd> {
    terminal: T,
    before: libc::termios,
}

impl<T: AsFd> WithoutEcho<T> {
    /// # Errors
    /// `terminal` is no terminal.
    pub fn new(terminal: T) -> io::Result<Self> {
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the descriptor is open while `terminal` lives, and the kernel fills the whole structure when it returns 0.
        let before = unsafe {
            if libc::tcgetattr(terminal.as_fd().as_raw_fd(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            before.assume_init()
        };
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // The line end alone is shown, so that the next line does not begin beside the prompt.
        silent.c_lflag |= libc::ECHONL;
        let guard = Self { terminal, before };
        guard.set(&silent)?;
        Ok(guard)
    }

    fn set(&self, settings: &libc::termios) -> io::Result<()> {
        // SAFETY: the descriptor is open while `self.terminal` lives; the kernel only reads `settings`.
        match unsafe { libc::tcsetattr(self.terminal.as_fd().as_raw_fd(), libc::TCSAFLUSH, settings) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl<T: AsFd> Drop for WithoutEcho<T> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        self.set(&self.before).ok();
    }
}
