//! Counters: written by packet threads, read by control.
use super::Totals;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a session moved; shared by its tunnels, rekeys included. Octets are those of the inner packets.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    pub octets_in: AtomicU64,
    pub octets_out: AtomicU64,
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
}

impl TrafficCounters {
    pub(crate) fn count_in(&self, packets: u64, octets: u64) {
        self.packets_in.fetch_add(packets, Ordering::Relaxed);
        self.octets_in.fetch_add(octets, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, packets: u64, octets: u64) {
        self.packets_out.fetch_add(packets, Ordering::Relaxed);
        self.octets_out.fetch_add(octets, Ordering::Relaxed);
    }

    pub fn read(&self) -> Totals {
        Totals {
            octets_in: self.octets_in.load(Ordering::Relaxed),
            octets_out: self.octets_out.load(Ordering::Relaxed),
            packets_in: self.packets_in.load(Ordering::Relaxed),
            packets_out: self.packets_out.load(Ordering::Relaxed),
        }
    }
}

/// Totals of one thread: it alone writes, so no cache line is fought for.
pub(crate) type ThreadTotals = TrafficCounters;

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Packets that were dropped, by reason.
        #[derive(Debug, Default)]
        pub struct Drops {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Drops {
            /// Name and number of every reason.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*].into_iter()
            }
        }
    };
}

drops! {
    /// ESP for an SPI that nobody has.
    unknown_spi,
    /// Sequence number seen already, or too old.
    replayed,
    /// Integrity check failed.
    forged,
    /// Too short, wrong padding, or no IP packet inside.
    malformed,
    /// Inner source is not the client's lease.
    spoofed_source,
    /// Inner addresses or ports outside the traffic selectors.
    outside_selectors,
    /// Outer congestion mark on a packet whose sender does not know ECN.
    congestion,
    /// From the TUN device, for no connected client.
    no_tunnel,
    /// The session's Child SA is gone or spent.
    no_outbound_sa,
    /// Larger than the tunnel's MTU and not to be fragmented; the sender was told.
    too_big,
    /// The socket took no more.
    send_failed,
    /// The TUN device took no more.
    tun_full,
    /// IKE messages that control had no room for.
    ike_queue_full,
}

impl Drops {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
