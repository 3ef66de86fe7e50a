//! Packets that one thread reads from its TUN queue and another must send, because the stream is its own. The kernel steers a flow to the
//! queue that its other direction was written to, so this is the exception: first packets, and flows with one direction.
use net::poll::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Batches that may wait for one thread: many, because a thread with little to do hands over single packets.
const BATCHES: usize = 1024;

/// Bytes that may wait for one thread.
const WAITING: usize = 4 << 20;

/// A batch leaves when it has this many bytes; one packet more may be in it.
const BATCH: usize = 256 << 10;

/// Bytes of the length before each packet.
const LENGTH: usize = 4;

/// Packets as they came from the TUN queue, each after its length.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<u8>);

/// Where one thread hands packets to the others.
#[derive(Debug)]
pub(super) struct Handover {
    /// By number of the thread.
    others: Vec<Other>,
    /// Unsent batches, by number of the thread.
    open: Vec<Batch>,
}

/// How another thread is reached.
#[derive(Debug, Clone)]
pub(super) struct Other {
    batches: SyncSender<Batch>,
    waiting: Arc<AtomicUsize>,
    waker: Waker,
}

/// A thread's own end.
#[derive(Debug)]
pub(super) struct Inbox {
    batches: Receiver<Batch>,
    waiting: Arc<AtomicUsize>,
}

/// The two ends of a thread's queue.
pub(super) fn queue(waker: Waker) -> (Other, Inbox) {
    let (sender, batches) = sync_channel(BATCHES);
    let waiting = Arc::<AtomicUsize>::default();
    (Other { batches: sender, waiting: waiting.clone(), waker }, Inbox { batches, waiting })
}

impl Inbox {
    /// The next batch, if there is one.
    pub(super) fn take(&self) -> Option<Batch> {
        let batch = self.batches.try_recv().ok()?;
        self.waiting.fetch_sub(batch.0.len(), Ordering::Relaxed);
        Some(batch)
    }
}

impl Other {
    /// Returns how many packets were lost.
    fn send(&self, batch: Batch) -> usize {
        let length = batch.0.len();
        if self.waiting.fetch_add(length, Ordering::Relaxed) < WAITING {
            match self.batches.try_send(batch) {
                Ok(()) => {
                    self.waker.wake();
                    return 0;
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => return self.lose(&back),
            }
        }
        self.lose(&batch)
    }

    fn lose(&self, batch: &Batch) -> usize {
        self.waiting.fetch_sub(batch.0.len(), Ordering::Relaxed);
        batch.packets().count()
    }
}

impl Handover {
    pub(super) fn new(others: Vec<Other>) -> Self {
        let open = others.iter().map(|_| Batch::default()).collect();
        Self { others, open }
    }

    /// Adds a packet for thread `owner`, with its virtio header. Returns how many packets were lost over it.
    pub(super) fn add(&mut self, owner: usize, packet: &[u8]) -> usize {
        let Some(batch) = self.open.get_mut(owner) else { return 1 };
        batch.push(packet);
        if batch.0.len() < BATCH { 0 } else { self.send(owner) }
    }

    /// Sends what has been added. Returns how many packets were lost.
    pub(super) fn flush(&mut self) -> usize {
        (0..self.open.len()).map(|owner| self.send(owner)).sum()
    }

    fn send(&mut self, owner: usize) -> usize {
        let batch = std::mem::take(&mut self.open[owner]);
        if batch.0.is_empty() {
            return 0;
        }
        self.others[owner].send(batch)
    }
}

impl Batch {
    fn push(&mut self, packet: &[u8]) {
        // A packet is shorter than 64 KiB and its header.
        self.0.extend_from_slice(&(packet.len() as u32).to_ne_bytes());
        self.0.extend_from_slice(packet);
    }

    /// The packets in the order in which they were added.
    pub(super) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH>()?;
            let (packet, behind) = behind.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
            rest = behind;
            Some(packet)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_in_order_and_overflow_is_counted() {
        let (other, inbox) = queue(Waker::new().unwrap());
        let mut handover = Handover::new(vec![other]);
        assert_eq!((handover.flush(), handover.add(1, b"nobody")), (0, 1));
        for packet in [&b"one"[..], b"", b"three"] {
            assert_eq!(handover.add(0, packet), 0);
        }
        assert_eq!(handover.flush(), 0);
        let batch = inbox.take().unwrap();
        assert_eq!(batch.packets().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        let big = vec![7; BATCH];
        let fit = WAITING.div_ceil(BATCH + LENGTH);
        let lost: usize = (0..fit + 2).map(|_| handover.add(0, &big)).sum();
        assert_eq!(lost, 2);
        handover.add(0, b"a");
        handover.add(0, b"b");
        assert_eq!(handover.flush(), 2);
        assert_eq!(std::iter::from_fn(|| inbox.take()).count(), fit);
        // Empty again, there is room for single packets.
        let lost = |_| handover.add(0, b"c") + handover.flush();
        assert_eq!((0..BATCHES + 3).map(lost).sum::<usize>(), 3);
        assert_eq!(std::iter::from_fn(|| inbox.take()).count(), BATCHES);
        assert_eq!(inbox.waiting.load(Ordering::Relaxed), 0);
    }
}
