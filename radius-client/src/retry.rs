//! When to send again (RFC 5080 section 2.2.1).
use crypto::Random;
use std::time::Duration;

/// The longest time between two transmissions (MRT).
const MAX_INTERVAL: Duration = Duration::from_secs(16);

/// Guards against a configuration that would flood a server.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The first interval: IRT with its jitter.
pub(crate) fn first(initial: Duration, random: &mut dyn Random) -> Duration {
    jittered(initial.clamp(MIN_INTERVAL, MAX_INTERVAL), random)
}

/// RT = 2 x RTprev, at most MRT, each with jitter.
pub(crate) fn next(previous: Duration, random: &mut dyn Random) -> Duration {
    let doubled = previous.saturating_mul(2);
    if doubled > MAX_INTERVAL { jittered(MAX_INTERVAL, random) } else { doubled + jittered(previous, random) - previous }
}

/// 0.9 to 1.1 times `base`, in steps of a thousandth.
pub(crate) fn jittered(base: Duration, random: &mut dyn Random) -> Duration {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    base * (900 + u32::from_be_bytes(bytes) % 201) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SeededRandom;

    #[test]
    fn doubles_up_to_sixteen_seconds_within_a_tenth() {
        let mut random = SeededRandom::new(5);
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut interval = first(Duration::from_secs(2), &mut random);
            seen.push(interval);
            assert!((1.8..=2.2).contains(&interval.as_secs_f64()), "{interval:?}");
            for _ in 0..8 {
                let following = next(interval, &mut random);
                let (ratio, seconds) = (following.as_secs_f64() / interval.as_secs_f64(), following.as_secs_f64());
                assert!((1.9..=2.1).contains(&ratio) || (14.4..=17.6).contains(&seconds), "{interval:?} {following:?}");
                interval = following;
            }
            assert!((14.4..=17.6).contains(&interval.as_secs_f64()));
        }
        seen.sort();
        seen.dedup();
        assert!(seen.len() > 50, "jitter varies");
    }
}
