//! The OpenAPI document: what it says, and that it is the one in the repository.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::operations::all;
use crate::support::{Served, Store};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[tokio::test]
async fn document_is_the_one_of_the_repository() {
    let served = Served::start(Store::Sqlite).await.document().await;
    let text = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    if std::env::var_os("API_KEYS_BLESS").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        kept == text,
        "docs/openapi.json is not what is served: run this test with API_KEYS_BLESS=1, and look at the difference"
    );
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_body_is_closed() {
    let document = Served::start(Store::Sqlite).await.document().await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    for reference in &references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference}");
    }
    for name in schemas.keys() {
        let is_used = references.contains(&format!("#/components/schemas/{name}"));
        assert!(is_used || name == "ProblemDetails", "{name} is not used");
    }
    // Members that are not known are refused, and the document says so.
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(content) = operation["requestBody"]["content"].as_object() else {
                continue;
            };
            for body in content.values() {
                let mut of_body = BTreeSet::new();
                collect(body, &mut of_body);
                assert!(!of_body.is_empty(), "{method} {path}");
                for reference in of_body {
                    let schema = &schemas[reference.rsplit('/').next().unwrap()];
                    let is_open = schema["type"] == "object" && schema["additionalProperties"] != Value::Bool(false);
                    assert!(!is_open, "{method} {path}: {reference}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_operation_names_its_scope_and_its_errors() {
    let document = Served::start(Store::Sqlite).await.document().await;
    let mut ids = BTreeSet::new();
    for operation in all(&document) {
        assert!(ids.insert(operation.id.clone()), "{} is there twice", operation.id);
        let described = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
        let text = described["description"].as_str().unwrap();
        assert!(
            text.contains("api-keys.") || matches!(&*operation.id, "revoke_self" | "csrf_token"),
            "{}: {text}",
            operation.id
        );
        for status in ["4XX", "5XX"] {
            let content = &described["responses"][status]["content"];
            assert!(
                content["application/problem+json"].is_object(),
                "{} {status}",
                operation.id
            );
        }
        let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
        for name in operation.path.split(['{', '}']).skip(1).step_by(2) {
            assert!(
                parameters.iter().any(|one| one["in"] == "path" && one["name"] == name),
                "{} {name}",
                operation.id
            );
        }
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found.insert(reference.to_owned());
            }
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
