//! A capture for Wireshark (pcapng, draft-ietf-opsawg-pcapng): the datagrams of a trace with IP and UDP headers around them, as they were on the wire.
use super::Event;
use std::io::{Result, Write};

/// Packets begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const COMMENT: u16 = 1;

/// Writes the head of a capture: one section, one interface, times in microseconds.
pub fn begin(out: &mut dyn Write) -> Result<()> {
    let unknown_length = u64::MAX.to_le_bytes();
    block(out, SECTION_HEADER, &[&BYTE_ORDER.to_le_bytes()[..], &[1, 0, 0, 0], &unknown_length].concat())?;
    block(out, INTERFACE_DESCRIPTION, &[&LINKTYPE_RAW.to_le_bytes()[..], &[0; 6]].concat())
}

/// Writes the datagrams of an event, what they are as a comment at the first.
pub fn packets(out: &mut dyn Write, event: &Event) -> Result<()> {
    let mut comment = Some(event.title.as_str());
    for datagram in &event.packets {
        let Some(packet) = bytes(&datagram.bytes).and_then(|payload| packet::write::udp(datagram.from, datagram.to, &payload)) else {
            continue;
        };
        let [high, low] = [(event.at_us >> 32) as u32, (event.at_us & u64::from(u32::MAX)) as u32];
        // `write::udp` makes no packet longer than IP allows.
        let length = (packet.len() as u32).to_le_bytes();
        let mut body = [[0; 4], high.to_le_bytes(), low.to_le_bytes(), length, length].concat();
        padded(&mut body, &packet);
        if let Some(comment) = comment.take() {
            body.extend(COMMENT.to_le_bytes());
            // Titles are bounded.
            body.extend((comment.len() as u16).to_le_bytes());
            padded(&mut body, comment.as_bytes());
            // The end of options.
            body.extend([0; 4]);
        }
        block(out, ENHANCED_PACKET, &body)?;
    }
    Ok(())
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
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [SECTION_HEADER, INTERFACE_DESCRIPTION, 6, 6]);
        assert_eq!(blocks[1].1, [101, 0, 0, 0, 0, 0, 0, 0]);
        let first = &blocks[2].1;
        assert_eq!(first[..20], [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 31, 0, 0, 0, 31, 0, 0, 0]);
        assert_eq!(first[48..51], [0xaa, 0xbb, 0xcc]);
        assert_eq!(first[52..64], *b"\x01\x00\x08\x00IKE_AUTH");
        assert_eq!(blocks[3].1.len(), 20 + 32, "the comment stands once");
    }

    #[test]
    fn what_is_no_packet_is_left_out() {
        let mut file = Vec::new();
        packets(&mut file, &event(vec![datagram("abc"), datagram("xy")])).unwrap();
        assert!(file.is_empty());
    }
}
