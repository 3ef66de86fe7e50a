//! The keys of `[[radius]]` and `[[dynamic_client]]` that say how TLS is spoken (RFC 6614).
use super::error::ConfigError;
use super::notes::digest;
use super::reader::{Section, text};
use super::{files, pem, revocation, values};
use crypto::Zeroizing;
use pki::{Certificate, Credential, TrustAnchors};
use std::net::IpAddr;
use std::sync::Arc;
use tls::{ClientSettings, MutualSettings};

use crate::radsec::{RADIUS_1_0, RADIUS_1_1};

const NAME: &str = "a DNS name or an IP address that the other end's certificate holds";
const PIN: &str = "the SHA-256 fingerprint of the other end's certificate: 64 hexadecimal digits";

/// What RFC 6614 section 2.3 prescribes: over TLS the shared secret protects nothing.
pub(super) fn secret() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(b"radsec".to_vec())
}

/// A dynamic authorization client that asks over TLS.
#[derive(Debug, Clone)]
pub struct DynamicOverTls {
    /// Takes this client's certificate alone.
    pub settings: Arc<MutualSettings>,
    /// Whether, and by which lists, its certificate may have been revoked.
    pub revocation: crate::revocation::Settings,
    /// Of the files and keys behind `settings`.
    pub fingerprint: [u8; 32],
}

/// The same keys for a client that connects to this gateway.
pub(super) fn settings_of_client(section: &Section<'_>, host: &str, warnings: &mut Vec<String>) -> Result<DynamicOverTls, ConfigError> {
    let End { roots, name, pin, credential, revocation } = end(section, host, warnings)?;
    let settings = MutualSettings::new(&credential, Arc::new(roots)).of_client(name, pin);
    Ok(DynamicOverTls { settings: Arc::new(settings), revocation, fingerprint: fingerprint_of(section) })
}

/// A RADIUS server that is asked over TLS.
#[derive(Debug, Clone)]
pub struct ServerOverTls {
    /// Whom to believe, and what to show.
    pub settings: Arc<ClientSettings>,
    /// Whether, and by which lists, its certificate may have been revoked.
    pub revocation: crate::revocation::Settings,
}

pub(super) fn settings(section: &Section<'_>, host: &str, warnings: &mut Vec<String>) -> Result<ServerOverTls, ConfigError> {
    let End { roots, name, pin, credential, revocation } = end(section, host, warnings)?;
    // RFC 9765 section 3.3: the versions that may be spoken are told to the server, which chooses.
    let both: &[&[u8]] = &[RADIUS_1_1, RADIUS_1_0];
    let versions = section.choice("radius_1_1", &[("auto", both), ("require", &[RADIUS_1_1]), ("off", &[RADIUS_1_0])])?.unwrap_or(both);
    let settings = ClientSettings::new(Some(&credential), Arc::new(roots), name, pin).offering(versions);
    Ok(ServerOverTls { settings: Arc::new(settings), revocation })
}

/// What this gateway believes and shows, whichever end it is.
struct End {
    roots: TrustAnchors,
    name: String,
    pin: Option<[u8; 32]>,
    credential: Credential,
    revocation: crate::revocation::Settings,
}

fn end(section: &Section<'_>, host: &str, warnings: &mut Vec<String>) -> Result<End, ConfigError> {
    let mut roots = Vec::new();
    for file in section.paths("ca")?.unwrap_or_default() {
        let pem = files::read(section, "ca", &file)?;
        roots.extend(Certificate::from_pem(&pem).map_err(|error| section.error("ca", format!("{}: {error}", file.display())))?);
    }
    if roots.is_empty() {
        return Err(section.error("ca", "is missing; expected the PEM files of the authorities that may issue the other end's certificate"));
    }
    let name = section.optional("tls_name", NAME, |value| {
        let name = text(value)?;
        if name.parse::<IpAddr>().is_ok() { Ok(name.to_owned()) } else { values::dns_name(name) }
    })?;
    let pin = section.optional("pin", PIN, |value| fingerprint(text(value)?).ok_or_else(String::new))?;
    // Both ends show a certificate (RFC 6614 section 2.3).
    let what = "the certificate that this gateway shows, leaf first: for clientAuth to a server, for serverAuth to a client";
    let credential = pem::credential(section, what, warnings)?;
    let roots = TrustAnchors::new(roots);
    let revocation = revocation::of_peer(section, &roots, warnings)?;
    Ok(End { roots, name: name.unwrap_or_else(|| host.to_owned()), pin, credential, revocation })
}

/// A fingerprint of what [`settings`] came to: another one if a file of it holds something else, or a key of it says so.
pub(super) fn fingerprint_of(section: &Section<'_>) -> [u8; 32] {
    let title = section.title();
    let files = section.notes().files.borrow();
    let files = files.iter().filter(|file| file.section == title && matches!(file.key.as_str(), "ca" | "chain" | "key"));
    let mut parts: Vec<Vec<u8>> = files.map(|file| file.digest.to_vec()).collect();
    parts.extend(["address", "tls_name", "pin", "radius_1_1"].map(|key| section.written(key).into_bytes()));
    digest(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Hexadecimal digits, with or without colons.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b':').collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn fingerprints_have_64_digits() {
        assert_eq!(fingerprint(&"a1".repeat(32)), Some([0xa1; 32]));
        assert_eq!(fingerprint(&vec!["A1"; 32].join(":")), Some([0xa1; 32]));
        for wrong in ["", "a1", &"a1".repeat(33), &"g1".repeat(32), &"a1".repeat(32)[1..]] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }
}
