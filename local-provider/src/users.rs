//! The users file: who there is, what proves them, what they belong to.
use crate::mschapv2::{NtHash, hex, without_domain};
use crypto::Zeroizing;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name, as the RADIUS attribute User-Name bounds them too.
const MAX_NAME: usize = 253;

/// The first lines of a new users file.
pub const HEADER: &str = "\
# Users of the local provider, one a line: NAME, then any of
#   nt=HEX          NT hash of the password (evergate user passwd makes it); without it the user has only certificates
#   groups=A,B      what the group conditions of the policies look at
#   must-change     the password must be changed at the next login (MS-CHAPv2, EAP-MSCHAPv2), which takes this word away
#   password-expires=DATE   the same, from the day (UTC) after this one on
#   expires=DATE    last day (UTC) on which the user may log in, such as 2027-12-31
#   address=A,B     fixed address inside the tunnel: IPv4, IPv6 or one of each, out of the pool
#   disabled        may not log in
# A NAME or a group with spaces stands in double quotes. Whoever reads an NT hash can log in with it: keep this file at mode 0600.
";

/// One user.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct User {
    pub name: String,
    /// Without it, passwords fail.
    pub nt_hash: Option<NtHash>,
    pub groups: Vec<String>,
    /// The last day, in UTC.
    pub expires: Option<Date>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub disabled: bool,
    /// The password must be changed at the next login.
    pub must_change: bool,
    /// The last day of the password, in UTC.
    pub password_expires: Option<Date>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// A line of the file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct UsersError {
    /// From 1.
    pub line: usize,
    pub problem: String,
}

/// All users, found by name without regard to case.
#[derive(Debug, Clone, Default)]
pub struct Users {
    by_name: BTreeMap<String, User>,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    /// The first line that cannot be used: nobody comes in by half a file.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut by_name = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let at = |problem: String| UsersError { line: index + 1, problem };
            let Some(user) = User::from_line(line).map_err(at)? else { continue };
            let name = user.name.clone();
            if by_name.insert(key(&name), user).is_some() {
                return Err(at(format!("user {name:?} stands above already (case does not count); remove one of the lines")));
            }
        }
        Ok(Self { by_name })
    }

    /// In order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Users in each group, as it is written.
    pub fn groups(&self) -> BTreeMap<String, u64> {
        let mut groups = BTreeMap::new();
        for group in self.iter().flat_map(|user| &user.groups) {
            *groups.entry(group.clone()).or_default() += 1;
        }
        groups
    }

    /// By the whole name.
    pub fn get(&self, name: &str) -> Option<&User> {
        self.by_name.get(&key(name))
    }

    /// Puts a user in the place of the one of this name.
    pub(crate) fn put(&mut self, user: User) {
        self.by_name.insert(key(&user.name), user);
    }

    /// By the whole name that a client sent, else by what follows its Windows domain.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&User> {
        let by = |name: &[u8]| std::str::from_utf8(name).ok().and_then(|name| self.get(name));
        by(name).or_else(|| by(without_domain(name)))
    }
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

impl User {
    /// Reads one line; `None`: it is empty or a comment.
    fn from_line(line: &str) -> Result<Option<Self>, String> {
        let mut words = words(line)?.into_iter();
        let Some(name) = words.next() else { return Ok(None) };
        check_name(&name)?;
        let mut user = Self { name: name.to_string(), ..Self::default() };
        for word in words {
            match word.split_once('=') {
                Some(("nt", hex)) => user.nt_hash = Some(read_hash(hex)?),
                Some(("groups", groups)) => user.groups = listed(groups),
                Some(("expires", date)) => user.expires = Some(read_date(date)?),
                Some(("password-expires", date)) => user.password_expires = Some(read_date(date)?),
                Some(("address", addresses)) => user.set_addresses(addresses)?,
                None if *word == "disabled" => user.disabled = true,
                None if *word == "must-change" => user.must_change = true,
                Some((field, _)) => return Err(unknown(field)),
                None => return Err(unknown(&word)),
            }
        }
        Ok(Some(user))
    }

    /// Sets fixed addresses from a list such as `10.98.0.20,fd98::20`.
    ///
    /// # Errors
    /// What is no address, or a second one of its family.
    pub fn set_addresses(&mut self, text: &str) -> Result<(), String> {
        for word in listed(text) {
            let taken = match word.parse() {
                Ok(IpAddr::V4(address)) => self.ipv4.replace(address).is_some(),
                Ok(IpAddr::V6(address)) => self.ipv6.replace(address).is_some(),
                Err(_) => return Err(format!("address {word:?} is no IP address such as 10.98.0.20")),
            };
            if taken {
                return Err(format!("address {word:?} is the second of its family; one of each is possible"));
            }
        }
        Ok(())
    }

    /// The line of the file.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(quoted(&self.name));
        if let Some(hash) = &self.nt_hash {
            line.push_str(&format!(" nt={}", hex(&**hash)));
        }
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().map(|group| quoted(group)).collect();
            line.push_str(&format!(" groups={}", groups.join(",")));
        }
        if let Some(date) = self.expires {
            line.push_str(&format!(" expires={date}"));
        }
        let addresses: Vec<_> = self.addresses().map(|address| address.to_string()).collect();
        if !addresses.is_empty() {
            line.push_str(&format!(" address={}", addresses.join(",")));
        }
        if let Some(date) = self.password_expires {
            line.push_str(&format!(" password-expires={date}"));
        }
        for (word, is_so) in [("must-change", self.must_change), ("disabled", self.disabled)] {
            if is_so {
                line.push(' ');
                line.push_str(word);
            }
        }
        line
    }

    /// Gives the user another password, which need not be changed.
    pub fn set_password(&mut self, hash: NtHash) {
        (self.nt_hash, self.must_change, self.password_expires) = (Some(hash), false, None);
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// Whether the last day is over; `now` in seconds since 1970.
    pub(crate) fn has_expired(&self, now: i64) -> bool {
        is_over(self.expires, now)
    }

    /// Whether the user must choose another password before anything else.
    pub(crate) fn needs_another_password(&self, now: i64) -> bool {
        self.must_change || is_over(self.password_expires, now)
    }
}

fn is_over(last: Option<Date>, now: i64) -> bool {
    let today = jiff::Timestamp::from_second(now).map(|now| now.to_zoned(jiff::tz::TimeZone::UTC).date());
    // A clock that no calendar has is after every day.
    last.is_some_and(|last| today.map_or(true, |today| today > last))
}

/// What a name, also of a group, must be.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a name has 1 to {MAX_NAME} bytes, {name:?} has {}", name.len()));
    }
    let forbidden = |c: char| c.is_control() || matches!(c, '"' | ',' | '=' | '#');
    match name.chars().find(|c| forbidden(*c)) {
        Some(c) => Err(format!("{name:?} holds {c:?}, which no name may (nor \" , = # or control characters)")),
        None => Ok(()),
    }
}

/// `text` with the line of `user` in place of the one with this name, or at the end; comments and other lines stay as they are.
pub fn with_user(text: &str, user: &User) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 512));
    let mut written = false;
    for line in text.lines() {
        let is_it = names(line, &user.name);
        out.push_str(if is_it { user.to_line() } else { Zeroizing::new(line.to_owned()) }.as_str());
        out.push('\n');
        written |= is_it;
    }
    if !written {
        out.push_str(&user.to_line());
        out.push('\n');
    }
    out
}

/// `text` without the line of this user.
pub fn without_user(text: &str, name: &str) -> Zeroizing<String> {
    let kept = text.lines().filter(|line| !names(line, name));
    Zeroizing::new(kept.fold(String::with_capacity(text.len()), |out, line| out + line + "\n"))
}

fn names(line: &str, name: &str) -> bool {
    words(line).is_ok_and(|words| words.first().is_some_and(|first| key(first) == key(name)))
}

/// Words between spaces; double quotes hold words together and vanish; `#` begins a comment.
fn words(line: &str) -> Result<Vec<Zeroizing<String>>, String> {
    let mut words: Vec<Zeroizing<String>> = Vec::new();
    let (mut inside, mut quoted) = (false, false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => {
                inside = false;
                continue;
            }
            _ => {}
        }
        if !std::mem::replace(&mut inside, true) {
            // Grown words would leave copies of hashes behind.
            words.push(Zeroizing::new(String::with_capacity(line.len())));
        }
        if let Some(word) = words.last_mut().filter(|_| c != '"') {
            word.push(c);
        }
    }
    if quoted { Err("a double quote is never closed".into()) } else { Ok(words) }
}

fn quoted(text: &str) -> String {
    if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text.to_owned() }
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

fn read_hash(text: &str) -> Result<NtHash, String> {
    let mut hash = Zeroizing::new([0; 16]);
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("nt= takes 32 hexadecimal digits; evergate user passwd NAME writes them".into());
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    Ok(hash)
}

/// A day such as `2027-12-31`.
///
/// # Errors
/// Says what was expected.
pub fn read_date(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("expires {text:?} is no date such as 2027-12-31"))
}

fn unknown(field: &str) -> String {
    // No more of it: it may be a password that somebody typed here.
    let start: String = field.chars().take(12).collect();
    format!("{start:?} is unknown; after the name stand nt=, groups=, expires=, password-expires=, address=, must-change or disabled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nt_hash;

    const FILE: &str = "\
# people
alice nt=8846f7eaee8fb117ad06bdd830b7586c groups=staff,admins  # the first
\"Bob Jones\" disabled expires=2027-01-31
   carol@example.com  address=fd98::20,10.98.0.20 groups=\"VPN Users\",x

";

    #[test]
    fn a_file() {
        let users = Users::parse(FILE).unwrap();
        assert_eq!(users.len(), 3);
        let alice = users.find(b"EXAMPLE\\ALICE").unwrap();
        assert_eq!(alice.nt_hash, Some(nt_hash("password")));
        assert_eq!(alice.groups, ["staff", "admins"]);
        let bob = users.get("bob jones").unwrap();
        assert!(bob.disabled && bob.nt_hash.is_none());
        let carol = users.find(b"Carol@Example.com").unwrap();
        assert_eq!(carol.groups, ["VPN Users", "x"]);
        assert_eq!((carol.ipv4, carol.ipv6), (Some(Ipv4Addr::new(10, 98, 0, 20)), Some("fd98::20".parse().unwrap())));
        assert!(users.find(b"carol").is_none() && users.find(b"\xff").is_none() && users.find(b"").is_none());
    }

    #[test]
    fn lines_come_back_as_they_were_read() {
        for user in Users::parse(FILE).unwrap().iter() {
            assert_eq!(User::from_line(&user.to_line()).unwrap().as_ref(), Some(user));
        }
        assert!(!format!("{:?}", Users::parse(FILE).unwrap()).to_lowercase().contains("8846"));
    }

    #[test]
    fn edits_keep_the_rest() {
        let user = User { name: "ALICE".into(), disabled: true, ..User::default() };
        let text = with_user(FILE, &user);
        assert_eq!(text.lines().nth(1), Some("ALICE disabled"));
        assert_eq!((text.lines().count(), text.lines().next()), (FILE.lines().count(), Some("# people")));
        let text = without_user(&text, "bob JONES");
        assert_eq!(Users::parse(&text).unwrap().len(), 2);
        let new = with_user(&text, &User { name: "dave".into(), ..User::default() });
        assert_eq!(new.lines().last(), Some("dave"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (line, part) in [
            ("alice nt=12", "32 hexadecimal"),
            ("alice nt=8846f7eaee8fb117ad06bdd830b7586g", "32 hexadecimal"),
            ("alice expires=tomorrow", "2027-12-31"),
            ("alice address=10.0.0.300", "no IP address"),
            ("alice address=10.0.0.1,10.0.0.2", "second of its family"),
            ("alice secretpassword123", "\"secretpasswo\" is unknown"),
            ("alice group=x", "groups="),
            ("\"alice", "never closed"),
            ("a=b", "which no name may"),
            ("\"\" disabled", "1 to 253"),
        ] {
            let error = Users::parse(&format!("\n{line}\n")).unwrap_err();
            assert!(error.line == 2 && error.problem.contains(part), "{line}: {error}");
        }
        assert!(Users::parse("a\nb\nA\n").unwrap_err().to_string().starts_with("line 3: user \"A\" stands above"));
    }

    #[test]
    fn the_last_day_counts() {
        let user = User { expires: Some("2027-01-31".parse().unwrap()), ..User::default() };
        let midnight = "2027-02-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        assert!(!user.has_expired(midnight - 1));
        assert!(user.has_expired(midnight) && user.has_expired(i64::MAX));
        assert!(!User::default().has_expired(i64::MAX));
    }
}
