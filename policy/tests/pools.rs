//! Pools against a naive model that scans, and the cases that the model's small ranges do not reach.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
use policy::pool::{Lease, LeaseError, LeaseKey, PoolConfig, Pools, Usage, Wanted};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const BOTH: Wanted =
    Wanted { ipv4: true, ipv6: true, ipv4_fixed: None, ipv6_fixed: None, ipv4_hint: None, ipv6_hint: None, succeeds: None };
const V4: Wanted = Wanted { ipv6: false, ..BOTH };
const V6: Wanted = Wanted { ipv4: false, ..BOTH };

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn pool(name: &str, ranges: &[(u8, u8)]) -> PoolConfig {
    PoolConfig { name: name.into(), ipv4: ranges.iter().map(|(start, end)| (v4(*start), v4(*end))).collect(), ipv6: vec![] }
}

fn dual(name: &str, ipv4: (&str, &str), ipv6: (&str, &str)) -> PoolConfig {
    PoolConfig {
        name: name.into(),
        ipv4: vec![(ipv4.0.parse().unwrap(), ipv4.1.parse().unwrap())],
        ipv6: vec![(ipv6.0.parse().unwrap(), ipv6.1.parse().unwrap())],
    }
}

/// One IPv4 pool, every rule written as a scan.
#[derive(Default)]
struct Model {
    /// Address -> when it was given back; never leased: 0. Leased ones are absent.
    free: BTreeMap<Ipv4Addr, u64>,
    leased: BTreeMap<u64, Ipv4Addr>,
    /// Newest first.
    had: BTreeMap<String, Vec<Ipv4Addr>>,
    clock: u64,
}

impl Model {
    fn new(ranges: &[(u8, u8)]) -> Self {
        let free = ranges.iter().flat_map(|(start, end)| (*start..=*end).map(|last| (v4(last), 0))).collect();
        Self { free, ..Self::default() }
    }

    fn lease(&mut self, key: u64, owner: &str, fixed: Option<Ipv4Addr>, hint: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        if let Some(address) = self.leased.get(&key) {
            return Some(*address);
        }
        let in_pool = self.free.keys().chain(self.leased.values()).copied().collect::<Vec<_>>();
        let address = match fixed {
            Some(fixed) if self.leased.values().any(|leased| *leased == fixed) => return None,
            Some(fixed) => fixed,
            None => hint
                .filter(|hint| self.free.contains_key(hint))
                .or_else(|| self.had.get(owner)?.iter().find(|had| self.free.contains_key(had)).copied())
                .or_else(|| self.free.iter().min_by_key(|(address, at)| (**at, **address)).map(|(address, _)| *address))?,
        };
        self.free.remove(&address);
        self.leased.insert(key, address);
        if in_pool.contains(&address) {
            let had = self.had.entry(owner.to_owned()).or_default();
            had.retain(|known| *known != address);
            had.insert(0, address);
            had.truncate(4);
        }
        Some(address)
    }

    fn release(&mut self, key: u64, in_pool: impl Fn(Ipv4Addr) -> bool) {
        let Some(address) = self.leased.remove(&key) else { return };
        self.clock += 1;
        if in_pool(address) {
            self.free.insert(address, self.clock);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Lease { key: u64, owner: u8, fixed: Option<u8>, hint: Option<u8> },
    Release { key: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let rarely = |low: u8, high: u8| prop_oneof![4 => Just(None), 1 => (low..high).prop_map(Some)];
    prop_oneof![
        3 => (0..12u64, 0..6u8, rarely(1, 30), rarely(1, 30))
            .prop_map(|(key, owner, fixed, hint)| Step::Lease { key, owner, fixed, hint }),
        2 => (0..12u64).prop_map(|key| Step::Release { key }),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let ranges = [(10, 13), (20, 22)];
        let in_pool = |address: Ipv4Addr| {
            let last = address.octets()[3];
            ranges.iter().any(|(start, end)| (*start..=*end).contains(&last))
        };
        let mut pools = Pools::new(vec![pool("a", &ranges)]).unwrap();
        let mut model = Model::new(&ranges);
        for step in steps {
            match step {
                Step::Lease { key, owner, fixed, hint } => {
                    let owner = format!("user{owner}");
                    let wanted = Wanted { ipv4_fixed: fixed.map(v4), ipv4_hint: hint.map(v4), ..V4 };
                    let got = pools.lease("a", LeaseKey(key), &owner, wanted);
                    prop_assert_eq!(got.ok().and_then(|lease| lease.ipv4), model.lease(key, &owner, fixed.map(v4), hint.map(v4)));
                }
                Step::Release { key } => {
                    pools.release(&LeaseKey(key));
                    model.release(key, in_pool);
                }
            }
            let used = model.leased.values().filter(|address| in_pool(**address)).count() as u128;
            prop_assert_eq!(pools.usage(), vec![Usage { pool: "a".into(), family: "IPv4", used, size: 7 }]);
        }
    }
}

#[test]
fn a_pool_of_n_serves_n_and_names_its_exhaustion() {
    let mut pools = Pools::new(vec![pool("users", &[(10, 12)])]).unwrap();
    for key in 0..3 {
        pools.lease("users", LeaseKey(key), &format!("user{key}"), V4).unwrap();
    }
    let error = pools.lease("users", LeaseKey(3), "late", V4).unwrap_err();
    assert_eq!(error.to_string(), "pool \"users\" is exhausted: 3 of 3 IPv4 addresses in use");
    pools.release(&LeaseKey(1));
    assert_eq!(pools.lease("users", LeaseKey(3), "late", V4).unwrap().ipv4, Some(v4(11)));
}

#[test]
fn two_devices_of_one_user_each_get_their_address_back() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 9)])]).unwrap();
    let first = pools.lease("a", LeaseKey(1), "ann", V4).unwrap();
    let second = pools.lease("a", LeaseKey(2), "ann", V4).unwrap();
    assert_ne!(first, second);
    pools.release(&LeaseKey(1));
    pools.release(&LeaseKey(2));
    let again = [pools.lease("a", LeaseKey(3), "ann", V4).unwrap(), pools.lease("a", LeaseKey(4), "ann", V4).unwrap()];
    assert!(again.contains(&first) && again.contains(&second));
}

#[test]
fn a_fixed_address_in_use_names_the_holder_and_leaves_nothing_behind() {
    let mut pools = Pools::new(vec![dual("a", ("10.0.0.1", "10.0.0.9"), ("fd00::1", "fd00::9"))]).unwrap();
    pools.lease("a", LeaseKey(1), "ann", BOTH).unwrap();
    let wanted = Wanted { ipv6_fixed: Some("fd00::1".parse().unwrap()), ..BOTH };
    let error = pools.lease("a", LeaseKey(2), "bob", wanted).unwrap_err();
    assert_eq!(error.to_string(), "address fd00::1 is in use by ann");
    assert!(pools.usage().iter().all(|usage| usage.used == 1), "{:?}", pools.usage());
}

#[test]
fn fixed_addresses_may_lie_outside_or_in_another_pool() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 2)]), pool("b", &[(5, 6)])]).unwrap();
    let outside = Wanted { ipv4_fixed: Some(Ipv4Addr::new(172, 16, 0, 1)), ..V4 };
    pools.lease("a", LeaseKey(1), "ann", outside).unwrap();
    assert!(matches!(pools.lease("a", LeaseKey(2), "bob", outside), Err(LeaseError::InUse { .. })));
    let foreign = Wanted { ipv4_fixed: Some(v4(5)), ..V4 };
    pools.lease("a", LeaseKey(3), "eve", foreign).unwrap();
    assert_eq!(pools.lease("b", LeaseKey(4), "bob", V4).unwrap().ipv4, Some(v4(6)));
    pools.release(&LeaseKey(1));
    pools.lease("b", LeaseKey(5), "bob", outside).unwrap();
    let nonsense = Wanted { ipv4_fixed: Some(Ipv4Addr::UNSPECIFIED), ..V4 };
    assert!(matches!(pools.lease("a", LeaseKey(6), "bob", nonsense), Err(LeaseError::NotUnicast { .. })));
}

/// A client that authenticates anew before it leaves keeps its addresses, and the last of its leases gives them back.
#[test]
fn a_successor_shares_what_it_asks_for() {
    let mut pools = Pools::new(vec![dual("a", ("10.0.0.1", "10.0.0.3"), ("fd00::1", "fd00::3"))]).unwrap();
    let first = pools.lease("a", LeaseKey(1), "ann", BOTH).unwrap();
    let again = Wanted { ipv4_hint: first.ipv4, ipv6_hint: first.ipv6, succeeds: Some(LeaseKey(1)), ..BOTH };
    assert_eq!(pools.lease("a", LeaseKey(2), "ann", again).unwrap(), first);
    assert_eq!(pools.usage()[0].used, 1);
    assert_eq!(pools.holder(first.ipv4.unwrap().into()), Some(LeaseKey(2)));
    pools.release(&LeaseKey(1));
    assert_eq!(pools.usage()[0].used, 1, "the second still holds it");
    let other = pools.lease("a", LeaseKey(3), "bob", Wanted { succeeds: None, ..again }).unwrap();
    assert_ne!(other.ipv4, first.ipv4);
    pools.release(&LeaseKey(2));
    assert_eq!((pools.usage()[0].used, pools.holder(first.ipv4.unwrap().into())), (1, None));
    assert_eq!(pools.lease("a", LeaseKey(4), "bob", again).unwrap(), first, "free again: a hint suffices");
}

#[test]
fn nobody_else_shares() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 3)]), pool("b", &[(4, 6)])]).unwrap();
    let first = pools.lease("a", LeaseKey(1), "ann", V4).unwrap();
    let asks = |succeeds| Wanted { ipv4_hint: first.ipv4, succeeds, ..V4 };
    for (pool, key, owner, wanted) in [
        ("a", 2, "ann", asks(None)),
        ("a", 3, "bob", asks(Some(LeaseKey(1)))),
        ("b", 4, "ann", asks(Some(LeaseKey(1)))),
        ("b", 5, "ann", Wanted { ipv4_hint: None, ..asks(Some(LeaseKey(1))) }),
        ("b", 6, "ann", asks(Some(LeaseKey(2)))),
    ] {
        assert_ne!(pools.lease(pool, LeaseKey(key), owner, wanted).unwrap().ipv4, first.ipv4, "{owner} {key}");
    }
    // What RADIUS demands need not lie in the pool.
    let fixed = Wanted { ipv4_fixed: first.ipv4, succeeds: Some(LeaseKey(1)), ..V4 };
    assert_eq!(pools.lease("b", LeaseKey(7), "ann", fixed).unwrap(), first);
    assert!(matches!(pools.lease("b", LeaseKey(8), "ann", Wanted { succeeds: None, ..fixed }), Err(LeaseError::InUse { .. })));
}

#[test]
fn a_missing_family_is_left_out_unless_it_is_all_that_is_wanted() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 2)])]).unwrap();
    assert_eq!(pools.lease("a", LeaseKey(1), "ann", BOTH).unwrap(), Lease { ipv4: Some(v4(1)), ipv6: None });
    let error = pools.lease("a", LeaseKey(2), "ann", V6).unwrap_err();
    assert_eq!(error, LeaseError::NoFamily { pool: "a".into(), family: "IPv6" });
    assert_eq!(pools.lease("b", LeaseKey(2), "ann", V6).unwrap_err(), LeaseError::NoPool("b".into()));
    pools.lease("a", LeaseKey(2), "bob", V4).unwrap();
    let error = pools.lease("a", LeaseKey(3), "eve", BOTH).unwrap_err();
    assert!(matches!(error, LeaseError::Exhausted { family: "IPv4", .. }), "{error}");
}

#[test]
fn ipv4_and_ipv6_addresses_come_in_pairs() {
    let mut pools = Pools::new(vec![dual("a", ("10.0.0.10", "10.0.0.19"), ("fd00::10", "fd00::19"))]).unwrap();
    for key in 0..3 {
        pools.lease("a", LeaseKey(key), &format!("v4only{key}"), V4).unwrap();
    }
    let lease = pools.lease("a", LeaseKey(9), "ann", BOTH).unwrap();
    assert_eq!(lease, Lease { ipv4: Some(v4(13)), ipv6: Some("fd00::13".parse().unwrap()) });
}

#[test]
fn wide_ranges_cost_no_more_than_what_is_leased() {
    let mut pools = Pools::new(vec![
        dual("slash16", ("10.1.0.0", "10.1.255.255"), ("fd00::", "fd00::ffff:ffff:ffff:ffff")),
        dual("all", ("128.0.0.0", "223.255.255.255"), ("2000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
    ])
    .unwrap();
    for key in 0..65_536 {
        pools.lease("slash16", LeaseKey(key), &key.to_string(), BOTH).unwrap();
    }
    assert!(matches!(pools.lease("slash16", LeaseKey(65_536), "late", V4), Err(LeaseError::Exhausted { used: 65_536, .. })));
    // Released ones beyond the remembered number fall back to the fresh ones, none is lost.
    for key in 0..65_536 {
        pools.release(&LeaseKey(key));
    }
    for key in 0..70_000 {
        pools.lease("slash16", LeaseKey(key), &format!("new{key}"), V6).unwrap();
        pools.release(&LeaseKey(key));
    }
    assert!(pools.usage().iter().all(|usage| usage.used == 0));
    for key in 0..65_536 {
        pools.lease("slash16", LeaseKey(key), &key.to_string(), V4).unwrap();
    }
}

#[test]
fn overlaps_duplicates_and_empty_pools_are_refused() {
    let overlap = Pools::new(vec![pool("a", &[(1, 9)]), pool("b", &[(20, 30), (9, 12)])]).unwrap_err();
    assert_eq!(overlap, "pool \"a\" range 10.0.0.1-10.0.0.9 overlaps pool \"b\" range 10.0.0.9-10.0.0.12");
    assert!(Pools::new(vec![pool("a", &[(1, 9), (3, 4)])]).unwrap_err().contains("overlaps"));
    assert!(Pools::new(vec![pool("a", &[(1, 2)]), pool("a", &[(3, 4)])]).unwrap_err().contains("two pools"));
    assert!(Pools::new(vec![pool("a", &[(4, 3)])]).unwrap_err().contains("backwards"));
    assert!(Pools::new(vec![pool("a", &[])]).unwrap_err().contains("no addresses"));
    assert!(Pools::new(vec![pool("a", &[(1, 2)]), pool("b", &[(3, 4)])]).is_ok());
}

#[test]
fn reconfiguring_keeps_leases_and_memory() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 9)])]).unwrap();
    for key in 0..4 {
        pools.lease("a", LeaseKey(key), &format!("user{key}"), V4).unwrap();
    }
    pools.release(&LeaseKey(3));
    pools.reconfigure(&[pool("a", &[(2, 20)])]).unwrap();
    assert_eq!(pools.usage()[0].used, 2, "10.0.0.1 is held outside the new range");
    assert_eq!(pools.lease("a", LeaseKey(10), "user3", V4).unwrap().ipv4, Some(v4(4)), "the released one is remembered");
    assert_eq!(pools.lease("a", LeaseKey(11), "new", V4).unwrap().ipv4, Some(v4(5)));
    pools.release(&LeaseKey(0));
    assert!(pools.reconfigure(&[pool("a", &[(4, 3)])]).is_err());
    assert_eq!(pools.usage()[0].size, 19, "a refused configuration changes nothing");
}

#[test]
fn a_key_that_holds_a_lease_gets_the_same_again() {
    let mut pools = Pools::new(vec![pool("a", &[(1, 2)])]).unwrap();
    let lease = pools.lease("a", LeaseKey(1), "ann", V4).unwrap();
    assert_eq!(pools.lease("a", LeaseKey(1), "ann", V4).unwrap(), lease);
    assert_eq!(pools.usage()[0].used, 1);
}
