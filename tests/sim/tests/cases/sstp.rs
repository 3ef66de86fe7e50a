//! Whole SSTP calls against the control half of the gateway.
mod collisions;
mod endings;
mod inner;
mod limits;
mod logins;
mod random;
mod timers;

use evergate::api::types::AttemptDetail;
use evergate::attempts::Outcome;
use evergate::explain::stage_name;
use radius_client::{AccountingStatus, TerminateCause};
use sim::sstp::{Auth, CallId, Conduct, Options, Step, User, World};
use std::time::Duration;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn user(password: &str) -> User {
    User { password: password.into(), ..User::default() }
}

/// A world with these settings for alice.
pub(crate) fn world_of(alice: User) -> World {
    World::new(Options { users: vec![("alice", alice)], ..Options::default() })
}

pub(crate) fn world() -> World {
    World::new(Options::default())
}

pub(crate) fn alice(auth: Auth) -> Conduct {
    Conduct::new("alice", auth)
}

/// Dials and comes up.
#[track_caller]
pub(crate) fn up(world: &mut World, conduct: Conduct) -> CallId {
    let call = world.dial(conduct);
    world.run_until(secs(50), |world| is_up(world, call));
    world.run(millis(500));
    assert!(is_up(world, call), "{:?}\n{:?}", world.attempt(call), world.client(call).trace);
    assert!(world.client(call).reached(Step::Up), "{:?}", world.client(call).trace);
    call
}

pub(crate) fn is_up(world: &World, call: CallId) -> bool {
    world.attempt(call).outcome == Outcome::Up
}

/// What an administrator reads of a failure: stage, fault, windows code, and whether there is a fix.
#[track_caller]
pub(crate) fn assert_failed(world: &mut World, call: CallId, stage: &str, windows: Option<&str>, cause: &str) -> AttemptDetail {
    let detail = world.detail(call);
    let Outcome::Failed(failure) = world.attempt(call).outcome.clone() else { panic!("not failed: {detail:?}") };
    let said = (stage_name(failure.stage), detail.windows_code.as_deref());
    assert_eq!(said, (stage, windows), "{detail:#?}");
    assert!(failure.cause.contains(cause), "{:?} does not say {cause:?}", failure.cause);
    assert_eq!(detail.fix.is_some(), windows.is_some(), "{detail:#?}");
    detail
}

/// The Stop of a session that was up.
#[track_caller]
pub(crate) fn assert_stopped(world: &World, call: CallId, cause: TerminateCause) {
    let wanted = [(AccountingStatus::Start, None), (AccountingStatus::Stop, Some(cause))];
    assert_eq!(world.books(call), wanted, "{:?}", world.attempt(call));
}
