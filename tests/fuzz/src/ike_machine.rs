//! The responder machine against a hostile client that knows its keys: what anybody on the Internet can reach without a password, and,
//! once the script has logged in, what a hostile user can.
use crate::ike_message::policy;
use crypto::cipher::{Opener, Sealer};
use crypto::dh::{Group, PrivateKey};
use crypto::{SeededRandom, Zeroizing};
use ike::keys::{IkeKeys, Seed};
use ike::proposal::{accept_ike, offer_esp, offer_ike};
use ike::wire::{Configuration, Exchange, Flags, Header, Identification, KeyExchange, Message, Payload, Payloads, Spi, encode, protect};
use ike::{
    Answer, AskId, CipherPolicy, ClientAuth, CloseReason, Command, EapAnswer, Endpoint, Grant, Identity, Input, Limits, Output, Path,
    Question, ResponderConfig, SessionId, Timers, TrafficSelector, auth,
};
use pki::{Credential, TrustAnchors};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) const SHARED_SECRET: [u8; 32] = [3; 32];
pub(crate) const MSK: [u8; 64] = [5; 64];
pub(crate) const NONCE: [u8; 32] = [7; 32];
pub(crate) const SPI_I: Spi = Spi(0x1122_3344_5566_7788);
/// More steps add nothing but time.
const MAX_STEPS: usize = 24;
const MAX_OUTPUTS: usize = 200;

/// A script of steps, each an operation, a length of two bytes and that many bytes.
pub fn ike_machine(data: &[u8]) {
    let mut client = Client::new();
    client.init();
    let mut rest = data;
    for _ in 0..MAX_STEPS {
        let Some((&[op, high, low], tail)) = rest.split_first_chunk::<3>() else { return };
        let len = usize::from(u16::from_be_bytes([high, low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        client.step(op, bytes);
    }
}

struct Client {
    endpoint: Endpoint,
    now: Instant,
    path: Path,
    init_request: Vec<u8>,
    keys: Option<(IkeKeys, Sealer, Opener)>,
    spi_r: Spi,
    nonce_r: Vec<u8>,
    next_id: u32,
    counter: u64,
    session: Option<SessionId>,
    answers: u8,
}

impl Client {
    fn new() -> Self {
        let now = start();
        let endpoint = Endpoint::new(Some(config()), Box::new(SeededRandom::new(1)), now);
        let path = Path::between(([192, 0, 2, 1], 500).into(), ([198, 51, 100, 7], 500).into());
        Self {
            endpoint,
            now,
            path,
            init_request: Vec::new(),
            keys: None,
            spi_r: Spi(0),
            nonce_r: Vec::new(),
            next_id: 1,
            counter: 0,
            session: None,
            answers: 0,
        }
    }

    fn header(&self, exchange: Exchange, response: bool) -> Header {
        Header::new(SPI_I, self.spi_r, exchange, Flags { initiator: true, response, version: false }, self.next_id)
    }

    /// The whole IKE_SA_INIT exchange, done right.
    fn init(&mut self) {
        let ciphers = one_suite();
        let payloads = [
            Payload::Sa(offer_ike(&ciphers, None)),
            Payload::KeyExchange(KeyExchange { group: Group::EcpP256.id(), public: vec![1; 64] }),
            Payload::Nonce(NONCE.to_vec()),
        ];
        self.next_id = 0;
        self.init_request = encode(&self.header(Exchange::IkeSaInit, false), &payloads);
        self.next_id = 1;
        let answer = self.deliver(self.init_request.clone()).pop().expect("IKE_SA_INIT is answered");
        let answer = Message::parse(&answer).expect("what the gateway sends parses");
        let chosen = accept_ike(&offer_ike(&ciphers, None), answer.payloads.sa().expect("SA")).expect("a proposal of ours");
        self.spi_r = answer.header.responder_spi;
        self.nonce_r = answer.payloads.nonce().expect("a nonce").to_vec();
        let seed = Seed { shared_secret: &SHARED_SECRET, nonce_i: &NONCE, nonce_r: &self.nonce_r, spi_i: SPI_I, spi_r: self.spi_r };
        let keys = IkeKeys::derive(chosen.suite, seed);
        let (sealer, opener) = keys.ciphers(true);
        self.keys = Some((keys, sealer, opener));
    }

    fn step(&mut self, op: u8, bytes: &[u8]) {
        match op % 12 {
            0 => drop(self.deliver(bytes.to_vec())),
            1 => self.request(Exchange::IkeAuth, bytes),
            2 => self.request(Exchange::CreateChildSa, bytes),
            3 => self.request(Exchange::Informational, bytes),
            4 => self.request(Exchange::Other(bytes.len() as u8), bytes),
            5 => self.respond(bytes),
            6 => self.send(Exchange::IkeAuth, &first_ike_auth()),
            7 => self.send(Exchange::IkeAuth, &[Payload::Eap(b"\x02\x01\x00\x0a\x01alice".to_vec())]),
            8 => self.finish(),
            9 => self.pass(bytes),
            10 => self.command(bytes),
            _ => self.vary(bytes),
        }
    }

    /// A protected request of the next message ID with this chain of payloads, or with one payload of arbitrary content.
    fn request(&mut self, exchange: Exchange, bytes: &[u8]) {
        let payloads = chain(bytes);
        self.send(exchange, &payloads);
    }

    fn send(&mut self, exchange: Exchange, payloads: &[Payload]) {
        let header = self.header(exchange, false);
        self.next_id = self.next_id.wrapping_add(1);
        self.seal(&header, payloads);
    }

    /// A response to whatever the gateway asked: exchange type and message ID from the script.
    fn respond(&mut self, bytes: &[u8]) {
        let [exchange, id, rest @ ..] = bytes else { return };
        let mut header = self.header(Exchange::from_id(35 + exchange % 4), true);
        header.message_id = (*id).into();
        let payloads = chain(rest);
        self.seal(&header, &payloads);
    }

    fn seal(&mut self, header: &Header, payloads: &[Payload]) {
        self.counter += 1;
        let Some((_, sealer, _)) = &self.keys else { return };
        let message = protect(header, payloads, sealer, self.counter);
        let _ = self.deliver(message);
    }

    /// AUTH with the MSK, as RFC 7296 section 2.16 has it.
    fn finish(&mut self) {
        let Some((keys, ..)) = &self.keys else { return };
        let id = Identification::new(identity());
        let octets = auth::signed_octets(keys.prf(), &self.init_request, &self.nonce_r, &keys.pi, &id.body);
        let auth = auth::eap_auth(keys.prf(), &MSK, &keys.pi, &octets);
        self.send(Exchange::IkeAuth, &[Payload::Auth(auth)]);
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.now += Duration::from_millis(100 * bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        self.endpoint.handle(self.now, Input::Timeout);
        let _ = self.drain();
    }

    fn command(&mut self, bytes: &[u8]) {
        let Some(session) = self.session else { return };
        let command = match bytes.first().map(|byte| byte % 4) {
            Some(0) => Command::RekeyIke,
            Some(1) => Command::RekeyChild,
            Some(2) => Command::Liveness,
            _ => Command::Close(CloseReason::Operator),
        };
        self.endpoint.handle(self.now, Input::Command(session, command));
        let _ = self.drain();
    }

    /// Other message ID, other path, other answers from RADIUS and the login.
    fn vary(&mut self, bytes: &[u8]) {
        match bytes {
            [0, id, ..] => self.next_id = (*id).into(),
            [1, port, ..] => self.path.remote.set_port(500 + u16::from(*port)),
            [2, ..] => self.path.local.set_port(4500),
            [_, answers, ..] => self.answers = *answers,
            _ => {}
        }
    }

    fn deliver(&mut self, message: Vec<u8>) -> Vec<Vec<u8>> {
        let unix_time = 1_800_000_000;
        self.endpoint.handle(self.now, Input::Datagram { path: self.path, message, unix_time });
        self.drain()
    }

    /// All outputs, questions answered at once; the messages sent.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.endpoint.poll_output() else { return sent };
            let _ = format!("{output:?}");
            match output {
                Output::Transmit { message, .. } => {
                    Header::parse(&message).expect("what the gateway sends has a header");
                    sent.push(message);
                }
                Output::Ask(id, session, question) => {
                    self.session = Some(session);
                    self.answer(id, question);
                }
                Output::InstallChild(child) => {
                    assert_ne!(child.spi_in, 0);
                    assert!(child.remote.iter().all(|selector| selector.start == leased() && selector.end == leased()));
                }
                _ => {}
            }
        }
        panic!("outputs without end");
    }

    fn answer(&mut self, id: AskId, question: Question) {
        let grant = Box::new(Grant {
            user: "alice".into(),
            ipv4: Some(Ipv4Addr::new(10, 0, 0, 7)),
            ipv6: None,
            address_failure: (self.answers & 4 != 0).then(|| "the pool is empty".into()),
            dns: vec![],
            selectors: vec![],
            ..Grant::default()
        });
        let answer = match question {
            Question::KeyExchange { .. } => Answer::KeyExchange(Ok((vec![2; 64], Zeroizing::new(SHARED_SECRET.to_vec())))),
            Question::Sign { .. } => Answer::Signature(if self.answers & 8 == 0 { Ok(vec![9; 64]) } else { Err("no key".into()) }),
            Question::Eap(_) if self.answers & 1 != 0 => Answer::Eap(EapAnswer::Continue { packet: b"\x01\x02\x00\x06\x0d\x20".to_vec() }),
            Question::Eap(_) => {
                Answer::Eap(EapAnswer::Success { packet: b"\x03\x01\x00\x04".to_vec(), msk: Zeroizing::new(MSK.to_vec()), grant })
            }
            Question::Certificate { .. } => Answer::Certificate(Ok(grant)),
            Question::GenerateKeyPair { group } => {
                let (private, public) = PrivateKey::generate(group, &mut SeededRandom::new(4));
                Answer::KeyPair { private, public }
            }
            Question::Agree { .. } => Answer::Agreed(Ok(Zeroizing::new(SHARED_SECRET.to_vec()))),
            Question::EapPeer { .. } => unreachable!("a responder has no EAP peer"),
        };
        self.endpoint.handle(self.now, Input::Answer(id, answer));
    }
}

pub(crate) fn leased() -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 7).into()
}

/// A chain of payloads that parses, or one payload of arbitrary type and content.
pub(crate) fn chain(bytes: &[u8]) -> Vec<Payload> {
    let Some((&kind, data)) = bytes.split_first() else { return Vec::new() };
    match Payloads::parse(kind, data) {
        Ok(payloads) => payloads.iter().cloned().collect(),
        Err(_) => vec![Payload::Unknown { kind, critical: false, data: data[..data.len().min(4096)].to_vec() }],
    }
}

pub(crate) fn identity() -> Identity {
    Identity::Ipv4(Ipv4Addr::new(192, 168, 1, 10))
}

pub(crate) fn first_ike_auth() -> Vec<Payload> {
    let any = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
    vec![
        Payload::IdInitiator(Identification::new(identity())),
        Payload::Configuration(Configuration::request(true, true)),
        Payload::Sa(offer_esp(&one_suite(), 0x1000_0001, &[])),
        Payload::TsInitiator(any.clone()),
        Payload::TsResponder(any),
    ]
}

pub(crate) fn one_suite() -> CipherPolicy {
    let mut ciphers = policy();
    ciphers.ike.truncate(1);
    ciphers.prfs.truncate(1);
    ciphers.groups = vec![Group::EcpP256];
    ciphers.esp.truncate(1);
    ciphers
}

pub(crate) fn config() -> ResponderConfig {
    static CONFIG: OnceLock<(Credential, Arc<TrustAnchors>)> = OnceLock::new();
    let (credential, client_roots) = CONFIG.get_or_init(|| {
        let credential = Credential::from_pem(include_bytes!("testdata/gateway.pem"), include_bytes!("testdata/gateway.key.pem"));
        let credential = credential.expect("the test certificate and its key");
        let roots = TrustAnchors::new(vec![credential.leaf().clone()]);
        (credential, Arc::new(roots))
    });
    ResponderConfig {
        ciphers: policy(),
        certificates: vec![credential.clone().into()],
        steering: None,
        server_name: "vpn.example.test".into(),
        client_roots: client_roots.clone(),
        client_auth: ClientAuth { eap: true, certificate: true, eap_only: true },
        limits: Limits {
            cookie_threshold: 10,
            half_open_max: 100,
            half_open_per_source: 10,
            half_open_timeout: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(60),
            sessions_max: 100,
            exempt: Vec::new(),
        },
        timers: Timers {
            liveness_interval: Duration::from_secs(30),
            retransmit_initial: Duration::from_millis(500),
            retransmit_tries: 3,
            delete_rekeyed_delay: Duration::from_secs(5),
            ..Timers::default()
        },
        qcd_secret: Some(vec![7; 32].into()),
        ppk: ike::ppk::PpkPolicy::default(),
        redirect: None,
        return_routability: true,
        addresses: Vec::new(),
    }
}

/// One instant for all runs.
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scripts of the corpus start here: were this not so, fuzzing would stop at the door.
    #[test]
    fn three_steps_log_in() {
        let mut client = Client::new();
        client.init();
        [6, 7].into_iter().for_each(|op| client.step(op, &[]));
        assert_eq!(client.endpoint.sessions(), (1, 0));
        client.step(8, &[]);
        assert_eq!(client.endpoint.sessions(), (0, 1));
    }
}
