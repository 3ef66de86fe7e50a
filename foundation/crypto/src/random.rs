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
    fn fill(&mut self, _out: &mut [u8]) {
        todo!()
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
}

impl Random for SeededRandom {
    fn fill(&mut self, _out: &mut [u8]) {
        todo!()
    }
}
