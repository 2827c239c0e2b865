//! A folder and a port for one server.

use std::fs::{File, OpenOptions, Permissions};
use std::fs::{create_dir, metadata, read_to_string, remove_dir_all, set_permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::setting;

/// Beside the initialised data folder, and so removed after the tests even if this test is killed. The folder's name is the
/// port, so that no other test takes that while the server is down.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
}

/// The user that servers run as.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Owner {
    pub(super) fn new() -> Self {
        let data = metadata(initialised()).unwrap();
        let (user, group) = (data.uid(), data.gid());
        Self { user, group }
    }

    pub(super) fn give(self, path: &Path, mode: u32) {
        chown(path, Some(self.user), Some(self.group)).unwrap();
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// The data folder to copy: that takes less than a tenth of the time of initdb.
pub(super) fn initialised() -> PathBuf {
    PathBuf::from(setting("API_KEYS_TEST_POSTGRES_DATA"))
}

impl Place {
    pub(super) fn new() -> Self {
        loop {
            // Below the ports that the kernel gives to clients, 32768 and up.
            let port = rand::random_range(20_000..32_000);
            let folder = initialised().with_file_name(port.to_string());
            match create_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created.unwrap(),
            }
            let place = Self { folder, port };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                Owner::new().give(&place.folder, 0o700);
                return place;
            }
        }
    }

    /// For a server to write into.
    pub(super) fn open_log(&self) -> File {
        let path = self.folder.join("log");
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    pub(super) fn log(&self) -> String {
        read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The end of the log, for the message of a failed test.
    pub(super) fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the server on port {}:\n{}", self.port, self.last_lines());
        }
        // What is left is removed after the tests.
        let _ = remove_dir_all(&self.folder);
    }
}
