//! The block list: who is kept out by hand, whatever RADIUS and policies say, for a time or until it is taken back.
//!
//! An ended session of an Always On client comes back within seconds; only a block keeps it away.
//!
//! What the gateway cannot see it cannot compare: EAP may hide the client's certificate, and a tunnelled method the user's name. A block of a certificate
//! then holds by the names under which that certificate was seen; logins that nobody could judge are let in, noted in their records and counted with the
//! block, for to refuse them all would turn one block into an outage.
mod file;
mod names;
#[cfg(test)]
mod tests;

pub use file::{BlockFile, Kept, MENDING};

use crate::api::types::{Block, Blocked};
use names::{Forms, Name};
use policy::network::AddressRange;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Entries at most.
pub const MAX_BLOCKS: usize = 10_000;
/// Bytes of a reason.
pub const MAX_REASON: usize = 200;
/// Bytes of a name.
const MAX_NAME: usize = 253;
/// Names that are remembered of one certificate.
const MAX_NAMES: usize = 16;

/// Whoever logs in, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Under which names: what it calls itself, and what the server calls it.
    pub users: &'a [&'a str],
    pub machine: Option<&'a str>,
    /// Of the client's certificate: its serial number and its SHA-256, in hexadecimal.
    pub serial: Option<&'a str>,
    pub fingerprint: Option<&'a str>,
    pub client: IpAddr,
    /// It may have shown a certificate that the gateway did not see.
    pub hides_certificate: bool,
    /// No server has confirmed any of its names.
    pub is_unconfirmed: bool,
}

/// Whom an entry is about, in the form that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// An account in any realm.
    User(String),
    Machine(String),
    /// Serial number or fingerprint: digits without separators and leading zeros.
    Certificate(String),
    /// A name of the holder of a blocked certificate.
    Holder(String),
    HolderMachine(String),
}

/// A key leads to entries, and some of them want a certain realm besides.
type Entries = Vec<(Option<Name>, u64)>;

/// What stands on the list.
#[derive(Debug, Default)]
pub struct Blocks {
    entries: BTreeMap<u64, Block>,
    keys: HashMap<Key, Entries>,
    ranges: Vec<(AddressRange, u64)>,
    next: u64,
    changed: bool,
    /// Logins that could not be judged, by entry.
    unjudged: HashMap<u64, u64>,
}

impl Blocks {
    /// As a file remembers them; times are unix seconds. `next`: no entry gets this number or a lower one.
    pub fn new(entries: Vec<Block>, next: u64, now: u64) -> Self {
        let mut blocks = Self { next, ..Self::default() };
        for block in entries {
            blocks.next = blocks.next.max(block.id);
            if !is_over(&block, now) {
                blocks.put(block);
            }
        }
        blocks
    }

    /// Puts somebody on the list until `until`, or until it is taken back; whoever stands there already stays under the old number with the new time
    /// and reason.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub fn add(&mut self, who: Blocked, reason: Option<String>, now: u64, until: Option<u64>) -> Result<Block, (String, String)> {
        self.purge(now);
        let block = checked(Block { id: self.next + 1, who, reason, added_at: now, until, names: Vec::new(), unjudged: 0 })?;
        let known = self.same(&block.who);
        if known.is_none() && self.entries.len() >= MAX_BLOCKS {
            return Err((
                format!("the block list is full: it holds {MAX_BLOCKS} entries"),
                "remove some; an account is better disabled where it is kept".into(),
            ));
        }
        let names = known.and_then(|known| self.take(known)).map(|known| known.names).unwrap_or_default();
        let block = Block { id: known.unwrap_or(block.id), names, ..block };
        self.next = self.next.max(block.id);
        self.put(block.clone());
        self.changed = true;
        Ok(block)
    }

    /// The same until `until` at least: whoever is kept out for longer stays so, and for the reason of that.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub fn hold(&mut self, who: Blocked, reason: Option<String>, now: u64, until: Option<u64>) -> Result<Block, (String, String)> {
        let longer = |block: &&Block| !is_over(block, now) && until.is_some_and(|until| block.until.is_none_or(|other| other >= until));
        if let Some(block) = self.same(&who).and_then(|id| self.entries.get(&id)).filter(longer) {
            return Ok(block.clone());
        }
        self.add(who, reason, now, until)
    }

    /// Takes an entry off the list.
    pub fn remove(&mut self, id: u64) -> Option<Block> {
        let removed = self.take(id)?;
        self.unjudged.remove(&id);
        self.changed = true;
        Some(removed)
    }

    /// The certificate of this entry was seen under these names.
    pub fn learn<'a>(&mut self, id: u64, names: impl IntoIterator<Item = &'a str>) -> Option<Block> {
        let Some(Block { who: Blocked::Certificate(_), names: known, .. }) = self.entries.get(&id) else { return None };
        let mut all = known.clone();
        for name in names {
            let fits = !name.is_empty() && name.len() <= MAX_NAME && all.len() < MAX_NAMES;
            if fits && !all.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                all.push(name.to_owned());
            }
        }
        if all.len() > known.len() {
            let block = self.take(id)?;
            self.put(Block { names: all, ..block });
            self.changed = true;
        }
        self.entries.get(&id).cloned()
    }

    /// In the order of their numbers.
    pub fn list(&mut self, now: u64) -> Vec<Block> {
        self.purge(now);
        let counted = |block: &Block| Block { unjudged: self.unjudged.get(&block.id).copied().unwrap_or(0), ..block.clone() };
        self.entries.values().map(counted).collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry that keeps this one out.
    pub fn find(&self, who: &Who<'_>, now: u64) -> Option<&Block> {
        if self.entries.is_empty() {
            return None;
        }
        let users: Vec<_> = who.users.iter().map(|user| Forms::of_user(user)).collect();
        let machines = who.machine.map(Forms::of_machine);
        let machines: Vec<_> = users.iter().filter(|forms| forms.is_machine).chain(&machines).collect();
        let by_certificate = [who.serial, who.fingerprint].into_iter().flatten().filter_map(digits).map(Key::Certificate);
        let by_certificate = by_certificate.flat_map(|key| self.named(&key)).map(|(_, id)| *id);
        let mut ids: Vec<u64> = by_certificate.collect();
        ids.extend(users.iter().flat_map(|forms| self.meant(forms, Key::User, Name::means)));
        ids.extend(machines.iter().flat_map(|forms| self.meant(forms, Key::Machine, Name::means)));
        if who.hides_certificate {
            ids.extend(users.iter().flat_map(|forms| self.meant(forms, Key::Holder, Name::may_mean)));
            ids.extend(machines.iter().flat_map(|forms| self.meant(forms, Key::HolderMachine, Name::may_mean)));
        }
        ids.extend(self.ranges.iter().filter(|(range, _)| range.contains(who.client)).map(|(_, id)| *id));
        ids.into_iter().filter_map(|id| self.entries.get(&id)).find(|block| !is_over(block, now))
    }

    /// Somebody whom no entry keeps out, as far as that can be told, comes in: how many entries nobody could compare with it.
    pub fn pass(&mut self, who: &Who<'_>, now: u64) -> usize {
        let is_hidden = |block: &&Block| match block.who {
            Blocked::Certificate(_) => who.hides_certificate,
            Blocked::User(_) | Blocked::Machine(_) => who.is_unconfirmed,
            Blocked::Address(_) => false,
        };
        let hidden: Vec<_> = self.entries.values().filter(is_hidden).filter(|block| !is_over(block, now)).map(|block| block.id).collect();
        for id in &hidden {
            *self.unjudged.entry(*id).or_default() += 1;
        }
        hidden.len()
    }

    /// The whole list, if it has changed since this was asked last.
    pub fn unsaved(&mut self) -> Option<Vec<Block>> {
        std::mem::take(&mut self.changed).then(|| self.entries.values().cloned().collect())
    }

    fn named(&self, key: &Key) -> &[(Option<Name>, u64)] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    fn meant(&self, forms: &Forms, key: fn(String) -> Key, means: fn(&Name, &Forms) -> bool) -> Vec<u64> {
        let entries = forms.accounts.iter().flat_map(|account| self.named(&key(account.clone())));
        entries.filter(|(name, _)| name.as_ref().is_some_and(|name| means(name, forms))).map(|(_, id)| *id).collect()
    }

    /// The entry about the same one.
    fn same(&self, who: &Blocked) -> Option<u64> {
        match key(who) {
            Some((key, name)) => self.named(&key).iter().find(|(other, _)| *other == name).map(|(_, id)| *id),
            None => {
                let range = range(who)?;
                self.ranges.iter().find(|(other, _)| *other == range).map(|(_, id)| *id)
            }
        }
    }

    fn purge(&mut self, now: u64) {
        let over: Vec<_> = self.entries.values().filter(|block| is_over(block, now)).map(|block| block.id).collect();
        self.changed |= !over.is_empty();
        for id in over {
            self.take(id);
            self.unjudged.remove(&id);
        }
    }

    fn put(&mut self, block: Block) {
        for (key, name) in keys(&block) {
            self.keys.entry(key).or_default().push((name, block.id));
        }
        self.ranges.extend(range(&block.who).map(|range| (range, block.id)));
        self.entries.insert(block.id, block);
    }

    fn take(&mut self, id: u64) -> Option<Block> {
        let block = self.entries.remove(&id)?;
        for (key, _) in keys(&block) {
            let Some(entries) = self.keys.get_mut(&key) else { continue };
            entries.retain(|(_, other)| *other != id);
            if entries.is_empty() {
                self.keys.remove(&key);
            }
        }
        self.ranges.retain(|(_, other)| *other != id);
        Some(block)
    }
}

fn is_over(block: &Block, now: u64) -> bool {
    block.until.is_some_and(|until| until <= now)
}

/// Under what an entry is found.
fn keys(block: &Block) -> Vec<(Key, Option<Name>)> {
    let holder = |name: &String| {
        let user = Name::of_user(name);
        let may_be_machine = names::is_machine(name) || !name.contains(['\\', '@']);
        let machine = may_be_machine.then(|| Name::of_machine(name)).map(|name| (Key::HolderMachine(name.account.clone()), Some(name)));
        std::iter::once((Key::Holder(user.account.clone()), Some(user))).chain(machine)
    };
    key(&block.who).into_iter().chain(block.names.iter().flat_map(holder)).collect()
}

fn key(who: &Blocked) -> Option<(Key, Option<Name>)> {
    let machine = |name: &str| {
        let name = Name::of_machine(name);
        (Key::Machine(name.account.clone()), Some(name))
    };
    match who {
        Blocked::User(name) if names::is_machine(name) => Some(machine(name)),
        Blocked::User(name) => {
            let name = Name::of_user(name);
            Some((Key::User(name.account.clone()), Some(name)))
        }
        Blocked::Machine(name) => Some(machine(name)),
        Blocked::Certificate(number) => digits(number).map(|digits| (Key::Certificate(digits), None)),
        Blocked::Address(_) => None,
    }
}

fn range(who: &Blocked) -> Option<AddressRange> {
    match who {
        Blocked::Address(text) => crate::config::address_range(text).ok(),
        _ => None,
    }
}

/// Whether two texts stand for one serial number or fingerprint.
pub fn same_digits(a: &str, b: &str) -> bool {
    digits(a).is_some_and(|a| digits(b) == Some(a))
}

/// Hexadecimal digits in lower case, without separators and leading zeros.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    let significant = digits.trim_start_matches('0');
    let good = !digits.is_empty() && digits.len() <= 64 && digits.chars().all(|c| c.is_ascii_hexdigit());
    good.then(|| if significant.is_empty() { "0".into() } else { significant.to_owned() })
}

/// The block in the form in which it is kept and shown.
fn checked(block: Block) -> Result<Block, (String, String)> {
    let named = |what: &str, name: &str| match name.trim() {
        "" => Err((format!("the {what} to be blocked has no name"), "give the name that `evergate attempts` shows".to_owned())),
        name if name.len() > MAX_NAME => Err((format!("the name of the {what} is too long"), format!("take {MAX_NAME} bytes at most"))),
        name => Ok(name.to_owned()),
    };
    let who = match block.who {
        Blocked::User(name) => Blocked::User(named("user", &name)?),
        // An account such as `CORP\PC1$` says its domain too.
        Blocked::Machine(name) if name.contains(['\\', '@']) => Blocked::Machine(named("machine", &name)?),
        Blocked::Machine(name) => Blocked::Machine(crate::facts::machine(&name).map_or_else(|| named("machine", &name), Ok)?),
        Blocked::Certificate(number) => Blocked::Certificate(digits(&number).ok_or_else(|| {
            let error = format!("{number:?} is neither a serial number nor a SHA-256 fingerprint");
            (error, "give hexadecimal digits, as `evergate attempts show` and certificate viewers write them".to_owned())
        })?),
        Blocked::Address(text) => {
            Blocked::Address(crate::config::address_range(&text).map(|range| range.to_string()).map_err(|problem| {
                let problem = if problem.is_empty() { "is no address".to_owned() } else { problem };
                (format!("{text:?} {problem}"), "give an address or a prefix such as 192.0.2.7 or 2001:db8::/64".to_owned())
            })?)
        }
    };
    if block.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON) {
        return Err(("the reason is too long".into(), format!("take {MAX_REASON} bytes at most")));
    }
    let names = block.names.into_iter().filter(|name| !name.is_empty() && name.len() <= MAX_NAME).take(MAX_NAMES).collect();
    Ok(Block { who, names, unjudged: 0, ..block })
}
