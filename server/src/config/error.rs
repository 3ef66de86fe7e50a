//! The one error that a configuration can have, and the nearest valid word.
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file and its line, from 1.
    File { path: Arc<Path>, line: usize },
    /// A variable of the environment.
    Environment { variable: Box<str> },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
        }
    }
}

/// Why a configuration cannot be used: place, key, value, and what would be accepted.
///
/// `/etc/evergate/evergate.toml:17: radius "nps1": port = 99999: expected a UDP port, 1..=65535`
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line())]
pub struct ConfigError {
    /// `None`: the file itself cannot be read; its path is in `problem`.
    pub origin: Option<Origin>,
    /// `server`, `radius "nps1"`; empty at the top.
    pub section: Box<str>,
    /// The key; empty where the section itself is at fault.
    pub key: Box<str>,
    /// The offending value as written.
    pub value: Option<Box<str>>,
    /// What is wrong and what would be accepted.
    pub problem: Box<str>,
}

impl ConfigError {
    pub(super) fn file(problem: String) -> Self {
        Self { origin: None, section: "".into(), key: "".into(), value: None, problem: problem.into() }
    }

    fn line(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.origin.as_ref().map(ToString::to_string));
        if !self.section.is_empty() {
            parts.push(self.section.to_string());
        }
        match &self.value {
            Some(value) => parts.push(format!("{} = {value}", self.key)),
            None if self.key.is_empty() => {}
            None => parts.push(self.key.to_string()),
        }
        parts.push(self.problem.to_string());
        parts.join(": ")
    }
}

/// `a, b, c` with the nearest to `got` asked for first: `did you mean "b"? accepted: a, b, c`.
pub(crate) fn suggestion(got: &str, accepted: &[&str]) -> String {
    if accepted.is_empty() {
        return "there is none".into();
    }
    let list = accepted.join(", ");
    match nearest(got, accepted) {
        Some(nearest) => format!("did you mean {nearest:?}? accepted: {list}"),
        None => format!("accepted: {list}"),
    }
}

/// The candidate with the smallest edit distance, if it is near enough to be a slip.
pub(super) fn nearest<'a>(got: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let got = got.to_lowercase();
    let limit = (got.chars().count() / 3).max(1) + 1;
    let ranked = candidates.iter().map(|candidate| (distance(&got, &candidate.to_lowercase()), *candidate));
    ranked.min().filter(|(distance, _)| *distance <= limit).map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("adress", "address", 1), ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        assert_eq!(nearest("adress", &["name", "address", "port"]), Some("address"));
        assert_eq!(nearest("colour", &["name", "address", "port"]), None);
        assert_eq!(nearest("Selektors", &["selectors"]), Some("selectors"));
    }
}
