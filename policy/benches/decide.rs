//! Decisions a second on one core, with 200 policies of which the last one matches: `cargo bench -p policy`.
#![allow(clippy::disallowed_methods, reason = "a bench measures time, as the kernel tells it in a file")]
#![allow(clippy::print_stdout, reason = "a bench prints")]
use policy::network::*;
use std::hint::black_box;
use std::time::Duration;

const POLICIES: usize = 200;
const ROUNDS: u32 = 20_000;

fn policies() -> Vec<Policy> {
    let of = |number: usize| {
        let department = Conditions {
            tunnel: vec![Tunnel::Ikev2],
            user: vec![format!("*@department{number}.example.test"), format!("DEPARTMENT{number}\\*")],
            group: vec![format!("VPN department {number}")],
            ..Conditions::default()
        };
        let managed = Conditions { certificate_issuer: vec![format!("CN=Department {number} CA*")], ..Conditions::default() };
        Conditions { any: vec![department, managed], ..Conditions::default() }
    };
    let mut policies: Vec<_> = (1..POLICIES)
        .map(|number| Policy { name: format!("department {number}"), grant: true, conditions: of(number), ..Policy::default() })
        .collect();
    policies.push(Policy { name: "everybody".into(), grant: true, ..Policy::default() });
    policies
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
        reply: &[],
        time: LocalTime { weekday: 2, minute: 600 },
    };
    let start = on_cpu();
    for _ in 0..ROUNDS {
        assert!(decide(black_box(&policies), black_box(&facts), &Alone).granted);
    }
    let each = (on_cpu() - start) / ROUNDS;
    println!("{POLICIES} policies: {each:?} a decision, {:.0} a second", 1.0 / each.as_secs_f64());
}
