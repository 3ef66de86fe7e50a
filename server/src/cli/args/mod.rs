//! What may stand on the command line, with its help: the commands here, what each takes in the modules.
mod access;
mod attempts;
mod check;
mod console;
mod migrate;
mod policy;
mod profile;
mod sessions;
mod start;
mod trace;
mod user;

pub use start::QuickstartArgs;

pub(super) use access::{BlockArgs, BlockCommand, TokenArgs};
pub(super) use attempts::{AttemptsCommand, AttemptsList};
pub(super) use check::{CheckArgs, DoctorArgs};
pub(super) use console::ConsoleArgs;
pub(super) use migrate::{MigrateArgs, MigrateCommand, RrasArgs};
pub(super) use policy::{PolicyArgs, PolicyCommand};
pub(super) use profile::ProfileArgs;
pub(super) use sessions::{Drain, Hold, SessionsCommand, Which};
pub(super) use trace::TraceArgs;
pub(super) use user::{UserArgs, UserCommand, UserFacts};

use crate::config::DEFAULT_PATH;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "A VPN gateway for the clients that are already on every desk.

Evergate speaks IKEv2 with the built-in clients of Windows, Apple, Android and strongSwan, asks a RADIUS server who may come in, decides by \
ordered network policies, leases addresses from pools, and remembers of every login attempt how far it came and why it failed.";

const EXAMPLES: &str = "Examples:
  evergate check                       is the configuration good? prints what it comes to
  evergate doctor                      is the host ready? says what to do where not
  evergate run                         run the gateway in the foreground
  evergate profile windows --out DIR   what Windows clients need to connect
  evergate migrate rras DUMP           a configuration out of what RRAS says about itself
  evergate reload                      apply a changed configuration; no session ends
  evergate certificates                who sees which certificate, and when it ends
  evergate status                      listeners, RADIUS servers, local users, pools, drops
  evergate sessions                    who is connected
  evergate console                     the same and more in a browser
  evergate block list                  who is kept out by hand
  evergate attempts --failed           who could not connect, and why
  evergate attempts show 19ab5c3d2e1-17  the whole story of one login
  evergate explain last                why the newest failed login failed, and what to do
  evergate explain 809                 what an error number means
  evergate trace --user alice          packets and decisions of one client, as they happen

Exit codes:
  0  done
  1  failed: wrong configuration, unknown id, refused order; the reason is on standard error
  2  wrong usage
  3  the gateway is not running

Environment:
  EVERGATE__SECTION__KEY  overrides a value of the configuration: EVERGATE__SERVER__MTU=1380
  EVERGATE_LOG, RUST_LOG  override server.log: EVERGATE_LOG=debug
  NO_COLOR                no colours";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "evergate", version, about = "A VPN gateway", long_about = ABOUT, after_long_help = EXAMPLES, after_help = "See --help for examples.")]
pub struct Cli {
    /// The configuration; drop-ins are in the folder of the same name with .d instead of .toml
    #[arg(long, short, global = true, value_name = "FILE", help = format!("The configuration file [default: {DEFAULT_PATH}]"))]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| DEFAULT_PATH.into())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    #[command(long_about = start::RUN)]
    Run,
    /// Make certificates, a user and a configuration, and start
    #[command(long_about = start::QUICKSTART)]
    Quickstart(QuickstartArgs),
    /// Write manual pages and completions for shells
    #[command(long_about = start::MANUAL, hide = true)]
    Manual {
        /// Gets the folders `man` and `completions`
        folder: PathBuf,
    },
    #[command(flatten)]
    Ask(Question),
}

/// What is answered at once.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Check the configuration without starting, or a client's profile against it
    #[command(long_about = check::CHECK)]
    Check(CheckArgs),
    /// Ask the network policies what they say to a login
    #[command(long_about = policy::POLICY)]
    Policy(PolicyArgs),
    /// Write a configuration out of what RRAS says about itself
    #[command(long_about = migrate::MIGRATE)]
    Migrate(MigrateArgs),
    /// Make what Windows, Apple, Android and Linux clients need to connect
    #[command(long_about = profile::PROFILE)]
    Profile(ProfileArgs),
    /// Show the certificates, and which client gets which and why
    #[command(long_about = check::CERTIFICATES, visible_alias = "certificate")]
    Certificates {
        /// Ask every place where clients look for revocation whether it answers, from here
        #[arg(long)]
        probe: bool,
    },
    /// Look for what keeps clients from connecting: ports, firewall, routes, RADIUS, ..
    #[command(long_about = check::DOCTOR)]
    Doctor(DoctorArgs),
    /// Follow one client: its packets, decoded, and what the gateway makes of them, as it happens
    #[command(long_about = trace::TRACE)]
    Trace(TraceArgs),
    /// Add, change, list or remove users of the local provider
    #[command(long_about = user::USER, visible_alias = "users")]
    User(UserArgs),
    /// Show listeners, RADIUS servers, pools and counters
    #[command(long_about = sessions::STATUS)]
    Status,
    /// Apply a changed configuration without ending a session
    #[command(long_about = sessions::RELOAD)]
    Reload {
        /// Give the sessions that are up the filters, rates and time limits that the policies give them now
        #[arg(long)]
        apply_to_sessions: bool,
        /// End the sessions that the policies refuse now
        #[arg(long)]
        end_refused: bool,
        /// Show what would change, and which sessions would be refused; apply nothing
        #[arg(long, conflicts_with_all = ["end_refused", "apply_to_sessions"])]
        dry_run: bool,
    },
    /// List, show or end sessions
    #[command(long_about = sessions::SESSIONS, visible_alias = "session", args_conflicts_with_subcommands = true)]
    Sessions {
        /// Only those to which the policies would say something else now: refuse them, or give them other settings
        #[arg(long)]
        would_refuse: bool,
        #[command(subcommand)]
        command: Option<SessionsCommand>,
    },
    /// Serve the web console to a browser on this host
    #[command(long_about = console::CONSOLE)]
    Console(ConsoleArgs),
    /// Make a token for callers of the Admin API
    #[command(long_about = access::TOKEN)]
    Token(TokenArgs),
    /// Keep users, computers, certificates or addresses out by hand
    #[command(long_about = access::BLOCK, visible_alias = "blocks")]
    Block(BlockArgs),
    /// Empty the gateway before maintenance
    #[command(long_about = sessions::DRAIN)]
    Drain(Drain),
    /// Say what an error number means, or why a login failed
    #[command(long_about = attempts::EXPLAIN)]
    Explain {
        /// An error number, an attempt's id, a user, a client's address, or last
        #[arg(default_value = "last", allow_negative_numbers = true, num_args = 1..)]
        what: Vec<String>,
        /// Tell all of it: every line to type, policies, ciphers, what else may be behind the number
        #[arg(long)]
        more: bool,
    },
    /// List login attempts, or tell the story of one
    #[command(long_about = attempts::ATTEMPTS, visible_alias = "attempt", args_conflicts_with_subcommands = true)]
    Attempts {
        #[command(flatten)]
        list: AttemptsList,
        #[command(subcommand)]
        command: Option<AttemptsCommand>,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| "expected a duration such as \"90s\", \"30m\" or \"8h\"".into())
}
