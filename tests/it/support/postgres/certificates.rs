//! Certificates, made by the program `openssl`.

use std::fs::write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::run;

/// Signs certificates. Another authority is one that the first one's users do not trust.
pub(crate) struct Authority {
    folder: TempDir,
}

/// The files of a server or a client, which are gone with their authority.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
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

    /// For a server with this host name or address.
    pub(crate) fn certificate(&self, name: &str) -> Certificate {
        self.request(name);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -out {name}.pem -CA authority.pem -CAkey authority.key -CAcreateserial -extfile server \
             -extensions server"
        ));
        self.files(name)
    }

    /// Like [`Authority::certificate`], for some days of the year 2020.
    pub(crate) fn expired(&self, name: &str) -> Certificate {
        self.request(name);
        for (name, text) in [("issued", ""), ("number", "1000")] {
            write(self.file(name), text).unwrap();
        }
        self.openssl(&format!(
            "ca -batch -config settings -in {name}.csr -out {name}.pem -notext -extfile server -extensions server \
             -startdate 20200101000000Z -enddate 20200110000000Z"
        ));
        self.files(name)
    }

    /// Signed by its own key alone.
    pub(crate) fn self_signed(&self, name: &str) -> Certificate {
        self.openssl(&format!(
            "req -x509 -config settings -subj /CN={name} -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={} -out {name}.pem \
             -keyout {name}.key",
            alternative(name)
        ));
        self.files(name)
    }

    fn request(&self, name: &str) {
        let extensions = "[server]\nbasicConstraints = CA:FALSE\nsubjectAltName = ";
        write(self.file("server"), format!("{extensions}{}\n", alternative(name))).unwrap();
        self.openssl(&format!("req -config settings -out {name}.csr -keyout {name}.key"));
    }

    fn files(&self, name: &str) -> Certificate {
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

fn alternative(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(address) => format!("IP:{address}"),
        Err(_) => format!("DNS:{name}"),
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
[ca]
default_ca = issuing
[issuing]
database = issued
serial = number
new_certs_dir = .
certificate = authority.pem
private_key = authority.key
default_md = sha256
policy = any
[any]
commonName = supplied
";
