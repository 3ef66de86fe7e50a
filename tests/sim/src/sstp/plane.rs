//! A data plane that carries nothing, writes down what it is told, and judges crypto bindings for itself before it believes an order to open.
use super::packets::cmac;
use crypto::hash::{HashAlgorithm, hash};
use evergate::gateway::{Inner, Plane, Traffic};
use ike::SessionId;
use policy::network::AddressRange;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

/// One TLS connection as the data plane knows it.
#[derive(Debug, Default)]
pub struct Stream {
    /// What the gateway said and the world has not carried to the client yet.
    pub outbox: Vec<Vec<u8>>,
    /// Inner addresses, once IP packets may flow.
    pub opened: Option<Vec<IpAddr>>,
    pub mtu: u16,
    /// IP packets of the gateway's own.
    pub inner: Vec<Vec<u8>>,
    /// IP packets flow no more: the session says goodbye.
    pub held: bool,
    /// The gateway has closed it.
    pub closed: bool,
    pub forgotten: u32,
    pub heard: Option<Instant>,
    pub traffic: Traffic,
    pub(crate) evidence: Evidence,
}

/// What `stream_open` must have waited for.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) nonce: [u8; 32],
    /// DER.
    pub(crate) certificate: Vec<u8>,
    pub(crate) offer_sha1: bool,
    /// Of the Access-Accept, as the binding takes them.
    pub(crate) hlak: Option<[u8; 32]>,
    /// Every CALL_CONNECTED of the client.
    pub(crate) connected: Vec<Vec<u8>>,
}

impl Evidence {
    fn vouches(&self) -> bool {
        self.hlak.is_some_and(|hlak| self.connected.iter().any(|packet| self.verifies(&hlak, packet)))
    }

    /// [MS-SSTP] 3.3.5.2.3.
    fn verifies(&self, hlak: &[u8; 32], packet: &[u8]) -> bool {
        let (algorithm, sha1) = match packet[15] {
            1 if self.offer_sha1 => (HashAlgorithm::Sha1, true),
            2 => (HashAlgorithm::Sha256, false),
            _ => return false,
        };
        let mut cleared = packet.to_vec();
        cleared[80..].fill(0);
        let (certificate, mac) = (hash(algorithm, &[&self.certificate]), cmac(sha1, hlak, &cleared));
        packet.len() == 112 && packet[16..48] == self.nonce && packet[48..].starts_with(&certificate) && packet[80..].starts_with(&mac)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct FakePlane {
    pub streams: BTreeMap<SessionId, Stream>,
    pub adopted: Option<SessionId>,
    /// The latest of each session.
    pub restricted: BTreeMap<SessionId, policy::filter::Restrictions>,
    /// Streams that have something for the world to carry.
    pub(crate) touched: BTreeSet<SessionId>,
    /// Orders that the real data plane would not understand, or must never be given.
    pub wrong: Vec<String>,
    /// What `adopt` and `stream_open` answer instead of success.
    pub adopt_error: Option<String>,
    pub open_error: Option<String>,
}

impl FakePlane {
    /// The stream that an order is for; an order for none, or for one that is over, is wrong.
    fn stream(&mut self, session: SessionId, order: &str) -> Option<&mut Stream> {
        match self.streams.get_mut(&session) {
            Some(stream) if stream.forgotten == 0 && !stream.closed => Some(stream),
            Some(_) => {
                self.wrong.push(format!("{order} for session {} after its end", session.0));
                None
            }
            None => {
                self.wrong.push(format!("{order} for session {}, which was never adopted", session.0));
                None
            }
        }
    }
}

impl Plane for FakePlane {
    type Connection = ();

    fn restrict(&mut self, session: SessionId, restrictions: policy::filter::Restrictions) -> Result<(), String> {
        self.restricted.insert(session, restrictions);
        Ok(())
    }

    fn install(&mut self, child: ike::ChildSa, _: &[policy::pool::Network]) -> Result<(), String> {
        self.wrong.push(format!("install for session {}", child.session.0));
        Ok(())
    }

    fn use_outbound(&mut self, session: SessionId, _spi_in: u32) {
        self.wrong.push(format!("use_outbound for session {}", session.0));
    }

    fn remove(&mut self, session: SessionId, _spi_in: u32) {
        self.wrong.push(format!("remove for session {}", session.0));
    }

    fn rest(&mut self, session: SessionId) {
        self.wrong.push(format!("rest for session {}", session.0));
    }

    fn repath(&mut self, session: SessionId, _path: ike::Path, _encapsulate: bool) {
        self.wrong.push(format!("repath for session {}", session.0));
    }

    fn traffic(&self, session: SessionId) -> Traffic {
        self.streams.get(&session).filter(|stream| stream.forgotten == 0).map(|stream| stream.traffic).unwrap_or_default()
    }

    fn forget(&mut self, session: SessionId) {
        let stream = self.streams.entry(session).or_default();
        stream.forgotten += 1;
        if stream.forgotten > 1 {
            self.wrong.push(format!("forget for session {} again", session.0));
        }
    }

    fn adopt(&mut self, session: SessionId, (): ()) -> Result<(), String> {
        if let Some(error) = &self.adopt_error {
            return Err(error.clone());
        }
        self.adopted = Some(session);
        if self.streams.insert(session, Stream::default()).is_some() {
            self.wrong.push(format!("adopt for session {} again", session.0));
        }
        Ok(())
    }

    fn stream_hold(&mut self, session: SessionId) {
        if let Some(stream) = self.stream(session, "stream_hold") {
            stream.held = true;
        }
    }

    fn stream_send(&mut self, session: SessionId, packet: Vec<u8>) {
        if let Some(stream) = self.stream(session, "stream_send") {
            stream.outbox.push(packet);
            self.touched.insert(session);
        }
    }

    fn stream_open(&mut self, session: SessionId, inner: Inner<'_>, _allowed: &[AddressRange], mtu: u16) -> Result<(), String> {
        if let Some(error) = &self.open_error {
            return Err(error.clone());
        }
        let Some(stream) = self.stream(session, "stream_open") else { return Ok(()) };
        let again = stream.opened.replace(inner.addresses.to_vec()).is_some();
        stream.mtu = mtu;
        let vouched = stream.evidence.vouches();
        if again || !vouched || inner.addresses.is_empty() {
            self.wrong.push(format!("stream_open for session {}: again {again}, vouched for {vouched}, inner {inner:?}", session.0));
        }
        Ok(())
    }

    fn own_addresses(&self) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }

    fn stream_close(&mut self, session: SessionId) {
        if let Some(stream) = self.stream(session, "stream_close") {
            stream.closed = true;
            self.touched.insert(session);
        }
    }

    fn tcp_trust(&mut self, connection: ike::ConnectionId) {
        self.wrong.push(format!("tcp_trust for {connection:?}"));
    }

    fn tcp_close(&mut self, connection: ike::ConnectionId) {
        self.wrong.push(format!("tcp_close for {connection:?}"));
    }

    fn tcp_gone(&mut self, connection: ike::ConnectionId) {
        self.wrong.push(format!("tcp_gone for {connection:?}"));
    }

    fn last_heard(&self, session: SessionId) -> Option<Instant> {
        self.streams.get(&session).and_then(|stream| stream.heard)
    }

    fn send_inner(&mut self, session: SessionId, packet: Vec<u8>) {
        let Some(stream) = self.stream(session, "send_inner") else { return };
        stream.inner.push(packet);
        if stream.opened.is_none() {
            self.wrong.push(format!("send_inner for session {}, which is not open", session.0));
        }
    }
}
