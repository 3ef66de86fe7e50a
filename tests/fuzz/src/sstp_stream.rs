//! The byte stream after the HTTP head: where packets end, and what control messages say.
use sstp::MAX_PACKET;
use sstp::frame::{self, Undelimitable};
use sstp::message::{Invalid, Message, Status};

/// The first byte says how the stream is split, the rest is the stream.
pub fn sstp_stream(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else { return };
    let (packets, error) = cut(stream, stream.len().max(1));
    assert_eq!(cut(stream, usize::from(piece).max(1)), (packets.clone(), error), "pieces make no difference");
    let undelimited = packets.iter().map(|packet| packet.len()).sum::<usize>();
    assert!(error.is_some() || stream.len() - undelimited < MAX_PACKET, "a packet that never ends");
    packets.iter().for_each(|packet| message(packet));
}

/// The packets of a stream that comes in pieces of this size, up to what cannot be delimited.
fn cut(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<Undelimitable>) {
    let (mut packets, mut buffer) = (Vec::new(), Vec::new());
    for bytes in stream.chunks(piece) {
        buffer.extend_from_slice(bytes);
        let mut begin = 0;
        loop {
            match frame::next(&buffer[begin..]) {
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
                Ok(Some(frame)) => {
                    let packet = &buffer[begin..begin + frame.len];
                    assert_eq!(frame.control, packet[1] & 1 == 1);
                    packets.push(packet.to_vec());
                    begin += frame.len;
                }
            }
        }
        buffer.drain(..begin);
    }
    (packets, None)
}

fn message(packet: &[u8]) {
    if packet[1] & 1 == 0 {
        let _ = frame::is_ppp_data(&packet[4..]);
        return;
    }
    match Message::parse(packet) {
        Ok(message) => {
            let _ = format!("{message:?}");
            let written = message.encode();
            assert_eq!(Message::parse(&written), Ok(message), "what we write we can read");
            assert!(frame::next(&written).is_ok_and(|frame| frame.is_some_and(|frame| frame.control && frame.len == written.len())));
        }
        Err(Invalid::Request(rejections)) => {
            assert!(rejections.iter().all(|info| info.status != Status::NO_ERROR));
            let nak = Message::CallConnectNak(rejections);
            assert!(nak.encode().len() <= MAX_PACKET);
            assert_eq!(Message::parse(&nak.encode()), Ok(nak));
        }
        Err(Invalid::Message(info, text)) => {
            assert!(info.status != Status::NO_ERROR && !text.is_empty() && !text.chars().any(char::is_control));
        }
    }
}
