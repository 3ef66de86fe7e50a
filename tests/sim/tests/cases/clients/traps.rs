//! What goes wrong with Windows clients and gateways that do not know them, one case each.
use super::{ELSEWHERE, OUTSIDE, World, attend, count, lenient};
use crypto::dh::Group;
use ike::proposal::SaPayload;
use ike::wire::{Configuration, Delete, Exchange, Notify, Payload, auth_method, kind, notify};
use ike::{CloseReason, Event, Fault, Input, Stage, TrafficSelector};
use sim::clients::{Client, InSim, Maker, Profile};
use sim::{Eap, KeyKind, client_credential, server_credential};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Trap 1: RSA proves itself with SHA-1 and method 1, ECDSA with 9 and 10, in both directions; 14 is for who announced hashes.
#[test]
fn signatures_as_windows_knows_them() {
    let kinds = [(KeyKind::Rsa, auth_method::RSA), (KeyKind::P256, auth_method::ECDSA_P256), (KeyKind::P384, auth_method::ECDSA_P384)];
    for (gateway, method) in kinds {
        for (client, _) in kinds {
            let mut config = lenient();
            config.certificates = vec![server_credential(gateway).into()];
            let mut world = World::new(config);
            let mut pc = world.client(Profile::windows_custom(), 1);
            pc.certificate = Some(client_credential(client, "pc1.example.test"));
            world.assert_login(&mut pc);
            assert_eq!(pc.gateway_method, Some(method), "{gateway:?} {client:?}");
            let phone = world.up(Profile::android(), 2);
            assert_eq!(phone.gateway_method, Some(auth_method::DIGITAL_SIGNATURE), "{gateway:?}");
        }
    }
}

/// Trap 2: our best suite wants another group than the KE payload has; Windows would not come again, so it is not asked to.
#[test]
fn the_key_exchange_that_came_decides() {
    let mut config = lenient();
    config.ciphers.groups = vec![Group::EcpP384, Group::Modp2048, Group::EcpP256];
    let mut world = World::new(config);
    let mut profile = Profile::windows_custom();
    let mut better = profile.ike.proposals[0].clone();
    better.transforms.iter_mut().filter(|it| it.kind == ike::proposal::transform::DH).for_each(|it| it.id = Group::EcpP384.id());
    profile.ike.proposals.insert(0, better);
    (1..).zip(&mut profile.ike.proposals).for_each(|(number, proposal)| proposal.number = number);
    let client = world.up(profile, 1);
    assert_eq!(client.keys.unwrap().suite.group, Group::EcpP256);
}

/// Trap 3: twelve or eighteen proposals, the weakest first. The best of them under its own number; a modern policy says why not.
#[test]
fn long_lists_of_weak_proposals() {
    for (profile, number) in [(Profile::windows_10(), 11), (Profile::windows_11(), 18), (Profile::windows_registry(), 2)] {
        let mut world = World::lenient();
        let mut client = world.client(profile.clone(), 1);
        let answer = client.init(&mut world.sim);
        assert_eq!(answer.sa().unwrap().proposals[0].number, number);
        let answer = client.authenticate(&mut world.sim);
        assert_eq!(answer.sa().unwrap().proposals[0].number, 1, "AES-256 with SHA-1, by its name allowed; never DES or NULL");
        client.assert_first_child(&world.sim);

        let mut modern = lenient();
        modern.ciphers.ike.truncate(2);
        modern.ciphers.groups.truncate(3);
        let mut world = World::new(modern);
        let answer = world.client(profile, 2).init(&mut world.sim);
        assert!(answer.notify(notify::NO_PROPOSAL_CHOSEN).is_some());
        let failure = world.host().failure().unwrap();
        assert_eq!((failure.fault, failure.stage), (Fault::PeerIncompatible, Stage::SaInit));
        assert!(failure.cause.contains("what a Windows profile needs: -Auth"), "{}", failure.cause);
    }
}

/// Trap 4: two PCs behind two NATs have the same private address, and even the same user: neither disturbs the other.
#[test]
fn the_same_private_address_twice() {
    for same_user in [false, true] {
        let mut world = World::lenient();
        let mut one = world.up(Profile::windows_custom(), 1);
        let mut other = Client::new(Profile::windows_custom(), ELSEWHERE, one.path.remote.ip(), 2);
        if same_user {
            other.user = one.user.clone();
        }
        assert_eq!(one.inside, other.inside);
        world.sim.run_for(Duration::from_secs(1));
        other.path.remote.set_port(500);
        world.assert_login(&mut other);
        assert_ne!(one.child(&world.sim).inner, other.child(&world.sim).inner);
        for _ in 0..3 {
            for client in [&mut one, &mut other] {
                world.assert_alive(client);
                let old = client.spi_in;
                let rekeyed = client.rekey_child(&mut world.sim, Some(old));
                client.assert_child(&world.sim, &rekeyed);
                client.delete_child(&mut world.sim, old);
            }
        }
        one.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        world.assert_alive(&mut other);
        assert_eq!(world.reasons(), [CloseReason::PeerDeleted]);
    }
}

/// Trap 5: no IDr; certificate or EAP is told by AUTH alone, and the gateway's certificate by what the client can verify.
#[test]
fn without_idr() {
    let mut config = lenient();
    config.certificates = vec![server_credential(KeyKind::Ed25519).into(), server_credential(KeyKind::P256).into()];
    let mut world = World::new(config);
    for (number, machine) in [(1, false), (2, true)] {
        let mut pc = world.client(Profile::windows_custom(), number);
        pc.certificate = machine.then(|| client_credential(KeyKind::P256, "pc1.example.test"));
        pc.init(&mut world.sim);
        assert!(pc.first_auth().iter().all(|payload| payload.kind() != kind::ID_R));
        let answer = pc.authenticate(&mut world.sim);
        assert!(answer.sa().is_some(), "{answer:?}");
        assert_eq!(pc.gateway_method, Some(auth_method::ECDSA_P256));
    }
    assert_eq!(world.host().answers.eap_questions, 2, "of the first one only");
}

/// Trap 7: rekeys of the Child SA every few seconds, KE behind the selectors, without KE, with another allowed group, selectors wide again.
#[test]
fn rekeys_at_the_speed_of_windows() {
    let mut world = World::lenient();
    let network = TrafficSelector::network(Ipv4Addr::new(10, 1, 0, 0).into(), 16);
    world.sim.host_mut(world.gateway).answers.grant.selectors = vec![network];
    let mut client = world.up(Profile::windows_custom(), 1);
    let lease = (client.child(&world.sim).inner.clone(), client.child(&world.sim).remote.clone());
    let questions = world.host().answers.eap_questions;
    for round in 0..120u16 {
        client.profile.pfs = match round % 3 {
            0 => vec![Group::EcpP256],
            1 => Vec::new(),
            _ => vec![Group::EcpP384],
        };
        let old = client.spi_in;
        let before = client.child(&world.sim).spi_in;
        let rekeyed = client.rekey_child(&mut world.sim, Some(old));
        client.assert_child(&world.sim, &rekeyed);
        let answer = &rekeyed.answer;
        assert_eq!((answer.ts_initiator().unwrap(), answer.ts_responder().unwrap()), (&lease.1[..], &[network][..]));
        assert_eq!(world.host().outbound.values().next(), Some(&before), "until the client deletes the old one");
        let deleted = client.delete_child(&mut world.sim, old);
        assert_eq!(deleted.deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![before])]);
        let child = client.child(&world.sim);
        assert_eq!((&child.inner, &child.remote), (&lease.0, &lease.1));
        assert_eq!(world.host().outbound.values().copied().collect::<Vec<_>>(), [child.spi_in]);
        world.pass(3);
        assert!(world.host().children.len() <= 3, "{}", world.host().children.len());
    }
    assert_eq!(world.host().rekeyed(false), 120);
    assert_eq!(world.host().answers.eap_questions, questions, "no login has a part in it");
    world.pass(6);
    assert_eq!(world.host().children.len(), 1);
}

/// A narrowed TSr holds what the gateway answers on the client's link, for Windows keeps DHCPINFORM to itself otherwise; nothing of it is
/// forwarded, neither from the login on nor after rekeys that offer everything, or that alone.
#[test]
fn a_narrowed_tsr_holds_what_is_answered_on_the_link() {
    let network = TrafficSelector::network(Ipv4Addr::new(10, 1, 0, 0).into(), 16);
    let all_nodes = TrafficSelector::host(Ipv4Addr::BROADCAST.into());
    let server = TrafficSelector::host(Ipv4Addr::new(192, 0, 0, 8).into());
    let link_local = TrafficSelector::network(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10);
    for (profile, ipv6, wanted) in [
        (Profile::windows_custom(), false, vec![network, all_nodes, server]),
        (Profile::windows_custom(), true, vec![network, all_nodes, server, link_local]),
        (Profile::android(), false, vec![network]),
    ] {
        let mut world = World::lenient();
        let grant = &mut world.sim.host_mut(world.gateway).answers.grant;
        (grant.selectors, grant.link) = (vec![network], vec![all_nodes, server, link_local]);
        grant.ipv6 = grant.ipv6.filter(|_| ipv6);
        let mut client = world.up(profile, 1);
        assert_eq!(client.child.as_ref().unwrap().theirs, wanted);
        assert_eq!(client.child(&world.sim).local, [network]);
        let old = client.spi_in;
        let rekeyed = client.rekey_child(&mut world.sim, Some(old));
        assert_eq!(rekeyed.answer.ts_responder().unwrap(), wanted);
        assert_eq!(client.child(&world.sim).local, [network]);
        let old = client.spi_in;
        client.delete_child(&mut world.sim, old);
        client.selectors = vec![all_nodes, TrafficSelector::any_ipv4()];
        client.rekey_child(&mut world.sim, None);
        assert_eq!(client.child(&world.sim).local, [network]);
    }
}

/// The link alone is no tunnel.
#[test]
fn of_the_link_alone_no_child_is_made() {
    let mut world = World::lenient();
    let all_nodes = TrafficSelector::host(Ipv4Addr::BROADCAST.into());
    let grant = &mut world.sim.host_mut(world.gateway).answers.grant;
    (grant.selectors, grant.link) = (vec![TrafficSelector::network(Ipv4Addr::new(10, 1, 0, 0).into(), 16)], vec![all_nodes]);
    let mut client = world.up(Profile::windows_custom(), 1);
    let old = client.spi_in;
    client.delete_child(&mut world.sim, old);
    client.selectors = vec![all_nodes];
    let refused = client.rekey_child(&mut world.sim, None).answer;
    assert_eq!(refused.error().map(|error| error.kind), Some(notify::TS_UNACCEPTABLE));
}

/// Trap 8: the gateway never rekeys Windows' Child SA; it deletes one that is worn, and Windows makes another.
#[test]
fn a_worn_child_is_deleted() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::windows_custom(), 1);
    let session = world.host().established()[0];
    let worn = client.child(&world.sim).spi_in;
    world.sim.input(world.gateway, Input::Worn { session, spi_in: worn });
    let requests = client.requests(&mut world.sim);
    assert_eq!(requests.len(), 1);
    let (header, payloads) = &requests[0];
    assert_eq!(
        (header.exchange, payloads.deletes().cloned().collect::<Vec<_>>()),
        (Exchange::Informational, vec![Delete::Esp(vec![worn])])
    );
    let theirs = client.spi_in;
    client.answer(&mut world.sim, header, &[Payload::Delete(Delete::Esp(vec![theirs]))]);
    let made = client.rekey_child(&mut world.sim, None);
    client.assert_child(&world.sim, &made);
    world.pass(300);
    assert!(client.requests(&mut world.sim).is_empty(), "no loop");
    world.assert_alive(&mut client);
}

/// Trap 8 of a client that did not show that it is Windows: its refusal is believed, and the tunnel lives on.
#[test]
fn a_refused_rekey_is_not_repeated_at_once() {
    let mut world = World::lenient();
    let mut client = world.up(Profile { maker: Maker::Android, ..Profile::windows_custom() }, 1);
    let session = world.host().established()[0];
    let worn = client.child(&world.sim).spi_in;
    world.sim.input(world.gateway, Input::Worn { session, spi_in: worn });
    world.sim.run_for(Duration::from_millis(50));
    let requests = client.requests(&mut world.sim);
    assert_eq!(requests.iter().map(|(header, _)| header.exchange).collect::<Vec<_>>(), [Exchange::CreateChildSa]);
    let refusal = Payload::Notify(Notify::new(notify::MS_WIN32_ERROR, 13863u32.to_be_bytes()));
    client.answer(&mut world.sim, &requests[0].0, &[refusal]);
    world.pass(240);
    assert!(client.requests(&mut world.sim).is_empty(), "no loop");
    assert!(world.host().notes().contains("13863"), "{}", world.host().notes());
    client.child(&world.sim);
    world.assert_alive(&mut client);
}

/// Trap 9: after 7 h 36 min Windows rekeys the IKE SA, perhaps with a weaker group than before. Children, lease and session go on.
#[test]
fn the_ike_rekey_of_windows() {
    let weaker = Profile::windows_10();
    let cases = [(Profile::windows_custom(), None), (Profile::windows_registry(), Some(weaker)), (Profile::windows_11(), None)];
    for (profile, later) in cases {
        let mut world = World::lenient();
        let mut client = world.up(profile, 1);
        world.pass(27_360);
        let (child, inner) = (client.child(&world.sim).spi_in, client.child(&world.sim).inner.clone());
        let weaker_now = later.is_some();
        if let Some(later) = later {
            (client.profile.ike, client.profile.group) = (later.ike, later.group);
        }
        let old = (client.spi_i, client.spi_r, client.next_id);
        let offer = client.profile.ike.clone();
        let sealed_delete = {
            client.next_id += 1;
            let sealed = client.seal(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
            client.next_id = old.2;
            sealed
        };
        assert!(client.rekey_ike(&mut world.sim, offer).sa().is_some());
        assert_ne!(client.spi_r, old.1);
        let answers = client.send_all(&mut world.sim, sealed_delete);
        assert_eq!(answers.len(), 1, "the old one is deleted and answers");
        assert_eq!(client.next_id, 0, "message IDs begin anew");
        let renegotiated = world.host().events.iter().find_map(|(_, event)| match event {
            Event::Renegotiated { ike: true, suite, weaker } => Some((suite.rsplit('/').next().unwrap(), weaker.as_deref())),
            _ => None,
        });
        assert_eq!(renegotiated, weaker_now.then_some(("MODP_1024", Some("MODP_1024 instead of MODP_2048"))));
        world.assert_alive(&mut client);
        assert_eq!((client.child(&world.sim).spi_in, &client.child(&world.sim).inner), (child, &inner));
        assert_eq!((world.host().established().len(), world.host().closed().len()), (1, 0));
        let old_child = client.spi_in;
        let rekeyed = client.rekey_child(&mut world.sim, Some(old_child));
        client.assert_child(&world.sim, &rekeyed);
        assert_eq!(world.host().rekeyed(true), 1);
    }
}

/// Trap 10: Windows deletes an idle Child SA and makes one when it needs it; address and session stay.
#[test]
fn an_idle_client_keeps_its_lease() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::windows_custom(), 1);
    let inner = client.child(&world.sim).inner.clone();
    for _ in 0..3 {
        let spi_in = client.spi_in;
        client.delete_child(&mut world.sim, spi_in);
        world.pass(10);
        assert!(world.host().children.is_empty());
        world.pass(1800);
        world.assert_alive(&mut client);
        let made = client.rekey_child(&mut world.sim, None);
        client.assert_child(&world.sim, &made);
        assert_eq!(client.child(&world.sim).inner, inner);
    }
    let told = |event: &Event| matches!(event, Event::Established { .. } | Event::Closed(..));
    assert_eq!(world.host().events.iter().filter(|(_, event)| told(event)).count(), 1, "one session from first to last");
}

/// Trap 11: D is answered with our inbound SPI, what is unknown with nothing, crossing deletes with nothing, DELETE of the IKE SA with nothing.
#[test]
fn answers_to_deletes() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::windows_custom(), 1);
    assert_eq!(count(&client.delete_child(&mut world.sim, 0x7777_7777)), 0);
    let ours = client.child(&world.sim).spi_in;
    assert_eq!(count(&client.delete_child(&mut world.sim, ours)), 0, "SPIs are those of the sender's inbound side");
    let session = world.host().established()[0];
    world.sim.input(world.gateway, Input::Worn { session, spi_in: ours });
    let spi_in = client.spi_in;
    assert_eq!(count(&client.delete_child(&mut world.sim, spi_in)), 0, "our own DELETE names it already");
    let (header, _) = client.requests(&mut world.sim).remove(0);
    client.answer(&mut world.sim, &header, &[]);
    world.pass(6);
    assert!(world.host().children.is_empty(), "packets on their way have been taken");
    client.rekey_child(&mut world.sim, None);
    let (spi_in, ours) = (client.spi_in, client.child(&world.sim).spi_in);
    let answer = client.delete_child(&mut world.sim, spi_in);
    assert_eq!(answer.deletes().cloned().collect::<Vec<_>>(), [Delete::Esp(vec![ours])]);
    assert_eq!(count(&client.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)])), 0);
    assert_eq!(world.reasons(), [CloseReason::PeerDeleted]);
}

/// Trap 12: back after silence, without DELETE: with the vendor ID the old session ends at once, without it after liveness; once in any case.
#[test]
fn stale_sessions() {
    for (hint, expected) in [(true, CloseReason::Replaced), (false, CloseReason::PeerLost)] {
        let mut config = lenient();
        config.timers.liveness_interval = Duration::from_secs(30);
        config.timers.network_outage = Duration::ZERO;
        let mut world = World::new(config);
        let first = world.up(Profile::windows_custom(), 1);
        let mut again = world.client(Profile::windows_custom(), 2);
        (again.user, again.first_contact) = (first.user.clone(), hint);
        world.assert_login(&mut again);
        let old = world.host().established()[0];
        if hint {
            assert_eq!(world.host().closed(), [(old, CloseReason::Replaced, None)]);
        }
        for _ in 0..200 {
            for (header, _) in again.requests(&mut world.sim) {
                again.answer(&mut world.sim, &header, &[]);
            }
            world.pass(1);
        }
        assert_eq!(world.host().closed(), [(old, expected, None)]);
        assert_eq!(world.host().children.len(), 1);
        world.assert_alive(&mut again);
    }
}

/// Trap 12: no address left; Windows goes without a DELETE, and nothing of it remains.
#[test]
fn no_address_and_no_farewell() {
    let mut world = World::lenient();
    world.sim.host_mut(world.gateway).answers.grant.address_failure = Some("the pool is empty".into());
    let answer = world.client(Profile::windows_custom(), 1).login(&mut world.sim);
    assert!(answer.notify(notify::INTERNAL_ADDRESS_FAILURE).is_some() && answer.auth().is_some());
    assert_eq!(world.host().endpoint.sessions(), (0, 0), "at once");
    assert!(world.host().children.is_empty());
    assert_eq!(world.host().failure().unwrap().stage, Stage::Address);
    world.pass(60);
    assert!(world.host().is_empty(), "{:?}", world.host());
    assert_eq!(world.reasons(), [CloseReason::Failed]);
}

/// Trap 13: Identity first, Nak, failure at once, a repeated request not asked twice. The clients verify AUTH with the MSK in every login.
#[test]
fn edges_of_eap() {
    let mut world = World::lenient();
    let mut client = world.client(Profile::windows_custom(), 1);
    client.method = Some(eap::method::MSCHAPV2);
    world.assert_login(&mut client);
    assert_eq!(world.host().answers.eap_questions, 3, "Identity, Nak, response");

    let mut client = world.client(Profile::windows_custom(), 2);
    client.init(&mut world.sim);
    client.float();
    let request = client.first_auth();
    let answer = client.exchange(&mut world.sim, Exchange::IkeAuth, &request);
    let first = eap::Packet::parse(answer.eap().unwrap()).unwrap();
    assert_eq!((first.code(), first.method()), (eap::Code::Request, Some(eap::method::IDENTITY)));
    let asked = world.host().answers.eap_questions;
    let identity = client.eap_response(answer.eap().unwrap()).unwrap();
    let request = client.seal(Exchange::IkeAuth, &[Payload::Eap(identity)]);
    let answers: Vec<_> = (0..4).map(|_| client.send_all(&mut world.sim, request.clone())).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && !answer.is_empty()), "the same answer each time");
    assert_eq!(world.host().answers.eap_questions, asked + 1, "the server is asked once");
    world.sim.host_mut(world.gateway).answers.eap = Eap::WrongPassword;
    let challenge = client.open(&answers[0]).unwrap();
    let response = client.eap_response(challenge.eap().unwrap()).unwrap();
    let refused = client.exchange(&mut world.sim, Exchange::IkeAuth, &[Payload::Eap(response)]);
    assert_eq!(eap::Packet::parse(refused.eap().unwrap()).unwrap().code(), eap::Code::Failure);
    assert!(refused.notify(notify::AUTHENTICATION_FAILED).is_some());
    assert_eq!(world.host().endpoint.sessions(), (0, 1), "the other client's");
}

/// Trap 14: RADIUS hangs for one; all others have their answers at once, from the cache too.
#[test]
fn nobody_waits_for_a_hanging_server() {
    let mut world = World::lenient();
    let mut pc = world.up(Profile::windows_custom(), 1);
    world.sim.host_mut(world.gateway).answers.eap = Eap::Silent;
    let mut stuck = world.client(Profile::android(), 2);
    stuck.init(&mut world.sim);
    stuck.float();
    let request = stuck.first_auth();
    let answer = stuck.exchange(&mut world.sim, Exchange::IkeAuth, &request);
    let identity = stuck.eap_response(answer.eap().unwrap()).unwrap();
    let request = stuck.seal(Exchange::IkeAuth, &[Payload::Eap(identity)]);
    let asked = world.host().answers.eap_questions;
    for wait in stuck.profile.patience.clone() {
        assert!(stuck.send_all(&mut world.sim, request.clone()).is_empty());
        world.assert_alive(&mut pc);
        let old = pc.spi_in;
        let rekeyed = pc.rekey_child(&mut world.sim, Some(old));
        pc.assert_child(&world.sim, &rekeyed);
        let delete = pc.seal(Exchange::Informational, &[Payload::Delete(Delete::Esp(vec![old]))]);
        let first = pc.send_all(&mut world.sim, delete.clone());
        assert_eq!(pc.send_all(&mut world.sim, delete), first, "from the cache");
        world.sim.run_for(wait);
    }
    assert_eq!(world.host().answers.eap_questions, asked + 1);
    world.pass(60);
    assert_eq!(world.host().failure().unwrap().fault, Fault::Dependency);
    world.assert_alive(&mut pc);
}

/// Trap 15: the port changes after IKE_SA_INIT, a NAT forgets, a client without MOBIKE is followed; with it, COOKIE2 comes back.
#[test]
fn moves() {
    let mut world = World::lenient();
    let mut old = world.client(Profile::windows_custom(), 2);
    old.mobike = false;
    world.assert_login(&mut old);
    old.path.local.set_port(50_000);
    world.assert_alive(&mut old);
    let (_, path, encapsulate) = *world.host().repaths.last().unwrap();
    assert_eq!((path.remote, encapsulate), (old.path.local, true), "the NAT forgot, and the client has no other way to say so");

    let mut client = world.up(Profile::windows_custom(), 1);
    let session = *world.host().established().last().unwrap();
    assert!(client.child(&world.sim).encapsulate);
    assert_eq!(client.child(&world.sim).path.remote, client.path.local, "the port of IKE_AUTH, not of IKE_SA_INIT");
    client.path.local.set_port(51_000);
    world.assert_alive(&mut client);
    assert_eq!(world.host().repaths.len(), 1, "with MOBIKE an IKE message may only try a path (RFC 4555 section 3.8)");
    let path = ike::Path::between(client.path.remote, client.path.local);
    world.sim.input(world.gateway, ike::Input::PeerMoved { session, path });
    let (_, path, encapsulate) = *world.host().repaths.last().unwrap();
    assert_eq!((path.remote, encapsulate), (client.path.local, true), "the NAT forgot");

    client.path.local = SocketAddr::new(ELSEWHERE.into(), 51_001);
    let cookie = Notify::new(notify::COOKIE2, vec![0xc2; 16]);
    let here = ike::Path { local: SocketAddr::new(client.inside, 4500), ..client.path };
    let mut update = vec![Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, [])), Payload::Notify(cookie.clone())];
    update.extend(ike::nat::detection_notifies(client.spi_i, client.spi_r, here, false).map(Payload::Notify));
    let answer = client.exchange(&mut world.sim, Exchange::Informational, &update);
    assert_eq!(answer.notify(notify::COOKIE2), Some(&cookie));
    assert!(answer.notify(notify::NAT_DETECTION_SOURCE_IP).is_some());
    attend(&mut world, &mut client);
    assert_eq!(world.host().repaths.last().unwrap().1.remote, client.path.local);
    world.assert_alive(&mut client);
}

/// Trap 15: device tunnel and user tunnel of one PC, at once, with the same address; a rekey or the end of one is nothing to the other.
#[test]
fn two_tunnels_of_one_pc() {
    let mut world = World::lenient();
    let mut device = world.client(Profile::windows_custom(), 1);
    device.certificate = Some(client_credential(KeyKind::Rsa, "pc1.example.test"));
    world.assert_login(&mut device);
    // The vendor ID of a first contact is the worse case: it must not end a session of somebody else.
    for (number, first_contact) in [(2, false), (3, true)] {
        let mut user = world.client(Profile::windows_custom(), number);
        user.first_contact = first_contact;
        assert_eq!(user.path.local.ip(), IpAddr::V4(OUTSIDE));
        world.assert_login(&mut user);
        assert_ne!(user.child(&world.sim).inner, device.child(&world.sim).inner);
        user.exchange(&mut world.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        world.assert_alive(&mut device);
        device.child(&world.sim);
    }
}

/// Trap 15: there is no NAT traversal over IPv6: plain ESP.
#[test]
fn plain_esp_over_ipv6() {
    let six = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let mut sim = sim::Sim::new(1);
    let gateway = sim.add(&[six(1)], Some(lenient()));
    let mut world = World { sim, gateway };
    let mut client = Client::new(Profile::windows_custom(), OUTSIDE, six(1), 1).direct(six(7));
    world.assert_login(&mut client);
    assert!(!client.child(&world.sim).encapsulate);
}

/// What Windows sends besides: a payload of type 200, unknown configuration attributes, vendor IDs without a name.
#[test]
fn what_is_unknown_is_passed_over() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::windows_custom(), 1);
    let unknown = Payload::Unknown { kind: 200, critical: false, data: vec![1; 20] };
    let vendor = Payload::Vendor(vec![0x5e; 32]);
    let answer = client.exchange(&mut world.sim, Exchange::Informational, &[unknown.clone(), vendor.clone()]);
    assert_eq!(count(&answer), 0);
    let mut other = world.client(Profile::windows_custom(), 2);
    other.init(&mut world.sim);
    other.float();
    let mut request = other.first_auth();
    request.insert(0, unknown);
    request.insert(2, vendor);
    for payload in &mut request {
        if let Payload::Configuration(Configuration { attributes, .. }) = payload {
            attributes.push(ike::wire::ConfigurationAttribute::Other { kind: 0x4abc, value: vec![9; 7] });
        }
    }
    let answer = other.exchange(&mut world.sim, Exchange::IkeAuth, &request);
    assert!(answer.eap().is_some(), "{answer:?}");
}

/// A rekey of the IKE SA without any transform that fits is refused, and the tunnel goes on.
#[test]
fn an_ike_rekey_that_cannot_be() {
    let mut world = World::lenient();
    let mut client = world.up(Profile::windows_custom(), 1);
    let mut offer: SaPayload = client.profile.ike.clone();
    offer.proposals[0].transforms[0].id = 2;
    let answer = client.rekey_ike(&mut world.sim, offer);
    assert!(answer.notify(notify::NO_PROPOSAL_CHOSEN).is_some());
    world.assert_alive(&mut client);
    client.child(&world.sim);
}
