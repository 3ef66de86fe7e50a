//! Many conversations on virtual time over a network that loses, doubles and reorders, with slow and dead servers.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use crypto::{Random, SeededRandom};
use radius_client::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Rounds of one conversation: challenges, then the Accept.
const ROUNDS: u8 = 3;

/// Conversations from here on are logins by PAP; the password is the name.
const PAP: u64 = 1 << 32;

const STATUS_SERVER: u8 = 12;

struct Network {
    random: SeededRandom,
    /// Of a thousand datagrams.
    lost: u32,
    doubled: u32,
    /// Milliseconds, one way.
    delay: u32,
}

impl Network {
    fn number(&mut self, below: u32) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u32::from_be_bytes(bytes) % below
    }

    /// When copies of a datagram arrive.
    fn carry(&mut self, now: Instant) -> Vec<Instant> {
        let copies = 1 + usize::from(self.number(1000) < self.doubled);
        let arrivals = (0..copies).map(|_| (self.number(1000), self.number(self.delay)));
        let arrivals: Vec<_> = arrivals.collect();
        arrivals.into_iter().filter(|(luck, _)| *luck >= self.lost).map(|(_, delay)| now + Duration::from_millis(delay.into())).collect()
    }
}

/// A request as its server knows it: socket, identifier, authenticator.
type Known = (u32, u8, [u8; 16]);

/// A server that answers every request once and repeats that answer for duplicates, as real ones do.
#[derive(Default)]
struct Nps {
    dead: bool,
    thinks: Duration,
    /// With the time at which the thinking is over.
    answers: BTreeMap<Known, (Vec<u8>, Instant)>,
    /// State handed out and not yet used, with the round it stands for.
    states: BTreeMap<Vec<u8>, u8>,
    next_state: u64,
    accepts: usize,
    probes: usize,
}

impl Nps {
    fn answer(&mut self, request: &Sent, now: Instant) -> Option<(Vec<u8>, Instant)> {
        if self.dead {
            return None;
        }
        let key = (request.socket.0, request.identifier(), request.authenticator());
        if !self.answers.contains_key(&key) {
            let thinks = if request.bytes[0] == STATUS_SERVER { Duration::ZERO } else { self.thinks };
            let answer = self.fresh(request);
            self.answers.insert(key, (answer, now + thinks));
        }
        let (answer, ready) = self.answers.get(&key).cloned()?;
        Some((answer, ready.max(now)))
    }

    fn fresh(&mut self, request: &Sent) -> Vec<u8> {
        assert_eq!(request.attributes()[0].0, 80);
        if request.bytes[0] == STATUS_SERVER {
            self.probes += 1;
            return reply(2, request, &[]);
        }
        let Some(eap) = request.get(79) else {
            self.accepts += 1;
            assert_eq!(password(request, SECRET), request.get(1).unwrap(), "hidden for this request");
            return reply(2, request, &[(25, request.get(1).unwrap())]);
        };
        let round = match request.get(24) {
            None => 0,
            Some(state) => self.states.remove(&state).expect("State of this server, used once"),
        };
        assert_eq!(eap[1], round, "rounds in order");
        if round == ROUNDS {
            self.accepts += 1;
            let recv = mppe(17, &request.authenticator(), [0x80, 1], request, SECRET);
            let send = mppe(16, &[2; 16], [0x80, 2], request, SECRET);
            return reply(2, request, &[(79, eap_packet(3, round, &[])), recv, send]);
        }
        self.next_state += 1;
        let state = self.next_state.to_be_bytes().to_vec();
        self.states.insert(state.clone(), round + 1);
        reply(11, request, &[(79, eap_packet(1, round + 1, &[26])), (24, state)])
    }
}

enum Event {
    Arrives(Sent),
    Answered(Input),
    Begins(u64),
    /// A server dies, or comes back without its memory.
    Turns {
        server: u8,
        dead: bool,
    },
}

struct World {
    now: Instant,
    client: Client,
    network: Network,
    servers: BTreeMap<SocketAddr, Nps>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    next_ticket: u64,
    /// Tickets without an outcome, and their conversation.
    open: BTreeMap<u64, u64>,
    accepted: BTreeSet<u64>,
    failed: Vec<RequestFailure>,
    sockets: BTreeSet<SocketId>,
    most_sockets: usize,
    most_open: usize,
    /// The group that is asked.
    group: Option<String>,
    /// When each login was granted.
    granted: BTreeMap<u64, Instant>,
}

impl World {
    fn new(client: Client, network: Network, servers: Vec<(SocketAddr, Nps)>) -> Self {
        Self {
            now: start(),
            client,
            network,
            servers: servers.into_iter().collect(),
            events: BTreeMap::new(),
            next_event: 0,
            next_ticket: 0,
            open: BTreeMap::new(),
            accepted: BTreeSet::new(),
            failed: Vec::new(),
            sockets: BTreeSet::new(),
            most_sockets: 0,
            most_open: 0,
            group: None,
            granted: BTreeMap::new(),
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.events.insert((at, self.next_event), event);
    }

    fn round(&mut self, conversation: u64, round: u8) {
        self.next_ticket += 1;
        self.open.insert(self.next_ticket, conversation);
        self.most_open = self.most_open.max(self.open.len());
        if conversation < PAP {
            return self.input(ask(self.next_ticket, conversation, &eap_packet(2, round, &[26])));
        }
        let name = conversation.to_string();
        self.input(login_as(&name, self.next_ticket, conversation, pap(name.as_bytes())));
    }

    fn input(&mut self, mut input: Input) {
        if let Input::Eap { group, .. } | Input::Login { group, .. } = &mut input {
            group.clone_from(&self.group);
        }
        self.client.handle(self.now, input);
        for output in drain(&mut self.client) {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Open { socket, .. } => assert!(self.sockets.insert(socket)),
            Output::Close { socket } => assert!(self.sockets.remove(&socket)),
            Output::Transmit { socket, to, bytes } => {
                assert!(self.sockets.contains(&socket), "sent on an open socket");
                for at in self.network.carry(self.now) {
                    self.at(at, Event::Arrives(Sent { socket, to, bytes: bytes.clone() }));
                }
            }
            Output::Eap { ticket, outcome } => self.outcome(ticket, outcome),
            Output::Login { ticket, outcome } => self.login_outcome(ticket, outcome),
            Output::Server { .. } => {}
            Output::Accounting { .. } => unreachable!(),
        }
        self.most_sockets = self.most_sockets.max(self.sockets.len());
    }

    fn outcome(&mut self, ticket: Ticket, outcome: EapOutcome) {
        let conversation = self.open.remove(&ticket.0).expect("one outcome a ticket");
        match outcome {
            EapOutcome::Challenge { eap, .. } => self.round(conversation, eap[1]),
            EapOutcome::Accept { accept, .. } => {
                assert_eq!((accept.msk.len(), &accept.msk[16..32]), (64, &[2; 16][..]));
                assert!(self.accepted.insert(conversation));
                self.granted.insert(conversation, self.now);
            }
            EapOutcome::Failed(failure) => self.failed.push(failure),
            EapOutcome::Reject { .. } => unreachable!(),
        }
    }

    fn login_outcome(&mut self, ticket: Ticket, outcome: LoginOutcome) {
        let conversation = self.open.remove(&ticket.0).expect("one outcome a ticket");
        match outcome {
            LoginOutcome::Accept { accept, .. } => {
                assert_eq!(accept.class, [conversation.to_string().into_bytes()]);
                assert!(self.accepted.insert(conversation));
            }
            LoginOutcome::Failed(failure) => self.failed.push(failure),
            LoginOutcome::Reject { .. } => unreachable!(),
        }
    }

    fn run(&mut self) {
        loop {
            let event = self.events.keys().next().copied();
            let timer = self.client.poll_timeout();
            // The probes of a dead server never end.
            let watched = timer.filter(|_| event.is_some() || !self.open.is_empty());
            let Some(next) = event.map(|(at, _)| at).into_iter().chain(watched).min() else { return };
            assert!(next >= self.now || timer == Some(next), "time goes on");
            self.now = self.now.max(next);
            match event.filter(|(at, _)| *at <= next).and_then(|key| self.events.remove(&key)) {
                Some(Event::Arrives(request)) => self.arrive(request),
                Some(Event::Answered(input)) => self.input(input),
                Some(Event::Begins(conversation)) => self.round(conversation, 0),
                Some(Event::Turns { server, dead }) => {
                    let server = self.servers.get_mut(&address(server)).unwrap();
                    *server = Nps { dead, accepts: server.accepts, probes: server.probes, ..Nps::default() };
                }
                None => self.input(Input::Timeout),
            }
        }
    }

    fn arrive(&mut self, request: Sent) {
        let server = self.servers.get_mut(&request.to).unwrap();
        let Some((bytes, ready)) = server.answer(&request, self.now) else { return };
        for at in self.network.carry(ready) {
            self.at(at, Event::Answered(request.datagram(bytes.clone())));
        }
    }
}

fn address(last: u8) -> SocketAddr {
    format!("192.0.2.{last}:1812").parse().unwrap()
}

fn world(seed: u64, servers: Vec<Nps>, lost: u32, tries: u32) -> World {
    let configured: Vec<_> = (1..=servers.len() as u8)
        .map(|last| Server { tries, retransmit_initial: Duration::from_millis(500), ..server(&format!("nps{last}"), last) })
        .collect();
    let client = Client::new(configured, Box::new(SeededRandom::new(seed)));
    let network = Network { random: SeededRandom::new(seed ^ 0xff), lost, doubled: 100, delay: 400 };
    World::new(client, network, (1..).map(address).zip(servers).collect())
}

fn begin(world: &mut World, count: u64, apart: Duration) {
    for conversation in 0..count {
        let at = world.now + apart * conversation as u32;
        world.at(at, Event::Begins(conversation));
    }
}

#[test]
fn a_bad_network() {
    for seed in 0..10 {
        let mut world = world(seed, vec![Nps::default(), Nps::default()], 150, 8);
        begin(&mut world, 300, Duration::from_millis(20));
        world.run();
        assert!(world.open.is_empty());
        assert_eq!(world.accepted.len() + world.failed.len(), 300);
        assert!(world.failed.len() <= 6, "seed {seed}: {:?}", world.failed);
        let counters = world.client.counters();
        let sum = |pick: fn(&Counters) -> u64| counters.iter().map(|(_, counters)| pick(counters)).sum::<u64>();
        assert!(sum(|c| c.retransmitted) > 100 && sum(|c| c.dropped_unsolicited) > 100, "loss and duplicates happened");
        assert_eq!(sum(|c| c.dropped_malformed + c.dropped_source + c.dropped_message_authenticator), 0);
        // Only copies so late that their identifier serves another request by now.
        assert!(sum(|c| c.dropped_authenticator) < 20);
    }
}

#[test]
fn a_dead_first_server() {
    let dead = Nps { dead: true, ..Nps::default() };
    let mut world = world(1, vec![dead, Nps::default()], 0, 3);
    begin(&mut world, 100, Duration::from_millis(500));
    world.run();
    assert_eq!((world.accepted.len(), world.failed.len()), (100, 0));
    assert_eq!(world.servers[&address(2)].accepts, 100);
    let asked = world.client.counters()[0].1.sent;
    assert!(asked < 60, "the dead server is asked seldom once it is known: {asked}");
}

#[test]
fn logins_by_password_among_eap_conversations() {
    for seed in 0..4 {
        let dead = Nps { dead: true, ..Nps::default() };
        let mut world = world(seed, vec![dead, Nps::default()], 150, 8);
        begin(&mut world, 150, Duration::from_millis(20));
        for conversation in PAP..PAP + 150 {
            let at = world.now + Duration::from_millis(33) * (conversation - PAP) as u32;
            world.at(at, Event::Begins(conversation));
        }
        world.run();
        assert!(world.open.is_empty());
        assert_eq!(world.accepted.len() + world.failed.len(), 300);
        assert!(world.failed.len() <= 6, "seed {seed}: {:?}", world.failed);
        assert!(world.accepted.range(PAP..).count() > 145);
        assert_eq!(world.client.counters()[0].1.accepted, 0, "the first server is dead");
    }
}

#[test]
fn all_servers_dead() {
    let dead = || Nps { dead: true, ..Nps::default() };
    let mut world = world(2, vec![dead(), dead()], 0, 3);
    begin(&mut world, 20, Duration::from_millis(10));
    world.run();
    assert_eq!(world.failed.len(), 20);
    assert!(world.failed.iter().all(|failure| matches!(failure, RequestFailure::Silent { tries: 6, .. })));
}

#[test]
fn a_slow_server_with_more_than_256_in_flight() {
    let slow = Nps { thinks: Duration::from_secs(5), ..Nps::default() };
    let mut world = world(3, vec![slow], 50, 6);
    begin(&mut world, 700, Duration::from_millis(1));
    world.run();
    assert_eq!((world.accepted.len(), world.failed.len()), (700, 0), "{:?}", world.failed);
    assert_eq!(world.servers[&address(1)].accepts, 700, "no conversation ran twice");
    assert!(world.most_sockets >= 3, "{}", world.most_sockets);
    assert_eq!(world.sockets.len(), 1, "the sockets too many were closed");
}

#[test]
fn ten_thousand_in_flight_are_answered_in_any_order() {
    let slow = Nps { thinks: Duration::from_secs(5), ..Nps::default() };
    let mut world = world(4, vec![slow], 20, 6);
    for number in 0..10_000 {
        let at = world.now + Duration::from_micros(300) * number as u32;
        world.at(at, Event::Begins(PAP + number));
    }
    world.run();
    assert_eq!((world.accepted.len(), world.failed.len()), (10_000, 0), "{:?}", world.failed.first());
    assert_eq!((world.most_open, world.most_sockets, world.sockets.len()), (10_000, 40, 1));
    assert_eq!(world.servers[&address(1)].accepts, 10_000, "nobody is asked twice");
}

/// A group of a preferred server and two that share the rest, all of them probed.
fn group_of_three(seed: u64, preferred: Nps, lost: u32) -> World {
    let probed = |last: u8| Server {
        tries: 5,
        retransmit_initial: Duration::from_millis(500),
        timeout: Duration::from_secs(120),
        probe: Probe::StatusServer,
        revive_interval: Duration::from_secs(10),
        ..server(&format!("nps{last}"), last)
    };
    let member = |last: u8, priority| Member { server: format!("nps{last}"), priority, weight: 50 };
    let groups = vec![Group { name: "corp".into(), members: vec![member(1, 1), member(2, 2), member(3, 2)] }];
    let configuration = Configuration { servers: (1..=3).map(probed).collect(), groups };
    let client = Client::new(configuration, Box::new(SeededRandom::new(seed)));
    let network = Network { random: SeededRandom::new(seed ^ 0xff), lost, doubled: 100, delay: 400 };
    let servers = (1..).map(address).zip([preferred, Nps::default(), Nps::default()]).collect();
    let mut world = World::new(client, network, servers);
    world.group = Some("corp".into());
    world
}

#[test]
fn a_second_factor_of_a_minute_is_asked_for_once_on_a_bad_network() {
    for seed in 0..4 {
        let mut world = group_of_three(seed, Nps { thinks: Duration::from_secs(60), ..Nps::default() }, 100);
        for number in 0..50 {
            let at = world.now + Duration::from_secs(2) * number as u32;
            world.at(at, Event::Begins(PAP + number));
        }
        world.run();
        assert_eq!((world.accepted.len(), world.failed.len()), (50, 0), "seed {seed}: {:?}", world.failed);
        let accepts: Vec<_> = world.servers.values().map(|server| server.accepts).collect();
        assert_eq!(accepts, [50, 0, 0], "seed {seed}: one question to each user, of one server");
        assert!(world.servers[&address(1)].probes > 5, "that is how it is known to live");
    }
}

#[test]
fn a_server_that_dies_loses_its_conversations_alone_and_is_preferred_again_when_it_is_back() {
    for seed in 0..4 {
        let mut world = group_of_three(seed, Nps::default(), 100);
        let (began, dies, returns) = (world.now, Duration::from_secs(60), Duration::from_secs(160));
        world.at(began + dies, Event::Turns { server: 1, dead: true });
        world.at(began + returns, Event::Turns { server: 1, dead: false });
        for number in 0..500 {
            let at = world.now + Duration::from_millis(500) * number as u32;
            let name = if number % 2 == 0 { number } else { PAP + number };
            world.at(at, Event::Begins(name));
        }
        world.run();
        assert_eq!(world.accepted.len() + world.failed.len(), 500, "seed {seed}");
        let lost = |failure: &RequestFailure| matches!(failure, RequestFailure::LostConversation { server, .. } if server == "nps1");
        assert!(world.failed.iter().all(lost) && world.failed.len() < 12, "seed {seed}: {:?}", world.failed);
        let accepts: Vec<_> = world.servers.values().map(|server| server.accepts).collect();
        assert!(accepts[0] >= 240 && accepts[1] >= 50 && accepts[2] >= 50, "seed {seed}: {accepts:?}");
        let slowest = world.granted.iter().map(|(name, at)| {
            let number = (name % PAP) as u32;
            *at - (began + Duration::from_millis(500) * number)
        });
        // Four repetitions at a dead server, and the rounds of a login on this network.
        assert!(slowest.max().unwrap() < Duration::from_secs(40), "seed {seed}");
        let after = world.servers[&address(1)].accepts;
        let standing = world.client.servers()[0].standing;
        assert!(standing == Standing::Alive && after > 0, "seed {seed}: {standing:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = world(seed, vec![Nps::default()], 300, 4);
        begin(&mut world, 50, Duration::from_millis(7));
        let began = world.now;
        world.run();
        (world.now - began, world.accepted.len(), world.client.counters())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
