//! Files in mounts, as containers have them. Each case runs in a process with mounts of its own.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tower_api_key::store::FileStore;

use super::changes::{has, one, quick, two};
use super::{Folder, KEY, OTHER, all_of, set_mode};
use crate::house::until;
use crate::support::files::{SOMEONE, give_to, is_root};

const FOLDER: &str = "TOWER_API_KEY_TEST_MOUNTS";

/// The folder in which `mounts` were made, in the process that has them. Elsewhere nothing, once the test has passed there.
fn mounted(test: &str, arrange: impl FnOnce(&Folder), mounts: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(if is_root { &["-m"][..] } else { &["-r", "-m"] });
        command
    };
    let probe = unshare().arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("not run: this machine gives no mounts of one's own");
        return None;
    }
    let folder = Folder::new();
    arrange(&folder);
    let output = unshare()
        .args(["sh", "-ec", &format!("cd \"${FOLDER}\"; {mounts}; exec \"$@\""), "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder.path(""))
        .output()
        .unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

/// A version of a volume, with the modes that kubelet gives it.
fn version(volume: &Path, name: &str, text: &str) {
    let folder = volume.join(name);
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o755);
    fs::write(folder.join("keys.toml"), text).unwrap();
    set_mode(&folder.join("keys.toml"), 0o644);
}

#[tokio::test]
async fn volume_of_kubernetes_is_taken_and_followed() {
    let arrange = |folder: &Folder| {
        let volume = folder.path("volume");
        fs::create_dir(&volume).unwrap();
        version(&volume, "..2026_11_26_10_00_00.1", &one());
        symlink("..2026_11_26_10_00_00.1", volume.join("..data")).unwrap();
        symlink("..data/keys.toml", volume.join("keys.toml")).unwrap();
        set_mode(&volume, 0o777);
        fs::create_dir(folder.path("mount")).unwrap();
    };
    let test = "file_store::mounts::volume_of_kubernetes_is_taken_and_followed";
    let mounts = "mount --bind volume mount; mount -o remount,bind,ro mount";
    let Some(folder) = mounted(test, arrange, mounts) else {
        return;
    };
    let volume = folder.join("volume");
    // Where it can be written, a folder of this mode is refused.
    let error = all_of(&FileStore::open(volume.join("keys.toml")).await.map(drop).unwrap_err());
    assert!(error.contains("may be written by others (mode 0777)"), "{error}");

    let store = quick().open(folder.join("mount/keys.toml")).await.unwrap();
    assert!(has(&store, KEY).await && !has(&store, OTHER).await);
    version(&volume, "..2026_11_26_10_05_00.2", &two());
    symlink("..2026_11_26_10_05_00.2", volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    fs::remove_dir_all(volume.join("..2026_11_26_10_00_00.1")).unwrap();
    until(|| store.status().reloads == 1).await;
    assert!(has(&store, OTHER).await);
    assert_eq!(store.status().failed_reloads, 0);
}

/// Of a user of the host, or of a container beside this one: nobody writes it where it is mounted.
#[tokio::test]
async fn folder_of_another_user_is_taken_if_it_is_mounted_for_reading() {
    let arrange = |folder: &Folder| {
        fs::create_dir(folder.path("volume")).unwrap();
        fs::create_dir(folder.path("mount")).unwrap();
        let path = folder.write("volume/keys.toml", &one());
        if is_root() {
            give_to(&path, SOMEONE);
            give_to(&folder.path("volume"), SOMEONE);
        }
    };
    let test = "file_store::mounts::folder_of_another_user_is_taken_if_it_is_mounted_for_reading";
    let mounts = "mount --bind volume mount; mount -o remount,bind,ro mount";
    let Some(folder) = mounted(test, arrange, mounts) else {
        return;
    };
    let store = quick().open(folder.join("mount/keys.toml")).await.unwrap();
    assert!(has(&store, KEY).await);
    // Where it can be written, it is refused.
    if fs::metadata(folder.join("volume")).unwrap().uid() == SOMEONE {
        let refused = FileStore::open(folder.join("volume/keys.toml")).await;
        let error = all_of(&refused.map(drop).unwrap_err());
        assert!(error.contains("belongs to user"), "{error}");
    }
}

/// It would stay the old one, and removed keys would live on.
#[tokio::test]
async fn file_mounted_alone_is_broken_once_it_is_replaced() {
    let arrange = |folder: &Folder| {
        fs::create_dir(folder.path("host")).unwrap();
        folder.write("host/keys.toml", &two());
        folder.write("keys.toml", "");
    };
    let test = "file_store::mounts::file_mounted_alone_is_broken_once_it_is_replaced";
    let Some(folder) = mounted(test, arrange, "mount --bind host/keys.toml keys.toml") else {
        return;
    };
    let host = folder.join("host");
    let store = quick().open(folder.join("keys.toml")).await.unwrap();
    fs::write(host.join("keys.toml"), one()).unwrap();
    until(|| store.status().reloads == 1).await;
    assert!(!has(&store, OTHER).await);

    fs::write(host.join("new"), two()).unwrap();
    fs::rename(host.join("new"), host.join("keys.toml")).unwrap();
    until(|| store.status().problem.is_some()).await;
    let status = store.status();
    assert!(status.is_serving && status.problem.unwrap().contains("mount its folder"));
}
