//! Randomness as an argument: pure crates take `&mut dyn Random`, the server hands in [`SystemRandom`], simulations a [`SeededRandom`].

/// A source of unpredictable bytes.
pub trait Random: Send {
    /// Fills all of `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        // AWS-LC blocks until the kernel has entropy and aborts the process when it cannot get any: an error never reaches us, and
        // going on without randomness would be worse than ending.
        aws_lc_rs::rand::fill(out).expect("the operating system's generator yields bytes");
    }
}

/// A reproducible generator for simulation: the same seed gives the same bytes. Never for production keys.
#[derive(Debug, Clone)]
pub struct SeededRandom {
    pub(crate) state: u64,
}

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the reference implementation of SplitMix64 with seed 1234567.
    #[test]
    fn seeded_is_splitmix64() {
        let mut random = SeededRandom::new(1_234_567);
        let mut out = [0; 24];
        random.fill(&mut out);
        let words: Vec<u64> = out.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(words, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn seeds_differ() {
        let (mut a, mut b) = ([0; 17], [0; 17]);
        SeededRandom::new(1).fill(&mut a);
        SeededRandom::new(2).fill(&mut b);
        assert_ne!(a, b);
        SeededRandom::new(1).fill(&mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn system_fills_all() {
        let mut out = [0; 64];
        SystemRandom.fill(&mut out);
        assert!(out.chunks(16).all(|chunk| chunk != [0; 16]));
    }
}
