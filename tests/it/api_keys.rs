//! The handle: opening by URL, one configuration, shared limits.

use std::error::Error;

use crate::house::{check, kind, text};
use crate::support::audit::Audit;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyFormat, KeyFormats, Lookup, RateLimit};
use tower_api_key::store::query::{AuditEvents, Keys};
use tower_api_key::store::{Candidate, DynStore, KeyStore, MemoryStore, StoreError, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, Issuer, RejectionKind};
use tracing::Level;

type Failure = Box<dyn Error>;

/// The error with all its causes, as text and as `Debug`.
fn all_of(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}\n{error} {error:?}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn memory_url_gives_a_handle_that_issues_and_checks() -> Result<(), Failure> {
    let keys = ApiKeys::open("memory:").await?;
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let acme = issuer.create_organization("acme").await?;
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await?;
    assert_eq!(
        check(&keys.authenticator(), text(&issued)).await?.key_id(),
        issued.record.id
    );

    let events = keys.read(AuditEvents::of(acme.id)).await?;
    assert!(
        events
            .items
            .iter()
            .all(|entry| entry.event.actor == Actor::user("alice"))
    );
    assert_eq!(events.items.len(), 2);
    // Each `memory:` is a new store, with a secret of its own.
    let other = ApiKeys::open("memory:").await?;
    assert_eq!(
        kind(&check(&other.authenticator(), text(&issued)).await),
        RejectionKind::MalformedKey
    );
    Ok(())
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_url_opens_exactly_the_file_it_names() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("a path of text")?;
    for (url, file) in [
        (format!("sqlite:{path}/a.db"), "a.db"),
        (format!("SQLite://{path}/b.db?mode=rwc"), "b.db"),
        (format!("sqlite:{path}/my%20keys.db"), "my keys.db"),
        (format!("sqlite:{path}/other keys.db"), "other keys.db"),
    ] {
        let keys = ApiKeys::open(&url).await?;
        let issuer = keys.issuer().acting_as(Actor::service());
        let acme = issuer.create_organization("acme").await?;
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await?;
        assert!(folder.path().join(file).is_file(), "{url}");
        drop((keys, issuer));
        let again = ApiKeys::open(&url).await?;
        check(&again.authenticator(), text(&issued)).await?;
    }
    Ok(())
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn refused_url_names_the_path_and_leaves_no_file() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("a path of text")?;
    std::fs::write(folder.path().join("text"), "no database, but a text of some length")?;
    let before = std::fs::read_dir(folder.path())?.count();
    for (url, said) in [
        (
            format!("sqlite:{path}/missing/keys.db"),
            format!("{path}/missing/keys.db"),
        ),
        (format!("sqlite:{path}/keys.db?mode=rw"), format!("{path}/keys.db")),
        (format!("sqlite:{path}/text"), format!("{path}/text")),
        (format!("sqlite:{path}"), path.to_owned()),
        (format!("sqlite:{path}/keys.db?mode=ro"), "`mode`".to_owned()),
        (format!("sqlite:{path}/keys.db?cache=shared"), "`cache`".to_owned()),
        ("sqlite::memory:".to_owned(), "`memory:`".to_owned()),
        ("sqlite:".to_owned(), "path of a file".to_owned()),
        ("memory:keys".to_owned(), "stand alone".to_owned()),
        (format!("{path}/keys.db"), "no scheme".to_owned()),
    ] {
        let error = ApiKeys::open(&url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable, "{url}");
        assert!(all_of(&error).contains(&said), "{url}: {}", all_of(&error));
    }
    assert_eq!(std::fs::read_dir(folder.path())?.count(), before, "no file was made");
    Ok(())
}

#[tokio::test]
async fn password_of_a_url_is_never_shown() {
    let (audit, _guard) = Audit::start();
    for url in [
        "postgres://u:hunter2@h/db",
        "postgresql://u:hunter2/x@h:5432/db",
        "postgresql+asyncpg://u:hun%74er2@h/db",
        "postgres:u:hunter2@h",
        "postgres://u@h/db?password=hunter2",
        "sqlite://u:hunter2@h/keys.db",
        "sqlite:keys.db?key=hunter2",
        "sqlite:keys.db?hunter2",
        "sqlite:keys.db?pass%77ord=hunter2",
        "u:hunter2@h",
        "hunter2",
        "hunter2!:x",
        "my_hunter2:x",
        "acme_live_hunter2hunter2hunter2:x",
        " postgres://u:hunter2@h",
        "mysql://u:hunter2#x@h/db",
        "postgres://u:hun%zzter2@h/db?p=hunter2",
        "postgres://u:ab@hunter2@h/db",
        "postgres://u@h/db?sslpassword=hunter2#frag",
        "sqllite:hunter2@keys.db",
        "sqlite://u:a/hunter2@h/keys.db",
        "sqlite://u:a?hunter2@h/keys.db",
        "sqlite::memory:hunter2",
        "memory:hunter2",
        "",
    ] {
        let error = ApiKeys::open(url).await.unwrap_err();
        // A server that is not found may be there later.
        let is_server = cfg!(feature = "postgres") && url.starts_with("postgres://");
        let is_right = match error.kind() {
            StoreErrorKind::Unavailable => is_server,
            kind => kind == StoreErrorKind::Unusable,
        };
        assert!(is_right, "{url}: {error:?}");
        assert!(!all_of(&error).contains("hunter2"), "{url}: {}", all_of(&error));
    }
    for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
        let events = format!("{:?}", audit.all_of_level(level));
        assert!(!events.contains("hunter2"), "{events}");
    }
    assert!(!std::path::Path::new("keys.db").exists());
}

#[tokio::test]
async fn what_the_handle_issues_it_accepts() -> Result<(), Failure> {
    let formats = KeyFormats::new([KeyFormat::new("acme")?, KeyFormat::pk()])?;
    let store = MemoryStore::new();
    let keys = ApiKeys::builder(store.clone())
        .formats(formats)
        .hash_policy(HashPolicy::sha256())
        .open()
        .await?;
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await?;
    let new = issuer.issue(IssueRequest::new(acme.id, "new")).await?;
    assert!(text(&new).starts_with("acme_live_"));
    // A key of an older format.
    let before = ApiKeys::builder(store)
        .formats(KeyFormat::pk())
        .hash_policy(HashPolicy::sha256())
        .open()
        .await?;
    let old = before
        .issuer()
        .acting_as(Actor::service())
        .issue(IssueRequest::new(acme.id, "old"))
        .await?;
    for issued in [&new, &old] {
        check(&keys.authenticator(), text(issued)).await?;
        check(&keys.clone().authenticator(), text(issued)).await?;
        check(&keys.erased().authenticator(), text(issued)).await?;
        let response = crate::support::ask(&keys.layer(), crate::support::bearer(text(issued))).await;
        assert_eq!(response.status(), 200);
    }
    assert_eq!(keys.read(Keys::of(acme.id)).await?.items.len(), 2);
    Ok(())
}

#[tokio::test]
async fn all_parts_of_a_handle_share_limits_and_revocation() -> Result<(), Failure> {
    let keys = ApiKeys::builder(MemoryStore::new())
        .hash_policy(HashPolicy::sha256())
        .open()
        .await?;
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await?;
    let limit = RateLimit::per_hour("requests", 3)?;
    let issued = issuer.issue(IssueRequest::new(acme.id, "key").limit(limit)).await?;
    let erased = keys.erased();
    check(&keys.authenticator(), text(&issued)).await?;
    check(&erased.authenticator(), text(&issued)).await?;
    let layer = keys.layer();
    let through_the_layer = || crate::support::ask(&layer, crate::support::bearer(text(&issued)));
    assert_eq!(through_the_layer().await.status(), 200);
    assert_eq!(
        kind(&check(&erased.authenticator(), text(&issued)).await),
        RejectionKind::RateLimited
    );

    issuer.revoke(issued.record.id, "lost").await?;
    assert_eq!(
        kind(&check(&keys.authenticator(), text(&issued)).await),
        RejectionKind::KeyRevoked
    );
    assert_eq!(
        kind(&check(&erased.authenticator(), text(&issued)).await),
        RejectionKind::KeyRevoked
    );
    assert_eq!(through_the_layer().await.status(), 401);
    Ok(())
}

/// A store with nothing but `find`.
struct NoKeys;

impl KeyStore for NoKeys {
    async fn find(&self, _: &Lookup) -> Result<Option<Candidate>, StoreError> {
        Ok(None)
    }
}

#[tokio::test]
async fn store_that_only_finds_checks_and_refuses_commits() -> Result<(), Failure> {
    let keys = ApiKeys::builder(DynStore::find_only(NoKeys)).open().await?;
    let unknown = crate::house::unknown_key(1);
    assert_eq!(
        kind(&check(&keys.authenticator(), &unknown).await),
        RejectionKind::UnknownKey
    );
    assert_eq!(
        kind(&check(&ApiKeys::checking(NoKeys).authenticator(), &unknown).await),
        RejectionKind::UnknownKey
    );
    let refused = keys
        .issuer()
        .acting_as(Actor::service())
        .create_organization("acme")
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::ReadOnly);
    assert!(Issuer::new(DynStore::find_only(NoKeys)).is_err());
    Ok(())
}

#[tokio::test]
async fn store_that_is_down_fails_to_open() {
    let store = FaultStore::new(MemoryStore::new());
    store.faults().next_manage(Fault::Error(StoreErrorKind::Unavailable));
    let error = ApiKeys::builder(store.clone()).open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    ApiKeys::builder(store).open().await.unwrap();
}

/// A store that can write and has no fence: no cache would learn of a revoke.
#[derive(Clone)]
struct Fenceless(MemoryStore);

impl KeyStore for Fenceless {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.0.find(lookup).await
    }
}

impl tower_api_key::store::ManagedStore for Fenceless {
    async fn commit(
        &self,
        commit: tower_api_key::store::Commit,
    ) -> Result<tower_api_key::store::Committed, StoreError> {
        self.0.commit(commit).await
    }

    async fn read(
        &self,
        query: tower_api_key::store::query::Query,
    ) -> Result<tower_api_key::store::query::Answer, StoreError> {
        self.0.read(query).await
    }
}

#[tokio::test]
async fn handle_that_only_checks_issues_nothing_without_a_fence() {
    let keys = ApiKeys::builder(Fenceless(MemoryStore::new())).checking();
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let error = issuer.create_organization("acme").await.unwrap_err();
    assert_eq!(error.kind(), IssueErrorKind::ReadOnly);
}
