//! `[accounting]`.
use super::error::ConfigError;
use super::reader::{Root, text};
use super::{RadiusServer, values};
use crate::accounting::Settings;
use std::time::Duration;

const ACCOUNTING: &[&str] = &["interim_interval", "on_off", "queue_max", "required_within"];

/// RFC 2869 section 5.16: not below 60 s, and it should not be below 600 s.
const MIN_INTERIM: Duration = Duration::from_secs(60);
const MAX_INTERIM: Duration = Duration::from_secs(86_400);

/// A server may be slow, and clients that log in again at once must not be what keeps it so.
const REQUIRED_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

/// `logged`: an NPS log hears of sessions too.
pub(super) fn settings(
    root: &Root<'_>,
    radius: &[RadiusServer],
    logged: bool,
    warnings: &mut Vec<String>,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let Some(section) = root.section("accounting", ACCOUNTING)? else { return Ok(settings) };
    let fits = |every: &Duration| every.is_zero() || (MIN_INTERIM..=MAX_INTERIM).contains(every);
    let interval = section.optional(
        "interim_interval",
        "a duration from \"1m\" to \"1d\", or \"0s\" for none unless the RADIUS server sends Acct-Interim-Interval",
        |value| values::duration(text(value)?).filter(fits).ok_or_else(String::new),
    )?;
    if let Some(every) = interval {
        settings.interim_interval = (!every.is_zero()).then_some(every);
    }
    settings.on_off = section.boolean("on_off", settings.on_off)?;
    settings.queue_max = section.number("queue_max", 1_000..=10_000_000, settings.queue_max)?;
    let fits = |within: &Duration| within.is_zero() || REQUIRED_WITHIN.contains(within);
    let required = "a duration from \"5s\" to \"1h\", or \"0s\" where trouble with accounting shall end no session";
    let within =
        section.optional("required_within", required, |value| values::duration(text(value)?).filter(fits).ok_or_else(String::new))?;
    settings.required_within = within.filter(|within| !within.is_zero());
    if radius.iter().all(|server| server.server.accounting_address().is_none()) {
        if settings.required_within.is_some() {
            return Err(section.error("required_within", "no RADIUS server takes accounting: name one, or leave this out"));
        }
        if !logged {
            warnings.push("accounting: no RADIUS server takes accounting, so this section does nothing".into());
        }
    }
    Ok(settings)
}
