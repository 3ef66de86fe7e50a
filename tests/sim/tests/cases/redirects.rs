//! Redirect (RFC 5685).
use super::{CLIENT, GATEWAY, Pair};
use ike::wire::{Exchange, Message, Notify, Payload, Spi, encode, notify};
use ike::{CloseReason, GatewayIdentity, InitiatorConfig, Input, Path, ResponderConfig, SessionId};
use sim::{HostId, KeyKind, Script, Sim, ciphers, client_credential, initiator, responder};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const SECOND: Duration = Duration::from_secs(1);

fn to(address: IpAddr) -> GatewayIdentity {
    GatewayIdentity::Address(address)
}

fn draining(gateway: GatewayIdentity) -> ResponderConfig {
    ResponderConfig { redirect: Some(gateway), ..responder() }
}

fn follower() -> InitiatorConfig {
    InitiatorConfig { follow_redirects: true, ..initiator(CLIENT, GATEWAY) }
}

/// Two gateways and a client.
struct Trio {
    sim: Sim,
    gateway: HostId,
    client: HostId,
    other: HostId,
}

fn trio(one: ResponderConfig, two: ResponderConfig) -> Trio {
    let Pair { mut sim, gateway, client } = Pair::new(1, one);
    let other = sim.add(&[OTHER], Some(two));
    Trio { sim, gateway, client, other }
}

impl Trio {
    fn dial(mut self, config: InitiatorConfig) -> Self {
        self.sim.connect(self.client, config);
        self.sim.run_for(5 * SECOND);
        self
    }

    fn send_away(&mut self, session: SessionId, to: GatewayIdentity) {
        self.sim.input(self.gateway, Input::Redirect { session, to });
    }

    fn sessions(&self, host: HostId) -> (usize, usize) {
        self.sim.host(host).endpoint.sessions()
    }

    fn reasons(&self, host: HostId) -> Vec<CloseReason> {
        self.sim.host(host).closed().into_iter().map(|(_, reason, _)| reason).collect()
    }

    /// The client has one session, with the other gateway.
    #[track_caller]
    fn assert_moved(&self) {
        assert_eq!([self.gateway, self.client, self.other].map(|host| self.sessions(host)), [(0, 0), (0, 1), (0, 1)]);
        super::assert_children(self.sim.host(self.other), self.sim.host(self.client));
        assert_eq!(self.reasons(self.client), [CloseReason::Replaced]);
    }
}

fn notifies(message: &[u8]) -> Vec<Notify> {
    Message::parse(message).unwrap().payloads.notifies().cloned().collect()
}

#[test]
fn at_ike_sa_init() {
    let trio = trio(draining(to(OTHER)), responder()).dial(follower());
    trio.assert_moved();
    let gateway = trio.sim.host(trio.gateway);
    assert_eq!((gateway.events.len(), gateway.sent.len()), (0, 1), "one answer, and nothing is kept");
    assert_eq!(gateway.endpoint.counters().redirected, 1);
    let firsts = trio.sim.host(trio.client).sent.iter().filter(|(_, message)| message[18] == Exchange::IkeSaInit.id());
    let firsts: Vec<_> = firsts.map(|(_, message)| notifies(message)).collect();
    assert!(firsts[0].iter().any(|it| it.kind == notify::REDIRECT_SUPPORTED));
    let from = firsts[1].iter().find(|it| it.kind == notify::REDIRECTED_FROM).unwrap();
    assert_eq!(from.data, [1, 4, 192, 0, 2, 1]);
}

#[test]
fn who_cannot_follow_comes_in() {
    let trio = trio(draining(to(OTHER)), responder()).dial(initiator(CLIENT, GATEWAY));
    assert_eq!([trio.gateway, trio.client, trio.other].map(|host| trio.sessions(host)), [(0, 1), (0, 1), (0, 0)]);
}

/// The gateway is told to drain while the client logs in.
#[test]
fn at_ike_auth() {
    for certificate in [false, true] {
        let mut trio = trio(responder(), responder());
        let auth = ike::InitiatorAuth::Certificate(client_credential(KeyKind::P256, "laptop.example.test"));
        trio.sim.connect(trio.client, if certificate { InitiatorConfig { auth, ..follower() } } else { follower() });
        let gateway = trio.gateway;
        assert!(trio.sim.run_until(SECOND, |sim| !sim.host(gateway).sent.is_empty()));
        trio.sim.input(gateway, Input::Configure(Box::new(draining(to(OTHER)))));
        trio.sim.run_for(5 * SECOND);
        trio.assert_moved();
        let failure = trio.sim.host(gateway).failure().unwrap();
        assert_eq!(failure.notify, Some("REDIRECT"));
        assert!(trio.sim.host(gateway).children.is_empty());
        trio.sim.run_for(60 * SECOND);
        assert!(trio.sim.host(gateway).is_empty());
    }
}

#[test]
fn of_a_session() {
    let mut trio = trio(responder(), responder()).dial(follower());
    assert_eq!(trio.sessions(trio.gateway), (0, 1));
    let session = trio.sim.host(trio.gateway).established()[0];
    for _ in 0..2 {
        trio.send_away(session, to(OTHER));
    }
    trio.sim.run_for(5 * SECOND);
    trio.assert_moved();
    assert_eq!(trio.reasons(trio.gateway), [CloseReason::PeerDeleted], "by the client itself");
}

#[test]
fn of_a_session_that_cannot_follow() {
    let mut trio = trio(responder(), responder()).dial(initiator(CLIENT, GATEWAY));
    let session = trio.sim.host(trio.gateway).established()[0];
    let before = trio.sim.host(trio.gateway).sent.len();
    trio.send_away(session, to(OTHER));
    trio.sim.run_for(SECOND);
    assert_eq!(trio.sim.host(trio.gateway).sent.len(), before);
    assert!(trio.sim.host(trio.gateway).notes().contains("cannot be sent to 192.0.2.2"));
    assert_eq!(trio.sessions(trio.gateway), (0, 1));
}

/// Two gateways that send clients to one another: the second keeps whom the first has sent, and says so.
#[test]
fn two_gateways_that_name_one_another() {
    let trio = trio(draining(to(OTHER)), draining(to(GATEWAY))).dial(follower());
    trio.assert_moved();
    assert!(trio.sim.host(trio.other).notes().contains("sent here by 192.0.2.1"), "{}", trio.sim.host(trio.other).notes());
    assert_eq!(trio.sim.host(trio.other).endpoint.counters().redirected, 0);
}

/// Both are being emptied: the client is refused by the second instead of sent round.
#[test]
fn two_gateways_that_are_emptied_into_one_another() {
    let mut trio = trio(responder(), responder());
    for (gateway, target) in [(trio.gateway, OTHER), (trio.other, GATEWAY)] {
        trio.sim.input(gateway, Input::Drain(Some(ike::Drain { to: Some(to(target)) })));
    }
    let trio = trio.dial(follower());
    let client = trio.sim.host(trio.client);
    assert_eq!(client.sent.len(), 2, "one gateway, then the other, and no more");
    assert!(client.failure().unwrap().cause.contains("TEMPORARY_FAILURE"), "{:?}", client.failure());
    let failure = trio.sim.host(trio.other).failure().unwrap();
    assert!(failure.cause.contains("evergate drain") && failure.cause.contains("sent here by 192.0.2.1"), "{}", failure.cause);
    assert!(client.is_empty());
}

/// The second is told to send clients back while one that the first has sent logs in.
#[test]
fn nobody_is_sent_back_at_ike_auth() {
    let mut trio = trio(draining(to(OTHER)), responder());
    trio.sim.connect(trio.client, follower());
    let other = trio.other;
    assert!(trio.sim.run_until(SECOND, |sim| !sim.host(other).sent.is_empty()));
    trio.sim.input(other, Input::Configure(Box::new(draining(to(GATEWAY)))));
    trio.sim.run_for(5 * SECOND);
    trio.assert_moved();
}

/// By a name nobody can tell who has sent the client: it stays. A third gateway, by its address, is another matter.
#[test]
fn who_was_sent_once_goes_on_only_where_it_does_not_come_from() {
    let third = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
    trio(draining(to(OTHER)), draining(GatewayIdentity::Fqdn("vpn3.example.test".into()))).dial(follower()).assert_moved();
    let mut trio = trio(draining(to(OTHER)), draining(to(third)));
    let last = trio.sim.add(&[third], Some(responder()));
    let trio = trio.dial(follower());
    assert_eq!([trio.client, last].map(|host| trio.sessions(host)), [(0, 1), (0, 1)]);
}

/// A circle of three gateways is for the client to notice.
#[test]
fn a_circle_of_three_ends() {
    let third = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
    let mut trio = trio(draining(to(OTHER)), draining(to(third)));
    trio.sim.add(&[third], Some(draining(to(GATEWAY))));
    let trio = trio.dial(follower());
    let client = trio.sim.host(trio.client);
    assert_eq!(client.sent.len(), 6, "the first, and five that followed");
    assert!(client.failure().unwrap().cause.contains("more than 5 times"));
    assert!(client.is_empty());
}

#[test]
fn where_the_client_does_not_go() {
    let elsewhere = [
        GatewayIdentity::Fqdn("vpn2.example.test".into()),
        to("2001:db8::2".parse().unwrap()),
        to(Ipv4Addr::UNSPECIFIED.into()),
        to("224.0.0.1".parse().unwrap()),
    ];
    for gateway in elsewhere {
        let refused = trio(draining(gateway.clone()), responder()).dial(follower());
        let cause = refused.sim.host(refused.client).failure().unwrap().cause;
        assert!(cause.contains(&gateway.to_string()), "{cause}");
        let mut stays = trio(responder(), responder()).dial(follower());
        let session = stays.sim.host(stays.gateway).established()[0];
        stays.send_away(session, gateway);
        stays.sim.run_for(SECOND);
        assert_eq!(stays.sessions(stays.client), (0, 1), "better here than nowhere");
    }
}

/// Who has not seen the request does not know its nonce.
#[test]
fn a_forged_redirect_is_ignored() {
    let mut trio = trio(responder(), responder());
    trio.sim.connect(trio.client, follower());
    trio.sim.run_for(Duration::from_millis(5));
    let (_, request) = trio.sim.host(trio.client).sent[0].clone();
    let mut header = Message::parse(&request).unwrap().header;
    header.flags = ike::wire::Flags { initiator: false, response: true, version: false };
    let path = Path::between(SocketAddr::new(GATEWAY, 500), SocketAddr::new(CLIENT, 500));
    for nonce in [&[][..], &[0; 32]] {
        let data = [&[1, 4, 192, 0, 2, 2], nonce].concat();
        trio.sim.inject(path, encode(&header, &[Payload::Notify(Notify::new(notify::REDIRECT, data))]));
    }
    trio.sim.run_for(5 * SECOND);
    assert_eq!([trio.gateway, trio.client, trio.other].map(|host| trio.sessions(host)), [(0, 1), (0, 1), (0, 0)]);
}

/// A REDIRECT before AUTH, or one of a gateway that cannot prove who it is, leads nowhere.
#[test]
fn a_gateway_without_proof_redirects_nobody() {
    let mut trio = trio(responder(), responder());
    trio.sim.connect(trio.client, InitiatorConfig { server_name: "another.example.test".into(), ..follower() });
    let gateway = trio.gateway;
    trio.sim.run_until(SECOND, |sim| !sim.host(gateway).sent.is_empty());
    trio.sim.input(gateway, Input::Configure(Box::new(draining(to(OTHER)))));
    trio.sim.run_for(5 * SECOND);
    assert!(trio.sim.host(trio.client).failure().is_some());
    assert_eq!(trio.sim.host(trio.other).events.len(), 0);
}

/// A name that makes the answer longer than the request is not sent there: it would help whoever forges the source.
#[test]
fn never_longer_than_the_request() {
    let gateway = GatewayIdentity::Fqdn(format!("{}.example.test", "x".repeat(200)));
    let Pair { mut sim, gateway, .. } = Pair::new(1, draining(gateway));
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    let mut script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
    script.extra.push(Payload::Notify(Notify::new(notify::REDIRECT_SUPPORTED, [])));
    let answer = script.init(&mut sim);
    assert_eq!(answer.notify(notify::REDIRECT), None);
    (script.spi_i, script.nonce_i) = (Spi(9), vec![8; 33]);
    script.extra.push(Payload::Notify(Notify::new(notify::COOKIE2, [0; 200])));
    let answers = script.send(&mut sim, script.init_message(31, vec![9; 32]));
    assert_eq!(notifies(&answers[0])[0].kind, notify::REDIRECT);
}

fn drain(trio: &mut Trio, to: Option<IpAddr>) {
    let to = to.map(GatewayIdentity::Address);
    trio.sim.input(trio.gateway, Input::Drain(Some(ike::Drain { to })));
}

/// While a gateway is emptied, new clients that follow redirects are sent away, all others refused with words; who is in stays.
#[test]
fn a_gateway_that_is_emptied_takes_nobody() {
    for (follows, to) in [(true, Some(OTHER)), (false, Some(OTHER)), (true, None), (false, None)] {
        let mut trio = trio(responder(), responder());
        let old = trio.sim.add(&[IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))], None);
        trio.sim.connect(old, initiator(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8)), GATEWAY));
        trio.sim.run_for(5 * SECOND);
        drain(&mut trio, to);
        // A new configuration changes nothing about it.
        trio.sim.input(trio.gateway, Input::Configure(Box::new(responder())));
        let mut trio = trio.dial(if follows { follower() } else { initiator(CLIENT, GATEWAY) });
        assert_eq!(trio.sessions(old), (0, 1));
        if follows && to.is_some() {
            assert_eq!([trio.client, trio.other].map(|host| trio.sessions(host)), [(0, 1), (0, 1)]);
        } else {
            assert_eq!([trio.client, trio.other].map(|host| trio.sessions(host)), [(0, 0), (0, 0)]);
            let failure = trio.sim.host(trio.gateway).failure().unwrap();
            assert_eq!(failure.notify, Some("TEMPORARY_FAILURE"));
            assert!(failure.cause.contains("evergate drain"), "{}", failure.cause);
            assert!(trio.sim.elapsed() < 11 * SECOND && trio.sim.host(trio.client).failure().is_some(), "it knows at once");
        }
        trio.sim.input(trio.gateway, Input::Drain(None));
        let late = trio.sim.add(&[IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9))], None);
        trio.sim.connect(late, initiator(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), GATEWAY));
        trio.sim.run_for(5 * SECOND);
        assert_eq!(trio.sessions(late), (0, 1), "cancelled");
    }
}

/// The configured gateway is not where they go while it is emptied to another.
#[test]
fn emptying_comes_before_the_configuration() {
    let mut trio = trio(draining(to(Ipv4Addr::new(192, 0, 2, 99).into())), responder());
    drain(&mut trio, Some(OTHER));
    trio.dial(follower()).assert_moved();
}

#[test]
fn who_follows_is_known() {
    let mut trio = trio(responder(), responder()).dial(follower());
    let session = trio.sim.host(trio.gateway).established()[0];
    assert!(trio.sim.host(trio.gateway).endpoint.follows_redirects(session));
    trio.sim.connect(trio.client, initiator(CLIENT, GATEWAY));
    trio.sim.run_for(5 * SECOND);
    let session = trio.sim.host(trio.gateway).established()[1];
    assert!(!trio.sim.host(trio.gateway).endpoint.follows_redirects(session));
    assert!(!trio.sim.host(trio.gateway).endpoint.follows_redirects(SessionId(99)));
}
