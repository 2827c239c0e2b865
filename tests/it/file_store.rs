//! Keys in a file or a variable: what is taken, what is refused, and how they meet a request.

mod changes;
#[cfg(feature = "axum")]
mod example;
mod mistakes;
#[cfg(unix)]
mod modes;
#[cfg(target_os = "linux")]
mod mounts;
mod variable;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use sha2::{Digest, Sha256};
use tower_api_key::hash::{self, Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{ApiKey, Checksum, KeyFormat, KeyId, Lookup, ServerSecret};
use tower_api_key::store::{Candidate, DynStore, FileStore, KeyStore, StoreErrorKind};
use tower_api_key::{
    ApiKeyLayer, ApiKeys, AuthContext, Authenticator, KeySource, PresentedKey, Rejection, RejectionKind,
};
use tracing::Level;

use crate::house::brake::Brake;
use crate::house::kind;
use crate::support::audit::Audit;
use crate::support::{Echo, ask, ask_inner, bearer, seen};

/// A folder for files of keys that nobody else may write.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in place.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        path
    }

    /// Writes a file as one that was written a while ago: opening it does not wait for the end of writing.
    fn write_old(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        path
    }

    /// Writes another file and renames it.
    fn replace(&self, name: &str, text: &str) {
        let new = self.write("new", text);
        fs::rename(new, self.path(name)).unwrap();
    }
}

#[cfg(unix)]
use crate::support::files::set_mode;

#[cfg(not(unix))]
fn set_mode(_: &std::path::Path, _: u32) {}

/// A key that was made elsewhere.
const KEY: &str = "acme-4kTz0Q2mVbXw9LpR7sNd3GhJ";
const OTHER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn sha256(key: &str) -> String {
    hash::sha256(&ApiKey::from(key.to_owned())).as_str().to_owned()
}

/// One key of acme, in TOML.
fn entry(name: &str, key: &str) -> String {
    format!(
        "[[keys]]\nname = \"{name}\"\norganization = \"acme\"\nhash = \"{}\"\nscopes = [\"orders:read\"]\nnetworks = \"any\"\n\n",
        sha256(key)
    )
}

fn toml(entries: &[String]) -> String {
    match entries {
        [] => "keys = []\n[end]\n".to_owned(),
        entries => format!("{}[end]\n", entries.concat()),
    }
}

fn json(name: &str, key: &str) -> String {
    format!(
        r#"{{"keys": [{{"name": "{name}", "organization": "acme", "hash": "{}", "scopes": ["orders:read"], "networks": "any"}}]}}"#,
        sha256(key)
    )
}

async fn opened(text: &str) -> (Folder, FileStore) {
    let folder = Folder::new();
    let store = FileStore::open(folder.write_old("keys.toml", text)).await.unwrap();
    (folder, store)
}

async fn found(store: &impl KeyStore, key: &str) -> Option<Candidate> {
    let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    store.find(&Lookup::new(&digest).unwrap()).await.unwrap()
}

async fn check<S: KeyStore>(keys: &Authenticator<S>, key: &str) -> Result<AuthContext, Rejection> {
    keys.check(PresentedKey::new(key.as_bytes())).await
}

/// All that an error says, with its sources.
fn all_of(error: &dyn Error) -> String {
    let mut said = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(error) = next {
        said += &format!(": {error} {error:?}");
        next = error.source();
    }
    said
}

#[tokio::test]
async fn key_in_a_file_is_admitted_by_the_layer() {
    let folder = Folder::new();
    let files = [
        folder.write("keys.toml", &toml(&[entry("nightly", KEY)])),
        folder.write("keys.JSON", &json("nightly", KEY)),
        folder.write(
            "bom.toml",
            &format!("\u{feff}{}", toml(&[entry("nightly", KEY)]).replace('\n', "\r\n")),
        ),
        folder.write("bom.json", &format!("\u{feff}{}", json("nightly", KEY))),
    ];
    for file in files {
        let layer = ApiKeyLayer::new(FileStore::open(&file).await.unwrap());
        let answer = ask(&layer, bearer(KEY)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", file.display());
        let context = seen(&answer).unwrap().context().unwrap();
        assert_eq!(
            (context.name(), context.organization().name.as_str()),
            ("nightly", "acme")
        );
        assert_eq!(context.scopes().as_str(), "orders:read");
        for wrong in [OTHER, "short", "key_live_not_a_key_of_this_service"] {
            let inner = Echo::default();
            let answer = ask_inner(&layer, inner.clone(), bearer(wrong)).await;
            assert_eq!((answer.status(), inner.calls()), (StatusCode::UNAUTHORIZED, 0));
        }
    }
}

#[tokio::test]
async fn all_fields_are_those_of_the_context() {
    let text = format!(
        r#"
realm = "eu"

[[organizations]]
name = "acme"
limits = [{{ name = "shared", limit = 1000, per = 60 }}]

[[organizations]]
name = "former"
status = "inactive"

[[keys]]
name = "nightly"
organization = "acme"
hash = "{}"
scopes = ["orders:read", "invoices:*"]
networks = ["192.0.2.0/24", "2001:db8::1"]
limits = [{{ name = "requests", limit = 100, per = 60, burst = 5, cost = 2 }}, "bytes=5/1m,burst=7"]
user = "alice"
metadata = {{ team = "export" }}
expires_at = 2099-01-31T23:59:59Z

[[keys]]
name = "former"
organization = "former"
hash = "{}"
scopes = []
networks = "any"
status = "disabled"
expires_at = "2099-01-31T23:59:59+01:00"

[end] # of the keys
# and a comment
"#,
        sha256(KEY).to_uppercase().replace("SHA256", "sha256"),
        sha256(OTHER)
    );
    let (_folder, store) = opened(&text).await;
    let Candidate {
        record, organization, ..
    } = found(&store, KEY).await.unwrap();
    assert_eq!(record.scopes.as_str(), "invoices:* orders:read");
    assert_eq!(record.networks.to_string(), "192.0.2.0/24 2001:db8::1/128");
    let limit = &record.limits[0];
    assert_eq!(
        (
            limit.name(),
            limit.limit().get(),
            limit.burst_size().get(),
            limit.cost_per_request().get()
        ),
        ("requests", 100, 5, 2)
    );
    assert_eq!(record.limits[1].to_string(), "bytes=5/60s,burst=7");
    assert_eq!(record.user.unwrap().as_str(), "alice");
    assert_eq!(record.metadata.get("team"), Some("export"));
    assert_eq!(record.expires_at.unwrap().to_string(), "2099-01-31T23:59:59Z");
    assert_eq!(organization.limits[0].name(), "shared");

    let keys = Authenticator::new(store);
    assert_eq!(kind(&check(&keys, KEY).await), RejectionKind::NetworkNotAllowed);
    assert_eq!(kind(&check(&keys, OTHER).await), RejectionKind::KeyDisabled);
}

#[tokio::test]
async fn ids_are_the_same_after_every_start_and_realms_differ() {
    let text = toml(&[entry("a", KEY), entry("b", OTHER)]);
    let (_one, one) = opened(&text).await;
    let (_two, two) = opened(&text).await;
    let (_other, other) = opened(&format!("realm = \"eu\"\n{text}")).await;
    let ids = async |store: &FileStore, key| {
        let candidate = found(store, key).await.unwrap();
        (candidate.record.id, candidate.organization.id)
    };
    let (a, b) = (ids(&one, KEY).await, ids(&one, OTHER).await);
    assert_eq!(a, ids(&two, KEY).await);
    assert!(a.0 != b.0 && a.1 == b.1);
    // A key of this name in another organization is another key.
    let renamed = text.replacen("\"acme\"", "\"other\"", 1);
    let (_renamed, renamed) = opened(&renamed).await;
    let moved = ids(&renamed, KEY).await;
    assert!(a.0 != moved.0 && a.1 != moved.1);
    let elsewhere = ids(&other, KEY).await;
    assert!(a.0 != elsewhere.0 && a.1 != elsewhere.1);
    for id in [a.0.as_uuid(), a.1.as_uuid()] {
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
        assert_ne!(a.0, KeyId::from(a.1.as_uuid()));
    }
}

#[tokio::test]
async fn slugs_are_stated_or_made_from_the_names() {
    let keys: String = [
        ("Acme Inc.", "1"),
        ("acme-inc", "2"),
        ("ACME, Inc", "3"),
        ("acme-inc-2", "4"),
    ]
    .map(|(name, key)| entry(key, key).replace("\"acme\"", &format!("{name:?}")))
    .concat();
    let slugs = async |text: &str, keys: &[&str]| {
        let (_folder, store) = opened(text).await;
        let mut slugs = Vec::new();
        for key in keys {
            slugs.push(found(&store, key).await.unwrap().organization.slug);
        }
        slugs
    };
    let text = format!("{keys}[end]");
    let made = slugs(&text, &["1", "2", "3", "4"]).await;
    assert_eq!(made, ["acme-inc", "acme-inc-2", "acme-inc-3", "acme-inc-2-2"]);
    assert_eq!(made, slugs(&text, &["1", "2", "3", "4"]).await);
    let stated = "[[organizations]]\nname = \"acme\"\nslug = \"customer-7\"\n";
    let text = format!("{stated}{}", toml(&[entry("a", KEY)]));
    assert_eq!(slugs(&text, &[KEY]).await, ["customer-7"]);
}

#[tokio::test]
async fn key_of_a_file_is_checked_without_waiting_once_it_is_cached() {
    let (_folder, store) = opened(&toml(&[entry("nightly", KEY)])).await;
    let keys = Authenticator::new(store);
    let presented = || PresentedKey::new(KEY.as_bytes());
    assert!(keys.try_check(presented()).is_none());
    check(&keys, KEY).await.unwrap();
    assert!(matches!(keys.try_check(presented()), Some(Ok(_))));
}

/// A key that this crate made, by the hash that `sha256sum` prints.
#[tokio::test]
async fn key_in_the_form_of_a_format_is_found_by_its_hash() {
    let (key, _) = KeyFormat::default().generate(Some("live")).unwrap().into_parts();
    let key = key.expose_secret();
    let (_folder, store) = opened(&toml(&[entry("nightly", key)])).await;
    let keys = Authenticator::new(store.clone());
    check(&keys, key).await.unwrap();
    assert_eq!(keys.cached_keys(), 1);
    assert!(matches!(keys.try_check(PresentedKey::new(key.as_bytes())), Some(Ok(_))));

    // Stale, it is read again and not hashed anew, and it is not another key's.
    store.fence().unwrap().everything_changed();
    assert!(keys.try_check(PresentedKey::new(key.as_bytes())).is_none());
    check(&keys, key).await.unwrap();
    let unknown = crate::support::unknown(key);
    assert_eq!(kind(&check(&keys, &unknown).await), RejectionKind::UnknownKey);
    assert_eq!(kind(&check(&keys, &unknown).await), RejectionKind::UnknownKey);
}

/// A file has no secret to verify them with, and nobody could open it for one.
#[tokio::test]
async fn unverified_checksum_is_told_with_what_helps() {
    let (audit, _guard) = Audit::start();
    let told = || {
        let warnings = audit.all_of_level(Level::WARN).into_iter().map(|event| event.fields);
        warnings
            .filter(|fields| fields.contains("checksum"))
            .collect::<Vec<_>>()
    };
    let secret = || ServerSecret::new('a', &[7; 32]).unwrap();
    let keyed = KeyFormat::builder("key")
        .checksum(Checksum::Keyed(secret().into()))
        .build();
    let (key, _) = keyed.unwrap().generate(Some("live")).unwrap().into_parts();
    let key = key.expose_secret();
    let (_folder, store) = opened(&toml(&[entry("nightly", key)])).await;
    let invented = crate::support::wrong_secret(key);

    let knows_it = Authenticator::builder(store.clone())
        .realm_secret(secret(), [])
        .unwrap();
    let knows_it = knows_it.build();
    check(&knows_it, key).await.unwrap();
    assert!(check(&knows_it, &invented).await.is_err());
    assert!(told().is_empty(), "{:?}", told());

    let keys = Authenticator::new(store);
    for _ in 0..2 {
        check(&keys, key).await.unwrap();
        assert!(check(&keys, &invented).await.is_err());
    }
    let told = told();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["a file of keys", "ApiKeysBuilder::realm_secret", "nothing to do"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
}

/// Other formats for the layer do not hide the keys that are found by their hash.
#[tokio::test]
async fn layer_with_another_prefix_takes_the_keys_of_the_file() {
    let (_folder, store) = opened(&toml(&[entry("nightly", KEY)])).await;
    let layer = ApiKeyLayer::new(store.clone()).prefix("acme").unwrap();
    let handle = Authenticator::builder(store).formats(KeyFormat::new("acme").unwrap());
    for layer in [layer, ApiKeyLayer::from(handle.build())] {
        assert_eq!(ask(&layer, bearer(KEY)).await.status(), StatusCode::OK);
        assert_eq!(ask(&layer, bearer(OTHER)).await.status(), StatusCode::UNAUTHORIZED);
    }
}

/// A user's token in `Authorization: Bearer` is left, since no key looks like it.
#[tokio::test]
async fn store_with_formats_only_stands_beside_other_credentials() {
    let format = KeyFormat::new("acme").unwrap();
    let (key, _) = format.generate(Some("live")).unwrap().into_parts();
    let key = key.expose_secret();
    let folder = Folder::new();
    let path = folder.write("keys.toml", &toml(&[entry("ours", key), entry("other", OTHER)]));
    let builder = FileStore::builder().formats(format);
    let beside = [KeySource::bearer().leave_others()];
    let any = ApiKeyLayer::new(builder.clone().open(&path).await.unwrap());
    assert_eq!(ask(&any, bearer(OTHER)).await.status(), StatusCode::OK);
    assert!(any.sources(beside.clone()).is_err());

    let store = builder.only_formats().open(&path).await.unwrap();
    let strict = ApiKeyLayer::new(store);
    assert_eq!(ask(&strict, bearer(OTHER)).await.status(), StatusCode::UNAUTHORIZED);
    let layer = strict.optional().sources(beside).unwrap();
    for (token, is_ours) in [(key, true), ("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", false)] {
        // Twice: read from the store, and from the cache.
        for _ in 0..2 {
            let answer = ask(&layer, bearer(token)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{token}");
            let context = seen(&answer).unwrap().context();
            assert_eq!(
                context.map(|context| context.name().to_owned()),
                is_ours.then(|| "ours".to_owned())
            );
        }
    }
    let unknown = crate::support::unknown(key);
    assert_eq!(ask(&layer, bearer(&unknown)).await.status(), StatusCode::UNAUTHORIZED);
}

/// A wrong key is refused without a hash: to find an existing lookup is to have the key.
#[tokio::test]
async fn unknown_key_of_a_file_store_costs_no_hash() {
    // No hash would end.
    let (brake, pool) = Brake::pool();
    let (_folder, store) = opened(&toml(&[entry("nightly", KEY)])).await;
    let keys = Authenticator::builder(store).pool(pool).build();
    for unknown in [OTHER, "key_live_4kTz0Q2mVbXw9LpR7sNd3GhJ4kTz0Q2mVbXw9LpR7sNd3GhJ00"] {
        let rejected = kind(&check(&keys, unknown).await);
        assert_eq!(rejected, RejectionKind::UnknownKey, "{unknown}");
    }
    brake.open();
}

#[tokio::test]
async fn argon2_hash_is_found_by_its_lookup_in_the_stores_formats() {
    let format = KeyFormat::new("acme").unwrap();
    let (key, lookup) = format.generate(Some("test")).unwrap().into_parts();
    let policy = HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap());
    let hashed = HashPool::global().hash(&policy, &key).await.unwrap();
    let text = format!(
        "[[keys]]\nname = \"nightly\"\norganization = \"acme\"\nhash = \"{}\"\nlookup = \"{}\"\nprefix = \"acme\"\nenvironment = \"test\"\nscopes = []\nnetworks = \"any\"\n{}",
        hashed.as_str(),
        lookup.as_str(),
        toml(&[entry("raw", KEY)])
    );
    let folder = Folder::new();
    let path = folder.write("keys.toml", &text);
    let store = FileStore::builder().formats(format).open(&path).await.unwrap();
    let key = key.expose_secret();
    for keys in [
        ApiKeys::checking(store.clone()).authenticator(),
        Authenticator::new(store.clone()),
    ] {
        let context = check(&keys, key).await.unwrap();
        assert_eq!((context.name(), context.environment()), ("nightly", Some("test")));
        assert_eq!(check(&keys, KEY).await.unwrap().name(), "raw");
        let wrong = crate::support::wrong_secret(key);
        assert_eq!(kind(&check(&keys, &wrong).await), RejectionKind::WrongSecret);
        let live = key.replacen("_test_", "_live_", 1);
        assert_eq!(kind(&check(&keys, &live).await), RejectionKind::WrongSecret);
    }
    let erased = Authenticator::new(DynStore::find_only(std::sync::Arc::new(store)));
    check(&erased, key).await.unwrap();

    // Without the format, no key has this lookup.
    let error = all_of(&FileStore::open(&path).await.map(drop).unwrap_err());
    assert!(
        error.contains("line 6, column 10: no key format of this store has this prefix"),
        "{error}"
    );
}

#[tokio::test]
async fn url_opens_a_file_for_checking_alone() {
    let folder = Folder::new();
    folder.write("my keys.toml", &toml(&[entry("nightly", KEY)]));
    let path = folder.0.path().display();
    for url in [
        format!("file:{path}/my%20keys.toml"),
        format!("FILE://{path}/my keys.toml"),
    ] {
        let keys = ApiKeys::open(&url).await.unwrap();
        let layer = keys.layer();
        assert_eq!(ask(&layer, bearer(KEY)).await.status(), StatusCode::OK);
        let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
        assert!(issuer.create_organization("other").await.is_err());
    }
    for (url, said) in [
        (format!("file:{path}/missing.toml"), "missing.toml"),
        (format!("file:{path}/my keys.toml?mode=rw"), "takes no options"),
        (format!("file:{path}/keys.db"), ".toml or .json"),
        (format!("file:{path}"), ".toml or .json"),
        ("file:".to_owned(), "path of a file"),
    ] {
        let error = DynStore::open(&url).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(all_of(&error).contains(said), "{url}: {}", all_of(&error));
    }
}

#[tokio::test]
async fn plaintext_needs_the_switch_and_128_bits() {
    let folder = Folder::new();
    let text = |key: &str| {
        toml(&[entry("plain", OTHER).replace(&format!("hash = \"{}\"", sha256(OTHER)), &format!("key = \"{key}\""))])
    };
    let path = folder.write("keys.toml", &text(KEY));
    let error = all_of(&FileStore::open(&path).await.map(drop).unwrap_err());
    assert!(
        error.contains("line 4, column 7: keys in plain text are not allowed"),
        "{error}"
    );
    let open = async |text: &str| {
        let path = folder.write("keys.toml", text);
        FileStore::builder().dangerous_plaintext().open(path).await
    };
    let store = open(&text(KEY)).await.unwrap();
    check(&Authenticator::new(store), KEY).await.unwrap();
    for weak in [
        "secret",
        "change-me-please-now",
        &"a".repeat(64),
        "acme_live_4kTz0Q2mVbXw",
    ] {
        let error = all_of(&open(&text(weak)).await.map(drop).unwrap_err());
        assert!(error.contains("line 4, column 7: ") && !error.contains(weak), "{error}");
    }
    let both = text(KEY).replace("key =", &format!("hash = \"{}\"\nkey =", sha256(KEY)));
    assert!(all_of(&open(&both).await.map(drop).unwrap_err()).contains("either `hash` or"));
    // The same key twice, once hidden.
    let twice = text(KEY).replace("[end]", &format!("{}[end]", entry("other", KEY)));
    assert!(all_of(&open(&twice).await.map(drop).unwrap_err()).contains("repeated hash"));
}

/// As people write keys: with names, scopes and any hash.
#[tokio::test]
async fn ten_thousand_keys_are_taken_and_one_more_is_not() {
    let folder = Folder::new();
    let argon2 = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$";
    let digest = |n: u32| match n % 2 {
        0 => (sha256(&n.to_string()), String::new()),
        _ => (
            format!("{argon2}{}", base64_of(n)),
            format!("lookup = \"lookup{n:06}\"\n"),
        ),
    };
    let key = |n: u32| {
        let (hash, lookup) = digest(n);
        format!(
            "[[keys]]\nname = \"nightly export {n}\"\norganization = \"customer-{}\"\nhash = \"{hash}\"\n{lookup}\
             scopes = [\"orders:read\", \"orders:write\", \"invoices:read\"]\nnetworks = \"any\"\n\n",
            n / 10
        )
    };
    let open = async |number: u32| {
        let keys: Vec<String> = (0..number).map(key).collect();
        FileStore::open(folder.write("keys.toml", &toml(&keys))).await
    };
    let store = open(10_000).await.unwrap();
    assert_eq!(store.status().keys, 10_000);
    assert_eq!(found(&store, "9998").await.unwrap().record.name, "nightly export 9998");
    let argon2 = store.find(&Lookup::new("lookup009999").unwrap()).await.unwrap();
    assert_eq!(argon2.unwrap().record.name, "nightly export 9999");
    let error = all_of(&open(10_001).await.map(drop).unwrap_err());
    assert!(error.contains("at most 10000 keys"), "{error}");

    let mut json = Vec::new();
    for n in 0..10_000 {
        let (name, hash) = (format!("nightly export {n}"), sha256(&n.to_string()));
        json.push(format!(
            r#"{{"name": "{name}", "organization": "customer-{n}", "hash": "{hash}", "scopes": ["orders:read", "orders:write", "invoices:read"], "networks": "any"}}"#
        ));
    }
    let json = format!("{{\"keys\": [\n{}\n]}}\n", json.join(",\n"));
    let store = FileStore::open(folder.write("keys.json", &json)).await.unwrap();
    assert_eq!(store.status().keys, 10_000);
}

/// A hash of 32 bytes in base64 without padding, another for each number.
fn base64_of(number: u32) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |place: u32| char::from(digits[(number >> (6 * place)) as usize % 64]);
    format!(
        "{}{}{}1qar40utA64mDlrxJwTpmhiHgPd5dfEsEriXEtfs",
        digit(0),
        digit(1),
        digit(2)
    )
}

#[tokio::test]
async fn file_of_more_than_four_mib_is_refused() {
    let folder = Folder::new();
    let entry = entry("a", KEY);
    let open = async |length: usize| {
        let comment = "x".repeat(length - entry.len() - "#\n[end]\n".len());
        let text = format!("{entry}#{comment}\n[end]\n");
        assert_eq!(text.len(), length);
        FileStore::open(folder.write("keys.toml", &text)).await
    };
    assert_eq!(open(4 << 20).await.unwrap().status().keys, 1);
    let error = all_of(&open((4 << 20) + 1).await.map(drop).unwrap_err());
    assert!(error.contains("at most 4 MiB"), "{error}");
}
