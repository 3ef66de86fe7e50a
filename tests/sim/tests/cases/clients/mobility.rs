//! Clients that move, and the gateway that looks whether they are where they say (RFC 4555 sections 3.5, 3.7 and 3.9).
use super::{ELSEWHERE, OUTSIDE, World, attend, lenient, update};
use ike::wire::{Exchange, Header, Notify, Payload, Payloads, notify};
use ike::{CloseReason, Command, Event, Input, Path, ResponderConfig};
use sim::clients::{Client, InSim, Profile};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const THIRD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

fn up() -> (World, Client) {
    up_with(lenient())
}

fn up_with(config: ResponderConfig) -> (World, Client) {
    let mut world = World::new(config);
    let client = world.up(Profile::apple(), 1);
    (world, client)
}

/// The client says that it is at this address; the gateway's answer.
fn moves(world: &mut World, client: &mut Client, to: Ipv4Addr) -> Payloads {
    client.path.local.set_ip(to.into());
    let payloads = update(client);
    client.exchange(&mut world.sim, Exchange::Informational, &payloads)
}

/// The only request of the gateway that is new to the client.
fn asked(world: &mut World, client: &mut Client) -> (Header, Payloads) {
    let mut requests = client.requests(&mut world.sim);
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn goes_to(world: &World) -> Vec<SocketAddr> {
    world.host().repaths.iter().map(|(_, path, _)| path.remote).collect()
}

fn cookie_of(payloads: &Payloads) -> Notify {
    payloads.notify(notify::COOKIE2).expect("COOKIE2").clone()
}

/// RFC 4555 section 3.6: the addresses that the client has not dialled, for one that speaks MOBIKE.
#[test]
fn clients_are_told_where_else_the_gateway_is() {
    let (ipv4, ipv6) = (Ipv4Addr::new(192, 0, 2, 99), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 99));
    for mobike in [true, false] {
        let mut world = World::new(ResponderConfig { addresses: vec![super::GATEWAY, ipv4.into(), ipv6.into()], ..lenient() });
        let mut client = world.client(Profile::apple(), 1);
        client.mobike = mobike;
        let answer = client.login(&mut world.sim);
        let told = |kind| answer.notifies().filter(|it| it.kind == kind).map(|it| it.data.clone()).collect::<Vec<_>>();
        let wanted = |address: &[u8]| if mobike { vec![address.to_vec()] } else { vec![] };
        assert_eq!(told(notify::ADDITIONAL_IP4_ADDRESS), wanted(&ipv4.octets()));
        assert_eq!(told(notify::ADDITIONAL_IP6_ADDRESS), wanted(&ipv6.octets()));
    }
}

#[test]
fn packets_follow_when_the_client_has_answered() {
    let (mut world, mut client) = up();
    let before = client.path.local;
    let answer = moves(&mut world, &mut client, ELSEWHERE);
    assert_eq!(cookie_of(&answer).data, [9; 32]);
    assert_eq!(goes_to(&world), [], "not yet");
    assert!(world.host().events.iter().any(|(_, event)| matches!(event, Event::Moved(path) if path.remote == client.path.local)));
    let (header, question) = asked(&mut world, &mut client);
    let cookie = cookie_of(&question);
    assert!((8..=64).contains(&cookie.data.len()), "section 4.2.5");
    client.answer(&mut world.sim, &header, &[Payload::Notify(cookie.clone())]);
    assert_eq!(goes_to(&world), [client.path.local]);
    // Back again, by another cookie.
    moves(&mut world, &mut client, OUTSIDE);
    let (header, question) = asked(&mut world, &mut client);
    assert_ne!(cookie_of(&question), cookie);
    client.answer(&mut world.sim, &header, &[Payload::Notify(cookie_of(&question))]);
    assert_eq!(goes_to(&world).last(), Some(&before));
    world.assert_alive(&mut client);
}

/// Who cannot read the question cannot answer it: the IKE SA is closed, and the record says what to do about a client that never could.
#[test]
fn another_cookie_or_none_ends_the_session() {
    for wrong in [None, Some(vec![7; 16])] {
        let (mut world, mut client) = up();
        moves(&mut world, &mut client, ELSEWHERE);
        let (header, question) = asked(&mut world, &mut client);
        assert_ne!(Some(&cookie_of(&question).data), wrong.as_ref());
        let echo: Vec<_> = wrong.map(|data| Payload::Notify(Notify::new(notify::COOKIE2, data))).into_iter().collect();
        client.answer(&mut world.sim, &header, &echo);
        assert_eq!(world.reasons(), [CloseReason::Failed]);
        let cause = world.host().failure().unwrap().cause;
        assert!(cause.contains("198.51.100.9") && cause.contains("return_routability = false"), "{cause}");
        assert!(world.host().children.is_empty() && goes_to(&world).is_empty());
        let (_, goodbye) = asked(&mut world, &mut client);
        assert_eq!(goodbye.deletes().count(), 1);
    }
}

/// Somebody with a login has packets sent to another: they never go there.
#[test]
fn nothing_but_questions_goes_to_one_who_does_not_answer() {
    let mut config = lenient();
    config.timers.network_outage = std::time::Duration::from_secs(600);
    let (mut world, mut client) = up_with(config);
    moves(&mut world, &mut client, ELSEWHERE);
    let victim = client.path.local;
    let before = world.host().sent.len();
    world.pass(590);
    assert_eq!(goes_to(&world), []);
    let flood: Vec<usize> = world.host().sent[before..].iter().filter(|(path, _)| path.remote == victim).map(|(_, it)| it.len()).collect();
    assert!(flood.len() < 20 && flood.iter().all(|length| *length < 150), "{flood:?}");
    world.pass(20);
    assert_eq!(world.reasons(), [CloseReason::PeerLost]);
}

/// An answer that may have been given elsewhere does not count; what is new is asked at the new address.
#[test]
fn a_client_that_moves_on_is_asked_again() {
    let (mut world, mut client) = up();
    moves(&mut world, &mut client, ELSEWHERE);
    let (header, question) = asked(&mut world, &mut client);
    let answer = Payload::Notify(cookie_of(&question));
    client.path.local.set_ip(THIRD.into());
    let payloads = update(&client);
    client.exchange(&mut world.sim, Exchange::Informational, &payloads);
    client.answer(&mut world.sim, &header, &[answer]);
    assert_eq!(goes_to(&world), [], "the question went to two places");
    let requests = client.requests(&mut world.sim);
    assert_eq!(requests.iter().filter(|(again, _)| again.message_id == header.message_id).count(), 1, "asked at the third place too");
    let (header, question) = requests.into_iter().find(|(next, _)| next.message_id > header.message_id).unwrap();
    client.answer(&mut world.sim, &header, &[Payload::Notify(cookie_of(&question))]);
    assert_eq!(goes_to(&world), [client.path.local]);
}

/// There and back before it answers: its packets never left.
#[test]
fn a_client_that_comes_back_needs_no_proof() {
    let (mut world, mut client) = up();
    let home = client.path.local;
    moves(&mut world, &mut client, ELSEWHERE);
    moves(&mut world, &mut client, OUTSIDE);
    assert_eq!(goes_to(&world), [home]);
    assert_eq!(attend(&mut world, &mut client), 1, "what it was asked elsewhere it still owes");
    assert_eq!((goes_to(&world), attend(&mut world, &mut client)), (vec![home], 0));
    world.assert_alive(&mut client);
}

/// A question that waits for its answer is repeated there at once, so that the check is not late.
#[test]
fn what_was_asked_before_does_not_hold_it_up() {
    let (mut world, mut client) = up();
    let session = world.host().established()[0];
    world.sim.command(world.gateway, session, Command::Liveness);
    moves(&mut world, &mut client, ELSEWHERE);
    for _ in 0..2 {
        assert_eq!((goes_to(&world), attend(&mut world, &mut client)), (vec![], 1));
    }
    assert_eq!(goes_to(&world), [client.path.local]);
}

/// A Child SA that is made while the gateway waits for the answer sends where the others do.
#[test]
fn a_rekey_meanwhile_does_not_go_around_the_check() {
    let (mut world, mut client) = up();
    let (home, old) = (client.path.local, client.spi_in);
    moves(&mut world, &mut client, ELSEWHERE);
    let rekeyed = client.rekey_child(&mut world.sim, Some(old));
    client.assert_child(&world.sim, &rekeyed);
    assert_eq!(client.child(&world.sim).path.remote, home);
    assert_eq!(attend(&mut world, &mut client), 1);
    assert_eq!(goes_to(&world), [client.path.local]);
}

/// Nothing is asked where nothing is new: another port of the same address. Nor where it is turned off.
#[test]
fn without_check() {
    let (mut world, mut client) = up();
    client.path.local.set_port(50_000);
    let to = client.path.local;
    let IpAddr::V4(same) = to.ip() else { panic!("IPv4") };
    moves(&mut world, &mut client, same);
    assert_eq!((goes_to(&world), attend(&mut world, &mut client)), (vec![to], 0));
    let (mut world, mut client) = up_with(ResponderConfig { return_routability: false, ..lenient() });
    moves(&mut world, &mut client, ELSEWHERE);
    assert_eq!((goes_to(&world), attend(&mut world, &mut client)), (vec![client.path.local], 0));
}

/// A packet of the client came from there; its NAT may have moved, or somebody lies.
fn sighted(world: &mut World, client: &Client, at: Ipv4Addr) {
    let session = world.host().established()[0];
    let path = Path::between(client.path.remote, SocketAddr::new(at.into(), client.path.local.port()));
    world.sim.input(world.gateway, Input::PeerMoved { session, path });
}

#[test]
fn packets_follow_a_nat_that_moved_when_the_client_has_answered() {
    let (mut world, mut client) = up();
    sighted(&mut world, &client, ELSEWHERE);
    assert_eq!(goes_to(&world), [], "not yet");
    client.path.local.set_ip(ELSEWHERE.into());
    assert_eq!(attend(&mut world, &mut client), 1);
    assert_eq!(goes_to(&world), [client.path.local]);
    // Another port of the same address is no other host.
    client.path.local.set_port(50_000);
    sighted(&mut world, &client, ELSEWHERE);
    assert_eq!((goes_to(&world).last(), attend(&mut world, &mut client)), (Some(&client.path.local), 0));
    world.assert_alive(&mut client);
}

/// Somebody has a login and sends one packet in another's name, or a copy of an honest client's packet: nothing but questions goes there, and the
/// session stays where it is.
#[test]
fn a_packet_from_elsewhere_proves_nothing() {
    for own in [false, true] {
        let (mut world, mut client) = up();
        let session = world.host().established()[0];
        if own {
            world.sim.command(world.gateway, session, Command::Liveness);
        }
        let victim = SocketAddr::new(ELSEWHERE.into(), client.path.local.port());
        let before = world.host().sent.len();
        sighted(&mut world, &client, ELSEWHERE);
        world.pass(1000);
        let flood: Vec<usize> =
            world.host().sent[before..].iter().filter(|(path, _)| path.remote == victim).map(|(_, it)| it.len()).collect();
        assert!((1..20).contains(&flood.len()) && flood.iter().all(|length| *length < 150), "{flood:?}");
        assert_eq!((goes_to(&world), world.reasons()), (vec![], vec![]));
        attend(&mut world, &mut client);
        world.assert_alive(&mut client);
        assert_eq!(goes_to(&world), []);
    }
}

/// An answer to what was asked elsewhere does not count for the third place.
#[test]
fn packets_from_a_third_place() {
    let (mut world, mut client) = up();
    moves(&mut world, &mut client, ELSEWHERE);
    let (header, question) = asked(&mut world, &mut client);
    sighted(&mut world, &client, THIRD);
    client.answer(&mut world.sim, &header, &[Payload::Notify(cookie_of(&question))]);
    assert_eq!(goes_to(&world), []);
    client.path.local.set_ip(THIRD.into());
    attend(&mut world, &mut client);
    assert_eq!(goes_to(&world), [client.path.local]);
    world.assert_alive(&mut client);
}

/// The tunnel must not lead into itself.
#[test]
fn a_client_cannot_move_into_its_tunnel() {
    let (mut world, mut client) = up();
    let home = client.path.local;
    let IpAddr::V4(inner) = client.child(&world.sim).inner[0] else { panic!("IPv4") };
    for bad in [inner, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
        let answer = moves(&mut world, &mut client, bad);
        assert!(answer.notify(notify::UNACCEPTABLE_ADDRESSES).is_some(), "{bad}");
        assert_eq!(cookie_of(&answer).data, [9; 32]);
    }
    assert!(world.host().notes().contains("would lead into itself"), "{}", world.host().notes());
    client.path.local = home;
    world.assert_alive(&mut client);
    assert_eq!((goes_to(&world), attend(&mut world, &mut client)), (vec![], 0));
}

/// NO_NATS_ALLOWED for a message from here to there.
fn no_nats(from: SocketAddr, to: SocketAddr) -> Payload {
    let address = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let data = [address(from), address(to), from.port().to_be_bytes().to_vec(), to.port().to_be_bytes().to_vec()].concat();
    Payload::Notify(Notify::new(notify::NO_NATS_ALLOWED, data))
}

/// It does not move where a NAT is on its way, and logs in through none.
#[test]
fn a_client_that_allows_no_nat() {
    let (mut world, mut client) = up();
    let inside = SocketAddr::new(client.inside, 4500);
    for (seen, moved) in [(inside, false), (SocketAddr::new(ELSEWHERE.into(), client.path.local.port()), true)] {
        client.path.local.set_ip(ELSEWHERE.into());
        let request = [Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, [])), no_nats(seen, client.path.remote)];
        let answer = client.exchange(&mut world.sim, Exchange::Informational, &request);
        assert_eq!(answer.notify(notify::UNEXPECTED_NAT_DETECTED).is_some(), !moved, "{answer:?}");
        assert_eq!(attend(&mut world, &mut client), usize::from(moved));
        assert_eq!(goes_to(&world).len(), usize::from(moved));
    }
    let mut second = world.client(Profile::apple(), 2);
    second.init(&mut world.sim);
    second.float();
    let mut request = second.first_auth();
    request.push(no_nats(inside, second.path.remote));
    let answer = second.exchange(&mut world.sim, Exchange::IkeAuth, &request);
    assert!(answer.notify(notify::UNEXPECTED_NAT_DETECTED).is_some(), "{answer:?}");
    let failure = world.host().failure().unwrap();
    assert_eq!(failure.notify, Some("UNEXPECTED_NAT_DETECTED"));
    assert!(failure.cause.contains("NO_NATS_ALLOWED") && failure.cause.contains("203.0.113.4"), "{}", failure.cause);
    let mut third = world.client(Profile::apple(), 3);
    third.init(&mut world.sim);
    third.float();
    let mut request = third.first_auth();
    request.push(no_nats(third.path.local, third.path.remote));
    assert!(third.exchange(&mut world.sim, Exchange::IkeAuth, &request).eap().is_some());
}
