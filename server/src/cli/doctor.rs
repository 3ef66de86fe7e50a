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
        return report(doctor::probe(&dial), shape(cli, args), style, out);
    }
    let findings = match Config::load(&cli.config_path(), &config::environment()) {
        Ok(config) => doctor::examine(&config),
        Err(error) => vec![Finding::fail("configuration", error.to_string(), "correct it first; `evergate check` tells when it is good")],
    };
    report(findings, shape(cli, args), style, out)
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// What deserves a look, worst first; what is well in one line for each check.
    Short,
    /// Each finding, with hints.
    All,
    Json,
}

fn shape(cli: &Cli, args: &DoctorArgs) -> Shape {
    match (cli.json, args.all) {
        (true, _) => Shape::Json,
        (false, true) => Shape::All,
        (false, false) => Shape::Short,
    }
}

/// Prints them; the exit code.
fn report(findings: Vec<Finding>, shape: Shape, style: Style, out: &mut dyn Write) -> Result<u8> {
    let report = doctor::Report::new(findings);
    if shape == Shape::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let findings = &report.findings;
        let of = |level| findings.iter().filter(move |finding| finding.level == level).cloned().collect::<Vec<_>>();
        let (well, warned, failed) = (of(Level::Ok), of(Level::Warn), of(Level::Fail));
        let counts = (well.len(), warned.len(), failed.len());
        let told = match shape {
            Shape::Short => [failed, joined(warned), folded(&well)].concat(),
            _ => [failed, warned, well].concat(),
        };
        told.iter().try_for_each(|finding| print(finding, style, out))?;
        let more = if shape == Shape::Short { " (--all lists each)" } else { "" };
        writeln!(out, "\n{} ok{more}, {} to look at, {} failed", counts.0, counts.1, counts.2)?;
    }
    Ok(if report.ok { OK } else { FAILED })
}

/// One finding for each check.
fn folded(well: &[Finding]) -> Vec<Finding> {
    let mut checks: Vec<&'static str> = Vec::new();
    for finding in well {
        if !checks.contains(&finding.check) {
            checks.push(finding.check);
        }
    }
    let fold = |check: &'static str| {
        let of_check: Vec<_> = well.iter().filter(|finding| finding.check == check).collect();
        match of_check[..] {
            [only] => Finding::ok(check, only.text.clone()),
            _ => Finding::ok(check, format!("{} things are as they should be", of_check.len())),
        }
    };
    checks.into_iter().map(fold).collect()
}

/// Those that say the same of several interfaces become one.
fn joined(findings: Vec<Finding>) -> Vec<Finding> {
    /// The first of them, and the words in which the others differ from it.
    struct Group {
        first: Finding,
        words: Vec<String>,
    }
    let mut groups: Vec<Group> = Vec::new();
    for finding in findings {
        let found = groups.iter_mut().find_map(|group| Some((difference(&group.first, &finding)?, group)));
        match found {
            Some(((own, other), group)) if group.words.is_empty() => group.words = vec![own, other],
            Some(((own, other), group)) if group.words[0] == own => group.words.push(other),
            _ => groups.push(Group { first: finding, words: Vec::new() }),
        }
    }
    let finish = |Group { first, words }: Group| match words.first() {
        Some(own) => {
            let all = words.join(", ");
            let text = first.text.split(' ').map(|word| if bare(word) == own { word.replacen(own, &all, 1) } else { word.to_owned() });
            let text = text.collect::<Vec<_>>().join(" ");
            let remedy = first
                .remedy
                .map(|remedy| if remedy.contains(own) { format!("{remedy} (for {own}; likewise for the others)") } else { remedy });
            Finding { text, remedy, ..first }
        }
        None => first,
    };
    groups.into_iter().map(finish).collect()
}

/// The one word, a name of an interface, in which they differ.
fn difference(one: &Finding, other: &Finding) -> Option<(String, String)> {
    let words = |finding: &Finding| finding.text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (words(one), words(other));
    if one.check != other.check || ours.len() != theirs.len() {
        return None;
    }
    let mut differing = ours.iter().zip(&theirs).filter(|(own, other)| own != other).map(|(own, other)| (bare(own), bare(other)));
    let (own, other_word) = differing.next()?;
    let plain = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.@".contains(letter));
    let alone = differing.all(|pair| pair == (own, other_word));
    let remedies = one.remedy.as_ref().map(|remedy| remedy.replace(own, other_word)) == other.remedy;
    // A number is none.
    let named = |word: &str| plain(word) && word.starts_with(|letter: char| letter.is_ascii_alphabetic());
    (alone && remedies && named(own) && named(other_word)).then(|| (own.to_owned(), other_word.to_owned()))
}

/// Without the sign at its end.
fn bare(word: &str) -> &str {
    word.trim_end_matches([':', ',', ';'])
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

    fn printed(findings: Vec<Finding>, shape: Shape) -> (u8, String) {
        let mut out = Vec::new();
        let code = report(findings, shape, Style { colours: false }, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_warning_is_no_failure() {
        let ok = Finding::ok("clock", "the clock is synchronised");
        let warn = Finding::warn("mtu", "too small", "make it larger");
        let (code, text) = printed(vec![ok.clone(), warn.clone()], Shape::All);
        assert_eq!(code, OK);
        let wanted = "warn mtu           too small\n                   -> make it larger\nok   clock         the clock is synchronised\n\n1 ok, 1 to look at, 0 failed\n";
        assert_eq!(text, wanted);
        let (code, text) = printed(vec![ok, warn, Finding::fail("pool", "no \u{1b}[31m", "x")], Shape::Short);
        assert_eq!(code, FAILED);
        assert!(text.contains(r"fail pool          no \u{1b}[31m"), "{text}");
    }

    #[test]
    fn what_fails_comes_first_and_what_is_well_is_folded() {
        let offload = |name: &str| Finding::warn("offload", format!("{name} could cut it"), format!("`ethtool -K {name} x on`"));
        let findings = vec![
            Finding::ok("clock", "synchronised").hint("h"),
            Finding::ok("pool", "one"),
            offload("eth0"),
            Finding::ok("pool", "two"),
            offload("eth1"),
            Finding::warn("mtu", "1400 of eth0 is small", "r"),
            Finding::fail("radius", "dead", "r"),
            offload("wan0"),
        ];
        let (_, text) = printed(findings.clone(), Shape::Short);
        let wanted = "fail radius        dead\n                   -> r\n\
            warn offload       eth0, eth1, wan0 could cut it\n                   -> `ethtool -K eth0 x on` (for eth0; likewise for the others)\n\
            warn mtu           1400 of eth0 is small\n                   -> r\n\
            ok   clock         synchronised\nok   pool          2 things are as they should be\n\n\
            3 ok (--all lists each), 4 to look at, 1 failed\n";
        assert_eq!(text, wanted);
        let (_, text) = printed(findings, Shape::All);
        assert!(text.contains("eth1 could cut it") && text.contains("-> h") && text.contains("pool          two"), "{text}");
    }

    #[test]
    fn programs_read_json() {
        let (code, text) = printed(vec![Finding::fail("pool", "p", "r"), Finding::ok("tun", "t")], Shape::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, FAILED);
        assert_eq!(value["ok"], false);
        assert_eq!(value["findings"][0], serde_json::json!({"level": "fail", "check": "pool", "text": "p", "remedy": "r"}));
        assert_eq!(value["findings"][1].get("remedy"), None);
    }
}
