//! Redirect (RFC 5685): a gateway sends clients that can follow to another one.
use crate::api::GatewayIdentity;
use crate::wire::{Notify, Payloads, notify};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const IPV4: u8 = 1;
const IPV6: u8 = 2;
const FQDN: u8 = 3;

/// How often a client follows within [`LOOP_PERIOD`] (section 10).
const MAX_REDIRECTS: usize = 5;
const LOOP_PERIOD: Duration = Duration::from_secs(300);

impl std::fmt::Display for GatewayIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Fqdn(name) => name.escape_debug().fmt(f),
        }
    }
}

/// REDIRECT or REDIRECTED_FROM (section 9). `nonce` is that of an IKE_SA_INIT request, and empty elsewhere. `None`: the name has no or more than 255
/// bytes, which the notify has no room for.
pub(crate) fn redirect_notify(kind: u16, gateway: &GatewayIdentity, nonce: &[u8]) -> Option<Notify> {
    let (form, identity) = match gateway {
        GatewayIdentity::Address(IpAddr::V4(address)) => (IPV4, address.octets().to_vec()),
        GatewayIdentity::Address(IpAddr::V6(address)) => (IPV6, address.octets().to_vec()),
        GatewayIdentity::Fqdn(name) => (FQDN, name.as_bytes().to_vec()),
    };
    let len = u8::try_from(identity.len()).ok().filter(|len| *len > 0)?;
    Some(Notify::new(kind, [&[form, len], identity.as_slice(), nonce].concat()))
}

/// The gateway that a REDIRECT names, and what stands behind it.
pub(crate) fn read(notify: &Notify) -> Option<(GatewayIdentity, &[u8])> {
    let (&[form, len], rest) = notify.data.split_first_chunk()?;
    let (identity, rest) = rest.split_at_checked(len.into())?;
    let gateway = match form {
        IPV4 => GatewayIdentity::Address(<[u8; 4]>::try_from(identity).ok()?.into()),
        IPV6 => GatewayIdentity::Address(<[u8; 16]>::try_from(identity).ok()?.into()),
        FQDN if !identity.is_empty() => GatewayIdentity::Fqdn(std::str::from_utf8(identity).ok()?.to_owned()),
        _ => return None,
    };
    Some((gateway, rest))
}

/// Whether `to` is the gateway that sent the client here, as REDIRECTED_FROM names it: two gateways that send clients to one another must not send them
/// round in a circle. Where one says an address and the other a name, or what the client says cannot be read, nobody can tell, and it counts as the
/// same. A circle of three gateways is the client's to notice (section 10).
pub(crate) fn leads_back(to: &GatewayIdentity, redirected_from: Option<&Notify>) -> bool {
    let Some(notify) = redirected_from else { return false };
    match (to, read(notify)) {
        (GatewayIdentity::Address(to), Some((GatewayIdentity::Address(from), _))) => to.to_canonical() == from.to_canonical(),
        (GatewayIdentity::Fqdn(to), Some((GatewayIdentity::Fqdn(from), _))) => {
            to.trim_end_matches('.').eq_ignore_ascii_case(from.trim_end_matches('.'))
        }
        _ => true,
    }
}

/// Who sent the client here, for the record.
pub(crate) fn origin(redirected_from: Option<&Notify>) -> Option<String> {
    let gateway = read(redirected_from?).map_or_else(|| "another gateway".into(), |(gateway, _)| gateway.to_string());
    Some(format!("the client was sent here by {gateway}"))
}

/// The client says in IKE_SA_INIT that it follows.
pub(crate) fn is_supported(payloads: &Payloads) -> bool {
    [notify::REDIRECT_SUPPORTED, notify::REDIRECTED_FROM].into_iter().any(|kind| payloads.notify(kind).is_some())
}

/// How a client came to the gateway it dials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    /// Who sent it here.
    pub from: Option<GatewayIdentity>,
    /// When it followed, in the last [`LOOP_PERIOD`].
    followed: Vec<Instant>,
}

impl Trail {
    /// One step further; `Err` when gateways send the client round in a circle.
    pub(crate) fn follow(&self, from: IpAddr, now: Instant) -> Result<Self, String> {
        let recent = self.followed.iter().copied().filter(|at| now.saturating_duration_since(*at) < LOOP_PERIOD);
        let mut followed: Vec<_> = recent.collect();
        if followed.len() >= MAX_REDIRECTS {
            return Err(format!("redirected more than {MAX_REDIRECTS} times within {} s", LOOP_PERIOD.as_secs()));
        }
        followed.push(now);
        Ok(Self { from: Some(GatewayIdentity::Address(from)), followed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_go_through_the_wire() {
        let address = |text: &str| GatewayIdentity::Address(text.parse().unwrap());
        for gateway in [address("192.0.2.9"), address("2001:db8::9"), GatewayIdentity::Fqdn("vpn2.example.com".into())] {
            let notify = redirect_notify(notify::REDIRECT, &gateway, &[9; 32]).unwrap();
            assert_eq!(read(&notify), Some((gateway, &[9; 32][..])));
        }
        let bytes = redirect_notify(notify::REDIRECT, &address("192.0.2.9"), &[]).unwrap().data;
        assert_eq!(bytes, [1, 4, 192, 0, 2, 9]);
        for name in [String::new(), "x".repeat(256)] {
            assert_eq!(redirect_notify(notify::REDIRECT, &GatewayIdentity::Fqdn(name), &[]), None);
        }
    }

    #[test]
    fn who_would_be_sent_back() {
        let address = |text: &str| GatewayIdentity::Address(text.parse().unwrap());
        let name = |text: &str| GatewayIdentity::Fqdn(text.into());
        let from = |gateway: &GatewayIdentity| redirect_notify(notify::REDIRECTED_FROM, gateway, &[]).unwrap();
        let back = |to: &GatewayIdentity, gateway: &GatewayIdentity| leads_back(to, Some(&from(gateway)));
        assert!(!leads_back(&address("192.0.2.9"), None) && !leads_back(&name("vpn2.example.com"), None));
        assert!(back(&address("192.0.2.9"), &address("192.0.2.9")) && back(&address("2001:db8::9"), &address("2001:db8::9")));
        assert!(!back(&address("192.0.2.9"), &address("192.0.2.8")) && !back(&address("192.0.2.9"), &address("2001:db8::9")));
        assert!(back(&name("VPN2.example.com."), &name("vpn2.example.com")) && !back(&name("vpn2.example.com"), &name("vpn3.example.com")));
        assert!(back(&name("vpn2.example.com"), &address("192.0.2.9")) && back(&address("192.0.2.9"), &name("vpn2.example.com")));
        assert!(leads_back(&address("192.0.2.9"), Some(&Notify::new(notify::REDIRECTED_FROM, [9, 9]))), "unreadable");
        assert_eq!(origin(Some(&from(&address("192.0.2.9")))).unwrap(), "the client was sent here by 192.0.2.9");
        assert_eq!(origin(None), None);
    }

    #[test]
    fn broken_identities_are_none() {
        let cases: [&[u8]; 9] =
            [&[], &[1], &[1, 4], &[1, 4, 1, 2, 3], &[1, 3, 1, 2, 3], &[2, 4, 1, 2, 3, 4], &[3, 0], &[3, 1, 0xff], &[4, 1, 1]];
        for data in cases {
            assert_eq!(read(&Notify::new(notify::REDIRECT, data)), None, "{data:?}");
        }
    }
}
