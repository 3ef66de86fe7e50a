//! Other policies, pools and settings while sessions are up, and what the policies of now would say to those who came in before.
use super::presented::{NamedLeaf, Names};
use super::{Gateway, Live, Now, Plane, Settings};
use crate::api::types::{Judged, Verdict};
use crate::login::{Decided, Granted};
use crate::outcome::CloseReason;
use ike::SessionId;
use policy::filter::{Filter, RateLimit, Restrictions};
use policy::network::{Alone, Policy, Settings as Granting};
use policy::pool::PoolConfig;
use std::net::IpAddr;
use std::sync::Arc;

/// Keys of `[[policy]]` that a client was told when it logged in, or by which its tunnel was made: only another login brings them.
const AT_LOGIN: &[&str] =
    &["pool", "address", "selectors", "dns", "nbns", "suffix", "dns_domains", "routes", "min_cipher_bits", "later_group"];

/// Of these, those by which firewalls and clients know what a session may do: where they are not the same it keeps all that it has.
const SETTLED: &[&str] = &["pool", "address", "selectors"];

/// Sessions to which another configuration was applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Those that have now what the policies give them, but for what only another login brings.
    pub given: Vec<u64>,
    /// Those that the data plane could not give it, and which were told to end.
    pub ended: Vec<u64>,
}

/// What a running gateway takes besides its IKE settings ([`Gateway::configure`]).
#[derive(Debug)]
pub struct Rules {
    pub policies: Vec<Policy>,
    pub filters: Vec<Arc<Filter>>,
    pub pools: Vec<PoolConfig>,
    pub zone: jiff::tz::TimeZone,
    pub settings: Settings,
}

impl<P: Plane> Gateway<P> {
    /// Whether [`Self::reconfigure`] would take rules with these pools.
    ///
    /// # Errors
    /// They contradict each other, or what sessions hold.
    pub fn check_pools(&self, pools: &[PoolConfig]) -> Result<(), String> {
        self.authority.pools.check(pools)
    }

    /// Logins are decided by these rules from now on; who is in stays as it is, leases of pools that are gone included.
    ///
    /// # Errors
    /// The pools contradict each other; nothing has changed then.
    pub fn reconfigure(&mut self, now: Now, rules: Rules) -> Result<(), String> {
        let Rules { policies, filters, pools, zone, settings } = rules;
        let settings = settings.with_listener_of(&self.settings);
        self.authority.pools.reconfigure(&pools)?;
        self.rename(&Renamed::new((&self.authority.policies, &self.settings), (&policies, &settings)));
        (self.authority.policies, self.authority.filters, self.authority.zone) = (policies, filters, zone);
        self.settings = settings;
        let policies = &self.authority.policies;
        // Names of policies come and go.
        self.totals.decisions.retain(|(name, _), _| name.is_empty() || policies.iter().any(|policy| policy.name == *name));
        // Only what a policy still names is there for sure.
        self.later.retain(|group| policies.iter().any(|policy| policy.settings.later.as_ref().is_some_and(|later| later.group == group)));
        if self.settings.looks_at_children() && !self.live.is_empty() {
            self.idle_check.begin(now.instant);
        }
        Ok(())
    }

    /// The sessions of these policies are those of the same policies under other names now, and so it is with what their clients were shown.
    fn rename(&mut self, renamed: &Renamed) {
        if !renamed.certificates.is_empty() {
            self.live.values_mut().filter_map(|live| live.presented.as_mut()).for_each(|presented| presented.rename(&renamed.certificates));
        }
        for (before, name) in &renamed.policies {
            for id in self.roll.of_policy(before).cloned().unwrap_or_default() {
                let Some(live) = self.live.get_mut(&id) else { continue };
                let up = live.session.as_mut().map(|session| &mut session.granted);
                let under_way = live.login.as_mut().and_then(|login| login.granted.as_mut());
                up.into_iter().chain(under_way).for_each(|granted| granted.policy.clone_from(name));
                self.roll.file(id, self.live.get(&id));
            }
        }
    }

    /// Policies that are gone and have sessions, with the number of these: no policy counts them any more.
    pub fn left_behind(&self) -> Vec<(String, usize)> {
        let policies = &self.authority.policies;
        let is_gone = |name: &str| !policies.iter().any(|policy| policy.name == name);
        let mut gone: Vec<_> =
            self.roll.policies().filter(|(name, _)| is_gone(name)).map(|(name, count)| (name.to_owned(), count)).collect();
        gone.sort();
        gone
    }

    /// The sessions to which the policies would not say what they said, as if each logged in now.
    pub fn judge_all(&self, now: Now) -> Vec<Judged> {
        self.judge_with(now, &Renamed::default())
    }

    fn judge_with(&self, now: Now, renamed: &Renamed) -> Vec<Judged> {
        self.live.iter().filter_map(|(&id, live)| self.judged(now, id, live, renamed)).collect()
    }

    /// The same by other policies, as if they had been applied.
    pub fn judge_by(&mut self, now: Now, rules: &Rules) -> Vec<Judged> {
        let renamed = Renamed::new((&self.authority.policies, &self.settings), (&rules.policies, &rules.settings));
        let fresh = (rules.policies.clone(), rules.filters.clone(), rules.zone.clone());
        let authority = &mut self.authority;
        let running = (
            std::mem::replace(&mut authority.policies, fresh.0),
            std::mem::replace(&mut authority.filters, fresh.1),
            std::mem::replace(&mut authority.zone, fresh.2),
        );
        let judged = self.judge_with(now, &renamed);
        (self.authority.policies, self.authority.filters, self.authority.zone) = running;
        judged
    }

    /// Ends the sessions that the policies refuse now; their numbers.
    pub fn end_refused(&mut self, now: Now) -> Vec<u64> {
        let refused: Vec<_> = self.judge_all(now).into_iter().filter(|judged| judged.verdict == Verdict::Refused).collect();
        for Judged { id, cause, .. } in &refused {
            self.note(now, SessionId(*id), format!("ended because the policies refuse it now: {cause}"));
            self.close(now, SessionId(*id), CloseReason::Operator);
        }
        refused.into_iter().map(|judged| judged.id).collect()
    }

    /// Gives sessions what the policies would give them if they logged in now. Those that would be refused, or would have other addresses or selectors, keep
    /// what they have; time limits begin with this.
    pub fn apply_to_sessions(&mut self, now: Now) -> Applied {
        let mut applied = Applied::default();
        let otherwise = self.judge_all(now).into_iter().filter(|judged| judged.verdict == Verdict::Otherwise);
        for Judged { id, cause, .. } in otherwise.collect::<Vec<_>>() {
            let session = SessionId(id);
            let Some(decided) = self.applicable(now, session) else { continue };
            self.note(now, session, format!("the configuration was reloaded and is applied to the session: {cause}"));
            match self.put_in_force(now, session, decided) {
                Ok(()) => applied.given.push(id),
                Err(error) => {
                    self.note(now, session, error);
                    self.close(now, session, CloseReason::Operator);
                    applied.ended.push(id);
                }
            }
        }
        applied
    }

    /// What the policies give a session now, with what it was told at its login; `None`: they refuse, or nothing of it can be had without another login.
    fn applicable(&self, now: Now, id: SessionId) -> Option<Decided> {
        let granted = &self.live.get(&id)?.session.as_ref()?.granted;
        let decided = self.judge_session(now, id, &granted.user, &granted.known).ok()?;
        let keys = differing(granted, &decided);
        let is_settled = keys.iter().any(|key| SETTLED.contains(key));
        let is_told = decided.policy == granted.policy && keys.iter().all(|key| AT_LOGIN.contains(key));
        (!is_settled && !is_told).then(|| Decided { settings: as_told(decided.settings, &granted.settings), ..decided })
    }

    /// Leases of all sessions.
    pub fn leases(&self) -> Vec<(SessionId, Vec<IpAddr>)> {
        let granted = |live: &Live| {
            let granted = live.login.as_ref()?.granted.as_ref()?;
            Some(granted.ipv4.map(IpAddr::V4).into_iter().chain(granted.ipv6.map(IpAddr::V6)).collect())
        };
        self.live.iter().filter_map(|(&id, live)| Some((id, granted(live)?))).collect()
    }

    fn judged(&self, now: Now, id: SessionId, live: &Live, renamed: &Renamed) -> Option<Judged> {
        let granted = &live.session.as_ref()?.granted;
        let policy = renamed.policies.get(&granted.policy).unwrap_or(&granted.policy);
        let mut place = self.place(id)?;
        let other = place.certificate.as_ref().and_then(|shown| renamed.certificates.get(shown)).cloned();
        place.certificate = other.or(place.certificate);
        let (verdict, cause, only_login) = match self.authority.judge(&place, &granted.user, &granted.known, &Alone, now.wall) {
            Err(denied) => (Verdict::Refused, denied.cause, Vec::new()),
            Ok(decided) => {
                let other = differing(granted, &decided);
                let cause = match () {
                    () if decided.policy != *policy => format!("policy {:?} decides", decided.policy),
                    () if other.is_empty() => return None,
                    () => format!("the same policy gives it other settings: {}", other.join(", ")),
                };
                let only_login = other.iter().filter(|key| AT_LOGIN.contains(key)).map(|key| (*key).to_owned()).collect();
                (Verdict::Otherwise, cause, only_login)
            }
        };
        let attempt = self.attempts.get(live.attempt)?.id.to_string();
        Some(Judged { id: id.0, attempt, user: granted.user.clone(), policy: granted.policy.clone(), verdict, cause, only_login })
    }
}

/// These settings, but for what a client was told at its login.
fn as_told(now: Granting, told: &Granting) -> Granting {
    let Granting { session_timeout, idle_timeout, filters, rate_limit_in, rate_limit_out, rate_limit_burst, accounting_class, .. } = now;
    Granting { session_timeout, idle_timeout, filters, rate_limit_in, rate_limit_out, rate_limit_burst, accounting_class, ..told.clone() }
}

/// What another configuration calls otherwise.
#[derive(Debug, Default)]
struct Renamed {
    policies: Names,
    certificates: Names,
}

impl Renamed {
    fn new((policies, settings): (&[Policy], &Settings), (policies_now, settings_now): (&[Policy], &Settings)) -> Self {
        let certificates = certificates_renamed(&settings.certificates, &settings_now.certificates);
        Self { policies: policies_renamed(policies, policies_now, &certificates), certificates }
    }
}

/// A policy whose name is gone while another name has come, and which is the same otherwise, is the same one. Where two could be meant nobody can tell.
fn policies_renamed(before: &[Policy], now: &[Policy], certificates: &Names) -> Names {
    let gone = before.iter().filter(|policy| !now.iter().any(|other| other.name == policy.name));
    let come: Vec<_> = now.iter().filter(|policy| !before.iter().any(|other| other.name == policy.name)).map(nameless).collect();
    let called_now = |policy: &Policy| {
        let certificate = policy.certificate.as_ref().map(|name| certificates.get(name).unwrap_or(name).clone());
        (policy.name.clone(), Policy { certificate, ..nameless(policy).1 })
    };
    let gone: Vec<_> = gone.map(called_now).collect();
    let only = |policy: &Policy, among: &[(String, Policy)]| {
        let mut found = among.iter().filter(|(_, other)| other == policy);
        found.next().filter(|_| found.next().is_none()).map(|(name, _)| name.clone())
    };
    let is_alone = |(_, policy): &&(String, Policy)| only(policy, &gone).is_some();
    gone.iter().filter(is_alone).filter_map(|(name, policy)| Some((name.clone(), only(policy, &come)?))).collect()
}

fn nameless(policy: &Policy) -> (String, Policy) {
    (policy.name.clone(), Policy { name: String::new(), ..policy.clone() })
}

/// A certificate is the same one whatever it is called: what clients saw is its leaf. One that was renewed keeps its name, and so does one that has two
/// others now, for nobody can tell which is meant.
fn certificates_renamed(before: &[NamedLeaf], now: &[NamedLeaf]) -> Names {
    let renamed = |shown: &NamedLeaf| {
        let mut found = now.iter().filter(|other| other.der == shown.der);
        let other = found.next().filter(|_| found.next().is_none())?;
        (other.name != shown.name).then(|| (shown.name.clone(), other.name.clone()))
    };
    before.iter().filter_map(renamed).collect()
}

/// Keys of `[[policy]]` whose values are not the same; filters and rates together with what RADIUS said of them.
fn differing(granted: &Granted, decided: &Decided) -> Vec<&'static str> {
    let Granting { pool, ipv4, ipv6, dns, session_timeout, idle_timeout, selectors, nbns, dns_suffix, routes, accounting_class, .. } =
        &decided.settings;
    let Granting { cipher_bits, later, dns_domains, .. } = &decided.settings;
    let (held, hold, is_open) = (&granted.restrictions, &decided.restrictions, granted.hours_end == decided.hours_end);
    let granted = &granted.settings;
    let rate = |limit: Option<RateLimit>| limit.map(|limit| limit.bits_per_second);
    let burst = |of: &Restrictions| of.rate_in.or(of.rate_out).map(|limit| limit.burst);
    let keys = [
        ("pool", granted.pool == *pool),
        ("address", (granted.ipv4, granted.ipv6) == (*ipv4, *ipv6)),
        ("dns", granted.dns == *dns),
        ("session_timeout", granted.session_timeout == *session_timeout),
        ("idle_timeout", granted.idle_timeout == *idle_timeout),
        ("allowed_hours", is_open),
        ("selectors", granted.selectors == *selectors),
        ("nbns", granted.nbns == *nbns),
        ("suffix", granted.dns_suffix == *dns_suffix),
        ("dns_domains", granted.dns_domains == *dns_domains),
        ("routes", granted.routes == *routes),
        ("filters", held.filters == hold.filters),
        ("rate_limit_in", rate(held.rate_in) == rate(hold.rate_in)),
        ("rate_limit_out", rate(held.rate_out) == rate(hold.rate_out)),
        ("rate_limit_burst", burst(held) == burst(hold)),
        ("min_cipher_bits", granted.cipher_bits == *cipher_bits),
        ("later_group", granted.later == *later),
        ("accounting_class", granted.accounting_class == *accounting_class),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}
