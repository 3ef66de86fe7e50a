//! IKE over TCP (RFC 9329): answers go where requests came from, nothing is repeated on a connection, a new one takes the place of a broken one.
use super::{CLIENT, GATEWAY, Pair};
use crypto::dh::Group;
use ike::{Command, ConnectionId, InitiatorConfig, Input, Limits, Path};
use sim::{initiator, responder};
use std::net::SocketAddr;
use std::time::Duration;

fn over(connection: u64) -> Path {
    let path = Path::between(SocketAddr::new(CLIENT, 30_000 + connection as u16), SocketAddr::new(GATEWAY, 443));
    Path { connection: Some(ConnectionId(connection)), ..path }
}

fn over_udp() -> Path {
    Path::between(SocketAddr::new(CLIENT, 4500), SocketAddr::new(GATEWAY, 4500))
}

fn seen_by_gateway(path: Path) -> Path {
    Path { local: path.remote, remote: path.local, ..path }
}

fn client() -> InitiatorConfig {
    InitiatorConfig { path: over(1), mobike: true, ..initiator(CLIENT, GATEWAY) }
}

fn up() -> Pair {
    Pair::up_with(1, responder(), client())
}

fn rehome(pair: &mut Pair, path: Path) {
    let session = pair.session(pair.client);
    pair.sim.input(pair.client, Input::Rehome { session, path });
}

/// Where the gateway has sent since.
fn sent_since(pair: &Pair, count: usize) -> Vec<Path> {
    pair.gateway().sent[count..].iter().map(|(path, _)| *path).collect()
}

#[test]
fn a_login_stays_on_its_connection() {
    let pair = up();
    for (host, path) in [(pair.client(), over(1)), (pair.gateway(), seen_by_gateway(over(1)))] {
        assert!(host.sent.iter().all(|(to, _)| *to == path));
        assert_eq!(host.children.values().next().unwrap().path, path);
    }
}

/// RFC 9329 section 7.4: what is too long for a datagram, as ML-KEM is, is not too long for a stream.
#[test]
fn nothing_is_fragmented_on_a_connection() {
    let fragments = |path: Path| {
        let (mut gateway, mut client) = (responder(), InitiatorConfig { path, ..client() });
        gateway.ciphers.additional = vec![Group::MlKem1024];
        client.ciphers.additional = vec![Group::MlKem1024];
        let pair = Pair::up_with(1, gateway, client);
        [pair.gateway(), pair.client()].map(|host| host.sent.iter().filter(|(_, message)| is_fragment(message)).count())
    };
    assert_eq!(fragments(over(1)), [0, 0]);
    assert!(fragments(over_udp()).iter().all(|count| *count > 0));
}

/// Encrypted and Authenticated Fragment (RFC 7383 section 2.5).
fn is_fragment(message: &[u8]) -> bool {
    message.get(16) == Some(&53)
}

/// RADIUS takes its time, longer than the first retransmissions over UDP.
#[test]
fn nothing_is_sent_twice_on_a_connection() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.eap_delay = Duration::from_secs(5);
    pair.dial(client()).assert_up();
    let mut messages: Vec<_> = pair.client().sent.iter().map(|(_, message)| message).collect();
    let count = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), count);
}

#[test]
fn tcp_clients_have_shown_their_address_without_a_cookie() {
    let limits = Limits { cookie_threshold: 0, ..responder().limits };
    let mut pair = Pair::new(1, ike::ResponderConfig { limits, ..responder() });
    pair.dial(client()).assert_up();
    assert_eq!(pair.gateway().endpoint.counters().cookies_sent, 0);
}

/// A request of the gateway's is lost with the connection; on the next it is asked again, and answered.
#[test]
fn a_new_connection_takes_the_place_of_a_broken_one() {
    for mobike in [true, false] {
        comes_back_on_another_connection(mobike);
    }
}

fn comes_back_on_another_connection(mobike: bool) {
    let mut pair = Pair::up_with(1, responder(), InitiatorConfig { mobike, ..client() });
    pair.sim.broken.insert(ConnectionId(1));
    let session = pair.session(pair.gateway);
    pair.sim.command(pair.gateway, session, Command::RekeyChild);
    pair.sim.run_for(Duration::from_secs(20));
    assert_eq!(pair.gateway().rekeyed(false), 0);
    rehome(&mut pair, over(2));
    pair.sim.run_for(Duration::from_secs(2));
    assert_eq!(pair.gateway().rekeyed(false), 1);
    assert_eq!(pair.gateway().repaths, [(session, seen_by_gateway(over(2)), false)]);
    pair.carry(Duration::from_secs(300));
    pair.assert_up();
}

/// The client's request was answered into the void: the answer comes again, the request has no second effect.
#[test]
fn an_answer_that_was_lost_comes_on_the_next_connection() {
    let mut pair = up();
    let session = pair.session(pair.client);
    pair.sim.command(pair.client, session, Command::RekeyIke);
    pair.sim.run_for(Duration::from_millis(15));
    pair.sim.broken.insert(ConnectionId(1));
    pair.sim.run_for(Duration::from_secs(5));
    assert_eq!((pair.gateway().rekeyed(true), pair.client().rekeyed(true)), (1, 0));
    rehome(&mut pair, over(2));
    pair.sim.run_for(Duration::from_secs(2));
    assert_eq!((pair.gateway().rekeyed(true), pair.client().rekeyed(true)), (1, 1));
    pair.carry(Duration::from_secs(100));
    pair.assert_up();
}

#[test]
fn a_client_that_does_not_come_back_is_lost() {
    let mut pair = up();
    pair.sim.broken.insert(ConnectionId(1));
    pair.sim.run_for(responder().timers.network_outage + Duration::from_secs(300));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 0));
    assert!(pair.gateway().is_empty());
}

#[test]
fn mobike_leads_from_tcp_to_udp_and_back() {
    let mut pair = up();
    for (path, round) in [(over_udp(), 1), (over(2), 2)] {
        let count = pair.gateway().sent.len();
        rehome(&mut pair, path);
        pair.sim.run_for(Duration::from_secs(1));
        assert_eq!(sent_since(&pair, count), [seen_by_gateway(path)], "the answer leaves where the request came in");
        assert_eq!(pair.gateway().repaths.len(), round);
        assert_eq!(pair.gateway().repaths.last().unwrap().1, seen_by_gateway(path));
        pair.carry(Duration::from_secs(100));
        pair.assert_up();
    }
}

/// The packet threads see a packet on the new connection before any message came there.
#[test]
fn packets_alone_bring_a_session_to_a_new_connection() {
    let mut pair = up();
    let session = pair.session(pair.gateway);
    let path = seen_by_gateway(over(2));
    pair.sim.input(pair.gateway, Input::PeerMoved { session, path });
    assert_eq!(pair.gateway().repaths, [(session, path, false)]);
    let count = pair.gateway().sent.len();
    pair.sim.command(pair.gateway, session, Command::Liveness);
    assert_eq!(sent_since(&pair, count), [path]);
    pair.sim.input(pair.gateway, Input::PeerMoved { session, path: seen_by_gateway(over_udp()) });
    assert_eq!(pair.gateway().repaths.len(), 1, "to UDP by MOBIKE alone");
}
