//! How many requests may wait for one server.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;

/// 256 ports with 256 identifiers each.
const MOST: u64 = 65_536;

#[test]
fn more_than_all_identifiers_of_all_ports_are_refused_in_words() {
    let mut client = client(vec![server("nps1", 1)]);
    let mut sockets = 0;
    let mut first = None;
    for number in 0..MOST {
        client.handle(start(), login(number, number, pap(b"secret")));
        let outputs = drain(&mut client);
        sockets += outputs.iter().filter(|output| matches!(output, Output::Open { .. })).count();
        let request = sent(&outputs).remove(0);
        first.get_or_insert(request);
    }
    assert_eq!((sockets, client.servers()[0].in_flight as u64), (256, MOST));
    client.handle(start(), login(MOST, MOST, pap(b"secret")));
    let mut refused = login_outcomes(drain(&mut client));
    assert_eq!(refused.len(), 1);
    let (ticket, LoginOutcome::Failed(failure)) = refused.remove(0) else { panic!() };
    assert_eq!((ticket, failure.to_string().as_str()), (MOST, "radius nps1: request not sent: too many requests wait for an answer"));
    assert_ne!(client.servers()[0].standing, Standing::Dead, "it is not the server's fault");
    let first = first.unwrap();
    client.handle(start(), first.datagram(reply(2, &first, &[])));
    assert!(matches!(login_outcomes(drain(&mut client))[..], [(0, LoginOutcome::Accept { .. })]));
    assert_eq!(client.servers()[0].in_flight as u64, MOST - 1);
    client.handle(start(), login(MOST + 1, MOST + 1, pap(b"secret")));
    assert_eq!(only_sent(&drain(&mut client)).socket, first.socket, "one answer makes room for one request");
}
