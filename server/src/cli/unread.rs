//! Whether the running gateway has read the configuration that a command has just read from the file.
use super::args::Cli;
use super::control_socket;
use crate::api::types::Reloaded;
use crate::api::{self, AskError, Call};
use crate::config::{Change, Shown};
use std::path::Path;
use std::time::Duration;

/// The gateway reads files and looks names up before it answers; a command that only wants to add a note waits no longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Kinds of sections that clients' profiles depend on.
const FOUND_BY_CLIENTS: &[&str] = &["server", "certificate", "listener", "pool", "policy", "ciphers"];

/// What whoever takes a profile from the file should know: the gateway that runs with this file does not do all that it says. `None` also where none runs.
pub(super) fn note(cli: &Cli) -> Option<String> {
    let socket = control_socket(cli).ok()?;
    let running: Shown = api::ask(&socket, &Call::get("/v1/configuration").with_patience(PATIENCE)).ok()?;
    if cli.config_path().canonicalize().ok()? != Path::new(&running.path).canonicalize().ok()? {
        return None;
    }
    match api::ask::<Reloaded>(&socket, &Call::get("/v1/configuration/changes").with_patience(PATIENCE)) {
        Ok(report) => unread(&report),
        Err(AskError::Refused(problem)) => {
            Some(format!("the running gateway would not take the configuration as it is now: {}", problem.error))
        }
        Err(_) => None,
    }
}

fn unread(report: &Reloaded) -> Option<String> {
    let named = |changes: &[Change]| {
        let found = changes.iter().filter(|change| FOUND_BY_CLIENTS.contains(&change.section.split(' ').next().unwrap_or_default()));
        found.map(|change| change.section.clone()).collect::<Vec<_>>().join(", ")
    };
    let (live, restart) = (named(&report.changes), named(&report.needs_restart));
    let remedy = match (live.is_empty(), restart.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("`evergate reload` brings {live}"),
        (true, false) => format!("only a restart brings {restart}"),
        (false, false) => format!("`evergate reload` brings {live}, and only a restart {restart}"),
    };
    Some(format!("this goes by the configuration file, and the running gateway does not do all that it says yet: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::What;

    #[test]
    fn only_what_clients_find_otherwise_is_worth_a_note() {
        let changes = |sections: &[&str]| {
            let change = |section: &&str| Change { section: (*section).into(), change: What::Changed, keys: Vec::new() };
            sections.iter().map(change).collect::<Vec<_>>()
        };
        let said = |live: &[&str], restart: &[&str]| {
            let report = Reloaded { changes: changes(live), needs_restart: changes(restart), ..Reloaded::default() };
            unread(&report).map(|note| note.split(": ").nth(1).unwrap().to_owned())
        };
        assert_eq!(said(&["radius \"nps1\"", "limits"], &["accounting"]), None);
        assert_eq!(said(&["radius \"nps1\"", "ciphers"], &[]).unwrap(), "`evergate reload` brings ciphers");
        assert_eq!(said(&[], &["server"]).unwrap(), "only a restart brings server");
        let both = said(&["policy \"staff\"", "policy"], &["listener \"main\""]).unwrap();
        assert_eq!(both, "`evergate reload` brings policy \"staff\", policy, and only a restart listener \"main\"");
    }
}
