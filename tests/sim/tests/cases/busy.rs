//! A gateway that has more key exchanges waiting than it can hold: nobody is refused for it who would not come again.
use super::{CLIENT, GATEWAY, Pair, assert_carries};
use crypto::dh::Group;
use ike::wire::{Exchange, Header};
use ike::{CloseReason, Command, Fault, Timers};
use sim::{HostId, initiator, responder, timers};
use std::time::Duration;

/// The client's next try begins anew, and the record of the first one blames the gateway.
#[test]
fn a_first_message_is_dropped_and_comes_again() {
    let mut pair = Pair::default();
    pair.sim.host_mut(pair.gateway).answers.busy = 2;
    pair.sim.connect(pair.client, initiator(CLIENT, GATEWAY));
    assert!(pair.sim.run_until(Duration::from_secs(10), |sim| !sim.host(pair.client).established().is_empty()));
    pair.sim.run_for(Duration::from_secs(1));
    assert_eq!(pair.client().failure(), None);
    let dropped: Vec<_> = pair.gateway().closed();
    assert_eq!(dropped.len(), 2);
    for (_, reason, failure) in dropped {
        let failure = failure.unwrap();
        assert_eq!((reason, failure.fault, failure.notify), (CloseReason::Failed, Fault::Dependency, None));
        assert!(failure.cause.contains("the gateway was busy"), "{}", failure.cause);
    }
    let answers = pair.gateway().sent.iter().filter(|(_, message)| Header::parse(message).unwrap().exchange == Exchange::IkeSaInit);
    assert_eq!(answers.count(), 1);
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 1));
}

/// Whichever side begins, and at whichever of its questions there is no room: the rekey takes place later, and what is there carries meanwhile.
#[test]
fn a_rekey_is_put_off() {
    let gateway: fn(&Pair) -> HostId = |pair| pair.gateway;
    let client: fn(&Pair) -> HostId = |pair| pair.client;
    for (hybrid, busy_for) in [(false, 1), (false, 2), (true, 1)] {
        for (who, command) in [gateway, client].into_iter().flat_map(|who| [Command::RekeyChild, Command::RekeyIke].map(|it| (who, it))) {
            let (mut config, mut peer) = (responder(), initiator(CLIENT, GATEWAY));
            let Timers { ike_rekey, child_rekey, .. } = Timers::default();
            config.timers = Timers { ike_rekey, child_rekey, ..timers() };
            peer.timers = config.timers;
            if hybrid {
                config.ciphers.additional = vec![Group::MlKem768];
                peer.ciphers.additional = vec![Group::MlKem768];
            }
            let mut pair = Pair::up_with(1, config, peer);
            pair.sim.host_mut(pair.gateway).answers.busy = busy_for;
            let (host, session) = (who(&pair), pair.session(who(&pair)));
            let of_ike = command == Command::RekeyIke;
            pair.sim.command(host, session, command);
            let (gateway, client) = (pair.gateway, pair.client);
            let done = pair.sim.run_until(Duration::from_secs(3000), |sim| {
                assert_carries(sim.host(gateway), sim.host(client));
                sim.host(gateway).rekeyed(of_ike) > 0 && sim.host(client).rekeyed(of_ike) > 0
            });
            assert!(done && pair.gateway().answers.busy == 0, "{hybrid} {busy_for} {command:?}: {}", pair.gateway().notes());
            pair.sim.run_for(Duration::from_secs(60));
            pair.assert_up();
            assert!(pair.gateway().notes().contains("the gateway was busy"), "{}", pair.gateway().notes());
        }
    }
}
