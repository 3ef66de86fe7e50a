//! What accounting hears of sessions: Start, Interim-Updates, Stop, and every second the counters of those that moved something.
use super::round::Slice;
use super::{Effect, Gateway, Live, Now, Plane, Session, Traffic};
use crate::accounting::{Device, Event};
use crate::outcome::{CloseReason, Failure, Fault};
use ike::SessionId;
use policy::network::Method;
use radius_client::{AccountingRecord, AccountingStatus, Authentic, NasContext, TerminateCause, auth_type};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The shortest time between Interim-Updates (RFC 2869 section 5.16).
const SHORTEST_INTERIM: Duration = Duration::from_secs(60);

/// Servers hear of no more moves of a client than one in this time.
const BETWEEN_MOVES: Duration = Duration::from_secs(10);

/// A session in the books.
#[derive(Debug)]
pub(super) struct Books {
    multi_session_id: String,
    device: Option<Device>,
    /// Counters in the journal.
    counted: Traffic,
    interim: Option<Interim>,
    /// When the session ends unless its Start is confirmed.
    required_by: Option<Instant>,
    stopped: bool,
    /// When servers last heard that the client moved.
    moved: Option<Instant>,
}

impl Books {
    pub(super) fn multi_session_id(&self) -> &str {
        &self.multi_session_id
    }
}

#[derive(Debug, Clone, Copy)]
struct Interim {
    every: Duration,
    next: Instant,
}

impl<P: Plane> Gateway<P> {
    pub(super) fn account_start(&mut self, now: Now, id: SessionId) {
        let Some(settings) = self.settings.accounting else { return };
        let Some((own, device)) = self.live.get(&id).map(|live| (self.acct_session_id(live), device(live))) else { return };
        let multi_session_id = device.clone().map_or_else(|| own.clone(), |device| self.links.join(now.instant, device, &own));
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return };
        let every = session.granted.interim_interval.or(settings.interim_interval).map(|every| every.max(SHORTEST_INTERIM));
        let interim = every.map(|every| Interim { every, next: now.instant + first_interim(id, every) });
        let required_by = settings.required_within.and_then(|within| now.instant.checked_add(within));
        session.books =
            Some(Books { multi_session_id, device, counted: Traffic::default(), interim, required_by, stopped: false, moved: None });
        self.unaccounted.extend(required_by.map(|at| (at, id)));
        self.interims.extend(interim.map(|interim| (interim.next, id)));
        self.checkpoint.begin(now.instant);
        self.roll.file(id, self.live.get(&id));
        self.account(now, id, AccountingStatus::Start, None);
    }

    /// Closes the books of a session, once.
    pub(super) fn account_stop(&mut self, now: Now, id: SessionId, reason: CloseReason, failure: Option<&Failure>) {
        let Some(books) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut()) else { return };
        if std::mem::replace(&mut books.stopped, true) {
            return;
        }
        let (interim, device, required_by) = (books.interim.take(), books.device.take(), books.required_by.take());
        if let Some(at) = required_by {
            self.unaccounted.remove(&(at, id));
        }
        if let Some(interim) = interim {
            self.interims.remove(&(interim.next, id));
        }
        if let Some(device) = device {
            self.links.leave(now.instant, device);
        }
        self.account(now, id, AccountingStatus::Stop, Some(terminate_cause(reason, failure)));
    }

    /// A server has confirmed the Start of a session.
    pub fn accounted(&mut self, id: SessionId) {
        let books = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut());
        if let Some(at) = books.and_then(|books| books.required_by.take()) {
            self.unaccounted.remove(&(at, id));
        }
    }

    /// Ends sessions that no server knows of in time, where that is required.
    pub(super) fn end_unaccounted(&mut self, now: Now) {
        while let Some(&(at, id)) = self.unaccounted.first()
            && at <= now.instant
        {
            self.unaccounted.pop_first();
            let required = self.settings.accounting.and_then(|settings| settings.required_within);
            self.accounted(id);
            // What is required may have changed since.
            let Some(within) = required else { continue };
            let seconds = within.as_secs();
            tracing::warn!(
                session = id.0,
                seconds,
                "no server has confirmed that the session began, which accounting.required_within demands"
            );
            self.note(
                now,
                id,
                format!("no RADIUS server has confirmed the accounting Start within {seconds} s (accounting.required_within)"),
            );
            self.close(now, id, CloseReason::Unaccounted);
        }
    }

    /// Acct-Multi-Session-Id, where there are books.
    pub(super) fn multi_session_id(&self, id: SessionId) -> Option<String> {
        Some(self.live.get(&id)?.session.as_ref()?.books.as_ref()?.multi_session_id().to_owned())
    }

    /// Interim-Updates from now on every so often, or none.
    pub(super) fn set_interim_interval(&mut self, now: Now, id: SessionId, interval: Option<Duration>) {
        let books = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut());
        let Some(books) = books.filter(|books| !books.stopped) else { return };
        if let Some(before) = books.interim.take() {
            self.interims.remove(&(before.next, id));
        }
        let every = interval.map(|every| every.max(SHORTEST_INTERIM));
        books.interim = every.map(|every| Interim { every, next: now.instant + first_interim(id, every) });
        self.interims.extend(books.interim.map(|interim| (interim.next, id)));
    }

    /// The client goes on from another address.
    pub(super) fn account_move(&mut self, now: Now, id: SessionId) {
        let books = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut());
        let is_due = |books: &&mut Books| !books.stopped && books.moved.is_none_or(|at| now.instant >= at + BETWEEN_MOVES);
        let Some(books) = books.filter(is_due) else { return };
        books.moved = Some(now.instant);
        self.account(now, id, AccountingStatus::Interim, None);
    }

    /// Interim-Updates of those whose time has come.
    pub(super) fn account_interims(&mut self, now: Now) {
        while let Some(&(at, id)) = self.interims.first()
            && at <= now.instant
        {
            self.interims.pop_first();
            let books = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut());
            let Some(interim) = books.and_then(|books| books.interim.as_mut()) else { continue };
            interim.next = now.instant + interim.every;
            self.interims.insert((interim.next, id));
            self.account(now, id, AccountingStatus::Interim, None);
        }
    }

    /// Counters of the sessions that moved something since their last time, so that a crash costs no more than a second of them.
    pub(super) fn account_counters(&mut self, now: Now) {
        let Some(Slice { ids, is_last }) = self.checkpoint.slice(now.instant, &self.live) else { return };
        let (mut anybody, mut sessions) = (false, Vec::new());
        for id in ids {
            let books = self.live.get_mut(&id).and_then(|live| live.session.as_mut()?.books.as_mut());
            let Some(books) = books.filter(|books| !books.stopped) else { continue };
            anybody = true;
            let traffic = self.plane.traffic(id);
            if traffic != books.counted {
                books.counted = traffic;
                sessions.push((id.0, [traffic.octets_in, traffic.octets_out, traffic.packets_in, traffic.packets_out]));
            }
        }
        self.checkpoint.looked(anybody, is_last);
        // At least one a round: it is the gateway's sign of life, too.
        if !sessions.is_empty() || (is_last && self.checkpoint.poll_timeout().is_some()) {
            self.effects.push_back(Effect::Account(Box::new(Event::Count { at: unix_time(now), sessions })));
        }
    }

    /// Accounting-On or Accounting-Off.
    pub fn account_gateway(&mut self, now: Now, status: AccountingStatus, id: String) {
        self.log_gateway(now, status, &id);
        if !self.settings.accounting.is_some_and(|settings| settings.on_off) {
            return;
        }
        let nas_identifier = self.settings.nas_identifier.clone();
        let nas = NasContext { nas_identifier, acct_session_id: id, ..NasContext::default() };
        let record = AccountingRecord { status, nas, event_timestamp: unix_time(now), ..AccountingRecord::default() };
        self.effects.push_back(Effect::Account(Box::new(Event::Gateway(Box::new(record)))));
    }

    fn account(&mut self, now: Now, id: SessionId, status: AccountingStatus, cause: Option<TerminateCause>) {
        let Some(record) = self.record(now, id, status, cause).map(Box::new) else { return };
        self.log_accounting(now, id, &record);
        let session = id.0;
        let event = match status {
            AccountingStatus::Start => Event::Start { session, record },
            AccountingStatus::Stop => Event::Stop { session, record },
            _ => Event::Interim { session, record },
        };
        self.effects.push_back(Effect::Account(Box::new(event)));
    }

    fn record(
        &self,
        now: Now,
        id: SessionId,
        status: AccountingStatus,
        terminate_cause: Option<TerminateCause>,
    ) -> Option<AccountingRecord> {
        let live = self.live.get(&id)?;
        let session = live.session.as_ref()?;
        let progress = live.login.as_ref();
        let traffic = self.plane.traffic(id);
        Some(AccountingRecord {
            status,
            user_name: session.granted.user.clone().into_bytes(),
            nas: self.nas_context(id),
            multi_session_id: session.books.as_ref()?.multi_session_id.clone(),
            tunnel_connection: id.0.to_string(),
            authentic: if session.server.is_some() { Authentic::Radius } else { Authentic::Local },
            auth_type: progress.and_then(|progress| auth_type(progress.method)),
            eap_type: progress.filter(|progress| progress.method == Method::Eap).and_then(|progress| progress.eap_method),
            framed_ip: session.inner.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            }),
            framed_ipv6: session.inner.iter().find_map(|address| match address {
                IpAddr::V6(address) => Some(*address),
                IpAddr::V4(_) => None,
            }),
            framed: session.granted.framed.clone(),
            class: session.granted.class.clone(),
            chargeable_user_identity: session.granted.known.chargeable_user_identity.clone(),
            session_time: session.age(now.instant),
            input_octets: traffic.octets_in,
            output_octets: traffic.octets_out,
            input_packets: traffic.packets_in,
            output_packets: traffic.packets_out,
            terminate_cause,
            event_timestamp: unix_time(now),
            delay: Duration::ZERO,
            group: self.route(id).and_then(|route| route.accounting.clone()),
            server: session.server.clone(),
            policy: Some(session.granted.policy.clone()),
        })
    }
}

fn unix_time(now: Now) -> u32 {
    u32::try_from(now.wall.as_second()).unwrap_or(u32::MAX)
}

/// The first Interim-Update comes up to a tenth earlier or later, so that clients that log in together do not report together for ever after.
fn first_interim(id: SessionId, every: Duration) -> Duration {
    // Fibonacci hashing: neighbours land far apart.
    let spread = u32::try_from((id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 201).unwrap_or(0);
    (every * (900 + spread) / 1000).max(SHORTEST_INTERIM)
}

/// What stays the same when a client comes back; `None` where it says nothing of the kind.
fn device(live: &Live) -> Option<Device> {
    let user = live.session.as_ref().map(|session: &Session| session.granted.user.clone())?;
    let name = live.idi.clone().or_else(|| live.computer.name.clone())?;
    Some(Device { user, tunnel: live.tunnel, name })
}

fn auth_type(method: Method) -> Option<u32> {
    match method {
        Method::Eap => Some(auth_type::EAP),
        Method::MsChapV2 => Some(auth_type::MS_CHAP_2),
        Method::Chap => Some(auth_type::CHAP),
        Method::Pap => Some(auth_type::PAP),
        Method::Certificate => None,
    }
}

/// Acct-Terminate-Cause (RFC 2866 section 5.10).
fn terminate_cause(reason: CloseReason, failure: Option<&Failure>) -> TerminateCause {
    match reason {
        CloseReason::PeerDeleted => TerminateCause::UserRequest,
        CloseReason::PeerLost | CloseReason::Replaced => TerminateCause::LostCarrier,
        CloseReason::Operator => TerminateCause::AdminReset,
        CloseReason::IdleTimeout => TerminateCause::IdleTimeout,
        CloseReason::SessionTimeout => TerminateCause::SessionTimeout,
        CloseReason::Unaccounted => TerminateCause::ServiceUnavailable,
        CloseReason::Shutdown => TerminateCause::AdminReboot,
        CloseReason::Failed => match failure.map(|failure| failure.fault) {
            Some(Fault::PeerMisbehaved | Fault::PeerIncompatible | Fault::Malformed) => TerminateCause::UserError,
            Some(Fault::Silence) => TerminateCause::LostCarrier,
            Some(Fault::Dependency | Fault::Misconfigured) => TerminateCause::ServiceUnavailable,
            Some(Fault::Refused | Fault::Internal) | None => TerminateCause::NasError,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_interims_are_spread_around_their_interval() {
        let every = Duration::from_secs(600);
        let firsts: std::collections::BTreeSet<_> = (1..=1000).map(|id| first_interim(SessionId(id), every)).collect();
        assert!(firsts.first().unwrap() >= &Duration::from_secs(540) && firsts.last().unwrap() <= &Duration::from_secs(660));
        assert!(firsts.len() > 150);
        assert_eq!((1..=1000).map(|id| first_interim(SessionId(id), SHORTEST_INTERIM)).min(), Some(SHORTEST_INTERIM));
    }
}
