//! Splitting what a TUN device delivers (a super-packet, or a packet whose checksum is left to do) into finished IP packets.
use crate::checksum::Sum;
use crate::ip::{IpHeader, Malformed, set_length};
use crate::tcp::{self, TcpView};
use crate::virtio::{GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, VirtioNetHeader};
use crate::{Fragment, be16, be32, protocol, put16, udp};

/// A packet as the TUN device delivered it, checked, ready to be written out segment by segment, each straight to its place.
#[derive(Debug, Clone, Copy)]
pub struct SuperPacket<'a> {
    packet: &'a [u8],
    ip: IpHeader,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One packet, complete.
    Finished,
    /// One packet; the checksum field holds the sum of the pseudo header.
    Unsummed { start: usize, field: usize },
    /// `header_len`: IP and transport; `segment`: payload bytes in each packet but the last.
    Segments { header_len: usize, segment: usize },
}

impl<'a> SuperPacket<'a> {
    /// Checks `packet` against the header that the device put before it. Bytes behind the IP length are cut off.
    pub fn parse(header: &VirtioNetHeader, packet: &'a [u8]) -> Result<Self, Malformed> {
        let ip = IpHeader::parse(packet)?;
        let packet = &packet[..ip.length];
        let kind = match header.segmentation() {
            GSO_NONE if header.needs_checksum() => unsummed(header, packet)?,
            GSO_NONE => Kind::Finished,
            GSO_TCPV4 if ip.is_v4() => segments(header, packet, &ip, protocol::TCP)?,
            GSO_TCPV6 if !ip.is_v4() => segments(header, packet, &ip, protocol::TCP)?,
            GSO_UDP_L4 => segments(header, packet, &ip, protocol::UDP)?,
            _ => return Err(Malformed::Segmentation),
        };
        Ok(Self { packet, ip, kind })
    }

    pub fn ip(&self) -> &IpHeader {
        &self.ip
    }

    /// The bytes as they came: addresses and ports are those of every segment.
    pub fn bytes(&self) -> &'a [u8] {
        self.packet
    }

    /// How many packets it makes, at least 1.
    pub fn count(&self) -> usize {
        match self.kind {
            Kind::Segments { header_len, segment } => (self.packet.len() - header_len).div_ceil(segment).max(1),
            Kind::Finished | Kind::Unsummed { .. } => 1,
        }
    }

    /// Length of the packet `index`, in bytes.
    ///
    /// # Panics
    /// When `index` is not below [`Self::count`].
    pub fn len(&self, index: usize) -> usize {
        assert!(index < self.count(), "segment {index} of {}", self.count());
        match self.kind {
            Kind::Segments { header_len, segment } => header_len + (self.packet.len() - header_len - index * segment).min(segment),
            Kind::Finished | Kind::Unsummed { .. } => self.packet.len(),
        }
    }

    /// Never: there is an IP header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Length of the longest packet: the first.
    pub fn max_len(&self) -> usize {
        self.len(0)
    }

    /// The same TCP stream in smaller segments, so that no packet is longer than `max_len`: what TCP's own sender might have chosen.
    /// `None` for anything but a TCP super-packet, or when no payload would be left. For a sender that forbids fragments (DF, IPv6) a
    /// "too big" message is the honest answer instead.
    pub fn resized(&self, max_len: usize) -> Option<Self> {
        let Kind::Segments { header_len, segment } = self.kind else { return None };
        if self.ip.protocol != protocol::TCP || max_len <= header_len {
            return None;
        }
        Some(Self { kind: Kind::Segments { header_len, segment: segment.min(max_len - header_len) }, ..*self })
    }

    /// Writes the packet `index`, finished with lengths, identification, sequence number, flags and checksums.
    ///
    /// # Panics
    /// When `index` is not below [`Self::count`] or `out` is not [`Self::len`] long.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        assert_eq!(out.len(), self.len(index), "place for segment {index}");
        match self.kind {
            Kind::Finished => out.copy_from_slice(self.packet),
            Kind::Unsummed { start, field } => {
                out.copy_from_slice(self.packet);
                let is_udp = self.ip.protocol == protocol::UDP && field == start + udp::CHECKSUM_AT;
                let sum = Sum::ZERO.bytes(&out[start..]);
                out[field..field + 2].copy_from_slice(&if is_udp { sum.finish_udp() } else { sum.finish() });
            }
            Kind::Segments { header_len, segment } => {
                let from = header_len + index * segment;
                let payload_len = out.len() - header_len;
                out[..header_len].copy_from_slice(&self.packet[..header_len]);
                out[header_len..].copy_from_slice(&self.packet[from..from + payload_len]);
                self.finish_segment(index, index * segment, out);
            }
        }
    }

    /// `offset`: payload bytes before this segment.
    fn finish_segment(&self, index: usize, offset: usize, out: &mut [u8]) {
        if self.ip.is_v4() {
            put16(out, 4, be16(self.packet, 4).wrapping_add(index as u16));
        }
        set_length(out, self.ip.is_v4(), self.ip.transport, out.len());
        let pseudo = self.ip.pseudo_sum(self.ip.protocol, out.len() - self.ip.transport);
        let transport = &mut out[self.ip.transport..];
        if self.ip.protocol == protocol::TCP {
            let sequence = be32(transport, tcp::SEQUENCE_AT).wrapping_add(offset as u32);
            transport[tcp::SEQUENCE_AT..tcp::SEQUENCE_AT + 4].copy_from_slice(&sequence.to_be_bytes());
            transport[tcp::FLAGS_AT] &= segment_flags(index, self.count());
            transport[tcp::CHECKSUM_AT..tcp::CHECKSUM_AT + 2].fill(0);
            let checksum = pseudo.bytes(transport).finish();
            transport[tcp::CHECKSUM_AT..tcp::CHECKSUM_AT + 2].copy_from_slice(&checksum);
        } else {
            put16(transport, udp::LENGTH_AT, transport.len() as u16);
            transport[udp::CHECKSUM_AT..udp::CHECKSUM_AT + 2].fill(0);
            let checksum = pseudo.bytes(transport).finish_udp();
            transport[udp::CHECKSUM_AT..udp::CHECKSUM_AT + 2].copy_from_slice(&checksum);
        }
    }
}

/// The flags that a segment keeps: FIN and PSH belong to the end of the data, CWR to its beginning (RFC 3168 section 6.1.2).
fn segment_flags(index: usize, count: usize) -> u8 {
    let end = if index + 1 == count { 0 } else { tcp::FIN | tcp::PSH };
    let start = if index == 0 { 0 } else { tcp::CWR };
    !(end | start)
}

fn unsummed(header: &VirtioNetHeader, packet: &[u8]) -> Result<Kind, Malformed> {
    let start = usize::from(header.csum_start);
    let field = start + usize::from(header.csum_offset);
    if field + 2 > packet.len() {
        return Err(Malformed::Segmentation);
    }
    Ok(Kind::Unsummed { start, field })
}

fn segments(header: &VirtioNetHeader, packet: &[u8], ip: &IpHeader, protocol: u8) -> Result<Kind, Malformed> {
    if ip.protocol != protocol || ip.fragment != Fragment::Whole || header.gso_size == 0 {
        return Err(Malformed::Segmentation);
    }
    let transport = &packet[ip.transport..];
    let transport_header_len = match protocol {
        protocol::TCP => TcpView::new(transport).ok_or(Malformed::Truncated)?.header_len(),
        _ if transport.len() >= udp::HEADER_LEN => udp::HEADER_LEN,
        _ => return Err(Malformed::Truncated),
    };
    Ok(Kind::Segments { header_len: ip.transport + transport_header_len, segment: usize::from(header.gso_size) })
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
