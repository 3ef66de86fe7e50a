//! DHCP options: read from three fields (RFC 2132 section 9.3), put together from their pieces and cut into pieces (RFC 3396).
use super::FIXED_LEN;
use crate::Malformed;
use std::collections::BTreeMap;

pub(super) mod code {
    pub(in super::super) const PAD: u8 = 0;
    pub(in super::super) const DNS: u8 = 6;
    pub(in super::super) const HOST_NAME: u8 = 12;
    pub(in super::super) const DOMAIN_NAME: u8 = 15;
    pub(in super::super) const NBNS: u8 = 44;
    pub(in super::super) const OVERLOAD: u8 = 52;
    pub(in super::super) const MESSAGE_TYPE: u8 = 53;
    pub(in super::super) const SERVER_IDENTIFIER: u8 = 54;
    pub(in super::super) const PARAMETER_REQUEST_LIST: u8 = 55;
    pub(in super::super) const MAXIMUM_SIZE: u8 = 57;
    pub(in super::super) const VENDOR_CLASS: u8 = 60;
    pub(in super::super) const CLIENT_IDENTIFIER: u8 = 61;
    /// RFC 3397.
    pub(in super::super) const DOMAIN_SEARCH: u8 = 119;
    /// RFC 3442.
    pub(in super::super) const ROUTES: u8 = 121;
    /// MS-DHCPE: coded like 121.
    pub(in super::super) const MICROSOFT_ROUTES: u8 = 249;
    pub(in super::super) const END: u8 = 255;
}

const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const OVERLOAD_FILE: u8 = 1;
const OVERLOAD_SNAME: u8 = 2;

/// All options by code, those in several pieces joined. Values are not looked at: the user class of RRAS clients, for one, is text
/// without the inner lengths of RFC 3004 (MS-DHCPE 2.2.6.1).
pub(super) fn parse(fixed: &[u8; FIXED_LEN], options: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, Malformed> {
    let mut found = BTreeMap::new();
    parse_field(options, &mut found)?;
    let overload = match found.get(&code::OVERLOAD).map(Vec::as_slice) {
        None => 0,
        Some([fields @ 1..=3]) => *fields,
        Some(_) => return Err(Malformed::DhcpValue(code::OVERLOAD)),
    };
    if overload & OVERLOAD_FILE != 0 {
        parse_field(&fixed[FILE], &mut found)?;
    }
    if overload & OVERLOAD_SNAME != 0 {
        parse_field(&fixed[SNAME], &mut found)?;
    }
    Ok(found)
}

/// A field may end without an end option.
fn parse_field(mut field: &[u8], found: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), Malformed> {
    while let Some((&code, rest)) = field.split_first() {
        match code {
            code::END => return Ok(()),
            code::PAD => field = rest,
            _ => {
                let option = rest.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)));
                let (value, rest) = option.ok_or(Malformed::DhcpOption(code))?;
                found.entry(code).or_default().extend(value);
                field = rest;
            }
        }
    }
    Ok(())
}

/// Writes options into a limited number of bytes, the end option included.
pub(super) struct Writer {
    bytes: Vec<u8>,
    limit: usize,
    left_out: usize,
}

impl Writer {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit: limit - 1, left_out: 0 }
    }

    /// An option whose value is these parts in a row. What exceeds 255 bytes goes on in a further option of the same code, cut between
    /// parts: so a client reads it rightly that joins the pieces (RFC 3396), and one that takes each by itself. Parts without room are
    /// counted and left out.
    pub(super) fn put<T: AsRef<[u8]>>(&mut self, code: u8, parts: &[T]) {
        let mut length_at = None;
        for (index, part) in parts.iter().map(AsRef::as_ref).enumerate() {
            let is_open = length_at.is_some_and(|at: usize| usize::from(self.bytes[at]) + part.len() <= 255);
            let needed = part.len() + if is_open { 0 } else { 2 };
            if part.len() > 255 || self.bytes.len() + needed > self.limit {
                self.left_out += parts.len() - index;
                return;
            }
            if !is_open {
                self.bytes.extend([code, 0]);
                length_at = Some(self.bytes.len() - 1);
            }
            self.bytes.extend(part);
            // At most 255, as checked above.
            if let Some(at) = length_at {
                self.bytes[at] += part.len() as u8;
            }
        }
    }

    /// The options, the end option behind them, and how many parts were left out.
    pub(super) fn finish(mut self) -> (Vec<u8>, usize) {
        self.bytes.push(code::END);
        (self.bytes, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> [u8; FIXED_LEN] {
        [0; FIXED_LEN]
    }

    #[test]
    fn pads_and_pieces() {
        let found = parse(&fixed(), b"\0\x37\x02\x06\x0f\0\0\x37\x01\xf9\x4d\x0eRRAS.Microsoft\xff\x35\xff").unwrap();
        assert_eq!(found[&code::PARAMETER_REQUEST_LIST], [6, 15, 249]);
        assert_eq!(found[&77], b"RRAS.Microsoft");
        assert!(!found.contains_key(&code::MESSAGE_TYPE), "behind the end");
        assert_eq!(parse(&fixed(), b"").unwrap().len(), 0);
    }

    #[test]
    fn options_in_file_and_sname_come_after_the_others_in_this_order() {
        let mut fixed = fixed();
        fixed[FILE.start..FILE.start + 4].copy_from_slice(b"\x37\x01\x02\xff");
        fixed[SNAME.start..SNAME.start + 4].copy_from_slice(b"\x37\x01\x03\xff");
        let list = |overload: u8| {
            let found = parse(&fixed, &[code::OVERLOAD, 1, overload, 55, 1, 1, code::END]).unwrap();
            found[&code::PARAMETER_REQUEST_LIST].clone()
        };
        assert_eq!((list(1), list(2), list(3)), (vec![1, 2], vec![1, 3], vec![1, 2, 3]));
        assert_eq!(parse(&fixed, &[code::OVERLOAD, 1, 4]), Err(Malformed::DhcpValue(code::OVERLOAD)));
        fixed[FILE].fill(1);
        fixed[FILE.end - 2..FILE.end].fill(code::PAD);
        assert_eq!(parse(&fixed, &[code::OVERLOAD, 1, 1]).map(|found| found[&1].len()), Ok(42));
        fixed[FILE.end - 1] = 9;
        assert_eq!(parse(&fixed, &[code::OVERLOAD, 1, 1]).map(|found| found.len()), Err(Malformed::DhcpOption(9)));
    }

    #[test]
    fn truncated_options_are_named() {
        assert_eq!(parse(&fixed(), &[55]), Err(Malformed::DhcpOption(55)));
        assert_eq!(parse(&fixed(), &[53, 1, 8, 55, 3, 1, 2]), Err(Malformed::DhcpOption(55)));
    }

    #[test]
    fn long_values_are_cut_between_parts() {
        let mut writer = Writer::new(600);
        writer.put(121, &vec![[7; 8]; 40]);
        let (bytes, left_out) = writer.finish();
        assert_eq!((bytes.len(), left_out), (2 + 248 + 2 + 72 + 1, 0));
        assert_eq!((bytes[0], bytes[1], bytes[250], bytes[251], bytes[324]), (121, 248, 121, 72, 255));
        assert_eq!(parse(&fixed(), &bytes).unwrap()[&121].len(), 320);
    }

    #[test]
    fn the_limit_includes_the_end() {
        for limit in 1..40 {
            let mut writer = Writer::new(limit);
            writer.put(121, &[[7; 8]; 3]);
            let (bytes, left_out) = writer.finish();
            let fit = (limit.saturating_sub(3) / 8).min(3);
            assert_eq!((bytes.len(), left_out), (if fit == 0 { 1 } else { 3 + 8 * fit }, 3 - fit));
        }
    }
}
