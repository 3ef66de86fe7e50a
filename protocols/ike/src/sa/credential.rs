//! Which of our certificates a client gets to see.
use crate::api::{Identity, ResponderConfig};
use crate::auth::{AuthChoice, AuthError, choose_scheme};
use crate::wire::{CertificatePayload, Identification, Payload, Payloads, cert_encoding};
use crypto::sign::KeyKind;
use pki::{Certificate, Credential};
use std::net::IpAddr;

use super::Traits;

/// The credential chosen, how it signs, and who we say we are.
#[derive(Debug)]
pub(super) struct Presented {
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

/// Of the credentials whose signature the peer can verify: the one made out to the IDr it sent, then one of an authority it trusts,
/// then the first.
pub(super) fn choose(config: &ResponderConfig, traits: &Traits, payloads: &Payloads) -> Result<Presented, AuthError> {
    let wanted = payloads.id_responder().map(|id| &id.identity);
    let trusted: Vec<_> = payloads.certificate_requests().flat_map(|request| request.hashes().collect::<Vec<_>>()).collect();
    let mut best: Option<((bool, bool), &Credential, AuthChoice)> = None;
    let mut refused = None;
    for credential in &config.credentials {
        match scheme(credential, traits) {
            Ok(choice) => {
                let named = wanted.is_some_and(|identity| is_made_out_to(credential.leaf(), identity));
                let score = (named, is_issued_by(config, credential, &trusted));
                if best.as_ref().is_none_or(|(other, ..)| score > *other) {
                    best = Some((score, credential, choice));
                }
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let Some(((named, _), credential, choice)) = best else { return Err(refused.unwrap_or(AuthError::UnknownKey)) };
    let identity = wanted.filter(|_| named).cloned().unwrap_or_else(|| own_identity(config, credential.leaf()));
    Ok(Presented { credential: credential.clone(), choice, idr: Identification::new(identity) })
}

/// Windows verifies neither P-521 nor Ed25519.
fn scheme(credential: &Credential, traits: &Traits) -> Result<AuthChoice, AuthError> {
    let kind = credential.key.kind();
    if traits.windows && matches!(kind, KeyKind::EcdsaP521 | KeyKind::Ed25519) {
        return Err(AuthError::NoScheme(kind));
    }
    choose_scheme(kind, traits.hashes.as_deref())
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

/// An authority that the peer trusts is in the chain, or is the root above it, as far as we know that root.
fn is_issued_by(config: &ResponderConfig, credential: &Credential, trusted: &[[u8; 20]]) -> bool {
    let in_chain = credential.chain.iter().skip(1).any(|certificate| trusted.contains(&certificate.spki_sha1()));
    let top = credential.chain.last().map(|certificate| certificate.issuer.as_str());
    let roots = config.client_roots.roots();
    in_chain || roots.iter().any(|root| Some(root.subject.as_str()) == top && trusted.contains(&root.spki_sha1()))
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
