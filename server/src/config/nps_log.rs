//! `[nps_log]`.
use super::error::ConfigError;
use super::reader::Root;
use crate::nps_log::{Kinds, Rotation, Settings};

const NPS_LOG: &[&str] = &["folder", "rotate", "max_size_mb", "logins", "accounting", "interims"];

/// As NPS has it where nobody says anything: 10 MB.
const DEFAULT_SIZE: u64 = 10;
const MEGABYTE: u64 = 1_048_576;

pub(super) fn settings(root: &Root<'_>) -> Result<Option<Settings>, ConfigError> {
    let Some(section) = root.section("nps_log", NPS_LOG)? else { return Ok(None) };
    let folder = section
        .path("folder")?
        .ok_or_else(|| section.error("folder", "is missing; expected the folder for the log files, such as \"/var/log/evergate\""))?;
    let size = section.number("max_size_mb", 1..=100_000, DEFAULT_SIZE)?;
    let by_size = Rotation::Size(size * MEGABYTE);
    let words = [
        ("daily", Rotation::Daily),
        ("weekly", Rotation::Weekly),
        ("monthly", Rotation::Monthly),
        ("size", by_size),
        ("never", Rotation::Never),
    ];
    let rotation = section.choice("rotate", &words)?.unwrap_or(Rotation::Monthly);
    if section.has("max_size_mb") && rotation != by_size {
        return Err(section.error("max_size_mb", "is for rotate = \"size\" alone: say that, or leave this out"));
    }
    let kinds = Kinds {
        logins: section.boolean("logins", true)?,
        accounting: section.boolean("accounting", true)?,
        interims: section.boolean("interims", false)?,
    };
    Ok(Some(Settings { folder, rotation, kinds }))
}
