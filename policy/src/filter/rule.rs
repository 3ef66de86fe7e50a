//! One rule: IPFilterRule in, match out.
use super::{Action, Direction, Packet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges in one list of ports or ICMP types at most.
const MAX_RANGES: usize = 32;

/// Characters of a rule that an error spells out.
const NAMED_CHARS: usize = 128;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// Protocols that rules may name; RFC 6733 has `ip` for any and numbers for the others.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", ICMP),
    ("tcp", TCP),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("sctp", 132),
    ("udplite", 136),
];

/// Protocols whose header begins with two ports.
const WITH_PORTS: &[u8] = &[TCP, 17, 33, 132, 136];

/// Extension headers of IPv6: packets are judged by what is behind them.
const EXTENSION_HEADERS: &[u8] = &[0, 43, 44, 51, 60, 135, 139, 140];

/// Flags of TCP that `tcpflags` knows, from bit 0 up.
const FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg"];
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;

/// A rule that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {problem}")]
pub struct BadRule {
    /// Its beginning.
    pub rule: String,
    pub problem: String,
}

impl BadRule {
    pub(super) fn new(rule: &str, problem: String) -> Self {
        Self { rule: rule.trim_matches('\0').chars().take(NAMED_CHARS).collect(), problem }
    }
}

/// Whether a rule is meant by a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    No,
    /// Not to be told from what the packet shows.
    Unknown,
    Yes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Net {
    Any,
    /// The client's own addresses.
    Assigned,
    V4 {
        bits: u32,
        mask: u32,
    },
    V6 {
        bits: u128,
        mask: u128,
    },
}

/// One end of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) net: Net,
    pub(super) inverted: bool,
    /// Inclusive; empty: any.
    pub(super) ports: Box<[(u16, u16)]>,
}

/// What a rule wants beside addresses, protocol and ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) later_fragment: bool,
    /// RST or ACK.
    pub(super) established: bool,
    /// Flags of TCP that are set, and that are not.
    pub(super) flags: (u8, u8),
    /// Inclusive; empty: any.
    pub(super) icmp_types: Box<[(u16, u16)]>,
    pub(super) icmp_code: Option<u8>,
}

/// A rule of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) action: Action,
    pub(super) protocol: Option<u8>,
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) options: Options,
    pub(super) text: String,
}

/// As it was written.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Rule {
    pub fn action(&self) -> Action {
        self.action
    }

    /// Reads an IPFilterRule: `permit in tcp from any to 10.0.0.0/8 80,443`. Options: `frag`, `established`, `setup`, `tcpflags`, `icmptypes`.
    ///
    /// # Errors
    /// Anything else than such a rule, also one with options that are not known here (`ipoptions`, `tcpoptions`): leaving them out would change what
    /// the rule lets through.
    pub fn parse(text: &str) -> Result<(Direction, Self), BadRule> {
        read(text).map_err(|problem| BadRule::new(text, problem))
    }

    pub(super) fn matches(&self, packet: &Packet, assigned: &[IpAddr]) -> Match {
        if !self.source.covers(packet.source, assigned) || !self.destination.covers(packet.destination, assigned) {
            return Match::No;
        }
        if self.options.later_fragment && !packet.later_fragment {
            return Match::No;
        }
        let (source_port, destination_port) = (packet.ports.map(|ports| ports.0), packet.ports.map(|ports| ports.1));
        let wants = [
            self.protocol.map(|wanted| packet.protocol.map(|protocol| protocol == wanted)),
            in_ranges(&self.source.ports, source_port),
            in_ranges(&self.destination.ports, destination_port),
            self.options.flags_fit(packet.tcp_flags),
            in_ranges(&self.options.icmp_types, packet.icmp.map(|(kind, _)| kind.into())),
            self.options.icmp_code.map(|wanted| packet.icmp.map(|(_, code)| code == wanted)),
        ];
        // Another protocol shows no ports either, but is none the less another one: No outweighs Unknown.
        match () {
            () if wants.contains(&Some(Some(false))) => Match::No,
            () if wants.contains(&Some(None)) => Match::Unknown,
            () => Match::Yes,
        }
    }
}

impl End {
    fn covers(&self, address: IpAddr, assigned: &[IpAddr]) -> bool {
        let same_family = match (&self.net, address) {
            (Net::V4 { .. }, IpAddr::V6(_)) | (Net::V6 { .. }, IpAddr::V4(_)) => false,
            (Net::Any | Net::Assigned | Net::V4 { .. } | Net::V6 { .. }, _) => true,
        };
        same_family && self.net.contains(address, assigned) != self.inverted
    }
}

impl Net {
    fn contains(&self, address: IpAddr, assigned: &[IpAddr]) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Assigned, address) => assigned.contains(&address),
            (Self::V4 { bits, mask }, IpAddr::V4(address)) => address.to_bits() & mask == *bits,
            (Self::V6 { bits, mask }, IpAddr::V6(address)) => address.to_bits() & mask == *bits,
            (Self::V4 { .. } | Self::V6 { .. }, _) => false,
        }
    }
}

impl Options {
    fn flags_fit(&self, shown: Option<u8>) -> Option<Option<bool>> {
        let (set, clear) = self.flags;
        let wanted = self.established || set | clear != 0;
        wanted.then(|| shown.map(|flags| (!self.established || flags & (RST | ACK) != 0) && flags & set == set && flags & clear == 0))
    }
}

/// `None`: nothing is wanted; an inner `None`: the packet does not show it.
fn in_ranges(wanted: &[(u16, u16)], shown: Option<u16>) -> Option<Option<bool>> {
    (!wanted.is_empty()).then(|| shown.map(|value| wanted.iter().any(|&(low, high)| (low..=high).contains(&value))))
}

/// The words of a rule, one after the other.
struct Words<'a> {
    rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn next(&mut self, wanted: &str) -> Result<&'a str, String> {
        self.rest.pop().ok_or_else(|| format!("ends where {wanted} should stand"))
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), String> {
        match self.next(&format!("{keyword:?}"))? {
            word if word == keyword => Ok(()),
            word => Err(format!("{word:?} stands where {keyword:?} should")),
        }
    }

    fn choice<T: Copy>(&mut self, choices: [(&str, T); 2]) -> Result<T, String> {
        let wanted = format!("{:?} or {:?}", choices[0].0, choices[1].0);
        let word = self.next(&wanted)?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        found.ok_or_else(|| format!("{word:?} stands where {wanted} should"))
    }
}

fn read(text: &str) -> Result<(Direction, Rule), String> {
    let lower = text.to_ascii_lowercase();
    let mut rest: Vec<_> = lower.split_ascii_whitespace().collect();
    let text = rest.join(" ");
    rest.reverse();
    let mut words = Words { rest };
    let action = words.choice([("permit", Action::Permit), ("deny", Action::Deny)])?;
    let direction = words.choice([("in", Direction::In), ("out", Direction::Out)])?;
    let protocol = protocol(words.next("a protocol")?)?;
    words.keyword("from")?;
    let source = end(&mut words, protocol)?;
    words.keyword("to")?;
    let destination = end(&mut words, protocol)?;
    let families = [&source.net, &destination.net];
    if families.iter().any(|net| matches!(net, Net::V4 { .. })) && families.iter().any(|net| matches!(net, Net::V6 { .. })) {
        return Err("goes from one IP version to the other, which no packet does".into());
    }
    protocol_is_shown(protocol, families)?;
    let options = options(&mut words, protocol)?;
    let wants_transport = options.established
        || options.flags != (0, 0)
        || [&options.icmp_types, &source.ports, &destination.ports].iter().any(|list| !list.is_empty());
    if options.later_fragment && wants_transport {
        return Err("has frag, and wants what only a first fragment shows".into());
    }
    Ok((direction, Rule { action, protocol, source, destination, options, text }))
}

fn protocol(word: &str) -> Result<Option<u8>, String> {
    if word == "ip" {
        return Ok(None);
    }
    let known = PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    let number = known.or_else(|| word.parse().ok());
    number.map(Some).ok_or_else(|| format!("{word:?} is no protocol; expected ip, a number up to 255, or one of {}", names()))
}

/// A rule about an extension header would never match in IPv6, and a deny rule so let through what it names.
pub(super) fn protocol_is_shown(protocol: Option<u8>, ends: [&Net; 2]) -> Result<(), String> {
    let hidden = protocol.is_some_and(|number| EXTENSION_HEADERS.contains(&number));
    if !hidden || ends.iter().any(|net| matches!(net, Net::V4 { .. })) {
        return Ok(());
    }
    let name = protocol_name(protocol);
    Err(format!(
        "names protocol {name}, in IPv6 an extension header, behind which filters look; give it an IPv4 network, such as 0.0.0.0/0"
    ))
}

fn names() -> String {
    PROTOCOLS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn end(words: &mut Words<'_>, protocol: Option<u8>) -> Result<End, String> {
    const ADDRESS: &str = "an address, a network, \"any\" or \"assigned\"";
    let word = words.next(ADDRESS)?;
    let (inverted, word) = match word.strip_prefix('!') {
        Some("") => (true, words.next(ADDRESS)?),
        Some(word) => (true, word),
        None => (false, word),
    };
    let net = match word {
        "any" => Net::Any,
        "assigned" => Net::Assigned,
        _ => net(word)?,
    };
    let has_ports = words.rest.last().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let ports = if has_ports { ranges(words.next("ports")?, u16::MAX)? } else { Box::default() };
    if !ports.is_empty() && protocol.is_none_or(|protocol| !WITH_PORTS.contains(&protocol)) {
        return Err("has ports, which need a protocol that has them, such as tcp or udp".into());
    }
    Ok(End { net, inverted, ports })
}

fn net(word: &str) -> Result<Net, String> {
    let (address, length) = word.split_once('/').map_or((word, None), |(address, length)| (address, Some(length)));
    let expected = || format!("{word:?} is neither an address nor a network such as 10.0.0.0/8");
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(width), |length| length.parse::<u32>().map_err(|_| expected()))?;
    if length > width {
        return Err(format!("{word:?} has a prefix longer than {width} bits"));
    }
    let fits = |net: Net, fits: bool| if fits { Ok(net) } else { Err(format!("{word:?} has bits behind its prefix")) };
    match address {
        IpAddr::V4(address) => {
            let (bits, mask) = (address.to_bits(), mask_v4(length));
            fits(Net::V4 { bits, mask }, bits & !mask == 0)
        }
        IpAddr::V6(address) => {
            let (bits, mask) = (address.to_bits(), mask_v6(length));
            fits(Net::V6 { bits, mask }, bits & !mask == 0)
        }
    }
}

fn mask_v4(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

pub(super) fn mask_v6(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

/// `80,443,8000-8099`
fn ranges(word: &str, max: u16) -> Result<Box<[(u16, u16)]>, String> {
    let number = |text: &str| {
        let value = text.parse::<u16>().ok().filter(|value| *value <= max);
        value.ok_or_else(|| format!("{word:?} is no list of numbers and ranges up to {max} such as 1,5-7"))
    };
    let mut found = Vec::new();
    for part in word.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            return Err(format!("{part:?} ends before it begins"));
        }
        found.push((low, high));
    }
    if found.len() > MAX_RANGES {
        return Err(format!("has a list of {} ranges; {MAX_RANGES} is the limit", found.len()));
    }
    Ok(found.into())
}

fn options(words: &mut Words<'_>, protocol: Option<u8>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(word) = words.rest.pop() {
        let needs = match word {
            "frag" => {
                options.later_fragment = true;
                continue;
            }
            "established" => {
                options.established = true;
                [TCP, TCP]
            }
            "setup" => {
                options.flags = (options.flags.0 | SYN, options.flags.1 | ACK);
                [TCP, TCP]
            }
            "tcpflags" => {
                let (set, clear) = flags(words.next("flags of TCP")?)?;
                options.flags = (options.flags.0 | set, options.flags.1 | clear);
                [TCP, TCP]
            }
            "icmptypes" => {
                options.icmp_types = ranges(words.next("types of ICMP")?, u8::MAX.into())?;
                [ICMP, ICMPV6]
            }
            _ => return Err(format!("{word:?} is no option; known are frag, established, setup, tcpflags and icmptypes")),
        };
        if !needs.iter().any(|needed| Some(*needed) == protocol) {
            return Err(format!("has {word}, which is of another protocol"));
        }
    }
    Ok(options)
}

/// `syn,!ack`
fn flags(word: &str) -> Result<(u8, u8), String> {
    let (mut set, mut clear) = (0, 0);
    for part in word.split(',') {
        let (wanted, name) = part.strip_prefix('!').map_or((&mut set, part), |name| (&mut clear, name));
        let bit = FLAGS.iter().position(|flag| *flag == name);
        *wanted |= 1 << bit.ok_or_else(|| format!("{part:?} is no flag of TCP; known are {}", FLAGS.join(", ")))?;
    }
    Ok((set, clear))
}

/// A network as rules write it; a mask with holes with the mask.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Assigned => f.write_str("assigned"),
            Self::V4 { bits, mask } if mask.leading_ones() == mask.count_ones() => {
                write!(f, "{}/{}", Ipv4Addr::from_bits(*bits), mask.count_ones())
            }
            Self::V4 { bits, mask } => write!(f, "{}/{}", Ipv4Addr::from_bits(*bits), Ipv4Addr::from_bits(*mask)),
            Self::V6 { bits, mask } => write!(f, "{}/{}", Ipv6Addr::from_bits(*bits), mask.count_ones()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.net)?;
        self.ports.iter().try_for_each(|(low, _)| write!(f, " {low}"))
    }
}

/// The word for a protocol.
pub(super) fn protocol_name(number: Option<u8>) -> String {
    let Some(number) = number else { return "ip".into() };
    PROTOCOLS.iter().find(|(_, known)| *known == number).map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}
