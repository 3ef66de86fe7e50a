//! `[nps_log]`.
use super::error::ConfigError;
use super::reader::Root;
use crate::nps_log::{Kinds, Rotation, Settings};
use std::num::NonZeroUsize;

const NPS_LOG: &[&str] = &["folder", "rotate", "max_size_mb", "keep_files", "logins", "challenges", "accounting", "interims"];

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
    if section.has("keep_files") && rotation == Rotation::Never {
        return Err(section.error(
            "keep_files",
            "has no meaning with rotate = \"never\", which makes one file: choose another rotate, or leave this out",
        ));
    }
    let default_keep = rotation.default_keep().map_or(0, |keep| keep.get() as u64);
    let keep = NonZeroUsize::new(usize::try_from(section.number("keep_files", 0..=1_000_000, default_keep)?).unwrap_or(0));
    let logins = section.boolean("logins", true)?;
    let kinds = Kinds {
        logins,
        challenges: section.boolean("challenges", true)? && logins,
        accounting: section.boolean("accounting", true)?,
        interims: section.boolean("interims", false)?,
    };
    Ok(Some(Settings { folder, rotation, keep, kinds }))
}
