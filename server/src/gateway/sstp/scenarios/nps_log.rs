//! What the log in the format of NPS says of a login and its session.
use super::*;
use crate::nps_log::{Kinds, Value};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Lines since the last look, as XML.
fn lines(world: &mut World) -> Vec<BTreeMap<String, String>> {
    let mut lines = Vec::new();
    while let Some(effect) = world.gateway.poll_effect() {
        let Effect::NpsLog(record) = effect else { continue };
        let line = record.line("vpn", &TimeZone::UTC);
        let document = roxmltree::Document::parse(&line).unwrap();
        let elements = document.root_element().children();
        lines.push(elements.map(|node| (node.tag_name().name().to_owned(), node.text().unwrap_or_default().to_owned())).collect());
    }
    lines
}

fn of(line: &BTreeMap<String, String>, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| line.get(*name).cloned().unwrap_or_else(|| "-".into())).collect()
}

fn world(interims: bool) -> World {
    let mut world = World::empty(10, &[("never", "mallory", false), ("all", "*", true)]);
    world.gateway.settings.nps_log = Some(Kinds { logins: true, challenges: true, accounting: true, interims });
    world
}

#[test]
fn a_session_is_four_lines_with_one_class() {
    let mut world = world(false);
    assert!(world.login(101, &Caller::default(), &Accept::default()));
    world.gateway.established(world.now, SessionId(101), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
    world.gateway.account_stop(world.now, SessionId(101), CloseReason::PeerDeleted, None);
    let lines = lines(&mut world);
    let names =
        ["Packet-Type", "Reason-Code", "Acct-Status-Type", "User-Name", "NP-Policy-Name", "Framed-IP-Address", "Acct-Terminate-Cause"];
    let told: Vec<_> = lines.iter().map(|line| of(line, &names).join(" ")).collect();
    let expected = ["1 0 - alice all - -", "2 0 - - all 10.0.0.1 -", "4 0 1 alice all 10.0.0.1 -", "4 0 2 alice all 10.0.0.1 1"];
    assert_eq!(told, expected);
    let class = "311 1 192.0.2.1 01/01/1970 00:00:00 1";
    assert!(lines.iter().all(|line| line["Class"] == class && line["Client-IP-Address"] == "192.0.2.1"), "{lines:?}");
    assert_eq!(of(&lines[1], &["Authentication-Type", "Provider-Type", "Fully-Qualifed-User-Name"]), ["5", "2", "alice"]);
    assert_eq!(of(&lines[2], &["NAS-Port-Type", "Calling-Station-Id", "Acct-Authentic"]), ["5", "192.0.2.2", "1"]);
}

#[test]
fn refusals_say_why_and_by_which_policy() {
    let mut world = world(false);
    assert!(!world.login(101, &Caller { user: "mallory", ..Caller::default() }, &Accept::default()));
    let told = lines(&mut world);
    assert_eq!(told.len(), 2);
    let names = ["Packet-Type", "Reason-Code", "NP-Policy-Name", "SAM-Account-Name"];
    assert_eq!(of(&told[1], &names), ["3", "65", "never", "mallory"]);
    let server = "nps".to_owned();
    let error = b"E=647 R=0 V=3 M=Disabled".to_vec();
    let mut world = World::new(&[AuthProtocol::Pap], &[("all", "*", true)]);
    world.gateway.settings.nps_log = Some(Kinds { logins: true, challenges: true, accounting: true, interims: false });
    world.lcp();
    world.ppp(0xc023, 1, 1, b"\x05alice\x06secret");
    let ticket = world.asked().0[0].0;
    let refused = LoginOutcome::Reject { server, reply_message: None, ms_chap_error: Some(error) };
    world.gateway.logged_in(world.now, ticket, refused);
    let told = lines(&mut world);
    assert_eq!(of(told.last().unwrap(), &["Packet-Type", "Reason-Code", "Authentication-Type"]), ["3", "34", "1"]);
}

#[test]
fn interims_are_written_where_they_are_wanted_and_a_start_ends_what_was() {
    for wanted in [false, true] {
        let mut world = world(wanted);
        world.gateway.account_gateway(world.now, radius_client::AccountingStatus::On, "5f-gateway".into());
        assert!(world.login(101, &Caller::default(), &Accept::default()));
        world.gateway.established(world.now, SessionId(101), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
        (0..11).for_each(|_| world.pass(65));
        let types: Vec<_> = lines(&mut world).iter().filter_map(|line| line.get("Acct-Status-Type").cloned()).collect();
        let expected: &[&str] = if wanted { &["7", "1", "3"] } else { &["7", "1"] };
        assert_eq!(types, expected);
    }
}

/// A name goes into several attributes, and grows there: `&` to five bytes, what is no XML to two digits a byte.
#[test]
fn the_longest_names_of_strangers_make_short_lines() {
    for letter in ["&", "\u{1}", "\u{1f511}"] {
        let user = letter.repeat(60_000 / letter.len());
        let mut world = world(false);
        world.login(101, &Caller { user: &user, name: &user, ..Caller::default() }, &Accept::default());
        world.gateway.established(world.now, SessionId(101), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
        world.gateway.account_stop(world.now, SessionId(101), CloseReason::PeerDeleted, None);
        let mut records = 0;
        while let Some(effect) = world.gateway.poll_effect() {
            let Effect::NpsLog(record) = effect else { continue };
            records += 1;
            let held: usize = record.attributes.iter().map(|(_, value)| if let Value::Text(text) = value { text.len() } else { 0 }).sum();
            let line = record.line("vpn", &TimeZone::UTC).len();
            assert!(held < 2_048 && line < 8_192, "{held} bytes make a line of {line}");
        }
        assert!(records >= 2, "{records}");
    }
}

/// A round with EAP and its answer, as NPS writes each.
#[test]
fn rounds_before_the_decision_are_written_where_they_are_wanted() {
    for wanted in [true, false] {
        let mut world = world(false);
        world.gateway.settings.nps_log = Some(Kinds { logins: true, challenges: wanted, accounting: true, interims: false });
        assert!(world.login(101, &Caller::default(), &Accept::default()));
        lines(&mut world);
        let ticket = world.gateway.ticket();
        world.gateway.tickets.insert(ticket, (SessionId(101), Asker::Ike(ike::AskId(7))));
        // PEAP, start.
        let eap = vec![1, 9, 0, 6, 25, 0x20];
        world.gateway.authenticated(world.now, ticket, EapOutcome::Challenge { server: "nps".into(), eap });
        let told = lines(&mut world);
        let names = ["Packet-Type", "Reason-Code", "User-Name", "SAM-Account-Name", "NP-Policy-Name", "Authentication-Type"];
        let told: Vec<_> = told.iter().map(|line| of(line, &names).join(" ") + " " + &line["Class"]).collect();
        let expected =
            ["1 0 alice alice - 11 311 1 192.0.2.1 01/01/1970 00:00:00 1", "11 0 - alice - 11 311 1 192.0.2.1 01/01/1970 00:00:00 1"];
        assert_eq!(told, if wanted { expected.map(str::to_owned).to_vec() } else { Vec::new() });
    }
}

#[test]
fn the_stop_of_an_earlier_run_is_joined_with_its_start() {
    let mut world = world(false);
    assert!(world.login(101, &Caller::default(), &Accept::default()));
    world.gateway.established(world.now, SessionId(101), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
    let (mut start, mut record) = (None, None);
    while let Some(effect) = world.gateway.poll_effect() {
        match effect {
            Effect::NpsLog(line) => start = Some(line.attributes),
            Effect::Account(event) => {
                if let crate::accounting::Event::Start { record: begun, .. } = *event {
                    record = Some(*begun);
                }
            }
            _ => {}
        }
    }
    let (status, cause) = (radius_client::AccountingStatus::Stop, radius_client::TerminateCause::NasReboot);
    let stop = radius_client::AccountingRecord { status, terminate_cause: Some(cause), ..record.unwrap() };
    // Another run, half an hour later.
    let now = Now { wall: jiff::Timestamp::from_second(1_800).unwrap(), ..world.now };
    let mut later = self::world(false);
    let lines = later.gateway.lines_of_earlier_run(now, std::slice::from_ref(&stop));
    let value =
        |attributes: &[(&str, Value)], name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let start = start.unwrap();
    for name in ["Class", "User-Name", "Acct-Session-Id", "Client-IP-Address", "NP-Policy-Name", "Framed-IP-Address", "Packet-Type"] {
        assert!(value(&start, name).is_some() && value(&start, name) == value(&lines[0].attributes, name), "{name}: {start:?} {lines:?}");
    }
    for (name, number) in [("Acct-Status-Type", 2), ("Acct-Terminate-Cause", cause as u64), ("Acct-Delay-Time", 1_800)] {
        assert_eq!(value(&lines[0].attributes, name), Some(Value::Number(number)), "{name}");
    }
    assert_eq!((lines.len(), lines[0].at), (1, now.wall));
    later.gateway.settings.nps_log = Some(Kinds { logins: true, challenges: true, accounting: false, interims: false });
    assert_eq!(later.gateway.lines_of_earlier_run(now, &[stop]), []);
}
