//! One direction of a TLS connection, read record by record (RFC 5246 section 6.2).
use super::handshake;

/// Bytes of records and messages that wait for their rest: a chain of large certificates fits, a flood does not.
const PENDING_MAX: usize = 64 * 1024;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

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
        self.records.extend_from_slice(bytes);
        while let Some((kind, body)) = self.record() {
            self.read(kind, &body);
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

    fn record(&mut self) -> Option<(u8, Vec<u8>)> {
        let &[kind, 3, _, high, low, ..] = self.records.as_slice() else {
            if self.records.len() >= RECORD_HEADER {
                self.give_up();
            }
            return None;
        };
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
        let body = self.records.get(RECORD_HEADER..end)?.to_vec();
        self.records.drain(..end);
        Some((kind, body))
    }

    fn read(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (CHANGE_CIPHER_SPEC, _) if !self.hidden => {
                self.hide();
                self.found.push(Piece::Encrypted);
            }
            (ALERT, &[level, description]) if !self.hidden => self.found.push(Piece::Alert { fatal: level == 2, description }),
            (ALERT, _) => self.found.push(Piece::HiddenAlert),
            (HANDSHAKE, _) if !self.hidden => self.handshake(body),
            _ => {}
        }
    }

    fn handshake(&mut self, body: &[u8]) {
        if self.messages.len() + body.len() > PENDING_MAX {
            return self.give_up();
        }
        self.messages.extend_from_slice(body);
        while let Some((kind, message)) = self.message() {
            match kind {
                handshake::SERVER_HELLO => self.settled(handshake::version(&message)),
                handshake::CERTIFICATE => self.found.extend(handshake::chain(&message).map(Piece::Certificates)),
                _ => {}
            }
        }
    }

    fn settled(&mut self, version: Option<u16>) {
        if version.is_some_and(|version| version >= handshake::TLS_1_3) {
            self.hide();
        }
        self.found.extend(version.map(Piece::Version));
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let &[kind, a, b, c, ..] = self.messages.as_slice() else { return None };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let end = MESSAGE_HEADER + length;
        let message = self.messages.get(MESSAGE_HEADER..end)?.to_vec();
        self.messages.drain(..end);
        Some((kind, message))
    }
}
