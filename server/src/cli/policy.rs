//! `evergate policy`: what the network policies say to an imagined login.
use super::args::{Cli, PolicyArgs, PolicyCommand, PolicyTest};
use super::text::{Mark, Style, cell, clean, count, heading, table, wrap};
use super::{FAILED, OK};
use crate::config::{self, Config};
use crate::facts::local_time;
use crate::policy_case::Case;
use policy::network::{Decision, Policy, Tunnel};
use serde::Serialize;
use std::io::{Result, Write};
use std::path::Path;

#[derive(Debug, Serialize)]
struct Report {
    granted: bool,
    /// The deciding policy; absent: none matches.
    policy: Option<String>,
    /// As NPS numbers it.
    reason: u16,
    /// The constraint that failed, or why the name does not do.
    refusal: Option<String>,
    /// Minutes until the allowed hours end.
    open_for_minutes: Option<u32>,
    tried: Vec<Tried>,
}

#[derive(Debug, Serialize)]
struct Tried {
    policy: String,
    matches: bool,
    /// Its first failing condition.
    reason: Option<String>,
}

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
            let decision = case(test, &config).decide(&config.policies);
            let report = report(decision);
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

fn case(test: &PolicyTest, config: &Config) -> Case {
    let now = || local_time(jiff::Timestamp::now(), &config.server.time_zone);
    let mut case = Case::new(&test.user, test.time.unwrap_or_else(now));
    case.place.tunnel = test.tunnel;
    let first = match test.tunnel {
        Tunnel::Ikev2 => config.ikev2.as_ref().map(|listener| &listener.name),
        Tunnel::Sstp => config.sstp.first().map(|listener| &listener.name),
    };
    case.place.listener = test.listener.as_ref().or(first).cloned().unwrap_or_default();
    case.place.client = test.client.unwrap_or(case.place.client);
    case.place.gateway = test.gateway.unwrap_or(case.place.gateway);
    case.place.cipher_bits = Some(test.cipher_bits);
    case.known.method = test.method;
    case.known.eap_type.clone_from(&test.eap_type);
    case.proved(!test.unconfirmed, test.machine.clone());
    case.known.groups.clone_from(&test.groups);
    case.known.server.clone_from(&test.radius_server);
    case.known.server_group.clone_from(&test.radius_group);
    for (name, value) in &test.attributes {
        case.attribute(name, value);
    }
    (case.sessions.of_user, case.sessions.of_certificate, case.sessions.of_policy) = (test.sessions, test.sessions, test.sessions);
    certificate(test, &mut case);
    case
}

fn certificate(test: &PolicyTest, case: &mut Case) {
    if let Some(subject) = &test.certificate_subject {
        case.certificate().subject.clone_from(subject);
    }
    if let Some(issuer) = &test.certificate_issuer {
        case.certificate().issuer.clone_from(issuer);
    }
    if !test.certificate_san.is_empty() {
        case.certificate().san.clone_from(&test.certificate_san);
    }
    if !test.certificate_eku.is_empty() {
        case.certificate().eku.clone_from(&test.certificate_eku);
    }
    if test.certificate_template.is_some() {
        case.certificate().template.clone_from(&test.certificate_template);
    }
}

fn report(decision: Decision) -> Report {
    let passed = decision.passed_over.into_iter();
    let mut tried: Vec<_> = passed.map(|passed| Tried { policy: passed.policy, matches: false, reason: Some(passed.reason) }).collect();
    tried.extend(decision.policy.iter().map(|policy| Tried { policy: policy.clone(), matches: true, reason: None }));
    Report {
        granted: decision.granted,
        policy: decision.policy,
        reason: decision.reason.code(),
        refusal: decision.refusal,
        open_for_minutes: decision.open_for,
        tried,
    }
}

fn print(report: &Report, policies: &[Policy], style: Style, out: &mut dyn Write) -> Result<()> {
    let (word, mark) = if report.granted { ("grant", Mark::Good) } else { ("deny", Mark::Bad) };
    let by = report.policy.as_ref().map_or_else(|| "no policy matches".into(), |policy| format!("by policy {policy:?}"));
    writeln!(out, "{}, {by} (reason {})", style.mark(mark, word), report.reason)?;
    for line in report.refusal.iter().flat_map(|refusal| wrap(refusal, 100)) {
        writeln!(out, "  {line}")?;
    }
    if let Some(minutes) = report.open_for_minutes {
        writeln!(out, "  the allowed hours end in {minutes} minutes")?;
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
