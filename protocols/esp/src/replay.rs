//! The anti-replay window: a ring of bitmap words, so that moving it never shifts bits (the idea of RFC 6479), and the high half of
//! extended sequence numbers (RFC 4303 appendix A).

/// Packets that the window looks back, by default.
pub const DEFAULT_WINDOW: u32 = 4096;
pub const MIN_WINDOW: u32 = 32;
pub const MAX_WINDOW: u32 = 1 << 20;

/// Which sequence numbers have been seen.
#[derive(Debug)]
pub struct ReplayWindow {
    /// One word more than the window needs, rounded up to a power of two.
    words: Box<[u64]>,
    /// The highest number seen.
    top: u64,
    window: u64,
}

impl ReplayWindow {
    /// `window` is brought into [`MIN_WINDOW`]..=[`MAX_WINDOW`].
    pub fn new(window: u32) -> Self {
        let window = u64::from(window.clamp(MIN_WINDOW, MAX_WINDOW));
        let words = (window.div_ceil(64) + 1).next_power_of_two();
        Self { words: vec![0; words as usize].into_boxed_slice(), top: 0, window }
    }

    /// True when the number is neither seen nor too old. Zero is never valid.
    pub fn is_new(&self, sequence: u64) -> bool {
        if sequence > self.top {
            return true;
        }
        let in_window = sequence != 0 && self.top - sequence < self.window;
        in_window && self.words[self.word(sequence)] & bit(sequence) == 0
    }

    /// Marks an authenticated number as seen. False when it is a replay after all.
    pub fn commit(&mut self, sequence: u64) -> bool {
        if !self.is_new(sequence) {
            return false;
        }
        if sequence > self.top {
            self.advance(sequence);
        }
        let word = self.word(sequence);
        self.words[word] |= bit(sequence);
        true
    }

    /// The whole number whose low half is `low`, for the window as it stands; `None` when it would lie before the first number.
    pub fn infer(&self, low: u32) -> Option<u64> {
        let (top_low, top_high) = (self.top as u32, self.top >> 32);
        let bottom = top_low.wrapping_sub(self.window as u32 - 1);
        let high = if u64::from(top_low) >= self.window - 1 {
            // The window lies within one subspace: what is below it belongs to the next.
            if low >= bottom { top_high } else { top_high.checked_add(1)? }
        } else if low >= bottom {
            // The window reaches back into the subspace before.
            top_high.checked_sub(1)?
        } else {
            top_high
        };
        (high <= u64::from(u32::MAX)).then(|| high << 32 | u64::from(low))
    }

    fn advance(&mut self, sequence: u64) {
        let fresh = ((sequence / 64) - (self.top / 64)).min(self.words.len() as u64);
        let mask = self.words.len() - 1;
        for step in 1..=fresh {
            self.words[((self.top / 64 + step) as usize) & mask] = 0;
        }
        self.top = sequence;
    }

    fn word(&self, sequence: u64) -> usize {
        (sequence / 64) as usize & (self.words.len() - 1)
    }

    /// The highest number seen; 0 before the first.
    pub fn top(&self) -> u64 {
        self.top
    }
}

fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The definition: seen numbers as a set.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u64>,
        top: u64,
    }

    impl Model {
        fn commit(&mut self, sequence: u64, window: u64) -> bool {
            let too_old = sequence == 0 || (sequence <= self.top && self.top - sequence >= window);
            if too_old || !self.seen.insert(sequence) {
                return false;
            }
            self.top = self.top.max(sequence);
            true
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            window in prop::sample::select(vec![32u32, 63, 64, 65, 128, 1000, 4096]),
            start in prop::sample::select(vec![0u64, 1, 4000, u64::from(u32::MAX) - 50]),
            moves in prop::collection::vec(prop_oneof![-70i64..70, -5000i64..5000, Just(0i64), Just(1), Just(100_000)], 1..300),
        ) {
            let mut ring = ReplayWindow::new(window);
            let mut model = Model::default();
            let mut at = start as i64;
            for step in moves {
                at = (at + step).max(0);
                let fresh = ring.is_new(at as u64);
                let committed = ring.commit(at as u64);
                prop_assert_eq!(fresh, committed);
                prop_assert_eq!(committed, model.commit(at as u64, u64::from(window)));
                prop_assert_eq!(ring.top(), model.top);
                at = if step == 0 { ring.top() as i64 + 1 } else { at };
            }
        }

        #[test]
        fn the_high_half_is_found_within_the_window_and_ahead(
            top in prop_oneof![4096u64..100_000, (1u64 << 32) - 5000..(1 << 32) + 5000, (5u64 << 32) - 5000..(5 << 32) + 5000],
            offset in -4000i64..1_000_000_000,
        ) {
            let mut ring = ReplayWindow::new(4096);
            ring.commit(top);
            let sequence = (top as i64 + offset) as u64;
            prop_assert_eq!(ring.infer(sequence as u32), Some(sequence));
        }
    }

    #[test]
    fn nothing_lies_before_the_first_number() {
        let ring = ReplayWindow::new(64);
        assert_eq!(ring.infer(1), Some(1));
        assert_eq!(ring.infer(u32::MAX), None);
        assert!(!ring.is_new(0));
    }
}
