//! What is told of messages while [`crate::Endpoint::watch`] is on: for an operator who follows one client.
use crate::api::{Counters, Path};
use crate::keys::IkeKeys;
use crate::wire::{Message, Payload};

/// What the machine tells of messages besides acting on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    #[default]
    Off,
    /// Every message, decoded: [`crate::Output::Seen`].
    Messages,
    /// The same, with the keys of its IKE SA.
    Keys,
}

/// One message, before what comes of it. Its payloads may hold secrets of the client, such as MS-CHAP responses inside EAP.
pub struct Seen {
    pub path: Path,
    /// To the peer.
    pub outbound: bool,
    /// As on the wire, the non-ESP marker stripped; several: the fragments of a message that we send.
    pub datagrams: Vec<Vec<u8>>,
    pub content: Content,
    /// With [`Watch::Keys`], of a protected message.
    pub keys: Option<Box<IkeKeys>>,
}

/// What a message holds, or what became of it.
pub enum Content {
    /// In the clear or opened.
    Payloads(Vec<Payload>),
    /// Of a message that is not whole yet.
    Fragment,
    /// The same as before. A request is answered as before.
    Repeated,
    /// Nothing comes of it; the counter that counts it.
    Dropped(&'static str),
    /// It is the peer's, but does not parse: why.
    Malformed(String),
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes: usize = self.datagrams.iter().map(Vec::len).sum();
        f.debug_struct("Seen").field("path", &self.path).field("outbound", &self.outbound).field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Payloads(_) => "Payloads(..)",
            Self::Fragment => "Fragment",
            Self::Repeated => "Repeated",
            Self::Dropped(counter) => counter,
            Self::Malformed(_) => "Malformed(..)",
        })
    }
}

impl Seen {
    /// A message of ours that is in the clear, or goes out once more.
    pub(crate) fn sent(path: Path, message: &[u8]) -> Self {
        Self { path, outbound: true, datagrams: vec![message.to_vec()], content: Content::sent(message), keys: None }
    }

    pub(crate) fn received(path: Path, message: &[u8], content: Content) -> Self {
        Self { path, outbound: false, datagrams: vec![message.to_vec()], content, keys: None }
    }
}

impl Content {
    /// Of a message that we send.
    fn sent(message: &[u8]) -> Self {
        match Message::parse(message) {
            Ok(parsed) if !parsed.protected => Self::Payloads(parsed.payloads.iter().cloned().collect()),
            _ => Self::Repeated,
        }
    }

    /// Of an IKE_SA_INIT, or another message in the clear.
    pub(crate) fn clear(message: &[u8]) -> Self {
        match Message::parse(message) {
            Ok(parsed) => Self::Payloads(parsed.payloads.iter().cloned().collect()),
            Err(error) => Self::Malformed(error.to_string()),
        }
    }
}

/// The counter that says why a datagram was dropped between these two looks.
pub(crate) fn dropped(before: &Counters, after: &Counters) -> Option<&'static str> {
    let named = |counters: &Counters| {
        [
            ("malformed", counters.malformed),
            ("forged", counters.forged),
            ("replayed", counters.replayed),
            ("unknown_spi", counters.unknown_spi),
            ("out_of_window", counters.out_of_window),
            ("half_open_refused", counters.half_open_refused),
            ("unsupported_version", counters.unsupported_version),
        ]
    };
    named(before).iter().zip(named(after)).find(|(before, after)| after.1 > before.1).map(|(_, (name, _))| name)
}
