//! One device: its keys, its messages, its login.
use crate::{Child, Maker, Profile, SIMULATED_MSK, Wire};
use crypto::cipher::{Opener, Sealer};
use crypto::dh::{Group, PrivateKey};
use crypto::{Random, SeededRandom, Zeroizing};
use ike::keys::{IkeKeys, Seed};
use ike::proposal::accept_ike;
use ike::wire::{
    Auth, CertificatePayload, Delete, Exchange, Flags, Header, Identification, KeyExchange, Message, Notify, Opened, Payload, Payloads,
    Reassembly, Spi, cert_encoding, encode, notify, protect_fragments, unprotect,
};
use ike::{Identity, Path, TrafficSelector, auth, nat};
use peers::EapPeer;
use pki::{Certificate, Credential};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What MSCHAPv2 and the like are in the simulation.
const RESPONSE: &[u8] = b"\x10response-of-16-b";

/// A device.
pub struct Client {
    pub profile: Profile,
    /// Of its network card.
    pub inside: IpAddr,
    /// What Windows sends as IDi: the address of its network card.
    pub identity_address: IpAddr,
    /// Puts a payload of a type that nobody knows before the others of IKE_AUTH.
    pub unknown_payload: bool,
    /// One bit of its AUTH payloads is wrong.
    pub wrong_auth: bool,
    /// As the gateway sees it: the outside of a NAT, where there is one.
    pub path: Path,
    pub user: String,
    /// It says that it speaks MOBIKE.
    pub mobike: bool,
    /// Instead of EAP.
    pub certificate: Option<Credential>,
    /// No other SA to this gateway is active.
    pub first_contact: bool,
    /// EAP method that it insists on with a Nak.
    pub method: Option<u8>,
    /// Knows a password; without it EAP is played: any method, any answer, [`SIMULATED_MSK`].
    pub peer: Option<EapPeer>,
    /// What EAP made.
    pub msk: Zeroizing<Vec<u8>>,
    /// What the EAP peer says against the gateway.
    pub complaint: Option<String>,
    pub spi_i: Spi,
    pub spi_r: Spi,
    pub next_id: u32,
    /// Of its Child SA.
    pub spi_in: u32,
    /// There is a NAT on the way: ESP goes in UDP.
    pub encapsulate: bool,
    /// The Child SA in use.
    pub child: Option<Child>,
    /// Traffic selectors that it asks for.
    pub selectors: Vec<TrafficSelector>,
    /// AUTH method that the gateway used.
    pub gateway_method: Option<u8>,
    pub keys: Option<IkeKeys>,
    pub(crate) random: SeededRandom,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    init: (Vec<u8>, Vec<u8>),
    idr: Option<Identification>,
    protection: Option<(Sealer, Opener)>,
    initiator: bool,
    counter: u64,
    /// Requests of the gateway that were looked at.
    attended: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("user", &self.user).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Client {
    /// A device with the address 192.168.1.10 behind a NAT with this outside address; `number` makes it one of its own.
    pub fn new(profile: Profile, outside: Ipv4Addr, to: IpAddr, number: u16) -> Self {
        let mut random = SeededRandom::new(0x636c_6965 + u64::from(number));
        let spi_i = spi(&mut random);
        Self {
            profile,
            inside: Ipv4Addr::new(192, 168, 1, 10).into(),
            identity_address: Ipv4Addr::new(192, 168, 1, 10).into(),
            unknown_payload: false,
            wrong_auth: false,
            path: Path::between(SocketAddr::new(outside.into(), 20_000 + number), SocketAddr::new(to, 500)),
            user: format!("user{number}"),
            mobike: true,
            certificate: None,
            first_contact: true,
            method: None,
            peer: None,
            msk: Zeroizing::new(SIMULATED_MSK.to_vec()),
            complaint: None,
            spi_i,
            spi_r: Spi(0),
            next_id: 0,
            spi_in: 0x2000_0000 | u32::from(number) << 8,
            encapsulate: false,
            child: None,
            selectors: everything(),
            gateway_method: None,
            keys: None,
            random,
            nonce_i: Vec::new(),
            nonce_r: Vec::new(),
            init: (Vec::new(), Vec::new()),
            idr: None,
            protection: None,
            initiator: true,
            counter: 0,
            attended: 0,
        }
    }

    /// The same with other random numbers, SPIs among them.
    pub fn reseed(&mut self, seed: u64) {
        self.random = SeededRandom::new(seed);
        self.spi_i = spi(&mut self.random);
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        self.spi_in = u32::from_be_bytes(bytes) | 0x1000_0000;
    }

    /// The same without a NAT, at this address.
    #[must_use]
    pub fn direct(mut self, address: IpAddr) -> Self {
        (self.inside, self.identity_address) = (address, address);
        self.path.local = SocketAddr::new(address, 500);
        self
    }

    /// Sends bytes as they are; what the gateway sends to this client for them.
    pub fn send(&self, wire: &mut impl Wire, message: Vec<u8>) -> Vec<Vec<u8>> {
        self.send_all(wire, vec![message])
    }

    /// As [`Client::send`], one after the other.
    pub fn send_all(&self, wire: &mut impl Wire, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        wire.round(self.path, messages)
    }

    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; self.profile.nonce_len];
        self.random.fill(&mut nonce);
        nonce
    }

    /// IKE_SA_INIT with this public value; the cookie goes first (RFC 7296 section 2.6).
    fn first_message(&self, group: Group, public: Vec<u8>, cookie: Option<Notify>) -> Vec<u8> {
        let flags = Flags { initiator: true, ..Flags::default() };
        let header = Header::new(self.spi_i, Spi(0), Exchange::IkeSaInit, flags, 0);
        let mut payloads: Vec<Payload> = cookie.into_iter().map(Payload::Notify).collect();
        payloads.extend([
            Payload::Sa(self.profile.ike.clone()),
            Payload::KeyExchange(KeyExchange { group: group.id(), public }),
            Payload::Nonce(self.nonce_i.clone()),
            Payload::Notify(Notify::new(notify::IKEV2_FRAGMENTATION_SUPPORTED, [])),
        ]);
        let here = Path { local: SocketAddr::new(self.inside, 500), ..self.path };
        payloads.extend(nat::detection_notifies(self.spi_i, Spi(0), here, false).map(Payload::Notify));
        if self.profile.maker == Maker::Android {
            payloads.push(Payload::Notify(auth::signature_hashes_notify()));
        }
        payloads.extend(self.profile.vendor_ids(self.first_contact));
        encode(&header, &payloads)
    }

    /// A first message with this public value, of a device that has not dialled.
    pub fn model_message(&mut self, group: Group, public: Vec<u8>) -> Vec<u8> {
        self.nonce_i = self.nonce();
        self.first_message(group, public, None)
    }

    /// IKE_SA_INIT, with COOKIE and, by clients that do that, with another group; the last answer.
    pub fn init(&mut self, wire: &mut impl Wire) -> Payloads {
        self.nonce_i = self.nonce();
        let (mut group, mut cookie) = (self.profile.group, None);
        for _ in 0..4 {
            let (private, public) = PrivateKey::generate(group, &mut self.random);
            let request = self.first_message(group, public, cookie.clone());
            let answers = self.send(wire, request.clone());
            let bytes = answers.first().expect("an answer to IKE_SA_INIT");
            let answer = Message::parse(bytes).expect("a well-formed answer");
            if let Some(challenge) = answer.payloads.notify(notify::COOKIE) {
                cookie = Some(challenge.clone());
            } else if let Some(wanted) = answer.payloads.notify(notify::INVALID_KE_PAYLOAD).filter(|_| self.profile.retries) {
                let wanted = u16::from_be_bytes([wanted.data[0], wanted.data[1]]);
                group = Group::from_id(wanted).expect("a group that there is");
            } else {
                if answer.payloads.sa().is_some() {
                    self.init = (request, bytes.clone());
                    self.derive(&answer, private);
                }
                return answer.payloads;
            }
        }
        panic!("IKE_SA_INIT without end");
    }

    fn derive(&mut self, answer: &Message, private: PrivateKey) {
        let chosen = accept_ike(&self.profile.ike, answer.payloads.sa().expect("SA")).expect("a proposal of ours");
        let shared_secret = private.agree(&answer.payloads.key_exchange().expect("KE").public).expect("a public value");
        self.spi_r = answer.header.responder_spi;
        self.nonce_r = answer.payloads.nonce().expect("a nonce").to_vec();
        let (spi_i, spi_r) = (self.spi_i, self.spi_r);
        let seed = Seed { shared_secret: &shared_secret, nonce_i: &self.nonce_i, nonce_r: &self.nonce_r, spi_i, spi_r };
        let keys = IkeKeys::derive(chosen.suite, seed);
        let seen = answer.payloads.notify(notify::NAT_DETECTION_DESTINATION_IP).map(|seen| seen.data.as_slice());
        let here = SocketAddr::new(self.inside, self.path.local.port());
        self.encapsulate = seen != Some(&nat::detection_hash(spi_i, self.spi_r, here)[..]);
        self.take_keys(keys, true);
        self.next_id = 1;
    }

    /// Goes on with these keys, as the initiator of the IKE SA or its responder.
    pub(crate) fn take_keys(&mut self, keys: IkeKeys, initiator: bool) {
        self.protection = Some(keys.ciphers(initiator));
        self.keys = Some(keys);
        self.counter = 1;
        self.initiator = initiator;
    }

    /// The datagrams of a request with the next message ID, not sent.
    pub fn seal(&mut self, exchange: Exchange, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let max = self.profile.max_message;
        let id = self.next_id;
        self.next_id += 1;
        self.seal_as(exchange, false, id, payloads, max)
    }

    /// The datagrams of a message, none longer than `max_message`.
    pub fn seal_as(&mut self, exchange: Exchange, response: bool, id: u32, payloads: &[Payload], max_message: usize) -> Vec<Vec<u8>> {
        let flags = Flags { initiator: self.initiator, response, version: false };
        let header = Header::new(self.spi_i, self.spi_r, exchange, flags, id);
        let (sealer, _) = self.protection.as_ref().expect("keys");
        protect_fragments(&header, payloads, sealer, &mut self.counter, max_message)
    }

    /// Opens a message of the gateway, put together from its datagrams.
    pub fn open(&self, datagrams: &[Vec<u8>]) -> Option<Payloads> {
        let (_, opener) = self.protection.as_ref().expect("keys");
        let mut reassembly = Reassembly::default();
        datagrams.iter().find_map(|datagram| match unprotect(datagram, opener).expect("a message for us") {
            Opened::Message(payloads) => Some(payloads),
            Opened::Fragment(fragment) => reassembly.insert(fragment).expect("fragments that fit"),
        })
    }

    /// A request and its answer.
    pub fn exchange(&mut self, wire: &mut impl Wire, exchange: Exchange, payloads: &[Payload]) -> Payloads {
        let datagrams = self.seal(exchange, payloads);
        let answers = self.send_all(wire, datagrams);
        self.open(&answers).expect("a whole answer")
    }

    fn idi(&self) -> Identification {
        let subject = |credential: &Credential| Identity::DistinguishedName(credential.leaf().subject_der.clone());
        let named = match self.profile.maker {
            Maker::Windows => match self.identity_address {
                IpAddr::V4(address) => Identity::Ipv4(address),
                IpAddr::V6(address) => Identity::Ipv6(address),
            },
            Maker::Apple | Maker::Android => Identity::Fqdn(self.user.clone()),
        };
        Identification::new(self.certificate.as_ref().map_or(named, subject))
    }

    fn octets(&self) -> Vec<u8> {
        let keys = self.keys.as_ref().expect("keys");
        auth::signed_octets(keys.prf(), &self.init.0, &self.nonce_r, &keys.pi, &self.idi().body)
    }

    /// What the gateway's AUTH must cover.
    fn gateway_octets(&self) -> Vec<u8> {
        let (keys, idr) = (self.keys.as_ref().expect("keys"), self.idr.as_ref().expect("IDr"));
        auth::signed_octets(keys.prf(), &self.init.1, &self.nonce_i, &keys.pr, &idr.body)
    }

    /// CERT and AUTH.
    fn proof(&self, credential: &Credential) -> [Payload; 2] {
        let choice = auth::choose_scheme(credential.key.kind(), None).expect("a scheme");
        let signature = credential.key.sign(choice.scheme, &self.octets()).expect("a signature");
        let certificate = CertificatePayload { encoding: cert_encoding::X509_SIGNATURE, data: credential.leaf().der.clone() };
        [Payload::Certificate(certificate), self.auth_payload(choice.payload(&signature))]
    }

    fn auth_payload(&self, mut proof: Auth) -> Payload {
        if let Some(last) = proof.data.last_mut().filter(|_| self.wrong_auth) {
            *last ^= 1;
        }
        Payload::Auth(proof)
    }

    /// The first IKE_AUTH request.
    pub fn first_auth(&self) -> Vec<Payload> {
        let idr = Identification::new(Identity::Fqdn("vpn.example.test".into()));
        let esp = Payload::Sa(self.profile.esp_offer(self.spi_in, &[]));
        let tail = [esp, Payload::TsInitiator(self.selectors.clone()), Payload::TsResponder(self.selectors.clone())];
        let proof = self.certificate.as_ref().map(|credential| self.proof(credential));
        let mut payloads = self.profile.ike_auth(Payload::IdInitiator(self.idi()), Payload::IdResponder(idr), proof, tail);
        payloads.retain(|payload| self.mobike || !matches!(payload, Payload::Notify(it) if it.kind == notify::MOBIKE_SUPPORTED));
        if self.unknown_payload {
            payloads.insert(0, Payload::Unknown { kind: 200, critical: false, data: vec![1; 20] });
        }
        payloads
    }

    /// Checks the gateway's signature as the client does.
    fn verify_gateway(&mut self, answer: &Payloads) {
        self.idr = answer.id_responder().cloned();
        let (Some(proof), Some(certificate)) = (answer.auth(), answer.certificates().next()) else { return };
        let certificate = Certificate::from_der(&certificate.data).expect("a certificate");
        auth::verify_auth(proof, &certificate.spki, &self.gateway_octets()).expect("the gateway's signature");
        self.gateway_method = Some(proof.method);
    }

    /// The port that it floats to, which behind a NAT becomes another outside port too.
    pub fn float(&mut self) {
        self.path.remote.set_port(4500);
        let port = if self.path.local.ip() == self.inside { 4500 } else { self.path.local.port() + 20_000 };
        self.path.local.set_port(port);
    }

    /// IKE_AUTH, after IKE_SA_INIT; the last answer.
    pub fn authenticate(&mut self, wire: &mut impl Wire) -> Payloads {
        self.float();
        let request = self.first_auth();
        let answer = self.exchange(wire, Exchange::IkeAuth, &request);
        self.go_on(wire, answer)
    }

    /// What follows the gateway's first answer of IKE_AUTH; the last answer.
    pub fn go_on(&mut self, wire: &mut impl Wire, answer: Payloads) -> Payloads {
        self.verify_gateway(&answer);
        let last = if answer.eap().is_none() { answer } else { self.converse(wire, answer) };
        self.take_child(&last, &[], None, (self.nonce_i.clone(), self.nonce_r.clone()));
        last
    }

    /// EAP from this first request on, and AUTH behind it.
    fn converse(&mut self, wire: &mut impl Wire, mut answer: Payloads) -> Payloads {
        while let Some(response) = answer.eap().and_then(|packet| self.eap_response(packet)) {
            answer = self.exchange(wire, Exchange::IkeAuth, &[Payload::Eap(response)]);
        }
        if answer.error().is_some() {
            return answer;
        }
        let request = [self.eap_auth()];
        let last = self.exchange(wire, Exchange::IkeAuth, &request);
        if let Some(proof) = last.auth() {
            let keys = self.keys.as_ref().expect("keys");
            auth::verify_eap_auth(proof, keys.prf(), &self.msk, &keys.pr, &self.gateway_octets()).expect("the gateway's AUTH with the MSK");
        }
        last
    }

    /// AUTH with the MSK.
    pub fn eap_auth(&self) -> Payload {
        let keys = self.keys.as_ref().expect("keys");
        self.auth_payload(auth::eap_auth(keys.prf(), &self.msk, &keys.pi, &self.octets()))
    }

    /// The response to an EAP request; `None` at the end of the conversation.
    pub fn eap_response(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let request = eap::Packet::parse(packet).expect("an EAP packet");
        if let Some(peer) = &mut self.peer {
            let step = peer.answer(packet);
            self.msk = step.msk.unwrap_or(std::mem::take(&mut self.msk));
            self.complaint = step.error.map(|error| error.to_string()).or(self.complaint.take());
            return step.packet;
        }
        let method = request.method().filter(|_| request.code() == eap::Code::Request)?;
        let respond = |method, data: &[u8]| Some(eap::build(eap::Code::Response, request.identifier(), method, data));
        match self.method {
            _ if method == eap::method::IDENTITY => respond(method, self.user.as_bytes()),
            Some(wanted) if wanted != method => respond(eap::method::NAK, &[wanted]),
            _ => respond(method, RESPONSE),
        }
    }

    /// The whole login; the last answer.
    pub fn login(&mut self, wire: &mut impl Wire) -> Payloads {
        self.init(wire);
        self.authenticate(wire)
    }

    /// An empty INFORMATIONAL.
    pub fn liveness(&mut self, wire: &mut impl Wire) -> Payloads {
        self.exchange(wire, Exchange::Informational, &[])
    }

    /// DELETE of its Child SA.
    pub fn delete_child(&mut self, wire: &mut impl Wire, spi_in: u32) -> Payloads {
        self.exchange(wire, Exchange::Informational, &[Payload::Delete(Delete::Esp(vec![spi_in]))])
    }

    /// Requests of the gateway that were not looked at before, each once.
    pub fn requests(&mut self, wire: &mut impl Wire) -> Vec<(Header, Payloads)> {
        let datagrams = wire.heard(self.path, &mut self.attended);
        let mut requests: Vec<(Header, Payloads)> = Vec::new();
        for datagram in datagrams {
            let header = Header::parse(&datagram).expect("a header");
            let ours = (header.initiator_spi, header.responder_spi) == (self.spi_i, self.spi_r);
            let known = requests.iter().any(|(known, _)| known.message_id == header.message_id);
            if ours && !known && !header.flags.response && header.exchange != Exchange::IkeSaInit {
                requests.extend(self.open(&[datagram]).map(|payloads| (header, payloads)));
            }
        }
        requests
    }

    /// Answers a request of the gateway; what it sends then.
    pub fn answer(&mut self, wire: &mut impl Wire, request: &Header, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let max = self.profile.max_message;
        let datagrams = self.seal_as(request.exchange, true, request.message_id, payloads, max);
        self.send_all(wire, datagrams)
    }
}

pub(crate) fn spi(random: &mut SeededRandom) -> Spi {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    Spi(u64::from_be_bytes(bytes) | 1)
}

/// What every client offers as traffic selectors.
pub fn everything() -> Vec<TrafficSelector> {
    vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()]
}
