//! DHCPINFORM, as clients send it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside their functions")]
mod common;
use autoconf::{Answer, Malformed, Question, Settings, answer};
use common::*;
use std::net::{IpAddr, Ipv4Addr};

const LIST: &[u8] = &[6, 15, 44, 43, 249, 121];

fn told(packet: &[u8], settings: &Settings) -> (Vec<u8>, usize) {
    let Answer { packet, what, left_out, .. } = answer(packet, settings).unwrap().expect("an answer");
    assert_eq!(what, Question::DhcpInform);
    let taken = take(&packet);
    assert_eq!((taken.source, taken.destination, taken.ports), (SERVER.into(), IpAddr::from(CLIENT), (67, 68)));
    assert_eq!((taken.payload[0], &taken.payload[236..240]), (2, &[99, 130, 83, 99][..]));
    (taken.payload, left_out)
}

#[test]
fn windows_is_answered_in_the_order_of_its_list() {
    let (message, left_out) = told(&windows(), &settings());
    assert_eq!((codes4(&message), left_out), (vec![53, 54, 61, 6, 15, 44, 249, 121], 0));
    assert_eq!(option4(&message, 53), [5]);
    assert_eq!(option4(&message, 54), SERVER.octets());
    assert_eq!(option4(&message, 61), b"\x08\x00\x53\x45\x00\x00\x00");
    assert_eq!(option4(&message, 6), [10, 0, 0, 53, 10, 0, 1, 53]);
    assert_eq!(option4(&message, 15), b"corp.example.test");
    assert_eq!(option4(&message, 44), [10, 0, 0, 44]);
    let routes = [("10.0.0.0/8".into(), Ipv4Addr::UNSPECIFIED), ("192.168.10.0/23".into(), Ipv4Addr::UNSPECIFIED)];
    assert_eq!(routes4(&option4(&message, 249)), routes);
    assert_eq!(option4(&message, 121), option4(&message, 249));
}

#[test]
fn a_client_may_say_what_its_computer_is_called() {
    let named = |options: &[u8]| answer(&broadcast(&inform(options)), &settings()).unwrap().unwrap().host_name;
    assert_eq!(named(&[55, 1, 6, 12, 3, b'P', b'C', b'7']).as_deref(), Some("PC7"));
    assert_eq!(named(&[55, 1, 6]), None);
    assert_eq!(named(&[55, 1, 6, 12, 2, b'a', 0x1b]), None, "no name of a computer");
}

#[test]
fn nothing_is_assigned_and_what_is_the_clients_comes_back() {
    let mut request = inform(&[55, 1, 6]);
    request[8..12].copy_from_slice(&[0, 9, 0x80, 0]);
    let (message, _) = told(&broadcast(&request), &settings());
    assert_eq!(message[1..8], request[1..8], "hardware type, length and transaction");
    assert_eq!(message[3], 0, "hops");
    assert_eq!(message[8..12], [0, 0, 0x80, 0], "seconds zero, flags as they came");
    assert_eq!(message[12..16], CLIENT.octets());
    assert_eq!(message[16..28], [0; 12], "yiaddr, siaddr, giaddr");
    assert_eq!(message[28..44], request[28..44]);
    assert_eq!(message[44..236], [0; 192], "sname and file");
    for code in [1, 3, 26, 51, 58, 59] {
        assert!(!codes4(&message).contains(&code), "{code}");
    }
    assert_eq!(message.len(), 300, "the least that BOOTP sends");
}

/// Its list has no 121, and no more than 1, 6, 15, 43, 44, 249; the checksum is left out.
#[test]
fn macos_over_ppp() {
    let mut packet = broadcast(&inform(b"\x3d\x07\x08\x00\x00\x00\x01\x00\x00\x37\x06\x06\x2c\x2b\x01\xf9\x0f"));
    packet[26..28].fill(0);
    let (message, _) = told(&packet, &settings());
    assert_eq!(codes4(&message), [53, 54, 61, 6, 44, 249, 15]);
}

#[test]
fn unicast_to_the_gateway_is_answered_too() {
    let packet = udp4(CLIENT, SERVER, (68, 67), &inform(&[55, 1, 6]));
    assert!(answer(&packet, &settings()).unwrap().is_some());
}

#[test]
fn the_default_route_goes_out_in_halves_before_the_others() {
    let destinations = |settings: &Settings| -> Vec<String> {
        let routes = routes4(&option4(&told(&ask(&[121]), settings).0, 121));
        routes.into_iter().map(|(destination, _)| destination).collect()
    };
    let mut settings = Settings { default_route: true, ..settings() };
    assert_eq!(destinations(&settings), ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "192.168.10.0/23"]);
    settings.default_route = false;
    settings.routes = ["172.16.0.0/12", "0.0.0.0/0", "::/0", "10.1.2.3/32"].map(route).to_vec();
    assert_eq!(destinations(&settings), ["0.0.0.0/1", "128.0.0.0/1", "172.16.0.0/12", "10.1.2.3/32"]);
    settings.routes = vec![route("::/0")];
    assert_eq!(answer(&ask(&[121]), &settings), Ok(None));
}

#[test]
fn only_what_is_asked_for_and_each_once() {
    let (message, _) = told(&ask(&[15, 15, 0, 255, 119, 15, 26]), &settings());
    assert_eq!(codes4(&message), [53, 54, 15, 119]);
    assert_eq!(option4(&message, 119), b"\x04corp\x07example\x04test\0");
    // Without a list: everything.
    let (message, _) = told(&broadcast(&inform(&[])), &settings());
    assert_eq!(codes4(&message), [53, 54, 6, 15, 44, 119, 121, 249]);
    // An empty list asks for nothing.
    assert_eq!(answer(&ask(&[]), &settings()), Ok(None));
}

#[test]
fn silent_when_there_is_nothing_to_tell() {
    assert_eq!(answer(&windows(), &nothing()), Ok(None));
    assert_eq!(answer(&ask(&[1, 3, 43, 252]), &settings()), Ok(None));
    let settings = Settings { suffix: Some("not a name".into()), ..nothing() };
    assert_eq!(answer(&windows(), &settings), Ok(None));
}

#[test]
fn other_messages_other_clients_other_servers() {
    let settings = settings();
    let answered = |packet: &[u8]| answer(packet, &settings).unwrap().is_some();
    for kind in (0..=20).filter(|kind| *kind != 8) {
        let message = [&bootp(CLIENT)[..], &[53, 1, kind, 55, 1, 6, 255]].concat();
        assert!(!answered(&broadcast(&message)), "message type {kind}");
    }
    let asked = inform(&[55, 1, 6]);
    let changed = |at: usize, byte: u8| {
        let mut message = asked.clone();
        message[at] = byte;
        answered(&broadcast(&message))
    };
    assert!(changed(8, 1), "seconds matter to nobody");
    assert!(!changed(0, 2), "a reply");
    assert!(!changed(15, 8), "ciaddr of somebody else");
    assert!(!changed(24, 10), "from a relay agent");
    assert!(!changed(236, 98), "no DHCP");
    assert!(!answered(&udp4(Ipv4Addr::new(10, 9, 0, 8), BROADCAST, (68, 67), &asked)), "source of somebody else");
    assert!(!answered(&udp4(CLIENT, Ipv4Addr::new(10, 0, 0, 1), (68, 67), &asked)), "to another server");
    assert!(!answered(&udp4(CLIENT, BROADCAST, (68, 68), &asked)), "to another port");
    let mut fragment = broadcast(&asked);
    fragment[6] = 0x20;
    assert!(!answered(&fragment));
    let no_lease = Settings { client_ipv4: None, ..settings.clone() };
    assert_eq!(answer(&broadcast(&asked), &no_lease), Ok(None));
    assert_eq!(answer(&broadcast(&[&bootp(CLIENT)[..], &[255]].concat()), &settings), Ok(None), "BOOTP");
}

#[test]
fn what_cannot_be_read_is_named() {
    let settings = settings();
    let error = |message: &[u8]| answer(&broadcast(message), &settings).unwrap_err();
    assert_eq!(error(&bootp(CLIENT)[..239]), Malformed::Short(239));
    assert_eq!(error(&[&bootp(CLIENT)[..], &[53, 1, 8, 55, 9, 6]].concat()), Malformed::DhcpOption(55));
    assert_eq!(error(&[&bootp(CLIENT)[..], &[53, 2, 8, 8]].concat()), Malformed::DhcpValue(53));
    assert_eq!(error(&inform(&[57, 1, 9])), Malformed::DhcpValue(57));
    assert_eq!(error(&inform(&[52, 1, 0])), Malformed::DhcpValue(52));
    let mut message = inform(&[]);
    message[2] = 17;
    assert_eq!(error(&message), Malformed::HardwareAddress(17));
    let mut packet = ask(LIST);
    packet[27] ^= 1;
    assert_eq!(answer(&packet, &settings), Err(Malformed::Checksum));
    packet[25] = 3;
    packet[24] = 0;
    assert_eq!(answer(&packet, &settings), Err(Malformed::UdpLength));
    assert!(matches!(answer(&packet[..19], &settings), Err(Malformed::Ip(_))));
    assert_eq!(error(&inform(&[52, 1, 0])).to_string(), "DHCP option 52 has a value of the wrong length or out of range");
}

#[test]
fn options_of_the_client_may_stand_in_sname_and_file() {
    let mut message = [&bootp(CLIENT)[..], &[52, 1, 3, 255]].concat();
    message[108..112].copy_from_slice(&[53, 1, 8, 255]);
    message[44..49].copy_from_slice(&[55, 2, 6, 15, 255]);
    let (message, _) = told(&broadcast(&message), &settings());
    assert_eq!(codes4(&message), [53, 54, 6, 15]);
}

fn many_routes(count: u32) -> Settings {
    let routes = (0..count).map(|n| route(&format!("10.{}.{}.0/24", n / 256, n % 256))).collect();
    Settings { routes, ..settings() }
}

#[test]
fn long_lists_are_cut_into_options_of_whole_routes() {
    let settings = many_routes(100);
    let list = [&[57, 2, 0x05, 0xdc][..], &[55, 1, 121]].concat();
    let (message, left_out) = told(&broadcast(&inform(&list)), &settings);
    let pieces: Vec<_> = options4(&message).into_iter().filter(|(code, _)| *code == 121).map(|(_, value)| value).collect();
    assert_eq!((left_out, pieces.iter().map(Vec::len).collect::<Vec<_>>()), (0, vec![248, 248, 248, 56]));
    let routes: Vec<_> = pieces.iter().flat_map(|piece| routes4(piece)).map(|(destination, _)| destination).collect();
    assert_eq!(routes, (0..100).map(|n| format!("10.0.{n}.0/24")).collect::<Vec<_>>());
    assert_eq!(routes4(&option4(&message, 121)).len(), 100, "and joined they say the same");
}

#[test]
fn when_room_is_short_the_rest_is_told_first_and_the_routes_in_one_form() {
    let settings = many_routes(40);
    let asked = |vendor: &[u8]| {
        let options = [vendor, &[55, 5, 121, 249, 6, 15, 44]].concat();
        told(&broadcast(&inform(&options)), &settings)
    };
    let room = 576 - 28 - 240;
    for (vendor, form) in [(&b"\x3c\x08MSFT 5.0"[..], 249), (b"", 121)] {
        let (message, left_out) = asked(vendor);
        assert_eq!(codes4(&message), [53, 54, 6, 15, 44, form, form]);
        let routes = routes4(&option4(&message, form)).len();
        assert_eq!((routes, left_out), (32, 8));
        assert!(message.len() - 240 <= room);
    }
    // Both forms fit: both are told.
    let (message, left_out) = told(&ask(&[121, 249, 6]), &many_routes(15));
    assert_eq!((codes4(&message), left_out), (vec![53, 54, 121, 249, 6], 0));
    // The one form asked for is the one that is told.
    let (message, left_out) = told(&ask(&[249, 6]), &settings);
    assert_eq!((codes4(&message), left_out > 0), (vec![53, 54, 6, 249, 249], true));
}

#[test]
fn sizes() {
    let length = |maximum: u16, mtu: u16| {
        let settings = Settings { mtu, ..many_routes(400) };
        let options = [&[57, 2][..], &maximum.to_be_bytes(), &[55, 1, 121]].concat();
        answer(&broadcast(&inform(&options)), &settings).unwrap().unwrap().packet.len()
    };
    // What does not fill the last bytes is less than a route and the head of a further option.
    for (maximum, mtu, limit) in
        [(0, 1400, 576), (576, 1400, 576), (1000, 1400, 1000), (65_535, 1400, 1400), (65_535, 9000, 1500), (1500, 0, 576)]
    {
        let length = length(maximum, mtu);
        assert!((limit - 10..=limit).contains(&length), "{maximum} {mtu}: {length}");
    }
}

#[test]
fn an_answer_is_no_question() {
    let answered = answer(&windows(), &settings()).unwrap().unwrap();
    let there = Settings { client_ipv4: Some(SERVER), server_ipv4: CLIENT, ..settings() };
    assert_eq!(answer(&answered.packet, &there), Ok(None));
    assert!(!autoconf::may_be_question(&answered.packet));
    assert!(autoconf::may_be_question(&windows()));
}
