//! `evergate migrate`: a configuration out of what another VPN server says about itself.
use super::args::{MigrateArgs, MigrateCommand, RrasArgs};
use super::text::clean;
use super::{FAILED, OK};
use crate::rras::{self, Migrated};
use std::io::{Result, Write};
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
    let read = |file: &Path| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
    let mut files = Vec::new();
    for file in &args.files {
        files.push((file.display().to_string(), read(file)?));
    }
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let imported = match &args.nps {
        Some(file) => Some(crate::nps::import_policies(&read(file)?).map_err(|problem| format!("{} {problem}", file.display()))?),
        None => None,
    };
    let options = rras::Options { name: args.name.as_deref(), policies: imported.as_ref().map(|imported| imported.toml.as_str()) };
    let mut migrated = rras::migrate(&files, &options)?;
    migrated.notes.extend(imported.into_iter().flat_map(|imported| imported.notes));
    Ok(migrated)
}
