//! Patterns with `*` (any run of characters, also none) and `?` (any one character), without regard to case.

/// Whether the whole of `text` matches `pattern`. At most `pattern.len() * text.len()` steps: of several `*` only the last one passed
/// is ever widened, which suffices because an earlier one could only give the later one less to choose from.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, which then swallows one character more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(&wanted) if wanted == '?' || same(wanted, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, swallowed_to)) = retry else { return false };
                p = after_star;
                t = swallowed_to + 1;
                retry = Some((after_star, t));
            }
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}

pub(crate) fn same(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    /// The definition, without thought of cost.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => naive(rest, text),
            (Some(('*', rest)), Some((_, tail))) => naive(rest, text) || naive(pattern, tail),
            (Some((p, rest)), Some((t, tail))) => (*p == '?' || p.eq_ignore_ascii_case(t)) && naive(rest, tail),
            _ => false,
        }
    }

    #[test]
    fn known_cases() {
        for (pattern, text, expected) in [
            ("*@example.test", "Bob@EXAMPLE.test", true),
            ("*@example.test", "bob", false),
            ("EXAMPLE\\*", "example\\alice", true),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("?", "", false),
            ("müller?", "MÜLLER1", true),
            ("a**b", "ab", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_on_a_long_text_stay_cheap() {
        let pattern = "*a".repeat(2_000) + "b";
        let text = "a".repeat(4_000);
        assert!(!matches(&pattern, &text));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[abA*?]{0,8}", text in "[abB]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), naive(&p, &t));
        }
    }
}
