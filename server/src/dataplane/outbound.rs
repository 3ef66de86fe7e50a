//! From the TUN device to the sockets.
use super::stats::Drops;
use super::tables::Peer;
use super::thread::Thread;
use super::tunnel::Tunnel;
use ike::Path;
use net::Datagram;
use packet::{IpHeader, Ipv4Fragments, SuperPacket, VirtioNetHeader, icmp, mss};
use std::sync::Arc;

/// Super-packets taken from the TUN queue before the sockets get their turn.
const READS: usize = 64;

const MAX_IP: usize = 65_535;

/// Sealed bytes sent at once at most: a UDP datagram train.
const TRAIN: usize = 64_000;

/// Room for a train and what one super-packet may add to it.
const BUFFER: usize = 4 * MAX_IP;

/// Packets in a train (UDP_MAX_SEGMENTS of older kernels).
const TRAIN_PACKETS: usize = 64;

/// Buffers of the outbound direction, allocated once.
pub(super) struct Outbound {
    read: Vec<u8>,
    sealed: Vec<u8>,
    train: Train,
}

/// Sealed packets of one length (the last may be shorter) for one peer, back to back in the buffer.
#[derive(Debug, Default)]
struct Train {
    to: Option<(Path, bool)>,
    /// Length of every packet but the last.
    segment: usize,
    bytes: usize,
    packets: usize,
    /// A shorter packet ended it.
    closed: bool,
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self { read: vec![0; VirtioNetHeader::LEN + MAX_IP], sealed: vec![0; BUFFER], train: Train::default() }
    }
}

impl Thread {
    /// Moves what the TUN queue holds.
    pub(super) fn outbound(&mut self) {
        for _ in 0..READS {
            let mut read = std::mem::take(&mut self.out.read);
            let result = self.tun.queue.read(&mut read);
            if let Ok(length) = result {
                self.from_tun(&read[..length]);
            }
            self.out.read = read;
            if result.is_err() {
                break;
            }
        }
        self.depart();
    }

    fn from_tun(&mut self, bytes: &[u8]) {
        let Some((header, bytes)) = bytes.split_first_chunk() else { return };
        let Ok(packet) = SuperPacket::parse(&VirtioNetHeader::decode(header), bytes) else {
            return Drops::count(&self.shared.drops.malformed);
        };
        let Some(peer) = self.tables.peer_for(packet.ip().destination) else {
            return Drops::count(&self.shared.drops.no_tunnel);
        };
        let Some(tunnel) = peer.outbound.clone() else {
            return Drops::count(&self.shared.drops.no_outbound_sa);
        };
        if !tunnel.allows_outbound(packet.bytes(), packet.ip()) {
            return Drops::count(&self.shared.drops.outside_selectors);
        }
        let to = destination(peer);
        if packet.max_len() > tunnel.mtu {
            return self.oversized(&packet, &tunnel, to);
        }
        self.seal_all(&packet, &tunnel, to);
    }

    fn seal_all(&mut self, packet: &SuperPacket<'_>, tunnel: &Arc<Tunnel>, to: (Path, bool)) {
        let count = packet.count();
        let single = count == 1;
        let octets: usize = (0..count).map(|index| packet.len(index)).sum();
        let sealed = self.seal_each(
            tunnel,
            to,
            count,
            |index| packet.len(index),
            |index, out| {
                packet.write(index, out);
                if single {
                    mss::clamp(out, packet.ip(), mss::for_mtu(tunnel.mtu, packet.ip().is_v4()));
                }
            },
        );
        if sealed {
            self.count_out(tunnel, count, octets);
        }
    }

    /// Seals `count` packets, each written by `write` straight to where it is sealed.
    fn seal_each(
        &mut self,
        tunnel: &Tunnel,
        to: (Path, bool),
        count: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) -> bool {
        let overhead = tunnel.outbound.overhead();
        let Some(first) = u32::try_from(count).ok().and_then(|count| tunnel.outbound.reserve(count).ok()) else {
            Drops::count(&self.shared.drops.no_outbound_sa);
            return false;
        };
        for index in 0..count {
            let inner = length(index);
            let sealed = overhead.sealed_len(inner);
            if !self.out.train.fits(to, sealed) {
                self.depart();
            }
            let start = self.out.train.bytes;
            let place = &mut self.out.sealed[start..start + sealed];
            let body = &mut place[overhead.header_len()..][..inner];
            write(index, body);
            let next_header = if body[0] >> 4 == 4 { packet::protocol::IPV4 } else { packet::protocol::IPV6 };
            tunnel.outbound.seal(first + index as u64, place, inner, next_header);
            self.out.train.append(to, sealed);
        }
        true
    }

    fn count_out(&self, tunnel: &Tunnel, packets: usize, octets: usize) {
        tunnel.traffic.count_out(packets as u64, octets as u64);
        self.shared.totals.count_out(packets as u64, octets as u64);
    }

    /// A packet that does not fit the tunnel: smaller TCP segments or fragments where the sender allows them, else word to the sender.
    fn oversized(&mut self, packet: &SuperPacket<'_>, tunnel: &Arc<Tunnel>, to: (Path, bool)) {
        if !packet.ip().dont_fragment {
            if let Some(smaller) = packet.resized(tunnel.mtu) {
                return self.seal_all(&smaller, tunnel, to);
            }
            let mut whole = vec![0; packet.len(0)];
            packet.write(0, &mut whole);
            if let (1, Some(fragments)) = (packet.count(), Ipv4Fragments::new(&whole, packet.ip(), tunnel.mtu)) {
                let sealed =
                    self.seal_each(tunnel, to, fragments.count(), |index| fragments.len(index), |index, out| fragments.write(index, out));
                if sealed {
                    self.count_out(tunnel, fragments.count(), whole.len());
                }
                return;
            }
        }
        self.tell_too_big(packet, tunnel.mtu);
    }

    fn tell_too_big(&self, packet: &SuperPacket<'_>, mtu: usize) {
        Drops::count(&self.shared.drops.too_big);
        let mut first = vec![0; packet.len(0)];
        packet.write(0, &mut first);
        let mut message = [0; icmp::MAX_LEN];
        let Ok(ip) = IpHeader::parse(&first) else { return };
        let Some(length) = icmp::too_big(&first, &ip, mtu, &mut message) else { return };
        if self.tun.queue.write(&VirtioNetHeader::PLAIN, &message[..length]).is_err() {
            Drops::count(&self.shared.drops.tun_full);
        }
    }

    /// Sends the train.
    fn depart(&mut self) {
        let train = std::mem::take(&mut self.out.train);
        let Some((path, encapsulate)) = train.to else { return };
        let bytes = &self.out.sealed[..train.bytes];
        let sent = if encapsulate { self.send_udp(path, bytes, train.segment) } else { self.send_raw(path, bytes, train.segment) };
        if !sent {
            Drops::count(&self.shared.drops.send_failed);
        }
    }

    fn send_udp(&self, path: Path, bytes: &[u8], segment: usize) -> bool {
        let Some(port) = self.udp.iter().find(|port| super::serves(port.address.ip(), path.local.ip())) else { return false };
        port.socket.send_segmented(Some(path.local.ip()), path.remote, bytes, segment).is_ok_and(|sent| sent == bytes.len())
    }

    fn send_raw(&self, path: Path, bytes: &[u8], segment: usize) -> bool {
        let index = self.udp.iter().position(|port| super::serves(port.address.ip(), path.local.ip()));
        let Some(socket) = index.and_then(|index| self.raw.get(index)) else { return false };
        let blank = Datagram { source: Some(path.local.ip()), dest: path.remote, bytes: &[] };
        let mut datagrams = [blank; TRAIN_PACKETS];
        let mut count = 0;
        for (datagram, bytes) in datagrams.iter_mut().zip(bytes.chunks(segment.max(1))) {
            datagram.bytes = bytes;
            count += 1;
        }
        let mut rest = &datagrams[..count];
        while !rest.is_empty() {
            match socket.send_many(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(_) => return false,
            }
        }
        true
    }
}

fn destination(peer: &Peer) -> (Path, bool) {
    (peer.path, peer.encapsulate)
}

impl Train {
    fn fits(&self, to: (Path, bool), length: usize) -> bool {
        self.to.is_none()
            || (self.to == Some(to)
                && !self.closed
                && length <= self.segment
                && self.packets < TRAIN_PACKETS
                && self.bytes + length <= TRAIN)
    }

    fn append(&mut self, to: (Path, bool), length: usize) {
        if self.to.is_none() {
            self.to = Some(to);
            self.segment = length;
        }
        self.closed = length < self.segment;
        self.bytes += length;
        self.packets += 1;
    }
}
