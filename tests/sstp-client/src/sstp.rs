//! SSTP packets as the client writes and strictly reads them ([MS-SSTP] section 2.2), and the crypto binding (sections 3.2.5.2, 4.7).

use aws_lc_rs::{digest, hmac};

use crate::error::{Error, Result, Stage};

/// Header of every packet: version, control bit, length.
pub const HEADER_LEN: usize = 4;
/// Longest packet, header included.
pub const MAX_PACKET: usize = 4095;
/// Longest PPP frame in a packet.
pub const MAX_FRAME: usize = MAX_PACKET - HEADER_LEN;

/// Message types ([MS-SSTP] 2.2.2).
pub mod message {
    pub const CALL_CONNECT_REQUEST: u16 = 1;
    pub const CALL_CONNECT_ACK: u16 = 2;
    pub const CALL_CONNECT_NAK: u16 = 3;
    pub const CALL_CONNECTED: u16 = 4;
    pub const CALL_ABORT: u16 = 5;
    pub const CALL_DISCONNECT: u16 = 6;
    pub const CALL_DISCONNECT_ACK: u16 = 7;
    pub const ECHO_REQUEST: u16 = 8;
    pub const ECHO_RESPONSE: u16 = 9;
}

const ENCAPSULATED_PROTOCOL_ID: u8 = 1;
const STATUS_INFO: u8 = 2;
const CRYPTO_BINDING_REQ: u8 = 4;

/// The request as Windows sends it.
pub const CALL_CONNECT_REQUEST: [u8; 14] = [0x10, 0x01, 0, 14, 0, 1, 0, 1, 0, ENCAPSULATED_PROTOCOL_ID, 0, 6, 0, 1];

/// An attribute of a control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Attribute id.
    pub id: u8,
    /// Value, without the attribute's header.
    pub value: Vec<u8>,
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// One of [`message`].
    pub kind: u16,
    /// In their order.
    pub attributes: Vec<Attribute>,
}

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Control bit set.
    Control(Control),
    /// A PPP frame.
    Data(Vec<u8>),
}

/// Hash of the crypto binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// Hash byte 1.
    Sha1,
    /// Hash byte 2.
    Sha256,
}

impl Hash {
    /// Its bit in the offer and its byte in the answer.
    pub fn byte(self) -> u8 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
        }
    }

    fn len(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Hash of the certificate the server showed, DER.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = if self == Self::Sha1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        let algorithm = if self == Self::Sha1 { hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY } else { hmac::HMAC_SHA256 };
        hmac::sign(&hmac::Key::new(algorithm, key), bytes).as_ref().to_vec()
    }
}

/// What CALL_CONNECT_ACK asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRequest {
    /// Bit 0: SHA-1, bit 1: SHA-256.
    pub mask: u8,
    /// To be repeated in the answer.
    pub nonce: [u8; 32],
}

impl BindingRequest {
    /// The strongest of the offered hashes.
    pub fn hash(&self) -> Hash {
        if self.mask & Hash::Sha256.byte() != 0 { Hash::Sha256 } else { Hash::Sha1 }
    }
}

/// The parts of a CALL_CONNECTED; each may be wrong on purpose.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The hash byte, and how the rest is computed.
    pub hash: Hash,
    /// From the server.
    pub nonce: [u8; 32],
    /// Hash of the server's certificate: 20 or 32 bytes.
    pub certificate_hash: Vec<u8>,
    /// The higher-layer authentication key.
    pub hlak: [u8; 32],
}

impl Binding {
    /// CMK: the compound MAC key.
    pub fn compound_key(&self) -> Vec<u8> {
        let mut seed = b"SSTP inner method derived CMK".to_vec();
        seed.extend([self.hash.len(), 0, 1]);
        self.hash.mac(&self.hlak, &seed)
    }

    /// The whole packet, 112 bytes.
    pub fn call_connected(&self) -> Vec<u8> {
        let mut packet = vec![0x10, 0x01, 0, 0x70, 0, 4, 0, 1, 0, 3, 0, 0x68, 0, 0, 0, self.hash.byte()];
        packet.extend(self.nonce);
        packet.extend(&self.certificate_hash);
        packet.resize(112, 0);
        let mac = self.hash.mac(&self.compound_key(), &packet);
        packet[80..80 + mac.len()].copy_from_slice(&mac);
        packet
    }
}

/// A packet with `frame` as data.
pub fn data(frame: &[u8]) -> Vec<u8> {
    let mut packet = header(false, frame.len()).to_vec();
    packet.extend(frame);
    packet
}

/// A control packet.
pub fn control(kind: u16, attributes: &[Attribute]) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    body.extend((attributes.len() as u16).to_be_bytes());
    for attribute in attributes {
        body.extend([0, attribute.id]);
        body.extend((attribute.value.len() as u16 + 4).to_be_bytes());
        body.extend(&attribute.value);
    }
    let mut packet = header(true, body.len()).to_vec();
    packet.extend(body);
    packet
}

/// CALL_ABORT or CALL_DISCONNECT with the one STATUS_INFO that Windows always adds.
pub fn farewell(kind: u16, attribute: u8, status: u32) -> Vec<u8> {
    let mut value = vec![0, 0, 0, attribute];
    value.extend(status.to_be_bytes());
    control(kind, &[Attribute { id: STATUS_INFO, value }])
}

fn header(control: bool, body_len: usize) -> [u8; HEADER_LEN] {
    let length = (HEADER_LEN + body_len) as u16;
    let [high, low] = length.to_be_bytes();
    [0x10, u8::from(control), high, low]
}

/// Length of the first packet in `bytes`; `None` until its header is there.
pub fn packet_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let wrong = |what: String| Error::protocol(Stage::Sstp, format!("SSTP header {header:02x?}: {what}"));
    if header[0] != 0x10 {
        return Err(wrong("the version is not 1.0".into()));
    }
    if header[1] & 0xfe != 0 || header[2] & 0xf0 != 0 {
        return Err(wrong("reserved bits are set".into()));
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let least = if header[1] == 1 { 8 } else { HEADER_LEN };
    if length < least {
        return Err(wrong(format!("a packet cannot be {length} bytes long")));
    }
    Ok(Some(length))
}

/// Reads a whole packet.
pub fn parse(packet: &[u8]) -> Result<Packet> {
    if packet[1] & 1 == 0 {
        return Ok(Packet::Data(packet[HEADER_LEN..].to_vec()));
    }
    let wrong = |what: &str| Error::protocol(Stage::Sstp, format!("control packet {packet:02x?}: {what}"));
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (kind, count) = (word(4), word(6));
    let mut attributes = Vec::new();
    let mut at = 8;
    while at < packet.len() {
        if packet.len() < at + 4 {
            return Err(wrong("its last attribute is cut off"));
        }
        let length = usize::from(word(at + 2));
        if packet[at] != 0 || length < 4 || length > packet.len() - at {
            return Err(wrong("an attribute's header does not fit"));
        }
        attributes.push(Attribute { id: packet[at + 1], value: packet[at + 4..at + length].to_vec() });
        at += length;
    }
    if attributes.len() != usize::from(count) {
        return Err(wrong("the number of attributes is wrong"));
    }
    Ok(Packet::Control(Control { kind, attributes }))
}

impl Control {
    /// The binding request of a CALL_CONNECT_ACK.
    pub fn binding_request(&self) -> Result<BindingRequest> {
        let wrong = |what: &str| Error::protocol(Stage::Sstp, format!("CALL_CONNECT_ACK {self:02x?}: {what}"));
        let [Attribute { id: CRYPTO_BINDING_REQ, value }] = self.attributes.as_slice() else {
            return Err(wrong("it must hold exactly one crypto binding request"));
        };
        let (head, nonce) = value.split_first_chunk::<4>().ok_or_else(|| wrong("too short"))?;
        let nonce: [u8; 32] = nonce.try_into().map_err(|_| wrong("the nonce must have 32 bytes"))?;
        if head[..3] != [0; 3] || head[3] == 0 || head[3] & !3 != 0 {
            return Err(wrong("reserved bytes must be zero, the hash mask 1, 2 or 3"));
        }
        if nonce == [0; 32] {
            return Err(wrong("the nonce is all zero"));
        }
        Ok(BindingRequest { mask: head[3], nonce })
    }

    /// Attribute id and status of the first STATUS_INFO.
    pub fn status(&self) -> Option<(u8, u32)> {
        let info = self.attributes.iter().find(|attribute| attribute.id == STATUS_INFO)?;
        let head = info.value.first_chunk::<8>()?;
        Some((head[3], u32::from_be_bytes([head[4], head[5], head[6], head[7]])))
    }

    /// Its name, with the status where there is one.
    pub fn describe(&self) -> String {
        let name = match self.kind {
            message::CALL_CONNECT_REQUEST => "CALL_CONNECT_REQUEST".to_owned(),
            message::CALL_CONNECT_ACK => "CALL_CONNECT_ACK".to_owned(),
            message::CALL_CONNECT_NAK => "CALL_CONNECT_NAK".to_owned(),
            message::CALL_CONNECTED => "CALL_CONNECTED".to_owned(),
            message::CALL_ABORT => "CALL_ABORT".to_owned(),
            message::CALL_DISCONNECT => "CALL_DISCONNECT".to_owned(),
            message::CALL_DISCONNECT_ACK => "CALL_DISCONNECT_ACK".to_owned(),
            message::ECHO_REQUEST => "CALL_ECHO_REQUEST".to_owned(),
            message::ECHO_RESPONSE => "CALL_ECHO_RESPONSE".to_owned(),
            other => format!("message {other}"),
        };
        match self.status() {
            Some((attribute, status)) => format!("{name} (attribute {attribute}, status {status} {})", status_name(status)),
            None => name,
        }
    }
}

/// Names of [MS-SSTP] 2.2.4.
pub fn status_name(status: u32) -> &'static str {
    match status {
        0 => "NO_ERROR",
        1 => "DUPLICATE_ATTRIBUTE",
        2 => "UNRECOGNIZED_ATTRIBUTE",
        3 => "INVALID_ATTRIB_VALUE_LENGTH",
        4 => "VALUE_NOT_SUPPORTED",
        5 => "UNACCEPTED_FRAME_RECEIVED",
        6 => "RETRY_COUNT_EXCEEDED",
        7 => "INVALID_FRAME_RECEIVED",
        8 => "NEGOTIATION_TIMEOUT",
        9 => "ATTRIB_NOT_SUPPORTED_IN_MSG",
        10 => "REQUIRED_ATTRIBUTE_MISSING",
        11 => "STATUS_INFO_NOT_SUPPORTED_IN_MSG",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mschap::hex;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap()).collect()
    }

    /// [MS-SSTP] 4.7.
    fn check_vector(hash: Hash, hlak: &str, nonce: &str, certificate: &str, key: &str, mac: &str) {
        let binding = Binding {
            hash,
            nonce: unhex(nonce).try_into().unwrap(),
            certificate_hash: unhex(certificate),
            hlak: unhex(hlak).try_into().unwrap(),
        };
        assert_eq!(hex(&binding.compound_key()), key);
        let packet = binding.call_connected();
        assert_eq!(packet.len(), 112);
        assert_eq!(hex(&packet[80..80 + mac.len() / 2]), mac);
        assert!(packet[80 + mac.len() / 2..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn compound_macs_of_the_specification() {
        check_vector(
            Hash::Sha256,
            "2a1bb40d55ab0f5ef32f06f2b3cc73c48fd3fac41d7a1315a19228d9024ca164",
            "412b489aebd7ecc7d08966f26be7cd72b231a0e9210d7c91b308862b0344c435",
            "7993ef314c493dace9f02d60e7e61c84b6690aafe9d7aeea92cbbe8ad599422d",
            "ecf59ac9fe155cf0a9e7d66adc1b363c1ad7ba91a9217f0cec2a534298828df6",
            "52a68efd8cffbf52770b8f0fe8ec73716583af6d611eb6d179b3b20840985449",
        );
        check_vector(
            Hash::Sha1,
            "4b3128f43925d9006eefb1c4e86515a1d88e56bab3ca2bdf0373b7f5a8a13b19",
            "0f1a2d58d4a3e3000fad3ce4906e07b707aa9e441cceac5cbd7b2cc1c9d86cdf",
            "5826b629bda59b8e6fd8dcd2622fd34c534805a5",
            "a98b862a38cc7e224b42cd128586acb22f0bd1e9",
            "69915dd583d8062fef16f61db2f03290ec27cb6c",
        );
    }

    #[test]
    fn the_request_is_what_windows_sends() {
        assert_eq!(hex(&CALL_CONNECT_REQUEST), "1001000e0001000100010006000".to_owned() + "1");
        let again = control(message::CALL_CONNECT_REQUEST, &[Attribute { id: 1, value: vec![0, 1] }]);
        assert_eq!(again, CALL_CONNECT_REQUEST);
    }

    #[test]
    fn an_ack_yields_mask_and_nonce() {
        let mut value = vec![0, 0, 0, 3];
        value.extend([9; 32]);
        let packet = control(message::CALL_CONNECT_ACK, &[Attribute { id: 4, value }]);
        assert_eq!(packet.len(), 48);
        assert_eq!(packet_len(&packet).unwrap(), Some(48));
        let Packet::Control(ack) = parse(&packet).unwrap() else { panic!("not control") };
        let request = ack.binding_request().unwrap();
        assert_eq!((request.mask, request.nonce, request.hash()), (3, [9; 32], Hash::Sha256));
    }

    #[test]
    fn a_farewell_names_its_status() {
        let packet = farewell(message::CALL_ABORT, 3, 4);
        assert_eq!(hex(&packet), "1001001400050001".to_owned() + "0002000c" + "00000003" + "00000004");
        let Packet::Control(abort) = parse(&packet).unwrap() else { panic!("not control") };
        assert_eq!(abort.status(), Some((3, 4)));
        assert_eq!(abort.describe(), "CALL_ABORT (attribute 3, status 4 VALUE_NOT_SUPPORTED)");
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        for header in [[0x11, 1, 0, 8], [0x10, 3, 0, 8], [0x10, 1, 0x10, 8], [0x10, 1, 0, 7], [0x10, 0, 0, 3]] {
            assert!(packet_len(&header).is_err(), "{header:02x?}");
        }
        assert_eq!(packet_len(&[0x10, 0, 0]).unwrap(), None);
        for packet in ["1001000c0005000000020004", "1001000c0005000100020005", "1001000a000500010002", "1001000c0005000101020004"] {
            assert!(parse(&unhex(packet)).is_err(), "{packet}");
        }
    }
}
