//! One additional key exchange, ML-KEM, in IKE_INTERMEDIATE (RFC 9242, RFC 9370).
use super::{CLIENT, GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::dh::{Group, PrivateKey};
use ike::keys::Seed;
use ike::proposal::{SaPayload, Transform, offer_ike};
use ike::wire::{Delete, Exchange, Header, KeyExchange, Notify, Payload, Payloads, Spi, notify};
use ike::{Command, Event, InitiatorAuth, InitiatorConfig, ResponderConfig, TrafficSelector};
use sim::{Faults, HostId, KeyKind, Script, Sim, Verdict, ciphers, client_credential, initiator, responder};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

fn gateway(additional: &[Group]) -> ResponderConfig {
    let mut config = responder();
    config.ciphers.additional = additional.to_vec();
    config
}

fn client(additional: &[Group]) -> InitiatorConfig {
    let mut config = initiator(CLIENT, GATEWAY);
    config.ciphers.additional = additional.to_vec();
    config
}

fn accepted(pair: &Pair) -> String {
    let accepted = pair.gateway().events.iter().find_map(|(_, event)| match event {
        Event::IkeProposals { accepted, .. } => accepted.clone(),
        _ => None,
    });
    accepted.unwrap()
}

fn intermediates(pair: &Pair) -> usize {
    let exchange = |(_, message): &&(_, Vec<u8>)| Header::parse(message).unwrap().exchange == Exchange::IkeIntermediate;
    pair.client().sent.iter().filter(exchange).count()
}

#[test]
fn chosen_where_both_have_it() {
    let (small, large) = (Group::MlKem768, Group::MlKem1024);
    let cases: [(&[Group], &[Group], &str); 6] = [
        (&[small], &[small], "/ADDKE1=ML_KEM_768"),
        (&[large, small], &[small, large], "/ADDKE1=ML_KEM_1024"),
        (&[small, large], &[large], "/ADDKE1=ML_KEM_1024"),
        (&[], &[small], "/ADDKE1=NONE"),
        (&[large], &[small], "/ADDKE1=NONE"),
        (&[small], &[], "CURVE_25519"),
    ];
    for (ours, theirs, expected) in cases {
        let certificate = InitiatorAuth::Certificate(client_credential(KeyKind::P256, "pc1.example.test"));
        for auth in [InitiatorAuth::Eap, certificate] {
            let mut pair = Pair::up_with(1, gateway(ours), InitiatorConfig { auth, ..client(theirs) });
            assert!(accepted(&pair).ends_with(expected), "{ours:?} {theirs:?}: {}", accepted(&pair));
            assert_eq!(intermediates(&pair) > 0, expected.contains("ML_KEM"));
            let longest = pair.client().sent.iter().map(|(_, message)| message.len()).max().unwrap();
            assert!(longest <= 1228, "fragments, no large datagrams: {longest}");
            let session = pair.session(pair.gateway);
            pair.sim.command(pair.gateway, session, ike::Command::RekeyIke);
            pair.carry(Duration::from_secs(60));
            pair.assert_up();
            assert_eq!(pair.client().rekeyed(true), 1);
        }
    }
}

fn followups(pair: &Pair) -> usize {
    let exchange = |(_, message): &&(_, Vec<u8>)| Header::parse(message).unwrap().exchange == Exchange::IkeFollowupKe;
    pair.gateway().sent.iter().filter(exchange).count()
}

/// Rekeys that the gateway begins are as strong as what they replace, whatever the wire does.
#[test]
fn the_gateway_rekeys_in_two_exchanges_as_well() {
    for (seed, loss) in [(1, 0), (2, 200), (3, 200)] {
        let mut pair = Pair::up_with(seed, gateway(&[Group::MlKem768]), client(&[Group::MlKem1024, Group::MlKem768]));
        pair.sim.faults = Faults { loss, duplicate: loss, jitter: Duration::from_millis(5) };
        for command in [Command::RekeyChild, Command::RekeyIke, Command::RekeyChild, Command::RekeyIke] {
            let (before, session) = (followups(&pair), pair.session(pair.gateway));
            pair.sim.command(pair.gateway, session, command);
            pair.carry(Duration::from_secs(60));
            pair.assert_up();
            assert!(followups(&pair) > before, "seed {seed}: without the additional key exchange");
        }
        assert_eq!((pair.client().rekeyed(false), pair.client().rekeyed(true)), (2, 2), "seed {seed}");
    }
}

/// Both sides begin at the same time; whoever wins, what stays carries.
#[test]
fn both_sides_rekey_at_once() {
    for seed in 0..20 {
        let mut pair = Pair::up_with(seed, gateway(&[Group::MlKem768]), client(&[Group::MlKem768]));
        for (ours, theirs) in [
            (Command::RekeyIke, Command::RekeyIke),
            (Command::RekeyChild, Command::RekeyChild),
            (Command::RekeyIke, Command::RekeyChild),
            (Command::RekeyChild, Command::RekeyIke),
        ] {
            for (host, command) in [(pair.gateway, ours), (pair.client, theirs)] {
                let session = pair.session(host);
                pair.sim.command(host, session, command);
            }
            pair.carry(Duration::from_secs(60));
            pair.assert_up();
        }
        assert!(pair.gateway().rekeyed(true) > 0 && pair.gateway().rekeyed(false) > 0, "seed {seed}");
    }
}

/// Whatever is lost, repeated or late: the request is answered again under the keys that it came with.
#[test]
fn on_a_bad_wire() {
    let mut up = 0;
    for seed in 0..60 {
        let mut pair = Pair::new(seed, gateway(&[Group::MlKem768]));
        pair.sim.faults = Faults { loss: 200, duplicate: 200, jitter: Duration::from_millis(300) };
        pair.dial(client(&[Group::MlKem768]));
        pair.sim.faults = Faults::default();
        pair.sim.run_for(Duration::from_secs(200));
        let sides = (pair.gateway().endpoint.sessions(), pair.client().endpoint.sessions());
        assert_eq!(sides.0, sides.1, "seed {seed}");
        if sides.0 == (0, 1) {
            pair.assert_up();
            up += 1;
        } else {
            assert!(pair.gateway().is_empty() && pair.client().is_empty(), "seed {seed}");
        }
    }
    assert!(up > 45, "{up} of 60");
}

/// The answer lost, the request comes again although the gateway's keys have changed meanwhile.
#[test]
fn a_repeated_request_is_answered_under_its_own_keys() {
    let mut pair = Pair::new(1, gateway(&[Group::MlKem768]));
    let mut lost = 0;
    pair.sim.filter = Some(Box::new(move |path, message| {
        let answer = path.local.ip() == GATEWAY && Header::parse(message).is_ok_and(|header| header.exchange == Exchange::IkeIntermediate);
        lost += usize::from(answer);
        if answer && lost == 1 { Verdict::Drop } else { Verdict::Pass }
    }));
    pair.dial(client(&[Group::MlKem768])).assert_up();
    assert_eq!(pair.gateway().endpoint.counters().retransmits_answered, 1);
    assert_eq!(pair.gateway().endpoint.counters().forged, 0);
}

/// Who takes the additional key exchange out of the offer is found out by AUTH, which covers the first message.
#[test]
fn a_downgrade_is_found_out() {
    let mut pair = Pair::new(1, gateway(&[Group::MlKem768]));
    pair.sim.filter = Some(Box::new(|path, message| {
        let first = path.local.ip() == CLIENT && Header::parse(message).is_ok_and(|header| header.exchange == Exchange::IkeSaInit);
        // Transform type 6, ML-KEM-768 becomes ML-KEM-512, which nobody has.
        let at = message.windows(8).position(|bytes| bytes[4] == 6 && bytes[6..] == [0, 36]).filter(|_| first);
        match at {
            Some(at) => {
                let mut changed = message.to_vec();
                changed[at + 7] = 35;
                Verdict::Change(changed)
            }
            None => Verdict::Pass,
        }
    }));
    pair.dial(client(&[Group::MlKem768]));
    assert!(accepted(&pair).ends_with("ADDKE1=NONE"), "{}", accepted(&pair));
    assert_eq!(pair.client().endpoint.sessions(), (0, 0));
    assert!(pair.client().established().is_empty());
    assert!(pair.gateway().failure().is_some());
}

/// The second fragment of the request never comes: nothing is answered, and the login ends in time.
#[test]
fn half_a_request() {
    let mut pair = Pair::new(1, gateway(&[Group::MlKem768]));
    pair.sim.filter = Some(Box::new(|path, message| {
        let second = Header::parse(message).unwrap().exchange == Exchange::IkeIntermediate && message.get(32..36) == Some(&[0, 2, 0, 2]);
        if path.local.ip() == CLIENT && second { Verdict::Drop } else { Verdict::Pass }
    }));
    pair.dial(client(&[Group::MlKem768]));
    pair.sim.run_for(Duration::from_secs(100));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert!(pair.gateway().failure().unwrap().cause.contains("IKE_SA_INIT"));
}

/// A client by hand that is up, towards a gateway that does ML-KEM-768 in rekeys.
struct World {
    sim: Sim,
    gateway: HostId,
    script: Script,
}

const NONCE: [u8; 32] = [3; 32];

/// The offer with the additional key exchange, and nothing else, in its first proposal.
fn hybrid(mut offer: SaPayload) -> Payload {
    offer.proposals.truncate(1);
    offer.proposals[0].transforms.push(Transform::additional(Group::MlKem768));
    Payload::Sa(offer)
}

impl World {
    fn up() -> Self {
        let Pair { mut sim, gateway, .. } = Pair::new(1, gateway(&[Group::MlKem768]));
        let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
        let mut script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
        script.login(&mut sim);
        Self { sim, gateway, script }
    }

    fn host(&self) -> &sim::Host {
        self.sim.host(self.gateway)
    }

    fn ask(&mut self, exchange: Exchange, payloads: &[Payload]) -> Payloads {
        self.script.exchange(&mut self.sim, exchange, payloads)
    }

    /// The first half of a rekey of the child: its answer, and the first shared secret.
    fn rekey_child(&mut self) -> (Payloads, Vec<u8>) {
        let (private, public) = PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(5));
        let any = || vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        let request = [
            Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0001)),
            hybrid(self.script.esp(0x1000_0002, &[Group::Curve25519])),
            Payload::Nonce(NONCE.to_vec()),
            Payload::KeyExchange(KeyExchange { group: 31, public }),
            Payload::TsInitiator(any()),
            Payload::TsResponder(any()),
        ];
        let answer = self.ask(Exchange::CreateChildSa, &request);
        let secret = private.agree(&answer.key_exchange().expect("a KE payload").public).unwrap();
        (answer, secret.to_vec())
    }

    /// The second half; its answer and the second shared secret.
    fn follow_up(&mut self, link: &Notify) -> (Payloads, Vec<u8>) {
        let (private, public) = PrivateKey::generate(Group::MlKem768, &mut SeededRandom::new(6));
        let ke = Payload::KeyExchange(KeyExchange { group: 36, public });
        let answer = self.ask(Exchange::IkeFollowupKe, &[ke, Payload::Notify(link.clone())]);
        let secret = answer.key_exchange().map(|ke| private.agree(&ke.public).unwrap().to_vec());
        (answer, secret.unwrap_or_default())
    }
}

fn link(answer: &Payloads) -> Notify {
    answer.notify(notify::ADDITIONAL_KEY_EXCHANGE).expect("N(ADDITIONAL_KEY_EXCHANGE)").clone()
}

#[test]
fn a_child_is_rekeyed_in_two_exchanges() {
    let mut world = World::up();
    let old = *world.host().children.keys().next().unwrap();
    let (answer, first) = world.rekey_child();
    let chosen = answer.sa().unwrap().texts();
    assert_eq!(chosen, ["AES_GCM_16_256/CURVE_25519/ESN/ADDKE1=ML_KEM_768"]);
    assert_eq!(world.host().children.len(), 1, "nothing is made yet");
    let (_, second) = world.follow_up(&link(&answer));
    let new = world.host().children.values().find(|child| child.spi_in != old).expect("the new one");
    assert_eq!((new.rekeys, new.outbound_ready), (Some(old), false));
    // KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1)), RFC 9370 section 2.2.4: 36 bytes for each direction.
    let keys = world.script.keys.as_ref().unwrap();
    let keymat = keys.prf().plus(&keys.d, &[&first, &NONCE, answer.nonce().unwrap(), &second], 72);
    assert_eq!((&new.key_in.encryption[..], &new.key_out.encryption[..]), (&keymat[..36], &keymat[36..]));
    world.ask(Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    world.sim.run_for(Duration::from_secs(6));
    assert_eq!(world.host().children.values().map(|child| child.spi_out).collect::<Vec<_>>(), [0x1000_0002]);
}

#[test]
fn the_ike_sa_is_rekeyed_in_two_exchanges() {
    let mut world = World::up();
    let (private, public) = PrivateKey::generate(Group::Curve25519, &mut SeededRandom::new(5));
    let spi_i = Spi(0x99);
    let request = [
        hybrid(offer_ike(&ciphers(), Some(spi_i))),
        Payload::Nonce(NONCE.to_vec()),
        Payload::KeyExchange(KeyExchange { group: 31, public }),
    ];
    let answer = world.ask(Exchange::CreateChildSa, &request);
    let first = private.agree(&answer.key_exchange().unwrap().public).unwrap();
    let spi_r = Spi(u64::from_be_bytes(answer.sa().unwrap().proposals[0].spi.clone().try_into().unwrap()));
    assert_eq!(world.script.liveness(&mut world.sim).iter().count(), 0, "the old one is still the one");
    let (_, second) = world.follow_up(&link(&answer));
    world.ask(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    let old = world.script.keys.clone().unwrap();
    // SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1)).
    let nonce_r = answer.nonce().unwrap();
    let skeyseed = old.prf().compute(&old.d, &[&first, &NONCE, nonce_r, &second]);
    let spis = [spi_i.0.to_be_bytes(), spi_r.0.to_be_bytes()].concat();
    let seed = Seed { shared_secret: &first, nonce_i: &NONCE, nonce_r, spi_i, spi_r };
    let keys = old.rekey_more(old.suite, seed, &second);
    assert_eq!(keys.d[..], old.prf().plus(&skeyseed, &[&NONCE, nonce_r, &spis], 48)[..]);
    (world.script.spi_i, world.script.spi_r, world.script.next_id) = (spi_i, spi_r, 0);
    world.script.take_keys(keys, true);
    assert_eq!(world.script.liveness(&mut world.sim).iter().count(), 0);
    assert_eq!((world.host().rekeyed(true), world.host().endpoint.sessions()), (1, (0, 1)));
}

/// Links that lead nowhere, second halves that never come, and ends in between: nothing is made and nothing stays registered.
#[test]
fn second_halves_that_are_not_there() {
    let mut world = World::up();
    let registered = world.host().registered();
    let (stranger, _) = world.follow_up(&Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, [7; 8]));
    assert_eq!(Script::notify(&stranger), Some(notify::STATE_NOT_FOUND));
    let (first, _) = world.rekey_child();
    let (second, _) = world.rekey_child();
    let (late, _) = world.follow_up(&link(&first));
    assert_eq!(Script::notify(&late), Some(notify::STATE_NOT_FOUND), "the second request took its place");
    let wrong = [Payload::KeyExchange(KeyExchange { group: 31, public: vec![9; 32] }), Payload::Notify(link(&second))];
    assert_eq!(Script::notify(&world.ask(Exchange::IkeFollowupKe, &wrong)), Some(notify::INVALID_SYNTAX));
    assert_eq!(world.host().registered(), registered);
    let (third, _) = world.rekey_child();
    let session = world.host().established()[0];
    world.sim.command(world.gateway, session, Command::RekeyIke);
    let before = world.host().sent.len();
    world.sim.run_for(Duration::from_secs(20));
    assert_eq!(world.host().sent.len(), before, "our own rekey waits");
    world.sim.run_until(Duration::from_secs(41), |sim| sim.host(world.gateway).sent.len() > before);
    let asked = Header::parse(&world.host().sent[before].1).unwrap();
    assert_eq!(asked.exchange, Exchange::CreateChildSa, "but not for ever");
    let (late, _) = world.follow_up(&link(&third));
    assert_eq!(Script::notify(&late), Some(notify::STATE_NOT_FOUND));
    assert_eq!(world.host().children.len(), 1);
    let mut world = World::up();
    world.rekey_child();
    world.ask(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    world.sim.run_for(Duration::from_secs(30));
    assert!(world.host().is_empty(), "{:?}", world.host().endpoint);
}

/// Who collides with our own rekey comes again later, when it brings an additional key exchange.
#[test]
fn no_collisions_with_two_halves() {
    let mut world = World::up();
    let session = world.host().established()[0];
    world.sim.command(world.gateway, session, Command::RekeyChild);
    world.sim.run_for(Duration::from_millis(1));
    let request = [
        Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0001)),
        hybrid(world.script.esp(0x1000_0002, &[Group::Curve25519])),
        Payload::Nonce(NONCE.to_vec()),
        Payload::KeyExchange(KeyExchange { group: 31, public: vec![9; 32] }),
        Payload::TsInitiator(vec![TrafficSelector::any_ipv4()]),
        Payload::TsResponder(vec![TrafficSelector::any_ipv4()]),
    ];
    assert_eq!(Script::notify(&world.ask(Exchange::CreateChildSa, &request)), Some(notify::TEMPORARY_FAILURE));
}
