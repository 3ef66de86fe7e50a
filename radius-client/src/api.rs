//! What goes into the client and what comes out.
use crypto::Zeroizing;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A server and how to talk to it.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub auth: SocketAddr,
    pub accounting: Option<SocketAddr>,
    pub secret: Zeroizing<Vec<u8>>,
    /// Source address of requests; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// First retransmission (RFC 5080: 2 s), doubling up to 16 s.
    pub retransmit_initial: Duration,
    /// Transmissions in all before the server counts as silent.
    pub tries: u32,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Replies without Message-Authenticator are dropped (CVE-2024-3596).
    pub require_message_authenticator: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("auth", &self.auth)
            .field("accounting", &self.accounting)
            .finish_non_exhaustive()
    }
}

/// The caller's name for a request; comes back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One EAP conversation; its rounds go to one server, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(pub u64);

/// A UDP socket of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// Session facts that go into requests (guide: what RRAS sends).
#[derive(Debug, Clone, Default)]
pub struct NasContext {
    pub nas_ip: Option<IpAddr>,
    pub nas_identifier: String,
    pub nas_port: u32,
    /// Gateway address that the client dialled, bare.
    pub called_station_id: String,
    /// Client address, bare IP.
    pub calling_station_id: String,
    pub acct_session_id: String,
    /// Tunnel-Type value (9 = ESP) and Tunnel-Medium-Type (1 IPv4, 2 IPv6); tag 0.
    pub tunnel_type: u32,
    pub tunnel_medium_type: u32,
    /// 64..=1500; 0 means 1344, so that EAP fragments fit.
    pub framed_mtu: u32,
}

/// One datagram, one request, or the passing of time.
#[derive(Debug)]
pub enum Input {
    /// One round of EAP: the client's EAP packet. The same packet again while it waits for its answer shares that answer; another packet takes the
    /// place of the waiting one, whose tickets get [`RequestFailure::Forgotten`].
    Eap {
        ticket: Ticket,
        conversation: ConversationId,
        user_name: Vec<u8>,
        eap: Vec<u8>,
        nas: Box<NasContext>,
    },
    /// Forget a conversation (its State, its server); what is in flight fails with [`RequestFailure::Forgotten`].
    Forget(ConversationId),
    /// A record for the server that authenticated, or the first that answers.
    Accounting {
        ticket: Ticket,
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
    /// [`crate::Client::poll_timeout`] has passed.
    Timeout,
    /// New servers, in order of preference. Requests and conversations under way end with the servers they began with.
    Configure(Vec<Server>),
}

/// Work for the shell, or the outcome of a request.
#[derive(Debug)]
pub enum Output {
    /// Bind a UDP socket (IPv4 or IPv6 as `source`/`peer` say) under this id.
    Open {
        socket: SocketId,
        source: Option<IpAddr>,
        peer: SocketAddr,
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
    /// The name of the server that has the record.
    Accounting {
        ticket: Ticket,
        outcome: Result<String, RequestFailure>,
    },
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

/// What an Access-Accept grants.
#[derive(Clone, Default)]
pub struct Accept {
    /// MS-MPPE-Recv-Key | MS-MPPE-Send-Key, zero-padded to 64 bytes; empty when the server sent none. Longer keys stay whole.
    pub msk: Zeroizing<Vec<u8>>,
    pub framed_ip: Option<FramedIp>,
    pub framed_ipv6: Option<Ipv6Addr>,
    pub class: Vec<Vec<u8>>,
    pub filter_id: Vec<String>,
    /// `None` also for zero, which means no limit; so for all times here.
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub acct_interim_interval: Option<Duration>,
    pub dns: Vec<IpAddr>,
    /// User-Name of the Accept: replaces the name in accounting.
    pub user_name: Option<String>,
    pub framed_pool: Option<String>,
    pub reply_message: Option<String>,
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
        "radius {server}: no valid reply after {tries} tries in {waited:?} (replies dropped: {dropped}); is this gateway a RADIUS client there, with the same secret?"
    )]
    Silent { server: String, tries: u32, waited: Duration, dropped: String },
    #[error("radius {server}: port closed (ICMP unreachable)")]
    Unreachable { server: String },
    #[error("radius {server}: {reason}")]
    BadReply { server: String, reason: String },
    #[error("no RADIUS server is configured")]
    NoServer,
    #[error("conversation forgotten")]
    Forgotten,
    /// The request cannot be written: a name or an EAP packet too long, or neither NAS-IP-Address nor NAS-Identifier is known.
    #[error("radius {server}: request not sent: {reason}")]
    Unsendable { server: String, reason: String },
}

/// Acct-Status-Type (RFC 2866 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountingStatus {
    Start,
    Stop,
    Interim,
}

/// RFC 2866 section 5.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminateCause {
    UserRequest = 1,
    LostCarrier = 2,
    LostService = 3,
    IdleTimeout = 4,
    SessionTimeout = 5,
    AdminReset = 6,
    AdminReboot = 7,
    NasError = 9,
    NasRequest = 10,
}

/// One Accounting-Request.
#[derive(Debug, Clone)]
pub struct AccountingRecord {
    pub status: AccountingStatus,
    pub user_name: Vec<u8>,
    pub nas: NasContext,
    pub framed_ip: Option<Ipv4Addr>,
    pub framed_ipv6: Option<Ipv6Addr>,
    pub class: Vec<Vec<u8>>,
    pub session_time: Duration,
    /// From the client.
    pub input_octets: u64,
    pub output_octets: u64,
    pub input_packets: u64,
    pub output_packets: u64,
    pub terminate_cause: Option<TerminateCause>,
    /// Unix time of the event.
    pub event_timestamp: u32,
    /// Server that authenticated; accounting goes there first.
    pub server: Option<String>,
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
    pub timeouts: u64,
}
