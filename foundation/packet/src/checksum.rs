//! The internet checksum (RFC 1071), added up in 64 bits.

/// A running ones' complement sum.
///
/// Words are added in the byte order of the host: ones' complement addition does not mind, as long as the result is stored the same way
/// (RFC 1071 section 2 (B)).
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    pub const ZERO: Sum = Sum(0);

    /// Adds bytes. Only the last of several pieces may have an odd length. A packet's worth of pieces (64 KiB each, up to 65,536 of them)
    /// cannot overflow the sum.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut total = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        let (halves, odd) = rest.as_chunks::<2>();
        total += halves.iter().map(|half| u64::from(u16::from_ne_bytes(*half))).sum::<u64>();
        if let [last] = odd {
            total += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Sum(self.0 + total)
    }

    /// Adds a number as it stands in a header, big-endian.
    #[must_use]
    pub fn word(self, value: u16) -> Sum {
        Sum(self.0 + u64::from(value.to_be()))
    }

    /// The sum in 16 bits, as the two bytes that a header holds: what a sender leaves in the checksum field for hardware to complete.
    pub fn partial(self) -> [u8; 2] {
        self.fold().to_ne_bytes()
    }

    /// The checksum: the complement of the sum.
    pub fn finish(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The checksum as UDP sends it: zero means "none", so a computed zero is sent as 0xffff (RFC 768).
    pub fn finish_udp(self) -> [u8; 2] {
        match self.finish() {
            [0, 0] => [0xff, 0xff],
            bytes => bytes,
        }
    }

    /// True when everything added, checksum field included, adds up to minus zero.
    pub fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    fn fold(self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

/// Changes a checksum field for a 16-bit word that changed from `old` to `new` (RFC 1624 equation 3).
/// `odd`: the word starts at an odd offset from the start of the checksummed bytes.
pub fn update(checksum: &mut [u8], old: u16, new: u16, odd: bool) {
    let (old, new) = if odd { (old.swap_bytes(), new.swap_bytes()) } else { (old, new) };
    let before = u16::from_be_bytes([checksum[0], checksum[1]]);
    let mut sum = u32::from(!before) + u32::from(!old) + u32::from(new);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    checksum[..2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::slow_checksum;
    use proptest::prelude::*;

    #[test]
    fn rfc_1071_example() {
        let sum = Sum::ZERO.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.partial(), [0xdd, 0xf2]);
        assert_eq!(sum.finish(), [0x22, 0x0d]);
    }

    #[test]
    fn a_computed_zero_is_sent_as_ones_by_udp() {
        let sum = Sum::ZERO.bytes(&[0xff, 0xff]);
        assert_eq!(sum.finish(), [0, 0]);
        assert_eq!(sum.finish_udp(), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_definition(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(u16::from_be_bytes(Sum::ZERO.bytes(&bytes).finish()), slow_checksum(&bytes));
        }

        #[test]
        fn update_agrees_with_recomputing(mut bytes in prop::collection::vec(any::<u8>(), 8..64), at in 0usize..6, new: u16) {
            let mut field = Sum::ZERO.bytes(&bytes).finish();
            let old = crate::be16(&bytes, at);
            crate::put16(&mut bytes, at, new);
            update(&mut field, old, new, at % 2 == 1);
            // 0x0000 and 0xffff are the same number in ones' complement.
            prop_assert!(Sum::ZERO.bytes(&bytes).bytes(&[]).word(u16::from_be_bytes(field)).is_valid());
        }
    }
}
