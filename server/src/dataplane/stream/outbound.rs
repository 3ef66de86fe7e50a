//! From frames to records to the socket.
use super::FRAME_HEADER;
use super::streams::{End, Stream};
use sstp::frame;
use std::io::{ErrorKind, Write as _};
use tls::{Connection, MAX_PLAINTEXT};

/// Frames that are sealed at once: four full records.
const SEAL: usize = 4 * MAX_PLAINTEXT;

/// Room for frames: what is sealed at once, and the packet that goes beyond it.
const FRAMES: usize = SEAL + sstp::MAX_PACKET;

/// Sealed bytes that may wait for a client that does not read. At 100 Mbit/s it is 20 ms; a slower line should rather lose packets, so
/// that the senders inside slow down, than collect delay.
pub(super) const OUTBOX: usize = 256 << 10;

/// Beyond this even packets of control find no room.
const OUTBOX_LIMIT: usize = 2 * OUTBOX;

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
        if self.outbox.len() + self.frames.filled + length > OUTBOX {
            return Ok(false);
        }
        let place = self.place(workspace, length)?;
        frame::write_data_header(place, length - sstp::HEADER_LEN);
        let ppp = if is_v4 { ppp::frame::IPV4_HEADER } else { ppp::frame::IPV6_HEADER };
        place[sstp::HEADER_LEN..FRAME_HEADER].copy_from_slice(&ppp);
        write(&mut place[FRAME_HEADER..]);
        Ok(true)
    }

    /// Appends a whole SSTP packet of control.
    pub(super) fn packet(&mut self, workspace: &mut Workspace, packet: &[u8]) -> Result<(), End> {
        if self.outbox.len() + self.frames.filled > OUTBOX_LIMIT {
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
        let sent = if self.outbox.is_empty() { self.write(bytes)? } else { 0 };
        if sent < bytes.len() {
            self.outbox.push(&bytes[sent..]);
        }
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        if !self.outbox.is_empty() {
            let sent = self.write(&self.outbox.bytes[self.outbox.sent..])?;
            self.outbox.advance(sent);
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, End> {
        let mut sent = 0;
        while sent < bytes.len() {
            match (&self.socket).write(&bytes[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(End::io(&error)),
            }
        }
        Ok(sent)
    }
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
}
