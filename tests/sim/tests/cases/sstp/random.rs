//! Many calls of every kind at once, in an order that the seed alone knows.
use super::{millis, secs, user};
use evergate::attempts::Outcome;
use evergate::outcome::CloseReason;
use radius_client::Accept;
use sim::sstp::{Act, Answering, Auth, Binding, CallId, Conduct, Options, Step, User, World};

const CALLS: usize = 60;
const SEEDS: u64 = 60;

fn pick<T: Clone>(world: &mut World, of: &[T]) -> T {
    let index = world.random(of.len() as u64) as usize;
    of[index].clone()
}

fn one_in(world: &mut World, many: u64) -> bool {
    world.random(many) == 0
}

fn users() -> Vec<(&'static str, User)> {
    let limited = Accept { session_timeout: Some(secs(90)), idle_timeout: Some(secs(40)), ..Accept::default() };
    let of = |answering, delay| User { answering, delay, ..user("secret") };
    vec![
        ("alice", user("secret")),
        ("bob", User { retry: true, delay: millis(300), ..user("secret") }),
        ("carol", User { expired: true, ..user("secret") }),
        ("dave", User { accept: limited, ..user("secret") }),
        ("slow", of(Answering::Right, secs(18))),
        ("late", of(Answering::Right, secs(61))),
        ("silent", of(Answering::Silent, secs(0))),
        ("void", of(Answering::Void, secs(0))),
        ("keyless", of(Answering::Keyless, millis(10))),
        ("other", of(Answering::OtherKeys, millis(10))),
    ]
}

fn act(world: &mut World) -> Act {
    let acts = [
        Act::Mute,
        Act::Stall,
        Act::Close,
        Act::Abort,
        Act::Disconnect,
        Act::HangUp,
        Act::Reopen,
        Act::Data,
        Act::Send(vec![0x10, 1, 0, 8, 0, 8, 0, 0]),
        Act::Send(vec![0x10, 1, 0, 14, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1]),
        Act::Send(vec![0x20, 0, 0, 4]),
    ];
    pick(world, &acts)
}

fn conduct(world: &mut World) -> Conduct {
    let name = if one_in(world, 2) { "alice" } else { pick(world, &users()).0 };
    let auth = pick(world, &[Auth::EapMsChapV2, Auth::EapMsChapV2, Auth::MsChapV2, Auth::MsChapV2, Auth::Chap, Auth::Pap]);
    let mut conduct = Conduct::new(name, auth);
    if one_in(world, 4) {
        conduct.passwords = pick(world, &[vec!["guess".into()], vec!["guess".into(), "secret".into()], vec!["secret".into(); 3]]);
    }
    conduct.new_password = one_in(world, 2).then(|| "better".into());
    conduct.ipv6 = one_in(world, 2);
    conduct.ipv4 = !conduct.ipv6 || !one_in(world, 3);
    let odd = [
        Binding::Sha1,
        Binding::Early,
        Binding::Twice,
        Binding::WrongMac,
        Binding::WrongNonce,
        Binding::WrongCertificate,
        Binding::ZeroKeys,
        Binding::Missing,
    ];
    if one_in(world, 4) {
        conduct.binding = pick(world, &odd);
    }
    if one_in(world, 3) {
        conduct.computer = Some(pick(world, &["LAPTOP", "DESKTOP"]).into());
    }
    for _ in 0..world.random(3) {
        let (step, act) = (pick(world, &Step::ALL), act(world));
        conduct.acts.push((step, act));
    }
    conduct.echo = !one_in(world, 4);
    conduct.acknowledges_disconnect = !one_in(world, 4);
    conduct.acknowledges_terminate = !one_in(world, 4);
    conduct.answers_abort = !one_in(world, 4);
    conduct.latency = millis(pick(world, &[0, 1, 10, 150, 900]));
    conduct
}

/// Somebody does something, to one of the calls or to all.
fn meddle(world: &mut World, calls: &[CallId]) {
    let call = pick(world, calls);
    let session = world.session(call);
    match world.random(10) {
        0 if !world.client(call).gone => world.cut(call),
        1 | 2 => {
            let reason = pick(world, &[CloseReason::Operator, CloseReason::SessionTimeout]);
            world.with_gateway(|gateway, now| gateway.close(now, session, reason));
        }
        3 | 4 => {
            let act = act(world);
            let after = millis(world.random(3000));
            world.act_after(after, call, act);
        }
        5 => world.inner(call, &[0x45; 20]),
        _ => world.traffic(call),
    }
}

fn run(seed: u64) -> [usize; 3] {
    let options = Options {
        users: users(),
        ipv6: true,
        offer_sha1: seed.is_multiple_of(2),
        pool: 20,
        half_open_max: 40,
        sessions_max: 50,
        ..Options::default()
    };
    let mut world = World::new(options);
    world.seed(seed);
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let conduct = conduct(&mut world);
        calls.push(world.dial(conduct));
        let pause = pick(&mut world, &[0, 0, 3, 50, 500, 4000]);
        world.run(millis(pause));
        for _ in 0..world.random(3) {
            meddle(&mut world, &calls);
        }
    }
    world.run(secs(200));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
    assert_told(&world, &calls)
}

/// Every record has come to an end, and every failure says why. Returns how many came up, failed, and ended otherwise.
fn assert_told(world: &World, calls: &[CallId]) -> [usize; 3] {
    let mut counts = [0; 3];
    for &call in calls {
        let attempt = world.attempt(call);
        let opened = world.stream(call).opened.is_some();
        let kind = match &attempt.outcome {
            Outcome::Ended(_) if opened => 0,
            Outcome::Failed(failure) if !opened => {
                assert!(!failure.cause.is_empty());
                1
            }
            Outcome::Ended(reason) => {
                assert!(matches!(reason, CloseReason::Operator | CloseReason::Shutdown | CloseReason::Replaced), "{attempt:?}");
                2
            }
            other => panic!("{other:?} of {attempt:?}"),
        };
        counts[kind] += 1;
    }
    counts
}

#[test]
fn whatever_happens_nothing_is_left_and_nothing_opens_unbound() {
    let mut total = [0; 3];
    for seed in 0..SEEDS {
        let counts = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    // The mixture is one: plenty of each kind.
    assert!(total[0] > 300 && total[1] > 1000 && total[2] > 50, "{total:?}");
}
