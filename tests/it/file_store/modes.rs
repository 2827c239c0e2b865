//! Who else may write or read a file of keys.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tower_api_key::store::FileStore;

use super::{Folder, KEY, OTHER, all_of, entry, set_mode, sha256, toml};
use crate::support::files::{SOMEONE, give_to, is_root, make_pipe, run_as_someone};

async fn refusal(path: &Path) -> Option<String> {
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
    assert_eq!(refusal(&link).await, None);
}

/// The owner of a file or a folder can change it, whatever its mode.
#[tokio::test]
async fn file_or_folder_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    for name in ["above", "above/inner", "links"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let path = folder.write("above/inner/keys.toml", &toml(&[entry("a", KEY)]));
    let link = folder.path("links/keys.toml");
    symlink("../above/inner/keys.toml", &link).unwrap();
    for (name, mode, said) in [
        ("above/inner/keys.toml", 0o600, "belongs to user"),
        ("above/inner/keys.toml", 0o400, "belongs to user"),
        ("above/inner", 0o755, "inner belongs to user"),
        ("above/inner", 0o1777, "inner belongs to user"),
        ("above", 0o555, "above belongs to user"),
        ("links", 0o755, "links belongs to user"),
    ] {
        let (what, usual) = (folder.path(name), if name.ends_with("toml") { 0o600 } else { 0o755 });
        set_mode(&what, mode);
        give_to(&what, SOMEONE);
        let problem = refusal(&link).await.unwrap_or_default();
        assert!(problem.contains(&format!("{said} {SOMEONE}")), "{name}: {problem}");
        give_to(&what, 0);
        set_mode(&what, usual);
        assert_eq!(refusal(&link).await, None, "{name}");
    }
    assert_eq!(refusal(&path).await, None);
}

/// Its own files, and those of root: a Secret of Kubernetes, or a file in `/etc`.
#[tokio::test]
async fn process_of_a_user_takes_its_own_files_and_those_of_root() {
    const FOLDER: &str = "TOWER_API_KEY_TEST_OWNERS";
    const ANOTHER: u32 = SOMEONE + 1;
    if let Some(folder) = env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        for name in ["own/keys.toml", "etc/keys.toml", "etc/own.toml"] {
            assert_eq!(refusal(&folder.join(name)).await, None, "{name}");
        }
        for name in ["another/keys.toml", "etc/another.toml"] {
            let refusal = refusal(&folder.join(name)).await.unwrap();
            assert!(refusal.contains(&format!("belongs to user {ANOTHER}")), "{refusal}");
        }
        return;
    }
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    set_mode(&folder.path(""), 0o755);
    let text = toml(&[entry("a", KEY)]);
    for (name, user) in [("own", SOMEONE), ("another", ANOTHER), ("etc", 0)] {
        fs::create_dir(folder.path(name)).unwrap();
        let path = folder.write(&format!("{name}/keys.toml"), &text);
        give_to(&folder.path(name), user);
        set_mode(&path, 0o644);
    }
    for (name, user) in [("etc/own.toml", SOMEONE), ("etc/another.toml", ANOTHER)] {
        let path = folder.write(name, &text);
        give_to(&path, user);
        set_mode(&path, 0o644);
    }
    run_as_someone(
        "file_store::modes::process_of_a_user_takes_its_own_files_and_those_of_root",
        FOLDER,
        &folder.path(""),
    );
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
    make_pipe(&pipe);
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

/// A change of the owner alone.
#[tokio::test]
async fn file_that_another_user_owns_from_now_on_is_broken() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let path = folder.write_old("keys.toml", &toml(&[entry("a", KEY)]));
    let builder = FileStore::builder().poll_interval(std::time::Duration::from_millis(100));
    let store = builder.unwrap().open(&path).await.unwrap();
    give_to(&path, SOMEONE);
    crate::house::until(|| store.status().problem.is_some()).await;
    assert!(store.status().problem.unwrap().contains("belongs to user"));
}
