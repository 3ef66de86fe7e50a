//! One packet thread: waits, takes orders, moves batches.
use super::outbound::Outbound;
use super::stats::{Drops, ThreadTotals};
use super::tables::Tables;
use super::{Command, IkeSink};
use net::RecvBatch;
use net::poll::{Epoll, Events, Interest, Waker};
use net::raw::RawSocket;
use net::tun::TunQueue;
use net::udp::{GRO_BUFFER_LEN, UdpSocket};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;

/// Messages taken from a socket at once.
const RECV_BATCH: usize = 16;

/// Longest raw ESP packet taken: what fits an IP packet.
const RAW_PACKET: usize = 65_536;

const WAKE: u64 = 0;
const TUN: u64 = 1;
const FIRST_SOCKET: u64 = 2;

/// A member of the group that serves one address.
#[derive(Debug)]
pub(super) struct UdpPort {
    pub socket: Arc<UdpSocket>,
    /// As bound, with the NAT-traversal port.
    pub address: SocketAddr,
    pub received: Arc<AtomicU64>,
}

/// What a thread shares with control.
pub(super) struct Shared {
    pub waker: Waker,
    pub inbox: Receiver<Command>,
    pub totals: Arc<ThreadTotals>,
    pub drops: Arc<Drops>,
    pub sink: IkeSink,
}

pub(super) struct Thread {
    pub(super) tables: Tables,
    pub(super) tun: Tun,
    pub(super) udp: Vec<UdpPort>,
    pub(super) raw: Vec<RawSocket>,
    pub(super) shared: Shared,
    pub(super) out: Outbound,
    epoll: Epoll,
    udp_batch: RecvBatch,
    raw_batch: RecvBatch,
}

/// A TUN queue with what it turned out to take.
pub(super) struct Tun {
    pub queue: TunQueue,
    /// False once the kernel refused a super-packet.
    pub coalesce: bool,
}

impl Thread {
    pub(super) fn new(tun: TunQueue, udp: Vec<UdpPort>, raw: Vec<RawSocket>, shared: Shared) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&shared.waker, WAKE, Interest::READ)?;
        epoll.add(&tun, TUN, Interest::READ)?;
        let mut token = FIRST_SOCKET;
        for port in &udp {
            epoll.add(&*port.socket, token, Interest::READ)?;
            token += 1;
        }
        for socket in &raw {
            epoll.add(socket, token, Interest::READ)?;
            token += 1;
        }
        Ok(Self {
            tables: Tables::default(),
            tun: Tun { queue: tun, coalesce: true },
            udp,
            raw,
            shared,
            out: Outbound::new(),
            epoll,
            udp_batch: RecvBatch::new(RECV_BATCH, GRO_BUFFER_LEN),
            raw_batch: RecvBatch::new(RECV_BATCH, RAW_PACKET),
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        loop {
            if let Err(error) = self.epoll.wait(&mut events, None) {
                tracing::error!(%error, "a packet thread cannot wait for packets and ends");
                return;
            }
            if !self.take_orders() {
                return;
            }
            for event in events.iter().filter(|event| event.readable) {
                self.serve(event.token);
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

    fn serve(&mut self, token: u64) {
        match token {
            WAKE => self.shared.waker.drain(),
            TUN => self.outbound(),
            socket => {
                let index = usize::try_from(socket - FIRST_SOCKET).unwrap_or(usize::MAX);
                match index.checked_sub(self.udp.len()) {
                    None => self.inbound_udp(index),
                    Some(index) => self.inbound_raw(index),
                }
            }
        }
    }

    /// Lends the batch while its packets are worked on: they lie in it, beside the tables.
    pub(super) fn with_udp_batch(&mut self, work: impl FnOnce(&mut Self, &mut RecvBatch)) {
        let mut batch = std::mem::replace(&mut self.udp_batch, RecvBatch::new(0, 0));
        work(self, &mut batch);
        self.udp_batch = batch;
    }

    pub(super) fn with_raw_batch(&mut self, work: impl FnOnce(&mut Self, &mut RecvBatch)) {
        let mut batch = std::mem::replace(&mut self.raw_batch, RecvBatch::new(0, 0));
        work(self, &mut batch);
        self.raw_batch = batch;
    }
}
