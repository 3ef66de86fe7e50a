//! The roll: sessions that were let in, found by what logins look for (bounds count them, a client that comes back takes its own place), not by a
//! walk through all.
use super::Live;
use crate::attempts::AttemptKey;
use crate::explain::account::Account;
use ike::SessionId;
use policy::network::{Certificate, Tunnel};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

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
    attempt: AttemptKey,
    /// Inside the tunnel, once it is up.
    addresses: Vec<IpAddr>,
    /// Acct-Multi-Session-Id, where there are books.
    multi_session_id: Option<String>,
    /// The address of the gateway that it dialled.
    dialled: IpAddr,
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
            is_silent: live.is_silent(),
            attempt: live.attempt,
            addresses: live.session.as_ref().map(|session| session.inner.clone()).unwrap_or_default(),
            multi_session_id: live.session.as_ref().and_then(|session| Some(session.books.as_ref()?.multi_session_id().to_owned())),
            dialled: live.dialled,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    entries: BTreeMap<SessionId, Entry>,
    users: HashMap<String, Set>,
    /// The names that `users` knows, by what all forms of an account's name have in common.
    spellings: HashMap<String, HashMap<String, Account>>,
    policies: HashMap<String, Set>,
    certificates: HashMap<CertificateKey, Set>,
    clients: HashMap<ClientKey, Set>,
    /// By user.
    silent: HashMap<String, Set>,
    attempts: HashMap<AttemptKey, Set>,
    addresses: HashMap<IpAddr, Set>,
    multi_session_ids: HashMap<String, Set>,
    dialled: HashMap<IpAddr, Set>,
}

impl Roll {
    /// Whoever changes what a session stands under tells so; `None`: it has ended.
    pub(super) fn file(&mut self, id: SessionId, live: Option<&Live>) {
        let entry = live.and_then(Entry::of);
        if self.entries.get(&id) == entry.as_ref() {
            return;
        }
        if let Some(entry) = self.entries.remove(&id) {
            let Entry { user, policy, certificate, client, is_silent: _, attempt, addresses, multi_session_id, dialled } = entry;
            strike(&mut self.attempts, &attempt, id);
            addresses.iter().for_each(|address| strike(&mut self.addresses, address, id));
            multi_session_id.iter().for_each(|key| strike(&mut self.multi_session_ids, key, id));
            strike(&mut self.dialled, &dialled, id);
            strike(&mut self.silent, &user, id);
            self.strike_user(&user, id);
            strike(&mut self.policies, &policy, id);
            certificate.iter().for_each(|key| strike(&mut self.certificates, key, id));
            client.iter().for_each(|key| strike(&mut self.clients, key, id));
        }
        let Some(entry) = entry else { return };
        if entry.is_silent {
            self.silent.entry(entry.user.clone()).or_default().insert(id);
        }
        self.attempts.entry(entry.attempt).or_default().insert(id);
        for address in &entry.addresses {
            self.addresses.entry(*address).or_default().insert(id);
        }
        if let Some(key) = &entry.multi_session_id {
            self.multi_session_ids.entry(key.clone()).or_default().insert(id);
        }
        self.dialled.entry(entry.dialled).or_default().insert(id);
        self.file_user(&entry.user, id);
        self.policies.entry(entry.policy.clone()).or_default().insert(id);
        if let Some(key) = &entry.certificate {
            self.certificates.entry(key.clone()).or_default().insert(id);
        }
        if let Some(key) = &entry.client {
            self.clients.entry(key.clone()).or_default().insert(id);
        }
        self.entries.insert(id, entry);
    }

    fn file_user(&mut self, user: &str, id: SessionId) {
        self.users.entry(user.to_owned()).or_default().insert(id);
        let account = Account::parse(user);
        self.spellings.entry(account.stem().to_owned()).or_default().insert(user.to_owned(), account);
    }

    fn strike_user(&mut self, user: &str, id: SessionId) {
        strike(&mut self.users, user, id);
        if self.users.contains_key(user) {
            return;
        }
        let account = Account::parse(user);
        let Some(spellings) = self.spellings.get_mut(account.stem()) else { return };
        spellings.remove(user);
        if spellings.is_empty() {
            self.spellings.remove(account.stem());
        }
    }

    /// In whatever form the name is written: `ann`, `EXAMPLE\ann` and `ann@example.com` are one account. Each session is in one of the sets.
    pub(super) fn of_account(&self, user: &str) -> impl Iterator<Item = &Set> {
        let account = Account::parse(user);
        let spellings = self.spellings.get(account.stem()).into_iter().flatten();
        spellings.filter_map(move |(spelling, known)| if known.is(&account) { self.users.get(spelling) } else { None })
    }

    /// Whatever the case of the name.
    pub(super) fn of_user(&self, user: &str) -> Option<&Set> {
        self.users.get(&folded(user))
    }

    pub(super) fn of_policy(&self, name: &str) -> Option<&Set> {
        self.policies.get(name)
    }

    /// Policies with sessions, and how many these are.
    pub(super) fn policies(&self) -> impl Iterator<Item = (&str, usize)> {
        self.policies.iter().map(|(name, set)| (name.as_str(), set.len()))
    }

    pub(super) fn of_attempt(&self, attempt: AttemptKey) -> Option<&Set> {
        self.attempts.get(&attempt)
    }

    /// Of an address inside the tunnel.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<&Set> {
        self.addresses.get(&address)
    }

    pub(super) fn of_multi_session_id(&self, id: &str) -> Option<&Set> {
        self.multi_session_ids.get(id)
    }

    /// Addresses of the gateway that were dialled.
    pub(super) fn dialled(&self) -> impl Iterator<Item = IpAddr> {
        self.dialled.keys().copied()
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

fn strike<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(sets: &mut HashMap<K, Set>, key: &Q, id: SessionId) {
    let Some(set) = sets.get_mut(key) else { return };
    set.remove(&id);
    if set.is_empty() {
        sets.remove(key);
    }
}
