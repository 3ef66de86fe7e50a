//! Packet filters of an Access-Accept, and attributes that nobody acts upon: of those, filters refuse the login, and others are told of by name.
use crate::api::{ReplyFilters, Server};
use crate::attributes::{AttributeId, VENDOR_MICROSOFT, VENDOR_WISPR, azure_group, microsoft, number, wispr};
use crate::codec::{Malformed, Packet};
use std::time::Duration;

/// Packet filters that are handed on.
const APPLIED: &[AttributeId] = &[
    AttributeId::standard(number::NAS_FILTER_RULE),
    AttributeId::microsoft(microsoft::FILTER),
    AttributeId::microsoft(microsoft::IPV6_FILTER),
];

/// Packet filters that are not: of Windows's quarantine. Whoever sends one expects it to hold.
const FILTERS: &[AttributeId] =
    &[AttributeId::microsoft(microsoft::QUARANTINE_IP_FILTER), AttributeId::microsoft(microsoft::QUARANTINE_SESSION_TIMEOUT)];

/// What is acted upon, or says nothing that anybody could act upon.
const USED: &[u8] = &[
    number::USER_NAME,
    number::SERVICE_TYPE,
    number::FRAMED_PROTOCOL,
    number::FRAMED_IP_ADDRESS,
    number::FRAMED_IP_NETMASK,
    number::FRAMED_ROUTE,
    number::FILTER_ID,
    number::REPLY_MESSAGE,
    number::STATE,
    number::CLASS,
    number::SESSION_TIMEOUT,
    number::IDLE_TIMEOUT,
    number::PROXY_STATE,
    number::EAP_MESSAGE,
    number::MESSAGE_AUTHENTICATOR,
    number::ACCT_INTERIM_INTERVAL,
    number::FRAMED_POOL,
    number::CHARGEABLE_USER_IDENTITY,
    number::FRAMED_IPV6_PREFIX,
    number::FRAMED_IPV6_ROUTE,
    number::FRAMED_IPV6_POOL,
    number::DELEGATED_IPV6_PREFIX,
    number::FRAMED_IPV6_ADDRESS,
    number::DNS_SERVER_IPV6_ADDRESS,
];

const USED_OF_MICROSOFT: &[u8] = &[
    microsoft::CHAP_ERROR,
    microsoft::MPPE_SEND_KEY,
    microsoft::MPPE_RECV_KEY,
    microsoft::CHAP2_SUCCESS,
    microsoft::PRIMARY_DNS_SERVER,
    microsoft::SECONDARY_DNS_SERVER,
    microsoft::PRIMARY_NBNS_SERVER,
    microsoft::SECONDARY_NBNS_SERVER,
];

/// The packet filters of an Access-Accept that cannot be applied, each kind once.
pub(crate) fn unknown(reply: &Packet<'_>) -> Vec<AttributeId> {
    let mut found: Vec<_> = reply.identified().into_iter().map(|(id, _)| id).filter(|id| FILTERS.contains(id)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The packet filters to apply.
pub(crate) fn read(reply: &Packet<'_>, ignored: bool) -> Result<ReplyFilters, Malformed> {
    if ignored {
        return Ok(ReplyFilters { ignored, ..ReplyFilters::default() });
    }
    let joined = |number| reply.microsoft(number).map(|parts| parts.iter().flat_map(|part| part.value).copied().collect());
    Ok(ReplyFilters {
        ignored,
        rules: reply.all(number::NAS_FILTER_RULE).map(|rule| rule.value.to_vec()).collect(),
        ms_filter: joined(microsoft::FILTER)?,
        ms_ipv6_filter: joined(microsoft::IPV6_FILTER)?,
    })
}

/// What an Access-Accept says in vain. `filters`: also its packet filters. `renews_after`: of the session, [`crate::NasContext::renews_after`].
pub(crate) fn ignored(reply: &Packet<'_>, server: &Server, renews_after: Option<Duration>) -> Vec<AttributeId> {
    let lasts = reply.u32(number::SESSION_TIMEOUT).ok().flatten().map(|seconds| Duration::from_secs(seconds.into()));
    let renews = renews_after.is_some_and(|shortest| lasts.is_none_or(|lasts| lasts >= shortest));
    let in_vain = |(id, value): (AttributeId, &[u8])| {
        let used = match id.vendor {
            _ if APPLIED.contains(&id) => !server.ignore_filters,
            VENDOR_WISPR => [wispr::BANDWIDTH_MAX_UP, wispr::BANDWIDTH_MAX_DOWN].contains(&id.number),
            0 if id.number == number::TERMINATION_ACTION => matches!(value, [0, 0, 0, 0]) || (renews && matches!(value, [0, 0, 0, 1])),
            0 if id.number == number::PORT_LIMIT => !server.ignore_port_limit,
            // It is the lower half of an address of this prefix and of no other.
            0 if id.number == number::FRAMED_INTERFACE_ID => reply.first(number::FRAMED_IPV6_PREFIX).is_some(),
            0 => USED.contains(&id.number),
            VENDOR_MICROSOFT if id.number == microsoft::AZURE_POLICY_ID => azure_group(value).is_some(),
            VENDOR_MICROSOFT => USED_OF_MICROSOFT.contains(&id.number),
            _ => false,
        };
        (!used).then_some(id)
    };
    reply.identified().into_iter().filter_map(in_vain).collect()
}
