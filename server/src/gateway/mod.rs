//! The control half of the gateway: one struct that owns the IKE machine, logins, records and sessions. It does no IO: what must leave
//! is an [`Effect`], what slow helpers answer comes in through a method, and time is an argument.
mod authenticate;
mod autoconf;
mod blocks;
mod books;
mod certificate;
mod drain;
mod dynamic;
mod events;
mod forward;
mod held;
mod ikev2;
mod inside;
mod judge;
mod later;
mod lifecycle;
mod nps_log;
mod observe;
mod presented;
mod report;
mod roll;
mod round;
mod session;
mod sstp;
mod strangers;
mod tcp;
mod telemetry;
mod trace;
mod usage;
mod volume;

pub use autoconf::DUMMY_IPV4;
pub use certificate::CertificateAuthorization;
pub use judge::{Applied, Rules};
pub use presented::{NamedLeaf, Presented};
pub use report::{Logins, Summary};
pub use session::Session;
pub use sstp::{CallSettings, Incoming, Turned};

use crate::accounting::{self, Links};
use crate::attempts::{AttemptKey, Attempts};
use crate::login::Authority;
use crate::outcome::CloseReason;
use ike::{Answer, AskId, Command, ConnectionId, Input, Path, SessionId};
use policy::filter::Restrictions;
use policy::network::{AddressRange, Tunnel};
use policy::pool::Network;
use radius_client::{ConversationId, Ticket};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Our end of IKEv2 tunnels, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerEnd {
    pub ipv4: Ipv4Addr,
    /// INTERNAL_IP6_SERVER; without one nothing is said of it.
    pub ipv6: Option<Ipv6Addr>,
}

/// The moment an input is handled: monotonic for timers, wall clock for certificates, policies and accounting.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub wall: jiff::Timestamp,
}

/// Work for the shell.
#[derive(Debug)]
pub enum Effect {
    Transmit {
        path: Path,
        message: Vec<u8>,
    },
    /// Cryptography for the worker threads.
    Compute(AskId, ike::Question),
    Radius(radius_client::Input),
    Account(Box<accounting::Event>),
    /// A line for the log in the format of NPS.
    NpsLog(Box<crate::nps_log::Record>),
    /// A login that is decided, for who collects traces.
    Telemetry(Box<crate::telemetry::Login>),
}

/// What a session moved through its tunnels, rekeys included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client.
    pub octets_in: u64,
    pub octets_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    /// Packets dropped by filters, and beyond the rate limits.
    pub filtered_in: u64,
    pub filtered_out: u64,
    pub rate_limited: u64,
}

/// What a client has inside its tunnel.
#[derive(Debug, Clone, Copy)]
pub struct Inner<'a> {
    pub addresses: &'a [IpAddr],
    /// Behind it.
    pub networks: &'a [Network],
}

/// The data plane as the control half sees it.
pub trait Plane {
    /// An accepted TLS connection.
    type Connection: std::fmt::Debug;

    /// Filters and rate limits of a session in place of those that it had, from before its first tunnel on. An error text ends the session.
    fn restrict(&mut self, session: SessionId, restrictions: Restrictions) -> Result<(), String>;
    /// Starts a Child SA. An error text ends the session.
    /// `networks`: what is behind the client, the same for all Child SAs of a session.
    fn install(&mut self, child: ike::ChildSa, networks: &[Network]) -> Result<(), String>;
    fn use_outbound(&mut self, session: SessionId, spi_in: u32);
    fn remove(&mut self, session: SessionId, spi_in: u32);
    /// The last Child SA is gone, the session stays: packets for it call for a new one.
    fn rest(&mut self, session: SessionId);
    fn repath(&mut self, session: SessionId, path: Path, encapsulate: bool);
    /// Totals since the session began; stays readable after the last `remove`, until `forget`.
    fn traffic(&self, session: SessionId) -> Traffic;
    fn forget(&mut self, session: SessionId);
    /// Takes over a TLS connection; its packets arrive as events from now on. An error text ends the session.
    fn adopt(&mut self, session: SessionId, connection: Self::Connection) -> Result<(), String>;
    /// A whole SSTP packet for the client.
    fn stream_send(&mut self, session: SessionId, packet: Vec<u8>);
    /// Lets IP packets of these addresses flow.
    fn stream_open(&mut self, session: SessionId, inner: Inner<'_>, allowed: &[AddressRange], mtu: u16) -> Result<(), String>;
    /// Stops IP packets both ways while the call says goodbye.
    fn stream_hold(&mut self, session: SessionId);
    /// Closes the connection, after what was sent has left.
    fn stream_close(&mut self, session: SessionId);
    /// The client of a TCP connection with IKE and ESP is known.
    fn tcp_trust(&mut self, connection: ConnectionId);
    /// Closes a TCP connection with IKE and ESP, after what was sent has left.
    fn tcp_close(&mut self, connection: ConnectionId);
    /// It was closed by its client, or broke.
    fn tcp_gone(&mut self, connection: ConnectionId);
    /// The latest packet of a TLS connection.
    fn last_heard(&self, session: SessionId) -> Option<Instant>;
    /// An IP packet of the gateway's own for the client, over whatever tunnel.
    fn send_inner(&mut self, session: SessionId, packet: Vec<u8>);
    /// Addresses of this host; an error text if they cannot be read.
    fn own_addresses(&self) -> Result<Vec<IpAddr>, String>;
}

/// Settings of the control half that are not the machines' own.
#[derive(Debug, Clone)]
pub struct Settings {
    /// NAS-Identifier where a server has none of its own.
    pub nas_identifier: String,
    /// Connection request policies in order.
    pub requests: Vec<policy::request::RequestPolicy>,
    /// Who is asked where they name nobody: a RADIUS server group, or the local provider by its name; `None`: all servers.
    pub default_group: Option<String>,
    /// Name of the listener for IKEv2, for their conditions.
    pub ikev2_listener: String,
    /// Tunnel-Type of IKEv2 sessions for RADIUS.
    pub ikev2_tunnel_type: u32,
    /// Who decides about clients with a certificate.
    pub certificate_authorization: CertificateAuthorization,
    /// `None`: there is neither an accounting server nor an NPS log, sessions are not reported.
    pub accounting: Option<accounting::Settings>,
    /// What the NPS log wants to hear; `None`: there is none.
    pub nps_log: Option<crate::nps_log::Kinds>,
    /// MTU inside the tunnels, bytes.
    pub mtu: u16,
    /// How long a Child SA may carry nothing before it is deleted; the IKE SA stays.
    pub child_idle: Option<Duration>,
    /// Octets of one direction after which a Child SA is rekeyed (deleted, for Windows).
    pub child_volume: Option<u64>,
    /// Our end towards IKEv2 clients.
    pub inner: InnerEnd,
    /// RADIUS servers by name: no network behind a client may hold them.
    pub radius_addresses: Vec<(String, IpAddr)>,
    /// Sessions at most, of all tunnel types.
    pub sessions_max: usize,
    /// SSTP calls at most that are not up yet.
    pub half_open_max: usize,
    /// How long a TCP connection may be without an IKE SA.
    pub half_open_timeout: Duration,
    /// NAS-Port-Id in requests to the RADIUS servers of these names.
    pub nas_port_ids: Vec<(String, String)>,
    /// How long a login over SSTP may take in all, whoever has to answer meanwhile.
    pub auth_timeout: Duration,
    /// The certificates that clients may be shown: by them it is known what one that policies name was called before.
    pub certificates: Vec<NamedLeaf>,
}

impl Settings {
    /// Where there is no listener for IKEv2 any more, what its sessions were told by the `former` settings still holds for them.
    fn with_listener_of(self, former: &Self) -> Self {
        if !self.ikev2_listener.is_empty() {
            return self;
        }
        let Self { ikev2_tunnel_type, certificate_authorization, inner, .. } = *former;
        Self { ikev2_listener: former.ikev2_listener.clone(), ikev2_tunnel_type, certificate_authorization, inner, ..self }
    }

    /// Something is asked of Child SAs again and again.
    fn looks_at_children(&self) -> bool {
        self.child_idle.is_some() || self.child_volume.is_some()
    }
}

/// Everything known of one session, from its first message to its end.
#[derive(Debug)]
struct Live {
    attempt: AttemptKey,
    tunnel: Tunnel,
    /// Tunnel-Type for RADIUS.
    tunnel_type: u32,
    path: Path,
    /// The gateway's address that the client came to first.
    dialled: IpAddr,
    /// The client's address then.
    came_from: IpAddr,
    /// Where NAT was detected: `none`, `client`, `gateway`, `both`.
    nat: &'static str,
    ike_suite: Option<String>,
    /// What an IKE client calls itself, as text.
    idi: Option<String>,
    /// The name of the gateway that the client asked for: IDr, SNI.
    server_name: Option<String>,
    /// The certificate that the client was shown.
    presented: Option<Presented>,
    esp_suite: Option<String>,
    /// TLS version and cipher suite.
    tls: Option<String>,
    rekeyed: Rekeyed,
    /// Since when an IKE client answers nothing but may still come back. Unix time, seconds.
    silent_since: Option<u64>,
    /// It was asked for a sign of life a moment ago, and gave none.
    unanswering: bool,
    /// Since when it has no Child SA. Unix time, seconds.
    resting_since: Option<u64>,
    /// What its Child SA has carried.
    volume: Option<volume::Volume>,
    /// When an IKEv2 client that looks for routers is to hear of its router again; in the past: it could not be told then.
    advertise_at: Option<Instant>,
    /// What an SSTP client says of its computer.
    computer: Computer,
    /// The login in progress or done.
    login: Option<authenticate::Progress>,
    /// Set once the session is up.
    session: Option<Session>,
}

/// When its SAs were last rekeyed. Unix time, seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Rekeyed {
    ike: Option<u64>,
    child: Option<u64>,
}

/// LCP Identifications and correlation id, as RADIUS servers want them ([MS-RNAP] 2.2.1).
#[derive(Debug, Clone, Default)]
struct Computer {
    name: Option<String>,
    version: Option<String>,
    correlation_id: Option<String>,
}

impl Live {
    /// Nobody is there, as far as can be told.
    fn is_silent(&self) -> bool {
        self.silent_since.is_some() || self.unanswering
    }

    fn new(attempt: AttemptKey, tunnel: Tunnel, path: Path) -> Self {
        Self {
            attempt,
            tunnel,
            tunnel_type: default_tunnel_type(tunnel),
            path,
            dialled: path.local.ip(),
            came_from: path.remote.ip(),
            nat: "none",
            ike_suite: None,
            idi: None,
            server_name: None,
            presented: None,
            esp_suite: None,
            tls: None,
            rekeyed: Rekeyed::default(),
            silent_since: None,
            unanswering: false,
            resting_since: None,
            volume: None,
            advertise_at: None,
            computer: Computer::default(),
            login: None,
            session: None,
        }
    }
}

/// Who waits for RADIUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    Ike(AskId),
    /// About the holder of a verified certificate.
    Certificate(AskId),
    Ppp(SessionId, ppp::AskId),
}

/// The control half.
#[derive(Debug)]
pub struct Gateway<P> {
    endpoint: ike::Endpoint,
    pub attempts: Attempts,
    authority: Authority,
    settings: Settings,
    pub plane: P,
    live: BTreeMap<SessionId, Live>,
    /// Which of them were let in.
    roll: roll::Roll,
    /// SSTP: the machines of each session.
    calls: BTreeMap<SessionId, Box<sstp::Call>>,
    /// How many of them are up.
    calls_up: usize,
    /// TCP connections with IKE and ESP.
    tcp: tcp::Connections,
    /// When which of them wants to be woken.
    call_timers: BTreeSet<(Instant, SessionId)>,
    tickets: HashMap<Ticket, (SessionId, Asker)>,
    /// The same, by question.
    asked: HashMap<Asker, Ticket>,
    next_ticket: u64,
    /// Logins that wait for a sign of life from an older session, in the order in which their time is over.
    held: VecDeque<held::Held>,
    /// Answers to questions that could be answered while outputs were drained.
    answers: VecDeque<(AskId, Answer)>,
    commands: VecDeque<(SessionId, Command)>,
    deadlines: BTreeSet<(Instant, SessionId)>,
    /// Looks at sessions with an idle limit, their own or that of Child SAs.
    idle_check: round::Round,
    effects: VecDeque<Effect>,
    /// Which sessions are one client that came back.
    links: Links,
    /// When Router Advertisements to IKEv2 clients are due.
    advertisements: BTreeSet<(Instant, SessionId)>,
    /// When Interim-Updates are due.
    interims: BTreeSet<(Instant, SessionId)>,
    /// Writes counters to the journal.
    checkpoint: round::Round,
    /// Sessions that end unless their Start is confirmed by then.
    unaccounted: BTreeSet<(Instant, SessionId)>,
    /// Nobody new comes in any more.
    stopping: bool,
    drain: Option<drain::Drain>,
    totals: Totals,
    server_certificates: inside::ServerCertificates,
    strangers: strangers::Strangers,
    blocks: crate::blocks::Blocks,
    /// What of the list's file was not understood.
    unread_blocks: Vec<String>,
    /// Who is asked about later logins under a name.
    later: later::Groups,
    /// Who hears what happens.
    listeners: Vec<crate::api::Feed>,
    /// What is put into lines that somebody is to type.
    names: crate::explain::names::Names,
}

/// Counters of logins since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub attempts: u64,
    pub established: u64,
    pub failed: u64,
    /// Of these, kept out by the block list.
    pub blocked: u64,
    /// Sessions that came up, by tunnel type.
    pub up: BTreeMap<&'static str, u64>,
    /// Failures by tunnel type, stage and fault.
    pub failures: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// What network policies said to logins: the policy, or nothing where none matches, and the decision.
    pub decisions: BTreeMap<(String, &'static str), u64>,
    /// Ends of sessions by tunnel type and reason.
    pub ends: BTreeMap<(&'static str, &'static str), u64>,
    /// Questions inside tunnels (DHCPINFORM, ..) that were answered, and those that were not for us.
    pub inner_answered: BTreeMap<::autoconf::Question, u64>,
    pub inner_ignored: u64,
}

impl Totals {
    /// Network policies have decided about a login, or something else has refused it. `result`: the policy that lets it in.
    fn decided(&mut self, result: Result<&str, &crate::login::Denied>) {
        let (policy, decision) = match result {
            Ok(policy) => (policy, "grant"),
            Err(denied) if denied.reason.is_some() => (denied.policy.as_deref().unwrap_or_default(), "deny"),
            Err(_) => return,
        };
        *self.decisions.entry((policy.to_owned(), decision)).or_default() += 1;
    }
}

impl<P: Plane> Gateway<P> {
    pub fn new(endpoint: ike::Endpoint, attempts: Attempts, authority: Authority, settings: Settings, plane: P) -> Self {
        Self {
            endpoint,
            attempts,
            authority,
            settings,
            plane,
            live: BTreeMap::new(),
            roll: roll::Roll::default(),
            calls: BTreeMap::new(),
            tcp: tcp::Connections::default(),
            calls_up: 0,
            call_timers: BTreeSet::new(),
            held: VecDeque::new(),
            tickets: HashMap::new(),
            asked: HashMap::new(),
            next_ticket: 0,
            answers: VecDeque::new(),
            commands: VecDeque::new(),
            deadlines: BTreeSet::new(),
            idle_check: round::Round::default(),
            effects: VecDeque::new(),
            links: Links::default(),
            advertisements: BTreeSet::new(),
            interims: BTreeSet::new(),
            checkpoint: round::Round::default(),
            unaccounted: BTreeSet::new(),
            stopping: false,
            drain: None,
            totals: Totals::default(),
            server_certificates: inside::ServerCertificates::default(),
            strangers: strangers::Strangers::default(),
            blocks: crate::blocks::Blocks::default(),
            unread_blocks: Vec::new(),
            later: later::Groups::default(),
            listeners: Vec::new(),
            names: crate::explain::names::Names::default(),
        }
    }

    /// What this gateway and its surroundings are called from now on.
    pub fn set_names(&mut self, names: crate::explain::names::Names) {
        self.names = names;
    }

    /// An IKE message arrived.
    pub fn datagram(&mut self, now: Now, path: Path, message: Vec<u8>) {
        if self.stopping && is_ike_sa_init(&message) {
            return;
        }
        self.feed(now, Input::Datagram { path, message, unix_time: now.wall.as_second() });
    }

    /// A worker answered a cryptographic question.
    pub fn computed(&mut self, now: Now, id: AskId, answer: Answer) {
        self.feed(now, Input::Answer(id, answer));
    }

    /// `poll_timeout` has passed.
    pub fn timeout(&mut self, now: Now) {
        self.end_expired(now);
        self.end_idle(now);
        self.advertise_due(now);
        self.account_interims(now);
        self.account_counters(now);
        self.end_unaccounted(now);
        self.call_timeouts(now);
        self.resume_held(now);
        self.drain_due(now);
        self.tcp_timeouts(now);
        self.feed(now, Input::Timeout);
    }

    /// New settings for IKE; sessions go on with theirs.
    pub fn configure(&mut self, now: Now, responder: ike::ResponderConfig) {
        self.feed(now, Input::Configure(Box::new(responder)));
    }

    /// Ends a session.
    pub fn close(&mut self, now: Now, session: SessionId, reason: CloseReason) {
        if self.calls.contains_key(&session) {
            return self.hang_up(now, session, reason);
        }
        self.feed(now, Input::Command(session, Command::Close(reason)));
    }

    /// Addresses of this gateway at which clients over IKEv2 and UDP are, those who are not let in yet included. A walk through all.
    pub fn locals(&self) -> BTreeSet<IpAddr> {
        let clients = self.live.values().filter(|live| live.tunnel == Tunnel::Ikev2 && live.path.connection.is_none());
        clients.map(|live| live.path.local.ip()).collect()
    }

    /// Ends all sessions, for a regular stop.
    pub fn shutdown(&mut self, now: Now) {
        self.stopping = true;
        let sessions: Vec<_> = self.live.keys().copied().collect();
        for session in sessions {
            // Now, not when the DELETE is answered: a client that sleeps must not stay online in the books.
            self.account_stop(now, session, CloseReason::Shutdown, None);
            self.close(now, session, CloseReason::Shutdown);
        }
    }

    /// True once nothing waits for a peer.
    pub fn is_quiet(&self) -> bool {
        self.live.is_empty()
    }

    /// When [`Gateway::timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let machine = self.endpoint.poll_timeout().map(|(at, _)| at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let call = self.call_timers.first().map(|(at, _)| *at);
        let interim = self.interims.first().map(|(at, _)| *at);
        let advertisement = self.advertisements.first().map(|(at, _)| *at);
        let drain = self.drain.as_ref().and_then(drain::Drain::poll_timeout);
        let unaccounted = self.unaccounted.first().map(|(at, _)| *at);
        [
            unaccounted,
            self.held_until(),
            machine,
            deadline,
            call,
            drain,
            interim,
            advertisement,
            self.tcp.next(),
            self.idle_check.poll_timeout(),
            self.checkpoint.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn feed(&mut self, now: Now, input: Input) {
        self.listen_in();
        self.endpoint.handle(now.instant, input);
        self.settle(now);
    }

    /// Drains the machine; answers and commands that arise meanwhile go in only when it is drained, as its contract says.
    fn settle(&mut self, now: Now) {
        loop {
            while let Some(output) = self.endpoint.poll_output() {
                self.output(now, output);
            }
            let input = match (self.answers.pop_front(), self.commands.pop_front()) {
                (Some((id, answer)), command) => {
                    self.commands.extend(command);
                    Input::Answer(id, answer)
                }
                (None, Some((session, command))) => Input::Command(session, command),
                (None, None) => return,
            };
            self.endpoint.handle(now.instant, input);
        }
    }

    fn note(&mut self, now: Now, session: SessionId, text: String) {
        let Some(live) = self.live.get(&session) else { return };
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.note(now.instant, text);
        }
    }

    /// Nobody waits for this answer of RADIUS any more.
    fn cancel(&mut self, asker: Asker) {
        self.held.retain(|held| held.asker != asker);
        let Some(ticket) = self.asked.remove(&asker) else { return };
        let Some((session, _)) = self.tickets.remove(&ticket) else { return };
        self.effects.push_back(Effect::Radius(radius_client::Input::Forget(conversation(session))));
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

/// Tunnel-Type as RADIUS servers expect it of each tunnel.
pub fn default_tunnel_type(tunnel: Tunnel) -> u32 {
    match tunnel {
        Tunnel::Ikev2 => radius_client::TUNNEL_TYPE_ESP,
        Tunnel::Sstp => radius_client::TUNNEL_TYPE_SSTP,
    }
}

/// Exchange type 34 in the IKE header (RFC 7296 section 3.1).
fn is_ike_sa_init(message: &[u8]) -> bool {
    message.get(18) == Some(&34)
}

fn conversation(session: SessionId) -> ConversationId {
    ConversationId(session.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Denied;
    use crate::outcome::Stage;

    #[test]
    fn decisions_are_counted_by_policy() {
        let mut totals = Totals::default();
        let denied = |reason, policy: Option<&str>| Denied {
            reason,
            policy: policy.map(str::to_owned),
            ..Denied::new(Stage::Policy, String::new())
        };
        let refused = Some(policy::network::Reason::Restriction);
        totals.decided(Ok("staff"));
        totals.decided(Ok("staff"));
        totals.decided(Err(&denied(refused, Some("staff"))));
        totals.decided(Err(&denied(refused, None)));
        totals.decided(Err(&denied(None, Some("staff"))));
        let counted: Vec<_> = totals.decisions.iter().map(|((policy, decision), number)| (policy.as_str(), *decision, *number)).collect();
        assert_eq!(counted, [("", "deny", 1), ("staff", "deny", 1), ("staff", "grant", 2)], "without a reason no policy has decided");
    }
}
