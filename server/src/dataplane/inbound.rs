//! From the sockets to the TUN device.
use super::divert::{self, Verdict};
use super::gate::Gate;
use super::guard::{Candidate, Guard};
use super::ports::{RawPort, UdpPort};
use super::stats::{Amount, Drops, count};
use super::stream::StreamEvent;
use super::tables::Peer;
use super::tcp;
use super::thread::{Coalescing, Context};
use super::tunnel::Tunnel;
use super::{NON_ESP_MARKER, Path};
use esp::{OpenError, Receiver};
use net::tun::TunQueue;
use net::{IoError, Received, RecvBatch};
use packet::virtio::GSO_UDP_L4;
use packet::{Coalescer, IpHeader, SuperPacket, VirtioNetHeader, ecn, mss};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

/// A keepalive of the peer's NAT (RFC 3948 section 2.3).
const NAT_KEEPALIVE: [u8; 1] = [0xff];

/// Batches taken from one socket before the others get their turn.
const ROUNDS: usize = 4;

pub(super) fn from_udp(context: Context<'_>, coalescing: &mut Coalescing, batch: &mut RecvBatch, port: &UdpPort) {
    let path = |local: Option<IpAddr>, remote| Some(Path::between(SocketAddr::new(local?, port.address.port()), remote));
    for _ in 0..ROUNDS {
        let Ok(messages) = port.socket.recv_batch(batch) else { return };
        let mut received = 0;
        let mut sink = Sink::new(context, coalescing);
        for Received { bytes, segment_size, source, local, traffic_class, .. } in batch.messages() {
            let path = path(local, source);
            sink.turn_to(path);
            for datagram in bytes.chunks_mut(segment_size.max(1)) {
                received += 1;
                match datagram.split_at_checked(NON_ESP_MARKER.len()) {
                    _ if *datagram == NAT_KEEPALIVE => {}
                    Some((marker, message)) if marker == NON_ESP_MARKER => {
                        let Some(path) = path else { continue };
                        if !context.shared.sink.offer(path, message) {
                            count(&context.shared.drops.ike_queue_full);
                        }
                    }
                    _ => sink.packet(datagram, traffic_class),
                }
            }
        }
        sink.finish();
        port.received.fetch_add(received, Ordering::Relaxed);
        if messages < batch.capacity() {
            return;
        }
    }
}

pub(super) fn from_raw(context: Context<'_>, coalescing: &mut Coalescing, batch: &mut RecvBatch, port: &RawPort) {
    for _ in 0..ROUNDS {
        let Ok(messages) = port.socket.recv_batch(batch) else { return };
        let mut sink = Sink::new(context, coalescing);
        batch.messages().for_each(|message| sink.packet(message.bytes, message.traffic_class));
        sink.finish();
        if messages < batch.capacity() {
            return;
        }
    }
}

/// Opens ESP packets.
pub(super) struct Sink<'t, 'p> {
    context: Context<'t>,
    tail: Tail<'t, 'p>,
    /// Of the datagram at hand; `None` for plain ESP.
    path: Option<Path>,
    /// The tunnel of the last packet: packets come in runs.
    run: Option<Run<'t>>,
}

/// Packets of one tunnel that came on one path.
struct Run<'t> {
    tunnel: &'t Tunnel,
    peer: &'t Peer,
    /// The tunnel's replay window, locked.
    receiver: Receiver<'t>,
    /// The highest sequence number before it.
    before: u64,
    amount: Amount,
}

impl<'t, 'p> Sink<'t, 'p> {
    pub(super) fn new(context: Context<'t>, coalescing: &'t mut Coalescing) -> Self {
        Self { context, tail: Tail::new(context, coalescing), path: None, run: None }
    }

    /// The next packets came on this path.
    pub(super) fn turn_to(&mut self, path: Option<Path>) {
        if self.path != path {
            self.end_run();
            self.path = path;
        }
    }

    pub(super) fn packet(&mut self, bytes: &'p mut [u8], traffic_class: u8) {
        let drops = self.tail.drops();
        let Some(spi) = esp::spi(bytes) else {
            return count(&drops.malformed);
        };
        let Some(run) = self.select(spi) else {
            return count(&drops.unknown_spi);
        };
        let opened = match run.receiver.open(bytes) {
            Ok(opened) => opened,
            Err(error) => return count_error(drops, error),
        };
        let guard = run.peer.guard.as_deref();
        let whence = Whence { session: run.tunnel.session, gate: &run.tunnel.gate, guard, mtu: run.peer.mtu };
        let is_v4 = opened.next_header == packet::protocol::IPV4;
        if let Some(length) = self.tail.packet(&whence, &mut bytes[opened.payload], is_v4, traffic_class)
            && let Some(run) = &mut self.run
        {
            run.amount.add(1, length);
        }
    }

    /// The run of this SPI, begun where it is another than the last.
    fn select(&mut self, spi: u32) -> Option<&mut Run<'t>> {
        if self.run.as_ref().is_none_or(|run| run.tunnel.spi_in != spi) {
            self.end_run();
            let (tunnel, peer) = self.context.tables.receiver(spi)?;
            let receiver = tunnel.inbound.receive();
            let before = receiver.highest();
            self.run = Some(Run { tunnel, peer, receiver, before, amount: Amount::default() });
        }
        self.run.as_mut()
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if run.amount.packets > 0 {
            run.tunnel.traffic.count_in(run.amount, self.context.now);
        }
        run.tell(self.context, self.path);
    }

    pub(super) fn finish(mut self) {
        self.end_run();
        self.tail.finish();
    }
}

impl Run<'_> {
    /// Takes note of what the run's newest packet, which verified, says of the tunnel, and tells control.
    fn tell(&self, context: Context<'_>, path: Option<Path>) {
        let highest = self.receiver.highest();
        if highest == self.before {
            return;
        }
        let Tunnel { session, spi_in, wear, movement, trial, .. } = self.tunnel;
        trial.end();
        let events = &context.shared.events;
        wear.reached(highest, || events.offer(StreamEvent::Worn { session: *session, spi_in: *spi_in }));
        let to = &self.peer.to;
        let Some(path) = path else { return };
        let elsewhere = match (to.path.connection, path.connection) {
            (None, None) => to.encapsulate && path.remote != to.path.remote,
            (Some(before), Some(now)) => tcp::is_newer(now, before),
            // Between UDP and TCP clients move by MOBIKE.
            _ => false,
        };
        if elsewhere {
            movement.seen(path.remote, context.now, || events.offer(StreamEvent::Moved { session: *session, path }));
        }
    }
}

/// The tunnel that a packet came out of.
pub(super) struct Whence<'a> {
    pub(super) session: u64,
    pub(super) gate: &'a Gate,
    pub(super) guard: Option<&'a Guard>,
    /// Longest packet that the session can be sent.
    pub(super) mtu: usize,
}

/// Where all tunnels end: checks packets and collects them for the TUN device.
pub(super) struct Tail<'t, 'p> {
    context: Context<'t>,
    writer: Writer<'t>,
    coalescer: Coalescer<'p>,
    total: Amount,
}

impl<'t, 'p> Tail<'t, 'p> {
    pub(super) fn new(context: Context<'t>, coalescing: &'t mut Coalescing) -> Self {
        let coalescer = Coalescer::new(coalescing.tcp, coalescing.udp);
        let writer = Writer { tun: &context.ports.tun, drops: &context.shared.drops, coalescing };
        Self { context, writer, coalescer, total: Amount::default() }
    }

    pub(super) fn drops(&self) -> &'t Drops {
        self.writer.drops
    }

    /// Takes a packet of the family that the tunnel announced. Returns its length when it is what the peer may send.
    pub(super) fn packet(&mut self, whence: &Whence<'_>, inner: &'p mut [u8], is_v4: bool, traffic_class: u8) -> Option<usize> {
        let drops = self.drops();
        let ip = IpHeader::parse(inner).ok().filter(|ip| ip.is_v4() == is_v4);
        let Some(ip) = ip else {
            count(&drops.inner_malformed);
            return None;
        };
        let Whence { session, gate, guard, mtu } = whence;
        let refused = match divert::judge(gate, inner, &ip) {
            Verdict::Divert => return self.divert(*session, gate, &inner[..ip.length]),
            Verdict::Drop => Some(&drops.not_forwarded),
            Verdict::Stranger => Some(&drops.source_not_leased),
            Verdict::Forward if !gate.is_leased(&ip) => Some(&drops.source_not_leased),
            Verdict::Forward if !gate.allows_inbound(inner, &ip) => Some(&drops.outside_selectors),
            Verdict::Forward if !ecn::decapsulate(inner, traffic_class) => Some(&drops.congestion_marked),
            Verdict::Forward => None,
        };
        if let Some(reason) = refused {
            count(reason);
            return None;
        }
        if let Some(guard) = guard
            && !guard.admits(&Candidate::single(inner, &ip), &gate.inner, self.context.now, drops)
        {
            return None;
        }
        mss::clamp(inner, &ip, mss::for_mtu(*mtu, ip.is_v4()));
        self.total.add(1, ip.length);
        let Self { writer, coalescer, .. } = self;
        coalescer.push(inner, &ip, &mut |header, parts| writer.write(header, parts));
        Some(ip.length)
    }

    /// Hands a packet to control.
    fn divert(&mut self, session: u64, gate: &Gate, packet: &[u8]) -> Option<usize> {
        let shared = self.context.shared;
        let offer = || shared.events.offer(StreamEvent::Inner { session, packet: packet.to_vec() });
        if !gate.diverted.take(self.context.now.seconds(), divert::PER_SECOND) || !offer() {
            count(&shared.drops.diverted_too_many);
            return None;
        }
        self.total.add(1, packet.len());
        Some(packet.len())
    }

    pub(super) fn finish(mut self) {
        let Self { writer, coalescer, .. } = &mut self;
        coalescer.flush(&mut |header, parts| writer.write(header, parts));
        if self.total.packets > 0 {
            self.context.shared.totals.count_in(self.total, self.context.now);
        }
    }
}

fn count_error(drops: &Drops, error: OpenError) {
    match error {
        OpenError::Truncated => count(&drops.malformed),
        OpenError::Replayed => count(&drops.replayed),
        OpenError::Forged => count(&drops.forged),
        OpenError::BadPadding => count(&drops.bad_padding),
        OpenError::UnsupportedNextHeader(_) => count(&drops.unsupported_next_header),
        // Traffic-flow confidentiality: nothing is lost.
        OpenError::Dummy => {}
    }
}

/// Writes to the TUN device, singly once it has refused super-packets.
struct Writer<'t> {
    tun: &'t TunQueue,
    drops: &'t Drops,
    coalescing: &'t mut Coalescing,
}

impl Writer<'_> {
    fn write(&mut self, header: &VirtioNetHeader, parts: &[IoSlice<'_>]) {
        match self.tun.write_vectored(&header.encode(), parts) {
            Ok(_) => {}
            Err(IoError::GsoRefused(errno)) => {
                let kind = if header.segmentation() == GSO_UDP_L4 { &mut self.coalescing.udp } else { &mut self.coalescing.tcp };
                if std::mem::take(kind) {
                    tracing::warn!(errno, gso_type = header.gso_type, "the TUN device refuses super-packets; packets are written singly");
                }
                self.write_singly(header, parts);
            }
            Err(_) => count(&self.drops.tun_write_failed),
        }
    }

    /// Undoes a refused merge. Happens for the packets of one batch at most, so it may allocate.
    fn write_singly(&self, header: &VirtioNetHeader, parts: &[IoSlice<'_>]) {
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let Ok(split) = SuperPacket::parse(header, &whole) else { return count(&self.drops.inner_malformed) };
        for index in 0..split.count() {
            let mut packet = vec![0; split.len(index)];
            split.write(index, &mut packet);
            if self.tun.write(&VirtioNetHeader::PLAIN, &packet).is_err() {
                count(&self.drops.tun_write_failed);
            }
        }
    }
}
