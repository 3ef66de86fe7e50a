//! From frames to records to the socket.
use super::FRAME_HEADER;
use super::streams::{End, Stream};
use sstp::frame;
use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use tls::{Connection, MAX_PLAINTEXT};

/// Frames that are sealed at once: four full records.
const SEAL: usize = 4 * MAX_PLAINTEXT;

/// Room for frames: what is sealed at once, and the packet that goes beyond it.
const FRAMES: usize = SEAL + sstp::MAX_PACKET;

/// Bytes that may wait for a client at once: a burst.
pub(super) const OUTBOX: usize = 1 << 20;

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

/// Buffers that a thread keeps for the next streams.
const SPARE: usize = 64;

/// Buffers of the thread.
#[derive(Debug)]
pub(super) struct Workspace {
    spare: Vec<Vec<u8>>,
    sealed: Vec<u8>,
}

impl Workspace {
    pub(super) fn new() -> Self {
        Self { spare: Vec::new(), sealed: vec![0; Connection::sealed_len(FRAMES)] }
    }

    fn lend(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| vec![0; FRAMES])
    }

    fn take_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }
}

/// Frames that are not sealed yet; without a buffer while there are none.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    filled: usize,
}

/// Sealed bytes that the socket did not take.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// How much may wait for this client.
#[derive(Debug)]
pub(super) struct Backlog {
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
    pub(super) fn measure(&mut self, now: u64, waits: bool) {
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
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
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

impl Stream {
    /// Appends a data packet with an IP packet of `inner` bytes that `write` puts in its place. False: the client does not read.
    pub(super) fn frame(
        &mut self,
        workspace: &mut Workspace,
        is_v4: bool,
        inner: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<bool, End> {
        let length = FRAME_HEADER + inner;
        if self.outbox.len() + self.frames.filled + length > self.backlog.limit {
            return Ok(false);
        }
        let place = self.place(workspace, length)?;
        frame::write_data_header(place, length - sstp::HEADER_LEN);
        let ppp = if is_v4 { ppp::frame::IPV4_HEADER } else { ppp::frame::IPV6_HEADER };
        place[sstp::HEADER_LEN..FRAME_HEADER].copy_from_slice(&ppp);
        write(&mut place[FRAME_HEADER..]);
        Ok(true)
    }

    /// Appends a whole SSTP packet of control. `is_open`: the client is logged in.
    pub(super) fn packet(&mut self, workspace: &mut Workspace, packet: &[u8], is_open: bool) -> Result<(), End> {
        let limit = if is_open { OUTBOX_LIMIT } else { STRANGER };
        if self.outbox.len() + self.frames.filled > limit {
            return Err(End::Fault("the client reads nothing of what it is sent".into()));
        }
        for part in packet.chunks(sstp::MAX_PACKET) {
            self.place(workspace, part.len())?.copy_from_slice(part);
        }
        Ok(())
    }

    /// The next `length` bytes of the frames, at most one packet.
    fn place(&mut self, workspace: &mut Workspace, length: usize) -> Result<&mut [u8], End> {
        if self.frames.filled >= SEAL {
            self.seal(workspace, SEAL)?;
        } else if self.one_packet_a_record && self.frames.filled > 0 {
            self.seal(workspace, self.frames.filled)?;
        }
        let Frames { buffer, filled } = &mut self.frames;
        if buffer.is_empty() {
            *buffer = workspace.lend();
        }
        let start = *filled;
        *filled += length;
        Ok(&mut buffer[start..start + length])
    }

    /// Seals and sends all frames.
    pub(super) fn depart(&mut self, workspace: &mut Workspace) -> Result<(), End> {
        if self.frames.filled > 0 {
            self.seal(workspace, self.frames.filled)?;
        }
        let frames = std::mem::take(&mut self.frames);
        if !frames.buffer.is_empty() {
            workspace.take_back(frames.buffer);
        }
        Ok(())
    }

    /// Seals the first `length` bytes of the frames and sends what the socket takes.
    fn seal(&mut self, workspace: &mut Workspace, length: usize) -> Result<(), End> {
        let Frames { buffer, filled } = &mut self.frames;
        let sealed = self.tls.seal(&buffer[..length], &mut workspace.sealed).map_err(|error| End::Fault(error.to_string()))?;
        buffer.copy_within(length..*filled, 0);
        *filled -= length;
        self.send(&workspace.sealed[..sealed])
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
}

/// As much as the socket takes.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<usize, End> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(End::io(&error)),
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
