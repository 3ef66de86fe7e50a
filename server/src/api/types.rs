//! Bodies of the Admin API, in JSON.
//!
//! Times are unix seconds, durations seconds unless the name says otherwise, octets and packets are counted from the client's side:
//! `in` came from the client, `out` went to it.
pub use super::reloaded::{Judged, Reloaded, Verdict};

use crate::certificates;
use crate::explain::numbers::{Case, Commands};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A page of sessions, in the order of their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    pub sessions: Vec<Session>,
    /// Sessions that fit, on this page or not.
    #[serde(default)]
    pub total: u64,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Sessions that were told to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disconnected {
    pub ids: Vec<u64>,
    /// Who is kept out now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
}

/// Sessions to which the policies would not say today what they said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedList {
    pub sessions: Vec<Judged>,
}

/// A page of attempts, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptList {
    pub attempts: Vec<AttemptSummary>,
    /// What to give as `before` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whom an entry of the block list keeps out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    /// By User-Name or EAP identity, without regard to case. A bare name such as `alice` is meant in every form: `alice@corp.example`, `CORP\alice`, `host/alice`
    /// and `alice$` too. One with a realm or domain (`alice@corp.example`, `CORP\alice`) is meant in that one alone, however it is written; `CORP` stands
    /// for `corp.example` and for every other realm that begins with it.
    User(String),
    /// By the name of a computer: of its certificate, of `host/name`, or of an account that ends with `$`. `pc1` is meant in every domain,
    /// `pc1.corp.example` in that one alone, `CORP\PC1$` among its forms.
    Machine(String),
    /// By the serial number or the SHA-256 fingerprint of the client's certificate, in hexadecimal. Where EAP hides the certificate (TLS 1.3, resumed sessions,
    /// inside of PEAP and its like) whoever logs in under one of its `names` is kept out.
    Certificate(String),
    /// By the client's address outside the tunnel, or by a prefix of it.
    Address(String),
}

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Machine(name) => write!(f, "machine {name:?}"),
            Self::Certificate(number) => write!(f, "certificate {number}"),
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

/// An entry of the block list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    pub id: u64,
    pub who: Blocked,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Unix time, seconds.
    pub added_at: u64,
    /// When it ends by itself. Unix time, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Of a certificate: the names under which it was seen, for logins whose certificate is hidden from the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Logins since the start of the gateway that came in although nobody could tell whether it was this one: EAP hid the certificate and no name fitted, or
    /// the server confirmed no name of the user.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unjudged: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The block list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockList {
    pub blocks: Vec<Block>,
    /// What stands in the file and is not understood, so that it keeps nobody out: a sentence each. It stays in the file as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// Something that happens while somebody listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A client has connected.
    SessionUp { session: Box<Session> },
    /// A session has ended; what became of it is in its attempt, which follows.
    SessionDown { id: u64, user: String, attempt: String, seconds: u64, octets_in: u64, octets_out: u64 },
    /// A login has failed, or a session has ended.
    Attempt { attempt: AttemptSummary },
    /// Each second.
    Counters(Counters),
}

/// Totals since the start of the gateway, but for those that say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Unix time, seconds.
    pub at: i64,
    /// At this time.
    pub sessions: u64,
    /// Of these, by tunnel type.
    #[serde(default)]
    pub sessions_ikev2: u64,
    #[serde(default)]
    pub sessions_sstp: u64,
    /// At this time.
    pub half_open: u64,
    pub attempts: u64,
    pub established: u64,
    pub failed: u64,
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub dropped: u64,
}

/// How far back a history reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistorySpan {
    /// An hour, a point every 10 s.
    #[default]
    Hour,
    /// A day, a point every five minutes; the last one is not over.
    Day,
}

/// What the gateway did, oldest first. It begins with the gateway, and ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryReport {
    pub span: HistorySpan,
    /// From one point to the next.
    pub step_secs: u64,
    pub points: Vec<HistoryPoint>,
}

/// An interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPoint {
    /// Its end. Unix time, seconds.
    pub at: i64,
    /// Its length; more than the step where the gateway was too busy, or the machine asleep.
    pub secs: u64,
    /// The most sessions in it, as far as samples tell.
    pub sessions_ikev2: u64,
    pub sessions_sstp: u64,
    /// The most logins under way.
    pub half_open: u64,
    /// Logins that came up in it, and that failed.
    pub established: u64,
    pub failed: u64,
    pub octets_in: u64,
    pub octets_out: u64,
    /// Packets.
    pub dropped: u64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// `token console`, `certificate CN=ann`, `control socket`
    pub name: String,
    pub role: CallerRole,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerRole {
    /// Looks, and changes nothing.
    Read,
    /// Everything.
    Operate,
}

/// The network policies in their order; the first that matches decides, and none means no.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyList {
    pub policies: Vec<PolicyReport>,
}

/// A network policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyReport {
    pub name: String,
    pub enabled: bool,
    pub grant: bool,
    /// All of them have to hold.
    pub conditions: Vec<String>,
    pub constraints: Vec<String>,
    /// What a session gets.
    pub settings: Vec<String>,
}

/// Usage of the address pools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolList {
    pub pools: Vec<PoolStatus>,
}

/// The RADIUS servers, and the certificates that they show to EAP clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RadiusList {
    pub radius: Vec<RadiusStatus>,
    pub eap_certificates: Vec<EapCertificate>,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    pub ok: bool,
    /// Why not, one sentence each.
    pub reasons: Vec<String>,
}

/// An order was carried out, and there is nothing more to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

/// An established session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "String")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptSummary {
    pub id: String,
    /// Unix time, seconds.
    pub started_at: u64,
    #[schemars(with = "String")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptDetail {
    #[serde(flatten)]
    pub summary: AttemptSummary,
    pub tunnel: String,
    /// The address that was dialled.
    #[schemars(with = "String")]
    pub gateway: SocketAddr,
    pub timeline: Vec<TimelineLine>,
    /// Timeline lines that were counted, not kept.
    pub timeline_lost: u64,
    /// Proposals of the peer, one a line.
    pub offered: Vec<String>,
    pub accepted: Vec<String>,
    /// The network policies: each passed over with its reason, then the deciding one.
    pub decision: Vec<String>,
    /// What RADIUS said of a user whom the policies refused: `Class=staff`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<String>,
    /// The same as NPS numbers it in its events 6272 and 6273; `None`: no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nps_reason: Option<u16>,
    /// The error number a Windows client shows for this: `13868 (ERROR_IPSEC_IKE_POLICY_MATCH)`.
    pub windows_code: Option<String>,
    /// What the administrator or the user can do about it.
    pub fix: Option<String>,
}

/// What an attempt was about, why it failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    pub attempt: AttemptDetail,
    /// The story, a sentence each.
    pub told: Vec<String>,
    /// What to type against it.
    #[serde(default)]
    pub commands: Vec<Commands>,
    /// What may be behind the numbers that Windows shows for it.
    pub cases: Vec<Case>,
    /// The cause is known; of `cases` no other one is meant.
    #[serde(default)]
    pub certain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineLine {
    /// Milliseconds since the attempt's first packet.
    pub at_ms: u64,
    pub text: String,
}

/// How a gateway empties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What is known of revoked certificates, by the places of `crl`; empty: nothing is checked.
    #[serde(default)]
    pub revocation: Vec<RevocationStatus>,
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
    /// `None`: there is no `[nps_log]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nps_log: Option<NpsLogStatus>,
    /// `None`: nobody collects traces of logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryStatus>,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerStatus {
    pub name: String,
    /// `ikev2` or `sstp`
    pub protocol: String,
    pub sockets: Vec<SocketStatus>,
}

/// A place that a revocation list comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevocationStatus {
    /// File or URL.
    pub source: String,
    /// The newest that has come from there; `None`: none has.
    #[serde(default)]
    pub list: Option<RevocationList>,
    /// Why the last look at it brought none; `None`: it did. A list at hand still counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevocationList {
    pub issuer: String,
    /// Revoked certificates in it.
    pub entries: u64,
    /// Unix time, seconds.
    pub issued_at: i64,
    /// When it runs out, unix time, seconds.
    pub next_update: i64,
    /// Seconds until then; negative once it has run out.
    pub secs_left: i64,
}

/// A bound socket: zero packets on 4500 while 500 counts says "blocked on the way".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SocketStatus {
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Datagrams received since the start; SSTP: connections accepted.
    pub packets: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RadiusStatus {
    pub name: String,
    #[schemars(with = "String")]
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
    /// Requests that wait for its answer.
    #[serde(default)]
    pub in_flight: u64,
    /// Counters by name: `sent`, `accepted`, `timeouts`, `dropped_authenticator`, ..
    pub counters: BTreeMap<String, u64>,
}

/// The local provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockoutStatus {
    /// As somebody gave it: there may be no such user.
    pub user: Option<String>,
    /// An IPv4 address, or an IPv6 /64 by its first address.
    pub source: Option<String>,
    pub rest_secs: u64,
}

/// A certificate that a RADIUS server shows to EAP clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EapCertificate {
    /// Name of the server.
    pub radius: String,
    pub subject: String,
    pub issuer: String,
    /// Unix time, seconds.
    pub not_after: i64,
}

/// Accounting records on their way to the RADIUS servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Traces of logins on their way to a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TelemetryStatus {
    /// Logins that the collector has taken since the start.
    pub exported: u64,
    /// Logins lost since the start: too many waited, or the collector refused them.
    pub dropped: u64,
    /// Why the last request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The accounting log in the format of NPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NpsLogStatus {
    /// The file of the last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Lines written since the start.
    pub written: u64,
    /// Lines that wait for the disk.
    pub waiting: u64,
    /// Lines lost since the start, because too many waited.
    pub dropped: u64,
    /// Why nothing can be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Usage of one family of a pool; numbers saturate at `u64::MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStatus {
    pub pool: String,
    /// `IPv4` or `IPv6`
    pub family: String,
    pub used: u64,
    pub size: u64,
}

/// Totals since the start, and what was dropped, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataplaneStatus {
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub drops: BTreeMap<String, u64>,
}
