//! What clients stumble over in a server certificate.
use crate::{Certificate, Credential, Lint, Purpose, UnixTime, date};
use crypto::sign::KeyKind;
use std::net::IpAddr;

const THIRTY_DAYS: i64 = 30 * 86_400;

/// What Windows, Apple or Android would stumble over in this credential, when dialled as one of `names`.
pub fn lint_server(credential: &Credential, names: &[String], now: UnixTime) -> Vec<Lint> {
    let leaf = credential.leaf();
    let mut lints = Vec::new();
    lints.extend(lint_purpose(leaf));
    lints.extend(names.iter().filter_map(|name| lint_name(leaf, name)));
    lints.extend(leaf.dns_names.iter().filter(|name| name.contains('*')).map(|name| {
        let text = format!("{name} in the subject alternative name is a wildcard, which not every IKEv2 client matches: list each name");
        warning(leaf, &text)
    }));
    lints.extend(lint_validity(leaf, now));
    lints.extend(lint_key(leaf));
    if leaf.is_ca {
        lints.push(warning(leaf, "is an authority's certificate: issue one for the server alone"));
    }
    lints.extend(lint_intermediates(credential, now));
    lints
}

fn lint_purpose(leaf: &Certificate) -> Option<Lint> {
    let has_server_auth = leaf.eku.iter().flatten().any(|oid| oid == Purpose::Server.oid());
    let text = "lacks the extended key usage serverAuth (1.3.6.1.5.5.7.3.1): Windows refuses it with error 13801";
    (!has_server_auth).then(|| fatal(leaf, text))
}

fn lint_name(leaf: &Certificate, name: &str) -> Option<Lint> {
    if leaf.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name)) {
        return None;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        let listed = leaf.ip_addresses.contains(&address) || is_common_name(leaf, name);
        let text =
            format!("Windows looks for the address {name} among the dNSName entries of the subject alternative name: add it there too");
        return Some(Lint { fatal: !listed, text: about(leaf, &text) });
    }
    if leaf.dns_names.iter().any(|dns| wildcard_covers(dns, name)) {
        return None;
    }
    if is_common_name(leaf, name) {
        let text = format!("has {name} as its common name only: Apple and Android look for a dNSName in the subject alternative name");
        return Some(warning(leaf, &text));
    }
    let text = format!(
        "is not made out to {name} but to [{}]: clients that dial {name} refuse it (Windows with error 13801)",
        leaf.dns_names.join(", ")
    );
    Some(fatal(leaf, &text))
}

fn lint_validity(leaf: &Certificate, now: UnixTime) -> Option<Lint> {
    let until = date::text(leaf.not_after);
    if now > leaf.not_after {
        Some(fatal(leaf, &format!("expired at {until}")))
    } else if now < leaf.not_before {
        Some(fatal(leaf, &format!("is not valid before {}: is the clock right?", date::text(leaf.not_before))))
    } else if leaf.not_after - now < THIRTY_DAYS {
        Some(warning(leaf, &format!("expires at {until}, in {} days", (leaf.not_after - now) / 86_400)))
    } else {
        None
    }
}

fn lint_key(leaf: &Certificate) -> Option<Lint> {
    match leaf.key_kind {
        Some(KeyKind::Rsa { bits }) if bits < 2048 => {
            Some(fatal(leaf, &format!("has an RSA key of {bits} bits; at least 2048 are needed")))
        }
        Some(KeyKind::EcdsaP521) => Some(warning(leaf, "has a key on P-521, which Windows cannot verify: take RSA, P-256 or P-384")),
        Some(KeyKind::Ed25519) => Some(warning(leaf, "has an Ed25519 key, which Windows cannot verify: take RSA, P-256 or P-384")),
        Some(KeyKind::Rsa { .. } | KeyKind::EcdsaP256 | KeyKind::EcdsaP384) => None,
        None => Some(fatal(leaf, "has a key that is neither RSA, nor on P-256, P-384 or P-521, nor Ed25519")),
    }
}

fn lint_intermediates(credential: &Credential, now: UnixTime) -> Vec<Lint> {
    let (leaf, intermediates) = (credential.leaf(), &credential.chain[1..]);
    let mut lints: Vec<_> = intermediates
        .iter()
        .filter(|intermediate| now > intermediate.not_after)
        .map(|intermediate| warning(intermediate, &format!("is an intermediate that expired at {}", date::text(intermediate.not_after))))
        .collect();
    if intermediates.is_empty() && !leaf.is_self_issued() {
        let text = format!(
            "comes without intermediates: unless {} is a root that the clients trust, add its certificate to the chain file",
            leaf.issuer
        );
        lints.push(warning(leaf, &text));
    }
    lints
}

fn is_common_name(leaf: &Certificate, name: &str) -> bool {
    leaf.common_name.as_deref().is_some_and(|common_name| common_name.eq_ignore_ascii_case(name))
}

/// `*.example.test` covers one more label (RFC 6125 section 6.4.3).
fn wildcard_covers(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(domain), Some((label, rest))) => !label.is_empty() && rest.eq_ignore_ascii_case(domain),
        _ => false,
    }
}

fn fatal(certificate: &Certificate, text: &str) -> Lint {
    Lint { fatal: true, text: about(certificate, text) }
}

fn warning(certificate: &Certificate, text: &str) -> Lint {
    Lint { fatal: false, text: about(certificate, text) }
}

fn about(certificate: &Certificate, text: &str) -> String {
    format!("server certificate {}: {text}", certificate.subject)
}
