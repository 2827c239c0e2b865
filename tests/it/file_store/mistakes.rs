//! Files with mistakes: refused with line and column, and nothing of them is shown.

use std::collections::BTreeMap;

use tower_api_key::key::Lookup;
use tower_api_key::store::{FileStore, KeyStore, StoreErrorKind};

use super::{Folder, KEY, OTHER, all_of, entry, json, sha256, toml};

async fn refusal(name: &str, text: &str) -> String {
    let folder = Folder::new();
    let error = FileStore::open(folder.write_old(name, text))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    let said = all_of(&error);
    assert!(said.contains(name), "{said}");
    said
}

/// The second line of a key in TOML replaced, or lines added to it.
fn with(line: &str) -> String {
    let name = line.split([' ', '=']).next().unwrap();
    let entry = entry("a", KEY);
    let mut lines: Vec<&str> = entry.lines().filter(|old| !old.starts_with(name)).collect();
    lines.insert(1, line);
    format!("{}\n[end]\n", lines.join("\n"))
}

#[tokio::test]
async fn mistake_is_refused_with_its_line_and_column() {
    let hash = sha256(KEY);
    let long = "x".repeat(256);
    for (text, said) in [
        (
            with("scope = [\"a:b\"]"),
            "line 2, column 1: unknown field; the fields here are name, ",
        ),
        (with("network = [\"192.0.2.0/24\"]"), "line 2, column 1: unknown field"),
        (with("networks = []"), "line 2, column 12: must be `\"any\"` or a list"),
        (
            with("networks = \"\""),
            "line 2, column 12: must be `\"any\"` or a list",
        ),
        (
            with("networks = \"192.0.2.0/24\""),
            "line 2, column 12: must be `\"any\"` or a list",
        ),
        (
            with("networks = [\"any\"]"),
            "line 2, column 13: must be `address/length` or an address",
        ),
        (
            with("networks = [\"192.0.2.0/24 ::1\"]"),
            "line 2, column 13: must be `address/length`",
        ),
        (
            with("networks = [\"192.0.2.0/33\"]"),
            "line 2, column 13: must be `address/length`",
        ),
        (with("scopes = \"orders:read\""), "line 2, column 10: must be a list"),
        (
            with("scopes = [\"Orders:read\"]"),
            "line 2, column 11: must be `resource:action`",
        ),
        (with("scopes = [1]"), "line 2, column 11: must be a text"),
        (with("name = \"\""), "line 2, column 8: must have 1 to 255 bytes"),
        (
            with(&format!("name = \"{long}\"")),
            "line 2, column 8: must have 1 to 255 bytes",
        ),
        (
            with("name = \"a\\u0007\""),
            "line 2, column 8: must have 1 to 255 bytes",
        ),
        (with("name = true"), "line 2, column 8: must be a text"),
        (with("organization = 7"), "line 2, column 16: must be a text"),
        (
            with("hash = \"sha256:00\""),
            "line 2, column 8: must be `sha256:` and 64 hex digits",
        ),
        (
            with(&format!("hash = \"{hash}  -\"")),
            "line 2, column 8: must be `sha256:` and 64 hex digits",
        ),
        (
            with("limits = [\"requests=100\"]"),
            "line 2, column 11: must be as in `requests=100/60s`",
        ),
        (
            with("limits = [\"a=1/60s\", { name = \"a\", limit = 1, per = 1 }]"),
            "line 2, column 22: repeated name of a limit",
        ),
        (
            with("hash = \"5f4dcc3b5aa765d61d8327deb882cf99\""),
            "line 2, column 8: unknown scheme of hash",
        ),
        (
            with("hash = \"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\""),
            "out of bounds",
        ),
        (
            with("hash = \"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\""),
            "line 2, column 8: needs a `lookup`",
        ),
        (with("prefix = \"acme\""), "line 2, column 10: needs a `lookup`"),
        (with("lookup = \"\""), "line 2, column 10: must be 1 to 24"),
        (
            with("lookup = \"4kTz0Q2mVbXw\"\nprefix = \"other\""),
            "line 3, column 10: no key format of this store has this prefix: `FileStoreBuilder::formats` sets them",
        ),
        (
            with("lookup = \"4kTz0Q2mVbXw\"\nenvironment = \"prod\""),
            "line 3, column 15: its key format has no such environment: `FileStoreBuilder::formats` sets the formats",
        ),
        (
            with("status = \"revoked\""),
            "line 2, column 10: must be `active` or `disabled`",
        ),
        (with("user = \"\""), "line 2, column 8: must be a user id"),
        (
            with("expires_at = \"tomorrow\""),
            "line 2, column 14: must be an RFC 3339",
        ),
        (
            with("expires_at = 2099-01-01"),
            "line 2, column 14: must be an RFC 3339",
        ),
        (
            with("expires_at = 2099-01-01T00:00:00"),
            "line 2, column 14: must be an RFC 3339",
        ),
        (
            with("expires_at = 4070908800"),
            "line 2, column 14: must be an RFC 3339",
        ),
        (with("metadata = { a = 1 }"), "line 2, column 18: must be a text"),
        (with("metadata = []"), "line 2, column 12: must be a table"),
        (
            with("limits = [{ name = \"A\", limit = 1, per = 1 }]"),
            "line 2, column 11: invalid name of a limit",
        ),
        (
            with("limits = [{ name = \"a\", limit = 0, per = 1 }]"),
            "line 2, column 11: invalid limit",
        ),
        (
            with("limits = [{ name = \"a\", limit = -1, per = 1 }]"),
            "line 2, column 33: must be a whole number",
        ),
        (
            with("limits = [{ name = \"a\", limit = 1, per = 0 }]"),
            "invalid window of a limit",
        ),
        (
            with("limits = [{ name = \"a\", limit = 1 }]"),
            "line 2, column 11: `per` is missing",
        ),
        (
            with("limits = [{ name = \"a\", limit = 1, per = 1, brust = 1 }]"),
            "line 2, column 45: unknown field",
        ),
        (
            with("limits = [{ name = \"a\", limit = 1, per = 1 }, { name = \"a\", limit = 1, per = 1 }]"),
            "repeated name of a limit",
        ),
        (
            toml(&[entry("a", KEY), entry("a", OTHER)]),
            "line 8, column 1: repeated name",
        ),
        (
            toml(&[entry("a", KEY), entry("b", KEY)]),
            "line 8, column 1: repeated hash",
        ),
        (
            toml(&[entry("a", KEY)]).replace("scopes = [\"orders:read\"]\n", ""),
            "line 1, column 1: `scopes` is missing",
        ),
        (
            toml(&[entry("a", KEY)]).replace("networks = \"any\"\n", ""),
            "line 1, column 1: `networks` is missing",
        ),
        (
            format!(
                "[[organizations]]\nname = \"acme\"\nlimits = [\"requests=1/1s\"]\n{}",
                with("limits = [\"requests=1/1s\"]")
            ),
            "line 4, column 1: a limit has the name of one of its organization",
        ),
        ("keys = [1]\n[end]\n".to_owned(), "line 1, column 9: must be a table"),
        ("keys = {}\n[end]\n".to_owned(), "line 1, column 8: must be a list"),
        (
            "keys = []\nkey = []\n[end]\n".to_owned(),
            "line 2, column 1: unknown field; the fields here are realm",
        ),
        (
            "realm = \"\"\nkeys = []\n[end]\n".to_owned(),
            "line 1, column 9: must have 1 to 255 bytes",
        ),
        (
            format!("[[organizations]]\nname = \"acne\"\n{}", toml(&[entry("a", KEY)])),
            "line 3, column 1: its organization is not in",
        ),
        (
            format!(
                "[[organizations]]\nname = \"a\"\n[[organizations]]\nname = \"a\"\nstatus = \"active\"\n{}",
                "[end]"
            ),
            "line 3, column 1: repeated organization",
        ),
        (
            format!(
                "keys = []\n[[organizations]]\nname = \"a\"\n[[organizations]]\nname = \"a\"\n{}",
                "[end]"
            ),
            "line 4, column 1: repeated organization",
        ),
        (
            "keys = []\n[[organizations]]\nname = \"a\"\nslug = \"A\"\n[end]".to_owned(),
            "line 4, column 8: must have 1 to 64 bytes of `a-z`",
        ),
        (
            "keys = []\n[[organizations]]\nname = \"a\"\n[[organizations]]\nname = \"b\"\nslug = \"a\"\n[end]"
                .to_owned(),
            "line 4, column 1: repeated slug",
        ),
        ("".to_owned(), "the last line must be `[end]`"),
        (
            "keys = []\n".to_owned(),
            "line 1, column 10: the last line must be `[end]`",
        ),
        ("[end]\n[[keys]]\n".to_owned(), "the last line must be `[end]`"),
        ("keys = []\n[end]\nx = 1\n".to_owned(), "the last line must be `[end]`"),
        ("keys = []\n# [end]\n".to_owned(), "the last line must be `[end]`"),
        ("keys = []\nend = {}\n".to_owned(), "the last line must be `[end]`"),
        (
            "keys = []\n[end]\n[end]\n".to_owned(),
            "line 3, column 2: invalid TOML: duplicate key",
        ),
        (
            "keys = []\nname = \"a\nb\"\n[end]\n".to_owned(),
            "line 2, column 10: invalid TOML",
        ),
        (
            format!("keys = []\nhash = {hash}\n[end]\n"),
            "line 2, column 8: invalid TOML",
        ),
        ("keys = [".repeat(100_000), "invalid TOML"),
        (format!("keys = {}", "[".repeat(100_000)), "invalid TOML"),
    ] {
        let refused = refusal("keys.toml", &text).await;
        assert!(
            refused.contains(said),
            "{said}\n{}\n{refused}",
            &text[..text.len().min(400)]
        );
    }
}

#[tokio::test]
async fn mistake_in_json_is_refused_with_its_line_and_column() {
    let good = json("a", KEY);
    let hash = sha256(KEY);
    for (text, said) in [
        (good.replace("\"name\"", "\"nam\""), "column 19: unknown field"),
        (
            good.replace("\"scopes\"", "\"name\": \"b\", \"scopes\""),
            "repeated field",
        ),
        (
            good.replace("\"networks\": \"any\"", "\"networks\": null"),
            "column 11: `networks` is missing",
        ),
        (
            good.replace(", \"networks\": \"any\"", ""),
            "column 11: `networks` is missing",
        ),
        (good.replace("\"any\"", "[]"), "must be `\"any\"` or a list"),
        (good.replace("\"a\"", "\"\\ud800\""), "invalid JSON"),
        (
            good.replace("\"a\"", "\"a\u{7}\""),
            "column 21: invalid JSON: control character",
        ),
        (format!("{good}{good}"), "invalid JSON: trailing characters"),
        (format!("{{\"keys\": [], \"keys\": {}", &good[9..]), "repeated field"),
        (good.replace("\"acme\"", "acme"), "invalid JSON: expected value"),
        ("\n  {\n \"keys\": 7}".to_owned(), "line 3, column 10: must be a list"),
        ("[]".to_owned(), "line 1, column 1: must be a table"),
        ("null".to_owned(), "line 1, column 1: must be a table"),
        ("".to_owned(), "line 1, column 1: invalid JSON: EOF"),
        (good.replace("{\"keys\"", "{\"end\": {}, \"keys\""), "unknown field"),
        ("[".repeat(100_000), "invalid JSON"),
        (
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "too many lists and tables",
        ),
        (format!("{{\"keys\": {hash}}}"), "invalid JSON: expected value"),
    ] {
        let refused = refusal("keys.json", &text).await;
        assert!(
            refused.contains(said),
            "{said}\n{}\n{refused}",
            &text[..text.len().min(400)]
        );
    }
    let folder = Folder::new();
    let path = folder.path("keys.json");
    std::fs::write(&path, b"{\n\xff\xfe").unwrap();
    super::set_mode(&path, 0o600);
    let error = all_of(&FileStore::open(&path).await.map(drop).unwrap_err());
    assert!(error.contains("line 2, column 1: must be UTF-8"), "{error}");
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, utf16).unwrap();
    let error = all_of(&FileStore::open(&path).await.map(drop).unwrap_err());
    assert!(
        error.contains("line 1, column 1: must be UTF-8, and is UTF-16"),
        "{error}"
    );
}

/// A key in each place where one could be put by mistake.
#[tokio::test]
async fn mistake_shows_nothing_of_a_key_or_a_hash() {
    let (key, hash) = (KEY, sha256(KEY));
    let mut texts = Vec::new();
    for secret in [key, hash.trim_start_matches("sha256:")] {
        for line in [
            format!("{secret} = 1"),
            format!("hash = \"{secret}\""),
            format!("hash = {secret}"),
            format!("hash = \"{secret}"),
            format!("hash = \"$argon2id$v=19$m=8,t=1,p=1${secret}\""),
            format!("name = \"{secret}\\u0007\""),
            format!("organization = [\"{secret}\"]"),
            format!("scopes = [\"{}\"]", secret.to_uppercase()),
            format!("networks = [\"{secret}\"]"),
            format!("networks = \"{secret}\""),
            format!("expires_at = \"{secret}\""),
            format!("status = \"{secret}\""),
            format!("lookup = \"{secret}{secret}\""),
            format!("lookup = \"a\"\nprefix = \"{secret}\""),
            format!("lookup = \"a\"\nenvironment = \"{secret}\""),
            format!(
                "limits = [{{ name = \"{}\", limit = 1, per = 1 }}]",
                secret.to_uppercase()
            ),
            format!("limits = \"{secret}\""),
            format!("limits = [\"{secret}=1\"]"),
            format!("limits = [\"{}=1/1s\"]", secret.to_uppercase()),
            format!("metadata = {{ {secret} = 1 }}"),
            format!("metadata = {{ {} = \"\" }}", secret.repeat(3)),
            format!("user = \"{secret}\\n\""),
            format!("key = \"{secret}\""),
        ] {
            texts.push(("keys.toml", with(&line)));
        }
        texts.push(("keys.toml", format!("keys = []\n[{secret}]\n[end]\n")));
        texts.push(("keys.toml", secret.to_owned()));
        texts.push(("keys.json", secret.to_owned()));
        texts.push(("keys.json", format!("\"{secret}\"")));
        texts.push(("keys.json", format!("{{\"{secret}\": 1}}")));
        texts.push(("keys.json", format!("{{\"keys\": [\"{secret}\"]}}")));
        texts.push(("keys.json", format!("{{\"keys\": \"{secret}\"}}")));
        texts.push(("keys.json", format!("{{\"keys\": [{{\"name\": {secret}}}]}}")));
        texts.push(("keys.json", format!("{{\"keys\": [{{\"{secret}\": {{}}}}]}}")));
    }
    texts.push(("keys.toml", toml(&[entry("a", KEY), entry("a", KEY)])));
    for (name, text) in texts {
        let said = refusal(name, &text).await.to_lowercase();
        for part in [&key[5..13], &key[12..20], &hash[7..15], &hash[30..38]] {
            assert!(!said.contains(&part.to_lowercase()), "{part} of {text}\nis in {said}");
        }
    }
}

/// All that the keys of a text are good for.
async fn rights(folder: &Folder, name: &str, text: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(text).unwrap();
    let store = FileStore::open(folder.write_old(name, text)).await.ok()?;
    let mut rights = BTreeMap::new();
    for key in [KEY, OTHER] {
        let lookup = Lookup::new(sha256(key).trim_start_matches("sha256:")).unwrap();
        if let Some(found) = store.find(&lookup).await.unwrap() {
            rights.insert(key.to_owned(), format!("{:?} {:?}", found.record, found.organization));
        }
    }
    Some(rights)
}

#[tokio::test]
async fn file_cut_at_any_byte_has_no_more_rights_than_the_whole() {
    let folder = Folder::new();
    let toml = format!(
        "[[organizations]]\nname = \"acme\"\nlimits = [{{ name = \"shared\", limit = 5, per = 60 }}]\n\n{}",
        toml(&[
            entry("a", KEY).replace(
                "networks = \"any\"",
                "networks = [\"192.0.2.0/24\"]\nexpires_at = 2099-01-01T00:00:00Z"
            ),
            entry("b", OTHER).replace(
                "networks = \"any\"",
                "networks = [\"192.0.2.0/24\"]\nstatus = \"disabled\""
            ),
        ])
    );
    let json = json("a", KEY).replace(
        "\"any\"",
        "[\"192.0.2.0/24\"], \"expires_at\": \"2099-01-01T00:00:00Z\"",
    );
    for (name, text) in [("keys.toml", &toml), ("keys.json", &json)] {
        let whole = rights(&folder, name, text.as_bytes()).await.unwrap();
        assert!(!whole.is_empty());
        let mut taken = 0;
        for length in 0..text.len() {
            if let Some(cut) = rights(&folder, name, &text.as_bytes()[..length]).await {
                assert_eq!(cut, whole, "cut at {length} of {}", text.len());
                taken += 1;
            }
        }
        // Only white space at the end can be missing.
        assert_eq!(taken, text.len() - text.trim_end().len(), "{name}");
    }
}
