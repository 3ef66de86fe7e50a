//! Which certificate a client sees, as far as network policies have a say: they are judged by what is known before the login.
mod apart;
mod samples;
mod ties;

pub(crate) use apart::tell_apart;
pub(crate) use samples::{Sample, may_be_for, samples};
pub(crate) use ties::{JUDGEMENTS, Undecided, search};

use crate::certificates::{OTHERS, TLS};
use crate::config::{Ikev2Listener, SstpListener};
use crate::facts::local_time;
use pki::{Arrival, AskedName, Hints, Named, Selection, ServerCertificate, Steered, Steering};
use policy::network::{Facts, LocalTime, Method, Policy, Tunnel, shown};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// The policies of one listener.
#[derive(Debug, Clone)]
pub(crate) struct ByPolicy<'a> {
    policies: Cow<'a, [Policy]>,
    tunnel: Tunnel,
    listener: Cow<'a, str>,
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Clock {
    Zone(jiff::tz::TimeZone),
    /// It is always this time.
    Stopped(LocalTime),
}

impl ByPolicy<'static> {
    /// `None`: no policy names a certificate.
    pub(crate) fn of_listener(policies: &[Policy], tunnel: Tunnel, listener: &str, zone: &jiff::tz::TimeZone) -> Option<Arc<dyn Steering>> {
        let names_one = |policy: &Policy| policy.grant && !policy.disabled && policy.certificate.is_some();
        if !policies.iter().any(names_one) {
            return None;
        }
        let clock = Clock::Zone(zone.clone());
        Some(Arc::new(Self { policies: policies.to_vec().into(), tunnel, listener: listener.to_owned().into(), clock }))
    }
}

impl<'a> ByPolicy<'a> {
    /// For an imagined client that comes at `time`.
    pub(crate) fn at(time: LocalTime, policies: &'a [Policy], tunnel: Tunnel, listener: &'a str) -> Self {
        Self { policies: policies.into(), tunnel, listener: listener.into(), clock: Clock::Stopped(time) }
    }
}

impl Steering for ByPolicy<'_> {
    fn named(&self, arrival: &Arrival<'_>, suits: &dyn Fn(&str) -> bool) -> Vec<Named> {
        let time = match &self.clock {
            Clock::Zone(zone) => local_time(jiff::Timestamp::from_second(arrival.now).unwrap_or_default(), zone),
            Clock::Stopped(time) => *time,
        };
        let facts = Facts {
            method: if arrival.by_certificate { Method::Certificate } else { Method::Eap },
            client: arrival.client,
            gateway: arrival.gateway,
            listener: &self.listener,
            server_name: arrival.server_name.as_deref(),
            ..Facts::before_login(self.tunnel, time)
        };
        let named = shown(&self.policies, &facts, suits);
        named.into_iter().map(|named| Named { certificate: named.certificate.to_owned(), policy: named.policy.to_owned() }).collect()
    }
}

/// A listener as far as its certificates go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door<'a> {
    pub name: &'a str,
    pub tunnel: Tunnel,
    pub certificates: &'a [ServerCertificate],
}

impl<'a> From<&'a Ikev2Listener> for Door<'a> {
    fn from(listener: &'a Ikev2Listener) -> Self {
        Self { name: &listener.name, tunnel: Tunnel::Ikev2, certificates: &listener.certificates }
    }
}

impl<'a> From<&'a SstpListener> for Door<'a> {
    fn from(listener: &'a SstpListener) -> Self {
        Self { name: &listener.name, tunnel: Tunnel::Sstp, certificates: &listener.certificates }
    }
}

/// A client that somebody imagines, which says nothing of the authorities that it trusts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Imagined<'a> {
    pub server_name: Option<&'a str>,
    pub client: IpAddr,
    /// Unspecified: none in particular.
    pub gateway: IpAddr,
    pub by_certificate: bool,
    pub time: LocalTime,
}

impl Door<'_> {
    /// What the client sees there; `None`: it can verify none of the certificates.
    pub(crate) fn shows(&self, policies: &[Policy], client: Imagined<'_>) -> Option<Selection> {
        let by = ByPolicy::at(client.time, policies, self.tunnel, self.name);
        let (keys, name_source) = match self.tunnel {
            Tunnel::Ikev2 => (OTHERS, "IDr"),
            Tunnel::Sstp => (TLS, "SNI"),
        };
        let hints = Hints {
            name: client.server_name.map(asked),
            name_source,
            authorities: &[],
            address: Some(client.gateway).filter(|gateway| !gateway.is_unspecified()),
            itself: None,
            keys,
            steering: Some(Steered { by: &by, client: client.client, by_certificate: client.by_certificate, now: 0 }),
        };
        pki::choose(self.certificates, &hints)
    }
}

/// A name as clients ask for it, perhaps an address.
pub(crate) fn asked(name: &str) -> AskedName<'_> {
    match name.parse() {
        Ok(address) => AskedName::Address(address),
        Err(_) if name.contains('@') => AskedName::Email(name),
        Err(_) => AskedName::Dns(name),
    }
}
