//! The end of a stream that control closed: what is queued leaves, then close_notify, then the client's own end is waited for a moment, so
//! that the kernel does not answer its last bytes with a reset that destroys ours.
use super::streams::{End, Stream};
use std::io::{ErrorKind, Read as _};
use std::net::Shutdown;

/// How long the rest may take, milliseconds.
const PATIENCE: u64 = 1000;

/// A stream that is being closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    deadline: u64,
    /// Our direction is shut.
    shut: bool,
}

impl Stream {
    /// Begins the end. `now`: milliseconds.
    pub(super) fn begin_close(&mut self, now: u64) -> Result<(), End> {
        if self.closing.is_some() {
            return Ok(());
        }
        self.closing = Some(Closing { deadline: now + PATIENCE, shut: false });
        let mut farewell = Vec::new();
        self.tls.close(&mut farewell);
        self.send(&farewell)?;
        self.go_on_closing(now)
    }

    /// Goes on as far as it goes; an error is the end.
    pub(super) fn go_on_closing(&mut self, now: u64) -> Result<(), End> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        if now >= closing.deadline {
            return Err(End::Us);
        }
        if self.outbox.is_empty() && !closing.shut {
            closing.shut = true;
            self.socket.shutdown(Shutdown::Write).map_err(|_| End::Us)?;
        }
        Ok(())
    }

    /// Reads and forgets, until the client is at its end.
    pub(super) fn forget_input(&mut self) -> Result<(), End> {
        let mut buffer = [0; 16 << 10];
        for _ in 0..8 {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return Err(End::Us),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Us),
            }
        }
        Ok(())
    }
}
