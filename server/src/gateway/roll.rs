//! The roll: sessions that were let in, found by what logins look for (bounds count them, a client that comes back takes its own place), not by a
//! walk through all.
use super::Live;
use ike::SessionId;
use policy::network::{Certificate, Tunnel};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// The numbers of sessions that have something in common.
pub(super) type Set = BTreeSet<SessionId>;

/// A user's name as Windows compares it: without case.
pub(super) fn folded(user: &str) -> String {
    user.to_lowercase()
}

/// Issuer and serial number.
type CertificateKey = (String, String);

fn certificate_key(certificate: &Certificate) -> CertificateKey {
    (certificate.issuer.clone(), certificate.serial.clone())
}

/// What clients that are the same call themselves: IDi over IKEv2, the computer's name over SSTP. Others may call themselves so too.
type ClientKey = (String, Tunnel, String);

fn client_key(live: &Live, user: &str) -> Option<ClientKey> {
    let name = match live.tunnel {
        Tunnel::Ikev2 => live.idi.as_ref(),
        Tunnel::Sstp => live.computer.name.as_ref(),
    };
    Some((folded(user), live.tunnel, name?.clone()))
}

/// Under what a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    user: String,
    policy: String,
    certificate: Option<CertificateKey>,
    client: Option<ClientKey>,
    is_silent: bool,
}

impl Entry {
    /// `None`: it was not let in.
    fn of(live: &Live) -> Option<Self> {
        let up = live.session.as_ref().map(|session| &session.granted);
        let granted = up.or_else(|| live.login.as_ref()?.granted.as_ref())?;
        Some(Self {
            user: folded(&granted.user),
            policy: granted.policy.clone(),
            certificate: granted.known.certificate.as_ref().map(certificate_key),
            client: client_key(live, &granted.user),
            is_silent: live.silent_since.is_some(),
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    entries: BTreeMap<SessionId, Entry>,
    users: HashMap<String, Set>,
    policies: HashMap<String, Set>,
    certificates: HashMap<CertificateKey, Set>,
    clients: HashMap<ClientKey, Set>,
    /// By user.
    silent: HashMap<String, Set>,
}

impl Roll {
    /// Whoever changes what a session stands under tells so; `None`: it has ended.
    pub(super) fn file(&mut self, id: SessionId, live: Option<&Live>) {
        let entry = live.and_then(Entry::of);
        if self.entries.get(&id) == entry.as_ref() {
            return;
        }
        if let Some(Entry { user, policy, certificate, client, is_silent: _ }) = self.entries.remove(&id) {
            strike(&mut self.silent, &user, id);
            strike(&mut self.users, &user, id);
            strike(&mut self.policies, &policy, id);
            certificate.iter().for_each(|key| strike(&mut self.certificates, key, id));
            client.iter().for_each(|key| strike(&mut self.clients, key, id));
        }
        let Some(entry) = entry else { return };
        if entry.is_silent {
            self.silent.entry(entry.user.clone()).or_default().insert(id);
        }
        self.users.entry(entry.user.clone()).or_default().insert(id);
        self.policies.entry(entry.policy.clone()).or_default().insert(id);
        if let Some(key) = &entry.certificate {
            self.certificates.entry(key.clone()).or_default().insert(id);
        }
        if let Some(key) = &entry.client {
            self.clients.entry(key.clone()).or_default().insert(id);
        }
        self.entries.insert(id, entry);
    }

    /// Whatever the case of the name.
    pub(super) fn of_user(&self, user: &str) -> Option<&Set> {
        self.users.get(&folded(user))
    }

    pub(super) fn of_policy(&self, name: &str) -> Option<&Set> {
        self.policies.get(name)
    }

    pub(super) fn of_certificate(&self, certificate: &Certificate) -> Option<&Set> {
        self.certificates.get(&certificate_key(certificate))
    }

    /// Those of this user that call themselves as this one does.
    pub(super) fn of_client(&self, live: &Live, user: &str) -> Option<&Set> {
        self.clients.get(&client_key(live, user)?)
    }

    /// Those of this user whose clients have fallen silent.
    pub(super) fn silent_of(&self, user: &str) -> Option<&Set> {
        self.silent.get(&folded(user))
    }
}

fn strike<K: Hash + Eq>(sets: &mut HashMap<K, Set>, key: &K, id: SessionId) {
    let Some(set) = sets.get_mut(key) else { return };
    set.remove(&id);
    if set.is_empty() {
        sets.remove(key);
    }
}
