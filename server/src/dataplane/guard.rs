//! Filters and rate limits of a session, the same for every kind of tunnel.
//!
//! They are handed to the threads like the tables, whole and unchanging; what several threads write is counters and the two marks of the rate limit,
//! each one atomic that is touched once a (super-)packet. Segments of a super-packet share the headers that filters look at, so one look serves all.
use super::stats::{Drops, Uptime, count_many};
use packet::{Fragment, IpHeader, SuperPacket, protocol};
use policy::filter::{Direction, Objection, Packet, RateLimit, Restrictions};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Bits in octets times nanoseconds in seconds.
const SCALE: u64 = 8 * 1_000_000_000;

/// What a session's guards dropped; outlives each of them.
#[derive(Debug, Default)]
pub(crate) struct GuardCounters {
    pub(crate) filtered_in: AtomicU64,
    pub(crate) filtered_out: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    /// The first drop by a filter has been logged.
    told: AtomicBool,
}

/// [`Restrictions`] as the packet threads use them.
#[derive(Debug)]
pub(crate) struct Guard {
    session: u64,
    restrictions: Restrictions,
    /// Some filter drops something in this direction.
    filters_in: bool,
    filters_out: bool,
    rate_in: Option<Meter>,
    rate_out: Option<Meter>,
    counters: Arc<GuardCounters>,
}

/// A packet as the guard judges it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) direction: Direction,
    pub(crate) bytes: &'a [u8],
    pub(crate) ip: &'a IpHeader,
    /// How many packets it stands for, and their octets.
    pub(crate) packets: usize,
    pub(crate) octets: usize,
}

impl<'a> Candidate<'a> {
    /// A packet from the client.
    pub(crate) fn single(bytes: &'a [u8], ip: &'a IpHeader) -> Self {
        Self { direction: Direction::In, bytes, ip, packets: 1, octets: ip.length }
    }

    /// A packet to the client, or several that will be made of it.
    pub(crate) fn split(packet: &'a SuperPacket<'_>) -> Self {
        let packets = packet.count();
        let octets = packets.saturating_sub(1) * packet.max_len() + packet.len(packets.saturating_sub(1));
        Self { direction: Direction::Out, bytes: packet.bytes(), ip: packet.ip(), packets, octets }
    }
}

impl Guard {
    pub(crate) fn new(session: u64, restrictions: Restrictions, counters: Arc<GuardCounters>) -> Self {
        let drops = |direction: Direction| restrictions.filters.iter().any(|filter| !filter.chain(direction).is_open());
        Self {
            session,
            filters_in: drops(Direction::In),
            filters_out: drops(Direction::Out),
            rate_in: restrictions.rate_in.map(Meter::new),
            rate_out: restrictions.rate_out.map(Meter::new),
            restrictions,
            counters,
        }
    }

    /// False when the packet is dropped, which is counted then. `inner`: the client's addresses.
    pub(crate) fn admits(&self, candidate: &Candidate<'_>, inner: &[IpAddr], now: Uptime, drops: &Drops) -> bool {
        let (filters, meter) = match candidate.direction {
            Direction::In => (self.filters_in, &self.rate_in),
            Direction::Out => (self.filters_out, &self.rate_out),
        };
        if filters && !self.passes_filters(candidate, inner, drops) {
            return false;
        }
        if meter.as_ref().is_none_or(|meter| meter.takes(candidate.octets, now)) {
            return true;
        }
        count_many(&drops.rate_limited, candidate.packets);
        count_many(&self.counters.rate_limited, candidate.packets);
        false
    }

    /// Whether a packet that is not sent, for want of a Child SA, would pass the filters.
    pub(crate) fn permits(&self, candidate: &Candidate<'_>, inner: &[IpAddr], drops: &Drops) -> bool {
        self.passes_filters(candidate, inner, drops)
    }

    fn passes_filters(&self, candidate: &Candidate<'_>, inner: &[IpAddr], drops: &Drops) -> bool {
        let packet = facts(candidate.bytes, candidate.ip);
        let objection = |filter: &'_ policy::filter::Filter| filter.objection(candidate.direction, &packet, inner).is_some();
        let Some(filter) = self.restrictions.filters.iter().find(|filter| objection(filter)) else { return true };
        let (total, own) = match candidate.direction {
            Direction::In => (&drops.filtered_in, &self.counters.filtered_in),
            Direction::Out => (&drops.filtered_out, &self.counters.filtered_out),
        };
        count_many(total, candidate.packets);
        count_many(own, candidate.packets);
        if !self.counters.told.swap(true, Ordering::Relaxed)
            && let Some(objection) = filter.objection(candidate.direction, &packet, inner)
        {
            self.tell(&filter.name, candidate.direction, &packet, objection);
        }
        false
    }

    /// Once a session.
    fn tell(&self, filter: &str, direction: Direction, packet: &Packet, rule: Objection<'_>) {
        let Packet { source, destination, protocol, ports, .. } = packet;
        tracing::debug!(
            session = self.session,
            filter,
            %direction,
            %rule,
            %source,
            %destination,
            ?protocol,
            ?ports,
            "a filter drops the first packet of a session; the others are counted"
        );
    }
}

/// What rules look at.
fn facts(bytes: &[u8], ip: &IpHeader) -> Packet {
    let later_fragment = ip.fragment == Fragment::Later;
    // Of a later fragment only the next header is known, which in IPv6 may be another extension header.
    let hidden = later_fragment && !ip.is_v4() && protocol::is_extension_header(ip.protocol);
    let shown = ip.ports(bytes);
    let is_icmp = matches!(ip.protocol, protocol::ICMP | protocol::ICMPV6);
    let flags = || bytes.get(ip.transport..ip.length)?.get(13).map(|flags| flags & 0x3f);
    Packet {
        source: ip.source,
        destination: ip.destination,
        protocol: (!hidden).then_some(ip.protocol),
        ports: shown.filter(|_| !is_icmp),
        tcp_flags: if ip.protocol == protocol::TCP && !later_fragment { flags() } else { None },
        icmp: shown.filter(|_| is_icmp).map(|(type_and_code, _)| ((type_and_code >> 8) as u8, (type_and_code & 0xff) as u8)),
        later_fragment,
    }
}

/// A token bucket as one mark: the moment at which it will be full again.
///
/// In the long run the rate is exact. A packet passes while the bucket is not empty, so one super-packet at most goes beyond the burst; and the clock
/// of the threads has milliseconds, so up to a millisecond at the rate comes early.
#[derive(Debug)]
struct Meter {
    bits_per_second: u64,
    /// Nanoseconds.
    burst: u64,
    /// Nanoseconds of [`Uptime`].
    full_at: AtomicU64,
}

impl Meter {
    fn new(limit: RateLimit) -> Self {
        let burst = u64::try_from(limit.burst.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        Self { bits_per_second: limit.bits_per_second.max(1), burst, full_at: AtomicU64::default() }
    }

    fn takes(&self, octets: usize, now: Uptime) -> bool {
        let now = now.millis().saturating_mul(NANOS_PER_MILLI);
        let cost = (octets as u64).saturating_mul(SCALE) / self.bits_per_second;
        let take = |full_at: u64| (full_at <= now.saturating_add(self.burst)).then(|| full_at.max(now).saturating_add(cost));
        self.full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::filter::Filter;
    use std::time::Duration;

    fn udp(destination_port: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol::UDP, 0, 0, 10, 9, 0, 2, 10, 1, 1, 1, 0xc3, 0x50];
        packet.extend_from_slice(&destination_port.to_be_bytes());
        packet.extend_from_slice(&[0, 8, 0, 0]);
        packet
    }

    /// IPv6 with a fragment header whose next header and offset these are.
    fn fragment(next: u8, offset: u16, transport: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + transport.len()).unwrap().to_be_bytes();
        let addresses = ["fd09::2", "2001:db8::1"].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().octets()).concat();
        let offset = ((offset << 3) | 1).to_be_bytes();
        let head = [0x60, 0, 0, 0, length[0], length[1], protocol::FRAGMENT, 64];
        [&head[..], &addresses, &[next, 0, offset[0], offset[1], 0, 0, 0, 7], transport].concat()
    }

    fn look(bytes: &[u8]) -> Packet {
        facts(bytes, &IpHeader::parse(bytes).unwrap())
    }

    #[test]
    fn rules_see_what_the_packet_shows() {
        let whole = look(&udp(53));
        assert_eq!((whole.protocol, whole.ports, whole.tcp_flags, whole.icmp), (Some(17), Some((50_000, 53)), None, None));
        let tcp = [&[0xc3, 0x50, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12][..], &[0; 6]].concat();
        let first = look(&fragment(protocol::TCP, 0, &tcp));
        assert_eq!((first.protocol, first.ports, first.tcp_flags, first.later_fragment), (Some(6), Some((50_000, 443)), Some(0x12), false));
        let tiny = look(&fragment(protocol::TCP, 0, &tcp[..8]));
        assert_eq!((tiny.ports, tiny.tcp_flags), (Some((50_000, 443)), None));
        let later = look(&fragment(protocol::TCP, 9, &tcp));
        assert_eq!((later.protocol, later.ports, later.tcp_flags, later.later_fragment), (Some(6), None, None, true));
        let hidden = look(&fragment(protocol::DESTINATION_OPTIONS, 9, &tcp));
        assert_eq!((hidden.protocol, hidden.ports), (None, None));
        let behind =
            look(&fragment(protocol::DESTINATION_OPTIONS, 0, &[&[protocol::ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &[128, 3, 0, 0]].concat()));
        assert_eq!((behind.protocol, behind.icmp, behind.ports), (Some(58), Some((128, 3)), None));
    }

    #[test]
    fn drops_are_counted_for_the_session_and_for_all() {
        let filter = Filter::parse("dns", ["permit in udp from any to any 53"], [None; 2]).unwrap();
        let counters = Arc::<GuardCounters>::default();
        let restrictions = Restrictions { filters: vec![Arc::new(filter)], ..Restrictions::default() };
        let (guard, drops) = (Guard::new(1, restrictions, counters.clone()), Drops::default());
        let admits = |direction, bytes: &[u8]| {
            let ip = IpHeader::parse(bytes).unwrap();
            let candidate = Candidate { direction, bytes, ip: &ip, packets: 3, octets: 84 };
            guard.admits(&candidate, &[], Uptime::from_millis(0), &drops)
        };
        assert!(admits(Direction::In, &udp(53)) && !admits(Direction::In, &udp(54)) && admits(Direction::Out, &udp(54)));
        assert_eq!((drops.filtered_in.load(Ordering::Relaxed), counters.filtered_in.load(Ordering::Relaxed)), (3, 3));
        assert_eq!(drops.filtered_out.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_meter_gives_its_burst_and_then_its_rate() {
        let limit = RateLimit { bits_per_second: 8_000_000, burst: Duration::from_millis(100) };
        let meter = Meter::new(limit);
        // A thousand octets are a millisecond.
        let taken =
            |from: u64, to: u64| (from..to).map(|at| (0..10).filter(|_| meter.takes(1000, Uptime::from_millis(at))).count()).sum::<usize>();
        let first = (0..1000).filter(|_| meter.takes(1000, Uptime::from_millis(1000))).count();
        assert_eq!(first, 101, "the burst, and the packet that empties the bucket");
        assert_eq!(taken(1001, 2001), 1000);
        assert_eq!((0..1000).filter(|_| meter.takes(1000, Uptime::from_millis(60_000))).count(), 101, "silence fills the bucket, not more");
        // Longer than the burst, and still it passes in its time.
        let narrow = Meter::new(RateLimit { bits_per_second: 8000, burst: Duration::from_millis(1) });
        assert!(
            narrow.takes(65_535, Uptime::from_millis(10))
                && !narrow.takes(1, Uptime::from_millis(65_000))
                && narrow.takes(1, Uptime::from_millis(66_000))
        );
    }

    #[test]
    fn threads_together_do_not_exceed_the_rate() {
        let meter = Meter::new(RateLimit { bits_per_second: 8_000_000, burst: Duration::from_millis(100) });
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| meter.takes(1000, Uptime::from_millis(5))).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 101);
    }
}
