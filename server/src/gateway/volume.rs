//! How much a Child SA has carried, for a rekey after `timers.child_volume_mb`: looked at once a second, not packet by packet.
use super::Traffic;

/// A report is repeated when so great a part of the volume has been carried since: the peer may have refused the rekey.
const AGAIN: u64 = 8;

/// Of the Child SA that was made last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Volume {
    /// Its inbound SPI.
    pub spi_in: u32,
    /// Octets of the session before it, in and out.
    before: [u64; 2],
    /// Octets at which it is told next, beyond the limit.
    beyond: u64,
}

impl Volume {
    pub(super) fn begin(spi_in: u32, traffic: Traffic) -> Self {
        Self { spi_in, before: [traffic.octets_in, traffic.octets_out], beyond: 0 }
    }

    /// The octets of the direction that has carried more, when there is a rekey to be asked for.
    pub(super) fn over(&mut self, limit: u64, traffic: Traffic) -> Option<u64> {
        let now = [traffic.octets_in, traffic.octets_out];
        let carried = now.iter().zip(self.before).map(|(now, before)| now.saturating_sub(before)).max().unwrap_or_default();
        if carried < limit.saturating_add(self.beyond) {
            return None;
        }
        self.beyond = (carried - limit).saturating_add((limit / AGAIN).max(1));
        Some(carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greater_direction_counts_from_the_beginning_of_the_child_sa() {
        let traffic = |octets_in, octets_out| Traffic { octets_in, octets_out, ..Traffic::default() };
        let mut volume = Volume::begin(7, traffic(500, 100));
        assert_eq!(volume.over(800, traffic(1_299, 899)), None);
        assert_eq!(volume.over(800, traffic(1_299, 900)), Some(800));
        assert_eq!(volume.over(800, traffic(1_399, 900)), None, "the rekey goes on");
        assert_eq!(volume.over(800, traffic(1_400, 900)), Some(900), "nobody has rekeyed");
        assert_eq!(volume.over(800, traffic(1_499, 999)), None);
    }
}
