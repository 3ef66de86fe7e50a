//! EAP packets (RFC 3748) as an authenticator in pass-through mode sees them. Pure.
#![forbid(unsafe_code)]

pub mod inside;

/// Code of an EAP packet (RFC 3748 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Request = 1,
    Response = 2,
    Success = 3,
    Failure = 4,
}

/// Method types that Evergate names in logs and conditions.
pub mod method {
    pub const IDENTITY: u8 = 1;
    pub const NOTIFICATION: u8 = 2;
    pub const NAK: u8 = 3;
    pub const MD5: u8 = 4;
    pub const OTP: u8 = 5;
    pub const GTC: u8 = 6;
    pub const TLS: u8 = 13;
    pub const TTLS: u8 = 21;
    pub const PEAP: u8 = 25;
    pub const MSCHAPV2: u8 = 26;
    pub const AKA: u8 = 23;
    pub const FAST: u8 = 43;
    pub const PSK: u8 = 47;
    pub const SAKE: u8 = 48;
    pub const AKA_PRIME: u8 = 50;
    pub const GPSK: u8 = 51;
    pub const PWD: u8 = 52;
    pub const EKE: u8 = 53;
    pub const TEAP: u8 = 55;

    /// The field's word for a method type, or its number.
    pub fn name(method: u8) -> String {
        match method {
            IDENTITY => "Identity".into(),
            NOTIFICATION => "Notification".into(),
            NAK => "Nak".into(),
            MD5 => "EAP-MD5".into(),
            OTP => "EAP-OTP".into(),
            GTC => "EAP-GTC".into(),
            TLS => "EAP-TLS".into(),
            TTLS => "EAP-TTLS".into(),
            PEAP => "PEAP".into(),
            MSCHAPV2 => "EAP-MSCHAPv2".into(),
            FAST => "EAP-FAST".into(),
            TEAP => "TEAP".into(),
            other => format!("EAP type {other}"),
        }
    }

    /// Whether a client may prove itself with a certificate by this method: all of those but the ones that know nothing but passwords and shared
    /// keys; those without a name here may.
    pub fn may_show_a_certificate(method: u8) -> bool {
        let without = matches!(method, MD5 | OTP | GTC | MSCHAPV2 | AKA | AKA_PRIME | PSK | SAKE | GPSK | PWD | EKE);
        !without && !matches!(method, IDENTITY | NOTIFICATION | NAK)
    }

    /// Whether the method alone proves the server to the client, makes a key, and withstands guessing of passwords: what RFC 5998 section 4 asks of
    /// one that replaces the certificate of an IKEv2 responder. EAP-MSCHAPv2, EAP-MD5, EAP-GTC and EAP-OTP do not.
    pub fn authenticates_server(method: u8) -> bool {
        matches!(method, TLS | TTLS | PEAP | FAST | TEAP | AKA | AKA_PRIME | PSK | SAKE | GPSK | PWD | EKE)
    }
}

/// How many of the first bytes of a packet anybody may see: all of those with a name, a refusal of a method, or what TLS protects by itself; of
/// another method the header and the type, since somebody could find out a password by the rest. `packet` may be malformed.
pub fn harmless_prefix(packet: &[u8]) -> usize {
    use method::{FAST, IDENTITY, NAK, NOTIFICATION, PEAP, TEAP, TLS, TTLS};
    match *packet {
        [1 | 2, _, _, _, IDENTITY | NOTIFICATION | NAK | TLS | TTLS | PEAP | FAST | TEAP, ..] => packet.len(),
        [1 | 2, ..] => packet.len().min(5),
        _ => packet.len().min(4),
    }
}

/// The bytes are no EAP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("EAP packet of {0} bytes is shorter than its header")]
    Short(usize),
    #[error("EAP length field says {said}, the packet has {got} bytes")]
    Length { said: usize, got: usize },
    #[error("EAP code {0} is unknown")]
    Code(u8),
    #[error("EAP request or response without a type")]
    NoType,
}

/// A checked view on one EAP packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    code: Code,
    bytes: &'a [u8],
}

impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EAP {:?} id {}", self.code, self.identifier())?;
        match self.method() {
            Some(method) => write!(f, " {} ({} bytes)", method::name(method), self.bytes.len()),
            None => Ok(()),
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads a whole packet; the length field must be that of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let [code, _, high, low, ..] = *bytes else { return Err(Malformed::Short(bytes.len())) };
        let said = usize::from(u16::from_be_bytes([high, low]));
        if said != bytes.len() {
            return Err(Malformed::Length { said, got: bytes.len() });
        }
        let code = match code {
            1 => Code::Request,
            2 => Code::Response,
            3 => Code::Success,
            4 => Code::Failure,
            other => return Err(Malformed::Code(other)),
        };
        if matches!(code, Code::Request | Code::Response) && bytes.len() < 5 {
            return Err(Malformed::NoType);
        }
        Ok(Self { code, bytes })
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn identifier(&self) -> u8 {
        self.bytes[1]
    }

    /// Method type of a Request or Response.
    pub fn method(&self) -> Option<u8> {
        match self.code {
            Code::Request | Code::Response => Some(self.bytes[4]),
            Code::Success | Code::Failure => None,
        }
    }

    /// What follows the type.
    pub fn data(&self) -> &'a [u8] {
        self.bytes.get(5..).unwrap_or(&[])
    }

    /// The identity of a Response/Identity, as the bytes that the client sent.
    pub fn identity(&self) -> Option<&'a [u8]> {
        (self.code == Code::Response && self.method() == Some(method::IDENTITY)).then(|| self.data())
    }

    /// The methods that a Nak response asks for instead (RFC 3748 section 5.3.1).
    pub fn nak(&self) -> Option<&'a [u8]> {
        (self.code == Code::Response && self.method() == Some(method::NAK)).then(|| self.data())
    }
}

/// A Request or Response.
pub fn build(code: Code, identifier: u8, method: u8, data: &[u8]) -> Vec<u8> {
    let length = 5 + data.len();
    let mut packet = vec![code as u8, identifier];
    packet.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    packet.push(method);
    packet.extend_from_slice(data);
    packet
}

/// Request/Identity.
pub fn identity_request(identifier: u8) -> Vec<u8> {
    build(Code::Request, identifier, method::IDENTITY, &[])
}

pub fn success(identifier: u8) -> Vec<u8> {
    vec![Code::Success as u8, identifier, 0, 4]
}

pub fn failure(identifier: u8) -> Vec<u8> {
    vec![Code::Failure as u8, identifier, 0, 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_protects_is_not_harmless() {
        assert_eq!(harmless_prefix(b"\x02\x01\x00\x0a\x01alice"), 10);
        assert_eq!(harmless_prefix(b"\x01\x01\x00\x0a\x19....."), 10);
        assert_eq!(harmless_prefix(b"\x02\x01\x00\x0b\x1asecret"), 5);
        assert_eq!(harmless_prefix(b"\x02\x01\x00\x0b\xfesecret"), 5, "a type that nobody knows");
        assert_eq!((harmless_prefix(b"\x03\x01\x00\x04"), harmless_prefix(b"\x07\x01\x00\x0asecret"), harmless_prefix(b"\x02")), (4, 4, 1));
    }

    #[test]
    fn identity_round_trip() {
        let packet = build(Code::Response, 7, method::IDENTITY, b"alice");
        let view = Packet::parse(&packet).unwrap();
        assert_eq!(view.identity(), Some(b"alice".as_slice()));
        assert_eq!(view.identifier(), 7);
        assert_eq!(view.nak(), None);
    }

    #[test]
    fn nak_lists_methods() {
        let packet = build(Code::Response, 1, method::NAK, &[13, 25]);
        assert_eq!(Packet::parse(&packet).unwrap().nak(), Some([13, 25].as_slice()));
    }

    #[test]
    fn malformed_packets_are_named() {
        assert_eq!(Packet::parse(&[1, 2]), Err(Malformed::Short(2)));
        assert_eq!(Packet::parse(&[1, 2, 0, 9, 1]), Err(Malformed::Length { said: 9, got: 5 }));
        assert_eq!(Packet::parse(&[9, 2, 0, 4]), Err(Malformed::Code(9)));
        assert_eq!(Packet::parse(&[2, 2, 0, 4]), Err(Malformed::NoType));
        assert_eq!(Packet::parse(&success(3)).unwrap().method(), None);
    }
}
