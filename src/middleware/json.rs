//! JSON (RFC 8259) in bodies of refusals.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;

use super::answer::Answer;
use super::grpc;
use crate::check::Rejection;

/// A refusal with this text, or for a gRPC request with a gRPC status.
pub(super) fn response<B>(
    rejection: &Rejection,
    request: &Parts,
    media_type: &'static str,
    body: impl Fn(Bytes) -> B,
    text: impl FnOnce() -> String,
) -> Response<B> {
    if let Some(content_type) = grpc::requested(request) {
        let mut response = Response::new(body(Bytes::new()));
        grpc::write(rejection, content_type, response.headers_mut());
        return response;
    }
    let mut response = Response::new(body(Bytes::from(text())));
    *response.status_mut() = Answer::to(rejection).status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Appends a string that consists of these parts (section 7).
pub(super) fn string(json: &mut String, parts: &[&str]) {
    json.push('"');
    for c in parts.iter().flat_map(|part| part.chars()) {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            '\0'..='\u{1f}' => {
                // Writing into a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            _ => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn strings_of_any_text_are_valid_json(text: String) {
            let mut json = String::new();
            string(&mut json, &[&text]);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
