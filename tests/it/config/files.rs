//! Who may read a file, what it may be, and where its paths begin.

use std::path::Path;

use tower_api_key::ApiKeys;
use tower_api_key::config::{Config, ConfigFileError, ConfigFileErrorKind};

use super::Place;
use crate::support::files::{SOMEONE, give_to, is_root, make_pipe, set_mode};

const WITH_PASSWORD: &str = "[database]\nurl = \"postgres://keys:hunter2@db/acme\"\n";

fn refused(path: &Path) -> ConfigFileError {
    Config::read(path).unwrap_err()
}

#[test]
fn file_with_a_password_that_others_may_read_is_refused() {
    use std::os::unix::fs::MetadataExt;

    for url in [
        "postgres://keys:hunter2@db/acme",
        "postgresql://keys@db/acme?password=hunter2",
        "postgres://db/acme?pass%77ord=hunter2",
    ] {
        let place = Place::new(&format!("[database]\nurl = \"{url}\"\n"));
        let is_of_root = place.path().metadata().unwrap().uid() == 0;
        for (mode, is_read) in [
            (0o600, true),
            (0o400, true),
            (0o640, is_of_root),
            (0o644, false),
            (0o604, false),
            (0o620, false),
            (0o660, false),
        ] {
            set_mode(&place.path(), mode);
            let read = Config::read(place.path());
            assert_eq!(read.is_ok(), is_read, "{mode:o} {url}");
            if let Err(error) = read {
                assert_eq!(error.kind(), ConfigFileErrorKind::Exposed);
                assert_eq!((error.path(), error.place()), (Some(&*place.path()), Some((2, 7))));
                let said = error.to_string();
                assert!(
                    said.contains("`database.url` has a password, and the file must have mode"),
                    "{said}"
                );
                assert!(
                    said.contains(&format!("got {mode:o}; or leave the URL to `DATABASE_URL`")),
                    "{said}"
                );
                assert!(!crate::support::chain(&error).contains("hunter2"));
            }
        }
    }
}

#[test]
fn file_without_a_password_may_be_read_by_all() {
    for url in [
        "postgres://keys@db:5432/acme",
        "postgres://db/acme",
        "sqlite:a.db",
        "memory:",
    ] {
        let place = Place::new(&format!("[database]\nurl = \"{url}\"\n"));
        set_mode(&place.path(), 0o644);
        Config::read(place.path()).unwrap();
    }
}

#[test]
fn file_with_a_password_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new(WITH_PASSWORD);
    give_to(&place.path(), SOMEONE);
    let error = refused(&place.path());
    assert_eq!(error.kind(), ConfigFileErrorKind::Exposed);
    assert!(error.to_string().contains("belongs to user 54321"), "{error}");
}

#[test]
fn unreadable_files_are_errors_with_their_path() {
    let place = Place::new("");
    let missing = place.file("missing.toml");
    let error = refused(&missing);
    assert_eq!(error.kind(), ConfigFileErrorKind::Unreadable);
    assert_eq!(error.to_string(), format!("{}: cannot be opened", missing.display()));
    assert!(format!("{error:?}").contains("No such file"), "{error:?}");
    let pipe = place.file("pipe");
    make_pipe(&pipe);
    for path in [place.folder.path(), &pipe] {
        let error = refused(path);
        assert_eq!(error.to_string(), format!("{}: must be a file", path.display()));
    }
    place.write(b"[log]\nlevel = \"\xff\"\n");
    let error = refused(&place.path());
    assert!(
        error
            .to_string()
            .ends_with("must be UTF-8, which byte 16 is not: save it so"),
        "{error}"
    );
}

#[test]
fn file_of_more_than_a_mebibyte_is_refused() {
    let place = Place::new("");
    let mut text = "#".repeat((1 << 20) - 1) + "\n";
    place.write(&text);
    Config::read(place.path()).unwrap();
    text.push('\n');
    place.write(&text);
    let error = refused(&place.path());
    assert_eq!(error.kind(), ConfigFileErrorKind::Unreadable);
    assert!(
        error.to_string().ends_with("must have at most 1048576 bytes (1 MiB)"),
        "{error}"
    );
}

/// Editors of Windows write one, and their line ends.
#[test]
fn byte_order_mark_is_left_out() {
    let place = Place::new("");
    place.write("\u{feff}[log]\r\nlevel = \"warn\"\r\n");
    assert_eq!(Config::read(place.path()).unwrap().log().level, tracing::Level::WARN);
}

/// As Kubernetes mounts them.
#[test]
fn link_to_a_file_is_followed() {
    let place = Place::new("[log]\nlevel = \"warn\"\n");
    let link = place.file("link.toml");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    assert_eq!(Config::read(&link).unwrap().log().level, tracing::Level::WARN);
}

/// A percent sign and a question mark in the folder's name are what they are.
#[tokio::test]
async fn relative_paths_begin_at_the_folder_of_the_file() {
    let outer = Place::new("");
    let folder = outer.file("100% ours?");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("api-keys.toml");
    let text = "[database]\nurl = \"sqlite:keys.db\"\njournal = \"gone\"\n[secrets]\nroot_key_file = \"root.key\"\n[audit]\n\
                anchor_file = \"anchors\"\n";
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.join("root.key"), "01".repeat(32)).unwrap();
    set_mode(&folder.join("root.key"), 0o600);
    let keys = ApiKeys::open_config(&path).await.unwrap();
    let _ = super::issue(&keys, |request| request).await;
    assert!(folder.join("keys.db").exists() && folder.join("gone").exists());
    assert!(!folder.join("keys.db.revocations").exists());
    assert_eq!(keys.maintenance().run_once().await.failed().count(), 0);
    assert!(folder.join("anchors").exists());
    let config = Config::read(&path).unwrap();
    let url = config.database_url().unwrap().expose_secret().to_owned();
    assert!(url.contains("/100%25 ours%3F/keys.db"), "{url}");
}

#[test]
fn special_paths_of_sqlite_are_refused_as_before() {
    for url in [
        "sqlite::memory:",
        "sqlite:",
        "sqlite:file:a.db",
        "sqlite:a.db?mode=memory",
    ] {
        let place = Place::new(&format!("[database]\nurl = \"{url}\"\n"));
        let error = refused(&place.path());
        assert!(error.to_string().contains("`database.url` cannot be used: "), "{error}");
    }
    let place = Place::new("[database]\nurl = \"sqlite:a.db?mode=rw\"\n");
    let config = Config::read(place.path()).unwrap();
    assert!(
        config
            .database_url()
            .unwrap()
            .expose_secret()
            .ends_with("/a.db?mode=rw")
    );
}
