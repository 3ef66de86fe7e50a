//! The command line: `evergate run`, `check`, and the questions to a running gateway.
mod args;
mod audience;
mod block;
mod certificates;
mod check;
mod console;
mod doctor;
mod explain;
mod manual;
mod migrate;
mod policy;
mod profile;
mod reload;
mod sessions;
mod show;
mod text;
mod token;
mod trace;
mod unread;
mod user;

pub use args::{Cli, Command, Question, QuickstartArgs};
pub(crate) use check::describe_policy;
pub use manual::write as manual;

use crate::api::{self, AskError, Call};
use crate::config::{self, Config};
use args::AttemptsCommand;
use serde::Serialize;
use serde::de::DeserializeOwned;
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
        Question::Check(args) if args.profile.is_some() => profile::check(cli, args, style, out, err),
        Question::Check(_) => check::check(&cli.config_path(), cli.json, style, out, err),
        Question::Certificates { probe } => certificates::certificates(cli, *probe, style, out, err),
        Question::Doctor(args) => doctor::doctor(cli, args, style, out),
        Question::Status => ask(cli, Ok(Call::get("/v1/status")), show::status, style, out, err),
        Question::Policy(args) => policy::policy(cli, args, style, out, err),
        Question::Migrate(args) => migrate::migrate(args, cli.json, out, err),
        Question::Profile(args) => profile::profile(cli, args, out, err),
        Question::User(args) => user::user(cli, args, style, out, err),
        Question::Reload { dry_run: true, .. } => ask(cli, Ok(reload::look()), reload::foreseen, style, out, err),
        Question::Reload { apply_to_sessions, end_refused, .. } => {
            let wanted = api::Reload { apply_to_sessions: *apply_to_sessions, end_refused: *end_refused };
            ask(cli, reload::call(wanted), reload::reloaded, style, out, err)
        }
        Question::Sessions { would_refuse: true, .. } => {
            ask(cli, Ok(Call::get("/v1/sessions/would-refuse")), reload::would_refuse, style, out, err)
        }
        Question::Sessions { command, .. } => sessions::sessions(cli, command.as_ref(), style, out, err),
        Question::Console(args) => console::console(cli, args, style, out, err),
        Question::Token(args) => token::token(args, cli.json, style, out, err),
        Question::Block(args) => block::block(cli, args, style, out, err),
        Question::Drain(drain) => match drain.order() {
            Some(order) => ask(cli, Call::post("/v1/drain", &order), show::draining, style, out, err),
            None => ask(cli, Ok(Call::delete("/v1/drain")), show::drain_cancelled, style, out, err),
        },
        Question::Trace(args) => trace::trace(cli, args, style, out, err),
        Question::Explain { what, more } => explain::explain(cli, what, *more, style, out, err),
        Question::Attempts { list, command } => {
            let list = match command {
                Some(AttemptsCommand::Show { id }) => {
                    return ask(cli, Ok(Call::get(format!("/v1/attempts/{}", api::escaped(id)))), show::attempt, style, out, err);
                }
                Some(AttemptsCommand::List(list)) => list,
                None => list,
            };
            ask(cli, Call::get("/v1/attempts").with_query(&list.query()), show::attempts, style, out, err)
        }
    }
}

type Show<T> = fn(&T, Style, &mut dyn Write) -> std::io::Result<()>;

/// Asks the running gateway, and shows what it says; returns the exit code.
fn ask<T: Serialize + DeserializeOwned>(
    cli: &Cli,
    call: Result<Call, AskError>,
    show: Show<T>,
    style: Style,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> std::io::Result<u8> {
    match fetch(cli, call) {
        Ok(answer) => print(cli, &answer, show, style, out),
        Err(unanswered) => unanswered.tell(err),
    }
}

/// What the running gateway says.
fn fetch<T: DeserializeOwned>(cli: &Cli, call: Result<Call, AskError>) -> Result<T, Unanswered> {
    let path = control_socket(cli).map_err(Unanswered::Unknown)?;
    Ok(api::ask(&path, &call?)?)
}

fn print<T: Serialize>(cli: &Cli, answer: &T, show: Show<T>, style: Style, out: &mut dyn Write) -> std::io::Result<u8> {
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?;
    } else {
        show(answer, style, out)?;
    }
    Ok(OK)
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Unknown(config::ConfigError),
    #[error(transparent)]
    Asked(#[from] AskError),
}

impl Unanswered {
    /// Says so, and returns the exit code.
    fn tell(&self, err: &mut dyn Write) -> std::io::Result<u8> {
        writeln!(err, "error: {}", text::clean(&self.to_string()))?;
        Ok(if matches!(self, Self::Asked(AskError::NotRunning(_) | AskError::Stale(_))) { NOT_RUNNING } else { FAILED })
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
