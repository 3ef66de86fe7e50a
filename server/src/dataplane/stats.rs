//! Counters: written by packet threads, read by control.
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a session moved; shared by its tunnels, rekeys included. Octets are those of the inner packets.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    octets_in: AtomicU64,
    octets_out: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    /// Milliseconds of [`Uptime`] plus one; 0: never.
    last_in: AtomicU64,
    last_out: AtomicU64,
    /// As `last_in`, control packets included.
    heard: AtomicU64,
}

/// Packets and their octets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Amount {
    pub packets: u64,
    pub octets: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, packets: usize, octets: usize) {
        self.packets += packets as u64;
        self.octets += octets as u64;
    }
}

impl TrafficCounters {
    pub(crate) fn count_in(&self, amount: Amount, now: Uptime) {
        self.packets_in.fetch_add(amount.packets, Ordering::Relaxed);
        self.octets_in.fetch_add(amount.octets, Ordering::Relaxed);
        self.last_in.store(now.0 + 1, Ordering::Relaxed);
        self.hear(now);
    }

    /// The peer is alive.
    pub(crate) fn hear(&self, now: Uptime) {
        self.heard.store(now.0 + 1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> Option<Instant> {
        Uptime::instant(self.heard.load(Ordering::Relaxed))
    }

    pub(crate) fn count_out(&self, amount: Amount, now: Uptime) {
        self.packets_out.fetch_add(amount.packets, Ordering::Relaxed);
        self.octets_out.fetch_add(amount.octets, Ordering::Relaxed);
        self.last_out.store(now.0 + 1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> SessionCounters {
        SessionCounters {
            octets_in: self.octets_in.load(Ordering::Relaxed),
            octets_out: self.octets_out.load(Ordering::Relaxed),
            packets_in: self.packets_in.load(Ordering::Relaxed),
            packets_out: self.packets_out.load(Ordering::Relaxed),
            last_in: Uptime::instant(self.last_in.load(Ordering::Relaxed)),
            last_out: Uptime::instant(self.last_out.load(Ordering::Relaxed)),
            ..SessionCounters::default()
        }
    }
}

/// A session's traffic since its first Child SA. "In" is from the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub last_in: Option<Instant>,
    pub last_out: Option<Instant>,
    /// The highest sequence number that one of its Child SAs has sent: without ESN it must be rekeyed before 2^32.
    pub outbound_sequence: u64,
    /// Packets that a filter dropped, and those beyond a rate limit.
    pub filtered_in: u64,
    pub filtered_out: u64,
    pub rate_limited: u64,
}

/// Sums over all threads and sessions since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    /// Dropped packets by reason; every reason is there.
    pub drops: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub(crate) fn add(&mut self, thread: &TrafficCounters) {
        let counters = thread.read();
        self.octets_in += counters.octets_in;
        self.octets_out += counters.octets_out;
        self.packets_in += counters.packets_in;
        self.packets_out += counters.packets_out;
    }
}

/// Milliseconds since the data plane was first used: a time that fits an atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uptime(u64);

impl Uptime {
    pub(crate) fn now() -> Self {
        Self(u64::try_from(epoch().elapsed().as_millis()).unwrap_or(u64::MAX - 1))
    }

    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1000
    }

    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    fn instant(stored: u64) -> Option<Instant> {
        stored.checked_sub(1).map(|millis| epoch() + Duration::from_millis(millis))
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Packets that were dropped, by reason.
        #[derive(Debug, Default)]
        pub(crate) struct Drops {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Drops {
            /// Name and number of every reason.
            pub(crate) fn named(&self) -> BTreeMap<&'static str, u64> {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*].into()
            }
        }
    };
}

drops! {
    /// Not long enough for ESP.
    malformed,
    /// ESP for an SPI that nobody has.
    unknown_spi,
    /// Sequence number seen already, or too old.
    replayed,
    /// Integrity check failed.
    forged,
    /// Padding longer than the packet.
    bad_padding,
    /// Neither IPv4 nor IPv6 inside.
    unsupported_next_header,
    /// No IP packet inside, or not the one that the next header announced.
    inner_malformed,
    /// The inner address of the peer is not its lease.
    source_not_leased,
    /// Inner addresses or ports outside the traffic selectors.
    outside_selectors,
    /// Dropped by a filter of its session: from the client, and to it.
    filtered_in,
    filtered_out,
    /// Beyond the rate limit of its session, either way.
    rate_limited,
    /// Outer congestion mark on a packet whose sender does not know ECN.
    congestion_marked,
    /// From the TUN device, for no connected peer.
    no_tunnel,
    /// From the TUN device, for a session whose Child SA was deleted because it was idle: it gets a new one.
    no_child_sa,
    /// The Child SA's sequence numbers are used up.
    sequence_exhausted,
    /// Larger than the tunnel's MTU and not to be fragmented; the sender was told.
    too_big,
    /// No socket serves the local address of the path.
    no_socket,
    /// The network took no more, or refused.
    send_failed,
    /// The TUN device took no more, or refused.
    tun_write_failed,
    /// IKE messages that control had no room for.
    ike_queue_full,
    /// SSTP control packets of sessions that control had no room for.
    control_queue_full,
    /// Data of a stream before control opened it, or after it closed it.
    stream_not_open,
    /// TCP streams with IKE and ESP that were closed because something else was in them.
    tcp_garbage,
    /// For a client that does not read as fast as it is sent to.
    stream_full,
    /// For a stream of another thread that has no time.
    stream_handover_full,
    /// Link-local, multicast or broadcast from a client: meant for a link that is not there.
    not_forwarded,
    /// Packets for control (DHCP, router solicitations) beyond what a session may send, or that control had no room for.
    diverted_too_many,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Several more, mostly none.
pub(crate) fn count_many(counter: &AtomicU64, number: usize) {
    if number > 0 {
        counter.fetch_add(number as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_remember_when() {
        let before = Instant::now();
        let counters = TrafficCounters::default();
        assert_eq!(counters.read(), SessionCounters::default());
        counters.count_in(Amount { packets: 2, octets: 300 }, Uptime::now());
        counters.count_in(Amount { packets: 1, octets: 40 }, Uptime::now());
        let read = counters.read();
        assert_eq!((read.packets_in, read.octets_in, read.packets_out, read.last_out), (3, 340, 0, None));
        assert_eq!(counters.heard(), read.last_in);
        let last = read.last_in.unwrap();
        assert!(last <= Instant::now() && last + Duration::from_millis(2) >= before);
    }

    #[test]
    fn every_reason_has_a_name() {
        let drops = Drops::default();
        count(&drops.forged);
        assert_eq!(drops.named().iter().filter(|(_, number)| **number > 0).collect::<Vec<_>>(), [(&"forged", &1)]);
        assert_eq!(drops.named().len(), 28);
    }
}
