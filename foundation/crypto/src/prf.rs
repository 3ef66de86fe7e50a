//! The IKEv2 pseudorandom functions and prf+ (RFC 7296 section 2.13).
use zeroize::Zeroizing;

/// Transform type 2, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prf {
    HmacSha1 = 2,
    HmacSha256 = 5,
    HmacSha384 = 6,
    HmacSha512 = 7,
}

impl Prf {
    /// Output length, which is also the preferred key length, in bytes.
    pub fn len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// prf(key, parts concatenated).
    pub fn compute(self, _key: &[u8], _parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        todo!()
    }

    /// prf+(key, seed parts concatenated), the first `len` bytes (at most 255 blocks).
    pub fn plus(self, _key: &[u8], _seed: &[&[u8]], _len: usize) -> Zeroizing<Vec<u8>> {
        todo!()
    }
}
