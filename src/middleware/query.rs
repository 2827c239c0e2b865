//! A key in the query of a URI: finding it, and taking it out.

use http::Uri;
use http::uri::PathAndQuery;
use zeroize::Zeroizing;

/// The values of the parameters with this name, still encoded, in their order.
pub(super) fn values<'u>(uri: &'u Uri, name: &str) -> impl Iterator<Item = &'u str> {
    let pieces = uri.query().unwrap_or_default().split('&');
    pieces.filter_map(move |piece| {
        let (found, value) = split(piece);
        is_named(found, name).then_some(value)
    })
}

/// Takes the parameters that `named` accepts out of the URI; all others keep their text and their order.
pub(super) fn remove(uri: &mut Uri, named: impl Fn(&str) -> bool) {
    let Some(query) = uri.query() else { return };
    let mut text = String::with_capacity(uri.path().len() + query.len() + 1);
    text.push_str(uri.path());
    let mut mark = '?';
    for piece in query.split('&').filter(|piece| !named(split(piece).0)) {
        text.push(mark);
        text.push_str(piece);
        mark = '&';
    }
    let mut parts = std::mem::take(uri).into_parts();
    // Pieces of a valid query between valid separators are a valid query. Should that ever fail, the empty URI that
    // stands there now shows nothing of the key.
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    if let Ok(scrubbed) = Uri::from_parts(parts) {
        *uri = scrubbed;
    }
}

/// Whether a parameter's name, as it is written, means this one. Names are decoded first: `api%5Fkey` is `api_key` to
/// every framework behind us, and would go through unseen.
pub(super) fn is_named(written: &str, name: &str) -> bool {
    written == name || (written.contains('%') && *decode(written) == name.as_bytes())
}

/// Percent-decoding (RFC 3986, section 2.1). What is no encoding stays as it is; `+` is no space here: keys have none.
pub(super) fn decode(text: &str) -> Zeroizing<Vec<u8>> {
    let mut rest = text.as_bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let [first, tail @ ..] = rest {
        if let [b'%', high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.push(high << 4 | low);
            rest = tail;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    decoded
}

fn split(piece: &str) -> (&str, &str) {
    piece.split_once('=').unwrap_or((piece, ""))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
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
    fn values_are_found_by_decoded_names_and_decode_like_everywhere() {
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
