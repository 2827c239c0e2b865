//! TLS of connections: whose certificates are trusted, and the own one.

use std::path::PathBuf;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};

use super::tls_error::TlsError;

/// What a URL names for TLS.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "postgres-tls"), allow(dead_code, reason = "read by what makes TLS"))]
pub(super) struct Files {
    /// The certificates of authorities that sign those of servers. `None`: those that the system trusts.
    pub(super) roots: Option<PathBuf>,
    /// The certificate for the server to see, and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

#[cfg(feature = "postgres-tls")]
pub(super) use self::by_rustls::Tls;

#[cfg(feature = "postgres-tls")]
mod by_rustls {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::*;
    use crate::store::postgres::drive::drive;

    pub(in crate::store::postgres) struct Tls(MakeRustlsConnect);

    impl Tls {
        /// Reads the files. Servers prove their names.
        pub(in crate::store::postgres) fn new(files: &Files) -> Result<Self, TlsError> {
            // The program's other parts may have chosen another provider for the process, or none.
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots(files.roots.as_deref())?);
            let config = match &files.identity {
                None => builder.with_no_client_auth(),
                Some((certificate, path)) => {
                    let key = PrivateKeyDer::from_pem_file(path);
                    let key = key.map_err(|source| TlsError::Key {
                        path: path.clone(),
                        source,
                    })?;
                    builder.with_client_auth_cert(certificates("sslcert", certificate)?, key)?
                }
            };
            Ok(Self(MakeRustlsConnect::new(config)))
        }

        pub(in crate::store::postgres) async fn connect(
            &self,
            config: &Config,
        ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
            config.connect(self.0.clone()).await.map(drive)
        }
    }

    fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = file {
            for certificate in certificates("sslrootcert", path)? {
                roots.add(certificate)?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        // Systems have some that are malformed.
        match roots.add_parsable_certificates(found.certs) {
            (0, _) => Err(TlsError::NoSystemRoots(found.errors.into_iter().next())),
            _ => Ok(roots),
        }
    }

    fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let found: Vec<_> = read.map_err(|source| TlsError::Certificates {
            option,
            path: path.to_owned(),
            source,
        })?;
        match found.is_empty() {
            true => Err(TlsError::NoCertificates {
                option,
                path: path.to_owned(),
            }),
            false => Ok(found),
        }
    }
}

/// There is none.
#[cfg(not(feature = "postgres-tls"))]
pub(super) enum Tls {}

#[cfg(not(feature = "postgres-tls"))]
impl Tls {
    pub(super) fn new(_: &Files) -> Result<Self, TlsError> {
        Err(TlsError::NeedsFeature)
    }

    pub(super) async fn connect(&self, _: &Config) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        match *self {}
    }
}
