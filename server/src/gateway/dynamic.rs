//! Dynamic authorization (RFC 5176): sessions that RADIUS ends or changes while they run.
use super::{Gateway, Now, Plane};
use crate::login::{Decided, Denied, Known};
use crate::outcome::{CloseReason, Stage};
use crate::restrictions;
use ike::SessionId;
use policy::network::Alone;
use radius_client::dynamic::{Action, Changes, DynamicRequest, ErrorCause, SessionFacts};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

impl<P: Plane> Gateway<P> {
    /// Does what a believed request asks for, to every session that it names.
    pub fn dynamic(&mut self, now: Now, request: &DynamicRequest) -> Result<(), ErrorCause> {
        let up = self.live.iter().filter(|(_, live)| live.session.is_some()).map(|(id, _)| *id);
        let named: Vec<_> = up.filter(|&id| self.session_facts(id).fits(&request.sessions)).collect();
        if named.is_empty() {
            tracing::info!(client = %request.client, wanted = ?request.sessions, "dynamic authorization: no such session");
            return Err(ErrorCause::SessionContextNotFound);
        }
        if let Action::Change(changes) = &request.action
            && let Some(ids) = &changes.filter_id
        {
            named.iter().try_for_each(|id| self.knows_filters(*id, &request.client, ids))?;
        }
        for id in named {
            match &request.action {
                Action::Disconnect => self.end_for(now, id, &request.client, "Disconnect-Request"),
                Action::Change(changes) => self.change(now, id, &request.client, changes),
            }
        }
        Ok(())
    }

    /// A filter that is not there is found out before anything changes.
    fn knows_filters(&self, id: SessionId, client: &str, filter_ids: &[String]) -> Result<(), ErrorCause> {
        let session = self.live.get(&id).and_then(|live| live.session.as_ref());
        if session.is_some_and(|session| session.granted.known.reply.ignored) {
            return Ok(());
        }
        restrictions::by_name(&self.authority.filters, &self.authority.policies, filter_ids).map(drop).map_err(|denied| {
            tracing::info!(session = id.0, client, cause = denied.cause, "dynamic authorization: no such filter");
            ErrorCause::InvalidAttributeValue
        })
    }

    /// The addresses that clients dialled: RADIUS knows this gateway by them.
    pub fn dialled(&self) -> BTreeSet<IpAddr> {
        self.live.values().map(|live| live.path.local.ip()).collect()
    }

    /// The session as accounting and dynamic authorization name it.
    fn session_facts(&self, id: SessionId) -> SessionFacts {
        let Some(session) = self.live.get(&id).and_then(|live| live.session.as_ref()) else { return SessionFacts::default() };
        let nas = self.nas_context(id);
        SessionFacts {
            user_name: session.granted.user.clone(),
            nas_port: nas.nas_port,
            framed: session.inner.clone(),
            called_station_id: nas.called_station_id,
            calling_station_id: nas.calling_station_id,
            acct_session_id: nas.acct_session_id,
            acct_multi_session_id: self.multi_session_id(id),
        }
    }

    fn end_for(&mut self, now: Now, id: SessionId, client: &str, why: &str) {
        self.note(now, id, format!("{client} ends the session: {why}"));
        tracing::info!(session = id.0, client, why, "dynamic authorization ends a session");
        self.close(now, id, CloseReason::Operator);
    }

    fn change(&mut self, now: Now, id: SessionId, client: &str, changes: &Changes) {
        self.note(now, id, format!("{client} changes the session: {}", words(changes)));
        if (changes.filter_id.is_some() || changes.class.is_some()) && !self.judge_anew(now, id, client, changes) {
            return;
        }
        if let Some(limit) = changes.session_timeout {
            self.limit_session(now, id, limit);
        }
        if let Some(limit) = changes.idle_timeout {
            self.limit_idleness(now, id, limit);
        }
        if let Some(interval) = changes.acct_interim_interval {
            self.set_interim_interval(now, id, interval);
        }
    }

    /// The policies look at the session with its new attributes; false: they deny, and it has ended.
    fn judge_anew(&mut self, now: Now, id: SessionId, client: &str, changes: &Changes) -> bool {
        let Some(live) = self.live.get_mut(&id) else { return false };
        let Some(granted) = live.session.as_mut().map(|session| &mut session.granted) else { return false };
        if let Some(class) = &changes.class {
            granted.known.class.clone_from(class);
            granted.class.clone_from(class);
        }
        if let Some(filter_id) = &changes.filter_id {
            granted.known.filter_id.clone_from(filter_id);
        }
        let (user, known) = (granted.user.clone(), granted.known.clone());
        let judged = self.judge_session(now, id, &user, &known);
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return false };
        let before = session.ends_at();
        let granted = &mut session.granted;
        match judged {
            Ok(decided) if decided.settings.selectors != granted.selectors => {
                let policy = &decided.policy;
                let why = format!("policy {policy:?} lets it reach other networks (selectors), which takes another login");
                self.end_for(now, id, client, &why);
                false
            }
            Ok(decided) => {
                let restrictions = decided.restrictions.clone();
                granted.restrictions.clone_from(&restrictions);
                granted.policy.clone_from(&decided.policy);
                granted.settings.clone_from(&decided.settings);
                (granted.dns_suffix, granted.routes) = (decided.settings.dns_suffix.clone(), decided.settings.routes.clone());
                session.set_hours_end(now, decided.hours_end);
                let after = session.ends_at();
                self.set_deadline(id, before, after);
                let (session, idle) = (decided.settings.session_timeout, decided.settings.idle_timeout);
                let words = restrictions::words(&restrictions);
                self.note(now, id, format!("policy {:?} decides now; the addresses stay; {}", decided.policy, or_none(&words)));
                if let Err(error) = self.plane.restrict(id, restrictions) {
                    self.end_for(now, id, client, &format!("the data plane takes no filters and rate limits: {error}"));
                    return false;
                }
                if session.is_some() {
                    self.limit_session(now, id, session);
                }
                if idle.is_some() {
                    self.limit_idleness(now, id, idle);
                }
                true
            }
            Err(denied) => {
                self.end_for(now, id, client, &denied.cause);
                false
            }
        }
    }

    /// Ends the session `limit` from now, or never.
    fn limit_session(&mut self, now: Now, id: SessionId, limit: Option<Duration>) {
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return };
        let before = session.ends_at();
        session.granted.session_timeout = limit.and_then(|limit| limit.checked_add(session.age(now.instant)));
        let after = session.ends_at();
        self.set_deadline(id, before, after);
    }

    fn set_deadline(&mut self, id: SessionId, before: Option<Instant>, after: Option<Instant>) {
        if let Some(at) = before {
            self.deadlines.remove(&(at, id));
        }
        self.deadlines.extend(after.map(|at| (at, id)));
    }

    /// What the policies say to a session that is up. How many there are at the same time counts when they log in, not later.
    pub(super) fn judge_session(&self, now: Now, id: SessionId, user: &str, known: &Known) -> Result<Decided, Denied> {
        let Some(place) = self.place(id) else { return Err(Denied::new(Stage::Policy, "the session ended meanwhile".into())) };
        self.authority.judge(&place, user, known, &Alone, now.wall)
    }

    fn limit_idleness(&mut self, now: Now, id: SessionId, limit: Option<Duration>) {
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return };
        session.granted.idle_timeout = limit;
        if limit.is_some() {
            self.idle_check.get_or_insert(now.instant + super::IDLE_CHECK);
        }
    }
}

fn or_none(words: &str) -> &str {
    if words.is_empty() { "no filters or rate limits" } else { words }
}

fn words(changes: &Changes) -> String {
    let limit = |limit: Option<Duration>| limit.map_or_else(|| "none".into(), |limit| format!("{} s", limit.as_secs()));
    let times = [
        ("Session-Timeout", changes.session_timeout),
        ("Idle-Timeout", changes.idle_timeout),
        ("Acct-Interim-Interval", changes.acct_interim_interval),
    ];
    let mut all: Vec<_> = times.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {}", limit(value)))).collect();
    all.extend(changes.filter_id.as_ref().map(|ids| format!("Filter-Id {}", ids.join(","))));
    all.extend(changes.class.as_ref().map(|class| format!("Class ({})", class.len())));
    all.join(", ")
}
