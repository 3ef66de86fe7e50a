//! What goes into the machine and what comes out: the only types the server needs.
use crate::ppk::{InitiatorPpk, PpkPolicy};
use crate::seen::Seen;
use crypto::Zeroizing;
use crypto::cipher::Suite;
use crypto::dh::{Group, PrivateKey};
use crypto::prf::Prf;
use crypto::sign::Scheme;
use pki::{Certificate, Credential, Selection, ServerCertificate, Steering, TrustAnchors, UnixTime};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// One IKE SA and what hangs on it, over rekeys, from the first IKE_SA_INIT on. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// One TCP connection that carries IKE and ESP (RFC 9329). Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The two ends of a message. IKE in TCP and on local UDP port 4500 carries the non-ESP marker on the wire; the shell adds and strips it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The TCP connection that encapsulates messages and packets; `None`: datagrams.
    pub connection: Option<ConnectionId>,
}

impl Path {
    /// A path of datagrams.
    pub const fn between(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local, remote, connection: None }
    }
}

/// A transform combination for the IKE SA, most wanted first in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSuite {
    pub protection: Suite,
    pub prf: Prf,
    pub group: Group,
}

/// A transform combination for a Child SA; `group` is for rekeys with PFS and is not negotiated in IKE_AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EspSuite {
    pub protection: Suite,
    /// Extended sequence numbers.
    pub esn: bool,
}

/// Which transforms are allowed, in order of preference. Every combination of the lists is acceptable.
#[derive(Debug, Clone, Default)]
pub struct CipherPolicy {
    /// Protections of the IKE SA (AEAD, or cipher with integrity).
    pub ike: Vec<Suite>,
    pub prfs: Vec<Prf>,
    pub groups: Vec<Group>,
    pub esp: Vec<Suite>,
    /// Groups allowed in a Child SA rekey; "no KE" is always acceptable.
    pub pfs_groups: Vec<Group>,
    /// `Some(true)` prefers ESN where the peer offers both, `Some(false)` prefers none.
    pub prefer_esn: bool,
    /// Methods of one additional key exchange (RFC 9370), such as ML-KEM, in IKE_SA_INIT and in rekeys: with a peer that can
    /// do one of them it is done, any other comes in without.
    pub additional: Vec<Group>,
}

impl CipherPolicy {
    /// Without the ciphers whose keys are shorter.
    #[must_use]
    pub fn with_keys_of(mut self, bits: u16) -> Self {
        let keep = |suite: &Suite| suite.encryption().key_bits() >= bits;
        self.ike.retain(keep);
        self.esp.retain(keep);
        self
    }
}

/// How clients may authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAuth {
    pub eap: bool,
    pub certificate: bool,
    /// A client that asks for it (RFC 5998) sees no certificate of the gateway: an EAP method that proves both sides does it alone.
    pub eap_only: bool,
}

/// A responder's settings; a gateway has one, replaced by [`Input::Configure`].
#[derive(Clone)]
pub struct ResponderConfig {
    pub ciphers: CipherPolicy,
    /// What may be shown to clients; [`pki::choose`] says which.
    pub certificates: Vec<ServerCertificate>,
    /// Policies that name certificates, if any do.
    pub steering: Option<Arc<dyn Steering>>,
    /// Our identity (IDr) where the certificate does not decide: a DNS name that the credential's SAN holds.
    pub server_name: String,
    /// Authorities of client certificates; also what CERTREQ lists.
    pub client_roots: Arc<TrustAnchors>,
    pub client_auth: ClientAuth,
    pub limits: Limits,
    pub timers: Timers,
    /// Makes the tokens of quick crash detection (RFC 6290); the same after a restart, at least 32 random bytes. `None`: peers get no tokens.
    pub qcd_secret: Option<Zeroizing<Vec<u8>>>,
    /// Postquantum preshared keys (RFC 8784).
    pub ppk: PpkPolicy,
    /// New clients that can follow (RFC 5685) are sent to this gateway; others come in, and so do those that it sent here, as far as that can be told:
    /// of a client that names its last gateway otherwise than this does (address or name) it cannot.
    pub redirect: Option<GatewayIdentity>,
    /// Packets follow a client that says that it moved (RFC 4555) only when it has answered at its new address: one round trip later. False: at once.
    pub return_routability: bool,
    /// Where the gateway can be reached, as far as it knows: clients with MOBIKE are told those that they have not dialled (RFC 4555 section 3.6).
    pub addresses: Vec<IpAddr>,
}

impl std::fmt::Debug for ResponderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponderConfig")
            .field("ciphers", &self.ciphers)
            .field("server_name", &self.server_name)
            .field("client_auth", &self.client_auth)
            .field("limits", &self.limits)
            .field("timers", &self.timers)
            .field("redirect", &self.redirect)
            .field("return_routability", &self.return_routability)
            .field("addresses", &self.addresses)
            .field("ppk", &self.ppk)
            .field("qcd_secret", &self.qcd_secret.as_ref().map(|_| ".."))
            .finish_non_exhaustive()
    }
}

/// What an unauthenticated peer may make us hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Half-open SAs above which every IKE_SA_INIT must bring a COOKIE.
    pub cookie_threshold: usize,
    /// Half-open SAs above which new ones are dropped and counted.
    pub half_open_max: usize,
    /// Half-open SAs of one source (an IPv4 address or an IPv6 /64) above which it must bring a COOKIE. At four times as many, but no
    /// less than an eighth of `half_open_max`, even a COOKIE does not help: more are dropped and counted.
    pub half_open_per_source: usize,
    /// Time from IKE_SA_INIT to the completed IKE_AUTH while the peer is silent.
    pub half_open_timeout: Duration,
    /// Time for the whole authentication, waiting for RADIUS included.
    pub auth_timeout: Duration,
    pub sessions_max: usize,
    /// Balancers and address translators with many clients behind them: nothing is counted by source for these. The limits of all sources together
    /// hold for them as well.
    pub exempt: Vec<RangeInclusive<IpAddr>>,
}

impl Limits {
    /// Whether nothing is counted by source for this address; an IPv4-mapped IPv6 address counts as the IPv4 address it is.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|range| range.contains(&address.to_canonical()))
    }
}

/// Timers of established SAs.
#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// Silence after which we send an empty INFORMATIONAL request; zero turns liveness off.
    pub liveness_interval: Duration,
    /// First retransmission of our own requests; doubles each time.
    pub retransmit_initial: Duration,
    pub retransmit_tries: u32,
    /// How long a MOBIKE client may be silent (RFC 4555): a request that went unanswered through all tries does not end its session before. Zero,
    /// and without MOBIKE: it does.
    pub network_outage: Duration,
    /// How long an inbound Child SA that was replaced still receives.
    pub delete_rekeyed_delay: Duration,
    /// Age at which we rekey an IKE SA, less up to a twelfth of it at random; zero leaves it to the peer. It should end before 7 h 36 min, when
    /// Windows does it, perhaps with a weaker group.
    pub ike_rekey: Duration,
    /// Age at which we rekey a Child SA, less up to a tenth of it at random; zero leaves it to the peer. Windows refuses rekeys of a gateway
    /// and makes its own after 57 min: a Child SA of its is deleted, so that it makes a new one, a tenth later than this and never within 66 min.
    pub child_rekey: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            liveness_interval: Duration::from_secs(30),
            retransmit_initial: Duration::from_secs(2),
            retransmit_tries: 5,
            network_outage: Duration::from_secs(30 * 60),
            delete_rekeyed_delay: Duration::from_secs(5),
            ike_rekey: Duration::from_secs(6 * 3600 + 1800),
            child_rekey: Duration::from_secs(3600),
        }
    }
}

/// Which secrets and identity an initiator brings (simulation, tests, load).
#[derive(Debug, Clone)]
pub struct InitiatorConfig {
    pub path: Path,
    pub ciphers: CipherPolicy,
    /// Authorities of the gateway's certificate.
    pub server_roots: Arc<TrustAnchors>,
    /// The name that the gateway's certificate must hold.
    pub server_name: String,
    pub identity: Identity,
    pub auth: InitiatorAuth,
    pub want_ipv4: bool,
    pub want_ipv6: bool,
    pub local_selectors: Vec<TrafficSelector>,
    pub remote_selectors: Vec<TrafficSelector>,
    pub initial_contact: bool,
    /// Do NAT detection honestly, or force UDP encapsulation.
    pub force_encapsulation: bool,
    /// Say MOBIKE_SUPPORTED (RFC 4555), and tell by it where we are after [`Input::Rehome`].
    pub mobike: bool,
    /// Go where the gateway sends us (RFC 5685), by address and within our address family: in a new session, while the old one ends with
    /// [`CloseReason::Replaced`]. The new gateway must show the same `server_name`.
    pub follow_redirects: bool,
    /// Our postquantum preshared key (RFC 8784).
    pub ppk: Option<InitiatorPpk>,
    pub timers: Timers,
}

#[derive(Debug, Clone)]
pub enum InitiatorAuth {
    /// The EAP packets of the gateway leave as [`Question::EapPeer`].
    Eap,
    /// As `Eap`, and the gateway may prove itself by that alone (RFC 5998): `server_roots` is for those that do not.
    EapOnly,
    Certificate(Credential),
}

/// An ID payload (RFC 7296 section 3.5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Fqdn(String),
    Email(String),
    /// DER of a Name.
    DistinguishedName(Vec<u8>),
    KeyId(Vec<u8>),
}

/// Where a REDIRECT leads (RFC 5685 section 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayIdentity {
    Address(IpAddr),
    /// A DNS name of 1 to 255 bytes.
    Fqdn(String),
}

/// What becomes of new clients while a gateway is being emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Where those go that can follow; `None`: they are refused as well.
    pub to: Option<GatewayIdentity>,
}

/// A traffic selector (RFC 7296 section 3.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    pub start_port: u16,
    pub end_port: u16,
    pub start: IpAddr,
    pub end: IpAddr,
}

#[derive(Debug)]
pub enum Input {
    /// An IKE message, the non-ESP marker stripped.
    Datagram {
        path: Path,
        message: Vec<u8>,
        unix_time: UnixTime,
    },
    Answer(AskId, Answer),
    /// `poll_timeout` has passed (calling it early is harmless).
    Timeout,
    /// Starts an SA as initiator.
    Connect(Box<InitiatorConfig>),
    Command(SessionId, Command),
    Configure(Box<ResponderConfig>),
    /// Sends the client of an established session to another gateway (RFC 5685 section 5): it ends the session itself. One that cannot follow stays,
    /// with a note.
    Redirect {
        session: SessionId,
        to: GatewayIdentity,
    },
    /// The gateway is being emptied: new clients that can follow (RFC 5685) are sent to this gateway instead of that of the configuration, all others
    /// are refused. `None`: as usual again.
    Drain(Option<Drain>),
    /// The data plane has used up most sequence numbers of the Child SA that receives on `spi_in`: it is rekeyed (deleted, for Windows). To say it
    /// again is harmless.
    Worn {
        session: SessionId,
        spi_in: u32,
    },
    /// Packets wait for the client of a session without Child SA: the gateway makes one, with the selectors of the session's first. To say it again
    /// is harmless.
    Wanted(SessionId),
    /// Our end of an initiator's established session has another address, or another TCP connection: the gateway is told, by MOBIKE where it can.
    Rehome {
        session: SessionId,
        path: Path,
    },
    /// An ESP packet that verified, with the highest sequence number so far, came on another path than the session's (RFC 7296 section 2.23, RFC 9329
    /// section 6.1): answered with [`Output::Repath`] when the peer is behind a NAT, or came from one TCP connection to another.
    PeerMoved {
        session: SessionId,
        path: Path,
    },
}

/// Orders to an established session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// DELETE the IKE SA and end the session for this reason.
    Close(CloseReason),
    RekeyIke,
    RekeyChild,
    /// DELETE the Child SA and keep the IKE SA: either side makes a new one when a packet needs it.
    DropChild,
    /// Ask the peer for a sign of life now: [`Event::Alive`].
    Liveness,
}

#[derive(Debug)]
pub enum Output {
    /// Send this IKE message; the shell adds the marker when `path.local` is a NAT-traversal port.
    Transmit {
        path: Path,
        message: Vec<u8>,
    },
    Ask(AskId, SessionId, Question),
    /// Nobody waits for the answer any more.
    Cancel(AskId),
    /// Start receiving on the new Child SA, and sending unless `outbound_ready` is false (rekey, first of a responder: see there).
    InstallChild(Box<ChildSa>),
    /// A Child SA takes over the outbound direction: the peer has it.
    UseOutbound {
        session: SessionId,
        spi_in: u32,
    },
    RemoveChild {
        session: SessionId,
        spi_in: u32,
    },
    /// The peer's address changed (NAT rebinding, MOBIKE).
    Repath {
        session: SessionId,
        path: Path,
        encapsulate: bool,
    },
    Event(SessionId, Event),
    /// While [`Endpoint::watch`] is on: a message, told before what comes of it; of no session where it began or belongs to none.
    Seen(Option<SessionId>, Box<Seen>),
    /// Somebody without a session, told once a second for each source and a few times for all; [`Counters`] have them all.
    Stranger {
        from: IpAddr,
        what: Stranger,
    },
}

/// What came of a datagram that began no session and belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// It is of this major version of IKE; 1 is what L2TP goes with.
    Version(u8),
    /// A protected request of an IKE SA that is not known here: of before a restart, or of another gateway behind the same balancer.
    UnknownSpi {
        /// INVALID_IKE_SPI was the answer.
        answered: bool,
    },
    /// Its source has so many half-open sessions, and may have no more ([`Limits::half_open_per_source`]).
    HalfOpenOfSource(usize),
    /// There are so many half-open sessions, and may be no more ([`Limits::half_open_max`]).
    HalfOpen(usize),
    /// There are so many sessions, and may be no more ([`Limits::sessions_max`]).
    Sessions(usize),
}

/// Keys and addresses of a Child SA, as plain values for the data plane. SPIs as on the wire.
pub struct ChildSa {
    pub session: SessionId,
    /// SPI that the peer puts into packets to us.
    pub spi_in: u32,
    /// SPI that we put into packets to the peer.
    pub spi_out: u32,
    pub suite: EspSuite,
    pub key_in: ChildKeys,
    pub key_out: ChildKeys,
    pub path: Path,
    /// ESP in UDP (NAT, or forced), else IP protocol 50.
    pub encapsulate: bool,
    /// Negotiated selectors: our side, without [`Grant::link`], and the peer's.
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
    /// The session's inner addresses (the peer's lease; for an initiator its own).
    pub inner: Vec<IpAddr>,
    /// `Some(old spi_in)` when this replaces a Child SA.
    pub rekeys: Option<u32>,
    /// False: the peer may not have it yet. Keep sending on the old one, or where the session has no other on that of the peer's older session with
    /// the same addresses, until [`Output::UseOutbound`] or an authentic packet on this one. With nothing else to send on, send on this one.
    pub outbound_ready: bool,
}

impl std::fmt::Debug for ChildSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSa")
            .field("session", &self.session)
            .field("spi_in", &format_args!("{:08x}", self.spi_in))
            .field("spi_out", &format_args!("{:08x}", self.spi_out))
            .field("suite", &self.suite)
            .field("path", &self.path)
            .field("encapsulate", &self.encapsulate)
            .finish_non_exhaustive()
    }
}

pub struct ChildKeys {
    pub encryption: Zeroizing<Vec<u8>>,
    pub integrity: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ChildKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChildKeys(..)")
    }
}

/// Slow or foreign work.
pub enum Question {
    /// Responder: generate a key pair and agree with the peer's value in one go. `stranger`: a first message asks for it, which anybody can send as
    /// often as they like; else it is somebody who has completed a key exchange. -> [`Answer::KeyExchange`]
    KeyExchange { group: Group, peer_public: Vec<u8>, stranger: bool },
    /// Initiator: generate. -> [`Answer::KeyPair`]
    GenerateKeyPair { group: Group },
    /// Initiator: agree. -> [`Answer::Agreed`]
    Agree { private: PrivateKey, peer_public: Vec<u8> },
    /// Sign with the key of this credential. -> [`Answer::Signature`]
    Sign { credential: Credential, scheme: Scheme, data: Vec<u8> },
    /// Responder: pass this EAP-Response on. -> [`Answer::Eap`]
    Eap(EapQuestion),
    /// Responder: may the holder of this verified certificate come in? -> [`Answer::Certificate`]
    Certificate { identity: Identity, certificate: Box<Certificate>, request: AddressRequest },
    /// Initiator: what does the EAP peer answer to this EAP-Request (or Success/Failure)? -> [`Answer::EapPeer`]
    EapPeer { packet: Vec<u8> },
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyExchange { .. } => "KeyExchange",
            Self::GenerateKeyPair { .. } => "GenerateKeyPair",
            Self::Agree { .. } => "Agree",
            Self::Sign { .. } => "Sign",
            Self::Eap(_) => "Eap",
            Self::Certificate { .. } => "Certificate",
            Self::EapPeer { .. } => "EapPeer",
        })
    }
}

#[derive(Debug, Clone)]
pub struct EapQuestion {
    /// The EAP-Response, whole.
    pub packet: Vec<u8>,
    /// The identity of the EAP-Response/Identity of this conversation, as bytes the client sent.
    pub identity: Vec<u8>,
    /// IDi, for the record only: never a key (two Windows clients send the same private address).
    pub idi: Identity,
    pub request: AddressRequest,
}

/// What the configuration payload asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressRequest {
    /// The client asked for an IPv4 address, maybe for this one.
    pub ipv4: bool,
    pub ipv4_hint: Option<Ipv4Addr>,
    pub ipv6: bool,
    pub ipv6_hint: Option<Ipv6Addr>,
}

#[derive(Debug)]
pub enum Answer {
    /// To any question of cryptography but [`Question::Sign`]: too much waits already, and it is not computed. Nobody is to blame.
    Busy,
    KeyExchange(Result<(Vec<u8>, Zeroizing<Vec<u8>>), crypto::dh::BadPublicValue>),
    KeyPair {
        private: PrivateKey,
        public: Vec<u8>,
    },
    Agreed(Result<Zeroizing<Vec<u8>>, crypto::dh::BadPublicValue>),
    Signature(Result<Vec<u8>, String>),
    Eap(EapAnswer),
    Certificate(Result<Box<Grant>, Denial>),
    /// `Some(packet)` to answer; `msk` once the method has made it.
    EapPeer {
        packet: Option<Vec<u8>>,
        msk: Option<Zeroizing<Vec<u8>>>,
    },
}

pub enum EapAnswer {
    /// Another EAP-Request for the client.
    Continue { packet: Vec<u8> },
    /// EAP-Success, the MSK (empty: the method makes none), and what the login grants.
    Success { packet: Vec<u8>, msk: Zeroizing<Vec<u8>>, grant: Box<Grant> },
    /// EAP-Failure and why; the wire says AUTHENTICATION_FAILED.
    Failure { packet: Vec<u8>, denial: Denial },
}

impl std::fmt::Debug for EapAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Continue { packet } => write!(f, "Continue({} bytes)", packet.len()),
            Self::Success { grant, .. } => write!(f, "Success({})", grant.user),
            Self::Failure { denial, .. } => write!(f, "Failure({})", denial.cause),
        }
    }
}

/// What the login gives the client.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// The authenticated user or machine: key for INITIAL_CONTACT, never IDi.
    pub user: String,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// Set when no requested address could be leased: the wire says INTERNAL_ADDRESS_FAILURE, the record this text.
    pub address_failure: Option<String>,
    pub dns: Vec<IpAddr>,
    /// Inner networks that the client may reach (TSr is narrowed to these); empty: all.
    pub selectors: Vec<TrafficSelector>,
    /// What the gateway answers on the client's own link, such as DHCPINFORM: where `selectors` narrow TSr, a client that asks as Windows does
    /// gets these in it as well, lest it keep such packets to itself. The data plane is not told of them: nobody beyond the link is reached by them.
    pub link: Vec<TrafficSelector>,
    /// Networks behind the client with their prefix lengths: TSi may hold them besides its addresses.
    pub networks: Vec<(IpAddr, u8)>,
    /// Those that are delegated to the client (INTERNAL_IP6_PREFIX, RFC 5739), for one that asks.
    pub delegated: Vec<(Ipv6Addr, u8)>,
    /// WINS servers (INTERNAL_IP4_NBNS), for a client that asks for them.
    pub nbns: Vec<Ipv4Addr>,
    /// Networks behind the gateway with their prefix lengths (INTERNAL_IP4_SUBNET, INTERNAL_IP6_SUBNET), for a client that asks for them;
    /// advice for its routes, no filter.
    pub subnets: Vec<(IpAddr, u8)>,
    /// Domains to be looked up at `dns` only (INTERNAL_DNS_DOMAIN, RFC 8598), for a client that asks for them; ASCII, without a final dot.
    pub dns_domains: Vec<String>,
    /// The gateway's own inner address (INTERNAL_IP4_SERVER, INTERNAL_IP6_SERVER), for Windows, which asks for it.
    pub server_ipv4: Option<Ipv4Addr>,
    pub server_ipv6: Option<Ipv6Addr>,
    /// The client is told to authenticate anew within this time (AUTH_LIFETIME, RFC 4478), in whole seconds; a minute later the session is closed
    /// with [`CloseReason::SessionTimeout`]. A client that does so brings up a second session before it deletes the first.
    pub auth_lifetime: Option<Duration>,
    /// Bits that the key of no cipher may fall below: of the Child SAs from the first on, and of the IKE SA when it is rekeyed.
    pub cipher_bits: Option<u16>,
}

/// A refused login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub stage: Stage,
    /// One sentence for the record.
    pub cause: String,
}

/// How far an attempt came (the design's stages).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    SaInit,
    IkeAuth,
    Eap,
    Radius,
    Policy,
    Address,
    ChildSa,
    Up,
}

/// What the attempt record wants to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// First accepted IKE_SA_INIT (after a COOKIE, where one was demanded).
    Started {
        path: Path,
        initiator: bool,
    },
    /// The session moved on.
    Reached(Stage),
    /// Proposals as text, one per proposal: `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384`.
    IkeProposals {
        offered: Vec<String>,
        accepted: Option<String>,
    },
    EspProposals {
        offered: Vec<String>,
        accepted: Option<String>,
    },
    /// NAT detection result.
    Nat {
        ours: bool,
        theirs: bool,
    },
    /// IDi as text, and the name in IDr, if the client asks for one.
    Identified {
        idi: String,
        server_name: Option<String>,
    },
    /// The client's certificate, of which nothing is verified yet.
    ClientShows {
        subject: String,
        issuer: String,
    },
    /// The credential (leaf subject) and AUTH method that we chose.
    Presented {
        certificate: String,
        auth_method: String,
        /// Why this one, and why no other.
        selection: Box<Selection>,
    },
    /// The peer's path moved (500 -> 4500, NAT rebinding).
    Moved(Path),
    /// IKE SA authenticated and first Child SA up.
    Established {
        user: String,
        inner: Vec<IpAddr>,
    },
    Rekeyed {
        ike: bool,
    },
    /// The IKE SA, or the Child SA in use, has other transforms than the one before it: as text, and what of them is weaker than it was.
    Renegotiated {
        ike: bool,
        suite: String,
        weaker: Option<String>,
    },
    /// The IKE SA has no Child SA any more, which is no end: either side makes one when a packet needs it; false: there is one again.
    Resting(bool),
    /// The client answers nothing any more, but has [`Timers::network_outage`] to come back; false: it is back.
    Silent(bool),
    /// The client has shown that it is there, after [`Command::Liveness`].
    Alive,
    /// The last event of a session.
    Closed(CloseReason, Option<Failure>),
    /// A free line for the timeline.
    Note(String),
}

/// Why an attempt ended before it was up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub fault: Fault,
    /// The notify we sent, by its IANA name, where we sent one.
    pub notify: Option<&'static str>,
    /// What would let the client in, where neither the notify nor the stage tells.
    pub remedy: Option<Remedy>,
    /// One sentence: what and why.
    pub cause: String,
}

/// Settings that client and gateway must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The client brings no PPK (RFC 8784), and must.
    OfferPpk,
    /// The client's PPK is not known here.
    SharePpk,
    /// The client takes EAP alone as proof of the gateway (RFC 5998), with a method that proves nothing of it.
    ProveByEap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The peer broke the protocol.
    PeerMisbehaved,
    /// The peer speaks properly but wants what we do not do.
    PeerIncompatible,
    /// Bytes that do not parse.
    Malformed,
    /// Refused: credentials, policy, pool.
    Refused,
    /// Nothing came any more.
    Silence,
    /// RADIUS or another party we depend on does not answer.
    Dependency,
    /// It answers, with what nobody can act upon.
    Misconfigured,
    Internal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The client sent DELETE.
    PeerDeleted,
    /// No answer to liveness or to another request of ours.
    PeerLost,
    Operator,
    IdleTimeout,
    SessionTimeout,
    /// INITIAL_CONTACT of the same client; of an initiator, that it followed a REDIRECT.
    Replaced,
    /// Accounting is required, and no server has confirmed that the session began.
    Unaccounted,
    Failed,
    /// The gateway stops.
    Shutdown,
}

/// Counters, by what happened to datagrams and exchanges. Plain numbers, read by the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    pub malformed: u64,
    pub forged: u64,
    pub replayed: u64,
    pub retransmits_answered: u64,
    pub unknown_spi: u64,
    /// Requests among these that got INVALID_IKE_SPI.
    pub unknown_spi_answered: u64,
    /// IKE_SA_INIT requests that were sent to another gateway.
    pub redirected: u64,
    pub cookies_sent: u64,
    pub cookies_wrong: u64,
    pub half_open_refused: u64,
    pub out_of_window: u64,
    pub unsupported_version: u64,
}

/// Why `poll_timeout` wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReason {
    Retransmit,
    HalfOpen,
    Liveness,
    RekeyedDelete,
    CookieSecret,
    /// An SA is old enough to be rekeyed.
    Rekey,
    /// The client did not authenticate anew in time.
    Lifetime,
}

pub use crate::endpoint::Endpoint;
