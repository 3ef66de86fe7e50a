//! One direction of a TLS connection, read record by record (RFC 5246 section 6.2).
use super::handshake;

/// Bytes of records and messages that wait for their rest: a chain of large certificates fits, a flood does not.
const PENDING_MAX: usize = 64 * 1024;

/// What one direction of one conversation shows at most.
const PIECES_MAX: usize = 32;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// What one direction shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Version(u16),
    Certificates(Vec<Vec<u8>>),
    Encrypted,
    Alert { fatal: bool, description: u8 },
    HiddenAlert,
}

#[derive(Default)]
pub(super) struct Stream {
    records: Vec<u8>,
    messages: Vec<u8>,
    found: Vec<Piece>,
    /// Only the outside of records can be read from here on.
    hidden: bool,
    /// Pieces so far.
    shown: usize,
    /// No TLS, or too much of it: nothing is read any more.
    blind: bool,
}

impl Stream {
    /// Takes the next bytes; what became visible with them.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        if self.blind {
            return Vec::new();
        }
        if self.records.len() + bytes.len() > PENDING_MAX {
            self.give_up();
            return Vec::new();
        }
        // Cut once for all records in it: a flood of empty ones costs no more than its bytes.
        let mut records = std::mem::take(&mut self.records);
        records.extend_from_slice(bytes);
        let mut rest = records.as_slice();
        while let Some((kind, body, tail)) = record(rest).filter(|_| !self.blind) {
            self.read(kind, body);
            rest = tail;
        }
        match rest {
            _ if self.blind => {}
            [_, 3, ..] | [] | [_] => self.records = rest.to_vec(),
            _ => self.give_up(),
        }
        std::mem::take(&mut self.found)
    }

    pub(super) fn hide(&mut self) {
        self.hidden = true;
        self.messages = Vec::new();
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.records.len() + self.messages.len()
    }

    fn give_up(&mut self) {
        *self = Self { blind: true, found: std::mem::take(&mut self.found), ..Self::default() };
    }

    fn read(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (CHANGE_CIPHER_SPEC, _) if !self.hidden => {
                self.hide();
                self.show(Piece::Encrypted);
            }
            (ALERT, &[level, description]) if !self.hidden => self.show(Piece::Alert { fatal: level == 2, description }),
            (ALERT, _) => self.show(Piece::HiddenAlert),
            (HANDSHAKE, _) if !self.hidden => self.handshake(body),
            _ => {}
        }
    }

    fn handshake(&mut self, body: &[u8]) {
        if self.messages.len() + body.len() > PENDING_MAX {
            return self.give_up();
        }
        let mut messages = std::mem::take(&mut self.messages);
        messages.extend_from_slice(body);
        let mut rest = messages.as_slice();
        while let Some((kind, message, tail)) = message(rest).filter(|_| !self.blind && !self.hidden) {
            match kind {
                handshake::SERVER_HELLO => self.settled(handshake::version(message)),
                handshake::CERTIFICATE => {
                    if let Some(chain) = handshake::chain(message) {
                        self.show(Piece::Certificates(chain));
                    }
                }
                _ => {}
            }
            rest = tail;
        }
        if !self.blind && !self.hidden {
            self.messages = rest.to_vec();
        }
    }

    /// Nobody who is honest shows more than a few.
    fn show(&mut self, piece: Piece) {
        self.shown += 1;
        if self.shown > PIECES_MAX {
            return self.give_up();
        }
        self.found.push(piece);
    }

    fn settled(&mut self, version: Option<u16>) {
        if version.is_some_and(|version| version >= handshake::TLS_1_3) {
            self.hide();
        }
        if let Some(version) = version {
            self.show(Piece::Version(version));
        }
    }
}

/// The first whole record: its type, its content, and what follows.
fn record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, 3, _, high, low, ref rest @ ..] = bytes else { return None };
    let (body, tail) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((kind, body, tail))
}

/// The first whole handshake message, likewise.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, a, b, c, ref rest @ ..] = bytes else { return None };
    let (body, tail) = rest.split_at_checked(usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?)?;
    Some((kind, body, tail))
}
