//! What can be asked, as an `OpenAPI` document.

use crate::progress::{ANSWER, CBOR, EVENT_STREAM, PROGRESS, REFUSAL};
use crate::server::{ATTACHED, Attached, BASE, CHALLENGE, Challenge, EVENTS, PROVE, Proof, Proven};
use runstone_store::holder::{Endpoint, Progress, Told};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The `OpenAPI` 3.1 document of what can be asked (<https://spec.openapis.org/oas/v3.1.0>), made from
/// the types themselves.
pub fn openapi(endpoints: &[Endpoint]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let refusal = generator.subschema_for::<Told>();
    let progress = generator.subschema_for::<Progress>();
    let mut paths = Map::new();
    let mut put = |name: &str, method: &str, operation: Value| {
        paths.insert(format!("{BASE}{name}"), json!({ method: operation }));
    };
    for endpoint in endpoints {
        let request = (endpoint.request)(&mut generator);
        let response = (endpoint.response)(&mut generator);
        let answer = if endpoint.is_long {
            let events = json!({ PROGRESS: progress, ANSWER: response, REFUSAL: refusal });
            long(&response, &events)
        } else if endpoint.is_page {
            packed(&response)
        } else {
            short(&response)
        };
        let operation = operation(endpoint.name, Some(&request), &answer, &refusal);
        put(endpoint.name, "post", operation);
    }
    let of = |generator: &mut SchemaGenerator, name: &str| -> Value {
        let response = match name {
            CHALLENGE => generator.subschema_for::<Challenge>(),
            PROVE => generator.subschema_for::<Proven>(),
            _ => generator.subschema_for::<Vec<Attached>>(),
        };
        let request = (name == PROVE).then(|| generator.subschema_for::<Proof>());
        operation(name, request.as_ref(), &short(&response), &refusal)
    };
    for (name, method) in [(CHALLENGE, "post"), (PROVE, "post"), (ATTACHED, "get")] {
        let operation = of(&mut generator, name);
        put(name, method, operation);
    }
    put(EVENTS, "get", events(&refusal));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runstone: a held log",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the process that holds a log answers on the socket beside its file.",
        },
        "servers": [{ "url": "http://localhost" }],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn content(schema: &Schema) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn operation(name: &str, request: Option<&Schema>, answer: &Value, refusal: &Schema) -> Value {
    let mut operation = json!({
        "operationId": name.replace('/', "_"),
        "responses": {
            "200": answer,
            "default": { "description": "Why not.", "content": content(refusal) },
        },
    });
    if let (Some(request), Some(operation)) = (request, operation.as_object_mut()) {
        let body = json!({ "required": true, "content": content(request) });
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn short(response: &Schema) -> Value {
    json!({ "description": "The answer.", "content": content(response) })
}

/// A page: events for whoever reads JSON alone, and packed.
fn packed(response: &Schema) -> Value {
    json!({
        "description": "The answer; as CBOR to whoever accepts that (docs/ATTACH.md).",
        "content": {
            "application/json": { "schema": response },
            CBOR: {},
        },
    })
}

/// The answer to what may take long. `OpenAPI` 3.1 has no words of its own for events of a stream.
fn long(response: &Schema, events: &Value) -> Value {
    json!({
        "description": "The answer; to whoever accepts them, server-sent events: how far it is now and then, and last the answer or why not.",
        "content": {
            "application/json": { "schema": response },
            EVENT_STREAM: { "schema": { "type": "string" }, "x-events": events },
        },
    })
}

fn events(refusal: &Schema) -> Value {
    let parameter = |name: &str, schema: Value| json!({ "name": name, "in": "query", "required": false, "schema": schema });
    let number = json!({ "type": "integer", "minimum": 0, "format": "uint64" });
    json!({
        "operationId": EVENTS,
        "description": "Follows the log: server-sent events, each `data` an event as `runstone log --json` prints it, its position as id; an event named `error` says what cannot be read.",
        "parameters": [
            parameter("query", json!({ "type": "string" })),
            parameter("from", number.clone()),
            parameter("to", number),
        ],
        "responses": {
            "200": {
                "description": "Events, as they come.",
                "content": { EVENT_STREAM: { "schema": { "type": "string" } } },
            },
            "default": { "description": "Why not.", "content": content(refusal) },
        },
    })
}
