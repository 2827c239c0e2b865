//! Errors of parsing and of settings show nothing of a key that was put into the wrong place.

use std::collections::HashSet;
use std::error::Error;
use std::str::FromStr;

use proptest::prelude::*;
use tower_api_key::audit::CommitId;
use tower_api_key::hash::{validate, verify_sha256};
use tower_api_key::key::{
    Actor, ApiKey, IdempotencyKey, KeyFormat, KeyId, Lookup, Metadata, Networks, OrganizationId, RateLimit, Scope,
    ScopeSet, SecretHash, ServerSecret, Timestamp, UserId,
};
use tower_api_key::store::MemoryStore;
use tower_api_key::store::query::Cursor;
use tower_api_key::{ApiKeyLayer, KeySource, ProblemJson};

/// This many consecutive characters of a key must not appear.
const CANARY: usize = 8;

/// Texts with the forms of keys: with and without prefix, in base62, hex, base64url and lower case, with a separator.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{2,8}_(live|test)_[0-9A-Za-z]{43}",
        "[0-9A-Za-z_-]{22,64}",
        "[0-9a-f]{32}|[0-9a-f]{64}",
        "[0-9a-z]{22,40}",
        "[0-9]{1,6}\\|[0-9A-Za-z]{40}",
        "[A-Za-z]{3}\\.[0-9A-Za-z+/]{42}=",
    ]
}

/// The key alone, with what people copy with it, and as a part of texts that are nearly right.
fn texts(key: &str) -> Vec<String> {
    let mut texts: Vec<String> = [
        "KEY",
        " KEY",
        "KEY\n",
        "Bearer KEY",
        "\u{e9}KEY",
        "KEY\0",
        "KEY:read",
        "orders:KEY",
        "orders:read KEY",
        "KEY/24",
        "10.0.0.0/KEY",
        "10.0.0.0/8,KEY",
        "user:KEY\n",
        "01900000-0000-7000-8000-00000000000KEY",
        "2026-01-01T00:00:00KEY",
        "2026-01-01T00:00:00.KEYZ",
        "sha256:KEY",
        "sha512:KEY",
        "$KEY$",
        "$argon2id$v=KEY$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI",
        "$argon2id$v=19$m=KEY,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI",
        "$argon2id$v=19$m=8,t=1,p=1$KEY$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI",
        "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$KEY",
        "bcrypt-sha256:$2b$04$KEY",
        "$2b$04$KEY",
    ]
    .iter()
    .map(|text| text.replace("KEY", key))
    .collect();
    texts.push(key.repeat(60));
    texts
}

/// All that an error says of itself, with its sources.
fn said(error: &(dyn Error + 'static)) -> String {
    let mut said = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        said += &format!("{error} {error:?} {error:#?}\n");
        next = error.source();
    }
    said
}

fn error_of<T>(result: Result<T, impl Error + 'static>) -> Option<String> {
    result.err().map(|error| said(&error))
}

fn parsed<T: FromStr<Err: Error + 'static>>(text: &str) -> Option<String> {
    error_of(text.parse::<T>())
}

fn as_metadata(name: &str, value: &str) -> Option<String> {
    error_of(Metadata::default().set(name, value))
}

fn as_stored_hash(text: &str) -> Option<String> {
    let hash = match SecretHash::new(text) {
        Ok(hash) => hash,
        Err(error) => return Some(said(&error)),
    };
    let key = ApiKey::from(String::from("another"));
    let errors = [error_of(validate(&hash)), error_of(verify_sha256(&key, &hash))];
    let errors: Vec<String> = errors.into_iter().flatten().collect();
    (!errors.is_empty()).then(|| errors.concat())
}

type Reads = fn(&str) -> Option<String>;

/// Everything in the crate that takes a text and may refuse it. `None` if it is accepted.
const PARSERS: &[(&str, Reads)] = &[
    ("scope", parsed::<Scope>),
    ("scopes", parsed::<ScopeSet>),
    ("networks", parsed::<Networks>),
    ("key id", parsed::<KeyId>),
    ("organization id", parsed::<OrganizationId>),
    ("user id", parsed::<UserId>),
    ("actor", parsed::<Actor>),
    ("timestamp", parsed::<Timestamp>),
    ("idempotency key", parsed::<IdempotencyKey>),
    ("commit id", parsed::<CommitId>),
    ("cursor", parsed::<Cursor>),
    ("lookup", |text| error_of(Lookup::new(text))),
    ("stored hash", as_stored_hash),
    ("limit", |text| error_of(RateLimit::per_minute(text, 1))),
    ("limit with a wrong number", |text| {
        error_of(RateLimit::per_minute(text, 0))
    }),
    ("metadata name", |text| as_metadata(text, "value")),
    ("metadata value", |text| as_metadata("name", text)),
    ("presented key", |text| {
        error_of(KeyFormat::default().parse(text.as_bytes()))
    }),
    ("prefix", |text| error_of(KeyFormat::new(text))),
    ("prefix of a builder", |text| error_of(KeyFormat::builder(text).build())),
    ("seam prefix", |text| error_of(KeyFormat::seam(text))),
    ("environment", |text| {
        error_of(KeyFormat::builder("acme").environments([text, text]).build())
    }),
    ("environment of a new key", |text| {
        error_of(KeyFormat::default().generate(Some(text)))
    }),
    ("short server secret", |text| {
        error_of(ServerSecret::new('a', text.get(..20)?.as_bytes()))
    }),
    ("authorization scheme", |text| error_of(KeySource::authorization(text))),
    ("key header", |text| error_of(KeySource::header(text))),
    ("query parameter", |text| {
        error_of(KeySource::dangerous_query_parameter(text))
    }),
    ("challenge realm", |text| {
        error_of(ApiKeyLayer::new(MemoryStore::new()).challenge_realm(text))
    }),
    ("proxy header", |text| {
        error_of(ApiKeyLayer::new(MemoryStore::new()).trusted_proxies(text, Networks::default()))
    }),
    ("type base", |text| error_of(ProblemJson::new().type_base(text))),
];

/// The parts of a key that must not appear.
struct Canaries(HashSet<Vec<u8>>);

impl Canaries {
    fn of(key: &str) -> Self {
        Self(key.as_bytes().windows(CANARY).map(<[u8]>::to_vec).collect())
    }

    #[track_caller]
    fn assert_absent(&self, what: &str, said: &str) {
        let shown = said.as_bytes().windows(CANARY).find(|part| self.0.contains(*part));
        assert!(shown.is_none(), "{what}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_parser_shows_a_key_in_its_error(key in key()) {
        let canaries = Canaries::of(&key);
        for (what, read) in PARSERS {
            let errors: Vec<String> = texts(&key).iter().filter_map(|text| read(text)).collect();
            assert!(!errors.is_empty(), "{what} accepts everything");
            for said in errors {
                canaries.assert_absent(what, &said);
            }
        }
    }
}

#[test]
fn canaries_find_a_key_that_is_shown() {
    let canaries = Canaries::of("acme_live_4kTz0Q2mVbXw7Lp9Yc3R");
    let shown = std::panic::catch_unwind(|| canaries.assert_absent("", "got \"4kTz0Q2m\""));
    assert!(shown.is_err());
    canaries.assert_absent("", "got \"acme_li\"…");
}

#[cfg(feature = "serde")]
mod wire {
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value, json};
    use tower_api_key::key::{
        Features, KeyRecord, KeyStatus, KnownScope, Labels, LimitNames, Organization, OrganizationStatus, Plan, PlanId,
        Policy, Revocation, Role, RoleNames, User, UserStatus,
    };

    use super::*;

    /// The errors of reading this form, from text and from values.
    fn errors<T: DeserializeOwned + Debug>(form: &Value) -> Vec<String> {
        let text = serde_json::to_string(form).unwrap();
        let results = [
            serde_json::from_str::<T>(&text),
            serde_json::from_str::<T>(&text[..text.len() - 1]),
            serde_json::from_reader::<_, T>(text.as_bytes()),
            serde_json::from_value::<T>(form.clone()),
        ];
        results.into_iter().filter_map(|result| error_of(result)).collect()
    }

    /// The form with the text, in several shapes, in the place of each of its values and names in turn.
    fn misplaced(form: &Value, text: &str) -> Vec<Value> {
        let mut all = vec![
            json!(text),
            json!([text]),
            json!([text, text]),
            json!({ text: text }),
            json!({ text: 1 }),
            json!([[text]]),
            json!({ "name": { text: [text] } }),
        ];
        match form {
            Value::Object(entries) => {
                for (name, value) in entries {
                    for inner in misplaced(value, text) {
                        let mut changed = entries.clone();
                        changed.insert(name.clone(), inner);
                        all.push(changed.into());
                    }
                    let renamed = entries.iter().map(|(other, value)| {
                        let name = if other == name { text } else { other };
                        (name.to_owned(), value.clone())
                    });
                    all.push(renamed.collect::<Map<_, _>>().into());
                }
                let mut longer = entries.clone();
                longer.insert(text.to_owned(), Value::Null);
                all.push(longer.into());
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    for inner in misplaced(element, text) {
                        let mut changed = elements.clone();
                        changed[index] = inner;
                        all.push(changed.into());
                    }
                }
                // Twice, as two limits of one name are.
                let twice: Vec<Value> = elements.iter().chain(elements).cloned().collect();
                all.push(twice.into());
            }
            _ => {}
        }
        all
    }

    fn limit() -> Value {
        json!({ "name": "requests", "limit": 100, "per": 60, "burst": 100, "cost": 2 })
    }

    fn revocation() -> Value {
        json!({ "at": "2026-01-01T00:00:00Z", "reason": "lost", "actor": "user:bob" })
    }

    fn organization() -> Value {
        json!({
            "id": ID, "slug": "acme", "name": "Acme", "email": "a@example.com", "plan": ID, "status": "active",
            "is_operator": false, "requires": ["quotas"], "limits": [limit()], "lifted_limits": ["writes"],
            "key_limits": [limit()], "lifted_key_limits": [], "max_keys": 7, "policy": policy(),
            "metadata": { "team": "a" }, "created_at": "2026-01-01T00:00:00Z", "revision": 1,
        })
    }

    fn policy() -> Value {
        json!({
            "longest_life": 1, "default_life": null, "requires_expiry": true, "grantable": ["orders:read"],
            "requires_networks": false,
        })
    }

    fn plan() -> Value {
        json!({ "id": ID, "name": "pro", "key_limits": [limit()], "limits": [], "max_keys": 7, "revision": 1 })
    }

    fn user() -> Value {
        json!({
            "organization_id": ID, "id": "alice", "name": "Alice", "email": null, "metadata": { "team": "a" },
            "status": "disabled", "reason": "left", "actor": "user:bob", "status_at": "2026-01-01T00:00:00Z",
            "revision": 1,
        })
    }

    fn role() -> Value {
        json!({ "name": "reader", "scopes": ["orders:read"], "description": "reads", "revision": 1 })
    }

    fn record() -> Value {
        json!({
            "id": ID, "organization_id": ID, "user": "alice", "ends_with_user": false, "name": "export", "labels": ["ops"],
            "prefix": "acme", "environment": "live", "scopes": ["orders:read"], "roles": ["reader"],
            "networks": ["10.0.0.0/8"], "limits": [limit()], "lifted_limits": ["writes"], "metadata": { "team": "a" },
            "status": "revoked", "revocation": revocation(), "holds": ["label:ci"], "created_at": "2026-01-01T00:00:00Z",
            "created_by": "operator:carol", "created_by_key": ID, "is_canary": false, "requires": ["quotas"],
            "expires_at": null, "revision": 7,
        })
    }

    const ID: &str = "01900000-0000-7000-8000-000000000001";

    #[track_caller]
    fn assert_forms_silent<T: DeserializeOwned + Debug>(key: &str, form: &Value) {
        let what = std::any::type_name::<T>();
        // Right as it is, so the errors below are of what is put into it.
        serde_json::from_value::<T>(form.clone()).expect(what);
        let canaries = Canaries::of(key);
        for text in [key, &format!("orders:{key}"), &format!("\"{key}\n")] {
            for form in misplaced(form, text) {
                for said in errors::<T>(&form) {
                    canaries.assert_absent(what, &said);
                }
            }
        }
    }

    fn assert_all_forms_silent(key: &str) {
        assert_forms_silent::<KeyRecord>(key, &record());
        assert_forms_silent::<Organization>(key, &organization());
        assert_forms_silent::<Policy>(key, &policy());
        assert_forms_silent::<Plan>(key, &plan());
        assert_forms_silent::<User>(key, &user());
        assert_forms_silent::<Role>(key, &role());
        assert_forms_silent::<KnownScope>(key, &json!({ "scope": "orders:read", "description": "reads" }));
        assert_forms_silent::<RoleNames>(key, &json!(["reader"]));
        assert_forms_silent::<Labels>(key, &json!(["ops"]));
        assert_forms_silent::<Features>(key, &json!(["quotas"]));
        assert_forms_silent::<LimitNames>(key, &json!(["requests"]));
        assert_forms_silent::<UserStatus>(key, &json!("active"));
        assert_forms_silent::<PlanId>(key, &json!(ID));
        assert_forms_silent::<Revocation>(key, &revocation());
        assert_forms_silent::<RateLimit>(key, &limit());
        assert_forms_silent::<Metadata>(key, &json!({ "team": "a" }));
        assert_forms_silent::<ScopeSet>(key, &json!(["orders:read"]));
        assert_forms_silent::<Networks>(key, &json!(["10.0.0.0/8"]));
        assert_forms_silent::<Scope>(key, &json!("orders:read"));
        assert_forms_silent::<KeyId>(key, &json!(ID));
        assert_forms_silent::<OrganizationId>(key, &json!(ID));
        assert_forms_silent::<UserId>(key, &json!("alice"));
        assert_forms_silent::<Actor>(key, &json!("user:bob"));
        assert_forms_silent::<Timestamp>(key, &json!("2026-01-01T00:00:00Z"));
        assert_forms_silent::<Lookup>(key, &json!("4kTz0Q2mVbXw"));
        assert_forms_silent::<KeyStatus>(key, &json!("active"));
        assert_forms_silent::<OrganizationStatus>(key, &json!("active"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn no_wire_form_shows_a_key_in_its_error(key in key()) {
            assert_all_forms_silent(&key);
        }
    }

    #[test]
    fn limits_of_one_name_are_named_by_place() {
        let key = "0123456789abcdef0123456789abcdef";
        let mut form = organization();
        form["limits"] = json!([{ "name": key, "limit": 1, "per": 1 }, { "name": key, "limit": 2, "per": 1 }]);
        let errors = errors::<Organization>(&form);
        assert!(
            errors[0].contains("must be unique, got entries 1 and 2 of one name"),
            "{errors:?}"
        );
        let canaries = Canaries::of(key);
        errors.iter().for_each(|said| canaries.assert_absent("limits", said));
    }

    /// Formats that have only texts give them to any visitor.
    #[test]
    fn formats_of_texts_alone_show_no_key_either() {
        use serde::de::value::{Error, MapDeserializer, StrDeserializer};

        let key = "acme_live_4kTz0Q2mVbXw7Lp9Yc3R";
        let text = || StrDeserializer::<Error>::new(key);
        let pairs =
            || MapDeserializer::<_, Error>::new([("name", "requests"), ("limit", key), ("per", "1")].into_iter());
        for said in [
            error_of(ScopeSet::deserialize(text())),
            error_of(Metadata::deserialize(text())),
            error_of(KeyRecord::deserialize(text())),
            error_of(RateLimit::deserialize(pairs())),
        ] {
            let said = said.unwrap();
            assert!(said.contains("invalid type: string, expected"), "{said}");
            Canaries::of(key).assert_absent("a format of texts", &said);
        }
    }

    #[test]
    fn errors_without_the_text_stay_helpful() {
        let error = |form: &Value, at: &str, value: Value| {
            let mut form = form.clone();
            *form.pointer_mut(at).unwrap() = value;
            serde_json::from_value::<KeyRecord>(form).unwrap_err().to_string()
        };
        for (at, value, expected) in [
            ("/limits/0/limit", json!("x"), "invalid type, expected u32"),
            (
                "/limits/0/limit",
                json!(4_294_967_296_u64),
                "invalid value: integer `4294967296`, expected u32",
            ),
            ("/limits", json!("x"), "expected a list of limits"),
            (
                "/status",
                json!("gone"),
                "invalid key status: must be active, disabled or revoked",
            ),
            ("/scopes/0", json!("a b"), "got a space at byte 2"),
            ("/metadata", json!("x"), "expected names with texts"),
            (
                "/revocation",
                json!({ "how": 1 }),
                "unknown field, expected one of at, reason, actor",
            ),
            (
                "/revocation",
                json!({ "at": "2026-01-01T00:00:00Z" }),
                "missing field `reason`",
            ),
            ("", json!("x"), "expected struct KeyRecord"),
        ] {
            let said = error(&record(), at, value);
            assert!(said.contains(expected), "{at}: {said}");
        }
        // Errors of syntax are the format's own, with the place.
        let cut = serde_json::from_str::<ScopeSet>(r#"["orders:rea"#).unwrap_err();
        assert!(cut.is_eof() && cut.to_string().contains("line 1 column 12"), "{cut}");
        let wrong = serde_json::from_str::<KeyRecord>("{\n\"revision\": \"x\"}").unwrap_err();
        assert_eq!((wrong.line(), wrong.is_data()), (2, true), "{wrong}");
    }
}
