//! What goes into the link machine and what comes out: the only types that the server needs.
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use zeroize::Zeroizing;

/// Names one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// How a client may authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthProtocol {
    /// RFC 3748, any method.
    Eap,
    /// RFC 2759.
    MsChapV2,
    /// RFC 1994 with MD5.
    Chap,
    /// RFC 1334.
    Pap,
}

#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// What is offered, the most wanted first; never empty. A client may Nak from one to another of the list.
    pub auth: Vec<AuthProtocol>,
    /// What we accept per frame; SSTP: 4091.
    pub mru: u16,
    /// Our name in CHAP and MS-CHAPv2 challenges.
    pub name: String,
    /// Fresh random bytes for this link: magic numbers, challenges, interface identifier.
    pub seed: crate::Seed,
    pub timers: Timers,
}

#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// First Configure-Request at the latest after this, if the client does not begin (1 s).
    pub passive: Duration,
    /// RFC 1661 section 4.6: 3 s between repetitions.
    pub restart: Duration,
    pub max_configure: u32,
    /// From the start to the network being up (60 s), waiting for an answer to a question not counted.
    pub negotiation: Duration,
    /// LCP Echo-Request this long after the last frame that was heard; zero: never.
    pub echo_interval: Duration,
    /// Unanswered echoes until the link counts as lost.
    pub echo_failures: u32,
}

#[derive(Debug)]
pub enum Input<'a> {
    /// The lower layer is up.
    Start,
    /// A frame from the client, with or without address and control field, protocol compressed or not.
    Frame(&'a [u8]),
    Answer(AskId, Answer),
    /// The latest moment at which the data path received a packet of this link; postpones the echo.
    Heard(std::time::Instant),
    /// Terminate the link, with a reason for the client's log.
    Terminate(&'a str),
    /// [`crate::Link::poll_timeout`] has passed.
    Timeout,
}

#[derive(Debug)]
pub enum Output {
    /// A frame for the client, with address and control field.
    Transmit(Vec<u8>),
    Ask(AskId, Question),
    /// An open question whose answer is not wanted any more.
    Cancel(AskId),
    Event(Event),
    /// The link is over.
    Down(Ended),
}

/// What RADIUS must be asked.
#[derive(Clone)]
pub enum Question {
    /// An EAP packet of the client. `identity`: from its Identity response, unchanged.
    Eap {
        identity: Vec<u8>,
        packet: Vec<u8>,
    },
    /// RFC 2759 section 4: `response` is the 49 bytes of the value field, `identifier` that of the packet.
    MsChapV2 {
        name: Vec<u8>,
        identifier: u8,
        challenge: [u8; 16],
        response: [u8; 49],
    },
    /// RFC 2759 section 7, Change-Password version 2: the fields of the packet in order.
    ChangePassword {
        name: Vec<u8>,
        identifier: u8,
        challenge: [u8; 16],
        change: Box<ChangePassword>,
    },
    Chap {
        name: Vec<u8>,
        identifier: u8,
        challenge: Vec<u8>,
        response: [u8; 16],
    },
    Pap {
        name: Vec<u8>,
        password: Zeroizing<Vec<u8>>,
    },
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Eap { .. } => "Eap(..)",
            Self::MsChapV2 { .. } => "MsChapV2(..)",
            Self::ChangePassword { .. } => "ChangePassword(..)",
            Self::Chap { .. } => "Chap(..)",
            Self::Pap { .. } => "Pap(..)",
        })
    }
}

#[derive(Clone)]
pub struct ChangePassword {
    pub encrypted_password: Zeroizing<[u8; 516]>,
    pub encrypted_hash: [u8; 16],
    pub peer_challenge: [u8; 16],
    pub nt_response: [u8; 24],
    pub flags: [u8; 2],
}

impl std::fmt::Debug for ChangePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangePassword(..)")
    }
}

#[derive(Debug)]
pub enum Answer {
    /// EAP goes on with this request.
    EapContinue { packet: Vec<u8> },
    /// Let in. `eap`: the Success packet; `message`: MS-CHAPv2's `S=... M=...` without the identifier octet; empty for the others.
    Accept { eap: Vec<u8>, message: Vec<u8>, network: Box<Network> },
    /// Not let in. `eap`: the Failure packet; `message`: MS-CHAPv2's `E=... R=... C=... V=3 M=...` as RADIUS sent it, or empty. Where it allows another
    /// step and lacks the challenge for it, the link adds one.
    Reject { eap: Vec<u8>, message: Vec<u8> },
}

/// What the network protocols configure.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The client's address; `None`: IPCP is rejected.
    pub ipv4: Option<Ipv4Addr>,
    /// Our end's address in IPCP.
    pub gateway_ipv4: Option<Ipv4Addr>,
    /// DNS and NBNS servers, the first two of each count.
    pub dns: Vec<Ipv4Addr>,
    pub nbns: Vec<Ipv4Addr>,
    /// The client's address: its interface identifier is the low half; `None`: IPv6CP is rejected.
    pub ipv6: Option<Ipv6Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// LCP is Opened with this authentication protocol; the longest information field that the peer takes. A second time: the client
    /// reopened LCP and must authenticate again; what held before holds no longer ([`crate::Link::phase`]). Who cannot take a second
    /// login (SSTP: the crypto binding vouches for the first alone) ends the link then with [`Input::Terminate`].
    LcpOpened {
        auth: AuthProtocol,
        peer_mru: u16,
    },
    /// RFC 1570 Identification, its message raw (may hold zero bytes); at most eight are kept and reported.
    Identification(Vec<u8>),
    /// Authentication begins for this name (EAP identity or CHAP/PAP name).
    Identified(Vec<u8>),
    Authenticated,
    /// IPCP is Opened: the client uses this address.
    Ipv4Up(Ipv4Addr),
    /// IPv6CP is Opened with these interface identifiers.
    Ipv6Up {
        ours: [u8; 8],
        theirs: [u8; 8],
    },
    /// For the record.
    Note(String),
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub by: EndedBy,
    pub phase: Phase,
    /// One sentence: who did what.
    pub cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Terminate-Request of the client.
    Peer,
    /// [`Input::Terminate`].
    Us,
    /// The client cannot do what we demand (an authentication protocol, an address).
    Incompatible,
    /// The client broke the protocol.
    Violation,
    /// [`Answer::Reject`] and no retry.
    Refused,
    /// Negotiation took too long, or repetitions were not answered.
    Timeout,
    /// Echoes were not answered.
    Silence,
}

/// Where the link was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Lcp,
    Authentication,
    Network,
    Up,
}
