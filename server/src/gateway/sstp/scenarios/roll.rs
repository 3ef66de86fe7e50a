//! The roll of those who were let in says what a walk through all sessions says, whatever happens to them.
use super::*;
use crate::explain::account;
use crate::gateway::Live;
use crate::gateway::authenticate::succeeds;
use crate::gateway::roll::Set;
use crate::gateway::usage::Others;
use crate::login::Granted;
use crypto::Random;
use ike::Event;
use policy::network::{Certificate, Constraints, Usage};
use radius_client::dynamic::{Action, Changes, DynamicRequest, Identification};

const USERS: [&str; 6] = ["ann", "Ann", "bob", "cy", "EXAMPLE\\Cy", "cy@example.com"];
const NAMES: [&str; 3] = ["10.0.0.7", "10.0.0.8", "MSRAS-0-PC1"];
const POLICIES: [&str; 2] = ["staff", "all"];

/// Reproducible choices.
struct Dice(SeededRandom);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % count
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn certificate(serial: usize) -> Certificate {
    Certificate { issuer: "CN=ca".into(), serial: serial.to_string(), ..Certificate::default() }
}

/// What of a session counts.
fn granted(live: &Live) -> Option<&Granted> {
    let up = live.session.as_ref().map(|session| &session.granted);
    up.or_else(|| live.login.as_ref()?.granted.as_ref())
}

/// Number of others, and those left out, as a walk finds them.
fn walk(world: &World, own: SessionId, user: &str, without_older: bool, counts: impl Fn(&Granted) -> bool) -> (usize, Set) {
    let all = &world.gateway.live;
    let counted = all.iter().filter(|(id, live)| **id != own && granted(live).is_some_and(&counts));
    let is_older = |live: &Live| without_older && all.get(&own).is_some_and(|own| succeeds(own, live, user));
    let (older, others): (Vec<_>, Vec<_>) = counted.partition(|(_, live)| is_older(live));
    (others.len(), older.into_iter().map(|(id, _)| *id).collect())
}

/// How many times an older session did not count.
fn assert_walk(world: &World) -> usize {
    let mut left_out = 0;
    let sessions: Vec<_> = world.gateway.live.keys().copied().collect();
    for (own, user) in sessions.into_iter().flat_map(|own| USERS.map(|user| (own, user))) {
        for (without_older, serial) in [(false, 0), (true, 1)] {
            let certificate = certificate(serial);
            let ask = |count: &dyn Fn(&Others<'_>) -> usize| {
                let others = Others::new((&world.gateway.live, &world.gateway.roll), own, user, Some(&certificate));
                let others = if without_older { others.without_older() } else { others };
                (count(&others), others.left_out())
            };
            let of = |counts: &dyn Fn(&Granted) -> bool| walk(world, own, user, without_older, counts);
            let of_user = of(&|granted| account::same(&granted.user, user));
            left_out += of_user.1.len();
            assert_eq!(ask(&|others| others.of_user()), of_user, "{own:?} {user}");
            let same = |granted: &Granted| granted.known.certificate.as_ref() == Some(&certificate);
            assert_eq!(ask(&|others| others.of_certificate()), of(&same), "{own:?} {user}");
            for policy in POLICIES {
                assert_eq!(ask(&|others| others.of_policy(policy)), of(&|granted| granted.policy == policy), "{own:?} {policy}");
            }
        }
    }
    left_out
}

/// Two policies; users and certificates have bounds.
fn world() -> World {
    let mut world = World::empty(100, &[("staff", "*", true), ("all", "*", true)]);
    world.gateway.authority.policies[0].conditions.filter_id = vec!["staff".into()];
    for policy in &mut world.gateway.authority.policies {
        policy.constraints = Constraints { sessions_per_user: Some(2), ..Constraints::default() };
    }
    world
}

fn caller(dice: &mut Dice) -> Caller<'static> {
    let certificate = Some(dice.below(3)).filter(|serial| *serial < 2).map(certificate);
    let tunnel = dice.one(&[Tunnel::Ikev2, Tunnel::Sstp]);
    let from = dice.one(&["192.0.2.2:4500", "192.0.2.3:4500"]);
    Caller { tunnel, user: dice.one(&USERS), name: dice.one(&NAMES), from, certificate, eap: None }
}

fn step(world: &mut World, dice: &mut Dice, number: u64) {
    let caller = caller(dice);
    let filter_id: Vec<String> = (0..dice.below(2)).map(|_| "staff".to_owned()).collect();
    let known: Vec<_> = world.gateway.live.keys().copied().collect();
    let (now, gateway) = (world.now, &mut world.gateway);
    match dice.below(8) {
        0..3 => {
            world.login(number, &caller, &Accept { filter_id, ..Accept::default() });
        }
        _ if known.is_empty() => {}
        3 => {
            let id = dice.one(&known);
            if gateway.live[&id].session.is_none() {
                gateway.established(now, id, Vec::new());
            }
        }
        4 => gateway.observe(now, dice.one(&known), Event::Silent(dice.below(2) == 0)),
        5 => gateway.closed(now, dice.one(&known), CloseReason::PeerDeleted, None),
        6 => gateway.begin_login_anew(dice.one(&known)),
        _ => {
            let changes = Changes { filter_id: Some(filter_id), ..Changes::default() };
            let sessions = vec![Identification::UserName(caller.user.to_uppercase())];
            let request = DynamicRequest { client: "nps".into(), action: Action::Change(Box::new(changes)), sessions };
            let _ = gateway.dynamic(now, &request);
        }
    }
}

#[test]
fn the_roll_says_what_a_walk_says() {
    let (mut most, mut left_out) = (0, 0);
    for seed in 0..30 {
        let (mut world, mut dice) = (world(), Dice(SeededRandom::new(seed)));
        for number in 1..40 {
            step(&mut world, &mut dice, number);
            left_out += assert_walk(&world);
        }
        most = most.max(world.gateway.live.len());
    }
    assert!(most > 10 && left_out > 1000, "{most} {left_out}");
}
