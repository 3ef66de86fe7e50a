//! Whether policies alone decide which certificate the clients of a listener see.
use super::may_be_for;
use policy::network::{AddressRange, Method, Policy, Tunnel};

/// Every policy that lets somebody in at this listener names a certificate, and no client can be for two that name different ones, whatever its login
/// will tell. Then whoever comes in by one of them was shown what it names, if that suits at all. Policies that deny let nobody in.
pub(crate) fn tell_apart(policies: &[Policy], listener: &str, tunnel: Tunnel) -> bool {
    let here = policies.iter().filter(|policy| policy.grant && !policy.disabled && may_be_for(policy, listener, tunnel));
    let here: Vec<_> = here.collect();
    let pairs = || here.iter().enumerate().flat_map(|(at, first)| here[at + 1..].iter().map(move |second| (*first, *second)));
    !here.is_empty()
        && here.iter().all(|policy| policy.certificate.is_some())
        && pairs().all(|(first, second)| first.certificate == second.certificate || are_disjoint(first, second, tunnel))
}

/// No client can be for both, by conditions that are known to hold or not before the gateway shows its certificate.
fn are_disjoint(first: &Policy, second: &Policy, tunnel: Tunnel) -> bool {
    let (one, other) = (&first.conditions, &second.conditions);
    apart(&one.server_name, &other.server_name, |one, other| is_literal(one) && is_literal(other) && !policy::glob::matches(one, other))
        || apart(&one.client, &other.client, are_far)
        || apart(&one.gateway, &other.gateway, are_far)
        || (tunnel == Tunnel::Ikev2 && prove_themselves_otherwise(&one.method, &other.method))
}

/// Both lists say something, and no entry of one meets any of the other.
fn apart<T>(one: &[T], other: &[T], differ: impl Fn(&T, &T) -> bool) -> bool {
    !one.is_empty() && !other.is_empty() && one.iter().all(|entry| other.iter().all(|with| differ(entry, with)))
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?'])
}

fn are_far(one: &AddressRange, other: &AddressRange) -> bool {
    !one.contains(other.start) && !other.contains(one.start)
}

/// With a certificate and nothing else here, without one there: IKEv2 tells before the gateway answers.
fn prove_themselves_otherwise(one: &[Method], other: &[Method]) -> bool {
    let by_certificate = |methods: &[Method]| !methods.is_empty() && methods.iter().all(|method| *method == Method::Certificate);
    let without = |methods: &[Method]| !methods.is_empty() && !methods.contains(&Method::Certificate);
    by_certificate(one) && without(other) || without(one) && by_certificate(other)
}
