//! The `Vary` field: which request headers an answer depends on (RFC 9110, section 12.5.5).

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, VARY};

use super::source::{KeySource, Place};

/// The value that lists the headers of these sources; none when keys come in the URI alone, which caches tell apart
/// anyway.
pub(super) fn value(sources: &[KeySource]) -> Option<HeaderValue> {
    let mut names: Vec<&HeaderName> = Vec::new();
    for source in sources {
        let name = match source.place() {
            Place::Scheme { .. } => &AUTHORIZATION,
            Place::Header(name) => name,
            Place::Parameter(_) => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names: Vec<&str> = names.into_iter().map(HeaderName::as_str).collect();
    match names.join(", ") {
        names if names.is_empty() => None,
        // Static values are cloned without touching a counter that all threads share; these are the usual ones.
        names if names == "authorization, x-api-key" => Some(HeaderValue::from_static("authorization, x-api-key")),
        names if names == "authorization" => Some(HeaderValue::from_static("authorization")),
        names if names == "x-api-key" => Some(HeaderValue::from_static("x-api-key")),
        names => HeaderValue::try_from(names).ok(),
    }
}

/// Adds the names to what the answer already varies by.
pub(super) fn merge(headers: &mut HeaderMap, ours: &HeaderValue) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, ours.clone());
        return;
    }
    let mut merged: Vec<u8> = Vec::new();
    for line in headers.get_all(VARY) {
        push(&mut merged, line.as_bytes());
    }
    let known = |merged: &[u8], name: &[u8]| {
        merged
            .split(|byte| *byte == b',')
            .any(|listed| listed.trim_ascii() == b"*" || listed.trim_ascii().eq_ignore_ascii_case(name))
    };
    for name in ours.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if !known(&merged, name) {
            push(&mut merged, name);
        }
    }
    // Made of header values alone, so it is one; a field left as the handler wrote it would be the lesser evil.
    if let Ok(merged) = HeaderValue::from_bytes(&merged) {
        headers.insert(VARY, merged);
    }
}

fn push(list: &mut Vec<u8>, names: &[u8]) {
    if !list.is_empty() && !names.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(names);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(before: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in before {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        merge(&mut headers, &HeaderValue::from_static("authorization, x-api-key"));
        let lines = headers.get_all(VARY).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn names_are_added_to_those_there_and_only_once() {
        for (before, after) in [
            (&[][..], "authorization, x-api-key"),
            (&[""], "authorization, x-api-key"),
            (&["accept-encoding"], "accept-encoding, authorization, x-api-key"),
            (&["accept", "origin"], "accept, origin, authorization, x-api-key"),
            (&["Authorization"], "Authorization, x-api-key"),
            (&["X-Api-Key ,authorization"], "X-Api-Key ,authorization"),
            (&["*"], "*"),
            (&["x-api-key-version"], "x-api-key-version, authorization, x-api-key"),
        ] {
            assert_eq!(merged(before), [after], "{before:?}");
        }
    }

    #[test]
    fn headers_are_listed_once_and_parameters_not_at_all() {
        let header = |name| KeySource::header(name).unwrap();
        let parameter = KeySource::dangerous_query_parameter("key").unwrap();
        let sources = [
            KeySource::bearer(),
            KeySource::basic(),
            header("x-gomaluum-key"),
            parameter.clone(),
        ];
        assert_eq!(value(&sources).unwrap(), "authorization, x-gomaluum-key");
        assert_eq!(value(&[parameter]), None);
    }
}
