//! The requests a NAS for IKEv2 sends: what RRAS sends, so that network policies written for it match.
use crate::api::{AccountingRecord, AccountingStatus, NasContext};
use crate::attributes::{VENDOR_MICROSOFT, microsoft, number};
use crate::codec::{Builder, TooLong};
use std::net::IpAddr;

const SERVICE_TYPE_FRAMED: u32 = 2;
const FRAMED_PROTOCOL_PPP: u32 = 1;
const NAS_PORT_TYPE_VIRTUAL: u32 = 5;
const ACCT_AUTHENTIC_RADIUS: u32 = 1;
/// MS-Network-Access-Server-Type of a remote access server (MS-RNAP section 2.2.1.8).
const NAS_TYPE_REMOTE_ACCESS: u32 = 2;
/// MS-RAS-Version of every RRAS since Windows 2000.
const RAS_VERSION: &[u8] = b"MSRASV5.20";
/// EAP fragments of this size travel in one UDP datagram.
const DEFAULT_MTU: u32 = 1344;

/// Why a request cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// RFC 2865 section 4.1.
    #[error("neither NAS-IP-Address nor NAS-Identifier is known; set one of them")]
    NoNas,
}

/// An Access-Request with one EAP packet inside (RFC 3579).
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) user_name: &'a [u8],
    pub(crate) nas: &'a NasContext,
    pub(crate) eap: &'a [u8],
    pub(crate) state: Option<&'a [u8]>,
}

impl Access<'_> {
    pub(crate) fn write(&self, identifier: u8, authenticator: &[u8; 16], secret: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let nas = self.nas;
        let mut packet = Builder::access_request(identifier, authenticator);
        packet.put(number::USER_NAME, self.user_name);
        put_nas(&mut packet, nas)?;
        let mtu = if nas.framed_mtu == 0 { DEFAULT_MTU } else { nas.framed_mtu.clamp(64, 1500) };
        packet.put_u32(number::FRAMED_MTU, mtu);
        put_session(&mut packet, nas);
        packet
            .put_microsoft(microsoft::RAS_VENDOR, &VENDOR_MICROSOFT.to_be_bytes())
            .put_microsoft(microsoft::RAS_VERSION, RAS_VERSION)
            .put_microsoft(microsoft::NETWORK_ACCESS_SERVER_TYPE, &NAS_TYPE_REMOTE_ACCESS.to_be_bytes());
        if let Some(state) = self.state {
            packet.put(number::STATE, state);
        }
        packet.put_eap(self.eap);
        Ok(packet.sign(secret)?)
    }
}

/// Which NAS asks, and what kind of port and service.
fn put_nas(packet: &mut Builder, nas: &NasContext) -> Result<(), BadRequest> {
    if nas.nas_ip.is_none() && nas.nas_identifier.is_empty() {
        return Err(BadRequest::NoNas);
    }
    match nas.nas_ip {
        Some(IpAddr::V4(address)) => packet.put(number::NAS_IP_ADDRESS, &address.octets()),
        Some(IpAddr::V6(address)) => packet.put(number::NAS_IPV6_ADDRESS, &address.octets()),
        None => packet,
    };
    Ok(())
}

/// The session as both authentication and accounting describe it.
fn put_session(packet: &mut Builder, nas: &NasContext) {
    packet
        .put(number::NAS_IDENTIFIER, nas.nas_identifier.as_bytes())
        .put_u32(number::NAS_PORT, nas.nas_port)
        .put_u32(number::NAS_PORT_TYPE, NAS_PORT_TYPE_VIRTUAL)
        .put_u32(number::SERVICE_TYPE, SERVICE_TYPE_FRAMED)
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

/// An Accounting-Request (RFC 2866). `delay` in seconds since the event; zero is left out.
pub(crate) fn accounting(record: &AccountingRecord, delay: u32, identifier: u8, secret: &[u8]) -> Result<Vec<u8>, BadRequest> {
    let mut packet = Builder::accounting_request(identifier);
    packet.put_u32(number::ACCT_STATUS_TYPE, status(record.status));
    packet.put(number::USER_NAME, &record.user_name);
    put_nas(&mut packet, &record.nas)?;
    put_session(&mut packet, &record.nas);
    packet.put_u32(number::ACCT_AUTHENTIC, ACCT_AUTHENTIC_RADIUS);
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
    for class in &record.class {
        packet.put(number::CLASS, class);
    }
    if record.status != AccountingStatus::Start {
        put_usage(&mut packet, record);
    }
    if let (AccountingStatus::Stop, Some(cause)) = (record.status, record.terminate_cause) {
        packet.put_u32(number::ACCT_TERMINATE_CAUSE, cause as u32);
    }
    Ok(packet.sign(secret)?)
}

fn status(status: AccountingStatus) -> u32 {
    match status {
        AccountingStatus::Start => 1,
        AccountingStatus::Stop => 2,
        AccountingStatus::Interim => 3,
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
