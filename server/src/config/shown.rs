//! What a configuration says, for people to read: every value that somebody wrote, and where.
use super::error::Origin;
use super::source::{Node, Value, name_of};
use super::{Config, SECTIONS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A configuration as it was written; what is not in it has the value that the example configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The main file.
    pub path: String,
    pub sections: Vec<ShownSection>,
    /// What works but deserves a look, one sentence each.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownSection {
    /// `server`, or `radius` of `radius "nps1"`.
    pub kind: String,
    /// `nps1`; absent where there is one of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `/etc/evergate/evergate.toml:17`
    pub origin: String,
    pub keys: Vec<ShownKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownKey {
    pub key: String,
    /// As TOML.
    pub value: String,
    /// `/etc/evergate/evergate.toml:19`, or `environment variable EVERGATE__SERVER__MTU`
    pub origin: String,
    /// The value names a file. What that holds is never told.
    #[serde(default)]
    pub file: bool,
}

impl Config {
    /// What it says, section by section in the order of the example configuration. No key holds a secret: they name files.
    pub fn shown(&self) -> Shown {
        let Value::Table(root) = &self.written.tree.value else {
            return Shown { path: self.path.display().to_string(), sections: Vec::new(), warnings: self.warnings.clone() };
        };
        let sections = SECTIONS.iter().filter_map(|kind| Some((*kind, root.get(*kind)?))).flat_map(|(kind, node)| match &node.value {
            Value::Array(entries) => entries.iter().map(|entry| self.section(kind, name_of(entry), entry)).collect(),
            _ => vec![self.section(kind, None, node)],
        });
        Shown { path: self.path.display().to_string(), sections: sections.collect(), warnings: self.warnings.clone() }
    }

    fn section(&self, kind: &str, name: Option<String>, node: &Node) -> ShownSection {
        let mut keys = Vec::new();
        self.keys("", node, &mut keys);
        keys.sort_by_key(|(place, _)| *place);
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        ShownSection { kind: kind.to_owned(), name, origin: node.origin.to_string(), keys }
    }

    /// In the order in which they are written, with their lines. Tables inside a section are told by keys with dots.
    fn keys<'a>(&self, before: &str, node: &'a Node, keys: &mut Vec<(Place<'a>, ShownKey)>) {
        let Value::Table(table) = &node.value else { return };
        for (key, node) in table {
            let key = format!("{before}{key}");
            match &node.value {
                Value::Table(_) => self.keys(&format!("{key}."), node, keys),
                value => {
                    let file = matches!(value, Value::String(text) if self.is_file(text));
                    keys.push((place(&node.origin), ShownKey { key, value: written(value), origin: node.origin.to_string(), file }));
                }
            }
        }
    }

    fn is_file(&self, text: &str) -> bool {
        let base = self.path.parent().unwrap_or(Path::new(""));
        self.written.files.iter().any(|file| file.path == base.join(text))
    }
}

/// Files by their names, then the environment.
type Place<'a> = (bool, &'a Path, usize);

fn place(origin: &Origin) -> Place<'_> {
    match origin {
        Origin::File { path, line } => (false, path, *line),
        Origin::Environment { variable } => (true, Path::new(&**variable), 0),
    }
}

/// In full, as TOML takes it.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(entries) => format!("[{}]", entries.iter().map(|entry| written(&entry.value)).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let keys: Vec<_> = table.iter().map(|(key, node)| format!("{key} = {}", written(&node.value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        Value::Integer(_) | Value::Boolean(_) | Value::Other(_) | Value::Ambiguous { .. } => value.to_string(),
    }
}
