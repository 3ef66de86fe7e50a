//! The block list: who is kept out by hand, whatever RADIUS and policies say, for a time or until it is taken back.
//!
//! An ended session of an Always On client comes back within seconds; only a block keeps it away.
mod file;

pub use file::BlockFile;

use crate::api::types::{Block, Blocked};
use policy::network::AddressRange;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Entries at most.
pub const MAX_BLOCKS: usize = 10_000;
/// Bytes of a reason.
pub const MAX_REASON: usize = 200;
/// Bytes of a name.
const MAX_NAME: usize = 253;

/// Whoever logs in, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub user: &'a str,
    pub machine: Option<&'a str>,
    /// Of the client's certificate: its serial number and its SHA-256, in hexadecimal.
    pub serial: Option<&'a str>,
    pub fingerprint: Option<&'a str>,
    pub client: IpAddr,
}

/// Whom an entry is about, in the form that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    Machine(String),
    /// Serial number or fingerprint: digits without separators and leading zeros.
    Certificate(String),
}

/// What stands on the list.
#[derive(Debug, Default)]
pub struct Blocks {
    entries: BTreeMap<u64, Block>,
    keys: HashMap<Key, u64>,
    ranges: Vec<(AddressRange, u64)>,
    next: u64,
    changed: bool,
}

impl Blocks {
    /// As a file remembers them; times are unix seconds.
    pub fn new(entries: Vec<Block>, now: u64) -> Self {
        let mut blocks = Self::default();
        for block in entries.into_iter().take(MAX_BLOCKS) {
            blocks.next = blocks.next.max(block.id);
            if !is_over(&block, now)
                && let Ok(block) = checked(block)
            {
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
        let block = checked(Block { id: self.next + 1, who, reason, added_at: now, until })?;
        let known = match key(&block.who) {
            Some(key) => self.keys.get(&key).copied(),
            None => self.entries.values().find(|known| known.who == block.who).map(|known| known.id),
        };
        if known.is_none() && self.entries.len() >= MAX_BLOCKS {
            return Err((
                format!("the block list is full: it holds {MAX_BLOCKS} entries"),
                "remove some; an account is better disabled where it is kept".into(),
            ));
        }
        let block = Block { id: known.unwrap_or(block.id), ..block };
        self.next = self.next.max(block.id);
        if let Some(known) = known {
            self.take(known);
        }
        self.put(block.clone());
        self.changed = true;
        Ok(block)
    }

    /// Takes an entry off the list.
    pub fn remove(&mut self, id: u64) -> Option<Block> {
        let removed = self.take(id)?;
        self.changed = true;
        Some(removed)
    }

    /// In the order of their numbers.
    pub fn list(&mut self, now: u64) -> Vec<Block> {
        self.purge(now);
        self.entries.values().cloned().collect()
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
        let machine = who.machine.map(str::to_owned).or_else(|| crate::facts::machine(who.user));
        let keys = [
            Some(Key::User(who.user.to_lowercase())),
            machine.map(|machine| Key::Machine(machine.to_lowercase())),
            who.serial.and_then(digits).map(Key::Certificate),
            who.fingerprint.and_then(digits).map(Key::Certificate),
        ];
        let by_key = keys.into_iter().flatten().filter_map(|key| self.keys.get(&key));
        let by_range = self.ranges.iter().filter(|(range, _)| range.contains(who.client)).map(|(_, id)| id);
        by_key.chain(by_range).filter_map(|id| self.entries.get(id)).find(|block| !is_over(block, now))
    }

    /// The whole list, if it has changed since this was asked last.
    pub fn unsaved(&mut self) -> Option<Vec<Block>> {
        std::mem::take(&mut self.changed).then(|| self.entries.values().cloned().collect())
    }

    fn purge(&mut self, now: u64) {
        let over: Vec<_> = self.entries.values().filter(|block| is_over(block, now)).map(|block| block.id).collect();
        self.changed |= !over.is_empty();
        for id in over {
            self.take(id);
        }
    }

    fn put(&mut self, block: Block) {
        match key(&block.who) {
            Some(key) => drop(self.keys.insert(key, block.id)),
            None => self.ranges.extend(range(&block.who).map(|range| (range, block.id))),
        }
        self.entries.insert(block.id, block);
    }

    fn take(&mut self, id: u64) -> Option<Block> {
        let block = self.entries.remove(&id)?;
        self.keys.retain(|_, other| *other != id);
        self.ranges.retain(|(_, other)| *other != id);
        Some(block)
    }
}

fn is_over(block: &Block, now: u64) -> bool {
    block.until.is_some_and(|until| until <= now)
}

fn key(who: &Blocked) -> Option<Key> {
    match who {
        Blocked::User(name) => Some(Key::User(name.to_lowercase())),
        Blocked::Machine(name) => Some(Key::Machine(name.to_lowercase())),
        Blocked::Certificate(number) => digits(number).map(Key::Certificate),
        Blocked::Address(_) => None,
    }
}

fn range(who: &Blocked) -> Option<AddressRange> {
    match who {
        Blocked::Address(text) => crate::config::address_range(text).ok(),
        _ => None,
    }
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
    Ok(Block { who, ..block })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Who<'_> =
        Who { user: "eve", machine: None, serial: None, fingerprint: None, client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) };

    fn blocks(who: Blocked) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.add(who, None, 100, None).unwrap();
        blocks
    }

    #[test]
    fn each_kind_finds_its_own() {
        let user = blocks(Blocked::User("Ann@Example.test".into()));
        assert!(user.find(&Who { user: "ann@example.TEST", ..NOBODY }, 101).is_some());
        let machine = blocks(Blocked::Machine("host/PC1.example.test".into()));
        assert!(machine.find(&Who { user: "host/pc1.example.test", ..NOBODY }, 101).is_some());
        assert!(machine.find(&Who { machine: Some("pc1.EXAMPLE.test"), ..NOBODY }, 101).is_some());
        let serial = blocks(Blocked::Certificate("00:AB:0c".into()));
        assert!(serial.find(&Who { serial: Some("ab0c"), ..NOBODY }, 101).is_some());
        assert!(serial.find(&Who { serial: Some("ab0d"), ..NOBODY }, 101).is_none());
        let fingerprint = blocks(Blocked::Certificate("ab".repeat(32)));
        assert!(fingerprint.find(&Who { fingerprint: Some(&"AB".repeat(32)), ..NOBODY }, 101).is_some());
        let network = blocks(Blocked::Address("127.0.0.0/8".into()));
        assert!(network.find(&Who { client: "::ffff:127.0.0.9".parse().unwrap(), ..NOBODY }, 101).is_some());
        for blocks in [user, machine, serial, fingerprint] {
            assert!(blocks.find(&NOBODY, 101).is_none());
        }
    }

    #[test]
    fn an_end_is_kept_and_a_second_entry_replaces_the_first() {
        let mut blocks = Blocks::default();
        let ann = || Blocked::User("ann".into());
        let first = blocks.add(ann(), Some("left".into()), 100, Some(160)).unwrap();
        let who = Who { user: "ann", ..NOBODY };
        assert!(blocks.find(&who, 159).is_some() && blocks.find(&who, 160).is_none());
        let second = blocks.add(ann(), None, 150, Some(300)).unwrap();
        assert_eq!((second.id, blocks.len()), (first.id, 1));
        assert_eq!(blocks.unsaved().unwrap(), [second]);
        assert!(blocks.unsaved().is_none());
        assert!(blocks.list(300).is_empty());
        assert!(blocks.unsaved().is_some(), "what is over is forgotten");
        assert!(blocks.remove(first.id).is_none());
    }

    #[test]
    fn an_entry_in_other_letters_is_the_same_entry() {
        let mut blocks = blocks(Blocked::User("Ann@Example.test".into()));
        let second = blocks.add(Blocked::User("ann@example.test".into()), None, 150, Some(300)).unwrap();
        assert_eq!((second.id, blocks.len()), (1, 1));
        blocks.add(Blocked::User("ANN@example.test".into()), None, 160, None).unwrap();
        assert!(blocks.find(&Who { user: "ann@example.test", ..NOBODY }, 400).is_some());
    }

    #[test]
    fn numbers_are_not_given_twice_over_a_restart() {
        let mut blocks = blocks(Blocked::User("ann".into()));
        blocks.add(Blocked::User("bob".into()), None, 100, Some(110)).unwrap();
        let mut again = Blocks::new(blocks.unsaved().unwrap(), 120);
        assert_eq!(again.len(), 1);
        assert_eq!(again.add(Blocked::User("cid".into()), None, 120, None).unwrap().id, 3);
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for who in [
            Blocked::User(" ".into()),
            Blocked::User("x".repeat(300)),
            Blocked::Certificate("xyz".into()),
            Blocked::Certificate(":".into()),
            Blocked::Certificate("a".repeat(65)),
            Blocked::Address("here".into()),
            Blocked::Address("192.0.2.1/24".into()),
        ] {
            let (error, remedy) = Blocks::default().add(who, None, 0, None).unwrap_err();
            assert!(!error.is_empty() && !remedy.is_empty());
        }
        assert!(Blocks::default().add(Blocked::User("a".into()), Some("x".repeat(201)), 0, None).is_err());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut blocks = Blocks::default();
        for number in 0..MAX_BLOCKS {
            blocks.put(Block { id: number as u64, who: Blocked::User(number.to_string()), reason: None, added_at: 0, until: None });
        }
        assert!(blocks.add(Blocked::User("one more".into()), None, 0, None).unwrap_err().0.contains("full"));
        assert!(blocks.add(Blocked::User("17".into()), Some("again".into()), 0, None).is_ok());
    }
}
