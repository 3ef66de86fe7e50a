//! What a listener asks of client certificates beyond their chain: `client_eku`, `revocation`, `crl`.
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
    let settings = Settings { policy: policy(section)?, sources: sources(section)? };
    let roots = match purposes(section)? {
        Some(oids) => roots.with_client_purposes(oids),
        None => roots,
    };
    if !auth.certificate {
        let idle = KEYS.iter().filter(|key| section.has(key));
        warnings.extend(idle.map(|key| format!("{}: {key} has no effect without auth = \"certificate\"", section.title())));
        return Ok((roots, Settings::default()));
    }
    for source in &settings.sources {
        if let Source::File(path) = source {
            read_file(path, roots.roots()).map_err(|problem| section.error("crl", format!("{source} {problem}")))?;
        }
    }
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

fn policy(section: &Section<'_>) -> Result<Revocation, ConfigError> {
    let words = [("off", Revocation::Off), ("soft", Revocation::Soft), ("hard", Revocation::Hard)];
    Ok(section.choice("revocation", &words)?.unwrap_or(Revocation::Soft))
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
