//! What a believed reply to an Access-Request says.
use crate::api::{Accept, EapOutcome, FramedIp, RequestFailure};
use crate::attributes::{microsoft, name, number};
use crate::codec::{Malformed, Packet, code};
use crate::mppe;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// EAP codes (RFC 3748 section 4) and what carries them.
const EAP_REQUEST: u8 = 1;
const EAP_SUCCESS: u8 = 3;
const EAP_FAILURE: u8 = 4;

/// An outcome, and the State to send with the next request.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: EapOutcome,
    pub(crate) state: Option<Vec<u8>>,
}

/// Reads a reply that passed all checks. The code alone decides (RFC 3579 section 2.6.3): an EAP packet that contradicts an Accept or a
/// Reject is left out.
pub(crate) fn read(reply: &Packet<'_>, server: &str, request_authenticator: &[u8; 16], secret: &[u8]) -> Verdict {
    let server = server.to_owned();
    let outcome = match reply.code() {
        code::ACCESS_ACCEPT => accept(reply, request_authenticator, secret).map(|accept| EapOutcome::Accept {
            server: server.clone(),
            eap: fitting_eap(reply, EAP_SUCCESS).ok(),
            accept: Box::new(accept),
        }),
        code::ACCESS_CHALLENGE => fitting_eap(reply, EAP_REQUEST)
            .map(|eap| EapOutcome::Challenge { server: server.clone(), eap })
            .map_err(|why| format!("Access-Challenge {why}")),
        _ => Ok(EapOutcome::Reject {
            server: server.clone(),
            eap: fitting_eap(reply, EAP_FAILURE).ok(),
            reply_message: reply_message(reply),
            ms_chap_error: ms_chap_error(reply),
        }),
    };
    let state = matches!(outcome, Ok(EapOutcome::Challenge { .. })).then(|| reply.first(number::STATE).map(|state| state.value.to_vec()));
    Verdict {
        outcome: outcome.unwrap_or_else(|reason| EapOutcome::Failed(RequestFailure::BadReply { server, reason })),
        state: state.flatten(),
    }
}

/// The EAP packet if it is whole and of this code.
fn fitting_eap(reply: &Packet<'_>, wanted: u8) -> Result<Vec<u8>, String> {
    let eap = reply.eap_message().ok_or("without EAP-Message")?;
    let [code, _, high, low, ..] = *eap else { return Err(format!("with an EAP packet of {} bytes", eap.len())) };
    let said = usize::from(u16::from_be_bytes([high, low]));
    if said != eap.len() {
        return Err(format!("with an EAP packet of {} bytes that says {said}", eap.len()));
    }
    if code != wanted || (code == EAP_REQUEST && eap.len() < 5) {
        return Err(format!("with an EAP packet of code {code} and {said} bytes"));
    }
    Ok(eap)
}

/// Everything granted. An attribute of the wrong form refuses the whole (RFC 2865 section 5).
fn accept(reply: &Packet<'_>, request_authenticator: &[u8; 16], secret: &[u8]) -> Result<Accept, String> {
    check_service(reply)?;
    let msk = mppe::msk(reply, request_authenticator, secret).map_err(|error| format!("Access-Accept: {error}"))?;
    let malformed = |error: Malformed| format!("Access-Accept: {error}");
    let seconds = |number| reply.u32(number).map(|value| value.filter(|value| *value > 0).map(|value| Duration::from_secs(value.into())));
    Ok(Accept {
        msk,
        framed_ip: framed_ip(reply).map_err(malformed)?,
        framed_ipv6: reply
            .first(number::FRAMED_IPV6_ADDRESS)
            .map(|attribute| attribute.ipv6(name(number::FRAMED_IPV6_ADDRESS)))
            .transpose()
            .map_err(malformed)?,
        class: reply.all(number::CLASS).map(|class| class.value.to_vec()).collect(),
        filter_id: reply.all(number::FILTER_ID).map(|filter| filter.text()).collect(),
        session_timeout: seconds(number::SESSION_TIMEOUT).map_err(malformed)?,
        idle_timeout: seconds(number::IDLE_TIMEOUT).map_err(malformed)?,
        acct_interim_interval: seconds(number::ACCT_INTERIM_INTERVAL).map_err(malformed)?,
        dns: dns(reply).map_err(malformed)?,
        user_name: reply.text(number::USER_NAME),
        framed_pool: reply.text(number::FRAMED_POOL),
        reply_message: reply_message(reply),
    })
}

/// Another service than framed PPP is refused as if rejected (RFC 2865 sections 5.6 and 5.7).
fn check_service(reply: &Packet<'_>) -> Result<(), String> {
    for (number, served) in [(number::SERVICE_TYPE, 2), (number::FRAMED_PROTOCOL, 1)] {
        let value = reply.u32(number).map_err(|error| format!("Access-Accept: {error}"))?;
        if let Some(value) = value.filter(|value| *value != served) {
            let name = name(number);
            return Err(format!("Access-Accept grants {name} {value}; a VPN client needs {name} {served}: correct the policy's settings"));
        }
    }
    Ok(())
}

fn framed_ip(reply: &Packet<'_>) -> Result<Option<FramedIp>, Malformed> {
    let Some(attribute) = reply.first(number::FRAMED_IP_ADDRESS) else { return Ok(None) };
    let address = attribute.ipv4(name(number::FRAMED_IP_ADDRESS))?;
    Ok(Some(match u32::from(address) {
        0xFFFF_FFFF => FramedIp::ClientChooses,
        0xFFFF_FFFE => FramedIp::NasChooses,
        _ => FramedIp::Fixed(address),
    }))
}

/// MS-Primary-DNS-Server, MS-Secondary-DNS-Server, DNS-Server-IPv6-Address, in this order; 0.0.0.0 means none.
fn dns(reply: &Packet<'_>) -> Result<Vec<IpAddr>, Malformed> {
    let mut servers = Vec::new();
    for (vendor_type, name) in
        [(microsoft::PRIMARY_DNS_SERVER, "MS-Primary-DNS-Server"), (microsoft::SECONDARY_DNS_SERVER, "MS-Secondary-DNS-Server")]
    {
        for attribute in reply.microsoft(vendor_type)? {
            let address = attribute.ipv4(name)?;
            servers.extend((address != Ipv4Addr::UNSPECIFIED).then_some(IpAddr::V4(address)));
        }
    }
    for attribute in reply.all(number::DNS_SERVER_IPV6_ADDRESS) {
        servers.push(IpAddr::V6(attribute.ipv6(name(number::DNS_SERVER_IPV6_ADDRESS))?));
    }
    Ok(servers)
}

fn reply_message(reply: &Packet<'_>) -> Option<String> {
    let lines: Vec<_> = reply.all(number::REPLY_MESSAGE).map(|line| line.text()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The text of MS-CHAP-Error without its Ident byte (RFC 2548 section 2.1.5).
fn ms_chap_error(reply: &Packet<'_>) -> Option<String> {
    let found = reply.microsoft(microsoft::CHAP_ERROR).ok()?;
    let text = found.first()?.value.get(1..)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
