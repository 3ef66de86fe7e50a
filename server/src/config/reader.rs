//! Reading typed values out of the tree; whatever is wrong becomes a [`ConfigError`] that names its place.
use super::error::{ConfigError, Origin, suggestion};
use super::notes::Notes;
use super::source::{Node, Value, name_of};
use super::values;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A table of the configuration whose keys are all known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    node: &'a Node,
    kind: &'static str,
    /// What names a part of a section.
    whole: &'a Node,
    /// The folder that relative paths from the environment start at.
    base: &'a Path,
    notes: &'a Notes,
}

/// The whole configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root<'a> {
    node: &'a Node,
    base: &'a Path,
    notes: &'a Notes,
}

impl<'a> Root<'a> {
    /// Checks the names of the sections.
    pub(super) fn new(node: &'a Node, base: &'a Path, notes: &'a Notes, sections: &[&str]) -> Result<Self, ConfigError> {
        for (key, section) in table(node) {
            if !sections.contains(&key.as_str()) {
                let problem = format!("unknown section; {}", suggestion(key, sections));
                return Err(ConfigError { origin: Some(section.origin.clone()), key: key.as_str().into(), ..ConfigError::file(problem) });
            }
        }
        Ok(Self { node, base, notes })
    }

    /// `[kind]`, or an empty one where it is absent.
    pub(super) fn section(&self, kind: &'static str, keys: &[&str]) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(node) = table(self.node).get(kind) else { return Ok(None) };
        if !matches!(node.value, Value::Table(_)) {
            return Err(self.misshapen(node, kind, &format!("expected one table, written [{kind}]")));
        }
        Section { node, kind, whole: node, base: self.base, notes: self.notes }.known(keys).map(Some)
    }

    /// All `[[kind]]`, each with a name of its own.
    pub(super) fn sections(&self, kind: &'static str, keys: &[&str]) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(node) = table(self.node).get(kind) else { return Ok(Vec::new()) };
        let Value::Array(entries) = &node.value else {
            return Err(self.misshapen(node, kind, &format!("expected tables with double brackets, written [[{kind}]]")));
        };
        let mut sections: Vec<Section<'a>> = Vec::new();
        for node in entries {
            if !matches!(node.value, Value::Table(_)) {
                return Err(self.misshapen(node, kind, &format!("expected tables, written [[{kind}]]")));
            }
            let section = Section { node, kind, whole: node, base: self.base, notes: self.notes }.known(keys)?;
            let name = section.name()?;
            if let Some(twin) = sections.iter().find(|known| name_of(known.node).as_deref() == Some(name.as_str())) {
                return Err(section.error("name", format!("is taken by the [[{kind}]] at {}", twin.node.origin)));
            }
            sections.push(section);
        }
        Ok(sections)
    }

    fn misshapen(&self, node: &Node, kind: &str, problem: &str) -> ConfigError {
        ConfigError { origin: Some(node.origin.clone()), section: kind.into(), ..ConfigError::file(problem.to_owned()) }
    }

    /// An error about a section that is missing.
    pub(super) fn missing(&self, kind: &str, problem: &str) -> ConfigError {
        ConfigError { origin: Some(self.node.origin.clone()), section: kind.into(), ..ConfigError::file(problem.to_owned()) }
    }
}

fn table(node: &Node) -> &BTreeMap<String, Node> {
    static EMPTY: BTreeMap<String, Node> = BTreeMap::new();
    match &node.value {
        Value::Table(table) => table,
        _ => &EMPTY,
    }
}

impl<'a> Section<'a> {
    fn known(self, keys: &[&str]) -> Result<Self, ConfigError> {
        match table(self.node).keys().find(|key| !keys.contains(&key.as_str())) {
            None => Ok(self),
            Some(key) => {
                let origin = table(self.node).get(key).map(|node| node.origin.clone());
                let problem = format!("unknown key; {}", suggestion(key, keys));
                Err(ConfigError { origin, section: self.title().into(), key: key.as_str().into(), ..ConfigError::file(problem) })
            }
        }
    }

    /// `server`, or `radius "nps1"`.
    pub(super) fn title(&self) -> String {
        match name_of(self.whole) {
            Some(name) if self.kind != "server" => format!("{} {name:?}", self.kind),
            _ => self.kind.to_owned(),
        }
    }

    /// The required `name`.
    pub(super) fn name(&self) -> Result<String, ConfigError> {
        self.required("name", "a name, such as \"main\"", |value| values::non_empty(text(value)?))
    }

    pub(super) fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// The text of `key` with a zero byte at its end; nothing else where it is absent.
    pub(super) fn written(&self, key: &str) -> String {
        let value = table(self.node).get(key).map(|node| text(&node.value).map_or_else(|_| node.value.to_string(), str::to_owned));
        value.unwrap_or_default() + "\0"
    }

    /// The tables that `key` lists, as parts of this section.
    pub(super) fn groups(&self, key: &str, keys: &[&str]) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(node) = table(self.node).get(key) else { return Ok(Vec::new()) };
        let entries = match &node.value {
            Value::Array(entries) => entries.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let group = |node: &'a Node| match node.value {
            Value::Table(_) => Section { node, ..*self }.known(keys),
            _ => Err(self.at(node, key, "", "tables such as { user = [\"*@example.com\"] }")),
        };
        entries.iter().map(group).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        table(self.node).contains_key(key)
    }

    /// An error at a key's value, or at the section where the key is absent.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let node = table(self.node).get(key);
        ConfigError {
            origin: Some(node.map_or(&self.node.origin, |node| &node.origin).clone()),
            section: self.title().into(),
            key: key.into(),
            value: node.map(|node| node.value.to_string().into()),
            problem: problem.into().into(),
        }
    }

    /// The value of `key` through `parse`, whose error says what is wrong; `expected` says what would be accepted.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(node) = table(self.node).get(key) else { return Ok(None) };
        parse(&node.value).map(Some).map_err(|problem| self.at(node, key, &problem, expected))
    }

    pub(super) fn required<T>(&self, key: &str, expected: &str, parse: impl Fn(&Value) -> Result<T, String>) -> Result<T, ConfigError> {
        self.optional(key, expected, parse)?.ok_or_else(|| self.error(key, format!("is missing; expected {expected}")))
    }

    /// A list through `parse`, entry by entry; `None` where the key is absent. A single value counts as a list of one.
    pub(super) fn list<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(node) = table(self.node).get(key) else { return Ok(None) };
        let entries = match &node.value {
            Value::Array(entries) => entries.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let parsed = entries.iter().map(|entry| parse(&entry.value).map_err(|problem| self.at(entry, key, &problem, expected)));
        parsed.collect::<Result<_, _>>().map(Some)
    }

    fn at(&self, node: &Node, key: &str, problem: &str, expected: &str) -> ConfigError {
        let problem = match problem {
            "" => format!("expected {expected}"),
            question if question.ends_with('?') => format!("{question} expected {expected}"),
            problem => format!("{problem}; expected {expected}"),
        };
        let value = Some(node.value.to_string().into());
        ConfigError { origin: Some(node.origin.clone()), section: self.title().into(), key: key.into(), value, problem: problem.into() }
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        Ok(self.optional(key, "true or false", boolean)?.unwrap_or(default))
    }

    /// A whole number within `range`.
    pub(super) fn number<T: TryFrom<i64> + Copy>(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
        default: T,
    ) -> Result<T, ConfigError> {
        let expected = format!("a whole number, {}..={}", range.start(), range.end());
        let parse = |value: &Value| {
            let number = integer(value)?;
            T::try_from(number).ok().filter(|_| range.contains(&number)).ok_or_else(String::new)
        };
        Ok(self.optional(key, &expected, parse)?.unwrap_or(default))
    }

    /// A duration within `range`.
    pub(super) fn duration(&self, key: &str, range: std::ops::RangeInclusive<Duration>) -> Result<Option<Duration>, ConfigError> {
        let (least, most) = (values::duration_text(*range.start()), values::duration_text(*range.end()));
        let expected = format!("a duration from \"{least}\" to \"{most}\", such as \"90s\", \"5m\", \"8h\"");
        self.optional(key, &expected, |value| values::duration(text(value)?).filter(|d| range.contains(d)).ok_or_else(String::new))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, ConfigError> {
        self.optional(key, &one_of(words), |value| choose(value, words))
    }

    /// A list of words out of a few.
    pub(super) fn choices<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<Vec<T>>, ConfigError> {
        self.list(key, &one_of(words), |value| choose(value, words))
    }

    /// A path; a relative one starts at the folder of the file that names it.
    pub(super) fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let base = table(self.node).get(key).map_or(self.base, |node| self.folder(node));
        self.optional(key, "the path of a file", |value| Ok(base.join(values::non_empty(text(value)?)?)))
    }

    pub(super) fn paths(&self, key: &str) -> Result<Option<Vec<PathBuf>>, ConfigError> {
        let base = table(self.node).get(key).map_or(self.base, |node| self.folder(node));
        self.list(key, "paths of files", |value| Ok(base.join(values::non_empty(text(value)?)?)))
    }

    fn folder<'b>(&'b self, node: &'b Node) -> &'b Path {
        match &node.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(self.base),
            Origin::Environment { .. } => self.base,
        }
    }
}

fn one_of<T>(words: &[(&str, T)]) -> String {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [word] => word.clone(),
        words => format!("one of {}", words.join(", ")),
    }
}

fn choose<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let got = text(value)?;
    if let Some((_, chosen)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(got)) {
        return Ok(*chosen);
    }
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    Err(super::error::nearest(got, &names).map_or_else(String::new, |nearest| format!("did you mean {nearest:?}?")))
}

/// The text of a string value.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) | Value::Ambiguous { text, .. } => Ok(text),
        _ => Err("is no string (put it in quotes)".into()),
    }
}

pub(super) fn integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Integer(number) => Ok(*number),
        Value::Ambiguous { typed, .. } => integer(typed),
        _ => Err(String::new()),
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Ambiguous { typed, .. } => boolean(typed),
        _ => Err(String::new()),
    }
}
