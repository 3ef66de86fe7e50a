//! What is done for every session grows with their number only in sum: no turn does it for all, and no request looks at all.
use super::*;
use crate::gateway::round::{PERIOD, SLICE};
use radius_client::dynamic::{Action, DynamicRequest, Identification};

const SESSIONS: u64 = 1_000;

fn crowd(idle: Option<Duration>) -> World {
    let mut world = World::empty(2_000, &[("all", "*", true)]);
    world.gateway.authority.policies[0].settings.idle_timeout = idle;
    for number in 1..=SESSIONS {
        let user = format!("u{number}");
        assert!(world.login(number, &Caller { user: &user, ..Caller::default() }, &Accept::default()));
        let inner = IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + number as u32));
        world.gateway.established(world.now, SessionId(number), vec![inner]);
    }
    world.asked();
    world
}

/// Goes through one round: how many sessions each turn looked at.
fn turns(world: &mut World) -> Vec<usize> {
    let end = world.gateway.poll_timeout().unwrap() + PERIOD;
    let mut turns = Vec::new();
    while let Some(at) = world.gateway.poll_timeout().filter(|at| *at < end) {
        world.now.instant = at;
        world.gateway.plane.read.set(0);
        world.gateway.timeout(world.now);
        turns.push(world.gateway.plane.read.get());
    }
    turns
}

#[test]
fn counters_of_all_are_read_in_each_round_and_never_in_one_turn() {
    let mut world = crowd(None);
    for _ in 0..3 {
        let turns = turns(&mut world);
        assert_eq!(turns.iter().sum::<usize>(), SESSIONS as usize, "{turns:?}");
        assert!(turns.iter().all(|looked| *looked <= SLICE), "{turns:?}");
    }
}

#[test]
fn idle_sessions_are_found_as_soon_as_before() {
    let limit = Duration::from_secs(5);
    let mut world = crowd(Some(limit));
    world.gateway.settings.accounting = None;
    let began = world.now.instant;
    let mut found = 0;
    while found < SESSIONS as usize {
        world.now.instant = world.gateway.poll_timeout().unwrap();
        assert!(world.now.instant <= began + limit + 2 * PERIOD, "{found}");
        let Some(slice) = world.gateway.idle_check.slice(world.now.instant, &world.gateway.live) else {
            world.gateway.timeout(world.now);
            continue;
        };
        let idle = world.gateway.idle(world.now, &slice.ids);
        world.gateway.idle_check.looked(true, slice.is_last);
        assert!(idle.sessions.is_empty() || world.now.instant >= began + limit);
        found += idle.sessions.len();
    }
}

#[test]
fn a_round_ends_where_there_is_nothing_to_look_for() {
    let mut world = World::empty(10, &[("all", "*", true)]);
    world.gateway.authority.policies[0].settings.idle_timeout = Some(Duration::from_secs(3_600));
    assert!(world.login(1, &Caller::default(), &Accept::default()));
    world.gateway.established(world.now, SessionId(1), vec![]);
    assert!(world.gateway.idle_check.poll_timeout().is_some() && world.gateway.checkpoint.poll_timeout().is_some());
    world.gateway.closed(world.now, SessionId(1), CloseReason::PeerDeleted, None);
    world.pass(2);
    world.pass(2);
    assert!(world.gateway.idle_check.poll_timeout().is_none() && world.gateway.checkpoint.poll_timeout().is_none());
}

#[test]
fn who_is_named_by_radius_is_found_by_an_index() {
    let mut world = crowd(None);
    let attempt = world.gateway.live[&SessionId(700)].attempt;
    let acct_session_id = world.gateway.attempts.get(attempt).unwrap().id.to_string();
    let multi_session_id = world.gateway.multi_session_id(SessionId(700)).unwrap();
    let address = IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + 700));
    for named in [
        Identification::AcctSessionId(acct_session_id.clone()),
        Identification::AcctMultiSessionId(multi_session_id),
        Identification::FramedAddress(address),
        Identification::UserName("U700".into()),
    ] {
        let candidates = world.gateway.candidates(std::slice::from_ref(&named)).expect("an index").cloned();
        assert_eq!(candidates.unwrap_or_default().into_iter().collect::<Vec<_>>(), [SessionId(700)], "{named:?}");
    }
    let ask = |world: &mut World, sessions: Vec<Identification>| {
        let request = DynamicRequest { client: "nps".into(), sessions, action: Action::Disconnect };
        world.gateway.dynamic(world.now, &request).is_ok()
    };
    // Every attribute has to fit, whichever finds the session.
    let other = Identification::UserName("u701".into());
    assert!(!ask(&mut world, vec![Identification::FramedAddress(address), other]));
    assert!(!ask(&mut world, vec![Identification::AcctSessionId("1-999999".into())]));
    assert!(ask(&mut world, vec![Identification::CallingStationId("192.0.2.2".into()), Identification::AcctSessionId(acct_session_id)]));
    world.gateway.closed(world.now, SessionId(700), CloseReason::Operator, None);
    assert!(!ask(&mut world, vec![Identification::FramedAddress(address)]));
}
