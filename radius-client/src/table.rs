//! Requests in flight. Identifiers: one byte a socket, the longest unused first, more sockets when all 256 are taken (RFC 2865 section 3). Over a
//! connection with RADIUS/1.1 they have Tokens instead, from a counter of the connection (RFC 9765 section 4.2.1).
use crate::api::{RadiusVersion, SocketId};
use crate::validate::Purpose;
use std::collections::{BTreeMap, VecDeque};

/// Sockets to one port of one server.
const MAX_SOCKETS: usize = 256;

/// Requests in flight to one port of one server: what all sockets have identifiers for.
const MAX_IN_FLIGHT: usize = 65_536;

/// Requests in flight on one connection with RADIUS/1.1; more open another one, so that no loss of one loses all.
const MAX_TOKENS: usize = 4096;

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
    pub(crate) number: Number,
}

/// What tells a request from the others on its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Number {
    Identifier(u8),
    Token(u32),
}

#[derive(Debug)]
enum Numbers {
    /// The front has been free for longest.
    Identifiers(VecDeque<u8>),
    Tokens {
        next: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A connection that stands, or a UDP socket: what is asked goes out at once.
    Standing,
    Connecting,
    /// No connection: the server takes no more of them. What was to go over it waits for a place on one of the others.
    Parked,
    /// A UDP socket that takes no more requests: it closes with the last one in flight.
    Retired,
}

impl State {
    /// It closes as soon as nothing uses it.
    fn ends(self) -> bool {
        matches!(self, Self::Parked | Self::Retired)
    }
}

#[derive(Debug)]
struct Socket {
    line: Line,
    state: State,
    numbers: Numbers,
    used: BTreeMap<Number, RequestKey>,
}

impl Socket {
    /// How many more requests it takes.
    fn room(&self) -> usize {
        match &self.numbers {
            Numbers::Identifiers(free) => free.len(),
            Numbers::Tokens { .. } => MAX_TOKENS.saturating_sub(self.used.len()),
        }
    }

    fn take(&mut self, request: RequestKey) -> Option<Number> {
        let number = match &mut self.numbers {
            Numbers::Identifiers(free) => Number::Identifier(free.pop_front()?),
            Numbers::Tokens { next } => {
                let token = *next;
                *next = next.wrapping_add(1);
                Number::Token(token)
            }
        };
        self.used.insert(number, request);
        Some(number)
    }
}

/// All sockets of the client.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sockets: BTreeMap<SocketId, Socket>,
    next: u32,
}

impl Table {
    /// A place for `request` on a socket that then still has `spare` of them; true when it has to be opened first, with `connects` saying that this
    /// takes its time. `None`: all are in flight.
    pub(crate) fn take(&mut self, line: Line, request: RequestKey, spare: usize, connects: bool) -> Option<(Slot, bool)> {
        let serves = |socket: &Socket| socket.line == line && socket.state != State::Retired && socket.room() > spare;
        let roomy = self.sockets.iter().filter(|(_, socket)| serves(socket));
        let free = roomy.min_by_key(|(id, socket)| (socket.state == State::Parked, **id)).map(|(id, _)| *id);
        let (id, opened) = match free {
            Some(id) => (id, false),
            None => (self.open(line, if connects { State::Connecting } else { State::Standing })?, true),
        };
        Some((self.take_on(id, request)?, opened))
    }

    /// A place on this very socket.
    pub(crate) fn take_on(&mut self, id: SocketId, request: RequestKey) -> Option<Slot> {
        let number = self.sockets.get_mut(&id)?.take(request)?;
        Some(Slot { socket: id, number })
    }

    /// A connection stands. Returns the requests that wait for it, in the order they were asked, and where each is now. `first`: the first Token.
    pub(crate) fn connected(&mut self, id: SocketId, version: RadiusVersion, first: u32) -> Vec<(RequestKey, Slot)> {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.state == State::Connecting) else { return Vec::new() };
        socket.state = State::Standing;
        if version == RadiusVersion::V1_1 {
            let mut waiting: Vec<_> = std::mem::take(&mut socket.used).into_values().collect();
            waiting.sort_unstable();
            socket.numbers = Numbers::Tokens { next: first };
            for request in waiting {
                socket.take(request);
            }
        }
        let mut waiting: Vec<_> = socket.used.iter().map(|(&number, &request)| (request, Slot { socket: id, number })).collect();
        waiting.sort_unstable_by_key(|(request, _)| *request);
        waiting
    }

    /// Whether what is asked on this socket goes out at once.
    pub(crate) fn stands(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| matches!(socket.state, State::Standing | State::Retired))
    }

    /// The sockets of `line` take no more requests. Returns those with none in flight, which are no more.
    pub(crate) fn retire(&mut self, line: Line) -> Vec<SocketId> {
        let idle = |_: &SocketId, socket: &mut Socket| socket.line == line && socket.used.is_empty();
        let closed = self.sockets.extract_if(.., idle).map(|(id, _)| id).collect();
        self.sockets.values_mut().filter(|socket| socket.line == line).for_each(|socket| socket.state = State::Retired);
        closed
    }

    pub(crate) fn is_retired(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.state == State::Retired)
    }

    /// Whether what is asked on this socket waits for a place on another one.
    pub(crate) fn is_parked(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.state == State::Parked)
    }

    /// The connection is no more, but others to the same server are: its requests stay, and wait for places there. False: there is no other.
    pub(crate) fn park(&mut self, id: SocketId) -> bool {
        let Some(line) = self.line(id) else { return false };
        let is_other = |(other, socket): (&SocketId, &Socket)| *other != id && socket.line == line && socket.state != State::Parked;
        if !self.sockets.iter().any(is_other) {
            return false;
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.state = State::Parked;
        }
        true
    }

    /// Gives a request that waits a place on a connection that stands and then still has `spare` of them. Returns where it waited and where it is now.
    pub(crate) fn unpark(&mut self, spare: usize) -> Option<(RequestKey, Slot, Slot)> {
        let place = |(&id, parked): (&SocketId, &Socket)| {
            let (&number, &request) = parked.used.iter().min_by_key(|(_, request)| **request)?;
            let serves = |socket: &Socket| socket.line == parked.line && socket.state == State::Standing && socket.room() > spare;
            let (&to, _) = self.sockets.iter().find(|(_, socket)| serves(socket))?;
            Some((request, Slot { socket: id, number }, to))
        };
        let (request, from, to) = self.sockets.iter().filter(|(_, socket)| socket.state == State::Parked).find_map(place)?;
        Some((request, from, self.take_on(to, request)?))
    }

    /// Whether requests on this socket have Tokens.
    pub(crate) fn has_tokens(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| matches!(socket.numbers, Numbers::Tokens { .. }))
    }

    /// Requests under way, by server.
    pub(crate) fn in_flight(&self) -> BTreeMap<PeerKey, usize> {
        let mut requests = BTreeMap::new();
        for socket in self.sockets.values() {
            *requests.entry(socket.line.peer).or_default() += socket.used.len();
        }
        requests
    }

    pub(crate) fn has_socket(&self, line: Line) -> bool {
        self.sockets.values().any(|socket| socket.line == line)
    }

    fn open(&mut self, line: Line, state: State) -> Option<SocketId> {
        let (mut sockets, mut in_flight) = (0, 0);
        for socket in self.sockets.values().filter(|socket| socket.line == line) {
            (sockets, in_flight) = (sockets + 1, in_flight + socket.used.len());
        }
        if sockets >= MAX_SOCKETS || in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        let id = SocketId(self.next);
        self.next = self.next.wrapping_add(1);
        self.sockets.insert(id, Socket { line, state, numbers: Numbers::Identifiers((0..=255).collect()), used: BTreeMap::new() });
        Some(id)
    }

    /// Frees a place. Returns the socket if it is one too many now, to be closed.
    pub(crate) fn release(&mut self, slot: Slot) -> Option<SocketId> {
        let socket = self.sockets.get_mut(&slot.socket)?;
        let known = socket.used.remove(&slot.number).is_some();
        if let (true, Numbers::Identifiers(free), Number::Identifier(identifier)) = (known, &mut socket.numbers, slot.number) {
            free.push_back(identifier);
        }
        let (line, empty, ends) = (socket.line, socket.used.is_empty(), socket.state.ends());
        let roomy =
            |(id, other): (&SocketId, &Socket)| *id != slot.socket && other.line == line && !other.state.ends() && other.room() >= 128;
        let surplus = empty && (ends || self.sockets.iter().any(roomy));
        if surplus {
            self.sockets.remove(&slot.socket);
        }
        surplus.then_some(slot.socket)
    }

    pub(crate) fn line(&self, socket: SocketId) -> Option<Line> {
        self.sockets.get(&socket).map(|socket| socket.line)
    }

    pub(crate) fn find(&self, slot: Slot) -> Option<RequestKey> {
        self.sockets.get(&slot.socket)?.used.get(&slot.number).copied()
    }

    /// Forgets a socket; returns the requests that used it, and those that waited for a place where now is none.
    pub(crate) fn close(&mut self, socket: SocketId) -> Vec<RequestKey> {
        let Some(closed) = self.sockets.remove(&socket) else { return Vec::new() };
        let is_left = self.sockets.values().any(|other| other.line == closed.line && other.state != State::Parked);
        let stranded = |_: &SocketId, other: &mut Socket| !is_left && other.line == closed.line;
        let stranded: Vec<_> = self.sockets.extract_if(.., stranded).flat_map(|(_, socket)| socket.used.into_values()).collect();
        closed.used.into_values().chain(stranded).collect()
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
        let (first, opened) = table.take(LINE, RequestKey(0), 0, false).unwrap();
        assert!(opened);
        assert_eq!(table.release(first), None, "the only socket stays");
        for request in 1..=255 {
            let (slot, opened) = table.take(LINE, RequestKey(request), 0, false).unwrap();
            assert!(!opened && slot.number != first.number);
        }
        assert_eq!(table.take(LINE, RequestKey(256), 0, false).unwrap().0, first);
    }

    #[test]
    fn a_257th_request_opens_a_socket_and_its_answer_closes_it() {
        let mut table = Table::default();
        let slots: Vec<_> = (0..256).map(|request| table.take(LINE, RequestKey(request), 0, false).unwrap().0).collect();
        let (extra, opened) = table.take(LINE, RequestKey(256), 0, false).unwrap();
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
        let (a, b) = (table.take(LINE, RequestKey(0), 0, false).unwrap(), table.take(other, RequestKey(1), 0, false).unwrap());
        assert!(a.1 && b.1 && a.0.socket != b.0.socket);
        assert_eq!(table.sockets(PeerKey(0)).len(), 2);
        assert!(!table.is_idle(PeerKey(0)));
    }

    #[test]
    fn sockets_have_a_limit() {
        let mut table = Table::default();
        for request in 0..65_536 {
            assert!(table.take(LINE, RequestKey(request), 0, false).is_some());
        }
        assert_eq!(table.take(LINE, RequestKey(65_536), 0, false), None);
        let first = table.sockets(PeerKey(0))[0];
        assert_eq!(table.close(first).len(), 256);
        assert!(table.take(LINE, RequestKey(65_537), 0, false).is_some());
    }
}
