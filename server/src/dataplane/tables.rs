//! What a packet thread knows: tunnels by SPI, sessions by inner address. Indexes, not searches.
use super::Command;
use super::tunnel::{Role, Tunnel};
use ike::Path;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// SPIs are our own random numbers: hashing them again adds nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SpiHasher(u64);

impl Hasher for SpiHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }
    fn write_u32(&mut self, spi: u32) {
        self.0 = u64::from(spi).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type BySpi<T> = HashMap<u32, T, BuildHasherDefault<SpiHasher>>;

/// A session as a thread sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// All its tunnels; several during a rekey.
    tunnels: Vec<Arc<Tunnel>>,
    /// The one that sends.
    pub outbound: Option<Arc<Tunnel>>,
    pub path: Path,
    pub encapsulate: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_spi: BySpi<Arc<Tunnel>>,
    peers: HashMap<u64, Peer>,
    leases: HashMap<IpAddr, u64>,
    /// Client role: the session that takes everything.
    default: Option<u64>,
}

impl Tables {
    pub(crate) fn tunnel(&self, spi: u32) -> Option<&Arc<Tunnel>> {
        self.by_spi.get(&spi)
    }

    /// The session that a packet for `destination` belongs to.
    pub(crate) fn peer_for(&self, destination: IpAddr) -> Option<&Peer> {
        let session = self.leases.get(&destination).or(self.default.as_ref())?;
        self.peers.get(session)
    }

    /// Carries out an order; false for [`Command::Stop`].
    pub(crate) fn apply(&mut self, command: Command) -> bool {
        match command {
            Command::Install(tunnel) => self.install(tunnel),
            Command::UseOutbound { session, spi_in } => self.use_outbound(session, spi_in),
            Command::Remove { session, spi_in } => self.remove(session, spi_in),
            Command::Repath { session, path, encapsulate } => {
                if let Some(peer) = self.peers.get_mut(&session) {
                    (peer.path, peer.encapsulate) = (path, encapsulate);
                }
            }
            Command::Stop => return false,
        }
        true
    }

    fn install(&mut self, tunnel: Arc<Tunnel>) {
        self.by_spi.insert(tunnel.spi_in, tunnel.clone());
        match tunnel.role {
            Role::Gateway => tunnel.inner.iter().for_each(|&address| drop(self.leases.insert(address, tunnel.session))),
            Role::Client => self.default = Some(tunnel.session),
        }
        let (path, encapsulate) = (tunnel.path, tunnel.encapsulate);
        let peer = self.peers.entry(tunnel.session).or_insert_with(|| Peer { tunnels: Vec::new(), outbound: None, path, encapsulate });
        if tunnel.outbound_ready || peer.outbound.is_none() {
            peer.outbound = Some(tunnel.clone());
        }
        peer.tunnels.push(tunnel);
    }

    fn use_outbound(&mut self, session: u64, spi_in: u32) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if let Some(tunnel) = peer.tunnels.iter().find(|tunnel| tunnel.spi_in == spi_in) {
            peer.outbound = Some(tunnel.clone());
        }
    }

    fn remove(&mut self, session: u64, spi_in: u32) {
        self.by_spi.remove(&spi_in);
        let Some(peer) = self.peers.get_mut(&session) else { return };
        peer.tunnels.retain(|tunnel| tunnel.spi_in != spi_in);
        if peer.outbound.as_ref().is_some_and(|tunnel| tunnel.spi_in == spi_in) {
            peer.outbound = peer.tunnels.last().cloned();
        }
        if peer.tunnels.is_empty() {
            self.peers.remove(&session);
            self.leases.retain(|_, of| *of != session);
            self.default = self.default.filter(|&of| of != session);
        }
    }
}
