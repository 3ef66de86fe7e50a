//! Merging consecutive packets of a flow into one super-packet, so that a TUN device takes many with one write. Merges only what the
//! kernel's own receive offload (GRO) would merge, and never changes the order within a flow.
use crate::ip::set_length;
use crate::tcp::{self, TcpView};
use crate::udp::{self, UdpView};
use crate::virtio::{FLAG_NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, VirtioNetHeader};
use crate::{Fragment, IpHeader, be16, be32, protocol};
use std::io::IoSlice;

/// Flows that may grow at the same time.
const GROUPS: usize = 4;
/// Packets in one super-packet.
pub const MAX_PACKETS: usize = 64;
const MAX_IP_LEN: usize = 65_535;
/// All that a mergeable TCP segment may carry besides ACK.
const MERGEABLE_FLAGS: u8 = tcp::ACK | tcp::PSH | tcp::ECE;

/// Collects packets. `emit` gets each finished one: the header for the device, and the pieces of the packet in order (at most
/// [`MAX_PACKETS`]). Payloads are not copied: pieces lie where the packets lay; headers are rewritten in place.
#[derive(Debug)]
pub struct Coalescer<'a> {
    groups: [Group<'a>; GROUPS],
    /// Which group gives way when a new flow needs room.
    next_victim: usize,
    tcp: bool,
    udp: bool,
}

impl<'a> Coalescer<'a> {
    /// `tcp`, `udp`: what the device takes as super-packets.
    pub fn new(tcp: bool, udp: bool) -> Self {
        Self { groups: std::array::from_fn(|_| Group::empty()), next_victim: 0, tcp, udp }
    }

    /// Takes a finished packet that `ip` describes.
    pub fn push(&mut self, packet: &'a mut [u8], ip: &IpHeader, emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>])) {
        let packet = &mut packet[..ip.length];
        let Some(candidate) = self.candidate(packet, ip) else {
            // Fragments and the like have no ports to tell flows apart by, so all flows between the two hosts are let go first.
            self.groups.iter_mut().filter(|group| group.between(ip)).for_each(|group| group.emit(emit));
            return emit(&VirtioNetHeader::default(), &[IoSlice::new(packet)]);
        };
        match self.groups.iter_mut().find(|group| group.is_flow(packet, ip)) {
            Some(group) => {
                if group.takes(packet, ip, &candidate) {
                    return group.append(packet, &candidate, emit);
                }
                group.emit(emit);
                group.start(packet, ip, &candidate, emit);
            }
            None => self.vacant(emit).start(packet, ip, &candidate, emit),
        }
    }

    /// Emits all that is held.
    pub fn flush(&mut self, emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>])) {
        self.groups.iter_mut().for_each(|group| group.emit(emit));
    }

    fn vacant(&mut self, emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>])) -> &mut Group<'a> {
        let index = self.groups.iter().position(|group| group.count == 0).unwrap_or_else(|| {
            self.next_victim = (self.next_victim + 1) % GROUPS;
            self.groups[self.next_victim].emit(emit);
            self.next_victim
        });
        &mut self.groups[index]
    }

    fn candidate(&self, packet: &[u8], ip: &IpHeader) -> Option<Candidate> {
        if ip.fragment != Fragment::Whole || !ip.is_plain() {
            return None;
        }
        let transport = &packet[ip.transport..];
        match ip.protocol {
            protocol::TCP if self.tcp => {
                let view = TcpView::new(transport)?;
                let mergeable = view.flags() & !MERGEABLE_FLAGS == 0 && view.flags() & tcp::ACK != 0 && !view.payload().is_empty();
                mergeable.then(|| Candidate {
                    header_len: ip.transport + view.header_len(),
                    payload_len: view.payload().len(),
                    ends: view.flags() & tcp::PSH != 0,
                })
            }
            protocol::UDP if self.udp => {
                let view = UdpView::new(transport)?;
                let mergeable = view.length() == transport.len() && view.checksum() != 0 && !view.payload().is_empty();
                mergeable.then(|| Candidate { header_len: ip.transport + udp::HEADER_LEN, payload_len: view.payload().len(), ends: false })
            }
            _ => None,
        }
    }
}

/// A packet that could be merged, as far as it alone can tell.
#[derive(Debug)]
struct Candidate {
    header_len: usize,
    payload_len: usize,
    /// Pushed data ends a super-packet.
    ends: bool,
}

#[derive(Debug)]
struct Group<'a> {
    /// 0: vacant.
    count: usize,
    ip: Option<IpHeader>,
    /// The first packet, whole; its header becomes that of the super-packet.
    first: &'a mut [u8],
    header_len: usize,
    segment: usize,
    payload_len: usize,
    /// Checksum of the first packet has been verified: only needed once a second one is to join.
    verified: bool,
    last_id: u16,
    id_step: Option<u16>,
    pushed: bool,
    parts: [IoSlice<'a>; MAX_PACKETS],
}

impl<'a> Group<'a> {
    fn empty() -> Self {
        Self {
            count: 0,
            ip: None,
            first: &mut [],
            header_len: 0,
            segment: 0,
            payload_len: 0,
            verified: false,
            last_id: 0,
            id_step: None,
            pushed: false,
            parts: [IoSlice::new(&[]); MAX_PACKETS],
        }
    }

    fn start(
        &mut self,
        packet: &'a mut [u8],
        ip: &IpHeader,
        candidate: &Candidate,
        emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>]),
    ) {
        self.count = 1;
        self.ip = Some(*ip);
        self.header_len = candidate.header_len;
        self.segment = candidate.payload_len;
        self.payload_len = candidate.payload_len;
        self.verified = false;
        self.last_id = be16(packet, 4);
        self.id_step = None;
        self.pushed = candidate.ends;
        self.first = packet;
        if candidate.ends {
            self.emit(emit);
        }
    }

    fn between(&self, ip: &IpHeader) -> bool {
        self.count > 0 && self.ip.is_some_and(|own| own.source == ip.source && own.destination == ip.destination)
    }

    fn is_flow(&self, packet: &[u8], ip: &IpHeader) -> bool {
        self.between(ip)
            && self.ip.is_some_and(|own| own.protocol == ip.protocol)
            && self.first[ip.transport..ip.transport + 4] == packet[ip.transport..ip.transport + 4]
    }

    /// True when the packet continues the group. The flow is the same already.
    fn takes(&mut self, packet: &[u8], ip: &IpHeader, candidate: &Candidate) -> bool {
        let fits = self.count < MAX_PACKETS
            && candidate.header_len == self.header_len
            && candidate.payload_len <= self.segment
            && self.header_len + self.payload_len + candidate.payload_len <= MAX_IP_LEN;
        fits && self.same_ip_fields(packet, ip) && self.continues(packet, ip) && self.checksums_hold(packet, ip)
    }

    /// Type of service, flags, time to live (hop limit, flow label); and the identification, which goes up by one, or stands still where
    /// nobody may fragment.
    fn same_ip_fields(&self, packet: &[u8], ip: &IpHeader) -> bool {
        let first = &*self.first;
        if !ip.is_v4() {
            return first[..4] == packet[..4] && first[7] == packet[7];
        }
        let step = be16(packet, 4).wrapping_sub(self.last_id);
        let id_fits = match self.id_step {
            Some(known) => step == known,
            None => step == 1 || (step == 0 && ip.dont_fragment),
        };
        id_fits && first[1] == packet[1] && first[6..9] == packet[6..9]
    }

    fn continues(&self, packet: &[u8], ip: &IpHeader) -> bool {
        if ip.protocol == protocol::UDP {
            return true;
        }
        let (first, next) = (&self.first[ip.transport..self.header_len], &packet[ip.transport..self.header_len]);
        let expected = be32(first, tcp::SEQUENCE_AT).wrapping_add(self.payload_len as u32);
        be32(next, tcp::SEQUENCE_AT) == expected
            && first[8..12] == next[8..12]
            && first[tcp::FLAGS_AT] | tcp::PSH == next[tcp::FLAGS_AT] | tcp::PSH
            && first[14..16] == next[14..16]
            && first[tcp::HEADER_LEN..] == next[tcp::HEADER_LEN..]
    }

    fn checksums_hold(&mut self, packet: &[u8], ip: &IpHeader) -> bool {
        if !self.verified {
            self.verified = self.ip.is_some_and(|own| own.transport_checksum_holds(self.first));
        }
        self.verified && ip.transport_checksum_holds(packet)
    }

    fn append(&mut self, packet: &'a mut [u8], candidate: &Candidate, emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>])) {
        let id = be16(packet, 4);
        self.id_step = Some(id.wrapping_sub(self.last_id));
        self.last_id = id;
        self.parts[self.count] = IoSlice::new(&packet[candidate.header_len..]);
        self.count += 1;
        self.payload_len += candidate.payload_len;
        self.pushed |= candidate.ends;
        if candidate.ends || candidate.payload_len < self.segment || self.count == MAX_PACKETS {
            self.emit(emit);
        }
    }

    fn emit(&mut self, emit: &mut impl FnMut(&VirtioNetHeader, &[IoSlice<'_>])) {
        let count = std::mem::take(&mut self.count);
        let (Some(ip), true) = (self.ip, count > 0) else { return };
        let first = std::mem::take(&mut self.first);
        let header = if count == 1 { VirtioNetHeader::default() } else { self.write_header(first, &ip) };
        self.parts[0] = IoSlice::new(first);
        emit(&header, &self.parts[..count]);
    }

    /// Makes the first packet's header that of the whole; the checksum field gets the sum of the pseudo header.
    fn write_header(&self, first: &mut [u8], ip: &IpHeader) -> VirtioNetHeader {
        let length = self.header_len + self.payload_len;
        set_length(first, ip.is_v4(), ip.transport, length);
        let pseudo = ip.pseudo_sum(ip.protocol, length - ip.transport).partial();
        let transport = &mut first[ip.transport..];
        let (gso_type, csum_offset) = if ip.protocol == protocol::TCP {
            transport[tcp::FLAGS_AT] |= if self.pushed { tcp::PSH } else { 0 };
            (if ip.is_v4() { GSO_TCPV4 } else { GSO_TCPV6 }, tcp::CHECKSUM_AT)
        } else {
            crate::put16(transport, udp::LENGTH_AT, (length - ip.transport) as u16);
            (GSO_UDP_L4, udp::CHECKSUM_AT)
        };
        transport[csum_offset..csum_offset + 2].copy_from_slice(&pseudo);
        VirtioNetHeader {
            flags: FLAG_NEEDS_CSUM,
            gso_type,
            hdr_len: self.header_len as u16,
            gso_size: self.segment as u16,
            csum_start: ip.transport as u16,
            csum_offset: csum_offset as u16,
        }
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
