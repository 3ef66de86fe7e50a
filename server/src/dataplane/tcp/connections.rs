//! The connections of one thread.
use super::super::line::{End, Line, Spare};
use super::super::stats::{Amount, count, count_many};
use super::super::stream::StreamEvent;
use super::super::tables::{Index, Peer};
use super::super::thread::{Coalescing, Context};
use super::AdoptedConnection;
use super::connection::{Connection, IN, OUT};
use ike::ConnectionId;
use net::poll::{Event, Interest};
use packet::protocol;

/// Marks the tokens of connections; the rest of the token is the number.
pub(in super::super) const TOKEN: u64 = 1 << 62;

/// All connections that a thread owns, and the buffers that they share.
#[derive(Debug)]
pub(in super::super) struct Connections {
    by_number: Index<u64, Box<Connection>>,
    /// Made with the first connection.
    scratch: Vec<u8>,
    spare: Spare,
    /// Those with messages to send.
    touched: Vec<ConnectionId>,
    /// Those on their way out.
    closing: Vec<ConnectionId>,
    /// Ends that control has not been told yet.
    unheard: Vec<(ConnectionId, String)>,
}

impl Connections {
    pub(in super::super) fn new() -> Self {
        Self {
            by_number: Index::default(),
            scratch: Vec::new(),
            spare: Spare::new(OUT),
            touched: Vec::new(),
            closing: Vec::new(),
            unheard: Vec::new(),
        }
    }

    /// There are deadlines, or reports that nobody has heard.
    pub(in super::super) fn waits(&self) -> bool {
        !self.closing.is_empty() || !self.unheard.is_empty()
    }

    pub(in super::super) fn adopt(&mut self, context: Context<'_>, adopted: AdoptedConnection) {
        let AdoptedConnection { path, socket } = adopted;
        let Some(number) = path.connection else { return };
        self.scratch.resize(IN, 0);
        let outcome = context.epoll.add(&socket, TOKEN | number.0, Interest::READ).map_err(End::from);
        self.by_number.insert(number.0, Box::new(Connection::new(path, Line::new(socket))));
        self.settle(context, number, outcome);
    }

    pub(in super::super) fn trust(&mut self, number: ConnectionId) {
        if let Some(connection) = self.by_number.get_mut(&number.0) {
            connection.is_known = true;
        }
    }

    /// Sends a message of control.
    pub(in super::super) fn send_frame(&mut self, context: Context<'_>, number: ConnectionId, frame: &[u8]) {
        let Some(connection) = self.by_number.get_mut(&number.0).filter(|connection| !connection.line.is_closing()) else { return };
        let outcome = connection.control(&mut self.spare, frame);
        touch(&mut self.touched, connection, number);
        self.settle(context, number, outcome);
    }

    /// Seals `packets` packets from the sequence number `first` on, each of `length` bytes and written by `write` straight to its place. Returns
    /// what was sent.
    #[expect(clippy::too_many_arguments, reason = "where to, and the packets as three values instead of copies")]
    pub(in super::super) fn send(
        &mut self,
        context: Context<'_>,
        number: ConnectionId,
        peer: &Peer,
        first: u64,
        is_v4: bool,
        packets: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) -> Amount {
        let drops = &context.shared.drops;
        let mut amount = Amount::default();
        let Some(connection) = self.by_number.get_mut(&number.0).filter(|connection| !connection.line.is_closing()) else {
            count_many(&drops.stream_not_open, packets);
            return amount;
        };
        let sa = &peer.outbound.outbound;
        let overhead = sa.overhead();
        let next_header = if is_v4 { protocol::IPV4 } else { protocol::IPV6 };
        let mut outcome = Ok(());
        for index in 0..packets {
            let inner = length(index);
            match connection.place(&mut self.spare, overhead.sealed_len(inner)) {
                Ok(Some(place)) => {
                    write(index, &mut place[overhead.header_len()..][..inner]);
                    sa.seal(first + index as u64, place, inner, next_header);
                    amount.add(1, inner);
                }
                Ok(None) => count(&drops.stream_full),
                Err(end) => {
                    outcome = Err(end);
                    break;
                }
            }
        }
        touch(&mut self.touched, connection, number);
        self.settle(context, number, outcome);
        amount
    }

    /// Sends the messages of all connections.
    pub(in super::super) fn depart(&mut self, context: Context<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        for number in touched.drain(..) {
            let Some(connection) = self.by_number.get_mut(&number.0) else { continue };
            connection.touched = false;
            let outcome = connection.depart(&mut self.spare);
            self.settle(context, number, outcome);
        }
        self.touched = touched;
    }

    /// Something can be read or written.
    pub(in super::super) fn serve(&mut self, context: Context<'_>, coalescing: &mut Coalescing, event: Event) {
        let number = ConnectionId(event.token & !TOKEN);
        let Some(connection) = self.by_number.get_mut(&number.0) else { return };
        let mut outcome = if event.writable { connection.line.flush() } else { Ok(()) };
        if outcome.is_ok() && event.readable {
            outcome = match connection.line.is_closing() {
                true => connection.line.forget_input(),
                false => connection.receive(context, coalescing, &mut self.scratch),
            };
        }
        let outcome = outcome.and_then(|()| connection.line.go_on_closing(context.now.millis()));
        self.settle(context, number, outcome);
    }

    pub(in super::super) fn close(&mut self, context: Context<'_>, number: ConnectionId) {
        let Some(connection) = self.by_number.get_mut(&number.0) else { return };
        let outcome = connection.depart(&mut self.spare).and_then(|()| connection.line.begin_close(context.now.millis()));
        self.closing.push(number);
        self.settle(context, number, outcome);
    }

    /// Looks at deadlines, and reports what control has not heard.
    pub(in super::super) fn tick(&mut self, context: Context<'_>) {
        let mut closing = std::mem::take(&mut self.closing);
        closing.retain(|number| {
            let Some(connection) = self.by_number.get_mut(&number.0) else { return false };
            let outcome = connection.line.go_on_closing(context.now.millis());
            let goes_on = outcome.is_ok();
            self.settle(context, *number, outcome);
            goes_on
        });
        self.closing.append(&mut closing);
        self.unheard.retain(|(connection, cause)| {
            let event = StreamEvent::ConnectionClosed { connection: *connection, cause: cause.clone() };
            !context.shared.events.offer(event)
        });
    }

    /// The last words to everybody, as far as the sockets take them.
    pub(in super::super) fn say_goodbye(&mut self) {
        for connection in self.by_number.values_mut() {
            if connection.depart(&mut self.spare).is_err() {
                tracing::debug!(client = %connection.path.remote, "no goodbye");
            }
        }
    }

    /// After each step of a connection: its end, or what it waits for.
    fn settle(&mut self, context: Context<'_>, number: ConnectionId, outcome: Result<(), End>) {
        let Some(connection) = self.by_number.get_mut(&number.0) else { return };
        let settled = outcome.and_then(|()| connection.line.settle(context.epoll, TOKEN | number.0, context.now.millis()));
        let Err(end) = settled else { return };
        // Closing the socket does the same.
        context.epoll.remove(&connection.line.socket).ok();
        self.by_number.remove(&number.0);
        let cause = end.cause();
        let event = StreamEvent::ConnectionClosed { connection: number, cause: cause.clone() };
        if !context.shared.events.offer(event) {
            self.unheard.push((number, cause));
        }
    }
}

fn touch(touched: &mut Vec<ConnectionId>, connection: &mut Connection, number: ConnectionId) {
    if !std::mem::replace(&mut connection.touched, true) {
        touched.push(number);
    }
}
