//! Messages of IKE SAs that do not exist, perhaps not any more (RFC 7296 section 2.21.4, RFC 6290 section 4.5).
use super::pace::Pace;
use super::shared::Shared;
use crate::api::{Path, Stranger};
use crate::qcd;
use crate::wire::{Exchange, Flags, Header, Notify, Payload, encode, kind, notify};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

/// Answers to all the world. A gateway that has restarted tells its clients at this rate; each asks several times.
const ANSWERS_PER_SECOND: u32 = 500;

/// Answers to one source (an IPv4 address or an IPv6 /64), behind which there may be a few clients.
const ANSWERS_PER_SOURCE: u32 = 10;

/// Bytes of the shortest protected message there is: an empty one in an AEAD with 8 bytes of IV and 16 of integrity check value. An answer with a token
/// is 3 bytes longer, and a twentieth of that with the headers below it; to anything shorter there is no answer.
const SHORTEST_PROTECTED: usize = 57;

/// Where a message says who is next behind the IKE header.
const NEXT_PAYLOAD: usize = 16;

/// Addresses remembered that spoke of unknown IKE SAs.
const REMEMBERED: usize = 64;

#[derive(Debug)]
pub(super) struct Strangers {
    pace: Pace,
    /// The newest last, each address once.
    seen: VecDeque<(IpAddr, Instant)>,
}

impl Strangers {
    pub(super) fn new(now: Instant) -> Self {
        Self { pace: Pace::new(ANSWERS_PER_SECOND, ANSWERS_PER_SOURCE, now), seen: VecDeque::with_capacity(REMEMBERED) }
    }

    /// When a message of an IKE SA that is not known here came from an address, if that is among the newest of them.
    pub(super) fn last(&self, address: IpAddr) -> Option<Instant> {
        self.seen.iter().find(|(seen, _)| *seen == address).map(|(_, at)| *at)
    }

    fn remember(&mut self, address: IpAddr, now: Instant) {
        if let Some(at) = self.seen.iter().position(|(seen, _)| *seen == address) {
            self.seen.remove(at);
        } else if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((address, now));
    }

    /// A gateway answers a request, which looks protected and belongs to no IKE SA: with INVALID_IKE_SPI, and with the token of that IKE SA
    /// when it has a secret. What belongs to a living IKE SA by either of its SPIs has no answer: its token would end it for whoever asks.
    pub(super) fn answer(&mut self, shared: &mut Shared, path: Path, header: &Header, message: &[u8]) {
        shared.counters.unknown_spi += 1;
        let Some(config) = shared.responder.clone() else { return };
        if looks_protected(header, message) && !header.flags.response {
            self.remember(path.remote.ip(), shared.now);
        }
        let known = [header.initiator_spi, header.responder_spi].into_iter().any(|spi| shared.owner(spi).is_some());
        if known || header.flags.response || !looks_protected(header, message) {
            return;
        }
        let answered = self.pace.allows(shared.now, path.remote.ip(), &config.limits);
        shared.tell_of(path.remote.ip(), &config.limits, Stranger::UnknownSpi { answered });
        if !answered {
            return;
        }
        let mut payloads = vec![Payload::Notify(Notify::new(notify::INVALID_IKE_SPI, []))];
        if let Some(secret) = &config.qcd_secret {
            payloads.push(qcd::payload(secret, header.initiator_spi, header.responder_spi));
        }
        shared.counters.unknown_spi_answered += 1;
        let flags = Flags { initiator: !header.flags.initiator, response: true, version: false };
        shared.transmit(path, encode(&Header { flags, ..*header }, &payloads));
    }
}

fn looks_protected(header: &Header, message: &[u8]) -> bool {
    let next = message.get(NEXT_PAYLOAD);
    header.exchange != Exchange::IkeSaInit
        && header.responder_spi.0 != 0
        && message.len() >= SHORTEST_PROTECTED
        && next.is_some_and(|next| [kind::SK, kind::SKF].contains(next))
}
