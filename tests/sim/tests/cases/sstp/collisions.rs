//! Both sides act at once, connections break at every moment, and messages come where they have no business.
use super::{alice, assert_failed, assert_stopped, is_up, millis, secs, up, user, world, world_of};
use evergate::attempts::Outcome;
use evergate::outcome::CloseReason;
use radius_client::TerminateCause;
use sim::sstp::{Act, Auth, Binding, CallId, Conduct, Options, Step, User, World};

const METHODS: [Auth; 4] = [Auth::EapMsChapV2, Auth::MsChapV2, Auth::Chap, Auth::Pap];

/// CALL_CONNECT_REQUEST, ECHO_REQUEST.
const REQUEST: &[u8] = &[0x10, 1, 0, 14, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1];
const ECHO: &[u8] = &[0x10, 1, 0, 8, 0, 8, 0, 0];

/// RADIUS answers after 50 ms, so that logins take some 300 ms in all.
fn unhurried() -> World {
    let delay = millis(50);
    World::new(Options { users: vec![("alice", User { delay, retry: true, ..user("secret") })], ipv6: true, ..Options::default() })
}

fn whole(auth: Auth) -> Conduct {
    Conduct { ipv6: true, computer: Some("LAPTOP".into()), ..alice(auth) }
}

/// Ends whatever is left, and finds nothing left behind.
#[track_caller]
fn assert_leaves_nothing(world: &mut World) {
    world.run(secs(200));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn a_connection_that_breaks_at_any_moment_leaves_nothing() {
    for auth in METHODS {
        for moment in 0..400 {
            let mut world = unhurried();
            let call = world.dial(whole(auth));
            world.run(millis(moment));
            world.cut(call);
            assert_eq!((world.radius.waiting(), world.leased()), (0, 0), "{auth:?} after {moment} ms");
            assert_eq!((world.gateway.summary().sessions, world.gateway.summary().half_open), (0, 0));
            world.finish();
            world.assert_empty();
            if world.stream(call).opened.is_some() {
                assert_stopped(&world, call, TerminateCause::LostCarrier);
            } else {
                assert!(matches!(world.attempt(call).outcome, Outcome::Failed(_)));
            }
        }
    }
}

#[test]
fn a_client_that_does_anything_at_any_moment_leaves_nothing() {
    let acts =
        [Act::Close, Act::Abort, Act::Disconnect, Act::HangUp, Act::Reopen, Act::Mute, Act::Stall, Act::Data, Act::Send(REQUEST.to_vec())];
    for auth in [Auth::EapMsChapV2, Auth::MsChapV2] {
        for act in &acts {
            for moment in (0..400).step_by(10) {
                let mut world = unhurried();
                let call = world.dial(whole(auth));
                world.act_after(millis(moment + 5), call, act.clone());
                assert_leaves_nothing(&mut world);
            }
        }
    }
}

#[test]
fn an_operator_and_a_client_that_end_a_session_at_once_agree() {
    let acts = [Act::Disconnect, Act::HangUp, Act::Abort, Act::Close, Act::Mute, Act::Reopen, Act::Data];
    for act in acts {
        for moment in (0..80).step_by(5) {
            let mut world = world();
            let call = up(&mut world, alice(Auth::MsChapV2));
            let (start, session) = (world.now(), world.session(call));
            world.act_after(millis(moment), call, act.clone());
            world.run(millis(20));
            world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
            world.finish();
            world.assert_empty();
            assert_eq!(world.books(call).len(), 2);
            // Terminate-Request twice and CALL_DISCONNECT are the longest way.
            assert!(world.attempt(call).ended_after.unwrap() < start + secs(12), "{act:?} after {moment} ms");
        }
    }
}

#[test]
fn disconnects_that_cross_wait_for_nobody_longer_than_five_seconds() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2));
    let (start, session) = (world.now(), world.session(call));
    world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
    // Our CALL_DISCONNECT leaves at 20 ms, when the answer to Terminate-Request is there; the client's leaves at 25 ms.
    world.act_after(millis(25), call, Act::Disconnect);
    world.finish();
    world.assert_empty();
    assert_stopped(&world, call, TerminateCause::AdminReset);
    let trace = &world.client(call).trace;
    let tail: Vec<_> = trace[trace.len() - 2..].iter().map(|(at, name)| (*at - start, name.as_str())).collect();
    assert_eq!(tail, [(millis(30), "CALL_DISCONNECT 0"), (millis(5_030), "closed")]);
}

#[test]
fn an_abort_in_answer_to_a_disconnect_ends_the_call() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2));
    let (start, session) = (world.now(), world.session(call));
    world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
    world.act_after(millis(25), call, Act::Abort);
    world.finish();
    world.assert_empty();
    assert_stopped(&world, call, TerminateCause::AdminReset);
    let trace = &world.client(call).trace;
    let tail: Vec<_> = trace[trace.len() - 3..].iter().map(|(at, name)| (*at - start, name.as_str())).collect();
    assert_eq!(tail, [(millis(30), "CALL_DISCONNECT 0"), (millis(45), "CALL_ABORT 0"), (millis(1_045), "closed")]);
}

#[test]
fn aborts_that_cross_linger_a_second() {
    let mut world = world();
    let conduct = Conduct { binding: Binding::WrongMac, ..alice(Auth::MsChapV2) };
    let call = world.dial(conduct.at(Step::Bound, Act::Abort));
    world.finish();
    world.assert_empty();
    let (client, aborted) = (world.client(call), world.client(call).heard_at("CALL_ABORT 4").unwrap());
    assert_eq!(client.trace.last(), Some(&(aborted + secs(1), "closed".into())));
    assert_failed(&mut world, call, "crypto_binding", Some("0x800704D4"), "CALL_ABORT sent");
}

#[test]
fn an_abort_that_is_not_answered_waits_three_seconds() {
    let mut world = world();
    let call = world.dial(Conduct { binding: Binding::WrongMac, answers_abort: false, ..alice(Auth::MsChapV2) });
    world.finish();
    world.assert_empty();
    let aborted = world.client(call).heard_at("CALL_ABORT 4").unwrap();
    assert_eq!(world.client(call).trace.last(), Some(&(aborted + secs(3), "closed".into())));
}

#[test]
fn the_answer_of_radius_finds_a_call_that_is_leaving() {
    // The abort of the client lingers for a second; RADIUS answers within it.
    for auth in METHODS {
        let mut world = world_of(User { delay: millis(500), ..user("secret") });
        let call = world.dial(alice(auth).at(Step::AuthSent, Act::Abort));
        world.finish();
        world.assert_empty();
        assert!(world.stream(call).opened.is_none());
        let heard = world.client(call).heard();
        assert_eq!(heard[heard.len() - 2..], ["CALL_ABORT 0", "closed"], "{auth:?}: nothing of PPP follows an abort");
    }
}

#[test]
fn messages_without_business_are_aborted() {
    let cases = [
        (Step::Requested, REQUEST, "CALL_ABORT 5"),
        (Step::LcpUp, REQUEST, "CALL_ABORT 5"),
        (Step::Up, REQUEST, "CALL_ABORT 5"),
        (Step::Dialled, ECHO, "CALL_ABORT 5"),
        (Step::Acked, ECHO, "CALL_ABORT 5"),
        (Step::AuthSent, ECHO, "CALL_ABORT 5"),
    ];
    for (step, message, abort) in cases {
        let mut world = world();
        let call = world.dial(alice(Auth::MsChapV2).at(step, Act::Send(message.to_vec())));
        world.finish();
        world.assert_empty();
        let client = world.client(call);
        assert_eq!(client.heard_at(abort).map(|at| client.trace.last().unwrap().0 - at), Some(millis(1_020)), "{step:?} {message:?}");
        if step == Step::Up {
            assert_stopped(&world, call, TerminateCause::NasError);
        }
    }
}

#[test]
fn an_echo_of_the_client_is_answered_once_the_call_is_bound() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2).at(Step::Bound, Act::Send(ECHO.to_vec())));
    assert!(world.client(call).heard().contains(&"ECHO_RESPONSE"));
}

#[test]
fn a_second_binding_ends_the_call() {
    let mut world = world();
    let call = world.dial(Conduct { binding: Binding::Twice, ..alice(Auth::MsChapV2) });
    world.finish();
    world.assert_empty();
    assert!(world.client(call).heard_at("CALL_ABORT 5").is_some());
    assert!(world.stream(call).opened.is_none());
}

#[test]
fn what_cannot_be_delimited_ends_the_connection_without_a_word() {
    for step in [Step::Dialled, Step::Acked, Step::AuthSent, Step::Bound, Step::Up] {
        let mut world = world();
        let call = world.dial(alice(Auth::MsChapV2).at(step, Act::Send(vec![0x20, 1, 0, 8, 0, 8, 0, 0])));
        world.finish();
        world.assert_empty();
        assert_eq!(world.client(call).trace.last().unwrap().1, "closed", "{step:?}");
        assert!(!world.client(call).heard().iter().any(|name| name.starts_with("CALL_ABORT") || name.starts_with("CALL_DISC")));
    }
}

#[test]
fn data_before_the_binding_is_dropped_and_does_no_harm() {
    for step in Step::ALL {
        if step == Step::AuthAgain {
            continue;
        }
        let mut world = world();
        let call = up(&mut world, alice(Auth::MsChapV2).at(step, Act::Data).at(step, Act::Data));
        assert!(is_up(&world, call), "{step:?}");
        assert_eq!(world.gateway.plane.wrong, Vec::<String>::new());
    }
}

#[test]
fn lcp_opened_anew_before_the_login_begins_a_new_one() {
    for step in [Step::LcpSent, Step::LcpUp, Step::AuthSent] {
        let mut world = world_of(User { delay: millis(200), ..user("secret") });
        let conduct = Conduct { passwords: vec!["secret".into(); 3], ..alice(Auth::MsChapV2) };
        let call = up(&mut world, conduct.at(step, Act::Reopen));
        world.act(call, Act::HangUp);
        world.finish();
        world.assert_empty();
    }
}

#[test]
fn lcp_opened_anew_after_the_login_ends_the_call() {
    for step in [Step::AuthDone, Step::Bound, Step::NetworkSent, Step::Up] {
        let mut world = world();
        let call = world.dial(Conduct { passwords: vec!["secret".into(); 3], ..alice(Auth::MsChapV2) }.at(step, Act::Reopen));
        world.finish();
        world.assert_empty();
        let note = "the client opened LCP anew after its login";
        if step == Step::Up {
            assert_stopped(&world, call, TerminateCause::NasError);
        } else {
            assert_failed(&mut world, call, "lcp", Some("919 or 734"), note);
        }
        assert_eq!(world.radius.asked, 1, "{step:?}");
    }
}

#[test]
fn two_calls_of_one_computer_at_once_leave_one() {
    for lead in (0..200).step_by(10) {
        let mut world = unhurried();
        let first = world.dial(whole(Auth::MsChapV2));
        world.run(millis(lead));
        let second = world.dial(whole(Auth::MsChapV2));
        world.run(secs(30));
        let ups: Vec<CallId> = [first, second].into_iter().filter(|call| is_up(&world, *call)).collect();
        assert_eq!(ups, [second], "{lead} ms apart");
        assert_eq!(world.gateway.summary().sessions, 1);
        assert_leaves_nothing(&mut world);
    }
}

#[test]
fn a_shutdown_at_any_moment_leaves_nothing() {
    for auth in METHODS {
        for moment in (0..400).step_by(5) {
            let mut world = unhurried();
            let call = world.dial(whole(auth));
            world.run(millis(moment));
            world.with_gateway(|gateway, now| gateway.shutdown(now));
            world.run(secs(30));
            world.assert_empty();
            assert_eq!(world.attempt(call).outcome, Outcome::Ended(CloseReason::Shutdown), "{auth:?} after {moment} ms");
        }
    }
}
