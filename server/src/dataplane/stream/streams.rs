//! The streams of one thread.
use super::super::line::{End, Line};
use super::super::stats::{Amount, TrafficCounters, count};
use super::super::tables::Index;
use super::super::tcp::Connections;
use super::super::thread::{Coalescing, Context};
use super::inbound::{Bucket, Scratch};
use super::outbound::{Frames, Workspace};
use super::{Adopted, StreamEvent, StreamRoute};
use net::poll::{Event, Interest};
use std::sync::Arc;
use std::time::Duration;

/// Marks the tokens of streams; the rest of the token is the session.
pub(in super::super) const TOKEN: u64 = 1 << 63;

/// How often deadlines and unheard reports are looked at while there are any.
const TICK: Duration = Duration::from_millis(50);

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) session: u64,
    pub(super) line: Line,
    pub(super) tls: tls::Connection,
    pub(super) traffic: Arc<TrafficCounters>,
    /// The beginning of a packet whose end has not come.
    pub(super) rest: Vec<u8>,
    pub(super) frames: Frames,
    pub(super) one_packet_a_record: bool,
    pub(super) bucket: Bucket,
    /// In the list of those with frames to send.
    touched: bool,
}

/// All streams that a thread owns, and the buffers that they share.
#[derive(Debug)]
pub(in super::super) struct Streams {
    by_session: Index<u64, Box<Stream>>,
    scratch: Scratch,
    workspace: Workspace,
    /// Sessions with frames to send.
    touched: Vec<u64>,
    /// Sessions on their way out.
    closing: Vec<u64>,
    /// Ends that control has not been told yet.
    unheard: Vec<(u64, String)>,
    /// Streams with IKE and ESP.
    pub(in super::super) connections: Connections,
}

impl Streams {
    pub(in super::super) fn new() -> Self {
        Self {
            by_session: Index::default(),
            scratch: Scratch::new(),
            workspace: Workspace::new(),
            touched: Vec::new(),
            closing: Vec::new(),
            unheard: Vec::new(),
            connections: Connections::new(),
        }
    }

    /// How long the thread may sleep.
    pub(in super::super) fn timeout(&self) -> Option<Duration> {
        (!self.closing.is_empty() || !self.unheard.is_empty() || self.connections.waits()).then_some(TICK)
    }

    pub(in super::super) fn adopt(&mut self, context: Context<'_>, coalescing: &mut Coalescing, adopted: Adopted) {
        let Adopted { spec, traffic } = adopted;
        let session = spec.session;
        if self.by_session.contains_key(&session) {
            self.end(context, session, End::Fault("another connection took its place".into()));
        }
        let mut stream = Box::new(Stream {
            session,
            line: Line::new(spec.socket),
            tls: spec.tls,
            traffic,
            rest: Vec::new(),
            frames: Frames::default(),
            one_packet_a_record: spec.one_packet_a_record,
            bucket: Bucket::default(),
            touched: false,
        });
        let mut early = spec.early;
        let outcome = context.epoll.add(&stream.line.socket, TOKEN | session, Interest::READ).map_err(End::from);
        let outcome = outcome.and_then(|()| stream.cut(context, coalescing, &mut early));
        let outcome = outcome.map(|taken| stream.rest = early.split_off(taken));
        self.by_session.insert(session, stream);
        self.settle(context, session, outcome);
    }

    /// Sends a packet of control.
    pub(in super::super) fn send_packet(&mut self, context: Context<'_>, session: u64, packet: &[u8]) {
        let Some(stream) = self.by_session.get_mut(&session).filter(|stream| !stream.line.is_closing()) else { return };
        let outcome = stream.packet(&mut self.workspace, packet, context.tables.stream(session).is_some());
        touch(&mut self.touched, stream);
        self.settle(context, session, outcome);
    }

    /// Sends `packets` IP packets, each of `length` bytes and written by `write`. Returns what was sent.
    pub(in super::super) fn send(
        &mut self,
        context: Context<'_>,
        route: &StreamRoute,
        is_v4: bool,
        packets: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) -> Amount {
        let drops = &context.shared.drops;
        let mut amount = Amount::default();
        let Some(stream) = self.by_session.get_mut(&route.session).filter(|stream| !stream.line.is_closing()) else {
            count(&drops.stream_not_open);
            return amount;
        };
        let mut outcome = Ok(());
        for index in 0..packets {
            let inner = length(index);
            match stream.frame(&mut self.workspace, is_v4, inner, |place| write(index, place)) {
                Ok(true) => amount.add(1, inner),
                Ok(false) => count(&drops.stream_full),
                Err(end) => {
                    outcome = Err(end);
                    break;
                }
            }
        }
        touch(&mut self.touched, stream);
        if amount.packets > 0 {
            route.traffic.count_out(amount, context.now);
        }
        self.settle(context, route.session, outcome);
        amount
    }

    /// Seals and sends the frames of all streams.
    pub(in super::super) fn depart(&mut self, context: Context<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        for session in touched.drain(..) {
            let Some(stream) = self.by_session.get_mut(&session) else { continue };
            stream.touched = false;
            let outcome = stream.depart(&mut self.workspace);
            self.settle(context, session, outcome);
        }
        self.touched = touched;
        self.connections.depart(context);
    }

    /// Something can be read or written.
    pub(in super::super) fn serve(&mut self, context: Context<'_>, coalescing: &mut Coalescing, event: Event) {
        let session = event.token & !TOKEN;
        let Some(stream) = self.by_session.get_mut(&session) else { return };
        let mut outcome = if event.writable { stream.line.flush() } else { Ok(()) };
        if outcome.is_ok() && event.readable {
            outcome = match stream.line.is_closing() {
                true => stream.line.forget_input(),
                false => stream.receive(context, coalescing, &mut self.scratch),
            };
        }
        let outcome = outcome.and_then(|()| stream.line.go_on_closing(context.now.millis()));
        self.settle(context, session, outcome);
    }

    /// Closes a stream in order.
    pub(in super::super) fn close(&mut self, context: Context<'_>, session: u64) {
        let Some(stream) = self.by_session.get_mut(&session) else { return };
        let outcome = stream.depart(&mut self.workspace).and_then(|()| stream.begin_close(context.now.millis()));
        self.closing.push(session);
        self.settle(context, session, outcome);
    }

    /// Looks at deadlines, and reports what control has not heard.
    pub(in super::super) fn tick(&mut self, context: Context<'_>) {
        self.connections.tick(context);
        let mut closing = std::mem::take(&mut self.closing);
        closing.retain(|session| {
            let Some(stream) = self.by_session.get_mut(session) else { return false };
            let outcome = stream.line.go_on_closing(context.now.millis());
            let goes_on = outcome.is_ok();
            self.settle(context, *session, outcome);
            goes_on
        });
        self.closing.append(&mut closing);
        self.unheard.retain(|(session, cause)| {
            let event = StreamEvent::Closed { session: *session, cause: cause.clone() };
            !context.shared.events.offer(event)
        });
    }

    /// The last words to everybody, as far as the sockets take them.
    pub(in super::super) fn say_goodbye(&mut self) {
        self.connections.say_goodbye();
        for stream in self.by_session.values_mut() {
            let mut farewell = Vec::new();
            let sent = stream.depart(&mut self.workspace).and_then(|()| {
                stream.tls.close(&mut farewell);
                stream.line.send(&farewell)
            });
            if let Err(end) = sent {
                tracing::debug!(session = stream.session, cause = end.cause(), "no goodbye");
            }
        }
    }

    /// After each step of a stream: its end, or what it waits for.
    fn settle(&mut self, context: Context<'_>, session: u64, outcome: Result<(), End>) {
        let outcome = outcome.and_then(|()| match self.by_session.get_mut(&session) {
            Some(stream) => stream.line.settle(context.epoll, TOKEN | session, context.now.millis()),
            None => Ok(()),
        });
        if let Err(end) = outcome {
            self.end(context, session, end);
        }
    }

    fn end(&mut self, context: Context<'_>, session: u64, end: End) {
        let Some(mut stream) = self.by_session.remove(&session) else { return };
        if matches!(end, End::Peer) {
            let mut farewell = Vec::new();
            stream.tls.close(&mut farewell);
            // It may have gone altogether.
            stream.line.send(&farewell).ok();
        }
        // Closing the socket does the same.
        context.epoll.remove(&stream.line.socket).ok();
        let cause = end.cause();
        let event = StreamEvent::Closed { session, cause: cause.clone() };
        if !context.shared.events.offer(event) {
            self.unheard.push((session, cause));
        }
    }
}

fn touch(touched: &mut Vec<u64>, stream: &mut Stream) {
    if !std::mem::replace(&mut stream.touched, true) {
        touched.push(stream.session);
    }
}

impl Stream {
    /// Begins the end. `now`: milliseconds.
    fn begin_close(&mut self, now: u64) -> Result<(), End> {
        if self.line.is_closing() {
            return Ok(());
        }
        let mut farewell = Vec::new();
        self.tls.close(&mut farewell);
        self.line.send(&farewell)?;
        self.line.begin_close(now)
    }
}
