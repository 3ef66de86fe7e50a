//! DHCPINFORM and its answer (RFC 2131 sections 4.3.5 and 4.4.3, RFC 2132).
mod options;

use crate::{Answer, MAX_ANSWER, Malformed, Question, Route, Settings, name};
use options::{Writer, code};
use packet::write::{UDP_IPV4, udp_ipv4};
use std::net::{IpAddr, Ipv4Addr};

pub(crate) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ACK: u8 = 5;
const INFORM: u8 = 8;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// All fields and the magic cookie: the options begin here.
const FIXED_LEN: usize = 240;
const CIADDR: usize = 12;
const GIADDR: usize = 24;
const CHADDR: usize = 28;
/// Some clients drop messages that are shorter than BOOTP's (RFC 1542 section 2.1).
const MIN_MESSAGE: usize = 300;
/// Every client takes an IP packet as long as this (RFC 2131 section 2).
const MIN_MAXIMUM: u16 = 576;
/// What a client gets that does not say what it wants.
const UNASKED: [u8; 6] = [code::DNS, code::DOMAIN_NAME, code::NBNS, code::DOMAIN_SEARCH, code::ROUTES, code::MICROSOFT_ROUTES];

/// A DHCPINFORM.
struct Inform<'a> {
    fixed: &'a [u8; FIXED_LEN],
    /// RFC 6842: given back as it came.
    client_identifier: Vec<u8>,
    /// What the client wants, each code once, in the order in which it wants it.
    wanted: Vec<u8>,
    is_microsoft: bool,
    host_name: Option<String>,
    /// The longest IP packet that the client takes.
    maximum: usize,
}

/// `client`: its lease, and the source of the packet.
pub(crate) fn answer(payload: &[u8], client: Ipv4Addr, settings: &Settings) -> Result<Option<Answer>, Malformed> {
    let Some(inform) = Inform::parse(payload)? else { return Ok(None) };
    if inform.fixed[CIADDR..CIADDR + 4] != client.octets() {
        return Ok(None);
    }
    let limit = inform.maximum.min(usize::from(settings.mtu.max(MIN_MAXIMUM)));
    let Some((options, left_out)) = tell(&inform, limit - UDP_IPV4 - FIXED_LEN, settings) else { return Ok(None) };
    let mut message = ack(inform.fixed);
    message.extend(options);
    message.resize(message.len().max(MIN_MESSAGE), 0);
    let packet = udp_ipv4((settings.server_ipv4, SERVER_PORT), (client, CLIENT_PORT), &message);
    Ok(Some(Answer { packet, what: Question::DhcpInform, left_out, host_name: inform.host_name }))
}

impl<'a> Inform<'a> {
    /// `None` when this is another message, or one that a relay agent sends.
    fn parse(payload: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let Some(fixed) = payload.first_chunk::<FIXED_LEN>() else { return Err(Malformed::Short(payload.len())) };
        if fixed[0] != BOOT_REQUEST || fixed[FIXED_LEN - 4..] != COOKIE || fixed[GIADDR..GIADDR + 4] != [0; 4] {
            return Ok(None);
        }
        if fixed[2] > 16 {
            return Err(Malformed::HardwareAddress(fixed[2]));
        }
        let options = options::parse(fixed, &payload[FIXED_LEN..])?;
        let value = |code: u8| options.get(&code).map_or(&[][..], Vec::as_slice);
        match *value(code::MESSAGE_TYPE) {
            [INFORM] => {}
            // Nothing is assigned here, and BOOTP has no message type.
            [] | [_] => return Ok(None),
            _ => return Err(Malformed::DhcpValue(code::MESSAGE_TYPE)),
        }
        let maximum = match *value(code::MAXIMUM_SIZE) {
            [] => MIN_MAXIMUM,
            [high, low] => u16::from_be_bytes([high, low]).max(MIN_MAXIMUM),
            _ => return Err(Malformed::DhcpValue(code::MAXIMUM_SIZE)),
        };
        Ok(Some(Self {
            fixed,
            client_identifier: value(code::CLIENT_IDENTIFIER).to_vec(),
            wanted: each_once(if options.contains_key(&code::PARAMETER_REQUEST_LIST) {
                value(code::PARAMETER_REQUEST_LIST)
            } else {
                &UNASKED
            }),
            is_microsoft: value(code::VENDOR_CLASS).starts_with(b"MSFT"),
            host_name: std::str::from_utf8(value(code::HOST_NAME)).ok().filter(|name| name::is_domain_name(name)).map(str::to_owned),
            maximum: usize::from(maximum).min(MAX_ANSWER),
        }))
    }
}

fn each_once(codes: &[u8]) -> Vec<u8> {
    let mut seen = [false; 256];
    codes.iter().copied().filter(|code| !std::mem::replace(&mut seen[usize::from(*code)], true)).collect()
}

/// Fixed fields of the answer: nothing assigned, transaction, flags and hardware address as they came.
fn ack(fixed: &[u8; FIXED_LEN]) -> Vec<u8> {
    let mut message = vec![0; FIXED_LEN];
    message[..3].copy_from_slice(&[BOOT_REPLY, fixed[1], fixed[2]]);
    message[4..8].copy_from_slice(&fixed[4..8]);
    message[10..16].copy_from_slice(&fixed[10..16]);
    message[CHADDR..CHADDR + 16].copy_from_slice(&fixed[CHADDR..CHADDR + 16]);
    message[FIXED_LEN - 4..].copy_from_slice(&COOKIE);
    message
}

/// The options of the answer and how much had no room in `limit` bytes; `None` when there is nothing to tell.
fn tell(inform: &Inform, limit: usize, settings: &Settings) -> Option<(Vec<u8>, usize)> {
    let (options, left_out) = write(inform, &inform.wanted, limit, settings)?;
    if left_out == 0 {
        return Some((options, 0));
    }
    // Not enough room: first what is short, then the routes, and those only in the one form that this client is known to read.
    let is_routes = |code: &u8| matches!(*code, code::ROUTES | code::MICROSOFT_ROUTES);
    let (mut routes, mut order): (Vec<u8>, Vec<u8>) = inform.wanted.iter().partition(|code| is_routes(code));
    let best = if inform.is_microsoft { code::MICROSOFT_ROUTES } else { code::ROUTES };
    if routes.contains(&best) {
        routes = vec![best];
    }
    order.extend(routes);
    write(inform, &order, limit, settings)
}

fn write(inform: &Inform, wanted: &[u8], limit: usize, settings: &Settings) -> Option<(Vec<u8>, usize)> {
    let mut writer = Writer::new(limit);
    // The built-in client of macOS takes the message for no answer unless its type comes first.
    writer.put(code::MESSAGE_TYPE, &[[ACK]]);
    writer.put(code::SERVER_IDENTIFIER, &[settings.server_ipv4.octets()]);
    if !inform.client_identifier.is_empty() {
        writer.put(code::CLIENT_IDENTIFIER, &[&inform.client_identifier]);
    }
    let told = wanted.iter().filter(|code| tell_one(&mut writer, **code, settings)).count();
    (told > 0).then(|| writer.finish())
}

/// False when there is nothing to tell about this.
fn tell_one(writer: &mut Writer, wanted: u8, settings: &Settings) -> bool {
    let suffix = settings.suffix.as_deref();
    let values: Vec<Vec<u8>> = match wanted {
        code::DNS => settings.dns_ipv4().map(|server| server.octets().to_vec()).collect(),
        code::NBNS => settings.nbns.iter().map(|server| server.octets().to_vec()).collect(),
        code::DOMAIN_NAME => name::text(suffix).map(|name| name.as_bytes().to_vec()).into_iter().collect(),
        code::DOMAIN_SEARCH => name::wire(suffix).into_iter().collect(),
        code::ROUTES | code::MICROSOFT_ROUTES => classless_routes(settings),
        _ => Vec::new(),
    };
    writer.put(wanted, &values);
    !values.is_empty()
}

/// RFC 3442: prefix length, as many bytes of the address as it covers, next hop.
///
/// The next hop is 0.0.0.0, which RFC 3442 defines as "on the link": there is no other hop at the end of a tunnel. Windows (IKEv2 and PPP)
/// and macOS ignore the field and route into the tunnel's interface.
///
/// The default route is told in two halves. A route of length zero competes with the default route of the network that carries the
/// tunnel, by metric, whereas halves are always more specific; macOS besides shifts a mask by 32 bits where the length is zero.
fn classless_routes(settings: &Settings) -> Vec<Vec<u8>> {
    let ipv4 = settings.routes.iter().filter(|route| route.address().is_ipv4() && !route.is_default());
    let halves = [0, 128].map(|first| vec![1, first, 0, 0, 0, 0]);
    let halves = halves.into_iter().filter(|_| settings.is_default(true));
    halves.chain(ipv4.map(classless_route)).collect()
}

fn classless_route(route: &Route) -> Vec<u8> {
    let IpAddr::V4(address) = route.address() else { return Vec::new() };
    let covered = usize::from(route.prefix_len().div_ceil(8));
    [&[route.prefix_len()], &address.octets()[..covered], &Ipv4Addr::UNSPECIFIED.octets()].concat()
}
