//! From "who are you" to "this is yours": RADIUS verdict, network policy, lease. The same for every tunnel type.
pub use crate::facts::{Known, Place};

use crate::facts::{self, local_time, on_the_wall};
use crate::framed::{self, Reserved};
use crate::outcome::{Fault, Stage};
use crate::restrictions::{self, FromReply};
use policy::filter::{Filter, Restrictions};
use policy::network::{AddressRange, Certificate, Decision, Method, Policy, Reason, Settings, Unproved, Usage, decide};
use policy::pool::{Lease, LeaseError, LeaseKey, Network, PoolNames, Pools, Wanted};
use radius_client::Accept;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// What is known of a login besides its credentials.
#[derive(Debug, Clone)]
pub struct Login {
    pub key: LeaseKey,
    pub place: Place,
    pub wanted: Wanted,
    /// What no network behind the client may hold.
    pub reserved: Vec<Reserved>,
}

/// Someone whose credentials were found good.
#[derive(Debug)]
pub struct Authenticated<'a> {
    pub user: &'a str,
    /// False: the name is the outer identity of a tunnelled EAP method, which nobody has checked.
    pub confirmed: bool,
    pub method: Method,
    /// The EAP method by its name.
    pub eap_type: Option<String>,
    pub certificate: Option<Certificate>,
    /// Name of the computer that its certificate is made out to.
    pub machine: Option<String>,
    /// What the RADIUS server said; `None` where none was asked.
    pub accept: Option<&'a Accept>,
    /// The RADIUS server that said so, or the local provider, and the server group that was asked.
    pub server: Option<&'a str>,
    pub server_group: Option<&'a str>,
}

impl Authenticated<'_> {
    /// It may have shown a certificate that was not seen here.
    pub fn hides_a_certificate(&self) -> bool {
        facts::hides_a_certificate(self.method, self.eap_type.as_deref(), self.certificate.as_ref())
    }

    fn known(&self) -> Result<Known, Denied> {
        Ok(Known {
            eap_type: self.eap_type.clone(),
            machine: self.machine.clone().or_else(|| self.confirmed.then(|| facts::machine(self.user))?),
            certificate: self.certificate.clone(),
            reply: self.accept.map(FromReply::read).transpose()?.unwrap_or_default(),
            server: self.server.map(str::to_owned),
            server_group: self.server_group.map(str::to_owned),
            ..Known::by(self.method, self.confirmed).with(self.accept)
        })
    }
}

impl Authenticated<'_> {
    /// The options by which `evergate policy test` puts the same question, besides user and tunnel.
    pub fn question(&self, place: &Place) -> Vec<(&'static str, String)> {
        let known = Known::by(self.method, self.confirmed).with(self.accept);
        let mut options = vec![("--method", self.method.to_string()), ("--listener", place.listener.clone())];
        options.extend([("--client", place.client.to_string()), ("--gateway", place.gateway.to_string())]);
        let machine = self.machine.clone().or_else(|| self.confirmed.then(|| facts::machine(self.user))?);
        let named = [("--eap-type", &self.eap_type), ("--machine", &machine)];
        options.extend(named.into_iter().filter_map(|(option, value)| Some((option, value.clone()?))));
        let asked = [("--radius-server", self.server), ("--radius-group", self.server_group)];
        options.extend(asked.into_iter().filter_map(|(option, value)| Some((option, value?.to_owned()))));
        options.extend(place.cipher_bits.map(|bits| ("--cipher-bits", bits.to_string())));
        options.extend(known.groups.into_iter().map(|group| ("--group", group)));
        options.extend(known.attributes.into_iter().map(|(name, value)| ("--attribute", format!("{name}={value}"))));
        if let Some(certificate) = &self.certificate {
            options.extend([("--certificate-subject", certificate.subject.clone()), ("--certificate-issuer", certificate.issuer.clone())]);
            options.extend(certificate.san.iter().map(|name| ("--certificate-san", name.clone())));
            options.extend(certificate.eku.iter().map(|purpose| ("--certificate-eku", purpose.clone())));
            options.extend(certificate.template.iter().map(|template| ("--certificate-template", template.clone())));
        }
        options
    }
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
    /// Whose it is, where an address that only one session can have is in use.
    pub address_holder: Option<LeaseKey>,
    /// What is behind the client: routed to it, and allowed as a source of its packets. Disjoint.
    pub networks: Vec<Network>,
    /// Those of `networks` that the client is told.
    pub delegated: Vec<(Ipv6Addr, u8)>,
    pub dns: Vec<IpAddr>,
    /// WINS servers.
    pub nbns: Vec<Ipv4Addr>,
    pub dns_suffix: Option<String>,
    /// What the client shall send into the tunnel; empty: what its own profile says.
    pub routes: Vec<AddressRange>,
    pub selectors: Vec<AddressRange>,
    pub session_timeout: Option<Duration>,
    /// What RADIUS alone says of the two timeouts, counted from the beginning of the session.
    pub of_radius: Limits,
    /// The client shall authenticate anew when it is over.
    pub renew: bool,
    pub idle_timeout: Option<Duration>,
    /// When the hours end in which the policy allows sessions.
    pub hours_end: Option<jiff::Timestamp>,
    /// For accounting: what RADIUS sent, then what the policy adds.
    pub class: Vec<Vec<u8>>,
    /// What the policy set, before RADIUS had its say.
    pub settings: Settings,
    /// Acct-Interim-Interval.
    pub interim_interval: Option<Duration>,
    /// Filters and rate limits.
    pub restrictions: Restrictions,
    /// What the policies went by.
    pub known: Known,
    /// [`radius_client::Framed::received`].
    pub framed: Vec<(u8, Vec<u8>)>,
    /// The decision in words, a line each.
    pub trace: Vec<String>,
}

/// How long a session may last, and be idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
}

impl Limits {
    /// The shorter of each.
    pub fn within(self, other: Self) -> Self {
        Self {
            session_timeout: shorter(self.session_timeout, other.session_timeout),
            idle_timeout: shorter(self.idle_timeout, other.idle_timeout),
        }
    }

    pub fn of_policy(settings: &Settings) -> Self {
        Self { session_timeout: settings.session_timeout, idle_timeout: settings.idle_timeout }
    }

    fn of_radius(accept: Option<&Accept>) -> Self {
        accept.map(|accept| Self { session_timeout: accept.session_timeout, idle_timeout: accept.idle_timeout }).unwrap_or_default()
    }
}

/// The Class attributes of accounting: those of RADIUS, then those that the policy adds.
pub fn accounting_class(known: &Known, settings: &Settings) -> Vec<Vec<u8>> {
    known.class.iter().cloned().chain(settings.accounting_class.iter().map(|class| class.clone().into_bytes())).collect()
}

/// The policy that grants, and what it sets.
#[derive(Debug, Clone)]
pub struct Decided {
    pub policy: String,
    pub settings: Settings,
    pub restrictions: Restrictions,
    /// When the hours end in which it allows sessions.
    pub hours_end: Option<jiff::Timestamp>,
    /// The decision in words, a line each.
    pub trace: Vec<String>,
}

/// A refusal with its stage, for wire and record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub stage: Stage,
    pub fault: Fault,
    pub cause: String,
    /// Where policies refuse.
    pub reason: Option<Reason>,
    /// The network policy that refuses.
    pub policy: Option<String>,
    /// The number behind `E=`, where whoever knows the account says what is wrong with it (RFC 2759 section 6).
    pub ms_chap_error: Option<u16>,
    pub trace: Vec<String>,
}

impl Denied {
    pub fn new(stage: Stage, cause: String) -> Self {
        Self { stage, fault: Fault::Refused, cause, reason: None, policy: None, ms_chap_error: None, trace: Vec::new() }
    }

    /// RADIUS lets the user in, but on terms that cannot be kept.
    pub fn unusable(cause: String) -> Self {
        Self { fault: Fault::Misconfigured, ..Self::new(Stage::Radius, cause) }
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
    /// `same_client`: whether a lease is held by an older session of this very client. `usage`: who else is in.
    pub fn authorize(
        &mut self,
        login: &Login,
        who: &Authenticated<'_>,
        same_client: &dyn Fn(LeaseKey) -> bool,
        usage: &dyn Usage,
        now: jiff::Timestamp,
    ) -> Result<Granted, Denied> {
        let known = who.known()?;
        let Decided { policy, settings, restrictions, hours_end, mut trace } = self.judge(&login.place, who.user, &known, usage, now)?;
        let (Leased { lease, networks }, address_failure, address_holder) = match self.lease(login, who, same_client, &settings) {
            Ok(leased) => (leased, None, None),
            Err(LeaseFailure::Unavailable(failure, holder)) => (Leased::default(), Some(format!("policy {policy:?}: {failure}")), holder),
            Err(LeaseFailure::Unusable(cause)) => return Err(Denied { trace, ..Denied::unusable(cause) }),
        };
        if !networks.is_empty() {
            trace.push(format!("behind the client: {}", networks.iter().map(Network::to_string).collect::<Vec<_>>().join(", ")));
        }
        let accept = who.accept;
        let of_radius = Limits::of_radius(accept);
        let Limits { session_timeout, idle_timeout } = Limits::of_policy(&settings).within(of_radius);
        Ok(Granted {
            user: accept.and_then(|accept| accept.user_name.clone()).unwrap_or_else(|| who.user.to_owned()),
            ipv4: lease.ipv4,
            ipv6: lease.ipv6,
            address_failure,
            address_holder,
            delegated: accept.map(|accept| framed::delegated(accept, &networks)).unwrap_or_default(),
            networks,
            dns: dns(&settings.dns, accept),
            nbns: accept.map(|accept| &accept.nbns).filter(|nbns| !nbns.is_empty()).unwrap_or(&settings.nbns).clone(),
            dns_suffix: settings.dns_suffix.clone(),
            routes: settings.routes.clone(),
            selectors: settings.selectors.clone(),
            session_timeout,
            of_radius,
            renew: accept.is_some_and(|accept| accept.renew),
            idle_timeout,
            interim_interval: accept.and_then(|accept| accept.acct_interim_interval),
            hours_end,
            class: accounting_class(&known, &settings),
            settings,
            restrictions,
            framed: accept.map(|accept| accept.framed.received.clone()).unwrap_or_default(),
            known,
            policy,
            trace,
        })
    }

    /// What the policies say to someone authenticated.
    pub fn judge(&self, place: &Place, user: &str, known: &Known, usage: &dyn Usage, now: jiff::Timestamp) -> Result<Decided, Denied> {
        let facts = known.facts(place, user, local_time(now, &self.zone));
        let decision = decide(&self.policies, &facts, usage);
        let mut trace = trace_of(&decision);
        let Some(policy) = decision.policy.clone().filter(|_| decision.granted) else {
            let denied = Denied::new(Stage::Policy, refusal(&decision, user));
            return Err(Denied { reason: Some(decision.reason), policy: decision.policy, trace, ..denied });
        };
        let hours_end = decision.open_for.and_then(|minutes| on_the_wall(now, minutes, &self.zone));
        let settings = decision.settings;
        match restrictions::of_session(&self.filters, &self.policies, &settings, &known.filter_id, &known.reply) {
            Ok(restrictions) => {
                trace.extend(Some(restrictions::words(&restrictions)).filter(|words| !words.is_empty()));
                Ok(Decided { policy, settings, restrictions, hours_end, trace })
            }
            Err(denied) => Err(Denied { trace, ..denied }),
        }
    }

    /// Gives the addresses of a login back.
    pub fn release(&mut self, key: &LeaseKey) {
        self.pools.release(key);
    }

    /// Addresses, and the networks behind the client: all of it or nothing.
    fn lease(
        &mut self,
        login: &Login,
        who: &Authenticated<'_>,
        same_client: &dyn Fn(LeaseKey) -> bool,
        settings: &Settings,
    ) -> Result<Leased, LeaseFailure> {
        let names = pool_names(who.accept, settings.pool.as_deref()).ok_or_else(|| {
            LeaseFailure::Unavailable("neither the policy (setting pool) nor RADIUS (Framed-Pool) names an address pool".into(), None)
        })?;
        let mut wanted = Wanted { ipv4_fixed: settings.ipv4, ipv6_fixed: settings.ipv6, ..login.wanted };
        if let Some(accept) = who.accept {
            let cause = framed::unusable_in_its_network(accept).filter(|_| wanted.ipv4);
            cause.map_or(Ok(()), |cause| Err(LeaseFailure::Unusable(cause)))?;
            framed::apply(accept, &mut wanted);
        }
        // A name that nobody has checked is no proof of being the same client.
        let is_older = |key: &LeaseKey| who.confirmed && same_client(*key);
        wanted.succeeds = asked(wanted).filter_map(|address| self.pools.holder(address)).find(is_older);
        let lease = self.pools.lease(names, login.key, who.user, wanted).map_err(|error| {
            let is_held = who.confirmed && matches!(error, LeaseError::InUse { .. });
            let holder = asked(wanted).find_map(|address| self.pools.holder(address)).filter(|_| is_held);
            match self.explained(error, who.accept) {
                LeaseFailure::Unavailable(cause, _) => LeaseFailure::Unavailable(cause, holder),
                unusable => unusable,
            }
        })?;
        let networks = self.claim(login, who, lease, wanted.succeeds, &is_older);
        if networks.is_err() {
            self.pools.release(&login.key);
        }
        Ok(Leased { lease, networks: networks? })
    }

    fn claim(
        &mut self,
        login: &Login,
        who: &Authenticated<'_>,
        lease: Lease,
        succeeds: Option<LeaseKey>,
        is_older: &dyn Fn(&LeaseKey) -> bool,
    ) -> Result<Vec<Network>, LeaseFailure> {
        let Some(accept) = who.accept else { return Ok(Vec::new()) };
        let own = |reserved: &&Reserved| addresses_of(lease).any(|address| address == reserved.address);
        if let Some(Reserved { address, what }) = login.reserved.iter().find(own) {
            return Err(LeaseFailure::Unusable(format!("the client would get {address}, {what}")));
        }
        let networks = framed::networks(accept, lease, &login.reserved).map_err(LeaseFailure::Unusable)?;
        let older = networks.iter().find_map(|network| self.pools.network_holder(*network)).filter(is_older);
        self.pools.claim(login.key, who.user, &networks, succeeds.or(older)).map_err(|error| self.explained(error, Some(accept)))?;
        Ok(networks)
    }

    /// Nobody but RADIUS names a pool that there is not, or an address that cannot be had.
    fn explained(&self, error: LeaseError, accept: Option<&Accept>) -> LeaseFailure {
        match error {
            LeaseError::NoPool(name) => {
                let attribute = match accept {
                    Some(accept) if accept.framed_pool.as_ref() == Some(&name) => "Framed-Pool",
                    _ => "Framed-IPv6-Pool",
                };
                let known: Vec<_> = self.pools.names().map(|name| format!("{name:?}")).collect();
                LeaseFailure::Unusable(format!("{attribute} {name:?} names no pool of this gateway: its pools are {}", known.join(", ")))
            }
            LeaseError::NotUnicast { .. } | LeaseError::NetworkInPool { .. } => LeaseFailure::Unusable(error.to_string()),
            error => LeaseFailure::Unavailable(error.to_string(), None),
        }
    }
}

/// What a login holds.
#[derive(Debug, Default)]
struct Leased {
    lease: Lease,
    networks: Vec<Network>,
}

/// Why a login holds nothing.
#[derive(Debug)]
enum LeaseFailure {
    /// The tunnel protocol has its own words for it. Who has the address that was asked for, where somebody has.
    Unavailable(String, Option<LeaseKey>),
    /// What RADIUS says cannot be done.
    Unusable(String),
}

/// RADIUS comes before the policy, and a pool for both families is better than none.
fn pool_names<'a>(accept: Option<&'a Accept>, policy: Option<&'a str>) -> Option<PoolNames<'a>> {
    let framed = accept.and_then(|accept| accept.framed_pool.as_deref());
    let framed_ipv6 = accept.and_then(|accept| accept.framed.ipv6_pool.as_deref());
    Some(PoolNames { ipv4: framed.or(policy).or(framed_ipv6)?, ipv6: framed_ipv6.or(framed).or(policy)? })
}

/// The addresses that a login asks for by number.
fn asked(wanted: Wanted) -> impl Iterator<Item = IpAddr> {
    let ipv4 = wanted.ipv4_fixed.or(wanted.ipv4_hint).filter(|_| wanted.ipv4).map(IpAddr::V4);
    let ipv6 = wanted.ipv6_fixed.or(wanted.ipv6_hint).filter(|_| wanted.ipv6).map(IpAddr::V6);
    ipv4.into_iter().chain(ipv6)
}

fn addresses_of(lease: Lease) -> impl Iterator<Item = IpAddr> {
    lease.ipv4.map(IpAddr::V4).into_iter().chain(lease.ipv6.map(IpAddr::V6))
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

fn refusal(decision: &Decision, user: &str) -> String {
    let number = decision.reason.code();
    match (&decision.policy, &decision.refusal) {
        (Some(policy), Some(refusal)) if decision.unproved.is_some() => {
            let remedy = match decision.unproved {
                Some(Unproved::Certificate) => {
                    "TLS 1.3, a resumed session and tunnelled EAP methods hide it from a gateway between client and RADIUS server. Limit the policy to logins where it is seen (eap_type, method), put those who show none into an earlier one, or use conditions on what RADIUS says of the user".to_owned()
                }
                _ => format!(
                    "{user:?} is only the outer identity of a tunnelled EAP method. Let the RADIUS server return User-Name in its Access-Accept (FreeRADIUS: use_tunneled_reply), or use conditions on what it says of the user"
                ),
            };
            format!("policy {policy:?} cannot be judged, for {refusal}: {remedy} (reason {number})")
        }
        (Some(policy), Some(refusal)) => {
            format!("network policy {policy:?} matches, but its constraint {refusal}, and no further policy is tried (reason {number})")
        }
        (Some(policy), None) => format!("network policy {policy:?} denies (its conditions match, grant = false; reason {number})"),
        (None, _) if decision.passed_over.is_empty() => {
            format!("no network policy is configured; without one everybody is denied (reason {number})")
        }
        (None, _) => {
            let count = decision.passed_over.len();
            format!("none of {count} network policies matches (default deny, reason {number}): {}", passed_over(decision))
        }
    }
}

fn passed_over(decision: &Decision) -> String {
    let reasons: Vec<_> = decision.passed_over.iter().map(|passed| format!("{:?}: {}", passed.policy, passed.reason)).collect();
    reasons.join("; ")
}

/// A decision in words: a line for each policy that was tried.
pub fn trace_of(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<_> =
        decision.passed_over.iter().map(|passed| format!("policy {:?} does not match: {}", passed.policy, passed.reason)).collect();
    let number = decision.reason.code();
    lines.push(match (&decision.policy, &decision.refusal) {
        (Some(policy), None) if decision.granted => format!("policy {policy:?} decides: grant"),
        (Some(policy), None) => format!("policy {policy:?} decides: deny (reason {number})"),
        (Some(policy), Some(refusal)) => format!("policy {policy:?} decides: deny (reason {number}): {refusal}"),
        (None, _) => format!("no policy matches: deny (reason {number})"),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::network::{Alone, Tunnel};

    fn place() -> Place {
        let local = Ipv4Addr::LOCALHOST.into();
        let (server_name, certificate) = (None, None);
        Place { tunnel: Tunnel::Ikev2, client: local, gateway: local, listener: "main".into(), server_name, certificate, cipher_bits: None }
    }

    fn who(user: &str, confirmed: bool) -> Authenticated<'_> {
        Authenticated {
            user,
            confirmed,
            method: Method::Eap,
            eap_type: None,
            certificate: None,
            machine: None,
            accept: None,
            server: None,
            server_group: None,
        }
    }

    #[test]
    fn an_unconfirmed_name_never_meets_a_condition_on_the_user() {
        let policy = |name: &str, user: &[&str]| Policy {
            name: name.into(),
            grant: true,
            conditions: policy::network::Conditions { user: user.iter().map(ToString::to_string).collect(), ..Default::default() },
            settings: policy::network::Settings { pool: Some("users".into()), ..Default::default() },
            ..Policy::default()
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
        let login = Login { key: LeaseKey(1), place: place(), wanted, reserved: Vec::new() };
        let who = |confirmed| who("anonymous", confirmed);
        let denied = authority.authorize(&login, &who(false), &|_| false, &Alone, jiff::Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(denied.stage, Stage::Policy);
        assert!(denied.cause.contains("User-Name"), "{}", denied.cause);
        let granted = authority.authorize(&login, &who(true), &|_| false, &Alone, jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((granted.policy.as_str(), granted.ipv4), ("everyone", Some(Ipv4Addr::new(10, 0, 0, 1))));
        // A policy that another condition rules out does not matter.
        authority.policies[0].conditions.method = vec![Method::Certificate];
        assert!(authority.authorize(&login, &who(false), &|_| false, &Alone, jiff::Timestamp::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn only_a_confirmed_name_stands_for_a_computer() {
        let machine = |user, confirmed| who(user, confirmed).known().unwrap().machine;
        assert_eq!(machine("host/pc1.example.test", true).as_deref(), Some("pc1.example.test"));
        assert_eq!(machine("host/pc1.example.test", false), None);
        let shown = Authenticated { machine: Some("pc1.example.test".into()), ..who("anonymous", false) };
        assert_eq!(shown.known().unwrap().machine.as_deref(), Some("pc1.example.test"));
    }

    #[test]
    fn a_certificate_that_nobody_here_could_see_passes_no_condition_on_one() {
        let issuer = policy::network::Conditions { certificate_issuer: vec!["*Contractor*".into()], ..Default::default() };
        let not = policy::network::Conditions { not: vec![issuer.clone()], ..Default::default() };
        let policy = |name: &str, grant, conditions| Policy { name: name.into(), grant, conditions, ..Policy::default() };
        let policies = vec![policy("no contractors", false, issuer), policy("everyone", true, Default::default())];
        let others = vec![policy("others", true, not)];
        let judge = |policies: &[Policy], eap_type: &str, certificate: Option<&str>| {
            let pools = Pools::new(Vec::new()).unwrap();
            let authority = Authority { policies: policies.to_vec(), filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
            let certificate = certificate.map(|issuer| Certificate { issuer: issuer.into(), ..Certificate::default() });
            let known = Authenticated { eap_type: Some(eap_type.into()), certificate, ..who("ann", true) }.known().unwrap();
            authority.judge(&place(), "ann", &known, &Alone, jiff::Timestamp::UNIX_EPOCH).map(|decided| decided.policy)
        };
        for policies in [&policies, &others] {
            for hidden in ["EAP-TLS", "PEAP", "TEAP", "EAP type 49"] {
                let denied = judge(policies, hidden, None).unwrap_err();
                assert!(denied.cause.contains("certificate") && denied.cause.contains("eap_type"), "{}", denied.cause);
            }
            // There is none, or it was seen.
            assert!(judge(policies, "EAP-MSCHAPv2", None).is_ok() && judge(policies, "EAP-TLS", Some("CN=Staff CA")).is_ok());
            assert!(judge(policies, "EAP-TLS", Some("CN=Contractor CA")).is_err());
        }
    }

    #[test]
    fn only_a_confirmed_name_of_the_same_client_shares_an_address() {
        let pool = policy::pool::PoolConfig {
            name: "users".into(),
            ipv4: vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))],
            ipv6: Vec::new(),
        };
        let settings = policy::network::Settings { pool: Some("users".into()), ..Default::default() };
        let everyone = Policy { name: "everyone".into(), grant: true, settings, ..Policy::default() };
        let pools = Pools::new(vec![pool]).unwrap();
        let mut authority = Authority { policies: vec![everyone], filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
        let mut address = |key: u64, confirmed: bool, same: bool| {
            let wanted = Wanted { ipv4: true, ipv4_hint: Some(Ipv4Addr::new(10, 0, 0, 5)), ..Wanted::default() };
            let login = Login { key: LeaseKey(key), place: place(), wanted, reserved: Vec::new() };
            let who = who("ann", confirmed);
            let same_client = |holder: LeaseKey| same && holder == LeaseKey(1);
            authority.authorize(&login, &who, &same_client, &Alone, jiff::Timestamp::UNIX_EPOCH).unwrap().ipv4.unwrap().octets()[3]
        };
        assert_eq!(address(1, true, true), 5);
        assert_ne!(address(2, false, true), 5);
        assert_ne!(address(3, true, false), 5);
        assert_eq!(address(4, true, true), 5);
    }

    #[test]
    fn addresses_that_no_host_can_have_are_a_mistake_of_who_names_them() {
        let pool = policy::pool::PoolConfig {
            name: "users".into(),
            ipv4: vec![(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9))],
            ipv6: vec![("fd00::1".parse().unwrap(), "fd00::9".parse().unwrap())],
        };
        let settings = policy::network::Settings { pool: Some("users".into()), ..Default::default() };
        let everyone = Policy { name: "everyone".into(), grant: true, settings, ..Policy::default() };
        let pools = Pools::new(vec![pool]).unwrap();
        let mut authority = Authority { policies: vec![everyone], filters: Vec::new(), pools, zone: jiff::tz::TimeZone::UTC };
        let mut login = |accept: &Accept| {
            let wanted = Wanted { ipv4: true, ipv6: true, ..Wanted::default() };
            let login = Login { key: LeaseKey(1), place: place(), wanted, reserved: Vec::new() };
            authority.authorize(
                &login,
                &Authenticated { accept: Some(accept), ..who("ann", true) },
                &|_| false,
                &Alone,
                jiff::Timestamp::UNIX_EPOCH,
            )
        };
        let ipv4 = |text: &str, netmask: Option<u8>| Accept {
            framed_ip: Some(radius_client::FramedIp::Fixed(text.parse().unwrap())),
            framed: radius_client::Framed { netmask, ..Default::default() },
            ..Accept::default()
        };
        let ipv6 = |text: &str| Accept { framed_ipv6: Some(text.parse().unwrap()), ..Accept::default() };
        for accept in [
            ipv4("0.0.0.0", None),
            ipv4("0.1.2.3", None),
            ipv4("127.0.0.5", None),
            ipv4("169.254.3.4", None),
            ipv4("224.0.0.1", None),
            ipv4("240.0.0.1", None),
            ipv4("10.7.0.255", Some(24)),
            ipv6("::1"),
            ipv6("fe80::5"),
            ipv6("ff02::1"),
            ipv6("::ffff:10.0.0.5"),
        ] {
            let denied = login(&accept).unwrap_err();
            assert_eq!((denied.stage, denied.fault), (Stage::Radius, Fault::Misconfigured), "{accept:?}");
        }
        assert_eq!(login(&ipv4("10.7.0.254", Some(24))).unwrap().ipv4, Some(Ipv4Addr::new(10, 7, 0, 254)));
    }

    #[test]
    fn the_shorter_timeout_wins() {
        let (a, b) = (Duration::from_secs(10), Duration::from_secs(20));
        assert_eq!(shorter(Some(a), Some(b)), Some(a));
        assert_eq!(shorter(None, Some(b)), Some(b));
        assert_eq!(shorter(None, None), None);
    }
}
