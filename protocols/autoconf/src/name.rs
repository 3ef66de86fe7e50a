//! Domain names as text and in the form of DNS messages (RFC 1035 section 3.1).

const MAX_LABEL: usize = 63;
/// As text; one more byte of length and the root make the 255 of RFC 1035.
const MAX_NAME: usize = 253;

/// True for a name that can be told as a suffix: labels of letters, digits, hyphens and underscores, 63 bytes at most, 253 in all, with
/// or without a dot at the end. Other scripts are written in their ASCII form (`xn--`).
pub fn is_domain_name(text: &str) -> bool {
    let text = trimmed(text);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= MAX_NAME && text.split('.').all(is_label)
}

/// The suffix as text, if it is a domain name.
pub(crate) fn text(suffix: Option<&str>) -> Option<&str> {
    suffix.filter(|suffix| is_domain_name(suffix)).map(trimmed)
}

/// The suffix as a list of one name in wire form, without compression (RFC 3397, RFC 8106 section 5.2, RFC 8415 section 10).
pub(crate) fn wire(suffix: Option<&str>) -> Option<Vec<u8>> {
    let mut wire: Vec<u8> = text(suffix)?.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    Some(wire)
}

fn trimmed(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_wire_form() {
        assert_eq!(wire(Some("corp.example.test")).unwrap(), b"\x04corp\x07example\x04test\0");
        assert_eq!(wire(Some("corp.")).unwrap(), b"\x04corp\0");
        assert_eq!(text(Some("Corp.Example.")), Some("Corp.Example"));
        assert_eq!(wire(None), None);
    }

    #[test]
    fn what_is_no_name_is_not_told() {
        for text in
            ["", ".", "..", "a..b", ".a", "a b", "b\u{fc}ro.test", "a,b", "a\0", &"a".repeat(64), &"a.".repeat(127).replace("a.a", "ab.a")]
        {
            assert!(!is_domain_name(text), "{text:?}");
            assert_eq!(wire(Some(text)), None);
        }
        let longest = format!("{}{}", "a.".repeat(126), "a");
        assert_eq!((longest.len(), wire(Some(&longest)).unwrap().len()), (253, 255));
        assert!(!is_domain_name(&format!("{longest}a")));
        assert!(is_domain_name(&"a".repeat(63)));
        assert!(is_domain_name("_ldap.xn--bro-hoa.test"));
    }
}
