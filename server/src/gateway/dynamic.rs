//! Dynamic authorization (RFC 5176): sessions that RADIUS ends or changes while they run.
use super::roll::Set;
use super::{Gateway, Now, Plane};
use crate::login::{Decided, Denied, Known, Limits, accounting_class};
use crate::outcome::{CloseReason, Stage};
use crate::restrictions::{self, FromReply};
use ike::SessionId;
use policy::network::Alone;
use radius_client::dynamic::{Action, Changes, DynamicRequest, ErrorCause, Identification, SessionFacts};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

impl<P: Plane> Gateway<P> {
    /// Does what a believed request asks for, to every session that it names.
    pub fn dynamic(&mut self, now: Now, request: &DynamicRequest) -> Result<(), ErrorCause> {
        let named = self.named_by(request);
        if named.is_empty() {
            tracing::info!(client = %request.client, wanted = ?request.sessions, "dynamic authorization: no such session");
            return Err(ErrorCause::SessionContextNotFound);
        }
        match &request.action {
            Action::Disconnect => {
                for id in named {
                    self.end_for(now, id, &request.client, "Disconnect-Request");
                }
            }
            Action::Change(changes) => {
                // What cannot be had by all of them is found out before anything changes.
                let planned = named.into_iter().map(|id| Ok((id, self.planned(id, &request.client, changes)?)));
                for (id, reply) in planned.collect::<Result<Vec<_>, ErrorCause>>()? {
                    self.change(now, id, &request.client, changes, reply);
                }
            }
        }
        Ok(())
    }

    /// The sessions that a request names.
    fn named_by(&self, request: &DynamicRequest) -> Vec<SessionId> {
        let is_up = |id: &SessionId| self.live.get(id).is_some_and(|live| live.session.is_some());
        let named = |id: &SessionId| is_up(id) && self.session_facts(*id).fits(&request.sessions);
        match self.candidates(&request.sessions) {
            Some(candidates) => candidates.into_iter().flatten().copied().filter(named).collect(),
            None => self.live.keys().copied().filter(named).collect(),
        }
    }

    /// The attempts that led to the sessions that a request names; none where nobody traces.
    pub fn traced_by(&self, request: &DynamicRequest) -> Vec<String> {
        if !self.tracer().is_on() {
            return Vec::new();
        }
        let attempt = |id: SessionId| Some(self.attempts.get(self.live.get(&id)?.attempt)?.id.to_string());
        self.named_by(request).into_iter().filter_map(attempt).collect()
    }

    /// The sessions that one of the attributes names, by an index; `None`: there is none for these attributes. Whoever names an interface, a prefix or a station
    /// alone is looked for among all.
    pub(super) fn candidates(&self, sessions: &[Identification]) -> Option<Option<&Set>> {
        sessions.iter().find_map(|named| match named {
            Identification::AcctSessionId(id) => Some(self.attempts.key(id).and_then(|key| self.roll.of_attempt(key))),
            Identification::FramedAddress(address) => Some(self.roll.of_address(*address)),
            Identification::UserName(user) => Some(self.roll.of_user(user)),
            Identification::AcctMultiSessionId(id) => Some(self.roll.of_multi_session_id(id)),
            _ => None,
        })
    }

    /// The filters and rates of RADIUS that a session will have.
    fn planned(&self, id: SessionId, client: &str, changes: &Changes) -> Result<FromReply, ErrorCause> {
        let session = self.live.get(&id).and_then(|live| live.session.as_ref()).ok_or(ErrorCause::SessionContextNotFound)?;
        let reply = &session.granted.known.reply;
        let refused = |cause: &dyn std::fmt::Display, code| {
            tracing::info!(session = id.0, client, %cause, "dynamic authorization: refused");
            code
        };
        if reply.ignored && changes.brings_filters() {
            let cause = "the filters of this session's RADIUS server are not applied (ignore_filters)";
            return Err(refused(&cause, ErrorCause::UnsupportedAttribute));
        }
        if let Some(ids) = changes.filter_id.as_ref().filter(|_| !reply.ignored) {
            restrictions::by_name(&self.authority.filters, &self.authority.policies, ids)
                .map_err(|denied| refused(&denied.cause, ErrorCause::InvalidAttributeValue))?;
        }
        reply.with(changes).map_err(|bad| refused(&bad, ErrorCause::InvalidAttributeValue))
    }

    /// The addresses that clients dialled: RADIUS knows this gateway by them.
    pub fn dialled(&self) -> BTreeSet<IpAddr> {
        self.roll.dialled().collect()
    }

    /// The session as accounting and dynamic authorization name it.
    fn session_facts(&self, id: SessionId) -> SessionFacts {
        let Some(live) = self.live.get(&id) else { return SessionFacts::default() };
        let Some(session) = &live.session else { return SessionFacts::default() };
        let nas = self.nas_context(id);
        let is_its = |(server, _): &&(String, String)| session.server.as_ref() == Some(server);
        SessionFacts {
            user_name: session.granted.user.clone(),
            nas_port: nas.nas_port,
            framed: session.inner.clone(),
            called_station_id: nas.called_station_id,
            calling_station_ids: vec![live.came_from.to_string(), nas.calling_station_id],
            acct_session_id: nas.acct_session_id,
            acct_multi_session_id: self.multi_session_id(id),
            nas_port_id: self.settings.nas_port_ids.iter().find(is_its).map(|(_, port)| port.clone()),
            chargeable_user_identity: session.granted.known.chargeable_user_identity.clone(),
        }
    }

    fn end_for(&mut self, now: Now, id: SessionId, client: &str, why: &str) {
        self.note(now, id, format!("{client} ends the session: {why}"));
        tracing::info!(session = id.0, client, why, "dynamic authorization ends a session");
        self.close(now, id, CloseReason::Operator);
    }

    /// `reply`: the filters and rates of RADIUS from now on.
    fn change(&mut self, now: Now, id: SessionId, client: &str, changes: &Changes, reply: FromReply) {
        self.note(now, id, format!("{client} changes the session: {}", words(changes)));
        if let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) {
            let known = &mut session.granted.known;
            changes.apply(&mut known.attributes);
            changes.class.iter().for_each(|class| known.class.clone_from(class));
            changes.filter_id.iter().for_each(|ids| known.filter_id.clone_from(ids));
            known.reply = reply;
        }
        if changes.is_to_judge() && !self.judge_anew(now, id, client) {
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
    fn judge_anew(&mut self, now: Now, id: SessionId, client: &str) -> bool {
        let Some(granted) = self.live.get(&id).and_then(|live| live.session.as_ref()).map(|session| &session.granted) else { return false };
        let (user, known, selectors) = (granted.user.clone(), granted.known.clone(), granted.selectors.clone());
        let decided = match self.judge_session(now, id, &user, &known) {
            Ok(decided) if decided.settings.selectors == selectors => decided,
            Ok(Decided { policy, .. }) => {
                let why = format!("policy {policy:?} lets it reach other networks (selectors), which takes another login");
                self.end_for(now, id, client, &why);
                return false;
            }
            Err(denied) => {
                self.end_for(now, id, client, &denied.cause);
                return false;
            }
        };
        if let Err(error) = self.put_in_force(now, id, decided) {
            self.end_for(now, id, client, &error);
            return false;
        }
        true
    }

    /// Another decision holds for a session that is up: its filters, rates and limits. On an error it must end.
    pub(super) fn put_in_force(&mut self, now: Now, id: SessionId, decided: Decided) -> Result<(), String> {
        let words = restrictions::words(&decided.restrictions);
        self.note(now, id, format!("policy {:?} decides now; the addresses stay; {}", decided.policy, or_none(&words)));
        let restricted = self.plane.restrict(id, decided.restrictions.clone());
        restricted.map_err(|error| format!("the data plane takes no filters and rate limits: {error}"))?;
        self.adopt(now, id, decided);
        Ok(())
    }

    /// Another decision holds for a session that is up. What RADIUS said of its limits stays; those of a policy begin with its decision, and one that
    /// decides again as before gives no second term.
    fn adopt(&mut self, now: Now, id: SessionId, decided: Decided) {
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return };
        let (before, age) = (session.ends_at(), session.age(now.instant));
        let Decided { policy, settings, restrictions, hours_end, .. } = decided;
        let granted = &mut session.granted;
        let limits = Limits::of_policy(&settings);
        if granted.policy != policy || limits != Limits::of_policy(&granted.settings) {
            let session_timeout = limits.session_timeout.and_then(|limit| limit.checked_add(age));
            let limits = granted.of_radius.within(Limits { session_timeout, ..limits });
            (granted.session_timeout, granted.idle_timeout) = (limits.session_timeout, limits.idle_timeout);
        }
        granted.class = accounting_class(&granted.known, &settings);
        (granted.dns_suffix, granted.routes) = (settings.dns_suffix.clone(), settings.routes.clone());
        (granted.policy, granted.settings, granted.restrictions) = (policy, settings, restrictions);
        let is_limited = granted.idle_timeout.is_some();
        session.set_hours_end(now, hours_end);
        let after = session.ends_at();
        self.set_deadline(id, before, after);
        self.roll.file(id, self.live.get(&id));
        self.watch_idleness(now, is_limited);
    }

    /// RADIUS ends the session `limit` from now, or never.
    fn limit_session(&mut self, now: Now, id: SessionId, limit: Option<Duration>) {
        let Some(session) = self.live.get_mut(&id).and_then(|live| live.session.as_mut()) else { return };
        let before = session.ends_at();
        let limit = limit.and_then(|limit| limit.checked_add(session.age(now.instant)));
        (session.granted.session_timeout, session.granted.of_radius.session_timeout) = (limit, limit);
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
        (session.granted.idle_timeout, session.granted.of_radius.idle_timeout) = (limit, limit);
        self.watch_idleness(now, limit.is_some());
    }

    fn watch_idleness(&mut self, now: Now, is_limited: bool) {
        if is_limited {
            self.idle_check.begin(now.instant);
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
    all.extend(changes.rules.as_ref().map(|rules| format!("NAS-Filter-Rule ({})", rules.len())));
    for (name, filter) in [("MS-Filter", &changes.ms_filter), ("MS-IPv6-Filter", &changes.ms_ipv6_filter)] {
        all.extend(filter.as_ref().map(|value| format!("{name} ({} bytes)", value.len())));
    }
    for (name, rate) in [("WISPr-Bandwidth-Max-Up", changes.bandwidth_up), ("WISPr-Bandwidth-Max-Down", changes.bandwidth_down)] {
        all.extend(rate.map(|rate| format!("{name} {}", rate.map_or_else(|| "none".into(), |rate| format!("{rate} bit/s")))));
    }
    all.join(", ")
}
