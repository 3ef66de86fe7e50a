//! Logins in the JSON form of OTLP (opentelemetry-proto, `ExportTraceServiceRequest`; OTLP specification, "JSON Protobuf Encoding").
use super::{Login, Span};
use crypto::hash::{HashAlgorithm, hash};
use serde_json::{Value, json};

/// Who sends.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) service: String,
    /// The gateway's name.
    pub(super) instance: String,
}

/// One request with all of these.
pub(super) fn request(resource: &Resource, logins: &[Login]) -> Value {
    let spans: Vec<_> = logins.iter().flat_map(|login| trace(&resource.instance, login)).collect();
    let version = env!("CARGO_PKG_VERSION");
    let of = [("service.name", &*resource.service), ("service.instance.id", &*resource.instance), ("service.version", version)];
    let attributes: Vec<_> = of.into_iter().map(|(key, value)| attribute(key, value)).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes },
            "scopeSpans": [{ "scope": { "name": "evergate", "version": version }, "spans": spans }],
        }],
    })
}

/// Ids follow from the attempt's: who knows one finds the other.
fn trace(instance: &str, login: &Login) -> Vec<Value> {
    let trace_id = id(&[instance, "/", &login.attempt], 16);
    let spans = login.spans();
    let span_id = |number: usize| id(&[&trace_id, "/", &number.to_string()], 8);
    let root = span_id(0);
    let parents = std::iter::once(None).chain(std::iter::repeat(Some(root.as_str())));
    spans.iter().enumerate().zip(parents).map(|((number, span), parent)| self::span(span, &trace_id, &span_id(number), parent)).collect()
}

/// Hexadecimal, and never only zeros.
fn id(of: &[&str], bytes: usize) -> String {
    let parts: Vec<_> = of.iter().map(|part| part.as_bytes()).collect();
    hash(HashAlgorithm::Sha256, &parts).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

fn span(span: &Span, trace_id: &str, span_id: &str, parent: Option<&str>) -> Value {
    let attributes: Vec<_> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    // Numbers of 64 bits are text in this form.
    let mut value = json!({
        "traceId": trace_id,
        "spanId": span_id,
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.begin.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = parent {
        value["parentSpanId"] = parent.into();
    }
    if let Some(error) = &span.error {
        // STATUS_CODE_ERROR
        value["status"] = json!({ "code": 2, "message": error });
    }
    value
}

/// Ports are numbers, everything else is text.
fn attribute(key: &str, value: &str) -> Value {
    let value = if key.ends_with(".port") { json!({ "intValue": value }) } else { json!({ "stringValue": value }) };
    json!({ "key": key, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::login;

    #[test]
    fn a_trace_has_the_form_of_otlp() {
        let resource = Resource { service: "evergate".into(), instance: "vpn.example.test".into() };
        let sent = request(&resource, &[login(Some("wrong password")), login(None)]);
        let spans = sent["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 12);
        let (root, child) = (&spans[0], &spans[1]);
        let (trace, parent) = (root["traceId"].as_str().unwrap(), root["spanId"].as_str().unwrap());
        assert_eq!((trace.len(), parent.len()), (32, 16));
        assert_eq!(root["startTimeUnixNano"], "1700000000000000000");
        assert_eq!((&root["status"]["code"], &root["kind"], root.get("parentSpanId")), (&json!(2), &json!(2), None));
        assert_eq!((&child["traceId"], &child["parentSpanId"]), (&root["traceId"], &root["spanId"]));
        let ids: std::collections::BTreeSet<_> = spans[..6].iter().map(|span| span["spanId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 6, "each span has an id of its own");
        let port = root["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == "client.port").unwrap();
        assert_eq!(port["value"], json!({ "intValue": "4500" }));
        let name = &sent["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(*name, json!({ "key": "service.name", "value": { "stringValue": "evergate" } }));
    }
}
