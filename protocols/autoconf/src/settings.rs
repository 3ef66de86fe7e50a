//! What the policy wants a client to know.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the policy wants this client to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The leases. Without one, questions of its family get no answer.
    pub client_ipv4: Option<Ipv4Addr>,
    pub client_ipv6: Option<Ipv6Addr>,
    /// Source and server identifier of DHCP answers; the DUID of DHCPv6 answers is made of it.
    pub server_ipv4: Ipv4Addr,
    /// Our address on the link (IPv6CP): source of Router Advertisements and DHCPv6 answers. Unless it is link-local, nothing is
    /// advertised (RFC 4861 section 6.1.2).
    pub link_local: Ipv6Addr,
    /// Name servers of both families, the most wanted first; each protocol tells those of its family.
    pub dns: Vec<IpAddr>,
    /// WINS servers.
    pub nbns: Vec<Ipv4Addr>,
    /// DNS suffix of the connection. One that is no domain name ([`crate::is_domain_name`]) is not told.
    pub suffix: Option<String>,
    /// What is to be sent through the tunnel, both families. A prefix of length zero is `default_route` for its family alone.
    pub routes: Vec<Route>,
    /// MTU of the tunnel in bytes; clients learn it from Router Advertisements. No answer is longer, except that 576 bytes of IPv4 and
    /// 1280 of IPv6 always count as passing.
    pub mtu: u16,
    /// Tell the /64 of `client_ipv6` as a prefix to form addresses from (SLAAC): true on PPP links, which have no other way; false on
    /// IKEv2, where the configuration payload gave the address.
    pub advertise_prefix: bool,
    /// Everything is to be sent through the tunnel. Windows obeys routes of DHCP even where its own profile says split tunnelling, so
    /// this must be the will of the policy and not a default.
    pub default_route: bool,
}

impl Settings {
    /// An address that this client may have on the link.
    pub(crate) fn is_neighbour(&self, source: Ipv6Addr) -> bool {
        self.client_ipv6.is_some() && (source.is_unicast_link_local() && source != self.link_local || Some(source) == self.client_ipv6)
    }

    pub(crate) fn dns_ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.dns.iter().filter_map(|server| if let IpAddr::V4(v4) = server { Some(*v4) } else { None })
    }

    pub(crate) fn dns_ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.dns.iter().filter_map(|server| if let IpAddr::V6(v6) = server { Some(*v6) } else { None })
    }

    /// Everything of this family is to be sent through the tunnel.
    pub(crate) fn is_default(&self, ipv4: bool) -> bool {
        self.default_route || self.routes.iter().any(|route| route.is_default() && route.address().is_ipv4() == ipv4)
    }

    /// The longest answer over IPv6, in bytes.
    pub(crate) fn limit_ipv6(&self) -> usize {
        usize::from(self.mtu).clamp(1280, crate::MAX_ANSWER)
    }
}

/// A destination prefix: all bits of the address beyond its length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    address: IpAddr,
    prefix_len: u8,
}

impl Route {
    /// `prefix_len` in bits: at most 32 or 128, else `None`. Bits of `address` beyond it are cleared.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix_len <= 32 => {
                IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)).into())
            }
            IpAddr::V6(v6) if prefix_len <= 128 => {
                IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0)).into())
            }
            _ => return None,
        };
        Some(Self { address, prefix_len })
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// In bits.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// True for the prefix of length zero, which holds every address of its family.
    pub fn is_default(&self) -> bool {
        self.prefix_len == 0
    }
}
