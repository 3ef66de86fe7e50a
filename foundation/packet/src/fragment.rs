//! Fragmenting IPv4 packets whose sender allows it (RFC 791 section 2.3).
use crate::ip::{IPV4_HEADER_LEN, renew_v4_checksum};
use crate::{IpHeader, be16, put16};

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// Options with this bit are copied into every fragment (RFC 791 section 3.1).
const COPIED: u8 = 0x80;

/// A finished IPv4 packet, cut so that every piece fits.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4Fragments<'a> {
    packet: &'a [u8],
    header_len: usize,
    /// Payload bytes of each fragment but the last, a multiple of 8.
    piece: usize,
}

impl<'a> Ipv4Fragments<'a> {
    /// `None` when the packet is IPv6, forbids fragments, or `max_len` has no room for a header and 8 bytes. `ip` describes `packet`.
    pub fn new(packet: &'a [u8], ip: &IpHeader, max_len: usize) -> Option<Self> {
        if !ip.is_v4() || ip.dont_fragment {
            return None;
        }
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        let piece = max_len.checked_sub(header_len)? / 8 * 8;
        (piece > 0).then_some(Self { packet: &packet[..ip.length], header_len, piece })
    }

    /// How many fragments, at least 1.
    pub fn count(&self) -> usize {
        self.payload_len().div_ceil(self.piece).max(1)
    }

    /// Length of the fragment `index`, in bytes.
    pub fn len(&self, index: usize) -> usize {
        self.header_len + self.payload_len().saturating_sub(index * self.piece).min(self.piece)
    }

    /// Never: there is a header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the fragment `index`.
    ///
    /// # Panics
    /// When `out` is not [`Self::len`] long.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        assert_eq!(out.len(), self.len(index), "place for fragment {index}");
        let from = self.header_len + index * self.piece;
        let (header, payload) = out.split_at_mut(self.header_len);
        header.copy_from_slice(&self.packet[..self.header_len]);
        payload.copy_from_slice(&self.packet[from..from + payload.len()]);
        if index > 0 {
            drop_uncopied_options(&mut header[IPV4_HEADER_LEN..]);
        }
        let original = be16(self.packet, 6);
        let more = if index + 1 < self.count() { MORE_FRAGMENTS } else { original & MORE_FRAGMENTS };
        let offset = (original & OFFSET_MASK) + (index * self.piece / 8) as u16;
        put16(header, 6, (original & !(MORE_FRAGMENTS | OFFSET_MASK)) | more | (offset & OFFSET_MASK));
        put16(header, 2, (header.len() + payload.len()) as u16);
        renew_v4_checksum(header);
    }

    fn payload_len(&self) -> usize {
        self.packet.len() - self.header_len
    }
}

/// Later fragments keep the header length; what they must not repeat becomes "no operation".
fn drop_uncopied_options(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let kind = options[at];
        if kind == END_OF_OPTIONS {
            return;
        }
        if kind == NO_OPERATION {
            at += 1;
            continue;
        }
        let len = options.get(at + 1).map_or(1, |len| usize::from(*len)).max(2).min(options.len() - at);
        if kind & COPIED == 0 {
            options[at..at + len].fill(NO_OPERATION);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fragment;
    use crate::testing::{header_checksum_is_valid, v4, v4_with_options, v6};

    fn pieces(packet: &[u8], max: usize) -> Vec<Vec<u8>> {
        let fragments = Ipv4Fragments::new(packet, &IpHeader::parse(packet).unwrap(), max).unwrap();
        (0..fragments.count())
            .map(|index| {
                let mut out = vec![0; fragments.len(index)];
                fragments.write(index, &mut out);
                out
            })
            .collect()
    }

    fn allow(mut packet: Vec<u8>) -> Vec<u8> {
        packet[6] &= !0x40;
        let header_len = usize::from(packet[0] & 15) * 4;
        renew_v4_checksum(&mut packet[..header_len]);
        packet
    }

    #[test]
    fn pieces_fit_and_make_the_payload_again() {
        let payload: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        let packet = allow(v4(17, &payload));
        for max in [28, 576, 1399, 1400, 3019, 3020, 4000] {
            let mut whole = vec![];
            let pieces = pieces(&packet, max);
            for (index, piece) in pieces.iter().enumerate() {
                let ip = IpHeader::parse(piece).unwrap();
                assert!(piece.len() <= max && ip.length == piece.len() && header_checksum_is_valid(piece));
                assert_eq!(usize::from(be16(piece, 6) & OFFSET_MASK) * 8, whole.len());
                let expected = if pieces.len() == 1 {
                    Fragment::Whole
                } else if index == 0 {
                    Fragment::First
                } else {
                    Fragment::Later
                };
                assert_eq!(ip.fragment, expected);
                assert_eq!(be16(piece, 6) & MORE_FRAGMENTS == 0, index + 1 == pieces.len());
                whole.extend_from_slice(&piece[20..]);
            }
            assert!(whole == packet[20..]);
        }
    }

    #[test]
    fn fragments_of_a_fragment_keep_its_place() {
        let payload: Vec<u8> = vec![7; 2000];
        let mut packet = allow(v4(17, &payload));
        put16(&mut packet, 6, MORE_FRAGMENTS | 100);
        renew_v4_checksum(&mut packet[..20]);
        let pieces = pieces(&packet, 1020);
        assert_eq!(pieces.iter().map(|piece| be16(piece, 6)).collect::<Vec<_>>(), [MORE_FRAGMENTS | 100, MORE_FRAGMENTS | 225]);
    }

    #[test]
    fn only_copied_options_are_repeated() {
        // Record route (7, not copied), NOP, loose source route (131, copied), end.
        let options = [7, 3, 4, 1, 131, 3, 4, 0];
        let pieces = pieces(&allow(v4_with_options(17, &options, &[0; 100])), 76);
        assert_eq!(pieces[0][20..28], options);
        assert_eq!(pieces[1][20..28], [1, 1, 1, 1, 131, 3, 4, 0]);
    }

    #[test]
    fn refuses_what_must_not_be_fragmented() {
        let df = v4(17, &[0; 100]);
        assert!(Ipv4Fragments::new(&df, &IpHeader::parse(&df).unwrap(), 60).is_none());
        let six = v6(17, &[0; 100]);
        assert!(Ipv4Fragments::new(&six, &IpHeader::parse(&six).unwrap(), 60).is_none());
        let packet = allow(v4(17, &[0; 100]));
        assert!(Ipv4Fragments::new(&packet, &IpHeader::parse(&packet).unwrap(), 27).is_none());
    }
}
