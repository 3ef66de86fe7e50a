//! Clients by hand in the simulation, and a look at what the gateway holds of them.
pub use ikev2_client::{Client, Maker, Profile, Rekeyed, Wire, everything};

use crate::{Host, Sim};
use ike::{ChildSa, Path};
use std::time::Duration;

impl Wire for Sim {
    /// What the gateway sends within 50 ms.
    fn round(&mut self, path: Path, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut mark = self.gateway(path).sent.len();
        datagrams.into_iter().for_each(|datagram| self.inject(path, datagram));
        self.run_for(Duration::from_millis(50));
        self.heard(path, &mut mark)
    }

    fn heard(&mut self, path: Path, mark: &mut usize) -> Vec<Vec<u8>> {
        let sent = &self.gateway(path).sent;
        let here = sent[*mark..].iter().filter(|(of_gateway, _)| of_gateway.remote == path.local);
        let heard = here.map(|(_, message)| message.clone()).collect();
        *mark = sent.len();
        heard
    }
}

impl Sim {
    /// Whom this client talks to.
    fn gateway(&self, path: Path) -> &Host {
        self.hosts.iter().find(|host| host.has(path.remote.ip())).expect("a host with this address")
    }
}

/// The gateway's view of a client.
pub trait InSim {
    /// Both sides have the same keys for the Child SA that a rekey made.
    fn assert_child(&self, sim: &Sim, rekeyed: &Rekeyed);

    /// Both sides have the same keys for the Child SA of IKE_AUTH.
    fn assert_first_child(&self, sim: &Sim);

    /// The gateway's half of the client's Child SA.
    fn child<'a>(&self, sim: &'a Sim) -> &'a ChildSa;
}

impl InSim for Client {
    #[track_caller]
    fn assert_child(&self, sim: &Sim, rekeyed: &Rekeyed) {
        let nonce_r = rekeyed.answer.nonce().expect("a nonce");
        assert_keys(self, sim, rekeyed.secret.as_ref().map(|secret| secret.as_slice()), (&rekeyed.nonce_i, nonce_r));
    }

    #[track_caller]
    fn assert_first_child(&self, sim: &Sim) {
        assert_keys(self, sim, None, (&self.nonce_i, &self.nonce_r));
    }

    #[track_caller]
    fn child<'a>(&self, sim: &'a Sim) -> &'a ChildSa {
        let mut children = sim.gateway(self.path).children.values();
        children.find(|child| child.spi_out == self.spi_in).expect("the gateway has the Child SA")
    }
}

#[track_caller]
fn assert_keys(client: &Client, sim: &Sim, secret: Option<&[u8]>, nonces: (&[u8], &[u8])) {
    let child = client.child(sim);
    let keys = client.keys.as_ref().expect("keys").child(child.suite.protection, secret, nonces.0, nonces.1);
    assert_eq!(*child.key_in.encryption, *keys.initiator.encryption);
    assert_eq!(*child.key_out.encryption, *keys.responder.encryption);
    assert_eq!(*child.key_in.integrity, *keys.initiator.integrity);
}
