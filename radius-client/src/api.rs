//! What goes into the client and what comes out.
use crate::attributes::{AttributeId, number};
use crate::extra::ExtraAttribute;
use crate::framed::Framed;
use crate::record::AccountingRecord;
use crypto::Zeroizing;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A server and how to talk to it. [`Server::new`] has the defaults.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub transport: Transport,
    /// Over TLS: a fingerprint of what this gateway shows and whom it believes. Another one makes another server, with connections of its own.
    pub tls_settings: [u8; 32],
    /// The shared secret; over TLS the text `radsec` (RFC 6614 section 2.3).
    pub secret: Zeroizing<Vec<u8>>,
    /// Source address of requests; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// More attributes in requests to this server, behind those that the gateway writes itself.
    pub attributes: Vec<ExtraAttribute>,
    /// An Access-Accept is believed without the packet filters in it; else one with filters that cannot be applied lets nobody in.
    pub ignore_filters: bool,
    /// Port-Limit says nothing of sessions: it is about Multilink (RFC 2865 section 5.42), which tunnels have not.
    pub ignore_port_limit: bool,
    /// Framed-MTU of logins with EAP, 64..=1500: the longest EAP packet in answers, so that these fit datagrams that pass unfragmented. Less where the
    /// client's link takes less.
    pub framed_mtu: u32,
    /// NAS-Identifier in requests to this server; `None`: what the request says.
    pub nas_identifier: Option<String>,
    /// NAS-IP-Address or NAS-IPv6-Address in requests to this server; `None`: what the request says.
    pub nas_ip: Option<IpAddr>,
    /// First retransmission (RFC 5080: 2 s), doubling up to 16 s. Over TLS nothing is repeated.
    pub retransmit_initial: Duration,
    /// Transmissions in all before the server counts as silent.
    pub tries: u32,
    /// Longest wait for one answer.
    pub timeout: Duration,
    pub require_message_authenticator: RequireMessageAuthenticator,
    /// How to learn that it is alive when it does not answer a login.
    pub probe: Probe,
    /// A server that died is asked again after this long: by its probe, else by one login.
    pub revive_interval: Duration,
}

/// Framed-MTU that lets EAP travel in unfragmented datagrams through most tunnels.
pub const DEFAULT_FRAMED_MTU: u32 = 1344;

/// Whether replies to logins without Message-Authenticator are dropped (CVE-2024-3596). With EAP inside they always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireMessageAuthenticator {
    #[default]
    Yes,
    /// From the first reply on that has one without being about EAP.
    Auto,
    No,
}

/// A question whose answer is nothing but a sign of life. It is asked while a login has no answer, so that a server that waits for its user's
/// second factor is not taken for dead, and while the server is dead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Probe {
    #[default]
    Off,
    /// RFC 5997.
    StatusServer,
    /// An Access-Request with this User-Name and a random password; any answer will do (NPS: `Ping User-Name`).
    User(String),
}

/// What carries the packets to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// RFC 2865 and RFC 2866: a port for each kind of request.
    Udp {
        auth: SocketAddr,
        /// `None`: this server takes no accounting.
        accounting: Option<SocketAddr>,
    },
    /// RFC 6614: requests of both kinds share connections.
    Tls {
        address: SocketAddr,
        /// Whether this server takes accounting.
        accounting: bool,
    },
}

impl Transport {
    /// The same ports at another address.
    pub fn set_ip(&mut self, ip: IpAddr) {
        match self {
            Self::Udp { auth, accounting } => {
                auth.set_ip(ip);
                accounting.iter_mut().for_each(|address| address.set_ip(ip));
            }
            Self::Tls { address, .. } => address.set_ip(ip),
        }
    }
}

impl Server {
    /// A server with the usual timers, which must send Message-Authenticator.
    pub fn new(name: impl Into<String>, transport: Transport, secret: &[u8]) -> Self {
        Self {
            name: name.into(),
            transport,
            tls_settings: [0; 32],
            secret: Zeroizing::new(secret.to_vec()),
            source: None,
            attributes: Vec::new(),
            ignore_filters: false,
            ignore_port_limit: false,
            framed_mtu: DEFAULT_FRAMED_MTU,
            nas_identifier: None,
            nas_ip: None,
            retransmit_initial: Duration::from_secs(2),
            tries: 4,
            timeout: Duration::from_secs(60),
            require_message_authenticator: RequireMessageAuthenticator::Yes,
            probe: Probe::Off,
            revive_interval: Duration::from_secs(60),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls { .. })
    }

    /// Where requests for logins go.
    pub fn address(&self) -> SocketAddr {
        match self.transport {
            Transport::Udp { auth, .. } => auth,
            Transport::Tls { address, .. } => address,
        }
    }

    /// NAS-Port-Id in requests to this server; `None`: they have none.
    pub fn nas_port_id(&self) -> Option<String> {
        self.attributes.iter().find_map(|attribute| attribute.text_of(number::NAS_PORT_ID))
    }

    /// Where accounting goes; `None`: this server takes none.
    pub fn accounting_address(&self) -> Option<SocketAddr> {
        match self.transport {
            Transport::Udp { accounting, .. } => accounting,
            Transport::Tls { address, accounting, .. } => accounting.then_some(address),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// Servers of which any may answer (NPS: remote RADIUS server group).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub members: Vec<Member>,
}

/// A server's place in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// [`Server::name`]; a name that no server has is passed over.
    pub server: String,
    /// From 1; the lowest of those that are alive is asked.
    pub priority: u16,
    /// Share among members of one priority, 1 to 100.
    pub weight: u16,
}

/// The servers, and the groups they form. Requests without a group go to all servers in the order of `servers`.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    pub servers: Vec<Server>,
    pub groups: Vec<Group>,
}

impl From<Vec<Server>> for Configuration {
    fn from(servers: Vec<Server>) -> Self {
        Self { servers, groups: Vec::new() }
    }
}

/// The caller's name for a request; comes back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One client that logs in: the rounds of an EAP conversation, which go to one server, in order, or one login by password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(pub u64);

/// A connection of the shell: a UDP socket or a TLS connection. At most 256 requests are in flight on each, 4,096 with RADIUS/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// Session facts that go into requests (guide: what RRAS sends).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NasContext {
    pub nas_ip: Option<IpAddr>,
    pub nas_identifier: String,
    pub nas_port: u32,
    /// Gateway address that the client dialled, bare.
    pub called_station_id: String,
    /// Client address, bare IP.
    pub calling_station_id: String,
    pub acct_session_id: String,
    /// Tunnel-Type value of 24 bits ([`TUNNEL_TYPE_ESP`], [`TUNNEL_TYPE_SSTP`]) and Tunnel-Medium-Type (1 IPv4, 2 IPv6); tag 0.
    pub tunnel_type: u32,
    pub tunnel_medium_type: u32,
    /// The longest EAP packet that the client's link carries; 0: it sets no bound. The server's own stands beside it ([`Server::framed_mtu`]).
    pub framed_mtu: u32,
    /// MS-RAS-Client-Name (MS-RNAP section 2.2.1.1): the client's own name, `MSRAS-0-<COMPUTER>` in its LCP Identification; 1 to 32 printable ASCII
    /// characters up to the first zero byte, else left out.
    pub ras_client_name: Option<String>,
    /// MS-RAS-Client-Version: `MSRASV5.20` in its LCP Identification; left out if it is not 1 to 32 printable ASCII characters.
    pub ras_client_version: Option<String>,
    /// MS-RAS-Correlation-ID: a GUID in curly braces ([`correlation_id`] writes one); left out if it is no GUID, or zero.
    pub ras_correlation_id: Option<String>,
    /// Not sent: the shortest Session-Timeout after which the client can authenticate anew (Termination-Action); `None`: it never can.
    pub renews_after: Option<Duration>,
}

/// Tunnel-Type of IPsec ESP in tunnel mode (RFC 2868 section 3.1).
pub const TUNNEL_TYPE_ESP: u32 = 9;

/// Tunnel-Type of SSTP: vendor 311, type 1 (MS-RNAP section 2.2.2.1).
pub const TUNNEL_TYPE_SSTP: u32 = 0x01_3701;

/// A GUID as MS-RAS-Correlation-ID carries it, from its 16 bytes in memory order (the first three fields little-endian, MS-DTYP section 2.3.4.2).
pub fn correlation_id(guid: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02X}"));
    let (node, clock) = (&rest[2..], &rest[..2]);
    format!("{{{}-{}-{}-{}-{}}}", hex(&[*d, *c, *b, *a]), hex(&[*f, *e]), hex(&[*h, *g]), hex(clock), hex(node))
}

/// Which RADIUS a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RadiusVersion {
    /// RFC 2865, over UDP, or over TLS as RFC 6614 says: guarded by MD5 and the shared secret.
    V1_0,
    /// RFC 9765: guarded by TLS alone.
    V1_1,
}

impl RadiusVersion {
    /// `1.0` or `1.1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
        }
    }
}

/// One datagram, one request, or the passing of time.
#[derive(Debug)]
pub enum Input {
    /// One round of EAP: the client's EAP packet. The same packet again while it waits for its answer shares that answer; another packet takes the
    /// place of the waiting one, whose tickets get [`RequestFailure::Forgotten`].
    Eap {
        ticket: Ticket,
        conversation: ConversationId,
        /// Which servers to ask; `None`: all of them.
        group: Option<String>,
        user_name: Vec<u8>,
        eap: Vec<u8>,
        nas: Box<NasContext>,
    },
    /// A login that is not EAP: one question, one answer. While it waits, the same credentials again share its answer; others take its place, as with EAP.
    /// A further try (MS-CHAP-Error with `R=1`, a changed password) may use the same conversation.
    Login {
        ticket: Ticket,
        conversation: ConversationId,
        /// Which servers to ask; `None`: all of them.
        group: Option<String>,
        user_name: Vec<u8>,
        credentials: Credentials,
        nas: Box<NasContext>,
    },
    /// Forget a conversation (its State, its server); what is in flight fails with [`RequestFailure::Forgotten`].
    Forget(ConversationId),
    /// A record for the server that authenticated, or the first of the group that answers.
    Accounting {
        ticket: Ticket,
        /// Which servers to tell; `None`: all of them. Of a group that is not configured (any more): the server that authenticated, else all.
        group: Option<String>,
        record: Box<AccountingRecord>,
    },
    Datagram {
        socket: SocketId,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The kernel reported that the server's port is closed (ICMP).
    Unreachable {
        socket: SocketId,
        to: SocketAddr,
    },
    /// The kernel would not send this request now, for another reason than a closed port.
    NotSent {
        socket: SocketId,
        /// Of the request.
        identifier: u8,
    },
    /// A TLS connection stands, and both ends have agreed on a version of RADIUS: ALPN `radius/1.1`, else [`RadiusVersion::V1_0`].
    Connected {
        socket: SocketId,
        version: RadiusVersion,
    },
    /// A TLS connection could not be made, or has ended.
    Closed {
        socket: SocketId,
        /// In words for a log.
        cause: String,
        /// A packet of the server had come over it: another connection may serve what was in flight.
        served: bool,
    },
    /// [`crate::Client::poll_timeout`] has passed.
    Timeout,
    /// New servers and groups. Requests and conversations under way end with the servers they began with.
    Configure(Configuration),
}

/// What a client proved its name with.
#[derive(Clone)]
pub enum Credentials {
    /// RFC 1334; at most 128 bytes, without zero bytes at the end (RFC 2865 section 5.2 pads with them).
    Pap { password: Zeroizing<Vec<u8>> },
    /// RFC 1994 with MD5.
    Chap { identifier: u8, challenge: Vec<u8>, response: [u8; 16] },
    /// RFC 2759 section 4: `response` is the value of the packet: peer challenge 16, reserved 8, NT-Response 24, flags 1.
    MsChapV2 { identifier: u8, challenge: [u8; 16], response: [u8; 49] },
    /// RFC 2759 section 7: Change-Password, version 2.
    MsChapV2Change {
        identifier: u8,
        challenge: [u8; 16],
        encrypted_password: Box<Zeroizing<[u8; 516]>>,
        encrypted_hash: [u8; 16],
        peer_challenge: [u8; 16],
        nt_response: [u8; 24],
        flags: [u8; 2],
    },
    /// Nothing to check: the gateway verified a certificate of this name, and asks what its holder may have. Service-Type Authorize-Only
    /// (RFC 5176 section 3) instead of Framed.
    Certificate,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}(..)", self.name())
    }
}

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dial {
    /// A UDP socket of the peer's address family, connected to it.
    Udp { peer: SocketAddr },
    /// A TLS connection to `peer`, with the settings of the server of this name.
    Tls { peer: SocketAddr, server: String },
}

impl Dial {
    pub fn peer(&self) -> SocketAddr {
        match *self {
            Self::Udp { peer } | Self::Tls { peer, .. } => peer,
        }
    }
}

/// Work for the shell, or the outcome of a request.
#[derive(Debug)]
pub enum Output {
    /// Open a UDP socket or a TLS connection under this id. Of the latter the machine must hear [`Input::Connected`] before it transmits.
    Open {
        socket: SocketId,
        source: Option<IpAddr>,
        dial: Dial,
    },
    Close {
        socket: SocketId,
    },
    Transmit {
        socket: SocketId,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Eap {
        ticket: Ticket,
        outcome: EapOutcome,
    },
    Login {
        ticket: Ticket,
        outcome: LoginOutcome,
    },
    /// The name of the server that has the record.
    Accounting {
        ticket: Ticket,
        outcome: Result<String, RequestFailure>,
    },
    /// Something for the log.
    Server {
        server: String,
        change: Change,
    },
}

/// What became of a server. Its ports for logins and for accounting live and die apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Died {
        accounting: bool,
    },
    Returned {
        accounting: bool,
        after: Duration,
    },
    /// Its replies have Message-Authenticator; from now on they must ([`RequireMessageAuthenticator::Auto`]).
    SendsMessageAuthenticator,
    /// It sends an attribute in Access-Accept that is not acted upon. Said once of each.
    Ignored(AttributeId),
}

/// How a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was never asked, or has not answered yet.
    Unknown,
    Alive,
    /// It lives, but a login has waited for longer than one retransmission.
    Slow,
    Dead,
}

/// Upper bounds of the classes of a [`Latency`], milliseconds; the last class has none.
pub const LATENCY_BOUNDS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// How long logins waited for answers, from the first transmission on, repetitions included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Answers by class, each in one of them.
    pub buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    pub sum: Duration,
}

impl Latency {
    pub(crate) fn count(&mut self, waited: Duration) {
        let class = LATENCY_BOUNDS_MS.iter().position(|&bound| waited <= Duration::from_millis(bound));
        self.buckets[class.unwrap_or(LATENCY_BOUNDS_MS.len())] += 1;
        self.sum = self.sum.saturating_add(waited);
    }
}

/// What is known of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    pub name: String,
    /// Of its port for logins.
    pub standing: Standing,
    /// When it was last heard of, or died.
    pub since: Option<Instant>,
    /// Of the last login that was answered without a repetition.
    pub round_trip: Option<Duration>,
    pub latency: Latency,
    pub groups: Vec<String>,
    /// What the last connection over TLS agreed on.
    pub version: Option<RadiusVersion>,
    /// Attributes of its Access-Accepts that are not acted upon.
    pub ignored: Vec<AttributeId>,
    /// Requests of all kinds that wait for its answer.
    pub in_flight: usize,
    pub counters: Counters,
}

/// What RADIUS said to one round of EAP; the code of the RADIUS packet alone decides (RFC 3579 section 2.6.3).
#[derive(Debug, Clone)]
pub enum EapOutcome {
    /// Access-Challenge: another EAP-Request for the client.
    Challenge {
        server: String,
        eap: Vec<u8>,
    },
    Accept {
        server: String,
        eap: Option<Vec<u8>>,
        accept: Box<Accept>,
    },
    Reject {
        server: String,
        eap: Option<Vec<u8>>,
        reply_message: Option<String>,
        ms_chap_error: Option<String>,
    },
    Failed(RequestFailure),
}

/// What RADIUS said to a login that is not EAP.
#[derive(Debug, Clone)]
pub enum LoginOutcome {
    /// `ms_chap_success`: `S=<40 hex digits>`, perhaps ` M=<text>` in whatever encoding, without its Ident byte; present exactly for MS-CHAPv2 and its change of
    /// password, whose client hangs up without it. An Accept that lacks it is [`RequestFailure::BadReply`].
    Accept {
        server: String,
        accept: Box<Accept>,
        ms_chap_success: Option<Vec<u8>>,
    },
    /// `ms_chap_error`: `E=691 R=1 C=<32 hex digits> V=3 M=<text>` as the server wrote it, without its Ident byte. An Access-Challenge ends here too
    /// (RFC 2865 section 4.4), with its prompt in `reply_message`.
    Reject {
        server: String,
        reply_message: Option<String>,
        ms_chap_error: Option<Vec<u8>>,
    },
    Failed(RequestFailure),
}

/// What an Access-Accept grants.
#[derive(Clone, Default)]
pub struct Accept {
    /// MS-MPPE-Recv-Key | MS-MPPE-Send-Key, zero-padded to 64 bytes; empty when the server sent none. Longer keys stay whole.
    pub msk: Zeroizing<Vec<u8>>,
    pub framed_ip: Option<FramedIp>,
    pub framed_ipv6: Option<Ipv6Addr>,
    pub class: Vec<Vec<u8>>,
    /// RFC 4372: goes into accounting as it is.
    pub chargeable_user_identity: Option<Vec<u8>>,
    pub filter_id: Vec<String>,
    pub filters: ReplyFilters,
    /// WISPr-Bandwidth-Max-Up, from the client, and -Down, to it: bits a second.
    pub bandwidth_up: Option<u32>,
    pub bandwidth_down: Option<u32>,
    /// Groups that the user is a member of, for the policies.
    pub groups: Vec<String>,
    /// `None` also for zero, which means no limit; so for all times here.
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub acct_interim_interval: Option<Duration>,
    pub dns: Vec<IpAddr>,
    /// MS-Primary-NBNS-Server, MS-Secondary-NBNS-Server: WINS.
    pub nbns: Vec<Ipv4Addr>,
    /// User-Name of the Accept: replaces the name in accounting.
    pub user_name: Option<String>,
    pub framed_pool: Option<String>,
    /// More of addresses, and networks behind the client.
    pub framed: Framed,
    /// Termination-Action RADIUS-Request: when Session-Timeout is over, the user shall be authenticated anew and not be sent away.
    pub renew: bool,
    /// Port-Limit: how many sessions the user may have, unless [`Server::ignore_port_limit`].
    pub port_limit: Option<u32>,
    pub reply_message: Option<String>,
    /// DER of the certificate by which the client proved itself: of who can tell, which no RADIUS packet does.
    pub client_certificate: Option<Vec<u8>>,
    /// All that the reply says of the user, as names and text.
    pub attributes: Vec<(String, String)>,
}

/// Packet filters of an Access-Accept, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyFilters {
    /// The server's filters, Filter-Id included, are not to be applied: [`Server::ignore_filters`]. The others are empty then.
    pub ignored: bool,
    /// Values of NAS-Filter-Rule in order (RFC 4849).
    pub rules: Vec<Vec<u8>>,
    /// Values of MS-Filter and of MS-IPv6-Filter, each concatenated ([MS-RNAP] 2.2.1.3 and 2.2.1.15); empty where there are none.
    pub ms_filter: Vec<u8>,
    pub ms_ipv6_filter: Vec<u8>,
}

impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accept").field("framed_ip", &self.framed_ip).field("class", &self.class.len()).finish_non_exhaustive()
    }
}

/// Framed-IP-Address with its two magic values (RFC 2865 section 5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramedIp {
    /// 0xFFFFFFFF: the client may choose.
    ClientChooses,
    /// 0xFFFFFFFE: the NAS picks from its pool.
    NasChooses,
    Fixed(Ipv4Addr),
}

/// Why no valid answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    #[error(
        "radius {server}: no valid reply after {tries} tries in {seconds:.1} s (replies dropped: {dropped}); is this gateway a RADIUS client there, with the same secret?",
        seconds = .waited.as_secs_f64()
    )]
    Silent { server: String, tries: u32, waited: Duration, dropped: String },
    #[error("radius {server}: port closed (ICMP unreachable)")]
    Unreachable { server: String },
    /// Over TLS: there is no connection, or none that lasts.
    #[error("radius {server}: {cause}")]
    Connection { server: String, cause: String },
    #[error("radius {server}: {reason}")]
    BadReply { server: String, reason: String },
    #[error("no RADIUS server is configured")]
    NoServer,
    #[error("no RADIUS server group {group:?} is configured")]
    NoGroup { group: String },
    /// The server that holds the state of an EAP conversation fell silent; no other could go on with it.
    #[error("radius {server} was lost in the middle of an EAP conversation, which no other server can go on with: {cause}")]
    LostConversation { server: String, cause: String },
    /// It answered, but only that it cannot serve the request (Protocol-Error, RFC 9765 section 6.1).
    #[error("radius {server}: {cause}")]
    Declined { server: String, cause: String },
    #[error("conversation forgotten")]
    Forgotten,
    /// The request cannot be written: a name, a password or an EAP packet too long, or neither NAS-IP-Address nor NAS-Identifier is known.
    #[error("radius {server}: request not sent: {reason}")]
    Unsendable { server: String, reason: String },
}

/// What happened with one server since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests; repetitions not counted.
    pub sent: u64,
    pub retransmitted: u64,
    /// Valid replies.
    pub accepted: u64,
    pub dropped_source: u64,
    pub dropped_malformed: u64,
    pub dropped_unsolicited: u64,
    pub dropped_authenticator: u64,
    /// Wrong or missing.
    pub dropped_message_authenticator: u64,
    /// Those of `dropped_message_authenticator` that had none.
    pub missing_message_authenticator: u64,
    /// Valid, but of a code that answers no such request.
    pub dropped_code: u64,
    pub dropped_proxy_state: u64,
    /// Protocol-Errors: answers that say that the request cannot be served.
    pub declined: u64,
    pub timeouts: u64,
    /// Over TLS: connections begun, and those that failed or ended without our doing.
    pub connections: u64,
    pub connections_lost: u64,
}
