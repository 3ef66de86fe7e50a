//! SSTP and PPP packets byte by byte ([MS-SSTP] 2.2), and their names in a trace.
use crypto::hash::{HashAlgorithm, hash};
use crypto::prf::Prf;

pub(crate) const LCP: u16 = 0xC021;
pub(crate) const PAP: u16 = 0xC023;
pub(crate) const CHAP: u16 = 0xC223;
pub(crate) const EAP: u16 = 0xC227;
pub(crate) const IPCP: u16 = 0x8021;
pub(crate) const IPV6CP: u16 = 0x8057;

pub(crate) const CONNECT_REQUEST: &[u8] = &[0x10, 1, 0, 14, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1];

/// A control packet without attributes.
pub(crate) fn bare(kind: u16) -> Vec<u8> {
    [&[0x10, 1, 0, 8][..], &kind.to_be_bytes(), &[0, 0]].concat()
}

/// CALL_ABORT (5) or CALL_DISCONNECT (6) as Windows sends them, with STATUS_INFO.
pub(crate) fn with_status(kind: u16, status: u32) -> Vec<u8> {
    [&[0x10, 1, 0, 20][..], &kind.to_be_bytes(), &[0, 1, 0, 2, 0, 12, 0, 0, 0, 0], &status.to_be_bytes()].concat()
}

/// A data packet around a PPP frame.
pub(crate) fn data(protocol: u16, information: &[u8]) -> Vec<u8> {
    let length = (8 + information.len()) as u16;
    [&[0x10, 0][..], &length.to_be_bytes(), &[0xFF, 3], &protocol.to_be_bytes(), information].concat()
}

/// A packet of LCP, an NCP, PAP, CHAP: code, identifier, length, data.
pub(crate) fn control(code: u8, id: u8, data: &[u8]) -> Vec<u8> {
    let length = (4 + data.len()) as u16;
    [&[code, id][..], &length.to_be_bytes(), data].concat()
}

/// What a crypto binding is made of.
#[derive(Debug, Clone)]
pub(crate) struct BindingParts {
    pub(crate) sha1: bool,
    pub(crate) nonce: [u8; 32],
    /// DER of the certificate that the client saw.
    pub(crate) certificate: Vec<u8>,
    pub(crate) hlak: [u8; 32],
}

/// CALL_CONNECTED ([MS-SSTP] 2.2.11), its Compound MAC included.
pub(crate) fn call_connected(parts: &BindingParts) -> Vec<u8> {
    let mut packet = vec![0x10, 1, 0, 112, 0, 4, 0, 1, 0, 3, 0, 104, 0, 0, 0, if parts.sha1 { 1 } else { 2 }];
    packet.extend_from_slice(&parts.nonce);
    let algorithm = if parts.sha1 { HashAlgorithm::Sha1 } else { HashAlgorithm::Sha256 };
    packet.extend_from_slice(&hash(algorithm, &[&parts.certificate]));
    packet.resize(112, 0);
    let mac = cmac(parts.sha1, &parts.hlak, &packet);
    packet[80..80 + mac.len()].copy_from_slice(&mac);
    packet
}

/// The Compound MAC of a CALL_CONNECTED whose MAC field is zero ([MS-SSTP] 3.2.5.2).
pub fn cmac(sha1: bool, hlak: &[u8; 32], packet: &[u8]) -> Vec<u8> {
    let prf = if sha1 { Prf::HmacSha1 } else { Prf::HmacSha256 };
    let length = (prf.len() as u16).to_le_bytes();
    let key = prf.compute(hlak, &[b"SSTP inner method derived CMK", &length, &[1]]);
    prf.compute(&key, &[packet]).to_vec()
}

/// What a packet of the gateway is called in a trace: `CALL_ABORT 8`, `LCP Terminate-Request`, ..
///
/// # Panics
/// When it is neither HTTP nor a whole SSTP packet.
pub fn describe(packet: &[u8]) -> String {
    if let Some(rest) = packet.strip_prefix(b"HTTP/1.1 ") {
        return format!("HTTP {}", String::from_utf8_lossy(&rest[..3]));
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]) & 0xFFF);
    assert!(packet[0] == 0x10 && length == packet.len(), "not one SSTP packet: {packet:02x?}");
    if packet[1] & 1 == 1 { describe_control(packet) } else { describe_frame(&packet[4..]) }
}

fn describe_control(packet: &[u8]) -> String {
    let name = match packet[5] {
        2 => "CALL_CONNECT_ACK",
        3 => "CALL_CONNECT_NAK",
        5 => "CALL_ABORT",
        6 => "CALL_DISCONNECT",
        7 => "CALL_DISCONNECT_ACK",
        8 => "ECHO_REQUEST",
        9 => "ECHO_RESPONSE",
        other => panic!("a gateway sends no SSTP message {other}"),
    };
    match status_of(packet) {
        Some(status) => format!("{name} {status}"),
        None => name.into(),
    }
}

/// Status of a CALL_ABORT or CALL_DISCONNECT that has one.
fn status_of(packet: &[u8]) -> Option<u32> {
    let has = matches!(packet[5], 5 | 6) && packet[7] == 1;
    has.then(|| packet.get(16..20)).flatten().and_then(|status| status.try_into().ok()).map(u32::from_be_bytes)
}

fn describe_frame(frame: &[u8]) -> String {
    let (protocol, packet) = (u16::from_be_bytes([frame[2], frame[3]]), &frame[4..]);
    let family = match protocol {
        LCP => "LCP",
        PAP => "PAP",
        CHAP => "CHAP",
        EAP => "EAP",
        IPCP => "IPCP",
        IPV6CP => "IPv6CP",
        other => panic!("a gateway speaks no protocol {other:04x}"),
    };
    format!("{family} {}", code_name(protocol, packet[0]))
}

fn code_name(protocol: u16, code: u8) -> &'static str {
    match (protocol, code) {
        (EAP, 1) => "Request",
        (EAP, 3) | (CHAP, 3) => "Success",
        (EAP, 4) | (CHAP, 4) => "Failure",
        (CHAP, 1) => "Challenge",
        (PAP, 2) => "Ack",
        (PAP, 3) => "Nak",
        (_, 1) => "Configure-Request",
        (_, 2) => "Configure-Ack",
        (_, 3) => "Configure-Nak",
        (_, 4) => "Configure-Reject",
        (_, 5) => "Terminate-Request",
        (_, 6) => "Terminate-Ack",
        (_, 7) => "Code-Reject",
        (_, 8) => "Protocol-Reject",
        (_, 10) => "Echo-Reply",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// [MS-SSTP] 4.7.
    #[test]
    fn the_compound_macs_of_the_specification() {
        for (sha1, hlak, nonce, certificate, wanted) in [
            (
                false,
                "2a1bb40d55ab0f5ef32f06f2b3cc73c48fd3fac41d7a1315a19228d9024ca164",
                "412b489aebd7ecc7d08966f26be7cd72b231a0e9210d7c91b308862b0344c435",
                "7993ef314c493dace9f02d60e7e61c84b6690aafe9d7aeea92cbbe8ad599422d",
                "52a68efd8cffbf52770b8f0fe8ec73716583af6d611eb6d179b3b20840985449",
            ),
            (
                true,
                "4b3128f43925d9006eefb1c4e86515a1d88e56bab3ca2bdf0373b7f5a8a13b19",
                "0f1a2d58d4a3e3000fad3ce4906e07b707aa9e441cceac5cbd7b2cc1c9d86cdf",
                "5826b629bda59b8e6fd8dcd2622fd34c534805a5",
                "69915dd583d8062fef16f61db2f03290ec27cb6c",
            ),
        ] {
            let mut packet = vec![0x10, 1, 0, 112, 0, 4, 0, 1, 0, 3, 0, 104, 0, 0, 0, if sha1 { 1 } else { 2 }];
            packet.extend(unhex(nonce));
            packet.extend(unhex(certificate));
            packet.resize(112, 0);
            assert_eq!(cmac(sha1, &unhex(hlak).try_into().unwrap(), &packet), unhex(wanted));
        }
    }

    #[test]
    fn packets_have_names() {
        assert_eq!(describe(&with_status(5, 8)), "CALL_ABORT 8");
        assert_eq!(describe(&bare(7)), "CALL_DISCONNECT_ACK");
        assert_eq!(describe(&data(LCP, &control(5, 1, b"x"))), "LCP Terminate-Request");
        assert_eq!(describe(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "HTTP 503");
    }
}
