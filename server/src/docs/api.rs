//! `docs/reference/api.md`, out of the document that the Admin API serves about itself.
use super::{anchor, cell, head, hold};
use crate::api;
use serde_json::Value;

const ABOUT: &str = "HTTP and JSON on the control socket, and over TLS where `[api]` says so. The gateway describes it itself, as OpenAPI 3.1, at \
`/openapi.json`; this page is the same for reading. Roles: `none` (anybody), `read`, `operate`; on the control socket every caller may operate.";

#[test]
fn docs_reference_of_the_api() {
    let document: Value = serde_json::from_str(api::DOCUMENT.as_str()).unwrap();
    let mut text = head("Admin API", ABOUT);
    text.push_str("\n| request | role | what |\n|---|---|---|\n");
    let operations: Vec<_> = entries(&document["paths"])
        .flat_map(|(path, methods)| {
            entries(methods).map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect();
    for (request, operation) in &operations {
        let about = cell(word(&operation["summary"]));
        text.push_str(&format!("| [{request}](#{}) | {} | {about} |\n", anchor(request), word(&operation["x-role"])));
    }
    operations.iter().for_each(|(request, operation)| describe(request, operation, &mut text));
    text.push_str("\n# Objects\n");
    entries(&document["components"]["schemas"]).for_each(|(name, schema)| object(name, schema, &mut text));
    hold("reference/api.md", &text);
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn describe(request: &str, operation: &Value, text: &mut String) {
    text.push_str(&format!("\n## {request}\n\n{}\n", cell(word(&operation["summary"]))));
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        text.push_str("\n| parameter | in | type | meaning |\n|---|---|---|---|\n");
        for parameter in parameters {
            let name = word(&parameter["name"]);
            let about = cell(word(&parameter["description"]));
            text.push_str(&format!("| `{name}` | {} | {} | {about} |\n", word(&parameter["in"]), kind(&parameter["schema"])));
        }
    }
    for (_, content) in entries(&operation["requestBody"]["content"]) {
        text.push_str(&format!("\nBody: {}\n", kind(&content["schema"])));
    }
    for (media, content) in entries(&operation["responses"]["200"]["content"]) {
        text.push_str(&format!("\nAnswer (`{media}`): {}\n", kind(&content["schema"])));
    }
}

fn object(name: &str, schema: &Value, text: &mut String) {
    text.push_str(&format!("\n## {name}\n"));
    let about = word(&schema["description"]);
    if !about.is_empty() {
        text.push_str(&format!("\n{}\n", cell(about)));
    }
    if schema["properties"].is_object() {
        text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        for (name, field) in entries(&schema["properties"]) {
            text.push_str(&format!("| `{name}` | {} | {} |\n", kind(field), cell(word(&field["description"]))));
        }
    } else {
        text.push_str(&format!("\n{}\n", kind(schema)));
    }
}

/// The type of a schema, with links to what it refers to.
fn kind(schema: &Value) -> String {
    if let Some(name) = word(&schema["$ref"]).rsplit('/').next().filter(|name| !name.is_empty()) {
        return format!("[{name}](#{})", anchor(name));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", schema["const"]);
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(alternatives) = schema[alternatives].as_array() {
            let kinds: Vec<_> = alternatives.iter().map(kind).filter(|kind| !kind.is_empty()).collect();
            return kinds.join(" or ");
        }
    }
    match &schema["type"] {
        Value::Array(types) => {
            let types: Vec<_> = types.iter().map(word).filter(|name| *name != "null").collect();
            if types == ["array"] { list(schema) } else { types.join(" or ") }
        }
        Value::String(name) if name == "array" => list(schema),
        Value::String(name) if name == "null" => String::new(),
        Value::String(name) if name == "object" && schema["properties"].is_object() => fields(schema),
        Value::String(name) => name.clone(),
        _ => "any".into(),
    }
}

fn list(schema: &Value) -> String {
    format!("list of {}", kind(&schema["items"]))
}

fn fields(schema: &Value) -> String {
    let fields: Vec<_> = entries(&schema["properties"]).map(|(name, field)| format!("`{name}`: {}", kind(field))).collect();
    format!("object with {}", fields.join(", "))
}
