//! The program `evergate`.
#![forbid(unsafe_code)]

use anyhow::Context as _;
use clap::Parser as _;
use evergate::cli::{self, Cli, Command, Question, QuickstartArgs};
use evergate::doctor::FILES_BESIDES;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Run => run(&cli.config_path()).map(|()| cli::OK),
        Command::Quickstart(wanted) => quickstart(wanted).map(|()| cli::OK),
        Command::Manual { folder } => cli::manual(folder).map(|()| cli::OK).map_err(anyhow::Error::from),
        Command::Ask(question) => answer(&cli, question),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        // Where standard error is gone, nobody is left to be told.
        drop(writeln!(std::io::stderr(), "error: {error:#}"));
        cli::FAILED
    }))
}

fn answer(cli: &Cli, question: &Question) -> anyhow::Result<u8> {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = std::io::stdout().lock();
    let answered = cli::answer(cli, question, &mut out, &mut std::io::stderr(), colours).and_then(|code| out.flush().map(|()| code));
    match answered {
        // The reader (`| head`) has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(cli::OK),
        answered => Ok(answered?),
    }
}

fn quickstart(wanted: &QuickstartArgs) -> anyhow::Result<()> {
    let path = evergate::quickstart::prepare(wanted, &mut std::io::stdout().lock())?;
    if wanted.no_start { Ok(()) } else { run(&path) }
}

/// Runs the gateway: one thread for control, beside the packet threads and workers that it starts itself.
fn run(path: &Path) -> anyhow::Result<()> {
    let mut config = cli::load(path)?;
    let log = evergate::logging::init(&config.server.log, config.server.log_format)?;
    if evergate::privileges::give_up(&config.server)? {
        // What the new user cannot read shows now, not at the first reload.
        config =
            cli::load(path).context("the user that the gateway becomes must be able to read its files; or set server.run_as = \"root\"")?;
    }
    open_files(config.sstp.is_empty(), config.server.max_sessions);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(evergate::run::run(config, log))
}

/// Each SSTP connection is an open file.
fn open_files(only_datagrams: bool, max_sessions: usize) {
    match net::process::raise_open_files() {
        Ok(limit) if !only_datagrams && limit < max_sessions as u64 + FILES_BESIDES => tracing::warn!(
            limit,
            max_sessions,
            "fewer files may be open than sessions are allowed: raise LimitNOFILE= (systemd) or ulimit -Hn, or lower server.max_sessions"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}
