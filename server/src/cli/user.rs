//! `evergate user`: the users file of the local provider.
use super::args::{Cli, UserArgs, UserCommand, UserFacts};
use super::text::{Style, cell, table};
use super::{FAILED, OK};
use crate::config;
use crate::privileges::wanted_user;
use crate::users_file::{self, Patience, read_own_text};
use crypto::Zeroizing;
use local_provider::{NtHash, User, Users, check_name, nt_hash, read_date, with_user, without_user};
use net::terminal::WithoutEcho;
use std::io::{BufRead as _, IsTerminal as _, Result, Write};
use std::path::{Path, PathBuf};

/// Where users are looked for without a configuration that says so.
const DEFAULT_FILE: &str = "/etc/evergate/users";

/// Answers `evergate user ...`; returns the exit code.
pub(super) fn user(cli: &Cli, args: &UserArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let done = users_file(cli, args).and_then(|path| match &args.command {
        UserCommand::List => list(cli.json, &path, style, out),
        command => change(&path, readers(cli), command).map(|said| said_to(out, &said, &path)),
    });
    match done {
        Ok(()) => Ok(OK),
        Err(problem) => {
            writeln!(err, "error: {problem}")?;
            Ok(FAILED)
        }
    }
}

fn proof(user: &User) -> String {
    match (&user.nt_hash, user.must_change, user.password_expires) {
        (None, ..) => "certificate".into(),
        (Some(_), true, _) => "password, to be changed".into(),
        (Some(_), false, Some(last)) => format!("password until {last}"),
        (Some(_), false, None) => "password".into(),
    }
}

fn said_to(out: &mut dyn Write, said: &str, path: &Path) {
    // Where standard output is gone, the file is changed all the same.
    writeln!(out, "{said} ({})", path.display()).ok();
}

/// The file named on the command line, or by the configuration, or the usual one.
fn users_file(cli: &Cli, args: &UserArgs) -> std::result::Result<PathBuf, String> {
    if let Some(file) = &args.file {
        return Ok(file.clone());
    }
    match config::users_file(&cli.config_path(), &config::environment()) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(format!("{} has no [local] with users_file; name the file with --file", cli.config_path().display())),
        Err(error) if cli.config.is_none() && error.origin.is_none() => Ok(DEFAULT_FILE.into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The group of the user that the gateway runs as: it has to read what root makes.
fn readers(cli: &Cli) -> Option<u32> {
    let run_as = config::run_as(&cli.config_path(), &config::environment()).ok().flatten();
    wanted_user(run_as.as_deref()).ok().flatten().map(|user| user.gid)
}

fn list(json: bool, path: &Path, style: Style, out: &mut dyn Write) -> std::result::Result<(), String> {
    let users = Users::parse(&read_own_text(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    let addresses = |user: &User| user.addresses().map(|address| address.to_string()).collect::<Vec<_>>();
    let written = if json {
        let rows: Vec<_> = users
            .iter()
            .map(|user| {
                serde_json::json!({
                    "name": user.name,
                    "password": user.nt_hash.is_some(),
                    "groups": user.groups,
                    "expires": user.expires.map(|date| date.to_string()),
                    "must_change": user.must_change,
                    "password_expires": user.password_expires.map(|date| date.to_string()),
                    "addresses": addresses(user),
                    "enabled": !user.disabled,
                })
            })
            .collect();
        writeln!(out, "{:#}", serde_json::json!({ "users": rows }))
    } else {
        let rows: Vec<_> = users
            .iter()
            .map(|user| {
                let expires = user.expires.map_or_else(|| "never".into(), |date| date.to_string());
                vec![
                    cell(&user.name),
                    cell(if user.disabled { "disabled" } else { "enabled" }),
                    cell(proof(user)),
                    cell(user.groups.join(", ")),
                    cell(expires),
                    cell(addresses(user).join(", ")),
                ]
            })
            .collect();
        table(out, style, &["User", "State", "Proves itself by", "Groups", "Expires", "Address"], &rows)
    };
    written.map_err(|error| error.to_string())
}

fn change(path: &Path, readers: Option<u32>, command: &UserCommand) -> std::result::Result<String, String> {
    // Before the file is held: somebody may take their time to type.
    let password = match command {
        UserCommand::Add { name, no_password: false, .. } | UserCommand::Passwd { name } => {
            let known = |users: &Users| matches!(command, UserCommand::Add { .. }) != users.get(name).is_some();
            let in_vain = read_own_text(path).ok().and_then(|text| Users::parse(&text).ok()).is_some_and(|users| !known(&users));
            if in_vain { None } else { Some(nt_hash(&ask_password(name)?)) }
        }
        _ => None,
    };
    users_file::update(path, Patience::Long, readers, |users, text| edit(command, users, text, password))
}

type Edit = std::result::Result<(Zeroizing<String>, String), String>;

/// The file's new text, and what was done.
fn edit(command: &UserCommand, users: &Users, text: &str, password: Option<NtHash>) -> Edit {
    let known = |name: &str| users.get(name).cloned().ok_or_else(|| format!("there is no user {name:?}; evergate user list shows all"));
    match command {
        UserCommand::List => Ok((Zeroizing::new(text.to_owned()), String::new())),
        UserCommand::Add { name, facts, .. } => {
            check_name(name)?;
            if users.get(name).is_some() {
                return Err(format!("user {name:?} exists already; evergate user passwd {name} sets another password"));
            }
            let mut user = User { name: name.clone(), ..User::default() };
            user.nt_hash = password;
            apply(facts, &mut user)?;
            Ok((with_user(text, &user), format!("user {name} added")))
        }
        UserCommand::Set { name, facts } => {
            let mut user = known(name)?;
            apply(facts, &mut user)?;
            Ok((with_user(text, &user), format!("user {} changed", user.name)))
        }
        UserCommand::Passwd { name } => {
            let mut user = known(name)?;
            user.set_password(password.ok_or("no password was asked for")?);
            Ok((with_user(text, &user), format!("user {} has a new password", user.name)))
        }
        UserCommand::Remove { name } => {
            let user = known(name)?;
            Ok((without_user(text, name), format!("user {} removed; evergate sessions disconnect --user ends sessions", user.name)))
        }
        UserCommand::Enable { name } | UserCommand::Disable { name } => {
            let mut user = known(name)?;
            user.disabled = matches!(command, UserCommand::Disable { .. });
            let state = if user.disabled { "disabled; evergate sessions disconnect --user ends sessions" } else { "enabled" };
            Ok((with_user(text, &user), format!("user {} {state}", user.name)))
        }
    }
}

fn apply(facts: &UserFacts, user: &mut User) -> std::result::Result<(), String> {
    if let Some(groups) = &facts.groups {
        user.groups = groups.iter().filter(|group| !group.is_empty()).cloned().collect();
        user.groups.iter().try_for_each(|group| check_name(group))?;
    }
    if let Some(date) = &facts.expires {
        user.expires = if date == "never" { None } else { Some(read_date(date)?) };
    }
    if let Some(date) = &facts.password_expires {
        user.password_expires = if date == "never" { None } else { Some(read_date(date)?) };
    }
    user.must_change = facts.must_change.unwrap_or(user.must_change);
    if user.nt_hash.is_none() && (user.must_change || user.password_expires.is_some()) {
        return Err(format!("user {:?} has no password that could be changed", user.name));
    }
    if let Some(addresses) = &facts.address {
        (user.ipv4, user.ipv6) = (None, None);
        if addresses != "none" {
            user.set_addresses(addresses)?;
        }
    }
    Ok(())
}

/// Typed twice without being shown, or the first line of standard input.
pub(super) fn ask_password(name: &str) -> std::result::Result<Zeroizing<String>, String> {
    let stdin = std::io::stdin();
    let read = || {
        let mut line = Zeroizing::new(String::with_capacity(1024));
        stdin.lock().read_line(&mut line).map_err(|error| format!("no password could be read: {error}"))?;
        let length = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(length);
        if line.is_empty() { Err("an empty password is none".to_owned()) } else { Ok(line) }
    };
    if !stdin.is_terminal() {
        return read();
    }
    let _silence = WithoutEcho::new(&stdin).map_err(|error| format!("the terminal cannot be silenced: {error}"))?;
    let prompt = |text: String| write!(std::io::stderr(), "{text}: ").map_err(|error| error.to_string());
    prompt(format!("Password for {name}"))?;
    let first = read()?;
    prompt("Once more".into())?;
    if *first == *read()? { Ok(first) } else { Err("the two passwords differ; nothing was changed".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use local_provider::HEADER;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn facts() -> UserFacts {
        let date = Some("2030-12-31".into());
        UserFacts { groups: Some(vec!["staff".into()]), expires: date, address: Some("10.98.0.20".into()), ..UserFacts::default() }
    }

    #[test]
    fn users_come_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let run = |command: UserCommand| change(&path, None, &command);
        let name = || "ann".to_owned();
        assert_eq!(run(UserCommand::Add { name: name(), facts: facts(), no_password: true }).unwrap(), "user ann added");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(HEADER) && text.ends_with("ann groups=staff expires=2030-12-31 address=10.98.0.20\n"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(run(UserCommand::Add { name: "ANN".into(), facts: facts(), no_password: true }).unwrap_err().contains("exists already"));
        run(UserCommand::Disable { name: name() }).unwrap();
        let none = UserFacts { expires: Some("never".into()), address: Some("none".into()), ..UserFacts::default() };
        run(UserCommand::Set { name: name(), facts: none }).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("\nann groups=staff disabled\n"));
        run(UserCommand::Remove { name: name() }).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), HEADER);
        assert!(run(UserCommand::Enable { name: name() }).unwrap_err().contains("no user \"ann\""));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn passwords_that_must_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, "ann nt=8846f7eaee8fb117ad06bdd830b7586c\ntina\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let set = |name: &str, facts: UserFacts| change(&path, None, &UserCommand::Set { name: name.into(), facts });
        let must = |must| UserFacts { must_change: Some(must), password_expires: Some("2027-01-31".into()), ..UserFacts::default() };
        set("ann", must(true)).unwrap();
        let users = Users::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let ann = users.get("ann").unwrap();
        assert!(ann.must_change && ann.password_expires.is_some() && proof(ann) == "password, to be changed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        set("ann", must(false)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("7586C password-expires=2027-01-31\n"));
        set("ann", UserFacts { password_expires: Some("never".into()), ..UserFacts::default() }).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("ann nt=8846F7EAEE8FB117AD06BDD830B7586C\n"));
        assert!(set("tina", must(true)).unwrap_err().contains("has no password"));
    }

    #[test]
    fn a_file_with_a_mistake_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, "ann nt=1\n").unwrap();
        let error = change(&path, None, &UserCommand::Remove { name: "ann".into() }).unwrap_err();
        assert!(error.contains("line 1") && error.ends_with("correct it first"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ann nt=1\n");
    }
}
