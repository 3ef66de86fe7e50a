use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};

use super::{in_namespace, prefix, readable};
use crate::link::{self, Feature, Netlink, Segmentation};
use crate::tun::{self, Offload, TunDevice, TunOpenError, TunQueue, VNET_HEADER_LEN};
use crate::udp::{GRO_BUFFER_LEN, UdpOptions, UdpSocket};
use crate::{IoError, RecvBatch};

const NO_HEADER: [u8; VNET_HEADER_LEN] = [0; VNET_HEADER_LEN];
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

fn device(queues: usize) -> (TunDevice, UdpSocket) {
    let device = tun::open("evgtun%d", queues).unwrap();
    let mut netlink = Netlink::open().unwrap();
    netlink.set_up(device.index).unwrap();
    netlink.add_address(device.index, prefix("10.9.0.1/24")).unwrap();
    let socket = UdpSocket::bind(SocketAddr::from((HERE, 7_000)), &UdpOptions::default()).unwrap();
    (device, socket)
}

/// The next IPv4 UDP packet from any queue: header and packet. Whatever else the kernel sends (IPv6 router solicitations) is skipped.
fn next_udp(queues: &[TunQueue]) -> (Vec<u8>, Vec<u8>) {
    let mut buffer = vec![0; VNET_HEADER_LEN + 65_535];
    for _ in 0..1_000 {
        for queue in queues {
            if let Ok(len) = queue.read(&mut buffer) {
                let (header, packet) = buffer[..len].split_at(VNET_HEADER_LEN);
                if packet[0] == 0x45 && packet[9] == 17 {
                    return (header.to_vec(), packet.to_vec());
                }
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("no packet arrived");
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// IPv4 and UDP headers from THERE to HERE for `payload` bytes; without UDP checksum.
fn headers(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; 28];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((28 + payload) as u16).to_be_bytes());
    bytes[8] = 64;
    bytes[9] = 17;
    bytes[12..16].copy_from_slice(&THERE.octets());
    bytes[16..20].copy_from_slice(&HERE.octets());
    let sum = checksum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes[20..22].copy_from_slice(&9_000_u16.to_be_bytes());
    bytes[22..24].copy_from_slice(&7_000_u16.to_be_bytes());
    bytes[24..26].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    bytes
}

/// A UDP super-packet: virtio-net header, and headers whose checksum field holds the pseudo-header sum.
fn super_packet(payload: usize, segment: u16) -> ([u8; VNET_HEADER_LEN], Vec<u8>) {
    let mut packet = headers(payload);
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend_from_slice(&[0, 17]);
    pseudo.extend_from_slice(&((8 + payload) as u16).to_be_bytes());
    packet[26..28].copy_from_slice(&(!checksum(&pseudo)).to_be_bytes());
    let mut header = NO_HEADER;
    header[0] = 1;
    header[1] = 5;
    header[2..4].copy_from_slice(&28_u16.to_le_bytes());
    header[4..6].copy_from_slice(&segment.to_le_bytes());
    header[6..8].copy_from_slice(&20_u16.to_le_bytes());
    header[8..10].copy_from_slice(&6_u16.to_le_bytes());
    (header, packet)
}

#[test]
fn packets_go_both_ways() {
    in_namespace(|| {
        let (device, socket) = device(2);
        assert!(device.multi_queue && device.queues.len() == 2 && device.name.starts_with("evgtun"));
        assert_eq!(device.offload, Offload { vnet_header: true, checksum: true, tso: true, uso: true });
        assert_eq!(link::segmentation(&device.name).unwrap(), Segmentation { tcp: Feature::On, udp: Feature::On });
        socket.send(None, SocketAddr::from((THERE, 9_000)), b"ping").unwrap();
        let (header, packet) = next_udp(&device.queues);
        assert_eq!(header[1], 0);
        assert_eq!(&packet[12..20], [HERE.octets(), THERE.octets()].concat());
        assert_eq!(&packet[28..], b"ping");
        for queue in &device.queues {
            let written = queue.write_vectored(&NO_HEADER, &[IoSlice::new(&headers(4)), IoSlice::new(b"po"), IoSlice::new(b"ng")]);
            assert_eq!(written, Ok(32));
        }
        assert!(readable(&socket));
        let mut batch = RecvBatch::new(4, GRO_BUFFER_LEN);
        assert_eq!(socket.recv_batch(&mut batch), Ok(2));
        let message = batch.message(0);
        assert_eq!((&*message.bytes, message.source), (&b"pong"[..], SocketAddr::from((THERE, 9_000))));
    });
}

#[test]
fn super_packets_go_both_ways_in_one_call_each() {
    in_namespace(|| {
        let (device, socket) = device(1);
        let queue = &device.queues[0];
        let payload: Vec<u8> = (0..1_000 * 30 + 17).map(|index| (index % 251) as u8).collect();
        socket.send_segmented(None, SocketAddr::from((THERE, 9_000)), &payload, 1_000).unwrap();
        let (header, packet) = next_udp(&device.queues);
        assert_eq!((header[1], u16::from_le_bytes([header[4], header[5]])), (5, 1_000), "UDP super-packet of 1,000 byte segments");
        assert_eq!(&packet[28..], payload);
        let (header, packet) = super_packet(payload.len(), 1_000);
        let mut parts = vec![IoSlice::new(&packet)];
        parts.extend(payload.chunks(100).map(IoSlice::new));
        assert!(parts.len() > 200, "more parts than fit on the stack");
        assert_eq!(queue.write_vectored(&header, &parts), Ok(28 + payload.len()));
        assert!(readable(&socket));
        let mut batch = RecvBatch::new(4, GRO_BUFFER_LEN);
        assert_eq!(socket.recv_batch(&mut batch), Ok(1));
        assert_eq!(batch.message(0).segment_size, 1_000);
        assert_eq!(batch.message(0).bytes, payload);
    });
}

#[test]
fn a_refused_super_packet_is_told_apart_from_a_bad_packet() {
    in_namespace(|| {
        let (device, _socket) = device(1);
        let queue = &device.queues[0];
        let (mut header, packet) = super_packet(3_000, 1_000);
        header[1] = 0x7e;
        let parts = [IoSlice::new(&packet), IoSlice::new(&[0; 3_000])];
        assert_eq!(queue.write_vectored(&header, &parts), Err(IoError::GsoRefused(libc::EINVAL)));
        assert_eq!(queue.write(&NO_HEADER, &[0xff; 40]), Err(IoError::Other(libc::EINVAL)));
        assert_eq!(queue.read(&mut [0; 5]), Err(IoError::Other(libc::EINVAL)));
    });
}

#[test]
fn without_virtio_header_plain_packets_still_flow() {
    in_namespace(|| {
        let device = tun::open_plain("evgplain0").unwrap();
        assert_eq!(device.offload, Offload::default());
        assert_eq!(link::segmentation(&device.name).unwrap(), Segmentation { tcp: Feature::Off, udp: Feature::Off });
        let mut netlink = Netlink::open().unwrap();
        netlink.set_up(device.index).unwrap();
        netlink.add_address(device.index, prefix("10.9.0.1/24")).unwrap();
        let socket = UdpSocket::bind(SocketAddr::from((HERE, 7_000)), &UdpOptions::default()).unwrap();
        socket.send(None, SocketAddr::from((THERE, 9_000)), b"ping").unwrap();
        let (header, packet) = next_udp(&device.queues);
        assert_eq!(header, NO_HEADER);
        assert_eq!(&packet[28..], b"ping");
        let queue = &device.queues[0];
        assert_eq!(queue.write_vectored(&NO_HEADER, &[IoSlice::new(&headers(4)), IoSlice::new(b"pong")]), Ok(32));
        assert!(readable(&socket));
        let (header, packet) = super_packet(0, 1_000);
        assert!(matches!(queue.write(&header, &packet), Err(IoError::GsoRefused(_))));
    });
}

#[test]
fn a_device_in_use_is_reported_as_such() {
    in_namespace(|| {
        let _first = tun::open("evgbusy0", 1).unwrap();
        assert!(matches!(tun::open("evgbusy0", 1), Err(TunOpenError::Busy { name, .. }) if name == "evgbusy0"));
        assert!(matches!(tun::open("lo", 2), Err(TunOpenError::Busy { .. })));
    });
}
