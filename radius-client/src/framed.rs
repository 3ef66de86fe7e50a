//! Addresses and networks of a client as an Access-Accept gives them, Framed-IP-Address and Framed-IPv6-Address apart.
use crate::attributes::{name, number};
use crate::codec::{Malformed, Packet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More than any office has, and few enough to go through for one packet.
pub const MAX_NETWORKS: usize = 64;

/// What of it accounting gets back as it came.
const REPORTED: &[u8] = &[
    number::FRAMED_IP_NETMASK,
    number::FRAMED_ROUTE,
    number::FRAMED_POOL,
    number::FRAMED_INTERFACE_ID,
    number::FRAMED_IPV6_PREFIX,
    number::FRAMED_IPV6_ROUTE,
    number::FRAMED_IPV6_POOL,
    number::DELEGATED_IPV6_PREFIX,
];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Framed {
    /// Framed-IP-Netmask as the length of a prefix, 1 to 31; `None`: the client is a host.
    pub netmask: Option<u8>,
    /// Framed-IPv6-Prefix: network and length in bits, which is at least 1.
    pub prefixes: Vec<(Ipv6Addr, u8)>,
    pub interface_id: Option<u64>,
    /// Delegated-IPv6-Prefix.
    pub delegated: Vec<(Ipv6Addr, u8)>,
    /// Framed-Route and Framed-IPv6-Route.
    pub routes: Vec<FramedRoute>,
    /// Framed-IPv6-Pool.
    pub ipv6_pool: Option<String>,
    /// Numbers and values of all these attributes and of Framed-Pool, for accounting.
    pub received: Vec<(u8, Vec<u8>)>,
}

/// A network that is reached through the client. There is one route to a network, so that metrics choose nothing and are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramedRoute {
    /// Bits beyond the length are zero.
    pub network: IpAddr,
    /// In bits, at least 1.
    pub length: u8,
    /// `None`: the client itself.
    pub gateway: Option<IpAddr>,
}

/// `Framed-Route "10.9.0.0/16 10.98.0.7"`
impl std::fmt::Display for FramedRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.network.is_ipv4() { "Framed-Route" } else { "Framed-IPv6-Route" };
        write!(f, "{name} \"{}/{}", self.network, self.length)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, " {gateway}"))?;
        f.write_str("\"")
    }
}

pub(crate) fn read(reply: &Packet<'_>) -> Result<Framed, String> {
    let malformed = |error: Malformed| error.to_string();
    let framed = Framed {
        netmask: netmask(reply)?,
        prefixes: prefixes(reply, number::FRAMED_IPV6_PREFIX)?,
        interface_id: reply
            .first(number::FRAMED_INTERFACE_ID)
            .map(|attribute| attribute.interface_id(name(number::FRAMED_INTERFACE_ID)))
            .transpose()
            .map_err(malformed)?,
        delegated: prefixes(reply, number::DELEGATED_IPV6_PREFIX)?,
        routes: routes(reply, number::FRAMED_ROUTE)?.chain(routes(reply, number::FRAMED_IPV6_ROUTE)?).collect(),
        ipv6_pool: reply.text(number::FRAMED_IPV6_POOL),
        received: reply
            .attributes()
            .iter()
            .filter(|attribute| REPORTED.contains(&attribute.number))
            .map(|attribute| (attribute.number, attribute.value.to_vec()))
            .collect(),
    };
    let networks = framed.prefixes.len() + framed.delegated.len() + framed.routes.len();
    if networks > MAX_NETWORKS {
        return Err(format!("puts {networks} networks behind the client (Framed-Route and the like); {MAX_NETWORKS} are possible"));
    }
    Ok(framed)
}

fn netmask(reply: &Packet<'_>) -> Result<Option<u8>, String> {
    let Some(attribute) = reply.first(number::FRAMED_IP_NETMASK) else { return Ok(None) };
    let mask = attribute.ipv4(name(number::FRAMED_IP_NETMASK)).map_err(|error| error.to_string())?;
    let bits = mask.to_bits();
    let length = bits.leading_ones();
    match length {
        32 => Ok(None),
        1.. if bits.trailing_zeros() == 32 - length => Ok(Some(length as u8)),
        _ => Err(format!("has Framed-IP-Netmask {mask}, which is no mask of a network; 255.255.255.255 stands for a host")),
    }
}

fn prefixes(reply: &Packet<'_>, number: u8) -> Result<Vec<(Ipv6Addr, u8)>, String> {
    let read = |attribute: crate::codec::Attribute<'_>| {
        let (address, length) = attribute.ipv6_prefix(name(number)).map_err(|error| error.to_string())?;
        match length {
            0 => Err(format!("has a {} of length 0: nobody gets all of IPv6", name(number))),
            _ => Ok((network(address.into(), length), length)),
        }
    };
    let found: Result<Vec<(IpAddr, u8)>, String> = reply.all(number).map(read).collect();
    let ipv6 = |(address, length)| match address {
        IpAddr::V6(address) => Some((address, length)),
        IpAddr::V4(_) => None,
    };
    Ok(found?.into_iter().filter_map(ipv6).collect())
}

fn routes(reply: &Packet<'_>, number: u8) -> Result<impl Iterator<Item = FramedRoute>, String> {
    let ipv4 = number == number::FRAMED_ROUTE;
    let read = |attribute: crate::codec::Attribute<'_>| {
        let text = attribute.text();
        route(&text, ipv4).map_err(|why| format!("has {} {text:?}, which {why}", name(number)))
    };
    Ok(reply.all(number).map(read).collect::<Result<Vec<_>, _>>()?.into_iter())
}

/// `192.0.2.0/24 192.0.2.1 1 2 -1`: network, gateway, metrics (RFC 2865 section 5.22, RFC 3162 section 2.5). A network without a length is one of the
/// old classes; without a gateway the route leads to the client, as 0.0.0.0 says.
fn route(text: &str, ipv4: bool) -> Result<FramedRoute, String> {
    let mut words = text.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace()).split_ascii_whitespace();
    let destination = words.next().ok_or("is empty")?;
    let (address, length) = destination.split_once('/').map_or((destination, None), |(address, length)| (address, Some(length)));
    let of_family = |text: &str| text.parse().ok().filter(|address: &IpAddr| address.is_ipv4() == ipv4);
    let address = of_family(address).ok_or_else(|| format!("begins with no {} network", if ipv4 { "IPv4" } else { "IPv6" }))?;
    let width = if ipv4 { 32 } else { 128 };
    let length = match length {
        Some(text) => text.parse().ok().filter(|length| *length <= width).ok_or_else(|| format!("has a prefix length above {width}"))?,
        None => class(address).ok_or("has no prefix length")?,
    };
    if length == 0 {
        return Err("would be a default route: no client gets the traffic of everybody".into());
    }
    let gateway = words.next().map(|text| of_family(text).ok_or_else(|| format!("has {text:?} as its gateway"))).transpose()?;
    if let Some(metric) = words.find(|word| word.parse::<i64>().is_err()) {
        return Err(format!("has {metric:?} as a metric"));
    }
    let gateway = gateway.filter(|gateway| !gateway.is_unspecified());
    Ok(FramedRoute { network: network(address, length), length, gateway })
}

/// Prefix length by class (RFC 791).
fn class(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(0),
        IpAddr::V4(address) => match address.octets()[0] {
            0..128 => Some(8),
            128..192 => Some(16),
            192..224 => Some(24),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// The address without the bits beyond the length.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !u32::MAX.checked_shr(length.into()).unwrap_or(0)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::MAX.checked_shr(length.into()).unwrap_or(0)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, ipv4: bool) -> String {
        route(text, ipv4).map_or_else(|error| error, |route| route.to_string())
    }

    #[test]
    fn routes_are_network_gateway_and_metrics() {
        for (text, wanted) in [
            ("10.9.0.0/16 10.98.0.7 1 2 -1 3 400", "Framed-Route \"10.9.0.0/16 10.98.0.7\""),
            ("192.168.1.0 0.0.0.0 1", "Framed-Route \"192.168.1.0/24\""),
            ("172.16.0.0", "Framed-Route \"172.16.0.0/16\""),
            ("10.9.1.1/16", "Framed-Route \"10.9.0.0/16\""),
            ("10.9.1.1/32 0.0.0.0\0", "Framed-Route \"10.9.1.1/32\""),
        ] {
            assert_eq!(shown(text, true), wanted, "{text}");
        }
        let ipv6 = "2001:db8:0:106::/64 2001:db8:0:106:a00:20ff:fe99:a998 1";
        assert_eq!(shown(ipv6, false), "Framed-IPv6-Route \"2001:db8:0:106::/64 2001:db8:0:106:a00:20ff:fe99:a998\"");
        assert_eq!(shown("2001:db8:9::/48 :: 1", false), "Framed-IPv6-Route \"2001:db8:9::/48\"");
    }

    #[test]
    fn routes_that_cannot_be_are_refused() {
        for (text, ipv4, why) in [
            ("", true, "is empty"),
            ("0.0.0.0/0 0.0.0.0 1", true, "default route"),
            ("0.0.0.0", true, "default route"),
            ("::/0 ::", false, "default route"),
            ("10.0.0.0/33", true, "prefix length above 32"),
            ("10.0.0.0/x", true, "prefix length above 32"),
            ("2001:db8::", false, "has no prefix length"),
            ("224.0.0.0", true, "has no prefix length"),
            ("2001:db8::/32", true, "begins with no IPv4 network"),
            ("10.9.0.0/16", false, "begins with no IPv6 network"),
            ("10.9.0.0/16 gw 1", true, "\"gw\" as its gateway"),
            ("10.9.0.0/16 0.0.0.0 fast", true, "\"fast\" as a metric"),
        ] {
            assert!(shown(text, ipv4).contains(why), "{text}: {}", shown(text, ipv4));
        }
    }
}
