//! Certificates and keys in the files that a section names.
use super::error::ConfigError;
use super::files;
use super::reader::Section;
use pki::{Certificate, Credential};

/// The certificates in the files of `key`, each of which must be an authority's; none where the key is left out.
pub(super) fn authorities(section: &Section<'_>, key: &str) -> Result<Vec<Certificate>, ConfigError> {
    let mut authorities = Vec::new();
    for file in section.paths(key)?.unwrap_or_default() {
        let pem = files::read(section, key, &file)?;
        let certificates = Certificate::from_pem(&pem).map_err(|error| section.error(key, format!("{}: {error}", file.display())))?;
        if let Some(leaf) = certificates.iter().find(|certificate| !certificate.is_ca) {
            return Err(section.error(key, format!("{}: {} is no authority (basicConstraints CA)", file.display(), leaf.subject)));
        }
        authorities.extend(certificates);
    }
    Ok(authorities)
}

/// What `chain` and `key` hold; `what` the certificate is, for whoever left it out.
pub(super) fn credential(section: &Section<'_>, what: &str, warnings: &mut Vec<String>) -> Result<Credential, ConfigError> {
    let missing = |key: &str, what: &str| section.error(key, format!("is missing; expected the PEM file of {what}"));
    let chain_file = section.path("chain")?.ok_or_else(|| missing("chain", what))?;
    let key_file = section.path("key")?.ok_or_else(|| missing("key", "the private key of the certificate in chain"))?;
    let chain = files::read(section, "chain", &chain_file)?;
    let key = files::read_secret(section, "key", &key_file, warnings)?;
    if Certificate::from_pem(&chain).map_err(|error| section.error("chain", error.to_string()))?.is_empty() {
        return Err(section.error("chain", "holds no certificate"));
    }
    Credential::from_pem(&chain, &key).map_err(|error| section.error("key", error.to_string()))
}
