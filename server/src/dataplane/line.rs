//! The TCP connection below a stream: what waits for its client and how much of that may be, how it ends.
use net::poll::{Epoll, Interest};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// Bytes that may wait for a client at once: a burst.
const OUTBOX: usize = 1 << 20;

/// Bytes that may wait at any rate.
const STANDING: usize = 64 << 10;

/// A backlog older than this, in milliseconds, is no burst: the line or the client is slower than what is sent to it.
const BURST: u64 = 20;

/// What may wait then is what the client takes in this many milliseconds. More would be delay and nothing else: the senders inside slow
/// down when packets are lost, not when they wait.
const DELAY: u64 = 50;

/// Beyond this even packets of control find no room.
const OUTBOX_LIMIT: usize = 2 * OUTBOX;

/// What may wait for a client that is not logged in: a login asks and waits in turn, its longest message is an EAP packet.
const STRANGER: usize = 64 << 10;

/// How long the rest may take once control has closed a connection, milliseconds.
const PATIENCE: u64 = 1000;

/// Buffers that a thread keeps for the next streams.
const SPARE: usize = 64;

/// Buffers of one size for what is about to be sent.
#[derive(Debug)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    size: usize,
}

impl Spare {
    pub(super) fn new(size: usize) -> Self {
        Self { buffers: Vec::new(), size }
    }

    pub(super) fn lend(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| vec![0; self.size])
    }

    pub(super) fn take_back(&mut self, buffer: Vec<u8>) {
        if !buffer.is_empty() && self.buffers.len() < SPARE {
            self.buffers.push(buffer);
        }
    }
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// The client said goodbye.
    Peer,
    /// The client closed the connection, and did not say so before.
    Gone,
    /// Control wanted it.
    Us,
    Fault(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset => Self::Fault("the client reset the connection".into()),
            io::ErrorKind::TimedOut => Self::Fault("the client's machine or network did not answer any more".into()),
            _ => Self::Fault(format!("the connection failed: {error}")),
        }
    }
}

impl End {
    pub(super) fn cause(self) -> String {
        match self {
            Self::Peer => "the client closed the TLS connection".into(),
            Self::Gone => "the client closed the connection without a word".into(),
            Self::Us => "closed by the gateway".into(),
            Self::Fault(cause) => cause,
        }
    }
}

/// Sealed bytes that the socket did not take.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// How much may wait for this client.
#[derive(Debug)]
struct Backlog {
    /// Bytes that the socket has taken in all.
    sent: u64,
    /// Since when something waits (milliseconds), and what was sent by then.
    since: Option<(u64, u64)>,
    limit: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { sent: 0, since: None, limit: OUTBOX }
    }
}

impl Backlog {
    /// Looks whether anything waits, and for how long.
    fn measure(&mut self, now: u64, waits: bool) {
        if !waits {
            self.since = None;
            self.limit = OUTBOX;
            return;
        }
        let (since, sent) = *self.since.get_or_insert((now, self.sent));
        let elapsed = now.saturating_sub(since);
        if elapsed >= BURST {
            let taken = (self.sent - sent) * DELAY / elapsed;
            self.limit = usize::try_from(taken).unwrap_or(OUTBOX).clamp(STANDING, OUTBOX);
        }
        // The rate of the last second, not of all time.
        if elapsed >= 1000 {
            self.since = Some((now - BURST, self.sent - (self.sent - sent) * BURST / elapsed));
        }
    }
}

impl Outbox {
    fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.sent > OUTBOX {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// A connection that is being closed.
#[derive(Debug, Clone, Copy)]
struct Closing {
    deadline: u64,
    /// Our direction is shut.
    shut: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) socket: TcpStream,
    outbox: Outbox,
    backlog: Backlog,
    interest: Interest,
    closing: Option<Closing>,
}

impl Line {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, outbox: Outbox::default(), backlog: Backlog::default(), interest: Interest::READ, closing: None }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether `more` bytes of data may wait.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.outbox.len() + more <= self.backlog.limit
    }

    /// Whether messages of control may wait behind `more` bytes. `is_known`: the client is logged in.
    pub(super) fn has_room_for_control(&self, more: usize, is_known: bool) -> bool {
        self.outbox.len() + more <= if is_known { OUTBOX_LIMIT } else { STRANGER }
    }

    /// Reads once; `None` when there is nothing.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, End> {
        loop {
            return match (&self.socket).read(buffer) {
                Ok(0) => Err(End::Gone),
                Ok(length) => Ok(Some(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Sends bytes behind those that wait.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let sent = if self.outbox.is_empty() { write(&self.socket, bytes)? } else { 0 };
        self.backlog.sent += sent as u64;
        if sent < bytes.len() {
            self.outbox.push(&bytes[sent..]);
        }
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        if !self.outbox.is_empty() {
            let sent = write(&self.socket, &self.outbox.bytes[self.outbox.sent..])?;
            self.backlog.sent += sent as u64;
            self.outbox.advance(sent);
        }
        Ok(())
    }

    /// After each step: measures what waits, and has the kernel tell when it takes more, exactly while there is more. `now`: milliseconds.
    pub(super) fn settle(&mut self, epoll: &Epoll, token: u64, now: u64) -> Result<(), End> {
        self.backlog.measure(now, !self.outbox.is_empty());
        let wanted = if self.outbox.is_empty() { Interest::READ } else { Interest::READ_WRITE };
        if self.interest != wanted {
            epoll.modify(&self.socket, token, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }

    /// Begins the end: what is queued leaves, then our direction is shut, then the client's own end is waited for a moment, so that the kernel
    /// does not answer its last bytes with a reset that destroys ours. `now`: milliseconds.
    pub(super) fn begin_close(&mut self, now: u64) -> Result<(), End> {
        self.closing.get_or_insert(Closing { deadline: now + PATIENCE, shut: false });
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
            match self.read(&mut buffer) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(_) => return Err(End::Us),
            }
        }
        Ok(())
    }
}

/// As much as the socket takes.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<usize, End> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_gives_back_its_memory() {
        let mut outbox = Outbox::default();
        outbox.push(&vec![1; OUTBOX + 10]);
        outbox.advance(OUTBOX + 1);
        assert_eq!(outbox.len(), 9);
        outbox.push(&[2; 5]);
        assert_eq!((outbox.bytes.len(), outbox.sent, &outbox.bytes[9..]), (14, 0, &[2; 5][..]));
        outbox.advance(14);
        assert_eq!((outbox.bytes.capacity(), outbox.is_empty()), (0, true));
    }

    #[test]
    fn a_burst_may_wait_a_standing_queue_may_not() {
        let mut backlog = Backlog::default();
        backlog.measure(1000, true);
        backlog.measure(1000 + BURST - 1, true);
        assert_eq!(backlog.limit, OUTBOX);
        // 2 MB a second: 100 kB in 50 ms.
        for step in 1..200 {
            backlog.sent += 40_000;
            backlog.measure(1000 + step * 20, true);
        }
        assert_eq!(backlog.limit, 100_000);
        // Nothing more is taken: the limit follows within seconds.
        for step in 0..200 {
            backlog.measure(5000 + step * 20, true);
        }
        assert_eq!(backlog.limit, STANDING);
        backlog.measure(9001, false);
        assert_eq!(backlog.limit, OUTBOX);
    }
}
