//! Files of root keys: whose they are, who else may read them, and what stands in them.

use std::path::Path;

use tower_api_key::secrets::RootKeys;

use crate::support::files::{SOMEONE, give_to, is_root, make_pipe, run_as_someone, set_mode};

const LINE: &str = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF";

fn refused(path: &Path) -> String {
    RootKeys::from_file(path).unwrap_err().to_string()
}

#[test]
fn file_that_others_may_read_is_refused() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    std::fs::write(&path, LINE).unwrap();
    let is_of_root = path.metadata().unwrap().uid() == 0;
    for (mode, is_read) in [
        (0o600, true),
        (0o400, true),
        (0o640, is_of_root),
        (0o660, false),
        (0o604, false),
        (0o644, false),
        (0o602, false),
    ] {
        set_mode(&path, mode);
        let read = RootKeys::from_file(&path);
        assert_eq!(read.is_ok(), is_read, "{mode:o}");
        if let Err(error) = read {
            let text = error.to_string();
            assert!(
                text.contains(&format!("{mode:o}")) && text.contains("root.key"),
                "{text}"
            );
        }
    }
}

/// The owner of a file can read and change it, whatever its mode.
#[test]
fn file_of_another_user_is_refused() {
    const FOLDER: &str = "TOWER_API_KEY_TEST_ROOT_KEYS";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // In a process of SOMEONE.
        let folder = Path::new(&folder);
        RootKeys::from_file(folder.join("someone")).unwrap();
        RootKeys::from_file(folder.join("root")).unwrap();
        return;
    }
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    for (name, user, mode) in [("someone", SOMEONE, 0o600), ("root", 0, 0o640)] {
        let path = folder.path().join(name);
        std::fs::write(&path, LINE).unwrap();
        set_mode(&path, mode);
        std::os::unix::fs::chown(&path, Some(user), Some(SOMEONE)).unwrap();
    }
    RootKeys::from_file(folder.path().join("root")).unwrap();
    let refused = refused(&folder.path().join("someone"));
    assert!(refused.contains(&format!("belongs to user {SOMEONE}")), "{refused}");
    run_as_someone("root_keys::file_of_another_user_is_refused", FOLDER, folder.path());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("root", &link).unwrap();
    RootKeys::from_file(&link).unwrap();
    give_to(&folder.path().join("root"), SOMEONE);
    assert!(RootKeys::from_file(&link).is_err());
}

#[test]
fn refused_file_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refused(&folder.path().join("missing")).contains("missing"));
    assert!(refused(folder.path()).contains("must be a file"));
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    assert!(refused(&pipe).contains("must be a file"));
    let path = folder.path().join("root.key");
    std::fs::write(&path, "hunter2").unwrap();
    set_mode(&path, 0o600);
    assert!(refused(&path).contains("64 hexadecimal digits") && !refused(&path).contains("hunter2"));
}
