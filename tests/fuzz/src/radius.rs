//! Datagrams from RADIUS servers: forged ones, and authentic ones of a server gone mad.
use crypto::SeededRandom;
use radius_client::codec::Packet;
use radius_client::mppe::Hiding;
use radius_client::{Client, ConversationId, Input, NasContext, Output, RequireMessageAuthenticator, Server, SocketId, Ticket, Transport};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

const SECRET: &[u8] = b"xyzzy5461";

/// A datagram at the RADIUS socket.
pub fn radius_packet(data: &[u8]) {
    views(data);
    let mut machine = Machine::waiting();
    assert!(!machine.answered_by(data.to_vec()), "an answer without the shared secret");
    if let Some(signed) = machine.signed(data) {
        machine.answered_by(signed);
    }
}

fn views(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    let authenticator = packet.authenticator();
    let _ = (packet.code(), packet.identifier(), packet.eap_message(), packet.response_authenticator(authenticator, SECRET));
    for attribute in packet.attributes() {
        let (u32, v4, v6) = (attribute.u32("a"), attribute.ipv4("b"), attribute.ipv6("c"));
        assert!(u32.is_err() || v4.is_ok() && v6.is_err());
        assert!(attribute.offset + 2 + attribute.value.len() <= data.len());
        let _ = (attribute.text(), packet.microsoft(attribute.number));
    }
    let _ = radius_client::mppe::msk(&packet, Hiding::Secret { request_authenticator: authenticator, secret: SECRET });
}

/// A client with one Access-Request on the wire.
struct Machine {
    client: Client,
    socket: SocketId,
    server: SocketAddr,
    request: Vec<u8>,
}

impl Machine {
    fn waiting() -> Self {
        let server: SocketAddr = ([192, 0, 2, 1], 1812).into();
        let transport = Transport::Udp { auth: server, accounting: None };
        let settings = Server { require_message_authenticator: RequireMessageAuthenticator::No, ..Server::new("nps1", transport, SECRET) };
        let mut client = Client::new(vec![settings], Box::new(SeededRandom::new(1)));
        let eap = b"\x02\x01\x00\x0a\x01alice".to_vec();
        let nas = Box::new(NasContext { nas_identifier: "vpn.example.test".into(), ..NasContext::default() });
        let (ticket, conversation) = (Ticket(1), ConversationId(1));
        client.handle(now(), Input::Eap { ticket, conversation, group: None, user_name: b"alice".to_vec(), eap, nas });
        let mut sent = None;
        while let Some(output) = client.poll_output() {
            if let Output::Transmit { socket, bytes, .. } = output {
                sent = Some((socket, bytes));
            }
        }
        let (socket, request) = sent.expect("a request leaves at once");
        Self { client, socket, server, request }
    }

    /// Hands in a datagram; says whether it decided the request.
    fn answered_by(&mut self, bytes: Vec<u8>) -> bool {
        self.client.handle(now(), Input::Datagram { socket: self.socket, from: self.server, bytes });
        std::iter::from_fn(|| self.client.poll_output()).any(|output| matches!(output, Output::Eap { .. }))
    }

    /// The datagram as this server would send it: the request's identifier, and the authenticator that the shared secret makes.
    fn signed(&self, data: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = data.to_vec();
        *bytes.get_mut(1)? = self.request[1];
        let request_authenticator: &[u8; 16] = self.request[4..20].try_into().expect("a request has a header");
        let authenticator = Packet::parse(&bytes).ok()?.response_authenticator(request_authenticator, SECRET);
        bytes[4..20].copy_from_slice(&authenticator);
        Some(bytes)
    }
}

/// One instant for all: the machine sees no time pass.
fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}
