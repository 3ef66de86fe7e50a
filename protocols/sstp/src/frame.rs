//! Packets in the byte stream ([MS-SSTP] 2.2.1 to 2.2.3). Neither TLS records nor TCP segments say where one ends.
use crate::api::{HEADER_LEN, MAX_PACKET};

/// SSTP 1.0.
pub const VERSION: u8 = 0x10;

/// The C bit in the second byte of a header; the other seven are reserved.
pub const CONTROL_BIT: u8 = 0x01;

/// The longest PPP frame that one packet carries.
pub const MAX_PPP: usize = MAX_PACKET - HEADER_LEN;

/// Header, message type and number of attributes: the shortest control packet.
pub const MIN_CONTROL: usize = 8;

/// One packet at the beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// A control message; otherwise a PPP frame follows the header.
    pub control: bool,
    /// Bytes with the header: 4 to 4095, for control messages from 8 on.
    pub len: usize,
}

/// Where the next packet begins cannot be known: the connection must end, and nothing may be sent ([MS-SSTP] 3.1.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undelimitable {
    #[error("the client sent a packet with version 0x{0:02x}; SSTP 1.0 is 0x10")]
    Version(u8),
    #[error("the client sent a packet with length {0}, shorter than its header of 4 bytes")]
    Length(usize),
    #[error("the client sent a control packet with length {0}; the shortest has 8 bytes")]
    ControlLength(usize),
}

/// The packet at the beginning of `stream`; `None` until all its bytes are there. Reserved bits are ignored.
#[inline]
pub fn next(stream: &[u8]) -> Result<Option<Frame>, Undelimitable> {
    let &[version, flags, high, low, ..] = stream else {
        return match stream.first() {
            Some(&version) if version != VERSION => Err(Undelimitable::Version(version)),
            _ => Ok(None),
        };
    };
    if version != VERSION {
        return Err(Undelimitable::Version(version));
    }
    let len = usize::from(u16::from_be_bytes([high, low]) & 0x0fff);
    let control = flags & CONTROL_BIT != 0;
    if len < HEADER_LEN {
        return Err(Undelimitable::Length(len));
    }
    if control && len < MIN_CONTROL {
        return Err(Undelimitable::ControlLength(len));
    }
    Ok((stream.len() >= len).then_some(Frame { control, len }))
}

/// Writes the header of a data packet with a PPP frame of `ppp_len` bytes to the first [`HEADER_LEN`] bytes of `out`.
///
/// # Panics
/// When `out` is shorter than the header, or `ppp_len` exceeds [`MAX_PPP`].
#[inline]
pub fn write_data_header(out: &mut [u8], ppp_len: usize) {
    assert!(ppp_len <= MAX_PPP, "a PPP frame of {ppp_len} bytes does not fit an SSTP packet");
    let [high, low] = ((HEADER_LEN + ppp_len) as u16).to_be_bytes();
    out[..HEADER_LEN].copy_from_slice(&[VERSION, 0, high, low]);
}

/// Whether a PPP frame must wait for [`crate::Output::Connected`]: it carries no control protocol (RFC 1661 section 2: those have numbers
/// from 0x8000 on), or nothing that can be told. Knows both forms of the protocol field, with and without address and control field.
#[inline]
pub fn is_ppp_data(frame: &[u8]) -> bool {
    let protocol = match frame {
        [0xff, 0x03, rest @ ..] => rest,
        whole => whole,
    };
    // A protocol field of one byte is odd (RFC 1661 section 6.5); it stands for numbers below 0x0100.
    !matches!(protocol, [high, _, ..] if high & 1 == 0 && *high >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts a whole stream as a shell does, fed with pieces of these sizes.
    fn cut(stream: &[u8], pieces: impl Iterator<Item = usize>) -> (Vec<(bool, Vec<u8>)>, Option<Undelimitable>) {
        let (mut packets, mut buffer, mut rest) = (Vec::new(), Vec::new(), stream);
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            buffer.extend_from_slice(now);
            rest = later;
            loop {
                match next(&buffer) {
                    Ok(Some(frame)) => packets.push((frame.control, buffer.drain(..frame.len).collect())),
                    Ok(None) => break,
                    Err(error) => return (packets, Some(error)),
                }
            }
        }
        (packets, None)
    }

    fn packet(control: bool, reserved: u8, r: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() + 4) as u16 | u16::from(r) << 12;
        [&[VERSION, reserved << 1 | u8::from(control)], &len.to_be_bytes()[..], body].concat()
    }

    fn any_packet() -> impl Strategy<Value = (bool, Vec<u8>)> {
        let body = prop_oneof![4 => 4usize..64, 1 => Just(4091usize), 1 => 4usize..=4091];
        (any::<bool>(), 0u8..128, 0u8..16, body, any::<u8>())
            .prop_map(|(control, reserved, r, len, fill)| (control, packet(control, reserved, r, &vec![fill; len])))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_split_gives_the_same_packets(
            packets in prop::collection::vec(any_packet(), 1..6),
            sizes in prop::collection::vec(1usize..3000, 1..12),
            garbage in any::<bool>(),
        ) {
            let mut stream = packets.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>();
            if garbage {
                stream.push(0x11);
            }
            let error = garbage.then_some(Undelimitable::Version(0x11));
            prop_assert_eq!(cut(&stream, sizes.into_iter().cycle().take(stream.len())), (packets.clone(), error));
            prop_assert_eq!(cut(&stream, std::iter::repeat_n(1, stream.len())), (packets.clone(), error));
            prop_assert_eq!(cut(&stream, std::iter::once(stream.len())), (packets, error));
        }

        #[test]
        fn what_is_written_is_read(len in 0..=MAX_PPP) {
            let mut bytes = vec![0xee; HEADER_LEN + len];
            write_data_header(&mut bytes, len);
            prop_assert_eq!(next(&bytes), Ok(Some(Frame { control: false, len: HEADER_LEN + len })));
            prop_assert!(bytes[HEADER_LEN..].iter().all(|byte| *byte == 0xee));
        }
    }

    #[test]
    fn bounds() {
        assert_eq!(next(&[]), Ok(None));
        assert_eq!(next(&[0x10, 0, 0]), Ok(None));
        assert_eq!(next(&[0x10, 0, 0, 4]), Ok(Some(Frame { control: false, len: 4 })));
        assert_eq!(next(&[0x10, 1, 0, 8, 0, 8, 0]), Ok(None));
        assert_eq!(next(&[0x10, 1, 0, 8, 0, 8, 0, 0]), Ok(Some(Frame { control: true, len: 8 })));
        let longest = packet(true, 0x7f, 0xf, &[0; MAX_PPP]);
        assert_eq!(next(&longest), Ok(Some(Frame { control: true, len: MAX_PACKET })));
        assert_eq!(next(&longest[..MAX_PACKET - 1]), Ok(None));
    }

    #[test]
    fn what_cannot_be_delimited() {
        for version in [0, 0x01, 0x11, 0x20, 0x16, b'H'] {
            assert_eq!(next(&[version]), Err(Undelimitable::Version(version)), "known from the first byte on");
            assert_eq!(next(&[version, 0, 0, 20]), Err(Undelimitable::Version(version)));
        }
        for len in 0..4u8 {
            assert_eq!(next(&[0x10, 0, 0xf0, len]), Err(Undelimitable::Length(len.into())));
            assert_eq!(next(&[0x10, 1, 0, len]), Err(Undelimitable::Length(len.into())));
        }
        for len in 4..8u8 {
            assert_eq!(next(&[0x10, 0x01, 0, len]), Err(Undelimitable::ControlLength(len.into())));
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_frame_too_long_is_our_mistake() {
        write_data_header(&mut [0; 8], MAX_PPP + 1);
    }

    #[test]
    fn ppp_data_and_control() {
        let control: [&[u8]; 6] = [
            &[0xff, 0x03, 0xc0, 0x21, 1],
            &[0xc0, 0x21],
            &[0xff, 0x03, 0xc2, 0x27, 1],
            &[0x80, 0x21, 1],
            &[0x80, 0x57, 1],
            &[0xff, 0x03, 0x80, 0xfd],
        ];
        let data: [&[u8]; 12] = [
            &[0xff, 0x03, 0x00, 0x21, 0x45],
            &[0x00, 0x21, 0x45],
            &[0x21, 0x45],
            &[0xff, 0x03, 0x21, 0x45],
            &[0xff, 0x03, 0x00, 0x57, 0x60],
            &[0x00, 0x57, 0x60],
            &[0x57, 0x60],
            &[0xff, 0x03, 0x57, 0x60],
            &[0x00, 0xfd],
            &[0xff, 0x03],
            &[0xc0],
            &[],
        ];
        control.iter().for_each(|frame| assert!(!is_ppp_data(frame), "{frame:02x?}"));
        data.iter().for_each(|frame| assert!(is_ppp_data(frame), "{frame:02x?}"));
    }
}
