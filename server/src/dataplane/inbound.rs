//! From the sockets to the TUN device.
use super::stats::Drops;
use super::tables::Tables;
use super::thread::{Thread, Tun};
use super::tunnel::Tunnel;
use esp::Receiver;
use ike::Path;
use net::{IoError, Received, RecvBatch};
use packet::{Coalescer, IpHeader, SuperPacket, VirtioNetHeader, ecn, mss};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

/// A keepalive of the peer's NAT (RFC 3948 section 2.3).
const NAT_KEEPALIVE: [u8; 1] = [0xff];

/// Batches taken from one socket before the others get their turn.
const ROUNDS: usize = 4;

impl Thread {
    pub(super) fn inbound_udp(&mut self, index: usize) {
        self.with_udp_batch(|thread, batch| {
            for _ in 0..ROUNDS {
                let Ok(_) = thread.udp[index].socket.recv_batch(batch) else { return };
                thread.udp_messages(index, batch);
            }
        });
    }

    pub(super) fn inbound_raw(&mut self, index: usize) {
        self.with_raw_batch(|thread, batch| {
            for _ in 0..ROUNDS {
                let Ok(_) = thread.raw[index].recv_batch(batch) else { return };
                let mut sink = EspSink::new(&thread.tables, &mut thread.tun, &thread.shared.drops);
                batch.messages().for_each(|message| sink.packet(message.bytes, message.traffic_class));
                let (packets, octets) = sink.finish();
                thread.shared.totals.count_in(packets, octets);
            }
        });
    }

    fn udp_messages(&mut self, index: usize, batch: &mut RecvBatch) {
        let port = &self.udp[index];
        let mut sink = EspSink::new(&self.tables, &mut self.tun, &self.shared.drops);
        let mut received = 0;
        for message in batch.messages() {
            let Received { bytes, segment_size, source, local, traffic_class, .. } = message;
            for datagram in bytes.chunks_mut(segment_size.max(1)) {
                received += 1;
                match datagram.split_at_checked(4) {
                    _ if *datagram == NAT_KEEPALIVE => {}
                    Some(([0, 0, 0, 0], ike)) => {
                        let Some(local) = local else { continue };
                        let path = Path { local: SocketAddr::new(local, port.address.port()), remote: source };
                        if !(self.shared.sink)(path, ike) {
                            Drops::count(&self.shared.drops.ike_queue_full);
                        }
                    }
                    _ => sink.packet(datagram, traffic_class),
                }
            }
        }
        let (packets, octets) = sink.finish();
        port.received.fetch_add(received, Ordering::Relaxed);
        self.shared.totals.count_in(packets, octets);
    }
}

/// Opens ESP packets and collects what is inside for the TUN device.
struct EspSink<'t, 'p> {
    tables: &'t Tables,
    tun: &'t mut Tun,
    drops: &'t Drops,
    coalescer: Coalescer<'p>,
    /// The tunnel of the last packet, with its window locked: packets come in runs.
    current: Option<(&'t Tunnel, Receiver<'t>)>,
    run: (u64, u64),
    total: (u64, u64),
}

impl<'t, 'p> EspSink<'t, 'p> {
    fn new(tables: &'t Tables, tun: &'t mut Tun, drops: &'t Drops) -> Self {
        let offload = tun.queue.offload();
        let coalescer = Coalescer::new(tun.coalesce && offload.tso, tun.coalesce && offload.uso);
        Self { tables, tun, drops, coalescer, current: None, run: (0, 0), total: (0, 0) }
    }

    fn packet(&mut self, bytes: &'p mut [u8], traffic_class: u8) {
        let Some(spi) = esp::spi(bytes) else {
            return Drops::count(&self.drops.malformed);
        };
        if !self.select(spi) {
            return Drops::count(&self.drops.unknown_spi);
        }
        // `select` has just set it.
        let Some((tunnel, window)) = &mut self.current else { return };
        let opened = match window.open(bytes) {
            Ok(opened) => opened,
            Err(error) => return count_error(self.drops, error),
        };
        let inner = &mut bytes[opened.payload];
        let Some(ip) = check(self.drops, tunnel, inner, opened.next_header, traffic_class) else { return };
        mss::clamp(inner, &ip, mss::for_mtu(tunnel.mtu, ip.is_v4()));
        self.run = (self.run.0 + 1, self.run.1 + ip.length as u64);
        let (tun, drops) = (&mut self.tun, self.drops);
        self.coalescer.push(inner, &ip, &mut |header, parts| write(tun, drops, header, parts));
    }

    /// Makes the tunnel of this SPI the current one.
    fn select(&mut self, spi: u32) -> bool {
        if self.current.as_ref().is_some_and(|(tunnel, _)| tunnel.spi_in == spi) {
            return true;
        }
        self.end_run();
        let Some(tunnel) = self.tables.tunnel(spi) else { return false };
        self.current = Some((tunnel, tunnel.inbound.receive()));
        true
    }

    fn end_run(&mut self) {
        let (packets, octets) = std::mem::take(&mut self.run);
        if let Some((tunnel, _)) = self.current.take()
            && packets > 0
        {
            tunnel.traffic.count_in(packets, octets);
        }
        self.total = (self.total.0 + packets, self.total.1 + octets);
    }

    fn finish(mut self) -> (u64, u64) {
        self.end_run();
        let (tun, drops) = (&mut self.tun, self.drops);
        self.coalescer.flush(&mut |header, parts| write(tun, drops, header, parts));
        self.total
    }
}

fn count_error(drops: &Drops, error: esp::OpenError) {
    match error {
        esp::OpenError::Replayed => Drops::count(&drops.replayed),
        esp::OpenError::Forged => Drops::count(&drops.forged),
        // Traffic-flow confidentiality: nothing is lost.
        esp::OpenError::Dummy => {}
        _ => Drops::count(&drops.malformed),
    }
}

/// The inner packet's header, when the packet is what this peer may send.
fn check(drops: &Drops, tunnel: &Tunnel, inner: &mut [u8], next_header: u8, traffic_class: u8) -> Option<IpHeader> {
    let Ok(ip) = IpHeader::parse(inner) else {
        Drops::count(&drops.malformed);
        return None;
    };
    let version_fits = next_header == if ip.is_v4() { packet::protocol::IPV4 } else { packet::protocol::IPV6 };
    let verdict = match () {
        () if !version_fits => &drops.malformed,
        () if !tunnel.is_genuine(ip.source) => &drops.spoofed_source,
        () if !tunnel.allows_inbound(inner, &ip) => &drops.outside_selectors,
        () if !ecn::decapsulate(inner, traffic_class) => &drops.congestion,
        () => return Some(ip),
    };
    Drops::count(verdict);
    None
}

fn write(tun: &mut Tun, drops: &Drops, header: &VirtioNetHeader, parts: &[IoSlice<'_>]) {
    match tun.queue.write_vectored(&header.encode(), parts) {
        Ok(_) => {}
        Err(IoError::GsoRefused(errno)) => {
            if std::mem::take(&mut tun.coalesce) {
                tracing::warn!(errno, "the TUN device refuses super-packets; packets are written singly from now on");
            }
            write_singly(tun, drops, header, parts);
        }
        Err(_) => Drops::count(&drops.tun_full),
    }
}

/// Undoes a refused merge. Happens for the packets of one batch at most, so it may allocate.
fn write_singly(tun: &Tun, drops: &Drops, header: &VirtioNetHeader, parts: &[IoSlice<'_>]) {
    let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
    let Ok(split) = SuperPacket::parse(header, &whole) else { return Drops::count(&drops.malformed) };
    for index in 0..split.count() {
        let mut packet = vec![0; split.len(index)];
        split.write(index, &mut packet);
        if tun.queue.write(&VirtioNetHeader::PLAIN, &packet).is_err() {
            Drops::count(&drops.tun_full);
        }
    }
}
