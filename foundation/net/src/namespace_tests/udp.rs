use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use super::{in_namespace, interface_index, prefix, quiet, readable};
use crate::ike::IkeSocket;
use crate::link::Netlink;
use crate::raw::RawSocket;
use crate::udp::{GRO_BUFFER_LEN, UdpOptions, UdpSocket};
use crate::{Datagram, IoError, RecvBatch};

fn pair(address: &str) -> (UdpSocket, UdpSocket, SocketAddr) {
    let any: SocketAddr = address.parse().unwrap();
    let receiver = UdpSocket::bind(any, &UdpOptions::default()).unwrap();
    let sender = UdpSocket::bind(SocketAddr::new(any.ip(), 0), &UdpOptions::default()).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let dest = if any.is_ipv4() { SocketAddr::from(([127, 0, 0, 2], port)) } else { SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)) };
    (sender, receiver, dest)
}

/// Everything waiting, cut into datagrams.
fn drain(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut batch = RecvBatch::new(8, GRO_BUFFER_LEN);
    let mut datagrams = Vec::new();
    while socket.recv_batch(&mut batch).is_ok() {
        for message in batch.messages() {
            assert!(!message.truncated);
            datagrams.extend(message.bytes.chunks(message.segment_size.max(1)).map(<[u8]>::to_vec));
        }
    }
    datagrams
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 7) as u8).collect()
}

#[test]
fn segments_leave_in_one_call_and_arrive_merged() {
    in_namespace(|| {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let (sender, receiver, dest) = pair(address);
            assert!(sender.gso() && receiver.gro());
            let bytes = numbered(1_400 * 20 + 300);
            assert_eq!(sender.send_segmented(None, dest, &bytes, 1_400), Ok(bytes.len()));
            let mut batch = RecvBatch::new(4, GRO_BUFFER_LEN);
            assert_eq!(receiver.recv_batch(&mut batch), Ok(1), "merged into one message");
            let message = batch.message(0);
            assert_eq!(message.bytes, bytes);
            assert_eq!(message.segment_size, 1_400);
            assert_eq!(message.local, Some(dest.ip()));
            assert_eq!(message.source.port(), sender.local_addr().unwrap().port());
            assert_eq!(receiver.recv_batch(&mut batch), Err(IoError::WouldBlock));
            assert!(batch.is_empty());
        }
    });
}

#[test]
fn a_long_run_is_split_into_as_many_sends_as_needed() {
    in_namespace(|| {
        let (sender, receiver, dest) = pair("0.0.0.0:0");
        for (len, size) in [(1_400 * 200 + 1, 1_400), (80 * 150, 80), (1_000, 1_000), (1, 5), (65_507, 65_487)] {
            let bytes = numbered(len);
            assert_eq!(sender.send_segmented(None, dest, &bytes, size), Ok(len));
            assert_eq!(drain(&receiver), bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>(), "{len} by {size}");
        }
    });
}

#[test]
fn segments_above_the_device_mtu_arrive_all_the_same() {
    in_namespace(|| {
        Netlink::open().unwrap().set_mtu(interface_index("lo").unwrap(), 1_300).unwrap();
        for address in ["0.0.0.0:0", "[::]:0"] {
            let (sender, receiver, dest) = pair(address);
            let bytes = numbered(1_400 * 3 + 10);
            assert_eq!(sender.send_segmented(None, dest, &bytes, 1_400), Ok(bytes.len()));
            assert_eq!(drain(&receiver), bytes.chunks(1_400).map(<[u8]>::to_vec).collect::<Vec<_>>());
            assert!(sender.gso(), "a long segment says nothing about the next one");
        }
    });
}

#[test]
fn the_source_address_is_the_one_asked_for() {
    in_namespace(|| {
        let mut netlink = Netlink::open().unwrap();
        let lo = interface_index("lo").unwrap();
        netlink.add_address(lo, prefix("2001:db8::5/128")).unwrap();
        for (address, source) in [("0.0.0.0:0", "127.0.0.77"), ("[::]:0", "2001:db8::5")] {
            let (sender, receiver, dest) = pair(address);
            let source: IpAddr = source.parse().unwrap();
            sender.send(Some(source), dest, b"one").unwrap();
            sender.send_segmented(Some(source), dest, b"twotwo", 3).unwrap();
            let datagrams = [Datagram { source: Some(source), dest, bytes: b"three" }, Datagram { source: None, dest, bytes: b"" }];
            assert_eq!(sender.send_many(&datagrams), Ok(2));
            let mut batch = RecvBatch::new(8, GRO_BUFFER_LEN);
            assert_eq!(receiver.recv_batch(&mut batch), Ok(4));
            let sources: Vec<IpAddr> = batch.messages().map(|message| message.source.ip()).collect();
            assert_eq!(sources[..3], [source; 3]);
            assert_ne!(sources[3], source);
            assert_eq!(batch.message(3).segment_size, 0);
        }
    });
}

#[test]
fn errors_name_their_consequence() {
    in_namespace(|| {
        let (sender, receiver, dest) = pair("0.0.0.0:0");
        let nowhere = SocketAddr::from(([203, 0, 113, 1], 4_500));
        assert!(matches!(sender.send(None, nowhere, b"x"), Err(IoError::Unreachable(_))));
        let mixed = [Datagram { source: None, dest, bytes: b"good" }, Datagram { source: None, dest: nowhere, bytes: b"bad" }];
        assert_eq!(sender.send_many(&mixed), Ok(1));
        assert!(matches!(sender.send_many(&mixed[1..]), Err(IoError::Unreachable(_))));
        assert_eq!(drain(&receiver), [b"good"]);
        assert_eq!(sender.send_many(&[]), Ok(0));
    });
}

#[test]
fn a_batch_takes_no_more_than_its_capacity_and_marks_what_it_cut() {
    in_namespace(|| {
        let any = "127.0.0.1:0".parse().unwrap();
        let receiver = UdpSocket::bind(any, &UdpOptions { gro: false, ..UdpOptions::default() }).unwrap();
        let sender = UdpSocket::bind(any, &UdpOptions::default()).unwrap();
        let dest = receiver.local_addr().unwrap();
        for text in ["first", "second", "third"] {
            sender.send(None, dest, text.as_bytes()).unwrap();
        }
        let mut batch = RecvBatch::new(2, 5);
        assert_eq!(receiver.recv_batch(&mut batch), Ok(2));
        let seen: Vec<_> = batch.messages().map(|message| (message.bytes.to_vec(), message.truncated)).collect();
        assert_eq!(seen, [(b"first".to_vec(), false), (b"secon".to_vec(), true)]);
        assert_eq!(receiver.recv_batch(&mut batch), Ok(1));
        assert_eq!(batch.message(0).bytes, b"third");
    });
}

#[test]
fn a_full_buffer_is_would_block_and_whole_segments() {
    in_namespace(|| {
        // Nobody answers ARP at the far end, so packets wait for it and stay charged to the sender.
        let made = std::process::Command::new("ip").args("link add held0 type veth peer name held1".split(' ')).status().unwrap();
        assert!(made.success(), "ip from iproute2 is needed");
        let mut netlink = Netlink::open().unwrap();
        for name in ["held0", "held1"] {
            netlink.set_up(interface_index(name).unwrap()).unwrap();
        }
        netlink.add_address(interface_index("held0").unwrap(), prefix("10.9.0.1/24")).unwrap();
        let options = UdpOptions { buffer_bytes: 8_192, ..UdpOptions::default() };
        let sender = UdpSocket::bind("10.9.0.1:0".parse().unwrap(), &options).unwrap();
        let dest = "10.9.0.2:9".parse().unwrap();
        let bytes = numbered(1_000 * 640);
        match sender.send_segmented(None, dest, &bytes, 1_000) {
            Ok(taken) => assert!(taken < bytes.len() && taken % 1_000 == 0, "{taken}"),
            Err(error) => assert_eq!(error, IoError::WouldBlock),
        }
        assert_eq!(sender.send_segmented(None, dest, &bytes, 1_000), Err(IoError::WouldBlock));
    });
}

#[test]
fn the_control_socket_answers_from_the_address_it_was_asked_at() {
    in_namespace(|| {
        for (any, at) in [("0.0.0.0:500", "127.0.0.9:500"), ("[::]:500", "[::1]:500")] {
            let server = IkeSocket::bind(any.parse().unwrap()).unwrap();
            let client = std::net::UdpSocket::bind(if at.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
            let mut buffer = [0; 64];
            assert_eq!(server.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(server.standard().unwrap().recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            client.send_to(b"hello", at).unwrap();
            assert!(readable(&server.standard().unwrap()));
            let (len, remote, local) = server.recv(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], remote, local), (&b"hello"[..], client.local_addr().unwrap(), at.parse().unwrap()));
            server.send(b"answer", local.ip(), remote).unwrap();
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"answer"[..], at.parse().unwrap()));
        }
    });
}

#[test]
fn both_families_share_a_port() {
    in_namespace(|| {
        let options = UdpOptions::default();
        let v4 = UdpSocket::bind("0.0.0.0:4500".parse().unwrap(), &options).unwrap();
        let v6 = UdpSocket::bind("[::]:4500".parse().unwrap(), &options).unwrap();
        let client = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), &options).unwrap();
        client.send(None, "127.0.0.1:4500".parse().unwrap(), b"four").unwrap();
        assert_eq!(drain(&v4), [b"four"]);
        assert!(quiet(&v6));
    });
}

#[test]
fn raw_esp_travels_in_both_families() {
    in_namespace(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.add_address(interface_index("lo").unwrap(), prefix("2001:db8::5/128")).unwrap();
        for (any, source, dest) in [("0.0.0.0", "127.0.0.5", "127.0.0.6"), ("::", "2001:db8::5", "::1")] {
            let (source, dest): (IpAddr, IpAddr) = (source.parse().unwrap(), dest.parse().unwrap());
            let socket = RawSocket::open_esp(any.parse().unwrap(), 1 << 20).unwrap();
            let sender = RawSocket::open_esp(source, 1 << 20).unwrap();
            let packets: Vec<Vec<u8>> = (0..40_u8).map(|index| vec![index; 40 + usize::from(index)]).collect();
            let datagrams: Vec<_> =
                packets.iter().map(|bytes| Datagram { source: Some(source), dest: SocketAddr::new(dest, 4_500), bytes }).collect();
            assert_eq!(sender.send_many(&datagrams), Ok(40));
            assert!(readable(&socket));
            let mut batch = RecvBatch::new(64, 2_048);
            assert_eq!(socket.recv_batch(&mut batch), Ok(40));
            for (message, sent) in batch.messages().zip(&packets) {
                assert_eq!(message.bytes, sent, "without IP header");
                assert_eq!(message.segment_size, sent.len());
                assert_eq!((message.source, message.local), (SocketAddr::new(source, 0), Some(dest)));
            }
            assert!(quiet(&sender), "bound to an address the packets were not sent to");
        }
    });
}
