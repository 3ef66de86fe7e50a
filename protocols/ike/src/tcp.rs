//! IKE and ESP in a TCP stream (RFC 9329 sections 3 and 4): framing, without the bytes' way.
use crate::wire::HEADER_LEN;

/// What a client begins the stream with, once. No TLS record begins like this.
pub const PREFIX: [u8; 6] = *b"IKETCP";

/// Bytes of the length before each message; the length counts them.
pub const LENGTH: usize = 2;

/// Longest message behind its length: an ESP packet, or an IKE message with its marker.
pub const MAX_MESSAGE: usize = u16::MAX as usize - LENGTH;

/// Before an IKE message; never an SPI.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// SPI and sequence number.
const ESP_HEADER: usize = 8;

/// A NAT keepalive (section 6.6): no peer of TCP needs it, some send it.
const KEEPALIVE: [u8; 1] = [0xff];

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Behind the marker.
    Ike,
    Esp,
    Keepalive,
}

/// A whole message at the beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub content: Content,
    /// Where IKE message or ESP packet begin.
    pub start: usize,
    /// Where it ends, and the next begins.
    pub end: usize,
}

/// The stream cannot be understood from here on: it must be closed (section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    #[error("a message of {length} bytes, which is neither IKE nor ESP")]
    Garbage { length: usize },
    #[error("a message of {length} bytes, where no more than {longest} are taken")]
    TooLong { length: usize, longest: usize },
}

/// The message at the beginning of `stream`, of at most `longest` bytes behind its length; `None`: its end has not come yet.
///
/// # Errors
/// When no message begins there.
pub fn next(stream: &[u8], longest: usize) -> Result<Option<Found>, BadStream> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let end = usize::from(u16::from_be_bytes(*length));
    let length = end.saturating_sub(LENGTH);
    if length > longest {
        return Err(BadStream::TooLong { length, longest });
    }
    if length < ESP_HEADER && length != KEEPALIVE.len() {
        return Err(BadStream::Garbage { length });
    }
    let Some(message) = rest.get(..length) else { return Ok(None) };
    let (content, start) = match message.strip_prefix(&NON_ESP_MARKER) {
        Some(ike) if ike.len() >= HEADER_LEN => (Content::Ike, LENGTH + NON_ESP_MARKER.len()),
        None if length >= ESP_HEADER => (Content::Esp, LENGTH),
        None if message == KEEPALIVE => (Content::Keepalive, LENGTH),
        Some(_) | None => return Err(BadStream::Garbage { length }),
    };
    Ok(Some(Found { content, start, end }))
}

/// The length before a message of `message` bytes, at most [`MAX_MESSAGE`].
pub fn length(message: usize) -> [u8; LENGTH] {
    u16::try_from(message + LENGTH).unwrap_or(u16::MAX).to_be_bytes()
}

/// An IKE message as it goes into the stream; `None`: no stream has room for it.
pub fn frame(message: &[u8]) -> Option<Vec<u8>> {
    let inside = NON_ESP_MARKER.len() + message.len();
    (inside <= MAX_MESSAGE).then(|| [&length(inside)[..], &NON_ESP_MARKER, message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(message: &[u8]) -> Vec<u8> {
        [&length(message.len())[..], message].concat()
    }

    #[test]
    fn ike_esp_and_keepalives() {
        let ike = frame(&[7; HEADER_LEN]).unwrap();
        assert_eq!(ike[..6], [0, 34, 0, 0, 0, 0]);
        assert_eq!(next(&ike, MAX_MESSAGE), Ok(Some(Found { content: Content::Ike, start: 6, end: 34 })));
        let esp = stream(&[0, 0, 1, 0, 0, 0, 0, 1, 9, 9]);
        assert_eq!(next(&esp, MAX_MESSAGE), Ok(Some(Found { content: Content::Esp, start: 2, end: 12 })));
        assert_eq!(next(&[0, 3, 0xff], MAX_MESSAGE), Ok(Some(Found { content: Content::Keepalive, start: 2, end: 3 })));
    }

    #[test]
    fn a_message_may_come_in_any_number_of_pieces() {
        let whole = [frame(&[7; 100]).unwrap(), stream(&[1; 50])].concat();
        let first = 106;
        for cut in 0..first {
            assert_eq!(next(&whole[..cut], MAX_MESSAGE), Ok(None), "{cut}");
        }
        let found = next(&whole, MAX_MESSAGE).unwrap().unwrap();
        assert_eq!((found.content, found.end), (Content::Ike, first));
        assert_eq!(next(&whole[found.end..], MAX_MESSAGE).unwrap().unwrap().content, Content::Esp);
    }

    #[test]
    fn garbage_is_known_as_early_as_possible() {
        for length in [0, 1, 2, 4, 9] {
            assert_eq!(next(&[0, length], MAX_MESSAGE), Err(BadStream::Garbage { length: usize::from(length).saturating_sub(2) }));
        }
        assert_eq!(next(&[0, 3, 0xfe], MAX_MESSAGE), Err(BadStream::Garbage { length: 1 }), "no keepalive");
        assert_eq!(next(&stream(&[0; 31]), MAX_MESSAGE), Err(BadStream::Garbage { length: 31 }), "shorter than an IKE header");
        assert_eq!(next(&[0x10, 0], 4000), Err(BadStream::TooLong { length: 4094, longest: 4000 }));
        assert_eq!(next(b"GET / HTTP/1.1\r\n", 4000), Err(BadStream::TooLong { length: 0x4745 - 2, longest: 4000 }));
        assert_eq!(next(&[0xff, 0xff], MAX_MESSAGE), Ok(None), "the longest there is");
    }

    #[test]
    fn what_fits_no_stream_is_not_framed() {
        assert!(frame(&vec![1; MAX_MESSAGE - 4]).is_some_and(|framed| framed[..2] == [0xff, 0xff]));
        assert!(frame(&vec![1; MAX_MESSAGE - 3]).is_none());
    }
}
