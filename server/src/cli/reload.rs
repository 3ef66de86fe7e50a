//! What a reload came to, for people.
use super::text::{Mark, Style, cell, clean, heading, table};
use crate::api::types::{Judged, JudgedList, Reloaded, Verdict};
use crate::api::{self, AskError, Call};
use crate::config::{Change, What};
use std::io::{Result, Write};
use std::time::Duration;

/// A reload looks names up and reads files: the gateway gives it a minute.
const PATIENCE: Duration = Duration::from_secs(65);

pub(super) fn call(wanted: api::Reload) -> std::result::Result<Call, AskError> {
    Ok(Call::post("/v1/configuration/reload", &wanted)?.with_patience(PATIENCE))
}

pub(super) fn look() -> Call {
    Call::get("/v1/configuration/changes").with_patience(PATIENCE)
}

/// The same before it is done.
pub(super) fn foreseen(report: &Reloaded, style: Style, out: &mut dyn Write) -> Result<()> {
    match report.changes.len() {
        0 => writeln!(out, "nothing would change that takes effect")?,
        1 => writeln!(out, "1 change would take effect")?,
        number => writeln!(out, "{number} changes would take effect")?,
    }
    details(report, "Sessions to which the policies would say something else then", style, out)
}

pub(super) fn reloaded(report: &Reloaded, style: Style, out: &mut dyn Write) -> Result<()> {
    match report.changes.len() {
        0 => writeln!(out, "reloaded: nothing has changed that takes effect")?,
        1 => writeln!(out, "reloaded: 1 change has taken effect")?,
        number => writeln!(out, "reloaded: {number} changes have taken effect")?,
    }
    let hint = match hints(report) {
        hints if hints.is_empty() => String::new(),
        hints => format!(" ({})", hints.join("; ")),
    };
    details(report, &format!("Sessions to which the policies would say something else now{hint}"), style, out)?;
    match report.applied.len() {
        0 => {}
        1 => writeln!(out, "\n1 session has what the policies say now")?,
        applied => writeln!(out, "\n{applied} sessions have what the policies say now")?,
    }
    match report.ended.len() {
        0 => Ok(()),
        1 => writeln!(out, "\n1 session is being ended"),
        ended => writeln!(out, "\n{ended} sessions are being ended"),
    }
}

/// What can be done about sessions that keep what they have.
fn hints(report: &Reloaded) -> Vec<&'static str> {
    let any = |verdict| report.judged.iter().any(|judged| judged.verdict == verdict);
    let apply = any(Verdict::Otherwise) && report.applied.is_empty();
    let end = any(Verdict::Refused) && report.ended.is_empty();
    [
        apply.then_some("evergate reload --apply-to-sessions gives them what takes no other login"),
        end.then_some("evergate reload --end-refused ends those that are refused"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn details(report: &Reloaded, title: &str, style: Style, out: &mut dyn Write) -> Result<()> {
    changes(&report.changes, style, out)?;
    if !report.needs_restart.is_empty() {
        heading(out, style, "Needs a restart; until then it stays as it was")?;
        changes(&report.needs_restart, style, out)?;
    }
    if !report.warnings.is_empty() {
        heading(out, style, "Warnings")?;
        for warning in &report.warnings {
            writeln!(out, "  {}", style.mark(Mark::Attention, &clean(warning)))?;
        }
    }
    if !report.judged.is_empty() {
        heading(out, style, title)?;
        judged(&report.judged, &report.applied, style, out)?;
    }
    Ok(())
}

pub(super) fn would_refuse(JudgedList { sessions }: &JudgedList, style: Style, out: &mut dyn Write) -> Result<()> {
    if sessions.is_empty() {
        return writeln!(out, "every session would get today what it has");
    }
    judged(sessions, &[], style, out)
}

fn judged(sessions: &[Judged], applied: &[u64], style: Style, out: &mut dyn Write) -> Result<()> {
    let row = |judged: &Judged| {
        let (now, mark) = match judged.verdict {
            Verdict::Refused => (judged.verdict.to_string(), Mark::Bad),
            Verdict::Otherwise if applied.contains(&judged.id) => ("applied".into(), Mark::Good),
            Verdict::Otherwise => (judged.verdict.to_string(), Mark::Attention),
        };
        let why = match &judged.only_login[..] {
            [] => judged.cause.clone(),
            keys => format!("{}; only another login brings {}", judged.cause, keys.join(", ")),
        };
        vec![cell(judged.id.to_string()), cell(&judged.user), cell(&judged.policy), cell(now).marked(mark), cell(why)]
    };
    table(out, style, &["ID", "USER", "GRANTED BY", "NOW", "WHY"], &sessions.iter().map(row).collect::<Vec<_>>())
}

fn changes(changes: &[Change], style: Style, out: &mut dyn Write) -> Result<()> {
    for change in changes {
        let (sign, mark) = match change.change {
            What::Added => ("+", Mark::Good),
            What::Removed => ("-", Mark::Bad),
            What::Changed | What::Reordered => ("~", Mark::Attention),
        };
        writeln!(out, "  {} {}", style.mark(mark, sign), clean(&change.to_string()))?;
    }
    Ok(())
}
