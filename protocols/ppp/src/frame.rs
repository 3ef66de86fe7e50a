//! PPP frames without HDLC flags and FCS (RFC 1661 section 2, RFC 1662 section 3.1): what the packet path needs.

/// Address, control and protocol field before an IPv4 packet.
pub const IPV4_HEADER: [u8; 4] = [0xFF, 0x03, 0x00, 0x21];

/// Address, control and protocol field before an IPv6 packet.
pub const IPV6_HEADER: [u8; 4] = [0xFF, 0x03, 0x00, 0x57];

/// What a frame carries; `offset` is where that begins in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Ipv4 {
        offset: usize,
    },
    Ipv6 {
        offset: usize,
    },
    /// Any other protocol: for [`crate::Link`].
    Control {
        protocol: u16,
        offset: usize,
    },
    /// No protocol field, or one that cannot be (RFC 1661 section 2: the last octet is odd, all others are even).
    Malformed,
}

/// Reads the fields before the payload. Address and control field may be missing and the protocol field may have one octet, negotiated or
/// not: a receiver that takes both costs nothing, and Windows sends both once their compression was acknowledged.
#[inline]
pub fn classify(frame: &[u8]) -> Class {
    let start = if let [0xFF, 0x03, ..] = frame { 2 } else { 0 };
    let (protocol, offset) = match frame[start..] {
        [only, ..] if only & 1 == 1 => (u16::from(only), start + 1),
        [high, low, ..] if low & 1 == 1 => (u16::from_be_bytes([high, low]), start + 2),
        _ => return Class::Malformed,
    };
    match protocol {
        0x0021 => Class::Ipv4 { offset },
        0x0057 => Class::Ipv6 { offset },
        protocol => Class::Control { protocol, offset },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_the_header_is_read() {
        assert_eq!(classify(&[0xFF, 0x03, 0x00, 0x21, 0x45]), Class::Ipv4 { offset: 4 });
        assert_eq!(classify(&[0xFF, 0x03, 0x21, 0x45]), Class::Ipv4 { offset: 3 });
        assert_eq!(classify(&[0x00, 0x21, 0x45]), Class::Ipv4 { offset: 2 });
        assert_eq!(classify(&[0x21, 0x45]), Class::Ipv4 { offset: 1 });
        assert_eq!(classify(&[0x57, 0x60]), Class::Ipv6 { offset: 1 });
        assert_eq!(classify(&IPV6_HEADER), Class::Ipv6 { offset: 4 });
        assert_eq!(classify(&IPV4_HEADER), Class::Ipv4 { offset: 4 });
        assert_eq!(classify(&[0xFF, 0x03, 0xC0, 0x21, 1]), Class::Control { protocol: 0xC021, offset: 4 });
        assert_eq!(classify(&[0x80, 0x57, 1]), Class::Control { protocol: 0x8057, offset: 2 });
    }

    #[test]
    fn what_has_no_protocol_is_malformed() {
        for frame in [&[][..], &[0xFF, 0x03], &[0xFF, 0x03, 0x00], &[0x00], &[0xC0], &[0xC0, 0x20], &[0xFF, 0x03, 0x80, 0x22, 1]] {
            assert_eq!(classify(frame), Class::Malformed, "{frame:02x?}");
        }
    }

    proptest! {
        #[test]
        fn the_offset_is_within_the_frame(frame in proptest::collection::vec(any::<u8>(), 0..40)) {
            match classify(&frame) {
                Class::Ipv4 { offset } | Class::Ipv6 { offset } | Class::Control { offset, .. } => {
                    prop_assert!((1..=4).contains(&offset) && offset <= frame.len());
                }
                Class::Malformed => {}
            }
        }
    }
}
