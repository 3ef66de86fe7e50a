//! Router Solicitation and Router Advertisement (RFC 4861), with routes (RFC 4191) and name servers (RFC 8106).
use crate::{Answer, Malformed, Question, Settings, name};
use packet::IpHeader;
use packet::ip::IPV6_HEADER_LEN;
use packet::write::{HOP_LIMIT_ON_LINK, icmpv6_on_link};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// How often [`router_advertisement`] is due on a link that is up (MaxRtrAdvInterval, RFC 4861 section 6.2.1). What it tells, apart from
/// the prefix, is forgotten after three times as long; hosts ask only when the link comes up.
pub const ADVERTISEMENT_INTERVAL: Duration = Duration::from_secs(600);

pub(crate) const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Of the router, its routes and its name servers, in seconds.
const LIFETIME: u32 = 1800;
const PREFIX_VALID: u32 = u32::MAX;
const PREFIX_PREFERRED: u32 = 7 * 24 * 3600;
const CURRENT_HOP_LIMIT: u8 = 64;
const OTHER_CONFIGURATION: u8 = 0x40;
const AUTONOMOUS: u8 = 0x40;
const MIN_MTU: u16 = 1280;

const SOLICITATION_LEN: usize = 8;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_PREFIX: u8 = 3;
const OPTION_MTU: u8 = 5;
const OPTION_ROUTE: u8 = 24;
const OPTION_RDNSS: u8 = 25;
const OPTION_DNSSL: u8 = 31;

/// A Router Advertisement that nobody asked for, to all nodes of the link. `None` without an IPv6 lease, or when our address on the link
/// is not link-local.
pub fn router_advertisement(settings: &Settings) -> Option<Vec<u8>> {
    advertise(ALL_NODES, settings).map(|(packet, _)| packet)
}

pub(crate) fn is_for_us(destination: Ipv6Addr, settings: &Settings) -> bool {
    destination == ALL_ROUTERS || destination == settings.link_local
}

/// `source`: a neighbour's address, or unspecified.
pub(crate) fn answer(packet: &[u8], ip: &IpHeader, source: Ipv6Addr, settings: &Settings) -> Result<Option<Answer>, Malformed> {
    let message = packet.get(ip.transport..ip.length).ok_or(Malformed::Short(0))?;
    // Extension headers have no business here (RFC 6980 for fragments), and other messages are not for us.
    if message.first() != Some(&SOLICITATION) || !ip.is_plain() {
        return Ok(None);
    }
    check(message, packet[7], source.is_unspecified())?;
    if !ip.pseudo_sum(ip.protocol, message.len()).bytes(message).is_valid() {
        return Err(Malformed::Checksum);
    }
    let destination = if source.is_unspecified() { ALL_NODES } else { source };
    let advertisement = advertise(destination, settings);
    Ok(advertisement.map(|(packet, left_out)| Answer { packet, what: Question::RouterSolicitation, left_out, host_name: None }))
}

/// RFC 4861 section 6.1.1, the checksum apart.
fn check(message: &[u8], hop_limit: u8, unspecified: bool) -> Result<(), Malformed> {
    if hop_limit != HOP_LIMIT_ON_LINK {
        return Err(Malformed::HopLimit(hop_limit));
    }
    if message.len() < SOLICITATION_LEN {
        return Err(Malformed::Short(message.len()));
    }
    let mut options = &message[SOLICITATION_LEN..];
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() || (unspecified && kind == OPTION_SOURCE_LINK_LAYER) {
            return Err(Malformed::NeighborOption);
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(()) } else { Err(Malformed::NeighborOption) }
}

/// The packet, and how much it had no room for.
fn advertise(destination: Ipv6Addr, settings: &Settings) -> Option<(Vec<u8>, usize)> {
    let client = settings.client_ipv6?;
    if !settings.link_local.is_unicast_link_local() {
        return None;
    }
    let mut message = Message { bytes: header(settings), limit: settings.limit_ipv6() - IPV6_HEADER_LEN, left_out: 0 };
    if settings.mtu >= MIN_MTU {
        message.option(OPTION_MTU, &[&[0, 0], &u32::from(settings.mtu).to_be_bytes()]);
    }
    if settings.advertise_prefix {
        message.prefix(client);
    }
    message.name_servers(settings);
    message.suffix(settings);
    message.routes(settings);
    Some((icmpv6_on_link(settings.link_local, destination, message.bytes), message.left_out))
}

/// All fields up to the options. A router of lifetime zero is not a default router: what it advertises besides stays good.
fn header(settings: &Settings) -> Vec<u8> {
    let other = settings.dns_ipv6().next().is_some() || name::text(settings.suffix.as_deref()).is_some();
    let flags = if other { OTHER_CONFIGURATION } else { 0 };
    let lifetime = if settings.is_default(false) { LIFETIME as u16 } else { 0 };
    let mut bytes = vec![ADVERTISEMENT, 0, 0, 0, CURRENT_HOP_LIMIT, flags];
    bytes.extend(lifetime.to_be_bytes());
    // Reachable time and retransmission timer: unspecified.
    bytes.extend([0; 8]);
    bytes
}

struct Message {
    bytes: Vec<u8>,
    limit: usize,
    left_out: usize,
}

impl Message {
    /// Type, length in units of eight bytes, value padded with zeros. Counted as left out when there is no room.
    fn option(&mut self, kind: u8, value: &[&[u8]]) {
        let len = (2 + value.iter().map(|part| part.len()).sum::<usize>()).next_multiple_of(8);
        let Ok(units) = u8::try_from(len / 8) else { return self.left_out += 1 };
        if self.bytes.len() + len > self.limit {
            return self.left_out += 1;
        }
        let end = self.bytes.len() + len;
        self.bytes.extend([kind, units]);
        value.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.resize(end, 0);
    }

    /// To form addresses from, but not on the link: behind a tunnel there is no neighbour but us.
    fn prefix(&mut self, client: Ipv6Addr) {
        let network = Ipv6Addr::from(u128::from(client) >> 64 << 64);
        let lifetimes = [PREFIX_VALID.to_be_bytes(), PREFIX_PREFERRED.to_be_bytes()].concat();
        self.option(OPTION_PREFIX, &[&[64, AUTONOMOUS], &lifetimes, &[0; 4], &network.octets()]);
    }

    fn name_servers(&mut self, settings: &Settings) {
        let servers: Vec<[u8; 16]> = settings.dns_ipv6().map(|server| server.octets()).collect();
        let room = self.limit.saturating_sub(self.bytes.len() + 8) / 16;
        let told = servers.len().min(room);
        self.left_out += servers.len() - told;
        if told > 0 {
            self.option(OPTION_RDNSS, &[&[0, 0], &LIFETIME.to_be_bytes(), servers[..told].as_flattened()]);
        }
    }

    fn suffix(&mut self, settings: &Settings) {
        if let Some(suffix) = name::wire(settings.suffix.as_deref()) {
            self.option(OPTION_DNSSL, &[&[0, 0], &LIFETIME.to_be_bytes(), &suffix]);
        }
    }

    /// RFC 4191 section 2.3, of medium preference.
    fn routes(&mut self, settings: &Settings) {
        for route in &settings.routes {
            let IpAddr::V6(address) = route.address() else { continue };
            // That is what the router's own lifetime says, to hosts too that know no other routes.
            if route.is_default() {
                continue;
            }
            let prefix = if route.prefix_len() <= 64 { 8 } else { 16 };
            self.option(OPTION_ROUTE, &[&[route.prefix_len(), 0], &LIFETIME.to_be_bytes(), &address.octets()[..prefix]]);
        }
    }
}
