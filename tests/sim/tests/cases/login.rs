//! Logins that succeed, and those that must not.
use super::{CLIENT, GATEWAY, Pair};
use sim::initiator;

#[test]
fn eap() {
    let mut pair = Pair::default();
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
}
