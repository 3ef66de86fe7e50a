use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use super::in_namespace;
use crate::raw::RawSocket;
use crate::steer::{attach_raw_filter, attach_spi_steering};
use crate::udp::{UdpOptions, UdpSocket};
use crate::{Datagram, RecvBatch};

const MEMBERS: u32 = 3;

fn esp(last: u8) -> Vec<u8> {
    vec![0xc0, 0, 0, last, 0, 0, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd]
}

fn last_bytes(batch: &mut RecvBatch, received: Result<usize, crate::IoError>) -> Vec<u8> {
    if received.is_err() {
        return Vec::new();
    }
    batch.messages().map(|message| *message.bytes.get(3).unwrap_or(&0xff)).collect()
}

#[test]
fn the_last_byte_of_the_spi_chooses_the_socket() {
    in_namespace(|| {
        for any in ["0.0.0.0:4500", "[::]:4500"] {
            let options = UdpOptions { gro: false, ..UdpOptions::default() };
            let group: Vec<_> = (0..MEMBERS).map(|_| UdpSocket::bind(any.parse().unwrap(), &options).unwrap()).collect();
            attach_spi_steering(&group[0], MEMBERS).unwrap();
            let any: SocketAddr = any.parse().unwrap();
            let client = UdpSocket::bind(SocketAddr::new(any.ip(), 0), &options).unwrap();
            let localhost = if any.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) };
            let dest = SocketAddr::new(localhost, 4_500);
            for last in [0, 1, 2, 3, 100, 254, 255] {
                client.send(None, dest, &esp(last)).unwrap();
            }
            let ike = [0, 0, 0, 0, 1, 2, 3, 4];
            client.send(None, dest, &ike).unwrap();
            client.send(None, dest, &[0xff]).unwrap();
            let mut batch = RecvBatch::new(16, 64);
            let seen: Vec<Vec<u8>> = group
                .iter()
                .map(|socket| {
                    let received = socket.recv_batch(&mut batch);
                    last_bytes(&mut batch, received)
                })
                .collect();
            assert_eq!(seen, [vec![0, 3, 255, 0, 0xff], vec![1, 100], vec![2, 254]]);
        }
    });
}

#[test]
fn raw_sockets_keep_their_share() {
    in_namespace(|| {
        for (any, to) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
            let any: IpAddr = any.parse().unwrap();
            let group: Vec<_> = (0..MEMBERS)
                .map(|member| {
                    let socket = RawSocket::open_esp(any, 1 << 20).unwrap();
                    attach_raw_filter(&socket, member, MEMBERS).unwrap();
                    socket
                })
                .collect();
            let dest = SocketAddr::new(to.parse().unwrap(), 0);
            let packets: Vec<_> = [0, 1, 2, 3, 100, 254, 255].into_iter().map(esp).collect();
            let datagrams: Vec<_> = packets.iter().map(|bytes| Datagram { source: None, dest, bytes }).collect();
            assert_eq!(group[0].send_many(&datagrams), Ok(packets.len()));
            let mut batch = RecvBatch::new(16, 128);
            let seen: Vec<Vec<u8>> = group
                .iter()
                .map(|socket| {
                    let received = socket.recv_batch(&mut batch);
                    last_bytes(&mut batch, received)
                })
                .collect();
            assert_eq!(seen, [vec![0, 3, 255], vec![1, 100], vec![2, 254]]);
        }
    });
}

#[test]
fn a_byte_steers_at_most_256_sockets() {
    in_namespace(|| {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        for members in [0, 257] {
            assert_eq!(attach_spi_steering(&socket, members).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        attach_spi_steering(&socket, 256).unwrap();
    });
}
