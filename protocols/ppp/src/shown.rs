//! Frames for people who look on: names and values, and never a secret.
use crate::frame::{Class, classify};
use crate::packet::{Packet, code, options, protocol};
use std::net::Ipv4Addr;

/// The value of a part of a frame, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Text(String),
    /// An EAP packet. It may hold secrets.
    Eap(Vec<u8>),
    /// A secret, or what may be one: bytes.
    Withheld(usize),
}

/// A frame in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownFrame {
    /// `LCP Configure-Request 1`
    pub title: String,
    pub parts: Vec<(String, Shown)>,
}

const AUTHENTICATION: u8 = 3;

/// Reads a frame of a control protocol; of a frame with data, or one that is malformed, only that.
pub fn frame(bytes: &[u8]) -> ShownFrame {
    let bare = |title: &str| ShownFrame { title: title.into(), parts: Vec::new() };
    let (number, information) = match classify(bytes) {
        Class::Control { protocol, offset } => (protocol, &bytes[offset..]),
        Class::Ipv4 { .. } => return bare("IPv4"),
        Class::Ipv6 { .. } => return bare("IPv6"),
        Class::Malformed => return bare("a malformed frame"),
    };
    let name = protocol::name(number);
    let Some(packet) = Packet::parse(information) else { return bare(&format!("{name}, malformed")) };
    let title = format!("{name} {} {}", code_name(number, packet.code), packet.id);
    let parts = match number {
        protocol::EAP => vec![("EAP".into(), Shown::Eap(packet.bytes.to_vec()))],
        protocol::PAP => pap(&packet),
        protocol::CHAP => chap(&packet),
        _ => control(number, &packet),
    };
    ShownFrame { title, parts }
}

/// The frame with zeros for whatever somebody could find out a password by: passwords, responses, and what EAP methods carry that TLS does not protect.
pub fn without_secrets(frame: &[u8]) -> Vec<u8> {
    let mut shown = frame.to_vec();
    let Class::Control { protocol, offset } = classify(frame) else { return shown };
    let packet = &frame[offset..];
    let code = packet.first().copied().unwrap_or_default();
    let first = usize::from(packet.get(4).copied().unwrap_or_default());
    // From where to where: the header stays, and so does the name behind a response.
    let (from, to) = match (protocol, code) {
        // A length that lies: where the password begins, nobody knows.
        (protocol::PAP, 1) if 5 + first > packet.len() => (5, packet.len()),
        (protocol::PAP, 1) => (5 + first, packet.len()),
        (protocol::CHAP, 2) => (5, 5 + first),
        (protocol::CHAP, 1 | 4) => return shown,
        (protocol::CHAP, _) => (4, packet.len()),
        (protocol::EAP, _) => (eap::harmless_prefix(packet), packet.len()),
        _ => return shown,
    };
    let (from, to) = (from.min(packet.len()), to.min(packet.len()));
    shown[offset + from..offset + to.max(from)].fill(0);
    shown
}

fn code_name(protocol: u16, number: u8) -> String {
    let name = match (protocol, number) {
        (protocol::PAP, 1) => "Authenticate-Request",
        (protocol::PAP, 2) => "Authenticate-Ack",
        (protocol::PAP, 3) => "Authenticate-Nak",
        (protocol::CHAP, 1) => "Challenge",
        (protocol::CHAP, 2) => "Response",
        (protocol::CHAP, 3) => "Success",
        (protocol::CHAP, 4) => "Failure",
        (protocol::CHAP, 7) => "Change-Password",
        (protocol::EAP, 1) => "Request",
        (protocol::EAP, 2) => "Response",
        (protocol::EAP, 3) => "Success",
        (protocol::EAP, 4) => "Failure",
        (protocol::PAP | protocol::CHAP | protocol::EAP, other) => return format!("code {other}"),
        (_, code::CONFIGURE_REQUEST) => "Configure-Request",
        (_, code::CONFIGURE_ACK) => "Configure-Ack",
        (_, code::CONFIGURE_NAK) => "Configure-Nak",
        (_, code::CONFIGURE_REJECT) => "Configure-Reject",
        (_, code::TERMINATE_REQUEST) => "Terminate-Request",
        (_, code::TERMINATE_ACK) => "Terminate-Ack",
        (_, code::CODE_REJECT) => "Code-Reject",
        (_, code::PROTOCOL_REJECT) => "Protocol-Reject",
        (_, code::ECHO_REQUEST) => "Echo-Request",
        (_, code::ECHO_REPLY) => "Echo-Reply",
        (_, code::DISCARD_REQUEST) => "Discard-Request",
        (_, code::IDENTIFICATION) => "Identification",
        (_, code::TIME_REMAINING) => "Time-Remaining",
        (_, other) => return format!("code {other}"),
    };
    name.into()
}

/// RFC 1334 section 2.2: lengths before name and password.
fn pap(packet: &Packet<'_>) -> Vec<(String, Shown)> {
    match packet.data {
        [length, rest @ ..] if packet.code == 1 => match rest.split_at_checked(usize::from(*length)) {
            Some((name, password)) => {
                vec![text("Peer-ID", name), ("Password".into(), Shown::Withheld(password.len().saturating_sub(1)))]
            }
            None => vec![("malformed".into(), Shown::Withheld(rest.len()))],
        },
        [_, message @ ..] => vec![text("Message", message)],
        [] => Vec::new(),
    }
}

/// RFC 1994 section 4: a length before value and name; success and failure in words (RFC 2759 sections 5 and 6).
fn chap(packet: &Packet<'_>) -> Vec<(String, Shown)> {
    match (packet.code, packet.data) {
        (1 | 2, [length, rest @ ..]) => match rest.split_at_checked(usize::from(*length)) {
            Some((value, name)) => vec![("Value".into(), Shown::Withheld(value.len())), text("Name", name)],
            None => vec![("malformed".into(), Shown::Withheld(rest.len()))],
        },
        (4, message) => {
            let words = String::from_utf8_lossy(message);
            let words = words.split(' ').filter(|word| !word.starts_with("C=")).collect::<Vec<_>>().join(" ");
            vec![("Message".into(), Shown::Text(words))]
        }
        (_, data) => vec![("Data".into(), Shown::Withheld(data.len()))],
    }
}

fn control(protocol: u16, packet: &Packet<'_>) -> Vec<(String, Shown)> {
    match packet.code {
        code::CONFIGURE_REQUEST..=code::CONFIGURE_REJECT => match options(packet.data) {
            Some(list) => {
                list.iter().map(|option| (option_name(protocol, option.kind), value(protocol, option.kind, option.value))).collect()
            }
            None => vec![("malformed".into(), Shown::Withheld(packet.data.len()))],
        },
        code::TERMINATE_REQUEST if !packet.data.is_empty() => vec![text("Data", packet.data)],
        // A magic number is in front.
        code::IDENTIFICATION => vec![text("Message", packet.data.get(4..).unwrap_or_default())],
        code::PROTOCOL_REJECT => match packet.data {
            [high, low, ..] => vec![("Rejected".into(), Shown::Text(protocol::name(u16::from_be_bytes([*high, *low]))))],
            _ => Vec::new(),
        },
        _ if packet.data.is_empty() => Vec::new(),
        _ => vec![("Data".into(), Shown::Text(format!("{} bytes", packet.data.len())))],
    }
}

fn option_name(protocol: u16, kind: u8) -> String {
    let name = match (protocol, kind) {
        (protocol::LCP, 1) => "Maximum-Receive-Unit",
        (protocol::LCP, 2) => "Async-Control-Character-Map",
        (protocol::LCP, AUTHENTICATION) => "Authentication-Protocol",
        (protocol::LCP, 5) => "Magic-Number",
        (protocol::LCP, 7) => "Protocol-Field-Compression",
        (protocol::LCP, 8) => "Address-and-Control-Field-Compression",
        (protocol::LCP, 13) => "Callback",
        (protocol::LCP, 17) => "Multilink-MRRU",
        (protocol::LCP, 19) => "Multilink-Endpoint-Discriminator",
        (protocol::IPCP, 2) => "IP-Compression-Protocol",
        (protocol::IPCP, 3) => "IP-Address",
        (protocol::IPCP, 129) => "Primary-DNS-Server-Address",
        (protocol::IPCP, 130) => "Primary-NBNS-Server-Address",
        (protocol::IPCP, 131) => "Secondary-DNS-Server-Address",
        (protocol::IPCP, 132) => "Secondary-NBNS-Server-Address",
        (protocol::IPV6CP, 1) => "Interface-Identifier",
        (_, other) => return format!("option {other}"),
    };
    name.into()
}

fn value(protocol: u16, kind: u8, value: &[u8]) -> Shown {
    let hexadecimal = || value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Shown::Text(match (protocol, kind, value) {
        (protocol::LCP, 1, [high, low]) => u16::from_be_bytes([*high, *low]).to_string(),
        (protocol::LCP, AUTHENTICATION, [high, low, algorithm @ ..]) => {
            let name = protocol::name(u16::from_be_bytes([*high, *low]));
            match algorithm {
                [] => name,
                [5] => format!("{name} with MD5"),
                [0x80] => format!("{name}: MS-CHAP"),
                [0x81] => format!("{name}: MS-CHAPv2"),
                _ => format!("{name}, algorithm {}", algorithm[0]),
            }
        }
        (protocol::IPCP, 3 | 129..=132, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        (_, _, []) => "yes".into(),
        _ => hexadecimal(),
    })
}

fn text(name: &str, bytes: &[u8]) -> (String, Shown) {
    (name.into(), Shown::Text(String::from_utf8_lossy(bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet;

    fn shown(protocol: u16, code: u8, data: &[u8]) -> ShownFrame {
        frame(&packet::frame(protocol, code, 7, data))
    }

    fn words(frame: &ShownFrame) -> Vec<String> {
        let word = |(name, value): &(String, Shown)| match value {
            Shown::Text(text) => format!("{name}={text}"),
            Shown::Eap(packet) => format!("{name}: {}", packet.len()),
            Shown::Withheld(bytes) => format!("{name}: withheld {bytes}"),
        };
        frame.parts.iter().map(word).collect()
    }

    #[test]
    fn no_secret_is_left_in_a_frame() {
        // PAP: the name stays, the password goes.
        assert_eq!(without_secrets(&[0xc0, 0x23, 1, 9, 0, 10, 1, b'a', 3, 1, 2, 3]), [0xc0, 0x23, 1, 9, 0, 10, 1, b'a', 0, 0, 0, 0]);
        assert_eq!(without_secrets(&[0xff, 3, 0xc2, 0x23, 2, 9, 0, 8, 2, 7, 7, b'a']), [0xff, 3, 0xc2, 0x23, 2, 9, 0, 8, 2, 0, 0, b'a']);
        assert_eq!(without_secrets(&[0xc2, 0x23, 3, 9, 0, 6, b'S', b'=']), [0xc2, 0x23, 3, 9, 0, 6, 0, 0]);
        // EAP: an identity and TLS stay, MSCHAPv2 goes.
        let identity = [0xc2, 0x27, 2, 1, 0, 6, 1, b'a'];
        assert_eq!(without_secrets(&identity), identity);
        let tls = [0xc2, 0x27, 2, 1, 0, 7, 13, 0x80, 9];
        assert_eq!(without_secrets(&tls), tls);
        assert_eq!(without_secrets(&[0xc2, 0x27, 2, 1, 0, 7, 26, 2, 9]), [0xc2, 0x27, 2, 1, 0, 7, 26, 0, 0]);
        // Lengths that lie.
        assert_eq!(without_secrets(&[0xc0, 0x23, 1, 9, 0, 10, 200, 1]), [0xc0, 0x23, 1, 9, 0, 10, 200, 0]);
        assert_eq!(without_secrets(&[0xc2, 0x23, 2, 9, 0, 8, 200, 7]), [0xc2, 0x23, 2, 9, 0, 8, 200, 0]);
    }

    #[test]
    fn options_are_named() {
        let lcp = shown(protocol::LCP, 1, &[1, 4, 0x0f, 0xfb, 3, 5, 0xc2, 0x23, 0x81, 5, 6, 1, 2, 3, 4, 7, 2]);
        assert_eq!(lcp.title, "LCP Configure-Request 7");
        let expected = [
            "Maximum-Receive-Unit=4091",
            "Authentication-Protocol=CHAP: MS-CHAPv2",
            "Magic-Number=01020304",
            "Protocol-Field-Compression=yes",
        ];
        assert_eq!(words(&lcp), expected);
        let ipcp = shown(protocol::IPCP, 3, &[3, 6, 10, 98, 0, 10, 129, 6, 10, 0, 0, 53]);
        assert_eq!(
            (ipcp.title.as_str(), words(&ipcp)),
            ("IPCP Configure-Nak 7", vec!["IP-Address=10.98.0.10".into(), "Primary-DNS-Server-Address=10.0.0.53".into()])
        );
        assert_eq!(words(&shown(protocol::IPV6CP, 2, &[1, 10, 0, 0, 0, 0, 0, 0, 0, 7])), ["Interface-Identifier=0000000000000007"]);
        assert_eq!(words(&shown(protocol::LCP, 8, &[0x80, 0xfd, 1, 2])), ["Rejected=CCP"]);
    }

    #[test]
    fn credentials_are_withheld() {
        let pap = shown(protocol::PAP, 1, b"\x05alice\x06secret");
        assert_eq!(
            (pap.title.as_str(), words(&pap)),
            ("PAP Authenticate-Request 7", vec!["Peer-ID=alice".into(), "Password: withheld 6".into()])
        );
        assert_eq!(words(&shown(protocol::CHAP, 2, b"\x06secretalice")), ["Value: withheld 6", "Name=alice"]);
        assert_eq!(words(&shown(protocol::CHAP, 3, b"S=secret M=x")), ["Data: withheld 12"]);
        assert_eq!(words(&shown(protocol::CHAP, 4, b"E=691 R=1 C=secret V=3 M=No")), ["Message=E=691 R=1 V=3 M=No"]);
        assert_eq!(words(&shown(protocol::CHAP, 7, b"secret")), ["Data: withheld 6"]);
        assert_eq!(words(&shown(protocol::EAP, 2, b"\x01alice")), ["EAP: 10"]);
        for broken in [&b"\xffsecret"[..], b""] {
            for (protocol, code) in [(protocol::PAP, 1), (protocol::CHAP, 1), (protocol::CHAP, 2), (protocol::LCP, 1), (protocol::IPCP, 4)]
            {
                assert!(!format!("{:?}", shown(protocol, code, broken)).contains("secret"));
            }
        }
    }

    #[test]
    fn what_is_no_control_frame_is_said_to_be_that() {
        assert_eq!(frame(&[0xff, 0x03, 0x00, 0x21, 0x45]).title, "IPv4");
        assert_eq!(frame(&[]).title, "a malformed frame");
        assert_eq!(frame(&[0xff, 0x03, 0xc0, 0x21, 1]).title, "LCP, malformed");
    }
}
