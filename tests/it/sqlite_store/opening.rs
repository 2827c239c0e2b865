//! Files that cannot be opened, and their error messages.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use tower_api_key::store::{SqliteStore, StoreErrorKind, StoreExt};

use super::{File, chain, insert, new_key, organization};

async fn unusable(path: impl AsRef<Path>) -> String {
    let error = SqliteStore::open(path).await.expect_err("this cannot be opened");
    let text = chain(&error);
    assert_eq!(error.kind(), StoreErrorKind::Unusable, "{text}");
    text
}

#[rstest]
#[case("")]
#[case(":memory:")]
#[case("file::memory:?cache=shared")]
#[case("file:keys.sqlite")]
#[case("sqlite://keys.sqlite")]
#[case("sqlite::memory:")]
#[tokio::test]
async fn not_a_path_is_refused(#[case] path: &str) {
    assert!(unusable(path).await.contains("give a path"));
    assert!(!Path::new(path).exists());
}

#[tokio::test]
async fn folders_missing_folders_and_other_files_are_refused() {
    let file = File::new();
    let folder = file.path.parent().unwrap();
    assert!(unusable(folder).await.contains("cannot open"));
    assert!(
        unusable(folder.join("missing/keys.sqlite"))
            .await
            .contains("missing/keys.sqlite")
    );
    fs::write(
        &file.path,
        "a diary, not a database, and long enough to tell: ".repeat(20),
    )
    .unwrap();
    assert!(unusable(&file.path).await.contains("not a database"));
    assert!(unusable(file.path.join("keys.sqlite")).await.contains("cannot open"));
}

/// Errors name the path as it was given, and what it is relative to.
#[tokio::test]
async fn every_error_of_opening_names_the_path() {
    let file = File::new();
    let path = file.path.to_str().unwrap();
    for sql in [
        "CREATE TABLE orders (mine TEXT)",
        "CREATE TABLE api_keys_keys (mine TEXT)",
        "CREATE TABLE key_store_migrations (version INTEGER)",
        "CREATE TABLE api_keys_schema_migrations (mine TEXT)",
    ] {
        file.by_hand().execute_batch(sql).unwrap();
        assert!(unusable(&file.path).await.contains(path), "{sql}");
        fs::remove_file(&file.path).unwrap();
    }
    drop(file.open().await);
    let altered = "UPDATE api_keys_schema_migrations SET checksum = 'other'";
    file.by_hand().execute(altered, []).unwrap();
    assert!(unusable(&file.path).await.contains(path));
    let downgraded = SqliteStore::builder().downgrade_and_lose_data(&file.path, 0).await;
    assert!(chain(&downgraded.unwrap_err()).contains(path));

    let said = unusable("no/such/folder/keys.sqlite").await;
    let here = std::env::current_dir().unwrap();
    let named = format!("\"no/such/folder/keys.sqlite\" in folder {here:?}");
    assert!(said.contains(&named), "{said}");
    assert!(!Path::new("no").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn link_to_a_missing_file_is_refused_and_to_a_file_is_not() {
    let file = File::new();
    let target = file.path.with_file_name("target.sqlite");
    std::os::unix::fs::symlink(&target, &file.path).unwrap();
    let said = unusable(&file.path).await;
    assert!(said.contains("symbolic link") && said.contains("keys.sqlite"), "{said}");
    assert!(!target.exists());
    drop(SqliteStore::open(&target).await.unwrap());
    let store = SqliteStore::open(&file.path).await.unwrap();
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
}

/// Its journal mode is not changed either: an older program may use another one.
#[tokio::test]
async fn refused_file_of_this_crate_keeps_every_byte() {
    for damage in [
        "INSERT INTO api_keys_schema_migrations VALUES (1000, 'future', 'checksum', 1000, 0)",
        "UPDATE api_keys_schema_migrations SET checksum = 'other'",
        "DELETE FROM api_keys_schema_migrations WHERE version = 1",
    ] {
        let (original, file) = (File::new(), File::new());
        drop(original.open().await);
        // The copy is in rollback journal mode, so a switch to WAL would be seen.
        let copied = original
            .by_hand()
            .execute("VACUUM INTO ?1", [file.path.to_str().unwrap()]);
        copied.unwrap();
        file.by_hand().execute_batch(damage).unwrap();
        let before = fs::read(&file.path).unwrap();
        unusable(&file.path).await;
        let downgraded = SqliteStore::builder().downgrade_and_lose_data(&file.path, 0).await;
        assert_eq!(downgraded.unwrap_err().kind(), StoreErrorKind::Unusable);
        assert!(
            fs::read(&file.path).unwrap() == before,
            "{damage}: the file was changed"
        );
        assert_eq!(fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn new_file_is_private_and_an_existing_one_keeps_its_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let file = File::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let store = SqliteStore::open(&file.path).await.unwrap();
    organization(&store).await;
    for kept in fs::read_dir(file.path.parent().unwrap()).unwrap() {
        let path = kept.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(store);
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).unwrap();
    let _store = SqliteStore::open(&file.path).await.unwrap();
    assert_eq!(mode(&file.path), 0o640);
}

/// In `/proc`, not even root can create a file.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn unwritable_place_is_refused() {
    assert!(unusable("/proc/keys.sqlite").await.contains("/proc/keys.sqlite"));
}

#[cfg(unix)]
#[tokio::test]
async fn read_only_folder_and_file_are_refused() {
    use std::os::unix::fs::PermissionsExt;

    let file = File::new();
    let folder = file.path.parent().unwrap().to_owned();
    let permit = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    permit(&folder, 0o555);
    if fs::write(folder.join("probe"), "").is_ok() {
        // Root ignores permissions. The test above covers a new file; the rest is tested only as another user.
        return;
    }
    let text = unusable(&file.path).await;
    assert!(text.contains("cannot open"), "{text}");

    permit(&folder, 0o755);
    // Not with a store: its threads end a little later than the drop, and SQLite would reuse their open descriptor.
    let connection = file.by_hand();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE something (a INTEGER)")
        .unwrap();
    connection.close().unwrap();
    permit(&file.path, 0o444);
    let text = unusable(&file.path).await;
    assert!(text.contains("is read-only"), "{text}");

    permit(&file.path, 0o644);
    permit(&folder, 0o555);
    let text = unusable(&file.path).await;
    assert!(text.contains("keys.sqlite"), "{text}");
    permit(&folder, 0o755);
}

#[tokio::test]
async fn file_of_a_newer_version_is_refused_and_left_alone() {
    let file = File::new();
    drop(file.open().await);
    let newer = "INSERT INTO api_keys_schema_migrations VALUES (1000, 'future', 'checksum', 1000, 0)";
    file.by_hand().execute(newer, []).unwrap();
    let text = unusable(&file.path).await;
    assert!(text.contains("newer version") && text.contains("1000"), "{text}");
    file.by_hand()
        .execute("DELETE FROM api_keys_schema_migrations WHERE version = 1000", [])
        .unwrap();
    drop(file.open().await);
}

#[tokio::test]
async fn altered_migration_is_refused() {
    let file = File::new();
    drop(file.open().await);
    file.by_hand()
        .execute("UPDATE api_keys_schema_migrations SET checksum = 'other'", [])
        .unwrap();
    let text = unusable(&file.path).await;
    assert!(
        text.contains("migration 1 (keys)") && text.contains("checksum"),
        "{text}"
    );
}

#[tokio::test]
async fn tables_of_others_are_not_taken_over() {
    let file = File::new();
    file.by_hand()
        .execute_batch("CREATE TABLE api_keys_keys (mine TEXT); INSERT INTO api_keys_keys VALUES ('mine')")
        .unwrap();
    let before = fs::read(&file.path).unwrap();
    assert!(unusable(&file.path).await.contains("`api_keys_keys`"));
    let downgraded = SqliteStore::builder().downgrade_and_lose_data(&file.path, 0).await;
    assert_eq!(downgraded.unwrap_err().kind(), StoreErrorKind::Unusable);
    assert!(fs::read(&file.path).unwrap() == before, "the file was changed");
}

/// The path may be a mistake, so `beside_other_tables` must be called.
#[tokio::test]
async fn file_of_another_program_serves_only_when_allowed() {
    let file = File::new();
    let of_mine = "CREATE TABLE orders (mine TEXT); INSERT INTO orders VALUES ('mine')";
    file.by_hand().execute_batch(of_mine).unwrap();
    let before = fs::read(&file.path).unwrap();
    assert!(unusable(&file.path).await.contains("another program's database"));
    assert!(fs::read(&file.path).unwrap() == before, "the file was changed");

    let store = SqliteStore::builder()
        .beside_other_tables()
        .open(&file.path)
        .await
        .unwrap();
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
    drop(store);
    file.open().await;
    let mine: String = file
        .by_hand()
        .query_row("SELECT mine FROM orders", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mine, "mine");
}

#[tokio::test]
async fn file_from_before_the_first_release_is_refused_untouched() {
    let file = File::new();
    let before = "CREATE TABLE key_store_migrations (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL
    );
    CREATE TABLE organizations (id BLOB NOT NULL PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO key_store_migrations VALUES (1, 'keys', 'checksum', 0);";
    file.by_hand().execute_batch(before).unwrap();
    let before = fs::read(&file.path).unwrap();
    let text = unusable(&file.path).await;
    assert!(
        text.contains("before its first release") && text.contains("move the file away"),
        "{text}"
    );
    assert!(fs::read(&file.path).unwrap() == before, "the file was changed");
}

/// A later version may have added tables or columns that this version can ignore.
#[tokio::test]
async fn newer_schema_serves_when_it_allows_this_program() {
    let file = File::new();
    drop(file.open().await);
    let newer = "INSERT INTO api_keys_schema_migrations SELECT max(version) + 1, 'future', 'checksum', 1, 0 \
                 FROM api_keys_schema_migrations";
    file.by_hand().execute(newer, []).unwrap();
    let store = file.open().await;
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
    drop(store);
    let downgraded = SqliteStore::builder().downgrade_and_lose_data(&file.path, 0).await;
    let error = downgraded.unwrap_err();
    assert!(chain(&error).contains("upgrade the crate"), "{}", chain(&error));
}

/// SQLite compares names without case.
#[rstest]
#[case("api_keys_schema_migrations")]
#[case("API_KEYS_schema_migrations")]
#[tokio::test]
async fn ledger_of_another_program_is_refused(#[case] name: &str) {
    let file = File::new();
    let create = format!("CREATE TABLE {name} (mine TEXT)");
    file.by_hand().execute_batch(&create).unwrap();
    let before = fs::read(&file.path).unwrap();
    assert!(unusable(&file.path).await.contains("api_keys_schema_migrations"));
    let beside = SqliteStore::builder().beside_other_tables().open(&file.path).await;
    assert_eq!(beside.unwrap_err().kind(), StoreErrorKind::Unusable);
    assert!(fs::read(&file.path).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn schema_goes_down_and_up_again() {
    let file = File::new();
    let store = file.open().await;
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
    drop(store);
    let schema = |file: &File| -> Vec<String> {
        let connection = file.by_hand();
        let mut statement = connection
            .prepare("SELECT coalesce(sql, name) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_seq%' ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = schema(&file);
    SqliteStore::builder()
        .downgrade_and_lose_data(&file.path, 0)
        .await
        .unwrap();
    assert!(
        schema(&file)
            .iter()
            .all(|sql| sql.contains("api_keys_schema_migrations"))
    );
    let store = file.open().await;
    assert_eq!(schema(&file), before);
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();

    let missing = SqliteStore::builder()
        .downgrade_and_lose_data(&file.path, 99)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::Unusable);

    // A downgrade to a newer version is refused, and no file is created.
    drop(store);
    let down_to = async |path: &Path, version| {
        let downgraded = SqliteStore::builder().downgrade_and_lose_data(path, version).await;
        downgraded.map_err(|error| (error.kind(), chain(&error)))
    };
    down_to(&file.path, 0).await.unwrap();
    let (kind, said) = down_to(&file.path, 1).await.unwrap_err();
    assert!(
        kind == StoreErrorKind::Unusable && said.contains("no way down to 1"),
        "{said}"
    );
    let mistyped = file.path.with_extension("sqlit");
    let (kind, said) = down_to(&mistyped, 0).await.unwrap_err();
    assert!(
        kind == StoreErrorKind::Unusable && said.contains("file not found"),
        "{said}"
    );
    assert!(!mistyped.exists());
    let store = file.open().await;
    let found = store.get(organization(&store).await.id).await.unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn option_out_of_bounds_is_refused_before_opening() {
    let hour = Duration::from_secs(3600);
    let readers = |number| SqliteStore::builder().readers(NonZeroUsize::new(number).unwrap());
    let patient = |time| SqliteStore::builder().busy_timeout(time);
    for (options, word) in [
        (readers(65), "at most 64, got 65"),
        (readers(usize::MAX), "readers"),
        (patient(Duration::MAX), "busy_timeout"),
        (patient(hour + Duration::from_nanos(1)), "busy_timeout"),
    ] {
        let file = File::new();
        let opened = options.clone().open(&file.path).await.map(drop);
        let downgraded = options.downgrade_and_lose_data(&file.path, 0).await;
        for error in [opened.unwrap_err(), downgraded.unwrap_err()] {
            assert_eq!(error.kind(), StoreErrorKind::Unusable);
            assert!(chain(&error).contains(word), "{}", chain(&error));
        }
        assert!(!file.path.exists());
    }
    for options in [readers(64), patient(hour), patient(Duration::ZERO)] {
        let file = File::new();
        options.open(&file.path).await.unwrap();
    }
}
