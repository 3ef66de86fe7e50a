use super::super::stats::TrafficCounters;
use super::super::tunnel::{Keys, Selector, TunnelSpec};
use super::*;
use crypto::Zeroizing;
use crypto::cipher::{Encryption, Suite};

fn path(port: u16) -> Path {
    Path { local: ([192, 0, 2, 1], 4500).into(), remote: ([192, 0, 2, 2], port).into() }
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
        inner: vec![lease()],
        local: all([0; 4], [255; 4]),
        remote: all([10, 9, 0, 2], [10, 9, 0, 2]),
        mtu: u16::MAX,
        path_mtu: 1500,
        role,
        outbound_ready,
    };
    Arc::new(Tunnel::new(spec, 64, Arc::<TrafficCounters>::default()).unwrap())
}

fn sends_on(tables: &Tables) -> Option<u32> {
    tables.sender(elsewhere(), lease()).map(|peer| peer.outbound.spi_in)
}

#[test]
fn a_rekey_moves_the_outbound_direction_when_told() {
    let mut tables = Tables::default();
    tables.apply(Command::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Command::Install(tunnel(1, 11, Role::Gateway, false)));
    assert_eq!(sends_on(&tables), Some(10));
    assert!(tables.receiver(10).is_some() && tables.receiver(11).is_some());
    tables.apply(Command::UseOutbound { session: 1, spi_in: 99 });
    assert_eq!(sends_on(&tables), Some(10));
    tables.apply(Command::UseOutbound { session: 1, spi_in: 11 });
    tables.apply(Command::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(11));
    assert!(tables.receiver(10).is_none());
    tables.apply(Command::Remove { session: 1, spi_in: 11 });
    assert!(sends_on(&tables).is_none() && tables.receiver(11).is_none());
}

#[test]
fn losing_the_outbound_sa_falls_back_to_the_newest() {
    let mut tables = Tables::default();
    tables.apply(Command::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Command::Install(tunnel(1, 11, Role::Gateway, false)));
    tables.apply(Command::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(11));
}

#[test]
fn a_lease_that_passed_on_stays_with_its_new_session() {
    let mut tables = Tables::default();
    tables.apply(Command::Install(tunnel(1, 10, Role::Gateway, true)));
    tables.apply(Command::Install(tunnel(2, 20, Role::Gateway, true)));
    tables.apply(Command::Remove { session: 1, spi_in: 10 });
    assert_eq!(sends_on(&tables), Some(20));
    tables.apply(Command::Remove { session: 1, spi_in: 20 });
    assert_eq!(sends_on(&tables), Some(20), "a session cannot remove another's tunnel");
}

#[test]
fn a_client_sends_by_its_own_address() {
    let mut tables = Tables::default();
    tables.apply(Command::Install(tunnel(1, 10, Role::Client, true)));
    assert!(tables.sender(lease(), elsewhere()).is_some());
    assert!(tables.sender(elsewhere(), lease()).is_none());
    assert!(!tables.apply(Command::Stop));
}

#[test]
fn a_new_path_changes_the_mtu() {
    let mut tables = Tables::default();
    tables.apply(Command::Install(tunnel(1, 10, Role::Gateway, true)));
    assert_eq!(tables.receiver(10).unwrap().1, 1438);
    tables.apply(Command::Repath { session: 1, path: path(1), encapsulate: false });
    let peer = tables.sender(elsewhere(), lease()).unwrap();
    assert_eq!((peer.mtu, peer.to), (1446, Destination { path: path(1), encapsulate: false }));
    assert_eq!(tables.receiver(10).unwrap().1, 1446);
}
