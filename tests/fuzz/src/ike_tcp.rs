//! The byte stream of IKE and ESP over TCP: where messages end, and which they are.
use ike::tcp::{self, BadStream, Content, LENGTH, MAX_MESSAGE, NON_ESP_MARKER};

/// The first byte says how the stream is split, the second how long messages may be, the rest is the stream.
pub fn ike_tcp(data: &[u8]) {
    let [piece, longest, stream @ ..] = data else { return };
    let longest = if *longest == 0 { MAX_MESSAGE } else { usize::from(*longest) * 16 };
    let whole = cut(stream, stream.len().max(1), longest);
    assert_eq!(cut(stream, usize::from(*piece).max(1), longest), whole, "pieces make no difference");
    let written: Vec<u8> = whole.0.iter().flat_map(|message| [&tcp::length(message.len())[..], message].concat()).collect();
    assert_eq!(written, stream[..written.len()], "what we write is what we read");
}

/// The messages of a stream that comes in pieces of this size, marker included, up to what is none.
fn cut(stream: &[u8], piece: usize, longest: usize) -> (Vec<Vec<u8>>, Option<BadStream>) {
    let (mut messages, mut buffer) = (Vec::new(), Vec::new());
    for bytes in stream.chunks(piece) {
        buffer.extend_from_slice(bytes);
        let mut begin = 0;
        loop {
            let rest: &[u8] = &buffer[begin..];
            match tcp::next(rest, longest) {
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
                Ok(Some(found)) => {
                    let message = &rest[LENGTH..found.end];
                    assert!(message.len() <= longest && found.start <= found.end);
                    let framed = tcp::frame(&rest[found.start..found.end]);
                    match found.content {
                        Content::Ike => assert_eq!(framed.as_deref(), Some(&rest[..found.end])),
                        Content::Esp => assert!(!message.starts_with(&NON_ESP_MARKER)),
                        Content::Keepalive => assert_eq!(message, [0xff]),
                    }
                    messages.push(message.to_vec());
                    begin += found.end;
                }
            }
        }
        assert!(buffer.len() - begin < LENGTH + longest, "a message that never ends");
        buffer.drain(..begin);
    }
    (messages, None)
}
