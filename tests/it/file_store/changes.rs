//! Changes of a file: which are taken, when they are final, and what holds while it is broken.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tower_api_key::key::KeyFormat;
use tower_api_key::store::{FileStatus, FileStore, FileStoreBuilder, KeyStore, StoreErrorKind};
use tower_api_key::testing::ManualClock;
use tower_api_key::{ApiKeyLayer, Authenticator, RejectionKind};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;

use super::{Folder, KEY, OTHER, all_of, check, entry, found, set_mode, sha256, toml};
use crate::house::process::is_alone;
use crate::house::{kind, until};
use crate::support::audit::Audit;
use crate::support::{ask, bearer};

const MAX_BAD_AGE: Duration = Duration::from_secs(300);

pub(super) fn quick() -> FileStoreBuilder {
    FileStore::builder().poll_interval(Duration::from_millis(100)).unwrap()
}

/// A store whose file is looked at only when the test says so.
fn slow() -> FileStoreBuilder {
    FileStore::builder().poll_interval(Duration::from_secs(60)).unwrap()
}

pub(super) fn one() -> String {
    toml(&[entry("a", KEY)])
}

pub(super) fn two() -> String {
    toml(&[entry("a", KEY), entry("b", OTHER)])
}

pub(super) async fn has(store: &FileStore, key: &str) -> bool {
    found(store, key).await.is_some()
}

#[tokio::test]
async fn edited_and_replaced_files_are_both_taken() {
    let folder = Folder::new();
    let store = quick().open(folder.write("keys.toml", &one())).await.unwrap();
    folder.write("keys.toml", &two());
    until(|| store.status().reloads == 1).await;
    assert!(has(&store, OTHER).await);
    folder.replace("keys.toml", &one());
    until(|| store.status().reloads == 2).await;
    assert!(has(&store, KEY).await && !has(&store, OTHER).await);
    // Of the same size, with the time of before.
    let time = fs::metadata(folder.path("keys.toml")).unwrap().modified().unwrap();
    let path = folder.write("keys.toml", &toml(&[entry("a", OTHER)]));
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    until(|| store.status().reloads == 3).await;
    assert!(has(&store, OTHER).await && !has(&store, KEY).await);
    assert_eq!(store.status().failed_reloads, 0);
}

/// As Kubernetes changes a mounted secret: the link to a folder is replaced.
#[cfg(unix)]
#[tokio::test]
async fn swap_of_a_link_on_the_way_is_taken() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new();
    for (version, text) in [("v1", one()), ("v2", two())] {
        fs::create_dir(folder.path(version)).unwrap();
        folder.write(&format!("{version}/keys.toml"), &text);
    }
    symlink("v1", folder.path("..data")).unwrap();
    symlink("..data/keys.toml", folder.path("keys.toml")).unwrap();
    let store = quick().open(folder.path("keys.toml")).await.unwrap();
    assert!(!has(&store, OTHER).await);
    symlink("v2", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    until(|| store.status().reloads == 1).await;
    assert!(has(&store, OTHER).await);
}

#[tokio::test]
async fn removed_key_is_refused_and_its_streams_end() {
    let folder = Folder::new();
    let store = slow().open(folder.write("keys.toml", &two())).await.unwrap();
    let keys = Authenticator::new(store.clone());
    let removed = check(&keys, OTHER).await.unwrap();
    let kept = check(&keys, KEY).await.unwrap();
    let (removed, kept) = (tokio::spawn(removed.revoked()), tokio::spawn(kept.revoked()));
    folder.replace("keys.toml", &one());
    assert!(check(&keys, OTHER).await.is_ok(), "it was not taken yet");
    store.reload().await.unwrap();
    assert_eq!(kind(&check(&keys, OTHER).await), RejectionKind::UnknownKey);
    removed.await.unwrap();
    check(&keys, KEY).await.unwrap();
    assert!(!kept.is_finished());
    // The last key of a file goes with it.
    folder.replace("keys.toml", "[end]\n");
    store.reload().await.unwrap();
    assert_eq!(kind(&check(&keys, KEY).await), RejectionKind::UnknownKey);
    kept.await.unwrap();
}

/// A key in the form of a format, and one whose hash is replaced under its name.
#[tokio::test]
async fn streams_of_removed_and_replaced_keys_end() {
    let (key, _) = KeyFormat::default().generate(Some("live")).unwrap().into_parts();
    let key = key.expose_secret();
    let folder = Folder::new();
    let text = toml(&[entry("a", key), entry("b", OTHER)]);
    let store = slow().open(folder.write("keys.toml", &text)).await.unwrap();
    let keys = Authenticator::new(store.clone());
    let removed = tokio::spawn(check(&keys, key).await.unwrap().revoked());
    let replaced = tokio::spawn(check(&keys, OTHER).await.unwrap().revoked());
    folder.replace("keys.toml", &toml(&[entry("b", KEY)]));
    store.reload().await.unwrap();
    removed.await.unwrap();
    replaced.await.unwrap();
    for gone in [key, OTHER] {
        assert_eq!(kind(&check(&keys, gone).await), RejectionKind::UnknownKey);
    }
    assert_eq!(check(&keys, KEY).await.unwrap().name(), "b");
}

#[tokio::test]
async fn changed_rights_hold_at_the_next_request() {
    let folder = Folder::new();
    let store = slow().open(folder.write("keys.toml", &one())).await.unwrap();
    let keys = Authenticator::new(store.clone());
    check(&keys, KEY).await.unwrap();
    folder.replace("keys.toml", &one().replace("\"any\"", "[\"192.0.2.0/24\"]"));
    store.reload().await.unwrap();
    assert_eq!(kind(&check(&keys, KEY).await), RejectionKind::NetworkNotAllowed);
}

#[tokio::test]
async fn touched_file_turns_nothing() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &one());
    let store = slow().open(&path).await.unwrap();
    let changes = store.fence().unwrap().changes();
    let later = SystemTime::now() + Duration::from_secs(60);
    fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    store.reload().await.unwrap();
    assert_eq!((store.fence().unwrap().changes(), store.status().reloads), (changes, 0));
}

/// What a deployment does to a file: everything that is not a whole file of keys keeps the keys of before.
#[tokio::test]
async fn broken_file_keeps_the_keys_of_before() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &two());
    let store = slow().open(&path).await.unwrap();
    let broken: [(&str, &dyn Fn()); 6] = [
        ("empty", &|| drop(folder.write("keys.toml", ""))),
        ("cut", &|| drop(folder.write("keys.toml", &two()[..300]))),
        ("garbage", &|| drop(folder.write("keys.toml", "\u{0}\u{0}\u{0}"))),
        ("missing", &|| fs::remove_file(&path).unwrap()),
        ("unknown field", &|| {
            folder.replace("keys.toml", &two().replace("networks", "network"))
        }),
        ("too large", &|| drop(folder.write("keys.toml", &"#".repeat(2 << 20)))),
    ];
    for (failures, (what, break_it)) in (1..).zip(broken) {
        break_it();
        let error = store.reload().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable, "{what}");
        let FileStatus {
            keys,
            problem,
            is_serving,
            reloads,
            failed_reloads,
            ..
        } = store.status();
        assert_eq!(
            (keys, is_serving, reloads, failed_reloads),
            (2, true, 0, failures),
            "{what}"
        );
        assert!(all_of(&error).contains(&problem.unwrap()), "{what}");
        assert!(has(&store, KEY).await && has(&store, OTHER).await, "{what}");
    }
    // The same again is no news.
    assert!(store.reload().await.is_err());
    assert_eq!(store.status().failed_reloads, 6);
    folder.write("keys.toml", &one());
    store.reload().await.unwrap();
    assert_eq!((store.status().problem, store.status().reloads), (None, 1));
    assert!(!has(&store, OTHER).await);
}

#[tokio::test]
async fn keys_of_a_file_broken_for_too_long_are_answered_with_503() {
    let (folder, hand) = (Folder::new(), ManualClock::new());
    let path = folder.write("keys.toml", &one());
    let store = quick().clock(hand.clock()).open(&path).await.unwrap();
    let keys = Authenticator::new(store.clone());
    let layer = ApiKeyLayer::from(keys.clone());
    let stream = tokio::spawn(check(&keys, KEY).await.unwrap().revoked());
    hand.advance(2 * MAX_BAD_AGE);
    assert_eq!(
        ask(&layer, bearer(KEY)).await.status(),
        StatusCode::OK,
        "no file is too old"
    );

    fs::remove_file(&path).unwrap();
    until(|| store.status().problem.is_some()).await;
    hand.advance(MAX_BAD_AGE - Duration::from_millis(1));
    assert_eq!(ask(&layer, bearer(KEY)).await.status(), StatusCode::OK);
    assert!(!stream.is_finished());

    hand.advance(Duration::from_millis(1));
    assert!(!store.status().is_serving);
    let changes = store.fence().unwrap().changes();
    until(|| store.fence().unwrap().changes() > changes || stream.is_finished()).await;
    stream.await.unwrap();
    for key in [KEY, OTHER] {
        assert_eq!(ask(&layer, bearer(key)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    folder.write("keys.toml", &one());
    until(|| store.status().is_serving).await;
    assert_eq!(ask(&layer, bearer(KEY)).await.status(), StatusCode::OK);
    assert_eq!(ask(&layer, bearer(OTHER)).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(store.status().reloads, 0, "the keys are those of before");
}

/// The end is not put off to the next look at the file.
#[tokio::test]
async fn keys_of_a_broken_file_end_in_time_however_rarely_it_is_looked_at() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &one());
    let builder = slow().max_bad_age(Duration::from_secs(1)).unwrap();
    let store = builder.open(&path).await.unwrap();
    let keys = Authenticator::new(store.clone());
    let stream = tokio::spawn(check(&keys, KEY).await.unwrap().revoked());
    fs::remove_file(&path).unwrap();
    assert!(store.reload().await.is_err());
    assert!(check(&keys, KEY).await.is_ok());
    until(|| stream.is_finished()).await;
    assert_eq!(kind(&check(&keys, KEY).await), RejectionKind::StoreUnavailable);
}

/// In a process of its own, since it moves the whole process.
#[tokio::test]
async fn file_of_a_relative_path_is_the_one_of_the_start() {
    if !is_alone("file_store::changes::file_of_a_relative_path_is_the_one_of_the_start") {
        return;
    }
    let folder = Folder::new();
    folder.write("keys.toml", &one());
    std::env::set_current_dir(folder.path("")).unwrap();
    let store = slow().open("keys.toml").await.unwrap();
    std::env::set_current_dir("/").unwrap();
    folder.write("keys.toml", &two());
    store.reload().await.unwrap();
    assert!(has(&store, OTHER).await);
}

/// A program that writes over the file from its start: until it is done, the first key has the networks of the one before.
#[tokio::test]
async fn file_that_is_half_written_over_is_not_taken() {
    let folder = Folder::new();
    let old = one();
    let new = toml(&[entry("a", OTHER)]).replace("\"any\"", "[\"192.0.2.0/24\"]");
    let path = folder.write("keys.toml", &old);
    let store = slow().open(&path).await.unwrap();
    let half = new.find("networks").unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(&new.as_bytes()[..half]).unwrap();
    let rest = new.as_bytes()[half..].to_owned();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        file.write_all(&rest).unwrap();
    });
    store.reload().await.unwrap();
    writer.join().unwrap();
    assert_eq!(
        found(&store, OTHER).await.unwrap().record.networks.to_string(),
        "192.0.2.0/24"
    );
}

/// A program that truncates the file and writes it anew, again and again.
#[tokio::test]
async fn file_that_is_being_written_never_has_other_rights() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &two());
    let store = quick().open(&path).await.unwrap();
    let rights = async |key| found(&store, key).await.map(|found| (found.record, found.organization));
    let (one_key, other_key) = (rights(KEY).await, rights(OTHER).await);
    let writer = std::thread::spawn(move || {
        for turn in 0..1_000 {
            let text = if turn % 2 == 0 { one() } else { two() };
            let mut file = fs::File::create(&path).unwrap();
            for part in text.as_bytes().chunks(32) {
                file.write_all(part).unwrap();
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    });
    while !writer.is_finished() {
        assert_eq!(rights(KEY).await, one_key);
        let other = rights(OTHER).await;
        assert!(other.is_none() || other == other_key);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.join().unwrap();
    store.reload().await.unwrap();
    assert_eq!((rights(OTHER).await, store.status().problem), (other_key, None));
}

/// In a process of its own, since the thread that looks at the file has no subscriber of this thread.
#[test]
fn failed_reload_is_logged_as_an_error_without_its_text() {
    if !is_alone("file_store::changes::failed_reload_is_logged_as_an_error_without_its_text") {
        return;
    }
    let audit = Audit::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(audit.clone())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = Folder::new();
        let path = folder.write("keys.toml", &one());
        let (hand, builder) = (ManualClock::new(), slow());
        let store = builder.clock(hand.clock()).open(&path).await.unwrap();
        let broken = one().replace("hash = \"sha256:", "hash = \"sha1:");
        folder.write("keys.toml", &broken);
        for _ in 0..3 {
            assert!(store.reload().await.is_err());
        }
        hand.advance(MAX_BAD_AGE);
        assert!(store.reload().await.is_err());
        // The thread says it after it has answered.
        until(|| audit.all_of_level(Level::ERROR).len() == 2).await;
        let errors = audit.all_of_level(Level::ERROR);
        assert!(
            errors[0].fields.contains("line 4, column 8: unknown scheme"),
            "{errors:?}"
        );
        assert!(
            errors[0].fields.contains("keys.toml") && errors[1].fields.contains("all keys are refused"),
            "{errors:?}"
        );
        folder.write("keys.toml", &one());
        store.reload().await.unwrap();
        let said = format!(
            "{:?}{:?}",
            audit.all_of_level(Level::ERROR),
            audit.all_of_level(Level::INFO)
        );
        assert!(
            said.contains("can be used again") && !said.contains(&sha256(KEY)[7..15]),
            "{said}"
        );
        set_mode(&path, 0o600);
    });
}

/// The thread ends with the last clone of the store.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn thread_ends_with_the_last_clone() {
    if !is_alone("file_store::changes::thread_ends_with_the_last_clone") {
        return;
    }
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.trim() == "api-keys-file").count()
    };
    let folder = Folder::new();
    let store = slow().open(folder.write("keys.toml", &one())).await.unwrap();
    let clone = store.clone();
    drop(store);
    assert_eq!(threads(), 1);
    clone.reload().await.unwrap();
    drop(clone);
    until(|| threads() == 0).await;
}
