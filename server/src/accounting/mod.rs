//! Accounting that loses nothing: every record is on the disk before it is sent, and stays there until a RADIUS server has confirmed it.
//!
//! The control half says what happens to sessions ([`Event`]). A thread of its own ([`Accounting`]) writes that to a journal in
//! `server.state_dir`, sends the records through the RADIUS task and repeats them for ever, the records of one session in their order. After a
//! crash the next start closes the sessions that the journal says were up, with the counters and the time it knows last.
//!
//! A record may reach a server twice, when the answer to it was lost: while one server is asked, as the identical packet, which servers
//! recognise; later as a new packet with Acct-Delay-Time (RFC 2866 section 5.2) and otherwise the same content.
mod journal;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod links;
mod outage;
mod task;

pub use links::{Device, Links};
pub use task::{Accounting, Lines, Outcome, Outcomes, outcomes};

use journal::Usage;
use radius_client::AccountingRecord;
use std::time::Duration;

/// `[accounting]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Between Interim-Updates where the RADIUS server names no Acct-Interim-Interval; `None`: none then.
    pub interim_interval: Option<Duration>,
    /// Accounting-On at the start, Accounting-Off at a regular stop.
    pub on_off: bool,
    /// Records that may wait; beyond it the oldest Interim-Updates are dropped, never a Start or Stop.
    pub queue_max: usize,
    /// A session whose Start no server has confirmed for so long ends; `None`: trouble with accounting ends none.
    pub required_within: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interim_interval: Some(Duration::from_secs(600)), on_off: false, queue_max: 100_000, required_within: None }
    }
}

/// What happens to a session. `session` is its number in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is up.
    Start { session: u64, record: Box<AccountingRecord> },
    /// An Interim-Update is due.
    Interim { session: u64, record: Box<AccountingRecord> },
    /// It has ended.
    Stop { session: u64, record: Box<AccountingRecord> },
    /// The gateway is alive, and these sessions have moved so much: octets in and out, packets in and out. A change of addresses makes no event.
    Count { at: u32, sessions: Vec<(u64, Usage)> },
    /// Accounting-On or Accounting-Off.
    Gateway(Box<AccountingRecord>),
}

impl Event {
    /// A later event makes up for its loss.
    fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Interim { .. } | Self::Count { .. })
    }
}

/// How accounting stands, for `evergate status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Records that no server has confirmed.
    pub queued: u64,
    /// Age of the oldest of them by its Event-Timestamp, seconds.
    pub oldest_secs: Option<u64>,
    /// Sessions that have a Start and no Stop.
    pub open: u64,
    /// Records confirmed since the start.
    pub confirmed: u64,
    /// Interim-Updates dropped because the queue was full.
    pub interims_dropped: u64,
    /// Sessions of an earlier run that this one closed in the books.
    pub recovered: u64,
    /// Lines of the journal that were damaged: each may have been a record.
    pub lost: u64,
    /// Why records are in memory only.
    pub journal_failure: Option<String>,
    /// How often since the start it began to be so.
    pub journal_failures: u64,
    /// Why the last record was not confirmed, until one is.
    pub radius_failure: Option<String>,
    /// Events handled: with the number handed in, whether all have been.
    handled: u64,
}
