//! Packets for people who look on: names and values, and never a secret.
use crate::attributes::{AttributeId, VENDOR_MICROSOFT, VENDOR_WISPR, microsoft, number};
use crate::codec::{HEADER, Packet, code};
use crate::words;

/// The value of an attribute, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Text(String),
    /// The EAP packet of all EAP-Messages. It may hold secrets.
    Eap(Vec<u8>),
    /// A secret, or what may be one: bytes.
    Withheld(usize),
}

/// What a packet is, or its number.
pub fn code_name(number: u8) -> String {
    let name = match number {
        code::ACCESS_REQUEST => "Access-Request",
        code::ACCESS_ACCEPT => "Access-Accept",
        code::ACCESS_REJECT => "Access-Reject",
        code::ACCOUNTING_REQUEST => "Accounting-Request",
        code::ACCOUNTING_RESPONSE => "Accounting-Response",
        code::ACCESS_CHALLENGE => "Access-Challenge",
        code::STATUS_SERVER => "Status-Server",
        code::DISCONNECT_REQUEST => "Disconnect-Request",
        code::DISCONNECT_ACK => "Disconnect-ACK",
        code::DISCONNECT_NAK => "Disconnect-NAK",
        code::COA_REQUEST => "CoA-Request",
        code::COA_ACK => "CoA-ACK",
        code::COA_NAK => "CoA-NAK",
        code::PROTOCOL_ERROR => "Protocol-Error",
        other => return format!("RADIUS code {other}"),
    };
    name.into()
}

/// All attributes in their order, those inside Vendor-Specific by themselves; the EAP-Messages as one, where the first of them is. What is not known to
/// be harmless is withheld.
pub fn attributes(packet: &Packet<'_>) -> Vec<(String, Shown)> {
    let mut found = Vec::new();
    let mut eap = packet.eap_message();
    for (id, value) in packet.identified() {
        let shown = match id {
            AttributeId { vendor: 0, number: number::EAP_MESSAGE } => match eap.take() {
                Some(eap) => Shown::Eap(eap),
                None => continue,
            },
            AttributeId { vendor: VENDOR_MICROSOFT, number: microsoft::CHAP_ERROR } => Shown::Text(without_challenge(value)),
            id if is_harmless(id) => Shown::Text(text(id, value)),
            _ => Shown::Withheld(value.len()),
        };
        found.push((name(id), shown));
    }
    found
}

/// The packet with zeros for the value of whatever [`attributes`] withholds, and of EAP for what its method does not protect. State and
/// Message-Authenticator stay: they tell exchanges apart, and hide nothing. Of what is no RADIUS packet the header stays, if it has one.
pub fn without_secrets(bytes: &[u8]) -> Vec<u8> {
    let mut shown = bytes.to_vec();
    let packet = Packet::parse(bytes).ok();
    let last = packet.as_ref().and_then(|packet| packet.attributes().last());
    let end = last.map_or(HEADER, |last| last.offset + 2 + last.value.len());
    shown.iter_mut().skip(end).for_each(|padding| *padding = 0);
    let Some(packet) = packet else { return shown };
    // Of the EAP packet, how much of what follows may be seen.
    let mut open = packet.eap_message().map_or(0, |eap| eap::harmless_prefix(&eap));
    for (id, at, value) in packet.placed() {
        let kept = match id {
            AttributeId { vendor: 0, number: number::EAP_MESSAGE } => {
                let kept = value.len().min(open);
                open -= kept;
                kept
            }
            AttributeId { vendor: 0, number: number::STATE | number::MESSAGE_AUTHENTICATOR }
            | AttributeId { vendor: VENDOR_MICROSOFT, number: microsoft::CHAP_ERROR } => value.len(),
            id if is_harmless(id) => value.len(),
            _ => 0,
        };
        shown[at + kept..at + value.len()].fill(0);
    }
    shown
}

/// Identifier, then `E=691 R=1 C=.. V=3 M=..` (RFC 2548 section 2.1.5).
fn without_challenge(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
    text.split(' ').filter(|word| !word.starts_with("C=")).collect::<Vec<_>>().join(" ")
}

fn is_harmless(id: AttributeId) -> bool {
    match id.vendor {
        // The numbers that this library knows, but those of the exchange itself.
        0 => {
            let secret = [
                number::USER_PASSWORD,
                number::CHAP_PASSWORD,
                number::CHAP_CHALLENGE,
                number::STATE,
                number::PROXY_STATE,
                number::MESSAGE_AUTHENTICATOR,
            ];
            !secret.contains(&id.number) && (standard_name(id.number).is_some() || !id.to_string().starts_with("attribute"))
        }
        VENDOR_MICROSOFT => {
            matches!(id.number, 7..=10 | 13..=15 | microsoft::RAS_VERSION | 21..=24 | 28..=32 | 34..=37 | 47..=56 | microsoft::AZURE_POLICY_ID)
        }
        VENDOR_WISPR => true,
        _ => false,
    }
}

fn text(id: AttributeId, value: &[u8]) -> String {
    let numbers = [
        number::NAS_PORT,
        number::ACCT_STATUS_TYPE,
        number::ACCT_DELAY_TIME,
        number::ACCT_INPUT_OCTETS,
        number::ACCT_OUTPUT_OCTETS,
        number::ACCT_AUTHENTIC,
        number::ACCT_SESSION_TIME,
        number::ACCT_INPUT_PACKETS,
        number::ACCT_OUTPUT_PACKETS,
        number::ACCT_TERMINATE_CAUSE,
        number::ACCT_INPUT_GIGAWORDS,
        number::ACCT_OUTPUT_GIGAWORDS,
        number::EVENT_TIMESTAMP,
        number::NAS_PORT_TYPE,
        number::ERROR_CAUSE,
    ];
    match (id.vendor, id.number, <[u8; 4]>::try_from(value)) {
        (0, number, Ok(bytes)) if numbers.contains(&number) => u32::from_be_bytes(bytes).to_string(),
        (0, number::NAS_IP_ADDRESS, Ok(bytes)) => std::net::Ipv4Addr::from(bytes).to_string(),
        (VENDOR_MICROSOFT, microsoft::RAS_VENDOR | microsoft::ACCT_AUTH_TYPE | microsoft::ACCT_EAP_TYPE | 47, Ok(bytes)) => {
            u32::from_be_bytes(bytes).to_string()
        }
        _ => words::text(id, value),
    }
}

fn name(id: AttributeId) -> String {
    let known = match id.vendor {
        0 => standard_name(id.number),
        VENDOR_MICROSOFT => microsoft_name(id.number),
        _ => None,
    };
    known.map_or_else(|| id.to_string(), str::to_owned)
}

/// Names of what requests carry; those of replies are [`AttributeId`]'s.
fn standard_name(number: u8) -> Option<&'static str> {
    Some(match number {
        number::USER_PASSWORD => "User-Password",
        number::CHAP_PASSWORD => "CHAP-Password",
        number::NAS_PORT => "NAS-Port",
        number::PROXY_STATE => "Proxy-State",
        number::ACCT_STATUS_TYPE => "Acct-Status-Type",
        number::ACCT_DELAY_TIME => "Acct-Delay-Time",
        number::ACCT_INPUT_OCTETS => "Acct-Input-Octets",
        number::ACCT_OUTPUT_OCTETS => "Acct-Output-Octets",
        number::ACCT_AUTHENTIC => "Acct-Authentic",
        number::ACCT_SESSION_TIME => "Acct-Session-Time",
        number::ACCT_INPUT_PACKETS => "Acct-Input-Packets",
        number::ACCT_OUTPUT_PACKETS => "Acct-Output-Packets",
        number::ACCT_TERMINATE_CAUSE => "Acct-Terminate-Cause",
        number::ACCT_MULTI_SESSION_ID => "Acct-Multi-Session-Id",
        number::ACCT_INPUT_GIGAWORDS => "Acct-Input-Gigawords",
        number::ACCT_OUTPUT_GIGAWORDS => "Acct-Output-Gigawords",
        number::EVENT_TIMESTAMP => "Event-Timestamp",
        number::NAS_PORT_TYPE => "NAS-Port-Type",
        number::ACCT_TUNNEL_CONNECTION => "Acct-Tunnel-Connection",
        number::EAP_MESSAGE => "EAP-Message",
        number::MESSAGE_AUTHENTICATOR => "Message-Authenticator",
        number::NAS_IPV6_ADDRESS => "NAS-IPv6-Address",
        number::ERROR_CAUSE => "Error-Cause",
        _ => return None,
    })
}

fn microsoft_name(number: u8) -> Option<&'static str> {
    Some(match number {
        microsoft::CHAP_ERROR => "MS-CHAP-Error",
        microsoft::CHAP_NT_ENC_PW => "MS-CHAP-NT-Enc-PW",
        microsoft::RAS_VENDOR => "MS-RAS-Vendor",
        microsoft::CHAP_CHALLENGE => "MS-CHAP-Challenge",
        12 => "MS-CHAP-MPPE-Keys",
        microsoft::MPPE_SEND_KEY => "MS-MPPE-Send-Key",
        microsoft::MPPE_RECV_KEY => "MS-MPPE-Recv-Key",
        microsoft::RAS_VERSION => "MS-RAS-Version",
        microsoft::ACCT_AUTH_TYPE => "MS-Acct-Auth-Type",
        microsoft::ACCT_EAP_TYPE => "MS-Acct-EAP-Type",
        microsoft::CHAP2_RESPONSE => "MS-CHAP2-Response",
        microsoft::CHAP2_SUCCESS => "MS-CHAP2-Success",
        microsoft::CHAP2_CPW => "MS-CHAP2-CPW",
        microsoft::PRIMARY_DNS_SERVER => "MS-Primary-DNS-Server",
        microsoft::SECONDARY_DNS_SERVER => "MS-Secondary-DNS-Server",
        microsoft::PRIMARY_NBNS_SERVER => "MS-Primary-NBNS-Server",
        microsoft::SECONDARY_NBNS_SERVER => "MS-Secondary-NBNS-Server",
        microsoft::RAS_CLIENT_NAME => "MS-RAS-Client-Name",
        microsoft::RAS_CLIENT_VERSION => "MS-RAS-Client-Version",
        microsoft::NETWORK_ACCESS_SERVER_TYPE => "MS-Network-Access-Server-Type",
        microsoft::RAS_CORRELATION_ID => "MS-RAS-Correlation-ID",
        microsoft::AZURE_POLICY_ID => "MS-Azure-Policy-ID",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Builder;

    const SECRET: &[u8] = b"0123456789abcdef";

    fn shown(build: impl FnOnce(&mut Builder)) -> Vec<(String, Shown)> {
        let mut builder = Builder::access_request(1, &[0; 16]);
        build(&mut builder);
        attributes(&Packet::parse(&builder.sign(b"xyzzy").unwrap()).unwrap())
    }

    #[test]
    fn names_and_values_are_told() {
        let found = shown(|packet| {
            packet.put(number::USER_NAME, b"alice").put_u32(number::NAS_PORT, 7).put(number::NAS_IP_ADDRESS, &[192, 0, 2, 1]);
            packet.put_microsoft(microsoft::RAS_CLIENT_NAME, b"PC1").put_microsoft(microsoft::PRIMARY_DNS_SERVER, &[10, 0, 0, 53]);
            packet.put_microsoft(microsoft::CHAP_ERROR, b"\x01E=691 R=0 C=00112233 V=3 M=No");
        });
        let text = |name: &str, value: &str| (name.to_owned(), Shown::Text(value.into()));
        let expected = [
            ("Message-Authenticator".to_owned(), Shown::Withheld(16)),
            text("User-Name", "alice"),
            text("NAS-Port", "7"),
            text("NAS-IP-Address", "192.0.2.1"),
            text("MS-RAS-Client-Name", "PC1"),
            text("MS-Primary-DNS-Server", "10.0.0.53"),
            text("MS-CHAP-Error", "E=691 R=0 V=3 M=No"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn eap_in_pieces_is_one_packet() {
        let found = shown(|packet| {
            packet.put_eap(&[7; 600]);
        });
        assert_eq!(found[1..], [("EAP-Message".to_owned(), Shown::Eap(vec![7; 600]))]);
    }

    /// What `build` makes, and the same without secrets.
    fn bare(build: impl FnOnce(&mut Builder)) -> (Vec<u8>, Vec<u8>) {
        let mut builder = Builder::access_request(1, &[7; 16]);
        build(&mut builder);
        let bytes = builder.sign(b"xyzzy").unwrap();
        let shown = without_secrets(&bytes);
        (bytes, shown)
    }

    #[test]
    fn datagrams_hold_zeros_for_secrets() {
        let (bytes, shown) = bare(|packet| {
            packet.put(number::USER_NAME, b"alice").put(number::STATE, b"state").put_microsoft(microsoft::RAS_CLIENT_NAME, b"PC1");
            packet.put_microsoft(microsoft::CHAP_ERROR, b"\x01E=691 R=0 V=3 M=No").put_eap(&[3, 1, 0, 4]);
        });
        assert_eq!(shown, bytes, "nothing is hidden in it");
        for number in [number::USER_PASSWORD, number::CHAP_PASSWORD, number::CHAP_CHALLENGE, number::PROXY_STATE, 69, 200] {
            let (bytes, shown) = bare(|packet| {
                packet.put(number, SECRET).put(number::USER_NAME, b"alice");
            });
            let at = bytes.len() - 7 - 16;
            assert_eq!(shown, [&bytes[..at], &[0; 16], &bytes[at + 16..]].concat(), "{number}");
        }
        for number in [1, 3, 4, 5, 6, 11, 12, 16, 17, 25, 26, 27, 99] {
            let (bytes, shown) = bare(|packet| {
                packet.put_microsoft(number, SECRET).put(number::USER_NAME, b"alice");
            });
            let at = bytes.len() - 7 - 16;
            assert_eq!(shown, [&bytes[..at], &[0; 16], &bytes[at + 16..]].concat(), "26.311.{number}");
        }
        // Two in one Vendor-Specific, and one that lies about its length.
        let (bytes, shown) = bare(|packet| {
            packet.put(number::VENDOR_SPECIFIC, b"\x00\x00\x01\x37\x22\x05PC1\x19\x08secret\x19\xffsecret");
        });
        let at = bytes.len() - 14;
        assert_eq!(shown, [&bytes[..at], &[0; 14]].concat());
    }

    #[test]
    fn eap_that_nothing_protects_is_zeros_in_all_its_pieces() {
        let eap = |method: u8| [&[2, 9, 2, 88, method][..], &[7; 595]].concat();
        let (bytes, shown) = bare(|packet| {
            packet.put_eap(&eap(eap::method::MSCHAPV2));
        });
        let hidden = Packet::parse(&shown).unwrap().eap_message().unwrap();
        assert_eq!((hidden, shown.len()), ([&[2, 9, 2, 88, 26][..], &[0; 595]].concat(), bytes.len()));
        // The type is in the second piece.
        let (_, shown) = bare(|packet| {
            packet.put(number::EAP_MESSAGE, &[2, 9, 0]).put(number::EAP_MESSAGE, &[9, 6, 1, 2, 3, 4]);
        });
        assert_eq!(Packet::parse(&shown).unwrap().eap_message().unwrap(), [2, 9, 0, 9, 6, 0, 0, 0, 0]);
        let (bytes, shown) = bare(|packet| {
            packet.put_eap(&eap(eap::method::PEAP));
        });
        assert_eq!(shown, bytes);
    }

    #[test]
    fn what_is_no_packet_keeps_its_header_alone() {
        let (mut bytes, shown) = bare(|packet| {
            packet.put(number::USER_NAME, b"alice");
        });
        bytes.extend_from_slice(SECRET);
        assert_eq!(without_secrets(&bytes), [&shown[..], &[0; 16]].concat(), "padding");
        bytes.truncate(30);
        assert_eq!(without_secrets(&bytes), [&bytes[..20], &[0; 10]].concat());
        assert_eq!(without_secrets(&bytes[..3]), bytes[..3]);
    }

    #[test]
    fn secrets_and_what_nobody_knows_are_withheld() {
        let standard = [2, 3, number::STATE, number::PROXY_STATE, number::CHAP_CHALLENGE, 69, number::MESSAGE_AUTHENTICATOR, 17, 200, 241];
        let microsoft = [1, 3, 4, 5, 6, 11, 12, 16, 17, 19, 20, 25, 26, 27, 33, 99];
        for number in standard {
            let found = shown(|packet| {
                packet.put(number, SECRET);
            });
            assert_eq!(found.last().unwrap().1, Shown::Withheld(16), "{number}");
        }
        for number in microsoft {
            let found = shown(|packet| {
                packet.put_microsoft(number, SECRET);
            });
            assert_eq!(found.last().unwrap().1, Shown::Withheld(16), "26.311.{number}");
        }
        let found = shown(|packet| {
            packet.put_vendor(9, 1, b"ipsec:tunnel-password=x");
        });
        assert_eq!(found.last().unwrap(), &("attribute 26.9.1".to_owned(), Shown::Withheld(23)));
    }
}
