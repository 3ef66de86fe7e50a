//! Sockets as a [`Wire`]: ports 500 and 4500, the latter with the non-ESP marker and with ESP in UDP (RFC 3948), and ESP over IP.
use anyhow::Context as _;
use ike::Path;
use ike::wire::{Exchange, Header};
use ikev2_client::Wire;
use net::RecvBatch;
use net::raw::RawSocket;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const MARKER: [u8; 4] = [0; 4];
/// Between two looks at the sockets.
const NAP: Duration = Duration::from_micros(300);
/// First payload of a message in fragments.
const SKF: u8 = 53;

/// What becomes of datagrams on their way out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// How often each is sent again at once.
    pub(crate) copies: usize,
    /// The last goes first.
    pub(crate) reversed: bool,
    /// Before each goes one with a changed bit.
    pub(crate) forged: bool,
}

/// The sockets of one device.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    bound: HashMap<SocketAddr, UdpSocket>,
    raw: Option<(RawSocket, RecvBatch)>,
    pub(crate) faults: Faults,
    /// How long an answer is awaited before each retransmission, and after the last.
    pub(crate) patience: Vec<Duration>,
    pub(crate) retransmissions: usize,
    /// Longest datagram of the last answer, and how many there were: of the request and of the answer.
    pub(crate) answered: Answered,
    /// Requests of the gateway, with the address that they came to.
    unasked: Vec<(SocketAddr, Vec<u8>)>,
    answers: Vec<Vec<u8>>,
    pub(crate) esp: VecDeque<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered {
    pub(crate) sent: usize,
    pub(crate) sent_longest: usize,
    pub(crate) received: usize,
    pub(crate) received_longest: usize,
}

impl Sockets {
    /// Opens what `local` needs; addresses that are bound already stay.
    pub(crate) fn bind(&mut self, local: IpAddr) -> anyhow::Result<()> {
        for port in [500, 4500] {
            let address = SocketAddr::new(local, port);
            if let Entry::Vacant(entry) = self.bound.entry(address) {
                let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind udp {address}"))?;
                socket.set_nonblocking(true)?;
                entry.insert(socket);
            }
        }
        self.raw = Some((RawSocket::open_esp(local, 1 << 20).context("no raw socket for ESP")?, RecvBatch::new(32, 2048)));
        Ok(())
    }

    fn send(&self, path: Path, message: &[u8]) {
        let Some(socket) = self.bound.get(&path.local) else { return };
        // What the network does not take is repaired by retransmission.
        drop(if path.local.port() == 4500 {
            socket.send_to(&[&MARKER[..], message].concat(), path.remote)
        } else {
            socket.send_to(message, path.remote)
        });
    }

    /// Sends an ESP packet, in UDP or over IP.
    pub(crate) fn send_esp(&mut self, path: Path, encapsulate: bool, packet: &[u8]) -> anyhow::Result<()> {
        if encapsulate {
            let socket = self.bound.get(&SocketAddr::new(path.local.ip(), 4500)).context("port 4500 is not bound")?;
            socket.send_to(packet, path.remote)?;
        } else if let Some((raw, _)) = &self.raw {
            raw.send_many(&[net::Datagram { source: Some(path.local.ip()), dest: path.remote, bytes: packet }])?;
        }
        Ok(())
    }

    /// Takes what has come; whether there was anything.
    fn poll(&mut self) -> bool {
        let mut buffer = [0; 65_535];
        let mut some = false;
        for (local, socket) in &self.bound {
            while let Ok((len, _)) = socket.recv_from(&mut buffer) {
                some = true;
                let message = match buffer[..len].strip_prefix(&MARKER) {
                    Some(message) if local.port() == 4500 => message,
                    None if local.port() == 4500 => {
                        self.esp.push_back(buffer[..len].to_vec());
                        continue;
                    }
                    _ => &buffer[..len],
                };
                match Header::parse(message) {
                    Ok(header) if header.flags.response => self.answers.push(message.to_vec()),
                    _ => self.unasked.push((*local, message.to_vec())),
                }
            }
        }
        if let Some((raw, batch)) = &mut self.raw {
            while raw.recv_batch(batch).is_ok_and(|count| count > 0) {
                some = true;
                self.esp.extend(batch.messages().map(|message| message.bytes.to_vec()));
            }
        }
        some
    }

    /// Looks at the sockets until `limit` or until `done` has what it wants.
    pub(crate) fn wait<T>(&mut self, limit: Instant, mut done: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        loop {
            let some = self.poll();
            if let Some(found) = done(self) {
                return Some(found);
            }
            if Instant::now() >= limit {
                return None;
            }
            if !some {
                std::thread::sleep(NAP);
            }
        }
    }

    fn transmit(&self, path: Path, datagrams: &[Vec<u8>]) {
        let mut order: Vec<_> = datagrams.iter().collect();
        if self.faults.reversed {
            order.reverse();
        }
        for _ in 0..=self.faults.copies {
            for datagram in &order {
                let of_a_stranger = datagram[18] == Exchange::IkeSaInit.id();
                if self.faults.forged && !of_a_stranger {
                    let mut forged = datagram.to_vec();
                    let last = forged.len() - 1;
                    forged[last] ^= 1;
                    self.send(path, &forged);
                }
                self.send(path, datagram);
            }
        }
    }

    /// The whole answer to the request with this header, once it is there.
    fn answer(&mut self, request: &Header) -> Option<Vec<Vec<u8>>> {
        let first_contact = request.responder_spi.0 == 0;
        let answers = |message: &[u8]| {
            Header::parse(message).is_ok_and(|header| {
                let same = header.initiator_spi == request.initiator_spi && header.message_id == request.message_id;
                same && (first_contact || header.responder_spi == request.responder_spi)
            })
        };
        let found: Vec<_> = self.answers.iter().filter(|message| answers(message)).cloned().collect();
        let total = match found.first()? {
            message if message[16] == SKF && message.len() > 36 => usize::from(u16::from_be_bytes([message[34], message[35]])),
            _ => 1,
        };
        let distinct: BTreeSet<&[u8]> = found.iter().map(|message| &message[..message.len().min(36)]).collect();
        if distinct.len() < total {
            return None;
        }
        self.answers.retain(|message| !answers(message));
        Some(found)
    }
}

impl Wire for Sockets {
    fn round(&mut self, path: Path, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let longest = |all: &[Vec<u8>]| all.iter().map(Vec::len).max().unwrap_or(0);
        let header = datagrams.first().and_then(|first| Header::parse(first).ok());
        let Some(request) = header.filter(|header| !header.flags.response) else {
            self.transmit(path, &datagrams);
            return Vec::new();
        };
        for (again, wait) in self.patience.clone().into_iter().enumerate() {
            self.retransmissions += usize::from(again > 0);
            self.transmit(path, &datagrams);
            if let Some(found) = self.wait(Instant::now() + wait, |sockets| sockets.answer(&request)) {
                let (sent, sent_longest) = (datagrams.len(), longest(&datagrams));
                self.answered = Answered { sent, sent_longest, received: found.len(), received_longest: longest(&found) };
                return found;
            }
        }
        Vec::new()
    }

    fn heard(&mut self, path: Path, mark: &mut usize) -> Vec<Vec<u8>> {
        self.poll();
        let new = &self.unasked[(*mark).min(self.unasked.len())..];
        let heard = new.iter().filter(|(local, _)| *local == path.local).map(|(_, message)| message.clone()).collect();
        *mark = self.unasked.len();
        heard
    }
}
