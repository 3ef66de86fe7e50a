//! The header of a PPP frame: what the packet path reads of every packet.
use ppp::frame::{Class, IPV4_HEADER, IPV6_HEADER, classify};

/// The offset lies within the frame, and the payload under a whole header is of the same class.
pub fn ppp_frame(data: &[u8]) {
    let (offset, header, class) = match classify(data) {
        Class::Malformed => return,
        Class::Ipv4 { offset } => (offset, IPV4_HEADER, Class::Ipv4 { offset: 4 }),
        Class::Ipv6 { offset } => (offset, IPV6_HEADER, Class::Ipv6 { offset: 4 }),
        Class::Control { protocol, offset } => {
            let [high, low] = protocol.to_be_bytes();
            assert!(high & 1 == 0 && low & 1 == 1, "protocol {protocol:04x}");
            (offset, [0xFF, 0x03, high, low], Class::Control { protocol, offset: 4 })
        }
    };
    assert!((1..=4).contains(&offset) && offset <= data.len());
    assert_eq!(classify(&[&header, &data[offset..]].concat()), class);
}
