//! What an administrator of RRAS can write to a file, whichever way, as objects with properties and lines of netsh.
use roxmltree::Node;
use serde_json::Value;
use std::collections::BTreeMap;

/// How deep objects may be inside objects.
const DEPTH_MAX: usize = 16;

/// What comes between the name of a property's owner and its own.
const WITHIN: char = '.';

/// Parts of a CIM object that describe its class instead of its contents.
const OF_THE_CLASS: &[&str] = &["cimclass", "ciminstanceproperties", "cimsystemproperties"];

/// Secrets, by the names of their properties: nothing of them is kept.
const SECRETS: &[&str] = &["sharedsecret", "secret", "password", "presharedkey"];

/// An object of PowerShell: properties by their names in lower case, without blanks and units.
pub(super) type Object = BTreeMap<String, Vec<String>>;

/// A line of netsh: its words, such as `ras ip add range`, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// In lower case.
    pub words: Vec<String>,
    /// Names in lower case.
    pub arguments: Vec<(String, String)>,
}

impl Command {
    /// An argument by its name, or by its place behind the `words` that the command has.
    pub(super) fn argument(&self, name: &str, place: usize) -> Option<&str> {
        let named = self.arguments.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        named.or_else(|| self.words.get(place).map(String::as_str)).filter(|value| !value.is_empty())
    }
}

/// Everything that a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub objects: Vec<Object>,
    pub commands: Vec<Command>,
    /// Properties whose lists PowerShell has cut short.
    pub cut: Vec<String>,
}

/// Reads a file in whichever form it is.
pub(super) fn read(text: &str) -> Result<Facts, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut facts = Facts::default();
    match text.as_bytes().first() {
        None => return Err("is empty".into()),
        Some(b'{' | b'[') => {
            let value: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
            from_json(&value, &mut facts.objects);
        }
        Some(b'<') => {
            let document = roxmltree::Document::parse(text).map_err(|error| format!("is no XML: {error}"))?;
            if !document.root_element().has_tag_name("Objs") {
                return Err("is XML, but not as Export-Clixml writes it".into());
            }
            let mut objects = document.root_element().children().filter(Node::is_element);
            objects.try_for_each(|node| from_clixml(node, &mut facts.objects, 0))?;
        }
        Some(_) => from_text(text, &mut facts),
    }
    facts.objects.retain(|object| !object.is_empty());
    Ok(facts)
}

/// `SALifeTime(s)` is `salifetime`.
fn property_name(text: &str) -> String {
    let text = text.split('(').next().unwrap_or_default();
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn keep(object: &mut Object, owner: &str, name: &str, values: Vec<String>) {
    if SECRETS.contains(&name) || OF_THE_CLASS.contains(&name) {
        return;
    }
    let values: Vec<_> = values.into_iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect();
    if !owner.is_empty() {
        object.insert(format!("{owner}{WITHIN}{name}"), values.clone());
    }
    // What stands further out speaks about the server itself, whatever comes first.
    if owner.is_empty() || !object.contains_key(name) {
        object.insert(name.to_owned(), values);
    }
}

fn from_json(value: &Value, objects: &mut Vec<Object>) {
    match value {
        Value::Array(entries) => entries.iter().for_each(|entry| from_json(entry, objects)),
        Value::Object(_) => {
            let mut object = Object::new();
            of_json(value, "", &mut object, objects, 0);
            objects.push(object);
        }
        _ => {}
    }
}

/// Takes the properties of a JSON object; lists of objects inside it are objects of their own.
fn of_json(value: &Value, owner: &str, object: &mut Object, objects: &mut Vec<Object>, depth: usize) {
    let Some(properties) = value.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (name, value) in properties {
        let name = property_name(name);
        // PowerShell writes some lists as { "value": [..], "Count": 2 }.
        let value = value.get("value").filter(|inner| inner.is_array()).unwrap_or(value);
        match value {
            _ if OF_THE_CLASS.contains(&name.as_str()) => {}
            Value::Object(_) => of_json(value, &name, object, objects, depth + 1),
            Value::Array(entries) if entries.iter().any(Value::is_object) => entries.iter().for_each(|entry| from_json(entry, objects)),
            Value::Array(entries) => keep(object, owner, &name, entries.iter().filter_map(scalar).collect()),
            value => keep(object, owner, &name, scalar(value).into_iter().collect()),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

/// `depth`: of the object or list, counted over all that it stands in.
fn from_clixml(node: Node<'_, '_>, objects: &mut Vec<Object>, depth: usize) -> Result<(), String> {
    if let Some(list) = child(node, "LST") {
        not_too_deep(depth)?;
        return list.children().filter(Node::is_element).try_for_each(|entry| from_clixml(entry, objects, depth + 1));
    }
    let mut object = Object::new();
    of_clixml(node, "", &mut object, objects, depth)?;
    objects.push(object);
    Ok(())
}

fn not_too_deep(depth: usize) -> Result<(), String> {
    let fits = depth < DEPTH_MAX;
    fits.then_some(()).ok_or_else(|| format!("has objects inside objects {DEPTH_MAX} times over, which no cmdlet of RemoteAccess writes"))
}

/// Takes the properties of an `Obj`, which stand in `Props` and `MS`.
fn of_clixml(node: Node<'_, '_>, owner: &str, object: &mut Object, objects: &mut Vec<Object>, depth: usize) -> Result<(), String> {
    not_too_deep(depth)?;
    let groups = node.children().filter(|child| child.has_tag_name("Props") || child.has_tag_name("MS"));
    for property in groups.flat_map(|group| group.children()).filter(Node::is_element) {
        let name = property_name(property.attribute("N").unwrap_or_default());
        if OF_THE_CLASS.contains(&name.as_str()) {
            continue;
        }
        let list = child(property, "LST").or_else(|| child(property, "IE"));
        if let Some(list) = list {
            let entries: Vec<_> = list.children().filter(Node::is_element).collect();
            let mut inner = entries.iter().filter(|entry| entry.has_tag_name("Obj"));
            inner.try_for_each(|entry| from_clixml(*entry, objects, depth + 1))?;
            keep(object, owner, &name, entries.iter().filter_map(Node::text).map(str::to_owned).collect());
        } else if child(property, "Props").is_some() {
            of_clixml(property, &name, object, objects, depth + 1)?;
        } else {
            // The word of an enumeration, or a plain value.
            let text = child(property, "ToString").and_then(|word| word.text()).or_else(|| property.text());
            keep(object, owner, &name, text.into_iter().map(str::to_owned).collect());
        }
    }
    Ok(())
}

fn child<'a>(node: Node<'a, 'a>, tag: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(tag))
}

/// Lists of properties, tables and scripts of netsh, one behind the other as they may stand in one file.
fn from_text(text: &str, facts: &mut Facts) {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let (mut object, mut contexts) = (Object::new(), Vec::new());
    let mut last = String::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        index += 1;
        if lines.get(index).is_some_and(|below| is_rule(below)) {
            let rows = lines[index + 1..].iter().take_while(|row| !row.trim().is_empty()).count();
            facts.objects.extend(table(line, lines[index], &lines[index + 1..index + 1 + rows]));
            index += 1 + rows;
        } else if let Some(command) = command(line, &mut contexts) {
            facts.commands.extend(command);
        } else if let Some((name, value)) = property(line) {
            // The same property again belongs to the next object.
            if object.contains_key(&name) {
                facts.objects.push(std::mem::take(&mut object));
            }
            // A long list is broken at the width of the console.
            let mut value = value.to_owned();
            while value.starts_with('{') && !value.ends_with('}') {
                let Some(more) = lines.get(index).filter(|line| line.starts_with(' ') && !line.trim().is_empty()) else { break };
                value = format!("{value} {}", more.trim());
                index += 1;
            }
            let (values, cut) = listed(&value);
            facts.cut.extend(cut.then(|| name.clone()));
            last.clone_from(&name);
            keep(&mut object, "", &name, values);
        } else if line.starts_with(' ') && !line.trim().is_empty() && object.contains_key(&last) {
            // What does not fit into a line goes on below it.
            object.entry(last.clone()).or_default().push(line.trim().to_owned());
        }
    }
    facts.objects.push(object);
}

/// `Name   : value`, beginning at the left edge.
fn property(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '(' | ')');
    let fits = line.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain) && !name.trim_end().contains(' ');
    fits.then(|| (property_name(name), value.trim()))
}

/// The entries of `{a, b}`, or the one value; and whether PowerShell has cut the list short.
fn listed(value: &str) -> (Vec<String>, bool) {
    let Some(inside) = value.strip_prefix('{').and_then(|value| value.strip_suffix('}')) else {
        return (vec![value.to_owned()], false);
    };
    let cut = inside.ends_with("...") || inside.ends_with('\u{2026}');
    let inside = inside.trim_end_matches("...").trim_end_matches('\u{2026}');
    (inside.split(',').map(str::to_owned).collect(), cut)
}

/// What stands below the heads of a table: dashes.
fn is_rule(line: &str) -> bool {
    line.starts_with("--") && line.chars().all(|c| c == '-' || c == ' ')
}

fn table(heads: &str, rule: &str, rows: &[&str]) -> Vec<Object> {
    let columns = words(rule);
    let nearest = |start: usize, end: usize| {
        let distance = |column: &(usize, usize, &str)| {
            let (from, to) = (column.0.max(start), column.1.min(end));
            // Overlaps count below zero, the longer the better.
            (from as i64) - (to as i64)
        };
        columns.iter().enumerate().min_by_key(|(_, column)| distance(column)).map(|(index, _)| index)
    };
    let cells = |line: &str| {
        let mut cells = vec![String::new(); columns.len()];
        for (start, end, word) in words(line) {
            if let Some(cell) = nearest(start, end).and_then(|index| cells.get_mut(index)) {
                cell.push_str(if cell.is_empty() { "" } else { " " });
                cell.push_str(word);
            }
        }
        cells
    };
    let names: Vec<_> = cells(heads).iter().map(|head| property_name(head)).collect();
    let object = |row: &&str| {
        let mut object = Object::new();
        for (name, value) in names.iter().zip(cells(row)) {
            keep(&mut object, "", name, listed(&value).0);
        }
        object
    };
    rows.iter().map(object).collect()
}

/// The words of a line with the columns that they begin and end at.
fn words(line: &str) -> Vec<(usize, usize, &str)> {
    let mut found = Vec::new();
    let mut column = 0;
    for part in line.split_inclusive(' ') {
        let word = part.trim_end_matches(' ');
        let width = word.chars().count();
        if width > 0 {
            found.push((column, column + width, word));
        }
        column += part.chars().count();
    }
    found
}

/// A line of netsh, as typed at the prompt or as a dump has it between `pushd` and `popd`; `None`: it is none, and a line that does nothing is
/// `Some(None)`.
fn command(line: &str, contexts: &mut Vec<Vec<String>>) -> Option<Option<Command>> {
    let line = line.trim();
    if line.starts_with('#') || line.to_ascii_lowercase().starts_with("rem ") {
        return Some(None);
    }
    let mut tokens = tokens(line);
    let first = tokens.first().map(|token| token.to_ascii_lowercase())?;
    match first.as_str() {
        "pushd" => {
            contexts.push(tokens[1..].iter().map(|token| token.to_ascii_lowercase()).collect());
            return Some(None);
        }
        "popd" => {
            contexts.pop();
            return Some(None);
        }
        "netsh" | "netsh.exe" => drop(tokens.remove(0)),
        "ras" => {}
        "add" | "set" | "delete" if !contexts.is_empty() => {
            let context = contexts.last().cloned().unwrap_or_default();
            tokens.splice(0..0, context);
        }
        _ => return None,
    }
    Some(Some(arguments(tokens)))
}

fn arguments(tokens: Vec<String>) -> Command {
    let mut command = Command { words: Vec::new(), arguments: Vec::new() };
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if tokens.next_if(|next| next == "=").is_some() {
            let value = tokens.next().unwrap_or_default();
            command.arguments.push((token.to_ascii_lowercase(), value));
        } else {
            command.words.push(token.to_ascii_lowercase());
        }
    }
    command
}

/// Words, quoted ones without their quotes, and `=` by itself.
fn tokens(line: &str) -> Vec<String> {
    let (mut tokens, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut started = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                started = true;
            }
            ' ' | '\t' | '=' if !quoted => {
                if started {
                    tokens.push(std::mem::take(&mut word));
                    started = false;
                }
                tokens.extend((c == '=').then(|| "=".to_owned()));
            }
            c => {
                word.push(c);
                started = true;
            }
        }
    }
    tokens.extend(started.then_some(word));
    tokens
}
