use super::*;
use crate::tcp::TcpView;
use crate::testing::{Tcp, udp, v4, v4_with_options, v6, v6_chain};
use crate::udp::UdpView;
use proptest::prelude::*;

#[test]
fn finds_the_transport_behind_options_and_extension_headers() {
    let datagram = udp((500, 4500), b"hello");
    let with_options = v4_with_options(protocol::UDP, &[1, 1, 1, 0], &datagram);
    let ip = IpHeader::parse(&with_options).unwrap();
    assert_eq!((ip.transport, ip.protocol, ip.ports(&with_options)), (24, 17, Some((500, 4500))));
    assert!(!ip.is_plain());

    let hop = [protocol::AH, 0, 1, 4, 0, 0, 0, 0];
    let ah = [protocol::DESTINATION_OPTIONS, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let options = [protocol::UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let chain = v6_chain(protocol::HOP_BY_HOP, &[&hop[..], &ah, &options].concat(), &datagram);
    let ip = IpHeader::parse(&chain).unwrap();
    assert_eq!((ip.transport, ip.protocol, ip.ports(&chain)), (40 + 8 + 24 + 16, 17, Some((500, 4500))));
    assert!(ip.transport_checksum_holds(&chain));
}

#[test]
fn fragments_of_both_families() {
    let fragment_header = |word: u16| [&[protocol::UDP, 0][..], &word.to_be_bytes(), &[0, 0, 0, 9]].concat();
    for (word, expected, ports) in [(1, Fragment::First, Some((1, 2))), (8, Fragment::Later, None), (0, Fragment::Whole, Some((1, 2)))] {
        let six = v6_chain(protocol::FRAGMENT, &fragment_header(word), &udp((1, 2), &[0; 8]));
        let ip = IpHeader::parse(&six).unwrap();
        assert_eq!((ip.fragment, ip.ports(&six), ip.protocol, ip.transport), (expected, ports, 17, 48));
    }
    // What follows in a later fragment is payload, even if the header names an extension.
    let mut later = v6_chain(protocol::FRAGMENT, &fragment_header(16), &[0xff; 8]);
    later[40] = protocol::HOP_BY_HOP;
    assert_eq!(IpHeader::parse(&later).unwrap().transport, 48);

    let mut four = v4(protocol::UDP, &udp((1, 2), &[0; 8]));
    for (word, expected) in [(0x4000, Fragment::Whole), (0x2000, Fragment::First), (0x0005, Fragment::Later)] {
        put16(&mut four, 6, word);
        let ip = IpHeader::parse(&four).unwrap();
        assert_eq!((ip.fragment, ip.dont_fragment), (expected, word == 0x4000));
    }
}

#[test]
fn icmp_type_and_code_stand_for_ports() {
    let packet = v4(protocol::ICMP, &[8, 1, 0, 0]);
    assert_eq!(IpHeader::parse(&packet).unwrap().ports(&packet), Some((0x0801, 0x0801)));
    let short = v4(protocol::TCP, &[0, 1, 0]);
    assert_eq!(IpHeader::parse(&short).unwrap().ports(&short), None);
}

#[test]
fn every_truncation_is_refused() {
    let chain = v6_chain(protocol::HOP_BY_HOP, &[protocol::TCP, 0, 1, 4, 0, 0, 0, 0], &Tcp::default().bytes());
    for packet in [v4(protocol::TCP, &Tcp::default().bytes()), chain, v6(protocol::UDP, &udp((1, 2), b"x"))] {
        for cut in 0..packet.len() {
            assert_eq!(IpHeader::parse(&packet[..cut]), Err(Malformed::Truncated), "cut at {cut}");
        }
    }
    assert_eq!(IpHeader::parse(&[0x50; 40]), Err(Malformed::Version));
    let mut short_header = v4(protocol::UDP, &[0; 8]);
    short_header[0] = 0x44;
    assert_eq!(IpHeader::parse(&short_header), Err(Malformed::HeaderLength));
    let mut short_length = v4(protocol::UDP, &[0; 8]);
    put16(&mut short_length, 2, 19);
    assert_eq!(IpHeader::parse(&short_length), Err(Malformed::HeaderLength));
    let endless = v6_chain(protocol::DESTINATION_OPTIONS, &[protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0].repeat(20), &[]);
    assert_eq!(IpHeader::parse(&endless), Err(Malformed::ExtensionHeaders));
    // The chain leaves the packet inside an extension header.
    let outside = v6_chain(protocol::HOP_BY_HOP, &[protocol::TCP, 2, 1, 4, 0, 0, 0, 0], &[0; 8]);
    assert_eq!(IpHeader::parse(&outside), Err(Malformed::Truncated));
}

#[test]
fn transport_views() {
    let segment = Tcp { options: vec![1, 1, 1, 1], payload: b"data".to_vec(), ..Tcp::default() }.bytes();
    let view = TcpView::new(&segment).unwrap();
    assert_eq!((view.source_port(), view.destination_port(), view.sequence(), view.acknowledgment()), (40000, 443, 1, 2));
    assert_eq!((view.window(), view.header_len(), view.payload()), (500, 24, &b"data"[..]));
    assert!(TcpView::new(&segment[..23]).is_none() && TcpView::new(&segment[..12]).is_none());
    let datagram = udp((7, 8), b"abc");
    let view = UdpView::new(&datagram).unwrap();
    assert_eq!((view.source_port(), view.destination_port(), view.length(), view.checksum(), view.payload()), (7, 8, 11, 0, &b"abc"[..]));
    assert!(UdpView::new(&datagram[..10]).is_none() && UdpView::new(&[0; 8]).is_none());
}

proptest! {
    #[test]
    fn never_panics(packet in prop::collection::vec(any::<u8>(), 0..160)) {
        if let Ok(ip) = IpHeader::parse(&packet) {
            prop_assert!(ip.transport <= ip.length && ip.length <= packet.len());
            ip.ports(&packet);
            ip.transport_checksum_holds(&packet);
            crate::mss::clamp(&mut packet.clone(), &ip, 500);
            crate::icmp::too_big(&packet, &ip, 500, &mut [0; crate::icmp::MAX_LEN]);
            crate::ecn::decapsulate(&mut packet.clone(), 3);
            if let Some(fragments) = crate::Ipv4Fragments::new(&packet, &ip, 68) {
                for index in 0..fragments.count() {
                    fragments.write(index, &mut vec![0; fragments.len(index)]);
                }
            }
            let mut copy = packet.clone();
            let mut coalescer = crate::Coalescer::new(true, true);
            coalescer.push(&mut copy, &ip, &mut |_, _| ());
            coalescer.flush(&mut |_, _| ());
        }
    }
}
