//! RADIUS packets in words, and whose they are: requests name their attempt by Acct-Session-Id, replies are known by their request.
use super::{Datagram, Direction, Frame, Layer, Link, Told, Tracer, eap, hexadecimal, withheld};
use radius_client::attributes::number;
use radius_client::codec::{HEADER, Packet, code};
use radius_client::shown::{self, Shown};
use radius_client::{RadiusVersion, SocketId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

/// Requests of sessions that are followed, while there is a trace.
#[derive(Debug)]
pub struct Exchanges {
    tracer: Tracer,
    /// Connections that speak RADIUS/1.1.
    tokens: BTreeSet<SocketId>,
    waiting: BTreeMap<(SocketId, u32), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    attempt: String,
    header: [u8; HEADER],
}

/// What a packet goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// A socket with this address of ours.
    Udp(SocketAddr),
    /// A connection over TLS, which hides it.
    Tls,
}

impl Ends {
    /// Puts the packet into what is told of it, with zeros for its secrets.
    fn put(self, told: &mut Told, direction: Direction, peer: SocketAddr, bytes: &[u8]) {
        let bytes = hexadecimal(&shown::without_secrets(bytes));
        match self {
            Self::Udp(local) => {
                let (from, to) = if direction == Direction::In { (peer, local) } else { (local, peer) };
                told.packets = vec![Datagram { from, to, bytes }];
            }
            Self::Tls => told.frames = vec![Frame { link: Link::Radius, client: peer, direction, bytes }],
        }
    }
}

impl Exchanges {
    pub fn new(tracer: Tracer) -> Self {
        Self { tracer, tokens: BTreeSet::new(), waiting: BTreeMap::new() }
    }

    /// Whether anybody traces.
    pub fn is_on(&mut self) -> bool {
        let is_on = self.tracer.is_on();
        if !is_on && !self.waiting.is_empty() {
            self.waiting.clear();
        }
        is_on
    }

    /// A connection stands.
    pub fn connected(&mut self, socket: SocketId, version: RadiusVersion) {
        if version == RadiusVersion::V1_1 {
            self.tokens.insert(socket);
        }
    }

    /// A socket is closed.
    pub fn closed(&mut self, socket: SocketId) {
        self.tokens.remove(&socket);
        self.waiting.retain(|(of, _), _| *of != socket);
    }

    /// A packet goes to a server.
    pub fn sent(&mut self, now: Instant, socket: SocketId, to: SocketAddr, ends: Option<Ends>, bytes: &[u8]) {
        let (Ok(packet), Some(header)) = (Packet::parse(bytes), bytes.first_chunk::<HEADER>()) else { return };
        let Some(attempt) = packet.text(number::ACCT_SESSION_ID).filter(|attempt| self.tracer.cares(Some(attempt), None)) else { return };
        let key = (socket, self.number(socket, &packet));
        let again = self.waiting.get(&key).is_some_and(|waiting| waiting.header == *header);
        let note = if again { ", the same again" } else { "" };
        let mut told = describe(&packet, key.1, Direction::Out, to, note, bytes.len());
        if let Some(ends) = ends.filter(|_| self.tracer.wants_packets()) {
            ends.put(&mut told, Direction::Out, to, bytes);
        }
        self.tracer.tell(now, Some(&attempt), told);
        self.waiting.insert(key, Waiting { attempt, header: *header });
    }

    /// A packet came from a server, and why it was dropped, if it was.
    pub fn received(&mut self, now: Instant, socket: SocketId, from: SocketAddr, ends: Option<Ends>, bytes: &[u8], dropped: Option<&str>) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let key = (socket, self.number(socket, &packet));
        let attempt = match dropped {
            Some(_) => self.waiting.get(&key).map(|waiting| waiting.attempt.clone()),
            None => self.waiting.remove(&key).map(|waiting| waiting.attempt),
        };
        let Some(attempt) = attempt else { return };
        let note = dropped.map(|why| format!(", dropped: {why}")).unwrap_or_default();
        let mut told = describe(&packet, key.1, Direction::In, from, &note, bytes.len());
        if let Some(ends) = ends.filter(|_| self.tracer.wants_packets()) {
            ends.put(&mut told, Direction::In, from, bytes);
        }
        self.tracer.tell(now, Some(&attempt), told);
    }

    /// What tells exchanges apart (RFC 2865 section 3, RFC 9765 section 4.2).
    fn number(&self, socket: SocketId, packet: &Packet<'_>) -> u32 {
        if self.tokens.contains(&socket) { packet.token() } else { packet.identifier().into() }
    }
}

/// What is told of a Disconnect- or CoA-Request of the client at `peer`, or of its answer. `None`: it is no RADIUS packet.
pub fn dynamic(bytes: &[u8], direction: Direction, peer: SocketAddr, ends: Option<Ends>) -> Option<Told> {
    let packet = Packet::parse(bytes).ok()?;
    let mut told = describe(&packet, packet.identifier().into(), direction, peer, "", bytes.len());
    if let Some(ends) = ends {
        ends.put(&mut told, direction, peer, bytes);
    }
    Some(told)
}

fn describe(packet: &Packet<'_>, number: u32, direction: Direction, peer: SocketAddr, note: &str, bytes: usize) -> Told {
    let title = format!("{} {number}{note} ({bytes} bytes)", shown::code_name(packet.code()));
    let mut told = Told::packet(Layer::Radius, direction, peer, title);
    for (name, value) in shown::attributes(packet) {
        let value = match value {
            Shown::Text(text) => match (packet.code(), name.as_str(), text.as_str()) {
                (code::ACCOUNTING_REQUEST, "Acct-Status-Type", "1") => "Start".to_owned(),
                (code::ACCOUNTING_REQUEST, "Acct-Status-Type", "2") => "Stop".to_owned(),
                (code::ACCOUNTING_REQUEST, "Acct-Status-Type", "3") => "Interim-Update".to_owned(),
                _ => text,
            },
            Shown::Eap(eap) => eap::describe(&eap),
            Shown::Withheld(bytes) => withheld(bytes),
        };
        told.field(name, value);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_holds_no_secret() {
        let mut bytes = vec![code::COA_REQUEST, 9, 0, 37];
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(b"\x01\x07alice\x02\x0asecret!!");
        let peer = "192.0.2.9:3799".parse().unwrap();
        let [udp, tls] = [Ends::Udp(peer), Ends::Tls].map(|ends| dynamic(&bytes, Direction::In, peer, Some(ends)).unwrap());
        bytes[29..].fill(0);
        assert_eq!((udp.packets[0].bytes.clone(), udp.frames.len()), (hexadecimal(&bytes), 0));
        assert_eq!((tls.frames[0].bytes.clone(), tls.frames[0].link, tls.packets.len()), (hexadecimal(&bytes), Link::Radius, 0));
    }
}
