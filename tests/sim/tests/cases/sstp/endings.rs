//! How sessions end, in whose books.
use super::{alice, assert_failed, assert_stopped, is_up, millis, secs, up, user, world, world_of};
use evergate::api::types::Disconnected;
use evergate::api::{Disconnect, Request, Response};
use evergate::attempts::Outcome;
use evergate::outcome::CloseReason;
use radius_client::{Accept, TerminateCause};
use sim::sstp::{Act, Auth, CallId, Conduct, Step, User, World};

#[track_caller]
fn assert_ended(world: &mut World, call: CallId, reason: CloseReason, cause: TerminateCause) {
    world.finish();
    world.assert_empty();
    assert_eq!(world.attempt(call).outcome, Outcome::Ended(reason));
    assert_stopped(world, call, cause);
}

/// The gateway's last words.
fn farewell(world: &World, call: CallId) -> Vec<&str> {
    let heard = world.client(call).heard();
    heard[heard.len() - 3..].to_vec()
}

#[test]
fn a_session_timeout_ends_as_a_regular_disconnect() {
    let accept = Accept { session_timeout: Some(secs(600)), ..Accept::default() };
    let mut world = world_of(User { accept, ..user("secret") });
    let call = up(&mut world, alice(Auth::MsChapV2));
    let since = world.now();
    world.run(secs(590));
    assert!(is_up(&world, call));
    assert_ended(&mut world, call, CloseReason::SessionTimeout, TerminateCause::SessionTimeout);
    assert_eq!(farewell(&world, call), ["LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
    let told = world.client(call).heard_at("LCP Terminate-Request").unwrap();
    assert!(told <= since + secs(600) && told > since + secs(599), "{told:?}");
    let record = world.radius.records.last().unwrap();
    assert_eq!(record.session_time.as_secs(), 600);
}

#[test]
fn an_idle_timeout_counts_data_and_not_echoes() {
    let accept = Accept { idle_timeout: Some(secs(300)), ..Accept::default() };
    let mut world = world_of(User { accept, ..user("secret") });
    let call = up(&mut world, alice(Auth::MsChapV2));
    for _ in 0..10 {
        world.run(secs(200));
        world.traffic(call);
    }
    assert!(is_up(&world, call));
    let last = world.now();
    assert_ended(&mut world, call, CloseReason::IdleTimeout, TerminateCause::IdleTimeout);
    let told = world.client(call).heard_at("LCP Terminate-Request").unwrap() - last;
    assert!(told >= secs(300) && told <= secs(302), "{told:?}");
    let record = world.radius.records.last().unwrap();
    assert_eq!((record.input_packets, record.input_octets), (10, 1000));
    assert_eq!(farewell(&world, call), ["LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
}

#[test]
fn an_idle_client_that_does_not_answer_is_told_once_and_gone_in_time() {
    let accept = Accept { idle_timeout: Some(secs(30)), ..Accept::default() };
    let mut world = world_of(User { accept, ..user("secret") });
    let call = up(&mut world, alice(Auth::MsChapV2).at(Step::Up, Act::Mute));
    assert_ended(&mut world, call, CloseReason::IdleTimeout, TerminateCause::IdleTimeout);
    let heard = world.client(call).heard();
    let tail: Vec<_> = heard.iter().skip_while(|name| **name != "LCP Terminate-Request").copied().collect();
    assert_eq!(tail, ["LCP Terminate-Request", "LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
}

#[test]
fn an_operator_disconnects_by_user_or_by_id() {
    let mut world = world();
    let calls = [up(&mut world, alice(Auth::MsChapV2)), up(&mut world, alice(Auth::EapMsChapV2)), up(&mut world, alice(Auth::Pap))];
    let id = world.session(calls[0]).0;
    let said =
        world.with_gateway(|gateway, now| gateway.control(now, &Request::Disconnect(Disconnect { id: Some(id), ..Disconnect::default() })));
    assert_eq!(said, Some(Response::Disconnected(Disconnected { ids: vec![id], blocks: vec![] })));
    world.run(secs(1));
    assert!(!is_up(&world, calls[0]) && is_up(&world, calls[1]) && is_up(&world, calls[2]));
    let said = world.with_gateway(|gateway, now| {
        gateway.control(now, &Request::Disconnect(Disconnect { user: Some("ALICE".into()), ..Disconnect::default() }))
    });
    assert_eq!(
        said,
        Some(Response::Disconnected(Disconnected { ids: vec![world.session(calls[1]).0, world.session(calls[2]).0], blocks: vec![] }))
    );
    for call in calls {
        assert_ended(&mut world, call, CloseReason::Operator, TerminateCause::AdminReset);
        assert_eq!(farewell(&world, call), ["LCP Terminate-Request", "CALL_DISCONNECT 0", "closed"]);
    }
}

#[test]
fn the_first_reason_stays_the_reason() {
    let mut world = world();
    let call = up(&mut world, Conduct { acknowledges_disconnect: false, acknowledges_terminate: false, ..alice(Auth::MsChapV2) });
    let session = world.session(call);
    for reason in [CloseReason::Operator, CloseReason::IdleTimeout, CloseReason::SessionTimeout] {
        world.with_gateway(|gateway, now| gateway.close(now, session, reason));
        world.run(secs(1));
    }
    assert_ended(&mut world, call, CloseReason::Operator, TerminateCause::AdminReset);
}

#[test]
fn a_shutdown_ends_every_call_whatever_its_state() {
    let mut world = world();
    let sessions = [up(&mut world, alice(Auth::MsChapV2)), up(&mut world, alice(Auth::EapMsChapV2).at(Step::Up, Act::Mute))];
    let half: Vec<_> = Step::ALL[..9].iter().map(|step| world.dial(alice(Auth::EapMsChapV2).at(*step, Act::Stall))).collect();
    world.run(secs(5));
    assert!(!world.gateway.is_quiet());
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    // The books are closed at once: a client that does not answer must not stay online in them.
    for call in sessions {
        assert_stopped(&world, call, TerminateCause::AdminReboot);
    }
    let late = world.dial(alice(Auth::MsChapV2));
    world.run(secs(20));
    world.assert_empty();
    assert_eq!(world.client(late).heard(), ["HTTP 503", "closed"]);
    assert_failed(&mut world, late, "http", Some("0x800704C9"), "the gateway is stopping");
    for call in half {
        let outcome = &world.attempt(call).outcome;
        assert!(matches!(outcome, Outcome::Ended(CloseReason::Shutdown)) || is_reason_of_old(outcome), "{outcome:?}");
    }
}

/// A half-open call that had failed before the shutdown.
fn is_reason_of_old(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

#[test]
fn a_shutdown_of_a_session_that_an_operator_ends_keeps_one_stop() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2).at(Step::Up, Act::Mute));
    let session = world.session(call);
    world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
    world.run(secs(1));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
    assert_eq!(world.books(call).len(), 2);
}

#[test]
fn the_same_computer_replaces_its_old_call() {
    let mut world = world();
    let laptop = || Conduct { computer: Some("LAPTOP".into()), ..alice(Auth::EapMsChapV2) };
    // Half dead: its connection broke without a word.
    let old = up(&mut world, laptop().at(Step::Up, Act::Mute));
    let other = up(&mut world, Conduct { computer: Some("DESKTOP".into()), ..alice(Auth::EapMsChapV2) });
    let nameless = up(&mut world, alice(Auth::EapMsChapV2));
    let new = up(&mut world, laptop());
    world.run(secs(20));
    assert_eq!(world.attempt(old).outcome, Outcome::Ended(CloseReason::Replaced));
    assert_stopped(&world, old, TerminateCause::LostCarrier);
    assert!([other, nameless, new].into_iter().all(|call| is_up(&world, call)));
    world.with_gateway(|gateway, now| gateway.shutdown(now));
    world.finish();
    world.assert_empty();
}

#[test]
fn a_computer_with_a_static_address_comes_back_before_its_old_call_is_missed() {
    let accept = Accept { framed_ip: Some(radius_client::FramedIp::Fixed("10.9.0.7".parse().unwrap())), ..Accept::default() };
    let mut world = world_of(User { accept, ..user("secret") });
    let laptop = || Conduct { computer: Some("LAPTOP".into()), ..alice(Auth::MsChapV2) };
    let old = up(&mut world, laptop().at(Step::Up, Act::Mute));
    world.run(secs(10));
    let new = up(&mut world, laptop());
    assert_eq!(world.client(new).ipv4(), Some("10.9.0.7".parse().unwrap()));
    // The old one is told, in vain, and takes no address with it.
    world.run(secs(20));
    assert_eq!(world.attempt(old).outcome, Outcome::Ended(CloseReason::Replaced));
    world.run(secs(200));
    assert!(is_up(&world, new));
    assert_eq!(world.leased(), 1);
    // Another computer of the user, and one without a name, have no claim to it.
    for computer in [Some("DESKTOP".into()), None] {
        let other = world.dial(Conduct { computer, ..alice(Auth::MsChapV2) });
        world.run(secs(5));
        assert_failed(&mut world, other, "address", Some("720 or 738"), "address 10.9.0.7 is in use by alice");
    }
    world.act(new, Act::HangUp);
    world.finish();
    world.assert_empty();
}

#[test]
fn a_connection_that_breaks_is_a_lost_carrier() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::MsChapV2));
    world.cut(call);
    assert_ended(&mut world, call, CloseReason::PeerLost, TerminateCause::LostCarrier);
}

#[test]
fn whatever_the_client_says_at_last_is_its_own_request() {
    for act in [Act::HangUp, Act::Disconnect, Act::Abort] {
        let mut world = world();
        let call = up(&mut world, alice(Auth::MsChapV2));
        world.act(call, act);
        assert_ended(&mut world, call, CloseReason::PeerDeleted, TerminateCause::UserRequest);
    }
}

#[test]
fn a_connection_that_breaks_during_a_farewell_changes_nothing() {
    let mut world = world();
    for (act, reason, cause) in [
        (Act::Disconnect, CloseReason::PeerDeleted, TerminateCause::UserRequest),
        (Act::HangUp, CloseReason::PeerDeleted, TerminateCause::UserRequest),
    ] {
        let call = up(&mut world, alice(Auth::MsChapV2));
        world.act(call, act);
        world.run(millis(10));
        world.cut(call);
        assert_ended(&mut world, call, reason, cause);
    }
    let call = up(&mut world, alice(Auth::MsChapV2));
    let session = world.session(call);
    world.with_gateway(|gateway, now| gateway.close(now, session, CloseReason::Operator));
    world.cut(call);
    assert_ended(&mut world, call, CloseReason::Operator, TerminateCause::AdminReset);
}

#[test]
fn a_login_that_ends_before_its_binding_is_no_matter_of_policy() {
    for act in [Act::Close, Act::Disconnect, Act::Abort, Act::Stall] {
        for auth in [Auth::EapMsChapV2, Auth::MsChapV2] {
            let mut world = world();
            let call = world.dial(alice(auth).at(Step::AuthDone, act.clone()));
            world.finish();
            world.assert_empty();
            assert_failed(&mut world, call, "crypto_binding", Some("0x800704D4"), "");
        }
    }
}

#[test]
fn who_leaves_while_radius_is_asked_leaves_no_question_behind() {
    for auth in [Auth::EapMsChapV2, Auth::MsChapV2, Auth::Chap, Auth::Pap] {
        for act in [Act::Close, Act::Disconnect, Act::Abort] {
            let mut world = world_of(User { delay: secs(20), ..user("secret") });
            let call = world.dial(alice(auth).at(Step::AuthSent, act.clone()));
            world.run(secs(10));
            assert_eq!((world.radius.waiting(), world.gateway.summary().half_open), (0, 0), "{auth:?} {act:?}");
            world.finish();
            world.assert_empty();
            let Outcome::Failed(failure) = &world.attempt(call).outcome else { panic!("{:?}", world.attempt(call)) };
            assert!(failure.cause.contains("RADIUS had not answered when the call ended"), "{failure:?}");
        }
    }
}

/// Some clients do not acknowledge EAP-MSCHAPv2's Failure: RADIUS never says its Reject.
#[test]
fn who_leaves_at_a_refusal_inside_eap_is_not_a_bad_client() {
    for act in [Act::Close, Act::Disconnect, Act::Abort, Act::HangUp] {
        let mut world = world_of(User { delay: secs(1), ..user("secret") });
        let call = world.dial(Conduct { passwords: vec!["guess".into()], ..alice(Auth::EapMsChapV2) });
        // Identity, challenge; the refusal is on its way.
        world.run_until(secs(10), |world| world.radius.asked == 2);
        world.run(millis(1005));
        world.act(call, act.clone());
        world.finish();
        world.assert_empty();
        assert_failed(&mut world, call, "radius", Some("691"), "RADIUS rejects user \"alice\": wrong user name or password");
    }
}
