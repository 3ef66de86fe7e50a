//! `[local]`: users from a file, where no RADIUS server is asked.
use super::error::ConfigError;
use super::reader::{Root, Section};
use super::{LocalProvider, NamedCredential, files, listen, revocation};
use ike::ClientAuth;
use local_provider::{EapMethod, Lockout, Users};
use policy::request::{Forward, RequestPolicy};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LOCAL: &[&str] = &[
    "users_file",
    "eap",
    "certificate",
    "client_ca",
    "client_eku",
    "revocation",
    "crl",
    "lockout_failures",
    "lockout_time",
    "password_min_length",
];

/// What only EAP-TLS needs.
const CERTIFICATES_ONLY: &[&str] = &["certificate", "client_ca", "client_eku", "revocation", "crl"];

/// The users file alone: all that `evergate user` needs.
pub(super) fn users_file_of(root: &Root<'_>) -> Result<Option<PathBuf>, ConfigError> {
    root.section("local", LOCAL)?.map_or(Ok(None), |section| section.path("users_file"))
}

/// What deserves a look where there are RADIUS servers besides: nobody asks the local provider.
pub(super) fn unasked(requests: &[RequestPolicy]) -> Option<String> {
    let asked = requests.iter().any(|policy| policy.forward == Forward::Local);
    (!asked).then(|| {
        "local: nobody is ever looked up there: RADIUS servers are asked unless a [[request_policy]] has provider = \"local\"".into()
    })
}

pub(super) fn provider(
    root: &Root<'_>,
    certificates: &[NamedCredential],
    warnings: &mut Vec<String>,
) -> Result<Option<LocalProvider>, ConfigError> {
    let Some(section) = root.section("local", LOCAL)? else { return Ok(None) };
    let users_file = section.path("users_file")?.ok_or_else(|| {
        section.error("users_file", "is missing; expected the path of a file with a user a line (evergate user add makes it)")
    })?;
    let text = files::read_secret(&section, "users_file", &users_file, warnings)?;
    let wrong = |problem: String| section.error("users_file", format!("{}: {problem}", users_file.display()));
    let text = std::str::from_utf8(&text).map_err(|_| wrong("is no UTF-8 text".into()))?;
    let users = Users::parse(text).map_err(|error| wrong(error.to_string()))?;
    if users.is_empty() {
        warnings.push(format!("local: {} holds no user: evergate user add NAME adds one", users_file.display()));
    }
    let methods = methods(&section)?;
    let credential = if methods.contains(&EapMethod::Tls) { Some(credential(&section, certificates)?) } else { None };
    if let Some(key) = CERTIFICATES_ONLY.iter().find(|key| credential.is_none() && section.has(key)) {
        return Err(section.error(key, "is for EAP-TLS alone: add \"tls\" to eap, or leave it out"));
    }
    let certificate = ClientAuth { eap: true, certificate: credential.is_some(), eap_only: false };
    let roots = listen::client_roots(&section, certificate, warnings)?;
    let (client_roots, revocation) = revocation::of_clients(&section, certificate, roots, warnings)?;
    Ok(Some(LocalProvider {
        users_file,
        users,
        methods,
        credential,
        client_roots: Arc::new(client_roots),
        revocation,
        lockout: lockout(&section)?,
        password_min: section.number("password_min_length", 1..=128, 8)?,
    }))
}

fn methods(section: &Section<'_>) -> Result<Vec<EapMethod>, ConfigError> {
    let words = [("mschapv2", EapMethod::MsChapV2), ("tls", EapMethod::Tls)];
    let by_default = || if section.has("client_ca") { vec![EapMethod::MsChapV2, EapMethod::Tls] } else { vec![EapMethod::MsChapV2] };
    let methods = section.choices("eap", &words)?.unwrap_or_else(by_default);
    if methods.is_empty() {
        return Err(section.error("eap", "is empty; expected \"mschapv2\", \"tls\" or both, the one that is offered first in front"));
    }
    if methods.contains(&EapMethod::Tls) && !section.has("client_ca") {
        return Err(section.error("client_ca", "is missing; eap \"tls\" needs the PEM files of the authorities of client certificates"));
    }
    Ok(methods)
}

/// What the gateway shows in EAP-TLS: the named certificate, else the only one.
fn credential(section: &Section<'_>, certificates: &[NamedCredential]) -> Result<pki::Credential, ConfigError> {
    let words: Vec<_> = certificates.iter().enumerate().map(|(index, certificate)| (certificate.name.as_str(), index)).collect();
    if words.is_empty() {
        return Err(section.error("certificate", "there is no [[certificate]] to show in EAP-TLS: add one with name, chain and key"));
    }
    match (section.choice("certificate", &words)?, &words[..]) {
        (Some(index), _) => Ok(certificates[index].credential.clone()),
        (None, [(_, index)]) => Ok(certificates[*index].credential.clone()),
        (None, _) => {
            let names = words.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            Err(section.error("certificate", format!("is missing: there are several; expected the one to show in EAP-TLS, of {names}")))
        }
    }
}

fn lockout(section: &Section<'_>) -> Result<Lockout, ConfigError> {
    let time = Duration::from_secs(1)..=Duration::from_secs(86_400);
    Ok(Lockout {
        failures: section.number("lockout_failures", 0..=10_000, 10)?,
        time: section.duration("lockout_time", time)?.unwrap_or(Duration::from_secs(300)),
    })
}
