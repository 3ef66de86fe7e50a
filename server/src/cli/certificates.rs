//! `evergate certificates`: what the gateway shows, to whom and why; of the running gateway, else of the configuration.
use super::text::{Cell, Mark, Style, cell, clean, date, pairs, table, wrap};
use super::{Cli, FAILED, OK, control_socket};
use crate::api::{self, AskError, Call};
use crate::certificates::{CertificateReport, ClientReport, Report, RevocationReport, SOON_DAYS, report};
use crate::config::{self, Config};
use crate::revocation::HttpUrl;
use std::io::{Result, Write};

const WIDTH: usize = 100;

pub(super) fn certificates(cli: &Cli, probe: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let found = match running(cli) {
        Some(answer) => answer,
        None => Config::load(&cli.config_path(), &config::environment())
            .map(|config| report(&config, jiff::Timestamp::now().as_second()))
            .map_err(|error| error.to_string()),
    };
    let mut found = match found {
        Ok(found) => found,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(FAILED);
        }
    };
    if probe {
        look_up(&mut found)?;
    }
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        show(&found, style, out)?;
    }
    Ok(OK)
}

/// What the running gateway says; `None`: there is none, or it cannot be found.
fn running(cli: &Cli) -> Option<std::result::Result<Report, String>> {
    let path = control_socket(cli).ok()?;
    match api::ask(&path, &Call::get("/v1/certificates")) {
        Err(AskError::NotRunning(_) | AskError::Stale(_)) => None,
        answer => Some(answer.map_err(|error| error.to_string())),
    }
}

/// Asks every place of revocation, from here.
fn look_up(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for place in report.certificates.iter_mut().flat_map(|certificate| &mut certificate.revocation) {
            let (reachable, detail) = match answer_of(place).await {
                Ok(detail) => (true, detail),
                Err(reason) => (false, reason),
            };
            (place.reachable, place.detail) = (Some(reachable), Some(detail));
        }
    });
    Ok(())
}

async fn answer_of(place: &RevocationReport) -> std::result::Result<String, String> {
    let url = HttpUrl::parse(&place.url)?;
    if place.kind == "ocsp" {
        // It answers requests that are none with an error of its own, which shows that it is there.
        return url.status().await.map(|status| format!("answers with status {status}"));
    }
    let list = url.get().await?;
    match pki::UnverifiedCrl::from_bytes(&list) {
        Ok(_) => Ok(format!("a revocation list of {} bytes", list.len())),
        Err(error) => Err(format!("what it sends {error}")),
    }
}

pub(super) fn show(report: &Report, style: Style, out: &mut dyn Write) -> Result<()> {
    for certificate in &report.certificates {
        certificate_lines(certificate, style, out)?;
    }
    writeln!(out, "{}", style.mark(Mark::Heading, "Who gets which"))?;
    let rows: Vec<_> = report.clients.iter().map(client_cells).collect();
    table(out, style, &["LISTENER", "CLIENT", "TELLS", "GETS", "SIGNED WITH", "BECAUSE"], &rows)
}

fn certificate_lines(certificate: &CertificateReport, style: Style, out: &mut dyn Write) -> Result<()> {
    let list = |entries: &[String]| if entries.is_empty() { "none".to_owned() } else { entries.join(", ") };
    let addresses: Vec<_> = certificate.addresses.iter().map(ToString::to_string).collect();
    let expires = match certificate.days_left {
        days @ ..0 => style.mark(Mark::Bad, &format!("expired {} days ago", -days)),
        days @ 0..SOON_DAYS => style.mark(Mark::Attention, &format!("in {days} days")),
        days => format!("in {days} days"),
    };
    writeln!(out, "{}  {}", style.mark(Mark::Heading, &clean(&certificate.name)), clean(&certificate.subject))?;
    let meant = |list: &[String], what: &str| (!list.is_empty()).then(|| format!("{what} {}", list.join(", ")));
    let meant: Vec<_> = [meant(&addresses, "addresses"), meant(&certificate.realms, "realms"), meant(&certificate.policies, "policies")]
        .into_iter()
        .flatten()
        .collect();
    let rows = [
        ("  Made out to", list(&certificate.made_out_to)),
        ("  Seen by who asks for", list(&certificate.dialled)),
        ("  Meant for", if meant.is_empty() { "all".to_owned() } else { meant.join("; ") }),
        ("  Shown by", list(&certificate.listeners)),
        ("  Default of", list(&certificate.default_of)),
        ("  Purposes", list(&certificate.extended_key_usage)),
        ("  Key", certificate.key.clone()),
        ("  Issuer", certificate.issuer.clone()),
        ("  Serial number", certificate.serial.clone()),
        ("  SHA-256", certificate.fingerprint.clone()),
        ("  Valid", format!("{} to {}", date(certificate.not_before), date(certificate.not_after))),
    ];
    pairs(out, style, &rows)?;
    writeln!(out, "{}  {expires}", style.mark(Mark::Heading, &format!("{:22}", "  Expires")))?;
    for (at, link) in certificate.chain.iter().enumerate() {
        let title = if at == 0 { "  Chain" } else { "" };
        let kept = if link.sent { "" } else { " (not sent)" };
        let text = format!("{}, until {}{kept}", clean(&link.subject), date(link.not_after));
        writeln!(out, "{}  {text}", style.mark(Mark::Heading, &format!("{title:22}")))?;
    }
    for (at, place) in certificate.revocation.iter().enumerate() {
        let title = if at == 0 { "  Revocation" } else { "" };
        writeln!(
            out,
            "{}  {} {}{}",
            style.mark(Mark::Heading, &format!("{title:22}")),
            place.kind,
            clean(&place.url),
            reach(place, style)
        )?;
    }
    for problem in &certificate.problems {
        let lines = wrap(&clean(problem), WIDTH - 4);
        for (at, line) in lines.iter().enumerate() {
            let mark = if at == 0 { style.mark(Mark::Attention, "!") } else { " ".into() };
            writeln!(out, "  {mark} {line}")?;
        }
    }
    writeln!(out)
}

fn reach(place: &RevocationReport, style: Style) -> String {
    let detail = place.detail.as_deref().unwrap_or_default();
    match place.reachable {
        None => String::new(),
        Some(true) => format!(": {} ({})", style.mark(Mark::Good, "reachable"), clean(detail)),
        Some(false) => format!(": {} ({})", style.mark(Mark::Bad, "not reachable"), clean(detail)),
    }
}

fn client_cells(row: &ClientReport) -> Vec<Cell> {
    let others = row.passed_over.iter().map(|other| format!("not {}: {}", other.certificate, other.reason));
    let because: Vec<_> = std::iter::once(row.why.clone()).chain(others).chain(row.remarks.iter().cloned()).collect();
    let gets = match &row.certificate {
        Some(name) => cell(name),
        None => cell("nothing").marked(Mark::Bad),
    };
    let signed = row.signed_with.as_deref().unwrap_or("-");
    vec![cell(&row.listener), cell(&row.client), cell(&row.tells), gets, cell(signed), cell(because.join("; "))]
}
