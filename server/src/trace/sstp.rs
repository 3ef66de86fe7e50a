//! SSTP packets in words, with the PPP frames in them.
use super::{Direction, Frame, Layer, Link, Told, eap, hexadecimal, withheld};
use ppp::shown::{self, Shown};
use sstp::BindingHash;
use sstp::message::{Invalid, Message, StatusInfo};
use std::net::SocketAddr;

/// What is told of a packet that holds no IP packet; `packets`: with it.
pub fn packet(bytes: &[u8], direction: Direction, peer: SocketAddr, packets: bool) -> Told {
    let mut told = in_words(bytes, direction, peer);
    if let (true, Ok(Some(frame))) = (packets, sstp::frame::next(bytes)) {
        let (link, shown) = match frame.control {
            true => (Link::Sstp, bytes[..frame.len].to_vec()),
            false => (Link::Ppp, shown::without_secrets(&bytes[sstp::HEADER_LEN..frame.len])),
        };
        told.frames = vec![Frame { link, client: peer, direction, bytes: hexadecimal(&shown) }];
    }
    told
}

fn in_words(bytes: &[u8], direction: Direction, peer: SocketAddr) -> Told {
    match sstp::frame::next(bytes) {
        Ok(Some(frame)) if frame.control => message(&bytes[..frame.len], direction, peer),
        Ok(Some(frame)) => ppp(&bytes[sstp::HEADER_LEN..frame.len], direction, peer),
        Ok(None) => Told::packet(Layer::Sstp, direction, peer, format!("a packet that is cut short ({} bytes)", bytes.len())),
        Err(error) => Told::packet(Layer::Sstp, direction, peer, format!("malformed: {error}")),
    }
}

fn message(bytes: &[u8], direction: Direction, peer: SocketAddr) -> Told {
    let titled = |title: &str| Told::packet(Layer::Sstp, direction, peer, format!("{title} ({} bytes)", bytes.len()));
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(Invalid::Request(rejected)) => {
            let mut told = titled("CALL_CONNECT_REQUEST, not acceptable");
            statuses(&rejected, &mut told);
            return told;
        }
        Err(Invalid::Message(status, why)) => {
            let mut told = titled("a message that is not valid");
            told.field("malformed", format!("{why} ({status})"));
            return told;
        }
    };
    let mut told = titled(message.name());
    match &message {
        Message::CallConnectAck(request) => {
            let hashes = [BindingHash::Sha1, BindingHash::Sha256].into_iter().filter(|hash| request.offers(*hash));
            told.field("Crypto Binding Request", format!("{}, nonce of 32 bytes", hashes.map(hash).collect::<Vec<_>>().join(", ")));
        }
        Message::CallConnected(connected) => {
            told.field("Crypto Binding", format!("{}, certificate hash and compound MAC ({})", hash(connected.hash()), withheld(64)));
        }
        Message::CallConnectNak(list) => statuses(list, &mut told),
        Message::CallAbort(status) | Message::CallDisconnect(status) => statuses(status.as_slice(), &mut told),
        Message::CallConnectRequest => told.field("Encapsulated Protocol ID", "PPP"),
        Message::CallDisconnectAck | Message::EchoRequest | Message::EchoResponse => {}
    }
    told
}

fn statuses(list: &[StatusInfo], told: &mut Told) {
    list.iter().for_each(|status| told.field("Status Info", status.to_string()));
}

fn hash(hash: BindingHash) -> &'static str {
    match hash {
        BindingHash::Sha1 => "SHA1",
        BindingHash::Sha256 => "SHA256",
    }
}

fn ppp(frame: &[u8], direction: Direction, peer: SocketAddr) -> Told {
    let shown = shown::frame(frame);
    let mut told = Told::packet(Layer::Ppp, direction, peer, format!("{} ({} bytes)", shown.title, frame.len()));
    for (name, value) in shown.parts {
        let value = match value {
            Shown::Text(text) => text,
            Shown::Eap(packet) => eap::describe(&packet),
            Shown::Withheld(bytes) => withheld(bytes),
        };
        told.field(name, value);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use sstp::message::{AttributeId, CallConnected, Status};

    fn told(bytes: &[u8]) -> (String, Vec<String>) {
        let told = packet(bytes, Direction::In, "192.0.2.7:50000".parse().unwrap(), false);
        (told.title, told.fields.into_iter().map(|field| format!("{}={}", field.name, field.value)).collect())
    }

    #[test]
    fn messages_are_named() {
        assert_eq!(told(&Message::CallConnectRequest.encode()).0, "CALL_CONNECT_REQUEST (14 bytes)");
        let abort = Message::CallAbort(Some(StatusInfo::new(AttributeId::NONE, Status::NEGOTIATION_TIMEOUT)));
        let (title, fields) = told(&abort.encode());
        assert!(title.starts_with("CALL_ABORT") && fields == ["Status Info=NEGOTIATION_TIMEOUT (0x8)"], "{fields:?}");
        let connected = CallConnected::unsigned(BindingHash::Sha256, &[1; 32], &[0xab; 32]).signed(&[0xcd; 32]);
        let (_, fields) = told(connected.as_bytes());
        assert_eq!(fields, ["Crypto Binding=SHA256, certificate hash and compound MAC (withheld, 64 bytes)"]);
        assert_eq!(told(&[0x10, 1, 0, 8, 0, 99, 0, 0]).0, "a message that is not valid (8 bytes)");
        assert!(told(&[0x20, 1, 0, 8]).0.starts_with("malformed"));
    }

    #[test]
    fn frames_are_those_of_ppp() {
        let frame = [0xff, 0x03, 0xc2, 0x23, 2, 9, 0, 16, 6, b's', b'e', b'c', b'r', b'e', b't', b'a', b'l', b'i', b'c', b'e'];
        let mut bytes = vec![0; sstp::HEADER_LEN];
        sstp::frame::write_data_header(&mut bytes, frame.len());
        bytes.extend_from_slice(&frame);
        let (title, fields) = told(&bytes);
        assert_eq!((title.as_str(), fields), ("CHAP Response 9 (20 bytes)", vec!["Value=withheld, 6 bytes".into(), "Name=alice".into()]));
    }
}
