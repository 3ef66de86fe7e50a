//! SSTP sessions: the call machine and the PPP link of each, tied together and to login, records and data plane.
mod answers;
mod ending;

use super::authenticate::both_families;
use super::{Asker, Computer, Gateway, Inner, Now, Plane, Presented};
use crate::login::Denied;
use crate::outcome::{CloseReason, Failure, Fault, Stage};
use crate::trace::Direction;
use ike::{Path, SessionId};
use policy::network::{Method, Tunnel};
use ppp::{AuthProtocol, Question, Seed};
use radius_client::Credentials;
use sstp::{BindingHash, CertificateHashes, InnerKeys};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What PPP may carry in a frame over SSTP ([MS-SSTP] 3.1.5.2).
const MRU: u16 = 4091;

/// From IPv6CP to the first Router Advertisement, so that our last Configure-Ack is there before it.
const FIRST_ADVERTISEMENT: Duration = Duration::from_millis(100);

/// From the client's Terminate-Request to its CALL_DISCONNECT.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a listener wants of its calls.
#[derive(Debug, Clone)]
pub struct CallSettings {
    /// The most wanted first.
    pub auth: Vec<AuthProtocol>,
    /// SHA-1 bindings are accepted besides SHA-256.
    pub offer_sha1: bool,
    /// Our end's address in IPCP, and the source of DHCP answers.
    pub inner_ipv4: Ipv4Addr,
    /// The gateway's name in CHAP challenges.
    pub name: String,
    /// The listener's own name.
    pub listener: String,
    /// Tunnel-Type for RADIUS.
    pub tunnel_type: u32,
}

/// A TLS connection whose client has asked for SSTP, and waits for the HTTP answer.
#[derive(Debug)]
pub struct Incoming<C> {
    pub path: Path,
    pub connection: C,
    pub settings: Arc<CallSettings>,
    /// Of the certificate that this very connection was shown.
    pub certificate: CertificateHashes,
    /// Subject of that certificate.
    pub presented: Presented,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// Version and cipher suite.
    pub tls: String,
    /// SSTPCORRELATIONID.
    pub correlation_id: Option<String>,
    /// For the record: server name, proxy, ..
    pub notes: Vec<String>,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    pub seed: Seed,
}

/// A connection that came to nothing before it was a session, yet deserves a record.
#[derive(Debug)]
pub struct Turned {
    pub path: Path,
    pub failure: Failure,
    pub notes: Vec<String>,
}

/// One SSTP session.
#[derive(Debug)]
pub(super) struct Call {
    machine: sstp::Call,
    link: ppp::Link,
    settings: Arc<CallSettings>,
    /// What the machines have for each other; a machine is drained before it gets the next.
    feeds: VecDeque<Feed>,
    /// What the client takes in a frame, once LCP is up.
    peer_mru: u16,
    /// Our address on the link, once IPv6CP is up.
    pub(super) link_local: Option<Ipv6Addr>,
    /// When the client is told again that we are its router.
    advertise_at: Option<Instant>,
    bound: bool,
    network_up: bool,
    open: bool,
    /// A refusal that the client may still mend by another password.
    refusal: Option<Denied>,
    failure: Option<Failure>,
    /// The client ended PPP and owes us CALL_DISCONNECT: when we stop waiting for it.
    close_at: Option<Instant>,
    /// Why we end it.
    closing: Option<CloseReason>,
    /// PPP waits for its answer.
    question: Option<ppp::AskId>,
    /// How the connection broke under a call that nobody had ended.
    broken: Option<String>,
    /// It is on its way out, and whether RADIUS owed an answer when that began.
    unanswered: Option<bool>,
    due: Option<Instant>,
}

#[derive(Debug)]
enum Feed {
    Start,
    Frame(Vec<u8>),
    /// An answer about the client is due, or none is any more.
    Waiting(bool),
    Answer(ppp::AskId, ppp::Answer),
    Terminate(String),
    Transmit(Vec<u8>),
    Authenticated(InnerKeys),
    Close,
}

enum Produced {
    Sstp(sstp::Output),
    Ppp(ppp::Output),
}

impl<P: Plane> Gateway<P> {
    /// A client asks for SSTP.
    pub fn incoming(&mut self, now: Now, incoming: Incoming<P::Connection>) {
        let session = self.endpoint.reserve_session();
        self.started(now, session, Tunnel::Sstp, Stage::Http, incoming.path);
        let Incoming { connection, settings, certificate, presented, server_name, tls, correlation_id, notes, nonce, seed, .. } = incoming;
        for note in notes {
            self.note(now, session, note);
        }
        self.note(now, session, tls.clone());
        for line in presented.lines(None) {
            self.note(now, session, line);
        }
        if let Some(live) = self.live.get_mut(&session) {
            live.tunnel_type = settings.tunnel_type;
            live.tls = Some(tls);
            if let Some(attempt) = self.attempts.get(live.attempt) {
                presented.log(attempt.id.as_str(), live.path.remote);
            }
            live.presented = Some(presented.called_now(&self.settings.certificates));
            live.server_name = server_name;
            live.computer.correlation_id = correlation_id;
        }
        if let Err(error) = self.plane.adopt(session, connection) {
            let cause = format!("the data plane does not take the connection: {error}");
            let failure = Failure { stage: Stage::Http, fault: Fault::Internal, notify: None, eap: None, remedy: None, cause };
            return self.closed(now, session, CloseReason::Failed, Some(failure));
        }
        if let Some(failure) = self.no_room() {
            self.plane.stream_send(session, sstp::http::busy_response(&http_date(now)));
            self.plane.stream_close(session);
            return self.closed(now, session, CloseReason::Failed, Some(failure));
        }
        self.plane.stream_send(session, sstp::http::accept_response(&http_date(now)));
        let call = Call::new(now.instant, &settings, self.settings.auth_timeout, certificate, nonce, &seed);
        self.calls.insert(session, Box::new(call));
        self.run(now, session);
    }

    /// A connection ended before it was a session.
    pub fn turned_away(&mut self, now: Now, tunnel: Tunnel, turned: Turned) {
        let session = self.endpoint.reserve_session();
        self.started(now, session, tunnel, turned.failure.stage, turned.path);
        for note in turned.notes {
            self.note(now, session, note);
        }
        self.closed(now, session, CloseReason::Failed, Some(turned.failure));
    }

    /// An SSTP packet that is not IP data arrived.
    pub fn packet(&mut self, now: Now, session: SessionId, packet: &[u8]) {
        self.stream_seen(now, session, Direction::In, packet);
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.machine.handle(now.instant, sstp::Input::Packet(packet));
        self.run(now, session);
        self.settle(now);
    }

    pub(super) fn call_timeouts(&mut self, now: Now) {
        while let Some(&(at, session)) = self.call_timers.first()
            && at <= now.instant
        {
            self.call_timers.pop_first();
            let heard = self.plane.last_heard(session);
            let Some(call) = self.calls.get_mut(&session) else { continue };
            call.due = None;
            call.wake(now.instant, heard);
            let advertises = call.advertise_at.is_some_and(|at| at <= now.instant);
            if advertises {
                self.advertise_from(now, session);
            }
            self.run(now, session);
        }
    }

    /// Ends a call by LCP Terminate-Request and CALL_DISCONNECT.
    pub(super) fn hang_up(&mut self, now: Now, session: SessionId, reason: CloseReason) {
        self.say_goodbye(session, reason);
        self.run(now, session);
    }

    /// The same, for a call whose machines are at work: they end it when they have said what they are saying.
    pub(super) fn say_goodbye(&mut self, session: SessionId, reason: CloseReason) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.closing.get_or_insert(reason);
        call.feeds.push_back(Feed::Terminate(crate::explain::close_reason_name(reason).into()));
        self.hold(session);
    }

    /// From its end on a session carries no data, however long the goodbyes take.
    fn hold(&mut self, session: SessionId) {
        if self.calls.get(&session).is_some_and(|call| call.open) {
            self.plane.stream_hold(session);
        }
    }

    /// Lets the machines of a session work until neither has anything more to say.
    fn run(&mut self, now: Now, session: SessionId) {
        while let Some(call) = self.calls.get_mut(&session) {
            match call.poll() {
                Some(Produced::Sstp(output)) => self.call_output(now, session, output),
                Some(Produced::Ppp(output)) => self.link_output(now, session, output),
                None if call.feed(now.instant) => {}
                None => break,
            }
        }
        self.note_unanswered(session);
        self.watch(session);
    }

    fn watch(&mut self, session: SessionId) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        let due = call.poll_timeout();
        if due == call.due {
            return;
        }
        if let Some(at) = std::mem::replace(&mut call.due, due) {
            self.call_timers.remove(&(at, session));
        }
        self.call_timers.extend(due.map(|at| (at, session)));
    }

    fn call_output(&mut self, now: Now, session: SessionId, output: sstp::Output) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        match output {
            sstp::Output::Transmit(packet) => {
                self.stream_seen(now, session, Direction::Out, &packet);
                self.plane.stream_send(session, packet);
            }
            sstp::Output::StartPpp => {
                call.feeds.push_back(Feed::Start);
                self.reach(now, session, Stage::Sstp);
            }
            sstp::Output::Ppp(frame) => call.feeds.push_back(Feed::Frame(frame)),
            sstp::Output::Connected(hash) => {
                call.bound = true;
                self.reach(now, session, Stage::CryptoBinding);
                self.note(now, session, format!("crypto binding verified ({})", hash_name(hash)));
                self.open_when_ready(now, session);
            }
            sstp::Output::Note(text) => self.note(now, session, text),
            sstp::Output::Hangup(ended) => self.hung_up(now, session, ended),
        }
    }

    fn link_output(&mut self, now: Now, session: SessionId, output: ppp::Output) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        match output {
            ppp::Output::Transmit(frame) => call.feeds.push_back(Feed::Transmit(frame)),
            ppp::Output::Ask(id, question) => self.ask(now, session, id, question),
            ppp::Output::Cancel(id) => {
                call.answered(id);
                self.cancel(Asker::Ppp(session, id));
            }
            ppp::Output::Event(event) => self.ppp_event(now, session, event),
            ppp::Output::Down(ended) => self.link_down(now, session, ended),
        }
    }

    fn ask(&mut self, now: Now, session: SessionId, id: ppp::AskId, question: Question) {
        if let Some(call) = self.calls.get_mut(&session) {
            call.question = Some(id);
            call.feeds.push_back(Feed::Waiting(true));
        }
        let asker = Asker::Ppp(session, id);
        let (method, name, credentials) = match question {
            Question::Eap { identity, packet } => {
                return self.relay_eap(now, session, asker, identity, packet, both_families());
            }
            Question::MsChapV2 { name, identifier, challenge, response } => {
                (Method::MsChapV2, name, Credentials::MsChapV2 { identifier, challenge, response })
            }
            Question::ChangePassword { name, identifier, challenge, change } => {
                (Method::MsChapV2, name, answers::change(identifier, challenge, *change))
            }
            Question::Chap { name, identifier, challenge, response } => {
                (Method::Chap, name, Credentials::Chap { identifier, challenge, response })
            }
            Question::Pap { name, password } => (Method::Pap, name, Credentials::Pap { password }),
        };
        self.relay_login(now, session, asker, method, name, credentials);
    }

    fn ppp_event(&mut self, now: Now, session: SessionId, event: ppp::Event) {
        match event {
            ppp::Event::LcpOpened { .. } if self.is_granted(session) => {
                let cause = "the client opened LCP anew after its login; a second login would not be bound to the connection".to_owned();
                self.hang_up_later(session, CloseReason::Failed, Stage::Lcp, Fault::PeerMisbehaved, cause);
            }
            ppp::Event::LcpOpened { auth, peer_mru } => {
                if let Some(call) = self.calls.get_mut(&session) {
                    call.peer_mru = peer_mru;
                }
                self.begin_login_anew(session);
                self.reach(now, session, Stage::Lcp);
                self.note(now, session, format!("LCP is up: {}, the client takes {peer_mru} bytes a frame", auth_name(auth)));
            }
            ppp::Event::Identification(message) => self.identification(now, session, message),
            ppp::Event::Identified(name) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                let attempt = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt));
                if let Some(attempt) = attempt.filter(|attempt| attempt.user.is_none()) {
                    attempt.set_user(name);
                }
            }
            ppp::Event::Authenticated => {}
            ppp::Event::Ipv4Up(address) => self.network_up(now, session, format!("IPCP is up: {address}")),
            ppp::Event::Ipv6Up { ours, .. } => {
                if let Some(call) = self.calls.get_mut(&session) {
                    call.link_local = Some(link_local(ours));
                    call.advertise_at = now.instant.checked_add(FIRST_ADVERTISEMENT);
                }
                self.network_up(now, session, "IPv6CP is up".into());
            }
            ppp::Event::Note(text) => self.note(now, session, text),
        }
    }

    fn is_granted(&self, session: SessionId) -> bool {
        self.live.get(&session).and_then(|live| live.login.as_ref()).is_some_and(|login| login.granted.is_some())
    }

    fn identification(&mut self, now: Now, session: SessionId, message: Vec<u8>) {
        let shown = match std::str::from_utf8(&message) {
            Ok(text) if !text.contains(|c: char| c.is_control()) => text.to_owned(),
            _ => format!("{} raw bytes", message.len()),
        };
        self.note(now, session, format!("client identifies itself: {shown}"));
        // What the decision about the login went by stays as it was.
        let is_decided = self.is_granted(session);
        if let Some(live) = self.live.get_mut(&session).filter(|_| !is_decided) {
            live.computer.learn(&message);
            if let (Some(name), Some(attempt)) = (&live.computer.name, self.attempts.get_mut(live.attempt)) {
                // What Windows puts before the computer's name.
                attempt.set_machine(name.strip_prefix("MSRAS-0-").unwrap_or(name));
            }
        }
    }

    fn network_up(&mut self, now: Now, session: SessionId, note: String) {
        if let Some(call) = self.calls.get_mut(&session) {
            call.network_up = true;
        }
        self.reach(now, session, Stage::Ipcp);
        self.note(now, session, note);
        self.open_when_ready(now, session);
    }

    /// Data flows once the binding is verified and a network protocol is up.
    fn open_when_ready(&mut self, now: Now, session: SessionId) {
        let mtu = self.settings.mtu;
        let Some(call) = self.calls.get_mut(&session).filter(|call| call.may_open()) else { return };
        call.open = true;
        let mtu = call.mtu(mtu);
        let Some(granted) = self.live.get(&session).and_then(|live| live.login.as_ref()?.granted.clone()) else { return };
        let inner: Vec<IpAddr> = granted.ipv4.map(IpAddr::V4).into_iter().chain(granted.ipv6.map(IpAddr::V6)).collect();
        if let Err(error) =
            self.plane.stream_open(session, Inner { addresses: &inner, networks: &granted.networks }, &granted.selectors, mtu)
        {
            tracing::warn!(%error, "the data plane refuses a session");
            self.note(now, session, format!("the data plane refuses the session: {error}"));
            return self.hang_up_later(session, CloseReason::Failed, Stage::Ipcp, Fault::Internal, error);
        }
        self.calls_up += 1;
        self.established(now, session, inner);
        for stale in self.stale_calls(session) {
            self.note(now, stale, "the same computer connected again".into());
            self.hang_up(now, stale, CloseReason::Replaced);
        }
    }

    /// Why no more calls are taken, if so.
    fn no_room(&self) -> Option<Failure> {
        let refuse =
            |cause: String| Some(Failure { stage: Stage::Http, fault: Fault::Refused, notify: None, eap: None, remedy: None, cause });
        if self.stopping {
            return refuse("the gateway is stopping: HTTP 503".into());
        }
        if self.is_draining() {
            return refuse("the gateway is being emptied (evergate drain) and takes no new clients: HTTP 503".into());
        }
        // The new one is among the living already.
        if self.live.len() > self.settings.sessions_max {
            let up = self.endpoint.sessions().1 + self.calls_up;
            return refuse(format!(
                "server.max_sessions = {} are taken: {up} are up, the others in their login: HTTP 503",
                self.settings.sessions_max
            ));
        }
        if self.calls.len() - self.calls_up >= self.settings.half_open_max {
            return refuse(format!("limits.half_open_max = {} calls are in their login: HTTP 503", self.settings.half_open_max));
        }
        None
    }

    /// Advertises the router now and from time to time.
    fn advertise_from(&mut self, now: Now, session: SessionId) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        let interval = if call.open { ::autoconf::ADVERTISEMENT_INTERVAL } else { FIRST_ADVERTISEMENT };
        call.advertise_at = now.instant.checked_add(interval);
        if call.open {
            self.advertise(now, session);
        }
    }

    fn reach(&mut self, now: Now, session: SessionId, stage: Stage) {
        if let Some(attempt) = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt)) {
            attempt.reach(now.instant, stage);
        }
    }
}

impl Call {
    pub(super) fn listener(&self) -> &str {
        &self.settings.listener
    }

    fn new(
        now: Instant,
        settings: &Arc<CallSettings>,
        authentication: Duration,
        certificate: CertificateHashes,
        nonce: [u8; 32],
        seed: &Seed,
    ) -> Self {
        let timers = sstp::Timers { negotiation: Duration::from_secs(60), authentication, hello: Duration::from_secs(60) };
        let machine = sstp::CallConfig { nonce, offer_sha1: settings.offer_sha1, certificates: vec![certificate], timers };
        let link =
            ppp::LinkConfig { auth: settings.auth.clone(), mru: MRU, name: settings.name.clone(), seed: *seed, timers: link_timers() };
        Self {
            machine: sstp::Call::new(now, machine),
            link: ppp::Link::new(now, link),
            settings: settings.clone(),
            feeds: VecDeque::new(),
            peer_mru: MRU,
            link_local: None,
            advertise_at: None,
            bound: false,
            network_up: false,
            open: false,
            refusal: None,
            failure: None,
            close_at: None,
            closing: None,
            question: None,
            broken: None,
            unanswered: None,
            due: None,
        }
    }

    /// A call that is on its way out stays out, whatever comes true meanwhile.
    fn may_open(&self) -> bool {
        self.bound && self.network_up && !self.open && self.closing.is_none()
    }

    /// `ours`: that of the TUN device. No packet is longer than the client takes in a frame (RFC 1661 section 6.1).
    pub(super) fn mtu(&self, ours: u16) -> u16 {
        ours.min(self.peer_mru)
    }

    pub(super) fn inner_ipv4(&self) -> Ipv4Addr {
        self.settings.inner_ipv4
    }

    /// This question has its answer, or needs none.
    fn answered(&mut self, id: ppp::AskId) {
        if self.question == Some(id) {
            self.question = None;
            self.feeds.push_back(Feed::Waiting(false));
        }
    }

    fn poll(&mut self) -> Option<Produced> {
        if let Some(output) = self.link.poll_output() {
            return Some(Produced::Ppp(output));
        }
        self.machine.poll_output().map(Produced::Sstp)
    }

    /// Gives a machine what the other, or the gateway, has for it; false when there is nothing.
    fn feed(&mut self, now: Instant) -> bool {
        let Some(feed) = self.feeds.pop_front() else { return false };
        match feed {
            Feed::Start => self.link.handle(now, ppp::Input::Start),
            Feed::Frame(frame) => self.link.handle(now, ppp::Input::Frame(&frame)),
            Feed::Waiting(waiting) => self.machine.handle(now, sstp::Input::Waiting(waiting)),
            Feed::Answer(id, answer) => self.link.handle(now, ppp::Input::Answer(id, answer)),
            Feed::Terminate(reason) => self.link.handle(now, ppp::Input::Terminate(&reason)),
            Feed::Transmit(frame) => self.machine.handle(now, sstp::Input::Ppp(&frame)),
            Feed::Authenticated(keys) => self.machine.handle(now, sstp::Input::Authenticated(keys)),
            Feed::Close => self.machine.handle(now, sstp::Input::Close),
        }
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let (machine, link) = (self.machine.poll_timeout(), self.link.poll_timeout());
        [machine.map(|(at, _)| at), link.map(|(at, _)| at), self.advertise_at, self.close_at].into_iter().flatten().min()
    }

    fn wake(&mut self, now: Instant, heard: Option<Instant>) {
        if let Some(heard) = heard {
            self.machine.handle(now, sstp::Input::Heard(heard));
            self.link.handle(now, ppp::Input::Heard(heard));
        }
        if self.close_at.is_some_and(|at| at <= now) {
            self.close_at = None;
            self.feeds.push_back(Feed::Close);
        }
        if self.machine.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.machine.handle(now, sstp::Input::Timeout);
        }
        if self.link.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.link.handle(now, ppp::Input::Timeout);
        }
    }
}

impl Computer {
    /// Windows sends three Identifications: version, name, and, since Windows 7, the correlation id as 16 raw bytes.
    fn learn(&mut self, identification: &[u8]) {
        let text = || Some(String::from_utf8_lossy(identification).into_owned());
        if identification.starts_with(b"MSRASV") {
            self.version = text();
        } else if identification.starts_with(b"MSRAS-") {
            self.name = text();
        } else if let Ok(guid) = identification.try_into() {
            self.correlation_id.get_or_insert_with(|| radius_client::correlation_id(guid));
        }
    }
}

fn link_timers() -> ppp::Timers {
    ppp::Timers {
        passive: Duration::from_secs(1),
        restart: Duration::from_secs(3),
        max_configure: 10,
        negotiation: Duration::from_secs(60),
        // CALL_ECHO_REQUEST of SSTP keeps watch already.
        echo_interval: Duration::ZERO,
        echo_failures: 3,
    }
}

fn link_local(interface: [u8; 8]) -> Ipv6Addr {
    Ipv6Addr::from((0xfe80 << 112) | u128::from(u64::from_be_bytes(interface)))
}

fn hash_name(hash: BindingHash) -> &'static str {
    match hash {
        BindingHash::Sha1 => "SHA-1",
        BindingHash::Sha256 => "SHA-256",
    }
}

fn auth_name(auth: AuthProtocol) -> &'static str {
    match auth {
        AuthProtocol::Eap => "EAP",
        AuthProtocol::MsChapV2 => "MS-CHAPv2",
        AuthProtocol::Chap => "CHAP",
        AuthProtocol::Pap => "PAP",
    }
}

/// RFC 9110 section 5.6.7.
fn http_date(now: Now) -> String {
    now.wall.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod scenarios;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_link_local_address_has_our_interface_identifier() {
        assert_eq!(link_local([0, 0, 0, 0, 0, 0, 0, 1]).to_string(), "fe80::1");
    }

    #[test]
    fn dates_are_those_of_http() {
        let now = Now { instant: Instant::now(), wall: "1994-11-06T08:49:37Z".parse().unwrap() };
        assert_eq!(http_date(now), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
