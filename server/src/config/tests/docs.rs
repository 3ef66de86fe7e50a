//! `docs/reference/configuration.md`: sections and keys, the types and what is required out of the reader's own errors, the defaults out of what changes
//! nothing, the meaning out of the annotated example.
use super::super::diff::at_start;
use super::*;
use crate::docs::{anchor, cell, head, hold};
use std::collections::BTreeMap;

const ABOUT: &str = "Every section and key of `/etc/evergate/evergate.toml`, as the program reads them. [Configure](../configure.md) explains how files, drop-ins \
and the environment come together; [deploy/evergate.example.toml](../../deploy/evergate.example.toml) is a whole configuration with every key in its place.

A default is what holds where the key is left out. `required` keys have none. Where neither is said, leaving the key out means what the last column says. \
Changes of a key take effect with `evergate reload`, except where the table says *restart*. Certificates and their keys are taken by themselves when their \
files change.";

/// A section in which all of its keys can stand, behind MINIMAL or in its place: (section, lines of it, which of MINIMAL it replaces). The keys of a
/// section that has several such forms belong to the first that knows them.
const FORMS: &[(&str, &str)] = &[
    ("server", ""),
    ("certificate", ""),
    ("ppk", "[[ppk]]\nname = \"phones\"\nsecret_file = \"ppk.secret\"\n"),
    ("listener", "protocol = \"ikev2\"\nauth = [\"eap\", \"certificate\"]\nclient_ca = [\"ca.pem\"]\ntcp = [4500]\n"),
    ("listener", "[[listener]]\nname = \"sstp\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\n"),
    ("radius", ""),
    (
        "radius",
        "[[radius]]\nname = \"nps2\"\ntransport = \"tls\"\naddress = \"10.0.0.5\"\nca = [\"ca.pem\"]\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\n",
    ),
    ("local", "[local]\nusers_file = \"users\"\neap = [\"mschapv2\", \"tls\"]\nclient_ca = [\"ca.pem\"]\n"),
    ("radius_group", "[[radius_group]]\nname = \"corp\"\nservers = [\"nps1\"]\n"),
    (
        "request_policy",
        "[[radius_group]]\nname = \"corp\"\nservers = [\"nps1\"]\n[[request_policy]]\nname = \"everybody\"\ngroup = \"corp\"\n",
    ),
    ("accounting", "[accounting]\n"),
    ("nps_log", "[nps_log]\nfolder = \".\"\nrotate = \"size\"\n"),
    ("telemetry", "[telemetry]\notlp = \"https://otlp.example.test\"\nca = [\"ca.pem\"]\n"),
    ("dynamic_client", "[[dynamic_client]]\nname = \"portal\"\naddress = \"10.0.0.5\"\nsecret_file = \"portal.secret\"\n"),
    (
        "dynamic_client",
        "[[dynamic_client]]\nname = \"portal\"\ntransport = \"tls\"\naddress = \"10.0.0.5\"\nca = [\"ca.pem\"]\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\n",
    ),
    ("pool", ""),
    ("filter", "[[filter]]\nname = \"servers\"\nrules = [\"permit in ip from assigned to any\"]\n"),
    ("policy", "[[radius_group]]\nname = \"corp\"\nservers = [\"nps1\"]\n[[policy]]\nname = \"staff\"\nlater_group = \"corp\"\n"),
    ("policy.test", "[[policy.test]]\nname = \"ann\"\nuser = \"ann@example.test\"\nexpect = \"grant\"\n"),
    ("ciphers", "[ciphers]\n"),
    ("limits", "[limits]\n"),
    ("timers", "[timers]\n"),
    (
        "api",
        "[api]\nlisten = [\"192.0.2.1:8443\"]\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\ntokens_file = \"api.tokens\"\nclient_ca = [\"ca.pem\"]\n",
    ),
    ("metrics", "[metrics]\n"),
];

/// What is said of a key.
#[derive(Debug, Default, Clone)]
struct Key {
    kind: String,
    required: bool,
    default: Option<String>,
}

/// A configuration of which one section takes further lines.
struct Form {
    text: String,
    /// Where the section's own lines begin, and where the next one does.
    own: std::ops::Range<usize>,
}

impl Form {
    fn new(section: &str, lines: &str) -> Self {
        let title = |text: &str| {
            [format!("[[{section}]]\n"), format!("[{section}]\n")]
                .into_iter()
                .find_map(|title| text.rfind(&title).map(|at| at + title.len()))
        };
        let mut text = MINIMAL.to_owned();
        if lines.starts_with('[') {
            text.push_str(lines);
        }
        let start = title(&text).unwrap_or_else(|| panic!("{section} is in no form"));
        if !lines.starts_with('[') && !lines.is_empty() {
            // The section of MINIMAL, with other values.
            let end = text[start..].find("\n[").map_or(text.len(), |at| start + at + 1);
            let kept: String = text[start..end]
                .lines()
                .filter(|line| line.starts_with("name") || line.starts_with("certificates"))
                .map(|line| format!("{line}\n"))
                .collect();
            text.replace_range(start..end, &format!("{kept}{lines}"));
        }
        let end = text[start..].find("\n[").map_or(text.len(), |at| start + at + 1);
        Self { text, own: start..end }
    }

    fn has(&self, key: &str) -> bool {
        self.text[self.own.clone()].lines().any(|line| line.starts_with(&format!("{key} = ")))
    }

    /// With the key set to something else, or without it.
    fn with(&self, key: &str, value: Option<&str>) -> String {
        let own: String = self.text[self.own.clone()]
            .lines()
            .filter(|line| !line.starts_with(&format!("{key} = ")))
            .map(|line| format!("{line}\n"))
            .collect();
        let line = value.map(|value| format!("{key} = {value}\n")).unwrap_or_default();
        format!("{}{line}{own}{}", &self.text[..self.own.start], &self.text[self.own.end..])
    }
}

/// Reads texts in one folder with all the files that they name.
struct Reader(Fixture);

impl Reader {
    fn new() -> Self {
        let fixture = Fixture::new(MINIMAL);
        fixture.file("users", "", 0o600);
        fixture.file("api.tokens", "", 0o600);
        Self(fixture)
    }

    fn read(&self, text: &str) -> Result<Config, ConfigError> {
        self.0.file("evergate.toml", text, 0o644);
        self.0.load()
    }

    /// The names that an error says are accepted.
    fn accepted(&self, text: &str) -> Vec<String> {
        let error = self.read(text).expect_err("the name is unknown");
        let (_, names) = error.problem.split_once("accepted: ").unwrap_or_else(|| panic!("{error}"));
        names.split(", ").map(str::to_owned).collect()
    }

    /// What a form says of a key; `None`: it does not take it.
    fn key(&self, form: &Form, key: &str, examples: &[String]) -> Option<Key> {
        // True and false need no example.
        let examples: Vec<_> = examples.iter().cloned().chain(["true".into(), "false".into()]).collect();
        let error = self.read(&form.with(key, Some("[[1]]"))).expect_err("no key takes that");
        let ours = &*error.key == key;
        let (_, expected) = error.problem.split_once("expected ").filter(|_| ours)?;
        let missing = |error: ConfigError| &*error.key == key && error.problem.starts_with("is missing");
        let required = form.has(key) && self.read(&form.with(key, None)).err().is_some_and(missing);
        let without = self.read(&form.with(key, None)).ok();
        let same = |value: &&String| {
            self.read(&form.with(key, Some(value))).ok().zip(without.clone()).is_some_and(|(with, without)| alike(with, without))
        };
        Some(Key { kind: named(expected), required, default: examples.iter().find(same).cloned() })
    }
}

/// Names of the sections that stand in the forms mean any of their kind.
fn named(expected: &str) -> String {
    let kinds = [("vpn", "certificate"), ("nps1", "radius"), ("corp", "radius_group"), ("users", "pool")];
    let kind = kinds.iter().find(|(name, _)| expected == format!("{name:?}"));
    kind.map_or_else(|| expected.replace("; there is none", ""), |(_, section)| format!("the name of a [[{section}]]"))
}

/// They come to the same.
fn alike(with: Config, without: Config) -> bool {
    let with = Config { written: without.written.clone(), ..with };
    format!("{with:?}") == format!("{without:?}")
}

/// What the annotated example says of a section.
#[derive(Debug, Default)]
struct Told {
    /// `[server]` or `[[policy]]`.
    title: String,
    /// Of the section as a whole.
    about: String,
    /// The values that stand beside a key, and its meaning.
    keys: BTreeMap<String, (Vec<String>, String)>,
}

impl Told {
    /// `keys`: those of the section; `lines`: all about it.
    fn take(&mut self, keys: &[String], lines: &[&str]) {
        let (mut about, mut last): (Vec<String>, Vec<String>) = Default::default();
        for line in lines {
            let assigned = assignment(line).filter(|(key, ..)| keys.contains(key));
            if let Some((key, value, told)) = assigned {
                let told = told.unwrap_or_else(|| std::mem::take(&mut about).join(" "));
                self.add(&key, Some(value), &told);
                last = vec![key];
            } else if let Some((names, told)) = listed(line).filter(|(names, _)| names.iter().all(|name| keys.contains(name))) {
                names.iter().for_each(|name| self.add(name, None, told));
                last = names;
            } else if let Some(more) = continued(line).filter(|_| !last.is_empty()) {
                last.iter().for_each(|name| self.append(name, more));
            } else {
                last.clear();
                let told = line.trim_start_matches('#').trim();
                if title(line).is_some() {
                    self.tell(&std::mem::take(&mut about));
                } else if line.starts_with('#') && !told.is_empty() {
                    about.push(told.to_owned());
                }
            }
        }
    }

    fn add(&mut self, key: &str, value: Option<String>, told: &str) {
        let entry = self.keys.entry(key.into()).or_default();
        entry.0.extend(value);
        if entry.1.is_empty() {
            told.clone_into(&mut entry.1);
        }
    }

    fn append(&mut self, key: &str, more: &str) {
        if let Some((_, told)) = self.keys.get_mut(key).filter(|(_, told)| !told.contains(more)) {
            told.push(' ');
            told.push_str(more);
        }
    }

    /// Paragraphs and lists, as they stand.
    fn tell(&mut self, lines: &[String]) {
        for line in lines {
            let gap = if line.starts_with("- ") { "\n" } else { " " };
            let gap = if self.about.is_empty() { "" } else { gap };
            self.about.push_str(gap);
            self.about.push_str(line);
        }
    }
}

/// The section that a line begins, commented out or not.
fn title(line: &str) -> Option<(&str, &str)> {
    let title = line.trim_start_matches('#').trim();
    let name = title.strip_prefix("[[").and_then(|name| name.strip_suffix("]]")).or_else(|| title.strip_prefix('[')?.strip_suffix(']'))?;
    name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.')).then_some((title, name))
}

/// `key = value   # meaning`, commented out or not.
fn assignment(line: &str) -> Option<(String, String, Option<String>)> {
    let (key, rest) = line.trim_start_matches('#').trim_start().split_once(" = ")?;
    let plain = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let (value, told) = rest.split_once(" # ").map_or((rest, None), |(value, told)| (value, Some(told.trim().to_owned())));
    plain.then(|| (key.to_owned(), value.trim().to_owned(), told))
}

/// `#   key, key    meaning`.
fn listed(line: &str) -> Option<(Vec<String>, &str)> {
    let (names, told) = line.strip_prefix("#   ")?.split_once("  ")?;
    let names: Vec<_> = names.split(", ").map(str::to_owned).collect();
    Some((names, told.trim()))
}

/// A meaning that goes on below.
fn continued(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('#')?;
    let text = inside.trim_start();
    (inside.len() - text.len() >= 20).then(|| text.trim_start_matches('#').trim())
}

/// What the example tells, by section. A section's part begins with the comment above it.
fn annotated(example: &str, keys: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Told> {
    let lines: Vec<_> = example.lines().collect();
    let titles: Vec<_> = lines.iter().enumerate().filter_map(|(at, line)| title(line).map(|(title, name)| (at, title, name))).collect();
    let start = |at: usize| (0..at).rev().find(|above| lines[*above].trim().is_empty()).map_or(0, |blank| blank + 1);
    let mut told = BTreeMap::<String, Told>::new();
    for (index, (at, title, name)) in titles.iter().enumerate() {
        let end = titles.get(index + 1).map_or(lines.len(), |(next, ..)| start(*next).max(*at));
        let section = told.entry((*name).to_owned()).or_default();
        (*title).clone_into(&mut section.title);
        section.take(keys.get(*name).map(Vec::as_slice).unwrap_or_default(), &lines[start(*at)..end]);
    }
    told
}

#[test]
fn docs_reference_of_the_configuration() {
    let reader = Reader::new();
    let sections = reader.accepted(&format!("{MINIMAL}\n[nosuch]\n"));
    let keys: BTreeMap<_, _> = FORMS
        .iter()
        .map(|(section, lines)| ((*section).to_owned(), reader.accepted(&Form::new(section, lines).with("nosuch", Some("1")))))
        .collect();
    assert_eq!(
        sections.iter().filter(|section| !keys.contains_key(*section)).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "no form of it in FORMS"
    );
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/evergate.example.toml")).unwrap();
    let told = annotated(&example, &keys);
    let mut text = head("Configuration", ABOUT);
    text.push('\n');
    sections.iter().for_each(|section| text.push_str(&format!("- [`{0}`](#{1})\n", told[section].title, anchor(&told[section].title))));
    let mut untold = Vec::new();
    for section in &sections {
        let told = &told[section];
        text.push_str(&format!("\n## {}\n\n{}\n", told.title, cell_lines(&told.about)));
        text.push_str("\n| key | type | default | effect | meaning |\n|---|---|---|---|---|\n");
        for key in &keys[section] {
            let (mut examples, mut meaning) = told.keys.get(key).cloned().unwrap_or_default();
            // `how long; "12h" unless told otherwise`
            examples.extend(
                meaning
                    .split(['"', ' '])
                    .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                    .flat_map(|word| [format!("{word:?}"), word.to_owned()]),
            );
            if key == "name" && meaning.is_empty() {
                "What other sections, records and the environment call it by.".clone_into(&mut meaning);
            }
            let forms = FORMS.iter().filter(|(name, _)| name == section).map(|(name, lines)| Form::new(name, lines));
            let found = forms.filter_map(|form| reader.key(&form, key, &examples)).next();
            let Some(found) = found.filter(|_| !meaning.is_empty()) else {
                untold.push(format!("{section}.{key}: {meaning:?}"));
                continue;
            };
            text.push_str(&row(section, key, &found, &meaning));
        }
    }
    assert_eq!(untold, Vec::<String>::new(), "no meaning in the example, or no form in FORMS that takes the key");
    hold("reference/configuration.md", &text);
}

fn cell_lines(text: &str) -> String {
    text.lines().map(cell).collect::<Vec<_>>().join("\n")
}

fn row(section: &str, key: &str, found: &Key, meaning: &str) -> String {
    let heard = Heard { udp: true, tls: true };
    let effect = if at_start(section, key, heard) { "restart" } else { "reload" };
    let default = match &found.default {
        _ if found.required => "required".to_owned(),
        Some(value) => format!("`{}`", value.replace('|', "\\|")),
        None => String::new(),
    };
    format!("| `{key}` | {} | {default} | {effect} | {} |\n", cell(&found.kind), cell(meaning))
}

#[test]
fn docs_forms_tell_defaults_from_other_values() {
    let reader = Reader::new();
    let form = Form::new("timers", "[timers]\n");
    let tries = reader.key(&form, "retransmit_tries", &["7".into(), "5".into()]).unwrap();
    assert_eq!((tries.kind.as_str(), tries.default.as_deref(), tries.required), ("a whole number, 1..=12", Some("5"), false));
    let form = Form::new("radius", "");
    let address = reader.key(&form, "address", &["\"10.0.0.9\"".into()]).unwrap();
    assert!(address.required && address.default.is_none(), "{address:?}");
    assert!(reader.key(&form, "tls_name", &[]).is_none(), "only with TLS");
}
