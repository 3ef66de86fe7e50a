//! A client by hand: says what a case wants it to say, correctly protected.
use crate::{HostId, MSK, Sim};
use crypto::SeededRandom;
use crypto::cipher::{Opener, Sealer};
use crypto::dh::{Group, PrivateKey};
use ike::keys::{IkeKeys, Seed};
use ike::proposal::{SaPayload, accept_ike, offer_esp, offer_ike};
use ike::wire::{
    Configuration, Exchange, Flags, Header, Identification, KeyExchange, Message, Opened, Payload, Payloads, Spi, encode, protect,
    unprotect,
};
use ike::{CipherPolicy, Identity, Path, TrafficSelector, auth, wire};
use pki::Credential;
use std::net::SocketAddr;
use std::time::Duration;

/// The client. Message IDs count by themselves unless a case sets them.
pub struct Script {
    pub gateway: HostId,
    pub path: Path,
    pub spi_i: Spi,
    pub spi_r: Spi,
    pub nonce_i: Vec<u8>,
    pub ciphers: CipherPolicy,
    pub next_id: u32,
    /// Payloads added to IKE_SA_INIT.
    pub extra: Vec<Payload>,
    pub spi_in: u32,
    init_request: Vec<u8>,
    nonce_r: Vec<u8>,
    /// Keys of the IKE SA, once there are any.
    pub keys: Option<IkeKeys>,
    protection: Option<(Sealer, Opener)>,
    counter: u64,
    initiator: bool,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("next_id", &self.next_id).finish_non_exhaustive()
    }
}

impl Script {
    pub fn new(gateway: HostId, local: SocketAddr, remote: SocketAddr, ciphers: CipherPolicy) -> Self {
        Self {
            gateway,
            path: Path::between(local, remote),
            spi_i: Spi(0x1122_3344_5566_7788),
            spi_r: Spi(0),
            nonce_i: vec![7; 32],
            ciphers,
            next_id: 0,
            extra: Vec::new(),
            spi_in: 0x1000_0001,
            init_request: Vec::new(),
            nonce_r: Vec::new(),
            keys: None,
            protection: None,
            counter: 0,
            initiator: true,
        }
    }

    /// Sends bytes as they are; what the gateway sends within a second.
    pub fn send(&self, sim: &mut Sim, message: Vec<u8>) -> Vec<Vec<u8>> {
        let before = sim.host(self.gateway).sent.len();
        sim.inject(self.path, message);
        sim.run_for(Duration::from_millis(50));
        sim.host(self.gateway).sent[before..].iter().map(|(_, message)| message.clone()).collect()
    }

    /// An IKE_SA_INIT request with a KE payload of this group.
    pub fn init_message(&self, group: u16, public: Vec<u8>) -> Vec<u8> {
        let flags = Flags { initiator: true, response: false, version: false };
        let header = Header::new(self.spi_i, Spi(0), Exchange::IkeSaInit, flags, 0);
        let mut payloads = vec![
            Payload::Sa(offer_ike(&self.ciphers, None)),
            Payload::KeyExchange(KeyExchange { group, public }),
            Payload::Nonce(self.nonce_i.clone()),
        ];
        payloads.extend(self.extra.iter().cloned());
        encode(&header, &payloads)
    }

    /// The whole IKE_SA_INIT exchange.
    ///
    /// # Panics
    /// When the gateway does not go along.
    pub fn init(&mut self, sim: &mut Sim) -> Payloads {
        let group = self.ciphers.groups[0];
        let (private, public) = PrivateKey::generate(group, &mut SeededRandom::new(3));
        self.init_request = self.init_message(group.id(), public);
        let answers = self.send(sim, self.init_request.clone());
        let answer = Message::parse(&answers[0]).expect("an IKE_SA_INIT response");
        self.derive(&answer, private);
        self.next_id = 1;
        answer.payloads
    }

    fn derive(&mut self, answer: &Message, private: PrivateKey) {
        let payloads = &answer.payloads;
        let chosen = accept_ike(&offer_ike(&self.ciphers, None), payloads.sa().expect("SA")).expect("a proposal of ours");
        let shared_secret = private.agree(&payloads.key_exchange().expect("KE").public).expect("a good public value");
        self.spi_r = answer.header.responder_spi;
        self.nonce_r = payloads.nonce().expect("a nonce").to_vec();
        let seed =
            Seed { shared_secret: &shared_secret, nonce_i: &self.nonce_i, nonce_r: &self.nonce_r, spi_i: self.spi_i, spi_r: self.spi_r };
        self.take_keys(IkeKeys::derive(chosen.suite, seed), true);
    }

    /// Goes on with these keys, as the initiator of the IKE SA or its responder.
    pub fn take_keys(&mut self, keys: IkeKeys, initiator: bool) {
        self.protection = Some(keys.ciphers(initiator));
        self.keys = Some(keys);
        self.counter = 1;
        self.initiator = initiator;
    }

    /// A protected request with the next message ID, not sent.
    pub fn seal(&mut self, exchange: Exchange, payloads: &[Payload]) -> Vec<u8> {
        let id = self.next_id;
        self.next_id += 1;
        self.seal_as(exchange, false, id, payloads)
    }

    pub fn seal_as(&mut self, exchange: Exchange, response: bool, id: u32, payloads: &[Payload]) -> Vec<u8> {
        let flags = Flags { initiator: self.initiator, response, version: false };
        let header = Header::new(self.spi_i, self.spi_r, exchange, flags, id);
        self.counter += 1;
        protect(&header, payloads, &self.protection.as_ref().expect("keys").0, self.counter)
    }

    /// Opens a message of the gateway.
    pub fn open(&self, message: &[u8]) -> Payloads {
        match unprotect(message, &self.protection.as_ref().expect("keys").1) {
            Ok(Opened::Message(payloads)) => payloads,
            other => panic!("not a whole protected message: {other:?}"),
        }
    }

    /// A request and its answer.
    pub fn exchange(&mut self, sim: &mut Sim, exchange: Exchange, payloads: &[Payload]) -> Payloads {
        let message = self.seal(exchange, payloads);
        let answers = self.send(sim, message);
        self.open(answers.first().expect("an answer"))
    }

    /// What a client asks for in its first IKE_AUTH request.
    pub fn wishes(&self) -> Vec<Payload> {
        let any = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        vec![
            Payload::IdInitiator(self.idi()),
            Payload::Configuration(Configuration::request(true, false)),
            Payload::Sa(self.esp(self.spi_in, &[])),
            Payload::TsInitiator(any.clone()),
            Payload::TsResponder(any),
        ]
    }

    pub fn esp(&self, spi: u32, groups: &[Group]) -> SaPayload {
        offer_esp(&self.ciphers, spi, groups)
    }

    /// The IKE_SA_INIT request that was answered.
    pub fn init_request(&self) -> &[u8] {
        &self.init_request
    }

    fn idi(&self) -> Identification {
        Identification::new(Identity::Ipv4([10, 10, 1, 52].into()))
    }

    /// AUTH after EAP.
    pub fn auth(&self) -> Payload {
        let keys = self.keys.as_ref().expect("keys");
        let octets = auth::signed_octets(keys.prf(), &self.init_request, &self.nonce_r, &keys.pi, &self.idi().body);
        Payload::Auth(auth::eap_auth(keys.prf(), &MSK, &keys.pi, &octets))
    }

    /// CERT and AUTH of a client certificate.
    ///
    /// # Panics
    /// When its key cannot sign.
    pub fn certificate(&self, credential: &Credential) -> [Payload; 2] {
        let keys = self.keys.as_ref().expect("keys");
        let octets = auth::signed_octets(keys.prf(), &self.init_request, &self.nonce_r, &keys.pi, &self.idi().body);
        let choice = auth::choose_scheme(credential.key.kind(), None).expect("a scheme");
        let signature = credential.key.sign(choice.scheme, &octets).expect("a signature");
        let (encoding, data) = (wire::cert_encoding::X509_SIGNATURE, credential.leaf().der.clone());
        [Payload::Certificate(wire::CertificatePayload { encoding, data }), Payload::Auth(choice.payload(&signature))]
    }

    /// IKE_AUTH with these payloads in the first request; the last answer.
    pub fn eap_with(&mut self, sim: &mut Sim, wishes: &[Payload]) -> Payloads {
        self.converse(sim, wishes);
        let auth = self.auth();
        self.exchange(sim, Exchange::IkeAuth, &[auth])
    }

    /// IKE_AUTH up to EAP-Success.
    pub fn eap(&mut self, sim: &mut Sim) {
        let wishes = self.wishes();
        self.converse(sim, &wishes);
    }

    fn converse(&mut self, sim: &mut Sim, wishes: &[Payload]) {
        let mut answer = self.exchange(sim, Exchange::IkeAuth, wishes);
        loop {
            let request = answer.eap().expect("an EAP packet").to_vec();
            let request = eap::Packet::parse(&request).expect("a well-formed EAP packet");
            if request.code() == eap::Code::Success {
                return;
            }
            let method = request.method().expect("a request has a type");
            let data: &[u8] = if method == eap::method::IDENTITY { b"bob" } else { b"\x10response-of-16-b" };
            let response = eap::build(eap::Code::Response, request.identifier(), method, data);
            answer = self.exchange(sim, Exchange::IkeAuth, &[Payload::Eap(response)]);
        }
    }

    /// The whole login; the last answer.
    pub fn login(&mut self, sim: &mut Sim) -> Payloads {
        self.init(sim);
        self.eap(sim);
        let auth = self.auth();
        self.exchange(sim, Exchange::IkeAuth, &[auth])
    }

    /// The first notify of an answer, by number.
    pub fn notify(payloads: &Payloads) -> Option<u16> {
        payloads.notifies().next().map(|notify| notify.kind)
    }

    /// INFORMATIONAL without content.
    pub fn liveness(&mut self, sim: &mut Sim) -> Payloads {
        self.exchange(sim, Exchange::Informational, &[])
    }

    /// DELETE of ESP SAs by our inbound SPIs.
    pub fn delete(spis: &[u32]) -> Payload {
        Payload::Delete(wire::Delete::Esp(spis.to_vec()))
    }
}
