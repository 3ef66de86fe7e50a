//! Every algorithm Evergate uses, behind one door. No other crate names a crypto library.
#![deny(unsafe_code)]

pub mod cipher;
pub mod dh;
pub mod hash;
pub mod prf;
mod random;
pub mod sign;
#[cfg(test)]
mod testing;

pub use random::{Random, SeededRandom, SystemRandom};
pub use zeroize::{Zeroize, Zeroizing};

/// Compares two byte strings in time that depends on their lengths alone.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}
