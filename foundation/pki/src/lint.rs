//! What clients stumble over in a server certificate.
use crate::verify::weak_signature;
use crate::{Certificate, Credential, Lint, Purpose, UnixTime, Uses, date, name};
use crypto::sign::KeyKind;
use std::net::{IpAddr, Ipv4Addr};

const DAY: i64 = 86_400;
const THIRTY_DAYS: i64 = 30 * DAY;
/// Since 2019-07-01 Apple takes server certificates of any authority for at most 825 days. The 398 days of 2020 hold for the authorities that it
/// ships, which issue none for longer.
const APPLE_SINCE: UnixTime = 1_561_939_200;
const APPLE_MAX_DAYS: i64 = 825;
const IKE_INTERMEDIATE: [&str; 2] = ["1.3.6.1.5.5.8.2.2", "1.3.6.1.5.5.7.3.17"];
/// Ends of names that nobody outside can look up.
const PRIVATE_DOMAINS: [&str; 9] = ["local", "lan", "internal", "intranet", "corp", "home", "private", "localdomain", "localhost"];

impl std::fmt::Display for Lint {
    /// One line: culprit; who refuses; remedy.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}; {}", self.culprit, self.refused_by, self.remedy)
    }
}

/// What Windows, Apple or Android would stumble over in this credential, when dialled as one of `names` (DNS names, wildcards, addresses) by
/// clients of these protocols. Each thing is said once.
pub fn lint_server(credential: &Credential, names: &[String], uses: Uses, now: UnixTime) -> Vec<Lint> {
    let leaf = credential.leaf();
    let mut lints = Vec::new();
    lints.extend(lint_purpose(leaf, uses));
    lints.extend(names.iter().filter_map(|name| lint_name(leaf, name, uses)));
    lints.extend(lint_alternative_names(leaf, uses));
    lints.extend(lint_validity(leaf, uses, now));
    lints.extend(lint_lifetime(leaf));
    lints.extend(lint_key(leaf));
    lints.extend(lint_signatures(credential));
    lints.extend(lint_usage(leaf));
    lints.extend(lint_chain(credential, uses, now));
    if uses.sstp {
        lints.extend(credential.chain.iter().filter_map(lint_revocation));
    }
    lints
}

/// The words for who refuses, by the protocols in use: `Windows refuses it (IKEv2: 13801; SSTP: 0x800B0101)`.
fn windows(uses: Uses, sstp: &str) -> String {
    let codes = [uses.ikev2.then(|| "IKEv2: 13801".to_owned()), uses.sstp.then(|| format!("SSTP: {sstp}"))];
    let codes: Vec<_> = codes.into_iter().flatten().collect();
    if codes.is_empty() { "Windows refuses it (13801)".into() } else { format!("Windows refuses it ({})", codes.join("; ")) }
}

fn lint_purpose(leaf: &Certificate, uses: Uses) -> Option<Lint> {
    let eku = || leaf.eku.iter().flatten();
    let instead = match () {
        () if eku().any(|oid| oid == Purpose::Server.oid()) => return None,
        () if eku().any(|oid| IKE_INTERMEDIATE.contains(&oid.as_str())) => ", for which ikeIntermediate and ipsecIKE do not stand",
        () => "",
    };
    let what = format!("lacks the extended key usage serverAuth (1.3.6.1.5.5.7.3.1){instead}");
    let who = format!("{}, so do Apple and Android", windows(uses, "0x80070040"));
    Some(fatal(leaf, &what, &who, "have it issued anew from a template for servers, with serverAuth"))
}

fn lint_name(leaf: &Certificate, name: &str, uses: Uses) -> Option<Lint> {
    if leaf.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name)) {
        return None;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        let listed = leaf.ip_addresses.contains(&address) || is_common_name(leaf, name);
        let what = format!("does not hold the address {name} as a dNSName, where Windows looks for it");
        let severity = if listed { warning } else { fatal };
        let remedy = "have it issued anew with the address as dNSName besides iPAddress, or dial a name";
        return Some(severity(leaf, &what, &windows(uses, "0x800B010F"), remedy));
    }
    if leaf.dns_names.iter().any(|dns| name::wildcard_covers(dns, name)) {
        return None;
    }
    if is_common_name(leaf, name) {
        let what = format!("has {name} as its common name only");
        let remedy = "have it issued anew with the name as dNSName in the subject alternative name";
        return Some(warning(leaf, &what, "Apple and Android refuse it, Windows does not", remedy));
    }
    let what = format!("is not made out to {name} but to [{}]", leaf.dns_names.join(", "));
    let who = format!("whoever dials {name} refuses it; {}", windows(uses, "0x800B010F"));
    Some(fatal(leaf, &what, &who, "list in `names` what clients dial, or have it issued anew with that name as dNSName"))
}

fn lint_alternative_names(leaf: &Certificate, uses: Uses) -> Vec<Lint> {
    let mut lints = Vec::new();
    let wildcards = leaf.dns_names.iter().filter(|name| uses.ikev2 && name.contains('*'));
    lints.extend(wildcards.map(|name| {
        let what = format!("holds the wildcard {name}");
        let remedy = "for IKEv2 have it issued anew with each name that is dialled";
        warning(leaf, &what, "some IKEv2 clients match no wildcards, strongSwan among them; Windows would say 13801", remedy)
    }));
    let addresses = leaf.dns_names.iter().filter_map(|name| name.parse::<IpAddr>().ok());
    lints.extend(addresses.filter(|address| !leaf.ip_addresses.contains(address)).map(|address| {
        let what = format!("holds the address {address} as dNSName, which Windows wants, but not as iPAddress");
        warning(leaf, &what, "Apple and Android refuse it when that address is dialled", "have it issued anew with both")
    }));
    lints
}

fn lint_validity(leaf: &Certificate, uses: Uses, now: UnixTime) -> Option<Lint> {
    let until = date::text(leaf.not_after);
    let everybody = format!("every client refuses it; {}", windows(uses, "0x800B0101"));
    if now > leaf.not_after {
        Some(fatal(leaf, &format!("expired at {until}"), &everybody, "renew it"))
    } else if now < leaf.not_before {
        Some(fatal(leaf, &format!("is not valid before {}", date::text(leaf.not_before)), &everybody, "is the clock right?"))
    } else if leaf.not_after - now < THIRTY_DAYS {
        let what = format!("expires at {until}, in {} days", (leaf.not_after - now) / DAY);
        let then = format!("then {everybody}");
        Some(warning(leaf, &what, &then, "renew it and replace the files; `evergate reload` loads them and ends no session"))
    } else {
        None
    }
}

fn lint_lifetime(leaf: &Certificate) -> Option<Lint> {
    // The last second counts as part of the validity (RFC 5280 section 4.1.2.5).
    let days = (leaf.not_after - leaf.not_before + 1).div_euclid(DAY);
    let long = leaf.not_before >= APPLE_SINCE && days > APPLE_MAX_DAYS;
    long.then(|| {
        let what = format!("is valid for {days} days, more than {APPLE_MAX_DAYS}");
        warning(leaf, &what, "iOS from 13 and macOS from 10.15 refuse it", "have it issued anew for 825 days or less")
    })
}

fn lint_key(leaf: &Certificate) -> Option<Lint> {
    let take = "take RSA 2048, P-256 or P-384";
    match leaf.key_kind {
        Some(KeyKind::Rsa { bits }) if bits < 2048 => {
            let what = format!("has an RSA key of {bits} bits");
            Some(fatal(leaf, &what, "Windows, Apple and Android refuse less than 2048 bits", take))
        }
        Some(kind @ (KeyKind::EcdsaP521 | KeyKind::Ed25519)) => {
            Some(warning(leaf, &format!("has a key of the kind {kind}"), "Windows cannot verify its signature (13801)", take))
        }
        Some(KeyKind::Rsa { .. } | KeyKind::EcdsaP256 | KeyKind::EcdsaP384) => None,
        None => {
            Some(fatal(leaf, "has a key that is neither RSA, nor on P-256, P-384 or P-521, nor Ed25519", "the gateway cannot use it", take))
        }
    }
}

fn lint_signatures(credential: &Credential) -> Option<Lint> {
    let (certificate, algorithm) = credential
        .chain
        .iter()
        .filter(|certificate| !certificate.is_self_issued())
        .find_map(|one| Some((one, weak_signature(&one.der)?)))?;
    let what = format!("is signed with {algorithm}");
    let who = "Apple and Android refuse it, and Windows where it disables weak signatures (13801, 0x800B0109)";
    Some(warning(certificate, &what, who, "have it issued anew with SHA-256"))
}

fn lint_usage(leaf: &Certificate) -> Option<Lint> {
    if leaf.is_ca {
        let who = "Apple refuses it unless it is the one that was installed as trusted";
        return Some(warning(leaf, "is an authority's certificate", who, "issue one for the server alone"));
    }
    leaf.key_usage.is_some_and(|usage| !usage.digital_signature).then(|| {
        let who = "strongSwan, Apple and Android refuse its signature, Windows may (13818)";
        warning(leaf, "lacks the key usage digitalSignature", who, "have it issued anew with it")
    })
}

fn lint_chain(credential: &Credential, uses: Uses, now: UnixTime) -> Vec<Lint> {
    let (leaf, intermediates) = (credential.leaf(), &credential.chain[1..]);
    let mut lints: Vec<_> = intermediates
        .iter()
        .filter(|intermediate| now > intermediate.not_after)
        .map(|intermediate| {
            let what = format!("is an intermediate that expired at {}", date::text(intermediate.not_after));
            let who = format!("clients that do not know a newer one refuse the chain; {}", windows(uses, "0x800B0101"));
            warning(intermediate, &what, &who, "put the newer one into the chain file")
        })
        .collect();
    let mut top = leaf;
    while let Some(issuer) = intermediates.iter().find(|candidate| top.issuer_der == candidate.subject_der && *candidate != top) {
        top = issuer;
    }
    let stray = intermediates.iter().find(|other| !credential.chain.iter().any(|below| below.issuer_der == other.subject_der));
    lints.extend(stray.map(|stray| {
        let what = format!("comes with {}, which has issued nothing in the chain", stray.subject);
        warning(
            leaf,
            &what,
            "clients that need the right intermediate refuse it",
            "put the leaf, then its issuer, then that one's into the chain file",
        )
    }));
    let is_complete =
        !std::ptr::eq(top, leaf) || leaf.is_self_issued() || credential.roots.iter().any(|root| leaf.issuer_der == root.subject_der);
    if !is_complete {
        lints.push(missing_intermediate(leaf, uses));
    }
    lints
}

fn missing_intermediate(leaf: &Certificate, uses: Uses) -> Lint {
    let place = leaf.issuer_urls.first().map_or_else(String::new, |url| format!(" (from {url})"));
    let what = format!("comes without its issuer {}", leaf.issuer);
    let who = format!("unless that is a root which the clients trust, {}, so do Apple and Android", windows(uses, "0x800B0109"));
    let remedy = format!("add that certificate{place} to the chain file; a root in it is not sent, but ends this warning");
    warning(leaf, &what, &who, &remedy)
}

/// Windows gives up an SSTP connection whose certificates it cannot check, and it does that before there is a tunnel.
fn lint_revocation(certificate: &Certificate) -> Option<Lint> {
    let urls: Vec<_> = certificate.crl_urls.iter().chain(&certificate.ocsp_urls).collect();
    if certificate.is_self_issued() || urls.is_empty() || urls.iter().any(|url| is_public(url)) {
        return None;
    }
    let list = urls.iter().map(|url| url.as_str()).collect::<Vec<_>>().join(", ");
    let what = format!("names no place on the Internet where its revocation can be looked up over HTTP: {list}");
    let remedy = "have the authority publish its lists at a public http:// address (CRL distribution point) and issue it anew";
    Some(warning(certificate, &what, "Windows refuses SSTP from outside (0x80092013)", remedy))
}

/// Where clients may ask about the revocation of a certificate, and whether the names tell that nobody outside can:
/// `CDP=http://crl.example.com/a.crl; OCSP=none`.
pub fn revocation_places(certificate: &Certificate) -> String {
    let list = |urls: &[String]| if urls.is_empty() { "none".to_owned() } else { urls.join(" ") };
    let places = format!("CDP={}; OCSP={}", list(&certificate.crl_urls), list(&certificate.ocsp_urls));
    match lint_revocation(certificate) {
        Some(_) => format!("{places}, none of them a public http:// address"),
        None => places,
    }
}

/// An http:// URL whose host anybody may reach, as far as its name tells. Windows fetches no list over https, and from ldap only inside its domain.
fn is_public(url: &str) -> bool {
    let Some(rest) = url.to_ascii_lowercase().strip_prefix("http://").map(str::to_owned) else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(address) = authority.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
        return address.parse::<IpAddr>().is_ok_and(is_public_address);
    }
    let host = authority.split(':').next().unwrap_or_default().trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => is_public_address(address),
        Err(_) => host.rsplit_once('.').is_some_and(|(_, end)| !PRIVATE_DOMAINS.contains(&end)),
    }
}

fn is_public_address(address: IpAddr) -> bool {
    /// Shared address space (RFC 6598).
    fn is_shared(address: Ipv4Addr) -> bool {
        address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64
    }
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || is_shared(v4)),
        IpAddr::V6(v6) => !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified()),
    }
}

fn is_common_name(leaf: &Certificate, name: &str) -> bool {
    leaf.common_name.as_deref().is_some_and(|common_name| common_name.eq_ignore_ascii_case(name))
}

fn fatal(certificate: &Certificate, what: &str, who: &str, remedy: &str) -> Lint {
    Lint { fatal: true, ..warning(certificate, what, who, remedy) }
}

fn warning(certificate: &Certificate, what: &str, who: &str, remedy: &str) -> Lint {
    let culprit = format!("server certificate {}: {what}", certificate.subject);
    Lint { fatal: false, culprit, refused_by: who.to_owned(), remedy: remedy.to_owned() }
}
