//! A Child SA as the packet threads use it.
use super::gate::{Gate, Inner, Role, Selector};
use super::stats::{TrafficCounters, Uptime};
use super::watch::{Movement, Trial, Wear};
use super::{InstallError, Path};
use crypto::Zeroizing;
use crypto::cipher::{Opener, Sealer, Suite};
use esp::{Encapsulation, InboundSa, OutboundSa, Overhead};
use std::sync::Arc;

/// The smallest MTU that IPv4 knows (RFC 791).
pub(crate) const MIN_MTU: usize = 68;

/// Keying material of one direction.
pub struct Keys {
    pub encryption: Zeroizing<Vec<u8>>,
    pub integrity: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Everything about a tunnel, as plain values.
#[derive(Debug)]
pub struct TunnelSpec {
    pub session: u64,
    /// SPI in packets to us; unique. Its last byte names the thread that receives.
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: Suite,
    pub esn: bool,
    pub key_in: Keys,
    pub key_out: Keys,
    pub path: Path,
    /// ESP in UDP, else IP protocol 50.
    pub encapsulate: bool,
    pub inner: Inner,
    /// Negotiated selectors: our side and the peer's.
    pub local: Vec<Selector>,
    pub remote: Vec<Selector>,
    /// Upper limit of inner packets, bytes; `u16::MAX` for none.
    pub mtu: u16,
    /// MTU of the path outside, bytes: what ESP, UDP and IP add is subtracted from it.
    pub path_mtu: u16,
    pub role: Role,
    /// Starts sending at once. Otherwise when told, unless the session has nothing else to send with; and a session's first not before the peer
    /// has sent on it, or five seconds have passed, where an older session has the same addresses.
    pub outbound_ready: bool,
}

/// What all tunnels of an engine have alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Packets that the anti-replay window looks back.
    pub(crate) replay_window: u32,
    /// See [`super::DataplaneConfig`].
    pub(crate) worn_at: u64,
}

/// An installed tunnel, shared by the packet threads.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) session: u64,
    pub(crate) spi_in: u32,
    /// Steering brings an SA's packets to one thread, so the lock of its window is free but for stray packets.
    pub(crate) inbound: InboundSa,
    pub(crate) outbound: OutboundSa,
    pub(crate) path: Path,
    pub(crate) encapsulate: bool,
    pub(crate) gate: Arc<Gate>,
    mtu: u16,
    path_mtu: u16,
    pub(crate) outbound_ready: bool,
    pub(crate) trial: Trial,
    pub(crate) traffic: Arc<TrafficCounters>,
    pub(crate) wear: Wear,
    pub(crate) movement: Movement,
}

impl Tunnel {
    pub(crate) fn new(spec: TunnelSpec, limits: Limits, traffic: Arc<TrafficCounters>) -> Result<Self, InstallError> {
        let opener = Opener::new(spec.suite, &spec.key_in.encryption, &spec.key_in.integrity)?;
        let sealer = Sealer::new(spec.suite, &spec.key_out.encryption, &spec.key_out.integrity)?;
        let tunnel = Self {
            session: spec.session,
            spi_in: spec.spi_in,
            inbound: InboundSa::new(spec.spi_in, opener, spec.esn, limits.replay_window),
            outbound: OutboundSa::new(spec.spi_out, sealer, spec.esn),
            path: spec.path,
            encapsulate: spec.encapsulate,
            gate: Arc::new(Gate::new(spec.role, spec.inner, spec.local, spec.remote)),
            mtu: spec.mtu,
            path_mtu: spec.path_mtu,
            outbound_ready: spec.outbound_ready,
            trial: if spec.outbound_ready { Trial::default() } else { Trial::begin(Uptime::now()) },
            traffic,
            wear: Wear::new(limits.worn_at, spec.esn),
            movement: Movement::default(),
        };
        match tunnel.mtu_on(tunnel.path, tunnel.encapsulate) {
            mtu if mtu < MIN_MTU => Err(InstallError::Mtu { mtu, path_mtu: tunnel.path_mtu }),
            _ => Ok(tunnel),
        }
    }

    /// Longest inner packet on this path. TCP has no limit of its own; a packet should fit a segment, and the client may go over to UDP.
    pub(crate) fn mtu_on(&self, path: Path, encapsulate: bool) -> usize {
        let encapsulation = Encapsulation { outer_is_v4: path.remote.is_ipv4(), udp: encapsulate || path.connection.is_some() };
        usize::from(self.mtu).min(self.outbound.overhead().inner_mtu(usize::from(self.path_mtu), encapsulation))
    }
}

/// Inner MTU for a suite and a path of `path_mtu` bytes.
pub fn inner_mtu(suite: Suite, path_mtu: u16, outer_is_v4: bool, encapsulate: bool) -> u16 {
    let encapsulation = Encapsulation { outer_is_v4, udp: encapsulate };
    // Not longer than the path's.
    Overhead::of(suite).inner_mtu(usize::from(path_mtu), encapsulation) as u16
}
