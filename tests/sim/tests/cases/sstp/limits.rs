//! Limits, crowds, and a data plane that refuses.
use super::{alice, assert_failed, is_up, millis, secs, up, user, world};
use evergate::gateway::Turned;
use evergate::outcome::{Failure, Fault, Stage};
use sim::sstp::{Act, Auth, CallId, Conduct, Options, Step, User, World};
use std::net::SocketAddr;

#[test]
fn the_most_sessions_answer_with_503() {
    let mut world = World::new(Options { sessions_max: 3, ..Options::default() });
    let calls: Vec<_> = (0..3).map(|_| up(&mut world, alice(Auth::MsChapV2))).collect();
    for _ in 0..5 {
        let call = world.dial(alice(Auth::MsChapV2));
        world.run(secs(1));
        assert_eq!(world.client(call).heard(), ["HTTP 503", "closed"]);
        let detail = assert_failed(&mut world, call, "http", Some("0x800704C9"), "server.max_sessions = 3");
        assert!(detail.fix.unwrap().contains("server.max_sessions"));
    }
    assert!(calls.iter().all(|call| is_up(&world, *call)));
    world.act(calls[1], Act::HangUp);
    world.run(secs(1));
    up(&mut world, alice(Auth::MsChapV2));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn the_most_half_open_calls_answer_with_503_and_spare_those_that_are_up() {
    let mut world = World::new(Options { half_open_max: 5, ..Options::default() });
    let ups: Vec<_> = (0..10).map(|_| up(&mut world, alice(Auth::MsChapV2))).collect();
    let half: Vec<_> = (0..5).map(|_| world.dial(alice(Auth::MsChapV2).at(Step::Dialled, Act::Mute))).collect();
    let refused = world.dial(alice(Auth::MsChapV2));
    world.run(secs(1));
    assert_eq!(world.client(refused).heard(), ["HTTP 503", "closed"]);
    assert_failed(&mut world, refused, "http", Some("0x800704C9"), "limits.half_open_max = 5");
    assert_eq!((world.gateway.summary().sessions, world.gateway.summary().half_open), (10, 5));
    // A minute for CALL_CONNECT_REQUEST, three seconds for the answer to the abort.
    world.run(secs(63));
    assert_eq!(world.gateway.summary().half_open, 0);
    up(&mut world, alice(Auth::MsChapV2));
    assert!(ups.iter().all(|call| is_up(&world, *call)) && half.iter().all(|call| world.client(*call).gone));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn a_thousand_half_open_calls_time_out_and_leave_nothing() {
    let mut world = World::new(Options {
        users: vec![("alice", user("secret")), ("bob", User { delay: secs(25), ..user("secret") })],
        pool: 250,
        ..Options::default()
    });
    let steps = [Step::Dialled, Step::Requested, Step::Acked, Step::LcpUp, Step::AuthSent, Step::AuthDone, Step::Bound];
    let calls: Vec<_> = (0..1000)
        .map(|number| {
            world.run(millis(3));
            let act = if number % 2 == 0 { Act::Mute } else { Act::Stall };
            let user = if number % 3 == 0 { "bob" } else { "alice" };
            let auth = if number % 5 == 0 { Auth::MsChapV2 } else { Auth::EapMsChapV2 };
            world.dial(Conduct::new(user, auth).at(steps[number % steps.len()], act))
        })
        .collect();
    assert!(world.gateway.summary().half_open > 900);
    // Among them a client that does all right.
    let good = up(&mut world, alice(Auth::Pap));
    world.run(secs(160));
    assert_eq!((world.gateway.summary().half_open, world.gateway.summary().sessions, world.leased()), (0, 1, 1));
    assert!(calls.iter().all(|call| world.client(*call).gone || world.client(*call).conduct.acts[0].1 == Act::Mute));
    world.act(good, Act::HangUp);
    world.finish();
    world.assert_empty();
}

#[test]
fn a_thousand_sessions_come_up_live_and_are_shut_down() {
    let mut world = World::new(Options { pool: 250, users: vec![("alice", user("secret"))], ..Options::default() });
    let calls: Vec<CallId> = (0..240).map(|_| world.dial(alice(Auth::MsChapV2))).collect();
    world.run(secs(600));
    assert!(calls.iter().all(|call| is_up(&world, *call)));
    assert_eq!(world.leased(), 240);
    let silent: Vec<_> = calls.iter().step_by(3).copied().collect();
    for call in &silent {
        world.act(*call, Act::Mute);
    }
    world.run(secs(130));
    assert_eq!(world.gateway.summary().sessions, 160);
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn a_data_plane_that_does_not_take_the_connection_is_named() {
    let mut world = world();
    world.gateway.plane.adopt_error = Some("too many streams".into());
    let call = world.dial(alice(Auth::MsChapV2));
    world.finish();
    world.assert_empty();
    assert_failed(&mut world, call, "http", Some("0x800704D4"), "the data plane does not take the connection: too many streams");
}

#[test]
fn a_data_plane_that_does_not_open_ends_the_call() {
    let mut world = world();
    world.gateway.plane.open_error = Some("no route to the client's address".into());
    let call = world.dial(alice(Auth::MsChapV2));
    world.finish();
    world.assert_empty();
    assert_failed(&mut world, call, "ipcp", Some("720"), "no route to the client's address");
    let heard = world.client(call).heard();
    assert_eq!(heard[heard.len() - 3..], ["LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
}

#[test]
fn connections_that_never_became_sstp_have_a_record() {
    let mut world = world();
    let address: SocketAddr = "192.0.2.1:443".parse().unwrap();
    let failure = Failure {
        stage: Stage::Tls,
        fault: Fault::PeerIncompatible,
        notify: Some("unknown_ca"),
        eap: None,
        remedy: None,
        cause: "alert".into(),
    };
    let turned = Turned { path: ike::Path::between(address, address), failure: failure.clone(), notes: vec!["SNI".into()] };
    world.with_gateway(|gateway, now| gateway.turned_away(now, policy::network::Tunnel::Sstp, turned));
    world.finish();
    world.assert_empty();
    let attempt = world.gateway.attempts.iter().next().unwrap();
    assert_eq!(attempt.outcome, evergate::attempts::Outcome::Failed(failure));
}
