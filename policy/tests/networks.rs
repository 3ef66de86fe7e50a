//! Networks behind clients.
#![allow(clippy::unwrap_used)]
use policy::pool::{LeaseError, LeaseKey, Network, PoolConfig, Pools, Wanted};
use std::net::Ipv4Addr;

fn pools() -> Pools {
    let v4 = |last| Ipv4Addr::new(10, 98, 0, last);
    let users = PoolConfig { name: "users".into(), ipv4: vec![(v4(10), v4(19))], ipv6: Vec::new() };
    let six = ("fd98::10".parse().unwrap(), "fd98::1f".parse().unwrap());
    let six = PoolConfig { name: "six".into(), ipv4: vec![(v4(30), v4(31))], ipv6: vec![six] };
    Pools::new(vec![users, six]).unwrap()
}

fn network(text: &str) -> Network {
    let (address, length) = text.split_once('/').unwrap();
    Network::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn fixed(address: &str) -> Wanted {
    Wanted { ipv4: true, ipv4_fixed: Some(address.parse().unwrap()), ..Wanted::default() }
}

#[test]
fn a_network_has_its_bounds() {
    assert_eq!(network("10.9.8.7/16").to_string(), "10.9.0.0/16");
    assert_eq!(network("10.9.8.7/16").last().to_string(), "10.9.255.255");
    assert_eq!(network("2001:db8::1/0").last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert!(network("10.9.8.7/32").contains("10.9.8.7".parse().unwrap()) && !network("10.9.8.7/32").contains("10.9.8.8".parse().unwrap()));
    assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
    assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
}

#[test]
fn no_network_overlaps_another_or_somebody_elses_address() {
    let mut pools = pools();
    pools.claim(LeaseKey(1), "ann", &[network("10.9.0.0/16"), network("2001:db8:9::/48")], None).unwrap();
    for text in ["10.9.0.0/16", "10.9.1.0/24", "10.8.0.0/15", "10.9.255.255/32", "2001:db8:9:1::/64", "2000::/3"] {
        let error = pools.claim(LeaseKey(2), "bob", &[network("192.168.7.0/24"), network(text)], None).unwrap_err();
        assert!(error.to_string().contains("of ann") && error.is_for_now(), "{text}: {error}");
    }
    // All or none: what was asked for beside the conflict is free, and neighbours do not overlap.
    let free = [network("192.168.7.0/24"), network("10.8.0.0/16"), network("10.10.0.0/16")];
    pools.claim(LeaseKey(3), "eve", &free, None).unwrap();
    assert_eq!(pools.network_holder(network("10.9.3.0/24")), Some(LeaseKey(1)));

    let error = pools.lease("users", LeaseKey(4), "dan", fixed("10.9.0.7")).unwrap_err();
    assert_eq!(error, LeaseError::InUse { address: "10.9.0.7".into(), holder: "ann".into() });
    pools.lease("users", LeaseKey(4), "dan", fixed("172.16.0.7")).unwrap();
    let error = pools.claim(LeaseKey(5), "bob", &[network("172.16.0.0/12")], None).unwrap_err();
    assert!(error.to_string().contains("address 172.16.0.7 of dan"), "{error}");
    // Its own address lies in its own network.
    pools.claim(LeaseKey(4), "dan", &[network("172.16.0.0/24")], None).unwrap();

    pools.release(&LeaseKey(1));
    pools.claim(LeaseKey(2), "bob", &[network("10.9.0.0/16")], None).unwrap();
}

#[test]
fn no_network_overlaps_a_pool() {
    let mut pools = pools();
    for text in ["10.98.0.0/24", "10.98.0.19/32", "0.0.0.0/1"] {
        let error = pools.claim(LeaseKey(1), "ann", &[network(text)], None).unwrap_err();
        assert!(error.to_string().contains("overlaps pool \"users\"") && !error.is_for_now(), "{error}");
    }
    assert!(pools.claim(LeaseKey(1), "ann", &[network("fd98::/64")], None).unwrap_err().to_string().contains("pool \"six\""));
    pools.claim(LeaseKey(1), "ann", &[network("10.99.0.0/16")], None).unwrap();
    let grown =
        PoolConfig { name: "more".into(), ipv4: vec![("10.99.1.0".parse().unwrap(), "10.99.1.9".parse().unwrap())], ipv6: Vec::new() };
    let error = pools.reconfigure(std::slice::from_ref(&grown)).unwrap_err();
    assert_eq!(pools.check(std::slice::from_ref(&grown)), Err(error.clone()));
    assert!(error.contains("pool \"more\" overlaps network 10.99.0.0/16") && error.contains("ann"), "{error}");
    assert_eq!(pools.names().collect::<Vec<_>>(), ["users", "six"]);
    pools.release(&LeaseKey(1));
    pools.reconfigure(&[grown]).unwrap();
}

#[test]
fn the_same_client_takes_its_network_along() {
    let mut pools = pools();
    let office = [network("10.9.0.0/16")];
    pools.lease("users", LeaseKey(1), "ann", fixed("10.9.0.1")).unwrap();
    pools.claim(LeaseKey(1), "ann", &office, None).unwrap();
    let again = Wanted { succeeds: Some(LeaseKey(1)), ..fixed("10.9.0.1") };
    assert!(pools.lease("users", LeaseKey(2), "bob", again).is_err(), "of another owner");
    pools.lease("users", LeaseKey(2), "ann", again).unwrap();
    assert!(pools.claim(LeaseKey(2), "ann", &office, None).is_err(), "not said to be the same client");
    pools.claim(LeaseKey(2), "ann", &office, Some(LeaseKey(1))).unwrap();
    pools.release(&LeaseKey(1));
    assert_eq!(pools.network_holder(office[0]), Some(LeaseKey(2)));
    pools.release(&LeaseKey(2));
    assert_eq!(pools.network_holder(office[0]), None);
}

#[test]
fn families_may_come_from_two_pools() {
    let mut pools = pools();
    let both = Wanted { ipv4: true, ipv6: true, ..Wanted::default() };
    let lease = pools.lease(policy::pool::PoolNames { ipv4: "users", ipv6: "six" }, LeaseKey(1), "ann", both).unwrap();
    assert_eq!((lease.ipv4, lease.ipv6), (Some(Ipv4Addr::new(10, 98, 0, 10)), Some("fd98::10".parse().unwrap())));
    let unknown = policy::pool::PoolNames { ipv4: "users", ipv6: "sixty" };
    assert_eq!(pools.lease(unknown, LeaseKey(2), "bob", both), Err(LeaseError::NoPool("sixty".into())));
    assert_eq!(pools.usage()[0].used, 1, "nothing is taken for bob");
}

#[test]
fn sharers_have_an_address_or_a_network_of_a_lease() {
    let mut pools = pools();
    pools.lease("users", LeaseKey(1), "ann", fixed("10.98.0.10")).unwrap();
    pools.claim(LeaseKey(1), "ann", &[network("10.9.0.0/16"), network("10.8.0.0/16")], None).unwrap();
    let again = Wanted { succeeds: Some(LeaseKey(1)), ..fixed("10.98.0.10") };
    pools.lease("users", LeaseKey(2), "ann", again).unwrap();
    pools.claim(LeaseKey(3), "ann", &[network("10.9.0.0/16")], Some(LeaseKey(1))).unwrap();
    pools.lease("users", LeaseKey(4), "bob", fixed("10.98.0.11")).unwrap();
    let sharers = |pools: &Pools, key| pools.sharers(LeaseKey(key)).into_iter().map(|key| key.0).collect::<Vec<_>>();
    assert_eq!([1, 2, 3, 4, 5].map(|key| sharers(&pools, key)), [vec![2, 3], vec![1], vec![1], vec![], vec![]]);
    pools.release(&LeaseKey(1));
    assert_eq!([1, 2, 3].map(|key| sharers(&pools, key)), [vec![], vec![], vec![]]);
}
