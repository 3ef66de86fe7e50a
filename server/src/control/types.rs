//! What travels over the control socket: one JSON object a line, a [`Request`] answered by a [`Response`].
//!
//! Times are unix seconds, durations seconds unless the name says otherwise, octets and packets are counted from the client's side:
//! `in` came from the client, `out` went to it.
pub use super::reload::{Judged, Reloaded, Verdict};

use crate::certificates;
use crate::explain::numbers::{Case, Commands};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An order or question to the running gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// -> [`Response::Status`]
    Status {},
    /// What the gateway shows, to whom and why. -> [`Response::Certificates`]
    Certificates {},
    /// All established sessions. -> [`Response::Sessions`]
    Sessions {},
    /// One session. -> [`Response::Session`] or [`Response::Error`]
    Session { id: u64 },
    /// Ends the session `id`, or all of `user` (compared without regard to case). Exactly one must be given. -> [`Response::Disconnected`]
    Disconnect {
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        user: Option<String>,
    },
    /// Empties the gateway: new clients are sent to `to`, an IP address or a DNS name, or refused; those who are in leave within this time, 7 days at
    /// most. -> [`Response::Drain`] or [`Response::Error`]
    Drain {
        #[serde(default)]
        to: Option<String>,
        within_secs: u64,
    },
    /// Reads the configuration again and applies what a running gateway can take, all or nothing. -> [`Response::Reloaded`] or [`Response::Error`]
    Reload {
        /// Ends the sessions that the policies refuse then.
        #[serde(default)]
        end_refused: bool,
    },
    /// The sessions to which the policies would not say today what they said. -> [`Response::Judged`]
    Judge {},
    /// Takes clients again. -> [`Response::DrainCancelled`] or [`Response::Error`]
    CancelDrain {},
    /// Attempts, newest first. -> [`Response::Attempts`]
    Attempts {
        /// At most this many.
        #[serde(default = "default_limit")]
        limit: usize,
        /// Only those of this user (compared without regard to case).
        #[serde(default)]
        user: Option<String>,
        /// Only failed ones.
        #[serde(default)]
        failed: bool,
    },
    /// One attempt with its timeline. -> [`Response::Attempt`] or [`Response::Error`]
    Attempt { id: String },
    /// The story of an attempt: its id, a user's or client address's newest failed one (or else the newest), or `last`. -> [`Response::Explanation`] or
    /// [`Response::Error`]
    Explain { what: String },
}

impl Request {
    /// How long the gateway may take for the answer: a reload reads files and looks names up.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Reload { .. } => Duration::from_secs(60),
            _ => Duration::from_secs(10),
        }
    }
}

/// Attempts listed where nothing else is asked for.
pub const DEFAULT_LIMIT: usize = 20;

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

/// The gateway's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Response {
    Status(Box<Status>),
    Certificates(Box<certificates::Report>),
    Sessions {
        sessions: Vec<Session>,
    },
    Session(Box<Session>),
    /// The sessions that were told to end.
    Disconnected {
        ids: Vec<u64>,
    },
    Reloaded(Box<Reloaded>),
    Judged {
        sessions: Vec<Judged>,
    },
    /// The gateway is being emptied.
    Drain(Box<DrainStatus>),
    /// It takes clients again.
    DrainCancelled {},
    Attempts {
        attempts: Vec<AttemptSummary>,
    },
    Attempt(Box<AttemptDetail>),
    Explanation(Box<Explanation>),
    /// The request could not be served; one sentence that names culprit and remedy.
    Error {
        message: String,
    },
}

impl Response {
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error { message: message.into() }
    }
}

/// An established session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: u64,
    /// Id of the attempt it came from; also the Acct-Session-Id.
    pub attempt: String,
    pub user: String,
    /// The network policy that granted it.
    pub policy: String,
    /// `ikev2` or `sstp`
    pub tunnel: String,
    /// Outer address of the client.
    pub client: SocketAddr,
    /// Leased inner addresses.
    pub inner: Vec<IpAddr>,
    /// What is routed to the client besides: `10.9.0.0/16`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Unix time, seconds.
    pub connected_at: u64,
    pub since_secs: u64,
    /// `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384`
    pub ike_suite: String,
    pub esp_suite: String,
    /// `none`, `client`, `gateway`, `both`
    pub nat: String,
    /// SSTP: `TLSv1_3 TLS_AES_256_GCM_SHA384`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Name of the certificate that the client was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// IKEv2: when the IKE SA was last rekeyed, by either side. Unix time, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_rekeyed_at: Option<u64>,
    /// The same of the Child SA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_rekeyed_at: Option<u64>,
    /// IKEv2 with MOBIKE: since when the client has answered nothing; it may still come back. Unix time, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<u64>,
    /// IKEv2: since when the session has no Child SA; either side makes one when a packet needs it. Unix time, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_since: Option<u64>,
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    /// Packet filters that hold for it, of its policy and of RADIUS.
    #[serde(default)]
    pub filters: Vec<String>,
    /// Bits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_out: Option<u64>,
    /// Packets that filters dropped, and packets of both directions beyond a rate limit.
    #[serde(default)]
    pub filtered_in: u64,
    #[serde(default)]
    pub filtered_out: u64,
    #[serde(default)]
    pub rate_limited: u64,
    /// The RADIUS server that let it in; `None` where none was asked.
    pub radius: Option<String>,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Running,
    Up,
    /// Was up and ended.
    Ended,
    Failed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Up => "up",
            Self::Ended => "ended",
            Self::Failed => "failed",
        })
    }
}

/// One line of the list of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSummary {
    pub id: String,
    /// Unix time, seconds.
    pub started_at: u64,
    pub client: SocketAddr,
    /// Known from the EAP identity or the certificate on.
    pub user: Option<String>,
    /// Last stage reached. IKEv2: `sa_init, ike_auth, eap, radius, policy, address, child_sa, up`; SSTP: `tls, http, sstp, lcp, auth` (or
    /// `eap`)`, radius, policy, address, crypto_binding, ipcp, up`.
    pub stage: String,
    pub outcome: Outcome,
    /// Why it failed or ended, one sentence.
    pub cause: Option<String>,
}

/// Everything known of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptDetail {
    #[serde(flatten)]
    pub summary: AttemptSummary,
    pub tunnel: String,
    /// The address that was dialled.
    pub gateway: SocketAddr,
    pub timeline: Vec<TimelineLine>,
    /// Timeline lines that were counted, not kept.
    pub timeline_lost: u64,
    /// Proposals of the peer, one a line.
    pub offered: Vec<String>,
    pub accepted: Vec<String>,
    /// The network policies: each passed over with its reason, then the deciding one.
    pub decision: Vec<String>,
    /// The same as NPS numbers it in its events 6272 and 6273; `None`: no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nps_reason: Option<u16>,
    /// The error number a Windows client shows for this: `13868 (ERROR_IPSEC_IKE_POLICY_MATCH)`.
    pub windows_code: Option<String>,
    /// What the administrator or the user can do about it.
    pub fix: Option<String>,
}

/// What an attempt was about, why it failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub attempt: AttemptDetail,
    /// The story, a sentence each.
    pub told: Vec<String>,
    /// What to type against it.
    #[serde(default)]
    pub commands: Vec<Commands>,
    /// What else may be behind the numbers that Windows shows for it.
    pub cases: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineLine {
    /// Milliseconds since the attempt's first packet.
    pub at_ms: u64,
    pub text: String,
}

/// How a gateway empties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Where clients are sent that can follow.
    pub to: Option<String>,
    /// Unix time, seconds.
    pub started_at: u64,
    /// When everybody who is left is told goodbye. Unix time, seconds.
    pub ends_at: u64,
    /// Sessions that have been redirected or, of SSTP, hung up so far.
    pub sent_away: u64,
    /// Sessions and logins that are still here.
    pub left: u64,
}

/// The gateway as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// The gateway's identity, `[server] name`.
    pub name: String,
    pub pid: u32,
    /// Unix time, seconds.
    pub started_at: u64,
    pub uptime_secs: u64,
    pub sessions: u64,
    pub half_open: u64,
    /// Set while the gateway is being emptied, until that is cancelled or the gateway restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    pub listeners: Vec<ListenerStatus>,
    /// When the gateway's own certificates end, the first to end in front.
    #[serde(default)]
    pub certificates: Vec<certificates::Expiry>,
    pub radius: Vec<RadiusStatus>,
    /// `None`: there is no `[local]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalStatus>,
    /// What RADIUS servers showed to clients in EAP-TLS and PEAP up to TLS 1.2.
    #[serde(default)]
    pub eap_certificates: Vec<EapCertificate>,
    /// `None`: no RADIUS server takes accounting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<AccountingStatus>,
    pub pools: Vec<PoolStatus>,
    pub dataplane: DataplaneStatus,
    /// Counters of the IKE machine by name: `malformed`, `cookies_sent`, ..
    pub ike: BTreeMap<String, u64>,
    /// Counters of SSTP connections by name: `accepted`, `tls_failed`, `http_refused`, ..
    #[serde(default)]
    pub sstp: BTreeMap<String, u64>,
    /// Counters of dynamic authorization (RFC 5176) by name: `requests`, `refused`, `dropped_stale`, ..
    #[serde(default)]
    pub dynamic: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    pub name: String,
    /// `ikev2` or `sstp`
    pub protocol: String,
    pub sockets: Vec<SocketStatus>,
}

/// A bound socket: zero packets on 4500 while 500 counts says "blocked on the way".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStatus {
    pub address: SocketAddr,
    /// Datagrams received since the start; SSTP: connections accepted.
    pub packets: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RadiusStatus {
    pub name: String,
    pub address: SocketAddr,
    #[serde(default)]
    pub groups: Vec<String>,
    /// Over TLS: `1.0` or `1.1`, as the last connection agreed.
    #[serde(default)]
    pub radius_version: Option<String>,
    /// Attributes of its Access-Accepts that this gateway does not act upon, by name.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Of its port for logins: `unknown` (it has not answered yet), `alive`, `slow` (it answers, but a login waits), `dead`
    #[serde(default)]
    pub standing: String,
    /// Since it was last heard of, or died.
    #[serde(default)]
    pub since_secs: Option<u64>,
    /// Of the last login that was answered without a repetition.
    #[serde(default)]
    pub round_trip_ms: Option<u64>,
    /// Counters by name: `sent`, `accepted`, `timeouts`, `dropped_authenticator`, ..
    pub counters: BTreeMap<String, u64>,
}

/// The local provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStatus {
    pub users_file: String,
    pub users: u64,
    /// Of these, those who may not log in.
    pub disabled: u64,
    /// Users in each group.
    pub groups: BTreeMap<String, u64>,
    /// Who may not log in for a while after too many wrong passwords: those for longest, a hundred at most.
    pub lockouts: Vec<LockoutStatus>,
    /// Further ones.
    pub more_lockouts: u64,
    /// Why the file was not read when it changed last; the users are as they were before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A user, a source or both: `None` stands for everybody or everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockoutStatus {
    /// As somebody gave it: there may be no such user.
    pub user: Option<String>,
    /// An IPv4 address, or an IPv6 /64 by its first address.
    pub source: Option<String>,
    pub rest_secs: u64,
}

/// A certificate that a RADIUS server shows to EAP clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EapCertificate {
    /// Name of the server.
    pub radius: String,
    pub subject: String,
    pub issuer: String,
    /// Unix time, seconds.
    pub not_after: i64,
}

/// Accounting records on their way to the RADIUS servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountingStatus {
    /// Records that no server has confirmed yet.
    pub queued: u64,
    /// Since the event that the oldest of them is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_secs: Option<u64>,
    /// Sessions with a Start and without a Stop.
    pub open: u64,
    /// Records confirmed since the start.
    pub confirmed: u64,
    /// Interim-Updates dropped because the queue was full.
    pub interims_dropped: u64,
    /// Sessions that a crash had left open and this start has closed in the books.
    pub recovered: u64,
    /// Lines of the journal that were damaged; each may have been a record.
    pub lost: u64,
    /// Why the journal cannot be written; records are in memory only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_failure: Option<String>,
    /// How often since the start the journal began to be unwritable.
    #[serde(default)]
    pub journal_failures: u64,
    /// Why the last try to send failed; gone with the next confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius_failure: Option<String>,
}

/// Usage of one family of a pool; numbers saturate at `u64::MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    pub pool: String,
    /// `IPv4` or `IPv6`
    pub family: String,
    pub used: u64,
    pub size: u64,
}

/// Totals since the start, and what was dropped, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneStatus {
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub drops: BTreeMap<String, u64>,
}
