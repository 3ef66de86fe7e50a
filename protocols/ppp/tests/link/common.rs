//! A link, a clock that only the test moves, and what came out.
use ppp::{Answer, AskId, AuthProtocol, Ended, Event, Input, Link, LinkConfig, Network, Output, Question, SEED_LENGTH, Seed, Timers};
use std::time::{Duration, Instant};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const SEED: Seed = {
    let mut seed = [0; SEED_LENGTH];
    let mut at = 0;
    while at < SEED_LENGTH {
        seed[at] = 0xA0 ^ at as u8;
        at += 1;
    }
    seed
};

/// The first magic number, challenge and interface identifier that [`SEED`] makes.
pub(crate) const MAGIC: [u8; 4] = [0xA0, 0xA1, 0xA2, 0xA3];
pub(crate) const CHALLENGE: [u8; 16] = [0xB0, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xBF];
pub(crate) const INTERFACE: [u8; 8] = [0xA8, 0xA9, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF];

pub(crate) const LCP: u16 = 0xC021;
pub(crate) const IPCP: u16 = 0x8021;
pub(crate) const IPV6CP: u16 = 0x8057;
pub(crate) const EAP: u16 = 0xC227;
pub(crate) const CHAP: u16 = 0xC223;
pub(crate) const PAP: u16 = 0xC023;

pub(crate) fn config(auth: &[AuthProtocol]) -> LinkConfig {
    LinkConfig {
        auth: auth.to_vec(),
        mru: 4091,
        name: "vpn".into(),
        seed: SEED,
        timers: Timers {
            passive: SECOND,
            restart: 3 * SECOND,
            max_configure: 10,
            negotiation: 60 * SECOND,
            echo_interval: 20 * SECOND,
            echo_failures: 3,
        },
    }
}

pub(crate) fn network() -> Network {
    Network {
        ipv4: Some([10, 0, 0, 5].into()),
        gateway_ipv4: Some([10, 0, 0, 1].into()),
        dns: vec![[10, 0, 0, 53].into()],
        nbns: vec![],
        ipv6: Some("2001:db8::1:2:3:4".parse().unwrap()),
    }
}

pub(crate) fn accept(message: impl AsRef<[u8]>) -> Answer {
    Answer::Accept { eap: vec![], message: message.as_ref().to_vec(), network: Box::new(network()) }
}

pub(crate) fn reject(message: impl AsRef<[u8]>) -> Answer {
    Answer::Reject { eap: vec![], message: message.as_ref().to_vec() }
}

/// Octets from hexadecimal digits; blanks do not count.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// A frame around one packet.
pub(crate) fn frame(protocol: u16, code: u8, id: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xFF, 0x03];
    frame.extend(protocol.to_be_bytes());
    frame.extend([code, id]);
    frame.extend((data.len() as u16 + 4).to_be_bytes());
    frame.extend(data);
    frame
}

pub(crate) struct Bench {
    pub(crate) link: Link,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) questions: Vec<(AskId, Question)>,
    pub(crate) cancelled: Vec<AskId>,
    pub(crate) events: Vec<Event>,
    pub(crate) down: Option<Ended>,
    /// Identifier and options of the latest LCP Configure-Request of the link.
    pub(crate) request: (u8, Vec<u8>),
}

impl Bench {
    pub(crate) fn new(auth: &[AuthProtocol]) -> Self {
        Self::with(config(auth))
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    pub(crate) fn with(config: LinkConfig) -> Self {
        let now = Instant::now();
        let mut link = Link::new(now, config);
        link.handle(now, Input::Start);
        assert!(link.poll_output().is_none(), "the client begins");
        Self { link, start: now, now, questions: vec![], cancelled: vec![], events: vec![], down: None, request: (0, vec![]) }
    }

    /// Frames that this input makes the link send.
    pub(crate) fn input(&mut self, input: Input<'_>) -> Vec<Vec<u8>> {
        let over = self.down.is_some();
        self.link.handle(self.now, input);
        let mut sent = Vec::new();
        while let Some(output) = self.link.poll_output() {
            assert!(!over && self.down.is_none(), "{output:?} after Down");
            match output {
                Output::Transmit(frame) => {
                    if frame[2..5] == [0xC0, 0x21, 1] {
                        self.request = (frame[5], frame[8..].to_vec());
                    }
                    sent.push(frame);
                }
                Output::Ask(id, question) => self.questions.push((id, question)),
                Output::Cancel(id) => self.cancelled.push(id),
                Output::Event(event) => self.events.push(event),
                Output::Down(ended) => self.down = Some(ended),
            }
        }
        sent
    }

    pub(crate) fn give(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.input(Input::Frame(frame))
    }

    pub(crate) fn send(&mut self, protocol: u16, code: u8, id: u8, data: &[u8]) -> Vec<Vec<u8>> {
        self.give(&frame(protocol, code, id, data))
    }

    /// Answers the latest question.
    pub(crate) fn answer(&mut self, answer: Answer) -> Vec<Vec<u8>> {
        let id = self.questions.last().expect("a question").0;
        self.input(Input::Answer(id, answer))
    }

    /// Lets time pass; all frames that the timers send.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some((at, _)) = self.link.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            sent.extend(self.input(Input::Timeout));
        }
        self.now = end;
        sent
    }

    /// LCP as a client that asks for nothing; what the link sends once it is open.
    pub(crate) fn open(&mut self) -> Vec<Vec<u8>> {
        let sent = self.send(LCP, 1, 0, &[]);
        assert_eq!(sent[sent.len() - 1], frame(LCP, 2, 0, &[]));
        self.acknowledge()
    }

    /// Acknowledges the latest LCP Configure-Request.
    pub(crate) fn acknowledge(&mut self) -> Vec<Vec<u8>> {
        let (id, options) = self.request.clone();
        self.send(LCP, 2, id, &options)
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn ended(&self) -> &Ended {
        self.down.as_ref().expect("the link is down")
    }
}
