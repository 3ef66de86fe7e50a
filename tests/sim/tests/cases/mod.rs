mod additional;
mod amplification;
mod busy;
mod clients;
mod collisions;
mod configuration;
mod eap_only;
mod followups;
mod forgeries;
mod hostile;
mod limits;
mod login;
mod loss;
mod ppk;
mod recovery;
mod redirects;
mod rekeys;
mod sessions;
mod sstp;
mod suites;
mod table;
mod tcp;
mod watching;
mod windows;

use sim::{HostId, Sim, initiator, responder};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// A gateway and a client that has not dialled yet.
pub(crate) struct Pair {
    pub(crate) sim: Sim,
    pub(crate) gateway: HostId,
    pub(crate) client: HostId,
}

impl Pair {
    pub(crate) fn new(seed: u64, config: ike::ResponderConfig) -> Self {
        let mut sim = Sim::new(seed);
        let gateway = sim.add(&[GATEWAY], Some(config));
        let client = sim.add(&[CLIENT], None);
        Self { sim, gateway, client }
    }

    pub(crate) fn default() -> Self {
        Self::new(1, responder())
    }

    pub(crate) fn dial(&mut self, config: ike::InitiatorConfig) -> &mut Self {
        self.sim.connect(self.client, config);
        let (gateway, client) = (self.gateway, self.client);
        self.sim.run_until(Duration::from_secs(200), |sim| {
            let settled = |host: HostId| !sim.host(host).established().is_empty() || !sim.host(host).closed().is_empty();
            settled(gateway) && settled(client)
        });
        self
    }

    /// Dials with EAP and comes up.
    pub(crate) fn up() -> Self {
        let mut pair = Self::default();
        pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
        pair
    }

    /// As [`Pair::up`], with these settings.
    pub(crate) fn up_with(seed: u64, gateway: ike::ResponderConfig, client: ike::InitiatorConfig) -> Self {
        let mut pair = Self::new(seed, gateway);
        pair.dial(client).assert_up();
        pair
    }

    /// Time passes, and at every moment each side receives what the other sends.
    #[track_caller]
    pub(crate) fn carry(&mut self, time: Duration) {
        let (gateway, client) = (self.gateway, self.client);
        self.sim.run_until(time, |sim| {
            assert_carries(sim.host(gateway), sim.host(client));
            false
        });
    }

    pub(crate) fn session(&self, host: HostId) -> ike::SessionId {
        self.sim.host(host).established()[0]
    }

    pub(crate) fn gateway(&self) -> &sim::Host {
        self.sim.host(self.gateway)
    }

    pub(crate) fn client(&self) -> &sim::Host {
        self.sim.host(self.client)
    }

    /// Both sides are up, and every Child SA of one is that of the other with the same keys.
    #[track_caller]
    pub(crate) fn assert_up(&self) {
        assert_eq!(self.gateway().failure(), None);
        assert_eq!(self.client().failure(), None);
        assert_eq!(self.gateway().endpoint.sessions(), (0, 1), "{:?}", self.gateway().events);
        assert_eq!(self.client().endpoint.sessions(), (0, 1), "{:?}", self.client().events);
        assert_children(self.gateway(), self.client());
    }
}

/// Each side sends on a Child SA that the other receives on.
#[track_caller]
pub(crate) fn assert_carries(gateway: &sim::Host, client: &sim::Host) {
    for (sender, receiver) in [(gateway, client), (client, gateway)] {
        let spi_in = sender.outbound.values().next().expect("a Child SA to send on");
        let sending = &sender.children[spi_in];
        let receiving = receiver.children.get(&sending.spi_out).expect("the other side receives on it");
        assert_eq!(*sending.key_out.encryption, *receiving.key_in.encryption);
    }
}

/// Each side's sending Child SA is one that the other receives on, keyed alike.
#[track_caller]
pub(crate) fn assert_children(gateway: &sim::Host, client: &sim::Host) {
    assert_eq!(gateway.outbound.len(), 1, "the gateway sends on one child");
    assert_eq!(client.outbound.len(), 1, "the client sends on one child");
    for (sender, receiver) in [(gateway, client), (client, gateway)] {
        for spi_in in sender.outbound.values() {
            let sending = &sender.children[spi_in];
            let receiving = receiver.children.get(&sending.spi_out).expect("the other side receives on it");
            assert_eq!(*sending.key_out.encryption, *receiving.key_in.encryption);
            assert_eq!(*sending.key_out.integrity, *receiving.key_in.integrity);
            assert_eq!(sending.suite, receiving.suite);
            assert_eq!(sending.local, receiving.remote);
            assert_eq!(sending.encapsulate, receiving.encapsulate);
        }
    }
}
