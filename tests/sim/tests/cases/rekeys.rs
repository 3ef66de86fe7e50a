//! Rekeys that the gateway begins: by age, by use, with and without a key exchange, and what becomes of refusals.
use super::{CLIENT, GATEWAY, Pair};
use crypto::dh::Group;
use ike::wire::{Delete, Exchange, Header, KeyExchange, Notify, Payload, Payloads, notify, vendor};
use ike::{Command, InitiatorConfig, Input, ResponderConfig, Timers};
use sim::{HostId, Script, Sim, ciphers, initiator, responder, timers};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn ageing(mut config: ResponderConfig) -> ResponderConfig {
    let Timers { ike_rekey, child_rekey, .. } = Timers::default();
    config.timers = Timers { ike_rekey, child_rekey, ..timers() };
    config
}

fn ageing_client() -> InitiatorConfig {
    let timers = ageing(responder()).timers;
    InitiatorConfig { timers, ..initiator(CLIENT, GATEWAY) }
}

#[test]
fn a_day_with_a_client_that_never_rekeys() {
    let mut pair = Pair::up_with(1, ageing(responder()), initiator(CLIENT, GATEWAY));
    pair.carry(24 * HOUR);
    pair.assert_up();
    assert_eq!(pair.gateway().children.len(), 1);
    let (ike, child) = (pair.client().rekeyed(true), pair.client().rekeyed(false));
    assert!((3..=4).contains(&ike), "every 6 h to 6 h 30 min: {ike}");
    assert!((24..=26).contains(&child), "every 54 to 60 min: {child}");
}

/// The sides agree on everything, even on when it is time.
#[test]
fn a_day_with_rekeys_from_both_sides() {
    for seed in 0..5 {
        let mut pair = Pair::up_with(seed, ageing(responder()), ageing_client());
        pair.carry(24 * HOUR);
        pair.assert_up();
        assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1));
        assert!(pair.client().rekeyed(true) >= 3 && pair.client().rekeyed(false) >= 24);
    }
}

/// Nobody knows whether the client wants a key exchange: the gateway offers both.
#[test]
fn with_a_key_exchange_where_the_client_has_one() {
    for (groups, expected) in [(vec![Group::Curve25519], 1), (vec![Group::EcpP256], 0), (vec![], 0)] {
        let mut client = initiator(CLIENT, GATEWAY);
        client.ciphers.pfs_groups = groups;
        let mut pair = Pair::up_with(1, responder(), client);
        for round in 1..=2 {
            let before = pair.client().answers.key_exchanges;
            let session = pair.session(pair.gateway);
            pair.sim.command(pair.gateway, session, Command::RekeyChild);
            pair.carry(Duration::from_secs(10));
            assert_eq!(pair.gateway().rekeyed(false), round);
            assert_eq!(pair.client().answers.key_exchanges - before, expected, "and so in the next round");
        }
        pair.assert_up();
    }
}

#[test]
fn worn_out_children_are_rekeyed_once() {
    let mut pair = Pair::up();
    let session = pair.session(pair.gateway);
    let old = *pair.gateway().children.keys().next().unwrap();
    for _ in 0..10 {
        pair.sim.input(pair.gateway, Input::Worn { session, spi_in: old });
        pair.carry(Duration::from_millis(5));
    }
    pair.carry(Duration::from_secs(10));
    assert_eq!(pair.client().rekeyed(false), 1);
    pair.sim.input(pair.gateway, Input::Worn { session, spi_in: old });
    pair.carry(Duration::from_secs(10));
    assert_eq!(pair.client().rekeyed(false), 1, "that one is gone");
    pair.assert_up();
}

/// A client by hand that is up.
struct World {
    sim: Sim,
    gateway: HostId,
    script: Script,
}

impl World {
    fn up(config: ResponderConfig, windows: bool) -> Self {
        let Pair { mut sim, gateway, .. } = Pair::new(1, config);
        let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
        let mut script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
        if windows {
            script.extra.push(Payload::Vendor(vendor::MS_NT5_V9.to_vec()));
        }
        script.login(&mut sim);
        Self { sim, gateway, script }
    }

    fn host(&self) -> &sim::Host {
        self.sim.host(self.gateway)
    }

    /// Time passes, until the gateway sends a request; how long, and what it is.
    fn until_asked(&mut self, limit: Duration) -> Option<(Duration, Header, Payloads)> {
        let (start, before, gateway) = (self.sim.elapsed(), self.host().sent.len(), self.gateway);
        if !self.sim.run_until(limit, |sim| sim.host(gateway).sent.len() > before) {
            return None;
        }
        let message = &self.host().sent[before].1;
        let header = Header::parse(message).unwrap();
        Some((self.sim.elapsed() - start, header, self.script.open(message)))
    }

    fn answer(&mut self, request: &Header, payloads: &[Payload]) {
        let message = self.script.seal_as(request.exchange, true, request.message_id, payloads);
        self.script.send(&mut self.sim, message);
    }

    fn refuse(&mut self, request: &Header, kind: u16, data: &[u8]) {
        self.answer(request, &[Payload::Notify(Notify::new(kind, data.to_vec()))]);
    }

    fn rekey_child(&mut self) -> (Header, Payloads) {
        let session = self.host().established()[0];
        let before = self.host().sent.len();
        self.sim.command(self.gateway, session, Command::RekeyChild);
        self.sim.run_for(Duration::from_millis(50));
        let message = &self.host().sent[before].1;
        (Header::parse(message).unwrap(), self.script.open(message))
    }
}

/// No liveness in between, and rekeys as by default.
fn quiet() -> ResponderConfig {
    let mut config = ageing(responder());
    config.timers.liveness_interval = Duration::ZERO;
    config
}

#[test]
fn what_the_gateway_offers() {
    let mut world = World::up(quiet(), false);
    let (after, header, request) = world.until_asked(2 * HOUR).unwrap();
    assert!((54 * MINUTE..=60 * MINUTE).contains(&after), "{after:?}");
    assert_eq!(header.exchange, Exchange::CreateChildSa);
    let ours = world.host().children.values().next().unwrap();
    assert_eq!(request.notify(notify::REKEY_SA).unwrap().esp_spi(), Some(ours.spi_in));
    assert_eq!((request.ts_initiator().unwrap(), request.ts_responder().unwrap()), (&ours.local[..], &ours.remote[..]));
    assert_eq!(request.key_exchange().unwrap().group, 31);
    let offered = request.sa().unwrap().texts();
    assert_eq!(offered, ["AES_GCM_16_256/CURVE_25519/ESN|NO_ESN", "AES_GCM_16_256/ESN|NO_ESN"]);
}

#[test]
fn another_group_for_a_child_is_tried_once() {
    let mut config = responder();
    config.ciphers.pfs_groups = vec![Group::Curve25519, Group::EcpP256];
    let mut world = World::up(config, false);
    let (header, request) = world.rekey_child();
    let offered = request.sa().unwrap().texts();
    assert_eq!(offered, ["AES_GCM_16_256/CURVE_25519|ECP_256/ESN|NO_ESN", "AES_GCM_16_256/ESN|NO_ESN"]);
    world.refuse(&header, notify::INVALID_KE_PAYLOAD, &[0, 19]);
    let message = &world.host().sent.last().unwrap().1;
    let (header, request) = (Header::parse(message).unwrap(), world.script.open(message));
    assert_eq!((request.key_exchange().unwrap().group, request.sa().unwrap().proposals.len()), (19, 1));
    let before = world.host().sent.len();
    world.refuse(&header, notify::INVALID_KE_PAYLOAD, &[0, 31]);
    assert_eq!(world.host().sent.len(), before, "no game of ping-pong");
    assert_eq!(world.host().children.len(), 1);
}

#[test]
fn a_refused_rekey_is_tried_again_after_a_tenth_of_the_age() {
    let mut world = World::up(quiet(), false);
    let (_, header, _) = world.until_asked(2 * HOUR).unwrap();
    world.refuse(&header, notify::NO_PROPOSAL_CHOSEN, &[]);
    let (after, header, _) = world.until_asked(HOUR).unwrap();
    assert!((5 * MINUTE..=6 * MINUTE).contains(&after), "{after:?}");
    world.refuse(&header, notify::TEMPORARY_FAILURE, &[]);
    let (after, header, _) = world.until_asked(HOUR).unwrap();
    assert!((4..=10).contains(&after.as_secs()), "{after:?}");
    world.refuse(&header, notify::CHILD_SA_NOT_FOUND, &[]);
    assert!(world.host().children.is_empty(), "the client says that there is none");
    assert_eq!(world.host().endpoint.sessions(), (0, 1));
}

/// Windows: no rekey of a Child SA by the gateway, but a DELETE where Windows has not done it itself; the IKE SA with what is in use.
#[test]
fn windows_by_the_clock() {
    let mut world = World::up(quiet(), true);
    let ours = *world.host().children.keys().next().unwrap();
    let (after, header, request) = world.until_asked(2 * HOUR).unwrap();
    assert!((66 * MINUTE - Duration::from_secs(1)..=66 * MINUTE).contains(&after), "{after:?}");
    assert_eq!(request.deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![ours])]);
    let theirs = Script::delete(&[0x1000_0001]);
    world.answer(&header, &[theirs]);
    let esp = world.script.esp(0x1000_0002, &[]);
    let any = || vec![ike::TrafficSelector::any_ipv4(), ike::TrafficSelector::any_ipv6()];
    let wish = [Payload::Sa(esp), Payload::Nonce(vec![3; 32]), Payload::TsInitiator(any()), Payload::TsResponder(any())];
    let answer = world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &wish);
    assert!(answer.sa().is_some(), "Windows makes a new one at once");
    // From here on Windows rekeys its child before the gateway would.
    for round in 3..7 {
        assert!(world.until_asked(57 * MINUTE).is_none(), "round {round}");
        let rekey = [
            Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0000 + round - 1)),
            Payload::Sa(world.script.esp(0x1000_0000 + round, &[])),
            Payload::Nonce(vec![3; 32]),
            Payload::TsInitiator(any()),
            Payload::TsResponder(any()),
        ];
        assert!(world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &rekey).sa().is_some(), "round {round}");
        world.script.exchange(&mut world.sim, Exchange::Informational, &[Script::delete(&[0x1000_0000 + round - 1])]);
    }
}

#[test]
fn the_ike_sa_of_windows_is_rekeyed_in_time_and_in_kind() {
    let mut config = quiet();
    config.timers.child_rekey = Duration::ZERO;
    config.ciphers.groups = vec![Group::EcpP384, Group::Curve25519];
    let mut world = World::up(config, true);
    let (after, _, request) = world.until_asked(8 * HOUR).unwrap();
    assert!((6 * HOUR - 5 * MINUTE..=6 * HOUR + 30 * MINUTE).contains(&after), "before 7 h 36 min: {after:?}");
    assert_eq!(request.sa().unwrap().texts(), ["AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519"], "what is in use, nothing else");
    assert_eq!(request.key_exchange().unwrap().group, 31);
}

/// Selectors wider than before in the client's rekey, narrower ones in the gateway's grant: the original ones stay (RFC 7296 section 2.9.2).
#[test]
fn wide_selectors_in_a_rekey_are_answered_with_the_original_ones() {
    let mut pair = Pair::default();
    let network = ike::TrafficSelector::network(Ipv4Addr::new(10, 1, 0, 0).into(), 16);
    pair.sim.host_mut(pair.gateway).answers.grant.selectors = vec![network];
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    for host in [pair.client, pair.gateway] {
        let session = pair.session(host);
        pair.sim.command(host, session, Command::RekeyChild);
        pair.carry(Duration::from_secs(10));
        pair.assert_up();
        let child = pair.gateway().children.values().next().unwrap();
        assert_eq!((&child.local[..], child.remote.len()), (&[network][..], 1));
    }
}

/// A KE payload in the answer to an offer without one is not what was agreed, and changes nothing.
#[test]
fn a_key_exchange_that_nobody_asked_for() {
    let mut config = responder();
    config.ciphers.pfs_groups = Vec::new();
    let mut world = World::up(config, false);
    let (header, request) = world.rekey_child();
    assert!(request.key_exchange().is_none());
    let any = |selectors: &[ike::TrafficSelector]| selectors.to_vec();
    let answer = [
        Payload::Sa(world.script.esp(0x1000_0002, &[])),
        Payload::Nonce(vec![3; 32]),
        Payload::KeyExchange(KeyExchange { group: 31, public: vec![9; 32] }),
        Payload::TsInitiator(any(request.ts_initiator().unwrap())),
        Payload::TsResponder(any(request.ts_responder().unwrap())),
    ];
    world.answer(&header, &answer);
    // Both ESN transforms at once are no choice.
    assert_eq!(world.host().rekeyed(false), 0);
    assert!(world.host().notes().contains("rekey failed"), "{}", world.host().notes());
    assert_eq!(world.host().children.len(), 1);
}
