//! `certificate` of `[[policy]]`: who shows it, and that it is never luck which certificate a client sees.
use super::certificates::{IKEV2_CLIENTS, TLS_CLIENTS};
use super::error::ConfigError;
use super::reader::{Root, Section};
use crate::steering::{ByPolicy, Door, Sample, asked, may_be_for, samples};
use pki::{Hints, KeyRank, ServerCertificate, Steered};
use policy::network::{Policy, Tunnel, may_match};

/// Two policies that name different certificates of one listener.
struct Pair<'a> {
    door: Door<'a>,
    first: (&'a Policy, &'a ServerCertificate),
    second: (&'a Policy, &'a ServerCertificate),
}

/// `keys`: those of `[[policy]]`.
///
/// # Errors
/// A policy names a certificate that nobody whom it may be for can be shown; or nothing decides for some client between those that two policies name.
pub(super) fn check(root: &Root<'_>, keys: &[&str], policies: &[Policy], doors: &[Door<'_>]) -> Result<(), ConfigError> {
    let sections = root.sections("policy", keys)?;
    for (section, policy) in sections.iter().zip(policies) {
        is_shown(section, policy, doors)?;
    }
    for door in doors {
        let named: Vec<_> =
            sections.iter().zip(policies).filter_map(|(section, policy)| Some((section, policy, at(door, policy)?))).collect();
        for (at, (section, policy, certificate)) in named.iter().enumerate() {
            for (_, earlier, other) in &named[..at] {
                let pair = Pair { door: *door, first: (earlier, other), second: (policy, certificate) };
                pair.clients_without_decision(policies).map_or(Ok(()), |clients| Err(pair.tied(section, &clients)))?;
            }
        }
    }
    Ok(())
}

fn is_shown(section: &Section<'_>, policy: &Policy, doors: &[Door<'_>]) -> Result<(), ConfigError> {
    let Some(name) = &policy.certificate else { return Ok(()) };
    let has = |door: &&Door<'_>| door.certificates.iter().any(|certificate| certificate.name == *name);
    if doors.iter().filter(has).any(|door| may_be_for(policy, door.name, door.tunnel)) {
        return Ok(());
    }
    let fitting: Vec<_> =
        doors.iter().filter(|door| may_be_for(policy, door.name, door.tunnel)).map(|door| format!("{:?}", door.name)).collect();
    let remedy = match doors.iter().find(has) {
        Some(door) => format!("only listener {:?} shows it, where tunnel and listener of this policy let nobody come from", door.name),
        None => format!("add it to certificates of listener {}", if fitting.is_empty() { "s".into() } else { fitting.join(" or ") }),
    };
    Err(section.error("certificate", format!("nobody for whom this policy may be is shown {name:?}: {remedy}")))
}

/// The certificate of the listener that a policy wants to be shown there.
fn at<'a>(door: &Door<'a>, policy: &Policy) -> Option<&'a ServerCertificate> {
    let name = policy.certificate.as_ref().filter(|_| policy.grant && !policy.disabled && may_be_for(policy, door.name, door.tunnel))?;
    door.certificates.iter().find(|certificate| certificate.name == *name)
}

impl Pair<'_> {
    /// Those who may be for both, and to whom nothing says which of the two certificates they see.
    fn clients_without_decision(&self, policies: &[Policy]) -> Option<String> {
        let (first, second) = (self.first.1, self.second.1);
        if first.name == second.name || first.default != second.default {
            return None;
        }
        let names: Vec<_> = [first, second].iter().flat_map(|one| one.dial_names()).map(|name| name.replacen('*', "any", 1)).collect();
        let gateways: Vec<_> = first.addresses.iter().chain(&second.addresses).copied().collect();
        let both = [self.first.0, self.second.0];
        let samples = samples(&both, &names, &gateways, self.door.tunnel);
        let may = |sample: &&Sample| both.iter().all(|policy| may_match(policy, &sample.facts(self.door.tunnel, self.door.name)));
        samples.iter().filter(may).find_map(|sample| self.undecided(policies, sample))
    }

    fn undecided(&self, policies: &[Policy], sample: &Sample) -> Option<String> {
        let (first, second) = (self.first.1, self.second.1);
        let mut authorities = vec![Vec::new()];
        if self.door.tunnel == Tunnel::Ikev2 {
            authorities.extend(first.authorities.iter().flat_map(|one| second.authorities.iter().map(move |other| vec![*one, *other])));
        }
        let realms = first.realms.iter().chain(&second.realms).map(|realm| Some(realm.as_str()));
        let realms: Vec<_> = std::iter::once(None).chain(realms).collect();
        let clients: &[KeyRank<'_>] = if self.door.tunnel == Tunnel::Ikev2 { IKEV2_CLIENTS } else { TLS_CLIENTS };
        let by = ByPolicy::at(sample.time, policies, self.door.tunnel, self.door.name);
        let steered = Steered { by: &by, client: sample.client, by_certificate: sample.by_certificate, now: 0 };
        for authorities in &authorities {
            for itself in &realms {
                for keys in clients {
                    let hints = Hints {
                        name: sample.server_name.as_deref().map(asked),
                        name_source: "",
                        authorities,
                        address: Some(sample.gateway).filter(|gateway| !gateway.is_unspecified()),
                        itself: *itself,
                        keys: *keys,
                        steering: Some(steered),
                    };
                    if pki::choose(self.door.certificates, &hints).is_some_and(|selection| self.is_between(&selection)) {
                        return Some(hints.words());
                    }
                }
            }
        }
        None
    }

    /// Nothing but the alphabet chose one of the two before the other.
    fn is_between(&self, selection: &pki::Selection) -> bool {
        let names = [&self.first.1.name, &self.second.1.name];
        names.contains(&&selection.name) && selection.tied.as_ref().is_some_and(|tied| names.contains(&tied))
    }

    fn tied(&self, section: &Section<'_>, clients: &str) -> ConfigError {
        let ((earlier, first), (_, second)) = (self.first, self.second);
        let problem = format!(
            "nothing decides between {:?} and {:?}, which policy {:?} names, for {clients} at listener {:?}: give one of the two policies a condition that is              known before the login (server_name, client, gateway, listener, tunnel, time), one of the two certificates names, addresses or realms of its own,              or name one of them in default_certificate",
            second.name, first.name, earlier.name, self.door.name
        );
        section.error("certificate", problem)
    }
}
