//! Every state against every kind of message, as one table: what goes out, and which state follows. `SNAPSHOT=write` writes it anew; read the
//! difference before it is committed.
use super::{CLIENT, GATEWAY, Pair};
use crypto::SeededRandom;
use crypto::dh::{Group, PrivateKey};
use ike::proposal::offer_ike;
use ike::wire::{
    Delete, Exchange, Flags, Header, KeyExchange, Message, Notify, Opened, Payload, Spi, encode, kind, notify, unprotect, vendor,
};
use ike::{CloseReason, Command, Event, InitiatorAuth, InitiatorConfig, Input, Path, ResponderConfig, SessionId, TrafficSelector};
use sim::{Host, HostId, KeyKind, Script, Sim, Verdict, ciphers, client_credential, initiator, responder};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const TABLE: &str = include_str!("table.txt");
const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// A session in some state, and a client by hand that can go on with it.
struct Stand {
    sim: Sim,
    gateway: HostId,
    script: Script,
    first: Vec<u8>,
}

/// The only session of the gateway.
const SESSION: SessionId = SessionId(1);

fn public() -> Vec<u8> {
    vec![9; 32]
}

fn any() -> Vec<TrafficSelector> {
    vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]
}

impl Stand {
    fn new(config: ResponderConfig) -> Self {
        let Pair { sim, gateway, .. } = Pair::new(1, config);
        let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
        let script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
        Self { sim, gateway, script, first: Vec::new() }
    }

    fn init() -> Self {
        let mut stand = Self::new(responder());
        stand.script.init(&mut stand.sim);
        stand.first = stand.script.init_request().to_vec();
        stand
    }

    /// An additional key exchange is agreed.
    fn hybrid() -> Self {
        let mut config = responder();
        config.ciphers.additional = vec![Group::MlKem768];
        let mut stand = Self::new(config);
        stand.script.ciphers.additional = vec![Group::MlKem768];
        stand.script.extra.push(Payload::Notify(Notify::new(notify::INTERMEDIATE_EXCHANGE_SUPPORTED, [])));
        stand.script.init(&mut stand.sim);
        stand.first = stand.script.init_request().to_vec();
        stand
    }

    fn up() -> Self {
        let mut stand = Self::init();
        stand.script.eap(&mut stand.sim);
        let auth = stand.script.auth();
        stand.script.exchange(&mut stand.sim, Exchange::IkeAuth, &[auth]);
        stand
    }

    fn host(&self) -> &Host {
        self.sim.host(self.gateway)
    }

    fn slow_keys(&mut self) {
        self.sim.host_mut(self.gateway).answers.crypto_delay = HOUR;
    }

    fn slow_login(&mut self) {
        self.sim.host_mut(self.gateway).answers.eap_delay = HOUR;
    }

    fn send(&mut self, exchange: Exchange, payloads: &[Payload]) {
        let message = self.script.seal(exchange, payloads);
        self.sim.inject(self.script.path, message);
    }

    fn command(&mut self, command: Command) {
        self.sim.command(self.gateway, SESSION, command);
    }

    fn with_certificate(&mut self) {
        let mut wishes = self.script.wishes();
        wishes.extend(self.script.certificate(&client_credential(KeyKind::P256, "pc1.example.test")));
        self.send(Exchange::IkeAuth, &wishes);
    }

    fn identity() -> Payload {
        Payload::Eap(eap::build(eap::Code::Response, 0, eap::method::IDENTITY, b"bob"))
    }

    fn child(&self, spi: u32, rekeys: Option<u32>) -> Vec<Payload> {
        let rekey = rekeys.map(|spi| Payload::Notify(Notify::esp(notify::REKEY_SA, spi)));
        let rest =
            [Payload::Sa(self.script.esp(spi, &[])), Payload::Nonce(vec![3; 32]), Payload::TsInitiator(any()), Payload::TsResponder(any())];
        rekey.into_iter().chain(rest).collect()
    }

    fn ike_rekey() -> [Payload; 3] {
        [
            Payload::Sa(offer_ike(&ciphers(), Some(Spi(0x99)))),
            Payload::Nonce(vec![3; 32]),
            Payload::KeyExchange(KeyExchange { group: 31, public: public() }),
        ]
    }
}

type State = (&'static str, fn() -> Stand);

/// The responder's states; those of [`ike`] that mean several things come several times.
const STATES: [State; 19] = [
    ("ExpectRetry", || {
        let mut stand = Stand::new(responder());
        stand.first = stand.script.init_message(14, vec![9; 256]);
        stand.sim.inject(stand.script.path, stand.first.clone());
        stand
    }),
    ("AwaitKeyExchange", || {
        let mut stand = Stand::new(responder());
        stand.slow_keys();
        stand.first = stand.script.init_message(31, public());
        stand.sim.inject(stand.script.path, stand.first.clone());
        stand
    }),
    ("ExpectIntermediate", Stand::hybrid),
    ("AwaitIntermediate", || {
        let mut stand = Stand::hybrid();
        stand.slow_keys();
        let (_, public) = PrivateKey::generate(Group::MlKem768, &mut SeededRandom::new(1));
        stand.send(Exchange::IkeIntermediate, &[Payload::KeyExchange(KeyExchange { group: 36, public })]);
        stand
    }),
    ("ExpectAuth", Stand::init),
    ("AwaitEapStart", || {
        let mut stand = Stand::init();
        stand.slow_keys();
        let wishes = stand.script.wishes();
        stand.send(Exchange::IkeAuth, &wishes);
        stand
    }),
    ("ExpectEap", || {
        let mut stand = Stand::init();
        let wishes = stand.script.wishes();
        stand.script.exchange(&mut stand.sim, Exchange::IkeAuth, &wishes);
        stand
    }),
    ("AwaitEap", || {
        let mut stand = Stand::init();
        stand.slow_login();
        let wishes = stand.script.wishes();
        stand.script.exchange(&mut stand.sim, Exchange::IkeAuth, &wishes);
        stand.send(Exchange::IkeAuth, &[Stand::identity()]);
        stand
    }),
    ("ExpectEapAuth", || {
        let mut stand = Stand::init();
        stand.script.eap(&mut stand.sim);
        stand
    }),
    ("AwaitGrant", || {
        let mut stand = Stand::init();
        stand.slow_login();
        stand.with_certificate();
        stand
    }),
    ("AwaitSignature", || {
        let mut stand = Stand::init();
        stand.slow_keys();
        stand.with_certificate();
        stand.sim.run_for(MS);
        stand
    }),
    ("Established", Stand::up),
    ("Established, our rekey of the child is with the peer", || {
        let mut config = responder();
        config.ciphers.pfs_groups.clear();
        let mut stand = Stand::new(config);
        stand.script.login(&mut stand.sim);
        stand.first = stand.script.init_request().to_vec();
        stand.command(Command::RekeyChild);
        stand
    }),
    ("Established, our rekey of the IKE SA is with the peer", || {
        let mut stand = Stand::up();
        stand.command(Command::RekeyIke);
        stand.sim.run_for(MS);
        stand
    }),
    ("Established, our DELETE of the child is with the peer", || {
        let mut stand = Stand::new(responder());
        stand.script.extra.push(Payload::Vendor(vendor::MS_NT5_V9.to_vec()));
        stand.script.login(&mut stand.sim);
        stand.first = stand.script.init_request().to_vec();
        stand.command(Command::RekeyChild);
        stand
    }),
    ("Established, the peer's rekey of the IKE SA is being computed", || {
        let mut stand = Stand::up();
        stand.slow_keys();
        stand.send(Exchange::CreateChildSa, &Stand::ike_rekey());
        stand
    }),
    ("Established without a child", || {
        let mut stand = Stand::up();
        stand.script.exchange(&mut stand.sim, Exchange::Informational, &[Script::delete(&[0x1000_0001])]);
        stand
    }),
    ("Closing", || {
        let mut stand = Stand::up();
        stand.command(Command::Close(CloseReason::Operator));
        stand
    }),
    ("Draining", || {
        let mut stand = Stand::up();
        stand.script.exchange(&mut stand.sim, Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
        stand
    }),
];

type Act = fn(&mut Stand);

/// What needs no keys.
const OPEN: [(&str, Act); 5] = [
    ("IKE_SA_INIT again", |stand| stand.sim.inject(stand.script.path, stand.first.clone())),
    ("IKE_SA_INIT with another KE payload", |stand| {
        let message = stand.script.init_message(31, vec![8; 32]);
        stand.sim.inject(stand.script.path, message);
    }),
    ("the timer", |stand| {
        let (gateway, before) = (stand.gateway, stand.host().endpoint.poll_timeout());
        let sent = stand.host().sent.len();
        stand.sim.run_until(2 * HOUR, |sim| {
            let host = sim.host(gateway);
            host.sent.len() > sent || host.endpoint.poll_timeout() != before
        });
    }),
    ("command: close", |stand| stand.command(Command::Close(CloseReason::Operator))),
    ("the data plane saw the peer elsewhere", |stand| {
        let path = Path::between(stand.script.path.remote, "203.0.113.9:9".parse().unwrap());
        stand.sim.input(stand.gateway, Input::PeerMoved { session: SESSION, path });
    }),
];

/// What comes from a peer that holds the keys, and orders that mean something from then on.
const KEYED: [(&str, Act); 26] = [
    ("IKE_AUTH: IDi CP SA TSi TSr", |stand| {
        let wishes = stand.script.wishes();
        stand.send(Exchange::IkeAuth, &wishes);
    }),
    ("IKE_AUTH: IDi CERT AUTH CP SA TSi TSr", Stand::with_certificate),
    ("IKE_AUTH: EAP", |stand| stand.send(Exchange::IkeAuth, &[Stand::identity()])),
    ("IKE_AUTH: AUTH", |stand| {
        let auth = stand.script.auth();
        stand.send(Exchange::IkeAuth, &[auth]);
    }),
    ("IKE_AUTH: wrong AUTH", |stand| {
        let Payload::Auth(mut auth) = stand.script.auth() else { return };
        auth.data[0] ^= 1;
        stand.send(Exchange::IkeAuth, &[Payload::Auth(auth)]);
    }),
    ("IKE_AUTH: nothing", |stand| stand.send(Exchange::IkeAuth, &[])),
    ("CREATE_CHILD_SA: new child", |stand| {
        let payloads = stand.child(0x1000_0009, None);
        stand.send(Exchange::CreateChildSa, &payloads);
    }),
    ("CREATE_CHILD_SA: rekey of the child", |stand| {
        let payloads = stand.child(0x1000_0009, Some(0x1000_0001));
        stand.send(Exchange::CreateChildSa, &payloads);
    }),
    ("CREATE_CHILD_SA: rekey of no known child", |stand| {
        let payloads = stand.child(0x1000_0009, Some(0x7777_7777));
        stand.send(Exchange::CreateChildSa, &payloads);
    }),
    ("CREATE_CHILD_SA: rekey of the IKE SA", |stand| stand.send(Exchange::CreateChildSa, &Stand::ike_rekey())),
    ("CREATE_CHILD_SA: nothing", |stand| stand.send(Exchange::CreateChildSa, &[])),
    ("INFORMATIONAL: nothing", |stand| stand.send(Exchange::Informational, &[])),
    ("INFORMATIONAL: D(ESP)", |stand| stand.send(Exchange::Informational, &[Script::delete(&[0x1000_0001])])),
    ("INFORMATIONAL: D(unknown ESP)", |stand| stand.send(Exchange::Informational, &[Script::delete(&[0x7777_7777])])),
    ("INFORMATIONAL: D(IKE)", |stand| stand.send(Exchange::Informational, &[Payload::Delete(Delete::Ike)])),
    ("INFORMATIONAL: N(AUTHENTICATION_FAILED)", |stand| {
        stand.send(Exchange::Informational, &[Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, []))]);
    }),
    ("INFORMATIONAL: critical payload 200", |stand| {
        stand.send(Exchange::Informational, &[Payload::Unknown { kind: 200, critical: true, data: Vec::new() }]);
    }),
    ("IKE_INTERMEDIATE: KE", |stand| {
        let (_, public) = PrivateKey::generate(Group::MlKem768, &mut SeededRandom::new(1));
        stand.send(Exchange::IkeIntermediate, &[Payload::KeyExchange(KeyExchange { group: 36, public })]);
    }),
    ("IKE_INTERMEDIATE: bad KE", |stand| {
        let ke = KeyExchange { group: 36, public: public() };
        stand.send(Exchange::IkeIntermediate, &[Payload::KeyExchange(ke)]);
    }),
    ("IKE_FOLLOWUP_KE: KE N(ADDITIONAL_KEY_EXCHANGE)", |stand| {
        let ke = Payload::KeyExchange(KeyExchange { group: 36, public: public() });
        stand.send(Exchange::IkeFollowupKe, &[ke, Payload::Notify(Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, [1; 8]))]);
    }),
    ("exchange type 99", |stand| stand.send(Exchange::Other(99), &[])),
    ("a response that nobody waits for", |stand| {
        let message = stand.script.seal_as(Exchange::Informational, true, 77, &[]);
        stand.sim.inject(stand.script.path, message);
    }),
    ("the answer N(TEMPORARY_FAILURE) to what we asked last", |stand| {
        let refused = [Payload::Notify(Notify::new(notify::TEMPORARY_FAILURE, []))];
        let requests = stand.host().sent.iter().map(|(_, message)| Header::parse(message).unwrap());
        let Some(header) = requests.rev().find(|header| !header.flags.response) else { return };
        let message = stand.script.seal_as(header.exchange, true, header.message_id, &refused);
        stand.sim.inject(stand.script.path, message);
    }),
    ("command: rekey the child", |stand| stand.command(Command::RekeyChild)),
    ("command: rekey the IKE SA", |stand| stand.command(Command::RekeyIke)),
    ("command: liveness", |stand| stand.command(Command::Liveness)),
];

fn short(payload: &Payload) -> String {
    match payload {
        Payload::Notify(notify) => format!("N({})", notify::name(notify.kind).map_or_else(|| notify.kind.to_string(), str::to_owned)),
        Payload::Delete(Delete::Ike) => "D(IKE)".into(),
        Payload::Delete(_) => "D(ESP)".into(),
        Payload::Eap(packet) => match packet.first() {
            Some(1) => "EAP-Request".into(),
            Some(3) => "EAP-Success".into(),
            Some(4) => "EAP-Failure".into(),
            _ => "EAP".into(),
        },
        other => kind::name(other.kind()).replace(" payload", ""),
    }
}

fn exchange_name(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::IkeSaInit => "IKE_SA_INIT",
        Exchange::IkeAuth => "IKE_AUTH",
        Exchange::CreateChildSa => "CREATE_CHILD_SA",
        Exchange::Informational => "INFORMATIONAL",
        Exchange::IkeIntermediate => "IKE_INTERMEDIATE",
        Exchange::IkeFollowupKe => "IKE_FOLLOWUP_KE",
        Exchange::Other(_) => "other",
    }
}

/// A message in words.
fn words(message: &[u8], opener: Option<&crypto::cipher::Opener>) -> String {
    let header = Header::parse(message).unwrap();
    let verb = if header.flags.response { "answers" } else { "asks" };
    let payloads: Vec<String> = match opener.map(|opener| unprotect(message, opener)) {
        Some(Ok(Opened::Message(payloads))) => payloads.iter().map(short).collect(),
        _ => match Message::parse(message) {
            Ok(message) if !message.protected => message.payloads.iter().map(short).collect(),
            _ => vec!["..".into()],
        },
    };
    let payloads = if payloads.is_empty() { "nothing".into() } else { payloads.join(" ") };
    format!("{verb} {}: {payloads}", exchange_name(header.exchange))
}

/// What one act brings about: words, or nothing when nothing happens.
fn effects(host: &Host, before: &Before, opener: Option<&crypto::cipher::Opener>, session: SessionId) -> Option<String> {
    let mut parts: Vec<String> = host.sent[before.sent..].iter().map(|(_, message)| words(message, opener)).collect();
    parts.extend((host.children.len() > before.children).then(|| "installs a Child SA".into()));
    parts.extend((host.children.len() < before.children).then(|| "removes a Child SA".into()));
    parts.extend((host.repaths.len() > before.repaths).then(|| "moves".into()));
    let closed = host.closed().into_iter().find(|(of, ..)| *of == session && !before.closed);
    parts.extend(closed.map(|(_, reason, failure)| match failure {
        Some(failure) => format!("ends: {:?}", failure.fault),
        None => format!("ends: {reason:?}"),
    }));
    let others = host.events.iter().skip(before.events).filter(|(of, event)| *of != session && matches!(event, Event::Started { .. }));
    parts.extend((others.count() > 0).then(|| "begins another session".into()));
    let state = host.endpoint.state(session).unwrap_or("Gone");
    if state != before.state {
        parts.push(format!("-> {state}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

struct Before {
    sent: usize,
    children: usize,
    repaths: usize,
    events: usize,
    closed: bool,
    state: &'static str,
}

impl Before {
    fn new(host: &Host, session: SessionId) -> Self {
        Self {
            sent: host.sent.len(),
            children: host.children.len(),
            repaths: host.repaths.len(),
            events: host.events.len(),
            closed: host.closed().iter().any(|(of, ..)| *of == session),
            state: host.endpoint.state(session).unwrap_or("Gone"),
        }
    }
}

fn block(table: &mut String, name: &str, rows: Vec<(&str, Option<String>)>) {
    writeln!(table, "{name}").unwrap();
    let mut silent = Vec::new();
    for (act, effect) in rows {
        match effect {
            Some(effect) => writeln!(table, "    {act:<56} {effect}").unwrap(),
            None => silent.push(act),
        }
    }
    writeln!(table, "    nothing happens: {}\n", silent.join(" | ")).unwrap();
}

fn responder_table(table: &mut String) {
    for (name, state) in STATES {
        let keyed = state().script.keys.is_some();
        let acts = OPEN.iter().chain(KEYED.iter().filter(|_| keyed));
        let mut rows = Vec::new();
        for (act, perform) in acts {
            let mut stand = state();
            let before = Before::new(stand.host(), SESSION);
            assert_eq!(before.state, name.split([',', ' ']).next().unwrap(), "{name} is not what it says");
            perform(&mut stand);
            stand.sim.run_for(MS);
            let opener = stand.script.keys.as_ref().map(|keys| keys.ciphers(true).1);
            rows.push((*act, effects(stand.host(), &before, opener.as_ref(), SESSION)));
        }
        block(table, name, rows);
    }
}

/// The initiator's states, with whether a certificate brings it there, and what befalls it.
const INITIATOR: [(&str, bool); 7] = [
    ("AwaitKeyPair", false),
    ("ExpectInit", false),
    ("AwaitAgreement", false),
    ("AwaitProof", true),
    ("ExpectAuthReply", false),
    ("AwaitEapPeer", false),
    ("ExpectFinal", false),
];

fn dialling(state: &str, certificate: bool) -> Pair {
    let mut pair = Pair::default();
    let answers = &mut pair.sim.host_mut(pair.client).answers;
    (answers.crypto_delay, answers.eap_delay) = (MS * 5, MS * 5);
    let auth = InitiatorAuth::Certificate(client_credential(KeyKind::P256, "pc1.example.test"));
    let mut config = initiator(CLIENT, GATEWAY);
    config.ciphers.groups.push(Group::EcpP256);
    pair.sim.connect(pair.client, if certificate { InitiatorConfig { auth, ..config } } else { config });
    let client = pair.client;
    assert!(pair.sim.run_until(Duration::from_secs(1), |sim| sim.host(client).endpoint.state(SESSION) == Some(state)), "{state}");
    pair
}

/// An unprotected notify, as anybody could send it.
fn plain(pair: &mut Pair, kind: u16, data: &[u8]) {
    let Some((path, first)) = pair.client().sent.first().cloned() else { return };
    let header = Header::parse(&first).unwrap();
    let flags = Flags { initiator: false, response: true, version: false };
    let header = Header::new(header.initiator_spi, Spi(0), Exchange::IkeSaInit, flags, 0);
    let message = encode(&header, &[Payload::Notify(Notify::new(kind, data.to_vec()))]);
    pair.sim.inject(Path::between(path.remote, path.local), message);
}

type InitiatorAct = fn(&mut Pair);

const TO_INITIATOR: [(&str, InitiatorAct); 6] = [
    ("IKE_SA_INIT: N(COOKIE)", |pair| plain(pair, notify::COOKIE, &[7; 16])),
    ("IKE_SA_INIT: N(INVALID_KE_PAYLOAD), a group of ours", |pair| {
        plain(pair, notify::INVALID_KE_PAYLOAD, &Group::EcpP256.id().to_be_bytes());
    }),
    ("IKE_SA_INIT: N(INVALID_KE_PAYLOAD), another group", |pair| plain(pair, notify::INVALID_KE_PAYLOAD, &[0, 14])),
    ("IKE_SA_INIT: N(NO_PROPOSAL_CHOSEN)", |pair| plain(pair, notify::NO_PROPOSAL_CHOSEN, &[])),
    ("the timer, for nothing comes back", |pair| {
        pair.sim.filter = Some(Box::new(|path, _| if path.local.ip() == GATEWAY { Verdict::Drop } else { Verdict::Pass }));
        let (client, sent) = (pair.client, pair.client().sent.len());
        pair.sim.run_until(Duration::from_secs(2), |sim| sim.host(client).sent.len() > sent);
    }),
    ("command: close", |pair| pair.sim.command(pair.client, SESSION, Command::Close(CloseReason::Operator))),
];

fn initiator_table(table: &mut String) {
    for (name, certificate) in INITIATOR {
        let mut rows = Vec::new();
        for (act, perform) in TO_INITIATOR {
            let mut pair = dialling(name, certificate);
            let before = Before::new(pair.client(), SESSION);
            perform(&mut pair);
            rows.push((act, effects(pair.client(), &before, None, SESSION)));
        }
        block(table, name, rows);
    }
}

#[test]
fn every_state_and_every_message() {
    let mut table = String::from("Responder\n=========\n\n");
    responder_table(&mut table);
    table.push_str("Initiator\n=========\n\n");
    initiator_table(&mut table);
    if std::env::var_os("SNAPSHOT").is_some_and(|how| how == "write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/table.txt"), &table).unwrap();
        return;
    }
    for (line, (is, was)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(is, was, "line {}", line + 1);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count());
}
