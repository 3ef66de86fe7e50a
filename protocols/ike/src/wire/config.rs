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
    /// Anything else, kept as it came.
    Other { kind: u16, value: Vec<u8> },
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
        todo!()
    }
    /// CFG_REPLY: the leased addresses (IPv6 with prefix length 128) and DNS servers of the leased families.
    pub fn reply(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, dns: &[IpAddr]) -> Self {
        todo!()
    }
    /// What a CFG_REQUEST asks for; unspecified addresses are no hint.
    pub fn address_request(&self) -> AddressRequest {
        todo!()
    }
    /// What a CFG_REPLY gives: inner addresses and DNS servers.
    pub fn addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        todo!()
    }
    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        todo!()
    }
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        todo!()
    }
}
