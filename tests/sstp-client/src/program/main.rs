//! `sstp-client`: calls as Windows makes them, calls with faults, many calls, and the measure for throughput.
#![forbid(unsafe_code)]

mod bare;
mod connect;
mod device;
mod flood;
mod misbehave;
mod options;
mod raw_cases;
mod storm;

use clap::Parser as _;
use options::{Command, Program};
use serde::Serialize;
use sstp_client::error::{Error, Result};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let program = Program::parse();
    let outcome = match &program.command {
        Command::Connect(options) => connect::run(options, program.json),
        Command::Storm(options) => storm::run(options, program.json),
        Command::Misbehave(options) => misbehave::run(options, program.json),
        Command::Flood(options) => flood::run(options, program.json),
        Command::BareServer(options) => bare::serve(options, program.json),
        Command::BareClient(options) => bare::connect(options, program.json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(&error, program.json);
            ExitCode::FAILURE
        }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    event: &'static str,
    stage: Option<sstp_client::error::Stage>,
    kind: &'a str,
    code: Option<u32>,
    message: String,
}

fn failure(error: &Error) -> Failure<'_> {
    Failure { event: "error", stage: error.stage(), kind: error.kind(), code: error.code(), message: error.to_string() }
}

fn report_error(error: &Error, json: bool) {
    // Nobody is left to tell when the streams are gone.
    if json {
        drop(print_json(&failure(error)));
    }
    drop(writeln!(std::io::stderr(), "sstp-client: {error}"));
}

/// Prints a value as JSON or as text.
fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    if json { print_json(value) } else { print_line(&text()) }
}

/// Prints one line and makes sure that a reader of a pipe sees it now.
fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| Error::Setup(format!("standard output: {error}")))
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(value).map_err(|error| Error::Setup(error.to_string()))?;
    print_line(&line)
}
