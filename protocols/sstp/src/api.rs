//! What goes into the call machine and what comes out: the only types that the server needs.
use crypto::Zeroizing;
use std::time::{Duration, Instant};

/// SSTP packets are at most this long, header included ([MS-SSTP] 2.2.1: 12 bits).
pub const MAX_PACKET: usize = 4095;

/// The header before a packet.
pub const HEADER_LEN: usize = 4;

/// Hashes of the certificate that this very connection was shown (DER of the leaf).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHashes {
    pub sha1: [u8; 20],
    pub sha256: [u8; 32],
}

/// Hash algorithms of the crypto binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingHash {
    Sha1,
    Sha256,
}

#[derive(Debug, Clone)]
pub struct CallConfig {
    /// Fresh random bytes for this call.
    pub nonce: [u8; 32],
    /// Offers SHA-1 besides SHA-256.
    pub offer_sha1: bool,
    /// What a client may have hashed: normally the one certificate of this connection; more behind an offloading balancer. Never empty.
    pub certificates: Vec<CertificateHashes>,
    pub timers: Timers,
}

/// [MS-SSTP] 3.1.2 and 3.3.2.
#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// 60 s. From CALL_CONNECT_ACK on it stands still while the gateway waits for an answer about the client ([`Input::Waiting`]).
    pub negotiation: Duration,
    /// From CALL_CONNECT_ACK to CALL_CONNECTED in all, however long answers take.
    pub authentication: Duration,
    /// 60 s.
    pub hello: Duration,
}

/// Keys of the inner authentication for the crypto binding.
#[derive(Clone)]
pub enum InnerKeys {
    /// The method makes keys: the first 32 octets of Recv-Key | Send-Key as the server sees them (= MSK\[0..32\]), zero-padded.
    Hlak(Zeroizing<[u8; 32]>),
    /// PAP and CHAP make none: bound with 32 zero octets, as the specification says.
    Keyless,
}

impl std::fmt::Debug for InnerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hlak(_) => "Hlak(..)",
            Self::Keyless => "Keyless",
        })
    }
}

#[derive(Debug)]
pub enum Input<'a> {
    /// One whole SSTP packet from the client, header included: control packets, and data packets that carry PPP control protocols. Also
    /// what [`crate::frame::next`] calls [`crate::frame::Undelimitable`], so that the call ends as the specification has it.
    Packet(&'a [u8]),
    /// A PPP frame to send.
    Ppp(&'a [u8]),
    /// PPP authenticated the client.
    Authenticated(InnerKeys),
    /// The gateway has asked others about the client's credentials, and their answer is due; or none is any more. What the client cannot hurry does not
    /// count against it.
    Waiting(bool),
    /// The latest moment at which the data path received a packet of this call; restarts the hello timer.
    Heard(Instant),
    /// End the call: CALL_DISCONNECT, or CALL_ABORT where the call is not that far.
    Close,
    /// The client has closed its TCP connection, or it broke.
    Closed,
    /// [`crate::Call::poll_timeout`] has passed (calling it early is harmless).
    Timeout,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A whole SSTP packet for the client.
    Transmit(Vec<u8>),
    /// CALL_CONNECT_REQUEST was good, its ACK is on the way: PPP begins.
    StartPpp,
    /// A PPP frame from the client, without the SSTP header.
    Ppp(Vec<u8>),
    /// The crypto binding is verified: data may flow from now on, and not before.
    Connected(BindingHash),
    /// For the attempt record.
    Note(String),
    /// Close the TCP connection, after what was transmitted has left it.
    Hangup(Ended),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub by: EndedBy,
    /// One sentence for the record: who did what, and for aborts the status with its name.
    pub cause: String,
    /// The status that an abort carried, sent or received.
    pub status: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// CALL_DISCONNECT of the client.
    Peer,
    /// CALL_ABORT of the client.
    PeerAbort,
    /// [`Input::Close`].
    Us,
    /// The client broke the protocol.
    Violation,
    /// The crypto binding did not verify: a man in the middle, another certificate, or other keys.
    Binding,
    /// Negotiation took too long.
    NegotiationTimeout,
    /// No answer to CALL_ECHO_REQUEST.
    Silence,
}

/// Why [`crate::Call::poll_timeout`] wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReason {
    /// CALL_CONNECT_REQUEST or CALL_CONNECTED is due.
    Negotiation,
    /// Nothing was heard for a while: ECHO_REQUEST goes out.
    Hello,
    /// The answer to ECHO_REQUEST is due.
    EchoAnswer,
    /// The client's CALL_ABORT in answer to ours is due.
    AbortAnswer,
    /// CALL_DISCONNECT_ACK is due.
    DisconnectAnswer,
    /// What was sent last needs time to arrive before the connection is closed.
    Linger,
}
