//! Policies that send later logins to another RADIUS server group.
use super::*;
use policy::network::Later;

/// The group that is asked when the client says who it is; then RADIUS accepts it with this User-Name.
fn login(world: &mut World, name: &str, accept: Accept) -> Option<String> {
    world.dial(&[AuthProtocol::Eap]);
    world.packet(&Message::CallConnectRequest.encode());
    world.gateway.plane.sent.clear();
    world.lcp();
    world.ppp(0xc227, 2, 0, &[&[1], name.as_bytes()].concat());
    let mut asked = None;
    while let Some(effect) = world.gateway.poll_effect() {
        if let Effect::Radius(Input::Eap { ticket, group, .. }) = effect {
            asked = Some((ticket, group));
        }
    }
    let (ticket, group) = asked.unwrap();
    world.accept_eap_with(ticket, accept);
    group
}

fn later(world: &mut World, time: u64) {
    let settings = &mut world.gateway.authority.policies[0].settings;
    settings.later = Some(Later { group: "corp".into(), time: Duration::from_secs(time) });
}

#[test]
fn whom_a_policy_let_in_asks_its_group_until_the_time_is_over() {
    let mut world = World::empty(9, &[("all", "*", true)]);
    later(&mut world, 600);
    assert_eq!(login(&mut world, "ann", Accept::default()), None);
    assert_eq!(login(&mut world, "bob", Accept::default()), None, "somebody else");
    assert_eq!(login(&mut world, "ANN", Accept::default()).as_deref(), Some("corp"));
    let notes: Vec<_> = world.gateway.attempts.iter().flat_map(|attempt| attempt.timeline.iter().map(|(_, text)| text.clone())).collect();
    assert!(
        notes.iter().any(|note| note == "server group \"corp\" is asked, as policy \"all\" said when it let this name in"),
        "{notes:?}"
    );
    world.now.instant += Duration::from_secs(601);
    assert_eq!(login(&mut world, "ann", Accept::default()), None);
    world.gateway.authority.policies[0].settings.later = None;
    assert_eq!(login(&mut world, "ann", Accept::default()).as_deref(), Some("corp"), "what it said holds until it says otherwise");
    assert_eq!(login(&mut world, "ann", Accept::default()), None);
}

#[test]
fn a_policy_that_denies_sends_nobody_anywhere() {
    let mut world = World::empty(9, &[("no", "carl", false), ("all", "*", true)]);
    let settings = &mut world.gateway.authority.policies[0].settings;
    settings.later = Some(Later { group: "corp".into(), time: Duration::from_secs(600) });
    login(&mut world, "carl", Accept::default());
    assert_eq!(login(&mut world, "carl", Accept::default()), None);
}
