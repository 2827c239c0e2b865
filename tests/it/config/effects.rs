//! Settings of formats, hashes, checks and maintenance arrive.

use std::time::Duration;

use tower_api_key::audit::AuditAction;
use tower_api_key::key::{KeyId, RateLimit};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{ManagedStore, MemoryStore};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, PresentedKey, Rejection, RejectionKind, Task};

use super::{Place, issue, keys, keys_over};
use crate::house::brake::Brake;
use crate::house::{presented_from, unknown_key, until};
use crate::support::chain;

async fn text_of(config: &str) -> String {
    let keys = keys(config).await;
    issue(&keys, |request| request).await.key.expose_secret().to_owned()
}

async fn check<S: ManagedStore + Clone>(keys: &ApiKeys<S>, key: &IssuedKey) -> Result<(), Rejection> {
    let key = PresentedKey::new(key.key.expose_secret().as_bytes());
    keys.authenticator().check(key).await.map(drop)
}

async fn hash_of<S: ManagedStore + Clone>(keys: &ApiKeys<S>, id: KeyId) -> String {
    keys.read(id).await.unwrap().unwrap().secrets[0]
        .hash
        .as_str()
        .to_owned()
}

#[tokio::test]
async fn parts_of_formats_show_in_new_keys() {
    let hex = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    };
    let key = text_of("[[formats]]\nprefix = \"acme\"\n").await;
    assert_eq!((&key[..10], key.len()), ("acme_live_", 10 + 44 + 11));
    let key = text_of("[[formats]]\nprefix = \"acme\"\nenvironments = [\"prod\", \"dev\"]\n").await;
    assert!(key.starts_with("acme_prod_"), "{key}");
    let key = text_of("[[formats]]\nprefix = \"acme\"\nenvironments = []\nchecksum = \"none\"\n").await;
    assert_eq!((&key[..5], key.len()), ("acme_", 5 + 44));
    let key = text_of("[[formats]]\nprefix = \"acme\"\nchecksum = \"crc32\"\nbody_length = 50\n").await;
    assert_eq!(key.len(), 10 + 50 + 6);
    let key = text_of(
        "[[formats]]\nprefix = \"a\"\nalphabet = \"hex\"\nbody_length = 48\nlookup_length = 8\nseparator = \".\"\nchecksum = \
         \"none\"\n",
    )
    .await;
    let (lookup, secret) = key["a_live_".len()..].split_once('.').unwrap();
    assert!(
        lookup.len() == 8 && secret.len() == 40 && hex(lookup) && hex(secret),
        "{key}"
    );
    let key = text_of("[[formats]]\nprefix = \"a\"\nenvironments = []\ntimestamp = true\n").await;
    let time = key.split('_').nth(1).unwrap();
    assert!(
        time.len() == 10 && time.bytes().all(|byte| byte.is_ascii_digit()),
        "{key}"
    );
}

#[tokio::test]
async fn hashed_lookup_is_the_sha256() {
    let keys = keys("[[formats]]\nprefix = \"a\"\nhashed_lookup = true\nchecksum = \"none\"\n").await;
    let issued = issue(&keys, |request| request).await;
    let stored = keys.read(issued.record.id).await.unwrap().unwrap();
    assert_eq!(stored.secrets[0].lookup.as_str().len(), 64);
    check(&keys, &issued).await.unwrap();
}

/// The first one is that of new keys, and all are accepted.
#[tokio::test]
async fn each_preset_is_its_format() {
    for (preset, start, length) in [
        ("hk", "hk_live_", 51),
        ("pk", "pk_live_", 51),
        ("cmpz", "cmpz_", 37),
        ("gml", "gml_", 79),
        ("bare_hex", "", 64),
        ("django_rest_framework", "", 41),
    ] {
        let key = text_of(&format!("[[formats]]\npreset = \"{preset}\"\n")).await;
        assert!(key.starts_with(start) && key.len() == length, "{preset}: {key}");
    }
    let key = text_of("[[formats]]\npreset = \"seam\"\nprefix = \"acme\"\n").await;
    assert!(key.starts_with("acme_") && key.len() == 5 + 8 + 1 + 24, "{key}");
    let store = MemoryStore::new();
    let old = keys_over(store.clone(), "[[formats]]\npreset = \"cmpz\"\n").await;
    let issued = issue(&old, |request| request).await;
    let both = "[[formats]]\nprefix = \"acme\"\n[[formats]]\npreset = \"cmpz\"\n[[formats]]\npreset = \"sanctum\"\n[[formats]]\n\
                preset = \"raw\"\n";
    let new = keys_over(store.clone(), both).await;
    check(&new, &issued).await.unwrap();
    let none = keys_over(store, "[[formats]]\nprefix = \"acme\"\n").await;
    assert_eq!(
        check(&none, &issued).await.unwrap_err().kind(),
        RejectionKind::MalformedKey
    );
}

#[tokio::test]
async fn scheme_and_cost_show_in_hashes() {
    let mut cases = vec![
        ("scheme = \"sha256\"", "sha256:"),
        ("memory_kib = 64\npasses = 2\nlanes = 3", "$argon2id$v=19$m=64,t=2,p=3$"),
        ("scheme = \"argon2id\"\nmemory_kib = 64", "$argon2id$v=19$m=64,t=1,p=4$"),
    ];
    if cfg!(feature = "legacy-hashes") {
        cases.push(("scheme = \"bcrypt-sha256\"\ncost = 4", "bcrypt-sha256:$2b$04$"));
        cases.push(("scheme = \"bcrypt-sha256\"", "bcrypt-sha256:$2b$10$"));
    }
    for (options, start) in cases {
        let keys = keys(&format!("[hash]\n{options}\n[hash.pool]\nworkers = 2\n")).await;
        let issued = issue(&keys, |request| request).await;
        let hash = hash_of(&keys, issued.record.id).await;
        assert!(hash.starts_with(start), "{options}: {hash}");
        check(&keys, &issued).await.unwrap();
    }
}

#[tokio::test]
async fn obsolete_hash_is_replaced_if_the_file_says_so() {
    let store = MemoryStore::new();
    let old = keys_over(store.clone(), "").await;
    let issued = issue(&old, |request| request).await;
    let text = "[hash]\nmemory_kib = 64\nrehash_obsolete = true\n[hash.pool]\nniceness = 0\n";
    let new = keys_over(store.clone(), text).await;
    check(&new, &issued).await.unwrap();
    let replaced = async {
        while hash_of(&new, issued.record.id).await.starts_with("sha256:") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replaced).await.unwrap();
}

/// While the hash queue is more than half full.
#[tokio::test]
async fn wrong_keys_are_throttled_unless_the_file_says_no() {
    for (option, kind) in [
        ("true", RejectionKind::TooManyFailures),
        ("false", RejectionKind::UnknownKey),
    ] {
        let format = "[[formats]]\nprefix = \"key\"\nchecksum = \"crc32\"\n";
        let store = MemoryStore::new();
        let issuing = keys_over(store.clone(), &format!("[hash]\nmemory_kib = 64\n{format}")).await;
        let first = issue(&issuing, |request| request).await;
        let issuer = issuing.issuer().acting_as(tower_api_key::key::Actor::service());
        let (brake, pool) = Brake::pool();
        let config = super::config(&format!("[limits]\nfailure_budget = {option}\n{format}"));
        let keys = config.builder(store).unwrap().pool(pool.clone()).open().await.unwrap();
        let mut waiting = Vec::new();
        for number in 0..10 {
            let request = IssueRequest::new(first.record.organization_id, "slow");
            let key = issuer.issue(request).await.unwrap().key.expose_secret().to_owned();
            let from = format!("203.0.113.{number}");
            waiting.push(tokio::spawn(keys.authenticator().check(presented_from(&key, &from))));
            if number == 0 {
                brake.reached(1).await;
            }
        }
        until(|| pool.queued() == 9).await;
        for number in 0..=20 {
            let key = unknown_key(number);
            let checked = keys.authenticator().check(presented_from(&key, "198.51.100.66")).await;
            let expected = if number < 20 { RejectionKind::UnknownKey } else { kind };
            assert_eq!(checked.unwrap_err().kind(), expected, "{option} {number}");
        }
        brake.open();
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn root_key_seals_and_the_former_one_opens() {
    let place = Place::new("");
    let open = async |secrets: &str| {
        place.write(format!(
            "[database]\nurl = \"sqlite:keys.db\"\n[hash]\nscheme = \"sha256\"\n{secrets}"
        ));
        ApiKeys::open_config(place.path()).await
    };
    for (name, byte) in [("one", "01"), ("two", "02"), ("both", "03")] {
        let lines = if name == "both" {
            format!("{}\n{}", byte.repeat(32), "04".repeat(32))
        } else {
            byte.repeat(32)
        };
        std::fs::write(place.file(name), lines).unwrap();
        #[cfg(unix)]
        crate::support::files::set_mode(&place.file(name), 0o600);
    }
    let keys = open("[secrets]\nroot_key_file = \"one\"\n").await.unwrap();
    let issued = issue(&keys, |request| request).await;
    drop(keys);
    let error = open("[secrets]\nroot_key_file = \"two\"\n").await.unwrap_err();
    assert!(chain(&error).contains("root key"), "{error:?}");
    let keys = open("[secrets]\nroot_key_file = \"two\"\nformer_root_key_file = \"one\"\n")
        .await
        .unwrap();
    check(&keys, &issued).await.unwrap();
    drop(keys);
    check(&open("[secrets]\nroot_key_file = \"two\"\n").await.unwrap(), &issued)
        .await
        .unwrap();
    let error = open("[secrets]\nroot_key_file = \"both\"\nformer_root_key_file = \"one\"\n")
        .await
        .unwrap_err();
    let said = "line 7, column 24: `secrets.former_root_key_file` must be left out: the second line of `root_key_file` has a \
                former key already";
    assert!(error.to_string().ends_with(said), "{error}");
    let error = open("[secrets]\nroot_key_file = \"three\"\n").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 6, column 17: `secrets.root_key_file` file "),
        "{error}"
    );
}

/// With room for one bucket, other limits share one.
#[tokio::test]
async fn buckets_are_as_many_as_the_file_says() {
    for (text, third) in [("", true), ("[limits]\nbuckets = 1\n", false)] {
        let keys = keys(text).await;
        let limit = RateLimit::per_hour("requests", 1).unwrap();
        let first = issue(&keys, |request| request.limit(limit.clone())).await;
        let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
        let mut others = Vec::new();
        for _ in 0..2 {
            let request = IssueRequest::new(first.record.organization_id, "more").limit(limit.clone());
            others.push(issuer.issue(request).await.unwrap());
        }
        check(&keys, &first).await.unwrap();
        check(&keys, &others[0]).await.unwrap();
        assert_eq!(check(&keys, &others[1]).await.is_ok(), third, "{text}");
    }
}

#[tokio::test]
async fn uses_are_events_as_the_file_says() {
    for (uses, expected) in [("none", 0), ("first", 1), ("every", 3)] {
        let keys = keys(&format!("[audit]\nuses = \"{uses}\"\n")).await;
        let issued = issue(&keys, |request| request).await;
        for _ in 0..3 {
            check(&keys, &issued).await.unwrap();
        }
        keys.flush().await.unwrap();
        let events = keys
            .read(AuditEvents::all().action(AuditAction::KEY_USED).page(10))
            .await
            .unwrap();
        assert_eq!(events.items.len(), expected, "{uses}");
    }
}

#[tokio::test]
async fn maintenance_begins_with_the_retention_of_the_file() {
    let text = "[maintenance]\nchange_log = \"2h\"\naudit_events = \"3h\"\norigins = \"4h\"\nrefusals = \"5h\"\nexpired_keys = \
                \"6h\"\nrevoked_keys = \"7h\"\n";
    let with = format!("{:?}", keys(text).await.erased().maintenance());
    for expected in [
        "change_log: 7200s",
        "audit_events: Some(10800s)",
        "origins: 14400s",
        "refusals: 18000s",
        "expired_keys: Some(21600s)",
        "revoked_keys: Some(25200s)",
    ] {
        assert!(with.contains(expected), "{expected}: {with}");
    }
    let kept = keys("[maintenance]\naudit_events = \"keep\"\nexpired_keys = \"keep\"\nrevoked_keys = \"keep\"\n").await;
    let report = kept.maintenance().run_once().await;
    for task in [Task::AuditEvents, Task::ExpiredKeys, Task::RevokedKeys] {
        assert!(!report.done().any(|done| done == task), "{task:?}");
    }
    let by_default = keys("").await;
    assert!(
        by_default
            .maintenance()
            .run_once()
            .await
            .done()
            .any(|done| done == Task::ExpiredKeys)
    );
}
