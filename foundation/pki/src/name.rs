//! Distinguished names as text (RFC 4514), safe to log whatever a peer puts into them.
use std::fmt::Write;
use x509_parser::asn1_rs::Tag;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// `CN=pc1.example.test, O=Example`: the most specific part first. Control characters are escaped.
pub(crate) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(|attribute| format!("{}={}", label(attribute), escape(&value(attribute)))).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(", ")
}

/// The most specific common name.
pub(crate) fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().last().map(value).filter(|text| is_printable(text))
}

/// No control characters, nothing empty: fit to be compared and logged as a name.
pub(crate) fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn label(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    if let Ok(text) = attribute.as_str() {
        return text.to_owned();
    }
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::BmpString => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
        _ => hex(bytes, "#"),
    }
}

/// RFC 4514 section 2.4, and control characters as `\0A`.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        let at_edge = (c == ' ' && (index == 0 || index == last)) || (c == '#' && index == 0);
        if special || at_edge {
            out.push('\\');
            out.push(c);
        } else if c.is_control() {
            let mut utf8 = [0; 4];
            c.encode_utf8(&mut utf8).bytes().for_each(|byte| write!(out, "\\{byte:02X}").unwrap_or_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `*.example.test` covers one more label (RFC 6125 section 6.4.3).
pub(crate) fn wildcard_covers(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(domain), Some((label, rest))) => !label.is_empty() && rest.eq_ignore_ascii_case(domain),
        _ => false,
    }
}

/// Lower-case hexadecimal after `prefix`.
pub(crate) fn hex(bytes: &[u8], prefix: &str) -> String {
    bytes.iter().fold(prefix.to_owned(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_mislead() {
        let cases = [
            ("Example, Inc.", "Example\\, Inc."),
            ("#1", "\\#1"),
            ("C#", "C#"),
            (" a b ", "\\ a b\\ "),
            ("x\nlevel=error", "x\\0Alevel=error"),
            ("a\u{85}b", "a\\C2\\85b"),
            ("Müller", "Müller"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(escape(text), want);
        }
    }
}
