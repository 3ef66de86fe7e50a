//! From "who are you" to "this is yours": RADIUS verdict, network policy, lease. The same for every tunnel type.
use crate::outcome::Stage;
use crate::restrictions::{self, FromReply};
use policy::filter::{Filter, Restrictions};
use policy::network::{AddressRange, Decision, Facts, LocalTime, Method, Policy, Settings, Tunnel, decide};
use policy::pool::{LeaseKey, Pools, Wanted};
use radius_client::{Accept, FramedIp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// What is known of a login besides its credentials.
#[derive(Debug, Clone)]
pub struct Login {
    pub key: LeaseKey,
    pub tunnel: Tunnel,
    pub client: IpAddr,
    pub wanted: Wanted,
}

/// Someone whose credentials were found good.
#[derive(Debug)]
pub struct Authenticated<'a> {
    pub user: &'a str,
    /// False: the name is the outer identity of a tunnelled EAP method, which nobody has checked.
    pub confirmed: bool,
    pub method: Method,
    /// What the RADIUS server said; `None` where none was asked.
    pub accept: Option<&'a Accept>,
}

/// What a granted login gets.
#[derive(Debug, Clone)]
pub struct Granted {
    pub user: String,
    pub policy: String,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// Why no address could be leased; then both are `None`.
    pub address_failure: Option<String>,
    pub dns: Vec<IpAddr>,
    /// WINS servers.
    pub nbns: Vec<Ipv4Addr>,
    pub dns_suffix: Option<String>,
    /// What the client shall send into the tunnel; empty: what its own profile says.
    pub routes: Vec<AddressRange>,
    pub selectors: Vec<AddressRange>,
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub class: Vec<Vec<u8>>,
    /// What the policy set, before RADIUS had its say.
    pub settings: Settings,
    /// Acct-Interim-Interval.
    pub interim_interval: Option<Duration>,
    /// Filters and rate limits.
    pub restrictions: Restrictions,
    /// What the policies went by.
    pub known: Known,
    /// The decision in words, a line each.
    pub trace: Vec<String>,
}

/// Facts of a login that outlive it, so that policies can judge again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub method: Method,
    /// See [`Authenticated::confirmed`].
    pub confirmed: bool,
    pub class: Vec<Vec<u8>>,
    pub filter_id: Vec<String>,
    pub groups: Vec<String>,
    /// Filters and rates beside Filter-Id.
    pub reply: FromReply,
}

impl Known {
    fn of(who: &Authenticated<'_>) -> Result<Self, Denied> {
        let accept = who.accept;
        Ok(Self {
            method: who.method,
            confirmed: who.confirmed,
            class: accept.map(|accept| accept.class.clone()).unwrap_or_default(),
            filter_id: accept.map(|accept| accept.filter_id.clone()).unwrap_or_default(),
            groups: accept.map(|accept| accept.groups.clone()).unwrap_or_default(),
            reply: accept.map(FromReply::read).transpose()?.unwrap_or_default(),
        })
    }
}

/// The policy that grants, and what it sets.
#[derive(Debug, Clone)]
pub struct Decided {
    pub policy: String,
    pub settings: Settings,
    pub restrictions: Restrictions,
    /// The decision in words, a line each.
    pub trace: Vec<String>,
}

/// A refusal with its stage, for wire and record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub stage: Stage,
    pub cause: String,
    pub trace: Vec<String>,
}

impl Denied {
    pub fn new(stage: Stage, cause: String) -> Self {
        Self { stage, cause, trace: Vec::new() }
    }
}

/// Policies and pools of this gateway.
#[derive(Debug)]
pub struct Authority {
    pub policies: Vec<Policy>,
    /// What Filter-Id may name.
    pub filters: Vec<Arc<Filter>>,
    pub pools: Pools,
    pub zone: jiff::tz::TimeZone,
}

impl Authority {
    /// Decides by policy and leases addresses. A failed lease is part of the grant: the tunnel protocol has its own words for it.
    /// `same_client`: whether a lease is held by an older session of this very client.
    pub fn authorize(
        &mut self,
        login: &Login,
        who: &Authenticated<'_>,
        same_client: &dyn Fn(LeaseKey) -> bool,
        now: jiff::Timestamp,
    ) -> Result<Granted, Denied> {
        let known = Known::of(who)?;
        let Decided { policy, settings, restrictions, trace } = self.judge(login.tunnel, login.client, who.user, &known, now)?;
        let (lease, address_failure) = match self.lease(login, who, same_client, settings.pool.as_deref()) {
            Ok(lease) => (lease, None),
            Err(failure) => (policy::pool::Lease { ipv4: None, ipv6: None }, Some(format!("policy {policy:?}: {failure}"))),
        };
        let accept = who.accept;
        Ok(Granted {
            user: accept.and_then(|accept| accept.user_name.clone()).unwrap_or_else(|| who.user.to_owned()),
            ipv4: lease.ipv4,
            ipv6: lease.ipv6,
            address_failure,
            dns: dns(&settings.dns, accept),
            nbns: accept.map(|accept| &accept.nbns).filter(|nbns| !nbns.is_empty()).unwrap_or(&settings.nbns).clone(),
            dns_suffix: settings.dns_suffix.clone(),
            routes: settings.routes.clone(),
            selectors: settings.selectors.clone(),
            session_timeout: shorter(settings.session_timeout, accept.and_then(|accept| accept.session_timeout)),
            idle_timeout: shorter(settings.idle_timeout, accept.and_then(|accept| accept.idle_timeout)),
            interim_interval: accept.and_then(|accept| accept.acct_interim_interval),
            class: known.class.clone(),
            settings,
            restrictions,
            known,
            policy,
            trace,
        })
    }

    /// What the policies say to someone authenticated.
    pub fn judge(&self, tunnel: Tunnel, client: IpAddr, user: &str, known: &Known, now: jiff::Timestamp) -> Result<Decided, Denied> {
        let facts = self.facts(tunnel, client, user, known, now);
        if !known.confirmed
            && let Some(policy) = self.hinges_on_the_user(&facts)
        {
            return Err(unconfirmed(user, policy));
        }
        let decision = decide(&self.policies, &facts);
        let mut trace = trace_of(&decision);
        let Some(policy) = decision.policy.clone().filter(|_| decision.granted) else {
            return Err(Denied { stage: Stage::Policy, cause: refusal(&decision), trace });
        };
        let settings = decision.settings;
        match restrictions::of_session(&self.filters, &self.policies, &settings, &known.filter_id, &known.reply) {
            Ok(restrictions) => {
                trace.extend(Some(restrictions::words(&restrictions)).filter(|words| !words.is_empty()));
                Ok(Decided { policy, settings, restrictions, trace })
            }
            Err(denied) => Err(Denied { trace, ..denied }),
        }
    }

    /// Gives the addresses of a login back.
    pub fn release(&mut self, key: &LeaseKey) {
        self.pools.release(key);
    }

    /// The policy that would decide but for its condition on the user.
    fn hinges_on_the_user(&self, facts: &Facts<'_>) -> Option<&str> {
        let (policy, names_users) = self.policies.iter().find_map(|policy| {
            let mut relaxed = policy.clone();
            let users = std::mem::take(&mut relaxed.conditions.user);
            decide(std::slice::from_ref(&relaxed), facts).policy.map(|_| (policy, !users.is_empty()))
        })?;
        names_users.then_some(&policy.name)
    }

    fn facts<'a>(&self, tunnel: Tunnel, client: IpAddr, user: &'a str, known: &'a Known, now: jiff::Timestamp) -> Facts<'a> {
        Facts {
            tunnel,
            method: known.method,
            user,
            client,
            class: &known.class,
            filter_id: &known.filter_id,
            group: &known.groups,
            time: local_time(now, &self.zone),
        }
    }

    fn lease(
        &mut self,
        login: &Login,
        who: &Authenticated<'_>,
        same_client: &dyn Fn(LeaseKey) -> bool,
        pool: Option<&str>,
    ) -> Result<policy::pool::Lease, String> {
        let accept = who.accept;
        let pool = accept.and_then(|accept| accept.framed_pool.as_deref()).or(pool);
        let Some(pool) = pool else {
            return Err("neither the policy (setting pool) nor RADIUS (Framed-Pool) names an address pool".into());
        };
        let mut wanted = login.wanted;
        match accept.and_then(|accept| accept.framed_ip) {
            Some(FramedIp::Fixed(address)) => wanted.ipv4_fixed = Some(address),
            Some(FramedIp::NasChooses) => wanted.ipv4_hint = None,
            Some(FramedIp::ClientChooses) | None => {}
        }
        wanted.ipv6_fixed = accept.and_then(|accept| accept.framed_ipv6);
        // A name that nobody has checked is no proof of being the same client.
        wanted.succeeds = asked(wanted).filter_map(|address| self.pools.holder(address)).find(|key| who.confirmed && same_client(*key));
        self.pools.lease(pool, login.key, who.user, wanted).map_err(|error| error.to_string())
    }
}

/// A condition on the user cannot be judged by a name that the client chose freely: neither to let in nor to keep out.
fn unconfirmed(user: &str, policy: &str) -> Denied {
    let cause = format!(
        "policy {policy:?} has a condition on the user, but {user:?} is only the outer identity of a tunnelled EAP method: let the RADIUS server return User-Name in its Access-Accept (FreeRADIUS: use_tunneled_reply), or use Class or Filter-Id conditions"
    );
    Denied { stage: Stage::Policy, cause, trace: Vec::new() }
}

/// The addresses that a login asks for by number.
fn asked(wanted: Wanted) -> impl Iterator<Item = IpAddr> {
    let ipv4 = wanted.ipv4_fixed.or(wanted.ipv4_hint).filter(|_| wanted.ipv4).map(IpAddr::V4);
    let ipv6 = wanted.ipv6_fixed.or(wanted.ipv6_hint).filter(|_| wanted.ipv6).map(IpAddr::V6);
    ipv4.into_iter().chain(ipv6)
}

fn dns(settings: &[IpAddr], accept: Option<&Accept>) -> Vec<IpAddr> {
    match accept {
        Some(accept) if !accept.dns.is_empty() => accept.dns.clone(),
        _ => settings.to_vec(),
    }
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn refusal(decision: &Decision) -> String {
    match &decision.policy {
        Some(policy) => format!("network policy {policy:?} denies (its conditions match, grant = false)"),
        None if decision.passed_over.is_empty() => "no network policy is configured; without one everybody is denied".into(),
        None => format!("none of {} network policies matches (default deny): {}", decision.passed_over.len(), passed_over(decision)),
    }
}

fn passed_over(decision: &Decision) -> String {
    let reasons: Vec<_> = decision.passed_over.iter().map(|passed| format!("{:?}: {}", passed.policy, passed.reason)).collect();
    reasons.join("; ")
}

fn trace_of(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<_> =
        decision.passed_over.iter().map(|passed| format!("policy {:?} does not match: {}", passed.policy, passed.reason)).collect();
    lines.push(match &decision.policy {
        Some(policy) => format!("policy {policy:?} decides: {}", if decision.granted { "grant" } else { "deny" }),
        None => "no policy matches: deny".into(),
    });
    lines
}

/// Weekday and minute of `now` in `zone`.
pub fn local_time(now: jiff::Timestamp, zone: &jiff::tz::TimeZone) -> LocalTime {
    let local = now.to_zoned(zone.clone());
    LocalTime {
        weekday: local.weekday().to_monday_zero_offset().unsigned_abs(),
        minute: u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_follows_the_zone() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        // 2026-11-20 is a Friday; 22:30 UTC is 00:30 on Saturday two hours east.
        let now: jiff::Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        assert_eq!(local_time(now, &zone), LocalTime { weekday: 5, minute: 30 });
    }

    #[test]
    fn an_unconfirmed_name_never_meets_a_condition_on_the_user() {
        let policy = |name: &str, user: &[&str]| Policy {
            name: name.into(),
            grant: true,
            conditions: policy::network::Conditions { user: user.iter().map(ToString::to_string).collect(), ..Default::default() },
            settings: policy::network::Settings { pool: Some("users".into()), ..Default::default() },
        };
        let pool = policy::pool::PoolConfig {
            name: "users".into(),
            ipv4: vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))],
            ipv6: Vec::new(),
        };
        let mut authority = Authority {
            policies: vec![policy("partners", &["*@partner.example"]), policy("everyone", &[])],
            filters: Vec::new(),
            pools: Pools::new(vec![pool]).unwrap(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let wanted = Wanted { ipv4: true, ..Wanted::default() };
        let login = Login { key: LeaseKey(1), tunnel: Tunnel::Ikev2, client: Ipv4Addr::LOCALHOST.into(), wanted };
        let who = |confirmed| Authenticated { user: "anonymous", confirmed, method: Method::Eap, accept: None };
        let denied = authority.authorize(&login, &who(false), &|_| false, jiff::Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(denied.stage, Stage::Policy);
        assert!(denied.cause.contains("User-Name"), "{}", denied.cause);
        let granted = authority.authorize(&login, &who(true), &|_| false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((granted.policy.as_str(), granted.ipv4), ("everyone", Some(Ipv4Addr::new(10, 0, 0, 1))));
        // A policy that another condition rules out does not matter.
        authority.policies[0].conditions.method = vec![Method::Certificate];
        assert!(authority.authorize(&login, &who(false), &|_| false, jiff::Timestamp::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn only_a_confirmed_name_of_the_same_client_shares_an_address() {
        let pool = policy::pool::PoolConfig {
            name: "users".into(),
            ipv4: vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))],
            ipv6: Vec::new(),
        };
        let settings = policy::network::Settings { pool: Some("users".into()), ..Default::default() };
        let everyone = Policy { name: "everyone".into(), grant: true, conditions: policy::network::Conditions::default(), settings };
        let pools = Pools::new(vec![pool]).unwrap();
        let mut authority = Authority { policies: vec![everyone], filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
        let mut address = |key: u64, confirmed: bool, same: bool| {
            let wanted = Wanted { ipv4: true, ipv4_hint: Some(Ipv4Addr::new(10, 0, 0, 5)), ..Wanted::default() };
            let login = Login { key: LeaseKey(key), tunnel: Tunnel::Ikev2, client: Ipv4Addr::LOCALHOST.into(), wanted };
            let who = Authenticated { user: "ann", confirmed, method: Method::Eap, accept: None };
            let same_client = |holder: LeaseKey| same && holder == LeaseKey(1);
            authority.authorize(&login, &who, &same_client, jiff::Timestamp::UNIX_EPOCH).unwrap().ipv4.unwrap().octets()[3]
        };
        assert_eq!(address(1, true, true), 5);
        assert_ne!(address(2, false, true), 5);
        assert_ne!(address(3, true, false), 5);
        assert_eq!(address(4, true, true), 5);
    }

    #[test]
    fn the_shorter_timeout_wins() {
        let (a, b) = (Duration::from_secs(10), Duration::from_secs(20));
        assert_eq!(shorter(Some(a), Some(b)), Some(a));
        assert_eq!(shorter(None, Some(b)), Some(b));
        assert_eq!(shorter(None, None), None);
    }
}
