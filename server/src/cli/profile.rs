//! `evergate profile`: what clients need, made from the configuration.
use super::args::{Cli, ProfileArgs};
use super::text::clean;
use super::user::ask_password;
use super::{FAILED, OK};
use crate::config::{self, Config};
use crate::profile::{Made, Wishes, make};
use crate::users_file::write_private;
use crypto::Zeroizing;
use std::io::{Result, Write};
use std::path::Path;

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
    let made = match written {
        Ok(made) => made,
        Err(error) => {
            writeln!(err, "error: {}", clean(&error))?;
            return Ok(FAILED);
        }
    };
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
    let mut authorities = Vec::new();
    for file in &args.ca {
        let wrong = |problem: String| format!("{}: {problem}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        authorities.extend(pki::Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?);
    }
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
        authorities,
        user: args.user.clone(),
        password,
        p12: p12.transpose()?,
    })
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
