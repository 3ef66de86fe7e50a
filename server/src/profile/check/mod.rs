//! A profile that exists, held against the gateway: what would fail, with which number, and what to change on which side.
mod judge;
mod network;
mod others;
mod rules;
mod said;
mod strongswan;
mod windows;

use crate::config::Config;
use crate::nps::decoded;
use pki::{Certificate, UnixTime};
use serde::Serialize;

/// Bytes of a profile that are read at most.
const SIZE_MAX: usize = 4 << 20;

/// What is to be said of a profile.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing of it fails.
    pub ok: bool,
    /// What the file is: `ProfileXML`.
    pub format: &'static str,
    pub connections: Vec<Judged>,
}

/// One connection of a profile.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// What it dials.
    pub server: String,
    /// The tunnels that it makes and this gateway has.
    pub tunnels: Vec<String>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The client does not connect, or loses its tunnel.
    Fail,
    Warn,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What Windows shows for it, the likeliest in front; `evergate explain` knows them. Empty: it comes to no login, or to no number.
    pub numbers: Vec<String>,
    pub problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_gateway: Option<String>,
}

/// Compares a profile, whatever its format, with the gateway of this configuration. `authorities`: those that the configuration does not hold.
///
/// # Errors
/// Why the file is no profile that can be read.
pub fn check(config: &Config, bytes: &[u8], authorities: &[Certificate], now: UnixTime) -> Result<Report, String> {
    let said = read(bytes)?;
    let format = said.first().map_or("profile", |said| said.format);
    let connections: Vec<_> = said.iter().map(|said| judge::judge(config, said, authorities, now)).collect();
    let fails = connections.iter().flat_map(|one| &one.findings).any(|finding| finding.level == Level::Fail);
    Ok(Report { ok: !fails, format, connections })
}

/// The format shows itself.
fn read(bytes: &[u8]) -> Result<Vec<said::Said>, String> {
    if bytes.len() > SIZE_MAX {
        return Err(format!("has {} bytes; a profile has {SIZE_MAX} at most", bytes.len()));
    }
    match bytes {
        [b'b', b'p', b'l', b'i', b's', b't', ..] => return others::apple(bytes),
        [0x30, 0x80..=0x84, ..] => return Err("is signed or encrypted: give the profile as it was before".into()),
        _ => {}
    }
    let text = decoded(bytes).ok_or("is neither UTF-8 nor UTF-16")?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.chars().next() {
        Some('<') if text.contains("<plist") => others::apple(text.as_bytes()),
        Some('<') => windows::read(text),
        Some('{') => others::android(text.as_bytes()),
        _ if text.lines().any(|line| line.trim() == "[connection]") => others::networkmanager(text),
        Some(_) => strongswan::read(text),
        None => Err("is empty".into()),
    }
}
