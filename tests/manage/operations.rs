//! The operations of the OpenAPI document.

use http::Method;
use serde_json::Value;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
}

/// All operations of the document.
pub(crate) fn all(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            if operation["operationId"].is_string() {
                found.push(Operation {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    method,
                    path: path.clone(),
                });
            }
        }
    }
    assert!(found.len() > 40, "{found:?}");
    found
}

impl Operation {
    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.method == Method::GET || self.id == "preview_policy"
    }
}
