//! The failure text of MS-CHAPv2 (RFC 2759 section 6): `E=691 R=1 C=<32 hexadecimal digits> V=3 M=<text>`.

/// The password has expired.
pub(super) const EXPIRED: u32 = 648;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Failure {
    pub(super) error: u32,
    pub(super) retry: bool,
    pub(super) challenge: Option<[u8; 16]>,
    pub(super) version: u32,
    /// There is a `C=`, be it readable or not.
    names_challenge: bool,
    /// Where a challenge belongs that is missing: behind these octets.
    head: usize,
}

impl Failure {
    /// Reads what is there; nothing is guessed.
    pub(super) fn parse(message: &[u8]) -> Self {
        let mut failure = Self::default();
        let mut begin = 0;
        for word in message.split(u8::is_ascii_whitespace) {
            let end = begin + word.len();
            begin = end + 1;
            let (name, value) = word.split_at(word.len().min(2));
            let value = std::str::from_utf8(value).unwrap_or_default();
            match name {
                b"E=" => (failure.error, failure.head) = (value.parse().unwrap_or(0), end),
                b"R=" => (failure.retry, failure.head) = (value == "1", end),
                b"C=" => (failure.challenge, failure.names_challenge) = (challenge(value), true),
                b"V=" => failure.version = value.parse().unwrap_or(0),
                b"M=" => break,
                _ => {}
            }
        }
        failure
    }

    /// Its challenge can be read, or there is none.
    pub(super) fn comes_whole(&self) -> bool {
        self.challenge.is_some() || !self.names_challenge
    }

    /// The text that this was read from, with the challenge that it lacks.
    pub(super) fn with_challenge(&self, message: &[u8], challenge: [u8; 16]) -> Vec<u8> {
        if self.names_challenge {
            return message.to_vec();
        }
        let (head, rest) = message.split_at(self.head);
        [head, format!(" C={:032X}", u128::from_be_bytes(challenge)).as_bytes(), rest].concat()
    }

    /// The client may send Change-Password, version 3 of the protocol that MS-CHAPv2 speaks.
    pub(super) fn allows_change(&self) -> bool {
        self.error == EXPIRED && self.version == 3
    }
}

fn challenge(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut challenge = [0; 16];
    for (at, byte) in challenge.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_failure_is_read() {
        let text = b"E=691 R=1 C=000102030405060708090A0B0C0D0E0f V=3 M=Authentication failure R=0";
        let failure = Failure::parse(text);
        let challenge = Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!((failure.error, failure.retry, failure.challenge, failure.version), (691, true, challenge, 3));
        assert_eq!(failure.with_challenge(text, [7; 16]), text);
    }

    #[test]
    fn what_is_missing_or_broken_allows_nothing() {
        for message in ["", "M=E=648 R=1", "E= R=2 C=00 V=x", "E=691 R=0", "E=691 C=+0010203040506070809 0A0B0C0D0E0F"] {
            let failure = Failure::parse(message.as_bytes());
            assert!(!failure.retry && failure.challenge.is_none() && !failure.allows_change(), "{message}: {failure:?}");
        }
        let broken = Failure::parse(b"E=691 C=+1020304050607080900102030405060");
        assert!(broken.challenge.is_none() && !broken.comes_whole());
        assert!(Failure::parse(b"E=648 R=0 V=3").allows_change());
        assert!(!Failure::parse(b"E=648 R=0 V=2").allows_change());
    }

    #[test]
    fn a_challenge_that_is_missing_goes_before_the_version() {
        for (text, whole) in [
            (&b"E=648 R=0 V=3"[..], &b"E=648 R=0 C=000102030405060708090A0B0C0D0E0F V=3"[..]),
            (b"E=691 R=1", b"E=691 R=1 C=000102030405060708090A0B0C0D0E0F"),
            (b"E=648 V=3 M=\xfc R=1", b"E=648 C=000102030405060708090A0B0C0D0E0F V=3 M=\xfc R=1"),
        ] {
            let failure = Failure::parse(text);
            assert!(failure.comes_whole());
            let given = failure.with_challenge(text, std::array::from_fn(|at| at as u8));
            assert_eq!(given, whole, "{}", given.escape_ascii());
        }
    }
}
