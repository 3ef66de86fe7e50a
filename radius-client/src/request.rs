//! The requests of a VPN server: what RRAS sends, so that network policies written for it match.
use crate::api::{NasContext, Server};
use crate::attributes::{VENDOR_MICROSOFT, microsoft, number, service_type};
use crate::authentication::Proof;
use crate::codec::{Builder, Envelope, TooLong, code};
use crate::credentials::BadPassword;
use crate::record::{AccountingRecord, AccountingStatus, Authentic};
use std::net::IpAddr;

const FRAMED_PROTOCOL_PPP: u32 = 1;
const NAS_PORT_TYPE_VIRTUAL: u32 = 5;
/// MS-Network-Access-Server-Type of a remote access server (MS-RNAP section 2.2.1.8).
const NAS_TYPE_REMOTE_ACCESS: u32 = 2;
/// MS-RAS-Version of every RRAS since Windows 2000.
const RAS_VERSION: &[u8] = b"MSRASV5.20";
/// The longest MS-RAS-Client-Name without its zero byte: Vendor-Length stays below 36 (MS-RNAP section 2.2.1.1).
const MAX_CLIENT_TEXT: usize = 32;
/// Why a request cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// RFC 2865 section 4.1.
    #[error("neither NAS-IP-Address nor NAS-Identifier is known; set one of them")]
    NoNas,
    #[error(transparent)]
    Password(#[from] BadPassword),
    #[error("the client gave no user name")]
    NoName,
}

/// An Access-Request with one EAP packet (RFC 3579) or with a login by password.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) user_name: &'a [u8],
    pub(crate) nas: &'a NasContext,
    pub(crate) proof: &'a Proof,
    pub(crate) state: Option<&'a [u8]>,
}

impl Access<'_> {
    pub(crate) fn write(&self, envelope: &Envelope, server: &Server) -> Result<Vec<u8>, BadRequest> {
        let nas = self.nas;
        let mut packet = Builder::request(code::ACCESS_REQUEST, envelope);
        if self.user_name.is_empty() && matches!(self.proof, Proof::Login(_)) {
            return Err(BadRequest::NoName);
        }
        packet.put(number::USER_NAME, self.user_name);
        put_nas(&mut packet, nas, server)?;
        if matches!(self.proof, Proof::Eap(_)) {
            packet.put_u32(number::FRAMED_MTU, framed_mtu(nas, server));
        }
        put_session(&mut packet, nas, server, self.proof.service_type());
        put_remote_access(&mut packet, nas);
        put_extra(&mut packet, server);
        if let Some(state) = self.state {
            packet.put(number::STATE, state);
        }
        match self.proof {
            Proof::Eap(eap) => drop(packet.put_eap(eap)),
            Proof::Login(credentials) => credentials.put(&mut packet, envelope, &server.secret)?,
        }
        Ok(packet.sign(&server.secret)?)
    }
}

/// What EAP packets may measure: on the way to this server, and to this client where that is known.
fn framed_mtu(nas: &NasContext, server: &Server) -> u32 {
    let link = if nas.framed_mtu == 0 { u32::MAX } else { nas.framed_mtu };
    server.framed_mtu.min(link).clamp(64, 1500)
}

/// Which NAS asks: as this server knows it, else as the request says.
pub(crate) fn put_nas(packet: &mut Builder, nas: &NasContext, server: &Server) -> Result<(), BadRequest> {
    let address = server.nas_ip.or(nas.nas_ip);
    if address.is_none() && nas_identifier(nas, server).is_empty() {
        return Err(BadRequest::NoNas);
    }
    match address {
        Some(IpAddr::V4(address)) => packet.put(number::NAS_IP_ADDRESS, &address.octets()),
        Some(IpAddr::V6(address)) => packet.put(number::NAS_IPV6_ADDRESS, &address.octets()),
        None => packet,
    };
    Ok(())
}

pub(crate) fn nas_identifier<'a>(nas: &'a NasContext, server: &'a Server) -> &'a str {
    server.nas_identifier.as_deref().unwrap_or(&nas.nas_identifier)
}

/// The session as both authentication and accounting describe it.
fn put_session(packet: &mut Builder, nas: &NasContext, server: &Server, service_type: u32) {
    packet
        .put(number::NAS_IDENTIFIER, nas_identifier(nas, server).as_bytes())
        .put_u32_unless_zero(number::NAS_PORT, nas.nas_port)
        .put_u32(number::NAS_PORT_TYPE, NAS_PORT_TYPE_VIRTUAL)
        .put_u32(number::SERVICE_TYPE, service_type)
        .put_u32(number::FRAMED_PROTOCOL, FRAMED_PROTOCOL_PPP)
        .put(number::CALLED_STATION_ID, nas.called_station_id.as_bytes())
        .put(number::CALLING_STATION_ID, nas.calling_station_id.as_bytes())
        .put(number::ACCT_SESSION_ID, nas.acct_session_id.as_bytes())
        .put_tagged_u32(number::TUNNEL_TYPE, nas.tunnel_type)
        .put_tagged_u32(number::TUNNEL_MEDIUM_TYPE, nas.tunnel_medium_type)
        // A first byte above 0x1F is no tag (RFC 2868 section 3.3): the address stands bare, for patterns in policies.
        .put(number::TUNNEL_CLIENT_ENDPOINT, nas.calling_station_id.as_bytes())
        .put(number::TUNNEL_SERVER_ENDPOINT, nas.called_station_id.as_bytes());
}

/// What a remote access server of Microsoft says of itself and of its client (MS-RNAP section 2.2.1).
fn put_remote_access(packet: &mut Builder, nas: &NasContext) {
    packet
        .put_microsoft(microsoft::RAS_VENDOR, &VENDOR_MICROSOFT.to_be_bytes())
        .put_microsoft(microsoft::RAS_VERSION, RAS_VERSION)
        .put_microsoft(microsoft::NETWORK_ACCESS_SERVER_TYPE, &NAS_TYPE_REMOTE_ACCESS.to_be_bytes());
    // The client wrote these: what has not their form would only make the server refuse the whole request.
    if let Some(name) = nas.ras_client_name.as_deref().and_then(client_text) {
        packet.put_microsoft(microsoft::RAS_CLIENT_NAME, &[name, &[0]].concat());
    }
    if let Some(version) = nas.ras_client_version.as_deref().and_then(client_text) {
        packet.put_microsoft(microsoft::RAS_CLIENT_VERSION, version);
    }
    if let Some(guid) = nas.ras_correlation_id.as_deref().filter(|text| is_guid(text)) {
        packet.put_microsoft(microsoft::RAS_CORRELATION_ID, guid.as_bytes());
    }
}

/// What the administrator adds for this server.
fn put_extra(packet: &mut Builder, server: &Server) {
    for attribute in &server.attributes {
        attribute.put(packet);
    }
}

/// Printable ASCII up to the first zero byte, if it fits MS-RAS-Client-Name.
fn client_text(text: &str) -> Option<&[u8]> {
    let text = text.split('\0').next()?.as_bytes();
    let fits = (1..=MAX_CLIENT_TEXT).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    fits.then_some(text)
}

/// A GUID in curly braces, not the zero one (MS-RNAP section 3.3.5.1.9).
fn is_guid(text: &str) -> bool {
    let form = |(index, byte): (usize, u8)| match index {
        0 => byte == b'{',
        9 | 14 | 19 | 24 => byte == b'-',
        37 => byte == b'}',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 38 && text.bytes().enumerate().all(form) && text.bytes().any(|byte| byte.is_ascii_hexdigit() && byte != b'0')
}

/// An Accounting-Request (RFC 2866). `delay` in seconds since the event; zero is left out.
pub(crate) fn accounting(record: &AccountingRecord, delay: u32, envelope: &Envelope, server: &Server) -> Result<Vec<u8>, BadRequest> {
    let mut packet = Builder::request(code::ACCOUNTING_REQUEST, envelope);
    packet.put_u32(number::ACCT_STATUS_TYPE, record.status as u32);
    packet.put(number::USER_NAME, &record.user_name);
    put_nas(&mut packet, &record.nas, server)?;
    if record.status.is_of_a_session() {
        put_session(&mut packet, &record.nas, server, service_type::FRAMED);
        put_remote_access(&mut packet, &record.nas);
        put_extra(&mut packet, server);
        put_login(&mut packet, record);
    } else {
        packet.put(number::NAS_IDENTIFIER, nas_identifier(&record.nas, server).as_bytes());
        packet.put(number::ACCT_SESSION_ID, record.nas.acct_session_id.as_bytes());
    }
    packet.put_u32(number::EVENT_TIMESTAMP, record.event_timestamp);
    if delay > 0 {
        packet.put_u32(number::ACCT_DELAY_TIME, delay);
    }
    if let Some(address) = record.framed_ip {
        packet.put(number::FRAMED_IP_ADDRESS, &address.octets());
    }
    if let Some(address) = record.framed_ipv6 {
        packet.put(number::FRAMED_IPV6_ADDRESS, &address.octets());
    }
    for (number, value) in &record.framed {
        packet.put(*number, value);
    }
    for class in &record.class {
        packet.put(number::CLASS, class);
    }
    if let Some(identity) = &record.chargeable_user_identity {
        packet.put(number::CHARGEABLE_USER_IDENTITY, identity);
    }
    if matches!(record.status, AccountingStatus::Stop | AccountingStatus::Interim) {
        put_usage(&mut packet, record);
    }
    if let (AccountingStatus::Stop, Some(cause)) = (record.status, record.terminate_cause) {
        packet.put_u32(number::ACCT_TERMINATE_CAUSE, cause as u32);
    }
    Ok(packet.sign(&server.secret)?)
}

/// How the client logged in, and which other sessions this one belongs to.
fn put_login(packet: &mut Builder, record: &AccountingRecord) {
    let authentic = match record.authentic {
        Authentic::Radius => 1,
        Authentic::Local => 2,
    };
    packet
        .put_u32(number::ACCT_AUTHENTIC, authentic)
        .put(number::ACCT_MULTI_SESSION_ID, record.multi_session_id.as_bytes())
        .put(number::ACCT_TUNNEL_CONNECTION, record.tunnel_connection.as_bytes());
    if let Some(kind) = record.auth_type {
        packet.put_microsoft(microsoft::ACCT_AUTH_TYPE, &kind.to_be_bytes());
    }
    if let Some(method) = record.eap_type {
        packet.put_microsoft(microsoft::ACCT_EAP_TYPE, &u32::from(method).to_be_bytes());
    }
}

/// Time, octets with their upper halves (RFC 2869 section 5.1), packets; the packet counters have 32 bits and wrap.
fn put_usage(packet: &mut Builder, record: &AccountingRecord) {
    let seconds = u32::try_from(record.session_time.as_secs()).unwrap_or(u32::MAX);
    packet
        .put_u32(number::ACCT_SESSION_TIME, seconds)
        .put_u32(number::ACCT_INPUT_OCTETS, record.input_octets as u32)
        .put_u32(number::ACCT_INPUT_GIGAWORDS, (record.input_octets >> 32) as u32)
        .put_u32(number::ACCT_OUTPUT_OCTETS, record.output_octets as u32)
        .put_u32(number::ACCT_OUTPUT_GIGAWORDS, (record.output_octets >> 32) as u32)
        .put_u32(number::ACCT_INPUT_PACKETS, record.input_packets as u32)
        .put_u32(number::ACCT_OUTPUT_PACKETS, record.output_packets as u32);
}
