//! Answers of the Admin API.
use super::roll::folded;
use super::{Gateway, Live, Now, Plane, Traffic};
use crate::api::types::{self, AttemptDetail, AttemptList, AttemptSummary, DrainStatus, PoolStatus, SessionList, TimelineLine};
use crate::api::{AttemptsQuery, DEFAULT_LIMIT, Drain, Refusal, Request, Response, SessionsQuery};
use crate::attempts::{Attempt, Outcome};
use crate::explain::remedy::Known;
use crate::explain::{self, account, story};
use ike::{CipherPolicy, SessionId};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

/// Attempts listed at most, whatever is asked for.
const LIST_MAX: usize = 10_000;
/// Accounts of one name told of at most.
const NAMESAKES: usize = 5;
/// Sessions listed at most.
const SESSIONS_MAX: usize = 1_000;

pub(super) const SESSIONS: &str = "`evergate sessions` lists those that are up";
/// The newest failed attempt, else the newest, instead of an id.
const LAST: &str = "last";
const ATTEMPTS: &str = "`evergate attempts` lists the newest";

/// The part of `status` that the control half knows.
#[derive(Debug)]
pub struct Summary {
    pub sessions: u64,
    pub half_open: u64,
    pub pools: Vec<PoolStatus>,
    pub eap_certificates: Vec<types::EapCertificate>,
    pub ike: BTreeMap<String, u64>,
    pub drain: Option<DrainStatus>,
}

/// What the control half counts, by the words of [`explain`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins {
    pub attempts: u64,
    /// Up now, by tunnel type.
    pub sessions: Vec<(&'static str, u64)>,
    /// By tunnel type.
    pub established: BTreeMap<&'static str, u64>,
    /// By tunnel type, stage and fault.
    pub failed: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// By network policy, empty where none matched, and `grant` or `deny`.
    pub decisions: BTreeMap<(String, &'static str), u64>,
    /// By tunnel type and reason.
    pub ended: BTreeMap<(&'static str, &'static str), u64>,
    /// Entries of the block list.
    pub blocks: u64,
    /// Logins that it kept out.
    pub blocked: u64,
}

impl<P: Plane> Gateway<P> {
    /// Serves a request; `None` for those that the shell serves, or completes with what it knows itself.
    pub fn control(&mut self, now: Now, request: &Request) -> Option<Response> {
        Some(match request {
            Request::Status | Request::Metrics | Request::Radius | Request::Ready | Request::Certificates => return None,
            Request::Reload(_) | Request::Trace { .. } | Request::History(_) | Request::Doctor | Request::Configuration => return None,
            Request::Changes | Request::Policies | Request::PolicyTest(_) => return None,
            Request::Live => Response::Health(types::Health { ok: true, reasons: Vec::new() }),
            Request::Pools => Response::Pools(types::PoolList { pools: self.pools() }),
            Request::Judge => Response::Judged(types::JudgedList { sessions: self.judge_all(now) }),
            Request::Sessions(query) => Response::Sessions(self.sessions(now, query)),
            Request::Session { id } => match self.session(now, SessionId(*id)) {
                Some(session) => Response::Session(Box::new(session)),
                None => Response::refused(Refusal::NotFound, format!("no session {id}"), SESSIONS),
            },
            Request::Disconnect(order) => self.disconnect(now, order),
            Request::Blocks => self.list_blocks(now),
            Request::Block(order) => self.block(now, order),
            Request::Unblock { id } => self.unblock(*id),
            Request::Drain(Drain { to, within_secs }) => self.start_drain(now, to.as_deref(), *within_secs),
            Request::CancelDrain => self.cancel_drain(now),
            Request::Attempts(query) => self.list(query),
            Request::Events { feed } => {
                self.listen(feed.clone());
                Response::Done(types::Done {})
            }
            Request::Explain(query) => self.explain(now, &query.what),
            Request::Attempt { id } => match self.attempts.find(id).or_else(|| self.meant(id).filter(|_| id == LAST)) {
                Some(attempt) => Response::Attempt(Box::new(detail(attempt, self.endpoint.ciphers(), &self.names))),
                None => Response::refused(Refusal::NotFound, format!("no attempt {id:?} is kept"), ATTEMPTS),
            },
        })
    }

    pub fn summary(&self) -> Summary {
        let (sessions, half_open) = self.occupancy();
        Summary {
            sessions,
            half_open,
            pools: self.pools(),
            eap_certificates: self.server_certificates.list(),
            ike: self.counters(),
            drain: self.drain_status(),
        }
    }

    /// What RADIUS servers showed to EAP clients.
    pub fn eap_certificates(&self) -> Vec<types::EapCertificate> {
        self.server_certificates.list()
    }

    /// Sessions that are up, and logins under way.
    pub(super) fn occupancy(&self) -> (u64, u64) {
        let (half_open, sessions) = self.endpoint.sessions();
        (count(sessions + self.calls_up), count(half_open + self.calls.len() - self.calls_up))
    }

    pub fn logins(&self) -> Logins {
        let (_, ikev2) = self.endpoint.sessions();
        Logins {
            attempts: self.totals.attempts,
            sessions: vec![("ikev2", count(ikev2)), ("sstp", count(self.calls_up))],
            established: self.totals.up.clone(),
            failed: self.totals.failures.clone(),
            decisions: self.totals.decisions.clone(),
            ended: self.totals.ends.clone(),
            blocks: count(self.blocks.len()),
            blocked: self.totals.blocked,
        }
    }

    fn explain(&self, now: Now, what: &str) -> Response {
        let Some(attempt) = self.meant(what) else {
            return self.nobody(what);
        };
        let around = self.around(now, attempt);
        let known = Known { names: &self.names, ciphers: self.endpoint.ciphers(), stale: self.stale() };
        let mut told = story::tell(attempt, &around);
        told.extend(self.namesakes(what, attempt));
        told.extend(self.strange(attempt).filter(|_| matches!(attempt.outcome, Outcome::Failed(_))));
        let mut commands = explain::remedy::commands(attempt, known);
        if let Some(traffic) = self.traffic_of(attempt) {
            told.push(explain::traffic(traffic));
            commands.extend(explain::is_one_way(traffic.packets_in, traffic.packets_out).then(explain::remedy::way_back));
        }
        let mut detail = detail(attempt, self.endpoint.ciphers(), &self.names);
        if let Outcome::Failed(failure) = &attempt.outcome {
            detail.fix = explain::fix_beside_lines(attempt, failure, self.endpoint.ciphers(), &self.names);
        }
        let user = attempt.user.as_deref();
        Response::Explanation(Box::new(types::Explanation {
            attempt: detail,
            told,
            commands,
            cases: story::cases(attempt).into_iter().map(|case| case.filled(&self.names, user)).collect(),
            certain: story::is_certain(attempt),
        }))
    }

    /// Nothing under that name; perhaps it came no further than where it has none yet.
    fn nobody(&self, what: &str) -> Response {
        let refused = |told: String, remedy: String| Response::refused(Refusal::NotFound, told, remedy);
        if what == LAST {
            return refused("nobody has tried to log in yet".into(), "`evergate doctor` looks for what is in the way".into());
        }
        if let Ok(address) = what.parse() {
            return self.no_attempt_from(address);
        }
        let nameless = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Failed(_)) && attempt.user.is_none();
        let mut failed = self.attempts.iter().filter(nameless);
        let (newest, more) = (failed.next(), failed.count());
        match newest {
            Some(newest) => {
                let AttemptSummary { id, client, stage, .. } = summary(newest);
                refused(
                    format!("no attempt under the name {what:?} is kept; {} failed before a name was known", more + 1),
                    format!(
                        "`evergate explain {id}` tells of the newest of these, from {}, which came as far as stage {stage}",
                        client.ip()
                    ),
                )
            }
            None => refused(
                format!("no attempt of {what:?} is kept"),
                format!("{ATTEMPTS}; `evergate explain last` tells of the last failed one"),
            ),
        }
    }

    /// Something of that address may have come in all the same.
    fn no_attempt_from(&self, address: IpAddr) -> Response {
        let told = match self.strangers.of(address).next_back() {
            Some(met) => (format!("{} (at {})", met.words(), self.moment(met.at)), met.remedy()),
            None if self.endpoint.stranger(address).is_some() => {
                let remedy = "a client of before a restart of this gateway comes again by itself; a balancer before several gateways needs affinity by source address over UDP 500 and 4500";
                ("protected IKE messages of an IKE SA that this gateway does not know came from it".into(), remedy.into())
            }
            None => {
                let remedy = "`evergate status` counts the packets of each port, `evergate doctor` looks for a firewall of this host; a balancer may have sent it to another gateway";
                ("nothing of it is known".into(), remedy.to_owned())
            }
        };
        Response::refused(Refusal::NotFound, format!("no attempt from {address} is kept; {}", told.0), told.1)
    }

    /// Of a stranger at the attempt's address: what it did about then.
    fn strange(&self, attempt: &Attempt) -> Option<String> {
        const NEAR: u64 = 3600;
        // The story of the way tells of those that go astray.
        let near = |met: &&super::strangers::Met| !met.is_astray() && met.at.abs_diff(attempt.started_at) <= NEAR;
        let met = self.strangers.of(attempt.client.ip()).rev().find(near)?;
        Some(format!(
            "From its address came something else at {}: {}. {}.",
            self.moment(met.at),
            met.words().trim_end_matches('?'),
            met.remedy()
        ))
    }

    fn moment(&self, unix: u64) -> String {
        story::moment(unix, &self.authority.zone)
    }

    /// What the session that came of an attempt has moved, while it is up.
    fn traffic_of(&self, attempt: &Attempt) -> Option<Traffic> {
        let key = self.attempts.key(attempt.id.as_str())?;
        let (id, _) = self.live.iter().find(|(_, live)| live.attempt == key && live.session.is_some())?;
        Some(self.plane.traffic(*id))
    }

    /// What else is known of the client.
    fn around(&self, now: Now, attempt: &Attempt) -> story::Around<'_> {
        let ip = attempt.client.ip();
        let others: Vec<_> = self.attempts.iter().filter(|other| other.id != attempt.id).collect();
        let since = |at: std::time::Instant| now.instant.saturating_duration_since(at).as_secs();
        let running_for = now.wall.as_millisecond().unsigned_abs().saturating_sub(self.attempts.boot()) / 1000;
        let stranger_since = self.endpoint.stranger(ip).map(since);
        let circumstances = story::Circumstances { stranger_since, running_for, zone: self.authority.zone.clone() };
        story::Around::new(attempt, others, circumstances)
    }

    /// The session that is missed least: its client is silent, or has been up for longest.
    fn stale(&self) -> Option<(u64, &str)> {
        let up = self.live.iter().filter_map(|(id, live)| Some((id, live, live.session.as_ref()?)));
        let least = up.min_by_key(|(_, live, session)| {
            let silent = live.silent_since.or(live.resting_since);
            (silent.is_none(), silent.unwrap_or(session.connected_at))
        });
        least.map(|(id, _, session)| (id.0, session.granted.user.as_str()))
    }

    /// Of several accounts that a name may mean, one was chosen.
    fn namesakes(&self, what: &str, chosen: &Attempt) -> Option<String> {
        if what == LAST || what == chosen.id.as_str() || what.parse::<IpAddr>().is_ok() {
            return None;
        }
        let own = chosen.user.as_deref()?;
        let users = self.attempts.iter().filter_map(|attempt| attempt.user.as_deref());
        let mut others: Vec<_> = users.filter(|user| account::same(user, what) && !account::same(user, own)).collect();
        others.sort_unstable();
        others.dedup();
        others.truncate(NAMESAKES);
        (!others.is_empty()).then(|| format!("{what} may also mean {}: `evergate explain` with that name tells of it.", others.join(", ")))
    }

    /// The attempt that somebody means: by its id, or the newest failed one (else the newest) of a client address, of a user, or of all.
    fn meant(&self, what: &str) -> Option<&Attempt> {
        if let Some(attempt) = self.attempts.find(what) {
            return Some(attempt);
        }
        let address = what.parse::<IpAddr>().ok();
        let is_meant = |attempt: &&Attempt| match address {
            Some(address) => attempt.client.ip().to_canonical() == address.to_canonical(),
            None => what == LAST || attempt.user.as_deref().is_some_and(|user| account::same(user, what)),
        };
        let mut meant = self.attempts.iter().filter(is_meant).peekable();
        let newest = meant.peek().copied();
        meant.find(|attempt| matches!(attempt.outcome, Outcome::Failed(_))).or(newest)
    }

    pub(super) fn sessions_of(&self, user: &str) -> Vec<u64> {
        let is_up = |id: &&SessionId| self.live.get(id).is_some_and(|live| live.session.is_some());
        self.roll.of_user(user).into_iter().flatten().filter(is_up).map(|id| id.0).collect()
    }

    pub(super) fn session(&self, now: Now, id: SessionId) -> Option<types::Session> {
        let live = self.live.get(&id)?;
        let session = live.session.as_ref()?;
        let traffic = self.plane.traffic(id);
        let restrictions = &session.granted.restrictions;
        Some(types::Session {
            id: id.0,
            attempt: self.attempts.get(live.attempt)?.id.to_string(),
            user: session.granted.user.clone(),
            policy: session.granted.policy.clone(),
            tunnel: live.tunnel.to_string(),
            client: live.path.remote,
            inner: session.inner.clone(),
            networks: session.granted.networks.iter().map(ToString::to_string).collect(),
            connected_at: session.connected_at,
            since_secs: session.age(now.instant).as_secs(),
            ike_suite: live.ike_suite.clone().unwrap_or_default(),
            esp_suite: live.esp_suite.clone().unwrap_or_default(),
            nat: live.nat.into(),
            tls: live.tls.clone(),
            certificate: live.presented.as_ref().and_then(super::Presented::name).map(str::to_owned),
            ike_rekeyed_at: live.rekeyed.ike,
            child_rekeyed_at: live.rekeyed.child,
            silent_since: live.silent_since,
            resting_since: live.resting_since,
            octets_in: traffic.octets_in,
            octets_out: traffic.octets_out,
            packets_in: traffic.packets_in,
            packets_out: traffic.packets_out,
            filters: restrictions.filters.iter().map(|filter| filter.name.clone()).collect(),
            rate_limit_in: restrictions.rate_in.map(|limit| limit.bits_per_second),
            rate_limit_out: restrictions.rate_out.map(|limit| limit.bits_per_second),
            filtered_in: traffic.filtered_in,
            filtered_out: traffic.filtered_out,
            rate_limited: traffic.rate_limited,
            radius: session.server.clone(),
        })
    }

    fn sessions(&self, now: Now, query: &SessionsQuery) -> SessionList {
        let search = query.search.as_ref().map(|search| search.to_lowercase());
        let fits = |(id, live): &(&SessionId, &Live)| {
            live.session.is_some()
                && query.user.as_ref().is_none_or(|user| live.session.as_ref().is_some_and(|up| same_user(&up.granted.user, user)))
                && search.as_ref().is_none_or(|search| self.is_found(**id, live, search))
        };
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, SESSIONS_MAX);
        let total = self.live.iter().filter(fits).count();
        let after = query.after.map_or(Bound::Unbounded, |after| Bound::Excluded(SessionId(after)));
        let mut page = self.live.range((after, Bound::Unbounded)).filter(fits).map(|(&id, _)| id);
        let ids: Vec<_> = page.by_ref().take(limit).collect();
        let next = page.next().and(ids.last()).map(|id| id.0);
        SessionList { sessions: ids.into_iter().filter_map(|id| self.session(now, id)).collect(), total: count(total), next }
    }

    /// `search` is in lower case.
    fn is_found(&self, id: SessionId, live: &Live, search: &str) -> bool {
        let Some(session) = &live.session else { return false };
        let granted = &session.granted;
        let has = |text: &str| text.to_lowercase().contains(search);
        has(&granted.user)
            || has(&granted.policy)
            || has(&live.tunnel.to_string())
            || has(&live.path.remote.to_string())
            || session.inner.iter().any(|address| has(&address.to_string()))
            || id.0.to_string() == search
    }

    fn list(&self, query: &AttemptsQuery) -> Response {
        let search = query.search.as_ref().map(|search| search.to_lowercase());
        let wanted = |attempt: &&Attempt| {
            query.user.as_ref().is_none_or(|user| attempt.user.as_deref().is_some_and(|of| same_user(of, user)))
                && (!query.failed || matches!(attempt.outcome, Outcome::Failed(_)))
                && search.as_ref().is_none_or(|search| is_told(attempt, search))
        };
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LIST_MAX);
        let older = match &query.before {
            None => self.attempts.iter().collect::<Vec<_>>(),
            Some(id) if self.attempts.find(id).is_some() => {
                self.attempts.iter().skip_while(|attempt| attempt.id.as_str() != id).skip(1).collect()
            }
            Some(id) => return Response::refused(Refusal::NotFound, format!("no attempt {id:?} is kept"), ATTEMPTS),
        };
        let mut page = older.into_iter().filter(wanted);
        let attempts: Vec<_> = page.by_ref().take(limit).map(summary).collect();
        let next = page.next().and(attempts.last()).map(|last| last.id.clone());
        Response::Attempts(AttemptList { attempts, next })
    }

    fn pools(&self) -> Vec<PoolStatus> {
        let status = |usage: policy::pool::Usage| PoolStatus {
            pool: usage.pool,
            family: usage.family.into(),
            used: u64::try_from(usage.used).unwrap_or(u64::MAX),
            size: u64::try_from(usage.size).unwrap_or(u64::MAX),
        };
        self.authority.pools.usage().into_iter().map(status).collect()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let ike = self.endpoint.counters();
        [
            ("received", ike.received),
            ("sent", ike.sent),
            ("malformed", ike.malformed),
            ("forged", ike.forged),
            ("replayed", ike.replayed),
            ("retransmits_answered", ike.retransmits_answered),
            ("unknown_spi", ike.unknown_spi),
            ("redirected", ike.redirected),
            ("cookies_sent", ike.cookies_sent),
            ("cookies_wrong", ike.cookies_wrong),
            ("half_open_refused", ike.half_open_refused),
            ("out_of_window", ike.out_of_window),
            ("unsupported_version", ike.unsupported_version),
            ("attempts", self.totals.attempts),
            ("established", self.totals.established),
            ("failed", self.totals.failed),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

pub(super) fn same_user(a: &str, b: &str) -> bool {
    folded(a) == folded(b)
}

/// `search` is in lower case.
fn is_told(attempt: &Attempt, search: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(search);
    let AttemptSummary { id, client, user, stage, cause, .. } = summary(attempt);
    has(&client.to_string()) || has(&stage) || user.as_deref().is_some_and(has) || cause.as_deref().is_some_and(has) || id == search
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(super) fn summary(attempt: &Attempt) -> AttemptSummary {
    let (outcome, stage, cause) = match &attempt.outcome {
        Outcome::Running => (types::Outcome::Running, attempt.stage, None),
        Outcome::Up => (types::Outcome::Up, attempt.stage, None),
        Outcome::Ended(reason) => (types::Outcome::Ended, attempt.stage, Some(explain::close_reason_name(*reason).to_owned())),
        Outcome::Failed(failure) => (types::Outcome::Failed, failure.stage, Some(failure.cause.clone())),
    };
    AttemptSummary {
        id: attempt.id.to_string(),
        started_at: attempt.started_at,
        client: attempt.client,
        user: attempt.user.clone(),
        stage: explain::stage_name(stage).into(),
        outcome,
        cause,
    }
}

fn detail(attempt: &Attempt, ciphers: Option<&CipherPolicy>, names: &explain::names::Names) -> AttemptDetail {
    let failure = match &attempt.outcome {
        Outcome::Failed(failure) => Some(failure),
        _ => None,
    };
    let line = |(at, text): &(std::time::Duration, String)| TimelineLine {
        at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        text: text.clone(),
    };
    AttemptDetail {
        summary: summary(attempt),
        tunnel: attempt.tunnel.to_string(),
        gateway: attempt.gateway,
        timeline: attempt.timeline.iter().map(line).collect(),
        timeline_lost: attempt.timeline_lost,
        offered: attempt.offered.clone(),
        accepted: attempt.accepted.clone(),
        decision: attempt.decision.clone(),
        received: attempt.received.clone(),
        nps_reason: attempt.reason.map(policy::network::Reason::code),
        windows_code: failure.and_then(|failure| explain::windows_code(failure, attempt.tunnel)).map(str::to_owned),
        fix: failure.and_then(|failure| explain::fix_of(attempt, failure, ciphers, names)).map(Cow::into_owned),
    }
}
