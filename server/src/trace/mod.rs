//! What `evergate trace` shows: the packets of one client, decoded, and what the gateway makes of them, in one stream over IKE, EAP, RADIUS, SSTP and PPP.
//!
//! Who has something to tell asks [`Tracer::is_on`] first: one relaxed load for a control packet, and nothing at all for a packet of data. Secrets
//! never come here: what tells them is decoded to names, numbers and lengths before it is told.
mod book;
pub mod capture;
mod eap;
mod ike;
mod inside;
mod keys;
mod radius;
mod sstp;
#[cfg(test)]
mod tests;

pub use ike::message as ike_message;
pub use inside::packet as inside_packet;
pub use keys::KeyLine;
pub use radius::{Ends, Exchanges, dynamic as dynamic_packet};
pub use sstp::packet as sstp_packet;

use crate::api::{Feed, Problem};
use book::Book;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Traces at a time.
pub const MAX_TRACES: usize = 8;
/// Bytes of one value: what a stranger sends must not fill the memory.
const VALUE_BYTES: usize = 1000;
/// Fields of one event.
const FIELDS: usize = 128;
/// Bytes of them all.
const FIELD_BYTES: usize = 16 << 10;
/// How long a trace goes on where nothing is said, and at most.
pub const USUAL_LENGTH: Duration = Duration::from_secs(3600);
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Name of the field that says why there are no keys of a message.
pub const NO_KEYS: &str = "keys for Wireshark";

/// Whom a trace follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Whoever calls itself this, or was found to be this (compared without regard to case).
    User(String),
    /// Whatever comes from this address.
    Peer(IpAddr),
    /// One attempt, by its id.
    Attempt(String),
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user:?}"),
            Self::Peer(address) => write!(f, "peer {address}"),
            Self::Attempt(id) => write!(f, "attempt {id:?}"),
        }
    }
}

/// What a trace wants besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The packets too: IKE as on the wire, all else with zeros for its secrets.
    pub packets: bool,
    /// The keys of IKE SAs.
    pub keys: bool,
}

/// Where something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TraceLayer")]
pub enum Layer {
    Ike,
    Radius,
    Sstp,
    Ppp,
    /// DHCP, Router Solicitations and DHCPv6 in the tunnel, which the gateway answers itself.
    Inside,
    /// What the gateway found or decided: a line of the attempt's record.
    Gateway,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TraceDirection")]
pub enum Direction {
    /// To the gateway.
    In,
    /// From the gateway.
    Out,
}

/// A part of a packet in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TraceField")]
pub struct Field {
    pub name: String,
    pub value: String,
}

/// A datagram as on the wire; of RADIUS with zeros for its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TraceDatagram")]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// The payload of UDP in hexadecimal digits.
    pub bytes: String,
}

/// What stands around the bytes of a [`Frame`] in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TraceLink")]
pub enum Link {
    /// An IP packet from inside the tunnel.
    Ip,
    /// A frame of PPP.
    Ppp,
    /// A control packet of SSTP, from inside TLS.
    Sstp,
    /// A message of IKE in TCP (RFC 9329), without what tells messages apart there.
    Ike,
    /// A packet of RADIUS, from inside TLS.
    Radius,
}

/// What is no datagram of its own on the wire: it came out of a tunnel, of TLS or of TCP, or goes into one. Secrets in it are zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TraceFrame")]
pub struct Frame {
    pub link: Link,
    /// The other end, which for RADIUS is the server.
    pub client: SocketAddr,
    pub direction: Direction,
    /// In hexadecimal digits.
    pub bytes: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TraceEvent")]
pub struct Event {
    /// Microseconds since 1970.
    pub at_us: u64,
    /// Id of the attempt; absent where none has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// As far as it was known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub layer: Layer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The other end: the client, or the RADIUS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// `IKE_AUTH request 1`, `Access-Request 17`, or a line of the record.
    pub title: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// Where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<Datagram>,
    /// With the packets: what is inside tunnels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// Where they were asked for: of the IKE SA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyLine>,
}

/// A thing to tell, before it is known whose it is.
#[derive(Debug, Clone)]
pub struct Told {
    layer: Layer,
    direction: Option<Direction>,
    peer: Option<SocketAddr>,
    title: String,
    fields: Vec<Field>,
    field_bytes: usize,
    packets: Vec<Datagram>,
    frames: Vec<Frame>,
    keys: Option<KeyLine>,
}

impl Told {
    fn packet(layer: Layer, direction: Direction, peer: SocketAddr, title: String) -> Self {
        Self {
            layer,
            direction: Some(direction),
            peer: Some(peer),
            title: clip(title),
            fields: Vec::new(),
            field_bytes: 0,
            packets: Vec::new(),
            frames: Vec::new(),
            keys: None,
        }
    }

    fn line(text: &str) -> Self {
        Self {
            layer: Layer::Gateway,
            direction: None,
            peer: None,
            title: text.to_owned(),
            fields: Vec::new(),
            field_bytes: 0,
            packets: Vec::new(),
            frames: Vec::new(),
            keys: None,
        }
    }

    /// Adds a field; beyond the bound it is left out.
    fn field(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let field = Field { name: name.into(), value: clip(value.into()) };
        self.field_bytes += field.name.len() + field.value.len();
        if self.fields.len() < FIELDS && self.field_bytes <= FIELD_BYTES {
            self.fields.push(field);
        }
    }
}

fn clip(mut text: String) -> String {
    if text.len() > VALUE_BYTES {
        text.truncate(text.floor_char_boundary(VALUE_BYTES));
        text.push_str(" ...");
    }
    text
}

/// What stands for a secret.
fn withheld(bytes: usize) -> String {
    format!("withheld, {bytes} bytes")
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// An attempt as a trace begins, or as it starts.
#[derive(Debug, Clone)]
pub struct Begun {
    pub id: String,
    pub client: SocketAddr,
    pub user: Option<String>,
    /// It has led to a session.
    pub up: bool,
}

/// Where everything is told; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Arc<Hub>);

#[derive(Debug, Default)]
struct Hub {
    /// [`OFF`], or [`ON`] with what is wanted besides: [`PACKETS`], [`KEYS`].
    state: AtomicU8,
    /// UDP port whose datagrams begin with the non-ESP marker, where it is not 4500.
    nat_port: AtomicU16,
    book: Mutex<Book>,
}

const OFF: u8 = 0;
const ON: u8 = 1;
const PACKETS: u8 = 2;
const KEYS: u8 = 4;

impl Tracer {
    /// Whether anybody traces anything.
    pub fn is_on(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) != OFF
    }

    /// Whether anybody wants packets.
    pub fn wants_packets(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & PACKETS != 0
    }

    /// Whether anybody wants keys.
    pub fn wants_keys(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & KEYS != 0
    }

    /// The UDP port of this gateway whose datagrams begin with the non-ESP marker (RFC 3948 section 2.2).
    pub fn set_nat_port(&self, port: u16) {
        self.0.nat_port.store(port, Ordering::Relaxed);
    }

    pub fn nat_port(&self) -> u16 {
        match self.0.nat_port.load(Ordering::Relaxed) {
            0 => 4500,
            port => port,
        }
    }

    /// Begins a trace, which gets its events through `feed`; its number. `running`: the attempts that have begun and not ended.
    ///
    /// # Errors
    /// There are [`MAX_TRACES`] already.
    pub fn begin(
        &self,
        now: (Instant, jiff::Timestamp),
        about: About,
        extent: Extent,
        feed: Feed,
        running: impl Iterator<Item = Begun>,
    ) -> Result<u64, Problem> {
        let mut book = self.book();
        if book.is_empty() {
            book.clock(now);
            running.for_each(|begun| book.started(begun));
        }
        let number = book.follow(about, extent, feed)?;
        self.settle(&book);
        Ok(number)
    }

    /// Ends a trace; whom it was about, or `None` where it has ended before.
    pub fn end(&self, number: u64) -> Option<About> {
        let mut book = self.book();
        let about = book.leave(number);
        self.settle(&book);
        about
    }

    /// What tells that the attempt which a trace is about is over; `None`: there is no such trace.
    pub fn over(&self, number: u64) -> Option<Arc<Notify>> {
        self.book().over(number)
    }

    /// Tells a trace alone a last thing.
    pub fn last_word(&self, now: Instant, number: u64, text: &str) {
        self.book().last_word(now, number, text);
    }

    /// An attempt starts.
    pub fn started(&self, begun: impl FnOnce() -> Begun) {
        if self.is_on() {
            self.book().started(begun());
        }
    }

    /// An attempt's client calls itself so, or was found to be this user.
    pub fn named(&self, id: &str, user: &str) {
        if self.is_on() {
            self.book().named(id, user);
        }
    }

    /// An attempt's client may call itself otherwise from here on.
    pub fn unnamed(&self, id: &str) {
        if self.is_on() {
            self.book().unnamed(id);
        }
    }

    /// An attempt's client comes from another address.
    pub fn moved(&self, id: &str, client: SocketAddr) {
        if self.is_on() {
            self.book().moved(id, client);
        }
    }

    /// An attempt has led to a session.
    pub fn settled(&self, id: &str) {
        if self.is_on() {
            self.book().settled(id);
        }
    }

    /// An attempt is over: little more will be told of it.
    pub fn finished(&self, id: &str) {
        if self.is_on() {
            self.book().finished(id);
        }
    }

    /// A line of an attempt's record.
    pub fn line(&self, now: Instant, id: &str, text: &str) {
        if self.is_on() {
            self.book().tell(now, Some(id), Told::line(text));
        }
    }

    /// Whether it is worth while to put a packet of the client at `peer` into words: not where nobody follows it, nor may turn out to.
    pub fn cares(&self, id: Option<&str>, peer: Option<SocketAddr>) -> bool {
        self.is_on() && self.book().cares(id, peer)
    }

    /// Anything else; `id`: of the attempt, where it is known.
    pub fn tell(&self, now: Instant, id: Option<&str>, told: Told) {
        if self.is_on() {
            self.book().tell(now, id, told);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing that could panic half way leaves it wrong: it is a view.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, book: &Book) {
        let extent = book.extent();
        let state = match book.is_empty() {
            true => OFF,
            false => ON | if extent.packets { PACKETS } else { 0 } | if extent.keys { KEYS } else { 0 },
        };
        self.0.state.store(state, Ordering::Relaxed);
    }
}
