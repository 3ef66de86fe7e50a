//! Packets that one thread reads from its TUN queue and another must send, because the stream is its own. The kernel steers a flow to the
//! queue that its other direction was written to, so this is the exception: first packets, and flows with one direction.
use net::poll::Waker;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Batches that may wait for one thread.
const BATCHES: usize = 16;

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
    waker: Waker,
}

/// The two ends of a thread's queue.
pub(super) fn queue(waker: Waker) -> (Other, Receiver<Batch>) {
    let (batches, inbox) = sync_channel(BATCHES);
    (Other { batches, waker }, inbox)
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
        let other = &self.others[owner];
        let lost = other.batches.try_send(batch).map_or_else(|error| packets_of(error).count(), |()| 0);
        other.waker.wake();
        lost
    }
}

fn packets_of(error: std::sync::mpsc::TrySendError<Batch>) -> Batch {
    match error {
        std::sync::mpsc::TrySendError::Full(batch) | std::sync::mpsc::TrySendError::Disconnected(batch) => batch,
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

    fn count(&self) -> usize {
        self.packets().count()
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
        let batch = inbox.try_recv().unwrap();
        assert_eq!(batch.packets().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        let big = vec![7; BATCH];
        let lost: usize = (0..BATCHES + 2).map(|_| handover.add(0, &big)).sum();
        assert_eq!(lost, 2);
        handover.add(0, b"a");
        handover.add(0, b"b");
        assert_eq!(handover.flush(), 2);
        assert_eq!(inbox.try_iter().count(), BATCHES);
    }
}
