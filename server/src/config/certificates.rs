//! `[[certificate]]`, and which of them a listener shows.
use super::error::ConfigError;
use super::files;
use super::reader::{Root, Section, text};
use super::{Ikev2Listener, LocalProvider, NamedCredential, SstpListener, values};
use crate::steering::{Door, tell_apart};
use crypto::sign::KeyKind;
use pki::{Certificate, Credential, KeyRank, Lint, ServerCertificate, UnixTime, Uses};
use policy::network::{Policy, Tunnel};

const CERTIFICATE: &[&str] = &["name", "chain", "key", "names", "addresses", "realms"];
const NAMES: &str = "names that clients dial to see this certificate, such as \"vpn.example.com\" or \"*.example.com\"";

/// All of them, with their files; [`lint`] comes when it is known who shows them.
pub(super) fn certificates(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<NamedCredential>, ConfigError> {
    root.sections("certificate", CERTIFICATE)?.iter().map(|section| certificate(section, warnings)).collect()
}

fn certificate(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<NamedCredential, ConfigError> {
    let name = section.name()?;
    let chain_file =
        section.path("chain")?.ok_or_else(|| section.error("chain", "is missing; expected a PEM file, leaf certificate first"))?;
    let key_file = section.path("key")?.ok_or_else(|| section.error("key", "is missing; expected the PEM file of the private key"))?;
    let chain = files::read(section, "chain", &chain_file)?;
    let key = files::read_secret(section, "key", &key_file, warnings)?;
    let certificates = Certificate::from_pem(&chain).map_err(|error| section.error("chain", error.to_string()))?;
    let credential = Credential::from_pem(&chain, &key).map_err(|error| section.error("key", error.to_string()))?;
    if certificates.is_empty() {
        return Err(section.error("chain", "holds no certificate"));
    }
    let names = section.list("names", NAMES, |value| dialled(text(value)?))?;
    let addresses = section.list("addresses", "addresses of this gateway", |value| values::address(text(value)?))?;
    let realms = section.list("realms", "realms such as \"example.com\"", |value| values::dns_name(text(value)?))?;
    for (key, is_empty) in [
        ("names", names.as_ref().is_some_and(Vec::is_empty)),
        ("addresses", addresses.as_ref().is_some_and(Vec::is_empty)),
        ("realms", realms.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            return Err(section.error(key, "is empty; leave the key out instead"));
        }
    }
    let (addresses, realms) = (addresses.unwrap_or_default(), realms.unwrap_or_default());
    Ok(NamedCredential { name, chain_file, credential, names, addresses, realms, uses: Uses::default() })
}

/// A DNS name, perhaps with `*` for its first label, or an address.
fn dialled(text: &str) -> Result<String, String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    values::dns_name(text.strip_prefix("*.").unwrap_or(text)).map(|_| text.to_owned())
}

/// What clients would stumble over; some of it is an error. `dialled`: the gateway's own name.
pub(super) fn lint(
    root: &Root<'_>,
    certificates: &mut [NamedCredential],
    shown: &Shown<'_>,
    dialled: &str,
    now: UnixTime,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for (section, certificate) in root.sections("certificate", CERTIFICATE)?.iter().zip(certificates) {
        let uses = shown.uses(certificate);
        if !uses.ikev2 && !uses.sstp && !shown.in_eap(certificate) {
            warnings.push(format!("{}: no listener names it in its certificates, so nobody sees it", section.title()));
        }
        certificate.uses = uses;
        let lints = certificate.lint(dialled, now);
        if let Some(lint) = lints.iter().find(|lint| lint.fatal) {
            return Err(section.error("chain", lint.to_string()));
        }
        warnings.extend(lints.iter().map(|lint| format!("{}: {lint}", section.title())));
        if shown.ikev2.is_some_and(|listener| listener.certificates.len() > 1) && uses.ikev2 && !has_known_root(certificate, shown) {
            warnings.push(format!(
                "{}: the root above it is not known here, so that clients which ask for it by that root (CERTREQ) are not recognized: add it to \
                 the chain file, it is not sent",
                section.title()
            ));
        }
    }
    Ok(())
}

/// Who shows certificates.
pub(super) struct Shown<'a> {
    pub(super) ikev2: Option<&'a Ikev2Listener>,
    pub(super) sstp: &'a [SstpListener],
    pub(super) local: Option<&'a LocalProvider>,
}

impl Shown<'_> {
    fn uses(&self, certificate: &NamedCredential) -> Uses {
        let among = |list: &[ServerCertificate]| list.iter().any(|shown| shown.name == certificate.name);
        Uses {
            ikev2: self.ikev2.is_some_and(|listener| among(&listener.certificates)),
            sstp: self.sstp.iter().any(|listener| among(&listener.certificates)),
        }
    }

    fn in_eap(&self, certificate: &NamedCredential) -> bool {
        let shown = self.local.and_then(|local| local.credential.as_ref());
        shown.is_some_and(|credential| credential.leaf() == certificate.credential.leaf())
    }
}

fn has_known_root(certificate: &NamedCredential, shown: &Shown<'_>) -> bool {
    let accepted = shown.ikev2.iter().flat_map(|listener| listener.client_roots.roots());
    let known = certificate.credential.roots.iter().chain(accepted).filter(|root| root.subject == root.issuer);
    let hashes: Vec<_> = known.map(Certificate::spki_sha1).collect();
    let listed = shown.ikev2.iter().flat_map(|listener| &listener.certificates).find(|shown| shown.name == certificate.name);
    listed.is_some_and(|listed| listed.authorities.iter().any(|authority| hashes.contains(authority)))
}

/// What `certificates` of a listener names, with the default among them. `authorities`: those that are known besides the ones in the chain files.
/// Whether two tie for some client is seen when the policies are known ([`check_ties`]).
pub(super) fn shown(
    section: &Section<'_>,
    certificates: &[NamedCredential],
    authorities: &[Certificate],
) -> Result<Vec<ServerCertificate>, ConfigError> {
    let words: Vec<_> = certificates.iter().enumerate().map(|(index, certificate)| (certificate.name.as_str(), index)).collect();
    if words.is_empty() {
        return Err(section.error("certificates", "there is no [[certificate]] that it could present: add one with name, chain and key"));
    }
    let chosen = section.choices("certificates", &words)?.unwrap_or_default();
    if chosen.is_empty() {
        return Err(section.error("certificates", "is missing or empty; expected the names of [[certificate]] tables"));
    }
    let twice = chosen.iter().enumerate().find(|(at, index)| chosen[..*at].contains(index));
    if let Some((_, index)) = twice {
        return Err(section.error("certificates", format!("names {:?} twice", certificates[*index].name)));
    }
    let words: Vec<_> = chosen.iter().map(|index| (certificates[*index].name.as_str(), *index)).collect();
    let defaults = section.choices("default_certificate", &words)?;
    let in_files = certificates.iter().flat_map(|one| one.credential.chain.iter().skip(1).chain(&one.credential.roots));
    let known: Vec<_> = in_files.chain(authorities).cloned().collect();
    let list = chosen.iter().map(|index| ServerCertificate {
        default: defaults.as_ref().is_some_and(|defaults| defaults.contains(index)),
        ..certificates[*index].server_certificate(&known)
    });
    Ok(list.collect())
}

/// # Errors
/// Nothing decides for some client between two certificates of this listener, and the policies do not either.
pub(super) fn check_ties(section: &Section<'_>, door: Door<'_>, policies: &[Policy]) -> Result<(), ConfigError> {
    let settled = tell_apart(policies, door.name, door.tunnel);
    let asks = match door.tunnel {
        Tunnel::Ikev2 => pki::Asks::Identities,
        Tunnel::Sstp => pki::Asks::Names,
    };
    match pki::find_tie(door.certificates, clients(door.tunnel), asks, settled) {
        None => Ok(()),
        Some(tie) => Err(tied(section, &tie, policies)),
    }
}

fn tied(section: &Section<'_>, tie: &pki::Tie, policies: &[Policy]) -> ConfigError {
    let pki::Tie { first, second, clients } = tie;
    let mut remedy = "or give one of the two names, addresses or realms of its own".to_owned();
    if policies.iter().any(|policy| policy.certificate.is_some()) {
        remedy.push_str(
            ", or let the policies decide: each that lets clients in here names a certificate, and any two with different ones have server_name \
             without patterns, client, gateway or (ikev2) method without anything in common",
        );
    }
    if section.has("default_certificate") {
        let problem = format!("nothing decides between {first:?} and {second:?} for {clients}; name only one of them, {remedy}");
        return section.error("certificates", problem);
    }
    let problem = format!("is missing: nothing decides between {first:?} and {second:?} for {clients}; expected one of them, {remedy}");
    section.error("default_certificate", problem)
}

impl NamedCredential {
    /// What clients stumble over at this time; `dialled`: the gateway's own name, which they dial unless `names` says otherwise.
    pub fn lint(&self, dialled: &str, now: UnixTime) -> Vec<Lint> {
        // What no listener shows, `[local]` may in EAP-TLS; nobody dials it.
        let is_dialled = self.uses.ikev2 || self.uses.sstp;
        let names = self.names.clone().unwrap_or_else(|| if is_dialled { vec![dialled.to_owned()] } else { Vec::new() });
        pki::lint_server(&self.credential, &names, self.uses, now)
    }

    fn server_certificate(&self, known: &[Certificate]) -> ServerCertificate {
        ServerCertificate {
            name: self.name.clone(),
            names: self.names.clone(),
            addresses: self.addresses.clone(),
            realms: self.realms.clone(),
            default: false,
            authorities: pki::known_authorities(&self.credential, known),
            credential: self.credential.clone(),
        }
    }
}

/// How each kind of client ranks keys.
pub(super) fn clients(tunnel: Tunnel) -> &'static [KeyRank<'static>] {
    match tunnel {
        Tunnel::Ikev2 => IKEV2_CLIENTS,
        Tunnel::Sstp => TLS_CLIENTS,
    }
}

/// Kinds of IKEv2 clients: Windows, those that announce hashes (RFC 7427), those that do not.
const IKEV2_CLIENTS: &[KeyRank<'static>] =
    &[&|kind| ike::auth::key_rank(kind, true, None), &|kind| ike::auth::key_rank(kind, false, Some(&ALL_HASHES)), &|kind| {
        ike::auth::key_rank(kind, false, None)
    }];
/// SHA2-256, -384, -512 and Identity, as N(SIGNATURE_HASH_ALGORITHMS) numbers them.
const ALL_HASHES: [u16; 4] = [2, 3, 4, ike::auth::HASH_IDENTITY];

/// TLS clients, which verify RSA and ECDSA, RSA alone, or ECDSA alone.
const TLS_CLIENTS: &[KeyRank<'static>] =
    &[&|kind| Some(tls::key_rank(kind)), &|kind| matches!(kind, KeyKind::Rsa { .. }).then_some(0), &|kind| {
        (!matches!(kind, KeyKind::Rsa { .. })).then(|| tls::key_rank(kind))
    }];
