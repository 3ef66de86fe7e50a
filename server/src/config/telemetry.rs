//! `[telemetry]`.
use super::error::ConfigError;
use super::reader::{Root, text};
use super::source::Value;
use super::values;
use crate::revocation::HttpUrl;
use crate::telemetry::Settings;

const TELEMETRY: &[&str] = &["otlp", "service_name"];

const COLLECTOR: &str = "the collector's URL for OTLP over HTTP, such as \"http://127.0.0.1:4318\"";

pub(super) fn settings(root: &Root<'_>) -> Result<Option<Settings>, ConfigError> {
    let Some(section) = root.section("telemetry", TELEMETRY)? else { return Ok(None) };
    let otlp = section.required("otlp", COLLECTOR, collector)?;
    let service = section.optional("service_name", "a name", |value| values::non_empty(text(value)?))?;
    Ok(Some(Settings { otlp, service: service.unwrap_or_else(|| "evergate".into()) }))
}

fn collector(value: &Value) -> Result<HttpUrl, String> {
    let url = text(value)?;
    if !url.starts_with("http://") {
        return Err("is no http:// URL (towards a collector elsewhere, one on this host can speak TLS)".into());
    }
    HttpUrl::parse(url)
}
