use super::*;
use proptest::prelude::*;

fn info(attribute: u8, status: u32, quoted: &[u8]) -> StatusInfo {
    StatusInfo { attribute: AttributeId(attribute), status: Status(status), quoted: quoted.to_vec() }
}

/// A packet of this type with this body, its attributes counted by the caller.
fn control(kind: u16, count: u16, body: &[u8]) -> Vec<u8> {
    let len = (8 + body.len()) as u16;
    [&[0x10, 0x01], &len.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), body].concat()
}

fn attribute(id: u8, value: &[u8]) -> Vec<u8> {
    [&[0, id], &(value.len() as u16 + 4).to_be_bytes()[..], value].concat()
}

fn request(attributes: &[Vec<u8>]) -> Result<Message, Invalid> {
    Message::parse(&control(1, attributes.len() as u16, &attributes.concat()))
}

fn refused(attributes: &[Vec<u8>]) -> Vec<(u8, u32)> {
    match request(attributes) {
        Err(Invalid::Request(list)) => list.iter().map(|info| (info.attribute.0, info.status.0)).collect(),
        other => panic!("{other:?}"),
    }
}

fn aborted(packet: &[u8]) -> (u8, u32) {
    match Message::parse(packet) {
        Err(Invalid::Message(info, text)) => {
            assert!(!text.is_empty() && info.quoted.is_empty());
            (info.attribute.0, info.status.0)
        }
        other => panic!("{other:?}"),
    }
}

fn ppp() -> Vec<u8> {
    attribute(1, &[0, 1])
}

fn binding(hash: u8) -> Vec<u8> {
    attribute(3, &[&[0, 0, 0, hash], &[7; 96][..]].concat())
}

#[test]
fn wire_images() {
    assert_eq!(Message::CallConnectRequest.encode(), [0x10, 1, 0, 0x0e, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1]);
    let ack = Message::CallConnectAck(BindingRequest { sha1: true, sha256: true, nonce: [0xaa; 32] }).encode();
    assert_eq!(ack[..16], [0x10, 1, 0, 0x30, 0, 2, 0, 1, 0, 4, 0, 0x28, 0, 0, 0, 3]);
    assert_eq!(ack[16..], [0xaa; 32]);
    let ack = Message::CallConnectAck(BindingRequest { sha1: false, sha256: true, nonce: [0xaa; 32] }).encode();
    assert_eq!((ack.len(), ack[15]), (48, 2));
    let nak = Message::CallConnectNak(vec![info(1, 4, &[0, 9]), info(7, 2, &[])]).encode();
    let second = [0, 2, 0, 12, 0, 0, 0, 7, 0, 0, 0, 2];
    assert_eq!(nak, [&[0x10, 1, 0, 34, 0, 3, 0, 2, 0, 2, 0, 14, 0, 0, 0, 1, 0, 0, 0, 4, 0, 9][..], &second].concat());
    let connected = CallConnected::unsigned(BindingHash::Sha256, &[0xbb; 32], &[0xcc; 32]).signed(&[0xdd; 32]);
    let connected = Message::CallConnected(Box::new(connected)).encode();
    assert_eq!(connected[..16], [0x10, 1, 0, 0x70, 0, 4, 0, 1, 0, 3, 0, 0x68, 0, 0, 0, 2]);
    assert_eq!((connected.len(), connected[16], connected[48], connected[80]), (112, 0xbb, 0xcc, 0xdd));
    let abort = Message::CallAbort(Some(info(0, 8, &[]))).encode();
    assert_eq!(abort, [0x10, 1, 0, 20, 0, 5, 0, 1, 0, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(Message::CallDisconnect(None).encode(), [0x10, 1, 0, 8, 0, 6, 0, 0]);
    assert_eq!(Message::CallDisconnectAck.encode(), [0x10, 1, 0, 8, 0, 7, 0, 0]);
    assert_eq!(Message::EchoRequest.encode(), [0x10, 1, 0, 8, 0, 8, 0, 0]);
    assert_eq!(Message::EchoResponse.encode(), [0x10, 1, 0, 8, 0, 9, 0, 0]);
}

#[test]
fn what_is_written_is_read() {
    let messages = [
        Message::CallConnectRequest,
        Message::CallConnectAck(BindingRequest { sha1: false, sha256: true, nonce: [1; 32] }),
        Message::CallConnectNak(vec![info(1, 4, &[0, 9]), info(9, 2, &[5; 64])]),
        Message::CallConnected(Box::new(CallConnected::unsigned(BindingHash::Sha1, &[1; 32], &[2; 20]).signed(&[3; 20]))),
        Message::CallAbort(Some(info(3, 4, &[]))),
        Message::CallAbort(None),
        Message::CallDisconnect(Some(info(0, 0, &[]))),
        Message::CallDisconnect(None),
        Message::CallDisconnectAck,
        Message::EchoRequest,
        Message::EchoResponse,
    ];
    for message in messages {
        assert_eq!(Message::parse(&message.encode()), Ok(message));
    }
}

#[test]
fn reserved_bits_of_attributes_are_ignored() {
    let mut packet = Message::CallConnectRequest.encode();
    packet[1] = 0xff;
    packet[2] |= 0xf0;
    packet[8] = 0xff;
    packet[10] |= 0xf0;
    assert_eq!(Message::parse(&packet), Ok(Message::CallConnectRequest));
}

#[test]
fn requests_that_are_refused() {
    let status = |status: u8| attribute(2, &[0, 0, 0, 0, 0, 0, 0, status]);
    assert_eq!(request(&[ppp(), status(0)]), Ok(Message::CallConnectRequest), "no error is no error");
    type Case<'a> = (&'a [Vec<u8>], &'a [(u8, u32)]);
    let cases: [Case<'_>; 14] = [
        (&[], &[(2, 0xa)]),
        (&[status(0)], &[(2, 0xa)]),
        (&[attribute(1, &[0, 2])], &[(1, 4)]),
        (&[attribute(1, &[0])], &[(1, 3)]),
        (&[attribute(1, &[0, 0, 1])], &[(1, 3)]),
        (&[ppp(), ppp()], &[(1, 1)]),
        (&[ppp(), ppp(), ppp()], &[(1, 1), (1, 1)]),
        (&[ppp(), attribute(9, b"what")], &[(9, 2)]),
        (&[attribute(0, &[])], &[(2, 0xa), (0, 2)]),
        (&[ppp(), status(4)], &[(2, 0xb)]),
        (&[ppp(), attribute(2, &[0; 7])], &[(2, 3)]),
        (&[ppp(), attribute(2, &[0; 73])], &[(2, 3)]),
        (&[ppp(), binding(2)], &[(3, 9)]),
        (&[attribute(8, &[]), attribute(1, &[1, 1]), ppp()], &[(8, 2), (1, 4), (1, 1)]),
    ];
    for (attributes, want) in cases {
        assert_eq!(refused(attributes), want, "{attributes:02x?}");
    }
}

#[test]
fn a_refusal_quotes_64_bytes_at_most_and_lists_16_attributes_at_most() {
    let long: Vec<u8> = (0..100).collect();
    let Err(Invalid::Request(list)) = request(&[ppp(), attribute(0x77, &long)]) else { panic!("accepted") };
    assert_eq!(list, [info(0x77, 2, &long[..64])]);
    let many = vec![attribute(0x77, &[]); 1000];
    let Err(Invalid::Request(list)) = request(&many) else { panic!("accepted") };
    assert_eq!(list.len(), MAX_REJECTIONS);
    assert!(Message::CallConnectNak(list).encode().len() <= MAX_PACKET);
}

#[test]
fn lengths_that_lie() {
    let overrun = control(1, 1, &[0, 1, 0, 7, 0, 1]);
    assert_eq!(Message::parse(&overrun), Err(Invalid::Request(vec![info(1, 3, &[0, 1])])));
    let shorter_than_its_header = control(1, 1, &[0, 1, 0, 3]);
    assert_eq!(Message::parse(&shorter_than_its_header), Err(Invalid::Request(vec![info(1, 3, &[])])));
    for count in [0, 2, 0xffff] {
        assert_eq!(aborted(&control(1, count, &ppp())), (0, 7), "{count} attributes announced");
    }
    assert_eq!(aborted(&control(1, 1, &[0, 1])), (0, 7), "half an attribute header");
}

#[test]
fn call_connected_that_is_aborted() {
    let connected = |attributes: &[Vec<u8>]| control(4, attributes.len() as u16, &attributes.concat());
    assert!(Message::parse(&connected(&[binding(1)])).is_ok());
    assert!(Message::parse(&connected(&[binding(2)])).is_ok());
    for hash in [0, 3, 4, 0xff] {
        assert_eq!(aborted(&connected(&[binding(hash)])), (3, 4), "hash protocol {hash}");
    }
    assert_eq!(aborted(&connected(&[])), (2, 9), "no binding");
    for len in [0, 4, 36, 76, 99, 101, 116] {
        assert_eq!(aborted(&connected(&[attribute(3, &vec![2; len])])), (2, 9), "a binding of {len} bytes");
    }
    assert_eq!(aborted(&control(4, 1, &[0, 3, 0, 0x69, 0, 0, 0, 2])), (2, 9), "a binding longer than the packet");
    assert_eq!(aborted(&connected(&[binding(2), binding(2)])), (3, 1));
    assert_eq!(aborted(&connected(&[binding(2), attribute(9, &[])])), (9, 2));
    assert_eq!(aborted(&connected(&[binding(2), ppp()])), (1, 9));
    assert_eq!(aborted(&control(4, 2, &binding(2))), (2, 9), "more attributes announced than there are");
    assert_eq!(aborted(&control(4, 0, &binding(2))), (2, 9), "fewer");
}

#[test]
fn bare_messages_have_exactly_8_bytes() {
    for kind in 7..=9 {
        assert!(Message::parse(&control(kind, 0, &[])).is_ok());
        assert_eq!(aborted(&control(kind, 1, &ppp())), (0, 7));
        assert_eq!(aborted(&control(kind, 0, &[0])), (0, 7));
    }
    for kind in [0, 10, 0x0100, 0xffff] {
        assert_eq!(aborted(&control(kind, 0, &[])), (0, 7), "type {kind}");
    }
}

#[test]
fn endings_are_obeyed_whatever_they_carry() {
    for (kind, make) in [(5, Message::CallAbort as fn(_) -> _), (6, Message::CallDisconnect as fn(_) -> _)] {
        let status = attribute(2, &[9, 9, 9, 1, 0, 0, 0, 6]);
        assert_eq!(Message::parse(&control(kind, 1, &status)), Ok(make(Some(info(1, 6, &[])))));
        assert_eq!(Message::parse(&control(kind, 0, &[])), Ok(make(None)));
        assert_eq!(Message::parse(&control(kind, 3, &status)), Ok(make(None)));
        assert_eq!(Message::parse(&control(kind, 1, &attribute(77, &[1; 4000]))), Ok(make(None)));
    }
}

#[test]
fn nothing_of_the_binding_is_shown() {
    let connected = CallConnected::unsigned(BindingHash::Sha256, &[0xab; 32], &[0xab; 32]).signed(&[0xab; 32]);
    assert_eq!(format!("{connected:?}"), "CallConnected { hash: Sha256, .. }");
}

proptest! {
    #[test]
    fn whatever_comes(kind in 0u16..11, count in 0u16..5, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let packet = control(kind, count, &body);
        match Message::parse(&packet) {
            Ok(message) => prop_assert_eq!(Message::parse(&message.encode()), Ok(message)),
            Err(Invalid::Request(list)) => {
                prop_assert_eq!(kind, 1);
                let nak = Message::CallConnectNak(list);
                prop_assert_eq!(Message::parse(&nak.encode()), Ok(nak));
            }
            Err(Invalid::Message(info, text)) => prop_assert!(info.status != Status::NO_ERROR && !text.is_empty()),
        }
    }
}
