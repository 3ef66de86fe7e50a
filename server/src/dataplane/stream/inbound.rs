//! From the socket to packets.
use super::super::inbound::{Tail, Whence};
use super::super::line::End;
use super::super::stats::{Amount, count};
use super::super::tables::Opened;
use super::super::thread::{Coalescing, Context};
use super::StreamEvent;
use super::streams::Stream;
use ppp::frame::Class;
use sstp::frame;
use tls::Status;

/// Bytes taken from a socket at once.
const READ: usize = 128 << 10;

/// Reads from one socket before the others get their turn.
const ROUNDS: usize = 2;

/// Packets of one stream that control may have to deal with at once; more come in at this rate each second.
pub(in super::super) const CONTROL_BURST: u64 = 64;

/// Buffers of the thread.
#[derive(Debug)]
pub(super) struct Scratch {
    records: Vec<u8>,
    plain: Vec<u8>,
    replies: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { records: vec![0; READ + tls::MAX_HELD], plain: Vec::new(), replies: Vec::new() }
    }
}

/// How many packets control has been given lately.
#[derive(Debug, Default)]
pub(in super::super) struct Bucket {
    level: u64,
    since: u64,
}

impl Bucket {
    /// False when it overflows. `now`: milliseconds.
    pub(in super::super) fn takes(&mut self, now: u64) -> bool {
        let drained = now.saturating_sub(self.since) * CONTROL_BURST / 1000;
        if drained > 0 {
            self.level = self.level.saturating_sub(drained);
            self.since = now;
        }
        self.level += 1;
        self.level <= CONTROL_BURST
    }
}

impl Stream {
    /// Takes what the client sent.
    pub(super) fn receive(&mut self, context: Context<'_>, coalescing: &mut Coalescing, scratch: &mut Scratch) -> Result<(), End> {
        for _ in 0..ROUNDS {
            let held = self.tls.held().len();
            scratch.records[..held].copy_from_slice(self.tls.held());
            let end = held + READ;
            let Some(length) = self.line.read(&mut scratch.records[held..end])? else { return Ok(()) };
            self.open(context, coalescing, scratch, held + length)?;
            if length < READ {
                return Ok(());
            }
        }
        Ok(())
    }

    fn open(&mut self, context: Context<'_>, coalescing: &mut Coalescing, scratch: &mut Scratch, records: usize) -> Result<(), End> {
        let Scratch { records: buffer, plain, replies } = scratch;
        plain.clear();
        plain.append(&mut self.rest);
        self.rest = Vec::new();
        replies.clear();
        let status = self.tls.open(&mut buffer[..records], plain, replies);
        // Also the alert that tells why it ends.
        self.line.send(replies)?;
        // What came before an error counts.
        let taken = self.cut(context, coalescing, plain);
        match status {
            Err(error) => Err(End::Fault(error.to_string())),
            Ok(_) if taken.is_err() => taken.map(drop),
            Ok(Status::PeerClosed) => Err(End::Peer),
            Ok(_) => {
                let taken = taken?;
                self.rest = plain[taken..].to_vec();
                Ok(())
            }
        }
    }

    /// Sorts the whole packets at the beginning of `plain`, and returns how many bytes they had.
    pub(super) fn cut(&mut self, context: Context<'_>, coalescing: &mut Coalescing, plain: &mut [u8]) -> Result<usize, End> {
        let length = plain.len();
        let mut rest = plain;
        let mut tail = Tail::new(context, coalescing);
        let opened = context.tables.stream(self.session);
        let (mut amount, mut outcome) = (Amount::default(), Ok(()));
        while outcome.is_ok() {
            let found = match frame::next(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(End::Fault(error.to_string()));
                    break;
                }
            };
            let (packet, behind) = std::mem::take(&mut rest).split_at_mut(found.len);
            rest = behind;
            let class = if found.control { None } else { Some(ppp::frame::classify(&packet[sstp::HEADER_LEN..])) };
            match class {
                Some(Class::Ipv4 { offset }) => data(&mut tail, opened, &mut amount, packet, offset, true),
                Some(Class::Ipv6 { offset }) => data(&mut tail, opened, &mut amount, packet, offset, false),
                Some(Class::Malformed) => count(&context.shared.drops.malformed),
                Some(Class::Control { .. }) | None => outcome = self.report(context, packet),
            }
        }
        tail.finish();
        if rest.len() < length {
            self.traffic.hear(context.now);
        }
        if amount.packets > 0 {
            self.traffic.count_in(amount, context.now);
        }
        outcome.map(|()| length - rest.len())
    }

    fn report(&mut self, context: Context<'_>, packet: &[u8]) -> Result<(), End> {
        if !self.bucket.takes(context.now.millis()) {
            return Err(End::Fault(format!("the client sent more than {CONTROL_BURST} control packets in a second")));
        }
        let event = StreamEvent::Packet { session: self.session, packet: packet.to_vec() };
        match context.tables.stream(self.session) {
            _ if context.shared.events.offer(event) => Ok(()),
            // What strangers send too much of must not end sessions: PPP and SSTP repeat what matters.
            Some(_) => {
                count(&context.shared.drops.control_queue_full);
                Ok(())
            }
            None => Err(End::Fault("the gateway is too busy for control packets".into())),
        }
    }
}

fn data<'p>(tail: &mut Tail<'_, 'p>, opened: Option<&Opened>, amount: &mut Amount, packet: &'p mut [u8], offset: usize, is_v4: bool) {
    let Some(Opened { route, guard }) = opened else { return count(&tail.drops().stream_not_open) };
    let whence = Whence { session: route.session, gate: &route.gate, guard: guard.as_deref(), mtu: route.mtu };
    if let Some(length) = tail.packet(&whence, &mut packet[sstp::HEADER_LEN + offset..], is_v4, 0) {
        amount.add(1, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_packets_come_in_bursts_and_at_a_rate() {
        let mut bucket = Bucket::default();
        assert!((0..CONTROL_BURST).all(|_| bucket.takes(1000)));
        assert!(!bucket.takes(1000));
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|number| bucket.takes(number * 16)), "one each 16 ms is within the rate");
        assert!((0..CONTROL_BURST - 1).all(|_| bucket.takes(20_000)), "silence makes room again");
    }
}
