//! A key in the query of a URI: finding it, and removing it.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// The values of the parameters with this name, still encoded, in order.
pub(super) fn values<'u>(uri: &'u Uri, name: &str) -> impl Iterator<Item = &'u str> {
    let pieces = uri.query().unwrap_or_default().split('&');
    pieces.filter_map(move |piece| {
        let (found, value) = split(piece);
        is_named(found, name).then_some(value)
    })
}

/// The parameters that `named` does not accept, as they are written.
pub(super) fn others(uri: &Uri, named: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let pieces = uri.query().into_iter().flat_map(|query| query.split('&'));
    pieces.filter(move |piece| !named(split(piece).0))
}

/// Removes the parameters that `named` accepts. The others keep their text and order.
pub(super) fn remove(uri: &mut Uri, named: impl Fn(&str) -> bool) {
    let Some(query) = uri.query() else { return };
    let mut text = String::with_capacity(uri.path().len() + query.len() + 1);
    text.push_str(uri.path());
    let mut mark = '?';
    for piece in others(uri, named) {
        text.push(mark);
        text.push_str(piece);
        mark = '&';
    }
    replace(uri, text);
}

/// Changes the query.
pub(super) fn edit(uri: &mut Uri, change: impl FnOnce(&[u8]) -> Vec<u8>) {
    let Some(query) = uri.query() else { return };
    let query = String::from_utf8(change(query.as_bytes())).unwrap_or_default();
    replace(uri, format!("{}?{query}", uri.path()));
}

fn replace(uri: &mut Uri, path_and_query: String) {
    let mut parts = std::mem::take(uri).into_parts();
    // Pieces of a valid query make a valid query. If that ever fails, the URI stays empty and shows nothing of the key.
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    if let Ok(scrubbed) = Uri::from_parts(parts) {
        *uri = scrubbed;
    }
}

/// Whether a parameter's written name means this one. It is decoded first: frameworks behind the layer read `api%5Fkey` as
/// `api_key`, so it must not pass unseen.
pub(super) fn is_named(written: &str, name: &str) -> bool {
    written == name || (written.contains('%') && *decode(written) == name.as_bytes())
}

/// Percent-decodes a value (RFC 3986, section 2.1). Invalid escapes stay, and so does `+`: keys hold no spaces.
pub(super) fn decode(text: impl AsRef<[u8]>) -> Zeroizing<Vec<u8>> {
    let text = text.as_ref();
    // Never longer than the text, so that no buffer is left behind unwiped by growing.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    decoded.extend(percent_decode(text));
    decoded
}

fn split(piece: &str) -> (&str, &str) {
    piece.split_once('=').unwrap_or((piece, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(uri: &str) -> String {
        let mut uri: Uri = uri.parse().unwrap();
        remove(&mut uri, |name| is_named(name, "api_key"));
        uri.to_string()
    }

    #[test]
    fn only_the_key_leaves_the_query() {
        for (before, after) in [
            ("/a?api_key=k", "/a"),
            ("/a?b=1&api_key=k&c=%20+", "/a?b=1&c=%20+"),
            ("/a?api_key=k&api%5fkey=l&b", "/a?b"),
            ("/a?b&&api_key&", "/a?b&&"),
            ("/a?API_KEY=k", "/a?API_KEY=k"),
            ("/a?b=api_key=k", "/a?b=api_key=k"),
            ("/a", "/a"),
            ("http://example.com?api_key=k", "http://example.com/"),
            (
                "http://example.com:8080/x?api_key=k&y=z",
                "http://example.com:8080/x?y=z",
            ),
        ] {
            assert_eq!(scrubbed(before), after, "{before}");
        }
    }

    #[test]
    fn values_are_found_by_decoded_names_and_decoded() {
        let uri: Uri = "/?api%5Fkey=one&x=2&api_key=tw%6F%zz%4&api_key".parse().unwrap();
        let found: Vec<&str> = values(&uri, "api_key").collect();
        assert_eq!(found, ["one", "tw%6F%zz%4", ""]);
        assert_eq!(&**decode(found[1]), b"two%zz%4");
        assert_eq!(&**decode("%ff+"), b"\xff+");
    }

    proptest::proptest! {
        #[test]
        fn nothing_of_the_key_survives_and_nothing_else_goes(
            before in "([a-z=%]{0,6}&){0,4}", key in "[A-Z]{8}", after in "(&[a-z=%]{0,6}){0,4}",
        ) {
            let mut uri: Uri = format!("/p?{before}api_key={key}{after}").parse().unwrap();
            remove(&mut uri, |name| is_named(name, "api_key"));
            proptest::prop_assert!(!uri.to_string().contains(&key));
            let others: String = [before.strip_suffix('&').unwrap_or(""), after.strip_prefix('&').unwrap_or("")].join("&");
            let kept: Vec<&str> = uri.query().unwrap_or("").split('&').filter(|piece| !piece.is_empty()).collect();
            let expected: Vec<&str> = others.split('&').filter(|piece| !piece.is_empty()).collect();
            proptest::prop_assert_eq!(kept, expected);
        }
    }
}
