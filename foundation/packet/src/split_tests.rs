use super::*;
use crate::testing::{Tcp, header_checksum_is_valid, leave_partial, transport_checksum_is_valid, udp as datagram, v4, v4_id, v6};
use crate::virtio::{FLAG_NEEDS_CSUM, GSO_ECN, GSO_UDP};
use proptest::prelude::*;

fn pieces(packet: &SuperPacket<'_>) -> Vec<Vec<u8>> {
    (0..packet.count())
        .map(|index| {
            let mut out = vec![0xee; packet.len(index)];
            packet.write(index, &mut out);
            out
        })
        .collect()
}

fn gso(gso_type: u8, gso_size: u16) -> VirtioNetHeader {
    VirtioNetHeader { gso_type, gso_size, flags: FLAG_NEEDS_CSUM, ..VirtioNetHeader::default() }
}

fn assert_valid(packet: &[u8]) {
    assert_eq!(IpHeader::parse(packet).unwrap().length, packet.len());
    assert!(header_checksum_is_valid(packet) && transport_checksum_is_valid(packet));
}

#[test]
fn tcp_flags_sequence_and_identification() {
    let payload: Vec<u8> = (0..2500u32).map(|n| n as u8).collect();
    let flags = tcp::ACK | tcp::PSH | tcp::FIN | tcp::CWR | tcp::ECE;
    let segment = Tcp { sequence: u32::MAX - 999, flags, payload: payload.clone(), options: vec![1; 12], ..Tcp::default() }.bytes();
    let mut four = v4(protocol::TCP, &segment);
    let mut six = v6(protocol::TCP, &segment);
    for (packet, gso_type) in [(&mut four, GSO_TCPV4 | GSO_ECN), (&mut six, GSO_TCPV6)] {
        leave_partial(packet);
        let whole = SuperPacket::parse(&gso(gso_type, 1000), packet).unwrap();
        let pieces = pieces(&whole);
        let seen: Vec<_> = pieces
            .iter()
            .map(|piece| {
                assert_valid(piece);
                let ip = IpHeader::parse(piece).unwrap();
                let view = TcpView::new(&piece[ip.transport..]).unwrap();
                assert_eq!(view.options(), [1; 12]);
                (view.sequence(), view.flags(), view.payload().len())
            })
            .collect();
        let middle = tcp::ACK | tcp::ECE;
        assert_eq!(seen, [(u32::MAX - 999, middle | tcp::CWR, 1000), (0, middle, 1000), (1000, middle | tcp::PSH | tcp::FIN, 500)]);
        let joined: Vec<u8> =
            pieces.iter().flat_map(|piece| piece[piece.len() - (piece.len() - whole.ip.transport - 32)..].to_vec()).collect();
        assert_eq!(joined, payload);
    }
    let whole = SuperPacket::parse(&gso(GSO_TCPV4, 1000), &four).unwrap();
    assert_eq!(pieces(&whole).iter().map(|piece| v4_id(piece)).collect::<Vec<_>>(), [0x1234, 0x1235, 0x1236]);
    assert_eq!(whole.max_len(), 1052);
    let smaller = whole.resized(652).unwrap();
    assert_eq!((smaller.count(), smaller.max_len()), (5, 652));
    assert!(whole.resized(52).is_none());
}

#[test]
fn udp_lengths_and_checksums() {
    for mut packet in [v4(protocol::UDP, &datagram((53, 54), &[9; 1300])), v6(protocol::UDP, &datagram((53, 54), &[9; 1300]))] {
        leave_partial(&mut packet);
        let whole = SuperPacket::parse(&gso(GSO_UDP_L4, 500), &packet).unwrap();
        let pieces = pieces(&whole);
        assert_eq!(pieces.iter().map(|piece| piece.len() - whole.ip.transport - 8).collect::<Vec<_>>(), [500, 500, 300]);
        for piece in &pieces {
            assert_valid(piece);
            assert_eq!(usize::from(be16(piece, whole.ip.transport + 4)), piece.len() - whole.ip.transport);
        }
        assert!(whole.resized(300).is_none(), "datagrams keep their boundaries");
    }
}

#[test]
fn a_single_packet_gets_its_checksum() {
    let tcp_segment = Tcp { payload: vec![5; 77], ..Tcp::default() }.bytes();
    for finished in [v4(protocol::TCP, &tcp_segment), v6(protocol::UDP, &datagram((1, 2), b"abc")), v4(protocol::ICMP, &[8, 0, 1, 2])] {
        let plain = SuperPacket::parse(&VirtioNetHeader::default(), &finished).unwrap();
        assert_eq!(pieces(&plain), std::slice::from_ref(&finished));
        if plain.ip.protocol == protocol::ICMP {
            continue;
        }
        let mut partial = finished.clone();
        let (csum_start, csum_offset) = leave_partial(&mut partial);
        let header = VirtioNetHeader { flags: FLAG_NEEDS_CSUM, csum_start, csum_offset, ..VirtioNetHeader::default() };
        assert_eq!(pieces(&SuperPacket::parse(&header, &partial).unwrap()), [finished]);
    }
}

#[test]
fn padding_is_cut_off() {
    let mut packet = v4(protocol::UDP, &datagram((1, 2), b"abc"));
    let length = packet.len();
    packet.extend([0; 20]);
    assert_eq!(SuperPacket::parse(&VirtioNetHeader::default(), &packet).unwrap().max_len(), length);
}

#[test]
fn refuses_segmentation_that_does_not_fit() {
    let tcp4 = v4(protocol::TCP, &Tcp { payload: vec![0; 100], ..Tcp::default() }.bytes());
    let udp4 = v4(protocol::UDP, &datagram((1, 2), &[0; 100]));
    for (header, packet) in [
        (gso(GSO_TCPV4, 0), &tcp4),
        (gso(GSO_TCPV6, 10), &tcp4),
        (gso(GSO_UDP_L4, 10), &tcp4),
        (gso(GSO_TCPV4, 10), &udp4),
        (gso(GSO_UDP, 10), &udp4),
        (gso(77, 10), &udp4),
        (VirtioNetHeader { flags: FLAG_NEEDS_CSUM, csum_start: 120, csum_offset: 8, ..VirtioNetHeader::default() }, &udp4),
    ] {
        assert_eq!(SuperPacket::parse(&header, packet).unwrap_err(), Malformed::Segmentation);
    }
}

proptest! {
    #[test]
    fn arbitrary_input_is_split_or_refused(
        mut packet in prop::collection::vec(any::<u8>(), 0..200),
        header: [u8; 10],
        version in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60]),
        protocol in prop::sample::select(vec![0u8, 6, 17, 44, 51, 58, 60]),
    ) {
        if packet.len() >= 10 {
            packet[0] = version;
            let length = packet.len() as u16;
            if version == 0x60 {
                packet[6] = protocol;
                put16(&mut packet, 4, length.saturating_sub(40));
            } else {
                packet[9] = protocol;
                put16(&mut packet, 2, length);
                put16(&mut packet, 6, 0);
            }
        }
        if let Ok(whole) = SuperPacket::parse(&VirtioNetHeader::decode(&header), &packet) {
            pieces(&whole);
            whole.ip().ports(&packet);
        }
    }
}
