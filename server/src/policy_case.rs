//! An imagined login, to see what the policies say to it.
mod question;

pub(crate) use question::tunnel;
pub use question::{PolicyQuestion, PolicyVerdict, Tried};

use crate::config::time_of_week;
use crate::facts::{self, Known, Place};
use crate::steering::{Door, Imagined};
use pki::Selection;
use policy::network::{Certificate, Decision, LocalTime, Method, Policy, Tunnel, Usage, decide};
use std::net::{IpAddr, Ipv4Addr};

/// Key length that a case has unless it says otherwise.
pub(crate) const CIPHER_BITS: u16 = 256;

#[derive(Debug, Clone)]
pub struct Case {
    pub user: String,
    pub place: Place,
    pub known: Known,
    pub time: LocalTime,
    pub sessions: Sessions,
}

/// Sessions that are up already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sessions {
    pub of_user: usize,
    pub of_certificate: usize,
    /// Of whichever policy is asked about.
    pub of_policy: usize,
}

impl Usage for Sessions {
    fn of_user(&self) -> usize {
        self.of_user
    }

    fn of_certificate(&self) -> usize {
        self.of_certificate
    }

    fn of_policy(&self, _: &str) -> usize {
        self.of_policy
    }
}

impl Case {
    /// Somebody who proved a name by EAP over IKEv2, from and to no address in particular.
    pub fn new(user: &str, time: LocalTime) -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let place = Place {
            tunnel: Tunnel::Ikev2,
            client: nowhere,
            gateway: nowhere,
            listener: String::new(),
            server_name: None,
            certificate: None,
            cipher_bits: Some(CIPHER_BITS),
        };
        let mut case = Self { user: user.to_owned(), place, known: Known::by(Method::Eap, true), time, sessions: Sessions::default() };
        case.proved(true, None);
        case
    }

    /// Whether somebody checked the name, and which computer a certificate names: the name alone makes one of it only where it was checked.
    pub fn proved(&mut self, confirmed: bool, machine: Option<String>) {
        self.known.confirmed = confirmed;
        self.known.machine = machine.or_else(|| confirmed.then(|| facts::machine(&self.user))?);
    }

    /// An attribute of the Access-Accept.
    pub fn attribute(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("Class") {
            self.known.class.push(value.as_bytes().to_vec());
        }
        if name.eq_ignore_ascii_case("Filter-Id") {
            self.known.filter_id.push(value.to_owned());
        }
        self.known.attributes.push((name.to_owned(), value.to_owned()));
    }

    /// The certificate that it shows; made where there is none yet.
    pub fn certificate(&mut self) -> &mut Certificate {
        self.known.certificate.get_or_insert_default()
    }

    /// What the gateway shows at its listener to a client of which no more is known.
    pub(crate) fn shown(&self, policies: &[Policy], listeners: &[Door<'_>]) -> Option<Selection> {
        let Place { listener, server_name, client, gateway, .. } = &self.place;
        let client = Imagined {
            server_name: server_name.as_deref(),
            client: *client,
            gateway: *gateway,
            by_certificate: self.known.method == Method::Certificate,
            time: self.time,
        };
        listeners.iter().find(|door| door.name == *listener)?.shows(policies, client)
    }

    pub fn decide(&self, policies: &[Policy]) -> Decision {
        decide(policies, &self.known.facts(&self.place, &self.user, self.time), &self.sessions)
    }
}

/// `NAME=VALUE`
///
/// # Errors
/// What is missing.
pub fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected NAME=VALUE, such as Filter-Id=staff".into()),
    }
}

/// `fri 18:30`
///
/// # Errors
/// What would be accepted.
pub fn moment(text: &str) -> Result<LocalTime, String> {
    time_of_week(text).ok_or_else(|| "expected a day and a time such as \"fri 18:30\"".into())
}
