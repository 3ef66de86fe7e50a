//! The failure text of MS-CHAPv2 (RFC 2759 section 6): `E=691 R=1 C=<32 hexadecimal digits> V=3 M=<text>`.

/// The password has expired.
pub(super) const EXPIRED: u32 = 648;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Failure {
    pub(super) error: u32,
    pub(super) retry: bool,
    pub(super) challenge: Option<[u8; 16]>,
    pub(super) version: u32,
}

impl Failure {
    /// Reads what is there; nothing is guessed.
    pub(super) fn parse(message: &str) -> Self {
        let mut failure = Self::default();
        for word in message.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("E", value)) => failure.error = value.parse().unwrap_or(0),
                Some(("R", value)) => failure.retry = value == "1",
                Some(("C", value)) => failure.challenge = challenge(value),
                Some(("V", value)) => failure.version = value.parse().unwrap_or(0),
                Some(("M", _)) => break,
                _ => {}
            }
        }
        failure
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
        let failure = Failure::parse("E=691 R=1 C=000102030405060708090A0B0C0D0E0f V=3 M=Authentication failure R=0");
        let challenge = Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(failure, Failure { error: 691, retry: true, challenge, version: 3 });
    }

    #[test]
    fn what_is_missing_or_broken_allows_nothing() {
        for message in ["", "M=E=648 R=1", "E= R=2 C=00 V=x", "E=691 R=0", "E=691 C=+0010203040506070809 0A0B0C0D0E0F"] {
            let failure = Failure::parse(message);
            assert!(!failure.retry && failure.challenge.is_none() && !failure.allows_change(), "{message}: {failure:?}");
        }
        assert!(Failure::parse("E=691 C=+1020304050607080900102030405060").challenge.is_none());
        assert!(Failure::parse("E=648 R=0 V=3").allows_change());
        assert!(!Failure::parse("E=648 R=0 V=2").allows_change());
    }
}
