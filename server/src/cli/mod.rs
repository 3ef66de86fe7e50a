//! The command line: `evergate run`, `check`, and the questions to a running gateway.
mod args;
mod certificates;
mod check;
mod doctor;
mod explain;
mod policy;
mod reload;
mod show;
mod text;
mod user;

pub use args::{Cli, Command, Question, QuickstartArgs};
pub(crate) use user::write_private;

use crate::config::{self, Config};
use crate::control::{self, AskError, Request, Response};
use args::{AttemptsCommand, SessionsCommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use text::Style;

/// Everything went well.
pub const OK: u8 = 0;
/// What was asked for failed: a wrong configuration, an unknown id, a refused order.
pub const FAILED: u8 = 1;
/// The command line itself is wrong (clap's own code).
pub const USAGE: u8 = 2;
/// There is no running gateway to ask.
pub const NOT_RUNNING: u8 = 3;

/// Answers a question; returns the exit code. Results go to `out`, errors to `err`.
pub fn answer(cli: &Cli, question: &Question, out: &mut dyn Write, err: &mut dyn Write, colours: bool) -> std::io::Result<u8> {
    let style = Style { colours: colours && !cli.json };
    match question {
        Question::Check => check::check(&cli.config_path(), cli.json, style, out, err),
        Question::Certificates { probe } => certificates::certificates(cli, *probe, style, out, err),
        Question::Doctor(args) => doctor::doctor(cli, args, style, out),
        Question::Status => ask(cli, &Request::Status {}, style, out, err),
        Question::Policy(args) => policy::policy(cli, args, style, out, err),
        Question::User(args) => user::user(cli, args, style, out, err),
        Question::Reload { end_refused } => ask(cli, &Request::Reload { end_refused: *end_refused }, style, out, err),
        Question::Sessions { would_refuse: true, .. } => ask(cli, &Request::Judge {}, style, out, err),
        Question::Sessions { command, .. } => ask(cli, &sessions(command.as_ref()), style, out, err),
        Question::Drain(drain) => ask(cli, &drain.request(), style, out, err),
        Question::Explain { what } => explain::explain(cli, what, style, out, err),
        Question::Attempts { list, command } => {
            let request = match command {
                Some(AttemptsCommand::Show { id }) => Request::Attempt { id: id.clone() },
                Some(AttemptsCommand::List(list)) => list.request(),
                None => list.request(),
            };
            ask(cli, &request, style, out, err)
        }
    }
}

fn sessions(command: Option<&SessionsCommand>) -> Request {
    match command {
        None | Some(SessionsCommand::List) => Request::Sessions {},
        Some(SessionsCommand::Show { id }) => Request::Session { id: *id },
        Some(SessionsCommand::Disconnect(which)) => Request::Disconnect { id: which.id, user: which.user.clone() },
    }
}

fn ask(cli: &Cli, request: &Request, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<u8> {
    let response = match control_socket(cli) {
        Ok(path) => control::ask(&path, request),
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(FAILED);
        }
    };
    match response {
        Ok(Response::Error { message }) => {
            writeln!(err, "error: {message}")?;
            Ok(FAILED)
        }
        Ok(response) => {
            let nothing = matches!(&response, Response::Disconnected { ids } if ids.is_empty());
            if cli.json {
                writeln!(out, "{}", serde_json::to_string_pretty(&response)?)?;
            } else {
                show::response(&response, style, out)?;
            }
            Ok(if nothing { FAILED } else { OK })
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(if matches!(error, AskError::NotRunning(_) | AskError::Stale(_)) { NOT_RUNNING } else { FAILED })
        }
    }
}

/// The socket of the named configuration. Where none is named and the usual one cannot be read, the usual socket.
fn control_socket(cli: &Cli) -> Result<PathBuf, config::ConfigError> {
    match config::control_socket(&cli.config_path(), &config::environment()) {
        Err(error) if cli.config.is_none() && error.origin.is_none() => Ok(config::DEFAULT_CONTROL_SOCKET.into()),
        result => result,
    }
}

/// Loads the configuration for `run`.
pub fn load(path: &Path) -> Result<Config, config::ConfigError> {
    Config::load(path, &config::environment())
}

#[cfg(test)]
mod tests;
