//! EAP packets in words. What a method carries is withheld: passwords, their hashes, and TLS.
use super::withheld;
use eap::{Code, Packet, method};

/// `Response 3 EAP-MSCHAPv2 Response (withheld, 66 bytes)`.
pub(super) fn describe(bytes: &[u8]) -> String {
    let packet = match Packet::parse(bytes) {
        Ok(packet) => packet,
        Err(error) => return format!("malformed: {error} ({})", withheld(bytes.len())),
    };
    let head = format!("{:?} {}", packet.code(), packet.identifier());
    let Some(kind) = packet.method() else { return head };
    let (name, data) = (method::name(kind), packet.data());
    let content = match kind {
        method::IDENTITY if packet.code() == Code::Response => format!("{:?}", String::from_utf8_lossy(data)),
        method::NAK => format!("asks for {}", data.iter().map(|wanted| method::name(*wanted)).collect::<Vec<_>>().join(", ")),
        _ if data.is_empty() => String::new(),
        method::MSCHAPV2 => format!("{} ({})", ms_chap_opcode(data[0]), withheld(data.len() - 1)),
        method::TLS | method::TTLS | method::PEAP | method::FAST | method::TEAP => tunnel(data),
        _ => format!("({})", withheld(data.len())),
    };
    format!("{head} {name} {content}").trim_end().to_owned()
}

/// The first byte of EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2 section 2).
fn ms_chap_opcode(opcode: u8) -> String {
    match opcode {
        1 => "Challenge".into(),
        2 => "Response".into(),
        3 => "Success".into(),
        4 => "Failure".into(),
        7 => "Change-Password".into(),
        other => format!("opcode {other}"),
    }
}

/// The flags of a method on top of TLS (RFC 5216 section 3.1), then TLS.
fn tunnel(data: &[u8]) -> String {
    const LENGTH: u8 = 0x80;
    const MORE: u8 = 0x40;
    const START: u8 = 0x20;
    let flags = data[0];
    let words = [(LENGTH, "length"), (MORE, "more fragments"), (START, "start")];
    let words: Vec<_> = words.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word).collect();
    let words = if words.is_empty() { String::new() } else { format!("[{}] ", words.join(", ")) };
    match data.len() - 1 {
        0 if flags == 0 => "acknowledgement".into(),
        0 => words.trim_end().into(),
        rest => format!("{words}TLS ({})", withheld(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_and_their_content_is_withheld() {
        let said = |code, kind, data: &[u8]| describe(&eap::build(code, 3, kind, data));
        assert_eq!(said(Code::Response, method::IDENTITY, b"alice"), "Response 3 Identity \"alice\"");
        assert_eq!(said(Code::Request, method::IDENTITY, b""), "Request 3 Identity");
        assert_eq!(said(Code::Response, method::NAK, &[25, 13]), "Response 3 Nak asks for PEAP, EAP-TLS");
        assert_eq!(said(Code::Response, method::MSCHAPV2, b"\x02secret"), "Response 3 EAP-MSCHAPv2 Response (withheld, 6 bytes)");
        assert_eq!(said(Code::Request, method::PEAP, &[0x20]), "Request 3 PEAP [start]");
        assert_eq!(said(Code::Response, method::TLS, &[0]), "Response 3 EAP-TLS acknowledgement");
        assert_eq!(
            said(Code::Response, method::TTLS, b"\xc0....secret"),
            "Response 3 EAP-TTLS [length, more fragments] TLS (withheld, 10 bytes)"
        );
        assert_eq!(said(Code::Response, method::GTC, b"123456"), "Response 3 EAP-GTC (withheld, 6 bytes)");
        assert_eq!(describe(&eap::success(9)), "Success 9");
        assert!(describe(b"\x02\x03\x00\x63\x1asecret").starts_with("malformed"));
        assert!(!describe(b"\x02\x03\x00\x63\x1asecret").contains("secret"));
    }
}
