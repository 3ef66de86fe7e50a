//! What happens when nothing happens ([MS-SSTP] 3.1.2, 3.3.2).
use super::{alice, assert_failed, assert_stopped, is_up, millis, secs, up, user, world, world_of};
use evergate::outcome::CloseReason;
use radius_client::TerminateCause;
use sim::sstp::{Act, Answering, Auth, Binding, Conduct, Options, Step, User, World};
use std::time::Duration;

/// A client that is silent from this step on, and what it heard at the end: the abort and the end of the connection.
fn silent(auth: Auth, step: Step, act: &Act) -> (World, sim::sstp::CallId, Option<Duration>, Duration) {
    let mut world = world();
    let call = world.dial(alice(auth).at(step, act.clone()));
    world.finish();
    world.assert_empty();
    let (closed, last) = world.client(call).trace.last().unwrap().clone();
    assert_eq!(last, "closed");
    let abort = world.client(call).heard_at("CALL_ABORT 8");
    (world, call, abort, closed)
}

#[test]
fn call_connect_request_is_due_in_sixty_seconds() {
    // The answer to our CALL_ABORT, and a second more; or three seconds without an answer.
    for (act, closed) in [(Act::Stall, millis(61_030)), (Act::Mute, millis(63_010))] {
        let (mut world, call, abort, at) = silent(Auth::MsChapV2, Step::Dialled, &act);
        assert_eq!((abort, at), (Some(millis(60_010)), closed));
        assert_failed(&mut world, call, "http", Some("0x800704D4"), "no CALL_CONNECT_REQUEST within 60 s");
    }
}

#[test]
fn call_connected_is_due_sixty_seconds_after_the_ack() {
    let silences = [
        (Auth::EapMsChapV2, Step::LcpUp),
        (Auth::MsChapV2, Step::LcpUp),
        (Auth::EapMsChapV2, Step::AuthSent),
        (Auth::EapMsChapV2, Step::AuthDone),
        (Auth::MsChapV2, Step::AuthDone),
        (Auth::Pap, Step::AuthDone),
    ];
    for (auth, step) in silences {
        for (act, closed) in [(Act::Stall, millis(61_050)), (Act::Mute, millis(63_030))] {
            let (world, call, abort, at) = silent(auth, step, &act);
            assert_eq!((abort, at), (Some(millis(60_030)), closed), "{auth:?} {step:?} {act:?}");
            assert!(world.stream(call).opened.is_none());
            assert_eq!(world.books(call), []);
        }
    }
}

#[test]
fn a_login_without_binding_times_out_although_ppp_is_up() {
    for auth in [Auth::MsChapV2, Auth::Pap] {
        let mut world = world();
        let call = world.dial(Conduct { binding: Binding::Missing, ..alice(auth) });
        world.run(secs(59));
        assert!(world.client(call).reached(Step::Up));
        assert!(!is_up(&world, call) && world.stream(call).opened.is_none());
        assert_eq!((world.gateway.summary().half_open, world.leased()), (1, 1));
        world.finish();
        world.assert_empty();
        assert_eq!(world.client(call).heard_at("CALL_ABORT 8"), Some(millis(60_030)));
    }
}

#[test]
fn lcp_that_is_not_answered_ends_by_its_own_count() {
    for (step, first) in [(Step::Requested, 1020), (Step::Acked, 1020), (Step::LcpSent, 40)] {
        let (mut world, call, abort, at) = silent(Auth::MsChapV2, step, &Act::Stall);
        // Ten requests, three seconds apart; the last one waits as long.
        assert_eq!((abort, at), (None, millis(first + 30_000 + 30)), "{step:?}");
        assert_eq!(world.client(call).heard().iter().filter(|name| **name == "LCP Configure-Request").count(), 10);
        assert_failed(&mut world, call, "lcp", Some("721"), "did not answer 10 LCP Configure-Requests");
    }
}

#[test]
fn a_bound_call_whose_network_does_not_come_up_ends() {
    // From the first Terminate-Request: another one, CALL_DISCONNECT after six seconds, and five more for who does not acknowledge it.
    for (act, closed) in [(Act::Stall, millis(6_020)), (Act::Mute, secs(11))] {
        let (mut world, call, abort, at) = silent(Auth::MsChapV2, Step::Bound, &act);
        let terminated = world.client(call).heard_at("LCP Terminate-Request").unwrap();
        assert!(terminated > secs(60) && terminated < secs(61), "{terminated:?}");
        assert_eq!((abort, at - terminated), (None, closed), "{act:?}");
        assert_failed(&mut world, call, "ipcp", Some("720"), "neither IPCP nor IPv6CP opened within 60 s");
    }
}

#[test]
fn a_silent_client_is_asked_once_and_dropped_without_abort() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2).at(Step::Up, Act::Mute));
    let heard = world.client(call).trace.len();
    let last = world.client(call).trace.last().unwrap().0;
    world.finish();
    world.assert_empty();
    // The last word of the client was 40 ms earlier or so: it counts from its arrival.
    let tail = &world.client(call).trace[heard..];
    assert_eq!(tail.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["ECHO_REQUEST", "closed"]);
    assert_eq!(tail[1].0 - tail[0].0, secs(60));
    assert!(tail[0].0 - last <= secs(60) && tail[0].0 - last > millis(59_900));
    assert_stopped(&world, call, TerminateCause::LostCarrier);
}

#[test]
fn answers_to_echoes_keep_a_call_up() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2));
    world.run(secs(3600));
    assert!(is_up(&world, call));
    let echoes = world.client(call).heard().iter().filter(|name| **name == "ECHO_REQUEST").count();
    assert_eq!(echoes, 59);
}

#[test]
fn data_on_the_plane_spares_the_echo() {
    let mut world = world();
    let call = up(&mut world, Conduct { echo: false, ..alice(Auth::MsChapV2) });
    for _ in 0..100 {
        world.run(secs(50));
        world.traffic(call);
    }
    assert!(is_up(&world, call));
    assert!(!world.client(call).heard().contains(&"ECHO_REQUEST"));
    // The last packet, a minute, the echo, another minute.
    let last = world.now();
    world.finish();
    world.assert_empty();
    assert_eq!(world.client(call).heard_at("ECHO_REQUEST"), Some(last + secs(60) + millis(10)));
    assert_eq!(world.client(call).trace.last(), Some(&(last + secs(120) + millis(10), "closed".into())));
    assert_stopped(&world, call, TerminateCause::LostCarrier);
}

#[test]
fn data_after_an_echo_is_as_good_as_its_answer() {
    let mut world = world();
    let call = up(&mut world, Conduct { echo: false, ..alice(Auth::MsChapV2) });
    for _ in 0..20 {
        world.run(secs(100));
        world.traffic(call);
    }
    assert!(is_up(&world, call));
    // Data that came before the echo is no answer.
    world.run(secs(30));
    world.traffic(call);
    let last = world.now();
    world.finish();
    assert_eq!(world.client(call).trace.last(), Some(&(last + secs(120) + millis(10), "closed".into())));
    world.assert_empty();
}

#[test]
fn a_slow_radius_server_delays_nobody_else() {
    let mut world = World::new(Options {
        users: vec![("alice", User { delay: secs(40), ..user("secret") }), ("bob", user("secret"))],
        ..Options::default()
    });
    let bob = up(&mut world, Conduct::new("bob", Auth::MsChapV2));
    let calls: Vec<_> = (0..20).map(|_| world.dial(alice(Auth::MsChapV2))).collect();
    world.run(secs(39));
    assert_eq!(world.radius.waiting(), 20);
    assert!(!calls.iter().any(|call| is_up(&world, *call)));
    let carol = up(&mut world, Conduct::new("bob", Auth::EapMsChapV2));
    assert!(world.client(carol).trace.last().unwrap().0 < secs(40));
    world.run(secs(5));
    assert!(calls.iter().all(|call| is_up(&world, *call)));
    world.run(secs(200));
    let echoes = |call| world.client(call).heard().iter().filter(|name| **name == "ECHO_REQUEST").count();
    assert_eq!((echoes(bob), echoes(calls[0])), (4, 3));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn an_answer_of_radius_that_takes_its_time_is_in_time() {
    for auth in [Auth::MsChapV2, Auth::Chap, Auth::Pap] {
        let mut world = world_of(User { delay: secs(40), ..user("secret") });
        let call = up(&mut world, alice(auth));
        assert!(!world.client(call).heard().contains(&"CALL_ABORT 8"));
        assert_eq!(world.radius.asked, 1, "nothing was asked twice");
    }
    // Longer than [MS-SSTP] gives the client alone, as a push to a phone may be.
    for auth in [Auth::MsChapV2, Auth::Pap] {
        let mut world = world_of(User { delay: secs(100), ..user("secret") });
        let call = world.dial(alice(auth));
        world.run(secs(110));
        assert!(is_up(&world, call) && world.client(call).reached(Step::Up));
        assert_eq!((world.radius.asked, world.client(call).heard_at("CALL_ABORT 8")), (1, None));
    }
    // Three rounds.
    let mut world = world_of(User { delay: secs(35), ..user("secret") });
    let call = world.dial(alice(Auth::EapMsChapV2));
    world.run(secs(119));
    assert!(is_up(&world, call) && world.client(call).reached(Step::Up));
}

#[test]
fn a_silent_radius_server_is_named_and_no_password_blamed() {
    for (auth, answer) in [(Auth::EapMsChapV2, "EAP Failure"), (Auth::MsChapV2, "CHAP Failure"), (Auth::Pap, "PAP Nak")] {
        let mut world = world_of(User { answering: Answering::Silent, ..user("secret") });
        let call = world.dial(alice(auth));
        world.finish();
        world.assert_empty();
        assert_eq!(world.client(call).heard_at(answer), None, "a wrong password it was not");
        assert!(world.client(call).heard_at("LCP Terminate-Request").is_some_and(|at| at > secs(30) && at < secs(31)));
        let detail = assert_failed(&mut world, call, "radius", Some("619 or 718"), "radius radius1: no valid reply after 3 tries");
        assert!(detail.fix.unwrap().contains("and that it runs"));
    }
}

#[test]
fn radius_that_takes_longer_than_a_login_may_is_named() {
    for auth in [Auth::EapMsChapV2, Auth::MsChapV2, Auth::Pap] {
        for user in [User { answering: Answering::Void, ..user("secret") }, User { delay: secs(130), ..user("secret") }] {
            let mut world = world_of(user);
            let call = world.dial(alice(auth));
            world.finish();
            world.assert_empty();
            assert_eq!(world.client(call).heard_at("CALL_ABORT 8"), Some(millis(120_030)));
            let detail = assert_failed(&mut world, call, "radius", Some("619 or 718"), "RADIUS");
            assert!(detail.fix.unwrap().contains("and that it runs"));
            assert!(!world.radius.forgotten.is_empty());
        }
    }
}

#[test]
fn an_unanswered_disconnect_waits_five_seconds() {
    for (acknowledges, closed) in [(true, millis(40)), (false, secs(5) + millis(20))] {
        let mut world = world();
        let call = up(&mut world, Conduct { acknowledges_disconnect: acknowledges, ..alice(Auth::MsChapV2) });
        let (start, session) = (world.now(), world.session(call));
        world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
        world.finish();
        world.assert_empty();
        let trace = &world.client(call).trace;
        let names: Vec<_> = trace[trace.len() - 3..].iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
        let at: Vec<_> = trace[trace.len() - 3..].iter().map(|(at, _)| *at - start).collect();
        assert_eq!(at, [millis(10), millis(30), millis(10) + closed]);
    }
}

#[test]
fn an_unanswered_terminate_request_is_repeated_once() {
    let mut world = world();
    let call = up(&mut world, Conduct { acknowledges_terminate: false, ..alice(Auth::MsChapV2) });
    let (start, session) = (world.now(), world.session(call));
    world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
    world.finish();
    world.assert_empty();
    let trace = &world.client(call).trace;
    let tail: Vec<_> = trace[trace.len() - 4..].iter().map(|(at, name)| (*at - start, name.as_str())).collect();
    let wanted = [
        (millis(10), "LCP Terminate-Request"),
        (millis(3_010), "LCP Terminate-Request"),
        (millis(6_010), "CALL_DISCONNECT 0"),
        (millis(6_030), "closed"),
    ];
    assert_eq!(tail, wanted);
    assert_stopped(&world, call, TerminateCause::AdminReset);
}
