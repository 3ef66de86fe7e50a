//! An IKE SA that is up, against a user who knows its keys: rekeys, deletes, answers, repetitions, fragments, delays, in any order. Books
//! are kept of what the machine told the data plane, and of its window of one request.
use crate::ike_machine::{MSK, NONCE, SHARED_SECRET, SPI_I, chain, config, first_ike_auth, identity, leased, one_suite, start};
use crypto::cipher::{Opener, Sealer};
use crypto::dh::{Group, PrivateKey};
use crypto::{SeededRandom, Zeroizing};
use ike::keys::{IkeKeys, Seed};
use ike::proposal::{accept_ike, offer_esp, offer_ike};
use ike::wire::{
    Delete, Exchange, Flags, Header, Identification, KeyExchange, Message, Notify, OpenError, Opened, Payload, Payloads, Reassembly, Spi,
    encode, notify, protect_fragments, unprotect,
};
use ike::{
    Answer, AskId, CloseReason, Command, EapAnswer, Endpoint, Event, Grant, Input, Output, Path, Question, SessionId, TrafficSelector, auth,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const MAX_STEPS: usize = 40;
const MAX_OUTPUTS: usize = 300;
/// Keeps what is repeated within bounds.
const MAX_RECORDED: usize = 64;

/// A script of steps, each an operation, a length and that many bytes.
pub fn ike_established(data: &[u8]) {
    let mut user = User::new();
    user.log_in();
    let mut rest = data;
    for _ in 0..MAX_STEPS {
        let Some((&[op, len], tail)) = rest.split_first_chunk::<2>() else { break };
        let (bytes, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        user.step(op, bytes);
    }
    user.leave();
}

struct User {
    endpoint: Endpoint,
    now: Instant,
    path: Path,
    spis: (Spi, Spi),
    keys: Option<(IkeKeys, Sealer, Opener)>,
    next_id: u32,
    counter: u64,
    spi_in: u32,
    session: SessionId,
    closed: bool,
    /// An operator or the user has ended it, or its IKE SA was replaced under keys that came too late for us: it says little from then on.
    dumb: bool,
    /// The machine's Child SAs: its inbound SPI, and ours.
    children: BTreeMap<u32, u32>,
    outbound: Option<u32>,
    open: BTreeSet<AskId>,
    /// The request with the next message ID has its answer, perhaps late.
    answered: bool,
    /// Answers to questions wait for a step of their own.
    slow: bool,
    held: Vec<(AskId, Question)>,
    requests: Vec<Header>,
    recorded: Vec<Vec<u8>>,
}

impl User {
    fn new() -> Self {
        let now = start();
        Self {
            endpoint: Endpoint::new(Some(config()), Box::new(SeededRandom::new(1)), now),
            now,
            path: Path::between(([192, 0, 2, 1], 4500).into(), ([198, 51, 100, 7], 4500).into()),
            spis: (SPI_I, Spi(0)),
            keys: None,
            next_id: 0,
            counter: 0,
            spi_in: 0x1000_0001,
            session: SessionId(0),
            closed: false,
            dumb: false,
            children: BTreeMap::new(),
            outbound: None,
            open: BTreeSet::new(),
            answered: false,
            slow: false,
            held: Vec::new(),
            requests: Vec::new(),
            recorded: Vec::new(),
        }
    }

    fn log_in(&mut self) {
        let ciphers = one_suite();
        let payloads = [
            Payload::Sa(offer_ike(&ciphers, None)),
            Payload::KeyExchange(KeyExchange { group: Group::EcpP256.id(), public: vec![1; 64] }),
            Payload::Nonce(NONCE.to_vec()),
            Payload::Notify(Notify::new(notify::IKEV2_FRAGMENTATION_SUPPORTED, [])),
        ];
        let request = encode(&self.header(Exchange::IkeSaInit, false, 0), &payloads);
        let answer = self.deliver(request.clone()).pop().expect("IKE_SA_INIT is answered");
        let answer = Message::parse(&answer).expect("what the gateway sends parses");
        let chosen = accept_ike(&offer_ike(&ciphers, None), answer.payloads.sa().expect("SA")).expect("a proposal of ours");
        self.spis.1 = answer.header.responder_spi;
        let nonce_r = answer.payloads.nonce().expect("a nonce").to_vec();
        let (spi_i, spi_r) = self.spis;
        let keys = IkeKeys::derive(chosen.suite, Seed { shared_secret: &SHARED_SECRET, nonce_i: &NONCE, nonce_r: &nonce_r, spi_i, spi_r });
        let octets = auth::signed_octets(keys.prf(), &request, &nonce_r, &keys.pi, &Identification::new(identity()).body);
        let proof = auth::eap_auth(keys.prf(), &MSK, &keys.pi, &octets);
        self.take_keys(keys);
        self.next_id = 1;
        let mut first = first_ike_auth();
        first.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, [])));
        for payloads in [first, vec![Payload::Eap(b"\x02\x01\x00\x0a\x01alice".to_vec())], vec![Payload::Auth(proof)]] {
            self.ask(Exchange::IkeAuth, &payloads, 2000);
        }
        assert_eq!((self.endpoint.sessions(), self.children.len()), ((0, 1), 1));
    }

    fn take_keys(&mut self, keys: IkeKeys) {
        let (sealer, opener) = keys.ciphers(true);
        self.keys = Some((keys, sealer, opener));
        self.counter = 0;
    }

    fn header(&self, exchange: Exchange, response: bool, id: u32) -> Header {
        Header::new(self.spis.0, self.spis.1, exchange, Flags { initiator: true, response, version: false }, id)
    }

    fn step(&mut self, op: u8, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        match op % 14 {
            0 => drop(self.ask(Exchange::from_id(36 + byte(0) % 10), &chain(bytes.get(1..).unwrap_or_default()), 2000)),
            1 => self.rekey_child(byte(0), byte(1)),
            2 => self.rekey_ike(byte(0)),
            3 => self.retire(byte(0)),
            4 => self.reply(byte(0), bytes.get(1..).unwrap_or_default()),
            5 => self.worn(byte(0)),
            6 => self.command(byte(0)),
            7 => self.pass(bytes),
            8 => self.repeat(byte(0)),
            9 => self.damage(byte(0), byte(1)),
            10 => self.move_to(byte(0), byte(1)),
            11 => drop(self.ask(Exchange::Informational, &chain(bytes), 256)),
            12 => self.slow = !self.slow,
            _ => self.release(),
        }
    }

    /// A request with the next message ID, cut where it is longer than that; its answer, when there is one.
    fn ask(&mut self, exchange: Exchange, payloads: &[Payload], max_message: usize) -> Option<Payloads> {
        self.advance();
        let header = self.header(exchange, false, self.next_id);
        let datagrams = self.seal(&header, payloads, max_message);
        let mut answers = Vec::new();
        for datagram in datagrams.iter().rev() {
            if self.recorded.len() < MAX_RECORDED {
                self.recorded.push(datagram.clone());
            }
            answers.extend(self.deliver(datagram.clone()));
        }
        let answer = self.answer_to(&answers, self.next_id);
        self.advance();
        answer
    }

    fn advance(&mut self) {
        self.next_id += u32::from(std::mem::take(&mut self.answered));
    }

    fn seal(&mut self, header: &Header, payloads: &[Payload], max_message: usize) -> Vec<Vec<u8>> {
        let Some((_, sealer, _)) = &self.keys else { return Vec::new() };
        protect_fragments(header, payloads, sealer, &mut self.counter, max_message)
    }

    /// The answer to our request with this ID among what the machine sent: there is one at most.
    fn answer_to(&self, datagrams: &[Vec<u8>], id: u32) -> Option<Payloads> {
        let (mut reassembly, mut answer) = (Reassembly::default(), None);
        for datagram in datagrams {
            let header = Header::parse(datagram).expect("what the gateway sends has a header");
            let ours = (header.initiator_spi, header.responder_spi) == self.spis && header.flags.response && header.message_id == id;
            let Some((.., opener)) = self.keys.as_ref().filter(|_| ours) else { continue };
            let whole = match unprotect(datagram, opener) {
                Ok(Opened::Message(payloads)) => Some(payloads),
                Ok(Opened::Fragment(fragment)) => reassembly.insert(fragment).expect("fragments that fit"),
                // INVALID_IKE_SPI: the machine has forgotten this IKE SA.
                Err(OpenError::NotProtected) if self.closed || self.dumb => None,
                Err(error) => panic!("an answer to be opened with the keys of its IKE SA: {error}"),
            };
            if let Some(whole) = whole {
                assert!(answer.replace(whole).is_none(), "two answers to one request");
            }
        }
        answer
    }

    /// Our inbound SPI of one of the Child SAs; of none when there is none.
    fn some_child(&self, choice: u8) -> u32 {
        self.children.values().nth(usize::from(choice) % self.children.len().max(1)).copied().unwrap_or(0x6666_6666)
    }

    fn rekey_child(&mut self, choice: u8, form: u8) {
        let old = if choice == 255 { 0x7777_7777 } else { self.some_child(choice) };
        self.spi_in += 1;
        let any = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        let groups: &[Group] = if form & 1 == 0 { &[] } else { &[Group::EcpP256] };
        let exchange = (form & 2 != 0).then(|| Payload::KeyExchange(KeyExchange { group: Group::EcpP256.id(), public: vec![1; 64] }));
        let mut payloads: Vec<Payload> = if form & 4 == 0 { vec![Payload::Notify(Notify::esp(notify::REKEY_SA, old))] } else { Vec::new() };
        payloads.extend([Payload::Sa(offer_esp(&one_suite(), self.spi_in, groups)), Payload::Nonce(vec![form; 48])]);
        let selectors = [Payload::TsInitiator(any.clone()), Payload::TsResponder(any)];
        if form & 8 == 0 {
            payloads.extend(selectors.into_iter().chain(exchange));
        } else {
            payloads.extend(exchange.into_iter().chain(selectors));
        }
        let before = self.children.len();
        if let Some(answer) = self.ask(Exchange::CreateChildSa, &payloads, 2000) {
            let made = usize::from(answer.sa().is_some());
            assert!(answer.sa().is_some() != answer.error().is_some(), "either a Child SA or a reason");
            assert_eq!(self.children.len(), before + made);
        }
    }

    fn rekey_ike(&mut self, form: u8) {
        let spi_i = Spi(0x5000_0000 + u64::from(self.spi_in) * 256 + u64::from(form));
        let offer = offer_ike(&one_suite(), Some(spi_i));
        let nonce = vec![form; 32];
        let payloads = [
            Payload::Sa(offer.clone()),
            Payload::Nonce(nonce.clone()),
            Payload::KeyExchange(KeyExchange { group: Group::EcpP256.id(), public: vec![1; 64] }),
        ];
        let children = self.children.clone();
        let Some(answer) = self.ask(Exchange::CreateChildSa, &payloads, 2000) else {
            self.dumb = true;
            return;
        };
        let Some(sa) = answer.sa() else { return };
        assert_eq!(self.children, children, "Child SAs are inherited");
        let chosen = accept_ike(&offer, sa).expect("a proposal of ours");
        let spi_r = chosen.spi.expect("the SPI of a rekey");
        let nonce_r = answer.nonce().expect("a nonce");
        let Some((old, ..)) = &self.keys else { return };
        let seed = Seed { shared_secret: &SHARED_SECRET, nonce_i: &nonce, nonce_r, spi_i, spi_r };
        let keys = old.rekey(chosen.suite, seed);
        if form & 1 == 0 {
            self.ask(Exchange::Informational, &[Payload::Delete(Delete::Ike)], 2000);
        }
        (self.spis, self.next_id, self.answered) = ((spi_i, spi_r), 0, false);
        self.requests.clear();
        self.take_keys(keys);
    }

    /// Deletes. Where it is the user's half of a collision that goes, the session lives on without this IKE SA.
    fn retire(&mut self, choice: u8) {
        self.dumb |= choice == 255;
        self.ask(Exchange::Informational, &[self.delete(choice)], 2000);
    }

    fn delete(&self, choice: u8) -> Payload {
        Payload::Delete(match choice {
            255 => Delete::Ike,
            254 => Delete::Esp(vec![0x7777_7777]),
            253 => Delete::Esp(self.children.values().copied().collect()),
            // The SPIs of the other direction are nobody's.
            252 => Delete::Esp(self.children.keys().copied().collect()),
            choice => Delete::Esp(vec![self.some_child(choice)]),
        })
    }

    /// An answer to a request of the machine's, in one of the ways that clients have.
    fn reply(&mut self, way: u8, bytes: &[u8]) {
        let Some(request) = self.requests.pop() else { return };
        let error = |kind: u16, data: &[u8]| vec![Payload::Notify(Notify::new(kind, data))];
        let payloads = match way % 8 {
            0 => Vec::new(),
            1 => vec![self.delete(bytes.first().copied().unwrap_or(0))],
            2 => error(notify::MS_WIN32_ERROR, &13863u32.to_be_bytes()),
            3 => error(notify::TEMPORARY_FAILURE, &[]),
            4 => error(notify::CHILD_SA_NOT_FOUND, &[]),
            5 => error(notify::INVALID_KE_PAYLOAD, &[0, 19]),
            6 => error(notify::NO_PROPOSAL_CHOSEN, &[]),
            _ => chain(bytes),
        };
        let header = self.header(request.exchange, true, request.message_id);
        for datagram in self.seal(&header, &payloads, 2000) {
            self.deliver(datagram);
        }
    }

    fn worn(&mut self, choice: u8) {
        let spi_in = self.children.keys().nth(usize::from(choice) % self.children.len().max(1)).copied().unwrap_or(1);
        self.endpoint.handle(self.now, Input::Worn { session: self.session, spi_in });
        self.drain();
    }

    fn command(&mut self, choice: u8) {
        let command = [Command::RekeyIke, Command::RekeyChild, Command::Liveness, Command::Close(CloseReason::Operator)];
        self.dumb |= choice % 4 == 3;
        self.endpoint.handle(self.now, Input::Command(self.session, command[usize::from(choice) % 4]));
        self.drain();
    }

    fn pass(&mut self, bytes: &[u8]) {
        let limit = self.now + Duration::from_secs(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        for _ in 0..MAX_OUTPUTS {
            let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= limit) else { break };
            self.now = self.now.max(at);
            self.endpoint.handle(self.now, Input::Timeout);
            self.drain();
            assert!(self.endpoint.poll_timeout().is_none_or(|(next, _)| next > self.now), "the clock stands still");
        }
        self.now = self.now.max(limit);
    }

    /// An old request again: nothing new comes of it.
    fn repeat(&mut self, choice: u8) {
        let Some(datagram) = self.recorded.get(usize::from(choice) % self.recorded.len().max(1)).cloned() else { return };
        let (children, outbound) = (self.children.clone(), self.outbound);
        let open = self.open.len();
        let pending = Header::parse(&datagram).is_ok_and(|header| header.message_id >= self.next_id);
        self.deliver(datagram);
        assert!(
            pending || (self.children == children && self.outbound == outbound && self.open.len() == open),
            "a repetition had an effect"
        );
    }

    /// A request that is changed on its way: dropped, and the real one is taken afterwards.
    fn damage(&mut self, at: u8, bit: u8) {
        let header = self.header(Exchange::Informational, false, self.next_id);
        for mut datagram in self.seal(&header, &[], 2000) {
            let at = 28 + usize::from(at) % (datagram.len() - 28);
            datagram[at] ^= 1 << (bit % 8);
            let (children, closed) = (self.children.clone(), self.closed);
            let answers = self.deliver(datagram);
            assert!(self.answer_to(&answers, self.next_id).is_none(), "damage went unnoticed");
            assert_eq!((&self.children, self.closed), (&children, closed));
        }
    }

    fn move_to(&mut self, port: u8, form: u8) {
        self.path.remote.set_port(4500 + u16::from(port));
        let mut payloads = vec![Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, []))];
        let cookie = Payload::Notify(Notify::new(notify::COOKIE2, vec![form; 16]));
        payloads.extend((form & 1 != 0).then(|| cookie.clone()));
        if let Some(answer) = self.ask(Exchange::Informational, &payloads, 2000)
            && !self.closed
            && !self.dumb
        {
            assert_eq!(form & 1 != 0, answer.iter().any(|payload| *payload == cookie), "COOKIE2 goes back as it came");
        }
    }

    fn release(&mut self) {
        for (id, question) in std::mem::take(&mut self.held) {
            if self.open.remove(&id) {
                self.endpoint.handle(self.now, Input::Answer(id, answer(question)));
                self.drain();
            }
        }
    }

    /// A new configuration or an operator ends it: nothing of the session stays.
    fn leave(&mut self) {
        self.command(3);
        self.slow = false;
        self.release();
        for _ in 0..40 {
            self.pass(&[60]);
        }
        assert!(self.closed && self.children.is_empty() && self.open.is_empty(), "something of the session is left");
        assert_eq!(self.endpoint.sessions(), (0, 0));
    }

    fn deliver(&mut self, message: Vec<u8>) -> Vec<Vec<u8>> {
        self.endpoint.handle(self.now, Input::Datagram { path: self.path, message, unix_time: 1_800_000_000 });
        self.drain()
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.endpoint.poll_output() else { return sent };
            match output {
                Output::Transmit { message, .. } => {
                    let header = Header::parse(&message).expect("what the gateway sends has a header");
                    if (header.initiator_spi, header.responder_spi) == self.spis {
                        self.answered |= header.flags.response && header.message_id == self.next_id;
                        self.requests.extend((!header.flags.response).then_some(header));
                    }
                    sent.push(message);
                }
                Output::Ask(id, session, question) => {
                    self.session = session;
                    self.open.insert(id);
                    if self.slow {
                        self.held.push((id, question));
                    } else {
                        self.open.remove(&id);
                        self.endpoint.handle(self.now, Input::Answer(id, answer(question)));
                    }
                }
                Output::Cancel(id) => assert!(self.open.remove(&id), "a question is cancelled that nobody asked"),
                output => self.book(output),
            }
        }
        panic!("outputs without end");
    }

    /// The data plane's and the record's books.
    fn book(&mut self, output: Output) {
        match output {
            Output::InstallChild(child) => {
                assert!(child.spi_in >= 256 && !self.closed);
                assert!(child.remote.iter().all(|selector| selector.start == leased() && selector.end == leased()));
                assert!(self.children.insert(child.spi_in, child.spi_out).is_none(), "an inbound SPI is used twice");
                assert!(self.children.len() <= 32, "Child SAs without end");
                if child.outbound_ready || self.outbound.is_none() {
                    self.outbound = Some(child.spi_in);
                }
            }
            Output::UseOutbound { spi_in, .. } => {
                assert!(self.children.contains_key(&spi_in), "sending on a Child SA that is not there");
                self.outbound = Some(spi_in);
            }
            Output::RemoveChild { spi_in, .. } => {
                assert!(self.children.remove(&spi_in).is_some(), "a Child SA is removed twice");
                self.outbound = self.outbound.filter(|outbound| *outbound != spi_in);
            }
            Output::Event(_, event) => {
                assert!(!self.closed, "{event:?} after the last event");
                self.closed = matches!(event, Event::Closed(..));
            }
            _ => {}
        }
    }
}

fn answer(question: Question) -> Answer {
    let grant = Box::new(Grant { user: "alice".into(), ipv4: Some(Ipv4Addr::new(10, 0, 0, 7)), ..Grant::default() });
    match question {
        Question::KeyExchange { .. } => Answer::KeyExchange(Ok((vec![2; 64], Zeroizing::new(SHARED_SECRET.to_vec())))),
        Question::Sign { .. } => Answer::Signature(Ok(vec![9; 64])),
        Question::Eap(_) => {
            let msk = Zeroizing::new(MSK.to_vec());
            Answer::Eap(EapAnswer::Success { packet: b"\x03\x01\x00\x04".to_vec(), msk, grant })
        }
        Question::Certificate { .. } => Answer::Certificate(Ok(grant)),
        Question::GenerateKeyPair { group } => {
            let (private, public) = PrivateKey::generate(group, &mut SeededRandom::new(4));
            Answer::KeyPair { private, public }
        }
        Question::Agree { .. } => Answer::Agreed(Ok(Zeroizing::new(SHARED_SECRET.to_vec()))),
        Question::EapPeer { .. } => unreachable!("a responder has no EAP peer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Were this not so, the books would be kept of nothing.
    #[test]
    fn rekeys_and_deletes_succeed() {
        let mut user = User::new();
        user.log_in();
        let first = user.children.clone();
        user.step(1, &[0, 0]);
        assert_eq!(user.children.len(), 2);
        user.step(1, &[1, 3]);
        user.step(2, &[2]);
        assert_ne!(user.spis.0, SPI_I);
        assert!(user.ask(Exchange::Informational, &[], 2000).is_some(), "the new IKE SA works");
        assert!(first.keys().all(|spi_in| user.children.contains_key(spi_in)));
        user.step(3, &[253]);
        user.step(7, &[10]);
        assert!(user.children.is_empty() && !user.closed);
        user.step(1, &[0, 4]);
        assert_eq!(user.children.len(), 1, "a new one where there is none");
        user.step(3, &[255]);
        assert!(user.closed);
        user.leave();
    }
}
