//! One packet thread: waits, takes orders, moves batches.
use super::IkeSink;
use super::handover::{self, Handover};
use super::inbound;
use super::outbound::Outbound;
use super::ports::Share;
use super::stats::{Drops, TrafficCounters, Uptime};
use super::stream::{self, StreamSink, Streams};
use super::tables::{Command, Order, Tables};
use super::tcp;
use net::RecvBatch;
use net::poll::{Epoll, Event, Events, Interest, Waker};
use net::tun::TunQueue;
use net::udp::GRO_BUFFER_LEN;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Messages taken from a socket at once.
const RECV_BATCH: usize = 16;

/// Ready descriptors that one wait reports.
const EVENTS: usize = 64;

/// Batches of other threads that are moved before the sockets get their turn.
const BATCHES: usize = 32;

const WAKE: u64 = 0;
const TUN: u64 = 1;
/// The least token of outer sockets.
pub(super) const FIRST_SOCKET: u64 = 2;

/// The outside world of a thread.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) tun: TunQueue,
    pub(super) outer: Share,
}

/// What a thread shares with control and the other threads.
pub(super) struct Shared {
    pub(super) waker: Waker,
    pub(super) inbox: Receiver<Command>,
    pub(super) totals: Arc<TrafficCounters>,
    pub(super) drops: Arc<Drops>,
    /// From the other threads.
    pub(super) batches: handover::Inbox,
    pub(super) sink: Box<dyn IkeSink>,
    pub(super) events: Box<dyn StreamSink>,
}

/// What the TUN queue takes as super-packets; less once it has refused one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coalescing {
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

/// What moving packets needs beside its own buffers.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) tables: &'a Tables,
    pub(super) ports: &'a Ports,
    pub(super) shared: &'a Shared,
    pub(super) epoll: &'a Epoll,
    /// Of this thread.
    pub(super) number: usize,
    pub(super) now: Uptime,
}

pub(super) struct Thread {
    number: usize,
    tables: Tables,
    ports: Ports,
    shared: Shared,
    coalescing: Coalescing,
    out: Outbound,
    streams: Streams,
    batch: RecvBatch,
    epoll: Epoll,
}

impl Thread {
    pub(super) fn new(number: usize, ports: Ports, shared: Shared, handover: Handover) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&shared.waker, WAKE, Interest::READ)?;
        epoll.add(&ports.tun, TUN, Interest::READ)?;
        ports.outer.watch(&epoll)?;
        let offload = ports.tun.offload();
        let coalescing = Coalescing { tcp: offload.tso, udp: offload.uso };
        let batch = RecvBatch::new(RECV_BATCH, GRO_BUFFER_LEN);
        let (tables, out, streams) = (Tables::default(), Outbound::new(handover)?, Streams::new());
        Ok(Self { number, tables, ports, shared, coalescing, out, streams, batch, epoll })
    }

    /// Ends on [`Command::Stop`].
    ///
    /// # Panics
    /// When the kernel refuses to wait: there is nothing left to do.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            // `epoll_wait` fails on misuse alone.
            self.epoll.wait(&mut events, self.streams.timeout()).expect("waiting for packets");
            let now = Uptime::now();
            // Before the queues are looked at: what is put in them after that wakes the thread again.
            if events.iter().any(|event| event.token == WAKE) {
                self.shared.waker.drain();
            }
            if !self.take_orders(now) {
                return self.streams.say_goodbye();
            }
            self.take_batches(now);
            for event in events.iter() {
                self.serve(event, now);
            }
            let (context, _, streams, _) = self.parts(now);
            streams.tick(context);
            streams.depart(context);
        }
    }

    /// What an order or an event works on.
    fn parts(&mut self, now: Uptime) -> (Context<'_>, &mut Outbound, &mut Streams, &mut Coalescing) {
        let Self { number, tables, ports, shared, coalescing, out, streams, epoll, .. } = self;
        (Context { tables, ports, shared, epoll, number: *number, now }, out, streams, coalescing)
    }

    /// False when the thread is to end.
    fn take_orders(&mut self, now: Uptime) -> bool {
        while let Ok(command) = self.shared.inbox.try_recv() {
            let (context, out, streams, coalescing) = self.parts(now);
            match command {
                Command::Table(order) => {
                    if let Order::StreamClose { session } = order {
                        streams.close(context, session);
                    }
                    self.tables.apply(order);
                }
                Command::Ports { share, gone } => self.change_ports(*share, &gone, now),
                Command::Adopt(adopted) => streams.adopt(context, coalescing, *adopted),
                Command::StreamSend { session, packet } => streams.send_packet(context, session, &packet),
                Command::SendInner { session, packet } => out.send_own(context, streams, session, &packet),
                Command::AdoptConnection(adopted) => streams.connections.adopt(context, *adopted),
                Command::TrustConnection(connection) => streams.connections.trust(connection),
                Command::ConnectionSend { connection, frame } => streams.connections.send_frame(context, connection, &frame),
                Command::CloseConnection(connection) => streams.connections.close(context, connection),
                Command::Stop => return false,
            }
        }
        true
    }

    /// Serves these sockets as well, and those that are gone for the last time.
    fn change_ports(&mut self, share: Share, gone: &[u64], now: Uptime) {
        if let Err(error) = share.watch(&self.epoll) {
            tracing::error!(%error, thread = self.number, "packets to some of the new addresses will not be seen");
        }
        self.ports.outer.udp.extend(share.udp);
        self.ports.outer.raw.extend(share.raw);
        for &token in gone {
            self.serve(Event { token, readable: true, writable: false }, now);
        }
        let Self { ports: Ports { outer, .. }, epoll, .. } = self;
        let unwatch = |removed: io::Result<()>| {
            if let Err(error) = removed {
                tracing::error!(%error, "a socket that is gone is still waited for");
            }
        };
        for port in outer.udp.extract_if(.., |port| gone.contains(&port.token)) {
            unwatch(epoll.remove(&*port.socket));
        }
        for port in outer.raw.extract_if(.., |port| gone.contains(&port.token)) {
            unwatch(epoll.remove(&port.socket));
        }
    }

    fn take_batches(&mut self, now: Uptime) {
        let mut taken = 0;
        while taken < BATCHES
            && let Some(batch) = self.shared.batches.take()
        {
            taken += 1;
            let (context, out, streams, _) = self.parts(now);
            out.run_batch(context, streams, &batch);
        }
        if taken > 0 {
            let (context, out, streams, _) = self.parts(now);
            out.finish(context, streams);
        }
        if taken == BATCHES {
            // There may be more.
            self.shared.waker.wake();
        }
    }

    fn serve(&mut self, event: Event, now: Uptime) {
        let Self { number, tables, ports, shared, coalescing, out, streams, batch, epoll } = self;
        let context = Context { tables, ports, shared, epoll, number: *number, now };
        match event.token {
            WAKE => {}
            TUN => out.run(context, streams),
            token if token & tcp::TOKEN != 0 && token & stream::TOKEN == 0 => streams.connections.serve(context, coalescing, event),
            token if token & stream::TOKEN != 0 => streams.serve(context, coalescing, event),
            token => {
                let Share { udp, raw } = &ports.outer;
                if let Some(port) = udp.iter().find(|port| port.token == token) {
                    inbound::from_udp(context, coalescing, batch, port);
                } else if let Some(port) = raw.iter().find(|port| port.token == token) {
                    inbound::from_raw(context, coalescing, batch, port);
                }
                // Else an order that came with the event has taken it away.
            }
        }
    }
}
