//! What became of logins: `attempts`, `explain`.
use crate::api::{AttemptsQuery, DEFAULT_LIMIT};
use clap::{Args, Subcommand};

pub(super) const ATTEMPTS: &str = "Lists login attempts, newest first, and tells the story of one.

Every attempt is recorded from its first packet on: stages, what the client offered and what was accepted, what RADIUS and the policies said, \
and on a failure the cause, the number that Windows shows its user, and what to do about it.

Examples:
  evergate attempts                             the newest 20
  evergate attempts --failed --limit 100
  evergate attempts --user ann@example.com
  evergate attempts show last                   the newest that failed, with its timeline
  evergate attempts show 19ab5c3d2e1-17         another one";

pub(super) const EXPLAIN: &str = "Says in plain words what a number means that a client shows, or what became of a login.

A number needs no gateway: 809, 13868, 0x80092013, or as event logs write it, -2146885613; also an event, as RasSstp 4. Into the commands it puts the \
names of the configuration, where that can be read here. For anything else the running gateway is asked: the id of an attempt, a user's name (ann, \
ann@example.com or EXAMPLE\\ann), a client's address, or `last`; of a user or an address it is the newest failed attempt. The story says how far it came, \
why it ended, what Windows shows, what other attempts of the same client add, and what to change on which side. Of all lines that may be typed it shows \
the first; --more shows the rest, and --json all. Where it looks like a blocked port, this host's own firewall is looked into.

Examples:
  evergate explain 13868
  evergate explain RasSstp 4
  evergate explain last
  evergate explain ann@example.com
  evergate explain 198.51.100.7
  evergate explain last --more
  evergate explain 19ab5c3d2e1-17 --json | jq -r '.told[]'";

#[derive(Debug, Subcommand)]
pub enum AttemptsCommand {
    /// List attempts, newest first
    List(AttemptsList),
    /// Tell the story of one attempt
    Show {
        /// Id of the attempt, as `evergate attempts` lists it, or last: the newest that failed
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct AttemptsList {
    /// At most this many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = DEFAULT_LIMIT)]
    limit: usize,
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
}

impl AttemptsList {
    pub(in crate::cli) fn query(&self) -> AttemptsQuery {
        AttemptsQuery { limit: Some(self.limit), before: None, user: self.user.clone(), failed: self.failed, search: None }
    }
}
