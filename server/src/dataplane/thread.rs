//! One packet thread: waits, takes orders, moves batches.
use super::IkeSink;
use super::inbound;
use super::outbound::Outbound;
use super::stats::{Drops, TrafficCounters, Uptime};
use super::tables::{Command, Tables};
use net::RecvBatch;
use net::poll::{Epoll, Event, Events, Interest, Waker};
use net::raw::RawSocket;
use net::tun::TunQueue;
use net::udp::{GRO_BUFFER_LEN, UdpSocket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;

/// Messages taken from a socket at once.
const RECV_BATCH: usize = 16;

const WAKE: u64 = 0;
const TUN: u64 = 1;
const FIRST_SOCKET: u64 = 2;

/// A member of the group that serves one address.
#[derive(Debug)]
pub(super) struct UdpPort {
    pub(super) socket: Arc<UdpSocket>,
    /// As bound, with the NAT-traversal port.
    pub(super) address: SocketAddr,
    pub(super) received: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) struct RawPort {
    pub(super) socket: RawSocket,
    pub(super) address: IpAddr,
}

/// The outside world of a thread.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) tun: TunQueue,
    pub(super) udp: Vec<UdpPort>,
    pub(super) raw: Vec<RawPort>,
}

/// What a thread shares with control.
pub(super) struct Shared {
    pub(super) waker: Waker,
    pub(super) inbox: Receiver<Command>,
    pub(super) totals: Arc<TrafficCounters>,
    pub(super) drops: Arc<Drops>,
    pub(super) sink: Box<dyn IkeSink>,
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
    pub(super) now: Uptime,
}

pub(super) struct Thread {
    tables: Tables,
    ports: Ports,
    shared: Shared,
    coalescing: Coalescing,
    out: Outbound,
    batch: RecvBatch,
    epoll: Epoll,
}

impl Thread {
    pub(super) fn new(ports: Ports, shared: Shared) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&shared.waker, WAKE, Interest::READ)?;
        epoll.add(&ports.tun, TUN, Interest::READ)?;
        let mut token = FIRST_SOCKET..;
        for (port, token) in ports.udp.iter().zip(&mut token) {
            epoll.add(&*port.socket, token, Interest::READ)?;
        }
        let mut token = FIRST_SOCKET + ports.udp.len() as u64..;
        for (port, token) in ports.raw.iter().zip(&mut token) {
            epoll.add(&port.socket, token, Interest::READ)?;
        }
        let offload = ports.tun.offload();
        let coalescing = Coalescing { tcp: offload.tso, udp: offload.uso };
        let batch = RecvBatch::new(RECV_BATCH, GRO_BUFFER_LEN);
        Ok(Self { tables: Tables::default(), ports, shared, coalescing, out: Outbound::new()?, batch, epoll })
    }

    /// Ends on [`Command::Stop`].
    ///
    /// # Panics
    /// When the kernel refuses to wait: there is nothing left to do.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        loop {
            // `epoll_wait` fails on misuse alone.
            self.epoll.wait(&mut events, None).expect("waiting for packets");
            if !self.take_orders() {
                return;
            }
            let now = Uptime::now();
            for event in events.iter().filter(|event| event.readable) {
                self.serve(event, now);
            }
        }
    }

    /// False when the thread is to end.
    fn take_orders(&mut self) -> bool {
        while let Ok(command) = self.shared.inbox.try_recv() {
            if !self.tables.apply(command) {
                return false;
            }
        }
        true
    }

    fn serve(&mut self, event: Event, now: Uptime) {
        let Self { tables, ports, shared, coalescing, out, batch, .. } = self;
        let context = Context { tables, ports, shared, now };
        match event.token {
            WAKE => shared.waker.drain(),
            TUN => out.run(context),
            token => {
                // Tokens are counted up from the first socket.
                let index = (token - FIRST_SOCKET) as usize;
                match index.checked_sub(ports.udp.len()) {
                    None => inbound::from_udp(context, coalescing, batch, &ports.udp[index]),
                    Some(index) => inbound::from_raw(context, coalescing, batch, &ports.raw[index]),
                }
            }
        }
    }
}
