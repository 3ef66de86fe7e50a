//! What the API asks of the control task, and what that says.
use super::stream::Feed;
use super::types::{
    AttemptDetail, AttemptList, Block, BlockList, Blocked, Disconnected, Done, DrainStatus, Explanation, Health, HistoryReport,
    HistorySpan, JudgedList, PolicyList, PoolList, RadiusList, Reloaded, Session, SessionList, Status,
};
use crate::certificates;
use crate::config::Shown;
use crate::doctor;
use crate::policy_case::{PolicyQuestion, PolicyVerdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Attempts or sessions listed where nothing else is asked for.
pub const DEFAULT_LIMIT: usize = 20;

/// A question or an order.
#[derive(Debug)]
pub enum Request {
    /// The control task is alive. -> [`Response::Health`]
    Live,
    /// Clients can come in. -> [`Response::Health`]
    Ready,
    /// -> [`Response::Status`]
    Status,
    /// -> [`Response::Metrics`]
    Metrics,
    /// What the gateway did. -> [`Response::History`]
    History(HistoryQuery),
    /// Looks at the host and at what is around it; one at a time. -> [`Response::Doctor`]
    Doctor,
    /// -> [`Response::Pools`]
    Pools,
    /// -> [`Response::Radius`]
    Radius,
    /// What the gateway shows, to whom and why. -> [`Response::Certificates`]
    Certificates,
    /// Established sessions. -> [`Response::Sessions`]
    Sessions(SessionsQuery),
    /// One session. -> [`Response::Session`]
    Session { id: u64 },
    /// -> [`Response::Disconnected`]
    Disconnect(Disconnect),
    /// -> [`Response::Blocks`]
    Blocks,
    /// -> [`Response::Block`]
    Block(BlockOrder),
    /// -> [`Response::Block`], as it was
    Unblock { id: u64 },
    /// Empties the gateway. -> [`Response::Drain`]
    Drain(Drain),
    /// Takes clients again. -> [`Response::Done`]
    CancelDrain,
    /// Reads the configuration again and applies what a running gateway can take, all or nothing. -> [`Response::Reloaded`]
    Reload(Reload),
    /// What a reload would come to. -> [`Response::Reloaded`]
    Changes,
    /// What the configuration says. -> [`Response::Configuration`]
    Configuration,
    /// -> [`Response::Policies`]
    Policies,
    /// What the policies say to a login that somebody describes. -> [`Response::PolicyVerdict`]
    PolicyTest(Box<PolicyQuestion>),
    /// The sessions to which the policies would not say today what they said. -> [`Response::Judged`]
    Judge,
    /// Attempts, newest first. -> [`Response::Attempts`]
    Attempts(AttemptsQuery),
    /// One attempt with its timeline. -> [`Response::Attempt`]
    Attempt { id: String },
    /// The story of an attempt. -> [`Response::Explanation`]
    Explain(ExplainQuery),
    /// Whatever happens from now on, as [`Event`](super::types::Event)s. -> [`Response::Done`]
    Events { feed: Feed },
    /// One client's packets and the decisions about it, as [`crate::trace::Event`]s. -> [`Response::Done`]
    Trace { query: TraceQuery, feed: Feed },
}

impl Request {
    /// How long the gateway may take for the answer: a reload reads files and looks names up, the doctor waits for servers.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Live => Duration::from_secs(5),
            Self::Reload(_) | Self::Changes | Self::Doctor => Duration::from_secs(60),
            _ => Duration::from_secs(10),
        }
    }
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionsQuery {
    /// At most this many; 20 where nothing is said, never more than 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those with a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only those of this user, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only those with this in the name of the user, the policy, the tunnel type, or in an address; without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// Which sessions to end: `id` or `user`, one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// This session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// All of this user, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Keeps the users out for so many seconds, 10 years at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_secs: Option<u64>,
    /// Why, for the block list; 200 bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whom to keep out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockOrder {
    pub who: Blocked,
    /// For so many seconds, 10 years at most; without it, until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<u64>,
    /// 200 bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ends their sessions too.
    #[serde(default)]
    pub disconnect: bool,
}

/// How to empty the gateway: new clients are sent elsewhere or refused; those who are in leave within a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Where clients go that can follow: an IP address or a DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Seconds, 7 days at most.
    pub within_secs: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Gives the sessions that are up what the policies give them then: filters, rates, time limits and accounting class. Addresses, selectors and what
    /// else a client is told at its login stay.
    #[serde(default)]
    pub apply_to_sessions: bool,
    /// Ends the sessions that the policies refuse then.
    #[serde(default)]
    pub end_refused: bool,
}

/// Which attempts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptsQuery {
    /// At most this many; 20 where nothing is said, never more than 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only older ones than the attempt of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only those of this user, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only failed ones.
    #[serde(default)]
    pub failed: bool,
    /// Only those with this in the name of the user, the address of the client, the stage or the cause; without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// What of the history to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// `hour`, also where nothing is said, or `day`.
    #[serde(default)]
    pub span: HistorySpan,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// The id of an attempt; a user or a client address, of which the newest failed one is meant, else the newest; or `last`.
    pub what: String,
}

/// Whom to follow: `user`, `peer` or `attempt`, one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceQuery {
    /// Whoever calls itself this, or is found to be this; without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whoever comes from this IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The attempt of this id, which is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The packets too: datagrams of IKE as they were on the wire, those of RADIUS and what was inside of tunnels with zeros for their secrets.
    #[serde(default)]
    pub packets: bool,
    /// The keys of IKE SAs too. Whoever has them and the datagrams can read everything that IKE says, credentials among it.
    #[serde(default)]
    pub session_keys: bool,
    /// How long, in seconds; an hour where nothing is said, never more than a day. The trace of an attempt ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// What the control task says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Response {
    Health(Health),
    Status(Box<Status>),
    /// OpenMetrics text.
    Metrics(String),
    History(Box<HistoryReport>),
    Doctor(Box<doctor::Report>),
    Configuration(Box<Shown>),
    Pools(PoolList),
    Radius(RadiusList),
    Certificates(Box<certificates::Report>),
    Sessions(SessionList),
    Session(Box<Session>),
    Disconnected(Disconnected),
    Blocks(BlockList),
    Block(Block),
    Reloaded(Box<Reloaded>),
    Policies(PolicyList),
    PolicyVerdict(Box<PolicyVerdict>),
    Judged(JudgedList),
    /// The gateway is being emptied.
    Drain(Box<DrainStatus>),
    Attempts(AttemptList),
    Attempt(Box<AttemptDetail>),
    Explanation(Box<Explanation>),
    Done(Done),
    /// The request could not be served.
    Refused(Problem),
}

impl Response {
    pub fn refused(status: Refusal, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused(Problem::new(status, error, remedy))
    }
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{error}; {remedy}")]
pub struct Problem {
    #[serde(skip)]
    pub(super) status: Refusal,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub fn new(status: Refusal, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, error: error.into(), remedy: remedy.into() }
    }
}

/// Kinds of [`Problem`], as HTTP numbers them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request itself is wrong.
    #[default]
    Wrong,
    /// 401: nobody knows who asks.
    Unknown,
    /// 403: who asks may not.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 405
    Method,
    /// 408: the request took too long to arrive.
    Slow,
    /// 409: not as things are now.
    Conflict,
    /// 413
    TooLarge,
    /// 415
    MediaType,
    /// 503: later, perhaps.
    Busy,
}
