//! Both sides want something at the same moment (RFC 7296 sections 2.8.1, 2.8.2, 2.25).
use super::{CLIENT, GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::dh::{Group, PrivateKey};
use ike::keys::{IkeKeys, Seed};
use ike::proposal::{SaPayload, offer_ike};
use ike::wire::{Delete, Exchange, Header, KeyExchange, Notify, Payload, Payloads, Spi, notify};
use ike::{CloseReason, Command, TrafficSelector};
use sim::{HostId, Script, Sim, Verdict, ciphers, initiator, responder};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Of Child SAs in rekeys; the third kind has two, and so has the IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    None,
    Pfs,
    Hybrid,
}

/// One run: what either side does, how much later the client does it, how slow their arithmetic is, what key exchange they have, and which datagram is
/// lost.
#[derive(Debug, Clone, Copy)]
struct Run {
    gateway: Command,
    client: Command,
    /// In ms; negative: the client is first.
    later: i64,
    slow: (u64, u64),
    keys: Keys,
    lost: Option<usize>,
}

impl Run {
    fn pair(self) -> Pair {
        let (mut config, mut client) = (responder(), initiator(CLIENT, GATEWAY));
        for ciphers in [&mut config.ciphers, &mut client.ciphers] {
            match self.keys {
                Keys::None => ciphers.pfs_groups.clear(),
                Keys::Pfs => {}
                Keys::Hybrid => ciphers.additional = vec![Group::MlKem768],
            }
        }
        Pair::up_with(1 + self.later.unsigned_abs() + self.slow.0, config, client)
    }

    fn play(self) -> Pair {
        let mut pair = self.pair();
        pair.sim.host_mut(pair.gateway).answers.crypto_delay = MS * self.slow.0 as u32;
        pair.sim.host_mut(pair.client).answers.crypto_delay = MS * self.slow.1 as u32;
        let mut left = self.lost;
        pair.sim.filter = Some(Box::new(move |_, _| match left {
            Some(0) => {
                left = None;
                Verdict::Drop
            }
            _ => {
                left = left.map(|left| left - 1);
                Verdict::Pass
            }
        }));
        let (gateway, client) = ((pair.gateway, self.gateway), (pair.client, self.client));
        let (first, second) = if self.later < 0 { (client, gateway) } else { (gateway, client) };
        let session = pair.session(first.0);
        pair.sim.command(first.0, session, first.1);
        pair.carry(MS * self.later.unsigned_abs() as u32);
        let session = pair.session(second.0);
        pair.sim.command(second.0, session, second.1);
        pair
    }
}

fn runs(gateway: Command, client: Command) -> impl Iterator<Item = Run> {
    let slow = [(0, 0), (15, 0), (4, 35)];
    let lost = || std::iter::once(None).chain((0..8).map(Some));
    [-25, -15, -5, 0, 5, 15, 25].into_iter().flat_map(move |later| {
        slow.into_iter().flat_map(move |slow| {
            [Keys::None, Keys::Pfs, Keys::Hybrid]
                .into_iter()
                .flat_map(move |keys| lost().map(move |lost| Run { gateway, client, later, slow, keys, lost }))
        })
    })
}

/// Whatever crosses what, packets pass all the time, and in the end there is one of each.
///
/// How often both sides noticed that they did the same.
#[track_caller]
fn converges(gateway: Command, client: Command, changed: impl Fn(&Pair) -> bool) -> usize {
    let mut noticed = 0;
    for run in runs(gateway, client) {
        let before = run.pair();
        let registered = (before.gateway().registered(), before.client().registered());
        let mut pair = run.play();
        pair.carry(Duration::from_secs(400));
        pair.assert_up();
        assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1), "{run:?}");
        assert_eq!((pair.gateway().registered(), pair.client().registered()), registered, "{run:?}");
        assert!(changed(&pair), "{run:?}");
        let notes = [pair.gateway().notes(), pair.client().notes()];
        noticed += usize::from(notes.iter().all(|notes| notes.contains("both sides rekeyed")));
    }
    noticed
}

fn rekeyed(pair: &Pair, ike: bool) -> bool {
    pair.gateway().rekeyed(ike) > 0 && pair.client().rekeyed(ike) > 0
}

#[test]
fn children() {
    let noticed = converges(Command::RekeyChild, Command::RekeyChild, |pair| rekeyed(pair, false));
    assert!(noticed > 50, "{noticed}");
}

#[test]
fn ike_sas() {
    let noticed = converges(Command::RekeyIke, Command::RekeyIke, |pair| rekeyed(pair, true));
    assert!(noticed > 50, "{noticed}");
}

#[test]
fn ike_sa_of_the_gateway_and_child_of_the_client() {
    converges(Command::RekeyIke, Command::RekeyChild, |pair| rekeyed(pair, true) && rekeyed(pair, false));
}

#[test]
fn child_of_the_gateway_and_ike_sa_of_the_client() {
    converges(Command::RekeyChild, Command::RekeyIke, |pair| rekeyed(pair, true) && rekeyed(pair, false));
}

/// One closes while the other rekeys: nothing is left of the session on either side.
#[test]
fn the_end() {
    let close = Command::Close(CloseReason::Operator);
    for rekey in [Command::RekeyChild, Command::RekeyIke] {
        for run in runs(close, rekey).chain(runs(rekey, close)) {
            if run.later.abs() > 15 || run.lost.is_some_and(|lost| lost > 4) {
                continue;
            }
            let mut pair = Run { later: 0, ..run }.pair();
            let (first, second) = ((pair.gateway, run.gateway), (pair.client, run.client));
            pair.sim.host_mut(pair.gateway).answers.crypto_delay = MS * run.slow.0 as u32;
            pair.sim.host_mut(pair.client).answers.crypto_delay = MS * run.slow.1 as u32;
            let order = if run.later < 0 { [second, first] } else { [first, second] };
            for (host, command) in order {
                let session = pair.session(host);
                pair.sim.command(host, session, command);
                pair.sim.run_for(MS * run.later.unsigned_abs() as u32);
            }
            pair.sim.run_for(Duration::from_secs(30));
            for host in [pair.gateway(), pair.client()] {
                assert_eq!(host.endpoint.sessions(), (0, 0), "{run:?}: {:?}", host.events);
                assert!(host.is_empty() && host.children.is_empty(), "{run:?}");
            }
        }
    }
}

/// A client by hand; its Child SA receives on 0x10000001.
struct World {
    sim: Sim,
    gateway: HostId,
    script: Script,
}

/// A nonce below, or above, every other.
fn nonce(lowest: bool) -> Payload {
    Payload::Nonce(if lowest { vec![0; 32] } else { vec![0xff; 32] })
}

fn any() -> Vec<TrafficSelector> {
    vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]
}

/// The offer with its first transform of each type: a choice.
fn chosen(mut offer: SaPayload) -> SaPayload {
    offer.proposals.truncate(1);
    let mut kinds = Vec::new();
    offer.proposals[0].transforms.retain(|transform| {
        let first = !kinds.contains(&transform.kind);
        kinds.push(transform.kind);
        first
    });
    offer
}

impl World {
    fn up() -> Self {
        let mut config = responder();
        config.ciphers.pfs_groups.clear();
        let Pair { mut sim, gateway, .. } = Pair::new(1, config);
        let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
        let mut script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
        script.login(&mut sim);
        Self { sim, gateway, script }
    }

    fn host(&self) -> &sim::Host {
        self.sim.host(self.gateway)
    }

    fn last(&self) -> Header {
        Header::parse(&self.host().sent.last().unwrap().1).unwrap()
    }

    /// Has the gateway rekey something; its request.
    fn command(&mut self, command: Command) -> (Header, Payloads) {
        let session = self.host().established()[0];
        self.sim.command(self.gateway, session, command);
        self.sim.run_for(MS);
        (self.last(), self.script.open(&self.host().sent.last().unwrap().1))
    }

    /// What the gateway sends upon this answer to its request.
    fn answer(&mut self, request: &Header, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let message = self.script.seal_as(request.exchange, true, request.message_id, payloads);
        self.script.send(&mut self.sim, message)
    }

    fn rekey_child(&mut self, lowest: bool) -> Payloads {
        let request = [
            Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0001)),
            Payload::Sa(self.script.esp(0x1000_0002, &[])),
            nonce(lowest),
            Payload::TsInitiator(any()),
            Payload::TsResponder(any()),
        ];
        self.script.exchange(&mut self.sim, Exchange::CreateChildSa, &request)
    }

    /// Inbound SPI of the gateway's child that sends to this SPI.
    fn child(&self, spi_out: u32) -> u32 {
        self.host().children.values().find(|child| child.spi_out == spi_out).unwrap().spi_in
    }

    fn sends_to(&self) -> u32 {
        let spi_in = self.host().outbound.values().next().unwrap();
        self.host().children[spi_in].spi_out
    }
}

/// Both rekey the child, both answer as usual. The side whose exchange has the lowest nonce deletes what it made, the other the old one.
#[test]
fn the_lowest_nonce_loses_children() {
    for ours_is_lowest in [false, true] {
        let mut world = World::up();
        let old = world.child(0x1000_0001);
        let (header, request) = world.command(Command::RekeyChild);
        let reply = world.rekey_child(!ours_is_lowest);
        assert!(reply.sa().is_some(), "answered as usual: {reply:?}");
        let theirs = world.child(0x1000_0002);
        assert_eq!(world.sends_to(), 0x1000_0001, "nobody has deleted the old one yet");
        let answer = [
            Payload::Sa(chosen(world.script.esp(0x1000_0003, &[]))),
            nonce(ours_is_lowest),
            Payload::TsInitiator(request.ts_initiator().unwrap().to_vec()),
            Payload::TsResponder(request.ts_responder().unwrap().to_vec()),
        ];
        let sent = world.answer(&header, &answer);
        let ours = world.child(0x1000_0003);
        let deletes: Vec<_> = world.script.open(&sent[0]).deletes().cloned().collect();
        let (deleted, peer_deletes, kept) =
            if ours_is_lowest { (ours, (0x1000_0001, old), 0x1000_0002) } else { (old, (0x1000_0002, theirs), 0x1000_0003) };
        assert_eq!(deletes, [Delete::Esp(vec![deleted])]);
        assert_eq!(world.sends_to(), if ours_is_lowest { 0x1000_0001 } else { 0x1000_0003 });
        let delete = world.last();
        world.answer(&delete, &[Script::delete(&[if ours_is_lowest { 0x1000_0003 } else { 0x1000_0001 }])]);
        let reply = world.script.exchange(&mut world.sim, Exchange::Informational, &[Script::delete(&[peer_deletes.0])]);
        assert_eq!(reply.deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![peer_deletes.1])]);
        assert_eq!(world.sends_to(), kept);
        world.sim.run_for(Duration::from_secs(6));
        let left: Vec<_> = world.host().children.values().map(|child| child.spi_out).collect();
        assert_eq!(left, [kept]);
    }
}

/// The answer to our half comes late: the peer's half, which stays, has been rekeyed again meanwhile, and its predecessors are gone.
#[test]
fn a_late_answer_to_a_lost_collision() {
    let mut world = World::up();
    let (header, request) = world.command(Command::RekeyChild);
    world.rekey_child(false);
    world.script.exchange(&mut world.sim, Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    let again = [
        Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0002)),
        Payload::Sa(world.script.esp(0x1000_0004, &[])),
        nonce(false),
        Payload::TsInitiator(any()),
        Payload::TsResponder(any()),
    ];
    assert!(world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &again).sa().is_some());
    world.script.exchange(&mut world.sim, Exchange::Informational, &[Script::delete(&[0x1000_0002])]);
    world.sim.run_for(Duration::from_secs(6));
    assert_eq!(world.sends_to(), 0x1000_0004);
    let answer = [
        Payload::Sa(chosen(world.script.esp(0x1000_0003, &[]))),
        nonce(true),
        Payload::TsInitiator(request.ts_initiator().unwrap().to_vec()),
        Payload::TsResponder(request.ts_responder().unwrap().to_vec()),
    ];
    let sent = world.answer(&header, &answer);
    let ours = world.child(0x1000_0003);
    assert_eq!(world.script.open(&sent[0]).deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![ours])]);
    assert_eq!(world.sends_to(), 0x1000_0004, "the youngest of the peer's");
    let delete = world.last();
    world.answer(&delete, &[Script::delete(&[0x1000_0003])]);
    world.sim.run_for(Duration::from_secs(6));
    assert_eq!(world.host().children.values().map(|child| child.spi_out).collect::<Vec<_>>(), [0x1000_0004]);
}

/// A peer that did not notice refuses our half, and its own stands (section 2.8.1).
#[test]
fn a_peer_that_does_not_notice() {
    for (kind, old_deleted) in [(notify::CHILD_SA_NOT_FOUND, true), (notify::CHILD_SA_NOT_FOUND, false), (notify::TEMPORARY_FAILURE, false)]
    {
        let mut world = World::up();
        let (header, _) = world.command(Command::RekeyChild);
        world.rekey_child(true);
        let delete = [Script::delete(&[0x1000_0001])];
        if old_deleted {
            world.script.exchange(&mut world.sim, Exchange::Informational, &delete);
        }
        let sent = world.answer(&header, &[Payload::Notify(Notify::new(kind, []))]);
        assert!(sent.is_empty());
        if !old_deleted {
            world.script.exchange(&mut world.sim, Exchange::Informational, &delete);
        }
        world.sim.run_for(Duration::from_secs(20));
        let left: Vec<_> = world.host().children.values().map(|child| child.spi_out).collect();
        assert_eq!((left, world.sends_to()), (vec![0x1000_0002], 0x1000_0002));
    }
}

/// The gateway's side of a Child SA that it is deleting is not rekeyed any more (section 2.25.1).
#[test]
fn a_rekey_of_a_child_that_is_being_deleted() {
    let mut world = World::up();
    let (header, request) = world.command(Command::RekeyChild);
    let answer = [
        Payload::Sa(chosen(world.script.esp(0x1000_0003, &[]))),
        nonce(true),
        Payload::TsInitiator(request.ts_initiator().unwrap().to_vec()),
        Payload::TsResponder(request.ts_responder().unwrap().to_vec()),
    ];
    world.answer(&header, &answer);
    let reply = world.rekey_child(false);
    assert_eq!(Script::notify(&reply), Some(notify::TEMPORARY_FAILURE), "its DELETE is on its way");
    let delete = world.last();
    let crossing = world.script.exchange(&mut world.sim, Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    assert_eq!(crossing.deletes().count(), 0, "not named twice (section 1.4.1)");
    world.answer(&delete, &[]);
    let reply = world.rekey_child(false);
    assert_eq!(Script::notify(&reply), Some(notify::CHILD_SA_NOT_FOUND));
}

/// What either half of a collision of IKE SA rekeys makes, as the client by hand computes it.
struct Halves {
    /// SPIi, SPIr, keys: of the client's exchange and of the gateway's.
    client: (Spi, Spi, IkeKeys),
    gateway: (Spi, Spi, IkeKeys),
    /// What the gateway sent when both were there.
    sent: Vec<Vec<u8>>,
}

fn collide_ike(world: &mut World, ours_is_lowest: bool) -> Halves {
    let (header, request) = world.command(Command::RekeyIke);
    let old = world.script.keys.clone().unwrap();
    let spi_of = |payloads: &Payloads| Spi(u64::from_be_bytes(payloads.sa().unwrap().proposals[0].spi.clone().try_into().unwrap()));
    let pair = |seed| PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(seed));
    let payloads = |spi, lowest, public| {
        [Payload::Sa(offer_ike(&ciphers(), Some(spi))), nonce(lowest), Payload::KeyExchange(KeyExchange { group: 31, public })]
    };
    let own = |lowest: bool| if lowest { [0; 32] } else { [0xff; 32] };
    let (private, public) = pair(5);
    let reply = world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &payloads(Spi(0x99), !ours_is_lowest, public));
    let secret = private.agree(&reply.key_exchange().expect("answered as usual").public).unwrap();
    let (spi_i, spi_r) = (Spi(0x99), spi_of(&reply));
    let seed = Seed { shared_secret: &secret, nonce_i: &own(!ours_is_lowest), nonce_r: reply.nonce().unwrap(), spi_i, spi_r };
    let client = (spi_i, spi_r, old.rekey(old.suite, seed));
    let (private, public) = pair(6);
    let secret = private.agree(&request.key_exchange().unwrap().public).unwrap();
    let (spi_i, spi_r) = (spi_of(&request), Spi(0x77));
    let nonce_r = own(ours_is_lowest);
    let seed = Seed { shared_secret: &secret, nonce_i: request.nonce().unwrap(), nonce_r: &nonce_r, spi_i, spi_r };
    let gateway = (spi_i, spi_r, old.rekey(old.suite, seed));
    let sent = world.answer(&header, &payloads(Spi(0x77), ours_is_lowest, public));
    Halves { client, gateway, sent }
}

/// The client's half has won and it deletes the old IKE SA, before the gateway has the keys of its own half, which is the gateway's to delete.
#[test]
fn the_old_ike_sa_goes_before_the_halves_are_complete() {
    let mut world = World::up();
    let (header, request) = world.command(Command::RekeyIke);
    let old = (world.script.spi_i, world.script.spi_r, world.script.keys.clone().unwrap());
    let payloads = |spi, lowest, public| {
        [Payload::Sa(offer_ike(&ciphers(), Some(spi))), nonce(lowest), Payload::KeyExchange(KeyExchange { group: 31, public })]
    };
    let (_, public) = PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(5));
    let first = payloads(Spi(0x99), false, public);
    world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &first);
    world.sim.host_mut(world.gateway).answers.crypto_delay = Duration::from_secs(2);
    let (private, public) = PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(6));
    world.answer(&header, &payloads(Spi(0x77), true, public));
    world.script.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(world.host().endpoint.sessions(), (0, 1));
    let sent = world.host().sent.len();
    world.sim.run_for(Duration::from_secs(2));
    let secret = private.agree(&request.key_exchange().unwrap().public).unwrap();
    let spi_i = Spi(u64::from_be_bytes(request.sa().unwrap().proposals[0].spi.clone().try_into().unwrap()));
    let nonce_i = request.nonce().unwrap();
    let seed = Seed { shared_secret: &secret, nonce_i, nonce_r: &[0; 32], spi_i, spi_r: Spi(0x77) };
    let message = world.host().sent[sent].1.clone();
    take(&mut world.script, &(spi_i, Spi(0x77), old.2.rekey(old.2.suite, seed)), false);
    assert_eq!(world.script.open(&message).deletes().cloned().collect::<Vec<_>>(), [Delete::Ike]);
    assert_eq!((world.host().rekeyed(true), world.host().endpoint.sessions()), (1, (0, 1)));
}

fn take(script: &mut Script, half: &(Spi, Spi, IkeKeys), initiator: bool) {
    (script.spi_i, script.spi_r, script.next_id) = (half.0, half.1, 0);
    script.take_keys(half.2.clone(), initiator);
}

#[test]
fn the_lowest_nonce_loses_ike_sas() {
    for ours_is_lowest in [false, true] {
        let mut world = World::up();
        let old = (world.script.spi_i, world.script.spi_r, world.script.keys.clone().unwrap());
        let Halves { client, gateway, sent } = collide_ike(&mut world, ours_is_lowest);
        let header = Header::parse(&sent[0]).unwrap();
        let (deleted, kept) = if ours_is_lowest { (&gateway, &client) } else { (&old, &gateway) };
        assert_eq!((header.initiator_spi, header.responder_spi), (deleted.0, deleted.1));
        take(&mut world.script, deleted, !ours_is_lowest);
        let delete = world.script.open(&sent[0]);
        assert_eq!(delete.deletes().cloned().collect::<Vec<_>>(), [Delete::Ike]);
        world.answer(&header, &[]);
        // The client deletes its part: the old one, or its own new one.
        let (rest, id) = if ours_is_lowest { (&old, 6) } else { (&client, 0) };
        take(&mut world.script, rest, true);
        world.script.next_id = id;
        let reply = world.script.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        assert_eq!(reply.iter().count(), 0);
        assert_eq!(world.host().endpoint.sessions(), (0, 1), "the session goes on");
        take(&mut world.script, kept, ours_is_lowest);
        assert_eq!(world.script.liveness(&mut world.sim).iter().count(), 0, "on the one that stays");
        assert_eq!(world.host().children.len(), 1, "with its child");
        let reply = world.rekey_child(true);
        assert!(reply.sa().is_some());
    }
}

/// The client has not seen our request: it deletes the old IKE SA, or just uses its own.
#[test]
fn a_peer_that_does_not_notice_and_goes_on() {
    for deletes in [false, true] {
        let mut world = World::up();
        world.command(Command::RekeyIke);
        let old = world.script.keys.clone().unwrap();
        let (private, public) = PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(5));
        let request =
            [Payload::Sa(offer_ike(&ciphers(), Some(Spi(0x99)))), nonce(true), Payload::KeyExchange(KeyExchange { group: 31, public })];
        let reply = world.script.exchange(&mut world.sim, Exchange::CreateChildSa, &request);
        let spi_r = Spi(u64::from_be_bytes(reply.sa().unwrap().proposals[0].spi.clone().try_into().unwrap()));
        if deletes {
            world.script.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        }
        let secret = private.agree(&reply.key_exchange().unwrap().public).unwrap();
        let seed = Seed { shared_secret: &secret, nonce_i: &[0; 32], nonce_r: reply.nonce().unwrap(), spi_i: Spi(0x99), spi_r };
        let keys = old.rekey(old.suite, seed);
        take(&mut world.script, &(Spi(0x99), spi_r, keys), true);
        assert_eq!(world.script.liveness(&mut world.sim).iter().count(), 0);
        assert_eq!(world.host().rekeyed(true), 1);
        assert!(world.rekey_child(true).sa().is_some());
        assert_eq!(world.host().endpoint.sessions(), (0, 1));
    }
}
