//! MS-Filter and MS-IPv6-Filter ([MS-RNAP] 2.2.1.3, which MS-Filter shares, and 2.2.1.15): what a Windows server's policy has as IP filters.
//!
//! A list of up to two sets, one a direction: filters, and what happens to packets that none of them matches (`faDefaultAction`, [MS-RRASM]
//! 2.2.1.2.5); those that one matches meet the opposite. The version, always 1, shows the order of bytes: little endian for IPv4 and big endian for
//! IPv6 as documented, but either is taken. A set is of one IP version and says nothing of the other.
use super::rule::{BadRule, End, Net, Options, Rule, mask_v6, protocol_is_shown, protocol_name};
use super::{Action, Chain, Direction, Filter, MAX_RULES};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Version, size, number of entries.
const HEADER: usize = 12;
const ENTRY: usize = 16;
/// Version, number of filters, action.
const SET: usize = 12;

const SOURCE_ADDRESS: u32 = 0x01;
const DESTINATION_ADDRESS: u32 = 0x04;
const SOURCE_MASK: u32 = 0x10;
const DESTINATION_MASK: u32 = 0x20;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// What Windows writes for "TCP (established)", which no document describes.
const UNDOCUMENTED: u32 = 0x86;

/// Any type, any code of ICMP.
const ANY_ICMP: u16 = 0xff;

/// The IP version of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// MS-Filter, vendor type 22.
    Ipv4,
    /// MS-IPv6-Filter, vendor type 51.
    Ipv6,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "MS-Filter",
            Self::Ipv6 => "MS-IPv6-Filter",
        }
    }

    /// Length of a filter.
    fn filter_len(self) -> usize {
        match self {
            Self::Ipv4 => 28,
            Self::Ipv6 => 52,
        }
    }

    fn direction(self, info_type: u32) -> Option<Direction> {
        match (self, info_type) {
            (Self::Ipv4, 0xffff_0001) | (Self::Ipv6, 0xffff_0011) => Some(Direction::In),
            (Self::Ipv4, 0xffff_0002) | (Self::Ipv6, 0xffff_0012) => Some(Direction::Out),
            _ => None,
        }
    }
}

/// Reads the values of all attributes of a reply, concatenated in their order.
///
/// # Errors
/// What is not of this form, and filters that are not known here: whoever sent them expects them to hold.
pub fn parse(family: Family, value: &[u8]) -> Result<Filter, BadRule> {
    read(family, value).map_err(|problem| BadRule { rule: family.name().into(), problem })
}

/// The bytes, and their order.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
        found.ok_or_else(|| format!("ends at byte {} where {N} more should stand from {at} on", self.bytes.len()))
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        let bytes = self.array(at)?;
        Ok(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        let bytes = self.array(at)?;
        Ok(if self.little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn part(&self, at: usize, length: usize) -> Result<Self, String> {
        let bytes = at.checked_add(length).and_then(|end| self.bytes.get(at..end));
        let bytes: &'a [u8] = bytes.ok_or_else(|| format!("has {} bytes, and wants {length} from {at} on", self.bytes.len()))?;
        Ok(Self { bytes, ..*self })
    }
}

fn read(family: Family, value: &[u8]) -> Result<Filter, String> {
    let little_endian = match value.first_chunk::<4>() {
        Some([1, 0, 0, 0]) => true,
        Some([0, 0, 0, 1]) => false,
        _ => return Err("is not of version 1".into()),
    };
    let all = Bytes { bytes: value, little_endian };
    let all = all.part(0, index(all.u32(4)?))?;
    let mut chains = [None, None];
    let entries = index(all.u32(8)?);
    if entries == 0 {
        return Err("has no filters".into());
    }
    for entry in 0..entries.min(value.len()) {
        let entry = all.part(HEADER.saturating_add(entry.saturating_mul(ENTRY)), ENTRY)?;
        let (info_type, size, sets, offset) = (entry.u32(0)?, index(entry.u32(4)?), entry.u32(8)?, index(entry.u32(12)?));
        let direction = family.direction(info_type);
        let direction = direction.ok_or_else(|| format!("has filters of type {info_type:#010x}, neither input nor output"))?;
        if size == 0 && sets == 0 {
            continue;
        }
        if sets != 1 {
            return Err(format!("has {sets} sets of filters for one direction; one is expected"));
        }
        let chain = &mut chains[usize::from(direction == Direction::Out)];
        if chain.is_some() {
            return Err(format!("has two entries for the direction {direction}"));
        }
        *chain = Some(set(family, direction, all.part(offset, size)?)?);
    }
    let [input, output] = chains.map(|chain| chain.unwrap_or_else(Chain::open));
    Ok(Filter { name: family.name().into(), input, output })
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn set(family: Family, direction: Direction, bytes: Bytes<'_>) -> Result<Chain, String> {
    let (version, count) = (bytes.u32(0)?, index(bytes.u32(4)?));
    if version != 1 {
        return Err(format!("has a set of version {version}; only 1 is defined"));
    }
    let otherwise = match bytes.u32(8)? {
        0 => Action::Permit,
        1 => Action::Deny,
        action => return Err(format!("has the action {action}, neither forward (0) nor drop (1)")),
    };
    if count > MAX_RULES {
        return Err(format!("has {count} filters; {MAX_RULES} is the limit"));
    }
    let length = family.filter_len();
    let rules = (0..count).map(|number| rule(family, direction, otherwise.opposite(), bytes.part(SET + number * length, length)?));
    let mut chain = Chain::new(rules.collect::<Result<_, _>>()?, Some(otherwise));
    chain.default[usize::from(family == Family::Ipv4)] = Action::Permit;
    Ok(chain)
}

fn rule(family: Family, direction: Direction, action: Action, bytes: Bytes<'_>) -> Result<Rule, String> {
    let (source, destination, rest) = match family {
        Family::Ipv4 => (net_v4(bytes, 0)?, net_v4(bytes, 8)?, 16),
        Family::Ipv6 => (net_v6(bytes, 0)?, net_v6(bytes, 20)?, 40),
    };
    let late = bytes.u32(rest + 4)?;
    let (source, destination) = bind(direction, late, source, destination)?;
    let protocol = protocol(family, bytes.u32(rest)?)?;
    protocol_is_shown(protocol, [&source, &destination])?;
    let mut rule = Rule {
        action,
        protocol,
        source: End { net: source, inverted: false, ports: Box::default() },
        destination: End { net: destination, inverted: false, ports: Box::default() },
        options: Options::default(),
        text: String::new(),
    };
    let at = rest + 8;
    let raw = (bytes.u16(at)?, bytes.u16(at + 2)?);
    match protocol {
        Some(TCP | UDP) => {
            let port =
                |at| bytes.array(at).map(u16::from_be_bytes).map(|port| if port == 0 { Box::default() } else { [(port, port)].into() });
            (rule.source.ports, rule.destination.ports) = (port(at)?, port(at + 2)?);
        }
        Some(ICMP | ICMPV6) => rule.options = icmp(raw)?,
        _ if raw == (0, 0) => {}
        _ => return Err(format!("has ports for protocol {}, which has none", protocol_name(protocol))),
    }
    rule.text = text(direction, &rule);
    Ok(rule)
}

fn protocol(family: Family, number: u32) -> Result<Option<u8>, String> {
    if family == Family::Ipv6 && number == ICMP.into() {
        return Err("has ICMP for IPv4 in a filter for IPv6, where it is ICMPv6 (58)".into());
    }
    match u8::try_from(number) {
        Ok(0) => Ok(None),
        Ok(protocol) if number != UNDOCUMENTED => Ok(Some(protocol)),
        _ => Err(format!("has the protocol {number:#x}, whose meaning is not documented (TCP established)")),
    }
}

fn icmp((kind, code): (u16, u16)) -> Result<Options, String> {
    let byte = |value: u16| u8::try_from(value).map_err(|_| format!("has {value:#x} as type or code of ICMP"));
    let (kind_byte, code_byte) = (byte(kind)?, byte(code)?);
    Ok(Options {
        icmp_types: if kind == ANY_ICMP { Box::default() } else { [(kind_byte.into(), kind_byte.into())].into() },
        icmp_code: (code != ANY_ICMP).then_some(code_byte),
        ..Options::default()
    })
}

/// Puts the client's addresses where the server left their place open.
fn bind(direction: Direction, late: u32, source: Net, destination: Net) -> Result<(Net, Net), String> {
    let (address, mask) = match direction {
        Direction::In => (SOURCE_ADDRESS, SOURCE_MASK),
        Direction::Out => (DESTINATION_ADDRESS, DESTINATION_MASK),
    };
    match late {
        0 => Ok((source, destination)),
        _ if late & !(address | mask) != 0 || late & address == 0 => {
            Err(format!("leaves fields open ({late:#x}) that are not the client's address in packets of the direction {direction}"))
        }
        _ if direction == Direction::In => Ok((Net::Assigned, destination)),
        _ => Ok((source, Net::Assigned)),
    }
}

fn net_v4(bytes: Bytes<'_>, at: usize) -> Result<Net, String> {
    let (address, mask) = (u32::from_be_bytes(bytes.array(at)?), u32::from_be_bytes(bytes.array(at + 4)?));
    // Any address, but of this IP version alone.
    let mask = if address == Ipv4Addr::UNSPECIFIED.to_bits() { 0 } else { mask };
    Ok(Net::V4 { bits: address & mask, mask })
}

fn net_v6(bytes: Bytes<'_>, at: usize) -> Result<Net, String> {
    let (address, length) = (u128::from_be_bytes(bytes.array(at)?), bytes.u32(at + 16)?);
    if length > 128 {
        return Err(format!("has a prefix of {length} bits"));
    }
    let mask = if address == Ipv6Addr::UNSPECIFIED.to_bits() { 0 } else { mask_v6(length) };
    Ok(Net::V6 { bits: address & mask, mask })
}

/// The filter in the words of RFC 6733, for people.
fn text(direction: Direction, rule: &Rule) -> String {
    let mut text = format!("{} {direction} {} from {} to {}", rule.action, protocol_name(rule.protocol), rule.source, rule.destination);
    if let Some((kind, _)) = rule.options.icmp_types.first() {
        text.push_str(&format!(" icmptypes {kind}"));
    }
    if let Some(code) = rule.options.icmp_code {
        text.push_str(&format!(" code {code}"));
    }
    text
}
