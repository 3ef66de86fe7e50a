//! Ordered network policies, as NPS has them: the first whose conditions all match decides, by its permission and its constraints; none means no.
pub use crate::address::AddressRange;
pub use crate::condition::{Attribute, Conditions, Unproved};
pub use crate::constraint::{AllowedMethod, Constraints};
pub use crate::facts::{Alone, Certificate, Facts, Method, Tunnel, Usage};
pub use crate::hours::{LocalTime, TimeWindow};
pub use crate::shown::{Certainty, Named, certainty, may_match, shown};

use crate::condition::{Match, quote};
use crate::filter::Filter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub name: String,
    /// It is passed over.
    pub disabled: bool,
    pub grant: bool,
    /// What the configuration calls a certificate of the gateway: the policy is for those alone who were shown this one, and whom it may let in are
    /// shown it ([`shown`]).
    pub certificate: Option<String>,
    pub conditions: Conditions,
    pub constraints: Constraints,
    pub settings: Settings,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub pool: Option<String>,
    /// Addresses for whomever this policy lets in; what RADIUS says goes before.
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub dns: Vec<IpAddr>,
    /// WINS servers.
    pub nbns: Vec<Ipv4Addr>,
    /// Connection-specific domain name, such as `corp.example.com`.
    pub dns_suffix: Option<String>,
    /// Domains whose names the client shall look up with `dns` alone, all others elsewhere.
    pub dns_domains: Vec<String>,
    /// What a client that asks with DHCPINFORM shall send into the tunnel; empty: what its own profile says. [`AddressRange::prefixes`] gives them
    /// as routes.
    pub routes: Vec<AddressRange>,
    pub session_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// Further Class attributes for the accounting records of the session.
    pub accounting_class: Vec<String>,
    /// What the client may reach; empty: everything.
    pub selectors: Vec<AddressRange>,
    /// Packets pass all of them.
    pub filters: Vec<Arc<Filter>>,
    /// Bits a second from the client, and to it.
    pub rate_limit_in: Option<u64>,
    pub rate_limit_out: Option<u64>,
    /// How long a session that was silent may exceed its rates.
    pub rate_limit_burst: Option<Duration>,
    /// The policy's own constraint, for ciphers that are agreed on after the login. [`decide`] sets it.
    pub cipher_bits: Option<u16>,
    /// Who is asked about later logins under the name of this one, and for how long that holds.
    pub later: Option<Later>,
}

/// A RADIUS server group for later logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    pub group: String,
    /// From the login on that the policy lets in.
    pub time: Duration,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The deciding policy; `None`: default deny.
    pub policy: Option<String>,
    pub granted: bool,
    pub reason: Reason,
    /// The constraint that failed, or why its conditions cannot be judged; in words.
    pub refusal: Option<String>,
    /// What the deciding policy asks for and nobody knows.
    pub unproved: Option<Unproved>,
    /// Of the deciding policy; empty unless granted.
    pub settings: Settings,
    /// Minutes from the beginning of this one until the hours end in which the policy allows sessions; `None`: they do not.
    pub open_for: Option<u32>,
    /// Earlier policies, each with its first failing condition.
    pub passed_over: Vec<PassedOver>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    pub policy: String,
    /// `user wanted "*@example.test", got "bob"`
    pub reason: String,
}

/// Why somebody comes in or not, as NPS numbers it in its events 6272 and 6273.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Granted,
    /// No network policy matches.
    NoPolicy,
    /// No connection request policy matches.
    NoRequestPolicy,
    /// The policy denies.
    Denied,
    /// Constraint: how the client proved itself.
    Method,
    /// Constraint: day and time.
    Hours,
    /// Constraint: the address dialled.
    CalledStation,
    /// Constraint: NAS-Port-Type.
    PortType,
    /// A constraint that NPS does not have: sessions at the same time, strength of the cipher.
    Restriction,
}

impl Reason {
    /// NPS's reason code.
    pub fn code(self) -> u16 {
        match self {
            Self::Granted => 0,
            Self::NoPolicy => 48,
            Self::NoRequestPolicy => 49,
            Self::Denied => 65,
            Self::Method => 66,
            Self::Hours => 68,
            Self::CalledStation => 69,
            Self::PortType => 70,
            Self::Restriction => 71,
        }
    }
}

/// The first policy whose conditions all match decides: by its permission, then by its constraints, of which one that fails is final. Where no
/// policy matches, the answer is no; so it is where one would but for a condition on what nobody here knows for sure ([`Unproved`]), which can
/// neither let in nor be passed over.
pub fn decide(policies: &[Policy], facts: &Facts<'_>, usage: &dyn Usage) -> Decision {
    let (mut passed_over, mut why) = (Vec::new(), String::new());
    for policy in policies {
        why.clear();
        match policy.matched(facts, &mut why) {
            Match::Yes => return decided(policy, facts, usage, passed_over),
            Match::Unproved(what) => return unproved(policy, what, passed_over),
            Match::No => passed_over.push(PassedOver { policy: policy.name.clone(), reason: why.clone() }),
        }
    }
    Decision { passed_over, ..refused(None, Reason::NoPolicy) }
}

impl Policy {
    fn matched(&self, facts: &Facts<'_>, why: &mut String) -> Match {
        if self.disabled {
            why.push_str("disabled");
            return Match::No;
        }
        match &self.certificate {
            Some(wanted) if facts.shown != Some(wanted) => {
                tell_certificate(why, wanted, facts.shown);
                Match::No
            }
            _ => self.conditions.evaluate(facts, why),
        }
    }

    /// What it asks, one entry for each.
    pub fn words(&self) -> Vec<String> {
        self.certificate.iter().map(|name| format!("certificate {name}")).chain(self.conditions.words()).collect()
    }
}

fn tell_certificate(why: &mut String, wanted: &str, shown: Option<&str>) {
    why.push_str("certificate wanted ");
    quote(why, wanted);
    why.push_str(", but the client was shown ");
    match shown {
        Some(shown) => quote(why, shown),
        None => why.push_str("none"),
    }
}

fn decided(policy: &Policy, facts: &Facts<'_>, usage: &dyn Usage, passed_over: Vec<PassedOver>) -> Decision {
    if !policy.grant {
        return Decision { passed_over, ..refused(Some(policy), Reason::Denied) };
    }
    if let Some(broken) = policy.constraints.broken(&policy.name, facts, usage) {
        return Decision { refusal: Some(broken.text), passed_over, ..refused(Some(policy), broken.reason) };
    }
    Decision {
        policy: Some(policy.name.clone()),
        granted: true,
        reason: Reason::Granted,
        refusal: None,
        unproved: None,
        settings: Settings { cipher_bits: policy.constraints.cipher_bits, ..policy.settings.clone() },
        open_for: policy.constraints.open_for(facts),
        passed_over,
    }
}

fn unproved(policy: &Policy, what: Unproved, passed_over: Vec<PassedOver>) -> Decision {
    Decision { refusal: Some(what.to_string()), unproved: Some(what), passed_over, ..refused(Some(policy), Reason::NoPolicy) }
}

fn refused(policy: Option<&Policy>, reason: Reason) -> Decision {
    Decision {
        policy: policy.map(|policy| policy.name.clone()),
        granted: false,
        reason,
        refusal: None,
        unproved: None,
        settings: Settings::default(),
        open_for: None,
        passed_over: Vec::new(),
    }
}
