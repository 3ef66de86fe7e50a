//! What the client believes, and what it makes of it.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::time::Duration;

/// A client with one request in flight.
fn waiting() -> (Client, Sent) {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), ask(1, 1, &eap_packet(2, 1, b"\x01alice")));
    let request = only_sent(&drain(&mut client));
    (client, request)
}

fn answer(attributes: impl Fn(&Sent) -> Vec<(u8, Vec<u8>)>, code: u8) -> EapOutcome {
    let (mut client, request) = waiting();
    client.handle(start(), request.datagram(reply(code, &request, &attributes(&request))));
    let mut outcomes = outcomes(drain(&mut client));
    assert_eq!(outcomes.len(), 1);
    assert_eq!(client.poll_timeout().is_some(), code == 11, "nothing stays in flight");
    outcomes.remove(0).1
}

fn accept(attributes: impl Fn(&Sent) -> Vec<(u8, Vec<u8>)>) -> Result<Accept, String> {
    match answer(attributes, 2) {
        EapOutcome::Accept { accept, .. } => Ok(*accept),
        EapOutcome::Failed(failure @ RequestFailure::BadReply { .. }) => Err(failure.to_string()),
        other => panic!("{other:?}"),
    }
}

fn dropped(bytes: impl Fn(&Sent) -> Vec<u8>) -> Counters {
    let (mut client, request) = waiting();
    client.handle(start(), request.datagram(bytes(&request)));
    assert!(drain(&mut client).is_empty());
    // The request still waits: the true answer is taken.
    client.handle(start(), request.datagram(reply(3, &request, &[])));
    assert!(matches!(outcomes(drain(&mut client))[..], [(1, EapOutcome::Reject { .. })]));
    client.counters()[0].1
}

#[test]
fn forged_replies_are_dropped_and_counted() {
    let base = Counters { sent: 1, accepted: 1, ..Counters::default() };
    let success = (79, eap_packet(3, 1, &[]));
    let wrong_secret = dropped(|request| seal(unsigned(2, request, &[]), b"other"));
    assert_eq!(wrong_secret, Counters { dropped_authenticator: 1, ..base });
    let no_message_authenticator = dropped(|request| bare_reply(2, request, &[]));
    let missing = Counters { dropped_message_authenticator: 1, missing_message_authenticator: 1, ..base };
    assert_eq!(no_message_authenticator, missing);
    let wrong = dropped(|request| bare_reply(2, request, &[(80, vec![1; 16])]));
    assert_eq!(wrong, Counters { dropped_message_authenticator: 1, ..base });
    let short = dropped(|request| bare_reply(2, request, &[(80, vec![1; 15])]));
    assert_eq!(short, Counters { dropped_message_authenticator: 1, ..base });
    let twice = dropped(|request| reply(2, request, &[(80, vec![0; 16])]));
    assert_eq!(twice, Counters { dropped_message_authenticator: 1, ..base });
    let code = dropped(|request| reply(5, request, &[]));
    assert_eq!(code, Counters { dropped_code: 1, ..base });
    let proxy_state = dropped(|request| reply(2, request, &[(33, vec![1]), success.clone()]));
    assert_eq!(proxy_state, Counters { dropped_proxy_state: 1, ..base });
    let other_identifier = dropped(|request| {
        let mut bytes = reply(2, request, &[]);
        bytes[1] = bytes[1].wrapping_add(1);
        bytes
    });
    assert_eq!(other_identifier, Counters { dropped_unsolicited: 1, ..base });
}

#[test]
fn replies_from_elsewhere_and_late_ones_are_dropped() {
    let (mut client, request) = waiting();
    let good = reply(3, &request, &[]);
    for from in ["192.0.2.2:1812", "192.0.2.1:1813"] {
        client.handle(start(), Input::Datagram { socket: request.socket, from: from.parse().unwrap(), bytes: good.clone() });
    }
    assert!(drain(&mut client).is_empty());
    client.handle(start(), request.datagram(good.clone()));
    assert_eq!(outcomes(drain(&mut client)).len(), 1);
    client.handle(start(), request.datagram(good));
    assert!(drain(&mut client).is_empty());
    let expected = Counters { sent: 1, accepted: 1, dropped_source: 2, dropped_unsolicited: 1, ..Counters::default() };
    assert_eq!(client.counters(), [("nps1".to_owned(), expected)]);
}

#[test]
fn truncation_at_every_byte_and_every_flipped_bit_is_dropped() {
    let (mut client, request) = waiting();
    let good = reply(2, &request, &[(79, eap_packet(3, 1, &[])), (25, vec![7; 5]), mppe(16, &[1; 16], [0x80, 1], &request, SECRET)]);
    for length in 0..good.len() {
        client.handle(start(), request.datagram(good[..length].to_vec()));
        let mut honest = good[..length].to_vec();
        if length > 4 {
            honest[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            client.handle(start(), request.datagram(honest));
        }
    }
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        client.handle(start(), request.datagram(bytes));
    }
    assert!(drain(&mut client).is_empty());
    assert_eq!(client.counters()[0].1.accepted, 0);
}

#[test]
fn without_the_requirement_a_bare_reject_counts_but_never_bare_eap() {
    let lenient = Server { require_message_authenticator: RequireMessageAuthenticator::No, ..server("old", 1) };
    let mut client = client(vec![lenient]);
    client.handle(start(), ask(1, 1, &[2, 1, 0, 4]));
    let request = only_sent(&drain(&mut client));
    client.handle(start(), request.datagram(bare_reply(2, &request, &[(79, eap_packet(3, 1, &[]))])));
    assert!(drain(&mut client).is_empty(), "RFC 3579 section 3.1");
    client.handle(start(), request.datagram(bare_reply(3, &request, &[(18, b"no".to_vec())])));
    assert!(matches!(&outcomes(drain(&mut client))[..], [(1, EapOutcome::Reject { reply_message: Some(text), .. })] if text == "no"));
}

#[test]
fn an_accept_in_full() {
    let accept = accept(|request| {
        vec![
            (79, eap_packet(3, 1, &[])),
            (6, vec![0, 0, 0, 2]),
            (7, vec![0, 0, 0, 1]),
            (8, vec![10, 98, 200, 7]),
            (168, vec![0x20; 16]),
            (25, vec![0, 1, 0, 2]),
            (25, vec![]),
            (25, b"311 1 10.0.0.4".to_vec()),
            (11, b"staff".to_vec()),
            (27, vec![0, 0, 0x70, 0x80]),
            (28, vec![0, 0, 0, 0]),
            (85, vec![0, 0, 2, 0x58]),
            (1, b"alice@example.test".to_vec()),
            (88, b"users".to_vec()),
            (18, b"welcome".to_vec()),
            (18, b"back".to_vec()),
            microsoft(28, &[10, 0, 0, 53]),
            microsoft(29, &[0, 0, 0, 0]),
            (169, vec![0x20; 16]),
            (26, vec![0, 0, 0, 9, 1]),
            mppe(16, &[0xbb; 32], [0x80, 1], request, SECRET),
            mppe(17, &[0xaa; 32], [0x80, 2], request, SECRET),
        ]
    })
    .unwrap();
    assert_eq!(*accept.msk, [[0xaa; 32], [0xbb; 32]].concat());
    assert_eq!(accept.framed_ip, Some(FramedIp::Fixed([10, 98, 200, 7].into())));
    assert_eq!(accept.framed_ipv6, Some([0x20; 16].into()));
    assert_eq!(accept.class, [vec![0, 1, 0, 2], vec![], b"311 1 10.0.0.4".to_vec()]);
    assert_eq!(accept.filter_id, ["staff"]);
    assert_eq!(accept.session_timeout, Some(Duration::from_secs(28_800)));
    assert_eq!(accept.idle_timeout, None);
    assert_eq!(accept.acct_interim_interval, Some(Duration::from_secs(600)));
    let dns: [std::net::IpAddr; 2] = [[10, 0, 0, 53].into(), [0x20; 16].into()];
    assert_eq!(accept.dns, dns);
    assert_eq!(accept.user_name.as_deref(), Some("alice@example.test"));
    assert_eq!(accept.framed_pool.as_deref(), Some("users"));
    assert_eq!(accept.reply_message.as_deref(), Some("welcome\nback"));
    let words = format!("{accept:?}");
    assert!(!words.contains("170") && !words.contains("msk"), "no key in Debug: {words}");
}

#[test]
fn keys_of_every_size_servers_send() {
    for size in [0, 16, 32, 48] {
        let key = vec![0x5a; size];
        // The first bit of a salt is not set by every server.
        let accept =
            accept(|request| vec![mppe(17, &key, [0x01, 2], request, SECRET), mppe(16, &key, [0x80, 1], request, SECRET)]).unwrap();
        let mut expected = [&key[..], &key].concat();
        if size > 0 && expected.len() < 64 {
            expected.resize(64, 0);
        }
        assert_eq!(*accept.msk, expected, "{size}");
    }
    let uneven = accept(|request| vec![mppe(17, &[1; 16], [0x80, 2], request, SECRET), mppe(16, &[2; 32], [0x80, 1], request, SECRET)]);
    assert_eq!(*uneven.unwrap().msk, [vec![1; 16], vec![2; 32], vec![0; 16]].concat());
    assert!(accept(|_| vec![]).unwrap().msk.is_empty());
}

#[test]
fn broken_keys_refuse_the_accept() {
    let good = |request: &Sent| mppe(16, &[1; 32], [0x80, 1], request, SECRET);
    let lone = accept(|request| vec![good(request)]);
    assert!(lone.unwrap_err().contains("MS-MPPE-Send-Key comes without MS-MPPE-Recv-Key"));
    let foreign = accept(|request| vec![good(request), mppe_raw(17, &[33; 32], [0x80, 1], request, SECRET)]);
    assert!(foreign.unwrap_err().contains("MS-MPPE-Recv-Key says 33 bytes of key, 31 are there"));
    for size in [0, 1, 2, 17, 33] {
        let odd = accept(|request| vec![good(request), microsoft(17, &vec![0x80; size])]);
        assert!(odd.unwrap_err().contains(&format!("MS-MPPE-Recv-Key has {size} bytes")));
    }
    assert!(accept(|_| vec![(26, vec![0, 0, 1, 0x37, 17, 90, 1])]).is_err(), "a length beyond the attribute");
}

#[test]
fn wrong_forms_and_other_services_refuse_the_accept() {
    assert!(accept(|_| vec![(8, vec![1, 2, 3])]).unwrap_err().contains("Framed-IP-Address at byte 38 has a value of 3 bytes"));
    assert!(accept(|_| vec![(27, vec![1; 5])]).unwrap_err().contains("Session-Timeout"));
    assert!(accept(|_| vec![(168, vec![1; 4])]).unwrap_err().contains("Framed-IPv6-Address"));
    assert!(accept(|_| vec![microsoft(28, &[1])]).unwrap_err().contains("MS-Primary-DNS-Server"));
    assert!(accept(|_| vec![(6, vec![0, 0, 0, 6])]).unwrap_err().contains("Service-Type 6"));
    assert!(accept(|_| vec![(7, vec![0, 0, 0, 2])]).unwrap_err().contains("Framed-Protocol 2"));
    assert_eq!(accept(|_| vec![(8, vec![255; 4])]).unwrap().framed_ip, Some(FramedIp::ClientChooses));
    assert_eq!(accept(|_| vec![(8, vec![255, 255, 255, 254])]).unwrap().framed_ip, Some(FramedIp::NasChooses));
}

#[test]
fn the_code_decides_not_the_eap_inside() {
    let failure_inside = answer(|_| vec![(79, eap_packet(4, 1, &[]))], 2);
    assert!(matches!(failure_inside, EapOutcome::Accept { eap: None, .. }));
    let success_inside = answer(|_| vec![(79, eap_packet(3, 1, &[]))], 3);
    assert!(matches!(success_inside, EapOutcome::Reject { eap: None, .. }));
    let fitting = answer(|_| vec![(79, eap_packet(4, 9, &[])), microsoft(2, b"\x07E=691 R=0 C=00 V=3")], 3);
    let EapOutcome::Reject { server, eap, ms_chap_error, .. } = fitting else { panic!("{fitting:?}") };
    assert_eq!((server.as_str(), eap, ms_chap_error.as_deref()), ("nps1", Some(vec![4, 9, 0, 4]), Some("E=691 R=0 C=00 V=3")));
}

#[test]
fn a_challenge_needs_a_whole_eap_request() {
    for (eap, wanted) in [
        (vec![], "without EAP-Message"),
        (vec![(79, vec![1, 2, 0, 9, 1])], "5 bytes that says 9"),
        (vec![(79, eap_packet(4, 1, &[]))], "code 4"),
        (vec![(79, vec![1])], "1 bytes"),
    ] {
        let (mut client, request) = waiting();
        client.handle(start(), request.datagram(reply(11, &request, &eap)));
        let outcome = outcomes(drain(&mut client)).remove(0).1;
        let EapOutcome::Failed(failure @ RequestFailure::BadReply { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(failure.to_string().contains(wanted), "{failure}");
        assert_eq!(client.poll_timeout(), None);
    }
    let long = eap_packet(1, 2, &[0x19; 600]);
    let pieces: Vec<_> = long.chunks(253).map(|piece| (79, piece.to_vec())).collect();
    let outcome = answer(|_| [pieces.clone(), vec![(27, vec![0, 0, 0, 30])]].concat(), 11);
    assert!(matches!(outcome, EapOutcome::Challenge { eap, .. } if eap == long));
}

/// A filter keeps something out; without it that would come in.
#[test]
fn filters_that_nobody_applies_refuse_the_accept() {
    let attribute = microsoft(36, &[1; 30]);
    let error = accept(|_| vec![attribute.clone(), attribute.clone()]).unwrap_err();
    assert!(error.contains("packet filters (MS-Quarantine-IPFilter), which this gateway cannot apply"), "{error}");
}

#[test]
fn filters_are_handed_on_as_they_came() {
    let all = [
        (92, b"permit in ip from ".to_vec()),
        (92, b"any to any".to_vec()),
        microsoft(22, &[1; 30]),
        microsoft(51, &[2; 4]),
        microsoft(22, &[3]),
    ];
    let filters = accept(|_| all.to_vec()).unwrap().filters;
    assert_eq!(filters.rules, [b"permit in ip from ".to_vec(), b"any to any".to_vec()]);
    assert_eq!((filters.ms_filter, filters.ms_ipv6_filter), ([vec![1; 30], vec![3]].concat(), vec![2; 4]));
}

#[test]
fn filters_may_be_ignored_but_not_unnoticed() {
    for (name, attribute) in [
        ("NAS-Filter-Rule", (92, b"permit in ip from any to any".to_vec())),
        ("MS-Filter", microsoft(22, &[1; 30])),
        ("MS-IPv6-Filter", microsoft(51, &[1; 30])),
        ("MS-Quarantine-IPFilter", microsoft(36, &[1; 30])),
    ] {
        for ignore_filters in [true, false] {
            let mut client = client(vec![Server { ignore_filters, ..server("nps1", 1) }]);
            client.handle(start(), ask(1, 1, &[2, 1, 0, 4]));
            let request = only_sent(&drain(&mut client));
            client.handle(start(), request.datagram(reply(2, &request, std::slice::from_ref(&attribute))));
            let outcomes = outcomes(drain(&mut client));
            let quarantine = name == "MS-Quarantine-IPFilter";
            match &outcomes[..] {
                [(1, EapOutcome::Accept { accept, .. })] => assert_eq!(accept.filters.ignored, ignore_filters),
                _ => assert!(quarantine && !ignore_filters, "{outcomes:?}"),
            }
            let expected: &[&str] = if ignore_filters || quarantine { &[name] } else { &[] };
            assert_eq!(ignored(&client), expected);
        }
    }
}

#[test]
fn bandwidths_are_bits_a_second() {
    let wispr = |number: u8, value: &[u8]| {
        let length = u8::try_from(value.len() + 2).unwrap();
        (26, [&14_122_u32.to_be_bytes()[..], &[number, length], value].concat())
    };
    let granted = accept(|_| vec![wispr(7, &1_000_000_u32.to_be_bytes()), wispr(8, &[0; 4])]).unwrap();
    assert_eq!((granted.bandwidth_up, granted.bandwidth_down), (Some(1_000_000), None));
    let error = accept(|_| vec![wispr(8, &[1, 2])]).unwrap_err();
    assert!(error.contains("WISPr-Bandwidth-Max-Down has 2 bytes"), "{error}");
}

fn ignored(client: &Client) -> Vec<String> {
    client.servers()[0].ignored.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_said_in_vain_is_told_once_by_name() {
    let mut client = client(vec![server("nps1", 1)]);
    let told: Vec<Vec<String>> = [2, 2, 3]
        .into_iter()
        .enumerate()
        .map(|(round, code)| {
            client.handle(start(), ask(round as u64, round as u64, &[2, 1, 0, 4]));
            let request = only_sent(&drain(&mut client));
            let nine_and_four = [&9u32.to_be_bytes()[..], &[1, 3, 0, 4, 3, 0]].concat();
            let framed_routing = (10, vec![0, 0, 0, 3]);
            let known = [(25, vec![1]), (29, vec![0; 4]), (62, vec![0, 0, 0, 1]), microsoft(28, &[10, 0, 0, 1])];
            let mut attributes =
                vec![framed_routing.clone(), framed_routing, (26, nine_and_four), microsoft(8, &[0; 4]), (241, vec![1, 1])];
            attributes.extend(known);
            if code == 3 {
                attributes = vec![(13, vec![0; 4])];
            }
            client.handle(start(), request.datagram(reply(code, &request, &attributes)));
            let named = drain(&mut client).into_iter().filter_map(|output| match output {
                Output::Server { change: Change::Ignored(id), .. } => Some(id.to_string()),
                _ => None,
            });
            named.collect()
        })
        .collect();
    let all = ["Framed-Routing", "attribute 26.9.1", "attribute 26.9.4", "MS-MPPE-Encryption-Types", "attribute 241"];
    assert_eq!(told, [all.map(str::to_owned).to_vec(), vec![], vec![]], "an Access-Reject grants nothing that could be ignored");
    assert_eq!(ignored(&client).len(), 5);
}

/// A server with several addresses that answers from another one than it was asked at.
#[test]
fn who_proves_itself_from_elsewhere_is_named_in_the_failure() {
    for (good, named) in [(true, true), (false, false)] {
        let (mut client, request) = waiting();
        let bytes = if good { reply(3, &request, &[]) } else { seal(unsigned(3, &request, &[]), b"another secret") };
        client.handle(start(), Input::Datagram { socket: request.socket, from: "192.0.2.77:1812".parse().unwrap(), bytes });
        let failure = loop {
            client.handle(client.poll_timeout().unwrap(), Input::Timeout);
            if let Some((_, EapOutcome::Failed(failure))) = outcomes(drain(&mut client)).pop() {
                break failure.to_string();
            }
        };
        assert!(failure.contains("1 from another address or port"), "{failure}");
        assert_eq!(failure.contains("the server answers from 192.0.2.77:1812"), named, "{failure}");
    }
}

#[test]
fn termination_actions_that_nobody_can_keep_are_ignored() {
    let minutes = |count: u32| (27, (60 * count).to_be_bytes().to_vec());
    let two = Some(Duration::from_secs(120));
    for (renews_after, attributes, in_vain) in [
        (two, vec![(29, vec![0, 0, 0, 2])], true),
        (two, vec![(29, vec![0, 0, 0, 1]), minutes(2)], false),
        (two, vec![(29, vec![0, 0, 0, 1]), minutes(1)], true),
        (None, vec![(29, vec![0, 0, 0, 1]), minutes(2)], true),
        (None, vec![(29, vec![0, 0, 0, 0]), minutes(2)], false),
    ] {
        let mut client = client(vec![server("nps1", 1)]);
        let Input::Eap { ticket, conversation, group, user_name, eap, nas } = ask(1, 1, &[2, 1, 0, 4]) else { panic!() };
        let nas = Box::new(NasContext { renews_after, ..*nas });
        client.handle(start(), Input::Eap { ticket, conversation, group, user_name, eap, nas });
        let request = only_sent(&drain(&mut client));
        client.handle(start(), request.datagram(reply(2, &request, &attributes)));
        assert_eq!(ignored(&client).contains(&"Termination-Action".to_owned()), in_vain, "{renews_after:?} {attributes:?}");
    }
}

#[test]
fn chargeable_user_identity_is_kept_as_it_came() {
    let granted = accept(|_| vec![(89, vec![0xff, 0, 1])]).unwrap();
    assert_eq!(granted.chargeable_user_identity, Some(vec![0xff, 0, 1]));
}

#[test]
fn groups_and_limits_of_the_user() {
    let accept = accept(|_| vec![microsoft(65, &[0x6a, 0xd1, 0xbd, 0x0a]), microsoft(65, &[1, 2, 3, 4]), (62, vec![0, 0, 0, 2])]).unwrap();
    assert_eq!(accept.groups, ["6ad1bd0a"]);
    assert_eq!(accept.port_limit, Some(2));
}

#[test]
fn a_port_limit_of_multilink_may_be_ignored_and_is_named_then() {
    for ignore_port_limit in [true, false] {
        let mut client = client(vec![Server { ignore_port_limit, ..server("nps1", 1) }]);
        client.handle(start(), ask(1, 1, &[2, 1, 0, 4]));
        let request = only_sent(&drain(&mut client));
        client.handle(start(), request.datagram(reply(2, &request, &[(62, vec![0, 0, 0, 1])])));
        let outcomes = outcomes(drain(&mut client));
        let [(1, EapOutcome::Accept { accept, .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(accept.port_limit, (!ignore_port_limit).then_some(1));
        let expected: &[&str] = if ignore_port_limit { &["Port-Limit"] } else { &[] };
        assert_eq!(ignored(&client), expected);
    }
}

#[test]
fn networks_behind_the_client_are_read() {
    let given = vec![
        (9, vec![255, 255, 255, 248]),
        (22, b"10.9.0.0/16 0.0.0.0 1".to_vec()),
        (88, b"static".to_vec()),
        (96, vec![0, 0, 0, 0, 0, 0, 0, 7]),
        (97, [&[0, 64, 0x20, 0x01, 0x0d, 0xb8][..], &[0; 4]].concat()),
        (99, b"2001:db8:9::/48 :: 1".to_vec()),
        (100, b"static6".to_vec()),
        (123, vec![0, 56, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0xff]),
        (29, vec![0, 0, 0, 1]),
    ];
    let accept = accept(|_| given.clone()).unwrap();
    assert!(accept.renew);
    let framed = accept.framed;
    assert_eq!((framed.netmask, framed.interface_id, framed.ipv6_pool.as_deref()), (Some(29), Some(7), Some("static6")));
    assert_eq!(framed.prefixes, [("2001:db8::".parse().unwrap(), 64)]);
    assert_eq!(framed.delegated, [("2001:db8:1:ff00::".parse().unwrap(), 56)]);
    let routes: Vec<_> = framed.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["Framed-Route \"10.9.0.0/16\"", "Framed-IPv6-Route \"2001:db8:9::/48\""]);
    assert_eq!(framed.received, given[..8], "accounting gets back what came, but for Termination-Action");
}

#[test]
fn networks_that_cannot_be_refuse_the_accept() {
    for (attribute, why) in [
        ((9, vec![255, 0, 255, 0]), "Framed-IP-Netmask 255.0.255.0, which is no mask"),
        ((9, vec![0, 0, 0, 0]), "Framed-IP-Netmask 0.0.0.0, which is no mask"),
        ((22, b"everything".to_vec()), "Framed-Route \"everything\", which begins with no IPv4 network"),
        ((97, vec![0, 64, 1]), "Framed-IPv6-Prefix"),
        ((97, vec![0, 129, 1]), "Framed-IPv6-Prefix"),
        ((123, vec![0, 0]), "Delegated-IPv6-Prefix of length 0"),
        ((96, vec![1]), "Framed-Interface-Id"),
    ] {
        let error = accept(|_| vec![attribute.clone()]).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let error = accept(|_| (0..65).map(|n| (22, format!("10.{n}.0.0/16").into_bytes())).collect()).unwrap_err();
    assert!(error.contains("65 networks behind the client") && error.contains("64 are possible"), "{error}");
    assert_eq!(accept(|_| vec![(9, vec![255; 4])]).unwrap().framed.netmask, None);
}
