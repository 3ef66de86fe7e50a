//! The link and a client on virtual time, over a wire that loses, doubles and overtakes.
use crate::client::{Client, Flavour};
use crate::common::*;
use ppp::{Answer, AskId, AuthProtocol, Event, Input, Link, Output, Phase, Question};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ALL: [AuthProtocol; 4] = [AuthProtocol::Eap, AuthProtocol::MsChapV2, AuthProtocol::Chap, AuthProtocol::Pap];

/// In thousandths; `jitter` is how late a frame may be at most.
#[derive(Debug, Clone, Copy)]
struct Faults {
    loss: u64,
    duplicate: u64,
    jitter: Duration,
}

const NONE: Faults = Faults { loss: 0, duplicate: 0, jitter: Duration::ZERO };

enum Arrival {
    AtLink(Vec<u8>),
    AtClient(Vec<u8>),
    Answer(AskId, Answer),
}

struct Simulation {
    now: Instant,
    link: Link,
    client: Client,
    faults: Faults,
    random: u64,
    queue: BTreeMap<(Instant, u64), Arrival>,
    count: u64,
    events: Vec<Event>,
    accepted: usize,
    frames: usize,
}

impl Simulation {
    fn new(seed: u64, flavour: Flavour, wants: AuthProtocol, faults: Faults) -> Self {
        let mut config = config(&ALL);
        config.timers.negotiation = 300 * SECOND;
        config.timers.max_configure = 30;
        let bench = Bench::with(config);
        let (now, link, client) = (bench.now, bench.link, Client::new(flavour, wants));
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let (queue, events) = (BTreeMap::new(), Vec::new());
        Self { now, link, client, faults, random, queue, count: 0, events, accepted: 0, frames: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    fn later(&mut self, delay: Duration, arrival: Arrival) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), arrival);
    }

    fn wire(&mut self, frame: &[u8], arrival: fn(Vec<u8>) -> Arrival) {
        self.frames += 1;
        let copies = if self.below(1000) < self.faults.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            if self.below(1000) >= self.faults.loss {
                let delay = Duration::from_millis(10 + self.below(self.faults.jitter.as_millis() as u64 + 1));
                self.later(delay, arrival(frame.to_vec()));
            }
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Transmit(frame) => self.wire(&frame, Arrival::AtClient),
                Output::Ask(id, question) => {
                    let answer = self.decide(&question);
                    self.later(Duration::from_millis(400), Arrival::Answer(id, answer));
                }
                Output::Cancel(_) => {}
                Output::Event(event) => self.events.push(event),
                Output::Down(ended) => panic!("{ended:?}"),
            }
        }
        for frame in std::mem::take(&mut self.client.out) {
            self.wire(&frame, Arrival::AtLink);
        }
    }

    fn decide(&mut self, question: &Question) -> Answer {
        match question {
            Question::Eap { packet, .. } if packet[4] == 1 => Answer::EapContinue { packet: hex("0101 0006 0D20") },
            Question::Eap { packet, .. } if packet[1] == 1 => Answer::EapContinue { packet: hex("0102 0006 0D00") },
            Question::MsChapV2 { challenge, response, .. } => {
                assert_eq!(challenge[..], response[..16], "the challenge that the client answered");
                accept("S=00")
            }
            _ => accept(""),
        }
    }

    fn done(&self) -> bool {
        let up = self.link.phase() == Phase::Up && self.client.is_open(IPCP) && self.client.is_open(IPV6CP);
        up && self.events.iter().any(|event| matches!(event, Event::Ipv4Up(_)))
            && self.events.iter().any(|event| matches!(event, Event::Ipv6Up { .. }))
    }

    /// Runs until all is open; how long it took.
    fn run(&mut self) -> Duration {
        let start = self.now;
        self.client.start(start);
        self.settle();
        while !(self.done() && self.queue.is_empty()) {
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self.link.poll_timeout().map(|(at, _)| at);
            self.now = [arrival, timer, self.client.next()].into_iter().flatten().min().expect("something is to happen").max(self.now);
            assert!(self.now < start + 290 * SECOND, "{:?} {:?}", self.link, self.events);
            self.step();
            self.settle();
        }
        self.now - start
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Arrival::AtLink(frame) => self.link.handle(self.now, Input::Frame(&frame)),
                Arrival::AtClient(frame) => self.client.receive(self.now, &frame),
                Arrival::Answer(id, answer) => {
                    self.accepted += usize::from(matches!(answer, Answer::Accept { .. }));
                    self.link.handle(self.now, Input::Answer(id, answer));
                }
            }
            return;
        }
        self.link.handle(self.now, Input::Timeout);
        self.client.tick(self.now);
    }

    fn check(&self) {
        let authenticated = self.events.iter().filter(|event| **event == Event::Authenticated).count();
        assert!((1..=self.accepted).contains(&authenticated), "{:?}", self.events);
        assert_eq!(self.client.value(IPCP, 3), Some(&[10, 0, 0, 5][..]));
        assert_eq!(self.client.value(IPCP, 129), Some(&[10, 0, 0, 53][..]));
        assert_eq!(self.client.value(IPCP, 131), None);
        assert_eq!(self.client.value(IPV6CP, 1), Some(&[0, 1, 0, 2, 0, 3, 0, 4][..]));
    }
}

#[test]
fn every_client_converges_at_once_on_a_good_wire() {
    for flavour in [Flavour::Windows, Flavour::Pppd] {
        for wants in ALL {
            let mut simulation = Simulation::new(1, flavour, wants, NONE);
            let took = simulation.run();
            simulation.check();
            assert!(took < 3 * SECOND, "{flavour:?} {wants:?}: {took:?}: nothing may wait for a restart timer");
            assert!(simulation.frames < 50, "{flavour:?} {wants:?}: {}", simulation.frames);
        }
    }
}

#[test]
fn every_client_converges_on_a_bad_wire() {
    let faults = Faults { loss: 150, duplicate: 30, jitter: Duration::from_millis(300) };
    for seed in 0..50 {
        for flavour in [Flavour::Windows, Flavour::Pppd] {
            for wants in ALL {
                let mut simulation = Simulation::new(seed, flavour, wants, faults);
                simulation.run();
                simulation.check();
            }
        }
    }
}

#[test]
fn overtaking_alone_is_no_harm() {
    let faults = Faults { loss: 0, duplicate: 0, jitter: Duration::from_millis(100) };
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed, Flavour::Windows, AuthProtocol::Eap, faults);
        simulation.run();
        simulation.check();
    }
}
