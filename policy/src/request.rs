//! Ordered connection request policies: who is asked about a login, before anybody has been asked. The first whose conditions all match decides.
use crate::condition::{fails, fails_pattern};
use crate::network::{AddressRange, LocalTime, PassedOver, TimeWindow, Tunnel};
use crate::rewrite::Rewrite;
use std::net::IpAddr;

/// What is known of a login before its credentials are checked.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// As the client wrote it.
    pub user: &'a str,
    pub tunnel: Tunnel,
    /// Name of the listener that the client dialled.
    pub listener: &'a str,
    pub client: IpAddr,
    pub time: LocalTime,
}

/// Every non-empty list must match; within a list any entry may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Patterns over [`realm`], with `*` and `?`, compared without regard to case. A name without a realm matches none.
    pub realm: Vec<String>,
    /// Patterns over the whole name.
    pub user: Vec<String>,
    pub tunnel: Vec<Tunnel>,
    /// Patterns over the listener's name.
    pub listener: Vec<String>,
    pub client: Vec<AddressRange>,
    pub time: Vec<TimeWindow>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Forward {
    /// All RADIUS servers, in the order configured.
    #[default]
    AllServers,
    /// A group of RADIUS servers.
    Group(String),
    /// The gateway itself.
    Local,
}

/// `all RADIUS servers`, `server group "corp"`, `the local provider`
impl std::fmt::Display for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AllServers => f.write_str("all RADIUS servers"),
            Self::Group(name) => write!(f, "server group {name:?}"),
            Self::Local => f.write_str("the local provider"),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestPolicy {
    pub name: String,
    pub conditions: Conditions,
    pub forward: Forward,
    /// The name goes on without its realm.
    pub strip_realm: bool,
    /// Tried in order before `strip_realm`; the first that fits changes the name.
    pub rewrite: Vec<Rewrite>,
    /// Where accounting goes; `None`: where the login went.
    pub accounting: Option<String>,
}

/// Whom to ask, under which name, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The deciding policy; `None`: there are no policies at all.
    pub policy: Option<String>,
    pub forward: Forward,
    pub user: String,
    /// Group for accounting; `None`: all servers.
    pub accounting: Option<String>,
    /// Earlier policies, each with its first failing condition.
    pub passed_over: Vec<PassedOver>,
}

/// The first policy whose conditions all match decides. Without any policy all servers are asked; where there are policies and none matches, nobody
/// is: the error says why each one does not (NPS: reason 49).
pub fn decide(policies: &[RequestPolicy], facts: &Facts<'_>) -> Result<Decision, Vec<PassedOver>> {
    if policies.is_empty() {
        return Ok(Decision { user: facts.user.to_owned(), ..Decision::default() });
    }
    let mut passed_over = Vec::new();
    for policy in policies {
        match first_failing(&policy.conditions, facts) {
            Some(reason) => passed_over.push(PassedOver { policy: policy.name.clone(), reason }),
            None => return Ok(decision(policy, facts.user, passed_over)),
        }
    }
    Err(passed_over)
}

fn decision(policy: &RequestPolicy, user: &str, passed_over: Vec<PassedOver>) -> Decision {
    let of_forward = match &policy.forward {
        Forward::Group(group) => Some(group.clone()),
        Forward::AllServers | Forward::Local => None,
    };
    let rewritten = policy.rewrite.iter().find_map(|rewrite| rewrite.apply(user)).unwrap_or_else(|| user.to_owned());
    Decision {
        policy: Some(policy.name.clone()),
        forward: policy.forward.clone(),
        user: if policy.strip_realm { without_realm(&rewritten).to_owned() } else { rewritten },
        accounting: policy.accounting.clone().or(of_forward),
        passed_over,
    }
}

fn first_failing(conditions: &Conditions, facts: &Facts<'_>) -> Option<String> {
    let realm: Vec<&str> = realm(facts.user).into_iter().collect();
    let mut text = String::new();
    let why = &mut text;
    let failing = fails_pattern(why, "realm", &conditions.realm, &realm)
        || fails_pattern(why, "user", &conditions.user, &[facts.user])
        || fails(why, "tunnel", &conditions.tunnel, |tunnel| *tunnel == facts.tunnel, || facts.tunnel)
        || fails_pattern(why, "listener", &conditions.listener, &[facts.listener])
        || fails(why, "client", &conditions.client, |range| range.contains(facts.client), || facts.client.to_canonical())
        || fails(why, "time", &conditions.time, |window| window.contains(facts.time), || facts.time);
    failing.then_some(text)
}

/// What stands behind the last `@` (`alice@example.com`), else before the first `\` (`EXAMPLE\alice`). `None`: a bare name.
pub fn realm(user: &str) -> Option<&str> {
    match (user.rsplit_once('@'), user.split_once('\\')) {
        (Some((_, realm)), _) | (None, Some((realm, _))) => Some(realm),
        (None, None) => None,
    }
}

/// The name without its [`realm`]. A name that would be empty stays as it is.
pub fn without_realm(user: &str) -> &str {
    let bare = match (user.rsplit_once('@'), user.split_once('\\')) {
        (Some((name, _)), _) | (None, Some((_, name))) => name,
        (None, None) => user,
    };
    if bare.is_empty() { user } else { bare }
}
