//! `tests/fixtures/sqlite` has a file of each version of the schema. Each must still open, upgrade and admit its keys.
//!
//! The keys of a file are in a text file beside it, one per line, in plain text: they are test keys. To make the files
//! of a new version, run `cargo test --all-features --test it make_fixture -- --ignored` and commit them. Existing files are
//! never replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use sha2::{Digest, Sha256, Sha512};
use tower_api_key::hash::{Argon2Params, HashPolicy};
use tower_api_key::key::{
    Actor, Checksum, KeyFormat, KeyFormats, KeyRecord, KeySecret, Lookup, Metadata, Organization, OrganizationId,
    RateLimit, Role, SecretForm, SecretHash, SecretPurpose, SecretValue, ServerSecret, ServerSecretRecord, Timestamp,
};
use tower_api_key::store::query::{
    AuditEvents, CountKeysOfForm, Keys, OrganizationBySlug, Organizations, ServerSecretRecords, TheRealm,
};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, SqliteStore, StoreExt, Write};
use tower_api_key::{
    ApiKeys, Authenticator, IssueRequest, IssuedKey, OnceIssued, PresentedKey, RejectionKind, UserRequest,
};

/// The version that this program writes.
const NEWEST: u32 = 5;
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sqlite")
}

fn formats() -> KeyFormats {
    let all = [
        KeyFormat::default(),
        KeyFormat::cmpz(),
        KeyFormat::pk(),
        KeyFormat::hk(),
        KeyFormat::gml(),
        KeyFormat::bare_hex(),
        KeyFormat::seam("seam").unwrap(),
        KeyFormat::sanctum(),
        keyed(),
    ];
    KeyFormats::new(all).unwrap()
}

/// The bytes of the secret that the keyed keys of the files were made with. The files have it in the clear.
const SECRET: [u8; 32] = *b"a secret of the fixtures only   ";

fn keyed() -> KeyFormat {
    let secret = ServerSecret::new('a', &SECRET).unwrap();
    let keyed = KeyFormat::builder("keyed").checksum(Checksum::Keyed(secret.into()));
    keyed.build().unwrap()
}

/// Each key of the file, after the state that it is in.
fn lines(version: u32) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join(format!("v{version}.keys.txt"))).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            line.split_once(' ')
                .map(|(state, key)| (state.to_owned(), key.to_owned()))
                .unwrap()
        })
        .collect()
}

async fn all_keys_are_as_they_were(store: &SqliteStore, version: u32) {
    let authenticator = Authenticator::builder(store.clone()).formats(formats()).build();
    for (state, key) in lines(version) {
        let checked = authenticator.check(PresentedKey::new(key.as_bytes())).await;
        let is = match checked {
            Ok(_) => "works",
            Err(rejection) if rejection.kind() == RejectionKind::KeyRevoked => "revoked",
            Err(rejection) if rejection.kind() == RejectionKind::KeyDisabled => "disabled",
            Err(rejection) => panic!("version {version}, {key}: {rejection:?}"),
        };
        assert_eq!(is, state, "version {version}: {key}");
    }
}

#[tokio::test]
async fn files_of_all_versions_upgrade_and_serve() {
    for version in 1..=NEWEST {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("keys.sqlite");
        fs::copy(folder().join(format!("v{version}.sqlite")), &path).unwrap();
        let store = SqliteStore::open(&path).await.unwrap();
        all_keys_are_as_they_were(&store, version).await;
        let acme = store.get(Organizations::all()).await.unwrap().items.remove(0);
        let keys = store.get(Keys::of(acme.id).page(100)).await.unwrap().items;
        let audit = store.get(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
        assert!(keys.len() > 10 && audit.len() > 10);
        drop(store);

        // A downgrade removes only what later versions added.
        SqliteStore::builder()
            .downgrade_and_lose_data(&path, version)
            .await
            .unwrap();
        let store = SqliteStore::open(&path).await.unwrap();
        all_keys_are_as_they_were(&store, version).await;
        assert_eq!(store.get(Keys::of(acme.id).page(100)).await.unwrap().items, keys);
        assert_eq!(
            store.get(AuditEvents::of(acme.id).page(100)).await.unwrap().items,
            audit
        );
    }
}

/// The form of a key from before forms were stored is that of its format, as far as prefix and lookup show it. The other keys
/// may have a CRC-32, so the realm accepts that.
#[tokio::test]
async fn keys_from_before_forms_get_theirs() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("keys.sqlite");
    fs::copy(folder().join("v1.sqlite"), &path).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let realm = store.get(TheRealm).await.unwrap();
    assert_eq!(realm.crc_accepted_until, Timestamp::MAX);
    let mut crc = 0;
    for (state, key) in lines(1) {
        let parsed = formats();
        let parsed = parsed.parse(key.as_bytes()).unwrap();
        let found = store.find(&Lookup::new(parsed.lookup()).unwrap()).await.unwrap();
        let form = found.unwrap().secret.form;
        let expected = match key.split(['_', '|']).next() {
            Some("key" | "seam") => SecretForm::Crc32,
            Some("42") => SecretForm::Foreign,
            _ => SecretForm::None,
        };
        assert_eq!(form, expected, "{key}");
        crc += u64::from(form == SecretForm::Crc32 && state != "revoked");
    }
    // One key has two secrets.
    let counted = store
        .get(CountKeysOfForm {
            form: SecretForm::Crc32,
            at: Timestamp::now(),
        })
        .await
        .unwrap();
    assert_eq!(counted.number, crc - 1);

    let fresh = super::File::new().open().await.get(TheRealm).await.unwrap();
    assert_eq!(fresh.crc_accepted_until, Timestamp::from_millis(0));
    assert_ne!(fresh.id, realm.id);
    assert_eq!(fresh.id.as_uuid().get_version_num(), 4);
}

/// As if they had been made from their names, but names that are not ASCII or that look like an id make none.
#[tokio::test]
async fn organizations_from_before_slugs_get_theirs() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("keys.sqlite");
    fs::copy(folder().join("v2.sqlite"), &path).unwrap();
    let insert = |id: u8, name: &str| {
        let by_hand = Connection::open(&path).unwrap();
        let sql = "INSERT INTO api_keys_organizations (id, name, name_folded, status, limits, revision) \
                   VALUES (?1, ?2, ?3, 'active', '[]', 1)";
        let folded = name.to_lowercase();
        by_hand.execute(sql, rusqlite::params![[id; 16], name, folded]).unwrap();
    };
    let id = |byte: u8| OrganizationId::from(uuid::Uuid::from_bytes([byte; 16]));
    let hex = |byte: u8| id(byte).as_uuid().simple().to_string();
    let long = "x".repeat(70);
    let names = [
        ("solo", "solo".to_owned()),
        ("  Two-Words (& more) ", "two-words-more".to_owned()),
        ("twice", "twice".to_owned()),
        ("Twice", "twice-2".to_owned()),
        ("twice!", "twice-3".to_owned()),
        ("Acme Inc.", "acme-inc".to_owned()),
        // The number is taken, by a name and by another number.
        ("Other 2", "other-2".to_owned()),
        ("Other", "other".to_owned()),
        ("other", hex(9)),
        ("other", "other-3".to_owned()),
        ("-", hex(11)),
        ("", hex(12)),
        ("Crème", hex(13)),
        (&long, "x".repeat(63)),
        (&long, hex(15)),
        // The id of one before.
        (&hex(11), hex(16)),
    ];
    let numbered = || (1u8..).zip(&names);
    for (byte, (name, _)) in numbered() {
        insert(byte, name);
    }
    for _ in ["up", "down and up again"] {
        let store = SqliteStore::open(&path).await.unwrap();
        for (byte, (name, slug)) in numbered() {
            let organization = store.get(id(byte)).await.unwrap().unwrap();
            assert_eq!((&organization.slug, organization.revision), (slug, 1), "{name}");
            let found = store.get(OrganizationBySlug(slug.clone())).await.unwrap();
            assert_eq!(found, Some(organization));
        }
        drop(store);
        SqliteStore::builder().downgrade_and_lose_data(&path, 2).await.unwrap();
    }

    // By hand, without a slug.
    let store = SqliteStore::open(&path).await.unwrap();
    for byte in [101, 102] {
        insert(byte, "by hand");
        let by_hand = store.get(id(byte)).await.unwrap().unwrap();
        assert_eq!((by_hand.slug, by_hand.revision), (hex(byte), 1));
    }
}

#[tokio::test]
async fn secrets_of_the_servers_are_in_the_newest_fixture() {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("keys.sqlite");
    fs::copy(folder().join(format!("v{NEWEST}.sqlite")), &path).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let secrets = store
        .get(ServerSecretRecords::of(SecretPurpose::CHECKSUM))
        .await
        .unwrap();
    // That of the realm, and the one that was given.
    let given: Vec<_> = secrets.iter().filter(|secret| secret.id == "a").collect();
    assert_eq!((secrets.len(), given.len(), given[0].number), (2, 1, 0));
    assert_eq!(given[0].value.expose_secret(), SECRET);
    let acme = store.get(Organizations::all()).await.unwrap().items.remove(0);
    let keys = store.get(Keys::of(acme.id).name_starts_with("keyed")).await.unwrap();
    assert_eq!(keys.items[0].secrets[0].form, SecretForm::Keyed);
}

#[tokio::test]
async fn fixtures_are_those_of_the_newest_schema() {
    let file = super::File::new();
    drop(file.open().await);
    let last = file
        .by_hand()
        .query_row("SELECT max(version) FROM api_keys_schema_migrations", [], |row| {
            row.get(0)
        });
    assert_eq!(last, Ok(NEWEST), "add the fixture of the new version, and raise NEWEST");
}

#[tokio::test]
#[ignore = "makes the files of a new version"]
async fn make_fixture() {
    let path = folder().join(format!("v{NEWEST}.sqlite"));
    assert!(!path.exists(), "{path:?} was made already, and must stay as it is");
    fs::create_dir_all(folder()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("keys.sqlite");
    let store = SqliteStore::open(&file).await.unwrap();
    let text = fill(&store).await;
    drop(store);
    // One file, without a write-ahead log.
    let connection = Connection::open(&file).unwrap();
    connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
    fs::write(folder().join(format!("v{NEWEST}.keys.txt")), text).unwrap();
}

async fn fill(store: &SqliteStore) -> String {
    let mut text =
        "# Test keys, one a line after what they are. They open nothing but the file beside this one.\n".to_owned();
    let issuer = |format: KeyFormat, policy| {
        let keys = ApiKeys::builder(store.clone()).formats(format).hash_policy(policy);
        keys.checking().issuer().acting_as(Actor::operator("fixture"))
    };
    let fast = issuer(KeyFormat::default(), HashPolicy::sha256());
    let acme = fast.create_organization("Acme").await.unwrap();
    let limit = |name| RateLimit::per_minute(name, 1_000_000).unwrap();
    fast.update_organization(acme.id, |acme| acme.limits = vec![limit("shared")])
        .await
        .unwrap();
    let mut add = |state: &str, key: &str| text += &format!("{state} {key}\n");

    // Each scheme that new keys can have.
    let cheap = HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap());
    for policy in [cheap, HashPolicy::sha256(), HashPolicy::bcrypt_sha256(4).unwrap()] {
        let issued = issuer(KeyFormat::default(), policy)
            .issue(IssueRequest::new(acme.id, "scheme"))
            .await
            .unwrap();
        add("works", issued.key.expose_secret());
    }
    // Each format.
    for format in [
        KeyFormat::cmpz(),
        KeyFormat::pk(),
        KeyFormat::hk(),
        KeyFormat::gml(),
        KeyFormat::bare_hex(),
    ] {
        let issued = issuer(format, HashPolicy::sha256())
            .issue(IssueRequest::new(acme.id, "format"))
            .await
            .unwrap();
        add("works", issued.key.expose_secret());
    }
    // The checksum of the realm, and its secret.
    let secret = SecretValue::new(SECRET.to_vec());
    let secret = ServerSecretRecord::new(SecretPurpose::CHECKSUM, "a", secret, Timestamp::now());
    let commit = Commit::new().write(Write::InsertServerSecret(secret));
    store.commit(commit).await.unwrap();
    let issued = issuer(keyed(), HashPolicy::sha256())
        .issue(IssueRequest::new(acme.id, "keyed"))
        .await
        .unwrap();
    add("works", issued.key.expose_secret());
    // Everything that a key can have.
    let mut metadata = Metadata::default();
    metadata.set("team", "Grüße 🔑").unwrap();
    let request = IssueRequest::new(acme.id, "Everything, with Ünïcode")
        .user("alice".parse().unwrap())
        .environment("test")
        .scopes("orders:read invoices:*".parse().unwrap())
        .limit(limit("own"))
        .metadata(metadata)
        .expires_at(Timestamp::now().after(CENTURY));
    add("works", fast.issue(request).await.unwrap().key.expose_secret());
    // What keys share.
    fast.update_organization(acme.id, |acme| {
        acme.email = Some("ops@acme.example".to_owned());
        acme.policy.longest_life = Some(CENTURY);
    })
    .await
    .unwrap();
    fast.create_role(Role::new("clerk", "orders:write".parse().unwrap()))
        .await
        .unwrap();
    let alice = UserRequest::new(acme.id, "alice".parse().unwrap()).name("Alice");
    fast.create_user(alice).await.unwrap();
    let request = IssueRequest::new(acme.id, "shared")
        .user("alice".parse().unwrap())
        .ends_with_user()
        .roles("clerk".parse().unwrap())
        .labels("ci".parse().unwrap());
    add("works", fast.issue(request).await.unwrap().key.expose_secret());
    let key = "fixture".parse().unwrap();
    let once = fast.issue_once(IssueRequest::new(acme.id, "once"), &key).await;
    let Ok(OnceIssued::Made(once)) = once else {
        panic!("it was not made");
    };
    add("works", once.key.expose_secret());
    // Each state.
    let issue = async || -> IssuedKey { fast.issue(IssueRequest::new(acme.id, "state")).await.unwrap() };
    let (rotated, disabled, revoked) = (issue().await, issue().await, issue().await);
    let second = fast.rotate(rotated.record.id, CENTURY).await.unwrap();
    fast.disable(disabled.record.id).await.unwrap();
    fast.revoke(revoked.record.id, "a fixture").await.unwrap();
    add("works", rotated.key.expose_secret());
    add("works", second.key.expose_secret());
    add("disabled", disabled.key.expose_secret());
    add("revoked", revoked.key.expose_secret());
    // Hashes and formats of other systems.
    for (format, key, hash) in imports() {
        let parsed = format.parse(key.as_bytes()).unwrap();
        let lookup = Lookup::new(parsed.lookup()).unwrap();
        let environment = parsed.environment().map(ToOwned::to_owned);
        import(store, &acme, (format.prefix(), environment), lookup, hash).await;
        add("works", &key);
    }
    text
}

fn imports() -> Vec<(KeyFormat, String, String)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = |key: &str| format!("sha256:{}", hex(&Sha256::digest(key)));
    let sha512 = |key: &str| format!("sha512:{}", hex(&Sha512::digest(key)));
    let bcrypt = |key: &str| {
        bcrypt::hash_with_salt(key, 4, [7; 16])
            .unwrap()
            .format_for_version(bcrypt::Version::TwoB)
    };
    let cmpz = "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let pk = "pk_test_AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE";
    let hk = "hk_live_ZbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE";
    let seam = "seam_BRTRKFsL_51FwqftsmMDHHbJAMEXXHCgG";
    let sanctum = "42|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd";
    vec![
        (KeyFormat::seam("seam").unwrap(), seam.to_owned(), sha256(seam)),
        (KeyFormat::sanctum(), sanctum.to_owned(), sha256(sanctum)),
        (KeyFormat::cmpz(), cmpz.to_owned(), sha512(cmpz)),
        (KeyFormat::pk(), pk.to_owned(), bcrypt(pk)),
        (KeyFormat::hk(), hk.to_owned(), sha256(hk)),
    ]
}

async fn import(
    store: &SqliteStore,
    acme: &Organization,
    (prefix, environment): (&str, Option<String>),
    lookup: Lookup,
    hash: String,
) {
    let now = Timestamp::now();
    let mut record = KeyRecord::new(acme.id, "imported", now);
    record.prefix = prefix.to_owned();
    record.environment = environment;
    let id = record.id;
    let secret = KeySecret::new(lookup, SecretHash::new(hash).unwrap(), now);
    let commit = Commit::new()
        .write(Write::InsertKey(record))
        .write(Write::InsertSecret(id, secret));
    store.commit(commit).await.unwrap();
}
