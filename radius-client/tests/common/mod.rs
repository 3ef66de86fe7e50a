//! A RADIUS server's half, written apart from the crate's own codec.
#![allow(dead_code, unreachable_pub)]
use crypto::hash::{hmac_md5, md5};
use crypto::{SeededRandom, Zeroizing};
use radius_client::*;
use std::time::{Duration, Instant};

pub const SECRET: &[u8] = b"a shared secret of some length";

pub fn server(name: &str, last: u8) -> Server {
    let auth = format!("192.0.2.{last}:1812").parse().unwrap();
    let accounting = Some(format!("192.0.2.{last}:1813").parse().unwrap());
    Server { tries: 3, timeout: Duration::from_secs(30), ..Server::new(name, Transport::Udp { auth, accounting }, SECRET) }
}

pub fn client(servers: impl Into<Configuration>) -> Client {
    Client::new(servers, Box::new(SeededRandom::new(7)))
}

#[allow(clippy::disallowed_methods)]
pub fn start() -> Instant {
    Instant::now()
}

pub fn nas() -> NasContext {
    NasContext {
        nas_ip: Some("198.51.100.1".parse().unwrap()),
        nas_identifier: "vpn.example.test".into(),
        nas_port: 42,
        called_station_id: "198.51.100.1".into(),
        calling_station_id: "203.0.113.9".into(),
        acct_session_id: "00c0ffee-17".into(),
        tunnel_type: 9,
        tunnel_medium_type: 1,
        framed_mtu: 0,
        ..NasContext::default()
    }
}

pub fn eap_packet(code: u8, identifier: u8, body: &[u8]) -> Vec<u8> {
    [&[code, identifier][..], &((4 + body.len()) as u16).to_be_bytes(), body].concat()
}

pub fn ask(ticket: u64, conversation: u64, eap: &[u8]) -> Input {
    Input::Eap {
        ticket: Ticket(ticket),
        conversation: ConversationId(conversation),
        group: None,
        user_name: b"EXAMPLE\\alice".to_vec(),
        eap: eap.to_vec(),
        nas: Box::new(nas()),
    }
}

pub fn login_as(user: &str, ticket: u64, conversation: u64, credentials: Credentials) -> Input {
    let (ticket, conversation, user_name) = (Ticket(ticket), ConversationId(conversation), user.as_bytes().to_vec());
    Input::Login { ticket, conversation, group: None, user_name, credentials, nas: Box::new(nas()) }
}

pub fn login(ticket: u64, conversation: u64, credentials: Credentials) -> Input {
    login_as("EXAMPLE\\alice", ticket, conversation, credentials)
}

pub fn pap(password: &[u8]) -> Credentials {
    Credentials::Pap { password: Zeroizing::new(password.to_vec()) }
}

pub fn ms_chap(identifier: u8) -> Credentials {
    Credentials::MsChapV2 { identifier, challenge: [0xc1; 16], response: std::array::from_fn(|index| index as u8) }
}

/// The password in User-Password, from the formulas of RFC 2865 section 5.2 read backwards; zeros at its end are padding.
pub fn password(request: &Sent, secret: &[u8]) -> Vec<u8> {
    let hidden = request.get(2).unwrap();
    assert!((16..=128).contains(&hidden.len()) && hidden.len().is_multiple_of(16));
    let mut before = request.authenticator().to_vec();
    let mut plain = Vec::new();
    for block in hidden.chunks(16) {
        let pad = md5(&[secret, &before]);
        plain.extend(block.iter().zip(pad).map(|(c, b)| c ^ b));
        before = block.to_vec();
    }
    while plain.last() == Some(&0) {
        plain.pop();
    }
    plain
}

/// All outputs. Connections over TLS stand at once, with RADIUS/1.0.
pub fn drain(client: &mut Client) -> Vec<Output> {
    drain_speaking(client, RadiusVersion::V1_0)
}

pub fn drain_speaking(client: &mut Client, version: RadiusVersion) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(output) = client.poll_output() {
        if let Output::Open { socket, dial: Dial::Tls { .. }, .. } = output {
            client.handle(start(), Input::Connected { socket, version });
        }
        outputs.push(output);
    }
    outputs
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub socket: SocketId,
    pub to: std::net::SocketAddr,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn identifier(&self) -> u8 {
        self.bytes[1]
    }

    pub fn authenticator(&self) -> [u8; 16] {
        self.bytes[4..20].try_into().unwrap()
    }

    pub fn attributes(&self) -> Vec<(u8, Vec<u8>)> {
        attributes(&self.bytes)
    }

    pub fn get(&self, number: u8) -> Option<Vec<u8>> {
        self.attributes().into_iter().find(|(n, _)| *n == number).map(|(_, value)| value)
    }

    pub fn datagram(&self, bytes: Vec<u8>) -> Input {
        Input::Datagram { socket: self.socket, from: self.to, bytes }
    }
}

pub fn attributes(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &packet[20..];
    let mut all = Vec::new();
    while let [number, length, ..] = *rest {
        all.push((number, rest[2..usize::from(length)].to_vec()));
        rest = &rest[usize::from(length)..];
    }
    all
}

pub fn sent(outputs: &[Output]) -> Vec<Sent> {
    let pick = |output: &Output| match output {
        Output::Transmit { socket, to, bytes } => Some(Sent { socket: *socket, to: *to, bytes: bytes.clone() }),
        _ => None,
    };
    outputs.iter().filter_map(pick).collect()
}

pub fn only_sent(outputs: &[Output]) -> Sent {
    let sent = sent(outputs);
    assert_eq!(sent.len(), 1, "{outputs:?}");
    sent[0].clone()
}

pub fn outcomes(outputs: Vec<Output>) -> Vec<(u64, EapOutcome)> {
    let pick = |output| match output {
        Output::Eap { ticket, outcome } => Some((ticket.0, outcome)),
        _ => None,
    };
    outputs.into_iter().filter_map(pick).collect()
}

pub fn login_outcomes(outputs: Vec<Output>) -> Vec<(u64, LoginOutcome)> {
    let pick = |output| match output {
        Output::Login { ticket, outcome } => Some((ticket.0, outcome)),
        _ => None,
    };
    outputs.into_iter().filter_map(pick).collect()
}

/// A reply with both authenticators; Message-Authenticator first.
pub fn reply(code: u8, request: &Sent, attributes: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all = vec![(80, vec![0; 16])];
    all.extend_from_slice(attributes);
    let mut bytes = unsigned(code, request, &all);
    let value = hmac_md5(SECRET, &[&bytes]);
    bytes[22..38].copy_from_slice(&value);
    seal(bytes, SECRET)
}

/// A reply without Message-Authenticator.
pub fn bare_reply(code: u8, request: &Sent, attributes: &[(u8, Vec<u8>)]) -> Vec<u8> {
    seal(unsigned(code, request, attributes), SECRET)
}

/// The packet with the Request Authenticator in its header.
pub fn unsigned(code: u8, request: &Sent, attributes: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, value) in attributes {
        body.extend([*number, value.len() as u8 + 2]);
        body.extend(value);
    }
    let length = (20 + body.len()) as u16;
    [&[code, request.identifier()][..], &length.to_be_bytes(), &request.authenticator(), &body].concat()
}

/// Puts the Response Authenticator in.
pub fn seal(mut bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let authenticator = md5(&[&bytes, secret]);
    bytes[4..20].copy_from_slice(&authenticator);
    bytes
}

pub fn microsoft(vendor_type: u8, value: &[u8]) -> (u8, Vec<u8>) {
    (26, [&[0, 0, 1, 0x37, vendor_type, value.len() as u8 + 2][..], value].concat())
}

/// RFC 2548 section 2.4.2, from its formulas: b(i) = MD5(S + (R + A | c(i-1))), c(i) = p(i) xor b(i).
pub fn mppe(vendor_type: u8, key: &[u8], salt: [u8; 2], request: &Sent, secret: &[u8]) -> (u8, Vec<u8>) {
    let mut plain = vec![key.len() as u8];
    plain.extend(key);
    while plain.len() % 16 != 0 {
        plain.push(0);
    }
    mppe_raw(vendor_type, &plain, salt, request, secret)
}

pub fn mppe_raw(vendor_type: u8, plain: &[u8], salt: [u8; 2], request: &Sent, secret: &[u8]) -> (u8, Vec<u8>) {
    let mut cipher = Vec::new();
    let mut seed = [&request.authenticator()[..], &salt].concat();
    for block in plain.chunks(16) {
        let pad = md5(&[secret, &seed]);
        seed = block.iter().zip(pad).map(|(p, b)| p ^ b).collect();
        cipher.extend(&seed);
    }
    microsoft(vendor_type, &[&salt[..], &cipher].concat())
}
