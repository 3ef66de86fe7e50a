//! Echo requests through the tunnels of many sessions, without a data plane: so that each has octets of its own to account for.

use crypto::cipher::{Opener, Sealer};
use esp::{DEFAULT_WINDOW, InboundSa, OutboundSa};
use ike::{ChildSa, Path, SessionId};
use ikev2_client::Child;
use sstp_client::inner;
use std::collections::HashMap;
use std::net::IpAddr;

/// Bytes of an echo request, with its headers.
const LENGTH: usize = 500;
/// Headers of IPv4 and ICMP.
const HEADERS: usize = 28;
const IDENTIFIER: u16 = 0x6c64;

/// How many echo requests session `number` sends: neighbours send different numbers.
fn count_of(number: u32) -> u16 {
    1 + (number % 8) as u16
}

/// The tunnels, and the echoes that are under way in them.
#[derive(Debug)]
pub(crate) struct Echoes {
    target: IpAddr,
    tunnels: HashMap<SessionId, Tunnel>,
    /// By the SPI of what arrives.
    sessions: HashMap<u32, SessionId>,
}

#[derive(Debug)]
struct Tunnel {
    child: Child,
    path: Path,
    source: IpAddr,
    unanswered: u16,
}

impl Echoes {
    pub(crate) fn to(target: IpAddr) -> Self {
        Self { target, tunnels: HashMap::new(), sessions: HashMap::new() }
    }

    pub(crate) fn install(&mut self, child: &ChildSa) {
        let Some(source) = child.inner.iter().copied().find(|own| own.is_ipv4() == self.target.is_ipv4()) else { return };
        let (suite, esn) = (child.suite.protection, child.suite.esn);
        let opener = Opener::new(suite, &child.key_in.encryption, &child.key_in.integrity);
        let sealer = Sealer::new(suite, &child.key_out.encryption, &child.key_out.integrity);
        let (Ok(opener), Ok(sealer)) = (opener, sealer) else { return };
        let inbound = InboundSa::new(child.spi_in, opener, esn, DEFAULT_WINDOW);
        let child_sa = Child { inbound, outbound: OutboundSa::new(child.spi_out, sealer, esn), theirs: child.remote.clone() };
        self.sessions.insert(child.spi_in, child.session);
        self.tunnels.insert(child.session, Tunnel { child: child_sa, path: child.path, source, unanswered: 0 });
    }

    /// The echo requests of a session that has come up, as ESP packets, and where they go.
    pub(crate) fn begin(&mut self, session: SessionId, number: u32) -> Option<(Path, Vec<Vec<u8>>)> {
        let target = self.target;
        let tunnel = self.tunnels.get_mut(&session)?;
        tunnel.unanswered = count_of(number);
        let request = |sequence| inner::echo_request(tunnel.source, target, IDENTIFIER, sequence, LENGTH - HEADERS);
        Some((tunnel.path, (0..tunnel.unanswered).map(|sequence| tunnel.child.seal(&request(sequence))).collect()))
    }

    /// An ESP packet.
    pub(crate) fn packet(&mut self, packet: &[u8]) {
        let session = esp::spi(packet).and_then(|spi| self.sessions.get(&spi));
        let Some(tunnel) = session.and_then(|session| self.tunnels.get_mut(session)) else { return };
        let answers = |packet: &[u8]| inner::echo_reply(packet).is_some_and(|(identifier, _)| identifier == IDENTIFIER);
        if tunnel.child.open(packet).is_some_and(|packet| answers(&packet)) {
            tunnel.unanswered = tunnel.unanswered.saturating_sub(1);
        }
    }

    /// Every echo request was answered.
    pub(crate) fn are_done(&self) -> bool {
        self.tunnels.values().all(|tunnel| tunnel.unanswered == 0)
    }
}
