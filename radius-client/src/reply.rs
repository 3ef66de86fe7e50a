//! What a believed reply to an Access-Request says.
use crate::api::{Accept, Credentials, EapOutcome, FramedIp, LoginOutcome, Output, ReplyFilters, RequestFailure, Server, Ticket};
use crate::attributes::{AttributeId, VENDOR_WISPR, azure_group, microsoft, name, number, service_type, wispr};
use crate::authentication::Proof;
use crate::codec::{Malformed, Packet, code};
use crate::mppe::{self, Hiding};
use crate::{filters, framed, words};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// EAP codes (RFC 3748 section 4) and what carries them.
const EAP_REQUEST: u8 = 1;
const EAP_SUCCESS: u8 = 3;
const EAP_FAILURE: u8 = 4;

/// Termination-Action (RFC 2865 section 5.29): at the end of the session RADIUS is asked again.
const TERMINATION_RADIUS_REQUEST: u32 = 1;

/// Digits of the authenticator response in MS-CHAP2-Success.
const SUCCESS_DIGITS: usize = 40;

/// What a round came to, in the terms of the one who asked.
#[derive(Debug)]
pub(crate) enum Outcome {
    Eap(EapOutcome),
    Login(LoginOutcome),
}

impl Outcome {
    pub(crate) fn failed(proof: &Proof, failure: RequestFailure) -> Self {
        match proof {
            Proof::Eap(_) => Self::Eap(EapOutcome::Failed(failure)),
            Proof::Login(_) => Self::Login(LoginOutcome::Failed(failure)),
        }
    }

    /// The server waits for another round.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Eap(EapOutcome::Challenge { .. }))
    }

    pub(crate) fn output(&self, ticket: Ticket) -> Output {
        match self {
            Self::Eap(outcome) => Output::Eap { ticket, outcome: outcome.clone() },
            Self::Login(outcome) => Output::Login { ticket, outcome: outcome.clone() },
        }
    }
}

/// An outcome, and the State to send with the next request.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) state: Option<Vec<u8>>,
}

/// Reads a reply that passed all checks. The code alone decides (RFC 3579 section 2.6.3).
pub(crate) fn read(reply: &Packet<'_>, proof: &Proof, server: &Server, hiding: Hiding<'_>) -> Verdict {
    let granted = || {
        check_filters(reply, server.ignore_filters)?;
        let mut accept = accept(reply, proof.service_type(), hiding)?;
        accept.filters = filters::read(reply, server.ignore_filters).map_err(|error| format!("Access-Accept: {error}"))?;
        accept.port_limit = accept.port_limit.filter(|_| !server.ignore_port_limit);
        Ok(Box::new(accept))
    };
    let server = server.name.as_str();
    let outcome = match proof {
        Proof::Eap(_) => eap_outcome(reply, server, granted).map(Outcome::Eap),
        Proof::Login(credentials) => login_outcome(reply, credentials, server, granted).map(Outcome::Login),
    };
    let bad = |reason| Outcome::failed(proof, RequestFailure::BadReply { server: server.to_owned(), reason });
    let outcome = outcome.unwrap_or_else(bad);
    let state = reply.first(number::STATE).filter(|_| outcome.goes_on()).map(|state| state.value.to_vec());
    Verdict { outcome, state }
}

/// An EAP packet that contradicts an Accept or a Reject is left out.
fn eap_outcome(reply: &Packet<'_>, server: &str, granted: impl Fn() -> Result<Box<Accept>, String>) -> Result<EapOutcome, String> {
    let server = server.to_owned();
    Ok(match reply.code() {
        code::ACCESS_ACCEPT => EapOutcome::Accept { server, eap: fitting_eap(reply, EAP_SUCCESS).ok(), accept: granted()? },
        code::ACCESS_CHALLENGE => {
            let eap = fitting_eap(reply, EAP_REQUEST).map_err(|why| format!("Access-Challenge {why}"))?;
            EapOutcome::Challenge { server, eap }
        }
        _ => EapOutcome::Reject {
            server,
            eap: fitting_eap(reply, EAP_FAILURE).ok(),
            reply_message: reply_message(reply),
            ms_chap_error: ms_chap_error(reply).map(|text| String::from_utf8_lossy(&text).into_owned()),
        },
    })
}

fn login_outcome(
    reply: &Packet<'_>,
    credentials: &Credentials,
    server: &str,
    granted: impl Fn() -> Result<Box<Accept>, String>,
) -> Result<LoginOutcome, String> {
    let server = server.to_owned();
    Ok(match reply.code() {
        code::ACCESS_ACCEPT => {
            let ms_chap_success = credentials.wants_ms_chap_success().then(|| ms_chap_success(reply)).transpose()?;
            LoginOutcome::Accept { server, accept: granted()?, ms_chap_success }
        }
        code::ACCESS_CHALLENGE => {
            let prompt = reply_message(reply).map(|prompt| format!(" ({prompt})")).unwrap_or_default();
            let why = format!("Access-Challenge{prompt}: {} cannot answer one; a second factor by prompt needs EAP", credentials.name());
            LoginOutcome::Reject { server, reply_message: Some(why), ms_chap_error: None }
        }
        _ => LoginOutcome::Reject { server, reply_message: reply_message(reply), ms_chap_error: ms_chap_error(reply) },
    })
}

/// The text of MS-CHAP2-Success without its Ident byte (RFC 2548 section 2.3.3, RFC 2759 section 5). Only the client can tell whether its digits
/// are right.
fn ms_chap_success(reply: &Packet<'_>) -> Result<Vec<u8>, String> {
    let found = reply.microsoft(microsoft::CHAP2_SUCCESS).map_err(|error| format!("Access-Accept: {error}"))?;
    let value = found.first().ok_or("Access-Accept without MS-CHAP2-Success, without which an MS-CHAPv2 client hangs up")?.value;
    let text = value.get(1..).unwrap_or_default();
    let digits = text.strip_prefix(b"S=").and_then(|rest| rest.get(..SUCCESS_DIGITS));
    let proves = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let wrong =
        || format!("Access-Accept with an MS-CHAP2-Success of {} bytes that is not S= and {SUCCESS_DIGITS} hex digits", value.len());
    proves.then(|| text.to_vec()).ok_or_else(wrong)
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
fn accept(reply: &Packet<'_>, asked: u32, hiding: Hiding<'_>) -> Result<Accept, String> {
    check_service(reply, asked)?;
    let msk = mppe::msk(reply, hiding).map_err(|error| format!("Access-Accept: {error}"))?;
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
        chargeable_user_identity: reply.first(number::CHARGEABLE_USER_IDENTITY).map(|identity| identity.value.to_vec()),
        filter_id: reply.all(number::FILTER_ID).map(|filter| filter.text()).collect(),
        filters: ReplyFilters::default(),
        bandwidth_up: bandwidth(reply, wispr::BANDWIDTH_MAX_UP)?,
        bandwidth_down: bandwidth(reply, wispr::BANDWIDTH_MAX_DOWN)?,
        groups: reply.microsoft(microsoft::AZURE_POLICY_ID).map_err(malformed)?.iter().filter_map(|id| azure_group(id.value)).collect(),
        session_timeout: seconds(number::SESSION_TIMEOUT).map_err(malformed)?,
        idle_timeout: seconds(number::IDLE_TIMEOUT).map_err(malformed)?,
        acct_interim_interval: seconds(number::ACCT_INTERIM_INTERVAL).map_err(malformed)?,
        dns: dns(reply).map_err(malformed)?,
        nbns: microsoft_servers(reply, NBNS).map_err(malformed)?,
        user_name: reply.text(number::USER_NAME),
        framed_pool: reply.text(number::FRAMED_POOL),
        framed: framed::read(reply).map_err(|why| format!("Access-Accept {why}"))?,
        renew: reply.u32(number::TERMINATION_ACTION).map_err(malformed)? == Some(TERMINATION_RADIUS_REQUEST),
        port_limit: reply.u32(number::PORT_LIMIT).map_err(malformed)?,
        reply_message: reply_message(reply),
        client_certificate: None,
        attributes: words::words(reply),
    })
}

/// A limit of WISPr in bits a second; zero is none.
fn bandwidth(reply: &Packet<'_>, number: u8) -> Result<Option<u32>, String> {
    let id = AttributeId { vendor: VENDOR_WISPR, number };
    let Some((_, value)) = reply.identified().into_iter().find(|(found, _)| *found == id) else { return Ok(None) };
    let value = value.try_into().map_err(|_| format!("Access-Accept: {id} has {} bytes; a number has 4 bytes", value.len()))?;
    Ok(Some(u32::from_be_bytes(value)).filter(|value| *value > 0))
}

/// What a filter was to keep out would come in without it.
fn check_filters(reply: &Packet<'_>, ignore: bool) -> Result<(), String> {
    let names: Vec<_> = filters::unknown(reply).iter().map(ToString::to_string).collect();
    if ignore || names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    Err(format!(
        "Access-Accept carries packet filters ({names}), which this gateway cannot apply: take them out of the policy there, or set ignore_filters for this server"
    ))
}

/// Another service than framed PPP is refused as if rejected (RFC 2865 sections 5.6 and 5.7); `asked`, the Service-Type of the request, may come
/// back as it is.
fn check_service(reply: &Packet<'_>, asked: u32) -> Result<(), String> {
    for (number, served, echo) in [(number::SERVICE_TYPE, service_type::FRAMED, asked), (number::FRAMED_PROTOCOL, 1, 1)] {
        let value = reply.u32(number).map_err(|error| format!("Access-Accept: {error}"))?;
        if let Some(value) = value.filter(|value| *value != served && *value != echo) {
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

const DNS: [(u8, &str); 2] =
    [(microsoft::PRIMARY_DNS_SERVER, "MS-Primary-DNS-Server"), (microsoft::SECONDARY_DNS_SERVER, "MS-Secondary-DNS-Server")];
const NBNS: [(u8, &str); 2] =
    [(microsoft::PRIMARY_NBNS_SERVER, "MS-Primary-NBNS-Server"), (microsoft::SECONDARY_NBNS_SERVER, "MS-Secondary-NBNS-Server")];

/// MS-Primary-DNS-Server, MS-Secondary-DNS-Server, DNS-Server-IPv6-Address, in this order.
fn dns(reply: &Packet<'_>) -> Result<Vec<IpAddr>, Malformed> {
    let mut servers: Vec<IpAddr> = microsoft_servers(reply, DNS)?.into_iter().map(IpAddr::V4).collect();
    for attribute in reply.all(number::DNS_SERVER_IPV6_ADDRESS) {
        servers.push(IpAddr::V6(attribute.ipv6(name(number::DNS_SERVER_IPV6_ADDRESS))?));
    }
    Ok(servers)
}

/// The addresses of Microsoft's attributes of these types; 0.0.0.0 means none.
fn microsoft_servers(reply: &Packet<'_>, types: [(u8, &'static str); 2]) -> Result<Vec<Ipv4Addr>, Malformed> {
    let mut servers = Vec::new();
    for (vendor_type, name) in types {
        for attribute in reply.microsoft(vendor_type)? {
            let address = attribute.ipv4(name)?;
            servers.extend((address != Ipv4Addr::UNSPECIFIED).then_some(address));
        }
    }
    Ok(servers)
}

fn reply_message(reply: &Packet<'_>) -> Option<String> {
    let lines: Vec<_> = reply.all(number::REPLY_MESSAGE).map(|line| line.text()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The text of MS-CHAP-Error without its Ident byte (RFC 2548 section 2.1.5).
fn ms_chap_error(reply: &Packet<'_>) -> Option<Vec<u8>> {
    let found = reply.microsoft(microsoft::CHAP_ERROR).ok()?;
    Some(found.first()?.value.get(1..)?.to_vec())
}
