//! `evergate-load`: an IKEv2 client for measurements. One tunnel with the gateway's own data plane, or many logins and
//! sessions without one.
#![forbid(unsafe_code)]

mod connect;
mod driver;
mod echo;
mod options;
mod sockets;
mod storm;
mod tcp;
mod vigil;

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match options::Program::parse().command {
        options::Command::Connect(options) => block_on(connect::run(&options)),
        options::Command::Storm(options) => block_on(storm::run(&options)),
        options::Command::Vigil(options) => block_on(vigil::run(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            drop(writeln!(std::io::stderr(), "evergate-load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One thread for control: what is measured is the gateway, and packets have threads of their own.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Prints one line and makes sure that a reader of a pipe sees it now.
fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
