//! What is asked of certificates beyond their chain, of clients and of the other ends of our own connections: `client_eku`, `revocation`, `crl`.
use super::error::ConfigError;
use super::reader::{Section, text};
use crate::revocation::{HttpUrl, Settings, Source, read_file};
use ike::ClientAuth;
use pki::{Revocation, TrustAnchors};

const KEYS: &[&str] = &["client_eku", "revocation", "crl"];
const EKUS: &str = "\"clientAuth\", \"ipsecIKE\", \"ikeIntermediate\", \"smartcardLogon\" or an OID such as \"1.3.6.1.5.5.7.3.2\"";

/// The authorities with the purposes that they may issue for, and where their revocation lists are.
pub(super) fn of_clients(
    section: &Section<'_>,
    auth: ClientAuth,
    roots: TrustAnchors,
    warnings: &mut Vec<String>,
) -> Result<(TrustAnchors, Settings), ConfigError> {
    let settings = Settings { policy: policy(section)?.unwrap_or(Revocation::Soft), sources: sources(section)? };
    let roots = match purposes(section)? {
        Some(oids) => roots.with_client_purposes(oids),
        None => roots,
    };
    if !auth.certificate {
        let idle = KEYS.iter().filter(|key| section.has(key));
        warnings.extend(idle.map(|key| format!("{}: {key} has no effect without auth = \"certificate\"", section.title())));
        return Ok((roots, Settings::default()));
    }
    check_files(section, &settings, &roots)?;
    match (settings.policy, settings.sources.is_empty()) {
        (Revocation::Hard, true) => {
            Err(section.error("crl", "is missing; with revocation = \"hard\" every client would be refused: name the authorities' lists"))
        }
        (Revocation::Soft, true) => {
            warnings.push(format!(
                "{}: nobody checks whether client certificates are revoked: name the authorities' lists in crl, or say revocation = \"off\"",
                section.title()
            ));
            Ok((roots, settings))
        }
        (Revocation::Off, false) => {
            warnings.push(format!("{}: crl has no effect with revocation = \"off\"", section.title()));
            Ok((roots, settings))
        }
        _ => Ok((roots, settings)),
    }
}

/// The same for the other end of a connection of our own: where `crl` names no list, nothing is asked of its certificate.
pub(super) fn of_peer(section: &Section<'_>, roots: &TrustAnchors, warnings: &mut Vec<String>) -> Result<Settings, ConfigError> {
    let sources = sources(section)?;
    let usual = if sources.is_empty() { Revocation::Off } else { Revocation::Soft };
    let settings = Settings { policy: policy(section)?.unwrap_or(usual), sources };
    check_files(section, &settings, roots)?;
    match (settings.policy, settings.sources.is_empty()) {
        (Revocation::Hard | Revocation::Soft, true) => {
            Err(section.error("crl", "is missing; without lists nobody can tell what is revoked: name those of the authorities in ca"))
        }
        (Revocation::Off, false) => {
            warnings.push(format!("{}: crl has no effect with revocation = \"off\"", section.title()));
            Ok(settings)
        }
        _ => Ok(settings),
    }
}

fn check_files(section: &Section<'_>, settings: &Settings, roots: &TrustAnchors) -> Result<(), ConfigError> {
    for source in &settings.sources {
        if let Source::File(path) = source {
            read_file(path, roots.roots()).map_err(|problem| section.error("crl", format!("{source} {problem}")))?;
        }
    }
    Ok(())
}

fn policy(section: &Section<'_>) -> Result<Option<Revocation>, ConfigError> {
    section.choice("revocation", &[("off", Revocation::Off), ("soft", Revocation::Soft), ("hard", Revocation::Hard)])
}

fn purposes(section: &Section<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    let oids = section.list("client_eku", EKUS, |value| pki::purpose_oid(text(value)?).ok_or_else(String::new))?;
    match oids {
        Some(oids) if oids.is_empty() => Err(section.error("client_eku", format!("is empty; expected some of {EKUS}"))),
        oids => Ok(oids),
    }
}

/// Files and URLs; a relative path starts at the folder of the file that names it.
fn sources(section: &Section<'_>) -> Result<Vec<Source>, ConfigError> {
    let is_url = |text: &str| text.contains("://");
    let urls = section.list("crl", "paths of files, or http:// URLs", |value| match text(value)? {
        text if is_url(text) => HttpUrl::parse(text).map(Some),
        _ => Ok(None),
    })?;
    let paths = section.paths("crl")?.unwrap_or_default();
    let sources = urls.unwrap_or_default().into_iter().zip(paths);
    Ok(sources.map(|(url, path)| url.map_or(Source::File(path), Source::Url)).collect())
}
