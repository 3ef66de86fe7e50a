//! What a believed request says.
use super::{DynamicClient, ErrorCause, Identification, NasNames};
use crate::attributes::{AttributeId, VENDOR_MICROSOFT, VENDOR_WISPR, microsoft, number, wispr};
use crate::codec::{Attribute, Malformed, Packet, code};
use crate::words::word;
use std::net::IpAddr;
use std::time::Duration;

/// A request as the gateway acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicRequest {
    /// Name of the client that sent it.
    pub client: String,
    pub action: Action,
    /// Never empty; all of them must fit a session.
    pub sessions: Vec<Identification>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Disconnect,
    Change(Box<Changes>),
}

/// A CoA's new values; `None` leaves what is. An inner `None` takes a limit away (the attribute says zero).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Counts from now on.
    pub session_timeout: Option<Option<Duration>>,
    pub idle_timeout: Option<Option<Duration>>,
    pub acct_interim_interval: Option<Option<Duration>>,
    pub filter_id: Option<Vec<String>>,
    pub class: Option<Vec<Vec<u8>>>,
    /// Values of NAS-Filter-Rule in order (RFC 4849).
    pub rules: Option<Vec<Vec<u8>>>,
    /// Values of MS-Filter and of MS-IPv6-Filter, each concatenated.
    pub ms_filter: Option<Vec<u8>>,
    pub ms_ipv6_filter: Option<Vec<u8>>,
    /// WISPr-Bandwidth-Max-Up and -Down, bits a second.
    pub bandwidth_up: Option<Option<u32>>,
    pub bandwidth_down: Option<Option<u32>>,
}

impl Changes {
    /// The new values in the place of the old ones among names and text such as [`crate::Accept::attributes`].
    pub fn apply(&self, attributes: &mut Vec<(String, String)>) {
        let seconds = |limit: Option<Option<Duration>>| {
            let seconds = limit?.map_or(0, |limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX));
            Some(vec![seconds.to_be_bytes().to_vec()])
        };
        let rate = |limit: Option<Option<u32>>| Some(vec![limit?.unwrap_or(0).to_be_bytes().to_vec()]);
        let whole = |value: &Option<Vec<u8>>| Some(vec![value.clone()?]);
        let wispr = |number| AttributeId { vendor: VENDOR_WISPR, number };
        for (id, values) in [
            (AttributeId::standard(number::SESSION_TIMEOUT), seconds(self.session_timeout)),
            (AttributeId::standard(number::IDLE_TIMEOUT), seconds(self.idle_timeout)),
            (AttributeId::standard(number::ACCT_INTERIM_INTERVAL), seconds(self.acct_interim_interval)),
            (
                AttributeId::standard(number::FILTER_ID),
                self.filter_id.as_ref().map(|ids| ids.iter().map(|id| id.clone().into_bytes()).collect()),
            ),
            (AttributeId::standard(number::CLASS), self.class.clone()),
            (AttributeId::standard(number::NAS_FILTER_RULE), self.rules.clone()),
            (AttributeId::microsoft(microsoft::FILTER), whole(&self.ms_filter)),
            (AttributeId::microsoft(microsoft::IPV6_FILTER), whole(&self.ms_ipv6_filter)),
            (wispr(wispr::BANDWIDTH_MAX_UP), rate(self.bandwidth_up)),
            (wispr(wispr::BANDWIDTH_MAX_DOWN), rate(self.bandwidth_down)),
        ] {
            let Some(values) = values else { continue };
            let name = id.to_string();
            attributes.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
            attributes.extend(values.iter().map(|value| word(id, value)));
        }
    }

    /// Whether it brings packet filters of its own.
    pub fn brings_filters(&self) -> bool {
        self.rules.is_some() || self.ms_filter.is_some() || self.ms_ipv6_filter.is_some()
    }

    /// Whether it changes what the policies go by, or what they leave of a session's packets.
    pub fn is_to_judge(&self) -> bool {
        let limits_rate = self.bandwidth_up.is_some() || self.bandwidth_down.is_some();
        self.filter_id.is_some() || self.class.is_some() || self.brings_filters() || limits_rate
    }
}

/// Service-Type "Authorize Only" (RFC 5176 section 3.2): the gateway shall ask RADIUS again, which it does not.
const AUTHORIZE_ONLY: u32 = 17;

pub(super) fn request(client: &DynamicClient, names: &NasNames, packet: &Packet<'_>) -> Result<DynamicRequest, ErrorCause> {
    let disconnect = packet.code() == code::DISCONNECT_REQUEST;
    let mut reading = Reading::default();
    for attribute in packet.attributes().iter().filter(|attribute| attribute.number != number::VENDOR_SPECIFIC) {
        reading.take(*attribute, names, disconnect)?;
    }
    for (id, value) in packet.identified() {
        if id.vendor != 0 || id.number == number::VENDOR_SPECIFIC {
            reading.vendor(id, value, disconnect)?;
        }
    }
    let Reading { sessions, changes, timestamp } = reading;
    if sessions.is_empty() {
        return Err(ErrorCause::MissingAttribute);
    }
    let names_one = sessions.iter().any(|one| matches!(one, Identification::AcctSessionId(_)));
    // TLS lets nobody replay a request.
    if !timestamp && (client.require_event_timestamp || !(names_one || client.over_tls)) {
        return Err(ErrorCause::MissingAttribute);
    }
    let action = match (disconnect, changes) {
        (true, None) => Action::Disconnect,
        (false, Some(changes)) => Action::Change(Box::new(changes)),
        // `take` refuses changes in a Disconnect-Request.
        (true, Some(_)) => return Err(ErrorCause::UnsupportedAttribute),
        (false, None) => return Err(ErrorCause::MissingAttribute),
    };
    Ok(DynamicRequest { client: client.name.clone(), action, sessions })
}

#[derive(Default)]
struct Reading {
    sessions: Vec<Identification>,
    changes: Option<Changes>,
    timestamp: bool,
}

impl Reading {
    fn take(&mut self, attribute: Attribute<'_>, names: &NasNames, disconnect: bool) -> Result<(), ErrorCause> {
        if let Some(named) = identification(attribute)? {
            self.sessions.push(named);
            return Ok(());
        }
        match attribute.number {
            number::NAS_IP_ADDRESS | number::NAS_IPV6_ADDRESS | number::NAS_IDENTIFIER => is_us(attribute, names),
            number::EVENT_TIMESTAMP => {
                self.timestamp = true;
                Ok(())
            }
            // Passed on to nobody; their place in a request is allowed (RFC 5176 section 3.6).
            number::MESSAGE_AUTHENTICATOR | number::PROXY_STATE | number::REPLY_MESSAGE => Ok(()),
            number::ACCT_TERMINATE_CAUSE | number::CLASS if disconnect => Ok(()),
            number::SERVICE_TYPE => Err(service(attribute)),
            _ if disconnect => Err(ErrorCause::UnsupportedAttribute),
            _ => self.change(attribute),
        }
    }

    fn change(&mut self, attribute: Attribute<'_>) -> Result<(), ErrorCause> {
        let mut changes = self.changes.take().unwrap_or_default();
        match attribute.number {
            number::SESSION_TIMEOUT => changes.session_timeout = Some(limit(attribute)?),
            number::IDLE_TIMEOUT => changes.idle_timeout = Some(limit(attribute)?),
            number::ACCT_INTERIM_INTERVAL => changes.acct_interim_interval = Some(limit(attribute)?),
            number::FILTER_ID => changes.filter_id.get_or_insert_default().push(attribute.text()),
            number::CLASS => changes.class.get_or_insert_default().push(attribute.value.to_vec()),
            number::NAS_FILTER_RULE => changes.rules.get_or_insert_default().push(attribute.value.to_vec()),
            _ => return Err(ErrorCause::UnsupportedAttribute),
        }
        self.changes = Some(changes);
        Ok(())
    }

    fn vendor(&mut self, id: AttributeId, value: &[u8], disconnect: bool) -> Result<(), ErrorCause> {
        if disconnect {
            return Err(ErrorCause::UnsupportedAttribute);
        }
        let changes = self.changes.get_or_insert_default();
        match (id.vendor, id.number) {
            (VENDOR_MICROSOFT, microsoft::FILTER) => changes.ms_filter.get_or_insert_default().extend(value),
            (VENDOR_MICROSOFT, microsoft::IPV6_FILTER) => changes.ms_ipv6_filter.get_or_insert_default().extend(value),
            (VENDOR_WISPR, wispr::BANDWIDTH_MAX_UP) => changes.bandwidth_up = Some(rate(value)?),
            (VENDOR_WISPR, wispr::BANDWIDTH_MAX_DOWN) => changes.bandwidth_down = Some(rate(value)?),
            _ => return Err(ErrorCause::UnsupportedAttribute),
        }
        Ok(())
    }
}

fn rate(value: &[u8]) -> Result<Option<u32>, ErrorCause> {
    let value = value.try_into().map_err(|_| ErrorCause::InvalidAttributeValue)?;
    Ok(Some(u32::from_be_bytes(value)).filter(|value| *value > 0))
}

fn identification(attribute: Attribute<'_>) -> Result<Option<Identification>, ErrorCause> {
    Ok(Some(match attribute.number {
        number::USER_NAME => Identification::UserName(attribute.text()),
        number::NAS_PORT => Identification::NasPort(valid(attribute.u32("NAS-Port"))?),
        number::FRAMED_IP_ADDRESS => Identification::FramedAddress(valid(attribute.ipv4("Framed-IP-Address"))?.into()),
        number::FRAMED_IPV6_ADDRESS => Identification::FramedAddress(valid(attribute.ipv6("Framed-IPv6-Address"))?.into()),
        number::FRAMED_IPV6_PREFIX => {
            let (network, length) = valid(attribute.ipv6_prefix("Framed-IPv6-Prefix"))?;
            Identification::FramedPrefix(network, length)
        }
        number::FRAMED_INTERFACE_ID => Identification::FramedInterfaceId(valid(attribute.interface_id("Framed-Interface-Id"))?),
        number::CALLED_STATION_ID => Identification::CalledStationId(attribute.text()),
        number::CALLING_STATION_ID => Identification::CallingStationId(attribute.text()),
        number::ACCT_SESSION_ID => Identification::AcctSessionId(attribute.text()),
        number::ACCT_MULTI_SESSION_ID => Identification::AcctMultiSessionId(attribute.text()),
        number::NAS_PORT_ID => Identification::NasPortId(attribute.text()),
        number::CHARGEABLE_USER_IDENTITY => Identification::ChargeableUserIdentity(attribute.value.to_vec()),
        _ => return Ok(None),
    }))
}

fn is_us(attribute: Attribute<'_>, names: &NasNames) -> Result<(), ErrorCause> {
    let ours = match attribute.number {
        number::NAS_IP_ADDRESS => names.addresses.contains(&IpAddr::V4(valid(attribute.ipv4("NAS-IP-Address"))?)),
        number::NAS_IPV6_ADDRESS => names.addresses.contains(&IpAddr::V6(valid(attribute.ipv6("NAS-IPv6-Address"))?)),
        _ => names.identifiers.contains(&attribute.text()),
    };
    if ours { Ok(()) } else { Err(ErrorCause::NasIdentificationMismatch) }
}

fn service(attribute: Attribute<'_>) -> ErrorCause {
    match attribute.u32("Service-Type") {
        Ok(AUTHORIZE_ONLY) => ErrorCause::UnsupportedService,
        Ok(_) => ErrorCause::UnsupportedAttribute,
        Err(_) => ErrorCause::InvalidAttributeValue,
    }
}

fn limit(attribute: Attribute<'_>) -> Result<Option<Duration>, ErrorCause> {
    let seconds = valid(attribute.u32("a time"))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

fn valid<T>(value: Result<T, Malformed>) -> Result<T, ErrorCause> {
    value.map_err(|_| ErrorCause::InvalidAttributeValue)
}
