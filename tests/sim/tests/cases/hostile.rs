//! Peers that say what they should not, and strangers that meddle.
use super::{CLIENT, GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::dh::PrivateKey;
use ike::keys::Seed;
use ike::proposal::offer_ike;
use ike::wire::Identification;
use ike::wire::{Delete, Exchange, KeyExchange, Message, Notify, Opened, Payload, Spi, notify, open_envelope, vendor};
use ike::{CloseReason, Command, Event, Fault, Identity, Stage, TrafficSelector};
use sim::{HostId, KeyKind, Script, Sim, ciphers, client_credential, initiator, responder, server_credential};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

struct World {
    sim: Sim,
    gateway: HostId,
    script: Script,
}

fn world() -> World {
    world_with(responder())
}

fn world_with(config: ike::ResponderConfig) -> World {
    let Pair { sim, gateway, .. } = Pair::new(1, config);
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    World { sim, gateway, script: Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers()) }
}

impl World {
    fn up() -> Self {
        let mut world = world();
        let answer = world.script.login(&mut world.sim);
        assert!(answer.sa().is_some(), "{answer:?}");
        assert_eq!(world.host().endpoint.sessions(), (0, 1));
        world
    }

    fn host(&self) -> &sim::Host {
        self.sim.host(self.gateway)
    }

    fn exchange(&mut self, exchange: Exchange, payloads: &[Payload]) -> ike::wire::Payloads {
        self.script.exchange(&mut self.sim, exchange, payloads)
    }

    fn child(&self) -> &ike::ChildSa {
        self.host().children.values().next().unwrap()
    }

    fn send(&mut self, message: Vec<u8>) -> Vec<Vec<u8>> {
        self.script.send(&mut self.sim, message)
    }

    fn still_there(&mut self) {
        let answer = self.script.liveness(&mut self.sim);
        assert_eq!(answer.iter().count(), 0);
    }
}

fn any() -> Vec<TrafficSelector> {
    vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]
}

/// Bits flipped anywhere, cut anywhere: dropped, counted, and the real message is taken afterwards.
#[test]
fn damaged_messages_change_nothing() {
    let mut world = World::up();
    let message = world.script.seal(Exchange::Informational, &[]);
    let events = world.host().events.len();
    let before = world.host().endpoint.counters();
    let mut tried = 0;
    for bit in 0..message.len() * 8 {
        let mut damaged = message.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Version 3 and the like have an answer of their own, which is plain and changes nothing.
        let answers = if (17 * 8 + 4..18 * 8).contains(&bit) { Vec::new() } else { world.script.send(&mut world.sim, damaged) };
        assert!(answers.iter().all(|answer| !Message::parse(answer).unwrap().protected), "bit {bit}");
        tried += 1;
    }
    for len in 0..message.len() {
        assert!(world.send(message[..len].to_vec()).is_empty(), "cut to {len}");
        tried += 1;
    }
    let after = world.host().endpoint.counters();
    let counted = |it: ike::Counters| it.malformed + it.forged + it.unknown_spi + it.replayed + it.out_of_window;
    assert!(counted(after) - counted(before) >= tried - 8, "{before:?} {after:?}");
    assert_eq!(world.host().events.len(), events);
    assert_eq!(world.send(message).len(), 1, "the real one is answered");
}

#[test]
fn damaged_logins_change_nothing() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let wishes = world.script.wishes();
    let message = world.script.seal(Exchange::IkeAuth, &wishes);
    let events = world.host().events.len();
    for byte in 28..message.len() {
        let mut damaged = message.clone();
        damaged[byte] ^= 0x40;
        assert!(world.send(damaged).is_empty(), "byte {byte}");
    }
    assert_eq!(world.host().events.len(), events);
    assert_eq!(world.send(message).len(), 1);
}

#[test]
fn replays_are_answered_from_the_cache_or_not_at_all() {
    let mut world = World::up();
    let first = world.script.seal(Exchange::Informational, &[]);
    let answer = world.send(first.clone());
    assert_eq!(world.send(first.clone()), answer, "identical bytes");
    assert_eq!(world.host().endpoint.counters().retransmits_answered, 1);
    world.still_there();
    assert!(world.send(first).is_empty(), "older than the window");
    assert_eq!(world.host().endpoint.counters().replayed, 1);
    let early = world.script.seal_as(Exchange::Informational, false, world.script.next_id + 1, &[]);
    assert!(world.send(early).is_empty(), "beyond the window");
    assert_eq!(world.host().endpoint.counters().out_of_window, 1);
    world.still_there();
}

/// Another request under an ID that was answered: the answer is the old one, and the request is not carried out.
#[test]
fn an_answered_id_is_never_executed_again() {
    let mut world = World::up();
    let liveness = world.script.seal(Exchange::Informational, &[]);
    let answer = world.send(liveness);
    let delete = world.script.seal_as(Exchange::Informational, false, world.script.next_id - 1, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(world.send(delete), answer);
    assert_eq!(world.host().endpoint.sessions(), (0, 1));
}

#[test]
fn unasked_responses_are_dropped() {
    let mut world = World::up();
    for id in 0..4 {
        let response = world.script.seal_as(Exchange::Informational, true, id, &[Payload::Delete(Delete::Ike)]);
        assert!(world.send(response).is_empty());
    }
    assert_eq!(world.host().endpoint.counters().replayed, 4);
    world.still_there();
}

#[test]
fn unknown_payloads() {
    let mut world = World::up();
    let unknown = |critical| Payload::Unknown { kind: 200, critical, data: vec![1, 2, 3] };
    let answer = world.exchange(Exchange::Informational, &[unknown(false)]);
    assert_eq!(answer.iter().count(), 0, "skipped");
    let answer = world.exchange(Exchange::Informational, &[unknown(true)]);
    let refusal = answer.notify(notify::UNSUPPORTED_CRITICAL_PAYLOAD).unwrap();
    assert_eq!(refusal.data, [200]);
    world.still_there();
}

#[test]
fn a_critical_payload_in_ike_auth_ends_the_login() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let mut payloads = world.script.wishes();
    payloads.push(Payload::Unknown { kind: 200, critical: true, data: Vec::new() });
    let answer = world.exchange(Exchange::IkeAuth, &payloads);
    assert_eq!(Script::notify(&answer), Some(notify::UNSUPPORTED_CRITICAL_PAYLOAD));
    let failure = world.host().failure().unwrap();
    assert_eq!((failure.fault, failure.notify), (Fault::Malformed, Some("UNSUPPORTED_CRITICAL_PAYLOAD")));
}

#[test]
fn ike_auth_without_what_it_needs() {
    for missing in 0..5 {
        let mut world = world();
        world.script.init(&mut world.sim);
        let mut payloads = world.script.wishes();
        payloads.remove(missing);
        let answer = world.exchange(Exchange::IkeAuth, &payloads);
        let expected = if missing == 1 { notify::FAILED_CP_REQUIRED } else { notify::INVALID_SYNTAX };
        assert_eq!(Script::notify(&answer), Some(expected), "without payload {missing}");
        assert_eq!(world.host().endpoint.sessions(), (0, 0));
        assert!(world.host().failure().is_some());
    }
}

#[test]
fn other_exchanges_before_authentication() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let answer = world.exchange(Exchange::CreateChildSa, &[]);
    assert_eq!(Script::notify(&answer), Some(notify::INVALID_SYNTAX));
    assert_eq!(world.host().failure().unwrap().fault, Fault::PeerMisbehaved);
}

#[test]
fn a_client_that_gives_up() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let wishes = world.script.wishes();
    world.exchange(Exchange::IkeAuth, &wishes);
    let code = Notify::new(notify::MS_WIN32_ERROR, 13801u32.to_be_bytes());
    let answer = world.exchange(Exchange::Informational, &[Payload::Notify(code), Payload::Delete(Delete::Ike)]);
    assert_eq!(answer.iter().count(), 0);
    let failure = world.host().failure().unwrap();
    assert!(failure.cause.contains("13801"), "{}", failure.cause);
}

#[test]
fn eap_instead_of_auth_and_the_other_way_round() {
    let mut world = world();
    world.script.init(&mut world.sim);
    world.script.eap(&mut world.sim);
    let stray = Payload::Eap(eap::build(eap::Code::Response, 9, eap::method::MD5, &[]));
    let answer = world.exchange(Exchange::IkeAuth, &[stray]);
    assert_eq!(Script::notify(&answer), Some(notify::INVALID_SYNTAX));

    let mut world = self::world();
    world.script.init(&mut world.sim);
    let wishes = world.script.wishes();
    world.exchange(Exchange::IkeAuth, &wishes);
    let auth = world.script.auth();
    let answer = world.exchange(Exchange::IkeAuth, &[auth]);
    assert_eq!(Script::notify(&answer), Some(notify::INVALID_SYNTAX), "AUTH before EAP is over");
    assert_eq!(world.host().endpoint.sessions(), (0, 0));
}

#[test]
fn a_pre_shared_key_is_refused() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let mut payloads = world.script.wishes();
    payloads.push(world.script.auth());
    let answer = world.exchange(Exchange::IkeAuth, &payloads);
    assert_eq!(Script::notify(&answer), Some(notify::AUTHENTICATION_FAILED));
    assert!(world.host().failure().unwrap().cause.contains("pre-shared key"));
}

#[test]
fn malformed_first_messages() {
    let mut world = world();
    let script = &world.script;
    let bare = ike::wire::Header::parse(&script.init_message(31, vec![9; 32])).unwrap();
    let empty = ike::wire::encode(&bare, &[]);
    let answers = script.send(&mut world.sim, empty);
    let answer = Message::parse(&answers[0]).unwrap();
    assert_eq!(Script::notify(&answer.payloads), Some(notify::INVALID_SYNTAX));
    let answers = script.send(&mut world.sim, script.init_message(31, vec![0; 32]));
    let answer = Message::parse(&answers[0]).unwrap();
    assert_eq!(Script::notify(&answer.payloads), Some(notify::INVALID_SYNTAX), "a public value of low order");
    assert_eq!(world.host().endpoint.sessions(), (0, 0));
}

/// The same IKE_SA_INIT has the same answer; one with another content is another attempt.
#[test]
fn repeated_first_messages() {
    let mut world = world();
    let message = world.script.init_message(31, vec![9; 32]);
    let answers = world.send(message.clone());
    assert_eq!(world.send(message), answers);
    assert_eq!(world.host().endpoint.sessions(), (1, 0));
    let other = world.script.init_message(31, vec![10; 32]);
    let others = world.send(other);
    assert_ne!(others, answers);
    assert_eq!(world.host().endpoint.sessions(), (2, 0));
}

/// The same request from there, a thousand times in a second: how many answers there are.
fn recorded(world: &mut World, path: ike::Path, request: &[u8]) -> usize {
    let before = world.host().sent.len();
    for _ in 0..1000 {
        world.sim.inject(path, request.to_vec());
        world.sim.run_for(Duration::from_millis(1));
    }
    world.host().sent.len() - before
}

/// Someone who recorded messages cannot make the gateway send answers without end, nor use up those of the client.
#[test]
fn repeats_are_answered_at_a_pace() {
    let mut world = world();
    let first = world.script.init_message(31, vec![9; 32]);
    let answer = world.send(first.clone());
    let home = world.script.path;
    for _ in 0..3 {
        let answers = recorded(&mut world, home, &first);
        assert!((2..=12).contains(&answers), "{answers}");
    }
    world.sim.run_for(Duration::from_secs(1));
    assert_eq!(world.send(first), answer, "the client's own repetition");

    let mut world = World::up();
    let request = world.script.seal(Exchange::Informational, &[]);
    let answer = world.send(request.clone());
    let elsewhere = ike::Path { local: SocketAddr::new(Ipv4Addr::new(203, 0, 113, 66).into(), 500), ..home };
    let translated = ike::Path { local: SocketAddr::new(home.local.ip(), 40_000), ..home };
    world.script.path = elsewhere;
    assert_eq!(world.send(request.clone()), answer, "a client may move before it has the answer");
    world.script.path = translated;
    assert_eq!(world.send(request.clone()), answer, "another port is a translator's doing");
    for path in [elsewhere, translated] {
        recorded(&mut world, path, &request);
    }
    assert_eq!(world.host().endpoint.counters().retransmits_answered, 10, "in sum");
    world.script.path = home;
    assert_eq!(world.send(request.clone()), answer, "the client's own repetition");
    // In its name, which costs it no more than half a second.
    recorded(&mut world, home, &request);
    world.sim.run_for(Duration::from_millis(500));
    assert_eq!(world.send(request), answer);
    world.still_there();
}

#[test]
fn a_stranger_cannot_move_a_session() {
    let mut pair = Pair::up();
    let message = pair.client().sent.last().unwrap().1.clone();
    let elsewhere = ike::Path::between(SocketAddr::new(Ipv4Addr::new(203, 0, 113, 66).into(), 4500), SocketAddr::new(GATEWAY, 500));
    pair.sim.inject(elsewhere, message);
    pair.sim.run_for(Duration::from_secs(100));
    pair.assert_up();
    assert!(pair.gateway().repaths.is_empty());
    assert!(pair.gateway().children.values().all(|child| child.path.remote.ip() == CLIENT));
}

/// Until its last response has reached the client, the gateway cannot know that the client receives on the Child SA. A login that is repeated,
/// because that response was lost, says the contrary; an initiator has the response in its hands.
#[test]
fn the_first_request_after_a_login_proves_the_child_sa() {
    let mut world = world();
    world.script.init(&mut world.sim);
    world.script.eap(&mut world.sim);
    let auth = world.script.auth();
    let last = world.script.seal(Exchange::IkeAuth, &[auth]);
    let answers = world.send(last.clone());
    let ours = world.child().spi_in;
    assert_eq!((answers.len(), world.child().outbound_ready), (1, false));
    assert_eq!(world.send(last), answers, "once more");
    assert!(world.host().proven.is_empty());
    world.still_there();
    assert_eq!(world.host().proven, BTreeSet::from([ours]));
    let pair = Pair::up();
    assert!(pair.client().children.values().all(|child| child.outbound_ready));
}

/// An answer to the gateway's own request says as much.
#[test]
fn the_first_response_after_a_login_proves_the_child_sa() {
    let mut pair = Pair::up();
    assert!(pair.gateway().proven.is_empty());
    let id = pair.session(pair.gateway);
    pair.sim.command(pair.gateway, id, Command::Liveness);
    pair.sim.run_for(Duration::from_secs(1));
    assert_eq!(pair.gateway().proven.len(), 1);
    assert_eq!(pair.gateway().outbound.values().collect::<Vec<_>>(), pair.gateway().proven.iter().collect::<Vec<_>>());
}

#[test]
fn child_deleted_and_made_again() {
    let mut world = World::up();
    let ours = world.child().spi_in;
    let answer = world.exchange(Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    let deletes: Vec<_> = answer.deletes().cloned().collect();
    assert_eq!(deletes, [Delete::Esp(vec![ours])], "with our paired inbound SPI");
    assert!(world.host().children.is_empty());
    world.sim.run_for(Duration::from_secs(1));
    assert_eq!(world.host().endpoint.sessions(), (0, 1), "an IKE SA without Child SA is normal");
    let answer = world.exchange(Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    assert_eq!(answer.iter().count(), 0, "an unknown SPI");
    let esp = world.script.esp(0x1000_0002, &[]);
    let request = [Payload::Sa(esp), Payload::Nonce(vec![3; 32]), Payload::TsInitiator(any()), Payload::TsResponder(any())];
    let answer = world.exchange(Exchange::CreateChildSa, &request);
    assert_eq!(answer.ts_initiator().unwrap(), [TrafficSelector::host(Ipv4Addr::new(10, 99, 0, 1).into())]);
    assert_eq!(world.child().spi_out, 0x1000_0002);
    assert!(world.child().outbound_ready);
    let answer = world.exchange(Exchange::CreateChildSa, &request);
    assert_eq!(Script::notify(&answer), Some(notify::NO_ADDITIONAL_SAS));
}

/// As Windows does it: REKEY_SA first, wide selectors again, KE after them.
#[test]
fn child_rekey_in_the_windows_order() {
    let mut world = World::up();
    let (old, narrowed) = (world.child().spi_in, world.child().remote.clone());
    let (private, public) = PrivateKey::generate(crypto::dh::Group::Curve25519, &mut SeededRandom::new(5));
    let request = [
        Payload::Notify(Notify::esp(notify::REKEY_SA, 0x1000_0001)),
        Payload::Sa(world.script.esp(0x1000_0002, &[crypto::dh::Group::Curve25519])),
        Payload::Nonce(vec![3; 32]),
        Payload::TsInitiator(any()),
        Payload::TsResponder(any()),
        Payload::KeyExchange(KeyExchange { group: 31, public }),
    ];
    let answer = world.exchange(Exchange::CreateChildSa, &request);
    assert_eq!(answer.ts_initiator().unwrap(), narrowed, "the original selectors");
    let secret = private.agree(&answer.key_exchange().unwrap().public).unwrap();
    let new = world.host().children.values().find(|child| child.spi_in != old).unwrap();
    assert_eq!((new.rekeys, new.outbound_ready, new.spi_out), (Some(old), false, 0x1000_0002));
    let suite = new.suite.protection;
    let keys = world.script.keys.as_ref().unwrap().child(suite, Some(&secret), &[3; 32], answer.nonce().unwrap());
    assert_eq!(*new.key_in.encryption, *keys.initiator.encryption);
    assert_eq!(*new.key_out.encryption, *keys.responder.encryption);
    let new = new.spi_in;
    let answer = world.exchange(Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    assert_eq!(answer.deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![old])]);
    assert_eq!(world.host().outbound.values().copied().collect::<Vec<_>>(), [new]);
    assert_eq!(world.host().children.len(), 2, "packets on their way are still taken");
    world.sim.run_for(Duration::from_secs(6));
    assert_eq!(world.host().children.keys().copied().collect::<Vec<_>>(), [new]);
}

#[test]
fn child_rekeys_that_cannot_be() {
    let mut world = World::up();
    let request = |world: &World, spi: u32, group: Option<(u16, usize)>, esp: Vec<crypto::dh::Group>| {
        let mut payloads = vec![
            Payload::Notify(Notify::esp(notify::REKEY_SA, spi)),
            Payload::Sa(world.script.esp(0x1000_0002, &esp)),
            Payload::Nonce(vec![3; 32]),
            Payload::TsInitiator(any()),
            Payload::TsResponder(any()),
        ];
        payloads.extend(group.map(|(group, len)| Payload::KeyExchange(KeyExchange { group, public: vec![4; len] })));
        payloads
    };
    let unknown = request(&world, 0x7777_7777, None, Vec::new());
    let answer = world.exchange(Exchange::CreateChildSa, &unknown);
    let refusal = answer.notify(notify::CHILD_SA_NOT_FOUND).unwrap();
    assert_eq!(refusal.esp_spi(), Some(0x7777_7777));
    let wrong_group = request(&world, 0x1000_0001, Some((14, 256)), vec![crypto::dh::Group::Modp2048]);
    let answer = world.exchange(Exchange::CreateChildSa, &wrong_group);
    assert_eq!(Script::notify(&answer), Some(notify::NO_PROPOSAL_CHOSEN), "a PFS group that is not allowed");
    assert!(world.host().notes().contains("NO_PROPOSAL_CHOSEN"), "{}", world.host().notes());
    let both = vec![crypto::dh::Group::Curve25519, crypto::dh::Group::Modp2048];
    let guessed = request(&world, 0x1000_0001, Some((14, 256)), both);
    let answer = world.exchange(Exchange::CreateChildSa, &guessed);
    assert_eq!(answer.notify(notify::INVALID_KE_PAYLOAD).unwrap().data, [0, 31]);
    let elsewhere = TrafficSelector::network(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12);
    let mut selectors = request(&world, 0x1000_0001, None, Vec::new());
    selectors[3] = Payload::TsInitiator(vec![elsewhere]);
    let answer = world.exchange(Exchange::CreateChildSa, &selectors);
    assert_eq!(Script::notify(&answer), Some(notify::TS_UNACCEPTABLE));
    assert_eq!(world.host().children.len(), 1);
    world.still_there();
}

/// The client replaces the IKE SA: message IDs begin anew, the children stay, the old one is deleted.
#[test]
fn ike_rekey_by_the_client() {
    let mut world = World::up();
    let child = world.child().spi_in;
    let (private, public) = PrivateKey::generate(crypto::dh::Group::Curve25519, &mut SeededRandom::new(5));
    let spi_i = Spi(0x99);
    let request = [
        Payload::Sa(offer_ike(&ciphers(), Some(spi_i))),
        Payload::Nonce(vec![3; 32]),
        Payload::KeyExchange(KeyExchange { group: 31, public }),
    ];
    let answer = world.exchange(Exchange::CreateChildSa, &request);
    let spi_r = Spi(u64::from_be_bytes(answer.sa().unwrap().proposals[0].spi.clone().try_into().unwrap()));
    let secret = private.agree(&answer.key_exchange().unwrap().public).unwrap();
    let answer_on_old = world.exchange(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(answer_on_old.iter().count(), 0);
    let old = world.script.keys.clone().unwrap();
    let seed = Seed { shared_secret: &secret, nonce_i: &[3; 32], nonce_r: answer.nonce().unwrap(), spi_i, spi_r };
    (world.script.spi_i, world.script.spi_r, world.script.next_id) = (spi_i, spi_r, 0);
    world.script.take_keys(old.rekey(old.suite, seed), true);
    world.still_there();
    assert_eq!(world.child().spi_in, child);
    assert_eq!(world.host().endpoint.sessions(), (0, 1));
    let answer = world.exchange(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(answer.iter().count(), 0);
    let reasons: Vec<_> = world.host().closed().into_iter().map(|(_, reason, _)| reason).collect();
    assert_eq!(reasons, [CloseReason::PeerDeleted]);
}

#[test]
fn delete_is_answered_again_after_the_end() {
    let mut world = World::up();
    let delete = world.script.seal(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
    let answer = world.send(delete.clone());
    assert_eq!(answer.len(), 1);
    assert_eq!(world.host().endpoint.sessions(), (0, 0));
    assert_eq!(world.send(delete), answer);
}

/// What Windows sends in the place of INITIAL_CONTACT counts for sessions from the same outer address only.
#[test]
fn vid_initial_contact() {
    for (second, left) in [(5, 1), (6, 2)] {
        let mut world = World::up();
        let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, second).into(), 5000);
        let mut script = Script::new(world.gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
        script.spi_i = Spi(77);
        script.extra.push(Payload::Vendor(vendor::MS_INITIAL_CONTACT.to_vec()));
        script.login(&mut world.sim);
        assert_eq!(world.host().endpoint.sessions(), (0, left));
    }
}

/// A gateway never rekeys a Windows client's Child SA: it deletes it, and Windows makes another.
#[test]
fn windows_children_are_deleted_rather_than_rekeyed() {
    let mut world = world();
    world.script.extra.push(Payload::Vendor(vendor::MS_NT5_V9.to_vec()));
    world.script.login(&mut world.sim);
    let session = world.host().established()[0];
    let ours = world.child().spi_in;
    world.sim.command(world.gateway, session, ike::Command::RekeyChild);
    let request = world.host().sent.last().unwrap().1.clone();
    assert_eq!(world.script.open(&request).deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![ours])]);
}

#[test]
fn unauthenticated_payloads_before_sk_are_ignored() {
    let mut world = World::up();
    let message = world.script.seal(Exchange::Informational, &[]);
    assert!(matches!(ike::wire::Message::parse(&message), Ok(Message { protected: true, .. })));
    // The envelope really holds nothing: what the test sends is what it believes it sends.
    let keys = world.script.keys.clone().unwrap();
    let (_, opener) = keys.ciphers(false);
    assert_eq!(open_envelope(&message, &opener).unwrap(), (0, Vec::new()));
    assert!(matches!(ike::wire::unprotect(&message, &opener), Ok(Opened::Message(_))));
    world.send(message);
    world.still_there();
}

#[test]
fn a_rekey_waits_for_its_key_exchange_without_stopping_the_session() {
    let mut pair = Pair::up();
    pair.sim.host_mut(pair.gateway).answers.crypto_delay = Duration::from_secs(2);
    let session = pair.client().established()[0];
    pair.sim.command(pair.client, session, ike::Command::RekeyIke);
    pair.sim.run_for(Duration::from_secs(10));
    pair.assert_up();
    assert_eq!(pair.gateway().rekeyed(true), 1);
}

#[test]
fn slow_keys_are_a_state_and_duplicates_are_dropped() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.crypto_delay = Duration::from_secs(3);
    pair.sim.host_mut(pair.gateway).answers.eap_delay = Duration::from_secs(3);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    assert_eq!(pair.gateway().answers.eap_questions, 2);
    let started = pair.gateway().events.iter().filter(|(_, event)| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 1);
    assert!(pair.gateway().endpoint.counters().replayed > 0);
    assert_eq!(pair.gateway().events.iter().filter(|(_, event)| matches!(event, Event::Reached(Stage::Up))).count(), 1);
}

/// The peer rekeys twice before it deletes, and deletes the newer one first.
#[test]
fn deletes_out_of_order_after_two_rekeys() {
    let mut world = World::up();
    let rekey = |world: &mut World, old: u32, new: u32| {
        let request = [
            Payload::Notify(Notify::esp(notify::REKEY_SA, old)),
            Payload::Sa(world.script.esp(new, &[])),
            Payload::Nonce(vec![3; 32]),
            Payload::TsInitiator(any()),
            Payload::TsResponder(any()),
        ];
        world.exchange(Exchange::CreateChildSa, &request);
        world.host().children.values().find(|child| child.spi_out == new).unwrap().spi_in
    };
    rekey(&mut world, 0x1000_0001, 0x1000_0002);
    let last = rekey(&mut world, 0x1000_0002, 0x1000_0003);
    world.exchange(Exchange::Informational, &[Script::delete(&[0x1000_0002])]);
    assert_eq!(world.host().outbound.values().copied().collect::<Vec<_>>(), [last]);
    world.exchange(Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
    assert_eq!(world.host().outbound.values().copied().collect::<Vec<_>>(), [last], "never back to an older one");
    world.sim.run_for(Duration::from_secs(6));
    assert_eq!(world.host().children.keys().copied().collect::<Vec<_>>(), [last]);
}

#[test]
fn mobike() {
    let mut world = world();
    world.script.init(&mut world.sim);
    let mut wishes = world.script.wishes();
    wishes.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, [])));
    let answer = world.script.eap_with(&mut world.sim, &wishes);
    assert!(answer.notify(notify::MOBIKE_SUPPORTED).is_some());
    world.script.path.local = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 77).into(), 4500);
    world.script.path.remote.set_port(4500);
    world.still_there();
    assert!(world.host().repaths.is_empty(), "without NAT nobody moves unasked");
    let mut update =
        vec![Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, [])), Payload::Notify(Notify::new(notify::COOKIE2, vec![6; 16]))];
    let (spi_i, spi_r) = (world.script.spi_i, world.script.spi_r);
    update.extend(ike::nat::detection_notifies(spi_i, spi_r, world.script.path, true).map(Payload::Notify));
    let answer = world.exchange(Exchange::Informational, &update);
    assert_eq!(answer.notify(notify::COOKIE2).unwrap().data, [6; 16]);
    let here = ike::Path::between(world.script.path.remote, world.script.path.local);
    assert!(world.host().repaths.is_empty(), "not before the client has answered there");
    let (_, asked) = world.host().sent.last().unwrap().clone();
    let cookie = world.script.open(&asked).notify(notify::COOKIE2).cloned().map(Payload::Notify);
    let id = Message::parse(&asked).unwrap().header.message_id;
    let echo = world.script.seal_as(Exchange::Informational, true, id, cookie.as_slice());
    world.script.send(&mut world.sim, echo);
    assert_eq!(world.host().repaths.iter().map(|(_, path, encapsulate)| (*path, *encapsulate)).collect::<Vec<_>>(), [(here, true)]);
    let detected = ike::nat::detect(&answer, spi_i, spi_r, world.script.path).unwrap();
    assert!(!detected.ours && !detected.theirs, "the gateway's view of the new path is told");
}

#[test]
fn a_client_that_rejects_the_last_proof() {
    let mut world = World::up();
    let rejection = Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, []));
    assert_eq!(world.exchange(Exchange::Informational, &[rejection]).iter().count(), 0);
    assert_eq!(world.host().endpoint.sessions(), (0, 0));
    assert!(world.host().children.is_empty());
    assert!(world.host().failure().unwrap().cause.contains("AUTHENTICATION_FAILED"));
}

/// IDr picks the certificate and is said back; without one it is the default with the key that suits the client best, wherever it stands.
#[test]
fn which_credential_is_presented() {
    let mut config = responder();
    let other = client_credential(KeyKind::P256, "gw2.example.test");
    config.certificates = vec![server_credential(KeyKind::Ed25519).into(), server_credential(KeyKind::P256).into(), other.into()];
    config.certificates[..2].iter_mut().for_each(|certificate| certificate.default = true);
    for (asked, hashes, expected) in [
        (None, false, (1, "vpn.example.test")),
        (None, true, (1, "vpn.example.test")),
        (Some("gw2.example.test"), true, (2, "gw2.example.test")),
        (Some("unknown.example.test"), true, (1, "vpn.example.test")),
    ] {
        let mut world = world_with(config.clone());
        if hashes {
            world.script.extra.push(Payload::Notify(ike::auth::signature_hashes_notify()));
        }
        world.script.init(&mut world.sim);
        let mut payloads = world.script.wishes();
        payloads.extend(asked.map(|name| Payload::IdResponder(Identification::new(Identity::Fqdn(name.into())))));
        let answer = world.exchange(Exchange::IkeAuth, &payloads);
        let (index, name) = expected;
        assert_eq!(answer.certificates().next().unwrap().data, config.certificates[index].credential.leaf().der, "{asked:?}");
        assert_eq!(answer.id_responder().unwrap().identity, Identity::Fqdn(name.into()));
    }
}

#[test]
fn windows_sees_no_ed25519() {
    let mut config = responder();
    config.certificates = vec![server_credential(KeyKind::Ed25519).into(), server_credential(KeyKind::Rsa).into()];
    let mut world = world_with(config.clone());
    world.script.extra.push(Payload::Vendor(vendor::MS_NT5_V9.to_vec()));
    world.script.init(&mut world.sim);
    let payloads = world.script.wishes();
    let answer = world.exchange(Exchange::IkeAuth, &payloads);
    assert_eq!(answer.certificates().next().unwrap().data, config.certificates[1].credential.leaf().der);
    assert_eq!(answer.auth().unwrap().method, 1, "RSA with SHA-1: Windows announces no hashes");
}
