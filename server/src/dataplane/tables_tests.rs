use super::super::gate::{Inner, Selector};
use super::super::stats::TrafficCounters;
use super::super::stream::StreamTunnel;
use super::super::tunnel::{Keys, Limits, TunnelSpec};
use super::*;
use crypto::Zeroizing;
use crypto::cipher::{Encryption, Suite};

fn path(port: u16) -> Path {
    Path::between(([192, 0, 2, 1], 4500).into(), ([192, 0, 2, 2], port).into())
}

fn lease() -> IpAddr {
    [10, 9, 0, 2].into()
}

fn elsewhere() -> IpAddr {
    [198, 51, 100, 1].into()
}

fn tunnel(session: u64, spi_in: u32, role: Role, outbound_ready: bool) -> Arc<Tunnel> {
    let key = || Keys { encryption: Zeroizing::new(vec![1; 20]), integrity: Zeroizing::new(vec![]) };
    let all =
        |start: [u8; 4], end: [u8; 4]| vec![Selector { protocol: 0, start_port: 0, end_port: 65535, start: start.into(), end: end.into() }];
    let spec = TunnelSpec {
        session,
        spi_in,
        spi_out: !spi_in,
        suite: Suite::new(Encryption::AesGcm128, None).unwrap(),
        esn: false,
        key_in: key(),
        key_out: key(),
        path: path(4500),
        encapsulate: true,
        inner: vec![lease()].into(),
        local: all([0; 4], [255; 4]),
        remote: all([10, 9, 0, 2], [10, 9, 0, 2]),
        mtu: u16::MAX,
        path_mtu: 1500,
        role,
        outbound_ready,
    };
    Arc::new(Tunnel::new(spec, Limits { replay_window: 64, worn_at: u64::MAX }, Arc::<TrafficCounters>::default()).unwrap())
}

fn sends_on(tables: &Tables) -> Option<u32> {
    sends_at(tables, Uptime::now())
}

fn sends_at(tables: &Tables, now: Uptime) -> Option<u32> {
    match tables.sender(elsewhere(), lease(), now) {
        Some(Carrier::Esp(peer)) => Some(peer.outbound.spi_in),
        _ => None,
    }
}

#[test]
fn a_rekey_moves_the_outbound_direction_when_told() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(1, 11, Role::Gateway, false)));
    assert_eq!(sends_on(&tables), Some(10));
    assert!(tables.receiver(10).is_some() && tables.receiver(11).is_some());
    tables.apply(Order::UseOutbound { session: 1, spi_in: 99 });
    assert_eq!(sends_on(&tables), Some(10));
    tables.apply(Order::UseOutbound { session: 1, spi_in: 11 });
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(11));
    assert!(tables.receiver(10).is_none());
    tables.apply(Order::Remove { session: 1, spi_in: 11 });
    assert!(sends_on(&tables).is_none() && tables.receiver(11).is_none());
}

#[test]
fn losing_the_outbound_sa_falls_back_to_the_newest() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(1, 11, Role::Gateway, false)));
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(11));
}

#[test]
fn a_lease_that_passed_on_stays_with_its_new_session() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(2, 20, Role::Gateway, true)));
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(20));
    tables.apply(Order::Remove { session: 1, spi_in: 20 });
    assert_eq!(sends_on(&tables), Some(20), "a session cannot remove another's tunnel");
}

#[test]
fn two_sessions_of_one_address_take_turns() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(2, 20, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(1, 11, Role::Gateway, true)));
    assert_eq!(sends_on(&tables), Some(20), "the older session's rekey takes nothing back");
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    tables.apply(Order::Remove { session: 2, spi_in: 20 });
    assert_eq!(sends_on(&tables), Some(11), "the older session is still there");
    tables.apply(Order::Install(tunnel(3, 30, Role::Gateway, true)));
    tables.apply(Order::Remove { session: 1, spi_in: 11 });
    tables.apply(Order::Remove { session: 3, spi_in: 30 });
    assert!(sends_on(&tables).is_none() && tables.leases.is_empty() && tables.older.is_empty());
}

/// The client authenticates anew, and what is sent to it passes to the new session once it has that one's Child SA.
#[test]
fn an_older_session_carries_until_the_newer_is_proven() {
    let long_after = || Uptime::from_millis(Uptime::now().millis() + 6_000);
    let overlapping = || {
        let mut tables = Tables::default();
        tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, false)));
        assert_eq!(sends_on(&tables), Some(10), "nothing else is there");
        tables.apply(Order::UseOutbound { session: 1, spi_in: 10 });
        tables.apply(Order::Install(tunnel(2, 20, Role::Gateway, false)));
        assert_eq!((sends_on(&tables), sends_at(&tables, long_after())), (Some(10), Some(20)));
        tables
    };
    let mut told = overlapping();
    told.apply(Order::UseOutbound { session: 2, spi_in: 20 });
    assert_eq!(sends_on(&told), Some(20));
    let heard = overlapping();
    heard.receiver(20).unwrap().0.trial.end();
    assert_eq!(sends_on(&heard), Some(20));
    let mut left = overlapping();
    left.apply(Order::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&left), Some(20));
    let mut given_up = overlapping();
    given_up.apply(Order::Remove { session: 2, spi_in: 20 });
    assert_eq!(sends_on(&given_up), Some(10));
    let mut third = overlapping();
    third.apply(Order::Install(tunnel(3, 30, Role::Gateway, false)));
    assert_eq!(sends_on(&third), Some(10), "the second is not proven either");
    third.apply(Order::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&third), Some(30));
    third.receiver(20).unwrap().0.trial.end();
    assert_eq!(sends_on(&third), Some(20));
}

/// SSTP and IKEv2 share the leases.
#[test]
fn an_older_stream_carries_as_well() {
    let mut tables = Tables::default();
    tables.apply(Order::StreamOpen(route(5, &[lease()])));
    tables.apply(Order::Install(tunnel(6, 60, Role::Gateway, false)));
    assert_eq!((stream_of(&tables, lease()), sends_on(&tables)), (Some(5), None));
    tables.apply(Order::StreamClose { session: 5 });
    assert_eq!(sends_on(&tables), Some(60));
}

fn resting(session: u64) -> Order {
    let gate = tunnel(session, 99, Role::Gateway, true).gate.clone();
    Order::Rest(Arc::new(Resting { session, gate, demand: Demand::default() }))
}

fn rests(tables: &Tables) -> Option<u64> {
    tables.resting(lease()).map(|resting| resting.session)
}

#[test]
fn a_resting_session_keeps_its_lease_until_it_leaves() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    assert_eq!(rests(&tables), None);
    tables.apply(resting(1));
    assert_eq!(rests(&tables), None, "it has a tunnel");
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    tables.apply(resting(1));
    assert_eq!((rests(&tables), sends_on(&tables)), (Some(1), None));
    tables.apply(Order::Install(tunnel(1, 11, Role::Gateway, true)));
    assert_eq!((rests(&tables), sends_on(&tables)), (None, Some(11)));
    tables.apply(Order::Remove { session: 1, spi_in: 11 });
    tables.apply(resting(1));
    tables.apply(Order::Leave { session: 1 });
    tables.apply(Order::Leave { session: 1 });
    assert!(rests(&tables).is_none() && tables.leases.is_empty() && tables.older.is_empty());
}

#[test]
fn a_newer_session_takes_the_lease_of_a_resting_one() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    tables.apply(resting(1));
    tables.apply(Order::Install(tunnel(2, 20, Role::Gateway, true)));
    assert_eq!((rests(&tables), sends_on(&tables)), (None, Some(20)));
    tables.apply(Order::Remove { session: 2, spi_in: 20 });
    assert_eq!(rests(&tables), Some(1), "the older session is still there");
    tables.apply(Order::Leave { session: 1 });
    assert!(tables.leases.is_empty() && tables.older.is_empty() && tables.resting.is_empty());
}

/// A client that authenticated anew deletes the old Child SA before the old IKE SA.
#[test]
fn an_older_session_that_rests_takes_nothing_from_a_newer_one() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Order::Install(tunnel(2, 20, Role::Gateway, true)));
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    tables.apply(resting(1));
    assert_eq!((rests(&tables), sends_on(&tables)), (None, Some(20)));
    tables.apply(Order::Install(tunnel(1, 11, Role::Gateway, true)));
    assert_eq!(sends_on(&tables), Some(20), "nor does its new Child SA");
    tables.apply(Order::Remove { session: 1, spi_in: 11 });
    tables.apply(resting(1));
    tables.apply(Order::Remove { session: 2, spi_in: 20 });
    assert_eq!(rests(&tables), Some(1), "it has the address again");
    tables.apply(Order::Leave { session: 1 });
    assert!(tables.leases.is_empty() && tables.older.is_empty() && tables.resting.is_empty());
}

#[test]
fn a_client_sends_by_its_own_address() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Client, true)));
    assert!(tables.sender(lease(), elsewhere(), Uptime::now()).is_some());
    assert!(tables.sender(elsewhere(), lease(), Uptime::now()).is_none());
}

#[test]
fn a_new_path_changes_the_mtu() {
    let mut tables = Tables::default();
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    assert_eq!(tables.receiver(10).unwrap().1.mtu, 1438);
    tables.apply(Order::Repath { session: 1, path: path(1), encapsulate: false });
    let Some(Carrier::Esp(peer)) = tables.sender(elsewhere(), lease(), Uptime::now()) else { panic!("no peer") };
    assert_eq!((peer.mtu, peer.to), (1446, Destination { path: path(1), encapsulate: false }));
    assert_eq!(tables.receiver(10).unwrap().1.mtu, 1446);
}

fn route(session: u64, inner: &[IpAddr]) -> Arc<StreamRoute> {
    let tunnel = StreamTunnel { session, inner: inner.to_vec().into(), allowed: Vec::new(), mtu: 1400 };
    Arc::new(StreamRoute::new(tunnel, 0, Arc::<TrafficCounters>::default()))
}

fn stream_of(tables: &Tables, lease: IpAddr) -> Option<u64> {
    match tables.sender(elsewhere(), lease, Uptime::now()) {
        Some(Carrier::Stream(opened)) => Some(opened.route.session),
        _ => None,
    }
}

#[test]
fn streams_have_leases_while_they_are_open() {
    let mut tables = Tables::default();
    let other: IpAddr = [10, 9, 0, 3].into();
    tables.apply(Order::StreamOpen(route(5, &[lease(), other])));
    assert_eq!((stream_of(&tables, lease()), stream_of(&tables, other)), (Some(5), Some(5)));
    assert!(tables.stream(5).is_some() && tables.carrier(5).is_some());
    tables.apply(Order::StreamOpen(route(5, &[other])));
    assert_eq!((stream_of(&tables, lease()), stream_of(&tables, other)), (None, Some(5)));
    tables.apply(Order::StreamOpen(route(6, &[other])));
    tables.apply(Order::StreamClose { session: 5 });
    assert_eq!(stream_of(&tables, other), Some(6), "a lease that passed on stays");
    tables.apply(Order::StreamClose { session: 6 });
    assert!(stream_of(&tables, other).is_none() && tables.carrier(6).is_none());
}

fn guard() -> Option<Arc<Guard>> {
    let filter = policy::filter::Filter::parse("none", [], [Some(policy::filter::Action::Deny); 2]).unwrap();
    let restrictions = policy::filter::Restrictions { filters: vec![Arc::new(filter)], ..Default::default() };
    Some(Arc::new(Guard::new(1, restrictions, Default::default())))
}

/// A session never has a tunnel without its filters: they come before the first, stay through rekeys and rests, and change at once.
#[test]
fn guards_are_the_sessions_not_the_tunnels() {
    let mut tables = Tables::default();
    let guarded = |tables: &Tables| tables.sender(elsewhere(), lease(), Uptime::now()).map(|carrier| carrier.guard().is_some());
    tables.apply(Order::Guard { session: 1, guard: guard() });
    tables.apply(Order::Install(tunnel(1, 10, Role::Gateway, true)));
    assert!(guarded(&tables) == Some(true) && tables.receiver(10).unwrap().1.guard.is_some());
    let last = tunnel(1, 11, Role::Gateway, true);
    tables.apply(Order::Install(last.clone()));
    tables.apply(Order::Remove { session: 1, spi_in: 10 });
    tables.apply(Order::Remove { session: 1, spi_in: 11 });
    let resting = Resting { session: 1, gate: last.gate.clone(), demand: Demand::default() };
    tables.apply(Order::Rest(Arc::new(resting)));
    assert!(tables.guard(1).is_some() && tables.resting(lease()).is_some());
    tables.apply(Order::Install(tunnel(1, 12, Role::Gateway, true)));
    assert_eq!(guarded(&tables), Some(true));
    tables.apply(Order::Guard { session: 1, guard: None });
    assert!(guarded(&tables) == Some(false) && tables.guard(1).is_none());
    // The same of a stream.
    let mut tables = Tables::default();
    tables.apply(Order::Guard { session: 5, guard: guard() });
    tables.apply(Order::StreamOpen(route(5, &[lease()])));
    assert_eq!(guarded(&tables), Some(true));
    tables.apply(Order::StreamOpen(route(5, &[lease()])));
    assert_eq!(guarded(&tables), Some(true));
    tables.apply(Order::Guard { session: 5, guard: None });
    assert_eq!(guarded(&tables), Some(false));
    tables.apply(Order::Install(tunnel(6, 13, Role::Gateway, true)));
    assert_eq!(guarded(&tables), Some(false), "another session's filters are none of this one's business");
}

/// The longest prefix wins, and nobody has what its session has taken along.
#[test]
fn networks_lead_to_the_client_before_them() {
    let mut tables = Tables::default();
    let open = |session: u64, networks: &[&str]| {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let tunnel = StreamTunnel { session, inner: Inner { addresses: Vec::new(), networks }, allowed: Vec::new(), mtu: 1400 };
        Order::StreamOpen(Arc::new(StreamRoute::new(tunnel, 0, Arc::<TrafficCounters>::default())))
    };
    tables.apply(open(1, &["10.9.0.0/16", "fd09:1::/48"]));
    tables.apply(open(2, &["10.9.4.0/22", "10.10.0.0/16"]));
    tables.apply(Order::StreamOpen(route(3, &[[10, 9, 4, 7].into()])));
    let whose = |tables: &Tables, address: &str| stream_of(tables, address.parse().unwrap());
    for (address, session) in [
        ("10.9.0.0", Some(1)),
        ("10.9.255.255", Some(1)),
        ("10.9.3.255", Some(1)),
        ("10.9.4.0", Some(2)),
        ("10.9.7.255", Some(2)),
        ("10.9.4.7", Some(3)),
        ("10.10.1.1", Some(2)),
        ("10.8.255.255", None),
        ("10.11.0.0", None),
        ("fd09:1::1", Some(1)),
        ("fd09:2::1", None),
    ] {
        assert_eq!(whose(&tables, address), session, "{address}");
    }
    // The same client again: the newer has it, until it goes.
    tables.apply(open(4, &["10.10.0.0/16"]));
    assert_eq!(whose(&tables, "10.10.1.1"), Some(4));
    tables.apply(Order::StreamClose { session: 4 });
    assert_eq!(whose(&tables, "10.10.1.1"), Some(2));
    for session in [1, 2, 3] {
        tables.apply(Order::StreamClose { session });
    }
    assert_eq!((whose(&tables, "10.9.0.0"), whose(&tables, "10.9.4.7")), (None, None));
    assert!(tables.lengths.iter().all(BTreeMap::is_empty) && tables.leases.is_empty() && tables.older.is_empty());
}
