//! `evergate doctor`: findings, and what to do about them.
use super::args::{Cli, DoctorArgs};
use super::text::{Mark, Style, clean, wrap};
use super::{FAILED, OK};
use crate::config::{self, Config};
use crate::doctor::{self, Finding, Level};
use std::io::{Result, Write};

/// Columns of what is told.
const WIDTH: usize = 120;

pub(super) fn doctor(cli: &Cli, args: &DoctorArgs, style: Style, out: &mut dyn Write) -> Result<u8> {
    if let Some(host) = &args.probe {
        let DoctorArgs { ca, ike_port, nat_port, sstp_port, .. } = args;
        let dial = doctor::Dial { host, ike_port: *ike_port, nat_port: *nat_port, sstp_port: *sstp_port, authorities: ca.as_deref() };
        return report(doctor::probe(&dial), cli.json, style, out);
    }
    let findings = match Config::load(&cli.config_path(), &config::environment()) {
        Ok(config) => doctor::examine(&config),
        Err(error) => vec![Finding::fail("configuration", error.to_string(), "correct it first; `evergate check` tells when it is good")],
    };
    report(findings, cli.json, style, out)
}

/// Prints them; the exit code.
pub(super) fn report(findings: Vec<Finding>, json: bool, style: Style, out: &mut dyn Write) -> Result<u8> {
    let report = doctor::Report::new(findings);
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let findings = &report.findings;
        findings.iter().try_for_each(|finding| print(finding, style, out))?;
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        writeln!(out, "\n{} ok, {} to look at, {} failed", count(Level::Ok), count(Level::Warn), count(Level::Fail))?;
    }
    Ok(if report.ok { OK } else { FAILED })
}

fn print(finding: &Finding, style: Style, out: &mut dyn Write) -> Result<()> {
    let (mark, word) = match finding.level {
        Level::Ok => (Mark::Good, "ok  "),
        Level::Warn => (Mark::Attention, "warn"),
        Level::Fail => (Mark::Bad, "fail"),
    };
    let check = style.mark(Mark::Heading, &format!("{:13}", finding.check));
    writeln!(out, "{} {check} {}", style.mark(mark, word), clean(&finding.text))?;
    let Some(remedy) = &finding.remedy else { return Ok(()) };
    let mut arrow = "->";
    for line in wrap(&clean(remedy), WIDTH) {
        writeln!(out, "{:18} {arrow} {line}", "")?;
        arrow = "  ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(findings: Vec<Finding>, json: bool) -> (u8, String) {
        let mut out = Vec::new();
        let code = report(findings, json, Style { colours: false }, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_warning_is_no_failure() {
        let ok = Finding::ok("clock", "the clock is synchronised");
        let warn = Finding::warn("mtu", "too small", "make it larger");
        let (code, text) = printed(vec![ok.clone(), warn.clone()], false);
        assert_eq!(code, OK);
        let wanted = "ok   clock         the clock is synchronised\nwarn mtu           too small\n                   -> make it larger\n\n1 ok, 1 to look at, 0 failed\n";
        assert_eq!(text, wanted);
        let (code, text) = printed(vec![ok, warn, Finding::fail("pool", "no \u{1b}[31m", "x")], false);
        assert_eq!(code, FAILED);
        assert!(text.contains(r"fail pool          no \u{1b}[31m"), "{text}");
    }

    #[test]
    fn programs_read_json() {
        let (code, text) = printed(vec![Finding::fail("pool", "p", "r"), Finding::ok("tun", "t")], true);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, FAILED);
        assert_eq!(value["ok"], false);
        assert_eq!(value["findings"][0], serde_json::json!({"level": "fail", "check": "pool", "text": "p", "remedy": "r"}));
        assert_eq!(value["findings"][1].get("remedy"), None);
    }
}
