//! A bad wire: whatever gets lost, repeated or overtaken, both sides end up with the same opinion.
use super::{CLIENT, GATEWAY, Pair, assert_children};
use crypto::{Random, SeededRandom};
use ike::{CloseReason, Command, InitiatorAuth, InitiatorConfig, Timers};
use sim::{Faults, KeyKind, Nat, Sim, client_credential, initiator, responder, timers};
use std::net::Ipv4Addr;
use std::time::Duration;

const BAD: Faults = Faults { loss: 300, duplicate: 100, jitter: Duration::from_millis(300) };

/// So many seeds, or `SIM_SEEDS` times as many for a wide run.
fn seeds(number: u64) -> std::ops::Range<u64> {
    let times = std::env::var("SIM_SEEDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    0..number * times
}

fn pair(seed: u64) -> Pair {
    let mut pair = Pair::new(seed, responder());
    pair.sim.faults = BAD;
    pair
}

/// Up on both sides with the same keys, or gone from both.
#[track_caller]
fn assert_agreed(pair: &Pair, seed: u64) -> bool {
    let (gateway, client) = (pair.gateway(), pair.client());
    let sides = (gateway.endpoint.sessions(), client.endpoint.sessions());
    match sides {
        ((0, 1), (0, 1)) => {
            assert_children(gateway, client);
            true
        }
        ((0, 0), (0, 0)) => {
            assert!(gateway.children.is_empty() && client.children.is_empty(), "seed {seed}");
            assert!(gateway.is_empty() && client.is_empty(), "seed {seed}: {:?} {:?}", gateway.endpoint, client.endpoint);
            assert!(!client.closed().is_empty(), "seed {seed}");
            false
        }
        _ => panic!("seed {seed}: the sides disagree: {sides:?}\n{:#?}\n{:#?}", gateway.events, client.events),
    }
}

#[test]
fn logins() {
    let mut up = 0;
    for seed in seeds(200) {
        let mut pair = pair(seed);
        let auth = InitiatorAuth::Certificate(client_credential(KeyKind::P256, "pc1.example.test"));
        let config = initiator(CLIENT, GATEWAY);
        let config = if seed % 2 == 0 { config } else { InitiatorConfig { auth, ..config } };
        pair.dial(config);
        // The gateway may have to find out by liveness that its last answer never arrived.
        pair.sim.faults = Faults::default();
        pair.sim.run_for(Duration::from_secs(200));
        up += usize::from(assert_agreed(&pair, seed));
    }
    assert!(up > 150, "only {up} of 200 logins came up");
}

/// Every retransmission has the bytes of the first transmission, in both directions.
#[test]
fn retransmissions_are_identical() {
    let mut repeated = 0;
    for seed in seeds(20) {
        let mut pair = pair(seed);
        pair.dial(initiator(CLIENT, GATEWAY));
        for host in [pair.gateway(), pair.client()] {
            let mut seen = std::collections::BTreeMap::new();
            for (_, message) in &host.sent {
                let header = ike::wire::Header::parse(message).unwrap();
                // A plain IKE_SA_INIT may be followed by one with another content, e.g. with a COOKIE; not here.
                let key = (header.initiator_spi, header.flags.response, header.message_id);
                let first = seen.entry(key).or_insert_with(|| message.clone());
                repeated += usize::from(first == message);
                assert_eq!(first, message, "seed {seed}");
            }
            repeated -= seen.len();
        }
    }
    assert!(repeated > 50, "{repeated} retransmissions");
}

/// Rekeys of both kinds from both sides, on a wire that is bad but not hopeless.
#[test]
fn rekeys() {
    for seed in seeds(40) {
        let patient = Timers { retransmit_tries: 20, ..timers() };
        let mut config = responder();
        config.timers = patient;
        let mut pair = Pair::new(seed, config);
        pair.dial(InitiatorConfig { timers: patient, ..initiator(CLIENT, GATEWAY) });
        pair.sim.faults = BAD;
        let commands = [Command::RekeyChild, Command::RekeyIke, Command::RekeyChild];
        for (turn, command) in commands.into_iter().enumerate() {
            let host = if (seed as usize + turn).is_multiple_of(2) { pair.gateway } else { pair.client };
            let session = pair.sim.host(host).established()[0];
            pair.sim.command(host, session, command);
            pair.sim.run_for(Duration::from_secs(120));
        }
        pair.sim.faults = Faults::default();
        pair.sim.run_for(Duration::from_secs(300));
        assert!(assert_agreed(&pair, seed), "seed {seed} lost the session");
        assert_eq!(pair.gateway().children.len(), 1, "seed {seed}");
        assert_eq!(pair.client().children.len(), 1, "seed {seed}");
        // A command that comes while the same child is still being rekeyed asks for what is being done.
        assert_eq!(pair.client().rekeyed(true), 1, "seed {seed}");
        assert!((1..=2).contains(&pair.client().rekeyed(false)), "seed {seed}");
    }
}

/// Both sides want the same at once.
#[test]
fn collisions() {
    for seed in seeds(40) {
        let mut pair = Pair::new(seed, responder());
        pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
        if seed % 4 >= 2 {
            pair.sim.faults = BAD;
        }
        let (one, other) = match seed % 3 {
            0 => (Command::RekeyChild, Command::RekeyChild),
            1 => (Command::RekeyIke, Command::RekeyIke),
            _ => (Command::RekeyIke, Command::RekeyChild),
        };
        let (gateway, client) = (pair.gateway().established()[0], pair.client().established()[0]);
        pair.sim.command(pair.gateway, gateway, one);
        pair.sim.command(pair.client, client, other);
        pair.sim.run_for(Duration::from_secs(60));
        pair.sim.faults = Faults::default();
        pair.sim.run_for(Duration::from_secs(200));
        if seed % 4 < 2 {
            assert!(assert_agreed(&pair, seed), "seed {seed} lost the session");
            assert!(pair.client().rekeyed(true) + pair.client().rekeyed(false) > 0, "seed {seed}: nothing was rekeyed");
        } else {
            assert_agreed(&pair, seed);
        }
        assert!(pair.gateway().children.len() <= 1 && pair.client().children.len() <= 1, "seed {seed}");
    }
}

/// Anything from either side at any time on a changing wire.
#[test]
fn chaos() {
    let mut rekeys = 0;
    for seed in seeds(100) {
        let mut random = SeededRandom::new(seed + 1000);
        let mut below = |limit: u8| {
            let mut byte = [0];
            random.fill(&mut byte);
            byte[0] % limit
        };
        let mut pair = Pair::new(seed, responder());
        if seed % 2 == 1 {
            pair.sim.nat = Some(Nat::new(CLIENT, Ipv4Addr::new(203, 0, 113, 9).into()));
        }
        pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
        pair.sim.host_mut(pair.gateway).answers.crypto_delay = Duration::from_millis(u64::from(below(200)) * 5);
        pair.sim.host_mut(pair.client).answers.crypto_delay = Duration::from_millis(u64::from(below(200)) * 5);
        for _ in 0..30 {
            let host = if below(2) == 0 { pair.gateway } else { pair.client };
            let session = pair.sim.host(host).established()[0];
            pair.sim.faults = Faults { loss: u32::from(below(4)) * 100, duplicate: 100, jitter: Duration::from_millis(300) };
            match below(20) {
                0..7 => pair.sim.command(host, session, Command::RekeyChild),
                7..14 => pair.sim.command(host, session, Command::RekeyIke),
                14..17 => pair.sim.command(host, session, Command::Liveness),
                17..19 => pair.sim.nat.iter_mut().for_each(Nat::rebind),
                _ if below(8) == 0 => pair.sim.command(host, session, Command::Close(CloseReason::Operator)),
                _ => pair.sim.run_for(Duration::from_secs(20)),
            }
            pair.sim.run_for(Duration::from_millis(u64::from(below(200)) * 20));
        }
        pair.sim.faults = Faults::default();
        pair.sim.run_for(Duration::from_secs(400));
        if assert_agreed(&pair, seed) {
            assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1), "seed {seed}");
        }
        rekeys += pair.gateway().rekeyed(true) + pair.gateway().rekeyed(false);
    }
    assert!(rekeys > 300, "only {rekeys} rekeys");
}

/// Many at once: everybody gets what is his own.
#[test]
fn a_crowd() {
    let mut sim = Sim::new(5);
    let gateway = sim.add(&[GATEWAY], Some(responder()));
    sim.faults = Faults { loss: 100, duplicate: 50, jitter: Duration::from_millis(200) };
    for n in 0..100 {
        let address = Ipv4Addr::new(198, 51, 100, n).into();
        let client = sim.add(&[address], None);
        sim.connect(client, initiator(address, GATEWAY));
    }
    sim.run_for(Duration::from_secs(60));
    sim.faults = Faults::default();
    sim.run_for(Duration::from_secs(200));
    let (half_open, up) = sim.host(gateway).endpoint.sessions();
    assert_eq!(half_open, 0);
    assert!(up > 90, "{up} of 100");
    let inner: std::collections::BTreeSet<_> = sim.host(gateway).children.values().map(|child| child.inner.clone()).collect();
    assert_eq!(inner.len(), up);
    assert_eq!(sim.host(gateway).children.len(), up);
}
