//! Explicit congestion notification across a tunnel (RFC 6040).
use crate::be16;
use crate::checksum;

/// "Congestion experienced", the low two bits of the traffic class.
pub const CE: u8 = 0b11;
const NOT_ECT: u8 = 0b00;

/// Carries a congestion mark of the outer header into the inner packet, which has passed [`crate::IpHeader::parse`]. False: the inner
/// sender does not know ECN, and the packet has to be dropped, because a loss is the only signal that it understands (RFC 6040 section 4.2).
pub fn decapsulate(packet: &mut [u8], outer_traffic_class: u8) -> bool {
    if outer_traffic_class & CE != CE {
        return true;
    }
    let is_v4 = packet[0] >> 4 == 4;
    let inner = if is_v4 { packet[1] & CE } else { (packet[1] >> 4) & CE };
    if inner == NOT_ECT {
        return false;
    }
    if is_v4 {
        let before = be16(packet, 0);
        packet[1] |= CE;
        let after = be16(packet, 0);
        checksum::update(&mut packet[10..], before, after, false);
    } else {
        packet[1] |= CE << 4;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IpHeader;
    use crate::testing::{header_checksum_is_valid, v4, v6};

    #[test]
    fn a_mark_goes_inside_or_the_packet_is_lost() {
        let mut marked = v4(17, &[0; 8]);
        marked[1] = 0b10;
        crate::ip::renew_v4_checksum(&mut marked[..20]);
        assert!(decapsulate(&mut marked, 0b01));
        assert_eq!(marked[1], 0b10);
        assert!(decapsulate(&mut marked, CE));
        assert_eq!(marked[1], CE);
        assert!(header_checksum_is_valid(&marked));
        assert!(!decapsulate(&mut v4(17, &[0; 8]), CE));

        let mut six = v6(17, &[0; 8]);
        six[1] |= 0b01 << 4;
        assert!(decapsulate(&mut six, CE));
        assert_eq!(six[1] >> 4, CE);
        assert!(IpHeader::parse(&six).is_ok());
    }
}
