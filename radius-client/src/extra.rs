//! Attributes that an administrator adds to the requests to a server, for its policies to match on.
use crate::attributes::{AttributeId, VENDOR_MICROSOFT, number};
use crate::codec::{Builder, MAX_VALUE};
use std::net::{Ipv4Addr, Ipv6Addr};

/// An attribute with its value, written `NAS-Port-Id = "vpn"`, `77 = text:1000 Mbit/s` or `26.9.1 = text:shell:priv-lvl=1`. A number needs the type of
/// its value (`text:`, `integer:`, `ipv4:`, `ipv6:`, `hex:`), a name has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraAttribute {
    id: AttributeId,
    value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Ipv4,
    Ipv6,
    Hex,
}

const KINDS: &[(&str, Kind)] =
    &[("text", Kind::Text), ("integer", Kind::Integer), ("ipv4", Kind::Ipv4), ("ipv6", Kind::Ipv6), ("hex", Kind::Hex)];

/// Attributes by name that say something of a NAS or of a connection and that requests do not have by themselves.
const NAMES: &[(&str, AttributeId, Kind)] = &[
    ("Login-Service", AttributeId::standard(15), Kind::Integer),
    ("Login-LAT-Service", AttributeId::standard(34), Kind::Text),
    ("Connect-Info", AttributeId::standard(77), Kind::Text),
    ("NAS-Port-Id", AttributeId::standard(87), Kind::Text),
    ("Tunnel-Private-Group-Id", AttributeId::standard(81), Kind::Text),
    ("Tunnel-Client-Auth-Id", AttributeId::standard(90), Kind::Text),
    ("Tunnel-Server-Auth-Id", AttributeId::standard(91), Kind::Text),
    ("Operator-Name", AttributeId::standard(126), Kind::Text),
    ("MS-Service-Class", AttributeId::microsoft(42), Kind::Text),
    ("MS-Identity-Type", AttributeId::microsoft(41), Kind::Integer),
    ("MS-Machine-Name", AttributeId::microsoft(50), Kind::Text),
];

/// What requests have by themselves, and what only whoever proves something may write; two of one kind, or a secret in a configuration, are faults.
const TAKEN: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 12, 24, 30, 31, 32, 33, 44, 60, 61, 64, 65, 66, 67, 69, 79, 80, 95];
const TAKEN_OF_MICROSOFT: &[u8] = &[1, 3, 4, 5, 6, 9, 11, 12, 16, 17, 18, 25, 27, 34, 35, 47, 56];

impl ExtraAttribute {
    /// Reads `attribute = value`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("has no \"=\"")?;
        let (name, value) = (name.trim(), value.trim());
        let (id, kind) = match NAMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
            Some(&(_, id, kind)) => (id, Some(kind)),
            None => (number_of(name)?, None),
        };
        let taken = if id.vendor == VENDOR_MICROSOFT { TAKEN_OF_MICROSOFT } else { TAKEN };
        let accounting = id.vendor == 0 && ((40..=59).contains(&id.number) || id.number == number::VENDOR_SPECIFIC);
        if accounting || (matches!(id.vendor, 0 | VENDOR_MICROSOFT) && taken.contains(&id.number)) {
            return Err(format!("{id} is written by the gateway itself"));
        }
        let (kind, value) = match kind {
            Some(kind) => (kind, value),
            None => typed(value)?,
        };
        let value = bytes(kind, value)?;
        // Vendor-Specific: number of the vendor, type and length of the attribute inside.
        let room = if id.vendor == 0 { MAX_VALUE } else { MAX_VALUE - 6 };
        if value.is_empty() || value.len() > room {
            return Err(format!("{id} has a value of {} bytes; it may have 1 to {room}", value.len()));
        }
        Ok(Self { id, value })
    }

    /// Its value as text, if it is this attribute of the RFCs.
    pub(crate) fn text_of(&self, number: u8) -> Option<String> {
        (self.id == AttributeId::standard(number)).then(|| String::from_utf8_lossy(&self.value).into_owned())
    }

    pub(crate) fn put(&self, packet: &mut Builder) {
        match self.id.vendor {
            0 => packet.put(self.id.number, &self.value),
            vendor => packet.put_vendor(vendor, self.id.number, &self.value),
        };
    }
}

/// `77`, or `26.9.1`: vendor and type.
fn number_of(name: &str) -> Result<AttributeId, String> {
    let unknown = || {
        let names: Vec<_> = NAMES.iter().map(|(name, ..)| *name).collect();
        format!("{name:?} is neither a number from 1 to 255, nor 26.VENDOR.TYPE, nor one of {}", names.join(", "))
    };
    let parts: Vec<_> = name.split('.').collect();
    let byte = |text: &str| text.parse::<u8>().ok().filter(|number| *number > 0);
    let id = match parts[..] {
        [number] => byte(number).map(AttributeId::standard),
        ["26", vendor, number] => vendor
            .parse()
            .ok()
            .filter(|vendor| (1..1 << 24).contains(vendor))
            .and_then(|vendor| Some(AttributeId { vendor, number: byte(number)? })),
        _ => None,
    };
    id.ok_or_else(unknown)
}

fn typed(value: &str) -> Result<(Kind, &str), String> {
    let (word, rest) = value.split_once(':').unwrap_or_default();
    let kind = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    kind.map(|kind| (kind, rest)).ok_or_else(|| "needs the type of its value: text:, integer:, ipv4:, ipv6: or hex:".into())
}

fn bytes(kind: Kind, value: &str) -> Result<Vec<u8>, String> {
    let wrong = |what: &str| format!("{value:?} is no {what}");
    match kind {
        Kind::Text => Ok(value.as_bytes().to_vec()),
        Kind::Integer => value.parse::<u32>().map(|number| number.to_be_bytes().to_vec()).map_err(|_| wrong("whole number of 32 bits")),
        Kind::Ipv4 => value.parse::<Ipv4Addr>().map(|address| address.octets().to_vec()).map_err(|_| wrong("IPv4 address")),
        Kind::Ipv6 => value.parse::<Ipv6Addr>().map(|address| address.octets().to_vec()).map_err(|_| wrong("IPv6 address")),
        Kind::Hex => hex(value.strip_prefix("0x").unwrap_or(value)).ok_or_else(|| wrong("row of hexadecimal digits, two a byte")),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let byte = |pair: &[u32]| match *pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::microsoft;

    #[test]
    fn names_and_numbers_with_typed_values() {
        let read = |text| ExtraAttribute::parse(text).map(|extra| (extra.id.vendor, extra.id.number, extra.value));
        assert_eq!(read("nas-port-id = vpn"), Ok((0, 87, b"vpn".to_vec())));
        assert_eq!(read("77 = text:a:b=c"), Ok((0, 77, b"a:b=c".to_vec())));
        assert_eq!(read("MS-Identity-Type=2"), Ok((311, 41, vec![0, 0, 0, 2])));
        assert_eq!(read("26.9.1 = ipv4:192.0.2.1"), Ok((9, 1, vec![192, 0, 2, 1])));
        assert_eq!(read("200 = hex:0x00fF"), Ok((0, 200, vec![0, 255])));
        assert_eq!(read("26.9.2 = integer:7"), Ok((9, 2, vec![0, 0, 0, 7])));
        assert_eq!(read("26.9.2 = ipv6:::1").map(|(.., value)| value.len()), Ok(16));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| ExtraAttribute::parse(text).unwrap_err();
        for taken in
            ["1 = text:bob", "2 = text:secret", "80 = hex:00", "24 = hex:00", "26 = hex:00", "44 = text:1", "26.311.47 = integer:1"]
        {
            assert!(error(taken).contains("is written by the gateway itself"), "{}", error(taken));
        }
        for (text, cause) in [
            ("NAS-Port-Id", "has no \"=\""),
            ("0 = text:a", "is neither a number"),
            ("256 = text:a", "is neither a number"),
            ("26.0.1 = text:a", "is neither a number"),
            ("Nas-Name = a", "one of Login-Service"),
            ("77 = a", "needs the type of its value"),
            ("77 = word:a", "needs the type of its value"),
            ("77 = integer:-1", "no whole number"),
            ("77 = hex:abc", "hexadecimal digits"),
            ("77 = hex:", "has a value of 0 bytes"),
            ("NAS-Port-Id =", "has a value of 0 bytes"),
        ] {
            assert!(error(text).contains(cause), "{text}: {}", error(text));
        }
        assert!(error(&format!("26.9.1 = text:{}", "x".repeat(248))).contains("1 to 247"));
    }

    #[test]
    fn microsofts_secrets_are_not_for_a_configuration() {
        for number in [microsoft::MPPE_SEND_KEY, microsoft::MPPE_RECV_KEY, microsoft::CHAP_NT_ENC_PW] {
            assert!(ExtraAttribute::parse(&format!("26.311.{number} = hex:00")).is_err());
        }
    }
}
