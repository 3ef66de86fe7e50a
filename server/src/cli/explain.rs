//! `evergate explain`: numbers from the table, stories from the running gateway.
use super::show::{WIDTH, list, paragraph};
use super::text::{Mark, Style, clean, heading, time, wrap};
use super::{Cli, FAILED, OK, ask};
use crate::api::types::Explanation;
use crate::api::{Call, ExplainQuery};
use crate::config::{self, Config};
use crate::explain::names::Names;
use crate::explain::numbers::{self, Case, Commands};
use std::io::{Result, Write};

/// Answers `evergate explain`; returns the exit code.
pub(super) fn explain(cli: &Cli, what: &[String], style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let what = what.join(" ");
    match numbers::number(&what) {
        Some(number) => of_number(cli, &number, style, out, err),
        None => {
            let query = ExplainQuery { what };
            ask(cli, Call::get("/v1/explain").with_query(&query), story, style, out, err)
        }
    }
}

fn of_number(cli: &Cli, number: &str, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let cases = numbers::cases(number);
    if cases.is_empty() {
        writeln!(err, "error: {number} is none of the numbers that clients show for a VPN; known are: {}", numbers::all().join(", "))?;
        return Ok(FAILED);
    }
    // Without a configuration the lines ask for the names themselves.
    let names = Config::load(&cli.config_path(), &config::environment()).map(|config| Names::of(&config)).unwrap_or_default();
    let cases: Vec<_> = cases.into_iter().map(|case| case.filled(&names, None)).collect();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&serde_json::json!({ "number": number, "cases": cases }))?)?;
        return Ok(OK);
    }
    for (at, case) in cases.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        let name = numbers::name(case, number);
        let title = format!("{number} {name}: {} ({})", case.title, case.tunnels.join(", "));
        writeln!(out, "{}", style.mark(Mark::Heading, &title))?;
        whole(case, style, out)?;
    }
    Ok(OK)
}

fn whole(case: &Case, style: Style, out: &mut dyn Write) -> Result<()> {
    paragraph(out, style, "What the gateway sees", Some(&case.seen))?;
    paragraph(out, style, "Why nothing of it", case.client_only.as_deref())?;
    let counted = case.counted.as_ref().map(|counter| format!("no attempt; {counter} under IKE in `evergate status` goes up"));
    paragraph(out, style, "What is kept of it", counted.as_deref())?;
    paragraph(out, style, "Why", Some(&case.cause))?;
    paragraph(out, style, "What to do", Some(&case.fix))?;
    commands(&case.commands, style, out)
}

/// Lines to type stand alone on theirs, however long: they are copied. So nothing in them may begin another line.
fn commands(all: &[Commands], style: Style, out: &mut dyn Write) -> Result<()> {
    for commands in all {
        writeln!(out, "  {}", style.mark(Mark::Faint, &format!("# {}", clean(&commands.place))))?;
        commands.lines.iter().try_for_each(|line| writeln!(out, "  {}", clean(line)))?;
    }
    Ok(())
}

/// The story of an attempt.
pub(super) fn story(shown: &Explanation, style: Style, out: &mut dyn Write) -> Result<()> {
    let attempt = &shown.attempt;
    let title = format!("Attempt {}, {}", attempt.summary.id, time(attempt.summary.started_at));
    writeln!(out, "{}", style.mark(Mark::Heading, &title))?;
    for sentence in &shown.told {
        wrap(&clean(sentence), WIDTH).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    paragraph(out, style, "What to do", attempt.fix.as_deref())?;
    commands(&shown.commands, style, out)?;
    list(out, style, "Client offered", &attempt.offered)?;
    list(out, style, "Accepted here", &attempt.accepted)?;
    list(out, style, "Network policies", &attempt.decision)?;
    if !shown.cases.is_empty() {
        heading(out, style, "What else may be behind such a number")?;
    }
    for case in &shown.cases {
        let numbers: Vec<_> = case.numbers.keys().map(String::as_str).collect();
        wrap(&format!("{}: {}. {}.", numbers.join(", "), case.title, case.cause), WIDTH)
            .iter()
            .try_for_each(|line| writeln!(out, "  {line}"))?;
        commands(&case.commands, style, out)?;
    }
    heading(out, style, "More")?;
    writeln!(out, "  evergate attempts show {}    its timeline", attempt.summary.id)
}
