//! From frames to records to the socket.
use super::super::line::{End, Spare};
use super::FRAME_HEADER;
use super::streams::Stream;
use sstp::frame;
use tls::{Connection, MAX_PLAINTEXT};

/// Frames that are sealed at once: four full records.
const SEAL: usize = 4 * MAX_PLAINTEXT;

/// Room for frames: what is sealed at once, and the packet that goes beyond it.
const FRAMES: usize = SEAL + sstp::MAX_PACKET;

/// Buffers of the thread.
#[derive(Debug)]
pub(super) struct Workspace {
    spare: Spare,
    sealed: Vec<u8>,
}

impl Workspace {
    pub(super) fn new() -> Self {
        Self { spare: Spare::new(FRAMES), sealed: vec![0; Connection::sealed_len(FRAMES)] }
    }
}

/// Frames that are not sealed yet; without a buffer while there are none.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    filled: usize,
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
        if !self.line.has_room(self.frames.filled + length) {
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
        if !self.line.has_room_for_control(self.frames.filled, is_open) {
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
            *buffer = workspace.spare.lend();
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
        workspace.spare.take_back(std::mem::take(&mut self.frames).buffer);
        Ok(())
    }

    /// Seals the first `length` bytes of the frames and sends what the socket takes.
    fn seal(&mut self, workspace: &mut Workspace, length: usize) -> Result<(), End> {
        let Frames { buffer, filled } = &mut self.frames;
        let sealed = self.tls.seal(&buffer[..length], &mut workspace.sealed).map_err(|error| End::Fault(error.to_string()))?;
        buffer.copy_within(length..*filled, 0);
        *filled -= length;
        self.line.send(&workspace.sealed[..sealed])
    }
}
