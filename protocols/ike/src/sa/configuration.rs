//! The configuration payload of the last IKE_AUTH response: addresses and DNS servers always, everything else for who asks, for Windows ignores
//! replies to what it did not ask for (RFC 7296 section 3.15, RFC 8598, MS-IKEE 2.2.8).
use crate::api::Grant;
use crate::wire::{Configuration, ConfigurationAttribute as Attribute, attribute};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What SUPPORTED_ATTRIBUTES answers.
const SUPPORTED: [u16; 13] = [
    attribute::INTERNAL_IP4_ADDRESS,
    attribute::INTERNAL_IP4_NETMASK,
    attribute::INTERNAL_IP4_DNS,
    attribute::INTERNAL_IP4_NBNS,
    attribute::INTERNAL_IP6_ADDRESS,
    attribute::INTERNAL_IP6_DNS,
    attribute::INTERNAL_IP4_SUBNET,
    attribute::SUPPORTED_ATTRIBUTES,
    attribute::INTERNAL_IP6_SUBNET,
    attribute::INTERNAL_IP6_PREFIX,
    attribute::INTERNAL_DNS_DOMAIN,
    attribute::INTERNAL_IP4_SERVER,
    attribute::INTERNAL_IP6_SERVER,
];

/// CFG_REPLY for the leased addresses; `asked` holds the attribute types of the request.
pub(super) fn reply(asked: &[u16], grant: &Grant, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Configuration {
    let mut configuration = Configuration::reply(ipv4, ipv6, &grant.dns);
    let has_dns = configuration.attributes.iter().any(|it| matches!(it, Attribute::Ip4Dns(_) | Attribute::Ip6Dns(_)));
    let mut more = Vec::new();
    if ipv4.is_some() {
        more.push(Attribute::Ip4Netmask(Some(Ipv4Addr::BROADCAST)));
        more.extend(grant.nbns.iter().map(|server| Attribute::Ip4Nbns(Some(*server))));
        more.extend(grant.server_ipv4.map(|server| Attribute::Ip4Server(Some(server))));
    }
    if ipv6.is_some() {
        more.extend(grant.delegated.iter().map(|prefix| Attribute::Ip6Prefix(Some(*prefix))));
        more.extend(grant.server_ipv6.map(|server| Attribute::Ip6Server(Some(server))));
    }
    more.extend(grant.subnets.iter().filter_map(|(address, prefix)| match address {
        IpAddr::V4(address) => ipv4.map(|_| Attribute::Ip4Subnet(Some((*address, *prefix)))),
        IpAddr::V6(address) => ipv6.map(|_| Attribute::Ip6Subnet(Some((*address, *prefix)))),
    }));
    if has_dns {
        // Domains without a server to ask would mean nothing (RFC 8598 section 3.1).
        more.extend(grant.dns_domains.iter().map(|name| Attribute::DnsDomain(name.clone().into_bytes())));
    }
    more.push(Attribute::Other {
        kind: attribute::SUPPORTED_ATTRIBUTES,
        value: SUPPORTED.iter().flat_map(|kind| kind.to_be_bytes()).collect(),
    });
    configuration.attributes.extend(more.into_iter().filter(|it| asked.contains(&it.kind())));
    configuration
}
