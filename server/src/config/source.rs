//! Files and environment, layered into one tree in which every value knows where it stands.
use super::error::{ConfigError, Origin};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Variables beginning so are configuration: `EVERGATE__SERVER__MTU=1380`.
pub(super) const PREFIX: &str = "EVERGATE__";

/// `[[policy.test]]`, in the tree a section of its own.
pub(super) const POLICY_TEST: &str = "policy.test";

/// The largest configuration file that is read.
const MAX_FILE: u64 = 1 << 20;

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// Floats, dates, integers beyond 64 bits: nothing here takes them.
    Other(String),
    /// A variable's text that is also a TOML number or boolean: which of both it is depends on the key.
    Ambiguous {
        text: String,
        typed: Box<Value>,
    },
}

impl Value {
    /// The same value, wherever it stands.
    pub(super) fn means(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ambiguous { text, .. }, Self::String(other)) | (Self::String(other), Self::Ambiguous { text, .. }) => text == other,
            (Self::Ambiguous { typed, .. }, other) | (other, Self::Ambiguous { typed, .. }) => typed.means(other),
            (Self::String(one), Self::String(other)) | (Self::Other(one), Self::Other(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.value.means(&other.value))
            }
            (Self::Table(one), Self::Table(other)) => {
                let same = |(key, node): (&String, &Node)| other.get(key).is_some_and(|other| node.value.means(&other.value));
                one.len() == other.len() && one.iter().all(same)
            }
            _ => false,
        }
    }
}

/// As TOML writes it; long ones are cut.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => match text.char_indices().nth(80) {
                Some((cut, _)) => write!(f, "{:?}..", &text[..cut]),
                None => write!(f, "{text:?}"),
            },
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Array(entries) => {
                let named: Vec<_> = entries.iter().take(6).map(|entry| entry.value.to_string()).collect();
                write!(f, "[{}{}]", named.join(", "), if entries.len() > 6 { ", .." } else { "" })
            }
            Self::Table(_) => f.write_str("{..}"),
            Self::Other(text) | Self::Ambiguous { text, .. } => f.write_str(text),
        }
    }
}

/// Reads the main file, its drop-ins in order of their names, and the environment over them.
pub(super) fn load(path: &Path, environment: &[(String, String)]) -> Result<Node, ConfigError> {
    let mut root = read(path)?;
    for drop_in in drop_ins(path)? {
        merge(&mut root, read(&drop_in)?)?;
    }
    for (variable, text) in environment.iter().filter(|(variable, _)| variable.starts_with(PREFIX)) {
        set_from_environment(&mut root, variable, text)?;
    }
    lift_tests(&mut root);
    Ok(root)
}

/// Takes the cases that policies are tested with from behind the policies: each is asked of all policies, wherever it stands. A file of cases alone,
/// which has no `[[policy]]` before them, adds them to those of other files.
fn lift_tests(root: &mut Node) {
    let Value::Table(sections) = &mut root.value else { return };
    let Some(policies) = sections.get_mut("policy") else { return };
    let found: Vec<Node> = match &mut policies.value {
        Value::Array(policies) => policies.iter_mut().filter_map(take_tests).collect(),
        _ => take_tests(policies).into_iter().collect(),
    };
    if matches!(&policies.value, Value::Table(rest) if rest.is_empty()) && !found.is_empty() {
        sections.remove("policy");
    }
    for tests in found {
        match (sections.get_mut(POLICY_TEST).map(|known| &mut known.value), tests.value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            // The reader refuses what is no array.
            (Some(known), _) if !matches!(known, Value::Array(_)) => {}
            (_, value) => drop(sections.insert(POLICY_TEST.to_owned(), Node { origin: tests.origin, value })),
        }
    }
}

fn take_tests(policy: &mut Node) -> Option<Node> {
    let Value::Table(keys) = &mut policy.value else { return None };
    keys.remove("test")
}

/// `evergate.d/*.toml` beside `evergate.toml`.
fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = path.with_extension("d");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = |error: std::io::Error| ConfigError::file(format!("{}: cannot be listed: {error}", folder.display()));
    let entries = std::fs::read_dir(&folder).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Node, ConfigError> {
    let cannot = |problem: String| ConfigError::file(format!("{}: {problem}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| cannot(format!("cannot be read: {error}")))?.len();
    if size > MAX_FILE {
        return Err(cannot(format!("is {size} bytes long; a configuration file has at most {MAX_FILE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
    let mut root = parse(path, &text)?;
    lift_tests(&mut root);
    Ok(root)
}

fn parse(path: &Path, text: &str) -> Result<Node, ConfigError> {
    let file = File { path: path.into(), text };
    let table = DeTable::parse(text).map_err(|error| ConfigError {
        origin: Some(file.origin(error.span().map_or(0, |span| span.start))),
        ..ConfigError::file(format!("is no TOML: {}", error.message()))
    })?;
    let line = table.span().start;
    Ok(Node { origin: file.origin(line), value: file.table(table.into_inner()) })
}

struct File<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        Origin::File { path: Arc::clone(&self.path), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }

    fn table(&self, table: DeTable<'_>) -> Value {
        let entries = table.into_iter().map(|(key, value)| {
            // A key's own place: the span of a table reaches over all of it.
            let origin = self.origin(key.span().start);
            (key.into_inner().into_owned(), Node { origin, value: self.value(value.into_inner()) })
        });
        Value::Table(entries.collect())
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other(number.to_string()),
            },
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Float(number) => Value::Other(number.to_string()),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Table(table) => self.table(table),
            DeValue::Array(array) => {
                let entries = array.into_iter().map(|entry| {
                    let origin = self.origin(entry.span().start);
                    Node { origin, value: self.value(entry.into_inner()) }
                });
                Value::Array(entries.collect())
            }
        }
    }
}

/// Tables merge, arrays of tables append, everything else is overridden.
fn merge(below: &mut Node, above: Node) -> Result<(), ConfigError> {
    match (&mut below.value, above.value) {
        (Value::Table(below), Value::Table(above)) => {
            for (key, node) in above {
                match below.get_mut(&key) {
                    Some(known) => merge(known, node)?,
                    None => drop(below.insert(key, node)),
                }
            }
        }
        (Value::Array(below), Value::Array(above)) if is_tables(below) && is_tables(&above) => below.extend(above),
        (_, value) => *below = Node { origin: above.origin, value },
    }
    Ok(())
}

fn is_tables(entries: &[Node]) -> bool {
    !entries.is_empty() && entries.iter().all(|entry| matches!(entry.value, Value::Table(_)))
}

/// `EVERGATE__RADIUS__NPS1__PORT`: a section, for arrays of tables the entry's name or its number from 0, a key.
fn set_from_environment(root: &mut Node, variable: &str, text: &str) -> Result<(), ConfigError> {
    let origin = Origin::Environment { variable: variable.into() };
    let refuse = |problem: String| ConfigError { origin: Some(origin.clone()), ..ConfigError::file(problem) };
    let path: Vec<String> = variable[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    if path.iter().any(String::is_empty) || path.len() < 2 {
        return Err(refuse("expected EVERGATE__SECTION__KEY".into()));
    }
    let value = typed(text, &origin);
    let mut node = root;
    for (depth, segment) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        node = match &mut node.value {
            Value::Table(table) => table.entry(segment.clone()).or_insert_with(|| Node {
                origin: origin.clone(),
                value: if is_last { value.clone() } else { empty_for(&path[depth + 1]) },
            }),
            Value::Array(entries) => array_entry(entries, segment, &origin).map_err(&refuse)?,
            _ => return Err(refuse(format!("{} is no section", path[..depth].join(".")))),
        };
    }
    *node = Node { origin, value };
    Ok(())
}

/// An absent section is an array of tables when a number follows.
fn empty_for(next: &str) -> Value {
    if next.parse::<usize>().is_ok() { Value::Array(Vec::new()) } else { Value::Table(BTreeMap::new()) }
}

fn array_entry<'a>(entries: &'a mut Vec<Node>, segment: &str, origin: &Origin) -> Result<&'a mut Node, String> {
    let number = segment.parse::<usize>().ok();
    if number == Some(entries.len()) {
        entries.push(Node { origin: origin.clone(), value: Value::Table(BTreeMap::new()) });
    }
    let names: Vec<_> = entries.iter().filter_map(name_of).map(|name| as_variable(&name)).collect();
    let index = number.or_else(|| entries.iter().position(|entry| name_of(entry).is_some_and(|name| as_variable(&name) == segment)));
    let count = entries.len();
    index
        .and_then(|index| entries.get_mut(index))
        .ok_or_else(|| format!("{segment:?} is no entry: expected a number 0..={count} or one of the names {}", names.join(", ")))
}

/// How a name is written inside a variable's name: lower case, everything but letters and digits an underscore.
fn as_variable(name: &str) -> String {
    name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// The entry's `name`.
pub(super) fn name_of(node: &Node) -> Option<String> {
    let Value::Table(table) = &node.value else { return None };
    match &table.get("name")?.value {
        Value::String(name) => Some(name.clone()),
        Value::Ambiguous { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// A variable's text is TOML where it parses as such, else a string.
fn typed(text: &str, origin: &Origin) -> Value {
    let Origin::Environment { variable } = origin else { return Value::String(text.to_owned()) };
    let Ok(value) = DeValue::parse(text) else { return Value::String(text.to_owned()) };
    let file = File { path: Path::new(&**variable).into(), text };
    let value = with_origin(file.value(value.into_inner()), origin);
    match value {
        Value::String(_) | Value::Array(_) | Value::Table(_) => value,
        typed => Value::Ambiguous { text: text.to_owned(), typed: Box::new(typed) },
    }
}

fn with_origin(value: Value, origin: &Origin) -> Value {
    let placed = |node: Node| Node { origin: origin.clone(), value: with_origin(node.value, origin) };
    match value {
        Value::Array(entries) => Value::Array(entries.into_iter().map(placed).collect()),
        Value::Table(table) => Value::Table(table.into_iter().map(|(key, node)| (key, placed(node))).collect()),
        scalar => scalar,
    }
}
