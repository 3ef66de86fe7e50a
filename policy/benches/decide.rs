//! Decisions a second on one core, with 200 policies of which the last one matches, and beside them the least that a walk over 200 rules can be:
//! as many comparisons of the user's name with a text: `cargo bench -p policy`.
#![allow(clippy::disallowed_methods, reason = "a bench measures time, as the kernel tells it in a file")]
#![allow(clippy::print_stdout, reason = "a bench prints")]
use policy::network::*;
use std::hint::black_box;
use std::time::Duration;

const POLICIES: usize = 200;
const ROUNDS: u32 = 5_000;
/// The walk is so short that the kernel's clock, which moves by milliseconds, would not see fewer.
const WALKS: u32 = 500_000;
/// What an administrator writes, in turn: by name or group, by machine and certificate, by place and time, by what RADIUS says.
const KINDS: usize = 4;

fn conditions(number: usize) -> Conditions {
    let none = Conditions::default;
    let night = TimeWindow { days: 0b001_1111, from: 1_320, to: 360 };
    match number % KINDS {
        0 => {
            let names = vec![format!("*@department{number}.example.test"), format!("DEPARTMENT{number}\\*")];
            let by_name = Conditions { user: names, ..none() };
            let by_group = Conditions { group: vec![format!("VPN department {number}"), format!("Guests of {number}")], ..none() };
            Conditions { tunnel: vec![Tunnel::Ikev2, Tunnel::Sstp], any: vec![by_name, by_group], ..none() }
        }
        1 => {
            let machine = Conditions { machine: vec![format!("pc*.department{number}.example.test")], ..none() };
            let managed = Conditions { certificate_issuer: vec![format!("CN=Department {number} CA*")], ..none() };
            Conditions { any: vec![machine, Conditions { method: vec![Method::Eap], all: vec![managed], ..none() }], ..none() }
        }
        2 => {
            let site = (number / KINDS % 250) as u8;
            let range = AddressRange { start: [203, 0, 113, site].into(), end: [203, 0, 113, site].into() };
            let inside = Conditions { client: vec![range], ..none() };
            Conditions { listener: vec!["ma*".into()], any: vec![inside, Conditions { time: vec![night], ..none() }], ..none() }
        }
        _ => {
            let vlan = Attribute { name: "Tunnel-Private-Group-Id".into(), value: format!("{number}*") };
            let quarantined = Conditions { filter_id: vec!["quarantine*".into()], ..none() };
            Conditions { eap_type: vec!["EAP-*".into()], reply: vec![vlan], not: vec![quarantined], ..none() }
        }
    }
}

fn policies() -> Vec<Policy> {
    let policy = |number| Policy { name: format!("department {number}"), grant: true, conditions: conditions(number), ..Policy::default() };
    let mut policies: Vec<_> = (1..POLICIES).map(policy).collect();
    policies.push(Policy { name: "everybody".into(), grant: true, ..Policy::default() });
    policies
}

/// The peer: which of the texts is the name, without regard to case.
fn walk(texts: &[String], name: &str) -> Option<usize> {
    texts.iter().position(|text| text.eq_ignore_ascii_case(name))
}

/// How long one of many takes.
fn each(rounds: u32, mut work: impl FnMut()) -> Duration {
    let start = on_cpu();
    for _ in 0..rounds {
        work();
    }
    (on_cpu() - start) / rounds
}

/// Time that this thread has had a core, so that what else runs does not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel with schedstat");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("nanoseconds"))
}

fn main() {
    let policies = policies();
    let groups = ["VPN Users".to_owned(), "Domain Users".to_owned(), "Engineers".to_owned()];
    let reply = [("Tunnel-Private-Group-Id".to_owned(), "staff".to_owned())];
    let facts = Facts {
        tunnel: Tunnel::Ikev2,
        authenticated: true,
        method: Method::Eap,
        eap_type: Some("EAP-MSCHAPv2"),
        user: "alice.longname@corp.example.test",
        confirmed: true,
        machine: None,
        client: "192.0.2.7".parse().expect("an address"),
        gateway: "198.51.100.1".parse().expect("an address"),
        port_type: 5,
        listener: "main",
        server_name: None,
        shown: None,
        certificate_hidden: false,
        certificate: None,
        cipher_bits: Some(256),
        class: &[],
        filter_id: &[],
        group: &groups,
        radius_server: Some("nps1"),
        radius_group: Some("corp"),
        reply: &reply,
        time: LocalTime { weekday: 2, minute: 600 },
    };
    let texts: Vec<_> = (1..POLICIES).map(|number| format!("alice.longname@c{number:03}.example.test")).collect();
    let deciding = each(ROUNDS, || assert!(decide(black_box(&policies), black_box(&facts), &Alone).granted));
    let early = Facts { listener: "main", ..Facts::before_login(Tunnel::Ikev2, facts.time) };
    let showing = each(ROUNDS, || assert!(shown(black_box(&policies), black_box(&early), &|_| true).is_empty()));
    let walking = each(WALKS, || assert_eq!(walk(black_box(&texts), black_box(facts.user)), None));
    for (what, time) in [("decision, with the reason of each policy", deciding), ("look at what is shown before a login", showing)] {
        let (rate, ratio) = (1.0 / time.as_secs_f64(), time.as_secs_f64() / walking.as_secs_f64());
        println!(
            "{POLICIES} policies, the last matches: {time:?} a {what}, {rate:.0} a second, {ratio:.1} bare walks over {POLICIES} texts ({walking:?})"
        );
    }
}
