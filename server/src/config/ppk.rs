//! `[[ppk]]`: postquantum preshared keys (RFC 8784).
use super::error::ConfigError;
use super::files;
use super::reader::{Root, Section, text};
use super::values;
use crypto::Zeroizing;
use ike::ppk::Ppk;

const PPK: &[&str] = &["name", "id", "secret_file"];

/// Bytes: RFC 8784 section 6 asks for 256 bits of entropy.
const GOOD_SECRET: usize = 32;

/// Bytes of a PPK_ID: it has to fit into a notify of a message that may not be fragmented.
const MAX_ID: usize = 255;

pub(super) fn keys(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<Ppk>, ConfigError> {
    let mut keys: Vec<Ppk> = Vec::new();
    for section in root.sections("ppk", PPK)? {
        let ppk = key(&section, warnings)?;
        if keys.iter().any(|known| known.id == ppk.id) {
            return Err(section.error("id", format!("{:?} is the id of another [[ppk]] as well", ppk.name())));
        }
        keys.push(ppk);
    }
    Ok(keys)
}

fn key(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<Ppk, ConfigError> {
    let id = section.optional("id", "the PPK_ID that clients send, 1 to 255 bytes", |value| values::non_empty(text(value)?))?;
    let id = id.map_or_else(|| section.name(), Ok)?;
    if id.len() > MAX_ID {
        return Err(section.error("id", format!("has {} bytes; expected at most {MAX_ID}", id.len())));
    }
    let secret = decode(section, files::read_secret_line(section, "secret_file", "the key", warnings)?)?;
    if secret.len() < GOOD_SECRET {
        let length = secret.len();
        let title = section.title();
        warnings
            .push(format!("{title}: the key has {length} bytes; it resists a quantum computer with {GOOD_SECRET} or more, made at random"));
    }
    Ok(Ppk { id: id.into_bytes(), secret })
}

/// Text as it stands, or `0x` and hexadecimal digits, as strongSwan writes binary keys.
fn decode(section: &Section<'_>, line: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let Some(digits) = line.strip_prefix(b"0x") else { return Ok(line) };
    let nibble = |digit: &u8| char::from(*digit).to_digit(16);
    // Two digits make one byte, which fits.
    let byte = |pair: &[u8; 2]| Some((nibble(&pair[0])? << 4 | nibble(&pair[1])?) as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for pair in pairs {
        bytes.extend(byte(pair));
    }
    if bytes.is_empty() || bytes.len() != pairs.len() || !rest.is_empty() {
        return Err(section.error("secret_file", "begins with 0x, but what follows is no even number of hexadecimal digits"));
    }
    Ok(bytes)
}
