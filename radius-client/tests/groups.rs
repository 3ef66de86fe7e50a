//! Which server of a group is asked.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;
use std::collections::BTreeMap;

fn member(server: &str, priority: u16, weight: u16) -> Member {
    Member { server: server.into(), priority, weight }
}

fn group(name: &str, members: &[Member]) -> Group {
    Group { name: name.into(), members: members.to_vec() }
}

fn ask_group(client: &mut Client, ticket: u64, name: &str) -> Vec<Output> {
    let Input::Eap { ticket, conversation, user_name, eap, nas, .. } = ask(ticket, ticket, &eap_packet(2, 1, &[26])) else { panic!() };
    let group = Some(name.to_owned());
    client.handle(start(), Input::Eap { ticket, conversation, group, user_name, eap, nas });
    drain(client)
}

fn three(groups: Vec<Group>) -> Client {
    let servers = (1..=3).map(|last| server(&format!("nps{last}"), last)).collect();
    client(Configuration { servers, groups })
}

#[test]
fn the_lowest_priority_number_is_asked_and_equals_share_by_weight() {
    let members = [member("nps1", 2, 100), member("nps2", 1, 75), member("nps3", 1, 25)];
    let mut client = three(vec![group("corp", &members)]);
    let mut asked = BTreeMap::new();
    for ticket in 0..2_000 {
        *asked.entry(only_sent(&ask_group(&mut client, ticket, "corp")).to.ip().to_string()).or_insert(0) += 1;
    }
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!((1_400..1_600).contains(&asked["192.0.2.2"]), "{asked:?}");
}

#[test]
fn another_group_is_another_server_and_an_unknown_one_an_error() {
    let mut client = three(vec![group("corp", &[member("nps1", 1, 1)]), group("partners", &[member("nps3", 1, 1)])]);
    assert_eq!(only_sent(&ask_group(&mut client, 1, "partners")).to.ip().to_string(), "192.0.2.3");
    let outcome = outcomes(ask_group(&mut client, 2, "nobody")).remove(0).1;
    assert!(matches!(&outcome, EapOutcome::Failed(RequestFailure::NoGroup { group }) if group == "nobody"), "{outcome:?}");
}

#[test]
fn failover_stays_in_the_group() {
    let mut client = three(vec![group("corp", &[member("nps3", 1, 1), member("nps1", 2, 1)])]);
    let mut asked = Vec::new();
    let mut outputs = ask_group(&mut client, 1, "corp");
    while let Some(request) = sent(&outputs).first().cloned() {
        asked.push(request.to.ip().to_string());
        client.handle(start(), Input::Unreachable { socket: request.socket, to: request.to });
        outputs = drain(&mut client);
    }
    assert_eq!(asked, ["192.0.2.3", "192.0.2.1"]);
    assert!(matches!(&outcomes(outputs)[..], [(1, EapOutcome::Failed(RequestFailure::Unreachable { server }))] if server == "nps3, nps1"));
}

#[test]
fn a_server_speaks_of_the_gateway_as_it_is_told_to() {
    let known_as = Server { nas_identifier: Some("vpn-west".into()), nas_ip: Some("198.51.100.7".parse().unwrap()), ..server("nps1", 1) };
    let mut client = client(vec![known_as]);
    client.handle(start(), ask(1, 1, &eap_packet(2, 1, &[26])));
    let request = only_sent(&drain(&mut client));
    assert_eq!((request.get(32).unwrap(), request.get(4).unwrap()), (b"vpn-west".to_vec(), vec![198, 51, 100, 7]));
}

/// A record may wait for longer than its group is configured.
#[test]
fn accounting_of_a_group_that_is_gone_goes_to_the_server_of_the_login_or_to_any() {
    for (knows, told) in [(Some("nps2"), "192.0.2.2:1813"), (Some("gone"), "192.0.2.1:1813"), (None, "192.0.2.1:1813")] {
        let mut client = client(vec![server("nps1", 1), server("nps2", 2)]);
        let record = AccountingRecord { nas: nas(), server: knows.map(str::to_owned), ..AccountingRecord::default() };
        client.handle(start(), Input::Accounting { ticket: Ticket(1), group: Some("gone".into()), record: Box::new(record) });
        let request = sent(&drain(&mut client)).remove(0);
        assert_eq!(request.to.to_string(), told, "{knows:?}");
        client.handle(start(), request.datagram(bare_reply(5, &request, &[])));
        assert!(drain(&mut client).iter().any(|output| matches!(output, Output::Accounting { outcome: Ok(_), .. })));
    }
}
