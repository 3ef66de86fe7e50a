//! Clients as they are in the field: what Windows does and what goes wrong with it, Apple's and Android's habits, crowds, fragments.
mod crowd;
mod fragments;
mod mobility;
mod others;
mod resting;
mod silence;
mod traps;
mod wire;

use super::GATEWAY;
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::wire::{Header, Notify, Payload, Payloads, notify};
use ike::{CloseReason, ResponderConfig, nat};
use sim::clients::{Client, InSim, Profile};
use sim::{Host, HostId, Sim, responder};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// Everything that some client of the field needs, the best first; the rest only under a named policy.
fn lenient() -> ResponderConfig {
    let mut config = responder();
    let cbc = |encryption, integrity| Suite::new(encryption, Some(integrity)).unwrap();
    let gcm = |encryption| Suite::new(encryption, None).unwrap();
    let all = vec![
        gcm(Encryption::AesGcm256),
        gcm(Encryption::AesGcm128),
        cbc(Encryption::AesCbc256, Integrity::HmacSha256_128),
        cbc(Encryption::AesCbc256, Integrity::HmacSha1_96),
    ];
    let groups = vec![Group::Curve25519, Group::EcpP384, Group::EcpP256, Group::Modp2048, Group::Modp1024];
    (config.ciphers.ike, config.ciphers.esp) = (all.clone(), all);
    config.ciphers.prfs = vec![Prf::HmacSha384, Prf::HmacSha256, Prf::HmacSha1];
    (config.ciphers.pfs_groups, config.ciphers.groups) = (groups.clone(), groups);
    config.timers.liveness_interval = Duration::ZERO;
    config
}

struct World {
    sim: Sim,
    gateway: HostId,
}

impl World {
    fn new(config: ResponderConfig) -> Self {
        let mut sim = Sim::new(1);
        let gateway = sim.add(&[GATEWAY], Some(config));
        Self { sim, gateway }
    }

    fn lenient() -> Self {
        Self::new(lenient())
    }

    fn host(&self) -> &Host {
        self.sim.host(self.gateway)
    }

    /// A device behind the NAT at [`OUTSIDE`].
    fn client(&self, profile: Profile, number: u16) -> Client {
        Client::new(profile, OUTSIDE, GATEWAY, number)
    }

    /// One that is up.
    #[track_caller]
    fn up(&mut self, profile: Profile, number: u16) -> Client {
        let mut client = self.client(profile, number);
        self.assert_login(&mut client);
        client
    }

    #[track_caller]
    fn assert_login(&mut self, client: &mut Client) {
        let answer = client.login(&mut self.sim);
        assert!(answer.sa().is_some(), "{answer:?} {:?}", self.host().failure());
        client.assert_first_child(&self.sim);
    }

    #[track_caller]
    fn assert_alive(&mut self, client: &mut Client) {
        assert_eq!(count(&client.liveness(&mut self.sim)), 0);
    }

    fn reasons(&self) -> Vec<CloseReason> {
        self.host().closed().into_iter().map(|(_, reason, _)| reason).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.sim.run_for(Duration::from_secs(seconds));
    }
}

/// UPDATE_SA_ADDRESSES of a device behind its NAT.
fn update(client: &Client) -> Vec<Payload> {
    let mut update =
        vec![Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, [])), Payload::Notify(Notify::new(notify::COOKIE2, vec![9; 32]))];
    let seen_by_client = ike::Path { local: SocketAddr::new(client.inside, 4500), ..client.path };
    update.extend(nat::detection_notifies(client.spi_i, client.spi_r, seen_by_client, false).map(Payload::Notify));
    update
}

/// Answers what the gateway asks now, with the COOKIE2 that it may hold.
fn attend(world: &mut World, client: &mut Client) -> usize {
    let requests: Vec<(Header, Payloads)> = client.requests(&mut world.sim);
    for (header, payloads) in &requests {
        let cookie = payloads.notify(notify::COOKIE2).cloned().map(Payload::Notify);
        client.answer(&mut world.sim, header, cookie.as_slice());
    }
    requests.len()
}

fn count(payloads: &Payloads) -> usize {
    payloads.iter().count()
}
