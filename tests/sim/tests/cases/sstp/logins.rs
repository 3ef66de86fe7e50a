//! Logins by every method, good and bad.
use super::{alice, assert_failed, assert_stopped, millis, secs, up, user, world, world_of};
use ppp::AuthProtocol;
use radius_client::{Accept, TerminateCause};
use sim::sstp::{Act, Answering, Auth, Binding, Conduct, Options, Step, User, World};

const METHODS: [Auth; 4] = [Auth::EapMsChapV2, Auth::MsChapV2, Auth::Chap, Auth::Pap];

#[test]
fn every_method_comes_up_and_hangs_up() {
    for auth in METHODS {
        let mut world = world();
        let call = up(&mut world, alice(auth));
        assert_eq!(world.client(call).ipv4(), Some("10.9.0.1".parse().unwrap()), "{auth:?}");
        assert_eq!(world.stream(call).opened, Some(vec!["10.9.0.1".parse().unwrap()]));
        assert_eq!(world.stream(call).mtu, 1400);
        assert_eq!((world.gateway.summary().sessions, world.gateway.summary().half_open, world.leased()), (1, 0, 1));
        world.act(call, Act::HangUp);
        world.finish();
        world.assert_empty();
        assert_stopped(&world, call, TerminateCause::UserRequest);
        assert!(world.client(call).gone);
    }
}

#[test]
fn the_wire_and_the_record_of_a_login() {
    let mut world = world();
    let mut conduct = alice(Auth::EapMsChapV2);
    conduct.computer = Some("LAPTOP".into());
    let call = up(&mut world, conduct);
    let heard = world.client(call).heard();
    let wanted = [
        "HTTP 200",
        "CALL_CONNECT_ACK",
        "LCP Configure-Request",
        "LCP Configure-Reject",
        "LCP Configure-Ack",
        "EAP Request",
        "EAP Request",
        "EAP Request",
        "EAP Success",
        "IPCP Configure-Request",
        "IPCP Configure-Reject",
        "IPCP Configure-Nak",
        "IPCP Configure-Ack",
    ];
    assert_eq!(heard, wanted);
    let detail = world.detail(call);
    let stages: Vec<_> = detail.timeline.iter().filter_map(|line| line.text.strip_prefix("stage ")).collect();
    assert_eq!(stages, ["sstp", "lcp", "eap", "radius", "policy", "crypto_binding", "ipcp", "up"]);
    assert_eq!((detail.summary.user.as_deref(), detail.tunnel.as_str()), (Some("alice"), "sstp"));
    assert_eq!(detail.decision, ["policy \"staff\" decides: grant"]);
    let last = world.radius.contexts.last().unwrap();
    assert_eq!((last.ras_client_name.as_deref(), last.ras_client_version.as_deref()), (Some("MSRAS-0-LAPTOP"), Some("MSRASV5.20")));
    assert_eq!(last.ras_correlation_id.as_deref(), Some("{5D3C7A21-0B1E-4E0A-9A3B-5C0D3E2F1A00}"));
    assert_eq!((last.tunnel_type, last.calling_station_id.as_str()), (radius_client::TUNNEL_TYPE_SSTP, "198.51.100.7"));
}

#[test]
fn the_stages_of_a_login_by_password() {
    for auth in [Auth::MsChapV2, Auth::Chap, Auth::Pap] {
        let mut world = world();
        let call = up(&mut world, alice(auth));
        let detail = world.detail(call);
        let stages: Vec<_> = detail.timeline.iter().filter_map(|line| line.text.strip_prefix("stage ")).collect();
        assert_eq!(stages, ["sstp", "lcp", "auth", "policy", "crypto_binding", "ipcp", "up"], "{auth:?}");
    }
}

#[test]
fn a_client_with_ipv6_gets_both_families() {
    let mut world = World::new(Options { ipv6: true, ..Options::default() });
    let call = up(&mut world, Conduct { ipv6: true, ..alice(Auth::MsChapV2) });
    assert_eq!(world.stream(call).opened, Some(vec!["10.9.0.1".parse().unwrap(), "fd09::1".parse().unwrap()]));
    let call = up(&mut world, Conduct { ipv4: false, ipv6: true, ..alice(Auth::MsChapV2) });
    assert!(world.client(call).ipv4().is_none());
}

#[test]
fn ipv6_that_the_pool_lacks_is_rejected_and_ipv4_comes_up() {
    let mut world = world();
    let call = up(&mut world, Conduct { ipv6: true, ..alice(Auth::MsChapV2) });
    assert!(world.client(call).heard().contains(&"LCP Protocol-Reject"));
}

#[test]
fn bindings_that_hold() {
    for (binding, offer_sha1) in [(Binding::Good, true), (Binding::Sha1, true), (Binding::Early, false)] {
        let mut world = World::new(Options { offer_sha1, ..Options::default() });
        let call = up(&mut world, Conduct { binding, ..alice(Auth::MsChapV2) });
        let hash = if binding == Binding::Sha1 { "SHA-1" } else { "SHA-256" };
        assert!(format!("{:?}", world.attempt(call).timeline).contains(&format!("crypto binding verified ({hash})")));
    }
    let mut world = world();
    up(&mut world, Conduct { binding: Binding::Early, ..alice(Auth::Pap) });
}

#[test]
fn bindings_that_do_not_hold_end_the_call_before_anything_flows() {
    let wrong = [Binding::WrongMac, Binding::WrongNonce, Binding::WrongCertificate, Binding::ZeroKeys, Binding::Sha1];
    for auth in [Auth::EapMsChapV2, Auth::MsChapV2] {
        for binding in wrong {
            let mut world = world();
            let call = world.dial(Conduct { binding, ..alice(auth) });
            world.finish();
            world.assert_empty();
            assert!(world.stream(call).opened.is_none());
            assert_eq!(world.client(call).heard_at("CALL_ABORT 4").map(|at| at < secs(1)), Some(true), "{binding:?}");
            assert_failed(&mut world, call, "crypto_binding", Some("0x800704D4"), "CALL_ABORT sent");
            assert_eq!(world.books(call), []);
        }
    }
}

#[test]
fn a_wrong_early_binding_is_judged_once_there_are_keys() {
    let mut world = world_of(User { answering: Answering::OtherKeys, ..user("secret") });
    let call = world.dial(Conduct { binding: Binding::Early, ..alice(Auth::MsChapV2) });
    world.finish();
    world.assert_empty();
    assert_failed(&mut world, call, "crypto_binding", Some("0x800704D4"), "CALL_ABORT sent");
}

#[test]
fn keys_that_the_client_does_not_have_are_a_wrong_binding() {
    for auth in [Auth::EapMsChapV2, Auth::MsChapV2] {
        let mut world = world_of(User { answering: Answering::OtherKeys, ..user("secret") });
        let call = world.dial(alice(auth));
        world.finish();
        world.assert_empty();
        assert_failed(&mut world, call, "crypto_binding", Some("0x800704D4"), "");
    }
}

#[test]
fn an_accept_without_keys_lets_nobody_in() {
    for (auth, binding) in [
        (Auth::EapMsChapV2, Binding::Good),
        (Auth::EapMsChapV2, Binding::ZeroKeys),
        (Auth::MsChapV2, Binding::Good),
        (Auth::MsChapV2, Binding::ZeroKeys),
        (Auth::MsChapV2, Binding::Early),
    ] {
        let mut world = world_of(User { answering: Answering::Keyless, ..user("secret") });
        let call = world.dial(Conduct { binding, ..alice(auth) });
        world.finish();
        world.assert_empty();
        assert!(!world.client(call).reached(Step::AuthDone), "{auth:?}");
        assert_failed(&mut world, call, "radius", Some("649 or 691"), "without MS-MPPE keys");
    }
}

#[test]
fn a_wrong_password_is_refused_with_its_reason() {
    for auth in METHODS {
        let mut world = world();
        let call = world.dial(Conduct { passwords: vec!["guess".into()], ..alice(auth) });
        world.finish();
        world.assert_empty();
        let detail = assert_failed(&mut world, call, "radius", Some("691"), "radius radius1 rejects user \"alice\"");
        assert_eq!(detail.summary.user.as_deref(), Some("alice"));
        let answer = match auth {
            Auth::EapMsChapV2 => "EAP Failure",
            Auth::Pap => "PAP Nak",
            Auth::MsChapV2 | Auth::Chap => "CHAP Failure",
        };
        let heard = world.client(call).heard();
        let tail = &heard[heard.iter().position(|name| *name == answer).unwrap()..];
        assert_eq!(tail[..3], [answer, "LCP Terminate-Request", "CALL_DISCONNECT 0"], "{auth:?}");
        // Nobody waits for anybody.
        assert!(world.client(call).trace.last().unwrap().0 < secs(1), "{auth:?} {:?}", world.client(call).trace);
    }
}

#[test]
fn an_unknown_user_is_refused() {
    for auth in METHODS {
        let mut world = world();
        let call = world.dial(Conduct::new("mallory", auth));
        world.finish();
        world.assert_empty();
        assert_failed(&mut world, call, "radius", Some("691"), "\"mallory\"");
    }
}

#[test]
fn a_second_password_comes_in() {
    let mut world = world_of(User { retry: true, ..user("secret") });
    let call = up(&mut world, Conduct { passwords: vec!["guess".into(), "secret".into()], ..alice(Auth::MsChapV2) });
    assert_eq!(world.radius.asked, 2);
    world.act(call, Act::HangUp);
    world.finish();
    world.assert_empty();
    assert_stopped(&world, call, TerminateCause::UserRequest);
}

#[test]
fn passwords_are_tried_until_the_gateway_has_enough() {
    let mut world = world_of(User { retry: true, ..user("secret") });
    let call = world.dial(Conduct { passwords: vec!["guess".into(); 20], ..alice(Auth::MsChapV2) });
    world.finish();
    world.assert_empty();
    assert_eq!(world.radius.asked, 6);
    assert_failed(&mut world, call, "radius", Some("691"), "E=691 R=1");
}

#[test]
fn who_gives_up_after_a_first_refusal_failed_for_that_refusal() {
    for act in [Act::Close, Act::Disconnect, Act::Abort, Act::HangUp, Act::Mute] {
        let mut world = world_of(User { retry: true, ..user("secret") });
        let call = world.dial(Conduct { passwords: vec!["guess".into()], ..alice(Auth::MsChapV2) });
        world.act_after(secs(20), call, act.clone());
        world.finish();
        world.assert_empty();
        assert_failed(&mut world, call, "radius", Some("691"), "wrong user name or password");
    }
}

#[test]
fn an_expired_password_is_changed() {
    let mut world = world_of(User { expired: true, ..user("secret") });
    let call = up(&mut world, Conduct { new_password: Some("better".into()), ..alice(Auth::MsChapV2) });
    assert_eq!(world.radius.asked, 2);
    world.act(call, Act::HangUp);
    world.finish();
    world.assert_empty();
    let mut world = world_of(User { expired: true, ..user("secret") });
    let call = world.dial(alice(Auth::MsChapV2));
    world.finish();
    world.assert_empty();
    assert_failed(&mut world, call, "radius", Some("691"), "password expired");
}

#[test]
fn methods_that_the_listener_does_not_offer_are_refused_in_lcp() {
    let mut world = World::new(Options { auth: vec![AuthProtocol::Eap], ..Options::default() });
    for auth in [Auth::MsChapV2, Auth::Chap, Auth::Pap] {
        let call = world.dial(alice(auth));
        world.finish();
        assert_failed(&mut world, call, "lcp", Some("919 or 734"), "allowed here: EAP");
    }
    world.assert_empty();
    assert_eq!(world.radius.asked, 0);
    up(&mut world, alice(Auth::EapMsChapV2));
}

#[test]
fn policies_deny_with_their_trace() {
    for auth in METHODS {
        let mut world = World::new(Options { policies: vec![sim::sstp::policy("nobody", false)], ..Options::default() });
        let call = world.dial(alice(auth));
        world.finish();
        world.assert_empty();
        let detail = assert_failed(&mut world, call, "policy", Some("649 or 691"), "network policy \"nobody\" denies");
        assert_eq!(detail.decision, ["policy \"nobody\" decides: deny (reason 65)"]);
        assert!(!world.client(call).reached(Step::AuthDone));
    }
}

#[test]
fn an_exhausted_pool_ends_the_login() {
    for auth in METHODS {
        let mut world = World::new(Options { pool: 1, ..Options::default() });
        let first = up(&mut world, alice(auth));
        let second = world.dial(alice(auth));
        world.run(secs(100));
        assert_failed(&mut world, second, "address", Some("720 or 738"), "pool \"users\" is exhausted: 1 of 1 IPv4 addresses in use");
        assert!(super::is_up(&world, first));
        world.act(first, Act::HangUp);
        world.finish();
        world.assert_empty();
        let third = up(&mut world, alice(auth));
        assert_eq!(world.client(third).ipv4(), Some("10.9.0.1".parse().unwrap()));
    }
}

#[test]
fn what_radius_grants_holds() {
    let accept = Accept {
        framed_ip: Some(radius_client::FramedIp::Fixed("10.77.0.1".parse().unwrap())),
        user_name: Some("Alice Cooper".into()),
        class: vec![b"group".to_vec()],
        ..Accept::default()
    };
    let mut world = world_of(User { accept, ..user("secret") });
    let call = up(&mut world, alice(Auth::EapMsChapV2));
    assert_eq!(world.client(call).ipv4(), Some("10.77.0.1".parse().unwrap()));
    let record = &world.radius.records[0];
    assert_eq!((record.user_name.as_slice(), record.class.len()), (&b"Alice Cooper"[..], 1));
    assert_eq!(record.framed_ip, Some("10.77.0.1".parse().unwrap()));
    world.run(millis(1));
}

#[test]
fn options_that_are_insisted_upon_end_the_call_with_the_last_of_them() {
    // An LCP Configure-Request with the option 99, of which nobody knows anything, in an SSTP data packet.
    let request = |id: u8| {
        let frame = [0xff, 0x03, 0xc0, 0x21, 1, id, 0, 7, 99, 3, 1];
        [&[0x10, 0, 0, 15][..], &frame].concat()
    };
    let mut world = world();
    let insisting = (100..112).fold(alice(Auth::MsChapV2), |conduct, id| conduct.at(Step::LcpUp, Act::Send(request(id))));
    let call = world.dial(insisting);
    world.finish();
    world.assert_empty();
    let failed = assert_failed(&mut world, call, "lcp", Some("919 or 734"), "LCP does not converge, and is ended here");
    let cause = failed.summary.cause.unwrap();
    assert!(cause.contains("insists on options that are refused (last: LCP Configure-Reject 110: "), "{cause}");
}
