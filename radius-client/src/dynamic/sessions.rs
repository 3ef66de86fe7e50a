//! Which session is meant (RFC 5176 section 3).
use std::net::{IpAddr, Ipv6Addr};

/// One attribute of a request that names sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    UserName(String),
    NasPort(u32),
    /// Framed-IP-Address or Framed-IPv6-Address.
    FramedAddress(IpAddr),
    /// Framed-IPv6-Prefix with its length in bits.
    FramedPrefix(Ipv6Addr, u8),
    /// Framed-Interface-Id: the low half of the address.
    FramedInterfaceId(u64),
    CalledStationId(String),
    CallingStationId(String),
    AcctSessionId(String),
    AcctMultiSessionId(String),
    NasPortId(String),
    /// As the Access-Accept said it.
    ChargeableUserIdentity(Vec<u8>),
}

/// What of a session can be named.
#[derive(Debug, Clone, Default)]
pub struct SessionFacts {
    pub user_name: String,
    pub nas_port: u32,
    pub framed: Vec<IpAddr>,
    pub called_station_id: String,
    /// At the login, and now.
    pub calling_station_ids: Vec<String>,
    pub acct_session_id: String,
    pub acct_multi_session_id: Option<String>,
    /// What the requests to the server of this session say.
    pub nas_port_id: Option<String>,
    pub chargeable_user_identity: Option<Vec<u8>>,
}

impl SessionFacts {
    /// Whether every attribute of a request fits this session.
    pub fn fits(&self, named: &[Identification]) -> bool {
        !named.is_empty() && named.iter().all(|one| self.is(one))
    }

    fn is(&self, named: &Identification) -> bool {
        match named {
            // Windows' user names know no case.
            Identification::UserName(name) => self.user_name.to_lowercase() == name.to_lowercase(),
            Identification::NasPort(port) => self.nas_port == *port,
            Identification::FramedAddress(address) => self.framed.contains(address),
            Identification::FramedPrefix(prefix, bits) => self.ipv6().any(|address| in_prefix(address, *prefix, *bits)),
            Identification::FramedInterfaceId(id) => self.ipv6().any(|address| low_half(address) == *id),
            Identification::CalledStationId(id) => self.called_station_id == *id,
            Identification::CallingStationId(id) => self.calling_station_ids.contains(id),
            Identification::AcctSessionId(id) => self.acct_session_id == *id,
            Identification::AcctMultiSessionId(id) => self.acct_multi_session_id.as_ref() == Some(id),
            Identification::NasPortId(id) => self.nas_port_id.as_ref() == Some(id),
            Identification::ChargeableUserIdentity(id) => self.chargeable_user_identity.as_ref() == Some(id),
        }
    }

    fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.framed.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        })
    }
}

fn in_prefix(address: Ipv6Addr, prefix: Ipv6Addr, bits: u8) -> bool {
    let rest = 128u32.saturating_sub(u32::from(bits));
    let high = |address: Ipv6Addr| address.to_bits().checked_shr(rest).unwrap_or(0);
    high(address) == high(prefix)
}

fn low_half(address: Ipv6Addr) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = address.octets();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
