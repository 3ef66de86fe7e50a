//! What a decision costs, counted instead of timed: memory that is asked for, and that it grows with the number of policies and no faster.
#![allow(clippy::unwrap_used)]
mod common;

use common::facts;
use policy::network::*;

fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let mut outcome = None;
    let counted = allocation_counter::measure(|| outcome = Some(work()));
    (counted.count_total, outcome.unwrap())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// Departments with nested conditions of every kind, none of which is Bob's, and one for everybody.
fn policies(count: usize) -> Vec<Policy> {
    let department = |number: usize| {
        let of_group = Conditions { group: vec![format!("VPN department {number}")], ..Conditions::default() };
        let by_name = Conditions { user: vec![format!("*@department{number}.example.test")], ..Conditions::default() };
        let nights = Conditions { time: vec![TimeWindow { days: 127, from: 1_320, to: 360 }], ..Conditions::default() };
        let conditions = Conditions {
            tunnel: vec![Tunnel::Ikev2, Tunnel::Sstp],
            any: vec![of_group, by_name],
            not: vec![nights],
            ..Conditions::default()
        };
        let certificate = Some(format!("tenant {number}"));
        Policy {
            name: number.to_string(),
            grant: true,
            certificate: certificate.filter(|_| number.is_multiple_of(2)),
            conditions,
            ..Policy::default()
        }
    };
    let mut policies: Vec<_> = (1..count).map(department).collect();
    policies.push(Policy { name: "everybody".into(), grant: true, ..Policy::default() });
    policies
}

#[test]
fn a_decision_asks_for_memory_to_tell_its_reasons_and_for_nothing_else() {
    let groups = texts(&["VPN Users", "Domain Users"]);
    let facts = Facts { group: &groups, ..facts() };
    let of = |count| {
        let policies = policies(count);
        let (allocations, decision) = allocations(|| decide(&policies, &facts, &Alone));
        assert_eq!((decision.policy.as_deref(), decision.passed_over.len()), (Some("everybody"), count - 1));
        allocations
    };
    let (hundred, two_hundred) = (of(100), of(200));
    // Of each policy its name and its reason, and the list that they stand in.
    assert!(two_hundred <= 2 * 200 + 16, "{two_hundred} allocations for 200 policies");
    assert!(two_hundred >= 2 * hundred - 16, "{hundred} for 100 policies, {two_hundred} for 200: is anything counted at all?");
    // One that matches at once tells of no other.
    let mut first = policies(200);
    first.rotate_right(1);
    let (at_once, decision) = allocations(|| decide(&first, &facts, &Alone));
    assert!(decision.granted && at_once <= 2, "{at_once} allocations");
}

/// Strangers make this happen, before they are anybody.
#[test]
fn what_is_shown_before_the_login_costs_no_memory_for_policies_that_are_ruled_out() {
    let mut policies = policies(200);
    for policy in &mut policies[..199] {
        policy.conditions.server_name = texts(&["vpn.*.test"]);
    }
    let facts = Facts::before_login(Tunnel::Sstp, facts().time);
    let (allocations, named) = allocations(|| shown(&policies, &facts, &|_| true));
    assert_eq!((allocations, named.len()), (0, 0));
}
