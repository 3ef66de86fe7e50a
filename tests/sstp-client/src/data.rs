//! The data path: packets between a TUN device and a connection, in batches, with one thread and epoll.

use net::poll::{Epoll, Events, Interest, Waker};
use net::tun::TunQueue;
use packet::{Coalescer, IpHeader, SuperPacket, VirtioNetHeader};
use rustls::Connection;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Closed, Error, Result, Stage};

const SOCKET: u64 = 0;
const TUN: u64 = 1;
const WAKER: u64 = 2;
/// Bytes read from the socket at a time.
const RAW: usize = 256 * 1024;
/// Room for what is read at a time, and for an unfinished frame before it.
const PLAIN: usize = RAW + 128 * 1024;
/// Frames collected from the device before they are sent.
const OUT: usize = 256 * 1024;
/// The most that one read of the device can become: 64 KiB in segments of at least 536 bytes, each with headers.
const OUT_SLACK: usize = 96 * 1024;
const MAX_IP: usize = 65_535;
/// No framing puts more before a packet.
const MAX_HEADER: usize = 8;
/// Socket reads before the device gets its turn.
const READS: usize = 4;

/// How frames fill TLS records on the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Fill {
    /// As many frames as are there, up to 16 KiB a record.
    #[default]
    Many,
    /// One frame a record.
    One,
}

/// Where a frame ends, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the whole frame.
    pub len: usize,
    /// What it carries.
    pub body: Body,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// An IP packet from this offset on.
    Packet(usize),
    /// A virtio-net header and a packet or super-packet from this offset on.
    Super(usize),
    /// For [`Framing::control`].
    Control,
}

/// How packets lie in the byte stream.
pub trait Framing {
    /// The frame at the start of `bytes`; `None` while its header is not there.
    fn peek(&self, bytes: &[u8]) -> Result<Option<Piece>>;
    /// Writes the header for an IP packet of `len` bytes to the start of `out`; returns the header's length.
    fn header(&self, ipv6: bool, len: usize, out: &mut [u8]) -> usize;
    /// Whether super-packets travel unsplit.
    fn unsplit(&self) -> bool {
        false
    }
    /// Takes a control frame; what is to be sent goes to `out`.
    fn control(&mut self, frame: &[u8], out: &mut Vec<Vec<u8>>) -> Result<()>;
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Counters {
    /// IP packets from the device to the connection.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// IP packets from the connection to the device.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Writes to the device.
    pub device_writes: u64,
    /// Packets that were malformed or that the device did not take.
    pub dropped: u64,
}

/// Ends [`Engine::run`] from another thread.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// Not stopped.
    pub fn new() -> io::Result<Self> {
        Ok(Self { flag: Arc::default(), waker: Waker::new()? })
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was stopped.
    pub fn stopped(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// One connection and one device.
#[derive(Debug)]
pub struct Engine<'a, F> {
    /// How packets lie in the stream.
    pub framing: F,
    /// What went through.
    pub counters: Counters,
    socket: &'a TcpStream,
    tls: Option<&'a mut Connection>,
    tun: &'a TunQueue,
    fill: Fill,
    epoll: Epoll,
    raw: Vec<u8>,
    plain: Vec<u8>,
    filled: usize,
    read: Vec<u8>,
    out: Vec<u8>,
    used: usize,
    /// Bytes of `out` that plain TCP has taken.
    sent: usize,
    blocked: bool,
}

impl<'a, F: Framing> Engine<'a, F> {
    /// `leftover`: plaintext that came already and is not used yet.
    pub fn new(
        socket: &'a TcpStream,
        tls: Option<&'a mut Connection>,
        tun: &'a TunQueue,
        framing: F,
        fill: Fill,
        leftover: &[u8],
    ) -> Result<Self> {
        let mut plain = vec![0; PLAIN];
        plain[..leftover.len()].copy_from_slice(leftover);
        let epoll = Epoll::new().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        epoll.add(socket, SOCKET, Interest::READ).map_err(failed)?;
        epoll.add(tun, TUN, Interest::READ).map_err(failed)?;
        let mut engine = Self {
            framing,
            counters: Counters::default(),
            socket,
            tls,
            tun,
            fill,
            epoll,
            raw: vec![0; RAW],
            plain,
            filled: leftover.len(),
            read: vec![0; VirtioNetHeader::LEN + MAX_IP],
            out: vec![0; OUT + OUT_SLACK],
            used: 0,
            sent: 0,
            blocked: false,
        };
        if let Some(tls) = &mut engine.tls {
            tls.set_buffer_limit(None);
        }
        Ok(engine)
    }

    /// Moves packets until stopped, until `deadline`, or until the connection ends. The socket is blocking again afterwards.
    pub fn run(&mut self, stop: &Stop, deadline: Option<Instant>) -> Result<()> {
        self.epoll.add(&stop.waker, WAKER, Interest::READ).map_err(failed)?;
        let outcome = self.turns(stop, deadline);
        self.epoll.remove(&stop.waker).map_err(failed)?;
        self.socket.set_nonblocking(false).map_err(failed)?;
        outcome
    }

    fn turns(&mut self, stop: &Stop, deadline: Option<Instant>) -> Result<()> {
        let mut events = Events::with_capacity(4);
        self.deliver()?;
        loop {
            let now = Instant::now();
            if stop.stopped() || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(());
            }
            self.epoll.wait(&mut events, deadline.map(|deadline| deadline - now)).map_err(failed)?;
            for event in events.iter() {
                match event.token {
                    SOCKET => {
                        if event.writable {
                            self.flush()?;
                        }
                        if event.readable {
                            self.receive()?;
                        }
                    }
                    TUN if !self.blocked => self.transmit()?,
                    _ => stop.waker.drain(),
                }
            }
        }
    }

    fn receive(&mut self) -> Result<()> {
        for _ in 0..READS {
            let room = RAW.min(PLAIN - self.filled);
            let read = match self.socket.read(&mut self.raw[..room]) {
                Ok(0) => return Err(Error::Closed { stage: Stage::Up, how: Closed::Fin }),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(Error::Closed { stage: Stage::Up, how: Closed::Reset });
                }
                Err(error) => return Err(failed(error)),
            };
            self.decrypt(read)?;
            self.deliver()?;
            if read < room {
                return Ok(());
            }
        }
        Ok(())
    }

    /// From `raw` to `plain`. Plaintext is never longer than what it was encrypted to, so that it fits.
    fn decrypt(&mut self, read: usize) -> Result<()> {
        let Some(tls) = &mut self.tls else {
            self.plain[self.filled..self.filled + read].copy_from_slice(&self.raw[..read]);
            self.filled += read;
            return Ok(());
        };
        let mut rest = &self.raw[..read];
        while !rest.is_empty() {
            tls.read_tls(&mut rest).map_err(failed)?;
            let state = tls.process_new_packets()?;
            let plaintext = state.plaintext_bytes_to_read();
            if self.filled + plaintext > self.plain.len() {
                self.plain.resize(self.filled + plaintext, 0);
            }
            tls.reader().read_exact(&mut self.plain[self.filled..self.filled + plaintext]).map_err(failed)?;
            self.filled += plaintext;
            if state.peer_has_closed() {
                return Err(Error::Closed { stage: Stage::Up, how: Closed::CloseNotify });
            }
        }
        Ok(())
    }

    /// Whole frames of `plain` go to the device, control frames to the framing; an unfinished frame stays.
    fn deliver(&mut self) -> Result<()> {
        let Self { framing, counters, tun, plain, filled, .. } = self;
        let offload = tun.offload();
        let mut coalescer = Coalescer::new(offload.tso, offload.uso);
        let mut emit = |header: &VirtioNetHeader, parts: &[IoSlice<'_>]| {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            counters.device_writes += 1;
            match tun.write_vectored(&header.encode(), parts) {
                Ok(_) => {
                    counters.packets_in += parts.len() as u64;
                    counters.bytes_in += bytes as u64;
                }
                Err(_) => counters.dropped += parts.len() as u64,
            }
        };
        let mut malformed = 0;
        let mut controls = Vec::new();
        let mut rest = &mut plain[..*filled];
        while let Some(piece) = framing.peek(rest)?.filter(|piece| piece.len <= rest.len()) {
            let (frame, tail) = std::mem::take(&mut rest).split_at_mut(piece.len);
            rest = tail;
            match piece.body {
                Body::Packet(at) => match IpHeader::parse(&frame[at..]) {
                    Ok(ip) => coalescer.push(&mut frame[at..], &ip, &mut emit),
                    Err(_) => malformed += 1,
                },
                Body::Super(at) => match frame[at..].split_first_chunk::<{ VirtioNetHeader::LEN }>() {
                    Some((header, packet)) => emit(&VirtioNetHeader::decode(header), &[IoSlice::new(packet)]),
                    None => malformed += 1,
                },
                Body::Control => controls.push(frame.to_vec()),
            }
        }
        let left = rest.len();
        coalescer.flush(&mut emit);
        counters.dropped += malformed;
        plain.copy_within(*filled - left..*filled, 0);
        *filled = left;
        let mut answers = Vec::new();
        for frame in controls {
            framing.control(&frame, &mut answers)?;
        }
        answers.iter().try_for_each(|answer| self.send_control(answer))
    }

    fn send_control(&mut self, packet: &[u8]) -> Result<()> {
        if self.used + packet.len() > self.out.len() {
            return Err(Error::Setup("the connection is stuck: no room for a control packet".into()));
        }
        self.out[self.used..self.used + packet.len()].copy_from_slice(packet);
        self.used += packet.len();
        self.encrypt(packet.len())?;
        self.flush()
    }

    /// From the device to the connection: what is there now, up to a bound.
    fn transmit(&mut self) -> Result<()> {
        let mut taken = 0;
        while taken < OUT && self.used < OUT {
            let read = match self.tun.read(&mut self.read) {
                Ok(read) => read,
                Err(net::IoError::WouldBlock) => break,
                Err(error) => return Err(failed(error.into())),
            };
            taken += read;
            let before = self.used;
            self.frame(read);
            if self.fill == Fill::One {
                self.encrypt_singly(before)?;
            }
        }
        if self.fill == Fill::Many {
            self.encrypt(self.used - self.sent)?;
        }
        self.flush()
    }

    /// Puts what was read from the device into `out`, as frames.
    fn frame(&mut self, read: usize) {
        let Some((header, packet)) = self.read[..read].split_first_chunk::<{ VirtioNetHeader::LEN }>() else { return };
        let ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        if self.framing.unsplit() {
            let at = self.used + self.framing.header(ipv6, read, &mut self.out[self.used..]);
            self.out[at..at + read].copy_from_slice(&self.read[..read]);
            self.used = at + read;
            self.counters.packets_out += 1;
            self.counters.bytes_out += packet.len() as u64;
            return;
        }
        let Ok(whole) = SuperPacket::parse(&VirtioNetHeader::decode(header), packet) else {
            self.counters.dropped += 1;
            return;
        };
        for index in 0..whole.count() {
            let len = whole.len(index);
            if self.used + MAX_HEADER + len > self.out.len() {
                self.counters.dropped += 1;
                return;
            }
            let at = self.used + self.framing.header(ipv6, len, &mut self.out[self.used..]);
            whole.write(index, &mut self.out[at..at + len]);
            self.used = at + len;
            self.counters.packets_out += 1;
            self.counters.bytes_out += len as u64;
        }
    }

    /// Encrypts each frame from `from` on as a record of its own.
    fn encrypt_singly(&mut self, from: usize) -> Result<()> {
        let (end, mut at) = (self.used, from);
        while at < end {
            let piece = self.framing.peek(&self.out[at..end])?.ok_or_else(|| Error::Setup("a frame of our own is cut off".into()))?;
            if let Some(tls) = &mut self.tls {
                tls.writer().write_all(&self.out[at..at + piece.len]).map_err(failed)?;
            }
            at += piece.len;
        }
        if self.tls.is_some() {
            self.used = from;
        }
        Ok(())
    }

    /// Encrypts the last `len` bytes of `out`.
    fn encrypt(&mut self, len: usize) -> Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let from = self.used - len;
        tls.writer().write_all(&self.out[from..self.used]).map_err(failed)?;
        self.used = from;
        Ok(())
    }

    /// Sends until all is sent or the socket is full; while it is full, the device is not read.
    fn flush(&mut self) -> Result<()> {
        let full = match self.write_some() {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                return Err(Error::Closed { stage: Stage::Up, how: Closed::Reset });
            }
            Err(error) => return Err(failed(error)),
        };
        if full == self.blocked {
            return Ok(());
        }
        self.blocked = full;
        if full {
            self.epoll.remove(self.tun).map_err(failed)?;
            self.epoll.modify(self.socket, SOCKET, Interest::READ_WRITE).map_err(failed)
        } else {
            self.epoll.add(self.tun, TUN, Interest::READ).map_err(failed)?;
            self.epoll.modify(self.socket, SOCKET, Interest::READ).map_err(failed)
        }
    }

    fn write_some(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            return Ok(());
        }
        while self.sent < self.used {
            self.sent += self.socket.write(&self.out[self.sent..self.used])?;
        }
        (self.used, self.sent) = (0, 0);
        Ok(())
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { stage: Stage::Up, source }
}
