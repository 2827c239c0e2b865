//! The `Vary` header: which request headers a response depends on (RFC 9110, section 12.5.5).

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, VARY};

use super::source::{KeySource, Place};

/// The names of the headers that keys come in.
///
/// Every admitted request has a clone until its response is there. Cloning one of the common lists touches no counter that
/// threads share.
#[derive(Clone)]
pub(super) enum Vary {
    AuthorizationAndApiKey,
    Authorization,
    ApiKey,
    Other(Arc<HeaderValue>),
}

// Constants, because a static would be cloned, by a call and a move for every response.
const AUTHORIZATION_AND_API_KEY: HeaderValue = HeaderValue::from_static("authorization, x-api-key");
const ONLY_AUTHORIZATION: HeaderValue = HeaderValue::from_static("authorization");
const ONLY_API_KEY: HeaderValue = HeaderValue::from_static("x-api-key");

impl Vary {
    /// The headers of these sources. `None` if keys come in the URI alone: caches key on it anyway.
    pub(super) fn by(sources: &[KeySource]) -> Option<Self> {
        let mut names: Vec<&HeaderName> = Vec::new();
        for source in sources {
            let name = match source.place() {
                Place::Scheme { .. } => &AUTHORIZATION,
                Place::Header(name) => name,
                Place::Protocol(_) => &SEC_WEBSOCKET_PROTOCOL,
                Place::Parameter(_) => continue,
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names: Vec<&str> = names.into_iter().map(HeaderName::as_str).collect();
        let names = names.join(", ");
        if names.is_empty() {
            return None;
        }
        let names = HeaderValue::try_from(names).ok()?;
        let common = [Self::AuthorizationAndApiKey, Self::Authorization, Self::ApiKey];
        let known = common.into_iter().find(|common| common.value() == names);
        Some(known.unwrap_or_else(|| Self::Other(Arc::new(names))))
    }

    fn value(&self) -> HeaderValue {
        match self {
            Self::AuthorizationAndApiKey => AUTHORIZATION_AND_API_KEY,
            Self::Authorization => ONLY_AUTHORIZATION,
            Self::ApiKey => ONLY_API_KEY,
            Self::Other(names) => HeaderValue::clone(names),
        }
    }
}

/// Adds the names to those already in the response.
pub(super) fn merge(headers: &mut HeaderMap, ours: &Vary) {
    merge_line(headers, ours.value());
}

/// Adds the names of one line to those already in the response.
pub(super) fn merge_line(headers: &mut HeaderMap, names: HeaderValue) {
    let has_other_lines = headers.append(VARY, names);
    if has_other_lines {
        merge_last_line(headers);
    }
}

/// Makes one line of all. From the last one, names that the others list already are left out.
fn merge_last_line(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(VARY).iter();
    let Some(ours) = lines.next_back() else { return };
    let mut merged: Vec<u8> = Vec::new();
    for line in lines {
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
    // Always valid, because it is made of header values. If not, the lines stay as they are.
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
        let api_key = KeySource::header("x-api-key").unwrap();
        merge(&mut headers, &Vary::by(&[KeySource::bearer(), api_key]).unwrap());
        let lines = headers.get_all(VARY).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn names_are_added_once_to_those_present() {
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
    fn headers_are_listed_once_and_parameters_never() {
        let header = |name| KeySource::header(name).unwrap();
        let parameter = KeySource::dangerous_query_parameter("key").unwrap();
        let sources = [
            KeySource::bearer(),
            KeySource::basic(),
            header("x-my-key"),
            parameter.clone(),
        ];
        assert_eq!(Vary::by(&sources).unwrap().value(), "authorization, x-my-key");
        assert_eq!(Vary::by(&sources[..2]).unwrap().value(), "authorization");
        assert_eq!(
            Vary::by(&[header("x-api-key"), parameter.clone()]).unwrap().value(),
            "x-api-key"
        );
        assert!(Vary::by(&[parameter]).is_none());
    }
}
