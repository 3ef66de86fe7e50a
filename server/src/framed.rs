//! What an Access-Accept says of a client's addresses and of the networks behind it, put in terms of leases.
use policy::pool::{Lease, Network, Wanted};
use radius_client::{Accept, Framed, FramedIp};
use std::net::{IpAddr, Ipv6Addr};

/// Bits of an interface identifier.
const INTERFACE_BITS: u32 = 64;

/// The lower half of an address from a prefix that is all the client's own.
const OWN_INTERFACE: u128 = 2;

/// An address that must stay reachable as it is, with what it is in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    pub address: IpAddr,
    pub what: String,
}

/// Whether the reply gives addresses by number, which must not be somebody else's.
pub fn names_addresses(accept: &Accept) -> bool {
    let Framed { prefixes, delegated, routes, .. } = &accept.framed;
    let fixed = matches!(accept.framed_ip, Some(FramedIp::Fixed(_))) || accept.framed_ipv6.is_some();
    fixed || !(prefixes.is_empty() && delegated.is_empty() && routes.is_empty())
}

/// What the client shall have, whatever it asked for or the policy says.
pub fn apply(accept: &Accept, wanted: &mut Wanted) {
    match accept.framed_ip {
        Some(FramedIp::Fixed(address)) => wanted.ipv4_fixed = Some(address),
        Some(FramedIp::NasChooses) => wanted.ipv4_hint = None,
        Some(FramedIp::ClientChooses) | None => {}
    }
    wanted.ipv6_fixed = accept.framed_ipv6.or_else(|| from_prefix(&accept.framed)).or(wanted.ipv6_fixed);
}

/// Why the client cannot have the address that the reply gives it by number: it is the first or the last one of its own Framed-IP-Netmask.
pub fn unusable_in_its_network(accept: &Accept) -> Option<String> {
    let (Some(FramedIp::Fixed(address)), Some(length)) = (accept.framed_ip, accept.framed.netmask) else { return None };
    // Two hosts on a line of their own have no broadcast (RFC 3021).
    let network = Network::new(address.into(), length).filter(|_| length < 31)?;
    let what = match IpAddr::V4(address) {
        address if address == network.first() => "the address of the network itself",
        address if address == network.last() => "the broadcast address",
        _ => return None,
    };
    Some(format!("Framed-IP-Address {address} is {what} in its network {network} (Framed-IP-Netmask): no client can have it"))
}

/// Framed-IPv6-Prefix with Framed-Interface-Id, or with one of ours.
fn from_prefix(framed: &Framed) -> Option<Ipv6Addr> {
    let &(network, length) = framed.prefixes.first()?;
    let hosts = u128::MAX.checked_shr(length.into()).unwrap_or(0);
    // In the first /64 of a shorter prefix.
    let own = if hosts == 1 { 1 } else { OWN_INTERFACE };
    let low = framed.interface_id.map_or(own, u128::from) & hosts & (u128::MAX >> INTERFACE_BITS);
    Some(Ipv6Addr::from_bits(network.to_bits() | low))
}

/// The networks behind the client, disjoint, once its addresses are known. Those of a family that it has no address of are left out.
///
/// # Errors
/// What cannot be routed, in words.
pub fn networks(accept: &Accept, lease: Lease, reserved: &[Reserved]) -> Result<Vec<Network>, String> {
    let framed = &accept.framed;
    let mut found = Vec::new();
    if let (Some(length), Some(FramedIp::Fixed(address))) = (framed.netmask, accept.framed_ip) {
        found.extend(Network::new(address.into(), length));
    }
    // A prefix with an interface identifier is one address; it may be the link of many clients.
    let one_address = accept.framed_ipv6.is_none() && framed.interface_id.is_some();
    let prefixes = framed.prefixes.iter().skip(usize::from(one_address)).chain(&framed.delegated);
    found.extend(prefixes.filter_map(|&(address, length)| Network::new(address.into(), length)));
    for route in &framed.routes {
        let through_client = |gateway: IpAddr| lease.ipv4.map(IpAddr::V4) == Some(gateway) || lease.ipv6.map(IpAddr::V6) == Some(gateway);
        if let Some(gateway) = route.gateway.filter(|gateway| !through_client(*gateway)) {
            return Err(format!("{route} leads through {gateway}, which is not the client: write its own address, or 0.0.0.0 (::) for it"));
        }
        found.extend(Network::new(route.network, route.length));
    }
    found.retain(|network| if network.first().is_ipv4() { lease.ipv4.is_some() } else { lease.ipv6.is_some() });
    let found = disjoint(found);
    for network in &found {
        if let Some(Reserved { address, what }) = reserved.iter().find(|reserved| network.contains(reserved.address)) {
            return Err(format!("network {network} would lie behind the client, but it holds {address}, {what}"));
        }
    }
    Ok(found)
}

/// The prefixes of `networks` that hosts behind the client may form addresses from: told to a client that asks (RFC 5739), and by DHCPv6.
pub fn delegated(accept: &Accept, networks: &[Network]) -> Vec<(Ipv6Addr, u8)> {
    let framed = &accept.framed;
    let routed = |(address, _): &(Ipv6Addr, u8)| networks.iter().any(|network| network.contains(IpAddr::V6(*address)));
    framed.delegated.iter().chain(&framed.prefixes).copied().filter(routed).collect()
}

/// Prefixes are nested or apart: those within others go.
fn disjoint(mut networks: Vec<Network>) -> Vec<Network> {
    networks.sort_unstable_by_key(|network| network.length());
    let mut kept: Vec<Network> = Vec::new();
    for network in networks {
        if !kept.iter().any(|wider| wider.contains(network.first())) {
            kept.push(network);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use radius_client::FramedRoute;
    use std::net::Ipv4Addr;

    fn lease() -> Lease {
        Lease { ipv4: Some(Ipv4Addr::new(10, 7, 0, 9)), ipv6: Some("2001:db8::9".parse().unwrap()) }
    }

    fn prefix(text: &str, length: u8) -> (Ipv6Addr, u8) {
        (text.parse().unwrap(), length)
    }

    fn routes(all: &[(&str, u8, Option<&str>)]) -> Accept {
        let route = |&(network, length, gateway): &(&str, u8, Option<&str>)| FramedRoute {
            network: network.parse().unwrap(),
            length,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        };
        Accept { framed: Framed { routes: all.iter().map(route).collect(), ..Framed::default() }, ..Accept::default() }
    }

    fn texts(networks: &[Network]) -> Vec<String> {
        networks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_prefix_and_the_interface_make_the_address() {
        for (prefix, interface_id, wanted) in [
            (prefix("2001:db8:1:2::", 64), Some(0x0011_2233_4455_6677), "2001:db8:1:2:11:2233:4455:6677"),
            (prefix("2001:db8:1::", 56), Some(7), "2001:db8:1::7"),
            (prefix("2001:db8:1:2::1:0", 112), Some(0xffff_0005), "2001:db8:1:2::1:5"),
            (prefix("2001:db8:1:2::", 64), None, "2001:db8:1:2::2"),
            (prefix("2001:db8:1:2::8", 127), None, "2001:db8:1:2::9"),
            (prefix("2001:db8:1:2::8", 128), None, "2001:db8:1:2::8"),
        ] {
            let framed = Framed { prefixes: vec![prefix], interface_id, ..Framed::default() };
            assert_eq!(from_prefix(&framed), Some(wanted.parse().unwrap()), "{prefix:?}");
            let accept = Accept { framed, ..Accept::default() };
            let behind = networks(&accept, lease(), &[]).unwrap();
            assert_eq!(behind.is_empty(), interface_id.is_some(), "without an identifier all of the prefix is the client's");
        }
    }

    #[test]
    fn netmask_routes_and_delegations_are_networks() {
        let mut accept = routes(&[("10.9.0.0", 16, None), ("10.9.7.0", 24, Some("10.7.0.9")), ("2001:db8:9::", 48, Some("2001:db8::9"))]);
        accept.framed_ip = Some(FramedIp::Fixed(Ipv4Addr::new(10, 7, 0, 9)));
        accept.framed.netmask = Some(29);
        accept.framed.delegated = vec![prefix("2001:db8:aa00::", 56)];
        let behind = networks(&accept, lease(), &[]).unwrap();
        assert_eq!(texts(&behind), ["10.7.0.8/29", "10.9.0.0/16", "2001:db8:9::/48", "2001:db8:aa00::/56"]);
        assert_eq!(delegated(&accept, &behind), [prefix("2001:db8:aa00::", 56)]);
        let ipv4_alone = Lease { ipv6: None, ..lease() };
        assert!(networks(&accept, ipv4_alone, &[]).is_err(), "its IPv6 gateway is not the client then");
        accept.framed.routes.pop();
        assert_eq!(texts(&networks(&accept, ipv4_alone, &[]).unwrap()), ["10.7.0.8/29", "10.9.0.0/16"]);
        // Of an address out of a pool a mask says nothing.
        accept.framed_ip = None;
        assert_eq!(texts(&networks(&accept, ipv4_alone, &[]).unwrap()), ["10.9.0.0/16"]);
    }

    #[test]
    fn the_ends_of_a_network_are_no_hosts() {
        let says = |last: u8, netmask: Option<u8>| {
            let framed_ip = Some(FramedIp::Fixed(Ipv4Addr::new(10, 7, 0, last)));
            unusable_in_its_network(&Accept { framed_ip, framed: Framed { netmask, ..Framed::default() }, ..Accept::default() })
        };
        let network = says(8, Some(29)).unwrap();
        assert!(
            network.starts_with("Framed-IP-Address 10.7.0.8 is the address of the network itself in its network 10.7.0.8/29"),
            "{network}"
        );
        assert!(says(15, Some(29)).unwrap().contains("10.7.0.15 is the broadcast address"));
        for (last, netmask) in [(9, Some(29)), (14, Some(29)), (8, Some(31)), (9, Some(31)), (8, Some(32)), (0, None), (255, None)] {
            assert_eq!(says(last, netmask), None, "{last} {netmask:?}");
        }
    }

    #[test]
    fn no_network_takes_the_gateways_own_ground() {
        let reserved = [Reserved { address: Ipv4Addr::new(10, 0, 0, 4).into(), what: "RADIUS server \"nps1\"".into() }];
        let error = networks(&routes(&[("10.0.0.0", 8, None)]), lease(), &reserved).unwrap_err();
        assert_eq!(error, "network 10.0.0.0/8 would lie behind the client, but it holds 10.0.0.4, RADIUS server \"nps1\"");
        let error = networks(&routes(&[("10.9.0.0", 16, Some("10.7.0.1"))]), lease(), &[]).unwrap_err();
        assert!(error.contains("leads through 10.7.0.1, which is not the client"), "{error}");
    }
}
