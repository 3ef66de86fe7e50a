//! Constraints of a network policy: what the policy that was found asks besides. One that fails refuses the login; no further policy is tried.
use crate::condition::{fails, fails_station, quote};
use crate::facts::{Facts, Method, Usage};
use crate::hours::{TimeWindow, open_for};
use crate::network::Reason;
use std::fmt;

/// Every non-empty list must match (within it, any entry), no bound may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    pub methods: Vec<AllowedMethod>,
    /// Patterns over the address that the client dialled.
    pub called_station_id: Vec<String>,
    /// NAS-Port-Type.
    pub port_type: Vec<u32>,
    /// When sessions may begin; they end with them.
    pub hours: Vec<TimeWindow>,
    /// Bits of the key of every cipher that protects login and tunnel.
    pub cipher_bits: Option<u16>,
    /// Sessions at the same time, this one included: of one user, of one certificate, of all whom this policy lets in.
    pub sessions_per_user: Option<u32>,
    pub sessions_per_certificate: Option<u32>,
    pub sessions: Option<u32>,
}

/// How a client may prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedMethod {
    Method(Method),
    /// EAP with this method.
    Eap(String),
}

impl fmt::Display for AllowedMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => method.fmt(f),
            Self::Eap(name) => f.pad(name),
        }
    }
}

impl AllowedMethod {
    fn is(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Method(method) => *method == facts.method,
            Self::Eap(name) => facts.method == Method::Eap && facts.eap_type.is_some_and(|seen| seen.eq_ignore_ascii_case(name)),
        }
    }
}

/// A constraint that fails: NPS's number for it, and what failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub reason: Reason,
    pub text: String,
}

impl Constraints {
    /// The first that fails, in the order of the fields.
    pub(crate) fn broken(&self, policy: &str, facts: &Facts<'_>, usage: &dyn Usage) -> Option<Broken> {
        let mut text = String::new();
        let why = &mut text;
        let used = || facts.eap_type.filter(|_| facts.method == Method::Eap).map_or_else(|| facts.method.to_string(), str::to_owned);
        let reason = if fails(why, "allowed_methods", &self.methods, |method| method.is(facts), used) {
            Reason::Method
        } else if fails_station(why, "allowed_called_station_id", &self.called_station_id, facts.gateway) {
            Reason::CalledStation
        } else if fails(why, "allowed_port_type", &self.port_type, |wanted| *wanted == facts.port_type, || facts.port_type) {
            Reason::PortType
        } else if fails(why, "allowed_hours", &self.hours, |window| window.contains(facts.time), || facts.time) {
            Reason::Hours
        } else {
            text = self.too_weak(facts.cipher_bits).or_else(|| self.too_many(policy, facts, usage))?;
            Reason::Restriction
        };
        Some(Broken { reason, text })
    }

    /// Why a cipher with a key of so many bits will not do.
    pub fn too_weak(&self, bits: Option<u16>) -> Option<String> {
        let least = self.cipher_bits?;
        let got = bits.map_or_else(|| "unknown".to_owned(), |bits| bits.to_string());
        bits.is_none_or(|bits| bits < least).then(|| format!("min_cipher_bits wanted {least}, got {got}"))
    }

    fn too_many(&self, policy: &str, facts: &Facts<'_>, usage: &dyn Usage) -> Option<String> {
        let full = |name: &str, limit: Option<u32>, others: &dyn Fn() -> usize| {
            let limit = limit?;
            let others = others();
            let room = u64::try_from(others).is_ok_and(|others| others < u64::from(limit));
            (!room).then(|| format!("{name} wanted at most {limit}, and {others} are up already"))
        };
        if self.sessions_per_user.is_some() && !facts.confirmed {
            let mut text = String::from("sessions_per_user cannot be held: nobody has checked the name ");
            quote(&mut text, facts.user);
            return Some(text);
        }
        if self.sessions_per_certificate.is_some() && facts.certificate.is_none() {
            return Some("sessions_per_certificate cannot be held: no certificate of the client was seen".into());
        }
        full("sessions_per_user", self.sessions_per_user, &|| usage.of_user())
            .or_else(|| full("sessions_per_certificate", self.sessions_per_certificate, &|| usage.of_certificate()))
            .or_else(|| full("sessions_max", self.sessions, &|| usage.of_policy(policy)))
    }

    /// Minutes from the beginning of this one until the allowed hours end; `None`: they do not.
    pub(crate) fn open_for(&self, facts: &Facts<'_>) -> Option<u32> {
        if self.hours.is_empty() { None } else { open_for(&self.hours, facts.time) }
    }

    /// What they ask, one entry for each: `allowed_methods EAP-TLS`.
    pub fn words(&self) -> Vec<String> {
        fn either<T: fmt::Display>(name: &str, entries: &[T]) -> Option<String> {
            let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
            (!entries.is_empty()).then(|| format!("{name} {}", entries.join(" or ")))
        }
        let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} {value}"));
        let all = [
            either("allowed_methods", &self.methods),
            either("allowed_called_station_id", &self.called_station_id),
            either("allowed_port_type", &self.port_type),
            either("allowed_hours", &self.hours),
            number("min_cipher_bits", self.cipher_bits.map(u32::from)),
            number("sessions_per_user", self.sessions_per_user),
            number("sessions_per_certificate", self.sessions_per_certificate),
            number("sessions_max", self.sessions),
        ];
        all.into_iter().flatten().collect()
    }
}
