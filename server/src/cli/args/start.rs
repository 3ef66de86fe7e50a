//! Starting: `run`, `quickstart`, and what packages are made of.
use clap::Args;
use std::path::PathBuf;

pub(super) const RUN: &str = "Runs the gateway in the foreground until SIGTERM or SIGINT.

Reads the configuration, its drop-ins and the environment; makes the TUN device, binds UDP 500 and 4500, opens the control socket. Needs \
CAP_NET_ADMIN and CAP_NET_BIND_SERVICE. Logs go to standard error. On SIGTERM the sessions are told goodbye and accounting is closed.

Examples:
  evergate run
  evergate run --config ./evergate.toml
  EVERGATE_LOG=debug evergate run";

pub(super) const QUICKSTART: &str = "Makes a working gateway out of nothing, starts it, and says how clients connect.

Writes an authority, a server certificate (RSA 2048, for every client), a user with a password of its own, a configuration for IKEv2 and SSTP that \
needs no RADIUS server, and in the folder `clients` what Windows, Apple, Android and Linux want. Checks all of it. Overwrites nothing.

Examples:
  evergate quickstart --name vpn.example.com
  evergate quickstart --name 203.0.113.5 --user ann
  evergate quickstart --name vpn.example.com --dir ./vpn --no-start";

pub(super) const MANUAL: &str = "Writes manual pages and completions for bash, fish and zsh, as packages hold them.

Examples:
  evergate manual ./generated && man ./generated/man/evergate.1";

#[derive(Debug, Args)]
pub struct QuickstartArgs {
    /// What clients dial: a DNS name or an address [default: this host's]
    #[arg(long)]
    pub name: Option<String>,
    #[arg(long, value_name = "DIR", help = format!("Where to write [default: {}]", crate::quickstart::DEFAULT_FOLDER))]
    pub dir: Option<PathBuf>,
    /// The first user
    #[arg(long, default_value = "alice")]
    pub user: String,
    /// Write, check and print, but do not start
    #[arg(long)]
    pub no_start: bool,
}
