//! From the TUN device to the sockets.
use super::guard::Candidate;
use super::handover::{Batch, Handover};
use super::ports::Share;
use super::serves;
use super::stats::{Amount, count, count_many};
use super::stream::{StreamEvent, Streams};
use super::tables::{Carrier, Destination, Peer};
use super::thread::Context;
use super::tunnel::Tunnel;
use ike::ConnectionId;
use net::poll::{Epoll, Events, Interest};
use net::{Datagram, IoError};
use packet::{IpHeader, Ipv4Fragments, SuperPacket, VirtioNetHeader, icmp, mss, protocol};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Super-packets taken from the TUN queue before the sockets get their turn.
const READS: usize = 64;

const MAX_IP: usize = 65_535;

/// Sealed bytes sent at once at most: what one segmented send carries.
const TRAIN: usize = 65_487;

/// Packets in a train (UDP_MAX_SEGMENTS of older kernels).
const TRAIN_PACKETS: usize = 64;

/// Room for a train; a longer packet leaves alone.
const BUFFER: usize = 2 * MAX_IP;

/// How long, and how often, a full socket is waited for before the rest of a train is dropped.
const PATIENCE: Duration = Duration::from_millis(5);
const TRIES: usize = 4;

/// "Too big" messages a second; what is more than that is an attack or a loop.
const TOO_BIG_PER_SECOND: u32 = 1000;

/// Buffers and state of the outbound direction, allocated once.
pub(super) struct Outbound {
    read: Vec<u8>,
    sealer: Sealing,
    handover: Handover,
}

/// Where packets are split, sealed and sent.
struct Sealing {
    sealed: Vec<u8>,
    train: Train,
    /// A whole packet, where it cannot be written straight to its place.
    scratch: Vec<u8>,
    total: Amount,
    limiter: Limiter,
    writable: Epoll,
    events: Events,
}

/// Sealed packets of one length (the last may be shorter) for one peer, back to back in the buffer.
#[derive(Debug, Default)]
struct Train {
    to: Option<Destination>,
    /// Length of every packet but the last.
    segment: usize,
    bytes: usize,
    packets: usize,
    /// A shorter packet ended it.
    closed: bool,
}

impl Outbound {
    pub(super) fn new(handover: Handover) -> io::Result<Self> {
        let sealer = Sealing {
            sealed: vec![0; BUFFER],
            train: Train::default(),
            scratch: vec![0; MAX_IP],
            total: Amount::default(),
            limiter: Limiter::default(),
            writable: Epoll::new()?,
            events: Events::with_capacity(1),
        };
        Ok(Self { read: vec![0; VirtioNetHeader::LEN + MAX_IP], sealer, handover })
    }

    /// Moves what the TUN queue holds.
    pub(super) fn run(&mut self, context: Context<'_>, streams: &mut Streams) {
        for _ in 0..READS {
            let Ok(length) = context.ports.tun.read(&mut self.read) else { break };
            let Self { read, sealer, handover } = self;
            let packet = &read[..length];
            if let Some(owner) = sealer.packet(context, streams, packet) {
                count_many(&context.shared.drops.stream_handover_full, handover.add(owner, packet));
            }
        }
        count_many(&context.shared.drops.stream_handover_full, self.handover.flush());
        self.finish(context, streams);
    }

    /// Moves what another thread read for the streams of this one; [`Self::finish`] sends it.
    pub(super) fn run_batch(&mut self, context: Context<'_>, streams: &mut Streams, batch: &Batch) {
        for packet in batch.packets() {
            if self.sealer.packet(context, streams, packet).is_some() {
                // The stream has another owner by now; what comes later goes there.
                count(&context.shared.drops.stream_not_open);
            }
        }
    }

    /// Sends an IP packet of the gateway's own to the client of a session: selectors are for what it forwards.
    pub(super) fn send_own(&mut self, context: Context<'_>, streams: &mut Streams, session: u64, packet: &[u8]) {
        let Ok(packet) = SuperPacket::parse(&VirtioNetHeader::default(), packet) else {
            return count(&context.shared.drops.inner_malformed);
        };
        let Some(carrier) = context.tables.carrier(session) else { return count(&context.shared.drops.no_tunnel) };
        self.sealer.fit(context, streams, carrier, &packet);
        self.finish(context, streams);
    }

    /// Sends what has been collected.
    pub(super) fn finish(&mut self, context: Context<'_>, streams: &mut Streams) {
        self.sealer.depart(context);
        streams.depart(context);
        let total = std::mem::take(&mut self.sealer.total);
        if total.packets > 0 {
            context.shared.totals.count_out(total, context.now);
        }
    }
}

impl Sealing {
    /// Takes what a TUN queue delivered; the number of the thread that must have it, if it is another.
    fn packet(&mut self, context: Context<'_>, streams: &mut Streams, bytes: &[u8]) -> Option<usize> {
        let drops = &context.shared.drops;
        let packet = bytes.split_first_chunk().and_then(|(header, bytes)| SuperPacket::parse(&VirtioNetHeader::decode(header), bytes).ok());
        let Some(packet) = packet else {
            count(&drops.inner_malformed);
            return None;
        };
        let Some(carrier) = context.tables.sender(packet.ip().source, packet.ip().destination, context.now) else {
            self.unserved(context, &packet);
            return None;
        };
        if let Some(owner) = carrier.owner().filter(|owner| *owner != context.number) {
            return Some(owner);
        }
        let gate = carrier.gate();
        if !gate.allows_outbound(packet.bytes(), packet.ip()) {
            count(&drops.outside_selectors);
            return None;
        }
        if let Some(guard) = carrier.guard()
            && !guard.admits(&Candidate::split(&packet), &gate.inner, context.now, drops)
        {
            return None;
        }
        self.fit(context, streams, carrier, &packet);
        None
    }

    /// There is no tunnel for a packet: a client whose Child SA has gone gets a new one, for the packets to come.
    fn unserved(&self, context: Context<'_>, packet: &SuperPacket<'_>) {
        let drops = &context.shared.drops;
        let Some(resting) = context.tables.resting(packet.ip().destination) else { return count(&drops.no_tunnel) };
        if !resting.gate.allows_outbound(packet.bytes(), packet.ip()) {
            return count(&drops.outside_selectors);
        }
        if let Some(guard) = context.tables.guard(resting.session)
            && !guard.permits(&Candidate::split(packet), &resting.gate.inner, drops)
        {
            return;
        }
        count(&drops.no_child_sa);
        resting.demand.seen(context.now, || context.shared.events.offer(StreamEvent::Wanted { session: resting.session }));
    }

    fn fit(&mut self, context: Context<'_>, streams: &mut Streams, carrier: Carrier<'_>, packet: &SuperPacket<'_>) {
        if packet.max_len() > carrier.mtu() {
            return self.oversized(context, streams, carrier, packet);
        }
        self.carry_all(context, streams, carrier, packet);
    }

    fn carry_all(&mut self, context: Context<'_>, streams: &mut Streams, carrier: Carrier<'_>, packet: &SuperPacket<'_>) {
        let ip = packet.ip();
        let max_segment = mss::for_mtu(carrier.mtu(), ip.is_v4());
        let write = |index: usize, out: &mut [u8]| {
            packet.write(index, out);
            mss::clamp(out, &IpHeader { length: out.len(), ..*ip }, max_segment);
        };
        self.carry(context, streams, carrier, ip.is_v4(), packet.count(), |index| packet.len(index), write);
    }

    /// Sends `packets` packets of a carrier, each written by `write` straight to the place where it is sealed.
    #[expect(clippy::too_many_arguments, reason = "where to, and the packets as three values instead of copies")]
    fn carry(
        &mut self,
        context: Context<'_>,
        streams: &mut Streams,
        carrier: Carrier<'_>,
        is_v4: bool,
        packets: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) {
        match carrier {
            Carrier::Esp(peer) => match peer.to.path.connection {
                Some(connection) => self.seal_in_tcp(context, streams, connection, peer, is_v4, packets, length, write),
                None => self.seal(context, peer, is_v4, packets, length, write),
            },
            Carrier::Stream(opened) => {
                let amount = streams.send(context, &opened.route, is_v4, packets, length, write);
                self.total.packets += amount.packets;
                self.total.octets += amount.octets;
            }
        }
    }

    /// Seals `count` packets, each written by `write` straight to the place where it is sealed.
    fn seal(
        &mut self,
        context: Context<'_>,
        peer: &Peer,
        is_v4: bool,
        packets: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) {
        let Some(first) = reserve(context, peer, packets) else { return };
        let sa = &peer.outbound.outbound;
        let overhead = sa.overhead();
        let next_header = if is_v4 { protocol::IPV4 } else { protocol::IPV6 };
        let mut amount = Amount::default();
        for index in 0..packets {
            let inner = length(index);
            let sealed = overhead.sealed_len(inner);
            if !self.train.takes(peer.to, sealed) {
                self.depart(context);
            }
            let place = &mut self.sealed[self.train.bytes..][..sealed];
            write(index, &mut place[overhead.header_len()..][..inner]);
            sa.seal(first + index as u64, place, inner, next_header);
            self.train.append(peer.to, sealed);
            amount.add(1, inner);
        }
        peer.outbound.traffic.count_out(amount, context.now);
        self.total.packets += amount.packets;
        self.total.octets += amount.octets;
    }

    /// The same into the stream of a TCP connection.
    #[expect(clippy::too_many_arguments, reason = "where to, and the packets as three values instead of copies")]
    fn seal_in_tcp(
        &mut self,
        context: Context<'_>,
        streams: &mut Streams,
        connection: ConnectionId,
        peer: &Peer,
        is_v4: bool,
        packets: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) {
        let Some(first) = reserve(context, peer, packets) else { return };
        let amount = streams.connections.send(context, connection, peer, first, is_v4, packets, length, write);
        if amount.packets > 0 {
            peer.outbound.traffic.count_out(amount, context.now);
        }
        self.total.packets += amount.packets;
        self.total.octets += amount.octets;
    }

    /// A packet that does not fit the tunnel: smaller TCP segments or fragments where the sender allows them, else word to the sender.
    fn oversized(&mut self, context: Context<'_>, streams: &mut Streams, carrier: Carrier<'_>, packet: &SuperPacket<'_>) {
        let mtu = carrier.mtu();
        if packet.ip().dont_fragment {
            return self.tell_too_big(context, mtu, packet);
        }
        if let Some(smaller) = packet.resized(mtu) {
            return self.carry_all(context, streams, carrier, &smaller);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        for index in 0..packet.count() {
            let whole = &mut scratch[..packet.len(index)];
            packet.write(index, whole);
            let ip = IpHeader { length: whole.len(), ..*packet.ip() };
            match Ipv4Fragments::new(whole, &ip, mtu) {
                Some(pieces) => {
                    let write = |piece: usize, out: &mut [u8]| pieces.write(piece, out);
                    self.carry(context, streams, carrier, true, pieces.count(), |piece| pieces.len(piece), write);
                }
                None => count(&context.shared.drops.too_big),
            }
        }
        self.scratch = scratch;
    }

    fn tell_too_big(&mut self, context: Context<'_>, mtu: usize, packet: &SuperPacket<'_>) {
        let drops = &context.shared.drops;
        count(&drops.too_big);
        if !self.limiter.allows(context.now.seconds()) {
            return;
        }
        let first = &mut self.scratch[..packet.len(0)];
        packet.write(0, first);
        let ip = IpHeader { length: first.len(), ..*packet.ip() };
        let mut message = [0; icmp::MAX_LEN];
        let Some(length) = icmp::too_big(first, &ip, mtu, &mut message) else { return };
        if context.ports.tun.write(&VirtioNetHeader::PLAIN, &message[..length]).is_err() {
            count(&drops.tun_write_failed);
        }
    }

    /// Sends the train.
    fn depart(&mut self, context: Context<'_>) {
        let train = std::mem::take(&mut self.train);
        let Some(to) = train.to else { return };
        let bytes = &self.sealed[..train.bytes];
        let Share { udp, raw } = &context.ports.outer;
        let local = to.path.local.ip();
        let mut wait = Wait { epoll: &self.writable, events: &mut self.events };
        let sent = if to.encapsulate {
            let theirs = || udp.iter().filter(|port| serves(port.address.ip(), local));
            // A peer may be on the IKE port still, which control has.
            let same = theirs().find(|port| port.address.port() == to.path.local.port());
            let Some(port) = same.or_else(|| theirs().next()) else {
                return count(&context.shared.drops.no_socket);
            };
            let send = |rest: &[u8]| port.socket.send_segmented(Some(local), to.path.remote, rest, train.segment);
            wait.send_all(&*port.socket, bytes, send)
        } else {
            let Some(port) = raw.iter().find(|port| serves(port.address, local)) else {
                return count(&context.shared.drops.no_socket);
            };
            wait.send_all(&port.socket, bytes, |rest| {
                let mut datagrams = [Datagram { source: Some(local), dest: to.path.remote, bytes: &[] }; TRAIN_PACKETS];
                let chunks = rest.chunks(train.segment);
                let count = chunks.len();
                datagrams.iter_mut().zip(chunks).for_each(|(datagram, bytes)| datagram.bytes = bytes);
                port.socket.send_many(&datagrams[..count]).map(|sent| (sent * train.segment).min(rest.len()))
            })
        };
        if !sent {
            count(&context.shared.drops.send_failed);
        }
    }
}

/// The first of so many sequence numbers.
fn reserve(context: Context<'_>, peer: &Peer, packets: usize) -> Option<u64> {
    // A super-packet has fewer segments than bytes.
    let Ok(first) = peer.outbound.outbound.reserve(packets as u32) else {
        count(&context.shared.drops.sequence_exhausted);
        return None;
    };
    let Tunnel { wear, session, spi_in, .. } = &*peer.outbound;
    wear.reached(first, || context.shared.events.offer(StreamEvent::Worn { session: *session, spi_in: *spi_in }));
    Some(first)
}

/// Waiting for a socket whose buffer is full. The TUN queue fills up meanwhile, which slows local senders down: better than loss.
struct Wait<'a> {
    epoll: &'a Epoll,
    events: &'a mut Events,
}

impl Wait<'_> {
    /// False when some of the bytes could not be sent.
    fn send_all(&mut self, socket: &impl AsFd, bytes: &[u8], send: impl Fn(&[u8]) -> Result<usize, IoError>) -> bool {
        let mut rest = bytes;
        for _ in 0..TRIES {
            match send(rest) {
                Ok(sent) if sent >= rest.len() => return true,
                Ok(sent) => rest = &rest[sent..],
                Err(IoError::WouldBlock) => {}
                Err(_) => return false,
            }
            if !self.until_writable(socket) {
                return false;
            }
        }
        false
    }

    fn until_writable(&mut self, socket: &impl AsFd) -> bool {
        let waited = self.epoll.add(socket, 0, Interest::WRITE).and_then(|()| self.epoll.wait(self.events, Some(PATIENCE)));
        let removed = self.epoll.remove(socket);
        waited.is_ok() && removed.is_ok()
    }
}

/// So many events a second.
#[derive(Debug, Default)]
struct Limiter {
    second: u64,
    spent: u32,
}

impl Limiter {
    fn allows(&mut self, second: u64) -> bool {
        if self.second != second {
            *self = Self { second, spent: 0 };
        }
        self.spent += 1;
        self.spent <= TOO_BIG_PER_SECOND
    }
}

impl Train {
    fn takes(&self, to: Destination, length: usize) -> bool {
        let fits = || !self.closed && length <= self.segment && self.packets < TRAIN_PACKETS && self.bytes + length <= TRAIN;
        self.to.is_none_or(|own| own == to && fits())
    }

    fn append(&mut self, to: Destination, length: usize) {
        if self.to.is_none() {
            self.to = Some(to);
            self.segment = length;
        }
        self.closed = length < self.segment;
        self.bytes += length;
        self.packets += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_has_one_length_and_one_destination() {
        let to = |port: u16| Destination {
            path: super::super::Path::between(([192, 0, 2, 1], 4500).into(), ([192, 0, 2, 2], port).into()),
            encapsulate: true,
        };
        let mut train = Train::default();
        assert!(train.takes(to(1), 70_000), "whatever the first is, it is taken");
        train.append(to(1), 1400);
        assert!(train.takes(to(1), 1400) && train.takes(to(1), 100));
        assert!(!train.takes(to(1), 1401) && !train.takes(to(2), 1400));
        train.append(to(1), 100);
        assert!(!train.takes(to(1), 100), "a shorter packet is the last");
        let mut full = Train::default();
        (0..TRAIN_PACKETS).for_each(|_| full.append(to(1), 10));
        assert!(!full.takes(to(1), 10));
    }

    #[test]
    fn the_limiter_starts_anew_each_second() {
        let mut limiter = Limiter::default();
        assert_eq!((0..2 * TOO_BIG_PER_SECOND).filter(|_| limiter.allows(7)).count(), TOO_BIG_PER_SECOND as usize);
        assert!(limiter.allows(8));
    }
}
