//! What can be read of the TLS inside EAP-TLS, PEAP, TTLS, FAST and TEAP without being part of it: up to TLS 1.2 both certificates and every
//! alert before encryption travel in the clear (RFC 5216, RFC 5246). Reads only; what it cannot read it leaves alone.
mod handshake;
mod stream;

use crate::{Code, Packet, method};
use stream::{Piece, Stream};

/// Who sent what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The RADIUS server.
    Server,
    /// The client.
    Peer,
}

/// One thing worth a line in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The version that the server chose, as on the wire (0x0303 is TLS 1.2). From 0x0304 on, certificates are hidden.
    Version(u16),
    /// A Certificate message, leaf first, each as DER; at most [`CHAIN_MAX`]. Empty: the peer has no certificate to show.
    Certificates { side: Side, chain: Vec<Vec<u8>> },
    /// From here on this side encrypts (TLS 1.2 and older).
    Encrypted { side: Side },
    /// An alert in the clear.
    Alert { side: Side, fatal: bool, description: u8 },
    /// An alert that is encrypted: something about the handshake's end, or a regular goodbye.
    HiddenAlert { side: Side },
}

/// Certificates of one chain that are kept.
pub const CHAIN_MAX: usize = 10;

/// Watches one EAP conversation.
#[derive(Default)]
pub struct Observer {
    method: Option<u8>,
    /// Identifier of the last packet of each side: a repetition brings nothing new.
    last: [Option<u8>; 2],
    server: Stream,
    peer: Stream,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Observer {
    /// Takes the next packet of the conversation, of either direction, and says what became visible with it.
    pub fn observe(&mut self, packet: &Packet<'_>) -> Vec<Seen> {
        let side = match packet.code() {
            Code::Request => Side::Server,
            Code::Response => Side::Peer,
            Code::Success | Code::Failure => return Vec::new(),
        };
        let Some(number) = packet.method().filter(|&number| carries_tls(number)) else { return Vec::new() };
        if self.method != Some(number) {
            *self = Self { method: Some(number), ..Self::default() };
        }
        if self.last[side as usize].replace(packet.identifier()) == Some(packet.identifier()) {
            return Vec::new();
        }
        let stream = match side {
            Side::Server => &mut self.server,
            Side::Peer => &mut self.peer,
        };
        let Some(bytes) = tls_data(number, packet.data()) else { return Vec::new() };
        let pieces = stream.feed(bytes);
        pieces.into_iter().map(|piece| self.read(side, piece)).collect()
    }

    fn read(&mut self, side: Side, piece: Piece) -> Seen {
        match piece {
            Piece::Version(version) => {
                if version >= handshake::TLS_1_3 {
                    self.server.hide();
                    self.peer.hide();
                }
                Seen::Version(version)
            }
            Piece::Certificates(chain) => Seen::Certificates { side, chain },
            Piece::Encrypted => Seen::Encrypted { side },
            Piece::Alert { fatal, description } => Seen::Alert { side, fatal, description },
            Piece::HiddenAlert => Seen::HiddenAlert { side },
        }
    }
}

fn carries_tls(number: u8) -> bool {
    matches!(number, method::TLS | method::TTLS | method::PEAP | method::FAST | method::TEAP)
}

const LENGTH_INCLUDED: u8 = 0x80;
const START: u8 = 0x20;
/// TEAP alone (RFC 7170 section 4.1): TLVs follow the TLS data.
const OUTER_TLVS: u8 = 0x10;

/// The TLS bytes of a packet's type data; `None` for a Start, an acknowledgement and what is cut short.
fn tls_data(number: u8, data: &[u8]) -> Option<&[u8]> {
    let (&flags, mut rest) = data.split_first()?;
    if flags & START != 0 {
        return None;
    }
    if flags & LENGTH_INCLUDED != 0 {
        rest = rest.get(4..)?;
    }
    if number == method::TEAP && flags & OUTER_TLVS != 0 {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let outer = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest = tail.get(..tail.len().checked_sub(outer)?)?;
    }
    Some(rest).filter(|rest| !rest.is_empty())
}

/// The name of a TLS alert (RFC 8446 section 6), or its number.
pub fn alert_name(description: u8) -> String {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        90 => "user_canceled",
        112 => "unrecognized_name",
        116 => "certificate_required",
        other => return format!("alert {other}"),
    }
    .into()
}

/// The field's name of a TLS version.
pub fn version_name(version: u16) -> String {
    match version {
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        other => format!("TLS version {other:#06x}"),
    }
}

#[cfg(test)]
mod tests;
