//! `evergate explain`: numbers from the table, stories from the running gateway.
use super::show::{WIDTH, list, paragraph};
use super::text::{Mark, Style, clean, heading, time, wrap};
use super::{Cli, FAILED, OK, fetch};
use crate::api::types::Explanation;
use crate::api::{Call, ExplainQuery};
use crate::config::{self, Config};
use crate::doctor::{self, Finding};
use crate::explain::names::Names;
use crate::explain::numbers::{self, Case, Commands};
use std::io::{Result, Write};

/// Answers `evergate explain`; returns the exit code. `more`: all of it.
pub(super) fn explain(cli: &Cli, what: &[String], more: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let what = what.join(" ");
    match numbers::number(&what) {
        Some(number) => of_number(cli, &number, more, style, out, err),
        None => of_attempt(cli, what, more, style, out, err),
    }
}

fn of_attempt(cli: &Cli, what: String, more: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let query = ExplainQuery { what };
    let shown: Explanation = match fetch(cli, Call::get("/v1/explain").with_query(&query)) {
        Ok(shown) => shown,
        Err(unanswered) => return unanswered.tell(err),
    };
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
        return Ok(OK);
    }
    story(&shown, more, style, out)?;
    if looks_like_a_blocked_port(&shown) {
        this_host(cli, style, out)?;
    }
    if more { rest(&shown, style, out) } else { writeln!(out, "\nThe rest of it: evergate explain {} --more", shown.attempt.summary.id) }?;
    Ok(OK)
}

fn looks_like_a_blocked_port(Explanation { attempt, .. }: &Explanation) -> bool {
    attempt.tunnel == "ikev2" && attempt.windows_code.as_deref() == Some("809")
}

/// What the firewall of this host says of it, where the configuration and the rules can be read.
fn this_host(cli: &Cli, style: Style, out: &mut dyn Write) -> Result<()> {
    let config = Config::load(&cli.config_path(), &config::environment());
    let found = config.map(|config| doctor::firewall_on_ike(&config)).unwrap_or_default();
    if found.is_empty() {
        return Ok(());
    }
    heading(out, style, "The firewall of this host")?;
    for Finding { text, remedy, .. } in found {
        wrap(&clean(&text), WIDTH).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        remedy.iter().try_for_each(|remedy| writeln!(out, "  -> {}", clean(remedy)))?;
    }
    Ok(())
}

fn of_number(cli: &Cli, number: &str, more: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
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
        if more { whole(case, style, out) } else { brief(case, style, out) }?;
    }
    if !more {
        writeln!(out, "\nThe rest of it: evergate explain {number} --more")?;
    }
    Ok(OK)
}

fn brief(case: &Case, style: Style, out: &mut dyn Write) -> Result<()> {
    paragraph(out, style, "Why", Some(&case.cause))?;
    paragraph(out, style, "What to do", Some(&case.fix))?;
    Typed::default().first(&case.commands, style, out)
}

fn whole(case: &Case, style: Style, out: &mut dyn Write) -> Result<()> {
    paragraph(out, style, "What the gateway sees", Some(&case.seen))?;
    paragraph(out, style, "Why nothing of it", case.client_only.as_deref())?;
    let counted = case.counted.as_ref().map(|counter| format!("no attempt; {counter} under IKE in `evergate status` goes up"));
    paragraph(out, style, "What is kept of it", counted.as_deref())?;
    paragraph(out, style, "Why", Some(&case.cause))?;
    paragraph(out, style, "What to do", Some(&case.fix))?;
    Typed::default().all(&case.commands, style, out)
}

/// Lines to type, each once. They stand alone on theirs, however long: they are copied. So nothing in them may begin another line.
#[derive(Default)]
struct Typed {
    shown: Vec<String>,
}

impl Typed {
    /// The first one; where they are keys of the configuration, all of them.
    fn first(&mut self, all: &[Commands], style: Style, out: &mut dyn Write) -> Result<()> {
        let Some(first) = all.first() else { return Ok(()) };
        let is_toml = first.lines.first().is_some_and(|line| line.starts_with('['));
        self.lines(&first.place, &first.lines[..if is_toml { first.lines.len() } else { first.lines.len().min(1) }], style, out)
    }

    fn all(&mut self, all: &[Commands], style: Style, out: &mut dyn Write) -> Result<()> {
        all.iter().try_for_each(|commands| self.lines(&commands.place, &commands.lines, style, out))
    }

    fn lines(&mut self, place: &str, lines: &[String], style: Style, out: &mut dyn Write) -> Result<()> {
        let fresh: Vec<_> = lines.iter().filter(|line| !self.shown.contains(line)).cloned().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        writeln!(out, "  {}", style.mark(Mark::Faint, &format!("# {}", clean(place))))?;
        fresh.iter().try_for_each(|line| writeln!(out, "  {}", clean(line)))?;
        self.shown.extend(fresh);
        Ok(())
    }
}

/// The story of an attempt: why, and what to do; with the first line to type, or with all.
fn story(shown: &Explanation, more: bool, style: Style, out: &mut dyn Write) -> Result<()> {
    let attempt = &shown.attempt;
    let title = format!("Attempt {}, {}", attempt.summary.id, time(attempt.summary.started_at));
    writeln!(out, "{}", style.mark(Mark::Heading, &title))?;
    for sentence in &shown.told {
        wrap(&clean(sentence), WIDTH).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    paragraph(out, style, "What to do", attempt.fix.as_deref())?;
    let mut typed = Typed::default();
    if more { typed.all(&shown.commands, style, out) } else { typed.first(&shown.commands, style, out) }
}

/// What is not told at first.
fn rest(shown: &Explanation, style: Style, out: &mut dyn Write) -> Result<()> {
    let attempt = &shown.attempt;
    if matches!(attempt.summary.stage.as_str(), "sa_init" | "child_sa") {
        list(out, style, "Client offered", &attempt.offered)?;
        list(out, style, "Accepted here", &attempt.accepted)?;
    }
    list(out, style, "Network policies", &attempt.decision)?;
    let others: &[Case] = if shown.certain { &[] } else { &shown.cases };
    if !others.is_empty() {
        heading(out, style, "What else may be behind such a number")?;
    }
    let mut typed = Typed { shown: shown.commands.iter().flat_map(|commands| commands.lines.clone()).collect() };
    for case in others {
        let numbers: Vec<_> = case.numbers.keys().map(String::as_str).collect();
        wrap(&format!("{}: {}. {}.", numbers.join(", "), case.title, case.cause), WIDTH)
            .iter()
            .try_for_each(|line| writeln!(out, "  {line}"))?;
        typed.all(&case.commands, style, out)?;
    }
    heading(out, style, "More")?;
    writeln!(out, "  evergate attempts show {}    its timeline", attempt.summary.id)
}
