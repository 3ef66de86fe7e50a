//! The clock, and everything that happens at some time.
use super::client::{Act, Client, ClientOutput, Conduct};
use super::plane::FakePlane;
use super::radius::{Radius, User};
use crate::UNIX_TIME;
use crypto::hash::{HashAlgorithm, hash};
use crypto::{Random, SeededRandom};
use evergate::api::types::AttemptDetail;
use evergate::api::{Request, Response};
use evergate::attempts::{Attempt, Attempts};
use evergate::gateway::{CallSettings, DUMMY_IPV4, Effect, Gateway, Incoming, InnerEnd, Now, Settings};
use evergate::login::Authority;
use ike::SessionId;
use policy::network::Policy;
use policy::pool::{PoolConfig, Pools};
use ppp::AuthProtocol;
use radius_client::{AccountingRecord, AccountingStatus, EapOutcome, LoginOutcome, Output, TerminateCause};
use sstp::CertificateHashes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Things at one moment before the world counts as hung.
const STEPS_AT_ONCE: u32 = 200_000;

/// The certificate that clients see, unless somebody stands in the middle; nobody reads it.
const CERTIFICATE: &[u8] = b"DER of the gateway's certificate";

/// What the gateway is set up with.
#[derive(Debug, Clone)]
pub struct Options {
    pub auth: Vec<AuthProtocol>,
    pub offer_sha1: bool,
    pub policies: Vec<Policy>,
    /// Clients that the pool has addresses for.
    pub pool: u8,
    /// The pool has IPv6 addresses too.
    pub ipv6: bool,
    pub sessions_max: usize,
    pub half_open_max: usize,
    pub accounting: bool,
    pub users: Vec<(&'static str, User)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: vec![AuthProtocol::Eap, AuthProtocol::MsChapV2, AuthProtocol::Chap, AuthProtocol::Pap],
            offer_sha1: false,
            policies: vec![policy("staff", true)],
            pool: 100,
            ipv6: false,
            sessions_max: 5000,
            half_open_max: 5000,
            accounting: true,
            users: vec![("alice", User { password: "secret".into(), ..User::default() })],
        }
    }
}

/// A policy without conditions.
pub fn policy(name: &str, grant: bool) -> Policy {
    let settings =
        policy::network::Settings { pool: Some("users".into()), dns: vec!["10.0.0.53".parse().expect("an address")], ..Default::default() };
    Policy { name: name.into(), grant, settings, ..Policy::default() }
}

/// Index of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub usize);

#[derive(Debug)]
struct Connection {
    client: Client,
    session: SessionId,
    attempt: String,
    /// When what was sent last arrives: nothing overtakes on a stream.
    to_client: Duration,
    to_gateway: Duration,
}

#[derive(Debug)]
enum Event {
    ToClient(CallId, Vec<u8>),
    ToGateway(CallId, Vec<u8>),
    ClosedByClient(CallId),
    ClosedByGateway(CallId),
    Radius(Box<Output>),
    Act(CallId, Act),
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub gateway: Gateway<FakePlane>,
    pub radius: Radius,
    settings: Arc<CallSettings>,
    start: Instant,
    now: Duration,
    calls: Vec<Connection>,
    of_session: BTreeMap<SessionId, CallId>,
    queue: BTreeMap<(Duration, u64), Event>,
    events: u64,
    random: SeededRandom,
}

impl World {
    pub fn new(options: Options) -> Self {
        let start = Instant::now();
        let endpoint = ike::Endpoint::new(None, Box::new(SeededRandom::new(1)), start);
        let ipv4 = vec![(Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, options.pool))];
        let ipv6 = [(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, options.pool.into()))];
        let ipv6 = if options.ipv6 { ipv6.to_vec() } else { Vec::new() };
        let pools = Pools::new(vec![PoolConfig { name: "users".into(), ipv4, ipv6 }]).expect("one pool");
        let authority = Authority { policies: options.policies, filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
        let settings = Settings {
            nas_identifier: "vpn.example.test".into(),
            requests: Vec::new(),
            default_group: None,
            ikev2_listener: "ikev2".into(),
            certificate_authorization: Default::default(),
            ikev2_tunnel_type: radius_client::TUNNEL_TYPE_ESP,
            accounting: options.accounting.then(evergate::accounting::Settings::default),
            nps_log: None,
            inner: InnerEnd { ipv4: DUMMY_IPV4, ipv6: None },
            mtu: 1400,
            child_idle: None,
            child_volume: None,
            radius_addresses: Vec::new(),
            sessions_max: options.sessions_max,
            half_open_max: options.half_open_max,
            half_open_timeout: std::time::Duration::from_secs(30),
            nas_port_ids: Vec::new(),
            auth_timeout: std::time::Duration::from_secs(120),
            certificates: Vec::new(),
        };
        let attempts = Attempts::new(UNIX_TIME.unsigned_abs(), 10_000);
        let inner_ipv4 = Ipv4Addr::new(10, 9, 0, 254);
        let call = CallSettings {
            auth: options.auth,
            offer_sha1: options.offer_sha1,
            inner_ipv4,
            name: "vpn.example.test".into(),
            listener: "sstp".into(),
            tunnel_type: radius_client::TUNNEL_TYPE_SSTP,
        };
        Self {
            gateway: Gateway::new(endpoint, attempts, authority, settings, FakePlane::default()),
            radius: Radius::with(&options.users),
            settings: Arc::new(call),
            start,
            now: Duration::ZERO,
            calls: Vec::new(),
            of_session: BTreeMap::new(),
            queue: BTreeMap::new(),
            events: 0,
            random: SeededRandom::new(7),
        }
    }

    /// Since the start of the world.
    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn moment(&self) -> Now {
        let wall = jiff::Timestamp::from_second(UNIX_TIME).expect("a date") + self.now;
        Now { instant: self.start + self.now, wall }
    }

    /// A number below `limit`, from the seed.
    pub fn random(&mut self, limit: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % limit
    }

    pub fn seed(&mut self, seed: u64) {
        self.random = SeededRandom::new(seed);
    }

    /// A client has made its TLS connection and asks for SSTP now.
    pub fn dial(&mut self, conduct: Conduct) -> CallId {
        let id = CallId(self.calls.len());
        let (mut nonce, mut seed) = ([0; 32], [0; ppp::SEED_LENGTH]);
        self.random.fill(&mut nonce);
        self.random.fill(&mut seed);
        let remote = SocketAddr::from(([198, 51, 100, 7], 40_000 + (id.0 % 20_000) as u16));
        let incoming = Incoming {
            path: ike::Path::between(SocketAddr::from(([192, 0, 2, 1], 443)), remote),
            connection: (),
            settings: self.settings.clone(),
            certificate: certificate_hashes(),
            presented: evergate::gateway::Presented { subject: "CN=vpn.example.test".into(), selection: None },
            server_name: None,
            tls: "TLSv1_3 TLS_AES_256_GCM_SHA384".into(),
            correlation_id: Some("{5D3C7A21-0B1E-4E0A-9A3B-5C0D3E2F1A00}".into()),
            notes: Vec::new(),
            nonce,
            seed,
        };
        self.gateway.plane.adopted = None;
        self.gateway.incoming(self.moment(), incoming);
        let session = self.gateway.plane.adopted.unwrap_or(SessionId(0));
        if let Some(stream) = self.gateway.plane.streams.get_mut(&session) {
            let evidence = &mut stream.evidence;
            (evidence.nonce, evidence.offer_sha1) = (nonce, self.settings.offer_sha1);
            evidence.certificate = CERTIFICATE.to_vec();
        }
        let attempt = self.gateway.attempts.iter().next().map(|attempt| attempt.id.to_string()).unwrap_or_default();
        let client = Client::new(conduct, CERTIFICATE.to_vec(), 1000 + id.0 as u64);
        self.calls.push(Connection { client, session, attempt, to_client: self.now, to_gateway: self.now });
        self.of_session.insert(session, id);
        self.carry();
        id
    }

    pub fn client(&self, call: CallId) -> &Client {
        &self.calls[call.0].client
    }

    pub fn session(&self, call: CallId) -> SessionId {
        self.calls[call.0].session
    }

    pub fn stream(&self, call: CallId) -> &super::plane::Stream {
        &self.gateway.plane.streams[&self.session(call)]
    }

    /// All calls so far.
    pub fn calls(&self) -> impl Iterator<Item = CallId> + use<> {
        (0..self.calls.len()).map(CallId)
    }

    pub fn attempt(&self, call: CallId) -> &Attempt {
        self.gateway.attempts.find(&self.calls[call.0].attempt).expect("the record is kept")
    }

    /// The record as the administrator sees it.
    ///
    /// # Panics
    /// When there is none.
    pub fn detail(&mut self, call: CallId) -> AttemptDetail {
        let id = self.calls[call.0].attempt.clone();
        match self.gateway.control(self.moment(), &Request::Attempt { id }) {
            Some(Response::Attempt(detail)) => *detail,
            other => panic!("no record: {other:?}"),
        }
    }

    /// Accounting records of a call, Interim-Updates apart: status and cause.
    pub fn books(&self, call: CallId) -> Vec<(AccountingStatus, Option<TerminateCause>)> {
        let of_call = |record: &&AccountingRecord| {
            record.nas.acct_session_id == self.calls[call.0].attempt && record.status != AccountingStatus::Interim
        };
        self.radius.records.iter().filter(of_call).map(|record| (record.status, record.terminate_cause)).collect()
    }

    /// Inner addresses in use.
    pub fn leased(&self) -> u64 {
        self.gateway.summary().pools.iter().map(|pool| pool.used).sum()
    }

    /// The client does something now.
    pub fn act(&mut self, call: CallId, act: Act) {
        self.calls[call.0].client.act(act);
        self.collect(call);
    }

    /// The client does something later.
    pub fn act_after(&mut self, after: Duration, call: CallId, act: Act) {
        self.push(self.now + after, Event::Act(call, act));
    }

    /// The client's IP packets arrive at the data plane, which the control half sees nothing of but a time and a count.
    pub fn traffic(&mut self, call: CallId) {
        let (session, now) = (self.session(call), self.moment().instant);
        if let Some(stream) = self.gateway.plane.streams.get_mut(&session) {
            stream.heard = Some(now);
            stream.traffic.packets_in += 1;
            stream.traffic.octets_in += 100;
        }
    }

    /// The client's question inside the tunnel; the answers of the gateway are those of the stream.
    pub fn inner(&mut self, call: CallId, packet: &[u8]) {
        let (session, now) = (self.session(call), self.moment());
        self.gateway.inner(now, session, packet);
        self.carry();
    }

    /// The connection breaks: the data plane sees it at once, the client hears nothing any more.
    pub fn cut(&mut self, call: CallId) {
        self.calls[call.0].client.gone = true;
        let (session, now) = (self.session(call), self.moment());
        self.gateway.connection_closed(now, session, "connection reset");
        self.carry();
    }

    /// Does something with the gateway at this moment.
    pub fn with_gateway<T>(&mut self, order: impl FnOnce(&mut Gateway<FakePlane>, Now) -> T) -> T {
        let now = self.moment();
        let result = order(&mut self.gateway, now);
        self.carry();
        result
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until something holds, at most this long; true if it holds.
    pub fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        let mut steps = (self.now, 0);
        loop {
            if done(self) {
                return true;
            }
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timer = self.gateway.poll_timeout().map(|at| at.saturating_duration_since(self.start));
            let Some(next) = [queued, timer].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            steps = if steps.0 == self.now { (self.now, steps.1 + 1) } else { (self.now, 0) };
            assert!(steps.1 < STEPS_AT_ONCE, "the world hangs at {:?}", self.now);
            match self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let event = entry.remove();
                    self.happen(event);
                }
                None => self.gateway.timeout(self.moment()),
            }
            self.carry();
        }
    }

    /// Lets everything come to its end.
    ///
    /// # Panics
    /// When something goes on for more than two days.
    pub fn finish(&mut self) {
        let idle = |world: &Self| world.queue.is_empty() && world.gateway.poll_timeout().is_none();
        assert!(self.run_until(Duration::from_secs(2 * 86_400), idle), "still waiting: {:?}", self.gateway);
    }

    /// Nothing is left of any call, and every order that the data plane got made sense.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_empty(&self) {
        assert_eq!(self.gateway.plane.wrong, Vec::<String>::new());
        let summary = self.gateway.summary();
        assert_eq!((summary.sessions, summary.half_open, self.leased()), (0, 0, 0));
        assert!(self.gateway.is_quiet());
        assert_eq!(self.gateway.poll_timeout(), None);
        assert_eq!(self.radius.waiting(), 0, "questions that nobody waits for");
        let text = format!("{:?}", self.gateway);
        for empty in ["live: {}", "calls: {}", "calls_up: 0", "call_timers: {}", "tickets: {}", "asked: {}", "deadlines: {}", "effects: []"]
        {
            assert!(text.contains(empty), "not {empty}: {text}");
        }
        for (session, stream) in &self.gateway.plane.streams {
            assert_eq!(stream.forgotten, 1, "session {}", session.0);
        }
        for call in self.calls() {
            self.assert_books(call);
        }
    }

    /// A session that came up has one Start and then one Stop, others nothing.
    fn assert_books(&self, call: CallId) {
        use AccountingStatus::{Start, Stop};
        let books: Vec<_> = self.books(call).into_iter().map(|(status, _)| status).collect();
        let opened = self.session(call) != SessionId(0) && self.stream(call).opened.is_some();
        let wanted: &[_] = if opened { &[Start, Stop] } else { &[] };
        assert_eq!(books, wanted, "call {}", call.0);
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.events += 1;
        self.queue.insert((at, self.events), event);
    }

    fn happen(&mut self, event: Event) {
        let now = self.moment();
        match event {
            Event::ToClient(call, packet) => self.client_hears(call, |client, now| client.receive(now, &packet)),
            Event::ClosedByGateway(call) => self.client_hears(call, Client::closed),
            Event::ToGateway(call, packet) => self.gateway_hears(call, &packet),
            Event::ClosedByClient(call) => {
                let session = self.session(call);
                self.gateway.connection_closed(now, session, "closed by the client");
            }
            Event::Radius(output) => self.radius_says(now, *output),
            Event::Act(call, act) => {
                if !self.client(call).gone {
                    self.act(call, act);
                }
            }
        }
    }

    fn client_hears(&mut self, call: CallId, hear: impl FnOnce(&mut Client, Duration)) {
        let now = self.now;
        let client = &mut self.calls[call.0].client;
        if !client.gone {
            hear(client, now);
        }
        self.collect(call);
    }

    fn gateway_hears(&mut self, call: CallId, packet: &[u8]) {
        let (session, now) = (self.session(call), self.moment());
        if let Some(stream) = self.gateway.plane.streams.get_mut(&session) {
            stream.heard = Some(now.instant);
            if packet.get(1) == Some(&1) && packet.get(5) == Some(&4) {
                stream.evidence.connected.push(packet.to_vec());
            }
        }
        self.gateway.packet(now, session, packet);
    }

    fn radius_says(&mut self, now: Now, output: Output) {
        let Some(session) = self.radius.settle(&output) else { return };
        if let (Some(msk), Some(stream)) =
            (binding_keys(&output), session.and_then(|of| self.gateway.plane.streams.get_mut(&SessionId(of.0))))
        {
            let mut hlak = [0; 32];
            let length = msk.len().min(32);
            hlak[..length].copy_from_slice(&msk[..length]);
            stream.evidence.hlak = Some(hlak);
        }
        match output {
            Output::Eap { ticket, outcome } => self.gateway.authenticated(now, ticket, outcome),
            Output::Login { ticket, outcome } => self.gateway.logged_in(now, ticket, outcome),
            Output::Accounting { .. } | Output::Open { .. } | Output::Close { .. } | Output::Transmit { .. } | Output::Server { .. } => {}
        }
    }

    /// Takes what the gateway wants done.
    fn carry(&mut self) {
        while let Some(effect) = self.gateway.poll_effect() {
            let input = match effect {
                Effect::Radius(input) => input,
                Effect::Account(event) => {
                    self.radius.account(*event);
                    continue;
                }
                other => panic!("SSTP needs no {other:?}"),
            };
            for (after, output) in self.radius.handle(input) {
                self.push(self.now + after, Event::Radius(Box::new(output)));
            }
        }
        while let Some(session) = self.gateway.plane.touched.pop_first() {
            let Some(&call) = self.of_session.get(&session) else { continue };
            let Some(stream) = self.gateway.plane.streams.get_mut(&session) else { continue };
            let (packets, closed) = (std::mem::take(&mut stream.outbox), stream.closed);
            let connection = &mut self.calls[call.0];
            let at = connection.to_client.max(self.now + connection.client.conduct.latency);
            connection.to_client = at;
            for packet in packets {
                self.push(at, Event::ToClient(call, packet));
            }
            if closed {
                self.push(at, Event::ClosedByGateway(call));
            }
        }
    }

    /// Takes what the client sends.
    fn collect(&mut self, call: CallId) {
        while let Some(output) = self.calls[call.0].client.poll() {
            let connection = &mut self.calls[call.0];
            let at = connection.to_gateway.max(self.now + connection.client.conduct.latency);
            connection.to_gateway = at;
            match output {
                ClientOutput::Packet(packet) => self.push(at, Event::ToGateway(call, packet)),
                ClientOutput::Close => self.push(at, Event::ClosedByClient(call)),
            }
        }
    }
}

/// The keys of an Accept that a client may be bound by: none at all where the method makes some and none came, an empty key where it makes
/// none, whatever came.
fn binding_keys(output: &Output) -> Option<&[u8]> {
    let accept = match output {
        Output::Eap { outcome: EapOutcome::Accept { accept, .. }, .. } => accept,
        Output::Login { outcome: LoginOutcome::Accept { accept, ms_chap_success: Some(_), .. }, .. } => accept,
        Output::Login { outcome: LoginOutcome::Accept { ms_chap_success: None, .. }, .. } => return Some(&[]),
        _ => return None,
    };
    (!accept.msk.is_empty()).then_some(&accept.msk)
}

fn certificate_hashes() -> CertificateHashes {
    let digest = |algorithm| hash(algorithm, &[CERTIFICATE]);
    CertificateHashes {
        sha1: digest(HashAlgorithm::Sha1).try_into().expect("20 octets"),
        sha256: digest(HashAlgorithm::Sha256).try_into().expect("32 octets"),
    }
}
