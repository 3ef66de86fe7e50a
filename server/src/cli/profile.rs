//! `evergate profile`: what clients need, made from the configuration; `evergate check --profile`: whether what they have still fits.
use super::args::{CheckArgs, Cli, ProfileArgs};
use super::text::{Mark, Style, clean, wrap};
use super::user::ask_password;
use super::{FAILED, OK, unread};
use crate::config::{self, Config};
use crate::profile::{self, Finding, Judged, Level, Made, Report, Wishes, make};
use crate::users_file::write_private;
use crypto::Zeroizing;
use pki::Certificate;
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

const WIDTH: usize = 100;

/// Answers `evergate profile ..`; returns the exit code. Files to standard output or into the folder, what is to be said of them to standard error.
pub(super) fn profile(cli: &Cli, args: &ProfileArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let made = Config::load(&cli.config_path(), &config::environment()).map_err(|error| error.to_string()).and_then(|config| {
        let wishes = wishes(args)?;
        make(&config, args.kind, &wishes, jiff::Timestamp::now().as_second())
    });
    let written = made.and_then(|made| match &args.out {
        Some(folder) => store(&made, folder).map(|()| made),
        None => Ok(made),
    });
    let mut made = match written {
        Ok(made) => made,
        Err(error) => {
            writeln!(err, "error: {}", clean(&error))?;
            return Ok(FAILED);
        }
    };
    made.notes.extend(unread::note(cli));
    if cli.json {
        return json(args, &made, out);
    }
    for file in &made.files {
        match &args.out {
            Some(folder) => writeln!(out, "{}", folder.join(file.name).display())?,
            None if made.files.len() > 1 => write!(out, "==> {} <==\n{}\n", file.name, *file.text)?,
            None => write!(out, "{}", *file.text)?,
        }
    }
    for note in &made.notes {
        writeln!(err, "note: {}", clean(note))?;
    }
    Ok(OK)
}

fn json(args: &ProfileArgs, made: &Made, out: &mut dyn Write) -> Result<u8> {
    let file = |file: &crate::profile::File| match &args.out {
        Some(folder) => serde_json::json!({ "name": file.name, "path": folder.join(file.name) }),
        None => serde_json::json!({ "name": file.name, "text": *file.text }),
    };
    let files: Vec<_> = made.files.iter().map(file).collect();
    writeln!(out, "{:#}", serde_json::json!({ "files": files, "notes": made.notes }))?;
    Ok(OK)
}

fn wishes(args: &ProfileArgs) -> std::result::Result<Wishes, String> {
    let p12 = args.p12.as_ref().map(|file| std::fs::read(file).map(Zeroizing::new).map_err(|error| format!("{}: {error}", file.display())));
    let password = match &args.user {
        Some(user) if args.with_password => Some(ask_password(user)?),
        _ => None,
    };
    let server = args.server.as_deref().map(config::dns_name).transpose().map_err(|_| {
        format!(
            "{:?} is no name that clients can dial; expected a DNS name such as vpn.example.com, or an IPv4 address",
            args.server.as_deref().unwrap_or_default()
        )
    })?;
    Ok(Wishes {
        policy: args.policy.clone(),
        tunnel: args.tunnel,
        device: args.device,
        server,
        eap: args.eap,
        eap_servers: args.eap_server.clone(),
        eap_authorities: authorities(&args.eap_ca)?,
        authorities: authorities(&args.ca)?,
        user: args.user.clone(),
        password,
        p12: p12.transpose()?,
    })
}

fn authorities(files: &[PathBuf]) -> std::result::Result<Vec<Certificate>, String> {
    let mut authorities = Vec::new();
    for file in files {
        let wrong = |problem: String| format!("{}: {problem}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        authorities.extend(Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(authorities)
}

/// Writes them, unless one is there already.
fn store(made: &Made, folder: &Path) -> std::result::Result<(), String> {
    let taken = made.files.iter().map(|file| folder.join(file.name)).find(|path| path.exists());
    if let Some(path) = taken {
        return Err(format!("{} exists already, and nothing is overwritten: move it away, or choose another --out", path.display()));
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |file: &crate::profile::File| {
        let path = folder.join(file.name);
        write_private(&path, file.text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
    };
    made.files.iter().try_for_each(write)
}

/// Answers `evergate check --profile ..`; returns the exit code.
pub(super) fn check(cli: &Cli, args: &CheckArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let Some(path) = &args.profile else { return Ok(OK) };
    let config = Config::load(&cli.config_path(), &config::environment()).map_err(|error| error.to_string());
    let report = config.and_then(|config| {
        let wrong = |problem: String| format!("{} {problem}", path.display());
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        profile::check(&config, &bytes, &authorities(&args.ca)?, jiff::Timestamp::now().as_second()).map_err(wrong)
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            writeln!(err, "error: {}", clean(&error))?;
            return Ok(FAILED);
        }
    };
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report, path, style, out)?;
    }
    if let Some(note) = unread::note(cli) {
        writeln!(err, "note: {}", clean(&note))?;
    }
    Ok(if report.ok { OK } else { FAILED })
}

fn print(report: &Report, path: &Path, style: Style, out: &mut dyn Write) -> Result<()> {
    for Judged { server, tunnels, findings } in &report.connections {
        let over = if tunnels.is_empty() { String::new() } else { format!(" over {}", tunnels.join(" and ")) };
        let title = format!("{} to {}{over}", report.format, clean(server));
        writeln!(out, "{}", style.mark(Mark::Heading, &title))?;
        findings.iter().try_for_each(|finding| finding_lines(finding, style, out))?;
    }
    let path = path.display();
    if report.ok {
        writeln!(out, "{}: {path} fits this gateway", style.mark(Mark::Good, "ok"))
    } else {
        writeln!(out, "{}: {path} does not fit this gateway", style.mark(Mark::Bad, "fail"))
    }
}

fn finding_lines(finding: &Finding, style: Style, out: &mut dyn Write) -> Result<()> {
    let (word, mark) = if finding.level == Level::Fail { ("fail", Mark::Bad) } else { ("warn", Mark::Attention) };
    let numbers = if finding.numbers.is_empty() { String::new() } else { format!("{}: ", finding.numbers.join(" or ")) };
    let mut title = style.mark(mark, word);
    for line in wrap(&clean(&format!("{numbers}{}", finding.problem)), WIDTH) {
        writeln!(out, "{title}  {line}")?;
        title = " ".repeat(word.len());
    }
    for (side, remedy) in [("on the client", &finding.on_client), ("on the gateway", &finding.on_gateway)] {
        let Some(remedy) = remedy else { continue };
        let mut side = side.to_owned();
        for line in wrap(&clean(remedy), WIDTH - 16) {
            writeln!(out, "      {side:14}  {line}")?;
            side.clear();
        }
    }
    Ok(())
}
