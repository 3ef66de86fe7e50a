//! Which certificates of the gateway policies name for a client that nobody has authenticated.
use crate::condition::Match;
use crate::facts::Facts;
use crate::network::Policy;

/// A certificate, and the first policy that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    pub certificate: &'a str,
    pub policy: &'a str,
}

/// Whether a policy may be the one for whom these facts, known before the login, are all that is known.
pub fn may_match(policy: &Policy, facts: &Facts<'_>) -> bool {
    !policy.disabled && policy.conditions.evaluate(facts, &mut ()) != Match::No
}

/// Whether a policy is for somebody of whom only what is known before the login is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    No,
    /// The login will tell.
    Perhaps,
    Yes,
}

/// How sure it is that the conditions of a policy hold, whatever it does then.
pub fn certainty(policy: &Policy, facts: &Facts<'_>) -> Certainty {
    match policy.conditions.evaluate(facts, &mut ()) {
        Match::No => Certainty::No,
        Match::Unproved(_) => Certainty::Perhaps,
        Match::Yes => Certainty::Yes,
    }
}

/// The certificates of which a client is to be shown one, each once: those that policies name which may let it in, in the order of the policies.
/// None: no policy wants a particular one.
///
/// `facts`: what is known before the login ([`Facts::authenticated`] is false). `suits`: whether a certificate of this name is one that the client
/// can be shown; a policy with another one cannot be for this client.
///
/// A condition on what is not known does not rule a policy out; it may be the one, and so may those after it. A policy of which every condition is
/// known to hold ends the search, for no later one can decide. Policies that deny want no certificate to be shown.
pub fn shown<'a>(policies: &'a [Policy], facts: &Facts<'_>, suits: &dyn Fn(&str) -> bool) -> Vec<Named<'a>> {
    let mut named: Vec<Named<'a>> = Vec::new();
    for policy in policies.iter().filter(|policy| !policy.disabled) {
        let certificate = policy.certificate.as_deref();
        if certificate.is_some_and(|certificate| !suits(certificate)) {
            continue;
        }
        let certain = match policy.conditions.evaluate(facts, &mut ()) {
            Match::No => continue,
            Match::Yes => true,
            Match::Unproved(_) => false,
        };
        if let Some(certificate) = certificate.filter(|_| policy.grant)
            && !named.iter().any(|named| named.certificate == certificate)
        {
            named.push(Named { certificate, policy: &policy.name });
        }
        // One that denies those who are shown a certificate is certain only when it is known which they are shown.
        if certain && (policy.grant || certificate.is_none()) {
            break;
        }
    }
    named
}
