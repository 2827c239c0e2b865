//! Certificates, made by the program `openssl`.

use std::fs::write;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::run;

/// Signs certificates. Another authority is one that the first one's users do not trust.
pub(crate) struct Authority {
    folder: TempDir,
}

/// The files of a server, which are gone with their authority.
pub(crate) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        write(authority.file("settings"), SETTINGS).unwrap();
        authority.openssl("req -x509 -config settings -extensions authority -out authority.pem -keyout authority.key");
        authority
    }

    /// What clients trust, in PEM.
    pub(crate) fn path(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// For a server with this host name.
    pub(crate) fn certificate(&self, name: &str) -> Certificate {
        let alternatives = format!("[server]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:{name}\n");
        write(self.file("server"), alternatives).unwrap();
        self.openssl(&format!("req -config settings -out {name}.csr -keyout {name}.key"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -out {name}.pem -CA authority.pem -CAkey authority.key -CAcreateserial -extfile server \
             -extensions server"
        ));
        Certificate {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_ascii_whitespace())
            .current_dir(self.folder.path());
        if arguments.starts_with("req") {
            command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        }
        run(command, "").unwrap_or_else(|error| panic!("openssl {arguments}: {error}"));
    }
}

/// Instead of those of the machine, which differ.
const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = a test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
";
