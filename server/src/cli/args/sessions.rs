//! The running gateway: `status`, `sessions`, `reload`, `drain`.
use super::duration;
use crate::api;
use clap::{Args, Subcommand};
use std::time::Duration;

pub(super) const SESSIONS: &str = "Lists, shows and ends sessions.

Examples:
  evergate sessions                             all of them
  evergate sessions show 17                     one of them, in full
  evergate sessions --would-refuse              whom the policies would not let in today
  evergate sessions disconnect 17               end one (an Always On client comes back within seconds)
  evergate sessions disconnect --user ann@example.com --hold 15m --reason \"see the help desk\"
  evergate sessions --json | jq '.sessions[].user'";

pub(super) const STATUS: &str = "Shows the running gateway as a whole.

Listeners with the packets each socket has seen (packets on 500 but none on 4500: something on the way blocks 4500), sessions and half-open \
logins, RADIUS servers with their counters, pools with their usage, packets and drops by reason.

Examples:
  evergate status
  evergate status --json | jq .pools";

pub(super) const DRAIN: &str = "Empties the gateway before maintenance.

From now on nobody new comes in: IKEv2 clients that follow redirects (RFC 5685: strongSwan and others, not Windows) are sent to the gateway that --to \
names, all others are refused at once, over SSTP with HTTP 503. Give clients that know no redirects another way first, in DNS or at the balancer.

Those who are in leave within the time: clients that follow redirects are redirected and SSTP calls hung up, evenly spread; whoever can be told nothing \
but goodbye, such as Windows over IKEv2, stays until the end. `evergate status` shows how many are left. It ends with --cancel or a restart.

Examples:
  evergate drain --to vpn2.example.com --within 30m
  evergate drain --within 5m                    nowhere to send them
  evergate drain --cancel                       take clients again";

pub(super) const RELOAD: &str = "Reads the configuration again and applies it to the running gateway, all or nothing. No session ends.

The new configuration is read and checked in full, as `evergate check` does. If anything is wrong, nothing changes, the error says why, and the exit \
code is 1. Else RADIUS servers and groups, policies, pools, certificates, limits, timers, ciphers, the local provider, filter and format of the log are taken at \
once: who logs in from now on gets them, who is in keeps what it has, and a login under way ends with the server it began with. What only a restart \
brings is named: of [server] name, control_socket, control_group, state_dir, run_as, threads, tun and mtu, and dynamic_listen, dynamic_port and \
dynamic_tls_port where requests are heard already; queue_max of [accounting]. Listeners, the Admin API and metrics that go or move take nobody new at the \
addresses that are gone; sessions that came by them go on.

Sessions that the policies would refuse now, or give something else, are listed. They stay as they are unless you say otherwise. --apply-to-sessions gives \
those that the policies still let in the filters, rates, time limits and accounting class of now; time limits begin with that. What a client was told when \
it logged in (pool and address, selectors, dns, nbns, suffix, dns_domains, routes), min_cipher_bits and later_group take another login; where pool, address or selectors \
would be others, nothing is applied. --end-refused ends those whom the policies refuse.

SIGHUP does the same and says so in the log. Renewed certificates need neither: their files are watched.

Examples:
  evergate reload --dry-run                     what would it do?
  evergate reload
  evergate reload --apply-to-sessions           a filter that has a hole no more, also for who is in
  evergate reload --end-refused
  evergate sessions --would-refuse              the list again, later
  evergate reload --json | jq .needs_restart";

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List all sessions
    List,
    /// Show one session in full
    Show {
        /// Number of the session, as `evergate sessions` lists it
        id: u64,
    },
    /// End one session, or all of a user
    Disconnect(Disconnect),
}

#[derive(Debug, Args)]
pub struct Disconnect {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    #[command(flatten)]
    pub(in crate::cli) hold: Hold,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Which {
    /// Number of the session
    pub(in crate::cli) id: Option<u64>,
    /// End all sessions of this user
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Hold {
    /// Keep the user out for so long, such as 15m or 8h: an Always On client comes back within seconds otherwise
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(in crate::cli) hold: Option<Duration>,
    /// Why, for the block list
    #[arg(long, value_name = "TEXT", requires = "hold")]
    pub(in crate::cli) reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// Where clients are sent that can follow: a DNS name or an IP address that they can reach
    #[arg(long, value_name = "GATEWAY")]
    to: Option<String>,
    /// How long those who are in may take to leave, such as 90s, 30m or 8h; 0s: at once
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    within: Duration,
    /// Take clients again
    #[arg(long, conflicts_with_all = ["to", "within"])]
    cancel: bool,
}

impl Drain {
    /// `None`: it is cancelled.
    pub(in crate::cli) fn order(&self) -> Option<api::Drain> {
        (!self.cancel).then(|| api::Drain { to: self.to.clone(), within_secs: self.within.as_secs() })
    }
}
