//! Who is kept out, and who may call the Admin API: `block`, `token`.
use super::duration;
use crate::api;
use crate::api::types::Blocked;
use clap::{Args, Subcommand};
use std::time::Duration;

pub(super) const BLOCK: &str = "Keeps somebody out, whatever RADIUS and policies say, for a time or until it is taken back.

A blocked login is refused before RADIUS is asked where the name, certificate or address is known by then, else right after; its attempt says which \
block it was and why. The list survives restarts. Sessions that are up stay, unless --disconnect is given.

Examples:
  evergate block add --user ann@example.com --for 8h --reason \"lost laptop\" --disconnect
  evergate block add --machine pc17.example.com
  evergate block add --certificate 4f:02:9a
  evergate block add --address 198.51.100.0/24 --for 1h
  evergate block list
  evergate block remove 3
  evergate sessions disconnect 17 --hold 15m     end a session and keep its user out";

pub(super) const TOKEN: &str = "Makes a token for callers of the Admin API over TLS ([api]), such as Prometheus, a script or a console.

The gateway knows only its SHA-256, by a line in the file that tokens_file names; a reload takes a changed file. Such a caller sends the token as \
`Authorization: Bearer TOKEN`. The control socket needs none.

Examples:
  evergate token prometheus
  evergate token console --operate
  curl -H \"Authorization: Bearer $TOKEN\" https://vpn.example.com:8443/v1/status";

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whom it is for; the log says it
    pub(in crate::cli) name: String,
    /// It may change things, not only look
    #[arg(long)]
    pub(in crate::cli) operate: bool,
}

#[derive(Debug, Args)]
pub struct BlockArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: BlockCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BlockCommand {
    /// List who is kept out
    List,
    /// Keep somebody out
    Add(BlockAdd),
    /// Let somebody in again
    Remove {
        /// Number of the block, as `evergate block list` shows it
        id: u64,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BlockAdd {
    #[command(flatten)]
    who: BlockedArgs,
    /// For so long, such as 15m or 8h [default: until it is removed]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// Why; whoever asks about a refused login is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End their sessions too
    #[arg(long)]
    disconnect: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BlockedArgs {
    /// A user: alice in every realm and form, alice@corp.example in that realm alone, not where the realm is left out
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A computer, by the name in its certificate or of its account
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// A client certificate, by serial number or SHA-256 fingerprint
    #[arg(long, value_name = "HEX")]
    certificate: Option<String>,
    /// Clients that come from an address or a prefix
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

impl BlockAdd {
    /// `None`: nobody is named, which the group above excludes.
    pub(in crate::cli) fn order(&self) -> Option<api::BlockOrder> {
        let BlockedArgs { user, machine, certificate, address } = &self.who;
        let named = [
            user.clone().map(Blocked::User),
            machine.clone().map(Blocked::Machine),
            certificate.clone().map(Blocked::Certificate),
            address.clone().map(Blocked::Address),
        ];
        let who = named.into_iter().flatten().next()?;
        let for_secs = self.time.map(|time| time.as_secs());
        Some(api::BlockOrder { who, for_secs, reason: self.reason.clone(), disconnect: self.disconnect })
    }
}
