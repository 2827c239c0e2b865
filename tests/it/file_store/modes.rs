//! Who else may write or read a file of keys.

use std::fs;
use std::os::unix::fs::symlink;

use tower_api_key::store::FileStore;

use super::{Folder, KEY, OTHER, all_of, entry, set_mode, sha256, toml};

async fn refusal(path: &std::path::Path) -> Option<String> {
    let opened = FileStore::builder().dangerous_plaintext().open(path).await;
    opened.err().map(|error| all_of(&error))
}

#[tokio::test]
async fn file_that_others_may_write_is_refused() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &toml(&[entry("a", KEY)]));
    for (mode, is_taken) in [
        (0o600, true),
        (0o644, true),
        (0o620, false),
        (0o602, false),
        (0o666, false),
    ] {
        set_mode(&path, mode);
        let refusal = refusal(&path).await;
        assert_eq!(refusal.is_none(), is_taken, "{mode:o}");
        if let Some(refusal) = refusal {
            assert!(
                refusal.contains(&format!("written by others (mode {mode:04o})")),
                "{refusal}"
            );
        }
    }
}

#[tokio::test]
async fn folder_that_others_may_write_is_refused() {
    let folder = Folder::new();
    let inner = folder.path("inner");
    fs::create_dir(&inner).unwrap();
    let path = folder.write("inner/keys.toml", &toml(&[entry("a", KEY)]));
    let link = folder.path("link.toml");
    symlink(&path, &link).unwrap();
    for (mode, is_taken) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false)] {
        set_mode(&inner, mode);
        assert_eq!(refusal(&path).await.is_none(), is_taken, "{mode:o}");
        // Where the name stands, and where the file is.
        assert_eq!(refusal(&link).await.is_none(), is_taken, "{mode:o}");
    }
    let open = folder.path("open");
    fs::create_dir(&open).unwrap();
    set_mode(&inner, 0o700);
    set_mode(&open, 0o777);
    let link = open.join("link.toml");
    symlink(&path, &link).unwrap();
    assert!(
        refusal(&link)
            .await
            .unwrap()
            .contains("open may be written by others (mode 0777)")
    );
    // In a folder such as /tmp, others cannot replace what is ours.
    set_mode(&open, 0o1777);
    assert_eq!(refusal(&link).await.is_none(), cfg!(target_os = "linux"));
}

/// The link could be replaced where it stands, and a folder where it is.
#[tokio::test]
async fn folders_on_the_way_that_others_may_write_are_refused() {
    let folder = Folder::new();
    for name in ["safe", "between", "above", "above/inner"] {
        fs::create_dir(folder.path(name)).unwrap();
        set_mode(&folder.path(name), 0o755);
    }
    let path = folder.write("safe/keys.toml", &toml(&[entry("a", KEY)]));
    symlink(&path, folder.path("between/keys.toml")).unwrap();
    symlink("between/keys.toml", folder.path("link.toml")).unwrap();
    symlink("../between/../link.toml", folder.path("safe/again.toml")).unwrap();
    folder.write("above/inner/keys.toml", &toml(&[entry("a", KEY)]));
    let (link, again) = (folder.path("link.toml"), folder.path("safe/again.toml"));
    let inner = folder.path("above/inner/keys.toml");
    for path in [&path, &link, &again, &inner] {
        assert_eq!(refusal(path).await, None, "{}", path.display());
    }
    set_mode(&folder.path("between"), 0o770);
    for path in [&link, &again] {
        let refusal = refusal(path).await.unwrap();
        assert!(
            refusal.contains("between may be written by others (mode 0770)"),
            "{refusal}"
        );
    }
    for (mode, is_taken) in [(0o775, true), (0o777, false), (0o1777, true)] {
        set_mode(&folder.path("above"), mode);
        assert_eq!(refusal(&inner).await.is_none(), is_taken, "{mode:o}");
    }
    symlink("loop.toml", folder.path("loop.toml")).unwrap();
    assert!(
        refusal(&folder.path("loop.toml"))
            .await
            .unwrap()
            .contains("cannot be read")
    );
}

#[tokio::test]
async fn plaintext_that_others_may_read_is_refused() {
    let folder = Folder::new();
    let plain = entry("a", OTHER).replace(&format!("hash = \"{}\"", sha256(OTHER)), &format!("key = \"{OTHER}\""));
    let path = folder.write("keys.toml", &toml(&[plain]));
    for (mode, is_taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        set_mode(&path, mode);
        assert_eq!(refusal(&path).await.is_none(), is_taken, "{mode:o}");
    }
    let error = refusal(&path).await.unwrap();
    assert!(
        error.contains("may be read by others") && !error.contains(&OTHER[..8]),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_without_waiting() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder.toml")).unwrap();
    let pipe = folder.path("pipe.toml");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for name in ["folder.toml", "pipe.toml"] {
        assert!(refusal(&folder.path(name)).await.unwrap().contains("is not a file"));
    }
    assert!(
        refusal(&folder.path("none.toml"))
            .await
            .unwrap()
            .contains("none.toml: cannot be read")
    );
}

/// A change of the mode alone.
#[tokio::test]
async fn file_that_others_may_write_from_now_on_is_broken() {
    let folder = Folder::new();
    let path = folder.write("keys.toml", &toml(&[entry("a", KEY)]));
    let store = FileStore::open(&path).await.unwrap();
    set_mode(&path, 0o666);
    let error = all_of(&store.reload().await.unwrap_err());
    assert!(error.contains("written by others"), "{error}");
    let status = store.status();
    assert!(status.is_serving && status.problem.is_some());
    set_mode(&path, 0o600);
    store.reload().await.unwrap();
    assert_eq!(store.status().problem, None);
}
