//! IP packet filters: ordered rules for what a client sends and what it is sent, the first that matches decides.
//!
//! Rules are written as IPFilterRule (RFC 6733 section 4.3.1), which is also the language of NAS-Filter-Rule (RFC 4849); those of MS-Filter and
//! MS-IPv6-Filter are bytes ([MS-RNAP] 2.2.1). What a packet does not show - ports of a fragment that is not the first, a header cut short - matches
//! a deny rule and never a permit rule: a filter errs on the side of dropping.
pub mod microsoft;
mod rule;

pub use rule::{BadRule, Rule};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Rules of one filter at most, both directions together: a packet is held against each of them.
pub const MAX_RULES: usize = 256;

/// Direction of a packet, as RFC 6733 calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Permit,
    Deny,
}

impl Action {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Self::Permit => Self::Deny,
            Self::Deny => Self::Permit,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
        })
    }
}

/// What rules look at. `None` is what the packet does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The transport, behind all extension headers of IPv6.
    pub protocol: Option<u8>,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// The flags of TCP: FIN is bit 0, URG bit 5.
    pub tcp_flags: Option<u8>,
    /// Type and code.
    pub icmp: Option<(u8, u8)>,
    /// A fragment that is not the first.
    pub later_fragment: bool,
}

/// The rules of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    rules: Box<[Rule]>,
    /// Where no rule matches: IPv4, IPv6.
    default: [Action; 2],
}

impl Chain {
    /// `default`: where no rule matches; without one, the opposite of the last rule (RFC 6733 section 4.3.1), and everything passes where there is
    /// none.
    pub fn new(rules: Vec<Rule>, default: Option<Action>) -> Self {
        let default = default.unwrap_or_else(|| rules.last().map_or(Action::Permit, |last| last.action().opposite()));
        Self { rules: rules.into(), default: [default; 2] }
    }

    /// Lets everything pass.
    pub fn open() -> Self {
        Self::new(Vec::new(), None)
    }

    /// True when nothing is ever dropped.
    pub fn is_open(&self) -> bool {
        self.default == [Action::Permit; 2] && self.rules.iter().all(|rule| rule.action() == Action::Permit)
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What happens where no rule matches; of filters for one IP version alone, in that one.
    pub fn default_action(&self) -> Action {
        if self.default.contains(&Action::Deny) { Action::Deny } else { Action::Permit }
    }

    /// Why the packet is dropped; `None`: it passes. `assigned`: the client's addresses.
    fn objection(&self, packet: &Packet, assigned: &[IpAddr]) -> Option<Objection<'_>> {
        let decides = |rule: &&Rule| match rule.matches(packet, assigned) {
            rule::Match::Yes => true,
            rule::Match::Unknown => rule.action() == Action::Deny,
            rule::Match::No => false,
        };
        match self.rules.iter().find(decides) {
            Some(rule) if rule.action() == Action::Deny => Some(Objection::Rule(rule)),
            Some(_) => None,
            None => (self.default[usize::from(packet.source.is_ipv6())] == Action::Deny).then_some(Objection::Default),
        }
    }
}

/// What drops a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection<'a> {
    Rule(&'a Rule),
    /// No rule matches.
    Default,
}

impl fmt::Display for Objection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Default => f.write_str("no rule permits it"),
        }
    }
}

/// A filter under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub name: String,
    pub input: Chain,
    pub output: Chain,
}

impl Filter {
    /// Rules of both directions in order. `defaults`: see [`Chain::new`], for [`Direction::In`] and [`Direction::Out`].
    ///
    /// # Errors
    /// The first rule that cannot be read, or [`MAX_RULES`] are exceeded.
    pub fn parse<'a>(name: &str, rules: impl IntoIterator<Item = &'a str>, defaults: [Option<Action>; 2]) -> Result<Self, BadRule> {
        let mut chains = [Vec::new(), Vec::new()];
        for (index, text) in rules.into_iter().enumerate() {
            if index == MAX_RULES {
                return Err(BadRule::new(text, format!("a filter has {MAX_RULES} rules at most")));
            }
            let (direction, rule) = Rule::parse(text)?;
            chains[usize::from(direction == Direction::Out)].push(rule);
        }
        let ([input, output], [default_in, default_out]) = (chains, defaults);
        Ok(Self { name: name.to_owned(), input: Chain::new(input, default_in), output: Chain::new(output, default_out) })
    }

    /// The values of NAS-Filter-Rule attributes in order (RFC 4849 section 2): one text whose rules are separated by NUL. An attribute that begins
    /// with an action begins a rule also without NUL before it; within a rule no action can stand.
    ///
    /// # Errors
    /// A text that is not UTF-8, or as [`Self::parse`].
    pub fn of_attributes(values: &[Vec<u8>]) -> Result<Self, BadRule> {
        let mut whole = Vec::new();
        for value in values {
            if [&b"permit "[..], b"deny "].iter().any(|action| value.starts_with(action)) {
                whole.push(0);
            }
            whole.extend_from_slice(value);
        }
        let text =
            String::from_utf8(whole).map_err(|error| BadRule::new(&String::from_utf8_lossy(error.as_bytes()), "is not UTF-8".into()))?;
        let rules: Vec<_> = text.split('\0').filter(|rule| !rule.trim().is_empty()).collect();
        match rules.is_empty() {
            true => Err(BadRule::new(&text, "has no rule".into())),
            false => Self::parse("NAS-Filter-Rule", rules, [None; 2]),
        }
    }

    /// Why the packet is dropped; `None`: it passes. `assigned`: the client's addresses.
    pub fn objection(&self, direction: Direction, packet: &Packet, assigned: &[IpAddr]) -> Option<Objection<'_>> {
        self.chain(direction).objection(packet, assigned)
    }

    /// The same filter for one direction alone: Filter-Id with the suffix `.in` or `.out`.
    pub fn only(&self, direction: Direction) -> Self {
        let part = |of: Direction| if of == direction { self.chain(of).clone() } else { Chain::open() };
        Self { name: format!("{}.{direction}", self.name), input: part(Direction::In), output: part(Direction::Out) }
    }

    pub fn chain(&self, direction: Direction) -> &Chain {
        match direction {
            Direction::In => &self.input,
            Direction::Out => &self.output,
        }
    }
}

/// Finds the filter that a Filter-Id names: by itself, or with `.in` or `.out` behind it for one direction. Letter case does not matter.
pub fn named(filters: &[Arc<Filter>], filter_id: &str) -> Option<Arc<Filter>> {
    let find = |name: &str| filters.iter().find(|filter| filter.name.eq_ignore_ascii_case(name));
    let one_way = |direction: Direction| {
        let cut = filter_id.len().checked_sub(direction.to_string().len() + 1)?;
        let (name, suffix) = filter_id.split_at_checked(cut)?;
        suffix.strip_prefix('.').filter(|suffix| suffix.eq_ignore_ascii_case(&direction.to_string()))?;
        find(name).map(|filter| Arc::new(filter.only(direction)))
    };
    find(filter_id).cloned().or_else(|| one_way(Direction::In)).or_else(|| one_way(Direction::Out))
}

/// Bits a second, and how long a client that was silent may exceed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// 1000 at least.
    pub bits_per_second: u64,
    /// What a full bucket holds, as time at this rate.
    pub burst: std::time::Duration,
}

/// What a session's packets meet beyond its addresses: they pass every filter, and stay within the rates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    pub filters: Vec<Arc<Filter>>,
    /// From the client.
    pub rate_in: Option<RateLimit>,
    /// To the client.
    pub rate_out: Option<RateLimit>,
}

impl Restrictions {
    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.rate_in.is_none() && self.rate_out.is_none()
    }
}
