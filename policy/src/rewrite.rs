//! Names by pattern: what each `*` of a pattern took stands in the replacement as `{1}`, `{2}`, ..
use crate::glob;

/// The longest pattern and replacement, and the most `*` in a pattern.
const MAX_LENGTH: usize = 253;
const MAX_STARS: usize = 9;

/// One rule: a name that the whole pattern fits becomes the replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The pattern between its `*`.
    pieces: Vec<Vec<char>>,
    replacement: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// What the n-th `*` took, from 0.
    Star(usize),
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRewrite {
    #[error("is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("has more than {MAX_STARS} *")]
    TooManyStars,
    #[error("{{{asked}}} stands for no *: the pattern has {stars}")]
    NoSuchStar { asked: String, stars: usize },
    #[error("has a {{ without its }}")]
    Unclosed,
    #[error("is empty")]
    Empty,
}

impl Rewrite {
    /// `pattern` has `*` (any run of characters, the first as short as the rest allows) and `?` (any one character), without regard to case;
    /// `replacement` has `{1}` to `{9}` for what the `*` took.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, BadRewrite> {
        if pattern.len() > MAX_LENGTH || replacement.len() > MAX_LENGTH {
            return Err(BadRewrite::TooLong);
        }
        if pattern.is_empty() || replacement.is_empty() {
            return Err(BadRewrite::Empty);
        }
        let pieces: Vec<Vec<char>> = pattern.split('*').map(|piece| piece.chars().collect()).collect();
        let stars = pieces.len() - 1;
        if stars > MAX_STARS {
            return Err(BadRewrite::TooManyStars);
        }
        Ok(Self { pieces, replacement: parts(replacement, stars)? })
    }

    /// The new name; `None` where the pattern does not fit, or nothing would be left.
    pub fn apply(&self, name: &str) -> Option<String> {
        let name: Vec<char> = name.chars().collect();
        let taken = self.taken(&name)?;
        let text = self.replacement.iter().fold(String::new(), |mut text, part| {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Star(star) => text.extend(taken.get(*star).copied().unwrap_or_default()),
            }
            text
        });
        (!text.is_empty()).then_some(text)
    }

    /// What each `*` takes. At most `pattern * name` steps: each piece is looked for once, from where the one before ended.
    fn taken<'a>(&self, name: &'a [char]) -> Option<Vec<&'a [char]>> {
        let (first, rest) = self.pieces.split_first()?;
        let Some((last, middle)) = rest.split_last() else { return fits(first, name).then(Vec::new) };
        if name.len() < first.len() + last.len() || !fits(first, &name[..first.len()]) {
            return None;
        }
        let end = name.len() - last.len();
        if !fits(last, &name[end..]) {
            return None;
        }
        let (mut at, mut taken) = (first.len(), Vec::with_capacity(rest.len()));
        for piece in middle {
            let found = (at..=end.checked_sub(piece.len())?).find(|&start| fits(piece, &name[start..start + piece.len()]))?;
            taken.push(&name[at..found]);
            at = found + piece.len();
        }
        taken.push(name.get(at..end)?);
        Some(taken)
    }
}

fn fits(piece: &[char], text: &[char]) -> bool {
    piece.len() == text.len() && piece.iter().zip(text).all(|(&wanted, &got)| wanted == '?' || glob::same(wanted, got))
}

fn parts(replacement: &str, stars: usize) -> Result<Vec<Part>, BadRewrite> {
    let mut parts = Vec::new();
    let mut rest = replacement;
    while let Some((text, tail)) = rest.split_once('{') {
        let (asked, tail) = tail.split_once('}').ok_or(BadRewrite::Unclosed)?;
        let star = asked.parse::<usize>().ok().filter(|star| (1..=stars).contains(star));
        let star = star.ok_or_else(|| BadRewrite::NoSuchStar { asked: asked.to_owned(), stars })?;
        parts.extend([Part::Text(text.to_owned()), Part::Star(star - 1)]);
        rest = tail;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(pattern: &str, replacement: &str, name: &str) -> Option<String> {
        Rewrite::new(pattern, replacement).unwrap().apply(name)
    }

    #[test]
    fn names_are_rewritten() {
        for (pattern, replacement, name, expected) in [
            ("EXAMPLE\\*", "{1}@example.com", "example\\alice", Some("alice@example.com")),
            ("*@old.example.com", "{1}@example.com", "bob@OLD.example.com", Some("bob@example.com")),
            ("*@old.example.com", "{1}@example.com", "bob@example.com", None),
            ("*.*@*", "{3}\\{2}{1}", "ann.lee@corp", Some("corp\\leeann")),
            ("guest", "visitor", "Guest", Some("visitor")),
            ("guest", "visitor", "guests", None),
            ("h?st*", "host{1}", "hast/7", Some("host/7")),
            ("*", "{1}{1}", "x", Some("xx")),
            ("*", "{1}", "", None),
            ("a*a", "{1}", "a", None),
            ("*a*a*", "{1}-{2}-{3}", "banana", Some("b-n-na")),
            ("müller*", "{1}", "MÜLLER7", Some("7")),
        ] {
            assert_eq!(rewritten(pattern, replacement, name).as_deref(), expected, "{pattern} -> {replacement} on {name}");
        }
    }

    #[test]
    fn what_is_no_rule_is_an_error() {
        let error = |pattern: &str, replacement: &str| Rewrite::new(pattern, replacement).unwrap_err();
        assert_eq!(error("*", "{2}"), BadRewrite::NoSuchStar { asked: "2".into(), stars: 1 });
        assert_eq!(error("*", "{0}"), BadRewrite::NoSuchStar { asked: "0".into(), stars: 1 });
        assert_eq!(error("*", "{x}").to_string(), "{x} stands for no *: the pattern has 1");
        assert_eq!(error("*", "{1"), BadRewrite::Unclosed);
        assert_eq!(error("**********", "a"), BadRewrite::TooManyStars);
        assert_eq!(error(&"a".repeat(254), "a"), BadRewrite::TooLong);
        assert_eq!((error("", "a"), error("a", "")), (BadRewrite::Empty, BadRewrite::Empty));
    }

    proptest! {
        #[test]
        fn fits_what_the_pattern_matches(pattern in "[abA*?]{1,8}", name in "[abB]{1,10}") {
            prop_assert_eq!(rewritten(&pattern, "x", &name).is_some(), glob::matches(&pattern, &name));
        }

        #[test]
        fn the_stars_take_all_that_the_pattern_does_not_say(pieces in proptest::collection::vec("[ab]{0,3}", 1..5), name in "[ab]{0,12}") {
            let pattern = pieces.join("*");
            prop_assume!(!pattern.is_empty());
            let rule = Rewrite::new(&pattern, "x").unwrap();
            let chars: Vec<char> = name.chars().collect();
            if let Some(taken) = rule.taken(&chars) {
                let mut whole = pieces[0].clone();
                for (star, piece) in taken.iter().zip(&pieces[1..]) {
                    whole.extend(star.iter());
                    whole.push_str(piece);
                }
                prop_assert_eq!(whole, name);
            }
        }
    }
}
