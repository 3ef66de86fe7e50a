//! A capture for Wireshark (pcapng, draft-ietf-opsawg-pcapng): the datagrams of a trace with IP and UDP headers around them, as they were on the wire but
//! for the secrets of RADIUS; and, each kind as an interface of its own, what was inside of tunnels.
use super::{Direction, Event, Frame, Link};
use std::io::{Result, Write};

/// Packets begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
/// Frames of PPP behind a byte that tells their direction.
const LINKTYPE_PPP_WITH_DIR: u16 = 204;
/// What a dissector that the packet names is to read.
const LINKTYPE_WIRESHARK_UPPER_PDU: u16 = 252;
/// Names and link types of the interfaces, by their numbers.
const INTERFACES: [(&str, u16); 6] = [
    ("outside", LINKTYPE_RAW),
    ("ppp in sstp", LINKTYPE_PPP_WITH_DIR),
    ("sstp in tls", LINKTYPE_WIRESHARK_UPPER_PDU),
    ("inside the tunnel", LINKTYPE_RAW),
    ("ike in tcp", LINKTYPE_WIRESHARK_UPPER_PDU),
    ("radius in tls", LINKTYPE_WIRESHARK_UPPER_PDU),
];
const IF_NAME: u16 = 2;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const COMMENT: u16 = 1;

/// Writes the head of a capture: one section, its interfaces, times in microseconds.
pub fn begin(out: &mut dyn Write) -> Result<()> {
    let unknown_length = u64::MAX.to_le_bytes();
    block(out, SECTION_HEADER, &[&BYTE_ORDER.to_le_bytes()[..], &[1, 0, 0, 0], &unknown_length].concat())?;
    INTERFACES.iter().try_for_each(|(name, link)| {
        let mut body = [&link.to_le_bytes()[..], &[0; 6]].concat();
        option(&mut body, IF_NAME, name);
        block(out, INTERFACE_DESCRIPTION, &body)
    })
}

/// Writes the packets of an event, what they are as a comment at the first.
pub fn packets(out: &mut dyn Write, event: &Event) -> Result<()> {
    let mut comment = Some(event.title.as_str());
    let datagrams = event.packets.iter().filter_map(|datagram| {
        Some((0, bytes(&datagram.bytes).and_then(|payload| packet::write::udp(datagram.from, datagram.to, &payload))?))
    });
    let frames = event.frames.iter().filter_map(inner);
    for (interface, packet) in datagrams.chain(frames) {
        let interface: u32 = interface;
        let [high, low] = [(event.at_us >> 32) as u32, (event.at_us & u64::from(u32::MAX)) as u32];
        // `write::udp` makes no packet longer than IP allows.
        let length = (packet.len() as u32).to_le_bytes();
        let mut body = [interface.to_le_bytes(), high.to_le_bytes(), low.to_le_bytes(), length, length].concat();
        padded(&mut body, &packet);
        if let Some(comment) = comment.take() {
            option(&mut body, COMMENT, comment);
        }
        block(out, ENHANCED_PACKET, &body)?;
    }
    Ok(())
}

/// The interface of a frame, and its bytes there.
fn inner(frame: &Frame) -> Option<(u32, Vec<u8>)> {
    let bytes = bytes(&frame.bytes)?;
    Some(match frame.link {
        Link::Ppp => (1, [&[u8::from(frame.direction == Direction::Out)][..], &bytes].concat()),
        Link::Sstp => (2, [&upper("sstp", frame)[..], &bytes].concat()),
        Link::Ip => (3, bytes),
        Link::Ike => (4, [&upper("isakmp", frame)[..], &bytes].concat()),
        Link::Radius => (5, [&upper("radius", frame)[..], &bytes].concat()),
    })
}

/// The tags that tell Wireshark which dissector is to read a packet, and where it came from.
fn upper(dissector: &str, frame: &Frame) -> Vec<u8> {
    let (ip, port) = (frame.client.ip(), u32::from(frame.client.port()).to_be_bytes());
    let inbound = frame.direction == Direction::In;
    let mut tags = Vec::new();
    let mut tag = |number: u16, value: &[u8]| {
        tags.extend(number.to_be_bytes());
        let length = value.len().next_multiple_of(4);
        // A name or an address.
        tags.extend((length as u16).to_be_bytes());
        tags.extend_from_slice(value);
        tags.resize(tags.len() + length - value.len(), 0);
    };
    tag(12, dissector.as_bytes());
    match ip.to_canonical() {
        std::net::IpAddr::V4(address) => tag(if inbound { 20 } else { 21 }, &address.octets()),
        std::net::IpAddr::V6(address) => tag(if inbound { 22 } else { 23 }, &address.octets()),
    }
    // TCP.
    tag(24, &2_u32.to_be_bytes());
    tag(if inbound { 25 } else { 26 }, &port);
    tag(0, &[]);
    tags
}

/// One option and the end of options; texts are bounded.
fn option(body: &mut Vec<u8>, kind: u16, text: &str) {
    body.extend(kind.to_le_bytes());
    body.extend((text.len() as u16).to_le_bytes());
    padded(body, text.as_bytes());
    body.extend([0; 4]);
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Type, length, a body that is a multiple of four bytes long, and the length again.
fn block(out: &mut dyn Write, kind: u32, body: &[u8]) -> Result<()> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    out.write_all(&[&kind.to_le_bytes()[..], &length, body, &length].concat())
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.1.is_empty().then(|| digits.0.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Datagram, Layer};

    fn event(packets: Vec<Datagram>) -> Event {
        Event {
            at_us: 0x0001_0000_0002,
            attempt: None,
            user: None,
            layer: Layer::Ike,
            direction: None,
            peer: None,
            title: "IKE_AUTH".into(),
            fields: Vec::new(),
            packets,
            frames: Vec::new(),
            keys: None,
        }
    }

    fn datagram(bytes: &str) -> Datagram {
        Datagram { from: "192.0.2.1:500".parse().unwrap(), to: "192.0.2.2:500".parse().unwrap(), bytes: bytes.into() }
    }

    /// Kinds and bodies.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let (kind, length) = (number(file), number(&file[4..]) as usize);
            assert_eq!((number(&file[length - 4..]) as usize, length % 4), (length, 0));
            found.push((kind, file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        found
    }

    #[test]
    fn a_capture_has_its_head_and_whole_packets() {
        let mut file = Vec::new();
        begin(&mut file).unwrap();
        packets(&mut file, &event(vec![datagram("aabbcc"), datagram("dd")])).unwrap();
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [SECTION_HEADER, 1, 1, 1, 1, 1, 1, 6, 6]);
        assert_eq!(blocks[1].1, *b"\x65\0\0\0\0\0\0\0\x02\0\x07\0outside\0\0\0\0\0");
        let first = &blocks[7].1;
        assert_eq!(first[..20], [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 31, 0, 0, 0, 31, 0, 0, 0]);
        assert_eq!(first[48..51], [0xaa, 0xbb, 0xcc]);
        assert_eq!(first[52..64], *b"\x01\x00\x08\x00IKE_AUTH");
        assert_eq!(blocks[8].1.len(), 20 + 32, "the comment stands once");
    }

    #[test]
    fn each_kind_of_frame_has_its_interface() {
        let frame = |link| Frame { link, client: "192.0.2.7:50000".parse().unwrap(), direction: Direction::Out, bytes: "ff03".into() };
        let mut file = Vec::new();
        let frames = [Link::Ppp, Link::Sstp, Link::Ip, Link::Ike, Link::Radius].map(frame).to_vec();
        packets(&mut file, &Event { frames, ..event(Vec::new()) }).unwrap();
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|(_, body)| body[0]).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(blocks[0].1[20..23], [1, 0xff, 3], "sent");
        let tags =
            b"\x00\x0c\x00\x04sstp\x00\x15\x00\x04\xc0\x00\x02\x07\x00\x18\x00\x04\0\0\0\x02\x00\x1a\x00\x04\0\0\xc3\x50\0\0\0\0\xff\x03";
        assert_eq!(blocks[1].1[20..20 + tags.len()], *tags);
        for (block, dissector) in [(3, b"\x00\x0c\x00\x08isakmp\0\0"), (4, b"\x00\x0c\x00\x08radius\0\0")] {
            assert_eq!(blocks[block].1[20..32], *dissector);
        }
    }

    #[test]
    fn what_is_no_packet_is_left_out() {
        let mut file = Vec::new();
        packets(&mut file, &event(vec![datagram("abc"), datagram("xy")])).unwrap();
        assert!(file.is_empty());
    }
}
