//! One connection: from the socket to messages, from packets to the socket.
use super::super::Path;
use super::super::inbound::Sink;
use super::super::line::{End, Line, Spare};
use super::super::stats::count;
use super::super::stream::{Bucket, CONTROL_BURST};
use super::super::thread::{Coalescing, Context};
use ike::tcp::{self, Content, MAX_MESSAGE};

/// Bytes taken from a socket at once.
const READ: usize = 128 << 10;

/// Reads from one socket before the others get their turn.
const ROUNDS: usize = 2;

/// Bytes that are sent at once.
const WRITE: usize = 64 << 10;

/// Room for what is sent at once, and for the message that goes beyond it.
pub(super) const OUT: usize = WRITE + tcp::LENGTH + MAX_MESSAGE;

/// Room for what is read at once, and the beginning of a message before it.
pub(super) const IN: usize = READ + tcp::LENGTH + MAX_MESSAGE;

/// Longest message of a client that is not logged in: certificates in IKE_AUTH.
const STRANGERS_MESSAGE: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) path: Path,
    pub(super) line: Line,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    /// Messages that are not sent yet; without a buffer while there are none.
    out: Vec<u8>,
    filled: usize,
    bucket: Bucket,
    pub(super) is_known: bool,
    /// In the list of those with messages to send.
    pub(super) touched: bool,
}

impl Connection {
    pub(super) fn new(path: Path, line: Line) -> Self {
        let (rest, out) = (Vec::new(), Vec::new());
        Self { path, line, rest, out, filled: 0, bucket: Bucket::default(), is_known: false, touched: false }
    }

    /// Takes what the client sent.
    pub(super) fn receive(&mut self, context: Context<'_>, coalescing: &mut Coalescing, scratch: &mut [u8]) -> Result<(), End> {
        for _ in 0..ROUNDS {
            let held = self.rest.len();
            scratch[..held].copy_from_slice(&self.rest);
            let Some(length) = self.line.read(&mut scratch[held..held + READ])? else { return Ok(()) };
            self.rest = Vec::new();
            let whole = &mut scratch[..held + length];
            let taken = self.cut(context, coalescing, whole)?;
            self.rest = whole[taken..].to_vec();
            if length < READ {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sorts the whole messages at the beginning of `stream`, and returns how many bytes they had.
    fn cut(&mut self, context: Context<'_>, coalescing: &mut Coalescing, stream: &mut [u8]) -> Result<usize, End> {
        let length = stream.len();
        let longest = if self.is_known { MAX_MESSAGE } else { STRANGERS_MESSAGE };
        let mut rest = stream;
        let mut sink = Sink::new(context, coalescing);
        sink.turn_to(Some(self.path));
        let outcome = loop {
            let found = match tcp::next(rest, longest) {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(error) => {
                    count(&context.shared.drops.tcp_garbage);
                    break Err(End::Fault(format!("the client sent {error}")));
                }
            };
            let (message, behind) = std::mem::take(&mut rest).split_at_mut(found.end);
            rest = behind;
            let message = &mut message[found.start..];
            match found.content {
                // The TCP header's congestion marks say nothing of one packet (RFC 9329 section 9.5).
                Content::Esp => sink.packet(message, 0),
                Content::Keepalive => {}
                Content::Ike => {
                    if let Err(end) = self.bucket.report(context, self.path, message) {
                        break Err(end);
                    }
                }
            }
        };
        sink.finish();
        outcome.map(|()| length - rest.len())
    }

    /// The place for a message of `length` bytes, behind its length; `None`: the client does not read, or no message is so long.
    pub(super) fn place(&mut self, spare: &mut Spare, length: usize) -> Result<Option<&mut [u8]>, End> {
        let whole = tcp::LENGTH + length;
        if length > MAX_MESSAGE || !self.line.has_room(self.filled + whole) {
            return Ok(None);
        }
        let place = self.append(spare, whole)?;
        place[..tcp::LENGTH].copy_from_slice(&tcp::length(length));
        Ok(Some(&mut place[tcp::LENGTH..]))
    }

    /// Appends a message of control, its length before it.
    pub(super) fn control(&mut self, spare: &mut Spare, frame: &[u8]) -> Result<(), End> {
        if !self.line.has_room_for_control(self.filled, self.is_known) {
            return Err(End::Fault("the client reads nothing of what it is sent".into()));
        }
        self.append(spare, frame.len())?.copy_from_slice(frame);
        Ok(())
    }

    fn append(&mut self, spare: &mut Spare, length: usize) -> Result<&mut [u8], End> {
        if self.filled >= WRITE {
            self.write()?;
        }
        if self.out.is_empty() {
            self.out = spare.lend();
        }
        let start = self.filled;
        self.filled += length;
        Ok(&mut self.out[start..start + length])
    }

    fn write(&mut self) -> Result<(), End> {
        let filled = std::mem::take(&mut self.filled);
        self.line.send(&self.out[..filled])
    }

    /// Sends all messages.
    pub(super) fn depart(&mut self, spare: &mut Spare) -> Result<(), End> {
        if self.filled > 0 {
            self.write()?;
        }
        spare.take_back(std::mem::take(&mut self.out));
        Ok(())
    }
}

impl Bucket {
    /// Hands an IKE message to control. A peer repeats nothing on a connection, so that a message is never dropped alone.
    fn report(&mut self, context: Context<'_>, path: Path, message: &[u8]) -> Result<(), End> {
        if !self.takes(context.now.millis()) {
            return Err(End::Fault(format!("the client sent more than {CONTROL_BURST} IKE messages in a second")));
        }
        if !context.shared.sink.offer(path, message) {
            count(&context.shared.drops.ike_queue_full);
            return Err(End::Fault("the gateway is too busy for IKE messages".into()));
        }
        Ok(())
    }
}
