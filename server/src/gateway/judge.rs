//! Other policies, pools and settings while sessions are up, and what the policies of now would say to those who came in before.
use super::{Gateway, IDLE_CHECK, Live, Now, Plane, Settings};
use crate::api::types::{Judged, Verdict};
use crate::outcome::CloseReason;
use ike::SessionId;
use policy::filter::{Filter, RateLimit, Restrictions};
use policy::network::{Policy, Settings as Granting};
use policy::pool::PoolConfig;
use std::net::IpAddr;
use std::sync::Arc;

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
    /// Logins are decided by these rules from now on; who is in stays as it is, leases of pools that are gone included.
    ///
    /// # Errors
    /// The pools contradict each other; nothing has changed then.
    pub fn reconfigure(&mut self, now: Now, rules: Rules) -> Result<(), String> {
        let Rules { policies, filters, pools, zone, settings } = rules;
        self.authority.pools.reconfigure(pools)?;
        (self.authority.policies, self.authority.filters, self.authority.zone) = (policies, filters, zone);
        self.settings = settings;
        let policies = &self.authority.policies;
        // Only what a policy still names is there for sure.
        self.later.retain(|group| policies.iter().any(|policy| policy.settings.later.as_ref().is_some_and(|later| later.group == group)));
        if self.settings.child_idle.is_some() && !self.live.is_empty() {
            self.idle_check.get_or_insert(now.instant + IDLE_CHECK);
        }
        Ok(())
    }

    /// The sessions to which the policies would not say what they said, as if each logged in now.
    pub fn judge_all(&self, now: Now) -> Vec<Judged> {
        self.live.iter().filter_map(|(&id, live)| self.judged(now, id, live)).collect()
    }

    /// The same by other policies, as if they had been applied.
    pub fn judge_by(&mut self, now: Now, rules: &Rules) -> Vec<Judged> {
        let fresh = (rules.policies.clone(), rules.filters.clone(), rules.zone.clone());
        let authority = &mut self.authority;
        let running = (
            std::mem::replace(&mut authority.policies, fresh.0),
            std::mem::replace(&mut authority.filters, fresh.1),
            std::mem::replace(&mut authority.zone, fresh.2),
        );
        let judged = self.judge_all(now);
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

    /// Leases of all sessions.
    pub fn leases(&self) -> Vec<(SessionId, Vec<IpAddr>)> {
        let granted = |live: &Live| {
            let granted = live.login.as_ref()?.granted.as_ref()?;
            Some(granted.ipv4.map(IpAddr::V4).into_iter().chain(granted.ipv6.map(IpAddr::V6)).collect())
        };
        self.live.iter().filter_map(|(&id, live)| Some((id, granted(live)?))).collect()
    }

    fn judged(&self, now: Now, id: SessionId, live: &Live) -> Option<Judged> {
        let granted = &live.session.as_ref()?.granted;
        let (verdict, cause) = match self.judge_session(now, id, &granted.user, &granted.known) {
            Err(denied) => (Verdict::Refused, denied.cause),
            Ok(decided) if decided.policy != granted.policy => (Verdict::Otherwise, format!("policy {:?} decides", decided.policy)),
            Ok(decided) => {
                let other = differing((&granted.settings, &granted.restrictions), (&decided.settings, &decided.restrictions));
                if other.is_empty() {
                    return None;
                }
                (Verdict::Otherwise, format!("the same policy gives it other settings: {}", other.join(", ")))
            }
        };
        let attempt = self.attempts.get(live.attempt)?.id.to_string();
        Some(Judged { id: id.0, attempt, user: granted.user.clone(), policy: granted.policy.clone(), verdict, cause })
    }
}

/// Keys of `[[policy]]` whose values are not the same; filters and rates together with what RADIUS said of them.
fn differing((granted, held): (&Granting, &Restrictions), (now, hold): (&Granting, &Restrictions)) -> Vec<&'static str> {
    let Granting { pool, ipv4, ipv6, dns, session_timeout, idle_timeout, selectors, nbns, dns_suffix, routes, accounting_class, .. } = now;
    let Granting { cipher_bits, later, .. } = now;
    let rate = |limit: Option<RateLimit>| limit.map(|limit| limit.bits_per_second);
    let burst = |of: &Restrictions| of.rate_in.or(of.rate_out).map(|limit| limit.burst);
    let keys = [
        ("pool", granted.pool == *pool),
        ("address", (granted.ipv4, granted.ipv6) == (*ipv4, *ipv6)),
        ("dns", granted.dns == *dns),
        ("session_timeout", granted.session_timeout == *session_timeout),
        ("idle_timeout", granted.idle_timeout == *idle_timeout),
        ("selectors", granted.selectors == *selectors),
        ("nbns", granted.nbns == *nbns),
        ("suffix", granted.dns_suffix == *dns_suffix),
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
