//! Clients that do things in an order of their own, frame by frame, against the whole control half.
mod blocked;
mod bounds;
mod changes;
mod ciphers;
mod later;
mod nps_log;
mod reload;
mod roll;
mod rounds;
mod router;
mod takeover;

use super::*;
use crate::attempts::{Attempts, Outcome};
use crate::gateway::authenticate::{Progress, both_families};
use crate::gateway::{Effect, Settings, Traffic};
use crate::login::Authority;
use crypto::hash::{HashAlgorithm, hash};
use crypto::{SeededRandom, Zeroizing};
use policy::network::{AddressRange, Conditions, Policy};
use policy::pool::{PoolConfig, Pools};
use radius_client::{Accept, EapOutcome, Input, LoginOutcome, Ticket};
use sstp::message::{CallConnected, Message};

const MSK: [u8; 64] = [7; 64];
const NONCE: [u8; 32] = [3; 32];
const CERTIFICATE: &[u8] = b"a certificate";

/// Writes down what the data plane is told.
#[derive(Debug, Default)]
struct Notes {
    sent: Vec<Vec<u8>>,
    opened: Vec<Vec<IpAddr>>,
    held: usize,
    mtu: u16,
    restricted: Vec<policy::filter::Restrictions>,
    /// Packets of the gateway's own.
    inner: Vec<Vec<u8>>,
    /// How many times counters of sessions were read.
    read: std::cell::Cell<usize>,
    /// What all sessions have moved.
    traffic: Traffic,
}

impl Plane for Notes {
    type Connection = ();

    fn restrict(&mut self, _: SessionId, restrictions: policy::filter::Restrictions) -> Result<(), String> {
        self.restricted.push(restrictions);
        Ok(())
    }
    fn install(&mut self, _: ike::ChildSa, _: &[policy::pool::Network]) -> Result<(), String> {
        Ok(())
    }
    fn use_outbound(&mut self, _: SessionId, _: u32) {}
    fn remove(&mut self, _: SessionId, _: u32) {}
    fn rest(&mut self, _: SessionId) {}
    fn repath(&mut self, _: SessionId, _: Path, _: bool) {}
    fn traffic(&self, _: SessionId) -> Traffic {
        self.read.set(self.read.get() + 1);
        Traffic { packets_out: self.traffic.packets_out + self.inner.len() as u64, ..self.traffic }
    }
    fn forget(&mut self, _: SessionId) {}
    fn adopt(&mut self, _: SessionId, (): ()) -> Result<(), String> {
        Ok(())
    }
    fn stream_send(&mut self, _: SessionId, packet: Vec<u8>) {
        self.sent.push(packet);
    }
    fn stream_open(&mut self, _: SessionId, inner: Inner<'_>, _: &[AddressRange], mtu: u16) -> Result<(), String> {
        self.mtu = mtu;
        self.opened.push(inner.addresses.to_vec());
        Ok(())
    }
    fn stream_hold(&mut self, _: SessionId) {
        self.held += 1;
    }
    fn stream_close(&mut self, _: SessionId) {}
    fn tcp_trust(&mut self, _: ike::ConnectionId) {}
    fn tcp_close(&mut self, _: ike::ConnectionId) {}
    fn tcp_gone(&mut self, _: ike::ConnectionId) {}
    fn own_addresses(&self) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }
    fn last_heard(&self, _: SessionId) -> Option<Instant> {
        None
    }
    fn send_inner(&mut self, _: SessionId, packet: Vec<u8>) {
        self.inner.push(packet);
    }
}

struct World {
    gateway: Gateway<Notes>,
    now: Now,
    session: SessionId,
}

impl World {
    /// A gateway whose policies are these (name, user, granted), and a call for which CALL_CONNECT_ACK was sent.
    fn new(auth: &[AuthProtocol], policies: &[(&str, &str, bool)]) -> Self {
        let mut world = Self::empty(10, policies);
        world.dial(auth);
        world.packet(&Message::CallConnectRequest.encode());
        world
    }

    fn empty(sessions_max: usize, policies: &[(&str, &str, bool)]) -> Self {
        let now = Now { instant: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
        let policy = |&(name, user, grant): &(&str, &str, bool)| Policy {
            name: name.into(),
            grant,
            conditions: Conditions { user: vec![user.into()], ..Conditions::default() },
            settings: policy::network::Settings { pool: Some("users".into()), ..Default::default() },
            ..Policy::default()
        };
        let ipv4 = vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))];
        let pools = Pools::new(vec![PoolConfig { name: "users".into(), ipv4, ipv6: Vec::new() }]).unwrap();
        let authority =
            Authority { policies: policies.iter().map(policy).collect(), filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
        let settings = Settings {
            nas_identifier: "vpn".into(),
            requests: Vec::new(),
            default_group: None,
            ikev2_listener: "ikev2".into(),
            certificate_authorization: Default::default(),
            ikev2_tunnel_type: radius_client::TUNNEL_TYPE_ESP,
            accounting: Some(Default::default()),
            nps_log: None,
            mtu: 1400,
            child_idle: None,
            child_volume: None,
            inner: crate::gateway::InnerEnd { ipv4: crate::gateway::DUMMY_IPV4, ipv6: None },
            radius_addresses: Vec::new(),
            sessions_max,
            half_open_max: 10,
            half_open_timeout: Duration::from_secs(30),
            nas_port_ids: Vec::new(),
            auth_timeout: Duration::from_secs(120),
            certificates: Vec::new(),
        };
        let endpoint = ike::Endpoint::new(None, Box::new(SeededRandom::new(1)), now.instant);
        let gateway = Gateway::new(endpoint, Attempts::new(1, 10), authority, settings, Notes::default());
        Self { gateway, now, session: SessionId(0) }
    }

    /// A call that RADIUS lets in, and whose client has its address: only the crypto binding is missing.
    fn accepted() -> Self {
        let mut world = Self::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
        world.lcp();
        world.ppp(0xc227, 2, 0, b"\x01alice");
        let ticket = world.asked().0[0].0;
        world.accept_eap(ticket);
        world.ipcp([10, 0, 0, 1]);
        world
    }

    fn dial(&mut self, auth: &[AuthProtocol]) {
        let settings = CallSettings {
            auth: auth.to_vec(),
            offer_sha1: false,
            inner_ipv4: Ipv4Addr::new(10, 9, 9, 9),
            name: "vpn".into(),
            listener: "sstp".into(),
            tunnel_type: radius_client::TUNNEL_TYPE_SSTP,
        };
        let mut certificate = CertificateHashes { sha1: [0; 20], sha256: [0; 32] };
        certificate.sha256.copy_from_slice(&hash(HashAlgorithm::Sha256, &[CERTIFICATE]));
        let address = "192.0.2.1:443".parse().unwrap();
        self.gateway.incoming(
            self.now,
            Incoming {
                path: Path::between(address, address),
                connection: (),
                settings: Arc::new(settings),
                certificate,
                presented: crate::gateway::Presented { subject: "CN=vpn".into(), selection: None },
                server_name: None,
                tls: "TLS 1.3".into(),
                correlation_id: None,
                notes: Vec::new(),
                nonce: NONCE,
                seed: [9; ppp::SEED_LENGTH],
            },
        );
        self.session = self.gateway.live.keys().next_back().copied().unwrap_or(SessionId(0));
    }

    fn packet(&mut self, packet: &[u8]) {
        self.gateway.packet(self.now, self.session, packet);
    }

    /// A PPP packet of code, identifier and data.
    fn ppp(&mut self, protocol: u16, code: u8, id: u8, data: &[u8]) {
        let length = (data.len() + 4) as u16;
        let frame = [&[0xff, 3], &protocol.to_be_bytes()[..], &[code, id], &length.to_be_bytes(), data].concat();
        let length = (frame.len() + 4) as u16;
        self.packet(&[&[0x10, 0], &length.to_be_bytes()[..], &frame].concat());
    }

    /// Acknowledges our latest Configure-Request of the protocol.
    fn acknowledge(&mut self, protocol: u16) {
        let ours = |packet: &&Vec<u8>| packet[1] == 0 && packet[6..8] == protocol.to_be_bytes() && packet[8] == 1;
        let request = self.gateway.plane.sent.iter().rfind(|packet| packet.len() > 12 && ours(packet)).unwrap().clone();
        self.ppp(protocol, 2, request[9], &request[12..]);
    }

    fn lcp(&mut self) {
        self.ppp(0xc021, 1, 77, &[]);
        self.acknowledge(0xc021);
    }

    fn ipcp(&mut self, address: [u8; 4]) {
        self.ppp(0x8021, 1, 78, &[&[3, 6], &address[..]].concat());
        self.acknowledge(0x8021);
    }

    /// What RADIUS is asked: ticket and user name; and how many conversations it may forget.
    fn asked(&mut self) -> (Vec<(Ticket, String)>, usize) {
        let (mut asked, mut forgotten) = (Vec::new(), 0);
        while let Some(effect) = self.gateway.poll_effect() {
            match effect {
                Effect::Radius(Input::Eap { ticket, user_name, .. } | Input::Login { ticket, user_name, .. }) => {
                    asked.push((ticket, String::from_utf8(user_name).unwrap()));
                }
                Effect::Radius(Input::Forget(_)) => forgotten += 1,
                _ => {}
            }
        }
        (asked, forgotten)
    }

    fn accept_eap(&mut self, ticket: Ticket) {
        self.accept_eap_with(ticket, Accept::default());
    }

    fn accept_eap_with(&mut self, ticket: Ticket, accept: Accept) {
        let accept = Box::new(Accept { msk: Zeroizing::new(MSK.to_vec()), ..accept });
        self.gateway.authenticated(self.now, ticket, EapOutcome::Accept { server: "nps".into(), eap: None, accept });
    }

    fn call_connected(&mut self, hlak: &[u8; 32]) {
        let unsigned = CallConnected::unsigned(BindingHash::Sha256, &NONCE, &hash(HashAlgorithm::Sha256, &[CERTIFICATE]));
        let mac = sstp::binding::compound_mac(hlak, &unsigned);
        let packet = *unsigned.signed(&mac).as_bytes();
        self.packet(&packet);
    }

    /// One more call that is up.
    fn bring_up(&mut self, number: u8) {
        self.bring_up_with(number, Accept::default());
    }

    fn bring_up_with(&mut self, number: u8, accept: Accept) {
        self.dial(&[AuthProtocol::Eap]);
        self.packet(&Message::CallConnectRequest.encode());
        self.gateway.plane.sent.clear();
        self.lcp();
        self.ppp(0xc227, 2, 0, &[1, b'u', b'0' + number]);
        let ticket = self.asked().0[0].0;
        self.accept_eap_with(ticket, accept);
        self.ipcp([10, 0, 0, number]);
        self.call_connected(&hlak());
    }

    /// A login that RADIUS accepts under the name by which it came, without what tunnels add to it; whether it was let in.
    fn login(&mut self, number: u64, caller: &Caller<'_>, accept: &Accept) -> bool {
        self.login_as(number, caller, Accept { user_name: Some(caller.user.into()), ..accept.clone() })
    }

    fn login_as(&mut self, number: u64, caller: &Caller<'_>, accept: Accept) -> bool {
        let (gateway, now, session) = (&mut self.gateway, self.now, SessionId(number));
        let path = Path::between("192.0.2.1:4500".parse().unwrap(), caller.from.parse().unwrap());
        gateway.started(now, session, caller.tunnel, Stage::SaInit, path);
        let live = gateway.live.get_mut(&session).unwrap();
        match caller.tunnel {
            Tunnel::Ikev2 => live.idi = Some(caller.name.into()),
            Tunnel::Sstp => live.computer.name = Some(caller.name.into()),
        }
        let mut progress = Progress::new(caller.user.into(), both_families(), Method::Eap);
        progress.certificate.clone_from(&caller.certificate);
        progress.eap_method = caller.eap;
        live.login = Some(progress);
        let accept = Box::new(Accept { msk: Zeroizing::new(MSK.to_vec()), ..accept });
        let ticket = gateway.ticket();
        gateway.tickets.insert(ticket, (session, Asker::Ike(ike::AskId(number))));
        gateway.authenticated(now, ticket, EapOutcome::Accept { server: "nps".into(), eap: None, accept });
        gateway.is_granted(session)
    }

    fn pass(&mut self, seconds: u64) {
        self.now.instant += std::time::Duration::from_secs(seconds);
        self.gateway.timeout(self.now);
    }

    fn failure(&self) -> Failure {
        match &self.gateway.attempts.iter().next().unwrap().outcome {
            Outcome::Failed(failure) => failure.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// Who logs in.
#[derive(Debug, Clone)]
struct Caller<'a> {
    tunnel: Tunnel,
    user: &'a str,
    /// IDi, or the computer's name.
    name: &'a str,
    from: &'a str,
    certificate: Option<policy::network::Certificate>,
    /// The EAP method, by number.
    eap: Option<u8>,
}

impl Default for Caller<'_> {
    fn default() -> Self {
        Self { tunnel: Tunnel::Ikev2, user: "alice", name: "10.0.0.7", from: "192.0.2.2:4500", certificate: None, eap: None }
    }
}

fn hlak() -> [u8; 32] {
    [7; 32]
}

#[test]
fn policy_judges_the_user_of_the_login_that_radius_accepted() {
    let policies = [("bob stays out", "bob", false), ("alice", "alice", true)];
    let mut world = World::new(&[AuthProtocol::Eap, AuthProtocol::MsChapV2], &policies);
    world.lcp();
    world.ppp(0xc227, 2, 0, b"\x01alice");
    assert_eq!(world.asked().0[0].1, "alice");
    // The client has its name noted, and begins anew as somebody else.
    world.lcp();
    world.ppp(0xc227, 2, 0, b"\x01bob");
    let (asked, forgotten) = world.asked();
    assert_eq!((asked[0].1.as_str(), forgotten > 0), ("bob", true));
    world.accept_eap(asked[0].0);
    assert!(!world.gateway.is_granted(world.session), "bob came in by alice's policy");
    let attempt = world.gateway.attempts.iter().next().unwrap();
    assert_eq!(attempt.user.as_deref(), Some("bob"));
}

#[test]
fn a_login_begun_anew_leaves_nothing_of_the_first_with_radius() {
    let mut world = World::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
    world.lcp();
    world.ppp(0xc227, 2, 0, b"\x01alice");
    let ticket = world.asked().0[0].0;
    let request = eap::build(eap::Code::Request, 1, eap::method::MD5, &[0]);
    world.gateway.authenticated(world.now, ticket, EapOutcome::Challenge { server: "nps".into(), eap: request });
    // The challenge is open, nothing is asked: State and server would be kept for the next round.
    world.lcp();
    assert_eq!(world.asked().1, 1, "the conversation goes on with the old State");
}

/// Who is asked was decided by the first name: another one goes nowhere.
#[test]
fn a_conversation_has_one_identity() {
    for (second, asked) in [("alice", 1), ("bob", 0)] {
        let mut world = World::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
        world.lcp();
        world.ppp(0xc227, 2, 0, b"\x01alice");
        let ticket = world.asked().0[0].0;
        let request = eap::build(eap::Code::Request, 1, eap::method::IDENTITY, &[]);
        world.gateway.authenticated(world.now, ticket, EapOutcome::Challenge { server: "nps".into(), eap: request });
        world.ppp(0xc227, 2, 1, &[&[1], second.as_bytes()].concat());
        assert_eq!(world.asked().0.len(), asked, "{second}");
        let failure = |packet: &Vec<u8>| packet.len() > 8 && packet[6..9] == [0xc2, 0x27, 4];
        assert_eq!(world.gateway.plane.sent.iter().any(failure), asked == 0, "{second}");
    }
}

#[test]
fn a_call_that_is_on_its_way_out_does_not_come_up() {
    let mut world = World::accepted();
    // LCP anew after the login: the gateway ends the call.
    world.lcp();
    world.call_connected(&hlak());
    assert!(world.gateway.plane.opened.is_empty());
}

#[test]
fn the_cause_of_a_broken_connection_is_on_record() {
    let mut world = World::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
    world.gateway.connection_closed(world.now, world.session, "the client sent a packet with version 0x20");
    assert!(world.failure().cause.contains("version 0x20"), "{:?}", world.failure());
}

#[test]
fn a_refusal_for_want_of_room_tells_who_takes_it() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    for _ in 0..3 {
        world.dial(&[AuthProtocol::Eap]);
    }
    assert_eq!(world.gateway.calls.len(), 2);
    assert!(world.failure().cause.contains("max_sessions = 2 are taken: 0 are up"), "{:?}", world.failure());
}

#[test]
fn a_method_without_keys_is_bound_with_zeroes_whatever_radius_sends() {
    let mut world = World::new(&[AuthProtocol::Pap], &[("all", "*", true)]);
    world.lcp();
    world.ppp(0xc023, 1, 1, b"\x05alice\x06secret");
    let ticket = world.asked().0[0].0;
    let accept = Box::new(Accept { msk: Zeroizing::new(MSK.to_vec()), ..Accept::default() });
    world.gateway.logged_in(world.now, ticket, LoginOutcome::Accept { server: "nps".into(), accept, ms_chap_success: None });
    world.ipcp([10, 0, 0, 1]);
    world.call_connected(&[0; 32]);
    assert_eq!(world.gateway.plane.opened.len(), 1);
}

/// The answer of PAP to a login, with what RADIUS and the policies say.
fn told_by_pap(policies: &[(&str, &str, bool)], outcome: LoginOutcome) -> (u8, String) {
    let mut world = World::new(&[AuthProtocol::Pap], policies);
    world.lcp();
    world.ppp(0xc023, 1, 1, b"\x05alice\x06secret");
    let ticket = world.asked().0[0].0;
    world.gateway.logged_in(world.now, ticket, outcome);
    let answer = world.gateway.plane.sent.iter().find(|packet| packet.get(6..8) == Some(&[0xc0, 0x23])).unwrap();
    (answer[8], String::from_utf8(answer[13..13 + usize::from(answer[12])].to_vec()).unwrap())
}

#[test]
fn a_client_without_eap_hears_the_text_of_the_server() {
    let server = || "nps".to_owned();
    let text = "Bitte an die Hotline wenden: 0800 \u{e9}";
    let accept = |reply_message: Option<String>| LoginOutcome::Accept {
        server: server(),
        accept: Box::new(Accept { reply_message, ..Accept::default() }),
        ms_chap_success: None,
    };
    let reject = |reply_message| LoginOutcome::Reject { server: server(), reply_message, ms_chap_error: None };
    let all = [("all", "*", true)];
    assert_eq!(told_by_pap(&all, accept(Some(text.into()))), (2, text.into()));
    assert_eq!(told_by_pap(&all, accept(None)), (2, String::new()));
    assert_eq!(told_by_pap(&all, reject(Some(text.into()))), (3, text.into()));
    assert_eq!(told_by_pap(&all, reject(Some("\u{e9}".repeat(300)))), (3, "\u{e9}".repeat(126)));
    assert_eq!(told_by_pap(&[("none", "nobody", true)], accept(None)), (3, "No network policy grants access".into()));
}

#[test]
fn no_packet_is_longer_than_the_client_takes() {
    for (mru, mtu, eap) in [(4091u16, 1400, 4087), (1300, 1300, 1296)] {
        let mut world = World::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
        world.ppp(0xc021, 1, 77, &[&[1, 4], &mru.to_be_bytes()[..]].concat());
        world.acknowledge(0xc021);
        world.ppp(0xc227, 2, 0, b"\x01alice");
        let ticket = world.asked().0[0].0;
        world.accept_eap(ticket);
        world.ipcp([10, 0, 0, 1]);
        world.call_connected(&hlak());
        assert_eq!((world.gateway.plane.opened.len(), world.gateway.plane.mtu), (1, mtu));
        assert_eq!(world.gateway.nas_context(world.session).framed_mtu, eap, "Framed-MTU");
    }
}

#[test]
fn a_session_that_is_ended_carries_no_data_while_it_says_goodbye() {
    let mut world = World::accepted();
    world.call_connected(&hlak());
    assert_eq!((world.gateway.plane.opened.len(), world.gateway.plane.held), (1, 0));
    world.gateway.close(world.now, world.session, crate::outcome::CloseReason::Operator);
    assert!(world.gateway.plane.held > 0 && world.gateway.calls.len() == 1, "held at once, and the goodbye goes on");
}

/// A Child SA that has carried as much as it may is rekeyed, whatever its age and sequence numbers; SSTP has none.
#[test]
fn child_sas_are_worn_by_volume() {
    for (tunnel, told) in [(policy::network::Tunnel::Ikev2, 1), (policy::network::Tunnel::Sstp, 0)] {
        let mut world = World::empty(2, &[("all", "*", true)]);
        world.bring_up(1);
        let session = world.session;
        world.gateway.settings.child_volume = Some(1 << 20);
        let live = world.gateway.live.get_mut(&session).unwrap();
        (live.tunnel, live.volume) = (tunnel, Some(crate::gateway::volume::Volume::begin(7, Traffic::default())));
        let mut worn = |octets_out| {
            world.gateway.plane.traffic = Traffic { octets_out, ..Traffic::default() };
            world.gateway.idle(world.now, &[session]).worn
        };
        assert_eq!(worn((1 << 20) - 1), []);
        assert_eq!(worn(1 << 20), vec![(session, 7, 1 << 20); told]);
        assert_eq!(worn((1 << 20) + 1), []);
    }
}

/// The packet that called for a new Child SA was dropped, and its sender repeats it after a second at the earliest.
#[test]
fn a_child_sa_made_on_demand_is_not_idle_at_once() {
    let mut world = World::empty(2, &[("all", "*", true)]);
    world.bring_up(1);
    let session = world.session;
    world.gateway.settings.child_idle = Some(Duration::from_secs(300));
    world.gateway.live.get_mut(&session).unwrap().tunnel = policy::network::Tunnel::Ikev2;
    let mut idle_at = |seconds: u64, resting: Option<bool>| {
        let now = Now { instant: world.now.instant + Duration::from_secs(seconds), ..world.now };
        if let Some(resting) = resting {
            world.gateway.observe(now, session, ike::Event::Resting(resting));
        }
        world.gateway.idle(now, &[session]).children.len()
    };
    assert_eq!((idle_at(299, None), idle_at(300, None)), (0, 1));
    assert_eq!((idle_at(301, Some(true)), idle_at(400, Some(false)), idle_at(401, None)), (0, 0, 0));
    assert_eq!((idle_at(699, None), idle_at(700, None)), (0, 1));
}

#[test]
fn a_session_that_no_server_knows_of_ends_where_that_is_required() {
    use crate::accounting::{self, Event};
    let within = std::time::Duration::from_secs(30);
    for (required_within, left) in [(Some(within), 1), (None, 2)] {
        let mut world = World::empty(2, &[("all", "*", true)]);
        world.gateway.settings.accounting = Some(accounting::Settings { required_within, ..accounting::Settings::default() });
        world.bring_up(1);
        world.gateway.accounted(world.session);
        world.bring_up(2);
        let second = world.session;
        world.pass(29);
        assert_eq!((world.gateway.calls_up, world.gateway.plane.held), (2, 0));
        world.pass(1);
        (0..6).for_each(|_| world.pass(5));
        assert_eq!(world.gateway.live.len(), left);
        let stops = std::iter::from_fn(|| world.gateway.poll_effect()).filter_map(|effect| match effect {
            Effect::Account(event) => match *event {
                Event::Stop { session, record } => Some((session, record.terminate_cause)),
                _ => None,
            },
            _ => None,
        });
        let unavailable = vec![(second.0, Some(radius_client::TerminateCause::ServiceUnavailable))];
        assert_eq!(stops.collect::<Vec<_>>(), if required_within.is_some() { unavailable } else { Vec::new() });
    }
}

#[test]
fn silence_of_radius_is_no_wrong_password() {
    let mut world = World::new(&[AuthProtocol::Pap], &[("all", "*", true)]);
    world.lcp();
    world.ppp(0xc023, 1, 1, b"\x05alice\x06secret");
    let ticket = world.asked().0[0].0;
    let before = world.gateway.plane.sent.len();
    let failed = radius_client::RequestFailure::NoServer;
    world.gateway.logged_in(world.now, ticket, LoginOutcome::Failed(failed));
    let said = &world.gateway.plane.sent[before..];
    let pap = |packet: &Vec<u8>| packet.windows(2).any(|two| two == [0xc0, 0x23]);
    assert!(!said.iter().any(pap), "{said:02x?}");
    assert!(said.iter().any(|packet| packet.windows(3).any(|three| three == [0xc0, 0x21, 5])), "Terminate-Request: {said:02x?}");
}

#[test]
fn an_emptied_gateway_hangs_up_one_after_the_other() {
    use crate::api::{Drain, Request, Response};
    let mut world = World::empty(10, &[("all", "*", true)]);
    (1..=4).for_each(|number| world.bring_up(number));
    assert_eq!((world.gateway.calls_up, world.gateway.plane.held), (4, 0));
    let order = |world: &mut World, request: Request| world.gateway.control(world.now, &request).unwrap();
    let wrong = order(&mut world, Request::Drain(Drain { to: Some("no name".into()), within_secs: 40 }));
    assert!(
        matches!(&wrong, Response::Refused(problem) if problem.error.contains("no name") && problem.error.contains("vpn2.example.com")),
        "{wrong:?}"
    );
    assert!(matches!(order(&mut world, Request::CancelDrain), Response::Refused(_)), "there is nothing to cancel");
    let Response::Drain(status) = order(&mut world, Request::Drain(Drain { to: None, within_secs: 40 })) else { panic!("refused") };
    assert_eq!((status.sent_away, status.left, status.ends_at - status.started_at), (1, 4, 40));
    let sent_away = |world: &World| world.gateway.summary().drain.unwrap().sent_away;
    for sent in 1..=3 {
        world.pass(9);
        assert_eq!(sent_away(&world), sent);
        world.pass(1);
        assert_eq!(sent_away(&world), sent + 1, "every ten seconds one");
    }
    assert!(world.gateway.plane.held >= 4);
    let before = world.gateway.calls.len();
    world.dial(&[AuthProtocol::Eap]);
    assert!(world.gateway.calls.len() == before && world.failure().cause.contains("evergate drain"), "{:?}", world.failure());
    (0..20).for_each(|_| world.pass(5));
    let status = world.gateway.summary().drain.unwrap();
    assert_eq!((status.sent_away, status.left), (4, 0));
    assert!(matches!(order(&mut world, Request::CancelDrain), Response::Done(_)));
    world.bring_up(5);
    assert_eq!((world.gateway.calls_up, world.gateway.summary().drain), (1, None));
}

/// The newest attempt: whether it failed, and the reason code of the policies.
fn newest(world: &World) -> (bool, Option<u16>) {
    let attempt = world.gateway.attempts.iter().next().unwrap();
    (matches!(attempt.outcome, Outcome::Failed(_)), attempt.reason.map(|reason| reason.code()))
}

/// A login with EAP up to the verdict of the policies.
fn knock(world: &mut World, name: &[u8]) {
    world.dial(&[AuthProtocol::Eap]);
    world.packet(&Message::CallConnectRequest.encode());
    world.gateway.plane.sent.clear();
    world.lcp();
    world.ppp(0xc227, 2, 0, &[&[1], name].concat());
    let ticket = world.asked().0[0].0;
    world.accept_eap(ticket);
}

#[test]
fn a_session_ends_with_the_hours_that_its_policy_allows() {
    let mut world = World::empty(5, &[("all", "*", true)]);
    // The clock starts on a Thursday at midnight.
    let hours = policy::network::TimeWindow { days: 1 << 3, from: 0, to: 30 };
    world.gateway.authority.policies[0].constraints.hours = vec![hours];
    world.bring_up(1);
    let (up, attempt) = (world.session, world.gateway.live[&world.session].attempt);
    assert_eq!(newest(&world), (false, Some(0)));
    world.pass(30 * 60 - 1);
    assert!(world.gateway.live.contains_key(&up) && world.gateway.plane.held == 0);
    world.pass(1);
    assert!(world.gateway.plane.held > 0, "no packet passes any more");
    world.pass(60);
    assert!(!world.gateway.live.contains_key(&up));
    let ended = &world.gateway.attempts.get(attempt).unwrap().outcome;
    assert!(matches!(ended, Outcome::Ended(CloseReason::SessionTimeout)), "{ended:?}");
    let noted = |text: &str| world.gateway.attempts.get(attempt).unwrap().timeline.iter().any(|(_, line)| line.contains(text));
    assert!(noted("the hours end in which policy \"all\" allows sessions"));
    // Outside of them nobody comes in, and no other policy is tried.
    world.now.wall += jiff::SignedDuration::from_mins(30);
    let open = Policy { name: "open".into(), grant: true, ..Policy::default() };
    world.gateway.authority.policies.push(open);
    knock(&mut world, b"u2");
    assert!(!world.gateway.is_granted(world.session));
    assert_eq!(newest(&world).1, Some(68));
}

#[test]
fn sessions_at_the_same_time_are_counted_by_user_and_policy() {
    let mut world = World::empty(5, &[("all", "*", true)]);
    world.gateway.authority.policies[0].constraints.sessions_per_user = Some(1);
    world.gateway.authority.policies[0].constraints.sessions = Some(2);
    for (name, granted) in [(b"u1", true), (b"u1", false), (b"u2", true), (b"u3", false)] {
        knock(&mut world, name);
        assert_eq!(world.gateway.is_granted(world.session), granted, "{name:?}");
        assert_eq!(newest(&world).1, Some(if granted { 0 } else { 71 }));
    }
}

#[test]
fn policies_see_where_and_how_somebody_comes_in() {
    let texts = |text: &str| vec![text.to_owned()];
    let address = |text: &str| vec![AddressRange { start: text.parse().unwrap(), end: text.parse().unwrap() }];
    let seen = Conditions {
        tunnel: vec![Tunnel::Sstp],
        eap_type: texts("EAP-MD5"),
        listener: texts("sstp"),
        gateway: address("192.0.2.1"),
        reply: vec![policy::network::Attribute { name: "Reply-Message".into(), value: "h*".into() }],
        ..Conditions::default()
    };
    for (conditions, granted) in [(seen.clone(), true), (Conditions { eap_type: texts("EAP-TLS"), ..seen }, false)] {
        let mut world = World::new(&[AuthProtocol::Eap], &[("all", "*", true)]);
        world.gateway.authority.policies[0].conditions = conditions;
        world.lcp();
        world.ppp(0xc227, 2, 0, b"\x01alice");
        let ticket = world.asked().0[0].0;
        let request = eap::build(eap::Code::Request, 1, eap::method::MD5, &[0]);
        world.gateway.authenticated(world.now, ticket, EapOutcome::Challenge { server: "nps".into(), eap: request });
        world.ppp(0xc227, 2, 1, &[eap::method::MD5, 0]);
        let ticket = world.asked().0[0].0;
        let attributes = vec![("Reply-Message".to_owned(), "hello".to_owned())];
        let accept = Box::new(Accept { msk: Zeroizing::new(MSK.to_vec()), attributes, ..Accept::default() });
        world.gateway.authenticated(world.now, ticket, EapOutcome::Accept { server: "nps".into(), eap: None, accept });
        assert_eq!(world.gateway.is_granted(world.session), granted);
        assert_eq!(newest(&world).1, Some(if granted { 0 } else { 48 }));
    }
}
