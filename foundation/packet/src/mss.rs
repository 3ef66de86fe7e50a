//! Clamping the maximum segment size that TCP announces (RFC 9293 section 3.7.1), so that segments fit the tunnel.
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN};
use crate::tcp::{self, TcpView};
use crate::{Fragment, IpHeader, be16, checksum, protocol, put16};

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// The segment size that fits packets of `mtu` bytes: without options, as the announcement counts (RFC 6691).
pub fn for_mtu(mtu: usize, is_v4: bool) -> u16 {
    let headers = tcp::HEADER_LEN + if is_v4 { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN };
    u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX)
}

/// Lowers the MSS option of a SYN to `max`; all other packets, and options that are lower already, stay. The checksum must be complete
/// (not left to hardware); it is updated. True when the packet changed.
pub fn clamp(packet: &mut [u8], ip: &IpHeader, max: u16) -> bool {
    if ip.protocol != protocol::TCP || ip.fragment != Fragment::Whole {
        return false;
    }
    let Some(transport) = packet.get_mut(ip.transport..ip.length) else { return false };
    let Some(view) = TcpView::new(transport).filter(|view| view.flags() & tcp::SYN != 0) else { return false };
    let Some(at) = find_option(view.options()).map(|at| at + tcp::HEADER_LEN) else { return false };
    let announced = be16(transport, at);
    if announced <= max {
        return false;
    }
    put16(transport, at, max);
    checksum::update(&mut transport[tcp::CHECKSUM_AT..], announced, max, at % 2 == 1);
    true
}

/// Offset of the value of the MSS option.
fn find_option(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 || at + len > options.len() {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tcp, transport_checksum_is_valid, v4, v6};

    fn syn(options: &[u8]) -> Vec<u8> {
        v4(protocol::TCP, &Tcp { flags: tcp::SYN, options: options.to_vec(), ..Tcp::default() }.bytes())
    }

    #[test]
    fn lowers_the_option_of_both_families_at_any_alignment() {
        for options in
            [vec![2, 4, 0x05, 0xb4], vec![1, 2, 4, 0x05, 0xb4, 1, 1, 0], vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0x05, 0xb4, 1, 1]]
        {
            let segment = Tcp { flags: tcp::SYN | tcp::ACK, options, ..Tcp::default() }.bytes();
            for mut packet in [v4(protocol::TCP, &segment), v6(protocol::TCP, &segment)] {
                let ip = IpHeader::parse(&packet).unwrap();
                assert!(clamp(&mut packet, &ip, 1300));
                let at = find_option(TcpView::new(&packet[ip.transport..]).unwrap().options()).unwrap();
                assert_eq!(be16(&packet, ip.transport + 20 + at), 1300);
                assert!(transport_checksum_is_valid(&packet));
                assert!(!clamp(&mut packet, &ip, 1300), "a second pass changes nothing");
            }
        }
    }

    #[test]
    fn leaves_everything_else_alone() {
        let low = syn(&[2, 4, 0x02, 0x00]);
        let none = syn(&[]);
        let cut = syn(&[1, 1, 1, 2]);
        let zero_len = syn(&[3, 0, 2, 4]);
        let no_syn = v4(protocol::TCP, &Tcp { flags: tcp::ACK, options: vec![2, 4, 5, 180], ..Tcp::default() }.bytes());
        for packet in [low, none, cut, zero_len, no_syn] {
            let mut copy = packet.clone();
            assert!(!clamp(&mut copy, &IpHeader::parse(&packet).unwrap(), 1300));
            assert_eq!(copy, packet);
        }
    }

    #[test]
    fn mss_of_an_mtu() {
        assert_eq!(for_mtu(1400, true), 1360);
        assert_eq!(for_mtu(1400, false), 1340);
        assert_eq!(for_mtu(10, true), 0);
    }
}
