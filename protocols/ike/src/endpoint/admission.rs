//! Who may begin a session: cookies, limits, repeated IKE_SA_INIT requests (RFC 7296 sections 2.1, 2.5, 2.6).
use super::pace::Pace;
use super::shared::{InitKey, Shared};
use crate::api::{Limits, Path, ResponderConfig, SessionId, Stranger};
use crate::cookie::CookieSecrets;
use crate::redirect;
use crate::sa::{InitRequest, parse_notify, plain_notify, would_begin};
use crate::wire::{Header, Message, Notify, notify};
use crypto::hash::{HashAlgorithm, hash};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one cookie secret makes cookies.
const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(60);

/// Longest IKE_SA_INIT request that is looked at, in bytes. Real ones stay below 3 KiB, even with a large key exchange.
const MAX_INIT: usize = 8 * 1024;

/// INVALID_MAJOR_VERSION answers to all the world.
const VERSION_ANSWERS_PER_SECOND: u32 = 10;

/// Complaints about IKE_SA_INIT requests that are broken, to all the world and to one source.
const COMPLAINTS_PER_SECOND: u32 = 100;
const COMPLAINTS_PER_SOURCE: u32 = 10;

#[derive(Debug)]
pub(super) struct Admission {
    cookies: CookieSecrets,
    /// Set while cookies are being asked for.
    rotate_at: Option<Instant>,
    /// Half-open sessions by source, see [`source_of`].
    sources: HashMap<IpAddr, usize>,
    version_answers: Pace,
    complaints: Pace,
}

/// What there is already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub half_open: usize,
    /// Ended ones: refused logins among them, which cost as much as half-open ones.
    pub draining: usize,
    pub sessions: usize,
}

/// A session in its login. Other first messages with its SPIi, from its address, are hardly its client's: whoever has seen the client's can send them,
/// and the client would take what they are answered with for its own. In the order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rival {
    /// Its client has no answer yet.
    Computing,
    /// Its client was told to come again with another group.
    Expecting(SessionId),
    Answered,
}

pub(super) enum Verdict {
    /// Answered or dropped, and counted.
    Refused,
    /// The request that this session was begun with.
    Repeated(SessionId),
    /// The session that waits for another key exchange group.
    Retry(SessionId, Box<InitRequest>),
    Begin(Arc<ResponderConfig>, Box<InitRequest>),
}

impl Admission {
    pub(super) fn new(shared: &mut Shared) -> Self {
        let cookies = CookieSecrets::new(shared.random.as_mut());
        let version_answers = Pace::new(VERSION_ANSWERS_PER_SECOND, VERSION_ANSWERS_PER_SECOND, shared.now);
        let complaints = Pace::new(COMPLAINTS_PER_SECOND, COMPLAINTS_PER_SOURCE, shared.now);
        Self { cookies, rotate_at: None, sources: HashMap::new(), version_answers, complaints }
    }

    pub(super) fn rotation(&self) -> Option<Instant> {
        self.rotate_at
    }

    pub(super) fn rotate(&mut self, shared: &mut Shared) {
        if self.rotate_at.take_if(|at| *at <= shared.now).is_some() {
            self.cookies.rotate(shared.random.as_mut());
        }
    }

    pub(super) fn count(&mut self, source: IpAddr) {
        *self.sources.entry(source_of(source)).or_default() += 1;
    }

    pub(super) fn uncount(&mut self, source: IpAddr) {
        let source = source_of(source);
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// IKEv1, or a future version: one answer, so that whoever looks at it understands, but never a flood of them.
    pub(super) fn refuse_version(&mut self, shared: &mut Shared, path: Path, header: &Header) {
        shared.counters.unsupported_version += 1;
        let Some(config) = shared.responder.clone() else { return };
        if !header.flags.response {
            shared.tell_of(path.remote.ip(), &config.limits, Stranger::Version(header.major));
        }
        if header.flags.response || !self.version_answers.allows(shared.now, path.remote.ip(), &config.limits) {
            return;
        }
        let answer = plain_notify(&Header { major: 2, ..*header }, Notify::new(notify::INVALID_MAJOR_VERSION, []));
        shared.transmit(path, answer);
    }

    pub(super) fn admit(
        &mut self,
        shared: &mut Shared,
        load: Load,
        rival: Option<Rival>,
        path: Path,
        header: &Header,
        bytes: Vec<u8>,
    ) -> Verdict {
        let Some(config) = shared.responder.clone() else {
            shared.counters.unknown_spi += 1;
            return Verdict::Refused;
        };
        if bytes.len() > MAX_INIT {
            shared.counters.malformed += 1;
            return Verdict::Refused;
        }
        let key = InitKey { spi_i: header.initiator_spi, remote: path.remote, hash: hash(HashAlgorithm::Sha256, &[&bytes]) };
        if let Some(session) = shared.session_of_init(&key) {
            return Verdict::Repeated(session);
        }
        if rival == Some(Rival::Computing) {
            shared.counters.forged += 1;
            return Verdict::Refused;
        }
        let request = match read(path, header, bytes, key) {
            Ok(request) => request,
            Err(notify) => {
                shared.counters.malformed += 1;
                if rival.is_none() {
                    self.complain(shared, &config.limits, path, header, notify);
                }
                return Verdict::Refused;
            }
        };
        match rival {
            Some(_) if !would_begin(&config.ciphers, &request) => {
                shared.counters.forged += 1;
                Verdict::Refused
            }
            Some(Rival::Expecting(session)) => Verdict::Retry(session, Box::new(request)),
            _ => self.admit_new(shared, load, rival.is_some(), config, request),
        }
    }

    /// `beside`: its client has a session in its login, and must hear of nothing else.
    fn admit_new(&mut self, shared: &mut Shared, load: Load, beside: bool, config: Arc<ResponderConfig>, request: InitRequest) -> Verdict {
        let path = request.path;
        if beside && (shared.drain.is_some() || shared.elsewhere().is_some()) {
            shared.counters.forged += 1;
            return Verdict::Refused;
        }
        if send_elsewhere(shared, &request) {
            return Verdict::Refused;
        }
        let exempt = config.limits.is_exempt(path.remote.ip());
        let of_source = self.sources.get(&source_of(path.remote.ip())).copied().filter(|_| !exempt).unwrap_or(0);
        if of_source >= most_of_source(&config.limits) {
            shared.counters.half_open_refused += 1;
            shared.tell_of(path.remote.ip(), &config.limits, Stranger::HalfOpenOfSource(of_source));
            return Verdict::Refused;
        }
        if !self.has_paid(shared, &config.limits, load, !exempt && of_source >= config.limits.half_open_per_source, &request) {
            if beside {
                shared.counters.forged += 1;
            } else {
                self.ask_for_cookie(shared, &request);
            }
            return Verdict::Refused;
        }
        let full = match load {
            Load { half_open, .. } if half_open >= config.limits.half_open_max => Some(Stranger::HalfOpen(half_open)),
            Load { sessions, .. } if sessions >= config.limits.sessions_max => Some(Stranger::Sessions(sessions)),
            _ => None,
        };
        if let Some(full) = full {
            shared.counters.half_open_refused += 1;
            shared.tell_of(path.remote.ip(), &config.limits, full);
            return Verdict::Refused;
        }
        Verdict::Begin(config, Box::new(request))
    }

    /// The request is broken, and told so.
    fn complain(&mut self, shared: &mut Shared, limits: &Limits, path: Path, header: &Header, notify: Notify) {
        if self.complaints.allows(shared.now, path.remote.ip(), limits) {
            shared.transmit(path, plain_notify(header, notify));
        }
    }

    /// Under load, or when its source has many half-open sessions (`busy`), only who returns our cookie has shown that it can be reached at its address.
    fn has_paid(&self, shared: &mut Shared, limits: &Limits, load: Load, busy: bool, request: &InitRequest) -> bool {
        let source = request.path.remote.ip();
        if request.path.connection.is_some() {
            // TCP has shown it (RFC 9329 section 6.3).
            return true;
        }
        if load.half_open + load.draining < limits.cookie_threshold && !busy {
            return true;
        }
        if let Some(cookie) = request.payloads.notify(notify::COOKIE) {
            if self.cookies.verify(&cookie.data, &request.nonce, source, request.header.initiator_spi) {
                return true;
            }
            shared.counters.cookies_wrong += 1;
        }
        false
    }

    fn ask_for_cookie(&mut self, shared: &mut Shared, request: &InitRequest) {
        let source = request.path.remote.ip();
        shared.counters.cookies_sent += 1;
        self.rotate_at.get_or_insert(shared.now + COOKIE_SECRET_LIFE);
        let cookie = self.cookies.make(&request.nonce, source, request.header.initiator_spi);
        shared.transmit(request.path, plain_notify(&request.header, Notify::new(notify::COOKIE, cookie)));
    }
}

/// The request, or what its sender is told.
fn read(path: Path, header: &Header, bytes: Vec<u8>, key: InitKey) -> Result<InitRequest, Notify> {
    let message = Message::parse(&bytes).map_err(|error| parse_notify(&error))?;
    InitRequest::new(path, *header, bytes, message.payloads, key).ok_or_else(|| Notify::new(notify::INVALID_SYNTAX, []))
}

/// Answers with REDIRECT and keeps nothing (RFC 5685 section 3), when the client can follow and the answer is no longer than its request.
fn send_elsewhere(shared: &mut Shared, request: &InitRequest) -> bool {
    let from = request.payloads.notify(notify::REDIRECTED_FROM);
    let Some(gateway) = shared.elsewhere().filter(|to| redirect::is_supported(&request.payloads) && !redirect::leads_back(to, from)) else {
        return false;
    };
    let Some(notify) = redirect::redirect_notify(notify::REDIRECT, gateway, &request.nonce) else { return false };
    let answer = plain_notify(&request.header, notify);
    if answer.len() > request.bytes.len() {
        return false;
    }
    shared.counters.redirected += 1;
    shared.transmit(request.path, answer);
    true
}

/// What counts as one source: an IPv4 address, or an IPv6 network of 64 bits, all of whose addresses are one host's for the taking.
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Half-open sessions of one source that even a good cookie does not exceed: else one host could take the place of everyone.
fn most_of_source(limits: &Limits) -> usize {
    limits.half_open_per_source.saturating_mul(4).max(limits.half_open_max / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1", "mapped addresses are not all one network");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
