//! What a client asks for inside the tunnel: DHCPINFORM (RFC 2131), Router Solicitation (RFC 4861), DHCPv6 Information-Request
//! (RFC 8415). Packets in, packets out; no IO.
//!
//! The gateway itself is the DHCP server and the router of every link. It assigns nothing here: addresses come from IPCP, from the IKEv2
//! configuration payload, or from the prefix of a Router Advertisement. What is told is which servers resolve names, under which suffix,
//! and what is to be sent through the tunnel.
#![forbid(unsafe_code)]

mod dhcp;
mod dhcpv6;
mod name;
mod router;
mod settings;

pub use name::is_domain_name;
pub use router::{ADVERTISEMENT_INTERVAL, router_advertisement};
pub use settings::{Route, Settings};

use packet::udp::UdpView;
use packet::{Fragment, IpHeader, protocol};
use std::fmt;
use std::net::IpAddr;

/// No answer is longer, whatever the MTU of the tunnel and whatever the client says it takes. Bytes of the whole IP packet.
pub const MAX_ANSWER: usize = 1500;

/// An IP packet for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A whole IPv4 or IPv6 packet, its checksums valid.
    pub packet: Vec<u8>,
    pub what: Question,
    /// How many routes, servers and names the policy has for which the packet had no room. Worth a warning in the record of the attempt:
    /// the client does not know what it misses.
    pub left_out: usize,
    /// What the client calls its computer (RFC 2132 section 3.14), if it says so and a computer may be called so.
    pub host_name: Option<String>,
}

/// What the client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// RFC 2131 section 4.4.3.
    DhcpInform,
    /// RFC 4861 section 4.1.
    RouterSolicitation,
    /// RFC 8415 section 18.2.6.
    InformationRequest,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DhcpInform => "DHCPINFORM",
            Self::RouterSolicitation => "Router Solicitation",
            Self::InformationRequest => "Information-Request",
        })
    }
}

/// Why a packet of the client cannot be read. It is to be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Ip(#[from] packet::Malformed),
    #[error("UDP length that does not fit the packet")]
    UdpLength,
    #[error("wrong checksum")]
    Checksum,
    #[error("message of {0} bytes, shorter than its fixed fields")]
    Short(usize),
    #[error("hardware address of {0} bytes, 16 at most")]
    HardwareAddress(u8),
    #[error("DHCP option {0} runs over the end of its field")]
    DhcpOption(u8),
    #[error("DHCP option {0} has a value of the wrong length or out of range")]
    DhcpValue(u8),
    #[error("hop limit {0}: a Router Solicitation of this link has 255")]
    HopLimit(u8),
    #[error("Neighbor Discovery option without length or beyond the end of its message")]
    NeighborOption,
    #[error("DHCPv6 option {0} runs over the end of its message")]
    Dhcpv6Option(u16),
    #[error("DHCPv6 option {0} has a value of the wrong length")]
    Dhcpv6Value(u16),
}

/// True when [`answer`] is worth calling: DHCP, DHCPv6 or a Router Solicitation, wherever it is sent to. Cheap enough for each packet that
/// is not addressed to a host behind the gateway: broadcast, multicast, link-local, our own addresses.
pub fn may_be_question(packet: &[u8]) -> bool {
    let Ok(ip) = IpHeader::parse(packet) else { return false };
    match (ip.protocol, ip.ports(packet)) {
        (protocol::UDP, Some((_, port))) => port == if ip.is_v4() { dhcp::SERVER_PORT } else { dhcpv6::SERVER_PORT },
        (protocol::ICMPV6, Some((type_and_code, _))) => type_and_code >> 8 == u16::from(router::SOLICITATION),
        _ => false,
    }
}

/// The answer to an IP packet of the client, if it is a question for us. `None`: it is not, or there is nothing to tell; drop it.
pub fn answer(packet: &[u8], settings: &Settings) -> Result<Option<Answer>, Malformed> {
    let ip = IpHeader::parse(packet)?;
    if ip.fragment != Fragment::Whole {
        return Ok(None);
    }
    match (ip.source, ip.destination, ip.protocol) {
        (IpAddr::V4(source), IpAddr::V4(destination), protocol::UDP) => {
            if Some(source) != settings.client_ipv4 || !(destination.is_broadcast() || destination == settings.server_ipv4) {
                return Ok(None);
            }
            let Some(payload) = datagram_to(dhcp::SERVER_PORT, packet, &ip)? else { return Ok(None) };
            dhcp::answer(payload, source, settings)
        }
        (IpAddr::V6(source), IpAddr::V6(destination), protocol::UDP) => {
            if !settings.is_neighbour(source) || destination != dhcpv6::ALL_SERVERS {
                return Ok(None);
            }
            let Some(payload) = datagram_to(dhcpv6::SERVER_PORT, packet, &ip)? else { return Ok(None) };
            dhcpv6::answer(payload, source, settings)
        }
        (IpAddr::V6(source), IpAddr::V6(destination), protocol::ICMPV6) => {
            if !(settings.is_neighbour(source) || source.is_unspecified()) || !router::is_for_us(destination, settings) {
                return Ok(None);
            }
            router::answer(packet, &ip, source, settings)
        }
        _ => Ok(None),
    }
}

/// The payload of a datagram to this port, length and checksum checked; `None` when it goes to another port.
fn datagram_to<'a>(port: u16, packet: &'a [u8], ip: &IpHeader) -> Result<Option<&'a [u8]>, Malformed> {
    let transport = packet.get(ip.transport..ip.length).ok_or(Malformed::UdpLength)?;
    let Some((_, destination)) = ip.ports(packet) else { return Err(Malformed::UdpLength) };
    if destination != port {
        return Ok(None);
    }
    let datagram = UdpView::new(transport).ok_or(Malformed::UdpLength)?;
    // Over IPv4 a sender may leave the checksum out (RFC 768); macOS does in its DHCPINFORM.
    let unchecked = ip.is_v4() && datagram.checksum() == 0;
    let sum = ip.pseudo_sum(protocol::UDP, datagram.length()).bytes(&transport[..datagram.length()]);
    if !unchecked && (datagram.checksum() == 0 || !sum.is_valid()) {
        return Err(Malformed::Checksum);
    }
    Ok(Some(datagram.payload()))
}
