use super::*;
use crate::split::SuperPacket;
use crate::testing::{Tcp, header_checksum_is_valid, transport_checksum_is_valid, udp as datagram, v4, v4_with_options, v6};
use proptest::prelude::*;

type Emitted = (VirtioNetHeader, Vec<u8>);

fn run(packets: &[Vec<u8>]) -> Vec<Emitted> {
    let mut buffers = packets.to_vec();
    let mut out = vec![];
    let mut emit = |header: &VirtioNetHeader, parts: &[IoSlice<'_>]| {
        out.push((*header, parts.iter().flat_map(|part| part.to_vec()).collect()));
    };
    let mut coalescer = Coalescer::new(true, true);
    for packet in &mut buffers {
        let ip = IpHeader::parse(packet).unwrap();
        coalescer.push(packet, &ip, &mut emit);
    }
    coalescer.flush(&mut emit);
    out
}

fn split(emitted: &[Emitted]) -> Vec<Vec<u8>> {
    let mut packets = vec![];
    for (header, bytes) in emitted {
        let whole = SuperPacket::parse(header, bytes).unwrap();
        for index in 0..whole.count() {
            let mut out = vec![0; whole.len(index)];
            whole.write(index, &mut out);
            packets.push(out);
        }
    }
    packets
}

fn set_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        crate::put16(&mut packet, 4, id);
        crate::ip::renew_v4_checksum(&mut packet[..20]);
    }
    packet
}

/// `sizes` are payloads of consecutive segments.
fn stream(is_v4: bool, base: &Tcp, sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut sequence = base.sequence;
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let payload: Vec<u8> = (0..*size).map(|n| (n + index * 7) as u8).collect();
            let segment = Tcp { sequence, payload, ..base.clone() }.bytes();
            sequence = sequence.wrapping_add(*size as u32);
            set_id(if is_v4 { v4(protocol::TCP, &segment) } else { v6(protocol::TCP, &segment) }, 100 + index as u16)
        })
        .collect()
}

#[test]
fn a_stream_becomes_one_super_packet_with_a_header_the_kernel_can_split() {
    for (is_v4, gso_type) in [(true, GSO_TCPV4), (false, GSO_TCPV6)] {
        let base = Tcp { sequence: u32::MAX - 500, options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], ..Tcp::default() };
        let mut packets = stream(is_v4, &base, &[1000, 1000, 1000, 400]);
        packets.extend(stream(is_v4, &Tcp { ports: (1, 2), ..Tcp::default() }, &[10]));
        let out = run(&packets);
        assert_eq!(out.len(), 2);
        let (header, bytes) = &out[0];
        assert_eq!((header.gso_type, header.gso_size, header.flags), (gso_type, 1000, FLAG_NEEDS_CSUM));
        assert!(header_checksum_is_valid(bytes));
        assert_eq!(IpHeader::parse(bytes).unwrap().length, bytes.len());
        assert_eq!(out[1].0, VirtioNetHeader::default());
        assert_eq!(split(&out), packets);
    }
}

#[test]
fn datagrams_of_one_size_become_one_super_packet() {
    let packets: Vec<_> = [700, 700, 200, 700]
        .iter()
        .enumerate()
        .map(|(n, size)| set_id(v4(protocol::UDP, &datagram((9, 10), &vec![n as u8; *size])), n as u16))
        .collect();
    let out = run(&packets);
    assert_eq!(out.iter().map(|(header, bytes)| (header.gso_type, bytes.len())).collect::<Vec<_>>(), [(GSO_UDP_L4, 28 + 1600), (0, 728)]);
    assert_eq!(split(&out), packets);
}

#[test]
fn what_gro_would_not_merge_stays_apart() {
    let plain = || stream(true, &Tcp::default(), &[100, 100]);
    let second = |change: &dyn Fn(&mut Tcp)| {
        let mut packets = plain();
        let mut tcp = Tcp { sequence: 101, payload: vec![0; 100], ..Tcp::default() };
        change(&mut tcp);
        packets[1] = set_id(v4(protocol::TCP, &tcp.bytes()), 101);
        packets
    };
    let ip_change = |at: usize, value: u8| {
        let mut packets = plain();
        packets[1][at] = value;
        crate::ip::renew_v4_checksum(&mut packets[1][..20]);
        packets
    };
    let mut damaged_first = plain();
    damaged_first[0][60] ^= 1;
    let mut damaged_second = plain();
    damaged_second[1][60] ^= 1;
    let mut no_checksum = vec![v4(protocol::UDP, &datagram((1, 2), &[1; 50])); 2];
    no_checksum.iter_mut().for_each(|packet| packet[26..28].fill(0));
    let cases = [
        second(&|tcp| tcp.sequence = 102),
        second(&|tcp| tcp.acknowledgment = 3),
        second(&|tcp| tcp.window = 1),
        second(&|tcp| tcp.flags |= tcp::FIN),
        second(&|tcp| tcp.flags |= tcp::URG),
        second(&|tcp| tcp.flags |= tcp::CWR),
        second(&|tcp| tcp.flags |= tcp::ECE),
        second(&|tcp| tcp.options = vec![1, 1, 1, 1]),
        second(&|tcp| tcp.payload = vec![0; 101]),
        second(&|tcp| tcp.payload = vec![]),
        ip_change(1, 4),
        ip_change(8, 63),
        ip_change(6, 0),
        ip_change(5, 200),
        damaged_first,
        damaged_second,
        no_checksum,
        vec![v4_with_options(protocol::UDP, &[1; 4], &datagram((1, 2), &[1; 50])); 2],
    ];
    for (index, packets) in cases.iter().enumerate() {
        let out = run(packets);
        assert_eq!(out.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(), *packets, "case {index}");
        assert!(out.iter().all(|(header, _)| *header == VirtioNetHeader::default()), "case {index}");
    }
}

#[test]
fn push_ends_a_super_packet_and_survives() {
    let mut packets = stream(true, &Tcp::default(), &[100, 100]);
    packets.push(set_id(
        v4(protocol::TCP, &Tcp { sequence: 201, flags: tcp::ACK | tcp::PSH, payload: vec![1; 100], ..Tcp::default() }.bytes()),
        102,
    ));
    packets.push(set_id(v4(protocol::TCP, &Tcp { sequence: 301, payload: vec![1; 100], ..Tcp::default() }.bytes()), 103));
    let out = run(&packets);
    assert_eq!(out.len(), 2);
    assert_eq!(split(&out), packets);
}

#[test]
fn a_constant_identification_is_merged_only_under_df() {
    let packets: Vec<_> = stream(true, &Tcp::default(), &[100, 100]).into_iter().map(|packet| set_id(packet, 0)).collect();
    assert_eq!(run(&packets).len(), 1);
    let allowed: Vec<_> = packets
        .into_iter()
        .map(|mut packet| {
            packet[6] = 0;
            set_id(packet, 0)
        })
        .collect();
    assert_eq!(run(&allowed).len(), 2);
}

#[test]
fn a_fragment_never_overtakes_its_flow() {
    let mut packets: Vec<_> = (0..2).map(|n| set_id(v4(protocol::UDP, &datagram((9, 10), &[n; 64])), u16::from(n))).collect();
    let mut fragment = v4(protocol::UDP, &[3; 64]);
    crate::put16(&mut fragment, 6, 10);
    packets.push(fragment.clone());
    let out = run(&packets);
    assert_eq!((out.len(), &out[1].1), (2, &fragment));
}

#[test]
fn a_super_packet_holds_no_more_than_ip_can_say() {
    let packets = stream(true, &Tcp::default(), &[1400; 130]);
    let out = run(&packets);
    assert!(out.iter().all(|(_, bytes)| bytes.len() <= 65_535) && out.len() <= 4);
    assert_eq!(split(&out), packets);
    let tiny = stream(true, &Tcp::default(), &[10; 200]);
    assert_eq!(split(&run(&tiny)), tiny);
}

fn flow_of(packet: &[u8]) -> (Vec<u8>, u8) {
    let ip = IpHeader::parse(packet).unwrap();
    (packet[ip.transport..ip.transport + 4].to_vec(), packet[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Interleaved flows: every flow comes out complete, unchanged and in order, and every packet is valid.
    #[test]
    fn coalesce_then_split_is_the_same_stream(
        steps in prop::collection::vec((0u16..7, prop::sample::select(vec![1usize, 99, 500, 500, 500, 1360]), any::<bool>(), 0u8..12), 1..120)
    ) {
        let mut sequences = [u32::MAX - 3000; 7];
        let mut ids = [65_000u16; 7];
        let mut packets = vec![];
        for (flow, size, push, oddity) in steps {
            let index = usize::from(flow);
            let payload = vec![size as u8 ^ flow as u8; if oddity == 0 { 0 } else { size }];
            let flags = tcp::ACK | if push { tcp::PSH } else { 0 } | if oddity == 1 { tcp::FIN } else { 0 };
            let sequence = if oddity == 2 { sequences[index].wrapping_sub(9) } else { sequences[index] };
            sequences[index] = sequences[index].wrapping_add(payload.len() as u32);
            let tcp = Tcp { ports: (flow, 443), sequence, flags, payload: payload.clone(), ..Tcp::default() };
            let packet = match flow % 3 {
                0 => v4(protocol::TCP, &tcp.bytes()),
                1 => v6(protocol::TCP, &tcp.bytes()),
                _ => v4(protocol::UDP, &datagram((flow, 443), &payload)),
            };
            ids[index] = ids[index].wrapping_add(1);
            packets.push(set_id(packet, ids[index]));
        }
        let out = run(&packets);
        let back = split(&out);
        prop_assert_eq!(back.len(), packets.len());
        for flow in 0..7u16 {
            let of = |all: &[Vec<u8>]| all.iter().filter(|packet| flow_of(packet).0[..2] == flow.to_be_bytes()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(of(&back), of(&packets));
        }
        for packet in &back {
            prop_assert!(header_checksum_is_valid(packet) && transport_checksum_is_valid(packet));
        }
    }
}
