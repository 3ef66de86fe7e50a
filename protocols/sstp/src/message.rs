//! Control messages and their attributes ([MS-SSTP] 2.2.2, 2.2.4 to 2.2.15). What is wrong with one is said in the terms of the answer
//! that it deserves.
mod attribute;
mod status;

pub use attribute::{AttributeId, BindingRequest, CallConnected};
pub use status::{MAX_STATUS_VALUE, Status, StatusInfo};

use crate::api::{BindingHash, HEADER_LEN, MAX_PACKET};
use crate::frame::{CONTROL_BIT, MIN_CONTROL, VERSION};
use attribute::{Attribute, Broken, attributes};

/// PPP in an Encapsulated Protocol ID attribute, the only protocol there is.
pub const PROTOCOL_PPP: u16 = 1;

/// More bad attributes of one request than this are not listed in the answer.
const MAX_REJECTIONS: usize = 16;

mod kind {
    pub(super) const CALL_CONNECT_REQUEST: u16 = 0x0001;
    pub(super) const CALL_CONNECT_ACK: u16 = 0x0002;
    pub(super) const CALL_CONNECT_NAK: u16 = 0x0003;
    pub(super) const CALL_CONNECTED: u16 = 0x0004;
    pub(super) const CALL_ABORT: u16 = 0x0005;
    pub(super) const CALL_DISCONNECT: u16 = 0x0006;
    pub(super) const CALL_DISCONNECT_ACK: u16 = 0x0007;
    pub(super) const ECHO_REQUEST: u16 = 0x0008;
    pub(super) const ECHO_RESPONSE: u16 = 0x0009;
}

/// A control message that may be what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// For PPP; any other protocol is [`Invalid::Request`].
    CallConnectRequest,
    CallConnectAck(BindingRequest),
    CallConnectNak(Vec<StatusInfo>),
    CallConnected(Box<CallConnected>),
    CallAbort(Option<StatusInfo>),
    CallDisconnect(Option<StatusInfo>),
    CallDisconnectAck,
    EchoRequest,
    EchoResponse,
}

/// What is wrong with a message that could be delimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// A CALL_CONNECT_REQUEST to refuse with CALL_CONNECT_NAK: each attribute that is unacceptable, one at least ([MS-SSTP] 3.3.5.2.2).
    Request(Vec<StatusInfo>),
    /// A message to answer with CALL_ABORT ([MS-SSTP] 3.1.5.1), and a sentence for the record.
    Message(StatusInfo, String),
}

impl Message {
    /// Reads one whole control packet, header included, as [`crate::frame::next`] cuts it.
    pub fn parse(packet: &[u8]) -> Result<Self, Invalid> {
        let Some((&[_, _, _, _, kind_high, kind_low, count_high, count_low], body)) = packet.split_first_chunk::<MIN_CONTROL>() else {
            return Err(frame_error("a control packet shorter than 8 bytes"));
        };
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let parsed = attributes(body, u16::from_be_bytes([count_high, count_low]));
        match kind {
            kind::CALL_CONNECT_REQUEST => request(parsed),
            kind::CALL_CONNECT_ACK => acknowledgement(parsed),
            kind::CALL_CONNECT_NAK => negative_acknowledgement(parsed),
            kind::CALL_CONNECTED => connected(packet, parsed),
            kind::CALL_ABORT => Ok(Self::CallAbort(first_status(parsed))),
            kind::CALL_DISCONNECT => Ok(Self::CallDisconnect(first_status(parsed))),
            kind::CALL_DISCONNECT_ACK => bare(Self::CallDisconnectAck, body, parsed),
            kind::ECHO_REQUEST => bare(Self::EchoRequest, body, parsed),
            kind::ECHO_RESPONSE => bare(Self::EchoResponse, body, parsed),
            other => Err(frame_error(&format!("a control message of unknown type 0x{other:04x}"))),
        }
    }

    /// The whole packet.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::CallConnectRequest => {
                packet(kind::CALL_CONNECT_REQUEST, &[(AttributeId::ENCAPSULATED_PROTOCOL_ID, PROTOCOL_PPP.to_be_bytes().to_vec())])
            }
            Self::CallConnectAck(request) => packet(kind::CALL_CONNECT_ACK, &[(AttributeId::CRYPTO_BINDING_REQ, request.value())]),
            Self::CallConnectNak(list) => packet(kind::CALL_CONNECT_NAK, &list.iter().map(status_attribute).collect::<Vec<_>>()),
            Self::CallConnected(connected) => connected.as_bytes().to_vec(),
            Self::CallAbort(info) => packet(kind::CALL_ABORT, &info.iter().map(status_attribute).collect::<Vec<_>>()),
            Self::CallDisconnect(info) => packet(kind::CALL_DISCONNECT, &info.iter().map(status_attribute).collect::<Vec<_>>()),
            Self::CallDisconnectAck => packet(kind::CALL_DISCONNECT_ACK, &[]),
            Self::EchoRequest => packet(kind::ECHO_REQUEST, &[]),
            Self::EchoResponse => packet(kind::ECHO_RESPONSE, &[]),
        }
    }

    /// As [MS-SSTP] spells it, without the prefix that all have.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CallConnectRequest => "CALL_CONNECT_REQUEST",
            Self::CallConnectAck(_) => "CALL_CONNECT_ACK",
            Self::CallConnectNak(_) => "CALL_CONNECT_NAK",
            Self::CallConnected(_) => "CALL_CONNECTED",
            Self::CallAbort(_) => "CALL_ABORT",
            Self::CallDisconnect(_) => "CALL_DISCONNECT",
            Self::CallDisconnectAck => "CALL_DISCONNECT_ACK",
            Self::EchoRequest => "ECHO_REQUEST",
            Self::EchoResponse => "ECHO_RESPONSE",
        }
    }
}

type Parsed<'a> = Result<Vec<Attribute<'a>>, Broken<'a>>;

fn request(parsed: Parsed<'_>) -> Result<Message, Invalid> {
    let attributes = match parsed {
        Ok(attributes) => attributes,
        Err(Broken::Length(attribute)) => {
            return Err(Invalid::Request(vec![attribute.rejected(Status::INVALID_ATTRIB_VALUE_LENGTH)]));
        }
        Err(Broken::Count) => return Err(frame_error("a CALL_CONNECT_REQUEST whose number of attributes is wrong")),
    };
    let rejections = attributes.iter().enumerate().filter_map(|(index, one)| rejection(one, &attributes[..index]));
    let mut rejections: Vec<_> = rejections.take(MAX_REJECTIONS).collect();
    if !attributes.iter().any(|attribute| attribute.id == AttributeId::ENCAPSULATED_PROTOCOL_ID) {
        rejections.insert(0, StatusInfo::new(AttributeId::STATUS_INFO, Status::REQUIRED_ATTRIBUTE_MISSING));
    }
    if rejections.is_empty() {
        return Ok(Message::CallConnectRequest);
    }
    rejections.truncate(MAX_REJECTIONS);
    Err(Invalid::Request(rejections))
}

/// What is wrong with one attribute of a CALL_CONNECT_REQUEST, after the ones `before` it.
fn rejection(attribute: &Attribute<'_>, before: &[Attribute<'_>]) -> Option<StatusInfo> {
    if !attribute.id.is_known() {
        return Some(attribute.rejected(Status::UNRECOGNIZED_ATTRIBUTE));
    }
    if before.iter().any(|other| other.id == attribute.id) {
        return Some(attribute.rejected(Status::DUPLICATE_ATTRIBUTE));
    }
    match attribute.id {
        AttributeId::ENCAPSULATED_PROTOCOL_ID => match <[u8; 2]>::try_from(attribute.value) {
            Err(_) => Some(attribute.rejected(Status::INVALID_ATTRIB_VALUE_LENGTH)),
            Ok(protocol) if u16::from_be_bytes(protocol) != PROTOCOL_PPP => Some(attribute.rejected(Status::VALUE_NOT_SUPPORTED)),
            Ok(_) => None,
        },
        AttributeId::STATUS_INFO => match StatusInfo::parse(attribute.value) {
            None => Some(attribute.rejected(Status::INVALID_ATTRIB_VALUE_LENGTH)),
            Some(info) if info.status != Status::NO_ERROR => Some(attribute.rejected(Status::STATUS_INFO_NOT_SUPPORTED_IN_MSG)),
            Some(_) => None,
        },
        _ => Some(attribute.rejected(Status::ATTRIB_NOT_SUPPORTED_IN_MSG)),
    }
}

fn acknowledgement(parsed: Parsed<'_>) -> Result<Message, Invalid> {
    let malformed = || frame_error("a CALL_CONNECT_ACK that is not one crypto binding request");
    let attributes = parsed.map_err(|_| malformed())?;
    let [Attribute { id: AttributeId::CRYPTO_BINDING_REQ, value }] = attributes[..] else { return Err(malformed()) };
    BindingRequest::parse(value).map(Message::CallConnectAck).ok_or_else(malformed)
}

fn negative_acknowledgement(parsed: Parsed<'_>) -> Result<Message, Invalid> {
    let malformed = || frame_error("a CALL_CONNECT_NAK that is no list of status information");
    let attributes = parsed.map_err(|_| malformed())?;
    let list = attributes.iter().map(|attribute| attribute.status()).collect::<Option<Vec<_>>>();
    list.filter(|list| !list.is_empty()).map(Message::CallConnectNak).ok_or_else(malformed)
}

fn connected(packet: &[u8], parsed: Parsed<'_>) -> Result<Message, Invalid> {
    let no_binding = |what: &str| {
        let info = StatusInfo::new(AttributeId::STATUS_INFO, Status::ATTRIB_NOT_SUPPORTED_IN_MSG);
        Err(Invalid::Message(info, format!("CALL_CONNECTED {what}")))
    };
    let Ok(attributes) = parsed else { return no_binding("that its attributes do not fill exactly") };
    if let Some(other) = attributes.iter().find(|attribute| attribute.id != AttributeId::CRYPTO_BINDING) {
        let status = if other.id.is_known() { Status::ATTRIB_NOT_SUPPORTED_IN_MSG } else { Status::UNRECOGNIZED_ATTRIBUTE };
        return Err(Invalid::Message(StatusInfo::new(other.id, status), format!("CALL_CONNECTED with attribute {}", other.id.0)));
    }
    let binding_error = |status, what: &str| {
        Err(Invalid::Message(StatusInfo::new(AttributeId::CRYPTO_BINDING, status), format!("CALL_CONNECTED with {what}")))
    };
    if attributes.is_empty() {
        return no_binding("without a crypto binding");
    }
    if attributes.len() > 1 {
        return binding_error(Status::DUPLICATE_ATTRIBUTE, "more than one crypto binding");
    }
    let Ok(bytes) = <[u8; CallConnected::LEN]>::try_from(packet) else { return no_binding("with a crypto binding of wrong length") };
    match CallConnected::parse(bytes) {
        Some(connected) => Ok(Message::CallConnected(Box::new(connected))),
        None => binding_error(Status::VALUE_NOT_SUPPORTED, "an unknown hash protocol in its crypto binding"),
    }
}

/// CALL_ABORT and CALL_DISCONNECT are obeyed whatever they carry: a status if there is one.
fn first_status(parsed: Parsed<'_>) -> Option<StatusInfo> {
    parsed.ok()?.iter().find_map(Attribute::status)
}

fn bare(message: Message, body: &[u8], parsed: Parsed<'_>) -> Result<Message, Invalid> {
    match parsed {
        Ok(attributes) if attributes.is_empty() && body.is_empty() => Ok(message),
        _ => Err(frame_error(&format!("{} with attributes", message.name()))),
    }
}

fn frame_error(what: &str) -> Invalid {
    Invalid::Message(StatusInfo::new(AttributeId::NONE, Status::INVALID_FRAME_RECEIVED), what.into())
}

fn status_attribute(info: &StatusInfo) -> (AttributeId, Vec<u8>) {
    (AttributeId::STATUS_INFO, info.value())
}

fn packet(kind: u16, attributes: &[(AttributeId, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![VERSION, CONTROL_BIT, 0, 0];
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    for (id, value) in attributes {
        out.extend_from_slice(&[0, id.0]);
        out.extend_from_slice(&((HEADER_LEN + value.len()) as u16).to_be_bytes());
        out.extend_from_slice(value);
    }
    // At most MAX_REJECTIONS attributes of 76 bytes.
    debug_assert!(out.len() <= MAX_PACKET);
    let len = (out.len() as u16).to_be_bytes();
    out[2..4].copy_from_slice(&len);
    out
}

/// The hash protocol that this bit stands for.
fn hash_of_bit(bit: u8) -> Option<BindingHash> {
    [BindingHash::Sha1, BindingHash::Sha256].into_iter().find(|hash| hash.bit() == bit)
}

#[cfg(test)]
mod tests;
