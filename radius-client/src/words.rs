//! Attributes of an Access-Accept as names and text, for policies that look at them.
use crate::attributes::{AttributeId, VENDOR_MICROSOFT, microsoft, number};
use crate::codec::Packet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Of one reply at most.
const ATTRIBUTES_MAX: usize = 128;

/// Every attribute that says something of the user, in order: its name as RADIUS servers have it (`26.VENDOR.TYPE` or `TYPE` where it has none
/// here), and its value: numbers in decimal, addresses as usual, text as it is, anything else as 0x and hexadecimal digits. Keys, challenges and what
/// belongs to the exchange itself is left out.
pub(crate) fn words(reply: &Packet<'_>) -> Vec<(String, String)> {
    let told = reply.identified().into_iter().filter(|(id, _)| !is_of_the_exchange(*id));
    told.take(ATTRIBUTES_MAX).map(|(id, value)| word(id, value)).collect()
}

/// The name of one attribute, and its value as text.
pub(crate) fn word(id: AttributeId, value: &[u8]) -> (String, String) {
    (name(id), text(id, value))
}

fn name(id: AttributeId) -> String {
    let name = id.to_string();
    name.strip_prefix("attribute ").map_or_else(|| name.clone(), str::to_owned)
}

fn is_of_the_exchange(id: AttributeId) -> bool {
    /// Tunnel-Password (RFC 2868 section 3.5).
    const TUNNEL_PASSWORD: u8 = 69;
    let standard = [number::STATE, number::PROXY_STATE, number::EAP_MESSAGE, number::MESSAGE_AUTHENTICATOR, TUNNEL_PASSWORD];
    let secret = [microsoft::MPPE_SEND_KEY, microsoft::MPPE_RECV_KEY, microsoft::CHAP2_SUCCESS, microsoft::CHAP_ERROR];
    /// MS-CHAP-MPPE-Keys (RFC 2548 section 2.4.1).
    const CHAP_MPPE_KEYS: u8 = 12;
    match id.vendor {
        0 => standard.contains(&id.number),
        VENDOR_MICROSOFT => secret.contains(&id.number) || id.number == CHAP_MPPE_KEYS,
        _ => false,
    }
}

pub(crate) fn text(id: AttributeId, value: &[u8]) -> String {
    let known = match (id.vendor, id.number) {
        (0, number) if is_number(number) => value.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        // A tag, then 24 bits (RFC 2868 section 3.1).
        (0, number::TUNNEL_TYPE | number::TUNNEL_MEDIUM_TYPE) => {
            value.try_into().ok().map(|[_, a, b, c]: [u8; 4]| u32::from_be_bytes([0, a, b, c]).to_string())
        }
        (0, number::FRAMED_IP_ADDRESS | 9) => <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        (0, number::FRAMED_IPV6_ADDRESS | number::DNS_SERVER_IPV6_ADDRESS) => {
            <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).to_string())
        }
        (VENDOR_MICROSOFT, 28..=31) => <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        (VENDOR_MICROSOFT, 7 | 8 | 13..=15 | 37) => value.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        _ => None,
    };
    known.or_else(|| printable(untagged(id, value))).unwrap_or_else(|| hexadecimal(value))
}

/// Attributes whose values are numbers (RFC 2865, 2869, 5176).
fn is_number(number: u8) -> bool {
    matches!(
        number,
        number::SERVICE_TYPE
            | number::FRAMED_PROTOCOL
            | 10
            | number::FRAMED_MTU
            | 13
            | number::SESSION_TIMEOUT
            | number::IDLE_TIMEOUT
            | number::TERMINATION_ACTION
            | number::PORT_LIMIT
            | number::ACCT_INTERIM_INTERVAL
    )
}

/// Strings about tunnels may begin with a tag of up to 0x1F (RFC 2868 sections 3.3 and 3.6).
fn untagged(id: AttributeId, value: &[u8]) -> &[u8] {
    match value {
        [0..=0x1F, rest @ ..] if id.vendor == 0 && matches!(id.number, 66 | 67 | 81 | 82 | 90 | 91) => rest,
        value => value,
    }
}

fn printable(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned)
}

fn hexadecimal(value: &[u8]) -> String {
    value.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        let standard = AttributeId::standard;
        for (id, value, expected) in [
            (standard(11), b"staff".as_slice(), "staff"),
            (standard(25), b"\x00\x01\xff".as_slice(), "0x0001ff"),
            (standard(27), [0, 0, 14, 16].as_slice(), "3600"),
            (standard(27), [14, 16].as_slice(), "0x0e10"),
            (standard(8), [10, 0, 0, 7].as_slice(), "10.0.0.7"),
            (standard(64), [1, 0, 0, 9].as_slice(), "9"),
            (standard(81), b"\x0120".as_slice(), "20"),
            (standard(81), b"20".as_slice(), "20"),
            (AttributeId::microsoft(28), [10, 0, 0, 53].as_slice(), "10.0.0.53"),
            (AttributeId { vendor: 9, number: 1 }, b"shell:priv-lvl=15".as_slice(), "shell:priv-lvl=15"),
        ] {
            assert_eq!(text(id, value), expected, "{id}");
        }
        assert_eq!(name(AttributeId { vendor: 9, number: 1 }), "26.9.1");
        assert_eq!(name(standard(99)), AttributeId::standard(99).to_string());
        assert_eq!(name(standard(201)), "201");
        assert_eq!(name(standard(11)), "Filter-Id");
    }

    #[test]
    fn nothing_secret_is_told() {
        for id in [
            AttributeId::standard(24),
            AttributeId::standard(69),
            AttributeId::standard(80),
            AttributeId::microsoft(16),
            AttributeId::microsoft(17),
        ] {
            assert!(is_of_the_exchange(id), "{id}");
        }
    }
}
