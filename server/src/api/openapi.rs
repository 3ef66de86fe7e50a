//! The OpenAPI 3.1 document, made of the table of routes and of the types.
use super::request::Problem;
use super::routes::{ROUTES, Role, Route, Serves, Shape};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document, as it is served.
pub(crate) static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

pub(super) fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Evergate Admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the gateway tells and takes. Times are unix seconds; `in` is from the client, `out` to it.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.about,
        "responses": { "200": answer(route, generator), "default": problem(generator) },
    });
    let parameters = parameters(route, generator);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": body(generator) } } });
    }
    operation["x-role"] = match route.role {
        Role::Anybody => "none",
        Role::Read => "read",
        Role::Operate => "operate",
    }
    .into();
    operation
}

fn answer(route: &Route, generator: &mut SchemaGenerator) -> Value {
    if let Serves::Metrics = route.serves {
        return json!({ "description": "OpenMetrics text.", "content": { "application/openmetrics-text": { "schema": { "type": "string" } } } });
    }
    let schema = route.answer.map_or_else(|| json!({ "type": "object" }), |shape| shape(generator).to_value());
    let (kind, description) = match route.serves {
        Serves::Stream(_) => {
            ("application/jsonl", "One such object a line, until either side has enough; {\"missed\":n} where n did not fit.")
        }
        Serves::Once(_) | Serves::Document | Serves::Metrics | Serves::Caller => ("application/json", "Done."),
    };
    let mut content = json!({ kind: { "schema": schema } });
    if let Serves::Stream(_) = route.serves {
        content["text/event-stream"] = json!({ "schema": { "type": "string", "description": "The same objects, an event each." } });
    }
    json!({ "description": description, "content": content })
}

fn problem(generator: &mut SchemaGenerator) -> Value {
    let schema = generator.subschema_for::<Problem>();
    json!({ "description": "Refused; the body says why and what to do.", "content": { "application/json": { "schema": schema } } })
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let id = route.id.map(|id| json!({ "name": "id", "in": "path", "required": true, "schema": id(generator) }));
    id.into_iter().chain(route.query.into_iter().flat_map(|query| query_parameters(query, generator))).collect()
}

/// One parameter for each field.
fn query_parameters(query: Shape, generator: &mut SchemaGenerator) -> Vec<Value> {
    let reference = query(generator).to_value();
    let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let Some(schema) = generator.definitions_mut().remove(name) else { return Vec::new() };
    let required = |field: &str| schema["required"].as_array().is_some_and(|fields| fields.iter().any(|one| one == field));
    let field = |(name, field): (&String, &Value)| {
        let mut field = field.clone();
        let description = field.as_object_mut().and_then(|field| field.remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "required": required(name), "schema": field });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(field).collect()
}
