//! Patterns with `*` (any run of characters, also none) and `?` (any one character), without regard to case.

/// Whether the whole of `text` matches `pattern`. At most `pattern.len() * text.len()` steps: of several `*` only the last one passed
/// is ever widened, which suffices because an earlier one could only give the later one less to choose from.
pub fn matches(pattern: &str, text: &str) -> bool {
    if !(pattern.is_ascii() && text.is_ascii()) {
        return fits(pattern.chars(), text.chars());
    }
    // Most names differ from most patterns in their last letters.
    let mut tail = pattern.bytes().rev().take_while(|wanted| *wanted != b'*');
    let mut ends = text.bytes().rev();
    let agrees = |wanted: u8| ends.next().is_some_and(|got| wanted == b'?' || wanted.eq_ignore_ascii_case(&got));
    tail.all(agrees) && fits(pattern.bytes().map(char::from), text.bytes().map(char::from))
}

fn fits<P: Iterator<Item = char> + Clone, T: Iterator<Item = char> + Clone>(mut pattern: P, mut text: T) -> bool {
    // Where to go on after a mismatch: behind the last `*`, which then swallows one character more.
    let mut retry: Option<(P, T)> = None;
    loop {
        let (mut rest_of_pattern, mut rest_of_text) = (pattern.clone(), text.clone());
        let Some(got) = rest_of_text.next() else { return pattern.all(|rest| rest == '*') };
        match rest_of_pattern.next() {
            Some('*') => {
                pattern = rest_of_pattern;
                retry = Some((pattern.clone(), text.clone()));
            }
            Some(wanted) if wanted == '?' || same(wanted, got) => (pattern, text) = (rest_of_pattern, rest_of_text),
            _ => {
                let Some((after_star, swallowed_to)) = &mut retry else { return false };
                swallowed_to.next();
                (pattern, text) = (after_star.clone(), swallowed_to.clone());
            }
        }
    }
}

pub(crate) fn same(a: char, b: char) -> bool {
    a == b || if a.is_ascii() && b.is_ascii() { a.eq_ignore_ascii_case(&b) } else { a.to_lowercase().eq(b.to_lowercase()) }
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
