//! The client's half of a Child SA: packets into it and out of it.
use crypto::cipher::{Opener, Sealer};
use esp::{DEFAULT_WINDOW, InboundSa, OutboundSa};
use ike::TrafficSelector;
use ike::keys::ChildKeyPair;
use ike::proposal::ChosenEsp;
use std::net::IpAddr;

/// A Child SA that this client made.
#[derive(Debug)]
pub struct Child {
    pub inbound: InboundSa,
    pub outbound: OutboundSa,
    /// The gateway's side, TSr.
    pub theirs: Vec<TrafficSelector>,
}

impl Child {
    /// What the gateway chose of the offer with inbound SPI `spi_in`, with the keys that came of it; the client was the exchange's initiator.
    pub(crate) fn new(chosen: &ChosenEsp, spi_in: u32, keys: &ChildKeyPair, theirs: Vec<TrafficSelector>) -> Self {
        let suite = chosen.suite.protection;
        let opener = Opener::new(suite, &keys.responder.encryption, &keys.responder.integrity).expect("keys of the suite's lengths");
        let sealer = Sealer::new(suite, &keys.initiator.encryption, &keys.initiator.integrity).expect("keys of the suite's lengths");
        let inbound = InboundSa::new(spi_in, opener, chosen.suite.esn, DEFAULT_WINDOW);
        Self { inbound, outbound: OutboundSa::new(chosen.spi, sealer, chosen.suite.esn), theirs }
    }

    /// Whether TSr lets a packet into the tunnel to this address, or one from it out of it (RFC 4301 section 5).
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.theirs.iter().any(|selector| selector.contains(&TrafficSelector::host(address)))
    }

    /// The ESP packet that carries an IP packet.
    pub fn seal(&self, inner: &[u8]) -> Vec<u8> {
        let overhead = self.outbound.overhead();
        let mut packet = vec![0; overhead.sealed_len(inner.len())];
        packet[overhead.header_len()..][..inner.len()].copy_from_slice(inner);
        let next_header = if inner[0] >> 4 == 4 { 4 } else { 41 };
        self.outbound.seal(self.outbound.reserve(1).expect("sequence numbers"), &mut packet, inner.len(), next_header);
        packet
    }

    /// The IP packet in an ESP packet; `None` for one that is not of this Child SA, forged or repeated.
    pub fn open(&self, packet: &[u8]) -> Option<Vec<u8>> {
        if esp::spi(packet)? != self.inbound.spi() {
            return None;
        }
        let mut packet = packet.to_vec();
        let opened = self.inbound.receive().open(&mut packet).ok()?;
        Some(packet[opened.payload].to_vec())
    }
}
