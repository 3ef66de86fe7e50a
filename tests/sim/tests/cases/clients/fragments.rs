//! Trap 6, IKE_AUTH in fragments: many, in any order, twice, cut in two ways, with wrong totals, forged; and answers in fragments.
use super::{World, lenient};
use crypto::{Random, SeededRandom};
use ike::wire::{CertificateRequest, Exchange, Header, Payload, kind};
use sim::clients::{Client, InSim, Profile};
use sim::{KeyKind, client_credential};

/// Where the number of an SKF payload stands, behind the header and its generic header; its total follows.
const NUMBER: usize = 32;

/// A client at its first IKE_AUTH request, with this many authorities.
fn at_the_door(authorities: u16) -> (World, Client) {
    let mut world = World::new(lenient());
    let mut client = world.client(Profile { authorities, ..Profile::windows_custom() }, 1);
    client.init(&mut world.sim);
    client.float();
    (world, client)
}

fn totals(datagram: &[u8]) -> (u16, u16) {
    let field = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    (field(NUMBER), field(NUMBER + 2))
}

fn shuffle(datagrams: &mut [Vec<u8>], seed: u64) {
    let mut random = SeededRandom::new(seed);
    for at in (1..datagrams.len()).rev() {
        let mut byte = [0; 2];
        random.fill(&mut byte);
        datagrams.swap(at, usize::from(u16::from_be_bytes(byte)) % (at + 1));
    }
}

/// The gateway has the whole request: it answers with its own proof and asks for the EAP identity.
#[track_caller]
fn assert_understood(client: &Client, answers: &[Vec<u8>]) {
    let answer = client.open(answers).expect("a whole answer");
    assert!(answer.eap().is_some() && answer.auth().is_some(), "{answer:?}");
}

#[test]
fn the_sizes_of_windows() {
    let (mut world, mut client) = at_the_door(200);
    let request = client.first_auth();
    let fragments = client.seal(Exchange::IkeAuth, &request);
    assert!(fragments.len() >= 8 && fragments.iter().all(|datagram| datagram.len() <= 580));
    for (number, fragment) in (1..).zip(&fragments) {
        assert_eq!(totals(fragment), (number, fragments.len() as u16));
        assert_eq!(fragment[28] == 0, number > 1, "the first payload is told in the first fragment only");
    }
    let answers = client.send_all(&mut world.sim, fragments);
    assert_understood(&client, &answers);
}

/// 29 fragments have been seen in the field; 64 are taken, in any order, with duplicates.
#[test]
fn sixty_four_in_any_order() {
    for seed in 0..20 {
        let (mut world, mut client) = at_the_door(1600);
        let request = client.first_auth();
        let mut fragments = client.seal(Exchange::IkeAuth, &request);
        assert!((62..=70).contains(&fragments.len()), "{}", fragments.len());
        let duplicates: Vec<_> = fragments.iter().step_by(3).cloned().collect();
        fragments.extend(duplicates);
        shuffle(&mut fragments, seed);
        let answers = client.send_all(&mut world.sim, fragments);
        assert_understood(&client, &answers);
    }
}

/// Path MTU trouble: the client begins with large fragments and starts over with smaller ones. The old ones that come late do not fit.
#[test]
fn cut_anew_and_smaller() {
    let (mut world, mut client) = at_the_door(200);
    let request = client.first_auth();
    let large = client.seal_as(Exchange::IkeAuth, false, 1, &request, 1200);
    let small = client.seal_as(Exchange::IkeAuth, false, 1, &request, 576);
    assert!(small.len() > large.len() && large.len() > 1);
    let last = large.len() - 1;
    assert!(client.send_all(&mut world.sim, large[..last].to_vec()).is_empty());
    let (head, tail) = small.split_at(small.len() / 2);
    assert!(client.send_all(&mut world.sim, head.to_vec()).is_empty());
    assert!(client.send(&mut world.sim, large[last].clone()).is_empty(), "it belongs to the other cut");
    let answers = client.send_all(&mut world.sim, tail.to_vec());
    assert_understood(&client, &answers);
}

/// Whoever sees a fragment and makes another of it: number, total, content or a bit of the check value are not what was sealed.
#[test]
fn a_forged_one_among_them() {
    for forge in 0..5 {
        let (mut world, mut client) = at_the_door(200);
        let request = client.first_auth();
        let fragments = client.seal(Exchange::IkeAuth, &request);
        let mut forged = fragments[3].clone();
        let len = forged.len();
        match forge {
            0 => forged[NUMBER + 1] = 2,
            1 => forged[NUMBER + 3] += 1,
            2 => forged[NUMBER + 3] -= 1,
            3 => forged[len - 1] ^= 1,
            _ => forged[100] ^= 0x80,
        }
        let before = world.host().endpoint.counters().forged;
        let mut all = fragments[..3].to_vec();
        all.push(forged);
        all.extend_from_slice(&fragments[4..]);
        assert!(client.send_all(&mut world.sim, all).is_empty(), "one is missing");
        assert_eq!(world.host().endpoint.counters().forged, before + 1);
        let answers = client.send(&mut world.sim, fragments[3].clone());
        assert_understood(&client, &answers);
    }
}

/// Of a peer that has the keys: numbers above the total, more than anybody holds. It harms itself alone, and no more than this login.
#[test]
fn totals_that_cannot_be() {
    let (mut world, mut client) = at_the_door(6000);
    let mut request = client.first_auth();
    assert_eq!(client.first_auth().len(), 7);
    request.push(Payload::CertificateRequest(CertificateRequest::x509([[1; 20]; 3000])));
    let many = client.seal_as(Exchange::IkeAuth, false, 1, &request, 256);
    assert!(many.len() > 128);
    let before = world.host().endpoint.counters().malformed;
    assert!(client.send_all(&mut world.sim, many).is_empty());
    assert!(world.host().endpoint.counters().malformed > before);
    client.profile.authorities = 200;
    let request = client.first_auth();
    let fragments = client.seal(Exchange::IkeAuth, &request);
    let answers = client.send_all(&mut world.sim, fragments);
    assert_understood(&client, &answers);
}

/// A request that was answered, again: one answer, to its first fragment; and SKF after SK with the same message ID is a repetition.
#[test]
fn repetitions() {
    let (mut world, mut client) = at_the_door(200);
    let request = client.first_auth();
    let fragments = client.seal(Exchange::IkeAuth, &request);
    let first = client.send_all(&mut world.sim, fragments.clone());
    assert_understood(&client, &first);
    assert!(client.send_all(&mut world.sim, fragments[1..].to_vec()).is_empty());
    assert_eq!(client.send(&mut world.sim, fragments[0].clone()), first);

    let (mut world, mut client) = at_the_door(0);
    let request = client.first_auth();
    let whole = client.seal_as(Exchange::IkeAuth, false, 1, &request, 60_000);
    let cut = client.seal_as(Exchange::IkeAuth, false, 1, &request, 256);
    assert_eq!((whole.len(), cut.len() > 1), (1, true));
    assert!(client.send_all(&mut world.sim, cut[1..].to_vec()).is_empty());
    let first = client.send_all(&mut world.sim, whole);
    assert_understood(&client, &first);
    assert_eq!(client.send_all(&mut world.sim, cut), first);
    assert_eq!(world.host().endpoint.sessions(), (1, 0));
}

/// What the gateway says is cut too where it is long, to no more than an IPv6 packet of 1280 bytes; and only for who can put it together.
#[test]
fn answers_are_cut() {
    let mut world = World::new(lenient());
    let domains = (0..60).map(|number| format!("department-{number}.corp.example.test")).collect();
    world.sim.host_mut(world.gateway).answers.grant.dns_domains = domains;
    let mut client = world.client(Profile::apple(), 1);
    client.certificate = Some(client_credential(KeyKind::P256, "phone.example.test"));
    client.init(&mut world.sim);
    client.float();
    let request = client.first_auth();
    let fragments = client.seal(Exchange::IkeAuth, &request);
    let answers = client.send_all(&mut world.sim, fragments);
    assert!(answers.len() > 1, "{}", answers.len());
    assert!(answers.iter().all(|datagram| datagram.len() <= 1228));
    assert!(client.open(&answers).unwrap().sa().is_some());
}

/// Right SPIs, message ID and address, but no keys: nothing changes, in no state.
#[test]
fn a_malformed_message_changes_nothing() {
    let mut world = World::new(lenient());
    let mut client = world.client(Profile::windows_custom(), 1);
    client.init(&mut world.sim);
    client.float();
    refuses_strangers(&mut world, &client, Exchange::IkeAuth);
    client.path.remote.set_port(500);
    client.path.local.set_port(20_001);
    let answer = client.authenticate(&mut world.sim);
    assert!(answer.sa().is_some(), "{answer:?}");
    for exchange in [Exchange::Informational, Exchange::CreateChildSa, Exchange::IkeAuth, Exchange::Other(250)] {
        refuses_strangers(&mut world, &client, exchange);
        world.assert_alive(&mut client);
    }
    client.child(&world.sim);
}

#[track_caller]
fn refuses_strangers(world: &mut World, client: &Client, exchange: Exchange) {
    let flags = ike::wire::Flags { initiator: true, ..Default::default() };
    let header = Header::new(client.spi_i, client.spi_r, exchange, flags, client.next_id);
    let plain = ike::wire::encode(&header, &[Payload::Notify(ike::wire::Notify::new(7, []))]);
    let mut messages = vec![plain, ike::wire::encode(&header, &[Payload::Delete(ike::wire::Delete::Ike)]), ike::wire::encode(&header, &[])];
    for sealed in [kind::SK, kind::SKF] {
        for len in [0, 1, 4, 7, 8, 15, 16, 24, 31, 32, 64, 500, 65_000] {
            let data = [&[0, 1, 0, 1][..], &vec![0x61; len]].concat();
            messages.push(ike::wire::encode(&header, &[Payload::Unknown { kind: sealed, critical: false, data }]));
        }
    }
    let (events, sessions) = (world.host().events.len(), world.host().endpoint.sessions());
    let before = world.host().endpoint.counters();
    let number = messages.len() as u64;
    let answers = client.send_all(&mut world.sim, messages);
    assert!(answers.is_empty());
    let after = world.host().endpoint.counters();
    assert_eq!(after.malformed + after.forged - before.malformed - before.forged, number);
    assert_eq!((world.host().events.len(), world.host().endpoint.sessions()), (events, sessions));
}
