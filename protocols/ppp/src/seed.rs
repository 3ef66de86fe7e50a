//! What becomes of the random bytes that a link is given.

/// How often one link may authenticate.
pub(crate) const AUTHENTICATIONS: usize = 3;

/// Passwords that one client may try in one authentication, whatever RADIUS allows.
pub(crate) const ATTEMPTS: usize = 6;

/// Random bytes that a link needs: 16 for magic numbers and the interface identifier, and a challenge for each attempt of each authentication.
pub const SEED_LENGTH: usize = 16 + CHALLENGE * AUTHENTICATIONS * ATTEMPTS;

const CHALLENGE: usize = 16;

/// Random bytes of one link.
pub type Seed = [u8; SEED_LENGTH];

/// The challenges of one authentication, one for each attempt.
pub(crate) type Challenges = [[u8; CHALLENGE]; ATTEMPTS];

/// The challenges of the n-th authentication of a link.
pub(crate) fn challenges(seed: &Seed, round: usize) -> Challenges {
    let round = round.min(AUTHENTICATIONS - 1);
    std::array::from_fn(|attempt| {
        let start = 16 + CHALLENGE * (attempt * AUTHENTICATIONS + round);
        std::array::from_fn(|at| seed[start + at])
    })
}

/// Our interface identifier: not zero, not "universal" (RFC 5072 section 4.1), and not the client's.
pub(crate) fn interface(seed: &Seed, theirs: [u8; 8]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&seed[8..16]);
    id[0] &= !0x02;
    while id == [0; 8] || id == theirs {
        id[7] = id[7].wrapping_add(1);
    }
    id
}

/// Magic numbers: they must differ from each other and between the two ends, no more (RFC 1661 section 6.4).
#[derive(Debug, Clone)]
pub(crate) struct Magic(u64);

impl Magic {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut state = [0; 8];
        state.copy_from_slice(&seed[..8]);
        Self(u64::from_be_bytes(state))
    }

    /// Never zero.
    pub(crate) fn next(&mut self) -> u32 {
        let magic = (self.0 >> 32) as u32;
        // The constants of a full-period linear congruential generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        magic.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_seed_do_not_overlap() {
        let seed: Seed = std::array::from_fn(|at| (at % 251) as u8);
        assert_eq!(challenges(&seed, 0)[0], [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]);
        assert_eq!(challenges(&seed, 2)[0][15], 63);
        assert_eq!(challenges(&seed, 0)[1][0], 64);
        let all: std::collections::BTreeSet<_> = (0..AUTHENTICATIONS).flat_map(|round| challenges(&seed, round)).collect();
        assert_eq!((all.len(), challenges(&seed, 2)[5][15]), (AUTHENTICATIONS * ATTEMPTS, seed[SEED_LENGTH - 1]));
        assert_eq!(interface(&seed, [0; 8]), [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(Magic::new(&seed).next(), 0x0001_0203);
    }

    #[test]
    fn no_identifier_is_zero_universal_or_taken() {
        assert_eq!(interface(&[0; SEED_LENGTH], [0; 8]), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(interface(&[0; SEED_LENGTH], [0, 0, 0, 0, 0, 0, 0, 1]), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(interface(&[0xFF; SEED_LENGTH], [0; 8])[0], 0xFD);
    }

    #[test]
    fn magic_numbers_differ_even_from_a_seed_of_zeros() {
        let mut magic = Magic::new(&[0; SEED_LENGTH]);
        let numbers: std::collections::BTreeSet<_> = (0..100).map(|_| magic.next()).collect();
        assert_eq!(numbers.len(), 100);
        assert!(!numbers.contains(&0));
    }
}
