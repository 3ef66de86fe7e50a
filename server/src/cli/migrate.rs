//! `evergate migrate`: a configuration out of what another VPN server says about itself.
use super::args::{MigrateArgs, MigrateCommand, RrasArgs};
use super::text::clean;
use super::{FAILED, OK};
use crate::nps;
use crate::rras::{self, Migrated};
use std::io::{Read as _, Result, Write};
use std::path::Path;

/// Answers `evergate migrate ...`; returns the exit code.
pub(super) fn migrate(args: &MigrateArgs, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let MigrateCommand::Rras(args) = &args.command;
    let migrated = match rras(args) {
        Ok(migrated) => migrated,
        Err(problem) => {
            writeln!(err, "error: {}", clean(&problem))?;
            return Ok(FAILED);
        }
    };
    if json {
        let Migrated { toml, notes, to_fill } = &migrated;
        writeln!(out, "{:#}", serde_json::json!({ "toml": toml, "notes": notes, "to_fill": to_fill }))?;
        return Ok(OK);
    }
    write!(out, "{}", migrated.toml)?;
    for note in &migrated.notes {
        writeln!(err, "note: {}", clean(note))?;
    }
    for what in &migrated.to_fill {
        writeln!(err, "to fill in: {}", clean(what))?;
    }
    writeln!(err, "{} things to fill in; then `evergate check`", migrated.to_fill.len())?;
    Ok(OK)
}

fn rras(args: &RrasArgs) -> std::result::Result<Migrated, String> {
    let mut files = Vec::new();
    for file in &args.files {
        files.push((file.display().to_string(), read(file, rras::SIZE_MAX)?));
    }
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let imported = match &args.nps {
        Some(file) => Some(nps::import_policies(&read(file, nps::SIZE_MAX)?).map_err(|problem| format!("{} {problem}", file.display()))?),
        None => None,
    };
    let options = rras::Options { name: args.name.as_deref(), policies: imported.as_ref().map(|imported| imported.toml.as_str()) };
    let mut migrated = rras::migrate(&files, &options)?;
    migrated.notes.extend(imported.into_iter().flat_map(|imported| imported.notes));
    Ok(migrated)
}

/// One byte more than `max` at most: enough to be told that it is too large.
fn read(file: &Path, max: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    opened
        .and_then(|opened| opened.take(max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(bytes)
}
