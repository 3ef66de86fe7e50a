//! Identifiers in flight: one byte a socket, the longest unused first, more sockets when all 256 are taken (RFC 2865 section 3).
use crate::api::SocketId;
use crate::validate::Purpose;
use std::collections::{BTreeMap, VecDeque};

/// Sockets to one port of one server: 65,536 requests in flight.
const MAX_SOCKETS: usize = 256;

/// A configured server; a changed secret or address makes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestKey(pub(crate) u64);

/// One port of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) peer: PeerKey,
    pub(crate) purpose: Purpose,
}

/// Where a request lives on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) socket: SocketId,
    pub(crate) identifier: u8,
}

#[derive(Debug)]
struct Socket {
    line: Line,
    /// The front has been free for longest.
    free: VecDeque<u8>,
    used: BTreeMap<u8, RequestKey>,
}

/// All sockets of the client.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sockets: BTreeMap<SocketId, Socket>,
    next: u32,
}

impl Table {
    /// A free identifier for `request` on a socket that then still has `spare` of them; true when it has to be opened first. `None`: all are in flight.
    pub(crate) fn take(&mut self, line: Line, request: RequestKey, spare: usize) -> Option<(Slot, bool)> {
        let free = self.sockets.iter().find(|(_, socket)| socket.line == line && socket.free.len() > spare).map(|(id, _)| *id);
        let (id, opened) = match free {
            Some(id) => (id, false),
            None => (self.open(line)?, true),
        };
        Some((self.take_on(id, request)?, opened))
    }

    /// A free identifier on this very socket.
    pub(crate) fn take_on(&mut self, id: SocketId, request: RequestKey) -> Option<Slot> {
        let socket = self.sockets.get_mut(&id)?;
        let identifier = socket.free.pop_front()?;
        socket.used.insert(identifier, request);
        Some(Slot { socket: id, identifier })
    }

    pub(crate) fn has_socket(&self, line: Line) -> bool {
        self.sockets.values().any(|socket| socket.line == line)
    }

    fn open(&mut self, line: Line) -> Option<SocketId> {
        if self.sockets.values().filter(|socket| socket.line == line).count() >= MAX_SOCKETS {
            return None;
        }
        let id = SocketId(self.next);
        self.next = self.next.wrapping_add(1);
        self.sockets.insert(id, Socket { line, free: (0..=255).collect(), used: BTreeMap::new() });
        Some(id)
    }

    /// Frees an identifier. Returns the socket if it is one too many now, to be closed.
    pub(crate) fn release(&mut self, slot: Slot) -> Option<SocketId> {
        let socket = self.sockets.get_mut(&slot.socket)?;
        if socket.used.remove(&slot.identifier).is_some() {
            socket.free.push_back(slot.identifier);
        }
        let (line, empty) = (socket.line, socket.used.is_empty());
        let roomy = |(id, other): (&SocketId, &Socket)| *id != slot.socket && other.line == line && other.free.len() >= 128;
        let surplus = empty && self.sockets.iter().any(roomy);
        if surplus {
            self.sockets.remove(&slot.socket);
        }
        surplus.then_some(slot.socket)
    }

    pub(crate) fn line(&self, socket: SocketId) -> Option<Line> {
        self.sockets.get(&socket).map(|socket| socket.line)
    }

    pub(crate) fn find(&self, slot: Slot) -> Option<RequestKey> {
        self.sockets.get(&slot.socket)?.used.get(&slot.identifier).copied()
    }

    /// Forgets a socket; returns the requests that used it.
    pub(crate) fn close(&mut self, socket: SocketId) -> Vec<RequestKey> {
        self.sockets.remove(&socket).map(|socket| socket.used.into_values().collect()).unwrap_or_default()
    }

    /// Nothing in flight to this server.
    pub(crate) fn is_idle(&self, peer: PeerKey) -> bool {
        self.of(peer).all(|(_, socket)| socket.used.is_empty())
    }

    pub(crate) fn sockets(&self, peer: PeerKey) -> Vec<SocketId> {
        self.of(peer).map(|(id, _)| *id).collect()
    }

    fn of(&self, peer: PeerKey) -> impl Iterator<Item = (&SocketId, &Socket)> {
        self.sockets.iter().filter(move |(_, socket)| socket.line.peer == peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line { peer: PeerKey(0), purpose: Purpose::Authentication };

    #[test]
    fn identifiers_are_reused_as_late_as_possible() {
        let mut table = Table::default();
        let (first, opened) = table.take(LINE, RequestKey(0), 0).unwrap();
        assert!(opened);
        assert_eq!(table.release(first), None, "the only socket stays");
        for request in 1..=255 {
            let (slot, opened) = table.take(LINE, RequestKey(request), 0).unwrap();
            assert!(!opened && slot.identifier != first.identifier);
        }
        assert_eq!(table.take(LINE, RequestKey(256), 0).unwrap().0, first);
    }

    #[test]
    fn a_257th_request_opens_a_socket_and_its_answer_closes_it() {
        let mut table = Table::default();
        let slots: Vec<_> = (0..256).map(|request| table.take(LINE, RequestKey(request), 0).unwrap().0).collect();
        let (extra, opened) = table.take(LINE, RequestKey(256), 0).unwrap();
        assert!(opened && extra.socket != slots[0].socket);
        assert_eq!(table.find(extra), Some(RequestKey(256)));
        for slot in &slots[..128] {
            assert_eq!(table.release(*slot), None);
        }
        assert_eq!(table.release(extra), Some(extra.socket));
        assert_eq!(table.line(extra.socket), None);
    }

    #[test]
    fn lines_do_not_share_sockets() {
        let mut table = Table::default();
        let other = Line { purpose: Purpose::Accounting, ..LINE };
        let (a, b) = (table.take(LINE, RequestKey(0), 0).unwrap(), table.take(other, RequestKey(1), 0).unwrap());
        assert!(a.1 && b.1 && a.0.socket != b.0.socket);
        assert_eq!(table.sockets(PeerKey(0)).len(), 2);
        assert!(!table.is_idle(PeerKey(0)));
    }

    #[test]
    fn sockets_have_a_limit() {
        let mut table = Table::default();
        for request in 0..65_536 {
            assert!(table.take(LINE, RequestKey(request), 0).is_some());
        }
        assert_eq!(table.take(LINE, RequestKey(65_536), 0), None);
        let first = table.sockets(PeerKey(0))[0];
        assert_eq!(table.close(first).len(), 256);
        assert!(table.take(LINE, RequestKey(65_537), 0).is_some());
    }
}
