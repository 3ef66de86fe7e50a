//! The documentation (`docs/`) held against the code: what is generated is what the code makes, and whatever stands in a block that somebody may copy is
//! read by what would read it. `tests/interop/cases_docs.py` runs the commands.
mod api;
mod blocks;
mod commands;
mod errors;
mod links;
pub(crate) mod powershell;

use std::fs;
use std::path::{Path, PathBuf};

const UPDATE: &str = "UPDATE_DOCS=1 cargo test -p evergate --lib docs";

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page that people read, by its path from the top of the repository.
fn pages() -> Vec<(String, String)> {
    let mut files = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/reference"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        files.extend(entries.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(root().join(&file)).unwrap())).collect()
}

/// The generated file is as `text`, or becomes so where the environment has `UPDATE_DOCS`.
pub(crate) fn hold(file: &str, text: &str) {
    let path = root().join("docs").join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(committed == text, "docs/{file} is not what the code makes: run  {UPDATE}  and commit it. First difference: {differs:#?}");
}

/// What stands at the top of a generated page.
pub(crate) fn head(title: &str, about: &str) -> String {
    format!("<!-- Generated: {UPDATE} -->\n# {title}\n\n{about}\n")
}

/// Text in a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    let mut cell = String::new();
    // Names in angle brackets would be markup outside of code.
    for (index, part) in text.split('`').enumerate() {
        cell.push_str(if index == 0 { "" } else { "`" });
        cell.push_str(&if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    }
    cell.replace('|', "\\|").replace('\n', " ")
}

/// How GitHub names a heading in links.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>();
    kept.replace(' ', "-")
}
