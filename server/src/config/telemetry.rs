//! `[telemetry]`.
use super::error::ConfigError;
use super::reader::{Root, Section, text};
use super::source::Value;
use super::{files, pem, values};
use crate::certificates::SYSTEM_ROOTS;
use crate::revocation::HttpUrl;
use crate::telemetry::{Headers, Settings};
use pki::{Certificate, TrustAnchors};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tls::ClientSettings;

const TELEMETRY: &[&str] = &["otlp", "ca", "headers_file", "service_name"];

const COLLECTOR: &str = "the collector's URL for OTLP over HTTP, such as \"http://127.0.0.1:4318\" or \"https://otlp.example.com\"";

/// What is spoken over TLS: others would need another form of the document.
const HTTP: &[u8] = b"http/1.1";

pub(super) fn settings(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Option<Settings>, ConfigError> {
    let Some(section) = root.section("telemetry", TELEMETRY)? else { return Ok(None) };
    let (otlp, over_tls) = section.required("otlp", COLLECTOR, collector)?;
    let tls = over_tls.then(|| tls(&section, &otlp)).transpose()?;
    if !over_tls && section.has("ca") {
        return Err(section.error("ca", "is for a collector that speaks TLS: begin otlp with https://, or leave this out"));
    }
    let headers = headers(&section, warnings)?;
    let is_here = otlp.host().parse::<IpAddr>().map_or(otlp.host() == "localhost", |address| address.is_loopback());
    if !(over_tls || is_here || headers.is_empty()) {
        warnings.push("telemetry: otlp is no https:// URL: what headers_file holds can be read on the way there".into());
    }
    let service = section.optional("service_name", "a name", |value| values::non_empty(text(value)?))?;
    Ok(Some(Settings { otlp, tls, headers, service: service.unwrap_or_else(|| "evergate".into()) }))
}

/// The URL, and whether it is for TLS.
fn collector(value: &Value) -> Result<(HttpUrl, bool), String> {
    match text(value)? {
        url if url.starts_with("https://") => Ok((HttpUrl::parse_secure(url)?, true)),
        url if url.starts_with("http://") => Ok((HttpUrl::parse(url)?, false)),
        _ => Err("is neither an http:// nor an https:// URL".into()),
    }
}

fn tls(section: &Section<'_>, otlp: &HttpUrl) -> Result<Arc<ClientSettings>, ConfigError> {
    let roots = if section.has("ca") { pem::authorities(section, "ca")? } else { of_system(section)? };
    if roots.is_empty() {
        return Err(section
            .error("ca", "names no certificate; expected the PEM files of the authorities that may issue the collector's certificate"));
    }
    let settings = ClientSettings::new(None, Arc::new(TrustAnchors::new(roots)), otlp.host().to_owned(), None);
    Ok(Arc::new(settings.offering(&[HTTP])))
}

/// The authorities that all programs of this host trust.
fn of_system(section: &Section<'_>) -> Result<Vec<Certificate>, ConfigError> {
    let wrong = |problem: &dyn std::fmt::Display| {
        let remedy = "install ca-certificates, or name in ca the PEM files of the authorities that may issue the collector's certificate";
        section.error("ca", format!("is not there, and the system's authorities are not either: {problem}; {remedy}"))
    };
    let pem = files::read(section, "ca", Path::new(SYSTEM_ROOTS)).map_err(|error| wrong(&error))?;
    Certificate::from_pem(&pem).map_err(|error| wrong(&format!("{SYSTEM_ROOTS}: {error}")))
}

fn headers(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<Headers, ConfigError> {
    let Some(path) = section.path("headers_file")? else { return Ok(Headers::default()) };
    let lines = files::read_secret(section, "headers_file", &path, warnings)?;
    Headers::parse(&lines).map_err(|problem| section.error("headers_file", format!("{}: {problem}", path.display())))
}
