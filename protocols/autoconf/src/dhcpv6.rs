//! Stateless DHCPv6 (RFC 8415 section 18.3.6): name servers and suffix (RFC 3646), and how long they hold.
use crate::{Answer, Malformed, Question, Settings, name};
use packet::write::{UDP_IPV6, udp_ipv6};
use std::net::Ipv6Addr;

pub(crate) const SERVER_PORT: u16 = 547;
const CLIENT_PORT: u16 = 546;
/// All_DHCP_Relay_Agents_and_Servers. A unicast Information-request is to be discarded (RFC 8415 section 16).
pub(crate) const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

const REPLY: u8 = 7;
const INFORMATION_REQUEST: u8 = 11;
const HEADER_LEN: usize = 4;
/// A DUID of 128 bytes and its type (RFC 8415 section 11.1).
const MAX_DUID: usize = 130;
/// IRT_DEFAULT (RFC 8415 section 7.6), in seconds.
const REFRESH_TIME: u32 = 86_400;

mod option {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const SERVER_ID: u16 = 2;
    pub(super) const IA_NA: u16 = 3;
    pub(super) const IA_TA: u16 = 4;
    pub(super) const REQUEST: u16 = 6;
    pub(super) const DNS_SERVERS: u16 = 23;
    pub(super) const DOMAIN_LIST: u16 = 24;
    pub(super) const IA_PD: u16 = 25;
    pub(super) const INFORMATION_REFRESH_TIME: u16 = 32;
}

/// What matters of an Information-request.
#[derive(Default)]
struct Request<'a> {
    client_id: Option<&'a [u8]>,
    server_id: Option<&'a [u8]>,
    /// The option codes of the Option Request option; `None`: there is none.
    wanted: Option<&'a [u8]>,
    identity_association: bool,
}

pub(crate) fn answer(payload: &[u8], source: Ipv6Addr, settings: &Settings) -> Result<Option<Answer>, Malformed> {
    let Some((header, options)) = payload.split_first_chunk::<HEADER_LEN>() else { return Err(Malformed::Short(payload.len())) };
    if header[0] != INFORMATION_REQUEST {
        return Ok(None);
    }
    let request = Request::parse(options)?;
    let ours = duid(settings);
    // For another server, or for addresses too: to be discarded (RFC 8415 section 16.12).
    if request.identity_association || request.server_id.is_some_and(|id| id != ours) || !settings.link_local.is_unicast_link_local() {
        return Ok(None);
    }
    let mut reply = Reply { bytes: vec![REPLY], limit: settings.limit_ipv6() - UDP_IPV6, left_out: 0 };
    reply.bytes.extend(&header[1..]);
    reply.option(option::SERVER_ID, &ours);
    if let Some(client_id) = request.client_id {
        reply.option(option::CLIENT_ID, client_id);
    }
    reply.settings(&request, settings);
    let packet = udp_ipv6((settings.link_local, SERVER_PORT), (source, CLIENT_PORT), &reply.bytes);
    Ok(Some(Answer { packet, what: Question::InformationRequest, left_out: reply.left_out, host_name: None }))
}

/// DUID-LL (RFC 8415 section 11.4) of a locally administered Ethernet address: the same for all links and after each restart.
fn duid(settings: &Settings) -> [u8; 10] {
    let [a, b, c, d] = settings.server_ipv4.octets();
    [0, 3, 0, 1, 0x02, 0, a, b, c, d]
}

impl<'a> Request<'a> {
    fn parse(mut options: &'a [u8]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        while !options.is_empty() {
            let code = options.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
            let (value, rest) = split_option(options).ok_or(Malformed::Dhcpv6Option(code))?;
            request.take(code, value)?;
            options = rest;
        }
        Ok(request)
    }

    fn take(&mut self, code: u16, value: &'a [u8]) -> Result<(), Malformed> {
        let is_whole = match code {
            option::CLIENT_ID | option::SERVER_ID => (3..=MAX_DUID).contains(&value.len()),
            option::REQUEST => value.len().is_multiple_of(2),
            _ => true,
        };
        if !is_whole {
            return Err(Malformed::Dhcpv6Value(code));
        }
        match code {
            option::CLIENT_ID => self.client_id = Some(value),
            option::SERVER_ID => self.server_id = Some(value),
            option::REQUEST => self.wanted = Some(value),
            option::IA_NA | option::IA_TA | option::IA_PD => self.identity_association = true,
            _ => {}
        }
        Ok(())
    }

    /// A client that sends no list gets what there is.
    fn wants(&self, code: u16) -> bool {
        self.wanted.is_none_or(|codes| codes.as_chunks::<2>().0.contains(&code.to_be_bytes()))
    }
}

fn split_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = options.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes([header[2], header[3]])))
}

struct Reply {
    bytes: Vec<u8>,
    limit: usize,
    left_out: usize,
}

impl Reply {
    fn settings(&mut self, request: &Request, settings: &Settings) {
        if request.wants(option::INFORMATION_REFRESH_TIME) {
            self.option(option::INFORMATION_REFRESH_TIME, &REFRESH_TIME.to_be_bytes());
        }
        if request.wants(option::DOMAIN_LIST)
            && let Some(suffix) = name::wire(settings.suffix.as_deref())
        {
            self.option(option::DOMAIN_LIST, &suffix);
        }
        if request.wants(option::DNS_SERVERS) {
            self.name_servers(settings);
        }
    }

    fn name_servers(&mut self, settings: &Settings) {
        let servers: Vec<[u8; 16]> = settings.dns_ipv6().map(|server| server.octets()).collect();
        let told = servers.len().min(self.limit.saturating_sub(self.bytes.len() + 4) / 16);
        self.left_out += servers.len() - told;
        if told > 0 {
            self.option(option::DNS_SERVERS, servers[..told].as_flattened());
        }
    }

    /// The identifiers, the refresh time and the suffix always fit: 14 + 134 + 8 + 259 bytes of more than 1,200.
    fn option(&mut self, code: u16, value: &[u8]) {
        self.bytes.extend(code.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
    }
}
