//! Rekeys that we begin, with the additional key exchange that the SA was made with (RFC 9370 section 2.2.4).
use super::{CLIENT, GATEWAY, Pair};
use crypto::dh::Group;
use ike::wire::{Exchange, Header, Notify, Payload, Payloads, notify};
use ike::{Command, Input, Timers};
use sim::{Faults, HostId, Script, Sim, Verdict, ciphers, initiator, responder, timers};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Both have ML-KEM-768; the timers are those of patient hosts.
fn hybrid(seed: u64, ike_rekey: Duration, child_rekey: Duration) -> Pair {
    let (mut config, mut client) = (responder(), initiator(CLIENT, GATEWAY));
    config.timers = Timers { ike_rekey, child_rekey, retransmit_tries: 20, ..timers() };
    client.timers = Timers { retransmit_tries: 20, ..timers() };
    config.ciphers.additional = vec![Group::MlKem768];
    client.ciphers.additional = vec![Group::MlKem768];
    Pair::up_with(seed, config, client)
}

/// Requests for second key exchanges, by whom; retransmissions count once.
fn follow_ups(host: &sim::Host) -> usize {
    let of = |message: &[u8]| {
        let header = Header::parse(message).unwrap();
        let asks = header.exchange == Exchange::IkeFollowupKe && !header.flags.response;
        asks.then_some((header.initiator_spi, header.responder_spi, header.message_id))
    };
    host.sent.iter().filter_map(|(_, message)| of(message)).collect::<std::collections::BTreeSet<_>>().len()
}

fn counts(pair: &Pair) -> [usize; 3] {
    [pair.client().rekeyed(false), pair.client().rekeyed(true), follow_ups(pair.gateway())]
}

#[test]
fn every_rekey_has_it() {
    let mut pair = hybrid(1, Duration::ZERO, Duration::ZERO);
    let rounds = [Command::RekeyChild, Command::RekeyIke, Command::RekeyIke, Command::RekeyChild, Command::RekeyChild];
    let (mut children, mut ikes) = (0, 0);
    for (round, command) in (1..).zip(rounds) {
        let session = pair.session(pair.gateway);
        pair.sim.command(pair.gateway, session, command);
        pair.carry(10 * SECOND);
        *(if command == Command::RekeyIke { &mut ikes } else { &mut children }) += 1;
        assert_eq!(counts(&pair), [children, ikes, round]);
        pair.assert_up();
    }
    assert_eq!(pair.gateway().children.len(), 1);
}

#[test]
fn by_the_clock() {
    let mut pair = hybrid(1, 600 * SECOND, 300 * SECOND);
    pair.carry(6000 * SECOND);
    pair.assert_up();
    let [children, ikes, asked] = counts(&pair);
    assert!(children >= 20 && ikes >= 10, "{children} {ikes}");
    assert_eq!(asked, children + ikes);
}

/// A Child SA that is made because packets wait is made as its predecessors were.
#[test]
fn on_demand() {
    let mut pair = hybrid(1, Duration::ZERO, Duration::ZERO);
    for round in 1..=3 {
        let session = pair.session(pair.gateway);
        pair.sim.command(pair.gateway, session, Command::DropChild);
        pair.sim.run_for(10 * SECOND);
        assert!(pair.gateway().children.is_empty() && pair.client().children.is_empty());
        pair.sim.input(pair.gateway, Input::Wanted(session));
        pair.sim.run_for(5 * SECOND);
        pair.assert_up();
        assert_eq!(follow_ups(pair.gateway()), round);
    }
}

/// The client has no ML-KEM for Child SAs, or no key exchange at all: what it wants is among what is offered, and then nothing else is.
#[test]
fn where_the_client_has_it() {
    for (pfs, hybrid, expected) in [(false, true, [0, 1]), (true, false, [0, 0])] {
        let (mut config, mut client) = (responder(), initiator(CLIENT, GATEWAY));
        config.ciphers.additional = vec![Group::MlKem768];
        client.ciphers.additional = if hybrid { vec![Group::MlKem768] } else { Vec::new() };
        client.ciphers.pfs_groups.truncate(usize::from(pfs));
        let mut pair = Pair::up_with(1, config, client);
        for _ in 0..2 {
            for (command, expected) in [Command::RekeyChild, Command::RekeyIke].into_iter().zip(expected) {
                let (session, before) = (pair.session(pair.gateway), follow_ups(pair.gateway()));
                pair.sim.command(pair.gateway, session, command);
                pair.carry(10 * SECOND);
                assert_eq!(follow_ups(pair.gateway()) - before, expected, "{command:?}");
            }
        }
        assert_eq!((pair.client().rekeyed(false), pair.client().rekeyed(true)), (2, 2));
        pair.assert_up();
    }
}

#[test]
fn on_a_bad_wire() {
    for seed in 0..30 {
        let mut pair = hybrid(seed, Duration::ZERO, Duration::ZERO);
        pair.sim.faults = Faults { loss: 200, duplicate: 200, jitter: Duration::from_millis(300) };
        for (turn, command) in (0..).zip([Command::RekeyChild, Command::RekeyIke, Command::RekeyChild]) {
            // Every third time both at once.
            for host in [pair.gateway, pair.client].iter().skip(usize::from(seed % 3 == 1)).take(1 + usize::from(seed % 3 == 2)) {
                let session = pair.session(*host);
                pair.sim.command(*host, session, command);
            }
            pair.sim.run_for(120 * SECOND);
            assert!(pair.client().rekeyed(true) >= usize::from(turn > 0), "seed {seed}");
        }
        pair.sim.faults = Faults::default();
        pair.sim.run_for(300 * SECOND);
        pair.assert_up();
        assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1), "seed {seed}");
        assert!(pair.client().rekeyed(false) >= 1);
    }
}

/// Both ask at once and see it in the answers: whose exchange had the lowest nonce stops, and only the other one has a second half.
#[test]
fn collisions_end_before_the_second_half() {
    let mut ours = 0;
    for (seed, command) in (0..24).zip([Command::RekeyIke, Command::RekeyChild].into_iter().cycle()) {
        let mut pair = hybrid(seed, Duration::ZERO, Duration::ZERO);
        for host in [pair.gateway, pair.client] {
            let session = pair.session(host);
            pair.sim.command(host, session, command);
        }
        pair.carry(30 * SECOND);
        pair.assert_up();
        let asked = (follow_ups(pair.gateway()), follow_ups(pair.client()));
        assert!(matches!(asked, (1, 0) | (0, 1)), "{asked:?}");
        let of_ike = command == Command::RekeyIke;
        assert_eq!((pair.gateway().rekeyed(of_ike), pair.client().rekeyed(of_ike)), (1, 1));
        let stopped = if asked.0 == 1 { pair.client() } else { pair.gateway() };
        assert!(stopped.notes().contains("and the peer's goes on"), "{}", stopped.notes());
        ours += asked.0;
    }
    assert!((4..=20).contains(&ours), "{ours} of 24");
}

/// The client's request comes when ours has been answered and our second half is with the client: it has to come again later.
#[test]
fn a_collision_noticed_too_late() {
    for command in [Command::RekeyIke, Command::RekeyChild] {
        let mut pair = hybrid(3, Duration::ZERO, Duration::ZERO);
        let mut first = true;
        pair.sim.filter = Some(Box::new(move |path, message| {
            let header = Header::parse(message).unwrap();
            let asks = header.exchange == Exchange::CreateChildSa && !header.flags.response && path.local.ip() == CLIENT;
            if asks && std::mem::take(&mut first) { Verdict::Drop } else { Verdict::Pass }
        }));
        // The additional key exchange takes long enough for the client to send its request again.
        let session = pair.session(pair.client);
        pair.sim.command(pair.client, session, command);
        pair.sim.run_for(Duration::from_millis(1));
        let session = pair.session(pair.gateway);
        pair.sim.command(pair.gateway, session, command);
        pair.sim.run_for(Duration::from_millis(25));
        pair.sim.host_mut(pair.client).answers.crypto_delay = 4 * SECOND;
        pair.carry(120 * SECOND);
        pair.assert_up();
        assert!(pair.client().notes().contains("TEMPORARY_FAILURE"), "{}", pair.client().notes());
        assert!(follow_ups(pair.gateway()) >= 1);
        assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1));
    }
}

/// We take longer than the client waits for the second half: it knows nothing of the first any more, and is asked anew.
#[test]
fn a_first_half_that_is_forgotten() {
    let mut pair = hybrid(5, 600 * SECOND, Duration::ZERO);
    let (registered, session) = (pair.gateway().registered(), pair.session(pair.gateway));
    pair.sim.host_mut(pair.gateway).answers.crypto_delay = 61 * SECOND;
    pair.sim.command(pair.gateway, session, Command::RekeyIke);
    pair.carry(250 * SECOND);
    assert!(pair.gateway().notes().contains("STATE_NOT_FOUND"), "{}", pair.gateway().notes());
    assert_eq!(pair.client().rekeyed(true), 0);
    pair.sim.host_mut(pair.gateway).answers.crypto_delay = Duration::ZERO;
    pair.carry(300 * SECOND);
    assert_eq!(pair.client().rekeyed(true), 1, "tried again");
    pair.assert_up();
    assert_eq!(pair.gateway().registered(), registered);
}

#[test]
fn nothing_is_offered_that_the_login_had_not() {
    let mut config = responder();
    config.ciphers.additional = vec![Group::MlKem768];
    let Pair { mut sim, gateway, .. } = Pair::new(1, config);
    let mut script = script(gateway);
    script.login(&mut sim);
    for command in [Command::RekeyChild, Command::RekeyIke] {
        let (header, request) = ask(&mut sim, gateway, &script, command);
        let texts = request.sa().unwrap().texts().join(" ");
        assert!(!texts.contains("ADDKE"), "{texts}");
        let refusal =
            script.seal_as(header.exchange, true, header.message_id, &[Payload::Notify(Notify::new(notify::NO_PROPOSAL_CHOSEN, []))]);
        script.send(&mut sim, refusal);
    }
}

fn script(gateway: HostId) -> Script {
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers())
}

/// Has the gateway ask for something; its request.
fn ask(sim: &mut Sim, gateway: HostId, script: &Script, command: Command) -> (Header, Payloads) {
    let session = sim.host(gateway).established()[0];
    sim.command(gateway, session, command);
    sim.run_for(Duration::from_millis(1));
    let message = &sim.host(gateway).sent.last().unwrap().1;
    (Header::parse(message).unwrap(), script.open(message))
}
