//! `evergate policy`: what the network policies say to an imagined login.
use super::args::{Cli, PolicyArgs, PolicyCommand};
use super::text::{Mark, Style, cell, clean, count, heading, table, wrap};
use super::{FAILED, OK};
use crate::config::{self, Config};
use crate::policy_case::PolicyVerdict;
use policy::network::Policy;
use std::io::{Result, Write};
use std::path::Path;

/// Answers `evergate policy ...`; returns the exit code.
pub(super) fn policy(cli: &Cli, args: &PolicyArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    match &args.command {
        PolicyCommand::Test(test) => {
            let config = match Config::load(&cli.config_path(), &config::environment()) {
                Ok(config) => config,
                Err(error) => {
                    writeln!(err, "error: {error}")?;
                    return Ok(FAILED);
                }
            };
            let report = match test.decide(&config, jiff::Timestamp::now()) {
                Ok(report) => report,
                Err(problem) => {
                    writeln!(err, "error: {problem}")?;
                    return Ok(FAILED);
                }
            };
            if cli.json {
                writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
            } else {
                print(&report, &config.policies, style, out)?;
            }
            Ok(OK)
        }
        PolicyCommand::Import { file } => import(cli.json, file, out, err),
    }
}

/// Sections to standard output, everything to be said of them to standard error.
fn import(json: bool, file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let imported = match std::fs::read(file).map_err(|error| error.to_string()).and_then(|bytes| crate::nps::import(&bytes)) {
        Ok(imported) => imported,
        Err(problem) => {
            writeln!(err, "error: {} {problem}", file.display())?;
            return Ok(FAILED);
        }
    };
    if json {
        let report = serde_json::json!({ "toml": imported.toml, "notes": imported.notes, "policies": imported.policies });
        writeln!(out, "{report:#}")?;
        return Ok(OK);
    }
    write!(out, "{}", imported.toml)?;
    for note in &imported.notes {
        writeln!(err, "note: {}", clean(note))?;
    }
    writeln!(err, "{} policies written; look at each, and at its pool, before you use them", imported.policies)?;
    Ok(OK)
}

fn print(report: &PolicyVerdict, policies: &[Policy], style: Style, out: &mut dyn Write) -> Result<()> {
    let (word, mark) = if report.granted { ("grant", Mark::Good) } else { ("deny", Mark::Bad) };
    let by = report.policy.as_ref().map_or_else(|| "no policy matches".into(), |policy| format!("by policy {policy:?}"));
    writeln!(out, "{}, {by} (reason {})", style.mark(mark, word), report.reason)?;
    for line in report.refusal.iter().flat_map(|refusal| wrap(refusal, 100)) {
        writeln!(out, "  {line}")?;
    }
    if let Some(minutes) = report.open_for_minutes {
        writeln!(out, "  the allowed hours end in {minutes} minutes")?;
    }
    for line in report.certificate.iter().flat_map(|shown| wrap(&format!("is shown certificate {:?}: {}", shown.name, shown.why), 100)) {
        writeln!(out, "  {line}")?;
    }
    heading(out, style, "Policies, in order")?;
    let row = |(index, policy): (usize, &Policy)| {
        let tried = report.tried.get(index);
        let (found, why) = match tried {
            Some(tried) if tried.matches => ("matches", ""),
            Some(tried) => ("does not match", tried.reason.as_deref().unwrap_or_default()),
            None => ("not tried", ""),
        };
        let mark = if tried.is_some_and(|tried| tried.matches) { mark } else { Mark::Faint };
        vec![count(index + 1), cell(&policy.name), cell(found).marked(mark), cell(why)]
    };
    table(out, style, &["#", "NAME", "CONDITIONS", "FIRST THAT FAILS"], &policies.iter().enumerate().map(row).collect::<Vec<_>>())
}
