//! The configuration payload (RFC 7296 section 3.15).
use super::reader::{Malformed, Reader};
use crate::api::AddressRequest;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Attribute types.
pub mod attribute {
    pub const INTERNAL_IP4_ADDRESS: u16 = 1;
    pub const INTERNAL_IP4_NETMASK: u16 = 2;
    pub const INTERNAL_IP4_DNS: u16 = 3;
    pub const INTERNAL_IP4_NBNS: u16 = 4;
    pub const INTERNAL_IP4_DHCP: u16 = 6;
    pub const APPLICATION_VERSION: u16 = 7;
    pub const INTERNAL_IP6_ADDRESS: u16 = 8;
    pub const INTERNAL_IP6_DNS: u16 = 10;
    pub const INTERNAL_IP6_DHCP: u16 = 12;
    pub const INTERNAL_IP4_SUBNET: u16 = 13;
    pub const SUPPORTED_ATTRIBUTES: u16 = 14;
    pub const INTERNAL_IP6_SUBNET: u16 = 15;
    /// A prefix of the client's own (RFC 5739 section 4.1).
    pub const INTERNAL_IP6_PREFIX: u16 = 18;
    pub const INTERNAL_DNS_DOMAIN: u16 = 25;
    pub const INTERNAL_DNSSEC_TA: u16 = 26;
    /// Microsoft: the server's inner address (MS-IKEE 2.2.8).
    pub const INTERNAL_IP4_SERVER: u16 = 23456;
    pub const INTERNAL_IP6_SERVER: u16 = 23457;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationKind {
    Request,
    Reply,
    Set,
    Ack,
    Other(u8),
}

/// One attribute; an absent value (length 0) is how a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationAttribute {
    Ip4Address(Option<Ipv4Addr>),
    Ip4Netmask(Option<Ipv4Addr>),
    Ip4Dns(Option<Ipv4Addr>),
    Ip4Nbns(Option<Ipv4Addr>),
    /// Address and prefix length in bits.
    Ip6Address(Option<(Ipv6Addr, u8)>),
    Ip6Dns(Option<Ipv6Addr>),
    Ip4Server(Option<Ipv4Addr>),
    Ip6Server(Option<Ipv6Addr>),
    /// A network behind the gateway: address and prefix length in bits.
    Ip4Subnet(Option<(Ipv4Addr, u8)>),
    Ip6Subnet(Option<(Ipv6Addr, u8)>),
    /// A network behind the client.
    Ip6Prefix(Option<(Ipv6Addr, u8)>),
    /// A name in presentation format (RFC 8598); empty in a request.
    DnsDomain(Vec<u8>),
    /// Anything else, kept as it came.
    Other {
        kind: u16,
        value: Vec<u8>,
    },
}

/// CP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub kind: ConfigurationKind,
    pub attributes: Vec<ConfigurationAttribute>,
}

impl Configuration {
    /// CFG_REQUEST of an initiator: addresses, DNS servers (no values).
    pub fn request(ipv4: bool, ipv6: bool) -> Self {
        use ConfigurationAttribute::{Ip4Address, Ip4Dns, Ip6Address, Ip6Dns};
        let four = [Ip4Address(None), Ip4Dns(None)].into_iter().filter(|_| ipv4);
        let six = [Ip6Address(None), Ip6Dns(None)].into_iter().filter(|_| ipv6);
        Self { kind: ConfigurationKind::Request, attributes: four.chain(six).collect() }
    }

    /// CFG_REPLY: the leased addresses (IPv6 with prefix length 128) and DNS servers of the leased families.
    pub fn reply(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, dns: &[IpAddr]) -> Self {
        let four = ipv4.map(|address| ConfigurationAttribute::Ip4Address(Some(address)));
        let six = ipv6.map(|address| ConfigurationAttribute::Ip6Address(Some((address, 128))));
        let dns = dns.iter().filter_map(|server| match server {
            IpAddr::V4(server) => ipv4.map(|_| ConfigurationAttribute::Ip4Dns(Some(*server))),
            IpAddr::V6(server) => ipv6.map(|_| ConfigurationAttribute::Ip6Dns(Some(*server))),
        });
        Self { kind: ConfigurationKind::Reply, attributes: four.into_iter().chain(six).chain(dns).collect() }
    }

    /// What a CFG_REQUEST asks for; unspecified addresses are no hint.
    pub fn address_request(&self) -> AddressRequest {
        let mut request = AddressRequest::default();
        for attribute in &self.attributes {
            match attribute {
                ConfigurationAttribute::Ip4Address(hint) => {
                    request.ipv4 = true;
                    request.ipv4_hint = request.ipv4_hint.or(hint.filter(|address| !address.is_unspecified()));
                }
                ConfigurationAttribute::Ip6Address(hint) => {
                    request.ipv6 = true;
                    let hint = hint.map(|(address, _)| address).filter(|address| !address.is_unspecified());
                    request.ipv6_hint = request.ipv6_hint.or(hint);
                }
                _ => {}
            }
        }
        request
    }

    /// What a CFG_REPLY gives: inner addresses and DNS servers.
    pub fn addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let (mut inner, mut dns) = (Vec::new(), Vec::new());
        for attribute in &self.attributes {
            match *attribute {
                ConfigurationAttribute::Ip4Address(Some(address)) => inner.push(address.into()),
                ConfigurationAttribute::Ip6Address(Some((address, _))) => inner.push(address.into()),
                ConfigurationAttribute::Ip4Dns(Some(server)) => dns.push(server.into()),
                ConfigurationAttribute::Ip6Dns(Some(server)) => dns.push(server.into()),
                _ => {}
            }
        }
        (inner, dns)
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = ConfigurationKind::from_id(reader.u8("no CFG type")?);
        reader.take(3, "reserved bytes missing")?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            // The top bit is reserved.
            let attribute = reader.u16("attribute header cut short")? & 0x7fff;
            let length = reader.u16("attribute header cut short")?;
            let value = reader.part(length.into(), "attribute runs over the end")?;
            attributes.push(ConfigurationAttribute::parse(attribute, value)?);
        }
        Ok(Self { kind, attributes })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind.id(), 0, 0, 0]);
        for attribute in &self.attributes {
            let (kind, value) = attribute.encode();
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(&value);
        }
    }
}

impl ConfigurationKind {
    fn id(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Set => 3,
            Self::Ack => 4,
            Self::Other(id) => id,
        }
    }
    fn from_id(id: u8) -> Self {
        match id {
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::Set,
            4 => Self::Ack,
            other => Self::Other(other),
        }
    }
}

impl ConfigurationAttribute {
    fn parse(kind: u16, mut value: Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            attribute::INTERNAL_IP4_ADDRESS => Self::Ip4Address(ipv4(value)?),
            attribute::INTERNAL_IP4_NETMASK => Self::Ip4Netmask(ipv4(value)?),
            attribute::INTERNAL_IP4_DNS => Self::Ip4Dns(ipv4(value)?),
            attribute::INTERNAL_IP4_NBNS => Self::Ip4Nbns(ipv4(value)?),
            attribute::INTERNAL_IP4_SERVER => Self::Ip4Server(ipv4(value)?),
            attribute::INTERNAL_IP4_SUBNET => Self::Ip4Subnet(ipv4_with_mask(value)?),
            attribute::INTERNAL_IP6_SUBNET => Self::Ip6Subnet(ipv6_with_prefix(value)?),
            attribute::INTERNAL_IP6_PREFIX => Self::Ip6Prefix(ipv6_with_prefix(value)?),
            attribute::INTERNAL_DNS_DOMAIN => Self::DnsDomain(value.rest().to_vec()),
            attribute::INTERNAL_IP6_ADDRESS => Self::Ip6Address(ipv6_with_prefix(value)?),
            attribute::INTERNAL_IP6_DNS => Self::Ip6Dns(ipv6(value)?),
            attribute::INTERNAL_IP6_SERVER => Self::Ip6Server(ipv6(value)?),
            _ => Self::Other { kind, value: value.rest().to_vec() },
        })
    }

    /// Attribute type, see [`attribute`].
    pub fn kind(&self) -> u16 {
        self.encode().0
    }

    fn encode(&self) -> (u16, Vec<u8>) {
        let four = |value: &Option<Ipv4Addr>| value.map(|address| address.octets().to_vec()).unwrap_or_default();
        let six = |value: &Option<Ipv6Addr>| value.map(|address| address.octets().to_vec()).unwrap_or_default();
        match self {
            Self::Ip4Address(value) => (attribute::INTERNAL_IP4_ADDRESS, four(value)),
            Self::Ip4Netmask(value) => (attribute::INTERNAL_IP4_NETMASK, four(value)),
            Self::Ip4Dns(value) => (attribute::INTERNAL_IP4_DNS, four(value)),
            Self::Ip4Nbns(value) => (attribute::INTERNAL_IP4_NBNS, four(value)),
            Self::Ip4Server(value) => (attribute::INTERNAL_IP4_SERVER, four(value)),
            Self::Ip6Address(value) => (attribute::INTERNAL_IP6_ADDRESS, with_prefix(value)),
            Self::Ip4Subnet(value) => {
                let value = value.map(|(address, prefix)| [address.octets(), mask(prefix).octets()].concat());
                (attribute::INTERNAL_IP4_SUBNET, value.unwrap_or_default())
            }
            Self::Ip6Subnet(value) => (attribute::INTERNAL_IP6_SUBNET, with_prefix(value)),
            Self::Ip6Prefix(value) => (attribute::INTERNAL_IP6_PREFIX, with_prefix(value)),
            Self::DnsDomain(name) => (attribute::INTERNAL_DNS_DOMAIN, name.clone()),
            Self::Ip6Dns(value) => (attribute::INTERNAL_IP6_DNS, six(value)),
            Self::Ip6Server(value) => (attribute::INTERNAL_IP6_SERVER, six(value)),
            Self::Other { kind, value } => (kind & 0x7fff, value.clone()),
        }
    }
}

fn ipv4(mut value: Reader<'_>) -> Result<Option<Ipv4Addr>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let address = value.array::<4>("IPv4 attribute is not empty and not 4 bytes")?;
    value.finish("IPv4 attribute is not empty and not 4 bytes")?;
    Ok(Some(address.into()))
}

fn ipv6(mut value: Reader<'_>) -> Result<Option<Ipv6Addr>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let address = value.array::<16>("IPv6 attribute is not empty and not 16 bytes")?;
    value.finish("IPv6 attribute is not empty and not 16 bytes")?;
    Ok(Some(address.into()))
}

fn with_prefix(value: &Option<(Ipv6Addr, u8)>) -> Vec<u8> {
    value.map(|(address, prefix)| [&address.octets()[..], &[prefix]].concat()).unwrap_or_default()
}

/// Netmask of a prefix length; above 32 it is cut.
fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(!u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
}

/// Address and netmask.
fn ipv4_with_mask(mut value: Reader<'_>) -> Result<Option<(Ipv4Addr, u8)>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let address = value.array::<4>("IPv4 subnet is not empty and not 8 bytes")?;
    let bits = u32::from_be_bytes(value.array::<4>("IPv4 subnet is not empty and not 8 bytes")?);
    value.finish("IPv4 subnet is not empty and not 8 bytes")?;
    // At most 32.
    let prefix = bits.leading_ones() as u8;
    if mask(prefix).to_bits() != bits {
        return Err(value.error("netmask with holes"));
    }
    Ok(Some((address.into(), prefix)))
}

/// 17 bytes; some requests leave the prefix length out.
fn ipv6_with_prefix(mut value: Reader<'_>) -> Result<Option<(Ipv6Addr, u8)>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let address = value.array::<16>("IPv6 address attribute is not empty, 16 or 17 bytes")?;
    let prefix = if value.is_empty() { 128 } else { value.u8("prefix length cut short")? };
    value.finish("IPv6 address attribute is not empty, 16 or 17 bytes")?;
    if prefix > 128 {
        return Err(value.error("IPv6 prefix length above 128"));
    }
    Ok(Some((address.into(), prefix)))
}
