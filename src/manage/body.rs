//! Reading bodies.

use std::convert::Infallible;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::problem::Problem;
use super::state::ManageState;
use super::wire::object::Object;

/// A JSON body. Unknown and repeated members are refused by name; the values of what is refused are not shown.
///
/// What is wrong with it is said when it is asked for: after who asks, and which row and revision it is about.
pub(super) struct Json<T>(Result<T, Problem>);

/// The same, where a body may be left out.
pub(super) struct OptionalJson<T>(Result<T, Problem>);

impl<T> Json<T> {
    pub(super) fn get(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T> OptionalJson<T> {
    pub(super) fn get(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned> FromRequest<ManageState> for Json<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &ManageState) -> Result<Self, Infallible> {
        let is_json = is_json(request.headers());
        let body = read(request, state).await;
        Ok(Self(body.and_then(|body| typed(is_json, &body))))
    }
}

impl<T: DeserializeOwned + Default> FromRequest<ManageState> for OptionalJson<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &ManageState) -> Result<Self, Infallible> {
        let is_json = is_json(request.headers());
        let body = read(request, state).await;
        Ok(Self(body.and_then(|body| match body.is_empty() {
            true => Ok(T::default()),
            false => typed(is_json, &body),
        })))
    }
}

fn typed<T: DeserializeOwned>(is_json: bool, body: &[u8]) -> Result<T, Problem> {
    match is_json {
        true => parse(body),
        false => Err(Problem::not_json()),
    }
}

/// Of this type or one that is made of it, such as `application/merge-patch+json`.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(request: Request, state: &ManageState) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.status();
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let sentence = format!("the body must have at most {} bytes", state.largest_body);
                Problem::new(status, "body-too-large", sentence)
            }
            _ => Problem::new(StatusCode::BAD_REQUEST, "malformed-body", "the body could not be read"),
        }
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut reader);
    let error = match read {
        Ok(Object(value)) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => return Err(malformed(&error)),
        },
        Err(error) => error,
    };
    let path = error.path().to_string();
    let error = error.into_inner();
    if error.classify() != Category::Data {
        return Err(malformed(&error));
    }
    let sentence = without_value(&error.to_string());
    let name = named(&sentence).map(str::to_owned);
    Err(match name {
        Some(name) if path == "." => Problem::invalid(name, sentence),
        // An unknown member is on the path itself.
        Some(name) if path == name || path.ends_with(&format!(".{name}")) => Problem::invalid(path, sentence),
        Some(name) => Problem::invalid(format!("{path}.{name}"), sentence),
        None if path == "." => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", sentence),
        None => Problem::invalid(path, sentence),
    })
}

/// The syntax is wrong: where, but not what is there.
fn malformed(error: &serde_json::Error) -> Problem {
    let sentence = match error.classify() {
        Category::Eof if error.line() <= 1 && error.column() == 0 => "the body is empty; JSON is expected".to_owned(),
        Category::Eof => "the JSON ends too early".to_owned(),
        _ => format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
    };
    Problem::new(StatusCode::BAD_REQUEST, "malformed-body", sentence)
}

/// serde shows the value that it found, which may be a key in the wrong place.
pub(super) fn without_value(message: &str) -> String {
    // Its place is in the path.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let found = [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant ",
    ];
    if !found.iter().any(|start| message.starts_with(start)) {
        return shortened(message);
    }
    match message.rsplit_once(", expected ") {
        // Its name in Rust says nothing to a client.
        Some((_, "u64" | "u32" | "u16")) => "must be a whole number, from 0 on".to_owned(),
        Some((_, expected)) => shortened(&format!("must be {expected}")),
        None => "has an invalid value".to_owned(),
    }
}

/// The member that serde names: unknown, missing or repeated.
pub(super) fn named(sentence: &str) -> Option<&str> {
    let starts = ["unknown field `", "missing field `", "duplicate field `"];
    let rest = starts.iter().find_map(|start| sentence.strip_prefix(start))?;
    rest.split_once('`').map(|(name, _)| name)
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_SENTENCE).collect()
}

const LONGEST_SENTENCE: usize = 400;
