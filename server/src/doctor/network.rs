//! Forwarding, reverse path filter, MTU, and how the LAN finds the clients.
use super::Finding;
use net::link::{Feature, Prefix, Segmentation};
use policy::network::AddressRange;
use policy::pool::PoolConfig;
use std::net::IpAddr;

/// What ESP in UDP adds to a packet at most, with the outer IPv4 or IPv6 header: IP, UDP 8, ESP 8, IV 16, padding and trailer 17, ICV 32. CBC
/// suites need all of it.
const ESP_OVER_IPV6: u32 = 40 + 8 + 8 + 16 + 17 + 32;
/// The same with AES-GCM over IPv4, which nearly all use: IV 8, padding and trailer 5, ICV 16.
const ESP_USUAL: u32 = 20 + 8 + 8 + 8 + 5 + 16;
/// The smallest `server.mtu`.
const MIN_MTU: u32 = 1280;

/// An interface of this host, without loopback and our own TUN device.
#[derive(Debug, Clone, Default)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mtu: u32,
    /// Addresses with their subnets.
    pub(super) addresses: Vec<Prefix>,
    /// Clients come in through it.
    pub(super) outer: bool,
    /// The stricter of its own and that for all: 0 off, 1 strict, 2 loose.
    pub(super) rp_filter: u8,
    pub(super) proxy_arp: bool,
    pub(super) proxy_ndp: bool,
    /// `None`: it does not say.
    pub(super) segmentation: Option<Segmentation>,
}

/// `None`: it cannot be read, as where there is no IPv6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarding {
    pub(super) ipv4: Option<bool>,
    pub(super) ipv6: Option<bool>,
}

pub(super) fn forwarding(forwarding: Forwarding, pools: &[PoolConfig]) -> Vec<Finding> {
    let wanted = [
        (forwarding.ipv4, pools.iter().any(|pool| !pool.ipv4.is_empty()), "IPv4", "net.ipv4.ip_forward"),
        (forwarding.ipv6, pools.iter().any(|pool| !pool.ipv6.is_empty()), "IPv6", "net.ipv6.conf.all.forwarding"),
    ];
    let judge = |(on, _, family, key): (Option<bool>, bool, &str, &str)| match on {
        Some(true) => Finding::ok("forwarding", format!("{family} is forwarded ({key} = 1)")),
        Some(false) => Finding::fail(
            "forwarding",
            format!("{family} is not forwarded ({key} = 0): clients connect, and reach nothing behind the gateway"),
            format!("`sysctl -w {key}=1`; to keep it: `echo '{key} = 1' > /etc/sysctl.d/60-evergate-{}.conf`", family.to_lowercase()),
        ),
        None => Finding::fail(
            "forwarding",
            format!("{key} cannot be read: this host has no {family}, but a pool has addresses of it"),
            format!("take the {family} addresses out of the pools, or enable {family}"),
        ),
    };
    wanted.into_iter().filter(|(_, wanted, ..)| *wanted).map(judge).collect()
}

/// What sets a key of an interface. Dots in a name, as those of VLANs have, would part keys: it is written with slashes then.
fn set(family: &str, interface: &str, key: &str, value: u8) -> String {
    let part = if interface.contains('.') { "/" } else { "." };
    format!("sysctl -w {}={value}", ["net", family, "conf", interface, key].join(part))
}

pub(super) fn rp_filter(interfaces: &[Interface]) -> Vec<Finding> {
    let strict = interfaces.iter().filter(|interface| interface.outer && interface.rp_filter == 1);
    let mut findings: Vec<_> = strict
        .map(|Interface { name, .. }| {
            Finding::warn(
                "rp_filter",
                format!(
                    "the reverse path filter of {name} is strict: packets of clients whose way back leads through another interface vanish"
                ),
                format!("make it loose: `{}`", set("ipv4", name, "rp_filter", 2)),
            )
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok("rp_filter", "no strict reverse path filter where clients come in"));
    }
    findings
}

pub(super) fn mtu(interfaces: &[Interface], inner: u16) -> Vec<Finding> {
    let inner = u32::from(inner);
    let judge = |interface: &Interface| {
        let Interface { name, mtu, .. } = interface;
        if inner + ESP_USUAL <= *mtu {
            let hint =
                (inner + ESP_OVER_IPV6 > *mtu).then_some("with CBC suites or over IPv6 the largest packets may still be sent in fragments");
            let found = Finding::ok("mtu", format!("server.mtu = {inner} fits into the MTU {mtu} of {name}"));
            return if let Some(hint) = hint { found.hint(hint) } else { found };
        }
        let fits = mtu.saturating_sub(ESP_OVER_IPV6).max(MIN_MTU);
        Finding::warn(
            "mtu",
            format!(
                "server.mtu = {inner} with {ESP_USUAL} bytes of ESP in UDP does not fit into the MTU {mtu} of {name}: full packets are sent in fragments"
            ),
            format!(
                "set server.mtu = {fits}{}",
                if *mtu < MIN_MTU + ESP_OVER_IPV6 { ", the smallest there is, and expect fragments" } else { "" }
            ),
        )
    };
    interfaces.iter().filter(|interface| interface.outer).map(judge).collect()
}

/// Whether the interfaces where clients come in cut the super-packets that the gateway sends. `ikev2`: it sends datagrams at all.
pub(super) fn segmentation(interfaces: &[Interface], ikev2: bool) -> Vec<Finding> {
    let judge = |Interface { name, segmentation, .. }: &Interface| {
        Some(match segmentation.as_ref()?.udp {
            Feature::On => Finding::ok("offload", format!("{name} cuts super-packets of UDP itself (USO)")),
            Feature::Off => Finding::warn(
                "offload",
                format!("{name} could cut super-packets of UDP (USO) and is told not to: each packet of ESP costs more than it must"),
                format!("`ethtool -K {name} tx-udp-segmentation on`"),
            ),
            Feature::Unable => Finding::ok("offload", format!("{name} does not cut super-packets of UDP: the kernel does it"))
                .hint("where throughput matters, a network card with tx-udp-segmentation (USO) saves that work"),
        })
    };
    interfaces.iter().filter(|interface| interface.outer && ikev2).filter_map(judge).collect()
}

/// What a session has moved.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    pub(super) inner: Vec<IpAddr>,
    /// Packets of the client, and packets to it.
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// As many packets into the LAN that bring none back are no chance.
const UNANSWERED: u64 = 20;

/// Whether the LAN's answers find their way back: what no table of this host tells, the traffic of sessions does. `None`: there is none yet.
pub(super) fn returns(sessions: &[Traffic]) -> Option<Finding> {
    let busy = || sessions.iter().filter(|session| session.sent >= UNANSWERED);
    let deaf: Vec<_> = busy().filter(|session| session.received == 0).collect();
    let addresses = |sessions: &[&Traffic]| {
        let shown = sessions.iter().take(3).filter_map(|session| session.inner.first()).map(ToString::to_string);
        shown.collect::<Vec<_>>().join(", ")
    };
    if !deaf.is_empty() {
        return Some(Finding::warn(
            "return",
            format!("{} of {} sessions have sent packets and got none back (clients {})", deaf.len(), busy().count(), addresses(&deaf)),
            "the LAN's routers have no way back to these addresses, or a firewall there drops what comes from them: see `pool` for the route that is wanted, and `tcpdump` behind the gateway",
        ));
    }
    let answered = busy().count();
    (answered > 0).then(|| Finding::ok("return", format!("answers come back to all {answered} sessions that have sent packets")))
}

/// How answers of the LAN find the clients of each pool. `proxies`: addresses that this host answers for one by one, and where.
pub(super) fn pools(pools: &[PoolConfig], interfaces: &[Interface], proxies: &[(IpAddr, String)]) -> Vec<Finding> {
    pools
        .iter()
        .flat_map(|pool| ranges(pool).map(move |range| (pool, range)))
        .flat_map(|(pool, range)| judge_range(pool, range, interfaces, proxies))
        .collect()
}

fn ranges(pool: &PoolConfig) -> impl Iterator<Item = AddressRange> {
    let ipv4 = pool.ipv4.iter().map(|(start, end)| AddressRange { start: IpAddr::V4(*start), end: IpAddr::V4(*end) });
    ipv4.chain(pool.ipv6.iter().map(|(start, end)| AddressRange { start: IpAddr::V6(*start), end: IpAddr::V6(*end) }))
}

fn judge_range(pool: &PoolConfig, range: AddressRange, interfaces: &[Interface], proxies: &[(IpAddr, String)]) -> Vec<Finding> {
    let title = format!("pool {:?} {}-{}", pool.name, range.start, range.end);
    let mut findings = Vec::new();
    for interface in interfaces {
        for &address in interface.addresses.iter().filter(|address| !is_link_local(address.address)) {
            if range.contains(address.address) {
                findings.push(Finding::fail(
                    "pool",
                    format!("{title} holds {}, an address of this host ({})", address.address, interface.name),
                    "take that address out of the pool: a client with it would get no answers",
                ));
            }
            if overlaps(range, address) {
                let here = proxies.iter().filter(|(proxy, device)| *device == interface.name && range.contains(*proxy));
                findings.push(on_link(&title, range, interface, address, here.count()));
            }
        }
    }
    if findings.is_empty() {
        findings.push(beyond(&title, range, interfaces));
    }
    findings
}

/// Hosts of the interface's subnet look for the clients on their own wire. `entries`: addresses of the range that this host answers for one by one.
fn on_link(title: &str, range: AddressRange, interface: &Interface, address: Prefix, entries: usize) -> Finding {
    let (name, subnet) = (&interface.name, address.network());
    let size = bits(range.end) - bits(range.start) + 1;
    let all = entries as u128 >= size;
    let text = format!("{title} lies in {subnet} of {name}");
    let nobody = format!("{text}: hosts there look for clients on their own wire and find nobody");
    let elsewhere = "or take addresses of no subnet in use for the pool";
    if range.start.is_ipv4() {
        return match (interface.proxy_arp, all) {
            (true, _) => Finding::ok("pool", format!("{text}, where this host answers ARP for clients"))
                .hint("see that no DHCP server and no host there uses addresses of the pool"),
            (false, true) => Finding::ok("pool", format!("{text}, where this host answers ARP for each of its addresses")),
            (false, false) => Finding::fail(
                "pool",
                format!("{nobody} (proxy_arp is off there, and {entries} of {size} addresses have an entry in `ip neigh show proxy`)"),
                format!("`{}`, and keep DHCP and hosts there off these addresses; {elsewhere}", set("ipv4", name, "proxy_arp", 1)),
            ),
        };
    }
    let on = if interface.proxy_ndp { String::new() } else { format!("`{}`, and ", set("ipv6", name, "proxy_ndp", 1)) };
    match (interface.proxy_ndp, all, entries) {
        (true, true, _) => {
            Finding::ok("pool", format!("{text}, where this host answers neighbour solicitations for each of its addresses"))
        }
        (true, false, 1..) => Finding::warn(
            "pool",
            format!("{text}, where this host answers neighbour solicitations for {entries} of its {size} addresses alone"),
            entry_of_each(range, name, size),
        ),
        _ => Finding::fail(
            "pool",
            format!("{nobody} (`ip -6 neigh show proxy` has {entries} of {size} addresses)"),
            format!("{on}{}; or take a prefix of its own for the pool", entry_of_each(range, name, size)),
        ),
    }
}

/// What makes this host answer for each address of an IPv6 range; the kernel has no entries for prefixes.
fn entry_of_each(range: AddressRange, interface: &str, size: u128) -> String {
    const MANY: u128 = 1024;
    let (start, end) = (bits(range.start), bits(range.end));
    if size == 1 {
        return format!("`ip -6 neigh add proxy {} dev {interface}`", range.start);
    }
    // The last group alone counts up.
    if size > MANY || start >> 16 != end >> 16 {
        return format!(
            "a daemon that answers for {} on {interface}, such as ndppd: {size} entries of `ip -6 neigh add proxy` are too many",
            covering(range)
        );
    }
    let groups: Vec<_> = (0..7).map(|at| format!("{:x}", (start >> (112 - 16 * at)) & 0xffff)).collect();
    format!(
        "`for n in $(seq {} {}); do ip -6 neigh add proxy {}:$(printf %x $n) dev {interface}; done`",
        start & 0xffff,
        end & 0xffff,
        groups.join(":")
    )
}

/// Which route the LAN needs cannot be seen from here: it is told.
fn beyond(title: &str, range: AddressRange, interfaces: &[Interface]) -> Finding {
    let covering = covering(range);
    let found = Finding::ok("pool", format!("{title} overlaps no subnet of this host"));
    let inner: Vec<_> = interfaces.iter().filter(|interface| !interface.outer).collect();
    let candidates = if inner.is_empty() && interfaces.len() == 1 { interfaces.iter().collect() } else { inner };
    let next_hop = candidates.iter().find_map(|interface| {
        let fits = |address: &&Prefix| address.address.is_ipv4() == range.start.is_ipv4() && !is_link_local(address.address);
        interface.addresses.iter().find(fits).map(|address| (address.address, &interface.name))
    });
    match next_hop {
        Some((via, name)) => found.hint(format!(
            "unless this host is the LAN's default router, that router needs the way back (here for {name}): ip route add {covering} via {via}"
        )),
        None => found.hint(format!("routers behind the gateway need a route for {covering} to this host")),
    }
}

fn overlaps(range: AddressRange, subnet: Prefix) -> bool {
    let network = subnet.network();
    let width = if network.address.is_ipv4() { 32 } else { 128 };
    // A host prefix is no subnet with neighbours.
    if network.len == width || network.address.is_ipv4() != range.start.is_ipv4() {
        return false;
    }
    let (start, end) = (bits(network.address), bits(network.address) | host_mask(width - network.len));
    bits(range.start) <= end && start <= bits(range.end)
}

/// The smallest prefix that holds the whole range.
fn covering(range: AddressRange) -> Prefix {
    let width: u8 = if range.start.is_ipv4() { 32 } else { 128 };
    let differing = bits(range.start) ^ bits(range.end);
    let host_bits = (128 - differing.leading_zeros()).min(u32::from(width)) as u8;
    Prefix { address: range.start, len: width - host_bits }.network()
}

fn host_mask(host_bits: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(host_bits)).unwrap_or(0)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};

    fn interface(name: &str, outer: bool, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Interface { name: name.into(), mtu: 1500, addresses, outer, ..Interface::default() }
    }

    fn host() -> Vec<Interface> {
        vec![interface("wan0", true, &["198.51.100.2/24", "fe80::1/64"]), interface("lan0", false, &["10.99.10.1/24", "fd99:10::1/64"])]
    }

    fn pools(pools: &[PoolConfig], interfaces: &[Interface]) -> Vec<Finding> {
        super::pools(pools, interfaces, &[])
    }

    fn pool(start: &str, end: &str) -> PoolConfig {
        let mut pool = PoolConfig { name: "users".into(), ipv4: Vec::new(), ipv6: Vec::new() };
        match start.parse() {
            Ok(start) => pool.ipv4.push((start, end.parse().unwrap())),
            Err(_) => pool.ipv6.push((start.parse().unwrap(), end.parse().unwrap())),
        }
        pool
    }

    #[test]
    fn forwarding_matters_for_the_families_of_the_pools() {
        let found = forwarding(Forwarding { ipv4: Some(false), ipv6: None }, &[pool("10.98.0.1", "10.98.0.9")]);
        assert_eq!(only(&found).level, Level::Fail);
        assert!(only(&found).remedy.as_ref().unwrap().starts_with("`sysctl -w net.ipv4.ip_forward=1`; to keep it: `echo '"));
        let found = forwarding(Forwarding { ipv4: Some(false), ipv6: Some(true) }, &[pool("fd98::1", "fd98::9")]);
        assert_eq!(only(&found).level, Level::Ok);
        let found = forwarding(Forwarding { ipv4: None, ipv6: None }, &[pool("fd98::1", "fd98::9")]);
        assert_eq!(only(&found).level, Level::Fail);
    }

    #[test]
    fn a_strict_filter_matters_outside_alone() {
        let mut host = host();
        host[1].rp_filter = 1;
        assert_eq!(only(&rp_filter(&host)).level, Level::Ok);
        host[0].rp_filter = 1;
        let found = rp_filter(&host);
        assert_eq!(
            (only(&found).level, only(&found).remedy.as_deref()),
            (Level::Warn, Some("make it loose: `sysctl -w net.ipv4.conf.wan0.rp_filter=2`"))
        );
        host[0].rp_filter = 2;
        assert_eq!(only(&rp_filter(&host)).level, Level::Ok);
    }

    #[test]
    fn the_mtu_has_room_for_the_tunnel() {
        let mut host = host();
        assert_eq!(only(&mtu(&host, 1_400)).level, Level::Ok);
        assert_eq!(
            only(&mtu(&host, 1_380)).remedy,
            Some("with CBC suites or over IPv6 the largest packets may still be sent in fragments".into())
        );
        assert_eq!(only(&mtu(&host, 1_379)).remedy, None);
        host[0].mtu = 1_420;
        let found = mtu(&host, 1_400);
        assert_eq!((only(&found).level, only(&found).remedy.as_deref()), (Level::Warn, Some("set server.mtu = 1299")));
        host[0].mtu = 1_300;
        assert!(only(&mtu(&host, 1_400)).remedy.as_ref().unwrap().starts_with("set server.mtu = 1280, the smallest"));
    }

    #[test]
    fn who_cuts_datagrams() {
        let mut host = host();
        assert_eq!(segmentation(&host, true), [], "it does not say");
        for (udp, level, remedy) in [
            (Feature::On, Level::Ok, None),
            (Feature::Off, Level::Warn, Some("tx-udp-segmentation on")),
            (Feature::Unable, Level::Ok, Some("USO")),
        ] {
            host.iter_mut().for_each(|one| one.segmentation = Some(Segmentation { tcp: Feature::On, udp }));
            let found = segmentation(&host, true);
            assert_eq!((only(&found).level, only(&found).check), (level, "offload"));
            assert_eq!(only(&found).remedy.is_some(), remedy.is_some());
            assert!(remedy.is_none_or(|part| only(&found).remedy.as_ref().unwrap().contains(part)), "{found:?}");
            assert_eq!(segmentation(&host, false), []);
        }
    }

    #[test]
    fn a_pool_inside_a_subnet_needs_a_proxy() {
        let mut host = host();
        let found = pools(&[pool("10.99.10.100", "10.99.10.120")], &host);
        assert_eq!(only(&found).level, Level::Fail);
        assert!(only(&found).text.contains("lies in 10.99.10.0/24 of lan0"), "{found:?}");
        assert!(only(&found).remedy.as_ref().unwrap().contains("`sysctl -w net.ipv4.conf.lan0.proxy_arp=1`, "));
        let entries =
            |range: std::ops::RangeInclusive<u8>| range.map(|last| ([10, 99, 10, last].into(), "lan0".to_owned())).collect::<Vec<_>>();
        let proxied = |entries: &[(IpAddr, String)]| only(&super::pools(&[pool("10.99.10.100", "10.99.10.120")], &host, entries)).level;
        assert_eq!([proxied(&entries(100..=119)), proxied(&entries(100..=120))], [Level::Fail, Level::Ok]);
        host[1].proxy_arp = true;
        assert_eq!(only(&pools(&[pool("10.99.10.100", "10.99.10.120")], &host)).level, Level::Ok);
    }

    #[test]
    fn neighbour_solicitations_are_answered_address_by_address() {
        let mut host = host();
        let inside = pool("fd99:10::100", "fd99:10::120");
        let found = pools(std::slice::from_ref(&inside), &host);
        let each = "`for n in $(seq 256 288); do ip -6 neigh add proxy fd99:10:0:0:0:0:0:$(printf %x $n) dev lan0; done`";
        let remedy = only(&found).remedy.as_ref().unwrap();
        assert!(remedy.starts_with("`sysctl -w net.ipv6.conf.lan0.proxy_ndp=1`, and ") && remedy.contains(each), "{found:?}");
        host[1].proxy_ndp = true;
        let entries: Vec<_> =
            (0x100..=0x120_u16).map(|last| (IpAddr::from([0xfd99, 0x10, 0, 0, 0, 0, 0, last]), "lan0".to_owned())).collect();
        let level = |entries: &[(IpAddr, String)]| only(&super::pools(std::slice::from_ref(&inside), &host, entries)).level;
        assert_eq!([level(&[]), level(&entries[..5]), level(&entries)], [Level::Fail, Level::Warn, Level::Ok]);
        let large = pools(&[pool("fd99:10::1:0", "fd99:10::1:ffff")], &host);
        assert!(only(&large).remedy.as_ref().unwrap().contains("ndppd"), "{large:?}");
    }

    #[test]
    fn traffic_tells_whether_there_is_a_way_back() {
        let session = |sent, received| Traffic { inner: vec!["10.98.0.10".parse().unwrap()], sent, received };
        assert_eq!(returns(&[]), None);
        assert_eq!(returns(&[session(5, 0)]), None, "too little to tell");
        assert_eq!(returns(&[session(50, 0), session(50, 9)]).unwrap().level, Level::Warn);
        assert!(returns(&[session(50, 0)]).unwrap().text.contains("(clients 10.98.0.10)"));
        assert_eq!(returns(&[session(50, 9)]).unwrap().level, Level::Ok);
    }

    #[test]
    fn names_with_dots_stay_whole_in_commands() {
        let mut vlan = interface("eth0.100", true, &["10.99.10.1/24", "fd99:10::1/64"]);
        vlan.rp_filter = 1;
        let host = [vlan];
        let remedy = |found: &[Finding]| only(found).remedy.clone().unwrap();
        assert_eq!(remedy(&rp_filter(&host)), "make it loose: `sysctl -w net/ipv4/conf/eth0.100/rp_filter=2`");
        let ipv4 = remedy(&pools(&[pool("10.99.10.100", "10.99.10.120")], &host));
        assert!(ipv4.starts_with("`sysctl -w net/ipv4/conf/eth0.100/proxy_arp=1`, "), "{ipv4}");
        let ipv6 = remedy(&pools(&[pool("fd99:10::100", "fd99:10::120")], &host));
        assert!(ipv6.starts_with("`sysctl -w net/ipv6/conf/eth0.100/proxy_ndp=1`, "), "{ipv6}");
    }

    #[test]
    fn a_pool_with_an_address_of_this_host_fails() {
        let found = pools(&[pool("10.99.10.1", "10.99.10.120")], &host());
        assert!(found[0].level == Level::Fail && found[0].text.contains("10.99.10.1, an address of this host (lan0)"), "{found:?}");
    }

    #[test]
    fn a_pool_of_its_own_names_the_route_back() {
        let found = pools(&[pool("10.98.0.10", "10.98.0.250")], &host());
        assert_eq!(only(&found).level, Level::Ok);
        assert!(only(&found).remedy.as_ref().unwrap().ends_with("ip route add 10.98.0.0/24 via 10.99.10.1"), "{found:?}");
        let found = pools(&[pool("fd98::10", "fd98::fff")], &host());
        assert!(only(&found).remedy.as_ref().unwrap().ends_with("ip route add fd98::/116 via fd99:10::1"), "{found:?}");
        let found = pools(&[pool("10.98.0.10", "10.98.0.250")], &[]);
        assert_eq!(only(&found).remedy.as_deref(), Some("routers behind the gateway need a route for 10.98.0.0/24 to this host"));
    }
}
