//! Which of our certificates a client gets to see: the rules are those of [`pki::choose`].
use crate::api::{Identity, Path, ResponderConfig};
use crate::auth::{AuthChoice, AuthError, choose_scheme, key_rank};
use crate::wire::{CertificatePayload, Identification, Payload, Payloads, cert_encoding};
use pki::{AskedName, Certificate, Credential, Hints, Selection, Steered, UnixTime};
use std::borrow::Cow;
use std::net::IpAddr;

use super::Traits;

/// The credential chosen and why, how it signs, and who we say we are.
#[derive(Debug)]
pub(super) struct Presented {
    pub selection: Selection,
    pub credential: Credential,
    pub choice: AuthChoice,
    pub idr: Identification,
}

impl Presented {
    /// IDr and the certificate chain.
    pub(super) fn payloads(&self) -> Vec<Payload> {
        std::iter::once(Payload::IdResponder(self.idr.clone())).chain(certificates(&self.credential)).collect()
    }
}

/// CERT payloads of a chain, leaf first.
pub(super) fn certificates(credential: &Credential) -> impl Iterator<Item = Payload> {
    credential.chain.iter().map(|certificate| {
        Payload::Certificate(CertificatePayload { encoding: cert_encoding::X509_SIGNATURE, data: certificate.der.clone() })
    })
}

/// What tells: the signatures that the peer can verify, IDr, CERTREQ, our address, IDi.
pub(super) fn choose(
    config: &ResponderConfig,
    traits: &Traits,
    path: Path,
    payloads: &Payloads,
    now: UnixTime,
) -> Result<Presented, AuthError> {
    let by_certificate = payloads.auth().is_some();
    let steered = |by| Steered { by, client: path.remote.ip(), by_certificate, now };
    let wanted = payloads.id_responder().map(|id| &id.identity);
    let trusted: Vec<_> = payloads.certificate_requests().flat_map(|request| request.hashes().collect::<Vec<_>>()).collect();
    let hints = Hints {
        name: wanted.and_then(asked_name),
        name_source: "IDr",
        authorities: &trusted,
        address: Some(path.local.ip()),
        itself: payloads.id_initiator().and_then(|id| own_words(&id.identity)),
        keys: &|kind| key_rank(kind, traits.windows, traits.hashes.as_deref()),
        steering: config.steering.as_deref().map(steered),
    };
    let Some(selection) = pki::choose(&config.certificates, &hints) else {
        let first = config.certificates.first().map(|certificate| certificate.credential.key.kind());
        return Err(first.map_or(AuthError::UnknownKey, AuthError::NoScheme));
    };
    let credential = config.certificates[selection.index].credential.clone();
    let choice = choose_scheme(credential.key.kind(), traits.hashes.as_deref())?;
    let named = wanted.filter(|identity| selection.is_made_out || is_made_out_to(credential.leaf(), identity));
    let identity = named.cloned().unwrap_or_else(|| own_identity(config, credential.leaf()));
    Ok(Presented { selection, credential, choice, idr: Identification::new(identity) })
}

fn asked_name(identity: &Identity) -> Option<AskedName<'_>> {
    Some(match identity {
        Identity::Fqdn(name) => AskedName::Dns(name),
        Identity::Email(email) => AskedName::Email(email),
        Identity::DistinguishedName(der) => AskedName::Subject(der),
        Identity::Ipv4(address) => AskedName::Address((*address).into()),
        Identity::Ipv6(address) => AskedName::Address((*address).into()),
        Identity::KeyId(_) => return None,
    })
}

/// The name that the client asks for, as text; `None`: it asks for none, or for one that no certificate could hold.
pub(super) fn asked_text(payloads: &Payloads) -> Option<String> {
    asked_name(&payloads.id_responder()?.identity)?.text().map(Cow::into_owned)
}

/// What has a realm.
fn own_words(identity: &Identity) -> Option<&str> {
    match identity {
        Identity::Fqdn(name) | Identity::Email(name) => Some(name),
        _ => None,
    }
}

fn is_made_out_to(certificate: &Certificate, identity: &Identity) -> bool {
    let has_address = |address: IpAddr| {
        certificate.ip_addresses.contains(&address) || certificate.dns_names.iter().any(|name| *name == address.to_string())
    };
    match identity {
        Identity::Fqdn(name) => certificate.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name)),
        Identity::Email(email) => certificate.emails.contains(email),
        Identity::DistinguishedName(der) => certificate.subject_der == *der,
        Identity::Ipv4(address) => has_address((*address).into()),
        Identity::Ipv6(address) => has_address((*address).into()),
        Identity::KeyId(_) => false,
    }
}

/// The configured name where the certificate holds it, else the certificate's own first name.
fn own_identity(config: &ResponderConfig, certificate: &Certificate) -> Identity {
    if let Ok(address) = config.server_name.parse::<IpAddr>() {
        let identity = match address {
            IpAddr::V4(address) => Identity::Ipv4(address),
            IpAddr::V6(address) => Identity::Ipv6(address),
        };
        if is_made_out_to(certificate, &identity) {
            return identity;
        }
    }
    let configured = Identity::Fqdn(config.server_name.clone());
    if is_made_out_to(certificate, &configured) {
        return configured;
    }
    match certificate.dns_names.first() {
        Some(name) => Identity::Fqdn(name.clone()),
        None => Identity::DistinguishedName(certificate.subject_der.clone()),
    }
}
